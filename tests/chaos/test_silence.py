"""Launchers that do not answer, and those that never become one, hold up neither hands nor boss."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(3)

SHORTER = """
import sys
if "run" in sys.orig_argv:
    from hiod.boss import orders
    orders.ANSWER_S = 3.0
"""


@pytest.fixture
def boss(bosses: Callable[[], Boss]) -> Boss:
    """Return a boss that waits less long for a launcher's answer."""
    boss = bosses()
    folder = boss.home / "py"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHORTER)
    known = os.environ.get("PYTHONPATH", "")
    boss.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{known}"
    return boss


def launchers(boss: Boss) -> set[int]:
    return {one["pid"] for one in boss.ask("about")["launchers"]}


def why(boss: Boss, name: str) -> dict[str, Any]:
    (told,) = boss.ask("why", names=[name])["hands"]
    return {finding["label"]: finding["lines"] for finding in told["findings"]}


def test_a_python_that_hangs_is_a_failure_and_not_waited_for_by_ready(boss: Boss) -> None:
    python = boss.home / "hangs"
    python.write_text("#!/bin/sh\nsleep 3000\n")
    python.chmod(0o755)
    boss.crew(
        f'[hand.nt]\ndoers = []\npython = "{python}"\nlog = "null"\n'
        "restart = { delay_s = 0, limit = 1 }\n"
    )

    boss.start()

    refused = boss.event("hand.refused", "nt", step="launcher")["message"]
    assert f'"{python}" has not become one' in refused
    boss.until("nt", state="failed")
    boss.event("launcher.gone", hands=0)
    boss.change("remove", "nt", wait="gone")
    assert boss.rows() == {}


def test_a_launcher_that_stopped_is_replaced_and_its_late_hand_is_ended(boss: Boss) -> None:
    boss.start()
    boss.add("old", doers=[], log="null")
    (frozen,) = launchers(boss)
    os.kill(frozen, signal.SIGSTOP)

    boss.add("new", wait=None, doers=[], log="null", restart={"delay_s": 0.05})
    boss.until("new", state="starting")
    assert f"launcher pid {frozen} is to make it" in why(boss, "new")["process"][0]
    assert f"pid {frozen}, has not answered" in boss.event("hand.refused", "new")["message"]
    boss.until("new", state="ready")

    os.kill(frozen, signal.SIGCONT)
    # It makes what it was told to, once; the boss has that ended.
    assert boss.change("restart", "old", wait="ready")[0]["state"] == "ready"
    boss.event("launcher.gone", pid=frozen)
    hands = [words for words in boss.processes().values() if words.startswith("hiod-hand")]
    assert sorted(hands) == ["hiod-hand new", "hiod-hand old"]


def test_a_stop_before_there_is_a_process_ends_although_its_launcher_is_stopped(
    boss: Boss,
) -> None:
    boss.start()
    boss.add("old", doers=[], log="null")
    (frozen,) = launchers(boss)
    os.kill(frozen, signal.SIGSTOP)
    boss.add("new", wait=None, doers=[], log="null")
    boss.until("new", state="starting")

    assert boss.change("stop", "new", wait="gone")[0]["state"] == "stopped"

    os.kill(frozen, signal.SIGCONT)


def test_a_hand_that_ended_under_a_stopped_launcher_is_not_waited_for(boss: Boss) -> None:
    boss.start()
    for name in ("one", "two"):
        boss.add(name, doers=[], log="null", stop={"grace_s": 0.5, "term_s": 0.5})
    (frozen,) = launchers(boss)
    os.kill(frozen, signal.SIGSTOP)

    assert boss.change("stop", "one", wait="gone")[0]["state"] == "stopped"
    assert "its launcher does not answer" in boss.event("hand.stopped", "one")["message"]
    assert boss.events("hand.pressed", "hand.unkillable") == []

    assert boss.end() == 0
    os.kill(frozen, signal.SIGCONT)
