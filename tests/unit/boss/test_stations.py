from __future__ import annotations

from dataclasses import fields

import pytest

from hiod.boss.stations import Numbers, Station
from hiod.rules.health import Sample
from hiod.rules.words import Words

KEPT = {"addr", "place", "launcher", "pidfd", "words", "dump_from", "dump_to", "memos", "unkept"}
"""Its address and allowances; what its spawner sets; what is closed, or ruled by ``dump_due``."""


def test_a_new_incarnation_has_nothing_of_the_one_before() -> None:
    station = Station("/r/m/web.uxd")
    for one in fields(Station):
        if one.name not in KEPT:
            setattr(station, one.name, object())

    station.reset("crew.web.2")

    assert station == Station("/r/m/web.uxd", token="crew.web.2")


def test_a_heartbeat_is_evidence() -> None:
    station = Station("/r/m/web.uxd")

    beat = station.hear_beat({"cycles": 7, "lag_ms": 250.0, "outbox": 3, "in": True}, 12.0)

    assert (beat.at, beat.cycles, beat.lag_s, beat.outbox) == (12.0, 7, 0.25, 3)
    assert station.figure("lag_ms") == 250.0
    assert station.beat_age(15.5) == 3.5


@pytest.mark.parametrize(
    "value", ["7", None, [1], {}, True, -1, 1e308, 10**20, float("inf"), float("nan")]
)
def test_what_is_no_number_or_cannot_be_is_no_figure(value: object) -> None:
    station = Station("/r/m/web.uxd")

    beat = station.hear_beat({"cycles": value, "lag_ms": value, "outbox": value}, 1.0)

    assert (beat.cycles, beat.lag_s, beat.outbox) == (0, 0.0, 0)
    assert station.figure("cycles") is None


def test_before_the_first_heartbeat_there_is_no_age() -> None:
    assert Station("/r/m/web.uxd").beat_age(5.0) is None


def test_the_most_memory_seen_is_kept() -> None:
    station = Station("/r/m/web.uxd")

    for rss_bytes in (10, 30, 20):
        station.look(Sample(at=1.0, status="S", cpu_percent=0.0, rss_bytes=rss_bytes))

    assert station.sample.rss_bytes == 20
    assert station.rss_most == 30


def test_a_hio_hand_is_never_told_a_book_that_contradicts_another() -> None:
    station = Station("/r/m/web.uxd")

    station.tell({"web": "/a", "db": "/b"})
    station.tell({"web": "/a", "mail": "/c"})
    told = station.tell({"web": "/elsewhere", "log": "/d"})

    assert told == {"web": "/a", "db": "/b", "mail": "/c", "log": "/d"}


def test_a_hand_without_last_words_said_nothing() -> None:
    station = Station("/r/m/web.uxd")

    assert station.last_words() == Words()
    station.close()
    assert (station.pidfd, station.words) == (None, None)


def test_numbers_are_the_lowest_that_are_free() -> None:
    numbers = Numbers()

    first = [numbers.take() for _ in range(4)]
    for number in (2, 1):
        numbers.give_back(number)

    assert first == [0, 1, 2, 3]
    assert [numbers.take() for _ in range(3)] == [1, 2, 4]
