"""The operator's pages do what they say, from a machine without hiod to one without it again."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.blocks import run_by
from support.nspawn import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/systemd.md").read_text()
# What a person has on PATH, where a test is root already, and where pip finds everything.
SHELL = """\
set -e
cd /root/hiod
PATH=/usr/local/sbin:/usr/local/bin:$PATH
export PIP=/root/pip
"""
# Directories in which an installation leaves something, and nobody else at that time.
TOUCHED = ("/usr/local", "/usr/lib/systemd", "/etc", "/var/lib/hiod", "/run/hiod")
OF_THE_SYSTEM = re.compile(r"/etc/(\.pwd\.lock|g?shadow-?|passwd-?|group-?|subuid-?|subgid-?)$")


@pytest.fixture
def fresh(staged: Path, tmp_path: Path) -> Iterator[Machine]:
    """Give a machine that has never heard of hiod, with its source and a person called USER."""
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o755)
    machine = Machine(empty)
    try:
        (site,) = (staged / "usr/lib/hiod/lib").glob("python3.*/site-packages")
        machine.bring_source(site)
        machine.write("/usr/local/sbin/sudo", '#!/bin/sh\nexec "$@"\n')
        machine.run("chmod", "755", "/usr/local/sbin/sudo")
        machine.run("useradd", "USER", "--badname")
        yield machine
    finally:
        machine.close()


def tree(machine: Machine) -> set[str]:
    """Return all that lies where an installation leaves something."""
    found = machine.run("find", *TOUCHED, check=False).stdout.splitlines()
    return {path for path in found if not OF_THE_SYSTEM.search(path)}


def test_the_page_s_commands_work_in_their_order(fresh: Machine) -> None:
    before = tree(fresh)
    done: list[str] = []
    hands: dict[str, Any] = {}

    for block in run_by("docs/systemd.md", __file__):
        if block.how == "write":
            fresh.write(block.what, "\n".join(block.lines) + "\n")
            continue
        for line, _ in block.steps:
            fresh.run("sh", "-c", SHELL + line)
            done.append(line)
            if line == "systemctl reload hiod":
                hands = fresh.hands()
                assert hands["hello"]["state"] == "ready"
            elif line == "sudo systemctl restart hiod":
                assert fresh.hands()["hello"]["pid"] == hands["hello"]["pid"]
            elif line == "hiodctl restart --rolling '*'":
                assert fresh.hands()["hello"]["pid"] != hands["hello"]["pid"]
            elif line == "sudo make uninstall":
                assert not fresh.run("pgrep", "-u", "hiod", check=False).stdout
                assert (fresh.root / "etc/hiod/crew.d/hello.toml").exists()
                assert (fresh.root / "var/lib/hiod/hiod.db").exists()

    assert done[-1] == "sudo groupdel hiod"
    assert tree(fresh) == before
    for database in ("passwd", "group"):
        assert fresh.run("getent", database, "hiod", check=False).returncode == 2
    known = fresh.run("systemctl", "list-unit-files", "hiod*", check=False).stdout
    assert "0 unit files listed." in known


def test_the_readme_s_installations_work(tmp_path: Path) -> None:
    for_me, for_all = run_by("README.md", __file__)
    ((line, _),) = for_all.steps
    assert ("sudo " + line) in PAGE  # so it is run above

    environ = {**os.environ, "HOME": str(tmp_path), "PIP_NO_COMPILE": "1"}
    for line, _ in for_me.steps:
        asked = f"{line} && command -v hiodctl && hiodctl --version"
        done = subprocess.run(
            ["bash", "-c", asked], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
        )
        assert f"{tmp_path}/hiod/bin/hiodctl\n" in done.stdout


def test_a_directory_that_is_missing_is_made_again_as_the_page_says(hiod: Machine) -> None:
    hiod.run("systemctl", "stop", "hiod")
    hiod.run("mv", "/var/lib/hiod/tmp", "/var/lib/hiod/away")

    assert hiod.run("systemctl", "start", "hiod", check=False).returncode != 0
    assert "226/NAMESPACE" in hiod.run("systemctl", "status", "hiod", check=False).stdout
    hiod.run("systemctl", "stop", "hiod")

    hiod.run("systemd-tmpfiles", "--create", "hiod.conf")
    hiod.run("systemctl", "start", "hiod")
    assert hiod.hands()["ticker-0"]["state"] in {"registering", "ready"}
    hiod.run("rm", "-r", "/var/lib/hiod/away")


def test_what_is_installed_is_compiled_for_where_it_will_lie(staged: Path) -> None:
    (site,) = (staged / "usr/lib/hiod/lib").glob("python3.*/site-packages")
    sources = list((site / "hiod").rglob("*.py"))
    compiled = [next((one.parent / "__pycache__").glob(f"{one.stem}.*.pyc")) for one in sources]

    assert len(sources) > 50
    there = f"/{sources[0].relative_to(staged)}".encode()
    assert there in compiled[0].read_bytes()
    assert os.fsencode(staged) not in b"".join(one.read_bytes() for one in compiled)


def test_what_is_installed_is_taken_away_and_nothing_else(tmp_path: Path, staged: Path) -> None:
    place = tmp_path / "tree"
    subprocess.run(["cp", "-a", f"{staged}/.", place], check=True)
    (place / "usr/bin/other").touch()

    subprocess.run(
        [ROOT / "systemd/install.sh", "uninstall"],
        env={**os.environ, "DESTDIR": str(place), "PREFIX": "/usr"},
        check=True,
    )

    # The directory in which a stranger's file lies stays with it; /usr was there before.
    left = {str(one.relative_to(place)) for one in place.rglob("*")}
    assert left == {"usr", "usr/bin", "usr/bin/other"}


def test_every_setting_of_the_unit_that_the_page_names_is_there() -> None:
    unit = (ROOT / "systemd/hiod.service").read_text()
    section = PAGE[PAGE.index("What is left, and why") : PAGE.index("All hands are one user")]

    named = set(re.findall(r"`([A-Z][A-Za-z]+=)`", section))

    assert named
    assert {name for name in named if name not in unit} == set()
