"""Another version is installed over the one that runs, as docs/systemd.md says, and back."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from support.nspawn import CREW, Machine
from support.talking import identities
from support.versions import OTHER, copy, with_newer_schema
from support.waiting import wait_until

import hiod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def running(staged: Path) -> Iterator[Machine]:
    """Give a machine of the test's own on which hiod's crew runs."""
    machine = Machine(staged)
    try:
        (site,) = (staged / "usr/lib/hiod/lib").glob("python3.*/site-packages")
        machine.bring_source(site)
        machine.run("systemd-sysusers")
        machine.run("systemd-tmpfiles", "--create", "hiod.conf")
        machine.write("/etc/hiod/crew.d/ticker.toml", CREW)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "hiod")
        machine.run("hiodctl", "wait", "*")
        yield machine
    finally:
        machine.close()


def install(machine: Machine, package: Path) -> None:
    """Install that hiod over what is there."""
    place = machine.root / "root/site/hiod"
    shutil.rmtree(place)
    shutil.copytree(package, place)
    machine.run("make", "-C", "/root/hiod", "install", "PREFIX=/usr", "PIP=/root/pip")


def crew(machine: Machine) -> dict[str, tuple[Any, ...]]:
    """Return what must not change of the hands."""
    return identities(machine.hands())


def older(machine: Machine) -> dict[str, bool]:
    """Return which hands run the code of another version."""
    return {name: row["older"] for name, row in machine.hands().items()}


def parent(machine: Machine, name: str) -> int:
    """Return the launcher a hand comes from."""
    pid = machine.hands()[name]["pid"]
    return int((machine.root / f"proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_new_version_installed_over_the_running_one_takes_the_crew_over(
    running: Machine, tmp_path: Path
) -> None:
    before, boss = crew(running), running.main_pid()
    old = parent(running, "ticker-0")

    install(running, copy(tmp_path) / "hiod")
    assert (crew(running), running.main_pid()) == (before, boss)
    running.run("systemctl", "restart", "hiod")

    assert running.call("about")["version"] == OTHER
    assert crew(running) == before
    assert older(running) == {"ticker-0": True, "ticker-1": True}
    assert "ticker-0*" in running.out("hiodctl", "list")

    running.run("hiodctl", "add", "new", "--doer", "hiod.demo:Ticker")
    assert older(running)["new"] is False
    assert parent(running, "new") != old

    running.run("hiodctl", "restart", "--rolling", "*")
    assert set(older(running).values()) == {False}
    assert {parent(running, name) for name in before} == {parent(running, "new")}
    wait_until(lambda: not running.alive(old))


def test_a_version_too_old_for_the_database_says_so_once_and_leaves_the_hands_alone(
    running: Machine, tmp_path: Path
) -> None:
    install(running, with_newer_schema(copy(tmp_path)) / "hiod")
    running.run("cp", "-a", "/usr/lib/hiod", "/root/newer")
    running.run("systemctl", "restart", "hiod")
    assert running.call("about")["version"] == OTHER
    before = crew(running)

    # The one from before, as somebody would who does not like the new one.
    install(running, copy(tmp_path / "back", hiod.__version__) / "hiod")
    refused = running.run("systemctl", "restart", "hiod", check=False)

    assert refused.returncode == 1
    assert running.show("hiod", "ExecMainStatus") == "78"
    assert running.show("hiod", "NRestarts") == "0"
    shown = running.run("systemctl", "status", "hiod", check=False).stdout
    assert "start the newer hiod that wrote it" in shown.partition("\n\n")[0]
    assert all(running.alive(pid) for _, pid, *_ in before.values())
    assert running.run("hiodctl", "list", check=False).returncode == 3

    # The right one has them again, none the wiser.
    running.run("mv", "/usr/lib/hiod", "/root/older")
    running.run("mv", "/root/newer", "/usr/lib/hiod")
    running.run("systemctl", "start", "hiod")
    assert crew(running) == before

    # And a stop finds them while nobody can have them.
    running.run("rm", "-r", "/usr/lib/hiod")
    running.run("mv", "/root/older", "/usr/lib/hiod")
    running.run("systemctl", "restart", "hiod", check=False)
    assert all(running.alive(pid) for _, pid, *_ in before.values())
    running.run("systemctl", "stop", "hiod")
    assert not running.run("pgrep", "-u", "hiod", check=False).stdout
