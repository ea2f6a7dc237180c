"""Which orders the launchers have not answered yet, and when nobody waits for that any longer.

Decides that a launcher is silent, or that it lost an order: it answers them in turn, so that what
counts is how long its oldest one is that. Leaves to ``processes`` what follows. Invariant: an order
is given up once, and none of a launcher that goes on answering.
"""

from __future__ import annotations

import math

ANSWER_S = 20.0
"""So long a launcher may leave its oldest order unanswered. A python on a slow and busy machine
needs several seconds to become a launcher; the unit waits 30 s for the end of a boss.
"""

Order = tuple[str, int]
"""Name and generation of the hand to be made."""


class Orders:
    """What launchers, by their ids, were told to make and have not answered for."""

    def __init__(self) -> None:
        self._owed: dict[str, dict[Order, None]] = {}  # the oldest first
        self._since: dict[str, float] = {}  # when its oldest became that
        self._spoke: set[str] = set()  # those that answered for others since then

    def give(self, launcher: str, order: Order, now: float) -> None:
        """Note an order."""
        self._owed.setdefault(launcher, {})[order] = None
        self._since.setdefault(launcher, now)

    def answer(self, launcher: str, order: Order, now: float) -> None:
        """Note an answer, to whatever order."""
        owed = self._owed.get(launcher)
        if owed is None or order not in owed:
            return
        oldest = next(iter(owed)) == order
        del owed[order]
        if oldest:
            self._next(launcher, now)
        else:
            self._spoke.add(launcher)

    def forget(self, launcher: str) -> None:
        """Expect nothing of a launcher any more."""
        self._owed.pop(launcher, None)
        self._since.pop(launcher, None)
        self._spoke.discard(launcher)

    def next_at(self) -> float:
        """Return when some order is to be given up."""
        return min(self._since.values(), default=math.inf) + ANSWER_S

    def overdue(self, now: float) -> dict[str, list[Order]]:
        """Return what is given up, by launcher: all of a silent one, else the one it lost."""
        late = [one for one, since in self._since.items() if now >= since + ANSWER_S]
        given_up = {}
        for launcher in late:
            owed = list(self._owed[launcher])
            if launcher in self._spoke:
                owed = owed[:1]
                del self._owed[launcher][owed[0]]
                self._next(launcher, now)
            else:
                self.forget(launcher)
            given_up[launcher] = owed
        return given_up

    def _next(self, launcher: str, now: float) -> None:
        """Go on with what is the oldest order from now on, if there is one."""
        self._spoke.discard(launcher)
        self._since[launcher] = now
        if not self._owed[launcher]:
            self.forget(launcher)
