"""One machine for all tests here; each leaves the crew as it found it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.nspawn import CREW, Machine, staged

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["staged"]

PEOPLE = """\
u alice - "may use hiodctl" /home/alice
u bob - "may not" /home/bob
m alice hiod
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below this directory."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.systemd)


@pytest.fixture(scope="session")
def machine(staged: Path) -> Iterator[Machine]:
    """Give a booted machine with hiod installed and enabled, as docs/systemd.md says."""
    machine = Machine(staged)
    try:
        machine.write("/etc/sysusers.d/people.conf", PEOPLE)
        machine.run("systemd-sysusers")
        machine.run("systemd-tmpfiles", "--create", "hiod.conf")
        machine.run("journalctl", "--update-catalog")
        machine.write("/etc/hiod/crew.d/ticker.toml", CREW)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "hiod.socket", "hiod.service")
        yield machine
    finally:
        machine.close()


@pytest.fixture
def hiod(machine: Machine) -> Machine:
    """Give the machine with a boss that is ready and the crew of the files, all up."""
    machine.write("/etc/hiod/crew.d/ticker.toml", CREW)
    machine.run("systemctl", "reset-failed", check=False)
    machine.run("systemctl", "start", "hiod")
    machine.call("apply", wait="ready", timeout_s=20)
    machine.call("start", names=["*"], wait="ready", timeout_s=20)
    return machine
