"""What holds for any hand that can be written, and for anything else that can be."""

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from hiod.boss.config import build
from hiod.errors import ConfigError
from hiod.rules.checking import SourceFile
from hiod.rules.specs import (
    KEYS,
    HandSpec,
    check_crew,
    crew_file,
    diff,
    dump,
    dump_sparse,
    order,
    parse,
    parse_defaults,
)

word = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0$"), max_size=12)
full = text.filter(bool)
path = full.map(lambda tail: "/" + tail)
variable = st.sampled_from(["${HIOD_NAME}", "${HIOD_STATE_DIR}", "${HIOD_ORDINAL}", "${OTHER}"])
filled = st.lists(text | variable, max_size=3).map("".join)
plain = st.recursive(
    st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | filled
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
doer = st.builds("{}:{}".format, st.just("app"), st.sampled_from(["Store", "a.B", "poller"]))
doer_table = st.fixed_dictionaries(
    {"ref": doer}, optional={"tock": st.floats(0, 10), "opts": st.dictionaries(word, plain)}
)
limit = st.integers(0, 1 << 40) | st.sampled_from(["infinity", "512M"])
seconds = st.floats(0.001, 1000) | st.integers(1, 1000)
ready = st.one_of(
    st.fixed_dictionaries(
        {"by": st.sampled_from(["register", "memo", "notify", "exit", "start"])},
        optional={"timeout_s": seconds},
    ),
    st.fixed_dictionaries({"by": st.just("connect"), "to": st.just("127.0.0.1:1") | path}),
    st.fixed_dictionaries({}, optional={"timeout_s": seconds}),
)
common = {
    "count": st.integers(0, 9),
    "start": st.booleans(),
    "limit_s": seconds,
    "labels": st.dictionaries(word, st.from_regex(r"[a-z ]{0,9}", fullmatch=True), max_size=2),
    "cwd": path,
    "env_file": st.lists(path, max_size=2),
    "env": st.dictionaries(word, filled, max_size=3),
    "umask": st.integers(0, 0o777).map("{:04o}".format),
    "nice": st.integers(-20, 19),
    "rlimits": st.dictionaries(st.sampled_from(["core", "nofile"]), limit, max_size=2),
    "log": st.sampled_from(["journal", "inherit", "null"]) | path,
    "ready": ready,
    "restart": st.fixed_dictionaries(
        {},
        optional={
            "policy": st.sampled_from(["always", "on-failure", "never"]),
            "delay_s": st.floats(0, 30),
            "limit": st.integers(0, 9),
        },
    ),
    "stop": st.fixed_dictionaries(
        {}, optional={"grace_s": seconds, "signal": st.sampled_from(["INT", "SIGQUIT"])}
    ),
    "health": st.fixed_dictionaries(
        {}, optional={"beat_s": seconds, "rss_max": st.just("1G"), "fds_max": st.integers(1, 9)}
    ),
}
hands = st.one_of(
    st.fixed_dictionaries(
        {"doers": st.lists(doer | doer_table, max_size=3)},
        optional=common | {"tock": st.floats(0, 1), "path": st.lists(path), "python": path},
    ),
    st.fixed_dictionaries({"command": st.lists(full, min_size=1, max_size=3)}, optional=common),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)
keys = st.sampled_from([*KEYS, *{name.partition(".")[0] for name in KEYS}]) | st.text(max_size=5)


@given(hands)
def test_a_good_hand_survives_being_dumped_in_every_form(mapping):
    spec, problems = parse(mapping, name="x")
    assert problems == []

    forms = [json.loads(json.dumps(form(spec))) for form in (dump, dump_sparse)]

    assert [parse(form) for form in forms] == [(spec, []), (spec, [])]


@given(hands)
def test_a_good_hand_survives_being_written_as_a_crew_file(mapping):
    spec, _ = parse(mapping, name="x")

    config = build([SourceFile("crew.d/x.toml", crew_file([spec]))])

    assert config.hands == (spec,)


WHOLE = ("umask", "nice", "restart", "stop")
"""Keys that a hand always has: whatever defaults say of them, it can say otherwise."""


@given(hands, st.fixed_dictionaries({}, optional={name: common[name] for name in WHOLE}))
def test_a_crew_file_says_what_the_defaults_it_is_read_with_would_say_otherwise(mapping, beneath):
    spec, _ = parse(mapping, name="x")
    layer, problems = parse_defaults(beneath)
    assert problems == []

    written = tomllib.loads(crew_file([spec], [layer]))["hand"]["x"]

    assert parse(written, name="x", defaults=[layer]) == (spec, [])


@given(hands)
def test_an_order_names_no_variable_of_hiods_and_is_plain_data(mapping):
    spec, _ = parse(mapping, name="x")

    made = order(
        spec,
        instance="x-0",
        ordinal=0,
        generation=1,
        token="t",
        state_dir="/s",
        addr="/a",
        boss_name="boss",
        boss_addr="/b",
        boss_pid=1,
    )

    assert "${HIOD_" not in json.dumps(made)


@given(hands, hands)
def test_two_hands_differ_in_named_keys_or_not_at_all(first, second):
    one, _ = parse(first, name="x")
    other, _ = parse(second, name="x")

    assert diff(one, one) == {}
    assert bool(diff(one, other)) == (one != other)
    assert set(diff(one, other)) <= set(KEYS)


@given(anything | st.dictionaries(keys, anything))
def test_whatever_is_written_is_read_or_told(mapping):
    spec, problems = parse(mapping)

    assert (spec is None) == bool(problems)
    json.dumps([problem.asdict() for problem in problems], allow_nan=False)
    parse_defaults(mapping)


pieces = st.sampled_from([*'[]{}=."\n', "hand", "doers", "boss", "a"])


@given(st.text(max_size=60) | st.lists(pieces).map("".join))
def test_whatever_stands_in_a_file_is_a_configuration_or_a_refusal(text):
    files = [SourceFile("hiod.toml", text), SourceFile("crew.d/x.toml", text)]
    problems = []

    try:
        config = build(files)
    except ConfigError as error:
        problems, config = error.problems, None

    assert (config is None) == bool(problems)


@given(st.dictionaries(st.sampled_from("abcde"), st.sets(st.sampled_from("abcde"))))
def test_a_crew_is_refused_for_a_cycle_exactly_if_it_has_one(edges):
    specs = [HandSpec(n, doers=(), after=tuple(sorted(to & set(edges)))) for n, to in edges.items()]

    problems = check_crew(specs)

    far = {spec.name: set(spec.after) for spec in specs}
    for via, beyond in far.items():
        for names in far.values():
            names.update(beyond if via in names else ())
    assert bool(problems) == any(name in names for name, names in far.items())
    assert all(problem.code == "cycle" for problem in problems)
