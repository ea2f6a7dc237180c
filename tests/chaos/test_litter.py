"""Somebody changed the runtime directory: what a boss may not remove it tells of and leaves."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.boss import Boss

pytest_plugins = ("support.boss",)

BOUND = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
"""Makes root heed the modes of files, as everybody else does."""


def idle(boss: Boss, *names: str) -> None:
    for name in names:
        boss.add(name, command=["sleep", "600"], log="null")


def start_bound(boss: Boss) -> Boss:
    """Start a boss that heeds the modes of files, whoever runs this."""
    with (boss.home / "boss.log").open("ab") as log:
        boss.process = subprocess.Popen(
            [*(BOUND if os.getuid() == 0 else []), *boss.argv],
            env={**os.environ, "NOTIFY_SOCKET": str(boss.home / "manager.sock")},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    boss.until_said(lambda words: words.get("READY") == "1")
    return boss


def spoil(path: Path) -> None:
    """Put a directory in the place of a socket."""
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)


def test_a_hand_leaves_the_crew_though_something_else_lies_where_its_mailbox_was(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses().start()
    idle(boss, "stays", "goes")
    pid = boss.row("stays")["pid"]
    path = boss.runtime / "m" / "goes.uxd"
    boss.change("stop", "goes", wait="gone")

    spoil(path)
    boss.change("remove", "goes", wait="gone")

    boss.event("boss.litter", path=str(path), why="Is a directory")
    assert boss.rows().keys() == {"stays"}
    assert boss.row("stays")["pid"] == pid


@pytest.mark.parametrize("taken_by", ["nobody", "a file"])
def test_a_boss_stops_well_though_the_folder_of_the_mailboxes_is_gone(
    bosses: Callable[[], Boss], taken_by: str
) -> None:
    boss = bosses().start()
    boss.add("hand", doers=[], log="null")
    boss.change("stop", "hand", wait="gone")

    (boss.runtime / "m").rename(boss.home / "elsewhere")
    if taken_by == "a file":
        (boss.runtime / "m").touch()

    boss.change("remove", "hand", wait="gone")
    assert boss.end() == 0
    assert "Traceback" not in boss.log()
    for path in (boss.home / "elsewhere").iterdir():
        path.unlink()


def test_what_lies_in_a_mailboxs_place_at_the_stop_is_told_and_left(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses()
    spoil(boss.runtime / "m" / "cold.uxd")
    boss.crew("[hand.cold]\ndoers = []\nstart = false\n")
    boss.start()

    assert boss.end() == 0
    assert f"{boss.runtime}/m/cold.uxd cannot be removed: Is a directory" in boss.log()
    assert "Traceback" not in boss.log()


def test_a_dead_launchers_socket_that_cannot_be_removed_costs_no_hand(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses().start()
    idle(boss, "hand")
    pid = boss.row("hand")["pid"]
    (path,) = (boss.runtime / "launcher").glob("*.sock")
    facts = boss.event("launcher.started")["facts"]

    os.kill(boss.process.pid, signal.SIGSTOP)
    spoil(path)
    os.kill(facts["pid"], signal.SIGKILL)
    os.kill(boss.process.pid, signal.SIGCONT)

    boss.event("boss.litter", path=str(path), why="Is a directory")
    assert boss.row("hand")["pid"] == pid
    boss.change("restart", "hand", wait="ready")


def test_a_boss_that_may_not_write_to_its_directory_any_more_stops_as_told(
    bosses: Callable[[], Boss],
) -> None:
    boss = start_bound(bosses())
    boss.add("hand", doers=[], log="null")

    for name in ("", "m", "launcher"):
        (boss.runtime / name).chmod(0o500)
    try:
        assert boss.end() == 0
    finally:
        for name in ("", "m", "launcher"):
            (boss.runtime / name).chmod(0o700)
    for name in ("admin.sock", "boss.uxd", "m/hand.uxd"):
        assert f"{boss.runtime / name} cannot be removed: Permission denied" in boss.log()
    assert "Traceback" not in boss.log()
    wait_until(lambda: not boss.processes())
    for path in [path for path in boss.runtime.rglob("*") if path.is_socket()]:
        path.unlink()
