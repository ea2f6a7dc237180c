"""A launcher's door: the socket at which bosses knock, and the connection to the one let in.

Decides who is turned away for who they are; whether there is room for another is left to the
launcher. Invariants: the path is there only while connecting to it succeeds; nothing here waits for
a boss, neither to read nor to write.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from hiod.host import packets

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_QUEUED = 10_000
"""Packets waiting for a boss that does not read; no order is taken while there are more."""


class Door:
    """The listener and its path.

    Args:
        path: where bosses look for it.

    Raises:
        OSError: it cannot be bound there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._sock, self._key = _listen(path)

    def fileno(self) -> int:
        """Return the descriptor that is readable when somebody knocks."""
        return self._sock.fileno()

    def answer(self) -> socket.socket | None:
        """Return the connection of who knocks, if it may command a launcher of this user."""
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return None  # it has gone away again
        uid = peer(sock)[1]
        if uid not in (0, os.geteuid()):
            turn_away(sock, f"uid {uid} may not command this launcher")
            return None
        return sock

    def stands(self) -> bool:
        """Whether whoever looks for the path finds this door."""
        try:
            return _key(self._path) == self._key
        except OSError:
            return False

    def renew(self) -> None:
        """Bind anew after somebody removed the path; `fileno` is another one then.

        Raises:
            OSError: it cannot be bound there; the old listener stays.
        """
        fresh, key = _listen(self._path)
        self._sock.close()
        self._sock, self._key = fresh, key

    def close(self) -> None:
        """Close the listener; the path stays."""
        self._sock.close()

    def remove(self) -> None:
        """Take the path away; if that may not be, the next boss finds nobody behind it."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)  # noqa: PTH108 - see `kin.read`


class Caller:
    """The connection to a boss that was let in, and the packets it has not taken yet.

    Attributes:
        sock: the connection.
        greeted: it has asked for what there is, so it may be told what happens.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.greeted = False
        pid = peer(sock)[0]
        try:
            self.pidfd = os.pidfd_open(pid)
        except (OSError, ValueError):
            self.pidfd = -1  # of another pid namespace, or gone: then EOF has to tell
        self._unsent: deque[tuple[bytes, list[int]]] = deque()

    @property
    def overloaded(self) -> bool:
        """Whether it reads so little that no order of it is taken."""
        return len(self._unsent) > MAX_QUEUED

    def lives(self) -> bool:
        """Whether anybody is there to hear; what a dead boss has said may still be unread."""
        poll = select.poll()
        poll.register(self.sock, 0)  # only its end, which is told unasked
        if self.pidfd >= 0:
            poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(0)

    def tell(self, op: str, fds: Sequence[int] = (), **facts: Any) -> None:
        """Send one packet, or keep it (and copies of its descriptors) until there is room."""
        payload = packets.pack({"op": op, **facts})
        if not self._unsent and self._sent(payload, fds):
            return
        self._unsent.append((payload, [os.dup(fd) for fd in fds]))

    def flush(self) -> None:
        """Send what it had no room for, as far as it has now."""
        while self._unsent and self._sent(*self._unsent[0]):
            packets.discard(self._unsent.popleft()[1])

    def _sent(self, payload: bytes, fds: Sequence[int]) -> bool:
        try:
            packets.send(self.sock, payload, fds)
        except BlockingIOError:
            return False
        except OSError as ex:
            # Too many descriptors under way is a full queue by another name. All else means
            # that the boss is gone: reading will say so, and the next one gets a replay.
            return ex.errno != packets.TOO_MANY_UNDER_WAY
        return True

    def close(self) -> None:
        """Let go of it and of what it has not taken."""
        self.sock.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
        for _, fds in self._unsent:
            packets.discard(fds)
        self._unsent.clear()


def peer(sock: socket.socket) -> tuple[int, int]:
    """Return pid and uid of the other side, as the kernel knows them."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid


def turn_away(sock: socket.socket, why: str) -> None:
    """Say why somebody is not served, and close."""
    with contextlib.suppress(OSError):
        packets.send(sock, packets.pack({"op": "busy", "message": why}))
    sock.close()


def _key(path: str) -> tuple[int, int]:
    """Return what tells one file from every other that is at the same path later."""
    facts = os.stat(path)  # noqa: PTH116 - see `kin.read`
    return facts.st_dev, facts.st_ino


def _listen(path: str) -> tuple[socket.socket, tuple[int, int]]:
    """Return the listener, at its path only once connecting to it succeeds, and its file's key."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    fresh = f"{path}{packets.UNFINISHED}"
    umask = os.umask(0o177)
    try:
        with packets.near(fresh) as address:
            sock.bind(address)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(umask)
    sock.listen(8)
    sock.setblocking(False)
    key = _key(fresh)
    # Whoever finds the path refusing takes its owner for dead and unlinks it.
    os.rename(fresh, path)  # noqa: PTH104 - see `kin.read`
    return sock, key
