"""How a boss starts, and every way in which it does not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.talking import identities
from support.waiting import wait_until

from hiod.admin.client import Client
from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)

NOBODY = 65534
BROKEN = {
    "a.toml": """
        defaults = { cwdd = "/x" }
        [hand.web]
        comand = ["x"]
        count = "3"
        [hand."Bad Name"]
        doers = ["x:Y"]
        [hand.dup]
        doers = ["nocolon"]
        restart.window_s = -3
        """,
    "b.toml": """
        [hand.dup]
        doers = ["x:Y"]
        [hand.late]
        doers = []
        after = ["ghost"]
        """,
    "c.toml": "[hand.",
}
TOLD = (
    'crew.d/a.toml: defaults.cwdd: unknown key; did you mean "cwd"?',
    'crew.d/a.toml: hand.web.comand: unknown key; did you mean "command"?',
    "crew.d/a.toml: hand.web.count: must be a whole number",
    'crew.d/a.toml: hand."Bad Name": must be',
    "crew.d/a.toml: hand.dup.doers[0]: must be a reference",
    "crew.d/a.toml: hand.dup.restart.window_s: must be greater than 0, got -3",
    "crew.d/b.toml: hand.dup: is in crew.d/a.toml",
    "crew.d/c.toml: is not TOML at",
)


def run(boss: Boss, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run a boss that is expected to end by itself."""
    return subprocess.run(
        [*boss.argv, *flags], capture_output=True, text=True, timeout=30, check=False
    )


def run_as(uid: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``hiod`` as another user; it is imported before the user changes."""
    program = f"""
import os, shutil, sys  # argparse wants shutil when its help is asked for
from hiod.boss.main import main
import hiod.base.multidoing, hiod.admin.server, hiod.host.store
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
sys.exit(main(sys.argv[1:]))
"""
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def leftovers(boss: Boss) -> list[Path]:
    """Return the sockets and databases' hands that a boss which did not start has left."""
    return [path for path in boss.runtime.rglob("*") if path.is_socket()]


def broken(boss: Boss) -> None:
    for name, text in BROKEN.items():
        boss.crew(text, name)


# ---------------------------------------------------------------------------- well


def test_a_boss_without_any_files_starts_with_an_empty_crew(bosses: Callable[[], Boss]):
    boss = bosses()
    shutil.rmtree(boss.config / "crew.d")

    boss.start()

    about = boss.ask("about")
    assert (about["hands"], about["state"], about["files"]) == (0, "running", "ok")


def test_its_places_have_the_modes_they_should(bosses: Callable[[], Boss]):
    boss = bosses().start()

    modes = {
        path: (root / path).stat().st_mode & 0o777
        for root, paths in (
            (boss.runtime, (".", "m", "launcher", "boss.uxd", "admin.sock", "boss.lock")),
            (boss.state, ("hiod.db", "log", "hands")),
        )
        for path in paths
    }

    assert modes == {
        ".": 0o755, "m": 0o700, "launcher": 0o700, "boss.uxd": 0o600, "admin.sock": 0o660,
        "boss.lock": 0o600, "hiod.db": 0o600, "log": 0o700, "hands": 0o700,
    }  # fmt: skip
    assert boss.state.stat().st_mode & 0o777 == 0o700


def test_told_to_stop_it_stops_its_hands_and_exits_0(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.crew('[hand.a]\ncommand = ["sleep", "60"]\n[hand.b]\ndoers = []\n')
    boss.start()
    pids = [boss.until(name, pid=boss.row(name)["pid"])["pid"] for name in ("a", "b")]

    code = boss.end()

    assert code == 0
    assert not [pid for pid in pids if pid and Path(f"/proc/{pid}").exists()]
    assert "boss stopped: all hands have ended" in boss.log()


# ---------------------------------------------------------------------------- files


@pytest.mark.parametrize("flags", [(), ("--detach",)], ids=["foreground", "detached"])
def test_broken_crew_files_are_told_whole_and_nothing_is_started(
    bosses: Callable[[], Boss], flags: tuple[str, ...]
):
    boss = bosses()
    broken(boss)

    ended = run(boss, *flags)

    assert ended.returncode == 78
    first, *told = ended.stderr.splitlines()
    assert first == f"hiod: cannot use the files in {boss.config}: {len(told)} problems"
    missing = [line for line in TOLD if not any(one.strip().startswith(line) for one in told)]
    assert not missing, ended.stderr
    assert not boss.processes()
    assert not leftovers(boss)


def test_a_name_that_leads_nowhere_is_told(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.crew('[hand.late]\ndoers = []\nafter = ["gost"]\n[hand.ghost]\ndoers = []\n')

    ended = run(boss)

    assert ended.returncode == 78
    assert 'after[0]: names "gost", which is not in the crew; did you mean "ghost"?' in ended.stderr


def test_check_says_nothing_of_a_reader_that_has_gone(bosses: Callable[[], Boss]):
    boss = bosses()
    reader, writer = os.pipe()
    os.close(reader)

    words = [sys.executable, "-m", "hiod", "check", "--config-dir", str(boss.config)]
    ended = subprocess.run(
        words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30, check=False
    )
    os.close(writer)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_check_says_the_same_without_a_boss(bosses: Callable[[], Boss]):
    boss = bosses()
    broken(boss)
    words = [sys.executable, "-m", "hiod", "check", "--config-dir", str(boss.config)]

    ended = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 78
    assert all(line in ended.stderr for line in TOLD), ended.stderr
    assert not boss.runtime.exists()


def test_files_can_only_be_checked_in_a_directory_that_is_there(
    bosses: Callable[[], Boss],
) -> None:
    named = bosses().home / "mistyped"
    words = [sys.executable, "-m", "hiod", "check", "--config-dir", str(named)]

    ended = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    why = f"cannot use {named}: there is no such directory; make it, or give --config-dir another"
    assert (ended.returncode, ended.stderr) == (78, f"hiod: {why}\n")


def test_a_crew_begins_empty_and_says_so_where_a_named_directory_is_not_there(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses()
    named = boss.home / "mistyped"
    words = [sys.executable, "-m", "hiod", "run", "--detach", "--config-dir", str(named)]
    words += ["--runtime-dir", str(boss.runtime), "--state-dir", str(boss.state)]

    begun = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    said = f"{named} is not there: the crew begins empty"
    assert (begun.returncode, begun.stderr) == (0, f"hiod: {said}\n")
    shown = boss.ask("list")
    assert shown["hands"] == []
    assert "there is no such directory" in shown["files"]
    (told,) = boss.ask("events", events=["config.absent"])["events"]
    assert told["message"] == said
    with pytest.raises(AdminError) as refused:
        boss.ask("apply")
    assert refused.value.code == "BadSpec"
    boss.ask("shutdown")


def test_a_configuration_directory_that_is_removed_does_nothing_to_a_living_crew(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses()
    boss.crew('[hand.a]\ndoers = []\nlog = "null"\n')
    boss.start()
    pid = boss.until("a", state="ready")["pid"]
    kept = boss.config.rename(boss.home / "elsewhere")
    boss.kill()
    boss.start()

    shown = boss.ask("list")
    assert "there is no such directory" in shown["files"]
    with pytest.raises(AdminError) as refused:
        boss.ask("apply")
    assert refused.value.code == "BadSpec"
    assert boss.row("a")["pid"] == pid

    kept.rename(boss.config)
    assert boss.ask("list")["files"] == "ok"


# ---------------------------------------------------------------------------- one boss


@pytest.mark.parametrize("flags", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_second_boss_of_the_same_directories_says_whose_they_are(
    boss: Boss, flags: tuple[str, ...]
):
    ended = run(boss, *flags)

    assert ended.returncode == 1
    assert boss.process is not None
    told = f"hiod: another boss (pid {boss.process.pid}) has {boss.runtime}; stop it first"
    assert ended.stderr.startswith(told)
    assert boss.ask("about")["pid"] == boss.process.pid


def test_a_second_boss_of_the_same_state_directory_says_whose_it_is(boss: Boss):
    other = str(boss.home / "r2")

    ended = run(boss, "--runtime-dir", other)

    assert ended.returncode == 1
    assert boss.process is not None
    assert f"another boss (pid {boss.process.pid}) has {boss.state}" in ended.stderr
    assert boss.ask("ping") == {}


# ---------------------------------------------------------------------------- places


def test_a_runtime_directory_that_is_too_long_is_refused_with_both_lengths(
    bosses: Callable[[], Boss],
):
    boss = bosses()
    long = boss.home / ("x" * 90)

    ended = run(boss, "--runtime-dir", str(long))

    assert ended.returncode == 1
    socket, mailbox = (len(f"{long}/{name}") for name in ("admin.sock", f"m/{'x' * 45}.uxd"))
    assert f"its admin.sock would have {socket} bytes" in ended.stderr
    assert f"(a mailbox with the longest name {mailbox})" in ended.stderr
    assert "the system takes 107" in ended.stderr
    assert not long.exists()


def test_in_the_longest_runtime_directory_hands_start_and_outlive_their_boss(
    bosses: Callable[[], Boss],
):
    boss = bosses()
    boss.runtime = boss.home / ("x" * (107 - len(f"{boss.home}//admin.sock")))
    boss.client = Client(boss.admin_socket)
    boss.start().add("a", doers=[], ready={"by": "register"}, log="null")
    pid = boss.row("a")["pid"]

    boss.kill()
    boss.start()

    assert boss.row("a")["pid"] == pid
    (door,) = (boss.runtime / "launcher").glob("*.sock")
    door.unlink()
    wait_until(door.exists)


def test_a_hand_whose_mailbox_would_be_too_long_is_told_before_anything_starts(
    bosses: Callable[[], Boss],
):
    boss = bosses()
    room = 107 - len(f"{boss.home}//m/.uxd")
    runtime = boss.home / ("x" * (room - 5))
    boss.crew('[hand.brief]\ndoers = []\n[hand.a-much-longer-name]\ncommand = ["sleep", "60"]\n')

    ended = run(boss, "--runtime-dir", str(runtime))

    assert ended.returncode == 78
    path = runtime / "m" / "a-much-longer-name.uxd"
    assert f"{path}" in ended.stderr
    assert f"{len(str(path))} bytes" in ended.stderr
    assert "107" in ended.stderr
    assert not boss.processes()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_directories_that_cannot_be_made_or_written_are_named(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.home.parent.chmod(0o755)
    closed = boss.home / "closed"
    closed.mkdir(mode=0o755)
    config = ["--config-dir", str(boss.config)]

    rest = [*config, "--state-dir", f"{closed}/s", "--runtime-dir"]
    made = run_as(NOBODY, "run", *rest, f"{closed}/r")
    written = run_as(NOBODY, "run", *rest, str(closed))

    assert (made.returncode, written.returncode) == (1, 1)
    assert f"hiod: cannot make directory {closed}/r: Permission denied" in made.stderr
    assert "--runtime-dir" in made.stderr
    assert f"hiod: cannot write to directory {closed} as uid {NOBODY}" in written.stderr
    assert not list(closed.iterdir())


@pytest.mark.parametrize("flags", [(), ("--detach",)], ids=["foreground", "detached"])
@pytest.mark.parametrize("lock", ["a fifo", "a link", "a directory"])
def test_a_lock_that_is_no_file_is_named(
    bosses: Callable[[], Boss], flags: tuple[str, ...], lock: str
):
    boss = bosses()
    boss.runtime.mkdir()
    path = boss.runtime / "boss.lock"
    if lock == "a fifo":
        os.mkfifo(path)
    elif lock == "a link":
        path.symlink_to("/dev/null")
    else:
        path.mkdir()

    ended = run(boss, *flags)

    assert ended.returncode == 1
    assert ended.stderr == f"hiod: cannot lock {path}: it is no regular file; remove it\n"


@pytest.mark.parametrize("flags", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_first_start_on_a_full_disk_says_so(bosses: Callable[[], Boss], flags: tuple[str, ...]):
    boss = bosses()

    ended = subprocess.run(
        ["prlimit", "--fsize=0", *boss.argv, *flags],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert ended.returncode == 1
    (sentence,) = ended.stderr.splitlines()
    assert sentence.startswith("hiod: cannot")
    assert str(boss.state / "hiod.db") in sentence


@pytest.mark.parametrize("most", [12, 14, 16])
@pytest.mark.parametrize("flags", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_boss_that_may_open_too_few_files_says_so_and_leaves_the_crew_alone(
    bosses: Callable[[], Boss], most: int, flags: tuple[str, ...]
):
    boss = bosses().start()
    boss.add("h", doers=[], count=3)
    before = identities(boss.rows())
    boss.kill()

    ended = subprocess.run(
        ["prlimit", f"--nofile={most}", *boss.argv, *flags],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert ended.returncode == 1
    (sentence,) = ended.stderr.splitlines()
    assert sentence.startswith("hiod: cannot ")
    assert "oo many open files" in sentence
    boss.start()
    assert identities(boss.rows()) == before


def test_a_log_that_cannot_be_opened_is_named_before_there_is_a_daemon(bosses: Callable[[], Boss]):
    boss = bosses()
    path = boss.state / "log" / "boss.log"
    path.mkdir(parents=True)

    ended = run(boss, "--detach")

    assert ended.returncode == 1
    assert ended.stderr == f"hiod: cannot open {path}: Is a directory\n"


def test_what_lies_among_the_launchers_and_is_none_is_left_alone(bosses: Callable[[], Boss]):
    boss = bosses()
    path = boss.runtime / "launcher" / "x.sock"
    path.mkdir(parents=True)

    boss.start().add("hand", command=["sleep", "600"], log="null")

    assert path.is_dir()


@pytest.mark.parametrize("name", ["admin.sock", "boss.uxd"])
@pytest.mark.parametrize("flags", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_socket_that_cannot_be_bound_is_named(
    bosses: Callable[[], Boss], flags: tuple[str, ...], name: str
):
    boss = bosses()
    (boss.runtime / name).mkdir(parents=True)

    ended = run(boss, *flags)

    assert ended.returncode == 1
    assert ended.stderr == f"hiod: cannot bind {boss.runtime}/{name}: Is a directory\n"


# ---------------------------------------------------------------------------- state


@pytest.mark.parametrize("flags", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_database_that_is_none_stops_the_start_and_is_left_as_it_is(
    bosses: Callable[[], Boss], flags: tuple[str, ...]
):
    boss = bosses()
    boss.state.mkdir()
    garbage = os.urandom(5000)
    (boss.state / "hiod.db").write_bytes(garbage)

    ended = run(boss, *flags)

    assert ended.returncode == 78
    assert f"the state database {boss.state}/hiod.db cannot be used" in ended.stderr
    assert (boss.state / "hiod.db").read_bytes() == garbage
    wait_until(lambda: not boss.processes())  # the daemon, which has told its parent before it ends


def test_a_database_of_a_newer_hiod_is_refused(bosses: Callable[[], Boss]):
    boss = bosses().start()
    boss.end()
    with sqlite3.connect(boss.state / "hiod.db") as database:
        database.execute("PRAGMA user_version = 999")
    database.close()

    ended = run(boss)

    assert ended.returncode == 78
    assert "999" in ended.stderr
    assert "newer" in ended.stderr
    assert "Traceback" not in ended.stderr


# ---------------------------------------------------------------------------- hiodctl


def test_hiodctl_without_a_boss_says_where_it_looked(bosses: Callable[[], Boss]):
    path = bosses().runtime / "admin.sock"
    words = [sys.executable, "-m", "hiod.ctl.main", "--socket", str(path)]

    ended = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 3
    assert f"no boss at {path}" in ended.stderr


def test_after_a_boss_was_killed_hiodctl_says_that_nobody_listens(boss: Boss):
    boss.kill()
    path = boss.runtime / "admin.sock"
    words = [sys.executable, "-m", "hiod.ctl.main", "--socket", str(path), "list"]

    ended = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 3
    assert "nobody listens" in ended.stderr
    boss.start()


def test_a_boss_born_with_its_signals_blocked_stops_all_the_same(bosses: Callable[[], Boss]):
    boss = bosses()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    try:
        boss.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    boss.add("a", command=["sleep", "600"])
    (launcher,) = boss.ask("about")["launchers"]

    masks = [
        re.search(r"SigBlk:\t(\w+)", Path(f"/proc/{pid}/status").read_text())[1]
        for pid in (boss.process.pid, launcher["pid"], boss.row("a")["pid"])
    ]

    assert [int(mask, 16) for mask in masks] == [0, 0, 0]
    assert boss.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"], ids=["stderr", "all"])
def test_a_boss_born_without_standard_descriptors_has_hands(
    bosses: Callable[[], Boss], closed: str
):
    boss = bosses()
    argv = ["sh", "-c", f'exec "$@" {closed}', "sh", *boss.argv]
    told = {**os.environ, "NOTIFY_SOCKET": str(boss.home / "manager.sock")}
    boss.process = subprocess.Popen(argv, env=told)
    boss.until_said(lambda words: words.get("READY") == "1")

    boss.add("a", command=["sleep", "600"])

    (launcher,) = boss.ask("about")["launchers"]
    for pid in (boss.process.pid, launcher["pid"]):
        assert all(Path(f"/proc/{pid}/fd/{number}").exists() for number in range(3))
    assert boss.end() == 0
