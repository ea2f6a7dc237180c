"""The Debian package: installed, upgraded under a living crew, removed, purged."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from support.nspawn import CREW, Machine
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

import pytest

ROOT = Path(__file__).parents[2]
DPKG = ("dpkg", "--force-unsafe-io", "--no-triggers")


def build(tree: Path, out: Path, version: str) -> str:
    """Build the package of an installed tree; return its file's name."""
    done = subprocess.run(
        [ROOT / "systemd/deb.sh"],
        env={**os.environ, "OUT": str(out), "TREE": str(tree), "VERSION": version},
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip()).name


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Machine]:
    """Give a machine that has never heard of hiod."""
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o755)
    machine = Machine(empty)
    yield machine
    machine.close()


def test_a_package_lives_through_install_upgrade_removal_and_purge(
    bare: Machine, staged: Path, tmp_path: Path
) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb: not a Debian")
    old, new = (build(staged, tmp_path, version) for version in ("0.1", "0.2"))
    for name in (old, new):
        shutil.copy(tmp_path / name, bare.root / "root" / name)

    bare.run(*DPKG, "-i", f"/root/{old}")
    assert bare.show("hiod", "ActiveState") == "active"
    bare.write("/etc/hiod/crew.d/ticker.toml", CREW)
    bare.run("systemctl", "reload", "hiod")
    bare.run("useradd", "--groups", "hiod", "carol")
    before, boss = bare.hands(), bare.main_pid()

    bare.run(*DPKG, "-i", f"/root/{new}")
    assert bare.main_pid() != boss
    assert [row["pid"] for row in bare.hands().values()] == [row["pid"] for row in before.values()]

    bare.run(*DPKG, "-r", "hiod")
    assert not bare.run("pgrep", "-u", "hiod", check=False).stdout
    wait_until(lambda: bare.show("hiod.socket", "ActiveState") == "inactive")
    assert (bare.root / "etc/hiod/crew.d/ticker.toml").exists()
    assert not (bare.root / "usr/lib/hiod").exists()

    bare.run(*DPKG, "-P", "hiod")
    assert not (bare.root / "etc/hiod").exists()
    assert not (bare.root / "var/lib/hiod").exists()
    assert bare.run("id", "hiod", check=False).returncode != 0
    assert bare.run("getent", "group", "hiod", check=False).returncode != 0
