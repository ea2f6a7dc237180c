"""Putting grams together again, within limits.

Decides which grams belong to one memo, when it is whole, and which unfinished one goes when there
is no room or no progress.  Leaves parsing and signatures to others; time is an argument.  Pure.
Invariant: grams of two senders never meet in one memo (senders are told apart by source address
and process), and the bytes held stay within the limits whatever arrives.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

__all__ = ["Cred", "Fuser", "Rx"]

Cred: TypeAlias = "tuple[int, int, int]"
"""Who sent a datagram, as the kernel says: pid, uid, gid."""

Key: TypeAlias = "tuple[str, Any, int]"
"""mid, source address, pid of the sender (0 when the kernel says nothing)"""

GRAM_COST: Final = 160
"""Bytes a kept gram counts for beside its body: a flood of tiny ones is a flood too."""


SHEET: Final = 256 * 1024
"""Bytes of the one buffer that is kept for memos to be put together in."""

LONG: Final = 4096
"""Bytes of a first gram's body from which its memo is put together there."""


class Rx(tuple[str, Any, "str | None"]):  # noqa: SLOT001 - a slot cannot be added to a tuple
    """A received memo: the tuple (memo, source address, vid or None).

    Attributes:
        cred: (pid, uid, gid) of the sender as the kernel gives them, None when it gives none.
    """

    cred: Cred | None


class Partial:
    """A memo of which grams are missing, or that has just become whole."""

    __slots__ = (
        "bodies",
        "cost",
        "count",
        "cred",
        "last",
        "sheet",
        "signed",
        "spent",
        "step",
        "vid",
    )

    def __init__(self, cred: Cred | None, vid: str | None, *, signed: bool) -> None:
        self.bodies: dict[int, bytes | memoryview] = {}
        self.count: int | None = None
        self.cost = 0
        self.cred = cred
        self.vid = vid
        self.signed = signed
        self.last = 0.0
        self.spent = False  # given up, kept to swallow what still comes of it
        self.sheet: memoryview | None = None  # where the bodies lie, one behind the other
        self.step = 0  # bytes of each of them but the last


class Fuser:
    """Every memo of which some grams are here.

    Parameters:
        maxPartials: most unfinished memos.
        maxBytes: most bytes they hold together, overhead counted.
        maxMemo: longest memo in bytes.
        maxAge: seconds without a new gram after which an unfinished memo is dropped.

    Attributes:
        partials: unfinished and just finished memos in the order of their first gram seen; a memo
            of one gram is there as the finished ``Rx``.
        expireAt: when ``expire`` has work, ``math.inf`` when never.
    """

    def __init__(self, *, maxPartials: int, maxBytes: int, maxMemo: int, maxAge: float) -> None:
        self.maxPartials = maxPartials
        self.maxBytes = maxBytes
        self.maxMemo = maxMemo
        self.maxAge = maxAge
        self.partials: dict[Key, Partial | Rx] = {}
        self.expireAt = math.inf
        self._cost = 0
        self._sheet: memoryview | None = None  # made at first use
        self._sheet_used = False
        self._ripe = False  # whether something is whole
        self._count = 0  # of the partials that are no Rx
        self._byOrigin: dict[tuple[Any, int], dict[Key, Partial]] = {}
        self._costByOrigin: dict[tuple[Any, int], int] = {}

    def add(
        self,
        key: Key,
        cred: Cred | None,
        number: int,
        count: int | None,
        body: bytes | memoryview,
        *,
        vid: str | None,
        signed: bool,
        now: float,
    ) -> list[tuple[str, Key, Cred | None]]:
        """Take one gram in; return what was dropped for it as (reason, key, sender).

        Kept is the first copy of a gram and the first count heard.  Signed and plain grams do not
        mix in one memo: the plain ones would travel under the signer's name.
        """
        held = self.partials.get(key)
        if held is None:
            if count == 1:
                why = self.addSole(key, cred, body, vid)
                return [(why, key, cred)] if why else []
            dropped = self._make_room(key, len(body) + GRAM_COST)
            held = self._begin(key, cred, vid, signed=signed)
            dropped += self._add_part(key, held, number, count, body, vid, signed, now)
            return dropped
        if isinstance(held, Rx):
            return []  # the same memo again before it was handed over
        return self._add_part(key, held, number, count, body, vid, signed, now)

    def _add_part(
        self,
        key: Key,
        held: Partial,
        number: int,
        count: int | None,
        body: bytes | memoryview,
        vid: str | None,
        signed: bool,
        now: float,
    ) -> list[tuple[str, Key, Cred | None]]:
        """Take in a gram of a memo that is in the books."""
        held.last = now
        self.expireAt = min(self.expireAt, now + self.maxAge)
        if held.spent:
            return []
        if held.signed is not signed:
            return [("mixed-signing", key, held.cred)]
        if held.count is not None and number >= held.count > len(held.bodies):
            return [("bad-number", key, held.cred)]
        dropped: list[tuple[str, Key, Cred | None]] = []
        if number not in held.bodies and held.count != len(held.bodies):
            cost = len(body) + GRAM_COST
            if held.bodies:
                dropped = self._make_room(key, cost, new=False)
            if not held.spent:
                held.bodies[number] = self._lay(held, number, count, body)
                self._charge(key, held, cost)
        held.vid = held.vid or vid
        if count is not None and held.count is None:
            self._take_count(key, held, count)
        if not held.spent and self._too_large(held):
            self._spend(key, held)
            dropped.append(("too-large", key, held.cred))
        if held.count == len(held.bodies):
            self._ripe = True
        return dropped

    def _too_large(self, held: Partial) -> bool:
        """Return whether a memo is longer than allowed, or by its count will be."""
        body_bytes = held.cost - GRAM_COST * len(held.bodies)
        return body_bytes > self.maxMemo or (held.count or 0) > self.maxMemo

    def vid(self, key: Key) -> str | None:
        """Return who signed the first gram of this memo, None when it is not here."""
        held = self.partials.get(key)
        return held.vid if isinstance(held, Partial) else None

    def fuse(self, most: int) -> tuple[list[Rx], list[tuple[str, Key, Cred | None]]]:
        """Return the whole memos in the order of their first grams, and what was dropped.

        Parameters:
            most: how many can be taken; the rest is dropped.
        """
        if not self._ripe:
            return [], []
        partials = self.partials
        whole: list[Rx] = []
        dropped: list[tuple[str, Key, Cred | None]] = []
        if not self._byOrigin:  # the common case: every memo had one gram
            whole = list(partials.values())  # type: ignore[arg-type]  # each a finished one
            if len(whole) > most:
                over = zip(list(partials)[most:], whole[most:], strict=True)
                dropped = [("inbox-full", key, rx.cred) for key, rx in over]
                del whole[most:]
            partials.clear()
            self._ripe = False
            return whole, dropped
        for key, held in list(partials.items()):
            rx: Rx
            if isinstance(held, Rx):
                rx = held
                del partials[key]
            elif held.count is None or len(held.bodies) != held.count or held.spent:
                continue
            else:
                data: bytes | memoryview
                if held.sheet is None:
                    data = b"".join([held.bodies[number] for number in range(held.count)])
                else:
                    data = held.sheet[: held.cost - GRAM_COST * held.count]
                self._let_go(key, held)
                try:
                    rx = Rx((str(data, "utf-8"), key[1], held.vid))
                except UnicodeDecodeError:
                    dropped.append(("not-utf8", key, held.cred))
                    continue
                rx.cred = held.cred
            if len(whole) < most:
                whole.append(rx)
            else:
                dropped.append(("inbox-full", key, rx.cred))
        self._ripe = False
        return whole, dropped

    def expire(self, now: float) -> list[tuple[str, Key, Cred | None]]:
        """Drop what has made no progress for ``maxAge`` seconds; return it."""
        if now < self.expireAt:
            return []
        dropped: list[tuple[str, Key, Cred | None]] = []
        oldest = math.inf
        for key, held in list(self.partials.items()):
            if isinstance(held, Rx):
                continue
            if held.last + self.maxAge > now:
                oldest = min(oldest, held.last)
                continue
            self._let_go(key, held)
            if not held.spent:
                dropped.append(("unfinished", key, held.cred))
        self.expireAt = oldest + self.maxAge
        return dropped

    def shift(self, by: float) -> None:
        """Move every time kept here by ``by`` seconds: the clock it is told from has changed."""
        self.expireAt += by
        for held in self.partials.values():
            if isinstance(held, Partial):
                held.last += by

    def addSole(
        self, key: Key, cred: Cred | None, body: bytes | memoryview, vid: str | None
    ) -> str:
        """Take in a memo of one gram, of which nothing is here: it is whole at once.

        Return "" or the reason why it is dropped.
        """
        if len(body) > self.maxMemo:
            return "too-large"
        try:
            rx = Rx((str(body, "utf-8"), key[1], vid))
        except UnicodeDecodeError:
            return "not-utf8"
        rx.cred = cred
        self.partials[key] = rx
        self._ripe = True
        return ""

    def _lay(
        self, held: Partial, number: int, count: int | None, body: bytes | memoryview
    ) -> bytes | memoryview:
        """Return where a body lies: at its place in the buffer, if this memo has that, or alone.

        A long memo is put together as it comes, in memory that is there already: a fresh piece
        for each gram and one for them all would cost more in page faults than the copying.
        """
        size = len(body)
        if held.sheet is None:
            first = count is not None and not held.bodies
            if not first or self._sheet_used or size < LONG or size * (count or 0) > SHEET:
                return body
            if self._sheet is None:
                self._sheet = memoryview(bytearray(SHEET))
            held.sheet, held.step, self._sheet_used = self._sheet, size, True
            held.count = count
        last = (held.count or 0) - 1
        if number > last or (size != held.step if number < last else size > held.step):
            held.bodies = {other: bytes(laid) for other, laid in held.bodies.items()}
            self._free_sheet(held)
            return body
        at = number * held.step
        held.sheet[at : at + size] = body
        return held.sheet[at : at + size]

    def _free_sheet(self, held: Partial) -> None:
        """Let another memo have the buffer, if this one has it."""
        if held.sheet is not None:
            held.sheet = None
            self._sheet_used = False

    def _take_count(self, key: Key, held: Partial, count: int) -> None:
        """Learn how many grams there are; forget those numbered beyond."""
        held.count = count
        for number in [number for number in held.bodies if number >= count]:
            self._charge(key, held, -len(held.bodies.pop(number)) - GRAM_COST)

    def _make_room(
        self, key: Key, cost: int, *, new: bool = True
    ) -> list[tuple[str, Key, Cred | None]]:
        """Drop the oldest unfinished memo of whoever holds most, until ``cost`` fits.

        Most memos, when there are too many, else most bytes; one that is whole goes last.
        """
        dropped: list[tuple[str, Key, Cred | None]] = []
        while self._byOrigin:
            if new and self._count >= self.maxPartials:
                origin = max(self._byOrigin, key=lambda one: len(self._byOrigin[one]))
            elif self._cost + cost > self.maxBytes:
                origin = max(self._costByOrigin, key=self._costByOrigin.__getitem__)
            else:
                break
            mine = self._byOrigin[origin].items()
            victim, held = next(
                (item for item in mine if item[1].count != len(item[1].bodies)), next(iter(mine))
            )
            if victim == key:
                self._spend(victim, held)
                dropped.append(("no-room", victim, held.cred))
                break
            self._let_go(victim, held)
            if not held.spent:
                dropped.append(("no-room", victim, held.cred))
        return dropped

    def _begin(self, key: Key, cred: Cred | None, vid: str | None, *, signed: bool) -> Partial:
        """Enter a new unfinished memo into the books."""
        held = self.partials[key] = Partial(cred, vid, signed=signed)
        self._count += 1
        origin = key[1:]
        self._byOrigin.setdefault(origin, {})[key] = held
        self._costByOrigin.setdefault(origin, 0)
        return held

    def _charge(self, key: Key, held: Partial, cost: int) -> None:
        """Count ``cost`` bytes more for a memo, its origin and the whole."""
        held.cost += cost
        self._cost += cost
        self._costByOrigin[key[1:]] += cost

    def _spend(self, key: Key, held: Partial) -> None:
        """Give a memo up, but keep its key, that its other grams do not begin it again."""
        held.spent = True
        held.bodies.clear()
        self._free_sheet(held)
        self._charge(key, held, -held.cost)

    def _let_go(self, key: Key, held: Partial) -> None:
        """Take a memo out of the books."""
        self._charge(key, held, -held.cost)
        self._free_sheet(held)
        del self.partials[key]
        self._count -= 1
        origin = key[1:]
        mine = self._byOrigin[origin]
        del mine[key]
        if not mine:
            del self._byOrigin[origin]
            del self._costByOrigin[origin]
