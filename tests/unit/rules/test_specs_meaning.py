"""What a hand's keys mean once they were read."""

import json

import pytest

from hiod.rules.specs import (
    KEYS,
    DoerRef,
    HandSpec,
    Ready,
    counted_base,
    crew_file,
    diff,
    dump,
    dump_sparse,
    instances,
    json_schema,
    mask,
    order,
    parse,
    parse_defaults,
    variables,
)


def good(mapping, **where):
    spec, problems = parse(mapping, **where)
    assert [str(problem) for problem in problems] == []
    assert spec is not None
    return spec


def layer(mapping, **where):
    defaults, problems = parse_defaults(mapping, **where)
    assert problems == []
    return defaults


def ordered(spec, **changed):
    given = {
        "instance": spec.name,
        "ordinal": None,
        "generation": 3,
        "token": "a1b2",
        "state_dir": "/st/hands/x",
        "addr": "/run/hiod/m/x.uxd",
        "boss_name": "boss",
        "boss_addr": "/run/hiod/boss.uxd",
        "boss_pid": 77,
    }
    return order(spec, **(given | changed))


# ------------------------------------------------------------------------ reading


def test_a_hand_of_only_a_name_and_a_doer_has_the_built_in_defaults():
    spec = good({"name": "ticker", "doers": ["hiod.demo:Ticker"]})

    assert spec == HandSpec("ticker", doers=(DoerRef("hiod.demo:Ticker"),))
    assert (spec.ready.by, spec.ready.timeout_s) == ("register", 10.0)
    assert (spec.tock, spec.umask, spec.cwd) == (0.03125, 0o027, "${HIOD_STATE_DIR}")
    assert (spec.count, spec.limit_s, spec.log, spec.start) == (None, None, None, True)


def test_a_doer_is_a_reference_or_a_table():
    entry = {"ref": "app.doing:Flush", "tock": 0, "opts": {"path": "${HIOD_STATE_DIR}/x", "n": [1]}}

    spec = good({"name": "a", "doers": ["app:Tick", entry]})

    assert spec.doers == (
        DoerRef("app:Tick"),
        DoerRef("app.doing:Flush", 0.0, {"path": "${HIOD_STATE_DIR}/x", "n": [1]}),
    )


def test_a_hand_with_no_doers_at_all_is_a_hand_with_only_its_crewer():
    assert good({"name": "a", "doers": []}).doers == ()


def test_the_name_may_come_from_the_place():
    assert good({"command": ["true"]}, name="web").name == "web"
    assert good({"name": "web", "command": ["true"]}, name="web").name == "web"


def test_a_command_counts_as_running_once_it_is_there():
    spec = good({"name": "web", "command": ["gunicorn", "shop:app"]})

    assert spec.command == ("gunicorn", "shop:app")
    assert spec.ready == Ready("start", timeout_s=10.0)


def test_a_one_shot_may_take_for_ever_unless_it_is_told_not_to():
    free = good({"name": "a", "command": ["x"], "ready": {"by": "exit"}})
    bound = good({"name": "a", "command": ["x"], "ready": {"by": "exit", "timeout_s": 60}})

    assert free.ready.timeout_s is None
    assert bound.ready.timeout_s == 60.0


def test_null_says_that_a_key_is_absent():
    spec = good({"name": "a", "doers": [], "command": None, "limit_s": None, "log": None})

    assert spec == HandSpec("a", doers=())


def test_sizes_limits_masks_and_signals_are_read_as_what_they_mean():
    spec = good(
        {
            "name": "a",
            "doers": [],
            "umask": "77",
            "health": {"rss_max": "512M"},
            "stop": {"signal": "SIGINT"},
            "rlimits": {
                "nofile": 4096,
                "core": [0, "infinity"],
                "as": "2GiB",
                "stack": "unlimited",
            },
        }
    )

    assert spec.umask == 0o77
    assert spec.health.rss_max == 512 << 20
    assert spec.stop.signal == "INT"
    assert spec.rlimits == {
        "nofile": (4096, 4096),
        "core": (0, -1),
        "as": (2 << 30, 2 << 30),
        "stack": (-1, -1),
    }


def test_relative_paths_start_from_the_crew_file():
    spec = good(
        {
            "name": "a",
            "doers": [],
            "python": "../venv/bin/python",
            "path": ["src", "./lib", "/abs", "${HIOD_STATE_DIR}/x"],
            "cwd": "work",
            "env_file": ["a.env", "-b.env", "-/c.env"],
        },
        folder="/etc/hiod/crew.d",
    )

    assert spec.python == "/etc/hiod/crew.d/../venv/bin/python"
    assert spec.path == (
        "/etc/hiod/crew.d/src",
        "/etc/hiod/crew.d/lib",
        "/abs",
        "${HIOD_STATE_DIR}/x",
    )
    assert spec.cwd == "/etc/hiod/crew.d/work"
    assert spec.env_file == ("/etc/hiod/crew.d/a.env", "-/etc/hiod/crew.d/b.env", "-/c.env")


@pytest.mark.parametrize(
    "to", ["127.0.0.1:8000", "[::1]:80", "localhost:80${HIOD_ORDINAL}", "/run/x.sock"]
)
def test_a_hand_may_be_ready_once_it_accepts_connections(to):
    spec = good({"name": "a", "command": ["x"], "ready": {"by": "connect", "to": to}})

    assert spec.ready.to == to


def test_where_a_hand_was_written_is_no_part_of_what_it_is():
    here = good({"doers": []}, name="a", origin="crew.d/a.toml", line=3)
    there = good({"doers": []}, name="a", origin="crew.d/b.toml")

    assert here == there
    assert (here.where, there.where) == ("crew.d/a.toml:3", "crew.d/b.toml")
    assert good({"doers": []}, name="a").where is None


# ------------------------------------------------------------------------ defaults


def test_defaults_lie_over_each_other_and_the_hand_over_them():
    low = layer({"cwd": "/low", "nice": 1, "umask": "0022"})
    high = layer({"cwd": "/high", "nice": 2})

    spec = good({"name": "a", "doers": [], "nice": 3}, defaults=[low, high])

    assert (spec.umask, spec.cwd, spec.nice) == (0o022, "/high", 3)


def test_tables_of_defaults_are_merged_key_by_key():
    low = layer({"env": {"A": "1", "B": "1"}, "restart": {"limit": 9, "delay_s": 1}})

    spec = good(
        {"name": "a", "doers": [], "env": {"B": "2"}, "restart": {"delay_s": 2}}, defaults=[low]
    )

    assert spec.env == {"A": "1", "B": "2"}
    assert (spec.restart.limit, spec.restart.delay_s) == (9, 2.0)
    assert low.values["env"] == {"A": "1", "B": "1"}


def test_arrays_of_defaults_are_replaced_as_a_whole():
    low = layer({"env_file": ["/a"]})

    assert good({"name": "a", "doers": [], "env_file": ["/b"]}, defaults=[low]).env_file == ("/b",)


def test_relative_paths_of_defaults_start_from_their_own_file():
    low = layer({"path": ["lib"]}, folder="/etc/hiod")

    spec = good({"name": "a", "doers": []}, defaults=[low], folder="/etc/hiod/crew.d")

    assert spec.path == ("/etc/hiod/lib",)


def test_defaults_that_are_for_doers_pass_a_command_by():
    low = layer({"python": "/v/bin/python", "path": ["/src"], "tock": 1, "nice": 5})

    spec = good({"name": "a", "command": ["x"]}, defaults=[low])

    assert spec == HandSpec("a", command=("x",), nice=5, ready=Ready("start"))


def test_a_default_for_connecting_passes_a_hand_by_that_is_ready_otherwise():
    low = layer({"ready": {"by": "connect", "to": "/run/x.sock"}})

    spec = good({"name": "a", "doers": [], "ready": {"by": "memo"}}, defaults=[low])

    assert spec.ready == Ready("memo")


def test_what_makes_a_hand_ready_may_be_a_default():
    low = layer({"ready": {"by": "exit"}})

    assert good({"name": "a", "doers": []}, defaults=[low]).ready == Ready("exit", timeout_s=None)


# ------------------------------------------------------------------------ writing

FULL = {
    "name": "full",
    "doers": [{"ref": "a:B", "tock": 0.5, "opts": {"deep": {"list": [1, 1.5, "é", True]}}}],
    "python": "/v/bin/python",
    "path": ["/src"],
    "count": 3,
    "start": False,
    "tock": 1.0,
    "limit_s": 86400.0,
    "after": ["store"],
    "labels": {"tier": "front"},
    "cwd": "/srv",
    "env_file": ["-/etc/x.env"],
    "env": {"KEY": "secret"},
    "umask": "0077",
    "nice": -5,
    "rlimits": {"nofile": [10, 20], "core": "infinity"},
    "log": "/var/log/full.log",
    "ready": {"by": "connect", "to": "127.0.0.1:1", "timeout_s": 1.0},
    "restart": {
        "policy": "never",
        "delay_s": 1.0,
        "factor": 1.0,
        "max_delay_s": 2.0,
        "jitter": 0.0,
        "reset_after_s": 1.0,
        "limit": 0,
        "window_s": 1.0,
    },
    "stop": {"grace_s": 0.0, "term_s": 0.0, "signal": "INT"},
    "health": {
        "beat_s": 1.0,
        "misses": 1,
        "lag_s": 1.0,
        "on_fail": "restart",
        "rss_max": 1,
        "cpu_max": 95.0,
        "fds_max": 9,
    },
}


def test_every_key_is_dumped_as_it_was_written():
    full = dict(FULL)

    assert dump(good(full)) == full
    assert json.loads(json.dumps(dump(good(full)))) == full


def test_the_sparse_form_has_only_what_differs():
    spec = good({"name": "a", "doers": ["a:B"], "env": {"X": "1"}, "stop": {"grace_s": 40}})

    assert dump_sparse(spec) == {
        "name": "a",
        "doers": ["a:B"],
        "env": {"X": "1"},
        "stop": {"grace_s": 40.0},
    }


def test_the_sparse_form_leaves_out_what_makes_a_hand_ready_if_that_is_usual():
    usual = good({"name": "a", "command": ["x"], "ready": {"by": "start", "timeout_s": 5}})
    other = good({"name": "a", "command": ["x"], "ready": {"by": "exit"}})

    assert dump_sparse(usual)["ready"] == {"timeout_s": 5.0}
    assert dump_sparse(other)["ready"] == {"by": "exit"}


def test_doers_with_a_tock_stay_tables_in_the_sparse_form():
    spec = good({"name": "a", "doers": [{"ref": "a:B", "tock": 1}, {"ref": "a:C"}]})

    assert dump_sparse(spec)["doers"] == [{"ref": "a:B", "tock": 1.0}, "a:C"]


def test_hands_are_written_as_a_crew_file_that_a_person_can_go_on_with():
    first = good({"name": "a", "doers": ["a:B"], "ready": {"by": "memo"}, "env": {"X": 'q"'}})
    second = good({"name": "b", "command": ["x"], "count": 2})

    assert crew_file([first, second]) == (
        '[hand.a]\ndoers = ["a:B"]\nenv = { X = "q\\"" }\nready = { by = "memo" }\n'
        '\n[hand.b]\ncommand = ["x"]\ncount = 2\n'
    )


def test_values_of_environment_and_opts_are_masked_and_their_names_stay():
    spec = good(FULL)

    masked = mask(dump(spec))

    assert masked["env"] == {"KEY": "***"}
    assert masked["doers"] == [{"ref": "a:B", "tock": 0.5, "opts": {"deep": "***"}}]
    assert dump(spec)["env"] == {"KEY": "secret"}
    assert {k: v for k, v in masked.items() if k not in ("env", "doers")} == {
        k: v for k, v in FULL.items() if k not in ("env", "doers")
    }


def test_the_sparse_form_and_a_command_can_be_masked_too():
    doers = good({"name": "a", "doers": ["a:B", {"ref": "a:C", "opts": {"k": 1}}]})
    command = good({"name": "a", "command": ["x"]})

    assert mask(dump_sparse(doers))["doers"] == ["a:B", {"ref": "a:C", "opts": {"k": "***"}}]
    assert mask(dump(command)) == dump(command)
    assert mask(dump_sparse(command)) == dump_sparse(command)


# ------------------------------------------------------------------------ using


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (None, [("a", None)]),
        (0, []),
        (1, [("a-0", 0)]),
        (3, [("a-0", 0), ("a-1", 1), ("a-2", 2)]),
    ],
)
def test_a_count_even_of_one_numbers_the_instances(count, names):
    assert instances(HandSpec("a", doers=(), count=count)) == names


def test_an_instance_is_known_by_its_counted_base_whatever_the_count():
    crew = {"a": HandSpec("a", doers=(), count=0), "b": HandSpec("b", doers=())}

    assert counted_base("a-17", crew) == "a"
    assert [counted_base(name, crew) for name in ("a-01", "a-x", "a", "b-0", "c-0")] == [None] * 5


@pytest.mark.parametrize(
    ("key", "value", "how"),
    [
        ("restart", {"limit": 9}, {"restart.limit": "live"}),
        ("stop", {"grace_s": 1}, {"stop.grace_s": "live"}),
        ("health", {"lag_s": 1, "beat_s": 1}, {"health.beat_s": "restart", "health.lag_s": "live"}),
        ("labels", {"a": "b"}, {"labels": "live"}),
        ("count", 2, {"count": "live"}),
        ("after", ["b"], {"after": "next"}),
        ("ready", {"by": "memo"}, {"ready.by": "next"}),
        ("env", {"A": "1"}, {"env": "restart"}),
        ("doers", ["b:C"], {"doers": "restart"}),
        ("nice", 1, {"nice": "restart"}),
        ("name", "a", {}),
    ],
)
def test_each_key_says_how_its_change_takes_hold(key, value, how):
    old = good({"name": "a", "doers": ["a:B"]})
    new = good({"name": "a", "doers": ["a:B"], key: value})

    assert diff(old, new) == how
    assert diff(new, old) == how
    assert diff(new, new) == {}


def test_a_hand_that_becomes_a_command_needs_a_restart():
    old = good({"name": "a", "doers": []})
    new = good({"name": "a", "command": ["x"], "ready": {"by": "register"}})

    assert diff(old, new) == {"doers": "restart", "command": "restart"}


def test_an_order_has_nothing_left_to_resolve():
    spec = good(
        {
            "name": "w",
            "doers": [
                {"ref": "a:B", "opts": {"p": ["${HIOD_STATE_DIR}/x", {"q": "${HIOD_BOSS}"}]}}
            ],
            "count": 2,
            "cwd": "${HIOD_STATE_DIR}/${HIOD_ORDINAL}",
            "path": ["/src/${HIOD_HAND}"],
            "env": {"WHO": "${HIOD_NAME} ${OTHER} $HIOD_NAME", "AT": "${HIOD_ADDR}"},
            "env_file": ["-/etc/${HIOD_NAME}.env"],
            "log": "/log/${HIOD_NAME}.${HIOD_GENERATION}",
            "rlimits": {"nofile": 5},
        }
    )

    made = ordered(spec, instance="w-1", ordinal=1, notify="/n.sock", cgroup="/sys/fs/cgroup/x")

    assert made == {
        "v": 1,
        "name": "w-1",
        "hand": "w",
        "ordinal": 1,
        "generation": 3,
        "token": "a1b2",
        "doers": [{"ref": "a:B", "tock": None, "opts": {"p": ["/st/hands/x/x", {"q": "boss"}]}}],
        "command": None,
        "path": ["/src/w"],
        "cwd": "/st/hands/x/1",
        "env_file": ["-/etc/w-1.env"],
        "env": {"WHO": "w-1 ${OTHER} $HIOD_NAME", "AT": "/run/hiod/m/x.uxd"},
        "environ": {
            "HIOD_NAME": "w-1",
            "HIOD_HAND": "w",
            "HIOD_ORDINAL": "1",
            "HIOD_GENERATION": "3",
            "HIOD_STATE_DIR": "/st/hands/x",
            "HIOD_ADDR": "/run/hiod/m/x.uxd",
            "HIOD_BOSS": "boss",
            "HIOD_BOSS_ADDR": "/run/hiod/boss.uxd",
        },
        "umask": 0o027,
        "nice": 0,
        "rlimits": {"nofile": [5, 5]},
        "log": "/log/w-1.3",
        "tock": 0.03125,
        "limit_s": None,
        "ready_by": "register",
        "ready_to": None,
        "notify": "/n.sock",
        "beat_s": 5.0,
        "place": 0,
        "boss": {"name": "boss", "addr": "/run/hiod/boss.uxd", "pid": 77},
        "addr": "/run/hiod/m/x.uxd",
        "state_dir": "/st/hands/x",
        "cgroup": "/sys/fs/cgroup/x",
    }


def test_an_order_for_a_command_has_its_arguments_replaced():
    ready = {"by": "connect", "to": "/run/${HIOD_NAME}.sock"}
    spec = good({"name": "q", "command": ["celery", "-n", "w${HIOD_ORDINAL}"], "ready": ready})

    made = ordered(spec)

    assert (made["command"], made["doers"]) == (["celery", "-n", "w"], None)
    assert (made["ready_by"], made["ready_to"]) == ("connect", "/run/q.sock")


@pytest.mark.parametrize(
    ("written", "default", "is_"),
    [
        (None, "journal", "journal"),
        (None, "file", "/var/log/hiod/a.log"),
        ("null", "file", "null"),
    ],
)
def test_a_hand_that_does_not_say_where_it_logs_logs_where_the_boss_says(written, default, is_):
    spec = good({"name": "a", "doers": [], "log": written})

    assert ordered(spec, log_default=default, log_dir="/var/log/hiod")["log"] == is_


def test_the_ordinal_of_a_hand_without_a_count_is_empty():
    spec = good({"name": "a", "doers": []})

    names = variables(
        spec,
        instance="a",
        ordinal=None,
        generation=1,
        state_dir="/s",
        addr="/a",
        boss_name="b",
        boss_addr="/b",
    )

    assert names["HIOD_ORDINAL"] == ""


def test_what_is_replaced_once_is_not_looked_at_again():
    spec = good({"name": "a", "doers": [], "env": {"A": "${HIOD_STATE_DIR}"}})

    assert ordered(spec, state_dir="/${HIOD_NAME}")["env"] == {"A": "/${HIOD_NAME}"}


# ------------------------------------------------------------------------ the table


def test_every_key_has_a_sentence_and_a_way_to_apply():
    assert all(known.doc and known.kind.words for known in KEYS.values())
    assert {known.applies for known in KEYS.values()} == {"live", "next", "restart"}


def test_the_schema_knows_every_key_and_demands_one_form():
    schema = json_schema()

    assert set(schema["properties"]) == {name.partition(".")[0] for name in KEYS}
    assert schema["oneOf"] == [{"required": ["doers"]}, {"required": ["command"]}]
    assert schema["properties"]["restart"]["properties"]["limit"]["default"] == 5
    assert "default" not in schema["properties"]["name"]
    assert json.loads(json.dumps(schema)) == schema
