"""Why a hand is as it is: what is known of it, put into the order in which a person asks.

Decides which findings speak, in which words, and what would do. Leaves the facts to the records and
what they mean for the hand to ``rules``. Reads, changes nothing. Instants are ISO 8601 UTC, as in
every answer; hiodctl shows them as local time.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hiod.admin import schema
from hiod.boss.orders import ANSWER_S
from hiod.boss.views import plan
from hiod.rules import health, policy, words
from hiod.rules.records import LIVE, State
from hiod.rules.sandbox import Sandbox, obstacle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hiod.boss.stations import Station
    from hiod.boss.views import Clock
    from hiod.rules.records import Hand
    from hiod.rules.sandbox import Obstacle
    from hiod.rules.specs import HandSpec

STACK_LINES = 12
_STAYS = frozenset({State.FAILED, State.STOPPED})
_RESTS = frozenset({State.STOPPED, State.DONE})


def why(
    hand: Hand,
    station: Station,
    clock: Clock,
    *,
    deaths: Sequence[schema.Death],
    waiting: Sequence[str],
    awaited: Sequence[Hand] = (),
    cwd: str = "",
    log: str = "",
    sandbox: Sandbox = Sandbox(),  # noqa: B008 - frozen
    mail: bool | None = None,
) -> schema.Explanation:
    """Explain why a hand is as it is, from what is known of it.

    Args:
        hand: whom.
        station: what is known of it beyond the rules.
        clock: what time it is.
        deaths: how it ended before, the latest first.
        waiting: names of the hands that wait for it.
        awaited: the hands it waits for.
        cwd: where it runs, if that is to be told.
        log: where it prints.
        sandbox: what it runs in.
        mail: whether memos wait in its mailbox, if that is known.
    """
    findings: list[schema.Finding] = []

    def found(label: str, *lines: str) -> None:
        told = [line for line in lines if line]
        if told:
            findings.append(schema.Finding(label=label, lines=told))

    verdict = station.health.verdict if station.health is not None else None
    if station.health is not None and hand.process is not None:
        waits = "; memos wait in its mailbox" if mail else ""
        found("memos", _beat_words(hand, station, clock) + waits, *_lost(station))
        found("process", _process_words(hand, station))
        if verdict in _MEANS:
            found("so", _MEANS[verdict], *station.health.why, *_framed(station.stack))
    found("process", _awaited_of(hand, station))
    found("memos", *_cut_off(hand, station))
    found("for", *(_stands_as(other) for other in awaited))
    refused = station.refused if hand.process is None else None
    unmade = refused.message if refused is not None else _unmade(hand)
    if unmade:
        found("last", f"no process was made: {unmade}")
    if deaths:
        found("last" if hand.process is None and not unmade else "before", *_ended(deaths[0]))
    if hand.process is None and hand.state is not State.WAITING:
        found("ran as", _ran_as(hand, station, cwd))
        barrier = _barrier(hand, station, cwd, sandbox, deaths)
        if barrier is None:
            found("try", _try(hand))
        else:
            found("sandbox", f"{barrier.setting} of {sandbox.unit}: {barrier.why}")
            found("try", *_lift(hand, barrier, sandbox))
    found("try", _let_rest(hand, deaths))
    found("waits", f"for it: {', '.join(waiting)}" if waiting else "no hand waits for it")
    if hand.state not in _STAYS:
        found("next", plan(hand, station, clock) or "")
    return schema.Explanation(
        name=hand.name,
        state=str(hand.state),  # type: ignore[arg-type]  # State's values are the StateNames
        health=str(verdict) if verdict is not None else None,
        summary=_summary(hand, clock, awaited),
        findings=findings,
        can=[one for one in _can(hand, awaited) if log not in _UNREADABLE or "logs" not in one],
    )


_UNREADABLE = frozenset({"inherit", "null"})
"""What is printed there, nobody can show afterwards."""


def _unmade(hand: Hand) -> str:
    """Return why the machine made no process, as an earlier boss may have found it."""
    said = hand.reason.partition(f"{policy.UNSTARTED}: ")[2]
    return said.rpartition("; try ")[0] or said


def _stands_as(hand: Hand) -> str:
    """Say how a hand stands and why, where that says more."""
    text = f"{hand.name} is {policy.stands(hand)}"
    return text if hand.reason == policy.stands(hand) else f"{text}: {hand.reason}"


def _summary(hand: Hand, clock: Clock, awaited: Sequence[Hand]) -> str:
    """Answer in a sentence or two."""
    rule, count = hand.spec.restart, len(hand.failures)
    text = _stands_as(hand)
    match hand.state:
        case State.FAILED if count > rule.limit:
            text = (
                f"{hand.name} is failed: gave up at {clock.iso(hand.since)}, "
                f"{count} failure{'s' if count != 1 else ''} in {rule.window_s:g} s "
                f"(limit {rule.limit})"
            )
        case State.WAITING if awaited:
            text += f". It starts when {awaited[0].name} is there"
        case State.BACKOFF:
            text += f" in {max(0.0, hand.wake_at - clock.now):.1f} s"
        case State.READY | State.RUNNING | State.DEGRADED if failures := policy.recent(
            hand, clock.now
        ):
            count = len(failures)
            times = f"{count} failure{'s' if count != 1 else ''}"
            text += f"; {times} in the last {rule.window_s:g} s (limit {rule.limit})"
        case _:
            pass
    return text + (". Stays so until started." if hand.state in _STAYS else "")


def _ended(last: schema.Death) -> list[str]:
    """Say how an incarnation ended, and show its last words where they say more."""
    how, _, gist = last.reason.partition(": ")
    ran = f", {_span(last.uptime_s)} after its start" if last.uptime_s is not None else ""
    asked = f"asked by {last.asked_by}" if last.asked_by else "nobody asked"
    if last.asked_by and policy.own(last.asked_by):
        asked = f"ended by {last.asked_by}"
    said = _telling(last.last_words or "")
    if len(said) == 1 and gist in (said[0], words.last_said(said[0])):
        said = []
    told = f"{how}{', core' if last.core else ''}{ran}{': ' if gist else ''}{gist}"
    return [f"{told}; {asked}; at {last.at}", *(f"  {line}" for line in said)]


def _span(seconds: float) -> str:
    """Say how long something took, in the unit that tells most."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def _telling(text: str) -> list[str]:
    """Return what says most of last words: the inner end of their traceback, or of a stack dump."""
    if words.has_traceback(text):
        lines = words.traced(text)
    elif words.has_dump(text):
        return _innermost(text)
    else:
        lines = text.strip().splitlines()
    return ["…", *lines[-STACK_LINES:]] if len(lines) > STACK_LINES else lines


_MEANS = {
    health.Verdict.LAGGING: "its loop turns too slowly: it computes too long between yields, or is"
    " starved",
    health.Verdict.SILENT: "its loop stands still and computes nothing: a lock, a call that blocks,"
    " a disk that hangs",
    health.Verdict.STUCK: "a Doer computes without yielding",
    health.Verdict.STOPPED: "its process is stopped: nothing of it runs until it gets SIGCONT",
    health.Verdict.HUNGRY: "it takes more than its definition allows",
}


def _framed(stack: str) -> list[str]:
    return [f"  {line}" for line in _innermost(stack)]


def _innermost(stack: str) -> list[str]:
    """Return the frames of a dump that say most: the innermost ones come first in it."""
    lines = [f'File "{file}", line {line} in {name}' for file, line, name in words.frames(stack)]
    lines = lines or words.innermost(stack)
    if len(lines) > STACK_LINES:
        lines = [*lines[:STACK_LINES], "…"]
    return lines


def _beat_words(hand: Hand, station: Station, clock: Clock) -> str:
    age = station.beat_age(clock.now)
    if station.health is None or not station.health.beats:
        return "sends no heartbeats: only its process is watched"
    if age is None:
        return "no heartbeat yet"
    missed = max(0, int(age / hand.spec.health.beat_s) - 1)
    return f"last beat {age:.1f} s ago, {missed} of {hand.spec.health.misses} missed"


def _lost(station: Station) -> list[str]:
    """Say how many memos a hand lost, each way, and why the latest ones."""
    told = []
    for figure, why, one, more in (
        ("dead", "dead_why", "dead letter", "dead letters"),
        ("drops", "drop_why", "memo dropped", "memos dropped"),
    ):
        count, reason = int(station.figure(figure) or 0), station.words_of(why)
        if count:
            last = f"; last: {reason}" if reason else ""
            told.append(f"{count} {one if count == 1 else more}{last}")
    return told


def _cut_off(hand: Hand, station: Station) -> list[str]:
    if hand.process is None or not station.cut_off:
        return []
    return [
        f"none reaches it: its mailbox {station.addr} was removed",
        f"hiodctl restart {hand.name} makes it anew",
    ]


def _awaited_of(hand: Hand, station: Station) -> str:
    """Name the launcher that is to make a hand's process."""
    if hand.process is not None or hand.state not in LIVE or station.launcher is None:
        return ""
    pid = station.launcher.pid
    return f"launcher pid {pid} is to make it and has not answered; {ANSWER_S:g} s of that fail"


_DOES = {
    "R": "running", "S": "sleeping", "D": "in I/O", "T": "stopped", "t": "held by a debugger",
    "I": "idle", "Z": "ended",
}  # fmt: skip
"""What the kernel's letters mean."""


def _process_words(hand: Hand, station: Station) -> str:
    if hand.process is None or station.sample is None:
        return ""
    sample = station.sample
    return (
        f"{hand.process.pid} {_DOES.get(sample.status, sample.status)}, "
        f"{sample.cpu_percent:.1f} % CPU, "
        f"RSS {sample.rss_bytes >> 20} MiB"
    )


def _ran_as(hand: Hand, station: Station, cwd: str) -> str:
    spec = hand.spec
    if spec.command is not None:
        parts = [shlex.join(spec.command)]
    else:
        python = station.launcher.python if station.launcher is not None else spec.python
        parts = [
            ", ".join(one.ref for one in spec.doers or ()) or "only its Crewer",
            f"path: {':'.join(spec.path)}" if spec.path else "path: nothing added",
            python or "the python of the boss",
        ]
    return "; ".join([*parts, f"cwd {cwd}"] if cwd else parts)


def _barrier(
    hand: Hand, station: Station, cwd: str, sandbox: Sandbox, deaths: Sequence[schema.Death]
) -> Obstacle | None:
    """Return the setting that stands in its way, if it did not end well and one explains that."""
    refused = station.refused
    if refused is not None:
        number = f"[Errno {refused.errno}] " if refused.errno else ""
        path = f' "{refused.path}"' if refused.path else ""
        return obstacle(sandbox, f"{number}{refused.message}{path}", cwd=cwd)
    asked_by = deaths[0].asked_by if deaths else None
    if not deaths or (asked_by and not policy.own(asked_by)) or deaths[0].code == 0:
        return None
    last = deaths[0]
    unfound = hand.spec.path if "ModuleNotFoundError" in last.reason else ()
    said = f"{last.reason}\n{last.last_words or ''}"
    return obstacle(sandbox, said, signal=last.signal, cwd=cwd, looked_in=unfound)


def _lift(hand: Hand, barrier: Obstacle, sandbox: Sandbox) -> list[str]:
    """Say what lets a hand past a setting of its unit."""
    manager = "systemctl --user" if sandbox.user else "systemctl"
    return [
        f"{manager} edit {sandbox.unit}, and write there:",
        "  [Service]",
        *(f"  {line}" for line in barrier.drop_in),
        f"then {manager} restart {sandbox.unit}; hiodctl start {hand.name}",
        barrier.also,
    ]


def _try(hand: Hand) -> str:
    """Say what would do, where the end itself tells."""
    spec = hand.spec
    if spec.doers is None or "ModuleNotFoundError" not in hand.reason:
        return ""
    return f'python = "/path/of/venv/bin/python" or path {_written(spec)}'


def _let_rest(hand: Hand, deaths: Sequence[schema.Death]) -> str:
    """Say what would do for one that has done its work and is started again all the same."""
    spec = hand.spec
    if spec.restart.policy != "always" or not hand.failures or hand.state in _RESTS:
        return ""
    if not deaths or deaths[0].code != 0 or deaths[0].asked_by:
        return ""
    return f'restart.policy = "on-failure", or ready.by = "exit" of a one-shot, {_written(spec)}'


def _written(spec: HandSpec) -> str:
    """Say where a key is written and how it is then applied."""
    if spec.origin is None:
        return f"in its definition, then hiodctl add --replace {spec.name} …"
    where = spec.origin if spec.line is None else f"{spec.origin}:{spec.line}"
    return f"in {where}, then hiodctl apply"


def _can(hand: Hand, awaited: Sequence[Hand]) -> list[str]:
    name = hand.name
    if hand.state in {State.FAILED, State.STOPPED, State.DONE}:
        verbs = [f"start {name}", f"logs {name}"]
    elif awaited:
        verbs = [*(f"why {other.name}" for other in awaited), f"stop {name}"]
    elif hand.state in {State.WAITING, State.BACKOFF}:
        verbs = [f"stop {name}", f"logs {name}"]
    else:
        verbs = [f"restart {name}", f"stop {name}", f"logs {name}"]
    return [f"hiodctl {verb}" for verb in verbs]
