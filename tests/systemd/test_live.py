"""The boss dies under a real systemd while its hands talk: they notice nothing.

The same as ``tests/chaos/test_live_restore.py`` asks without systemd; the number of hands and of
deaths grows in the same way with ``HIOD_CHAOS=1``.
"""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.talking import assert_nothing_is_lost, chatters, hush, identities
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.nspawn import Machine

CHATTER = Path(__file__).parents[1] / "support/chatter.py"
LONG = os.environ.get("HIOD_CHAOS") == "1"
HANDS, DEATHS = (100, 20) if LONG else (10, 3)
TOCK_S = 0.25 if LONG else 0.05
SEED = int(os.environ.get("HIOD_SEED", "7"))
NAMES = [f"chat-{number}" for number in range(HANDS)]
BAD = {"hand.lost", "hand.died", "hand.backing_off", "process.unknown", "launcher.gone"}


@pytest.fixture
def talkers(hiod: Machine) -> Iterator[Machine]:
    """Give the machine with a crew that talks, all ready."""
    hiod.write("/opt/talk/chatter.py", CHATTER.read_text())
    hiod.write("/etc/hiod/crew.d/chat.toml", chatters(HANDS, TOCK_S, "/opt/talk"))
    hiod.call("apply", wait="ready", timeout_s=60)
    yield hiod
    hiod.run("rm", "-r", "/etc/hiod/crew.d/chat.toml", "/opt/talk")
    hiod.call("apply", wait="gone", timeout_s=60)
    hiod.run("sh", "-c", "rm -r /var/lib/hiod/hands/chat-*")  # their books


def crew(machine: Machine) -> dict[str, tuple[Any, ...]]:
    """Return what must not change of those that talk."""
    rows = machine.hands()
    return identities({name: rows[name] for name in NAMES})


def next_boss(machine: Machine, boss: int) -> int:
    """Wait for the boss that follows; it may not be ready yet."""
    return int(wait_until(lambda: (machine.main_pid() or boss) != boss and machine.main_pid()))


@contextlib.contextmanager
def setting(machine: Machine, line: str) -> Iterator[None]:
    """Run the service with one line changed."""
    drop_in = "/run/systemd/system/hiod.service.d/setting.conf"
    machine.write(drop_in, f"[Service]\n{line}\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "hiod")
    try:
        yield
    finally:
        machine.run("rm", drop_in)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", "hiod")


def assert_nobody_noticed(
    machine: Machine, before: dict[str, tuple[Any, ...]], since: str, deaths: int
) -> None:
    """Let the hands balance their books, and read what the journal has of it."""
    assert crew(machine) == before
    books = hush(machine.call, machine.root / "var/lib/hiod/hands", NAMES)
    assert_nothing_is_lost(books, {name: before[name][1] for name in NAMES})
    assert crew(machine) == before

    story = [one for one in machine.journal(since=since) if "HIOD_EVENT" in one]
    told = [one["HIOD_EVENT"] for one in story]
    assert not BAD & set(told), [one["MESSAGE"] for one in story if one["HIOD_EVENT"] in BAD]
    assert "hand.spawned" not in told
    # Each boss that came as far as to say so has them all.
    adopted = {one["HIOD_HAND"] for one in story if one["HIOD_EVENT"] == "hand.adopted"}
    assert set(NAMES) <= adopted
    assert 1 <= told.count("boss.started") <= deaths
    assert machine.show("hiod", "NRestarts") == str(deaths)


def test_hands_that_talk_live_on_while_systemd_brings_their_boss_back_again_and_again(
    talkers: Machine,
) -> None:
    talkers.run("systemctl", "restart", "hiod")  # the count of restarts begins anew
    before, since = crew(talkers), talkers.cursor()
    chance = random.Random(SEED)
    boss = talkers.main_pid()

    for _ in range(DEATHS):
        # Some die while they are starting, some while they adopt, some long after.
        talkers.run("sh", "-c", f"sleep {chance.uniform(0.0, 0.8):.3f}; kill -KILL {boss}")
        boss = next_boss(talkers, boss)

    assert_nobody_noticed(talkers, before, since, DEATHS)


def test_hands_that_talk_live_on_while_the_watchdog_shoots_their_boss(talkers: Machine) -> None:
    with setting(talkers, "WatchdogSec=1s"):
        before, since = crew(talkers), talkers.cursor()
        boss = talkers.main_pid()

        talkers.run("kill", "-STOP", str(boss))

        next_boss(talkers, boss)
        said = [one["MESSAGE"] for one in talkers.journal("UNIT=hiod.service", since=since)]
        assert "hiod.service: Watchdog timeout (limit 1s)!" in said
        assert_nobody_noticed(talkers, before, since, 1)


def test_a_boss_that_is_ended_for_want_of_memory_takes_nobody_along(hiod: Machine) -> None:
    # To the unit the kernel's killer is a SIGKILL of one process; what it adds is this policy.
    assert hiod.show("hiod", "OOMPolicy") == "continue"
    assert hiod.show("hiod", "KillMode") == "process"
    assert hiod.show("hiod", "Restart") == "always"
