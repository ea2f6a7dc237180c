"""Hands that misbehave, one vice each: ``doers = ["rogue:Busy"]`` with ``path = [tests/support]``.

New failure in the field: new vice.
"""

from __future__ import annotations

import os
import socket

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
            while not os.read(fd, 10):
                yield 0.01
        finally:
            os.close(fd)
        self.ready("warm")
        while True:
            yield tock
