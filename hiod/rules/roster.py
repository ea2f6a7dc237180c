"""The wanted crew against the actual one: who joins, who leaves, who may start or stop now.

Decides membership and order. Leaves each hand's own life to ``policy``. Invariant: every member has
exactly the hands its definition counts, apart from those that are leaving.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hiod.rules.policy import satisfies
from hiod.rules.records import LIVE, RESTING, Hand, State, Wanted
from hiod.rules.specs import check_crew, instances

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hiod.rules.checking import Problem
    from hiod.rules.specs import HandSpec

FILE = "file"
RUNTIME = "runtime"


@dataclass(frozen=True, slots=True)
class Member:
    """One definition of the wanted crew.

    Attributes:
        spec: as wanted now; its ``count`` may have been changed by ``scale``.
        source: ``file`` or ``runtime``: who defined it.
        filed_count: the count the file had when last applied; while it stays, ``scale`` wins.
    """

    spec: HandSpec
    source: str = RUNTIME
    filed_count: int | None = None


@dataclass(frozen=True, slots=True)
class Crew:
    """The wanted crew and the actual one.

    Attributes:
        members: wanted definitions by their name.
        hands: hands by their own name; those leaving are still here.
    """

    members: Mapping[str, Member] = field(default_factory=dict)
    hands: Mapping[str, Hand] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the crew as it is and as wanted.

    Attributes:
        kind: ``add``, ``remove`` or ``change``.
        name: the definition's name.
        member: what it is to be; None when it is removed.
    """

    kind: str
    name: str
    member: Member | None = None


def base_of(hand: Hand) -> str:
    """Return the name of the definition a hand comes from."""
    return str(hand.spec.name)


def hands_of(crew: Crew, name: str) -> tuple[Hand, ...]:
    """Return the hands of one definition, in order of their number."""
    mine = [hand for hand in crew.hands.values() if base_of(hand) == name]
    return tuple(sorted(mine, key=lambda hand: -1 if hand.ordinal is None else hand.ordinal))


def lined_up(crew: Crew) -> list[str]:
    """Return all hands in order: as the files define them, then those added at runtime by name.

    Instances are in order of their number; hands whose definition has left the crew come last.
    """

    def key(hand: Hand) -> tuple[int, str, int, str, int]:
        name = base_of(hand)
        number = -1 if hand.ordinal is None else hand.ordinal
        member = crew.members.get(name)
        if member is None:
            return (2, "", 0, name, number)
        spec = member.spec
        if spec.origin is None:
            return (1, "", 0, name, number)
        return (0, spec.origin, spec.line or 0, name, number)

    return [hand.name for hand in sorted(crew.hands.values(), key=key)]


def filed(spec: HandSpec, had: Member | None) -> Member:
    """Return the member a crew file's definition makes, keeping a count that was scaled since."""
    if (
        had is not None
        and had.source == FILE
        and had.filed_count == spec.count
        and had.spec.count is not None
    ):
        return Member(replace(spec, count=had.spec.count), FILE, spec.count)
    return Member(spec, FILE, spec.count)


def plan(crew: Crew, wanted: Sequence[HandSpec]) -> tuple[Change, ...]:
    """Return what makes the crew what the files say; hands added at runtime are left alone."""
    changes: list[Change] = []
    names = {spec.name for spec in wanted}
    for name, member in crew.members.items():
        if member.source == FILE and name not in names:
            changes.append(Change("remove", name))
    for spec in wanted:
        had = crew.members.get(spec.name)
        new = filed(spec, had)
        if had is None:
            changes.append(Change("add", spec.name, new))
        elif had != new:
            changes.append(Change("change", spec.name, new))
    return tuple(changes)


def clashes(members: Mapping[str, Member], wanted: Sequence[HandSpec]) -> list[Problem]:
    """Return what is wrong between definitions of files, good in themselves, and runtime hands.

    Args:
        members: the wanted crew; of those added at runtime the files' definitions replace some.
        wanted: what the files say.
    """
    names = {spec.name for spec in wanted}
    added = {
        f"{_ADDED}: hand.{name}": replace(one.spec, origin=_ADDED)
        for name, one in members.items()
        if one.source == RUNTIME and name not in names
    }
    found = []
    for one in check_crew([*wanted, *added.values()]) if added else ():
        spec = added.get(one.path.partition(".after")[0])
        more = f"; hiodctl remove {spec.name} would do" if spec is not None else ""
        found.append(replace(one, message=one.message + more))
    return found


_ADDED = "added at runtime"


def first_wanted(crew: Crew, spec: HandSpec) -> Wanted:
    """Return what is wanted of hands that are new: what their definition says.

    Where an operator has stopped all the hands that it had so far, new ones are not started.
    """
    had = crew.members.get(spec.name)
    if spec.start and had is not None and had.spec.start:
        there = [hand for hand in hands_of(crew, spec.name) if not hand.leaving]
        if there and all(hand.wanted is Wanted.DOWN for hand in there):
            return Wanted.DOWN
    return Wanted.UP if spec.start else Wanted.DOWN


def missing(crew: Crew, member: Member, wanted: Wanted) -> tuple[Hand, ...]:
    """Return the hands a member should have and has not, new and at rest.

    A name that another hand still has, one that is leaving, is not free yet.
    """
    return tuple(
        Hand(name=name, spec=member.spec, ordinal=ordinal, wanted=wanted)
        for name, ordinal in instances(member.spec)
        if name not in crew.hands
    )


def successor(crew: Crew, name: str) -> Hand | None:
    """Return the hand that some member counts by the name of one that left, new and at rest."""
    counting = _counting(crew, name)
    if counting is None:
        return None
    spec, ordinal = counting
    return Hand(name, spec, ordinal=ordinal, wanted=first_wanted(crew, spec))


def _counting(crew: Crew, name: str) -> tuple[HandSpec, int | None] | None:
    """Return the definition that counts a hand of that name, and the hand's number in it."""
    base, _, number = name.rpartition("-")
    ordinal = int(number) if number.isdecimal() and number.isascii() else -1
    one, many = crew.members.get(name), crew.members.get(base)
    if one is not None and one.spec.count is None:
        return one.spec, None
    if many is None or f"{base}-{ordinal}" != name or ordinal >= (many.spec.count or 0):
        return None
    return many.spec, ordinal


def surplus(crew: Crew, name: str) -> tuple[str, ...]:
    """Return the hands that their definition no longer counts, highest number first."""
    member = crew.members.get(name)
    counted = {own for own, _ in instances(member.spec)} if member is not None else set()
    return tuple(
        hand.name
        for hand in reversed(hands_of(crew, name))
        if hand.name not in counted and not hand.leaving
    )


def blend(old: HandSpec, new: HandSpec, ways: Mapping[str, str]) -> HandSpec:
    """Return ``old`` with those changes of ``new`` that apply to a living hand.

    Args:
        old: what a hand runs by.
        new: what it is to run by.
        ways: dotted key -> live, next or restart, as ``specs.diff`` gives them.
    """
    made = old
    for dotted, way in ways.items():
        if way != "live":
            continue
        table, _, key = dotted.rpartition(".")
        if table:
            changed = {key: getattr(getattr(new, table), key)}
            made = replace(made, **{table: replace(getattr(made, table), **changed)})
        else:
            made = replace(made, **{key: getattr(new, key)})
    return made


# ---------------------------------------------------------------------------- order


@dataclass(frozen=True, slots=True)
class _Lack:
    """A hand that others wait for; ``stuck`` if it will not come by itself."""

    name: str
    state: str
    stuck: bool = False

    def __str__(self) -> str:
        return f"after {self.name} ({self.state})"


def standing(crew: Crew) -> dict[str, str]:
    """Return each hand that waits to start and whom it waits for; "" when it may start now.

    Hands that are leaving neither start nor keep others waiting, except for those that get their
    names.
    """
    waiting = _waiting(crew)
    if not any(hand.spec.after for hand in waiting):
        return dict.fromkeys((hand.name for hand in waiting), "")
    lacks = _lacking(crew, waiting)
    first = {base: str(those[0]) for base, those in lacks.items() if those}
    return {
        hand.name: next((first[base] for base in hand.spec.after if base in first), "")
        or _absent(crew, hand)
        for hand in waiting
    }


def held(crew: Crew) -> dict[str, str]:
    """Return each hand that waits for what will not come by itself, and for what that is.

    It comes after a hand that has failed, that nobody wants up or that is not in the crew; or
    after another one that is held.
    """
    waiting = _waiting(crew)
    if not any(hand.spec.after for hand in waiting):
        return {}
    stuck = {
        base: str(one)
        for base, those in _lacking(crew, waiting).items()
        if (one := next((each for each in those if each.stuck), None)) is not None
    }
    found: dict[str, str] = {}
    causes: dict[str, str] = {}
    behind: dict[str, list[str]] = {}
    for hand in waiting:
        why = next((stuck[base] for base in hand.spec.after if base in stuck), "")
        why = why or _absent(crew, hand)
        if why:
            found[hand.name] = causes[hand.name] = why
        for base in hand.spec.after:
            behind.setdefault(base, []).append(hand.name)
    reached = list(found)
    for name in reached:
        # Whoever comes after one instance comes after all: the first that is held tells.
        for later in behind.pop(base_of(crew.hands[name]), ()):
            if later not in found:
                causes[later] = causes[name]
                found[later] = f"after {name}, {causes[name]}"
                reached.append(later)
    return found


def _lacking(crew: Crew, waiting: Iterable[Hand]) -> dict[str, list[_Lack]]:
    """Return by definition, of those somebody waits for, the hands that are not there."""
    found: dict[str, list[_Lack]] = {base: [] for hand in waiting for base in hand.spec.after}
    for hand in crew.hands.values():
        base = base_of(hand)
        if hand.leaving:
            counting = _counting(crew, hand.name)
            if counting is not None and counting[0].name in found and counting[0].name != base:
                # One of that definition gets the name when this one has left.
                found[counting[0].name].append(_Lack(hand.name, str(hand.state)))
        elif base in found and not satisfies(hand):
            stuck = hand.state is State.FAILED or hand.wanted is Wanted.DOWN
            found[base].append(_Lack(hand.name, str(hand.state), stuck))
    return found


def _absent(crew: Crew, hand: Hand) -> str:
    """Say for which hand one waits that is not in the crew; "" if all are."""
    gone = [base for base in hand.spec.after if base not in crew.members]
    return f"after {gone[0]} (no such hand)" if gone else ""


def _waiting(crew: Crew) -> list[Hand]:
    """Return the hands that start as soon as those they come after are there."""
    return [
        hand
        for hand in crew.hands.values()
        if hand.state is State.WAITING and hand.wanted is Wanted.UP and not hand.leaving
    ]


def awaited_in(reason: str) -> str:
    """Return the hand that a reason of `standing` names; "" when it is another reason."""
    words = reason.split(" ")
    return words[1] if words[0] == "after" and len(words) > 2 else ""  # noqa: PLR2004 - and how it is


def dependents(crew: Crew, name: str) -> tuple[str, ...]:
    """Return the definitions that come after the one called ``name``."""
    return tuple(own for own, member in crew.members.items() if name in member.spec.after)


def releasable(crew: Crew, pending: Iterable[str]) -> tuple[str, ...]:
    """Return which of the hands to be stopped may be asked now: those no living one comes after.

    One hand comes after another also through hands in between, whatever those are doing: a
    one-shot that is done sits between many a hand and its database. Only hands that are themselves
    to be stopped hold another back: a hand that stays up although the one it came after goes is
    the operator's wish. Hands that come after each other do not hold each other back.
    """
    waiting = [crew.hands[name] for name in pending if name in crew.hands]
    graph: dict[str, set[str]] = {}
    for hand in crew.hands.values():
        graph.setdefault(base_of(hand), set()).update(hand.spec.after)
    names = {hand.name for hand in waiting}
    going = {
        base_of(hand)
        for hand in crew.hands.values()
        if hand.state is State.STOPPING or (hand.name in names and hand.state in LIVE)
    }
    before = {base: _before(graph, base) for base in graph}
    holding = {held for base in going for held in before[base] if base not in before.get(held, ())}
    return tuple(hand.name for hand in waiting if base_of(hand) not in holding)


def _before(graph: Mapping[str, set[str]], base: str) -> set[str]:
    """Return all that a definition comes after, directly or not."""
    found: set[str] = set()
    ahead = list(graph[base])
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead += graph.get(one, ())
    return found


def at_rest(hand: Hand) -> bool:
    """Whether nothing of the hand is there or under way."""
    return hand.process is None and hand.state in RESTING


def restarts(hand: Hand) -> bool:
    """Whether a definition that changed in more than words makes a new process of this hand now.

    One that only waits takes it with the process it will get.
    """
    stays = hand.wanted is Wanted.UP and not hand.leaving
    return stays and hand.state not in {State.STOPPED, State.DONE, State.WAITING}


# ---------------------------------------------------------------------------- selection


def select(
    crew: Crew, names: Iterable[str], labels: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the hands meant by names (hands, definitions, globs) and labels, and unknown names.

    With names and labels both, a hand must be meant by both. With neither, none is meant.
    """
    found: dict[str, None] = {}
    unknown: list[str] = []
    asked = list(names)
    for name in asked:
        ours = hands_of(crew, name)
        if name in crew.hands:
            hits = [name]
        elif ours or name in crew.members:
            hits = [hand.name for hand in ours]
        elif any(letter in name for letter in "*?["):
            hits = [
                own
                for own, hand in crew.hands.items()
                if fnmatch.fnmatchcase(own, name) or fnmatch.fnmatchcase(base_of(hand), name)
            ]
            if not hits:
                unknown.append(name)
        else:
            hits = []
            unknown.append(name)
        found.update(dict.fromkeys(hits))
    if labels:
        pool = found if asked else dict.fromkeys(crew.hands)
        found = {
            name: None
            for name in pool
            if all(crew.hands[name].spec.labels.get(key) == want for key, want in labels.items())
        }
    return tuple(found), tuple(unknown)
