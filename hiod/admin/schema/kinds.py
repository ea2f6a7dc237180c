"""What all tables are made of: names, units as types, and the two kinds of record.

Decides which values a number or a name may have. Leaves the records to ``answers``, ``asked`` and
``refused``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

INTERFACE = "io.hiod.Boss"
SERVICE = "org.varlink.service"
PROTOCOL = 1

ROLES = ("none", "read", "operate", "admin")
"""From the least to the most; each may do what those before it may."""

StateName = Literal[
    "waiting",
    "starting",
    "registering",
    "running",
    "ready",
    "degraded",
    "stopping",
    "stopped",
    "backoff",
    "failed",
    "done",
]
WantedName = Literal["up", "down"]
RoleName = Literal["none", "read", "operate", "admin"]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Count = Annotated[int, Meta(ge=0, le=10_000)]  # as many as a definition may ask for
Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(max_length=128, description="at most 128 characters")]
Tag = Annotated[str, Meta(pattern=r"^[A-Z]{4,16}(?!\n)$", description="4 to 16 of A-Z")]


class Record(Struct, kw_only=True):
    """Something that is answered."""


class Parameters(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a method is called with."""
