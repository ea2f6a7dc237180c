"""Whose turn it is at the admin socket, and who is left alone for a while.

Decides by what each has had of the boss's time: first between users, so that many connections of
one give it no more than one gives another; then between a user's connections. Whoever wants
nothing for a while neither saves up nor falls behind: it comes back as one that has had as much as
whoever was served last. So whoever asks little is served at once, however much others want.

Noise, what is said only to be refused, gets a small share of the boss's time: else those who make
it would keep the boss from sleeping, and a process that never sleeps is kept waiting by the system
when something worth its while happens.

Invariants: whatever is wanted is served after a bounded time, for who is served moves back; in the
long run noise takes no more than ``NOISE_SHARE``, however many make it.
"""

from __future__ import annotations

import heapq
from typing import Any, Generic, Protocol, TypeVar

NOISE_SHARE, NOISE_S = 0.03, 0.03
"""How much of a core noise may take in the long run, and how many seconds of one in a burst."""
NOISE_OWN_S = 0.005
"""So much of it of one user is forgiven: who errs now and then does not pay for those who shout."""
USERS_KEPT = 256
"""Users who want nothing at present are forgotten beyond that many."""


class Client(Protocol):
    """Who may want to be served.

    Attributes:
        spent_s: what it has had of the boss's time; kept by ``Turns``.
    """

    spent_s: float

    @property
    def uid(self) -> int:
        """The number of its user."""


ClientT = TypeVar("ClientT", bound=Client)


class _User(Generic[ClientT]):
    """One user's account.

    Attributes:
        spent_s: what its connections have had together.
        served_s: what that of them had had that was served last.
        queue: those that want something, the least served first.
    """

    __slots__ = ("queue", "served_s", "spent_s")

    def __init__(self) -> None:
        self.spent_s = 0.0
        self.served_s = 0.0
        self.queue: list[tuple[float, int, ClientT]] = []


class Turns(Generic[ClientT]):
    """Clients that want something, and in which order they get it."""

    def __init__(self) -> None:
        self._users: dict[int, _User[ClientT]] = {}
        self._busy: dict[int, _User[ClientT]] = {}
        self._wanted: set[ClientT] = set()
        self._served_s = 0.0
        self._count = 0  # of all that ever wanted: equals are served in the order they came

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, client: object) -> bool:
        return client in self._wanted

    def want(self, client: ClientT) -> None:
        """Let a client be served when it is its turn; once, however often it wants that."""
        if client in self._wanted:
            return
        uid = client.uid
        user = self._users.get(uid)
        if user is None:
            self._forget_idle()
            user = self._users[uid] = _User()
        if uid not in self._busy:
            user.spent_s = max(user.spent_s, self._served_s)
            self._busy[uid] = user
        client.spent_s = max(client.spent_s, user.served_s)
        self._count += 1
        self._wanted.add(client)
        heapq.heappush(user.queue, (client.spent_s, self._count, client))

    def take(self) -> ClientT:
        """Return whose turn it is; it wants nothing any more until it says so again.

        Raises:
            ValueError: nobody wants anything.
        """
        uid, user = min(self._busy.items(), key=_spent)
        self._served_s = user.spent_s
        user.served_s, _, client = heapq.heappop(user.queue)
        if not user.queue:
            del self._busy[uid]
        self._wanted.discard(client)
        return client

    def charge(self, client: ClientT, seconds: float) -> None:
        """Note that a client has had so much of the boss's time."""
        client.spent_s += seconds
        user = self._users.get(client.uid)
        if user is not None:
            user.spent_s += seconds

    def _forget_idle(self) -> None:
        if len(self._users) >= USERS_KEPT:
            self._users = dict(self._busy)


def _spent(entry: tuple[int, _User[Any]]) -> float:
    return entry[1].spent_s


class Noise:
    """How much of the boss's time went into refusing what was said lately."""

    def __init__(self) -> None:
        self._all = _Leaky(NOISE_SHARE)
        self._users: dict[int, _Leaky] = {}

    def add(self, uid: int, seconds: float, now: float) -> float:
        """Note what a user's noise took; return for how many seconds to leave its maker alone."""
        user = self._users.pop(uid, None) or _Leaky(NOISE_SHARE)
        self._users[uid] = user
        if len(self._users) > USERS_KEPT:
            del self._users[next(iter(self._users))]
        own_s, all_s = user.add(seconds, now), self._all.add(seconds, now)
        if own_s <= NOISE_OWN_S or all_s <= NOISE_S:
            return 0.0
        return all_s / NOISE_SHARE

    def is_over(self, uid: int, now: float) -> bool:
        """Say whether the next noise of a user's will have its maker left alone."""
        return self.add(uid, 0.0, now) > 0.0


class Allowance:
    """How often something may be done: so often at once, and so often a second in the long run."""

    def __init__(self, at_once: float, a_second: float) -> None:
        self._most = at_once
        self._done = _Leaky(a_second)

    def take(self, now: float) -> bool:
        """Do it once more, if it may be."""
        if self._done.add(0.0, now) + 1.0 > self._most:
            return False
        self._done.add(1.0, now)
        return True


class _Leaky:
    """How much came in, and has not run out again."""

    __slots__ = ("at", "level", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.level = 0.0
        self.at = 0.0

    def add(self, more: float, now: float) -> float:
        """Take more in; return how much there is."""
        self.level = max(0.0, self.level - (now - self.at) * self.rate) + more
        self.at = now
        return self.level
