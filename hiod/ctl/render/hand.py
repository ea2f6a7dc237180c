"""All about hands: ``hiodctl status``, ``why`` and ``events``.  Pure: replies in, text out.

Decides which facts are shown and in what order.  Leaves how each is written to `figures`.
Invariant: what is not known is left out, never guessed; at a terminal no line is wider than it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hiod.ctl.render.figures import (
    STATE_PAINT,
    View,
    ago,
    brief,
    clock,
    cut,
    duration,
    instant,
    labelled,
    lag,
    localized,
    others,
    paint,
    percent,
    plain,
    since_s,
    size,
    unruly,
    when,
    width,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hiod.ctl.render.figures import Row

LABEL_WIDTH = 10
TREE_MOST = 8


def status(reply: Row, tail: Sequence[str], view: View) -> str:
    """Return the block of ``hiodctl status``, with the last lines of the hand's log."""
    lines = [_headline(reply, view)]
    for label, text in (
        ("Wanted", _wanted(reply, view)),
        ("Restarts", _restarts(reply)),
        ("Process", _process(reply, view)),
        ("Doing", _doing(reply)),
        ("Says", "" if _doing(reply) else _says(reply)),
        ("Memory", _memory(reply)),
        ("Beat", _beat(reply, view)),
        ("Memos", _memos(reply)),
        ("Next", _next(reply, view)),
        *(("Deaths" if not n else "", death(d, view)) for n, d in enumerate(_deaths(reply))),
        ("Tree", _tree(reply)),
        ("Log", _log(reply)),
    ):
        if text:
            colon = ":" if label else " "
            lines.append(labelled(f"{label:>{LABEL_WIDTH}}{colon} ", text, view))
    for line in tail:
        shown = f"  {unruly(line)}".rstrip()
        # `logs` shows it whole.
        lines.append(cut(shown, view.columns) if view.person else shown)
    return "\n".join(lines) + "\n"


def _headline(reply: Row, view: View) -> str:
    state, health = str(reply.get("state")), reply.get("health")
    text = state if health in (None, "ok") else f"{state} ({health})"
    seconds = since_s(reply.get("since"), view)
    if seconds is not None:
        text += f" since {when(reply['since'], view)}, {ago(seconds)}"
    left = f"● {reply.get('name')}  {text}"
    origin = plain(reply.get("origin") or "")
    gap = view.columns - width(left) - width(origin)
    if view.person and gap < 2:  # noqa: PLR2004 - as between columns
        lines = wrapped(left, view.columns)
        lines += [cut(origin, view.columns).rjust(view.columns)] if origin else []
    else:
        lines = [left + " " * max(gap, 2) + origin if origin else left]
    return "\n".join(lines).replace("●", paint("●", STATE_PAINT.get(state), view), 1)


def _wanted(reply: Row, view: View) -> str:
    parts = [str(reply.get("wanted", "up"))]
    if reply.get("wanted") == "down" and reply.get("wanted_by"):
        parts[0] += f" by {plain(reply['wanted_by'])}"
    if reply.get("ready_since") and reply.get("pid") is not None:
        up = duration(since_s(reply["ready_since"], view))
        parts.append(f"Ready: {when(reply['ready_since'], view)} ({up})")
    elif reply.get("reason"):
        parts.append(f"Reason: {plain(reply['reason'])}")
    return "      ".join(parts)


def _restarts(reply: Row) -> str:
    restart = reply.get("restart") or {}
    text = str(reply.get("restarts", 0))
    if restart.get("limit") is not None:
        text += f"      Failures: {restart.get('failures', 0)} of {restart['limit']}"
        if restart.get("window_s") is not None:
            text += f" in {restart['window_s']:g} s"
    return text


def _process(reply: Row, view: View) -> str:
    process = reply.get("process")
    if not process:
        return ""
    parts = [str(process["pid"]), f"generation {reply.get('generation', 0)}"]
    if process.get("adopted"):
        parts.append(f"adopted {when(process['adopted'], view)}")
    parts += others([reply])
    if process.get("python"):
        parts.append(plain(process["python"]))
    return ", ".join(parts)


def _doing(reply: Row) -> str:
    process = reply.get("process") or {}
    if not process.get("doing"):
        return ""
    text = plain(process["doing"])
    if process.get("doing_s") is not None:
        text += f" ({process['doing_s']:.0f} s)"
    said = _says(reply)
    return f"{text}       Says: {said}" if said else text


def _says(reply: Row) -> str:
    said = plain(reply.get("status") or "")
    return f'"{said}"' if said and said != plain(reply.get("reason") or "") else ""


def _memory(reply: Row) -> str:
    process = reply.get("process")
    if not process:
        return ""
    memory = size(process.get("rss"))
    if process.get("rss_most") is not None:
        memory += f", most {size(process['rss_most'])}"
    if process.get("rss_max") is not None:
        memory += f", of {size(process['rss_max'])}"
    parts = [memory, f"CPU: {percent(process.get('cpu'))} %"]
    parts += [f"{key} {process[key]}" for key in ("fds", "threads") if process.get(key) is not None]
    return "      ".join(parts)


def _beat(reply: Row, view: View) -> str:
    memo = reply.get("memo") or {}
    if not memo.get("beat"):
        return ""
    text = f"{when(memo['beat'], view)}, {ago(since_s(memo['beat'], view) or 0)}"
    if memo.get("beat_s") is not None:
        text += f" (every {memo['beat_s']:g} s"
        text += f", {memo['misses']} may miss)" if memo.get("misses") is not None else ")"
    if memo.get("lag_ms") is not None:
        before = " before that" if memo.get("missed") else ""
        text += f"; lag{before} {lag(memo['lag_ms'])}"
    return text


def _memos(reply: Row) -> str:
    memo = reply.get("memo")
    if not memo:
        return ""
    parts = [
        f"{label} {memo[key]}"
        for key, label in (
            ("received", "in"),
            ("sent", "out"),
            ("outbox", "outbox"),
            ("dead_letters", "dead letters"),
        )
        if memo.get(key) is not None
    ]
    if memo.get("drops"):
        parts.append(f"drops {memo['drops']}")
    doers = "command" not in (reply.get("spec") or {})
    if doers and reply.get("process") and not memo.get("registered"):
        parts.append("not registered")
    text = "  ".join(parts)
    return text + "; some wait in its mailbox" if memo.get("waiting") else text


def _next(reply: Row, view: View) -> str:
    restart = reply.get("restart") or {}
    if restart.get("plan"):
        return plain(restart["plan"])
    return f"started again at {when(restart['next'], view)}" if restart.get("next") else ""


def _deaths(reply: Row) -> list[Row]:
    return list(reply.get("deaths") or ())[:3]


def death(row: Row, view: View) -> str:
    """Say how one incarnation ended."""
    if row.get("signal") is not None:
        how = f"signal {row['signal']}"
    elif row.get("code") is not None:
        how = f"exit {row['code']}"
    else:
        how = "an unknown end"
    # The boss's own words begin with the same and may go on with what the hand said last.
    if row.get("known", True) and row.get("reason"):
        how = plain(row["reason"])
    if row.get("core"):
        how += ", core"
    parts = [f"{when(row.get('at'), view)} {how}"]
    if row.get("uptime_s") is not None:
        parts.append(f"after {brief(row['uptime_s'])}")
    asked_by = plain(row.get("asked_by") or "")
    # Of what hiod did itself it says why.
    verb = "ended" if asked_by.startswith("hiod: ") else "asked"
    parts.append(f"{verb} by {asked_by}" if asked_by else "nobody asked")
    return ", ".join(parts)


def _tree(reply: Row) -> str:
    tree = list((reply.get("process") or {}).get("tree") or ())
    shown = [f"{process['pid']} {plain(process['name'])}" for process in tree[:TREE_MOST]]
    more = [f"{len(tree) - TREE_MOST} more"] if len(tree) > TREE_MOST else []
    return " ─ ".join(shown + more) if len(tree) > 1 else ""


def _log(reply: Row) -> str:
    log, name = reply.get("log"), reply.get("name")
    if log == "journal":
        return f"journalctl HIOD_HAND={name} + SYSLOG_IDENTIFIER=hiod-{name}"
    return {"inherit": "with the boss's own output", "null": "thrown away"}.get(
        str(log), str(log or "")
    )


FRAME = re.compile(r'^(\s*)File "(.+)", line (\d+) in (.+)$')


def why(
    reply: Mapping[str, Any], view: View, source: Callable[[str, int], str] = lambda _f, _l: ""
) -> str:
    """Return the explanations of ``hiodctl why``.

    Parameters:
        reply: the boss's.
        view: who reads.
        source: gives a line of a file as far as the reader may see it, else nothing.
    """
    blocks = []
    for hand in reply.get("hands", ()):
        summary = hand.get("summary") or f"{hand['name']} is {hand['state']}."
        lines = [labelled("", plain(localized(summary, view)), view)]
        found = [(part["label"], part["lines"]) for part in hand.get("findings", ())]
        if hand.get("can"):
            found.append(("you can", [" · ".join(hand["can"])]))
        for label, texts in found:
            for number, text in enumerate(_with_sources(texts, source)):
                shown = unruly(localized(text, view))
                lines.append(labelled(f"  {'' if number else label:<8} ", shown, view).rstrip())
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks) or ("all hands are ok\n" if view.person else "")


def _with_sources(texts: Sequence[str], source: Callable[[str, int], str]) -> list[str]:
    """Say of each frame of a stack where it is in short, and what is written there."""
    frames = [FRAME.match(text) for text in texts]
    where = [f"{one[2].rpartition('/')[2]}:{one[3]}" if one else "" for one in frames]
    names = [one[4] if one else "" for one in frames]
    wide, broad = max(map(len, where), default=0), max(map(len, names), default=0)
    return [
        f"{one[1]}{at:<{wide}}  {name:<{broad}}  {source(one[2], int(one[3]))}".rstrip()
        if one
        else text
        for one, at, name, text in zip(frames, where, names, texts, strict=True)
    ]


def event(row: Row, view: View) -> str:
    """Return one line of ``hiodctl events``."""
    colour = {"warning": "yellow", "error": "red", "debug": "dim"}.get(str(row.get("level")))
    at = instant(row.get("at"))
    stamp = ("-" if at is None else clock(at, view)) + " "
    lines = labelled(stamp, plain(row.get("message") or row.get("event")), view)
    return "\n".join(
        line[: len(stamp)] + paint(line[len(stamp) :], colour, view) for line in lines.split("\n")
    )
