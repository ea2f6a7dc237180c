"""Every admin method against a real boss and real hands; replies are held to the schema."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import varlink
from support.waiting import wait_until

import hiod
from hiod.admin import schema
from hiod.admin.client import Client
from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.boss import Boss

pytest_plugins = ("support.boss",)

SLEEP = ["sleep", "1000"]
CREW = """
[hand.first]
doers = []
labels = { tier = "front" }
[hand.many]
command = ["sleep", "1000"]
count = 2
labels = { tier = "back" }
[hand.oneshot]
command = ["true"]
ready.by = "exit"
restart.policy = "never"
[hand.secret]
doers = ["hiod.demo:Ticker"]
env = { PASSWORD = "hush" }
start = false
"""


@pytest.fixture(scope="module")
def crew(module_boss: Boss) -> Boss:
    """Give one boss for the whole module; a test takes away what it adds."""
    boss = module_boss
    boss.crew(CREW)
    boss.config.joinpath("hiod.toml").write_text(
        '[admin]\nadmin = ["5001"]\noperate = ["5002"]\nread = ["@5003"]\n'
    )
    boss.start()
    boss.until("first", state="ready")
    boss.until("oneshot", state="done")
    boss.admin_socket.chmod(0o666)
    return boss


def call(boss: Boss, method: str, **parameters: Any) -> Any:
    """Call a method and return its reply as the schema's own type; what is not in it fails."""
    reply = boss.ask(method, **parameters)
    kind = schema.BY_NAME[method].reply
    extra = set(reply) - {field.name for field in msgspec.structs.fields(kind)}
    assert not extra
    return msgspec.convert(reply, kind)


def refused(boss: Boss, code: str, method: str, **parameters: Any) -> Any:
    """Call a method that is refused and return the parameters of the error."""
    with pytest.raises(AdminError) as caught:
        boss.ask(method, **parameters)
    assert caught.value.code.removeprefix("io.hiod.Boss.") == code, caught.value.parameters
    return caught.value.parameters


@pytest.fixture
def added(crew: Boss) -> Iterator[Callable[..., Any]]:
    """Add hands that are removed when the test is over; returns the reply."""
    names: list[str] = []

    def add(name: str, wait: str | None = "ready", **spec: Any) -> Any:
        names.append(name)
        waiting = {} if wait is None else {"wait": wait, "timeout_s": 20}
        return call(crew, "add", spec={"name": name, **spec}, **waiting)

    yield add
    for name in reversed(names):
        with contextlib.suppress(AdminError):  # some tests remove it themselves
            crew.ask("remove", names=[name], wait="gone", timeout_s=20)


# ---------------------------------------------------------------------------- looking


def test_ping_answers_with_nothing(crew: Boss):
    assert call(crew, "ping") == schema.Nothing()


def test_about_says_who_the_boss_is(crew: Boss):
    about = call(crew, "about")

    assert crew.process is not None
    assert (about.name, about.pid, about.version) == ("boss", crew.process.pid, hiod.__version__)
    assert (about.state, about.role, about.files, about.pending) == ("running", "admin", "ok", 0)
    assert (about.runtime_dir, about.state_dir) == (str(crew.runtime), str(crew.state))
    assert about.hands == sum(about.states.values()) == 5
    assert about.limits.request_bytes == 256 << 10
    # A hand that has ended has no parent any more: three live, one is done, one never started.
    assert [one.hands for one in about.launchers] == [3]


def test_list_has_the_crew_in_the_order_of_its_file(crew: Boss):
    rows = call(crew, "list").hands

    assert [row.name for row in rows] == ["first", "many-0", "many-1", "oneshot", "secret"]
    assert [row.state for row in rows] == ["ready", "running", "running", "done", "stopped"]
    assert [row.spec for row in rows][1:3] == ["many", "many"]
    assert all(Path(f"/proc/{row.pid}").exists() for row in rows[:3])
    assert rows[0].rss > 1 << 20


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"names": ["many"]}, ["many-0", "many-1"]),
        ({"names": ["*o*"]}, ["oneshot"]),
        ({"labels": {"tier": "front"}}, ["first"]),
        ({"names": ["many-1", "first"]}, ["many-1", "first"]),
        ({"names": ["many"], "labels": {"tier": "front"}}, []),
    ],
)
def test_hands_are_chosen_by_name_base_glob_and_label(crew: Boss, asked: dict, names: list[str]):
    assert [row.name for row in call(crew, "list", **asked).hands] == names


def test_nobody_of_that_name_is_told_with_names_like_it(crew: Boss):
    parameters = refused(crew, "NoSuchHand", "status", name="frist")

    assert (parameters["name"], parameters["near"]) == ("frist", ["first"])


def test_what_happened_once_has_one_time_whenever_it_is_asked_for(crew: Boss):
    before = call(crew, "status", name="first")

    asked = [call(crew, "status", name="first") for _ in range(30)]

    assert {one.since for one in asked} == {before.since}
    assert {one.process.started for one in asked} == {before.process.started}


def test_status_is_whole(crew: Boss):
    status = call(crew, "status", name="first")

    assert status.base == "first"
    assert status.origin == "crew.d/test.toml:2"
    assert status.wanted_by == "the crew files"
    assert status.wanted_since is not None
    assert status.log == "inherit"
    assert status.process.python == sys.executable
    assert [one.pid for one in status.process.tree] == [status.pid]
    assert status.memo.registered
    assert status.memo.address == str(crew.runtime / "m" / "first.uxd")
    assert status.restart.limit == 5
    assert status.deaths == []


def test_a_death_names_the_process_that_died(crew: Boss, added: Callable[..., Any]):
    pid = added("mortal", command=SLEEP).hands[0].pid

    crew.ask("restart", names=["mortal"], wait="ready")

    assert [one.pid for one in call(crew, "status", name="mortal").deaths] == [pid]


def test_for_whom_a_hand_waits_is_told_once_whatever_becomes_of_that_one(
    crew: Boss, added: Callable[..., Any]
):
    restless = {"delay_s": 0.01, "limit": 2}
    added("worker", wait=None, doers=["nosuch:Thing"], restart=restless)
    added("report", wait=None, doers=[], after=["worker"])

    crew.until("report", status="after worker (failed)")

    told = call(crew, "events", since=0, events=["hand.waiting"], names=["report"]).events
    assert [one.message.split(" (")[0] for one in told] == ["report: waits after worker"]


def test_status_says_which_file_a_log_is(crew: Boss, added: Callable[..., Any]):
    added("filed", command=SLEEP, log="${HIOD_STATE_DIR}/${HIOD_NAME}.txt")

    status = call(crew, "status", name="filed")

    assert status.log == f"{crew.state}/hands/filed/filed.txt"


def test_why_explains_whoever_is_asked_for(crew: Boss):
    found = call(crew, "why", names=["secret"]).hands

    assert [one.name for one in found] == ["secret"]
    assert found[0].state == "stopped"
    assert "hiodctl start secret" in found[0].can


def test_why_of_nobody_in_particular_is_of_all_that_are_not_well(crew: Boss):
    assert call(crew, "why").hands == []


def test_schema_is_the_table(crew: Boss):
    told = call(crew, "schema").schema

    assert set(told["methods"]) >= {method.short for method in schema.METHODS}


# ---------------------------------------------------------------------------- events


def test_events_tell_what_happened_in_order(crew: Boss):
    reply = call(crew, "events", since=0, limit=10_000)

    numbers = [one.seq for one in reply.events]
    assert numbers == list(range(reply.first, reply.seq + 1))
    kinds = [one.event for one in reply.events if one.hand == "first"]
    assert kinds[:4] == ["hand.added", "hand.spawned", "hand.registered", "hand.ready"]


def test_a_hand_that_is_not_to_start_is_at_rest_since_it_joined(crew: Boss):
    (joined,) = call(crew, "events", since=0, events=["hand.added"], names=["secret"]).events

    at_rest = datetime.fromisoformat(crew.row("secret")["since"])

    assert abs(at_rest - datetime.fromisoformat(joined.at)) < timedelta(seconds=30)


def test_an_answer_has_the_event_of_the_call_before_it(crew: Boss):
    crew.ask("signal", names=["many-0"], signal="CONT")

    last = call(crew, "events", limit=1).events[0]

    assert (last.event, last.facts["method"], last.hand) == ("admin.done", "signal", "many-0")


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({"events": ["hand.ready"]}, {"hand.ready"}),
        ({"events": ["launcher.*"]}, {"launcher.started"}),
        ({"events": ["no.such"]}, set()),
        ({"labels": {"tier": "nowhere"}}, set()),
        ({"names": ["oneshot"]}, {"hand.added", "hand.spawned", "hand.ended"}),
    ],
)
def test_events_are_chosen_by_kind_glob_hand_and_label(crew: Boss, asked: dict, kinds: set[str]):
    found = call(crew, "events", since=0, limit=10_000, **asked).events

    assert {one.event for one in found} == kinds


def test_the_newest_events_are_given_without_since(crew: Boss):
    reply = call(crew, "events", limit=2)

    assert [one.seq for one in reply.events] == [reply.seq - 1, reply.seq]


def test_a_long_answer_is_made_while_others_are_answered(crew: Boss):
    for _ in range(600):
        crew.ask("signal", names=["many-0"], signal="CONT")
    seq = crew.ask("list")["seq"]
    with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as file:
        line.connect(str(crew.admin_socket))
        asked = b'{"method":"events","parameters":{"since":0,"limit":10000}}\n'
        line.sendall(asked + b'{"method":"ping"}\n')
        assert call(crew, "ping") == schema.Nothing()
        told = msgspec.json.decode(file.readline())["parameters"]
        assert json.loads(file.readline()) == {"parameters": {}}
    with socket.socket(socket.AF_UNIX) as hasty:
        hasty.connect(str(crew.admin_socket))
        hasty.sendall(asked)

    assert [one["seq"] for one in told["events"]] == list(range(told["first"], seq + 1))
    assert msgspec.convert(told, schema.EventsReply).seq == seq
    assert call(crew, "list").seq == seq


def test_subscribe_resumes_and_goes_on_without_a_gap(crew: Boss, added: Callable[..., Any]):
    seq = call(crew, "list").seq
    added("noted", doers=[])
    with Client(crew.admin_socket) as client:
        stream = client.call("subscribe", {"since": seq}, more=True, within_s=20)
        heard = [msgspec.convert(one, schema.Event) for one in next(stream)["events"]]
        crew.ask("remove", names=["noted"], wait="gone")
        for reply in stream:
            heard += [msgspec.convert(one, schema.Event) for one in reply["events"]]
            if heard[-1].event == "hand.removed":
                break
        stream.close()

    assert [one.seq for one in heard] == list(range(seq + 1, heard[-1].seq + 1))
    assert {one.hand for one in heard} == {"noted"}


def test_subscribe_begins_with_how_the_hands_stand(crew: Boss):
    rows, seq = (crew.ask("list", names=["many"])[one] for one in ("hands", "seq"))
    with Client(crew.admin_socket) as client:
        asked = {"names": ["many", "no-such-hand"]}
        first = next(client.call("subscribe", asked, more=True, within_s=20))

    reply = msgspec.convert(first, schema.SubscribeReply)
    assert (reply.events, reply.seq, reply.gap) == ([], seq, False)
    assert reply.hands is not None
    assert [one.name for one in reply.hands] == [one["name"] for one in rows]


def test_a_subscription_goes_on_after_a_restart_of_the_boss(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.crew("[hand.a]\ndoers = []\n")
    boss.start()
    boss.until("a", state="ready")
    seq = boss.ask("list")["seq"]
    boss.kill()
    boss.start()

    with Client(boss.admin_socket) as client:
        first = next(client.call("subscribe", {"since": seq}, more=True, within_s=20))

    numbers = [one["seq"] for one in first["events"]]
    assert numbers == list(range(seq + 1, first["seq"] + 1))
    assert {"boss.started", "boss.adopted"} <= {one["event"] for one in first["events"]}
    assert not first["gap"]
    assert first["hands"] is None


def test_whoever_missed_more_than_is_kept_is_told_of_a_gap(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.config.joinpath("hiod.toml").write_text("[boss]\nevents_keep = 100\n")
    boss.start()
    boss.add("a", command=SLEEP)
    for _ in range(120):
        boss.ask("signal", names=["a"], signal="CONT")

    for since in (1, 10_000):
        with Client(boss.admin_socket) as client:
            first = next(client.call("subscribe", {"since": since}, more=True, within_s=20))

        assert first["gap"]
        assert [row["name"] for row in first["hands"]] == ["a"]
        assert first["first"] > 1
        assert first["seq"] == boss.ask("list")["seq"]


def test_a_long_story_is_told_in_pieces_and_what_happens_meanwhile_comes_after(
    bosses: Callable[[], Boss],
):
    boss = bosses().start()
    boss.add("a", command=SLEEP)
    for _ in range(1100):
        boss.ask("signal", names=["a"], signal="CONT")
    with Client(boss.admin_socket) as client:
        stream = client.call("subscribe", {"since": 0}, more=True, within_s=20)
        pieces = [next(stream)]
        boss.ask("signal", names=["a"], signal="CONT")
        last = boss.ask("list")["seq"]
        while pieces[-1]["seq"] < last:
            pieces.append(next(stream))
        stream.close()

    assert len(pieces) >= 3
    assert [one["seq"] for piece in pieces for one in piece["events"]] == list(range(1, last + 1))
    assert [piece["events"][-1]["seq"] for piece in pieces] == [one["seq"] for one in pieces]


def test_a_subscription_to_a_counted_name_hears_instances_that_come_later(
    crew: Boss, added: Callable[..., Any]
):
    added("grown", command=SLEEP, count=1)
    with Client(crew.admin_socket) as client:
        stream = client.call(
            "subscribe", {"names": ["grown"], "events": ["hand.added"]}, more=True, within_s=20
        )
        assert next(stream)["events"] == []
        crew.ask("scale", name="grown", count=2)
        heard = next(stream)["events"]
        stream.close()

    assert [one["hand"] for one in heard] == ["grown-1"]


# ---------------------------------------------------------------------------- changing


def test_add_is_answered_when_the_hand_is_ready(crew: Boss, added: Callable[..., Any]):
    (outcome,) = added("late", doers=[]).hands

    assert (outcome.name, outcome.changed, outcome.state) == ("late", True, "ready")
    assert outcome.generation == 1
    assert crew.row("late")["pid"] == outcome.pid
    status = call(crew, "status", name="late")
    assert status.origin == "added at runtime"
    assert status.wanted_by.startswith("root (uid 0, pid ")


def test_add_without_wait_is_answered_when_recorded(crew: Boss, added: Callable[..., Any]):
    (outcome,) = added("soon", wait=None, doers=[]).hands

    assert outcome.changed is True
    assert outcome.state in {"waiting", "starting", "registering"}


def test_adding_the_same_again_changes_nothing(crew: Boss, added: Callable[..., Any]):
    pid = added("same", doers=[]).hands[0].pid

    (outcome,) = added("same", doers=[]).hands

    assert (outcome.changed, outcome.state, outcome.pid) == (False, "ready", pid)


def test_adding_something_else_under_a_taken_name_is_a_conflict(
    crew: Boss, added: Callable[..., Any]
):
    added("taken", command=SLEEP)
    other = {"name": "taken", "command": ["sleep", "2000"]}

    parameters = refused(crew, "Conflict", "add", spec=other)
    (replaced,) = call(crew, "add", spec=other, replace=True, wait="ready", timeout_s=20).hands

    assert (parameters["code"], parameters["name"]) == ("exists", "taken")
    assert (replaced.generation, replaced.state) == (2, "running")


def test_a_bad_spec_is_told_whole_and_nothing_is_done(crew: Boss):
    spec = {"name": "Bad", "doers": ["nocolon"], "restrat": {}, "stop": {"grace_s": "x"}}

    problems = refused(crew, "BadSpec", "add", spec=spec)["problems"]

    assert {one["path"] for one in problems} == {
        "spec.name", "spec.restrat", "spec.doers[0]", "spec.stop.grace_s",
    }  # fmt: skip
    assert all(one["message"] for one in problems)
    assert len(call(crew, "list").hands) == 5


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"name": "many-7", "doers": []}, "spec"),
        ({"name": "boss", "doers": []}, "spec.name"),
        ({"name": "lost", "doers": [], "after": ["nobody"]}, "spec.after[0]"),
        ({"name": "ring", "doers": [], "after": ["ring"]}, "spec.after"),
        ({"name": "both", "doers": [], "command": ["x"]}, "spec"),
        ({"name": "user", "doers": [], "user": "alice"}, "spec.user"),
    ],
)
def test_what_does_not_fit_the_crew_is_refused(crew: Boss, spec: dict, path: str):
    problems = refused(crew, "BadSpec", "add", spec=spec)["problems"]

    assert [one["path"].replace(f"hand.{spec['name']}", "spec") for one in problems] == [path]


def test_stop_and_start_say_what_they_did_and_nothing_the_second_time(
    crew: Boss, added: Callable[..., Any]
):
    pid = added("idem", doers=[]).hands[0].pid
    names = {"names": ["idem"], "timeout_s": 20}

    stopped = call(crew, "stop", wait="gone", **names).hands[0]
    again = call(crew, "stop", wait="gone", **names).hands[0]
    started = call(crew, "start", wait="ready", **names).hands[0]
    twice = call(crew, "start", wait="ready", **names).hands[0]

    assert (stopped.changed, stopped.state, stopped.how, stopped.code) == (
        True,
        "stopped",
        "END",
        0,
    )
    assert 0 < stopped.took_s < 20
    assert (again.changed, again.state) == (False, "stopped")
    assert (started.changed, started.state, started.generation) == (True, "ready", 2)
    assert started.pid != pid
    assert (twice.changed, twice.pid) == (False, started.pid)


def test_restart_gives_another_process(crew: Boss, added: Callable[..., Any]):
    added("again", command=SLEEP, count=2)

    outcomes = call(crew, "restart", names=["again"], wait="ready", timeout_s=20).hands

    assert [(one.name, one.state, one.generation) for one in outcomes] == [
        ("again-0", "running", 2),
        ("again-1", "running", 2),
    ]


def test_more_tells_each_hand_as_it_arrives(crew: Boss, added: Callable[..., Any]):
    added("flow", doers=[], count=3)
    with Client(crew.admin_socket) as client:
        asked = {"names": ["flow"], "wait": "ready", "timeout_s": 20}
        replies = [
            msgspec.convert(one, schema.ChangeReply)
            for one in client.call("restart", asked, more=True, within_s=20)
        ]

    assert sorted(one.name for one in replies[-1].hands) == ["flow-0", "flow-1", "flow-2"]
    assert all(len(one.hands) == 1 for one in replies[:-1])


def test_signal_reaches_the_process(crew: Boss, added: Callable[..., Any]):
    added("sig", command=["sh", "-c", "trap 'exit 7' USR1; while :; do sleep 0.01; done"],
          restart={"policy": "never"})  # fmt: skip

    # Until the shell has set its trap the signal would end it otherwise.
    crew.event("hand.running", "sig")
    (outcome,) = call(crew, "signal", names=["sig"], signal="sigusr1").hands

    assert outcome.changed is True
    row = crew.until("sig", state="failed")
    assert row["reason"] in {"exit 7", "signal 10"}


def test_who_ends_a_hand_by_a_signal_has_asked_for_it(crew: Boss, added: Callable[..., Any]):
    added("slain", command=["sleep", "600"], restart={"policy": "never"})

    crew.ask("signal", names=["slain"], signal="KILL")

    crew.until("slain", state="failed")
    (death,) = crew.ask("status", name="slain")["deaths"]
    assert death["signal"] == 9
    assert death["asked_by"].endswith(f"(uid {os.getuid()}, pid {os.getpid()})")


def test_a_signal_that_does_not_exist_is_refused(crew: Boss):
    parameters = refused(
        crew, "org.varlink.service.InvalidParameter", "signal", names=["first"], signal="NOPE"
    )

    assert parameters["parameter"] == "signal"
    assert parameters["problems"][0]["got"] == "NOPE"


def test_send_reaches_the_hands_that_are_there(crew: Boss, added: Callable[..., Any]):
    added("ear", doers=[])

    sent, not_sent = call(
        crew, "send", names=["ear", "secret"], tag="HELLO", load={"value": 1}
    ).hands

    assert sent.changed is True
    assert (not_sent.changed, not_sent.reason) == (False, "it is stopped")


def test_send_refuses_what_would_be_read_as_a_control_memo(crew: Boss):
    parameters = refused(
        crew, "org.varlink.service.InvalidParameter", "send", names=["first"], tag="END"
    )

    assert parameters["parameter"] == "tag"


def test_remove_is_answered_when_the_hand_is_gone(crew: Boss, added: Callable[..., Any]):
    added("brief", doers=[])

    (outcome,) = call(crew, "remove", names=["brief"], wait="gone", timeout_s=20).hands

    assert (outcome.name, outcome.changed, outcome.how) == ("brief", True, "END")
    assert "brief" not in crew.rows()
    assert not (crew.runtime / "m" / "brief.uxd").exists()
    refused(crew, "NoSuchHand", "remove", names=["brief"])


def test_what_others_come_after_is_not_removed_alone(crew: Boss, added: Callable[..., Any]):
    added("base", doers=[])
    added("upper", doers=[], after=["base"])

    parameters = refused(crew, "Conflict", "remove", names=["base"])
    both = call(crew, "remove", names=["base", "upper"], wait="gone", timeout_s=20).hands

    assert (parameters["code"], parameters["hands"]) == ("needed", ["upper"])
    assert {one.name for one in both} == {"base", "upper"}


def test_one_of_counted_hands_is_not_removed_alone(crew: Boss):
    parameters = refused(crew, "Conflict", "remove", names=["many-0"])

    assert (parameters["code"], parameters["hands"]) == ("counted", ["many-1"])


def test_scale_goes_up_and_down(crew: Boss, added: Callable[..., Any]):
    added("crowd", command=SLEEP, count=1)

    up = call(crew, "scale", name="crowd", count=3, wait="ready", timeout_s=20).hands
    listed = [row.name for row in call(crew, "list", names=["crowd"]).hands]
    down = call(crew, "scale", name="crowd", count=0, wait="gone", timeout_s=20).hands
    same = call(crew, "scale", name="crowd", count=0, wait="ready", timeout_s=20).hands

    assert [(one.name, one.state) for one in up] == [("crowd-1", "running"), ("crowd-2", "running")]
    assert listed == ["crowd-0", "crowd-1", "crowd-2"]
    assert {one.name for one in down} == {"crowd-0", "crowd-1", "crowd-2"}
    assert same == []


def test_a_counted_definition_without_hands_can_be_removed(crew: Boss, added: Callable[..., Any]):
    added("hollow", command=SLEEP, count=0)

    (outcome,) = call(crew, "remove", names=["hollow"], wait="gone", timeout_s=20).hands

    assert (outcome.name, outcome.changed) == ("hollow", True)
    refused(crew, "NoSuchHand", "remove", names=["hollow"])


def test_what_has_no_count_is_not_scaled(crew: Boss):
    assert refused(crew, "Conflict", "scale", name="first", count=2)["code"] == "counted"
    assert refused(crew, "NoSuchHand", "scale", name="fist", count=2)["near"] == ["first"]


def test_a_wait_that_is_too_short_says_how_far_it_went(crew: Boss, added: Callable[..., Any]):
    added("quick", wait=None, command=SLEEP)
    spec = {"name": "slow", "command": SLEEP, "ready": {"by": "notify"}}

    parameters = refused(crew, "Timeout", "add", spec=spec, wait="ready", timeout_s=0.05)
    crew.ask("remove", names=["slow"], wait="gone")

    assert parameters["state"] in {"waiting", "starting"}
    assert [one["name"] for one in parameters["hands"]] == ["slow"]


def test_a_process_the_machine_will_not_make_is_told_at_once(crew: Boss):
    spec = {"name": "odd", "doers": [], "python": "/no/such/python"}

    parameters = refused(crew, "SpawnFailed", "add", spec=spec, wait="ready", timeout_s=20)
    crew.ask("remove", names=["odd"], wait="gone")

    assert (parameters["errno"], parameters["path"]) == (2, "/no/such/python")


@pytest.mark.parametrize(
    ("facts", "step", "path"),
    [
        ({"command": ["/no/such/program"]}, "exec", "/no/such/program"),
        ({"command": ["true"], "cwd": "/no/such/place"}, "cwd", "/no/such/place"),
    ],
)
def test_a_command_that_cannot_be_executed_is_told_and_never_runs(
    crew: Boss, facts: dict, step: str, path: str
):
    spec = {"name": "odd", "restart": {"delay_s": 1000, "max_delay_s": 1000}, **facts}

    parameters = refused(crew, "SpawnFailed", "add", spec=spec, wait="ready", timeout_s=20)

    (why,) = call(crew, "why", names=["odd"]).hands
    crew.ask("remove", names=["odd"], wait="gone")
    assert [parameters[one] for one in ("step", "errno", "path")] == [step, 2, path]
    assert crew.events("hand.spawned", hand="odd") == []
    assert why.state == "backoff"
    assert any(path in text for one in why.findings if one.label == "last" for text in one.lines)


def test_whom_no_process_is_made_for_is_named_and_the_others_are_told(crew: Boss):
    try:
        crew.crew(
            '[hand.extra]\ndoers = []\n[hand.odd]\ndoers = []\npython = "/no/python"\n', "x.toml"
        )
        parameters = refused(crew, "SpawnFailed", "apply", wait="ready", timeout_s=20)
    finally:
        (crew.config / "crew.d" / "x.toml").unlink()
        crew.ask("apply", wait="gone", timeout_s=20)

    assert parameters["name"] == "odd"
    assert parameters["message"].startswith("odd: no process was made: ")
    assert [(one["name"], one["state"]) for one in parameters["hands"]] == [
        ("extra", "ready"), ("odd", "backoff"),
    ]  # fmt: skip
    assert [(one["name"], one["action"]) for one in parameters["changes"]] == [
        ("extra", "add"), ("odd", "add"),
    ]  # fmt: skip


def test_plan_and_apply_follow_the_files(crew: Boss):
    try:
        crew.crew('[hand.extra]\ndoers = []\n[hand.odd]\ncomand = ["x"]\n', "extra.toml")
        broken = call(crew, "plan").problems
        with pytest.raises(AdminError) as caught:
            crew.ask("apply")
        crew.crew("[hand.extra]\ndoers = []\n", "extra.toml")
        planned = call(crew, "plan").changes
        applied = call(crew, "apply", wait="ready", timeout_s=20)
        after = call(crew, "plan").changes
    finally:
        (crew.config / "crew.d" / "extra.toml").unlink()
    removed = call(crew, "apply", wait="gone", timeout_s=20)

    assert broken[0].path == "crew.d/extra.toml: hand.odd.comand"
    assert caught.value.code == "BadSpec"
    assert [(one.name, one.action, one.how) for one in planned] == [("extra", "add", "start")]
    assert [(one.name, one.state) for one in applied.hands] == [("extra", "ready")]
    assert after == []
    assert [(one.name, one.action) for one in removed.changes] == [("extra", "remove")]
    assert "extra" not in crew.rows()


def test_export_is_a_crew_file_that_means_the_same(crew: Boss, bosses: Callable[[], Boss]):
    reply = call(crew, "export")
    other = bosses()
    other.crew(reply.text)
    words = [sys.executable, "-m", "hiod", "check", "--config-dir", str(other.config)]

    checked = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    assert checked.returncode == 0, checked.stderr
    assert "4 definitions" in checked.stdout
    assert 'PASSWORD = "hush"' in reply.text
    assert [one["name"] for one in reply.specs] == ["first", "many", "oneshot", "secret"]
    assert call(crew, "export", names=["many-1"]).specs[0]["count"] == 2


def test_shutdown_says_how_many_it_stops_and_the_boss_ends(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.crew('[hand.a]\ncommand = ["sleep", "60"]\n')
    boss.start()

    reply = call(boss, "shutdown")

    assert reply.hands == 1
    assert boss.client.wait_closed(20)
    assert boss.process is not None
    assert boss.process.wait(20) == 0


def test_whoever_means_all_hands_means_those_that_stay(bosses: Callable[[], Boss]):
    boss = bosses().start()
    deaf = "[ $1 = 0 ] || trap '' TERM; touch deaf; while :; do sleep 0.05; done"
    command = ["sh", "-c", deaf, "sh", "${HIOD_ORDINAL}"]
    boss.add("s", command=command, count=2, stop={"grace_s": 60, "term_s": 0.1})
    wait_until((boss.state / "hands" / "s-1" / "deaf").exists)
    boss.ask("scale", name="s", count=1)
    boss.ask("signal", names=["s-0"], signal="KILL")
    boss.until("s-0", state="backoff")

    told = boss.change("start", "*")

    assert [one["name"] for one in told] == ["s-0"]
    with pytest.raises(AdminError, match="s-1 is leaving"):
        boss.change("start", "s-0", "s-1")
    boss.ask("signal", names=["s-1"], signal="KILL")


def test_hands_that_are_being_stopped_can_no_longer_be_kept(bosses: Callable[[], Boss]):
    boss = bosses().start()
    deaf = f"trap '' TERM; touch {boss.home}/deaf; while :; do sleep 0.05; done"
    boss.add("deaf", command=["sh", "-c", deaf], stop={"grace_s": 1, "term_s": 0.1})
    wait_until((boss.home / "deaf").exists)
    boss.ask("shutdown")

    with pytest.raises(AdminError) as caught:
        boss.ask("shutdown", keep_hands=True)

    assert caught.value.code == "Unavailable"
    assert caught.value.parameters["state"] == "stopping its hands already"
    assert boss.process is not None
    assert boss.process.wait(20) == 0


def test_files_that_are_to_be_read_again_while_all_ends_change_nothing(bosses: Callable[[], Boss]):
    boss = bosses().start()
    deaf = f"trap '' TERM; touch {boss.home}/deaf; while :; do sleep 0.05; done"
    boss.add("deaf", command=["sh", "-c", deaf], stop={"grace_s": 60})
    pid = boss.row("deaf")["pid"]
    wait_until((boss.home / "deaf").exists)
    boss.ask("shutdown")
    boss.crew('[hand.late]\ncommand = ["sleep", "60"]\n')

    boss.process.send_signal(signal.SIGHUP)
    boss.ask("ping")
    os.kill(pid, signal.SIGKILL)

    assert boss.process.wait(20) == 0
    assert "late" not in boss.log()


# ---------------------------------------------------------------------------- who asks


def ask_as(path: Path, uid: int, gid: int, groups: list[int], *methods: str) -> dict[str, str]:
    """Call methods as somebody else; return by method "ok" or the error's short name."""
    program = f"""
import json, os, sys
from hiod.admin.client import Client
from hiod.errors import AdminError
client = Client({str(path)!r})
os.setgroups({groups}); os.setgid({gid}); os.setuid({uid})
said = {{}}
for method, parameters in json.loads(sys.argv[1]):
    try:
        client.call(method, parameters)
        said[method] = "ok"
    except AdminError as error:
        said[method] = error.code.rpartition(".")[2]
        if said[method] == "NotPermitted":
            said[method] += " " + error.parameters["needs"] + " " + error.parameters["have"]
print(json.dumps(said))
"""
    asked = json.dumps([(method, PARAMETERS.get(method, {})) for method in methods])
    ended = subprocess.run(
        [sys.executable, "-c", program, asked],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


GHOST = {"names": ["ghost"]}
PARAMETERS: dict[str, dict[str, Any]] = {
    "status": {"name": "ghost"},
    "start": GHOST,
    "stop": GHOST,
    "restart": GHOST,
    "signal": GHOST | {"signal": "CONT"},
    "send": GHOST | {"tag": "HELLO"},
    "add": {"spec": {}},
    "remove": GHOST,
    "scale": {"name": "ghost", "count": 1},
}
"""What no role can do harm with: all of it is refused for another reason, if it is let through."""
MATRIX = [method for method in schema.METHODS if method.short not in {"subscribe", "shutdown"}]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    ("uid", "gid", "groups", "role"),
    [
        (5001, 5001, [], "admin"),
        (5002, 5002, [], "operate"),
        (5004, 5004, [5003], "read"),
        (5005, 5003, [], "read"),
        (5006, 5006, [], "none"),
    ],
)
def test_each_role_may_do_what_the_table_says_and_no_more(
    crew: Boss, uid: int, gid: int, groups: list[int], role: str
):
    before = crew.rows()

    said = ask_as(crew.admin_socket, uid, gid, groups, *(one.short for one in MATRIX))

    ranks = schema.ROLES
    for method in MATRIX:
        if ranks.index(method.role) > ranks.index(role):
            assert said[method.short] == f"NotPermitted {method.role} {role}", method.short
        else:
            assert not said[method.short].startswith("NotPermitted"), method.short
    assert {name: row["pid"] for name, row in crew.rows().items()} == {
        name: row["pid"] for name, row in before.items()
    }


@contextlib.contextmanager
def line_as(path: Path, uid: int) -> Iterator[Callable[..., dict[str, Any]]]:
    """Connect as somebody else; gives a function that asks over that one connection."""
    with socket.socket(socket.AF_UNIX) as line:
        os.setegid(uid)
        os.seteuid(uid)
        try:
            line.connect(str(path))
        finally:
            os.seteuid(0)
            os.setegid(0)
        with line.makefile("rwb", buffering=0) as file:

            def ask(method: str, **parameters: Any) -> dict[str, Any]:
                request = {"method": method, "parameters": parameters}
                file.write(json.dumps(request).encode() + b"\n")
                return dict(json.loads(file.readline()))

            yield ask


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("how", ["apply", "SIGHUP"])
def test_changed_rules_hold_for_open_connections_too(bosses: Callable[[], Boss], how: str):
    boss = bosses()
    main = boss.config / "hiod.toml"
    main.write_text('[admin]\noperate = ["5002"]\n')
    for folder in (boss.home.parent, boss.home):
        folder.chmod(0o755)
    boss.start()
    boss.admin_socket.chmod(0o666)
    with line_as(boss.admin_socket, 5002) as former, line_as(boss.admin_socket, 5003) as later:
        assert former("about")["parameters"]["role"] == "operate"
        assert later("list")["error"] == "io.hiod.Boss.NotPermitted"

        main.write_text('[admin]\nread = ["5003", "nobody-of-that-name"]\n')
        if how == "apply":
            boss.ask("apply")
        else:
            assert boss.process is not None
            boss.process.send_signal(signal.SIGHUP)
        boss.event("config.reloaded")

        assert former("about")["parameters"]["role"] == "none"
        assert later("list")["parameters"]["hands"] == []
    assert boss.events("admin.unknown")[-1]["facts"]["who"] == "nobody-of-that-name"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_who_asked_is_on_record_and_so_is_who_was_refused(crew: Boss):
    seq = call(crew, "list").seq

    ask_as(crew.admin_socket, 5002, 5002, [], "stop", "remove")

    told = call(crew, "events", since=seq, limit=100).events
    done = [(one.event, one.facts.get("method"), one.facts.get("uid")) for one in told]
    assert done == [("admin.done", "stop", 5002), ("admin.denied", "remove", 5002)]
    assert told[0].facts["outcome"] == "refused: NoSuchHand"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_secrets_are_shown_to_admins_only(crew: Boss):
    program = f"""
import json, os
from hiod.admin.client import Client
client = Client({str(crew.admin_socket)!r})
os.setgroups([]); os.setgid(5002); os.setuid(5002)
print(json.dumps(client.call("status", {{"name": "secret"}})["spec"]["env"]))
"""
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout

    assert json.loads(shown) == {"PASSWORD": "***"}
    assert call(crew, "status", name="secret").spec["env"] == {"PASSWORD": "hush"}


# ---------------------------------------------------------------------------- other clients


@pytest.mark.parametrize("end", [b"\n", b"\0"], ids=["newline", "NUL"])
def test_requests_end_in_newline_or_nul_and_so_do_replies(crew: Boss, end: bytes):
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(crew.admin_socket))
        line.sendall(b'{"method":"ping","id":1}' + end + b'{"method":"io.hiod.Boss.Ping"}' + end)
        line.shutdown(socket.SHUT_WR)
        with line.makefile("rb") as file:
            told = file.read()

    assert told == b'{"parameters":{},"id":1}' + end + b'{"parameters":{}}' + end


def test_a_stock_varlink_client_reads_the_interface_calls_and_follows(
    crew: Boss, added: Callable[..., Any]
):
    added("vl", doers=[])
    client = varlink.Client(f"unix:{crew.admin_socket}")
    try:
        with client.open("io.hiod.Boss") as boss:
            listed = boss.List(names=["vl"])
            restarted = list(boss.Restart(names=["vl"], wait="ready", timeout_s=20.0, _more=True))
            with pytest.raises(varlink.VarlinkError) as caught:
                boss.Status(name="vll")
    finally:
        client.cleanup()

    assert listed["hands"][0]["name"] == "vl"
    assert restarted[-1]["hands"][0]["state"] == "ready"
    assert caught.value.error() == "io.hiod.Boss.NoSuchHand"
    assert "vl" in caught.value.parameters()["near"]
