"""Doers that talk across processes: a Bosser and its crew of Crewers.

Decides when memos are served, how a hand begins and ends, and which processes a library Bosser
starts.  Leaves what is said to ``crewing``, sockets and grams to ``core``, the Doers' own memos to
``crewdoing``.  Invariant: nothing a peer sends raises out of ``recur``, and a Bosser or Crewer
with nothing to do costs nothing: it waits for a datagram, a death or a deadline.

Names and signatures are those of ``hio.base.multidoing``.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from hiod.base.crewdoing import CrewDoer, Desk
from hiod.base.crewdoms import (
    HBT,
    AckDom,
    AddrDom,
    BokDom,
    Bossage,
    CrewDom,
    EndDom,
    HandDom,
    Loadage,
    MemoDom,
    Posting,
    RegDom,
    TagDex,
    TagDomCodex,
)
from hiod.base.crewing import (
    CONTROL,
    REG,
    BossSide,
    Cred,
    HandSide,
    Trust,
    beatPhase,
    deadWhy,
    dropWhy,
    read,
    tagOf,
    tojson,
)
from hiod.base.doing import Doer, Doist
from hiod.core.uxd.peermemoing import PeerMemoer
from hiod.errors import FilerError, MultiError
from hiod.help import Namer
from hiod.help.ogling import Ogler

if TYPE_CHECKING:
    import logging
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from multiprocessing.context import SpawnContext

    from hiod.core.memo.fusing import Rx

__all__ = [
    "AckDom",
    "AddrDom",
    "BokDom",
    "Bossage",
    "Bosser",
    "CrewDoer",
    "CrewDom",
    "Crewer",
    "EndDom",
    "HandDom",
    "Loadage",
    "MemoDom",
    "MultiDoerBase",
    "Posting",
    "RegDom",
    "TagDex",
    "TagDomCodex",
    "ogler",
]

ogler = Ogler(name="multidoing")
"""Makes the loggers of a Bosser and its Crewers; set level, temp and reopen before they enter."""

DRAIN_S = 1.0
"""How long a Crewer that ends tries to send what its Doers queued."""
REAP_S = 1.0
"""How long a Bosser that ends waits for the hands it has asked to end."""


class MultiDoerBase(Namer, PeerMemoer, Doer):  # type: ignore[misc]  # Peer's send and temp win
    """What a Bosser and a Crewer share: a socket of their own, a book of peers, an end by signal.

    Attributes:
        Tagex: record class by control tag.
        graceful: asked to end; the next recur does.
    """

    Tagex: ClassVar[TagDomCodex] = TagDex
    Signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGINT, signal.SIGTERM)
    Recurs: ClassVar[list[Any]] = []
    """Those recur methods that wait for facts."""

    def __init__(
        self,
        *,
        name: str = "base",
        temp: bool = False,
        reopen: bool = False,
        bc: int | None = 4,
        **kwa: Any,
    ) -> None:
        super().__init__(name=name, temp=temp, reopen=reopen, bc=bc, **kwa)
        self.graceful = False
        self._logger: logging.Logger | None = None
        self._entered = False
        self._prompt = (
            False  # what is queued is sent at once: after the first recur, outside of service
        )
        self._former: dict[signal.Signals, Any] = {}

    @property
    def logger(self) -> logging.Logger | None:
        """Logger of this name from ``ogler``; None before enter, made when first asked for."""
        if self._logger is None and self._entered:
            self._logger = ogler.getLogger(f"hiod.{self.name}")
        return self._logger

    @logger.setter
    def logger(self, logger: logging.Logger | None) -> None:
        self._logger = logger

    def enter(self, *, temp: bool | None = None) -> None:
        """Take the signals over; the socket is opened by the subclasses."""
        del temp
        self._entered = True
        self.graceful = False
        for number in self.Signals:
            try:
                self._former[number] = signal.signal(number, self.force)
            except ValueError:  # not the main thread, where no handler can be set
                break

    def recur(self, tyme: float) -> bool:
        """Serve; overridden in subclasses.

        Raises:
            MultiError: it is not.
        """
        raise MultiError(f"{type(self).__name__} has no recur of its own at tyme {tyme}")

    def exit(self) -> None:
        """Give the signals back to whoever had them."""
        for number, former in self._former.items():
            if signal.getsignal(number) == self.force:
                signal.signal(number, signal.SIG_DFL if former is None else former)
        self._former.clear()

    def force(self, signum: int | None = None, frame: Any = None) -> None:
        """Ask for the end at the next recur, which comes at once; the signal handler."""
        del signum, frame
        self.graceful = True
        self.wake()

    def fds(self) -> tuple[int, ...]:
        """Give what to wait for.

        A subclass with a recur of its own and no tock has none: as in hio it runs every cycle.
        One with the tock math.inf runs when a memo comes, when woken, and at its deadlines.
        """
        if self.tock == 0.0 and type(self).recur not in self.Recurs:
            return ()
        return super().fds()

    def service(self) -> None:
        """Receive, sort, send; then wait for what is due next."""
        self._prompt = False
        try:
            super().service()
        finally:
            self._prompt = True
        self.wake(at=self.dueAt())

    def memoit(self, memo: str, dst: Any, vid: str | None = None, key: Any = None) -> bool:
        """Send a memo; False when there is no room for it, which is counted in ``deads``.

        It leaves at once, if it can; before the first recur, and while memos are being served,
        with the rest at the end of that.
        """
        taken = super().memoit(memo, dst, vid, key)
        if taken and self._prompt:
            self.serviceAllTx()
            if self.outboxDepth:
                self.wake()
        return taken

    def drop(self, reason: str, rx: Rx) -> None:
        """Count a memo that was received and does not count."""
        self._drop(reason, rx[1], rx.cred)

    def lay(self, rx: Rx) -> None:
        """Put a memo that is nobody's in particular into the inbox."""
        if len(self.inbox) >= self.maxIn:
            self.drop("inbox-full", rx)
        else:
            self.inbox.append(rx)

    @staticmethod
    def tojson(d: Any) -> str:
        """Write compact JSON as the memos are written: no blanks, non-ASCII unescaped."""
        return tojson(d)

    def _open(self, temp: bool | None) -> None:
        """Bind the socket.

        Raises:
            FilerError: it cannot be bound.
        """
        if not self.reopen(temp=self.temp if temp is None else temp):
            raise FilerError(f"cannot open the socket of {self.name!r}: {self.fault}")


class Bosser(MultiDoerBase):
    """Starts a crew of hands, one process each, and registers them.

    Attributes:
        loads: what each hand is started with (``Loadage._asdict()`` or ``CrewDom._asdict()``).
        ctx: multiprocessing's context, spawn; None before the first hand.
        crew: HandDom by name.
        crewed: every hand of the crew has registered once.
    """

    def __init__(
        self,
        *,
        name: str = "boss",
        loads: Iterable[Mapping[str, Any]] | None = None,
        **kwa: Any,
    ) -> None:
        super().__init__(name=name, **kwa)
        self.loads: list[Mapping[str, Any]] = list(loads or ())
        self.ctx: SpawnContext | None = None
        self.crew: dict[str, HandDom] = {}
        self.side = BossSide(name)
        self._leaving: set[str] = set()
        self._living: dict[int, str] = {}  # name by pidfd
        self._deaths: select.epoll | None = None

    @property
    def crewed(self) -> bool:
        """Every hand of the crew has registered; never taken back."""
        return self.side.crewed

    @crewed.setter
    def crewed(self, crewed: bool) -> None:
        self.side.crewed = crewed

    def enter(self, *, temp: bool | None = None) -> None:
        """Open the socket and start a process for each load.

        Raises:
            FilerError: the socket cannot be bound.
            MultiError: a load has no name, no Doers, no Crewer first, or a name twice.
        """
        super().enter(temp=temp)
        self._open(temp)
        for load in self.loads:
            self._start(load)

    def recur(self, tyme: float) -> bool:
        """Serve memos and deaths; True once there were hands and none of them lives.

        Hands that were removed count: start their successors before the last of them is gone.
        """
        del tyme
        if self.graceful:
            sys.exit()
        self.service()
        if self.ctx is None or self._living:
            return False
        missing = ", ".join(sorted(self.side.expected - self.side.book.keys()))
        if missing and self.logger is not None:
            self.logger.error("every hand has ended, and never registered: %s", missing)
        return True

    def service(self) -> None:
        """Take deaths in, then memos: what a hand said last is in before its end counts."""
        self._bury()
        super().service()

    def exit(self) -> None:
        """Close the socket, ask what is left of the crew to end, and reap what does."""
        try:
            super().exit()
            self.close(clear=True)
        finally:
            living = [self.crew[name].proc for name in self._living.values()]
            for proc in living:
                proc.terminate()
            _reap(living, REAP_S)
            for fd in self._living:
                os.close(fd)
            self._living.clear()
            if self._deaths is not None:
                self._deaths.close()
                self._deaths = None

    def fds(self) -> tuple[int, ...]:
        """Give the socket's descriptors, and one that tells of deaths."""
        own = super().fds()
        return (*own, self._deaths.fileno()) if own and self._deaths is not None else own

    def extend(self, loads: Iterable[Mapping[str, Any]]) -> None:
        """Start more hands; the others hear of each when it has registered.

        Raises:
            MultiError: a load has no name, no Doers, no Crewer first, or a name twice.
        """
        for load in loads:
            self._start(load)
            self.loads.append(load)
        self.wake()

    def remove(self, names: Iterable[str]) -> None:
        """Ask hands to end and leave the crew; unknown names are ignored.

        A registered hand is sent END, another SIGTERM.  It leaves crew and book when it is dead.
        """
        for name in names:
            dom = self.crew.get(name)
            if dom is None or name in self._leaving:
                continue
            self._leaving.add(name)
            dom.exiting = True
            addr = self.getAddr(name)
            if name not in self._living.values():
                self._leave(name)
            elif addr is not None:
                self.memoit(self.side.end(), addr)
            else:
                dom.proc.terminate()
        self.wake()

    def serviceRxMemos(self) -> None:
        """Answer every registration received; what is no control memo is in the inbox."""
        rxms = self.rxms
        while rxms:
            rx = rxms.popleft()
            memo = rx[0]
            if tagOf(memo) not in CONTROL:
                self.lay(rx)
                continue
            dom = read(memo)
            if dom is None or dom.tag != REG:
                self.drop("not for a boss", rx)
            else:
                self._register(dom, rx)

    @staticmethod
    def start(
        *,
        name: str = "crew",
        tyme: float = 0.0,
        tock: float | None = None,
        real: bool = True,
        limit: float | None = None,
        doers: Iterable[Any] | None = None,
        temp: bool | None = None,
        boss: Bossage | None = None,
    ) -> None:
        """Run one hand's Doist until it ends; the target of the hand's process.

        Args:
            name: the hand and its Doist.
            tyme: first tyme, seconds.
            tock: tyme between cycles, seconds; None is the Doist's default.
            real: True keeps pace with the clock.
            limit: seconds of tyme to run; None is for ever.
            doers: the hand's Doers, its Crewer first.
            temp: True puts files in temporary places.
            boss: the boss's name and path; the Crewer has them already.
        """
        del boss
        doist = Doist(
            name=name, tyme=tyme, tock=tock, real=real, limit=limit, doers=doers, temp=temp
        )
        doist.do()

    def _start(self, load: Mapping[str, Any]) -> None:
        """Start one hand's process."""
        name, doers = load.get("name"), load.get("doers")
        if not name:
            raise MultiError(f"cannot start a hand without a name: its load has {sorted(load)}")
        if name in self.crew:
            raise MultiError(f"cannot start hand {name!r}: the crew has one of that name")
        first = doers[0] if doers else None
        if not isinstance(first, Crewer):
            raise MultiError(f"cannot start hand {name!r}: doers[0] {first!r} is not a Crewer")
        boss = Bossage(self.name, self.path)
        first.boss = boss
        first.name = name
        if self.ctx is None:
            import multiprocessing  # noqa: PLC0415 - only a Bosser with hands needs it

            self.ctx = multiprocessing.get_context("spawn")
        proc = self.ctx.Process(name=name, target=self.start, kwargs=dict(load, boss=boss))
        proc.start()
        self.crew[name] = HandDom(proc=proc)
        self.side.expected.add(name)
        if self._deaths is None:
            self._deaths = select.epoll()
        pidfd = os.pidfd_open(proc.pid or 0)
        self._living[pidfd] = name
        self._deaths.register(pidfd, select.EPOLLIN)

    def _register(self, memo: MemoDom, rx: Rx) -> None:
        """Take one registration in and answer it."""
        name = memo.name
        if (
            name in self._living.values()
            and rx.cred is not None
            and rx.cred[0] != self.crew[name].proc.pid
        ):
            self.drop("REG from another process", rx)
            return
        said, reason = self.side.hearReg(memo, rx[1])
        if reason:
            self.drop(reason, rx)
            return
        self._rebook()
        for text, addr in said:
            self.memoit(text, addr, key=tagOf(text))  # a book replaces one that has not left yet

    def _rebook(self) -> None:
        """Make the address book what the conversation says it is."""
        book = self.side.book
        for name, addr in self.addrByName.items():
            if book.get(name) != addr:
                self.remNameAddr(name=name)
                self.forget(addr, "left the crew")
        for name, addr in book.items():
            self.addNameAddr(name, addr)

    def _bury(self) -> None:
        """Reap the dead; those that were to leave are out of crew and book."""
        for fd, _ in () if self._deaths is None else self._deaths.poll(0):
            name = self._living.pop(fd)
            os.close(fd)  # which takes it out of the epoll
            self.crew[name].proc.join()
            if name in self._leaving:
                self._leave(name)

    def _leave(self, name: str) -> None:
        """Take a dead hand out of crew and book, and tell the others."""
        self._leaving.discard(name)
        del self.crew[name]
        self.side.leave(name)
        self._rebook()
        if self.crewed:
            for text, addr in self.side.books():
                if self.getName(addr) not in self._leaving:
                    self.memoit(text, addr, key="BOK")


class Crewer(MultiDoerBase):
    """A hand's side of its crew: registers with the boss, keeps the book, sorts the memos.

    It must be the first Doer of its hand's Doist.

    Attributes:
        boss: name and path of the boss, each None while there is none.
        hand: base name of this hand; its name unless it is one of a counted hand's.
        ordinal: its number among a counted hand's, or None.
        generation: which incarnation of the name this is; 0 when no daemon started it.
        ending: asked to end, by END or by signal.
    """

    def __init__(
        self,
        *,
        name: str = "crew",
        boss: Bossage | None = None,
        **kwa: Any,
    ) -> None:
        super().__init__(name=name, **kwa)
        self.boss = Bossage() if boss is None else boss
        self.posting: Posting | None = None
        self.hand = name
        self.ordinal: int | None = None
        self.generation = 0
        self.ending = False
        self._aside = False
        self._side = HandSide(name, Bossage())
        self._desk = Desk(self)
        self._lost = ("", "")  # the latest dead letter: for whom, and its reason
        self._dropped: tuple[str, Any, Cred | None] = ("", None, None)  # the latest drop
        self._deadWhy = self._dropWhy = ""  # the same in words, once they have been told

    @property
    def registered(self) -> bool:
        """The boss has answered this hand's registration."""
        return self._side.registered

    @registered.setter
    def registered(self, registered: bool) -> None:
        self._side.registered = registered

    def beatAside(self) -> tuple[float, float]:
        """Leave heartbeats to a Doist that asks ``asideAt`` and calls ``sayAside`` by then.

        Not where a subclass serves or sends in its own way: it is to see them, too.

        Returns:
            when to beat best: how long after each whole interval of the machine's clock, and
            that interval, both in seconds.
        """
        own, posting = type(self), self.posting
        mine = (Crewer.recur, Crewer.service, Crewer.memoit)
        if posting is None or not posting.beat_s or (own.recur, own.service, own.memoit) != mine:
            return 0.0, 0.0
        self._aside = True
        return beatPhase(posting.place, posting.beat_s), posting.beat_s

    def assign(self, posting: Posting) -> None:
        """Make this the Crewer of a daemon's hand; before enter."""
        self.posting = posting
        self.name = posting.name
        self.hand = posting.hand
        self.ordinal = posting.ordinal
        self.generation = posting.generation
        self.boss = posting.boss

    def enter(self, *, temp: bool | None = None) -> None:
        """Open or inherit the socket; the registration leaves at the first recur.

        Raises:
            FilerError: the socket cannot be bound.
        """
        super().enter(temp=temp)
        self.ending = False
        if self.posting is not None and self.posting.fd is not None:
            self._fd, self._inherited = self.posting.fd, True
        self._open(temp)
        self._side = self._conversation()
        if self._side.boss.path:
            self.clearAllNameAddr()
            self.addNameAddr(self._side.boss.name, self._side.boss.path)
            self.keepDst.add(self._side.boss.path)

    def recur(self, tyme: float) -> bool:
        """Serve what is there to be served, say what is due; never done."""
        del tyme
        if self.graceful:
            self._leave()
        else:
            self.service()
        return False

    def service(self) -> None:
        """Serve what is there to be served and say to the boss what is due."""
        self._prompt = False
        now = self.now()
        self.serviceAllRx()
        self._desk.expire(now)
        for memo in self._side.due(now, self._figures):
            self.memoit(memo, self._side.boss.path, key=tagOf(memo))
        self.serviceAllTx()
        self._prompt = True
        self.wake(at=self.dueAt())

    def dueAt(self) -> float:
        """Tell the tyme at which ``service`` has something to do by itself."""
        side = self._side
        at = math.inf if self._aside and side.quietTill > -math.inf else side.dueAt()
        return min(super().dueAt(), self._desk.dueAt(), at)

    def asideAt(self) -> float:
        """Tell the tyme of a heartbeat that is to be said aside, math.inf when none is."""
        at = self._side.quietTill if self._aside else math.inf
        return at if at > -math.inf else math.inf

    def sayAside(self, tyme: float) -> float:
        """Say a heartbeat between two turns; return the tyme of the next.

        -math.inf when it takes a turn to get it out.
        """
        side = self._side
        text = side.beat(tyme, self._figures())
        path = side.boss.path
        if self.slip(text, path) or not self.memoit(text, path, key=HBT):
            return tyme + side.beat_s
        return -math.inf

    def exit(self) -> None:
        """Send what is queued, for a second at most, and close the socket last of all."""
        try:
            if self.opened and not self.drain(DRAIN_S) and self.logger is not None:
                self.logger.error("ended with %d memos unsent", self.outboxDepth)
            if self._desk.waiting and self.logger is not None:
                names = ", ".join(self._desk.waiting)
                self.logger.error("ended with memos to names never in the book: %s", names)
            self.close(clear=True)
        finally:
            self._prompt = False
            super().exit()

    def force(self, signum: int | None = None, frame: Any = None) -> None:
        """Ask for the end at the next recur, which comes at once; the signal handler."""
        self.ending = True
        super().force(signum, frame)

    def serviceRxMemos(self) -> None:
        """Sort every memo received; override to see them first."""
        rxms = self.rxms
        while rxms:
            self._desk.sort(rxms.popleft())

    def dead(self, memo: str | None, dst: Any, reason: str) -> None:
        """Count a memo refused or given up, and tell the hook."""
        self._lost = (self.getName(dst) or str(dst), reason)
        super().dead(memo, dst, reason)

    def _drop(self, reason: str, src: Any, cred: Any) -> None:
        """Count something received that is not delivered, and tell the hook."""
        self._dropped = (reason, src, cred)
        super()._drop(reason, src, cred)

    def getAddr(self, name: str) -> str | None:
        """Give the address of a name in the book, None when unknown; ``"boss"`` is the boss."""
        addr = super().getAddr(name)
        return self._side.boss.path if addr is None and name == "boss" else addr

    def peers(self, base: str) -> list[str]:
        """Name the other hands in the book that are of a base: ``base``, ``base-0``, ...

        In order of their ordinals, the bare name first.
        """
        found = []
        for name in self._addrByName:
            head, dash, number = name.rpartition("-")
            if name == base:
                found.append((-1, name))
            elif dash and head == base and number.isascii() and number.isdigit():
                found.append((int(number), name))
        return [name for _, name in sorted(found)]

    # --- for the hand's Doers

    def claim(self, doer: CrewDoer) -> None:
        """Give a Doer this Crewer, and the memos of its tags.

        Raises:
            MultiError: a tag is not 4 to 16 of A to Z, or another Doer has it.
        """
        self._desk.claim(doer)
        doer.crewer = self

    def tell(self, name: str, tag: str, load: Mapping[str, Any] | None = None) -> bool:
        """Send a memo to a hand by name; False when its outbox is full.

        A name not yet in the book is waited for, 10 s.
        """
        return self._desk.tell(name, tag, load)

    def ask(
        self,
        name: str,
        tag: str,
        load: Mapping[str, Any] | None = None,
        *,
        timeout: float = 5.0,
        doer: Doer | None = None,
    ) -> Generator[float, Any, MemoDom | None]:
        """Ask a hand: ``got = yield from crewer.ask(...)``; None after ``timeout`` seconds.

        Args:
            name: the hand asked.
            tag: what kind of memo it is asked with.
            load: the question.
            timeout: seconds of tyme to wait.
            doer: who waits, so that it is woken; None is the Doer that runs.
        """
        return self._desk.ask(name, tag, load, timeout=timeout, doer=doer)

    def reply(self, memo: MemoDom, load: Mapping[str, Any] | None = None) -> bool:
        """Answer a memo: an ask gets its answer, any other a memo of the same tag."""
        return self._desk.reply(memo, load)

    def ready(self, text: str = "") -> None:
        """Call the hand ready (``ready.by = "memo"``); the text becomes its status."""
        if self.posting is not None and self.posting.readyBy == "memo":
            self._side.callReady()
        if text:
            self._side.say(text)
        self.wake()

    def status(self, text: str) -> None:
        """Set the hand's status text; the boss hears of it within half a second."""
        self._side.say(text)
        self.wake()

    # --- for the desk

    def running(self) -> Any:
        """Find the Doer that runs now: it is its generator that is being executed."""
        deeds: Any = self._doist().deeds
        doer = None
        while deeds:
            doer = next((d.doer for d in deeds if getattr(d.dog, "gi_running", False)), None)
            deeds = getattr(doer, "deeds", None)
        return doer

    def rouse(self, doer: Any) -> None:
        """Have any Doer of this hand run now, whoever made its class."""
        self._doist().wake(doer)

    def control(self, memo: MemoDom, rx: Rx) -> None:
        """Take one control memo in."""
        cred = None if rx.cred is None else Cred(*rx.cred)
        heard = self._side.hear(memo, rx[1], cred)
        if not heard.what:
            self.drop(heard.reason, rx)
        elif heard.what == "bok":
            self._rebook()
        elif heard.what == "end":
            self.force()
        elif heard.what == "hey":
            # Its socket may be another than the one this hand waits for room at.
            self.retry(self._side.boss.path)

    def _rebook(self) -> None:
        """Make the book what the boss said, the boss itself kept."""
        book = self._side.book
        boss = self._side.boss.name
        for name, addr in self.addrByName.items():
            if name != boss and book.get(name) != addr:
                self.remNameAddr(name=name)
                if self.forget(addr, "left the book"):
                    self._lost = (name, "left the book")
        for name, addr in book.items():
            self.addNameAddr(name, addr)
        self._desk.booked()

    def _conversation(self) -> HandSide:
        """Begin the conversation with the boss; what Doers said before it began is kept."""
        posting = self.posting
        token = "" if posting is None else posting.token
        pid = None if posting is None else posting.bossPid
        side = HandSide(
            self.name,
            Bossage(*self.boss),
            addr=self.path or "",
            generation=self.generation,
            trust=Trust(uids=frozenset((0, os.getuid())), pid=pid, token=token),
            beat_s=0.0 if posting is None else posting.beat_s,
        )
        if self._side.ready:
            side.callReady()
        side.say(self._side.status)
        return side

    def _leave(self) -> None:
        """End the hand: in a daemon's the Doist stops, elsewhere as hio's does."""
        self.ending = True
        if self.posting is None:
            sys.exit()
        self._doist().halt()

    def _doist(self) -> Doist:
        doist: Doist = self.tymth.tymist  # type: ignore[union-attr]  # wound when it recurs
        return doist

    def _figures(self) -> dict[str, Any]:
        """Say for a heartbeat how the loop turns and what the mailbox holds."""
        doist: Any = self._tymth.tymist  # type: ignore[union-attr]  # wound when it recurs
        lag, doist.lagMax = doist.lagMax, 0.0
        outboxes = self._outboxes
        figures = {
            "cycles": doist.cycles,
            "lag_ms": round(lag * 1000.0, 1),
            "outbox": outboxes.depth,
            "dead": sum(self.deads.values()),
            "drops": sum(self.drops.values()),
            "in": self.memosReceived,
            "out": outboxes.sent,
        }
        if figures["dead"] or figures["drops"]:
            figures |= self._whys()
        return figures

    def _whys(self) -> dict[str, str]:
        """Say for a heartbeat why the latest memos were lost, each way."""
        name, reason = self._lost
        if reason:
            peers = self.peers(name) if reason == "name never in the book" else ()
            self._deadWhy = deadWhy(name, reason, peers)
            self._lost = ("", "")
        reason, src, cred = self._dropped
        if reason:
            pid = None if cred is None else cred[0]
            self._dropWhy = dropWhy(self.getName(src), src, pid, reason)
            self._dropped = ("", None, None)
        whys = {"dead_why": self._deadWhy, "drop_why": self._dropWhy}
        return {key: why for key, why in whys.items() if why}


def _reap(procs: Sequence[Any], limit_s: float) -> None:
    """Wait for processes to end, together no longer than a limit."""
    from time import monotonic  # noqa: PLC0415 - only at the end of a Bosser

    until = monotonic() + limit_s
    for proc in procs:
        proc.join(max(0.0, until - monotonic()))


MultiDoerBase.Recurs += [Bosser.recur, Crewer.recur]
