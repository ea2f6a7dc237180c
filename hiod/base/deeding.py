"""Which of a scheduler's generators are due at a tyme, and in which order they run and close.

Decides that by each one's retyme, kept in buckets of equal retyme, so that a pass costs what is
due and not what is there.  Leaves to ``doing`` what entering and closing a Doer means to its
scheduler, and to ``waiting`` how real time passes in between.  Invariant: a live Deed whose
retyme is finite is in the bucket of its retyme, once, except while its own pass is under way.
"""

from __future__ import annotations

import sys
from collections import deque
from heapq import heappop, heappush
from math import floor, inf, nan
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

_by_seq = attrgetter("seq")


class Pacer(Protocol):
    """What a pass in real time asks of the Doist that paces it."""

    def watch(self, deed: Deed) -> bool:
        """Await what the Deed's Doer waits for; return whether there is anything."""


class Deed:
    """One scheduled generator; reads like hio's tuple ``(dog, retyme, doer)``.

    Attributes:
        dog: the generator.
        retyme: tyme at which it is due, in seconds; ``math.inf`` while it sleeps.
        doer: what made the generator: a Doer, or a doified function or method.
        seq: place in the order of entering.
        home: the Deeds it is scheduled in.
        fds: asks the Doer for the descriptors it waits for; None when it waits for none.
        nest: the Deeds of a DoDoer that needs to run only when one of its own does, else None.
        at: tyme of its own deadline, off its retyme; ``math.inf`` for none.
        woken: it is to run in the coming pass, due or not.
        doomed: removed while it was running: it is closed when it yields.
        special: the pass must look closer: it has ``fds``, ``nest`` or is ``doomed``.
    """

    __slots__ = (
        "at",
        "doer",
        "dog",
        "doomed",
        "fds",
        "home",
        "nest",
        "retyme",
        "send",
        "seq",
        "special",
        "woken",
    )

    def __init__(
        self,
        dog: Generator[Any, Any, Any],
        retyme: float,
        doer: Any,
        *,
        fds: Callable[[], Iterable[Any]] | None = None,
    ) -> None:
        self.dog = dog
        self.retyme = retyme
        self.doer = doer
        self.send = dog.send
        self.seq = 0
        self.home: Deeds | None = None
        self.fds = fds
        self.nest: Callable[[], Deeds] | None = None
        self.at = inf
        self.woken = False
        self.doomed = False
        self.special = fds is not None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.dog, self.retyme, self.doer))

    def __getitem__(self, index: Any) -> Any:
        return (self.dog, self.retyme, self.doer)[index]

    def __len__(self) -> int:
        return 3

    def __repr__(self) -> str:
        return f"Deed(dog={self.dog!r}, retyme={self.retyme!r}, doer={self.doer!r})"


def setDone(doer: Any, done: Any) -> None:
    """Set ``done`` of a Doer, of the function underneath when it is a bound method."""
    getattr(doer, "__func__", doer).done = done


def closeDog(dog: Generator[Any, Any, Any]) -> Any:
    """Close a generator and return what it returned, on every Python as since 3.13."""
    if sys.version_info >= (3, 13):
        return dog.close()
    try:
        dog.throw(GeneratorExit)
    except StopIteration as ex:
        return ex.value
    except GeneratorExit:
        return None
    raise RuntimeError(f"generator {dog!r} went on after it was told to close")


class Deeds(deque[Any]):
    """The generators of one scheduler in order of entering, and when each is due.

    A deque of Deeds as hio's users know it, with these differences: it is not rotated by a
    pass, one that has ended is gone at once, and a plain ``(dog, retyme, doer)`` may be appended
    but becomes a Deed.

    Attributes:
        owner: the Doist or DoDoer it belongs to, or None.
        roused: those to run in the coming pass, due or not.
        onEnd: called with each Deed that ended by itself or was closed, or None.
    """

    __slots__ = ("_buckets", "_keys", "_last", "_mixed", "onEnd", "owner", "roused")

    def __init__(
        self,
        deeds: Iterable[Any] = (),
        *,
        owner: Any = None,
        onEnd: Callable[[Deed, bool], None] | None = None,
    ) -> None:
        super().__init__()
        self.owner = owner
        self.onEnd = onEnd
        self.roused: list[Deed] = []
        self._buckets: dict[float, list[Deed]] = {}
        self._keys: list[float] = []  # a heap of the buckets' retymes
        self._mixed: set[float] = set()  # buckets whose order may not be that of entering
        self._last = 0
        self.extend(deeds)

    # As a deque

    def append(self, deed: Any) -> None:
        """Schedule a Deed, or a plain ``(dog, retyme, doer)``, after all others."""
        if not isinstance(deed, Deed):
            dog, retyme, doer = deed
            if dog is None:  # hio's end-of-pass marker: no pass here needs one
                return
            deed = Deed(dog, retyme, doer)
        self._last += 1
        deed.seq = self._last
        deed.home = self
        super().append(deed)
        self._bucket(deed.retyme)(deed)

    def extend(self, deeds: Iterable[Any]) -> None:
        """Schedule several, in their order."""
        for deed in deeds:
            self.append(deed)

    def pop(self) -> Deed:  # type: ignore[override]  # what is in here are Deeds
        """Unschedule and return the one entered last."""
        deed: Deed = super().pop()
        self._unschedule(deed)
        return deed

    def popleft(self) -> Deed:
        """Unschedule and return the one entered first."""
        deed: Deed = super().popleft()
        self._unschedule(deed)
        return deed

    def remove(self, deed: Any) -> None:
        """Unschedule a Deed.

        Raises:
            ValueError: it is not in here.
        """
        super().remove(deed)
        self._unschedule(deed)

    def __delitem__(self, index: SupportsIndex) -> None:  # type: ignore[override]  # no slices
        deed = self[index]
        super().__delitem__(index)
        self._unschedule(deed)

    def clear(self) -> None:
        """Unschedule all, closing none."""
        super().clear()
        self.roused.clear()
        self._buckets.clear()
        self._keys.clear()
        self._mixed.clear()

    # As a schedule

    def next(self) -> float:
        """Return the earliest retyme; ``math.inf`` when nothing is due by itself."""
        keys = self._keys
        while keys:
            key = keys[0]
            if self._buckets[key]:
                return key
            del self._buckets[heappop(keys)]  # all of them were removed or put to sleep
            self._mixed.discard(key)
        return inf

    def move(self, deed: Deed, retyme: float) -> None:
        """Make a Deed due at another tyme."""
        if retyme != deed.retyme:
            self._discard(deed)
            deed.retyme = retyme
            self._bucket(retyme)(deed)

    def run(  # noqa: C901, PLR0912 - the hot path: a call a Deed would cost a third of it
        self,
        tyme: float,
        soon: float,
        pacer: Pacer | None = None,
        *,
        woken: bool = False,
    ) -> None:
        """Run in order of entering what is due at ``tyme`` and what is roused.

        Parameters:
            tyme: what is sent to each, in seconds.
            soon: retyme of one that yields a falsy tock, in seconds.
            pacer: the Doist, when in real time; then a Deed that fell behind skips to its own
                next step, and one that waits for descriptors is not also run by tock.
            woken: only what is roused.

        An exception of one leaves the pass at once; that one is off the schedule, those it kept
        from running are due in the next pass.
        """
        due = [] if woken else self._take(tyme)
        roused = self.roused
        if roused:
            self.roused = []
            due = sorted({*due, *roused}, key=_by_seq)
        key = nan
        put = due.append  # bound before use: nan equals nothing
        pending = iter(due)
        try:
            for deed in pending:
                retyme = deed.retyme
                if retyme > tyme and not deed.woken:
                    continue  # removed by one that ran before it in this pass
                try:
                    asked = deed.send(tyme)
                except StopIteration as ex:
                    self._ended(deed, ex.value)
                    continue
                if deed.special or retyme > tyme:
                    self._settle(deed, asked, tyme, soon, pacer)
                    continue
                if asked:
                    retyme += asked
                    if retyme <= tyme and pacer is not None:
                        retyme = _caughtUp(retyme, asked, tyme, soon)
                else:
                    retyme = soon
                deed.retyme = retyme
                if retyme != key:
                    key = retyme
                    put = self._bucket(retyme)
                put(deed)
        except BaseException:
            self._interrupted(deed, pending, tyme)
            raise
        finally:
            for deed in roused:
                deed.woken = False
            for deed in self.roused:
                deed.woken = True

    def rouse(self, deed: Deed) -> None:
        """Let a Deed run in the coming pass whatever its retyme."""
        if not deed.woken:
            deed.woken = True
            self.roused.append(deed)

    def closeAll(self) -> None:
        """Close all, the last entered first, whatever any of them raises while closing.

        Raises:
            BaseException: as ``closeEach`` does.
        """
        leaving = list(self)
        self.clear()
        closeEach(leaving, self.onEnd)

    def _ended(self, deed: Deed, value: Any) -> None:
        """Take off one that returned."""
        if value is not None:
            setDone(deed.doer, value)
        if not deed.doomed:
            super().remove(deed)
            self._unschedule(deed)
        if self.onEnd is not None:
            self.onEnd(deed, True)

    def _settle(
        self, deed: Deed, asked: Any, tyme: float, soon: float, pacer: Pacer | None
    ) -> None:
        """Decide when a Deed is due next where the pass's own arithmetic does not do."""
        if deed.doomed:
            _close(deed, self.onEnd)
            return
        watching = pacer is not None and deed.fds is not None and pacer.watch(deed)
        due = deed.retyme <= tyme
        if not asked and pacer is not None and deed.nest is not None:
            retyme = deed.nest().next()
            if retyme <= tyme:
                retyme = soon
        elif due or deed.retyme == inf:
            if asked:
                retyme = (deed.retyme if due else tyme) + asked
                if retyme <= tyme and pacer is not None:
                    retyme = _caughtUp(retyme, asked, tyme, soon)
            else:
                retyme = inf if watching else soon
        else:
            retyme = inf if asked == inf else deed.retyme
        if due:
            deed.retyme = retyme
            self._bucket(retyme)(deed)
        else:
            self.move(deed, retyme)

    def _interrupted(self, failed: Deed, pending: Iterator[Deed], tyme: float) -> None:
        """Put a pass in order that was left by an exception of ``failed``."""
        if failed in self:
            super().remove(failed)
            self._unschedule(failed)
        if self.onEnd is not None:
            self.onEnd(failed, False)
        for deed in pending:
            if deed.retyme <= tyme:
                self._bucket(deed.retyme)(deed)
            elif deed.woken:
                self.roused.append(deed)

    def _take(self, tyme: float) -> list[Deed]:
        """Take out all that are due at ``tyme``, in order of entering."""
        keys = self._keys
        if not keys or keys[0] > tyme:
            return []
        buckets = self._buckets
        key = heappop(keys)
        due = buckets.pop(key)
        unsorted = False
        if self._mixed and key in self._mixed:
            self._mixed.remove(key)
            unsorted = True
        while keys and keys[0] <= tyme:
            key = heappop(keys)
            due += buckets.pop(key)
            self._mixed.discard(key)
            unsorted = True
        if unsorted:
            due.sort(key=_by_seq)
        return due

    def _bucket(self, retyme: float) -> Callable[[Deed], None]:
        """Return what puts a Deed into the bucket of ``retyme``."""
        if not retyme < inf:  # infinite, or no number at all
            return _asleep
        bucket = self._buckets.get(retyme)
        if bucket is None:
            bucket = self._buckets[retyme] = []
            heappush(self._keys, retyme)
        else:
            self._mixed.add(retyme)
        return bucket.append

    def _discard(self, deed: Deed) -> None:
        bucket = self._buckets.get(deed.retyme)
        if bucket is not None and deed in bucket:
            bucket.remove(deed)  # an empty bucket goes when its tyme comes

    def _unschedule(self, deed: Deed) -> None:
        self._discard(deed)
        deed.retyme = inf
        if deed.woken:
            deed.woken = False
            if deed in self.roused:
                self.roused.remove(deed)


def closeEach(deeds: list[Deed], onEnd: Callable[[Deed, bool], None] | None) -> None:
    """Close unscheduled Deeds, the last first, whatever any of them raises while closing.

    One that is running (it removed itself) is closed when it yields.

    Raises:
        BaseException: the first that one of them raised, an Exception before a SystemExit or
            KeyboardInterrupt; each other is told in a note on it.
    """
    faults: list[BaseException] = []
    for deed in reversed(deeds):
        try:
            _close(deed, onEnd)
        except BaseException as ex:  # noqa: BLE001 - the fault of one must not keep others open
            faults.append(ex)
    if faults:
        first = next((ex for ex in faults if isinstance(ex, Exception)), faults[0])
        for fault in faults:
            if fault is not first:
                addFault(first, fault)
        raise first


def _close(deed: Deed, onEnd: Callable[[Deed, bool], None] | None) -> None:
    if getattr(deed.dog, "gi_running", False):
        deed.doomed = deed.special = True
        return
    try:
        value = closeDog(deed.dog)
        if value is not None:
            setDone(deed.doer, value)
    finally:
        if onEnd is not None:
            onEnd(deed, False)


def addFault(first: BaseException, other: BaseException) -> None:
    """Tell of ``other``, with its traceback, in a note on ``first``."""
    import traceback  # noqa: PLC0415 - needed only when several things went wrong at once

    text = "".join(traceback.format_exception(other))
    first.add_note(f"while closing, another went wrong too:\n{text}")


def _asleep(deed: Deed) -> None:
    """Keep one that is due never by itself in no bucket."""


def _caughtUp(retyme: float, asked: float, tyme: float, soon: float) -> float:
    """Return the first step after ``tyme`` on the grid of one that fell behind."""
    if asked <= 0:
        return soon
    retyme += asked * floor((tyme - retyme) / asked)
    while retyme <= tyme:
        ahead = retyme + asked
        if ahead == retyme:  # a tock too small to count at this tyme
            return soon
        retyme = ahead
    return retyme
