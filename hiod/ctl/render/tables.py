"""The tables of ``hiodctl list`` and ``hiodctl top``.  Pure: rows in, text out.

Decides the columns, and which of them give way where a terminal is narrow: names are what people
came for and are whole as long as anything else can go.  Leaves figures and colours to `figures`.
Invariant: at a terminal no line is wider than it, and what had to be cut ends in "…"; piped,
nothing is cut, coloured or added.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hiod.ctl.render.figures import (
    STATE_PAINT,
    View,
    ago,
    brief,
    cut,
    cut_middle,
    duration,
    lag,
    others,
    pad,
    paint,
    percent,
    plain,
    plural,
    since_s,
    size,
    width,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hiod.ctl.render.figures import Row

STATES = (
    "ready", "running", "degraded", "starting", "registering", "stopping", "waiting", "backoff",
    "failed", "done", "stopped",
)  # fmt: skip
HEAD = ("NAME", "STATE", "HEALTH", "UP", "RST", "RSS", "CPU", "LAG", "STATUS")
LEAST = {
    "NAME": 4, "STATE": 5, "HEALTH": 6, "UP": 5, "RST": 3, "RSS": 4, "CPU": 4, "LAG": 3,
    "IN/s": 4, "OUT/s": 5, "OUTBOX": 6, "STATUS": 6,
}  # fmt: skip
RIGHT = frozenset({"RST", "RSS", "CPU", "LAG", "IN/s", "OUT/s", "OUTBOX"})
NAME, FREE = "NAME", "STATUS"
FREE_LEAST = 12
GIVE = ("LAG", "RSS", "CPU", "RST", "UP", "HEALTH", "STATUS", "STATE")
TOP_GIVE = (
    "STATUS",
    "UP",
    "HEALTH",
    "RST",
    "OUTBOX",
    "OUT/s",
    "IN/s",
    "LAG",
    "RSS",
    "CPU",
    "STATE",
)
"""Which columns of `list` and `top` a narrow terminal does without first."""
HINT = "no hands yet; try: hiodctl add hello --doer hiod.demo:Ticker"


def crew(reply: Mapping[str, Any], view: View) -> str:
    """Return the table of ``hiodctl list``."""
    rows: list[Row] = list(reply.get("hands", ()))
    if not rows and view.person:
        return "\n".join([*wrapped(HINT, view.columns), *_notes(reply)]) + "\n"
    cells = [cells_of(row, view) for row in rows]
    lines = table(HEAD, cells, [str(row.get("state")) for row in rows], GIVE, view)
    if view.person:
        lines += _footer(rows, reply, view)
    return "\n".join(lines) + "\n"


def cells_of(row: Row, view: View) -> list[str]:
    """Return a row's cells in the order of ``HEAD``."""
    star = "*" if others([row]) else ""
    return [
        f"{row.get('name', '?')}{star}",
        str(row.get("state") or "-"),
        str(row.get("health") or "-"),
        duration(up_s(row, view)),
        str(row.get("restarts", "-")),
        size(row.get("rss")),
        percent(row.get("cpu")),
        lag(row.get("lag_ms")),
        remark(row, view),
    ]


def up_s(row: Row, view: View) -> float | None:
    """Return how long a hand's process has been there, in seconds; None without one."""
    if row.get("pid") is None:
        return None
    return since_s(row.get("ready_since") or row.get("since"), view)


ATTEMPT = re.compile(r"; try \d+ of \d+$")
WHO = re.compile(r" \(uid \d+, pid \d+\)")


def remark(row: Row, view: View) -> str:
    """Return the last column: why a hand is not well, else what it says of itself."""
    status, reason = plain(row.get("status") or ""), plain(row.get("reason") or "")
    # In a table the name of whoever asked is enough.
    reason = WHO.sub("", reason)
    if row.get("state") in ("ready", "running"):
        # Without a status of its own the boss gives the reason, which the state says already.
        return "" if WHO.sub("", status) == reason else status
    if row.get("state") in ("stopped", "done", "failed") and reason:
        seconds = since_s(row.get("since"), view)
        return reason if seconds is None else f"{reason}, {ago(seconds)}"
    left_s = -(since_s(row.get("next"), view) or 0)
    if left_s > 0 and ATTEMPT.search(reason):
        reason += f" in {brief(left_s)}"
    return reason or status


def table(
    head: Sequence[str],
    cells: Sequence[Sequence[str]],
    states: Sequence[str],
    give: Sequence[str],
    view: View,
) -> list[str]:
    """Lay out a table whose first column is a name and whose last is free text.

    Parameters:
        head: titles of the columns.
        cells: of each row.
        states: of each row: its colour.
        give: titles in the order in which their columns give way on a narrow terminal.
    """
    widths = {
        title: max([LEAST[title], *(width(row[i]) for row in cells)])
        for i, title in enumerate(head)
    }
    # A slot for the star of another hiod, outside the name's own width.
    widths[NAME] = max([len(NAME), *(width(row[0].removesuffix("*")) for row in cells)]) + 1
    shown = _fitting(head, widths, give, view) if view.person else list(head)
    lines = [paint(_line(dict(zip(head, head, strict=True)), shown, widths, view), "bold", view)]
    for row, state in zip(cells, states, strict=True):
        texts = dict(zip(head, row, strict=True))
        lines.append(_line(texts, shown, widths, view, STATE_PAINT.get(state)))
    return lines


def _fitting(
    head: Sequence[str], widths: dict[str, int], give: Sequence[str], view: View
) -> list[str]:
    """Return the columns there is room for, and set the widths of name and free text to it."""
    shown, free = list(head), widths.get(FREE, 0)
    # A status of a dozen characters is the least that says anything.
    widths[FREE] = min(free, FREE_LEAST)
    for title in give:
        if _whole(shown, widths) <= view.columns:
            break
        shown.remove(title)
    room = view.columns - _whole(shown, widths)
    widths[NAME] = max(widths[NAME] + min(room, 0), 2)
    widths[FREE] += max(room, 0)
    return shown


def _whole(shown: Sequence[str], widths: Mapping[str, int]) -> int:
    """Return how wide the table is; the name's slot for a star is part of its gap."""
    return sum(widths[title] + 2 for title in shown) - 2 - (len(shown) > 1)


def _line(
    texts: Mapping[str, str],
    shown: Sequence[str],
    widths: Mapping[str, int],
    view: View,
    colour: str | None = None,
) -> str:
    name = texts[NAME]
    if view.person:
        name = cut_middle(name.removesuffix("*"), widths[NAME] - 1) + "*" * name.endswith("*")
    fields = []
    for title in shown[1:]:
        text = texts[title]
        if title == FREE:
            text = cut(text, widths[FREE]) if view.person else text or "-"
        else:
            text = pad(text, widths[title], right=title in RIGHT)
        fields.append(paint(text, colour, view) if title == "STATE" else text)
    return f"{pad(name, widths[NAME])} {'  '.join(fields)}".rstrip()


def _footer(rows: Sequence[Row], reply: Mapping[str, Any], view: View) -> list[str]:
    counts = dict.fromkeys(STATES, 0)
    for row in rows:
        counts[str(row.get("state"))] = counts.get(str(row.get("state")), 0) + 1
    parts = [f"{count} {state}" for state, count in counts.items() if count]
    total = f"{plural(len(rows), 'hand')}: "
    notes = _notes(reply)
    if code := others(rows):
        notes.insert(0, f"* {' or '.join(code)}")
    whole = "  ".join([total + ", ".join(parts), *notes])
    if len(whole) <= view.columns:
        return [paint(whole, "dim", view)]
    return [
        paint(cut(text, view.columns), "dim", view) for text in (total + ", ".join(parts), *notes)
    ]


def _notes(reply: Mapping[str, Any]) -> list[str]:
    """Say that the crew files differ from the crew, or are broken."""
    notes = []
    if reply.get("pending"):
        notes.append(f"{plural(reply['pending'], 'change')} pending: hiodctl plan")
    if reply.get("files", "ok") != "ok":
        notes.append("the crew files are broken: hiodctl plan")
    return notes


TOP_HEAD = (*HEAD[:-1], "IN/s", "OUT/s", "OUTBOX", "STATUS")
SORTS = {
    "c": ("cpu", "CPU", "CPU"),
    "m": ("rss", "memory", "RSS"),
    "l": ("lag_ms", "lag", "LAG"),
    "r": ("restarts", "restarts", "RST"),
    "n": ("name", "name", "NAME"),
}
"""By key: the member of a row, what it is called, and its column, which never gives way."""


def top(
    reply: Mapping[str, Any],
    before: Mapping[str, Row],
    elapsed_s: float,
    sort: str,
    view: View,
    lines: int,
    notice: str = "",
) -> str:
    """Return one picture of ``hiodctl top``.

    Parameters:
        reply: of ``list``.
        before: the rows of the look before, by name.
        elapsed_s: since that look.
        sort: a key of ``SORTS``; figures go from the most to the least.
        lines: of the terminal.
        notice: said in place of what the keys do.
    """
    rows: list[Row] = list(reply.get("hands", ()))
    key = SORTS[sort][0]
    if sort != "n":
        rows.sort(key=lambda row: -float(row.get(key) or 0))
    else:
        rows.sort(key=lambda row: str(row.get(key)))
    shown = rows[: max(lines - 3, 1)]
    cells = []
    for row in shown:
        *most, last = cells_of(row, view)
        rates = _rates(row, before.get(str(row.get("name"))), elapsed_s)
        outbox = row.get("outbox")
        cells.append([*most, *rates, "-" if outbox is None else str(outbox), last])
    give = [title for title in TOP_GIVE if title != SORTS[sort][2]]
    text = table(TOP_HEAD, cells, [str(row.get("state")) for row in shown], give, view)
    more = [f"… {len(rows) - len(shown)} more"] if len(shown) < len(rows) else []
    keys = f"by {SORTS[sort][1]}; sort: c CPU  m memory  l lag  r restarts  n name; q ends"
    last = paint(cut(notice or keys, view.columns), "yellow" if notice else "dim", view)
    return "\n".join([*text, *more, last]) + "\n"


def _rates(row: Row, before: Row | None, elapsed_s: float) -> list[str]:
    """Return memos in and out a second since the look before."""
    rates = []
    for key in ("received", "sent"):
        now, then = row.get(key), (before or {}).get(key)
        same = before is not None and before.get("generation") == row.get("generation")
        if same and now is not None and then is not None and elapsed_s > 0:
            rates.append(f"{max(now - then, 0) / elapsed_s:.0f}")
        else:
            rates.append("-")
    return rates
