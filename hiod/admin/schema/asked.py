"""What methods are called with: one Struct each, unknown members refused.

The docstrings are the reference page's text. Invariant: what has no default must be given.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from hiod.admin.schema.kinds import Count, Name, Parameters, Seconds, Sequence, Tag


class NoParameters(Parameters):
    """Nothing."""


class SchemaParameters(Parameters):
    """Which method.

    Attributes:
        method: its short or long name; absent: all.
    """

    method: str | None = None


class Selection(Parameters):
    """Which hands.

    Attributes:
        names: hands, counted bases, globs.
        labels: hands that have all of these.
    """

    names: list[Name] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)


class StatusParameters(Parameters):
    """Which hand.

    Attributes:
        name: its name.
    """

    name: str


class EventsParameters(Selection):
    """Which events.

    Attributes:
        since: those after this number; absent: the latest.
        limit: not more than so many.
        events: of these kinds only, or globs (``hand.*``).
    """

    since: Sequence | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    events: list[str] = field(default_factory=list)


class SubscribeParameters(Selection):
    """Which events.

    Attributes:
        since: begin with those after this number; absent: with what comes.
        events: of these kinds only, or globs (``hand.*``).
    """

    since: Sequence | None = None
    events: list[str] = field(default_factory=list)


class WaitParameters(Parameters):
    """How long to wait.

    Attributes:
        wait: ready, done or gone; absent: answered when recorded.
        timeout_s: for so long, then ``Timeout``; absent: 10.
    """

    wait: Literal["ready", "done", "gone"] | None = None
    timeout_s: Seconds = 10.0


class SelectionWait(WaitParameters):
    """Which hands, and how long to wait.

    Attributes:
        names: hands, counted bases, globs.
        labels: hands that have all of these.
    """

    names: list[Name] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)


class SignalParameters(Selection, kw_only=True):
    """Which hands and what signal.

    Attributes:
        signal: its name, with or without SIG (``HUP``), or its number in digits.
    """

    signal: str


class SendParameters(Selection, kw_only=True):
    """Which hands and what memo.

    Attributes:
        tag: 4 to 16 of A-Z; three letters would be read as a control memo.
        load: what it carries.
    """

    tag: Tag
    load: dict[str, Any] = field(default_factory=dict)


class AddParameters(WaitParameters, kw_only=True):
    """What hand.

    Attributes:
        spec: its definition, with the keys of a crew file and ``name``.
        replace: in place of another definition of that name.
    """

    spec: dict[str, Any]
    replace: bool = False


class ScaleParameters(WaitParameters, kw_only=True):
    """How many.

    Attributes:
        name: a counted definition.
        count: how many hands it is to have.
    """

    name: str
    count: Count


class ShutdownParameters(Parameters):
    """Whether the hands end too.

    Attributes:
        keep_hands: leave the hands alone; the next boss takes them over. Without it they are
            stopped first, in reverse order and within their own times.
    """

    keep_hands: bool = False


class InterfaceParameters(Parameters):
    """Which interface.

    Attributes:
        interface: its name.
    """

    interface: str
