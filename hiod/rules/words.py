"""The last words of a hand, read.

A hand's memfd holds what it wrote before it ended: a line of JSON for each step of its birth that
failed, the traceback of an uncaught exception, a stack dump. Decides which of it a person should
see first. Invariant: whatever the bytes are, there is an answer.
"""

from __future__ import annotations

import json
from typing import NamedTuple

GIST_CHARS = 200


class Words(NamedTuple):
    """What a hand said last.

    Attributes:
        gist: the one line that says most, at most ``GIST_CHARS`` long; empty when it said nothing.
        step: the step of its birth that failed, or empty.
        text: all of it, readable.
    """

    gist: str = ""
    step: str = ""
    text: str = ""


def read(raw: bytes) -> Words:
    """Read last words."""
    text = raw.decode("utf-8", "replace").replace("\0", "").strip()
    if not text:
        return Words()
    lines = text.splitlines()
    step = gist = ""
    plain: list[str] = []
    for line in lines:
        said = _step(line)
        if said is None:
            plain.append(line)
        elif not step:
            step = str(said.get("step", ""))
            gist = str(said.get("message", ""))
    if not gist:
        gist = _last_of_traceback(plain)
    return Words(gist[:GIST_CHARS], step, "\n".join(plain) or gist)


def _step(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and "step" in said else None


def _last_of_traceback(lines: list[str]) -> str:
    """Return the line that names the exception, or the fault that ended the interpreter."""
    for line in lines:
        if line.startswith("Fatal Python error"):
            return line
    for line in reversed(lines):
        if line and not line.startswith((" ", "\t")):
            return line
    return lines[-1].strip() if lines else ""
