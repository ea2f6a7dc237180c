from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.lives import process, spec

from hiod.rules import records as r
from hiod.rules import roster
from hiod.rules.records import Hand, State, Wanted
from hiod.rules.roster import Crew, Member

if TYPE_CHECKING:
    from hiod.rules.specs import HandSpec


def crew(*members: Member, **states: State) -> Crew:
    """Return a crew with all the hands its members count, in the states given by name."""
    made = Crew({member.spec.name: member for member in members})
    hands = {
        hand.name: hand
        for one in members
        for hand in roster.missing(made, one, roster.first_wanted(made, one.spec))
    }
    for key, state in states.items():
        name = key.replace("_", "-")
        there = process(len(name)) if state in r.LIVE else None
        hands[name] = replace(hands[name], state=state, process=there)
    return Crew(made.members, hands)


def member(name: str, source: str = roster.FILE, **keys) -> Member:
    made = spec(name, **keys)
    return Member(made, source, made.count if source == roster.FILE else None)


# ---------------------------------------------------------------------------- membership


def test_a_definition_without_a_count_is_one_hand_of_its_name() -> None:
    made = crew(member("web"))

    assert [(hand.name, hand.ordinal) for hand in made.hands.values()] == [("web", None)]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_count_is_that_many_numbered_hands(count: int) -> None:
    made = crew(member("web", count=count))

    assert [*made.hands] == [f"web-{number}" for number in range(count)]


@pytest.mark.parametrize(("start", "wanted"), [(True, Wanted.UP), (False, Wanted.DOWN)])
def test_what_is_first_wanted_of_a_hand_is_its_definitions_to_say(
    start: bool, wanted: Wanted
) -> None:
    made = crew(member("web", start=start))

    assert made.hands["web"].wanted is wanted
    assert made.hands["web"].state is State.STOPPED


def test_only_what_is_missing_is_added() -> None:
    made = crew(member("web", count=2))

    grown = roster.missing(made, member("web", count=4), Wanted.UP)

    assert [hand.name for hand in grown] == ["web-2", "web-3"]


def test_new_hands_are_not_started_where_all_the_others_were_stopped() -> None:
    made = crew(member("web"), member("job", start=False))
    stopped = {name: replace(hand, wanted=Wanted.DOWN) for name, hand in made.hands.items()}
    left = {"web": replace(stopped["web"], leaving=True)}

    def first(hands: dict[str, Hand], name: str, **keys) -> Wanted:
        return roster.first_wanted(Crew(made.members, hands), spec(name, count=2, **keys))

    assert first(stopped, "web") is Wanted.DOWN
    assert first(dict(made.hands), "web") is Wanted.UP
    assert first(left, "web") is Wanted.UP  # by whoever took it out
    assert first({}, "web") is Wanted.UP
    assert first(stopped, "job") is Wanted.UP  # nobody stopped it: it was not to start
    assert first(dict(made.hands), "web", start=False) is Wanted.DOWN


@pytest.mark.parametrize(
    ("name", "base", "ordinal"),
    [
        ("web-0", "web", 0),
        ("web-11", "web", 11),
        ("web-12", None, None),
        ("web-00", None, None),
        ("web", None, None),
        ("db", "db", None),
        ("db-0", None, None),
        ("x-1", "x-1", None),
        ("x-1-0", None, None),
    ],
)
def test_a_name_that_is_free_again_is_whose_definition_counts_it(
    name: str, base: str | None, ordinal: int | None
) -> None:
    members = (member("web", count=12), member("db"), member("x-1"), member("n", count=0))

    hand = roster.successor(Crew({one.spec.name: one for one in members}), name)

    found = None if hand is None else (hand.name, roster.base_of(hand), hand.ordinal)
    assert found == (None if base is None else (name, base, ordinal))


def test_surplus_hands_go_from_the_highest_number_down() -> None:
    made = crew(member("web", count=12))
    smaller = Crew({"web": member("web", count=2)}, made.hands)

    assert roster.surplus(smaller, "web") == tuple(f"web-{number}" for number in range(11, 1, -1))


def test_hands_that_are_leaving_already_are_no_surplus() -> None:
    made = crew(member("web", count=2))
    hands = dict(made.hands) | {"web-1": replace(made.hands["web-1"], leaving=True)}

    assert roster.surplus(Crew({}, hands), "web") == ("web-0",)


def test_hands_of_a_definition_come_in_the_order_of_their_numbers() -> None:
    made = crew(member("web", count=11), member("db"))
    shuffled = Crew(made.members, dict(reversed(made.hands.items())))

    names = [hand.name for hand in roster.hands_of(shuffled, "web")]

    assert names == [f"web-{number}" for number in range(11)]


def test_a_crew_is_lined_up_as_its_files_define_it_then_by_name() -> None:
    def at(name: str, origin: str | None, line: int | None, **keys) -> Member:
        return Member(replace(spec(name, **keys), origin=origin, line=line))

    made = crew(
        at("zoe", None, None),
        at("bob", None, None),
        at("late", "b.toml", 1),
        at("second", "a.toml", 9, count=11),
        at("first", "a.toml", 2),
        at("whole", "a.toml", None),
        at("gone", "a.toml", 1),
    )
    left = Crew({name: one for name, one in made.members.items() if name != "gone"}, made.hands)

    lined_up = roster.lined_up(left)

    numbered = [f"second-{number}" for number in range(11)]
    assert lined_up == ["whole", "first", *numbered, "late", "bob", "zoe", "gone"]


# ---------------------------------------------------------------------------- plans


def test_a_plan_adds_changes_and_removes_what_the_files_say() -> None:
    made = crew(member("same"), member("old"), member("changed"))

    changes = roster.plan(made, [spec("same"), spec("changed", tock=2), spec("new")])

    assert [(change.kind, change.name) for change in changes] == [
        ("remove", "old"),
        ("change", "changed"),
        ("add", "new"),
    ]
    assert changes[0].member is None
    assert changes[1].member == Member(spec("changed", tock=2), roster.FILE, None)


def test_a_plan_leaves_hands_added_at_runtime_alone() -> None:
    made = crew(member("late", roster.RUNTIME))

    assert roster.plan(made, []) == ()


def test_a_plan_takes_over_a_runtime_definition_that_the_files_have_now() -> None:
    made = crew(member("late", roster.RUNTIME))

    (change,) = roster.plan(made, [spec("late")])

    assert change.member == Member(spec("late"), roster.FILE, None)


def test_a_plan_brings_back_a_file_hand_that_was_removed_at_runtime() -> None:
    (change,) = roster.plan(Crew(), [spec("web")])

    assert (change.kind, change.name) == ("add", "web")


@pytest.mark.parametrize(
    ("added", "filed", "problem"),
    [
        (
            member("web-0", roster.RUNTIME),
            spec("web", count=2),
            'added at runtime: hand.web-0: is the name of an instance of "web", which has a count;'
            " choose another; hiodctl remove web-0 would do",
        ),
        (
            member("web", roster.RUNTIME, count=2),
            spec("web-0"),
            'hand.web-0: is the name of an instance of "web", which has a count; choose another',
        ),
        (
            member("rt", roster.RUNTIME, after=["db"]),
            spec("web"),
            'added at runtime: hand.rt.after[0]: names "db", which is not in the crew;'
            " hiodctl remove rt would do",
        ),
        (
            member("rt", roster.RUNTIME, after=["web"]),
            spec("web", after=["rt"]),
            "hand.web.after: leads back to itself: web after rt after web",
        ),
    ],
)
def test_files_and_hands_added_at_runtime_are_one_crew(
    added: Member, filed: HandSpec, problem: str
) -> None:
    (found,) = roster.clashes({added.spec.name: added}, [filed])

    assert f"{found.path}: {found.message}" == problem


def test_a_runtime_definition_that_the_files_have_now_clashes_with_nothing() -> None:
    members = {one.spec.name: one for one in (member("web", roster.RUNTIME), member("db"))}

    assert roster.clashes(members, [spec("web", count=2), spec("x", after=["web"])]) == []
    assert roster.clashes({"db": member("db-0")}, [spec("db", count=2)]) == []


def test_where_a_definition_is_written_is_no_change() -> None:
    made = crew(member("web"))

    assert roster.plan(made, [replace(spec("web"), origin="b.toml", line=9)]) == ()


@pytest.mark.parametrize(
    ("filed", "scaled", "now", "wins"),
    [
        (3, 5, 3, 5),
        (3, 5, 4, 4),
        (3, 0, 3, 0),
        (3, 3, 2, 2),
        (3, 5, None, None),
        (None, None, 2, 2),
    ],
)
def test_scale_wins_until_the_files_count_changes(
    filed: int | None, scaled: int | None, now: int | None, wins: int | None
) -> None:
    counted = {} if scaled is None else {"count": scaled}
    had = Member(spec("web", **counted), roster.FILE, filed)

    made = roster.filed(spec("web") if now is None else spec("web", count=now), had)

    assert (made.spec.count, made.filed_count) == (wins, now)


def test_a_scaled_crew_has_nothing_to_plan() -> None:
    scaled = Member(spec("web", count=5), roster.FILE, 3)

    assert roster.plan(Crew({"web": scaled}), [spec("web", count=3)]) == ()


def test_a_living_hand_takes_only_what_can_be_taken_alive() -> None:
    old = spec("web", tock=1, labels={"a": "1"}, restart={"limit": 5, "window_s": 60})
    new = spec("web", tock=2, labels={"a": "2"}, restart={"limit": 9, "window_s": 60})
    ways = {"tock": "restart", "labels": "live", "restart.limit": "live"}

    blend = roster.blend(old, new, ways)

    assert blend == replace(new, tock=1)


# ---------------------------------------------------------------------------- starts


def test_a_crew_without_waiting_hands_waits_for_nobody() -> None:
    assert roster.standing(crew(member("web"))) == {}


def test_hands_without_order_may_all_start() -> None:
    made = crew(member("a"), member("b"), a=State.WAITING, b=State.WAITING)

    assert roster.standing(made) == {"a": "", "b": ""}


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (State.READY, ""),
        (State.RUNNING, ""),
        (State.DEGRADED, ""),
        (State.STARTING, "after db (starting)"),
        (State.REGISTERING, "after db (registering)"),
        (State.BACKOFF, "after db (backoff)"),
        (State.FAILED, "after db (failed)"),
        (State.STOPPING, "after db (stopping)"),
        (State.STOPPED, "after db (stopped)"),
        (State.DONE, ""),
    ],
)
def test_a_hand_waits_for_the_one_it_comes_after(state: State, why: str) -> None:
    made = crew(member("db"), member("web", after=["db"]), db=state, web=State.WAITING)

    assert roster.standing(made) == {"web": why}


@pytest.mark.parametrize(
    ("state", "why"), [(State.DONE, ""), (State.RUNNING, "after db (running)")]
)
def test_a_hand_waits_for_a_one_shot_to_be_done(state: State, why: str) -> None:
    made = crew(
        member("db", ready={"by": "exit"}),
        member("web", after=["db"]),
        db=state,
        web=State.WAITING,
    )

    assert roster.standing(made) == {"web": why}


def test_a_counted_name_means_all_its_hands() -> None:
    parts = (member("db", count=2), member("web", after=["db"]))
    half = crew(*parts, db_0=State.READY, db_1=State.STARTING, web=State.WAITING)
    whole = crew(*parts, db_0=State.READY, db_1=State.READY, web=State.WAITING)

    assert roster.standing(half) == {"web": "after db-1 (starting)"}
    assert roster.standing(whole) == {"web": ""}


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("after db-1 (starting)", "db-1"),
        ("after db (no such hand)", "db"),
        ("to be tried again", ""),
        ("after", ""),
        ("", ""),
    ],
)
def test_whom_a_hand_waits_for_is_read_from_its_reason(reason: str, name: str) -> None:
    assert roster.awaited_in(reason) == name


def test_a_count_of_none_keeps_nobody_waiting() -> None:
    made = crew(member("db", count=0), member("web", after=["db"]), web=State.WAITING)

    assert roster.standing(made) == {"web": ""}


def test_a_hand_that_is_not_in_the_crew_is_waited_for_by_name() -> None:
    made = crew(member("web", after=["db"]), web=State.WAITING)

    assert roster.standing(made) == {"web": "after db (no such hand)"}


def test_a_leaving_hand_neither_starts_nor_keeps_others_waiting() -> None:
    made = crew(
        member("db", count=2),
        member("web", after=["db"]),
        db_0=State.READY,
        db_1=State.WAITING,
        web=State.WAITING,
    )
    hands = dict(made.hands) | {"db-1": replace(made.hands["db-1"], leaving=True)}

    assert roster.standing(Crew(made.members, hands)) == {"web": ""}


def wished(made: Crew, **wishes: Wanted) -> Crew:
    """Return the crew with other wishes for some hands."""
    more = {name: replace(made.hands[name], wanted=wanted) for name, wanted in wishes.items()}
    return Crew(made.members, {**made.hands, **more})


@pytest.mark.parametrize(
    ("state", "wanted", "held"),
    [
        (State.FAILED, Wanted.UP, {"web": "after db (failed)"}),
        (State.STOPPED, Wanted.DOWN, {"web": "after db (stopped)"}),
        (State.STOPPING, Wanted.DOWN, {"web": "after db (stopping)"}),
        (State.STOPPING, Wanted.UP, {}),
        (State.BACKOFF, Wanted.UP, {}),
        (State.STARTING, Wanted.UP, {}),
        (State.READY, Wanted.DOWN, {}),
        (State.DONE, Wanted.DOWN, {}),
    ],
)
def test_a_hand_is_held_by_one_that_will_not_come_up_by_itself(
    state: State, wanted: Wanted, held: dict
) -> None:
    made = crew(member("db"), member("web", after=["db"]), db=state, web=State.WAITING)

    assert roster.held(wished(made, db=wanted)) == held


def test_a_hand_is_held_by_one_that_is_not_in_the_crew() -> None:
    made = crew(member("web", after=["db"]), web=State.WAITING)

    assert roster.held(made) == {"web": "after db (no such hand)"}


def test_a_hand_is_held_by_one_that_is_held_whatever_else_it_waits_for() -> None:
    made = crew(
        member("load", after=["slow", "web"]),
        member("slow"),
        member("web", after=["db"]),
        member("db"),
        load=State.WAITING,
        slow=State.STARTING,
        web=State.WAITING,
        db=State.FAILED,
    )

    assert roster.held(made) == {
        "web": "after db (failed)", "load": "after web, after db (failed)",
    }  # fmt: skip


def test_who_does_not_wait_to_start_is_not_held() -> None:
    made = crew(member("db"), member("web", after=["db"]), db=State.FAILED, web=State.READY)
    down = crew(member("db"), member("web", after=["db"]), db=State.FAILED, web=State.WAITING)

    assert roster.held(made) == {}
    assert roster.held(wished(down, web=Wanted.DOWN)) == {}


def test_a_leaving_hand_holds_nobody() -> None:
    made = crew(member("db"), member("web", after=["db"]), db=State.FAILED, web=State.WAITING)
    hands = dict(made.hands) | {"db": replace(made.hands["db"], leaving=True)}

    assert roster.held(Crew(made.members, hands)) == {}


def test_hands_that_come_after_each_other_wait_and_say_for_whom() -> None:
    made = crew(
        member("a", after=["b"]), member("b", after=["a"]), a=State.WAITING, b=State.WAITING
    )

    assert roster.standing(made) == {"a": "after b (waiting)", "b": "after a (waiting)"}


def test_who_comes_after_a_definition_is_known() -> None:
    made = crew(member("db"), member("web", after=["db"]), member("mail", after=["web", "db"]))

    assert roster.dependents(made, "db") == ("web", "mail")
    assert roster.dependents(made, "mail") == ()


# ---------------------------------------------------------------------------- stops


def stop_all(made: Crew, names: list[str] | None = None) -> list[tuple[str, ...]]:
    """Return who is asked to end, round by round, when all end as soon as they are asked."""
    pending = list(made.hands if names is None else names)
    rounds = []
    while pending:
        free = roster.releasable(made, pending)
        assert free, f"nobody may stop: {pending}"
        rounds.append(free)
        hands = dict(made.hands)
        for name in free:
            pending.remove(name)
            hands[name] = replace(hands[name], state=State.STOPPED, process=None)
        made = Crew(made.members, hands)
    return rounds


def test_a_diamond_stops_in_reverse() -> None:
    made = crew(
        member("db"),
        member("left", after=["db"]),
        member("right", after=["db"]),
        member("web", after=["left", "right"]),
        **dict.fromkeys(("db", "left", "right", "web"), State.READY),
    )

    assert stop_all(made) == [("web",), ("left", "right"), ("db",)]


def test_all_hands_of_a_counted_name_end_before_what_they_come_after() -> None:
    made = crew(
        member("db"),
        member("web", count=2, after=["db"]),
        db=State.READY,
        web_0=State.READY,
        web_1=State.BACKOFF,
    )

    assert stop_all(made) == [("web-0", "web-1"), ("db",)]


@pytest.mark.parametrize("between", [State.DONE, State.FAILED, State.STOPPED, State.BACKOFF])
def test_a_hand_ends_before_its_database_whatever_is_in_between(between: State) -> None:
    made = crew(
        member("db"),
        member("migrate", after=["db"], ready={"by": "exit"}),
        member("web", after=["migrate"]),
        db=State.READY,
        migrate=between,
        web=State.READY,
    )

    assert "db" not in stop_all(made)[0]
    assert stop_all(made, ["db", "web"]) == [("web",), ("db",)]


def test_a_hand_that_is_ending_already_holds_back_what_it_comes_after() -> None:
    made = crew(member("db"), member("web", after=["db"]), db=State.READY, web=State.STOPPING)

    assert roster.releasable(made, ["db"]) == ()


def test_a_hand_that_stays_up_holds_nobody_back() -> None:
    made = crew(member("db"), member("web", after=["db"]), db=State.READY, web=State.READY)

    assert roster.releasable(made, ["db"]) == ("db",)


def test_hands_that_come_after_each_other_can_be_stopped() -> None:
    made = crew(
        member("db"),
        member("a", after=["b", "db"]),
        member("b", after=["a"]),
        **dict.fromkeys(("db", "a", "b"), State.READY),
    )

    assert stop_all(made) == [("a", "b"), ("db",)]


def test_hands_that_are_gone_are_not_asked() -> None:
    assert roster.releasable(crew(member("web")), ["web", "gone"]) == ("web",)


@pytest.mark.parametrize("state", State)
def test_a_hand_is_at_rest_when_nothing_of_it_is_under_way(state: State) -> None:
    hand = Hand("web", spec(), state=state)

    assert roster.at_rest(hand) == (state in r.RESTING)
    assert not roster.at_rest(replace(hand, process=process()))


# ---------------------------------------------------------------------------- selection

SHOP = crew(
    member("web", count=2, labels={"tier": "front", "zone": "a"}),
    member("mail", labels={"tier": "back"}),
    member("web2", labels={"tier": "front"}),
    member("none", count=0),
)


@pytest.mark.parametrize(
    ("names", "labels", "found", "unknown"),
    [
        ([], {}, (), ()),
        (["web-1"], {}, ("web-1",), ()),
        (["web"], {}, ("web-0", "web-1"), ()),
        (["web", "web-0"], {}, ("web-0", "web-1"), ()),
        (["web*"], {}, ("web-0", "web-1", "web2"), ()),
        (["w?b"], {}, ("web-0", "web-1"), ()),
        (["[m]ail"], {}, ("mail",), ()),
        (["*"], {}, ("web-0", "web-1", "mail", "web2"), ()),
        (["none"], {}, (), ()),
        (["nobody", "x*", "mail"], {}, ("mail",), ("nobody", "x*")),
        ([], {"tier": "front"}, ("web-0", "web-1", "web2"), ()),
        ([], {"tier": "front", "zone": "a"}, ("web-0", "web-1"), ()),
        ([], {"tier": "none"}, (), ()),
        (["web2", "mail"], {"tier": "front"}, ("web2",), ()),
    ],
)
def test_hands_are_meant_by_names_and_labels(
    names: list[str], labels: dict, found: tuple, unknown: tuple
) -> None:
    assert roster.select(SHOP, names, labels) == (found, unknown)


def test_hands_that_are_leaving_are_still_meant_by_their_definition() -> None:
    left = Crew({}, SHOP.hands)

    assert roster.select(left, ["web"], {}) == (("web-0", "web-1"), ())


def test_a_hand_waits_for_an_instance_that_has_not_got_its_name_yet() -> None:
    states = {"web_0": State.STOPPING, "api": State.WAITING}
    made = crew(member("web-0"), member("api", after=["web"]), **states)
    leaving = replace(made.hands["web-0"], leaving=True)
    members = {"web": member("web", count=1), "api": made.members["api"]}
    made = Crew(members, made.hands | {"web-0": leaving})

    assert roster.standing(made) == {"api": "after web-0 (stopping)"}
    assert roster.held(made) == {}
