"""Another version of hiod: a copy of the package that calls itself so, and more if need be."""

from __future__ import annotations

import shutil
from pathlib import Path

import hiod

OTHER = "99.0"


def copy(home: Path, version: str = OTHER) -> Path:
    """Make a copy of hiod that calls itself that version; return the folder it lies in."""
    folder = home / f"hiod-{version}"
    shutil.copytree(Path(hiod.__file__).parent, folder / "hiod")
    rewrite(folder / "hiod/__init__.py", f'"{hiod.__version__}"', f'"{version}"')
    return folder


def with_newer_schema(folder: Path) -> Path:
    """Give that copy a database of one schema version more."""
    more = '("CREATE TABLE later (name TEXT PRIMARY KEY)",)'
    store = folder / "hiod/host/store.py"
    rewrite(store, "\n)\nSCHEMA = ", f"\n    {more},\n)\nSCHEMA = ")
    return folder


def rewrite(path: Path, old: str, new: str) -> None:
    """Replace what is there once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has {text.count(old)} of {old}"
    path.write_text(text.replace(old, new))
