"""The boss's memos: who may say what to it, and what it says to its hands.

Decides whose memo counts, by what the kernel says of its sender, and when the address book goes
out. Leaves the wire to ``core`` and the wording of control memos to ``base.crewing``. Invariant:
nothing a peer says raises, and nothing it says counts unless the kernel vouches for it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson

from hiod.base import crewing
from hiod.base.crewdoms import HBT, RDY
from hiod.boss.stations import MEMOS_A_SECOND
from hiod.core.memo.gramming import SOLE
from hiod.host import procs
from hiod.rules import health
from hiod.rules import records as r

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hiod.base.crewdoms import MemoDom
    from hiod.boss.overseer import Overseer
    from hiod.boss.stations import Station

BEAT = b'{"tag":"HBT","'
BEAT_FIELDS = ("tag", "name", "load")
Cred = tuple[int, int, int]
GREETED_AT_ONCE, GREETED_S = 8, 0.1
"""So many hands are told of a new boss before any has answered; who does not makes room then."""
MEMO_BYTES = 4096
"""So much of a memo to the boss is kept with its event."""


class Switchboard:
    """The memo side of one boss."""

    def __init__(self, boss: Overseer) -> None:
        self._boss = boss
        self._by_addr: dict[str, str] = {}
        self._book: dict[str, str] = {}
        self._text = ""
        self._bookmark = 0
        self._to_greet: deque[str] = deque()
        self._greeted: dict[str, float] = {}
        self._said = ""
        self._stale = True
        self._seq = 0

    # ------------------------------------------------------------------ addresses

    def list_addr(self, name: str, addr: str) -> None:
        """Know whose address this is."""
        self._by_addr[addr] = name

    def unlist(self, addr: str) -> None:
        """Know it no longer."""
        self._by_addr.pop(addr, None)

    def name_of(self, addr: str) -> str | None:
        """Return whose address this is."""
        return self._by_addr.get(addr)

    def move(self, name: str, station: Station, addr: str) -> None:
        """Take another address for a hand: one of hio's binds its own."""
        self.unlist(station.addr)
        station.addr = addr
        self.list_addr(name, addr)
        self._stale = True

    # ------------------------------------------------------------------ what hands say

    def hear(self, text: str, src: str | None, cred: Cred | None) -> None:
        """Take in one memo; what does not count is counted."""
        tag = crewing.tagOf(text)
        memo = crewing.read(text) if tag else None
        if memo is None or src is None or cred is None:
            self.reject(src, "no memo of a hand")
            return
        if memo.tag == crewing.REG:
            self.register(memo, src, cred)
            return
        name = self._by_addr.get(src)
        hand = self._boss.hands.get(name) if name is not None else None
        if hand is None or hand.process is None:
            self.reject(src, "no hand's address")
        elif memo.name != name:
            self.reject(src, f"{name} called itself {memo.name}")
        elif not _speaks_for(hand, cred):
            self.reject(src, f"process {cred[0]} is not {name}")
        elif memo.tag in {RDY, HBT}:
            self._hear_state(hand, memo)
        elif crewing.userTag(memo.tag):
            self._keep(hand, memo)
        else:
            self.reject(src, f"tag {memo.tag} is not for a boss")

    def hear_aside(self, gram: bytes, src: str | None, cred: Cred, now: float) -> bool:
        """Take in one datagram between two turns, if it is a heartbeat that changes nothing else.

        False when it is anything else, or may be: then nothing of it has counted yet.
        """
        name = self._by_addr.get(src or "")
        if name is None or gram[32:46] != BEAT or gram[:8] != SOLE:
            return False
        try:
            said = orjson.loads(gram[32:])
        except ValueError:
            return False
        boss, load = self._boss, said.get("load")
        hand, station = boss.hands.get(name), boss.stations.get(name)
        if (
            hand is None
            or station is None
            or hand.process is None
            or cred[0] != hand.process.pid
            or said.get("name") != name
            or len(said) != len(BEAT_FIELDS)
            or load.__class__ is not dict
            or load.get("v") != crewing.VERSION
            or load.get("gen") != hand.generation
            or load.get("status") != hand.status
            or not (hand.state is r.State.READY or load.get("ready") is False)
        ):
            return False
        return boss.clinic.beat(hand, station, station.hear_beat(load, now))

    def _keep(self, hand: r.Hand, memo: MemoDom) -> None:
        """Make a hand's own memo an event, unless it sends so many that they hide all others."""
        boss = self._boss
        station, ledger = boss.station(hand.name), boss.ledger
        ledger.count("memos.to_boss")
        if station.memos.take(boss.now()):
            ledger.tell(
                "hand.memo",
                hand=hand.name,
                tag=memo.tag,
                load=_clipped(memo.load),
                generation=hand.generation,
            )
            return
        ledger.count("memos.unkept")
        station.unkept += 1
        if _is_round(station.unkept):
            ledger.tell(
                "hand.flood", hand=hand.name, count=station.unkept, rate=MEMOS_A_SECOND,
                generation=hand.generation,
            )  # fmt: skip

    def register(self, memo: MemoDom, src: str, cred: Cred) -> None:
        """Take in a REG: from the process that was started for the hand, or it does not count."""
        boss = self._boss
        name = memo.name
        hand = boss.hands.get(name)
        if hand is None:
            self.reject(src, f"REG of {name!r}, which is no hand here")
            return
        station = boss.station(name)
        if hand.process is None and hand.state is r.State.STARTING:
            # The hand was quicker than the launcher's word that it is there.
            station.early = (memo, src, cred)
            return
        claim = crewing.claim(memo.load)
        if not _speaks_for(hand, cred):
            self.reject(src, f"REG of {name} by process {cred[0]}")
        elif not claim.hio and claim.generation != hand.generation:
            self.reject(src, f"REG of {name}, generation {claim.generation}")
        elif not claim.hio and src != station.addr:
            self.reject(src, f"REG of {name} from another address")
        elif self._by_addr.get(src, name) != name:
            self.reject(src, f"REG of {name} from another hand's address")
        else:
            station.hio = claim.hio
            self._answer(hand, station, src, has=crewing.whole(memo.load.get("book")))

    def _answer(self, hand: r.Hand, station: Station, src: str, *, has: int | None) -> None:
        """Know a hand that has registered, and tell it what it needs to know."""
        boss = self._boss
        if src != station.addr:
            self.move(hand.name, station, src)
        if hand.spec.command is not None and not hand.registered:
            self._said = ""  # hio's hands were not told an address that might change
        station.answered = True
        if station.adopted_at is not None and not station.greeted and not station.hio:
            self.say_hey(hand)
        self.say(hand.name, crewing.ack(boss.name, hand.name, src))
        if self._stale:
            self._make_book()
        if has is None or has != self._bookmark:
            self._say_book(hand.name)
        if not hand.registered:
            boss.feed(hand.name, r.Registered(src if station.hio else ""))

    def _hear_state(self, hand: r.Hand, memo: MemoDom) -> None:
        boss = self._boss
        claim = crewing.claim(memo.load)
        if claim.generation != hand.generation:
            self.reject(hand.name, f"{memo.tag} of generation {claim.generation}")
            return
        text = memo.load.get("status")
        if isinstance(text, str):
            boss.said(hand.name, text)
        if memo.tag == HBT:
            station = boss.station(hand.name)
            beat = station.hear_beat(memo.load, boss.now())
            if not boss.clinic.beat(hand, station, beat):
                boss.clinic.judge(hand.name, health.Evidence(beat=beat))
        if memo.tag == RDY or memo.load.get("ready") is True:
            boss.feed(hand.name, r.SaidReady("memo"))

    def reject(self, source: str | None, why: str) -> None:
        """Count a memo that does not count; say so, but not for every one of a flood."""
        count = self._boss.ledger.count("memos.rejected")
        if _is_round(count):
            source = source or "an unbound socket"
            self._boss.ledger.tell("memo.rejected", source=source, why=why, count=count)

    # ------------------------------------------------------------------ what the boss says

    def say(self, name: str, text: str, *, key: str | None = None) -> bool:
        """Queue a memo to a hand; it leaves at the end of the turn."""
        return self._boss.post(text, self._boss.station(name).addr, key=key)

    def say_end(self, hand: r.Hand) -> None:
        """Ask a hand to end."""
        station = self._boss.station(hand.name)
        if station.adopted_at is not None and not station.greeted and not station.hio:
            self.say_hey(hand)  # else it would not count
        text = crewing.end(self._boss.name, generation=hand.generation, seq=self._next())
        self.say(hand.name, text)

    def greet(self, name: str) -> None:
        """Tell a hand of an earlier boss, in its turn, that a new one is here.

        Only a few at a time are to answer: each memo taken from a full queue wakes all hands that
        wait for room in it, which is quadratic, and much, for hundreds.
        """
        self._to_greet.append(name)

    def greet_more(self) -> None:
        """Greet those whose turn it is."""
        now, stations = self._boss.now(), self._boss.stations
        for name, until in list(self._greeted.items()):
            if name not in stations or stations[name].answered or until <= now:
                del self._greeted[name]
        while self._to_greet and len(self._greeted) < GREETED_AT_ONCE:
            name = self._to_greet.popleft()
            hand, station = self._boss.hands.get(name), stations.get(name)
            if hand is None or hand.process is None or station is None or station.greeted:
                continue
            if station.adopted_at is not None:
                self.say_hey(hand)
                self._greeted[name] = now + GREETED_S

    def next_at(self) -> float:
        """Say by when the next are greeted, though those before have not answered."""
        return min(self._greeted.values(), default=math.inf) if self._to_greet else math.inf

    def say_hey(self, hand: r.Hand) -> None:
        """Tell a hand of an earlier boss that a new one is here: from then on it hears this one."""
        station = self._boss.station(hand.name)
        station.greeted = True
        text = crewing.hey(
            self._boss.name, generation=hand.generation, seq=self._next(), token=station.token
        )
        self.say(hand.name, text)

    def say_memo(self, name: str, tag: str, load: Mapping[str, Any]) -> bool:
        """Send a hand a memo of an operator's; False when there is no room for it."""
        return self.say(name, crewing.write(tag, self._boss.name, load))

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    # ------------------------------------------------------------------ the book

    def membership_changed(self) -> None:
        """Have the book made anew, and told if it is another."""
        self._stale = True

    def send_book(self) -> None:
        """Tell every registered hand who is in the crew, if that changed; once a turn."""
        if self._stale:
            self._make_book()
        if self._text == self._said:
            return
        self._said = self._text
        for name, hand in self._boss.hands.items():
            # Who has yet to answer a HEY says then which book it has.
            if hand.registered and hand.process is not None and self._boss.station(name).answered:
                self._say_book(name)

    def _make_book(self) -> None:
        """List every hand that may be written to: those that are at rest have left the book."""
        self._stale = False
        self._book = {
            name: self._boss.station(name).addr
            for name, hand in self._boss.hands.items()
            if hand.state not in r.RESTING and not hand.leaving
        }
        self._text = crewing.bok(self._boss.name, self._book)
        self._bookmark = crewing.bookmark(self._book)

    def _say_book(self, name: str) -> None:
        """Send a hand the whole book, in place of one that has not left yet."""
        if self._stale:
            self._make_book()
        station = self._boss.stations[name]
        text = self._text
        if station.hio:
            hands = self._boss.hands
            known = {
                other: addr
                for other, addr in self._book.items()
                if hands[other].spec.command is None or hands[other].registered or other == name
            }
            text = crewing.bok(self._boss.name, station.tell(known))
        self.say(name, text, key="BOK")


def _is_round(count: int) -> bool:
    """Say whether a count is worth a word: each power of two."""
    return count & (count - 1) == 0


def _speaks_for(hand: r.Hand, cred: Cred) -> bool:
    """Say whether the kernel's sender is the hand's process; for a command, one it started."""
    if hand.process is None:
        return False
    if cred[0] == hand.process.pid:
        return True
    return hand.spec.command is not None and procs.descends(cred[0], hand.process.pid)


def _clipped(load: Mapping[str, Any]) -> Any:
    """Return a memo's load as an event may keep it."""
    text = orjson.dumps(load)
    return load if len(text) <= MEMO_BYTES else {"cut": text[:MEMO_BYTES].decode("utf-8", "ignore")}
