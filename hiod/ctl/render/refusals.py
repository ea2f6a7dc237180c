"""Why the boss refused, as a sentence.  Pure: an error in, text out.

Decides the words for each of the boss's errors.  Leaves exit codes to its caller.
Invariant: a refusal names what was wrong; an error not known here is shown with all it has.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from hiod.ctl.render.figures import plain, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hiod.ctl.render.figures import Row
    from hiod.errors import AdminError


def refusal(ex: AdminError) -> str:
    """Say in a sentence why the boss refused; problems follow, one a line, indented."""
    parameters = dict(ex.parameters)
    message = str(parameters.get("message") or "")
    short = ex.code.rpartition(".")[2]
    parameters.pop("message", None)
    words = _SENTENCES.get(short)
    sentence = words(parameters, message) if words else message
    if not sentence:
        sentence = short + (f" {json.dumps(parameters, ensure_ascii=False)}" if parameters else "")
    hint = parameters.get("hint")
    if hint and str(hint) not in sentence:
        sentence += f"; {hint}"
    return "\n".join([sentence, *problems(parameters.get("problems") or ())])


def unusable(found: Sequence[Mapping[str, Any]]) -> str:
    """Say that the crew files are such that nothing is made of them."""
    return f"the crew files cannot be used: {plural(len(found), 'problem')}"


def problems(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one indented line for each problem."""
    lines = []
    for problem in found:
        text = str(problem.get("message") or problem.get("code") or "")
        got = problem.get("got")
        if got is not None and "got " not in text and str(got) not in text:
            text += f", got {json.dumps(got, ensure_ascii=False)}"
        path = problem.get("path")
        lines.append(f"  {path}: {text}" if path else f"  {text}")
    return lines


def _near(parameters: Mapping[str, Any]) -> str:
    near = parameters.get("near")
    names = [near] if isinstance(near, str) else list(near or ())
    return f"; did you mean {' or '.join(json.dumps(name) for name in names)}?" if names else ""


def _no_such_hand(parameters: Row, message: str) -> str:
    del message
    name = parameters.get("name")
    if name is None:
        return "no hand is meant by that" + (_near(parameters) or "; see hiodctl list")
    return f'no hand "{name}"' + (_near(parameters) or "; see hiodctl list")


def _bad_spec(parameters: Row, message: str) -> str:
    count = len(parameters.get("problems") or ())
    of = f' of "{parameters["name"]}"' if parameters.get("name") else ""
    return message or f"the spec{of} cannot be used: {plural(count, 'problem')}"


def _conflict(parameters: Row, message: str) -> str:
    others = parameters.get("hands") or parameters.get("names") or ()
    text = message or f"that cannot be done now ({parameters.get('code', 'conflict')})"
    told = set(re.findall(r"[\w-]+", text))
    # Of a counted hand it is the whole that is meant, whoever the others are.
    counted = parameters.get("code") == "counted"
    missing = [str(name) for name in others if str(name) not in told and not counted]
    return text + (f": {', '.join(missing)}" if missing else "")


def _not_permitted(parameters: Row, message: str) -> str:
    del message
    needs, have = parameters.get("needs"), parameters.get("have") or "none"
    user, admits = parameters.get("user"), list(parameters.get("admits") or ())
    whose = f"that of {user}" if user else "yours"
    text = f"not permitted: this takes role {needs}, {whose} is {have}"
    groups = [one.removeprefix("@") for one in admits if one.startswith("@")]
    if groups:
        whom = user or "USER"
        return (
            f"{text}; members of group {' or '.join(groups)} have it:"
            f" an administrator can add you (usermod -aG {groups[0]} {whom}), then log in anew"
        )
    if admits:
        text += f"; {', '.join(admits)} and root have it"
    return f"{text}; roles are given under [admin] in hiod.toml"


def place(row: Row) -> str:
    """Say in a word where a hand stands; "" if that was not told."""
    state = str(row.get("state") or "")
    if row.get("left"):
        return "gone"
    # Else its turn to be stopped has not come.
    return "leaving" if row.get("left") is False and state != "stopping" else state


def standing(row: Row) -> str:
    """Say where a hand stands, and why: ``web is in backoff (signal 11; try 2 of 5)``."""
    state = place(row)
    state = "in backoff" if state == "backoff" else state
    why = "" if row["state"] in ("ready", "running") else plain(row.get("reason") or "")
    return f"{row['name']} is {state}" + (f" ({why})" if why else "")


def _timeout(parameters: Row, message: str) -> str:
    if message:
        return message
    rows = [row for row in parameters.get("hands") or () if row.get("state")]
    awaited = parameters.get("awaited") or ()
    why = plain(parameters.get("why") or "")
    told = why.partition(" ")[0]
    late = ", ".join(
        standing(row) for row in rows if row["name"] in awaited and row["name"] != told
    )
    words = "; ".join(part for part in (why, late) if part)
    return f"timed out: {words or 'still ' + str(parameters.get('state'))}; it goes on"


def _spawn_failed(parameters: Row, message: str) -> str:
    if message:
        return message
    parts = [str(parameters["path"])] if parameters.get("path") else []
    if parameters.get("errno") is not None:
        from errno import errorcode  # noqa: PLC0415 - only for this sentence

        parts.append(errorcode.get(parameters["errno"], f"errno {parameters['errno']}"))
    about = f" ({', '.join(parts)})" if parts else ""
    return f"cannot start its process: {parameters.get('step')}{about}"


def _unavailable(parameters: Row, message: str) -> str:
    after = parameters.get("after_s")
    text = message or f"the boss cannot do that now: {parameters.get('state')}"
    return text + (f"; try again in {after:g} s" if isinstance(after, (int, float)) else "")


def _busy(parameters: Row, message: str) -> str:
    del parameters
    return message or "the boss has all the connections it takes; try again"


def _too_large(parameters: Row, message: str) -> str:
    return message or f"the request is over the boss's limit of {parameters.get('limit')} bytes"


def _unknown_method(parameters: Row, message: str) -> str:
    del message
    return f"the boss knows no {parameters.get('method')}: is it an older hiod?" + _near(parameters)


def _bad_parameter(parameters: Row, message: str) -> str:
    found = parameters.get("problems") or ()
    if len(found) == 1 and not message:
        parameters["problems"] = ()
        return problems(found)[0].strip().replace(": ", " ", 1)
    return message or f"the boss does not take parameter {parameters.get('parameter')}"


_SENTENCES = {
    "NoSuchHand": _no_such_hand,
    "BadSpec": _bad_spec,
    "Conflict": _conflict,
    "NotPermitted": _not_permitted,
    "Timeout": _timeout,
    "SpawnFailed": _spawn_failed,
    "Unavailable": _unavailable,
    "Busy": _busy,
    "TooLarge": _too_large,
    "MethodNotFound": _unknown_method,
    "InvalidParameter": _bad_parameter,
}
