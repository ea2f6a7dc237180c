from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import pytest
from support.lives import Life, in_state, spec

from hiod.admin import schema
from hiod.boss import explaining, views
from hiod.boss.stations import Station
from hiod.boss.views import Clock
from hiod.host.store import SavedDeath, SavedEvent
from hiod.rules import health
from hiod.rules import records as r
from hiod.rules.records import Hand, State
from hiod.rules.sandbox import Mount, Sandbox

CLOCK = Clock(now=100.0, offset=1.5e9)
STATION = Station("/r/m/web.uxd")


def death(**kept: object) -> SavedDeath:
    return SavedDeath("web", 1.5e9, orjson.dumps(kept).decode())


def test_tyme_is_shown_as_wall_time() -> None:
    assert CLOCK.iso(99.5) == "2017-07-14T02:41:39.500Z"
    assert CLOCK.iso(None) is None


@pytest.mark.parametrize("state", State)
def test_a_hand_in_any_state_has_a_row(state: State) -> None:
    hand = in_state(state).hand

    row = views.row(hand, STATION, CLOCK, "1.0")

    assert (row.name, row.spec, row.state) == ("web", "web", str(state))
    assert row.pid == (None if hand.process is None else hand.process.pid)
    assert row.reason == hand.reason


@pytest.mark.parametrize("state", [State.READY, State.RUNNING])
def test_a_hand_that_is_well_has_nothing_to_say_but_its_own_words(state: State) -> None:
    hand = in_state(state).hand

    assert views.row(hand, STATION, CLOCK, "1.0").status == ""
    said = replace(hand, status="3 senders")
    assert views.row(said, STATION, CLOCK, "1.0").status == "3 senders"


def test_a_list_made_of_rows_that_are_text_is_what_the_table_says() -> None:
    hand = in_state(State.READY).hand
    text = views.row_text(hand, STATION, CLOCK, "1.0")

    for count in (0, 1, 3):
        around = schema.ListReply(hands=[], seq=7, pending=2, files='broken: "hands":[')
        told = views.spliced(around, "hands", [text] * count)
        reply = msgspec.json.decode(told, type=schema.ListReply)
        assert (reply.seq, reply.pending, reply.files) == (7, 2, 'broken: "hands":[')
        assert reply.hands == [views.row(hand, STATION, CLOCK, "1.0")] * count


def test_a_row_is_made_anew_when_what_it_shows_has_changed() -> None:
    station = Station("/r/m/web.uxd")
    hand = in_state(State.READY).hand
    first = views.row_text(hand, station, CLOCK, "1.0")

    assert views.row_text(hand, station, CLOCK, "1.0") is first
    said = views.row_text(replace(hand, status="3 senders"), station, CLOCK, "1.0")
    assert b"3 senders" in said
    station.beat = {"lag_ms": 7.5}
    assert b'"lag_ms":7.5' in views.row_text(hand, station, CLOCK, "1.0")


def test_a_hand_that_failed_says_why() -> None:
    hand = in_state(State.FAILED).hand

    assert views.row(hand, STATION, CLOCK, "1.0").status == "gave up: exit 3"


@pytest.mark.parametrize("clear", [False, True])
def test_secrets_are_shown_to_those_who_may_see_them(clear: bool) -> None:
    hand = Hand("web", spec(env={"TOKEN": "s3cret"}))

    status = views.status(
        hand,
        STATION,
        CLOCK,
        version="1.0",
        clear=clear,
        tree=(),
        deaths=(),
        source="runtime",
        log="journal",
    )

    assert status.spec["env"] == {"TOKEN": "s3cret" if clear else "***"}
    assert status.origin == "added at runtime"
    assert status.process is None


@pytest.mark.parametrize(
    ("state", "plan"),
    [
        (State.BACKOFF, "start in 0.5 s"),
        (State.STOPPING, "SIGTERM in 10.0 s unless it ends"),
        (State.REGISTERING, "a failure in 10.0 s unless it is ready"),
        (State.FAILED, "nothing until it is started: hiodctl start web"),
        (State.READY, None),
        (State.STOPPED, None),
    ],
)
def test_what_comes_next_is_told(state: State, plan: str | None) -> None:
    life = in_state(state)

    assert views.plan(life.hand, STATION, Clock(life.now, 1.5e9)) == plan


def unwell(stack: str = "", on_fail: str = "restart") -> tuple[Hand, Station]:
    hand = in_state(State.DEGRADED).hand
    limits = replace(hand.spec.health, on_fail=on_fail)
    hand = replace(hand, spec=replace(hand.spec, health=limits))
    station = Station("/r/m/web.uxd")
    begun = health.begin(95.0, beats=True)
    station.health = replace(begun, verdict=health.Verdict.STUCK, why=("3 beats missed",))
    station.hear_beat({}, 80.0)
    station.sample = health.Sample(at=99.0, status="R", cpu_percent=99.5, rss_bytes=3 << 20)
    station.stack = stack
    return hand, station


def test_a_hand_that_is_not_well_is_restarted_next_if_its_definition_says_so() -> None:
    assert views.plan(*unwell(), CLOCK) == (
        "restart in 10.0 s unless it gets well (health.on_fail = restart)"
    )
    assert views.plan(*unwell(on_fail="dump"), CLOCK) is None


STACK = """Thread 0x2 (most recent call first):
  File "/srv/app/other.py", line 1 in other

Current thread 0x1 (most recent call first):
  File "/srv/app/feed.py", line 41 in poll
  File "/srv/app/feed.py", line 19 in recur
  File "/usr/lib/hiod/lib/python3.11/site-packages/hiod/base/doing.py", line 98 in do
  File "/usr/lib/hiod/lib/python3.11/site-packages/hiod/__main__.py", line 27 in <module>
  File "<frozen runpy>", line 88 in _run_code
"""


def status_of(hand: Hand, station: Station, **facts: Any) -> schema.Status:
    return views.status(
        hand, station, CLOCK, version="1.0", clear=True, tree=(), deaths=(), source="", log="null",
        **facts,
    )  # fmt: skip


def test_status_says_where_a_hand_stands_that_is_not_well() -> None:
    hand, station = unwell(STACK)

    process = status_of(hand, station).process

    assert process is not None
    assert (process.doing, process.doing_s) == ("feed.py:41 poll", 20.0)
    assert station.health is not None
    station.health = replace(station.health, verdict=health.Verdict.OK)
    process = status_of(hand, station).process
    assert process is not None
    assert process.doing is None


@pytest.mark.parametrize("mail", [True, False, None])
def test_status_and_why_know_whether_memos_wait(mail: bool | None) -> None:
    hand, station = unwell()

    found = explain(hand, station, mail=mail)["memos"][0]

    assert status_of(hand, station, mail=mail).memo.waiting is mail
    assert found.endswith("; memos wait in its mailbox") == bool(mail)


def test_status_and_why_tell_of_lost_memos_and_why_the_latest_were() -> None:
    hand, station = unwell()
    why = 'name "feeder" never came into the book'
    station.hear_beat(
        {"dead": 3000, "drops": 1, "dead_why": why, "drop_why": "a\tb" + "x" * 999}, 99
    )

    memo = status_of(hand, station).memo

    assert memo is not None
    assert (memo.dead_letters, memo.dead_why) == (3000, why)
    assert (memo.drops, memo.drop_why) == (1, "a b" + "x" * 197)
    assert explain(hand, station)["memos"][1:] == [
        f"3000 dead letters; last: {why}",
        f"1 memo dropped; last: {memo.drop_why}",
    ]


@pytest.mark.parametrize("beat", [{}, {"dead": 0, "drops": 0}, {"dead": "3", "dead_why": "x"}])
def test_where_no_memo_was_lost_none_is_told_of(beat: dict) -> None:
    hand, station = unwell()
    station.hear_beat(beat, 99)

    assert len(explain(hand, station)["memos"]) == 1


@pytest.mark.parametrize("said", [None, 3, ["a"], "", " \n"])
def test_what_is_no_reason_is_none(said: object) -> None:
    hand, station = unwell()
    station.hear_beat({"dead": 2, "dead_why": said}, 99)

    memo = status_of(hand, station).memo

    assert memo is not None
    assert memo.dead_why is None
    assert explain(hand, station)["memos"][1:] == ["2 dead letters"]


def test_why_shows_a_hands_own_frames_and_not_those_that_run_it() -> None:
    found = explain(*unwell(STACK))

    assert found["so"] == [
        "a Doer computes without yielding",
        "3 beats missed",
        '  File "/srv/app/feed.py", line 41 in poll',
        '  File "/srv/app/feed.py", line 19 in recur',
    ]


def test_a_row_says_when_a_hand_is_started_again() -> None:
    hand = in_state(State.BACKOFF).hand

    told = views.row(hand, Station("/r/m/web.uxd"), CLOCK, "1.0")

    assert told.next == CLOCK.iso(hand.wake_at)


def test_a_hand_that_was_told_to_end_is_killed_next() -> None:
    life = in_state(State.STOPPING)

    life.time_comes()
    told = views.plan(life.hand, STATION, Clock(life.now, 1.5e9))
    assert life.time_comes()[-1] == r.Sweep("web")
    killed = views.plan(life.hand, STATION, Clock(life.now, 1.5e9))

    assert told == "SIGKILL in 5.0 s unless it ends"
    assert killed == "SIGKILL again in 5.0 s unless it ends"


def test_a_command_that_was_asked_by_sigterm_is_killed_next_and_says_so() -> None:
    life = in_state(State.RUNNING)
    life.feed(r.StopAsked("ann"))

    told = views.plan(life.hand, STATION, Clock(life.now, 1.5e9))

    assert told == "SIGKILL in 10.0 s unless it ends"


@pytest.mark.parametrize(
    ("kept", "reason", "known"),
    [
        ({"code": 3, "gist": "KeyError: 1"}, "exit 3: KeyError: 1", True),
        ({"code": 0}, "exit 0", True),
        ({"signal": 11, "core": True}, "signal 11", True),
        ({}, "unknown", False),
    ],
)
def test_a_death_is_told_and_never_invented(kept: dict, reason: str, known: bool) -> None:
    told = views.death(death(generation=4, **kept))

    assert (told.reason, told.known, told.generation) == (reason, known, 4)


def test_a_kept_event_and_a_live_one_are_told_alike() -> None:
    facts = {"hand": "web", "generation": 2}
    kept = SavedEvent(7, 1.5e9, "web", "hand.registered", orjson.dumps(facts).decode())

    told = views.event(kept)

    assert told == views.live_event(seq=7, at=1.5e9, event="hand.registered", facts=facts)
    assert (told.message, told.level, told.hand) == ("web: registered", "info", "web")


def explain(hand: Hand, station: Station, **facts) -> dict[str, list[str]]:
    asked = {"deaths": (), "waiting": ("mail",), **facts}
    told = explaining.why(hand, station, CLOCK, **asked)
    return {finding.label: list(finding.lines) for finding in told.findings}


def test_why_a_hand_is_gone_names_its_death_and_how_it_ran() -> None:
    hand = in_state(State.FAILED).hand
    last = views.death(
        death(code=1, uptime_s=2.0, words="Traceback (most recent call last):\nKeyError: 1")
    )

    found = explain(hand, STATION, deaths=[last])

    assert found["last"] == [
        "exit 1, 2.0 s after its start; nobody asked; at 2017-07-14T02:40:00.000Z",
        "  KeyError: 1",
    ]
    assert found["ran as"] == ["only its Crewer; path: nothing added; the python of the boss"]
    assert found["waits"] == ["for it: mail"]


def test_what_a_program_printed_last_is_told_as_that_and_once() -> None:
    said = "Serving HTTP on 0.0.0.0"
    last = views.death(death(signal=11, gist=f'last said "{said}"', words=said))

    (told,) = explain(in_state(State.FAILED).hand, STATION, deaths=[last])["last"]

    assert told == f'signal 11: last said "{said}"; nobody asked; at 2017-07-14T02:40:00.000Z'


def test_of_a_stack_that_was_kept_with_a_death_the_innermost_frames_are_shown() -> None:
    deep = [f'  File "/srv/app/feed.py", line {line} in step{line}' for line in range(40)]
    dump = "\n".join(["Current thread 0x00007f (most recent call first):", *deep])
    last = views.death(death(signal=9, asked_by="hiod: silent", words=dump))

    found = explain(in_state(State.FAILED).hand, STATION, deaths=[last])["last"]

    assert found[1] == '  File "/srv/app/feed.py", line 0 in step0'
    assert found[-1] == "  …"


def test_of_a_traceback_the_authors_line_is_shown_and_a_dump_after_it_is_not() -> None:
    ours = [
        f'  File "/x/hiod/base/crewing.py", line {line}, in tell\n    tojson()' for line in range(9)
    ]
    author = '  File "/srv/app/feed.py", line 41, in poll'
    head, raised = "Traceback (most recent call last):", "TypeError: no set"
    dump = ["Current thread 0x1 (most recent call first):", '  File "/x/y.py", line 1 in wait'] * 9
    kept = "\n".join([head, author, *ours, raised, *dump])

    (_, *told) = explain(
        in_state(State.FAILED).hand,
        STATION,
        deaths=[views.death(death(code=1, gist=raised, words=kept))],
    )["last"]

    assert told == [f"  {line}" for line in (head, author, raised)]


def test_why_a_hand_is_stuck_shows_its_witnesses_and_its_stack() -> None:
    hand = in_state(State.DEGRADED).hand
    station = Station("/r/m/web.uxd")
    begun = health.begin(0.0, beats=True)
    station.health = replace(begun, verdict=health.Verdict.STUCK, why=("no beat for 15 s",))
    station.hear_beat({}, 79.0)
    station.sample = health.Sample(at=99.0, status="R", cpu_percent=99.5, rss_bytes=3 << 20)
    station.stack = "\n".join(f"line {number}" for number in range(20))

    found = explain(hand, station)

    assert found["memos"] == ["last beat 21.0 s ago, 3 of 3 missed"]
    assert found["process"] == ["1001 running, 99.5 % CPU, RSS 3 MiB"]
    assert found["so"][:2] == ["a Doer computes without yielding", "no beat for 15 s"]
    assert len(found["so"]) == 15
    assert "  …" in found["so"]
    assert "  line 9" in found["so"]
    assert "ran as" not in found


def test_why_a_hand_has_no_process_yet_names_its_launcher() -> None:
    station = Station("/r/m/web.uxd", launcher=SimpleNamespace(pid=77, python="/p"))

    found = explain(in_state(State.STARTING).hand, station)

    assert found["process"] == [
        "launcher pid 77 is to make it and has not answered; 20 s of that fail"
    ]
    assert "process" not in explain(in_state(State.REGISTERING).hand, station)
    assert "process" not in explain(in_state(State.BACKOFF).hand, station)


@pytest.mark.parametrize(
    ("state", "verbs"),
    [
        (State.STOPPED, ["start", "logs"]),
        (State.BACKOFF, ["stop", "logs"]),
        (State.READY, ["restart", "stop", "logs"]),
    ],
)
def test_what_can_be_done_is_named(state: State, verbs: list[str]) -> None:
    told = explaining.why(in_state(state).hand, STATION, CLOCK, deaths=(), waiting=())

    assert told.can == [f"hiodctl {verb} web" for verb in verbs]


def test_a_command_hand_sends_no_heartbeats() -> None:
    life = Life(command=["sh", "-c", "sleep 9; exit"])
    life.up()
    station = Station("/r/m/web.uxd")
    station.health = health.begin(0.0, beats=False)

    assert explain(life.hand, station)["memos"] == [
        "sends no heartbeats: only its process is watched"
    ]
    life.exited(r.End(code=1))
    assert explain(life.hand, station)["ran as"] == ["sh -c 'sleep 9; exit'"]


HOMELESS = Sandbox(
    unit="hiod.service", mounts=(Mount("/home", "/inaccessible/dir", "tmpfs", narrowed=True),)
)
UNREACHED = '[Errno 13] Permission denied: "/home/app"'


def laid_to(sandbox: Sandbox, station: Station = STATION, **kept: object) -> dict[str, list[str]]:
    hand = in_state(State.FAILED).hand
    deaths = [views.death(death(**kept))] if kept else []
    told = explaining.why(hand, station, CLOCK, deaths=deaths, waiting=(), sandbox=sandbox)
    return {finding.label: list(finding.lines) for finding in told.findings}


def test_why_lays_an_end_to_the_unit_and_says_what_to_write() -> None:
    found = laid_to(HOMELESS, code=1, gist=UNREACHED)

    assert found["sandbox"] == ["ProtectHome=yes of hiod.service: it hides /home/app"]
    assert found["try"] == [
        "systemctl edit hiod.service, and write there:",
        "  [Service]",
        "  ProtectHome=read-only",
        "then systemctl restart hiod.service; hiodctl start web",
        "the unit's user needs the right to enter it, too",
    ]


def test_a_unit_of_a_user_is_edited_by_its_user() -> None:
    found = laid_to(replace(HOMELESS, user=True), code=1, gist=UNREACHED)

    assert found["try"][0] == "systemctl --user edit hiod.service, and write there:"
    assert found["try"][3] == "then systemctl --user restart hiod.service; hiodctl start web"


@pytest.mark.parametrize("kept", [{}, {"code": 0}, {"code": 1, "asked_by": "root"}])
def test_an_end_that_was_no_failure_is_laid_to_nothing(kept: dict) -> None:
    assert "sandbox" not in laid_to(HOMELESS, **({"gist": UNREACHED, **kept} if kept else {}))


@pytest.mark.parametrize(
    ("refused", "laid"),
    [
        (r.Refused("exec", "cannot execute", 13, "/home/app/serve"), True),
        (r.Refused("launcher", 'cannot run "/home/app/python": Permission denied'), True),
        (r.Refused("fork", "cannot fork", 11), False),
    ],
)
def test_a_process_that_could_not_be_made_is_laid_to_the_unit_too(refused, laid: bool) -> None:
    station = Station("/r/m/web.uxd", refused=refused)

    assert ("sandbox" in laid_to(HOMELESS, station)) is laid


def findings(told: object) -> dict[str, list[str]]:
    return {one.label: one.lines for one in told.findings}


@pytest.mark.parametrize(
    "reason",
    [
        "cannot be started: no such file: /x; try 2 of 5",
        "gave up: cannot be started: no such file: /x",
    ],
)
def test_why_no_process_was_made_is_known_to_the_next_boss_too(reason: str) -> None:
    hand = replace(in_state(State.FAILED).hand, reason=reason)

    told = explaining.why(hand, Station("/r/m/web.uxd"), CLOCK, deaths=(), waiting=())

    assert findings(told)["last"] == ["no process was made: no such file: /x"]


def test_a_hand_that_is_up_again_tells_of_its_failures() -> None:
    hand = replace(in_state(State.READY).hand, failures=(10.0, 90.0))

    told = explaining.why(hand, STATION, CLOCK, deaths=(), waiting=())

    assert told.summary == f"web is ready: {hand.reason}; 1 failure in the last 60 s (limit 5)"


@pytest.mark.parametrize(
    ("asked_by", "told"),
    [
        ("", "nobody asked"),
        ("ann (uid 1, pid 2)", "asked by ann (uid 1, pid 2)"),
        (
            "hiod: not ready in 3 s: it did not register",
            "ended by hiod: not ready in 3 s: it did not register",
        ),
    ],
)
def test_who_ended_a_hand_is_told_and_what_for_if_it_was_hiod(asked_by: str, told: str) -> None:
    last = views.death(death(signal=15, asked_by=asked_by))

    why = explaining.why(in_state(State.FAILED).hand, STATION, CLOCK, deaths=(last,), waiting=())

    assert told in findings(why)["last"][0]


@pytest.mark.parametrize(("log", "shown"), [("journal", True), ("/l", True), ("inherit", False)])
def test_logs_are_offered_only_where_there_are_any(log: str, shown: bool) -> None:
    told = explaining.why(
        in_state(State.FAILED).hand, STATION, CLOCK, deaths=(), waiting=(), log=log
    )

    assert ("hiodctl logs web" in told.can) == shown
    assert "hiodctl start web" in told.can


def test_one_that_pauses_is_in_backoff() -> None:
    told = explaining.why(in_state(State.BACKOFF).hand, STATION, CLOCK, deaths=(), waiting=())

    assert told.summary.startswith("web is in backoff: exit 3; try 1 of 5 in ")


def finished(times: int = 1, **keys: Any) -> Hand:
    """Return a hand that has done its work and exited 0 so often, and was to go on for ever."""
    life = Life(**keys)
    life.begin()
    for left in range(times - 1, -1, -1):
        life.exited(r.End(code=0))
        if left:
            life.again()
    return life.hand


RESTS = 'restart.policy = "on-failure", or ready.by = "exit" of a one-shot, in'


@pytest.mark.parametrize(
    ("keys", "times"),
    [({}, 1), ({"command": ["true"]}, 1), ({"restart": {"limit": 1}}, 2)],
)
def test_one_that_is_started_again_though_it_has_done_its_work_is_offered_rest(
    keys: dict, times: int
) -> None:
    hand = finished(times, **keys)
    assert hand.state in {State.BACKOFF, State.FAILED}

    found = explain(hand, STATION, deaths=[views.death(death(code=0))])

    assert found["try"] == [f"{RESTS} its definition, then hiodctl add --replace web …"]
    hand = replace(hand, spec=replace(hand.spec, origin="crew.d/web.toml", line=3))
    found = explain(hand, STATION, deaths=[views.death(death(code=0))])
    assert found["try"] == [f"{RESTS} crew.d/web.toml:3, then hiodctl apply"]


def test_rest_is_offered_to_one_that_is_up_once_more_too() -> None:
    hand = replace(in_state(State.READY).hand, failures=(99.0,), end=r.End(code=0))

    assert "try" in explain(hand, STATION, deaths=[views.death(death(code=0))])


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (State.BACKOFF, {"code": 3}),
        (State.BACKOFF, {"signal": 15}),
        (State.BACKOFF, {"code": 0, "asked_by": "hiod: not ready in 3 s: no REG"}),
        (State.DONE, {"code": 0}),
        (State.STOPPED, {"code": 0}),
        (State.READY, {"code": 0}),
    ],
)
def test_rest_is_not_offered_to_others(state: State, kept: dict) -> None:
    assert "try" not in explain(in_state(state).hand, STATION, deaths=[views.death(death(**kept))])


@pytest.mark.parametrize("policy", ["on-failure", "never"])
def test_rest_is_not_offered_to_one_that_has_it(policy: str) -> None:
    hand = in_state(State.BACKOFF).hand
    hand = replace(hand, spec=replace(hand.spec, restart=replace(hand.spec.restart, policy=policy)))

    assert "try" not in explain(hand, STATION, deaths=[views.death(death(code=0))])
