from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiod.rules.words import (
    GIST_CHARS,
    Words,
    frames,
    innermost,
    read,
    read_log,
    release,
    traced,
)

TRACEBACK = b"""Traceback (most recent call last):
  File "/srv/shop.py", line 3, in recur
    raise ValueError("no such item")
ValueError: no such item
"""
DUMP = b"""Current thread 0x00007f2a (most recent call first):
  File "/srv/shop.py", line 9 in recur
  File "/srv/hiod/doing.py", line 80 in do
"""


@pytest.mark.parametrize("raw", [b"", b"\0\0\0", b" \n\n "])
def test_a_hand_that_said_nothing_has_no_words(raw: bytes) -> None:
    assert read(raw) == Words()


@pytest.mark.parametrize(
    ("raw", "gist"),
    [
        (TRACEBACK, "ValueError: no such item"),
        (TRACEBACK + b"which is\nnowhere\n", "ValueError: no such item"),
        (b"KeyError: 1\n\nThe above\n\n" + TRACEBACK, "ValueError: no such item"),
        (DUMP + TRACEBACK, "ValueError: no such item"),
        (b"bye\n", "bye"),
        (
            b"Fatal Python error: Segmentation fault\n\n" + DUMP,
            "Fatal Python error: Segmentation fault",
        ),
        (DUMP, 'File "/srv/shop.py", line 9 in recur'),
        (b"Traceback (most recent call last):\n  File", "Traceback (most recent call last):"),
        (b"Thread 0x01 (most recent call first):", "Thread 0x01 (most recent call first):"),
        (
            b"a\xff\x1b[31m red\ttab",
            "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31m red tab",
        ),
    ],
)
def test_the_line_that_says_most_comes_first(raw: bytes, gist: str) -> None:
    assert read(raw).gist == gist


def test_a_failed_birth_says_at_which_step() -> None:
    line = orjson.dumps({"step": "chdir", "message": "no such directory:\n/srv"})

    words = read(line + b"\n" + TRACEBACK)

    assert words.step == "chdir"
    assert words.gist == "no such directory: /srv"
    assert words.text.startswith("Traceback")


def test_the_first_step_that_failed_is_the_one() -> None:
    lines = [orjson.dumps({"step": step, "message": step * 2}) for step in ("cwd", "env")]

    assert read(b"\n".join(lines)) == Words("cwdcwd", "cwd", "cwdcwd")


@pytest.mark.parametrize(
    ("behind", "words"),
    [
        (
            TRACEBACK,
            Words("ValueError: no such item", "", f"a note\n{TRACEBACK.decode().strip()}"),
        ),
        (b'{"step": "exit", "message": "no key"}', Words("no key", "exit", "a note")),
        (b"", Words("a note", "", "a note")),
    ],
)
def test_a_note_says_most_only_where_nothing_else_is_said(behind: bytes, words: Words) -> None:
    note = orjson.dumps({"step": "note", "message": "a note"})

    assert read(note + b"\n" + behind) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"step": null, "message": null}', Words()),
        (b'{"step": "import"}', Words("", "import", "")),
        (b'{"step": 5, "message": ["a"]}', Words("['a']", "5", "['a']")),
        (b'{"no": "step"}', Words('{"no": "step"}', "", '{"no": "step"}')),
        (b"{broken", Words("{broken", "", "{broken")),
    ],
)
def test_what_only_looks_like_a_step_is_read_for_what_it_is(line: bytes, words: Words) -> None:
    assert read(line) == words


def test_deep_json_is_no_way_to_break_the_reader() -> None:
    assert read(b'{"a":' * 100_000).step == ""


@given(
    st.binary(max_size=300)
    | st.text().map(lambda text: b'{"step": "x", "message": ' + _escaped(text) + b"}")
)
def test_whatever_the_bytes_there_is_an_answer_that_can_be_stored_and_shown(raw: bytes) -> None:
    words = read(raw)

    assert orjson.dumps([*words])
    assert len(words.gist) <= GIST_CHARS
    assert words.gist.isprintable()
    assert words.step.isprintable()


def _escaped(text: str) -> bytes:
    """Return a JSON string of escapes only: half a surrogate pair can be written so."""
    units = text.encode("utf-16-le", "surrogatepass")
    pairs = [units[at : at + 2] for at in range(0, len(units), 2)]
    odd = pairs[:1] + pairs  # one unit more than there was: pairs come apart
    return b'"' + b"".join(b"\\u%02x%02x" % (pair[1], pair[0]) for pair in odd) + b'"'


def test_half_a_surrogate_pair_does_not_get_through() -> None:
    words = read(b'{"step": "\\ud800", "message": "\\udfff"}')

    assert words == Words("\ufffd", "\ufffd", "\ufffd")


def test_of_a_dump_of_many_threads_the_one_that_answered_matters() -> None:
    other = (
        'Thread 0x00007f2b (most recent call first):\n  File "/usr/threading.py", line 1 in wait'
    )

    lines = innermost(f"{other}\n\n{DUMP.decode()}\n{other}\n")

    assert lines == DUMP.decode().splitlines()


@pytest.mark.parametrize("dump", ["", "no thread says so\nat all"])
def test_all_of_a_dump_matters_when_no_thread_says_that_it_answered(dump: str) -> None:
    assert innermost(dump) == dump.splitlines()


@pytest.mark.parametrize(
    ("raw", "whole", "gist", "text"),
    [
        (b"", True, "", ""),
        (b"\n \n", True, "", ""),
        (b"starting\ncannot bind \n\n", True, 'last said "cannot bind"', "starting\ncannot bind"),
        (b"arting\ncannot bind\n", False, 'last said "cannot bind"', "cannot bind"),
        (b"x" * 9, False, f'last said "{"x" * 9}"', "x" * 9),
        (b"hello\n" + TRACEBACK, True, "ValueError: no such item", None),
        (
            TRACEBACK[9:],
            False,
            "ValueError: no such item",
            TRACEBACK.decode().split("\n", 1)[1].rstrip(),
        ),
        (b'{"step": "listen"}\n', True, 'last said "{"step": "listen"}"', '{"step": "listen"}'),
        (b"\x1b[31mred\xff\n", True, 'last said "\ufffd[31mred\ufffd"', "\x1b[31mred\ufffd"),
    ],
)
def test_the_end_of_a_log_has_a_gist_too(
    raw: bytes, whole: bool, gist: str, text: str | None
) -> None:
    said = read_log(raw, whole=whole)

    assert (said.gist, said.step) == (gist, "")
    assert said.text == (raw.decode().strip() if text is None else text)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("0.9", "0.10"), ("1.2.3", "1.3"), ("1.0", "1.0.1"), ("1.0rc1", "1.0"), ("0.9", "1.0.dev1")],
)
def test_versions_are_told_apart_by_their_numbers(older: str, newer: str) -> None:
    assert release(older) < release(newer)


def test_what_is_no_version_is_older_than_any() -> None:
    assert release("what") < release("0.0.1")


OWN = 'File "/srv/app/feed.py", line 41 in poll'
RUNNER = 'File "/usr/lib/python3/site-packages/hiod/base/doing.py", line 98 in do'
START = 'File "<frozen runpy>", line 88 in _run_code'


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        ([OWN, RUNNER, START], ["/srv/app/feed.py"]),
        ([RUNNER, OWN, RUNNER], [RUNNER.split('"')[1], "/srv/app/feed.py"]),
        ([RUNNER, START], [RUNNER.split('"')[1], "<frozen runpy>"]),
        (["Timeout!", "  ..."], []),
        ([], []),
    ],
)
def test_of_a_dump_those_frames_count_that_are_the_hands_own(lines, files) -> None:
    dump = "\n".join(["Current thread 0x1 (most recent call first):", *(f"  {x}" for x in lines)])

    assert [frame.file for frame in frames(dump)] == files


def frame(file: str, line: int = 1) -> str:
    return f'  File "{file}", line {line}, in f\n    f()\n    ^^^\n'


HEAD = "Traceback (most recent call last):\n"
SITE = "/srv/venv/lib/python3.11/site-packages"
FEED = frame("/srv/app/feed.py", 41)
DOING = frame(f"{SITE}/hiod/base/doing.py")
DESK = frame(f"{SITE}/hiod/base/crewdoing.py")
IMPORT = frame("/usr/lib/python3.11/importlib/__init__.py") + frame("<frozen importlib._bootstrap>")
ORJSON = frame(f"{SITE}/orjson/__init__.py")
JSON = frame("/usr/lib/python3.11/json/decoder.py")
SCRIPT = frame("/srv/venv/bin/gunicorn")
RAISED = "TypeError: Type is not JSON serializable: set"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (HEAD + DOING + FEED + DESK * 5 + ORJSON, HEAD + FEED),
        (HEAD + DOING + FEED + JSON + ORJSON * 9, HEAD + FEED),
        (HEAD + ORJSON + FEED + DOING + FEED, HEAD + ORJSON + FEED * 2),
        (HEAD + DOING + ORJSON * 2, HEAD + ORJSON * 2),
        (HEAD + SCRIPT + ORJSON * 2, HEAD + SCRIPT + ORJSON * 2),
        (HEAD + DOING + DESK, HEAD + DOING + DESK),
        (HEAD + IMPORT, ""),
        (HEAD + IMPORT + FEED, HEAD + FEED),
        (
            HEAD + DESK + "KeyError: 1\n\nso\n\n" + HEAD + DOING + FEED,
            "KeyError: 1\n\nso\n\n" + HEAD + FEED,
        ),
        (
            HEAD + FEED + f'  File "{SITE}/bad.py", line 3\n    x y\n',
            HEAD + FEED + f'  File "{SITE}/bad.py", line 3\n    x y\n',
        ),
    ],
)
def test_of_a_traceback_those_frames_count_that_are_the_authors(text: str, left: str) -> None:
    assert traced(text + RAISED) == (left + RAISED).splitlines()


@pytest.mark.parametrize(
    "text", [DUMP.decode() + HEAD + FEED + RAISED, HEAD + FEED + RAISED + "\n" + DUMP.decode()]
)
def test_a_stack_dump_beside_a_traceback_is_left_out(text: str) -> None:
    assert traced(text) == (HEAD + FEED + RAISED).splitlines()


def test_the_latest_of_several_dumps_counts() -> None:
    other = DUMP.replace(b"shop.py", b"till.py") + b"\nThread 0x02 (most recent call first):\n  F"

    assert frames((DUMP + other).decode())[0].file == "/srv/till.py"


def test_where_a_hand_stood_is_told_by_its_authors_frame() -> None:
    inner = b'  File "/usr/lib/python3.11/socket.py", line 7 in readinto\n'
    dump = b"\n".join([DUMP.splitlines()[0], inner.rstrip(), *DUMP.splitlines()[1:]])

    assert read(dump).gist == 'File "/srv/shop.py", line 9 in recur'
