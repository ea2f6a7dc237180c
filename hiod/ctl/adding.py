"""From what a person gives `hiodctl add` to the specs the boss is sent.

Decides how flags and files become specs, and makes paths that are relative here absolute: the
boss stands in another directory.  Leaves what a spec may hold to the boss, who checks it whole.
Invariant: nothing given is left out; what both a file and a flag say, the flag says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiod.ctl.arguments import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def read(file: str | None) -> tuple[str | None, str]:
    """Read what ``--file`` names.

    Returns:
        The text, None without a file; and the directory where its relative paths begin.

    Raises:
        UsageError: it cannot be read.
    """
    if file is None:
        return None, str(Path.cwd())
    try:
        if file == "-":
            return sys.stdin.buffer.read().decode(), str(Path.cwd())
        path = Path(file).absolute()
        return path.read_text("utf-8"), str(path.parent)
    except OSError as ex:
        raise UsageError(f"hiodctl: cannot read {file}: {ex.strerror}") from ex
    except UnicodeDecodeError as ex:
        what = "standard input" if file == "-" else file
        raise UsageError(f"hiodctl: {what} is not UTF-8 text: {ex.reason}") from ex


def specs_from(
    parsed: argparse.Namespace, text: str | None, directory: str
) -> list[dict[str, Any]]:
    """Return the specs of one ``hiodctl add``.

    Parameters:
        parsed: what was typed.
        text: contents of ``--file``, or None without it.
        directory: absolute; where relative paths begin: the file's own, or the current one.

    Raises:
        UsageError: file and flags do not make specs.
    """
    flags = _from_flags(parsed)
    if text is None:
        return [absolute(flags, directory)]
    specs = specs_in(text, parsed.file, parsed.name)
    if len(specs) > 1 and (flags or parsed.name):
        raise UsageError(
            f"hiodctl add: {parsed.file} holds {len(specs)} hands;"
            " a NAME or other flags go with one only"
        )
    return [absolute({**spec, **flags}, directory) for spec in specs]


def merged(defaults: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a hand's own keys over a file's defaults, tables key by key."""
    whole = dict(defaults)
    for key, value in spec.items():
        under = whole.get(key)
        both = isinstance(under, dict) and isinstance(value, dict)
        whole[key] = merged(under, value) if both else value  # type: ignore[arg-type] # both are
    return whole


def _from_flags(parsed: argparse.Namespace) -> dict[str, Any]:
    ready: Any = parsed.ready
    if ready:
        by, _, to = ready.partition("=")
        ready = {"by": by, "to": to} if to else {"by": by}
    given: dict[str, Any] = {
        "name": parsed.name,
        "doers": parsed.doer,
        "command": parsed.argv,
        "count": parsed.count,
        "env": dict(parsed.env) if parsed.env else None,
        "labels": dict(parsed.label) if parsed.label else None,
        "after": parsed.after,
        "path": parsed.path,
        "cwd": parsed.cwd,
        "python": parsed.python,
        "tock": parsed.tock,
        "ready": ready,
        "restart": {"policy": parsed.restart} if parsed.restart else None,
        "log": parsed.log,
        "start": False if parsed.no_start else None,
    }
    return {key: value for key, value in given.items() if value is not None}


def specs_in(text: str, file: str, name: str | None) -> list[dict[str, Any]]:
    """Read a crew file, one spec, or a list of specs, in TOML or JSON."""
    file = "standard input" if file == "-" else file
    data = _decoded(text, file)
    if isinstance(data, list):
        specs = data
    elif isinstance(data.get("hand"), dict):
        if strange := sorted(set(data) - {"hand", "defaults"}):
            raise UsageError(f"hiodctl: {file}: {strange[0]} is no part of a crew file")
        defaults = data.get("defaults", {})
        specs = [
            {"name": key, **merged(defaults, hand)} if isinstance(hand, dict) else hand
            for key, hand in data["hand"].items()
        ]
    elif data and name is None and "name" not in data and not _KINDS & data.keys():
        raise UsageError(
            f"hiodctl: {file} holds no hand: it begins with {next(iter(data))};"
            " a crew file has [hand.NAME], one spec has a name, and doers or a command"
        )
    else:
        specs = [data] if data else []
    if not specs:
        raise UsageError(f"hiodctl: {file} holds no hand")
    for number, spec in enumerate(specs):
        if not isinstance(spec, dict):
            raise UsageError(f"hiodctl: {file}: hand {number + 1} is not a table of keys")
        if "name" not in spec and name is None:
            raise UsageError(f"hiodctl: {file}: hand {number + 1} has no name; give a NAME")
    return specs


_KINDS = frozenset({"doers", "command"})


def _decoded(text: str, file: str) -> Any:
    # TOML may begin with "[hand.x]", and never with "{" or "[ {".
    if "".join(text[:4096].split()).startswith(("{", "[{", "[]")):
        try:
            return json.loads(text)
        except ValueError as ex:
            raise UsageError(f"hiodctl: {file} is not JSON: {ex}") from ex
    import tomllib  # noqa: PLC0415 - only for TOML

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as ex:
        raise UsageError(
            f"hiodctl: {file} is not TOML: {ex} (JSON would begin with a brace)"
        ) from ex


def absolute(spec: dict[str, Any], directory: str) -> dict[str, Any]:
    """Make relative ``path`` entries, ``cwd`` and ``python`` absolute; variables stay."""

    def at(value: Any) -> Any:
        if not isinstance(value, str) or value.startswith(("/", "${")):
            return value
        return str(Path(directory, value))

    whole = dict(spec)
    if isinstance(whole.get("path"), list):
        whole["path"] = [at(entry) for entry in whole["path"]]
    for key in ("cwd", "python"):
        # An interpreter without a slash is one to be found on the PATH.
        if key in whole and (key == "cwd" or "/" in str(whole[key])):
            whole[key] = at(whole[key])
    return whole
