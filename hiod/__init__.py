"""A daemon that keeps a crew of cooperating Python processes running for months.

What an author of a hand needs is here: ``from hiod import CrewDoer``. The classes known
from hio live at hio's paths below: ``from hiod.base.multidoing import Bosser, Crewer``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = ["CrewDoer", "__version__"]

if TYPE_CHECKING:
    from hiod.base.multidoing import CrewDoer


def __getattr__(name: str) -> object:
    """Import the author's class when it is first asked for; ``hiodctl`` never does."""
    if name == "CrewDoer":
        from hiod.base.multidoing import CrewDoer  # noqa: PLC0415 - lazily, see the docstring

        return CrewDoer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
