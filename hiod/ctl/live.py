"""`hiodctl top`: the list, looked at again and again.

Decides when to look, what a key does, and that a boss which is gone is waited for.  Leaves the
picture to `render`.  Invariant: however it ends or is suspended, the terminal is as it was.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hiod.ctl import render
from hiod.ctl.arguments import selection
from hiod.ctl.following import ends_by_itself
from hiod.errors import HiodError

if TYPE_CHECKING:
    from types import FrameType
    from typing import Self

    from hiod.ctl.verbs import Ask

ENTER = b"\x1b[?1049h\x1b[?25l"
LEAVE = b"\x1b[?25h\x1b[?1049l"
HOME = "\x1b[H"
# Before the line: behind one as wide as the terminal it would take away its last letter.
LINE_CLEAR = "\x1b[K"
BELOW_CLEAR = "\r\n\x1b[J"
DELAY_LEAST_S = 0.1
ANSWER_S = 3.0
"""A boss that says nothing for so long is shown as gone: a picture is no use if it is old."""


def run(ask: Ask) -> int:
    """Show the list until q or Ctrl-C; piped or with --json, once.

    A boss that goes away is waited for; that one is there at the beginning is not.
    """
    reply = ask.call("list", selection(ask.parsed))
    if ask.parsed.json or not ask.view.person or not sys.stdin.isatty():
        view, sort = ask.view, ask.parsed.sort
        lines = len(reply["hands"]) + 3
        ask.show(reply, lambda: render.tables.top(reply, {}, 0.0, sort, view, lines))
        return 0
    ask.client.timeout_s = ANSWER_S
    with _Screen() as screen:
        try:
            _watch(ask, screen, reply)
        except KeyboardInterrupt:
            return 0
    return 0


def _watch(ask: Ask, screen: _Screen, reply: dict[str, Any]) -> None:
    before: dict[str, render.figures.Row] = {}
    sort, delay_s = ask.parsed.sort, max(ask.parsed.delay, DELAY_LEAST_S)
    at = tried_at = time.monotonic()
    view, notice, elapsed_s = ask.view._replace(now=datetime.now(UTC)), "", 0.0
    while True:
        columns, lines = screen.size()
        shown = view._replace(columns=columns)
        screen.draw(render.tables.top(reply, before, elapsed_s, sort, shown, lines, notice), lines)
        for key in screen.keys(tried_at + delay_s - time.monotonic()):
            if key in ("q", "\x03", ""):
                return
            sort = key if key in render.tables.SORTS else sort
        if time.monotonic() < tried_at + delay_s:
            continue
        tried_at = time.monotonic()
        try:
            now = ask.call("list", selection(ask.parsed))
        except HiodError as ex:
            if not ends_by_itself(ex):
                raise
            since = notice or f"no boss since {datetime.now():%H:%M:%S}"  # noqa: DTZ005 - for eyes
            notice = since.partition(";")[0] + "; this goes on when one is there again; q ends"
            continue
        before = {str(row["name"]): row for row in reply["hands"]}
        elapsed_s, at = time.monotonic() - at, time.monotonic()
        reply, notice, view = now, "", view._replace(now=datetime.now(UTC))


class _Screen:
    """The terminal's other screen, keys unechoed; given back at the end, and while suspended."""

    def __enter__(self) -> Self:
        self._fd = sys.stdin.fileno()
        self._saved = termios.tcgetattr(self._fd)
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = [
            (number, signal.signal(number, handler))
            for number, handler in (
                (signal.SIGWINCH, self._resized),
                (signal.SIGTSTP, self._suspended),
                (signal.SIGTERM, self._ended),
                (signal.SIGHUP, self._ended),
            )
        ]
        # A signal ends a wait for keys, as a key does.
        self._waker_before = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        signal.set_wakeup_fd(self._waker_before)
        for number, handler in self._before:
            signal.signal(number, handler)
        os.close(self._woken)
        os.close(self._waker)

    def _enter(self) -> None:
        # Not raw: Ctrl-C stays a signal, so a boss that does not answer can be left too.
        tty.setcbreak(self._fd)
        _put(ENTER)

    def _leave(self) -> None:
        _put(LEAVE)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        """Do nothing but wake: the next picture has the new size."""

    def _suspended(self, number: int, _frame: FrameType | None) -> None:
        self._leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here somebody has let it go on.
        signal.signal(number, self._suspended)
        self._enter()

    def _ended(self, number: int, _frame: FrameType | None) -> None:
        self._leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def size(self) -> tuple[int, int]:
        """Return columns and lines; what the environment says of them may be old."""
        columns, lines = os.get_terminal_size(1)
        return columns or 80, lines or 24

    def draw(self, picture: str, lines: int) -> None:
        """Show a picture in place of the one before."""
        rows = picture.splitlines()[:lines]
        text = HOME + "\r\n".join(LINE_CLEAR + row for row in rows)
        _put((text + (BELOW_CLEAR if len(rows) < lines else "")).encode("utf-8", "replace"))

    def keys(self, within_s: float) -> list[str]:
        """Return the keys pressed within a time, an empty one when the terminal is gone."""
        ready, _, _ = select.select([self._fd, self._woken], [], [], max(within_s, 0.0))
        if self._woken in ready:
            os.read(self._woken, 512)
        # Not sys.stdin.read: what it buffers, select does not see.
        return list(os.read(self._fd, 64).decode("latin-1")) or [""] if self._fd in ready else []


def _put(data: bytes) -> None:
    """Write all of it, past Python's buffer: a signal may come in the midst of it."""
    while data:
        data = data[os.write(1, data) :]
