"""One hand: from an order to a Doist that runs the user's Doers behind a Crewer.

Decides how an entry of ``doers`` becomes Doers and what a hand's exit code is. Leaves the process
around it to the birth, memos to the Crewer, turns to the Doist. Invariant: what user code raises
becomes last words and an exit code, never a launcher's affair.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import inspect
import os
import sys
import traceback
from math import inf
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

from hiod.base.crewdoms import Bossage, Posting
from hiod.base.doing import Doist, doify
from hiod.base.multidoing import Crewer
from hiod.base.waiting import Waiter
from hiod.core.uxd.peermemoing import PeerMemoer
from hiod.core.uxd.uxding import bindMailbox
from hiod.hand import words
from hiod.host.packets import BAD_START

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from hiod.base.deeding import Deed

_UNCAUGHT = 1
_INTERRUPTED = 130

WARM_BEATS = 40
"""So many heartbeats are said in the launcher: code is specialised when it has run a few times."""

_kept: list[Any] = []


class HandDoist(Doist):
    """The Doist of a hand: it stops when only the Crewer is left of several Doers.

    It sends the Crewer's heartbeats while it rests: a turn for each would cost an idle hand
    several times as much.
    """

    def __init__(self, *, doers: Sequence[Any], **kwa: Any) -> None:
        super().__init__(doers=doers, **kwa)
        self._crewer: Crewer = doers[0]
        self._crewer.beatAside()
        self._phase, self._beat_s = self._crewer.beatAside()
        self._beat_asked = inf  # the tyme by which its Crewer wants the next heartbeat said
        self._beat_tyme = inf  # the tyme at which it is said
        self._beat_due = inf  # that by the clock

    def rest(self, timeout: float | None) -> list[Deed]:
        """Wait, and say each heartbeat when it is due."""
        crewer, wait, clock = self._crewer, self._waiter.wait, self._clock
        at = crewer.asideAt()
        if at == inf:
            return wait(timeout)
        now = clock()
        if at != self._beat_asked:
            self._plan(at, now)
        until = -inf if timeout == 0.0 else min(self._due_at, self._limit_at)
        while True:
            late = now - self._beat_due
            if late >= 0.0:
                self.lagMax = max(self.lagMax, late)
                self.cycles += 1
                at = crewer.sayAside(self._beat_tyme + (late if late >= self._tock else 0.0))
                if at == -inf:  # it takes a turn
                    return wait(0.0)
                if late < self._tock:
                    self._beat_asked = self._beat_tyme = at
                    self._beat_due += self._beat_s
                else:
                    self._plan(at, now)
            due = self._beat_due
            ready = wait(max(0.0, min(until, due) - now))
            if ready or until <= due or self._woken or self._halted:
                return ready
            now = clock()
            if now < due:
                return ready

    def _plan(self, at: float, now: float) -> None:
        """Have the heartbeat that is wanted by this tyme said at the hand's own time before that.

        When that is over already, at the next.
        """
        moment = self._ticks.moment(at)
        early = (moment - self._phase) % self._beat_s
        if moment - early <= now:
            early -= self._beat_s
        self._beat_asked = at
        self._beat_tyme = at - early
        self._beat_due = moment - early

    def ended(self, doer: Any) -> None:
        """Stop after the last Doer besides the Crewer; a hand of only a Crewer goes on."""
        super().ended(doer)
        left = (deed[2] for deed in self.deeds if deed[2] is not doer)
        if all(isinstance(one, Crewer) for one in left):
            self.halt()


class DoersError(Exception):
    """An entry of ``doers`` cannot be used.

    Attributes:
        ref: the entry's ref.
    """

    def __init__(self, ref: str, message: str) -> None:
        self.ref = ref
        super().__init__(message)


class _Rush(Waiter):
    """A waiter for whom time passes at once, with the clock to go by."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def clock(self) -> float:
        """Return the seconds that were to be waited so far."""
        return self._now

    def wait(self, timeout: float | None) -> list[Any]:
        """Return who has something ready now; if nobody has, the time has passed."""
        ready = super().wait(0.0)
        if not ready:
            self._now += timeout or 0.0
        return ready


def warm_up(scratch: str) -> None:
    """In the launcher: live the life of a hand once, so that what it loads and adapts is shared.

    Code that ran here is specialised here and not, page by page, in every hand; and what is
    imported at a first use (a first traceback alone takes half a dozen modules) is there even
    when the package has been deleted from disk.

    Args:
        scratch: beginning of paths for two sockets that exist only meanwhile.
    """
    try:
        _named("hiod:nothing")
    except DoersError as ex:
        "".join(traceback.format_exception(ex))
    boss, addr = f"{scratch}.b", f"{scratch}.h"
    order = {
        "name": "warm",
        "generation": 1,
        "token": "warm",
        "addr": addr,
        "boss": {"name": "boss", "addr": boss, "pid": os.getpid()},
    }
    ack = {"tag": "ACK", "name": "boss", "load": {"tag": "REG", "name": "warm", "addr": addr}}
    book = {"tag": "BOK", "name": "boss", "load": {"boss": boss, "warm": addr}}
    end = {"tag": "END", "name": "boss", "load": {"v": 1, "gen": 1, "seq": 1}}
    speaker = PeerMemoer(name="boss", fd=bindMailbox(boss).detach(), reopen=True)

    def act(tock: float = 0.0, **_: Any) -> Iterator[float]:
        """Play the boss."""
        yield tock
        for memo in (ack, book, *[None] * WARM_BEATS, end):
            if memo is not None:
                speaker.memoit(Crewer.tojson(memo), addr)
            speaker.service()
            yield tock

    try:
        doers = make_doers(order, bindMailbox(addr).detach())
        doers.append(doify(act, tock=doers[0].posting.beat_s))
        rush = _Rush()
        doist = HandDoist(name="warm", real=True, doers=doers, clock=rush.clock, waiter=rush)
        doist.do()
    finally:
        speaker.close()
        for path in (boss, addr):
            os.unlink(path)  # noqa: PTH108 - pathlib is more than a hand needs to load
    # A large buffer that was freed would teach malloc to take the next one from the heap, where
    # it must be cleared: pages of its own for every hand.
    _kept.extend((doist, speaker))


def work(order: Mapping[str, Any], sys_path: Sequence[str], *, mailbox: int, words_fd: int) -> int:
    """Make the doers of an order, run them to their end and return the exit code.

    Args:
        order: what the boss resolved.
        sys_path: where this Python finds its modules, without cwd and PYTHONPATH.
        mailbox: the bound datagram socket, -1 if there is none.
        words_fd: memfd of the last words.
    """
    try:
        sys.path[:] = [*(order.get("path") or ()), *_pythonpath(), *sys_path]
        doers = make_doers(order, mailbox)
        doist = HandDoist(
            name=str(order["name"]),
            tock=float(order.get("tock") or 0.03125),
            real=True,
            limit=order.get("limit_s"),
            doers=doers,
        )
        doist.do()
    except SystemExit as ex:
        return _exit_code(ex)
    # Whatever user code raises is told and becomes an exit code; nothing is left to do after it.
    except BaseException as ex:  # noqa: BLE001 - see above
        if isinstance(ex, DoersError):
            words.say(words_fd, "doers", str(ex), ref=ex.ref, errno=None, path=None)
        words.say_uncaught(
            words_fd,
            ex.__cause__ if isinstance(ex, DoersError) and ex.__cause__ else ex,
            name=str(order["name"]),
            generation=int(order["generation"]),
            journal=_journal(order),
        )
        if isinstance(ex, DoersError):
            return BAD_START
        return _INTERRUPTED if isinstance(ex, KeyboardInterrupt) else _UNCAUGHT
    return 0


def wind_up(code: int) -> NoReturn:
    """End this process as a Python ends: threads, exit callbacks, buffers; no frame goes on."""
    threading = sys.modules.get("threading")
    with contextlib.suppress(Exception):  # a hand that is done ends, whatever its callbacks raise
        if threading is not None:
            threading._shutdown()  # noqa: SLF001 - waits for threads
    with contextlib.suppress(Exception):  # as above
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way to end as Python does
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code & 0xFF)


def make_doers(order: Mapping[str, Any], mailbox: int) -> list[Any]:
    """Return the hand's Doers, its Crewer first.

    Raises:
        DoersError: an entry cannot be imported, called, or gives what is no Doer.
    """
    makers = [_Maker(number, entry) for number, entry in enumerate(order.get("doers") or ())]
    doers: list[Any] = []
    if makers and (makers[0].makes_crewer or not makers[0].takes("crewer")):
        doers = makers.pop(0).make(None)
    if not doers or not isinstance(doers[0], Crewer):
        doers.insert(0, Crewer(name=str(order["name"])))
    crewer = doers[0]
    crewer.assign(posting(order, mailbox))
    for maker in makers:
        doers += maker.make(crewer)
    return doers


def posting(order: Mapping[str, Any], mailbox: int) -> Posting:
    """Return what the Crewer is told of an order."""
    boss = order["boss"]
    return Posting(
        name=str(order["name"]),
        hand=str(order.get("hand") or order["name"]),
        ordinal=order.get("ordinal"),
        generation=int(order["generation"]),
        token=str(order.get("token") or ""),
        addr=str(order["addr"]),
        fd=mailbox if mailbox >= 0 else None,
        boss=Bossage(name=boss["name"], path=boss["addr"]),
        bossPid=boss.get("pid"),
        beat_s=float(order.get("beat_s", 5.0)),
        place=int(order.get("place") or 0),
        readyBy=str(order.get("ready_by") or "register"),
    )


class _Maker:
    """One entry of ``doers``: imported, and asked what it wants to be called with."""

    def __init__(self, number: int, entry: Mapping[str, Any] | str) -> None:
        facts: Mapping[str, Any] = {"ref": entry} if isinstance(entry, str) else entry
        self.ref = str(facts["ref"])
        self._title = f'doers[{number}] "{self.ref}"'
        self._opts = dict(facts.get("opts") or {})
        self._tock = facts.get("tock")
        self._target = _named(self.ref)
        if not callable(self._target):
            raise DoersError(self.ref, f"{self._title} is a {_kind(self._target)}, not callable")

    @property
    def makes_crewer(self) -> bool:
        return isinstance(self._target, type) and issubclass(self._target, Crewer)

    def takes(self, name: str) -> bool:
        """Whether calling the target with this keyword is what its author expects."""
        return any(name in parameters for parameters in _signatures(self._target))

    def make(self, crewer: Crewer | None) -> list[Any]:
        """Return the Doers of this entry."""
        given = dict(self._opts)
        if crewer is not None and self.takes("crewer"):
            given.setdefault("crewer", crewer)
        if inspect.isgeneratorfunction(self._target):
            name = getattr(self._target, "__name__", self.ref)
            return [doify(self._target, name=name, tock=self._tock or 0.0, **given)]
        if self._tock is not None:
            given["tock"] = self._tock
        try:
            made = self._target(**given)
        except Exception as ex:  # whatever user code raises: this entry cannot be made
            message = f"{self._title} cannot be made: {type(ex).__name__}: {ex}"
            raise DoersError(self.ref, message) from ex
        doers = list(made) if isinstance(made, (list, tuple)) else [made]
        for doer in doers:
            if not callable(doer) or not hasattr(doer, "tock"):
                raise DoersError(
                    self.ref,
                    f"{self._title} gives a {_kind(doer)}; a Doer or a list of Doers is needed",
                )
        return doers


def _named(ref: str) -> Any:
    """Import what a ref names.

    Raises:
        DoersError: it cannot be; the cause is what the import raised.
    """
    module, _, path = ref.partition(":")
    try:
        target: Any = importlib.import_module(module)
        for part in path.split("."):
            target = getattr(target, part)
    except Exception as ex:  # whatever a module raises when imported is its author's to read
        raise DoersError(ref, f"{type(ex).__name__}: {ex}") from ex
    return target


def _signatures(target: Callable[..., Any]) -> Iterator[Collection[str]]:
    """Yield a callable's parameters, of a class's parents too while ``**`` passes them on."""
    makers: Sequence[Any] = [target]
    if isinstance(target, type):
        makers = [vars(base)["__init__"] for base in target.__mro__ if "__init__" in vars(base)]
    for maker in makers:
        names, passes_on = _parameters(maker)
        yield names
        if not passes_on:
            return


def _parameters(maker: Any) -> tuple[Collection[str], bool]:
    """Return the names a callable takes, and whether it takes others by ``**``.

    Asked of the code where there is code: inspect would touch a megabyte of what hands share.
    """
    while hasattr(maker, "__wrapped__"):
        maker = maker.__wrapped__
    if isinstance(maker, FunctionType):
        code = maker.__code__
        count = code.co_argcount + code.co_kwonlyargcount
        return code.co_varnames[:count], bool(code.co_flags & inspect.CO_VARKEYWORDS)
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return (), False  # a callable written in C that does not tell
    return tuple(parameters), any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _pythonpath() -> list[str]:
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _journal(order: Mapping[str, Any]) -> str:
    if order.get("log") != "journal":
        return ""
    return str(order.get("journal") or words.JOURNAL)


def _exit_code(ex: SystemExit) -> int:
    """Return the code of a SystemExit as Python gives it; a message goes to stderr."""
    if ex.code is None:
        return 0
    if isinstance(ex.code, int):
        return ex.code
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{ex.code}\n")
    return _UNCAUGHT


def _kind(thing: object) -> str:
    return type(thing).__name__
