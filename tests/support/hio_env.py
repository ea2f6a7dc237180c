"""Finds or makes a Python that has real hio 0.7.20, for the interop tests.

hio's metadata asks for Python 3.14, though it runs on 3.11 when installed regardless; so it gets
an environment of its own and is never imported beside hiod's tests. That environment is of the
Python that runs the tests where hio can be installed for it, else of Python 3.11, if there is one.
With HIOD_CI=1 a test that finds neither fails.
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
VERSION = "0.7.20"
# In the same breath what a hand of hiod imports: hio's Doers run in one.
CHECK = (
    "import sys, orjson, hio.base.multidoing, hio;"
    f"assert hio.__version__ == '{VERSION}', hio.__version__;"
    "print('%d.%d' % sys.version_info[:2])"
)
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def _gone(why):
    """Skip the test, or fail it where interop is promised."""
    why = f"no Python with hio {VERSION}: {why}"
    if os.environ.get("HIOD_CI") == "1":
        pytest.fail(why)
    pytest.skip(why)


def _said(*argv, within_s=300, **kwa):
    """Run a program; give whether that went well, and the last line it printed."""
    ran = subprocess.run(
        [str(word) for word in argv],
        capture_output=True, text=True, check=False, timeout=within_s, **kwa,
    )  # fmt: skip
    return ran.returncode == 0, (ran.stderr or ran.stdout).strip().rpartition("\n")[2]


def _version(python):
    """Give the version of a Python, "" when it does not run."""
    runs, said = _said(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    return said if runs else ""


def _works(python):
    """Tell whether a Python imports hio, and what a hand imports; else why not."""
    return _said(python, "-c", CHECK, env=_environ(_version(python)))


def _make(base, version):
    """Have an environment of hio's own, made with a Python; give its Python, or None, why."""
    own = ROOT / f".venv-hio-{version}"
    python = own / "bin" / "python"
    if python.exists() and _works(python)[0]:
        return python, ""
    pip = [python, "-m", "pip", "install", "-q"]
    for argv in (
        [base, "-m", "venv", "--clear", own],
        [*pip, "--ignore-requires-python", f"hio=={VERSION}", "orjson>=3.9.10"],
    ):
        went, why = _said(*argv)
        if not went:
            return None, f"Python {version}: {why}"
    works, why = _works(python)
    if not works and "sodium" in why and os.geteuid() == 0 and shutil.which("apt-get"):
        _said("apt-get", "install", "-qq", "-y", "libsodium23")
        works, why = _works(python)
    return (python, "") if works else (None, f"Python {version}: {why}")


@cache
def hioPython():
    """Give the path of a Python with real hio, or skip the test that asks."""
    named = os.environ.get("HIOD_HIO_PYTHON")
    if named:
        works, why = _works(named)
        return Path(named) if works else _gone(f"{named}: {why}")
    reasons = []
    for base, version in ((sys.executable, HERE), (shutil.which("python3.11"), "3.11")):
        # A name on the path may be a shim without a Python behind it.
        if base is None or _version(base) != version:
            reasons.append(f"Python {version}: there is none")
            continue
        python, why = _make(base, version)
        if python is not None:
            return python
        reasons.append(why)
    return _gone("; ".join(reasons))


def _environ(version):
    """Give the environment for a Python of a version: only its own compiled parts are of use."""
    paths = [str(ROOT)]
    if version == HERE:
        paths.append(sysconfig.get_paths()["platlib"])
    return dict(os.environ, PYTHONPATH=os.pathsep.join(paths), PYTHONDONTWRITEBYTECODE="1")


@cache
def _hioVersion():
    """Give the version of the Python that has hio."""
    return _version(hioPython())


def environ():
    """Give an environment in which hio's Python finds hiod and orjson beside hio."""
    return _environ(_hioVersion())


def hioSite():
    """Give where hio and what it needs is installed."""
    went, site = _said(hioPython(), "-c", "import sysconfig as s; print(s.get_paths()['purelib'])")
    assert went, site
    return site
