from __future__ import annotations

from types import SimpleNamespace

import pytest

from hiod.boss.overseer import Overseer


@pytest.mark.parametrize(
    ("memo", "told"),
    [('{"tag":"NEWS","load":{}}', ["hand.dead_letters"]), (None, ["hand.dead_letters"]),
     ('{"tag":"END","load":{}}', []), ('{"tag":"BOK","load":{}}', [])],
)  # fmt: skip
def test_what_the_boss_says_itself_is_no_dead_letter(memo: str | None, told: list[str]) -> None:
    events: list[str] = []
    counts: list[str] = []
    ledger = SimpleNamespace(count=counts.append, tell=lambda event, **_: events.append(event))
    boss = SimpleNamespace(ledger=ledger, switchboard=SimpleNamespace(name_of=lambda _: "web"))

    Overseer.onDead(boss, memo, "/r/m/web.uxd", "unreachable")  # type: ignore[arg-type]

    assert (events, counts) == (told, ["memos.dead"] * len(told))
