"""A boss and two hands in three processes; the boss's program ends when they have counted to ten.

Run it: ``python docs/examples/library_crew.py``.  It prints what the store had counted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hiod.base import Doist
from hiod.base.doing import Doer
from hiod.base.multidoing import Bosser, CrewDoer, Crewer

if TYPE_CHECKING:
    from collections.abc import Generator

    from hiod.base.multidoing import MemoDom

ENOUGH = 10


class Store(CrewDoer):
    """Counts readings; tells the boss when there are enough."""

    tags = ("READING", "TOTAL")

    def enter(self, *, temp: bool | None = None) -> None:
        """Begin with nothing."""
        del temp
        self.values: list[int] = []

    def memo(self, memo: MemoDom) -> None:
        """Take a reading in, or say how many there are."""
        if memo.tag == "READING":
            self.values.append(memo.load["value"])
            if len(self.values) == ENOUGH:
                self.tell("boss", "ENOUGH", {"sum": sum(self.values)})
        else:
            self.reply(memo, {"count": len(self.values)})


class Sampler(CrewDoer):
    """Sends a reading each tock, and asks how many have come."""

    def recur(self, tock: float) -> Generator[float, float, bool]:
        """Go on until the store has enough."""
        value = 0
        while True:
            yield tock
            value += 1
            self.tell("store", "READING", {"value": value})
            got = yield from self.ask("store", "TOTAL", timeout=2.0)
            if got is not None and got.load["count"] >= ENOUGH:
                while True:
                    yield math.inf


class Report(Doer):
    """The boss's own Doer: prints what the store said and sends the crew home."""

    def __init__(self, boss: Bosser) -> None:
        """Watch a boss's inbox every tenth of a second."""
        super().__init__(tock=0.1)
        self.boss = boss

    def recur(self, tyme: float) -> bool:
        """Look; done once it has been said."""
        del tyme
        if not self.boss.inbox:
            return False
        print(self.boss.inbox.popleft()[0])  # noqa: T201 - what the example shows
        self.boss.remove(list(self.boss.crew))
        return True


def load(name: str, kind: type[CrewDoer], tock: float) -> dict[str, object]:
    """Define a hand: its Crewer first, then its Doers."""
    crewer = Crewer(name=name, temp=True)
    return {"name": name, "doers": [crewer, kind(crewer=crewer, tock=tock)]}


def main() -> None:
    """Run boss and crew until all is done."""
    boss = Bosser(
        name="boss", temp=True, loads=[load("store", Store, 0.0), load("sampler", Sampler, 0.0625)]
    )
    Doist(real=True, doers=[boss, Report(boss)]).do()


if __name__ == "__main__":
    main()
