"""What would come of a changed definition: which hands start, stop or restart, and in words.

Decides what an operator is told before a change is made. Leaves making it to the membership, what
changes to ``roster``. Invariant: what is foretold of a hand is what the rules do to it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hiod.rules import roster
from hiod.rules.records import Wanted
from hiod.rules.specs import diff, instances

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hiod.rules.records import Hand
    from hiod.rules.specs import HandSpec


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would come of one changed definition.

    Attributes:
        how: start, live, next (at the next start), restart or stop.
        keys: the keys that differ.
        hands: the hands it is about, those that would be new last.
        message: what is to be said of it beyond that; "" if nothing is.
    """

    how: str
    keys: tuple[str, ...] = ()
    hands: tuple[str, ...] = ()
    message: str = ""


def forecast(crew: roster.Crew, change: roster.Change) -> Forecast:
    """Return what would come of a change, as the crew is now."""
    name, member = change.name, change.member
    there = roster.hands_of(crew, name)
    if member is None:
        return Forecast("stop", hands=tuple(hand.name for hand in there))
    spec, had = member.spec, crew.members.get(name)
    counted = dict(instances(spec))
    if had is None:
        message = "" if spec.start else f"{name}: add (does not start: start is false)"
        return Forecast("start", hands=tuple(counted), message=message)
    there = tuple(hand for hand in there if not hand.leaving)
    ours = {hand.name for hand in there}
    kept = [hand for hand in there if hand.name in counted]
    new = [own for own in counted if own not in ours]
    ways = diff(had.spec, spec)
    keys = tuple(sorted(ways))
    counts = ways.pop("count", None) is not None
    restarting = [hand.name for hand in kept if roster.restarts(hand)]
    restarts = "restart" in ways.values() and bool(restarting)
    said = [_changed(ways, kept, new, restarting if restarts else [])] if ways else []
    if counts:
        gone = [hand for hand in there if hand.name not in counted]
        starts = roster.first_wanted(crew, spec) is Wanted.UP
        said.append(_counted(had.spec, spec, _effects(gone, new, starts=starts)))
    if had.source != member.source:
        said.append(f"now from {spec.origin}")
    elif not said:
        said.append(f"count {spec.count} now from {spec.origin}")
    how = "restart" if restarts else "live" if set(ways.values()) <= {"live"} else "next"
    hands = (*(hand.name for hand in there), *new)
    return Forecast(how, keys, hands, f"{name}: {'; '.join(said)}")


def _changed(
    ways: Mapping[str, str], kept: Sequence[Hand], new: Sequence[str], restarting: Sequence[str]
) -> str:
    """Say which keys change and when that takes hold."""
    every = ", ".join(sorted(ways))
    if restarting:
        some = len(restarting) < len(kept)
        more = f" {span(restarting)}, the others at their next start" if some else ""
        return f"change {every} (restarts{more})"
    if not kept and new:
        return f"change {every}"  # nobody goes on: those who come have it
    live = ", ".join(sorted(key for key, way in ways.items() if way == "live"))
    later = ", ".join(sorted(key for key, way in ways.items() if way != "live"))
    if not later:
        return f"change {live} (at once, nothing is restarted)"
    return f"change {live + ' (at once), ' if live else ''}{later} (at its next start)"


def _effects(gone: Sequence[Hand], new: Sequence[str], *, starts: bool) -> str:
    """Say who goes and who comes with another count."""
    said = []
    if gone:
        verb = "removes" if all(roster.at_rest(hand) for hand in gone) else "stops"
        said.append(f"{verb} {span([hand.name for hand in gone])}")
    if new:
        said.append(f"{'starts' if starts else 'adds'} {span(new)}")
    return f" ({', '.join(said)})" if said else ""


def _counted(had: HandSpec, spec: HandSpec, effects: str) -> str:
    """Say how the count changes."""
    if spec.count is None:
        return f"no count any more{effects}"
    if had.count is None:
        return f"count {spec.count} now{effects}"
    return f"count {had.count} to {spec.count}{effects}"


def span(names: Sequence[str]) -> str:
    """Return the names of instances in order in a few words: ``web-0 to web-3``."""
    first = names[0].rpartition("-")
    row = (
        [f"{first[0]}-{int(first[2]) + at}" for at in range(len(names))]
        if first[2].isdecimal()
        else []
    )
    if len(names) <= 2 or row != list(names):  # noqa: PLR2004 - three are no shorter
        return ", ".join(names)
    return f"{names[0]} to {names[-1]}"
