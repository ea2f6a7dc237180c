"""How fast a killed boss is replaced: milliseconds from SIGKILL to adopted and ready.

Run ``python bench/adoption.py [HANDS ...]`` (10 100 500). Prints one line for each number of hands;
``ready`` is when the next boss tells its service manager so, all hands having answered it.
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
from pathlib import Path

from hiod.admin.client import Client

ROUNDS = 5


class Crew:
    """A boss and its hands in a directory of their own."""

    def __init__(self, number: int) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="hiod-bench-", dir="/tmp"))
        crew = self.home / "c" / "crew.d"
        crew.mkdir(parents=True)
        (crew / "crew.toml").write_text(
            f'[hand.h]\ndoers = []\ncount = {number}\nlog = "null"\nready = {{ timeout_s = 60 }}\n'
        )
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(self.home / "manager"))

    def start(self) -> subprocess.Popen[bytes]:
        flags = [f"--{what}-dir={self.home / what[0]}" for what in ("config", "runtime", "state")]
        return subprocess.Popen(
            [sys.executable, "-m", "hiod", "run", *flags],
            env={**os.environ, "NOTIFY_SOCKET": str(self.home / "manager")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def until_ready(self) -> None:
        while True:
            assert select.select((self.manager,), (), (), 60)[0], "the boss is not ready"
            if b"READY=1" in self.manager.recv(4096):
                return

    def rows(self) -> dict[str, tuple[str, int]]:
        with Client(self.home / "r" / "admin.sock") as client:
            hands = client.call("list")["hands"]
        return {row["name"]: (row["state"], row["pid"]) for row in hands}

    def until_up(self, number: int) -> dict[str, tuple[str, int]]:
        while True:
            rows = self.rows()
            if len(rows) == number and {state for state, _ in rows.values()} == {"ready"}:
                return rows
            select.select((), (), (), 0.05)


def measure(number: int) -> None:
    crew = Crew(number)
    boss = crew.start()
    try:
        crew.until_ready()
        before = crew.until_up(number)
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            boss.kill()
            boss.wait()
            boss = crew.start()
            crew.until_ready()
            took.append(time.perf_counter() - began)
            assert crew.until_up(number) == before, "a hand was not kept"
        median, most = statistics.median(took), max(took)
        print(f"{number:5} hands   median {median * 1e3:7.0f} ms   most {most * 1e3:7.0f} ms")
    finally:
        boss.send_signal(signal.SIGTERM)
        boss.wait()
        crew.manager.close()
        shutil.rmtree(crew.home)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("hands", type=int, nargs="*", default=[10, 100, 500])
    for given in parser.parse_args().hands:
        measure(given)
