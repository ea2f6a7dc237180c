"""Who reads, and the small things said to them: figures, times, widths, colours.

Decides how a quantity, an instant and a hand's own words are written.  Leaves to the modules beside
it what is shown of what.  Invariant: widths are counted in the cells a terminal gives a text, and
nothing a hand said can move its cursor.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
DAY_S = 86400
MANY_DAYS = 100
MOST_DAYS = 9999
DECIMAL_BELOW = 9.95


def duration(seconds: float | None) -> str:
    """Say a length of time in at most six characters: ``6d04h``, ``2h11m``, ``3m05s``, ``12s``."""
    if seconds is None:
        return "-"
    if seconds > MOST_DAYS * DAY_S:
        return f">{MOST_DAYS}d"
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
        return f"{max(milliseconds, 0):.0f}ms"
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


def width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    import unicodedata  # noqa: PLC0415 - most hands speak ASCII

    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """Fill a text up with blanks to a width: behind it, or with ``right`` before it."""
    blanks = " " * (cells - width(text))
    return blanks + text if right else text + blanks


def cut(text: str, cells: int) -> str:
    """Shorten a text to a width, the loss marked by ``…``."""
    return text if width(text) <= cells else _begin(text, max(cells - 1, 0)) + "…"


def cut_middle(name: str, cells: int) -> str:
    """Shorten a name to a width; both its ends stay, since instances differ at theirs."""
    if len(name) <= cells:
        return name
    tail = (cells - 1) // 2
    return f"{name[: cells - 1 - tail]}…{name[len(name) - tail :]}"


def _begin(text: str, cells: int) -> str:
    """Return as much of a text's beginning as has room."""
    if text.isascii():
        return text[:cells]
    end = used = 0
    for letter in text:
        used += width(letter)
        if used > cells:
            break
        end += 1
    return text[:end]


def wrapped(text: str, room: int) -> list[str]:
    """Break a text into lines of at most this many cells, at blanks where there are any."""
    lines = []
    while width(text) > room > 0:
        line = _begin(text, room) or text[0]
        # What a line begins with is its indentation, and no place to break it.
        blank = text.rfind(" ", len(text) - len(text.lstrip()) + 1, len(line) + 1)
        line = text[:blank] if blank > 0 else line
        lines.append(line)
        text = text[len(line) :].lstrip()
    return [*lines, text]


def labelled(label: str, text: str, view: View) -> str:
    """Put a label before a text; at a terminal what has no room on its line goes under it."""
    if not view.person:
        return label + text
    return label + ("\n" + " " * len(label)).join(wrapped(text, view.columns - len(label)))


def plain(text: Any) -> str:
    """Return a hand's own words fit for a terminal: one line, no control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text)).strip()


def as_json(value: Any, view: View) -> str:
    """Return a value as JSON: one line when piped, indented for a person."""
    if view.person:
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"


def printable(text: str) -> str:
    """Return lines fit for a terminal, whoever is quoted in them."""
    return "\n".join(unruly(line) for line in text.split("\n"))


def unruly(text: Any) -> str:
    """Return text whose indentation means something, fit for a terminal."""
    shown = plain(text)
    return " " * (len(str(text)) - len(str(text).lstrip())) + shown


INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def localized(text: Any, view: View) -> str:
    """Return the boss's words with the instants in them as the reader's own time."""
    return INSTANT.sub(lambda found: when(found[0], view), str(text))


def others(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say which other versions than the boss's these hands or launchers run."""
    rows = list(rows)
    return [f"{age} hiod" for age in ("older", "newer") if any(row.get(age) for row in rows)]
