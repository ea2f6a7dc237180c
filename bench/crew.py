"""What a crew costs: start, memory, idle CPU, a death, a stop, and the list of it.

    python bench/crew.py [hands=50] [idle_s=20]

Starts a boss of its own in a temporary directory and ends it. Beside it, on the same machine at
the same moment: bare Python processes that do as little. Figures of another run are of another
machine.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hiod.admin.client import Client, NoBoss
from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 60.0
BEAT_S = 5.0


class Figure(NamedTuple):
    """One line: what was measured, what is aimed at, and what the machine itself takes."""

    what: str
    value: str
    target: str = ""
    bare: str = ""


def cpu_s(pids: list[int]) -> float:
    """Return CPU time so far in seconds, to the nanosecond: ticks are coarser than what is used."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


def switches(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Crew:
    """A boss of our own and what it is asked."""

    def __init__(self, top: Path) -> None:
        self.socket = str(top / "r" / "admin.sock")
        argv = [sys.executable, "-m", "hiod", "run", "--config-dir", str(top / "c")]
        argv += ["--runtime-dir", str(top / "r"), "--state-dir", str(top / "s")]
        self.boss = subprocess.Popen(argv, stderr=(top / "log").open("wb"))
        deadline = time.monotonic() + WAIT_S
        while True:
            try:  # bound is not yet listening, and it looks for what an earlier boss left
                self.client = Client(self.socket, timeout_s=WAIT_S)
                self.add("first")  # so that the launcher is there before the clock runs
            except (AdminError, NoBoss):
                if time.monotonic() >= deadline:
                    self.boss.terminate()
                    self.boss.wait(WAIT_S)
                    raise
                time.sleep(0.02)
            else:
                return

    def add(self, name: str, **facts: Any) -> None:
        spec = {"name": name, "doers": [], **facts}
        self.client.call("add", {"spec": spec, "wait": "ready", "timeout_s": WAIT_S})

    def rows(self, *names: str) -> list[dict[str, Any]]:
        return self.client.call("list", {"names": list(names)} if names else {})["hands"]

    def launchers(self) -> list[int]:
        return [one["pid"] for one in self.client.call("about")["launchers"]]


@contextmanager
def crew(config: str = "") -> Iterator[Crew]:
    """Give a boss; ``config`` is its hiod.toml."""
    top = Path(tempfile.mkdtemp(prefix="hb"))
    try:
        (top / "c").mkdir()
        (top / "c" / "hiod.toml").write_text(config)
        made = Crew(top)
        try:
            yield made
        finally:
            made.client.close()
            made.boss.terminate()
            made.boss.wait(WAIT_S)
    finally:
        shutil.rmtree(top)


def share(pids: list[int], seconds: float) -> tuple[float, float]:
    """Return the per cent of a core these processes take, and their wake-ups a second."""
    before, woken, begun = cpu_s(pids), switches(pids), time.perf_counter()
    time.sleep(seconds)
    spent = time.perf_counter() - begun
    return (cpu_s(pids) - before) / spent * 100, (switches(pids) - woken) / spent


def bare_share(count: int, seconds: float) -> float:
    """Return the per cent of so many Pythons that send a datagram each beat, and of its reader."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind("")
        pids = []
        for number in range(count + 1):
            pid = os.fork()
            if pid == 0:
                if number == count:
                    while True:
                        reader.recv(1000)
                epoll = select.epoll()
                time.sleep(number / count * BEAT_S)
                while True:
                    reader.sendto(b"x" * 150, reader.getsockname())
                    epoll.poll(BEAT_S)
            pids.append(pid)
        time.sleep(BEAT_S)
        try:
            return share(pids, seconds)[0]
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def bare_fork_mib() -> float:
    """Return the PSS of a bare ``python -S`` that sleeps."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as bare:
        assert bare.stdout is not None
        bare.stdout.readline()
        return pss_mib(bare.pid)


def figures(hands: int, idle_s: float) -> Iterator[Figure]:
    """Measure one crew from its start to its end."""
    with crew() as one:
        client = one.client
        begun = time.perf_counter()
        one.add("idle", count=hands, restart={"delay_s": 0, "limit": 10_000})
        took = time.perf_counter() - begun
        yield Figure(f"{hands} hands started and registered", f"{took:.3f} s", "100 in 0.6 s")
        rows = one.rows()
        pids = [row["pid"] for row in rows]
        time.sleep(1)
        sizes = statistics.median(map(pss_mib, pids))
        bare = f"{bare_fork_mib():.1f} MiB python -S"
        yield Figure("PSS of an idle hand, median", f"{sizes:.2f} MiB", "2 MiB", bare)
        yield Figure("PSS of the boss", f"{pss_mib(one.boss.pid):.1f} MiB")
        for method, target in (("ping", ""), ("list", "0.4 ms")):
            times = []
            for _ in range(500):
                begun = time.perf_counter()
                client.call(method)
                times.append(time.perf_counter() - begun)
            p50 = f"{statistics.median(times) * 1e3:.3f} ms"
            yield Figure(f"{method}, {len(rows)} hands, p50 over the socket", p50, target)
        times = []
        for _ in range(5):
            argv = [sys.executable, "-m", "hiod", "ctl", "--socket", one.socket, "list"]
            begun = time.perf_counter()
            subprocess.run(argv, check=True, stdout=subprocess.PIPE)
            times.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", ""], check=True)
        bare = f"{(time.perf_counter() - begun) * 1e3:.0f} ms python -c ''"
        yield Figure("hiodctl list, whole process", f"{min(times) * 1e3:.0f} ms", "80 ms", bare)
        percent, wakes = share([one.boss.pid, *pids, *one.launchers()], idle_s)
        bare = f"{bare_share(hands, min(idle_s, 2 * BEAT_S)):.2f} % sleep and send"
        what = f"idle boss and {len(pids)} hands, of one core"
        yield Figure(what, f"{percent:.2f} %", "0.5 %", bare)
        yield Figure("their wake-ups a second, all together", f"{wakes:.1f}")
        times = []
        for number in range(min(hands, 20)):
            name = f"idle-{number}"
            old = one.rows(name)[0]["pid"]
            begun = time.perf_counter()
            os.kill(old, signal.SIGKILL)
            while True:
                now = one.rows(name)[0]
                if now["pid"] not in (None, old) and now["state"] == "ready":
                    break
            times.append(time.perf_counter() - begun)
        p50 = f"{statistics.median(times) * 1e3:.1f} ms"
        yield Figure("death to replacement registered, p50", p50, "20 ms")
        begun = time.perf_counter()
        client.call("stop", {"names": ["idle"], "wait": "gone", "timeout_s": WAIT_S})
        took = time.perf_counter() - begun
        yield Figure(f"clean stop of {hands} hands", f"{took:.3f} s", "50 in 0.2 s")


def show(figure: Figure) -> None:
    what, value, target, bare = figure
    print(f"{what:<46}{value:>12}   {target:<14}{bare}".rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("hands", type=int, nargs="?", default=50)
    parser.add_argument("idle_s", type=float, nargs="?", default=20.0, help="how long to watch CPU")
    given = parser.parse_args()
    for figure in figures(given.hands, given.idle_s):
        show(figure)


if __name__ == "__main__":
    main()
