"""What a boss and its hands say to each other: memo in, memos out, for both sides.

Decides which text is a control memo, what each side answers, when a hand says something again
and whose control counts.  Leaves sockets, processes, clocks and what a hand's Doers make of their
memos to ``multidoing``.  Invariant: nothing a peer says raises; what does not count is named by a
reason, for the caller to count.

Control memos say states, not increments, so each may be repeated, and is: a registration until
it is answered, everything after a HEY.  ``ACK`` and ``BOK`` are byte for byte hio 0.7.20's;
``REG`` and ``END`` carry hiod's numbers inside their load, which hio ignores.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import orjson

from hiod.base.crewdoms import ANS, ASK, HBT, HEY, RDY, Bossage, MemoDom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

VERSION = 1
"""Of the loads of REG, END, RDY, HBT and HEY; only ever added to."""

HEAD = '{"tag":"'
REG, ACK, END, BOK = "REG", "ACK", "END", "BOK"
CONTROL = frozenset((REG, ACK, END, BOK, RDY, HBT, HEY))
TAG_MIN, TAG_MAX = 4, 16
"""Letters in a tag of a hand's author; three are hio's and hiod's."""

REG_FIRST_S, REG_LAST_S = 0.25, 2.0
"""A registration is said again after the first, doubling up to the last, until it is answered."""
STATUS_S = 0.5
"""A changed status text makes a heartbeat come early, but not closer than this to the last."""

BURST, BURST_GAP_S, GOLDEN = 50, 0.001, 0.6180339887
"""So many hands beat one after the other, so far apart; and by what bursts are spread evenly."""

NAME_MAX = 255
"""Letters of a hand's name."""
STRANGERS_MAX = 1000
"""Hands in a book that nobody has said to expect."""

STATUS_MAX = 200
"""Letters of a status text that are told; it is said again with every heartbeat."""

_FIELDS = frozenset(("tag", "name", "load"))


_DEAD = {
    "name never in the book": 'name "{}" never came into the book',
    "too many wait for a name in the book": 'too much waits for names not in the book, as "{}"',
    "left the book": '"{}" left the book before it had read all',
    "too-large": 'a memo to "{}" was too large',
    "unreachable": 'nobody reads at the address of "{}"',
    **dict.fromkeys(
        ("outbox-full", "outbox-bytes"),
        '"{}" has not read what was sent: there is no room for more',
    ),
}
_DROPPED = {
    "inbox-full": "the inbox is full of memos that no Doer takes",
    "answer nobody waits for": "an answer came when nobody waited for it any more",
}
"""Sentences for what an author meets; other reasons are told as they are."""


def deadWhy(name: str, reason: str, peers: Sequence[str]) -> str:
    """Say in a heartbeat's words why a memo was given up.

    Args:
        name: for whom it was.
        reason: as counted.
        peers: what else is in the book if that name is the base of counted hands.
    """
    said = _DEAD[reason].format(name) if reason in _DEAD else f'{reason}, to "{name}"'
    if len(peers) == 1:
        said += f'; "{name}" is the base of {peers[0]}; a memo goes to one hand'
    elif peers:
        said += f'; "{name}" is the base of {peers[0]} to {peers[-1]}; a memo goes to one of them'
    return _sayable(said)


def dropWhy(name: str | None, src: object, pid: int | None, reason: str) -> str:
    """Say in a heartbeat's words why what was received was dropped.

    Args:
        name: from whom it was, None when the book does not know.
        src: address it came from, None when it had none.
        pid: process it came from, None when not known.
        reason: as counted.
    """
    if name is not None:
        who = f'"{name}"'
    elif src is not None:
        who = str(src)
    else:
        who = "a process unknown" if pid is None else f"process {pid}"
    return _sayable(f"{_DROPPED.get(reason, reason)}, from {who}")


def _sayable(text: str) -> str:
    """Make of a text one that a memo can carry."""
    return text[:STATUS_MAX].encode("utf-8", "replace").decode()


def beatPhase(place: int, beat_s: float) -> float:
    """Return how long after each whole ``beat_s`` of the machine's clock a hand is to beat.

    Hands beat in bursts, a millisecond apart: while one runs that does what the one before did,
    caches are warm, and both it and the boss take half the time.  A burst is small and slow
    enough for a queue of ten; any number of bursts is spread evenly.
    """
    burst, rank = divmod(place, BURST)
    return (burst * GOLDEN * beat_s + rank * BURST_GAP_S) % beat_s


def tagOf(memo: str) -> str | None:
    """Name the tag a memo begins with, or None when it is no structured memo.

    As hio 0.7.20 does: the text begins with ``{"tag":"``, then only A to Z, then a quote; what
    follows may be laid out freely.  Tags longer than any in use are None.
    """
    if not memo.startswith(HEAD):
        return None
    end = memo.find('"', 8, 9 + TAG_MAX)
    if end < 0:
        return None
    tag = memo[8:end]
    return tag if not tag or (tag.isascii() and tag.isalpha() and tag.isupper()) else None


def userTag(tag: object) -> bool:
    """Tell whether a tag is one a hand's author may use: 4 to 16 letters A to Z."""
    return (
        isinstance(tag, str)
        and TAG_MIN <= len(tag) <= TAG_MAX
        and tag.isascii()
        and tag.isalpha()
        and tag.isupper()
    )


def read(memo: str) -> MemoDom | None:
    """Read a structured memo's text; None unless it is one: a JSON object of tag, name, load.

    A name that is not text and a load that is not an object do not count here, as no sender of
    hio's or hiod's makes them.  Missing ones take hio's defaults.
    """
    try:
        said = orjson.loads(memo)
    except ValueError:
        return None
    if not isinstance(said, dict) or not said.keys() <= _FIELDS:
        return None
    tag = said.get("tag")
    name = said.get("name", "hand" if tag == REG else "boss")
    load = said.get("load")
    if load is None and "load" not in said:
        load = {}
    if not (isinstance(tag, str) and isinstance(name, str) and isinstance(load, dict)):
        return None
    return MemoDom(tag=tag, name=name, load=load)


def tojson(d: Any) -> str:
    """Write compact JSON, non-ASCII unescaped, keys in order, as hio's memos are written."""
    return orjson.dumps(d).decode()


def write(tag: str, name: str, load: Mapping[str, Any]) -> str:
    """Write a structured memo's text."""
    return tojson({"tag": tag, "name": name, "load": load})


def ack(boss: str, hand: str, addr: str) -> str:
    """Write the answer to a registration, exactly hio's."""
    return write(ACK, boss, {"tag": REG, "name": hand, "addr": addr})


def bok(boss: str, book: Mapping[str, str]) -> str:
    """Write the address book, exactly hio's; the order is the mapping's."""
    return write(BOK, boss, book)


def bookmark(book: Mapping[str, str]) -> int:
    """Return what tells one book from another, whatever its order.

    A hand says with its REG which book it has; a boss need not send it that one again.
    """
    return zlib.crc32(orjson.dumps(book, option=orjson.OPT_SORT_KEYS))


def end(boss: str, *, generation: int, seq: int) -> str:
    """Write the request to end, to one incarnation of a hand."""
    return write(END, boss, {"v": VERSION, "gen": generation, "seq": seq})


def hey(boss: str, *, generation: int, seq: int, token: str) -> str:
    """Write what a new boss tells a hand it found alive."""
    return write(HEY, boss, {"v": VERSION, "gen": generation, "seq": seq, "token": token})


def whole(value: object) -> int | None:
    """Give a number from a peer's load when it is a whole one, else None."""
    return value if type(value) is int else None


class Claim(NamedTuple):
    """What a REG, RDY or HBT of hiod's hands says of its sender; None throughout from hio's.

    Attributes:
        generation: the incarnation that speaks.
        seq: how many control memos it has sent, this one included.
        token: mark of the incarnation (REG only).
    """

    generation: int | None
    seq: int | None
    token: str

    @property
    def hio(self) -> bool:
        """True for a hand of hio's: it numbers nothing."""
        return self.generation is None


def claim(load: Mapping[str, Any]) -> Claim:
    """Read who speaks from the load of a hand's control memo."""
    if whole(load.get("v")) is None:
        return Claim(None, None, "")
    token = load.get("token", "")
    return Claim(
        whole(load.get("gen")),
        whole(load.get("seq")),
        token if isinstance(token, str) else "",
    )


class Cred(NamedTuple):
    """Who the kernel says sent a datagram."""

    pid: int
    uid: int
    gid: int


class Trust(NamedTuple):
    """Whose word is control at a hand.

    Attributes:
        uids: users a boss may run as.
        pid: the boss's process; None trusts whoever sends from the boss's address, as hio does.
        token: mark of this incarnation, by which a new boss names itself.
    """

    uids: frozenset[int] | None = None
    pid: int | None = None
    token: str = ""


class Heard(NamedTuple):
    """What came of one memo.

    Attributes:
        what: ``ack``, ``bok``, ``end``, ``hey``; ``""`` when it does not count.
        reason: why it does not count, else ``""``.
    """

    what: str
    reason: str = ""


class HandSide:
    """A hand's half of the conversation with its boss.

    It is told of memos by ``hear`` and of the time by ``due``; what it wants said to the boss is
    what ``due`` returns.  Times are tyme in seconds.

    Attributes:
        registered: the boss has answered a REG of this life.
        ending: the boss has asked this hand to end.
        book: path by name of the other hands, as the boss said last; the boss not in it.
        booked: a book has come.
        refused: entries of books that could not be used, so far.
        ready: the hand has called itself ready.
        status: what the hand says of itself.
        trust: whose control counts.
    """

    def __init__(
        self,
        name: str,
        boss: Bossage,
        *,
        addr: str = "",
        generation: int = 0,
        trust: Trust = Trust(),  # noqa: B008 - immutable
        beat_s: float = 0.0,
    ) -> None:
        self.name = name
        self.boss = boss
        self.addr = addr
        self.generation = generation
        self.trust = trust
        self.beat_s = beat_s
        self.registered = False
        self.ending = False
        self.book: dict[str, str] = {}
        self.booked = False
        self.refused = 0
        self.ready = False
        self.status = ""
        self._seq = 0
        self._bookmark: int | None = None
        self._said = False  # a REG has been handed out in this life
        self._acked = False  # the present boss has answered
        self._regAt = 0.0  # when to say REG (again)
        self._regIn = REG_FIRST_S
        self._rdyDue = False
        self._beatAt = math.inf
        self._beaten = -math.inf
        self._statusNew = False

    # --- what the hand says of itself

    def callReady(self) -> None:
        """Call the hand ready: RDY leaves behind the REG, and again after every HEY."""
        self.ready = True
        self._rdyDue = True

    def say(self, text: str) -> None:
        """Set the status text; a change is told at once, though never oftener than STATUS_S.

        It is cut after STATUS_MAX letters; what UTF-8 cannot carry is a question mark.
        """
        text = _sayable(text)
        if text != self.status:
            self.status = text
            self._statusNew = True

    # --- what the boss says

    def hear(self, memo: MemoDom, src: str | None, cred: Cred | None) -> Heard:
        """Take one control memo in."""
        reason = self._distrust(memo, src, cred)
        if reason:
            return Heard("", reason)
        hearing = self._hearings.get(memo.tag)
        if hearing is None:
            return Heard("", "not for a hand")
        reason = hearing(self, memo.load, cred)
        return Heard("" if reason else memo.tag.lower(), reason)

    def _distrust(self, memo: MemoDom, src: str | None, cred: Cred | None) -> str:
        """Say why a control memo does not count, or nothing."""
        if not src or src != self.boss.path:
            return "control not from the boss's address"
        if memo.name != self.boss.name:
            return "control under another boss's name"
        if self.trust.uids is not None and (cred is None or cred.uid not in self.trust.uids):
            return "control from another user"
        if memo.tag == HEY:
            if not self.trust.token or memo.load.get("token") != self.trust.token:
                return "HEY without this hand's token"
        elif self.trust.pid is not None and (cred is None or cred.pid != self.trust.pid):
            return "control from another process"
        return ""

    def _hearAck(self, load: Mapping[str, Any], cred: Cred | None) -> str:
        del cred
        if load.get("tag") != REG or load.get("name") != self.name:
            return "ACK of something else"
        if not self._said:  # left in the mailbox for an earlier incarnation
            return "ACK before REG"
        self.registered = self._acked = True
        return ""

    def _hearBok(self, load: Mapping[str, Any], cred: Cred | None) -> str:
        del cred
        book: dict[str, str] = {}
        taken = {self.boss.path, self.addr}
        for name, addr in load.items():
            if name == self.name:
                continue
            if (
                name
                and name != self.boss.name
                and addr
                and isinstance(addr, str)
                and addr not in taken
            ):
                book[name] = addr
                taken.add(addr)
            else:
                self.refused += 1
        self.book = book
        self.booked = True
        self._bookmark = bookmark(load)
        return ""

    def _hearEnd(self, load: Mapping[str, Any], cred: Cred | None) -> str:
        del cred
        if self.generation and load.get("gen") != self.generation:
            return "END of another generation"
        self.ending = True
        return ""

    def _hearHey(self, load: Mapping[str, Any], cred: Cred | None) -> str:
        del load
        if cred is None:
            return "HEY without a sender"
        self.trust = self.trust._replace(pid=cred.pid)
        self._sayAgain()
        return ""

    _hearings: ClassVar[dict[str, Callable[[HandSide, Mapping[str, Any], Cred | None], str]]] = {
        ACK: _hearAck,
        BOK: _hearBok,
        END: _hearEnd,
        HEY: _hearHey,
    }

    def _sayAgain(self) -> None:
        self._acked = False
        self._regAt = -math.inf
        self._regIn = REG_FIRST_S
        self._rdyDue = self.ready
        self._beatAt = -math.inf

    # --- what is to be said

    def due(self, now: float, figures: Callable[[], Mapping[str, Any]]) -> list[str]:
        """Give the memos to send to the boss now, in order.

        Args:
            now: tyme, seconds.
            figures: asked when a heartbeat is due, what it says of the loop and the mailbox.
        """
        said: list[str] = []
        if self.boss.path is None:
            return said
        if not self._acked and now >= self._regAt:
            said.append(self._reg())
            self._regAt = now + self._regIn
            self._regIn = min(2 * self._regIn, REG_LAST_S)
            if not self._said:
                self._said = True
                self._beatAt = now + self.beat_s
        if self._rdyDue:
            self._rdyDue = False
            said.append(write(RDY, self.name, self._stamp({"status": self.status})))
        if self.beat_s and now >= self._beatDue():
            said.append(self.beat(now, figures()))
        return said

    @property
    def quietTill(self) -> float:
        """Tyme of the next heartbeat while that is all there is to say; -math.inf when it is not.

        math.inf when there are no heartbeats either.
        """
        if not self._acked or self._rdyDue or self._statusNew:
            return -math.inf
        return self._beatAt if self.beat_s else math.inf

    def beat(self, now: float, figures: Mapping[str, Any]) -> str:
        """Write a heartbeat; the next is due ``beat_s`` later."""
        self._beatAt = now + self.beat_s
        self._beaten = now
        self._statusNew = False
        self._seq += 1
        load = {"v": VERSION, "gen": self.generation, "seq": self._seq, **figures}
        load["status"] = self.status
        load["ready"] = self.ready
        return orjson.dumps({"tag": HBT, "name": self.name, "load": load}).decode()

    def dueAt(self) -> float:
        """Tell the tyme at which ``due`` will have something, math.inf for never."""
        if self.boss.path is None:
            return math.inf
        at = math.inf if self._acked else self._regAt
        if self._rdyDue:
            at = -math.inf
        return min(at, self._beatDue()) if self.beat_s else at

    def _beatDue(self) -> float:
        if self._statusNew and self._said:
            return min(self._beatAt, self._beaten + STATUS_S)
        return self._beatAt

    def _reg(self) -> str:
        load: dict[str, Any] = {}
        if self.trust.token:
            load["token"] = self.trust.token
        if self._bookmark is not None:
            load["book"] = self._bookmark
        return write(REG, self.name, self._stamp(load))

    def _stamp(self, load: Mapping[str, Any]) -> dict[str, Any]:
        self._seq += 1
        return {"v": VERSION, "gen": self.generation, "seq": self._seq, **load}


class BossSide:
    """A boss's half of the conversation with its crew, as a library Bosser holds it.

    Attributes:
        book: path by name, in order of first registration.
        crewed: every expected hand has registered; never taken back.
        hios: names whose REG says they are hio's hands.
    """

    def __init__(self, name: str, expected: Iterable[str] = ()) -> None:
        self.name = name
        self.expected = set(expected)
        self.book: dict[str, str] = {}
        self.crewed = False
        self.hios: set[str] = set()
        self._told: dict[str, dict[str, str]] = {}  # what each of hio's hands was ever told
        self._seq = 0

    def hearReg(self, memo: MemoDom, src: str | None) -> tuple[list[tuple[str, str]], str]:
        """Take a registration in; give the memos to send, and why it does not count, if so.

        Where hio 0.7.20 lets an exception end the boss (a taken address, an empty name, no
        address to answer to), the book stays as it is and the reason is given.
        """
        name = memo.name
        if not src:
            return [], "REG from an unbound socket"
        if not name or name == self.name:
            return [], "REG without a name of its own"
        if len(name) > NAME_MAX:
            return [], "REG with a name too long"
        if any(addr == src and other != name for other, addr in self.book.items()):
            return [], "REG from another hand's address"
        known = self.expected | self.book.keys()
        if name not in known and len(known) - len(self.expected) >= STRANGERS_MAX:
            return [], "REG of a stranger too many"
        self.book[name] = src
        if claim(memo.load).hio:
            self.hios.add(name)
        else:
            self.hios.discard(name)
        self.crewed = self.crewed or self.expected <= self.book.keys()
        said = [(ack(self.name, name, src), src)]
        if self.crewed:
            said += self.books()
        return said, ""

    def books(self) -> list[tuple[str, str]]:
        """Give the address book for each hand; a hio hand is told what it survives of it."""
        text = bok(self.name, self.book)
        said: list[tuple[str, str]] = []
        for name, addr in self.book.items():
            if name in self.hios:
                told = self._told.setdefault(name, {})
                told.update(agreeing(told, self.book))
                said.append((bok(self.name, told), addr))
            else:
                said.append((text, addr))
        return said

    def leave(self, name: str) -> None:
        """Take a hand out of the book and of those expected."""
        self.book.pop(name, None)
        self.expected.discard(name)
        self.hios.discard(name)
        self._told.pop(name, None)
        self.crewed = self.crewed or bool(self.book and self.expected <= self.book.keys())

    def end(self) -> str:
        """Write the request to end, for a hand of a library Bosser (generation 0)."""
        self._seq += 1
        return end(self.name, generation=0, seq=self._seq)


def agreeing(told: Mapping[str, str], book: Mapping[str, str]) -> dict[str, str]:
    """Give what of a book a hio hand survives: no name and no path that it was told otherwise.

    hio's hands only add to their books, and end at an entry that contradicts one they have.
    """
    names = {addr: name for name, addr in told.items()}
    return {
        name: addr
        for name, addr in book.items()
        if told.get(name, addr) == addr and names.setdefault(addr, name) == name
    }


class Question(MemoDom):
    """An ASK as a Doer sees it: the memo asked, with what its answer must carry.

    Attributes:
        ask: id of the question, said again in the answer; not a field on the wire.
    """

    ask = ""


def asking(name: str, ident: str, tag: str, load: Mapping[str, Any]) -> str:
    """Write a question."""
    return write(ASK, name, {"id": ident, "tag": tag, "load": load})


def answering(name: str, ident: str, load: Mapping[str, Any]) -> str:
    """Write an answer."""
    return write(ANS, name, {"id": ident, "load": load})


def question(memo: MemoDom) -> Question | None:
    """Read the memo inside an ASK; None when it is none."""
    ident, tag, load = (memo.load.get(key) for key in ("id", "tag", "load"))
    if not isinstance(ident, str) or not userTag(tag) or not isinstance(load, dict):
        return None
    found = Question(tag=str(tag), name=memo.name, load=load)
    found.ask = ident
    return found
