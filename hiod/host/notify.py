"""What systemd is told, and the descriptors it hands over.

Decides how words for the service manager are sent: at once, never blocking for longer than
:data:`PATIENCE_S`, never raising. Leaves to others when there is something to say.

Invariant: without a service manager all of this does nothing, and none of its variables is left
in the environment for a hand to inherit.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

__all__ = ["Notify", "listen_fds"]

PATIENCE_S = 1.0  # for the words a start or a stop hangs on, when the manager's queue is full
FIRST_FD = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START


class Notify:
    """The way to the service manager; every method returns whether the words were sent.

    Args:
        environ: where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are taken from,
            in the sense of taken away.
        pid: this process's, which a watchdog must be meant for.

    Attributes:
        unsent: how many words could not be sent, of a manager that is there.
    """

    def __init__(self, environ: MutableMapping[str, str], pid: int | None = None) -> None:
        self.unsent = 0
        self._socket: socket.socket | None = None
        self._address = _address(environ.pop("NOTIFY_SOCKET", ""))
        usec = environ.pop("WATCHDOG_USEC", "")
        meant_for = environ.pop("WATCHDOG_PID", "")
        mine = meant_for in ("", str(os.getpid() if pid is None else pid))
        self._watchdog_s = int(usec) / 1e6 if mine and usec.isdecimal() and int(usec) else None

    def __bool__(self) -> bool:
        """Say whether there is a service manager to tell."""
        return bool(self._address)

    @property
    def watchdog_s(self) -> float | None:
        """Seconds of silence after which the manager kills the boss; None: it does not watch.

        Ping from the main loop itself, at a third of it.
        """
        return self._watchdog_s if self._address else None

    def ready(self, status: str = "") -> bool:
        """Say that the start, or a reload, is complete."""
        return self._send(["READY=1", *_status(status)], patient=True)

    def reloading(self, status: str = "") -> bool:
        """Say that a reload has begun; it lasts until :meth:`ready`."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        words = ["RELOADING=1", f"MONOTONIC_USEC={usec}", *_status(status)]
        return self._send(words, patient=True)

    def stopping(self, status: str = "") -> bool:
        """Say that the boss is ending."""
        return self._send(["STOPPING=1", *_status(status)], patient=True)

    def status(self, status: str) -> bool:
        """Say in one line how things stand, for ``systemctl status``."""
        return self._send(_status(status) or ["STATUS="])

    def watchdog(self) -> bool:
        """Say that the main loop turns."""
        return self._send(["WATCHDOG=1"])

    def extend_timeout(self, seconds: float) -> bool:
        """Ask for this much time from now on, in a start or stop that makes progress."""
        return self._send([f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}"])

    def main_pid(self, pid: int) -> bool:
        """Say which process is the service's main one."""
        return self._send([f"MAINPID={pid}"], patient=True)

    def store(self, name: str, fds: Iterable[int], *, poll: bool = True) -> bool:
        """Give copies of descriptors to the manager's store, to come back after a restart.

        Args:
            name: how they will be called in ``LISTEN_FDNAMES``: no colon, at most 255 long.
            fds: the descriptors.
            poll: let the manager drop them by itself once they are hung up.
        """
        words = ["FDSTORE=1", f"FDNAME={name}"]
        if not poll:
            words.append("FDPOLL=0")
        return self._send(words, fds=tuple(fds), patient=True)

    def unstore(self, name: str) -> bool:
        """Have all descriptors of that name dropped from the store."""
        return self._send(["FDSTOREREMOVE=1", f"FDNAME={name}"])

    def barrier(self) -> int | None:
        """Return a descriptor that hangs up once the manager has read all words sent before.

        The caller polls and closes it. None when there is nobody to wait for.
        """
        if not self._address:
            return None
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            sent = self._send(["BARRIER=1"], fds=(writer,), patient=True)
        finally:
            os.close(writer)
        if sent:
            return reader
        os.close(reader)
        return None

    def close(self) -> None:
        """Close the socket. Twice does no harm, and words sent later open it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, words: list[str], *, fds: tuple[int, ...] = (), patient: bool = False) -> bool:
        if not self._address:
            return False
        data = "\n".join(words).encode(errors="replace")
        give_up_at = time.monotonic() + (PATIENCE_S if patient else 0.0)
        again = True
        while True:
            try:
                self._send_once(data, fds)
            except BlockingIOError:
                if not self._writable(give_up_at):
                    break
            except OSError:
                # A manager that was restarted listens behind the same address, once.
                self.close()
                if not again:
                    break
                again = False
            else:
                return True
        self.unsent += 1
        return False

    def _send_once(self, data: bytes, fds: tuple[int, ...]) -> None:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                made.connect(self._address)
            except BaseException:  # whatever it is, the socket is closed
                made.close()
                raise
            self._socket = made
        if fds:
            socket.send_fds(self._socket, [data], list(fds), socket.MSG_NOSIGNAL)
        else:
            self._socket.send(data, socket.MSG_NOSIGNAL)

    def _writable(self, give_up_at: float) -> bool:
        left_s = give_up_at - time.monotonic()
        if left_s <= 0.0 or self._socket is None:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return bool(poll.poll(left_s * 1000.0))


def listen_fds(environ: MutableMapping[str, str], pid: int | None = None) -> dict[str, int]:
    """Return the descriptors the service manager passed, by name, now close-on-exec.

    Names come from ``LISTEN_FDNAMES``; what has none is ``unknown``, and a second one of the
    same name gets ``#2`` behind it. The variables are taken from ``environ``, also when they
    are meant for another process.
    """
    meant_for = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    environ.pop("LISTEN_PIDFDID", None)
    if meant_for != str(os.getpid() if pid is None else pid) or not count.isdecimal():
        return {}
    found: dict[str, int] = {}
    for index in range(int(count)):
        fd = FIRST_FD + index
        try:
            os.set_inheritable(fd, False)
        except OSError:
            continue  # announced and not there: closed by a wrapper
        name = unique = (names[index] if index < len(names) else "") or "unknown"
        number = 1
        while unique in found:
            number += 1
            unique = f"{name}#{number}"
        found[unique] = fd
    return found


def _address(value: str) -> str:
    """Return what to connect to; empty for what is no Unix socket."""
    if value.startswith("@"):
        return "\0" + value[1:]
    return value if value.startswith("/") else ""


def _status(text: str) -> list[str]:
    return [f"STATUS={' '.join(text.split())}"] if text else []
