"""Hands that talk without pause and keep book of every memo: run in hands, by ``path``.

A Chatter sends numbered memos to its peers and expects numbers without gap or repetition from
whoever writes to it. What it counted lies in ``counts.json`` in its state directory, written anew
while it is told to: after HUSH it sends no more, and writes down everything that still comes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiod import CrewDoer

if TYPE_CHECKING:
    from collections.abc import Generator

    from hiod.base.crewdoms import MemoDom


class Chatter(CrewDoer):
    """Sends numbers to peers, checks those it receives.

    Args:
        count: how many hands of this definition there are; it writes to the next three.
        pad: letters in each memo beside the number.
        burst: memos each peer gets at a time.
    """

    tags = ("NUMBER", "HUSH")

    def __init__(self, *, count: int, pad: int = 0, burst: int = 1, **kwa: Any) -> None:
        super().__init__(**kwa)
        self.count = count
        self.burst = burst
        self.pad = "x" * pad
        self.hushed = False
        self.sent: dict[str, int] = {}
        self.refused = 0
        self.got: dict[str, int] = {}
        self.wrong: list[str] = []

    def enter(self, *, temp: bool | None = None) -> None:
        own, crewer = self.crewer.ordinal, self.crewer
        self.sent = {f"{crewer.hand}-{(own + step) % self.count}": 0 for step in (1, 2, 3)}
        self.place = Path(os.environ["HIOD_STATE_DIR"]) / "counts.json"

    def recur(self, tock: float) -> Generator[float, float, bool]:
        while True:
            yield tock
            if self.hushed or not set(self.sent) <= set(self.crewer.addrByName):
                continue
            for name in list(self.sent) * self.burst:
                load = {"n": self.sent[name] + 1, "gen": self.crewer.generation, "pad": self.pad}
                if self.tell(name, "NUMBER", load):
                    self.sent[name] += 1
                else:
                    self.refused += 1

    def memo(self, memo: MemoDom) -> None:
        if memo.tag == "HUSH":
            self.hushed = True
        else:
            last, number = self.got.get(memo.name, 0), memo.load["n"]
            if number != last + 1:
                self.wrong.append(f"{memo.name}: {number} after {last}")
            self.got[memo.name] = number
        if self.hushed:
            self.write()

    def write(self) -> None:
        crewer = self.crewer
        text = json.dumps(
            {
                "pid": os.getpid(),
                "sent": self.sent,
                "got": self.got,
                "wrong": self.wrong[:10],
                "refused": self.refused,
                "dead": sum(crewer.deads.values()),
                "drops": {str(why): count for why, count in crewer.drops.items()},
            }
        )
        fresh = self.place.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self.place)


class Reporter(CrewDoer):
    """Tells the boss all it can until that is refused, and goes on writing down how its hand is.

    It begins when there is a file ``begin`` in its state directory.
    In ``figures.json`` in its state directory: memos the boss is to have (``told``), those that
    were refused, memos of all kinds received and not yet sent, and its own pages of memory.
    """

    def __init__(self, *, tock: float = 0.05, most_refused: int = 50, **kwa: Any) -> None:
        super().__init__(tock=tock, **kwa)
        self.most_refused = most_refused
        self.told = self.refused = 0

    def recur(self, tock: float) -> Generator[float, float, bool]:
        place = Path(os.environ["HIOD_STATE_DIR"]) / "figures.json"
        fresh, begin = place.with_suffix(".new"), place.with_name("begin")
        while True:
            yield tock
            if not begin.exists():
                continue
            for _ in range(50):
                if self.refused < self.most_refused:
                    if self.tell("boss", "NEWS", {"n": self.told + 1, "pad": "x" * 200}):
                        self.told += 1
                    else:
                        self.refused += 1
            status = Path("/proc/self/status").read_text().partition("RssAnon:")[2]
            figures = {
                "told": self.told,
                "refused": self.refused,
                "received": self.crewer.memosReceived,
                "outbox": self.crewer.outboxDepth,
                "own_kb": int(status.split()[0]),
            }
            fresh.write_text(json.dumps(figures))
            fresh.rename(place)


class Mortal(CrewDoer):
    """Ends as it is told to by a file ``end`` in its state directory: with an exit code."""

    def __init__(self, *, tock: float = 0.02, **kwa: Any) -> None:
        super().__init__(tock=tock, **kwa)

    def recur(self, tock: float) -> Generator[float, float, bool]:
        order = Path(os.environ["HIOD_STATE_DIR"]) / "end"
        while True:
            yield tock
            if order.exists():
                code = int(order.read_text())
                order.unlink()
                if code > 100:
                    raise RuntimeError(f"told to fail with {code}")
                raise SystemExit(code)


class Picky(CrewDoer):
    """Refuses to begin while there is a file ``refuse`` in its state directory."""

    def enter(self, *, temp: bool | None = None) -> None:
        if (Path(os.environ["HIOD_STATE_DIR"]) / "refuse").exists():
            raise RuntimeError("told to refuse")


class Collector(CrewDoer):
    """Writes down the numbers it receives, one a line, in ``numbers`` in its state directory."""

    tags = ("NUMBER",)

    def memo(self, memo: MemoDom) -> None:
        with (Path(os.environ["HIOD_STATE_DIR"]) / "numbers").open("a") as file:
            file.write(f"{memo.load['n']} {self.crewer.generation}\n")


class Burst(CrewDoer):
    """Sends as many numbers as it is told to, to whom it is told."""

    tags = ("BURST",)

    def memo(self, memo: MemoDom) -> None:
        for number in range(1, memo.load["count"] + 1):
            self.tell(memo.load["to"], "NUMBER", {"n": number})
        self.status(f"sent {memo.load['count']}")
