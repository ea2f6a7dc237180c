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
    from collections.abc import Callable, Iterable

    from hiod.core.memo.gramming import Part

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

GRAM_COST: Final = 768
"""Bytes a small datagram takes of a send buffer beside its own."""
STALL: Final = 0.01
"""Seconds in which nobody has read anything, after which whoever waits for that is silent."""
FIRST_TRY: Final = 0.05
"""Seconds until a silent destination is tried; doubled each time up to ``LAST_DELAY``."""
TRY_ROOM: Final = 8
"""Windows that may be unread altogether while the silent are tried."""


class Port(Protocol):
    """What the outboxes need of the world."""

    lull: int

    def send(self, gram: bytes, dst: Any, /) -> int:
        """Send a gram; 0 for no room.

        ``lull`` then says where there is none: EAGAIN at the destination, ENOBUFS here because
        of what others have not read, ENOMEM in the system.
        """

    def sendParts(self, parts: Part, dst: Any, /) -> int:
        """Send a gram whose header and body are apart; as ``send`` otherwise."""

    def cut(self, letter: Letter) -> str:
        """Cut a letter's memo; return "" or the reason why that is not possible."""

    def awaitRoom(self, dst: Any) -> int:
        """Begin to await room at ``dst``: 0, or the errno that says why that is not possible.

        None stands for the room here.
        """

    def endRoom(self, dst: Any) -> None:
        """Stop awaiting room there, if it was awaited."""

    def roomy(self) -> Iterable[Any]:
        """Return the destinations that have room now, of those awaited; None for here."""

    def unread(self) -> int:
        """Return the bytes of send buffer used by what nobody has read yet."""

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
        self.grams: list[bytes] | list[Part] | None = None  # None until it is cut
        self.sent = 0  # how many of the grams have left


class Outbox:
    """Everything that waits for one destination."""

    __slots__ = ("awaited", "delay", "dst", "letters", "level", "retryAt", "since", "size")

    def __init__(self, dst: Any) -> None:
        self.dst = dst
        self.letters: deque[Letter] = deque()
        self.size = 0
        self.delay = 0.0
        self.retryAt = math.inf
        self.awaited = False
        self.level: float = math.inf  # least that was unread while this waited for its window
        self.since = 0.0  # when that was first seen


class Silent:
    """A destination that does not seem to read."""

    __slots__ = ("cost", "delay", "tryAt")

    def __init__(self, tryAt: float) -> None:
        self.tryAt = tryAt
        self.delay = FIRST_TRY
        self.cost = 0  # bytes of the gram it was tried with last


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
        window: bytes that may be unread by one destination while others are to have room;
            infinite when that is not known.
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
        self.window = math.inf
        self.depth = 0
        self.sent = 0
        self.uncut: dict[Letter, None] = {}  # in the order they were queued
        self._size = 0
        self._boxes: dict[Any, Outbox] = {}
        self._ready: dict[Any, Outbox] = {}  # may send now
        self._late: dict[Any, Outbox] = {}  # waits for its retryAt
        self._stuffed: dict[Any, Outbox] = {}  # of the late: waits for room here, too
        self._own_awaited = False
        self._aloft: dict[Any, float] = {}  # most that can be unread, by destination
        self._silent: dict[Any, Silent] = {}
        self._floor = 0  # what is unread by the silent
        self._trial: Silent | None = None  # who is tried now
        self._trialEnds = 0.0  # when that is over
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
            self.uncut[letter] = None
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

    def pump(
        self, now: float, port: Port, most: float = math.inf, *, cutting: bool = False
    ) -> None:
        """Send what can be sent.

        Parameters:
            now: present time in seconds.
            port: what sends them; it is told of the dead when all else is done.
            most: how many grams at most.
            cutting: True means memos are cut when it is their turn, so that few are cut at a
                time; False means only those that are cut are sent.
        """
        for dst in port.roomy():
            if dst is None:
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
            most -= self._empty(box, now, port, most, cutting=cutting)
        self._finish(port)

    def _revive(self, box: Outbox) -> None:
        """Let an outbox that was held back for a time try again."""
        self._late.pop(box.dst, None)
        self._stuffed.pop(box.dst, None)
        box.retryAt = math.inf
        self._ready[box.dst] = box

    def _finish(self, port: Port) -> None:
        """Await room here only while somebody needs it, and tell of the dead."""
        if self._own_awaited and not self._stuffed:
            port.endRoom(None)
            self._own_awaited = False
        if self._dead:
            self._tell(port)

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
            self.uncut.pop(letter, None)
            letter.grams = []
        box.letters.clear()
        self._close(box, port)
        self._tell(port)
        return gone

    def retry(self, dst: Any, port: Port) -> None:
        """Try ``dst`` anew with the next pump: somebody else may live at that address by now.

        What is awaited is the room of the one that lived there before, which may never come.
        """
        box = self._boxes.get(dst)
        if box is not None:
            self._end_room(box, port)
            # It may have seen none of it: a memo half sent begins anew.
            box.letters[0].sent = 0
            self._revive(box)

    def shift(self, by: float) -> None:
        """Move every time kept here by ``by`` seconds: the clock it is told from has changed."""
        for box in self._boxes.values():
            box.retryAt += by
            box.since += by
            for letter in box.letters:
                letter.at += by
        self._trialEnds += by
        for silent in self._silent.values():
            silent.tryAt += by

    def dueAt(self) -> float:
        """Return when something is to be tried again, ``math.inf`` when nothing is."""
        if not self._late:
            return math.inf
        return min(box.retryAt for box in self._late.values())

    def letters(self) -> list[Letter]:
        """Return all that waits, destination by destination."""
        return [letter for box in self._boxes.values() for letter in box.letters]

    def _empty(  # noqa: C901, PLR0912 - one loop, without a call for each gram
        self, box: Outbox, now: float, port: Port, most: float, *, cutting: bool
    ) -> int:
        """Send one destination's grams until one is not taken or ``most`` went; count them.

        Afterwards the outbox is gone, held back, or still ready because of an uncut memo.
        """
        letters, dst, window, aloft = box.letters, box.dst, self.window, self._aloft
        went = 0
        while letters:
            letter = letters[0]
            grams = letter.grams
            if grams is None:
                if not cutting:
                    return went
                grams = self._cut(letter, port)
            while letter.sent < len(grams):
                if went >= most:
                    return went
                gram = grams[letter.sent]
                send: Callable[[Any, Any], int] = port.send
                if isinstance(gram, bytes):
                    cost = GRAM_COST + len(gram)
                else:
                    send, cost = port.sendParts, GRAM_COST + len(gram[1])
                if aloft.get(dst, 0) + cost > window and not self._admits(box, cost, now, port):
                    self._wait(box, now, port)
                    return went
                try:
                    taken = send(gram, dst)
                except (OSError, TypeError, ValueError) as ex:
                    if self._refused(box, letter, ex, now, port):
                        return went
                    break
                if not taken:
                    self._hold(box, letter, now, port, moved=went > 0)
                    return went
                letter.sent += 1
                went += 1
                box.delay = 0.0
                aloft[dst] = aloft.get(dst, 0) + cost
            else:
                if grams:
                    self.sent += 1
            letters.popleft()
            self._leave(box, letter)
        self._close(box, port)
        return went

    # ------------------------------------------------------------- what others have not read

    def _admits(self, box: Outbox, cost: int, now: float, port: Port) -> bool:
        """Return whether a gram may leave though much for its destination may be unread.

        The kernel tells how much is unread altogether, not by whom.  What is unread for long
        while somebody waits is held to be the silent ones'; above that, nobody has more unread
        than there is.  Whoever waited in vain is silent, rightly or not: it is tried with one
        gram, which clears whoever reads, and again ever more rarely, until something is read.
        """
        unread, dst = port.unread(), box.dst
        if not unread:
            self.settle()
            return True
        if unread < self._floor:
            self._lower(unread, now)
        elif self._trial is not None and now >= self._trialEnds:
            self._convict(self._trial, unread)
        if dst not in self._silent:
            used = self._aloft[dst] = min(self._aloft.get(dst, 0), unread - self._floor)
            if not used or used + cost <= self.window:
                box.level = math.inf
                return True
            if unread < box.level:
                box.level, box.since = unread, now
            if now - box.since < STALL:
                return False
            self._doubt(unread, now)
        return self._tries(box, unread, cost, now)

    def _lower(self, unread: int, now: float) -> None:
        """Take note that one of the silent has read something: each may be tried soon."""
        self._floor = unread
        self._trial = None
        for dst, silent in self._silent.items():
            silent.delay = FIRST_TRY
            silent.tryAt = min(silent.tryAt, now + STALL)
            if dst in self._late:
                self._late[dst].retryAt = min(self._late[dst].retryAt, silent.tryAt)

    def _doubt(self, unread: int, now: float) -> None:
        """Hold all that wait for their windows to be silent; to be tried one after the other."""
        self._floor = unread
        for dst, box in self._boxes.items():
            if box.level != math.inf and dst not in self._silent:
                self._silent[dst] = Silent(now)
                self._aloft[dst] = math.inf

    def _tries(self, box: Outbox, unread: int, cost: int, now: float) -> bool:
        """Return whether a silent destination is sent a gram now."""
        silent = self._silent[box.dst]
        if silent is self._trial:
            if unread > self._floor:
                return False
            del self._silent[box.dst]  # it has read what it was tried with
            self._aloft[box.dst] = 0
            self._trial = None
            box.level = math.inf
            return True
        if self._trial is not None or now < silent.tryAt or unread > TRY_ROOM * self.window:
            return False
        silent.tryAt, silent.cost = now + silent.delay, cost
        self._trial, self._trialEnds = silent, now + STALL
        return True

    def _convict(self, silent: Silent, unread: int) -> None:
        """End a trial: what it was tried with lies where the rest does."""
        self._trial = None
        self._floor = min(unread, self._floor + silent.cost)
        silent.delay = min(LAST_DELAY, silent.delay * 2)

    def settle(self, window: float | None = None) -> None:
        """Know that nothing is unread; and, if given, take a new window."""
        self._aloft.clear()
        self._silent.clear()
        self._floor = 0
        self._trial = None
        if window is not None:
            self.window = window

    def _wait(self, box: Outbox, now: float, port: Port) -> None:
        """Hold an outbox back until somebody has read something, or for a time."""
        self._await_own(box, port)
        self._end_room(box, port)
        silent = self._silent.get(box.dst)
        delay = SHORT_DELAY if silent is None else max(SHORT_DELAY, silent.tryAt - now)
        self._later(box, now, delay)

    def _await_own(self, box: Outbox, port: Port) -> None:
        """Have an outbox try again whenever there is room here."""
        self._stuffed[box.dst] = box
        if not self._own_awaited:
            self._own_awaited = not port.awaitRoom(None)

    def _cut(self, letter: Letter, port: Port) -> list[bytes] | list[Part]:
        """Cut a letter; one that cannot be is dead and has no grams."""
        del self.uncut[letter]
        reason = port.cut(letter)
        if reason:
            letter.grams = []
            self._bury(letter, reason)
        return letter.grams or []

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
            self._await_own(box, port)
        self._end_room(box, port)
        # Room here is announced when three quarters are free; slow readers may hold more.
        self._later(box, now, SHORT_DELAY)

    def _end_room(self, box: Outbox, port: Port) -> None:
        """Stop awaiting room at a destination."""
        if box.awaited:
            port.endRoom(box.dst)
            box.awaited = False

    def _refused(self, box: Outbox, letter: Letter, ex: Exception, now: float, port: Port) -> bool:
        """Return whether the destination is held back; if not, the letter alone is dead."""
        code = ex.errno if isinstance(ex, OSError) else None
        if code in UNREACHABLE:
            self._age(box, letter, now, port)
            return True
        self._bury(letter, errno.errorcode.get(code or 0, "bad-address"))
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
                self.uncut.pop(old, None)
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
