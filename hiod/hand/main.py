"""One hand: from an order to a Doist that runs the user's Doers behind a Crewer.

Decides how an entry of ``doers`` becomes Doers and what a hand's exit code is. Leaves the process
around it to the birth and the ending, memos to the Crewer, turns to the Doist. Invariant: what user
code raises becomes last words and an exit code, never a launcher's affair.
"""

from __future__ import annotations

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
from hiod.hand import ending, words
from hiod.host.packets import BAD_START

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from types import ModuleType

    from hiod.base.deeding import Deed

_UNCAUGHT = 1
_INTERRUPTED = 130

WARM_BEATS = 40
"""So many heartbeats are said in the launcher: code is specialised when it has run a few times."""

_ATTRIBUTES = ("tock", "opts", "temp")
"""What a Doist asks of whatever it runs."""

_kept: list[Any] = []


class HandDoist(Doist):
    """The Doist of a hand: it stops when only the Crewer is left of several Doers.

    It sends the Crewer's heartbeats while it rests: a turn for each would cost an idle hand
    several times as much.
    """

    def __init__(self, *, doers: Sequence[Any], **kwa: Any) -> None:
        super().__init__(doers=doers, **kwa)
        self._crewer: Crewer = doers[0]
        self._phase, self._beat_s = self._crewer.beatAside()
        self._beat_asked = inf  # the tyme by which its Crewer wants the next heartbeat said
        self._beat_tyme = inf  # the tyme at which it is said
        self._beat_due = inf  # that by the clock
        self._mail_fd = -1  # its mailbox, kept for when its Crewer has closed it

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

    def exit(self, deeds: deque[Any] | None = None) -> None:
        """Close all, and keep the mailbox if the boss may have to be told something yet."""
        crewer = self._crewer
        # Before its first turn it has not registered; who asked it to end knows what to expect.
        if self.cycles and crewer.opened and not crewer.ending and crewer.ls is not None:
            with contextlib.suppress(OSError):  # no descriptor left: nothing can be told then
                self._mail_fd = os.dup(crewer.ls.fileno())
        super().exit(deeds)

    def tell(self, text: str) -> float:
        """Say a status to the boss, with a heartbeat, when all Doers are closed; from any thread.

        Returns:
            in how many seconds it is to be said again; math.inf when it cannot be.
        """
        crewer = self._crewer
        if not crewer.opened:
            if self._mail_fd < 0:
                return inf
            crewer.inherit(self._mail_fd)
        crewer.status(text)
        crewer.sayAside(self.tyme)
        if crewer.outboxDepth:  # there was no room for it
            crewer.serviceAllTx()
        return self._beat_s or inf


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


def work(
    order: Mapping[str, Any], sys_path: Sequence[str], *, mailbox: int, words_fd: int
) -> NoReturn:
    """Make the doers of an order, run them to their end and end this process.

    Args:
        order: what the boss resolved.
        sys_path: where this Python finds its modules, without cwd and PYTHONPATH.
        mailbox: the bound datagram socket, -1 if there is none.
        words_fd: memfd of the last words.
    """
    code, tell = 0, None
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
        tell = doist.tell
        doist.do()
    except SystemExit as ex:
        code = _exit_code(ex, words_fd)
    # Whatever user code raises is told and becomes an exit code; nothing is left to do after it.
    except BaseException as ex:  # noqa: BLE001 - see above
        code = _failed(ex, order, words_fd)
    ending.wind_up(code, words_fd, tell)


def _failed(ex: BaseException, order: Mapping[str, Any], words_fd: int) -> int:
    """Tell what user code raised and return the exit code."""
    cause = ex
    if isinstance(ex, DoersError):
        words.say(words_fd, "doers", str(ex), ref=ex.ref, errno=None, path=None)
        cause = ex.__cause__ or ex
    words.say_uncaught(
        words_fd,
        cause,
        name=str(order["name"]),
        generation=int(order["generation"]),
        journal=_journal(order),
    )
    if isinstance(ex, DoersError):
        return BAD_START
    return _INTERRUPTED if isinstance(ex, KeyboardInterrupt) else _UNCAUGHT


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
        self._target = _named(self.ref, self._title)
        if not callable(self._target):
            raise self._error(f"is a {_kind(self._target)}, not callable")

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
            if "crewer" in given:
                raise self._error('is given its hand\'s Crewer as "crewer"; take that out of opts')
            given["crewer"] = crewer
        if self._tock is not None:
            given["tock"] = self._tock
        generating = inspect.isgeneratorfunction(self._target)
        try:
            made = self._doified(given) if generating else self._target(**given)
        except SystemExit as ex:
            raise self._error(f"ended Python when it was made{_exit_words(ex)}") from ex
        except DoersError:
            raise
        except Exception as ex:  # whatever user code raises: this entry cannot be made
            raise self._error(f"cannot be made: {type(ex).__name__}: {ex}") from ex
        doers = list(made) if isinstance(made, (list, tuple)) else [made]
        for doer in doers:
            if not callable(doer) or not _complete(doer):
                raise self._error(f"gives a {_kind(doer)}{_lack(doer)}")
        return doers

    def _doified(self, given: dict[str, Any]) -> Any:
        """Return a generator function as a Doer.

        Raises:
            DoersError: it does not take what it is called with, or its opts hold some of that.
            TypeError, ValueError: its tock is no number.
        """
        own = self._target  # may have been doized by its author
        if "tymth" in given:
            raise self._error(
                'cannot be made: it is given its tyme as "tymth"; take that out of opts'
            )
        tock = given.pop("tock", getattr(own, "tock", 0.0))
        temp = given.pop("temp", getattr(own, "temp", None))
        name = getattr(own, "__name__", self.ref)
        doer = doify(own, name=name, tock=abs(float(tock)), temp=temp)
        doer.opts = {**getattr(own, "opts", {}), **given}
        try:  # nothing of it runs yet, so only what it does not take is found
            doer(tymth=None, tock=doer.tock, temp=temp, **doer.opts).close()
        except TypeError as ex:
            calls = "it is called with tymth, tock, temp and its opts"
            raise self._error(f"cannot be made: TypeError: {ex}; {calls}") from ex
        return doer

    def _error(self, what: str) -> DoersError:
        return DoersError(self.ref, f"{self._title} {what}")


def _complete(doer: Any) -> bool:
    """Whether a Doist can run it."""
    return all(hasattr(doer, name) for name in _ATTRIBUTES)


def _lack(doer: Any) -> str:
    """Say why what an entry gives cannot be run, to go on behind its class's name."""
    if isinstance(getattr(type(doer), "tock", None), property):  # a Doer, hio's too
        return " whose __init__ did not call super().__init__()"
    return "; a Doer or a list of Doers is needed"


def _named(ref: str, title: str = "") -> Any:
    """Import what a ref names.

    Args:
        ref: module and attribute.
        title: of the entry it is from.

    Raises:
        DoersError: it cannot be; the cause is what the import raised.
    """
    module, _, path = ref.partition(":")
    try:
        target: Any = importlib.import_module(module)
    except SystemExit as ex:
        message = f"{title}: its module ended Python when it was imported{_exit_words(ex)}"
        raise DoersError(ref, message) from ex
    except Exception as ex:  # whatever a module raises when imported is its author's to read
        raise DoersError(ref, f"{type(ex).__name__}: {ex}") from ex
    found = target
    try:
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as ex:  # as above
        raise DoersError(ref, f"{type(ex).__name__}: {ex}; {_origin(target)}") from ex
    return found


def _origin(module: ModuleType) -> str:
    """Say where a module is from: it need not be the one its user means."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
    if module.__name__.partition(".")[0] not in sys.stdlib_module_names:
        return f"it is {file}"
    where = f" {file}" if file else ""
    return f"it is Python's own{where}: a module of yours needs another name"


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


def _exit_code(ex: SystemExit, words_fd: int) -> int:
    """Return the code of a SystemExit as Python gives it; a message goes to stderr, and is kept."""
    if ex.code is None:
        return 0
    if isinstance(ex.code, int):
        return ex.code & 0xFF
    words.say(words_fd, "exit", str(ex.code)[: words.MAX_TRACEBACK])
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{ex.code}\n")
    return _UNCAUGHT


def _exit_words(ex: SystemExit) -> str:
    """Say with what Python was ended, to go on behind that it was."""
    if ex.code is None or isinstance(ex.code, int):
        return f" (SystemExit {ex.code or 0})"
    return f": {ex.code}"


def _kind(thing: object) -> str:
    return type(thing).__name__
