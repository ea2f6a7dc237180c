"""What the operator's files say, as one frozen ``Config``; or everything that is wrong with them.

Decides how ``hiod.toml`` and the crew files fit together: which tables there are, whose defaults
lie over whose, which hands exclude each other. What a hand's keys mean is decided in ``specs``;
reading files is left to ``host.files``. Invariant: a ``Config`` is made of files that are good as
a whole; there is none of half of them.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from hiod.errors import ConfigError
from hiod.rules.checking import (
    Array,
    Choice,
    Key,
    Number,
    Pattern,
    Problem,
    SourceFile,
    Spot,
    did_you_mean,
    flatten,
    key,
    keys_of,
    make_record,
    read_table,
)
from hiod.rules.kinds import HAND_NAME
from hiod.rules.specs import Defaults, HandSpec, check_crew, parse, parse_defaults

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAIN_FILE: Final = "hiod.toml"

_WHO: Final = Array(
    Pattern(
        pattern=r"@?(?:[0-9]+|[A-Za-z_][A-Za-z0-9_.-]{0,63}\$?)",
        shape='a user or "@group", by name or number',
    ),
    "users and groups",
    unique=True,
)


@dataclass(frozen=True, slots=True)
class BossConfig:
    """The table ``[boss]``."""

    name: str = key("boss", HAND_NAME, "the boss's name in memos", applies="next")
    log_level: str = key(
        "info",
        Choice(("error", "warning", "info", "debug")),
        "the least that is logged",
        applies="next",
    )
    settle_s: float = key(
        2.0,
        Number(most=60),
        "after a restart of the boss, how long living hands have to answer before it is ready",
        applies="next",
    )
    events_keep: int = key(
        10_000,
        Number(whole=True, least=1, most=10_000_000),
        "how many of the newest events are kept",
        applies="next",
    )
    deaths_keep: int = key(
        20,
        Number(whole=True, least=0, most=10_000),
        "how many of the newest deaths of each hand are kept",
        applies="next",
    )


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """The table ``[admin]``: who may do what on the admin socket, beyond root and the boss's user.

    Each entry is a user, or ``@`` and a group.
    """

    admin: tuple[str, ...] = key(("@hiod",), _WHO, "who may do everything", applies="live")
    operate: tuple[str, ...] = key(
        (), _WHO, "who may also start, stop, restart, signal and send", applies="live"
    )
    read: tuple[str, ...] = key((), _WHO, "who may look", applies="live")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the files say.

    Attributes:
        boss: how the boss runs.
        admin: who may use the admin socket.
        hands: the crew, in the order of the files and in the files' own.
        defaults: what hands that are added later start from: ``[defaults]`` of ``hiod.toml``.
    """

    boss: BossConfig = field(default_factory=BossConfig)
    admin: AdminConfig = field(default_factory=AdminConfig)
    hands: tuple[HandSpec, ...] = ()
    defaults: tuple[Defaults, ...] = ()


MAIN_KEYS: Final[dict[str, Key]] = {
    f"{lead}.{name}": known
    for lead, record in (("boss", BossConfig), ("admin", AdminConfig))
    for name, known in flatten(record).items()
}
"""Every key of ``hiod.toml`` but ``[defaults]``, by its dotted name."""


@dataclass(frozen=True, slots=True)
class MainChange:
    """What differs in one table of ``hiod.toml``.

    Attributes:
        how: live: it takes hold when the files are applied; next: with the next boss.
        keys: dotted, in the order of the table of keys.
        message: the same in words.
    """

    how: Literal["live", "next"]
    keys: tuple[str, ...]
    message: str


def main_changes(had: Config, new: Config) -> tuple[MainChange, ...]:
    """Return what differs in ``hiod.toml``, a table each."""
    keys = {
        "admin": [name for name in MAIN_KEYS if name.startswith("admin.")],
        "defaults": ["defaults"],
        "boss": [name for name in MAIN_KEYS if name.startswith("boss.")],
    }
    found = []
    for table, names in keys.items():
        differ = tuple(name for name in names if attrgetter(name)(had) != attrgetter(name)(new))
        if differ:
            message = f"{MAIN_FILE}: {', '.join(differ)} ({_TAKES_HOLD[table]})"
            found.append(MainChange("next" if table == "boss" else "live", differ, message))
    return tuple(found)


_TAKES_HOLD: Final = {
    "admin": "at once",
    "defaults": "at once, for hands that are added",
    "boss": "with the next boss",
}


def build(files: Sequence[SourceFile], *, problems: Iterable[Problem] = ()) -> Config:
    """Return what the files say as a whole.

    Args:
        files: ``hiod.toml`` and crew files, in order; any may be missing.
        problems: what is known to be wrong already, such as a file that cannot be read.

    Raises:
        ConfigError: with all problems of all files.
    """
    found = list(problems)
    tables = [(source, _toml(source, found)) for source in files]
    main = Config()
    for source, table in tables:
        if source.path == MAIN_FILE and table is not None:
            main = _read_main(source, table, found)
    specs: list[HandSpec] = []
    unread: dict[str, str] = {}
    for source, table in tables:
        if source.path != MAIN_FILE and table is not None:
            before = {spec.name: spec.origin or "" for spec in specs}
            specs += _read_crew(source, table, main.defaults, found, before, unread)
    found += check_crew(specs, known=unread)
    if any(table is None for _, table in tables):
        # A file that is no TOML may hold the very hand that seems to be missing.
        found = [problem for problem in found if problem.code != "no_such_hand"]
    if found:
        raise ConfigError([problem.asdict() for problem in found])
    return Config(main.boss, main.admin, tuple(specs), main.defaults)


def _toml(source: SourceFile, problems: list[Problem]) -> dict[str, Any] | None:
    """Return a file's tables, or None after telling why it has none."""
    try:
        return tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        place = where.removesuffix(")") or "some place"
        message = f"is not TOML at {place}: {what[:1].lower()}{what[1:]}"
    except RecursionError:
        message = "is nested too deeply"
    except ValueError as error:  # a date or a number that Python cannot hold
        message = f"has a value that cannot be used: {error}"
    problems.append(Problem(source.path, "syntax", message))
    return None


def _read_main(source: SourceFile, table: Mapping[str, Any], problems: list[Problem]) -> Config:
    spot = Spot(f"{source.path}: ", problems, source.folder)
    records: dict[str, Any] = {"boss": BossConfig, "admin": AdminConfig}
    made: dict[str, Any] = {}
    known = (*records, "defaults")
    for name, value in table.items():
        here = spot.at(name)
        if name == "hand":
            here.refuse("not_allowed", "belongs in a crew file: crew.d/NAME.toml")
        elif name == "defaults":
            layer, told = parse_defaults(value, path=here.path, folder=source.folder)
            made["defaults"] = (layer,)
            problems += told
        elif name not in records:
            here.refuse("unknown_key", f"unknown table{did_you_mean(name, known)}")
        elif not isinstance(value, dict):
            here.refuse("wrong_type", f"must be a table; write [{name}]", value)
        else:
            record = records[name]
            made[name] = make_record(record, read_table(value, keys_of(record), here))
    return Config(**made)


def _read_crew(
    source: SourceFile,
    table: Mapping[str, Any],
    defaults: Sequence[Defaults],
    problems: list[Problem],
    before: Mapping[str, str],
    unread: dict[str, str],
) -> list[HandSpec]:
    """Return the hands of one file that are good; the names of the others go to ``unread``.

    Both have, by name, the file of those of earlier files: ``before`` the good ones. A good hand
    that is defined twice is ``check_crew``'s to tell.
    """
    spot = Spot(f"{source.path}: ", problems, source.folder)
    for name in table:
        if name not in ("defaults", "hand"):
            _refuse_table(name, spot)
    layers = tuple(defaults)
    if "defaults" in table:
        where = spot.at("defaults").path
        layer, told = parse_defaults(table["defaults"], path=where, folder=source.folder)
        layers = (*layers, layer)
        problems += told
    hands = table.get("hand", {})
    if not isinstance(hands, dict):
        spot.at("hand").refuse("wrong_type", "must be a table of hands; write [hand.NAME]", hands)
        return []
    lines = lines_of(source.text)
    made = []
    for name, keys in hands.items():
        spec, told = parse(
            keys,
            path=spot.at("hand").at(name).path,
            name=name,
            defaults=layers,
            origin=source.path,
            line=lines.get(name),
            folder=source.folder,
        )
        problems += told
        first = unread.get(name) or (before.get(name) if spec is None else None)
        if first is not None:
            text = f"is in {first} already; a hand has one definition"
            spot.at("hand").at(name).refuse("duplicate", text)
        if spec is None:
            unread.setdefault(name, source.path)
        else:
            made.append(spec)
    return made


def _refuse_table(name: str, spot: Spot) -> None:
    if name in ("boss", "admin"):
        spot.at(name).refuse("not_allowed", f"belongs in {MAIN_FILE}")
    else:
        hint = did_you_mean(name, ("defaults", "hand")) or "; a hand is written [hand.NAME]"
        spot.at(name).refuse("unknown_key", f"unknown table{hint}")


_BEGINS: Final = re.compile(
    r"""^[ \t]*\[?[ \t]*hand[ \t]*\.[ \t]*(["']?)([a-z0-9_-]+)\1[ \t]*[\].=]""", re.MULTILINE
)


def lines_of(text: str) -> dict[str, int]:
    """Return the lines on which a crew file begins to define its hands, as far as that shows."""
    lines: dict[str, int] = {}
    line, at = 1, 0
    for found in _BEGINS.finditer(text):
        line, at = line + text.count("\n", at, found.end()), found.end()
        lines.setdefault(found[2], line)
    return lines
