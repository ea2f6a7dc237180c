from __future__ import annotations

import math
from dataclasses import fields, replace

import orjson
import pytest
from support.lives import BOOT, in_state, process, spec

from hiod.rules import keeping
from hiod.rules.records import End, Hand, State, Then, Wanted

FULL = Hand(
    "web-3",
    replace(spec(count=4, env={"A": "ä"}), origin="shop.toml", line=7),
    ordinal=3,
    wanted=Wanted.DOWN,
    wanted_by="ann (uid 1000)",
    wanted_at=1.5e9,
    state=State.STOPPING,
    reason="stop by ann",
    since=12.25,
    generation=9,
    process=process(4),
    registered=True,
    ready_at=3.5,
    spawned_at=3.25,
    failures=(1.0, 2.0),
    attempt=2,
    restarts=5,
    wake_at=22.25,
    stop_step="ask",
    stop_asked_at=12.25,
    then=Then.LEAVE,
    asked_by="ann",
    ended_by="END",
    end=End(None, 11, core=True, at_wall=1.5e9, maxrss_bytes=1 << 33),
    leaving=True,
    next_spec=spec(tock=2),
    status="3 senders",
    addr="/tmp/their.uxd",
)


def kept(hand: Hand) -> Hand:
    row = orjson.loads(orjson.dumps(keeping.hand_row(hand, BOOT)))
    back, boot = keeping.hand_of(row)
    assert boot == BOOT
    return back


def test_all_of_a_hand_is_kept() -> None:
    plain = Hand("web", spec())
    same = [one.name for one in fields(Hand) if getattr(FULL, one.name) == getattr(plain, one.name)]

    assert same == [], "these would come back equal even if nobody kept them"
    assert kept(FULL) == FULL


def test_where_a_definition_was_written_is_kept() -> None:
    back = kept(FULL).spec

    assert (back.origin, back.line) == ("shop.toml", 7)


@pytest.mark.parametrize("state", State)
def test_a_hand_in_any_state_is_kept(state: State) -> None:
    hand = in_state(state).hand

    assert kept(hand) == hand


def test_a_hand_that_waits_for_nothing_is_kept_so() -> None:
    assert kept(Hand("web", spec())).wake_at == math.inf


@pytest.mark.parametrize(
    "change",
    [
        {"state": "sleeping"},
        {"then": "perhaps"},
        {"wanted": "sideways"},
        {"process": [1]},
        {"spec": {"name": "web"}},
        {"spec": 5},
        {"failures": None},
    ],
)
def test_a_row_that_is_no_hand_is_refused(change: dict) -> None:
    row = keeping.hand_row(FULL, BOOT) | change

    with pytest.raises((ValueError, TypeError)):
        keeping.hand_of(row)


def test_a_row_that_lacks_something_is_refused() -> None:
    row = keeping.hand_row(FULL, BOOT)
    del row["generation"]

    with pytest.raises(KeyError):
        keeping.hand_of(row)


def test_a_definition_that_cannot_be_used_says_what_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match="has neither doers nor command"):
        keeping.spec_of({"name": "web"})


def test_hands_of_one_definition_share_it_and_another_is_never_taken_for_it() -> None:
    known: keeping.Specs = {}
    old, new = FULL, replace(FULL, spec=replace(FULL.spec, tock=3.0))
    rows = [keeping.hand_row(hand, BOOT) for hand in (old, new, new)]

    first, second, third = (keeping.hand_of(row, known)[0] for row in rows)

    assert (first, second, third) == (old, new, new)
    assert second.spec is third.spec
