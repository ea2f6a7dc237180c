"""Bosses and launchers die at random while operators change the crew: what was answered holds."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.chance import LONG
from support.chance import chance as chances
from support.waiting import wait_until

from hiod.admin.client import NoAnswer, NoBoss
from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(3)

ROUNDS = 60 if LONG else 8
RULE = {"delay_s": 0.02, "jitter": 0, "limit": 1000}
STABLE = "stable"


class Wanted:
    """What operators were promised: counts of members, and None for what nobody can know."""

    def __init__(self) -> None:
        self.counts: dict[str, int | None] = {}

    def ask(self, boss: Boss, method: str, of: str, number: int, /, **asked: Any) -> None:
        """Ask for a change; what is not answered may be done or not."""
        try:
            boss.ask(method, **asked)
        except AdminError:
            return
        except (NoBoss, NoAnswer, OSError):
            self.counts[of] = None
        else:
            self.counts[of] = number


def change(boss: Boss, wanted: Wanted, chance: Random) -> None:
    """Change something, as an operator would."""
    name, count = f"m{chance.randrange(4)}", chance.randrange(1, 5)
    match chance.randrange(5):
        case 0 | 1:
            spec = {"name": name, "doers": [], "count": count, "log": "null", "restart": RULE}
            wanted.ask(boss, "add", name, count, spec=spec, replace=True)
        case 2:
            wanted.ask(boss, "remove", name, 0, names=[name])
        case 3:
            wanted.ask(boss, "scale", name, count, name=name, count=count)
        case _:
            # No answer and no refusal changes who is wanted here.
            with suppress(AdminError, NoBoss, NoAnswer, OSError):
                boss.ask("restart", names=[f"{name}-0"])


def hands(boss: Boss) -> dict[int, str]:
    """Return the living processes of hands, by the name they go by."""
    return {
        pid: words.split()[1]
        for pid, words in boss.processes().items()
        if words.startswith("hiod-hand ")
    }


def strike(boss: Boss, chance: Random) -> str:
    """Let the boss live for a moment, then kill it, launchers, a hand, or several of them."""
    assert boss.process is not None
    pidfd = os.pidfd_open(boss.process.pid)
    assert not select.select((pidfd,), (), (), chance.choice((0, chance.uniform(0, 0.5))))[0]
    os.close(pidfd)
    what = chance.choice(("boss", "boss", "launchers", "both", "hand and boss"))
    if what == "hand and boss" and (alive := sorted(hands(boss))):
        with suppress(ProcessLookupError):
            os.kill(chance.choice(alive), signal.SIGKILL)
    if what in {"launchers", "both"}:
        alike = {pid for pid, words in boss.processes().items() if "launcher --runtime" in words}
        for pid in alike:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.ppid() not in alike:
                    process.kill()
    if what != "launchers":
        boss.kill()
    return what


def consistent(boss: Boss) -> dict[str, dict[str, Any]] | None:
    """Return the rows once every hand wanted up has the one process that there is of it."""
    rows = boss.rows()
    up = all(row["state"] == "ready" for row in rows.values())
    there = sorted(hands(boss).items())
    return (
        rows if up and there == sorted((row["pid"], row["name"]) for row in rows.values()) else None
    )


def test_a_storm_of_deaths_while_the_crew_is_changed_doubles_nobody_and_forgets_no_answer(
    bosses: Callable[[], Boss], seen: Callable[[str], None]
) -> None:
    chance = chances("storm")
    boss = bosses().start()
    boss.add(STABLE, doers=[], count=3, log="null", restart=RULE)
    wanted = Wanted()
    wanted.counts[STABLE] = 3
    struck: dict[str, int] = {}

    for _ in range(ROUNDS):
        for _ in range(chance.randrange(4)):
            change(boss, wanted, chance)
        what = strike(boss, chance)
        struck[what] = struck.get(what, 0) + 1
        if what != "launchers":
            if chance.random() < 0.5:
                boss.start()
            else:
                boss.launch()
        if chance.random() < 0.3:
            if boss.process is not None and not boss.admin_socket.exists():
                boss.kill()
                boss.start()
            wait_until(lambda: settled(boss, wanted), 30)
    boss.kill()
    boss.start()

    rows = wait_until(lambda: settled(boss, wanted), 30)
    # Whoever was killed counts; nobody else was ever started again.
    assert boss.events("process.unknown") == []
    story = boss.events()
    assert [one["seq"] for one in story] == list(range(story[0]["seq"], story[-1]["seq"] + 1))
    seen(f"{sum(struck.values())} strikes ({', '.join(f'{n} {w}' for w, n in struck.items())})")
    seen(f"at last {len(rows)} hands, each with one process; every answered change held")


def settled(boss: Boss, wanted: Wanted) -> dict[str, dict[str, Any]] | None:
    """Return the rows once each is as it should be, and the crew is what was promised."""
    try:
        rows = consistent(boss)
    except (NoBoss, NoAnswer, OSError):
        return None
    if rows is None:
        return None
    counts: dict[str, int] = {}
    for row in rows.values():
        counts[row["spec"]] = counts.get(row["spec"], 0) + 1
    for name, count in wanted.counts.items():
        assert count is None or counts.get(name, 0) == count, (name, count, sorted(rows))
    return rows
