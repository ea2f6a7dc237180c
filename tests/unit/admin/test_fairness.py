"""Whose turn it is, without sockets or clocks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hiod.admin import fairness
from hiod.admin.fairness import Allowance, Noise, Turns

if TYPE_CHECKING:
    import pytest


@dataclass(eq=False)
class Caller:
    uid: int
    spent_s: float = 0.0


def served(turns: Turns[Caller], cost: dict[Caller, float], rounds: int) -> list[Caller]:
    """Serve for so many rounds those that always want more."""
    order = []
    for _ in range(rounds):
        one = turns.take()
        turns.charge(one, cost[one])
        turns.want(one)
        order.append(one)
    return order


def test_equals_are_served_in_the_order_they_came():
    turns: Turns[Caller] = Turns()
    callers = [Caller(1) for _ in range(5)]
    for one in callers:
        turns.want(one)
        turns.want(one)

    assert len(turns) == 5
    assert [turns.take() for _ in callers] == callers
    assert not turns


def test_time_is_shared_alike_between_users_and_then_between_their_connections():
    turns: Turns[Caller] = Turns()
    many = [Caller(1) for _ in range(15)]
    single, dear = Caller(2), Caller(3)
    cost = {**dict.fromkeys(many, 0.001), single: 0.001, dear: 0.010}
    for one in cost:
        turns.want(one)

    spent: Counter[int] = Counter()
    for one in served(turns, cost, 3000):
        spent[one.uid] += round(cost[one] * 1000)

    assert max(spent.values()) - min(spent.values()) <= 20
    assert max(one.spent_s for one in many) - min(one.spent_s for one in many) <= 0.002


def test_who_asks_little_is_served_at_once_whatever_others_have_piled_up():
    turns: Turns[Caller] = Turns()
    flood = [Caller(uid) for uid in (1, 2, 3, 4) for _ in range(16)]
    calm = Caller(5)
    cost = dict.fromkeys(flood, 0.005)
    for one in flood:
        turns.want(one)

    waited = []
    for _ in range(50):
        served(turns, cost, 200)
        turns.want(calm)
        others = 0
        while turns.take() is not calm:
            others += 1
        turns.charge(calm, 0.0005)
        waited.append(others)
        for one in flood:
            turns.want(one)

    assert max(waited) <= len({one.uid for one in flood})


def test_nobody_saves_up_by_wanting_nothing():
    turns: Turns[Caller] = Turns()
    steady, sleeper = Caller(1), Caller(2)
    turns.want(sleeper)
    turns.want(steady)
    served(turns, {steady: 1.0, sleeper: 1.0}, 2)
    while turns:
        turns.take()
    turns.want(steady)
    served(turns, {steady: 1.0}, 100)

    turns.want(sleeper)
    order = served(turns, {steady: 1.0, sleeper: 1.0}, 20)

    assert order.count(sleeper) == 10


def test_idle_users_are_forgotten_and_busy_ones_are_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fairness, "USERS_KEPT", 10)
    turns: Turns[Caller] = Turns()
    busy = Caller(0)
    turns.want(busy)
    for uid in range(1, 100):
        one = Caller(uid)
        turns.want(one)
        while (other := turns.take()) is not one:
            turns.charge(other, 1.0)
            turns.want(other)
        turns.charge(one, 1.0)

    assert len(turns._users) <= 10
    assert turns.take() is busy


def test_noise_takes_its_share_and_no_more_however_many_make_it():
    for users in (1, 4, 50):
        noise = Noise()
        rests = dict.fromkeys(range(64), 0.0)
        now = spent_s = 0.0
        while now < 100.0:
            for one, until in rests.items():
                if until <= now:
                    spent_s += 0.002
                    rests[one] = now + noise.add(one % users, 0.002, now)
            now += 0.01

        assert 0.5 * fairness.NOISE_SHARE < spent_s / now < 1.5 * fairness.NOISE_SHARE, users


def test_who_errs_now_and_then_is_not_left_alone():
    noise = Noise()
    for n in range(1000):
        noise.add(1, 0.01, n * 0.01)

        assert n % 100 or noise.add(2, 0.0005, n * 0.01) == 0.0
    assert noise.add(1, 0.01, 10.0) > 1.0


def test_noise_is_forgotten():
    noise = Noise()
    assert noise.add(1, 1.0, 0.0) > 1.0
    assert noise.add(1, 0.001, 100.0) == 0.0


def test_an_allowance_is_had_at_once_and_fills_again():
    may = Allowance(3, 2.0)

    assert [may.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [may.take(10.5) for _ in range(2)] == [True, False]
    assert [may.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_noise_is_over_when_the_next_of_it_would_be_too_much():
    noise = Noise()
    assert not noise.is_over(1, 0.0)
    noise.add(1, 1.0, 0.0)
    assert noise.is_over(1, 0.0)
    assert not noise.is_over(2, 0.0)
    assert not noise.is_over(1, 100.0)
