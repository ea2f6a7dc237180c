from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from hiod.errors import StoreError, StoreTooNewError, StoreUnfitError
from hiod.host import store as storing
from hiod.host.store import Saved, SavedDeath, SavedEvent, Store, Turn

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = Saved(members={}, hands={}, counters={}, last_seq=0, meta={})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hiod.db"


def happened(seq: int, hand: str | None = "web", name: str = "hand.spawned"):
    return (seq, 1000.0 + seq, hand, name, b'{"n":%d}' % seq)


def files(path: Path) -> dict[str, bytes]:
    """Return what lies there; the WAL's index, and a WAL of no bytes, hold nothing."""
    return {
        one.name: one.read_bytes()
        for one in path.parent.iterdir()
        if one.is_file()
        and not one.name.endswith("-shm")
        and (one.stat().st_size or one.name == "hiod.db")
    }


def test_a_first_start_makes_an_empty_database_for_its_owner_only(path: Path) -> None:
    with Store.open(path) as store:
        assert store.load() == EMPTY
        store.commit(Turn(meta={"a": "b"}))
        wal = path.with_name("hiod.db-wal")

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(wal.stat().st_mode) == 0o600


def test_what_was_committed_is_there_for_the_next_boss(path: Path) -> None:
    with Store.open(path) as store:
        store.commit(
            Turn(
                members_put={"web": (b'{"name":"web"}', "crew.d/shop.toml")},
                hands_put={"web": '{"state":"ready"}'},
                deaths=[("web", 12.5, b'{"signal":11}')],
                events=[happened(1), happened(2, hand=None, name="boss.ready")],
                counters={"memos": 7},
                meta={"boot": "b1"},
                durable=True,
            )
        )

    with Store.open(path) as store:
        assert store.load() == Saved(
            members={"web": ('{"name":"web"}', "crew.d/shop.toml")},
            hands={"web": '{"state":"ready"}'},
            counters={"memos": 7},
            last_seq=2,
            meta={"boot": "b1"},
        )
        assert store.deaths("web") == [SavedDeath("web", 12.5, '{"signal":11}')]
        assert store.events() == [
            SavedEvent(1, 1001.0, "web", "hand.spawned", '{"n":1}'),
            SavedEvent(2, 1002.0, None, "boss.ready", '{"n":2}'),
        ]


def test_drops_come_before_puts(path: Path) -> None:
    with Store.open(path) as store:
        store.commit(Turn(members_put={"a": ("1", "x"), "b": ("1", "x")}, hands_put={"a": "1"}))

        store.commit(Turn(members_drop={"a", "b"}, members_put={"a": ("2", "y")}, hands_drop={"a"}))

        saved = store.load()
        assert saved.members == {"a": ("2", "y")}
        assert saved.hands == {}


def test_an_empty_turn_writes_nothing(path: Path) -> None:
    with Store.open(path) as store:
        store.commit(Turn(meta={"a": "b"}))
        before = files(path)

        store.commit(Turn(durable=True))

        assert files(path) == before


def test_a_turn_may_be_committed_again(path: Path) -> None:
    turn = Turn(events=[happened(1), happened(2)], counters={"n": 3}, hands_put={"a": "1"})
    with Store.open(path) as store:
        store.commit(turn)
        store.commit(turn)

        assert [event.seq for event in store.events()] == [1, 2]
        assert store.load().counters == {"n": 3}


@pytest.mark.parametrize(
    ("value", "fault"), [(object(), sqlite3.ProgrammingError), (1 << 70, OverflowError)]
)
def test_a_turn_that_cannot_be_written_leaves_nothing_of_itself(
    path: Path, value, fault: type[Exception]
) -> None:
    with Store.open(path) as store:
        with pytest.raises(fault):
            store.commit(Turn(hands_put={"a": "1"}, counters={"n": value}))

        assert store.load() == EMPTY
        store.commit(Turn(hands_put={"b": "1"}))
        assert store.load().hands == {"b": "1"}


def test_events_are_a_ring(path: Path) -> None:
    with Store.open(path, events_keep=32) as store:
        for seq in range(1, 501):
            store.commit(Turn(events=[happened(seq)]))

        kept = [event.seq for event in store.events(limit=1000)]
        assert kept == list(range(kept[0], 501))
        assert 32 <= len(kept) <= 34
        assert store.first_event() == kept[0]
        assert store.load().last_seq == 500


def test_the_newest_event_always_stays_so_that_numbers_go_on(path: Path) -> None:
    with Store.open(path, events_keep=0) as store:
        for seq in range(1, 10):
            store.commit(Turn(events=[happened(seq)]))

        assert store.load().last_seq == 9


def test_a_shorter_ring_is_trimmed_with_the_next_event(path: Path) -> None:
    with Store.open(path) as store:
        store.commit(Turn(events=[happened(seq) for seq in range(1, 101)]))

        store.keep(events=10, deaths=5)
        store.commit(Turn(events=[happened(101)]))

        assert store.first_event() == 92


def test_no_event_has_the_number_nought(path: Path) -> None:
    with Store.open(path) as store:
        assert store.first_event() == 0


def test_events_are_paged_from_the_oldest_and_shown_from_the_newest(path: Path) -> None:
    with Store.open(path) as store:
        store.commit(Turn(events=[happened(seq) for seq in range(1, 11)]))

        assert [event.seq for event in store.events(since=3, limit=2)] == [4, 5]
        assert [event.seq for event in store.events(since=0, limit=2)] == [1, 2]
        assert [event.seq for event in store.events(limit=2)] == [9, 10]
        assert store.events(since=10) == []


def test_events_are_asked_for_by_name_and_hand(path: Path) -> None:
    with Store.open(path) as store:
        store.commit(
            Turn(
                events=[
                    happened(1, "web", "hand.spawned"),
                    happened(2, "db", "hand.spawned"),
                    happened(3, "web", "hand.ready"),
                    happened(4, None, "boss.ready"),
                ]
            )
        )

        def seqs(**which) -> list[int]:
            return [event.seq for event in store.events(**which)]

        assert seqs(hands=["web"]) == [1, 3]
        assert seqs(names=["hand.spawned", "boss.ready"]) == [1, 2, 4]
        assert seqs(hands=["web", "db"], names=["hand.spawned"], since=1) == [2]


def test_one_hand_that_keeps_dying_does_not_push_out_the_others_deaths(path: Path) -> None:
    with Store.open(path, deaths_keep=3) as store:
        store.commit(Turn(deaths=[("calm", 1.0, "{}")]))
        for at in range(50):
            store.commit(Turn(deaths=[("wild", float(at), "{}")]))

        assert [death.at for death in store.deaths("wild")] == [49.0, 48.0, 47.0]
        assert [death.at for death in store.deaths("wild", limit=1)] == [49.0]
        assert len(store.deaths("calm")) == 1


def test_deaths_of_hands_long_gone_are_bounded_too(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(storing, "DEATHS_MOST", 64)
    with Store.open(path) as store:
        for number in range(200):
            store.commit(Turn(deaths=[(f"job-{number}", 1.0, "{}")]))

        left = [number for number in range(200) if store.deaths(f"job-{number}")]
        assert left == list(range(left[0], 200))
        assert 64 <= len(left) <= 68


def test_a_second_boss_is_refused_while_the_first_has_it(path: Path) -> None:
    with Store.open(path) as store:
        with pytest.raises(StoreError, match="in use by another process"):
            Store.open(path)

        store.commit(Turn(meta={"a": "b"}))
    with Store.open(path) as store:
        assert store.load().meta == {"a": "b"}


def test_a_newer_schema_is_refused_naming_both_versions_and_left_alone(path: Path) -> None:
    Store.open(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = files(path)

    with pytest.raises(StoreTooNewError, match=rf"schema 99, this hiod knows {storing.SCHEMA}"):
        Store.open(path)

    assert files(path) == before


def test_an_older_schema_is_brought_up_to_date_with_what_it_holds(path: Path, monkeypatch) -> None:
    with Store.open(path) as store:
        store.commit(Turn(meta={"a": "b"}))
    later = (*storing.MIGRATIONS, ("ALTER TABLE hands ADD COLUMN more TEXT",))
    monkeypatch.setattr(storing, "MIGRATIONS", later)
    monkeypatch.setattr(storing, "SCHEMA", len(later))

    with Store.open(path) as store:
        assert store.load().meta == {"a": "b"}
    with Store.open(path) as store:
        assert store.load().meta == {"a": "b"}


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch) -> None:
    Store.open(path).close()
    later = (*storing.MIGRATIONS, ("CREATE TABLE extra (a)", "CREATE TABLE hands (a)"))
    with monkeypatch.context() as patched:
        patched.setattr(storing, "MIGRATIONS", later)
        patched.setattr(storing, "SCHEMA", len(later))
        with pytest.raises(StoreError, match=f"to schema {len(later)}: table hands already"):
            Store.open(path)

    with Store.open(path) as store:
        assert store.load() == EMPTY
        assert not store._ask("SELECT 1 FROM sqlite_master WHERE name = 'extra'")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: b"", "it is empty"),
        (lambda data: b"[hand.web]\ncommand = []\n" * 100, "not a database"),
        (lambda data: data[: len(data) // 2], "malformed|damaged"),
        (lambda data: data[:4096] + os.urandom(len(data) - 4096), "malformed|damaged"),
    ],
    ids=["empty", "text", "half", "noise"],
)
def test_a_damaged_file_is_refused_with_a_sentence_and_left_alone(
    path: Path, spoil, said: str
) -> None:
    with Store.open(path) as store:
        store.commit(Turn(hands_put={f"h{n}": "x" * 300 for n in range(200)}))
    path.write_bytes(spoil(path.read_bytes()))
    before = files(path)

    with pytest.raises(StoreUnfitError, match=said) as caught:
        Store.open(path)

    assert str(path) in str(caught.value)
    assert "it was left as it is" in str(caught.value)
    assert files(path) == before


def test_a_damaged_file_with_a_wal_beside_it_is_left_alone(path: Path, tmp_path: Path) -> None:
    with Store.open(path) as store:
        store.commit(Turn(hands_put={f"h{n}": "x" * 300 for n in range(200)}))
    with Store.open(path) as store:
        store.commit(Turn(meta={"a": "b"}))
        copies = tmp_path / "copies"
        copies.mkdir()
        for name, data in files(path).items():
            (copies / name).write_bytes(data)
    torn = copies / "hiod.db"
    data = torn.read_bytes()
    torn.write_bytes(data[:8192] + bytes(len(data) - 8192))
    before = files(torn)
    assert "hiod.db-wal" in before

    with pytest.raises(StoreError):
        Store.open(torn)

    assert files(torn) == before


def test_another_programs_database_is_refused(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t (a)")
    db.commit()
    db.close()

    with pytest.raises(StoreError, match="database of another program"):
        Store.open(path)


def test_a_missing_file_whose_wal_is_there_is_no_first_start(path: Path) -> None:
    path.with_name("hiod.db-wal").write_bytes(b"something")

    with pytest.raises(StoreError, match=r"is missing while hiod\.db-wal beside it"):
        Store.open(path)


def test_an_empty_wal_without_its_file_does_not_hinder_a_first_start(path: Path) -> None:
    path.with_name("hiod.db-wal").touch()

    with Store.open(path) as store:
        assert store.load() == EMPTY


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot open the state database .*: No such file"):
        Store.open(tmp_path / "none" / "hiod.db")


def test_a_first_start_killed_half_way_is_a_first_start_again(path: Path) -> None:
    path.with_name("hiod.db.new").write_bytes(b"half")
    path.with_name("hiod.db.new-wal").write_bytes(b"half")

    with Store.open(path) as store:
        assert store.load() == EMPTY
    assert set(files(path)) == {"hiod.db"}


def test_using_a_closed_store_is_our_own_fault(path: Path) -> None:
    store = Store.open(path)
    store.close()
    store.close()

    with pytest.raises(sqlite3.ProgrammingError):
        store.commit(Turn(meta={"a": "b"}))
    with pytest.raises(sqlite3.ProgrammingError):
        store.load()


def test_a_page_lost_while_it_runs_is_a_store_error(path: Path) -> None:
    with Store.open(path) as store:
        store.commit(Turn(hands_put={f"h{n}": "x" * 300 for n in range(2000)}))
    with Store.open(path) as store:
        with path.open("r+b") as file:
            file.truncate(8192)

        with pytest.raises(StoreError, match="cannot read the state database") as caught:
            store.load()
        assert isinstance(caught.value.__cause__, sqlite3.Error)


@pytest.mark.parametrize("gone", [("hiod.db",), ("hiod.db", "hiod.db-wal")])
def test_a_file_that_somebody_removed_is_told_once_and_made_again_as_it_was(
    path: Path, gone: tuple[str, ...]
) -> None:
    with Store.open(path) as store:
        store.commit(Turn(hands_put={"web": "{}"}, events=[happened(1)], durable=True))
        for name in gone:
            path.with_name(name).unlink()
        turn = Turn(hands_put={"two": "{}"}, events=[happened(2)])

        with pytest.raises(StoreError, match="somebody removed the state database"):
            store.commit(turn)
        store.commit(turn)
        store.commit(Turn(hands_put={"three": "{}"}))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    with Store.open(path) as store:
        assert set(store.load().hands) == {"web", "two", "three"}
        assert [event.seq for event in store.events()] == [1, 2]
