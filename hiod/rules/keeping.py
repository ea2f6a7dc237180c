"""Hands as the state database keeps them: a hand to plain values and back.

Decides what of a hand outlives the boss. Tyme is CLOCK_MONOTONIC, so instants stay good within one
boot; the boot they belong to is kept beside them and checked by ``adoption``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hiod.rules.records import End, Hand, ProcessId, State, Then, Wanted
from hiod.rules.specs import dump, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hiod.rules.specs import HandSpec

_PLAIN = (
    "name",
    "ordinal",
    "wanted_by",
    "wanted_at",
    "reason",
    "since",
    "generation",
    "registered",
    "ready_at",
    "spawned_at",
    "attempt",
    "restarts",
    "stop_step",
    "stop_asked_at",
    "asked_by",
    "ended_by",
    "leaving",
    "status",
)


def spec_row(spec: HandSpec) -> dict[str, Any]:
    """Return a definition as plain values, with the file it came from."""
    return {**dump(spec), "origin": spec.origin, "line": spec.line}


def spec_of(row: Mapping[str, Any]) -> HandSpec:
    """Return the definition a row holds.

    Raises:
        ValueError: the row is not a definition this version can use.
    """
    given = dict(row)
    origin, line = given.pop("origin", None), given.pop("line", None)
    spec, problems = parse(given, origin=origin, line=line)
    if spec is None:
        raise ValueError("; ".join(f"{p.path}: {p.message}" for p in problems))
    return spec


Specs = dict[str, tuple["Mapping[str, Any]", "HandSpec"]]
"""Definitions read so far, by name, each with its row."""


def _shared_spec(row: Mapping[str, Any], known: Specs) -> HandSpec:
    """Return the definition a row holds; hands of a counted one share it, and it is read once."""
    name = str(row["name"]) if "name" in row else ""
    found = known.get(name)
    if found is None or found[0] != row:
        found = known[name] = row, spec_of(row)
    return found[1]


def hand_row(hand: Hand, boot_id: str) -> dict[str, Any]:
    """Return a hand as plain values."""
    row: dict[str, Any] = {name: getattr(hand, name) for name in _PLAIN}
    process, end = hand.process, hand.end
    row.update(
        spec=spec_row(hand.spec),
        next_spec=None if hand.next_spec is None else spec_row(hand.next_spec),
        wanted=str(hand.wanted),
        addr=hand.addr,
        state=str(hand.state),
        then=str(hand.then),
        failures=list(hand.failures),
        wake_at=None if math.isinf(hand.wake_at) else hand.wake_at,
        process=None if process is None else [process.pid, process.started_at, process.boot_id],
        end=None
        if end is None
        else [end.code, end.signal, end.core, end.at_wall, end.maxrss_bytes],
        boot_id=boot_id,
    )
    return row


def hand_of(row: Mapping[str, Any], known: Specs | None = None) -> tuple[Hand, str]:
    """Return the hand a row holds and the boot its instants belong to.

    Args:
        row: the hand.
        known: definitions read so far; more are added.

    Raises:
        ValueError, KeyError, TypeError: the row is not a hand this version can use.
    """
    process, end, next_spec = row["process"], row["end"], row["next_spec"]
    known = {} if known is None else known
    hand = Hand(
        **{name: row[name] for name in _PLAIN},
        spec=_shared_spec(row["spec"], known),
        next_spec=None if next_spec is None else spec_of(next_spec),
        wanted=Wanted(row["wanted"]),
        state=State(row["state"]),
        then=Then(row["then"]),
        failures=tuple(row["failures"]),
        wake_at=math.inf if row["wake_at"] is None else row["wake_at"],
        process=None if process is None else ProcessId(*process),
        end=None if end is None else End(*end),
        addr=row.get("addr", ""),
    )
    return hand, row["boot_id"]
