"""How many cycles a second the scheduler makes, beside a bare loop over send and beside hio.

    python bench/scheduler.py

HIOD_HIO_PYTHON names a Python that has hio 0.7.20; without it hio's column stays empty.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

SECONDS = 0.6  # a figure


def figures(package: str) -> dict[str, float]:
    """Return cycles a second by case, for the scheduler of one package."""
    doing: Any = import_module(f"{package}.base.doing")

    class Idle(doing.Doer):  # type: ignore[misc]  # one class for both packages
        def recur(self, tyme: float) -> bool:
            return False

    def cycles(doers: list[Any], tock: float = 0.25) -> float:
        doist = doing.Doist(real=False, tock=tock, doers=doers)
        doist.enter()
        recur = doist.recur
        for _ in range(3):
            recur()
        made = 0
        began = time.process_time()
        while (took := time.process_time() - began) < SECONDS:
            for _ in range(10):
                recur()
            made += 10
        doist.exit()
        return made / took

    def spread() -> list[Any]:
        """10,000 Doers of which 100 are due in each cycle."""
        doers = []
        for index in range(10_000):
            doer = Idle(tock=25.0)
            doer.opts = {}
            doers.append(doer)
            doer.first = index % 100
        return doers

    found: dict[str, float] = {}
    for count in (1, 100, 1000):
        found[f"{count} all due, tock 0"] = cycles([Idle() for _ in range(count)])
    for count in (1, 100, 1000):
        found[f"{count} all due, tock of the Doist"] = cycles(
            [Idle(tock=0.25) for _ in range(count)]
        )
    found["10000, 1 % due"] = cycles(_staggered(doing))
    for count in (1, 100, 1000):
        found[f"{count} all due, by do()"] = _by_do(doing, [Idle() for _ in range(count)])
    return found


def _staggered(doing: Any) -> list[Any]:
    """Return 10,000 Doers of which 100 are due in each cycle of 0.25."""

    def staggered(
        tymth: Any = None, tock: float = 0.0, *, first: float, **_: Any
    ) -> Iterator[float]:
        yield tock
        yield first
        while True:
            yield tock

    return [doing.doify(staggered, tock=25.0, first=0.25 * (i % 100 + 1)) for i in range(10_000)]


def _by_do(doing: Any, doers: list[Any]) -> float:
    limit = 100.0
    while True:
        doist = doing.Doist(real=False, tock=1.0, doers=doers, limit=limit)
        began = time.process_time()
        doist.do()
        took = time.process_time() - began
        if took >= SECONDS / 2:
            return limit / took
        limit *= max(2, SECONDS / took * 0.8)


def bare() -> dict[str, float]:
    """Return the passes a second of a bare loop over the Doers' generators."""
    from hiod.base.doing import Doer

    def passes(count: int) -> float:
        dogs = [Doer()(tymth=lambda: 0.0) for _ in range(count)]
        for dog in dogs:
            next(dog)
        made = 0
        began = time.process_time()
        while (took := time.process_time() - began) < SECONDS:
            for _ in range(10):
                for dog in dogs:
                    dog.send(0.0)
            made += 10
        for dog in dogs:
            dog.close()
        return made / took

    return {f"{count} all due, tock 0": passes(count) for count in (1, 100, 1000)}


def idle() -> tuple[int, int]:
    """Return the voluntary context switches and turns of a Doist with nothing to do for 2 s."""
    from hiod.base.doing import Doer, Doist

    doist = Doist(real=True, limit=2.0, doers=[Doer(tock=math.inf) for _ in range(3)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    doist.do()
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before, doist.cycles


def real_cost() -> Callable[[], float]:
    """Return what measures the microseconds a turn in real time costs when woken by a pipe."""
    from hiod.base.doing import Doer, Doist

    inner, outer = os.pipe()

    class Echo(Doer):
        turns = 0

        def fds(self) -> tuple[int]:
            return (inner,)

        def recur(self, tyme: float) -> bool:
            if self.turns:
                os.read(inner, 1)
            os.write(outer, b"x")
            self.turns += 1
            return self.turns > 20_000

    def measure() -> float:
        began = time.process_time()
        Doist(real=True, doers=[Echo()]).do()
        took = time.process_time() - began
        os.close(inner)
        os.close(outer)
        return took / 20_000 * 1e6

    return measure


def main() -> None:
    if sys.argv[1:] == ["--hio"]:
        print(json.dumps(figures("hio")))
        return
    other: dict[str, float] = {}
    python = os.environ.get("HIOD_HIO_PYTHON")
    if python:
        out = subprocess.run(
            [python, __file__, "--hio"], check=True, capture_output=True, text=True
        ).stdout
        other = json.loads(out.splitlines()[-1])
    loop = bare()
    print(f"{'cycles a second':34}{'hiod':>12}{'bare send':>12}{'hio':>12}{'times hio':>11}")
    for case, own in figures("hiod").items():
        bared = f"{loop[case]:12,.0f}" if case in loop else f"{'':12}"
        beside = f"{other[case]:12,.0f}{own / other[case]:11.1f}" if case in other else ""
        print(f"{case:34}{own:12,.0f}{bared}{beside}")
    print(f"a turn in real time, woken by a pipe: {real_cost()():.1f} us (with its read and write)")
    switches, turns = idle()
    print(f"3 Doers asleep for 2 s: {switches} voluntary context switches, {turns} turns")


if __name__ == "__main__":
    main()
