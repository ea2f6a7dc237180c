"""What an operator is told about a hand that cannot be used."""

import datetime
import math

import pytest

from hiod.rules.checking import Problem
from hiod.rules.specs import HandSpec, check_crew, parse, parse_defaults


def told(mapping, **where):
    """Return what is wrong with a hand, as lines."""
    spec, problems = parse({"name": "a", **mapping}, **({"path": "hand.a"} | where))
    assert spec is None
    return [str(problem) for problem in problems]


def told_of(key, value, **where):
    """Return what is wrong with one key of a hand with doers, without the path of the hand."""
    (line,) = told({"doers": [], key: value}, **where)
    assert line.startswith("hand.a.")
    return line.removeprefix("hand.a.")


# ------------------------------------------------------------------------ as a whole


def test_all_problems_are_told_at_once():
    mapping = {"restart": {"window_s": -3}, "restrat": {}, "umask": 22, "doers": ["a.b"]}

    assert told(mapping) == [
        "hand.a.restart.window_s: must be greater than 0, got -3",
        'hand.a.restrat: unknown key; did you mean "restart"?',
        'hand.a.umask: must be a string of octal digits, got 22; write it as in "0027"',
        'hand.a.doers[0]: must be a reference "module:attribute", as in "app:Store", got "a.b";'
        ' did you mean "a:b"?',
    ]


def test_a_problem_has_a_code_and_the_value_for_programs():
    _, problems = parse({"name": "a", "doers": [], "nice": 30, "env": 1, "zzz": 0}, path="spec")

    assert problems == [
        Problem("spec.nice", "out_of_range", "must be at most 19, got 30", 30),
        Problem("spec.env", "wrong_type", "must be a table of strings, got 1", 1),
        Problem("spec.zzz", "unknown_key", "unknown key", None),
    ]
    assert problems[0].asdict() == {
        "path": "spec.nice",
        "code": "out_of_range",
        "message": "must be at most 19, got 30",
        "got": 30,
    }


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        (
            {},
            "hand.a: has neither doers nor command;"
            ' write doers = ["module:attribute"] or command = ["program", "argument"]',
        ),
        (
            {"doers": ["a:B"], "command": ["x"]},
            "hand.a: has both doers and command; one hand is one of them",
        ),
        (
            {"command": ["x"], "python": "/bin/python"},
            "hand.a.python: is for doers; a command hand names its interpreter in command",
        ),
        (
            {"command": ["x"], "path": ["/x"]},
            "hand.a.path: is for doers; a command hand takes PYTHONPATH from env",
        ),
        (
            {"command": ["x"], "tock": 1},
            "hand.a.tock: is for doers; a command hand has no Doist of hiod's",
        ),
        ({"doers": [], "after": ["a"]}, "hand.a.after: names the hand itself"),
        (
            {"doers": [], "ready": {"by": "connect"}},
            'hand.a.ready.to: is missing with ready.by = "connect";'
            ' write ready.to = "127.0.0.1:8000" or the path of a socket',
        ),
        (
            {"doers": [], "ready": {"to": "/run/x"}},
            'hand.a.ready.to: is for ready.by = "connect"; here it is "register"',
        ),
        (
            {"doers": [], "ready": {"timeout_s": None}},
            'hand.a.ready.timeout_s: must be a number, got nothing; only ready.by = "exit" may'
            " take for ever",
        ),
        (
            {"doers": [], "ready": "memo"},
            'hand.a.ready: must be a table, got "memo"; its keys are by, to, timeout_s',
        ),
        (
            {"doers": [], "ready": {"by": "conect", "to": "/x"}},
            "hand.a.ready.by: must be register, memo, notify, connect, exit or start,"
            ' got "conect"; did you mean "connect"?',
        ),
        (
            {"doers": [], "restart": {"delay_s": 60}},
            "hand.a.restart.delay_s: must be at most max_delay_s, which is 30, got 60.0",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_told(mapping, line):
    assert told(mapping) == [line]


def test_delays_that_are_no_numbers_are_not_compared():
    assert told({"doers": [], "restart": 5}) == [
        "hand.a.restart: must be a table, got 5; its keys are policy, delay_s, factor,"
        " max_delay_s, jitter, reset_after_s, limit, window_s"
    ]


@pytest.mark.parametrize("mapping", [None, [], "command", 5])
def test_a_hand_that_is_no_table_is_told_what_it_should_have(mapping):
    spec, (problem,) = parse(mapping, path="hand.a", name="a")

    assert spec is None
    assert problem.code == "wrong_type"
    assert problem.message.startswith("must be a table, got ")
    assert problem.message.endswith(
        '; write doers = ["module:attribute"] or command = ["program"] in it'
    )


# ------------------------------------------------------------------------ names


@pytest.mark.parametrize("name", ["", "Web", "-a", "_a", "a.b", "a" * 41, "a b", "ä", 5, None])
def test_a_name_has_at_most_forty_plain_characters(name):
    _, problems = parse({"name": name, "doers": []})

    assert [problem.path for problem in problems] == ["spec.name"]


def test_a_name_that_is_missing_is_told():
    _, problems = parse({"doers": []})

    assert [str(problem) for problem in problems] == [
        "spec.name: is missing; every hand has a name"
    ]


@pytest.mark.parametrize(("where", "path"), [({"name": "boss"}, "hand.x"), ({}, "hand.x.name")])
def test_no_hand_is_called_boss(where, path):
    _, problems = parse({"name": "boss", "doers": []}, path="hand.x", **where)

    assert [str(problem) for problem in problems] == [
        f'{path}: must be another name, got "boss"; the boss itself is called that'
    ]


def test_a_name_beside_another_that_the_place_gives_is_told():
    _, problems = parse({"name": "b", "doers": []}, path="hand.a", name="a")

    assert [str(problem) for problem in problems] == [
        'hand.a.name: is not "a", the name it stands under'
    ]


def test_a_name_that_the_place_gives_is_checked_there():
    _, problems = parse({"doers": []}, path='hand."A B"', name="A B")

    assert [str(problem) for problem in problems] == [
        'hand."A B": must be 1 to 40 of a-z 0-9 _ -, the first a letter or digit, got "A B"'
    ]


# ------------------------------------------------------------------------ unknown keys


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("comand", 'unknown key; did you mean "command"?'),
        ("Labels", 'unknown key; did you mean "labels"?'),
        ("grace_s", 'unknown key; did you mean "stop.grace_s"?'),
        ("rss_max", 'unknown key; did you mean "health.rss_max"?'),
        ("restart.limit", 'unknown key; did you mean "restart.limit"?'),
        ("q", "unknown key"),
        ("user", "hands run as the boss's user; run a second boss as the other user"),
        ("group", "hands run as the boss's user and group; run a second boss as the other one"),
        (
            "schedule",
            "hiod starts nothing by the clock; let a systemd timer run: hiodctl start NAME",
        ),
        (
            "pre_start",
            'make it a hand of its own with ready.by = "exit", and name that in after',
        ),
        ("shell", 'there is no shell in between; write command = ["sh", "-c", "…"] if it must be'),
        (
            "check",
            "is not a key; readiness is ready.by (connect, notify, memo, …),"
            " what is watched is health",
        ),
        ("autostart", 'unknown key; it is called "start" here'),
        ("environment", 'unknown key; it is called "env" here'),
    ],
)
def test_an_unknown_key_is_refused_with_what_would_do(key, says):
    shown = key if "." not in key else f'"{key}"'

    assert told({"doers": [], key: 1}) == [f"hand.a.{shown}: {says}"]


@pytest.mark.parametrize("program", ["~/bin/x", "~ann/bin/x"])
def test_a_program_in_somebodys_home_is_refused_since_no_shell_would_find_it(program):
    text = f'hand.a.command[0]: must be a path without ~, got "{program}"; write it out'

    assert told({"command": [program, "~/x"]}) == [text]


SUPERVISORDS = """
autorestart autostart command directory environment exitcodes killasgroup numprocs priority
process_name redirect_stderr startretries startsecs stderr_logfile stdout_logfile
stdout_logfile_maxbytes stopasgroup stopsignal stopwaitsecs umask user
"""


@pytest.mark.parametrize("key", sorted(set(SUPERVISORDS.split()) - {"command", "umask"}))
def test_a_key_of_supervisords_is_refused_with_what_does_it_here(key):
    (problem,) = told({"command": ["true"], key: 1})

    assert not problem.endswith("unknown key")
    assert "did you mean" not in problem


def test_unknown_keys_inside_tables_are_refused_too():
    assert told({"doers": [{"ref": "a:B", "opt": {}}], "stop": {"gracs_s": 1}}) == [
        'hand.a.doers[0].opt: unknown key; did you mean "opts"?',
        'hand.a.stop.gracs_s: unknown key; did you mean "grace_s"?',
    ]


# ------------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("gunicorn -b :8000 'shop app'", 'write ["gunicorn", "-b", ":8000", "shop app"]'),
        ("say 'it", "write each word as a string of its own, in brackets"),
        (f"cat /{'x' * 99}", "write each word as a string of its own, in brackets"),
    ],
)
def test_a_command_in_one_line_is_refused_with_the_words_to_write(line, hint):
    (problem,) = told({"command": line})

    assert problem.startswith("hand.a.command: must be an array, got ")
    assert problem.endswith(f"; {hint}")


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("start", "true", 'start: must be true or false, got "true"; write it without quotes'),
        ("start", 1, "start: must be true or false, got 1"),
        ("tock", "0.5", 'tock: must be a number, got "0.5"; write it without quotes'),
        ("tock", "fast", 'tock: must be a number, got "fast"'),
        ("tock", True, "tock: must be a number, got true"),
        ("tock", False, "tock: must be a number, got false"),
        ("tock", math.nan, "tock: must be a finite number, got nan"),
        ("tock", math.inf, "tock: must be a finite number, got inf"),
        ("tock", -0.1, "tock: must be at least 0, got -0.1"),
        ("tock", 10**400, "tock: must be at most 1000000000, got a huge number"),
        ("limit_s", 0, "limit_s: must be greater than 0, got 0"),
        ("count", 2.0, "count: must be a whole number, got 2.0"),
        ("count", -1, "count: must be at least 0, got -1"),
        ("count", 10_001, "count: must be at most 10000, got 10001"),
        ("cwd", 5, "cwd: must be a string, got 5; write it in quotes"),
        ("cwd", [], "cwd: must be a string, got an array"),
        ("cwd", "", "cwd: must not be empty"),
        ("cwd", "/a\0b", "cwd: must not contain a NUL character"),
        ("cwd", "/a\ud800", "cwd: must be text that UTF-8 can carry"),
        ("cwd", "~/x", 'cwd: must be a path without ~, got "~/x"; write it out'),
        (
            "cwd",
            "x",
            'cwd: must be absolute, got "x"; there is no crew file that it could be relative to',
        ),
        (
            "cwd",
            "/${HIOD_NAM}",
            "cwd: has ${HIOD_NAM}, which hiod does not know; did you mean"
            " HIOD_NAME?",
        ),
        ("cwd", "/${HIOD_NAME", 'cwd: has "${HIOD_" without a closing brace'),
        (
            "cwd",
            "/${HIOD_!}",
            "cwd: has a ${HIOD_…}, which hiod does not know; there are HIOD_NAME, HIOD_HAND,"
            " HIOD_ORDINAL, HIOD_GENERATION, HIOD_STATE_DIR, HIOD_ADDR, HIOD_BOSS, HIOD_BOSS_ADDR",
        ),
        ("python", "/${HIOD_NAME}", "python: must be a path without variables, got"
         ' "/${HIOD_NAME}"'),
        (
            "python",
            "python3",
            'python: must be a path, got "python3"; a bare name is not looked up',
        ),
        ("env_file", "/x", 'env_file: must be an array, got "/x"; write ["/x"]'),
        ("env_file", ["-"], 'env_file[0]: must name a file after the "-", got "-"'),
        ("after", ["b", "b"], 'after[1]: names "b" twice'),
        (
            "after",
            ["B"],
            'after[0]: must be 1 to 40 of a-z 0-9 _ -, the first a letter or digit, got "B"',
        ),
        ("umask", "0999", 'umask: must be octal digits up to "0777", got "0999"'),
        ("umask", "1777", 'umask: must be octal digits up to "0777", got "1777"'),
        ("labels", {"a b": "c"}, 'labels."a b": must be a label of letters, digits and _ . / -, got'
         ' "a b"'),
        ("labels", {"a": 1}, "labels.a: must be a string, got 1; write it in quotes"),
        (
            "labels",
            {"a": "x\ny"},
            'labels.a: must be at most 255 characters on one line, got "x\\ny"',
        ),
        ("log", "jurnal", "log: must be journal, inherit, null or an absolute path, got"
         ' "jurnal"; did you mean "journal"?'),
        ("log", "x.log", 'log: must be journal, inherit, null or an absolute path, got "x.log"'),
        ("log", "/${HIOD_}", "log: has ${HIOD_}, which hiod does not know; there are HIOD_NAME,"
         " HIOD_HAND, HIOD_ORDINAL, HIOD_GENERATION, HIOD_STATE_DIR, HIOD_ADDR, HIOD_BOSS,"
         " HIOD_BOSS_ADDR"),
        ("nice", 20, "nice: must be at most 19, got 20"),
        ("nice", -21, "nice: must be at least -20, got -21"),
        ("rlimits", {"files": 5}, "rlimits.files: must be as, core, cpu, data, fsize, memlock,"
         " msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending or stack, got"
         ' "files"; did you mean "nofile"?'),
        ("rlimits", {"core": -1}, "rlimits.core: must be at least 0, got -1;"
         ' no limit is written "infinity"'),
        ("rlimits", {"core": [2, 1]},
         "rlimits.core: must not have a soft limit above the hard one"),
        ("rlimits", {"core": ["infinity", 1]},
         "rlimits.core: must not have a soft limit above the hard one"),
        ("rlimits", {"core": [1]}, 'rlimits.core: must be a number, a size such as "1G",'
         ' "infinity", or [soft, hard] of these'),
        ("rlimits", {"core": [1, 2.5]}, 'rlimits.core[1]: must be a number, a size such as "1G",'
         ' "infinity", or [soft, hard] of these, got 2.5'),
        ("rlimits", {"core": [True, 2]}, 'rlimits.core[0]: must be a number, a size such as "1G",'
         ' "infinity", or [soft, hard] of these, got true'),
        ("rlimits", {"core": "big"}, 'rlimits.core: must be a size such as "512M" or "2G", got'
         ' "big"'),
        ("rlimits", {"core": 1 << 63}, "rlimits.core: must be at most 4611686018427387903, got"
         " 9223372036854775808"),
        ("rlimits", {"core": [1, -1]}, "rlimits.core[1]: must be at least 0, got -1;"
         ' no limit is written "infinity"'),
        ("stop", {"signal": 15}, 'stop.signal: must be the name of a signal, got 15; write "TERM"'),
        ("stop", {"signal": "STOP"}, "stop.signal: must be a signal that can end a process, got"
         ' "STOP"'),
        ("stop", {"signal": "TREM"}, 'stop.signal: must be the name of a signal, got "TREM";'
         ' did you mean "TERM"?'),
        ("stop", {"signal": "9"}, 'stop.signal: must be the name of a signal, got "9"; there are'
         " TERM, INT, QUIT, HUP, ABRT, ALRM, KILL, PIPE, PWR, USR1, USR2, WINCH"),
        ("health", {"rss_max": "512X"}, 'health.rss_max: must be a size such as "512M" or "2G", got'
         ' "512X"'),
        ("health", {"rss_max": 1.5}, 'health.rss_max: must be a size such as "512M" or "2G", got'
         " 1.5"),
        ("health", {"rss_max": True}, 'health.rss_max: must be a size such as "512M" or "2G", got'
         " true"),
        ("health", {"rss_max": "0"}, "health.rss_max: must be a size between 1 and 4 EiB, got 0"),
        ("health", {"on_fail": 5}, "health.on_fail: must be note, dump or restart, got 5"),
        ("health", {"misses": 0}, "health.misses: must be at least 1, got 0"),
        ("restart", {"jitter": 1.5}, "restart.jitter: must be at most 1, got 1.5"),
        ("restart", {"policy": "on_failure"}, "restart.policy: must be always, on-failure or"
         ' never, got "on_failure"; did you mean "on-failure"?'),
        ("ready", {"by": "connect", "to": "x"}, 'ready.to: must be "host:port" or the absolute path'
         ' of a socket, got "x"'),
        ("ready", {"by": "connect", "to": "h:0"}, 'ready.to: must be "host:port" or the absolute'
         ' path of a socket, got "h:0"'),
        ("ready", {"by": "connect", "to": "h:99999"}, 'ready.to: must be "host:port" or the'
         ' absolute path of a socket, got "h:99999"'),
        ("ready", {"by": "connect", "to": "db.example:80"}, 'ready.to: must have "localhost" or a'
         ' numeric address, not the name db.example, got "db.example:80"'),
        ("ready", {"by": "connect", "to": "/${HIOD_X}/y/z"}, "ready.to: has ${HIOD_X}, which hiod"
         " does not know; there are HIOD_NAME, HIOD_HAND, HIOD_ORDINAL, HIOD_GENERATION,"
         " HIOD_STATE_DIR, HIOD_ADDR, HIOD_BOSS, HIOD_BOSS_ADDR"),
        ("ready", {"by": "connect", "to": 8000}, "ready.to: must be a string, got 8000; write it in"
         " quotes"),
        ("cwd", "/" + "x" * 99, None),
        ("limit_s", datetime.date(2026, 1, 1), "limit_s: must be a number, got a date or time"),
        ("limit_s", {1}, "limit_s: must be a number, got something else"),
        ("limit_s", {}, "limit_s: must be a number, got a table"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_told_with_what_it_must_be(key, value, line):
    if line is None:
        assert parse({"name": "a", "doers": [], key: value})[1] == []
    else:
        assert told_of(key, value) == line


@pytest.mark.parametrize(
    ("doers", "line"),
    [
        ("a:B", 'hand.a.doers: must be an array, got "a:B"; write ["a:B"]'),
        (
            [5],
            'hand.a.doers[0]: must be "module:attribute", or a table with ref, tock and opts,'
            " got 5",
        ),
        ([{}], 'hand.a.doers[0].ref: is missing; write ref = "module:attribute"'),
        ([""], "hand.a.doers[0]: must not be empty"),
        (
            ["app"],
            'hand.a.doers[0]: must be a reference "module:attribute", as in "app:Store", got "app"',
        ),
        (
            ["app:class"],
            'hand.a.doers[0]: must be a reference "module:attribute", as in "app:Store",'
            ' got "app:class"',
        ),
        (
            [{"ref": "a:B", "opts": []}],
            "hand.a.doers[0].opts: must be a table, got an array",
        ),
    ],
)
def test_doers_that_cannot_be_are_told(doers, line):
    assert told({"doers": doers}) == [line]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            "gunicorn shop:app",
            'hand.a.command: must be an array, got "gunicorn shop:app";'
            ' write ["gunicorn", "shop:app"]',
        ),
        ([], "hand.a.command: must not be empty"),
        (["sleep", 5], "hand.a.command[1]: must be a string, got 5; write it in quotes"),
    ],
)
def test_commands_that_cannot_be_are_told(command, line):
    assert told({"command": command}) == [line]


def test_a_long_value_is_cut_in_the_message_and_for_programs():
    _, (problem,) = parse({"name": "a", "doers": [], "log": "x" * 500})

    assert problem.message.endswith(f'got "{"x" * 59}…"')
    assert problem.got == "x" * 59 + "…"


def test_what_cannot_be_printed_is_shown_escaped():
    _, (problem,) = parse({"name": "a", "doers": [], "log": "a\nb\x1b"})

    assert problem.message.endswith(r'got "a\nb\u001b"')
    assert problem.got == r'"a\nb\u001b"'


# ------------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        (
            {"env": {"PIN": 4711}},
            "hand.a.env.PIN: must be a string, got a whole number; write it in quotes",
        ),
        ({"env": {"PIN": ["4711"]}}, "hand.a.env.PIN: must be a string, got an array"),
        ({"env": {"PIN": "4711\0"}}, "hand.a.env.PIN: must not contain a NUL character"),
        (
            {"doers": [{"ref": "a:B", "opts": {"pin": datetime.date(4711, 1, 1)}}]},
            "hand.a.doers[0].opts.pin: must be plain data, got a date or time;"
            " write dates and times in quotes",
        ),
        (
            {"doers": [{"ref": "a:B", "opts": {"pin": [4711 << 60]}}]},
            "hand.a.doers[0].opts.pin[0]: must be a whole number of at most 64 bits",
        ),
        (
            {"doers": [{"ref": "a:B", "opts": {"pin": {"x": math.inf}}}]},
            "hand.a.doers[0].opts.pin.x: must be a finite number",
        ),
        (
            {"doers": [{"ref": "a:B", "opts": {"pin": None}}]},
            "hand.a.doers[0].opts.pin: must not be null; leave it out",
        ),
        (
            {"doers": [{"ref": "a:B", "opts": {"p in": 4711}}]},
            'hand.a.doers[0].opts."p in": must be a name that can be an argument',
        ),
        (
            {"doers": [{"ref": "a:B", "opts": {"pin": "4711${HIOD_ORDINALS}"}}]},
            "hand.a.doers[0].opts.pin: has ${HIOD_ORDINALS}, which hiod does not know;"
            " did you mean HIOD_ORDINAL?",
        ),
    ],
)
def test_values_of_environment_and_opts_are_never_told(mapping, line):
    assert told({"doers": [], **mapping}) == [line]


def test_hiods_own_variables_cannot_be_set():
    assert told_of("env", {"HIOD_NAME": "x"}) == (
        "env.HIOD_NAME: must not be set here; hiod sets HIOD_… itself"
    )


def test_a_variable_has_a_name_a_shell_would_take():
    assert told_of("env", {"A-B": "x"}) == ("env.A-B: must be a name of letters, digits and _")
    assert told_of("env", {"": "x"}) == 'env."": must not be empty'


def test_opts_are_not_nested_without_end():
    deep = {}
    for _ in range(40):
        deep = {"x": deep}

    (line,) = told({"doers": [{"ref": "a:B", "opts": deep}]})

    assert line.endswith("must not be nested deeper than 32 levels")


# ------------------------------------------------------------------------ defaults


@pytest.mark.parametrize("key", ["name", "doers", "command", "count", "after"])
def test_what_belongs_to_one_hand_cannot_be_a_default(key):
    defaults, problems = parse_defaults({key: [], "nice": 1})

    assert [str(problem) for problem in problems] == [
        f"defaults.{key}: belongs to one hand and cannot be a default"
    ]
    assert defaults.values == {"nice": 1}


def test_defaults_are_checked_as_hands_are():
    _, problems = parse_defaults({"nise": 1, "user": "x", "stop": {"grace_s": -1}})

    assert [problem.path for problem in problems] == [
        "defaults.nise",
        "defaults.user",
        "defaults.stop.grace_s",
    ]


def test_defaults_that_are_no_table_are_told():
    defaults, (problem,) = parse_defaults("x", path="crew.d/a.toml: defaults")

    assert defaults.values == {}
    assert str(problem) == (
        'crew.d/a.toml: defaults: must be a table of keys that every hand may have, got "x"'
    )


# ------------------------------------------------------------------------ the crew


def hand(name, *after, count=None, origin=None, line=None):
    return HandSpec(name, doers=(), after=after, count=count, origin=origin, line=line)


def crew(*specs, known=()):
    return [str(problem) for problem in check_crew(specs, known=known)]


def test_a_crew_whose_hands_come_after_each_other_is_good():
    assert crew(hand("a"), hand("b", "a", count=3), hand("c", "a", "b")) == []


def test_a_name_given_twice_is_told_with_both_places():
    first = hand("a", origin="crew.d/a.toml", line=4)

    assert crew(first, hand("a", origin="crew.d/b.toml")) == [
        "crew.d/b.toml: hand.a: is in crew.d/a.toml:4 already; a hand has one definition"
    ]
    assert crew(hand("a"), hand("a")) == ["hand.a: is there twice; a hand has one definition"]


def test_to_come_after_nobody_is_told_with_the_nearest_name():
    assert crew(hand("store"), hand("b", "stor"), hand("c", "xyz")) == [
        'hand.b.after[0]: names "stor", which is not in the crew; did you mean "store"?',
        'hand.c.after[0]: names "xyz", which is not in the crew',
    ]


def test_to_come_after_a_hand_that_could_not_be_read_is_no_problem_of_its_own():
    assert crew(hand("b", "a"), known=["a"]) == []


def test_to_come_after_one_instance_is_told_to_name_them_all():
    assert crew(hand("a", count=2), hand("b", "a-1")) == [
        'hand.b.after[0]: names "a-1", one instance; write "a" to come after all of them'
    ]


def test_a_hand_called_like_an_instance_is_refused_whatever_the_count():
    assert crew(hand("a", count=1), hand("a-7")) == [
        'hand.a-7: is the name of an instance of "a", which has a count; choose another'
    ]
    assert crew(hand("a"), hand("a-7")) == []


def test_a_cycle_is_refused_by_name():
    assert crew(hand("d", "a"), hand("b", "c"), hand("c", "a"), hand("a", "b")) == [
        "hand.b.after: leads back to itself: b after c after a after b"
    ]


def test_every_cycle_is_told():
    assert crew(hand("a", "b"), hand("b", "a", "c"), hand("c", "d"), hand("d", "c")) == [
        "hand.a.after: leads back to itself: a after b after a",
        "hand.c.after: leads back to itself: c after d after c",
    ]


def test_a_long_row_of_hands_is_no_cycle():
    row = [hand("h0"), *(hand(f"h{n}", f"h{n - 1}") for n in range(1, 5000))]

    assert crew(*row) == []
