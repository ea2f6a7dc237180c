"""What a hand is: the keys of a crew file, as frozen records.

The fields of these records are the keys of a crew file and the members of the admin protocol's
``spec``; each carries its default, what it must be and when a change takes hold, and everything
else is worked out from that: reading, writing, comparing, the reference. Where a file or a
request comes from is left to others; so is everything that is done with a hand. Invariant: a
``HandSpec`` that was parsed can be launched as it stands, and its dump parses to its equal.
"""

from __future__ import annotations

import graphlib
import json
import re
from dataclasses import MISSING, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from hiod.rules.checking import (
    BAD,
    Applies,
    Array,
    Choice,
    Flag,
    Key,
    Kind,
    Map,
    Maybe,
    Number,
    Problem,
    Size,
    Spot,
    did_you_mean,
    dump_record,
    flatten,
    key,
    keys_of,
    make_record,
    merge,
    read_table,
    record_schema,
    table,
)
from hiod.rules.kinds import (
    HAND_NAME,
    LABEL_KEY,
    LABEL_VALUE,
    RLIMIT,
    WITHOUT_TILDE,
    EnvName,
    Filled,
    Log,
    Opts,
    Path,
    Ref,
    Rlimit,
    SignalName,
    Target,
    Umask,
    fill,
)
from hiod.rules.writing import toml_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_INSTANCES: Final = 10_000
RESERVED: Final = ("boss",)


@dataclass(frozen=True, slots=True)
class DoerRef:
    """One entry of ``doers``: what to import in the hand, and what to call it with."""

    ref: str = key(MISSING, Ref(), "what to import in the hand, and to call")
    tock: float | None = key(None, Maybe(Number()), "its tock in seconds; absent: its own")
    opts: Mapping[str, Any] = key({}, Opts(), "what it is called with")


@dataclass(frozen=True, slots=True)
class _Doer(Kind):
    """An entry of ``doers``: a reference, or a table that has one."""

    text: ClassVar[str] = '`"module:attribute"` or `{ ref, tock, opts }`'

    def read(self, value: object, spot: Spot) -> Any:
        """Take both forms."""
        if isinstance(value, str):
            ref = Ref().read(value, spot)
            return BAD if ref is BAD else DoerRef(ref)
        if not isinstance(value, dict):
            message = 'must be "module:attribute", or a table with ref, tock and opts'
            return spot.refuse("wrong_type", message, value)
        read = read_table(value, keys_of(DoerRef), spot)
        if "ref" not in value:
            return spot.at("ref").refuse("missing", 'is missing; write ref = "module:attribute"')
        return make_record(DoerRef, read) if len(read) == len(value) else BAD

    def dump(self, value: Any) -> Any:
        """Return the table."""
        made = dump_record(value)
        return made if value.opts else {name: made[name] for name in made if name != "opts"}

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"anyOf": [Ref().schema(), record_schema(DoerRef) | {"required": ["ref"]}]}


@dataclass(frozen=True, slots=True)
class Ready:
    """When a hand counts as ready; ``timeout_s`` None waits for ever (only ``by = "exit"``)."""

    by: str = key(
        "register",
        Choice(("register", "memo", "notify", "connect", "exit", "start")),
        "what says that a hand is ready",
        applies="next",
        shown="`register`; of a command `start`",
    )
    to: str | None = key(
        None,
        Maybe(Target()),
        'where a hand accepts connections once it is ready; with `by = "connect"` only',
        applies="next",
    )
    timeout_s: float | None = key(
        10.0,
        Maybe(Number(above=0)),
        "a hand that is not ready by then has failed",
        applies="next",
        shown='`10`; with `by = "exit"` none',
    )


@dataclass(frozen=True, slots=True)
class Restart:
    """What follows an end nobody asked for."""

    policy: str = key(
        "always",
        Choice(("always", "on-failure", "never")),
        "which ends are followed by another start",
        applies="live",
    )
    delay_s: float = key(0.5, Number(), "wait before the first retry", applies="live")
    factor: float = key(
        2.0, Number(least=1, most=100), "each further wait is that much longer", applies="live"
    )
    max_delay_s: float = key(30.0, Number(), "no wait is longer", applies="live")
    jitter: float = key(
        0.1, Number(most=1), "share of a wait that is left to chance", applies="live"
    )
    reset_after_s: float = key(
        60.0, Number(), "after so long a good run the waits begin anew", applies="live"
    )
    limit: int = key(
        5,
        Number(whole=True),
        "more ends than this within the window, and the hand is given up (`failed`)",
        applies="live",
    )
    window_s: float = key(60.0, Number(above=0), "the window of `limit`", applies="live")


@dataclass(frozen=True, slots=True)
class Stop:
    """How a hand is asked to end; ``signal`` is a name without ``SIG``."""

    grace_s: float = key(
        10.0, Number(), "how long a hand may take to end by itself once asked", applies="live"
    )
    term_s: float = key(5.0, Number(), "how long after TERM, before KILL", applies="live")
    signal: str = key(
        "TERM", SignalName(), "how a hand that has not registered is asked", applies="live"
    )


@dataclass(frozen=True, slots=True)
class Health:
    """What is watched; ``rss_max`` in bytes, ``cpu_max`` in percent of one core."""

    beat_s: float = key(
        5.0, Number(above=0, most=86400), "how often a registered hand says that it turns"
    )
    misses: int = key(
        3, Number(whole=True, least=1), "how many beats may be missed", applies="live"
    )
    lag_s: float = key(2.0, Number(above=0), "a loop that is later than that lags", applies="live")
    on_fail: str = key(
        "dump",
        Choice(("note", "dump", "restart")),
        "how far to go with a hand that is not well; each includes those before it",
        applies="live",
    )
    rss_max: int | None = key(None, Maybe(Size()), "most memory, with children", applies="live")
    cpu_max: float | None = key(
        None, Maybe(Number(above=0)), "most CPU time, percent of one core", applies="live"
    )
    fds_max: int | None = key(
        None, Maybe(Number(whole=True, least=1)), "most open files", applies="live"
    )


@dataclass(frozen=True, slots=True)
class HandSpec:
    """One hand of the wanted crew, or ``count`` alike.

    Exactly one of ``doers`` and ``command`` is not None. ``umask`` is the number, ``rlimits`` are
    pairs (soft, hard) with -1 for no limit, ``log`` None means where the boss logs by itself.
    ``origin`` and ``line`` say where it was written and take no part in comparisons.
    """

    name: str = key(
        MISSING, HAND_NAME, "the name; in a crew file it stands in `[hand.NAME]`", shared=False
    )
    doers: tuple[DoerRef, ...] | None = key(
        None,
        Maybe(Array(_Doer(), _Doer.text)),
        "Doers to run in the hand; `[]` is a hand with only its Crewer",
        shared=False,
    )
    command: tuple[str, ...] | None = key(
        None,
        Maybe(Array(Filled(), "strings", least=1, typed=True)),
        "instead of doers: a program and its arguments, no shell; it stays in the foreground;"
        " a program with a slash is found from `cwd`",
        shared=False,
    )
    python: str | None = key(
        None,
        Maybe(Path(filled=False, program=True)),
        "another interpreter for the Doers; hiod must be installed there",
        shown="the boss's",
    )
    path: tuple[str, ...] = key(
        (),
        Array(Path(), "paths"),
        "directories in front of `sys.path`, relative to the crew file; `PYTHONPATH` of `env`"
        " comes next, `cwd` is not on the path",
    )
    count: int | None = key(
        None,
        Maybe(Number(whole=True, most=MOST_INSTANCES)),
        "so many alike: `NAME-0`, `NAME-1`, …, even if it is 1; absent: one, plainly `NAME`",
        applies="live",
        shared=False,
    )
    start: bool = key(
        True, Flag(), "whether a hand that is new to the crew is wanted up", applies="live"
    )
    tock: float = key(0.03125, Number(), "cycle time of the hand's Doist in seconds")
    limit_s: float | None = key(
        None, Maybe(Number(above=0)), "the hand is recycled after so long; absent: never"
    )
    after: tuple[str, ...] = key(
        (),
        Array(HAND_NAME, "names", unique=True),
        "hands that must be ready, running or done before this one starts",
        applies="next",
        shared=False,
    )
    labels: Mapping[str, str] = key(
        {},
        Map(LABEL_KEY, LABEL_VALUE, "table of strings"),
        "for `hiodctl -l key=value`",
        applies="live",
    )
    cwd: str = key("${HIOD_STATE_DIR}", Path(), "working directory")
    env_file: tuple[str, ...] = key(
        (),
        Array(Path(optional=True), "paths"),
        "files of `KEY=value` lines as systemd reads them; read at every start, never stored;"
        " `-` in front: may be missing",
    )
    env: Mapping[str, str] = key(
        {},
        Map(EnvName(), Filled(empty=True), "table of strings", hidden=True),
        "environment variables, over those of `env_file`",
    )
    umask: int = key(0o027, Umask(), "file mode mask")
    nice: int = key(0, Number(whole=True, least=-20, most=19), "scheduling priority")
    rlimits: Mapping[str, tuple[int, int]] = key(
        {},
        Map(RLIMIT, Rlimit(), f"table of {Rlimit.text}"),
        f"resource limits: {', '.join(RLIMIT.choices)}",
    )
    log: str | None = key(
        None,
        Maybe(Log()),
        "where output goes",
        shown="`journal` if the boss logs there, else `inherit`; detached `STATE/log/NAME.log`",
    )
    ready: Ready = field(default_factory=Ready, metadata=table(Ready, "when the hand is ready"))
    restart: Restart = field(
        default_factory=Restart, metadata=table(Restart, "what follows an end nobody asked for")
    )
    stop: Stop = field(default_factory=Stop, metadata=table(Stop, "how the hand is stopped"))
    health: Health = field(default_factory=Health, metadata=table(Health, "what is watched"))
    origin: str | None = field(default=None, compare=False)
    line: int | None = field(default=None, compare=False)

    @property
    def where(self) -> str | None:
        """Where it was written, for people: ``crew.d/shop.toml:12``."""
        return self.origin if self.line is None else f"{self.origin}:{self.line}"


KEYS: Final[dict[str, Key]] = flatten(HandSpec)
"""Every key of a hand by its dotted name: the one table."""

FOR_DOERS: Final = {
    "python": "is for doers; a command hand names its interpreter in command",
    "path": "is for doers; a command hand takes PYTHONPATH from env",
    "tock": "is for doers; a command hand has no Doist of hiod's",
}
"""Keys that mean nothing to a command; as defaults they pass it by."""

_CHECK: Final = (
    "is not a key; readiness is ready.by (connect, notify, memo, …), what is watched is health"
)
_ALL_OF_IT: Final = "stop.signal goes to the hand; what is left of it afterwards is always ended"
_ROTATED: Final = "hiod rotates no files; logrotate with copytruncate does, or log to the journal"
POINTERS: Final[dict[str, str]] = {
    "user": "hands run as the boss's user; run a second boss as the other user",
    "group": "hands run as the boss's user and group; run a second boss as the other one",
    "schedule": "hiod starts nothing by the clock; let a systemd timer run: hiodctl start NAME",
    "pre_start": 'make it a hand of its own with ready.by = "exit", and name that in after',
    "post_stop": "hiod runs nothing after a stop; watch `hiodctl events`, or end in the hand",
    "shell": 'there is no shell in between; write command = ["sh", "-c", "…"] if it must be',
    "check": _CHECK,
    "exitcodes": "only exit 0 ends well; what follows which end is restart.policy",
    "killasgroup": _ALL_OF_IT,
    "priority": "order is by name and not by number: after names the hands that come first",
    "process_name": "the key of the table is the name; with count they are NAME-0, NAME-1, …",
    "redirect_stderr": "output and errors go to the same place here, the one log names",
    "startretries": "unknown key; it is restart.limit here, failures in restart.window_s",
    "startsecs": "what says that a hand is up is ready.by; a good run lasts restart.reset_after_s",
    "stderr_logfile_backups": _ROTATED,
    "stderr_logfile_maxbytes": _ROTATED,
    "stdout_logfile_backups": _ROTATED,
    "stdout_logfile_maxbytes": _ROTATED,
    "stopasgroup": _ALL_OF_IT,
    **{
        theirs: f'unknown key; it is called "{ours}" here'
        for theirs, ours in {
            "autorestart": "restart.policy",
            "autostart": "start",
            "chdir": "cwd",
            "cmd": "command",
            "depends_on": "after",
            "directory": "cwd",
            "environment": "env",
            "environment_file": "env_file",
            "exec": "command",
            "numprocesses": "count",
            "numprocs": "count",
            "replicas": "count",
            "requires": "after",
            "stderr_logfile": "log",
            "stdout_logfile": "log",
            "stopsignal": "stop.signal",
            "stopwaitsecs": "stop.grace_s",
            "working_dir": "cwd",
            "working_directory": "cwd",
        }.items()
    },
}
"""Keys that are refused for a reason of their own, or are known by another name."""


# ---------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Defaults:
    """A layer of defaults that was read and is good."""

    values: Mapping[str, Any] = field(default_factory=dict)


def parse_defaults(
    mapping: object, *, path: str = "defaults", folder: str | None = None
) -> tuple[Defaults, list[Problem]]:
    """Read a ``defaults`` table; what is wrong in it is left out and told.

    Args:
        mapping: the table.
        path: where it stands, for the problems.
        folder: the absolute directory that relative paths in it start from.
    """
    spot = Spot(path, [], folder)
    if not isinstance(mapping, dict):
        spot.refuse("wrong_type", "must be a table of keys that every hand may have", mapping)
        return Defaults(), spot.problems
    keys = keys_of(HandSpec)
    shared = {name: known for name, known in keys.items() if known.shared}
    alone = {
        name: "belongs to one hand and cannot be a default"
        for name, known in keys.items()
        if not known.shared
    }
    return Defaults(read_table(mapping, shared, spot, pointers=POINTERS | alone)), spot.problems


def parse(
    mapping: object,
    *,
    path: str = "spec",
    name: str | None = None,
    defaults: Sequence[Defaults] = (),
    origin: str | None = None,
    line: int | None = None,
    folder: str | None = None,
) -> tuple[HandSpec | None, list[Problem]]:
    """Read one hand; return it, or None and everything that is wrong with it.

    Args:
        mapping: its keys, as a crew file or a request has them.
        path: where they stand, for the problems (``hand.web``, ``spec``).
        name: its name, if the place gives it and not the key ``name``.
        defaults: layers that its own keys lie over, the first the lowest.
        origin: the file it came from, for people.
        line: the line in that file.
        folder: the absolute directory that relative paths start from; None refuses them.
    """
    spot = Spot(path, [], folder)
    if not isinstance(mapping, dict):
        hint = 'write doers = ["module:attribute"] or command = ["program"] in it'
        spot.refuse("wrong_type", f"must be a table; {hint}", mapping)
        return None, spot.problems
    own = read_table(mapping, keys_of(HandSpec), spot, pointers=POINTERS)
    _settle_name(own, mapping, name, spot)
    under: dict[str, Any] = {}
    for layer in defaults:
        under = merge(under, layer.values)
    if mapping.get("command") is not None:
        under = {known: value for known, value in under.items() if known not in FOR_DOERS}
    values = merge(under, own)
    _check_form(mapping, spot)
    if own.get("name") in own.get("after", ()):
        spot.at("after").refuse("cycle", "names the hand itself")
    _settle_ready(values, mapping, own, spot)
    _check_delays(values, spot)
    if spot.problems:
        return None, spot.problems
    return make_record(HandSpec, values, origin=origin, line=line), []


def _settle_name(
    own: dict[str, Any], mapping: Mapping[str, object], given: str | None, spot: Spot
) -> None:
    here = spot.at("name")
    if given is not None:
        if "name" in mapping and mapping["name"] != given:
            here.refuse("conflict", f"is not {json.dumps(given)}, the name it stands under")
        read = HAND_NAME.read(given, spot)
        if read is not BAD:
            own["name"] = read
    elif "name" not in mapping:
        here.refuse("missing", "is missing; every hand has a name")
    if own.get("name") in RESERVED:
        (here if given is None else spot).refuse(
            "not_allowed", "must be another name; the boss itself is called that", own["name"]
        )


def _check_form(mapping: Mapping[str, object], spot: Spot) -> None:
    """Check that it has doers or a command, and nothing that goes with the other only."""
    doers, command = (mapping.get(form) is not None for form in ("doers", "command"))
    if doers and command:
        spot.refuse("conflict", "has both doers and command; one hand is one of them")
    elif not doers and not command:
        hint = 'write doers = ["module:attribute"] or command = ["program", "argument"]'
        spot.refuse("missing", f"has neither doers nor command; {hint}")
    if command:
        for name, why in FOR_DOERS.items():
            if mapping.get(name) is not None:
                spot.at(name).refuse("not_allowed", why)
        words = mapping["command"]
        program = words[0] if isinstance(words, list | tuple) and words else None
        if isinstance(program, str) and program.startswith("~") and "/" in program:
            spot.at("command").item(0).refuse("not_allowed", WITHOUT_TILDE, program)


def _settle_ready(
    values: dict[str, Any], mapping: Mapping[str, object], own: Mapping[str, Any], spot: Spot
) -> None:
    """Work out what depends on what says that the hand is ready."""
    written, read = mapping.get("ready", {}), own.get("ready", {})
    if not isinstance(written, dict) or len(written) != len(read):
        return  # what is wrong in it was told; more would be guessing
    ready = dict(values.get("ready", {}))
    here = spot.at("ready")
    by = ready.setdefault("by", "start" if mapping.get("command") is not None else "register")
    if by == "connect":
        if ready.get("to") is None:
            hint = 'write ready.to = "127.0.0.1:8000" or the path of a socket'
            here.at("to").refuse("missing", f'is missing with ready.by = "connect"; {hint}')
    elif ready.pop("to", None) is not None and read.get("to") is not None:
        here.at("to").refuse("not_allowed", f'is for ready.by = "connect"; here it is "{by}"')
    if by == "exit":
        ready.setdefault("timeout_s", None)
    elif "timeout_s" in ready and ready["timeout_s"] is None:
        here.at("timeout_s").refuse(
            "not_allowed", 'must be a number; only ready.by = "exit" may take for ever', None
        )
    values["ready"] = ready


def _check_delays(values: Mapping[str, Any], spot: Spot) -> None:
    restart = values.get("restart", {})
    plain = Restart()
    first = restart.get("delay_s", plain.delay_s)
    most = restart.get("max_delay_s", plain.max_delay_s)
    if first > most:
        spot.at("restart").at("delay_s").refuse(
            "out_of_range", f"must be at most max_delay_s, which is {most:g}", first
        )


def check_crew(specs: Sequence[HandSpec], *, known: Iterable[str] = ()) -> list[Problem]:
    """Return what is wrong between hands: names taken twice, ``after`` that leads nowhere or back.

    Args:
        specs: the whole crew.
        known: names of hands that exist but could not be read; to come after one is no problem.
    """
    problems: list[Problem] = []
    byname: dict[str, HandSpec] = {}
    for spec in specs:
        if spec.name in byname:
            first = byname[spec.name].where
            told = f"is in {first} already" if first else "is there twice"
            _spot(spec, problems).refuse("duplicate", f"{told}; a hand has one definition")
        else:
            byname[spec.name] = spec
    names = {*byname, *known}
    for spec in byname.values():
        base = counted_base(spec.name, byname)
        if base is not None:
            message = f"is the name of an instance of {json.dumps(base)}, which has a count"
            _spot(spec, problems).refuse("conflict", f"{message}; choose another")
        for at, name in enumerate(spec.after):
            if name not in names:
                where = _spot(spec, problems).at("after").item(at)
                where.refuse("no_such_hand", _nowhere(name, names, byname))
    _check_cycles(byname, problems)
    return problems


def counted_base(name: str, crew: Mapping[str, HandSpec]) -> str | None:
    """Return the counted hand whose instance is called this, whatever its count is now."""
    found = re.fullmatch(r"(.+)-(?:0|[1-9][0-9]*)", name, re.ASCII)
    base = crew.get(found[1]) if found else None
    return None if base is None or base.count is None else base.name


def _spot(spec: HandSpec, problems: list[Problem]) -> Spot:
    lead = f"{spec.origin}: " if spec.origin else ""
    return Spot(f"{lead}hand.{spec.name}", problems)


def _nowhere(name: str, names: Iterable[str], byname: Mapping[str, HandSpec]) -> str:
    base = counted_base(name, byname)
    if base is not None:
        return f'names "{name}", one instance; write "{base}" to come after all of them'
    return f'names "{name}", which is not in the crew{did_you_mean(name, names)}'


def _check_cycles(byname: Mapping[str, HandSpec], problems: list[Problem]) -> None:
    """Tell of cycles of ``after``, each by the names in it; one edge of each is then dropped."""
    graph = {name: [one for one in spec.after if one in byname] for name, spec in byname.items()}
    place = {name: at for at, name in enumerate(byname)}
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            ring: list[str] = error.args[1][:0:-1]  # its ends are the same hand
            first = min(range(len(ring)), key=lambda at: place[ring[at]])
            ring = [*ring[first:], *ring[:first]]
            spot = _spot(byname[ring[0]], problems).at("after")
            spot.refuse("cycle", f"leads back to itself: {' after '.join([*ring, ring[0]])}")
            graph[ring[0]].remove(ring[1 % len(ring)])
        else:
            return


# ---------------------------------------------------------------------------- writing


def dump(spec: HandSpec) -> dict[str, Any]:
    """Return a hand as plain data, every key that is not absent; it parses to its equal."""
    made = dump_record(spec)
    if spec.command is not None:
        for name in FOR_DOERS:
            made.pop(name, None)
    return made


def dump_sparse(spec: HandSpec, defaults: Sequence[Defaults] = ()) -> dict[str, Any]:
    """Return only what differs from the built-in defaults; it parses to its equal too.

    It also says what ``defaults`` would say otherwise, so that it does so beneath them. What they
    add to a table of the hand's own, as to ``env``, cannot be taken back.
    """
    form, by = ("doers", "register") if spec.command is None else ("command", "start")
    # What the others would be if only the form and what makes it ready were written.
    plain = Ready(spec.ready.by, timeout_s=None if spec.ready.by == "exit" else Ready().timeout_s)
    base = dump(HandSpec(spec.name, spec.doers, spec.command, ready=plain))
    if spec.ready.by != by:
        del base["ready"]["by"]
    full = dump(spec)
    # The hand's own value stands wherever something else may be said of the same key.
    told = {name: value for layer in defaults for name, value in layer.values.items()}
    differ = {
        name: {
            word: item
            for word, item in value.items()
            if base[name].get(word) != item
            or any(word in layer.values.get(name, ()) for layer in defaults)
        }
        if isinstance(value, dict)
        else value
        for name, value in full.items()
        if value != base.get(name) or name in told
    }
    if form == "doers":
        full["doers"] = [one["ref"] if [*one] == ["ref"] else one for one in full["doers"]]
    return {"name": spec.name, form: full[form], **differ}


def crew_file(specs: Iterable[HandSpec], defaults: Sequence[Defaults] = ()) -> str:
    """Return hands as the text of a crew file, each with what differs from the defaults."""
    tables = []
    for spec in specs:
        values = dump_sparse(spec, defaults)
        del values["name"]
        tables.append(toml_table(f"hand.{spec.name}", values))
    return "\n".join(tables)


def mask(dumped: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dump whose environment and opts values are hidden; their names stay."""
    made = dict(dumped)
    if "env" in made:
        made["env"] = dict.fromkeys(made["env"], "***")
    if made.get("doers") is not None:
        made["doers"] = [
            one | {"opts": dict.fromkeys(one["opts"], "***")}
            if isinstance(one, dict) and "opts" in one
            else one
            for one in made["doers"]
        ]
    return made


def json_schema() -> dict[str, Any]:
    """Return a hand's keys as JSON Schema (2020-12)."""
    forms = [{"required": ["doers"]}, {"required": ["command"]}]
    return record_schema(HandSpec) | {"required": ["name"], "oneOf": forms}


# ---------------------------------------------------------------------------- using


def instances(spec: HandSpec) -> list[tuple[str, int | None]]:
    """Return the hands a definition stands for: name and ordinal, None where there is no count."""
    if spec.count is None:
        return [(spec.name, None)]
    return [(f"{spec.name}-{ordinal}", ordinal) for ordinal in range(spec.count)]


def diff(old: HandSpec, new: HandSpec) -> dict[str, Applies]:
    """Return the keys in which two definitions differ, and when each change takes hold."""
    return {
        name: known.applies
        for name, known in KEYS.items()
        if _value(old, name) != _value(new, name)
    }


def _value(spec: HandSpec, dotted: str) -> Any:
    value: Any = spec
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


def variables(
    spec: HandSpec,
    *,
    instance: str,
    ordinal: int | None,
    generation: int,
    state_dir: str,
    addr: str,
    boss_name: str,
    boss_addr: str,
) -> dict[str, str]:
    """Return what every hand has in its environment, and what ``${HIOD_…}`` stands for.

    The ordinal of a hand without a count is the empty string.
    """
    return {
        "HIOD_NAME": instance,
        "HIOD_HAND": spec.name,
        "HIOD_ORDINAL": "" if ordinal is None else str(ordinal),
        "HIOD_GENERATION": str(generation),
        "HIOD_STATE_DIR": state_dir,
        "HIOD_ADDR": addr,
        "HIOD_BOSS": boss_name,
        "HIOD_BOSS_ADDR": boss_addr,
    }


def order(
    spec: HandSpec,
    *,
    instance: str,
    ordinal: int | None,
    generation: int,
    token: str,
    state_dir: str,
    addr: str,
    boss_name: str,
    boss_addr: str,
    boss_pid: int,
    log_default: str = "inherit",
    log_dir: str = "",
    notify: str | None = None,
    cgroup: str | None = None,
    place: int = 0,
) -> dict[str, Any]:
    """Return the order to launch one hand, with nothing left to resolve.

    Args:
        spec: what it is.
        instance: its own name.
        ordinal: its number, if it has one.
        generation: the number of this incarnation.
        token: the mark of this incarnation.
        state_dir: its own directory, ``STATE/hands/NAME``.
        addr: the path of its mailbox.
        boss_name: the boss's name in memos.
        boss_addr: the path of the boss's memo socket.
        boss_pid: the boss's process.
        log_default: where it logs if the definition does not say: ``journal``, ``inherit``,
            ``null``, or ``file`` for a file of its own in ``log_dir``.
        log_dir: the directory of such files.
        notify: the path for its ``NOTIFY_SOCKET``, if it is to have one.
        cgroup: the path of its control group, if there is one.
        place: its number among all hands: neighbours beat one right after the other.
    """
    names = variables(
        spec,
        instance=instance,
        ordinal=ordinal,
        generation=generation,
        state_dir=state_dir,
        addr=addr,
        boss_name=boss_name,
        boss_addr=boss_addr,
    )
    doers = spec.doers
    log = f"{log_dir}/{instance}.log" if log_default == "file" else log_default
    return {
        "v": 1,
        "name": instance,
        "hand": spec.name,
        "ordinal": ordinal,
        "generation": generation,
        "token": token,
        "doers": None
        if doers is None
        else [{"ref": d.ref, "tock": d.tock, "opts": fill(dict(d.opts), names)} for d in doers],
        "command": None if spec.command is None else fill(spec.command, names),
        "path": fill(spec.path, names),
        "cwd": fill(spec.cwd, names),
        "env_file": fill(spec.env_file, names),
        "env": fill(dict(spec.env), names),
        "environ": names,
        "umask": spec.umask,
        "nice": spec.nice,
        "rlimits": {name: list(pair) for name, pair in spec.rlimits.items()},
        "log": log if spec.log is None else fill(spec.log, names),
        "tock": spec.tock,
        "limit_s": spec.limit_s,
        "ready_by": spec.ready.by,
        "ready_to": fill(spec.ready.to, names),
        "notify": notify,
        "beat_s": spec.health.beat_s,
        "place": place,
        "boss": {"name": boss_name, "addr": boss_addr, "pid": boss_pid},
        "addr": addr,
        "state_dir": state_dir,
        "cgroup": cgroup,
    }
