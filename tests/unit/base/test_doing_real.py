"""The Doist in real time, on a clock that moves only by waiting."""

import math

import pytest
from support.clockwork import Clockwork

from hiod.base.doing import DoDoer, Doer, Doist, doify


class Noting(Doer):
    """Notes the tyme of each run; ``react`` may answer with what ``recur`` returns."""

    def __init__(self, react=None, **kwa):
        super().__init__(**kwa)
        self.tymes = []
        self.react = react

    def recur(self, tyme):
        self.tymes.append(tyme)
        return False if self.react is None else self.react(tyme)


class Waiting(Noting):
    """Waits for descriptors."""

    def __init__(self, fds, **kwa):
        super().__init__(**kwa)
        self.awaited = fds

    def fds(self):
        return self.awaited


def yielding(tocks, tymes, *, tock=0.0, fds=None):
    """Return a doified function that yields these tocks after its first run, then sleeps."""

    def run(tymth, tock=0.0, **_):
        tymes.append((yield tock))
        for asked in tocks:
            tymes.append((yield asked))
        while True:
            tymes.append((yield math.inf))

    made = doify(run, tock=tock)
    if fds is not None:
        made.fds = fds
    return made


@pytest.fixture
def clockwork():
    return Clockwork()


@pytest.fixture
def make(clockwork):
    def made(*doers, limit=10.0, tock=1.0, kind=Doist, **kwa):
        return kind(
            real=True,
            doers=doers,
            limit=limit,
            tock=tock,
            clock=clockwork.clock,
            waiter=clockwork,
            **kwa,
        )

    return made


def test_a_doer_without_descriptors_and_tock_zero_runs_every_cycle(make, clockwork) -> None:
    doer = Noting()

    doist = make(doer, limit=3.0)
    doist.do()

    assert doer.tymes == [0.0, 1.0, 2.0]
    assert (doist.tyme, doist.done, clockwork.elapsed) == (3.0, False, 3.0)
    assert clockwork.opened == 0


def test_cycles_in_which_nothing_is_due_are_slept_through_in_one_wait(make, clockwork) -> None:
    doer = Noting(tock=4.0)

    doist = make(doer, limit=10.0)
    doist.do()

    assert doer.tymes == [0.0, 4.0, 8.0]
    assert clockwork.waits == [0.0, 4.0, 4.0, 2.0]
    assert doist.cycles == 3


def test_with_nothing_due_it_sleeps_to_the_limit(make, clockwork) -> None:
    doer = Noting(tock=math.inf)

    make(doer, limit=86400.0).do()

    assert doer.tymes == [0.0]
    assert clockwork.waits == [0.0, 86400.0]


def test_with_nothing_due_and_no_limit_it_sleeps_for_ever(make, clockwork) -> None:
    doist = make(Noting(tock=math.inf), limit=None)
    clockwork.at(1e6, doist.halt)

    doist.do()

    assert clockwork.waits == [0.0, None]
    assert doist.cycles == 1


def test_a_run_comes_at_the_first_whole_tock_at_which_it_is_due(make) -> None:
    doer = Noting(tock=0.6)

    make(doer, tock=0.25, limit=3.0).do()

    assert doer.tymes == [0.0, 0.75, 1.25, 2.0, 2.5]


@pytest.mark.parametrize("tock", [0.1, 0.3, 0.7, 1 / 3])
def test_tocks_that_are_no_sums_of_halves_lose_no_cycle(make, tock) -> None:
    own, every = Noting(tock=tock), Noting()

    make(own, every, tock=tock, limit=tock * 1000.5).do()

    assert len(own.tymes) == len(every.tymes) == 1001


def test_after_a_stall_each_runs_once_and_goes_on_at_its_own_step(make, clockwork) -> None:
    stalled = Noting(react=lambda tyme: clockwork.stall(7.25) if tyme == 2.0 else None)
    three, one = Noting(tock=3.0), Noting(tock=1.0)

    make(stalled, three, one, limit=14.0).do()

    assert stalled.tymes == [0.0, 1.0, 2.0, 9.0, 10.0, 11.0, 12.0, 13.0]
    assert three.tymes == [0.0, 9.0, 12.0]
    assert one.tymes == [0.0, 1.0, 2.0, 9.0, 10.0, 11.0, 12.0, 13.0]


def test_lag_is_how_late_a_turn_started(make, clockwork) -> None:
    lags = []

    def react(tyme):
        lags.append((doist.lag, doist.lagMax))
        if tyme == 1.0:
            clockwork.stall(3.5)

    doist = make(Noting(react=react), limit=7.0)
    doist.do()

    assert lags == [(0.0, 0.0), (0.0, 0.0), (2.5, 2.5), (0.0, 2.5), (0.0, 2.5)]
    doist.lagMax = 0.0
    assert doist.lagMax == 0.0


def test_a_readable_descriptor_runs_its_doer_at_once(make, clockwork) -> None:
    doer = Waiting([5], react=lambda tyme: clockwork.ready.clear())
    other = Noting(tock=math.inf)
    clockwork.at(2.5, lambda: clockwork.ready.add(5))
    clockwork.at(2.75, lambda: clockwork.ready.add(5))

    doist = make(doer, other, limit=9.0)
    doist.do()

    assert doer.tymes == [0.0, 2.0, 2.0]
    assert other.tymes == [0.0]
    assert clockwork.waits == [0.0, 9.0, 6.5, 6.25]
    assert doist.lag == 0.0


def test_readiness_leaves_a_finite_retyme_alone(make, clockwork) -> None:
    doer = Waiting([5], tock=3.0, react=lambda tyme: clockwork.ready.clear())
    clockwork.at(1.5, lambda: clockwork.ready.add(5))

    make(doer, limit=7.0).do()

    assert doer.tymes == [0.0, 1.0, 3.0, 6.0]


def test_a_yielded_tock_counts_from_now_for_one_that_slept(make, clockwork) -> None:
    tymes = []
    doer = yielding([math.inf, 2.5], tymes)
    clockwork.at(3.5, lambda: doist.wake(doer))

    doist = make(doer, limit=9.0)
    doist.do()

    assert tymes == [0.0, 3.0, 6.0]


def test_a_doer_with_descriptors_and_a_falsy_tock_is_due_by_readiness_only(make, clockwork) -> None:
    doer = Waiting([5])

    make(doer, limit=5.0).do()

    assert doer.tymes == [0.0]
    assert clockwork.waits == [0.0, 5.0]


def test_a_doer_that_has_no_descriptors_any_more_runs_every_cycle(make, clockwork) -> None:
    def react(tyme):
        clockwork.ready.clear()
        if tyme == 1.0:
            doer.awaited = []
        if tyme == 3.0:
            doer.awaited = [6]

    doer = Waiting([5], react=react)
    clockwork.at(1.25, lambda: clockwork.ready.add(5))

    make(doer, limit=6.0).do()

    assert doer.tymes == [0.0, 1.0, 2.0, 3.0]


def test_descriptors_are_asked_for_at_enter_and_after_every_run(make, clockwork) -> None:
    seen = []

    def react(tyme):
        seen.append(clockwork.watched)
        doer.awaited = [6, 7]

    doer = Waiting([5], tock=1.0, react=react)

    make(doer, limit=2.0).do()

    assert seen == [{5}, {6, 7}]


def test_a_doified_function_may_carry_descriptors(make, clockwork) -> None:
    tymes = []
    plain = yielding([], tymes, fds=[5])
    asked = yielding([], [], fds=lambda: [6])

    class Looking(Noting):
        def recur(self, tyme):
            assert clockwork.watched == {5, 6}

    make(plain, asked, Looking(tock=math.inf), limit=1.0).do()

    assert tymes == [0.0]


def test_an_ended_or_removed_doer_is_waited_for_no_more(make, clockwork) -> None:
    ending = Waiting([5], react=lambda tyme: True)
    removed = Waiting([6])
    looking = Noting(react=lambda tyme: seen.append(clockwork.watched), tock=1.0)
    seen = []

    def react(tyme):
        doist.remove([removed])

    doist = make(ending, removed, looking, Noting(react=react, tock=math.inf), limit=2.0)
    doist.do()

    assert seen == [{6}, set()]


def test_wake_runs_a_doer_in_this_turn_and_leaves_others_asleep(make, clockwork) -> None:
    order = []
    early = Noting(tock=math.inf, react=lambda tyme: order.append(("early", tyme)))
    late = Noting(tock=math.inf, react=lambda tyme: order.append(("late", tyme)))

    def react(tyme):
        order.append(("waker", tyme))
        if tyme == 2.0:
            early.wake()
            late.wake()

    make(early, Noting(react=react, tock=2.0), late, limit=5.0).do()

    assert order[3:] == [("waker", 2.0), ("early", 2.0), ("late", 2.0), ("waker", 4.0)]


def test_wake_while_it_sleeps_ends_the_wait(make, clockwork) -> None:
    doer = Noting(tock=math.inf)
    clockwork.at(3.75, doer.wake)
    clockwork.at(3.80, doer.wake)

    make(doer, limit=9.0).do()

    assert doer.tymes == [0.0, 3.0, 3.0]


def test_wakes_that_never_end_let_time_pass_and_others_run(make, clockwork) -> None:
    def react(tyme):
        clockwork.stall(0.25)
        doer.wake()

    doer = Noting(tock=math.inf, react=react)
    other = Noting(tock=1.0)

    make(doer, other, limit=3.0).do()

    assert other.tymes == [0.0, 1.0, 2.0]


def test_a_wake_in_enter_is_no_second_first_run(make) -> None:
    class Eager(Noting):
        def enter(self, *, temp=None):
            self.wake()

    doer = Eager(tock=math.inf)

    make(doer, limit=2.0).do()

    assert doer.tymes == [0.0]


def test_an_extra_run_that_yields_infinity_puts_it_to_sleep(make, clockwork) -> None:
    tymes = []
    doer = yielding([3.0], tymes)
    clockwork.at(1.5, lambda: doist.wake(doer))

    doist = make(doer, limit=9.0)
    doist.do()

    assert tymes == [0.0, 1.0]


def test_a_deadline_runs_a_doer_once_off_its_retyme(make, clockwork) -> None:
    doer = Noting(tock=5.0, react=lambda tyme: doer.wake(at=2.25) if not tyme else None)

    make(doer, limit=11.0).do()

    assert doer.tymes == [0.0, 3.0, 5.0, 10.0]
    assert clockwork.waits[1] == 3.0


def test_a_later_deadline_replaces_the_earlier_and_infinity_clears_it(make, clockwork) -> None:
    def react(tyme):
        if tyme == 0.0:
            doer.wake(at=2.0)
            doer.wake(at=7.0)
            doer.wake(at=3.0)
        if tyme == 3.0:
            doer.wake(at=4.0)
            doer.wake(at=math.inf)

    doer = Noting(tock=math.inf, react=react)

    make(doer, limit=9.0).do()

    assert doer.tymes == [0.0, 3.0]
    assert clockwork.waits == [0.0, 3.0, 6.0]


def test_deadlines_set_anew_all_the_time_are_forgotten(make, clockwork) -> None:
    def react(tyme):
        doer.wake(at=tyme + 1e6)

    doer = Noting(react=react)

    doist = make(doer, limit=1000.0)
    doist.do()

    assert len(doer.tymes) == 1000
    assert len(doist._alarms) < 100


def test_a_deadline_of_one_that_has_ended_wakes_nobody(make, clockwork) -> None:
    doer = Noting(tock=math.inf, react=lambda tyme: doer.wake(at=2.0) or True)

    make(doer, Noting(tock=math.inf), limit=9.0).do()

    assert clockwork.waits == [0.0, 9.0]


def test_doers_of_a_dodoer_are_run_when_they_are_due_ready_or_woken(make, clockwork) -> None:
    ready = Waiting([5], react=lambda tyme: clockwork.ready.clear())
    timed = Noting(tock=4.0)
    woken = Noting(tock=math.inf)
    alarmed = Noting(tock=math.inf, react=lambda tyme: alarmed.wake(at=9.0) if not tyme else None)
    inner = DoDoer(doers=[timed, woken])
    clockwork.at(1.5, lambda: clockwork.ready.add(5))
    clockwork.at(2.5, woken.wake)

    doist = make(DoDoer(doers=[ready, inner, alarmed]), limit=11.0)
    doist.do()

    assert ready.tymes == [0.0, 1.0]
    assert timed.tymes == [0.0, 4.0, 8.0]
    assert woken.tymes == [0.0, 2.0]
    assert alarmed.tymes == [0.0, 9.0]
    assert doist.cycles == 6


def test_a_dodoer_names_the_descriptors_of_its_doers() -> None:
    doer = DoDoer(doers=[Waiting([5]), DoDoer(doers=[Waiting([6, 7])]), Noting()])
    doer.wind(Doist().tymen())
    doer.enter()

    assert list(doer.fds()) == [5]
    assert list(doer.deeds[1].doer.fds()) == [6, 7]
    doer.exit()


def test_a_dodoer_with_a_tock_runs_by_that_and_for_what_is_ready(make, clockwork) -> None:
    timed = Noting(tock=1.0)
    ready = Waiting([5], react=lambda tyme: clockwork.ready.clear())
    clockwork.at(1.5, lambda: clockwork.ready.add(5))

    make(DoDoer(doers=[timed, ready], tock=3.0), limit=7.0).do()

    assert ready.tymes == [0.0, 1.0]
    assert timed.tymes == [0.0, 1.0, 3.0, 6.0]


def test_a_dodoer_that_overrides_recur_runs_every_cycle(make) -> None:
    tymes = []

    class Own(DoDoer):
        def recur(self, tyme, deeds=None):
            tymes.append(tyme)
            return super().recur(tyme)

    sleeper = Noting(tock=math.inf)

    make(Own(doers=[sleeper]), limit=4.0).do()

    assert tymes == [0.0, 1.0, 2.0, 3.0]
    assert sleeper.tymes == [0.0]


def test_a_sleeping_dodoer_is_stirred_by_what_is_added_and_removed(make, clockwork) -> None:
    def react(tyme):
        if tyme == 1.0:
            parent.extend([late])
        if tyme == 4.0:
            parent.remove(list(parent.doers))

    late = Noting(tock=2.0)
    parent = DoDoer(doers=[Noting(tock=math.inf)])
    other = Noting(tock=math.inf, react=react)
    clockwork.at(1.5, other.wake)
    clockwork.at(4.5, other.wake)

    doist = make(parent, other, limit=9.0)
    doist.do()

    assert late.tymes == [1.0, 3.0]
    assert parent.done is True


def test_one_that_sleeps_or_awaits_and_yields_no_number_is_named(make, clockwork) -> None:
    for fds in (None, lambda: (7,)):
        odd = yielding([math.inf, "soon"], [], fds=fds)
        doist = make(odd, Noting(lambda _: doist.wake(odd)))  # noqa: B023 - of this round

        with pytest.raises(TypeError, match="run yielded 'soon' where a number"):
            doist.do()


def test_an_added_doer_runs_at_once(make, clockwork) -> None:
    late = Noting(tock=3.0)
    waker = Noting(tock=math.inf, react=lambda tyme: doist.extend([late]) if tyme else None)
    clockwork.at(2.5, waker.wake)

    doist = make(waker, limit=7.0)
    doist.do()

    assert late.tymes == [2.0, 5.0]


def test_a_doer_added_and_woken_in_one_turn_runs_no_oftener_afterwards(make, clockwork) -> None:
    late = Noting(tock=3.0)

    def react(tyme):
        if tyme == 2.0:
            doist.extend([late])
            late.wake()

    doist = make(Noting(tock=2.0, react=react), limit=9.0)
    doist.do()

    assert late.tymes == [2.0, 5.0, 8.0]


def test_a_deadline_a_hair_after_a_tick_waits_for_the_next(make, clockwork) -> None:
    """Who waits for tyme to reach a deadline would else set it again and again in vain."""
    deadline = math.nextafter(2.0, 3.0)

    def react(tyme):
        doer.wake(at=deadline if tyme < deadline else math.inf)

    doer = Noting(tock=math.inf, react=react)

    make(doer, limit=9.0).do()

    assert doer.tymes == [0.0, 3.0]


def test_lag_is_told_also_while_others_are_woken_all_the_time(make, clockwork) -> None:
    def react(tyme):
        clockwork.stall(2.5)
        woken.wake()

    woken = Noting(tock=math.inf, react=react)
    doist = make(woken, Noting(tock=1.0), limit=9.0)
    doist.do()

    assert doist.lagMax == 4.0


def test_it_ends_as_soon_as_no_doer_is_left(make, clockwork) -> None:
    doist = make(Noting(react=lambda tyme: tyme >= 2.0))

    doist.do()

    assert (doist.done, doist.tyme, clockwork.elapsed) == (True, 2.0, 2.0)


def test_halt_from_elsewhere_ends_the_wait(make, clockwork) -> None:
    doist = make(Noting(tock=math.inf), limit=None)
    clockwork.at(2.5, doist.halt)

    doist.do()

    assert (doist.done, doist.cycles, clockwork.elapsed) == (False, 1, 2.5)


def test_a_tyme_and_a_tock_set_by_a_doer_are_gone_on_from(make, clockwork) -> None:
    def react(tyme):
        if tyme == 2.0:
            doist.tyme = 100.0
        if tyme == 103.0:
            doist.tock = 0.5

    doer = Noting(react=react)
    doist = make(doer, limit=7.0)
    doist.do()

    assert doer.tymes == [0.0, 1.0, 2.0, 100.0, 101.0, 102.0, 103.0, 104.0, 104.5]
    assert clockwork.elapsed == 7.0


def test_with_tock_zero_tyme_is_the_clock(make, clockwork) -> None:
    doer = Noting(tock=0.75)
    busy = Noting(react=lambda tyme: clockwork.stall(0.5))

    make(doer, busy, tock=0.0, limit=2.0).do()

    assert busy.tymes == [0.0, 0.5, 1.0, 1.5]
    assert doer.tymes == [0.0, 1.0, 1.5]


def test_the_waiter_is_closed_whatever_happens(make, clockwork) -> None:
    def react(tyme):
        raise RuntimeError("bad")

    with pytest.raises(RuntimeError, match="bad"):
        make(Noting(react=react)).do()

    assert clockwork.opened == 0


def test_tyme_moves_on_with_the_next_do(make, clockwork) -> None:
    doer = Noting()
    doist = make(doer, limit=2.0)

    doist.do()
    clockwork.stall(50.0)
    doist.do()

    assert doer.tymes == [0.0, 1.0, 2.0, 3.0]


def test_a_doist_that_ends_when_one_is_left(make, clockwork) -> None:
    """What a hand does: it stops when only its Crewer is left."""

    class Hand(Doist):
        def ended(self, doer):
            if len(self.deeds) == 1:
                self.halt()

    doist = make(Waiting([5]), Noting(tock=3.0, react=lambda tyme: tyme == 3.0), kind=Hand)
    doist.do()

    assert (doist.tyme, clockwork.elapsed, doist.done) == (3.0, 3.0, False)


def test_the_timer_tells_how_far_into_a_tock_it_is(make, clockwork) -> None:
    def react(tyme):
        clockwork.stall(0.25)
        assert (doist.timer.elapsed, doist.timer.remaining) == (0.25, 0.75)
        assert (doist.timer.duration, doist.timer.expired) == (1.0, False)

    doist = make(Noting(react=react), limit=3.0)
    doist.do()
    clockwork.stall(9.0)

    assert doist.timer.expired
    assert doist.timer.restart(duration=2.0) == doist.timer.start(start=clockwork.began + 4.0)
