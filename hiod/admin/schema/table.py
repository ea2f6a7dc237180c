"""The table of methods: who may call what with what, what comes back, what it may be refused with.

Invariant: what is not in ``METHODS`` or ``SERVICE_METHODS`` cannot be called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hiod.admin.schema.answers import (
    AboutReply,
    ApplyReply,
    ChangeReply,
    DescriptionReply,
    EventsReply,
    ExportReply,
    InfoReply,
    ListReply,
    Nothing,
    PlanReply,
    SchemaReply,
    ShutdownReply,
    Status,
    SubscribeReply,
    WhyReply,
)
from hiod.admin.schema.asked import (
    AddParameters,
    EventsParameters,
    InterfaceParameters,
    NoParameters,
    ScaleParameters,
    SchemaParameters,
    Selection,
    SelectionWait,
    SendParameters,
    ShutdownParameters,
    SignalParameters,
    StatusParameters,
    SubscribeParameters,
    WaitParameters,
)
from hiod.admin.schema.kinds import INTERFACE, SERVICE, Parameters, Record, RoleName


@dataclass(frozen=True, slots=True)
class Method:
    """One method.

    Attributes:
        short: its name for people.
        long: its name for Varlink.
        role: the least role that may call it.
        doc: one sentence.
        parameters: what it is called with.
        reply: what it answers.
        stream: "" answers once; "progress" may answer more than once when called with ``more``;
            "endless" must be called with ``more`` and goes on until the caller leaves.
        selects: whether it must be told which hands, by ``names`` or ``labels``.
        errors: what it may be refused with, beside ``ANY_CALL``.
    """

    short: str
    long: str
    role: RoleName
    doc: str
    parameters: type[Parameters] = NoParameters
    reply: type[Record] = Nothing
    stream: Literal["", "progress", "endless"] = ""
    selects: bool = False
    errors: tuple[str, ...] = ()


def _boss(short: str, role: RoleName, doc: str, **more: Any) -> Method:
    return Method(short, f"{INTERFACE}.{short.capitalize()}", role, doc, **more)


METHODS: tuple[Method, ...] = (
    _boss("ping", "none", "Answers, and nothing else."),
    _boss("about", "none", "Says who the boss is and how it stands.", reply=AboutReply),
    _boss(
        "schema",
        "read",
        "Gives this table as JSON Schema.",
        parameters=SchemaParameters,
        reply=SchemaReply,
    ),
    _boss(
        "list",
        "read",
        "Gives one row a hand; without names and labels, of all.",
        parameters=Selection,
        reply=ListReply,
        errors=("NoSuchHand",),
    ),
    _boss(
        "status",
        "read",
        "Gives all that is known of one hand.",
        parameters=StatusParameters,
        reply=Status,
        errors=("NoSuchHand",),
    ),
    _boss(
        "events",
        "read",
        "Gives what happened.",
        parameters=EventsParameters,
        reply=EventsReply,
        errors=("NoSuchHand",),
    ),
    _boss(
        "subscribe",
        "read",
        "Gives what happens, as it happens, until the caller leaves.",
        parameters=SubscribeParameters,
        reply=SubscribeReply,
        stream="endless",
        errors=("NoSuchHand",),
    ),
    _boss("plan", "read", "Says what apply would do.", reply=PlanReply),
    _boss(
        "why",
        "read",
        "Explains why hands are as they are; without names, each that is not ok.",
        parameters=Selection,
        reply=WhyReply,
        errors=("NoSuchHand",),
    ),
    _boss(
        "start",
        "operate",
        "Wants hands up; clears what counted against them.",
        parameters=SelectionWait,
        reply=ChangeReply,
        stream="progress",
        selects=True,
        errors=("NoSuchHand", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "stop",
        "operate",
        "Wants hands down.",
        parameters=SelectionWait,
        reply=ChangeReply,
        stream="progress",
        selects=True,
        errors=("NoSuchHand", "Timeout"),
    ),
    _boss(
        "restart",
        "operate",
        "Ends hands and starts them again.",
        parameters=SelectionWait,
        reply=ChangeReply,
        stream="progress",
        selects=True,
        errors=("NoSuchHand", "Conflict", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "signal",
        "operate",
        "Sends a signal to the processes of hands.",
        parameters=SignalParameters,
        reply=ChangeReply,
        selects=True,
        errors=("NoSuchHand", "Conflict"),
    ),
    _boss(
        "send",
        "operate",
        "Sends a memo to hands.",
        parameters=SendParameters,
        reply=ChangeReply,
        selects=True,
        errors=("NoSuchHand", "Conflict"),
    ),
    _boss(
        "add",
        "admin",
        "Takes a hand into the crew.",
        parameters=AddParameters,
        reply=ChangeReply,
        stream="progress",
        errors=("BadSpec", "Conflict", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "remove",
        "admin",
        "Ends hands and takes them out of the crew.",
        parameters=SelectionWait,
        reply=ChangeReply,
        stream="progress",
        selects=True,
        errors=("NoSuchHand", "Conflict", "Timeout"),
    ),
    _boss(
        "scale",
        "admin",
        "Changes how many hands a counted definition has.",
        parameters=ScaleParameters,
        reply=ChangeReply,
        stream="progress",
        errors=("NoSuchHand", "Conflict", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "apply",
        "admin",
        "Makes definitions what the crew files say, with the least harm.",
        parameters=WaitParameters,
        reply=ApplyReply,
        stream="progress",
        errors=("BadSpec", "Conflict", "SpawnFailed", "Timeout"),
    ),
    _boss(
        "export",
        "admin",
        "Gives definitions as a crew file, env and opts values in clear.",
        parameters=Selection,
        reply=ExportReply,
        errors=("NoSuchHand",),
    ),
    _boss(
        "shutdown",
        "admin",
        "Ends the boss: stops all hands first, in reverse order, or keeps them on purpose.",
        parameters=ShutdownParameters,
        reply=ShutdownReply,
    ),
)

SERVICE_METHODS: tuple[Method, ...] = (
    Method("GetInfo", f"{SERVICE}.GetInfo", "read", "Says what service this is.", reply=InfoReply),
    Method(
        "GetInterfaceDescription",
        f"{SERVICE}.GetInterfaceDescription",
        "read",
        "Gives the text of an interface.",
        parameters=InterfaceParameters,
        reply=DescriptionReply,
    ),
)

BY_NAME: dict[str, Method] = {
    **{method.short: method for method in METHODS},
    **{method.long: method for method in (*METHODS, *SERVICE_METHODS)},
}
"""What may stand in ``method`` of a request."""
