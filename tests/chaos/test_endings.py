"""How bosses end and what waits meanwhile: kept or stopped on purpose; mail, files, a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.chance import chance as chances
from support.waiting import wait_until

from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(4)

SUPPORT = str(Path(__file__).parents[1] / "support")
CREW = f"""
[hand.first]
doers = ["chatter:Mortal"]
path = ["{SUPPORT}"]
log = "null"

[hand.second]
doers = []
log = "null"
after = ["first"]
"""


def pids(boss: Boss) -> dict[str, tuple[int, int]]:
    return {name: (row["pid"], row["restarts"]) for name, row in boss.rows().items()}


def ready(boss: Boss, *names: str) -> None:
    for name in names:
        boss.until(name, state="ready")


def cannot(why: str) -> None:
    """Skip what this machine cannot do, or fail where it is promised."""
    if os.environ.get("HIOD_CI") == "1":
        pytest.fail(why)
    pytest.skip(why)


# ---------------------------------------------------------------------------- on purpose


def by_signal(boss: Boss) -> None:
    assert boss.end(signal.SIGUSR1) == 75


def by_word(boss: Boss) -> None:
    boss.ask("shutdown", keep_hands=True)
    assert boss.process is not None
    assert boss.process.wait(20) == 75


@pytest.mark.parametrize("leave", [by_signal, by_word])
def test_a_boss_told_to_keep_its_hands_leaves_them_to_the_next(
    bosses: Callable[[], Boss], leave: Callable[[Boss], None]
) -> None:
    boss = bosses()
    boss.crew(CREW)
    boss.start()
    ready(boss, "first", "second")
    before = pids(boss)

    leave(boss)
    boss.start()

    assert pids(boss) == before
    assert {row["state"] for row in boss.rows().values()} == {"ready"}


def catches(pid: int, number: int) -> bool:
    """Say whether a process has a handler for a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_stop_that_follows_hard_on_a_restart_leaves_nobody(bosses: Callable[[], Boss]) -> None:
    chance = chances("stops")
    boss = bosses()
    boss.crew(CREW)

    for _ in range(3):
        boss.start()
        ready(boss, "first", "second")
        boss.kill()
        process = boss.launch()
        wait_until(lambda pid=process.pid: catches(pid, signal.SIGUSR1))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 0.15))
        assert boss.end(signal.SIGTERM) == 0
        wait_until(lambda: not boss.processes())


@pytest.mark.parametrize("shared", ["runtime", "state"])
def test_a_second_boss_is_turned_away_and_the_crew_is_none_the_wiser(
    bosses: Callable[..., Boss], shared: str
) -> None:
    boss, other = bosses("a"), bosses("b")
    boss.crew(CREW)
    boss.start()
    ready(boss, "first", "second")
    before = pids(boss)

    setattr(other, shared, getattr(boss, shared))
    process = other.launch()

    assert process.wait(20) == 1
    assert f"another boss (pid {boss.process.pid})" in other.log()
    assert pids(boss) == before
    setattr(other, shared, other.home / shared)
    other.process = None


# ---------------------------------------------------------------------------- mail


def doer(boss: Boss, name: str, ref: str, **spec: Any) -> int:
    boss.add(name, doers=[ref], path=[SUPPORT], log="null", **spec)
    return int(boss.row(name)["pid"])


def numbers(boss: Boss, name: str) -> list[tuple[int, int]]:
    """Return what a collector has received: number, and its generation then."""
    path = boss.state / "hands" / name / "numbers"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines]


def kill_and_wait(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select((pidfd,), (), (), 20)[0]
    os.close(pidfd)


@pytest.mark.promise(6)
@pytest.mark.parametrize("bosses_too", [0, 1, 2], ids=["boss-lives", "killed", "killed-twice"])
def test_a_hand_that_dies_loses_no_queued_memo(bosses: Callable[[], Boss], bosses_too: int) -> None:
    boss = bosses().start()
    collector = doer(boss, "box", "chatter:Collector", restart={"delay_s": 0.3, "jitter": 0})
    doer(boss, "pen", "chatter:Burst")

    os.kill(collector, signal.SIGSTOP)
    boss.ask("send", names=["pen"], tag="BURST", load={"to": "box", "count": 40})
    boss.until("pen", status="sent 40")
    if bosses_too:
        boss.kill()
    kill_and_wait(collector)
    for _ in range(bosses_too - 1):
        boss.start()
        boss.kill()
    if bosses_too:
        boss.start()
    boss.event("hand.ready", "box", generation=2)

    wait_until(lambda: len(numbers(boss, "box")) >= 40)
    assert numbers(boss, "box") == [(number, 2) for number in range(1, 41)]
    assert boss.row("pen")["restarts"] == 0


@pytest.mark.promise(6)
def test_what_was_said_to_a_dead_incarnation_is_not_obeyed_by_the_next(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses().start()
    pid = doer(boss, "deaf", "chatter:Collector", stop={"grace_s": 0.1, "term_s": 0.1})

    os.kill(pid, signal.SIGSTOP)
    boss.ask("restart", names=["deaf"])
    boss.event("hand.ready", "deaf", generation=2)
    boss.ask("send", names=["deaf"], tag="NUMBER", load={"n": 1})

    # The memo came behind the END meant for the first: the second has read both.
    wait_until(lambda: numbers(boss, "deaf") == [(1, 2)])
    row = boss.row("deaf")
    assert (row["state"], row["generation"]) == ("ready", 2)


@pytest.mark.promise(6)
@pytest.mark.parametrize("how", ["stop", "remove"])
def test_mail_of_a_hand_that_is_stopped_or_removed_is_counted_and_never_delivered(
    bosses: Callable[[], Boss], how: str
) -> None:
    boss = bosses().start()
    spec = {"stop": {"grace_s": 0.1, "term_s": 0.1}}
    pid = doer(boss, "box", "chatter:Collector", **spec)

    os.kill(pid, signal.SIGSTOP)
    for number in (1, 2, 3):
        boss.ask("send", names=["box"], tag="NUMBER", load={"n": number})
    boss.change(how, "box", wait="gone")
    letters = boss.event("hand.dead_letters", "box")["facts"]["count"]
    if how == "stop":
        boss.change("start", "box", wait="ready")
    else:
        doer(boss, "box", "chatter:Collector", **spec)
    boss.ask("send", names=["box"], tag="NUMBER", load={"n": 9})

    assert letters == 3
    wait_until(lambda: numbers(boss, "box"))
    assert [number for number, _ in numbers(boss, "box")] == [9]


# ---------------------------------------------------------------------------- files


@pytest.mark.promise(8)
def test_edited_and_broken_files_do_nothing_to_an_adopted_crew_and_are_shown(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses()
    boss.crew(CREW)
    boss.start()
    ready(boss, "first", "second")
    before = pids(boss)
    shown = boss.ask("list")
    assert (shown["pending"], shown["files"]) == (0, "ok")

    boss.crew(CREW + "[hand.third]\ndoers = []\n")
    assert boss.ask("list")["pending"] == 1
    boss.kill()
    boss.start()
    assert pids(boss) == before
    assert boss.ask("about")["pending"] == 1
    assert boss.event("config.pending")["facts"]["count"] == 1

    boss.crew(CREW + "[hand.third]\ndoors = [\n")
    assert boss.ask("list")["files"].startswith("broken: ")
    boss.kill()
    boss.start()
    assert pids(boss) == before
    shown = boss.ask("about")
    assert (shown["pending"], shown["files"].partition(":")[0]) == (0, "broken")
    assert boss.events("config.broken")

    boss.crew(CREW)
    shown = boss.ask("list")
    assert (shown["pending"], shown["files"]) == (0, "ok")


@pytest.mark.promise(8)
@pytest.mark.parametrize("text", ['[boss]\nname = "other"\n', "[boss\n"], ids=["other", "broken"])
def test_an_adopted_crew_knows_its_boss_by_the_name_it_had(
    bosses: Callable[[], Boss], text: str
) -> None:
    boss = bosses()
    (boss.config / "hiod.toml").write_text('[boss]\nname = "chief"\n')
    boss.crew(CREW)
    boss.start()
    ready(boss, "first", "second")
    before = pids(boss)
    boss.kill()

    (boss.config / "hiod.toml").write_text(text)
    boss.start()

    assert boss.ask("about")["name"] == "chief"
    assert pids(boss) == before
    assert boss.change("stop", "second", wait="gone")[0]["how"] == "END"


# ---------------------------------------------------------------------------- a full disk


@pytest.fixture
def narrow(bosses: Callable[[], Boss]) -> Iterator[Boss]:
    """Give a boss, not started, whose state is on a small disk of its own."""
    boss = bosses()
    boss.state.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() or mount is None:
        cannot("needs root, to mount a small tmpfs")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m,mode=700", "hiod-test", str(boss.state)], check=False
    )
    if made.returncode:
        cannot("a tmpfs cannot be mounted here")
    yield boss
    boss.close()
    subprocess.run(["umount", "-l", str(boss.state)], check=True)


def fill(boss: Boss) -> Path:
    """Take all room there is on the disk of the state."""
    path = boss.state / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return path


@pytest.mark.promise(3)
def test_a_full_disk_costs_changes_but_no_hand(narrow: Boss) -> None:
    boss = narrow
    boss.crew(CREW)
    boss.start()
    ready(boss, "first", "second")
    before = boss.rows()

    filler = fill(boss)
    kill_and_wait(before["first"]["pid"])
    boss.until("first", state="ready", generation=2)
    with pytest.raises(AdminError) as refused:
        boss.ask("add", spec={"name": "new", "doers": []})
    assert refused.value.code == "Unavailable"
    assert "store" in boss.ask("about")["state"]
    assert boss.row("second")["pid"] == before["second"]["pid"]
    assert boss.log().count("store.write_refused") == 1

    filler.unlink()
    boss.add("new", doers=[], log="null")
    assert boss.ask("about")["state"] == "running"
    assert len(boss.events("store.write_refused")) == len(boss.events("store.recovered")) == 1
    assert boss.events("hand.backing_off", hand="first")


@pytest.mark.promise(3)
def test_a_boss_killed_on_a_full_disk_is_followed_by_one_that_keeps_all(narrow: Boss) -> None:
    boss = narrow
    boss.crew(CREW)
    boss.start()
    ready(boss, "first", "second")

    filler = fill(boss)
    kill_and_wait(boss.row("first")["pid"])
    boss.until("first", state="ready", generation=2)
    before = {name: (row["pid"], row["generation"]) for name, row in boss.rows().items()}
    boss.kill()
    boss.start()
    for name in before:
        boss.until(name, state="ready")
    assert {n: (row["pid"], row["generation"]) for n, row in boss.rows().items()} == before

    filler.unlink()
    boss.event("store.recovered")
    boss.kill()
    boss.start()
    assert {n: (row["pid"], row["generation"]) for n, row in boss.rows().items()} == before


def remount(boss: Boss, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(boss.state)], check=True)


@pytest.mark.promise(3)
def test_a_state_disk_that_is_read_only_keeps_the_next_boss_away_and_costs_no_hand(
    narrow: Boss,
) -> None:
    boss = narrow
    boss.crew(CREW)
    boss.start()
    ready(boss, "first", "second")
    before = pids(boss)

    # The next boss cannot take its locks: it says so, and leaves everybody alone.
    boss.kill()
    remount(boss, "ro")
    assert boss.launch().wait(20) == 1
    assert f"cannot write to directory {boss.state}" in boss.log()
    for pid, _ in before.values():
        os.kill(pid, 0)

    remount(boss, "rw")
    boss.start()
    assert pids(boss) == before
    assert boss.change("stop", "second", wait="gone")[0]["how"] == "END"


# ---------------------------------------------------------------------------- pids used again

REUSE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.boss import Boss
boss = Boss(Path(sys.argv[1]))
boss.start()
boss.add("web", command=["sleep", "1000"], log="null", restart={"delay_s": 0})
pid = boss.row("web")["pid"]
launcher = boss.ask("about")["launchers"][0]["pid"]
os.kill(launcher, signal.SIGKILL)
boss.kill()
os.kill(pid, signal.SIGKILL)
# We are process 1 here: who has nobody else is ours to reap.
while {pid, launcher} & {int(p) for p in os.listdir("/proc") if p.isdecimal()}:
    try:
        os.wait()
    except ChildProcessError:
        pass
Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
bystander = subprocess.Popen(["sleep", "1000"])
boss.start()
boss.until("web", state="running")
now = boss.row("web")["pid"]
death = boss.ask("status", name="web")["deaths"][0]
boss.change("stop", "web", wait="gone")
code = boss.end()
print(json.dumps({
    "reused": bystander.pid == pid, "bystander": bystander.poll(), "another": now != pid,
    "known": death["known"], "code": code,
}))
bystander.kill()
"""


@pytest.mark.promise(3)
def test_a_pid_used_again_is_another_process(home: Path) -> None:
    unshare = shutil.which("unshare")
    argv = [str(unshare), "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() or subprocess.run([*argv, "true"], check=False).returncode:
        cannot("needs root, to make a pid namespace")

    done = subprocess.run(
        [*argv, sys.executable, "-c", REUSE, str(home), str(Path(SUPPORT).parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "reused": True,
        "bystander": None,
        "another": True,
        "known": False,
        "code": 0,
    }


@pytest.mark.promise(3)
def test_a_stop_leaves_no_launcher_though_no_end_can_be_recorded(boss: Boss) -> None:
    boss.add("a", command=["sleep", "600"])
    assert boss.process is not None
    size = (boss.state / "hiod.db-wal").stat().st_size
    resource.prlimit(boss.process.pid, resource.RLIMIT_FSIZE, (size, size))

    assert boss.end() == 0

    wait_until(lambda: not boss.processes())
    assert "all hands have ended, which is not on record" in boss.log()
