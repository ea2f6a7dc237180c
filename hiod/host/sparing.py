"""Imports without what is imported along with them and never used.

A boss is away for as long as its successor starts, and half of that start was structlog's: it asks
for rich, to paint tracebacks, and for asyncio, to log from coroutines. Decides nothing: whoever
imports says what is spared. Invariant: what is spared is there for everybody else, as always.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Later(ModuleType):
    """Stands where a module will be; gives its place to it when anything of it is wanted."""

    def __bool__(self) -> bool:
        return False  # so does logging ask whether there may be tasks

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def spared(*, without: str, later: str) -> Iterator[None]:
    """Import, in this block, as if ``without`` were not there, and ``later`` not before its use."""
    if later not in sys.modules:
        sys.modules[later] = _Later(later)
    hidden = without not in sys.modules
    if hidden:
        sys.modules[without] = None  # type: ignore[assignment]  # how Python says: not to be had
    try:
        yield
    finally:
        if hidden:
            del sys.modules[without]
