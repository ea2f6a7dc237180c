"""Hands and launchers that die while there is no boss, or with it: told truly, treated by rule."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(2)

SUPPORT = str(Path(__file__).parents[1] / "support")
RULE = {"delay_s": 0.05, "jitter": 0}


def mortal(boss: Boss, name: str, policy: str = "always", **spec: Any) -> None:
    """Add a hand that ends as it is told to."""
    boss.add(
        name,
        doers=["chatter:Mortal"],
        path=[SUPPORT],
        restart={**RULE, "policy": policy},
        log="null",
        **spec,
    )


def tell_to_end(boss: Boss, name: str, code: int) -> None:
    """Tell a mortal with which code to exit."""
    order = boss.state / "hands" / name / "end"
    order.with_suffix(".new").write_text(str(code))
    order.with_suffix(".new").rename(order)


@contextlib.contextmanager
def ends_of(pids: list[int]) -> Iterator[None]:
    """Wait, at the end of the block, until these processes have ended."""
    pidfds = [os.pidfd_open(pid) for pid in pids]
    try:
        yield
        for pid, pidfd in zip(pids, pidfds, strict=True):
            assert select.select((pidfd,), (), (), 20)[0], f"process {pid} lives"
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


def last_death(boss: Boss, name: str) -> dict[str, Any]:
    return dict(boss.ask("status", name=name)["deaths"][0])


def launcher_pids(boss: Boss) -> list[int]:
    return [one["pid"] for one in boss.ask("about")["launchers"]]


@pytest.mark.parametrize("survivor", [True, False], ids=["one-lives", "all-die"])
def test_ends_without_a_boss_are_told_as_they_were_and_treated_by_rule(
    bosses: Callable[[], Boss], survivor: bool
) -> None:
    boss = bosses().start()
    mortal(boss, "fine", "on-failure")
    mortal(boss, "three", "on-failure")
    mortal(boss, "segv", "never")
    mortal(boss, "killed", "always")
    mortal(boss, "raises", "never")
    if survivor:
        mortal(boss, "lives")
    rows = boss.rows()
    boss.kill()

    before = time.time()
    with ends_of([rows[name]["pid"] for name in rows if name != "lives"]):
        tell_to_end(boss, "fine", 0)
        tell_to_end(boss, "three", 3)
        tell_to_end(boss, "raises", 101)
        os.kill(rows["segv"]["pid"], signal.SIGSEGV)
        os.kill(rows["killed"]["pid"], signal.SIGKILL)
    after = time.time()
    boss.start()

    assert boss.until("fine", state="done")["restarts"] == 0
    assert boss.until("three", state="ready")["restarts"] == 1
    assert boss.until("segv", state="failed")["restarts"] == 0
    assert boss.until("killed", state="ready")["restarts"] == 1
    assert boss.until("raises", state="failed")["restarts"] == 0
    deaths = {name: last_death(boss, name) for name in rows if name != "lives"}
    ends = {name: (one["code"], one["signal"]) for name, one in deaths.items()}
    assert ends == {
        "fine": (0, None),
        "three": (3, None),
        "segv": (None, signal.SIGSEGV),
        "killed": (None, signal.SIGKILL),
        "raises": (1, None),
    }
    for one in deaths.values():
        assert before - 0.1 <= wall(one["at"]) <= after + 0.1
    assert "told to fail with 101" in deaths["raises"]["last_words"]
    assert "Segmentation fault" in deaths["segv"]["last_words"]
    if survivor:
        assert boss.row("lives")["pid"] == rows["lives"]["pid"]


def wall(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_hands_outlive_a_launcher_that_is_killed_and_what_nobody_saw_stays_unknown(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses().start()
    mortal(boss, "ends")
    mortal(boss, "lives")
    rows = boss.rows()
    launcher = launcher_pids(boss)[0]

    os.kill(launcher, signal.SIGKILL)
    boss.event("launcher.gone", hands=2)
    assert {name: row["pid"] for name, row in boss.rows().items()} == {
        name: row["pid"] for name, row in rows.items()
    }
    tell_to_end(boss, "ends", 3)
    boss.event("hand.ready", "ends", generation=2)

    death = last_death(boss, "ends")
    assert (death["code"], death["signal"]) == (None, None)
    row = boss.row("ends")
    assert (row["state"], row["restarts"], row["generation"]) == ("ready", 1, 2)
    assert boss.row("lives")["pid"] == rows["lives"]["pid"]
    assert boss.row("lives")["restarts"] == 0


def test_hands_outlive_boss_and_launcher_killed_together(bosses: Callable[[], Boss]) -> None:
    boss = bosses().start()
    mortal(boss, "ends", "never")
    mortal(boss, "lives")
    mortal(boss, "later")
    rows = boss.rows()
    launcher = launcher_pids(boss)[0]

    with ends_of([launcher]):
        os.kill(launcher, signal.SIGKILL)
        boss.kill()
    with ends_of([rows["ends"]["pid"]]):
        tell_to_end(boss, "ends", 0)
    boss.start()

    assert boss.until("ends", state="failed")["pid"] is None
    death = last_death(boss, "ends")
    assert (death["code"], death["signal"]) == (None, None)
    for name in ("lives", "later"):
        row = boss.until(name, state="ready")
        assert (row["pid"], row["restarts"]) == (rows[name]["pid"], 0)
    # They hear this boss, which has another socket at the same path, and it sees them end.
    assert boss.change("stop", "lives", wait="gone")[0]["how"] == "END"
    tell_to_end(boss, "later", 101)
    boss.event("hand.ready", "later", generation=2)
    assert "told to fail with 101" in last_death(boss, "later")["last_words"]


def test_hands_found_without_a_launcher_survive_the_next_boss_too(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses().start()
    mortal(boss, "lives")
    pid = boss.row("lives")["pid"]
    launcher = launcher_pids(boss)[0]
    with ends_of([launcher]):
        os.kill(launcher, signal.SIGKILL)
        boss.kill()
    boss.start()
    boss.kill()
    boss.start()

    row = boss.until("lives", state="ready")
    assert (row["pid"], row["restarts"]) == (pid, 0)
    assert boss.change("stop", "lives", wait="gone")[0]["how"] == "END"


@pytest.mark.promise(3)
def test_a_launcher_killed_while_it_starts_hands_doubles_none(
    bosses: Callable[[], Boss],
) -> None:
    boss = bosses()
    boss.crew('[hand.many]\ndoers = []\ncount = 20\nlog = "null"\nrestart = { delay_s = 0.01 }\n')

    boss.launch()
    with contextlib.closing(watch_births(boss)) as births:
        next(births)
        kill_launchers(boss)
    for number in range(20):
        boss.until(f"many-{number}", state="ready")
    assert_one_process_each(boss, 20)


def watch_births(boss: Boss) -> Iterator[int]:
    """Give the number of hands that have begun, whenever it has grown."""
    seen = 0
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        now = sum(words.startswith("hiod-hand") for words in boss.processes().values())
        if now > seen:
            seen = now
            yield seen
    pytest.fail(f"no hand has begun\n{boss.log()}")


def kill_launchers(boss: Boss) -> None:
    """Kill a boss's launchers. A newborn hand still looks like its launcher, but is its child."""
    alike = {pid for pid, words in boss.processes().items() if "launcher --runtime" in words}
    launchers = []
    for pid in alike:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.ppid() not in alike:
                process.kill()
                launchers.append(pid)
    wait_until(lambda: not set(launchers) & set(boss.processes()))


def assert_one_process_each(boss: Boss, number: int) -> None:
    """Assert that every hand has the process the boss says, and nobody has another."""
    hands = {
        pid: words.split()[1]
        for pid, words in boss.processes().items()
        if words.startswith("hiod-hand")
    }
    assert hands == {row["pid"]: name for name, row in boss.rows().items() if row["pid"]}
    assert len(hands) == number


@pytest.mark.promise(3)
@pytest.mark.parametrize("at", [1, 7, 15])
def test_boss_and_launcher_killed_while_hands_start_double_none(
    bosses: Callable[[], Boss], at: int
) -> None:
    boss = bosses()
    boss.crew('[hand.many]\ndoers = []\ncount = 20\nlog = "null"\n')

    process = boss.launch()
    with contextlib.closing(watch_births(boss)) as births:
        while next(births) < at:
            pass
        process.kill()
        kill_launchers(boss)
    process.wait()
    before = set(boss.processes())
    boss.start()

    for number in range(20):
        boss.until(f"many-{number}", state="ready")
    assert_one_process_each(boss, 20)
    assert before <= set(boss.processes())
    assert all(row["restarts"] == 0 for row in boss.rows().values())
