"""What docs/doers.md gives authors to copy does what the page says of it."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.blocks import run_by
from support.waiting import wait_until

pytest_plugins = ("support.boss",)

PAGE = (Path(__file__).parents[2] / "docs" / "doers.md").read_text("utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def port() -> int:
    """Give a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def write(place: Path, port: int) -> None:
    """Write the page's files, with a port that is free in place of the page's."""
    (place / "crew.d").mkdir(exist_ok=True)
    for name, text in FILES.items():
        assert name != "crew.d/stock.toml" or "port = 8124" in text
        (place / name).write_text(text.replace("8124", str(port)))


def answer(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10.0) as caller:
        return caller.makefile().readline()


def test_the_page_has_the_files_it_speaks_of() -> None:
    assert set(FILES) == {"stock.py", "digest.py", "gate.py", "seen.py", "crew.d/stock.toml"}


def test_the_hands_of_the_page_tell_ask_wait_and_end_as_it_says(bosses, port) -> None:
    boss = bosses()
    write(boss.config, port)
    boss.crew((boss.config / "crew.d/stock.toml").read_text(), "stock.toml")
    boss.start("--log-level", "info")
    for name in ("stock", "buyer-0", "buyer-1", "gate", "digest"):
        boss.until(name, state="ready")

    boss.until("buyer-1", status="stock has some")
    wait_until(lambda: re.fullmatch(r"\d+ left", boss.row("stock")["status"]))
    wait_until(lambda: boss.row("digest")["status"].startswith("digest "))
    wait_until(lambda: '"tag":"SEEN","name":"buyer-0"' in boss.log())
    first = int(answer(port))
    assert 0 < first < 1000
    wait_until(lambda: int(answer(port)) < first)

    boss.change("stop", "stock", wait="gone")
    assert "closed, asked to" in boss.log()
    assert answer(port) == "nobody knows\n"
    boss.until("buyer-0", status="stock did not answer")
    boss.change("start", "stock", wait="ready")
    boss.until("buyer-0", status="stock has some")
    assert boss.row("gate")["restarts"] == 0


def test_what_memo_raises_ends_the_hand_and_is_told(boss) -> None:
    (boss.home / "stock.py").write_text(FILES["stock.py"])
    boss.add("stock", doers=["stock:Stock"], path=[str(boss.home)], log=boss.log_path("stock"))

    boss.ask("send", names=["stock"], tag="TAKE", load={"nothing": 1})

    assert "exit 1" in boss.event("hand.backing_off", "stock")["message"]
    wait_until(lambda: boss.row("stock")["restarts"] == 1)
    assert "KeyError: 'number'" in boss.hand_log("stock")
    assert "closed\n" in boss.hand_log("stock")


def test_the_crew_of_the_page_can_be_tried(tmp_path, port) -> None:
    write(tmp_path, port)
    [block] = run_by("docs/doers.md", __file__)
    [(line, _)] = block.steps
    argv = [sys.executable, "-m", "hiod", "ctl", *line.split()[1:]]

    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
    ) as trying:
        told = []
        for said in trying.stdout:
            told.append(said)
            if said.startswith("heard "):
                break
        trying.send_signal(signal.SIGINT)
        told.append(trying.communicate(timeout=20)[0])

    assert trying.returncode == 0, told
    assert "closed, asked to" in "".join(told)
