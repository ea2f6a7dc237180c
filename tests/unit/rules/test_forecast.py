from __future__ import annotations

from dataclasses import replace

import pytest
from support.lives import process, spec

from hiod.rules import records as r
from hiod.rules import roster
from hiod.rules.forecast import Forecast, forecast, span
from hiod.rules.records import Hand, State, Wanted
from hiod.rules.roster import Crew, Member


def crew(*members: Member, **hands: dict[str, object]) -> Crew:
    """Return a crew whose hands all run, but for what is said of some by name."""
    made: dict[str, Hand] = {}
    for one in members:
        for hand in roster.missing(Crew(), one, Wanted.UP):
            made[hand.name] = replace(hand, state=State.RUNNING, process=process())
    for key, changes in hands.items():
        name = key.replace("_", "-")
        made[name] = replace(made[name], **changes)
        if made[name].state not in r.LIVE:
            made[name] = replace(made[name], process=None)
    return Crew({one.spec.name: one for one in members}, made)


def filed(name: str = "web", *, scaled: int | None = None, **keys) -> Member:
    made = spec(name, **keys)
    return Member(made if scaled is None else replace(made, count=scaled), roster.FILE, made.count)


def seen(made: Crew, name: str = "web", **keys) -> Forecast:
    """Foretell what comes of files that say this of a hand."""
    (change,) = [
        one
        for one in roster.plan(made, [replace(spec(name, **keys), origin=f"crew.d/{name}.toml")])
        if one.name == name
    ]
    return forecast(made, change)


DOWN = {"wanted": Wanted.DOWN, "state": State.STOPPED}
STOPPING = {"wanted": Wanted.DOWN, "state": State.STOPPING}


def test_who_is_added_starts_unless_it_is_not_to() -> None:
    assert seen(crew(), count=2) == Forecast("start", (), ("web-0", "web-1"), "")
    assert seen(crew(), start=False).message == "web: add (does not start: start is false)"


def test_who_is_removed_stops() -> None:
    (change,) = roster.plan(crew(filed(count=2)), [])

    assert forecast(crew(filed(count=2)), change) == Forecast("stop", (), ("web-0", "web-1"))


@pytest.mark.parametrize(
    ("keys", "how", "message"),
    [
        ({"labels": {"a": "1"}}, "live", "labels (at once, nothing is restarted)"),
        ({"after": ["db"]}, "next", "after (at its next start)"),
        (
            {"after": ["db"], "labels": {"a": "1"}},
            "next",
            "labels (at once), after (at its next start)",
        ),
        ({"nice": 3, "labels": {"a": "1"}}, "restart", "labels, nice (restarts)"),
    ],
)
def test_each_key_is_said_with_when_it_takes_hold(keys: dict, how: str, message: str) -> None:
    found = seen(crew(filed(), filed("db")), **keys)

    assert (found.how, found.message) == (how, f"web: change {message}")
    assert (found.keys, found.hands) == (tuple(sorted(keys)), ("web",))


@pytest.mark.parametrize(
    ("hand", "how"),
    [
        ({"state": State.READY}, "restart"),
        ({"state": State.STARTING}, "restart"),
        ({"state": State.FAILED}, "restart"),
        ({"state": State.BACKOFF}, "restart"),
        ({"state": State.STOPPING}, "restart"),  # it is being restarted
        ({"state": State.WAITING}, "next"),
        ({"state": State.DONE}, "next"),
        (DOWN, "next"),
        (STOPPING, "next"),
        ({"wanted": Wanted.DOWN, "state": State.RUNNING}, "next"),  # its stop waits for its turn
        ({"wanted": Wanted.DOWN, "state": State.FAILED}, "next"),
    ],
)
def test_only_who_is_wanted_and_has_come_that_far_restarts(hand: dict, how: str) -> None:
    assert seen(crew(filed(), web=hand), nice=3).how == how


def test_it_is_said_who_restarts_if_not_all_do() -> None:
    made = crew(filed(count=4), web_3=DOWN)

    assert seen(made, count=4, nice=3).message == (
        "web: change nice (restarts web-0 to web-2, the others at their next start)"
    )


@pytest.mark.parametrize(
    ("had", "now", "message", "hands"),
    [
        (3, 1, "count 3 to 1 (stops web-1, web-2)", "web-0 web-1 web-2"),
        (1, 2, "count 1 to 2 (starts web-1)", "web-0 web-1"),
        (4, None, "no count any more (stops web-0 to web-3, starts web)",
            "web-0 web-1 web-2 web-3 web"),
        (None, 2, "count 2 now (stops web, starts web-0, web-1)", "web web-0 web-1"),
        (None, 0, "count 0 now (stops web)", "web"),
    ],
)  # fmt: skip
def test_another_count_is_said_with_who_goes_and_who_comes(
    had: int | None, now: int | None, message: str, hands: str
) -> None:
    def counted(count: int | None) -> dict[str, int]:
        return {} if count is None else {"count": count}

    found = seen(crew(filed(**counted(had))), **counted(now))

    assert found == Forecast("live", ("count",), tuple(hands.split()), f"web: {message}")


def test_where_all_were_stopped_nobody_is_said_to_start_or_to_stop() -> None:
    found = seen(crew(filed(), web=DOWN), count=2)

    assert found.message == "web: count 2 now (removes web, adds web-0, web-1)"


def test_a_change_of_count_is_said_beside_the_others() -> None:
    made = crew(filed(count=2))

    assert seen(made, count=1, nice=3).message == (
        "web: change nice (restarts); count 2 to 1 (stops web-1)"
    )
    assert seen(made, nice=3).message == (
        "web: change nice; no count any more (stops web-0, web-1, starts web)"
    )


def test_who_leaves_already_is_not_said_to_stop() -> None:
    made = crew(filed(count=2), web_1={**STOPPING, "leaving": True})

    assert seen(made, count=0).message == "web: count 2 to 0 (stops web-0)"


def test_a_definition_that_is_only_the_files_now_is_said_to_be() -> None:
    added = Member(spec("web", count=2), roster.RUNTIME)
    scaled = filed(count=2, scaled=4)

    assert seen(crew(added), count=2) == Forecast(
        "live", (), ("web-0", "web-1"), "web: now from crew.d/web.toml"
    )
    assert seen(crew(added), count=2, nice=3).message == (
        "web: change nice (restarts); now from crew.d/web.toml"
    )
    assert seen(crew(scaled), count=4).message == "web: count 4 now from crew.d/web.toml"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("web", "web"),
        ("web-1 web-2", "web-1, web-2"),
        ("web-9 web-10 web-11", "web-9 to web-11"),
        ("web-0 web-2 web-3", "web-0, web-2, web-3"),
    ],
)
def test_names_in_a_row_are_said_shortly(names: str, said: str) -> None:
    assert span(names.split()) == said
