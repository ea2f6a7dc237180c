"""The blocks of a page that show commands, and what becomes of each.

A block is fenced and ``sh``, or fenced and has lines that begin with ``$ ``, or indented by four.
The comment on the line above says what becomes of it::

    <!-- run by tests/FILE.py -->          every command of it is run by that test
    <!-- write PATH -->                    a file that the commands below need
    <!-- not run: WHY -->
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(```+)(\w*)$")
MARK = re.compile(r"^<!-- (run by|write|not run:) (.+) -->$")


@dataclass(frozen=True)
class Block:
    """One of them.

    Attributes:
        line: where it begins, from 1.
        how: ``run by``, ``write``, ``not run:``, or nothing when it is not marked.
        what: the test, the path, or the reason.
        lines: its text.
    """

    line: int
    how: str
    what: str
    lines: tuple[str, ...]

    @property
    def steps(self) -> list[tuple[str, list[str]]]:
        """The commands, each with what is shown below it; all lines are commands without ``$``."""
        if not any(line.startswith("$ ") for line in self.lines):
            return [(line, []) for line in self.lines if line]
        steps: list[tuple[str, list[str]]] = []
        for line in self.lines:
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif line:
                steps[-1][1].append(line)
        return steps


def blocks(page: str) -> list[Block]:
    """Return the command blocks of a page, whose path begins at the project's root."""
    lines = (ROOT / page).read_text().splitlines()
    found: list[Block] = []
    at = 0
    while at < len(lines):
        begin = at
        fence = FENCE.match(lines[at])
        if fence is not None:
            end = lines.index(fence[1], at + 1)
            inner = lines[at + 1 : end]
            at = end + 1
            if fence[2] != "sh" and not any(line.startswith("$ ") for line in inner):
                continue
        elif lines[at].startswith("    ") and not lines[at - 1].strip().startswith(("-", "*")):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at]):
                at += 1
            inner = [line[4:] for line in lines[begin:at]]
            while not inner[-1]:
                inner.pop()
        else:
            at += 1
            continue
        mark = MARK.match(lines[begin - 1])
        how, what = (mark[1], mark[2]) if mark else ("", "")
        found.append(Block(begin + 1, how, what, tuple(inner)))
    return found


def run_by(page: str, test: str) -> list[Block]:
    """Return what that test is to run of a page, and the files this needs, in their order."""
    relative = str(Path(test).resolve().relative_to(ROOT))
    mine = ("run by", relative)
    return [one for one in blocks(page) if one.how == "write" or (one.how, one.what) == mine]
