"""The shipped files, judged by systemd's own tools."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hiod.rules.story import STORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.nspawn import Machine


def exposure(machine: Machine) -> float:
    """Return how exposed systemd finds the service, 0 to 10."""
    text = machine.out("systemd-analyze", "security", "--no-pager", "hiod.service")
    found = re.search(r"Overall exposure level for hiod\.service: ([0-9.]+)", text)
    assert found is not None, text
    return float(found[1])


@pytest.mark.parametrize("unit", ["hiod.service", "hiod.socket", "hiod-watch.service"])
@pytest.mark.parametrize("manager", ["system", "user"])
def test_systemd_finds_nothing_to_say_about_the_units(
    machine: Machine, manager: str, unit: str
) -> None:
    path = f"/usr/lib/systemd/{manager}/{unit}"
    flags = ["--man=no", f"--{manager}"]

    env = ["env", "XDG_RUNTIME_DIR=/run"]  # of the user whose manager would load it
    done = machine.run(*env, "systemd-analyze", "verify", *flags, path, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", ["hiod.service", "hiod.socket", "hiod-watch.service"])
def test_no_unit_is_refused_for_being_started_often(machine: Machine, unit: str) -> None:
    assert machine.show(unit, "StartLimitIntervalUSec") == "0"


def test_the_page_has_the_figures_of_today(machine: Machine) -> None:
    page = (Path(__file__).parents[2] / "docs/systemd.md").read_text()
    shipped, alone = re.findall(r"says ([\d.]+) for .* and ([\d.]+) with", page)[0]
    if not machine.out("systemctl", "--version").startswith("systemd 252 "):
        assert float(shipped) <= 1.5  # what another version counts is its own affair
        return

    assert exposure(machine) == float(shipped)
    with without_network(machine):
        assert exposure(machine) == float(alone)


def test_the_shipped_unit_is_exposed_by_no_more_than_its_network(machine: Machine) -> None:
    assert exposure(machine) <= 1.5


@contextlib.contextmanager
def without_network(machine: Machine) -> Iterator[None]:
    """Put the shipped drop-in into its place."""
    drop_in = "/etc/systemd/system/hiod.service.d/no-network.conf"
    machine.run("install", "-D", "-m", "644", "/usr/share/hiod/hiod-no-network.conf", drop_in)
    machine.run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        machine.run("rm", "-r", str(Path(drop_in).parent))
        machine.run("systemctl", "daemon-reload")


def test_without_network_next_to_nothing_is_exposed(machine: Machine) -> None:
    with without_network(machine):
        assert exposure(machine) <= 1.0


def test_every_event_is_explained_by_the_catalog(machine: Machine) -> None:
    listed = machine.out("journalctl", "--list-catalog")

    for event, told in STORY.items():
        assert told.message_id in listed, event
