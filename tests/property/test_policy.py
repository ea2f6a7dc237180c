"""The life of a hand, led at random: what must hold whatever happens, in whatever order."""

from __future__ import annotations

import math
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.lives import BOOT, Life, spec

from hiod.rules import keeping, policy
from hiod.rules import records as r
from hiod.rules.records import State, Then, Wanted

MOST_STEPS_OF_A_STOP = 4

READY = st.sampled_from(
    [
        {"by": "register", "timeout_s": 5},
        {"by": "memo", "timeout_s": 5},
        {"by": "notify", "timeout_s": 5},
        {"by": "connect", "to": "127.0.0.1:80", "timeout_s": 5},
        {"by": "exit"},
        {"by": "exit", "timeout_s": 20},
        {"by": "start"},
    ]
)
RESTART = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(["always", "on-failure", "never"]),
        "delay_s": st.sampled_from([0, 0.5, 4]),
        "limit": st.integers(0, 3),
        "window_s": st.sampled_from([1, 10, 100]),
        "reset_after_s": st.sampled_from([0, 3, 60]),
        "jitter": st.sampled_from([0, 0.1, 1]),
    }
)
SPECS = st.builds(
    lambda ready, restart, limit_s, signal, command: spec(
        ready=ready,
        restart=restart,
        stop={"grace_s": 3, "term_s": 2, "signal": signal},
        **({} if limit_s is None else {"limit_s": limit_s}),
        **({"command": ["sleep", "9"]} if command else {}),
    ),
    READY,
    RESTART,
    st.sampled_from([None, 7.0]),
    st.sampled_from(["TERM", "INT"]),
    st.booleans(),
)
ENDS = st.builds(r.End, code=st.sampled_from([0, 0, 1])) | st.sampled_from(
    [r.End(signal=9), r.End(signal=11, core=True), r.End()]
)
PAUSE_S = st.sampled_from([0.0, 0.1, 1.0, 11.0])


class Lives(RuleBasedStateMachine):
    """One hand, its process, its boss and its operator.

    ``Life`` itself asserts, at every order: no second process, no start of a hand wanted down; and
    at every note: all facts that its sentence needs are there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.wanted = Wanted.UP
        self.told: tuple[float, ...] = ()

    @initialize(made=SPECS)
    def define(self, made: Any) -> None:
        self.life.hand = r.Hand("web", made)

    def feed(self, event: r.Event, after_s: float = 0.0) -> None:
        before = self.life.hand
        self.life.feed(event, after_s)
        hand = self.life.hand
        if not isinstance(event, (r.StartAsked, r.StopAsked, r.RestartAsked)):
            assert (hand.wanted, hand.leaving) == (before.wanted, before.leaving)
        if before.state in r.RESTING and hand.state not in r.RESTING:
            asked = isinstance(event, r.RestartAsked) and not event.counts
            mended = before.state is State.FAILED and isinstance(event, r.Revised)
            assert asked or mended or isinstance(event, r.StartAsked)
            assert hand.wanted is Wanted.UP

    # ------------------------------------------------------------------ the operator

    @rule(after_s=PAUSE_S)
    def start(self, after_s: float) -> None:
        at_rest = self.life.state in {State.STOPPED, State.FAILED, State.DONE, State.BACKOFF}
        self.feed(r.StartAsked("ann", 1.0), after_s)
        self.wanted = Wanted.UP
        if at_rest:
            assert (self.life.hand.failures, self.life.hand.attempt) == ((), 0)

    @rule(after_s=PAUSE_S, leaving=st.booleans())
    def stop(self, after_s: float, leaving: bool) -> None:
        self.feed(r.StopAsked("ann", 1.0, leaving=leaving), after_s)
        self.wanted = Wanted.DOWN

    @rule(after_s=PAUSE_S)
    def shut_down(self, after_s: float) -> None:
        self.feed(r.StopAsked("SIGTERM", 1.0, then=Then.LEAVE), after_s)

    @rule(after_s=PAUSE_S)
    def restart(self, after_s: float) -> None:
        self.feed(r.RestartAsked("ann"), after_s)
        self.wanted = Wanted.UP

    @rule(made=SPECS, later=st.none() | SPECS, restart=st.booleans())
    def revise(self, made: Any, later: Any, restart: bool) -> None:
        self.feed(r.Revised(made, later, restart=restart))

    # ------------------------------------------------------------------ the boss

    @rule()
    def clear(self) -> None:
        self.feed(r.Cleared())

    @precondition(lambda self: self.life.hand.wake_at < math.inf)
    @rule()
    def time_comes(self) -> None:
        self.life.now = max(self.life.now, self.life.hand.wake_at)
        self.feed(r.TimeCame())

    @rule(after_s=PAUSE_S)
    def time_seems_to_come(self, after_s: float) -> None:
        before = self.life.hand
        self.life.now += after_s
        early = self.life.now < before.wake_at
        self.feed(r.TimeCame())
        assert self.life.hand is before or not early

    @rule(ok=st.booleans(), after_s=PAUSE_S)
    def judge(self, ok: bool, after_s: float) -> None:
        self.feed(r.Judged(ok, "ok" if ok else "stuck", "no beat"), after_s)

    @rule()
    def restart_for_health(self) -> None:
        self.feed(r.RestartAsked("hiod", "stuck", counts=True))

    # ------------------------------------------------------------------ the process

    @precondition(lambda self: self.life.ordered)
    @rule(after_s=PAUSE_S)
    def come(self, after_s: float) -> None:
        self.life.spawned(after_s)
        assert self.life.hand.process == self.life.process

    @precondition(lambda self: self.life.state in {State.BACKOFF, State.WAITING})
    @rule()
    def be_tried_again(self) -> None:
        """Take the usual way at once, so that many walks come to a second and a third death."""
        if self.life.state is State.BACKOFF:
            self.time_comes()
        self.clear()
        if self.life.ordered:
            self.come(0.0)

    @precondition(lambda self: self.life.ordered)
    @rule()
    def be_refused(self) -> None:
        self.life.refused()

    @precondition(lambda self: self.life.process is not None)
    @rule(end=ENDS, after_s=PAUSE_S)
    def exit(self, end: r.End, after_s: float) -> None:
        before = self.life.hand
        self.life.exited(end, after_s, note="KeyError: 1")
        after = self.life.hand
        assert after.process is None
        assert after.state not in r.LIVE
        self.check_failures(before, after)

    def check_failures(self, before: r.Hand, after: r.Hand) -> None:
        restart = after.spec.restart
        if self.life.events[-1:] == ["hand.gave_up"]:
            assert after.state is State.FAILED
            # More only where the limit was lowered beneath what had been counted already.
            lowered = len(before.failures) > restart.limit
            assert len(after.failures) == restart.limit + 1 or lowered
        if after.state is State.BACKOFF:
            assert len(after.failures) <= restart.limit
            assert after.wake_at <= self.life.now + restart.max_delay_s
        if after.failures != before.failures:
            assert after.failures[-1] == self.life.now
            assert all(self.life.now - at < restart.window_s for at in after.failures)

    @precondition(lambda self: self.life.process is not None)
    @rule(after_s=PAUSE_S)
    def register(self, after_s: float) -> None:
        self.feed(r.Registered(), after_s)

    @precondition(lambda self: self.life.process is not None)
    @rule(by=st.sampled_from(["memo", "notify", "connect"]), after_s=PAUSE_S)
    def say_ready(self, by: str, after_s: float) -> None:
        self.feed(r.SaidReady(by), after_s)

    # ------------------------------------------------------------------ what always holds

    @invariant()
    def wanted_is_the_operators(self) -> None:
        assert self.life.hand.wanted is self.wanted

    @invariant()
    def a_process_is_known_while_it_lives(self) -> None:
        hand = self.life.hand
        assert hand.process == self.life.process
        if hand.state in {State.REGISTERING, State.RUNNING, State.READY, State.DEGRADED}:
            assert hand.process is not None
        if hand.process is not None or self.life.ordered:
            assert hand.state in r.LIVE
        if hand.state in r.LIVE:
            assert hand.process is not None or self.life.ordered

    @invariant()
    def every_stop_ends(self) -> None:
        """Walk a copy to SIGKILL: a process that dies of that, dies in a few steps."""
        hand, now = self.life.hand, self.life.now
        if hand.state is not State.STOPPING or hand.process is None:
            return
        for _ in range(MOST_STEPS_OF_A_STOP):
            if hand.stop_step == "kill":
                return
            assert hand.wake_at < math.inf
            now = max(now, hand.wake_at)
            hand, _ = policy.step(hand, r.TimeCame(), now)
        raise AssertionError(hand.stop_step)

    @invariant()
    def what_is_written_down_is_what_is_there(self) -> None:
        row = orjson.loads(orjson.dumps(keeping.hand_row(self.life.hand, BOOT)))
        assert keeping.hand_of(row) == (self.life.hand, BOOT)

    @invariant()
    def a_hand_that_may_wait_for_ever_may_do_so(self) -> None:
        """Hold that nobody is forgotten: a state that only time ends has a time."""
        hand = self.life.hand
        if hand.state is State.BACKOFF:
            assert hand.wake_at < math.inf
            assert hand.wanted is Wanted.UP
        if hand.state is State.REGISTERING:
            assert hand.wake_at < math.inf
        if hand.state in {State.WAITING, *r.RESTING}:
            assert hand.wake_at == math.inf


Lives.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLives = Lives.TestCase


@given(
    delay_s=st.floats(0, 100),
    factor=st.floats(1, 100),
    max_delay_s=st.floats(100, 1e6),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, 10_000),
    salt=st.text(max_size=20),
)
def test_a_pause_is_within_its_bounds(
    delay_s: float, factor: float, max_delay_s: float, jitter: float, attempt: int, salt: str
) -> None:
    restart = {"delay_s": delay_s, "factor": factor, "max_delay_s": max_delay_s}
    bare = policy.delay_s(spec(restart=restart | {"jitter": 0}), attempt, salt=salt)
    longer = policy.delay_s(spec(restart=restart | {"jitter": 0}), attempt + 1, salt=salt)

    pause = policy.delay_s(spec(restart=restart | {"jitter": jitter}), attempt, salt=salt)

    assert 0 <= pause <= max_delay_s
    assert bare * (1 - jitter) * 0.999999 <= pause <= bare * (1 + jitter) * 1.000001
    assert bare <= longer
