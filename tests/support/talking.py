"""A crew of hands that talk, and what must be true of it whatever was done to its boss.

Knows the hands of ``support/chatter.py`` and an admin method; where they run is the tests' affair.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    Ask = Callable[..., dict[str, Any]]
    Book = dict[str, Any]


def chatters(number: int, tock_s: float, folder: object, *more: str) -> str:
    """Return a crew file of hands that talk to each other; ``folder`` holds ``chatter.py``."""
    doer = f'{{ ref = "chatter:Chatter", tock = {tock_s}, opts = {{ count = {number} }} }}'
    lines = [
        "[hand.chat]",
        f"doers = [{doer}]",
        f'path = ["{folder}"]',
        f"count = {number}",
        "health = { beat_s = 0.5 }",
        *more,
    ]
    return "\n".join(lines) + "\n"


def identities(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return of the rows of ``list`` what must not change: state, pid, generation, restarts."""
    return {
        name: (row["state"], row["pid"], row["generation"], row["restarts"])
        for name, row in rows.items()
    }


def hush(ask: Ask, hands: Path, names: Iterable[str]) -> dict[str, Book]:
    """Let all chatters stop sending; return their books once everything sent has come.

    Args:
        ask: calls an admin method.
        hands: the directory that holds the hands' state directories.
        names: the hands.
    """
    names = list(names)
    ask("send", names=names, tag="HUSH", load={})

    def balanced() -> dict[str, Book] | None:
        paths = {name: hands / name / "counts.json" for name in names}
        if not all(path.exists() for path in paths.values()):
            return None
        books = {name: json.loads(path.read_text()) for name, path in paths.items()}
        due = {(a, b): n for a in names for b, n in books[a]["sent"].items()}
        came = {(a, b): n for b in names for a, n in books[b]["got"].items()}
        return books if due == came else None

    return dict(wait_until(balanced, 30))


def assert_nothing_is_lost(books: Mapping[str, Book], pids: Mapping[str, int]) -> None:
    """Hold the books against what was promised: no memo missing, repeated, refused or dropped."""
    for name, book in books.items():
        assert book["pid"] == pids[name]
        assert (book["wrong"], book["refused"], book["dead"]) == ([], 0, 0), book
        assert book["drops"] == {}, book
        assert min(book["sent"].values()) > 0
