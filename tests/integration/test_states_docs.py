from __future__ import annotations

from support import states

from hiod.rules import policy


def test_the_page_on_states_says_what_the_rules_do() -> None:
    written = states.PAGE.read_text()

    assert written == states.page(), "run in tests: python -m support.states"


def test_every_rule_is_reached() -> None:
    reached = {policy.TABLE[pair].__name__ for pair in states.explore()}

    idle = {rule.__name__ for rule in policy.TABLE.values()} - reached
    # These change no hand, but one whose stop is still on its way.
    assert idle == {"_stay", "_spawned_unasked", "_want_up"}
