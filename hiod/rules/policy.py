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
    AskStack,
    Cleared,
    End,
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

STACK_S = 0.25
"""How long a hand that is not ready may take to write where it hangs, before it is ended."""
UNKILLABLE_AFTER_S = 5.0
"""How long after SIGKILL a process may still be there before a person is called."""
UNKILLABLE_AGAIN_S = 3600.0
"""Longest time between two calls for a person; each waits as long as all before it together."""
_OWN = "hiod: "
UNTOLD = f"{End().words}: its launcher does not answer"
"""How a process ended of which its launcher does not tell."""
UNSTARTED = "cannot be started"
"""How the reason begins of a hand that no process was made for."""
LIMIT_SLACK_S = 1.0
"""How much sooner than the boss a hand may find that its ``limit_s`` is reached."""


def step(hand: Hand, event: Event, now: float) -> Outcome:
    """Return the hand after ``event`` at tyme ``now``, and what is to be done, in order."""
    # A look whose time has not come was for what the hand was before another event of this turn.
    if isinstance(event, TimeCame) and now < hand.wake_at:
        return hand, ()
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
    hands that died together still does not come back together. No pause is longer than
    ``max_delay_s``: what jitter would add to it is taken off instead.
    """
    rule = spec.restart
    try:
        grown = rule.delay_s * rule.factor ** max(0, attempt - 1)
    except OverflowError:
        # Months of a hand that dies, but never often enough to be given up.
        grown = rule.max_delay_s if rule.delay_s else 0.0
    pause = min(grown, rule.max_delay_s)
    spread = (zlib.crc32(salt.encode()) / 0xFFFFFFFF) * 2 - 1
    jittered = pause * (1 + rule.jitter * spread)
    return float(min(jittered, 2 * rule.max_delay_s - jittered))


def recent(hand: Hand, now: float) -> tuple[float, ...]:
    """Return the failures that still count: those within the window."""
    return tuple(at for at in hand.failures if now - at < hand.spec.restart.window_s)


def satisfies(hand: Hand) -> bool:
    """Whether hands that come after this one may start."""
    if hand.state is State.DONE:
        return True
    return not _one_shot(hand) and hand.state in {State.READY, State.RUNNING, State.DEGRADED}


def stands(hand: Hand) -> str:
    """Say how a hand stands, as it follows an "is"."""
    return "in backoff" if hand.state is State.BACKOFF else str(hand.state)


def own(asked_by: str) -> bool:
    """Whether hiod itself asked for an end, because the hand was not well."""
    return asked_by.startswith(_OWN)


def _forget(hand: Hand) -> Hand:
    """Clear what past failures count for."""
    return replace(hand, failures=(), attempt=0)


def _stays(hand: Hand) -> bool:
    """Whether the hand is to be started again once it has ended."""
    return hand.wanted is Wanted.UP and not hand.leaving


def _one_shot(hand: Hand) -> bool:
    """Whether the hand is there to end: it is ready by having exited 0."""
    return hand.spec.ready.by == "exit"


def revised(hand: Hand) -> Hand:
    """Return a hand that has no process with the definition that waited for its next start."""
    if hand.next_spec is None:
        return hand
    return replace(hand, spec=hand.next_spec, next_spec=None)


def firmer(hand: Hand) -> str:
    """Return the signal that a hand which is being stopped gets when its time is up."""
    if not hand.stop_step:
        return str(hand.spec.stop.signal)
    return "TERM" if hand.stop_step == "ask" and hand.ended_by != "TERM" else "KILL"


def said(hand: Hand, text: str) -> Hand:
    """Return the hand with what it says of itself."""
    return replace(hand, status=text)


def waits(hand: Hand, reason: str) -> Hand:
    """Return a waiting hand with whom it waits for."""
    return replace(hand, reason=reason)


def leaves(hand: Hand) -> Hand:
    """Return a hand that is to leave the crew as soon as it has ended."""
    return replace(hand, leaving=True)


def stays(hand: Hand, wanted: Wanted, *, by: str, at_wall: float) -> Hand:
    """Return a hand that was to leave the crew and is one of it after all."""
    return replace(hand, leaving=False, wanted=wanted, wanted_by=by, wanted_at=at_wall)


# ---------------------------------------------------------------------------- up


def _start(hand: Hand, event: StartAsked, now: float) -> Outcome:
    """Want the hand up; its failures are forgotten."""
    return _await(replace(_wish_up(hand, event), restarts=0), now, "to be started")


def _wish_up(hand: Hand, event: StartAsked | RestartAsked) -> Hand:
    """Note that somebody wants the hand up: past failures are forgotten, it no longer leaves."""
    hand = replace(_forget(hand), leaving=False)
    if hand.wanted is Wanted.UP:
        return hand
    return replace(hand, wanted=Wanted.UP, wanted_by=event.by, wanted_at=event.at_wall)


def _want_up(hand: Hand, event: StartAsked, _now: float) -> Outcome:
    """Note the wish: the hand is up or on its way, and what it has failed at still counts."""
    if _stays(hand):
        return hand, ()
    wished = _wish_up(hand, event)
    return replace(wished, failures=hand.failures, attempt=hand.attempt), ()


def _start_waiting(hand: Hand, event: StartAsked, _now: float) -> Outcome:
    """Go on waiting, with past failures forgotten."""
    return _wish_up(hand, event), ()


def _start_after_stop(hand: Hand, event: StartAsked, _now: float) -> Outcome:
    """Start the hand as soon as it has ended; a shutdown goes on all the same."""
    then = hand.then if hand.then is Then.LEAVE else Then.START
    return replace(_wish_up(hand, event), then=then), ()


def _await(hand: Hand, now: float, reason: str) -> Outcome:
    """Wait for the hands this one comes after; the roster says when they are there."""
    return _to(revised(hand), State.WAITING, reason, now), ()


def _spawn(hand: Hand, _event: Cleared, now: float) -> Outcome:
    if not _stays(hand):
        return hand, ()
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
        addr="",
        stop_step="",
        asked_by="",
        ended_by="",
    )
    return hand, (Spawn(hand.name),)


def _spawned(hand: Hand, event: Spawned, now: float) -> Outcome:
    """Note its process; how it becomes ready depends on its definition."""
    if hand.process is not None:
        return hand, ()
    hand = replace(hand, process=event.process, spawned_at=now)
    said = _note("hand.spawned", hand, pid=event.process.pid)
    ready = hand.spec.ready
    if ready.by == "start":
        hand, more = _up(hand, State.RUNNING, "running", now)
        return hand, (said, *more, _note("hand.running", hand))
    if _one_shot(hand):
        hand = _to(hand, State.RUNNING, "a one-shot at work", now)
        return timed(hand, now), (said,)
    if ready.by in {"register", "memo"}:
        reason = "its REG has not come yet"
        return timed(_to(hand, State.REGISTERING, reason, now), now), (said,)
    reason = (
        "READY=1 has not come yet" if ready.by == "notify" else f"{ready.to} does not answer yet"
    )
    return timed(_to(hand, State.STARTING, reason, now), now), (said,)


def timed(hand: Hand, now: float) -> Hand:
    """Give a hand that is not ready its time to become so."""
    timeout_s = hand.spec.ready.timeout_s
    return replace(hand, wake_at=math.inf if timeout_s is None else now + timeout_s)


def _spawned_unasked(hand: Hand, event: Spawned, _now: float) -> Outcome:
    """End a process that nobody waits for any more: its hand may get another one."""
    why = f"process {event.process.pid} came when its start had been given up"
    return hand, (_note("hand.stopping", hand, by="hiod", why=why), Sweep(hand.name))


def _registered(hand: Hand, event: Registered, now: float) -> Outcome:
    if hand.registered or hand.process is None:
        return hand, ()
    hand = replace(hand, registered=True, addr=event.addr)
    said = _note("hand.registered", hand)
    if hand.spec.ready.by == "register":
        hand, more = _became_ready(hand, "register", now)
        return hand, (said, *more)
    return replace(hand, reason="registered; not ready yet"), (said,)


def _registered_late(hand: Hand, event: Registered, _now: float) -> Outcome:
    """Note the REG of a hand whose readiness is known otherwise (or that is already going)."""
    if hand.registered or hand.process is None:
        return hand, ()
    return replace(hand, registered=True, addr=event.addr), (_note("hand.registered", hand),)


def _said_ready(hand: Hand, event: SaidReady, now: float) -> Outcome:
    if event.by != hand.spec.ready.by or hand.process is None:
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
    if _one_shot(hand):
        timeout_s = hand.spec.ready.timeout_s
        return math.inf if timeout_s is None else (hand.spawned_at or 0.0) + timeout_s
    runs_well = hand.attempt and hand.state is not State.DEGRADED
    reset_at = hand.since + hand.spec.restart.reset_after_s if runs_well else math.inf
    return min(reset_at, _limit_at(hand))


def _limit_at(hand: Hand) -> float:
    """When the hand is to be recycled."""
    if hand.spec.limit_s is None or hand.spawned_at is None:
        return math.inf
    return hand.spawned_at + hand.spec.limit_s


def _looked(hand: Hand, event: TimeCame, now: float) -> Outcome:
    """Recycle a hand that has reached its limit; let waits begin anew after a good run.

    The failures themselves are not forgotten here: they count for as long as their window lasts.
    """
    if _one_shot(hand):
        return _not_ready(hand, event, now)
    if now >= _limit_at(hand):
        said = _recycled(hand, now)
        hand, more = _ask_to_end(hand, now, by="hiod", why="limit_s reached", then=Then.START)
        return hand, (said, *more)
    hand = replace(hand, attempt=0, failures=recent(hand, now))
    return replace(hand, wake_at=_next_look(hand)), ()


def _recycled(hand: Hand, now: float) -> Note:
    return _note("hand.recycled", hand, uptime_s=_secs(_uptime_s(hand, now)))


def _uptime_s(hand: Hand, now: float) -> float:
    return 0.0 if hand.spawned_at is None else now - hand.spawned_at


def _not_ready(hand: Hand, _event: TimeCame, now: float) -> Outcome:
    """Take a readiness that did not come for a failure; let it first tell where it hangs."""
    ready = hand.spec.ready
    # By what it was given, which a changed definition may not say any more.
    given_s = _secs(hand.wake_at - hand.since)
    if ready.by == "connect":
        missed = f"{ready.to} did not answer"
    else:
        missed = _MISSED.get(ready.by, "it had no process")
    said = _note("hand.not_ready", hand, timeout_s=given_s, by=ready.by, why=missed)
    why = f"not ready in {given_s:g} s: {missed}"
    by, asks_stack = f"{_OWN}{why}", hand.spec.doers is not None
    hand, more = _ask_to_end(hand, now, by=by, why=why, then=Then.RETRY, asks_stack=asks_stack)
    return hand, (said, *more)


_MISSED = {
    "register": "it did not register",
    "memo": "no Doer called self.ready()",
    "notify": "it did not say READY=1",
    "exit": "it did not exit",
}
"""What was waited for in vain, by ``ready.by``."""


# ---------------------------------------------------------------------------- health


def _judged_up(hand: Hand, event: Judged, now: float) -> Outcome:
    if event.ok:
        return hand, ()
    said = _note("hand.degraded", hand, verdict=event.verdict, why=event.why)
    hand = _to(hand, State.DEGRADED, f"{event.verdict}: {event.why}", now)
    return replace(hand, wake_at=_next_look(hand)), (said,)


def _judged_degraded(hand: Hand, event: Judged, now: float) -> Outcome:
    if not event.ok:
        return replace(hand, reason=f"{event.verdict}: {event.why}"), ()
    said = _note("hand.recovered", hand, took_s=_secs(now - hand.since))
    state = State.RUNNING if hand.spec.ready.by in {"start", "exit"} else State.READY
    hand = _to(hand, state, "well again", now)
    return replace(hand, wake_at=_next_look(hand)), (said,)


# ---------------------------------------------------------------------------- down


def _ask_to_end(
    hand: Hand, now: float, *, by: str, why: str, then: Then, asks_stack: bool = False
) -> Outcome:
    """Let the hand end, by asking its process first; before that, if told, for its stack."""
    said = _note("hand.stopping", hand, by=by, why=why)
    hand = _to(
        hand,
        State.STOPPING,
        why,
        now,
        stop_step="",
        stop_asked_at=now,
        then=then,
        asked_by=by,
    )
    if hand.process is None:
        # Its process is ordered and not yet there: whoever reports it also gets the request.
        return hand, (said,)
    if asks_stack:
        return replace(hand, wake_at=now + STACK_S), (said, AskStack(hand.name))
    hand, asks = _ask(hand, now)
    return hand, (said, asks)


def _ask(hand: Hand, now: float) -> tuple[Hand, Action]:
    """Ask the process to end: by END if it is registered, else by its stop signal."""
    how = "END" if hand.registered else str(hand.spec.stop.signal)
    asks: Action = SendEnd(hand.name) if hand.registered else Signal(hand.name, how)
    wake_at = now + hand.spec.stop.grace_s
    return replace(hand, stop_step="ask", ended_by=how, wake_at=wake_at), asks


def wants_down(hand: Hand, event: StopAsked) -> Hand:
    """Note the wish; a shutdown changes nothing of what is wanted."""
    hand = replace(hand, leaving=hand.leaving or event.leaving)
    if event.then is Then.LEAVE:
        return hand
    return replace(hand, wanted=Wanted.DOWN, wanted_by=event.by, wanted_at=event.at_wall)


def _stop_up(hand: Hand, event: StopAsked, now: float) -> Outcome:
    return _ask_to_end(wants_down(hand, event), now, by=event.by, why=event.why, then=event.then)


def _stop_resting(hand: Hand, event: StopAsked, now: float) -> Outcome:
    """Note the wish of a hand that has come to rest; a shutdown leaves its story as it is."""
    if event.then is Then.LEAVE or hand.state is State.STOPPED:
        return wants_down(hand, event), ()
    return _stop_waiting(hand, event, now)


def _stop_waiting(hand: Hand, event: StopAsked, now: float) -> Outcome:
    """Put a hand without a process to rest."""
    said = _note("hand.stopped", hand, how=f"it was {stands(hand)}", took_s=0)
    return _rest(wants_down(hand, event), f"by {event.by}", now), (said,)


def _rest(hand: Hand, reason: str, now: float) -> Hand:
    return _to(revised(hand), State.STOPPED, reason, now)


def _stop_again(hand: Hand, event: StopAsked, _now: float) -> Outcome:
    """Take back a restart that was to follow the stop under way."""
    return replace(wants_down(hand, event), then=event.then, asked_by=event.by), ()


def _restart_up(hand: Hand, event: RestartAsked, now: float) -> Outcome:
    """End the hand and start it again; an operator's wish also takes back its leaving."""
    if event.counts:
        return _again(hand, now, by=event.by, why=event.why, then=Then.RETRY)
    return _again(_wish_up(hand, event), now, by=event.by, why=event.why, then=Then.START)


def _again(hand: Hand, now: float, *, by: str, why: str, then: Then) -> Outcome:
    said = _note("hand.restarting", hand, by=by, why=why)
    by = f"{_OWN}{why}" if then is Then.RETRY else by
    hand, more = _ask_to_end(hand, now, by=by, why=f"restart: {why}", then=then)
    return hand, (said, *more)


def _restart_down(hand: Hand, event: RestartAsked, now: float) -> Outcome:
    """Start a hand that is not up: to restart is also to want it up, if an operator asks.

    What hiod itself asks of a hand that is not up any more has been overtaken.
    """
    if event.counts:
        return hand, ()
    return _start(hand, StartAsked(event.by, event.at_wall), now)


def _restart_stopping(hand: Hand, event: RestartAsked, now: float) -> Outcome:
    """A stop is under way: start again after it, if an operator asks."""
    if event.counts:
        return hand, ()
    return _start_after_stop(hand, StartAsked(event.by, event.at_wall), now)


def _press(hand: Hand, event: TimeCame, now: float) -> Outcome:
    """Go one step further with a hand that does not end."""
    if event.ended:
        return _untold(hand, now)
    if not hand.stop_step:
        hand, asks = _ask(hand, now)
        return hand, (asks,)
    waited_s = now - hand.stop_asked_at
    if firmer(hand) == "TERM":
        hand = replace(hand, stop_step="term", ended_by="TERM")
        said = _note("hand.pressed", hand, waited_s=_secs(waited_s), signal="SIGTERM")
        wake_at = now + hand.spec.stop.term_s
        return replace(hand, wake_at=wake_at), (said, Signal(hand.name, "TERM"))
    if hand.stop_step != "kill":
        hand = replace(hand, stop_step="kill", ended_by="KILL", wake_at=now + UNKILLABLE_AFTER_S)
        said = _note("hand.pressed", hand, waited_s=_secs(waited_s), signal="SIGKILL")
        return hand, (said, Sweep(hand.name))
    pause_s = min(max(waited_s, UNKILLABLE_AFTER_S), UNKILLABLE_AGAIN_S)
    said = _note("hand.unkillable", hand, waited_s=_secs(waited_s))
    return replace(hand, wake_at=now + pause_s), (said, Sweep(hand.name))


def _untold(hand: Hand, now: float) -> Outcome:
    """Let the launcher of a process that has ended say how; then go on without knowing."""
    if hand.stop_step == "kill":
        return _ended_as_asked(hand, Exited(End()), UNTOLD, now)
    hand = replace(hand, stop_step="kill", wake_at=now + UNKILLABLE_AFTER_S)
    return hand, (Sweep(hand.name),)


def _spawned_too_late(hand: Hand, event: Spawned, now: float) -> Outcome:
    """End a process that came while its hand was already being stopped."""
    if hand.process is not None:
        return hand, ()
    hand, asks = _ask(replace(hand, process=event.process, spawned_at=now), now)
    return hand, (_note("hand.spawned", hand, pid=event.process.pid), asks)


def _stopped(hand: Hand, event: Exited, now: float) -> Outcome:
    """The process ended, as asked."""
    return _ended_as_asked(hand, event, event.end.words, now)


def _ended_as_asked(hand: Hand, event: Exited, how: str, now: float) -> Outcome:
    mourn = _mourn(hand, event, now)
    took_s = _secs(now - hand.stop_asked_at)
    why = hand.reason.removeprefix("restart: ")
    hand = _gone(hand, event)
    if hand.then is Then.RETRY:
        # Not how it ended counts, but why it was made to.
        hand, more = _count_failure(hand, why, event.note, now, cause=why)
        return hand, (mourn, *more)
    said = _note("hand.stopped", hand, how=how, took_s=took_s)
    hand = _after_stop(hand, f"{how}, by {hand.asked_by}", now)
    return hand, (mourn, said)


def _after_stop(hand: Hand, reason: str, now: float) -> Hand:
    """Return a hand that has ended as asked: at rest, or to be started again."""
    if hand.then is Then.START and _stays(hand):
        hand, _ = _await(hand, now, "to be started again")
        return replace(hand, restarts=hand.restarts + 1)
    return _rest(hand, reason, now)


def _refused_stopping(hand: Hand, event: Refused, now: float) -> Outcome:
    """No process came of a hand that is being stopped."""
    if hand.process is not None:
        return hand, ()
    said = _refusal(hand, event)
    if hand.then is Then.RETRY:
        hand, more = _count_failure(hand, UNSTARTED, event.message, now, cause=UNSTARTED)
        return hand, (said, *more)
    return _after_stop(hand, f"by {hand.asked_by}", now), (said,)


# ---------------------------------------------------------------------------- ends nobody asked for


def _mourn(hand: Hand, event: Exited, now: float) -> Mourn:
    uptime_s = None if hand.spawned_at is None else now - hand.spawned_at
    pid = None if hand.process is None else hand.process.pid
    return Mourn(hand.name, hand.generation, event.end, uptime_s, hand.asked_by, pid)


def _gone(hand: Hand, event: Exited) -> Hand:
    """Return a hand whose process has ended: it says nothing of itself any more."""
    return replace(hand, end=event.end, process=None, registered=False, status="")


def _exited(hand: Hand, event: Exited, now: float) -> Outcome:
    """An end nobody asked for: rest, or try again, as the restart policy says."""
    mourn = _mourn(hand, event, now)
    hand, more = _after_end(_gone(hand, event), event, now)
    return hand, (mourn, *more)


def _after_end(hand: Hand, event: Exited, now: float) -> Outcome:
    how, policy = event.end.words, hand.spec.restart.policy
    if not event.end.clean:
        return _count_failure(hand, how, event.note, now)
    if _one_shot(hand):
        said = _note("hand.ended", hand, how=how, why="a one-shot that is done")
        took_s = _secs(_uptime_s(hand, now))
        return _to(revised(hand), State.DONE, f"{how} after {took_s:g} s", now), (said,)
    if _reached_limit(hand, now) and _stays(hand):
        # Its Doist knows the limit too, and may be quicker than the boss, or alone.
        hand = replace(hand, restarts=hand.restarts + 1)
        said = _recycled(hand, now)
        return _await(hand, now, "limit_s reached")[0], (said,)
    if policy != "always":
        said = _note("hand.ended", hand, how=how, why=f"restart.policy = {policy}")
        reason = f"{how}; restart.policy is {policy}"
        return _to(revised(hand), State.DONE, reason, now), (said,)
    return _count_failure(hand, how, event.note, now)


def _reached_limit(hand: Hand, now: float) -> bool:
    """Whether a hand that exited 0 by itself did so because its ``limit_s`` was reached."""
    slack_s = min(LIMIT_SLACK_S, (hand.spec.limit_s or 0.0) / 10)
    return hand.spec.doers is not None and now >= _limit_at(hand) - slack_s


def _count_failure(hand: Hand, how: str, note: str, now: float, *, cause: str = "") -> Outcome:
    """Count a failure, then pause and try again, or give up.

    ``cause`` is the same in the words of the story, if it did not die of how it ended.
    """
    hand = revised(hand)
    rule = hand.spec.restart
    told = f": {note}" if note else ""
    # A hand that dies before REG counts too; else a typo in its doers restarts for ever.
    failures = (*recent(hand, now), now)
    hand = replace(hand, failures=failures, attempt=hand.attempt + 1)
    if not _stays(hand):
        why = "it is leaving the crew" if hand.leaving else "it is wanted down"
        said = _note("hand.ended", hand, how=how, why=why)
        return _rest(hand, f"{how}{told}", now), (said,)
    if rule.policy == "never":
        said = _note("hand.failed", hand, how=how, note=told, why="restart.policy = never")
        return _to(hand, State.FAILED, f"{how}{told}", now), (said,)
    if len(failures) > rule.limit:
        said = _note(
            "hand.gave_up",
            hand,
            failures=len(failures),
            window_s=rule.window_s,
            limit=rule.limit,
            how=how,
            note=told,
        )
        return _to(hand, State.FAILED, f"gave up: {how}{told}", now), (said,)
    return _back_off(hand, how, told, now, cause or f"died of {how}")


def _back_off(hand: Hand, how: str, told: str, now: float, cause: str) -> Outcome:
    """Let the hand pause before it is tried again."""
    rule, tries = hand.spec.restart, len(hand.failures)
    pause_s = delay_s(hand.spec, hand.attempt, salt=f"{hand.name}.{hand.generation}")
    said = _note(
        "hand.backing_off",
        hand,
        how=how,
        cause=cause,
        note=told,
        attempt=tries,
        limit=rule.limit,
        delay_s=_secs(pause_s),
    )
    hand = replace(hand, restarts=hand.restarts + 1)
    reason = f"{how}{told}; try {tries} of {rule.limit}"
    if pause_s <= 0:
        return _await(hand, now, reason)[0], (said,)
    return _to(hand, State.BACKOFF, reason, now, wake_at=now + pause_s), (said,)


def _refused(hand: Hand, event: Refused, now: float) -> Outcome:
    if hand.process is not None:
        return hand, ()
    said = _refusal(hand, event)
    hand, more = _count_failure(hand, UNSTARTED, event.message, now, cause=UNSTARTED)
    return hand, (said, *more)


def _refusal(hand: Hand, event: Refused) -> Note:
    return _note("hand.refused", hand, message=event.message, step=event.step, path=event.path)


def _paused(hand: Hand, _event: TimeCame, now: float) -> Outcome:
    return _await(hand, now, "to be tried again")


# ---------------------------------------------------------------------------- definitions


def _revise_live(hand: Hand, event: Revised, now: float) -> Outcome:
    """Take a changed definition: now, at the next start, or by a restart."""
    hand = replace(hand, spec=event.spec, next_spec=event.next_spec)
    if event.restart and _stays(hand):
        return _again(hand, now, by=event.by, why="its definition changed", then=Then.START)
    if hand.state in _UP:
        hand = replace(hand, wake_at=_next_look(hand))
    return hand, ()


def _revise_stopping(hand: Hand, event: Revised, _now: float) -> Outcome:
    """Take a changed definition; how long each step of the stop may take holds for this one."""
    had, stop = hand.spec.stop, event.spec.stop
    more_s = {"ask": stop.grace_s - had.grace_s, "term": stop.term_s - had.term_s}
    wake_at = hand.wake_at + more_s.get(hand.stop_step, 0.0)
    return replace(hand, spec=event.spec, next_spec=event.next_spec, wake_at=wake_at), ()


def _revise_resting(hand: Hand, event: Revised, _now: float) -> Outcome:
    return replace(hand, spec=event.next_spec or event.spec, next_spec=None), ()


def _revise_failed(hand: Hand, event: Revised, now: float) -> Outcome:
    """Take a changed definition, and try at once whether it does what the last one did not."""
    had = hand.spec
    hand, _ = _revise_resting(hand, event, now)
    if hand.wanted is not Wanted.UP:
        return hand, ()
    if not event.restart:
        return _revise_pause(hand, had, now) if hand.state is State.BACKOFF else (hand, ())
    why = "its definition changed"
    said = _note("hand.restarting", hand, by=event.by, why=why)
    hand, more = _await(_forget(hand), now, why)
    return hand, (said, *more)


def _revise_pause(hand: Hand, had: HandSpec, now: float) -> Outcome:
    """Let the pause under way last as long as the changed definition says."""
    if hand.spec.restart.policy == "never":
        how, why = hand.reason.rpartition("; try ")[0], "restart.policy = never"
        said = _note("hand.failed", hand, how=how, note="", why=why)
        return _to(hand, State.FAILED, how, now), (said,)
    salt = f"{hand.name}.{hand.generation}"
    more_s = delay_s(hand.spec, hand.attempt, salt=salt) - delay_s(had, hand.attempt, salt=salt)
    return replace(hand, wake_at=hand.wake_at + more_s), ()


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
    RestartAsked=_restart_down,
    Cleared=_stay,
    Spawned=_spawned_unasked,
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
    StopAsked=_stop_waiting,
    RestartAsked=_restart_down,
    Cleared=_stay,
    Spawned=_spawned_unasked,
    Refused=_stay,
    Registered=_stay,
    SaidReady=_stay,
    Exited=_stay,
    TimeCame=_stay,
    Judged=_stay,
    Revised=_revise_resting,
)
_rule((State.FAILED, State.BACKOFF), Revised=_revise_failed)
_rule((State.WAITING,), StartAsked=_start_waiting, Cleared=_spawn)
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
