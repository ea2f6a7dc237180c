"""Who is in the crew: definitions that go and come back while their hands are still leaving."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import wait_until

from hiod.errors import AdminError

if TYPE_CHECKING:
    from support.boss import Boss

pytest_plugins = ("support.boss",)

SLEEPER = ["sleep", "1000"]
SLOW = ["sh", "-c", "trap 'sleep 0.7; exit 0' TERM; sleep 1000 & wait"]
"""It takes a while to end."""


def slow(name: str, *lines: str) -> str:
    """Return the lines of a crew file that define a hand which takes a while to end."""
    return "\n".join([f"[hand.{name}]", f"command = {json.dumps(SLOW)}", *lines, ""])


def apply(boss: Boss, wait: str | None = "ready") -> dict[str, Any]:
    """Apply the crew files; without ``wait`` it is answered when on record."""
    waiting = {} if wait is None else {"wait": wait, "timeout_s": 20}
    return boss.ask("apply", **waiting)


def hiodctl(boss: Boss, *words: str) -> tuple[int, str]:
    """Run a command of an operator; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "hiod.ctl.main", "--socket", str(boss.admin_socket), *words],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def states(boss: Boss) -> dict[str, str]:
    return {name: row["state"] for name, row in boss.rows().items()}


# ---------------------------------------------------------------------------- coming back


def test_a_definition_put_back_while_its_hand_leaves_is_the_one_that_runs(shared):
    shared.crew(slow("web", 'env = { V = "1" }'))
    apply(shared)
    shared.crew("")
    apply(shared, wait=None)
    shared.crew(slow("web", 'env = { V = "2" }'))

    told = apply(shared)

    assert [(one["name"], one["action"]) for one in told["changes"]] == [("web", "add")]
    assert [(one["name"], one["state"]) for one in told["hands"]] == [("web", "running")]
    assert shared.ask("status", name="web")["spec"]["env"] == {"V": "2"}
    environ = Path(f"/proc/{shared.row('web')['pid']}/environ")
    assert wait_until(lambda: b"V=2\0" in environ.read_bytes())
    assert shared.ask("plan")["changes"] == []


def test_a_definition_put_back_that_is_not_to_start_does_not(shared):
    shared.crew(slow("web"))
    apply(shared)
    shared.crew("")
    apply(shared, wait=None)
    shared.crew(slow("web", "start = false"))

    told = apply(shared)

    assert [(one["name"], one["state"]) for one in told["hands"]] == [("web", "stopped")]
    row = shared.row("web")
    assert (row["state"], row["wanted"]) == ("stopped", "down")


def test_a_hand_that_still_waits_for_its_turn_to_leave_stays_with_its_definition_put_back(shared):
    crew = slow("db") + slow("web", 'after = ["db"]')
    shared.crew(crew)
    apply(shared)
    before = shared.row("db")["pid"]
    shared.crew("")
    apply(shared, wait=None)
    shared.crew(crew.replace("[hand.web]", 'env = { V = "2" }\n[hand.web]'))

    apply(shared)

    assert states(shared) == {"db": "running", "web": "running"}
    assert shared.row("db")["pid"] != before
    assert shared.ask("status", name="db")["spec"]["env"] == {"V": "2"}


def test_a_hand_that_waits_for_its_turn_to_leave_and_is_not_to_start_is_stopped_in_that_order(
    shared,
):
    shared.crew(slow("db") + slow("web", 'after = ["db"]'))
    apply(shared)
    shared.crew("")
    apply(shared, wait=None)
    shared.crew(slow("db", "start = false"))

    apply(shared)

    assert states(shared) == {"db": "stopped"}
    ended = [one["hand"] for one in shared.events("hand.stopped")]
    assert ended == ["web", "db"]


def test_what_is_scaled_up_again_while_it_leaves_comes_back_as_a_new_hand_would(shared):
    shared.add("web", command=SLOW, count=2)
    shared.add("job", command=SLOW, count=2, start=False, wait=None)
    shared.change("start", "job", wait="ready")
    for name in ("web", "job"):
        shared.ask("scale", name=name, count=1)

        told = shared.ask("scale", name=name, count=2, wait="ready", timeout_s=20)["hands"]

        assert [one["name"] for one in told] == [f"{name}-1"]
    assert states(shared) == {
        "job-0": "running", "job-1": "stopped", "web-0": "running", "web-1": "running",
    }  # fmt: skip


# ---------------------------------------------------------------------------- another's name


def test_an_instance_takes_the_name_of_a_hand_that_leaves(shared):
    shared.crew(slow("web-0"))
    apply(shared)
    shared.crew(slow("web", "count = 2"))

    told = hiodctl(shared, "apply")

    assert told[0] == 0, told
    assert states(shared) == {"web-0": "running", "web-1": "running"}
    assert "web-0: running" in told[1]
    assert shared.row("web-0")["spec"] == "web"


def test_a_hand_takes_the_name_of_an_instance_that_leaves(shared):
    shared.crew(slow("web", "count = 2"))
    apply(shared)
    shared.crew(slow("web-0"))

    apply(shared)

    assert states(shared) == {"web-0": "running"}


def test_whoever_waits_for_a_hand_to_be_gone_does_not_wait_for_its_successor(shared):
    shared.crew(slow("web-0"))
    apply(shared)
    shared.crew(slow("web", "count = 1"))

    told = apply(shared, wait="gone")

    assert [one["name"] for one in told["hands"]] == ["web-0"]
    shared.until("web-0", state="running", generation=1)


def test_a_hand_is_added_when_none_of_its_names_is_one_that_leaves(shared):
    shared.add("web-0", command=SLOW)
    shared.change("remove", "web-0")

    with pytest.raises(AdminError) as caught:
        shared.add("web", command=SLEEPER, count=2)

    assert (caught.value.code, caught.value.parameters["code"]) == ("Conflict", "leaving")
    assert caught.value.parameters["hands"] == ["web-0"]
    shared.add("web", command=SLEEPER)  # no instance of it is called web-0


def test_a_name_taken_over_is_there_after_a_boss_that_died_meanwhile(bosses):
    boss = bosses()
    boss.crew(slow("web-0"))
    boss.start()
    boss.until("web-0", state="running")
    boss.crew(slow("web", "count = 2"))
    apply(boss, wait=None)
    boss.kill()

    boss.start()

    boss.until("web-1", state="running")
    assert wait_until(lambda: boss.row("web-0")["spec"] == "web")
    boss.until("web-0", state="running")
    assert boss.ask("plan")["changes"] == []


def test_who_takes_a_hand_out_is_told_and_not_who_had_stopped_it(shared):
    shared.add("web", command=SLEEPER)
    hiodctl(shared, "stop", "web")
    (stopped,) = shared.events("hand.stopping")

    shared.change("remove", "web", wait="gone")

    (removed,) = shared.events("hand.removed")
    assert removed["facts"]["by"] != stopped["facts"]["by"]


def test_what_was_known_of_a_hand_is_kept_with_its_end_when_it_leaves(shared):
    shared.add("web", doers=[], health={"beat_s": 0.1})
    wait_until(lambda: shared.ask("status", name="web")["memo"]["beat"])
    shared.change("remove", "web", wait="gone")

    shared.add("web", doers=[])

    latest = shared.ask("status", name="web")["deaths"][0]
    assert latest["beat_s"] is not None


# ---------------------------------------------------------------------------- files and runtime


def refused(boss: Boss, *words: str) -> None:
    """Check that the files cannot be applied, and that everybody who asks hears why."""
    before = boss.rows()
    with pytest.raises(AdminError) as caught:
        apply(boss)
    told = caught.value.parameters["problems"]
    planned = boss.ask("plan")
    assert caught.value.code == "BadSpec"
    assert (planned["changes"], planned["problems"]) == ([], told)
    assert all(word in f"{told[0]['path']}: {told[0]['message']}" for word in words)
    about = boss.ask("about")
    assert (about["files"].split(":")[0], about["pending"]) == ("broken", 0)
    since = boss.ask("list")["seq"]
    boss.process.send_signal(signal.SIGHUP)
    assert all(
        word in boss.event("config.broken", since=since)["facts"]["problems"] for word in words
    )
    assert boss.rows().keys() == before.keys()


def test_files_whose_instances_are_called_like_a_hand_added_at_runtime_are_refused(shared):
    shared.add("web-0", command=SLEEPER)
    shared.crew(slow("web", "count = 2"))

    refused(shared, "added at runtime: hand.web-0", 'instance of "web"')

    shared.change("remove", "web-0", wait="gone")
    assert shared.ask("about")["files"] == "ok"
    apply(shared)
    assert states(shared) == {"web-0": "running", "web-1": "running"}


def test_a_hand_that_one_added_at_runtime_comes_after_is_not_taken_away(shared):
    shared.crew(slow("db"))
    apply(shared)
    shared.add("rt", command=SLEEPER, after=["db"])
    shared.crew("")

    refused(shared, "added at runtime: hand.rt.after[0]", '"db"')

    shared.change("remove", "rt", wait="gone")
    assert [one["name"] for one in apply(shared)["hands"]] == ["db"]


def test_a_cold_start_says_that_the_files_do_not_go_with_runtime_hands_and_keeps_the_crew(bosses):
    boss = bosses()
    boss.crew(slow("db"))
    boss.start()
    boss.add("web-0", command=SLEEPER)
    boss.crew(slow("web", "count = 2"))
    assert boss.end() == 0

    boss.start()

    assert {name: row["wanted"] for name, row in boss.rows().items()} == {
        "db": "up", "web-0": "up",
    }  # fmt: skip
    assert "hand.web-0" in boss.event("config.broken", since=0)["facts"]["problems"]
    assert boss.ask("about")["files"].startswith("broken: added at runtime: hand.web-0: ")
    boss.until("web-0", state="running")


# ---------------------------------------------------------------------------- what is wanted stays


def test_a_definition_that_changes_while_its_hand_is_being_stopped_waits_for_the_next_start(shared):
    crew = slow("db") + slow("web", 'after = ["db"]')
    shared.crew(crew)
    apply(shared)
    shared.change("stop", "db", "web")
    shared.crew(crew.replace("[hand.web]", "nice = 3\n[hand.web]"))

    assert hiodctl(shared, "plan") == (0, "~ db: change nice (at its next start)\n")
    apply(shared)

    shared.until("db", state="stopped")
    assert [one["hand"] for one in shared.events("hand.stopped")] == ["web", "db"]
    assert not shared.events("hand.restarting")
    assert shared.ask("status", name="db")["spec"]["nice"] == 3


def test_a_hand_that_was_stopped_stays_so_when_it_is_given_a_count(shared):
    shared.crew('[hand.web]\ncommand = ["sleep", "1000"]\n')
    apply(shared)
    shared.change("stop", "web", wait="gone")
    shared.crew('[hand.web]\ncommand = ["sleep", "1000"]\ncount = 2\n')

    told = hiodctl(shared, "apply")

    assert told[0] == 0, told
    assert told[1].splitlines()[0] == "~ web: count 2 now (removes web, adds web-0, web-1)"
    assert {name: (row["state"], row["wanted"]) for name, row in shared.rows().items()} == {
        "web-0": ("stopped", "down"), "web-1": ("stopped", "down"),
    }  # fmt: skip


def test_plan_says_who_goes_and_who_comes_with_another_count(shared):
    crew = '[hand.web]\ncommand = ["sleep", "1000"]\ncount = {}\n'
    shared.crew(crew.format(3))
    apply(shared)
    shared.crew(crew.format(1))

    assert hiodctl(shared, "plan") == (0, "~ web: count 3 to 1 (stops web-1, web-2)\n")
    apply(shared)
    assert states(shared) == {"web-0": "running"}
    shared.crew(crew.format(2))
    (change,) = apply(shared)["changes"]
    assert (change["hands"], change["keys"]) == (["web-0", "web-1"], ["count"])


def test_plan_says_that_a_hand_added_at_runtime_is_the_files_now(shared):
    shared.add("rt", command=SLEEPER)
    before = shared.row("rt")["pid"]
    shared.crew('[hand.rt]\ncommand = ["sleep", "1000"]\n', "rt.toml")

    assert hiodctl(shared, "plan") == (0, "~ rt: now from crew.d/rt.toml\n")
    apply(shared)
    assert shared.row("rt")["pid"] == before
    assert hiodctl(shared, "plan")[1].startswith("nothing to do")


# ---------------------------------------------------------------------------- hiod.toml


def test_what_changed_in_hiod_toml_is_planned_and_pending_while_apply_would_do_something(bosses):
    boss = bosses()
    boss.start()
    toml = '[boss]\nlog_level = "debug"\n[admin]\nread = ["4711"]\n'
    (boss.config / "hiod.toml").write_text(toml)
    later = "~ hiod.toml: boss.log_level (with the next boss)\n"

    assert boss.ask("about")["pending"] == 1
    assert hiodctl(boss, "plan") == (0, f"~ hiod.toml: admin.read (at once)\n{later}")
    assert hiodctl(boss, "apply") == (0, f"~ hiod.toml: admin.read (at once)\n{later}")

    assert boss.ask("list")["pending"] == 0
    assert hiodctl(boss, "plan") == (0, later)
    apply(boss)
    assert [one["facts"]["summary"] for one in boss.events("config.reloaded")] == [
        "1 changed", "0 changed",
    ]  # fmt: skip
    assert boss.end() == 0
    boss.start()
    assert hiodctl(boss, "plan")[1].startswith("nothing to do")
