"""Something happened to a hand: its new state, and what is to be done.

Decides the life of one hand, by a table with one function for every pair of state and event. Leaves
to ``roster`` which hands may start or stop now, to ``health`` whether a hand is well, and to the
overseer the doing. Invariant: a hand wanted down is never spawned; a hand has at most one process.

The machine in one breath: *stopped* -> *waiting* -> *starting* (-> *registering*) -> *ready* or
*running* (<-> *degraded*) -> *stopping* -> *stopped*; an end nobody asked for leads to *backoff*,
to *failed* or to *done*.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hiod.rules.records import (
    EVENTS,
    Action,
    Cleared,
    Exited,
    Hand,
    Judged,
    Mourn,
    Note,
    Refused,
    Registered,
    RestartAsked,
    Revised,
    SaidReady,
    SendEnd,
    Signal,
    Spawn,
    Spawned,
    StartAsked,
    State,
    StopAsked,
    Sweep,
    Then,
    TimeCame,
    Wanted,
)

if TYPE_CHECKING:
    from hiod.rules.records import Event
    from hiod.rules.specs import HandSpec

Outcome = tuple[Hand, tuple[Action, ...]]
Rule = Callable[[Hand, Any, float], Outcome]

UNKILLABLE_AFTER_S = 5.0
"""How long after SIGKILL a process may still be there before a person is called."""


def step(hand: Hand, event: Event, now: float) -> Outcome:
    """Return the hand after ``event`` at tyme ``now``, and what is to be done, in order."""
    return TABLE[hand.state, type(event)](hand, event, now)


# ---------------------------------------------------------------------------- helpers


def _stay(hand: Hand, _event: Event, _now: float) -> Outcome:
    """Say that this event means nothing to a hand in this state."""
    return hand, ()


def _to(hand: Hand, state: State, reason: str, now: float, **changes: Any) -> Hand:
    """Put the hand into another state, which looks again at ``wake_at`` only if told."""
    changes.setdefault("wake_at", math.inf)
    return replace(hand, state=state, reason=reason, since=now, **changes)


def _note(event: str, hand: Hand, **facts: Any) -> Note:
    return Note(event, hand.name, {"generation": hand.generation, **facts})


def _secs(value: float) -> float:
    """Round seconds to what a person reads."""
    return round(value, 3 if value < 1 else 1)


def delay_s(spec: HandSpec, attempt: int, *, salt: str) -> float:
    """Return the pause before try number ``attempt`` (1 is the first): grown, capped, jittered.

    The jitter is a fixed fraction for a given ``salt``, so that a rule stays a rule and a crowd of
    hands that died together still does not come back together.
    """
    rule = spec.restart
    pause: float = min(rule.delay_s * rule.factor ** max(0, attempt - 1), rule.max_delay_s)
    spread = (zlib.crc32(salt.encode()) / 0xFFFFFFFF) * 2 - 1
    return max(0.0, pause * (1 + rule.jitter * spread))


def recent(hand: Hand, now: float) -> tuple[float, ...]:
    """Return the failures that still count: those within the window."""
    return tuple(at for at in hand.failures if now - at < hand.spec.restart.window_s)


def satisfies(hand: Hand) -> bool:
    """Whether hands that come after this one may start."""
    if hand.spec.ready.by == "exit":
        return hand.state is State.DONE
    return hand.state in {State.READY, State.RUNNING, State.DEGRADED}


def _forget(hand: Hand) -> Hand:
    """Clear what past failures count for."""
    return replace(hand, failures=(), attempt=0)


def _stop_signal(hand: Hand) -> str:
    return str(hand.spec.stop.signal)


def said(hand: Hand, text: str) -> Hand:
    """Return the hand with what it says of itself."""
    return replace(hand, status=text)


def waits(hand: Hand, reason: str) -> Hand:
    """Return a waiting hand with whom it waits for."""
    return replace(hand, reason=reason)


def leaves(hand: Hand) -> Hand:
    """Return a hand that is to leave the crew as soon as it has ended."""
    return replace(hand, leaving=True)


# ---------------------------------------------------------------------------- up


def _start(hand: Hand, event: StartAsked, now: float) -> Outcome:
    """Want the hand up; its failures are forgotten."""
    hand = replace(
        _forget(hand),
        wanted=Wanted.UP,
        wanted_by=event.by,
        wanted_at=event.at_wall,
        restarts=0,
        leaving=False,
    )
    return _await(hand, now, "to be started")


def _want_up(hand: Hand, event: StartAsked, _now: float) -> Outcome:
    """Note the wish; the hand is up or on its way."""
    if hand.wanted is Wanted.UP:
        return hand, ()
    return replace(hand, wanted=Wanted.UP, wanted_by=event.by, wanted_at=event.at_wall), ()


def _start_after_stop(hand: Hand, event: StartAsked, now: float) -> Outcome:
    """Start the hand as soon as it has ended."""
    hand, _ = _want_up(hand, event, now)
    return replace(_forget(hand), then=Then.START, leaving=False), ()


def _await(hand: Hand, now: float, reason: str) -> Outcome:
    """Wait for the hands this one comes after; the roster says when they are there."""
    if hand.next_spec is not None:
        hand = replace(hand, spec=hand.next_spec, next_spec=None)
    return _to(hand, State.WAITING, reason, now), ()


def _spawn(hand: Hand, _event: Cleared, now: float) -> Outcome:
    hand = _to(
        hand,
        State.STARTING,
        "being started",
        now,
        generation=hand.generation + 1,
        process=None,
        registered=False,
        ready_at=None,
        spawned_at=None,
        status="",
        stop_step="",
        asked_by="",
        ended_by="",
    )
    return hand, (Spawn(hand.name),)


def _spawned(hand: Hand, event: Spawned, now: float) -> Outcome:
    """Note its process; how it becomes ready depends on its definition."""
    hand = replace(hand, process=event.process, spawned_at=now)
    said = _note("hand.spawned", hand, pid=event.process.pid)
    ready = hand.spec.ready
    if ready.by == "start":
        hand, more = _up(hand, State.RUNNING, "running", now)
        return hand, (said, *more, _note("hand.running", hand))
    if ready.by == "exit":
        hand = _to(hand, State.RUNNING, "a one-shot at work", now)
        return _timed(hand, now), (said,)
    if ready.by in {"register", "memo"}:
        reason = "its REG has not come yet"
        return _timed(_to(hand, State.REGISTERING, reason, now), now), (said,)
    reason = (
        "READY=1 has not come yet" if ready.by == "notify" else f"{ready.to} does not answer yet"
    )
    return _timed(_to(hand, State.STARTING, reason, now), now), (said,)


def _timed(hand: Hand, now: float) -> Hand:
    """Give a hand that is not ready its time to become so."""
    timeout_s = hand.spec.ready.timeout_s
    return replace(hand, wake_at=math.inf if timeout_s is None else now + timeout_s)


def _registered(hand: Hand, _event: Registered, now: float) -> Outcome:
    hand = replace(hand, registered=True)
    said = _note("hand.registered", hand)
    if hand.spec.ready.by == "register":
        hand, more = _became_ready(hand, "register", now)
        return hand, (said, *more)
    return replace(hand, reason="registered; not ready yet"), (said,)


def _registered_late(hand: Hand, _event: Registered, _now: float) -> Outcome:
    """Note the REG of a hand whose readiness is known otherwise (or that is already going)."""
    return replace(hand, registered=True), (_note("hand.registered", hand),)


def _said_ready(hand: Hand, event: SaidReady, now: float) -> Outcome:
    if event.by != hand.spec.ready.by:
        return hand, ()
    return _became_ready(hand, event.by, now)


def _became_ready(hand: Hand, by: str, now: float) -> Outcome:
    took_s = _secs(now - (hand.spawned_at if hand.spawned_at is not None else now))
    hand, more = _up(hand, State.READY, f"ready ({by})", now)
    return hand, (*more, _note("hand.ready", hand, took_s=took_s, by=by))


def _up(hand: Hand, state: State, reason: str, now: float) -> Outcome:
    """Let good uptime begin; look again when failures are forgotten or its limit is reached."""
    hand = _to(hand, state, reason, now, ready_at=now)
    return replace(hand, wake_at=_next_look(hand)), ()


def _next_look(hand: Hand) -> float:
    """When a hand that is up wants to be looked at."""
    looks = [math.inf]
    if (hand.failures or hand.attempt) and hand.ready_at is not None:
        looks.append(hand.ready_at + hand.spec.restart.reset_after_s)
    if hand.spec.limit_s is not None and hand.spawned_at is not None:
        looks.append(hand.spawned_at + hand.spec.limit_s)
    return min(looks)


def _looked(hand: Hand, _event: TimeCame, now: float) -> Outcome:
    """Forget failures after good uptime; recycle a hand that has reached its limit."""
    spec = hand.spec
    if (
        spec.limit_s is not None
        and hand.spawned_at is not None
        and now >= hand.spawned_at + spec.limit_s
    ):
        said = _note("hand.recycled", hand, uptime_s=_secs(now - hand.spawned_at))
        hand, more = _ask_to_end(hand, now, by="hiod", why="limit_s reached", then=Then.START)
        return hand, (said, *more)
    if hand.ready_at is not None and now >= hand.ready_at + spec.restart.reset_after_s:
        hand = _forget(hand)
    return replace(hand, wake_at=_next_look(hand)), ()


def _one_shot_looked(hand: Hand, event: TimeCame, now: float) -> Outcome:
    """A running hand whose time came is either a one-shot over its time or one to look at."""
    if hand.spec.ready.by == "exit":
        return _not_ready(hand, event, now)
    return _looked(hand, event, now)


def _not_ready(hand: Hand, _event: TimeCame, now: float) -> Outcome:
    """Take a readiness that did not come for a failure."""
    ready = hand.spec.ready
    said = _note("hand.not_ready", hand, timeout_s=ready.timeout_s, by=ready.by)
    why = f"not ready in {ready.timeout_s:g} s"
    hand, more = _ask_to_end(hand, now, by="hiod", why=why, then=Then.RETRY)
    return hand, (said, *more)


# ---------------------------------------------------------------------------- health


def _judged_up(hand: Hand, event: Judged, now: float) -> Outcome:
    if event.ok:
        return hand, ()
    said = _note("hand.degraded", hand, verdict=event.verdict, why=event.why)
    return replace(
        _to(hand, State.DEGRADED, f"{event.verdict}: {event.why}", now), wake_at=hand.wake_at
    ), (said,)


def _judged_degraded(hand: Hand, event: Judged, now: float) -> Outcome:
    if not event.ok:
        return replace(hand, reason=f"{event.verdict}: {event.why}"), ()
    said = _note("hand.recovered", hand, took_s=_secs(now - hand.since))
    state = State.RUNNING if hand.spec.ready.by == "start" else State.READY
    return replace(_to(hand, state, "well again", now), wake_at=hand.wake_at), (said,)


# ---------------------------------------------------------------------------- down


def _ask_to_end(hand: Hand, now: float, *, by: str, why: str, then: Then) -> Outcome:
    """Ask the process to end: by END if it is registered, else by its stop signal."""
    said = _note("hand.stopping", hand, by=by, why=why)
    hand = _to(
        hand,
        State.STOPPING,
        why,
        now,
        stop_step="ask",
        stop_asked_at=now,
        then=then,
        asked_by=by,
        wake_at=now + hand.spec.stop.grace_s,
    )
    if hand.process is None:
        # Its process is ordered and not yet there: whoever reports it also gets the request.
        return replace(hand, wake_at=math.inf), (said,)
    asks: Action = SendEnd(hand.name) if hand.registered else Signal(hand.name, _stop_signal(hand))
    return hand, (said, asks)


def _want_down(hand: Hand, event: StopAsked) -> Hand:
    """Note the wish; a shutdown changes nothing of what is wanted."""
    hand = replace(hand, leaving=hand.leaving or event.leaving)
    if event.then is Then.LEAVE:
        return hand
    return replace(hand, wanted=Wanted.DOWN, wanted_by=event.by, wanted_at=event.at_wall)


def _stop_up(hand: Hand, event: StopAsked, now: float) -> Outcome:
    return _ask_to_end(
        _want_down(hand, event), now, by=event.by, why=f"stop by {event.by}", then=event.then
    )


def _stop_without_process(hand: Hand, event: StopAsked, now: float) -> Outcome:
    hand = _want_down(hand, event)
    if hand.state is State.STOPPED:
        return hand, ()
    return _rest(hand, f"by {event.by}", now)


def _rest(hand: Hand, reason: str, now: float) -> Outcome:
    if hand.next_spec is not None:
        hand = replace(hand, spec=hand.next_spec, next_spec=None)
    return _to(hand, State.STOPPED, reason, now, process=None, registered=False), ()


def _stop_resting(hand: Hand, event: StopAsked, now: float) -> Outcome:
    """Note the wish of a hand that has come to rest; a shutdown leaves its story as it is."""
    if event.then is Then.LEAVE:
        return _want_down(hand, event), ()
    return _stop_without_process(hand, event, now)


def _stop_again(hand: Hand, event: StopAsked, _now: float) -> Outcome:
    """Take back a restart that was to follow the stop under way."""
    return replace(_want_down(hand, event), then=event.then, asked_by=event.by), ()


def _restart_up(hand: Hand, event: RestartAsked, now: float) -> Outcome:
    said = _note("hand.restarting", hand, by=event.by, why=event.why)
    then = Then.RETRY if event.counts else Then.START
    if not event.counts:
        hand = _forget(hand)
    hand, more = _ask_to_end(hand, now, by=event.by, why=f"restart: {event.why}", then=then)
    return hand, (said, *more)


def _restart_resting(hand: Hand, event: RestartAsked, now: float) -> Outcome:
    """Start a hand that is not up: to restart is also to want it up."""
    return _start(hand, StartAsked(event.by), now)


def _restart_stopping(hand: Hand, event: RestartAsked, _now: float) -> Outcome:
    """A stop is under way: start again after it, unless it is wanted down."""
    if hand.then is Then.LEAVE:
        return hand, ()
    return replace(
        _forget(hand), then=Then.START, wanted=Wanted.UP, asked_by=event.by, leaving=False
    ), ()


def _press(hand: Hand, _event: TimeCame, now: float) -> Outcome:
    """Go one step further with a hand that does not end."""
    waited_s = _secs(now - hand.stop_asked_at)
    asked_by_term = not hand.registered and _stop_signal(hand) == "TERM"
    if hand.stop_step == "ask" and not asked_by_term:
        hand = replace(hand, stop_step="term", wake_at=now + hand.spec.stop.term_s)
        said = _note("hand.pressed", hand, waited_s=waited_s, signal="SIGTERM")
        return hand, (said, Signal(hand.name, "TERM"))
    again = hand.stop_step == "kill"
    hand = replace(hand, stop_step="kill", wake_at=now + UNKILLABLE_AFTER_S)
    if again:
        return hand, (_note("hand.unkillable", hand, waited_s=waited_s), Sweep(hand.name))
    return hand, (
        _note("hand.pressed", hand, waited_s=waited_s, signal="SIGKILL"),
        Sweep(hand.name),
    )


def _spawned_too_late(hand: Hand, event: Spawned, now: float) -> Outcome:
    """End a process that came while its hand was already being stopped."""
    hand = replace(
        hand, process=event.process, spawned_at=now, wake_at=now + hand.spec.stop.grace_s
    )
    return hand, (
        _note("hand.spawned", hand, pid=event.process.pid),
        Signal(hand.name, _stop_signal(hand)),
    )


def _stopped(hand: Hand, event: Exited, now: float) -> Outcome:
    """The process ended, as asked."""
    mourn = _mourn(hand, event, now)
    how = event.end.words
    took_s = _secs(now - hand.stop_asked_at)
    then = hand.then
    hand = replace(hand, end=event.end, process=None, registered=False, ended_by=_ended_by(hand))
    if then is Then.RETRY:
        hand, more = _count_failure(hand, event, now)
        return hand, (mourn, *more)
    said = _note("hand.stopped", hand, how=how, took_s=took_s)
    if then is Then.START and hand.wanted is Wanted.UP and not hand.leaving:
        hand = replace(hand, restarts=hand.restarts + 1)
        hand, more = _await(hand, now, "to be started again")
        return hand, (mourn, said, *more)
    reason = f"{how}, by {hand.asked_by}" if hand.asked_by else how
    hand, more = _rest(hand, reason, now)
    return hand, (mourn, said, *more)


def _ended_by(hand: Hand) -> str:
    """Say what it took to end the hand: END, a signal, TERM or KILL."""
    asked = "END" if hand.registered else _stop_signal(hand)
    return {"ask": asked, "term": "TERM", "kill": "KILL"}.get(hand.stop_step, "")


def _refused_stopping(hand: Hand, event: Refused, now: float) -> Outcome:
    """No process came of a hand that is being stopped: it is at rest, or waits to start again."""
    said = _note("hand.refused", hand, message=event.message, step=event.step)
    if hand.then is Then.START and hand.wanted is Wanted.UP and not hand.leaving:
        hand, more = _await(hand, now, "to be started again")
    else:
        hand, more = _rest(hand, f"by {hand.asked_by}", now)
    return hand, (said, *more)


# ---------------------------------------------------------------------------- ends nobody asked for


def _mourn(hand: Hand, event: Exited, now: float) -> Mourn:
    uptime_s = None if hand.spawned_at is None else now - hand.spawned_at
    return Mourn(hand.name, hand.generation, event.end, uptime_s, hand.asked_by)


def _exited(hand: Hand, event: Exited, now: float) -> Outcome:
    """An end nobody asked for: rest, or try again, as the restart policy says."""
    mourn = _mourn(hand, event, now)
    hand = replace(hand, end=event.end, process=None, registered=False)
    how = event.end.words
    if event.end.clean and hand.spec.ready.by == "exit":
        took_s = _secs(mourn.uptime_s or 0.0)
        said = _note("hand.ended", hand, how=how, why="a one-shot that is done")
        return _to(hand, State.DONE, f"{how} after {took_s:g} s", now), (mourn, said)
    policy = hand.spec.restart.policy
    if event.end.clean and policy != "always":
        said = _note("hand.ended", hand, how=how, why=f"restart.policy = {policy}")
        return _to(hand, State.DONE, f"{how}; restart.policy is {policy}", now), (mourn, said)
    if policy == "never":
        said = _note("hand.failed", hand, how=how, note=_told(event), why="restart.policy = never")
        return _to(hand, State.FAILED, f"{how}{_told(event)}", now), (mourn, said)
    hand, more = _count_failure(hand, event, now)
    return hand, (mourn, *more)


def _told(event: Exited | Refused) -> str:
    note = event.note if isinstance(event, Exited) else event.message
    return f": {note}" if note else ""


def _count_failure(hand: Hand, event: Exited | Refused, now: float) -> Outcome:
    """Count a failure, then pause and try again, or give up."""
    how = event.end.words if isinstance(event, Exited) else "cannot be started"
    rule = hand.spec.restart
    # A hand that dies before REG counts too; else a typo in its doers restarts for ever.
    failures = (*recent(hand, now), now)
    hand = replace(hand, failures=failures, attempt=hand.attempt + 1)
    if hand.leaving or hand.wanted is Wanted.DOWN:
        return _rest(hand, how, now)
    if rule.policy == "never":
        said = _note("hand.failed", hand, how=how, note=_told(event), why="restart.policy = never")
        return _to(hand, State.FAILED, f"{how}{_told(event)}", now), (said,)
    if len(failures) > rule.limit:
        said = _note(
            "hand.gave_up",
            hand,
            failures=len(failures),
            window_s=rule.window_s,
            limit=rule.limit,
            how=how,
            note=_told(event),
        )
        reason = f"gave up: {how}{_told(event)}"
        return _to(hand, State.FAILED, reason, now), (said,)
    pause_s = delay_s(hand.spec, hand.attempt, salt=f"{hand.name}.{hand.generation}")
    said = _note(
        "hand.backing_off",
        hand,
        how=how,
        note=_told(event),
        attempt=len(failures),
        limit=rule.limit,
        delay_s=_secs(pause_s),
    )
    hand = replace(hand, restarts=hand.restarts + 1)
    reason = f"{how}{_told(event)}; try {len(failures)} of {rule.limit}"
    if pause_s <= 0:
        hand, more = _await(hand, now, reason)
        return hand, (said, *more)
    return _to(hand, State.BACKOFF, reason, now, wake_at=now + pause_s), (said,)


def _refused(hand: Hand, event: Refused, now: float) -> Outcome:
    said = _note("hand.refused", hand, message=event.message, step=event.step, path=event.path)
    hand, more = _count_failure(replace(hand, process=None), event, now)
    return hand, (said, *more)


def _paused(hand: Hand, _event: TimeCame, now: float) -> Outcome:
    return _await(hand, now, "to be tried again")


# ---------------------------------------------------------------------------- definitions


def _revise_live(hand: Hand, event: Revised, now: float) -> Outcome:
    """Take a changed definition: now, at the next start, or by a restart."""
    hand = replace(hand, spec=event.spec, next_spec=event.next_spec)
    if event.restart:
        return _restart_up(hand, RestartAsked(event.by, "its definition changed"), now)
    if hand.state in {State.READY, State.RUNNING, State.DEGRADED} and hand.ready_at is not None:
        hand = replace(hand, wake_at=_next_look(hand))
    return hand, ()


def _revise_stopping(hand: Hand, event: Revised, _now: float) -> Outcome:
    return replace(hand, spec=event.spec, next_spec=event.next_spec), ()


def _revise_resting(hand: Hand, event: Revised, _now: float) -> Outcome:
    return replace(hand, spec=event.next_spec or event.spec, next_spec=None), ()


# ---------------------------------------------------------------------------- the table

_UP = (State.READY, State.RUNNING, State.DEGRADED)
_YOUNG = (State.STARTING, State.REGISTERING)
_DOWN = (State.STOPPED, State.FAILED, State.DONE)

TABLE: dict[tuple[State, type[Any]], Rule] = {}


def _rule(states: tuple[State, ...], **rules: Rule) -> None:
    kinds = {kind.__name__: kind for kind in EVENTS}
    for state in states:
        for name, rule in rules.items():
            TABLE[state, kinds[name]] = rule


_rule(
    _DOWN,
    StartAsked=_start,
    StopAsked=_stop_resting,
    RestartAsked=_restart_resting,
    Cleared=_stay,
    Spawned=_stay,
    Refused=_stay,
    Registered=_stay,
    SaidReady=_stay,
    Exited=_stay,
    TimeCame=_stay,
    Judged=_stay,
    Revised=_revise_resting,
)
_rule(
    (State.WAITING, State.BACKOFF),
    StartAsked=_start,
    StopAsked=_stop_without_process,
    RestartAsked=_restart_resting,
    Cleared=_stay,
    Spawned=_stay,
    Refused=_stay,
    Registered=_stay,
    SaidReady=_stay,
    Exited=_stay,
    TimeCame=_stay,
    Judged=_stay,
    Revised=_revise_resting,
)
_rule((State.WAITING,), StartAsked=_want_up, Cleared=_spawn)
_rule((State.BACKOFF,), TimeCame=_paused)
_rule(
    _YOUNG,
    StartAsked=_want_up,
    StopAsked=_stop_up,
    RestartAsked=_restart_up,
    Cleared=_stay,
    Spawned=_spawned,
    Refused=_refused,
    Registered=_registered,
    SaidReady=_said_ready,
    Exited=_exited,
    TimeCame=_not_ready,
    Judged=_stay,
    Revised=_revise_live,
)
_rule((State.REGISTERING,), Spawned=_stay, Refused=_stay)
_rule(
    _UP,
    StartAsked=_want_up,
    StopAsked=_stop_up,
    RestartAsked=_restart_up,
    Cleared=_stay,
    Spawned=_stay,
    Refused=_stay,
    Registered=_registered_late,
    SaidReady=_stay,
    Exited=_exited,
    TimeCame=_looked,
    Judged=_judged_up,
    Revised=_revise_live,
)
_rule((State.RUNNING,), TimeCame=_one_shot_looked)
_rule((State.DEGRADED,), Judged=_judged_degraded)
_rule(
    (State.STOPPING,),
    StartAsked=_start_after_stop,
    StopAsked=_stop_again,
    RestartAsked=_restart_stopping,
    Cleared=_stay,
    Spawned=_spawned_too_late,
    Refused=_refused_stopping,
    Registered=_registered_late,
    SaidReady=_stay,
    Exited=_stopped,
    TimeCame=_press,
    Judged=_stay,
    Revised=_revise_stopping,
)
