"""Hands that misbehave, one vice each: ``doers = ["rogue:Busy"]`` with ``path = [tests/support]``.

New failure in the field: new vice.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import subprocess
import threading
import time

from hiod import CrewDoer


def wait_for_word() -> None:
    """Block until somebody writes a line to the fifo ``$FIFO``."""
    with open(os.environ["FIFO"]) as fifo:  # noqa: PTH123 - blocks until somebody writes
        fifo.readline()


class Notifies(CrewDoer):
    """Says READY=1 on its NOTIFY_SOCKET."""

    def enter(self, *, temp=None):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(os.environ["NOTIFY_SOCKET"])
            sock.send(b"READY=1\nSTATUS=from a doer")


class ReadyLater(CrewDoer):
    """Says it is ready when it is told to be, with a memo."""

    def recur(self, tock):
        yield 0.01
        fd = os.open(os.environ["FIFO"], os.O_RDONLY | os.O_NONBLOCK)
        try:
            while not select.select((fd,), (), (), 0)[0]:
                yield 0.01
        finally:
            os.close(fd)
        self.ready("warm")
        while True:
            yield tock


class Vice(CrewDoer):
    """Behaves until it is told not to: by the memo VICE, or at once with ``at_once``."""

    tags = ("VICE",)

    def __init__(self, *, at_once: bool = False, **kwa):
        super().__init__(**kwa)
        self.at_once = at_once

    def recur(self, tock):
        """Wait for the word, then give in."""
        self.told = self.at_once
        while not self.told:
            yield math.inf
        yield from self.sin()
        while True:
            yield tock

    def memo(self, memo):
        """Take the word."""
        self.told = True
        self.wake()

    def sin(self):
        """Do what should not be done."""
        yield from ()


class Busy(Vice):
    """Computes and never yields."""

    def sin(self):
        while True:
            pass
        yield


class Busyish(Vice):
    """Computes for ``for_s`` seconds without yielding, once."""

    def __init__(self, *, for_s: float, **kwa):
        super().__init__(**kwa)
        self.for_s = for_s

    def sin(self):
        until = time.monotonic() + self.for_s
        while time.monotonic() < until:
            pass
        yield 0.0


class Deadlocked(Vice):
    """Waits for a lock that it holds itself."""

    def sin(self):
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
        yield


class Eater(Vice):
    """Takes memory and keeps it."""

    def sin(self):
        self.kept = bytearray(b"x") * (64 << 20)
        yield 0.0


class Leaker(Vice):
    """Opens files and does not close them."""

    def sin(self):
        self.kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(64)]
        yield 0.0


class Hog(Vice):
    """Turns, and computes all the time."""

    def sin(self):
        while True:
            until = time.monotonic() + 0.02
            while time.monotonic() < until:
                pass
            yield 0.0


class Laggard(Vice):
    """Turns, and keeps all others waiting each time."""

    def sin(self):
        while True:
            time.sleep(0.15)
            yield 0.0


class Deaf(Vice):
    """Takes no signal that can be refused, and reads no memo any more."""

    def sin(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        yield 0.0
        print("deaf", flush=True)  # noqa: T201 - what a hand prints is its log
        while True:
            time.sleep(1000)


class Parent(Vice):
    """Leaves children and grandchildren behind, one of them in a session of its own."""

    def sin(self):
        for argv in (
            ["sleep", "1001"],
            ["setsid", "sleep", "1002"],
            ["sh", "-c", "sleep 1003 & exit"],
            ["sh", "-c", "setsid sh -c 'sleep 1004 & exit' & exit"],
        ):
            self.kept = subprocess.Popen(argv)
        self.status("parent")
        yield 0.0


class Stillborn(CrewDoer):
    """Ends before it could register."""

    def enter(self, *, temp=None):
        os._exit(7)


class Raises(CrewDoer):
    """Raises before it could register."""

    def enter(self, *, temp=None):
        raise ValueError("the disk is flat")


class Flooder(Vice):
    """Sends the boss as many memos as the kernel takes, for ever."""

    def sin(self):
        book = self.crewer.getAddr("boss")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            while True:
                for _ in range(50):
                    try:
                        sock.sendto(b"flood", book)
                    except BlockingIOError:
                        break
                while self.tell("boss", "FLOOD", {"x": "y" * 100}):
                    pass
                yield 0.0


class Liar(Vice):
    """Says it is somebody else: that the hand ``victim`` is ready, and here it registers."""

    def __init__(self, *, victim: str, **kwa):
        super().__init__(**kwa)
        self.victim = victim

    def sin(self):
        load = {"v": 1, "gen": 1, "seq": 1, "status": "lies", "ready": True}
        boss = self.crewer.getAddr("boss")
        for tag in ("HBT", "RDY", "REG"):
            text = json.dumps({"tag": tag, "name": self.victim, "load": load})
            self.crewer.memoit(text, boss)
        self.status("lied")
        yield 0.0
