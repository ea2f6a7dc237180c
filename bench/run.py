"""All figures that hiod is to be held to in one table, then what each of the other benches says.

    python bench/run.py [--short]

``--short`` leaves out the other benches. Every figure is taken in this one run; the right column is
what the machine takes for the same without hiod, so that a busy or slow machine can be told from a
slow hiod. HIOD_HIO_PYTHON names a Python that has hio 0.7.20, to have hio beside.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

import crew
import roundtrip

HERE = Path(__file__).parent
OTHERS = ("launching", "memos", "scheduler", "watching", "admin", "library", "peers")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="leave out the other benches")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} before\n")
    print(f"{'':<46}{'hiod':>12}   {'aim':<14}beside")
    floor, hands, hio = roundtrip.bare(10_000), roundtrip.by_hands(10_000), roundtrip.hio()
    beside = f"{floor.p50:.0f} us bare epoll" + (f", {hio.p50:,.0f} us hio" if hio else "")
    what, aim = "memo there and back, two idle hands, p50", f"{3 * floor.p50:.0f} us"
    crew.show(crew.Figure(what, f"{hands.p50:.0f} us", aim, beside))
    for count, idle_s in ((50, 20.0), (100, 0.0), (1000, 0.0)):
        for figure in crew.figures(count, idle_s):
            if idle_s or "started" in figure.what or "stop of" in figure.what:
                crew.show(figure)
    if given.short:
        return
    for name in OTHERS:
        print(f"\n== bench/{name}.py", flush=True)
        subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=True)


if __name__ == "__main__":
    main()
