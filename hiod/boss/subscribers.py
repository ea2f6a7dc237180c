"""Who follows what happens: each caller of ``subscribe``, told of every event once and in order.

Decides what a caller has missed, how fast it is told that, and when it is told that the boss lives.
Leaves which hands are meant to the desk. Invariant: ``seq`` of an answer stands for all up to it,
so whoever begins anew after the last one it got, with this boss or the next, misses nothing; what
is missing all the same is said to be (``gap``).
"""

from __future__ import annotations

import fnmatch
import math
from typing import TYPE_CHECKING, Any

from hiod.admin import schema
from hiod.boss import views
from hiod.boss.ledger import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hiod.admin.server import Request
    from hiod.boss.ledger import Ledger

PAGE = 500
"""Events from the record told at once; more are told when the caller has taken those."""
TICK_S = 15.0
"""How often followers are told that the boss lives, and up to which number they know all."""


class Subscriber:
    """One caller that follows.

    Args:
        request: its call.
        ledger: what happens.
        hands: returns the names of the hands meant at present; None means all.
        rows: returns how those hands stand.
    """

    def __init__(
        self,
        request: Request,
        ledger: Ledger,
        hands: Callable[[], Collection[str] | None],
        rows: Callable[[Collection[str] | None], list[schema.Row]],
    ) -> None:
        self._request = request
        self._ledger = ledger
        self._names_now = hands
        self._names = hands()
        self._rows = rows
        self._told = ledger.seq  # all up to this one has been told, or is not wanted
        self._behind = False

    def begin(self) -> None:
        """Give the first answer: what was missed since a number, or how the hands stand."""
        since: int | None = self._request.params.since
        self._request.on_drained = self.catch_up
        if since is None:
            self._answer([], rows=True, first=self._ledger.first)
        elif since > self._told:  # it counts otherwise: by a record that is no more
            self._answer([], gap=True, rows=True, first=self._ledger.first)
        else:
            self._told, self._behind = since, True
            self.catch_up()

    def catch_up(self) -> None:
        """Tell the next page of what was missed, if anything was."""
        if not self._behind:
            return
        with reading():
            kept = self._ledger.events(since=self._told, limit=PAGE)
        self._behind = len(kept) == PAGE
        seq = kept[-1].seq if self._behind else self._ledger.seq
        gap = (kept[0].seq if kept else seq + 1) > self._told + 1
        self._told = seq
        found = [one for one in map(views.event, kept) if self._passes(one)]
        self._answer(found, gap=gap, rows=gap, first=self._ledger.first)

    def hear(self, event: dict[str, Any]) -> None:
        """Tell what happens now; one that is behind reads it in its turn."""
        if self._behind:
            return
        self._told = event["seq"]
        one = views.live_event(**event)
        if self._passes(one):
            self._answer([one])

    def tick(self) -> None:
        """Tell that the boss lives."""
        if not self._behind:
            self._answer([])

    def _passes(self, one: schema.Event) -> bool:
        if one.event == "hand.added":
            self._names = self._names_now()  # it may be one more of a counted base
        if self._names is not None and one.hand not in self._names:
            return False
        wanted = self._request.params.events
        return not wanted or any(fnmatch.fnmatchcase(one.event, want) for want in wanted)

    def _answer(
        self, events: list[schema.Event], *, gap: bool = False, rows: bool = False, first: int = 0
    ) -> None:
        self._request.progress(
            schema.SubscribeReply(
                events=events,
                seq=self._told,
                first=first,
                gap=gap,
                hands=self._rows(self._names) if rows else None,
            )
        )


class Subscribers:
    """All that follow one boss.

    Args:
        ledger: what happens.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._all: dict[Request, Subscriber] = {}
        self._tick_at = math.inf
        ledger.watchers.append(self._hear)

    def add(self, request: Request, one: Subscriber, now: float) -> None:
        """Let somebody follow, until the connection ends; ``now`` is tyme."""
        if not self._all:
            self._tick_at = now + TICK_S
        one.begin()
        self._all[request] = one
        request.on_gone.append(self._drop)

    def look(self, now: float) -> None:
        """Tell everybody that the boss lives, when it is time."""
        if now >= self._tick_at:
            self._tick_at = now + TICK_S
            for one in self._all.values():
                one.tick()

    def next_at(self) -> float:
        """Return by when somebody is to be told."""
        return self._tick_at

    def _hear(self, event: dict[str, Any]) -> None:
        for one in list(self._all.values()):
            one.hear(event)

    def _drop(self, request: Request) -> None:
        del self._all[request]
        if not self._all:
            self._tick_at = math.inf
