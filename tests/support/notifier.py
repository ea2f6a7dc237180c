"""A program that speaks to NOTIFY_SOCKET as it is told: words on its command line, in order.

``KEY=VALUE`` is sent as it stands; ``\\n`` in it is a line's end.  ``child:KEY=VALUE`` is sent by a
child; ``stray:KEY=VALUE`` by a child whose parents have ended.  ``hear`` waits for a line on the
fifo ``$FIFO`` and goes on; ``die`` exits 0.  Having said all it waits for a signal.
"""

import contextlib
import os
import signal
import socket
import sys

PATH = os.environ["NOTIFY_SOCKET"]


def tell(text: str) -> None:
    """Send one datagram, and return when it has been read and judged, or its reader is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(PATH)
        sock.send(text.replace("\\n", "\n").encode())
        reader, writer = os.pipe()
        with contextlib.suppress(ConnectionRefusedError):
            socket.send_fds(sock, [b"BARRIER=1"], [writer])
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)


def by_child(text: str, *, stray: bool) -> None:
    """Let a child tell it, or a grandchild that nobody here is the parent of any more."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if not stray or os.fork() == 0:
            if stray:
                os.read(reader, 1)
            tell(text)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    os.close(reader)


for word in sys.argv[1:]:
    if word == "hear":
        with open(os.environ["FIFO"]) as fifo:  # noqa: PTH123 - blocks until somebody writes
            fifo.readline()
    elif word == "die":
        sys.exit(0)
    elif word.startswith(("child:", "stray:")):
        by_child(word.split(":", 1)[1], stray=word.startswith("stray"))
    else:
        tell(word)
while True:
    signal.pause()
