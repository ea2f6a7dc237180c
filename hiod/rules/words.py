"""The last words of a hand, read.

A hand's memfd holds what it wrote before it ended: a line of JSON for each step of its birth that
failed, the traceback of an uncaught exception, a stack dump. A program knows no memfd: of it there
is the end of its log, where that is a file. Decides which of it a person should
see first. Invariant: whatever the bytes are, there is an answer.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
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
    notes: list[str] = []
    for line in lines:
        said = _step(line)
        if said is None:
            plain.append(line)
        elif said["step"] == _NOTE:  # no failure: whatever else was said says more
            notes.append(one_line(said.get("message")))
        elif not step:
            step = one_line(said["step"])
            gist = one_line(said.get("message"))
    if not gist:
        gist = one_line(_last_of_traceback(plain or notes))
    return Words(gist[:GIST_CHARS], step[:GIST_CHARS], "\n".join([*notes, *plain]) or gist)


def read_log(raw: bytes, *, whole: bool) -> Words:
    """Read the end of what a program printed; of a part, the first line is not a line.

    What it printed last need not be why it ended, unless that names an exception or a fault.
    """
    lines = raw.decode("utf-8", "replace").replace("\0", "").splitlines()
    lines = [line.rstrip() for line in (lines if whole or len(lines) == 1 else lines[1:])]
    lines = [line for line in lines if line]
    if not lines:
        return Words()
    gist = one_line(_last_of_traceback(lines))[:GIST_CHARS]
    if not any(line.startswith((_TRACEBACK, _FATAL, '  File "')) for line in lines):
        gist = last_said(gist)
    return Words(gist, "", "\n".join(lines))


def last_said(line: str) -> str:
    """Return a line that a program printed last, as what it is and not as a cause."""
    return f'last said "{line[: GIST_CHARS - len(_SAID)]}"'


def one_line(said: object) -> str:
    """Return what can be shown, and stored, of what may be anything."""
    line = " ".join(str("" if said is None else said).split())
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )


def innermost(dump: str) -> list[str]:
    """Return the lines of the thread that answered a request for a stack, innermost frame first.

    A dump holds all threads; the one that matters is where the signal found it, of several dumps in
    the last. All lines, when none says so.
    """
    found: list[str] = []
    ours = False
    for line in dump.strip().splitlines():
        if line.startswith("Current thread 0x"):
            found, ours = [line], True
        elif not line or _DUMP in line:
            ours = False
        elif ours:
            found.append(line)
    return found or dump.strip().splitlines()


class Frame(NamedTuple):
    """One frame of a stack dump: where in which file, in which function."""

    file: str
    line: int
    function: str


_DUMP = "(most recent call first)"
_FRAME = re.compile(r'^\s*File "(.+)", line (\d+) in (.+)$')
_TRACED = re.compile(r'^  File "(.+)", line \d+, in ')
_IMPORTERS = re.compile(r"^<frozen |/importlib/__init__\.py$|/hiod/hand/main\.py$")
_OURS = re.compile(rf"/hiod/(base|core|hand|help)/|/hiod/__main__\.py$|{_IMPORTERS.pattern}")
_LIBRARIES = re.compile(r"/(site|dist)-packages/|/lib(64)?/python3[^/]*/|/bin/[^/]+$")


def _authors(file: str) -> bool:
    """Whether a file is the author's: neither hiod's nor of an installed library."""
    return not _OURS.search(file) and not _LIBRARIES.search(file)


def frames(dump: str) -> list[Frame]:
    """Return the frames that say where a hand's own code stands, innermost first.

    What called that code, which is the same for every hand, is left out; all there is, when none of
    it is the hand's own.
    """
    found = [
        Frame(told[1], int(told[2]), told[3])
        for line in innermost(dump)
        if (told := _FRAME.match(line)) is not None
    ]
    own = [at for at, frame in enumerate(found) if not _OURS.search(frame.file)]
    return found[: own[-1] + 1] if own else found


def has_traceback(text: str) -> bool:
    """Say whether there is a traceback in last words."""
    return _TRACEBACK in text


def has_dump(text: str) -> bool:
    """Say whether there is a stack dump in last words."""
    return _DUMP in text


def traced(text: str) -> list[str]:
    """Return the lines of tracebacks that say where in the author's code it went wrong.

    Left out are stack dumps beside them and the frames, with their source, of what imports, of hiod
    where frames of others remain, and of what the author's innermost frame has called.
    """
    lines = [line for line in text.strip().splitlines() if not _of_dump(line)]
    hidden = _hidden(lines)
    kept: list[str] = []
    skip = False
    for at, line in enumerate(lines):
        if not line.startswith("  ") or line.startswith('  File "'):
            skip = at in hidden
        if not skip:
            kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return [line for at, line in enumerate(kept) if not _bare(kept, at)] if len(kept) > 1 else kept


def _of_dump(line: str) -> bool:
    """Whether a line is one of a stack dump."""
    return line.endswith(f"{_DUMP}:") or line == "  ..." or _FRAME.match(line) is not None


def _bare(lines: list[str], at: int) -> bool:
    """Whether a line opens a traceback of which no frame is left."""
    follows = lines[at + 1 : at + 2]
    return lines[at].startswith(_TRACEBACK) and not any(one.startswith("  ") for one in follows)


def _hidden(lines: list[str]) -> set[int]:
    """Return which lines open frames that a person need not see."""
    files: dict[int, str] = {}
    innermost: dict[int, int] = {}  # the author's, by where its traceback begins
    begins: dict[int, int] = {}
    begin = 0
    for at, line in enumerate(lines):
        told = _TRACED.match(line)
        if line.startswith(_TRACEBACK):
            begin = at
        elif told is not None:
            files[at], begins[at] = told[1], begin
            if _authors(told[1]):
                innermost[begin] = at
    others = any(not _OURS.search(file) for file in files.values())
    return {
        at
        for at, file in files.items()
        if _IMPORTERS.search(file)
        or (others and _OURS.search(file))
        or at > innermost.get(begins[at], len(lines))
    }


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
        if line.startswith(_FATAL):
            return line
    starts = [at for at, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    # What follows the line that names the exception is the rest of its message.
    for line in lines[starts[-1] + 1 :] if starts else []:
        if _says(line):
            return line
    for line in reversed(lines):
        if _says(line):
            return line
    # Only a stack that was asked for: what of its author's code was running then.
    stack = frames("\n".join(lines))
    stack = [frame for frame in stack if _authors(frame.file)] or stack
    where = [f'File "{file}", line {line} in {function}' for file, line, function in stack]
    return (where or lines[-1:] or [""])[0]


_NOTE = "note"
_SAID = 'last said ""'
_FATAL = "Fatal Python error"
_TRACEBACK = "Traceback (most recent call last)"
_HEADERS = ("Thread 0x", "Current thread 0x", "Stack (most recent call first)")


def _says(line: str) -> bool:
    return bool(line) and not line.startswith((" ", "\t", *_HEADERS))


@lru_cache(maxsize=16)
def release(version: str) -> tuple[tuple[int, ...], bool]:
    """Return what versions are compared by: the numbers of the release, and whether it is out."""
    numbers = re.match(r"[0-9.]*", version)
    out = numbers.group() if numbers else ""
    return tuple(int(part) for part in out.split(".") if part), out == version
