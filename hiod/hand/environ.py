"""The environment of a hand: what is taken away, what is added, how an env file is read.

Decides all of it (*pure*); reading the files and setting the variables is left to the birth.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hiod.host.packets import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeAlias

    _State: TypeAlias = Callable[[str], Any]  # returns the next _State; a type cannot say so

# systemd speaks to the boss through these; a hand that answered would speak for the boss.
_SYSTEMD = frozenset(
    {
        "CREDENTIALS_DIRECTORY",
        "FDSTORE",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "MAINPID",
        "MANAGERPID",
        "MANAGERPIDFDID",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
        "NOTIFY_SOCKET",
        "SYSTEMD_EXEC_PID",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)

# A boss that is itself somebody's hand must not pass its own identity on.
_IDENTITY = frozenset(
    {
        MARK,
        "HIOD_ADDR",
        "HIOD_BOSS",
        "HIOD_BOSS_ADDR",
        "HIOD_GENERATION",
        "HIOD_HAND",
        "HIOD_MEMO_FD",
        "HIOD_NAME",
        "HIOD_ORDINAL",
        "HIOD_STATE_DIR",
        "HIOD_TOKEN_FD",
    }
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPACE = " \t\r\n"
_COMMENT = "#;"
_ESCAPABLE = '"\\`$'  # what a backslash protects between double quotes


def unwanted(names: Iterable[str]) -> list[str]:
    """Return those of the boss's variables that no hand may see."""
    return [name for name in names if name in _SYSTEMD or name in _IDENTITY]


def identity(environ: bytes) -> tuple[str, int] | None:
    """Return name and generation of the hand whose environment block this is, if it says so."""
    found: dict[bytes, bytes] = {}
    for entry in environ.split(b"\0"):
        if entry.startswith((b"HIOD_NAME=", b"HIOD_GENERATION=")):
            key, _, value = entry.partition(b"=")
            found.setdefault(key, value)
    name, generation = found.get(b"HIOD_NAME"), found.get(b"HIOD_GENERATION", b"")
    if name is None or not generation.isdigit():
        return None
    return name.decode(errors="replace"), int(generation)


def mark(name: str, generation: int, room: int) -> bytes:
    """Return the environment block, ``room`` bytes long, that `identity` reads back."""
    said = f"HIOD_NAME={name}\0HIOD_GENERATION={generation}\0".encode()
    return said.ljust(room, b"\0") if len(said) <= room else b"\0" * room


def compose(text: Iterable[str], env: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Merge the texts of env files, then ``env``; later wins.

    Returns:
        The variables, and a sentence for each entry that was left out.
    """
    merged: dict[str, str] = {}
    notes: list[str] = []
    for one in text:
        found, problems = parse(one)
        merged.update(found)
        notes += problems
    merged.update(env)
    return merged, notes


def parse(text: str) -> tuple[dict[str, str], list[str]]:
    r"""Read systemd's EnvironmentFile= syntax (systemd.exec(5), as of version 254).

    Lines ``NAME=value``; lines that begin with ``#`` or ``;`` are comments; a value may be
    quoted by ``'`` (nothing is special inside) or ``"`` (``\`` protects ``" \ ` $``), and a
    backslash at the end of a line continues it. Nothing is expanded.

    Returns:
        The variables, and a sentence for each line that is none.
    """
    reader = _Reader()
    for char in text:
        reader.feed(char)
    reader.end()
    return reader.found, reader.notes


class _Reader:
    """The state machine behind `parse`, one character at a time."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.notes: list[str] = []
        self._state: _State = self._before_key
        self._key = ""
        self._value: list[str] = []
        self._solid = 0  # so many characters of the value are not trailing space
        self._line = 1

    def feed(self, char: str) -> None:
        self._state = self._state(char)
        if char == "\n":
            self._line += 1

    def end(self) -> None:
        if self._state == self._in_key:
            self._not_assigned()
        elif self._state not in (self._before_key, self._in_comment, self._comment_escape):
            self._push()

    def _push(self) -> None:
        key = self._key.strip(_SPACE)
        if _NAME.fullmatch(key):
            self.found[key] = "".join(self._value[: self._solid])
        else:
            self.notes.append(f"line {self._line}: {key!r} is not a variable's name, left out")
        self._key, self._value, self._solid = "", [], 0

    def _not_assigned(self) -> None:
        self.notes.append(f"line {self._line}: {self._key.strip()!r} has no '=', left out")
        self._key = ""

    def _add(self, char: str, *, solid: bool = True) -> None:
        self._value.append(char)
        if solid:
            self._solid = len(self._value)

    def _before_key(self, char: str) -> _State:
        if char in _COMMENT:
            return self._in_comment
        if char in _SPACE:
            return self._before_key
        self._key = char
        return self._in_key

    def _in_key(self, char: str) -> _State:
        if char == "\n":
            self._not_assigned()
            return self._before_key
        if char == "=":
            return self._before_value
        self._key += char
        return self._in_key

    def _before_value(self, char: str) -> _State:
        if char == "\n":
            self._push()
            return self._before_key
        if char == "'":
            return self._in_single
        if char == '"':
            return self._in_double
        if char == "\\":
            return self._escape
        if char in _SPACE:
            return self._before_value
        self._add(char)
        return self._in_value

    def _in_value(self, char: str) -> _State:
        if char == "\n":
            self._push()
            return self._before_key
        if char == "\\":
            return self._escape
        self._add(char, solid=char not in _SPACE)
        return self._in_value

    def _escape(self, char: str) -> _State:
        if char != "\n":
            self._add(char)
        return self._in_value

    def _in_single(self, char: str) -> _State:
        if char == "'":
            return self._before_value
        self._add(char)
        return self._in_single

    def _in_double(self, char: str) -> _State:
        if char == '"':
            return self._before_value
        if char == "\\":
            return self._double_escape
        self._add(char)
        return self._in_double

    def _double_escape(self, char: str) -> _State:
        if char in _ESCAPABLE:
            self._add(char)
        elif char != "\n":
            self._add("\\")
            self._add(char)
        return self._in_double

    def _in_comment(self, char: str) -> _State:
        if char == "\\":
            return self._comment_escape
        return self._before_key if char == "\n" else self._in_comment

    def _comment_escape(self, char: str) -> _State:
        return self._before_key if char == "\n" else self._in_comment
