from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiod.rules.health import (
    BETTERS,
    Beat,
    Evidence,
    HealthState,
    Sample,
    Verdict,
    begin,
    expect,
    judge,
    ladder,
    next_check_at,
    patience_s,
    steps,
    still_well,
    suspect,
)
from hiod.rules.specs import Health

LIMITS = Health(beat_s=5.0, misses=3, lag_s=2.0, on_fail="restart")
SLEEPS = Sample(at=0.0, status="S", cpu_percent=0.1)
BURNS = Sample(at=0.0, status="R", cpu_percent=99.8)


class Bench:
    """One hand's health, driven by artificial tyme."""

    def __init__(self, *, beats: bool = True, limits: Health = LIMITS) -> None:
        self.limits = limits
        self.now = 0.0
        self.state = begin(0.0, beats=beats)
        self.seen: list[Verdict] = []

    def look(
        self,
        after_s: float = 0.0,
        *,
        beat: Beat | None = None,
        sample: Sample | None = None,
        late_s: float = 0.0,
    ) -> Verdict:
        self.now += after_s
        beat = None if beat is None else replace(beat, at=self.now)
        sample = None if sample is None else replace(sample, at=self.now)
        evidence = Evidence(beat, sample, late_s)
        self.state, verdict, why = judge(self.state, evidence, self.now, self.limits)
        assert why == self.state.why
        self.seen.append(verdict)
        return verdict

    def looks(self, times: int, after_s: float = 1.0, **evidence) -> Verdict:
        for _ in range(times):
            self.look(after_s, **evidence)
        return self.state.verdict


def test_a_hand_that_beats_in_time_is_ok() -> None:
    bench = Bench()

    bench.looks(10, 5.0, beat=Beat(0.0, lag_s=0.004), sample=SLEEPS)

    assert set(bench.seen) == {Verdict.OK}
    assert bench.state.why == ()


def test_beats_missed_while_it_burns_cpu_are_stuck() -> None:
    bench = Bench()
    bench.look(5.0, beat=Beat(0.0))

    bench.looks(14, 1.0, sample=BURNS)
    assert bench.state.verdict is Verdict.OK
    verdict = bench.look(1.5, sample=BURNS)

    assert verdict is Verdict.STUCK
    assert bench.state.why == ("3 beats missed", "runs, 99.8 % CPU")
    assert bench.state.since == bench.now


def test_a_starved_process_that_wants_to_run_is_stuck_though_it_gets_no_cpu() -> None:
    bench = Bench()

    verdict = bench.look(16.0, sample=Sample(0.0, status="R", cpu_percent=1.0))

    assert verdict is Verdict.STUCK


def test_beats_missed_while_it_sleeps_are_silent() -> None:
    bench = Bench()

    verdict = bench.look(16.0, sample=SLEEPS)

    assert verdict is Verdict.SILENT
    assert bench.state.why == ("3 beats missed", "sleeps, 0.1 % CPU")


def test_a_silence_in_the_kernel_is_named() -> None:
    bench = Bench()

    bench.look(16.0, sample=Sample(0.0, status="D"))

    assert bench.state.verdict is Verdict.SILENT
    assert bench.state.why[1] == "waits in the kernel (disk sleep)"


def test_missed_beats_wait_for_the_other_witness_and_not_for_ever() -> None:
    bench = Bench()
    bench.look(4.0, sample=BURNS)
    bench.look(1.0, beat=Beat(0.0))

    assert bench.look(15.5) is Verdict.OK  # the look at the process is older than the last beat
    assert bench.look(1.9) is Verdict.OK
    assert bench.look(0.1) is Verdict.SILENT
    assert bench.state.why[1] == "its process could not be looked at"


def test_silent_and_stuck_are_told_apart_again_only_when_it_holds() -> None:
    bench = Bench()
    bench.look(16.0, sample=SLEEPS)

    bench.look(1.0, sample=BURNS)
    bench.look(1.0, sample=SLEEPS)
    bench.look(1.0, sample=BURNS)
    assert bench.state.verdict is Verdict.SILENT
    bench.look(1.0, sample=BURNS)

    assert bench.state.verdict is Verdict.STUCK


def test_a_silent_hand_is_well_after_two_looks_at_new_beats() -> None:
    bench = Bench()
    bench.look(16.0, sample=SLEEPS)

    assert bench.look(1.0, beat=Beat(0.0)) is Verdict.SILENT
    assert bench.look() is Verdict.SILENT  # nothing new: not another look
    assert bench.look(1.0, sample=SLEEPS) is Verdict.OK


def test_one_late_loop_is_chance_and_two_are_lagging() -> None:
    bench = Bench()
    late = Beat(0.0, lag_s=3.0)

    assert bench.look(5.0, beat=late) is Verdict.OK
    assert bench.looks(4, 0.5, sample=BURNS) is Verdict.OK  # the other witness says nothing of lag
    assert bench.look(3.0, beat=late) is Verdict.LAGGING
    assert bench.state.why == ("loop up to 3.0 s late, limit 2 s", "99.8 % CPU")


def test_lag_is_told_without_a_look_at_the_process() -> None:
    bench = Bench()

    bench.looks(2, 5.0, beat=Beat(0.0, lag_s=3.0))

    assert bench.state.why == ("loop up to 3.0 s late, limit 2 s",)


def test_turning_but_starved_is_said_so() -> None:
    bench = Bench()

    bench.looks(2, 5.0, beat=Beat(0.0, lag_s=3.0), sample=Sample(0.0, status="R", cpu_percent=4.0))

    assert bench.state.verdict is Verdict.LAGGING
    assert bench.state.why[1] == "starved: wants to run and gets 4.0 %"


def test_lagging_ends_with_two_quick_beats_well_under_the_limit() -> None:
    bench = Bench()
    bench.looks(2, 5.0, beat=Beat(0.0, lag_s=3.0))

    assert bench.looks(3, 5.0, beat=Beat(0.0, lag_s=1.9)) is Verdict.LAGGING  # limit 2, eased 1.8
    assert bench.look(5.0, beat=Beat(0.0, lag_s=1.0)) is Verdict.LAGGING
    assert bench.look(0.1, sample=SLEEPS) is Verdict.LAGGING
    assert bench.look(5.0, beat=Beat(0.0, lag_s=1.0)) is Verdict.OK


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (Sample(0.0, status="T"), "stopped by a signal"),
        (Sample(0.0, status="t"), "stopped by a debugger"),
        (Sample(0.0, status="S", frozen=True), "its cgroup is frozen"),
    ],
)
def test_what_the_kernel_does_not_let_run_is_stopped(sample: Sample, why: str) -> None:
    bench = Bench(beats=False)

    assert bench.look(1.0, sample=sample) is Verdict.OK
    assert bench.look(1.0, sample=sample) is Verdict.STOPPED
    assert bench.state.why == (why,)


def test_stopped_outranks_missed_beats() -> None:
    bench = Bench()

    bench.looks(2, 10.0, sample=Sample(0.0, status="T"))

    assert bench.state.verdict is Verdict.STOPPED


def test_a_hand_let_go_again_is_not_called_silent_before_it_could_beat() -> None:
    bench = Bench()
    bench.looks(20, 1.0, sample=Sample(0.0, status="T"))

    bench.look(1.0, sample=SLEEPS)
    bench.look(0.1, beat=Beat(0.0))
    bench.looks(2, 1.0, sample=SLEEPS)

    assert Verdict.SILENT not in bench.seen
    assert bench.state.verdict is Verdict.OK


@pytest.mark.parametrize(
    ("limits", "sample", "why"),
    [
        ({"rss_max": 512 << 20}, {"rss_bytes": 600 << 20}, "RSS 600M, limit 512M"),
        ({"cpu_max": 95.0}, {"cpu_percent": 99.0}, "99.0 % CPU, limit 95 %"),
        ({"fds_max": 900}, {"fds": 901}, "901 open files, limit 900"),
    ],
)
def test_three_looks_over_a_limit_are_hungry(limits: dict, sample: dict, why: str) -> None:
    bench = Bench(beats=False, limits=replace(LIMITS, **limits))
    over = Sample(0.0, **sample)

    assert bench.looks(2, sample=over) is Verdict.OK
    assert bench.look(1.0, sample=over) is Verdict.HUNGRY
    assert bench.state.why == (why,)


def test_hungry_ends_only_well_below_the_limit() -> None:
    bench = Bench(beats=False, limits=replace(LIMITS, cpu_max=90.0))
    bench.looks(3, sample=Sample(0.0, cpu_percent=99.0))

    assert bench.looks(5, sample=Sample(0.0, cpu_percent=85.0)) is Verdict.HUNGRY
    assert bench.looks(2, sample=Sample(0.0, cpu_percent=50.0)) is Verdict.OK


def test_figures_not_looked_at_are_over_no_limit() -> None:
    bench = Bench(beats=False, limits=replace(LIMITS, fds_max=1, rss_max=1 << 40))

    bench.looks(5, sample=Sample(0.0, fds=None, rss_bytes=1 << 30))

    assert set(bench.seen) == {Verdict.OK}


def test_how_a_process_ended_is_not_a_question_of_health() -> None:
    bench = Bench(beats=False)

    bench.looks(5, sample=Sample(0.0, status="Z"))
    bench.looks(5, sample=Sample(0.0, status="X"))

    assert set(bench.seen) == {Verdict.OK}
    assert bench.state.sample is None


def test_the_time_a_boss_was_away_is_nobodys_fault() -> None:
    bench = Bench()
    bench.look(5.0, beat=Beat(0.0))

    bench.look(60.0, late_s=60.0, sample=SLEEPS)
    bench.look(4.0, sample=SLEEPS)

    assert set(bench.seen) == {Verdict.OK}


def test_a_boss_that_was_away_still_finds_a_hand_that_stays_silent() -> None:
    bench = Bench()

    bench.look(60.0, late_s=60.0, sample=SLEEPS)
    bench.looks(21, 1.0, sample=SLEEPS)

    assert bench.state.verdict is Verdict.SILENT


def test_looks_before_an_absence_and_after_it_are_not_added_up() -> None:
    bench = Bench(beats=False)
    stopped = Sample(0.0, status="T")

    bench.look(1.0, sample=stopped)
    bench.look(60.0, sample=stopped, late_s=60.0)

    assert bench.state.verdict is Verdict.OK


def test_the_ladder_goes_as_far_as_it_may() -> None:
    stuck = HealthState(
        beats=True, since=100.0, acts_from=100.0, beats_from=0.0, verdict=Verdict.STUCK
    )

    def rungs(on_fail: str) -> list[tuple[str, float]]:
        return [(s.what, s.at) for s in ladder(stuck, replace(LIMITS, on_fail=on_fail))]

    assert rungs("note") == [("note", 100.0)]
    assert rungs("dump") == [("note", 100.0), ("dump", 101.0)]
    assert rungs("restart") == [("note", 100.0), ("dump", 101.0), ("restart", 115.0)]


@pytest.mark.parametrize(
    ("verdict", "rungs"),
    [
        (Verdict.OK, []),
        (Verdict.LAGGING, ["note"]),
        (Verdict.SILENT, ["note", "dump", "restart"]),
        (Verdict.STUCK, ["note", "dump", "restart"]),
        (Verdict.STOPPED, ["note", "restart"]),
        (Verdict.HUNGRY, ["note", "dump", "restart"]),
    ],
)
def test_every_verdict_has_its_rungs(verdict: Verdict, rungs: list[str]) -> None:
    state = replace(begin(0.0, beats=True), verdict=verdict)

    assert [step.what for step in steps(state, math.inf, LIMITS)] == rungs


def test_steps_come_due_one_after_the_other() -> None:
    bench = Bench()
    bench.look(16.0, sample=BURNS)

    assert [s.what for s in steps(bench.state, 16.0, LIMITS)] == ["note"]
    assert [s.what for s in steps(bench.state, 17.0, LIMITS)] == ["note", "dump"]
    assert [s.what for s in steps(bench.state, 31.0, LIMITS)] == ["note", "dump", "restart"]


def test_who_is_getting_well_is_not_restarted() -> None:
    bench = Bench()
    bench.look(16.0, sample=BURNS)
    bench.look(15.0, beat=Beat(0.0))

    assert bench.state.verdict is Verdict.STUCK
    assert steps(bench.state, bench.now, LIMITS) == ()


def test_only_a_beat_ends_a_silence_however_long_the_boss_was_away() -> None:
    bench = Bench()
    bench.look(16.0, sample=SLEEPS)

    bench.look(60.0, late_s=60.0)
    bench.looks(3, 1.0, sample=SLEEPS)

    assert bench.state.verdict is Verdict.SILENT
    assert bench.state.why[0] == "3 beats missed"


def test_a_boss_that_was_away_gives_time_before_it_restarts() -> None:
    bench = Bench()
    bench.look(16.0, sample=BURNS)

    bench.look(60.0, late_s=60.0)

    assert "restart" not in [s.what for s in steps(bench.state, bench.now, LIMITS)]
    assert "restart" in [s.what for s in steps(bench.state, bench.now + 20.0, LIMITS)]


def test_a_hand_is_looked_at_closely_from_its_first_missed_beat() -> None:
    bench = Bench()
    bench.look(5.0, beat=Beat(0.0))

    assert not suspect(bench.state, 10.0, LIMITS)
    assert suspect(bench.state, 10.5, LIMITS)


def test_a_doubt_or_a_bad_verdict_makes_a_suspect() -> None:
    bench = Bench(beats=False)
    stopped = Sample(0.0, status="T")

    assert not suspect(bench.state, 1000.0, LIMITS)
    bench.look(1.0, sample=stopped)
    assert suspect(bench.state, 1.0, LIMITS)
    bench.look(1.0, sample=stopped)
    assert suspect(bench.state, 2.0, LIMITS)


def test_time_alone_says_nothing_of_what_does_not_beat() -> None:
    state = begin(0.0, beats=False)

    assert next_check_at(state, 50.0, LIMITS) == math.inf


def test_the_next_check_is_when_silence_begins_to_mean_something() -> None:
    state = begin(0.0, beats=True)

    assert next_check_at(state, 0.0, LIMITS) == 5.5
    assert next_check_at(state, 5.5, LIMITS) == 15.5
    assert next_check_at(state, 15.5, LIMITS) == 17.5
    assert next_check_at(state, 17.5, LIMITS) == 22.5


def test_the_next_step_of_the_ladder_is_a_time_to_look_again() -> None:
    bench = Bench(beats=False, limits=replace(LIMITS, cpu_max=50.0))
    bench.looks(3, sample=BURNS)

    assert bench.state.verdict is Verdict.HUNGRY
    assert next_check_at(bench.state, 3.0, bench.limits) == 4.0
    assert next_check_at(bench.state, 4.0, bench.limits) == 18.0
    assert next_check_at(bench.state, 18.0, bench.limits) == math.inf


def test_a_hasty_hand_still_has_time_to_dump_its_stack() -> None:
    bench = Bench(limits=replace(LIMITS, beat_s=0.1, misses=1))
    bench.look(1.0, sample=BURNS)

    assert [(s.what, s.at) for s in ladder(bench.state, bench.limits)] == [
        ("note", 1.0),
        ("dump", 2.0),
        ("restart", 3.0),
    ]


def test_a_hand_that_may_miss_one_beat_gets_the_slack_of_half_of_one() -> None:
    bench = Bench(limits=replace(LIMITS, beat_s=0.2, misses=1))

    assert bench.look(0.25, sample=SLEEPS) is Verdict.OK
    assert bench.look(0.06, sample=SLEEPS) is Verdict.SILENT


# ------------------------------------------------------------------------- properties

letters = st.sampled_from("RSDTtZIX")
samples = st.builds(
    Sample,
    at=st.just(0.0),
    status=letters,
    rss_bytes=st.integers(0, 1 << 34),
    cpu_percent=st.floats(0, 400),
    fds=st.none() | st.integers(0, 2000),
    frozen=st.booleans(),
)
beats = st.builds(Beat, at=st.just(0.0), lag_s=st.floats(0, 100))
health = st.builds(
    Health,
    beat_s=st.floats(0.1, 60),
    misses=st.integers(1, 10),
    lag_s=st.floats(0.01, 60),
    on_fail=st.sampled_from(["note", "dump", "restart"]),
    rss_max=st.none() | st.integers(1, 1 << 33),
    cpu_max=st.none() | st.floats(1, 400),
    fds_max=st.none() | st.integers(1, 1000),
)
look = st.tuples(st.floats(0, 30), st.none() | beats, st.none() | samples, st.floats(0, 5))
histories = st.lists(look, max_size=40)


def lived(history, limits: Health, *, beats: bool = True) -> Bench:
    bench = Bench(beats=beats, limits=limits)
    for after_s, beat, sample, late_s in history:
        bench.look(after_s, beat=beat, sample=sample, late_s=late_s)
    return bench


@given(histories, health)
def test_a_verdict_always_says_why_and_ok_never_does(history, limits) -> None:
    bench = lived(history, limits)

    assert bool(bench.state.why) is (bench.state.verdict is not Verdict.OK)


@given(histories, health)
def test_the_next_check_lies_always_ahead(history, limits) -> None:
    bench = lived(history, limits)

    assert next_check_at(bench.state, bench.now, limits) > bench.now


@given(histories, health)
def test_judging_again_without_news_changes_nothing(history, limits) -> None:
    bench = lived(history, limits)

    bench.look()
    once = bench.state
    bench.looks(5, 0.0)

    assert bench.state == once


@given(histories, health)
def test_what_does_not_beat_is_never_late_or_silent(history, limits) -> None:
    bench = lived([(a, None, s, late) for a, _, s, late in history], limits, beats=False)

    assert set(bench.seen) <= {Verdict.OK, Verdict.STOPPED, Verdict.HUNGRY}


@given(histories, health)
def test_no_single_look_makes_a_well_hand_stopped_hungry_or_lagging(history, limits) -> None:
    bench = lived(history, limits)
    bench.looks(
        2 * BETTERS,
        0.01,
        beat=Beat(0.0, lag_s=0.0),
        sample=Sample(0.0, rss_bytes=0, cpu_percent=0.0, fds=0),
    )
    assert bench.state.verdict is Verdict.OK

    after_s, beat, sample, late_s = history[-1] if history else (0.0, None, None, 0.0)
    verdict = bench.look(min(after_s, 0.01), beat=beat, sample=sample, late_s=late_s)

    assert verdict is Verdict.OK


@given(st.lists(st.tuples(st.floats(1.0, 1e4), st.none() | samples), max_size=30), health)
def test_a_boss_that_is_always_late_condemns_nobody_for_silence(turns, limits) -> None:
    bench = Bench(limits=limits)

    for late_s, sample in turns:
        bench.look(late_s, sample=sample, late_s=late_s)

    assert not {Verdict.SILENT, Verdict.STUCK} & set(bench.seen)


@given(histories, health)
def test_no_step_comes_before_the_verdict_nor_further_than_allowed(history, limits) -> None:
    bench = lived(history, limits)
    reach = ["note", "dump", "restart"].index(limits.on_fail)

    taken = steps(bench.state, bench.now, limits)

    assert all(bench.state.since <= step.at <= bench.now for step in taken)
    assert all(["note", "dump", "restart"].index(step.what) <= reach for step in taken)
    assert [step.at for step in taken] == sorted(step.at for step in taken)


def test_a_hand_that_begins_to_beat_is_expected_to_go_on() -> None:
    state = expect(begin(0.0, beats=False), 100.0)

    _, verdict, _ = judge(state, Evidence(sample=replace(SLEEPS, at=114.0)), 114.0, LIMITS)
    assert verdict is Verdict.OK
    _, verdict, why = judge(state, Evidence(sample=replace(SLEEPS, at=116.0)), 116.0, LIMITS)
    assert (verdict, why[0]) == (Verdict.SILENT, "3 beats missed")


def test_who_beats_already_gains_no_time_by_being_expected_to() -> None:
    state = begin(0.0, beats=True)

    assert expect(state, 100.0) is state


def test_patience_is_the_time_of_the_beats_that_may_be_missed() -> None:
    assert patience_s(LIMITS) == 15.0


@given(histories, health, st.booleans(), look)
def test_what_says_nothing_new_is_taken_as_a_judgement_would(history, limits, beats, last) -> None:
    bench = lived(history, limits, beats=beats)
    before, was_suspect = bench.state, suspect(bench.state, bench.now + last[0], limits)
    after_s, beat, sample, _ = last
    now = bench.now + after_s
    beat = None if beat is None else replace(beat, at=now)
    sample = None if sample is None else replace(sample, at=now)

    quick = still_well(before, now, limits, beat=beat, sample=sample)

    if quick is not None:
        whole, verdict, why = judge(before, Evidence(beat, sample), now, limits)
        assert (quick, Verdict.OK, ()) == (whole, verdict, why)
        assert not was_suspect
        assert not suspect(quick, now, limits)
        assert steps(quick, now, limits) == ()


def test_a_beat_and_a_look_in_time_need_no_judgement() -> None:
    state = begin(0.0, beats=True)

    beaten = still_well(state, 5.0, LIMITS, beat=Beat(5.0, lag_s=0.01))
    seen = still_well(beaten, 6.0, LIMITS, sample=replace(SLEEPS, at=6.0))

    assert beaten.beats_from == 5.0
    assert seen == replace(beaten, sample=replace(SLEEPS, at=6.0))


@pytest.mark.parametrize(
    ("now", "witness"),
    [
        (5.5, {"beat": Beat(5.5)}),  # it was late, so it is a suspect
        (5.0, {"beat": Beat(5.0, lag_s=2.1)}),
        (5.0, {"sample": Sample(5.0, status="T")}),
        (5.0, {"sample": Sample(5.0, status="X")}),
        (5.0, {"sample": Sample(5.0, frozen=True)}),
        (5.0, {"sample": Sample(5.0, rss_bytes=2)}),
    ],
)
def test_whatever_may_change_a_verdict_is_judged(now, witness) -> None:
    state = begin(0.0, beats=True)

    assert still_well(state, now, replace(LIMITS, rss_max=1), **witness) is None


def test_a_hand_that_was_not_well_is_judged() -> None:
    bench = Bench()
    bench.looks(2, 5.0, beat=Beat(0.0, lag_s=9.0))
    assert bench.state.verdict is Verdict.LAGGING

    assert still_well(bench.state, bench.now + 1, LIMITS, beat=Beat(bench.now + 1)) is None


def test_a_hand_that_one_look_spoke_against_is_judged() -> None:
    bench = Bench()
    bench.look(5.0, beat=Beat(0.0, lag_s=9.0))
    assert (bench.state.verdict, bench.state.leaning) == (Verdict.OK, Verdict.LAGGING)

    assert still_well(bench.state, bench.now + 1, LIMITS, beat=Beat(bench.now + 1)) is None
