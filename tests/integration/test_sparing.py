"""Imports that are spared, each in a Python of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_boss_imports_neither_rich_nor_asyncio_nor_what_they_need() -> None:
    told = run(
        "import sys, hiod.boss.main\n"
        "print({'rich', 'asyncio.events', 'ssl', 'secrets', 'ctypes'} & set(sys.modules))"
    )

    assert told == "set()"


@pytest.mark.parametrize(
    "use",
    [
        "import asyncio; print(asyncio.run(asyncio.sleep(0, 'there')))",
        "from asyncio import sleep, run; print(run(sleep(0, 'there')))",
        "import asyncio.events; print(asyncio.events and 'there')",
        "import rich.console; print(rich.console and 'there')",
    ],
)
def test_what_was_spared_is_there_for_who_needs_it(use: str) -> None:
    assert run(f"import hiod.host.journal\n{use}") == "there"


def test_what_is_there_already_stays_as_it_is() -> None:
    told = run(
        "import sys, rich, asyncio\nbefore = rich, asyncio\nimport hiod.host.journal\n"
        "print(before == (sys.modules['rich'], sys.modules['asyncio']))"
    )

    assert told == "True"
