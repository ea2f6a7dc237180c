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
    for line in commands("2")[3:]:
        type_in(boss, line)
    before = boss.rows()

    for line in commands("3"):
        told = type_in(boss, line)
    assert "signal 9" in told
    boss.kill()
    boss.start()
    after = boss.rows()
    assert after["sensor-1"]["pid"] == before["sensor-1"]["pid"]
    assert after["keeper"]["pid"] == before["keeper"]["pid"]
    assert after["keeper"]["restarts"] == 0

    for line in commands("4"):
        type_in(boss, line)
    assert "sensor-2" in boss.rows()
    assert boss.row("asker")["state"] == "stopped"
    assert "hello" not in boss.rows()

    process = boss.process
    for line in commands("5"):
        type_in(boss, line)
    assert process.wait(20) == 0


def test_a_throw_away_boss_shows_its_socket_and_leaves_nothing() -> None:
    argv = [sys.executable, "-m", "hiod", "ctl", *commands("1")[0].split()[1:]]
    shown = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    socket = ""
    for line in shown.stdout:
        found = re.search(r"/\S+admin\.sock", line)
        socket = socket or (found[0] if found else "")
        if socket and "Ticker" not in line and "ready" in line:
            break
    assert socket
    listed = commands("1")[1].replace("THE-SOCKET", socket).split()
    done = subprocess.run(
        [sys.executable, "-m", "hiod", "ctl", *listed[1:]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ready" in done.stdout

    shown.send_signal(signal.SIGINT)
    rest = shown.communicate(timeout=20)[0]
    assert shown.returncode == 0, rest
    assert not Path(socket).exists()
