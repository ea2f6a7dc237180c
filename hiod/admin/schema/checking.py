"""What is wrong with a call, if anything: every problem at once, and what would do.

Decides nothing that the table and its types do not say.
"""

from __future__ import annotations

import difflib
import functools
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import Meta, Struct, UnsetType

from hiod.admin.schema.answers import Problem
from hiod.admin.schema.kinds import INTERFACE, SERVICE, Parameters
from hiod.admin.schema.table import BY_NAME, METHODS, SERVICE_METHODS, Method
from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEAR_CHARS = 64
"""Longer names have no near ones: they are noise, and comparing costs their length squared."""
ECHO_CHARS = 200
"""So much of what was wrong is said back."""
PROBLEMS_MOST = 50
"""So many problems of one request are told apart; a longer list helps nobody."""


def near(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three of ``known`` that may have been meant, the likeliest first."""
    if len(name) > NEAR_CHARS:
        return []
    return difflib.get_close_matches(name, known, n=3, cutoff=0.6)


def shorten(value: Any) -> Any:
    """Return ``value`` for echoing: whole if small, else its beginning in words."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= ECHO_CHARS else value[: ECHO_CHARS - 1] + "…"
    if isinstance(value, list):
        return value if not value else f"a list of {len(value)}"
    return value if not value else f"an object of {len(value)}"


def find(name: str) -> Method | AdminError:
    """Return the method called ``name``, or the error to answer."""
    method = BY_NAME.get(name)
    if method is not None:
        return method
    interface, dot, last = name[: 4 * NEAR_CHARS].rpartition(".")
    if dot and interface not in (INTERFACE, SERVICE):
        return AdminError(f"{SERVICE}.InterfaceNotFound", interface=shorten(interface))
    known = [method.short for method in METHODS]
    if interface == INTERFACE:
        known = [method.long for method in METHODS]
    elif interface == SERVICE:
        known = [method.long for method in SERVICE_METHODS]
    likely = near(name, known) or near(last.lower(), [method.short for method in METHODS])
    return AdminError(f"{SERVICE}.MethodNotFound", method=shorten(name), near=likely)


def check(method: Method, given: Mapping[str, Any]) -> Parameters | AdminError:
    """Make the parameters of a call from what came.

    A member that is null counts as absent, because Varlink libraries write it so.

    Returns:
        The parameters, or ``org.varlink.service.InvalidParameter`` whose ``parameter`` is the first
        that is wrong and whose ``problems`` are all, as in ``BadSpec``.
    """
    if None in given.values():
        given = {name: value for name, value in given.items() if value is not None}
    try:
        parameters = msgspec.convert(given, method.parameters)
    except msgspec.ValidationError:
        return invalid(_problems(method.parameters, given))
    if method.selects and not (parameters.names or parameters.labels):  # type: ignore[attr-defined]  # those that select have both
        message = 'must say which hands, by names or labels; ["*"] means all'
        return invalid([Problem(path="names", code="missing", message=message)])
    return parameters


def invalid(problems: list[Problem]) -> AdminError:
    """Return Varlink's error for wrong parameters, with all ``problems`` beside the first."""
    most = problems[:PROBLEMS_MOST]
    return AdminError(
        f"{SERVICE}.InvalidParameter",
        parameter=most[0].path,
        problems=[msgspec.to_builtins(problem) for problem in most],
    )


def _problems(kind: type[Parameters], given: Mapping[str, Any]) -> list[Problem]:
    hints = hints_of(kind)
    problems = []
    for info in msgspec.structs.fields(kind):
        if info.name not in given:
            if info.required:
                message = f"must be given: {words(hints[info.name])}"
                problems.append(Problem(path=info.name, code="missing", message=message))
            continue
        value = given[info.name]
        try:
            msgspec.convert(value, hints[info.name])
        except msgspec.ValidationError:
            message = f"must be {words(hints[info.name])}"
            problems.append(
                Problem(path=info.name, code="type", message=message, got=shorten(value))
            )
    for name in given:
        if name in hints or len(problems) > PROBLEMS_MOST:
            continue
        likely = near(name, hints)
        message = f'unknown parameter; did you mean "{likely[0]}"?' if likely else _none_such(hints)
        problems.append(
            Problem(path=shorten(name), code="unknown", message=message, got=shorten(given[name]))
        )
    return problems


def _none_such(hints: Mapping[str, Any]) -> str:
    if not hints:
        return "unknown parameter; this method takes none"
    return f"unknown parameter; there are {', '.join(hints)}"


@functools.cache
def hints_of(kind: type[Struct]) -> dict[str, Any]:
    """Return the types of a Struct's fields in their order, annotations kept."""
    hints = get_type_hints(kind, include_extras=True)
    return {info.name: hints[info.name] for info in msgspec.structs.fields(kind)}


def parts_of(kind: Any) -> tuple[Any, list[Meta], bool]:
    """Take a type apart: what it is made of, its conditions, and whether it may be absent."""
    optional = False
    if get_origin(kind) in (Union, UnionType):
        rest = [part for part in get_args(kind) if part not in (type(None), UnsetType)]
        optional = len(rest) < len(get_args(kind))
        kind = rest[0]
    conditions: list[Meta] = []
    while get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        conditions += more
    return kind, conditions, optional


_WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
_PLURAL = {str: "strings", int: "whole numbers", float: "numbers"}


def words(kind: Any) -> str:
    """Say in words what a parameter of this type must be."""
    kind, conditions, _ = parts_of(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f'"{value}"' for value in inner)
    if origin is list:
        kind, conditions, _ = parts_of(inner[0])
        of = "".join(f", {one.description} each" for one in conditions if one.description)
        return f"a list of {_PLURAL.get(kind, 'objects')}{of}"
    if origin is dict:
        return "an object" if inner[1] is Any else f"an object of {_PLURAL.get(inner[1], 'values')}"
    text = _WORDS.get(kind, "an object")
    for condition in conditions:
        if condition.description is not None:
            text += f" of this form: {condition.description}"
        if condition.ge is not None:
            text += f" from {condition.ge:g}"
        if condition.le is not None:
            text += f" to {condition.le:.15g}"
    return text
