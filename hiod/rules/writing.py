"""How checked values are written down again: as TOML, and keys as the reference's tables.

Invariant: what ``toml`` writes, a TOML parser reads back as the same value.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hiod.rules.checking import Key

APPLIES: Final[dict[str, str]] = {
    "live": "at once",
    "next": "at the next start",
    "restart": "by a restart",
}
"""How the reference words when a change takes hold."""


def toml(value: object) -> str:
    """Return plain data as a TOML value on one line."""
    if isinstance(value, dict):
        inside = ", ".join(f"{toml_key(name)} = {toml(item)}" for name, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        # JSON's escapes are TOML's; DEL is the one character that only TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value) if isinstance(value, float) else json.dumps(value)  # "inf" is TOML's


def toml_key(name: str) -> str:
    """Return a key as TOML writes it: bare where that is allowed."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)


def toml_table(header: str, values: Mapping[str, Any]) -> str:
    """Return a table as lines under its header."""
    lines = [f"[{header}]", *(f"{toml_key(name)} = {toml(item)}" for name, item in values.items())]
    return "".join(f"{line}\n" for line in lines)


def shown_default(known: Key) -> str:
    """Return a key's default as the reference shows it."""
    if known.shown is not None:
        return known.shown
    if known.default is MISSING:
        return "required"
    if known.default is None:
        return "absent"
    return f"`{toml(known.kind.dump(known.default)).removesuffix('.0')}`"


def reference(keys: Sequence[Key], *, applies: bool = True) -> str:
    """Return keys as a Markdown table, with or without how a change applies."""
    head = ["key", "value", "default", *(["a change applies"] if applies else []), "meaning"]
    rows = [head, ["---"] * len(head)]
    for known in keys:
        how = [APPLIES[known.applies]] if applies else []
        name = f"`{known.name}`"
        rows.append([name, known.kind.words, shown_default(known), *how, known.doc])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
