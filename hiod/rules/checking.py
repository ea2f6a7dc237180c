"""How a value from a file or a request is checked: kinds of values, keys, tables of keys.

A ``Kind`` says what a value must be, reads one, writes one back, and describes itself for the
reference and for JSON Schema. A ``Key`` is a kind with a default and a sentence; a record's
fields carry theirs, so that a record is its own table of keys. Which keys there are is left to
others. Invariant: reading never stops at the first problem, and never raises for what was read.
"""

from __future__ import annotations

import datetime
import difflib
import json
import math
import re
import shlex
from abc import ABC, abstractmethod
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Applies = Literal["live", "next", "restart"]

BAD: Final = object()
"""What a kind returns for a value it refused."""

_SHOWN = 60  # a value in a message is cut here; the file has the whole


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what an operator wrote.

    Attributes:
        path: where, as file and key path (``crew.d/shop.toml: hand.web.count``).
        code: a short name of what is wrong (``unknown_key``, ``wrong_type``, …).
        message: one sentence: what it must be, what it is, what would do.
        got: the value if it is a short plain one, else a word for its type.
    """

    path: str
    code: str
    message: str
    got: str | int | float | bool | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    def asdict(self) -> dict[str, Any]:
        """Return the form exceptions and replies carry."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A configuration file as it was read.

    Attributes:
        path: its name for people, relative to the configuration directory.
        text: what it says.
        folder: the absolute directory it lies in, or None when nobody knows.
    """

    path: str
    text: str
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in what is being read, and the list its problems go to.

    ``secret`` places (environment, opts) never have their values in a message.
    """

    path: str
    problems: list[Problem]
    folder: str | None = None
    secret: bool = False

    def at(self, key: str, *, secret: bool = False) -> Spot:
        """Return the place of one key below this one."""
        word = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
        lead = self.path if not self.path or self.path.endswith(": ") else self.path + "."
        return Spot(lead + word, self.problems, self.folder, self.secret or secret)

    def item(self, index: int) -> Spot:
        """Return the place of one element of an array."""
        return Spot(f"{self.path}[{index}]", self.problems, self.folder, self.secret)

    def refuse(self, code: str, message: str, *got: object) -> Any:
        """Add a problem, with what was got if that is given, and return ``BAD``."""
        plain: str | int | float | bool | None = None
        if got:
            shown = word_for(got[0]) if self.secret else show(got[0])
            message, sep, hint = message.partition("; ")
            message = f"{message}, got {shown}{sep}{hint}"
            plain = shown if self.secret else _plain(got[0])
        path = self.path.removesuffix(": ")
        self.problems.append(Problem(path, code, message, plain))
        return BAD


def word_for(value: object) -> str:
    """Return a word for the type of a value, as a message says it."""
    for kinds, word in (
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        (str, "a string"),
        ((list, tuple), "an array"),
        (dict, "a table"),
        ((datetime.date, datetime.time), "a date or time"),
    ):
        if isinstance(value, kinds):
            return word
    return "nothing" if value is None else "something else"


def show(value: object) -> str:
    """Return a value as a message shows it: short, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        # Python refuses to print very long integers.
        return str(value) if isinstance(value, float) or abs(value) < 1 << 64 else "a huge number"
    if isinstance(value, str):
        return json.dumps(_cut(value), ensure_ascii=not value.isprintable())
    return word_for(value)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, str):
        return _cut(value) if value.isprintable() else show(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float) and abs(value) < 1 << 53:  # a NaN is not
        return value
    return show(value)


def near(word: str, known: Iterable[str]) -> list[str]:
    """Return the known words nearest to this one, best first, at most three."""
    by_fold = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold()[:_SHOWN], by_fold, n=3, cutoff=0.6)
    return [by_fold[fold] for fold in found]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the nearest known word, or nothing."""
    best = near(word, known)
    return f"; did you mean {json.dumps(best[0])}?" if best else ""


# ---------------------------------------------------------------------------- kinds


class Kind(ABC):
    """What a value must be.

    Attributes:
        text: the kind in a few words, for the reference.
    """

    __slots__ = ()
    text: ClassVar[str]

    @property
    def words(self) -> str:
        """The kind in a few words, bounds included."""
        return self.text

    @abstractmethod
    def read(self, value: object, spot: Spot) -> Any:
        """Return what the value means, or ``BAD`` after telling the spot why not."""

    def dump(self, value: Any) -> Any:
        """Return the plain form of a value; reading it gives the value again."""
        return value

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""


@dataclass(frozen=True, slots=True)
class Flag(Kind):
    """True or false."""

    text: ClassVar[str] = "true or false"

    def read(self, value: object, spot: Spot) -> Any:
        """Take booleans only."""
        if isinstance(value, bool):
            return value
        hint = "; write it without quotes" if value in ("true", "false") else ""
        return spot.refuse("wrong_type", f"must be true or false{hint}", value)

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "boolean"}


_MANY: Final = 1e9  # thirty years in seconds; more is a slip of the keyboard


def _figure(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:.10g}"


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """A finite number between bounds, whole or not; a fraction is read as float."""

    whole: bool = False
    least: float = 0
    above: float | None = None
    most: float = _MANY

    @property
    def words(self) -> str:
        """The kind in a few words, bounds included."""
        return f"{self._noun} {self._bounds}"

    @property
    def _noun(self) -> str:
        return "whole number" if self.whole else "number"

    @property
    def _bounds(self) -> str:
        if self.above is not None:
            return f"greater than {self.above:g}"
        low = _figure(self.least)
        return f"at least {low}" if self.most == _MANY else f"{low} to {_figure(self.most)}"

    def read(self, value: object, spot: Spot) -> Any:
        """Take integers and, unless whole, finite floats within the bounds."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            looks = isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value)
            hint = "; write it without quotes" if looks else ""
            return spot.refuse("wrong_type", f"must be a {self._noun}{hint}", value)
        if isinstance(value, float) and not math.isfinite(value):
            return spot.refuse("out_of_range", "must be a finite number", value)
        if self.above is not None and not value > self.above:
            return spot.refuse("out_of_range", f"must be greater than {self.above:g}", value)
        if value < self.least:
            return spot.refuse("out_of_range", f"must be at least {self.least:g}", value)
        if value > self.most:
            return spot.refuse("out_of_range", f"must be at most {_figure(self.most)}", value)
        return value if self.whole else float(value)

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        made: dict[str, Any] = {"type": "integer" if self.whole else "number"}
        if self.above is None:
            made["minimum"] = self.least
        else:
            made["exclusiveMinimum"] = self.above
        return made | {"maximum": self.most}


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """A string that the system can carry: not empty unless allowed, no NUL, valid UTF-8."""

    empty: bool = False
    text: ClassVar[str] = "string"

    def read(self, value: object, spot: Spot) -> Any:
        """Take strings that can be an argument or a path."""
        if not isinstance(value, str):
            scalar = isinstance(value, int | float) and not isinstance(value, bool)
            hint = "; write it in quotes" if scalar else ""
            return spot.refuse("wrong_type", f"must be a string{hint}", value)
        if not value and not self.empty:
            return spot.refuse("out_of_range", "must not be empty")
        if "\0" in value:
            return spot.refuse("not_allowed", "must not contain a NUL character")
        if any("\ud800" <= char <= "\udfff" for char in value):
            return spot.refuse("not_allowed", "must be text that UTF-8 can carry")
        return value

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "string"} if self.empty else {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True)
class Pattern(Text):
    """A string of a given shape; ``shape`` says it in words."""

    pattern: str = ".*"
    shape: str = "text"

    @property
    def words(self) -> str:
        """The shape in words."""
        return self.shape

    def read(self, value: object, spot: Spot) -> Any:
        """Take strings that fit the pattern as a whole."""
        # The base by name: a slotted dataclass is made twice and loses its bare super().
        text = Text.read(self, value, spot)
        if text is BAD or re.fullmatch(self.pattern, text):
            return text
        return spot.refuse("not_allowed", f"must be {self.shape}", value)

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of a few words; a word may have other spellings."""

    choices: tuple[str, ...]

    @property
    def words(self) -> str:
        """The words to choose from."""
        return " \\| ".join(f"`{word}`" for word in self.choices)

    def read(self, value: object, spot: Spot) -> Any:
        """Take one of the words exactly."""
        if isinstance(value, str) and value in self.choices:
            return value
        known = ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
        code = "not_allowed" if isinstance(value, str) else "wrong_type"
        hint = did_you_mean(value, self.choices) if isinstance(value, str) else ""
        return spot.refuse(code, f"must be {known}{hint}", value)

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"enum": list(self.choices)}


_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE: Final = re.compile(r"([0-9]{1,12})([KMGT]?)(?:i?B)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Size(Kind):
    """A number of bytes, or a string such as ``"512M"`` (powers of 1024)."""

    text: ClassVar[str] = 'bytes, or a string such as `"512M"`'

    def read(self, value: object, spot: Spot) -> Any:
        """Take a positive count of bytes."""
        if isinstance(value, str):
            found = _SIZE.fullmatch(value)
            if found is None:
                return spot.refuse("not_allowed", 'must be a size such as "512M" or "2G"', value)
            value = int(found[1]) << _UNITS[found[2]]
        elif isinstance(value, bool) or not isinstance(value, int):
            return spot.refuse("wrong_type", 'must be a size such as "512M" or "2G"', value)
        if not 0 < value < 1 << 62:
            return spot.refuse("out_of_range", "must be a size between 1 and 4 EiB", value)
        return value

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        text = {"type": "string", "pattern": "^[0-9]+[KMGT]?(?:i?B)?$"}
        return {"oneOf": [{"type": "integer", "minimum": 1}, text]}


@dataclass(frozen=True, slots=True)
class Maybe(Kind):
    """A kind whose absence means something; null says the same in JSON."""

    kind: Kind

    @property
    def words(self) -> str:
        """What it is when it is there."""
        return self.kind.words

    def read(self, value: object, spot: Spot) -> Any:
        """Take null as absence."""
        return None if value is None else self.kind.read(value, spot)

    def dump(self, value: Any) -> Any:
        """Return the plain form; None stays None."""
        return None if value is None else self.kind.dump(value)

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"anyOf": [self.kind.schema(), {"type": "null"}]}


@dataclass(frozen=True, slots=True)
class Array(Kind):
    """An array of one kind; read as a tuple.

    ``typed``: people know it as one line, with words as a shell would tell them apart.
    """

    item: Kind
    shape: str
    least: int = 0
    unique: bool = False
    typed: bool = False

    @property
    def words(self) -> str:
        """What it is an array of."""
        return f"array of {self.shape}"

    def read(self, value: object, spot: Spot) -> Any:
        """Take arrays whose every element is good."""
        if not isinstance(value, list | tuple):
            hint = self._as_array(value) if isinstance(value, str) and not spot.secret else ""
            return spot.refuse("wrong_type", f"must be an array{hint}", value)
        if len(value) < self.least:
            return spot.refuse("out_of_range", "must not be empty")
        read = [self.item.read(item, spot.item(at)) for at, item in enumerate(value)]
        if any(item is BAD for item in read):
            return BAD
        if self.unique:
            for at, item in enumerate(read):
                if item in read[:at]:
                    return spot.item(at).refuse("duplicate", f"names {show(item)} twice")
        return tuple(read)

    def _as_array(self, text: str) -> str:
        """Return the end of a sentence that says how to write an array instead of one string."""
        if not self.typed:
            return f"; write [{show(text)}]"
        try:
            items = shlex.split(text)
        except ValueError:  # an open quote: only its writer knows where it was to end
            items = []
        if not items or any(len(item) > _SHOWN for item in items):
            return "; write each word as a string of its own, in brackets"
        return f"; write [{', '.join(show(item) for item in items)}]"

    def dump(self, value: Any) -> Any:
        """Return a list."""
        return [self.item.dump(item) for item in value]

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        made: dict[str, Any] = {"type": "array", "items": self.item.schema()}
        return made | ({"minItems": self.least} if self.least else {})


@dataclass(frozen=True, slots=True)
class Map(Kind):
    """A table of any keys of one kind to values of one kind; layers of it are merged."""

    key: Kind
    value: Kind
    shape: str = "table"
    hidden: bool = False

    @property
    def words(self) -> str:
        """The shape in words."""
        return self.shape

    def read(self, value: object, spot: Spot) -> Any:
        """Take tables whose every key and value is good."""
        if not isinstance(value, dict):
            return spot.refuse("wrong_type", f"must be a {self.shape}", value)
        made: dict[str, Any] = {}
        good = True
        for name, item in value.items():
            here = spot.at(str(name), secret=self.hidden)
            # A key is named by the path and may be shown; only its value is hidden.
            word = self.key.read(name, Spot(here.path, spot.problems))
            read = self.value.read(item, here)
            if word is BAD or read is BAD:
                good = False
            else:
                made[word] = read
        return made if good else BAD

    def dump(self, value: Any) -> Any:
        """Return a dict."""
        return {key: self.value.dump(item) for key, item in value.items()}

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return {"type": "object", "additionalProperties": self.value.schema()}


# ---------------------------------------------------------------------------- keys


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table.

    Attributes:
        name: the key; dotted when it lies in a table of its own.
        kind: what its value must be.
        default: the value when absent; ``MISSING`` if there is none.
        doc: one sentence for the reference.
        applies: when a change takes hold of a hand that runs.
        shown: the default in the reference, if not the value itself.
        shared: whether it may stand in ``defaults``.
    """

    name: str
    kind: Kind
    default: Any
    doc: str
    applies: Applies
    shown: str | None = None
    shared: bool = True


@dataclass(frozen=True, slots=True)
class _Mark:
    kind: Kind
    doc: str
    applies: Applies
    shown: str | None
    shared: bool


def key(
    default: Any,
    kind: Kind,
    doc: str,
    *,
    applies: Applies = "restart",
    shown: str | None = None,
    shared: bool = True,
) -> Any:
    """Declare a field of a record as a key: its default, kind and sentence in one place."""
    mark = {"key": _Mark(kind, doc, applies, shown, shared)}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=mark)
    return field(default=default, metadata=mark)


def table(record: type[Any], doc: str) -> dict[str, object]:
    """Return the metadata of a field that is a table of another record's keys."""
    return {"key": _Mark(Table(record), doc, "restart", None, shared=True)}


_keys: dict[type[Any], dict[str, Key]] = {}


def keys_of(record: type[Any]) -> dict[str, Key]:
    """Return the keys a record declares, by name, in its order; worked out once a record."""
    known = _keys.get(record)
    if known is None:
        known = _keys[record] = {
            one.name: _declared(one) for one in fields(record) if "key" in one.metadata
        }
    return known


def _declared(one: Field[Any]) -> Key:
    mark: _Mark = one.metadata["key"]
    made = one.default_factory is not MISSING
    default = one.default_factory() if made else one.default  # type: ignore[misc] # it is there
    return Key(one.name, mark.kind, default, mark.doc, mark.applies, mark.shown, mark.shared)


@dataclass(frozen=True, slots=True)
class Table(Kind):
    """A table with the keys of a record; read as a dict of those that are there."""

    record: type[Any]
    text: ClassVar[str] = "table"

    def read(self, value: object, spot: Spot) -> Any:
        """Take tables of known keys."""
        if not isinstance(value, dict):
            known = ", ".join(keys_of(self.record))
            return spot.refuse("wrong_type", f"must be a table; its keys are {known}", value)
        return read_table(value, keys_of(self.record), spot)

    def dump(self, value: Any) -> Any:
        """Return a dict of what is not absent."""
        return dump_record(value)

    def schema(self) -> dict[str, Any]:
        """Return the kind as JSON Schema."""
        return record_schema(self.record)


def read_table(
    value: Mapping[Any, object],
    keys: Mapping[str, Key],
    spot: Spot,
    *,
    pointers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Read the keys that are there; the bad and the unknown become problems and are left out.

    Args:
        value: the table.
        keys: the keys it may have.
        spot: where it stands.
        pointers: sentences for keys that are refused for a reason of their own.
    """
    made: dict[str, Any] = {}
    for name, item in value.items():
        here = spot.at(str(name))
        known = keys.get(name)
        if known is None:
            _refuse_unknown(str(name), keys, here, pointers or {})
            continue
        read = known.kind.read(item, here)
        if read is not BAD:
            made[name] = read
    return made


def _refuse_unknown(
    name: str, keys: Mapping[str, Key], spot: Spot, pointers: Mapping[str, str]
) -> None:
    pointer = pointers.get(name)
    if pointer is not None:
        spot.refuse("not_supported", pointer)
        return
    below = [
        f"{known.name}.{leaf}"
        for known in keys.values()
        if isinstance(known.kind, Table)
        for leaf in keys_of(known.kind.record)
    ]
    inner = [dotted for dotted in below if dotted.partition(".")[2] == name]
    if inner:
        hint = f"; did you mean {json.dumps(inner[0])}?"
    else:
        hint = did_you_mean(name, [*keys, *below])
    spot.refuse("unknown_key", f"unknown key{hint}")


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one table of read values over another: tables key by key, all else as a whole."""
    made = dict(under)
    for name, value in over.items():
        below = made.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            made[name] = merge(below, value)
        else:
            made[name] = value
    return made


def make_record(record: type[Any], values: Mapping[str, Any], **extra: object) -> Any:
    """Make a record of read values, tables in it too; ``extra`` are fields that are no keys."""
    keys = keys_of(record)
    made = {}
    for name, value in values.items():
        kind = keys[name].kind
        made[name] = make_record(kind.record, value) if isinstance(kind, Table) else value
    return record(**made, **extra)


def dump_record(record: Any) -> dict[str, Any]:
    """Return a record as plain data, every key that is not absent."""
    made = {}
    for name, known in keys_of(type(record)).items():
        value = getattr(record, name)
        if value is not None:
            made[name] = known.kind.dump(value)
    return made


def flatten(record: type[Any], lead: str = "") -> dict[str, Key]:
    """Return the keys of a record by dotted name; a table stands for the keys in it."""
    made: dict[str, Key] = {}
    for name, known in keys_of(record).items():
        if isinstance(known.kind, Table):
            made |= flatten(known.kind.record, f"{lead}{name}.")
        else:
            made[lead + name] = replace(known, name=lead + name)
    return made


def record_schema(record: type[Any]) -> dict[str, Any]:
    """Return a record's keys as JSON Schema, defaults included."""
    properties = {}
    for name, known in keys_of(record).items():
        entry = known.kind.schema() | {"description": known.doc}
        if not (known.default is MISSING or known.default is None):
            entry["default"] = known.kind.dump(known.default)
        properties[name] = entry
    return {"type": "object", "properties": properties, "additionalProperties": False}
