"""What holds of the scheduler whatever its Doers do."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from support.clockwork import Clockwork

from hiod.base.doing import DoDoer, Doer, Doist, doify

TOCKS = st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.7, 1.0, 1.0, 2.0, 3.5, None])
PLANS = st.lists(TOCKS, max_size=6)
CREWS = st.lists(st.tuples(TOCKS, PLANS, st.booleans()), max_size=6)


def doer_of(name, first, plan, ends, log):
    """Return a doified function that yields its plan over and over, or once when it ``ends``."""

    def run(tymth, tock=0.0, **_):
        try:
            tyme = yield tock
            while True:
                log.append((name, tyme))
                if not plan:
                    tyme = yield tock
                for at, asked in enumerate(plan):
                    if at:
                        log.append((name, tyme))
                    tyme = yield asked
                if ends:
                    return
        finally:
            log.append((name, "closed"))

    return doify(run, tock=first or 0.0)


def hios_way(crew, tock, cycles):
    """Return what hio's passes over its deque would have run: its arithmetic, and no more of it."""
    runs = []
    deeds = [[name, 0.0, first, list(plan), ends, -1] for name, (first, plan, ends) in crew]
    tyme = 0.0
    for _ in range(cycles):
        for deed in list(deeds):
            name, retyme, first, plan, ends, at = deed
            if retyme > tyme:
                continue
            at += 1
            if ends and plan and at == len(plan):
                deeds.remove(deed)
                continue
            if ends and not plan and at == 1:
                deeds.remove(deed)
                continue
            runs.append((name, tyme))
            asked = plan[at % len(plan)] if plan else first
            deed[1] = retyme + asked if asked else tyme + tock
            deed[5] = at
        tyme += tock
        if not deeds:
            break
    return runs


@given(crew=CREWS, tock=st.sampled_from([0.1, 0.25, 0.3, 1.0]), cycles=st.integers(1, 20))
def test_artificial_tyme_is_hios_in_every_run(crew, tock, cycles) -> None:
    crew = list(enumerate(crew))
    log = []
    doers = [doer_of(name, *given, log) for name, given in crew]
    doist = Doist(doers=doers, tock=tock)

    doist.enter()
    for _ in range(cycles):
        doist.recur()
        if not doist.deeds:
            break
    doist.exit()

    assert [run for run in log if run[1] != "closed"] == hios_way(crew, tock, cycles)


@given(crew=CREWS, tock=st.sampled_from([0.25, 1.0]), limit=st.floats(0.25, 12.0))
def test_do_runs_what_single_cycles_run(crew, tock, limit) -> None:
    by_do, by_recur = [], []
    one = Doist(
        doers=[doer_of(n, *given, by_do) for n, given in enumerate(crew)], tock=tock, limit=limit
    )
    two = Doist(doers=[doer_of(n, *given, by_recur) for n, given in enumerate(crew)], tock=tock)

    one.do()
    two.enter()
    two.recur()
    while two.deeds and two.tyme < limit:
        two.recur()
    two.exit()

    assert by_do == by_recur
    assert one.tyme == two.tyme


class Rogue(Doer):
    """Does as a script says: in which run it does what to whom."""

    def __init__(self, name, script, log, crew, clockwork, **kwa):
        super().__init__(**kwa)
        self.name = name
        self.script = script
        self.log = log
        self.crew = crew
        self.clockwork = clockwork
        self.runs = 0
        self.fd = name

    def fds(self):
        return (self.fd,) if self.name % 2 else ()

    def enter(self, *, temp=None):
        self.log.append(("enter", self.name))

    def exit(self):
        self.log.append(("exit", self.name))

    def recur(self, tyme):
        self.log.append(("run", self.name, tyme, self.clockwork.elapsed))
        self.clockwork.ready.discard(self.fd)
        what, whom, amount = self.script[self.runs] if self.runs < len(self.script) else ("", 0, 0)
        self.runs += 1
        other = self.crew[whom % len(self.crew)]
        if what == "stall":
            self.clockwork.stall(amount)
        elif what == "wake":
            other.wake()
        elif what == "ready":
            self.clockwork.ready.add(other.fd)
        elif what == "at":
            self.wake(at=tyme + amount)
        elif what == "raise":
            raise RuntimeError(f"{self.name}")
        return what == "end"


STEPS = st.tuples(
    st.sampled_from(["", "stall", "wake", "ready", "at", "end", "remove", "raise"]),
    st.integers(0, 5),
    st.sampled_from([0.1, 0.5, 1.0, 3.3]),
)
ROGUES = st.lists(
    st.tuples(
        st.lists(STEPS, max_size=5), st.sampled_from([0.0, 0.4, 1.0, 2.5, math.inf]), st.booleans()
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)
@given(rogues=ROGUES, wakes=st.lists(st.tuples(st.floats(0, 20), st.integers(0, 5)), max_size=4))
def test_in_real_time_these_always_hold(rogues, wakes) -> None:
    clockwork = Clockwork(now=0.0)
    log, crew = [], []
    for name, (script, tock, _) in enumerate(rogues):
        crew.append(Rogue(name, script, log, crew, clockwork, tock=tock))
    nested = [doer for doer, (*_, inside) in zip(crew, rogues, strict=True) if inside]
    outer = [doer for doer, (*_, inside) in zip(crew, rogues, strict=True) if not inside]
    doist = Doist(
        real=True,
        doers=[*outer, DoDoer(doers=nested)],
        tock=0.5,
        limit=20.0,
        clock=clockwork.clock,
        waiter=clockwork,
    )
    for at, whom in wakes:
        clockwork.at(at, crew[whom % len(crew)].wake)

    raised = False
    try:
        doist.do()
    except RuntimeError:
        raised = True

    entered = [name for what, name, *_ in log if what == "enter"]
    exited = [name for what, name, *_ in log if what == "exit"]
    runs = [(tyme, at) for what, _, *rest in log if what == "run" for tyme, at in [rest]]
    assert sorted(entered) == sorted(exited), "each is closed, once"
    assert all(tyme <= at for tyme, at in runs), "tyme is never ahead of time"
    assert [tyme for tyme, _ in runs] == sorted(tyme for tyme, _ in runs)
    assert all(tyme % 0.5 == 0.0 for tyme, _ in runs), "tyme stands at whole tocks"
    assert len(runs) <= 20 * 2 * len(crew) + len(wakes) + 5 * len(crew) * 3, "nothing spins"
    assert all(timeout is None or timeout <= 20.0 for timeout in clockwork.waits)
    assert clockwork.opened == 0
    if not raised and not doist.done:
        assert clockwork.elapsed >= 20.0


@settings(deadline=None)
@given(
    st.lists(st.floats(0.001, 40.0), min_size=1, max_size=8),
    st.sampled_from([0.03125, 0.1, 1 / 3]),
    st.lists(st.floats(0.0, 5.0), max_size=8),
)
def test_no_due_run_is_missed_and_none_replayed(tocks, tock, stalls) -> None:
    clockwork = Clockwork()
    stalls = list(stalls)
    runs = {}

    class Stepping(Doer):
        def recur(self, tyme):
            runs.setdefault(self, []).append(tyme)
            if stalls:
                clockwork.stall(stalls.pop())

    doers = [Stepping(tock=own) for own in tocks]
    Doist(
        real=True, doers=doers, tock=tock, limit=60.0, clock=clockwork.clock, waiter=clockwork
    ).do()

    for doer in doers:
        tymes = runs[doer]
        assert len(set(tymes)) == len(tymes), "nothing is replayed"
        steps = {math.floor(tyme / doer.tock + 1e-6) for tyme in tymes}
        if doer.tock > tock:
            assert len(steps) >= len(tymes) - 1, "each run is for a step of its own"
        expected = min(60.0 / doer.tock, 60.0 / tock)
        assert len(tymes) <= expected + 2
