"""Waiting for whatever comes first: a descriptor, a wake from elsewhere, a signal, a moment.

Decides how the one wait of a Doist is done (epoll), by which clock it is paced (monotonic), and
which tyme belongs to which moment (``Ticks``).  Leaves to ``doing`` whom a descriptor wakes and
how long a wait may last.  Invariant: a wait returns when something happened, never merely because
a descriptor was closed behind our back.
"""

from __future__ import annotations

import select
import signal
import socket
import time
from math import floor
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_EPOLLIN = select.EPOLLIN
_LONGEST_S = 1_000_000.0  # epoll counts milliseconds in 32 bits; a longer wait is waited in parts
_EVENTS = 64  # a wait; what is left over is level triggered and comes with the next

_NEAR = 1e-6  # part of a tock by which sums of tocks may differ from their multiples


class HasFileno(Protocol):
    """What a descriptor may be given as, besides its number."""

    def fileno(self) -> int:
        """Return the descriptor's number."""


class Timer:
    """A span of real time, in seconds of ``clock``; hio's MonoTimer without its wall clock."""

    def __init__(self, duration: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._stop = self._start + duration

    @property
    def duration(self) -> float:
        """Length of the span in seconds."""
        return self._stop - self._start

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def remaining(self) -> float:
        """Seconds until the span is over, negative afterwards."""
        return self._stop - self._clock()

    @property
    def expired(self) -> bool:
        """Whether the span is over."""
        return self._clock() >= self._stop

    def start(self, duration: float | None = None, start: float | None = None) -> float:
        """Begin a span now, or at ``start`` of the clock; return that moment."""
        span = self.duration if duration is None else duration
        self._start = self._clock() if start is None else start
        self._stop = self._start + span
        return self._start

    def restart(self, duration: float | None = None) -> float:
        """Begin a span where the former one ended; return that moment."""
        return self.start(duration=duration, start=self._stop)


class Ticks:
    """Which tyme it is at a moment, and the other way round; tyme moves in whole tocks.

    Tick n is passed when the clock has reached ``origin + n * tock``; tyme is then
    ``base + n * tock``.  The same sums are used both ways, so a wait for a tick never ends just
    before it.

    Attributes:
        tyme: at the last tick passed, in seconds.
        soon: tyme at the next tick.
        edge: ``tyme`` and a little: a sum of tocks up to here is a tick summed up another way.
        began: when ``tyme`` began, by the clock.
        tock: seconds between ticks; 0.0 or less for tyme that flows like the clock.
    """

    __slots__ = ("_base", "_near", "_origin", "began", "edge", "soon", "tock", "tyme")

    def __init__(self, now: float, tyme: float, tock: float) -> None:
        self._origin = self.began = now
        self._base = self.tyme = tyme
        self.tock = tock
        self._near = max(0.0, _NEAR * tock)
        self.soon = tyme + tock
        self.edge = tyme + self._near

    def reach(self, now: float) -> None:
        """Move to the last tick passed at ``now``."""
        tock = self.tock
        if tock > 0.0:
            n = floor((now - self._origin) / tock)
            if self._origin + (n + 1) * tock <= now:
                n += 1
            elif self._origin + n * tock > now:
                n -= 1
            tyme = self._base + n * tock
            if tyme <= self.tyme:
                return
            self.began = self._origin + n * tock
            self.tyme = tyme
            self.soon = self._base + (n + 1) * tock
        else:
            self.began = now
            self.tyme = self.soon = self._base + (now - self._origin)
        self.edge = self.tyme + self._near

    def moment(self, due: float, *, near: bool = False) -> float:
        """Return when tyme, or with ``near`` the edge, will have reached ``due``, by the clock."""
        tock = self.tock
        ahead = due - self._base
        if tock <= 0.0:
            return self._origin + ahead
        slack = self._near if near else 0.0
        n = floor(ahead / tock) - 1
        for _ in range(3):
            if self._base + n * tock + slack >= due:
                break
            n += 1
        return self._origin + n * tock


class Waiter:
    """An epoll that many ask for readability, and a way to end its wait from anywhere.

    A number says little about a descriptor: it can be closed and given to another file between
    two looks, and epoll goes on reporting a closed one while another process holds it open.  So
    what is asked for is checked against epoll on every ``watch`` (one system call a descriptor),
    and when a registration turns out to be of a file no longer ours, the epoll is made anew.
    """

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._inner: socket.socket | None = None
        self._outer: socket.socket | None = None
        self._asked: dict[Any, tuple[int, ...]] = {}
        self._watchers: dict[int, list[Any]] = {}
        self._former: int | None = None

    def open(self, *, signals: bool = True) -> None:
        """Get ready to wait; with ``signals`` also for any signal, in the main thread."""
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._inner.fileno(), _EPOLLIN)
        if signals:
            try:
                self._former = signal.set_wakeup_fd(self._outer.fileno(), warn_on_full_buffer=False)
            except ValueError:  # not the main thread: signals are not handled here
                self._former = None

    def close(self) -> None:
        """Let go of everything; the former wakeup descriptor of signals is put back."""
        if self._former is not None:
            signal.set_wakeup_fd(self._former)
            self._former = None
        for thing in (self._epoll, self._inner, self._outer):
            if thing is not None:
                thing.close()
        self._epoll = None
        self._asked.clear()
        self._watchers.clear()

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``wait`` has something to return."""
        if self._epoll is None:
            raise ValueError("the waiter is not open, so there is nothing to wait on")
        return self._epoll.fileno()

    def watch(self, who: Any, fds: Iterable[int | HasFileno]) -> bool:
        """Await readability of exactly these descriptors for ``who``.

        Descriptors that are closed already are passed over.

        Returns:
            whether there is any to await.

        Raises:
            ValueError: a descriptor is of a kind that cannot be awaited (a regular file).
        """
        epoll = self._epoll
        if epoll is None:
            return False
        new = tuple(_numbers(fds))
        old = self._asked.get(who, ())
        stale = False
        if new != old:
            self._asked[who] = new
            for fd in old:
                if fd not in new:
                    stale |= self._unwatch(who, fd)
        there = False
        for fd in new:
            try:
                stale |= self._ask(epoll, fd)
            except PermissionError:
                raise ValueError(
                    f"cannot wait for descriptor {fd}: a regular file or directory is always "
                    "ready; leave it out of fds()"
                ) from None
            except OSError:  # closed: nothing to await, but epoll may still hold it
                stale |= self._watchers.pop(fd, None) is not None
                continue
            there = True
            watchers = self._watchers.setdefault(fd, [])
            if who not in watchers:
                watchers.append(who)
        if stale:
            self._renew()
        return there

    def forget(self, who: Any) -> None:
        """Await nothing for ``who`` any more."""
        stale = False
        for fd in self._asked.pop(who, ()):
            stale |= self._unwatch(who, fd)
        if stale:
            self._renew()

    def wait(self, timeout: float | None) -> list[Any]:
        """Wait at most ``timeout`` seconds, for ever when None; return who has something ready."""
        epoll = self._epoll
        inner = self._inner
        if epoll is None or inner is None:
            raise ValueError("the waiter is not open, so there is nothing to wait on")
        if timeout is None or timeout > _LONGEST_S:
            timeout = _LONGEST_S
        ready: list[Any] = []
        stale = False
        for fd, _ in epoll.poll(timeout, _EVENTS):
            watchers = self._watchers.get(fd)
            if watchers:
                ready += watchers
            elif fd == inner.fileno():
                _drain(inner)
            else:
                stale = True
        if stale:
            self._renew()
        return ready

    def poke(self) -> None:
        """End the wait, from any thread or signal handler."""
        outer = self._outer
        if outer is not None:
            try:
                outer.send(b"\0")
            except OSError:
                return  # full: the wait ends anyway; closed: nobody waits

    def _ask(self, epoll: select.epoll, fd: int) -> bool:
        """Have epoll await ``fd``; return whether it may still hold another file for it."""
        if fd not in self._watchers:
            epoll.register(fd, _EPOLLIN)
            return False
        try:
            epoll.modify(fd, _EPOLLIN)
        except FileNotFoundError:  # the number is another file's by now
            epoll.register(fd, _EPOLLIN)
            return True
        return False

    def _unwatch(self, who: Any, fd: int) -> bool:
        """Take ``who`` off ``fd``; return whether epoll may still hold a file not ours."""
        watchers = self._watchers.get(fd)
        if watchers is None or who not in watchers:
            return False
        watchers.remove(who)
        if watchers:
            return False
        del self._watchers[fd]
        try:
            if self._epoll is not None:
                self._epoll.unregister(fd)
        except OSError:  # closed or given to another file before we were told
            return True
        return False

    def _renew(self) -> None:
        """Make the epoll anew: the only way to be rid of a file whose number is gone."""
        if self._epoll is None or self._inner is None:
            return
        self._epoll.close()
        self._epoll = select.epoll()
        self._epoll.register(self._inner.fileno(), _EPOLLIN)
        for fd in tuple(self._watchers):
            try:
                self._epoll.register(fd, _EPOLLIN)
            except OSError:  # closed, or replaced by what cannot be awaited: asked again later
                del self._watchers[fd]


def _numbers(fds: Iterable[int | HasFileno]) -> Iterable[int]:
    for fd in fds:
        if not isinstance(fd, int):
            try:
                number = fd.fileno()
            except ValueError:  # a closed file object
                continue
        else:
            number = fd
        if number >= 0:
            yield number


def _drain(inner: socket.socket) -> None:
    try:
        while inner.recv(4096):
            pass
    except BlockingIOError:
        return
