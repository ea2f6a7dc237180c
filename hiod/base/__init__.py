"""The cooperative scheduler and what it runs, at hio's paths.

The names hio has here are found here too (``from hiod.base import Doist, doing``), each imported
when it is first asked for: ``multidoing`` needs ``hiod.core``, and ``hiod.core`` needs
``hiod.base.tyming``.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "Tymist": "tyming",
    "Tymee": "tyming",
    "Tymer": "tyming",
    "Doist": "doing",
    "Doer": "doing",
    "DoDoer": "doing",
    "doify": "doing",
    "doize": "doing",
    "Bosser": "multidoing",
    "Crewer": "multidoing",
    "TagDex": "multidoing",
}


def __getattr__(name: str) -> object:
    """Import a module of this folder, or the module that has the name, when first asked for."""
    if name in ("tyming", "doing", "multidoing"):
        return import_module(f"hiod.base.{name}")
    if name in _HOMES:
        return getattr(import_module(f"hiod.base.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
