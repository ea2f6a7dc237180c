"""What the boss knows of a hand beyond the rules: descriptors, beats, samples, health.

Nothing here outlives the boss; it is found again, or asked for again. Invariant: a descriptor is
closed by the station that holds it, once.
"""

from __future__ import annotations

import heapq
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hiod.admin.fairness import Allowance
from hiod.base.crewing import agreeing
from hiod.rules.health import Beat
from hiod.rules.words import GIST_CHARS, Words, one_line, read, read_log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hiod.host.launching import Launcher
    from hiod.rules.health import HealthState, Sample
    from hiod.rules.records import Hand, Refused
    from hiod.rules.specs import Health


WORDS_BYTES = 64 << 10
"""So much of a hand's last words is read, from the end."""
LOG_BYTES = 2 << 10
"""So much of a program's log is, for want of last words."""


MEMOS_AT_ONCE, MEMOS_A_SECOND = 100, 10
"""So many memos of one hand to the boss become events: in a burst, and in the long run."""


FIGURE_MOST = 1e15
"""What a heartbeat says beyond this is nonsense: no clock and no counter gets there."""


class Numbers:
    """Gives numbers from 0, always the lowest that nobody has."""

    def __init__(self) -> None:
        self._next = 0
        self._free: list[int] = []

    def take(self) -> int:
        """Return a number that nobody else has until it is given back."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, number: int) -> None:
        """Let somebody else have a number."""
        heapq.heappush(self._free, number)


@dataclass(slots=True)
class Station:
    """One hand, as the boss sees it now.

    Attributes:
        addr: where its memos go.
        place: its number among the hands that are there, for when it beats; the lowest free one.
        token: mark of its present incarnation.
        launcher: parent of its process; None when that has ended.
        pidfd: its process; words: its last words; both None when there are none.
        log: the file a program prints to, or empty; log_from: where in it this incarnation began.
        hio: it speaks as hio's hands do.
        told: what a hio hand was ever told of the book: it survives no contradiction.
        answered: it has spoken to this boss.
        adopted_at: wall time when this boss took it over from an earlier one; greeted: it was told.
        cut_off: its mailbox's path was removed: nobody can write to it.
        refused: why the machine would not make its process, the last time it was tried.
        signalled: who had it sent which signal, last.
        early: a REG that came before the launcher's word: memo, source, credentials.
        beat: its latest heartbeat and beat_at when that came (tyme).
        sample: the latest look at its process.
        watched: it has pinged its watchdog: it is expected to go on; watchdog_s: it asked to be
            watched with this patience.
        rss_most: most memory seen.
        health: what the witnesses make of it, once it is up.
        taken: rungs of the ladder taken for the verdict that stands.
        check_at: when time alone may change the verdict.
        dump_by: until when a stack dump that was asked for is waited for; dump_from: how long its
            last words were when it was, dump_to: and when they were looked at last.
        stack: its latest stack dump.
        shown: its latest row of ``list``, with what that was made of.
        memos: how many memos of its own may be kept as events; unkept: how many were not. They
            belong to the hand, not to one incarnation.
    """

    addr: str
    place: int = 0
    token: str = ""
    launcher: Launcher | None = None
    pidfd: int | None = None
    words: int | None = None
    log: str = ""
    log_from: int = 0
    hio: bool = False
    told: dict[str, str] = field(default_factory=dict)
    answered: bool = True
    adopted_at: float | None = None
    greeted: bool = False
    cut_off: bool = False
    refused: Refused | None = None
    signalled: dict[int, str] = field(default_factory=dict)
    early: Any = None
    beat: Mapping[str, Any] = field(default_factory=dict)
    beat_at: float | None = None
    watched: bool = False
    watchdog_s: float | None = None
    sample: Sample | None = None
    rss_most: int = 0
    health: HealthState | None = None
    taken: set[str] = field(default_factory=set)
    check_at: float = 0.0
    dump_by: float | None = None
    dump_from: int = 0
    dump_to: int = 0
    stack: str = ""
    shown: Any = None
    memos: Allowance = field(
        default_factory=lambda: Allowance(MEMOS_AT_ONCE, MEMOS_A_SECOND), compare=False
    )
    unkept: int = 0

    def reset(self, token: str) -> None:
        """Begin a new incarnation: nothing of the former is true any more."""
        self.close()
        self.token = token
        self.log = ""
        self.log_from = 0
        self.hio = False
        self.told = {}
        self.answered = True
        self.adopted_at = None
        self.greeted = self.cut_off = False
        self.refused = None
        self.signalled = {}
        self.early = None
        self.beat = {}
        self.beat_at = None
        self.watched = False
        self.watchdog_s = None
        self.sample = None
        self.rss_most = 0
        self.health = None
        self.taken = set()
        self.check_at = 0.0
        self.dump_by = None
        self.stack = ""
        self.shown = None

    def last_words(self, *, log: bool = True) -> Words:
        """Read what the hand wrote before it ended; with ``log``, for want of that its log."""
        said = Words()
        if self.words is not None:
            with suppress(OSError):
                size = os.fstat(self.words).st_size
                said = read(os.pread(self.words, WORDS_BYTES, max(0, size - WORDS_BYTES)))
        return said if said.text or not (log and self.log) else _end_of(self.log, self.log_from)

    def print_to(self, log: str) -> None:
        """Note where a program that is started now prints."""
        self.log = log
        with suppress(OSError):
            self.log_from = os.stat(log).st_size  # noqa: PTH116 - of each program started

    def close(self) -> None:
        """Close what is held of the process."""
        for fd in (self.pidfd, self.words):
            if fd is not None:
                os.close(fd)
        self.pidfd = self.words = None

    def tell(self, book: Mapping[str, str]) -> Mapping[str, str]:
        """Return the book to tell a hio hand: all it was told, and what it survives of this one."""
        self.told.update(agreeing(self.told, book))
        return self.told

    def hear_beat(self, load: Mapping[str, Any], now: float) -> Beat:
        """Keep a heartbeat; return it as evidence."""
        self.beat = load
        self.beat_at = now
        return Beat(
            now,
            int(_figure(load.get("cycles")) or 0),
            (_figure(load.get("lag_ms")) or 0.0) / 1000,
            int(_figure(load.get("outbox")) or 0),
        )

    def figure(self, name: str) -> float | None:
        """Return a number of the latest heartbeat; None if it has none of that name."""
        return _figure(self.beat.get(name))

    def words_of(self, name: str) -> str | None:
        """Return what the latest heartbeat says by that name, in a line; None if nothing."""
        said = self.beat.get(name)
        return (one_line(said)[:GIST_CHARS] or None) if isinstance(said, str) else None

    def beat_age(self, now: float) -> float | None:
        """Return how long ago the latest heartbeat came, in seconds."""
        return None if self.beat_at is None else max(0.0, now - self.beat_at)

    def look(self, sample: Sample) -> None:
        """Keep a look at its process."""
        self.sample = sample
        self.rss_most = max(self.rss_most, sample.rss_bytes)


def _figure(value: Any) -> float | None:
    """Return what a hand gives as a number, if it is one that can be: finite, and no debt."""
    number = value.__class__ is float or value.__class__ is int  # True is none
    return value if number and 0 <= value <= FIGURE_MOST else None


def _end_of(log: str, begin: int) -> Words:
    """Read the end of a log file; what is no file, or not ours to read, says nothing."""
    try:
        # A log may be given as a FIFO: nobody waits for its other end.
        fd = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return Words()
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode):
            return Words()
        # One that is shorter than it was has been begun anew.
        least = begin if begin <= seen.st_size else 0
        start = max(least, seen.st_size - LOG_BYTES)
        return read_log(os.pread(fd, LOG_BYTES, start), whole=start == least)
    except OSError:
        return Words()
    finally:
        os.close(fd)


def limits_of(hand: Hand, station: Station) -> Health:
    """Return a hand's limits: its definition's, with the watchdog time it asked for itself."""
    limits = hand.spec.health
    if station.watchdog_s is None:
        return limits
    return replace(limits, beat_s=station.watchdog_s / limits.misses)
