"""``hiod run --detach``: a boss in the background, through python-daemon."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.boss import Boss

pytest_plugins = ("support.boss",)

CREW = """
[hand.speaker]
command = ["sh", "-c", "echo out of the background; exec sleep 60"]
[hand.bare]
doers = []
"""


def detach(boss: Boss) -> subprocess.CompletedProcess[str]:
    """Run ``hiod run --detach`` and return how what was run has ended."""
    return subprocess.run(
        [*boss.argv, "--detach"], capture_output=True, text=True, timeout=30, check=False
    )


def pid_of(boss: Boss) -> int:
    """Return the pid the boss wrote into its lock."""
    return int((boss.runtime / "boss.lock").read_text())


def log_of(boss: Boss) -> list[dict]:
    """Return the boss's log."""
    return [json.loads(line) for line in (boss.state / "log" / "boss.log").read_text().splitlines()]


@pytest.fixture
def daemon(bosses: Callable[[], Boss]) -> Iterator[Boss]:
    """Give a boss that has detached, with two hands; it is told to stop in the end."""
    boss = bosses()
    boss.crew(CREW)
    ended = detach(boss)
    assert (ended.returncode, ended.stderr) == (0, "")
    pidfd = os.pidfd_open(pid_of(boss))
    yield boss
    with contextlib.suppress(Exception):  # the test may have stopped it already
        boss.ask("shutdown")
    boss.client.close()
    assert select.select((pidfd,), (), (), 20)[0], "the boss is still there"
    os.close(pidfd)
    wait_until(lambda: not boss.processes())


def test_it_returns_when_the_boss_is_ready(daemon: Boss):
    about = daemon.ask("about")

    assert about["state"] == "running"
    assert about["pid"] == pid_of(daemon) == int((daemon.state / "boss.lock").read_text())
    assert daemon.row("speaker")["state"] == "running"


def test_it_is_a_daemon(daemon: Boss):
    pid = pid_of(daemon)

    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

    terminal, session = int(stat[4]), int(stat[3])
    assert terminal == 0
    assert session not in {os.getsid(0), 0}
    assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")
    assert Path(f"/proc/{pid}/fd/0").resolve() == Path("/dev/null")


def test_its_log_is_json_in_the_state_directory(daemon: Boss):
    wait_until(lambda: any(one["event"] == "boss.ready" for one in log_of(daemon)))

    told = log_of(daemon)

    assert told[0]["event"] == "boss.started"
    assert told[0]["pid"] == pid_of(daemon)


def test_what_hands_print_has_a_file_each_and_status_says_which(daemon: Boss):
    path = daemon.state / "log" / "speaker.log"

    wait_until(lambda: path.exists() and path.read_text())

    assert path.read_text() == "out of the background\n"
    assert daemon.ask("status", name="speaker")["log"] == str(path)


def test_its_log_and_its_hands_can_be_copied_and_emptied_while_they_write(daemon: Boss):
    """As logrotate's copytruncate does: who kept an offset of his own would leave a hole."""
    talks = "while :; do echo a line; sleep 0.02; done"
    daemon.add("chatter", command=["sh", "-c", talks], env={"PATH": "/usr/bin:/bin"}, wait=None)
    folder = daemon.state / "log"
    said = folder / "chatter.log"
    wait_until(lambda: said.exists() and said.stat().st_size > 80)

    for path in folder.iterdir():
        os.truncate(path, 0)
    daemon.change("restart", "bare", wait="ready")

    wait_until(said.read_text)
    assert set(said.read_text().splitlines()) == {"a line"}
    assert "hand.ready" in [one["event"] for one in log_of(daemon)]


def test_a_second_one_says_who_is_there(daemon: Boss):
    ended = detach(daemon)

    assert ended.returncode == 1
    assert f"another boss (pid {pid_of(daemon)}) has {daemon.runtime}" in ended.stderr


def test_shutdown_leaves_nothing(daemon: Boss):
    daemon.ask("shutdown")

    wait_until(lambda: not daemon.processes())
    assert not [path for path in daemon.runtime.rglob("*") if path.is_socket()]


def test_it_goes_on_though_it_was_born_without_standard_descriptors(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.crew(CREW)
    argv = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *boss.argv, "--detach"]

    ended = subprocess.run(argv, timeout=30, check=False)

    assert ended.returncode == 0, boss.log()
    assert {row["state"] for row in boss.rows().values()} <= {"running", "ready", "registering"}
    pidfd = os.pidfd_open(pid_of(boss))
    boss.ask("shutdown")
    boss.client.close()
    assert select.select((pidfd,), (), (), 20)[0], "the boss is still there"
    os.close(pidfd)
