"""What a person reads, to the letter."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from hiod.admin import schema
from hiod.ctl.render import boss, changes, figures, hand, refusals, tables
from hiod.errors import AdminError

NOW = datetime(2026, 5, 8, 3, 12, 26, tzinfo=UTC)
PIPED = figures.View(NOW, UTC)
SEEN = figures.View(NOW, UTC, person=True)
PAINTED = SEEN._replace(colour=True)


def ago(**span):
    return (NOW - timedelta(**span)).isoformat().replace("+00:00", "Z")


def built(struct):
    return msgspec.to_builtins(struct)


def row(name, state="ready", **more):
    return schema.Row(name=name, spec=name, state=state, **more)


def crew_of(*rows, **more):
    return built(schema.ListReply(hands=list(rows), **more))


MOCK = (
    row("store", pid=1, health="ok", ready_since=ago(days=6, hours=4), rss=41 << 20, cpu=0.3,
        lag_ms=2, status="12804 readings"),
    row("sampler-0", pid=2, health="ok", ready_since=ago(days=6, hours=4), rss=22 << 20, cpu=0.1,
        lag_ms=1, older=True),
    row("sampler-1", "degraded", pid=3, health="stuck", ready_since=ago(hours=2, minutes=11),
        since=ago(seconds=4), restarts=1, rss=23 << 20, cpu=99.8, reason="no beat 19 s",
        status="3 feeds"),
    row("web", "running", pid=4, ready_since=ago(days=6, hours=4), rss=188 << 20, cpu=1.4,
        status="Gunicorn arbiter booted"),
    row("worker", "backoff", restarts=3, reason="signal 11; try 4 in 3.2 s"),
    row("nightly", "stopped", wanted="down", since=ago(days=2, hours=3), reason="by alice"),
)  # fmt: skip


def test_a_terminal_sees_the_crew_in_eighty_columns():
    text = tables.crew(crew_of(*MOCK, pending=1), SEEN)

    assert text == (
        "NAME       STATE     HEALTH  UP     RST   RSS   CPU  LAG  STATUS\n"
        "store      ready     ok      6d04h    0   41M   0.3  2ms  12804 readings\n"
        "sampler-0* ready     ok      6d04h    0   22M   0.1  1ms\n"
        "sampler-1  degraded  stuck   2h11m    1   23M  99.8    -  no beat 19 s\n"
        "web        running   -       6d04h    0  188M   1.4    -  Gunicorn arbiter boot…\n"
        "worker     backoff   -       -        3     -     -    -  signal 11; try 4 in 3…\n"
        "nightly    stopped   -       -        0     -     -    -  by alice, 2 d ago\n"
        "6 hands: 2 ready, 1 running, 1 degraded, 1 backoff, 1 stopped\n"
        "* older hiod\n"
        "1 change pending: hiodctl plan\n"
    )


def test_a_program_sees_every_word_a_dash_for_none_and_no_footer():
    text = tables.crew(crew_of(*MOCK, pending=1), PIPED)

    assert text == (
        "NAME       STATE     HEALTH  UP     RST   RSS   CPU  LAG  STATUS\n"
        "store      ready     ok      6d04h    0   41M   0.3  2ms  12804 readings\n"
        "sampler-0* ready     ok      6d04h    0   22M   0.1  1ms  -\n"
        "sampler-1  degraded  stuck   2h11m    1   23M  99.8    -  no beat 19 s\n"
        "web        running   -       6d04h    0  188M   1.4    -  Gunicorn arbiter booted\n"
        "worker     backoff   -       -        3     -     -    -  signal 11; try 4 in 3.2 s\n"
        "nightly    stopped   -       -        0     -     -    -  by alice, 2 d ago\n"
    )


def test_a_short_footer_stands_on_one_line():
    text = tables.crew(crew_of(row("a"), files="crew.d/a.toml: broken"), SEEN)

    assert text.splitlines()[-1] == "1 hand: 1 ready  the crew files are broken: hiodctl plan"


def test_an_empty_crew_gets_a_hint_at_a_terminal_and_only_there():
    assert tables.crew(crew_of(), SEEN) == (
        "no hands yet; try: hiodctl add hello --doer hiod.demo:Ticker\n"
    )
    assert tables.crew(crew_of(), PIPED).splitlines() == [
        "NAME  STATE  HEALTH  UP     RST   RSS   CPU  LAG  STATUS"
    ]


LONG = "a-name-of-over-thirty-letters-it-is"


@pytest.mark.parametrize("columns", [20, 40, 50, 60, 80, 132, 200])
def test_no_line_is_wider_than_the_terminal_whatever_is_in_it(columns):
    rows = [row(f"{LONG}-{n}", state, pid=9, rss=10**12, cpu=1600.0, restarts=99, lag_ms=99999,
                older=n == 3, status="s" * 200, reason="r" * 200)
            for n, state in enumerate(tables.STATES)]  # fmt: skip
    view = SEEN._replace(columns=columns)

    lines = tables.crew(crew_of(*rows, pending=3, files="no"), view).splitlines()

    assert max(len(line) for line in lines) <= columns
    assert all(line.split()[0].rstrip("*").endswith(f"-{n}") for n, line in enumerate(lines[1:10]))


@pytest.mark.parametrize(
    ("columns", "head"),
    [(50, ["NAME", "STATE"]), (60, ["NAME", "STATE", "STATUS"]),
     (80, ["NAME", "STATE", "HEALTH", "UP", "RST", "STATUS"]), (200, list(tables.HEAD))],
)  # fmt: skip
def test_names_stay_whole_where_columns_can_go_instead(columns, head):
    rows = [row(f"{LONG}-{n}", pid=9, health="ok", status="s" * 200) for n in range(3)]

    first, *lines = tables.crew(crew_of(*rows), SEEN._replace(columns=columns)).splitlines()

    assert first.split() == head
    assert [line.split()[0] for line in lines[:3]] == [f"{LONG}-{n}" for n in range(3)]
    assert columns == 50 or "s…" in lines[0]


def test_a_column_goes_only_when_there_is_no_room_for_it():
    rows = [row("a", pid=9, health="ok", rss=1 << 20, status="x")]

    assert tables.crew(crew_of(*rows), SEEN._replace(columns=61)).split()[:9] == list(tables.HEAD)


def test_wide_letters_are_counted_as_the_cells_they_take():
    rows = [row("a", status="\u8a08\u6e2c" * 40), row("b", status="e\u0301" * 60)]

    _, wide, combined, *_ = tables.crew(crew_of(*rows), SEEN).splitlines()

    assert figures.width(wide) in (79, 80)
    assert figures.width(combined) == 80


def test_colour_stays_out_of_the_columns_width():
    plain = tables.crew(crew_of(*MOCK), SEEN)
    painted = tables.crew(crew_of(*MOCK), PAINTED)

    assert "\x1b[33mdegraded\x1b[0m" in painted
    for code in (*figures.PAINT.values(), "0"):
        painted = painted.replace(f"\x1b[{code}m", "")
    assert painted == plain


def test_a_hand_cannot_write_control_characters_onto_a_terminal():
    text = tables.crew(crew_of(row("a", status="x\x1b[2Jy\nz")), SEEN)

    assert "\x1b" not in text
    assert "x [2Jy z" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-3, "0s"), (0.9, "0s"), (59, "59s"), (61, "1m01s"), (7860, "2h11m"),
     (86400 * 6 + 14400, "6d04h"), (86400 * 99, "99d00h"), (86400 * 400, "400d"),
     (86400 * 9999, "9999d"), (86400 * 10000, ">9999d"), (1e305, ">9999d")],
)  # fmt: skip
def test_durations_take_six_characters_at_most(seconds, text):
    assert figures.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0B"), (999, "999B"), (1000, "1K"), (41 << 20, "41M"), (1023 << 20, "1.0G"),
     (1536 << 20, "1.5G"), (12 << 30, "12G"), (3 << 40, "3.0T"), (5000 << 40, "5000T")],
)  # fmt: skip
def test_sizes_are_said_in_the_unit_that_fits(count, text):
    assert figures.size(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.04, "0.0"), (99.8, "99.8"), (99.96, "100"), (412.3, "412")],
)
def test_percent_takes_four_characters(value, text):
    assert figures.percent(value) == text


def test_who_is_quoted_cannot_write_control_characters_onto_a_terminal():
    assert figures.printable("no \x1b[31m here\n  a\tb: \x07") == "no  [31m here\n  a b:"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.4, "0ms"),
        (999, "999ms"),
        (999.6, "1.0s"),
        (1500, "1.5s"),
        (12000, "12s"),
        (1e308, ">9999d"),
        (-1e308, "0ms"),
    ],
)
def test_lag_is_said_in_milliseconds_until_it_is_seconds(value, text):
    assert figures.lag(value) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [({"seconds": 5}, "4 s ago"), ({"minutes": 3}, "3 min ago"), ({"hours": 5}, "5 h ago")],
)
def test_how_long_ago_is_said_in_one_unit(span, text):
    assert figures.ago(timedelta(**span).total_seconds() - 0.5 * ("seconds" in span)) == text


def test_instants_are_shown_in_the_readers_zone_and_as_near_as_needed():
    view = PIPED._replace(tz=timezone(timedelta(hours=2)))

    assert figures.when("2026-05-08T03:12:22.041Z", view) == "05:12:22"
    assert figures.when("2026-05-07T20:00:00Z", view) == "Thu 22:00:00"
    assert figures.when("2026-01-02T03:04:05Z", view) == "2026-01-02 05:04"
    assert figures.when("2026-05-08T03:12:22", view) == "05:12:22"
    assert figures.when("", view) == figures.when(None, view) == figures.when("soon", view) == "-"


STATUS = schema.Status(
    name="sampler-1", state="degraded", health="stuck", pid=5102, generation=2, restarts=1,
    since=ago(seconds=4), ready_since=ago(hours=2, minutes=11), status="3 feeds, 1 behind",
    reason="3 beats missed", older=True, spec={"name": "sampler"}, origin="crew.d/demo.toml",
    log="journal",
    process=schema.ProcessFacts(
        pid=5102, adopted=ago(minutes=32), python="/srv/app/venv/bin/python", rss=23 << 20,
        rss_most=25 << 20, rss_max=512 << 20, cpu=99.8, fds=14, threads=2,
        doing="feed.py:41 Sampler.poll", doing_s=19.2,
        tree=[schema.TreeProcess(pid=5102, ppid=1, name="python"),
              schema.TreeProcess(pid=5119, ppid=5102, name="gzip")],
    ),
    memo=schema.MemoFacts(
        address="/run/hiod/m/sampler-1.uxd", registered=True, beat=ago(seconds=19), beat_s=5,
        missed=3, misses=3, lag_ms=4, received=88201, sent=88190, outbox=0, dead_letters=0,
        waiting=True,
    ),
    restart=schema.RestartFacts(policy="always", restarts=1, failures=0, limit=5, window_s=60,
                                plan="restart at 03:12:37 unless it beats"),
    deaths=[schema.Death(at=ago(hours=2, minutes=11, seconds=1), signal=11, core=True,
                         uptime_s=266400)],
)  # fmt: skip


def test_status_counts_dropped_memos_where_there_are_any():
    memo = built(STATUS)["memo"]

    some = hand.status({**built(STATUS), "memo": {**memo, "drops": 2}}, (), PIPED)
    none = hand.status({**built(STATUS), "memo": {**memo, "drops": 0}}, (), PIPED)

    assert "  dead letters 0  drops 2; some wait in its mailbox\n" in some
    assert "drops" not in none


def test_status_says_all_about_a_hand_in_one_block():
    text = hand.status(built(STATUS), ["03:12:07 reconnecting to feed c"], SEEN)

    assert text == (
        "● sampler-1  degraded (stuck) since 03:12:22, 4 s ago           crew.d/demo.toml\n"
        "    Wanted: up      Ready: 01:01:26 (2h11m)\n"
        "  Restarts: 1      Failures: 0 of 5 in 60 s\n"
        "   Process: 5102, generation 2, adopted 02:40:26, older hiod,\n"
        "            /srv/app/venv/bin/python\n"
        '     Doing: feed.py:41 Sampler.poll (19 s)       Says: "3 feeds, 1 behind"\n'
        "    Memory: 23M, most 25M, of 512M      CPU: 99.8 %      fds 14      threads 2\n"
        "      Beat: 03:12:07, 19 s ago (every 5 s, 3 may miss); lag before that 4ms\n"
        "     Memos: in 88201  out 88190  outbox 0  dead letters 0; some wait in its\n"
        "            mailbox\n"
        "      Next: restart at 03:12:37 unless it beats\n"
        "    Deaths: 01:01:25 signal 11, core, after 3d02h, nobody asked\n"
        "      Tree: 5102 python ─ 5119 gzip\n"
        "       Log: journalctl HIOD_HAND=sampler-1 + SYSLOG_IDENTIFIER=hiod-sampler-1\n"
        "  03:12:07 reconnecting to feed c\n"
    )


def test_status_of_a_hand_at_rest_is_short():
    rest = schema.Status(
        name="nightly", state="stopped", wanted="down", wanted_by="alice", reason="stopped (END)",
        spec={}, since=ago(days=2), log="/var/log/n.log",
        memo=schema.MemoFacts(address="m", registered=False, received=3),
        restart=schema.RestartFacts(policy="always", next=ago(seconds=-4)),
        deaths=[schema.Death(at=ago(days=2), code=3, reason="exit 3: x", asked_by="alice"),
                schema.Death(at=ago(days=9))],
    )  # fmt: skip

    assert hand.status(built(rest), [], PIPED) == (
        "● nightly  stopped since Wed 03:12:26, 2 d ago\n"
        "    Wanted: down by alice      Reason: stopped (END)\n"
        "  Restarts: 0\n"
        "     Memos: in 3\n"
        "      Next: started again at 03:12:30\n"
        "    Deaths: Wed 03:12:26 exit 3: x, asked by alice\n"
        "            2026-04-29 03:12 an unknown end, nobody asked\n"
        "       Log: /var/log/n.log\n"
    )


def test_why_gives_the_answer_first_and_keeps_a_stacks_indentation():
    reply = built(
        schema.WhyReply(
            hands=[
                schema.Explanation(
                    name="s", state="degraded", summary="s is degraded: stuck.",
                    findings=[
                        schema.Finding(label="memos", lines=["3 of 3 missed"]),
                        schema.Finding(label="so",
                                       lines=["stack:", "  feed.py:41", "  feed.py:19"]),
                    ],
                    can=["hiodctl restart s", "hiodctl stop s"],
                ),
                schema.Explanation(name="w", state="failed"),
            ]
        )
    )  # fmt: skip

    assert hand.why(reply, SEEN) == (
        "s is degraded: stuck.\n"
        "  memos    3 of 3 missed\n"
        "  so       stack:\n"
        "             feed.py:41\n"
        "             feed.py:19\n"
        "  you can  hiodctl restart s · hiodctl stop s\n"
        "\n"
        "w is failed.\n"
    )


def test_why_breaks_long_lines_for_a_person_and_for_no_program():
    words = " ".join(["word"] * 30)
    reply = {
        "hands": [{"name": "a", "state": "failed", "summary": "a is failed.",
                   "findings": [{"label": "last", "lines": [words, "x" * 200]}]}]
    }  # fmt: skip

    seen, piped = hand.why(reply, SEEN), hand.why(reply, PIPED)

    assert max(len(line) for line in seen.splitlines()) <= 80
    assert "".join(seen.split()) == "".join(piped.split())
    assert seen.count("word\n") == 3
    assert f"  last     {words}\n" in piped


def test_nothing_wrong_is_said_to_a_person():
    assert hand.why({"hands": []}, SEEN) == "all hands are ok\n"
    assert hand.why({"hands": []}, PIPED) == ""


def test_an_event_is_a_time_and_a_sentence():
    happened = schema.Event(seq=7, at=ago(seconds=4), event="hand.ready", message="a: ready")

    assert hand.event(built(happened), PIPED) == "03:12:22 a: ready"
    assert hand.event({"at": None, "event": "hand.ready", "level": "error"}, PAINTED) == (
        "- \x1b[31mhand.ready\x1b[0m"
    )


def test_a_plan_shows_each_change_and_what_it_costs():
    reply = built(
        schema.PlanReply(
            changes=[
                schema.Change(name="a", action="add", how="start"),
                schema.Change(name="b", action="remove", how="stop"),
                schema.Change(name="c", action="change", how="restart", keys=["cwd", "env"]),
                schema.Change(name="d", action="change", how="live", message="d: limits"),
            ]
        )
    )

    assert changes.plan(reply, PIPED) == (
        "+ a: add (starts)\n- b: remove (stops)\n~ c: change cwd, env (restarts)\n~ d: limits\n"
    )


def test_a_plan_of_broken_files_lists_their_problems():
    wrong = schema.Problem(path="crew.d/a.toml: hand.a.count", code="range", message="too many",
                           got=9)  # fmt: skip

    assert changes.plan(built(schema.PlanReply(problems=[wrong])), SEEN) == (
        "the crew files cannot be used: 1 problem\n  crew.d/a.toml: hand.a.count: too many, got 9\n"
    )


def test_a_plan_of_nothing_says_so():
    for view in (SEEN, PIPED):
        assert (
            changes.plan({"changes": []}, view)
            == "nothing to do: the crew is what the crew files say\n"
        )


def test_apply_shows_changes_and_then_what_came_of_them():
    reply = built(
        schema.ApplyReply(
            changes=[schema.Change(name="a", action="add", how="start")],
            hands=[schema.Outcome(name="a", changed=True, state="ready", pid=7)],
        )
    )

    assert changes.applied(reply, PIPED) == "+ a: add (starts)\na: ready, pid 7\n"
    assert changes.applied({}, SEEN) == "nothing to do: the crew is what the crew files say\n"


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        ({"name": "late", "changed": True, "state": "ready", "pid": 6120}, "late: ready, pid 6120"),
        ({"name": "late", "changed": True, "how": "END", "code": 0, "took_s": 0.031, "left": True},
         "late: gone, by END, exit 0, took 0.031 s"),
        ({"name": "late", "changed": True, "state": "failed", "left": True}, "late: gone"),
        ({"name": "late", "state": "stopping", "pid": 7, "left": False, "reason": "removed by al"},
         "late: stopping, pid 7, removed by al"),
        ({"name": "late", "state": "running", "pid": 7, "left": False, "reason": "running"},
         "late: leaving, pid 7"),
        ({"name": "a", "changed": False, "state": "stopped"}, "a: stopped, nothing to do"),
        ({"name": "a", "state": "failed", "signal": 11, "reason": "gave up"},
         "a: failed, signal 11, gave up"),
        ({"name": "a"}, "a: done"),
        ({"name": "a", "how": "memo sent"}, "a: memo sent"),
    ],
)  # fmt: skip
def test_an_outcome_is_one_line(outcome, text):
    given = built(schema.Outcome(**outcome))

    assert changes.outcomes({"hands": [given]}, PIPED) == text + "\n"


def test_no_outcome_at_all_is_said():
    assert changes.outcomes({"hands": []}, SEEN) == "nothing to do\n"
    assert changes.outcomes({"hands": []}, PIPED) == "nothing to do\n"


NOT_A_HAND = AdminError("NoSuchHand", name="tikcer", near=["ticker-0", "ticker-1"])
PROBLEMS = [
    {"path": "restart.window_s", "code": "range", "message": "must be greater than 0, got -3",
     "got": -3},
    {"path": "", "code": "both", "message": "doers or a command, not both", "got": None},
]  # fmt: skip


@pytest.mark.parametrize(
    ("refused", "text"),
    [
        (NOT_A_HAND, 'no hand "tikcer"; did you mean "ticker-0" or "ticker-1"?'),
        (AdminError("NoSuchHand", name="x", near=[]), 'no hand "x"; see hiodctl list'),
        (AdminError("NoSuchHand"), "no hand is meant by that; see hiodctl list"),
        (AdminError("BadSpec", problems=PROBLEMS),
         "the spec cannot be used: 2 problems\n"
         "  restart.window_s: must be greater than 0, got -3\n"
         "  doers or a command, not both"),
        (AdminError("Conflict", 'others come after "a"', code="needed", name="a", hands=["b", "c"]),
         'others come after "a": b, c'),
        (AdminError("Conflict", code="exists"), "that cannot be done now (exists)"),
        (AdminError("NotPermitted", needs="operate", have="read"),
         "not permitted: this takes role operate, yours is read; roles are given under [admin] in"
         " hiod.toml"),
        (AdminError("NotPermitted", needs="admin", have="read", user="bob", admits=["@hiod", "al"]),
         "not permitted: this takes role admin, that of bob is read; members of group hiod have it:"
         " an administrator can add you (usermod -aG hiod bob), then log in anew"),
        (AdminError("NotPermitted", needs="admin", have="none", user="bob", admits=["al"]),
         "not permitted: this takes role admin, that of bob is none; al and root have it; roles are"
         " given under [admin] in hiod.toml"),
        (AdminError("Timeout", state="starting", awaited=["a"], hands=[
            {"name": "a", "state": "starting", "reason": "no REG"},
            {"name": "b", "state": "ready"}, {"name": "c", "state": "failed", "left": True}]),
         "timed out: a is starting (no REG); it goes on"),
        (AdminError("Timeout", state="running", awaited=["b"], hands=[
            {"name": "a", "state": "done"}, {"name": "b", "state": "running"}]),
         "timed out: b is running; it goes on"),
        (AdminError("Timeout", state="running", awaited=["a", "b"], hands=[
            {"name": "a", "state": "running", "left": False},
            {"name": "b", "state": "stopping", "left": False, "reason": "removed by al"}]),
         "timed out: a is leaving, b is stopping (removed by al); it goes on"),
        (AdminError("Timeout", state="starting", awaited=["late", "slow"],
                    why="late waits for db, which failed: exit 3", hands=[
            {"name": "late", "state": "waiting", "reason": "after db (failed)"},
            {"name": "slow", "state": "starting"}]),
         "timed out: late waits for db, which failed: exit 3; slow is starting; it goes on"),
        (AdminError("Timeout", state="starting"), "timed out: still starting; it goes on"),
        (AdminError("SpawnFailed", step="exec", errno=2, path="/x"),
         "cannot start its process: exec (/x, ENOENT)"),
        (AdminError("SpawnFailed", step="fork"), "cannot start its process: fork"),
        (AdminError("Unavailable", state="store", after_s=1.5),
         "the boss cannot do that now: store; try again in 1.5 s"),
        (AdminError("Busy"), "the boss has all the connections it takes; try again"),
        (AdminError("TooLarge", limit=262144),
         "the request is over the boss's limit of 262144 bytes"),
        (AdminError("org.varlink.service.MethodNotFound", method="why", near=["why2"]),
         'the boss knows no why: is it an older hiod?; did you mean "why2"?'),
        (AdminError("org.varlink.service.InvalidParameter", parameter="count", problems=[
            {"path": "count", "code": "type", "message": "must be a whole number", "got": "x"}]),
         'count must be a whole number, got "x"'),
        (AdminError("org.varlink.service.InvalidParameter", parameter="count"),
         "the boss does not take parameter count"),
        (AdminError("Conflict", '"a" is counted', code="counted", hands=["a-1"]), '"a" is counted'),
        (AdminError("BadSpec", name="web", problems=PROBLEMS[:1]),
         'the spec of "web" cannot be used: 1 problem\n'
         "  restart.window_s: must be greater than 0, got -3"),
        (AdminError("Timeout", state="backoff", awaited=["a"], hands=[
            {"name": "a", "state": "backoff", "reason": "exit 1; try 2 of 5"}]),
         "timed out: a is in backoff (exit 1; try 2 of 5); it goes on"),
        (AdminError("BadMessage", "no JSON", code="json", hint="end it with }"),
         "no JSON; end it with }"),
        (AdminError("Newer", thing=1), 'Newer {"thing": 1}'),
    ],
)  # fmt: skip
def test_every_refusal_is_a_sentence(refused, text):
    assert refusals.refusal(refused) == text


@pytest.mark.parametrize(
    ("marks", "note"),
    [
        (({}, {"newer": True}), "* newer hiod"),
        (({"older": True}, {"newer": True}), "* older hiod or newer hiod"),
    ],
)
def test_a_star_says_which_other_hiod_a_hand_runs(marks, note):
    rows = [row(name, pid=1, **mark) for name, mark in zip("ab", marks, strict=True)]

    text = tables.crew(crew_of(*rows), SEEN)

    assert "b* " in text
    assert note in text


def test_about_names_version_role_and_places():
    limits = schema.LimitFacts(
        request_bytes=1, nesting=1, connections=1, kept_for_admins=1, connections_per_uid=1,
        queued=1, unsent_bytes=1, message_s=1,
    )  # fmt: skip
    told = schema.AboutReply(
        name="boss", version="0.1.0", pid=7, since=ago(hours=1), state="running", role="admin",
        limits=limits, python="3.11.2", hands=2, states={"ready": 2}, runtime_dir="/run/hiod",
        launchers=[schema.LauncherFacts(id="l1", pid=8, hands=2, python="/p", older=True)],
        sandbox=["ProtectSystem=strict", "SystemCallFilter="],
    )  # fmt: skip

    assert boss.about(built(told), PIPED) == (
        "    boss: boss, running, pid 7\n"
        " version: hiod 0.1.0, Python 3.11.2\n"
        "      up: 1h00m\n"
        "   hands: 2: 2 ready\n"
        "     you: role admin\n"
        "   files: ok\n"
        " pending: 0 changes\n"
        " runtime: /run/hiod\n"
        " sandbox: ProtectSystem=strict SystemCallFilter=\n"
        "launcher: l1, pid 8, 2 hands, /p, older hiod\n"
    )


def test_top_sorts_by_the_chosen_figure_and_counts_memos_a_second():
    rows = [
        row("a", pid=1, generation=1, cpu=1.0, received=110, sent=5, outbox=2, restarts=9),
        row("b", pid=2, generation=2, cpu=50.0, received=10, sent=0),
    ]
    before = {"a": {"generation": 1, "received": 100, "sent": 5}, "b": {"generation": 1}}

    by_cpu = tables.top(crew_of(*rows), before, 2.0, "c", SEEN, 24)
    by_restarts = tables.top(crew_of(*rows), before, 2.0, "r", SEEN, 24)

    assert by_cpu == (
        "NAME  STATE  HEALTH  UP     RST   RSS   CPU  LAG  IN/s  OUT/s  OUTBOX  STATUS\n"
        "b     ready  -       -        0     -  50.0    -     -      -       -\n"
        "a     ready  -       -        9     -   1.0    -     5      0       2\n"
        "by CPU; sort: c CPU  m memory  l lag  r restarts  n name; q ends\n"
    )
    assert by_restarts.splitlines()[1].startswith("a ")


def test_top_fits_the_terminal_and_says_what_it_left_out():
    rows = [row(f"h{n}", pid=n, status="busy") for n in range(50)]

    lines = tables.top(crew_of(*rows), {}, 0, "n", SEEN._replace(columns=120), 10).splitlines()

    assert len(lines) == 10
    assert lines[-2] == "… 43 more"
    assert lines[0].endswith("OUTBOX  STATUS")


@pytest.mark.parametrize("sort", tables.SORTS)
def test_top_keeps_names_and_what_it_sorts_by_on_a_narrow_terminal(sort):
    rows = [row(f"{LONG}-{n}", pid=n, cpu=1.0, status="busy") for n in range(5)]

    text = tables.top(crew_of(*rows), {}, 0, sort, SEEN._replace(columns=50), 10)
    head, *lines = text.splitlines()

    assert max(map(len, (head, *lines))) <= 50
    assert tables.SORTS[sort][2] in head.split()
    assert [line.split()[0] for line in lines[:5]] == [f"{LONG}-{n}" for n in range(5)]


def test_top_says_a_notice_where_it_says_what_keys_do():
    text = tables.top(crew_of(row("a")), {}, 0, "c", PAINTED, 10, "no boss")

    assert text.splitlines()[-1] == "\x1b[33mno boss\x1b[0m"


def test_json_is_one_line_for_a_program_and_indented_for_a_person():
    assert figures.as_json({"a": "ü"}, PIPED) == '{"a":"ü"}\n'
    assert figures.as_json({"a": 1}, SEEN) == '{\n  "a": 1\n}\n'


def test_what_came_of_the_others_is_told_before_a_refusal_but_not_of_one_hand_alone():
    good = {"name": "a", "state": "ready", "pid": 7, "changed": True}
    bad = {"name": "b", "state": "backoff", "reason": "cannot be started: no such file"}
    change = {"name": "b", "action": "add", "how": "start", "keys": [], "hands": ["b"]}

    assert changes.so_far({"hands": [bad]}, PIPED) == ""
    assert changes.so_far({"hands": ["a", "b"], "code": "needed"}, PIPED) == ""
    assert changes.so_far({"hands": [good, bad]}, PIPED) == (
        "a: ready, pid 7\nb: backoff, cannot be started: no such file\n"
    )
    assert changes.so_far({"hands": [bad], "changes": [change]}, PIPED) == (
        "+ b: add (starts)\nb: backoff, cannot be started: no such file\n"
    )


def test_an_end_by_hiod_is_not_called_asked_for():
    row = {"at": "2026-05-08T03:12:22Z", "signal": 15, "asked_by": "hiod: not ready in 3 s: no REG"}

    assert hand.death(row, PIPED).endswith("ended by hiod: not ready in 3 s: no REG")


def test_whom_a_memo_or_a_signal_reached_is_said():
    rows = [
        {"name": "a", "changed": True},
        {"name": "b", "changed": False, "reason": "it is failed"},
    ]

    assert changes.reached({"hands": rows}, "sent") == "a: sent\nb: not sent: it is failed\n"
    assert changes.reached({"hands": []}, "sent") == "nothing to do\n"


def test_the_indentation_of_what_a_hand_printed_is_kept():
    block = hand.status(msgspec.to_builtins(STATUS), ["Traceback:", '  File "x"', ""], PIPED)

    assert block.endswith('\n  Traceback:\n    File "x"\n\n')


def test_a_hand_that_apply_took_out_is_gone():
    change = {"name": "a", "action": "remove", "how": "stop", "keys": [], "hands": ["a"]}

    gone = {"name": "a", "changed": True, "left": True}
    told = changes.applied({"changes": [change], "hands": [gone]}, PIPED)

    assert told == "- a: remove (stops)\na: gone\n"


@pytest.mark.parametrize("columns", [30, 50, 80, 200])
def test_no_line_about_a_hand_is_wider_than_the_terminal(columns):
    view = SEEN._replace(columns=columns)
    reply = built(STATUS) | {"name": LONG, "status": "s" * 300, "reason": "because of it " * 20}

    status = hand.status(reply, ["a line of the log " * 20], view)
    event = hand.event({"at": ago(seconds=3), "message": "it happened " * 30}, view)

    assert max(map(figures.width, status.splitlines())) <= columns
    assert max(map(figures.width, event.splitlines())) <= columns
    assert "".join(event.split()).endswith("ithappened" * 30)
    assert "s" * 300 in "".join(status.split())


def test_the_lines_of_an_event_are_coloured_one_by_one():
    view = PAINTED._replace(columns=30)

    text = hand.event(
        {"at": NOW.isoformat(), "level": "error", "message": "all is lost " * 3}, view
    )

    assert text == (
        "03:12:26 \x1b[31mall is lost all is\x1b[0m\n         \x1b[31mlost all is lost\x1b[0m"
    )


@pytest.mark.parametrize(
    ("states", "columns", "text"),
    [
        ({}, 80, "stop: 1.5 s"),
        ({"a": "ready", "b": "failed"}, 80, "stop: 1.5 s"),
        ({"a": "stopping"}, 80, "stop: 1.5 s; a stopping: asked"),
        ({"a": "stopping", "b": "waiting", "c": "done"}, 80, "stop: 1.5 s; a stopping, b waiting"),
        ({"a": "backoff", "b": "waiting", "c": "starting"}, 40, "stop: 1.5 s; a backoff, 2 more"),
        ({"a": "backoff", "b": "waiting"}, 20, "stop: 1.5 s; a back…"),
    ],
)
def test_who_is_on_the_way_is_said_in_one_line(states, columns, text):
    rows = [{"name": name, "state": state, "reason": "asked"} for name, state in states.items()]

    view = SEEN._replace(columns=columns)

    assert changes.underway(rows, "stop", 1.5, view) == text


def test_why_shows_what_is_written_where_a_hand_stands_if_the_reader_may_see_it():
    frames = ['  File "/srv/feed.py", line 41 in poll', '  File "/srv/feed.py", line 9 in recur']
    reply = {"hands": [{"name": "a", "state": "degraded", "summary": "a is degraded.",
                        "findings": [{"label": "so", "lines": ["burns", *frames]}]}]}  # fmt: skip
    code = {("/srv/feed.py", 41): "while self.queue: pass"}

    text = hand.why(reply, PIPED, lambda file, number: code.get((file, number), ""))

    assert text == (
        "a is degraded.\n"
        "  so       burns\n"
        "             feed.py:41  poll   while self.queue: pass\n"
        "             feed.py:9   recur\n"
    )


def test_when_a_hand_is_tried_again_is_in_the_list():
    soon = (NOW + timedelta(seconds=3.2)).isoformat()
    rows = [row("a", "backoff", reason="signal 11; try 4 of 5", next=soon),
            row("b", "backoff", reason="signal 11; try 4 of 5", next=ago(seconds=1)),
            row("c", "backoff", reason="no process was made", next=soon)]  # fmt: skip

    _, *lines = tables.crew(crew_of(*rows), PIPED).splitlines()

    assert [line.split("  ")[-1] for line in lines] == [
        "signal 11; try 4 of 5 in 3.2 s", "signal 11; try 4 of 5", "no process was made",
    ]  # fmt: skip
