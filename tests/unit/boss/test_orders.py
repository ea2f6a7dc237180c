from __future__ import annotations

import math

from hiod.boss.orders import ANSWER_S, Orders

A, B, C = ("a", 1), ("b", 1), ("c", 1)


def given(*names: tuple[str, int], at: float = 0.0) -> Orders:
    orders = Orders()
    for name in names:
        orders.give("one", name, at)
    return orders


def test_a_silent_launcher_loses_all_its_orders_at_once_and_once() -> None:
    orders = given(A, B)
    orders.give("two", C, 5.0)

    assert orders.next_at() == ANSWER_S
    assert orders.overdue(ANSWER_S - 0.1) == {}
    assert orders.overdue(ANSWER_S) == {"one": [A, B]}
    assert orders.overdue(ANSWER_S) == {}
    assert orders.next_at() == 5.0 + ANSWER_S


def test_orders_in_a_long_queue_have_their_time_from_when_it_is_their_turn() -> None:
    orders = given(A, B, C)

    orders.answer("one", A, 15.0)
    orders.answer("one", B, 30.0)

    assert orders.next_at() == 30.0 + ANSWER_S
    orders.answer("one", C, 45.0)
    assert orders.next_at() == math.inf


def test_a_launcher_that_answers_for_others_has_lost_only_the_oldest_order() -> None:
    orders = given(A, B, C)

    orders.answer("one", B, 10.0)

    assert orders.overdue(ANSWER_S) == {"one": [A]}
    assert orders.next_at() == 2 * ANSWER_S


def test_a_launcher_that_is_gone_owes_nothing() -> None:
    orders = given(A)

    orders.forget("one")
    orders.answer("one", A, 1.0)

    assert orders.next_at() == math.inf


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    orders = given(B)

    orders.answer("one", A, 10.0)

    assert orders.overdue(ANSWER_S) == {"one": [B]}
