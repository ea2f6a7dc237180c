"""Records ("doms"): dataclasses that become dicts, JSON, CBOR or MessagePack, and come back.

Decides how a record maps to plain data and which data builds a record.  Leaves the meaning of
fields, and the checking of their values, to whoever reads them: declared types are not enforced
(hio 0.7.20 does the same).  Invariant: ``cls._fromdict(dom._asdict())`` builds an equal record
wherever the values are plain data.

JSON is always there.  CBOR and MessagePack come with the extras ``cbor`` and ``mgpk``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import orjson

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Self

__all__ = ["IceMapDom", "IceRawDom", "MapDom", "RawDom", "datify", "dictify"]

_JSON_OPTIONS = orjson.OPT_NON_STR_KEYS

_T = TypeVar("_T")


def dictify(val: Any) -> Any:
    """Return ``val`` with every dataclass instance in it, at any depth, as a dict.

    A class may define ``_dictify(self)`` to take over.  Other values stay the very objects they
    are: a record may hold a process or a class.
    """
    if dataclasses.is_dataclass(val) and not isinstance(val, type):
        own = getattr(val, "_dictify", None)
        if own is not None:
            return own()
        return {f.name: dictify(getattr(val, f.name)) for f in dataclasses.fields(val)}
    if isinstance(val, dict):
        return {key: dictify(item) for key, item in val.items()}
    if isinstance(val, list):
        return [dictify(item) for item in val]
    if isinstance(val, tuple):
        items = [dictify(item) for item in val]
        return type(val)(*items) if hasattr(val, "_fields") else tuple(items)
    return val


def datify(cls: type[_T], d: Any) -> _T:
    """Return an instance of the dataclass ``cls`` built from the mapping ``d``.

    Missing keys take their defaults.  A value whose field is declared as a dataclass is built
    into that class if it can be and is left as it is if not.  A class may define the class
    method ``_datify(d)`` to take over.  An empty list or string stands for an empty mapping,
    as in hio 0.7.20.

    Raises:
        ValueError: ``d`` is no mapping, has a key that is no field, or lacks a required one.
    """
    own = getattr(cls, "_datify", None)
    if own is not None:
        return cast("_T", own(d))
    if not isinstance(d, Mapping):
        if not (isinstance(d, (list, str)) and not d):
            raise ValueError(f"cannot build {cls.__name__} from {d!r}: it is not a mapping")
        d = {}
    types = _field_types(cls)
    values = {}
    for key, value in d.items():
        if key not in types:
            raise ValueError(
                f"cannot build {cls.__name__}: it has no field {key!r}, only {', '.join(types)}"
            )
        values[key] = _build(types[key], value)
    try:
        return cls(**values)
    except TypeError as ex:
        raise ValueError(f"cannot build {cls.__name__}: {ex}") from ex


def _build(declared: Any, value: Any) -> Any:
    """Return ``value`` as the declared dataclass if it can be one, else as it is."""
    if not (isinstance(declared, type) and dataclasses.is_dataclass(declared)):
        return value
    if isinstance(value, declared):
        return value
    try:
        return datify(declared, value)
    except ValueError:
        return value


_types_of: dict[type, dict[str, Any]] = {}


def _field_types(cls: type) -> dict[str, Any]:
    """Return the declared types by name of the fields a construction of ``cls`` takes."""
    types = _types_of.get(cls)
    if types is None:
        fields = [f for f in dataclasses.fields(cls) if f.init]
        types = {f.name: f.type for f in fields}
        if any(isinstance(declared, str) for declared in types.values()):
            from typing import get_type_hints  # noqa: PLC0415 - only for string annotations

            hints = get_type_hints(cls)
            types = {name: hints.get(name) for name in types}
        _types_of[cls] = types
    return types


def _extra(module: str, extra: str) -> ModuleType:
    """Import an optional codec, or say which extra brings it."""
    from importlib import import_module  # noqa: PLC0415 - only when a codec is asked for

    try:
        return import_module(module)
    except ImportError as ex:
        raise ImportError(
            f"{module} is not installed: pip install 'hiod[{extra}]' brings it", name=module
        ) from ex


def _tojson(d: Any) -> bytes:
    """Return compact JSON; what orjson refuses and hio can write is written the slow way."""
    try:
        return orjson.dumps(d, default=_listify, option=_JSON_OPTIONS)
    except TypeError:
        import json  # noqa: PLC0415 - only for integers over 64 bits and the like

        return json.dumps(d, separators=(",", ":"), ensure_ascii=False).encode()


def _listify(val: Any) -> Any:
    """Name tuples are JSON lists."""
    if isinstance(val, tuple):
        return list(val)
    raise TypeError(f"cannot write {val!r} as JSON")


class _Mapped:
    """What mutable and frozen records share: fields read by name, iterated, made a dict."""

    @classmethod
    def _fromdict(cls, d: Any) -> Self:
        """Return a record built from the mapping ``d``.

        Raises:
            ValueError: as :func:`datify`.
        """
        return datify(cls, d)

    def __iter__(self) -> Iterator[str]:
        return (f.name for f in dataclasses.fields(self))  # type: ignore[arg-type]  # a dataclass

    def __getitem__(self, name: str) -> Any:
        """Return the attribute ``name``; IndexError when there is none, as in hio 0.7.20."""
        try:
            return getattr(self, name)
        except (AttributeError, TypeError) as ex:
            raise IndexError(f"{type(self).__name__} has no {name!r}") from ex

    def _asdict(self) -> dict[str, Any]:
        """Return a dict of the fields, records in them as dicts too."""
        return cast("dict[str, Any]", dictify(self))

    def _astuple(self) -> tuple[Any, ...]:
        """Return the values of :meth:`_asdict`."""
        return tuple(self._asdict().values())


class _Serial(_Mapped):
    """What records that become bytes share."""

    @classmethod
    def _fromjson(cls, s: str | bytes) -> Self:
        """Return a record built from JSON.

        Raises:
            ValueError: not UTF-8, not JSON, or not a mapping that :func:`datify` takes.
        """
        return datify(cls, orjson.loads(s))

    @classmethod
    def _fromcbor(cls, s: bytes) -> Self:
        """Return a record built from CBOR.

        Raises:
            ValueError: not a mapping that :func:`datify` takes; bytes that are not CBOR raise
                the library's own error.
            ImportError: the extra ``cbor`` is not installed.
        """
        return datify(cls, _extra("cbor2", "cbor").loads(s))

    @classmethod
    def _frommgpk(cls, s: bytes) -> Self:
        """Return a record built from MessagePack.

        Raises:
            ValueError: not MessagePack, or not a mapping that :func:`datify` takes.
            ImportError: the extra ``mgpk`` is not installed.
        """
        return datify(cls, _extra("msgpack", "mgpk").loads(s))

    def _asjson(self) -> bytes:
        """Return compact JSON, UTF-8, fields in declared order."""
        return _tojson(self._asdict())

    def _ascbor(self) -> bytes:
        """Return CBOR; ImportError without the extra ``cbor``."""
        return cast("bytes", _extra("cbor2", "cbor").dumps(self._asdict()))

    def _asmgpk(self) -> bytes:
        """Return MessagePack; ImportError without the extra ``mgpk``."""
        return cast("bytes", _extra("msgpack", "mgpk").dumps(self._asdict()))


@dataclasses.dataclass
class MapDom(_Mapped):
    """Mutable record whose fields are items too: ``dom["name"] = "a"``."""

    def __setitem__(self, name: str, value: Any) -> None:
        """Set the attribute ``name``, new or not."""
        try:
            setattr(self, name, value)
        except (AttributeError, TypeError) as ex:
            raise IndexError(f"{type(self).__name__} cannot hold {name!r}") from ex

    def _update(self, *pa: Mapping[str, Any] | Iterable[tuple[str, Any]], **kwa: Any) -> None:
        """Set attributes from one mapping or iterable of pairs, then from keywords.

        Raises:
            TypeError: more than one positional argument.
        """
        if len(pa) > 1:
            raise TypeError(f"_update takes at most 1 positional argument, got {len(pa)}")
        for name, value in dict(*pa, **kwa).items():
            self[name] = value


@dataclasses.dataclass(frozen=True)
class IceMapDom(_Mapped):
    """Frozen record whose fields are items too."""


@dataclasses.dataclass
class RawDom(_Serial, MapDom):
    """Mutable record that becomes JSON, CBOR or MessagePack and comes back."""


@dataclasses.dataclass(frozen=True)
class IceRawDom(_Serial, IceMapDom):
    """Frozen record that becomes JSON, CBOR or MessagePack and comes back."""
