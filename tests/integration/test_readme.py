"""What README.md and docs/hiodctl.md let people type, typed; what is shown looks like that."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.blocks import run_by
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)

README = (Path(__file__).parents[2] / "README.md").read_text()
CHANGING = re.compile(r"\d[\d:.]*[A-Z%]?|ms|^-$")  # figures, and where there is none


class Person:
    """Somebody who works through the README in a directory of their own."""

    def __init__(self, boss: Boss) -> None:
        self.boss = boss
        self.here = boss.home / "first"
        self.environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
        }

    def own(self, text: str) -> str:
        """Put this person's directories into what is written."""
        places = {"/tmp/first/r": self.boss.runtime, "/tmp/first/s": self.boss.state}
        script = Path(sys.executable).with_name("hiod").read_text()
        python = script.splitlines()[0].removeprefix("#!")  # as pip was called: python or python3
        places |= {"/home/ann/first": self.here, "/home/ann/hiod/bin/python3": python}
        for shown, real in places.items():
            text = text.replace(shown, str(real))
        return text

    def types(self, line: str) -> list[str]:
        """Run a line; return what is shown."""
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.environ[name] = self.own(value)
            return []
        done = subprocess.run(
            ["bash", "-c", self.own(line)], cwd=self.here, env=self.environ,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stdout)
        return [one for one in done.stdout.splitlines() if one]


def alike(shown: str, real: str) -> bool:
    """Say whether two lines have the same words, figures aside."""
    words = [[re.sub(CHANGING, "0", word) for word in line.split()] for line in (shown, real)]
    return re.sub("(0 ?)+", "0", " ".join(words[0])) == re.sub("(0 ?)+", "0", " ".join(words[1]))


@pytest.fixture
def person(boss_of_nobody: Boss) -> Person:
    """Give a person who has written the two files of the first crew."""
    person = Person(boss_of_nobody)
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (crew,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    (person.here / "crew.d").mkdir(parents=True)
    (person.here / "feeding.py").write_text(program)
    (person.here / "hiod.toml").write_text("[defaults]\nhealth = { beat_s = 0.2 }\n")  # not to wait
    (person.here / "crew.d/first.toml").write_text(crew.replace("8123", port))
    return person


@pytest.fixture
def boss_of_nobody(bosses: Callable[[], Boss]) -> Boss:
    """Give the directories of a boss that somebody else starts."""
    return bosses()


def test_the_first_crew_and_every_day_go_as_the_readme_shows(person: Person) -> None:
    first, daily, edited, died = run_by("README.md", __file__)
    boss, crew = person.boss, person.here / "crew.d/first.toml"

    def work_through(steps: list[tuple[str, list[str]]]) -> None:
        for line, shown in steps:
            real = person.types(line)
            pairs = list(zip(map(person.own, shown), real, strict=False))
            unlike = [pair for pair in pairs if not alike(*pair)]
            assert len(shown) == len(real), (line, real)
            assert unlike == [], (line, unlike)

    try:
        *before, (last, shown) = first.steps
        work_through(before)
        wait_until(lambda: re.fullmatch(r"\d+ from 2 feeders", boss.row("counter")["status"] or ""))
        wait_until(lambda: all(row["cpu"] is not None for row in boss.rows().values()))
        work_through([(last, shown)])

        (status, shown), *_ = daily.steps
        wait_until(lambda: len(person.types(status)) == len(shown))
        work_through(daily.steps)

        crew.write_text(crew.read_text().replace("tock = 0.5", "tock = 0.25"))
        work_through(edited.steps)

        os.kill(boss.row("feeder-1")["pid"], signal.SIGKILL)
        boss.until("feeder-1", state="ready", generation=4)
        work_through(died.steps)
    finally:
        person.types("hiodctl shutdown")


def test_one_shots_are_waited_for_as_the_page_shows(boss: Boss) -> None:
    for name in ("fetch", "transform", "load"):
        boss.add(
            name, wait=None, command=["true"], ready={"by": "exit"}, start=False,
            restart={"policy": "on-failure"},
        )  # fmt: skip
    (block,) = run_by("docs/hiodctl.md", __file__)

    for line, _ in block.steps:
        subprocess.run(
            [sys.executable, "-m", "hiod", "ctl", *shlex.split(line)[1:]],
            env={**os.environ, "HIOD_SOCKET": str(boss.admin_socket)},
            check=True,
            capture_output=True,
        )

    assert {row["state"] for row in boss.rows().values()} == {"done"}
