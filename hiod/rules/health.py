"""Two witnesses, one verdict: is a hand well, and how far may the boss go if not.

Decides from what a hand says of itself (heartbeats) and what the kernel says of its process
(samples) how it is, and what is to be done about it when. Leaves to others: asking either
witness, doing what is decided, and whether a hand became ready in time.

Invariant: nobody is condemned by a single look that may be chance, nor for time in which the
boss itself did not look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiod.rules.specs import Health

__all__ = [
    "Beat",
    "Evidence",
    "HealthState",
    "Sample",
    "Step",
    "Verdict",
    "begin",
    "expect",
    "judge",
    "ladder",
    "next_check_at",
    "patience_s",
    "steps",
    "still_well",
    "suspect",
]


class Verdict(StrEnum):
    """How a hand is, in one word."""

    OK = "ok"
    LAGGING = "lagging"  # turns, but late: it computes too long between yields, or is starved
    SILENT = "silent"  # no beats and no CPU: a deadlock, a blocking call, a disk that hangs
    STUCK = "stuck"  # no beats and it burns CPU: a Doer computes without yielding
    STOPPED = "stopped"  # the kernel does not let it run: SIGSTOP, a debugger, a frozen cgroup
    HUNGRY = "hungry"  # over rss_max, cpu_max or fds_max


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat of a hand.

    Attributes:
        at: when the boss got it (tyme).
        cycles: how often its loop has turned.
        lag_s: the most its loop was late since the beat before.
        outbox: memos it could not yet send.
    """

    at: float
    cycles: int = 0
    lag_s: float = 0.0
    outbox: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a hand's process.

    Attributes:
        at: when (tyme).
        status: the kernel's letter (``R S D T t Z I``); ``X``: it is gone.
        rss_bytes: memory; of the whole tree when ``children`` is not None.
        cpu_percent: of one core, since the look before; of the tree likewise.
        cpu_s: user and system time of the process itself since it started.
        fds: its open file descriptors; None: not looked at, or not allowed to.
        threads: its threads.
        children: living descendants; None: not looked for.
        frozen: its cgroup is frozen (seen with ``children`` only).
    """

    at: float
    status: str = "S"
    rss_bytes: int = 0
    cpu_percent: float = 0.0
    cpu_s: float = 0.0
    fds: int | None = None
    threads: int | None = None
    children: int | None = None
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is new since the last judgement; all empty when only time has passed.

    Attributes:
        beat: a heartbeat that came.
        sample: a look that was taken.
        boss_late_s: by how much the boss's own turn was late: time nobody else answers for.
    """

    beat: Beat | None = None
    sample: Sample | None = None
    boss_late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class HealthState:
    """What is known of one incarnation's health. Made by :func:`begin`, advanced by :func:`judge`.

    Attributes:
        beats: whether heartbeats are to be expected of it.
        verdict: how it is; ``since`` from when (tyme).
        acts_from: from when on the ladder counts: ``since``, and the boss's absences after it.
        why: the witnesses' words for the verdict; empty when ok.
        beats_from: from when on its silence counts.
        beat: its latest heartbeat, ``sample`` the latest look at its process.
        leaning: the verdict the latest looks speak for, if another; ``looks`` how many did.
    """

    beats: bool
    since: float
    acts_from: float
    beats_from: float
    verdict: Verdict = Verdict.OK
    why: tuple[str, ...] = ()
    beat: Beat | None = None
    sample: Sample | None = None
    leaning: Verdict | None = None
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of the ladder: ``what`` is note, dump or restart; ``at`` is when (tyme)."""

    what: str
    at: float


# How many looks in a row make a verdict. Missed beats have been counted already.
WORSENS = {
    Verdict.LAGGING: 2,
    Verdict.SILENT: 1,
    Verdict.STUCK: 1,
    Verdict.STOPPED: 2,
    Verdict.HUNGRY: 3,
}
BETTERS = 2  # looks for ok, or for another verdict than the one that stands
EASES = 0.9  # a limit once passed counts as passed down to this part of it
BURNS_PERCENT = 20.0  # of one core: more is computing, less is waiting
SLACK_S = 0.5  # a beat may be this late by chance
LATE_S = 1.0  # a boss later than this was not there; the hands get a beat's time more
WITNESS_S = 2.0  # how long a verdict on missed beats waits for a look at the process
DUMP_AFTER_S = 1.0  # from the verdict to the stack dump
DUMP_S = 1.0  # what a dump may take before a restart ends its writer

RUNGS: dict[Verdict, tuple[str, ...]] = {
    Verdict.OK: (),
    # It turns: a new one would be as starved, and a stack shows nothing of a loop that goes on.
    Verdict.LAGGING: ("note",),
    Verdict.SILENT: ("note", "dump", "restart"),
    Verdict.STUCK: ("note", "dump", "restart"),
    Verdict.STOPPED: ("note", "restart"),  # what does not run cannot dump its stack
    Verdict.HUNGRY: ("note", "dump", "restart"),
}
RANK = {"note": 1, "dump": 2, "restart": 3}

_STOPPED = frozenset("Tt")
_ENDED = frozenset("ZXx")  # how a process ended is told by others, at once
_AMISS = _STOPPED | _ENDED


def begin(now: float, *, beats: bool) -> HealthState:
    """Return the health of an incarnation that has just become ready or running.

    Args:
        now: tyme.
        beats: whether it sends heartbeats: registered, and neither hio's nor a command.
    """
    return HealthState(beats=beats, since=now, acts_from=now, beats_from=now)


def expect(state: HealthState, now: float) -> HealthState:
    """Return the health of a hand that has begun to send heartbeats: from now on they may miss."""
    return state if state.beats else replace(state, beats=True, beats_from=now)


def patience_s(limits: Health) -> float:
    """Return how long a hand may send no heartbeat before that is held against it."""
    return limits.misses * limits.beat_s


def judge(
    state: HealthState, evidence: Evidence, now: float, limits: Health
) -> tuple[HealthState, Verdict, tuple[str, ...]]:
    """Take in what is new; return the state, the verdict and the witnesses' words for it.

    To be called when there is evidence and when :func:`next_check_at` has come; more often does
    no harm: what has been counted is not counted again.
    """
    fresh_beat = evidence.beat is not None
    fresh_sample = evidence.sample is not None and evidence.sample.status not in _ENDED
    state = _take_in(state, evidence, now, limits)
    speaks_for, why = _weigh(state, now, limits)
    if speaks_for is state.verdict:
        state = replace(state, why=why, leaning=None, looks=0)
        return state, state.verdict, state.why
    looks = state.looks if speaks_for is state.leaning else 0
    if _counts(state.verdict, speaks_for, fresh_beat=fresh_beat, fresh_sample=fresh_sample):
        looks += 1
    if looks >= _needed(state.verdict, speaks_for):
        state = replace(
            state,
            verdict=speaks_for,
            since=now,
            acts_from=now,
            why=why,
            leaning=None,
            looks=0,
        )
    else:
        state = replace(state, leaning=speaks_for, looks=looks)
    return state, state.verdict, state.why


def still_well(
    state: HealthState,
    now: float,
    limits: Health,
    *,
    beat: Beat | None = None,
    sample: Sample | None = None,
) -> HealthState | None:
    """Return what :func:`judge` makes of a beat or a look at a hand that was well and still is.

    None when it may make more of it: then judge is to be asked. This is for what comes all day
    long and says nothing new; only the time of the next check is to be asked for after a beat.
    """
    beats_from = state.beats_from
    if (
        state.verdict is not Verdict.OK
        or state.leaning is not None
        or state.why
        or (state.beats and now - beats_from >= _suspect_s(limits))
    ):
        return None
    if beat is None:
        beat = state.beat
    elif beat.at > beats_from:
        beats_from = beat.at
    if sample is None:
        sample = state.sample
    if (beat is not None and beat.lag_s > limits.lag_s) or (
        sample is not None
        and (sample.frozen or sample.status in _AMISS or _over(sample, limits, was=False))
    ):
        return None
    return HealthState(
        state.beats, state.since, state.acts_from, beats_from, beat=beat, sample=sample
    )


def next_check_at(state: HealthState, now: float, limits: Health) -> float:
    """Return when time alone may change the verdict or bring a step: later than ``now``, or inf."""
    if state.beats and state.verdict is Verdict.OK:
        suspect_at = state.beats_from + _suspect_s(limits)
        if suspect_at > now:
            return suspect_at
    marks = [step.at for step in ladder(state, limits)]
    if state.beats:
        missed_s = _missed_s(limits)
        silences = (_suspect_s(limits), missed_s, missed_s + WITNESS_S)
        marks += [state.beats_from + silence for silence in silences]
    at_last = now + limits.beat_s if state.beats else math.inf
    return min((at for at in marks if at > now), default=at_last)


def suspect(state: HealthState, now: float, limits: Health) -> bool:
    """Say whether its process should be looked at closely and often: tree, fds, every second."""
    if state.verdict is not Verdict.OK or state.leaning is not None:
        return True
    return state.beats and now - state.beats_from >= _suspect_s(limits)


def ladder(state: HealthState, limits: Health) -> tuple[Step, ...]:
    """Return what is done about the verdict that stands, and when, as far as ``on_fail`` allows.

    The hand has as long to become well by itself as it had to miss its beats, and at least the
    time to dump its stack.
    """
    patience_s = max(limits.misses * limits.beat_s, DUMP_AFTER_S + DUMP_S)
    after_s = {"note": 0.0, "dump": DUMP_AFTER_S, "restart": patience_s}
    return tuple(
        Step(what, state.acts_from + after_s[what])
        for what in RUNGS[state.verdict]
        if RANK[what] <= RANK[limits.on_fail]
    )


def steps(state: HealthState, now: float, limits: Health) -> tuple[Step, ...]:
    """Return those steps of the ladder whose time has come, the oldest first.

    None while the latest looks speak for ok: who is getting well is not restarted. The same
    step is returned as long as the verdict stands; the caller knows what it has done.
    """
    if state.leaning is Verdict.OK:
        return ()
    return tuple(step for step in ladder(state, limits) if step.at <= now)


def _take_in(state: HealthState, evidence: Evidence, now: float, limits: Health) -> HealthState:
    late_s = evidence.boss_late_s
    if late_s > 0.0:
        # While the boss did not look, beats could not come. After a long while all others may
        # have been away too, and get the time of one beat to say so.
        grace_s = limits.beat_s if late_s >= LATE_S else 0.0
        state = replace(
            state,
            beats_from=_excused(state.beats_from, late_s, now, grace_s),
            acts_from=_excused(state.acts_from, late_s, now, grace_s),
        )
        if late_s >= LATE_S:
            state = replace(state, leaning=None, looks=0)
    if evidence.beat is not None:
        beat = evidence.beat
        state = replace(state, beat=beat, beats_from=max(state.beats_from, beat.at))
    if evidence.sample is not None and evidence.sample.status not in _ENDED:
        state = replace(state, sample=evidence.sample)
    return state


def _excused(start: float, late_s: float, now: float, grace_s: float) -> float:
    return max(start, min(start + late_s, now) + grace_s)


def _weigh(state: HealthState, now: float, limits: Health) -> tuple[Verdict, tuple[str, ...]]:
    """Return what the witnesses say at this moment, the gravest first."""
    sample = state.sample
    if sample is not None and (sample.status in _STOPPED or sample.frozen):
        return Verdict.STOPPED, _stopped_why(sample)
    if state.beats and (now - state.beats_from >= _missed_s(limits) or _unanswered(state)):
        return _weigh_silence(state, now, limits)
    over = _over(sample, limits, was=state.verdict is Verdict.HUNGRY)
    if over:
        return Verdict.HUNGRY, over
    return _weigh_lag(state, limits)


def _unanswered(state: HealthState) -> bool:
    """Say whether no beat has come since it was found silent: only a beat can end that."""
    if state.verdict not in (Verdict.SILENT, Verdict.STUCK):
        return False
    return state.beat is None or state.beat.at <= state.since


def _weigh_silence(
    state: HealthState, now: float, limits: Health
) -> tuple[Verdict, tuple[str, ...]]:
    overdue_s = now - state.beats_from
    missed = f"{max(int(overdue_s // limits.beat_s), limits.misses)} beats missed"
    sample = state.sample
    if sample is None or sample.at < state.beats_from:
        if overdue_s >= _missed_s(limits) + WITNESS_S:
            return Verdict.SILENT, (missed, "its process could not be looked at")
        return state.verdict, state.why  # without the other witness there is no verdict yet
    if sample.status == "R" or sample.cpu_percent >= BURNS_PERCENT:
        return Verdict.STUCK, (missed, f"runs, {sample.cpu_percent:.1f} % CPU")
    if sample.status == "D":
        return Verdict.SILENT, (missed, "waits in the kernel (disk sleep)")
    return Verdict.SILENT, (missed, f"sleeps, {sample.cpu_percent:.1f} % CPU")


def _weigh_lag(state: HealthState, limits: Health) -> tuple[Verdict, tuple[str, ...]]:
    limit_s = limits.lag_s * (EASES if state.verdict is Verdict.LAGGING else 1.0)
    if state.beat is None or state.beat.lag_s <= limit_s:
        return Verdict.OK, ()
    why = f"loop up to {state.beat.lag_s:.1f} s late, limit {limits.lag_s:g} s"
    sample = state.sample
    if sample is None:
        return Verdict.LAGGING, (why,)
    if sample.cpu_percent < BURNS_PERCENT and sample.status == "R":
        return Verdict.LAGGING, (why, f"starved: wants to run and gets {sample.cpu_percent:.1f} %")
    return Verdict.LAGGING, (why, f"{sample.cpu_percent:.1f} % CPU")


def _over(sample: Sample | None, limits: Health, *, was: bool) -> tuple[str, ...]:
    if sample is None:
        return ()
    ease = EASES if was else 1.0
    over = []
    if limits.rss_max is not None and sample.rss_bytes > limits.rss_max * ease:
        over.append(f"RSS {_mib(sample.rss_bytes)}, limit {_mib(limits.rss_max)}")
    if limits.cpu_max is not None and sample.cpu_percent > limits.cpu_max * ease:
        over.append(f"{sample.cpu_percent:.1f} % CPU, limit {limits.cpu_max:g} %")
    if limits.fds_max is not None and sample.fds is not None and sample.fds > limits.fds_max * ease:
        over.append(f"{sample.fds} open files, limit {limits.fds_max}")
    return tuple(over)


def _stopped_why(sample: Sample) -> tuple[str, ...]:
    if sample.frozen:
        return ("its cgroup is frozen",)
    return ("stopped by a debugger",) if sample.status == "t" else ("stopped by a signal",)


def _counts(was: Verdict, speaks_for: Verdict, *, fresh_beat: bool, fresh_sample: bool) -> bool:
    """Say whether this look is another one, for the witness that this change hangs on."""
    about = was if speaks_for is Verdict.OK else speaks_for
    if about is Verdict.LAGGING:
        return fresh_beat
    if about in (Verdict.HUNGRY, Verdict.STOPPED):
        return fresh_sample
    if _needed(was, speaks_for) == 1:
        return True  # the beats missed have been counted: time itself was the witness
    return fresh_beat or fresh_sample


def _needed(was: Verdict, speaks_for: Verdict) -> int:
    if speaks_for is Verdict.OK:
        return BETTERS
    if was in (Verdict.SILENT, Verdict.STUCK, Verdict.STOPPED):
        return max(WORSENS[speaks_for], BETTERS)
    return WORSENS[speaks_for]


def _suspect_s(limits: Health) -> float:
    return min(limits.beat_s + SLACK_S, _missed_s(limits))


def _missed_s(limits: Health) -> float:
    return limits.misses * limits.beat_s + min(SLACK_S, limits.beat_s / 2)


def _mib(size: int) -> str:
    return f"{size / 1048576:.0f}M"
