"""Which of a scheduler's generators are due at a tyme, and in which order they run and close.

Decides that by each one's retyme, kept in rows of equal retyme, so that a pass costs what is due
and not what is there.  Leaves to ``doing`` what entering and closing a Doer means to its
scheduler, and to ``waiting`` how real time passes in between.  Invariant: a live Deed whose
retyme is finite is in the Row of its retyme, once; a Row is in its schedule, except while a pass
runs it.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from heapq import heappop, heappush
from math import floor, inf, nan
from operator import attrgetter
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

_by_seq = attrgetter("seq")

_SHOWN = 60
"""Letters shown of a text that was yielded."""


class Pacer(Protocol):
    """What a pass in real time asks of the Doist that paces it.

    Attributes:
        edge: retyme up to which a Deed is due: tyme, and a little for sums that came out above it.
    """

    edge: float

    def watch(self, deed: Deed) -> bool:
        """Await what the Deed's Doer waits for; return whether there is anything."""


class Row:
    """Deeds of one schedule that are due at the same tyme.

    Attributes:
        retyme: that tyme in seconds.
        deeds: in order of entering unless ``mixed``; replaced, not changed, while a pass uses it.
        sends: their generators' ``send``; None when it must be made anew.
        asked: what the first of them yielded last, a guess at what all will yield.
        mixed: the order may not be that of entering.
        special: one of them may be special, so each must be looked at.
    """

    __slots__ = ("asked", "deeds", "mixed", "retyme", "sends", "special")

    def __init__(self, retyme: float, asked: Any) -> None:
        self.retyme = retyme
        self.deeds: list[Deed] = []
        self.sends: list[Callable[[float], Any]] | None = None
        self.asked = asked
        self.mixed = False
        self.special = False


class Deed:
    """One scheduled generator; reads like hio's tuple ``(dog, retyme, doer)``.

    Attributes:
        dog: the generator.
        doer: what made the generator: a Doer, or a doified function or method.
        seq: place in the order of entering.
        home: the Deeds it is scheduled in.
        row: the Row of its retyme; None while it sleeps, and when it is off the schedule.
        fds: asks the Doer for the descriptors it waits for; None when it waits for none.
        nest: asks a DoDoer that need not run when none of its own does for its Deeds, else None.
        at: tyme of its own deadline, off its retyme; ``math.inf`` for none.
        woken: it is to run in the coming pass, due or not.
    """

    __slots__ = ("at", "doer", "dog", "fds", "home", "nest", "row", "send", "seq", "woken")

    def __init__(
        self,
        dog: Generator[Any, Any, Any],
        doer: Any,
        *,
        fds: Callable[[], Iterable[Any]] | None = None,
    ) -> None:
        self.dog = dog
        self.doer = doer
        self.send = dog.send
        self.seq = 0
        self.home: Deeds | None = None
        self.row: Row | None = None
        self.fds = fds
        self.nest: Callable[[], Deeds] | None = None
        self.at = inf
        self.woken = False

    @property
    def retyme(self) -> float:
        """Tyme at which it is due, in seconds; ``math.inf`` while it sleeps."""
        return inf if self.row is None else self.row.retyme

    def __iter__(self) -> Iterator[Any]:
        return iter((self.dog, self.retyme, self.doer))

    def __getitem__(self, index: Any) -> Any:
        return (self.dog, self.retyme, self.doer)[index]

    def __len__(self) -> int:
        return 3

    def __repr__(self) -> str:
        return f"Deed(dog={self.dog!r}, retyme={self.retyme!r}, doer={self.doer!r})"


def titleOf(doer: Any) -> str:
    """Name a Doer in a sentence: its class, or the function it is."""
    title: str = getattr(doer, "__qualname__", type(doer).__qualname__)
    return title


def refuse(deed: Deed, asked: Any) -> NoReturn:
    """Let a Deed raise, at its yield, that what it yielded is no number.

    Raises:
        BaseException: what came out of it then; the TypeError when it went on nevertheless.
    """
    if isinstance(asked, str):
        what, hint = repr(asked[:_SHOWN]), ""
    else:
        what = f"a {type(asked).__name__}"
        hint = " (yield from?)" if isinstance(asked, GeneratorType) else ""
    fault = TypeError(f"{titleOf(deed.doer)} yielded {what} where a number of seconds is due{hint}")
    fault.__cause__ = None  # how it was found is nothing to read
    with suppress(StopIteration):
        deed.dog.throw(fault)
    raise fault


class _UnfitError(Exception):
    """What was yielded is no number."""


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
        onEnd: called with each Deed that is over, and whether it ended by itself; or None.
        roused: those to run in the coming pass, due or not.
        doomed: those removed while they were running: they are closed when the pass is over.
        keys: the retymes of its Rows, a heap; not for changing.
    """

    __slots__ = (
        "_broke",
        "_edge",
        "_last",
        "_pacer",
        "_rows",
        "_soon",
        "_tyme",
        "doomed",
        "keys",
        "onEnd",
        "owner",
        "roused",
    )

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
        self.doomed: list[Deed] = []
        self._rows: dict[float, Row] = {}
        self.keys: list[float] = []
        self._last = 0
        self._broke = 0  # place of the one that left a pass in artificial tyme by an exception
        self._tyme = self._soon = self._edge = 0.0  # of the pass
        self._pacer: Pacer | None = None
        self.extend(deeds)

    # As a deque

    def append(self, deed: Any) -> None:
        """Schedule a plain ``(dog, retyme, doer)`` after all others."""
        dog, retyme, doer = deed
        if dog is not None:  # as in hio's end-of-pass marker: no pass here needs one
            self.add(deed if isinstance(deed, Deed) else Deed(dog, doer), retyme)

    def extend(self, deeds: Iterable[Any]) -> None:
        """Schedule several, in their order."""
        for deed in deeds:
            self.append(deed)

    def pop(self) -> Deed:  # type: ignore[override]  # what is in here are Deeds
        """Unschedule and return the one entered last."""
        return self._taken(super().pop())

    def popleft(self) -> Deed:
        """Unschedule and return the one entered first."""
        return self._taken(super().popleft())

    def remove(self, deed: Any) -> None:
        """Unschedule a Deed.

        Raises:
            ValueError: it is not in here.
        """
        super().remove(deed)
        self._unschedule(deed)

    def clear(self) -> None:
        """Unschedule all, closing none."""
        for deed in self:
            deed.row = None
            deed.woken = False
        super().clear()
        self.roused.clear()
        self._rows.clear()
        self.keys.clear()

    # As a schedule

    def add(self, deed: Deed, retyme: float) -> None:
        """Schedule a Deed after all others, due at ``retyme``."""
        self._last += 1
        deed.seq = self._last
        deed.home = self
        super().append(deed)
        self._place(deed, retyme, 0.0)

    def next(self) -> float:
        """Return the earliest retyme; ``math.inf`` when nothing is due by itself."""
        keys = self.keys
        while keys:
            key = keys[0]
            if self._rows[key].deeds:
                return key
            del self._rows[heappop(keys)]  # all of them were removed or put to sleep
        return inf

    def rouse(self, deed: Deed) -> None:
        """Let a Deed run in the coming pass whatever its retyme."""
        if not deed.woken:
            deed.woken = True
            self.roused.append(deed)

    def run(
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
        self._broke = 0
        self._tyme = tyme
        self._soon = soon
        self._pacer = pacer
        self._edge = edge = tyme if pacer is None else pacer.edge
        keys = self.keys
        row = None
        if not woken and keys and keys[0] <= edge:
            row = self._rows.pop(heappop(keys))
        try:
            if self.roused or (keys and keys[0] <= edge and not woken):
                self._mingle(row)
            elif row is not None:
                self._march(row)
        finally:
            if self.doomed:
                self.closeDoomed()

    def runOnly(self, tyme: float, soon: float) -> bool:
        """Run in artificial tyme the one Row there is, if each of its Deeds is plain.

        What ``run`` does then, in fewer steps; False when it is not so, and nothing has run.
        """
        keys, rows = self.keys, self._rows
        if len(keys) != 1 or self.roused or self.doomed:
            return False
        retyme = keys[0]
        row = rows[retyme]
        deeds, sends, asked = row.deeds, row.sends, row.asked
        if sends is None or row.special or row.mixed or not deeds:
            return False
        self._broke = 0
        if retyme > tyme:
            return True
        keys.clear()
        rows.clear()
        got: Any
        send = sends[0]
        try:
            try:
                for send in sends:
                    if (got := send(tyme)) != asked:
                        break
                else:
                    retyme = retyme + asked if asked else soon
                    if row.deeds is deeds and not keys and retyme < inf:
                        row.retyme = retyme
                        rows[retyme] = row
                        keys.append(retyme)
                    else:
                        self._carry(row, deeds, retyme)
                    return True
            except BaseException as ex:  # noqa: BLE001 - resume raises it again, all but StopIteration
                got = ex
            self.resume(row, deeds, sends.index(send), got, tyme, soon)
        finally:
            if self.doomed:
                self.closeDoomed()
        return True

    def only(self, tyme: float) -> Row | None:
        """Take out the one Row there is, if it is due and each of its Deeds is plain.

        Whoever takes it runs it and gives it back with ``restore`` or ``resume``; until then
        ``keys`` are empty unless something has been scheduled meanwhile.
        """
        if len(self.keys) != 1 or self.roused or self.keys[0] > tyme:
            return None
        row = self._rows[self.keys[0]]
        if row.special or row.mixed or not row.deeds:
            return None
        self.keys.clear()
        self._rows.clear()
        return row

    def restore(self, row: Row, deeds: list[Deed]) -> None:
        """Put back a Row with the retyme it has; ``deeds`` is what it had when taken."""
        self._carry(row, deeds, row.retyme)

    def resume(
        self, row: Row, deeds: list[Deed], index: int, got: Any, tyme: float, soon: float
    ) -> None:
        """Finish a pass in artificial tyme over a Row that was taken out with ``only``.

        Parameters:
            row: what was taken.
            deeds: what it had when taken.
            index: of the Deed that did not yield what was guessed.
            got: what it yielded, or the exception that came out of it.
            tyme: of the pass, in seconds.
            soon: retyme of one that yields a falsy tock, in seconds.
        """
        self._tyme = self._edge = tyme
        self._soon = soon
        self._pacer = None
        self._resume(row, deeds, index, got)

    def closeAll(self) -> None:
        """Close all, the last entered first, whatever any of them raises while closing.

        When an exception left a pass in artificial tyme, those that had run in it come first, as
        with hio 0.7.20.

        Raises:
            BaseException: as ``closeEach`` does.
        """
        leaving = sorted(self, key=lambda deed: deed.seq < self._broke) if self._broke else [*self]
        self._broke = 0
        self.clear()
        closeEach(leaving, self.onEnd)

    def closeDoomed(self) -> None:
        """Close those that were running when they were removed.

        Raises:
            BaseException: as ``closeEach`` does.
        """
        doomed, self.doomed = self.doomed, []
        closeEach(doomed, self.onEnd)

    # A pass

    def _mingle(self, row: Row | None) -> None:
        """Run several Rows, the first of them taken out already, and what is roused, as one."""
        roused, self.roused = self.roused, []
        due = {*roused}
        if row is not None:
            due.update(row.deeds)
            while self.keys and self.keys[0] <= self._edge:
                due.update(self._rows.pop(heappop(self.keys)).deeds)
        try:
            self._walk(sorted(due, key=_by_seq))
        finally:
            for deed in roused:
                deed.woken = False
            for deed in self.roused:  # kept from running by an exception
                deed.woken = True

    def _march(self, row: Row) -> None:
        """Run a Row; as long as each yields what was guessed, the Row stays one."""
        if row.mixed:
            row.deeds.sort(key=_by_seq)
            row.sends = None
            row.mixed = False
        deeds = row.deeds
        if row.special or not deeds:
            self._walk(deeds)
            return
        sends = row.sends
        if sends is None:
            sends = row.sends = [deed.send for deed in deeds]
        tyme = self._tyme
        asked = row.asked
        got: Any
        send = sends[0]
        try:
            for send in sends:
                if (got := send(tyme)) != asked:
                    break
            else:
                self._carry(row, deeds, self._after(row.retyme, asked) if asked else self._soon)
                return
        except BaseException as ex:  # noqa: BLE001 - _resume raises it again, all but StopIteration
            got = ex
        self._resume(row, deeds, sends.index(send), got)

    def _resume(self, row: Row, deeds: list[Deed], index: int, got: Any) -> None:
        """Finish the pass over a Row whose Deed at ``index`` did not yield what was guessed."""
        self._carry(row, deeds[:index], self._after(row.retyme, row.asked))
        deed = deeds[index]
        rest = deeds[index + 1 :]
        if isinstance(got, StopIteration):
            if deed.row is row:  # else one before it removed it
                self._ended(deed, got.value)
        elif isinstance(got, BaseException):
            self._interrupted(deed, rest)
            raise got
        elif deed.row is row:
            try:
                self._settle(deed, got)
            except _UnfitError:
                self._refuse(deed, got, rest)
        self._walk(rest)

    def _walk(self, due: list[Deed]) -> None:
        """Run Deeds one by one, each by its own measure."""
        tyme = self._tyme
        edge = self._edge
        key = nan
        target: Row | None = None
        for index, deed in enumerate(due):
            row = deed.row
            if (row is None or row.retyme > edge) and not deed.woken:
                continue  # removed by one that ran before it in this pass
            try:
                asked = deed.send(tyme)
            except StopIteration as ex:
                self._ended(deed, ex.value)
                continue
            except BaseException:  # whatever it is, the pass is left in order
                self._interrupted(deed, due[index + 1 :])
                raise
            try:
                if deed.woken or row is None or row.special or deed.row is not row:
                    self._settle(deed, asked)
                    continue
                retyme = self._after(row.retyme, asked) if asked else self._soon
            except _UnfitError:
                self._refuse(deed, asked, due[index + 1 :])
            if retyme != key or target is None:
                key = retyme
                target = self._row(retyme, asked)
                if target is None:
                    deed.row = None
                    continue
            deed.row = target
            target.deeds.append(deed)

    def _after(self, retyme: float, asked: Any) -> float:
        """Return the retyme that follows for one that was due at ``retyme`` and yielded.

        Raises:
            _UnfitError: what it yielded is no number.
        """
        if not asked:
            return self._soon
        try:
            retyme += asked
            if retyme > self._edge or self._pacer is None:
                return retyme
        except TypeError:
            raise _UnfitError from None
        if asked <= 0:
            return self._soon
        # It fell behind: its first own step that is still to come, nothing replayed.
        retyme += asked * floor((self._edge - retyme) / asked)
        while retyme <= self._edge:
            ahead = retyme + asked
            if ahead == retyme:  # a tock too small to count at this tyme
                return self._soon
            retyme = ahead
        return retyme

    def _settle(self, deed: Deed, asked: Any) -> None:
        """Decide when a Deed is due next that may be special, or ran off its retyme."""
        if deed in self.doomed:
            return
        pacer = self._pacer
        watching = pacer is not None and deed.fds is not None and pacer.watch(deed)
        before = deed.retyme
        due = before <= self._edge
        if not asked and pacer is not None and deed.nest is not None:
            retyme = deed.nest().next()
            if retyme <= self._edge:
                retyme = self._soon
        elif due or before == inf:
            if asked or not watching:
                retyme = self._after(before if due else self._tyme, asked)
            else:
                retyme = inf
        else:
            retyme = inf if asked == inf else before
        if due and deed.row is not self._rows.get(before):
            deed.row = None  # its Row was taken out for this pass
        elif due or retyme != before:
            self._displace(deed)
        else:
            return
        self._place(deed, retyme, asked)

    def _ended(self, deed: Deed, value: Any) -> None:
        """Take off one that returned."""
        if value is not None:
            setDone(deed.doer, value)
        removed = deed in self.doomed
        if not removed:
            self.remove(deed)
        if self.onEnd is not None:
            self.onEnd(deed, not removed)

    def _refuse(self, deed: Deed, asked: Any, rest: list[Deed]) -> NoReturn:
        """Leave a pass because of what a Deed yielded, as ``refuse`` does."""
        try:
            refuse(deed, asked)
        except BaseException:  # whatever it is, the pass is left in order
            self._interrupted(deed, rest)
            raise

    def _interrupted(self, failed: Deed, rest: list[Deed]) -> None:
        """Put a pass in order that was left by an exception at ``failed``."""
        if self._pacer is None:
            self._broke = failed.seq
        if getattr(failed.dog, "gi_frame", None) is None:
            if failed in self:
                self.remove(failed)
            if self.onEnd is not None:
                self.onEnd(failed, False)
        else:  # a signal's exception beside it: it is still to be closed
            rest = [failed, *rest]
        for deed in rest:
            if deed.row is not None and deed.retyme <= self._edge:
                self._place(deed, deed.retyme, 0.0)
            if deed.woken:
                self.roused.append(deed)

    # Rows

    def _row(self, retyme: float, asked: Any) -> Row | None:
        """Return the Row of ``retyme``; None for one that is never reached."""
        if not retyme < inf:  # infinite, or no number at all
            return None
        row = self._rows.get(retyme)
        if row is None:
            row = self._rows[retyme] = Row(retyme, asked)
            heappush(self.keys, retyme)
        else:
            row.mixed = True
            row.sends = None
        return row

    def _place(self, deed: Deed, retyme: float, asked: Any) -> None:
        """Put a Deed that is in no Row into that of ``retyme``."""
        row = deed.row = self._row(retyme, asked)
        if row is not None:
            row.deeds.append(deed)
            if deed.fds is not None or deed.nest is not None:
                row.special = True

    def _carry(self, row: Row, deeds: list[Deed], retyme: float) -> None:
        """Make Deeds of a Row that was taken out due at ``retyme``, all of them at once."""
        if deeds is row.deeds and retyme < inf and retyme not in self._rows:
            row.retyme = retyme
            self._rows[retyme] = row
            heappush(self.keys, retyme)
            return
        live = [deed for deed in deeds if deed.row is row]
        if not live:
            return
        target = self._row(retyme, row.asked)
        for deed in live:
            deed.row = target
        if target is not None:
            target.deeds += live
            target.sends = None

    def _displace(self, deed: Deed) -> None:
        """Take a Deed out of its Row."""
        row = deed.row
        deed.row = None
        if row is not None and deed in row.deeds:
            row.deeds = [other for other in row.deeds if other is not deed]
            row.sends = None  # an empty Row goes when its tyme comes

    def _taken(self, deed: Deed) -> Deed:
        """Unschedule a Deed; return one like it that a caller may put back."""
        copy = Deed(deed.dog, deed.doer, fds=deed.fds)
        copy.nest = deed.nest
        if deed.row is not None:
            copy.row = Row(deed.row.retyme, deed.row.asked)
        self._unschedule(deed)
        return copy

    def _unschedule(self, deed: Deed) -> None:
        self._displace(deed)
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
        if deed.home is not None:
            deed.home.doomed.append(deed)
        return
    try:
        try:
            value = closeDog(deed.dog)
        except RuntimeError:
            if getattr(deed.dog, "gi_frame", None) is None:  # its own
                raise
            raise RuntimeError(
                f"{titleOf(deed.doer)} yielded when it was told to close; "
                f"it must let GeneratorExit through"
            ) from None
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
