"""What programs start ends with them also when their launcher is gone; nobody else is touched."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(3)

PROGRAM = "sleep 4242 & setsid sleep 4242 & exec 5<&-; sleep 4242 & sleep 4242"
SLEEPS = 4


def start(boss: Boss, grace_s: float = 10.0) -> tuple[int, list[int]]:
    """Start a program with its children; return its pid and descriptors that tell their ends."""
    boss.add(
        "nt",
        command=["sh", "-c", f"trap '' TERM; {PROGRAM}" if grace_s < 1 else PROGRAM],
        log="null",
        restart={"delay_s": 0.05},
        stop={"grace_s": grace_s, "term_s": 0.1},
    )
    return boss.row("nt")["pid"], children(boss, boss.row("nt")["pid"])


def children(boss: Boss, leader: int) -> list[int]:
    """Return a pidfd of each process that a program has started."""

    def started() -> list[int] | None:
        found = [pid for pid, words in boss.processes().items() if words == "sleep 4242"]
        own = [pid for pid in found if str(leader) == parent_of(pid)]
        return own if len(own) == SLEEPS else None

    return [os.pidfd_open(pid) for pid in wait_until(started)]


def parent_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    return ""


def kill_launcher(boss: Boss) -> None:
    (launcher,) = (one["pid"] for one in boss.ask("about")["launchers"])
    os.kill(launcher, signal.SIGKILL)
    boss.event("launcher.gone", hands=1)


def end(pidfds: list[int]) -> bool:
    """Wait for the ends of processes and close their descriptors."""
    ended = all(select.select((fd,), (), (), 20)[0] for fd in pidfds)
    for fd in pidfds:
        os.close(fd)
    return ended


@contextlib.contextmanager
def stranger(leader: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that has a hand's environment and does not come from it."""
    block = Path(f"/proc/{leader}/environ").read_text().rstrip("\0")
    # Not the directories: by them the end of the test looks for what was left behind.
    env = dict(entry.split("=", 1) for entry in block.split("\0"))
    env = {key: env[key] for key in ("HIOD_NAME", "HIOD_GENERATION", "PATH")}
    with subprocess.Popen(["sleep", "4242"], env=env, start_new_session=True) as one:
        try:
            yield one
        finally:
            one.kill()


def test_a_restart_without_the_launcher_leaves_nothing_of_the_earlier_life(boss: Boss) -> None:
    leader, first = start(boss)
    with stranger(leader) as other:
        kill_launcher(boss)

        boss.change("restart", "nt", wait="ready")

        assert end(first)
        told = boss.events("launcher.stray")
        assert {(one["facts"]["left_by"], one["facts"]["how"]) for one in told} == {("nt", "ended")}
        second = children(boss, boss.row("nt")["pid"])
        assert not any(select.select(second, (), (), 0))
        assert boss.end() == 0
        assert end(second)
        assert other.poll() is None


def test_a_stop_without_the_launcher_leaves_nothing(boss: Boss) -> None:
    _, pidfds = start(boss)
    kill_launcher(boss)

    assert boss.end() == 0

    assert end(pidfds)


def test_a_program_that_has_to_be_killed_takes_all_with_it_without_a_launcher(boss: Boss) -> None:
    _, pidfds = start(boss, grace_s=0.1)
    kill_launcher(boss)

    assert boss.change("stop", "nt", wait="gone")[0]["how"] == "KILL"

    assert end(pidfds)


def test_what_a_program_left_that_ended_without_boss_and_launcher_is_ended_by_the_next_boss(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses().start()
    leader, pidfds = start(boss)
    (launcher,) = (one["pid"] for one in boss.ask("about")["launchers"])
    pidfd = os.pidfd_open(launcher)
    os.kill(launcher, signal.SIGKILL)
    boss.kill()
    assert end([pidfd])
    pidfd = os.pidfd_open(leader)
    os.kill(leader, signal.SIGKILL)
    assert end([pidfd])

    boss.start()

    assert end(pidfds)
    assert len(boss.events("launcher.stray")) == SLEEPS
