"""What the boss tells while its disk does not give what is on record."""

from __future__ import annotations

from typing import Any

import pytest

from hiod.boss.ledger import Ledger, reading
from hiod.errors import AdminError, StoreError
from hiod.host.store import SavedDeath


class Disk:
    """A store that reads nothing while it has a reason not to."""

    why = ""

    def deaths(self, name: str, *, limit: int) -> list[SavedDeath]:
        if self.why:
            raise StoreError(self.why)
        return [SavedDeath(name, 1.0, '{"code": 1}')][:limit]


@pytest.fixture
def told() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def ledger(disk: Disk, told: list[tuple[str, dict[str, Any]]]) -> Ledger:
    def tell(event: str, _level: str, facts: Any) -> None:
        told.append((event, facts))

    return Ledger(disk, tell, seq=0, tallies={}, boot_id="b", events_keep=9)  # type: ignore[arg-type]


def test_ends_that_wait_to_be_written_are_shown_though_the_others_cannot_be_read(
    ledger: Ledger, disk: Disk
) -> None:
    ledger.bury("web", 2.0, {"code": 2})
    disk.why = "malformed"

    assert [one.at for one in ledger.deaths("web", limit=9)] == [2.0]


def test_that_nothing_can_be_read_is_told_once_until_it_can_be(
    ledger: Ledger, disk: Disk, told: list[tuple[str, dict[str, Any]]]
) -> None:
    for why in ("malformed", "malformed", "", "malformed"):
        disk.why = why
        ledger.deaths("web", limit=9)

    assert told == [("store.read_refused", {"why": "malformed"})] * 2


def test_what_cannot_be_read_is_refused_with_the_reason() -> None:
    with pytest.raises(AdminError) as refused, reading():
        raise StoreError("malformed")

    assert refused.value.code == "Unavailable"
    assert refused.value.parameters == {"state": "store: malformed", "after_s": None}
