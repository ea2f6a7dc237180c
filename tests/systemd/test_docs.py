"""The operator's page does what it says, from a machine without hiod's user to its removal."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.nspawn import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/systemd.md").read_text()
BLOCK = re.compile(r"<!-- (run|write (?P<path>\S+)) -->\n(?P<text>(?:    .*\n|\n(?=    ))+)")


@pytest.fixture
def fresh(staged: Path) -> Iterator[Machine]:
    """Give a machine into which hiod's tree was unpacked and nothing else was done."""
    machine = Machine(staged)
    yield machine
    machine.close()


def test_the_page_s_commands_work_in_their_order(fresh: Machine) -> None:
    done = []

    for block in BLOCK.finditer(PAGE):
        lines = [line[4:] for line in block["text"].splitlines()]
        if block["path"]:
            fresh.write(block["path"], "\n".join(lines) + "\n")
            continue
        for line in lines:
            fresh.run("sh", "-c", line)
            done.append(line)

    assert "systemctl reload hiod" in done
    assert fresh.hands()["hello"]["state"] == "ready"


def test_what_is_installed_is_taken_away_and_nothing_else(tmp_path: Path, staged: Path) -> None:
    tree = tmp_path / "tree"
    subprocess.run(["cp", "-a", f"{staged}/.", tree], check=True)
    (tree / "usr/bin").mkdir(exist_ok=True)
    (tree / "usr/bin/other").touch()

    subprocess.run(
        [ROOT / "systemd/install.sh", "uninstall"],
        env={**os.environ, "DESTDIR": str(tree), "PREFIX": "/usr"},
        check=True,
    )

    assert [one for one in tree.rglob("*") if not one.is_dir()] == [tree / "usr/bin/other"]


def test_every_setting_of_the_unit_that_the_page_names_is_there() -> None:
    unit = (ROOT / "systemd/hiod.service").read_text()
    section = PAGE[PAGE.index("What is left, and why") : PAGE.index("All hands are one user")]

    named = set(re.findall(r"`([A-Z][A-Za-z]+=)`", section))

    assert named
    assert {name for name in named if name not in unit} == set()
