"""What an earlier boss wrote down against what is alive: adopt, mourn, report.

Decides what becomes of each hand when a boss starts. Leaves finding launchers and looking at
processes to the overseer, and a hand's life after that to ``policy``. Invariants: a process is
matched by pid, start time and boot, or by the token it was born with, never by pid alone; nothing
alive is started a second time; an end nobody saw is unknown, never invented.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hiod.rules import policy
from hiod.rules.records import (
    LIVE,
    RESTING,
    End,
    Hand,
    ProcessId,
    Spawned,
    State,
    Then,
    Wanted,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Seen:
    """A living hand as a launcher reports it."""

    name: str
    generation: int
    token: str
    process: ProcessId
    launcher: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An end that a launcher remembered."""

    name: str
    generation: int
    end: End
    launcher: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What is to be done about each hand.

    Attributes:
        hands: the crew's hands to go on with.
        adopted: names of the living: launcher id, or None when its launcher is gone.
        ended: names of those that ended meanwhile: how; unknown when nobody saw.
        unknown: living processes no record knows; reported, never killed.
        stale: remembered ends of incarnations no record waits for; to be forgotten.
    """

    hands: Mapping[str, Hand]
    adopted: Mapping[str, str | None]
    ended: Mapping[str, Ended | None]
    unknown: tuple[Seen, ...]
    stale: tuple[Ended, ...]


def judge(
    saved: Mapping[str, tuple[Hand, str]],
    seen: Sequence[Seen],
    ends: Sequence[Ended],
    alive: Collection[ProcessId],
    *,
    boot_id: str,
    tokens: Mapping[str, str],
    now: float,
) -> Findings:
    """Match what was written down with what is there.

    Args:
        saved: hands by name, each with the boot it was written in.
        seen: living hands that launchers report.
        ends: ends that launchers remember.
        alive: the written-down processes found alive by looking at the machine.
        boot_id: this boot.
        tokens: the token of each saved hand's latest incarnation.
        now: tyme.
    """
    ended = {(one.name, one.generation): one for one in ends}
    # An end is later than the life it ends: what is in both is over.
    living = [one for one in seen if (one.name, one.generation) not in ended]
    hands: dict[str, Hand] = {}
    adopted: dict[str, str | None] = {}
    mourned: dict[str, Ended | None] = {}
    for name, (written, boot) in saved.items():
        hand = written if boot == boot_id else rebooted(written, now)
        one = _its_own(hand, tokens.get(name, ""), living)
        if one is not None:
            living.remove(one)
            hands[name] = taken_over(hand, one, now)
            adopted[name] = one.launcher
        elif hand.state not in LIVE:
            hands[name] = resumed(hand, now)
        elif (name, hand.generation) in ended:
            hands[name] = _after_all(hand)
            mourned[name] = ended.pop((name, hand.generation))
        elif hand.process is None:
            # It was written down that it would be spawned, and it never was.
            hands[name] = unspawned(hand, now)
        elif hand.process in alive:
            hands[name] = _looked_after(hand, now)
            adopted[name] = None
        else:
            hands[name] = _after_all(hand)
            mourned[name] = None
    return Findings(hands, adopted, mourned, tuple(living), tuple(ended.values()))


def _its_own(hand: Hand, token: str, living: Sequence[Seen]) -> Seen | None:
    """Return the living process of a hand: the one written down, or one born with its mark.

    A token is ``CREW.NAME.GENERATION``. Of the same crew and name, a later generation counts too:
    the earlier boss went on while it could not write.
    """
    mark, dot, _ = token.rpartition(".")
    found = [
        one
        for one in living
        if one.name == hand.name
        and one.generation >= hand.generation
        and (
            (one.process == hand.process and one.generation == hand.generation)
            or (dot and one.token == f"{mark}.{one.generation}")
        )
    ]
    return max(found, key=lambda one: one.generation, default=None)


def taken_over(hand: Hand, one: Seen, now: float) -> Hand:
    """Return a hand with its living process, in a state that fits."""
    if hand.state in LIVE and hand.process == one.process:
        return _looked_after(hand, now)
    # Its process is news: the earlier boss died before it could write down that it is there.
    going = hand.state in RESTING or hand.state is State.STOPPING or hand.leaving
    hand = replace(
        hand,
        state=State.STOPPING if going else State.STARTING,
        reason=hand.reason if hand.state is State.STOPPING else "found alive",
        since=now,
        generation=one.generation,
        registered=False,
        ready_at=None,
        process=None,
        stop_step="",
        stop_asked_at=now,
        asked_by=hand.asked_by if hand.state is State.STOPPING else "hiod" if going else "",
        then=_then(hand) if hand.state is State.STOPPING else Then.REST,
        ended_by="",
    )
    if going:
        # Asked at once: the boss only knows what it does by what the clock makes it do.
        return replace(hand, process=one.process, spawned_at=now, wake_at=now)
    return policy.step(hand, Spawned(one.process), now)[0]


def _looked_after(hand: Hand, now: float) -> Hand:
    """Return a living hand with the time that it lost while there was nobody to hear it."""
    if hand.state is State.STOPPING and hand.stop_step in {"", "ask"}:
        # Whether it was ever asked, nobody knows; to ask again does no harm.
        return replace(hand, stop_step="", wake_at=now, then=_then(hand))
    if hand.state is State.STOPPING:
        return replace(hand, then=_then(hand))
    if hand.state in {State.STARTING, State.REGISTERING}:
        return policy.timed(hand, now)
    return hand


def _then(hand: Hand) -> Then:
    """Say what follows a stop that the earlier boss began: its own shutdown is over."""
    up = hand.then is Then.LEAVE and hand.wanted is Wanted.UP
    return Then.START if up else hand.then


def _after_all(hand: Hand) -> Hand:
    """Return a hand that ended meanwhile as its end is to be judged."""
    return replace(hand, then=_then(hand))


def resumed(hand: Hand, now: float) -> Hand:
    """Return a hand without a process as this boss goes on with it.

    One that is wanted up and rests was put there by a shutdown which then did not come to its end.
    """
    if hand.state is State.STOPPED and hand.wanted is Wanted.UP and not hand.leaving:
        return _waiting(hand, "the boss was started", now)
    return hand


def _waiting(hand: Hand, reason: str, now: float) -> Hand:
    """Return a hand of which nothing is there, waiting to be started or at rest, as is wanted."""
    up = hand.wanted is Wanted.UP and not hand.leaving
    return replace(
        policy.revised(hand),
        state=State.WAITING if up else State.STOPPED,
        reason=reason,
        since=now,
        wake_at=math.inf,
        process=None,
        registered=False,
        status="",
    )


def unspawned(hand: Hand, now: float) -> Hand:
    """Return a hand whose process was ordered and never made: as before the order."""
    return _waiting(hand, "the boss died before it was started", now)


def rebooted(hand: Hand, now: float) -> Hand:
    """Return a hand of an earlier boot: nothing of it is there, and its failures were another's."""
    hand = _waiting(hand, "the machine was started", now)
    return replace(
        hand, ready_at=None, spawned_at=None, failures=(), attempt=0, stop_step="", then=Then.REST
    )


def refreshed(hand: Hand, now: float) -> Hand:
    """Return a hand at a start with nobody alive: what is wanted up is to be started.

    A one-shot that is done stays done for this boot.
    """
    if hand.wanted is Wanted.DOWN or hand.leaving or hand.state is State.DONE:
        return hand
    return replace(_waiting(hand, "the boss was started", now), failures=(), attempt=0)
