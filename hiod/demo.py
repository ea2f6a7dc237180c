"""Doers to try hiod with, and to copy from: a clock, and a pipeline that measures this machine.

``Ticker`` is the least a Doer can be.  ``Sampler``, ``Store`` and ``Report`` run in hands of their
own and speak to each other directly: readings go from samplers to the store, the report asks the
store for a summary.  Each decides only its own work; how often they run, where they keep things and
what they are called is the crew file's (``etc/demo/crew.d/demo.toml``).  Invariant: none of them
needs another to be there; one that is missing costs readings, and is counted or said, no more.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiod import CrewDoer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from hiod.base.crewdoms import MemoDom

__all__ = ["Report", "Sampler", "Store", "Ticker"]


class Ticker(CrewDoer):
    """Counts, and says how far it has come: ``hiodctl add hello --doer hiod.demo:Ticker``."""

    def __init__(self, *, tock: float = 1.0, **kwa: Any) -> None:
        super().__init__(tock=tock, **kwa)

    def recur(self, tock: float) -> Generator[float, float, bool]:
        """Count once every ``tock`` seconds."""
        ticks = 0
        while True:
            yield tock
            ticks += 1
            self.status(f"{ticks} tick{'s' if ticks > 1 else ''}")


# ---------------------------------------------------------------------------- what is measured


def load() -> float:
    """Return how many processes ran or waited to, averaged over the last minute."""
    return float(Path("/proc/loadavg").read_text("ascii").split()[0])


def memory() -> float:
    """Return how much of the memory is in use, in percent."""
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    kib = {name: int(value.split()[0]) for name, _, value in (x.partition(":") for x in lines)}
    return 100.0 * (1 - kib["MemAvailable"] / kib["MemTotal"])


def pressure() -> float:
    """Return for how much of the last ten seconds something waited for a CPU, in percent."""
    some = Path("/proc/pressure/cpu").read_text("ascii").splitlines()[0]
    return float(some.split()[1].removeprefix("avg10="))


def sources() -> dict[str, Callable[[], float]]:
    """Return what this machine can be asked, by name; not every kernel knows of pressure."""
    found = {}
    for read in (load, memory, pressure):
        try:
            read()
        except OSError:
            continue
        found[read.__name__] = read
    return found


class Sampler(CrewDoer):
    """Measures the machine every ``tock`` seconds and tells the store, with nobody in between.

    One of several alike takes the source of its own number, ``sampler-1`` the second of them.
    """

    def __init__(self, *, store: str = "store", tock: float = 1.0, **kwa: Any) -> None:
        """Prepare to tell the hand called ``store``."""
        super().__init__(tock=tock, **kwa)
        self._store = store

    def recur(self, tock: float) -> Generator[float, float, bool]:
        """Measure and tell; a reading there is no room for is counted and let go."""
        found = sources()
        what = list(found)
        if self.crewer is not None and self.crewer.ordinal is not None:
            what = [what[self.crewer.ordinal % len(what)]]
        lost = 0
        while True:
            yield tock
            for name in what:
                value = found[name]()
                if not self.tell(self._store, "READING", {"what": name, "value": value}):
                    lost += 1
                self.status(f"{name} {value:.2f}" + (f", {lost} lost" if lost else ""))


# ---------------------------------------------------------------------------- what is kept

TABLE = "CREATE TABLE IF NOT EXISTS reading (at REAL, hand TEXT, what TEXT, value REAL)"
INSERT = "INSERT INTO reading VALUES (?, ?, ?, ?)"
FORGET = "DELETE FROM reading WHERE rowid <= (SELECT max(rowid) FROM reading) - ?"
COUNT = "SELECT count(*) FROM reading"
SUMMARY = "SELECT what, count(*), min(value), avg(value), max(value) FROM reading GROUP BY what"
FIGURES = ("count", "least", "mean", "most")


class Store(CrewDoer):
    """Keeps readings in an SQLite file and answers who asks for their summary.

    Readings come by memo, at once; they are committed together, every ``tock`` seconds and at the
    end.  The file and what is in it outlive the hand.  A disk that takes no more ends the hand:
    what then is the crew file's ``restart`` to say.
    """

    tags = ("READING", "SUMMARY")

    def __init__(self, *, path: str, keep: int = 100_000, tock: float = 0.5, **kwa: Any) -> None:
        """Prepare to keep the newest ``keep`` readings in the file at ``path``."""
        super().__init__(tock=tock, **kwa)
        self._path = path
        self._keep = keep
        self._new: list[tuple[float, str, str, float]] = []
        self._refused = 0
        self._told = 0

    def enter(self, *, temp: bool | None = None) -> None:
        """Open the file, and only then call the hand ready."""
        del temp
        self._db = sqlite3.connect(self._path)
        self._db.execute(TABLE)
        self._say(self.ready)

    def memo(self, memo: MemoDom) -> None:
        """Take a reading, or answer a question; what makes no sense is counted, never raised."""
        if memo.tag == "SUMMARY":
            self._commit()
            self.reply(memo, {"what": self._summary()})
            return
        what, value = memo.load.get("what"), memo.load.get("value")
        if isinstance(what, str) and isinstance(value, int | float):
            self._new.append((time.time(), memo.name, what, value))
        else:
            self._refused += 1

    def recur(self, tock: float) -> Generator[float, float, bool]:
        """Commit what has come and say how much there is."""
        while True:
            yield tock
            if self._new or self._refused > self._told:
                self._commit()
                self._say(self.status)

    def exit(self) -> None:
        """Commit the last readings and close the file, however the hand ends."""
        if hasattr(self, "_db"):
            with closing(self._db):
                self._commit()

    def _commit(self) -> None:
        with self._db:
            self._db.executemany(INSERT, self._new)
            self._db.execute(FORGET, (self._keep,))
        self._new.clear()

    def _summary(self) -> dict[str, dict[str, float]]:
        return {
            what: dict(zip(FIGURES, figures, strict=True))
            for what, *figures in self._db.execute(SUMMARY)
        }

    def _say(self, how: Callable[[str], None]) -> None:
        (count,) = self._db.execute(COUNT).fetchone()
        how(f"{count} readings" + (f", {self._refused} refused" if self._refused else ""))
        self._told = self._refused


# ---------------------------------------------------------------------------- what is shown


class Report(CrewDoer):
    """Asks the store every ``tock`` seconds, and prints and shows what it answered."""

    def __init__(
        self, *, store: str = "store", timeout_s: float = 2.0, tock: float = 5.0, **kwa: Any
    ) -> None:
        """Prepare to ask the hand called ``store``, and to wait ``timeout_s`` for its answer."""
        super().__init__(tock=tock, **kwa)
        self._store = store
        self._timeout_s = timeout_s

    def recur(self, tock: float) -> Generator[float, float, bool]:
        """Ask, print, wait; a store that does not answer is asked again next time."""
        while True:
            yield tock
            got = yield from self.ask(self._store, "SUMMARY", timeout=self._timeout_s)
            if got is None:
                self._say(f"{self._store} did not answer")
            else:
                self._say(*summed_up(got.load["what"]))

    def _say(self, brief: str, *lines: str) -> None:
        for line in lines or (brief,):
            print(line, flush=True)  # noqa: T201 - what a hand prints is its log
        self.status(brief)


def summed_up(what: dict[str, dict[str, float]]) -> list[str]:
    """Return the store's answer in brief, and as one line for each thing that is measured."""
    brief = ", ".join(f"{name} {of['mean']:.2f}" for name, of in sorted(what.items()))
    return [
        brief or "no readings yet",
        *(
            f"{name:<9}{of['mean']:6.2f}  ({of['least']:.2f} to {of['most']:.2f},"
            f" {of['count']} readings)"
            for name, of in sorted(what.items())
        ),
    ]
