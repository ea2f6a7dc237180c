"""What applying the crew files would change, kept current as cheaply as a few stat calls.

Decides when files must be read again: when one has another name, size, time or inode, or when the
crew has changed. Leaves the comparison to ``rules.roster``, the reading to its caller. Invariant:
nothing here changes the crew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hiod.boss.config import main_changes
from hiod.errors import ConfigError
from hiod.rules import roster

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hiod.boss.config import Config

Marks = tuple[tuple[str, int, int, int, int], ...]
"""Name, inode, size and times (ns) of each file."""
Problems = Sequence[dict[str, Any]]
"""What is wrong with the files, as ``ConfigError`` has it."""


class Outlook:
    """The crew files of one boss, as they are now.

    Args:
        folder: the configuration directory.
        read_config: reads it; raises ConfigError.

    Attributes:
        files: ``ok``, or what is wrong with the files.
        pending: how many definitions, and tables of ``hiod.toml``, applying them would change; 0
            while they are broken.
    """

    def __init__(self, folder: Path, read_config: Callable[[], Config]) -> None:
        self.files = "ok"
        self.pending = 0
        self._folder = folder
        self._read_config = read_config
        self._config: Config | None = None
        self._problems: Problems = ()
        self._marks: Marks | None = None
        self._members: dict[str, roster.Member] | None = None
        self._now: Config | None = None

    def look(self, members: Mapping[str, roster.Member], now: Config) -> None:
        """Bring ``files`` and ``pending`` up to date.

        Args:
            members: the wanted crew.
            now: what the boss goes by.
        """
        marks = _marks(self._folder)
        if marks == self._marks and now is self._now and members == self._members:
            return
        if marks != self._marks:
            self._marks = marks
            self._read()
        self._members, self._now = dict(members), now
        problems, self.pending = self._problems, 0
        if self._config is not None:
            wanted = self._config.hands
            problems = [one.asdict() for one in roster.clashes(members, wanted)]
            if not problems:
                main = [one for one in main_changes(now, self._config) if one.how == "live"]
                self.pending = len(main) + len(roster.plan(roster.Crew(members), wanted))
        self.files = _in_short(problems) if problems else "ok"

    def _read(self) -> None:
        self._config, self._problems = None, ()
        try:
            self._config = self._read_config()
        except ConfigError as error:
            self._problems = error.problems


def _in_short(problems: Problems) -> str:
    """Say in a sentence what is wrong with the files; hiodctl plan tells all of it."""
    count, first = len(problems), problems[0]
    more = f"{count} problems, the first: " if count != 1 else ""
    return f"broken: {more}{first['path']}: {first['message']}"


def _marks(folder: Path) -> Marks:
    """Return by what a change of the files shows; what is absent or closed to us shows as such."""
    crew = f"{folder}/crew.d"
    try:
        names = [f"{crew}/{name}" for name in sorted(os.listdir(crew)) if name.endswith(".toml")]  # noqa: PTH208 - measured: a third of the time
    except OSError:
        names = []
    found = []
    for name in (f"{folder}/hiod.toml", crew, *names):
        try:
            at = os.stat(name)  # noqa: PTH116 - measured, as above
        except OSError as error:
            found.append((name, 0, error.errno or 0, 0, 0))
        else:
            found.append((name, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns))
    return tuple(found)
