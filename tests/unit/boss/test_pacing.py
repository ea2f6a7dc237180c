"""What a boss takes in without a turn, and what ends its rest."""

from __future__ import annotations

import math
from types import SimpleNamespace

import orjson
import pytest
from support.clockwork import Clockwork

from hiod.base.doing import Doer
from hiod.boss.clinic import Clinic
from hiod.boss.pacing import ASIDE_MOST, BossDoist
from hiod.boss.stations import Station
from hiod.boss.switchboard import Switchboard
from hiod.core.memo.gramming import SOLE
from hiod.host.procs import Watch
from hiod.rules import health, specs
from hiod.rules import records as r

ADDR = "/r/m/web.uxd"
PID = 7
MEMO_FD = 3


def hand(**facts):
    known = {
        "spec": specs.HandSpec(name="web", doers=({"ref": "app:Web"},)),
        "state": r.State.READY,
        "generation": 2,
        "process": r.ProcessId(PID, 1, "boot"),
        "registered": True,
        "status": "busy",
        **facts,
    }
    return r.Hand("web", **known)


def gram(load=None, *, head=SOLE, **said):
    figures = {"cycles": 9, "lag_ms": 0.5, "outbox": 0}
    told = {"v": 1, "gen": 2, "seq": 3, **figures, "status": "busy", "ready": False, **(load or {})}
    return (
        head + b"0A" + b"A" * 22 + orjson.dumps({"tag": "HBT", "name": "web", "load": told, **said})
    )


@pytest.fixture
def boss():
    """A boss of one hand that is up, and well."""
    made = SimpleNamespace(
        hands={"web": hand()}, stations={"web": Station(ADDR)}, now=lambda: 100.0, fed=[]
    )
    made.feed = lambda name, event: made.fed.append(event)
    made.station = made.stations.__getitem__
    made.clinic = Clinic(made, Watch())
    made.clinic.attend(made.hands["web"])
    made.switchboard = Switchboard(made)
    made.switchboard.list_addr("web", ADDR)
    return made


def hear(boss, data, *, src=ADDR, pid=PID, now=104.0):
    return boss.switchboard.hear_aside(data, src, (pid, 0, 0), now)


def test_a_heartbeat_that_says_nothing_new_is_kept_and_that_is_all(boss) -> None:
    assert hear(boss, gram())

    station = boss.stations["web"]
    assert (station.beat_at, station.figure("cycles")) == (104.0, 9)
    assert station.beat_age(106.0) == 2.0
    assert station.health.beats_from == 104.0
    assert station.check_at == 109.5  # the boss sees to it that time alone finds a silence
    assert boss.fed == []


def test_a_hand_that_called_itself_ready_says_so_with_every_beat(boss) -> None:
    assert hear(boss, gram({"ready": True}))


def test_a_hand_that_is_not_judged_yet_beats_without_a_turn(boss) -> None:
    boss.stations["web"].health = None

    assert hear(boss, gram())


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (gram(name="other"), {}),
        (gram(tag="RDY"), {}),
        (gram(more=1), {}),
        (gram(name=["web"]), {}),
        (SOLE + b"0A" + b"A" * 22 + b'{"tag":"HBT","name":"web","load":[]}', {}),
        (gram({"v": 9}), {}),
        (gram({"gen": 1}), {}),
        (gram({"status": "idle"}), {}),
        (gram({"lag_ms": 9000.0}), {}),
        (gram()[:-1], {}),
        (gram(head=b"bAAAAAAC"), {}),
        (b"", {}),
        (gram(), {"pid": 8}),
        (gram(), {"src": "/r/m/other.uxd"}),
        (gram(), {"src": None}),
        (gram(), {"now": 106.0}),
    ],
)
def test_whatever_may_say_more_is_left_to_a_turn(boss, data, facts) -> None:
    assert not hear(boss, data, **facts)


@pytest.mark.parametrize(
    "facts", [{"process": None}, {"state": r.State.STARTING}, {"state": r.State.DEGRADED}]
)
def test_what_a_hand_says_that_is_not_quite_up_is_left_to_a_turn(boss, facts) -> None:
    boss.hands["web"] = hand(**facts)

    assert not hear(boss, gram({"ready": True}))


def test_a_hand_that_was_not_well_is_left_to_a_turn(boss) -> None:
    boss.clinic.judge("web", health.Evidence(sample=health.Sample(100.0, status="T")))

    assert not hear(boss, gram())


class Hearing(Doer):
    """Stands in for an Overseer on its memo socket: each word is a beat, or is not."""

    def __init__(self, clockwork):
        super().__init__(tock=math.inf)
        self._clockwork = clockwork
        self.switchboard = SimpleNamespace(hear_aside=None)
        self.words = []
        self.heard = []
        self.tymes = []
        self.stalls = 0.0

    def fds(self):
        return (MEMO_FD,)

    def come(self, *words):
        self.words += words
        self._clockwork.ready.add(MEMO_FD)

    def _next(self):
        word = self.words.pop(0) if self.words else ""
        if not self.words:
            self._clockwork.ready.discard(MEMO_FD)
        return word

    def receiveAside(self, hear, now):
        assert hear is self.switchboard.hear_aside
        if self.words and self.words[0] != "beat":
            return False
        self.heard.append((self._next(), now))
        self._clockwork.stall(self.stalls)
        return True

    def recur(self, tyme):
        self.tymes.append(tyme)
        while self.words:
            self.heard.append((self._next(), tyme))
        return False


@pytest.fixture
def clockwork():
    return Clockwork()


@pytest.fixture
def ear(clockwork):
    return Hearing(clockwork)


@pytest.fixture
def rest(clockwork, ear):
    def led(*others, limit=10.0):
        doist = BossDoist(
            boss=ear, real=True, tock=0.5, doers=[ear, *others], limit=limit,
            clock=clockwork.clock, waiter=clockwork,
        )  # fmt: skip
        doist.do()

    return led


def test_heartbeats_are_heard_when_they_come_and_take_no_turn(clockwork, ear, rest) -> None:
    clockwork.at(3.0, lambda: ear.come("beat", "beat"))
    clockwork.at(4.5, lambda: ear.come("beat"))

    rest()

    assert ear.heard == [("beat", 3.0), ("beat", 3.0), ("beat", 4.5)]
    assert ear.tymes == [0.0]


def test_anything_else_takes_a_turn_at_once(clockwork, ear, rest) -> None:
    clockwork.at(3.0, lambda: ear.come("beat", "memo", "beat"))

    rest()

    assert ear.heard == [("beat", 3.0), ("memo", 3.0), ("beat", 3.0)]
    assert ear.tymes == [0.0, 3.0]


def test_a_turn_that_is_due_is_made_in_time_whatever_comes(clockwork, ear, rest) -> None:
    for at in range(8):
        clockwork.at(at + 0.5, lambda: ear.come("beat"))
    ticking = Doer(tock=4.0)
    tymes = []
    ticking.recur = lambda tyme: tymes.append(tyme)

    rest(ticking)

    assert len(ear.heard) == 8
    assert tymes == [0.0, 4.0, 8.0]


def test_a_turn_that_has_become_due_meanwhile_comes_before_the_next_heartbeat(
    clockwork, ear, rest
) -> None:
    clockwork.at(3.5, lambda: ear.come("beat", "beat"))
    ear.stalls = 2.0
    ticking = Doer(tock=4.0)
    ticking.recur = lambda tyme: None

    rest(ticking)

    assert [tyme for _, tyme in ear.heard] == [3.5, 5.5]
    assert ear.tymes == [0.0, 5.5]


def test_a_flood_of_heartbeats_ends_in_a_turn(clockwork, ear, rest) -> None:
    clockwork.at(3.0, lambda: ear.come(*["beat"] * (ASIDE_MOST + 1)))

    rest()

    assert len(ear.heard) == ASIDE_MOST + 1
    assert ear.tymes == [0.0, 3.0]


def test_who_else_is_ready_gets_the_turn(clockwork, ear, rest) -> None:
    tymes = []

    class Other(Doer):
        def fds(self):
            return (5,)

        def recur(self, tyme):
            clockwork.ready.discard(5)
            tymes.append(tyme)

    other = Other(tock=math.inf)
    clockwork.at(3.0, lambda: (clockwork.ready.add(5), ear.come("beat")))

    rest(other)

    assert (tymes, ear.tymes) == ([0.0, 3.0], [0.0, 3.0])
