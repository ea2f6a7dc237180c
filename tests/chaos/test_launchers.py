"""Launchers that are frozen or crowded when a boss starts are heard as soon as they speak."""

from __future__ import annotations

import errno
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(3)

SUPPORT = str(Path(__file__).parents[1] / "support")


def frozen(boss: Boss, **restart: Any) -> tuple[dict[str, dict[str, Any]], int]:
    """Start two hands, freeze their launcher, and let another boss take them over."""
    boss.start()
    for name in ("ends", "lives"):
        boss.add(
            name,
            doers=["chatter:Mortal", "chatter:Collector"],
            path=[SUPPORT],
            restart={"delay_s": 0.05, **restart},
            log="null",
        )
    rows = boss.rows()
    (launcher,) = (one["pid"] for one in boss.ask("about")["launchers"])
    os.kill(launcher, signal.SIGSTOP)
    boss.kill()
    return rows, launcher


def tell_to_end(boss: Boss, name: str, code: int) -> None:
    order = boss.state / "hands" / name / "end"
    order.with_suffix(".new").write_text(str(code))
    order.with_suffix(".new").rename(order)


def test_a_frozen_launcher_is_heard_when_it_speaks_and_its_hands_are_kept_meanwhile(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses()
    rows, launcher = frozen(boss, policy="never")

    boss.start()
    boss.event("launcher.silent", pid=launcher)
    kept = boss.rows()
    assert {name: (row["pid"], row["restarts"]) for name, row in kept.items()} == {
        name: (row["pid"], 0) for name, row in rows.items()
    }

    os.kill(launcher, signal.SIGCONT)
    boss.event("launcher.heard", pid=launcher, hands=2)
    tell_to_end(boss, "ends", 3)
    # Only their launcher can know this.
    assert boss.until("ends", state="failed")["pid"] is None
    assert boss.ask("status", name="ends")["deaths"][0]["code"] == 3
    assert boss.events("hand.lost", "process.unknown", "launcher.gone") == []

    # It holds what the present boss hears by, and the next one finds all as it was.
    boss.kill()
    boss.start()
    row = boss.until("lives", state="ready")
    assert (row["pid"], row["restarts"]) == (rows["lives"]["pid"], 0)
    assert boss.change("stop", "lives", wait="gone")[0]["how"] == "END"


def test_a_hand_that_ended_while_its_launcher_was_frozen_is_not_doubled(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses()
    rows, launcher = frozen(boss)

    boss.start()
    tell_to_end(boss, "ends", 3)
    boss.event("hand.ready", "ends", generation=2)
    os.kill(launcher, signal.SIGCONT)
    boss.event("launcher.heard", pid=launcher, hands=1)

    # What nobody saw in time stays unknown, and the end that is told late is none of the next one.
    row = boss.row("ends")
    assert (row["state"], row["generation"], row["restarts"]) == ("ready", 2, 1)
    death = boss.ask("status", name="ends")["deaths"][0]
    assert (death["known"], death["code"]) == (False, None)
    hands = [words for words in boss.processes().values() if words.startswith("hiod-hand")]
    assert sorted(hands) == ["hiod-hand ends", "hiod-hand lives"]
    assert boss.row("lives")["pid"] == rows["lives"]["pid"]


def test_a_launcher_whose_door_is_crowded_is_asked_again(bosses: Callable[[], Boss]) -> None:
    boss = bosses()
    rows, launcher = frozen(boss)
    (door,) = (boss.runtime / "launcher").glob("*.sock")
    crowd = []
    refusal = 0
    while not refusal:
        crowd.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        crowd[-1].setblocking(False)
        refusal = crowd[-1].connect_ex(str(door))
    assert refusal == errno.EAGAIN

    boss.start()
    assert boss.events("launcher.silent") == []
    for one in crowd:
        one.close()
    os.kill(launcher, signal.SIGCONT)

    boss.event("launcher.heard", pid=launcher, hands=2)
    assert {name: row["pid"] for name, row in boss.rows().items()} == {
        name: row["pid"] for name, row in rows.items()
    }
