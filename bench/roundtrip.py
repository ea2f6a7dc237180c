"""A memo there and back between two hands of a real boss, beside a bare ping-pong and hio.

    python bench/roundtrip.py [trips=10000]

Both hands sleep between memos, under their Doists at the default tock. The bare loop does the same
system calls over the same kind of sockets: epoll, recvmsg with credentials, sendto. With
HIOD_HIO_PYTHON naming a Python that has hio 0.7.20, hio's Doists are measured at theirs.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import socket

HIO = "--hio" in sys.argv
if HIO:
    from hio.base import doing
    from hio.core.uxd import PeerMemoer
else:
    from hiod import CrewDoer

HIO_TRIPS = 50
WAIT_S = 60.0


class Trips(NamedTuple):
    """Microseconds a round trip."""

    p50: float
    p99: float
    mean: float


def percentiles(times_s: list[float]) -> Trips:
    ordered = sorted(times_s)
    most = len(ordered) - 1
    return Trips(
        ordered[most // 2] * 1e6, ordered[most * 99 // 100] * 1e6, sum(ordered) / len(ordered) * 1e6
    )


# -------------------------------------------------------------------- hiod: what the hands run

if not HIO:

    class Echo(CrewDoer):
        """Sends back what comes."""

        tags = ("PING",)

        def memo(self, memo: Any) -> None:
            self.reply(memo, memo.load)

    class Pinger(CrewDoer):
        """Sends the next when the last has come back; tells the boss how long it took."""

        tags = ("PING",)

        def __init__(self, *, trips: int, **kwa: Any) -> None:
            super().__init__(**kwa)
            self.left = trips
            self.times: list[float] = []
            self.sent_at = 0.0

        def enter(self, *, temp: bool | None = None) -> None:
            del temp
            self._send()

        def memo(self, memo: Any) -> None:
            del memo
            self.times.append(time.perf_counter() - self.sent_at)
            self.left -= 1
            if self.left:
                self._send()
            else:
                # The first ones waited for the address book and warmed up.
                self.tell("boss", "RESULT", percentiles(self.times[100:])._asdict())

        def _send(self) -> None:
            self.sent_at = time.perf_counter()
            self.tell("echo", "PING", {"n": self.left})


def by_hands(trips: int) -> Trips:
    """Measure two hands of a boss of our own."""
    from hiod.admin.client import Client, NoBoss  # noqa: PLC0415 - hands import this module too
    from hiod.errors import AdminError  # noqa: PLC0415 - the same

    top = Path(tempfile.mkdtemp(prefix="hb"))
    (top / "c").mkdir()
    argv = [sys.executable, "-m", "hiod", "run", "--config-dir", str(top / "c")]
    argv += ["--runtime-dir", str(top / "r"), "--state-dir", str(top / "s")]
    boss = subprocess.Popen(argv, stderr=(top / "log").open("wb"))
    here = str(Path(__file__).parent)
    try:
        client = Client(str(top / "r" / "admin.sock"), timeout_s=WAIT_S)
        deadline = time.monotonic() + WAIT_S
        while True:
            try:  # bound is not yet listening
                client.call("ping")
            except (AdminError, NoBoss) as ex:
                if boss.poll() is not None or time.monotonic() >= deadline:
                    raise SystemExit((top / "log").read_text()[-2000:]) from ex
                time.sleep(0.01)
            else:
                break
        for name, ref, opts in (
            ("echo", "roundtrip:Echo", {}),
            ("pinger", "roundtrip:Pinger", {"trips": trips}),
        ):
            spec = {"name": name, "doers": [{"ref": ref, "opts": opts}], "path": [here]}
            client.call("add", {"spec": spec, "wait": "ready"})
        while time.monotonic() < deadline:
            for event in client.call("events", {"events": ["hand.memo"]})["events"]:
                if event["facts"]["tag"] == "RESULT":
                    return Trips(**event["facts"]["load"])
            time.sleep(0.1)
        raise SystemExit("no result came: " + (top / "log").read_text()[-2000:])
    finally:
        boss.terminate()
        boss.wait(30)
        shutil.rmtree(top)


# -------------------------------------------------------------------- bare


def bare(trips: int) -> Trips:
    """Measure two processes that do the system calls and nothing else."""
    from hiod.core.uxd.uxding import bindMailbox  # noqa: PLC0415 - hio's Python has none

    top = tempfile.mkdtemp(prefix="hb")
    here, there = bindMailbox(f"{top}/a"), bindMailbox(f"{top}/b")

    def bounce(own: socket.socket, other: str, *, first: bool) -> list[float]:
        epoll = select.epoll()
        epoll.register(own, select.EPOLLIN)
        view = memoryview(bytearray(65536))
        times = []
        for _ in range(trips):
            begun = time.perf_counter()
            if first:
                own.sendto(b"x" * 80, other)
            epoll.poll()
            size = own.recvmsg_into((view,), 32)[0]
            if not first:
                own.sendto(bytes(view[:size]), other)
            times.append(time.perf_counter() - begun)
        return times

    child = os.fork()
    if not child:
        try:
            bounce(there, f"{top}/a", first=False)
        finally:
            os._exit(0)
    found = percentiles(bounce(here, f"{top}/b", first=True)[100:])
    os.waitpid(child, 0)
    here.close()
    there.close()
    shutil.rmtree(top)
    return found


# -------------------------------------------------------------------- hio


def by_hio() -> None:
    """Print the microseconds of hio's Doists, in hio's Python."""
    top = tempfile.mkdtemp(prefix="hb")

    def peer(name: str) -> Any:
        made = PeerMemoer(name=name, headDirPath=top)
        made.reopen()
        return made

    class Bouncer(doing.Doer):
        def __init__(self, own: Any, other: str, *, first: bool, **kwa: Any) -> None:
            super().__init__(**kwa)
            self.own, self.other, self.first = own, other, first
            self.times: list[float] = []
            self.begun = 0.0

        def recur(self, tyme: float) -> bool:
            del tyme
            if self.first and not self.begun:
                self._send()
            self.own.service()
            while self.own.inbox:
                self.own.inbox.popleft()
                self.times.append(time.perf_counter() - self.begun)
                self._send()
                self.own.service()
            return len(self.times) >= HIO_TRIPS

        def _send(self) -> None:
            self.begun = time.perf_counter()
            self.own.memoit("x" * 48, self.other)

    here, there = peer("a"), peer("b")
    child = os.fork()
    own, other = (there, here) if not child else (here, there)
    doer = Bouncer(own, other.path, first=bool(child))
    doing.Doist(real=True, limit=WAIT_S, doers=[doer]).do()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    shutil.rmtree(top)
    print(*percentiles(doer.times[2:]))


def hio() -> Trips | None:
    """Measure hio, where there is one."""
    python = os.environ.get("HIOD_HIO_PYTHON")
    if not python:
        return None
    argv = [python, __file__, "--hio"]
    out = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return Trips(*map(float, out.splitlines()[-1].split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trips", type=int, nargs="?", default=10_000)
    parser.add_argument("--hio", action="store_true", help="measure the hio that is here")
    trips = parser.parse_args().trips
    if HIO:
        by_hio()
        return
    floor = bare(trips)
    print(
        f"{'microseconds there and back':<32}{'p50':>10}{'p99':>10}{'mean':>10}{'times bare':>12}"
    )
    for what, found in (("bare epoll ping-pong", floor), ("two hands", by_hands(trips))):
        line = f"{what:<32}{found.p50:>11.1f}{found.p99:>11.1f}{found.mean:>11.1f}"
        print(f"{line}{found.p50 / floor.p50:>11.2f}")
    beside = hio()
    if beside is not None:
        line = f"{'two hio Doists, default tock':<32}{beside.p50:>11.1f}{beside.p99:>11.1f}"
        print(f"{line}{beside.mean:>11.1f}{beside.p50 / floor.p50:>11.2f}")


if __name__ == "__main__":
    main()
