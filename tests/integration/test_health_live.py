"""One misbehaving hand for each verdict, and what is done about it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.waiting import wait_until

pytest_plugins = ("support.boss",)

SUPPORT = str(Path(__file__).parents[1] / "support")
QUICK = {"beat_s": 0.2, "misses": 2}


def rogue(boss, vice, *, health=None, opts=None, **spec):
    """Add the hand ``r``, which behaves until it gets the memo VICE."""
    doer = {"ref": f"rogue:{vice}", "opts": opts or {}}
    spec = {"stop": {"grace_s": 0.1, "term_s": 0.1}, "health": {**QUICK, **(health or {})}, **spec}
    boss.add("r", doers=[doer], path=[SUPPORT], **spec)
    return boss.row("r")["pid"]


def tempt(boss):
    """Let the hand ``r`` give in."""
    boss.ask("send", names=["r"], tag="VICE", load={})


def verdict_of(boss):
    """Return the facts of the first verdict on ``r`` that was not ok."""
    return boss.event("hand.degraded", "r")["facts"]


def test_a_busy_loop_is_stuck_and_its_stack_is_shown(shared):
    rogue(shared, "Busy")
    tempt(shared)

    assert verdict_of(shared)["verdict"] == "stuck"
    facts = shared.event("hand.dumped", "r")["facts"]
    assert "rogue.py" in facts["where"]
    assert "in sin" in facts["stack"]
    row = shared.row("r")
    assert (row["state"], row["health"]) == ("degraded", "stuck")
    findings = shared.ask("why", names=["r"])["hands"][0]["findings"]
    assert any("rogue.py" in line for one in findings for line in one["lines"])
    assert not any("/hiod/base/" in line for one in findings for line in one["lines"])
    shared.ask("send", names=["r"], tag="VICE", load={})
    status = shared.ask("status", name="r")
    assert status["process"]["doing"].startswith("rogue.py:")
    assert status["memo"]["waiting"] is True


def test_a_stuck_hand_is_restarted_if_that_is_allowed_and_counts_as_a_failure(shared):
    pid = rogue(shared, "Busy", health={"on_fail": "restart"}, restart={"delay_s": 0})
    tempt(shared)

    row = shared.until("r", generation=2, state="ready")

    assert row["pid"] != pid
    assert row["restarts"] == 1
    status = shared.ask("status", name="r")
    assert status["restart"]["failures"] == 1
    assert status["deaths"][0]["asked_by"].startswith("hiod: stuck")
    told = [one["event"] for one in shared.events(hand="r")]
    assert told.index("hand.degraded") < told.index("hand.dumped") < told.index("hand.restarting")


def test_a_hand_that_is_only_to_be_noted_keeps_its_process_and_shows_no_stack(shared):
    pid = rogue(shared, "Busyish", opts={"for_s": 1.5}, health={"on_fail": "note"})
    tempt(shared)
    assert verdict_of(shared)["verdict"] == "stuck"

    assert shared.event("hand.recovered", "r")
    row = shared.until("r", state="ready", health="ok")
    assert (row["pid"], row["generation"]) == (pid, 1)
    assert not shared.events("hand.dumped", hand="r")


def test_a_stopped_process_is_stopped_and_well_again_when_it_goes_on(shared):
    pid = rogue(shared, "Vice")
    os.kill(pid, signal.SIGSTOP)

    assert verdict_of(shared)["verdict"] == "stopped"

    os.kill(pid, signal.SIGCONT)
    assert shared.event("hand.recovered", "r")
    assert shared.until("r", state="ready", health="ok")["generation"] == 1


def test_a_deadlock_is_silent_and_its_stack_is_shown(shared):
    rogue(shared, "Deadlocked")
    tempt(shared)

    assert verdict_of(shared)["verdict"] == "silent"
    stack = shared.event("hand.dumped", "r")["facts"]["stack"]
    assert "in sin" in stack


@pytest.mark.parametrize(
    ("vice", "limit", "why"),
    [
        ("Eater", {"rss_max": "50M"}, "limit 50M"),
        ("Leaker", {"fds_max": 40}, "limit 40"),
        ("Hog", {"cpu_max": 5}, "limit 5 %"),
    ],
)
def test_a_hand_over_its_limit_is_hungry(shared, vice, limit, why):
    rogue(shared, vice, health=limit)
    tempt(shared)

    facts = verdict_of(shared)

    assert facts["verdict"] == "hungry"
    assert why in facts["why"]


def test_a_loop_that_is_late_again_and_again_is_lagging(shared):
    rogue(shared, "Laggard", health={"lag_s": 0.1})
    tempt(shared)

    facts = verdict_of(shared)

    assert facts["verdict"] == "lagging"
    assert "limit 0.1 s" in facts["why"]


def test_a_command_that_is_stopped_is_noticed_without_any_heartbeat(shared):
    shared.add("r", command=["sleep", "1000"], health=QUICK)
    os.kill(shared.row("r")["pid"], signal.SIGSTOP)

    assert verdict_of(shared)["verdict"] == "stopped"


def test_the_memory_of_children_counts(shared):
    eat = "import time; x = bytearray(b'x') * (64 << 20); time.sleep(1000)"
    shared.add("r", command=["sh", "-c", f'python3 -S -c "{eat}"; true'],
        health={**QUICK, "rss_max": "50M"})  # fmt: skip

    assert verdict_of(shared)["verdict"] == "hungry"


def test_a_hand_that_is_well_is_not_bothered(shared):
    rogue(shared, "Vice", health={"rss_max": "200M", "fds_max": 100, "cpu_max": 50})
    wait_until(lambda: shared.ask("status", name="r")["process"]["cpu"] is not None)

    row = shared.row("r")
    assert (row["state"], row["health"]) == ("ready", "ok")
    assert not shared.events("hand.degraded", "hand.dumped")
