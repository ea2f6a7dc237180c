"""Completion as it is used: a bash and a zsh on a terminal, the Tab key, and a running boss."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.boss import Boss

pytest_plugins = ("support.boss",)

COMPLETION = Path(__file__).parents[2] / "etc" / "completion"
READY = "ready>"
BASH = f"source {COMPLETION}/hiodctl.bash; bind 'set bell-style none'"
ZSH = f"fpath=({COMPLETION} $fpath); autoload -Uz compinit; compinit -u -D; unsetopt beep"

CREW = """
[hand.keeper]
doers = []
[hand.sensor]
doers = []
count = 2
"""


@pytest.fixture(scope="module")
def crew(module_boss: Boss) -> Boss:
    module_boss.crew(CREW)
    module_boss.start()
    module_boss.until("sensor-1", state="ready")
    return module_boss


@pytest.fixture
def place(crew: Boss, tmp_path: Path) -> Path:
    (tmp_path / "web.toml").write_text("")
    (tmp_path / "deep down").mkdir()
    return tmp_path


@pytest.fixture(params=["bash", "zsh"])
def shell(request, crew: Boss, place: Path) -> Iterator[Terminal]:
    """Give an interactive shell that knows how to complete hiodctl, and which boss is meant."""
    if shutil.which(request.param) is None:
        assert not os.environ.get("HIOD_CI"), f"{request.param} is not here"
        pytest.skip(f"{request.param} is not here")
    argv, set_up = {
        "bash": (["bash", "--norc", "--noprofile", "-i"], BASH),
        "zsh": (["zsh", "-f", "-i"], ZSH),
    }[request.param]
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HIOD_SOCKET": str(crew.admin_socket),
        "PS1": "begin> ",
        "HOME": str(place),
        "LC_ALL": "C.UTF-8",
    }
    with Terminal(argv, columns=160, lines=60, env=env, cwd=place) as terminal:
        terminal.sees("begin>")
        # The prompt comes anew, and not from the echo of this, when all has been done.
        terminal.type(f"{set_up}; PS1='rea''dy> '; clear\n")
        terminal.until(lambda screen: screen.text == READY)
        yield terminal


def after(terminal: Terminal, typed: str) -> str:
    """Type a line and Tab until the shell has nothing more to say; return what is on the line."""
    terminal.type(f"{typed}\t")
    # The mark is typed behind what was completed: once it is seen, all before it has been.
    terminal.type("@@")
    return line_of(terminal.sees("@@").text)


def line_of(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith(READY)]
    return lines[-1].removeprefix(READY).strip().removesuffix("@@")


def offered(terminal: Terminal, typed: str, *words: str) -> set[str]:
    """Type a line and Tab twice; return all words the shell then shows below it."""
    terminal.type(f"{typed}\t\t")
    found = terminal.until(lambda screen: set(words) <= set(shown(screen.text)))
    return set(shown(found.text))


def shown(text: str) -> list[str]:
    return [word for line in text.splitlines() if READY not in line for word in line.split()]


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("hiodctl sta", "hiodctl sta"),
        ("hiodctl stat", "hiodctl status "),
        ("hiodctl --user stat", "hiodctl --user status "),
        ("hiodctl restart --no", "hiodctl restart --no-wait "),
        ("hiodctl restart --rolling kee", "hiodctl restart --rolling keeper "),
        ("hiodctl restart --rolling=2 kee", "hiodctl restart --rolling=2 keeper "),
        ("hiodctl start --wait d", "hiodctl start --wait done "),
        ("hiodctl wait --for go", "hiodctl wait --for gone "),
        ("hiodctl wait --for=go", "hiodctl wait --for=gone "),
        ("hiodctl add x --restart on", "hiodctl add x --restart on-failure "),
        ("hiodctl add x --after ke", "hiodctl add x --after keeper "),
        ("hiodctl status kee", "hiodctl status keeper "),
        ("hiodctl status keeper sensor-", "hiodctl status keeper sensor-"),
        ("hiodctl stop --timeout 3 kee", "hiodctl stop --timeout 3 keeper "),
        ("hiodctl signal USR1 kee", "hiodctl signal USR1 keeper "),
        ("hiodctl signal WIN", "hiodctl signal WINCH "),
        ("hiodctl send kee", "hiodctl send keeper "),
        ("hiodctl send keeper HELLO kee", "hiodctl send keeper HELLO kee"),
        ("hiodctl scale keeper kee", "hiodctl scale keeper kee"),
        ("hiodctl logs -f kee", "hiodctl logs -f keeper "),
        ("hiodctl events -f kee", "hiodctl events -f keeper "),
        ("hiodctl try web", "hiodctl try web.toml "),
        ("hiodctl add -f web", "hiodctl add -f web.toml "),
        ("hiodctl check --config-dir dee", "hiodctl check --config-dir deep\\ down/"),
        ("hiodctl plan kee", "hiodctl plan kee"),
        ("hiodctl --socket /nowhere status kee", "hiodctl --socket /nowhere status kee"),
        ("hiodctl status --socket /nowhere kee", "hiodctl status --socket /nowhere kee"),
    ],
)
def test_tab_completes_what_there_is_one_of(shell: Terminal, typed: str, line: str):
    assert after(shell, typed).rstrip() == line.rstrip()


@pytest.mark.parametrize("where", ["hiodctl --socket {} status kee", "hiodctl why --socket {} kee"])
def test_hands_are_those_of_the_boss_that_is_named(
    bosses: Callable[[], Boss], shell: Terminal, where: str
):
    other = bosses()
    other.crew("[hand.keen]\ndoers = []\n")
    other.start()
    typed = where.format(other.admin_socket)

    assert after(shell, typed).rstrip() == typed.removesuffix("kee") + "keen"


def test_tab_shows_every_verb(shell: Terminal):
    verbs = {"list", "status", "why", "events", "top", "add", "try", "shutdown", "wait"}

    assert verbs <= offered(shell, "hiodctl ", *verbs)


def test_tab_shows_hands_and_the_bases_of_counted_ones(shell: Terminal):
    names = {"keeper", "sensor", "sensor-0", "sensor-1"}

    found = offered(shell, "hiodctl restart ", *names)

    assert names <= found
    assert "NAME" not in found


def test_tab_shows_the_options_of_the_verb_and_no_others(shell: Terminal):
    found = offered(shell, "hiodctl top -", "-s", "-d", "--json", "--socket")

    assert not found & {"--rolling", "--wait", "--timeout", "--follow"}
