"""What a person sees while a command waits for hands: who is on the way, in one line that goes.

Decides when to look and where to draw.  Leaves the words to `render`.  Invariant: only a terminal
is drawn on, beside what is printed (standard error), and nothing of it stays; waiting for an answer
is never longer for it.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hiod.admin.client import Client
from hiod.ctl import render
from hiod.errors import HiodError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from threading import Event, Lock

    from hiod.ctl.verbs import Ask

EVERY_S = 0.5
"""How often to look; what is over sooner needs no telling."""
ERASE = "\r\x1b[K"


@contextmanager
def shown(ask: Ask, chosen: Mapping[str, Any]) -> Iterator[None]:
    """Show who of the chosen hands is still on the way while the block runs.

    Parameters:
        chosen: the parameters of ``list`` that mean them.
    """
    if ask.parsed.json or not sys.stderr.isatty():
        yield
        return
    import threading  # noqa: PLC0415 - only when somebody may have to wait, and sees it

    over, pen = threading.Event(), threading.Lock()
    threading.Thread(target=_draw, args=(ask, chosen, over, pen), daemon=True).start()
    try:
        yield
    finally:
        with pen:
            over.set()
            sys.stderr.write(ERASE)
            sys.stderr.flush()


def _draw(ask: Ask, chosen: Mapping[str, Any], over: Event, pen: Lock) -> None:
    """Look again and again until it is over; a boss that has no time for it is not pressed."""
    waited_s = 0.0
    # A connection of its own: on the other one an answer is awaited.
    with Client(ask.client.path, timeout_s=1.0) as client:
        while not over.wait(EVERY_S):
            waited_s += EVERY_S
            try:
                rows = [row for row in client.call("list")["hands"] if _is_meant(row, chosen)]
            except HiodError:
                rows = []
            # A terminal shows a Ctrl-C behind the line, as ^C; it goes with it.
            columns = (os.get_terminal_size(2).columns or 80) - len("^C") - 1
            view = ask.view._replace(person=True, columns=columns)
            text = render.changes.underway(rows, ask.parsed.verb, waited_s, view)
            with pen:
                if not over.is_set():
                    sys.stderr.write(ERASE + text)
                    sys.stderr.flush()


def _is_meant(row: Mapping[str, Any], chosen: Mapping[str, Any]) -> bool:
    """Whether a hand is among those chosen: asked by name, the boss would miss those that went."""
    from fnmatch import fnmatchcase  # noqa: PLC0415 - only when somebody waits

    names, labels = chosen.get("names"), chosen.get("labels") or {}
    named = not names or any(
        name == row["spec"] or fnmatchcase(row["name"], name) for name in names
    )
    return named and labels.items() <= (row.get("labels") or {}).items()
