"""A real launcher and real hands: births, deaths, left-overs, bosses that come and go."""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import wait_until

from hiod.errors import LauncherError, SpawnError
from hiod.host import packets
from hiod.host.launching import (
    Exited,
    Gone,
    Held,
    Hello,
    Launcher,
    Living,
    Refused,
    Replayed,
    Spawned,
    Stray,
)

pytest_plugins = ("support.rundir",)


def test_an_exit_code_is_told(eye):
    eye.spawn("alpha", "sh", "-c", "exit 3")

    end = eye.end("alpha")

    assert (end.code, end.signal, end.core) == (3, None, False)
    assert end.token == "token-alpha-1"
    assert end.maxrss_kb > 0


def test_a_fatal_signal_is_told(eye):
    born = eye.spawn("alpha", "sleep", "60")

    signal.pidfd_send_signal(born.pidfd, signal.SIGTERM)

    end = eye.end("alpha")
    assert (end.code, end.signal) == (None, signal.SIGTERM)
    assert (end.pid, end.started_at, end.boot_id) == (born.pid, born.started_at, born.boot_id)


def test_a_birth_names_the_process_beyond_doubt(eye):
    born = eye.spawn("alpha", "sleep", "60")

    fields = Path(f"/proc/{born.pid}/stat").read_text().rpartition(")")[2].split()
    fdinfo = Path(f"/proc/self/fdinfo/{born.pidfd}").read_text()

    assert born.started_at == int(fields[19])
    assert born.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert f"Pid:\t{born.pid}\n" in fdinfo


def test_a_hand_leads_a_session_of_its_own(eye):
    born = eye.spawn("alpha", "sleep", "60")

    wait_until(lambda: os.getsid(born.pid) == born.pid)

    assert os.getsid(eye.launcher.pid) == eye.launcher.pid


@pytest.mark.parametrize(
    ("command", "number"), [("no-such-program", errno.ENOENT), ("/etc", errno.EACCES)]
)
def test_a_command_that_cannot_be_executed_is_no_birth(eye, command, number):
    refused = eye.refusal("alpha", command)

    assert (refused.step, refused.errno, refused.path) == ("exec", number, command)
    assert refused.message.startswith(f'cannot execute "{command}": ')
    assert eye.spawn("alpha", "true", generation=2).generation == 2
    assert eye.end("alpha", 2).code == 0
    assert [one for one in eye.seen if isinstance(one, Exited)] == [eye.end("alpha", 2)]


def test_a_command_is_born_when_it_is_executed(eye):
    born = eye.spawn("alpha", "sleep", "60")

    assert Path(f"/proc/{born.pid}/comm").read_text() == "sleep\n"


def test_a_command_that_is_slow_to_be_executed_is_told_all_the_same(eye, rundir):
    fifo = rundir / "fifo"
    os.mkfifo(fifo)
    born = eye.spawn("alpha", "no-such-program", env_file=[str(fifo)])

    fifo.write_text("A=1\n")

    end = eye.end("alpha")
    assert (end.pid, end.code) == (born.pid, 127)
    assert json.loads(eye.words("alpha"))["step"] == "exec"


def test_a_boss_that_comes_before_the_verdict_is_told_of_an_end(eye, shore, rundir):
    fifo = rundir / "fifo"
    os.mkfifo(fifo)
    order = eye.order("alpha", command=["no-such-program"], env_file=[str(fifo)])
    eye.launcher.spawn(order)
    with fifo.open("w") as variables:  # which takes a process that reads
        eye.close()
        (second,) = shore.find()
        pid = second.until(Living, name="alpha").pid
        variables.write("A=1\n")

    end = second.end("alpha")
    assert (end.pid, end.code) == (pid, 127)


@pytest.mark.parametrize(
    ("facts", "step", "path"),
    [
        ({"cwd": "/nonexistent"}, "cwd", "/nonexistent"),
        ({"env_file": ["/nonexistent.env"]}, "environ", "/nonexistent.env"),
        ({"log": "/nonexistent/log"}, "log", "/nonexistent/log"),
        ({"cgroup": "/nonexistent"}, "cgroup", "/nonexistent/cgroup.procs"),
        ({"state_dir": "/proc/nonexistent"}, "state_dir", "/proc/nonexistent"),
        ({"rlimits": {"nofile": [2, 1]}}, "rlimits", None),
        ({"rlimits": {"nonsense": [1, 1]}}, "rlimits", None),
        ({"nice": "very"}, "nice", None),
    ],
)
def test_a_step_that_is_refused_is_named_in_the_last_words(eye, facts, step, path):
    refused = eye.refusal("beta", "true", **facts)
    eye.spawn("alpha", **facts)

    assert (refused.step, refused.path) == (step, path)
    assert eye.end("alpha").code == packets.BAD_START
    said = json.loads(eye.words("alpha").splitlines()[-1])
    assert (said["step"], said["path"]) == (step, path)
    assert said["message"].startswith("cannot ")
    assert said["message"].count(str(path)) == (path is not None)


def test_what_the_order_says_of_the_process_is_done(eye, rundir):
    state = rundir / "state" / "alpha"
    eye.spawn(
        "alpha",
        "sh",
        "-c",
        "umask; pwd; nice; ulimit -Sn; ulimit -Hn; ulimit -c",
        umask=0o027,
        nice=5,
        cwd=str(state),
        state_dir=str(state),
        rlimits={"nofile": [333, 444], "core": [0, 0]},
    )

    assert eye.end("alpha").code == 0

    assert eye.log("alpha").split() == ["0027", str(state), "5", "333", "444", "0"]
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_a_hand_gets_the_limit_of_open_files_the_boss_had(shore):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (777, limit[1]))
    try:
        eye = shore.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    eye.spawn("alpha", "sh", "-c", "ulimit -Sn")

    eye.end("alpha")

    assert eye.log("alpha") == "777\n"
    limits = Path(f"/proc/{eye.launcher.pid}/limits").read_text()
    assert f"{limit[1]}   " in next(x for x in limits.splitlines() if x.startswith("Max open"))


def test_a_hand_inherits_its_mailbox_its_token_and_nothing_else(eye, rundir):
    path = str(rundir / "alpha.uxd")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mailbox:
        mailbox.bind(path)
        order = eye.order(
            "alpha",
            command=[
                sys.executable,
                "-c",
                "import os, socket\n"
                "fds = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
                "print([n for n in fds if os.path.exists(f'/proc/self/fd/{n}')])\n"
                "box = socket.socket(fileno=int(os.environ['HIOD_MEMO_FD']))\n"
                "print(box.getsockname(), os.read(int(os.environ['HIOD_TOKEN_FD']), 99).decode())",
            ],
        )
        for number in range(20):  # things a hand must not see
            eye.launcher.hold(f"other-{number}", mailbox.fileno())
        eye.spawn("beta", "sleep", "60")
        eye.launcher.spawn(order, mailbox.fileno())

        assert eye.end("alpha").code == 0

    assert eye.log("alpha").splitlines() == ["[0, 1, 2, 3, 5]", f"{path} token-alpha-1"]


def test_signals_are_as_a_program_expects_them(eye):
    eye.spawn("alpha", "cat", "/proc/self/status")

    eye.end("alpha")

    facts = dict(line.split(":\t", 1) for line in eye.log("alpha").splitlines() if ":\t" in line)
    # 32 and 33 are the C library's own: whoever starts us by posix_spawn (make does) has it ignore
    # them, and nobody can change that.
    own = 1 << 31 | 1 << 32
    assert [int(facts[name], 16) & ~own for name in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]


def test_the_environment_is_the_bosses_without_systemds(shore, rundir):
    systemds = {
        "NOTIFY_SOCKET": "/run/n",
        "WATCHDOG_USEC": "1",
        "LISTEN_FDS": "2",
        "JOURNAL_STREAM": "1:2",
        "INVOCATION_ID": "ab",
        "MAINPID": "1",
        "HIOD_ORDINAL": "7",
    }
    eye = shore.start(environ={**os.environ, **systemds, "KEPT": "yes", "OVER": "boss"})
    file = rundir / "env"
    file.write_text("FROM_FILE='a b'\nOVER=file\nTWICE=file\n")
    eye.spawn(
        "alpha",
        "env",
        env_file=[str(file), "-/nonexistent.env"],
        env={"TWICE": "env", "HIOD_NAME": "a lie"},
        notify="/run/own",
    )

    assert eye.end("alpha").code == 0

    seen = dict(line.split("=", 1) for line in eye.log("alpha").splitlines())
    assert not systemds.keys() & seen.keys() - {"NOTIFY_SOCKET"}
    assert "HIOD_MARK" not in seen
    wanted = {
        "KEPT": "yes",
        "OVER": "file",
        "FROM_FILE": "a b",
        "TWICE": "env",
        "HIOD_NAME": "alpha",
        "NOTIFY_SOCKET": "/run/own",
    }
    assert wanted.items() <= seen.items()


def test_an_env_file_is_read_at_every_start(eye, rundir):
    file = rundir / "env"
    for generation, value in ((1, "old"), (2, "new")):
        file.write_text(f"VALUE={value}\n")
        eye.spawn("alpha", "sh", "-c", "echo $VALUE", generation=generation, env_file=[str(file)])
        eye.end("alpha", generation)

    assert eye.log("alpha") == "old\nnew\n"


def test_without_a_journal_the_log_is_inherited_and_the_words_say_so(eye, rundir):
    eye.spawn("alpha", "true", log="journal", journal=str(rundir / "nowhere"))

    assert eye.end("alpha").code == 0

    said = json.loads(eye.words("alpha"))
    assert (said["step"], said["path"]) == ("note", str(rundir / "nowhere" / "stdout"))


def test_a_journal_stream_bears_the_hands_name(eye, rundir):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as journald:
        journald.bind(str(rundir / "stdout"))
        journald.listen()
        journald.settimeout(10)
        eye.spawn("alpha", "sh", "-c", "echo out; echo err >&2", log="journal", journal=str(rundir))
        stream, _ = journald.accept()
        with stream, stream.makefile() as file:
            lines = file.read().splitlines()

    assert lines == ["hiod-alpha", "", "6", "1", "0", "0", "0", "out", "err"]


def test_given_descriptors_serve_as_stdout_and_stderr(eye):
    ours, theirs = os.pipe()
    order = eye.order("alpha", command=["sh", "-c", "echo out; echo err >&2"], log="inherit")
    eye.launcher.spawn(order, stdout=theirs, stderr=theirs)
    os.close(theirs)

    eye.end("alpha")

    assert os.read(ours, 99) == b"out\nerr\n"
    os.close(ours)


# -------------------------------------------------------------------- what is left of a hand


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _pid_in(path: Path) -> int:
    return int(wait_until(lambda: path.exists() and path.read_text().strip()))


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param("sleep 60 & echo $! >left", id="same session"),
        pytest.param("setsid sh -c 'echo $$ >left; exec sleep 60' &", id="session of its own"),
        pytest.param("(setsid sh -c 'echo $$ >left; sleep 60; :' &) &", id="twice removed"),
        pytest.param("env -i sh -c 'echo $$ >left; exec sleep 60' &", id="without environment"),
    ],
)
def test_what_a_dead_hand_leaves_is_killed(eye, rundir, leave):
    eye.spawn("alpha", "sh", "-c", f"{leave}\nwhile [ ! -s left ]; do :; done; exec sleep 60")
    pidfd = os.pidfd_open(_pid_in(rundir / "left"))

    os.kill(eye.until(Spawned, name="alpha").pid, signal.SIGKILL)

    eye.end("alpha")
    assert select.select((pidfd,), (), (), 10)[0]
    os.close(pidfd)
    assert eye.until(Stray).name == "alpha"


def test_a_chain_of_left_overs_is_killed_to_its_end(eye, rundir):
    chain = "sh -c \"sh -c 'echo \\$\\$ >left; sleep 60; :'; :\"; :"
    eye.spawn("alpha", "sh", "-c", f"({chain}) & while [ ! -s left ]; do :; done")
    eye.end("alpha")

    last = _pid_in(rundir / "left")

    wait_until(lambda: not Path(f"/proc/{last}").exists())
    children = Path(f"/proc/{eye.launcher.pid}/task/{eye.launcher.pid}/children")
    wait_until(lambda: not children.read_text())


def test_the_orphans_of_a_living_hand_are_let_be(eye, rundir):
    eye.spawn("alpha", "sh", "-c", "(setsid sh -c 'echo $$ >left; exec sleep 60' &); sleep 60")
    orphan = _pid_in(rundir / "left")
    wait_until(lambda: f"PPid:\t{eye.launcher.pid}\n" in Path(f"/proc/{orphan}/status").read_text())

    eye.spawn("beta", "true")
    eye.end("beta")

    assert Path(f"/proc/{orphan}").exists()
    assert not [event for event in eye.look() if isinstance(event, Stray)]


def test_a_stranger_is_reported_and_never_killed(eye, rundir):
    eye.spawn(
        "alpha",
        "sh",
        "-c",
        "(setsid env -i sh -c 'echo $$ >left; exec sleep 60' &)\nwhile [ ! -s left ]; do :; done",
    )
    stranger = _pid_in(rundir / "left")

    stray = eye.until(Stray)

    assert (stray.pid, stray.name) == (stranger, None)
    eye.spawn("beta", "true")
    eye.end("beta")
    assert len([event for event in eye.seen if isinstance(event, Stray)]) == 1
    os.kill(stranger, signal.SIGKILL)


def test_a_sweep_ends_a_hand_with_all_that_descends_from_it(eye, rundir):
    eye.spawn(
        "alpha", "sh", "-c", "trap '' TERM; setsid env -i sh -c 'echo $$ >left; sleep 60; :'; :"
    )
    pidfd = os.pidfd_open(_pid_in(rundir / "left"))

    eye.launcher.sweep("alpha", 1)

    assert eye.end("alpha").signal == signal.SIGKILL
    assert select.select((pidfd,), (), (), 10)[0]
    os.close(pidfd)


def test_a_cgroup_is_entered_at_birth_and_killed_at_death(eye, rundir):
    """A directory stands in for the cgroup: the kernel's part is the kernel's."""
    for name in ("cgroup.procs", "cgroup.kill"):
        (rundir / name).write_text("")
    eye.spawn("alpha", "true", cgroup=str(rundir))

    eye.end("alpha")

    assert (rundir / "cgroup.procs").read_text() == "0"
    assert (rundir / "cgroup.kill").read_text() == "1"


# -------------------------------------------------------------------- bosses come and go


def test_a_second_boss_is_told_all_that_lives_and_all_that_ended(eye, shore):
    first = eye.spawn("alpha", "sleep", "60")
    doomed = eye.spawn("beta", "sleep", "60")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as memos:
        eye.launcher.hold("boss", memos.fileno())
        inode = os.fstat(memos.fileno()).st_ino
    eye.until(Spawned, name="beta")
    eye.close()
    os.kill(doomed.pid, signal.SIGKILL)

    (second,) = shore.find()
    second.until(Replayed)

    assert second.launcher.id == eye.launcher.id
    assert os.fstat(second.until(Held, what="boss").fd).st_ino == inode
    living = second.until(Living, name="alpha")
    assert (living.pid, living.started_at, living.token) == (
        first.pid,
        first.started_at,
        "token-alpha-1",
    )
    signal.pidfd_send_signal(living.pidfd, signal.SIGTERM)
    assert second.end("alpha").signal == signal.SIGTERM
    assert second.end("beta").signal == signal.SIGKILL


def test_an_exit_is_said_to_every_boss_until_it_is_recorded(eye, shore):
    eye.spawn("alpha", cwd="/no/such/place")
    eye.end("alpha")
    eye.close()
    (second,) = shore.find()
    told = second.end("alpha")
    assert told.code == packets.BAD_START
    assert b"/no/such/place" in os.pread(told.words, 999, 0)
    second.launcher.forget("alpha", 1)
    keep = second.spawn("beta", "sleep", "60")
    second.close()

    (third,) = shore.find()
    third.until(Replayed)

    assert not [event for event in third.seen if isinstance(event, Exited)]
    assert third.until(Living).pid == keep.pid


def test_a_newer_boss_is_refused_while_the_old_one_lives(eye, shore):
    (newer,) = shore.find()

    gone = newer.until(Gone)

    assert "another boss" in gone.why
    eye.spawn("alpha", "true")
    assert eye.end("alpha").code == 0


def test_a_dropped_socket_is_not_replayed(eye, shore):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as memos:
        for what in ("boss", "alpha", "alpha"):
            eye.launcher.hold(what, memos.fileno())
    eye.launcher.drop("boss")
    eye.spawn("alpha", "sleep", "60")
    eye.close()

    (second,) = shore.find()
    second.until(Replayed)

    assert [event.what for event in second.seen if isinstance(event, Held)] == ["alpha"]


def test_a_launcher_with_nothing_left_ends_with_its_boss(eye, rundir):
    pidfd = os.pidfd_open(eye.launcher.pid)

    eye.close()

    assert select.select((pidfd,), (), (), 10)[0]
    os.close(pidfd)
    assert list((rundir / "launcher").iterdir()) == []


def test_a_retired_launcher_takes_no_orders_and_ends_with_its_last_hand(eye, rundir):
    born = eye.spawn("alpha", "sleep", "60")
    eye.launcher.retire()
    eye.launcher.spawn(eye.order("beta", command=["true"]))
    assert "retires" in eye.until(Refused, name="beta").message

    os.kill(born.pid, signal.SIGKILL)
    eye.end("alpha")
    eye.launcher.forget("alpha", 1)

    gone = eye.until(Gone)
    assert (gone.code, gone.signal) == (0, None)
    with pytest.raises(LauncherError, match="is gone"):
        eye.launcher.forget("alpha", 1)


def test_a_launcher_whose_crew_is_over_ends_though_no_end_was_recorded(eye):
    eye.spawn("alpha", "true")
    eye.end("alpha")

    eye.launcher.retire(over=True)

    assert eye.until(Gone).code == 0


def test_unrecorded_ends_of_one_hand_do_not_use_up_the_descriptors(eye, shore):
    def descriptors():
        return sum(1 for _ in Path(f"/proc/{eye.launcher.pid}/fd").iterdir())

    for generation in range(1, 3):
        eye.spawn("alpha", "sh", "-c", f"exit {generation}", generation=generation)
        eye.end("alpha", generation)
    before = descriptors()
    for generation in range(3, 9):
        eye.spawn("alpha", "sh", "-c", f"exit {generation}", generation=generation)
        eye.end("alpha", generation)

    assert descriptors() == before
    eye.close()
    (second,) = shore.find()
    second.until(Replayed)
    told = [(e.generation, e.code) for e in second.seen if isinstance(e, Exited)]
    assert told == [(1, 1), (8, 8)]
    assert all(e.words >= 0 for e in second.seen if isinstance(e, Exited))
    for generation in (1, 4, 8):
        second.launcher.forget("alpha", generation)
    second.close()

    (third,) = shore.find()
    third.until(Replayed)
    assert not [event for event in third.seen if isinstance(event, Exited)]


def test_hands_outlive_their_launcher(eye, shore, rundir):
    born = eye.spawn("alpha", "sleep", "60")
    os.kill(eye.launcher.pid, signal.SIGKILL)

    gone = eye.until(Gone)

    assert gone.signal == signal.SIGKILL
    assert not select.select((born.pidfd,), (), (), 0)[0]
    assert list((rundir / "launcher").iterdir()) != []
    assert shore.find() == []
    assert list((rundir / "launcher").iterdir()) == []
    signal.pidfd_send_signal(born.pidfd, signal.SIGKILL)


def test_a_door_removed_while_no_boss_is_there_is_back_at_the_next_end(eye, shore, rundir):
    born = eye.spawn("alpha", "sleep", "60")
    keep = eye.spawn("beta", "sleep", "60")
    door = rundir / "launcher" / f"{eye.launcher.id}.sock"
    inode = door.stat().st_ino
    eye.close()
    door.unlink()

    os.kill(born.pid, signal.SIGTERM)

    wait_until(lambda: door.exists() and door.stat().st_ino != inode)
    (second,) = shore.find()
    assert second.end("alpha").signal == signal.SIGTERM
    assert second.until(Living).pid == keep.pid


def test_a_launcher_no_boss_can_find_ends_with_its_last_hand(eye, rundir):
    born = eye.spawn("alpha", "sleep", "60")
    pidfd = os.pidfd_open(eye.launcher.pid)
    eye.close()
    shutil.rmtree(rundir / "launcher")

    os.kill(born.pid, signal.SIGTERM)

    assert select.select((pidfd,), (), (), 10)[0]
    os.close(pidfd)


def test_a_boss_removes_what_a_launcher_killed_in_its_first_moment_has_left(shore, rundir):
    (rundir / "launcher").mkdir(exist_ok=True)
    old, young = (rundir / "launcher" / f"{name}.sock.new" for name in ("old", "young"))
    for path in (old, young):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.bind(str(path))
    os.utime(old, (1.0, 1.0))

    assert shore.find() == []

    assert (old.exists(), young.exists()) == (False, True)


def test_interrupt_and_hangup_do_not_concern_it(eye):
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(eye.launcher.pid, number)
    eye.spawn("alpha", "true")

    assert eye.end("alpha").code == 0


def test_the_same_incarnation_is_not_born_twice(eye):
    eye.spawn("alpha", "sleep", "60")

    eye.launcher.spawn(eye.order("alpha", command=["true"]))

    assert eye.until(Refused).step == "order"


def test_garbage_is_answered_and_harms_nobody(eye):
    sock = eye.launcher._sock
    junk = [b"\xff\x00", b"[]", b"{}", b'{"op":"fly"}', b'{"op":["hello"]}', b'{"op":"hold"}']
    junk += [b'{"op":"spawn","name":"x"}', b'{"op":"spawn","name":"x","generation":1,"fds":[1]}']
    before = _open_files(eye.launcher.pid)

    for payload in junk:
        packets.send(sock, payload, (0, 1))

    eye.spawn("alpha", "true")
    assert eye.end("alpha").code == 0
    eye.launcher.forget("alpha", 1)
    eye.spawn("beta", "true")
    eye.end("beta")
    eye.launcher.forget("beta", 1)
    for name in ("alpha", "beta"):
        eye.launcher.drop(name)
    wait_until(lambda: _open_files(eye.launcher.pid) == before)


def test_an_interpreter_that_is_not_there_is_refused_with_a_sentence(rundir):
    with pytest.raises(SpawnError, match='cannot start python "/no/python": No such file'):
        Launcher.start(str(rundir), python="/no/python")


@pytest.mark.parametrize("refused", ["pidfd_open", "socketpair", "epoll"])
def test_a_launcher_that_there_are_no_descriptors_for_is_refused_and_not_left_behind(
    rundir, monkeypatch, refused
):
    def refuse(*_args, **_facts):
        raise OSError(errno.EMFILE, "Too many open files")

    module = {"pidfd_open": os, "socketpair": socket, "epoll": select}[refused]
    monkeypatch.setattr(module, refused, refuse)
    with pytest.raises(SpawnError, match=r"cannot start python .*: Too many open files") as told:
        Launcher.start(str(rundir))

    assert told.value.step == "launcher"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_hand_that_its_launcher_cannot_hold_is_refused_and_not_left_behind(eye):
    own = eye.launcher.pid
    first = eye.spawn("first", "sleep", "600").pid
    before = resource.prlimit(own, resource.RLIMIT_NOFILE)

    def asleep() -> bool:
        return Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    def held() -> set[int]:
        return {int(fd.name) for fd in Path(f"/proc/{own}/fd").iterdir()}

    assert wait_until(asleep)
    taken = held()
    for room in range(2, 8):  # the order itself brings two
        assert wait_until(lambda: asleep() and held() == taken), "what it refused, it has let go of"
        limit = [fd for fd in range(before[0]) if fd not in taken][room - 1] + 1
        resource.prlimit(own, resource.RLIMIT_NOFILE, (limit, before[1]))
        answer = eye.refusal(f"hand-{room}", "sleep", "600")
        if answer.step == "fork":
            break
    resource.prlimit(own, resource.RLIMIT_NOFILE, before)

    assert answer.message.endswith("Too many open files")
    children = Path(f"/proc/{own}/task/{own}/children")
    assert [int(pid) for pid in children.read_text().split()] == [first]


def test_an_interpreter_without_hiod_is_gone_with_a_sentence(shore, rundir):
    python = rundir / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)

    gone = shore.start(python=str(python)).until(Gone)

    assert gone.code == 1
    assert "is hiod installed there?" in gone.why


def test_a_launcher_is_itself_and_no_more(eye, rundir):
    hello = eye.until(Hello)

    assert (hello.pid, hello.python, hello.hands) == (eye.launcher.pid, sys.executable, 0)
    assert Path(f"/proc/{hello.pid}/comm").read_text() == "hiod-launcher\n"
    assert Path(f"/proc/{hello.pid}/status").read_text().count("Threads:\t1\n") == 1
    (path,) = (rundir / "launcher").iterdir()
    assert path.name == f"{eye.launcher.id}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_three_hundred_hands_are_born_told_and_swept(eye, shore):
    for number in range(300):
        eye.launcher.spawn(eye.order(f"h-{number}", command=["sleep", "60"], log="null"))
    pids = {eye.until(Spawned, name=f"h-{number}").pid for number in range(300)}
    assert len(pids) == 300
    eye.close()
    (second,) = shore.find()
    second.until(Replayed)
    assert {event.pid for event in second.seen if isinstance(event, Living)} == pids

    for number in range(300):
        second.launcher.sweep(f"h-{number}", 1)

    for number in range(300):
        assert second.end(f"h-{number}").signal == signal.SIGKILL
        second.launcher.forget(f"h-{number}", 1)


def test_a_launcher_started_by_hand_is_found(shore, rundir):
    (rundir / "launcher").mkdir()
    argv = [sys.executable, "-m", "hiod", "launcher", "--runtime", str(rundir), "--id", "byhand"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        wait_until(lambda: (rundir / "launcher" / "byhand.sock").exists())
        (eye,) = shore.find()
        eye.spawn("alpha", "true")
        assert eye.end("alpha").code == 0
        eye.launcher.quit()
        assert process.wait(10) == 0


def test_an_order_that_comes_without_its_descriptors_is_refused(eye):
    eye.spawn("alpha", "sleep", "60")
    given = resource.prlimit(eye.launcher.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(eye.launcher.pid, resource.RLIMIT_NOFILE, (3, given[1]))

    refused = eye.refusal("beta", "true")

    assert (refused.step, refused.errno) == ("order", errno.EMFILE)
    assert "no descriptors left for the order of beta" in refused.message
    resource.prlimit(eye.launcher.pid, resource.RLIMIT_NOFILE, given)
    eye.spawn("beta", "true", generation=2)


def test_an_order_that_cannot_be_obeyed_is_refused(eye):
    eye.launcher._send({"op": "spawn", "name": "beta", "generation": 1, "fds": []})

    refused = eye.until(Refused, name="beta", generation=1)
    assert (refused.step, refused.message) == ("order", "KeyError: 'order'")
