"""The boss dies at every step of its work: nothing is doubled, nothing is lost.

Every step is tried with ``HIOD_CHAOS=1`` (``make chaos``), else some of them.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.chance import LONG
from support.waiting import wait_until

from hiod.admin.client import NoBoss
from hiod.hand.launcher import LINGER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(3)

SUPPORT = Path(__file__).parents[1] / "support"
STRIDE = 1 if LONG else 7
MOST = 500
CREW = f"""
[hand.base]
doers = ["chatter:Mortal"]
path = ["{SUPPORT}"]
log = "null"
restart = {{ delay_s = 0, limit = 1000 }}

[hand.late]
doers = ["chatter:Mortal"]
path = ["{SUPPORT}"]
log = "null"
after = ["base"]
restart = {{ delay_s = 0, limit = 1000 }}

[hand.plain]
command = ["sleep", "1000"]
log = "null"
restart = {{ delay_s = 0, limit = 1000 }}
"""
NAMES = ("base", "late", "plain")


@pytest.fixture
def faulty(bosses: Callable[..., Boss]) -> Callable[..., Boss]:
    """Make bosses that can be told to die at a step."""

    def make(name: str = "b") -> Boss:
        boss = bosses(name)
        # One may be left to itself before anybody could find it: then it has mail, and waits.
        boss.lingers_s += LINGER_S
        boss.crew(CREW)
        boss.environ |= {
            "PYTHONPATH": f"{SUPPORT / 'faults'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "HIOD_FAULT": str(boss.home / "fault"),
        }
        return boss

    return make


def arm(boss: Boss, step: int) -> None:
    """Have the boss die at its step of that number, counted from now."""
    fresh = boss.home / "fault.new"
    fresh.write_text(str(step))
    fresh.rename(boss.home / "fault")


def disarm(boss: Boss) -> str:
    """Have it not die any more; return at which step it did."""
    arm(boss, 0)
    at = boss.home / "fault.at"
    step = at.read_text() if at.exists() else ""
    at.unlink(missing_ok=True)
    return step


def ready_or_dead(boss: Boss) -> bool:
    """Start the boss; say whether it became ready before it was killed."""
    boss.hear()
    boss.said.clear()
    process = boss.launch()

    def known() -> bool:
        return process.poll() is not None or any(one.get("READY") == "1" for one in boss.said)

    wait_until(known, 20)
    if any(one.get("READY") == "1" for one in boss.hear()):
        arm(boss, 0)
        # It may have been killed in the moment after it was ready, and answers only if not.
        with suppress(NoBoss):
            boss.ask("ping")
            return True
    assert process.wait() == -signal.SIGKILL, boss.log()
    return False


def living(boss: Boss) -> dict[int, str]:
    """Return what lives of hands, by pid: doers by their own title, commands by theirs."""
    return {
        pid: words.removeprefix("hiod-hand ")
        for pid, words in boss.processes().items()
        if words.startswith("hiod-hand") or words == "sleep 1000"
    }


def assert_all_there_once(boss: Boss, step: str, names: tuple[str, ...] = NAMES) -> None:
    """Assert that each hand has one process, the one the boss says, and nobody else has any."""
    for name in names:
        boss.until(name, state="running" if name == "plain" else "ready")
    rows = boss.rows()
    assert sorted(rows) == sorted(names), step
    assert set(living(boss)) == {row["pid"] for row in rows.values()}, step
    assert boss.events("process.unknown") == [], step


def test_a_boss_killed_at_any_step_of_a_start_doubles_and_loses_nobody(
    faulty: Callable[..., Boss], seen: Callable[[str], None]
) -> None:
    died = True
    for step in range(1, MOST, STRIDE):
        boss = faulty(f"b{step}")
        arm(boss, step)
        died = not ready_or_dead(boss)
        if not died:
            break
        at = disarm(boss)
        boss.start()

        assert_all_there_once(boss, f"step {step}: {at}")
        assert {row["restarts"] for row in boss.rows().values()} == {0}, at
        assert boss.events("hand.lost") == [], at
        boss.close()
    assert not died
    disarm(boss)
    seen(f"killed at {step // STRIDE} steps of a start")


def test_a_boss_killed_at_any_step_of_an_adoption_doubles_and_loses_nobody(
    faulty: Callable[..., Boss], seen: Callable[[str], None]
) -> None:
    boss = faulty()
    boss.start()
    assert_all_there_once(boss, "at first")
    before = boss.rows()
    killed = deaths = 0
    ready = False

    for step in range(1, MOST, STRIDE):
        for pid, name in living(boss).items():
            if name == "base":
                pidfd = os.pidfd_open(pid)
                os.kill(pid, signal.SIGKILL)
                assert select.select((pidfd,), (), (), 20)[0]
                os.close(pidfd)
                killed += 1
        boss.kill()
        arm(boss, step)
        ready = ready_or_dead(boss)
        if ready:
            break
        deaths += 1
        at = disarm(boss)
        if not deaths % 4:
            # One that gets through, else each of the dead leaves more to do for the next.
            boss.start()
            assert_all_there_once(boss, f"step {step}: {at}")
            assert boss.row("base")["restarts"] == killed
    assert ready
    disarm(boss)
    seen(f"killed at {deaths} steps of an adoption, up to step {step}")

    assert_all_there_once(boss, "at last")
    after = boss.rows()
    for name in ("late", "plain"):
        assert (after[name]["pid"], after[name]["restarts"]) == (before[name]["pid"], 0)
    assert after["base"]["restarts"] == killed
    deaths = boss.events("hand.lost", "hand.backing_off", hand="base")
    assert len([one for one in deaths if one["event"] == "hand.backing_off"]) == killed, deaths


def consistent(boss: Boss) -> dict[str, dict[str, Any]] | None:
    """Return the rows once every hand has come where it is wanted, with a process or without."""
    rows = boss.rows()
    there = all(
        row["state"] in ({"ready", "running"} if row["wanted"] == "up" else {"stopped"})
        for row in rows.values()
    )
    pids = {row["pid"] for row in rows.values() if row["pid"] is not None}
    return rows if there and set(living(boss)) == pids else None


OPERATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "add": (
        "ready",
        {"spec": {"name": "new", "command": ["sleep", "1000"], "log": "null"}},
    ),
    "remove": ("gone", {"names": ["late"]}),
    "stop": ("gone", {"names": ["base", "late"]}),
    "restart": ("ready", {"names": ["base"]}),
}
BACK: dict[str, tuple[str, dict[str, Any]]] = {
    "add": ("remove", {"names": ["new"], "wait": "gone"}),
    "remove": ("apply", {"wait": "ready"}),
    "stop": ("start", {"names": ["base", "late"], "wait": "ready"}),
}


def is_done(what: str, rows: dict[str, dict[str, Any]]) -> bool:
    """Say whether an operation was done whole; fail if it was done by halves."""
    if what == "add":
        return "new" in rows
    if what == "remove":
        return "late" not in rows
    wanted = {rows[name]["wanted"] for name in ("base", "late")}
    assert len(wanted) == 1, rows
    return wanted == {"down"} if what == "stop" else rows["base"]["generation"] > 1


@pytest.mark.parametrize("what", OPERATIONS)
def test_a_boss_killed_at_any_step_of_an_operation_has_done_it_whole_or_not_at_all(
    faulty: Callable[..., Boss], seen: Callable[[str], None], what: str
) -> None:
    until, asked = OPERATIONS[what]
    boss = faulty()
    boss.start()
    assert_all_there_once(boss, "at first")
    answered = False

    for step in range(1, MOST, STRIDE):
        arm(boss, step)
        try:
            boss.ask(what, **asked, wait=until)
            answered = True
        except NoBoss:
            assert boss.process is not None
            boss.process.wait()
        at = disarm(boss)
        if answered:
            break
        boss.start()

        rows = wait_until(lambda: consistent(boss))
        if is_done(what, rows) and what in BACK:
            method, asked_back = BACK[what]
            boss.ask(method, **asked_back)
        assert_all_there_once(boss, f"step {step}: {at}")
    assert answered
    seen(f"killed at {step // STRIDE} steps of an operation: {what}")


@pytest.mark.parametrize("what", OPERATIONS)
def test_what_was_answered_is_done_though_the_boss_dies_right_after(
    faulty: Callable[..., Boss], what: str
) -> None:
    boss = faulty()
    boss.start()
    assert_all_there_once(boss, "at first")

    boss.ask(what, **OPERATIONS[what][1])
    boss.kill()
    boss.start()

    assert is_done(what, wait_until(lambda: consistent(boss)))
