"""`hiodctl`: one command line → requests → text and an exit code.

Decides where the boss is looked for and which exit code a failure has.  Leaves verbs to `verbs`
and words to `render`.  Invariant: a failure a user can cause is one sentence on stderr (or one
JSON object on stdout with --json), never a traceback.

Exit codes: 0 done, 1 refused or not allowed, 2 usage, 3 no boss there, 4 timed out.
"""

from __future__ import annotations

import io
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hiod.admin.client import PREFIX, NoAnswer, NoBoss, NotAllowed
from hiod.ctl import arguments, render, verbs
from hiod.errors import AdminError, HiodError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DONE, REFUSED, USAGE, NO_BOSS, TIMED_OUT = range(5)
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one ``hiodctl`` command and return its exit code.

    Parameters:
        argv: the words after ``hiodctl``; None: those this process was given.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    wants_json = "--json" in words
    verb = ""
    _ready_output()
    try:
        parsed = arguments.parse(words)
        verb = parsed.verb
        if verb in ("help", "version"):
            _show_help(parsed.text)
            return DONE
        code = verbs.run(parsed, _view())
        sys.stdout.flush()
    except HiodError as ex:
        return _told(ex, verb, wants_json=wants_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has what it wanted; without this Python complains at exit.
        _let_go_of_output()
        return DONE
    except OSError as ex:
        _let_go_of_output()
        sys.stderr.write(f"hiodctl {verb}: what came of it cannot be written: {ex.strerror}\n")
        return REFUSED
    return code


def _ready_output() -> None:
    """Have an output that takes every text, whatever the terminal can show and whoever listens."""
    if sys.stdout is None:  # closed by whoever called: nobody reads
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _show_help(text: str) -> None:
    view = _view()
    for line in text.splitlines():
        # What goes on stands under the text, behind the word it is about.
        indent = len(line) - len(line.lstrip())
        lines = render.figures.labelled(line[:indent], line[indent:], view)
        sys.stdout.write(lines + "\n")


def _let_go_of_output() -> None:
    """Throw away what standard output still holds, or Python would fail on it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _view() -> render.figures.View:
    """Say who reads: a person at a terminal, or a program."""
    person = sys.stdout.isatty()
    colour = person and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    columns = 80
    if person:
        try:
            columns = os.get_terminal_size(1).columns or columns
        except OSError:
            columns = 80
    return render.figures.View(datetime.now(UTC), None, person, colour, columns)


def _told(ex: HiodError, verb: str, *, wants_json: bool) -> int:
    """Tell the user, and return the exit code."""
    if isinstance(ex, arguments.UsageError):
        sys.stderr.write(f"{render.figures.printable(str(ex))}\n")
        return USAGE
    sentence = render.refusals.refusal(ex) if isinstance(ex, AdminError) else str(ex)
    if wants_json:
        sys.stdout.write(render.figures.as_json(_as_error(ex, sentence), _view()))
    else:
        if isinstance(ex, AdminError):
            sys.stdout.write(render.changes.so_far(ex.parameters, _view()))
            sys.stdout.flush()
        sys.stderr.write(f"hiodctl {verb}: {render.figures.printable(sentence)}\n")
    return exit_code(ex)


def _as_error(ex: HiodError, sentence: str) -> dict[str, object]:
    if isinstance(ex, AdminError):
        code = ex.code if "." in ex.code else PREFIX + ex.code
        return {"error": code, "parameters": ex.parameters}
    return {"error": type(ex).__name__, "parameters": {"message": sentence}}


_CODES: tuple[tuple[type[HiodError], Callable[[HiodError], int]], ...] = (
    (AdminError, lambda ex: TIMED_OUT if getattr(ex, "code", "") == "Timeout" else REFUSED),
    (verbs.TimedOut, lambda _: TIMED_OUT),
    (NoAnswer, lambda _: TIMED_OUT),
    (NoBoss, lambda _: NO_BOSS),
    (NotAllowed, lambda _: REFUSED),
)


def exit_code(ex: HiodError) -> int:
    """Return the exit code that says what kind of failure it was."""
    for kind, code in _CODES:
        if isinstance(ex, kind):
            return code(ex)
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
