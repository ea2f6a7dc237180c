"""What the daemon's rules speak about: hands, what happens to them, what is to be done.

Everything here is frozen: a rule takes a ``Hand`` and an event and returns another ``Hand`` and
actions. Instants named ``*_at`` or ``since`` are tyme: CLOCK_MONOTONIC seconds of this boot. What
is shown or kept for people is wall time and is worked out where it is shown.

Invariant: ``wanted`` is changed by operators only, ``state`` by events only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hiod.rules.specs import HandSpec


class State(StrEnum):
    """Where a hand stands."""

    WAITING = "waiting"  # wanted up; the hands it comes after are not there yet
    STARTING = "starting"  # its process is ordered, or there and not yet ready
    REGISTERING = "registering"  # its process is there; its REG (or RDY) is not
    RUNNING = "running"  # there, and nobody can say more: never "ready"
    READY = "ready"  # said so itself, or answered
    DEGRADED = "degraded"  # was ready; a witness says it is not well
    STOPPING = "stopping"  # asked to end
    STOPPED = "stopped"  # at rest, wanted down
    BACKOFF = "backoff"  # ended by itself; will be tried again
    FAILED = "failed"  # given up until started
    DONE = "done"  # ended by itself as it should


class Wanted(StrEnum):
    """What the operator wants of a hand."""

    UP = "up"
    DOWN = "down"


LIVE = frozenset(
    {
        State.STARTING,
        State.REGISTERING,
        State.RUNNING,
        State.READY,
        State.DEGRADED,
        State.STOPPING,
    }
)
"""States in which a process may be there."""

RESTING = frozenset({State.STOPPED, State.FAILED, State.DONE})
"""States that only an operator's word ends."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, never to be mistaken for a later one with the same pid.

    Attributes:
        pid: the kernel's number.
        started_at: start time in clock ticks since boot (``/proc/PID/stat`` field 22).
        boot_id: ``/proc/sys/kernel/random/boot_id``.
    """

    pid: int
    started_at: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended; all None when nobody can know.

    Attributes:
        code: exit status, or None.
        signal: number of the signal that ended it, or None.
        core: whether it left a core.
        at_wall: wall time in seconds since the epoch.
        maxrss_bytes: most memory it had, or None.
    """

    code: int | None = None
    signal: int | None = None
    core: bool = False
    at_wall: float = 0.0
    maxrss_bytes: int | None = None

    @property
    def known(self) -> bool:
        """Whether anybody waited for the process."""
        return self.code is not None or self.signal is not None

    @property
    def clean(self) -> bool:
        """Whether it exited 0."""
        return self.code == 0

    @property
    def words(self) -> str:
        """The end in words: ``exit 3``, ``signal 11``, ``an unknown end``."""
        if self.signal is not None:
            return f"signal {self.signal}" + (" (core)" if self.core else "")
        return "an unknown end" if self.code is None else f"exit {self.code}"


class Then(StrEnum):
    """What follows once a hand that is being stopped has ended."""

    REST = "rest"  # stopped
    START = "start"  # start again; nothing is counted
    RETRY = "retry"  # it counts as a failure
    LEAVE = "leave"  # shutdown: as it was wanted, but not now


@dataclass(frozen=True, slots=True)
class Hand:
    """One hand: what is wanted of it and where it stands.

    Attributes:
        name: its own name (``ticker-0``).
        spec: the definition it runs by now.
        ordinal: its number in a counted definition, or None.
        wanted: the operator's wish.
        wanted_by: who wished it, in words, and since when (wall).
        state: where it stands; ``reason`` says why and ``since`` from when (tyme).
        generation: number of its present or latest incarnation; 0 before the first.
        process: its process, while there is one.
        registered: whether this incarnation's REG has come.
        ready_at: when this incarnation became ready or running.
        spawned_at: when this incarnation's process came to be.
        failures: when it ended unasked, within the window.
        attempt: how often in a row it was tried since it last ran well.
        restarts: how often it was started again since it was first started or last asked to start.
        wake_at: when this state wants to look again; inf: never.
        stop_step: how far the stop has gone: "" (it has not been asked yet), "ask", "term", "kill".
        stop_asked_at: when it was asked to end.
        then: what follows the stop.
        asked_by: who asked for the end that is under way.
        ended_by: the firmest means used to end it: END, a signal's name, TERM or KILL; "" if none.
        end: how its latest process ended.
        leaving: it leaves the crew as soon as it has ended.
        next_spec: the definition to take at its next start, if another.
        status: what it says of itself.
        addr: where its memos go if it bound a path of its own, as hio's hands do; else "".
    """

    name: str
    spec: HandSpec
    ordinal: int | None = None
    wanted: Wanted = Wanted.UP
    wanted_by: str = ""
    wanted_at: float = 0.0
    state: State = State.STOPPED
    reason: str = "not started yet"
    since: float = 0.0
    generation: int = 0
    process: ProcessId | None = None
    registered: bool = False
    ready_at: float | None = None
    spawned_at: float | None = None
    failures: tuple[float, ...] = ()
    attempt: int = 0
    restarts: int = 0
    wake_at: float = math.inf
    stop_step: str = ""
    stop_asked_at: float = 0.0
    then: Then = Then.REST
    asked_by: str = ""
    ended_by: str = ""
    end: End | None = None
    leaving: bool = False
    next_spec: HandSpec | None = None
    status: str = ""
    addr: str = ""


def token_of(crew_id: str, name: str, generation: int) -> str:
    """Return the mark of one incarnation of a hand, among all crews of a machine."""
    return f"{crew_id}.{name}.{generation}"


# ---------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class StartAsked:
    """Somebody wants the hand up."""

    by: str = "the crew"
    at_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody wants the hand down; ``then`` LEAVE keeps what was wanted (a shutdown)."""

    by: str = "the crew"
    at_wall: float = 0.0
    then: Then = Then.REST
    leaving: bool = False

    @property
    def why(self) -> str:
        """Why the hand is asked to end, in words."""
        if self.then is Then.LEAVE:
            return self.by
        return f"{'removed' if self.leaving else 'stopped'} by {self.by}"


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """The hand is to be ended and started again.

    ``counts``: hiod asks, because the hand is not well, and it counts as a failure of its own;
    else an operator does, who with that also wants it up.
    """

    by: str = "the crew"
    why: str = "asked"
    counts: bool = False
    at_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class Cleared:
    """All hands this one comes after are there."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """Its process is there."""

    process: ProcessId


@dataclass(frozen=True, slots=True)
class Refused:
    """Its process could not be made."""

    step: str
    message: str
    errno: int | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """Its REG has come, checked; ``addr`` is the path it bound itself, if it did."""

    addr: str = ""


@dataclass(frozen=True, slots=True)
class SaidReady:
    """It said it is ready (RDY memo, READY=1) or answered (connect); ``by`` is which."""

    by: str


@dataclass(frozen=True, slots=True)
class Exited:
    """Its process has ended. ``note`` is the gist of its last words, for the reason."""

    end: End
    note: str = ""


@dataclass(frozen=True, slots=True)
class TimeCame:
    """Its ``wake_at`` has come; ``ended``: its process is not there, but none told of its end."""

    ended: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """The witnesses came to a verdict; ``ok`` says whether it is well."""

    ok: bool
    verdict: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Revised:
    """Its definition changed.

    Attributes:
        spec: what holds from now on, for a living hand and for one at rest.
        next_spec: what holds from its next start on, if that is another.
        restart: the next start is to be made now.
        by: who changed it.
    """

    spec: HandSpec
    next_spec: HandSpec | None = None
    restart: bool = False
    by: str = "apply"


Event = (
    StartAsked
    | StopAsked
    | RestartAsked
    | Cleared
    | Spawned
    | Refused
    | Registered
    | SaidReady
    | Exited
    | TimeCame
    | Judged
    | Revised
)

EVENTS: tuple[type[Event], ...] = (
    StartAsked,
    StopAsked,
    RestartAsked,
    Cleared,
    Spawned,
    Refused,
    Registered,
    SaidReady,
    Exited,
    TimeCame,
    Judged,
    Revised,
)

# ---------------------------------------------------------------------------- actions


@dataclass(frozen=True, slots=True)
class Spawn:
    """Make the process of the hand's present generation."""

    name: str


@dataclass(frozen=True, slots=True)
class SendEnd:
    """Send END to the hand."""

    name: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the hand's process."""

    name: str
    signal: str


@dataclass(frozen=True, slots=True)
class AskStack:
    """Have the hand write its Python stack to its last words."""

    name: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """Kill the hand's process and all that is left of it."""

    name: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person may want to read: event literal and facts."""

    event: str
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mourn:
    """A process ended: keep how."""

    name: str
    generation: int
    end: End
    uptime_s: float | None
    asked_by: str
    pid: int | None = None


Action = Spawn | SendEnd | Signal | AskStack | Sweep | Note | Mourn
