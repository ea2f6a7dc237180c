"""Finds or makes an environment that has gunicorn, for the crew that runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

OWN = Path(__file__).resolve().parents[2] / ".venv-gunicorn"
VERSION = "23.0.0"


@cache
def gunicorn_bin() -> Path:
    """Give the ``bin`` of an environment with gunicorn, or skip the test that asks."""
    there = OWN / "bin" / "gunicorn"
    if not there.exists():
        for argv in (
            [sys.executable, "-m", "venv", "--clear", str(OWN)],
            [str(OWN / "bin" / "python"), "-m", "pip", "install", "-q", f"gunicorn=={VERSION}"],
        ):
            ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
            if ran.returncode:
                why = f"no gunicorn {VERSION}: {ran.stderr.strip().rpartition(chr(10))[2]}"
                pytest.fail(why) if os.environ.get("HIOD_CI") == "1" else pytest.skip(why)
    return OWN / "bin"
