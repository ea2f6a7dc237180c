"""What boss and hiodctl say to each other: one table of methods, their roles, replies and errors.

Decides which methods there are, who may call them, what their parameters and replies are made of,
and what is wrong with parameters that do not fit. Leaves the carrying to ``framing`` and
``server`` and the obeying to the boss. The validator reads the table; JSON Schema, the Varlink text
and the reference page are drawn from it by ``drawing``.

Invariant: what is not in ``METHODS`` cannot be called, and what is not in ``ERRORS`` or
``SERVICE_ERRORS`` is not answered.

Units, everywhere: instants are ISO 8601 UTC strings (``2026-05-01T03:12:22.041Z``), names ending in
``_s`` are seconds, in ``_ms`` milliseconds, memory is bytes, CPU is percent of one core. ``null``
means nobody knows, or there is none.
"""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

INTERFACE = "io.hiod.Boss"
SERVICE = "org.varlink.service"
PROTOCOL = 1

ROLES = ("none", "read", "operate", "admin")
"""From the least to the most; each may do what those before it may."""

StateName = Literal[
    "waiting",
    "starting",
    "registering",
    "running",
    "ready",
    "degraded",
    "stopping",
    "stopped",
    "backoff",
    "failed",
    "done",
]
WantedName = Literal["up", "down"]
RoleName = Literal["none", "read", "operate", "admin"]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Count = Annotated[int, Meta(ge=0, le=10_000)]  # as many as a definition may ask for
Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(max_length=128, description="at most 128 characters")]
Tag = Annotated[str, Meta(pattern=r"^[A-Z]{4,16}(?!\n)$", description="4 to 16 of A-Z")]


class Record(Struct, kw_only=True):
    """Something that is answered."""


class Parameters(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a method is called with."""


# ---------------------------------------------------------------------------- what is answered


class HandFacts(Record):
    """What is known of a hand at a glance.

    Attributes:
        name: its own name (``ticker-0``).
        state: where it stands.
        wanted: what the operator wants of it.
        pid: its process, while there is one.
        generation: number of its present or latest incarnation; 0 before the first.
        since: when it came to be in this state.
        ready_since: when this incarnation became ready or running.
        restarts: how often it was started again since it was last asked to start.
        health: ok, lagging, silent, stuck, stopped or hungry; null when it is not watched.
        rss: resident memory of its processes.
        cpu: CPU time of its processes.
        lag_ms: how late its loop ran at its last heartbeat.
        received: memos it had taken at its last heartbeat.
        sent: memos it had sent at its last heartbeat.
        outbox: memos it had not got rid of at its last heartbeat.
        status: what it says of itself; if nothing, why it is in its state.
        reason: why it is in its state.
        older: whether it runs the code of an older hiod than the boss.
        newer: whether it runs the code of a newer one: the boss's was put back.
        labels: its labels.
    """

    name: str
    state: StateName
    wanted: WantedName = "up"
    pid: int | None = None
    generation: int = 0
    since: str = ""
    ready_since: str | None = None
    restarts: int = 0
    health: str | None = None
    rss: int | None = None
    cpu: float | None = None
    lag_ms: float | None = None
    received: int | None = None
    sent: int | None = None
    outbox: int | None = None
    status: str = ""
    reason: str = ""
    older: bool = False
    newer: bool = False
    labels: dict[str, str] = field(default_factory=dict)


class Row(HandFacts, kw_only=True):
    """One hand of ``list``.

    Attributes:
        spec: name of its definition: its own, or the counted base.
    """

    spec: str


class TreeProcess(Record):
    """One process of a hand's tree.

    Attributes:
        pid: its number.
        ppid: its parent's number.
        name: its command name.
    """

    pid: int
    ppid: int
    name: str


class ProcessFacts(Record):
    """A hand's process, seen from outside.

    Attributes:
        pid: its number.
        started: when it was started.
        adopted: when this boss took it over from an earlier one.
        python: the interpreter or program it runs.
        cgroup: its control group, if it has one of its own.
        launcher: the launcher that is its parent.
        rss: resident memory of its processes.
        rss_most: the most there was.
        rss_max: the most it may have.
        cpu: CPU time of its processes.
        fds: open file descriptors.
        threads: threads.
        doing: where in the code its loop stands, when that was looked up.
        doing_s: for how long.
        tree: its processes, itself first.
    """

    pid: int
    started: str | None = None
    adopted: str | None = None
    python: str | None = None
    cgroup: str | None = None
    launcher: str | None = None
    rss: int | None = None
    rss_most: int | None = None
    rss_max: int | None = None
    cpu: float | None = None
    fds: int | None = None
    threads: int | None = None
    doing: str | None = None
    doing_s: float | None = None
    tree: list[TreeProcess] = field(default_factory=list)


class MemoFacts(Record):
    """A hand's memos, as its heartbeats and the boss's own socket tell.

    Attributes:
        address: the path of its mailbox.
        registered: whether this incarnation's REG has come.
        kind: hiod, or hio for a hand that speaks as hio does.
        beat: when its last heartbeat came.
        beat_s: how often one is due.
        missed: how many are overdue.
        misses: how many may be before it is unwell.
        lag_ms: how late its loop ran at its last heartbeat.
        received: memos taken.
        sent: memos sent.
        outbox: memos not got rid of.
        dead_letters: memos given up.
        waiting: whether memos wait in its mailbox; null when that cannot be told.
    """

    address: str
    registered: bool
    kind: Literal["hiod", "hio"] = "hiod"
    beat: str | None = None
    beat_s: float | None = None
    missed: int = 0
    misses: int | None = None
    lag_ms: float | None = None
    received: int | None = None
    sent: int | None = None
    outbox: int | None = None
    dead_letters: int | None = None
    waiting: bool | None = None


class RestartFacts(Record):
    """How a hand's restarts stand.

    Attributes:
        policy: always, on-failure or never.
        restarts: how often it was started again since it was last asked to start.
        failures: how many of its ends count by now.
        limit: how many may.
        window_s: for how long each counts.
        next: when the next try is due.
        plan: what comes next, in words.
    """

    policy: str
    restarts: int = 0
    failures: int = 0
    limit: int | None = None
    window_s: float | None = None
    next: str | None = None
    plan: str | None = None


class Death(Record):
    """How one incarnation of a hand ended.

    Attributes:
        at: when.
        generation: which incarnation.
        pid: its process.
        code: exit status.
        signal: number of the signal that ended it.
        core: whether it left a core.
        known: false when nobody could learn how it ended.
        rss_most: the most memory it had.
        uptime_s: how long it had run.
        beat_s: how long before its end the last heartbeat came.
        asked_by: who asked for its end; null when nobody did.
        reason: the end in words.
        last_words: its traceback or stack dump.
    """

    at: str
    generation: int = 0
    pid: int | None = None
    code: int | None = None
    signal: int | None = None
    core: bool = False
    known: bool = True
    rss_most: int | None = None
    uptime_s: float | None = None
    beat_s: float | None = None
    asked_by: str | None = None
    reason: str = ""
    last_words: str | None = None


class Status(HandFacts, kw_only=True):
    """One hand, whole.

    Attributes:
        spec: its definition; env and opts values are ``***`` below role admin.
        base: name of its definition: its own, or the counted base.
        origin: the crew file and line it came from, or who added it.
        wanted_by: who wanted it so.
        wanted_since: since when.
        log: where its output goes: journal, inherit, null or a path.
        process: its process, while there is one.
        memo: its memos; null for a hand without a mailbox.
        restart: how its restarts stand.
        deaths: how it ended before, the latest first.
    """

    spec: dict[str, Any]
    base: str = ""
    origin: str | None = None
    wanted_by: str = ""
    wanted_since: str | None = None
    log: str | None = None
    process: ProcessFacts | None = None
    memo: MemoFacts | None = None
    restart: RestartFacts | None = None
    deaths: list[Death] = field(default_factory=list)


class Event(Record):
    """One thing that happened.

    Attributes:
        seq: its number; they only grow.
        at: when.
        event: what kind, ``hand.ready``.
        level: debug, info, warning or error.
        hand: whom it happened to.
        generation: to which incarnation.
        message: the sentence.
        facts: what the sentence is made from.
    """

    seq: int
    at: str
    event: str
    level: str = "info"
    hand: str | None = None
    generation: int | None = None
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class Outcome(Record, omit_defaults=True):
    """What a changing call did to one hand. What does not apply is left out.

    Attributes:
        name: the hand.
        changed: whether anything did.
        state: where it stands now.
        pid: its process.
        generation: its incarnation.
        how: what ended it: END, TERM or KILL; or what was done.
        code: its exit status.
        signal: number of the signal that ended it.
        took_s: how long that took.
        reason: why nothing changed, or why it is in its state.
    """

    name: str
    changed: bool | UnsetType = UNSET
    state: StateName | UnsetType = UNSET
    pid: int | None | UnsetType = UNSET
    generation: int | UnsetType = UNSET
    how: str | None | UnsetType = UNSET
    code: int | None | UnsetType = UNSET
    signal: int | None | UnsetType = UNSET
    took_s: float | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Change(Record):
    """What ``apply`` would do, or did, to one definition.

    Attributes:
        name: the definition.
        action: add, remove or change.
        how: start, live, next (at its next start), restart or stop.
        keys: the keys that differ.
        hands: the hands it is about.
        message: the same in words.
    """

    name: str
    action: Literal["add", "remove", "change"]
    how: Literal["start", "live", "next", "restart", "stop"]
    keys: list[str] = field(default_factory=list)
    hands: list[str] = field(default_factory=list)
    message: str = ""


class Problem(Record):
    """One thing that is wrong.

    Attributes:
        path: where: file and key path, or the parameter.
        code: what kind, for programs.
        message: a sentence saying what would do.
        got: what was there.
    """

    path: str
    code: str
    message: str
    got: Any = None


class Finding(Record):
    """One line of ``why``.

    Attributes:
        label: memos, process, so, last, before, sandbox, try, waits, next …
        lines: what was found.
    """

    label: str
    lines: list[str]


class Explanation(Record):
    """Why one hand is as it is.

    Attributes:
        name: the hand.
        state: where it stands.
        health: the verdict on it.
        summary: the answer in one or two sentences.
        findings: what it rests on, in order.
        can: commands that may help.
    """

    name: str
    state: StateName
    health: str | None = None
    summary: str = ""
    findings: list[Finding] = field(default_factory=list)
    can: list[str] = field(default_factory=list)


class LimitFacts(Record):
    """What the admin socket takes.

    Attributes:
        request_bytes: the longest message.
        nesting: objects and lists within each other.
        connections: at once.
        kept_for_admins: how many of those.
        connections_per_uid: at once, of one user.
        queued: requests of one connection that are taken up at a time; the rest wait unread.
        unsent_bytes: replies that wait for a slow reader before it is cut off.
        message_s: to finish a message that was begun.
    """

    request_bytes: int
    nesting: int
    connections: int
    kept_for_admins: int
    connections_per_uid: int
    queued: int
    unsent_bytes: int
    message_s: float


class LauncherFacts(Record):
    """One launcher.

    Attributes:
        id: its name.
        pid: its process.
        python: the interpreter its hands run.
        hands: how many it has.
        older: whether it is of an older hiod than the boss.
        newer: whether it is of a newer one.
    """

    id: str
    pid: int
    python: str = ""
    hands: int = 0
    older: bool = False
    newer: bool = False


class Nothing(Record):
    """Nothing but that it was done."""


class AboutReply(Record):
    """The boss.

    Attributes:
        name: the boss's name.
        version: of hiod.
        protocol: of this socket; grows when something is added.
        python: version of the boss's Python.
        pid: its process.
        since: when it started.
        state: starting, settling, running, stopping …
        role: what the caller may do.
        hands: how many there are.
        states: how many in each state.
        pending: definitions in which the files differ from the crew that runs.
        files: ok, or what is wrong with the crew files in a sentence.
        seq: number of the last event.
        runtime_dir: where its sockets are.
        state_dir: where its database is.
        config_dir: where its files are.
        limits: what this socket takes.
        launchers: parents of hands.
        sandbox: settings of its unit that it sees at work; new hands live under the same.
        figures: counters.
    """

    name: str
    version: str
    pid: int
    since: str
    state: str
    role: RoleName
    limits: LimitFacts
    protocol: int = PROTOCOL
    python: str = ""
    hands: int = 0
    states: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    files: str = "ok"
    seq: int = 0
    runtime_dir: str = ""
    state_dir: str = ""
    config_dir: str = ""
    launchers: list[LauncherFacts] = field(default_factory=list)
    sandbox: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


class SchemaReply(Record):
    """The methods.

    Attributes:
        schema: roles, parameters, replies and errors as JSON Schema.
    """

    schema: dict[str, Any]


class ListReply(Record):
    """The hands.

    Attributes:
        hands: one row each, in the order of the crew.
        seq: number of the last event: subscribe from here and nothing is missed.
        pending: definitions in which the files differ from the crew that runs.
        files: ok, or what is wrong with the crew files in a sentence.
    """

    hands: list[Row]
    seq: int = 0
    pending: int = 0
    files: str = "ok"


class EventsReply(Record):
    """Things that happened.

    Attributes:
        events: the earliest first.
        seq: number of the last event there is.
        first: number of the earliest event still kept; what was before it is gone.
    """

    events: list[Event]
    seq: int = 0
    first: int = 0


class SubscribeReply(EventsReply):
    """Things that happened, as they happen.

    An answer without events, every 15 s, says that the boss lives.

    Attributes:
        events: the earliest first.
        seq: all up to this one has been told: go on from here, with this boss or the next.
        first: number of the earliest event still kept; 0 in answers that only tell what is new.
        gap: some of what happened since the number before is missing: it is not kept any more, or
            this is another record. ``hands`` says how things stand.
        hands: how the hands stand; in the first answer without ``since`` and after a gap.
    """

    gap: bool = False
    hands: list[Row] | None = None


class PlanReply(Record):
    """What ``apply`` would do.

    Attributes:
        changes: one each definition that differs.
        problems: what is wrong with the files; while there are any, nothing can be applied.
    """

    changes: list[Change] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class WhyReply(Record):
    """Explanations.

    Attributes:
        hands: one each hand asked for; without names, each that is not ok.
    """

    hands: list[Explanation]


class ChangeReply(Record):
    """What was done.

    Attributes:
        hands: one outcome a hand. While more is to come: those that are through.
    """

    hands: list[Outcome]


class ApplyReply(Record):
    """What was applied.

    Attributes:
        changes: one each definition that differed.
        hands: one outcome a hand.
    """

    changes: list[Change] = field(default_factory=list)
    hands: list[Outcome] = field(default_factory=list)


class ExportReply(Record):
    """The crew as a crew file.

    Attributes:
        text: TOML, ready to be put in crew.d.
        specs: the same definitions as they would be given to ``add``.
    """

    text: str
    specs: list[dict[str, Any]] = field(default_factory=list)


class ShutdownReply(Record):
    """The boss has begun to stop.

    Attributes:
        hands: how many it stops first.
    """

    hands: int = 0


class InfoReply(Record):
    """Varlink's own words about a service.

    Attributes:
        vendor: who made it.
        product: its name.
        version: its version.
        url: where it is at home.
        interfaces: what it speaks.
    """

    vendor: str
    product: str
    version: str
    url: str
    interfaces: list[str]


class DescriptionReply(Record):
    """An interface.

    Attributes:
        description: its text in Varlink's language.
    """

    description: str


# ---------------------------------------------------------------------------- what is asked


class NoParameters(Parameters):
    """Nothing."""


class SchemaParameters(Parameters):
    """Which method.

    Attributes:
        method: its short or long name; absent: all.
    """

    method: str | None = None


class Selection(Parameters):
    """Which hands.

    Attributes:
        names: hands, counted bases, globs.
        labels: hands that have all of these.
    """

    names: list[Name] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)


class StatusParameters(Parameters):
    """Which hand.

    Attributes:
        name: its name.
    """

    name: str


class EventsParameters(Selection):
    """Which events.

    Attributes:
        since: those after this number; absent: the latest.
        limit: not more than so many.
        events: of these kinds only, or globs (``hand.*``).
    """

    since: Sequence | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    events: list[str] = field(default_factory=list)


class SubscribeParameters(Selection):
    """Which events.

    Attributes:
        since: begin with those after this number; absent: with what comes.
        events: of these kinds only, or globs (``hand.*``).
    """

    since: Sequence | None = None
    events: list[str] = field(default_factory=list)


class WaitParameters(Parameters):
    """How long to wait.

    Attributes:
        wait: ready, done or gone; absent: answered when recorded.
        timeout_s: for so long, then ``Timeout``; absent: 10.
    """

    wait: Literal["ready", "done", "gone"] | None = None
    timeout_s: Seconds = 10.0


class SelectionWait(WaitParameters):
    """Which hands, and how long to wait.

    Attributes:
        names: hands, counted bases, globs.
        labels: hands that have all of these.
    """

    names: list[Name] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)


class SignalParameters(Selection, kw_only=True):
    """Which hands and what signal.

    Attributes:
        signal: its name, with or without SIG (``HUP``), or its number in digits.
    """

    signal: str


class SendParameters(Selection, kw_only=True):
    """Which hands and what memo.

    Attributes:
        tag: 4 to 16 of A-Z; three letters would be read as a control memo.
        load: what it carries.
    """

    tag: Tag
    load: dict[str, Any] = field(default_factory=dict)


class AddParameters(WaitParameters, kw_only=True):
    """What hand.

    Attributes:
        spec: its definition, with the keys of a crew file and ``name``.
        replace: in place of another definition of that name.
    """

    spec: dict[str, Any]
    replace: bool = False


class ScaleParameters(WaitParameters, kw_only=True):
    """How many.

    Attributes:
        name: a counted definition.
        count: how many hands it is to have.
    """

    name: str
    count: Count


class ShutdownParameters(Parameters):
    """Whether the hands end too.

    Attributes:
        keep_hands: leave the hands alone; the next boss takes them over. Without it they are
            stopped first, in reverse order and within their own times.
    """

    keep_hands: bool = False


class InterfaceParameters(Parameters):
    """Which interface.

    Attributes:
        interface: its name.
    """

    interface: str


# ---------------------------------------------------------------------------- what is refused


class BadMessage(Record):
    """What came is not a request.

    Attributes:
        code: json, object, nesting, envelope or upgrade.
        message: what is wrong.
        hint: what would do.
    """

    code: str
    message: str
    hint: str = ""


class BadSpec(Record):
    """A definition cannot be used; nothing was done.

    Attributes:
        problems: all of them.
    """

    problems: list[Problem]


class NoSuchHand(Record):
    """No hand has that name.

    Attributes:
        name: what was asked for.
        near: names like it.
    """

    name: str
    near: list[str] = field(default_factory=list)


class Conflict(Record):
    """It would break something that is; nothing was done.

    Attributes:
        code: exists, needed, counted, order …
        message: what stands against it.
        name: the hand it is about.
        hands: the hands that stand against it.
    """

    code: str
    message: str = ""
    name: str | None = None
    hands: list[str] = field(default_factory=list)


class NotPermitted(Record):
    """The caller may not do this.

    Attributes:
        needs: the role that may.
        have: the caller's.
    """

    needs: RoleName
    have: RoleName


class TooLarge(Record):
    """The message was longer than is taken; it was skipped.

    Attributes:
        limit: bytes that are taken.
    """

    limit: int


class Busy(Record):
    """No more connections are taken, of this user or at all."""


class Timeout(Record):
    """It was recorded, and had not come true in time; it goes on.

    Attributes:
        state: how it stands.
        hands: one outcome a hand, as far as it went.
        changes: what ``apply`` changed.
    """

    state: str
    hands: list[Outcome] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


class SpawnFailed(Record):
    """The machine would not make a hand's process.

    Attributes:
        name: the hand; the first, if there are several.
        step: what was being done.
        errno: the system's number.
        path: the file it was about.
        message: the same in a sentence.
        hands: one outcome a hand, as far as it went.
        changes: what ``apply`` changed.
    """

    step: str
    errno: int | None = None
    path: str | None = None
    message: str = ""
    name: str | None = None
    hands: list[Outcome] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


class Unavailable(Record):
    """The boss cannot do this now.

    Attributes:
        state: what it is doing or suffering: starting, stopping, store, fault …
        after_s: when to try again; null when that cannot be told.
    """

    state: str
    after_s: float | None = None


class InterfaceNotFound(Record):
    """There is no such interface.

    Attributes:
        interface: what was asked for.
    """

    interface: str


class MethodNotFound(Record):
    """There is no such method.

    Attributes:
        method: what was called.
    """

    method: str


class MethodNotImplemented(Record):
    """The method is known and not to be had here.

    Attributes:
        method: what was called.
    """

    method: str


class InvalidParameter(Record):
    """A parameter does not fit.

    Attributes:
        parameter: the first that does not.
    """

    parameter: str


class PermissionDenied(Record):
    """The caller may not do this; this boss says ``io.hiod.Boss.NotPermitted``, which says more."""


class ExpectedMore(Record):
    """The method answers with a stream: call it with ``more``."""


ERRORS: dict[str, type[Record]] = {
    kind.__name__: kind
    for kind in (
        BadMessage,
        BadSpec,
        NoSuchHand,
        Conflict,
        NotPermitted,
        TooLarge,
        Busy,
        Timeout,
        SpawnFailed,
        Unavailable,
    )
}
SERVICE_ERRORS: dict[str, type[Record]] = {
    kind.__name__: kind
    for kind in (
        InterfaceNotFound,
        MethodNotFound,
        MethodNotImplemented,
        InvalidParameter,
        PermissionDenied,
        ExpectedMore,
    )
}

ANY_CALL = ("BadMessage", "TooLarge", "Busy", "NotPermitted", "Unavailable")
"""Errors every call may be answered with, beside Varlink's own."""


# ---------------------------------------------------------------------------- the table


@dataclass(frozen=True, slots=True)
class Method:
    """One method.

    Attributes:
        short: its name for people.
        long: its name for Varlink.
        role: the least role that may call it.
        doc: one sentence.
        parameters: what it is called with.
        reply: what it answers.
        stream: "" answers once; "progress" may answer more than once when called with ``more``;
            "endless" must be called with ``more`` and goes on until the caller leaves.
        selects: whether it must be told which hands, by ``names`` or ``labels``.
        errors: what it may be refused with, beside ``ANY_CALL``.
    """

    short: str
    long: str
    role: RoleName
    doc: str
    parameters: type[Parameters] = NoParameters
    reply: type[Record] = Nothing
    stream: Literal["", "progress", "endless"] = ""
    selects: bool = False
    errors: tuple[str, ...] = ()


def _boss(short: str, role: RoleName, doc: str, **more: Any) -> Method:
    return Method(short, f"{INTERFACE}.{short.capitalize()}", role, doc, **more)


METHODS: tuple[Method, ...] = (
    _boss("ping", "none", "Answers, and nothing else."),
    _boss("about", "none", "Says who the boss is and how it stands.", reply=AboutReply),
    _boss(
        "schema",
        "read",
        "Gives this table as JSON Schema.",
        parameters=SchemaParameters,
        reply=SchemaReply,
    ),
    _boss(
        "list",
        "read",
        "Gives one row a hand; without names and labels, of all.",
        parameters=Selection,
        reply=ListReply,
        errors=("NoSuchHand",),
    ),
    _boss(
        "status",
        "read",
        "Gives all that is known of one hand.",
        parameters=StatusParameters,
        reply=Status,
        errors=("NoSuchHand",),
    ),
    _boss(
        "events",
        "read",
        "Gives what happened.",
        parameters=EventsParameters,
        reply=EventsReply,
        errors=("NoSuchHand",),
    ),
    _boss(
        "subscribe",
        "read",
        "Gives what happens, as it happens, until the caller leaves.",
        parameters=SubscribeParameters,
        reply=SubscribeReply,
        stream="endless",
        errors=("NoSuchHand",),
    ),
    _boss("plan", "read", "Says what apply would do.", reply=PlanReply),
    _boss(
        "why",
        "read",
        "Explains why hands are as they are; without names, each that is not ok.",
        parameters=Selection,
        reply=WhyReply,
        errors=("NoSuchHand",),
    ),
    _boss(
        "start",
        "operate",
        "Wants hands up; clears what counted against them.",
        parameters=SelectionWait,
        reply=ChangeReply,
        stream="progress",
        selects=True,
        errors=("NoSuchHand", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "stop",
        "operate",
        "Wants hands down.",
        parameters=SelectionWait,
        reply=ChangeReply,
        stream="progress",
        selects=True,
        errors=("NoSuchHand", "Timeout"),
    ),
    _boss(
        "restart",
        "operate",
        "Ends hands and starts them again.",
        parameters=SelectionWait,
        reply=ChangeReply,
        stream="progress",
        selects=True,
        errors=("NoSuchHand", "Conflict", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "signal",
        "operate",
        "Sends a signal to the processes of hands.",
        parameters=SignalParameters,
        reply=ChangeReply,
        selects=True,
        errors=("NoSuchHand", "Conflict"),
    ),
    _boss(
        "send",
        "operate",
        "Sends a memo to hands.",
        parameters=SendParameters,
        reply=ChangeReply,
        selects=True,
        errors=("NoSuchHand", "Conflict"),
    ),
    _boss(
        "add",
        "admin",
        "Takes a hand into the crew.",
        parameters=AddParameters,
        reply=ChangeReply,
        stream="progress",
        errors=("BadSpec", "Conflict", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "remove",
        "admin",
        "Ends hands and takes them out of the crew.",
        parameters=SelectionWait,
        reply=ChangeReply,
        stream="progress",
        selects=True,
        errors=("NoSuchHand", "Conflict", "Timeout"),
    ),
    _boss(
        "scale",
        "admin",
        "Changes how many hands a counted definition has.",
        parameters=ScaleParameters,
        reply=ChangeReply,
        stream="progress",
        errors=("NoSuchHand", "Conflict", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "apply",
        "admin",
        "Makes definitions what the crew files say, with the least harm.",
        parameters=WaitParameters,
        reply=ApplyReply,
        stream="progress",
        errors=("BadSpec", "Conflict", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "export",
        "admin",
        "Gives definitions as a crew file, env and opts values in clear.",
        parameters=Selection,
        reply=ExportReply,
        errors=("NoSuchHand",),
    ),
    _boss(
        "shutdown",
        "admin",
        "Ends the boss: stops all hands first, in reverse order, or keeps them on purpose.",
        parameters=ShutdownParameters,
        reply=ShutdownReply,
    ),
)

SERVICE_METHODS: tuple[Method, ...] = (
    Method("GetInfo", f"{SERVICE}.GetInfo", "read", "Says what service this is.", reply=InfoReply),
    Method(
        "GetInterfaceDescription",
        f"{SERVICE}.GetInterfaceDescription",
        "read",
        "Gives the text of an interface.",
        parameters=InterfaceParameters,
        reply=DescriptionReply,
    ),
)

BY_NAME: dict[str, Method] = {
    **{method.short: method for method in METHODS},
    **{method.long: method for method in (*METHODS, *SERVICE_METHODS)},
}
"""What may stand in ``method`` of a request."""


# ---------------------------------------------------------------------------- checking

NEAR_CHARS = 64
"""Longer names have no near ones: they are noise, and comparing costs their length squared."""
ECHO_CHARS = 200
"""So much of what was wrong is said back."""
PROBLEMS_MOST = 50
"""So many problems of one request are told apart; a longer list helps nobody."""


def near(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three of ``known`` that may have been meant, the likeliest first."""
    if len(name) > NEAR_CHARS:
        return []
    return difflib.get_close_matches(name, known, n=3, cutoff=0.6)


def shorten(value: Any) -> Any:
    """Return ``value`` for echoing: whole if small, else its beginning in words."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= ECHO_CHARS else value[: ECHO_CHARS - 1] + "…"
    if isinstance(value, list):
        return value if not value else f"a list of {len(value)}"
    return value if not value else f"an object of {len(value)}"


def find(name: str) -> Method | AdminError:
    """Return the method called ``name``, or the error to answer."""
    method = BY_NAME.get(name)
    if method is not None:
        return method
    interface, dot, last = name[: 4 * NEAR_CHARS].rpartition(".")
    if dot and interface not in (INTERFACE, SERVICE):
        return AdminError(f"{SERVICE}.InterfaceNotFound", interface=shorten(interface))
    known = [method.short for method in METHODS]
    if interface == INTERFACE:
        known = [method.long for method in METHODS]
    elif interface == SERVICE:
        known = [method.long for method in SERVICE_METHODS]
    likely = near(name, known) or near(last.lower(), [method.short for method in METHODS])
    return AdminError(f"{SERVICE}.MethodNotFound", method=shorten(name), near=likely)


def check(method: Method, given: Mapping[str, Any]) -> Parameters | AdminError:
    """Make the parameters of a call from what came.

    A member that is null counts as absent, because Varlink libraries write it so.

    Returns:
        The parameters, or ``org.varlink.service.InvalidParameter`` whose ``parameter`` is the first
        that is wrong and whose ``problems`` are all, as in ``BadSpec``.
    """
    if None in given.values():
        given = {name: value for name, value in given.items() if value is not None}
    try:
        parameters = msgspec.convert(given, method.parameters)
    except msgspec.ValidationError:
        return invalid(_problems(method.parameters, given))
    if method.selects and not (parameters.names or parameters.labels):  # type: ignore[attr-defined]  # those that select have both
        message = 'must say which hands, by names or labels; ["*"] means all'
        return invalid([Problem(path="names", code="missing", message=message)])
    return parameters


def invalid(problems: list[Problem]) -> AdminError:
    """Return Varlink's error for wrong parameters, with all ``problems`` beside the first."""
    most = problems[:PROBLEMS_MOST]
    return AdminError(
        f"{SERVICE}.InvalidParameter",
        parameter=most[0].path,
        problems=[msgspec.to_builtins(problem) for problem in most],
    )


def _problems(kind: type[Parameters], given: Mapping[str, Any]) -> list[Problem]:
    hints = hints_of(kind)
    problems = []
    for info in msgspec.structs.fields(kind):
        if info.name not in given:
            if info.required:
                message = f"must be given: {words(hints[info.name])}"
                problems.append(Problem(path=info.name, code="missing", message=message))
            continue
        value = given[info.name]
        try:
            msgspec.convert(value, hints[info.name])
        except msgspec.ValidationError:
            message = f"must be {words(hints[info.name])}"
            problems.append(
                Problem(path=info.name, code="type", message=message, got=shorten(value))
            )
    for name in given:
        if name in hints or len(problems) > PROBLEMS_MOST:
            continue
        likely = near(name, hints)
        message = f'unknown parameter; did you mean "{likely[0]}"?' if likely else _none_such(hints)
        problems.append(
            Problem(path=shorten(name), code="unknown", message=message, got=shorten(given[name]))
        )
    return problems


def _none_such(hints: Mapping[str, Any]) -> str:
    if not hints:
        return "unknown parameter; this method takes none"
    return f"unknown parameter; there are {', '.join(hints)}"


@functools.cache
def hints_of(kind: type[Struct]) -> dict[str, Any]:
    """Return the types of a Struct's fields in their order, annotations kept."""
    hints = get_type_hints(kind, include_extras=True)
    return {info.name: hints[info.name] for info in msgspec.structs.fields(kind)}


def parts_of(kind: Any) -> tuple[Any, list[Meta], bool]:
    """Take a type apart: what it is made of, its conditions, and whether it may be absent."""
    optional = False
    if get_origin(kind) in (Union, UnionType):
        rest = [part for part in get_args(kind) if part not in (type(None), UnsetType)]
        optional = len(rest) < len(get_args(kind))
        kind = rest[0]
    conditions: list[Meta] = []
    while get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        conditions += more
    return kind, conditions, optional


_WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
_PLURAL = {str: "strings", int: "whole numbers", float: "numbers"}


def words(kind: Any) -> str:
    """Say in words what a parameter of this type must be."""
    kind, conditions, _ = parts_of(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f'"{value}"' for value in inner)
    if origin is list:
        kind, conditions, _ = parts_of(inner[0])
        of = "".join(f", {one.description} each" for one in conditions if one.description)
        return f"a list of {_PLURAL.get(kind, 'objects')}{of}"
    if origin is dict:
        return "an object" if inner[1] is Any else f"an object of {_PLURAL.get(inner[1], 'values')}"
    text = _WORDS.get(kind, "an object")
    for condition in conditions:
        if condition.description is not None:
            text += f" of this form: {condition.description}"
        if condition.ge is not None:
            text += f" from {condition.ge:g}"
        if condition.le is not None:
            text += f" to {condition.le:.15g}"
    return text


def wire_error(error: AdminError) -> tuple[str, dict[str, Any]]:
    """Return the long name and the parameters of an error, as they are sent.

    A sentence for people is left out where the contract gives the error no ``message``: hiodctl
    makes its own from the typed parameters.
    """
    kind = ERRORS.get(error.code)
    if kind is None:
        return error.code, error.parameters
    parameters = error.parameters
    if "message" in parameters and "message" not in kind.__struct_fields__:
        parameters = {key: value for key, value in parameters.items() if key != "message"}
    return f"{INTERFACE}.{error.code}", parameters
