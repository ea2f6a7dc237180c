"""Memos over datagrams: queues, limits, and one ``service`` call that moves them.

Decides the order of work and what hio's users see of it: queues, properties, ``service*``.
Leaves the layout of grams to ``gramming``, which of them count to ``receiving``, reassembly to
``fusing``, the waiting to ``outboxing``, ids to ``minting``, keys to ``signing``, and the sending
to a subclass (``hiod.core.uxd``).
Invariants: nothing a peer sends raises out of ``service``; whatever is not delivered is counted
in ``drops`` (received) or ``deads`` (to be sent), with a reason, and told to a hook.
"""

from __future__ import annotations

import errno
import math
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from hiod.base.doing import Doer
from hiod.base.tyming import Tymee
from hiod.core.memo import signing
from hiod.core.memo.codexing import (
    SIZES,
    AckDex,
    AuthDex,
    GramDex,
    Keyage,
    MemoDex,
    Sizage,
    SureDex,
    Versionage,
    ZeroDex,
)
from hiod.core.memo.fusing import Fuser, Rx
from hiod.core.memo.gramming import CODES, KINDS, PAIRS, SOLE, GramError, cut, parse, split, unb64
from hiod.core.memo.minting import MIDS
from hiod.core.memo.outboxing import Letter, Outboxes
from hiod.core.memo.receiving import BIG, Intake, check
from hiod.errors import MemoerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hiod.core.memo.fusing import Cred, Key
    from hiod.core.memo.gramming import Part

__all__ = [
    "AckDex",
    "AuthDex",
    "AuthMemoer",
    "AuthMemoerDoer",
    "GramDex",
    "Keyage",
    "MemoDex",
    "Memoer",
    "MemoerDoer",
    "Rx",
    "Sizage",
    "SureDex",
    "Versionage",
    "ZeroDex",
    "openAM",
    "openMemoer",
]


class QueueView(deque[Any]):
    """What a queue holds, to be looked at; the queue itself is changed by calls."""

    def _refuse(self, *_pa: Any, **_kwa: Any) -> NoReturn:
        raise TypeError("this is a view: queue with memoit() or gramit(), take back with forget()")

    append = appendleft = extend = extendleft = insert = pop = popleft = remove = clear = _refuse


class Memoer(Tymee):
    """Sends and receives memos; the transport is a subclass's ``receiveCred`` and ``send``.

    hio's parameters:
        name: of this memoer, for people.
        rxms, txms, txgs: what to begin with in those queues.
        rxgs, sources, counts, vids: what to begin with of unfinished memos, by memo id.
        code: of the first grams sent, one of ``ZeroDex``.
        curt: True means binary headers on what is sent; both are received.
        size: longest gram sent, in bytes.
        authic: True means only signed grams are taken.
        echoic: True means what is sent is received again; for tests without a transport.
        keep: key pairs by verifier id, as ``Keyage`` or (public, private).
        vid: who signs when ``memoit`` does not say.
        bc, bs: count of transport buffers of ``MaxGramSize`` bytes, or their size.
        tymeout, txbs, version: as in hio; nothing depends on them here.

    hiod's parameters, all limits:
        maxMemo: longest memo in bytes, both ways.
        maxOut, maxOutBytes: most memos and bytes that wait for one destination.
        maxTotal, maxTotalBytes: most memos and bytes that wait altogether.
        maxAge: seconds of tyme an unreachable destination's memos are kept.
        maxIn: most memos in ``rxms`` and in ``inbox``.
        maxPartials, maxPartialBytes: most unfinished memos and the bytes they hold.
        maxPartialAge: seconds of tyme an unfinished memo is kept without a new gram.
        maxPass: most datagrams one service call reads, so that a flood starves nobody.

    Attributes:
        rxms: received memos, each an ``Rx``: the tuple (memo, source, vid) with ``.cred``.
        inbox: where ``serviceRxMemos`` puts them unless overridden.
        echos: grams on their way round, with ``echoic``.
        opened: True means grams can be sent and received.
        keepDst: destinations never given up for age; add to it and discard from it.
        drops: how many datagrams or memos received were dropped, by reason.
        deads: how many memos to be sent were refused or given up, by reason.
        memosReceived: how many whole memos came.
        lull: errno of the last ``send`` that found no room.
        waker: called when something is queued, None to call nothing: whoever runs ``service``
            only when there is work sets it.
        cutShort: whether the empty datagram just received was too long for the buffer.

    Times are tyme once wound, monotonic seconds before that.
    """

    Version: ClassVar[Versionage] = Versionage()
    Codex: ClassVar[tuple[str, ...]] = MemoDex
    Codes: ClassVar[dict[str, str]] = dict(CODES)
    Names: ClassVar[dict[str, str]] = {code: name for name, code in CODES.items()}
    Zedex: ClassVar[tuple[str, ...]] = ZeroDex
    Audex: ClassVar[tuple[str, ...]] = AuthDex
    Sizes: ClassVar[dict[str, Sizage]] = SIZES
    Pairs: ClassVar[dict[str, str]] = dict(PAIRS)
    MaxMemoSize: ClassVar[int] = 4294967300
    MaxGramCount: ClassVar[int] = 16777215
    MaxGramSize: ClassVar[int] = 65535
    BufSize: ClassVar[int] = 65535
    Tymeout: ClassVar[float] = 0.0

    MaxMemo: ClassVar[int] = 16 * 1024 * 1024
    MaxOut: ClassVar[int] = 1000
    MaxOutBytes: ClassVar[int] = 16 * 1024 * 1024
    MaxTotal: ClassVar[int] = 100_000
    MaxTotalBytes: ClassVar[int] = 256 * 1024 * 1024
    MaxAge: ClassVar[float] = 10.0
    MaxIn: ClassVar[int] = 1000
    MaxPartials: ClassVar[int] = 1000
    MaxPartialBytes: ClassVar[int] = 32 * 1024 * 1024
    MaxPartialAge: ClassVar[float] = 10.0
    MaxPass: ClassVar[int] = 256
    MaxPassBytes: ClassVar[int] = 128 * 1024
    """Bytes after which a pass ends: long memos are handed over one by one, so that the next can
    use the memory of the last."""

    def __init__(
        self,
        *,
        tymeout: float | None = None,
        name: str | None = None,
        bc: int | None = None,
        bs: int | None = None,
        version: Versionage | None = None,
        rxgs: Mapping[str, Mapping[int, bytes]] | None = None,
        sources: Mapping[str, Any] | None = None,
        counts: Mapping[str, int | None] | None = None,
        vids: Mapping[str, str | None] | None = None,
        rxms: deque[Any] | None = None,
        txms: Iterable[tuple[str, Any, str | None]] | None = None,
        txgs: Iterable[tuple[bytes, Any]] | None = None,
        txbs: tuple[bytes, Any] | None = None,
        code: str = "bAAA",
        curt: bool = False,
        size: int | None = None,
        authic: bool = False,
        echoic: bool = False,
        keep: Mapping[str, Any] | None = None,
        vid: str | None = None,
        maxMemo: int | None = None,
        maxOut: int | None = None,
        maxOutBytes: int | None = None,
        maxTotal: int | None = None,
        maxTotalBytes: int | None = None,
        maxAge: float | None = None,
        maxIn: int | None = None,
        maxPartials: int | None = None,
        maxPartialBytes: int | None = None,
        maxPartialAge: float | None = None,
        maxPass: int | None = None,
        **kwa: Any,
    ) -> None:
        """Make the queues; nothing is opened.

        Raises:
            MemoerError: ``code`` is not one of a first gram.
            TypeError: an argument nobody takes.
        """
        super().__init__(**kwa)
        self.name = name or "main"
        self.bc = bc
        self.bs = _buffer(bc, bs, self.MaxGramSize, self.BufSize)
        self.version = version or self.Version
        self.tymeout = self.Tymeout if tymeout is None else tymeout
        self.tymers: dict[Any, Any] = {}
        self.opened = False
        self.lull = errno.EAGAIN
        self.cutShort = False
        self.waker: Callable[[], None] | None = None
        self.drops: dict[str, int] = {}
        self.deads: dict[str, int] = {}
        self.memosReceived = 0
        self.maxMemo = _given(maxMemo, self.MaxMemo)
        self.maxIn = _given(maxIn, self.MaxIn)
        self.maxPass = _given(maxPass, self.MaxPass)
        self._fuser = Fuser(
            maxPartials=_given(maxPartials, self.MaxPartials),
            maxBytes=_given(maxPartialBytes, self.MaxPartialBytes),
            maxMemo=self.maxMemo,
            maxAge=_given(maxPartialAge, self.MaxPartialAge),
        )
        self._outboxes = Outboxes(
            maxCount=_given(maxOut, self.MaxOut),
            maxBytes=_given(maxOutBytes, self.MaxOutBytes),
            maxTotal=_given(maxTotal, self.MaxTotal),
            maxTotalBytes=_given(maxTotalBytes, self.MaxTotalBytes),
            maxAge=_given(maxAge, self.MaxAge),
        )
        self.keepDst = self._outboxes.kept
        self.rxms: deque[Any] = deque() if rxms is None else rxms
        self.inbox: deque[Any] = deque()
        self.echos: deque[tuple[bytes, Any]] = deque()
        self._keep = dict(keep or {})
        self._intake = Intake(self._fuser, authic=bool(authic))
        self._echoic = bool(echoic)
        self._vid = vid
        self._curt = bool(curt)
        self._code = code
        self._size = self.MaxGramSize
        self._fit = self.MaxGramSize  # longest gram the transport likes
        self.code = code
        self.size = self.MaxGramSize if size is None else size
        self._adopt(rxgs or {}, sources or {}, counts or {}, vids or {})
        for memo, dst, who in txms or ():
            self.memoit(memo, dst, who)
        for gram, dst in (*((txbs,) if txbs and txbs[0] else ()), *(txgs or ())):
            self.gramit(gram, dst)

    def _adopt(
        self,
        rxgs: Mapping[str, Mapping[int, bytes]],
        sources: Mapping[str, Any],
        counts: Mapping[str, int | None],
        vids: Mapping[str, str | None],
    ) -> None:
        """Begin with the unfinished memos given."""
        for mid, bodies in rxgs.items():
            key, vid = (mid, sources.get(mid), 0), vids.get(mid)
            for index, (number, body) in enumerate(bodies.items()):
                count = None if index else counts.get(mid)
                self._note(
                    self._fuser.add(
                        key,
                        None,
                        number,
                        count,
                        bytes(body),
                        vid=vid,
                        signed=vid is not None,
                        now=self.now(),
                    )
                )

    # ---------------------------------------------------------------- settings

    @property
    def code(self) -> str:
        """Code of the first grams sent."""
        return self._code

    @code.setter
    def code(self, code: str) -> None:
        """Take a code of ``ZeroDex``; MemoerError otherwise."""
        if code not in self.Zedex:
            raise MemoerError(
                f"cannot send grams of code {code!r}: it is none of {', '.join(self.Zedex)}"
            )
        self._code = code
        self.size = self._size

    @property
    def curt(self) -> bool:
        """Whether headers sent are binary."""
        return self._curt

    @curt.setter
    def curt(self, curt: bool) -> None:
        self._curt = bool(curt)
        self.size = self._size

    @property
    def size(self) -> int:
        """Longest gram sent, in bytes; at least one byte more than the overhead."""
        return self._size

    @size.setter
    def size(self, size: int) -> None:
        text = self._code.encode()
        kind = KINDS[unb64(text) if self._curt else text]
        self._size = max(int(size), kind.body + kind.tail + 1)

    @property
    def authic(self) -> bool:
        """Whether only signed grams are taken."""
        return self._intake.authic

    @property
    def echoic(self) -> bool:
        """Whether what is sent is received again."""
        return self._echoic

    @property
    def keep(self) -> dict[str, Any]:
        """Key pairs by verifier id; the very dict in use."""
        return self._keep

    @property
    def vid(self) -> str | None:
        """Who signs when ``memoit`` does not say."""
        return self._vid

    @vid.setter
    def vid(self, vid: str | None) -> None:
        self._vid = vid

    # ------------------------------------------------------------------- views

    @property
    def txms(self) -> QueueView:
        """Memos not yet cut, as (memo, destination, vid); a view."""
        return QueueView((letter.memo, letter.dst, letter.vid) for letter in self._outboxes.uncut)

    @property
    def txgs(self) -> QueueView:
        """Grams not yet sent, as (gram, destination), destination by destination; a view."""
        return QueueView(
            (gram if isinstance(gram, bytes) else b"".join(gram), letter.dst)
            for letter in self._outboxes.letters()
            for gram in (letter.grams or [])[letter.sent :]
        )

    @property
    def txbs(self) -> tuple[bytearray, None]:
        """The gram in progress in hio: never one here, a datagram goes whole or not at all."""
        return bytearray(), None

    @property
    def rxgs(self) -> dict[str, dict[int, bytes]]:
        """Bodies received by memo id and gram number; a copy."""
        return {key[0]: bodies for key, _count, _vid, bodies in self._partials()}

    @property
    def sources(self) -> dict[str, Any]:
        """Sources of unfinished memos by memo id; a copy."""
        return {key[0]: key[1] for key in self._fuser.partials}

    @property
    def counts(self) -> dict[str, int | None]:
        """Gram counts, where known, of unfinished memos by memo id; a copy."""
        return {key[0]: count for key, count, _vid, _bodies in self._partials()}

    @property
    def vids(self) -> dict[str, str | None]:
        """Signers of unfinished memos by memo id; a copy."""
        return {key[0]: vid for key, _count, vid, _bodies in self._partials()}

    def _partials(self) -> Iterator[tuple[Key, int | None, str | None, dict[int, bytes]]]:
        """Go over what the fuser holds."""
        for key, held in self._fuser.partials.items():
            if isinstance(held, Rx):
                yield key, 1, held[2], {0: held[0].encode()}
            else:
                bodies = {number: bytes(body) for number, body in held.bodies.items()}
                yield key, held.count, held.vid, bodies

    @property
    def memosSent(self) -> int:
        """How many memos (and single grams) have been sent whole."""
        return self._outboxes.sent

    @property
    def outboxDepth(self) -> int:
        """Memos (and single grams) not yet sent whole."""
        return self._outboxes.depth

    # -------------------------------------------------------------------- time

    def now(self) -> float:
        """Return tyme when wound, else monotonic seconds."""
        tymth = self._tymth
        return time.monotonic() if tymth is None else tymth()

    def wind(self, tymth: Callable[[], float]) -> None:
        """Take the tyme from ``tymth``; what waits keeps the time it has left."""
        before = self.now()
        super().wind(tymth)
        by = self.now() - before
        self._outboxes.shift(by)
        self._fuser.shift(by)

    def dueAt(self) -> float:
        """Return when a retry or an expiry is due, ``math.inf`` when none is.

        Whoever runs this calls ``service`` then, and when one of ``fds`` is readable.
        """
        return min(self._outboxes.dueAt(), self._fuser.expireAt)

    def fds(self) -> tuple[int, ...]:
        """Return the descriptors whose readability means ``service`` has work; here none."""
        return ()

    # --------------------------------------------------------------- life cycle

    def open(self) -> bool:
        """Open the transport; True when opened."""
        self.opened = True
        return True

    def reopen(self, clear: bool = True, **_kwa: Any) -> bool:
        """Close and open the transport; True when opened."""
        self.close(clear=clear)
        return self.open()

    def close(self, clear: bool = True) -> bool:  # noqa: ARG002 - a transport's to use
        """Close the transport; True when closed.  Queues keep."""
        self.opened = False
        return True

    # ---------------------------------------------------------------- receiving

    def receive(self, *, echoic: bool = False) -> tuple[bytes, Any]:
        """Return (datagram, source), (b'', None) when there is none."""
        if echoic and self.echos:
            return self.echos.popleft()
        return b"", None

    def receiveCred(self) -> tuple[bytes, Any, Cred | None]:
        """Return (datagram, source, sender's credentials); (b'', None, None) when there is none.

        A transport that knows credentials overrides this, one that does not ``receive``.
        """
        data, src = self.receive(echoic=self._echoic)
        return data, src, None

    def wiff(self, gram: bytes) -> bool:
        """Return True when the gram's header is binary, False when it is text.

        Raises:
            MemoerError: it is neither.
        """
        if gram[:1] == b"\x6c":
            return True
        if gram[:1] == b"b":
            return False
        raise MemoerError(f"datagram begins with {bytes(gram[:1])!r}, which begins no gram")

    def verify(self, vid: str, sig: bytes, ser: bytes) -> bool:
        """Return True when ``sig`` (text form) is the signature of ``vid`` over ``ser``.

        Raises:
            MemoerVerifyError: it is not.
            MemoerError: it cannot be known: malformed, key unknown, or PyNaCl not installed.
        """
        return signing.verify(vid, sig, ser, self._keep)

    def pick(self, gram: bytearray) -> tuple[str, str | None, int, int | None]:
        """Strip header and signature from ``gram``, in place; return what they said.

        The result is (mid, vid or None, number, count or None).  A later gram of a signed memo is
        verified with the vid of its first gram, wherever that came from.

        Raises:
            MemoerError: it is no gram to be taken.
        """
        raw = bytes(gram)
        kind, mid, vid, number, count, start, stop = parse(raw)
        if kind.signed:
            vid = vid or self.vids.get(mid)
            check(self, raw, stop, vid, text=kind.text)
        elif self.authic:
            raise GramError("unsigned", f"gram {kind.code} is not signed")
        gram[:] = raw[start:stop]
        return mid, vid, number, count

    def _note(self, dropped: Iterable[tuple[str, Key, Cred | None]]) -> None:
        """Count what the fuser dropped."""
        for reason, key, cred in dropped:
            self._drop(reason, key[1], cred)

    def _drop(self, reason: str, src: Any, cred: Cred | None) -> None:
        """Count something received that is not delivered, and tell the hook."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        self.onDrop(reason, src, cred)

    def onDrop(self, reason: str, src: Any, cred: Cred | None) -> None:
        """Override to hear of each datagram or memo dropped on receipt; must not raise."""

    def _receive(self, most: int, *, echoic: bool) -> None:
        """Read at most so many datagrams."""
        if not self.opened:
            return
        receive = self._receive_echo if echoic and self.echos else self.receiveCred
        for reason, src, cred in self._intake.read(
            self, receive, most, self.MaxPassBytes, self.now()
        ):
            self._drop(reason, src, cred)

    def receiveAside(self, hear: Callable[[bytes, Any, Cred, float], bool], now: float) -> bool:
        """Read one datagram and offer it to ``hear``; True when it took it for a whole memo.

        False when there is none, and when ``service`` is to go on with it.

        Parameters:
            hear: called with the datagram, its source and sender, and ``now``.
            now: present time in seconds.
        """
        try:
            got = self.receiveCred()
        except OSError:
            return False  # service meets it, too
        data, src, cred = got
        if cred is not None and hear(data, src, cred, now):
            self.memosReceived += 1
            return True
        if data or src is not None or cred is not None:
            for reason, whence, who in self._intake.read(self, lambda: got, 1, 0, now):
                self._drop(reason, whence, who)
        return False

    def _receive_echo(self) -> tuple[bytes, Any, Cred | None]:
        """Return what was sent here first, then what comes."""
        return (*self.echos.popleft(), None) if self.echos else self.receiveCred()

    def serviceReceivesOnce(self, *, echoic: bool = False) -> None:
        """Read at most one datagram."""
        self._receive(1, echoic=echoic)

    def serviceReceives(self, *, echoic: bool = False) -> None:
        """Read datagrams until there is none, at most ``maxPass`` or some 128 KiB.

        What is left makes the descriptor readable again.

        An empty datagram is counted; in hio 0.7.20 it ends the pass.
        """
        self._receive(self.maxPass, echoic=echoic)

    def fuse(self, grams: Mapping[int, bytes], cnt: int) -> str | None:
        """Return the memo made of ``cnt`` bodies, None while some are missing.

        Raises:
            MemoerError: they are not UTF-8.
        """
        if any(number not in grams for number in range(cnt)):
            return None
        try:
            return b"".join([grams[number] for number in range(cnt)]).decode()
        except UnicodeDecodeError as ex:
            raise MemoerError(f"memo of {cnt} grams is not UTF-8: {ex}") from ex

    def serviceRxGrams(self) -> None:
        """Move whole memos to ``rxms``; what finds no room there is dropped and counted."""
        whole, dropped = self._fuser.fuse(self.maxIn - len(self.rxms))
        if whole:
            self.memosReceived += len(whole)
            self.rxms.extend(whole)
        if dropped:
            self._note(dropped)

    def serviceRxGramsOnce(self) -> None:
        """As ``serviceRxGrams``: fusing is one whole pass."""
        self.serviceRxGrams()

    def serviceRxMemos(self) -> None:
        """Handle all memos in ``rxms``; override to do more than put them in ``inbox``."""
        rxms, inbox = self.rxms, self.inbox
        if len(inbox) + len(rxms) <= self.maxIn:
            inbox.extend(rxms)
            rxms.clear()
        while rxms:
            self._shelve()

    def _serviceOneRxMemo(self) -> Any:
        """Take the next (memo, source, vid) off ``rxms``; overrides of hio's users call it.

        Raises:
            IndexError: there is none.
        """
        return self.rxms.popleft()

    def serviceRxMemosOnce(self) -> None:
        """Handle at most one memo."""
        if self.rxms:
            self._shelve()

    def _shelve(self) -> None:
        """Move one memo to the inbox, if it has room."""
        rx = self.rxms.popleft()
        if len(self.inbox) < self.maxIn:
            self.inbox.append(rx)
        else:
            self._drop("inbox-full", rx[1], getattr(rx, "cred", None))

    def serviceAllRxOnce(self) -> None:
        """One datagram, one pass of fusing, one memo."""
        self.serviceReceivesOnce(echoic=self._echoic)
        self.serviceRxGramsOnce()
        self.serviceRxMemosOnce()
        self.serviceTymers()

    def serviceAllRx(self) -> None:
        """Receive, fuse, handle, look at timers."""
        self.serviceReceives(echoic=self._echoic)
        self.serviceRxGrams()
        self.serviceRxMemos()
        self.serviceTymers()

    def serviceTymers(self) -> None:
        """Drop unfinished memos that make no progress."""
        if self._fuser.expireAt != math.inf:
            self._note(self._fuser.expire(self.now()))

    # ------------------------------------------------------------------ sending

    def memoit(self, memo: str, dst: Any, vid: str | None = None, key: Any = None) -> bool:
        """Queue a memo; True when queued, False when refused, which is counted in ``deads``.

        Parameters:
            memo: text of at most ``maxMemo`` bytes.
            dst: where to: for peers the path of the other's socket.
            vid: who signs, for signed codes; None means ``self.vid``.
            key: a queued memo of the same destination and key, of which no gram has left, is
                replaced in its place.

        Raises:
            TypeError: ``memo`` is no text.
        """
        if not isinstance(memo, str):
            raise TypeError(f"a memo is text, got {type(memo).__name__}")
        try:
            size = len(memo) if memo.isascii() else len(memo.encode())
        except UnicodeEncodeError:
            return self._refuse(memo, dst, "not-utf8")
        if not 0 < size <= self.maxMemo:
            return self._refuse(memo, dst, "too-large" if size else "empty")
        if key is not None and self._replace(memo, dst, vid, key, size):
            return True
        tymth = self._tymth
        now = time.monotonic() if tymth is None else tymth()
        return self._queue(Letter(memo, dst, vid, key, size, now))

    def slip(self, memo: str, dst: Any) -> bool:
        """Send a short memo at once, past the queues; False when it has not left.

        It has not when anything waits for anybody, when there is no room, and when it takes more
        than a plain gram: queue it then.
        """
        outboxes, data = self._outboxes, memo.encode()
        if (
            outboxes.depth
            or not self.opened
            or self._code != "bAAA"
            or self._curt
            or len(data) > self._size - 32
            or type(self).rend is not Memoer.rend
        ):
            return False
        try:
            if not self.send(SOLE + self.makeMID().encode() + data, dst):
                return False
        except OSError:
            return False
        outboxes.sent += 1
        return True

    def gramit(self, gram: bytes, dst: Any) -> bool:
        """Queue a ready gram; True when queued, False when refused and counted."""
        letter = Letter(None, dst, None, None, len(gram), self.now())
        letter.grams = [bytes(gram)]
        return self._queue(letter)

    def _queue(self, letter: Letter) -> bool:
        """Queue a letter, or count why not."""
        reason = self._outboxes.put(letter) if letter.dst else "no-address"
        if reason:
            return self._refuse(letter.memo, letter.dst, reason)
        if self.waker is not None:
            self.waker()
        return True

    def _replace(self, memo: str, dst: Any, vid: str | None, key: Any, size: int) -> bool:
        """Put a memo in the place of the queued one of its key; False when there is none."""
        queued = self._outboxes.replaceable(dst, key, size)
        if queued is None:
            return False
        queued.memo, queued.vid, queued.at = memo, vid, self.now()
        if queued.grams is not None:
            self._cut(queued)
        return True

    def forget(self, dst: Any, reason: str = "forgotten") -> int:
        """Give up all that waits for ``dst``; return how many memos that were."""
        return self._outboxes.forget(dst, reason, self)

    def retry(self, dst: Any) -> None:
        """Try ``dst`` anew at the next service, whatever was awaited there: it lives again."""
        self._outboxes.retry(dst, self)

    def _refuse(self, memo: str | None, dst: Any, reason: str) -> bool:
        """Count a memo that is not queued."""
        self.dead(memo, dst, reason)
        return False

    def dead(self, memo: str | None, dst: Any, reason: str) -> None:
        """Count a memo refused or given up, and tell the hook."""
        self.deads[reason] = self.deads.get(reason, 0) + 1
        self.onDead(memo, dst, reason)

    def onDead(self, memo: str | None, dst: Any, reason: str) -> None:
        """Override to hear of each memo refused or given up; None for a bare gram.

        Reasons are short names, or an errno's such as ``EMSGSIZE``.  Must not raise; may queue.
        """

    @classmethod
    def makeMID(cls, code: str = "0A") -> str:
        """Return a new memo id: ``code`` and 22 characters that stand for 16 bytes."""
        return code + MIDS.take()

    # hio's users make and read their keys with these.
    _encodeVID = staticmethod(signing.encodeVID)
    _encodeQVK = staticmethod(signing.encodeQVK)
    _encodeQSS = staticmethod(signing.encodeQSS)
    _encodeSGN = staticmethod(signing.encodeSGN)
    _decodeVID = staticmethod(signing.decodeVID)
    _decodeQVK = staticmethod(signing.decodeQVK)
    _decodeQSS = staticmethod(signing.decodeQSS)
    _decodeSGN = staticmethod(signing.decodeSGN)

    def sign(self, vid: str, ser: bytes) -> bytes:
        """Return the signature of ``vid`` over ``ser``, in text form.

        Raises:
            MemoerError: the keep has no key for ``vid``, or PyNaCl is not installed.
        """
        return signing.sign(vid, ser, self._keep)

    def rend(self, memo: str, vid: str | None = None) -> list[bytes]:
        """Return the grams of ``memo`` under a new id; none for an empty memo.

        Raises:
            MemoerError: it needs too many grams, or cannot be signed.
        """
        data, code, curt = memo.encode(), self._code, self._curt
        mid = self.makeMID().encode()
        if code not in self.Audex:
            return cut(data, mid, code, self._size, curt=curt)
        who = vid or self._vid
        if not who:
            raise MemoerError(f"grams of code {code} are signed: say by whom with vid")
        grams = cut(data, mid, code, self._size, curt=curt, vid=who.encode())
        sigs = [self.sign(who, gram) for gram in grams]
        return [gram + (unb64(sig) if curt else sig) for gram, sig in zip(grams, sigs, strict=True)]

    def cut(self, letter: Letter) -> str:
        """Cut a queued memo; return "" or the reason why that is not possible.

        The usual memo is one plain gram and goes the short way.  A long plain one is left where it
        is, each gram a header and a view of its bytes.
        """
        code, size, curt = self._code, self._size, self._curt
        signed = code in self.Audex
        try:
            if signed or type(self).rend is not Memoer.rend:
                letter.grams = self.rend(letter.memo or "", letter.vid)
                return ""
            data, mid = (letter.memo or "").encode(), self.makeMID().encode()
            if code == "bAAA" and not curt and letter.size <= BIG and letter.size + 32 <= size:
                letter.grams = [SOLE + mid + data]
            elif letter.size < BIG:
                letter.grams = cut(data, mid, code, size, curt=curt)
            else:
                letter.grams = split(data, mid, code, min(size, self._fit), curt=curt)
        except MemoerError:
            return "unsigned" if signed else "uncut"
        return ""

    def _cut(self, letter: Letter) -> None:
        """Cut a queued memo; one that cannot be is dead."""
        reason = self.cut(letter)
        if reason:
            self._outboxes.kill(letter, reason, self)

    def send(self, gram: bytes, dst: Any, *, echoic: bool = False) -> int:
        """Send one gram: bytes sent, or 0 for no room.

        ``lull`` then says where there is none: EAGAIN at the destination, ENOBUFS here because
        of what others have not read, ENOMEM in the system.

        Raises:
            OSError: it cannot be sent there.
        """
        if echoic or self._echoic:
            self.echos.append((gram, dst))
        return len(gram)

    def sendParts(self, parts: Part, dst: Any) -> int:
        """Send a gram whose header and body are apart; as ``send`` otherwise."""
        return self.send(b"".join(parts), dst)

    def awaitRoom(self, dst: Any) -> int:  # noqa: ARG002 - a transport's to use
        """Begin to await room, None means here: 0, or an errno; this base can only try again."""
        return errno.EOPNOTSUPP

    def unread(self) -> int:
        """Return the bytes of send buffer that nobody has read yet; this base has none."""
        return 0

    def endRoom(self, dst: Any) -> None:
        """Stop awaiting room at ``dst``."""

    def roomy(self) -> Iterable[Any]:
        """Return the awaited destinations that have room."""
        return ()

    def serviceTxMemosOnce(self) -> None:
        """Cut at most one queued memo."""
        uncut = self._outboxes.uncut
        if uncut:
            letter = next(iter(uncut))
            del uncut[letter]
            self._cut(letter)

    def serviceTxMemos(self) -> None:
        """Cut all queued memos."""
        outboxes = self._outboxes
        while outboxes.uncut:  # whoever hears of a dead letter may queue another
            letters, outboxes.uncut = outboxes.uncut, {}
            for letter in letters:
                if letter.grams is None:
                    self._cut(letter)

    def serviceTxGramsOnce(self, *, echoic: bool = False) -> None:
        """Send at most one gram."""
        self._pump(1, echoic=echoic)

    def serviceTxGrams(self, *, echoic: bool = False) -> None:
        """Send grams until none is left or taken; what is not taken stays."""
        self._pump(math.inf, echoic=echoic)

    def _pump(self, most: float, *, echoic: bool, cutting: bool = False) -> None:
        """Send at most so many grams; with ``cutting``, of memos not yet cut, too."""
        if not self.opened or not self._outboxes.depth:
            return
        was, self._echoic = self._echoic, self._echoic or echoic
        try:
            self._outboxes.pump(self.now(), self, most, cutting=cutting)
        finally:
            self._echoic = was

    def serviceAllTxOnce(self) -> None:
        """Cut one memo, send one gram."""
        self.serviceTxMemosOnce()
        self.serviceTxGramsOnce(echoic=self._echoic)

    def serviceAllTx(self) -> None:
        """Send all, each memo cut when its turn has come; those that must wait stay uncut."""
        self._pump(math.inf, echoic=self._echoic, cutting=True)

    # ------------------------------------------------------------------ service

    def serviceLocal(self) -> None:
        """Receive, look at timers, send: no fusing, no cutting."""
        self.serviceReceives(echoic=self._echoic)
        self.serviceTymers()
        self.serviceTxGrams(echoic=self._echoic)

    def serviceAllOnce(self) -> None:
        """One of each, receiving first."""
        self.serviceAllRxOnce()
        self.serviceAllTxOnce()

    def serviceAll(self) -> None:
        """Receive, fuse, handle, timers, cut, send: an answer leaves in the same call."""
        self.serviceAllRx()
        self.serviceAllTx()

    def service(self) -> None:
        """As ``serviceAll``."""
        self.serviceAll()


def _given(value: Any, default: Any) -> Any:
    """Return ``value``, or the default for None; 0 is a value."""
    return default if value is None else value


def _buffer(bc: int | None, bs: int | None, gram: int, default: int) -> int:
    """Return the buffer size in bytes that a count or a size asks for."""
    if bc is not None:
        return bc * gram
    return default if bs is None else bs


@contextmanager
def openMemoer(cls: type[Memoer] | None = None, name: str = "test", **kwa: Any) -> Iterator[Memoer]:
    """Give an opened memoer and close it afterwards."""
    memoer = (cls or Memoer)(name=name, **kwa)
    memoer.reopen()
    try:
        yield memoer
    finally:
        memoer.close()


class AuthMemoer(Memoer):
    """A Memoer that signs what it sends and takes only what is signed."""

    def __init__(self, *, code: str = "bAAC", authic: bool = True, **kwa: Any) -> None:
        super().__init__(code=code, authic=authic, **kwa)


@contextmanager
def openAM(
    cls: type[AuthMemoer] | None = None, name: str = "test", **kwa: Any
) -> Iterator[AuthMemoer]:
    """Give an opened signing memoer and close it afterwards."""
    with openMemoer(cls or AuthMemoer, name, **kwa) as memoer:
        assert isinstance(memoer, AuthMemoer)  # noqa: S101 - for the type checker
        yield memoer


class MemoerDoer(Doer):
    """Runs a memoer: opens it, services it whenever it has work, closes it.

    Attributes:
        peer: the memoer.
    """

    def __init__(self, peer: Memoer, **kwa: Any) -> None:
        super().__init__(**kwa)
        self.peer = peer

    def fds(self) -> tuple[int, ...]:
        """Return what the memoer waits for."""
        return self.peer.fds()

    def wind(self, tymth: Callable[[], float]) -> None:
        """Wind the memoer too."""
        super().wind(tymth)
        self.peer.wind(tymth)

    def enter(self, *, temp: bool | None = None) -> None:  # noqa: ARG002 - a transport's to use
        """Open, and run whenever something is queued."""
        self.peer.reopen()
        self.peer.waker = self.wake

    def recur(self, tyme: float) -> bool:  # noqa: ARG002 - the memoer is wound
        """Service; never done by itself."""
        self.peer.service()
        self.wake(at=self.peer.dueAt())
        return False

    def exit(self) -> None:
        """Close."""
        self.peer.waker = None
        self.peer.close(clear=True)


class AuthMemoerDoer(MemoerDoer):
    """Runs a signing memoer."""
