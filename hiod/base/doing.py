"""Doers, and the Doist that runs them by tyme.

Decides how a Doer's contexts follow each other, what a scheduler does when a Doer is entered,
ends, is removed or raises, and when a Doist in real time makes its next turn.  Leaves the order
and due tymes within a pass to ``deeding`` and the wait itself to ``waiting``: this is the only
place that waits.  Invariant: every Doer whose generator was started is closed, the one entered
last first, whatever happens in between; only in artificial tyme, after an exception in mid-pass,
those that had run in it come first, as with hio.

Where hio 0.7.20 differs: there an exception of one Doer's cease or exit leaves the others open, a
Doer that removes itself in its own recur goes on running, and pacing follows the wall clock.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial, update_wrapper
from heapq import heapify, heappop, heappush
from math import inf
from types import CodeType, FunctionType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, TypeVar

from hiod.base.deeding import (
    Deed,
    Deeds,
    Row,
    addFault,
    closeDog,
    closeEach,
    refuse,
    setDone,
    titleOf,
)
from hiod.base.tyming import Tymee, Tymist
from hiod.base.waiting import Ticks, Timer, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from hiod.base.waiting import HasFileno

__all__ = ["Deed", "Deeds", "DoDoer", "Doer", "Doist", "doify", "doize"]

GENERATES = 0x20
"""Flag of code that makes a generator when it is called."""
ASYNC = 0x80 | 0x200
"""Flags of code that makes a coroutine or an asynchronous generator."""

F = TypeVar("F")


class Doer(Tymee):
    """Runs in six contexts: enter, recur, then clean, cease or abort, then exit.

    Calling an instance makes the generator that a Doist or DoDoer schedules.  Subclasses override
    the contexts; ``recur`` may be a method that returns whether it is done, or a generator method
    ``recur(tock)`` whose return value is ``done``.

    Attributes:
        done: None before the first enter, False from then on, and what ``recur`` returned last.
        opts: keyword arguments for ``do``, given by the scheduler.
        temp: whether ``enter`` is told to use temporary resources whatever the scheduler says.
    """

    _always = False

    def __init__(
        self,
        *,
        tymth: Callable[[], float] | None = None,
        tock: float = 0.0,
        opts: dict[str, Any] | None = None,
        temp: bool | None = False,
        **kwa: Any,
    ) -> None:
        super().__init__(tymth=tymth, **kwa)
        self.done: Any = None
        self.tock = tock
        self.opts: dict[str, Any] = {} if opts is None else opts
        self.temp = temp

    def __call__(self, *pa: Any, **kwa: Any) -> Generator[Any, float, Any]:
        """Return a new generator of ``do``."""
        return self.do(*pa, **kwa)

    @property
    def tock(self) -> float:
        """Seconds of tyme between runs; 0.0 for every cycle, ``math.inf`` for only when woken."""
        return self._tock

    @tock.setter
    def tock(self, tock: float) -> None:
        self._tock = abs(float(tock))

    def do(
        self,
        tymth: Callable[[], float],
        *,
        tock: float = 0.0,
        temp: bool | None = None,
        **opts: Any,  # noqa: ARG002 - hio's signature: an override takes its options here
    ) -> Generator[Any, float, Any]:
        """Go through the contexts; the generator's return value is ``done``."""
        always = self._always
        try:
            self.wind(tymth)
            self.tock = tock
            self.enter(temp=True if temp or self.temp else None)
            if flagsOf(self.recur) & GENERATES:
                self.done = yield from self.recur(tock=self._tock)  # type: ignore[call-arg]
            else:
                while not self.done or always:
                    tyme = yield self._tock
                    try:
                        self.done = self.recur(tyme=tyme)
                    except TypeError as ex:
                        if ex.__traceback__ is not None and ex.__traceback__.tb_next is not None:
                            raise  # from inside it
                        raise TypeError(
                            f"{titleOf(self)}.recur has no yield, so it is called with tyme: {ex}"
                        ) from ex
        except GeneratorExit:
            self.cease()
        except Exception as ex:  # abort is told of any
            self.abort(ex)
            raise
        else:
            self.clean()
        finally:
            self.exit()
        return self.done

    def enter(self, *, temp: bool | None = None) -> None:
        """Set up; ``temp`` True means use temporary resources, None means as you see fit."""

    def recur(self, tyme: float) -> Any:  # noqa: ARG002 - overrides use it
        """Do one step at ``tyme``; return whether all is done."""
        return False

    def clean(self) -> None:
        """Follow an end of its own."""

    def cease(self) -> None:
        """Follow a forced close."""

    def abort(self, ex: Exception) -> None:
        """Follow the exception ``ex``, which is raised again afterwards."""

    def exit(self) -> None:
        """Release what ``enter`` set up; called however it ended."""

    def fds(self) -> Iterable[int | HasFileno]:
        """Return the descriptors whose readability this Doer waits for.

        A Doist in real time asks at enter and after every run, and runs the Doer at once whenever
        one of them is readable; when it yields a falsy tock, at no other time (besides its first
        run).  For writability, or many descriptors, return one epoll descriptor of your own.
        """
        return ()

    def wake(self, at: float | None = None) -> None:
        """Have this Doer run now, or at a tyme: see ``Doist.wake``; nothing while not wound."""
        doist = _doistOf(self._tymth)
        if doist is not None:
            doist.wake(self, at)


class _Runner:
    """What Doist and DoDoer have in common: entering, extending and removing Doers."""

    def _enterAll(
        self,
        deeds: Deeds,
        doers: Iterable[Any],
        tymth: Callable[[], float],
        *,
        temp: bool = False,
    ) -> None:
        """Start each Doer's generator and schedule those that did not end at once.

        As in hio 0.7.20 ``temp`` is true for every Doer after one whose own is true.
        """
        doist = _doistOf(tymth)
        ended: list[Deed] = []
        for doer in doers:
            setDone(doer, False)
            temp = temp or bool(doer.temp)
            dog = doer(tymth=tymth, tock=doer.tock, temp=temp or None, **doer.opts)
            deed = Deed(dog, doer, fds=_fdsOf(doer))
            if not _starts(deed, doist):
                ended.append(deed)
                continue
            deeds.add(deed, tymth())
            if doist is not None:
                doist.watch(deed)
        for deed in ended:
            if deeds.onEnd is not None:
                deeds.onEnd(deed, True)

    def _enterFresh(
        self, deeds: Deeds, doers: Iterable[Any], tymth: Callable[[], float], *, temp: bool
    ) -> Deeds:
        """Enter Doers into Deeds nobody else knows yet, so none stays open when one raises."""
        try:
            self._enterAll(deeds, doers, tymth, temp=temp)
        except BaseException:  # whatever it is, none stays open
            deeds.closeAll()
            raise
        return deeds

    def _extendAll(
        self,
        own: list[Any],
        deeds: Deeds,
        doers: Iterable[Any],
        tymth: Callable[[], float],
    ) -> None:
        """Enter those of ``doers`` that are not in ``own`` and put them at its end."""
        known = {_keyOf(doer) for doer in own}
        new = [doer for doer in doers if _keyOf(doer) not in known]
        self._enterAll(deeds, new, tymth)
        own.extend(new)

    def _removeAll(self, own: list[Any], deeds: Deeds, doers: Iterable[Any]) -> None:
        """Take Doers out of ``own`` and ``deeds`` and close them; unknown ones are passed over.

        Raises:
            BaseException: as ``Deeds.closeAll`` does, when all are closed.
        """
        known = {_keyOf(doer) for doer in own}
        gone = {_keyOf(doer) for doer in doers} & known
        own[:] = [doer for doer in own if _keyOf(doer) not in gone]
        leaving = [deed for deed in deeds if _keyOf(deed.doer) in gone]
        for deed in leaving:
            deeds.remove(deed)
        closeEach(leaving, deeds.onEnd)


class DoDoer(_Runner, Doer):
    """A Doer that runs Doers of its own, on its parent's tyme and when its parent runs it.

    Attributes:
        done: True when none of its Doers is left.
    """

    def __init__(
        self, doers: Iterable[Any] | None = None, always: bool = False, **kwa: Any
    ) -> None:
        super().__init__(**kwa)
        self._doers: list[Any] = [] if doers is None else list(doers)
        self._deeds = Deeds(owner=self, onEnd=self._gone)
        self._always = bool(always)

    @property
    def doers(self) -> list[Any]:
        """The Doers it runs; only a list may be put in its place."""
        return self._doers

    @doers.setter
    def doers(self, doers: list[Any]) -> None:
        if not isinstance(doers, list):
            raise TypeError(f"doers of a DoDoer are a list, got {type(doers).__name__}")
        self._doers = doers

    @property
    def deeds(self) -> deque[Any]:
        """What is scheduled, see ``Deeds``; only a deque may be put in its place."""
        return self._deeds

    @deeds.setter
    def deeds(self, deeds: deque[Any]) -> None:
        if not isinstance(deeds, deque):
            raise TypeError(f"deeds of a DoDoer are a deque, got {type(deeds).__name__}")
        self._deeds = self._own(deeds)

    @property
    def always(self) -> bool:
        """Whether it goes on when none of its Doers is left; counts from the next start."""
        return self._always

    @always.setter
    def always(self, always: bool) -> None:
        self._always = bool(always)

    @property
    def sleepy(self) -> bool:
        """Whether it has nothing to do but its Doers', so need not run when none of them is to."""
        return type(self).recur is DoDoer.recur and type(self).do is DoDoer.do

    def nest(self) -> Deeds:
        """Return its own deeds, for whoever decides when it runs next."""
        return self._deeds

    def do(
        self,
        tymth: Callable[[], float],
        tock: float = 0.0,
        doers: list[Any] | None = None,
        always: bool | None = None,
        *,
        temp: bool | None = None,
        **opts: Any,
    ) -> Generator[Any, float, Any]:
        """Go through the contexts; ``doers`` and ``always`` replace the own when given."""
        if doers is not None:
            self.doers = doers
        if always is not None:
            self.always = always
        return super().do(tymth, tock=tock, temp=temp, **opts)

    def enter(  # type: ignore[override]  # hio's signature: its own Doers' enter takes them
        self, doers: Iterable[Any] | None = None, *, temp: bool | None = None
    ) -> deque[Any]:
        """Start its Doers; with ``doers`` those, into a new deque for ``recur`` and ``exit``."""
        temp = bool(temp or self.temp)
        if doers is not None:
            return self._enterFresh(self._own(()), doers, self._wound(), temp=temp)
        self._enterAll(self._deeds, self._doers, self._wound(), temp=temp)
        return self._deeds

    def recur(self, tyme: float, deeds: deque[Any] | None = None) -> bool:
        """Run what is due at ``tyme``; return whether none is left."""
        own = self._deeds if deeds is None else self._own(deeds)
        doist = _doistOf(self._tymth)
        try:
            own.run(tyme, tyme + self._tock, doist if doist and doist.pacing else None)
        finally:
            if deeds is not None and own is not deeds:
                deeds.clear()
                deeds.extend(own)
        return not own

    def exit(self, deeds: deque[Any] | None = None) -> None:
        """Close all of its Doers, the last entered first, whatever any of them raises.

        Raises:
            BaseException: the first that one of them raised; the others are told in notes on it.
        """
        own = self._deeds if deeds is None else self._own(deeds)
        try:
            own.closeAll()
        finally:
            if deeds is not None:
                deeds.clear()

    def extend(self, doers: Iterable[Any]) -> None:
        """Enter Doers not yet there; they run first in the next turn."""
        self._extendAll(self._doers, self._deeds, doers, self._wound())
        self._stir()

    def remove(self, doers: Iterable[Any]) -> None:
        """Take out Doers and close them; one that is running is closed when it yields."""
        try:
            self._removeAll(self._doers, self._deeds, doers)
        finally:
            self._stir()

    def fds(self) -> Iterable[int | HasFileno]:
        """Return the descriptors all of its Doers wait for.

        A Doist awaits each for the Doer that named it, so that only that one runs.
        """
        return [fd for deed in self._deeds if (asked := _fdsOf(deed.doer)) for fd in asked()]

    def _stir(self) -> None:
        """Look after its own in real time, where it sleeps by what it last knew of them."""
        doist = _doistOf(self._tymth)
        if doist is not None and doist.pacing and self.sleepy:
            doist.wake(self)

    def _wound(self) -> Callable[[], float]:
        if self._tymth is None:
            raise TypeError(
                f"{type(self).__name__} is not wound, so its Doers get no tyme: wind it"
            )
        return self._tymth

    def _own(self, deeds: Iterable[Any]) -> Deeds:
        if isinstance(deeds, Deeds):
            return deeds
        return Deeds(deeds, owner=self, onEnd=self._gone)

    def _gone(self, deed: Deed, ended: bool) -> None:  # noqa: ARG002 - as a Doist is told
        doist = _doistOf(self._tymth)
        if doist is not None:
            doist.unbook(deed)


class Doist(_Runner, Tymist):
    """Runs Doers by tyme, and in real time sleeps until something is true.

    With ``real`` False each ``recur`` is a cycle and moves tyme by one tock, as fast as the
    machine goes.  With ``real`` True ``do`` ties tyme to the monotonic clock: tyme stands at the
    last whole tock passed since the start, cycles in which nothing is due are slept through in
    one wait, and what makes a Doer run besides its retyme is

    * a descriptor it waits for, see ``Doer.fds``;
    * ``wake`` from a Doer, a thread or a signal handler;
    * a deadline it set with ``wake(doer, at=tyme)``.

    Those runs leave a finite retyme alone; when the Doer was asleep, the tock it yields counts
    from now.  A tock of ``math.inf``, its own or yielded, lets it sleep until then.  A Doer that
    fell behind runs once and is due next at its own next step: nothing is replayed.  A DoDoer
    with tock 0 runs when one of its Doers is to, unless it overrides ``recur`` or ``do``.

    While ``do`` runs in real time in the main thread, signals end its wait: it holds the wakeup
    descriptor (``signal.set_wakeup_fd``) and puts the former one back afterwards.

    Attributes:
        name: its name.
        real: whether ``do`` keeps real time.
        limit: seconds of tyme after which ``do`` stops; None or 0 for none.
        done: True when ``do`` ended because all Doers had; False when it was stopped.
        doers: the Doers it runs.
        temp: whether Doers are told to use temporary resources.
        timer: real time since tyme last moved, for one tock.
        cycles: turns made, for heartbeats.
        lag: seconds by which the last turn in real time started later than something was due.
        lagMax: the largest ``lag`` since a reader last set it to 0.0.
        pacing: whether ``do`` is keeping real time at present.
        edge: in real time, tyme and a little for sums of tocks that came out above it.
    """

    def __init__(
        self,
        *,
        name: str = "doist",
        real: bool = False,
        limit: float | None = None,
        doers: Iterable[Any] | None = None,
        temp: bool | None = False,
        clock: Callable[[], float] = time.monotonic,
        waiter: Waiter | None = None,
        **kwa: Any,
    ) -> None:
        super().__init__(**kwa)
        self.name = name
        self.real = real
        self.limit = None if limit is None else abs(float(limit))
        self.done: bool | None = None
        self.doers: list[Any] = [] if doers is None else list(doers)
        self.temp = temp
        self.cycles = 0
        self.lag = 0.0
        self.lagMax = 0.0
        self.timer = Timer(self._tock, clock)
        self._clock = clock
        self._waiter = Waiter() if waiter is None else waiter
        self._deeds = Deeds(owner=self, onEnd=self._gone)
        self._book: dict[Any, Deed] = {}
        self._woken: deque[Any] = deque()
        self._alarms: list[tuple[float, int, Deed]] = []  # a heap; valid where Deed.at agrees
        self._alarmed = 0
        self._halted = False
        self._lean = type(self).recur is Doist.recur and type(self).tick is Tymist.tick
        self.pacing = False
        self._waiting = False
        self.edge = self._tyme
        self._ticks = Ticks(0.0, self._tyme, self._tock)
        self._limit_at = inf
        self._due_at = inf

    def __call__(self, *pa: Any, **kwa: Any) -> None:
        """Do what ``do`` does."""
        self.do(*pa, **kwa)

    @property
    def deeds(self) -> deque[Any]:
        """What is scheduled, see ``Deeds``; another deque may be put in its place."""
        return self._deeds

    @deeds.setter
    def deeds(self, deeds: Iterable[Any]) -> None:
        self._deeds = self._own(deeds)

    # What a program calls

    def do(
        self,
        doers: Iterable[Any] | None = None,
        limit: float | None = None,
        tyme: float | None = None,
        *,
        temp: bool | None = None,
    ) -> None:
        """Enter the Doers, make turns until none is left, ``limit`` or ``halt``, and close them.

        Parameters:
            doers: replace the present ones when given.
            limit: replaces the present one when given; seconds of tyme.
            tyme: replaces the present one when given; seconds.
            temp: True tells Doers to use temporary resources.

        KeyboardInterrupt ends it quietly.  Any other exception is raised again when all Doers are
        closed; what goes wrong in closing after an Exception is told in a note on it.
        """
        self._prepare(doers, limit, tyme)
        first: Exception | None = None
        try:
            if self.real:
                self._waiter.open(signals=True)
                self.pacing = True
            self.enter(temp=temp)
            if self.real:
                self._anchor()
                while not self._halted and self._turn(self._wait()):
                    pass
            else:
                stop = self._tyme + self.limit if self.limit else inf
                while not self._halted and self._cycle(stop):
                    pass
        except KeyboardInterrupt:
            pass
        except Exception as ex:  # remembered, for closing may fail too
            first = ex
            raise
        finally:
            self._finish(first)

    async def ado(
        self,
        doers: Iterable[Any] | None = None,
        limit: float | None = None,
        tyme: float | None = None,
        *,
        temp: bool | None = None,
    ) -> None:
        """Do what ``do`` does inside a running asyncio loop, which turns between the turns.

        Signals are the loop's: a handler added to it may call ``wake`` and ``halt``.
        """
        import asyncio  # noqa: PLC0415 - a hand that never asks for it does not pay for it

        self._prepare(doers, limit, tyme)
        first: Exception | None = None
        try:
            if self.real:
                self._waiter.open(signals=False)
                self.pacing = True
            self.enter(temp=temp)
            if self.real:
                loop = asyncio.get_running_loop()
                self._anchor()
                while not self._halted and self._turn(await self._waitIn(loop)):
                    pass
            else:
                stop = self._tyme + self.limit if self.limit else inf
                while not self._halted and self._cycle(stop):  # noqa: ASYNC110 - fast, beside a loop
                    await asyncio.sleep(0)
        except KeyboardInterrupt:
            pass
        except Exception as ex:  # remembered, for closing may fail too
            first = ex
            raise
        finally:
            self._finish(first)

    def halt(self) -> None:
        """Have ``do`` finish the present turn and close all; ``done`` stays False.

        May be called by a Doer, a thread or a signal handler, also before ``do`` has begun: then
        it makes no turn.
        """
        self._halted = True
        if self._waiting:
            self._waiter.poke()

    def wake(self, doer: Any, at: float | None = None) -> None:
        """Have a Doer of this Doist, or of a DoDoer in it, run off its own retyme.

        Parameters:
            doer: which; one that is not scheduled is passed over.
            at: None for in this turn, at once when asleep, or in the next turn when it has
                already been woken once in this one; safe from threads and signal handlers.
                Otherwise the tyme in seconds at which it is to run, in place of one set before;
                ``math.inf`` clears that.  A tyme is for the Doist's own thread.
        """
        if at is None:
            # First noted, then looked whether anyone waits; _wait does it the other way round.
            self._woken.append(doer)
            if self._waiting:
                self._waiter.poke()
            return
        deed = self._book.get(_keyOf(doer))
        if deed is None or deed.at == at:
            return
        deed.at = at
        if at < inf:
            self._alarmed += 1
            heappush(self._alarms, (at, self._alarmed, deed))
            if len(self._alarms) > 64 + 2 * len(self._book):
                self._alarms[:] = [alarm for alarm in self._alarms if alarm[2].at == alarm[0]]
                heapify(self._alarms)

    def ended(self, doer: Any) -> None:
        """Follow the end of a Doer that ended by itself; it is off the schedule already.

        Does nothing; for subclasses.  Doers of a DoDoer are not told of.
        """

    # The contexts, for a program that makes its own loop

    def enter(self, doers: Iterable[Any] | None = None, *, temp: bool | None = None) -> deque[Any]:
        """Start Doers and return what is scheduled of them.

        Without ``doers`` the own ones, into the own deeds; with ``doers`` those, into a new deque
        for ``recur`` and ``exit``.
        """
        temp = bool(temp or self.temp)
        if doers is not None:
            return self._enterFresh(self._own(()), doers, self.tymen(), temp=temp)
        self._enterAll(self._deeds, self.doers, self.tymen(), temp=temp)
        return self._deeds

    def recur(self, deeds: deque[Any] | None = None) -> None:
        """Run what is due at the present tyme, then move tyme by a tock.

        In ``do`` with ``real`` tyme is not moved here: it follows the clock.
        """
        self.cycles += 1
        if self._woken:
            self._rouseWoken()
        if self._alarms and self._alarms[0][0] <= self._tyme:
            self._ring()
        if deeds is None and not self.pacing:
            tyme = self._tyme
            if self._deeds.runOnly(tyme, tyme + self._tock):
                if self._woken:
                    self._follow(self._deeds)
                self.tick()
                return
        own = self._deeds if deeds is None else self._own(deeds)
        try:
            if self.pacing:
                own.run(self._tyme, self._ticks.soon, self)
            else:
                own.run(self._tyme, self._tyme + self._tock)
            if self._woken:
                self._follow(own)
        finally:
            if deeds is not None and own is not deeds:
                deeds.clear()
                deeds.extend(own)
        if not self.pacing:
            self.tick()

    def exit(self, deeds: deque[Any] | None = None) -> None:
        """Close all, the last entered first, whatever any of them raises.

        Raises:
            BaseException: the first that one of them raised; the others are told in notes on it.
        """
        own = self._deeds if deeds is None else self._own(deeds)
        try:
            own.closeAll()
        finally:
            if deeds is not None:
                deeds.clear()

    def extend(self, doers: Iterable[Any]) -> None:
        """Enter Doers not yet there; they run first in the next turn."""
        self._extendAll(self.doers, self._deeds, doers, self.tymen())

    def remove(self, doers: Iterable[Any]) -> None:
        """Take out Doers and close them; one that is running is closed when it yields."""
        self._removeAll(self.doers, self._deeds, doers)

    # What its Doers' schedules call

    def watch(self, deed: Deed) -> bool:
        """Await what the Deed's Doer waits for; return whether there is anything."""
        if deed.fds is None or not self.pacing:
            return False
        return self._waiter.watch(deed, deed.fds())

    def book(self, deed: Deed) -> None:
        """Know a Deed by its Doer, its own or a DoDoer's."""
        self._book[_keyOf(deed.doer)] = deed

    def unbook(self, deed: Deed) -> None:
        """Know nothing of a Deed any more."""
        deed.at = inf
        key = _keyOf(deed.doer)
        if self._book.get(key) is deed:
            del self._book[key]
        if deed.fds is not None and self.pacing:
            self._waiter.forget(deed)

    def _gone(self, deed: Deed, ended: bool) -> None:
        self.unbook(deed)
        if ended:
            self.ended(deed.doer)

    def _own(self, deeds: Iterable[Any]) -> Deeds:
        if isinstance(deeds, Deeds):
            return deeds
        return Deeds(deeds, owner=self, onEnd=self._gone)

    # Turns

    def _prepare(
        self, doers: Iterable[Any] | None, limit: float | None, tyme: float | None
    ) -> None:
        self.done = False
        if doers is not None:
            self.doers = list(doers)
            self._deeds.clear()
        if limit is not None:
            self.limit = abs(float(limit))
        if tyme is not None:
            self.tyme = tyme

    def _finish(self, first: Exception | None) -> None:
        try:
            self.exit()
        except Exception as ex:  # told with the first, whatever it is
            if first is None:
                raise
            addFault(first, ex)
        finally:
            self._halted = False
            if self.real:
                self.pacing = False
                self._waiter.close()

    def _cycle(self, stop: float) -> bool:
        """Make a cycle of artificial tyme, or several; return whether there is to be another."""
        if self._lean:
            self._spin(stop)
        else:
            self.recur()
        if not self._deeds:
            self.done = True
            return False
        return self._tyme < stop

    def _spin(self, stop: float) -> None:
        """Make cycles as ``recur`` does, as long as nothing is there to be decided.

        That is: all Doers are due in every cycle and yield what they yielded before, and nobody is
        woken, added, removed or has a deadline.
        """
        own = self._deeds
        row = None if self._woken or self._alarms else own.only(self._tyme)
        if row is None:
            self.recur()
            return
        try:
            self._spinRow(own, row, stop)
        finally:
            if own.doomed:
                own.closeDoomed()

    def _spinRow(self, own: Deeds, row: Row, stop: float) -> None:
        deeds = row.deeds
        sends = row.sends
        if sends is None:
            sends = row.sends = [deed.send for deed in deeds]
        asked = row.asked
        keys, woken, alarms = own.keys, self._woken, self._alarms
        got: Any
        send = sends[0]
        while True:
            self.cycles += 1
            tyme = self._tyme
            try:
                for send in sends:
                    if (got := send(tyme)) != asked:
                        break
                else:
                    row.retyme = row.retyme + asked if asked else tyme + self._tock
                    if woken:
                        own.restore(row, deeds)
                        self._follow(own)
                        self.tick()
                        return
                    self._tyme = tyme = self._tyme + self._tock
                    if (
                        tyme < stop
                        and row.retyme <= tyme
                        and row.deeds is deeds
                        and not (keys or alarms or self._halted)
                    ):
                        continue
                    own.restore(row, deeds)
                    return
            except BaseException as ex:  # noqa: BLE001 - resume raises it again, all but StopIteration
                got = ex
            break
        own.resume(row, deeds, sends.index(send), got, tyme, tyme + self._tock)
        if woken:
            self._follow(own)
        self.tick()

    def _turn(self, ready: Iterable[Deed]) -> bool:
        """Make one turn in real time; return whether there is to be another."""
        if self._advance() >= self._limit_at or self._halted:
            return False
        for deed in ready:
            self._rouse(deed)
        self.recur()
        if not self._deeds:
            self.done = True
            return False
        return True

    def _wait(self) -> list[Deed]:
        """Wait until something is true; return whose descriptors are ready."""
        self._waiting = True
        try:
            return self.rest(self._patience())
        finally:
            self._waiting = False

    def rest(self, timeout: float | None) -> list[Deed]:
        """Wait at most ``timeout`` seconds, for ever when None; return whose descriptors are ready.

        For subclasses that have something small to see to meanwhile, without a turn; they return
        early when that takes one.
        """
        return self._waiter.wait(timeout)

    async def _waitIn(self, loop: Any) -> list[Deed]:
        """Wait as ``_wait`` does, while the asyncio loop goes on turning."""
        self._waiting = True
        try:
            timeout = self._patience()
            fd = self._waiter.fileno()
            over = loop.create_future()

            def end() -> None:
                if not over.done():
                    over.set_result(None)

            loop.add_reader(fd, end)
            handle = None if timeout is None else loop.call_later(timeout, end)
            try:
                await over
            finally:
                loop.remove_reader(fd)
                if handle is not None:
                    handle.cancel()
            return self._waiter.wait(0.0)
        finally:
            self._waiting = False

    def _follow(self, own: Deeds) -> None:
        """Run in this turn whom it has woken."""
        self._rouseWoken()
        if own.roused:
            soon = self._ticks.soon if self.pacing else self._tyme + self._tock
            own.run(self._tyme, soon, self if self.pacing else None, woken=True)

    def _rouseWoken(self) -> None:
        woken = self._woken
        while woken:
            deed = self._book.get(_keyOf(woken.popleft()))
            if deed is not None:
                self._rouse(deed)

    def _rouse(self, deed: Deed) -> None:
        """Let a Deed run in the coming turn, and so whatever it is nested in."""
        above: Deed | None = deed
        while above is not None:
            home = above.home
            if home is None:
                return
            home.rouse(above)
            above = None if home.owner is self else self._book.get(_keyOf(home.owner))

    def _ring(self) -> None:
        """Rouse those whose deadline has come."""
        alarms = self._alarms
        while alarms and alarms[0][0] <= self._tyme:
            at, _, deed = heappop(alarms)
            if deed.at == at:
                deed.at = inf
                self._rouse(deed)

    # Pacing

    def _anchor(self) -> None:
        """Begin to count real time here and now."""
        now = self._clock()
        self._limit_at = now + self.limit if self.limit else inf
        self._tie(now)

    def _tie(self, now: float) -> None:
        """Tie the present tyme to ``now``."""
        self._ticks = Ticks(now, self._tyme, self._tock)
        self.edge = self._ticks.edge
        self.timer.start(duration=self._tock, start=now)

    def _patience(self) -> float | None:
        """Return the seconds until the next turn is due; None when nothing is."""
        now = self._clock()
        ticks = self._ticks
        if self._tyme != ticks.tyme or self._tock != ticks.tock:  # a Doer has set them
            self._tie(now)
            ticks = self._ticks
        self._due_at = inf
        due = self._deeds.next()
        if due < inf:
            self._due_at = now if due <= ticks.edge else ticks.moment(due, near=True)
        alarms = self._alarms
        while alarms and alarms[0][2].at != alarms[0][0]:
            heappop(alarms)
        if alarms:
            at = alarms[0][0]
            self._due_at = min(self._due_at, now if at <= self._tyme else ticks.moment(at))
        if self._woken or self._halted or self._deeds.roused:
            return 0.0
        until = min(self._due_at, self._limit_at)
        return None if until == inf else max(0.0, until - now)

    def _advance(self) -> float:
        """Move tyme to the last whole tock passed; return the clock."""
        now = self._clock()
        ticks = self._ticks
        ticks.reach(now)
        if ticks.tyme > self._tyme:
            self._tyme = ticks.tyme
            self.edge = ticks.edge
            self.timer.start(duration=ticks.tock, start=ticks.began)
        self.lag = max(0.0, now - self._due_at)
        self.lagMax = max(self.lagMax, self.lag)
        return now


def doify(
    f: Callable[..., Any],
    *,
    name: str | None = None,
    tock: float = 0.0,
    temp: bool | None = None,
    **opts: Any,
) -> Any:
    """Return an independent copy of a generator function or method that can be run as a Doer.

    Parameters:
        f: ``f(tymth, tock, temp, **opts)``, a generator function or bound method.
        name: of the copy; None keeps that of ``f``.
        tock: seconds of tyme between runs that the scheduler gives to it.
        temp: whether it is told to use temporary resources.
        opts: keyword arguments the scheduler gives to it.

    Raises:
        TypeError: ``f`` is neither a function nor a method.
    """
    inner = f.__func__ if isinstance(f, MethodType) else f
    if not isinstance(inner, FunctionType):
        raise TypeError(f"cannot doify {f!r}: it is neither a function nor a method")
    copy: Any = FunctionType(
        inner.__code__, inner.__globals__, name, inner.__defaults__, inner.__closure__
    )
    update_wrapper(copy, inner)
    copy.__kwdefaults__ = inner.__kwdefaults__
    if name is not None:
        copy.__name__ = name
    _attribute(copy, tock, temp, opts)
    return MethodType(copy, f.__self__) if isinstance(f, MethodType) else copy


def doize(*, tock: float = 0.0, temp: bool | None = None, **opts: Any) -> Callable[[F], F]:
    """Decorate a generator function or method so that it can be run as a Doer itself."""

    def decorate(f: F) -> F:
        _attribute(f, tock, temp, opts)
        return f

    return decorate


def _attribute(f: Any, tock: float, temp: bool | None, opts: dict[str, Any]) -> None:
    f.done = None
    f.tock = tock
    f.temp = temp
    f.opts = opts


def _starts(deed: Deed, doist: Doist | None) -> bool:
    """Advance a Deed to its first yield; return whether it got there and did not end before."""
    if doist is not None:
        doist.book(deed)  # before it starts: it may set its deadline in enter
    try:
        first = next(deed.dog)
        if isinstance(first, GeneratorType):  # all else is passed over, as in hio
            try:
                refuse(deed, first)
            finally:
                closeDog(deed.dog)
    except StopIteration as ex:
        if ex.value is not None:
            setDone(deed.doer, ex.value)
        return False
    except BaseException:  # whatever it is, it is off the books
        if doist is not None:
            doist.unbook(deed)
        raise
    if isinstance(deed.doer, DoDoer) and deed.doer.sleepy:
        deed.nest = deed.doer.nest
    return True


def _doistOf(tymth: Callable[[], float] | None) -> Doist | None:
    tymist = getattr(tymth, "tymist", None)
    return tymist if isinstance(tymist, Doist) else None


def _keyOf(doer: Any) -> Any:
    """Return what tells one Doer from another; a bound method is a new object each time."""
    if isinstance(doer, MethodType):
        return id(doer.__self__), id(doer.__func__)
    return id(doer)


def _fdsOf(doer: Any) -> Callable[[], Iterable[Any]] | None:
    """Return what asks a Doer for its descriptors; None when it can have none of its own."""
    if isinstance(doer, Doer):
        return None if type(doer).fds in (Doer.fds, DoDoer.fds) else doer.fds
    fds = getattr(doer, "fds", None)
    if fds is None:
        return None
    return fds if callable(fds) else lambda: fds


def flagsOf(method: Any) -> int:
    """Return the flags of a method's code; ``inspect`` would cost each hand half a MiB."""
    while isinstance(method, MethodType | partial):
        method = method.__func__ if isinstance(method, MethodType) else method.func
    code = getattr(method, "__code__", None)
    return code.co_flags if isinstance(code, CodeType) else 0
