"""What a hand printed: read from the journal or its file with the caller's own rights.

Decides where to look.  Leaves the reading to journalctl and tail, which know how.
Invariant: the boss lends nobody its rights to read.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hiod.errors import HiodError

if TYPE_CHECKING:
    from collections.abc import Mapping

TAIL_S = 2.0


class NoLog(HiodError):  # noqa: N818 - named for the state it reports
    """What the hand printed cannot be read, or is kept nowhere."""


def command(reply: Mapping[str, Any], *, lines: int, follow: bool, as_json: bool) -> list[str]:
    """Return the command that shows a hand's log.

    Parameters:
        reply: of ``status``.
        lines: how many of the last.
        follow: and what comes.
        as_json: the journal's JSON instead of text.

    Raises:
        NoLog: there is none, or no program that reads it.
    """
    name, log = reply["name"], reply.get("log")
    if log == "journal":
        words = ["journalctl", "-q", "-n", str(lines)]
        words += ["-f"] if follow else ["--no-pager"]
        words += ["-o", "json" if as_json else "short"]
        words += [f"HIOD_HAND={name}", "+", f"SYSLOG_IDENTIFIER=hiod-{name}"]
    elif log == "inherit":
        raise NoLog(
            f"what {name} prints goes where the boss's own output goes (log = inherit); to keep it,"
            ' set log = "/path" in the crew file, or start the boss with hiod run --detach'
        )
    elif not log:
        raise NoLog(f"the boss does not say where the output of {name} goes")
    elif log == "null":
        raise NoLog(
            f"what {name} prints is thrown away (log = null);"
            ' to keep it, set log = "/path" in the crew file'
        )
    else:
        words = ["tail", "-n", str(lines), *(["-F"] if follow else []), "--", str(log)]
    if shutil.which(words[0]) is None:
        raise NoLog(f"cannot show the log of {name}: {words[0]} is not there; it would be\n"
                    f"  {' '.join(words)}")  # fmt: skip
    return words


def show(reply: Mapping[str, Any], *, lines: int, follow: bool, as_json: bool) -> None:
    """Become the command that shows the log; returns only by raising NoLog."""
    words = command(reply, lines=lines, follow=follow, as_json=as_json)
    sys.stdout.flush()
    os.execvp(words[0], words)  # noqa: S606 - an argv of our own, no shell


def tail(reply: Mapping[str, Any], lines: int) -> list[str]:
    """Return the last lines of a log, timed if the journal keeps it; none if it cannot be read."""
    if not lines:
        return []
    journal = reply.get("log") == "journal"
    try:
        words = command(reply, lines=lines, follow=False, as_json=journal)
        done = subprocess.run(  # noqa: S603 - an argv of our own, no shell
            words, capture_output=True, timeout=TAIL_S, check=False
        )
    except (NoLog, OSError, subprocess.TimeoutExpired):
        # The block above the tail says where the log is; `hiodctl logs` says what is wrong.
        return []
    text = done.stdout.decode("utf-8", "replace").splitlines()
    return [line for line in map(_record, text) if line] if journal else text


def _record(line: str) -> str:
    """Return one record of ``journalctl -o json`` as time and message."""
    try:
        record = json.loads(line)
        at = datetime.fromtimestamp(int(record["__REALTIME_TIMESTAMP"]) / 1e6, UTC).astimezone()
    except (ValueError, KeyError, TypeError):
        return ""
    message = record.get("MESSAGE")
    if isinstance(message, list):  # the journal's way to write what is not text
        message = bytes(message).decode("utf-8", "replace")
    return f"{at:%H:%M:%S} {message or ''}"
