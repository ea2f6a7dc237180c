"""From power-on, and for a user without an administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.blocks import run_by
from support.nspawn import CREW
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.nspawn import Machine


def test_the_crew_is_up_when_the_machine_is(hiod: Machine) -> None:
    hiod.run("touch", "/var/lib/hiod/tmp/of-the-last-run")

    hiod.reboot()

    # Nobody started anything: the boot was over when boss and hands were there.
    assert hiod.out("systemctl", "is-system-running") == "running"
    assert hiod.show("hiod", "ActiveState") == "active"
    states = [row["state"] for row in hiod.hands().values()]
    assert len(states) == 2
    assert set(states) <= {"registering", "ready"}
    assert not (hiod.root / "var/lib/hiod/tmp/of-the-last-run").exists()
    order = hiod.out("systemctl", "list-dependencies", "--after", "--plain", "hiod.service")
    assert "network.target" in order
    assert "hiod.socket" in order


def test_hands_added_at_runtime_are_there_after_a_boot(hiod: Machine) -> None:
    hiod.run("hiodctl", "add", "late", "--doer", "hiod.demo:Ticker")
    hiod.run("hiodctl", "stop", "ticker-0")

    hiod.reboot()

    try:
        hiod.run("hiodctl", "wait", "late")
        assert hiod.hands()["ticker-0"]["state"] == "stopped"
    finally:
        hiod.run("hiodctl", "remove", "late")


@pytest.fixture
def alice(machine: Machine) -> Iterator[Callable[..., str]]:
    """Run commands as alice, whose manager runs."""
    uid = machine.out("id", "-u", "alice")
    unit = "/etc/systemd/system/systemd-logind.service"
    masked = (machine.root / unit.lstrip("/")).readlink()
    machine.run("rm", unit)
    machine.run("systemctl", "daemon-reload")
    machine.run("install", "-d", "-o", "alice", "/home/alice")
    machine.run("systemctl", "start", f"user@{uid}")
    env = ("env", f"XDG_RUNTIME_DIR=/run/user/{uid}", "HOME=/home/alice")
    yield lambda *words: machine.out(*env, *words, user="alice")
    machine.run("systemctl", "stop", f"user@{uid}", "systemd-logind")
    machine.run("ln", "-s", str(masked), unit)
    machine.run("systemctl", "daemon-reload")


def test_a_user_runs_a_crew_of_their_own(machine: Machine, alice: Callable[..., str]) -> None:
    alice("mkdir", "-p", "/home/alice/.config/hiod/crew.d")
    machine.write("/home/alice/.config/hiod/crew.d/mine.toml", CREW)

    for block in run_by("docs/systemd.md", __file__):
        for line, _ in block.steps if block.how == "run by" else ():
            alice("sh", "-c", line)

    alice("hiodctl", "--user", "wait", "ticker")
    before = machine.out("pgrep", "-u", "alice", "-f", "hiod-hand")
    alice("systemctl", "--user", "restart", "hiod")
    assert machine.out("pgrep", "-u", "alice", "-f", "hiod-hand") == before
    assert "/hiod.service/hands/ticker-0" in machine.out("cat", f"/proc/{before.split()[0]}/cgroup")

    # Also when there is no boss just then.
    boss = alice("systemctl", "--user", "show", "-P", "MainPID", "hiod")
    alice("sh", "-c", f"kill -KILL {boss}; systemctl --user stop hiod")

    wait_until(lambda: not machine.run("pgrep", "-u", "alice", "-f", "hiod", check=False).stdout)
    alice("systemctl", "--user", "start", "hiod")
    alice("systemctl", "--user", "stop", "hiod")

    left = machine.run("pgrep", "-u", "alice", "-f", "hiod", check=False)
    assert left.stdout == ""
