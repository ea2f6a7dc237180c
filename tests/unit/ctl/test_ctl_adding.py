"""From flags and files to specs."""

import tomllib

import pytest

from hiod.ctl import adding, trying
from hiod.ctl.arguments import UsageError, parse
from hiod.rules import specs as rules
from hiod.rules.writing import toml


def specs(*words, text=None, directory="/home/a"):
    return adding.specs_from(parse(["add", *words]), text, directory)


def test_flags_become_the_keys_of_a_crew_file():
    made = specs(
        "late", "--doer", "app:A", "--doer", "app:B", "--count", "3", "--env", "K=a=b",
        "--label", "tier=x", "--after", "db", "--path", "src", "--cwd", "${HIOD_STATE_DIR}",
        "--python", "venv/bin/python", "--tock", "0.5", "--ready", "connect=127.0.0.1:80",
        "--restart", "never", "--log", "null", "--no-start",
    )  # fmt: skip

    assert made == [
        {
            "name": "late",
            "doers": ["app:A", "app:B"],
            "count": 3,
            "env": {"K": "a=b"},
            "after": ["db"],
            "labels": {"tier": "x"},
            "path": ["/home/a/src"],
            "cwd": "${HIOD_STATE_DIR}",
            "python": "/home/a/venv/bin/python",
            "tock": 0.5,
            "ready": {"by": "connect", "to": "127.0.0.1:80"},
            "restart": {"policy": "never"},
            "log": "null",
            "start": False,
        }
    ]


def test_a_command_is_sent_as_it_was_typed():
    assert specs("web", "--command", "--", "ls", "-l", "a b") == [
        {"name": "web", "command": ["ls", "-l", "a b"]}
    ]


def test_an_interpreter_without_a_slash_is_left_to_the_path():
    assert specs("w", "--doer", "a:B", "--python", "python3.12")[0]["python"] == "python3.12"


CREW_FILE = """
defaults = { cwd = "srv", restart.delay_s = 1, restart.limit = 9 }
[hand.a]
command = ["a"]
restart.limit = 2
[hand.b]
doers = ["m:B"]
path = ["src", "/opt"]
"""


def test_a_crew_file_gives_all_its_hands_under_its_defaults():
    assert specs("-f", "crew.toml", text=CREW_FILE, directory="/etc/x") == [
        {"name": "a", "command": ["a"], "cwd": "/etc/x/srv", "restart": {"delay_s": 1, "limit": 2}},
        {"name": "b", "doers": ["m:B"], "path": ["/etc/x/src", "/opt"], "cwd": "/etc/x/srv",
         "restart": {"delay_s": 1, "limit": 9}},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ['name = "a"\ndoers = ["m:A"]\n', '{"name": "a", "doers": ["m:A"]}',
     '[\n  {"name": "a", "doers": ["m:A"]}\n]', '[hand.a]\ndoers = ["m:A"]'],
)  # fmt: skip
def test_one_hand_may_be_given_in_any_of_four_forms(text):
    assert specs("-f", "-", text=text) == [{"name": "a", "doers": ["m:A"]}]


def test_a_flag_is_right_where_a_file_says_otherwise():
    made = specs("b", "-f", "x.json", "--count", "2", text='{"name": "a", "count": 9, "tock": 1}')

    assert made == [{"name": "b", "count": 2, "tock": 1}]


@pytest.mark.parametrize(
    ("words", "text", "part"),
    [
        ((), "{", "x is not JSON"),
        ((), "a = ", "x is not TOML"),
        ((), "[]", "x holds no hand"),
        ((), "doers = []", "hand 1 has no name; give a NAME"),
        ((), "", "x holds no hand"),
        ((), "[hnd.a]", r"x holds no hand: it begins with hnd; a crew file has \[hand.NAME\]"),
        ((), "null", "x is not TOML: .* would begin with a brace"),
        ((), '{"hand": {"a": 3}}', "hand 1 is not a table of keys"),
        ((), "[hand.a]\n[boss]\n", "boss is no part of a crew file"),
        (("n",), CREW_FILE, "x holds 2 hands; a NAME or other flags go with one only"),
    ],
)
def test_a_file_that_makes_no_spec_is_refused_by_name(words, text, part):
    with pytest.raises(UsageError, match=part):
        specs(*words, "-f", "x", text=text)


def test_try_gives_each_doer_a_hand_of_its_own():
    text = trying.crew_file(["hiod.demo:Ticker", "app:Other"])

    hands = tomllib.loads(text)["hand"]
    assert list(hands) == ["ticker", "other"]
    assert hands["ticker"]["doers"] == ["hiod.demo:Ticker"]


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("_Priv", "priv"),
        ("Outer.Inner", "inner"),
        ("poll_feed", "poll_feed"),
        ("Boss", "boss-doer"),
        ("Größe", "grosse"),
        ("计时器", "doer"),
        ("__", "doer"),
        ("A" * 41, "a" * 40),
    ],
)
def test_try_makes_up_a_name_that_a_hand_may_have(attribute, name):
    (made,) = tomllib.loads(trying.crew_file([f"app:{attribute}"]))["hand"]

    assert made == name
    made_spec, problems = rules.parse({"name": made, "command": ["true"]})
    assert (problems, rules.check_crew([made_spec])) == ([], [])


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("src/tr:Ok", r"src/tr:Ok is no module:attribute; a module has dots: src\.tr:Ok$"),
        ("app:Bad-Name", r"app:Bad-Name is neither a file nor a module:attribute$"),
        ("app:class", r"app:class is neither a file nor a module:attribute$"),
        ("app:", r"app: is neither a file nor a module:attribute$"),
    ],
)
def test_try_refuses_a_reference_that_cannot_be_one_by_its_own_words(word, text):
    with pytest.raises(UsageError, match=text):
        trying.crew_file([word])


def test_try_refuses_two_hands_of_one_name():
    with pytest.raises(UsageError, match='"ticker" is there twice'):
        trying.crew_file(["a:Ticker", "b:Ticker"])


def test_try_refuses_what_is_neither_file_nor_reference():
    with pytest.raises(UsageError, match=r"no-such\.toml is neither a file nor"):
        trying.crew_file(["no-such.toml"])


@pytest.mark.parametrize(
    "value",
    [True, 3, 0.5, float("inf"), 'a"b\\c\n\x7f\x01é😀', [1, "a", []], {"a b": {"c": [{"d": 1}]}}],
)
def test_what_toml_gave_is_written_as_toml_that_gives_it_again(value):
    assert tomllib.loads(f"k = {toml(value)}")["k"] == value
