import json
from pathlib import Path

import pytest

from hiod.base.tyming import Tymee, Tymer, Tymist

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "scheduler.json").read_text())


def test_a_tymer_taken_through_its_calls_does_as_hio_does() -> None:
    tymist = Tymist(tock=1.0)
    tymer = Tymer(tymth=tymist.tymen(), duration=2.5)
    other = Tymist(tyme=100.0)
    calls = {
        "new, duration 2.5": lambda: None,
        "tick": tymist.tick,
        "tick 1.5": lambda: tymist.tick(1.5),
        "restart": tymer.restart,
        "tick, start": lambda: (tymist.tick(), tymer.start()),
        "start duration .5": lambda: tymer.start(duration=0.5),
        "restart duration 4": lambda: tymer.restart(duration=4.0),
        "start at 1": lambda: tymer.start(start=1.0),
        "wind to another tymist at 100": lambda: tymer.wind(other.tymen()),
    }

    for step in VECTORS["tymer"]:
        calls[step["did"]]()

        found = {
            name: getattr(tymer, name)
            for name in ("tyme", "duration", "elapsed", "remaining", "expired")
        }
        assert found == {name: step[name] for name in found}, step["did"]


def test_a_tymist_ticks_by_its_tock_or_by_what_it_is_told() -> None:
    tymist = Tymist()

    assert tymist.tock == 0.03125
    assert tymist.tick() == 0.03125
    assert tymist.tick(tock=2) == 2.03125
    assert tymist.tick(tock=0.0) == 2.03125


def test_tyme_and_tock_can_be_set() -> None:
    tymist = Tymist(tyme=3, tock=1)

    tymist.tyme = 7
    tymist.tock = 2

    assert (tymist.tyme, tymist.tock, tymist.tick()) == (7.0, 2.0, 9.0)


def test_a_tymth_follows_its_tymist_and_names_it() -> None:
    tymist = Tymist(tock=1.0)
    tymth = tymist.tymen()

    tymist.tick()

    assert tymth() == 1.0
    assert tymth.tymist is tymist


def test_a_tymee_knows_no_tyme_until_it_is_wound() -> None:
    tymee = Tymee()
    assert tymee.tyme is None
    assert tymee.tymth is None

    tymee.tymth = Tymist(tyme=5.0).tymen()

    assert tymee.tyme == 5.0


def test_a_tymer_that_is_not_wound_cannot_tell_what_has_elapsed() -> None:
    tymer = Tymer()

    assert (tymer.tyme, tymer.duration) == (None, 0.0)
    for name in ("elapsed", "remaining", "expired"):
        with pytest.raises(TypeError, match="not wound"):
            getattr(tymer, name)


def test_a_keyword_nobody_takes_is_named() -> None:
    with pytest.raises(TypeError, match="tymht"):
        Tymer(tymht=None)
