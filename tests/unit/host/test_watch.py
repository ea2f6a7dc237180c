"""When the watch looks at whom; the processes are made up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiod.host import procs
from hiod.host.procs import Stat, Watch
from hiod.rules.records import ProcessId


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch) -> None:
    stat = Stat("S", 1, 0.0, 1, 7, 4096)
    monkeypatch.setattr(procs, "_stat", lambda pid: stat)
    monkeypatch.setattr(procs, "_fds", lambda pid: 3)
    monkeypatch.setattr(procs, "_frozen", lambda pid: False)
    monkeypatch.setattr(procs, "descendants", lambda pid, most: [])


def process(number: int) -> ProcessId:
    return ProcessId(number, 7, "boot")


def watch_of(count: int, **options) -> Watch:
    watch = Watch(**options)
    for number in range(count):
        watch.add(f"h{number}", process(number), 0.0)
    return watch


def run(watch: Watch, until: float, now: float = 0.0) -> list[tuple[float, list[str]]]:
    """Go from one due time to the next, as a boss does; return who was looked at when."""
    turns = []
    while (at := watch.next_at(now)) <= until:
        now = max(at, now)
        looked = [name for name, _ in watch.sample_due(now)]
        if looked:
            turns.append((now, looked))
    return turns


def test_nobody_to_watch_is_never_due() -> None:
    watch = Watch()

    assert watch.next_at(5.0) == math.inf
    assert watch.sample_due(5.0) == []
    assert len(watch) == 0


def test_everybody_is_looked_at_once_a_period() -> None:
    watch = watch_of(40, period_s=5.0)

    looked = [name for _, names in run(watch, 50.0) for name in names]

    counts = {name: looked.count(name) for name in set(looked)}
    assert len(counts) == 40
    assert all(8 <= count <= 11 for count in counts.values())  # whole seconds cost up to one


def test_looks_are_spread_over_the_period_and_taken_together_by_the_second() -> None:
    watch = watch_of(50, period_s=5.0)

    turns = run(watch, 5.0)

    assert [at for at, _ in turns] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert all(6 <= len(names) <= 14 for _, names in turns[1:])


def test_looks_that_were_missed_are_not_caught_up() -> None:
    watch = watch_of(10, period_s=5.0)

    looked = [name for name, _ in watch.sample_due(1000.0)]

    assert sorted(looked) == sorted({f"h{n}" for n in range(10)})
    assert watch.next_at(1000.0) == 1005.0


def test_one_turn_takes_no_more_than_its_budget_and_says_that_more_is_due() -> None:
    watch = watch_of(100)

    first = watch.sample_due(1000.0)

    assert len(first) == Watch.BUDGET
    assert watch.next_at(1000.0) <= 1000.0
    assert len(watch.sample_due(1000.0)) == 100 - Watch.BUDGET
    assert watch.next_at(1000.0) > 1000.0


def test_close_looks_cost_more_of_a_turn() -> None:
    watch = Watch()
    for number in range(20):
        watch.add(f"h{number}", process(number), 0.0, suspect=True)

    assert len(watch.sample_due(1000.0)) == Watch.BUDGET // Watch.CLOSE_COST


def test_a_suspect_is_looked_at_at_once_and_every_second() -> None:
    watch = watch_of(1, period_s=5.0)
    watch.sample_due(10.0)

    watch.suspect("h0", True, 11.0)
    [(_, sample)] = watch.sample_due(11.0)

    assert sample.fds == 3
    assert [at for at, _ in run(watch, 14.0, 11.0)] == [12.0, 13.0, 14.0]


def test_who_is_no_suspect_any_more_is_left_in_peace() -> None:
    watch = watch_of(1, period_s=5.0)
    watch.suspect("h0", True, 10.0)
    watch.sample_due(10.0)

    watch.suspect("h0", False, 11.0)

    assert watch.next_at(11.0) == 16.0
    [(_, sample)] = watch.sample_due(16.0)
    assert sample.fds is None


def test_saying_the_same_again_plans_nothing_anew() -> None:
    watch = watch_of(1)
    watch.suspect("h0", True, 10.0)
    watch.sample_due(10.0)

    for _ in range(5):
        watch.suspect("h0", True, 10.5)
    watch.suspect("nobody", True, 10.5)

    assert watch.sample_due(10.5) == []


def test_a_hand_may_be_looked_at_more_often_than_others() -> None:
    watch = Watch(period_s=5.0)
    watch.add("often", process(1), 0.0, period_s=0.25)
    watch.add("usual", process(2), 0.0, period_s=60.0)

    looked = [name for _, names in run(watch, 10.0) for name in names]

    assert looked.count("often") == pytest.approx(40, abs=4)  # some wait for company
    assert looked.count("usual") == 2


def test_a_suspect_that_is_looked_at_often_anyway_stays_so() -> None:
    watch = Watch(suspect_s=1.0)
    watch.add("often", process(1), 0.0, suspect=True, period_s=0.25)

    assert len(run(watch, 2.0)) == 9


def test_a_hand_with_limits_is_looked_at_closely_at_the_ordinary_pace() -> None:
    watch = Watch(period_s=5.0)
    watch.add("web", process(1), 0.0, closely=True)

    [(_, sample)] = watch.sample_due(5.0)

    assert sample.children == 0
    assert watch.next_at(5.0) == 10.0


def test_a_restarted_hand_is_watched_in_its_new_process_only() -> None:
    watch = watch_of(1)
    watch.add("h0", process(99), 0.0, suspect=True)

    assert len(watch.sample_due(1000.0)) == 1
    assert len(watch) == 1


def test_who_was_dropped_is_looked_at_no_more() -> None:
    watch = watch_of(2)
    watch.suspect("h0", True, 0.0)

    watch.drop("h0")
    watch.drop("h0")

    assert "h0" not in watch
    assert [name for name, _ in watch.sample_due(1000.0)] == ["h1"]
    with pytest.raises(KeyError):
        watch.look("h0", 0.0)


def test_the_more_there_are_the_rarer_the_looks() -> None:
    watch = watch_of(5000, period_s=5.0)

    run(watch, 20.0)  # a first look at everybody

    looked = sum(len(names) for _, names in run(watch, 60.0, 20.0))

    assert 5000 <= looked <= 40.0 / Watch.CHEAP_S + Watch.BUDGET


def test_when_all_are_suspects_looks_stay_bounded_too() -> None:
    watch = Watch()
    for number in range(1000):
        watch.add(f"h{number}", process(number), 0.0, suspect=True)
    run(watch, 20.0)  # everybody once, which is due at once

    looked = sum(len(names) for _, names in run(watch, 60.0, 20.0))

    assert 1000 <= looked <= 40.0 / Watch.CLOSE_S + 1000 / 20


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("+-sS"), st.floats(0, 3))))
def test_whatever_is_added_and_dropped_only_the_watched_are_looked_at(orders) -> None:
    watch = Watch(period_s=2.0)
    now, there = 0.0, set()
    for name, order, passed_s in orders:
        now += passed_s
        if order == "+":
            watch.add(name, process(ord(name)), now)
            there.add(name)
        elif order == "-":
            watch.drop(name)
            there.discard(name)
        else:
            watch.suspect(name, order == "S", now)
        looked = [one for one, _ in watch.sample_due(now)]
        assert set(looked) <= there
        assert len(looked) == len(set(looked))

    assert len(watch) == len(there)
    assert {name for name, _ in watch.sample_due(now + 10.0)} == there
