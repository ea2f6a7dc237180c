"""The last resort of a test that waits for a fact no descriptor tells."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(predicate: Callable[[], Any], within_s: float = 10.0) -> Any:
    """Return the first true value of ``predicate``; on failure say what it gave last."""
    until = time.monotonic() + within_s
    while not (seen := predicate()):
        assert time.monotonic() < until, f"not within {within_s} s; last seen: {seen!r}"
        select.select((), (), (), 0.005)
    return seen
