"""What the boss says of itself: ``hiodctl about``.  Pure: a reply in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hiod.ctl.render.figures import View, duration, labelled, others, plain, plural, since_s

if TYPE_CHECKING:
    from collections.abc import Mapping


def about(reply: Mapping[str, Any], view: View) -> str:
    """Return what the boss says of itself."""
    states = ", ".join(f"{count} {name}" for name, count in (reply.get("states") or {}).items())
    seconds = since_s(reply.get("since"), view)
    rows = [
        ("boss", f"{reply.get('name')}, {reply.get('state')}, pid {reply.get('pid')}"),
        ("version", f"hiod {reply.get('version')}, Python {reply.get('python') or '-'}"),
        ("up", duration(seconds)),
        ("hands", f"{reply.get('hands', 0)}" + (f": {states}" if states else "")),
        ("you", f"role {reply.get('role')}"),
        ("files", plain(reply.get("files") or "-")),
        ("pending", f"{plural(reply.get('pending') or 0, 'change')}"),
        ("config", reply.get("config_dir")),
        ("runtime", reply.get("runtime_dir")),
        ("state", reply.get("state_dir")),
        ("sandbox", " ".join(reply.get("sandbox") or ())),
    ]
    rows += [
        (
            "launcher",
            f"{row['id']}, pid {row['pid']}, {plural(row.get('hands', 0), 'hand')}"
            + (f", {row['python']}" if row.get("python") else "")
            + "".join(f", {other}" for other in others([row])),
        )
        for row in reply.get("launchers") or ()
    ]
    return "".join(
        labelled(f"{label:>8}: ", str(text), view) + "\n" for label, text in rows if text
    )
