from __future__ import annotations

import json

import msgspec
import pytest

from hiod.admin import schema
from hiod.errors import AdminError
from hiod.rules import specs


def refused(name: str, parameters: dict) -> AdminError:
    answer = schema.check(schema.BY_NAME[name], parameters)
    assert isinstance(answer, AdminError)
    assert answer.code == "org.varlink.service.InvalidParameter"
    return answer


def problems(name: str, parameters: dict) -> dict[str, str]:
    return {p["path"]: p["message"] for p in refused(name, parameters).parameters["problems"]}


def test_every_method_of_the_contract_is_there_with_its_role() -> None:
    roles: dict[str, set[str]] = {}
    for method in schema.METHODS:
        roles.setdefault(method.role, set()).add(method.short)

    assert roles == {
        "none": {"ping", "about"},
        "read": {"schema", "list", "status", "events", "subscribe", "plan", "why"},
        "operate": {"start", "stop", "restart", "signal", "send"},
        "admin": {"add", "remove", "scale", "apply", "export", "shutdown"},
    }
    assert {method.role for method in schema.SERVICE_METHODS} == {"read"}


def test_short_and_long_names_mean_the_same() -> None:
    assert schema.find("list") is schema.find("io.hiod.Boss.List")
    assert schema.find("shutdown") is schema.find("io.hiod.Boss.Shutdown")


def test_rows_have_what_the_contract_names() -> None:
    named = "name spec state wanted pid generation since restarts health rss cpu lag_ms status"
    assert set(named.split()) <= set(schema.Row.__struct_fields__)
    more = "process memo restart deaths spec"
    assert set(schema.HandFacts.__struct_fields__) < set(schema.Status.__struct_fields__)
    assert set(more.split()) <= set(schema.Status.__struct_fields__)


@pytest.mark.parametrize("method", schema.METHODS, ids=lambda method: method.short)
def test_each_method_names_only_errors_there_are(method: schema.Method) -> None:
    assert set(method.errors) <= set(schema.ERRORS)
    if method.selects:
        assert {"names", "labels"} <= set(method.parameters.__struct_fields__)


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    error = schema.find("lits")
    assert isinstance(error, AdminError)
    assert error.code == "org.varlink.service.MethodNotFound"
    assert error.parameters == {"method": "lits", "near": ["list"]}


def test_a_long_name_in_the_wrong_place_is_answered_with_long_names() -> None:
    error = schema.find("io.hiod.Boss.Remvoe")
    assert isinstance(error, AdminError)
    assert error.parameters["near"][0] == "io.hiod.Boss.Remove"


def test_varlinks_own_methods_have_near_ones_too() -> None:
    error = schema.find("org.varlink.service.GetInof")
    assert isinstance(error, AdminError)
    assert error.parameters["near"][0] == "org.varlink.service.GetInfo"


def test_an_interface_in_capitals_is_not_ours() -> None:
    error = schema.find("io.hiod.boss.List")
    assert isinstance(error, AdminError)
    assert error.code == "org.varlink.service.InterfaceNotFound"
    assert error.parameters == {"interface": "io.hiod.boss"}


def test_noise_as_a_method_is_said_back_in_part_and_compared_with_nothing() -> None:
    error = schema.find("x" * 100_000)
    assert isinstance(error, AdminError)
    assert len(error.parameters["method"]) == schema.ECHO_CHARS
    assert error.parameters["near"] == []


def test_parameters_that_fit_become_the_struct_of_the_table() -> None:
    given = {"spec": {"name": "late"}, "wait": "ready", "timeout_s": 3}
    params = schema.check(schema.BY_NAME["add"], given)
    assert params == schema.AddParameters(spec={"name": "late"}, wait="ready", timeout_s=3.0)


def test_what_is_null_counts_as_absent() -> None:
    params = schema.check(schema.BY_NAME["start"], {"names": ["a"], "labels": None, "wait": None})
    assert params == schema.SelectionWait(names=["a"])


def test_all_that_is_wrong_with_parameters_is_said_at_once() -> None:
    said = problems("add", {"spce": {}, "timeout_s": -1, "wait": "raedy"})
    assert said == {
        "spce": 'unknown parameter; did you mean "spec"?',
        "spec": "must be given: an object",
        "timeout_s": "must be a number from 0 to 1000000000",
        "wait": 'must be "ready" or "done" or "gone"',
    }


def test_the_first_problem_is_varlinks_parameter() -> None:
    assert refused("scale", {"name": 3, "count": 2}).parameters["parameter"] == "name"


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("list", {"names": "a"}, "must be a list of strings, at most 128 characters each"),
        ("list", {"labels": {"a": 1}}, "must be an object of strings"),
        ("status", {"name": 3}, "must be a string"),
        ("scale", {"name": "a", "count": 1.5}, "must be a whole number from 0 to 10000"),
        ("add", {"spec": {}, "replace": 1}, "must be true or false"),
        ("ping", {"loud": True}, "unknown parameter; this method takes none"),
        ("status", {"name": "a", "zzz": 1}, "unknown parameter; there are name"),
    ],
)
def test_a_problem_says_what_would_do(method: str, given: dict, message: str) -> None:
    assert list(problems(method, given).values()) == [message]


@pytest.mark.parametrize("tag", ["REG", "reading", "READ\n", "ABCDEFGHIJKLMNOPQ", "RÉAD"])
def test_a_tag_that_might_be_read_as_control_is_refused(tag: str) -> None:
    said = problems("send", {"names": ["a"], "tag": tag})
    assert said == {"tag": "must be a string of this form: 4 to 16 of A-Z"}


@pytest.mark.parametrize("given", [{}, {"names": []}, {"names": [], "labels": {}}])
def test_no_change_is_made_to_hands_nobody_named(given: dict) -> None:
    said = problems("stop", given)
    assert said == {"names": 'must say which hands, by names or labels; ["*"] means all'}


def test_a_flood_of_wrong_parameters_is_answered_with_some_of_them() -> None:
    error = refused("ping", {f"x{n}": "y" * 500 for n in range(10_000)})
    assert len(error.parameters["problems"]) == schema.PROBLEMS_MOST
    assert len(error.parameters["problems"][0]["got"]) == schema.ECHO_CHARS


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ([], []),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "an object of 1"),
    ],
)
def test_what_is_said_back_stays_small(value: object, shown: object) -> None:
    assert schema.shorten(value) == shown


def test_an_error_is_sent_with_the_parameters_of_the_contract_only() -> None:
    error = AdminError("NoSuchHand", "no hand is called wbe", name="wbe", near=["web"])
    name, parameters = schema.wire_error(error)
    assert name == "io.hiod.Boss.NoSuchHand"
    assert parameters == {"name": "wbe", "near": ["web"]}


def test_an_error_with_a_message_keeps_it() -> None:
    error = AdminError("Conflict", "it is needed", code="needed", name="db", hands=["web"])
    assert schema.wire_error(error)[1]["message"] == "it is needed"


def test_varlinks_errors_keep_their_names() -> None:
    error = AdminError("org.varlink.service.ExpectedMore")
    assert schema.wire_error(error) == ("org.varlink.service.ExpectedMore", {})


def test_outcomes_leave_out_what_does_not_apply() -> None:
    gone = schema.Outcome(name="late", changed=True, how="END", code=0, signal=None, took_s=0.031)
    assert json.loads(msgspec.json.encode(gone)) == {
        "name": "late",
        "changed": True,
        "how": "END",
        "code": 0,
        "signal": None,
        "took_s": 0.031,
    }


def test_scale_takes_no_more_than_a_definition_may_ask_for() -> None:
    most = specs.MOST_INSTANCES
    asked = {"name": "k", "count": most}
    assert not isinstance(schema.check(schema.BY_NAME["scale"], asked), AdminError)
    assert set(problems("scale", {"name": "k", "count": most + 1})) == {"count"}


@pytest.mark.parametrize("method", ["events", "subscribe"])
def test_a_number_no_event_can_have_is_refused(method: str) -> None:
    last = 2**63 - 1  # as the database keeps them
    assert not isinstance(schema.check(schema.BY_NAME[method], {"since": last}), AdminError)
    assert set(problems(method, {"since": last + 1})) == {"since"}
