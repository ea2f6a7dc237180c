"""What came of a command: outcomes, plans and what apply did.  Pure: replies in, text out.

Decides the line for each hand and each definition.  Leaves colours to `figures`.
Invariant: every hand the boss told of is told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hiod.ctl.render.figures import STATE_PAINT, View, cut, paint, plain
from hiod.ctl.render.refusals import place, problems, unusable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hiod.ctl.render.figures import Row


def outcomes(reply: Mapping[str, Any], view: View) -> str:
    """Return one line for each hand a changing call was about."""
    rows = list(reply.get("hands", ()))
    if not rows:
        return "nothing to do\n"
    return "".join(outcome(row, view) + "\n" for row in rows)


def waited(reply: Mapping[str, Any], awaited: Iterable[Row], view: View) -> str:
    """Return one line for each hand that was waited for, and one that names the others."""
    names = [row["name"] for row in awaited]
    others = [row["name"] for row in reply["hands"] if row["name"] not in names]
    text = outcomes({"hands": awaited}, view)
    return text + (f"not waited for, nobody wants it up: {', '.join(others)}\n" if others else "")


UNDERWAY = frozenset({"starting", "registering", "stopping", "waiting", "backoff"})


def underway(rows: Iterable[Row], verb: str, seconds: float, view: View) -> str:
    """Say in a line, to be replaced by the next, who is on the way and for how long by now."""
    late = [row for row in rows if row.get("state") in UNDERWAY]
    parts = [f"{row['name']} {row['state']}" for row in late]
    if len(late) == 1 and late[0].get("reason"):
        parts[0] += f": {plain(late[0]['reason'])}"
    text = f"{verb}: {seconds:.1f} s"
    # As many names as there is room for, and how many there are more.
    for count in range(len(parts), -1, -1):
        more = [f"{len(parts) - count} more"] if count < len(parts) else []
        line = "; ".join([text, ", ".join([*parts[:count], *more])] if parts else [text])
        if count <= 1 or len(line) <= view.columns:
            break
    return paint(cut(line, view.columns), "dim", view)


def reached(reply: Mapping[str, Any], done: str) -> str:
    """Return one line for each hand that something was sent to: ``web: sent``."""
    rows = list(reply.get("hands", ()))
    lines = [
        f"{row['name']}: {done}"
        if row.get("changed", True)
        else f"{row['name']}: not {done}: {plain(row.get('reason') or '')}"
        for row in rows
    ]
    return "".join(line + "\n" for line in lines) or "nothing to do\n"


def outcome(row: Row, view: View) -> str:
    """Say what came of a call for one hand."""
    said = place(row)
    parts = [paint(said, STATE_PAINT.get(said), view)] if said else []
    if row.get("changed") is False:
        parts.append("nothing to do")
    if row.get("pid") is not None:
        parts.append(f"pid {row['pid']}")
    parts += _ending(row)
    if row.get("state") not in ("ready", "running") and row.get("reason"):
        parts.append(plain(row["reason"]))
    return f"{row.get('name', '?')}: {', '.join(parts) or 'done'}"


def _ending(row: Mapping[str, Any]) -> list[str]:
    parts = []
    if row.get("how"):
        parts.append(f"by {row['how']}" if str(row["how"]).isupper() else str(row["how"]))
    if row.get("signal") is not None:
        parts.append(f"signal {row['signal']}" + (" (core)" if row.get("core") else ""))
    elif row.get("code") is not None:
        parts.append(f"exit {row['code']}")
    if row.get("took_s") is not None:
        parts.append(f"took {row['took_s']:.3g} s")
    return parts


def plan(reply: Mapping[str, Any], view: View) -> str:
    """Return what apply would change, or what is wrong with the crew files."""
    wrong = list(reply.get("problems") or ())
    if wrong:
        return "\n".join([unusable(wrong), *problems(wrong)]) + "\n"
    lines = [change(row, view) for row in reply.get("changes") or ()]
    if not lines:
        return "nothing to do: the crew is what the crew files say\n"
    return "\n".join(lines) + "\n"


def change(row: Row, view: View) -> str:
    """Say in a line what one definition's change is."""
    sign, colour = {"add": ("+", "green"), "remove": ("-", "red")}.get(
        str(row.get("action")), ("~", "yellow")
    )
    text = plain(row.get("message") or "")
    if not text:
        keys = ", ".join(row.get("keys") or ())
        text = f"{row['name']}: {row.get('action')}" + (f" {keys}" if keys else "")
        text += f" ({_HOW.get(str(row.get('how')), row.get('how'))})"
    return f"{paint(sign, colour, view)} {text}"


_HOW = {
    "start": "starts",
    "live": "at once, nothing is restarted",
    "next": "at its next start",
    "restart": "restarts",
    "stop": "stops",
}


def applied(reply: Mapping[str, Any], view: View) -> str:
    """Return what apply changed and what came of it."""
    changes, rows = reply.get("changes") or (), reply.get("hands") or ()
    lines = _applied(changes, rows, view)
    if not lines:
        lines = ["nothing to do: the crew is what the crew files say"]
    return "".join(line + "\n" for line in lines)


def _applied(changes: Iterable[Row], rows: Iterable[Row], view: View) -> list[str]:
    return [*(change(row, view) for row in changes), *(outcome(row, view) for row in rows)]


def so_far(parameters: Mapping[str, Any], view: View) -> str:
    """Return what came of a call before it was refused or its time was up.

    Of one hand alone the refusal itself says it.
    """
    changes, rows = list(parameters.get("changes") or ()), list(parameters.get("hands") or ())
    # Other refusals have names there.
    rows = [row for row in rows if isinstance(row, dict)]
    if len(changes) + len(rows) <= 1:
        return ""
    return "".join(f"{line}\n" for line in _applied(changes, rows, view))
