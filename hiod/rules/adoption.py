"""What an earlier boss wrote down against what is alive: adopt, mourn, report.

Decides what becomes of each hand when a boss starts. Leaves finding launchers and looking at processes to the
overseer. Invariants: a process is matched by pid, start time and boot, never by pid alone; nothing
alive is started a second time; an end nobody saw is unknown, never invented.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hiod.rules.records import LIVE, End, Hand, ProcessId, State, Wanted

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
    living = {(one.name, one.generation): one for one in seen}
    ended = {(one.name, one.generation): one for one in ends}
    hands: dict[str, Hand] = {}
    adopted: dict[str, str | None] = {}
    mourned: dict[str, Ended | None] = {}
    for name, (written, boot) in saved.items():
        hand = written if boot == boot_id else rebooted(written, now)
        key = (name, hand.generation)
        one = living.get(key)
        if hand.state in LIVE and one is not None and one.token == tokens.get(name):
            hands[name] = replace(hand, process=one.process)
            adopted[name] = one.launcher
            del living[key]
            ended.pop(key, None)
        elif hand.state in LIVE and key in ended:
            hands[name] = hand
            mourned[name] = ended.pop(key)
        elif hand.process is not None and hand.process in alive:
            hands[name] = hand
            adopted[name] = None
        elif hand.process is not None and hand.state in LIVE:
            hands[name] = hand
            mourned[name] = None
        elif hand.state in LIVE:
            # It was written down that it would be spawned, and it never was.
            hands[name] = unspawned(hand, now)
        else:
            hands[name] = hand
    return Findings(hands, adopted, mourned, tuple(living.values()), tuple(ended.values()))


def unspawned(hand: Hand, now: float) -> Hand:
    """Return a hand whose process was ordered and never made: as before the order."""
    up = hand.wanted is Wanted.UP and not hand.leaving
    return replace(
        hand,
        state=State.WAITING if up else State.STOPPED,
        reason="the boss died before it was started",
        since=now,
        wake_at=math.inf,
        process=None,
        registered=False,
    )


def rebooted(hand: Hand, now: float) -> Hand:
    """Return a hand of an earlier boot: nothing of it is there, and its failures were another's."""
    up = hand.wanted is Wanted.UP and not hand.leaving
    return replace(
        hand,
        state=State.WAITING if up else State.STOPPED,
        reason="the machine was started",
        since=now,
        wake_at=math.inf,
        process=None,
        registered=False,
        ready_at=None,
        spawned_at=None,
        failures=(),
        attempt=0,
        stop_step="",
    )


def refreshed(hand: Hand, now: float) -> Hand:
    """Return a hand at a start with nobody alive: what is wanted up is to be started.

    A one-shot that is done stays done for this boot.
    """
    if hand.wanted is Wanted.DOWN or hand.state is State.DONE:
        return hand
    return replace(
        hand,
        state=State.WAITING,
        reason="the boss was started",
        since=now,
        wake_at=math.inf,
        failures=(),
        attempt=0,
    )
