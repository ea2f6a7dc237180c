"""`hiodctl top`: the list, looked at again and again.

Decides when to look and what a key does.  Leaves the picture to `render`.  Invariant: however it
ends, the terminal is as it was.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hiod.ctl import render
from hiod.ctl.arguments import selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hiod.ctl.verbs import Ask

ENTER = "\x1b[?1049h\x1b[?25l"
LEAVE = "\x1b[?25h\x1b[?1049l"
HOME = "\x1b[H"
LINE_END = "\x1b[K\r\n"
BELOW = "\x1b[J"
DELAY_LEAST_S = 0.1


def run(ask: Ask) -> int:
    """Show the list until q or Ctrl-C; piped or with --json, once."""
    if ask.parsed.json or not ask.view.person or not sys.stdin.isatty():
        reply = ask.call("list", selection(ask.parsed))
        view, sort = ask.view, ask.parsed.sort
        lines = len(reply["hands"]) + 3
        ask.show(reply, lambda: render.tables.top(reply, {}, 0.0, sort, view, lines))
        return 0
    with _screen():
        try:
            _watch(ask)
        except KeyboardInterrupt:
            return 0
    return 0


def _watch(ask: Ask) -> None:
    before: dict[str, render.figures.Row] = {}
    sort, delay_s = ask.parsed.sort, max(ask.parsed.delay, DELAY_LEAST_S)
    looked_at = time.monotonic()
    reply = ask.call("list", selection(ask.parsed))
    elapsed_s = 0.0
    while True:
        columns, lines = shutil.get_terminal_size()
        view = ask.view._replace(now=datetime.now(UTC), columns=columns)
        # One line less: the newline after the last would push the first off the screen.
        _draw(render.tables.top(reply, before, elapsed_s, sort, view, lines - 1))
        key = _key(looked_at + delay_s - time.monotonic())
        if key in ("q", "\x03", ""):
            return
        if key in render.tables.SORTS:
            sort = key
            continue
        if key is not None and time.monotonic() < looked_at + delay_s:
            continue
        before = {str(row["name"]): row for row in reply["hands"]}
        began_at, looked_at = looked_at, time.monotonic()
        reply = ask.call("list", selection(ask.parsed))
        elapsed_s = looked_at - began_at


def _draw(picture: str) -> None:
    sys.stdout.write(HOME + picture.replace("\n", LINE_END) + BELOW)
    sys.stdout.flush()


def _key(within_s: float) -> str | None:
    """Return the key pressed within a time, None if none was, empty when the terminal is gone."""
    fd = sys.stdin.fileno()
    ready, _, _ = select.select([fd], [], [], max(within_s, 0.0))
    # Not sys.stdin.read: what it buffers, select does not see.
    return os.read(fd, 1).decode("latin-1") if ready else None


@contextmanager
def _screen() -> Iterator[None]:
    """Take the terminal's other screen, keys unechoed, and give all back."""
    fd = sys.stdin.fileno()
    saved = termios.tcgetattr(fd)
    sys.stdout.write(ENTER)
    try:
        # Not raw: Ctrl-C stays a signal, so a boss that does not answer can be left too.
        tty.setcbreak(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
