"""The verdict over what the boss's death costs: what was done, how often, and what was seen.

A test says with ``@pytest.mark.promise(N)`` which promise it holds to, and with the fixture
``seen`` what it saw. After the long form (``make chaos``) both are told, promise by promise.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.chance import LONG, SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROMISES = {
    1: "the boss dies again and again while hands talk; none pays for it",
    2: "what ended without a boss is told as it was, or as unknown",
    3: "the boss, or a launcher, dies at any step; nothing is doubled, no stranger is touched",
    4: "kept on purpose, stopped on purpose; one boss at a time",
    5: "another version takes over; code goes away under those that run it",
    6: "a hand that starts again loses no queued memo",
    7: "long without a boss: work goes on, nothing grows without end",
    8: "edited and broken files do nothing to an adopted crew",
    9: "the next boss is there soon",
    10: "sockets that somebody removes are made again",
}
SYSTEMD = "tests/systemd/"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "promise(number): which promise of live restore it holds to")


@pytest.fixture(autouse=True)
def _promise(request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]) -> None:
    mark = request.node.get_closest_marker("promise")
    if mark is not None:
        record_property("promise", mark.args[0])


@pytest.fixture
def seen(record_property: Callable[[str, Any], None]) -> Callable[[str], None]:
    """Give a way to say what a test saw, for the verdict."""
    return lambda words: record_property("seen", words)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if LONG:
        terminalreporter.section(f"live restore: the verdict (HIOD_SEED={SEED})")
        for line in verdict(terminalreporter.stats):
            terminalreporter.write_line(line)


def verdict(stats: dict[str, list[Any]]) -> Iterator[str]:
    """Tell, promise by promise, whether it was kept, and what was seen."""
    broken = [one for how in ("failed", "error") for one in stats.get(how, ())]
    kept = [one for one in stats.get("passed", ()) if one.when == "call"]
    skipped = stats.get("skipped", [])
    for number, words in PROMISES.items():
        passed, bad, left = (
            [one for one in reports if _of(one) == number] for reports in (kept, broken, skipped)
        )
        took = sum(one.duration for one in passed)
        how = "BROKEN" if bad else "kept" if passed else "NOT TRIED"
        yield f"{number}. {words}"
        yield f"   {how}: {_trials(len(passed))} in {took:.0f} s"
        yield from (f"   - {line}" for line in _done(passed))
        yield from (f"   ! {one.nodeid}" for one in bad)
        yield from (f"   ? not here: {one.nodeid.rpartition('::')[2]}" for one in left)
    names = {one.nodeid for one in broken}
    if names:
        yield f"verdict: BROKEN in {_trials(len(names))}, kept in {_trials(len(kept))}"
    else:
        yield f"verdict: kept, in {_trials(len(kept))}"


def _trials(count: int) -> str:
    return f"{count} trial{'' if count == 1 else 's'}"


def _done(reports: list[Any]) -> Iterator[str]:
    """Tell what each test did, which is its name, how often, and what it saw."""
    names = [one.nodeid.rpartition("::")[2].partition("[")[0] for one in reports]
    for name, times in Counter(names).items():
        often = f" ({times} times)" if times > 1 else ""
        yield name.removeprefix("test_").replace("_", " ") + often
        for one, called in zip(reports, names, strict=True):
            if called == name:
                yield from (f"  {text}" for text in _said(one))


def _of(report: Any) -> int | None:
    told = dict(report.user_properties).get("promise")
    return told or (1 if report.nodeid.startswith(SYSTEMD) else None)


def _said(report: Any) -> list[str]:
    return [str(value) for name, value in report.user_properties if name == "seen"]
