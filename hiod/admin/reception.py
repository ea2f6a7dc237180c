"""What becomes of a message before any handler sees it, and the calls the table answers itself.

Decides whether a message is a request at all, whether its caller may make it and whether its
parameters fit; answers ``schema`` and Varlink's own methods. Leaves all that takes knowledge of the
crew to the handler. Invariant: whatever JSON object comes, the outcome is a request or a refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hiod
from hiod.admin import drawing, schema
from hiod.admin.connection import Connection, Request, tail_of
from hiod.admin.framing import EXAMPLE
from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def receive(connection: Connection, message: dict[str, Any]) -> Request | AdminError:
    """Make a request of a message, or say why it is none."""
    wrong = envelope_problem(message)
    if wrong is not None:
        return wrong
    method = schema.find(message["method"])
    if isinstance(method, AdminError):
        return method
    have = connection.caller.role
    if schema.ROLES.index(have) < schema.ROLES.index(method.role):
        return AdminError("NotPermitted", needs=method.role, have=have)
    params = schema.check(method, message.get("parameters") or {})
    if isinstance(params, AdminError):
        return params
    more = message.get("more") is True and method.stream != ""
    if method.stream == "endless" and not more:
        return AdminError(f"{schema.SERVICE}.ExpectedMore")
    oneway = message.get("oneway") is True
    return Request(connection, method.short, params, more, oneway, tail_of(message))


_ENVELOPE = {"method", "parameters", "id", "more", "oneway", "upgrade"}
_FLAGS = ("more", "oneway", "upgrade")


def envelope_problem(message: Mapping[str, Any]) -> AdminError | None:
    """Return what is wrong with the members of a message itself, if anything is."""
    code, text, hint = "envelope", "", ""
    method, parameters = message.get("method"), message.get("parameters")
    flags = [message.get(flag) for flag in _FLAGS]
    if not message.keys() <= _ENVELOPE:
        name = next(name for name in message if name not in _ENVELOPE)
        likely = schema.near(name, _ENVELOPE)
        text = f'unknown member "{schema.shorten(name)}"'
        hint = f'did you mean "{likely[0]}"?' if likely else 'arguments belong in "parameters"'
    elif type(method) is not str:
        text = "there is no method" if method is None else "method is not a string"
        hint = f"send {EXAMPLE}"
    elif parameters is not None and type(parameters) is not dict:
        text, hint = "parameters is not an object", 'send "parameters":{}'
    elif any(flag is not None and flag is not True and flag is not False for flag in flags):
        text, hint = f"{', '.join(_FLAGS)} are true or false", "leave out what you do not need"
    elif message.get("upgrade"):
        code, text = "upgrade", "this connection cannot be upgraded"
        hint = 'leave "upgrade" out'
    elif message.get("more") and message.get("oneway"):
        text, hint = "more and oneway exclude each other", "leave one of them out"
    return AdminError("BadMessage", text, code=code, hint=hint) if text else None


# ---------------------------------------------------------------------------- own answers


def _info(request: Request) -> None:
    request.reply(
        schema.InfoReply(
            vendor="hiod",
            product="hiod",
            version=hiod.__version__,
            url="https://varlink.org",
            interfaces=[schema.SERVICE, schema.INTERFACE],
        )
    )


def _description(request: Request) -> None:
    interface = request.params.interface
    if interface not in (schema.INTERFACE, schema.SERVICE):
        raise AdminError(f"{schema.SERVICE}.InterfaceNotFound", interface=schema.shorten(interface))
    request.reply(schema.DescriptionReply(description=drawing.interface_text(interface)))


def _schema(request: Request) -> None:
    name = request.params.method
    if name is not None:
        method = schema.find(name)
        if isinstance(method, AdminError):
            raise method
        name = method.short if method in schema.METHODS else method.long
    request.reply(schema.SchemaReply(schema=drawing.json_schema(name)))


OWN: dict[str, Callable[[Request], None]] = {
    "GetInfo": _info,
    "GetInterfaceDescription": _description,
    "schema": _schema,
}
"""Methods that are answered here."""
