"""Last words: what a hand leaves behind, in a memfd that outlives it.

Decides the form: JSON lines of the birth (``{"step","errno","path","message"}``, step ``note``
for what is no failure, ``exit`` for what user code said with its SystemExit), then plain text: the
last traceback, for whom the end did not wait, stack dumps, what faulthandler writes on a fatal
signal. The memfd is opened for appending and shared by launcher, hand and boss: readers use pread
and may truncate it. Invariant: nothing here raises; a hand that cannot speak still ends as it would
have.
"""

from __future__ import annotations

import contextlib
import errno as errnos
import fcntl
import os
import socket
import sys
import traceback
from typing import Any

import orjson

from hiod.host import packets

MAX_TRACEBACK = 32768
"""Bytes of a traceback that are kept, counted from its end."""

JOURNAL = "/run/systemd/journal"
_ERROR = 3  # syslog's priority for what a person should see


def open_words(token: str) -> int:
    """Return a new memfd for the last words of one incarnation; close-on-exec.

    Its name tells whoever looks at a hand's descriptors which incarnation this is.

    Raises:
        OSError: no more descriptors or memory.
    """
    fd = os.memfd_create(f"{packets.WORDS}{token}", os.MFD_CLOEXEC)
    # Appending, so that a reader may truncate it and the next word still lands at the end.
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd


def say(fd: int, step: str, message: str, **facts: object) -> None:
    """Write one JSON line."""
    told = {"step": step, **facts, "message": message}
    for what, value in told.items():
        if isinstance(value, str):  # a file's name may be no UTF-8
            told[what] = value.encode(errors="backslashreplace").decode()
    line = orjson.dumps(told, default=str)
    with contextlib.suppress(OSError):
        os.write(fd, line + b"\n")


def say_refusal(fd: int, step: str, doing: str, ex: Exception, path: str | None = None) -> None:
    """Write the line of a step that failed, as one sentence with the system's reason."""
    number = ex.errno if isinstance(ex, OSError) else None
    reason = os.strerror(number) if number else f"{type(ex).__name__}: {ex}"
    where = path or (str(ex.filename) if isinstance(ex, OSError) and ex.filename else None)
    named = f' "{where}"' if where else ""
    name = errnos.errorcode.get(number) if number else None
    say(fd, step, f"cannot {doing}{named}: {reason}", errno=number, code=name, path=where)


def last_refusal(fd: int) -> dict[str, Any]:
    """Return the facts of the refusal that was written last: step, errno, path and message."""
    none: dict[str, Any] = {"step": "exec", "errno": None, "path": None}
    try:
        raw = os.pread(fd, MAX_TRACEBACK, 0)
        said = orjson.loads(raw.rstrip().rpartition(b"\n")[2])
        return none | {what: said[what] for what in ("step", "errno", "path", "message")}
    except (OSError, ValueError, KeyError, TypeError):
        return none | {"message": "its process ended before the command was executed"}


def say_uncaught(fd: int, ex: BaseException, *, name: str, generation: int, journal: str) -> None:
    """Write the traceback of an exception nobody caught, here and where errors are read.

    Args:
        fd: the memfd.
        ex: the exception.
        name: of the hand.
        generation: of the hand.
        journal: directory of journald's sockets, to log one native record of priority 3;
            empty to write to stderr instead.
    """
    # Frames of ours in front of the user's would only hide what matters.
    text = "".join(traceback.format_exception(ex)).encode(errors="backslashreplace")
    kept = text[-MAX_TRACEBACK:]
    with contextlib.suppress(OSError):
        os.write(fd, kept)
    if journal and _to_journal(journal, kept, name, generation):
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    with contextlib.suppress(OSError):
        os.write(2, kept)


def add(fd: int, text: str) -> None:
    """Write a line of plain text, here and where the hand prints; behind a traceback.

    Args:
        fd: the memfd.
        text: one line.
    """
    with contextlib.suppress(OSError):
        os.write(fd, f"{text}\n".encode(errors="backslashreplace"))
    log(text)


def log(text: str) -> None:
    """Write a line where the hand prints, past the buffers of user code, which may be held."""
    with contextlib.suppress(OSError):
        os.write(2, f"hiod: {text}\n".encode(errors="backslashreplace"))


def _to_journal(directory: str, text: bytes, name: str, generation: int) -> bool:
    fields = (
        f"PRIORITY={_ERROR}\nSYSLOG_IDENTIFIER=hiod-{name}\nHIOD_HAND={name}\n"
        f"HIOD_GENERATION={generation}\nMESSAGE\n"
    ).encode()
    record = fields + len(text).to_bytes(8, "little") + text + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(record, f"{directory}/socket")
    except OSError:
        return False
    return True
