"""Finds or makes a Python that has real hio 0.7.20, for the interop tests.

hio's metadata asks for Python 3.14, though it runs on 3.11 when installed regardless; so it gets
an environment of its own and is never imported beside hiod's tests.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / ".venv-hio"
CHECK = "import hio.base.multidoing, hio; print(hio.__version__)"


def _gone(why):
    """Skip the test, or fail it where interop is promised."""
    if os.environ.get("HIOD_CI") == "1":
        pytest.fail(f"no Python with hio 0.7.20: {why}")
    pytest.skip(f"no Python with hio 0.7.20: {why}")


def _works(python):
    """Tell whether a Python imports hio; else why not."""
    ran = subprocess.run(
        [str(python), "-c", CHECK], capture_output=True, text=True, check=False, timeout=60
    )
    return ran.returncode == 0, (ran.stderr or ran.stdout).strip().rpartition("\n")[2]


def _make():
    """Make an environment of hio's own; give its Python."""
    python = OWN / "bin" / "python"
    base = shutil.which("python3.11") or sys.executable
    for argv in (
        [base, "-m", "venv", str(OWN)],
        [str(python), "-m", "pip", "install", "-q", "--ignore-requires-python", "hio==0.7.20"],
    ):
        ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
        if ran.returncode:
            _gone(ran.stderr.strip().rpartition("\n")[2])
    works, why = _works(python)
    if not works and "sodium" in why and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(
            ["apt-get", "install", "-qq", "-y", "libsodium23"],
            capture_output=True,
            check=False,
            timeout=300,
        )
        works, why = _works(python)
    if not works:
        _gone(why)
    return python


@cache
def hioPython():
    """Give the path of a Python with real hio, or skip the test that asks."""
    named = os.environ.get("HIOD_HIO_PYTHON")
    if named:
        works, why = _works(named)
        return Path(named) if works else _gone(f"{named}: {why}")
    python = OWN / "bin" / "python"
    if python.exists() and _works(python)[0]:
        return python
    return _make()


def environ():
    """Give an environment in which hio's Python finds hiod and orjson beside hio."""
    return dict(
        os.environ,
        PYTHONPATH=os.pathsep.join([str(ROOT), sysconfig.get_paths()["platlib"]]),
        PYTHONDONTWRITEBYTECODE="1",
    )
