"""What a hand's author writes against: Doers that share their hand's mailbox by tag.

Decides which Doer a memo is for, whether its sender is who it says, and what becomes of a memo
to a name nobody has yet.  Leaves the socket and the boss to ``multidoing.Crewer``, whose desk
this is.  Invariant: every memo taken in is delivered, put in the inbox, held for a bounded time,
or counted as dropped with its reason.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, Any

from hiod.base.crewdoms import ANS, ASK, MemoDom
from hiod.base.crewing import (
    CONTROL,
    TAG_MAX,
    TAG_MIN,
    Question,
    answering,
    asking,
    question,
    read,
    tagOf,
    userTag,
    write,
)
from hiod.base.deeding import titleOf
from hiod.base.doing import ASYNC, GENERATES, Doer, flagsOf
from hiod.errors import MultiError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from hiod.base.multidoing import Crewer
    from hiod.core.memo.fusing import Rx

WAIT_S = 10.0
"""How long a memo to a name not in the book, or from a source not in it, waits for the book."""
WAIT_MAX = 1000
"""Memos that may wait so, each way; those to names together no more bytes than an outbox."""
ASK_S = 5.0
"""How long an ask waits when nobody says."""


class Asked:
    """One question on its way, and its answer once it is there."""

    __slots__ = ("answer", "doer", "name", "over", "tag")

    def __init__(self, doer: Any, name: str, tag: str) -> None:
        self.doer = doer
        self.name = name
        self.tag = tag
        self.answer: MemoDom | None = None
        self.over = False


class Desk:
    """Sorts one hand's memos among its Doers.

    Attributes:
        claims: the Doer of each tag.
        waiting: by name not in the book, until when each memo to it waits, the memo, its bytes.
    """

    def __init__(self, crewer: Crewer) -> None:
        self.claims: dict[str, CrewDoer] = {}
        self._crewer = crewer
        self._held: deque[tuple[float, Rx, MemoDom]] = deque()
        self.waiting: dict[str, deque[tuple[float, str, int]]] = {}
        self._waitingCount = 0
        self._waitingBytes = 0
        self._asks: dict[str, Asked] = {}
        self._askDue: list[tuple[float, str]] = []
        self._asked = 0

    # --- out

    def claim(self, doer: CrewDoer) -> None:
        """Enter a Doer as the reader of its tags.

        Raises:
            MultiError: a tag is not 4 to 16 of A to Z, or another Doer has it; or a method would
                make a generator or coroutine that nobody runs.
        """
        _checkMethods(doer)
        tags: Any = doer.tags
        if isinstance(tags, str):
            raise MultiError(
                f"tags of {titleOf(doer)} is the text {tags!r}, and a tuple is due: ({tags!r},)"
            )
        for tag in tags:
            if not userTag(tag):
                raise MultiError(
                    f"{titleOf(doer)} claims the tag {tag!r}; "
                    f"a tag is {TAG_MIN} to {TAG_MAX} letters A to Z"
                )
            other = self.claims.get(tag)
            if other is not None and other is not doer:
                raise MultiError(
                    f"{titleOf(other)} and {titleOf(doer)} both claim the tag {tag!r}; "
                    f"a tag has one Doer in a hand"
                )
        self.claims.update(dict.fromkeys(tags, doer))

    def tell(self, name: str, tag: str, load: Mapping[str, Any] | None = None) -> bool:
        """Send a memo to a hand by name; False when there is no room for it.

        Raises:
            ValueError: the tag is not 4 to 16 of A to Z.
            TypeError: the load is no dict, or cannot be written as JSON.
        """
        if not userTag(tag):
            raise ValueError(f"cannot tell {tag!r}: a tag is {TAG_MIN} to {TAG_MAX} letters A to Z")
        return self._send(name, write(tag, self._crewer.name, _whole(load)))

    def ask(
        self,
        name: str,
        tag: str,
        load: Mapping[str, Any] | None = None,
        *,
        timeout: float = ASK_S,
        doer: Doer | None = None,
    ) -> Generator[float, Any, MemoDom | None]:
        """Ask a hand by name; the generator returns its answer, or None at the timeout.

        Raises:
            ValueError: the tag is not 4 to 16 of A to Z.
            TypeError: the load is no dict, or cannot be written as JSON.
        """
        if not userTag(tag):
            raise ValueError(f"cannot ask {tag!r}: a tag is {TAG_MIN} to {TAG_MAX} letters A to Z")
        self._asked += 1
        ident = f"{self._crewer.generation}.{self._asked}"
        asked = Asked(doer or self._crewer.running(), self._known(name), tag)
        self._asks[ident] = asked
        try:
            if not self._send(name, asking(self._crewer.name, ident, tag, _whole(load))):
                return None
            heapq.heappush(self._askDue, (self._now() + timeout, ident))
            if len(self._askDue) > 64 + 2 * len(self._asks):  # mostly answered ones by now
                self._askDue = [due for due in self._askDue if due[1] in self._asks]
                heapq.heapify(self._askDue)
            self._crewer.wake()  # it must take the new deadline in
            while not asked.over:
                yield math.inf
            return asked.answer
        finally:
            self._asks.pop(ident, None)

    def reply(self, memo: MemoDom, load: Mapping[str, Any] | None = None) -> bool:
        """Answer a memo: an ask gets its answer, any other a memo of the same tag.

        Raises:
            TypeError: the load is no dict, or cannot be written as JSON.
        """
        if isinstance(memo, Question):
            return self._send(memo.name, answering(self._crewer.name, memo.ask, _whole(load)))
        return self.tell(memo.name, memo.tag, load)

    def _send(self, name: str, text: str) -> bool:
        crewer = self._crewer
        if name == crewer.name:
            return crewer.memoit(text, crewer.path)
        addr = crewer.getAddr(name)
        if addr is not None:
            return crewer.memoit(text, addr)
        size = len(text) if text.isascii() else len(text.encode())
        if size > crewer.maxMemo:
            crewer.dead(text, name, "too-large")
            return False
        if self._waitingCount >= WAIT_MAX or self._waitingBytes + size > crewer.MaxOutBytes:
            crewer.dead(text, name, "too many wait for a name in the book")
            return False
        self._waitingCount += 1
        self._waitingBytes += size
        self.waiting.setdefault(name, deque()).append((self._now() + WAIT_S, text, size))
        crewer.wake()
        return True

    def _waited(self, size: int) -> None:
        """Count a memo that waits for a name no more."""
        self._waitingCount -= 1
        self._waitingBytes -= size

    def _known(self, name: str) -> str:
        """Give a hand the name its answer will carry: the boss has two."""
        crewer = self._crewer
        return crewer.getName(crewer.getAddr(name) or "") or name if name == "boss" else name

    def _now(self) -> float:
        tyme = self._crewer.tyme
        return 0.0 if tyme is None else tyme

    # --- in

    def sort(self, rx: Rx) -> None:
        """Take one received memo to where it belongs."""
        crewer = self._crewer
        memo, src, _vid = rx
        tag = tagOf(memo)
        if tag is None or not (tag in (ASK, ANS) or tag in CONTROL or len(tag) >= TAG_MIN):
            crewer.lay(rx)
            return
        dom = read(memo)
        if tag in CONTROL:
            if dom is None:
                crewer.drop("unreadable control", rx)
            else:
                crewer.control(dom, rx)
        elif dom is None:
            crewer.lay(rx)
        elif src == crewer.path or (src is not None and crewer.getName(src) is not None):
            self._deliver(dom, rx)
        elif src is None:
            crewer.drop("no source", rx)
        elif len(self._held) >= WAIT_MAX:
            crewer.drop("too many of unknown source", rx)
        else:
            self._held.append((self._now() + WAIT_S, rx, dom))

    def _deliver(self, dom: MemoDom, rx: Rx) -> None:
        """Give a memo of a known source to its Doer, if its name is that source's."""
        crewer = self._crewer
        src = rx[1]
        if dom.name != (crewer.name if src == crewer.path else crewer.getName(src)):
            crewer.drop("name is not its source's", rx)
        elif dom.tag == ANS:
            self._settle(dom, rx)
        elif dom.tag == ASK:
            asked = question(dom)
            if asked is None:
                crewer.drop("unreadable question", rx)
            else:
                self._hand(asked, rx)
        else:
            self._hand(dom, rx)

    def _hand(self, dom: MemoDom, rx: Rx) -> None:
        doer = self.claims.get(dom.tag)
        if doer is None or doer.done or type(doer).memo is CrewDoer.memo:
            self._crewer.lay(rx)
        else:
            doer.memo(dom)

    def _settle(self, dom: MemoDom, rx: Rx) -> None:
        ident, load = dom.load.get("id"), dom.load.get("load")
        asked = self._asks.get(ident) if isinstance(ident, str) else None
        if asked is None or asked.over or asked.name != dom.name or not isinstance(load, dict):
            self._crewer.drop("answer nobody waits for", rx)
        else:
            self._end(asked, MemoDom(tag=asked.tag, name=dom.name, load=load))

    def _end(self, asked: Asked, answer: MemoDom | None) -> None:
        """Give a question its answer, or None at its time, and wake who asked."""
        asked.answer = answer
        asked.over = True
        self._crewer.rouse(asked.doer)

    # --- what waits

    def booked(self) -> None:
        """Look again at what waits for the book: it has changed."""
        for name in [name for name in self.waiting if self._crewer.getAddr(name) is not None]:
            addr = self._crewer.getAddr(name)
            for _, text, size in self.waiting.pop(name):
                self._waited(size)
                self._crewer.memoit(text, addr)  # refused: counted there
        held, self._held = self._held, deque()
        for entry in held:
            _, rx, dom = entry
            if self._crewer.getName(rx[1]) is None:
                self._held.append(entry)
            else:
                self._deliver(dom, rx)

    def expire(self, now: float) -> None:
        """Give up what has waited too long."""
        while self._askDue and self._askDue[0][0] <= now:
            asked = self._asks.get(heapq.heappop(self._askDue)[1])
            if asked is not None and not asked.over:
                self._end(asked, None)
        while self._held and self._held[0][0] <= now:
            self._crewer.drop("source never in the book", self._held.popleft()[1])
        for name in [name for name, texts in self.waiting.items() if texts[0][0] <= now]:
            texts = self.waiting[name]
            while texts and texts[0][0] <= now:
                _, text, size = texts.popleft()
                self._waited(size)
                self._crewer.dead(text, name, "name never in the book")
            if not texts:
                del self.waiting[name]

    def dueAt(self) -> float:
        """Tell the tyme at which ``expire`` will have something to do, math.inf for never."""
        while self._askDue and self._askDue[0][1] not in self._asks:
            heapq.heappop(self._askDue)  # answered
        at = self._askDue[0][0] if self._askDue else math.inf
        if self._held:
            at = min(at, self._held[0][0])
        if self.waiting:
            at = min(at, *(texts[0][0] for texts in self.waiting.values()), math.inf)
        return at


class CrewDoer(Doer):
    """A Doer that reads the memos of its tags and writes to other hands by name.

    Attributes:
        tags: the tags whose memos are its own; 4 to 16 letters A to Z each.
        crewer: the hand's Crewer.
    """

    tags: tuple[str, ...] = ()

    def __init__(self, *, crewer: Crewer | None = None, **kwa: Any) -> None:
        """Claim the tags at the hand's Crewer.

        Args:
            crewer: the hand's Crewer; without one, ``crewer.claim(doer)`` must come later.
            **kwa: what Doer takes.

        Raises:
            MultiError: a tag is not 4 to 16 of A to Z, or another Doer of the hand has it.
        """
        super().__init__(**kwa)
        self.crewer: Crewer | None = None
        if crewer is not None:
            crewer.claim(self)

    def memo(self, memo: MemoDom) -> None:
        """Read one memo, at once when it comes; override.

        Called between Doers' runs, whatever the tock; ``memo.name`` is the sending hand's, checked.
        The memos of a Doer that does not override this are in the Crewer's inbox instead.
        """

    def recur(self, tock: float) -> Generator[float, float, bool]:
        """Sleep; a CrewDoer that is only memos needs no turn of its own."""
        del tock
        while True:
            yield math.inf

    def tell(self, name: str, tag: str, load: Mapping[str, Any] | None = None) -> bool:
        """Send a memo to a hand by name; False when its outbox is full.

        A name not yet in the book is waited for, 10 s.
        """
        return self._mine().tell(name, tag, load)

    def ask(
        self,
        name: str,
        tag: str,
        load: Mapping[str, Any] | None = None,
        *,
        timeout: float = ASK_S,
    ) -> Generator[float, Any, MemoDom | None]:
        """Ask a hand: ``got = yield from self.ask(...)``; None after ``timeout`` seconds."""
        return self._mine().ask(name, tag, load, timeout=timeout, doer=self)

    def reply(self, memo: MemoDom, load: Mapping[str, Any] | None = None) -> bool:
        """Answer a memo: an ask gets its answer, any other a memo of the same tag."""
        return self._mine().reply(memo, load)

    def ready(self, text: str = "") -> None:
        """Call the hand ready (``ready.by = "memo"``); the text becomes its status."""
        self._mine().ready(text)

    def status(self, text: str) -> None:
        """Set the hand's status text."""
        self._mine().status(text)

    def _mine(self) -> Crewer:
        if self.crewer is None:
            raise MultiError(f"{titleOf(self)} has no Crewer; give it crewer= when it is made")
        return self.crewer


_RUN_BY_NOBODY = (
    ("memo", GENERATES, "must not yield; ask in recur"),
    ("memo", ASYNC, "must not be async; ask in recur"),
    ("enter", GENERATES, "must not yield; ask in recur"),
    ("enter", ASYNC, "must not be async"),
    ("recur", ASYNC, "must not be async; it yields seconds"),
)
"""Methods, what their code must not be flagged as, and what to say then."""


def _checkMethods(doer: CrewDoer) -> None:
    """Refuse methods that would do nothing when they are called.

    Raises:
        MultiError: there is one.
    """
    for method, flags, verdict in _RUN_BY_NOBODY:
        if flagsOf(getattr(doer, method)) & flags:
            raise MultiError(f"{titleOf(doer)}.{method} {verdict}")


def _whole(load: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Give a load that may be left out.

    Raises:
        TypeError: it is no dict.
    """
    if load is None:
        return {}
    if not isinstance(load, dict):
        raise TypeError(f"a load is a dict, got {type(load).__name__}")
    return load
