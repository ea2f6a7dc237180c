"""What hands say by NOTIFY_SOCKET, and whether they answer at an address.

Decides how one datagram of sd_notify(3) is read and how one attempt to connect is made. Leaves to
others who may say what and when to try. Invariant: nothing here blocks, looks a name up or keeps a
descriptor that a hand sent.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple, Self

from hiod.core.uxd.uxding import bindMailbox

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Ear", "Knock", "Notice", "doors"]

MOST_BYTES = 4096  # of one datagram; systemd's own limit
_CRED = struct.Struct("3i")
# Room for credentials and one descriptor, BARRIER's; the kernel closes what does not fit.
_ROOM = socket.CMSG_SPACE(_CRED.size) + socket.CMSG_SPACE(4)


class Notice(NamedTuple):
    """One datagram.

    Attributes:
        pid, uid: of the sender, as the kernel knows it.
        fields: what it says: ``{"READY": "1"}``.
    """

    pid: int
    uid: int
    fields: dict[str, str]


class Ear:
    """One hand's NOTIFY_SOCKET, at the boss's end.

    Args:
        path: where it is bound.
        fd: the bound socket, if it exists already; it becomes this object's.

    Raises:
        SizeError: the path is too long for a socket.
        OSError: it cannot be bound there.
    """

    def __init__(self, path: str, fd: int | None = None) -> None:
        self.path = path
        self._sock = bindMailbox(path) if fd is None else socket.socket(fileno=fd)
        self._barriers: list[int] = []

    def fileno(self) -> int:
        """Return the descriptor that is readable when the hand has said something."""
        return self._sock.fileno()

    def take(self, most: int) -> list[Notice | None]:
        """Return what has been said, at most so many; None for what cannot be understood.

        Whoever waits for the barrier behind it goes on waiting until :meth:`answer`, so that a
        sender can still be looked up.
        """
        taken: list[Notice | None] = []
        while len(taken) < most:
            try:
                data, control, flags, _ = self._sock.recvmsg(
                    MOST_BYTES, _ROOM, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                break
            taken.append(self._read(data, control, cut=bool(flags & socket.MSG_TRUNC)))
        return taken

    def _read(
        self, data: bytes, control: list[tuple[int, int, bytes]], *, cut: bool
    ) -> Notice | None:
        cred = None
        for level, kind, payload in control:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_CREDENTIALS:
                cred = _CRED.unpack(payload[: _CRED.size])
            elif kind == socket.SCM_RIGHTS:
                count = len(payload) // 4
                self._barriers += struct.unpack(f"{count}i", payload[: count * 4])
        if cut or cred is None:
            return None
        lines = data.decode("utf-8", "replace").split("\n")
        fields = dict(line.split("=", 1) for line in lines if "=" in line)
        return Notice(cred[0], cred[1], fields) if fields else None

    def answer(self) -> None:
        """Close what came with the notices: to wait for that is sd_notify_barrier(3)."""
        for fd in self._barriers:
            os.close(fd)
        self._barriers.clear()

    def close(self) -> None:
        """Close it; the path stays."""
        self.answer()
        self._sock.close()


class Knock:
    """One attempt to connect.

    Attributes:
        answered: True or False once that is known, None while the attempt is under way; then the
            descriptor becomes writable when it is.
    """

    def __init__(self, family: int, address: tuple[str, int] | str) -> None:
        self.answered: bool | None = False
        self._sock: socket.socket | None = None
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            self._sock = socket.socket(family, kind)
            code = self._sock.connect_ex(address)
        except (OSError, ValueError, OverflowError):
            return  # no such family here, no descriptor left, or a path no socket can have
        if code == 0:
            self.answered = self._by_another()
        elif code == errno.EINPROGRESS:
            self.answered = None

    def fileno(self) -> int:
        """Return the descriptor to wait on while :attr:`answered` is None."""
        return -1 if self._sock is None else self._sock.fileno()

    def look(self) -> bool | None:
        """Find out how the attempt went, if that is known by now."""
        if self.answered is not None or self._sock is None:
            return self.answered
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        if poll.poll(0):
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.answered = code == 0 and self._by_another()
        return self.answered

    def _by_another(self) -> bool:
        """Say whether somebody else is at the other end.

        Whoever knocks often at a free port of his own machine will, by chance, be given that very
        port to knock from, and TCP then connects him to himself.
        """
        sock = self._sock
        if sock is None or sock.family == socket.AF_UNIX:
            return sock is not None
        try:
            return bool(sock.getsockname() != sock.getpeername())
        except OSError:
            return False  # it has hung up again

    def close(self) -> None:
        """Hang up."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def doors(to: str, pair: tuple[str, int] | None) -> list[tuple[int, tuple[str, int] | str]]:
    """Return where to knock for ``ready.to``: family and address, in the order to try them.

    Args:
        to: the path of a socket, if ``pair`` is None.
        pair: host and port; the host is numeric or ``localhost``, which is both loopbacks.
    """
    if pair is None:
        return [(socket.AF_UNIX, to)]
    host, port = pair
    if host == "localhost":
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
    return [(socket.AF_INET6 if ":" in host else socket.AF_INET, pair)]
