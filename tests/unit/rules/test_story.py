from __future__ import annotations

import string

import pytest

from hiod.rules.story import STORY, tell

LEVELS = {"debug", "info", "warning", "error"}


@pytest.mark.parametrize("event", STORY)
def test_every_event_is_told_as_it_should_be(event: str) -> None:
    told = STORY[event]

    assert told.level in LEVELS
    assert len(told.message_id) == 32
    assert set(told.message_id) <= set(string.hexdigits.lower())
    assert told.explain.endswith(".")
    thing, dot, happened = event.partition(".")
    assert (thing.isalpha(), dot, happened.replace("_", "").isalpha()) == (True, ".", True)


@pytest.mark.parametrize("event", [event for event in STORY if event.startswith("hand.")])
def test_what_happens_to_a_hand_names_it_first(event: str) -> None:
    assert STORY[event].template.startswith("{hand}: ")


def test_no_two_events_share_a_message_id() -> None:
    assert len({told.message_id for told in STORY.values()}) == len(STORY)


def test_an_event_is_told_with_its_facts() -> None:
    facts = {"hand": "store", "how": "signal 11", "cause": "died of signal 11", "note": ""}

    told = tell("hand.backing_off", facts | {"attempt": 2, "limit": 5, "delay_s": 0.5})

    assert told == "store: died of signal 11; try 2 of 5 in 0.5 s"


@pytest.mark.parametrize(("count", "words"), [(0, "0 hands"), (1, "1 hand"), (2, "2 hands")])
def test_one_of_a_kind_is_told_as_one(count: int, words: str) -> None:
    told = tell("launcher.heard", {"launcher": "a", "pid": 7, "hands": count})

    assert told == f"launcher a answers again, pid 7, with {words}"


def test_a_fact_that_is_missing_does_not_keep_the_rest_from_being_told() -> None:
    assert tell("hand.registered", {}) == "?: registered"


def test_braces_in_a_fact_are_only_braces() -> None:
    assert tell("hand.status", {"hand": "web", "status": "{hand}"}) == "web: says {hand}"


def test_an_event_nobody_knows_is_told_by_its_name() -> None:
    assert tell("hand.sang", {"hand": "web"}) == "hand.sang"
