"""Health: lets the two witnesses speak about each hand, and takes the steps that follow.

Decides nothing about a hand itself: ``rules.health`` judges. Leaves what a verdict means for a
hand's state to ``rules.policy``. Invariant: a stall of the boss condemns nobody.
"""

from __future__ import annotations

import heapq
import math
import os
from typing import TYPE_CHECKING

from hiod.boss.stations import WORDS_BYTES, limits_of
from hiod.host.packets import DUMP_SIGNAL
from hiod.rules import health, words
from hiod.rules import records as r

if TYPE_CHECKING:
    from hiod.boss.overseer import Overseer
    from hiod.boss.stations import Station
    from hiod.host.procs import Watch

DUMP_LOOK_S, DUMP_WAIT_S = 0.05, 1.0
"""How often the stack a hand was asked for is looked for, and for how long; memory tells nobody."""
LATE_S = 0.5
"""A boss that is later than this was not there: its hands are excused."""
UP = frozenset({r.State.READY, r.State.RUNNING, r.State.DEGRADED})


class Clinic:
    """The health of one boss's hands."""

    def __init__(self, boss: Overseer, watch: Watch) -> None:
        self.watch = watch
        self._boss = boss
        self._checks: list[tuple[float, str]] = []
        self._planned: dict[str, float] = {}  # the first of each hand's in that heap

    def next_at(self, now: float) -> float:
        """Return when time alone wants somebody looked at."""
        self._put_off()
        check_at = self._checks[0][0] if self._checks else math.inf
        return min(check_at, self.watch.next_at(now))

    def excuse(self, late_s: float) -> None:
        """Tell every hand's judgement that the boss itself was away for so long."""
        if late_s < LATE_S:
            return
        for name in list(self._boss.stations):
            self.judge(name, health.Evidence(boss_late_s=late_s))

    def begin(self, hand: r.Hand, process: r.ProcessId) -> None:
        """Watch a hand's process from outside."""
        limits = hand.spec.health
        closely = any(most is not None for most in (limits.rss_max, limits.cpu_max, limits.fds_max))
        now, period_s = self._boss.now(), limits.beat_s
        self.watch.add(hand.name, process, now, closely=closely, period_s=period_s)

    def attend(self, hand: r.Hand) -> None:
        """Begin to judge a hand that has come up."""
        station = self._boss.station(hand.name)
        beats = hand.registered and not station.hio and hand.spec.doers is not None
        beats = beats or station.watched
        station.health = health.begin(self._boss.now(), beats=beats)
        station.taken = set()
        self.judge(hand.name, health.Evidence())

    def ping(self, hand: r.Hand) -> None:
        """Take a word to the watchdog for a heartbeat; from the first on, more are expected."""
        station, now = self._boss.station(hand.name), self._boss.now()
        station.watched = True
        station.beat_at = now
        if station.health is not None:
            station.health = health.expect(station.health, now)
            self.judge(hand.name, health.Evidence(beat=health.Beat(now)))

    def leave(self, name: str) -> None:
        """Watch a hand no longer."""
        self.watch.drop(name)

    def ask_stack(self, name: str) -> None:
        """Have a hand write its Python stack to its last words, where it is kept with its end."""
        if self._boss.station(name).words is not None:
            self._boss.processes.signal(name, DUMP_SIGNAL)

    def glance(self, name: str) -> None:
        """Look at a hand's process if nobody has yet."""
        station = self._boss.station(name)
        if station.sample is None and name in self.watch:
            station.look(self.watch.look(name, self._boss.now()))

    def examine(self, name: str) -> None:
        """Look at a hand's process closely, because somebody asks."""
        if name in self.watch:
            self._boss.station(name).look(self.watch.look(name, self._boss.now()))

    def round(self) -> None:
        """Take the looks and the judgements that are due."""
        now = self._boss.now()
        for name, sample in self.watch.sample_due(now):
            station = self._boss.stations.get(name)
            if station is not None:
                station.look(sample)
                self._see(name, station, sample)
        while self._checks and self._checks[0][0] <= now:
            at, name = heapq.heappop(self._checks)
            if self._planned.get(name) == at:
                del self._planned[name]
            self._read_dump(name)
            self.judge(name, health.Evidence())

    def beat(self, hand: r.Hand, station: Station, beat: health.Beat) -> bool:
        """Take in a heartbeat; False when it changes more than when the last one came: judge it."""
        state = station.health
        if state is None or hand.state not in UP:
            return True
        limits = limits_of(hand, station)
        after = health.still_well(state, beat.at, limits, beat=beat)
        if after is None:
            return False
        station.health = after
        # Later than what is planned: the round puts that off when it comes to it.
        station.check_at = health.next_check_at(after, beat.at, limits)
        return hand.name in self._planned

    def _see(self, name: str, station: Station, sample: health.Sample) -> None:
        """Take in a look at a hand's process."""
        state, hand = station.health, self._boss.hands.get(name)
        if state is None or hand is None or hand.state not in UP:
            return
        limits = limits_of(hand, station)
        after = health.still_well(state, sample.at, limits, sample=sample)
        if after is None:
            self.judge(name, health.Evidence(sample=sample))
        else:
            station.health = after

    def judge(self, name: str, evidence: health.Evidence) -> None:
        """Let the witnesses speak about a hand that is up, and act on what they say."""
        boss = self._boss
        hand, station = boss.hands.get(name), boss.stations.get(name)
        if hand is None or station is None or station.health is None or hand.state not in UP:
            return
        now, limits = boss.now(), limits_of(hand, station)
        state, verdict, why = health.judge(station.health, evidence, now, limits)
        if verdict is not station.health.verdict:
            station.taken = set()
            ok = verdict is health.Verdict.OK
            boss.feed(name, r.Judged(ok, str(verdict), "; ".join(why)))
        station.health = state
        self.watch.suspect(name, health.suspect(state, now, limits), now)
        for step in health.steps(state, now, limits):
            if step.what not in station.taken:
                station.taken.add(step.what)
                self._climb(name, step.what, str(verdict))
        check_at = health.next_check_at(state, now, limits)
        station.check_at = check_at
        if check_at < self._planned.get(name, math.inf):
            self._planned[name] = check_at
            heapq.heappush(self._checks, (check_at, name))

    def _put_off(self) -> None:
        """Move first checks that a heartbeat has made needless to when they are wanted now.

        So a hand that is well never wakes the boss for them.
        """
        checks = self._checks
        while checks:
            at, name = checks[0]
            station = self._boss.stations.get(name)
            if station is not None and (station.dump_by is not None or station.check_at <= at):
                return
            heapq.heappop(checks)
            if self._planned.get(name) != at:
                continue
            del self._planned[name]
            if station is not None and station.check_at < math.inf:
                self._planned[name] = station.check_at
                heapq.heappush(checks, (station.check_at, name))

    def _climb(self, name: str, what: str, verdict: str) -> None:
        """Take a step of the ladder."""
        boss = self._boss
        hand, station = boss.hands[name], boss.stations[name]
        if what == "dump" and hand.spec.doers is not None and station.words is not None:
            station.dump_from = station.dump_to = os.fstat(station.words).st_size
            station.dump_by = boss.now() + DUMP_WAIT_S
            self.ask_stack(name)
            heapq.heappush(self._checks, (boss.now() + DUMP_LOOK_S, name))
        elif what == "restart":
            why = f"{verdict} (health.on_fail = restart)"
            boss.feed(name, r.RestartAsked("hiod", why, counts=True))

    def _read_dump(self, name: str) -> None:
        """Read the stack a hand was asked for, once it is whole, and keep it with the verdict."""
        station, now = self._boss.stations.get(name), self._boss.now()
        if station is None or station.dump_by is None or station.words is None:
            return
        before, station.dump_to = station.dump_to, os.fstat(station.words).st_size
        whole = station.dump_to == before > station.dump_from
        if not whole and now < station.dump_by:
            heapq.heappush(self._checks, (now + DUMP_LOOK_S, name))
            return
        station.dump_by = None
        start = max(station.dump_from, station.dump_to - WORDS_BYTES)
        raw = os.pread(station.words, WORDS_BYTES, start)
        station.stack = raw.decode("utf-8", "replace").strip()
        lines = [line.strip() for line in words.innermost(station.stack)]
        where = next((line for line in lines if line.startswith("File ")), "no Python frame")
        if not lines:
            where = f"none came in {DUMP_WAIT_S:g} s"
        self._boss.ledger.tell("hand.dumped", hand=name, where=where, stack=station.stack)
