"""A clock that moves only by waiting, and a waiter to go with it: real time without time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Clockwork:
    """Stands in for the clock and the waiter of a Doist in real time.

    ``at(when, do)`` has something happen while the Doist waits; ``ready`` are the descriptors that
    are readable; ``waits`` are the timeouts asked for.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.began = now
        self.ready: set[int] = set()
        self.waits: list[float | None] = []
        self.opened = 0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._watched: dict[Any, tuple[int, ...]] = {}
        self._poked = False

    def clock(self) -> float:
        return self.now

    @property
    def elapsed(self) -> float:
        return self.now - self.began

    def at(self, after: float, do: Callable[[], object]) -> None:
        self._events.append((self.began + after, len(self._events), do))
        self._events.sort(key=lambda event: event[:2])

    def stall(self, seconds: float) -> None:
        self.now += seconds

    # As a waiter

    def open(self, *, signals: bool = True) -> None:
        self.opened += 1

    def close(self) -> None:
        self.opened -= 1
        self._watched.clear()

    def watch(self, who: Any, fds: Iterable[int]) -> bool:
        self._watched[who] = tuple(fds)
        return bool(self._watched[who])

    def forget(self, who: Any) -> None:
        self._watched.pop(who, None)

    def poke(self) -> None:
        self._poked = True

    @property
    def watched(self) -> set[int]:
        return {fd for fds in self._watched.values() for fd in fds}

    def wait(self, timeout: float | None) -> list[Any]:
        self.waits.append(timeout)
        until = math.inf if timeout is None else self.now + timeout
        while not (self._poked or self._readies()):
            if not self._events or self._events[0][0] > until:
                assert until < math.inf, "the Doist sleeps and nothing will ever wake it"
                self.now = until
                break
            when, _, do = self._events.pop(0)
            self.now = max(self.now, when)
            do()
        self._poked = False
        return self._readies()

    def _readies(self) -> list[Any]:
        return [who for who, fds in self._watched.items() if self.ready & set(fds)]
