"""What the admin socket costs, alone and under a flood, beside its neighbours' control sockets.

    python bench/admin.py [list|flood ...] [--hands 50 100] [--seconds 10]

``list``: a boss with so many hands is asked over its socket, by hiod's own client and by bare
reads and writes; then supervisord (XML-RPC over its Unix socket) and circus (ZeroMQ), each with as
many processes, by theirs. All of it runs in this one run, each client in the process that counts.

``flood``: a boss with hands that talk is asked by a well-behaved client while 64 connections send
garbage, huge lines, deep nesting, half messages, and read nothing; first without them, then with.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import crew
import peers

from hiod import CrewDoer
from hiod.admin.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOODER = Path(__file__).resolve().parents[1] / "tests" / "support" / "flooder.py"
FLOODERS = (61001, 61002, 61003, 61004)
"""Users that flood, when we may be them: one user has 16 connections and no more."""
CONNECTIONS = 64
VICES = ["garbage", "huge", "deep", "strings", "half", "drip", "deaf", "follower", "wrong"]
"""What is no use to anybody; `busy` and `hasty` are work that was asked for, if by too many."""
CALLS = 2000
PIPED = 100_000
BATCH = 1000
MEMO_S = 0.11  # memos to the boss become events at no more than 10 a second
ASK_S = 0.02
TALKERS = 4


def percentile(times_s: list[float], at: int) -> float:
    return sorted(times_s)[(len(times_s) - 1) * at // 100]


def percentiles(times_s: list[float]) -> str:
    """Return the median, the 99th of a hundred and the longest, in milliseconds."""
    return " ".join(f"{percentile(times_s, at) * 1e3:>9.3f}" for at in (50, 99, 100))


def median_ms(times_s: list[float]) -> str:
    return f"{percentile(times_s, 50) * 1e3:.3f} ms"


# -------------------------------------------------------------------- alone


class Raw:
    """A connection without any client: what the boss itself takes."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)

    def times(self, text: bytes) -> list[float]:
        took = []
        for _ in range(CALLS):
            begun = time.perf_counter()
            self.sock.sendall(text)
            while not self.sock.recv(1 << 20).endswith(b"\n"):
                pass
            took.append(time.perf_counter() - begun)
        return took

    def pipelined(self, text: bytes) -> float:
        """Return requests a second when many are sent before answers are read."""
        begun = time.perf_counter()
        for _ in range(PIPED // BATCH):
            self.sock.sendall(text * BATCH)
            answers = 0
            while answers < BATCH:
                answers += self.sock.recv(1 << 18).count(b"\n")
        return PIPED / (time.perf_counter() - begun)


def client_times(client: Client, method: str) -> list[float]:
    took = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        client.call(method)
        took.append(time.perf_counter() - begun)
    return took


def alone(counts: list[int]) -> None:
    table: dict[str, dict[str, str]] = defaultdict(dict)
    for count in counts:
        with crew.crew() as one:
            one.client.call("remove", {"names": ["first"], "wait": "gone"})
            one.add("w", count=count)
            raw = Raw(one.socket)
            for method in ("ping", "list"):
                what = method if method == "ping" else f"list of {count}"
                text = b'{"method":"%s"}\n' % method.encode()
                client_times(one.client, method)  # warm
                table[what]["hiod"] = median_ms(client_times(one.client, method))
                table[what]["hiod, bytes"] = median_ms(raw.times(text))
            piped = f"{raw.pipelined(text=ECHOED):,.0f} /s"
            table["pings, pipelined"]["hiod, bytes"] = piped
            raw.sock.close()
    for package, kind in (("supervisor", peers.Supervisord), ("circus", peers.Circus)):
        if not (version := peers.had(package)):
            continue
        print(f"{package} {version}")
        for count in counts:
            with peers.workplace() as (stack, top, up):
                one = kind(stack, top, up, [count])
                one.start(count)
                table["ping"][kind.title] = f"{one.timed('ping'):.3f} ms"
                table[f"list of {count}"][kind.title] = f"{one.timed('list'):.3f} ms"
    aims = {"ping": "0.1 ms", "list of 50": "0.4 ms", "list of 100": "0.8 ms",
            "pings, pipelined": "30,000 /s"}  # fmt: skip
    titles = ("hiod", "hiod, bytes", "supervisord", "circus")
    print(f"\n{'p50 of an answer':<20}" + "".join(f"{one:>14}" for one in (*titles, "aim")))
    for what in sorted(table, key=lambda what: (what.endswith("pipelined"), len(what), what)):
        values = table[what]
        cells = [*(values.get(one, "-") for one in titles), aims.get(what, "")]
        print(f"{what:<20}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


ECHOED = b'{"method":"ping"}\n'


# -------------------------------------------------------------------- under a flood


class Echo(CrewDoer):
    """Sends the boss back what comes."""

    tags = ("PING",)

    def memo(self, memo: Any) -> None:
        self.tell("boss", "PONG", memo.load)


class Beating(CrewDoer):
    """Has its heartbeat say when it was sent, to a tock; a changed status hastens it."""

    def recur(self, tock: float) -> Any:
        while True:
            yield tock
            self.status(repr(time.monotonic()))


@contextmanager
def flooding(path: str, seed: int, vices: list[str]) -> Iterator[None]:
    """Flood a boss from 64 connections, of four users if we may be them.

    The flooder is nice, so that what is found is the boss's doing and not want of cores.
    """
    uids = ["--uids", *map(str, FLOODERS)] if os.getuid() == 0 else []
    with subprocess.Popen(
        [
            "nice",
            "-n",
            "19",
            sys.executable,
            str(FLOODER),
            path,
            str(CONNECTIONS),
            str(seed),
            "--vices",
            *vices,
            *uids,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as flooder:
        try:
            assert flooder.stdout is not None
            flooder.stdout.readline()
            yield
        finally:
            said, _ = flooder.communicate(timeout=crew.WAIT_S)
    print(f"   the flood: {dict(sorted(json.loads(said or b'{}').items()))}")


class Calm:
    """A well-behaved client, and what it finds: seconds by what was asked."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: dict[str, list[float]] = defaultdict(list)
        self.client = Client(path, timeout_s=crew.WAIT_S)
        self.asking = Client(path, timeout_s=crew.WAIT_S)
        self.said: dict[str, str] = {}
        self.rest = b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.connect(path)
        self.listener.sendall(b'{"method":"subscribe","parameters":{"events":["hand.memo"]},'
                              b'"more":true}\n')  # fmt: skip

    def close(self) -> None:
        for line in (self.client, self.asking, self.listener):
            line.close()

    def run(self, seconds: float) -> None:
        """Ask, send and listen for so long."""
        end = time.monotonic() + seconds
        memo_at = ask_at = time.monotonic() + 0.5
        while (now := time.monotonic()) < end:
            if now >= memo_at:
                memo_at = now + MEMO_S
                load = {"at": time.monotonic()}
                self.asking.call("send", {"names": ["echo"], "tag": "PING", "load": load})
            if now >= ask_at:
                self.ask()
                ask_at = time.monotonic() + ASK_S
            timeout = max(0.0, min(memo_at, ask_at, end) - time.monotonic())
            if select.select([self.listener], [], [], timeout)[0]:
                self.hear()

    def timed(self, what: str, client: Client, method: str) -> Any:
        begun = time.monotonic()
        answer = client.call(method)
        self.found[what].append(time.monotonic() - begun)
        return answer

    def ask(self) -> None:
        """Ask what a client asks, and see how old the heartbeats are that the boss has."""
        self.timed("ping", self.client, "ping")
        rows = self.timed("list", self.client, "list")["hands"]
        now = time.monotonic()
        for row in rows:
            name, status = row["name"], row["status"]
            if name.startswith("beat") and status != self.said.get(name):
                if name in self.said:  # the first is as old as it happens to be
                    self.found["heartbeat until seen"].append(now - float(status))
                self.said[name] = status
        with Client(self.path, timeout_s=crew.WAIT_S) as new:
            self.timed("ping, connecting first", new, "ping")

    def hear(self) -> None:
        """Take in the memos that came back."""
        got = self.listener.recv(1 << 20)
        if not got:
            raise SystemExit("a well-behaved subscriber was cut off")
        *lines, self.rest = (self.rest + got).split(b"\n")
        came = time.monotonic()
        for line in lines:
            for event in json.loads(line)["parameters"]["events"]:
                self.found["memo there and back"].append(came - event["facts"]["load"]["at"])


def lags(path: str, seconds: float) -> dict[str, list[float]]:
    with closing(Calm(path)) as calm:
        calm.run(seconds)
        return calm.found


def scheduled(pid: int) -> tuple[float, float]:
    """Return for how many seconds a process has run, and has waited for a core."""
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


def standing(one: crew.Crew) -> list[list[Any]]:
    """Return what no flood may change."""
    keys = ("name", "pid", "generation", "state", "health")
    return [[row[key] for key in keys] for row in one.client.call("list")["hands"]]


def flood(seconds: float, seed: int, vices: list[str]) -> None:
    readers = [str(uid) for uid in FLOODERS[:3]]
    with crew.crew(f"[admin]\nread = {readers}\n") as one:
        Path(one.socket).chmod(0o666)
        Path(one.socket).parents[1].chmod(0o755)
        here = [str(Path(__file__).parent)]
        one.add("echo", doers=["admin:Echo"], path=here)
        one.add("beat", doers=["admin:Beating"], path=here, count=TALKERS)
        one.add("idle", count=50 - TALKERS)
        before = standing(one)
        print(f"\n{'lag in ms, ' + str(len(before)) + ' hands':<26}"
              f"{'p50':>9} {'p99':>9} {'most':>9}   with a flood: p50, p99, most")  # fmt: skip
        quiet = lags(one.socket, seconds)
        with flooding(one.socket, seed, vices):
            (ran, waited), begun = scheduled(one.boss.pid), time.monotonic()
            loud = lags(one.socket, seconds)
            took = time.monotonic() - begun
            ran, waited = (
                now - was for now, was in zip(scheduled(one.boss.pid), (ran, waited), strict=True)
            )
            figures = one.client.call("about")["figures"]
        for what, times in quiet.items():
            print(f"{what:<26}{percentiles(times)}   {percentiles(loud[what])}"
                  f"   ({len(times)}, {len(loud[what])} times)")  # fmt: skip
        for at in (50, 99, 100):
            worst = max(percentile(loud[what], at) - percentile(quiet[what], at) for what in quiet)
            name = "most" if at == 100 else f"p{at}"
            print(f"{'the flood costs, ' + name:<26}{worst * 1e3:>9.1f}   aim 50")
        print(f"{'the boss took':<26}{ran / took * 100:>9.1f} % of a core meanwhile, "
              f"and waited for one {waited / took * 100:.1f} % of the time")  # fmt: skip
        print("refused:", figures["refused"], "cut:", figures["cut"])
        print("hands, states and verdicts as before:", "yes" if standing(one) == before else "NO")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=["list", "flood", []], metavar="list|flood")
    parser.add_argument("--hands", type=int, nargs="+", default=[50, 100], help="for list")
    parser.add_argument("--seconds", type=float, default=10.0, help="with a flood, and without")
    parser.add_argument("--seed", type=int, default=1, help="of the flood")
    parser.add_argument("--vices", nargs="+", default=VICES, help="as flooder.py has them")
    given = parser.parse_args()
    if "list" in given.parts or not given.parts:
        alone(given.hands)
    if "flood" in given.parts or not given.parts:
        flood(given.seconds, given.seed, given.vices)


if __name__ == "__main__":
    main()
