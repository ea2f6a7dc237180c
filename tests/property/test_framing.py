"""However bytes are cut, the same comes out, and nothing is ever raised."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from hiod.admin.framing import Framer, decode, is_deeper
from hiod.errors import AdminError

LIMIT = 100

# Shared machines are slow at times: what is wanted is the answer, not its time.
calm = settings(deadline=None, max_examples=60)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.text(max_size=4), json_values, max_size=2)


def through(chunks: list[bytes], *, limit: int = LIMIT) -> list:
    framer = Framer(limit=limit)
    taken: list = []
    for chunk in [*chunks, None]:
        framer.end() if chunk is None else framer.feed(chunk)
        while (message := framer.take()) is not None:
            taken.append(
                (message.code, message.parameters) if isinstance(message, AdminError) else message
            )
        assert len(framer._buffer) <= 2 * limit + 2 * max((len(c) for c in chunks), default=0)
    return taken


def cut(data: bytes, at: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(n % (len(data) + 1) for n in at)})
    return [data[a:b] for a, b in pairwise(marks)]


alphabet = st.sampled_from([b"\n", b"\0", b"\r", b" ", b"{", b"}", b"[", b"]", b'"', b"\\", b"a"])
soup = st.lists(
    alphabet | st.binary(max_size=9) | objects.map(lambda o: json.dumps(o).encode()), max_size=16
).map(b"".join)


@calm
@given(soup, st.lists(st.integers(0, 10_000), max_size=12))
def test_what_comes_out_does_not_depend_on_the_cuts(data: bytes, at: list[int]) -> None:
    whole = through([data])
    assert through(cut(data, at)) == whole
    assert through([data[n : n + 1] for n in range(len(data))]) == whole


@calm
@given(st.lists(objects, max_size=8), st.sampled_from([b"\n", b"\0", b"\r\n"]))
def test_every_message_comes_out_once_and_in_order(messages: list[dict], end: bytes) -> None:
    data = b"".join(json.dumps(message).encode() + end for message in messages)
    assert through([data], limit=1 << 20) == messages


@calm
@given(objects, st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_an_object_or_a_fault(message: dict, at: int, byte: int) -> None:
    text = bytearray(json.dumps(message).encode())
    text[at % len(text)] = byte
    answer = decode(text)
    assert isinstance(answer, dict | AdminError)


@calm
@given(st.binary(max_size=400))
def test_noise_is_an_object_or_a_fault(noise: bytes) -> None:
    assert isinstance(decode(noise), dict | AdminError)


def nested(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(nested, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(nested, value), default=0)
    return 0


@calm
@given(json_values, st.integers(0, 9))
def test_deeper_is_what_a_reader_would_count(value: object, most: int) -> None:
    assert is_deeper(value, most) == (nested(value) > most)
