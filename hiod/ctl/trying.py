"""`hiodctl try`: a throw-away boss in a temporary directory.

Decides what its crew file holds and when its directories go.  Leaves running the crew to the boss,
a process of its own.  Invariant: when this returns, the boss has ended; its directories are gone,
or it has been said why not.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiod.ctl import adding
from hiod.ctl.arguments import UsageError
from hiod.rules.kinds import is_reference
from hiod.rules.specs import RESERVED
from hiod.rules.writing import toml_key, toml_table

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD_FILES = 78
MOST_LETTERS = 40
"""Of a hand's name."""


def run(what: Sequence[str]) -> int:
    """Run a boss over these doers or crew files until Ctrl-C; its exit code says 0 or 1.

    Raises:
        UsageError: they make no crew.
    """
    text = crew_file(what)
    # Short, and on /tmp: the path of a mailbox in it has 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="hiod-", dir="/tmp"))
    code = BAD_FILES
    try:
        (home / "c" / "crew.d").mkdir(parents=True)
        (home / "c" / "crew.d" / "try.toml").write_text(text, "utf-8")
        sys.stderr.write(
            f"hiodctl try: Ctrl-C ends; beside it: hiodctl --socket {home}/r/admin.sock\n"
        )
        code = _boss(home)
    finally:
        if code in (0, BAD_FILES):
            shutil.rmtree(home, ignore_errors=True)
        else:
            sys.stderr.write(
                f"hiodctl try: the boss ended by {code}; its hands may be there still,"
                f" so {home} was kept\n"
            )
    return 0 if code == 0 else 1


def _boss(home: Path) -> int:
    words = [sys.executable, "-m", "hiod", "run"]
    for flag, folder in (("config", "c"), ("runtime", "r"), ("state", "s")):
        words += [f"--{flag}-dir", str(home / folder)]
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        with subprocess.Popen(words) as boss:  # noqa: S603 - our own interpreter, no shell
            # A terminal's Ctrl-C reaches the boss as well, but a signal to this process alone does
            # not; told twice, the boss still stops its hands once.
            for number in before:
                signal.signal(number, lambda *_: boss.terminate())
            return boss.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def crew_file(what: Sequence[str]) -> str:
    """Return one crew file for doers (``module:attribute``) and crew files alike.

    Raises:
        UsageError: one of them is neither, or two hands have one name.
    """
    specs: dict[str, dict[str, Any]] = {}
    for word in what:
        for spec in _specs(word):
            name = str(spec.pop("name"))
            if name in specs:
                raise UsageError(
                    f'hiodctl try: "{name}" is there twice; one crew has one of a name'
                )
            specs[name] = spec
    return "\n".join(toml_table(f"hand.{toml_key(name)}", spec) for name, spec in specs.items())


def _specs(word: str) -> list[dict[str, Any]]:
    if Path(word).is_file():
        text, directory = adding.read(word)
        return [
            adding.absolute(spec, directory) for spec in adding.specs_in(text or "", word, None)
        ]
    if not is_reference(word):
        dotted = word.replace("/", ".")
        what = f"no module:attribute; a module has dots: {dotted}"
        if not is_reference(dotted):
            what = "neither a file nor a module:attribute"
        raise UsageError(f"hiodctl try: {word} is {what}")
    return [{"name": _name(word), "doers": [word], "path": [str(Path.cwd())]}]


def _name(word: str) -> str:
    """Return a name for the hand of a reference: its last part, as far as a name may have it."""
    last = word.rpartition(":")[2].rpartition(".")[2]
    plain = unicodedata.normalize("NFKD", last.casefold()).encode("ascii", "ignore").decode()
    name = plain.lstrip("_")[:MOST_LETTERS] or "doer"
    return f"{name}-doer" if name in RESERVED else name
