"""hiod under a real systemd: started, asked, reloaded, restarted, hurt, stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.nspawn import CREW, PYTHON
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.nspawn import Machine


LISTENER = """\
import os, socket
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind('/tmp/old.sock')
heard = sock.recv(99).decode()
with open('/tmp/new', 'w') as file:
    file.write(heard)
os.rename('/tmp/new', '/tmp/heard')
print(heard, flush=True)
sock.recv(99)
"""
SPEAKER = """\
import socket, time
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'hello from new', '/tmp/old.sock')
time.sleep(9999)
"""


def pids(machine: Machine) -> dict[str, int]:
    """Return the process of each hand."""
    return {name: row["pid"] for name, row in machine.hands().items()}


def everyone(machine: Machine) -> set[int]:
    """Return every process of user hiod, boss and launchers too."""
    done = machine.run("pgrep", "-u", "hiod", check=False)
    return {int(pid) for pid in done.stdout.split()}


def nobody_is_left(machine: Machine) -> bool:
    """Say whether nothing of hiod lives and its control group is gone."""
    return not everyone(machine) and machine.show("hiod", "ControlGroup") == ""


# ---------------------------------------------------------------- start


def test_it_starts_and_answers(hiod: Machine) -> None:
    rows = hiod.hands()

    assert [(name, row["state"]) for name, row in rows.items()] == [
        ("ticker-0", "ready"),
        ("ticker-1", "ready"),
    ]
    assert hiod.show("hiod", "ActiveState") == "active"


def test_it_runs_as_its_own_user_without_a_shell_or_capabilities(hiod: Machine) -> None:
    status = (hiod.root / f"proc/{hiod.main_pid()}/status").read_text()

    uid = hiod.out("id", "-u", "hiod")
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_the_status_line_follows_the_crew(hiod: Machine) -> None:
    wait_until(lambda: hiod.show("hiod", "StatusText") == "2 hands: 2 ready")

    hiod.run("hiodctl", "stop", "ticker-1")

    wait_until(lambda: hiod.show("hiod", "StatusText") == "2 hands: 1 ready, 1 stopped")


def test_every_hand_has_a_control_group_and_no_controller_is_on(hiod: Machine) -> None:
    group = hiod.group()

    for name, pid in pids(hiod).items():
        assert (group / "hands" / name / "cgroup.procs").read_text().split() != []
        assert f"hands/{name}" in (hiod.root / f"proc/{pid}/cgroup").read_text()
    assert (group / "cgroup.procs").read_text() == ""
    assert (group / "launcher/cgroup.procs").read_text() != ""
    assert (group / "cgroup.subtree_control").read_text().strip() == ""


def test_psutil_sees_memory_and_processor_time_inside_the_sandbox(hiod: Machine) -> None:
    row = hiod.hands()["ticker-0"]

    assert row["rss"] > 1 << 20
    assert row["cpu"] is not None


def test_all_hands_share_one_tmp_that_nobody_else_sees(hiod: Machine) -> None:
    shell = ["sh", "-c", "touch /tmp/from-$HIOD_NAME; exec sleep infinity"]
    hiod.run("hiodctl", "add", "toucher", "--", *shell)
    try:
        wait_until(lambda: (hiod.root / "var/lib/hiod/tmp/from-toucher").exists())
        assert not (hiod.root / "tmp/from-toucher").exists()
    finally:
        hiod.run("hiodctl", "remove", "toucher")


# ---------------------------------------------------------------- who may


def test_a_member_of_the_group_adds_and_removes_hands(hiod: Machine) -> None:
    hiod.run("hiodctl", "add", "late", "--doer", "hiod.demo:Ticker", user="alice")
    assert hiod.hands()["late"]["state"] == "ready"

    hiod.run("hiodctl", "remove", "late", user="alice")

    assert "late" not in hiod.hands()


def test_others_are_told_which_group_they_lack(hiod: Machine) -> None:
    done = hiod.run("hiodctl", "list", user="bob", check=False)

    assert done.returncode == 1
    assert "bob" in done.stderr
    assert "group hiod" in done.stderr


# ---------------------------------------------------------------- reload


def test_a_reload_returns_when_what_it_changed_is_up(hiod: Machine) -> None:
    before = pids(hiod)
    hiod.write("/etc/hiod/crew.d/ticker.toml", CREW.replace("count = 2", "count = 3"))

    hiod.run("systemctl", "reload", "hiod")

    after = hiod.hands()
    assert after["ticker-2"]["state"] == "ready"
    assert {name: after[name]["pid"] for name in before} == before
    wait_until(lambda: hiod.show("hiod", "ActiveState") == "active")


def test_a_reload_of_broken_files_fails_and_changes_nothing(hiod: Machine) -> None:
    before = pids(hiod)
    hiod.write("/etc/hiod/crew.d/ticker.toml", CREW.replace("count", "cuont"))

    done = hiod.run("systemctl", "reload", "hiod", check=False)

    assert done.returncode != 0
    assert pids(hiod) == before
    assert hiod.show("hiod", "ActiveState") == "active"


def test_a_hangup_applies_the_files_and_is_told_as_a_reload(hiod: Machine) -> None:
    since = hiod.cursor()
    hiod.write("/etc/hiod/crew.d/ticker.toml", CREW.replace("count = 2", "count = 1"))

    hiod.run("systemctl", "kill", "--kill-whom=main", "-s", "HUP", "hiod")

    hiod.until_told("HIOD_EVENT=config.reloaded", since=since)
    wait_until(lambda: list(hiod.hands()) == ["ticker-0"])
    wait_until(lambda: hiod.show("hiod", "ActiveState") == "active")


# ---------------------------------------------------------------- the boss dies, hands live


def test_a_restart_keeps_the_hands(hiod: Machine) -> None:
    before, boss = hiod.hands(), hiod.main_pid()

    hiod.run("systemctl", "restart", "hiod")

    assert hiod.main_pid() != boss
    for name, row in hiod.hands().items():
        assert row["pid"] == before[name]["pid"]
        assert row["restarts"] == before[name]["restarts"]


def test_hands_of_two_bosses_ago_still_write_to_their_tmp_and_the_journal(hiod: Machine) -> None:
    # It waits on a socket of its own in /tmp, and tells there and in the journal who spoke to it.
    hiod.run("hiodctl", "add", "old", "--", PYTHON, "-c", LISTENER)
    since = hiod.cursor()
    try:
        wait_until(lambda: (hiod.root / "var/lib/hiod/tmp/old.sock").exists())
        hiod.run("systemctl", "restart", "hiod")
        hiod.run("systemctl", "restart", "hiod")

        hiod.run("hiodctl", "add", "new", "--", PYTHON, "-c", SPEAKER)

        told = hiod.until_told("SYSLOG_IDENTIFIER=hiod-old", since=since)
        assert told["MESSAGE"] == "hello from new"
        assert told["_SYSTEMD_CGROUP"].endswith("/hiod.service/hands/old")
        assert (hiod.root / "var/lib/hiod/tmp/heard").read_text() == "hello from new"
        assert hiod.hands()["old"]["restarts"] == 0
    finally:
        hiod.run("hiodctl", "remove", "old", "new", check=False)


def test_a_shutdown_that_keeps_the_hands_leaves_them_to_the_next_boss(hiod: Machine) -> None:
    before, boss = pids(hiod), hiod.main_pid()

    hiod.run("hiodctl", "shutdown", "--keep-hands")

    wait_until(lambda: hiod.main_pid() not in (0, boss))
    assert pids(hiod) == before


def test_a_second_boss_is_refused_by_name(hiod: Machine) -> None:
    before, boss = pids(hiod), hiod.main_pid()
    places = ["--runtime-dir", "/run/hiod", "--state-dir", "/var/lib/hiod"]

    done = hiod.run("hiod", "run", *places, user="hiod", check=False)

    assert done.returncode == 1
    assert f"another boss (pid {boss}) has /run/hiod" in done.stderr
    assert (pids(hiod), hiod.main_pid()) == (before, boss)


def test_a_crash_of_the_boss_keeps_the_hands(hiod: Machine) -> None:
    before, boss = pids(hiod), hiod.main_pid()

    hiod.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "hiod")

    # The listener is the socket unit's: the question waits for the next boss.
    assert pids(hiod) == before
    assert hiod.main_pid() != boss
    assert hiod.show("hiod-watch", "ActiveState") == "active"


def test_a_call_during_a_restart_waits_and_is_answered(hiod: Machine) -> None:
    boss = hiod.main_pid()
    restart = hiod.start("systemctl", "restart", "hiod")
    try:
        codes = set()
        while restart.poll() is None:
            codes.add(hiod.run("hiodctl", "list", check=False).returncode)
    finally:
        restart.communicate()

    assert restart.returncode == 0
    assert codes <= {0}
    assert hiod.main_pid() != boss


def test_an_idle_boss_is_not_shot(hiod: Machine) -> None:
    drop_in = "/run/systemd/system/hiod.service.d/watchdog.conf"
    hiod.write(drop_in, "[Service]\nWatchdogSec=500ms\n")
    hiod.run("systemctl", "daemon-reload")
    hiod.run("systemctl", "restart", "hiod")
    try:
        boss = hiod.main_pid()
        first = hiod.show("hiod", "WatchdogTimestampMonotonic")

        # Three rounds of pings and nothing else: systemd notes when it heard the latest.
        for _ in range(3):
            wait_until(lambda: hiod.show("hiod", "WatchdogTimestampMonotonic") != first)  # noqa: B023 - used at once
            first = hiod.show("hiod", "WatchdogTimestampMonotonic")

        assert hiod.main_pid() == boss
    finally:
        hiod.run("rm", drop_in)
        hiod.run("systemctl", "daemon-reload")
        hiod.run("systemctl", "restart", "hiod")


def test_a_hand_that_is_killed_comes_back(hiod: Machine) -> None:
    pid, since = pids(hiod)["ticker-0"], hiod.cursor()

    hiod.run("kill", "-SEGV", str(pid))

    told = hiod.until_told("HIOD_EVENT=hand.backing_off", "HIOD_HAND=ticker-0", since=since)
    assert "signal 11" in told["MESSAGE"]
    hiod.run("hiodctl", "wait", "ticker-0")
    assert pids(hiod)["ticker-0"] != pid


def test_what_a_hand_left_behind_goes_with_it(hiod: Machine) -> None:
    # Out of its session and of its parents: only the control group still knows whose it is.
    script = "setsid -f sleep 12345; exec sleep infinity"
    hiod.run("hiodctl", "add", "leaver", "--", "sh", "-c", script)
    wait_until(lambda: hiod.run("pgrep", "-fx", "sleep 12345", check=False).stdout)

    hiod.run("hiodctl", "remove", "leaver")

    wait_until(lambda: not hiod.run("pgrep", "-fx", "sleep 12345", check=False).stdout)
    hiod.run("hiodctl", "restart", "ticker-0")  # by then the kernel has let go of the killed
    assert not (hiod.group() / "hands/leaver").exists()


# ---------------------------------------------------------------- the end


def test_a_stop_leaves_nothing_and_closes_the_door(hiod: Machine) -> None:
    since = hiod.cursor()

    hiod.run("systemctl", "stop", "hiod")

    assert nobody_is_left(hiod)
    told = hiod.journal("HIOD_EVENT=hand.stopped", since=since)
    assert sorted(one["HIOD_HAND"] for one in told) == ["ticker-0", "ticker-1"]
    assert hiod.show("hiod", "Result") == "success"
    wait_until(lambda: hiod.show("hiod.socket", "ActiveState") == "inactive")
    done = hiod.run("hiodctl", "list", check=False)
    assert done.returncode == 3
    assert "systemctl start hiod" in done.stderr


def test_a_stop_of_a_hung_boss_leaves_nothing(hiod: Machine) -> None:
    drop_in = "/run/systemd/system/hiod.service.d/patience.conf"
    hiod.write(drop_in, "[Service]\nTimeoutStopSec=300ms\n")
    hiod.run("systemctl", "daemon-reload")
    try:
        hiod.run("kill", "-STOP", str(hiod.main_pid()))

        hiod.run("systemctl", "stop", "hiod", check=False)

        wait_until(lambda: nobody_is_left(hiod))
    finally:
        hiod.run("rm", drop_in)
        hiod.run("systemctl", "daemon-reload")


def test_a_stop_right_behind_a_restart_leaves_nothing(hiod: Machine) -> None:
    hiod.run("systemctl", "restart", "--no-block", "hiod")
    hiod.run("systemctl", "stop", "hiod")

    wait_until(lambda: nobody_is_left(hiod))


def test_a_stop_while_there_is_no_boss_leaves_nothing(hiod: Machine) -> None:
    drop_in = "/run/systemd/system/hiod.service.d/late.conf"
    hiod.write(drop_in, "[Service]\nRestartSec=1h\n")
    hiod.run("systemctl", "daemon-reload")
    try:
        hiod.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "hiod")
        wait_until(lambda: hiod.show("hiod", "SubState") == "auto-restart")
        assert len(everyone(hiod)) == 3  # the hands and their launcher
        assert hiod.show("hiod-watch", "ActiveState") == "active"

        hiod.run("systemctl", "stop", "hiod")

        assert nobody_is_left(hiod)
        wait_until(lambda: hiod.show("hiod.socket", "ActiveState") == "inactive")
    finally:
        hiod.run("rm", drop_in)
        hiod.run("systemctl", "daemon-reload")


def test_a_stop_right_behind_a_crash_leaves_nothing(hiod: Machine) -> None:
    hiod.run("sh", "-c", "systemctl kill --kill-whom=main -s KILL hiod; systemctl stop hiod")

    wait_until(lambda: nobody_is_left(hiod))


def test_a_stop_of_a_boss_that_dies_meanwhile_leaves_nothing(hiod: Machine) -> None:
    boss = hiod.main_pid()
    hiod.run("kill", "-STOP", str(boss))
    stop = hiod.start("systemctl", "stop", "hiod")
    wait_until(lambda: hiod.show("hiod", "ActiveState") == "deactivating")

    hiod.run("kill", "-KILL", str(boss))

    stop.communicate(timeout=30)
    wait_until(lambda: nobody_is_left(hiod))


def test_a_hand_that_takes_its_time_is_given_it(hiod: Machine) -> None:
    drop_in = "/run/systemd/system/hiod.service.d/patience.conf"
    hiod.write(drop_in, "[Service]\nTimeoutStopSec=500ms\n")
    hiod.run("systemctl", "daemon-reload")
    script = "trap 'sleep 1.5; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    hiod.run("hiodctl", "add", "slow", "--", "sh", "-c", script)
    since = hiod.cursor()
    try:
        hiod.until_told("SYSLOG_IDENTIFIER=hiod-slow", since="")

        hiod.run("systemctl", "stop", "hiod")

        told = hiod.journal("HIOD_EVENT=hand.stopped", "HIOD_HAND=slow", since=since)
        assert "exit 0" in told[0]["MESSAGE"]
        assert hiod.show("hiod", "Result") == "success"
        assert nobody_is_left(hiod)
    finally:
        hiod.run("rm", drop_in)
        hiod.run("systemctl", "daemon-reload")
        hiod.run("systemctl", "start", "hiod")
        hiod.run("hiodctl", "apply")
        hiod.run("hiodctl", "remove", "slow", check=False)


def test_shutdown_is_a_stop(hiod: Machine) -> None:
    hiod.run("hiodctl", "shutdown", user="alice")

    wait_until(lambda: nobody_is_left(hiod))
    wait_until(lambda: hiod.show("hiod.socket", "ActiveState") == "inactive")
    assert hiod.show("hiod", "ActiveState") == "inactive"


def test_broken_files_stop_a_cold_start_once_and_for_all(hiod: Machine) -> None:
    hiod.run("systemctl", "stop", "hiod")
    hiod.write("/etc/hiod/crew.d/ticker.toml", CREW.replace("count", "cuont"))
    since = hiod.cursor()

    done = hiod.run("systemctl", "start", "hiod", check=False)

    assert done.returncode != 0
    assert hiod.show("hiod", "ExecMainStatus") == "78"
    assert hiod.show("hiod", "NRestarts") == "0"
    text = [one["MESSAGE"] for one in hiod.journal("_SYSTEMD_UNIT=hiod.service", since=since)]
    assert any('did you mean "count"' in line for line in text), text
    assert 'did you mean "count"' in hiod.show("hiod", "StatusText")

    # Who asks is told, and does not have it tried again.
    wait_until(lambda: hiod.show("hiod.socket", "ActiveState") == "inactive")
    asked = hiod.run("hiodctl", "list", check=False)
    assert asked.returncode == 3
    assert "systemctl start hiod" in asked.stderr
    assert hiod.show("hiod", "ActiveState") == "failed"


def test_a_boss_told_to_leave_without_a_job_is_followed_by_another(hiod: Machine) -> None:
    before, boss = pids(hiod), hiod.main_pid()

    hiod.run("kill", "-USR1", str(boss))

    wait_until(lambda: hiod.main_pid() not in (0, boss))
    assert pids(hiod) == before
