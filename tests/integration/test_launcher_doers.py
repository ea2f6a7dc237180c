"""Forked hands: doers made from an order, last words, and an end that is the hand's own."""

from __future__ import annotations

import contextlib
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
from hiod.rules.words import read

pytest_plugins = ("support.rundir",)

_APP = """
import atexit, multiprocessing, os, resource, sys, threading
from concurrent.futures import ThreadPoolExecutor
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

class Unspeakable(Doer):
    def recur(self, tyme):
        sys.exit(os.fsdecode(b"cannot open caf\\xe9"))

class Keeper(Doer):
    def recur(self, tyme):
        return False
    def exit(self):
        print("kept")

class Leaking(Doer):
    def recur(self, tyme):
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        while True:
            os.dup(0)

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

class Leave(Doer):
    def __init__(self, code=0, where="recur", **kwa):
        super().__init__(**kwa)
        self.code, self.where = code, where
        self.leave("init")
    def enter(self, *, temp=None):
        self.leave("enter")
    def recur(self, tyme):
        self.leave("recur")
        return True
    def leave(self, where):
        if where == self.where:
            sys.exit(self.code)

class Staying(Doer):
    pass

class Lasting(Doer):
    # Leaves something that lasts until somebody writes to the fifo, and ends as it is told.
    def __init__(self, lasts, raises=False, code=None, **kwa):
        super().__init__(**kwa)
        self.lasts, self.raises, self.code = lasts, raises, code
    def enter(self, *, temp=None):
        atexit.register(print, "exit callback")
        getattr(self, self.lasts)()
    def recur(self, tyme):
        if self.raises:
            raise LookupError("no such thing")
        if self.code is not None:
            sys.exit(self.code)
        return True
    def thread(self):
        threading.Thread(target=last, name="worker").start()
    def idle(self):
        self.pool = ThreadPoolExecutor(1, "pool")
        self.pool.submit(print, "thread").result()
    def pool(self):
        self.pool = ThreadPoolExecutor(1, "pool")
        self.pool.submit(last)
    def process(self):
        context = multiprocessing.get_context("fork")
        context.Process(target=last, name="child").start()
    def function(self):
        atexit.register(last)
    def daemon(self):
        threading.Thread(target=last, daemon=True).start()

def last():
    with open("fifo") as file:
        file.read()
"""

_LASTING = {
    "thread": "thread worker",
    "pool": "thread pool_0",
    "process": "process child",
    "function": "its exit functions",
}


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

    def boss_has():
        boss.setblocking(False)
        memos = []
        with contextlib.suppress(BlockingIOError):
            while True:
                memos.append(boss.recv(65536))
        return memos

    yield SimpleNamespace(spawn=spawn, boss=boss, boss_has=boss_has, eye=eye, rundir=rundir)
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
        (
            "app:Missing",
            "AttributeError: module 'app' has no attribute 'Missing'; it is {rundir}/app/app.py",
        ),
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
    reason = reason.format(rundir=crew.rundir)

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


@pytest.mark.parametrize("where", ["enter", "recur"])
@pytest.mark.parametrize(("code", "status"), [(0, 0), (7, 7), (None, 0), (256 + 7, 7)])
def test_sys_exit_is_the_exit_code(crew, where, code, status):
    crew.spawn("alpha", {"ref": "app:Leave", "opts": {"code": code, "where": where}})

    assert crew.eye.end("alpha").code == status

    assert not crew.eye.words("alpha")


@pytest.mark.parametrize("where", ["enter", "recur"])
def test_what_sys_exit_says_is_the_gist_of_the_last_words(crew, where):
    said = "config is wrong:\n  no key"
    crew.spawn("alpha", {"ref": "app:Leave", "opts": {"code": said, "where": where}})

    assert crew.eye.end("alpha").code == 1

    assert read(crew.eye.words("alpha").encode()).gist == "config is wrong: no key"
    assert crew.eye.log("alpha") == f"{said}\n"


def test_what_sys_exit_says_may_be_no_utf8(crew):
    crew.spawn("alpha", "app:Unspeakable")

    assert crew.eye.end("alpha").code == 1

    assert read(crew.eye.words("alpha").encode()).gist == r"cannot open caf\udce9"


def test_a_hand_without_descriptors_closes_its_doers(crew):
    crew.spawn("alpha", "app:Keeper", "app:Leaking")

    assert crew.eye.end("alpha").code == 1

    assert "Too many open files" in read(crew.eye.words("alpha").encode()).gist
    assert "kept" in crew.eye.log("alpha").splitlines()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, " (SystemExit 0)"),
        (None, " (SystemExit 0)"),
        (2, " (SystemExit 2)"),
        ("no key", ": no key"),
    ],
)
def test_a_doer_that_ends_python_when_it_is_imported_or_made_cannot_be_used(crew, code, said):
    (crew.rundir / "app" / "script.py").write_text(f"import sys\nsys.exit({code!r})\n")
    leave = {"ref": "app:Leave", "opts": {"code": code, "where": "init"}}
    crew.spawn("alpha", "script:Work")
    crew.spawn("beta", "app:Once", leave)

    for name, reason in (
        ("alpha", f'doers[0] "script:Work": its module ended Python when it was imported{said}'),
        ("beta", f'doers[1] "app:Leave" ended Python when it was made{said}'),
    ):
        assert crew.eye.end(name).code == BAD_START
        assert read(crew.eye.words(name).encode()).gist == reason


@pytest.mark.parametrize("lasts", _LASTING)
def test_a_hand_that_failed_ends_whatever_its_threads_and_processes_do(crew, lasts):
    os.mkfifo(crew.rundir / "fifo")
    crew.spawn("alpha", {"ref": "app:Lasting", "opts": {"lasts": lasts, "raises": True}})

    assert crew.eye.end("alpha").code == 1

    line = f"ended with status 1 without waiting for {_LASTING[lasts]}"
    words = crew.eye.words("alpha")
    assert words.endswith(f"LookupError: no such thing\n{line}\n")
    assert read(words.encode()).gist == "LookupError: no such thing"
    log = crew.eye.log("alpha")
    assert f"hiod: {line}\n" in log
    assert ("exit callback" in log) == (lasts in {"thread", "pool"})


def test_a_hand_that_was_told_by_sys_exit_to_fail_ends_too(crew):
    os.mkfifo(crew.rundir / "fifo")
    crew.spawn("alpha", {"ref": "app:Lasting", "opts": {"lasts": "thread", "code": "no key"}})

    assert crew.eye.end("alpha").code == 1

    assert read(crew.eye.words("alpha").encode()).gist == "no key"


@pytest.mark.parametrize("lasts", ["idle", "daemon"])
def test_what_python_does_not_wait_for_is_not_told_of(crew, lasts):
    os.mkfifo(crew.rundir / "fifo")
    crew.spawn("alpha", {"ref": "app:Lasting", "opts": {"lasts": lasts, "raises": True}})

    assert crew.eye.end("alpha").code == 1

    assert crew.eye.words("alpha").endswith("LookupError: no such thing\n")


@pytest.mark.parametrize("lasts", _LASTING)
def test_a_hand_that_is_done_waits_as_python_does_and_says_for_what(crew, lasts):
    os.mkfifo(crew.rundir / "fifo")
    entry = {"ref": "app:Lasting", "tock": 0.01, "opts": {"lasts": lasts}}
    crew.spawn("alpha", entry, beat_s=0.1)
    said = f"all its Doers have ended; it waits for {_LASTING[lasts]}"

    for _ in range(2):  # not only once: it is to be seen that it lives
        while json.loads(crew.boss.recv(65536)[32:])["load"].get("status") != said:
            pass
    (crew.rundir / "fifo").write_text("enough")

    assert crew.eye.end("alpha").code == 0
    assert crew.eye.log("alpha").count(f"hiod: {said}\n") == 1
    assert "exit callback" in crew.eye.log("alpha")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_hand_that_waits_for_its_threads_is_stopped_by_a_signal(crew, number):
    os.mkfifo(crew.rundir / "fifo")
    born = crew.spawn("alpha", {"ref": "app:Lasting", "opts": {"lasts": "thread"}})
    wait_until(lambda: "it waits for thread worker" in _log(crew, "alpha"))

    signal.pidfd_send_signal(born.pidfd, number)

    assert crew.eye.end("alpha").signal == number


def test_a_hand_that_is_asked_to_end_says_in_its_log_alone_for_what_it_waits(crew):
    os.mkfifo(crew.rundir / "fifo")
    born = crew.spawn("alpha", {"ref": "app:Lasting", "opts": {"lasts": "thread"}}, "app:Staying")
    crew.boss.recv(65536)

    signal.pidfd_send_signal(born.pidfd, signal.SIGTERM)

    wait_until(lambda: "it waits for thread worker" in _log(crew, "alpha"))
    (crew.rundir / "fifo").write_text("enough")
    assert crew.eye.end("alpha").code == 0
    assert not any(b"it waits for" in memo for memo in crew.boss_has())


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


def _log(crew, name):
    """Return what a hand has printed, which may be not born yet."""
    return crew.eye.log(name) if (crew.rundir / f"{name}.log").exists() else ""


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
