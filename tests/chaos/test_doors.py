"""Somebody cleans up in the runtime directory of a boss that runs: it makes its doors again."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import wait_until

from hiod.admin.client import Client, NoBoss

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(10)

SUPPORT = str(Path(__file__).parents[1] / "support")


# Runs a command with a listener, as systemd does: the pid is known only once there is a process.
GIVEN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


def collector(boss: Boss, name: str, *doers: str, **spec: Any) -> int:
    boss.add(name, doers=["chatter:Collector", *doers], path=[SUPPORT], log="null", **spec)
    return int(boss.row(name)["pid"])


def numbers(boss: Boss, name: str) -> list[int]:
    path = boss.state / "hands" / name / "numbers"
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


def answers(boss: Boss) -> bool:
    """Say whether the boss can be asked, over a new connection."""
    boss.client.close()
    try:
        boss.ask("ping")
    except (NoBoss, OSError):
        return False
    return True


def identities(boss: Boss) -> dict[str, tuple[Any, ...]]:
    return {
        name: (row["state"], row["pid"], row["generation"], row["restarts"])
        for name, row in boss.rows().items()
    }


def test_an_admin_socket_that_is_removed_is_bound_again(bosses: Callable[[], Boss]) -> None:
    boss = bosses().start()
    mode = boss.admin_socket.stat().st_mode

    boss.admin_socket.unlink()
    wait_until(lambda: answers(boss))

    told = boss.event("boss.door_gone")
    assert told["facts"] == {"path": str(boss.admin_socket), "how": "bound again"}
    assert boss.admin_socket.stat().st_mode == mode
    boss.admin_socket.unlink()
    wait_until(lambda: answers(boss))
    assert len(boss.events("boss.door_gone")) == 2


def test_memos_to_a_boss_whose_socket_is_removed_wait_until_it_is_bound_again(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses().start()
    collector(boss, "hand", "chatter:Reporter")
    before = identities(boss)

    frozen = boss.process.pid
    os.kill(frozen, signal.SIGSTOP)
    (boss.runtime / "boss.uxd").unlink()
    (boss.state / "hands" / "hand" / "begin").touch()
    figures = boss.state / "hands" / "hand" / "figures.json"
    wait_until(lambda: figures.exists() and json.loads(figures.read_text())["refused"])
    os.kill(frozen, signal.SIGCONT)

    boss.event("boss.door_gone", path=str(boss.runtime / "boss.uxd"), how="bound again")
    boss.until("hand", outbox=0)
    told = json.loads(figures.read_text())["told"]
    wait_until(lambda: boss.ask("about")["figures"]["memos.to_boss"] == told)
    assert identities(boss) == before

    # The next boss hears by the new one, too, which the launcher holds.
    boss.kill()
    boss.start()
    assert identities(boss) == before
    assert boss.change("stop", "hand", wait="gone")[0]["how"] == "END"
    assert len(boss.events("boss.door_gone")) == 1


def test_a_runtime_directory_that_is_removed_is_made_again_with_all_that_can_be(
    bosses: Callable[..., Boss],
) -> None:
    boss = bosses().start()
    for name in ("first", "second"):
        collector(boss, name)
    collector(boss, "rests")
    boss.change("stop", "rests", wait="gone")
    before = identities(boss)

    shutil.rmtree(boss.runtime)
    wait_until(lambda: answers(boss))

    assert identities(boss) == before
    assert (boss.runtime / "m").stat().st_mode & 0o777 == 0o700
    for name in ("first", "second"):
        boss.event("hand.cut_off", name, path=str(boss.runtime / "m" / f"{name}.uxd"))
    why = boss.ask("why", names=["first"])["hands"][0]["findings"]
    assert any("was removed" in line for one in why for line in one["lines"])
    # It is the only boss there, all the same.
    other = bosses("other")
    other.runtime = boss.runtime
    assert other.launch().wait(20) == 1
    other.process = None

    # A restart makes a hand's mailbox anew, and one that was not there has one by then.
    boss.change("restart", "first", wait="ready")
    boss.change("start", "rests", wait="ready")
    for name in ("first", "rests"):
        boss.ask("send", names=[name], tag="NUMBER", load={"n": 1})
        wait_until(lambda name=name: numbers(boss, name) == [1])

    # Launchers can be found by the next boss: nothing is unknown of an end without one.
    boss.kill()
    pid = boss.start().row("second")["pid"]
    assert pid == before["second"][1]
    assert boss.events("hand.lost", "launcher.gone", "process.unknown") == []
    boss.kill()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    boss.start()
    assert boss.ask("status", name="second")["deaths"][0]["signal"] == signal.SIGKILL


def test_a_runtime_directory_that_another_boss_has_taken_is_left_to_it(
    bosses: Callable[..., Boss],
) -> None:
    boss, other = bosses("a"), bosses("b")
    boss.start()
    pid = collector(boss, "hand")
    os.kill(boss.process.pid, signal.SIGSTOP)
    shutil.rmtree(boss.runtime)
    own, other.runtime = other.runtime, boss.runtime
    other.start()
    os.kill(boss.process.pid, signal.SIGCONT)

    wait_until(lambda: "boss.shut_out" in boss.log())
    assert f"another boss (pid {other.process.pid}) has {boss.runtime}" in boss.log()
    with Client(boss.admin_socket) as client:
        assert client.call("list", {})["hands"] == []
    assert Path(f"/proc/{pid}/exe").exists()
    assert other.end() == 0
    other.process, other.runtime = None, own
    # It has its place back as soon as the other is gone.
    wait_until(lambda: answers(boss))
    assert boss.row("hand")["pid"] == pid


@pytest.mark.parametrize("name", ["boss.uxd", "admin.sock"])
def test_a_door_that_cannot_be_bound_for_want_of_descriptors_is_tried_again(
    bosses: Callable[[], Boss], name: str
) -> None:
    boss = bosses().start()
    pid = collector(boss, "hand")
    own = boss.process.pid
    most = max(int(fd.name) for fd in Path(f"/proc/{own}/fd").iterdir()) + 1
    before = resource.prlimit(own, resource.RLIMIT_NOFILE)
    resource.prlimit(own, resource.RLIMIT_NOFILE, (most, before[1]))
    holes = most - len(list(Path(f"/proc/{own}/fd").iterdir()))
    crowd = [Client(boss.admin_socket) for _ in range(holes)]
    for client in crowd:
        client.call("ping", {})

    (boss.runtime / name).unlink()
    why = f"cannot bind {boss.runtime / name}: Too many open files"
    wait_until(lambda: why in boss.log())

    resource.prlimit(own, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: answers(boss))
    boss.event("boss.door_gone", path=str(boss.runtime / name), how="bound again")
    for client in crowd:
        client.close()
    assert boss.row("hand")["pid"] == pid
    assert boss.change("stop", "hand", wait="gone")[0]["how"] == "END"


def test_a_lock_that_is_removed_while_its_disk_is_full_is_taken_again(
    bosses: Callable[..., Boss],
) -> None:
    boss, other = bosses(), bosses("other")
    boss.start()
    pid = collector(boss, "hand")
    own = boss.process.pid
    before = resource.prlimit(own, resource.RLIMIT_FSIZE)
    resource.prlimit(own, resource.RLIMIT_FSIZE, (0, before[1]))

    lock = boss.runtime / "boss.lock"
    lock.unlink()
    wait_until(lock.exists)

    assert boss.row("hand")["pid"] == pid
    resource.prlimit(own, resource.RLIMIT_FSIZE, before)
    other.runtime = boss.runtime
    assert other.launch().wait(20) == 1
    other.process = None
    assert f"another boss (pid unknown) has {boss.runtime}" in other.log()


def test_an_admin_socket_of_systemds_is_left_to_it_wherever_it_is(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses()
    path = boss.home / "given.sock"
    with socket.socket(socket.AF_UNIX) as listener, (boss.home / "boss.log").open("ab") as log:
        listener.bind(str(path))
        listener.listen()
        boss.process = subprocess.Popen(
            [sys.executable, "-c", GIVEN, str(listener.fileno()), *boss.argv],
            env={**os.environ, "NOTIFY_SOCKET": str(boss.home / "manager.sock")},
            pass_fds=[listener.fileno()], stdout=log, stderr=log,
        )  # fmt: skip
        boss.until_said(lambda words: words.get("READY") == "1")

        with Client(path) as client:
            client.call("ping", {})
            path.unlink()
            wait_until(lambda: "boss.door_gone" in boss.log())
            told = client.call("events", {"events": ["boss.door_gone"]})["events"]

    how = "only systemd can bind it again: systemctl restart hiod.socket"
    assert [one["facts"] for one in told] == [{"path": str(path), "how": how}]
    assert not path.exists()
