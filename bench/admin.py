"""What the admin socket costs: round trips, pipelined requests, and a list of 50 hands.

The toy boss runs in a process of its own under a Doist; a bare echo over the same kind of socket
is measured beside it, so that the machine's own share can be seen.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hiod.admin import schema
from hiod.admin.server import Access, AdminDoer, Request
from hiod.base.doing import Doist

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = [
    schema.Row(
        name=f"ticker-{n}",
        spec="ticker",
        state="ready",
        pid=5000 + n,
        generation=1,
        since="2026-05-01T03:12:22.041Z",
        ready_since="2026-05-01T03:12:22.041Z",
        health="ok",
        rss=41 << 20,
        cpu=0.3,
        lag_ms=2.0,
        status="12804 readings",
    )
    for n in range(50)
]
ECHOED = b'{"method":"ping"}\n'


def handle(request: Request) -> None:
    request.reply(schema.ListReply(hands=ROWS, seq=412) if request.method == "list" else None)


def boss(listener: socket.socket) -> None:
    """Serve until killed."""
    doer = AdminDoer([listener], handle, access=Access(boss_uid=os.getuid()))
    Doist(real=True, doers=[doer]).do()


def echo(listener: socket.socket) -> None:
    """Answer each chunk with itself, as bare as Python can."""
    sock, _ = listener.accept()
    while data := sock.recv(65536):
        sock.sendall(data)


def served(path: Path, serve: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
    """Start a process that serves and return its pid and a connection to it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(16)
    pid = os.fork()
    if pid == 0:
        try:
            serve(listener)
        finally:
            os._exit(0)
    listener.close()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return pid, sock


def round_trips(sock: socket.socket, text: bytes, count: int) -> list[float]:
    """Return how long each of ``count`` calls took, in milliseconds."""
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        sock.sendall(text)
        while not sock.recv(1 << 18).endswith(b"\n"):
            pass
        took.append((time.perf_counter() - begun) * 1e3)
    return took


def pipelined(sock: socket.socket, text: bytes, count: int) -> float:
    """Return requests a second when many are sent before answers are read."""
    batch = 1000
    begun = time.perf_counter()
    for _ in range(count // batch):
        sock.sendall(text * batch)
        answers = 0
        while answers < batch:
            answers += sock.recv(1 << 18).count(b"\n")
    return count / (time.perf_counter() - begun)


def main() -> int:
    directory = Path(tempfile.mkdtemp(prefix="hb"))
    pids = []
    try:
        pid, bare = served(directory / "e", echo)
        pids.append(pid)
        pid, sock = served(directory / "a", boss)
        pids.append(pid)
        for line in (bare, sock):
            round_trips(line, ECHOED, 200)
        rows = [
            ("bare echo, p50", statistics.median(round_trips(bare, ECHOED, 5000)), "ms", "-"),
            ("ping, p50", statistics.median(round_trips(sock, ECHOED, 5000)), "ms", "<= 0.1"),
            ("list of 50, p50", statistics.median(round_trips(sock, b'{"method":"list"}\n', 2000)),
             "ms", "<= 0.4"),
            ("pipelined pings", pipelined(sock, ECHOED, 100_000), "/s", ">= 30000"),
        ]  # fmt: skip
    finally:
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        shutil.rmtree(directory)
    for name, value, unit, goal in rows:
        shown = f"{value:,.0f}" if value > 100 else f"{value:.3f}"
        print(f"{name:<18} {shown:>10} {unit:<3} (goal {goal})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
