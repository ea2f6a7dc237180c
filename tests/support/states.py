"""The page on a hand's states, drawn from the rules by trying them.

Every rule is tried on every kind of hand that can be reached; what becomes of the hand is an edge.
``python -m support.states`` in ``tests`` writes ``docs/states.md``; a test compares.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from support.lives import CLEAN, CRASH, process, spec

from hiod.rules import policy
from hiod.rules import records as r
from hiod.rules.records import Hand, State, Then

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "states.md"

Edges = dict[tuple[State, type[r.Event]], set[State | None]]
"""What may follow of an event in a state: another state, or None: the same, but not unchanged."""

_EVENTS: tuple[r.Event, ...] = (
    r.StartAsked("ann"),
    r.StopAsked("ann"),
    r.StopAsked("SIGTERM", then=Then.LEAVE),
    r.RestartAsked("ann"),
    r.RestartAsked("hiod", "stuck", counts=True),
    r.Cleared(),
    r.Spawned(process()),
    r.Refused("exec", "no such file"),
    r.Registered(),
    *(r.SaidReady(by) for by in ("memo", "notify", "connect")),
    r.Exited(CLEAN),
    r.Exited(CRASH),
    r.TimeCame(),
    r.Judged(ok=False, verdict="stuck", why="no beat"),
    r.Judged(ok=True, verdict="ok"),
)
_FORMS = (
    {},
    {"ready": {"by": "memo"}},
    {"ready": {"by": "connect", "to": "127.0.0.1:80"}},
    {"ready": {"by": "exit", "timeout_s": 9}},
    {"command": ["sleep", "9"]},
    {"limit_s": 9},
)
_RESTARTS = ({"limit": 1}, {"limit": 1, "delay_s": 0}, {"policy": "never"})
_SPECS = tuple(
    spec(**form, restart=restart) for form, restart in itertools.product(_FORMS, _RESTARTS)
)
_WHAT = {
    State.WAITING: "wanted up; waits for the hands it comes after",
    State.STARTING: "its process is ordered, or is there and has not answered yet",
    State.REGISTERING: "its process is there; its REG or RDY is not",
    State.RUNNING: "its process is there, and nobody can say more",
    State.READY: "it said so itself, or answered",
    State.DEGRADED: "it was up; a witness says that it is not well",
    State.STOPPING: "asked to end",
    State.STOPPED: "at rest",
    State.BACKOFF: "it ended by itself, or could not be started, and will be tried again",
    State.FAILED: "given up until somebody starts it",
    State.DONE: "it ended by itself, as it should",
}
_HAPPENS = {
    r.StartAsked: "start",
    r.StopAsked: "stop",
    r.RestartAsked: "restart",
    r.Cleared: "its turn",
    r.Spawned: "process there",
    r.Refused: "no process",
    r.Registered: "REG",
    r.SaidReady: "ready",
    r.Exited: "end",
    r.TimeCame: "time is up",
    r.Judged: "verdict",
    r.Revised: "new definition",
}


@functools.cache
def explore() -> Edges:
    """Try every event on every kind of hand that can be reached."""
    edges: Edges = defaultdict(set)
    for made in _SPECS:
        other = replace(made, labels={"tier": "front"})
        ahead = [(Hand("web", made), 1000.0)]
        known = set()
        while ahead:
            hand, now = ahead.pop()
            kind = _kind(hand)
            if kind in known:
                continue
            known.add(kind)
            for event in (*_EVENTS, r.Revised(other), r.Revised(made, made, restart=True)):
                later = max(now + 1, hand.wake_at) if isinstance(event, r.TimeCame) else now + 1
                later = now + 1 if later == float("inf") else later
                after, _ = policy.step(hand, event, later)
                if after.state is not hand.state:
                    edges[hand.state, type(event)].add(after.state)
                elif after != hand:
                    edges[hand.state, type(event)].add(None)
                ahead.append((after, later))
    return dict(edges)


def _kind(hand: Hand) -> tuple[object, ...]:
    """Return what makes a hand another for the rules; how often and when does not."""
    return (
        hand.state,
        hand.wanted,
        hand.process is None,
        hand.registered,
        hand.then,
        hand.stop_step,
        hand.ended_by,
        min(len(hand.failures), 2),
        hand.next_spec is None,
        min(hand.attempt, 1),
    )


def page() -> str:
    """Return the whole page."""
    return "\n".join((*_INTRO, *_diagram(), *_MIDDLE, *_states(), *_BETWEEN, *_table(), ""))


_INTRO = (
    "# The states of a hand",
    "",
    "<!-- Written by tests/support/states.py from the rules themselves; a test compares. -->",
    "",
    "Where a hand stands (`state`) and what the operator wants of it (`wanted`: `up` or `down`)",
    "are two things. Only operators change the second, only events change the first.",
    "`hiodctl status` shows both, and the reason of the state.",
    "",
)
_MIDDLE = (
    "",
    "| state | means |",
    "|---|---|",
)
_BETWEEN = (
    "",
    "## What follows of what",
    "",
    "A row is a state, a column what happens. The cell names the states that may follow; *noted*:",
    "the hand stays where it is and what happened is kept; empty: it means nothing then. *stop* is",
    "also what a shutdown asks of every hand: it changes nothing of what is wanted. A *process",
    "there* that nobody waits for any more is ended at once.",
    "",
)


def _diagram() -> Iterator[str]:
    """Yield the picture: one arrow for two states, with all that leads along it."""
    arrows: dict[tuple[State, State], list[str]] = defaultdict(list)
    edges = explore()
    for state in State:
        for event in r.EVENTS:
            for after in _sorted(edges.get((state, event), set())):
                if after is not None:
                    arrows[state, after].append(_HAPPENS[event])
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {State.STOPPED}"
    for (state, after), why in arrows.items():
        yield f"    {state} --> {after}: {', '.join(why)}"
    yield "```"


def _states() -> Iterator[str]:
    for state in State:
        yield f"| `{state}` | {_WHAT[state]} |"


def _table() -> Iterator[str]:
    edges = explore()
    yield "| | " + " | ".join(_HAPPENS[event] for event in r.EVENTS) + " |"
    yield "|---" * (len(r.EVENTS) + 1) + "|"
    for state in State:
        cells = []
        for event in r.EVENTS:
            found = _sorted(edges.get((state, event), set()))
            cells.append(", ".join("*noted*" if one is None else str(one) for one in found))
        yield f"| **{state}** | " + " | ".join(cells) + " |"


def _sorted(found: set[State | None]) -> list[State | None]:
    order = [*State, None]
    return sorted(found, key=order.index)


if __name__ == "__main__":
    PAGE.write_text(page())
