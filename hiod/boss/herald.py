"""What the service manager is told of a boss, turn by turn.

Decides when there is something to say; leaves the saying to ``host.notify``. Invariants: the
watchdog is only fed after a whole turn of the overseer, and without a service manager none of
this costs anything.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hiod.rules import records as r

if TYPE_CHECKING:
    from collections.abc import Callable

    from hiod.boss.overseer import Overseer
    from hiod.host.notify import Notify

STATUS_S = 1.0
"""The status line is renewed no more often than that."""
MARGIN_S = 10.0
"""What a hand may take beyond its own times to be gone, before its stop counts as hung."""


class Herald:
    """Speaks for one boss to its service manager.

    Args:
        boss: of whom it tells.
        notify: the way to the service manager.
        busy: says whether a reload is still being carried out.
    """

    def __init__(self, boss: Overseer, notify: Notify, *, busy: Callable[[], bool]) -> None:
        self._boss = boss
        self._notify = notify
        self._busy = busy
        self._beat_s = (notify.watchdog_s or 0.0) / 3
        self._beat_at = -math.inf if notify.watchdog_s else math.inf
        self._stale = False
        self._told = ""
        self._told_at = -math.inf
        self._reloading = False
        if notify:
            boss.after_turn.append(self.look)
            boss.deadlines.append(self.next_at)

    def reloading(self) -> None:
        """Say that the crew files are being applied; ends by itself with the last of it."""
        if self._notify and self._boss.ready and self._boss.outcome is None:
            self._reloading = True
            self._notify.reloading()

    def next_at(self) -> float:
        """Return by when there is something to say (tyme)."""
        return min(self._beat_at, self._told_at + STATUS_S if self._stale else math.inf)

    def look(self, changed: set[str]) -> None:
        """Say what is due, at the end of a turn."""
        boss, now = self._boss, self._boss.now()
        if now >= self._beat_at:
            self._beat_at = now + self._beat_s
            self._notify.watchdog()
        if self._reloading and (boss.outcome is not None or not self._busy()):
            self._reloading = False
            self._told, self._told_at = boss.summary(), now
            if boss.outcome is None:
                self._notify.ready(status=self._told)
        self._stale = self._stale or bool(changed)
        if changed and boss.outcome == "stop":
            self._ask_for_time()
        if self._stale and now >= self._told_at + STATUS_S:
            self._stale, self._told_at = False, now
            told = boss.summary()
            if told != self._told:
                self._told = told
                self._notify.status(told)

    def _ask_for_time(self) -> None:
        """Ask for what the hands may take that are still there: each end buys the next its time."""
        times = [
            hand.spec.stop.grace_s + hand.spec.stop.term_s
            for hand in self._boss.hands.values()
            if hand.process is not None or hand.state in r.LIVE
        ]
        if times:
            self._notify.extend_timeout(max(times) + MARGIN_S)
