"""How the files fit together."""

import pytest

from hiod.boss.config import AdminConfig, BossConfig, Config, build, lines_of, main_changes
from hiod.errors import ConfigError
from hiod.rules.checking import Problem, SourceFile
from hiod.rules.specs import HandSpec, parse


def main(text):
    return SourceFile("hiod.toml", text, "/etc/hiod")


def crew(name, text):
    return SourceFile(f"crew.d/{name}.toml", text, "/etc/hiod/crew.d")


def refused(*files, **more):
    with pytest.raises(ConfigError) as caught:
        build(files, **more)
    return [f"{problem['path']}: {problem['message']}" for problem in caught.value.problems]


# ------------------------------------------------------------------------ good files


def test_no_files_at_all_are_an_empty_crew():
    assert build([]) == Config()
    assert build([]).boss == BossConfig("boss", "info", 2.0, 10_000, 20)
    assert build([]).admin == AdminConfig(("@hiod",), (), ())


def test_hiod_toml_says_how_the_boss_runs_and_who_may_use_it():
    config = build(
        [
            main(
                '[boss]\nname = "chief"\nlog_level = "debug"\nsettle_s = 1\nevents_keep = 5\n'
                'deaths_keep = 0\n[admin]\nadmin = ["@ops", "0"]\noperate = ["deploy"]\n'
                'read = ["@42"]\n'
            )
        ]
    )

    assert config.boss == BossConfig("chief", "debug", 1.0, 5, 0)
    assert config.admin == AdminConfig(("@ops", "0"), ("deploy",), ("@42",))


def test_hands_come_in_the_order_they_were_written():
    config = build(
        [
            crew("a", "hand.z.doers = []\nhand.b.doers = []\n"),
            crew("b", "[hand.a]\ndoers = []\n"),
        ]
    )

    assert [hand.name for hand in config.hands] == ["z", "b", "a"]


def test_a_hand_knows_the_file_and_the_line_it_was_written_on():
    (hand,) = build([crew("a", "\n\n[hand.web]\ndoers = []\n")]).hands

    assert hand.where == "crew.d/a.toml:3"


def test_defaults_of_the_file_lie_over_those_of_hiod_toml_and_the_hand_over_both():
    files = [
        main('[defaults]\numask = "0022"\nnice = 1\nstop = { grace_s = 1, term_s = 1 }\n'),
        crew("a", "defaults = { nice = 2, stop.term_s = 2 }\nhand.x = { doers = [] }\n"),
        crew("b", "hand.y = { doers = [], stop.grace_s = 3 }\n"),
    ]

    first, second = build(files).hands

    assert (first.umask, first.nice, first.stop.grace_s, first.stop.term_s) == (0o022, 2, 1.0, 2.0)
    assert (second.nice, second.stop.grace_s, second.stop.term_s) == (1, 3.0, 1.0)


def test_relative_paths_start_from_the_file_they_stand_in():
    files = [
        main('[defaults]\nenv_file = ["all.env"]\n'),
        crew("a", 'hand.x = { doers = [], path = ["src"] }\n'),
    ]

    (hand,) = build(files).hands

    assert (hand.env_file, hand.path) == (("/etc/hiod/all.env",), ("/etc/hiod/crew.d/src",))


def test_a_hand_that_is_added_later_starts_from_the_defaults_of_hiod_toml():
    config = build([main("[defaults]\nnice = 5\n"), crew("a", "defaults.nice = 6\n")])

    spec, problems = parse({"name": "late", "doers": []}, defaults=config.defaults)

    assert problems == []
    assert spec == HandSpec("late", doers=(), nice=5)


# ------------------------------------------------------------------------ bad files


def test_what_changed_in_hiod_toml_is_said_with_when_it_takes_hold():
    had = build([main('[boss]\nname = "chief"\n[admin]\nread = ["bob"]\n[defaults]\nnice = 1\n')])
    now = build(
        [main('[boss]\nlog_level = "debug"\n[admin]\noperate = ["bob"]\n[defaults]\nnice = 2\n')]
    )

    assert main_changes(had, had) == ()
    assert [(one.how, *one.keys) for one in main_changes(had, now)] == [
        ("live", "admin.operate", "admin.read"),
        ("live", "defaults"),
        ("next", "boss.name", "boss.log_level"),
    ]
    assert [one.message for one in main_changes(had, now)] == [
        "hiod.toml: admin.operate, admin.read (at once)",
        "hiod.toml: defaults (at once, for hands that are added)",
        "hiod.toml: boss.name, boss.log_level (with the next boss)",
    ]


def test_all_problems_of_all_files_are_told_at_once_with_file_and_key():
    files = [
        main("[boss]\nnmae = 1\n[defaults]\nrestrat = 1\n"),
        crew("a", "defaults.count = 1\n[hand.web]\ndoers = []\nrestart.window_s = -3\n"),
        crew("b", "[hand.b\n"),
        crew("c", "[hand.ok]\ndoers = []\n"),
    ]

    assert refused(*files, problems=[Problem("crew.d/d.toml", "unreadable", "is a joke")]) == [
        "crew.d/d.toml: is a joke",
        "crew.d/b.toml: is not TOML at line 1, column 8: expected ']' at the end of a table"
        " declaration",
        'hiod.toml: boss.nmae: unknown key; did you mean "name"?',
        'hiod.toml: defaults.restrat: unknown key; did you mean "restart"?',
        "crew.d/a.toml: defaults.count: belongs to one hand and cannot be a default",
        "crew.d/a.toml: hand.web.restart.window_s: must be greater than 0, got -3",
    ]


def test_a_problem_that_is_known_already_is_enough_to_refuse():
    assert refused(problems=[Problem("hiod.toml", "unreadable", "is a joke")]) == [
        "hiod.toml: is a joke"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[hand.a]\ndoers = []\n",
            "hiod.toml: hand: belongs in a crew file: crew.d/NAME.toml",
        ),
        ("[bos]\n", 'hiod.toml: bos: unknown table; did you mean "boss"?'),
        ("[q]\n", "hiod.toml: q: unknown table"),
        ("boss = 1\n", "hiod.toml: boss: must be a table, got 1; write [boss]"),
        (
            "defaults = 1\n",
            "hiod.toml: defaults: must be a table of keys that every hand may have, got 1",
        ),
        (
            "boss.settle_s = 61\n",
            "hiod.toml: boss.settle_s: must be at most 60, got 61",
        ),
        (
            'admin.admin = ["@a", "@a"]\n',
            'hiod.toml: admin.admin[1]: names "@a" twice',
        ),
        (
            'admin.read = ["a b"]\n',
            'hiod.toml: admin.read[0]: must be a user or "@group", by name or number, got "a b"',
        ),
        ("a = 1\na = 2\n", "hiod.toml: is not TOML at line 2, column 6: cannot overwrite a value"),
        ("a", "hiod.toml: is not TOML at end of document: expected '=' after a key in a key/value"
         " pair"),
        ("a = 2026-02-31\n", "hiod.toml: is not TOML at line 1, column 5: invalid date or"
         " datetime"),
        (f"a = {'9' * 5000}\n", None),
        (f"a = {'[' * 100_000}\n", "hiod.toml: is nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_hiod_toml_is_told(text, line):
    lines = refused(main(text))

    assert len(lines) == 1
    if line is not None:
        assert lines == [line]
    else:
        assert lines[0].startswith("hiod.toml: has a value that cannot be used: ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[boss]\n", "boss: belongs in hiod.toml"),
        ("[hands.a]\n", 'hands: unknown table; did you mean "hand"?'),
        ("[web]\n", "web: unknown table; a hand is written [hand.NAME]"),
        ("hand = 1\n", "hand: must be a table of hands, got 1; write [hand.NAME]"),
        (
            'hand.a = "x"\n',
            'hand.a: must be a table, got "x"; write doers = ["module:attribute"] or'
            ' command = ["program"] in it',
        ),
        (
            '[hand."A.b"]\ndoers = []\n',
            'hand."A.b": must be 1 to 40 of a-z 0-9 _ -, the first a letter or digit, got "A.b"',
        ),
        (
            "[hand.a]\ndoers = []\nlimit_s = 1979-05-27T07:32:00Z\n",
            "hand.a.limit_s: must be a number, got a date or time",
        ),
    ],
)
def test_what_is_wrong_with_a_crew_file_is_told(text, line):
    assert refused(crew("a", text)) == [f"crew.d/a.toml: {line}"]


def test_one_name_in_two_files_is_told_with_both():
    files = [
        crew("a", "[hand.web]\ndoers = []\n"),
        crew("b", "\n[hand.web]\ndoers = []\n"),
    ]

    assert refused(*files) == [
        "crew.d/b.toml: hand.web: is in crew.d/a.toml:1 already; a hand has one definition"
    ]


def test_hands_of_different_files_may_come_after_each_other_but_not_in_a_circle():
    files = [
        crew("a", 'hand.x = { doers = [], after = ["y"] }\n'),
        crew("b", 'hand.y = { doers = [], after = ["x"] }\n'),
    ]

    assert refused(*files) == [
        "crew.d/a.toml: hand.x.after: leads back to itself: x after y after x"
    ]


def test_a_hand_after_one_that_could_not_be_read_is_not_blamed():
    text = 'hand.x = { doers = [], after = ["y"] }\nhand.y = { doers = 1 }\n'

    assert refused(crew("a", text)) == ["crew.d/a.toml: hand.y.doers: must be an array, got 1"]


def test_a_hand_after_one_that_may_stand_in_a_broken_file_is_not_blamed():
    files = [crew("a", 'hand.x = { doers = [], after = ["y"] }\n'), crew("b", "[hand.y\n")]

    assert [line.partition(":")[0] for line in refused(*files)] == ["crew.d/b.toml"]


# ------------------------------------------------------------------------ lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[hand.web]", 1),
        ("# x\n  [ hand . web ]", 2),
        ("[hand.webs]\n[hand.web.stop]", 2),
        ('[hand."web"]', 1),
        ("[hand.'web']", 1),
        ("\nhand.web.count = 1", 2),
        ("hand.web = {}", 1),
        ("[hand]\nweb = {}", None),
    ],
)
def test_the_line_of_a_hand_is_found_where_it_shows(text, line):
    assert lines_of(text).get("web") == line
