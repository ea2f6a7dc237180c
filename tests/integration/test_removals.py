"""Removals in folders, as the kernel tells of them."""

from __future__ import annotations

import select
import shutil
from typing import TYPE_CHECKING

import pytest

from hiod.host.removals import Removals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def removals() -> Iterator[Removals]:
    made = Removals()
    yield made
    made.close()


def test_what_goes_is_told_and_what_comes_is_not(removals: Removals, tmp_path: Path) -> None:
    assert removals.watch([tmp_path])
    (tmp_path / "a").touch()
    assert not removals.heard()

    (tmp_path / "a").unlink()

    assert select.select((removals,), (), (), 5)[0]
    assert removals.heard()
    assert not removals.heard()


def test_a_folder_that_is_removed_or_moved_away_is_told(removals: Removals, tmp_path: Path) -> None:
    for name in ("removed", "moved"):
        (tmp_path / name).mkdir()
        assert removals.watch([tmp_path / name])

    shutil.rmtree(tmp_path / "removed")
    assert removals.heard()
    (tmp_path / "moved").rename(tmp_path / "elsewhere")
    assert removals.heard()


def test_a_folder_that_is_not_there_cannot_be_watched(removals: Removals, tmp_path: Path) -> None:
    assert not removals.watch([tmp_path, tmp_path / "none"])


def test_nothing_is_told_by_a_watch_that_is_closed(tmp_path: Path) -> None:
    removals = Removals()
    removals.close()

    assert removals.fileno() == -1
    assert not removals.watch([tmp_path])
    assert not removals.heard()
