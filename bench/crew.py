"""What a crew costs: start, memory, idle CPU, a death, a stop, and the list of it.

    python bench/crew.py [hands=50] [idle_s=20]

Starts a boss of its own in a temporary directory and ends it. Figures are of this machine at this
moment; compare them with others only from the same run.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hiod.admin.client import Client

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def switches(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def until(client: Client, count: int, states: set[str], within_s: float = 60.0) -> list[dict]:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        rows = client.call("list")["hands"]
        if len(rows) == count and all(row["state"] in states for row in rows):
            return rows
        time.sleep(0.002)
    raise SystemExit("the crew did not come up")


def row(what: str, value: str, target: str = "") -> None:
    print(f"{what:<44}{value:>16}   {target}")


def main() -> None:
    hands = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    idle_s = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    top = Path(tempfile.mkdtemp(prefix="hb"))
    argv = [sys.executable, "-m", "hiod", "run", "--config-dir", str(top / "c")]
    argv += ["--runtime-dir", str(top / "r"), "--state-dir", str(top / "s")]
    boss = subprocess.Popen(argv, stderr=(top / "log").open("wb"))
    try:
        client = Client(str(top / "r" / "admin.sock"), timeout_s=60)
        deadline = time.monotonic() + 10
        while not (top / "r" / "admin.sock").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        # The launcher is there before the clock runs, as it is for all but the first hand ever.
        first = {"name": "first", "doers": []}
        client.call("add", {"spec": first, "wait": "ready"})
        restart = {"delay_s": 0, "limit": 10_000}
        spec = {"name": "idle", "doers": [], "count": hands, "restart": restart}
        begun = time.perf_counter()
        client.call("add", {"spec": spec, "wait": "ready", "timeout_s": 60})
        took = time.perf_counter() - begun
        row(f"{hands} hands started and registered", f"{took:.3f} s", "100 in 0.6 s")
        row("hands a second", f"{hands / took:.0f}")
        rows = until(client, hands + 1, {"ready"})
        pids = [one["pid"] for one in rows]
        sizes = [pss_kib(pid) / 1024 for pid in pids]
        row("PSS of an idle hand, median", f"{statistics.median(sizes):.2f} MiB", "2 MiB")
        row("PSS of the boss", f"{pss_kib(boss.pid) / 1024:.1f} MiB")
        times = []
        for _ in range(300):
            begun = time.perf_counter()
            client.call("list")
            times.append(time.perf_counter() - begun)
        row(f"list of {len(rows)} hands, p50", f"{statistics.median(times) * 1e3:.3f} ms", "0.4 ms")
        everyone = [boss.pid, *pids]
        launchers = [one["pid"] for one in client.call("about")["launchers"]]
        time.sleep(1)
        before, woken = cpu_s(everyone + launchers), switches(everyone + launchers)
        begun = time.perf_counter()
        time.sleep(idle_s)
        spent = time.perf_counter() - begun
        share = (cpu_s(everyone + launchers) - before) / spent * 100
        wakes = (switches(everyone + launchers) - woken) / spent
        row(f"idle boss and {len(pids)} hands over {idle_s:g} s", f"{share:.2f} %", "0.5 % of a core")
        row("their wake-ups a second, all together", f"{wakes:.1f}")
        times = []
        for number in range(min(hands, 20)):
            name = f"idle-{number}"
            old = client.call("status", {"name": name})["pid"]
            begun = time.perf_counter()
            os.kill(old, signal.SIGKILL)
            while True:
                now = client.call("list", {"names": [name]})["hands"][0]
                if now["pid"] not in (None, old) and now["state"] == "ready":
                    break
            times.append(time.perf_counter() - begun)
        row("death to replacement registered, p50", f"{statistics.median(times) * 1e3:.1f} ms", "20 ms")
        begun = time.perf_counter()
        client.call("stop", {"names": ["idle"], "wait": "gone", "timeout_s": 60})
        row(f"clean stop of {hands} hands", f"{time.perf_counter() - begun:.3f} s", "50 in 0.2 s")
        client.close()
    finally:
        boss.terminate()
        boss.wait(30)
        shutil.rmtree(top)


main()
