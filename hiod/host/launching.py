"""The boss's side of a launcher: start one, find the living ones, order, take what happened.

Acts and translates; decides nothing about hands. Invariants: nothing here blocks, except that
starting a process takes what it takes; what a launcher sends never raises; descriptors inside an
event belong to whoever took the event.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiod.errors import LauncherError, SpawnError
from hiod.host import packets
from hiod.host.packets import BAD_START, DUMP_SIGNAL

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence


__all__ = [
    "BAD_START",
    "DUMP_SIGNAL",
    "Event",
    "Exited",
    "Gone",
    "Held",
    "Hello",
    "Launcher",
    "Living",
    "Refused",
    "Replayed",
    "Spawned",
    "Stray",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something a launcher said."""

    launcher: str
    """Id of the launcher."""


@dataclass(frozen=True, slots=True)
class Hello(Event):
    """It speaks the protocol; a replay follows."""

    v: int
    pid: int
    python: str
    version: str
    hands: int


@dataclass(frozen=True, slots=True)
class Held(Event):
    """It holds this socket for us: ``boss`` or the name of a mailbox."""

    what: str
    fd: int
    """-1 if this process had no room for it."""


@dataclass(frozen=True, slots=True)
class Living(Event):
    """A hand of an earlier connection lives (replay)."""

    name: str
    generation: int
    token: str
    pid: int
    started_at: int
    """Clock ticks since boot (field 22 of /proc/PID/stat)."""
    boot_id: str
    pidfd: int
    """-1 if this process had no room for it; so for ``words``."""
    words: int
    """Memfd of the last words: read by pread, may be truncated."""


@dataclass(frozen=True, slots=True)
class Spawned(Event):
    """A hand was forked; its fields mean what `Living`'s do."""

    name: str
    generation: int
    pid: int
    started_at: int
    boot_id: str
    pidfd: int
    words: int


@dataclass(frozen=True, slots=True)
class Refused(Event):
    """No hand came of an order: it could not be forked, or a command not be executed."""

    name: str
    generation: int
    step: str
    errno: int | None
    path: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Exited(Event):
    """A hand ended; said again to each boss until `Launcher.forget`."""

    name: str
    generation: int
    token: str
    pid: int
    started_at: int
    boot_id: str
    code: int | None
    """Exit code, None if a signal ended it."""
    signal: int | None
    core: bool
    at: float
    """Wall time, seconds since the epoch."""
    mono: float
    """CLOCK_MONOTONIC, seconds."""
    maxrss_kb: int
    utime: float
    stime: float
    swept: int
    """Processes it left behind and that were killed with it; a cgroup's are not counted."""
    words: int
    """The last words, in a replay only; else -1: `Spawned` or `Living` brought them."""


@dataclass(frozen=True, slots=True)
class Stray(Event):
    """An orphan of a hand that ended: killed if ``name`` is known, else only reported."""

    pid: int
    name: str | None
    comm: str


@dataclass(frozen=True, slots=True)
class Replayed(Event):
    """The replay is over; what follows is news."""


@dataclass(frozen=True, slots=True)
class Gone(Event):
    """The last event: the launcher is gone, or refused this boss. Its hands may well live."""

    code: int | None
    """Exit code if we started it; None if unknown or ended by a signal."""
    signal: int | None
    why: str
    busy: bool = False
    """It lives, and has another boss."""


UNFINISHED_S = 10.0
"""A socket nobody listens at yet that is older than this: its launcher was killed in between."""


def sockets(runtime_dir: str) -> list[Path]:
    """Return the sockets of a runtime directory's launchers, and nothing else that lies there."""
    found = Path(runtime_dir, "launcher").glob("*.sock")
    return sorted(path for path in found if path.is_socket())


class Launcher:
    """One launcher process, seen by a boss.

    Attributes:
        id: names its socket.
        pid: of the launcher process.
        python: its interpreter; empty until `Hello` of one that was found.
        version: of the hiod it runs; empty until `Hello`.
    """

    def __init__(
        self, ident: str, sock: socket.socket, *, pid: int, python: str = "", child: int = -1
    ) -> None:
        """Speak to a launcher over a connected socket; use `start` or `find`.

        Args:
            ident: its id.
            sock: the connection, owned from now on.
            pid: of the launcher.
            python: its interpreter.
            child: a pidfd of it, owned from now on, if it is our child; its end is then reaped.
        """
        self.id = ident
        self.pid = pid
        self.python = python
        self.version = ""
        self._sock = sock
        self._child = child
        self._connected = True
        self._greeted = False
        self._over = False
        self._refusal = ""
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._epoll = select.epoll()
        self._epoll.register(sock, select.EPOLLIN)
        if child >= 0:
            self._epoll.register(child, select.EPOLLIN)
        self._send({"op": "hello", "v": packets.VERSION})

    @classmethod
    def start(
        cls,
        runtime_dir: str,
        python: str | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        cgroup: str | None = None,
    ) -> Launcher:
        """Start a launcher and return at once; orders may be given before it is up.

        Args:
            runtime_dir: the boss's; ``launcher/`` in it is made, 0700, if it is missing.
            python: interpreter to start, this process's own if None.
            environ: environment of the launcher and so of its hands, ours if None.
            cgroup: directory of the cgroup it moves to.

        Raises:
            SpawnError: the system refuses to start that interpreter.
        """
        program = python or sys.executable
        with contextlib.ExitStack() as undo:
            try:
                return cls._start(undo, runtime_dir, program, environ, cgroup)
            except OSError as ex:
                raise SpawnError(
                    f'cannot start python "{program}": {ex.strerror}',
                    step="launcher",
                    errno=ex.errno,
                    path=program,
                ) from ex

    @classmethod
    def _start(
        cls,
        undo: contextlib.ExitStack,
        runtime_dir: str,
        program: str,
        environ: Mapping[str, str] | None,
        cgroup: str | None,
    ) -> Launcher:
        """Start a launcher; what was made before something refused is for ``undo``."""
        ident = os.urandom(5).hex()
        with contextlib.suppress(FileExistsError):
            Path(runtime_dir, "launcher").mkdir(0o700)
        ours, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
        )
        undo.callback(ours.close)
        argv = [program, "-P", "-m", "hiod", "launcher", "--runtime", runtime_dir, "--id", ident]
        argv += ["--fd", str(theirs.fileno())]
        if cgroup:
            argv += ["--cgroup", cgroup]
        room = packets.MARK_BYTES - len(packets.MARK) - 1
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - an argv of our own making
                argv,
                stdin=subprocess.DEVNULL,
                env={**(os.environ if environ is None else environ), packets.MARK: "." * room},
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
        undo.callback(process.wait)
        undo.callback(process.kill)  # nobody will ever speak to it
        child = os.pidfd_open(process.pid)
        undo.callback(os.close, child)
        found = cls(ident, ours, pid=process.pid, python=program, child=child)
        undo.pop_all()
        process.returncode = 0  # the pidfd tells its end, and `take` reaps it
        return found

    @classmethod
    def find(cls, runtime_dir: str, *, only: Container[str] | None = None) -> list[Launcher]:
        """Connect to every living launcher of a runtime directory; unlink dead ones' sockets.

        Args:
            runtime_dir: the boss's.
            only: the ids to look for, all if None.

        Raises:
            OSError: there is no descriptor left to ask one with; then none is asked.
        """
        found = []
        for path in Path(runtime_dir, "launcher").glob(f"*.sock{packets.UNFINISHED}"):
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > UNFINISHED_S:
                    path.unlink()
        with contextlib.ExitStack() as undo:
            for path in sockets(runtime_dir):
                if only is not None and path.stem not in only:
                    continue
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
                sock.setblocking(False)
                try:
                    with packets.near(str(path)) as address:
                        sock.connect(address)
                    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                except ConnectionRefusedError:
                    sock.close()
                    # Nobody listens nor ever will: ids are not reused. One that stays is harmless.
                    with contextlib.suppress(OSError):
                        path.unlink()
                except OSError:
                    sock.close()  # gone between listing and connecting, or its door is crowded
                else:
                    one = cls(path.stem, sock, pid=struct.unpack("3i", raw)[0])
                    undo.callback(one.close)
                    found.append(one)
            undo.pop_all()
        return found

    def __repr__(self) -> str:
        return f"Launcher({self.id!r}, pid={self.pid})"

    def fileno(self) -> int:
        """Return one descriptor, readable whenever `take` or `flush` has something to do."""
        return self._epoll.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether orders wait for the launcher to read; `fileno` covers that as well."""
        return bool(self._unsent)

    def spawn(
        self, order: Mapping[str, Any], mailbox: int = -1, *, stdout: int = -1, stderr: int = -1
    ) -> None:
        """Order a hand; answered by `Spawned` or `Refused`.

        Args:
            order: everything resolved; it travels in a memfd, whatever its size.
            mailbox: its bound datagram socket, or -1. Remains the caller's, like the others.
            stdout: where ``log = "inherit"`` goes, the launcher's own if -1.
            stderr: like stdout.

        Raises:
            LauncherError: the launcher is gone.
            SpawnError: the order cannot be written down.
        """
        try:
            memfd = os.memfd_create("hiod-order")
        except OSError as ex:
            raise SpawnError(
                f"cannot write the order for {order['name']}: {ex.strerror}",
                step="order",
                errno=ex.errno,
            ) from ex
        try:
            with open(memfd, "wb", closefd=False) as file:
                file.write(packets.pack(dict(order)))
            given = {"order": memfd, "mailbox": mailbox, "stdout": stdout, "stderr": stderr}
            given = {what: fd for what, fd in given.items() if fd >= 0}
            header = {what: order.get(what) for what in ("name", "generation", "token", "cgroup")}
            header["exec"] = bool(order.get("command"))
            self._send({"op": "spawn", **header, "fds": list(given)}, tuple(given.values()))
        finally:
            os.close(memfd)

    @property
    def name(self) -> str:
        """Name of its socket."""
        return f"{self.id}.sock"

    def listen(self) -> None:
        """Let it bind its own socket again, which somebody has removed."""
        self._send({"op": "listen"})

    def hold(self, what: str, fd: int) -> None:
        """Let it keep a copy of a socket under a name, in place of what it kept there."""
        self._send({"op": "hold", "what": what}, (fd,))

    def drop(self, what: str) -> None:
        """Let it close the copy it kept under a name."""
        self._send({"op": "drop", "what": what})

    def forget(self, name: str, generation: int) -> None:
        """Say that this exit is recorded."""
        self._send({"op": "forget", "name": name, "generation": generation})

    def sweep(self, name: str, generation: int) -> None:
        """Let it kill a hand and all that is left of it."""
        self._send({"op": "sweep", "name": name, "generation": generation})

    def retire(self, *, over: bool = False) -> None:
        """Let it end as soon as it has no hands; unless all is ``over``, nor exits to report."""
        self._send({"op": "retire", "over": over})

    def kill(self) -> None:
        """End it at once, with what its interpreter has started, if this process started it.

        For one that has not become a launcher: it can have no hands.
        """
        if self._child >= 0:
            # Unreaped as it is, its number is still its own, and so is its group's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def quit(self) -> None:
        """Let it end now; its hands live on."""
        self._send({"op": "quit"})

    def flush(self) -> None:
        """Send what the launcher had no room for; `take` does it too."""
        while self._connected and self._unsent:
            payload, fds = self._unsent[0]
            if not self._sent(payload, fds):
                return
            packets.discard(self._unsent.popleft()[1])
            if not self._unsent:
                self._epoll.modify(self._sock, select.EPOLLIN)

    def take(self) -> list[Event]:
        """Return what happened since the last call, in order; never blocks, never raises."""
        self.flush()
        events: list[Event] = []
        while self._connected:
            try:
                payload, fds = packets.receive(self._sock)
            except BlockingIOError:
                break
            except OSError:
                payload, fds = b"", []
            if not payload:
                packets.discard(fds)
                self._disconnect()
                break
            event = self._read(packets.unpack(payload), fds)
            if event is not None:
                events.append(event)
        gone = self._gone()
        return events if gone is None else [*events, gone]

    def close(self) -> None:
        """Let go of the connection; the launcher goes on."""
        self._disconnect()
        self._over = True
        if self._child >= 0:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
            os.close(self._child)
            self._child = -1
        self._epoll.close()

    # ---------------------------------------------------------------- inside

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        if not self._connected:
            raise LauncherError(f"launcher {self.id} (pid {self.pid}) is gone")
        payload = packets.pack(message)
        if not self._unsent and self._sent(payload, fds):
            return
        copies: list[int] = []
        try:
            copies.extend(map(os.dup, fds))
        except OSError as ex:
            packets.discard(copies)
            why = f"launcher {self.id} (pid {self.pid}) cannot be told now: {ex.strerror}"
            raise LauncherError(why) from ex
        if not self._unsent:
            self._epoll.modify(self._sock, select.EPOLLIN | select.EPOLLOUT)
        self._unsent.append((payload, copies))

    def _sent(self, payload: bytes, fds: Sequence[int]) -> bool:
        """Whether this is off our hands: sent, or pointless because nobody is there."""
        try:
            packets.send(self._sock, payload, fds)
        except BlockingIOError:
            return False
        except OSError as ex:
            return ex.errno != packets.TOO_MANY_UNDER_WAY  # `take` meets the end of the connection
        return True

    def _disconnect(self) -> None:
        if self._connected:
            self._connected = False
            self._epoll.unregister(self._sock)
            self._sock.close()
            for _, fds in self._unsent:
                packets.discard(fds)
            self._unsent.clear()

    def _gone(self) -> Gone | None:
        """Return the last event once it is certain; our own child's exit status is waited for."""
        if self._connected or self._over:
            return None
        code = number = None
        if self._child >= 0:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, 0  # somebody else reaped it
            if not pid and not self._refusal:
                return None
            if pid and os.WIFSIGNALED(status):
                number = os.WTERMSIG(status)
            elif pid:
                code = os.WEXITSTATUS(status)
            self._epoll.unregister(self._child)
            os.close(self._child)
            self._child = -1
        self._over = True
        why = self._refusal or self._why(code, number)
        return Gone(self.id, code, number, why, busy=bool(self._refusal))

    def _why(self, code: int | None, number: int | None) -> str:
        if number:
            return f"killed by signal {number}"
        if code and not self._greeted:
            return (
                f'"{self.python}" ended with exit code {code} before it could launch anything;'
                " is hiod installed there?"
            )
        return f"ended with exit code {code}" if code else "ended"

    def _read(self, message: dict[str, Any] | None, fds: list[int]) -> Event | None:
        """Translate one packet; what is not understood is skipped, its descriptors closed."""
        if message and message.get("op") == "bad" and message.get("what") == "spawn":
            message |= {"op": "refused", "step": "order", "errno": None, "path": None}
        if message and message.get("op") == "busy":
            self._refusal = str(message.get("message"))
        make = _EVENTS.get(str(message.get("op"))) if message else None
        if message is None or make is None:
            packets.discard(fds)
            return None
        wanted = _FDS.get(make, ())
        for what, fd in zip(wanted, fds, strict=False):
            message[what] = fd
        packets.discard(fds[len(wanted) :])
        for what in wanted[len(fds) :]:
            message[what] = -1
        if make is Hello:
            self._greeted = True
            self.python = str(message.get("python"))
            self.version = str(message.get("version"))
        try:
            fields = {name: message[name] for name in make.__dataclass_fields__ if name in message}
            event: Event = make(**{**fields, "launcher": self.id})
        except TypeError:
            packets.discard(fds[: len(wanted)])  # a field is missing: not what it says it is
            return None
        return event


_EVENTS: dict[str, type[Any]] = {
    "hello": Hello,
    "held": Held,
    "hand": Living,
    "spawned": Spawned,
    "refused": Refused,
    "exit": Exited,
    "stray": Stray,
    "replayed": Replayed,
}

_FDS: dict[type[Any], tuple[str, ...]] = {
    Held: ("fd",),
    Living: ("pidfd", "words"),
    Spawned: ("pidfd", "words"),
    Exited: ("words",),
}
