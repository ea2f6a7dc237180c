"""What is refused: errors are names with typed parameters.

Invariant: what is not in ``ERRORS`` or ``SERVICE_ERRORS`` is not answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import field

from hiod.admin.schema.answers import Change, Outcome, Problem  # noqa: TC001 - msgspec reads them
from hiod.admin.schema.kinds import INTERFACE, Record, RoleName

if TYPE_CHECKING:
    from hiod.errors import AdminError


class BadMessage(Record):
    """What came is not a request.

    Attributes:
        code: json, object, nesting, envelope or upgrade.
        message: what is wrong.
        hint: what would do.
    """

    code: str
    message: str
    hint: str = ""


class BadSpec(Record):
    """A definition cannot be used; nothing was done.

    Attributes:
        problems: all of them.
    """

    problems: list[Problem]


class NoSuchHand(Record):
    """No hand has that name.

    Attributes:
        name: what was asked for.
        near: names like it.
    """

    name: str
    near: list[str] = field(default_factory=list)


class Conflict(Record):
    """It would break something that is; nothing was done.

    Attributes:
        code: exists, needed, counted, order …
        message: what stands against it.
        name: the hand it is about.
        hands: the hands that stand against it.
    """

    code: str
    message: str = ""
    name: str | None = None
    hands: list[str] = field(default_factory=list)


class NotPermitted(Record):
    """The caller may not do this.

    Attributes:
        needs: the role that may.
        have: the caller's.
        user: the caller's name, by the kernel's word.
        admits: who has that role by hiod.toml: users, ``@groups``; root and the boss's user have it
            anyway.
    """

    needs: RoleName
    have: RoleName
    user: str = ""
    admits: list[str] = field(default_factory=list)


class TooLarge(Record):
    """The message was longer than is taken; it was skipped.

    Attributes:
        limit: bytes that are taken.
    """

    limit: int


class Busy(Record):
    """No more connections are taken, of this user or at all."""


class Timeout(Record):
    """It was recorded, and had not come true in time; it goes on.

    Attributes:
        state: how it stands.
        hands: one outcome a hand, as far as it went.
        awaited: names of those that are not where they were sent.
        why: which of them will not come, and the failed hand behind it; empty if all may come.
        changes: what ``apply`` changed.
    """

    state: str
    hands: list[Outcome] = field(default_factory=list)
    awaited: list[str] = field(default_factory=list)
    why: str = ""
    changes: list[Change] = field(default_factory=list)


class SpawnFailed(Record):
    """The machine would not make a hand's process.

    Attributes:
        name: the hand; the first, if there are several.
        step: what was being done.
        errno: the system's number.
        path: the file it was about.
        message: the same in a sentence.
        hands: one outcome a hand, as far as it went.
        changes: what ``apply`` changed.
    """

    step: str
    errno: int | None = None
    path: str | None = None
    message: str = ""
    name: str | None = None
    hands: list[Outcome] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


class Unavailable(Record):
    """The boss cannot do this now.

    Attributes:
        state: what it is doing or suffering: starting, stopping, store, fault …
        after_s: when to try again; null when that cannot be told.
    """

    state: str
    after_s: float | None = None


class InterfaceNotFound(Record):
    """There is no such interface.

    Attributes:
        interface: what was asked for.
    """

    interface: str


class MethodNotFound(Record):
    """There is no such method.

    Attributes:
        method: what was called.
    """

    method: str


class MethodNotImplemented(Record):
    """The method is known and not to be had here.

    Attributes:
        method: what was called.
    """

    method: str


class InvalidParameter(Record):
    """A parameter does not fit.

    Attributes:
        parameter: the first that does not.
    """

    parameter: str


class PermissionDenied(Record):
    """The caller may not do this; this boss says ``io.hiod.Boss.NotPermitted``, which says more."""


class ExpectedMore(Record):
    """The method answers with a stream: call it with ``more``."""


ERRORS: dict[str, type[Record]] = {
    kind.__name__: kind
    for kind in (
        BadMessage,
        BadSpec,
        NoSuchHand,
        Conflict,
        NotPermitted,
        TooLarge,
        Busy,
        Timeout,
        SpawnFailed,
        Unavailable,
    )
}
SERVICE_ERRORS: dict[str, type[Record]] = {
    kind.__name__: kind
    for kind in (
        InterfaceNotFound,
        MethodNotFound,
        MethodNotImplemented,
        InvalidParameter,
        PermissionDenied,
        ExpectedMore,
    )
}

ANY_CALL = ("BadMessage", "TooLarge", "Busy", "NotPermitted", "Unavailable")
"""Errors every call may be answered with, beside Varlink's own."""


def wire_error(error: AdminError) -> tuple[str, dict[str, Any]]:
    """Return the long name and the parameters of an error, as they are sent.

    A sentence for people is left out where the contract gives the error no ``message``: hiodctl
    makes its own from the typed parameters.
    """
    kind = ERRORS.get(error.code)
    if kind is None:
        return error.code, error.parameters
    parameters = error.parameters
    if "message" in parameters and "message" not in kind.__struct_fields__:
        parameters = {key: value for key, value in parameters.items() if key != "message"}
    return f"{INTERFACE}.{error.code}", parameters
