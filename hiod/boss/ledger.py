"""What the boss writes down and tells: one transaction a turn, one event one story.

Decides when a turn is on record and what happens while the disk refuses. Leaves how rows lie to
``host.store``. Invariants: event numbers only grow; what could not be written waits for the next
turn, bounded, and is said once, loudly; so is that what was written cannot be read.
"""

from __future__ import annotations

import fnmatch
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from hiod.errors import AdminError, StoreError
from hiod.host.store import SavedDeath, SavedEvent, Turn
from hiod.rules import keeping
from hiod.rules.story import STORY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from hiod.host.store import Store
    from hiod.rules.records import Hand
    from hiod.rules.roster import Member


@contextmanager
def reading() -> Iterator[None]:
    """Refuse who asks for what is on record, in this block, if the disk does not give it.

    Raises:
        AdminError: Unavailable, with the store's reason.
    """
    try:
        yield
    except StoreError as error:
        raise AdminError("Unavailable", state=f"store: {error}", after_s=None) from error


class Ledger:
    """The record of one boss.

    Attributes:
        store: the database.
        seq: number of the newest event.
        tallies: counters that outlive the boss.
        fault: why the disk refuses, or "".
        watchers: called with each event as it is told.
    """

    def __init__(
        self,
        store: Store,
        tell: Callable[[str, str, Mapping[str, Any]], None],
        *,
        seq: int,
        tallies: Mapping[str, int],
        boot_id: str,
        events_keep: int,
    ) -> None:
        self.store = store
        self.seq = seq
        self.tallies = dict(tallies)
        self.fault = ""
        self.watchers: list[Callable[[dict[str, Any]], None]] = []
        self._unread = ""  # why the disk does not give what is on record
        self._tell_journal = tell
        self._boot_id = boot_id
        self._events_keep = events_keep
        self._turn = Turn()
        self._written: dict[str, Hand] = {}
        self._after: list[Callable[[], None]] = []

    @property
    def clean(self) -> bool:
        """Whether everything so far is on record."""
        return not self._turn

    @property
    def first(self) -> int:
        """Number of the earliest event still kept; 0 when there is none.

        Raises:
            StoreError: what is on record cannot be read.
        """
        waiting = self._turn.events
        return self.store.first_event() or (waiting[0][0] if waiting else 0)

    def tell(self, event: str, **facts: Any) -> None:
        """Put an event into the ring, the journal and the streams."""
        level = STORY[event].level
        told = {key: value for key, value in facts.items() if value is not None}
        self._tell_journal(event, level, told)
        if level == "debug":
            return
        self.seq += 1
        wall = time.time()
        text = orjson.dumps(told, default=str)
        self._turn.events.append((self.seq, wall, told.get("hand"), event, text))
        for watcher in list(self.watchers):
            watcher({"seq": self.seq, "at": wall, "event": event, "facts": told})

    def count(self, name: str, by: int = 1) -> int:
        """Add to a counter; return its new value."""
        self.tallies[name] = value = self.tallies.get(name, 0) + by
        self._turn.counters[name] = value
        return value

    def note(self, key: str, value: str) -> None:
        """Keep a fact about the crew as a whole with the next turn."""
        self._turn.meta[key] = value

    def know(self, hands: Mapping[str, Hand]) -> None:
        """Take these hands as written down already."""
        self._written.update(hands)

    def put_hands(self, hands: Iterable[Hand]) -> None:
        """Write hands down with this turn, those that differ from what is written."""
        for hand in hands:
            before = self._written.get(hand.name)
            if before is not hand:
                self._turn.durable |= before is None or before.wanted is not hand.wanted
                row = keeping.hand_row(hand, self._boot_id)
                self._turn.hands_put[hand.name] = orjson.dumps(row)
                self._written[hand.name] = hand

    def drop_hand(self, name: str) -> None:
        """Forget a hand with this turn."""
        self._written.pop(name, None)
        self._turn.hands_put.pop(name, None)
        self._turn.hands_drop.add(name)
        self._turn.durable = True

    def put_member(self, member: Member) -> None:
        """Write a definition down, to be on the disk before anything is done about it."""
        row = {"spec": keeping.spec_row(member.spec), "filed_count": member.filed_count}
        self._turn.members_put[member.spec.name] = (orjson.dumps(row), member.source)
        self._turn.members_drop.discard(member.spec.name)
        self._turn.durable = True

    def drop_member(self, name: str) -> None:
        """Forget a definition with this turn."""
        self._turn.members_put.pop(name, None)
        self._turn.members_drop.add(name)
        self._turn.durable = True

    def want_durable(self) -> None:
        """Have this turn on the disk before it is acted on: what is wanted changed."""
        self._turn.durable = True

    def bury(self, name: str, at_wall: float, record: Mapping[str, Any]) -> None:
        """Keep how a process ended."""
        self._turn.deaths.append((name, at_wall, orjson.dumps(record)))

    def events(
        self,
        *,
        since: int | None = None,
        limit: int,
        names: Sequence[str] = (),
        hands: Collection[str] | None = None,
    ) -> list[SavedEvent]:
        """Return events, oldest first, those included that wait to be written.

        Args:
            since: the first after this number; None: the last.
            limit: so many at most.
            names: of these kinds or globs only; empty: all.
            hands: of these hands only; None: all, and those of no hand.

        Raises:
            StoreError: what is on record cannot be read.
        """
        kinds = [name for name in STORY if any(fnmatch.fnmatchcase(name, one) for one in names)]
        if (names and not kinds) or (hands is not None and not hands):
            return []
        kept = self.store.events(since=since, limit=limit, names=kinds, hands=hands or ())
        for seq, at, hand, name, facts in self._turn.events:
            meant = (not kinds or name in kinds) and (hands is None or hand in hands)
            if meant and seq > (since or 0):
                kept.append(SavedEvent(seq, at, hand, name, _text(facts)))
        return kept[-limit:] if since is None else kept[:limit]

    def deaths(self, name: str, *, limit: int) -> list[SavedDeath]:
        """Return how a hand ended before, the latest first, what waits to be written included.

        Of what cannot be read there is nothing: who asks how a hand stands is to hear the rest.
        """
        waiting = [SavedDeath(own, at, _text(row)) for own, at, row in self._turn.deaths]
        mine = [one for one in reversed(waiting) if one.hand == name]
        try:
            mine += self.store.deaths(name, limit=limit)
        except StoreError as error:
            if self._unread != str(error):
                self._unread = str(error)
                self.tell("store.read_refused", why=self._unread)
        else:
            self._unread = ""
        return mine[:limit]

    def once_written(self, act: Callable[[], None]) -> None:
        """Do this as soon as the present turn is on record, and not before."""
        self._after.append(act)

    def commit(self) -> None:
        """Write the turn down. If the disk refuses, the crew is kept and the turn waits."""
        if self._turn:
            try:
                self.store.commit(self._turn)
            except StoreError as error:
                self._refused(error)
                return
            self._turn = Turn()
            if self.fault:
                self.fault = ""
                self.tell("store.recovered")
        after, self._after = self._after, []
        for act in after:
            act()

    def _refused(self, error: StoreError) -> None:
        first = not self.fault
        self.fault = str(error)
        del self._turn.events[: -self._events_keep]
        del self._turn.deaths[: -self._events_keep]
        if first:
            self.tell("store.write_refused", why=str(error))


def _text(json: str | bytes) -> str:
    return json.decode() if isinstance(json, bytes) else json
