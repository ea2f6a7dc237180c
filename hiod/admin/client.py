"""The blocking end of the admin socket, for hiodctl and for tests.

Decides where the boss's socket is looked for, how long an answer may take, and which sentence
a person reads when there is none.  Leaves what is asked and what answers mean to its caller.
Invariant: one request is out at a time; a reply is never taken for the answer to another request,
because a connection on which one was given up is closed.

Imports the standard library only and little of it: `hiodctl list` spends most of its time here.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import struct
import time
from typing import TYPE_CHECKING, Any, Literal, overload

from hiod.errors import AdminError, HiodError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

SYSTEM_SOCKET = "/run/hiod/admin.sock"
PREFIX = "io.hiod.Boss."
CHUNK_BYTES = 65536
ANSWER_S = 10.0


class NoBoss(HiodError):  # noqa: N818 - named for the state it reports
    """Nobody answers where the boss was looked for; the message says where, and who else is."""


class NoAnswer(HiodError):  # noqa: N818 - named for the state it reports
    """A boss is there and did not answer in time."""


class NotAllowed(HiodError):  # noqa: N818 - named for the state it reports
    """The system does not let this user connect; the message says who may."""


def find_socket(
    given: str | None, *, user: bool, environ: Mapping[str, str], uid: int
) -> tuple[str, str]:
    """Say which socket to use, and why that one.

    Returns:
        The path, and what named it: ``--socket``, ``$HIOD_SOCKET``, ``--user`` or ``system``.
    """
    if given:
        return given, "--socket"
    if user:
        return user_socket(environ, uid), "--user"
    if environ.get("HIOD_SOCKET"):
        return environ["HIOD_SOCKET"], "$HIOD_SOCKET"
    return SYSTEM_SOCKET, "system"


def user_socket(environ: Mapping[str, str], uid: int) -> str:
    """Say where a boss of this user's own would listen."""
    # Without a session the boss, too, falls back to a directory of the user's own on /tmp.
    run = environ.get("XDG_RUNTIME_DIR") or f"/tmp/hiod-{uid}"  # noqa: S108 - the boss's fallback
    return f"{run}/hiod/admin.sock"


class Client:
    """One connection to a boss, made at the first call.

    Parameters:
        path: of the boss's admin socket.
        timeout_s: how long one answer may take, on top of the ``timeout_s`` a request carries
            itself (a request that waits for a hand is answered when the hand is there).
    """

    def __init__(self, path: str | os.PathLike[str], timeout_s: float = ANSWER_S) -> None:
        self.path = os.fspath(path)
        self.timeout_s = timeout_s
        self._sock: socket.socket | None = None
        self._buffer = bytearray()
        self._streaming = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next call connects anew."""
        sock, self._sock = self._sock, None
        self._buffer.clear()
        self._streaming = False
        if sock is not None:
            sock.close()

    @overload
    def call(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        more: Literal[False] = ...,
    ) -> dict[str, Any]: ...

    @overload
    def call(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        more: Literal[True],
        within_s: float | None = ...,
        silence_s: float | None = ...,
    ) -> Iterator[dict[str, Any]]: ...

    def call(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        more: bool = False,
        within_s: float | None = None,
        silence_s: float | None = None,
    ) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """Ask and wait for the answer, or with ``more`` for each of a stream of answers.

        A stream ends with its last answer, and with NoAnswer after ``within_s`` seconds in all, or
        ``silence_s`` without an answer (None: never); leaving it early closes the connection.

        Raises:
            AdminError: the boss refused; ``code`` is short (``NoSuchHand``).
            NoBoss: nobody listens at the path, or the boss went away before it answered.
            NoAnswer: no answer in time.
            NotAllowed: the system refused the connection.
        """
        if self._streaming:
            self.close()
        asked = dict(parameters or {})
        patience_s = self.timeout_s + float(asked.get("timeout_s") or 0)
        message: dict[str, Any] = {"method": method, "parameters": asked}
        if more:
            message["more"] = True
        self._send(json.dumps(message, separators=(",", ":")).encode() + b"\n", patience_s)
        if more:
            self._streaming = True
            return self._replies(method, within_s, silence_s)
        return self._answer(self._receive(method, patience_s))

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait until the boss hangs up; say whether it did.  Unread answers are thrown away."""
        until_at = time.monotonic() + timeout_s
        while self._sock is not None:
            left_s = until_at - time.monotonic()
            if left_s <= 0:
                return False
            self._sock.settimeout(left_s)
            try:
                if not self._sock.recv(CHUNK_BYTES):
                    self.close()
            except TimeoutError:
                return False
            except ConnectionError:
                self.close()
        return True

    def _replies(
        self, method: str, within_s: float | None, silence_s: float | None
    ) -> Iterator[dict[str, Any]]:
        whole = False
        until_at = None if within_s is None else time.monotonic() + within_s
        try:
            while True:
                left_s = silence_s
                if until_at is not None:
                    left_s = max(until_at - time.monotonic(), 0.0)
                    left_s = left_s if silence_s is None else min(left_s, silence_s)
                reply = self._receive(method, left_s)
                if not reply.get("continues"):
                    # Said before the last one is handed out: its reader may not come back.
                    whole, self._streaming = True, False
                yield self._answer(reply)
                if whole:
                    return
        finally:
            if not whole:
                self.close()

    def _send(self, message: bytes, patience_s: float) -> None:
        fresh = self._sock is None
        sock = self._connected()
        sock.settimeout(patience_s)
        try:
            sock.sendall(message)
        except TimeoutError as ex:
            self.close()
            raise NoAnswer(
                f"the boss at {self.path} took in no request for {patience_s:g} s"
            ) from ex
        except ConnectionError as ex:
            self.close()
            if fresh:
                raise NoBoss(f"the boss at {self.path} hung up before it was asked") from ex
            # A boss that was restarted since the last answer has seen nothing of this one.
            self._send(message, patience_s)

    def _connected(self) -> socket.socket:
        if self._sock is None:
            self._sock = connect(self.path, self.timeout_s)
        return self._sock

    def _receive(self, method: str, patience_s: float | None) -> dict[str, Any]:
        until_at = None if patience_s is None else time.monotonic() + patience_s
        scanned = 0
        while (end := self._buffer.find(b"\n", scanned)) < 0:
            scanned = len(self._buffer)
            chunk = self._read(method, until_at, patience_s)
            if not chunk:
                self.close()
                raise NoBoss(
                    f"the boss at {self.path} went away before it answered {method};"
                    " whether it did what was asked is not known"
                )
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            reply = json.loads(line)
        except ValueError as ex:
            self.close()
            raise NoBoss(
                f"what listens at {self.path} is not a boss: it answered {line[:60]!r}"
            ) from ex
        if not isinstance(reply, dict):
            self.close()
            raise NoBoss(f"what listens at {self.path} is not a boss: it answered {line[:60]!r}")
        return reply

    def _read(self, method: str, until_at: float | None, patience_s: float | None) -> bytes:
        sock = self._connected()
        try:
            # At least a millisecond: a timeout of 0 would mean non-blocking.
            sock.settimeout(None if until_at is None else max(until_at - time.monotonic(), 0.001))
            return sock.recv(CHUNK_BYTES)
        except TimeoutError as ex:
            self.close()
            raise NoAnswer(
                f"the boss at {self.path} did not answer {method} within {patience_s:g} s"
            ) from ex
        except ConnectionError:
            return b""

    @staticmethod
    def _answer(reply: dict[str, Any]) -> dict[str, Any]:
        parameters = reply.get("parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        if "error" in reply:
            message = parameters.pop("message", "")
            raise AdminError(str(reply["error"]).removeprefix(PREFIX), message, **parameters)
        return parameters


def connect(path: str, timeout_s: float) -> socket.socket:
    """Connect to a boss, waiting while its queue of new connections is full.

    Raises:
        NoBoss, NoAnswer, NotAllowed: as `Client.call`.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # The kernel's own timeout: one set by settimeout turns a full queue into an instant EAGAIN.
        seconds, rest = divmod(timeout_s, 1)
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds), int(rest * 1e6))
        )
        sock.connect(path)
    except OSError as ex:
        sock.close()
        raise _refused(path, timeout_s, ex) from ex
    return sock


def _refused(path: str, timeout_s: float, ex: OSError) -> HiodError:
    """Say in a sentence why no connection was made."""
    if isinstance(ex, BlockingIOError):
        return NoAnswer(f"the boss at {path} accepted no connection within {timeout_s:g} s")
    if isinstance(ex, PermissionError):
        return NotAllowed(_not_allowed(path))
    return NoBoss(f"no boss at {path}: {_what_is_there(path, ex)}{_elsewhere(path)}")


def _what_is_there(path: str, ex: OSError) -> str:
    """Say what stands where a boss was looked for."""
    if ex.errno is None:  # Python's own refusal, before the system was asked
        return f"a socket's path has 107 bytes at most, this one has {len(os.fsencode(path))}"
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - as in _not_allowed
    except OSError as other:
        above = os.path.dirname(path)  # noqa: PTH120 - as in _not_allowed
        if above and not os.path.isdir(above):  # noqa: PTH112 - as in _not_allowed
            return f"there is no directory {above}"
        missing = isinstance(other, FileNotFoundError)
        return "there is no such socket" if missing else other.strerror or str(other)
    if kind != stat.S_IFSOCK:
        return "that is a directory" if kind == stat.S_IFDIR else "that is a file, no socket"
    return {
        errno.EPROTOTYPE: "that socket takes memos; commands go to admin.sock",
        errno.ECONNREFUSED: "the socket is there and nobody listens",
    }.get(ex.errno) or str(ex.strerror)


def _elsewhere(path: str) -> str:
    """Name the bosses at the usual places that were not asked, and how to ask them."""
    usual = {
        SYSTEM_SOCKET: "without --user" if not os.environ.get("HIOD_SOCKET") else "--socket",
        user_socket(os.environ, os.getuid()): "with --user",
        os.environ.get("HIOD_SOCKET", path): "$HIOD_SOCKET",
    }
    found = [f"{other} ({how})" for other, how in usual.items() if other != path and _hears(other)]
    if found:
        return f"; a boss listens at {' and at '.join(found)}"
    if path == SYSTEM_SOCKET:
        return "; start one with systemctl start hiod, or python -m hiod run"
    if path == user_socket(os.environ, os.getuid()):
        return "; start one with systemctl --user start hiod, or hiod run --user"
    return ""


def _hears(path: str) -> bool:
    """Whether somebody listens at a socket, be it to us or not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except (BlockingIOError, PermissionError):
            return os.access(path, os.F_OK)
        except OSError:
            return False
    return True


def _not_allowed(path: str) -> str:
    """Say who asks and which group would let them in."""
    import grp  # noqa: PLC0415 - only for this sentence
    import pwd  # noqa: PLC0415 - only for this sentence

    uid = os.geteuid()
    try:
        who = pwd.getpwuid(uid).pw_name
    except KeyError:
        who = "nobody known"
    try:
        gid = os.stat(path).st_gid  # noqa: PTH116 - pathlib would cost every hiodctl milliseconds
    except OSError:
        return f"{who} (uid {uid}) may not reach {path}: a directory above it is closed to you"
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    if gid == 0:
        return f"{who} (uid {uid}) may not connect to {path}: it is root's alone; ask as root"
    if gid == os.getegid() or gid in os.getgroups():
        return (
            f"{who} (uid {uid}) may not connect to {path}, which its mode closes to group {group}"
        )
    return (
        f"{who} (uid {uid}) may not connect to {path}: that takes group {group};"
        f" an administrator can add you (usermod -aG {group} {who}), then log in anew"
    )
