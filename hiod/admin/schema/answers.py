"""What is answered: one Struct a reply, and the records those are made of.

The docstrings are the reference page's text. Invariant: members are only ever added.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType, field

from hiod.admin.schema.kinds import PROTOCOL, Record, RoleName, StateName, WantedName


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
        next: when it is started again, of one that waits for that.
    """

    spec: str
    next: str | None = None


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
        dead_why: why the latest of those was.
        drops: memos received that no Doer got.
        drop_why: why the latest of those was dropped.
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
    dead_why: str | None = None
    drops: int | None = None
    drop_why: str | None = None
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
        left: whether it has left the crew; false while it is on its way out.
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
    left: bool | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Change(Record):
    """What ``apply`` would do, or did, to one definition or table of hiod.toml.

    Attributes:
        name: the definition, or hiod.toml.
        action: add, remove or change.
        how: start, live, next (at its next start, or with the next boss), restart or stop.
        keys: the keys that differ.
        hands: the hands it is about, those that would be new last.
        message: the same in words; empty where the above says it all.
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
        pending: definitions, and tables of hiod.toml, that apply would change.
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
        pending: definitions, and tables of hiod.toml, that apply would change.
        files: ok, or what is wrong with the crew files in a sentence.
        held: those of them that wait for what will not come by itself, and for what:
            ``after db (failed)``.
    """

    hands: list[Row]
    seq: int = 0
    pending: int = 0
    files: str = "ok"
    held: dict[str, str] = field(default_factory=dict)


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
