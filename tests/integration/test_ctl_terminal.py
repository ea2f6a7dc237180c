"""hiodctl as a person meets it: on a real terminal, in several sizes, with keys and signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.boss import Boss

pytest_plugins = ("support.boss",)

LONG = "a-hand-whose-name-is-long-enough"
CREW = f"""
[hand.store]
doers = ["hiod.demo:Ticker"]
[hand.{LONG}]
doers = []
count = 2
[hand.web]
command = ["sh", "-c", "for i in 1 2 3; do echo a line of output, $i; done; exec sleep 1000"]
log = "%s"
[hand.broken]
doers = ["nosuch:Thing"]
restart = {{ delay_s = 0.01, limit = 1 }}
[hand.report]
doers = []
after = ["broken"]
"""
NAMES = {"store", f"{LONG}-0", f"{LONG}-1", "web", "broken", "report"}
HIODCTL = [sys.executable, "-m", "hiod.ctl.main"]
SIZES = [50, 80, 200]
ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def crew(module_boss: Boss) -> Boss:
    module_boss.crew(CREW % module_boss.log_path("web"))
    module_boss.start()
    module_boss.until("broken", state="failed")
    module_boss.until(f"{LONG}-1", state="ready")
    return module_boss


def ctl(boss: Boss, *words: str, columns: int = 80, lines: int = 40, **environ: str) -> Terminal:
    argv = [*HIODCTL, "--socket", str(boss.admin_socket), *words]
    return Terminal(argv, columns=columns, lines=lines, env=environ)


def first_words(rows: list[str]) -> list[str]:
    return [row.split()[0] for row in rows if row.strip()]


# ---------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize("columns", SIZES)
@pytest.mark.parametrize("words", ["list", "status *", "why", "events", "about", "plan", "--help"])
def test_no_line_is_longer_than_the_terminal(crew: Boss, words: str, columns: int):
    with ctl(crew, *words.split(), columns=columns, lines=400) as terminal:
        code = terminal.end()

    assert code == 0
    assert terminal.screen.text
    assert terminal.screen.wraps == 0


@pytest.mark.parametrize("columns", SIZES)
def test_the_list_has_every_name_whole_and_coloured_states(crew: Boss, columns: int):
    with ctl(crew, columns=columns) as terminal:
        terminal.end()

    head, *rows = terminal.screen.rows
    assert set(first_words(rows)) >= NAMES
    assert head.split()[:2] == ["NAME", "STATE"]
    assert ("HEALTH" in head, "LAG" in head) == (columns >= 80, columns == 200)
    assert terminal.told.count("\x1b[32mready") == 3
    assert "\x1b[31mfailed" in terminal.told
    assert "6 hands: 3 ready, 1 running, 1 waiting, 1 failed" in terminal.screen.text


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("words", ["list", "status *", "why", "events"])
def test_colour_can_be_declined(crew: Boss, words: str, environ: dict[str, str]):
    with ctl(crew, *words.split(), lines=400, **environ) as terminal:
        terminal.end()

    assert ESCAPE not in terminal.told


def test_an_empty_no_color_declines_nothing(crew: Boss):
    with ctl(crew, "list", NO_COLOR="") as terminal:
        terminal.end()

    assert terminal.screen.colours


@pytest.mark.parametrize("words", ["list", "status *", "why", "events", "top", "about"])
def test_piped_there_is_no_colour_and_nothing_is_cut(crew: Boss, words: str):
    argv = [*HIODCTL, "--socket", str(crew.admin_socket), *words.split()]

    told = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)

    assert told.stderr == ""
    assert ESCAPE not in told.stdout
    assert "…" not in told.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_show_every_letter_is_no_failure(crew: Boss, encoding: str):
    with ctl(crew, "status", "store", columns=60, PYTHONIOENCODING=encoding) as terminal:
        code = terminal.end()

    assert code == 0
    assert terminal.screen.rows[0].startswith("? store  ready")


def test_json_on_a_terminal_is_indented_and_not_coloured(crew: Boss):
    with ctl(crew, "list", "--json", "web", lines=200) as terminal:
        terminal.end()

    assert ESCAPE not in terminal.told
    assert terminal.screen.rows[:3] == ["{", '  "hands": [', "    {"]


# ---------------------------------------------------------------------------- top


@pytest.mark.parametrize("columns", SIZES)
@pytest.mark.parametrize("key", ["q", "\x03"])
def test_top_takes_the_terminal_and_gives_it_back(crew: Boss, columns: int, key: str):
    with ctl(crew, "top", columns=columns) as terminal:
        seen = terminal.sees("by CPU; sort:")
        assert (seen.alternate, seen.cursor) == (True, False)
        assert set(first_words(seen.rows)) >= NAMES
        terminal.type(key)
        code = terminal.end()

        assert code == 0
        assert terminal.modes_now() == terminal.modes
        assert (seen.alternate, seen.cursor, seen.text) == (False, True, "")
        assert seen.wraps == 0


def test_top_shows_a_line_as_wide_as_the_terminal_whole(crew: Boss):
    with ctl(crew, "top", "broken", columns=110) as terminal:
        row = terminal.sees("by CPU").rows[1]
        terminal.type("q")
        terminal.end()

    assert len(row) == 110
    assert row.endswith("…")


def test_top_sorts_by_the_key_that_is_pressed(crew: Boss):
    with ctl(crew, "top", "-s", "n", "-d", "60") as terminal:
        rows = terminal.sees("by name; sort:").rows
        assert first_words(rows)[1:7] == sorted(NAMES)
        for key, name in [("m", "memory"), ("l", "lag"), ("r", "restarts"), ("c", "CPU")]:
            terminal.type(key)
            terminal.sees(f"by {name}; sort:")
        terminal.type("r")
        assert first_words(terminal.sees("by restarts").rows)[1] == "broken"
        terminal.type("\x1b[Aq")  # an arrow key is no letter
        assert terminal.end() == 0


def test_top_takes_another_size_at_once(crew: Boss):
    with ctl(crew, "top", "-d", "60", columns=200) as terminal:
        terminal.sees("STATUS")
        terminal.resize(50, 6)
        small = terminal.until(lambda screen: "… 3 more" in screen.text)
        assert "STATUS" not in small.text
        assert small.rows[-1].startswith("by CPU; sort:")
        terminal.resize(120, 30)
        terminal.until(lambda screen: "STATUS" in screen.text and set(screen.text.split()) >= NAMES)
        terminal.type("q")
        terminal.end()

        assert terminal.screen.wraps == 0


def test_top_looks_again_and_again(crew: Boss):
    with ctl(crew, "top", "store", "-d", "0.1", columns=120) as terminal:
        first = terminal.until(lambda screen: re.search(r"(\d+) ticks?$", screen.rows[1]))
        before = first.rows[1].split()[-2]
        terminal.until(lambda screen: screen.rows[1].split()[-2] != before)
        terminal.type("q")
        assert terminal.end() == 0


def test_top_waits_for_a_boss_that_is_gone_and_goes_on(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.crew("[hand.a]\ndoers = []\n")
    boss.start()
    boss.until("a", state="ready")
    with ctl(boss, "top", "-d", "0.1") as terminal:
        terminal.sees("by CPU")
        boss.kill()
        gone = terminal.sees("no boss since ")
        assert "a     ready" in gone.text
        boss.start()
        terminal.sees("by CPU")
        boss.kill()
        terminal.sees("no boss since ")
        terminal.type("\x03")
        assert terminal.end() == 0
        assert terminal.modes_now() == terminal.modes
        assert not terminal.screen.alternate
    boss.start()


def test_top_without_a_boss_is_told_so_and_touches_nothing(crew: Boss, tmp_path: Path):
    with Terminal([*HIODCTL, "--socket", str(tmp_path / "none"), "top"]) as terminal:
        assert terminal.end() == 3
        assert "\x1b[?" not in terminal.told
        assert "no boss at" in terminal.screen.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_top_gives_the_terminal_back_when_it_is_told_to_end(crew: Boss, number: signal.Signals):
    with ctl(crew, "top") as terminal:
        terminal.sees("by CPU")
        terminal.process.send_signal(number)

        assert terminal.end() == -number
        assert terminal.modes_now() == terminal.modes
        assert (terminal.screen.alternate, terminal.screen.cursor) == (False, True)


def test_top_can_be_suspended_and_goes_on_in_the_foreground(crew: Boss):
    line = " ".join([*HIODCTL, "--socket", str(crew.admin_socket), "top"])
    with Terminal(["bash", "--norc", "--noediting", "-i"], env={"PS1": "ready> "}) as terminal:
        terminal.sees("ready>")
        terminal.type(f"{line}\n")
        terminal.until(lambda screen: screen.alternate and "by CPU" in screen.text)
        terminal.type("\x1a")  # Ctrl-Z
        seen = terminal.sees("Stopped")
        assert (seen.alternate, seen.cursor) == (False, True)
        terminal.type("fg\n")
        terminal.until(lambda screen: screen.alternate and "by CPU" in screen.text)
        terminal.type("q")
        terminal.until(lambda screen: not screen.alternate)
        terminal.type("exit $?\n")

        assert terminal.end() == 0


# ---------------------------------------------------------------------------- what takes long

LAZY = """
[hand.lazy]
command = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]
count = 2
stop = { grace_s = 1, term_s = 0.1 }
"""


@pytest.mark.parametrize("columns", SIZES)
def test_while_a_command_waits_it_is_seen_for_whom(
    bosses: Callable[[], Boss], columns: int, home: Path
):
    boss = bosses()
    boss.crew(LAZY + f'log = "{home}/lazy.log"\n')
    boss.start()
    boss.until("lazy-1", state="running")
    with ctl(boss, "stop", "lazy", columns=columns) as terminal:
        terminal.sees("s; lazy-0 stopping, lazy-1 stopping")
        assert terminal.end() == 0

    rows = terminal.screen.text.splitlines()
    assert [row.split(",")[0] for row in rows] == ["lazy-0: stopped", "lazy-1: stopped"]
    assert terminal.screen.wraps == 0


@pytest.fixture
def waiting(crew: Boss) -> Iterator[Boss]:
    """Return a boss with a hand, ``slow``, that does not become ready while a test lasts."""
    ready = {"by": "notify", "timeout_s": 1000}
    crew.add("slow", command=["sleep", "1000"], ready=ready, wait=None)
    crew.until("slow", reason="READY=1 has not come yet")
    yield crew
    crew.change("remove", "slow", wait="gone")


def test_a_wait_that_is_interrupted_says_that_it_goes_on(waiting: Boss):
    with ctl(waiting, "start", "slow", "--timeout", "100") as terminal:
        terminal.sees("s; slow starting: READY=1 has not come yet")
        terminal.type("\x03")
        assert terminal.end() == 130

    assert terminal.screen.text == "hiodctl start: not waited for; it goes on"


def test_progress_is_for_terminals(waiting: Boss):
    argv = [*HIODCTL, "--socket", str(waiting.admin_socket), "wait", "slow", "--timeout", "0.7"]

    told = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    assert told.returncode == 4
    assert told.stdout == ""
    assert (
        told.stderr
        == "hiodctl wait: not ready within 0.7 s: slow is starting (READY=1 has not come yet)\n"
    )


def test_status_of_a_following_terminal_ends_by_ctrl_c(crew: Boss):
    with ctl(crew, "events", "-f") as terminal:
        terminal.sees("broken: gave up")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "Traceback" not in terminal.told


def test_try_is_ended_by_ctrl_c_on_its_terminal(tmp_path: Path):
    with Terminal(
        [*HIODCTL, "try", "hiod.demo:Ticker"], columns=200, lines=100, cwd=tmp_path
    ) as terminal:
        home = re.search(r"/tmp/hiod-\w+", terminal.sees("admin.sock").text)
        terminal.sees("ticker: ready")
        terminal.type("\x03")
        code = terminal.end()

    assert code == 0
    assert home is not None
    assert not os.path.exists(home[0])  # noqa: PTH110 - as told
