"""What a boss keeps over its own end: stopped and started again, or killed and adopted."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)

CREW = """
[hand.filed]
doers = []
[hand.many]
command = ["sleep", "1000"]
count = 2
[hand.rested]
doers = []
"""


@pytest.fixture
def changed(bosses: Callable[[], Boss]) -> Boss:
    """Give a boss whose crew was changed while it ran."""
    boss = bosses()
    boss.crew(CREW)
    boss.start()
    boss.until("rested", state="ready")
    boss.add("late", doers=[], labels={"by": "hand"})
    boss.add("paused", doers=[])
    boss.ask("scale", name="many", count=3, wait="ready", timeout_s=20)
    boss.change("stop", "rested", "paused", wait="gone")
    boss.until("filed", state="ready")
    return boss


WANTED = {
    "filed": "up", "many-0": "up", "many-1": "up", "many-2": "up", "rested": "down",
    "late": "up", "paused": "down",
}  # fmt: skip


def wanted(boss: Boss) -> dict[str, str]:
    """Return what is wanted of each hand, in the order of the list."""
    return {name: row["wanted"] for name, row in boss.rows().items()}


def again(boss: Boss, how: str) -> None:
    """Let the next boss follow."""
    if how == "killed":
        boss.kill()
    elif how == "kept":
        assert boss.end(signal.SIGUSR1) == 75
    else:
        assert boss.end() == 0
    boss.start()


@pytest.mark.parametrize("how", ["stopped", "killed", "kept"])
def test_what_was_changed_at_runtime_is_wanted_by_the_next_boss(changed: Boss, how: str):
    again(changed, how)

    assert wanted(changed) == WANTED
    assert list(changed.rows()) == list(WANTED)
    assert changed.ask("status", name="late")["labels"] == {"by": "hand"}
    assert changed.ask("status", name="late")["origin"] == "added at runtime"


def test_a_stop_and_a_start_give_new_processes_and_leave_the_stopped_at_rest(changed: Boss):
    before = changed.rows()

    again(changed, "stopped")
    after = {name: changed.until(name, state=state) for name, state in (
        ("filed", "ready"), ("late", "ready"), ("many-2", "running"),
    )}  # fmt: skip

    assert all(after[name]["pid"] != before[name]["pid"] for name in after)
    assert all(after[name]["generation"] == 2 for name in after)
    assert changed.row("rested")["state"] == changed.row("paused")["state"] == "stopped"
    assert changed.event("boss.started", mode="a fresh start")


@pytest.mark.parametrize("how", ["killed", "kept"])
def test_the_next_boss_adopts_and_restarts_nobody(changed: Boss, how: str):
    before = changed.rows()

    again(changed, how)
    after = changed.rows()

    for name, row in before.items():
        for key in ("pid", "generation", "state", "restarts"):
            assert after[name][key] == row[key], (name, key)
    assert changed.event("boss.adopted", adopted=5, ended=0)


def test_a_stopped_hand_of_the_last_boss_starts_when_asked(changed: Boss):
    again(changed, "stopped")

    (outcome,) = changed.change("start", "paused", wait="ready")

    assert (outcome["state"], outcome["generation"]) == ("ready", 2)


def test_what_was_removed_at_runtime_comes_back_with_the_files_only(changed: Boss):
    changed.change("remove", "late", "filed", wait="gone")

    again(changed, "killed")
    adopted = set(changed.rows())
    applied = changed.ask("apply", wait="ready", timeout_s=20)

    assert not adopted & {"late", "filed"}
    assert [one["name"] for one in applied["changes"]] == ["filed"]
    assert changed.row("filed")["state"] == "ready"
    assert "late" not in changed.rows()


def test_events_go_on_counting(changed: Boss):
    seq = changed.ask("list")["seq"]

    again(changed, "killed")

    numbers = [one["seq"] for one in changed.ask("events", since=seq, limit=1000)["events"]]
    assert numbers == list(range(seq + 1, seq + 1 + len(numbers)))
    assert numbers


def test_files_that_were_broken_meanwhile_hurt_no_adopted_hand_and_are_told_of(changed: Boss):
    before = changed.rows()
    changed.crew('[hand.filed]\ncomand = ["x"]\n')

    again(changed, "killed")

    about = changed.ask("about")
    assert about["files"].startswith("broken: ")
    assert "hand.filed.comand" in about["files"]
    assert {name: row["pid"] for name, row in changed.rows().items()} == {
        name: row["pid"] for name, row in before.items()
    }
    changed.crew(CREW)


def test_hands_are_shown_though_the_database_cannot_be_read(boss: Boss):
    boss.add("late", command=["sleep", "600"])
    boss.change("restart", "late", wait="ready")
    again(boss, "kept")  # the next one has read what it needs, and no more
    os.truncate(boss.state / "hiod.db", 0)

    (told,) = boss.ask("why", names=["late"])["hands"]

    assert told["name"] == "late"
    assert boss.ask("status", name="late")["state"] == "running"
    assert "state cannot be read" in boss.log()
    assert "admin.fault" not in boss.log()
