"""Where the story goes: the systemd journal, a terminal, or lines of JSON.

Decides the form of a record and how it leaves the process. Leaves to ``rules.story`` what is
said of an event, and to the callers what is worth saying: ``log.info("hand.spawned",
hand="web", pid=5)``, an event literal and facts.

Invariant: telling never raises and never blocks the boss. What could not be written is counted
(:func:`lost`).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import select
import socket
import stat
import string
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import orjson

from hiod.host.sparing import spared
from hiod.rules.story import STORY, tell

with spared(without="rich", later="asyncio"):
    import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from structlog.typing import FilteringBoundLogger

__all__ = ["IDENTIFIER", "LEVELS", "STYLES", "configure", "logger", "lost"]

IDENTIFIER = "hiod"
SOCKET = "/run/systemd/journal/socket"
STYLES = ("auto", "journal", "console", "json")
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
FIELD_MOST = 64  # the journal drops longer field names in silence

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def logger() -> FilteringBoundLogger:
    """Return the log: ``logger().info("thing.happened", fact=1)``.

    May be asked for at import, before :func:`configure`.
    """
    return cast("FilteringBoundLogger", structlog.get_logger())


def configure(
    style: str = "auto",
    level: str = "info",
    *,
    environ: Mapping[str, str] | None = None,
    fd: int = 2,
) -> str:
    """Set where the story goes from now on; may be called again. Return the style that is used.

    Args:
        style: ``journal``, ``console`` or ``json``; ``auto``: the journal if ``fd`` leads to it,
            a terminal as a terminal, anything else as JSON lines.
        level: the least that is told: debug, info, warning or error.
        environ: where ``JOURNAL_STREAM`` and ``NO_COLOR`` are looked up; the process's own.
        fd: what is written to; the process's stderr. It is not closed here.

    Raises:
        ValueError: there is no such style or level.
    """
    environ = os.environ if environ is None else environ
    if style not in STYLES:
        raise ValueError(f"there is no log style {style!r}: use one of {', '.join(STYLES)}")
    if level not in LEVELS:
        raise ValueError(f"there is no log level {level!r}: use one of {', '.join(LEVELS)}")
    if style == "auto":
        style = _fitting(environ, fd)
    if _state.teller is not None:
        _state.teller.close()
    stream = _Stream(fd)
    teller: _Teller
    if style == "journal":
        teller = _Native(stream)
    elif style == "console":
        teller = _Console(stream, colour=os.isatty(fd) and not environ.get("NO_COLOR"))
    else:
        teller = _Lines(stream)
    _state.teller = teller
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _Guard(teller)],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=_Nowhere,
        cache_logger_on_first_use=False,  # so that a reload can change the level
    )
    return style


def lost() -> int:
    """Return how many records could not be written since the process began."""
    return _state.lost


class _State:
    """What this process tells with, and what it could not tell."""

    lost = 0
    teller: _Teller | None = None


_state = _State()


class _Nowhere:
    """structlog's idea of a logger: the teller has written the record before it is asked."""

    def _done(self, told: str) -> None:
        """Take what the last processor returned."""

    debug = info = warning = error = critical = _done


class _Teller(Protocol):
    def tell(self, level: str, event: str, message: str, facts: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class _Guard:
    """The last processor: works out the sentence, has it told, and lets nothing escape."""

    def __init__(self, teller: _Teller) -> None:
        self._teller = teller

    def __call__(self, _: object, level: str, record: MutableMapping[str, Any]) -> str:
        try:
            facts = dict(record)
            event = str(facts.pop("event", ""))
            self._teller.tell(level, event, _sentence(event, facts), facts)
        except Exception:  # noqa: BLE001 - a fact of an odd type must not end the boss
            _state.lost += 1
        return ""


def _sentence(event: str, facts: Mapping[str, Any]) -> str:
    try:
        return tell(event, facts)
    except Exception:  # noqa: BLE001 - a fact that does not fit its template: still tell the rest
        return event


class _Stream:
    """A descriptor written to without ever waiting for its reader."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._own: int | None = None
        self._socket: socket.socket | None = None
        self._waits = False  # whether a write to it as it is could wait
        self._rest = b""
        with suppress(OSError):  # closed: every write says so
            mode = os.fstat(fd).st_mode
            if stat.S_ISSOCK(mode):
                self._socket = socket.socket(fileno=os.dup(fd))
            elif stat.S_ISFIFO(mode) or os.isatty(fd):
                self._waits = True
                # An opening of our own: O_NONBLOCK on the given one would be set for all who
                # share it, the shell and the hands among them. Refused if it is another user's.
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._own = os.open(f"/proc/self/fd/{fd}", flags)

    def write(self, line: bytes) -> None:
        """Write a whole line, now or its tail with the next; else count it as lost."""
        kept = len(self._rest)
        data = self._rest + line
        done = 0
        with suppress(OSError):  # full, or nobody reads any more
            while done < len(data):
                done += self._write(data[done:] if done else data)
        if done > kept:
            self._rest = data[done:]  # a line that was begun is ended before another begins
        else:
            self._rest = self._rest[done:]
            _state.lost += 1

    def _write(self, data: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if self._own is not None:
            return os.write(self._own, data)
        if self._waits:
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            if not poll.poll(0):
                raise BlockingIOError
            data = data[: select.PIPE_BUF]  # writable means: that much
        return os.write(self._fd, data)

    def close(self) -> None:
        if self._own is not None:
            os.close(self._own)
            self._own = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Lines:
    """One JSON object a line."""

    RESERVED = frozenset({"at", "level", "event", "message"})

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def close(self) -> None:
        self._stream.close()

    def tell(self, level: str, event: str, message: str, facts: dict[str, Any]) -> None:
        record = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level,
            "event": event,
            "message": message,
        }
        for key, value in facts.items():
            record[f"fact_{key}" if key in self.RESERVED else key] = value
        self._stream.write(_json(record) + b"\n")


class _Console:
    """A line for a person: time, level, sentence, and dimmed what the sentence leaves out."""

    COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}  # noqa: RUF012 - never changed

    def __init__(self, stream: _Stream, *, colour: bool) -> None:
        self._stream = stream
        self._colour = colour

    def close(self) -> None:
        self._stream.close()

    def tell(self, level: str, event: str, message: str, facts: dict[str, Any]) -> None:
        exception = facts.pop("exception", None)
        said = _said(event)
        more = " ".join(
            f"{key}={_plain(_text(value))}"
            for key, value in facts.items()
            if key not in said and value is not None
        )
        now = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
        line = f"{now} {self._paint(self.COLOURS.get(level, '0'), f'{level:<7}')} {_plain(message)}"
        if more:
            line += "  " + self._paint("2", more)
        if exception:
            line += "\n" + "\n".join(_plain(part) for part in str(exception).splitlines())
        self._stream.write((line + "\n").encode(errors="backslashreplace"))

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


class _Native:
    """Records with fields for journald; through the stream, as sentences, where it takes none."""

    def __init__(self, stream: _Stream, address: str = SOCKET) -> None:
        self._stream = stream
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def tell(self, level: str, event: str, message: str, facts: dict[str, Any]) -> None:
        priority = PRIORITIES.get(level, 6)
        fields = [
            _field("MESSAGE", message),
            b"PRIORITY=%d\n" % priority,
            _IDENTIFIED,
            _field("HIOD_EVENT", event),
        ]
        told = STORY.get(event)
        if told is not None:
            fields.append(_field("MESSAGE_ID", told.message_id))
        fields += [
            _field(_field_name(key), _text(value))
            for key, value in facts.items()
            if value is not None
        ]
        if not self._send(b"".join(fields)):
            line = f"<{priority}>{' '.join(message.split())}\n"
            self._stream.write(line.encode(errors="backslashreplace"))

    def _send(self, record: bytes) -> bool:
        try:
            self._socket.sendto(record, socket.MSG_NOSIGNAL, self._address)
        except OSError as ex:
            # ENOBUFS too: that is how some kernels put it.
            if ex.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                return False
            return self._send_large(record)
        return True

    def _send_large(self, record: bytes) -> bool:
        try:
            fd = os.memfd_create("hiod-record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                with open(fd, "wb", closefd=False) as file:
                    file.write(record)
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))]
                self._socket.sendmsg([], rights, 0, self._address)
            finally:
                os.close(fd)
        except OSError:
            return False
        return True


_IDENTIFIED = f"SYSLOG_IDENTIFIER={IDENTIFIER}\n".encode()


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)


@cache
def _field_name(key: str) -> str:
    return ("HIOD_" + re.sub(r"[^A-Z0-9_]", "_", key.upper()))[:FIELD_MOST]


@cache
def _said(event: str) -> frozenset[str]:
    """Return the facts the event's sentence holds already."""
    told = STORY.get(event)
    if told is None:
        return frozenset()
    return frozenset(name for _, name, _, _ in string.Formatter().parse(told.template) if name)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, bool | dict | list | tuple):
        return _json(value).decode()
    return str(value)


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # a lone surrogate, an integer beyond 64 bits
        return json.dumps(value, default=str, skipkeys=True).encode()


def _plain(text: str) -> str:
    """Return the text without what would move a terminal's cursor or change its colours."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _fitting(environ: Mapping[str, str], fd: int) -> str:
    if _is_journal(environ.get("JOURNAL_STREAM", ""), fd):
        return "journal"
    return "console" if os.isatty(fd) else "json"


def _is_journal(announced: str, fd: int) -> bool:
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    # Compared, since the variable is inherited by those whose stderr was led elsewhere.
    return announced == f"{found.st_dev}:{found.st_ino}"
