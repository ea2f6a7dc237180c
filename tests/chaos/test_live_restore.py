"""The boss dies and comes back while its hands talk: they notice nothing.

The number of hands and of deaths is small here and grows with ``HIOD_CHAOS=1`` (``make chaos``).
"""

from __future__ import annotations

import json
import os
import random
import select
from pathlib import Path
from typing import TYPE_CHECKING

from support.talking import assert_nothing_is_lost, chatters, hush, identities
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)

SUPPORT = Path(__file__).parents[1] / "support"
LONG = os.environ.get("HIOD_CHAOS") == "1"
HANDS, DEATHS = (100, 20) if LONG else (20, 5)
TOCK_S = 0.25 if LONG else 0.05
# Memos that each of a few hands gets while there is no boss, and by how much it may grow meanwhile.
ALONE, GROWTH_KB = 300_000 if LONG else 12_000, 1024
SEED = int(os.environ.get("HIOD_SEED", "7"))


def let_live(boss: Boss, moment_s: float) -> None:
    """Let the boss live for a moment, in which it must not end by itself."""
    assert boss.process is not None
    pidfd = os.pidfd_open(boss.process.pid)
    try:
        ended = select.select((pidfd,), (), (), moment_s)[0]
    finally:
        os.close(pidfd)
    assert not ended, f"the boss exited {boss.process.wait()}\n{boss.log()}"


def test_hands_that_talk_live_on_while_their_boss_is_killed_again_and_again(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses()
    boss.crew(chatters(HANDS, TOCK_S, SUPPORT, 'log = "inherit"'))
    boss.start()
    names = [f"chat-{number}" for number in range(HANDS)]
    for name in names:
        boss.until(name, state="ready")
    before = identities(boss.rows())
    chance = random.Random(SEED)

    for death in range(DEATHS):
        if death:
            boss.launch()
        # Some die while they are starting, some while they adopt, some long after.
        let_live(boss, chance.uniform(0.0, 0.8))
        boss.kill()
    boss.start()

    assert identities(boss.rows()) == before
    books = hush(boss.ask, boss.state / "hands", names)
    assert identities(boss.rows()) == before
    assert_nothing_is_lost(books, {name: before[name][1] for name in names})
    assert len(boss.events("hand.spawned")) == HANDS
    assert boss.events("hand.lost", "hand.died", "process.unknown", "launcher.gone") == []


def figures(boss: Boss, name: str) -> dict[str, int]:
    """Return what a reporter wrote down last."""
    path = boss.state / "hands" / name / "figures.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def test_hands_without_a_boss_for_long_work_on_and_take_no_more_memory(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses().start()
    chatter = {"ref": "chatter:Chatter", "opts": {"count": 4, "burst": 20}, "tock": 0.01}
    boss.add(
        "chat", doers=[chatter, "chatter:Reporter"], path=[str(SUPPORT)], count=4,
        health={"beat_s": 0.5}, log="null",
    )  # fmt: skip
    before = identities(boss.rows())
    boss.kill()
    for name in before:
        (boss.state / "hands" / name / "begin").touch()

    # What the boss is to have is kept up to a thousand memos and refused from then on; there is
    # little else that has not gone.
    def settled(least: int) -> dict[str, dict[str, int]] | None:
        seen = {name: figures(boss, name) for name in before}
        calm = all(
            one and one["refused"] and 1000 <= one["outbox"] < 1200 and one["received"] > least
            for one in seen.values()
        )
        return seen if calm else None

    first = wait_until(lambda: settled(2_000), 60)
    last = wait_until(lambda: settled(max(one["received"] for one in first.values()) + ALONE), 550)
    for name in before:
        assert last[name]["told"] == first[name]["told"] >= 990  # beside beats
        assert last[name]["own_kb"] - first[name]["own_kb"] < GROWTH_KB, (first, last)

    boss.start()
    assert identities(boss.rows()) == before
    for name in before:
        boss.until(name, outbox=0)
    books = hush(boss.ask, boss.state / "hands", before)
    assert all(book["wrong"] == [] and book["drops"] == {} for book in books.values()), books
    told = sum(one["told"] for one in last.values())
    assert boss.ask("about")["figures"]["memos.to_boss"] == told
    assert identities(boss.rows()) == before
