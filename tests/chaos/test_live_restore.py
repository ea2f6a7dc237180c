"""The boss dies and comes back while its hands talk: they notice nothing.

The number of hands and of deaths is small here and grows with ``HIOD_CHAOS=1`` (``make chaos``).
"""

from __future__ import annotations

import json
import os
import select
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.chance import LONG
from support.chance import chance as chances
from support.talking import assert_nothing_is_lost, chatters, hush, identities
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(1)

SUPPORT = Path(__file__).parents[1] / "support"
HANDS, DEATHS = (100, 20) if LONG else (20, 5)
TOCK_S = 0.25 if LONG else 0.05
# Memos that each of a few hands gets while there is no boss, and by how much it may grow meanwhile.
ALONE, GROWTH_KB = 300_000 if LONG else 12_000, 1024


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
    bosses: Callable[[], Boss], seen: Callable[[str], None]
) -> None:
    boss = bosses()
    boss.crew(chatters(HANDS, TOCK_S, SUPPORT, 'log = "inherit"'))
    boss.start()
    names = [f"chat-{number}" for number in range(HANDS)]
    for name in names:
        boss.until(name, state="ready")
    before = identities(boss.rows())
    chance = chances("deaths")

    for death in range(DEATHS):
        if death and chance.random() < 0.5:
            boss.start()
        elif death:
            boss.launch()
        # Some die while they are starting, some while they adopt, some long after.
        let_live(boss, chance.uniform(0.0, 0.8))
        boss.kill()
    boss.start()

    assert identities(boss.rows()) == before
    told_by = assert_one_story(boss, names)
    books = hush(boss.ask, boss.state / "hands", names)
    assert identities(boss.rows()) == before
    assert_nothing_is_lost(books, {name: before[name][1] for name in names})
    memos = sum(number for book in books.values() for number in book["got"].values())
    seen(f"{HANDS} hands, {DEATHS} deaths of the boss: the same {HANDS} pids, 0 restarts")
    seen(f"{memos} numbered memos: none missing, none repeated, none out of order")
    seen(f"one story told by {told_by} bosses, each adopted every hand once, no number missing")


def assert_one_story(boss: Boss, names: list[str]) -> int:
    """Assert that all bosses together told one story, and the log the same; return how many.

    What a boss had not written down when it died, the next one cannot know: it is in its log only.
    """
    story = boss.events()
    assert [one["seq"] for one in story] == list(range(1, len(story) + 1))
    spawned = [one["facts"]["hand"] for one in story if one["event"] == "hand.spawned"]
    assert sorted(spawned) == sorted(names)
    logged = [json.loads(line) for line in boss.log().splitlines() if line.startswith("{")]
    told = {str(one["pid"]): lives for lives in by_boss(logged) for one in lives[:1]}
    first, *others = by_boss([one | one["facts"] for one in story])
    assert first[0]["mode"] == "a fresh start"
    for life in others:
        what = [one["event"] for one in life]
        assert life[0]["mode"] == "adopting"
        assert what.count("boss.adopted") == 1 >= what.count("boss.ready")
        assert life[what.index("boss.adopted")]["adopted"] == len(names)
        adopted = [one["hand"] for one in life if one["event"] == "hand.adopted"]
        assert sorted(adopted) == sorted(names)
        assert set(what) <= {"boss.started", "boss.adopted", "boss.ready", "hand.adopted"}, what
    for life in (first, *others):
        said = [(one["event"], one.get("hand")) for one in life]
        assert [(one["event"], one.get("hand")) for one in told[str(life[0]["pid"])]][
            : len(said)
        ] == said
    assert others[-1][-1]["event"] == "boss.ready"
    return 1 + len(others)


def by_boss(story: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Part a story into those of each boss."""
    lives: list[list[dict[str, Any]]] = []
    for one in story:
        if one["event"] == "boss.started":
            lives.append([])
        lives[-1].append(one)
    return lives


@pytest.mark.promise(9)
def test_the_next_boss_is_there_soon_after_the_death_of_the_last(
    bosses: Callable[[], Boss], seen: Callable[[str], None]
) -> None:
    boss = bosses()
    boss.crew(f'[hand.h]\ndoers = []\ncount = {HANDS}\nlog = "null"\n')
    boss.start()
    names = [f"h-{number}" for number in range(HANDS)]
    for name in names:
        boss.until(name, state="ready")
    before = identities(boss.rows())

    took = []
    for _ in range(5 if LONG else 1):
        began = time.perf_counter()
        boss.kill()
        boss.start()
        took.append(time.perf_counter() - began)
        assert identities(boss.rows()) == before

    median = statistics.median(took) * 1e3
    seen(f"{HANDS} hands, from SIGKILL to adopted and ready: median {median:.0f} ms")


def figures(boss: Boss, name: str) -> dict[str, int]:
    """Return what a reporter wrote down last."""
    path = boss.state / "hands" / name / "figures.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


@pytest.mark.promise(7)
def test_hands_without_a_boss_for_long_work_on_and_take_no_more_memory(
    bosses: Callable[[], Boss], seen: Callable[[str], None]
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
    told = sum(one["told"] for one in last.values())

    def heard_by_boss() -> int:
        return int(boss.ask("about")["figures"].get("memos.to_boss", 0))

    wait_until(lambda: heard_by_boss() >= told, 60)
    books = hush(boss.ask, boss.state / "hands", before)
    assert all(book["wrong"] == [] and book["drops"] == {} for book in books.values()), books
    assert heard_by_boss() == told
    assert identities(boss.rows()) == before
    grown = max(last[name]["own_kb"] - first[name]["own_kb"] for name in before)
    heard = min(last[name]["received"] - first[name]["received"] for name in before)
    seen(f"without a boss, each of 4 hands received {heard} memos more and grew by {grown} KiB")
    seen(f"{told} memos for the boss waited with their senders, and the next boss had them all")
