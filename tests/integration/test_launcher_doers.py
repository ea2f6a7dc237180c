"""Forked hands: doers made from an order, last words, and an end that is the hand's own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.waiting import wait_until

import hiod
from hiod.core.uxd.uxding import bindMailbox
from hiod.host.launching import BAD_START, DUMP_SIGNAL, Replayed, Spawned

pytest_plugins = ("support.rundir",)

_APP = """
import os, sys, atexit, threading
from hiod import CrewDoer
from hiod.base.doing import Doer
from hiod.base.multidoing import Crewer

class Once(Doer):
    def __init__(self, text="ran", **kwa):
        super().__init__(**kwa)
        self.text = text
    def recur(self, tyme):
        print(self.text, self.tock)
        return True

class Bad(Doer):
    def recur(self, tyme):
        raise LookupError("no such thing")

class Picky(Doer):
    def __init__(self, **kwa):
        super().__init__()
        raise ValueError("not today")

def several(crewer, count):
    print(type(crewer).__name__, crewer.name)
    return [Once(text=f"one of {count}") for _ in range(count)]

def counting(tymth, tock=0.0, temp=None, upto=3, **opts):
    for number in range(upto):
        print("count", number)
        yield tock

class Own(Crewer):
    pass

def number():
    return 7

def environment(**kwa):
    print(sys.path[0], os.environ["HIOD_NAME"], sys.argv)
    return Once(**kwa)

def leaving(**kwa):
    atexit.register(print, "exit callback")
    thread = threading.Thread(target=print, args=("thread",))
    thread.start()
    sys.stdout.write("not flushed")
    return Once(**kwa)

def forking(**kwa):
    if os.fork() == 0:
        os.setsid()
        with open("left", "w") as file:
            file.write(str(os.getpid()))
        while True:
            __import__("signal").pause()
    return []

def crash(**kwa):
    import faulthandler
    faulthandler._sigsegv()

def leave(**kwa):
    sys.exit(kwa.get("code", 0))
"""


@pytest.fixture
def crew(eye, rundir):
    """Spawn a hand with doers from a module of the test's own; listen as its boss."""
    (rundir / "app").mkdir()
    (rundir / "app" / "app.py").write_text(_APP)
    boss = bindMailbox(str(rundir / "boss.uxd"))
    boss.settimeout(10)
    boxes = []

    def spawn(name, *doers, **facts):
        box = bindMailbox(str(rundir / f"{name}.uxd"))
        boxes.append(box)
        facts = {"path": [str(rundir / "app")], "doers": list(doers), **facts}
        eye.launcher.spawn(eye.order(name, **facts), box.fileno())
        return eye.until(Spawned, name=name)

    yield SimpleNamespace(spawn=spawn, boss=boss, eye=eye, rundir=rundir)
    boss.close()
    for box in boxes:
        box.close()


def test_a_hand_of_only_a_crewer_registers_and_stays(crew):
    born = crew.spawn("alpha")

    memo, source = crew.boss.recvfrom(65536)

    assert b'"tag":"REG"' in memo
    assert b'"token-alpha-1"' in memo
    assert source == str(crew.rundir / "alpha.uxd")
    signal.pidfd_send_signal(born.pidfd, signal.SIGTERM)
    assert crew.eye.end("alpha").code == 0


def test_a_hand_ends_when_only_its_crewer_is_left(crew):
    crew.spawn(
        "alpha",
        "app:Once",
        {"ref": "app:Once", "tock": 0.25, "opts": {"text": "again"}},
        {"ref": "app:several", "opts": {"count": 2}},
        {"ref": "app:counting", "tock": 0.01, "opts": {"upto": 2}},
    )

    assert crew.eye.end("alpha").code == 0

    lines = crew.eye.log("alpha").splitlines()
    assert lines[0] == "Crewer alpha"
    assert sorted(lines[1:]) == sorted(
        ["ran 0.0", "again 0.25", "one of 2 0.0", "one of 2 0.0", "count 0", "count 1"]
    )


def test_a_crewer_of_the_authors_own_takes_the_first_place(crew):
    crew.spawn("alpha", "app:Own", {"ref": "app:several", "opts": {"count": 1}})

    assert crew.eye.end("alpha").code == 0

    assert crew.eye.log("alpha").startswith("Own alpha\n")


def test_a_hand_is_recycled_at_its_limit(crew):
    crew.spawn("alpha", limit_s=0.05)

    assert crew.eye.end("alpha").code == 0


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("jobs:Work", "ModuleNotFoundError: No module named 'jobs'"),
        ("app:Missing", "AttributeError: module 'app' has no attribute 'Missing'"),
        ("app:Picky", 'doers[0] "app:Picky" cannot be made: ValueError: not today'),
        (
            "app:number",
            'doers[0] "app:number" gives a int; a Doer or a list of Doers is needed',
        ),
        ("app:__name__", 'doers[0] "app:__name__" is a str, not callable'),
    ],
)
def test_doers_that_cannot_be_made_are_named(crew, ref, reason):
    crew.spawn("alpha", ref)

    assert crew.eye.end("alpha").code == BAD_START

    first, _, rest = crew.eye.words("alpha").partition("\n")
    said = json.loads(first)
    assert (said["step"], said["ref"], said["message"]) == ("doers", ref, reason)
    assert rest.startswith("Traceback")
    assert rest in crew.eye.log("alpha")


def test_a_doer_that_raises_ends_its_hand_with_a_traceback(crew):
    crew.spawn("alpha", "app:Bad")

    assert crew.eye.end("alpha").code == 1

    assert crew.eye.words("alpha").endswith("LookupError: no such thing\n")
    assert crew.eye.log("alpha").endswith("LookupError: no such thing\n")


def test_an_uncaught_exception_is_one_record_in_the_journal(crew):
    path = crew.rundir / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(path))
        journald.settimeout(10)
        crew.spawn("alpha", "app:Bad", log="journal", journal=str(crew.rundir))
        record = journald.recv(65536)

    head, _, body = record.partition(b"MESSAGE\n")
    assert head.splitlines() == [
        b"PRIORITY=3",
        b"SYSLOG_IDENTIFIER=hiod-alpha",
        b"HIOD_HAND=alpha",
        b"HIOD_GENERATION=1",
    ]
    assert int.from_bytes(body[:8], "little") == len(body) - 9
    assert body.endswith(b"LookupError: no such thing\n\n")


@pytest.mark.parametrize("code", [0, 7])
def test_sys_exit_is_the_exit_code(crew, code):
    crew.spawn("alpha", {"ref": "app:leave", "opts": {"code": code}})

    assert crew.eye.end("alpha").code == code


def test_a_crash_leaves_its_stack_in_the_last_words(crew):
    crew.spawn("alpha", "app:crash")

    assert crew.eye.end("alpha").signal == signal.SIGSEGV

    assert "Fatal Python error: Segmentation fault" in crew.eye.words("alpha")
    assert "in crash" in crew.eye.words("alpha")


def test_a_living_hand_dumps_its_stack_on_demand(crew):
    born = crew.spawn("alpha")
    crew.boss.recv(65536)

    signal.pidfd_send_signal(born.pidfd, DUMP_SIGNAL)

    words = wait_until(lambda: crew.eye.words("alpha"))
    assert "most recent call first" in words
    os.truncate(f"/proc/self/fd/{born.words}", 0)
    signal.pidfd_send_signal(born.pidfd, DUMP_SIGNAL)
    assert wait_until(lambda: crew.eye.words("alpha"))[0] != "\0"


def test_a_hand_ends_as_a_python_ends(crew):
    crew.spawn("alpha", "app:leaving")

    assert crew.eye.end("alpha").code == 0

    log = crew.eye.log("alpha")
    assert "thread" in log
    assert "not flushed" in log
    assert log.count("exit callback") == 1


def test_a_hand_finds_its_path_and_not_the_launchers_cwd(crew):
    crew.spawn("alpha", "app:environment", env={"PYTHONPATH": "/from/env"})

    assert crew.eye.end("alpha").code == 0

    assert crew.eye.log("alpha").splitlines()[0] == f"{crew.rundir / 'app'} alpha ['alpha']"


def test_a_forked_hand_shows_who_it_is(crew):
    born = crew.spawn("alpha")
    crew.boss.recv(65536)
    proc = Path(f"/proc/{born.pid}")

    assert (proc / "comm").read_text() == "alpha\n"
    assert (proc / "cmdline").read_bytes().rstrip(b"\0") == b"hiod-hand alpha"
    assert b"HIOD_NAME=alpha\0HIOD_GENERATION=1\0" in (proc / "environ").read_bytes()


def test_a_forked_hand_holds_nothing_of_the_launchers(crew):
    born = crew.spawn("alpha")
    crew.spawn("beta")
    second = crew.eye.until(Spawned, name="beta")
    for _ in range(2):
        crew.boss.recv(65536)

    def files(pid):
        return sorted(str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir())

    for pid, name in ((born.pid, "alpha"), (second.pid, "beta")):
        kinds = [path for path in files(pid) if not path.startswith(("socket:", "anon_inode:"))]
        log = str(crew.rundir / f"{name}.log")
        assert kinds == ["/dev/null", f"/memfd:hiod-words-token-{name}-1 (deleted)", log, log]
    launchers = set(files(crew.eye.launcher.pid))
    shared = {path for path in files(born.pid) if path.startswith("socket:")} & launchers
    assert len(shared) == 1  # its mailbox, which is to outlive it


def test_what_a_forked_hand_forks_away_is_killed_with_it(crew):
    born = crew.spawn("alpha", "app:forking")
    left = int(wait_until(lambda: (crew.rundir / "left").exists() and _text(crew.rundir / "left")))
    os.kill(born.pid, signal.SIGKILL)
    crew.eye.end("alpha")

    wait_until(lambda: not Path(f"/proc/{left}").exists())


def _text(path: Path) -> str:
    return path.read_text()


def test_hands_are_born_and_fail_well_after_the_package_was_deleted(shore, rundir):
    shutil.copytree(Path(hiod.__file__).parent, rundir / "lib" / "hiod")
    eye = shore.start(environ={**os.environ, "PYTHONPATH": str(rundir / "lib")})
    eye.until(Replayed)
    shutil.rmtree(rundir / "lib")
    with bindMailbox(str(rundir / "boss.uxd")) as boss:
        boss.settimeout(10)
        with bindMailbox(str(rundir / "alpha.uxd")) as box:
            eye.launcher.spawn(eye.order("alpha", doers=[]), box.fileno())
            born = eye.until(Spawned, name="alpha")
            assert b"REG" in boss.recv(65536)
        signal.pidfd_send_signal(born.pidfd, signal.SIGTERM)
        assert eye.end("alpha").code == 0
        with bindMailbox(str(rundir / "beta.uxd")) as box:
            eye.launcher.spawn(eye.order("beta", doers=["nothing:Here"]), box.fileno())
            assert eye.end("beta").code == BAD_START
    assert "ModuleNotFoundError: No module named 'nothing'" in eye.words("beta")


def test_the_launchers_exit_callbacks_do_not_run_in_hands(shore, rundir):
    (rundir / "lib").mkdir()
    (rundir / "lib" / "sitecustomize.py").write_text(
        "import atexit, sys\natexit.register(print, 'of the launcher', file=sys.stderr)\n"
    )
    eye = shore.start(environ={**os.environ, "PYTHONPATH": str(rundir / "lib")})
    with bindMailbox(str(rundir / "alpha.uxd")) as box:
        eye.launcher.spawn(eye.order("alpha", doers=[], limit_s=0.05), box.fileno())
        assert eye.end("alpha").code == 0
    assert "of the launcher" not in eye.log("alpha")
