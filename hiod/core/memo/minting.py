"""New memo ids, without asking the system for each.

Decides how they are made: 22 characters stand for 16 bytes, of which all but the last 12 bits are
random and those are counted; then all are drawn anew.  Leaves their place in a gram to
``gramming``.  Invariant: no two of one process are the same, and a forked process draws its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hiod.core.memo.gramming import ALPHABET, b64

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MIDS", "Mint"]

_LETTERS = ALPHABET.decode()
_ENDS = tuple(first + last for first in _LETTERS for last in _LETTERS)


def text(raw: bytes) -> str:
    """Return the 22 characters that stand for 16 bytes."""
    return str(b64(b"\0\0" + raw)[2:], "ascii")


class Mint:
    """Gives memo ids, each once; usable from any thread."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Forget what was drawn."""
        self._left: Iterator[str] = iter(())

    def take(self) -> str:
        """Return the next id, without its code."""
        for mid in self._left:
            return mid
        stem = text(os.urandom(16))[:20]
        fresh = map(stem.__add__, _ENDS)
        mid = next(fresh)
        self._left = fresh
        return mid


MIDS: Final = Mint()
os.register_at_fork(after_in_child=MIDS.renew)
