"""A terminal for a test: a command on a real pty, and what a person would see on its screen.

The screen knows what hiodctl and the shells of the tests write and no more: an unknown sequence
fails the test.  As on a real terminal a line that is too long goes on in the next one (counted in
``wraps``), and the cursor stays on the last cell of a full line until another letter comes.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PATIENCE_S = 20.0
PIECE = re.compile(r"\x1b\[([?>]?)([\d;]*)([A-Za-z])|\x1b[=>]|[\r\n\b\a]|[^\x1b\r\n\b\a]+|\x1b.?")


class Screen:
    """What is seen.

    Attributes:
        alternate: whether the screen that programs take for themselves is shown.
        cursor: whether the cursor is.
        wraps: how many lines were too long.
        colours: the colours text was written in, as SGR numbers.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.alternate, self.cursor = False, True
        self.wraps = 0
        self.colours: set[str] = set()
        self._cells: dict[tuple[int, int], str] = {}
        self._main = self._cells
        self._line = self._column = 0

    @property
    def text(self) -> str:
        """What is written on it, without blanks at the ends of lines or below."""
        return "\n".join(self.rows).rstrip()

    @property
    def rows(self) -> list[str]:
        """Its lines, from the top."""
        return [
            "".join(self._cells.get((line, column), " ") for column in range(self.columns)).rstrip()
            for line in range(self.lines)
        ]

    def resize(self, columns: int, lines: int) -> None:
        """Take another size; what does not fit any more is lost."""
        self.columns, self.lines = columns, lines
        for at in [at for at in self._cells if at[0] >= lines or at[1] >= columns]:
            del self._cells[at]
        self._line, self._column = min(self._line, lines - 1), min(self._column, columns)

    def write(self, text: str) -> None:
        """Take what a program wrote; no sequence may be cut off at its end."""
        for piece in PIECE.finditer(text):
            if piece[3]:
                self._sequence(piece[1], piece[2], piece[3])
            elif piece[0] == "\r":
                self._column = 0
            elif piece[0] == "\n":
                self._down()
            elif piece[0] == "\b":
                self._column = max(self._column - 1, 0)
            elif piece[0][0] != "\x1b":
                for letter in piece[0]:
                    self._put(letter)
            else:
                assert piece[0] in ("\x1b=", "\x1b>"), piece[0]

    def _put(self, letter: str) -> None:
        if unicodedata.combining(letter) or letter in "\a\0":
            return
        cells = 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if self._column + cells > self.columns:
            self.wraps += 1
            self._column = 0
            self._down()
        self._cells[self._line, self._column] = letter
        for column in range(self._column + 1, self._column + cells):
            self._cells[self._line, column] = ""
        self._column += cells

    def _down(self) -> None:
        if self._line + 1 < self.lines:
            self._line += 1
            return
        moved = {(line - 1, column): it for (line, column), it in self._cells.items() if line}
        self._cells.clear()
        self._cells.update(moved)

    def _sequence(self, mark: str, numbers: str, kind: str) -> None:
        count = int(numbers.split(";")[0] or 0) if numbers else 0
        # On the right edge the cursor stands on the last cell until another letter comes.
        column = min(self._column, self.columns - 1)
        if mark == "?" and kind in "hl":
            self._mode(numbers, on=kind == "h")
        elif kind == "H":
            line, _, column_text = numbers.partition(";")
            self._line, self._column = int(line or 1) - 1, int(column_text or 1) - 1
        elif kind == "K":
            assert count == 0, "only to the end of a line"
            self._clear(lambda at: at[0] == self._line and at[1] >= column)
        elif kind == "J":
            if count:
                self._clear(lambda _at: True)
            else:
                self._clear(lambda at: at >= (self._line, column))
        elif kind == "m":
            self.colours.update(one for one in numbers.split(";") if one not in ("", "0"))
        elif kind in "AB":
            step = max(count, 1) * (1 if kind == "B" else -1)
            self._line = min(max(self._line + step, 0), self.lines - 1)
        elif kind in "CD":
            step = max(count, 1) * (1 if kind == "C" else -1)
            self._column = min(max(column + step, 0), self.columns - 1)
        else:
            raise AssertionError(f"unknown sequence: CSI {mark}{numbers}{kind}")

    def _clear(self, chosen: Callable[[tuple[int, int]], bool]) -> None:
        for at in [at for at in self._cells if chosen(at)]:
            del self._cells[at]

    def _mode(self, numbers: str, *, on: bool) -> None:
        if numbers == "1049":
            self._cells = {} if on else self._main
            self.alternate = on
        elif numbers == "25":
            self.cursor = on
        else:
            assert numbers in ("2004", "1"), f"unknown mode {numbers}"


class Terminal:
    """A command whose standard streams and controlling terminal are a pty.

    Attributes:
        screen: what is seen.
        told: all that was written.
        process: the command; it leads its session.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> None:
        self.screen = Screen(columns, lines)
        self.told = ""
        self._ours, self._theirs = os.openpty()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""
        os.set_blocking(self._ours, False)
        self._tell_size()
        self.modes = self.modes_now()
        without = {"COLUMNS", "LINES", "NO_COLOR"}
        environ = {key: value for key, value in os.environ.items() if key not in without}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv],
            stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, cwd=cwd,
            env={**environ, "TERM": "xterm-256color", "TZ": "UTC", **(env or {})},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        os.close(self._ours)
        os.close(self._theirs)

    def _tell_size(self) -> None:
        size = struct.pack("HHHH", self.screen.lines, self.screen.columns, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size; the kernel tells who reads the terminal."""
        self.screen.resize(columns, lines)
        self._tell_size()

    def modes_now(self) -> list[object]:
        """Return how the terminal is set, to be compared with ``modes`` from before."""
        return termios.tcgetattr(self._theirs)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def until(self, there: Callable[[Screen], object], within_s: float = PATIENCE_S) -> Screen:
        """Read until the screen is as wanted; fails with what is on it."""
        deadline = time.monotonic() + within_s
        while not there(self.screen):
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"not seen in {within_s} s:\n{self.screen.text}\n{self.told!r}"
            select.select([self._ours], (), (), min(left_s, 0.05))
            read = self._read()
            assert read or self.process.poll() is None or there(self.screen), (
                f"it ended by {self.process.returncode}:\n{self.screen.text}\n{self.told!r}"
            )
        return self.screen

    def sees(self, text: str, within_s: float = PATIENCE_S) -> Screen:
        """Read until a text is on the screen."""
        return self.until(lambda screen: text in screen.text, within_s)

    def end(self, within_s: float = PATIENCE_S) -> int:
        """Read until the command has ended; return its exit code."""
        deadline = time.monotonic() + within_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still there:\n{self.screen.text}"
            select.select([self._ours], (), (), 0.02)
            self._read()
        self._read()
        return self.process.returncode

    def _read(self) -> bool:
        read = False
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._ours, 65536):
                read = True
                text = self._decoder.decode(data)
                self.told += text
                self._rest += text
                # A sequence that is not whole waits for its end.
                at = self._rest.rfind("\x1b")
                whole = at < 0 or re.match(r"\x1b(\[[?>]?[\d;]*[A-Za-z]|[=>])", self._rest[at:])
                cut = len(self._rest) if whole else at
                self.screen.write(self._rest[:cut])
                self._rest = self._rest[cut:]
        return read
