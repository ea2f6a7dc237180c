"""Whatever JSON object comes, it is a request or a refusal, and a refusal can be sent."""

from __future__ import annotations

import json

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from hiod.admin import schema
from hiod.admin.connection import refusal_text
from hiod.admin.reception import envelope_problem
from hiod.errors import AdminError

calm = settings(deadline=None, max_examples=50)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
members = sorted({name for m in schema.METHODS for name in m.parameters.__struct_fields__})
parameters = st.dictionaries(st.sampled_from(members) | st.text(max_size=9), values, max_size=5)
names = st.sampled_from(sorted(schema.BY_NAME)) | st.text(max_size=30)


def sendable(error: AdminError) -> None:
    answer = orjson.loads(refusal_text(error, b"}"))
    assert "." in answer["error"]
    assert isinstance(answer["parameters"], dict)


@calm
@given(st.sampled_from([*schema.METHODS, *schema.SERVICE_METHODS]), parameters)
def test_parameters_are_taken_or_refused(method: schema.Method, given_: dict) -> None:
    answer = schema.check(method, given_)
    if isinstance(answer, AdminError):
        sendable(answer)
        assert answer.parameters["problems"]
    else:
        assert type(answer) is method.parameters


@calm
@given(names)
def test_a_name_is_a_method_or_refused(name: str) -> None:
    answer = schema.find(name)
    if isinstance(answer, AdminError):
        sendable(answer)
    else:
        assert name in (answer.short, answer.long)


@calm
@given(
    st.dictionaries(
        st.sampled_from(["method", "parameters", "more", "oneway", "upgrade", "id"])
        | st.text(max_size=9),
        values,
    )
)
def test_an_envelope_is_taken_or_refused(message: dict) -> None:
    wrong = envelope_problem(message)
    if wrong is None:
        assert isinstance(message["method"], str)
        assert set(message) <= {"method", "parameters", "more", "oneway", "upgrade", "id"}
        assert not message.get("upgrade")
    else:
        sendable(wrong)
        assert wrong.code == "BadMessage"


@calm
@given(parameters)
def test_what_is_said_back_of_a_request_stays_small(given_: dict) -> None:
    answer = schema.check(schema.BY_NAME["ping"], given_)
    if isinstance(answer, AdminError):
        assert len(json.dumps(answer.parameters)) < 20_000
