"""A program that floods an admin socket from many connections, each with a vice of its own.

    python flooder.py SOCKET CONNECTIONS SEED [--uids UID ...] [--vices VICE ...]

Connects as each of the users in turn (who may be root only; without them as whoever it is), prints
a line when every connection has been tried once, and goes on until its standard input ends; then it
prints what it did as JSON. A connection that the boss closes is made anew at once. Used by tests
and by the bench.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import json
import os
import random
import select
import socket
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 256 << 10


def garbage(rng: random.Random) -> bytes:
    """Noise with an end of line now and then."""
    return b"".join(rng.randbytes(rng.randrange(400)) + b"\n" for _ in range(50))


def huge(rng: random.Random) -> bytes:
    """A line many times too long."""
    return b'{"method":"' + b"x" * rng.randrange(LIMIT, 8 * LIMIT) + b'"}\n'


def deep(rng: random.Random) -> bytes:
    """Lists in lists, as long as is taken, or as deep."""
    count = rng.choice([63, 1000, LIMIT // 2 - 100])
    return b'{"method":"ping","parameters":' + b"[" * count + b"]" * count + b"}\n"


def strings(rng: random.Random) -> bytes:
    """A message of the largest size whose brackets are all within strings."""
    piece = rng.choice([b'"[\\"{",', b'"{{{{{{{{",', b'"\\\\",'])
    return b'{"method":"ping","id":[' + piece * ((LIMIT - 100) // len(piece)) + b"0]}\n"


def half(rng: random.Random) -> bytes:
    """The beginning of a request; the end comes never."""
    return b'{"method":"list","parameters":{"names":[' + b'"a",' * rng.randrange(20)


def drip(rng: random.Random) -> bytes:
    """One byte."""
    return rng.choice([b"{", b'"', b"a", b"\n", b"\0", b"}"])


def deaf(rng: random.Random) -> bytes:
    """Requests with long answers, which are not read."""
    what = rng.choice(["list", "schema", "events", "about", "why"])
    return b'{"method":"%s"}\n' % what.encode() * 50


def follower(_rng: random.Random) -> bytes:
    """A stream from the beginning, which is not read."""
    return b'{"method":"subscribe","parameters":{"since":0},"more":true}\n'


def wrong(rng: random.Random) -> bytes:
    """Requests that are refused for something that takes thought."""
    name = "".join(rng.choices("abcdefgh", k=rng.randrange(60)))
    many = ",".join(f'"{name}{n}"' for n in range(rng.choice([1, 200])))
    return b"".join(
        (
            b'{"method":"%s"}\n' % name.encode(),
            b'{"method":"list","parameters":{"names":[%s]}}\n' % many.encode(),
            b'{"method":"list","parameters":{%s:1}}\n' % many.replace(",", ":1,").encode(),
            b'{"method":"status","parameters":{"%s":1,"name":3}}\n' % name.encode(),
        )
    )


def busy(rng: random.Random) -> bytes:
    """Good requests, one upon the other; the answers are read."""
    what = rng.choice(["list", "ping", "about", "why", "events", "plan", "schema"])
    return b'{"method":"%s"}\n' % what.encode() * 32


def hasty(_rng: random.Random) -> bytes:
    """A request whose answer is not waited for."""
    return b'{"method":"list"}\n'


VICES: dict[str, Callable[[random.Random], bytes]] = {
    vice.__name__: vice
    for vice in (
        garbage, huge, deep, strings, half, drip, deaf, follower, wrong, busy, hasty,
    )
}  # fmt: skip
READS = {"garbage", "huge", "deep", "strings", "wrong", "busy"}
ONCE = {"half", "follower"}
READ_BYTES = 1 << 20


class Line:
    """One connection and its vice."""

    def __init__(self, path: str, uid: int | None, vice: str, rng: random.Random) -> None:
        self.path = path
        self.uid = uid
        self.vice = vice
        # Made before, or the flooder would be busier than the boss.
        self.texts = itertools.cycle([VICES[vice](rng) for _ in range(8)])
        self.sock: socket.socket | None = None
        self.left = memoryview(b"")
        self.said = False

    def turn(self, did: Counter[str]) -> None:
        """Say as much as is taken, read if that is its way, come back when it is cut off."""
        if self.sock is None and not self._connect(did):
            return
        assert self.sock is not None
        try:
            if self.vice in READS:
                did["read"] += len(self.sock.recv(READ_BYTES))
        except BlockingIOError:
            pass
        except OSError:
            self._lose(did)
            return
        if not self.left and not (self.said and self.vice in ONCE):
            self.left = memoryview(next(self.texts))
            self.said = True
        if not self.left:
            return
        try:
            sent = self.sock.send(self.left)
        except BlockingIOError:
            return
        except OSError:
            self._lose(did)
            return
        did[self.vice] += sent
        self.left = self.left[sent:]
        if self.vice == "hasty":
            self._lose(did)

    def _connect(self, did: Counter[str]) -> bool:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            if self.uid is not None:
                os.setegid(self.uid)
                os.seteuid(self.uid)
            sock.connect(self.path)
        except OSError as why:
            sock.close()
            did[errno.errorcode.get(why.errno or 0, "?")] += 1
            return False
        finally:
            if self.uid is not None:
                os.seteuid(0)
                os.setegid(0)
        did["connected"] += 1
        self.sock = sock
        self.left = memoryview(b"")
        self.said = False
        return True

    def _lose(self, did: Counter[str]) -> None:
        assert self.sock is not None
        self.sock.close()
        self.sock = None
        did["lost"] += 1


def main() -> None:
    """Flood until standard input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("socket")
    parser.add_argument("connections", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--uids", type=int, nargs="+", default=[None])
    parser.add_argument("--vices", choices=list(VICES), nargs="+", default=list(VICES))
    given = parser.parse_args()
    rng = random.Random(given.seed)
    if given.uids != [None]:
        os.setgroups([])
    lines = [
        Line(
            given.socket,
            given.uids[n * len(given.uids) // given.connections],
            given.vices[n % len(given.vices)],
            rng,
        )
        for n in range(given.connections)
    ]
    did: Counter[str] = Counter()
    told = False
    while not select.select([0], [], [], 0)[0]:
        before = did.total()
        for line in lines:
            line.turn(did)
        if not told:
            print(flush=True)  # noqa: T201 - what its starter waits for
            told = True
        if did.total() == before:  # nobody took anything: wait for somebody to
            socks = [line.sock for line in lines if line.sock is not None]
            select.select([0], socks, [], 0.01)
    print(json.dumps(did), flush=True)  # noqa: T201 - its report


if __name__ == "__main__":
    main()
