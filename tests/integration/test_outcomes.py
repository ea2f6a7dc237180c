"""What an operator is told came of a change: how each hand stands when the answer is given."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import wait_until

from hiod.errors import AdminError

if TYPE_CHECKING:
    from support.boss import Boss

pytest_plugins = ("support.boss",)

SLEEP = ["sleep", "1000"]
STUBBORN = ["sh", "-c", 'trap "" TERM; while :; do sleep 1000; done']


def hiodctl(boss: Boss, *words: str) -> tuple[int, str]:
    """Run a command of an operator; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "hiod.ctl.main", "--socket", str(boss.admin_socket), *words],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def hiodctl_later(boss: Boss, *words: str) -> subprocess.Popen[str]:
    """Begin a command of an operator; what it printed and its exit code come later."""
    return subprocess.Popen(
        [sys.executable, "-m", "hiod.ctl.main", "--socket", str(boss.admin_socket), *words],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def failed(boss: Boss, name: str, **spec: Any) -> None:
    """Add a hand that fails, and wait until it has."""
    hands = boss.add(name, wait=None, command=["false"], restart={"limit": 0}, **spec)
    for one in hands:
        boss.until(one["name"], state="failed")


# ---------------------------------------------------------------------------- being started


@pytest.mark.parametrize("changed", ["after = ['db']", "ready.timeout_s = 7"])
def test_what_comes_with_the_next_start_is_not_waited_for(shared, changed):
    before = '[hand.db]\ncommand = ["sleep", "1000"]\n[hand.w]\ncommand = ["sleep", "1000"]\n'
    shared.crew(before)
    shared.ask("apply", wait="ready", timeout_s=20)
    pid = shared.row("w")["pid"]
    shared.crew(before + changed)
    shared.ask("apply", wait="ready", timeout_s=20)

    assert hiodctl(shared, "start", "w") == (0, f"w: running, nothing to do, pid {pid}\n")


def test_a_definition_put_in_place_for_the_next_start_is_not_waited_for(shared):
    (first,) = shared.add("w", command=SLEEP)

    told = shared.ask(
        "add", spec={"name": "w", "command": SLEEP, "ready": {"timeout_s": 7}},
        replace=True, wait="ready", timeout_s=20,
    )["hands"]  # fmt: skip

    assert [(one["state"], one["pid"]) for one in told] == [("running", first["pid"])]


def test_a_definition_that_restarts_a_hand_is_waited_for(shared):
    (first,) = shared.add("w", command=SLEEP)

    (told,) = shared.ask(
        "add", spec={"name": "w", "command": ["sleep", "2000"]},
        replace=True, wait="ready", timeout_s=20,
    )["hands"]  # fmt: skip

    assert (told["state"], told["generation"]) == ("running", first["generation"] + 1)
    assert told["pid"] != first["pid"]


def test_one_that_failed_while_others_were_waited_for_is_not_called_running(shared, home):
    first, second = home / "first", home / "second"
    until = "until test -e {}; do sleep 0.05; done"
    shared.crew(
        f'[hand.h1]\ncommand = ["sh", "-c", "{until.format(first)}; exit 1"]\nrestart.limit = 0\n'
        f'[hand.h2]\ncommand = ["sh", "-c", "{until.format(second)}"]\n'
        'ready.by = "exit"\nrestart.policy = "never"\n'
    )
    with subprocess.Popen(
        [sys.executable, "-m", "hiod.ctl.main", "--socket", str(shared.admin_socket), "apply"],
        stdout=subprocess.PIPE, text=True,
    ) as applying:  # fmt: skip
        shared.event("hand.running", "h1")
        shared.until("h2", state="running")
        first.touch()
        shared.until("h1", state="failed")
        second.touch()
        out, _ = applying.communicate(timeout=30)

    assert applying.returncode == 1, out
    assert "h1: failed, gave up: exit 1" in out
    assert "h2: done" in out


# ---------------------------------------------------------------------------- in vain


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_who_comes_after_a_stopped_one_is_not_waited_for(shared, verb):
    shared.add("db", command=SLEEP)
    shared.add("web", command=SLEEP, after=["db"])
    shared.change("stop", "web", "db", wait="gone")

    told = hiodctl(shared, verb, "web", "--timeout", "50")

    assert told == (1, "web: waiting, after db (stopped)\n")


def test_who_comes_after_a_failed_one_is_not_waited_for_by_apply_nor_wait(shared):
    shared.crew(
        '[hand.db]\ncommand = ["false"]\nrestart.limit = 0\nready.by = "exit"\n'
        '[hand.web]\ncommand = ["sleep", "1000"]\nafter = ["db"]\n'
        '[hand.top]\ncommand = ["sleep", "1000"]\nafter = ["web"]\n'
    )

    code, told = hiodctl(shared, "apply", "--timeout", "50")

    assert code == 1
    assert "web: waiting, after db (failed)\ntop: waiting, after web, after db (failed)\n" in told
    for goal in ("ready", "done"):
        assert hiodctl(shared, "wait", "--for", goal, "top", "--timeout", "50") == (
            1,
            "hiodctl wait: top is waiting after web, after db (failed) and will not start by"
            " itself: hiodctl why top\n",
        )


MIGRATE = """
[hand.migrate]
command = ["sh", "-c", "exit 3"]
ready.by = "exit"
restart.policy = "never"
"""
LATE = """
[hand.late]
command = ["sleep", "1000"]
after = ["{}"]
[hand.later]
command = ["sleep", "1000"]
after = ["late"]
"""
REST = """
[hand.rest]
doers = []
start = false
"""


@pytest.mark.parametrize(
    ("hands", "said"),
    [
        (MIGRATE + LATE.format("migrate"), "late waits for migrate, which failed: exit 3"),
        (MIGRATE + REST + LATE.format("rest"), "migrate failed: exit 3"),
        (REST + LATE.format("rest"), "late waits after rest (stopped)"),
    ],
)
def test_whoever_is_too_late_is_named_after_one_that_failed(shared, hands, said):
    shared.crew(f'[hand.slow]\ncommand = ["sleep", "1000"]\nready.by = "notify"\n{hands}')

    with pytest.raises(AdminError) as refused:
        shared.ask("apply", wait="ready", timeout_s=0.7)

    assert refused.value.code == "Timeout"
    assert refused.value.parameters["why"] == said


def test_a_wait_ends_when_it_can_no_longer_come_true(shared):
    shared.add("db", command=SLEEP, wait=None, ready={"by": "notify"})
    shared.add("web", command=SLEEP, wait=None, after=["db"])
    shared.until("web", state="waiting")
    with subprocess.Popen(
        [sys.executable, "-m", "hiod.ctl.main", "--socket", str(shared.admin_socket),
         "wait", "web", "--timeout", "50"],
        stderr=subprocess.PIPE, text=True,
    ) as waiting:  # fmt: skip
        shared.change("stop", "db", wait="gone")
        _, told = waiting.communicate(timeout=30)

    assert waiting.returncode == 1
    assert "web is waiting after db (stopped)" in told


def test_who_is_started_together_with_the_one_it_comes_after_is_waited_for(shared):
    shared.add("db", command=SLEEP)
    shared.add("web", command=SLEEP, after=["db"])
    shared.change("stop", "web", "db", wait="gone")

    told = shared.change("start", "web", "db", wait="ready", timeout_s=20)

    assert [(one["name"], one["state"]) for one in told] == [("web", "running"), ("db", "running")]


# ---------------------------------------------------------------------------- leaving


@pytest.mark.parametrize("wait", ["--wait=ready", "--no-wait"])
def test_a_failed_one_that_is_counted_no_more_is_gone_and_all_is_well(shared, wait):
    failed(shared, "w", count=2)

    assert hiodctl(shared, "scale", "w", "1", wait) == (0, "w-1: gone\n")


def test_a_failed_one_that_the_files_count_no_more_is_gone_and_all_is_well(shared):
    text = '[hand.w]\ncommand = ["false"]\nrestart.limit = 0\ncount = %s\n'
    shared.crew(text % 2)
    shared.ask("apply")
    shared.until("w-1", state="failed")
    shared.until("w-0", state="failed")
    shared.crew(text % 1)

    code, told = hiodctl(shared, "apply")

    assert code == 0, told
    assert "w-1: gone\n" in told


def test_who_is_on_its_way_out_is_not_called_gone(shared):
    shared.add("db", command=SLEEP)
    (slow,) = shared.add("slow", after=["db"], stop={"grace_s": 60}, command=STUBBORN)
    db = shared.row("db")

    code, told = hiodctl(shared, "remove", "--no-wait", "db", "slow")
    shared.ask("signal", names=["slow"], signal="KILL")
    shared.event("hand.removed", "db")

    assert code == 0
    assert told.startswith(f"db: leaving, pid {db['pid']}\nslow: ")
    assert f"\nslow: stopping, pid {slow['pid']}, removed by root" in told


def test_who_has_left_is_marked_and_who_stays_is_not(shared):
    shared.add("stays", command=SLEEP)
    shared.add("goes", command=SLEEP)

    (stays,) = shared.change("stop", "stays", wait="gone")
    (goes,) = shared.change("remove", "goes", wait="gone")

    assert "left" not in stays
    assert goes["left"] is True


@pytest.mark.parametrize("verb", ["stop", "remove"])
def test_an_earlier_end_is_not_told_as_this_one(shared, verb):
    failed(shared, "w")

    (told,) = shared.change(verb, "w", wait="gone")

    assert told["changed"] is True
    assert not {"how", "code", "signal", "took_s"} & told.keys()


def test_the_end_of_an_earlier_stop_is_not_told_of_a_removal(shared):
    shared.add("w", command=SLEEP)
    (stopped,) = shared.change("stop", "w", wait="gone")

    (removed,) = shared.change("remove", "w", wait="gone")

    assert (stopped["how"], stopped["signal"]) == ("TERM", 15)
    assert not {"how", "code", "signal", "took_s"} & removed.keys()


# ---------------------------------------------------------------------------- when the time is up


def test_whose_time_is_up_are_named_and_nobody_else(shared):
    h1 = '[hand.h1]\ncommand = ["false"]\nrestart.limit = 0\n'
    shared.crew(h1)
    shared.ask("apply")
    shared.until("h1", state="failed")
    shared.crew('[hand.h3]\ncommand = ["sleep", "1000"]\nready.by = "notify"\n')

    code, told = hiodctl(shared, "apply", "--timeout", "0.3")

    assert code == 4
    assert "h1: gone\n" in told
    assert told.endswith("timed out: h3 is starting (READY=1 has not come yet); it goes on\n"), told


def test_a_timeout_says_who_is_still_awaited(shared):
    shared.add("done", command=["true"], ready={"by": "exit"}, restart={"policy": "never"})
    shared.add("shot", wait=None, command=SLEEP, ready={"by": "exit"})
    shared.until("shot", state="running")

    with pytest.raises(AdminError) as caught:
        shared.ask("start", names=["done", "shot"], wait="done", timeout_s=0.1)

    assert caught.value.parameters["awaited"] == ["shot"]


# ---------------------------------------------------------------------------- overtaken


def test_a_start_that_somebody_takes_back_has_not_been_done(shared):
    ready = {"by": "exit", "timeout_s": 600}
    shared.add("job", command=SLEEP, ready=ready, wait=None, start=False)
    waits = hiodctl_later(shared, "start", "job", "--wait=done", "--timeout=60")
    shared.until("job", state="running")

    shared.change("stop", "job", wait="gone")

    out, _ = waits.communicate(timeout=30)
    assert (waits.returncode, out.startswith("job: stopped, signal 15")) == (1, True), out


def test_a_stop_that_somebody_takes_back_has_not_been_done(shared):
    """Only the first process is deaf."""
    deaf = "[ -e up ] || trap '' TERM; touch up; while :; do sleep 0.05; done"
    shared.add("web", command=["sh", "-c", deaf], stop={"grace_s": 60})
    wait_until((shared.state / "hands" / "web" / "up").exists)
    waits = hiodctl_later(shared, "stop", "web", "--timeout=60")
    shared.until("web", state="stopping")

    shared.change("start", "web")

    out, _ = waits.communicate(timeout=30)
    assert (waits.returncode, out.startswith("web: stopping")) == (1, True), out
    shared.ask("signal", names=["web"], signal="KILL")
    shared.until("web", state="running")


def test_a_remove_that_somebody_takes_back_has_not_been_done(shared):
    deaf = "[ -e up ] || trap '' TERM; touch up; while :; do sleep 0.05; done"
    keys = f'[hand.app]\ncommand = ["sh", "-c", "{deaf}"]\nstop.grace_s = 60\n'
    shared.crew(keys)
    shared.ask("apply", wait="ready", timeout_s=20)
    wait_until((shared.state / "hands" / "app" / "up").exists)
    waits = hiodctl_later(shared, "remove", "app", "--timeout=60")
    shared.until("app", state="stopping")

    shared.ask("apply")

    out, _ = waits.communicate(timeout=30)
    assert (waits.returncode, out.startswith("app: stopping")) == (1, True), out
    shared.ask("signal", names=["app"], signal="KILL")
    shared.until("app", state="running")
