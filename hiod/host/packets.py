"""What boss and launcher hand each other: packets, and the few numbers both must know.

Decides the form of one packet: a JSON object in one ``SOCK_SEQPACKET`` record, file descriptors
beside it by ``SCM_RIGHTS``. What packets mean is left to the launcher and to its client.
Invariant: a descriptor that arrives is close-on-exec and belongs to whoever received it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def near(path: str) -> Iterator[str]:
    """Give a short name of a path for a socket's address, which has room for 107 bytes only.

    Raises:
        OSError: its folder cannot be reached.
    """
    folder, name = os.path.split(path)
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


VERSION = 1
"""Protocol number said in both hellos. The protocol is only ever added to."""

MAX_BYTES = 65536
"""No packet is longer; what is longer (an order) travels in a memfd."""

MAX_FDS = 253
"""The kernel passes no more descriptors with one packet (``SCM_MAX_FD``)."""

DUMP_SIGNAL = signal.SIGRTMIN + 7
"""A forked hand answers this signal with a stack dump of all threads in its last words."""

BAD_START = 78
"""Exit code of a hand that could not be made as ordered; its last words name the step."""

UNFINISHED = ".new"
"""What the name of a launcher's socket ends with until somebody listens at it."""

MARK = "HIOD_MARK"
"""Environment variable of a launcher: room that each forked hand overwrites with its identity."""

MARK_BYTES = 128
"""Bytes of that room: a name and a number fit whatever they are."""

WORDS = "hiod-words-"
"""Beginning of the name of a memfd of last words; the hand's token follows."""

LAUNCHER = b"hiod-launcher"
"""What a launcher is called, and a hand until it is born."""

TOKENS = "hiod-token"
"""Name of the memfd in which a command finds its token."""

MAILBOX_FD, WORDS_FD, TOKEN_FD = 3, 4, 5
"""A hand's descriptors: its mailbox, last words (doers), a memfd of its token (commands)."""

VERDICT_FD = 6
"""In a command not executed yet: a pipe to its launcher, closed by the execution."""

TOO_MANY_UNDER_WAY = errno.ETOOMANYREFS
"""The kernel's word for more descriptors in flight than this user may open files."""

_INT = 4
_ROOM = socket.CMSG_SPACE(MAX_FDS * _INT)


def pack(message: dict[str, Any]) -> bytes:
    """Return the bytes of one packet."""
    return orjson.dumps(message)


def send(sock: socket.socket, payload: bytes, fds: Sequence[int] = ()) -> None:
    """Send one packet; never blocks.

    Raises:
        BlockingIOError: the receiver's queue is full; nothing was sent.
        OSError: the receiver is gone, or the system refuses.
    """
    rights = b"".join(fd.to_bytes(_INT, sys.byteorder) for fd in fds)
    sock.sendmsg(
        (payload,),
        ((socket.SOL_SOCKET, socket.SCM_RIGHTS, rights),) if rights else (),
        socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL,
    )


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Take one packet; never blocks. Empty bytes mean that the other side is gone.

    Descriptors that did not fit into this process's table are missing from the list.

    Raises:
        BlockingIOError: nothing is there.
        OSError: the connection broke.
    """
    how = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    try:
        payload, controls, _, _ = sock.recvmsg(MAX_BYTES, _ROOM, how)
    except ConnectionResetError:
        # The other side left without reading all: said once, before what it said last.
        payload, controls, _, _ = sock.recvmsg(MAX_BYTES, _ROOM, how)
    fds: list[int] = []
    for level, kind, data in controls:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(data) - len(data) % _INT
            fds += memoryview(data)[:whole].cast("i").tolist()
    return payload, fds


def unpack(payload: bytes) -> dict[str, Any] | None:
    """Return the object in a packet, or None if it holds anything else."""
    try:
        message = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


def discard(fds: Sequence[int]) -> None:
    """Close descriptors nobody wants."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
