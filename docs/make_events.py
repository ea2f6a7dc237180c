#!/usr/bin/env python3
"""Writes docs/events.md from the table in hiod/rules/story.py: ``make docs``."""

from __future__ import annotations

import re
from pathlib import Path

from hiod.rules.story import STORY

PAGE = Path(__file__).with_name("events.md")

OPENING = """\
# Events

Everything the boss tells, by the names that stand in `HIOD_EVENT` in the journal and in `event` of
`hiodctl --json events`. Written by `make docs` from `hiod/rules/story.py`.

Whoever looks for one: `journalctl HIOD_EVENT=hand.gave_up -S today`; all of one hand: `journalctl
HIOD_HAND=store`; what a person should see to: `journalctl -u hiod -p warning`. In the sentences
`{hand}`, `{why}` and so on stand for facts, which are fields too (`HIOD_WHY`); the sentence itself
is `MESSAGE`. `journalctl -x` adds what the event means. An event's `MESSAGE_ID` never changes.

| level | journal priority | means |
|---|---|---|
| error | 3 | a person should come |
| warning | 4 | handled, worth a look |
| info | 6 | life |
| debug | 7 | each memo, each decision; not kept for `hiodctl events` |
"""

THINGS = {
    "boss": "The boss",
    "launcher": "Launchers",
    "process": "Processes",
    "hand": "Hands",
    "memo": "Memos",
    "admin": "Who asked for what",
    "config": "Crew files",
    "store": "The state database",
}


def shown(template: str) -> str:
    """Return a sentence with what is counted in the plural, which it mostly is."""
    return re.sub(r"\{(\w+):(\w+)\}", r"{\1} \2s", template)


def page() -> str:
    """Return the page."""
    parts = [OPENING]
    for thing, title in THINGS.items():
        parts.append(f"\n## {title}\n")
        parts += (
            f"\n### {name}\n\n{told.level} · `{shown(told.template)}`\n\n{told.explain}\n\n"
            f"`MESSAGE_ID={told.message_id}`\n"
            for name, told in STORY.items()
            if name.startswith(f"{thing}.")
        )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
