"""What a hand costs: milliseconds to start and register, and memory while idle.

Run ``python bench/launching.py [HANDS]``. Prints one line a figure; PSS is what
/proc/PID/smaps_rollup says once all hands have registered and fallen idle.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from hiod.core.uxd.uxding import bindMailbox
from hiod.host.launching import Exited, Gone, Launcher, Replayed, Spawned


def until(launcher: Launcher, kind: type[Any], number: int = 1) -> list[Any]:
    found: list[Any] = []
    while len(found) < number:
        select.select((launcher.fileno(),), (), (), 30)
        found += [event for event in launcher.take() if isinstance(event, kind)]
    return found


def order(rundir: str, name: str, **facts: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "name": name,
        "hand": name,
        "generation": 1,
        "token": name,
        "cwd": rundir,
        "log": "null",
        "beat_s": 5.0,
        "boss": {"name": "boss", "addr": f"{rundir}/boss.uxd", "pid": os.getpid()},
        "addr": f"{rundir}/{name}.uxd",
        "environ": {"HIOD_NAME": name, "HIOD_GENERATION": "1"},
        **facts,
    }


def memory(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def main(number: int) -> None:
    rundir = tempfile.mkdtemp(prefix="hiod-bench-")
    boss = bindMailbox(f"{rundir}/boss.uxd")
    boss.settimeout(30)
    began = time.perf_counter()
    launcher = Launcher.start(rundir)
    until(launcher, Replayed)
    print(f"launcher up                     {(time.perf_counter() - began) * 1e3:8.1f} ms")
    names = [f"h{index}" for index in range(number)]
    boxes = [bindMailbox(f"{rundir}/{name}.uxd") for name in names]

    began = time.perf_counter()
    for name, box in zip(names, boxes, strict=True):
        launcher.spawn(order(rundir, name, doers=[]), box.fileno())
    born = until(launcher, Spawned, number)
    forked = time.perf_counter() - began
    registered: set[str] = set()
    while len(registered) < number:
        registered.add(boss.recvfrom(65536)[1])
    ready = time.perf_counter() - began
    print(f"a hand forked                   {forked / number * 1e3:8.2f} ms")
    print(f"a hand registered               {ready / number * 1e3:8.2f} ms   ({number} hands)")
    while select.select((boss,), (), (), 1.0)[0] and time.perf_counter() < began + ready + 1.0:
        boss.recv(65536)  # nobody answers here, so they say it again
    for what in ("Pss", "Private_Dirty", "Rss"):
        figure = statistics.mean(memory(event.pid, what) for event in born) / 1024
        print(f"{what:<14} of an idle hand     {figure:8.2f} MiB")
    print(f"Pss            of the launcher  {memory(launcher.pid, 'Pss') / 1024:8.2f} MiB")
    ticks = sum(
        sum(map(int, Path(f"/proc/{e.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        for e in born
    )
    print(f"CPU of a hand so far            {ticks * 10 / number:8.2f} ms")
    began = time.perf_counter()
    for name in names:
        launcher.sweep(name, 1)
    until(launcher, Exited, number)
    print(f"a hand swept and reaped         {(time.perf_counter() - began) / number * 1e3:8.2f} ms")
    launcher.quit()
    until(launcher, Gone)
    for event in born:
        os.close(event.pidfd)
        os.close(event.words)
    for box in (*boxes, boss):
        box.close()
    launcher.close()
    shutil.rmtree(rundir)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("hands", type=int, nargs="?", default=50)
    main(parser.parse_args().hands)
