"""Hands as operators see them: records and stations to the rows the admin socket answers.

Decides what is shown and in which words; the shapes are ``admin.schema``'s. Reads, changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from operator import is_
from typing import TYPE_CHECKING, Any

import orjson

from hiod.admin import schema
from hiod.admin.connection import encode
from hiod.boss.stations import limits_of
from hiod.rules import health, roster, specs, story, words
from hiod.rules.policy import firmer, recent
from hiod.rules.records import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hiod.boss.stations import Station
    from hiod.host.launching import Launcher
    from hiod.host.procs import Relative
    from hiod.host.store import SavedDeath, SavedEvent
    from hiod.rules.records import Hand


class Clock:
    """Turns tyme into what people read.

    Args:
        now: tyme.
        offset: wall time less the clock that tyme follows.
    """

    def __init__(self, now: float, offset: float) -> None:
        self.now = now
        self.offset = offset

    def iso(self, tyme: float | None) -> str | None:
        """Return an instant of tyme as ISO 8601 UTC."""
        return None if tyme is None else iso(tyme + self.offset)


def iso(wall: float) -> str:
    """Return wall time as ISO 8601 UTC with milliseconds."""
    return _iso(round(wall * 1000))


@lru_cache(maxsize=4096)
def _iso(wall_ms: int) -> str:
    # The same few instants are asked for with every list.
    seconds, ms = divmod(wall_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03}Z"


def _facts(hand: Hand, station: Station, clock: Clock, version: str) -> dict[str, Any]:
    sample, state = station.sample, station.health
    alive = hand.process is not None
    return {
        "name": hand.name,
        "state": str(hand.state),
        "wanted": str(hand.wanted),
        "pid": hand.process.pid if hand.process else None,
        "generation": hand.generation,
        "since": clock.iso(hand.since) or "",
        "ready_since": clock.iso(hand.ready_at) if alive else None,
        "restarts": hand.restarts,
        "health": str(state.verdict) if state is not None and alive else None,
        "rss": sample.rss_bytes if sample is not None and alive else None,
        "cpu": round(sample.cpu_percent, 1) if sample is not None and alive else None,
        "lag_ms": station.figure("lag_ms") if alive else None,
        "received": _whole(station.figure("in")),
        "sent": _whole(station.figure("out")),
        "outbox": _whole(station.figure("outbox")),
        "status": hand.status or (hand.reason if hand.state not in _QUIET else ""),
        "reason": hand.reason,
        **ages(station.launcher if alive else None, version),
        "labels": dict(hand.spec.labels),
    }


_QUIET = frozenset({State.READY, State.RUNNING})


def ages(launcher: Launcher | None, version: str) -> dict[str, bool]:
    """Say whether what a launcher started runs the code of an older or a newer hiod than this."""
    other = version if launcher is None else launcher.version or version
    newer = words.release(other) > words.release(version)
    return {"older": other != version and not newer, "newer": newer}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def row(hand: Hand, station: Station, clock: Clock, version: str) -> schema.Row:
    """Return one row of ``list``; not for changing.

    It is the one made last while nothing that it shows has changed: lists are asked for far more
    often than that.
    """
    shown: schema.Row = _shown(hand, station, clock, version)[2]
    return shown


def row_text(hand: Hand, station: Station, clock: Clock, version: str) -> bytes:
    """Return the same as it is sent."""
    text: bytes = _shown(hand, station, clock, version)[3]
    return text


def _shown(
    hand: Hand, station: Station, clock: Clock, version: str
) -> tuple[tuple[Any, ...], float, schema.Row, bytes]:
    """Return what a row was made of, at which offset of wall time, the row, and the row as text."""
    verdict = station.health.verdict if station.health is not None else None
    made_of = (hand, station.sample, verdict, station.beat, station.launcher)
    if station.shown is not None:
        before, offset, _, _ = station.shown
        if all(map(is_, before, made_of)) and clock.offset == offset:
            kept: tuple[tuple[Any, ...], float, schema.Row, bytes] = station.shown
            return kept
    due = clock.iso(hand.wake_at) if hand.state is State.BACKOFF else None
    new = schema.Row(spec=roster.base_of(hand), next=due, **_facts(hand, station, clock, version))
    station.shown = made = (made_of, clock.offset, new, encode(new))
    return made


def spliced(around: schema.Record, member: str, texts: Iterable[bytes]) -> bytes:
    """Return an answer as it is sent, whose first member is a list of what is text already."""
    head, opening, tail = encode(around).partition(b'"%s":[' % member.encode())
    return b"".join((head, opening, b",".join(texts), tail))


def status(
    hand: Hand,
    station: Station,
    clock: Clock,
    *,
    version: str,
    clear: bool,
    tree: Sequence[Relative],
    deaths: Iterable[SavedDeath],
    source: str,
    log: str,
    mail: bool | None = None,
) -> schema.Status:
    """Return one hand, whole.

    Args:
        hand: whom.
        station: what is known of it beyond the rules.
        clock: what time it is.
        version: of this hiod.
        clear: show env and opts values.
        tree: its processes.
        deaths: how it ended before, the latest first.
        source: who defined it.
        log: where it prints.
        mail: whether memos wait in its mailbox, if that is known.
    """
    spec = specs.dump(hand.spec)
    return schema.Status(
        spec=spec if clear else specs.mask(spec),
        base=roster.base_of(hand),
        origin=_origin(hand, source),
        wanted_by=hand.wanted_by,
        wanted_since=iso(hand.wanted_at) if hand.wanted_at else None,
        log=log,
        process=_process(hand, station, clock, tree),
        memo=_memo(hand, station, clock, mail),
        restart=_restart(hand, station, clock),
        deaths=[death(one) for one in deaths],
        **_facts(hand, station, clock, version),
    )


def _origin(hand: Hand, source: str) -> str | None:
    if hand.spec.origin is None:
        return "added at runtime" if source == roster.RUNTIME else None
    return hand.spec.origin if hand.spec.line is None else f"{hand.spec.origin}:{hand.spec.line}"


def _process(
    hand: Hand, station: Station, clock: Clock, tree: Sequence[Relative]
) -> schema.ProcessFacts | None:
    if hand.process is None:
        return None
    sample = station.sample
    return schema.ProcessFacts(
        pid=hand.process.pid,
        started=clock.iso(hand.spawned_at),
        adopted=iso(station.adopted_at) if station.adopted_at is not None else None,
        python=_program(hand, station),
        launcher=station.launcher.id if station.launcher is not None else None,
        rss=sample.rss_bytes if sample is not None else None,
        rss_most=station.rss_most or None,
        rss_max=hand.spec.health.rss_max,
        cpu=round(sample.cpu_percent, 1) if sample is not None else None,
        fds=sample.fds if sample is not None else None,
        threads=sample.threads if sample is not None else None,
        **_doing(station, clock),
        tree=[schema.TreeProcess(pid=one.pid, ppid=one.ppid, name=one.name) for one in tree],
    )


def _doing(station: Station, clock: Clock) -> dict[str, Any]:
    """Say where a hand that is not well stands, if its stack was looked at."""
    unwell = station.health is not None and station.health.verdict is not health.Verdict.OK
    frames = words.frames(station.stack) if unwell else []
    if not frames:
        return {}
    where = frames[0]
    text = f"{where.file.rpartition('/')[2]}:{where.line} {where.function}"
    return {"doing": text, "doing_s": station.beat_age(clock.now)}


def _program(hand: Hand, station: Station) -> str | None:
    """Return what runs a hand: its command, or the interpreter of its launcher."""
    if hand.spec.command is not None:
        return hand.spec.command[0]
    return station.launcher.python if station.launcher is not None else hand.spec.python


def _memo(hand: Hand, station: Station, clock: Clock, mail: bool | None) -> schema.MemoFacts:
    limits = hand.spec.health
    age = station.beat_age(clock.now)
    beats = station.health is not None and station.health.beats
    return schema.MemoFacts(
        address=station.addr,
        registered=hand.registered,
        kind="hio" if station.hio else "hiod",
        beat=clock.iso(station.beat_at),
        beat_s=limits.beat_s if beats else None,
        missed=max(0, int(age / limits.beat_s) - 1) if beats and age is not None else 0,
        misses=limits.misses,
        lag_ms=station.figure("lag_ms"),
        received=_whole(station.figure("in")),
        sent=_whole(station.figure("out")),
        outbox=_whole(station.figure("outbox")),
        dead_letters=_whole(station.figure("dead")),
        dead_why=station.words_of("dead_why"),
        drops=_whole(station.figure("drops")),
        drop_why=station.words_of("drop_why"),
        waiting=mail,
    )


def _restart(hand: Hand, station: Station, clock: Clock) -> schema.RestartFacts:
    rule = hand.spec.restart
    due = hand.wake_at if hand.state is State.BACKOFF else None
    return schema.RestartFacts(
        policy=rule.policy,
        restarts=hand.restarts,
        failures=len(recent(hand, clock.now)),
        limit=rule.limit,
        window_s=rule.window_s,
        next=clock.iso(due),
        plan=plan(hand, station, clock),
    )


def plan(hand: Hand, station: Station, clock: Clock) -> str | None:
    """Say what comes next for a hand, in words; None when nothing is under way."""
    left = max(0.0, hand.wake_at - clock.now)
    match hand.state:
        case State.BACKOFF:
            return f"start in {left:.1f} s"
        case State.STOPPING if hand.wake_at < float("inf"):
            again = " again" if hand.stop_step == "kill" else ""
            return f"SIG{firmer(hand)}{again} in {left:.1f} s unless it ends"
        case State.REGISTERING | State.STARTING if hand.wake_at < float("inf"):
            return f"a failure in {left:.1f} s unless it is ready"
        case State.DEGRADED if station.health is not None:
            steps = health.ladder(station.health, limits_of(hand, station))
            due = [max(0.0, step.at - clock.now) for step in steps if step.what == "restart"]
            ending = "unless it gets well (health.on_fail = restart)"
            return f"restart in {due[0]:.1f} s {ending}" if due else None
        case State.FAILED:
            return "nothing until it is started: hiodctl start " + hand.name
        case _:
            return None


def death(saved: SavedDeath) -> schema.Death:
    """Return one death as it is answered."""
    kept = orjson.loads(saved.record)
    signal, code = kept.get("signal"), kept.get("code")
    known = code is not None or signal is not None
    reason = f"signal {signal}" if signal is not None else f"exit {code}"
    return schema.Death(
        at=iso(saved.at),
        generation=kept.get("generation", 0),
        pid=kept.get("pid"),
        code=code,
        signal=signal,
        core=kept.get("core", False),
        known=known,
        rss_most=kept.get("rss"),
        uptime_s=kept.get("uptime_s"),
        beat_s=kept.get("last_beat_s"),
        asked_by=kept.get("asked_by") or None,
        reason=(reason if known else "unknown") + (f": {kept['gist']}" if kept.get("gist") else ""),
        last_words=kept.get("words") or None,
    )


def event(saved: SavedEvent) -> schema.Event:
    """Return one kept event as it is answered."""
    facts = orjson.loads(saved.facts)
    return _event(saved.seq, saved.at, saved.name, facts)


@lru_cache(maxsize=2048)
def event_text(saved: SavedEvent) -> bytes:
    """Return the same as it is sent. The latest are asked for again and again."""
    return encode(event(saved))


def live_event(*, seq: int, at: float, event: str, facts: dict[str, Any]) -> schema.Event:
    """Return an event that happens now."""
    return _event(seq, at, event, facts)


def _event(seq: int, at: float, name: str, facts: dict[str, Any]) -> schema.Event:
    told = story.STORY.get(name)
    return schema.Event(
        seq=seq,
        at=iso(at),
        event=name,
        level=told.level if told is not None else "info",
        hand=facts.get("hand"),
        generation=facts.get("generation"),
        message=story.tell(name, facts),
        facts=facts,
    )
