"""Whose turn it is at the admin socket.

Decides by what each has had of the boss's time: first between users, so that many connections of
one give it no more than one gives another; then between a user's connections. Whoever wants
nothing for a while neither saves up nor falls behind: it comes back as one that has had as much as
whoever was served last. So whoever asks little is served at once, however much others want.

Invariant: whatever is wanted is served after a bounded time, for who is served moves back.
"""

from __future__ import annotations

import heapq
from typing import Any, Generic, Protocol, TypeVar

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
