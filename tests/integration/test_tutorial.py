"""What docs/tutorial.md tells people to write and to type does what it says."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from support.waiting import wait_until

pytest_plugins = ("support.boss",)

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")


def block(name: str) -> str:
    """Return the block that follows the name of a file."""
    return re.search(
        rf"^`{re.escape(name)}`:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )[1]


def commands(section: str) -> list[str]:
    """Return the shell lines under the heading that begins with this number."""
    text = re.search(rf"^## {section}\. .*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for one in blocks for line in one.splitlines()]


def shown(section: str, number: int) -> str:
    """Return an output the page shows under the heading that begins with this number."""
    text = re.search(rf"^## {section}\. .*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[0]
    return re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[number]


def gist(listed: str) -> list[list[str]]:
    """Return what of a list is the same at each run, piped or not: names, states, health, words."""
    rows = [line.split(maxsplit=8) for line in listed.splitlines() if " hand" not in line]
    said = [re.sub(r"[\d.]+", "#", row[8]) if row[8:] else "-" for row in rows]
    return [[*row[:3], text] for row, text in zip(rows, said, strict=True)]


def type_in(boss, line: str) -> str:
    """Run a line as a person would, with hiodctl on PATH and HIOD_SOCKET set."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "HIOD_SOCKET": str(boss.runtime / "admin.sock")}
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=boss.config,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout


def written(boss) -> None:
    (boss.config / "talk.py").write_text(block("talk.py"))
    boss.crew(block("crew.d/talk.toml"), "talk.toml")


def test_the_three_hands_talk_and_can_be_hurt_changed_and_ended(bosses) -> None:
    boss = bosses()
    written(boss)
    assert "fine, 3 definitions" in type_in(boss, commands("2")[0])
    boss.start()

    boss.until("asker", state="ready")
    boss.until("keeper", status="2 sensors")
    wait_until(lambda: boss.row("asker")["status"].startswith("mean "))
    assert commands("3")[:2] == [
        "hiod run --config-dir . --runtime-dir run/r --state-dir run/s",
        "export HIOD_SOCKET=$PWD/run/r/admin.sock",
    ]
    listed, *_ = [type_in(boss, line) for line in commands("3")[2:]]
    assert gist(listed) == gist(shown("3", 0))
    before = boss.rows()

    for line in commands("4"):
        told = type_in(boss, line)
    first, fact = shown("4", 0).splitlines()
    assert first in told.splitlines()
    assert re.sub(r"[\d.:]+", "#", fact) in re.sub(r"[\d.:]+", "#", told)
    boss.kill()
    boss.start()
    after = boss.rows()
    assert after["sensor-1"]["pid"] == before["sensor-1"]["pid"]
    assert after["keeper"]["pid"] == before["keeper"]["pid"]
    assert after["keeper"]["restarts"] == 0

    keeper = boss.row("keeper")["pid"]
    told = [type_in(boss, line) for line in commands("5")]
    assert told[-2] == shown("5", 0)
    assert told[-1].startswith(shown("5", 0) + "sensor-0: ready")
    assert boss.row("keeper")["pid"] == keeper
    assert "sensor-2" in boss.rows()
    assert boss.row("asker")["state"] == "stopped"
    assert "hello" not in boss.rows()

    process = boss.process
    for line in commands("6"):
        type_in(boss, line)
    assert process.wait(20) == 0


def tried(words: list[str], cwd: Path, until) -> str:
    """Run ``hiodctl try`` until something it printed is enough, then press Ctrl-C; return all."""
    argv = [sys.executable, "-m", "hiod", "ctl", *words]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd
    ) as trying:
        told = []
        for line in trying.stdout:
            told.append(line)
            if until("".join(told)):
                break
        trying.send_signal(signal.SIGINT)
        told.append(trying.communicate(timeout=20)[0])
    assert trying.returncode == 0, told
    socket = re.search(r"/\S+admin\.sock", told[0])[0]
    assert not Path(socket).exists()
    return "".join(told)


def test_a_throw_away_boss_shows_its_socket_and_leaves_nothing(tmp_path) -> None:
    def seen(told: str) -> bool:
        """Look at it from another terminal as soon as it is ready."""
        if "ticker: ready" not in told:
            return False
        socket = re.search(r"/\S+admin\.sock", told)[0]
        words = commands("1")[1].replace("THE-SOCKET", socket).split()[1:]
        argv = [sys.executable, "-m", "hiod", "ctl", *words]
        listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        looked.append(gist(listed))
        return True

    looked = []
    told = tried(commands("1")[0].split()[1:], tmp_path, seen)

    assert "ticker: ready" in told
    expected = gist(shown("1", 0))
    assert [row[:3] for row in looked[0]] == [row[:3] for row in expected]


def test_the_crew_file_can_be_tried_where_it_is(tmp_path) -> None:
    (tmp_path / "crew.d").mkdir()
    (tmp_path / "talk.py").write_text(block("talk.py"))
    (tmp_path / "crew.d" / "talk.toml").write_text(block("crew.d/talk.toml"))

    told = tried(commands("2")[1].split()[1:], tmp_path, lambda told: "\nmean " in told)

    assert "keeper: ready" in told
    assert re.search(r"^mean \d", told, re.MULTILINE)
