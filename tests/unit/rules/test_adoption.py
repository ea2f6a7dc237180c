from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.lives import BOOT, CLEAN, Life, in_state, process, spec

from hiod.rules import adoption, policy
from hiod.rules import records as r
from hiod.rules.adoption import Ended, Findings, Seen
from hiod.rules.records import Hand, State, Then, Wanted

NOW = 500.0
LIVE = sorted(r.LIVE)
PRESENT = sorted(r.LIVE - {State.STARTING})


def seen(hand: Hand, **changes: Any) -> Seen:
    """Return the launcher's word that this hand lives."""
    one = Seen(
        hand.name,
        hand.generation,
        f"crew.{hand.name}.{hand.generation}",
        hand.process or process(77),
        "L1",
    )
    return replace(one, **changes)


def judge(
    hand: Hand,
    *living: Seen,
    ends: tuple[Ended, ...] = (),
    alive: tuple[r.ProcessId, ...] = (),
    boot: str = BOOT,
) -> Findings:
    return adoption.judge(
        {hand.name: (hand, boot)},
        living,
        ends,
        alive,
        boot_id=BOOT,
        tokens={hand.name: f"crew.{hand.name}.{hand.generation}"},
        now=NOW,
    )


# ---------------------------------------------------------------------------- adopted


@pytest.mark.parametrize("state", PRESENT)
def test_a_living_hand_is_adopted_by_its_launcher(state: State) -> None:
    hand = in_state(state).hand

    found = judge(hand, seen(hand))

    assert found.adopted == {"web": "L1"}
    assert found.hands["web"].state is state
    assert found.hands["web"].process == hand.process
    assert (found.ended, found.unknown, found.stale) == ({}, (), ())


@pytest.mark.parametrize("state", PRESENT)
def test_a_living_hand_without_a_launcher_is_adopted_by_its_process(state: State) -> None:
    hand = in_state(state).hand
    assert hand.process is not None

    found = judge(hand, alive=(hand.process,))

    assert found.adopted == {"web": None}
    assert found.hands["web"].state is state


def test_an_adopted_hand_that_is_up_is_left_as_it_is() -> None:
    hand = in_state(State.READY).hand

    assert judge(hand, seen(hand)).hands["web"] is hand


@pytest.mark.parametrize("by", ["register", "notify"])
def test_a_young_hand_does_not_pay_for_the_time_without_a_boss(by: str) -> None:
    life = Life(ready={"by": by, "timeout_s": 10})
    life.begin()
    assert life.hand.wake_at < NOW

    hand = judge(life.hand, seen(life.hand)).hands["web"]

    assert hand.wake_at == NOW + 10


def test_a_hand_that_was_being_asked_to_end_is_asked_again() -> None:
    hand = in_state(State.STOPPING).hand

    hand = judge(hand, seen(hand)).hands["web"]
    hand, actions = policy.step(hand, r.TimeCame(), NOW)

    assert actions == (r.SendEnd("web"),)
    assert hand.wake_at == NOW + 10


def test_a_hand_that_was_told_to_end_is_not_asked_nicely_again() -> None:
    life = in_state(State.STOPPING)
    life.time_comes()

    hand = judge(life.hand, seen(life.hand)).hands["web"]

    assert (hand.stop_step, hand.wake_at) == ("term", life.hand.wake_at)


# ---------------------------------------------------------------------------- born unrecorded


@pytest.mark.parametrize(
    ("ready", "state"),
    [("register", State.REGISTERING), ("notify", State.STARTING), ("start", State.RUNNING)],
)
def test_a_birth_that_was_not_written_down_is_caught_up_with(ready: str, state: State) -> None:
    life = Life(ready={"by": ready, "timeout_s": 10})
    life.feed(r.StartAsked())
    life.feed(r.Cleared())

    hand = judge(life.hand, seen(life.hand)).hands["web"]

    assert (hand.state, hand.process, hand.spawned_at) == (state, process(77), NOW)
    assert hand.generation == life.hand.generation
    assert (hand.wake_at == NOW + 10) == (ready != "start")


def test_a_birth_that_was_not_wanted_any_more_is_undone() -> None:
    life = in_state(State.STARTING)
    life.feed(r.StopAsked("ann"))

    hand = judge(life.hand, seen(life.hand)).hands["web"]
    assert (hand.state, hand.process, hand.wake_at) == (State.STOPPING, process(77), NOW)
    hand, actions = policy.step(hand, r.TimeCame(), NOW)
    assert actions == (r.Signal("web", "TERM"),)
    hand, _ = policy.step(hand, r.Exited(CLEAN), NOW)

    assert hand.state is State.STOPPED
    assert hand.asked_by == "ann"


@pytest.mark.parametrize("state", [State.READY, State.BACKOFF, State.WAITING])
def test_a_later_birth_is_adopted_although_the_disk_was_full(state: State) -> None:
    hand = in_state(state).hand
    mark = f"crew.web.{hand.generation + 2}"

    found = judge(hand, seen(hand, generation=hand.generation + 2, token=mark, process=process(9)))

    assert found.adopted == {"web": "L1"}
    assert found.ended == {}
    now = found.hands["web"]
    assert (now.generation, now.process) == (hand.generation + 2, process(9))
    assert now.state is State.REGISTERING


@pytest.mark.parametrize("state", sorted(r.RESTING))
def test_a_living_hand_that_should_be_at_rest_is_put_there(state: State) -> None:
    hand = in_state(state).hand

    found = judge(hand, seen(hand, generation=hand.generation + 1, token="crew.web.3"))
    assert found.adopted == {}
    found = judge(
        hand,
        seen(hand, generation=hand.generation + 1, token=f"crew.web.{hand.generation + 1}"),
    )

    assert found.adopted == {"web": "L1"}
    now = found.hands["web"]
    assert (now.state, now.then, now.asked_by) == (State.STOPPING, Then.REST, "hiod")


# ---------------------------------------------------------------------------- never adopted


@pytest.mark.parametrize("change", [{"token": "other.web.1"}, {"token": ""}, {"name": "mail"}])
def test_a_process_is_never_adopted_by_its_pid_alone(change: dict) -> None:
    hand = in_state(State.READY).hand
    assert hand.process is not None
    recycled = replace(hand.process, started_at=hand.process.started_at + 1)

    found = judge(hand, seen(hand, process=recycled, **change), alive=(recycled,))

    assert found.adopted == {}
    assert found.ended == {"web": None}
    assert len(found.unknown) == 1


def test_an_earlier_birth_is_not_adopted() -> None:
    hand = replace(in_state(State.READY).hand, generation=3)

    found = judge(hand, seen(hand, generation=2, token="crew.web.2", process=process(9)))

    assert found.adopted == {}
    assert [one.generation for one in found.unknown] == [2]


def test_a_hand_without_a_known_token_is_adopted_by_its_process_only() -> None:
    hand = in_state(State.STARTING).hand

    found = adoption.judge(
        {"web": (hand, BOOT)}, [seen(hand, token=".1")], [], (), boot_id=BOOT, tokens={}, now=NOW
    )

    assert found.adopted == {}


def test_a_living_hand_nobody_wrote_down_is_reported() -> None:
    stranger = Seen("ghost", 4, "crew.ghost.4", process(8), "L2")

    found = judge(in_state(State.STOPPED).hand, stranger)

    assert found.unknown == (stranger,)
    assert "ghost" not in found.hands


# ---------------------------------------------------------------------------- ended meanwhile


@pytest.mark.parametrize("state", LIVE)
def test_an_end_that_a_launcher_remembers_is_true(state: State) -> None:
    hand = in_state(state).hand
    end = Ended("web", hand.generation, r.End(signal=11), "L1")

    found = judge(hand, ends=(end,))

    assert found.ended == {"web": end}
    assert found.adopted == {}
    assert found.stale == ()


@pytest.mark.parametrize("state", PRESENT)
def test_an_end_nobody_saw_is_unknown(state: State) -> None:
    found = judge(in_state(state).hand)

    assert found.ended == {"web": None}


def test_a_hand_that_ended_after_it_was_reported_alive_has_ended() -> None:
    hand = in_state(State.READY).hand
    end = Ended("web", hand.generation, CLEAN, "L1")

    found = judge(hand, seen(hand), ends=(end,))

    assert (found.adopted, found.ended, found.unknown) == ({}, {"web": end}, ())


@pytest.mark.parametrize("state", [State.BACKOFF, State.STOPPED, State.FAILED])
def test_an_end_that_was_recorded_before_is_stale(state: State) -> None:
    hand = in_state(state).hand
    end = Ended("web", hand.generation, CLEAN, "L1")

    found = judge(hand, ends=(end,))

    assert found.stale == (end,)
    assert found.ended == {}


# ---------------------------------------------------------------------------- never born


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (None, State.WAITING),
        (r.RestartAsked("ann"), State.WAITING),
        (r.StopAsked("ann"), State.STOPPED),
        (r.StopAsked("ann", leaving=True), State.STOPPED),
    ],
)
def test_a_birth_that_never_was_is_as_before_its_order(event: r.Event | None, state: State) -> None:
    life = in_state(State.STARTING)
    if event is not None:
        life.feed(event)

    found = judge(life.hand)

    assert found.hands["web"].state is state
    assert (found.adopted, found.ended) == ({}, {})


def test_a_definition_that_waited_for_the_next_start_does_not_wait_longer() -> None:
    hand = replace(in_state(State.STARTING).hand, next_spec=spec(tock=2))

    for made in (adoption.unspawned(hand, NOW), adoption.rebooted(hand, NOW)):
        assert (made.spec, made.next_spec) == (spec(tock=2), None)


@pytest.mark.parametrize("state", [State.WAITING, State.BACKOFF, State.FAILED, State.DONE])
def test_a_hand_without_a_process_goes_on_where_it_was(state: State) -> None:
    hand = in_state(state).hand

    assert judge(hand).hands["web"] is hand


# ---------------------------------------------------------------------------- shutdowns cut short


def test_a_hand_that_a_shutdown_had_stopped_is_started_again() -> None:
    life = in_state(State.READY)
    life.feed(r.StopAsked("SIGTERM", then=Then.LEAVE))
    life.exited(CLEAN)

    assert judge(life.hand).hands["web"].state is State.WAITING


@pytest.mark.parametrize("launcher", [True, False])
def test_a_hand_that_a_shutdown_was_stopping_is_started_again(launcher: bool) -> None:
    life = in_state(State.READY)
    life.feed(r.StopAsked("SIGTERM", then=Then.LEAVE))
    living = [seen(life.hand)] if launcher else []

    hand = judge(life.hand, *living).hands["web"]
    hand, _ = policy.step(hand, r.Exited(CLEAN), NOW)

    assert hand.state is State.WAITING


def test_a_hand_that_a_shutdown_was_killing_is_started_again() -> None:
    life = in_state(State.READY)
    life.feed(r.StopAsked("SIGTERM", then=Then.LEAVE))
    life.time_comes()

    hand = judge(life.hand, seen(life.hand)).hands["web"]

    assert hand.then is Then.START


def test_a_hand_wanted_down_is_not_started_by_a_shutdown_cut_short() -> None:
    life = in_state(State.STOPPING)
    life.feed(r.StopAsked("SIGTERM", then=Then.LEAVE))

    hand = judge(life.hand, seen(life.hand)).hands["web"]
    hand, _ = policy.step(hand, r.Exited(CLEAN), NOW)

    assert hand.state is State.STOPPED
    assert judge(hand).hands["web"] is hand


# ---------------------------------------------------------------------------- another boot


@pytest.mark.parametrize("state", State)
def test_after_a_boot_nothing_is_there_and_nothing_counts(state: State) -> None:
    written = replace(in_state(state).hand, failures=(1.0,), attempt=1)

    found = judge(written, boot="another", alive=() if not written.process else (written.process,))

    hand = found.hands["web"]
    up = written.wanted is Wanted.UP
    assert hand.state is (State.WAITING if up else State.STOPPED)
    assert (hand.process, hand.failures, hand.attempt) == (None, (), 0)
    assert hand.generation == written.generation
    assert (found.adopted, found.ended) == ({}, {})


# ---------------------------------------------------------------------------- a cold start


@pytest.mark.parametrize("state", [State.STOPPED, State.BACKOFF, State.FAILED, State.WAITING])
def test_a_start_with_nobody_alive_starts_what_is_wanted_up(state: State) -> None:
    hand = replace(in_state(state).hand, next_spec=spec(tock=2), failures=(1.0,), attempt=1)

    hand = adoption.refreshed(hand, NOW)

    assert hand.state is State.WAITING
    assert (hand.failures, hand.attempt, hand.spec) == ((), 0, spec(tock=2))


def test_what_is_done_wanted_down_or_leaving_is_not_started() -> None:
    done = in_state(State.DONE).hand
    down = replace(in_state(State.STOPPED).hand, wanted=Wanted.DOWN)
    leaving = policy.leaves(in_state(State.STOPPED).hand)

    for hand in (done, down, leaving):
        assert adoption.refreshed(hand, NOW) is hand
