"""The kinds of values that only crew files have: references, paths, signals, limits, variables.

What a value must be is decided here; in which key it may stand is left to ``specs``. Invariant:
a path that was read is absolute, or begins with a variable that will be.
"""

from __future__ import annotations

import keyword
import math
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, Final

from hiod.rules.checking import (
    BAD,
    Choice,
    Kind,
    Number,
    Pattern,
    Size,
    Spot,
    Text,
    did_you_mean,
    near,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES: Final = (
    "HIOD_NAME",
    "HIOD_HAND",
    "HIOD_ORDINAL",
    "HIOD_GENERATION",
    "HIOD_STATE_DIR",
    "HIOD_ADDR",
    "HIOD_BOSS",
    "HIOD_BOSS_ADDR",
)
"""In every hand's environment, and replaced as ``${NAME}`` where a key says so."""

_ABSOLUTE: Final = ("/", "${HIOD_STATE_DIR}", "${HIOD_ADDR}", "${HIOD_BOSS_ADDR}")
_LEAD: Final = "HIOD_"
_VARIABLE: Final = re.compile(r"\$\{(HIOD_[^{}]*)\}?")
_DEEPEST: Final = 32  # levels of opts; with a request around them they stay below its 64


def fill(value: Any, variables: Mapping[str, str]) -> Any:
    """Return plain data with every ``${HIOD_…}`` in its strings replaced, once, left to right."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: variables[found[1]], value)
    if isinstance(value, list | tuple):
        return [fill(item, variables) for item in value]
    if isinstance(value, dict):
        return {name: fill(item, variables) for name, item in value.items()}
    return value


def check_variables(text: str, spot: Spot) -> bool:
    """Tell the spot of every ``${HIOD_…}`` that does not exist or is not closed."""
    good = True
    for found in _VARIABLE.finditer(text):
        name = found[1]
        if not found[0].endswith("}"):
            spot.refuse("unknown_variable", 'has "${HIOD_" without a closing brace')
            good = False
        elif name not in VARIABLES:
            shown = f"${{{name}}}" if name.isidentifier() else "a ${HIOD_…}"
            best = near(name.removeprefix(_LEAD), [one.removeprefix(_LEAD) for one in VARIABLES])
            hint = (
                f"did you mean {_LEAD}{best[0]}?" if best else f"there are {', '.join(VARIABLES)}"
            )
            spot.refuse("unknown_variable", f"has {shown}, which hiod does not know; {hint}")
            good = False
    return good


HAND_NAME: Final = Pattern(
    pattern=r"[a-z0-9][a-z0-9_-]{0,39}",
    shape="1 to 40 of a-z 0-9 _ -, the first a letter or digit",
)
"""A hand's base name."""

LABEL_KEY: Final = Pattern(
    pattern=r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,62}", shape="a label of letters, digits and _ . / -"
)
"""What stands before ``=`` in ``hiodctl -l key=value``."""

LABEL_VALUE: Final = Pattern(
    empty=True, pattern=r"[^\x00-\x1f\x7f]{0,255}", shape="at most 255 characters on one line"
)
"""What stands after it."""


@dataclass(frozen=True, slots=True)
class Filled(Text):
    """A string in which variables are replaced."""

    def read(self, value: object, spot: Spot) -> Any:
        """Take strings whose variables all exist."""
        text = Text.read(self, value, spot)
        return text if text is BAD or check_variables(text, spot) else BAD


WITHOUT_TILDE: Final = "must be a path without ~; write it out"
"""There is no shell in between that would know whose home is meant."""


@dataclass(frozen=True, slots=True)
class Path(Text):
    """A path; what is relative is made absolute from the file it stands in.

    Attributes:
        filled: whether variables are replaced in it.
        optional: whether a leading ``-`` says that it may be missing.
        program: it is a program, so a bare name is refused and not taken for a file.
    """

    filled: bool = True
    optional: bool = False
    program: bool = False
    text: ClassVar[str] = "path"

    def read(self, value: object, spot: Spot) -> Any:
        """Take paths, and make them absolute."""
        text = Text.read(self, value, spot)
        if text is BAD or (self.filled and not check_variables(text, spot)):
            return BAD
        lead = "-" if self.optional and text.startswith("-") else ""
        path = text.removeprefix(lead)
        fault = self._fault(path)
        if fault:
            return spot.refuse("not_allowed", fault, value)
        if path.startswith(_ABSOLUTE):
            return text
        if spot.folder is None:
            message = "must be absolute; there is no crew file that it could be relative to"
            return spot.refuse("not_allowed", message, value)
        return f"{lead}{spot.folder}/{path.removeprefix('./')}"

    def _fault(self, path: str) -> str:
        """Return what keeps this from being a path, or nothing."""
        if not path:
            return 'must name a file after the "-"'
        if path.startswith("~"):
            return WITHOUT_TILDE
        if not self.filled and "${HIOD_" in path:
            return "must be a path without variables"
        if self.program and "/" not in path:
            return "must be a path; a bare name is not looked up"
        return ""


@dataclass(frozen=True, slots=True)
class Log(Text):
    """Where output goes."""

    text: ClassVar[str] = '`journal` \\| `inherit` \\| `null` \\| `"/path"`'
    words_for: ClassVar[tuple[str, ...]] = ("journal", "inherit", "null")

    def read(self, value: object, spot: Spot) -> Any:
        """Take one of the words, or an absolute path."""
        text = Text.read(self, value, spot)
        if text is BAD or not check_variables(text, spot):
            return BAD
        if text in self.words_for or text.startswith(_ABSOLUTE):
            return text
        hint = did_you_mean(text, self.words_for)
        message = f"must be journal, inherit, null or an absolute path{hint}"
        return spot.refuse("not_allowed", message, value)


@dataclass(frozen=True, slots=True)
class Target(Text):
    """What a hand accepts connections at: ``host:port``, or the path of a socket."""

    text: ClassVar[str] = '`"host:port"`, or a socket\'s path'

    def read(self, value: object, spot: Spot) -> Any:
        """Take an address or an absolute path; a variable may be part of it."""
        text = Text.read(self, value, spot)
        if text is BAD or not check_variables(text, spot):
            return BAD
        if text.startswith(_ABSOLUTE):
            return text
        pair = split_target(_VARIABLE.sub("1", text))
        if pair is not None and not _numeric(pair[0]):
            # A name would have to be looked up, for which all hands would wait.
            message = f'must have "localhost" or a numeric address, not the name {pair[0]}'
            return spot.refuse("not_allowed", message, value)
        if pair is not None:
            return text
        message = 'must be "host:port" or the absolute path of a socket'
        return spot.refuse("not_allowed", message, value)


def _numeric(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def split_target(to: str) -> tuple[str, int] | None:
    """Return host and port of ``ready.to``, or None when it is no such pair (but a path)."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s/:\[\]]+)):([0-9]{1,5})", to, re.ASCII)
    if found is None or not 0 < int(found[3]) < 1 << 16:
        return None
    return found[1] or found[2], int(found[3])


@dataclass(frozen=True, slots=True)
class Ref(Text):
    """Where a Doer class, factory or generator function is found."""

    text: ClassVar[str] = '`"module:attribute"`'

    def read(self, value: object, spot: Spot) -> Any:
        """Take dotted names on both sides of one colon."""
        text = Text.read(self, value, spot)
        if text is BAD:
            return BAD
        if is_reference(text):
            return text
        module, _, attribute = text.rpartition(".")
        hint = f'; did you mean "{module}:{attribute}"?' if _dotted(text) and module else ""
        message = f'must be a reference "module:attribute", as in "app:Store"{hint}'
        return spot.refuse("bad_ref", message, value)


def is_reference(text: str) -> bool:
    """Whether a text has the form of ``module:attribute``."""
    module, colon, attribute = text.partition(":")
    return bool(colon) and _dotted(module) and _dotted(attribute)


def _dotted(text: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split("."))


@dataclass(frozen=True, slots=True)
class Opts(Kind):
    """What a Doer is called with: plain data that JSON can carry; variables are replaced."""

    text: ClassVar[str] = "table"

    def read(self, value: object, spot: Spot) -> Any:
        """Take tables of plain data whose keys can be arguments."""
        if not isinstance(value, dict):
            return spot.refuse("wrong_type", "must be a table", value)
        made: dict[str, Any] = {}
        good = True
        for name, item in value.items():
            here = spot.at(str(name), secret=True)
            if not str(name).isidentifier():
                here.refuse("bad_name", "must be a name that can be an argument")
                good = False
                continue
            made[name] = _plain(item, here, 1)
            good = good and made[name] is not BAD
        return made if good else BAD

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "object"}


def _plain(value: object, spot: Spot, depth: int) -> Any:
    """Return plain data with tuples as lists, or ``BAD``."""
    if depth > _DEEPEST:
        return spot.refuse("out_of_range", f"must not be nested deeper than {_DEEPEST} levels")
    if isinstance(value, list | tuple):
        items = [_plain(item, spot.item(at), depth + 1) for at, item in enumerate(value)]
        return BAD if any(item is BAD for item in items) else items
    if isinstance(value, dict):
        # A key is checked as text is; it is not replaced in.
        words = [Text(empty=True).read(name, spot) for name in value]
        table = [_plain(item, spot.at(str(name)), depth + 1) for name, item in value.items()]
        bad = any(item is BAD for item in (*words, *table))
        return BAD if bad else dict(zip(words, table, strict=True))
    return _plain_scalar(value, spot)


def _plain_scalar(value: object, spot: Spot) -> Any:
    if isinstance(value, str):
        return Filled(empty=True).read(value, spot)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return spot.refuse("out_of_range", "must be a whole number of at most 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        return spot.refuse("out_of_range", "must be a finite number")
    if isinstance(value, int | float):
        return value
    if value is None:
        # A crew file cannot say it, and what was added must be exportable as one.
        return spot.refuse("not_allowed", "must not be null; leave it out")
    return spot.refuse("wrong_type", "must be plain data; write dates and times in quotes", value)


@dataclass(frozen=True, slots=True)
class Umask(Kind):
    """A file mode mask, written as octal digits in quotes; read as the number."""

    text: ClassVar[str] = "octal digits in quotes"

    def read(self, value: object, spot: Spot) -> Any:
        """Take up to 0777."""
        if not isinstance(value, str):
            message = 'must be a string of octal digits; write it as in "0027"'
            return spot.refuse("wrong_type", message, value)
        if not re.fullmatch(r"0?[0-7]{1,3}", value, re.ASCII):
            message = 'must be octal digits up to "0777"'
            return spot.refuse("not_allowed", message, value)
        return int(value, 8)

    def dump(self, value: Any) -> Any:
        """Return four octal digits."""
        return f"{value:04o}"

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "string", "pattern": "^0?[0-7]{1,3}$"}


_ENDING: Final = (
    *("TERM", "INT", "QUIT", "HUP", "ABRT", "ALRM"),
    *("KILL", "PIPE", "PWR", "USR1", "USR2", "WINCH"),
)
_HARMLESS: Final = ("CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG")


@dataclass(frozen=True, slots=True)
class SignalName(Kind):
    """The name of a signal that can ask a process to end; read without ``SIG``."""

    text: ClassVar[str] = "signal name"

    def read(self, value: object, spot: Spot) -> Any:
        """Take names with and without ``SIG``."""
        if not isinstance(value, str):
            return spot.refuse("wrong_type", 'must be the name of a signal; write "TERM"', value)
        name = value.removeprefix("SIG")
        if name in _ENDING:
            return name
        if name in _HARMLESS:
            return spot.refuse("not_allowed", "must be a signal that can end a process", value)
        hint = did_you_mean(name, _ENDING) or f"; there are {', '.join(_ENDING)}"
        return spot.refuse("not_allowed", f"must be the name of a signal{hint}", value)

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"enum": [*_ENDING, *(f"SIG{name}" for name in _ENDING)]}


RLIMIT: Final = Choice(
    (
        *("as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice"),
        *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)
"""The resource limits Linux has, as setrlimit(2) names them."""

_NO_LIMIT: Final = -1
_LIMIT_WORDS: Final = ("infinity", "unlimited")
_LIMIT_SHAPE: Final = 'a number, a size such as "1G", "infinity", or [soft, hard] of these'


@dataclass(frozen=True, slots=True)
class Rlimit(Kind):
    """A resource limit: one for both, or ``[soft, hard]``; read as a pair, -1 for no limit."""

    text: ClassVar[str] = _LIMIT_SHAPE

    def read(self, value: object, spot: Spot) -> Any:
        """Take one limit, or two of which the first is not above the second."""
        if not isinstance(value, list | tuple):
            one = self._one(value, spot)
            return BAD if one is BAD else (one, one)
        if len(value) != 2:  # noqa: PLR2004 - soft and hard
            return spot.refuse("out_of_range", f"must be {_LIMIT_SHAPE}")
        soft, hard = (self._one(item, spot.item(at)) for at, item in enumerate(value))
        if soft is BAD or hard is BAD:
            return BAD
        if hard != _NO_LIMIT and (soft == _NO_LIMIT or soft > hard):
            return spot.refuse("out_of_range", "must not have a soft limit above the hard one")
        return soft, hard

    def _one(self, value: object, spot: Spot) -> Any:
        if isinstance(value, str):
            return _NO_LIMIT if value in _LIMIT_WORDS else Size().read(value, spot)
        if isinstance(value, bool) or not isinstance(value, int):
            return spot.refuse("wrong_type", f"must be {_LIMIT_SHAPE}", value)
        if value < 0:
            message = 'must be at least 0; no limit is written "infinity"'
            return spot.refuse("out_of_range", message, value)
        return Number(whole=True, most=(1 << 62) - 1).read(value, spot)

    def dump(self, value: Any) -> Any:
        """Return one limit, or two if they differ."""
        soft, hard = ("infinity" if one == _NO_LIMIT else one for one in value)
        return soft if soft == hard else [soft, hard]

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        one = {"type": ["integer", "string"]}
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 2, "maxItems": 2}]}


@dataclass(frozen=True, slots=True)
class EnvName(Text):
    """The name of an environment variable; those of hiod itself are refused."""

    def read(self, value: object, spot: Spot) -> Any:
        """Take what a shell takes."""
        text = Text.read(self, value, spot)
        if text is BAD:
            return BAD
        if text.startswith("HIOD_"):
            return spot.refuse("not_allowed", "must not be set here; hiod sets HIOD_… itself")
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text, re.ASCII):
            return text
        return spot.refuse("bad_name", "must be a name of letters, digits and _")
