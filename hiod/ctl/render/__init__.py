"""From the boss's answers to what a person reads.  Pure: replies in, text out.

`figures` are the small things; `tables` the list and top, `hand` all about one, `changes` what came
of a command, `boss` the boss itself, `refusals` why not.  Each is imported when it is first used:
`hiodctl list` is over before the rest would have been read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from hiod.ctl.render import boss, changes, figures, hand, refusals, tables

__all__ = ["boss", "changes", "figures", "hand", "refusals", "tables"]


def __getattr__(name: str) -> ModuleType:
    """Import the module that is asked for."""
    if name not in __all__:
        raise AttributeError(name)
    return import_module(f"{__name__}.{name}")
