"""What waits to be sent, by destination.

Decides which memo may wait, which gram goes next, how long to hold back from a destination that
does not take it, and when a memo is given up.  Leaves cutting to ``gramming`` and the sending,
with the awaiting of room, to a ``Port``; time is an argument.  Invariants: grams leave in order
within a destination; a gram that is not taken stays; what does not stay is told as dead, with a
reason; one destination never delays another.
"""

from __future__ import annotations

import errno
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Letter", "Outboxes", "Port"]

UNREACHABLE: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ENOENT,
        errno.ECONNRESET,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
        errno.ETIMEDOUT,
        errno.ETIME,
    }
)
"""Errors that mean: nobody there now.  The destination is tried again until the age limit."""

FIRST_DELAY: Final = 0.1
LAST_DELAY: Final = 1.0
SHORT_DELAY: Final = 0.01
"""Seconds until the next try when the system, not the destination, has no room."""


class Port(Protocol):
    """What the outboxes need of the world."""

    lull: int

    def send(self, gram: bytes, dst: Any, /) -> int:
        """Send a gram; 0 for no room.

        ``lull`` then says where there is none: EAGAIN at the destination, ENOBUFS here because
        of what others have not read, ENOMEM in the system.
        """

    def awaitRoom(self, dst: Any) -> int:
        """Begin to await room at ``dst``: 0, or the errno that says why that is not possible.

        None stands for the room here.
        """

    def endRoom(self, dst: Any) -> None:
        """Stop awaiting room there, if it was awaited."""

    def roomy(self) -> Iterable[Any]:
        """Return the destinations that have room now, of those awaited; None for here."""

    def dead(self, memo: str | None, dst: Any, reason: str) -> None:
        """Take note of a memo that is given up."""


class Letter:
    """A memo, or a ready gram, on its way out."""

    __slots__ = ("at", "dst", "grams", "key", "memo", "sent", "size", "vid")

    def __init__(
        self, memo: str | None, dst: Any, vid: str | None, key: Any, size: int, at: float
    ) -> None:
        self.memo = memo
        self.dst = dst
        self.vid = vid
        self.key = key
        self.size = size
        self.at = at
        self.grams: list[bytes] | None = None  # None until it is cut
        self.sent = 0  # how many of the grams have left


class Outbox:
    """Everything that waits for one destination."""

    __slots__ = ("awaited", "delay", "dst", "letters", "retryAt", "size")

    def __init__(self, dst: Any) -> None:
        self.dst = dst
        self.letters: deque[Letter] = deque()
        self.size = 0
        self.delay = 0.0
        self.retryAt = math.inf
        self.awaited = False


class Outboxes:
    """All destinations' outboxes.

    Parameters:
        maxCount: most memos for one destination.
        maxBytes: most bytes for one destination.
        maxTotal: most memos for all together.
        maxTotalBytes: most bytes for all together.
        maxAge: seconds after which a memo for an unreachable destination is given up.

    Attributes:
        kept: destinations whose memos are never given up for age.
        depth: memos not yet sent whole.
        sent: memos sent whole.
    """

    def __init__(
        self, *, maxCount: int, maxBytes: int, maxTotal: int, maxTotalBytes: int, maxAge: float
    ) -> None:
        self.maxCount = maxCount
        self.maxBytes = maxBytes
        self.maxTotal = maxTotal
        self.maxTotalBytes = maxTotalBytes
        self.maxAge = maxAge
        self.kept: set[Any] = set()
        self.depth = 0
        self.sent = 0
        self.uncut: deque[Letter] = deque()
        self._size = 0
        self._boxes: dict[Any, Outbox] = {}
        self._ready: dict[Any, Outbox] = {}  # may send now
        self._late: dict[Any, Outbox] = {}  # waits for its retryAt
        self._stuffed: dict[Any, Outbox] = {}  # of the late: waits for room here, too
        self._own_awaited = False
        self._keyed: dict[tuple[Any, Any], Letter] = {}
        self._dead: list[tuple[str | None, Any, str]] = []  # not yet told

    def put(self, letter: Letter) -> str:
        """Queue a letter; return "" or the reason why there is no room for it."""
        dst, size = letter.dst, letter.size
        box = self._boxes.get(dst)
        if box is None:
            if size > self.maxBytes:
                return "outbox-bytes"
            box = Outbox(dst)
        elif len(box.letters) >= self.maxCount:
            return "outbox-full"
        elif box.size + size > self.maxBytes:
            return "outbox-bytes"
        if self.depth >= self.maxTotal or self._size + size > self.maxTotalBytes:
            return "outboxes-full"
        if not box.letters:
            self._boxes[dst] = box
            self._ready[dst] = box
        box.letters.append(letter)
        box.size += size
        self._size += size
        self.depth += 1
        if letter.grams is None:
            self.uncut.append(letter)
        if letter.key is not None:
            self._keyed[dst, letter.key] = letter
        return ""

    def replaceable(self, dst: Any, key: Any, size: int) -> Letter | None:
        """Return the queued letter of that key, now counted as of ``size`` bytes, or None.

        None also when a gram of it has left, or when its place has no room for so many bytes.
        """
        letter = self._keyed.get((dst, key))
        if letter is None or letter.sent:
            return None
        more = size - letter.size
        if self._boxes[dst].size + more > self.maxBytes or self._size + more > self.maxTotalBytes:
            return None
        self._boxes[dst].size += more
        self._size += more
        letter.size = size
        return letter

    def kill(self, letter: Letter, reason: str, port: Port) -> None:
        """Give up a queued letter that cannot be cut; it holds up nobody."""
        letter.grams = []
        self._bury(letter, reason)
        self._tell(port)

    def pump(self, now: float, port: Port, most: float = math.inf) -> None:
        """Send what can be sent.

        Parameters:
            now: present time in seconds.
            port: what sends them; it is told of the dead when all else is done.
            most: how many grams at most.
        """
        for dst in port.roomy():
            if dst is None:
                port.endRoom(None)
                self._own_awaited = False
                for box in list(self._stuffed.values()):
                    self._revive(box)
            elif dst in self._boxes:
                self._ready[dst] = self._boxes[dst]
        if self._late:
            for box in [box for box in self._late.values() if box.retryAt <= now]:
                self._revive(box)
        for box in list(self._ready.values()):
            if most <= 0:
                break
            most -= self._empty(box, now, port, most)
        if self._dead:
            self._tell(port)

    def _revive(self, box: Outbox) -> None:
        """Let an outbox that was held back for a time try again."""
        self._late.pop(box.dst, None)
        self._stuffed.pop(box.dst, None)
        box.retryAt = math.inf
        self._ready[box.dst] = box

    def _tell(self, port: Port) -> None:
        """Tell of the dead; whoever hears of it may queue, forget or send."""
        while self._dead:
            memo, dst, reason = self._dead.pop(0)
            port.dead(memo, dst, reason)

    def forget(self, dst: Any, reason: str, port: Port) -> int:
        """Give up everything for ``dst``; return how many memos that were."""
        box = self._boxes.get(dst)
        if box is None:
            return 0
        letters = list(box.letters)
        gone = 0
        for letter in letters:
            if letter.grams != []:
                gone += 1
                self._bury(letter, reason)
            self._leave(box, letter)
            letter.grams = []
        box.letters.clear()
        self._close(box, port)
        self._tell(port)
        return gone

    def shift(self, by: float) -> None:
        """Move every time kept here by ``by`` seconds: the clock it is told from has changed."""
        for box in self._boxes.values():
            box.retryAt += by
            for letter in box.letters:
                letter.at += by

    def dueAt(self) -> float:
        """Return when something is to be tried again, ``math.inf`` when nothing is."""
        if not self._late:
            return math.inf
        return min(box.retryAt for box in self._late.values())

    def letters(self) -> list[Letter]:
        """Return all that waits, destination by destination."""
        return [letter for box in self._boxes.values() for letter in box.letters]

    def _empty(self, box: Outbox, now: float, port: Port, most: float) -> int:
        """Send one destination's cut grams until one is not taken or ``most`` went; count them.

        Afterwards the outbox is gone, held back, or still ready because of an uncut memo.
        """
        send, dst, letters = port.send, box.dst, box.letters
        went = 0
        while letters:
            letter = letters[0]
            grams = letter.grams
            if grams is None:
                return went
            while letter.sent < len(grams):
                if went >= most:
                    return went
                try:
                    taken = send(grams[letter.sent], dst)
                except OSError as ex:
                    if self._refused(box, letter, ex, now, port):
                        return went
                    break
                except (TypeError, ValueError):
                    self._bury(letter, "bad-address")
                    break
                if not taken:
                    self._hold(box, letter, now, port, moved=went > 0)
                    return went
                letter.sent += 1
                went += 1
                box.delay = 0.0
            else:
                if grams:
                    self.sent += 1
            letters.popleft()
            self._leave(box, letter)
        self._close(box, port)
        return went

    def _leave(self, box: Outbox, letter: Letter) -> None:
        """Take a letter out of the books."""
        box.size -= letter.size
        self._size -= letter.size
        self.depth -= 1
        if letter.key is not None:
            slot = (letter.dst, letter.key)
            if self._keyed.get(slot) is letter:
                del self._keyed[slot]

    def _close(self, box: Outbox, port: Port) -> None:
        """Forget an outbox that is empty."""
        dst = box.dst
        del self._boxes[dst]
        self._ready.pop(dst, None)
        self._late.pop(dst, None)
        self._stuffed.pop(dst, None)
        self._end_room(box, port)

    def _bury(self, letter: Letter, reason: str) -> None:
        """Take note of a dead letter, to be told of."""
        self._dead.append((letter.memo, letter.dst, reason))

    def _hold(self, box: Outbox, letter: Letter, now: float, port: Port, *, moved: bool) -> None:
        """Keep a gram for which there is no room, until there is.

        A destination that was said to have room and took nothing is awaited anew: another socket
        may live there by now.
        """
        if port.lull == errno.EAGAIN:
            if box.awaited and moved:
                del self._ready[box.dst]
                return
            self._end_room(box, port)
            code = port.awaitRoom(box.dst)
            if not code:
                box.awaited = True
                del self._ready[box.dst]
                return
            if code in UNREACHABLE:
                self._age(box, letter, now, port)
                return
        elif port.lull == errno.ENOBUFS:
            self._stuffed[box.dst] = box
            if not self._own_awaited:
                self._own_awaited = not port.awaitRoom(None)
        self._end_room(box, port)
        # Room here is announced when three quarters are free; slow readers may hold more.
        self._later(box, now, SHORT_DELAY)

    def _end_room(self, box: Outbox, port: Port) -> None:
        """Stop awaiting room at a destination."""
        if box.awaited:
            port.endRoom(box.dst)
            box.awaited = False

    def _refused(self, box: Outbox, letter: Letter, ex: OSError, now: float, port: Port) -> bool:
        """Return whether the destination is held back; if not, the letter alone is dead."""
        if ex.errno in UNREACHABLE:
            self._age(box, letter, now, port)
            return True
        self._bury(letter, errno.errorcode.get(ex.errno or 0, "bad-address"))
        return False

    def _age(self, box: Outbox, letter: Letter, now: float, port: Port) -> None:
        """Give up what is too old for an unreachable destination; try the rest again later."""
        # Whoever comes to live there has seen none of it: a memo half sent begins anew.
        letter.sent = 0
        self._end_room(box, port)
        if box.dst not in self.kept:
            young: deque[Letter] = deque()
            for old in box.letters:
                if old.at + self.maxAge > now:
                    young.append(old)
                    continue
                if old.grams != []:
                    self._bury(old, "unreachable")
                    old.grams = []
                self._leave(box, old)
            box.letters = young
            if not young:
                self._close(box, port)
                return
        box.delay = min(LAST_DELAY, max(FIRST_DELAY, box.delay * 2))
        self._later(box, now, box.delay)

    def _later(self, box: Outbox, now: float, delay: float) -> None:
        """Try again in ``delay`` seconds."""
        box.retryAt = now + delay
        self._late[box.dst] = box
        del self._ready[box.dst]
