"""The table of methods as others read it: JSON Schema, Varlink text, reference page.

Decides how each form is written; what is in it is ``schema``'s alone. Invariant: nothing here is
written by hand that the table or its docstrings say.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from hiod.admin.schema import (
    ANY_CALL,
    BY_NAME,
    ERRORS,
    INTERFACE,
    METHODS,
    PROTOCOL,
    SERVICE,
    SERVICE_ERRORS,
    SERVICE_METHODS,
    Method,
    Parameters,
    hints_of,
    parts_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def _attributes(kind: type) -> dict[str, str]:
    """Return what the docstrings of a Struct and its parents say about its fields."""
    found: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        # Some Pythons keep a docstring's indentation, some do not, and with -OO there is none.
        text = inspect.cleandoc(parent.__dict__.get("__doc__") or "")
        name = ""
        for line in text.partition("Attributes:\n")[2].splitlines():
            if not line.startswith(" " * 5):
                name, _, found_text = line.strip().partition(": ")
                found[name] = found_text
            else:
                found[name] += " " + line.strip()
    return found


def _sentence(kind: type) -> str:
    return (kind.__doc__ or kind.__name__).strip().splitlines()[0]


@functools.cache
def json_schema(name: str | None = None) -> dict[str, Any]:
    """Return the table as JSON Schema: all of it, or one method by its short or long name.

    Raises:
        KeyError: when there is no such method.
    """
    methods = METHODS if name is None else (BY_NAME[name],)
    errors = {
        code: kind for code, kind in ERRORS.items() if name is None or code in _codes(methods[0])
    }
    kinds = {kind: None for method in methods for kind in (method.parameters, method.reply)}
    kinds |= dict.fromkeys(errors.values())
    _, defs = msgspec.json.schema_components(tuple(kinds), ref_template="#/$defs/{name}")
    known = {kind.__name__: kind for kind in _all_structs(kinds)}
    for title, definition in defs.items():
        definition["description"] = _sentence(known[title])
        texts = _attributes(known[title])
        for key, member in definition.get("properties", {}).items():
            member["description"] = texts.get(key, "")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "interface": INTERFACE,
        "protocol": PROTOCOL,
        "methods": {method.short: _method_schema(method) for method in methods},
        "errors": {
            f"{INTERFACE}.{code}": {"$ref": f"#/$defs/{kind.__name__}"}
            for code, kind in errors.items()
        },
        "$defs": defs,
    }


def _codes(method: Method) -> tuple[str, ...]:
    return (*method.errors, *ANY_CALL)


def _method_schema(method: Method) -> dict[str, Any]:
    return {
        "name": method.long,
        "description": method.doc,
        "role": method.role,
        "more": {"": "no", "progress": "allowed", "endless": "required"}[method.stream],
        "parameters": {"$ref": f"#/$defs/{method.parameters.__name__}"},
        "reply": {"$ref": f"#/$defs/{method.reply.__name__}"},
        "errors": [f"{INTERFACE}.{code}" for code in _codes(method)],
    }


def _all_structs(kinds: Iterable[type[Struct]]) -> list[type[Struct]]:
    """Return these Structs and all that their fields are made of, the made before the made of."""
    found: list[type[Struct]] = []
    todo = list(kinds)
    while todo:
        kind = todo.pop(0)
        if kind not in found:
            found.append(kind)
            todo += [part for hint in hints_of(kind).values() for part in _leaves(hint)]
    return found


def _leaves(hint: Any) -> list[type[Struct]]:
    kind, _, _ = parts_of(hint)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return [kind]
    if get_origin(kind) is Literal:
        return []
    return [leaf for part in get_args(kind) for leaf in _leaves(part)]


@functools.cache
def interface_text(interface: str = INTERFACE) -> str:
    """Return the Varlink text of one of our two interfaces.

    Raises:
        KeyError: when there is no such interface.
    """
    methods, errors, about = {
        INTERFACE: (METHODS, ERRORS, "What the boss of a crew of hands answers."),
        SERVICE: (SERVICE_METHODS, SERVICE_ERRORS, "What every Varlink service answers."),
    }[interface]
    lines = [f"# {about}", f"interface {interface}"]
    own = {kind for method in methods for kind in (method.parameters, method.reply)}
    own |= set(errors.values())
    for kind in _all_structs(
        [kind for method in methods for kind in (method.parameters, method.reply)]
    ):
        if kind not in own:
            lines += ["", f"# {_sentence(kind)}", f"type {kind.__name__} {_members(kind)}"]
    for method in methods:
        lines += ["", f"# {method.doc}"]
        if interface == INTERFACE:
            lines[-1] += f" Role: {method.role}."
        if method.stream:
            lines[-1] += {"progress": " Takes more.", "endless": " Needs more."}[method.stream]
        name = method.long.rpartition(".")[2]
        lines.append(f"method {name}{_members(method.parameters)} -> {_members(method.reply)}")
    for code, kind in errors.items():
        lines += ["", f"# {_sentence(kind)}", f"error {code} {_members(kind)}"]
    return "\n".join(lines) + "\n"


def _members(kind: type[Struct]) -> str:
    hints = hints_of(kind)
    if not hints:
        return "()"
    texts = _attributes(kind)
    asked = issubclass(kind, Parameters)
    required = {info.name for info in msgspec.structs.fields(kind) if info.required}
    lines = []
    for name, hint in hints.items():
        # A parameter with a default may be left out; a member of a reply is there unless unset.
        mark = "?" if asked and name not in required else ""
        lines.append(f"  # {texts.get(name, '')}\n  {name}: {_varlink(hint, mark)}")
    return "(\n" + ",\n".join(lines) + "\n)"


_VARLINK = {str: "string", int: "int", float: "float", bool: "bool", Any: "object"}


def _varlink(hint: Any, mark: str = "") -> str:
    kind, _, optional = parts_of(hint)
    mark = "?" if optional else mark
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"{mark}({', '.join(inner)})"
    if origin is list:
        return f"{mark}[]{_varlink(inner[0])}"
    if origin is dict:
        return mark + ("object" if inner[1] is Any else f"[string]{_varlink(inner[1])}")
    return mark + (_VARLINK.get(kind) or kind.__name__)


def reference() -> str:
    """Return the reference part of ``docs/admin-protocol.md``."""
    lines: list[str] = []
    kinds = _all_structs([method.reply for method in METHODS])
    replies = {method.reply for method in METHODS}
    for method in METHODS:
        lines += [f"### `{method.short}`", "", method.doc, ""]
        more = {"": "", "progress": " May be called with `more`.", "endless": " Needs `more`."}
        errors = ", ".join(f"`{code}`" for code in method.errors) or "none of its own"
        lines += [
            f"`{method.long}`. Role: {method.role}.{more[method.stream]} Errors: {errors}.",
            "",
        ]
        lines += _table("parameter", method.parameters)
        lines += _table("reply", method.reply)
    lines += ["## Records", ""]
    for kind in kinds:
        if kind not in replies:
            lines += [f"### {kind.__name__}", "", _sentence(kind), "", *_table("member", kind)]
    lines += ["## Errors", ""]
    for code, kind in ERRORS.items():
        lines += [f"### `{INTERFACE}.{code}`", "", _sentence(kind), "", *_table("parameter", kind)]
    return "\n".join(lines).rstrip() + "\n"


def _table(title: str, kind: type[Struct]) -> list[str]:
    hints = hints_of(kind)
    if not hints:
        return []
    texts = _attributes(kind)
    required = {info.name for info in msgspec.structs.fields(kind) if info.required}
    lines = [f"| {title} | type | meaning |", "|---|---|---|"]
    for name, hint in hints.items():
        asked = issubclass(kind, Parameters) and name in required
        mark = " (must be given)" if asked else ""
        shown = _varlink(hint).replace("|", "\\|")
        lines.append(f"| `{name}` | `{shown}` | {texts.get(name, '')}{mark} |")
    return [*lines, ""]
