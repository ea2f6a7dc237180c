"""The state file under what happens to files: SIGKILL in mid-write, and no room left."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.chance import chance as chances

from hiod.errors import StoreError
from hiod.host.store import Store, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.promise(3)
ROUNDS = 100

# Commits turns of which every part says the same number, and says on stdout what is committed.
WRITER = """
import sys
from hiod.host.store import Store, Turn
store = Store.open(sys.argv[1], events_keep=64)
print("open", flush=True)
n = store.load().counters.get("n", 0)
while True:
    n += 1
    store.commit(Turn(
        members_put={f"m{n % 50}": (str(n), "x" * (n % 5000))},
        members_drop={f"m{(n + 7) % 50}"},
        hands_put={"web": str(n)},
        deaths=[("web", float(n), str(n))],
        events=[(n, float(n), "web", "hand.spawned", str(n))],
        counters={"n": n},
        meta={"n": str(n)},
        durable=n % 16 == 0,
    ))
    print(n, flush=True)
"""


def test_a_kill_at_any_moment_leaves_every_turn_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "hiod.db"
    chance = chances("turns")
    told = 0

    for _ in range(ROUNDS):
        lines = chance.randrange(1, 60)
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "open\n"
            for _ in range(lines):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split("\n")
        told = max([told, *(int(line) for line in rest[:-1] if line)])

        with Store.open(path, events_keep=64) as store:
            saved = store.load()
            n = saved.counters["n"]
            assert n in (told, told + 1)  # killed between the commit and the word of it
            assert saved.meta["n"] == saved.hands["web"] == str(n)
            assert saved.last_seq == n
            assert saved.members[f"m{n % 50}"][0] == str(n)
            assert store.deaths("web", 1)[0].record == str(n)
            assert store.events(limit=1)[0].facts == str(n)


def test_a_kill_while_it_is_made_leaves_a_first_start(tmp_path: Path) -> None:
    path = tmp_path / "hiod.db"
    program = "import sys; from hiod.host.store import Store; print('go', flush=True)\n"
    program += "Store.open(sys.argv[1])"
    chance = chances("makers")

    for _ in range(10):
        path.unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
        ) as maker:
            assert maker.stdout is not None
            maker.stdout.readline()
            # Some moment within its work: it is measured in looks at the directory, not in time.
            for _ in range(chance.randrange(1000)):
                list(tmp_path.iterdir())
            maker.kill()
        path.with_name("hiod.db-wal").unlink(missing_ok=True)

        with Store.open(path) as store:
            assert store.load().last_seq == 0


@contextmanager
def no_room(size: int) -> Iterator[None]:
    """Let this process write files up to this size only; Python has SIGXFSZ ignored."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("durable", [False, True])
def test_a_full_disk_refuses_turns_whole_and_takes_them_when_there_is_room(
    tmp_path: Path, durable: bool
) -> None:
    with Store.open(tmp_path / "hiod.db") as store:
        store.commit(Turn(counters={"n": 1}, hands_put={"web": "small"}))
        wal = (tmp_path / "hiod.db-wal").stat().st_size
        large = Turn(counters={"n": 2}, hands_put={"web": "x" * 200_000}, durable=durable)

        with no_room(wal + 20_000):
            for _ in range(3):
                with pytest.raises(StoreError, match="cannot write the state database") as caught:
                    store.commit(large)
                assert isinstance(caught.value.__cause__, sqlite3.Error)
            assert store.load().counters == {"n": 1}
            assert store.load().hands == {"web": "small"}

        store.commit(large)
        assert store.load().counters == {"n": 2}
    with Store.open(tmp_path / "hiod.db") as store:
        assert len(store.load().hands["web"]) == 200_000


def test_a_full_disk_at_the_first_start_leaves_nothing_half_made(tmp_path: Path) -> None:
    path = tmp_path / "hiod.db"

    with no_room(5000), pytest.raises(StoreError, match="cannot open the state database"):
        Store.open(path)

    assert list(tmp_path.iterdir()) == []
    with Store.open(path) as store:
        assert store.load().last_seq == 0
