"""Hands that do not end, leave others behind, die early, flood or lie; and how others fare."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.waiting import wait_until

pytest_plugins = ("support.boss",)

SUPPORT = str(Path(__file__).parents[1] / "support")
HASTE = {"grace_s": 0.1, "term_s": 0.1}
SLEEPER = ["sleep", "1000"]


def rogue(boss, vice, name="r", *, opts=None, wait="ready", **spec):
    """Add a hand with a vice, which behaves until it gets the memo VICE."""
    spec = {"stop": HASTE, **spec}
    boss.add(name, doers=[{"ref": f"rogue:{vice}", "opts": opts or {}}], path=[SUPPORT],
        wait=wait, **spec)  # fmt: skip


def tempt(boss, name="r"):
    """Let a hand give in."""
    boss.ask("send", names=[name], tag="VICE", load={})


def told(boss, hand="r"):
    """Return the names of a hand's events."""
    return [one["event"] for one in boss.events(hand=hand)]


def with_argument(word):
    """Return the pids of processes that have this word among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words:
                found.append(int(entry.name))
    return found


# ---------------------------------------------------------------------------- ends


def test_who_ignores_end_and_term_is_killed_and_each_step_is_told(shared):
    rogue(shared, "Deaf", log=shared.log_path("r"))
    tempt(shared)
    wait_until(lambda: shared.hand_log("r"))

    (gone,) = shared.change("stop", "r", wait="gone")

    assert (gone["how"], gone["signal"]) == ("KILL", signal.SIGKILL)
    steps = [
        one["facts"].get("signal") for one in shared.events("hand.stopping", "hand.pressed")
    ]  # fmt: skip
    assert steps == [None, "SIGTERM", "SIGKILL"]
    assert shared.row("r")["state"] == "stopped"


def test_a_command_that_ignores_its_signal_is_pressed_too(shared):
    shared.add("r", command=["sh", "-c", "trap '' INT TERM; echo go; while :; do sleep 1; done"],
        stop={**HASTE, "signal": "INT"}, log=shared.log_path("r"))  # fmt: skip
    wait_until(lambda: shared.hand_log("r"))

    (gone,) = shared.change("stop", "r", wait="gone")

    assert gone["how"] == "KILL"
    assert [one["facts"]["signal"] for one in shared.events("hand.pressed")] == [
        "SIGTERM",
        "SIGKILL",
    ]


def test_the_stop_signal_is_the_one_in_the_spec(shared):
    loop = "trap 'exit 5' USR1; echo go; while :; do sleep 0.1; done"
    shared.add("r", command=["sh", "-c", loop], stop={"signal": "USR1"}, log=shared.log_path("r"))
    wait_until(lambda: shared.hand_log("r"))

    (gone,) = shared.change("stop", "r", wait="gone")

    assert (gone["how"], gone["code"]) == ("USR1", 5)


def test_a_registered_hand_is_asked_by_a_memo_and_exits_0(shared):
    rogue(shared, "Vice")

    (gone,) = shared.change("stop", "r", wait="gone")

    assert (gone["how"], gone["code"], gone["signal"]) == ("END", 0, None)


@pytest.mark.parametrize("end", ["stop", "die"])
def test_nothing_a_hand_forked_outlives_it(shared, end):
    rogue(shared, "Parent", restart={"policy": "never"})
    tempt(shared)
    shared.until("r", status="parent")
    ages = ("1001", "1002", "1003", "1004")
    assert wait_until(lambda: all(with_argument(age) for age in ages))

    if end == "stop":
        shared.change("stop", "r", wait="gone")
    else:
        os.kill(shared.row("r")["pid"], signal.SIGKILL)
        shared.until("r", state="failed")

    assert wait_until(lambda: not any(with_argument(age) for age in ages))


def test_what_a_command_forked_does_not_outlive_it_either(shared):
    shared.add("r", command=["sh", "-c", "sleep 1005 & setsid sleep 1006 & wait"], stop=HASTE)
    assert wait_until(lambda: with_argument("1005") and with_argument("1006"))

    shared.change("remove", "r", wait="gone")

    assert wait_until(lambda: not with_argument("1005") and not with_argument("1006"))


# ---------------------------------------------------------------------------- beginnings


@pytest.mark.parametrize(
    ("vice", "why"), [("Stillborn", "exit 7"), ("Raises", "ValueError: the disk is flat")]
)
def test_who_dies_before_it_registers_is_tried_again_and_then_given_up(shared, vice, why):
    rogue(shared, vice, wait=None, restart={"delay_s": 0.01, "limit": 2})

    row = shared.until("r", state="failed")

    assert row["generation"] == 3
    assert why in row["reason"]
    assert told(shared).count("hand.backing_off") == 2
    assert told(shared).count("hand.gave_up") == 1
    assert "hand.registered" not in told(shared)


def test_a_doer_that_cannot_be_imported_is_shown_where_people_look_and_hurts_nobody(shared):
    shared.add("well", doers=[])
    shared.add("r", doers=["no_such_module:Doer"], wait=None,
        restart={"delay_s": 0.01, "limit": 1})  # fmt: skip

    row = shared.until("r", state="failed")

    sentence = "ModuleNotFoundError: No module named 'no_such_module'"
    assert sentence in row["reason"]
    death = shared.ask("status", name="r")["deaths"][0]
    assert (death["code"], sentence in death["last_words"]) == (78, True)
    lines = shared.ask("why", names=["r"])["hands"][0]["findings"]
    assert any(sentence in line for one in lines for line in one["lines"])
    assert sentence in shared.log()
    assert shared.row("well")["state"] == "ready"
    assert shared.row("well")["restarts"] == 0


def test_a_program_that_is_not_there_is_named(shared):
    shared.add("r", command=["/no/such/program"], wait=None, restart={"policy": "never"})

    row = shared.until("r", state="failed")

    assert '"/no/such/program": No such file or directory' in row["reason"]


def test_a_working_directory_that_is_not_there_is_named(shared):
    shared.add("r", command=["true"], cwd="/no/such/place", wait=None, restart={"policy": "never"})

    assert '"/no/such/place"' in shared.until("r", state="failed")["reason"]


def test_an_interpreter_that_is_not_there_is_named_and_the_boss_goes_on(shared):
    shared.add("r", doers=[], python="/no/such/python", wait=None,
        restart={"delay_s": 0.01, "limit": 1})  # fmt: skip

    assert "/no/such/python" in shared.until("r", state="failed")["reason"]
    assert shared.add("well", doers=[])


def test_an_interpreter_without_hiod_is_said_to_lack_it(shared):
    shared.add("r", doers=[], python="/usr/bin/python3", wait=None,
        restart={"delay_s": 0.01, "limit": 1})  # fmt: skip

    reason = shared.until("r", state="failed")["reason"]

    assert "/usr/bin/python3" in reason
    assert "hiod" in reason


# ---------------------------------------------------------------------------- restarts


def kill(boss, name="r"):
    os.kill(boss.row(name)["pid"], signal.SIGKILL)


def test_a_killed_hand_comes_back_and_the_story_says_how(shared):
    shared.add("r", doers=[], restart={"delay_s": 0})
    kill(shared)

    row = shared.until("r", generation=2, state="ready")

    assert row["restarts"] == 1
    facts = shared.event("hand.backing_off", "r")["facts"]
    assert (facts["how"], facts["attempt"], facts["limit"]) == ("signal 9", 1, 5)
    death = shared.ask("status", name="r")["deaths"][0]
    assert (death["signal"], death["asked_by"], death["known"]) == (9, None, True)
    assert death["rss_most"] > 0


@pytest.mark.parametrize(
    ("policy", "command", "state"),
    [
        ("never", "exit 3", "failed"),
        ("never", "exit 0", "done"),
        ("on-failure", "exit 0", "done"),
        ("on-failure", "exit 3", "failed"),
        ("on-failure", "kill -TERM $$", "failed"),
        ("always", "exit 0", "failed"),
    ],
)
def test_the_restart_policy_is_kept(shared, policy, command, state):
    shared.add("r", command=["sh", "-c", command], wait=None,
        restart={"policy": policy, "delay_s": 0.01, "limit": 1})  # fmt: skip

    row = shared.until("r", state=state)

    again = policy == "always" or (policy == "on-failure" and state == "failed")
    assert row["generation"] == (2 if again else 1)


def test_start_clears_the_failures_of_a_hand_that_was_given_up(shared):
    shared.add("r", command=["false"], wait=None, restart={"delay_s": 0, "limit": 1})
    shared.until("r", state="failed", generation=2)

    shared.change("start", "r")

    assert shared.until("r", state="failed", generation=4)


def test_a_stop_wins_over_a_pause(shared):
    shared.add("r", command=["false"], wait=None, restart={"delay_s": 100, "max_delay_s": 100})
    shared.until("r", state="backoff")

    shared.change("stop", "r", wait="gone")

    assert shared.row("r")["state"] == "stopped"


# ---------------------------------------------------------------------------- memos


def test_a_flood_at_the_boss_stops_nobody_else_and_hides_nothing(shared):
    shared.add("well", doers=[])
    rogue(shared, "Flooder")
    tempt(shared)
    shared.event("hand.flood", "r", count=256)

    shared.change("restart", "well", wait="ready", timeout_s=5)

    assert told(shared, "well").count("hand.backing_off") == 0
    assert shared.row("well")["health"] == "ok"
    shared.change("stop", "r", wait="gone")
    assert told(shared).count("hand.memo") < 200
    assert len(shared.events("memo.rejected")) < 40


def test_a_lie_about_a_name_changes_nothing_and_is_counted(shared):
    before = shared.ask("about")["figures"].get("memos.rejected", 0)
    shared.add("victim", doers=[], ready={"by": "memo", "timeout_s": 100}, wait=None)
    shared.until("victim", reason="registered; not ready yet")
    rogue(shared, "Liar", opts={"victim": "victim"})
    tempt(shared)
    shared.until("r", status="lied")

    wait_until(lambda: shared.ask("about")["figures"].get("memos.rejected", 0) >= before + 3)

    row = shared.row("victim")
    assert (row["state"], row["status"]) == ("registering", "registered; not ready yet")
    assert "hand.status" not in told(shared, "victim")


# ---------------------------------------------------------------------------- the boss itself


def test_a_boss_that_stops_takes_all_of_them_along(boss):
    rogue(boss, "Deaf", "deaf", log=boss.log_path("deaf"))
    rogue(boss, "Busy", "busy")
    rogue(boss, "Parent", "parent")
    boss.add("cmd", command=["sh", "-c", "trap '' TERM; sleep 1007 & wait"], stop=HASTE)
    for name in ("deaf", "busy", "parent"):
        tempt(boss, name)
    wait_until(lambda: boss.hand_log("deaf"))
    boss.until("parent", status="parent")

    assert boss.end() == 0


# ---------------------------------------------------------------------------- what it printed


def test_the_last_lines_a_program_printed_to_its_file_are_its_last_words(shared):
    log = shared.log_path("p")
    Path(log).write_text("of another life\n")
    shared.add(
        "p", command=["sh", "-c", "echo starting; echo cannot bind 80 >&2; exit 3"],
        log=log, restart={"policy": "never"}, wait=None,
    )  # fmt: skip

    row = shared.until("p", state="failed")
    (death,) = shared.ask("status", name="p")["deaths"]
    assert row["reason"] == 'exit 3: last said "cannot bind 80"'
    assert death["reason"] == 'exit 3: last said "cannot bind 80"'
    assert death["last_words"] == "starting\ncannot bind 80"


@pytest.mark.parametrize("log", ["null", "fifo"])
def test_what_a_program_printed_elsewhere_is_not_waited_for(shared, home, log):
    if log == "fifo":
        log = str(home / "fifo")
        os.mkfifo(log)
    reader = os.open(log, os.O_RDWR) if log != "null" else None
    shared.add(
        "p", command=["sh", "-c", "echo lost; exit 3"], log=log,
        restart={"policy": "never"}, wait=None,
    )  # fmt: skip

    assert shared.until("p", state="failed")["reason"] == "exit 3"
    if reader is not None:
        os.close(reader)


def test_only_the_end_of_a_long_log_is_kept_and_none_of_one_who_was_asked_to_end(shared):
    lines = "for i in $(seq 1000); do echo line $i; done"
    for name, command in (("long", f"{lines}; exit 1"), ("asked", f"{lines}; exec sleep 1000")):
        shared.add(
            name, command=["sh", "-c", command], log=shared.log_path(name),
            restart={"policy": "never"}, wait=None,
        )  # fmt: skip
    wait_until(lambda: "line 1000\n" in shared.hand_log("asked"))
    shared.change("stop", "asked", wait="gone")
    shared.until("long", state="failed")

    (long,) = shared.ask("status", name="long")["deaths"]
    (asked,) = shared.ask("status", name="asked")["deaths"]
    assert long["last_words"].endswith("line 999\nline 1000")
    assert len(long["last_words"]) <= 2048
    assert all(line.startswith("line ") for line in long["last_words"].splitlines())
    assert asked["last_words"] is None


def test_one_that_died_lately_is_explained_unasked_though_it_is_up_again(shared):
    shared.add("well", command=SLEEPER)
    shared.add("p", command=SLEEPER, restart={"delay_s": 0})
    os.kill(shared.row("p")["pid"], signal.SIGKILL)
    shared.until("p", state="running", restarts=1)

    (why,) = shared.ask("why")["hands"]

    assert why["name"] == "p"
    assert why["summary"] == "p is running; 1 failure in the last 60 s (limit 5)"
