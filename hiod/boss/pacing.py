"""How a boss spends the time between its turns: it sleeps, and takes heartbeats in.

Decides which of what comes takes no turn: heartbeats that say nothing new. A turn for each would
cost several times as much, and in a large crew there is one every moment. Leaves to ``switchboard``
which those are, and all else to the turns. Invariant: a turn that is due, or that anybody else
wants, waits for a few heartbeats at most.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from hiod.base.doing import Doist
from hiod.boss.overseer import Overseer

if TYPE_CHECKING:
    from hiod.base.deeding import Deed

ASIDE_MOST = 64
"""Heartbeats in a row without a turn: others at the same descriptors are to have their say, too."""


class BossDoist(Doist):
    """Runs a boss and what serves it; ends with the boss."""

    def __init__(self, *, boss: Overseer, **kwa: Any) -> None:
        super().__init__(**kwa)
        self._boss = boss
        self._hear = boss.switchboard.hear_aside

    def rest(self, timeout: float | None) -> list[Deed]:
        """Wait, and take heartbeats in, until there is anything else."""
        boss, wait = self._boss, self._waiter.wait
        until = min(self._due_at, self._limit_at)
        ready: list[Deed] = []
        for _ in range(ASIDE_MOST):
            ready = wait(timeout)
            if len(ready) != 1 or ready[0].doer is not boss or self._woken or self._halted:
                break
            now = self._advance()
            if now >= until or not boss.receiveAside(self._hear, self._tyme):
                break
            timeout = None if until == inf else until - now
        return ready

    def ended(self, doer: object) -> None:
        """Close the others when the boss is done."""
        if isinstance(doer, Overseer):
            self.halt()
