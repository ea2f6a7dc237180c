"""Promises: changes that are answered when their hands have come where they were sent.

Decides when a request is answered and with which outcomes. Leaves what it changes to the desk.
Invariant: every promise is kept once: with outcomes, with where the hands stand when its time is
up, or with why the machine would not make a process. Nobody is called up who is not any more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from hiod.admin import schema
from hiod.errors import AdminError
from hiod.rules import records as r
from hiod.rules import roster
from hiod.rules.policy import satisfies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hiod.admin.server import Request
    from hiod.boss.overseer import Overseer

_PAUSED = frozenset({r.State.BACKOFF, r.State.FAILED})
_UP = frozenset({"ready", "done"})


@dataclass
class Promise:
    """A request that is answered when its hands have come where they were sent.

    Attributes:
        request: whom to answer.
        until: ready, done or gone.
        names: all it is about, in the order of the answer.
        hands: those still on their way, and whether the request changed anything of them.
        through: outcomes of those that are there.
        refused: why no process was made, by hand: those are not waited for.
        held: who waits for what will not come by itself, and for what: not waited for either.
        ends: how each had ended when it was asked: that is no end it was asked for.
        deadline: tyme.
        wrap: makes the reply from the outcomes.
    """

    request: Request
    until: str
    names: tuple[str, ...]
    hands: dict[str, bool]
    deadline: float
    wrap: Callable[[list[schema.Outcome]], schema.Record]
    ends: dict[str, r.End | None]
    through: dict[str, schema.Outcome] = field(default_factory=dict)
    refused: dict[str, r.Refused] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)


class Promises:
    """What one boss still owes an answer.

    Args:
        boss: whose hands are waited for.
    """

    def __init__(self, boss: Overseer) -> None:
        self._boss = boss
        self._open: list[Promise] = []
        boss.after_turn.append(self._look)
        boss.deadlines.append(self._next_deadline)

    def make(
        self,
        request: Request,
        hands: Mapping[str, bool],
        wrap: Callable[[list[schema.Outcome]], schema.Record],
    ) -> None:
        """Answer at the end of the turn, or when the hands are where the caller waits for them.

        Args:
            request: with ``wait`` and ``timeout_s`` among its parameters.
            hands: all it is about, and whether it changed anything of them.
            wrap: makes the reply from the outcomes.
        """
        params = request.params
        deadline = self._boss.now() + (params.timeout_s if params.wait is not None else 0.0)
        until = params.wait or ""
        there = self._boss.hands
        ends = {name: there[name].end for name in hands if name in there}
        self._open.append(Promise(request, until, tuple(hands), dict(hands), deadline, wrap, ends))
        self._boss.wake()

    def is_open(self, method: str) -> bool:
        """Say whether somebody waits for a call of that method."""
        return any(promise.request.method == method for promise in self._open)

    def _look(self, dirty: set[str]) -> None:
        """Answer those whose hands have come where they were sent, or whose time is up."""
        if not self._open:
            return
        now = self._boss.now()
        held = roster.held(self._boss.roll)
        for promise in list(self._open):
            if promise.request.gone and not promise.request.oneway:
                self._open.remove(promise)
                continue
            self._progress(promise, dirty)
            self._note_vain(promise, held)
            late = now >= promise.deadline
            vain = promise.hands.keys() <= promise.refused.keys() | promise.held.keys()
            if promise.refused and (late or vain):
                self._open.remove(promise)
                self._unmade(promise)
            elif vain:
                self._open.remove(promise)
                promise.request.reply(promise.wrap(self._so_far(promise)))
            elif late:
                self._open.remove(promise)
                self._late(promise)

    def _note_vain(self, promise: Promise, held: Mapping[str, str]) -> None:
        """Note whom it is no use to wait for.

        The machine will not make its process, or it waits itself for what will not come.
        """
        if promise.until not in _UP:
            return
        promise.held = {name: held[name] for name in promise.hands if name in held}
        for name in (*promise.hands, *promise.through):
            hand = self._boss.hands.get(name)
            paused = hand is not None and hand.state in _PAUSED
            refused = self._boss.station(name).refused if paused else None
            if refused is not None:
                promise.refused[name] = refused
            elif name in promise.through:
                promise.refused.pop(name, None)

    def _unmade(self, promise: Promise) -> None:
        """Say for whom no process was made, and where the others stand."""
        name, refused = next(iter(promise.refused.items()))
        more = [f"{other}: {one.message}" for other, one in promise.refused.items()][1:]
        promise.request.fail(
            AdminError(
                "SpawnFailed",
                "; ".join([f"{name}: no process was made: {refused.message}", *more]),
                name=name,
                step=refused.step,
                errno=refused.errno,
                path=refused.path,
                hands=self._so_far(promise),
                changes=self._changes(promise),
            )
        )

    def _so_far(self, promise: Promise) -> list[schema.Outcome]:
        """Return the outcomes of those that are there, and how the others stand."""
        return [
            self._still(promise, name) if name in promise.through else self._yet(promise, name)
            for name in promise.names
        ]

    def _still(self, promise: Promise, name: str) -> schema.Outcome:
        """Return the outcome of one that was through; it may have ended since it was ready."""
        told = promise.through[name]
        hand = self._boss.hands.get(name)
        if hand is None or hand.state not in _PAUSED or promise.until not in _UP:
            return told
        return outcome_of(hand, changed=told.changed is True)

    def _yet(self, promise: Promise, name: str) -> schema.Outcome:
        """Return how one stands that is not where it was sent."""
        outcome = outcome_of(self._boss.hands[name], changed=promise.hands[name])
        if name in promise.held:
            outcome.reason = promise.held[name]
        return outcome

    def _changes(self, promise: Promise) -> list[schema.Change]:
        """Return what ``apply`` changed; nothing for other requests."""
        reply = promise.wrap([])
        return reply.changes if isinstance(reply, schema.ApplyReply) else []

    def _progress(self, promise: Promise, dirty: set[str]) -> None:
        for name in list(promise.hands):
            outcome = self._arrived(promise, name)
            if outcome is None:
                continue
            del promise.hands[name]
            promise.through[name] = outcome
            if promise.request.more and promise.hands and name in dirty:
                promise.request.progress(schema.ChangeReply(hands=[outcome]))

    def _arrived(self, promise: Promise, name: str) -> schema.Outcome | None:
        """Return the outcome of a hand that is where it was sent, or can no longer get there."""
        boss = self._boss
        hand = boss.hands.get(name)
        changed = promise.hands[name]
        before = promise.ends.get(name)
        left = boss.departed.get(name)
        # By now the name may be that of another hand.
        if hand is None or (left is not None and promise.until == "gone"):
            outcome = _gone(name, left, before, changed=changed)
            outcome.left = True
            return outcome
        if not promise.until:
            return outcome_of(hand, changed=changed)
        resting = roster.at_rest(hand)
        if promise.until == "gone":
            there = resting and not hand.leaving
            if hand.wanted is r.Wanted.UP and not hand.leaving:
                return outcome_of(hand, changed=changed)  # somebody has started it again
            return _gone(name, hand, before, changed=changed) if there else None
        if boss.is_stopping(name):
            return None
        there = hand.state is r.State.DONE or (promise.until == "ready" and satisfies(hand))
        return outcome_of(hand, changed=changed) if there or resting else None

    def _late(self, promise: Promise) -> None:
        """Say that the time is up, how far it went and where the others stand."""
        first = self._boss.hands[next(name for name in promise.hands if name not in promise.held)]
        promise.request.fail(
            AdminError(
                "Timeout",
                state=str(first.state),
                why=self._failure(promise),
                awaited=list(promise.hands),
                hands=self._so_far(promise),
                changes=self._changes(promise),
            )
        )

    def _failure(self, promise: Promise) -> str:
        """Say of one hand why it will not come, of a failed one first; "" if all may."""
        hands = self._boss.hands
        causes = {
            name: hands.get(why.rpartition("after ")[2].partition(" ")[0])
            for name, why in promise.held.items()
        }
        for name, cause in causes.items():
            if cause is not None and cause.state is r.State.FAILED:
                return f"{name} waits for {cause.name}, which failed: {_how(cause)}"
        for name in promise.through if promise.until in _UP else ():
            hand = hands.get(name)
            if hand is not None and hand.state is r.State.FAILED:
                return f"{name} failed: {_how(hand)}"
        return next((f"{name} waits {why}" for name, why in promise.held.items()), "")

    def _next_deadline(self) -> float:
        return min((promise.deadline for promise in self._open), default=math.inf)


def _how(hand: r.Hand) -> str:
    """Return what a hand failed of."""
    return hand.reason.removeprefix("gave up: ")


def state_of(hand: r.Hand) -> Any:
    """Return a hand's state, one of the words the schema has for it."""
    return str(hand.state)


def outcome_of(hand: r.Hand, *, changed: bool) -> schema.Outcome:
    """Return how a hand stands, as an answer says it."""
    return schema.Outcome(
        name=hand.name,
        changed=changed,
        state=state_of(hand),
        pid=hand.process.pid if hand.process else None,
        generation=hand.generation,
        left=False if hand.leaving else UNSET,
        reason=hand.reason,
    )


def _gone(name: str, hand: r.Hand | None, before: r.End | None, *, changed: bool) -> schema.Outcome:
    """Return how a hand ended, if it has since the end there was before."""
    outcome = schema.Outcome(name=name, changed=changed)
    if hand is None:
        return outcome
    if hand.state not in r.LIVE:
        outcome.state = state_of(hand)
    if hand.end is not None and hand.end is not before and hand.ended_by:
        outcome.how = hand.ended_by
        outcome.code = hand.end.code
        outcome.signal = hand.end.signal
        outcome.took_s = round(max(0.0, hand.since - hand.stop_asked_at), 3)
    return outcome
