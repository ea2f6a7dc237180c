"""The launcher: forks hands, is their parent, remembers how they ended, holds what outlives a boss.

Decides nothing about the crew: the boss orders, the launcher does it and tells what happened. It
alone decides who descends from a dead hand and must go with it. Invariants: one thread for ever;
it never waits for a boss, neither to read nor to write; of each hand the first and the latest end
that no boss says it has recorded are remembered; no user code runs before the fork.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import faulthandler
import gc
import io
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import hiod
from hiod.hand import birth, door, environ, kin, sharing, words
from hiod.hand import main as hand
from hiod.host import inherited, packets

if TYPE_CHECKING:
    from collections.abc import Sequence

LINGER_S = 30.0
"""So long a launcher without hands waits for a boss: its first, or the one after a crash."""

UNSURE_S = 1.0
"""So long is waited for a command to be executed or refused, before its process is told anyway."""

WARM_TURNS = 3
"""So often the life of a hand is rehearsed: code is adapted after it has run a few times."""

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_ARGS, _ENV = 45, 47  # arg_start and env_start, behind the name in /proc/PID/stat

_kept: list[Any] = []

Key = tuple[str, int]
"""Name and generation of one incarnation of a hand."""


class _Hand(NamedTuple):
    """One incarnation that lives."""

    key: Key
    token: str
    cgroup: str | None
    pid: int
    pidfd: int
    words: int
    started_at: int


class Launcher:
    """One launcher process; `run` is all of its life."""

    def __init__(self, runtime: str, ident: str, ground: birth.Ground) -> None:
        self._id = ident
        self._ground = ground
        self._boot_id = kin.boot_id()
        self._door = door.Door(f"{runtime}/launcher/{ident}.sock")
        self._wakeup = _wakeup_socket()
        self._epoll = select.epoll()
        self._epoll.register(self._door, select.EPOLLIN)
        self._epoll.register(self._wakeup, select.EPOLLIN)
        self._boss: door.Caller | None = None
        self._held: dict[str, int] = {}
        self._hands: dict[int, _Hand] = {}  # by pid
        self._unsure: dict[int, tuple[int, float]] = {}  # by pid: verdict, until when; oldest first
        self._stillborn: set[int] = set()  # pids of commands that were refused
        # By name and generation: the exit, and the last words.
        self._ended: dict[str, dict[int, tuple[dict[str, Any], int]]] = {}
        self._sessions: dict[int, Key] = {}  # of ended hands that left something behind
        self._told: set[tuple[int, int]] = set()  # strays reported, by pid and start
        self._retired = False
        self._over = False
        self._quit = False
        self._until = time.monotonic() + LINGER_S

    # ---------------------------------------------------------------- life

    def adopt(self, sock: socket.socket) -> None:
        """Take the connection a boss made before it started this launcher."""
        self._boss = door.Caller(sock)
        self._epoll.register(sock, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def run(self) -> None:
        """Serve until there is nothing left to serve."""
        try:
            while not self._finished():
                ready = [fd for fd, _ in self._epoll.poll(self._patience())]
                if self._wakeup.fileno() in ready:
                    self._mourn()
                self._hear_verdicts(ready)
                # The present boss before the listener: who knocks is refused only by the living.
                if self._boss is not None and self._boss.sock.fileno() in ready:
                    self._serve()
                if self._door.fileno() in ready:
                    self._answer_the_door()
        finally:
            self._door.remove()

    def _finished(self) -> bool:
        if self._quit or (self._over and not self._hands):
            return True
        if self._hands or self._ended:
            # Ends that nobody can come to ask for need not be remembered.
            return not self._can_be_found() and not self._hands
        if self._retired:
            return True
        return self._boss is None and time.monotonic() >= self._until

    def _can_be_found(self) -> bool:
        """Whether a boss is here or can come; looked at whenever something has happened."""
        if self._boss is not None:
            return True
        try:
            self._be_found()
        except OSError:
            return False
        return True

    def _be_found(self) -> None:
        """See that the door is where bosses look for it: somebody may have removed it."""
        if self._door.stands():
            return
        self._epoll.unregister(self._door)
        try:
            self._door.renew()
        finally:
            self._epoll.register(self._door, select.EPOLLIN)

    def _patience(self) -> float | None:
        for _, until in self._unsure.values():
            return max(0.0, until - time.monotonic())
        if self._boss is not None or self._hands or self._ended:
            return None
        return max(0.0, self._until - time.monotonic())

    # ---------------------------------------------------------------- the boss

    def _answer_the_door(self) -> None:
        sock = self._door.answer()
        if sock is None:
            return
        if self._boss is not None:
            self._serve()
        if self._boss is not None and self._boss.lives():
            door.turn_away(sock, "another boss is connected")
            return
        self._part()
        self.adopt(sock)

    def _part(self) -> None:
        """Let go of a boss that is gone; everything it did not take stays remembered."""
        if self._boss is None:
            return
        self._epoll.unregister(self._boss.sock)
        self._boss.close()
        self._boss = None
        # Mailboxes of hands between two lives wait for the next boss; nothing else does.
        self._until = time.monotonic() + (LINGER_S if self._held else 0.0)

    def _serve(self) -> None:
        """Send what waits, then do what the boss asks until it has said all."""
        while (boss := self._boss) is not None:
            boss.flush()
            if boss.overloaded:
                return
            try:
                payload, fds = packets.receive(boss.sock)
            except BlockingIOError:
                return
            except OSError:
                self._part()
                return
            if not payload:
                packets.discard(fds)
                self._part()
                return
            try:
                self._obey(boss, packets.unpack(payload), fds)
            finally:
                packets.discard(fds)

    def _obey(self, boss: door.Caller, message: dict[str, Any] | None, fds: list[int]) -> None:
        """Do one request. The descriptors are closed by the caller; copy what must stay."""
        op = message.get("op") if message else None
        act = _OPS.get(op) if isinstance(op, str) else None
        if message is None or act is None:
            boss.tell("unknown", what=op)
            return
        whose = {what: message[what] for what in ("name", "generation") if what in message}
        try:
            act(self, boss, message, fds)
        # A request that lacks what it needs is the boss's mistake and no reason to stop serving.
        except (KeyError, ValueError, TypeError, IndexError) as ex:
            boss.tell("bad", what=op, message=f"{type(ex).__name__}: {ex}", **whose)
        except OSError as ex:
            boss.tell("bad", what=op, message=str(ex), **whose)

    def _hello(self, boss: door.Caller, _message: dict[str, Any], _fds: list[int]) -> None:
        boss.greeted = True
        boss.tell(
            "hello",
            v=packets.VERSION,
            id=self._id,
            pid=os.getpid(),
            python=sys.executable,
            version=hiod.__version__,
            hands=len(self._hands),
        )
        # From here on they are told as any that live, and their ends as ends.
        for pid in list(self._unsure):
            self._stop_listening(pid)
        self._stillborn.clear()
        for what, fd in self._held.items():
            boss.tell("held", (fd,), what=what)
        for one in self._hands.values():
            boss.tell("hand", (one.pidfd, one.words), token=one.token, **self._facts(one))
        for ends in self._ended.values():
            for facts, words_fd in ends.values():
                boss.tell("exit", (words_fd,), **facts)
        boss.tell("replayed")

    def _hold(self, _boss: door.Caller, message: dict[str, Any], fds: list[int]) -> None:
        self._keep(str(message["what"]), fds[0])

    def _keep(self, what: str, fd: int) -> None:
        """Hold a copy of a socket, so that it outlives the boss and the hand."""
        copy = os.dup(fd)
        packets.discard([fd for fd in (self._held.pop(what, -1),) if fd >= 0])
        self._held[what] = copy

    def _drop(self, _boss: door.Caller, message: dict[str, Any], _fds: list[int]) -> None:
        fd = self._held.pop(str(message["what"]), -1)
        if fd >= 0:
            os.close(fd)

    def _forget(self, _boss: door.Caller, message: dict[str, Any], _fds: list[int]) -> None:
        name, generation = _key(message)
        ends = self._ended.get(name, {})
        ended = ends.pop(generation, None)
        if ended is not None:
            os.close(ended[1])
        if not ends:
            self._ended.pop(name, None)

    def _retire(self, _boss: door.Caller, message: dict[str, Any], _fds: list[int]) -> None:
        self._retired = True
        # A crew that is stopped for good: nobody will come and ask how its hands ended.
        self._over |= bool(message.get("over"))

    def _listen_again(self, _boss: door.Caller, _message: dict[str, Any], _fds: list[int]) -> None:
        """Bind its path again, which somebody has removed: no later boss would find it."""
        self._be_found()

    def _leave(self, _boss: door.Caller, _message: dict[str, Any], _fds: list[int]) -> None:
        self._quit = True

    def _tell(self, op: str, fds: Sequence[int] = (), **facts: Any) -> None:
        """Tell the boss, if there is one that has asked; a later one learns it by the replay."""
        if self._boss is not None and self._boss.greeted:
            self._boss.tell(op, fds, **facts)

    def _facts(self, one: _Hand) -> dict[str, Any]:
        name, generation = one.key
        return {
            "name": name,
            "generation": generation,
            "pid": one.pid,
            "started_at": one.started_at,
            "boot_id": self._boot_id,
        }

    # ---------------------------------------------------------------- births

    def _spawn(self, boss: door.Caller, message: dict[str, Any], fds: list[int]) -> None:
        """Fork one hand; answered by ``spawned``, or by ``refused`` with the step.

        A command is ``spawned`` when it has been executed: then the answer comes later.

        A boss that is gone gets no more hands: its successor may have asked this launcher already,
        or not have found it yet, and starts what it finds missing.
        """
        if not boss.lives():
            return
        key = _key(message)
        name, generation = key
        refusal: dict[str, Any] = {"name": name, "generation": generation, "path": None}
        if len(fds) < len(message["fds"]):
            why = f"launcher has no descriptors left for the order of {name}"
            boss.tell("refused", step="order", errno=errno.EMFILE, message=why, **refusal)
            return
        given = dict(zip(message["fds"], fds, strict=True))
        order = given["order"]
        known = generation in self._ended.get(name, ())
        if self._retired or known or any(h.key == key for h in self._hands.values()):
            why = "retires" if self._retired else f"knows generation {generation} of {name} already"
            boss.tell("refused", step="order", errno=None, message=f"launcher {why}", **refusal)
            return
        words_fd = verdict = told = -1
        token = str(message.get("token") or "")
        try:
            step = "words"
            words_fd = words.open_words(token)
            if message.get("exec"):
                verdict, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            step = "mailbox"
            if "mailbox" in given:
                self._keep(name, given["mailbox"])
            gifts = birth.Gifts(
                order=order,
                mailbox=given.get("mailbox", -1),
                words=words_fd,
                stdout=given.get("stdout", -1),
                stderr=given.get("stderr", -1),
                verdict=told,
            )
            step = "fork"
            pid = self._fork(gifts)
            pidfd = _hold(pid)
        except OSError as ex:
            packets.discard([fd for fd in (words_fd, verdict) if fd >= 0])
            sentence = f"cannot {_DOING[step]} for {name}: {ex.strerror}"
            boss.tell("refused", step=step, errno=ex.errno, message=sentence, **refusal)
            return
        finally:
            packets.discard([told] if told >= 0 else [])
        born = kin.stat(pid)
        self._hands[pid] = one = _Hand(
            key=key,
            token=token,
            cgroup=message.get("cgroup"),
            pid=pid,
            pidfd=pidfd,
            words=words_fd,
            started_at=born.started_at if born else 0,
        )
        if verdict < 0:
            self._tell_born(one)
            return
        self._unsure[pid] = (verdict, time.monotonic() + UNSURE_S)
        self._epoll.register(verdict, select.EPOLLIN)

    def _tell_born(self, one: _Hand) -> None:
        self._tell("spawned", (one.pidfd, one.words), **self._facts(one))

    def _hear_verdicts(self, ready: Sequence[int]) -> None:
        """Tell which commands run by now, and those that may yet be refused after a long time."""
        now = time.monotonic()
        for pid, (verdict, until) in list(self._unsure.items()):
            if verdict in ready or until <= now:
                self._hear_verdict(pid)

    def _hear_verdict(self, pid: int) -> None:
        """Tell the birth of a command's process, unless it was refused: that is told at its end."""
        said = b""
        with contextlib.suppress(BlockingIOError):
            said = os.read(self._unsure[pid][0], len(birth.REFUSED))
        self._stop_listening(pid)
        if said == birth.REFUSED and self._boss is not None and self._boss.greeted:
            self._stillborn.add(pid)
        else:
            self._tell_born(self._hands[pid])

    def _stop_listening(self, pid: int) -> None:
        verdict, _ = self._unsure.pop(pid)
        self._epoll.unregister(verdict)
        os.close(verdict)

    def _fork(self, gifts: birth.Gifts) -> int:
        # In the child's first lines the one signal with a handler would still wake the launcher.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
        try:
            pid = os.fork()
            if pid == 0:
                self._let_go()
                birth.bear(gifts, self._ground)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        return pid

    def _let_go(self) -> None:
        """In the child: no object of the launcher may close, later, a number that is the hand's."""
        self._epoll.close()
        self._door.close()
        self._wakeup.close()
        if self._boss is not None:
            self._boss.sock.close()

    # ---------------------------------------------------------------- deaths

    def _mourn(self) -> None:
        """Sweep what each dead hand left, then reap it; reap strays."""
        with contextlib.suppress(BlockingIOError):
            while self._wakeup.recv(4096):
                pass
        strays = False
        while (pid := _dead()) is not None:
            one = self._hands.get(pid)
            if pid in self._unsure:
                self._hear_verdict(pid)
            swept = 0 if one is None else self._sweep_strays(one)
            _, status, usage = os.wait4(pid, 0)
            if one is None:
                strays = True
            elif pid in self._stillborn:
                self._bury_stillborn(one)
            else:
                self._remember(one, status, usage, swept)
        if strays:
            self._sweep_strays(None)

    def _remember(self, one: _Hand, status: int, usage: resource.struct_rusage, swept: int) -> None:
        name, generation = one.key
        signalled = os.WIFSIGNALED(status)
        facts: dict[str, Any] = {
            "name": name,
            "generation": generation,
            "token": one.token,
            "pid": one.pid,
            "started_at": one.started_at,
            "boot_id": self._boot_id,
            "code": None if signalled else os.waitstatus_to_exitcode(status),
            "signal": os.WTERMSIG(status) if signalled else None,
            "core": os.WCOREDUMP(status),
            "at": time.time(),
            "mono": time.monotonic(),
            "maxrss_kb": usage.ru_maxrss,
            "utime": usage.ru_utime,
            "stime": usage.ru_stime,
            "swept": swept,
        }
        del self._hands[one.pid]
        os.close(one.pidfd)
        ends = self._ended.setdefault(name, {})
        # What is on record waits for the first of these ends or for the latest; a boss that cannot
        # write and goes on ordering would have the others use up all descriptors.
        if len(ends) > 1:
            os.close(ends.popitem()[1][1])
        ends[generation] = (facts, one.words)
        self._tell("exit", **facts)

    def _bury_stillborn(self, one: _Hand) -> None:
        """Answer that a command was not executed: for the boss there never was a process."""
        name, generation = one.key
        self._stillborn.discard(one.pid)
        del self._hands[one.pid]
        os.close(one.pidfd)
        refusal = words.last_refusal(one.words)
        os.close(one.words)
        self._tell("refused", name=name, generation=generation, **refusal)

    def _sweep(self, _boss: door.Caller, message: dict[str, Any], _fds: list[int]) -> None:
        """Kill a hand with all that descends from it, or what is left if it is dead."""
        key = _key(message)
        one = next((one for one in self._hands.values() if one.key == key), None)
        if one is None:
            self._sweep_strays(None)
            return
        self._kill_cgroup(one)
        for victim in kin.tree(one.pid):
            kin.kill(victim)
        self._sweep_strays(one, dead=False)

    def _kill_cgroup(self, one: _Hand) -> None:
        if one.cgroup:
            kin.kill_cgroup(one.cgroup)

    def _sweep_strays(self, dying: _Hand | None, *, dead: bool = True) -> int:
        """Kill every orphan of the dying hand and of hands that died before; count them.

        Orphans of a hand that lives are its own affair. Who belongs to nobody is reported once
        and never killed.
        """
        if dying is not None and dead:
            self._kill_cgroup(dying)
        strays = [pid for pid in kin.children(os.getpid()) if pid not in self._hands]
        if not strays:
            self._sessions.clear()
            self._told.clear()
            return 0
        if dying is not None:
            self._sessions[dying.pid] = dying.key
        living = {one.key for one in self._hands.values() if one is not dying}
        killed = 0
        sessions: set[int] = set()
        for pid in strays:
            facts = kin.stat(pid)
            if facts is None or facts.state == "Z":
                continue
            sessions.add(facts.session)
            owner = self._owner(facts)
            if owner in living:
                continue
            if owner is not None:
                killed += sum(kin.kill(victim) for victim in kin.tree(pid))
            self._report(facts, owner)
        if not killed:  # else more may turn up as its parents die
            self._sessions = {s: key for s, key in self._sessions.items() if s in sessions}
        return killed

    def _owner(self, stray: kin.Stat) -> Key | None:
        """Return whose descendant an orphan is: by its session, else by its environment."""
        leader = self._hands.get(stray.session)
        if leader is not None:
            return leader.key
        return self._sessions.get(stray.session) or environ.identity(kin.environ(stray.pid))

    def _report(self, stray: kin.Stat, owner: Key | None) -> None:
        seen = (stray.pid, stray.started_at)
        if seen not in self._told:
            self._told.add(seen)
            self._tell("stray", pid=stray.pid, name=owner and owner[0], comm=stray.comm)


_DOING = {
    "words": "make room for last words",
    "mailbox": "keep the mailbox",
    "fork": "fork",
}
"""What the steps of a spawn do, in words."""

_OPS = {
    "hello": Launcher._hello,  # noqa: SLF001 - the table of the class above
    "listen": Launcher._listen_again,  # noqa: SLF001
    "hold": Launcher._hold,  # noqa: SLF001
    "drop": Launcher._drop,  # noqa: SLF001
    "spawn": Launcher._spawn,  # noqa: SLF001
    "forget": Launcher._forget,  # noqa: SLF001
    "sweep": Launcher._sweep,  # noqa: SLF001
    "retire": Launcher._retire,  # noqa: SLF001
    "quit": Launcher._leave,  # noqa: SLF001
}


def _hold(pid: int) -> int:
    """Return a pidfd of a child just born; one that cannot be held is ended, and the error told."""
    try:
        return os.pidfd_open(pid)  # nobody else reaps it, so it is surely this process
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _key(message: dict[str, Any]) -> Key:
    return str(message["name"]), int(message["generation"])


def _dead() -> int | None:
    """Return the pid of a child that has died and is not yet reaped."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _wakeup_socket() -> socket.socket:
    """Return what becomes readable when a child dies."""
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    ours.setblocking(False)
    kernels.setblocking(False)
    signal.set_wakeup_fd(kernels.detach(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return ours


# -------------------------------------------------------------------- becoming a launcher


def prepare(scratch: str, cgroup: str | None) -> birth.Ground:
    """Make this process one that hands can be forked from, and return what they must know."""
    if cgroup:
        kin.write(f"{cgroup}/cgroup.procs", b"0")
    with contextlib.suppress(PermissionError):
        os.setsid()  # it leads one already if a boss started it
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become a child subreaper")
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (nofile[1], nofile[1]))
    kin.write("/proc/self/comm", packets.LAUNCHER)
    mark, title = _own_blocks()
    pythonpath = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for name in environ.unwanted(tuple(os.environ)):
        del os.environ[name]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    for _ in range(WARM_TURNS):
        hand.warm_up(scratch)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    handled = {number for number in signal.valid_signals() if _handled(number)} | {signal.SIGCHLD}
    sys.path_importer_cache.clear()
    # What lives now lives as long as the launcher: no collection, here or in a hand, need look
    # at it again, and so none touches pages that all hands share.
    gc.collect()
    gc.disable()
    sharing.make_immortal(gc.get_objects())
    _kept.extend(sharing.fill_gaps())
    sharing.fill_heap()
    gc.freeze()
    return birth.Ground(
        nofile=nofile,
        sys_path=tuple(entry for entry in sys.path if entry and entry not in pythonpath),
        handled=tuple(sorted(handled)),
        mark=mark,
        title=title,
    )


def _handled(number: int) -> bool:
    unchangeable = number in (signal.SIGKILL, signal.SIGSTOP)
    return not unchangeable and signal.getsignal(number) not in (signal.SIG_DFL, None)


def _own_blocks() -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return address and room of the mark in the environment block, and of the command line."""
    fields = kin.read("/proc/self/stat").rpartition(b")")[2].split()
    args, args_end = int(fields[_ARGS]), int(fields[_ARGS + 1])
    title = (args, args_end - args) if args else None
    block = kin.environ(os.getpid())
    start = block.find(f"{packets.MARK}=".encode())
    if start < 0 or not int(fields[_ENV]):
        return None, title
    room = block.index(b"\0", start) - start
    return (int(fields[_ENV]) + start, room), title


def main(argv: Sequence[str]) -> int:
    """Be a launcher until nothing is left to do; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hiod launcher")
    parser.add_argument("--runtime", required=True, help="the boss's runtime directory")
    parser.add_argument("--id", required=True, help="name of this launcher's socket")
    parser.add_argument("--fd", type=int, help="inherited connection of the boss that started it")
    parser.add_argument("--cgroup", help="directory of the cgroup to move to")
    args = parser.parse_args(argv)
    inherited.fill_stdio()
    faulthandler.enable()
    with packets.near(f"{args.runtime}/launcher/{args.id}") as scratch:
        ground = prepare(scratch, args.cgroup)
    launcher = Launcher(args.runtime, args.id, ground)
    if args.fd is not None:
        os.set_inheritable(args.fd, False)
        launcher.adopt(socket.socket(fileno=args.fd))
    launcher.run()
    return 0
