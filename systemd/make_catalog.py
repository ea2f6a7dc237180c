# ruff: noqa: INP001 - a script beside the units, no package
"""Prints what ``journalctl -x`` shows, made from the table of the story.

It is made when hiod is installed, so that there is one table and nothing to keep in step with it.
"""

from __future__ import annotations

import re
import sys

from hiod.rules.story import STORY


def text() -> str:
    """Return the catalog: one entry an event, whose facts journalctl fills in."""
    parts = []
    for event, told in STORY.items():
        subject = re.sub(r"\{(\w+)\}", lambda fact: f"@HIOD_{fact[1].upper()}@", told.template)
        head = f"-- {told.message_id}\nSubject: {subject}\nDefined-By: hiod\n"
        parts.append(f"{head}Documentation: man:hiod(1)\n\n{told.explain}\n\nEvent: {event}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(text())
