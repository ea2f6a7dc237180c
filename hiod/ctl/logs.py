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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiod.errors import HiodError

if TYPE_CHECKING:
    from collections.abc import Mapping

TAIL_S = 2.0


class NoLog(HiodError):  # noqa: N818 - named for the state it reports
    """What the hand printed cannot be read, or is kept nowhere."""


def command(
    reply: Mapping[str, Any], *, lines: int, follow: bool, as_json: bool, quiet: bool = True
) -> list[str]:
    """Return the command that shows a hand's log.

    Parameters:
        reply: of ``status``.
        lines: how many of the last.
        follow: and what comes.
        as_json: the journal's JSON instead of text.
        quiet: nothing is to be said of what the caller may not read.

    Raises:
        NoLog: there is none, or no program that reads it.
    """
    name, log = reply["name"], reply.get("log")
    if log == "journal":
        words = ["journalctl", *(["-q"] if quiet else []), "-n", str(lines)]
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
    """Become the command that shows the log, unless a file is wanted as JSON.

    Becoming it, and not its parent: what ends `hiodctl logs -f` ends it, however that is done.

    Raises:
        NoLog: there is none, or it cannot be read.
    """
    # Who may not read the whole journal is told so by journalctl, which knows the groups.
    files = Path("/").glob("*/log/journal/*/system.journal")
    quiet = any(os.access(path, os.R_OK) for path in files)
    words = command(reply, lines=lines, follow=follow, as_json=as_json, quiet=quiet)
    if words[0] == "tail":
        _check_file(reply["name"], Path(words[-1]), follow=follow)
        if as_json:
            _show_as_json(words)
            return
    sys.stdout.flush()
    os.execvp(words[0], words)  # noqa: S606 - an argv of our own, no shell


def _show_as_json(words: list[str]) -> None:
    """Print each line as an object with the journal's name for it."""
    with subprocess.Popen(words, stdout=subprocess.PIPE) as reading:  # noqa: S603 - our own argv
        try:
            for line in reading.stdout or ():
                message = line.decode("utf-8", "replace").removesuffix("\n")
                sys.stdout.write(json.dumps({"MESSAGE": message}, ensure_ascii=False) + "\n")
                sys.stdout.flush()
        finally:
            reading.terminate()


def _check_file(name: str, path: Path, *, follow: bool) -> None:
    """Refuse what tail would refuse, in words that name the hand.

    Raises:
        NoLog: there is nothing yet, or it is not for the caller to read.
    """
    try:
        with path.open("rb"):
            return
    except FileNotFoundError as ex:
        if follow:  # it may come, and tail waits for it
            return
        raise NoLog(f"{name} has printed nothing yet: there is no {path}") from ex
    except OSError as ex:
        import pwd  # noqa: PLC0415 - only for this sentence

        uid = os.geteuid()
        try:
            who = pwd.getpwuid(uid).pw_name
        except KeyError:
            who = "nobody known"
        raise NoLog(
            f"{who} (uid {uid}) cannot read what {name} printed, {path}: {ex.strerror};"
            " it belongs to the boss's user"
        ) from ex


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
