"""How many cycles a second the scheduler makes, beside a bare loop over send and beside hio.

    python bench/scheduler.py

HIOD_HIO_PYTHON names a Python that has hio 0.7.20; without it hio's column stays empty.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 0.6  # a figure


def figures(package: str) -> dict[str, float]:
    """Return cycles a second by case, for the scheduler of one package."""
    doing: Any = import_module(f"{package}.base.doing")
    found: dict[str, float] = {}
    for count in (1, 100, 1000):
        found[f"{count} all due"] = by_do(doing, [doing.Doer() for _ in range(count)])
    for count in (1, 100, 1000):
        doers = [doing.Doer() for _ in range(count)]
        found[f"{count} all due, recur by hand"] = by_recur(doing, doers)
    for count in (1, 100, 1000):
        doers = [doing.Doer(tock=0.25) for _ in range(count)]
        found[f"{count} all due, tock of the Doist"] = by_recur(doing, doers)
    found["10000, 1 % due"] = by_recur(doing, staggered(doing))
    return found


def staggered(doing: Any) -> list[Any]:
    """Return 10,000 Doers of which 100 are due in each cycle of 0.25."""

    def run(tock: float = 0.0, *, first: float, **_: Any) -> Iterator[float]:
        yield tock
        yield first
        while True:
            yield tock

    return [doing.doify(run, tock=25.0, first=0.25 * (i % 100 + 1)) for i in range(10_000)]


def by_recur(doing: Any, doers: list[Any]) -> float:
    """Return the cycles a second of a program's own loop over recur."""
    doist = doing.Doist(real=False, tock=0.25, doers=doers)
    doist.enter()
    for _ in range(3):
        doist.recur()
    made = 0
    began = time.process_time()
    while (took := time.process_time() - began) < SECONDS:
        for _ in range(10):
            doist.recur()
        made += 10
    doist.exit()
    return made / took


def by_do(doing: Any, doers: list[Any]) -> float:
    """Return the cycles a second of do, entering and closing included."""
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
    doing: Any = import_module("hiod.base.doing")

    def passes(count: int) -> float:
        dogs = [doing.Doer()(tymth=lambda: 0.0) for _ in range(count)]
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

    return {f"{count} all due": passes(count) for count in (1, 100, 1000)}


def idle() -> tuple[int, int]:
    """Return the voluntary context switches and turns of a Doist with nothing to do for 2 s."""
    doing: Any = import_module("hiod.base.doing")
    doist = doing.Doist(real=True, limit=2.0, doers=[doing.Doer(tock=math.inf) for _ in range(3)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    doist.do()
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before, doist.cycles


def woken_by_pipe() -> float:
    """Return the microseconds of a turn in real time that is woken by a pipe."""
    doing: Any = import_module("hiod.base.doing")
    turns = 20_000
    inner, outer = os.pipe()

    def echo(tock: float = 0.0, **_: Any) -> Iterator[float]:
        yield tock
        for _ in range(turns):
            os.write(outer, b"x")
            yield tock
            os.read(inner, 1)

    doer = doing.doify(echo)
    doer.fds = (inner,)
    began = time.process_time()
    doing.Doist(real=True, doers=[doer]).do()
    took = time.process_time() - began
    os.close(inner)
    os.close(outer)
    return took / turns * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hio", action="store_true", help="measure the hio that is here, as JSON")
    if parser.parse_args().hio:
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
    print(f"{'cycles a second of CPU':34}{'hiod':>12}{'bare send':>12}{'hio':>12}{'times hio':>11}")
    for case, own in figures("hiod").items():
        bared = f"{loop[case]:12,.0f}" if case in loop else f"{'':12}"
        beside = f"{other[case]:12,.0f}{own / other[case]:11.1f}" if case in other else ""
        print(f"{case:34}{own:12,.0f}{bared}{beside}")
    print(
        f"a turn in real time, woken by a pipe: {woken_by_pipe():.1f} us (with its read and write)"
    )
    switches, turns = idle()
    print(f"3 Doers asleep for 2 s: {switches} voluntary context switches, {turns} turns")


if __name__ == "__main__":
    main()
