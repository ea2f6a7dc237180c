"""The demo that people see first, and its Doers that people copy, in real hands."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import wait_until

from hiod import demo
from hiod.ctl.arguments import parse

pytest_plugins = ("support.boss",)

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SHOW = [sys.executable, str(ROOT / "etc/demo/show.py")]


def doer(name, **opts):
    tock = opts.pop("tock", 0.05)
    return [{"ref": f"hiod.demo:{name}", "tock": tock, "opts": opts}]


def processes_of(home):
    """Give the processes that have to do with a directory."""
    from support import boss  # a plugin is not to be imported before pytest does

    return boss.processes_of(home)


def told(boss, name, **facts):
    """Give a hand's status text once it has these facts and a text."""
    return wait_until(lambda: boss.until(name, **facts)["status"])


# ---------------------------------------------------------------------------- the show


def test_the_demo_shows_what_it_says_and_leaves_nothing():
    done = subprocess.run(SHOW, capture_output=True, text=True, timeout=60, check=False)

    home = Path(re.search(r"/tmp/hiod-demo-\w+", done.stdout)[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert not home.exists()
    assert not processes_of(home)
    assert "sampler-1: died of signal 9" in done.stdout
    assert "same processes as before" in done.stdout
    assert "No process, no socket and no file is left." in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_tidies_up(number):
    with subprocess.Popen(SHOW, stdout=subprocess.PIPE, text=True) as show:
        lines = iter(show.stdout.readline, "")
        home = Path(re.search(r"/tmp/hiod-demo-\w+", next(lines))[0])
        next(line for line in lines if line.startswith("$ hiodctl list"))
        assert processes_of(home)

        show.send_signal(number)

        assert "tidying up" in "".join(lines)
        assert show.wait(20) == 130
    assert not home.exists()
    assert not processes_of(home)


# ---------------------------------------------------------------------------- the Doers


def test_a_ticker_says_how_far_it_has_come(boss):
    boss.add("hello", doers=doer("Ticker", tock=10))

    assert told(boss, "hello") == "1 tick"


def test_readings_go_from_hand_to_hand_to_the_disk(boss):
    path = boss.home / "readings.db"
    boss.add("store", doers=doer("Store", path=str(path)), ready={"by": "memo"})
    boss.add("sampler", doers=doer("Sampler"), count=2)
    boss.add("report", doers=doer("Report"))

    wait_until(lambda: re.fullmatch(r"load \S+, memory \S+", boss.row("report")["status"]))
    boss.change("remove", "sampler", "report", "store", wait="gone")

    with sqlite3.connect(path) as db:
        kept = db.execute("SELECT DISTINCT hand, what FROM reading ORDER BY hand").fetchall()
    db.close()
    assert kept == [("sampler-0", "load"), ("sampler-1", "memory")]


def test_a_store_that_is_away_costs_the_others_nothing_but_the_answer(boss):
    boss.add("sampler", doers=doer("Sampler"))
    boss.add("report", doers=doer("Report", timeout_s=0.05))

    wait_until(lambda: boss.row("report")["status"] == "store did not answer")
    boss.add("store", doers=doer("Store", path=":memory:"), ready={"by": "memo"})

    wait_until(lambda: boss.row("report")["status"].startswith("load "))
    assert boss.row("sampler")["restarts"] == boss.row("report")["restarts"] == 0


def test_a_store_keeps_the_newest_readings_over_a_restart(boss):
    spec = {"doers": doer("Store", path="${HIOD_STATE_DIR}/r.db", keep=5), "ready": {"by": "memo"}}
    boss.add("store", **spec)
    boss.add("sampler", doers=doer("Sampler"))
    wait_until(lambda: boss.row("store")["status"] == "5 readings")
    boss.change("remove", "sampler", wait="gone")

    boss.change("restart", "store", wait="ready")

    assert told(boss, "store", generation=2) == "5 readings"


def test_a_store_counts_readings_that_make_no_sense_and_goes_on(boss):
    boss.add("store", doers=doer("Store", path=":memory:"), ready={"by": "memo"})

    for load in ({}, {"what": "load"}, {"what": 1, "value": 2}):
        boss.ask("send", names=["store"], tag="READING", load=load)

    wait_until(lambda: boss.row("store")["status"] == "0 readings, 3 refused")
    assert boss.row("store")["restarts"] == 0


# ---------------------------------------------------------------------------- what is measured


def test_a_machine_has_a_load_and_a_memory():
    found = demo.sources()

    assert {"load", "memory"} <= set(found) <= {"load", "memory", "pressure"}
    assert found["load"]() >= 0
    assert 0 < found["memory"]() < 100


@pytest.mark.skipif(
    not Path("/proc/pressure/cpu").exists(), reason="this kernel says nothing of pressure"
)
def test_a_kernel_that_knows_of_pressure_is_asked_for_it():
    assert 0 <= demo.pressure() <= 100


def test_a_summary_is_one_brief_and_a_line_for_each_thing():
    figures = {"count": 3, "least": 0.5, "mean": 1.0, "most": 1.5}

    lines = demo.summed_up({"memory": figures, "load": figures})

    assert lines == [
        "load 1.00, memory 1.00",
        "load       1.00  (0.50 to 1.50, 3 readings)",
        "memory     1.00  (0.50 to 1.50, 3 readings)",
    ]


def test_a_store_without_readings_is_said_to_have_none():
    assert demo.summed_up({}) == ["no readings yet"]


# ---------------------------------------------------------------------------- what the README shows


def test_the_first_crew_of_the_readme_runs_as_shown(bosses):
    boss = bosses()
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (crew,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    (boss.config / "feeding.py").write_text(program)
    boss.crew(crew.replace("8123", port))

    boss.start()

    for name in ("counter", "feeder-0", "feeder-1", "web"):
        boss.until(name, state="ready")
    wait_until(lambda: re.fullmatch(r"\d+ from 2 feeders", boss.row("counter")["status"]))
    assert [row["restarts"] for row in boss.rows().values()] == [0, 0, 0, 0]


def test_every_command_of_the_readme_can_be_said():
    said = re.findall(r"^\$ hiodctl (.*)$", README, re.MULTILINE)

    assert len(said) > 10
    for line in said:
        parse(shlex.split(line))
