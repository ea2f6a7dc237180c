from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from support import lives
from support.lives import CLEAN, CRASH, KILLED, Life, crashes, in_state, process, spec

from hiod.rules import policy, story
from hiod.rules import records as r
from hiod.rules.records import State, Then, Wanted

ILL = r.Judged(ok=False, verdict="stuck", why="no beat for 15 s")
WELL = r.Judged(ok=True, verdict="ok")


# ---------------------------------------------------------------------------- the table


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", r.EVENTS)
def test_every_state_has_a_rule_for_every_event(state: State, event: type) -> None:
    assert callable(policy.TABLE[state, event])


def test_the_table_has_nothing_but_states_and_events() -> None:
    assert len(policy.TABLE) == len(State) * len(r.EVENTS)


# ---------------------------------------------------------------------------- coming up


@pytest.mark.parametrize(
    ("ready", "state"),
    [
        ({"by": "register"}, State.REGISTERING),
        ({"by": "memo"}, State.REGISTERING),
        ({"by": "notify"}, State.STARTING),
        ({"by": "connect", "to": "127.0.0.1:8000"}, State.STARTING),
        ({"by": "exit"}, State.RUNNING),
        ({"by": "start"}, State.RUNNING),
    ],
)
def test_what_a_new_process_waits_for_is_its_definitions_to_say(ready: dict, state: State) -> None:
    life = Life(ready=ready)

    life.begin()

    assert life.state is state
    assert not policy.satisfies(life.hand) or ready["by"] == "start"


@pytest.mark.parametrize("by", ["register", "memo", "notify"])
def test_a_hand_is_ready_by_its_own_word(by: str) -> None:
    life = Life(ready={"by": by})
    life.begin()

    life.feed(r.Registered(), 0.2)
    assert (life.state is State.READY) == (by == "register")
    life.feed(r.SaidReady(by), 0.3)

    assert life.state is State.READY
    assert policy.satisfies(life.hand)
    assert life.events.count("hand.ready") == 1
    assert life.events.count("hand.registered") == 1


def test_a_word_that_is_not_the_one_agreed_makes_nobody_ready() -> None:
    life = Life(ready={"by": "notify"})
    life.begin()

    life.feed(r.SaidReady("memo"))

    assert life.state is State.STARTING


def test_a_hand_that_only_starts_is_never_called_ready() -> None:
    life = Life(command=["sleep", "9"])
    life.up()

    life.feed(ILL)
    life.feed(WELL)

    assert life.state is State.RUNNING
    assert "hand.ready" not in life.events


def test_registering_twice_is_told_once() -> None:
    life = Life(ready={"by": "memo"})
    life.begin()

    life.feed(r.Registered())
    life.feed(r.Registered())
    life.feed(r.SaidReady("memo"))
    life.feed(r.Registered())

    assert life.events.count("hand.registered") == 1


def test_a_command_hand_may_register_late() -> None:
    life = Life(command=["sleep", "9"])
    life.up()

    life.feed(r.Registered())

    assert life.hand.registered
    assert life.state is State.RUNNING


@pytest.mark.parametrize("event", [r.Registered(), r.SaidReady("register")])
def test_nobody_is_ready_before_there_is_a_process(event: r.Event) -> None:
    life = in_state(State.STARTING)

    life.feed(event)

    assert life.state is State.STARTING


@pytest.mark.parametrize("state", [State.STARTING, State.REGISTERING, State.STOPPING])
def test_a_process_that_is_there_is_not_exchanged_for_another(state: State) -> None:
    life = in_state(state) if state is not State.STARTING else Life(ready={"by": "notify"})
    if state is State.STARTING:
        life.begin()

    orders = life.feed(r.Spawned(process(99)))
    orders += life.feed(r.Refused("exec", "too late"))

    assert life.hand.process == life.process
    assert orders == ()


@pytest.mark.parametrize("state", [State.BACKOFF, State.WAITING, State.FAILED, State.STOPPED])
def test_a_process_nobody_waits_for_is_ended(state: State) -> None:
    life = in_state(state)

    orders = life.feed(r.Spawned(process(99)))

    assert orders == (r.Sweep("web"),)
    assert life.state is state
    assert life.hand.process is None


def test_a_readiness_that_does_not_come_is_a_failure() -> None:
    life = Life(ready={"timeout_s": 4})
    life.begin()

    asked = life.time_comes()
    assert (life.now, asked) == (104.0, (r.AskStack("web"),))
    ended = life.time_comes()
    assert (life.now, ended) == (104.0 + policy.STACK_S, (r.Signal("web", "TERM"),))
    life.exited(CLEAN)

    assert life.state is State.BACKOFF
    assert len(life.hand.failures) == 1
    assert life.hand.reason == "not ready in 4 s: it did not register; try 1 of 5"


@pytest.mark.parametrize(
    ("ready", "missed"),
    [
        ({"by": "connect", "to": "127.0.0.1:9999"}, "127.0.0.1:9999 did not answer"),
        ({"by": "notify"}, "it did not say READY=1"),
        ({"by": "memo"}, "no Doer called self.ready()"),
        ({"by": "exit"}, "it did not exit"),
    ],
)
def test_what_was_waited_for_in_vain_is_the_reason_whatever_ended_it(
    ready: dict, missed: str
) -> None:
    life = Life(ready={"timeout_s": 3, **ready})
    life.begin()

    life.time_comes()
    life.exited(r.End(signal=15), note="bye")

    assert life.hand.reason == f"not ready in 3 s: {missed}: bye; try 1 of 5"
    assert life.mourned[-1].asked_by == f"hiod: not ready in 3 s: {missed}"


def test_a_program_has_no_stack_to_ask_for_when_it_is_not_ready() -> None:
    life = Life(command=["sleep", "9"], ready={"by": "notify", "timeout_s": 4})
    life.begin()

    assert life.time_comes() == (r.Signal("web", "TERM"),)


def test_a_hand_that_registers_while_its_stack_is_asked_for_is_asked_to_end_by_a_memo() -> None:
    life = Life(ready={"timeout_s": 4})
    life.begin()
    life.time_comes()

    life.feed(r.Registered(), 0.1)

    assert life.state is State.STOPPING
    assert life.time_comes() == (r.SendEnd("web"),)


def test_a_hand_that_pauses_and_is_stopped_was_in_backoff() -> None:
    life = in_state(State.BACKOFF)

    life.feed(r.StopAsked("ann"))

    assert life.notes[-1].facts["how"] == "it was in backoff"


def test_why_hiod_restarts_a_hand_is_said_once() -> None:
    life = Life()
    life.up()

    life.feed(r.RestartAsked("hiod", "silent (health.on_fail = restart)", counts=True))

    (asked,) = (note for note in life.notes if note.event == "hand.restarting")
    told = story.tell(asked.event, {"hand": asked.name, **asked.facts})
    assert told == "web: restart asked by hiod: silent (health.on_fail = restart)"


def test_only_an_end_nobody_asked_for_is_one_it_died_of() -> None:
    died, late, unborn = Life(), Life(ready={"timeout_s": 3}), Life()
    for life in (died, late):
        life.begin()

    died.exited(CRASH)
    late.time_comes()
    late.exited(CRASH)
    unborn.feed(r.StartAsked("ann"))
    unborn.feed(r.Cleared())
    unborn.refused()

    causes = [life.notes[-1].facts["cause"] for life in (died, late, unborn)]
    assert causes == [
        "died of exit 3", "not ready in 3 s: it did not register", "cannot be started",
    ]  # fmt: skip


def test_a_wanted_down_or_leaving_hand_is_never_spawned() -> None:
    waiting = in_state(State.WAITING).hand

    for hand in (replace(waiting, wanted=Wanted.DOWN), policy.leaves(waiting)):
        assert policy.step(hand, r.Cleared(), 1.0) == (hand, ())


# ---------------------------------------------------------------------------- ends


def test_a_crash_is_tried_again_after_a_pause() -> None:
    life = Life()
    life.up()

    life.exited(CRASH, note="ValueError: no")
    assert life.state is State.BACKOFF
    assert life.hand.reason == "exit 3: ValueError: no; try 1 of 5"
    life.time_comes()

    assert life.state is State.WAITING
    assert life.hand.restarts == 1


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_a_hand_is_given_up_exactly_when_its_limit_is_exceeded(limit: int) -> None:
    life = Life(restart={"limit": limit, "delay_s": 0, "window_s": 60})
    life.begin()

    for _ in range(limit):
        life.exited()
        assert life.state is State.WAITING
        life.again()
    life.exited()

    assert life.state is State.FAILED
    assert life.events[-1] == "hand.gave_up"


def test_failures_older_than_the_window_do_not_count() -> None:
    life = Life(restart={"limit": 1, "delay_s": 0, "window_s": 10})
    life.begin()

    for _ in range(5):
        life.exited(after_s=10.0)
        assert life.state is State.WAITING
        life.again()
    life.exited(after_s=9.0)

    assert life.state is State.FAILED


def test_a_good_run_shortens_the_pause_but_does_not_void_the_window() -> None:
    life = Life(restart={"limit": 2, "window_s": 3600, "reset_after_s": 60, "jitter": 0})
    life.up()

    for _ in range(2):
        life.exited()
        assert life.hand.wake_at == life.now + 0.5
        life.again()
        life.feed(r.Registered())
        life.time_comes()
        assert life.hand.attempt == 0
        assert life.hand.wake_at == math.inf
    life.exited()

    assert life.state is State.FAILED


def test_a_hand_that_is_not_well_has_no_good_run() -> None:
    life = Life(restart={"reset_after_s": 60})
    life.up()
    life.exited()
    life.again()
    life.feed(r.Registered())

    life.feed(ILL, 50.0)
    assert life.hand.wake_at == math.inf
    life.feed(WELL, 50.0)

    assert life.hand.wake_at == life.now + 60


@pytest.mark.parametrize(
    ("rule", "end", "state"),
    [
        ("always", CLEAN, State.BACKOFF),
        ("always", CRASH, State.BACKOFF),
        ("on-failure", CLEAN, State.DONE),
        ("on-failure", CRASH, State.BACKOFF),
        ("on-failure", KILLED, State.BACKOFF),
        ("on-failure", r.End(), State.BACKOFF),
        ("never", CLEAN, State.DONE),
        ("never", CRASH, State.FAILED),
    ],
)
def test_what_follows_an_end_is_the_restart_policys_to_say(
    rule: str, end: r.End, state: State
) -> None:
    life = Life(restart={"policy": rule})
    life.up()
    process = life.hand.process
    assert process is not None

    life.exited(end)

    assert life.state is state
    assert life.hand.process is None
    assert [mourn.end for mourn in life.mourned] == [end]
    assert [mourn.pid for mourn in life.mourned] == [process.pid]


def test_a_hand_that_can_never_be_started_is_given_up() -> None:
    life = Life(restart={"limit": 1, "delay_s": 0})
    life.feed(r.StartAsked())

    for _ in range(2):
        life.feed(r.Cleared())
        life.refused()

    assert life.state is State.FAILED
    assert life.hand.reason == "gave up: cannot be started: no such directory: /srv"


@pytest.mark.parametrize("rule", ["always", "on-failure", "never"])
def test_a_one_shot_that_exits_0_is_done(rule: str) -> None:
    life = Life(ready={"by": "exit"}, restart={"policy": rule})
    life.begin()
    assert not policy.satisfies(life.hand)

    life.exited(CLEAN, 2.5)

    assert life.state is State.DONE
    assert life.hand.reason == "exit 0 after 2.5 s"
    assert policy.satisfies(life.hand)


def test_a_one_shot_that_fails_is_tried_again() -> None:
    life = Life(ready={"by": "exit"})
    life.begin()

    life.exited(CRASH)

    assert life.state is State.BACKOFF


@pytest.mark.parametrize("ill", [False, True])
def test_a_one_shot_has_its_time_and_no_more(ill: bool) -> None:
    life = Life(ready={"by": "exit", "timeout_s": 30})
    life.begin()
    if ill:
        life.feed(ILL, 5.0)

    life.time_comes()

    assert life.now == 130.0
    assert life.state is State.STOPPING
    assert "hand.not_ready" in life.events


def test_a_one_shot_that_is_well_again_is_not_ready_for_that() -> None:
    life = Life(ready={"by": "exit"})
    life.begin()

    life.feed(ILL)
    life.feed(WELL)

    assert life.state is State.RUNNING
    assert life.hand.wake_at == math.inf


def test_a_one_shot_without_a_timeout_may_take_for_ever() -> None:
    life = Life(ready={"by": "exit"})

    life.begin()

    assert life.hand.wake_at == math.inf


def test_reaching_the_limit_of_a_run_is_no_failure() -> None:
    life = Life(limit_s=50)
    life.up()

    life.time_comes()
    assert life.now == 150.0
    assert life.state is State.STOPPING
    life.exited(CLEAN)

    assert life.state is State.WAITING
    assert life.hand.failures == ()
    assert life.hand.restarts == 1


@pytest.mark.parametrize("rule", ["always", "on-failure", "never"])
def test_a_hand_that_finds_its_limit_before_the_boss_does_is_recycled(rule: str) -> None:
    life = Life(limit_s=50, restart={"policy": rule})
    life.up()

    life.exited(CLEAN, 49.8)

    assert life.state is State.WAITING
    assert life.hand.failures == ()
    assert life.events[-1] == "hand.recycled"


@pytest.mark.parametrize(
    ("keys", "end", "after_s"),
    [
        ({}, CRASH, 60.0),
        ({}, CLEAN, 20.0),
        ({"command": ["true"]}, CLEAN, 60.0),
    ],
)
def test_other_ends_count_although_there_is_a_limit(keys: dict, end: r.End, after_s: float) -> None:
    life = Life(limit_s=50, **keys)
    life.up()

    life.exited(end, after_s)

    assert len(life.hand.failures) == 1


def test_what_a_hand_said_of_itself_ends_with_it() -> None:
    life = Life()
    life.up()
    life.hand = policy.said(life.hand, "3 senders")

    life.exited()

    assert life.hand.status == ""


@pytest.mark.parametrize("end", [CLEAN, CRASH])
@pytest.mark.parametrize("why", ["leaving", "down"])
def test_a_hand_that_dies_before_it_is_asked_to_end_is_not_tried_again(
    end: r.End, why: str
) -> None:
    life = Life(limit_s=1)
    life.up()
    if why == "leaving":
        life.hand = policy.leaves(life.hand)
    else:
        life.hand = replace(life.hand, wanted=Wanted.DOWN)

    life.exited(end, 5.0)

    assert life.state is State.STOPPED
    assert life.events[-1] == "hand.ended"


# ---------------------------------------------------------------------------- pauses


def test_pauses_grow_to_their_cap() -> None:
    made = spec(restart={"delay_s": 1, "factor": 2, "max_delay_s": 30, "jitter": 0})

    pauses = [policy.delay_s(made, attempt, salt="web.1") for attempt in range(1, 8)]

    assert pauses == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(("delay", "pause"), [(0.5, 30.0), (0, 0.0)])
def test_a_hand_that_dies_for_months_does_not_break_the_arithmetic(
    delay: float, pause: float
) -> None:
    made = spec(restart={"delay_s": delay, "factor": 100, "jitter": 0})

    assert policy.delay_s(made, 100_000, salt="web.1") == pause


def test_hands_that_died_together_do_not_come_back_together() -> None:
    made = spec()

    pauses = {policy.delay_s(made, 9, salt=f"web-{number}.1") for number in range(100)}

    assert len(pauses) == 100


def test_no_pause_is_a_start_at_once() -> None:
    life = Life(restart={"delay_s": 0})

    crashes(life, 1)

    assert life.state is State.WAITING


# ---------------------------------------------------------------------------- stops


def test_a_registered_hand_is_asked_by_end_then_told_by_term_then_killed() -> None:
    life = Life(stop={"grace_s": 10, "term_s": 5})
    life.up()

    asked = life.feed(r.StopAsked("ann"))
    told = life.time_comes()
    assert life.now == 110.1
    killed = life.time_comes()
    assert life.now == 115.1
    life.exited(KILLED)

    assert asked == (r.SendEnd("web"),)
    assert told == (r.Signal("web", "TERM"),)
    assert killed == (r.Sweep("web"),)
    assert life.state is State.STOPPED
    assert life.hand.ended_by == "KILL"
    assert life.hand.reason == "signal 9, by ann"


@pytest.mark.parametrize(
    ("signal", "orders"),
    [
        ("TERM", (r.Signal("web", "TERM"), r.Sweep("web"))),
        ("INT", (r.Signal("web", "INT"), r.Signal("web", "TERM"), r.Sweep("web"))),
    ],
)
def test_a_hand_that_has_not_registered_is_asked_by_its_signal(signal: str, orders: tuple) -> None:
    life = Life(command=["sleep", "9"], stop={"signal": signal})
    life.up()

    given = life.feed(r.StopAsked("ann"))
    announced = []
    while life.hand.stop_step != "kill":
        announced.append(policy.firmer(life.hand))
        given += life.time_comes()

    assert given == orders
    assert announced == ["TERM", "KILL"][-len(announced) :]


def test_how_a_hand_was_asked_is_not_changed_by_a_late_registration() -> None:
    life = Life(ready={"by": "memo"})
    life.begin()
    life.feed(r.StopAsked("ann"))

    life.feed(r.Registered())
    life.exited(CLEAN)

    assert life.hand.ended_by == "TERM"


def test_a_process_that_does_not_end_is_told_of_ever_more_rarely() -> None:
    life = in_state(State.STOPPING)
    life.time_comes()
    life.time_comes()

    times = []
    for _ in range(12):
        assert life.time_comes() == (r.Sweep("web"),)
        assert life.events[-1] == "hand.unkillable"
        times.append(life.now)

    pauses = [after - before for before, after in pairwise(times)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == policy.UNKILLABLE_AGAIN_S


def test_an_end_that_no_launcher_tells_is_one_without_its_how() -> None:
    life = in_state(State.STOPPING)
    life.now = life.hand.wake_at

    assert life.feed(r.TimeCame(ended=True)) == (r.Sweep("web"),)
    assert (life.state, life.hand.ended_by) == (State.STOPPING, "END")
    life.now = life.hand.wake_at
    life.feed(r.TimeCame(ended=True))

    assert (life.state, life.hand.process) == (State.STOPPED, None)
    assert life.hand.reason == "an unknown end: its launcher does not answer, by ann"
    assert [one.end for one in life.mourned] == [r.End()]
    assert not {"hand.pressed", "hand.unkillable"} & set(life.events)
    # What the launcher tells after all is old.
    life.exited(r.End(code=0))
    assert len(life.mourned) == 1


def test_an_end_that_a_launcher_tells_late_has_its_how() -> None:
    life = in_state(State.STOPPING)
    life.now = life.hand.wake_at

    life.feed(r.TimeCame(ended=True))
    life.exited(r.End(code=0))

    assert life.hand.reason == "exit 0, by ann"


def test_a_stop_before_the_process_is_there_is_asked_when_it_comes() -> None:
    life = in_state(State.STARTING)

    assert life.feed(r.StopAsked("ann")) == ()
    assert life.hand.wake_at == math.inf
    assert policy.firmer(life.hand) == "TERM"
    orders = life.spawned()

    assert orders == (r.Signal("web", "TERM"),)
    assert life.hand.wake_at == life.now + 10


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (r.StopAsked("ann"), State.STOPPED),
        (r.RestartAsked("ann"), State.WAITING),
        (r.RestartAsked("hiod", "stuck", counts=True), State.BACKOFF),
    ],
)
def test_a_process_that_never_comes_ends_a_stop(event: r.Event, state: State) -> None:
    life = in_state(State.STARTING)
    life.feed(event)

    life.refused()

    assert life.state is state


def test_a_stop_nobody_was_asked_for_yet_begins_with_asking() -> None:
    stopping = in_state(State.STOPPING).hand
    hand = replace(stopping, stop_step="", wake_at=200.0)

    hand, actions = policy.step(hand, r.TimeCame(), 200.0)

    assert actions == (r.SendEnd("web"),)
    assert hand.stop_step == "ask"
    assert hand.wake_at == 210.0


@pytest.mark.parametrize("state", [State.WAITING, State.BACKOFF, State.FAILED, State.DONE])
def test_a_hand_without_a_process_is_stopped_at_once(state: State) -> None:
    life = in_state(state)

    life.feed(r.StopAsked("ann"))

    assert life.state is State.STOPPED
    assert life.hand.wanted is Wanted.DOWN
    assert life.hand.wanted_by == "ann"
    assert life.events[-1] == "hand.stopped"


def test_a_stop_of_a_stopped_hand_changes_the_wish_and_nothing_else() -> None:
    life = Life()

    life.feed(r.StopAsked("ann", 5.0))

    assert life.hand == r.Hand("web", spec(), wanted=Wanted.DOWN, wanted_by="ann", wanted_at=5.0)


@pytest.mark.parametrize("state", State)
def test_a_shutdown_never_changes_what_is_wanted(state: State) -> None:
    life = in_state(state)
    wanted = life.hand.wanted

    life.feed(r.StopAsked("SIGTERM", then=Then.LEAVE))
    if life.process is not None:
        life.exited(CLEAN)
    if life.ordered:
        life.refused()

    assert life.hand.wanted is wanted
    assert life.state in r.RESTING
    assert (life.state is state) == (state in r.RESTING)


@pytest.mark.parametrize("event", [r.StartAsked("ann"), r.RestartAsked("ann")])
def test_a_shutdown_goes_on_whatever_is_asked_meanwhile(event: r.Event) -> None:
    life = in_state(State.STOPPING)
    life.feed(r.StopAsked("SIGTERM", then=Then.LEAVE))

    life.feed(event)
    life.exited(CLEAN)

    assert life.state is State.STOPPED
    assert life.hand.wanted is Wanted.UP


@pytest.mark.parametrize("event", [r.StartAsked("bob", 7.0), r.RestartAsked("bob", at_wall=7.0)])
def test_an_operator_can_turn_a_stop_into_a_restart(event: r.Event) -> None:
    life = in_state(State.STOPPING)

    life.feed(event)
    life.exited(CLEAN)

    assert life.state is State.WAITING
    assert (life.hand.wanted, life.hand.wanted_by, life.hand.wanted_at) == (Wanted.UP, "bob", 7.0)


def test_an_operator_can_turn_a_restart_into_a_stop() -> None:
    life = Life()
    life.up()
    life.feed(r.RestartAsked("ann"))

    life.feed(r.StopAsked("bob"))
    life.exited(CLEAN)

    assert life.state is State.STOPPED


# ---------------------------------------------------------------------------- starts


@pytest.mark.parametrize("event", [r.StartAsked("ann"), r.RestartAsked("ann")])
@pytest.mark.parametrize(
    "state", [State.STOPPED, State.FAILED, State.DONE, State.BACKOFF, State.WAITING]
)
def test_a_start_clears_the_counters(state: State, event: r.Event) -> None:
    life = in_state(state)
    life.hand = replace(life.hand, failures=(99.0, 99.5), attempt=2, leaving=True)

    life.feed(event)

    assert life.state is State.WAITING
    assert (life.hand.failures, life.hand.attempt) == ((), 0)
    assert not life.hand.leaving


@pytest.mark.parametrize("state", [State.STARTING, State.REGISTERING, State.READY, State.DEGRADED])
def test_a_start_of_a_hand_that_is_up_changes_nothing(state: State) -> None:
    life = in_state(state)
    before = life.hand

    assert life.feed(r.StartAsked("ann")) == ()

    assert life.hand is before


@pytest.mark.parametrize("change", [{"leaving": True}, {"wanted": Wanted.DOWN}])
def test_a_start_takes_back_a_stop_that_has_not_reached_the_hand(change: dict) -> None:
    life = in_state(State.READY)
    life.hand = replace(life.hand, failures=(99.0,), attempt=1, **change)

    life.feed(r.StartAsked("ann"))

    assert (life.hand.wanted, life.hand.leaving) == (Wanted.UP, False)
    assert life.hand.failures == (99.0,)


@pytest.mark.parametrize(
    "event",
    [
        r.Cleared(),
        r.Refused("exec", "no"),
        r.Registered(),
        r.SaidReady("register"),
        r.Exited(CRASH),
        r.TimeCame(),
        ILL,
        r.RestartAsked("hiod", "stuck", counts=True),
        r.StopAsked("SIGTERM", then=Then.LEAVE),
    ],
)
def test_a_failed_hand_stays_so_until_somebody_asks(event: r.Event) -> None:
    life = in_state(State.FAILED)

    life.feed(event, 1e6)

    assert life.state is State.FAILED


# ---------------------------------------------------------------------------- restarts


def test_a_restart_asked_by_an_operator_is_no_failure() -> None:
    life = Life()
    life.up()

    orders = life.feed(r.RestartAsked("ann"))
    life.exited(CLEAN)

    assert orders == (r.SendEnd("web"),)
    assert life.state is State.WAITING
    assert life.hand.failures == ()


def test_a_restart_for_health_counts_and_says_why() -> None:
    life = Life()
    life.up()
    life.feed(ILL)

    life.feed(r.RestartAsked("hiod", "stuck (health.on_fail = restart)", counts=True))
    life.exited(KILLED)

    assert life.state is State.BACKOFF
    assert life.hand.reason == ("stuck (health.on_fail = restart); try 1 of 5")


@pytest.mark.parametrize(
    "state",
    [
        State.STOPPING,
        State.STOPPED,
        State.BACKOFF,
        State.WAITING,
        State.FAILED,
        State.DONE,
    ],
)
def test_a_restart_for_health_that_comes_too_late_does_nothing(state: State) -> None:
    life = in_state(state)
    before = life.hand

    life.feed(r.RestartAsked("hiod", "stuck", counts=True))

    assert life.hand is before


# ---------------------------------------------------------------------------- races in a turn


@pytest.mark.parametrize(
    ("state", "event", "then"),
    [
        (State.REGISTERING, r.Exited(CRASH), State.BACKOFF),
        (State.REGISTERING, r.StopAsked("ann"), State.STOPPING),
        (State.REGISTERING, r.Registered(), State.READY),
    ],
)
def test_a_look_that_was_overtaken_in_its_turn_does_nothing(
    state: State, event: r.Event, then: State
) -> None:
    life = in_state(state)
    life.now = life.hand.wake_at

    life.feed(event)
    before = life.hand
    orders = life.feed(r.TimeCame())

    assert life.state is then
    assert life.hand is before
    assert orders == ()


# ---------------------------------------------------------------------------- health


def test_a_verdict_moves_a_hand_and_back() -> None:
    life = Life()
    life.up()

    life.feed(WELL)
    assert life.state is State.READY
    life.feed(ILL, 1.0)
    assert life.state is State.DEGRADED
    assert policy.satisfies(life.hand)
    life.feed(r.Judged(ok=False, verdict="silent", why="no beat for 30 s"), 1.0)
    assert life.hand.reason == "silent: no beat for 30 s"
    life.feed(WELL, 1.0)

    assert life.state is State.READY
    assert life.events[-2:] == ["hand.degraded", "hand.recovered"]


# ---------------------------------------------------------------------------- definitions


@pytest.mark.parametrize(
    ("state", "restart"),
    [
        (State.STOPPED, True),
        (State.DONE, True),
        (State.WAITING, True),
        (State.BACKOFF, False),
        (State.FAILED, False),
    ],
)
def test_a_hand_without_a_process_takes_a_new_definition_whole(state: State, restart: bool) -> None:
    life = in_state(state)
    new = spec(tock=2)

    life.feed(r.Revised(spec(labels={"a": "b"}), new, restart=restart))

    assert life.hand.spec == new
    assert life.hand.next_spec is None
    assert life.state is state


@pytest.mark.parametrize("state", [State.BACKOFF, State.FAILED])
def test_what_failed_is_tried_again_with_a_definition_that_needs_a_process(state: State) -> None:
    life = in_state(state)
    new = spec(tock=2)

    life.feed(r.Revised(spec(labels={"a": "b"}), new, restart=True, by="root"))

    assert life.hand.spec == new
    assert (life.state, life.hand.reason) == (State.WAITING, "its definition changed")
    assert (life.hand.failures, life.hand.attempt) == ((), 0)
    assert life.events[-1] == "hand.restarting"


def test_a_pause_under_way_becomes_as_long_as_the_changed_definition_says() -> None:
    life = Life(restart={"delay_s": 500, "max_delay_s": 600, "jitter": 0})
    life.up()
    life.exited(CRASH)
    died = life.now

    life.feed(r.Revised(spec(restart={"delay_s": 4, "jitter": 0})), 1.0)

    assert (life.state, life.hand.wake_at) == (State.BACKOFF, pytest.approx(died + 4))


def test_a_hand_that_may_no_longer_be_tried_again_is_not() -> None:
    life = Life()
    life.up()
    life.exited(CRASH)

    life.feed(r.Revised(spec(restart={"policy": "never"})))

    assert (life.state, life.hand.reason) == (State.FAILED, "exit 3")
    assert life.events[-1] == "hand.failed"


@pytest.mark.parametrize(("step", "key"), [("ask", "grace_s"), ("term", "term_s")])
def test_a_stop_under_way_takes_as_long_as_the_changed_definition_says(step: str, key: str) -> None:
    life = Life(stop={key: 300})
    life.up()
    life.feed(r.StopAsked("ann", 1.0))
    while life.hand.stop_step != step:
        life.time_comes()
    began = life.now

    life.feed(r.Revised(spec(stop={key: 2})), 1.0)

    assert life.hand.wake_at == pytest.approx(began + 2)


def test_a_hand_that_is_to_be_stopped_is_not_restarted_by_a_change() -> None:
    life = Life()
    life.up()
    life.hand = policy.wants_down(life.hand, r.StopAsked("ann", 1.0))
    new = spec(tock=2)

    orders = life.feed(r.Revised(life.hand.spec, new, restart=True))

    assert orders == ()
    assert (life.state, life.hand.next_spec) == (State.READY, new)


def test_a_change_that_needs_a_process_restarts_the_hand_without_counting() -> None:
    life = Life()
    life.up()
    new = spec(tock=2)

    orders = life.feed(r.Revised(life.hand.spec, new, restart=True, by="apply"))
    assert orders == (r.SendEnd("web"),)
    life.exited(CLEAN)

    assert (life.hand.spec, life.hand.next_spec) == (new, None)
    assert life.state is State.WAITING
    assert life.hand.failures == ()


def test_a_change_that_can_wait_waits_for_the_next_start() -> None:
    life = Life()
    life.up()
    new = spec(ready={"by": "memo"})

    life.feed(r.Revised(life.hand.spec, new))
    assert life.state is State.READY
    life.exited()

    assert life.hand.spec == new


def test_a_new_limit_of_the_waits_holds_at_once() -> None:
    life = Life(restart={"reset_after_s": 60})
    life.up()
    life.exited()
    life.again()
    life.feed(r.Registered())

    life.feed(r.Revised(spec(restart={"reset_after_s": 7})))

    assert life.hand.wake_at == life.now + 7


def test_a_young_hand_keeps_its_time_when_its_definition_changes() -> None:
    life = in_state(State.REGISTERING)
    until = life.hand.wake_at

    life.feed(r.Revised(spec(labels={"a": "b"})), 1.0)

    assert life.hand.wake_at == until


def test_a_stopping_hand_starts_by_what_it_was_told_last() -> None:
    life = Life()
    life.up()
    life.feed(r.RestartAsked("ann"))
    new = spec(tock=2)

    life.feed(r.Revised(life.hand.spec, new, restart=True))
    life.exited(CLEAN)

    assert life.hand.spec == new


# ---------------------------------------------------------------------------- small things


def test_whom_a_hand_waits_for_is_its_reason() -> None:
    hand = in_state(State.WAITING).hand

    assert policy.waits(hand, "after db (backoff)").reason == "after db (backoff)"


def test_how_long_things_took_is_told_as_people_read_it() -> None:
    life = Life()
    life.begin()
    life.feed(r.Registered(), 0.01234)
    life.feed(r.StopAsked("ann"))
    life.exited(CLEAN, 12.345)

    took = [note.facts["took_s"] for note in life.notes if "took_s" in note.facts]
    assert took == [0.012, 12.3]


def test_the_helper_finds_a_note_that_lacks_a_fact() -> None:
    with pytest.raises(AssertionError, match=r"hand\.ready lacks"):
        lives.sufficient(r.Note("hand.ready", "web", {"took_s": 1, "generation": 1}))
