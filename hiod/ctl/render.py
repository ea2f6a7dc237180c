"""From the boss's answers to what a person reads.  Pure: text in, text out.

Decides columns, words, colours and the sentence for each refusal.  Leaves asking, printing and
exit codes to its callers.  Invariant: at a terminal no line of the list is wider than the
terminal, and what had to be cut ends in "…"; piped, nothing is cut, coloured or added.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hiod.errors import AdminError

Row = dict[str, Any]


class View(NamedTuple):
    """Who reads, and when.

    Attributes:
        now: aware.
        tz: times are shown in it; None: this machine's.
        person: a terminal reads: cut to width, footers, blanks for none.
        colour: paint it.
        columns: width of the terminal.
    """

    now: datetime
    tz: tzinfo | None = None
    person: bool = False
    colour: bool = False
    columns: int = 80


PAINT = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1", "cyan": "36"}
STATE_PAINT = {
    "ready": "green",
    "running": "green",
    "done": "green",
    "degraded": "yellow",
    "backoff": "yellow",
    "stopping": "yellow",
    "failed": "red",
    "stopped": "dim",
}
STATES = (
    "ready", "running", "degraded", "starting", "registering", "stopping", "waiting", "backoff",
    "failed", "done", "stopped",
)  # fmt: skip
DAY_S = 86400
MANY_DAYS = 100
DECIMAL_BELOW = 9.95

# --------------------------------------------------------------------------- figures


def duration(seconds: float | None) -> str:
    """Say a length of time in at most six characters: ``6d04h``, ``2h11m``, ``3m05s``, ``12s``."""
    if seconds is None:
        return "-"
    whole = max(int(seconds), 0)
    days, rest = divmod(whole, DAY_S)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days >= MANY_DAYS:
        return f"{days}d"
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{left:02}s" if minutes else f"{left}s"


def brief(seconds: float) -> str:
    """Say a length of time of which tenths may matter: ``0.4 s``, ``2h11m``."""
    return f"{seconds:.1f} s" if seconds < DECIMAL_BELOW else duration(seconds)


def ago(seconds: float) -> str:
    """Say how long ago something was: ``4 s ago``, ``2 d ago``."""
    whole = max(int(seconds), 0)
    for size, unit in ((DAY_S, "d"), (3600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} ago"
    return f"{whole} s ago"


def size(count: float | None) -> str:
    """Say a number of bytes in at most four characters: ``41M``, ``1.5G``."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "K", "M", "G", "T"):
        if value < 999.5 or unit == "T":  # noqa: PLR2004 - what rounds to 1000 takes the next unit
            small = value < DECIMAL_BELOW and unit in "GT"
            return f"{value:.1f}{unit}" if small else f"{value:.0f}{unit}"
        value /= 1024
    return "-"  # pragma: no cover - T takes all


def percent(value: float | None) -> str:
    """Say a share of one core: ``0.3``, ``99.8``, ``412``."""
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"  # noqa: PLR2004 - four characters


def lag(milliseconds: float | None) -> str:
    """Say a loop's lag: ``2ms``, ``1.5s``, ``12s``."""
    if milliseconds is None:
        return "-"
    if milliseconds < 999.5:  # noqa: PLR2004 - what rounds to 1000 is a second
        return f"{milliseconds:.0f}ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f}s" if seconds < DECIMAL_BELOW else duration(seconds)


def instant(text: Any) -> datetime | None:
    """Read an instant of the protocol; None if there is none."""
    if not isinstance(text, str) or not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def clock(at: datetime, view: View) -> str:
    """Say when something was: the time today, the weekday this week, else the date."""
    local, now = at.astimezone(view.tz), view.now.astimezone(view.tz)
    if local.date() == now.date():
        return f"{local:%H:%M:%S}"
    if timedelta(0) <= now - local < timedelta(days=6):
        return f"{local:%a %H:%M:%S}"
    return f"{local:%Y-%m-%d %H:%M}"


def since_s(text: Any, view: View) -> float | None:
    """Return the seconds since an instant of the protocol."""
    at = instant(text)
    return None if at is None else (view.now - at).total_seconds()


def when(text: Any, view: View) -> str:
    """Say when an instant of the protocol was, ``-`` for none."""
    at = instant(text)
    return "-" if at is None else clock(at, view)


def plural(count: int, one: str, many: str = "") -> str:
    """Say how many: ``1 hand``, ``2 hands``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def paint(text: str, colour: str | None, view: View) -> str:
    """Colour a text, if colours are wanted."""
    if not view.colour or not colour or not text:
        return text
    return f"\x1b[{PAINT[colour]}m{text}\x1b[0m"


def cut(text: str, width: int) -> str:
    """Shorten a text to a width, the loss marked by ``…``."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def cut_middle(text: str, width: int) -> str:
    """Shorten a name to a width; both its ends stay, since instances differ at theirs."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def plain(text: Any) -> str:
    """Return a hand's own words fit for a terminal: one line, no control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text)).strip()


def as_json(value: Any, view: View) -> str:
    """Return a value as JSON: one line when piped, indented for a person."""
    if view.person:
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"


# --------------------------------------------------------------------------- the list

HEAD = ("NAME", "STATE", "HEALTH", "UP", "RST", "RSS", "CPU", "LAG", "STATUS")
LEAST = (4, 5, 6, 5, 3, 4, 4, 3, 6)
RIGHT = frozenset({"RST", "RSS", "CPU", "LAG", "IN/s", "OUT/s", "OUTBOX"})
STATUS_LEAST = 12
HINT = "no hands yet; try: hiodctl add hello --doer hiod.demo:Ticker"


def crew(reply: Mapping[str, Any], view: View) -> str:
    """Return the table of ``hiodctl list``."""
    rows: list[Row] = list(reply.get("hands", ()))
    if not rows and view.person:
        return "\n".join([HINT, *_notes(reply)]) + "\n"
    cells = [cells_of(row, view) for row in rows]
    lines = table(HEAD, LEAST, cells, [str(row.get("state")) for row in rows], view)
    if view.person:
        lines += _footer(rows, reply, view)
    return "\n".join(lines) + "\n"


def cells_of(row: Row, view: View) -> list[str]:
    """Return a row's cells in the order of ``HEAD``."""
    older = "*" if row.get("older") else ""
    return [
        f"{row.get('name', '?')}{older}",
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
    return reason or status


def table(
    head: Sequence[str],
    least: Sequence[int],
    cells: Sequence[Sequence[str]],
    states: Sequence[str],
    view: View,
) -> list[str]:
    """Lay out a table whose first column is a name and whose last is free text."""
    # A last column of figures is one like the others; then there is no free text.
    free = head[-1] not in RIGHT
    last = len(head) - 1 if free else len(head)
    widths = [
        max([least[i], len(head[i]), *(len(row[i]) for row in cells)]) for i in range(len(head))
    ]
    # A slot for the star of an older hiod, outside the name's own width.
    widths[0] = max([len(head[0]), *(len(row[0].removesuffix("*")) for row in cells)]) + 1
    room = 0
    if view.person:
        fixed = sum(widths[1:last]) + 2 * (last - 1) + 1
        # A status of a dozen characters is the least that says anything; names give way to it.
        kept = STATUS_LEAST if free else -2
        widths[0] = max(min(widths[0], view.columns - fixed - kept), len(head[0]) + 1)
        room = max(view.columns - fixed - widths[0], 1)
    lines = []
    for number, row in enumerate([head, *cells]):
        title = number == 0
        fields = [_first(row[0], widths[0], view)]
        for i in range(1, last):
            text = row[i]
            text = text.rjust(widths[i]) if head[i] in RIGHT else text.ljust(widths[i])
            if not title and head[i] == "STATE":
                text = paint(text, STATE_PAINT.get(states[number - 1]), view)
            fields.append(text)
        if free:
            fields.append(cut(row[last], room) if view.person else row[last] or "-")
        line = fields[0] + " " + "  ".join(fields[1:])
        lines.append(paint(line.rstrip(), "bold", view) if title else line.rstrip())
    return lines


def _first(name: str, width: int, view: View) -> str:
    star = name.endswith("*")
    bare = name.removesuffix("*")
    if view.person:
        bare = cut_middle(bare, width - 1)
    return (bare + ("*" if star else "")).ljust(width)


def _footer(rows: Sequence[Row], reply: Mapping[str, Any], view: View) -> list[str]:
    counts = dict.fromkeys(STATES, 0)
    for row in rows:
        counts[str(row.get("state"))] = counts.get(str(row.get("state")), 0) + 1
    parts = [f"{count} {state}" for state, count in counts.items() if count]
    total = f"{plural(len(rows), 'hand')}: "
    notes = _notes(reply)
    if any(row.get("older") for row in rows):
        notes.insert(0, "* older hiod")
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
        notes.append("the crew files are broken: hiodctl check")
    return notes


TOP_HEAD = (*HEAD[:-1], "IN/s", "OUT/s", "OUTBOX", "STATUS")
TOP_LEAST = (*LEAST[:-1], 4, 5, 6, 6)
TOP_WIDE = 100
SORTS: dict[str, tuple[str, str]] = {
    "c": ("cpu", "CPU"),
    "m": ("rss", "memory"),
    "l": ("lag_ms", "lag"),
    "r": ("restarts", "restarts"),
    "n": ("name", "name"),
}


def top(
    reply: Mapping[str, Any],
    before: Mapping[str, Row],
    elapsed_s: float,
    sort: str,
    view: View,
    lines: int,
) -> str:
    """Return one picture of ``hiodctl top``.

    Parameters:
        reply: of ``list``.
        before: the rows of the look before, by name.
        elapsed_s: since that look.
        sort: a key of ``SORTS``; figures go from the most to the least.
        lines: of the terminal.
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
    head: tuple[str, ...] = TOP_HEAD
    least: tuple[int, ...] = TOP_LEAST
    if view.person and view.columns < TOP_WIDE:
        head, least, cells = head[:-1], least[:-1], [row[:-1] for row in cells]
    text = table(head, least, cells, [str(row.get("state")) for row in shown], view)
    more = [f"… {len(rows) - len(shown)} more"] if len(shown) < len(rows) else []
    keys = f"by {SORTS[sort][1]}; sort: c CPU  m memory  l lag  r restarts  n name; q ends"
    return "\n".join([*text, *more, paint(cut(keys, view.columns), "dim", view)]) + "\n"


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


# --------------------------------------------------------------------------- refusals


def refusal(ex: AdminError) -> str:
    """Say in a sentence why the boss refused; problems follow, one a line, indented."""
    parameters = dict(ex.parameters)
    message = str(parameters.get("message") or "")
    short = ex.code.rpartition(".")[2]
    parameters.pop("message", None)
    words = _SENTENCES.get(short)
    sentence = words(parameters, message) if words else message
    if not sentence:
        sentence = short + (f" {json.dumps(parameters, ensure_ascii=False)}" if parameters else "")
    hint = parameters.get("hint")
    if hint and str(hint) not in sentence:
        sentence += f"; {hint}"
    return "\n".join([sentence, *problems(parameters.get("problems") or ())])


def problems(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one indented line for each problem."""
    lines = []
    for problem in found:
        text = str(problem.get("message") or problem.get("code") or "")
        got = problem.get("got")
        if got is not None and "got " not in text and str(got) not in text:
            text += f", got {json.dumps(got, ensure_ascii=False)}"
        path = problem.get("path")
        lines.append(f"  {path}: {text}" if path else f"  {text}")
    return lines


def _near(parameters: Mapping[str, Any]) -> str:
    near = parameters.get("near")
    names = [near] if isinstance(near, str) else list(near or ())
    return f"; did you mean {' or '.join(json.dumps(name) for name in names)}?" if names else ""


def _no_such_hand(parameters: Row, message: str) -> str:
    del message
    name = parameters.get("name")
    if name is None:
        return "no hand is meant by that" + (_near(parameters) or "; see hiodctl list")
    return f'no hand "{name}"' + (_near(parameters) or "; see hiodctl list")


def _bad_spec(parameters: Row, message: str) -> str:
    count = len(parameters.get("problems") or ())
    return message or f"the spec cannot be used: {plural(count, 'problem')}"


def _conflict(parameters: Row, message: str) -> str:
    others = parameters.get("hands") or parameters.get("names") or ()
    text = message or f"that cannot be done now ({parameters.get('code', 'conflict')})"
    told = set(re.findall(r"[\w-]+", text))
    missing = [str(name) for name in others if str(name) not in told]
    return text + (f": {', '.join(missing)}" if missing else "")


def _not_permitted(parameters: Row, message: str) -> str:
    del message
    needs, have = parameters.get("needs"), parameters.get("have") or "none"
    return (
        f"not permitted: this takes role {needs}, yours is {have};"
        " roles are given under [admin] in hiod.toml"
    )


def _timeout(parameters: Row, message: str) -> str:
    if message:
        return message
    rows = [row for row in parameters.get("hands") or () if row.get("state")]
    late = [row for row in rows if row["state"] not in ("ready", "running", "done", "stopped")]
    words = ", ".join(
        f"{row['name']} is {row['state']}"
        + (f" ({plain(row['reason'])})" if row.get("reason") else "")
        for row in late or rows
    )
    return f"timed out: {words or 'still ' + str(parameters.get('state'))}; it goes on"


def _spawn_failed(parameters: Row, message: str) -> str:
    if message:
        return message
    parts = [str(parameters["path"])] if parameters.get("path") else []
    if parameters.get("errno") is not None:
        from errno import errorcode  # noqa: PLC0415 - only for this sentence

        parts.append(errorcode.get(parameters["errno"], f"errno {parameters['errno']}"))
    about = f" ({', '.join(parts)})" if parts else ""
    return f"cannot start its process: {parameters.get('step')}{about}"


def _unavailable(parameters: Row, message: str) -> str:
    after = parameters.get("after_s")
    text = message or f"the boss cannot do that now: {parameters.get('state')}"
    return text + (f"; try again in {after:g} s" if isinstance(after, (int, float)) else "")


def _busy(parameters: Row, message: str) -> str:
    del parameters
    return message or "the boss has all the connections it takes; try again"


def _too_large(parameters: Row, message: str) -> str:
    return message or f"the request is over the boss's limit of {parameters.get('limit')} bytes"


def _unknown_method(parameters: Row, message: str) -> str:
    del message
    return f"the boss knows no {parameters.get('method')}: is it an older hiod?" + _near(parameters)


def _bad_parameter(parameters: Row, message: str) -> str:
    return message or f"the boss does not take parameter {parameters.get('parameter')}"


_SENTENCES = {
    "NoSuchHand": _no_such_hand,
    "BadSpec": _bad_spec,
    "Conflict": _conflict,
    "NotPermitted": _not_permitted,
    "Timeout": _timeout,
    "SpawnFailed": _spawn_failed,
    "Unavailable": _unavailable,
    "Busy": _busy,
    "TooLarge": _too_large,
    "MethodNotFound": _unknown_method,
    "InvalidParameter": _bad_parameter,
}

# --------------------------------------------------------------------------- outcomes


def outcomes(reply: Mapping[str, Any], view: View, *, removed: bool = False) -> str:
    """Return one line for each hand a changing call was about."""
    rows = list(reply.get("hands", ()))
    if not rows:
        return "nothing to do\n"
    return "".join(outcome(row, view, removed=removed) + "\n" for row in rows)


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


def outcome(row: Row, view: View, *, removed: bool = False) -> str:
    """Say what came of a call for one hand."""
    said = str(row.get("state") or ("gone" if removed else ""))
    if removed and row.get("changed", True):
        said = "gone"
    parts = [paint(said, STATE_PAINT.get(said), view)] if said else []
    if row.get("changed") is False:
        parts.append("nothing to do")
    if row.get("pid") is not None:
        parts.append(f"pid {row['pid']}")
    parts += _ending(row)
    if row.get("took_s") is not None:
        parts.append(f"took {row['took_s']:.3g} s")
    if said not in ("ready", "running") and row.get("reason"):
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
    return parts


# --------------------------------------------------------------------------- one hand

LABEL_WIDTH = 10
TREE_MOST = 8


def status(reply: Row, tail: Sequence[str], view: View) -> str:
    """Return the block of ``hiodctl status``, with the last lines of the hand's log."""
    lines = [_headline(reply, view)]
    for label, text in (
        ("Wanted", _wanted(reply, view)),
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
            shown = cut(text, view.columns - LABEL_WIDTH - 2) if view.person else text
            lines.append(f"{label:>{LABEL_WIDTH}}{colon} {shown}")
    lines += [f"  {unruly(line)}".rstrip() for line in tail]
    return "\n".join(lines) + "\n"


def _headline(reply: Row, view: View) -> str:
    state, health = str(reply.get("state")), reply.get("health")
    text = state if health in (None, "ok") else f"{state} ({health})"
    seconds = since_s(reply.get("since"), view)
    if seconds is not None:
        text += f" since {when(reply['since'], view)}, {ago(seconds)}"
    left = f"● {reply.get('name')}  {text}"
    origin = plain(reply.get("origin") or "")
    gap = " " * max(2, view.columns - len(left) - len(origin))
    painted = left.replace("●", paint("●", STATE_PAINT.get(state), view), 1)
    return painted + gap + origin if origin else painted


def _wanted(reply: Row, view: View) -> str:
    parts = [str(reply.get("wanted", "up"))]
    if reply.get("wanted") == "down" and reply.get("wanted_by"):
        parts[0] += f" by {plain(reply['wanted_by'])}"
    if reply.get("ready_since") and reply.get("pid") is not None:
        up = duration(since_s(reply["ready_since"], view))
        parts.append(f"Ready: {when(reply['ready_since'], view)} ({up})")
    elif reply.get("reason"):
        parts.append(f"Reason: {plain(reply['reason'])}")
    restart = reply.get("restart") or {}
    count = f"Restarts: {reply.get('restarts', 0)}"
    if restart.get("limit") is not None:
        count += f", {restart.get('failures', 0)} of {restart['limit']}"
        if restart.get("window_s") is not None:
            count += f" in {restart['window_s']:g} s"
    return "      ".join([*parts, count])


def _process(reply: Row, view: View) -> str:
    process = reply.get("process")
    if not process:
        return ""
    parts = [str(process["pid"]), f"generation {reply.get('generation', 0)}"]
    if process.get("adopted"):
        parts.append(f"adopted {when(process['adopted'], view)}")
    if reply.get("older"):
        parts.append("older hiod")
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
    if not memo.get("registered") and "command" not in (reply.get("spec") or {}):
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


# --------------------------------------------------------------------------- the rest


INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def localized(text: Any, view: View) -> str:
    """Return the boss's words with the instants in them as the reader's own time."""
    return INSTANT.sub(lambda found: when(found[0], view), str(text))


def why(reply: Mapping[str, Any], view: View) -> str:
    """Return the explanations of ``hiodctl why``."""
    blocks = []
    for hand in reply.get("hands", ()):
        summary = hand.get("summary") or f"{hand['name']} is {hand['state']}."
        lines = [plain(localized(summary, view))]
        found = [(part["label"], part["lines"]) for part in hand.get("findings", ())]
        if hand.get("can"):
            found.append(("you can", [" · ".join(hand["can"])]))
        for label, texts in found:
            for number, text in enumerate(texts):
                shown = unruly(localized(text, view))
                lines.append(f"  {'' if number else label:<8} {shown}".rstrip())
        blocks.append("\n".join(_fit(line, view) for line in lines) + "\n")
    return "\n".join(blocks) or ("all hands are ok\n" if view.person else "")


def unruly(text: Any) -> str:
    """Return text whose indentation means something, fit for a terminal."""
    shown = plain(text)
    return " " * (len(str(text)) - len(str(text).lstrip())) + shown


def _fit(line: str, view: View) -> str:
    """Break a line that is too wide at a space, its rest under its text."""
    if not view.person or len(line) <= view.columns:
        return line
    at = line.rfind(" ", LABEL_WIDTH + 2, view.columns + 1)
    if at < 0:
        return line
    return line[:at] + "\n" + _fit(" " * (LABEL_WIDTH + 1) + line[at + 1 :], view)


def event(row: Row, view: View) -> str:
    """Return one line of ``hiodctl events``."""
    colour = {"warning": "yellow", "error": "red", "debug": "dim"}.get(str(row.get("level")))
    at = instant(row.get("at"))
    stamp = "-" if at is None else clock(at, view)
    return f"{stamp} {paint(plain(row.get('message') or row.get('event')), colour, view)}"


def plan(reply: Mapping[str, Any], view: View) -> str:
    """Return what apply would change, or what is wrong with the crew files."""
    wrong = list(reply.get("problems") or ())
    if wrong:
        head = f"the crew files cannot be used: {plural(len(wrong), 'problem')}"
        return "\n".join([head, *problems(wrong)]) + "\n"
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
    changes = list(changes)
    removed = {
        name for one in changes if one["action"] == "remove" for name in one.get("hands") or ()
    }
    told = [outcome(row, view, removed=row.get("name") in removed) for row in rows]
    return [*(change(row, view) for row in changes), *told]


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
            + (", of an earlier boss" if row.get("older") else ""),
        )
        for row in reply.get("launchers") or ()
    ]
    return "".join(f"{label:>8}: {text}\n" for label, text in rows if text)
