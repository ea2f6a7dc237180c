"""hiod under a real systemd: started, asked, stopped, restarted, hurt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.nspawn import Machine


def test_it_starts_and_answers(hiod: Machine) -> None:
    rows = hiod.hands()

    assert [(name, row["state"]) for name, row in rows.items()] == [
        ("ticker-0", "ready"),
        ("ticker-1", "ready"),
    ]
