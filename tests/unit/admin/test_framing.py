from __future__ import annotations

import pytest

from hiod.admin.framing import NESTING, Framer, decode, is_deeper
from hiod.errors import AdminError


def all_of(framer: Framer) -> list:
    taken = []
    while (message := framer.take()) is not None:
        taken.append(message)
    return taken


def fed(*chunks: bytes, end: bool = False, **limits: int) -> list:
    framer = Framer(**limits)
    taken = []
    for chunk in chunks:
        framer.feed(chunk)
        taken += all_of(framer)
    if end:
        framer.end()
        taken += all_of(framer)
    return taken


def faults(taken: list) -> list:
    return [m.parameters.get("code", m.code) if isinstance(m, AdminError) else m for m in taken]


def test_a_newline_ends_a_message() -> None:
    assert fed(b'{"a":1}\n{"b":', b'2}\n{"c"') == [{"a": 1}, {"b": 2}]


def test_a_nul_ends_a_message() -> None:
    assert fed(b'{"a":1}\0{"b":2}\0') == [{"a": 1}, {"b": 2}]


def test_the_first_terminator_seen_decides_for_good() -> None:
    assert faults(fed(b'{"a":\n1}\0{"b":2}\n{}\n')) == ["json", "json", {}]
    assert fed(b'{"a":1}\0{"b":\n2}\0') == [{"a": 1}, {"b": 2}]


def test_before_any_was_seen_answers_end_with_a_newline() -> None:
    framer = Framer()
    framer.feed(b'{"a":1}')
    framer.end()
    assert framer.take() == {"a": 1}
    assert (framer.terminator, framer.decided) == (b"\n", False)


def test_answers_end_as_messages_do() -> None:
    framer = Framer()
    framer.feed(b"{}\0")
    assert framer.take() == {}
    assert (framer.terminator, framer.decided) == (b"\0", True)


@pytest.mark.parametrize("blank", [b"\r\n", b"\n\n", b" \t \r\n", b"{}\n\r\n\n"])
def test_blank_lines_and_carriage_returns_are_skipped(blank: bytes) -> None:
    assert fed(blank + b'{"a":1}\r\n', end=True)[-1:] == [{"a": 1}]
    assert faults(fed(blank)) == [{}] * blank.count(b"{}")


def test_the_end_ends_a_last_message() -> None:
    assert fed(b'{"a":1}\n{"b":2}', end=True) == [{"a": 1}, {"b": 2}]


def test_the_end_of_nothing_is_nothing() -> None:
    assert fed(b'{"a":1}\n', b" \n", end=True) == [{"a": 1}]


def test_half_a_message_at_the_end_is_a_fault() -> None:
    assert faults(fed(b'{"a":', end=True)) == ["json"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"hello", "json"),
        (b"GET / HTTP/1.1", "json"),
        (b'{"a":NaN}', "json"),
        (b'{"a":"\xff"}', "json"),
        (b"\xef\xbb\xbf{}", "json"),
        (b"{}{}", "json"),
        (b"[]", "object"),
        (b'"a"', "object"),
        (b"true", "object"),
        (b"null", "object"),
        (b"3", "object"),
        (b'{"a":' + b"[" * NESTING + b"]" * NESTING + b"}", "nesting"),
        (b'{"a":' + b"[" * 100_000, "nesting"),
    ],
)
def test_what_is_no_request_is_refused_with_a_hint(text: bytes, code: str) -> None:
    (fault,) = fed(text + b"\n")
    assert fault.code == "BadMessage"
    assert fault.parameters["code"] == code
    assert fault.parameters["message"]
    assert fault.parameters["hint"]


def test_what_is_just_deep_enough_is_taken() -> None:
    text = b'{"a":' + b"[" * (NESTING - 1) + b"]" * (NESTING - 1) + b"}"
    assert "a" in decode(text)
    assert decode(text.replace(b"[]", b"[{}]")).code == "BadMessage"


def test_brackets_in_strings_are_not_depth() -> None:
    text = b'{"a":"' + b"[" * 1000 + b'","b\\"[":"\\\\","c":[' + b"{}," * 99 + b"{}]}"
    assert decode(text)['b"['] == "\\"


def test_what_is_too_deep_and_broken_too_is_called_too_deep() -> None:
    for text in (b"[" * 200, b'{"a":' * 200, b"[1," * 5000, b"[" * 200_000 + b"]" * 100):
        assert fed(text + b"\n")[0].parameters["code"] == "nesting", text[:9]


@pytest.mark.parametrize("most", [1, 2, 64])
def test_deeper_means_deeper_by_one_at_least(most: int) -> None:
    value: object = {}
    for level in range(most - 1):
        value = [1, value] if level % 2 else {"a": [], "b": value}
    assert not is_deeper(value, most)
    assert is_deeper([value], most)
    assert not is_deeper("text", most)


def test_a_message_of_exactly_the_limit_is_taken() -> None:
    body = b'{"a":"' + b"x" * (100 - 8) + b'"}'
    assert len(body) == 100
    assert faults(fed(body + b"\n", limit=100)) != ["TooLarge"]
    assert faults(fed(body + b" \n", limit=100)) == ["TooLarge"]


def test_a_message_too_long_is_refused_once_and_the_next_is_served() -> None:
    chunks = [b"x" * 60] * 10 + [b'\n{"a":1}\n']
    assert faults(fed(*chunks, limit=100)) == ["TooLarge", {"a": 1}]


def test_a_message_too_long_is_not_kept() -> None:
    framer = Framer(limit=100)
    for _ in range(1000):
        framer.feed(b"x" * 60)
        assert framer.take() is None
    assert len(framer._buffer) <= 160
    assert framer.partial
    assert framer.give_up().code == "TooLarge"


def test_a_long_message_that_never_ends_is_refused_at_the_end() -> None:
    assert faults(fed(b"x" * 200, end=True, limit=100)) == ["TooLarge"]


def test_a_long_message_may_decide_what_ends_messages() -> None:
    framer = Framer(limit=100)
    framer.feed(b"x" * 200)
    assert framer.take() is None
    framer.feed(b"y\0{}\0")
    assert faults(all_of(framer)) == ["TooLarge", {}]
    assert framer.terminator == b"\0"


def test_a_message_that_is_not_too_long_is_not_given_up_by_size() -> None:
    framer = Framer()
    framer.feed(b"{")
    assert framer.take() is None
    assert framer.partial
    assert framer.give_up() is None


def test_of_a_repeated_key_the_last_counts() -> None:
    assert fed(b'{"a":1,"a":2}\n') == [{"a": 2}]


def test_nothing_is_partial_between_messages() -> None:
    framer = Framer()
    framer.feed(b"{}\n")
    assert framer.take() == {}
    assert framer.take() is None
    assert not framer.partial


def test_each_byte_is_searched_once_however_slowly_it_comes() -> None:
    framer = Framer()
    for _ in range(1000):
        framer.feed(b"x")
        assert framer._searched == len(framer._buffer) - 1
        framer.take()
    framer.feed(b"\n")
    assert faults(all_of(framer)) == ["json"]
