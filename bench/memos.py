"""Memos per second and memo round trips, beside bare loops over the same system calls.

Usage: python bench/memos.py
With HIOD_HIO_PYTHON naming a Python that has hio 0.7.20, hio is measured beside.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = "hio" if "--hio" in sys.argv else "hiod"
if LIBRARY == "hio":
    from hio.core.uxd import PeerMemoer
elif __name__ == "__main__":
    from hiod.core.uxd import PeerMemoer, bindMailbox

WAIT_S = 20.0


POLLS: dict[tuple[int, tuple[int, ...]], Any] = {}


def wait(fds: tuple[int, ...], timeout_s: float = 1.0) -> None:
    poll = POLLS.get((os.getpid(), fds))
    if poll is None:
        poll = POLLS[os.getpid(), fds] = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
    poll.poll(timeout_s * 1000)


def peer(name: str, rundir: str) -> PeerMemoer:
    made = PeerMemoer(name=name, headDirPath=rundir)
    if not made.reopen():
        raise SystemExit(f"cannot open {name}")
    return made


def fds(memoer: PeerMemoer) -> tuple[int, ...]:
    return memoer.fds() if LIBRARY == "hiod" else (memoer.ls.fileno(),)


def waiting(memoer: PeerMemoer) -> bool:
    if LIBRARY == "hiod":
        return bool(memoer.outboxDepth)
    return bool(memoer.txms or memoer.txgs)


def service_until(memoer: PeerMemoer, done: Callable[[], bool]) -> None:
    """Service when there is something to do; hio has to be asked all the time for its sending."""
    limit = time.monotonic() + WAIT_S
    while not done() and time.monotonic() < limit:
        memoer.service()
        if not done() and not (LIBRARY == "hio" and waiting(memoer)):
            wait(fds(memoer))


class Child:
    """A forked process that runs a function and is waited for."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.pid = os.fork()
        if not self.pid:
            try:
                function()
            finally:
                os._exit(0)

    def __enter__(self) -> Child:  # noqa: PYI034 - it is one
        return self

    def __exit__(self, *_: object) -> None:
        os.waitpid(self.pid, 0)


def one_way(rundir: str, size: int, count: int) -> tuple[float, float]:
    """Memos a second from one process to another; (rate, share that arrived)."""
    reader = peer(f"r{size}", rundir)
    memo = "x" * size

    def write() -> None:
        writer = peer(f"w{size}", rundir)
        left = count
        while left or waiting(writer):
            batch = min(left, 500 if size < 10_000 else 10)
            for _ in range(batch):
                writer.memoit(memo, reader.path)
            left -= batch
            service_until(writer, lambda: not waiting(writer))
        writer.memoit("end", reader.path)
        service_until(writer, lambda: not waiting(writer))
        writer.close()

    got, first, last = 0, None, 0.0
    with Child(write):
        limit = time.monotonic() + WAIT_S
        ended = False
        while not ended and time.monotonic() < limit:
            reader.service()
            if reader.inbox:
                last = time.perf_counter()
                first = first or last
            while reader.inbox:
                if reader.inbox.popleft()[0] == "end":
                    ended = True
                else:
                    got += 1
            if LIBRARY == "hio" and got and not ended and time.perf_counter() - last > 1.0:
                break  # the end was lost too
            if not ended:
                wait(fds(reader), 0.2)
    reader.close()
    return got / (last - first), got / count


def hand_in_hand(rundir: str, size: int, count: int) -> float:
    """Memos a second of processor time when one process sends a few and takes them in, by turns.

    What it costs to send and to take a memo, without the waiting; and hio's best case: so few at a
    time find room, and none is lost.
    """
    writer, reader = peer(f"hw{size}", rundir), peer(f"hr{size}", rundir)
    memo, few = "x" * size, max(1, 10 * 32_768 // max(size, 32_768))
    best = 0.0
    for _ in range(5):
        got, started = 0, time.process_time()
        while got < count // 5:
            for _ in range(few):
                writer.memoit(memo, reader.path)
            while waiting(writer):
                writer.service()
                reader.service()
            reader.service()
            got += len(reader.inbox)
            reader.inbox.clear()
        best = max(best, got / (time.process_time() - started))
    writer.close()
    reader.close()
    return best


def round_trip(rundir: str, count: int) -> float:
    """Microseconds for a memo there and back, both sides asleep in between."""
    a = peer("a", rundir)

    def echo() -> None:
        b = peer("b", rundir)
        b.memoit("ready", a.path)
        b.service()
        for _ in range(count):
            while not b.inbox:
                wait(fds(b))
                b.service()
            memo, src = b.inbox.popleft()[:2]
            b.memoit(memo, src)
            b.service()
        b.close()

    with Child(echo):
        while not a.inbox:
            wait(fds(a))
            a.service()
        dst = a.inbox.popleft()[1]
        started = time.perf_counter()
        for _ in range(count):
            a.memoit("ping", dst)
            a.service()
            while not a.inbox:
                wait(fds(a))
                a.service()
            a.inbox.popleft()
        took = time.perf_counter() - started
    a.close()
    return took / count * 1e6


def sixteen_megabytes(rundir: str) -> float | None:
    """Seconds for one memo of 16 MB through the short kernel queue."""
    reader = peer("big", rundir)
    memo = "x" * (16 << 20)

    def write() -> None:
        writer = peer("bigw", rundir)
        writer.memoit(memo, reader.path)
        service_until(writer, lambda: not waiting(writer))
        writer.close()

    started = time.perf_counter()
    with Child(write):
        service_until(reader, lambda: bool(reader.inbox))
    took = time.perf_counter() - started
    whole = bool(reader.inbox) and reader.inbox[0][0] == memo
    reader.close()
    return took if whole else None


def bare_one_way(rundir: str, size: int, count: int) -> float:
    """Datagrams a second by the system calls alone: credentials, a watch socket when full."""
    reader = bindMailbox(f"{rundir}/br{size}")
    data = b"x" * size

    def write() -> None:
        ls = bindMailbox(f"{rundir}/bw{size}")
        watch = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        watch.connect(reader.getsockname())
        room = select.epoll()
        room.register(watch, select.EPOLLOUT)
        path = reader.getsockname()
        for _ in range(count):
            while True:
                try:
                    ls.sendto(data, path)
                    break
                except BlockingIOError:
                    room.poll(1.0)
        ls.close()

    view = memoryview(bytearray(262140))
    poll = select.epoll()
    poll.register(reader, select.EPOLLIN)
    got, started = 0, None
    with Child(write):
        while got < count:
            poll.poll(1.0)
            started = started or time.perf_counter()
            try:
                while True:
                    reader.recvmsg_into((view,), 32)
                    got += 1
            except BlockingIOError:
                pass
    took = time.perf_counter() - started
    reader.close()
    return got / took


def bare_round_trip(rundir: str, count: int) -> float:
    """Microseconds for a datagram there and back through epoll."""
    a, b = bindMailbox(f"{rundir}/ba"), bindMailbox(f"{rundir}/bb")

    def bounce(ls: socket.socket, dst: Any, *, first: bool) -> None:
        poll = select.epoll()
        poll.register(ls, select.EPOLLIN)
        for _ in range(count):
            if first:
                ls.sendto(b"ping", dst)
            poll.poll(1.0)
            data = ls.recv(1000)
            if not first:
                ls.sendto(data, dst)

    with Child(lambda: bounce(b, a.getsockname(), first=False)):
        started = time.perf_counter()
        bounce(a, b.getsockname(), first=True)
        took = time.perf_counter() - started
    a.close()
    b.close()
    return took / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hio", action="store_true", help="measure the hio that is here")
    parser.parse_args()
    rundir = tempfile.mkdtemp(prefix="hb")
    try:
        for size, count in ((100, 40_000 if LIBRARY == "hio" else 200_000), (200_000, 1000)):
            rate, share = one_way(rundir, size, count)
            print(f"{LIBRARY:5} one way {size:7} B  {rate:10,.0f} memos/s, {share:.1%} arrived")
            if LIBRARY == "hiod":
                grams = -(-size // 65503)
                bare = bare_one_way(rundir, min(size + 32, 65535), count * grams) / grams
                print(f"bare  one way {size:7} B  {bare:10,.0f} memos/s")
        for size, count in ((100, 50_000), (200_000, 1000)):
            rate = hand_in_hand(rundir, size, count)
            print(f"{LIBRARY:5} by turns {size:7} B  {rate:10,.0f} memos/s of CPU, all arrived")
        print(f"{LIBRARY:5} round trip         {round_trip(rundir, 5000):10,.1f} us")
        if LIBRARY == "hiod":
            print(f"bare  round trip         {bare_round_trip(rundir, 5000):10,.1f} us")
        took = sixteen_megabytes(rundir)
        print(f"{LIBRARY:5} 16 MB memo         {f'{took * 1e3:10,.1f} ms' if took else 'lost'}")
    finally:
        shutil.rmtree(rundir)
    other = os.environ.get("HIOD_HIO_PYTHON")
    if other and LIBRARY == "hiod":
        subprocess.run([other, __file__, "--hio"], check=True)


if __name__ == "__main__":
    main()
