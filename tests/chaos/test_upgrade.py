"""Another version of hiod takes over a crew that runs; and the code of a hand may go away under it.

Another version is a copy of the package with another version number, and more where a test needs
it, in front of all others on the path of the boss and so of its launchers.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.talking import identities
from support.versions import OTHER, copy, with_newer_schema
from support.waiting import wait_until

import hiod
from hiod.host.packets import DUMP_SIGNAL
from hiod.host.store import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)
pytestmark = pytest.mark.promise(5)

SUPPORT = str(Path(__file__).parents[1] / "support")


def use(boss: Boss, folder: Path | None) -> None:
    """Let the next start be of the hiod in that folder; None: of this one."""
    if folder is None:
        boss.environ = {"PYTHONPATH": None, "PYTHONSAFEPATH": None}
    else:
        boss.environ = {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def mortal(boss: Boss, name: str, **spec: Any) -> None:
    """Add a hand that ends as it is told to, and writes down the numbers it is sent."""
    told: dict[str, Any] = {
        "doers": ["chatter:Mortal", "chatter:Collector"],
        "path": [SUPPORT],
        "restart": {"delay_s": 0.05, "jitter": 0},
        "health": {"beat_s": 0.2},
        "log": "null",
    }
    boss.add(name, **told | spec)


def numbers(boss: Boss, name: str) -> list[int]:
    """Return the numbers a hand has received."""
    path = boss.state / "hands" / name / "numbers"
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


def send(boss: Boss, name: str, number: int) -> None:
    """Send a hand a number and wait until it has it."""
    boss.ask("send", names=[name], tag="NUMBER", load={"n": number})
    wait_until(lambda: number in numbers(boss, name))


def tell_to_end(boss: Boss, name: str, code: int) -> None:
    order = boss.state / "hands" / name / "end"
    order.with_suffix(".new").write_text(str(code))
    order.with_suffix(".new").rename(order)


def marked(boss: Boss, how: str) -> dict[str, bool]:
    """Return which hands are shown as running the code of another version, ``older`` or newer."""
    rows = boss.rows()
    assert not any(row["older"] and row["newer"] for row in rows.values())
    return {name: row[how] for name, row in rows.items()}


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def launchers(boss: Boss, how: str = "older") -> dict[int, bool]:
    """Return the launchers by pid: whether it is ``older``, or newer, than the boss."""
    return {one["pid"]: one[how] for one in boss.ask("about")["launchers"]}


def hiodctl(boss: Boss, *words: str) -> tuple[int, str, str]:
    """Run a command of an operator; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "hiod", "ctl", "--socket", str(boss.admin_socket), *words],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


# ---------------------------------------------------------------------------- another version


@pytest.mark.parametrize("backwards", [False, True], ids=["there", "back"])
@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGKILL], ids=["restart", "kill"])
def test_another_version_takes_the_crew_over_and_the_launcher_of_the_last_runs_out(
    bosses: Callable[[], Boss], home: Path, how: signal.Signals, backwards: bool
) -> None:
    versions = [None, copy(home)]
    if backwards:
        versions.reverse()
    boss = bosses()
    use(boss, versions[0])
    boss.start()
    mortal(boss, "first")
    mortal(boss, "second")
    mortal(boss, "third")
    before = identities(boss.rows())
    told = boss.ask("about")["version"]
    (old,) = launchers(boss)

    boss.end(how)
    use(boss, versions[1])
    boss.start()

    # It has the same processes, shows which of them run the other code, and is heard by them.
    assert {told, boss.ask("about")["version"]} == {hiod.__version__, OTHER} != {told}
    assert identities(boss.rows()) == before
    how = "newer" if backwards else "older"
    assert marked(boss, how) == {"first": True, "second": True, "third": True}
    assert launchers(boss, how) == {old: True}
    code, shown, _ = hiodctl(boss, "list")
    assert code == 0
    assert "first*" in shown
    assert hiodctl(boss, "about")[1].count(f"{how} hiod") == 1
    send(boss, "first", 1)

    # What is new comes from its own launcher, whether added, started again or after a failure.
    mortal(boss, "new")
    boss.change("restart", "first", wait="ready")
    tell_to_end(boss, "second", 3)
    boss.event("hand.ready", "second", generation=2)
    assert marked(boss, how) == {"first": False, "second": False, "third": True, "new": False}
    rows = boss.rows()
    (own,) = (pid for pid, older in launchers(boss, how).items() if not older)
    assert {parent(rows[name]["pid"]) for name in ("first", "second", "new")} == {own}
    assert parent(rows["third"]["pid"]) == old

    # With its last hand the old launcher ends, and nothing that it held is lost.
    pidfd = os.pidfd_open(old)
    boss.change("stop", "third", wait="gone")
    assert select.select((pidfd,), (), (), 20)[0], "the old launcher lives on without hands"
    os.close(pidfd)
    assert launchers(boss, how) == {own: False}
    boss.change("start", "third", wait="ready")
    after = identities(boss.rows())
    boss.kill()
    boss.start()
    assert identities(boss.rows()) == after
    for name in after:
        send(boss, name, 2)


def schema(boss: Boss) -> int:
    """Return the schema version of the database of a boss that is dead."""
    with closing(sqlite3.connect(f"file:{boss.state}/hiod.db?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def files(boss: Boss) -> dict[str, bytes]:
    """Return the database as it lies on the disk; its index of the moment is no part of it."""
    found = {path.name: path.read_bytes() for path in boss.state.glob("hiod.db*")}
    found.pop("hiod.db-shm", None)
    return found


def test_a_newer_version_brings_the_database_up_and_an_older_one_then_leaves_all_alone(
    bosses: Callable[[], Boss], home: Path
) -> None:
    newer = with_newer_schema(copy(home))
    boss = bosses().start()
    mortal(boss, "first")
    mortal(boss, "second", after=["first"])
    before = identities(boss.rows())
    boss.kill()
    assert schema(boss) == SCHEMA

    use(boss, newer)
    boss.start()
    assert identities(boss.rows()) == before
    boss.kill()
    assert schema(boss) == SCHEMA + 1
    processes, database = boss.processes(), files(boss)

    # Back to this one: it says why it cannot, each time it is tried, and does nothing.
    use(boss, None)
    for _ in range(2):
        assert boss.launch().wait(20) == 78
    refusal = f"has schema {SCHEMA + 1}, this hiod knows {SCHEMA}: start the newer hiod that wrote"
    assert boss.log().count(refusal) == 2
    assert boss.processes() == processes
    assert files(boss) == database

    # The right one has them again, none the wiser.
    use(boss, newer)
    boss.start()
    assert identities(boss.rows()) == before
    send(boss, "second", 1)
    assert boss.events("hand.lost", "hand.died", "process.unknown", "launcher.gone") == []


# ---------------------------------------------------------------------------- code that goes away


def beaten(boss: Boss, name: str) -> str | None:
    """Return when the boss last heard a hand's heart."""
    beat: str | None = boss.ask("status", name=name)["memo"]["beat"]
    return beat


@pytest.mark.parametrize("how", ["same-boss", "next-boss", "replaced"])
def test_hands_whose_code_is_deleted_work_and_end_and_leave_their_last_words(
    bosses: Callable[[], Boss], home: Path, how: str
) -> None:
    folder = copy(home)
    boss = bosses()
    use(boss, folder)
    boss.start()
    names = ["asked", "exits", "raises", "crashes", "stopped"]
    for name in names:
        mortal(boss, name, restart={"policy": "never"})
    before = identities(boss.rows())

    shutil.rmtree(folder)
    if how == "replaced":
        # What a hand would import now is not what it runs.
        for path in Path(hiod.__file__).parent.rglob("*.py"):
            other = folder / "hiod" / path.relative_to(Path(hiod.__file__).parent)
            other.parent.mkdir(parents=True, exist_ok=True)
            other.write_text("raise ImportError('not for those who were there before')\n")
    if how != "same-boss":
        boss.kill()
        use(boss, None)
        boss.start()

    assert identities(boss.rows()) == before
    for name in names:
        beat = beaten(boss, name)
        wait_until(lambda name=name, beat=beat: beaten(boss, name) != beat)
        send(boss, name, 7)
    os.kill(before["asked"][1], DUMP_SIGNAL)
    os.kill(before["raises"][1], DUMP_SIGNAL)
    os.kill(before["crashes"][1], signal.SIGSEGV)
    os.kill(before["stopped"][1], signal.SIGTERM)
    tell_to_end(boss, "exits", 3)
    tell_to_end(boss, "raises", 101)
    assert boss.change("stop", "asked", wait="gone")[0]["how"] == "END"
    for name in names[1:]:
        boss.until(name, pid=None)
    deaths = {name: boss.ask("status", name=name)["deaths"][0] for name in names}
    assert {name: (one["code"], one["signal"]) for name, one in deaths.items()} == {
        "asked": (0, None),
        "exits": (3, None),
        "raises": (1, None),
        "crashes": (None, signal.SIGSEGV),
        "stopped": (0, None),
    }
    words = {name: one["last_words"] or "" for name, one in deaths.items()}
    assert "most recent call first" in words["asked"]
    assert "RuntimeError: told to fail with 101" in words["raises"]
    assert "most recent call first" in words["raises"]
    assert "Segmentation fault" in words["crashes"]
    assert "doing.py" in words["crashes"]
    assert (words["exits"], words["stopped"]) == ("", "")


def test_a_boss_whose_code_is_deleted_goes_on_and_starts_its_hands_again(
    bosses: Callable[[], Boss], home: Path
) -> None:
    folder = copy(home)
    boss = bosses()
    use(boss, folder)
    boss.start()
    mortal(boss, "first")
    mortal(boss, "second")

    shutil.rmtree(folder)

    tell_to_end(boss, "first", 101)
    boss.event("hand.ready", "first", generation=2)
    boss.change("restart", "second", wait="ready")
    mortal(boss, "third")
    for name in boss.rows():
        send(boss, name, 1)
    boss.crew('[hand.fourth]\ndoers = []\nlog = "null"\n')
    boss.ask("apply", wait="ready", timeout_s=20)
    assert boss.event("hand.ready", "fourth")
    death = boss.ask("status", name="first")["deaths"][0]
    assert "RuntimeError: told to fail with 101" in death["last_words"]
    after = identities(boss.rows())
    assert boss.end(signal.SIGUSR1) == 75
    use(boss, None)
    boss.start()
    assert identities(boss.rows()) == after


# ---------------------------------------------------------------------------- hands in batches


def test_a_rolling_restart_replaces_a_batch_at_a_time_and_ends_at_the_first_that_fails(
    bosses: Callable[[], Boss], home: Path
) -> None:
    boss = bosses().start()
    boss.add(
        "many", doers=["chatter:Picky"], path=[SUPPORT], count=6, log="null",
        restart={"policy": "never"},
    )  # fmt: skip
    use(boss, copy(home))
    boss.end(signal.SIGUSR1)
    boss.start()
    before = identities(boss.rows())
    names = sorted(before)

    # All of them, two at a time: nobody is asked to end before those asked earlier are ready.
    code, told, wrong = hiodctl(boss, "restart", "--rolling=2", "many")
    assert (code, wrong) == (0, "")
    assert [line.partition(":")[0] for line in told.splitlines()] == names
    assert not any(marked(boss, "older").values())
    asked = [one["facts"]["hand"] for one in boss.events("hand.stopping")]
    assert [sorted(asked[at : at + 2]) for at in (0, 2, 4)] == [names[0:2], names[2:4], names[4:6]]
    story = boss.events("hand.stopping", "hand.ready")
    for at in (2, 4):
        begins = [one["seq"] for one in story if one["event"] == "hand.stopping"][at]
        there = {
            one["facts"]["hand"]
            for one in story
            if one["event"] == "hand.ready"
            and one["facts"]["generation"] == 2
            and one["seq"] < begins
        }
        assert there == set(names[:at])

    # One of the second batch does not come back: its batch is told, the third is left alone.
    after = identities(boss.rows())
    (boss.state / "hands/many-3/refuse").touch()
    code, told, wrong = hiodctl(boss, "restart", "--rolling=2", "many")
    assert code == 1
    lines = dict(line.split(": ", 1) for line in told.splitlines())
    assert sorted(lines) == names[:4]
    assert lines["many-3"].startswith("failed")
    assert wrong.endswith("not restarted: many-4, many-5\n")
    now = identities(boss.rows())
    assert {name: now[name] for name in names[4:]} == {name: after[name] for name in names[4:]}
    assert {now[name][2] for name in names[:4]} == {3}
    assert [now[name][0] for name in names] == ["ready"] * 3 + ["failed"] + ["ready"] * 2
