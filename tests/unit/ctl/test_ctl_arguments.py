"""What may be typed, and the one sentence for what may not."""

import pytest

from hiod.ctl import arguments
from hiod.ctl.arguments import UsageError, parse, selection


def test_no_verb_means_list():
    parsed = parse([])

    assert (parsed.verb, parsed.names, parsed.json) == ("list", [], False)


def test_common_flags_may_stand_on_either_side_of_the_verb():
    before = parse(["--socket", "/a", "--json", "stop", "x"])
    after = parse(["stop", "x", "--json", "--socket", "/a"])

    assert vars(before) == vars(after)
    assert (before.socket, before.json, before.names) == ("/a", True, ["x"])


def test_flags_may_stand_between_names():
    parsed = parse(["start", "a", "-l", "tier=web", "--wait", "done", "b", "-l", "x="])

    assert selection(parsed) == {"names": ["a", "b"], "labels": {"tier": "web", "x": ""}}
    assert (parsed.wait, parsed.timeout) == ("done", 10.0)


def test_no_wait_means_not_to_wait():
    assert parse(["stop", "a", "--no-wait"]).wait is None
    assert parse(["stop", "a"]).wait == "gone"


def test_rolling_takes_one_at_a_time_unless_told():
    assert parse(["restart", "--rolling", "web"]).rolling == 1
    assert parse(["restart", "web", "--rolling=3"]).rolling == 3
    assert parse(["restart", "web"]).rolling is None


def test_what_stands_after_two_dashes_is_the_command_whatever_it_looks_like():
    parsed = parse(["add", "web", "--count", "2", "--", "gunicorn", "--json", "--", "-f"])

    assert parsed.argv == ["gunicorn", "--json", "--", "-f"]
    assert (parsed.name, parsed.count, parsed.json) == ("web", 2, False)


def test_a_name_may_follow_a_verb_that_is_also_a_name():
    assert parse(["stop", "start"]).names == ["start"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lits"], 'hiodctl: no verb "lits"; did you mean "list"?'),
        (["tail"], 'hiodctl: no verb "tail"; here it is: hiodctl logs -f NAME'),
        (["qqqq"], 'hiodctl: no verb "qqqq"; see hiodctl --help'),
        (["stop"], "hiodctl stop: which hands? give a NAME, '*' for all, or -l KEY=VALUE"),
        (["stop", "-l", "x"],
         "hiodctl stop: -l: KEY=VALUE, please, not 'x'; see hiodctl stop --help"),
        (["stop", "a", "--timeout", "soon"],
         "hiodctl stop: --timeout: seconds, please, not 'soon'; see hiodctl stop --help"),
        (["stop", "a", "--timeout", "nan"],
         "hiodctl stop: --timeout: must be 0 or more seconds, got nan;"
         " see hiodctl stop --help"),
        (["scale", "a"], "hiodctl scale: missing COUNT; see hiodctl scale --help"),
        (["scale", "a", "-1"],
         "hiodctl scale: COUNT: a whole number from 0 on, please, not '-1';"
         " see hiodctl scale --help"),
        (["restart", "a", "--rolling=0"],
         "hiodctl restart: --rolling: a whole number from 1 on, please, not '0';"
         " see hiodctl restart --help"),
        (["list", "--socket", "/a", "--user"],
         "hiodctl list: --socket and --user name two bosses; give one of them"),
        (["list", "--bogus"],
         "hiodctl list: no option --bogus; see hiodctl list --help"),
        (["restart", "a", "--roling=2"],
         'hiodctl restart: no option --roling=2; did you mean "--rolling"?'),
        (["plan", "web"],
         'hiodctl plan: what is "web" for? hiodctl plan takes no such word;'
         " see hiodctl plan --help"),
        (["add", "nap", "sleep", "500"],
         'hiodctl add: what is "sleep" for? a command stands behind --, as in:'
         " hiodctl add NAME -- sleep …; see hiodctl add --help"),
        (["restart", "a", "--wait", "gone"],
         "hiodctl restart: --wait: ready or done, please, not 'gone'; see hiodctl restart --help"),
        (["apply", "--wait", "done"],
         "hiodctl apply: --wait: ready, please, not 'done'; see hiodctl apply --help"),
        (["list", "--socket"],
         "hiodctl list: --socket: a value must follow; see hiodctl list --help"),
        (["list", "--socket", ""],
         "hiodctl list: --socket is empty; give a path, or leave it out"),
        (["LIST"], 'hiodctl: no verb "LIST"; did you mean "list"?'),
        (["add", "x"], "hiodctl add: what is x to run? give --doer REF, or --command -- WORD …,"
                       " or -f FILE"),
        (["add", "--doer", "a:B"],
         "hiodctl add: what is the hand to be called? give a NAME, or -f FILE"),
        (["add", "x", "--doer", "a:B", "--", "ls"],
         "hiodctl add: a hand has doers or a command, not both"),
        (["add", "x", "--command"], "hiodctl add: --command needs the command after --"),
        (["add", "x", "--"], "hiodctl add: nothing stands after --; a command must"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_sentence(words, sentence):
    with pytest.raises(UsageError) as refused:
        parse(words)

    assert str(refused.value) == sentence


def test_help_names_every_verb_and_every_exit_code():
    text = parse(["--help"]).text

    assert parse(["help"]).text == parse(["-h"]).text == text
    assert all(f"  {verb} " in text for verb in arguments.VERBS)
    assert max(len(line) for line in text.splitlines()) <= 90
    assert "0 done, 1 refused or not allowed, 2 usage, 3 no boss there, 4 timed out" in text


def test_version_says_which():
    from hiod import __version__

    assert parse(["--version"]).text == f"hiodctl {__version__}\n"


@pytest.mark.parametrize("verb", arguments.VERBS)
def test_every_verb_explains_itself(verb):
    text = parse([verb, "--help"]).text

    assert text.startswith(f"usage: hiodctl {verb} ")
    assert arguments.VERBS[verb][0] in text.replace("\n", " ")
    assert parse(["help", verb]).text == parse(["--help", verb]).text == text
