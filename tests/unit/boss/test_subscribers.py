"""Who follows what happens: the tick, and what is done without anybody."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hiod.boss.subscribers import TICK_S, Subscriber, Subscribers


class Follower:
    """Stands in for a request: keeps what it was told."""

    def __init__(self, **params: Any) -> None:
        self.params = SimpleNamespace(**{"since": None, "events": [], **params})
        self.told: list[Any] = []
        self.on_gone: list[Any] = []
        self.on_drained: Any = None

    def progress(self, reply: Any) -> None:
        self.told.append(reply)


def ledger() -> Any:
    return SimpleNamespace(seq=7, first=1, watchers=[])


def follow(book: Any, all_: Subscribers, now: float, **params: Any) -> Any:
    """Let somebody follow from a time on."""
    caller: Any = Follower(**params)
    all_.add(caller, Subscriber(caller, book, lambda: None, lambda _names: []), now)
    return caller


def happen(book: Any, event: str) -> None:
    """Let something happen."""
    book.seq += 1
    for hear in book.watchers:
        hear({"seq": book.seq, "at": 0.0, "event": event, "facts": {"hand": "a"}})


def test_followers_are_told_that_the_boss_lives_and_how_far_they_know() -> None:
    book = ledger()
    all_ = Subscribers(book)
    caller = follow(book, all_, 100.0, events=["hand.ready"])
    happen(book, "hand.spawned")

    all_.look(100.0 + TICK_S / 2)
    all_.look(100.0 + TICK_S)

    assert [(one.events, one.seq) for one in caller.told] == [([], 7), ([], 8)]
    assert all_.next_at() == 100.0 + 2 * TICK_S


def test_without_followers_nobody_is_woken() -> None:
    book = ledger()
    all_ = Subscribers(book)
    caller = follow(book, all_, 0.0)
    caller.on_gone[0](caller)

    assert all_.next_at() == float("inf")


def test_only_what_is_asked_for_is_told() -> None:
    book = ledger()
    caller = follow(book, Subscribers(book), 0.0, events=["hand.*"])

    for event in ("launcher.started", "hand.ready"):
        happen(book, event)

    assert [[one.event for one in reply.events] for reply in caller.told] == [[], ["hand.ready"]]
