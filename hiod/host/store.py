"""The state database: what a boss that starts again must know.

Decides how rows lie in SQLite, when they are forced to the disk, and when an old row makes room
for a new one. Leaves to others what a row means: specs, hands, deaths and events are JSON text
that is neither read nor made here.

Invariant: a turn is in the file whole or not at all, whenever the process is killed; and a file
this code cannot read or does not understand is left exactly as it was found.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote

from hiod.errors import StoreError, StoreTooNewError, StoreUnfitError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import TracebackType

__all__ = ["SCHEMA", "Saved", "SavedDeath", "SavedEvent", "Store", "Turn"]

APPLICATION_ID = 0x68696F64  # "hiod": tells another program's SQLite file from ours

# One migration a schema version, never edited once released: version N is MIGRATIONS[:N].
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE members
           (name TEXT PRIMARY KEY, spec TEXT NOT NULL, source TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE TABLE hands (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        """CREATE TABLE deaths (id INTEGER PRIMARY KEY AUTOINCREMENT,
           hand TEXT NOT NULL, at REAL NOT NULL, record TEXT NOT NULL)""",
        "CREATE INDEX deaths_by_hand ON deaths (hand, id)",
        """CREATE TABLE events (seq INTEGER PRIMARY KEY,
           at REAL NOT NULL, hand TEXT, name TEXT NOT NULL, facts TEXT NOT NULL)""",
    ),
)
SCHEMA = len(MIGRATIONS)

CHECKED_BYTES = 64 << 20  # a larger file is not read through at start: the boss must be up soon
OPEN_WAIT_S = 1.0  # for a backup that holds the file a moment; a boss holds it for ever
RING_SLACK = 16  # a ring overruns by at most keep/16 before it is trimmed
DEATHS_MOST = 10_000  # of all hands together, hands no longer in the crew included

Json = str | bytes


class SavedEvent(NamedTuple):
    """One event of the ring; ``at`` is wall time in seconds, ``facts`` JSON text."""

    seq: int
    at: float
    hand: str | None
    name: str
    facts: str


class SavedDeath(NamedTuple):
    """One death; ``at`` is wall time in seconds, ``record`` JSON text."""

    hand: str
    at: float
    record: str


@dataclass(slots=True, frozen=True)
class Saved:
    """All that a starting boss reads at once.

    Attributes:
        members: name -> (spec, source), the wanted crew; spec is JSON text.
        hands: name -> JSON text, what was last known of each hand and its process.
        counters: name -> value.
        last_seq: number of the newest event ever committed, 0 before the first.
        meta: key -> value, whatever the boss keeps there.
    """

    members: dict[str, tuple[str, str]]
    hands: dict[str, str]
    counters: dict[str, int]
    last_seq: int
    meta: dict[str, str]


@dataclass(slots=True)
class Turn:
    """All that one turn of the boss writes: in the file whole, or not at all.

    Drops are applied before puts. Counters and meta are values, not increments, and events
    carry their own numbers, so a turn may be committed again after a failure.

    Attributes:
        deaths: (hand, wall seconds, JSON).
        events: (seq, wall seconds, hand or None, event name, JSON).
        durable: wait until the disk has it; asked for by turns that change the wanted crew.
    """

    members_put: dict[str, tuple[Json, str]] = field(default_factory=dict)
    members_drop: set[str] = field(default_factory=set)
    hands_put: dict[str, Json] = field(default_factory=dict)
    hands_drop: set[str] = field(default_factory=set)
    deaths: list[tuple[str, float, Json]] = field(default_factory=list)
    events: list[tuple[int, float, str | None, str, Json]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    durable: bool = False

    def __bool__(self) -> bool:
        """Say whether there is anything to write."""
        return bool(
            self.members_put
            or self.members_drop
            or self.hands_put
            or self.hands_drop
            or self.deaths
            or self.events
            or self.counters
            or self.meta
        )


class Store:
    """The open database of one boss; used from the thread that opened it only.

    While it is open no other process can read or write the file (``StoreError`` there): two
    bosses must never share one state. Reach it by :meth:`open`, end it by :meth:`close`.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, events_keep: int, deaths_keep: int
    ) -> None:
        self.path = path
        self._db = connection
        self._full = True
        self._missed = False  # that the file is gone was told
        self.keep(events=events_keep, deaths=deaths_keep)

    @classmethod
    def open(cls, path: str | Path, *, events_keep: int = 10_000, deaths_keep: int = 20) -> Self:
        """Open the database, made with mode 0600 where there is none, migrated where older.

        Args:
            path: the file; its directory exists.
            events_keep: how many of the newest events are kept, at least.
            deaths_keep: how many of the newest deaths of each hand are kept.

        Raises:
            StoreTooNewError: a newer hiod wrote it.
            StoreUnfitError: it is no database of hiod's, is damaged, or lacks its file.
            StoreError: it is in use, or cannot be made.
                The file and its ``-wal`` are as they were.
        """
        path = Path(path)
        wal = path.with_name(path.name + "-wal")
        try:
            if not path.exists():
                if wal.exists() and wal.stat().st_size:
                    raise StoreUnfitError(
                        f"{path} is missing while {wal.name} beside it holds what was last"
                        " written: put the file back, or move both away to start with an empty"
                        " crew"
                    )
                _create(path)
            _look(path)
            db = _connect(path)
        except sqlite3.Error as ex:
            raise _refusal(path, ex) from ex
        except OSError as ex:
            raise StoreError(f"cannot open the state database {path}: {ex.strerror}") from ex
        try:
            _migrate(db)
        except sqlite3.Error as ex:
            db.close()
            raise StoreError(f"cannot bring {path} to schema {SCHEMA}: {ex}") from ex
        return cls(db, path, events_keep, deaths_keep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is in the WAL goes into the database. Twice does no harm."""
        self._db.close()

    def keep(self, *, events: int, deaths: int) -> None:
        """Set the lengths of the rings; rows too many go with the next turn that adds some."""
        # The newest event always stays: the next number is derived from it.
        self._events_keep = max(events, 1)
        self._deaths_keep = max(deaths, 0)
        self._trim_at_seq = 0
        self._deaths_since_trim = DEATHS_MOST

    def load(self) -> Saved:
        """Read all a starting boss needs.

        Raises:
            StoreError: the file cannot be read.
        """
        ask = self._ask
        return Saved(
            members={name: (spec, src) for name, spec, src in ask("SELECT * FROM members")},
            hands=dict(ask("SELECT name, record FROM hands")),
            counters=dict(ask("SELECT name, value FROM counters")),
            last_seq=ask("SELECT coalesce(max(seq), 0) FROM events")[0][0],
            meta=dict(ask("SELECT key, value FROM meta")),
        )

    def events(
        self,
        *,
        since: int | None = None,
        limit: int = 1000,
        names: Collection[str] = (),
        hands: Collection[str] = (),
    ) -> list[SavedEvent]:
        """Return events, oldest first.

        Args:
            since: those numbered higher than this, beginning with the oldest (to page on);
                without it the newest ones.
            limit: how many at most.
            names: of these event names only.
            hands: about these hands only.

        Raises:
            StoreError: the file cannot be read.
        """
        where = ["seq > ?"]
        values: list[object] = [since or 0]
        for column, wanted in (("name", names), ("hand", hands)):
            if wanted:
                where.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values += wanted
        order = "DESC" if since is None else "ASC"
        rows = self._ask(
            "SELECT seq, at, hand, name, facts FROM events"  # noqa: S608 - no value is in the text
            f" WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?",
            (*values, limit),
        )
        found = [SavedEvent(*row) for row in rows]
        return found if since is not None else found[::-1]

    def first_event(self) -> int:
        """Return the number of the oldest event still kept, 0 when there is none.

        Raises:
            StoreError: the file cannot be read.
        """
        number: int = self._ask("SELECT coalesce(min(seq), 0) FROM events")[0][0]
        return number

    def deaths(self, hand: str, limit: int = 20) -> list[SavedDeath]:
        """Return the hand's newest deaths, newest first.

        Raises:
            StoreError: the file cannot be read.
        """
        rows = self._ask(
            "SELECT hand, at, record FROM deaths WHERE hand = ? ORDER BY id DESC LIMIT ?",
            (hand, limit),
        )
        return [SavedDeath(*row) for row in rows]

    def commit(self, turn: Turn) -> None:
        """Write one turn in one transaction; an empty one costs nothing.

        Without ``durable`` it survives the death of any process, and may be lost (with all
        after it) when the machine loses power.

        Raises:
            StoreError: it was refused (full, read only, broken); nothing of it is in the file,
                and the store is good for a next attempt.
        """
        if not turn:
            return
        self._see_to_the_file()
        db = self._db
        try:
            self._force(turn.durable)
            db.execute("BEGIN IMMEDIATE")
            self._write(turn)
            trimmed = self._trim(turn)
            db.execute("COMMIT")
        except sqlite3.Error as ex:
            self._roll_back()
            if isinstance(ex, sqlite3.ProgrammingError):
                raise  # ours: closed, another thread, a value that is none
            raise StoreError(f"cannot write the state database {self.path}: {ex}") from ex
        except BaseException:  # whatever it is, no half turn stays open
            self._roll_back()
            raise
        self._trim_at_seq, self._deaths_since_trim = trimmed

    def _see_to_the_file(self) -> None:
        """Refuse once when somebody has removed the file, then make it again as it was.

        Until it is closed SQLite reads and writes it as if nothing had happened; the next boss
        would find an empty crew.
        """
        if os.path.lexists(self.path):
            self._missed = False
            return
        if not self._missed:
            self._missed = True
            raise StoreError(f"somebody removed the state database {self.path}; it is made again")
        new = self.path.with_name(self.path.name + ".new")
        try:
            _clear(new)
            fd = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                self._db.execute("VACUUM INTO ?", (os.fspath(new),))
                os.fsync(fd)
            finally:
                os.close(fd)
            # A WAL that was left there belongs to the file that is gone.
            self.path.with_name(self.path.name + "-wal").unlink(missing_ok=True)
            new.rename(self.path)
        except (sqlite3.Error, OSError) as ex:
            raise StoreError(f"cannot make the state database {self.path} again: {ex}") from ex
        self._db.close()
        self._db = _connect(self.path)
        self._full = True

    def _write(self, turn: Turn) -> None:
        many = self._db.executemany
        if turn.members_drop:
            many("DELETE FROM members WHERE name = ?", _each(turn.members_drop))
        if turn.members_put:
            many(
                "INSERT OR REPLACE INTO members VALUES (?, ?, ?)",
                [(name, _text(spec), src) for name, (spec, src) in turn.members_put.items()],
            )
        if turn.hands_drop:
            many("DELETE FROM hands WHERE name = ?", _each(turn.hands_drop))
        if turn.hands_put:
            many(
                "INSERT OR REPLACE INTO hands VALUES (?, ?)",
                [(name, _text(record)) for name, record in turn.hands_put.items()],
            )
        if turn.deaths:
            many(
                "INSERT INTO deaths (hand, at, record) VALUES (?, ?, ?)",
                [(hand, at, _text(record)) for hand, at, record in turn.deaths],
            )
        if turn.events:
            # A commit whose last fsync failed may still come back after a crash: same number,
            # same event, so the repetition replaces it.
            many(
                "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)",
                [(seq, at, hand, name, _text(f)) for seq, at, hand, name, f in turn.events],
            )
        if turn.counters:
            many("INSERT OR REPLACE INTO counters VALUES (?, ?)", turn.counters.items())
        if turn.meta:
            many("INSERT OR REPLACE INTO meta VALUES (?, ?)", turn.meta.items())

    def _trim(self, turn: Turn) -> tuple[int, int]:
        """Let old rows go, now and then; return the marks to keep once this is committed."""
        trim_at_seq, since_trim = self._trim_at_seq, self._deaths_since_trim
        if turn.events:
            newest = max(event[0] for event in turn.events)
            if newest >= trim_at_seq:
                self._db.execute(
                    "DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?",
                    (self._events_keep,),
                )
                trim_at_seq = newest + max(self._events_keep // RING_SLACK, 1)
        if turn.deaths:
            # By hand, so that one that dies every second does not push out the others' deaths.
            self._db.executemany(
                "DELETE FROM deaths WHERE hand = ? AND id <= (SELECT id FROM deaths"
                " WHERE hand = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                [(hand, hand, self._deaths_keep) for hand in {death[0] for death in turn.deaths}],
            )
            since_trim += len(turn.deaths)
            if since_trim >= DEATHS_MOST // RING_SLACK:
                self._db.execute(
                    "DELETE FROM deaths WHERE id <="
                    " (SELECT id FROM deaths ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (DEATHS_MOST,),
                )
                since_trim = 0
        return trim_at_seq, since_trim

    def _force(self, full: bool) -> None:
        if full is not self._full:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors, and only after some. The disk may
        # refuse even this; then the next turn's BEGIN says so, and comes here again.
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _ask(self, query: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, tuple(values)).fetchall()
        except sqlite3.ProgrammingError:
            raise  # ours: closed, or another thread
        except sqlite3.Error as ex:
            raise StoreError(f"cannot read the state database {self.path}: {ex}") from ex


def _text(json: Json) -> str:
    # As TEXT, so that a person with the sqlite3 tool can read it.
    return json if isinstance(json, str) else json.decode()


def _each(names: Iterable[str]) -> list[tuple[str]]:
    return [(name,) for name in names]


def _unreadable(path: Path, reason: object) -> StoreUnfitError:
    return StoreUnfitError(
        f"the state database {path} cannot be used: {reason}; it was left as it is: put a good"
        f" copy in its place, or move it and {path.name}-wal away to start with an empty crew"
    )


def _refusal(path: Path, ex: sqlite3.Error) -> StoreError:
    code = getattr(ex, "sqlite_errorcode", 0) & 0xFF  # without the extended part
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _unreadable(path, ex)
    if code == sqlite3.SQLITE_BUSY:
        return StoreError(
            f"the state database {path} is in use by another process: two bosses cannot share one"
            " state directory"
        )
    return StoreError(f"cannot open the state database {path}: {ex}")


def _create(path: Path) -> None:
    """Make an empty database that appears at ``path`` complete, or not at all.

    A file of no bytes is therefore never ours and never taken for an empty crew.
    """
    new = path.with_name(path.name + ".new")
    _clear(new)  # of one killed here; the boss's lock admits one at a time
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        db = sqlite3.connect(new, isolation_level=None)
        try:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("PRAGMA journal_mode = WAL")
            _migrate(db)
        finally:
            db.close()
        # Not a rename: what somebody else made meanwhile is looked at like any other file.
        with suppress(FileExistsError):
            os.link(new, path)
    finally:
        _clear(new)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _clear(new: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)


def _look(path: Path) -> None:
    """Check, through a connection that cannot write, that the file may be used.

    A connection that can write would carry the WAL into a file that is then refused.
    """
    size = path.stat().st_size
    if size == 0:
        raise _unreadable(path, "it is empty, which a state database never is")
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=OPEN_WAIT_S)
    try:
        if _pragma(db, "application_id") != APPLICATION_ID:
            raise _unreadable(path, "it is a database of another program")
        version = _pragma(db, "user_version")
        if version > SCHEMA:
            raise StoreTooNewError(
                f"the state database {path} has schema {version}, this hiod knows {SCHEMA}: start"
                " the newer hiod that wrote it, or move the file away to start with an empty crew"
            )
        if size <= CHECKED_BYTES:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise _unreadable(path, f"it is damaged ({verdict})")
    finally:
        db.close()


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=OPEN_WAIT_S)
    try:
        # Before the first read: then the WAL's index is in memory, and no other process gets in.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_size_limit = 8388608")
        # The write lock at once: a second opener is refused here and not at its first turn.
        db.execute("BEGIN EXCLUSIVE")
        db.execute("COMMIT")
    except BaseException:  # whatever it is, nothing half made stays
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to this code's, one version a transaction."""
    for version in range(_pragma(db, "user_version"), len(MIGRATIONS)):
        db.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[version]:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {version + 1}")
        db.execute("COMMIT")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchone()[0]
    return value
