from __future__ import annotations

import functools
import math
import re
import select
import sys
from types import ModuleType

import pytest
from support import clockwork as clockwork_module
from support.clockwork import Clockwork

from hiod.base.doing import Doer, doize
from hiod.base.multidoing import CrewDoer, Crewer
from hiod.hand.main import DoersError, HandDoist, make_doers, posting


class Plain(Doer):
    def __init__(self, *, color="red", **kwa):
        super().__init__(**kwa)
        self.color = color


class Sharing(CrewDoer):
    def __init__(self, *, size=1, **kwa):
        super().__init__(**kwa)
        self.size = size


class OwnCrewer(Crewer):
    pass


def wanting(crewer):
    return Sharing(crewer=crewer)


def leading():
    return [OwnCrewer(), Plain()]


def generating(tymth, tock=0.0, temp=None, **opts):
    yield tock


def generating_nothing():
    yield 0.0


def naming(tymth, tock=0.0, temp=None, *, name, f):
    yield tock


@doize(tock=0.25, x=1)
def doized(tymth, tock=0.0, temp=None, x=0, y=0):
    yield tock


class Halfway(Doer):
    def __init__(self, **kwa):
        self.color = "red"


class HalfwayInAnotherWay(Doer):
    def __init__(self, **kwa):
        self.tock = 0.5


def generating_with(tymth, tock=0.0, temp=None, *, crewer, **opts):
    yield tock


@pytest.fixture(autouse=True)
def crewapp(monkeypatch):
    module = ModuleType("crewapp")
    vars(module).update(globals())
    monkeypatch.setitem(sys.modules, "crewapp", module)


def order(*doers, **facts):
    boss = {"name": "boss", "addr": "/run/boss.uxd", "pid": 11}
    return {
        "name": "alpha-2",
        "hand": "alpha",
        "ordinal": 2,
        "generation": 4,
        "token": "t",
        "addr": "/run/alpha-2.uxd",
        "boss": boss,
        "beat_s": 2.5,
        "ready_by": "memo",
        "doers": [f"crewapp:{d}" if isinstance(d, str) else d for d in doers],
        **facts,
    }


def kinds(doers):
    return [type(doer).__name__ for doer in doers]


def test_a_crewer_is_put_first():
    assert kinds(make_doers(order("Plain"), -1)) == ["Crewer", "Plain"]


def test_no_doers_are_only_a_crewer():
    assert kinds(make_doers(order(), -1)) == ["Crewer"]
    assert kinds(make_doers(order(doers=None), -1)) == ["Crewer"]


@pytest.mark.parametrize("first", ["OwnCrewer", "leading"])
def test_a_first_entry_that_makes_a_crewer_keeps_its_place(first):
    doers = make_doers(order(first, "Sharing"), -1)

    assert kinds(doers)[0] == "OwnCrewer"
    assert kinds(doers).count("Crewer") == 0
    assert doers[-1].crewer is doers[0]
    assert doers[0].name == "alpha-2"


def test_a_crewer_is_given_to_who_names_it_or_passes_it_on():
    crewer, sharing, wanted = make_doers(order("Sharing", "wanting"), -1)

    assert sharing.crewer is crewer
    assert wanted.crewer is crewer


def test_opts_and_tock_reach_the_doer():
    entry = {"ref": "crewapp:Plain", "tock": 0.5, "opts": {"color": "blue"}}

    _, doer = make_doers(order(entry), -1)

    assert (doer.tock, doer.color) == (0.5, "blue")


def test_a_generator_function_becomes_a_doer_of_its_own():
    entry = {"ref": "crewapp:generating_with", "tock": 0.5, "opts": {"x": 1}}

    crewer, doer, other = make_doers(order(entry, "generating"), -1)

    assert (doer.tock, doer.opts) == (0.5, {"x": 1, "crewer": crewer})
    assert (other.tock, other.opts) == (0.0, {})


def test_an_entry_that_cannot_be_used_is_named():
    with pytest.raises(DoersError, match=r"^ModuleNotFoundError: No module named 'nowhere_at_all'"):
        make_doers(order({"ref": "nowhere_at_all:X"}), -1)


@pytest.mark.parametrize("half", ["Halfway", "HalfwayInAnotherWay"])
def test_a_doer_whose_init_is_not_passed_on_is_told_so(half):
    said = (
        f'doers[0] "crewapp:{half}" gives a {half} whose __init__ did not call super().__init__()'
    )

    with pytest.raises(DoersError, match=f"^{re.escape(said)}$"):
        make_doers(order(half), -1)


def test_opts_of_a_generator_function_may_be_named_as_what_doify_takes():
    entry = {"ref": "crewapp:naming", "opts": {"name": "n", "f": 2, "tock": 0.5, "temp": True}}

    _, doer = make_doers(order(entry), -1)

    assert (doer.opts, doer.tock, doer.temp) == ({"name": "n", "f": 2}, 0.5, True)


def test_the_tock_of_an_entry_is_before_that_in_its_opts():
    entry = {"ref": "crewapp:naming", "tock": 2, "opts": {"name": "n", "f": 2, "tock": 0.5}}

    assert make_doers(order(entry), -1)[1].tock == 2.0


def test_what_a_generator_function_was_doized_with_counts_where_the_entry_says_nothing():
    entry = {"ref": "crewapp:doized", "tock": 0.5, "opts": {"y": 2}}

    _, plain, told = make_doers(order("doized", entry), -1)

    assert (plain.tock, plain.opts) == (0.25, {"x": 1})
    assert (told.tock, told.opts) == (0.5, {"x": 1, "y": 2})


@pytest.mark.parametrize(
    ("ref", "opts", "said"),
    [
        (
            "generating_nothing",
            {},
            "TypeError: generating_nothing() got an unexpected keyword argument 'tymth'"
            "; it is called with tymth, tock, temp and its opts",
        ),
        (
            "naming",
            {"name": "n"},
            "TypeError: naming() missing 1 required keyword-only argument: 'f'"
            "; it is called with tymth, tock, temp and its opts",
        ),
        ("generating", {"tymth": 1}, 'it is given its tyme as "tymth"; take that out of opts'),
        ("generating", {"tock": "x"}, "ValueError: could not convert string to float: 'x'"),
    ],
)
def test_a_generator_function_that_cannot_be_called_is_named(ref, opts, said):
    said = f'doers[1] "crewapp:{ref}" cannot be made: {said}'

    with pytest.raises(DoersError, match=f"^{re.escape(said)}$"):
        make_doers(order("Plain", {"ref": f"crewapp:{ref}", "opts": opts}), -1)


@pytest.mark.parametrize("ref", ["Sharing", "wanting", "generating_with"])
def test_opts_cannot_hold_a_crewer(ref):
    entry = {"ref": f"crewapp:{ref}", "opts": {"crewer": "me"}}
    said = (
        f'doers[0] "crewapp:{ref}" is given its hand\'s Crewer as "crewer"; take that out of opts'
    )

    with pytest.raises(DoersError, match=f"^{re.escape(said)}$"):
        make_doers(order(entry), -1)


def test_a_crewer_in_opts_is_whatever_its_author_means_where_none_is_given():
    _, doer = make_doers(order({"ref": "crewapp:generating", "opts": {"crewer": "me"}}), -1)

    assert doer.opts == {"crewer": "me"}


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        (
            "select:Worker",
            f"AttributeError: module 'select' has no attribute 'Worker'; it is Python's own "
            f"{select.__file__}: a module of yours needs another name",
        ),
        (
            "sys:Worker",
            "AttributeError: module 'sys' has no attribute 'Worker'; "
            "it is Python's own: a module of yours needs another name",
        ),
        (
            "support.clockwork:Clockwork.hand",
            "AttributeError: type object 'Clockwork' has no attribute 'hand'; "
            f"it is {clockwork_module.__file__}",
        ),
    ],
)
def test_a_module_without_what_is_looked_for_is_told_by_its_file(ref, said):
    with pytest.raises(DoersError, match=f"^{re.escape(said)}$"):
        make_doers(order({"ref": ref}), -1)


def test_a_posting_says_what_the_order_says():
    told = posting(order(), 3)

    assert (told.name, told.hand, told.ordinal, told.generation) == ("alpha-2", "alpha", 2, 4)
    assert (told.boss.name, told.boss.path, told.bossPid) == ("boss", "/run/boss.uxd", 11)
    assert (told.fd, told.addr, told.beat_s, told.readyBy) == (3, "/run/alpha-2.uxd", 2.5, "memo")
    assert posting(order(), -1).fd is None


def test_a_wrapped_or_partial_factory_is_asked_what_it_wraps(crewapp):
    module = sys.modules["crewapp"]
    module.decorated = functools.wraps(wanting)(lambda *pa, **kwa: wanting(*pa, **kwa))
    module.partly = functools.partial(wanting)

    crewer, first, second = make_doers(order("decorated", "partly"), -1)

    assert first.crewer is crewer
    assert second.crewer is crewer


class Beating(Doer):
    """Stands in for a Crewer of which only the heartbeats are of interest, one every 5 s."""

    def __init__(self, *, heard=True, phase=0.0):
        super().__init__(tock=math.inf)
        self.heard = heard
        self.phase = phase
        self.opened = False
        self.at = 5.0
        self.said = []
        self.runs = 0

    def beatAside(self):
        return self.phase, 5.0

    def asideAt(self):
        return self.at

    def sayAside(self, tyme):
        self.said.append(tyme)
        self.at = tyme + 5.0
        if self.heard:
            return self.at
        self.wake()
        return -math.inf

    def recur(self, tyme):
        self.runs += 1
        return False


@pytest.fixture
def clockwork():
    return Clockwork()


@pytest.fixture
def make(clockwork):
    def made(*doers, limit=21.0):
        return HandDoist(
            real=True, doers=doers, limit=limit, clock=clockwork.clock, waiter=clockwork
        )

    return made


def test_an_idle_hand_beats_without_a_turn(make) -> None:
    crewer = Beating()

    doist = make(crewer)
    doist.do()

    assert crewer.said == [5.0, 10.0, 15.0, 20.0]
    assert crewer.runs == 1  # at the start
    assert doist.cycles == crewer.runs + len(crewer.said)
    assert doist.tyme == pytest.approx(21.0)


def test_a_busy_hand_beats_between_its_turns(make) -> None:
    crewer, busy = Beating(), Plain()

    make(crewer, busy).do()

    assert crewer.said == [5.0, 10.0, 15.0, 20.0]


def test_a_hand_that_never_waits_beats_all_the_same(make, clockwork) -> None:
    class Slow(Doer):
        def recur(self, tyme):
            clockwork.stall(0.5)
            return False

    crewer = Beating()
    make(crewer, Slow()).do()

    assert len(crewer.said) == 4
    assert all(abs(at - 5.0 * (n + 1)) < 0.51 * (n + 1) for n, at in enumerate(crewer.said))


def test_a_beat_that_comes_late_says_so_and_the_next_is_in_time(make, clockwork) -> None:
    crewer, sleeper = Beating(), Sleeping()
    doist = make(crewer, sleeper, limit=14.0)
    sleeper.seen = lambda: clockwork.stall(3.0 if clockwork.elapsed == 4.0 else 0.0)
    clockwork.at(4.0, lambda: doist.wake(sleeper))

    doist.do()

    assert crewer.said == [7.0, 10.0]
    assert doist.lagMax == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("phase", "said"), [(0.0, [5.0, 10.0]), (0.003, [0.003, 5.003, 10.003]), (4.0, [4.0, 9.0])]
)
def test_a_hand_beats_at_its_own_time_of_the_machines_clock(make, phase, said) -> None:
    crewer = Beating(phase=phase)

    make(crewer, limit=13.0).do()

    assert crewer.said == pytest.approx(said)


def test_a_beat_that_was_said_in_a_turn_is_followed_by_one_at_the_hands_own_time(
    make, clockwork
) -> None:
    crewer = Beating(phase=1.0)
    doist = make(crewer, limit=13.0)

    def speak():
        crewer.at = 7.0 + 5.0  # said one at 7.0, because its status changed
        doist.wake(crewer)

    clockwork.at(7.0, speak)

    doist.do()

    assert crewer.said == [1.0, 6.0, 11.0]


def test_a_beat_is_not_said_at_a_time_that_is_over(make) -> None:
    crewer = Beating()
    crewer.at = 4.0  # its own time before that was at the start

    make(crewer, limit=11.0).do()

    assert crewer.said == [5.0, 10.0]


def test_a_late_beat_that_cannot_leave_takes_a_turn(make, clockwork) -> None:
    crewer, sleeper = Beating(heard=False), Sleeping()
    doist = make(crewer, sleeper, limit=9.0)
    sleeper.seen = lambda: clockwork.stall(3.0 if clockwork.elapsed == 4.0 else 0.0)
    clockwork.at(4.0, lambda: doist.wake(sleeper))

    doist.do()

    assert (crewer.said, crewer.runs) == ([7.0], 2)


def test_a_beat_that_cannot_leave_takes_a_turn(make) -> None:
    crewer = Beating(heard=False)

    make(crewer, limit=6.0).do()

    assert crewer.runs == 2


def test_what_wakes_a_doer_while_a_beat_is_due_is_not_lost(make, clockwork) -> None:
    crewer, sleeper = Beating(), Sleeping()
    doist = make(crewer, sleeper, limit=6.0)
    clockwork.at(5.0, lambda: doist.wake(sleeper))

    doist.do()

    assert (crewer.said, sleeper.tymes) == ([5.0], [0.0, 5.0])


def test_a_memo_that_comes_between_two_beats_is_read_at_once(make, clockwork) -> None:
    crewer, reader = Beating(), Sleeping(fds=(7,))
    clockwork.at(7.0, lambda: clockwork.ready.add(7))
    reader.seen = lambda: clockwork.ready.clear()

    make(crewer, reader, limit=11.0).do()

    assert (crewer.said, reader.tymes) == ([5.0, 10.0], [0.0, 7.0])


class Sleeping(Doer):
    """Sleeps until it is woken, or a descriptor is ready."""

    def __init__(self, fds=()):
        super().__init__(tock=math.inf)
        self._awaited = fds
        self.tymes = []
        self.seen = lambda: None

    def fds(self):
        return self._awaited

    def recur(self, tyme):
        self.tymes.append(tyme)
        self.seen()
        return False
