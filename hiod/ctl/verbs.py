"""What each verb of `hiodctl` asks of the boss.

Decides which requests a verb becomes, in which order, and when it has gone wrong.  Leaves the
words to `render` and what is possible to the boss.  Invariant: every outcome the boss told is
printed before a later failure is.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from hiod.admin.client import Client, NoAnswer, NoBoss, find_socket
from hiod.ctl import render
from hiod.ctl.arguments import UsageError, selection
from hiod.errors import AdminError, HiodError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

THERE = frozenset({"ready", "running", "done"})
AT_REST = frozenset({"stopped", "failed", "done"})


class TimedOut(HiodError):  # noqa: N818 - named for the state it reports
    """What was waited for did not come in time."""


class Refused(HiodError):  # noqa: N818 - named for the state it reports
    """It cannot be done, and waiting longer would not help."""


class Ask(NamedTuple):
    """One command on its way: what was typed, who reads, and the line to the boss."""

    parsed: argparse.Namespace
    view: render.figures.View
    client: Client

    def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the boss."""
        return self.client.call(method, parameters)

    def wait_for(
        self, method: str, parameters: Mapping[str, Any], chosen: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Ask for what may take long; at a terminal it is seen who of the chosen is on the way."""
        if self.parsed.wait is None:
            return self.call(method, parameters)
        from hiod.ctl import progress  # noqa: PLC0415 - only for what waits

        try:
            with progress.shown(self, chosen):
                return self.call(method, parameters)
        except KeyboardInterrupt:
            sys.stderr.write(f"hiodctl {self.parsed.verb}: not waited for; it goes on\n")
            raise

    def say(self, text: str) -> None:
        """Print for the reader."""
        sys.stdout.write(text)

    def show(self, reply: Mapping[str, Any], text: Callable[[], str]) -> None:
        """Print a reply: as it came with --json, else in words."""
        self.say(render.figures.as_json(reply, self.view) if self.parsed.json else text())


def run(parsed: argparse.Namespace, view: render.figures.View) -> int:
    """Do what was typed and return the exit code.

    Raises:
        HiodError: it was not done; the kind says why.
    """
    if parsed.verb == "check":
        return _check(parsed)
    if parsed.verb == "try":
        from hiod.ctl import trying  # noqa: PLC0415 - only this verb starts a boss

        return trying.run(parsed.what)
    path, named = find_socket(parsed.socket, user=parsed.user, environ=os.environ, uid=os.getuid())
    with Client(path) as client:
        try:
            return _VERBS[parsed.verb](Ask(parsed, view, client))
        except NoBoss as ex:
            if named == "$HIOD_SOCKET":
                raise NoBoss(f"{ex} (the path is from $HIOD_SOCKET)") from ex
            raise


# --------------------------------------------------------------------------- looking


def _list(ask: Ask) -> int:
    chosen = selection(ask.parsed)
    reply = ask.call("list", chosen)
    _refuse_nobody(ask, reply["hands"])
    if chosen and not reply["hands"] and not ask.parsed.json:
        sys.stderr.write("hiodctl list: no hand is meant by that; see hiodctl list\n")
        return 0
    ask.show(reply, lambda: render.tables.crew(reply, ask.view))
    return 0


def _wanted(ask: Ask) -> dict[str, str]:
    """Return the hands that are meant, in the boss's order, and whether they are wanted up.

    Raises:
        Refused: none has the labels asked for.
    """
    rows = ask.call("list", selection(ask.parsed))["hands"]
    _refuse_nobody(ask, rows)
    return {str(row["name"]): str(row["wanted"]) for row in rows}


def _refuse_nobody(ask: Ask, found: Sequence[Any]) -> None:
    """Refuse to take labels that nobody has for a crew with nothing to do.

    Raises:
        Refused: labels were asked for and nothing was found.
    """
    labels = selection(ask.parsed).get("labels")
    if labels and not found:
        those = "none of these hands" if ask.parsed.names else "no hand"
        said = ", ".join(f"{key}={value}" for key, value in labels.items())
        raise Refused(f"{those} has {said}; see hiodctl list")


def _status(ask: Ask) -> int:
    from hiod.ctl import logs  # noqa: PLC0415 - only here and for logs

    replies = [ask.call("status", {"name": name}) for name in _wanted(ask)]
    if not replies:
        sys.stderr.write("hiodctl status: no hand is meant by that; see hiodctl list\n")
    if ask.parsed.json:
        for reply in replies:
            ask.say(render.figures.as_json(reply, ask.view))
        return 0
    for number, reply in enumerate(replies):
        tail = logs.tail(reply, ask.parsed.lines)
        ask.say(("\n" if number else "") + render.hand.status(reply, tail, ask.view))
    return 0


def _why(ask: Ask) -> int:
    reply = ask.call("why", selection(ask.parsed))
    _refuse_nobody(ask, reply["hands"])
    ask.show(reply, lambda: render.hand.why(reply, ask.view, _source))
    return 0


def _source(file: str, number: int) -> str:
    """Return a line of a program, read with the caller's own rights; nothing if that cannot be."""
    try:
        with open(file, encoding="utf-8", errors="replace") as text:  # noqa: PTH123 - pathlib is slow
            if stat.S_ISREG(os.fstat(text.fileno()).st_mode):
                return next(islice(text, number - 1, number), "").strip()
    except (OSError, ValueError):
        pass
    return ""


def _events(ask: Ask) -> int:
    asked: dict[str, Any] = selection(ask.parsed) | {"limit": max(ask.parsed.lines, 1)}
    if ask.parsed.since is not None:
        asked["since"] = ask.parsed.since
    reply = ask.call("events", asked)
    if ask.parsed.names and not reply["events"]:
        _wanted(ask)  # nothing is known of them: are they misspelt?
    for event in reply["events"] if ask.parsed.lines else ():
        _event(ask, event)
    if not ask.parsed.follow:
        return 0
    sys.stdout.flush()
    from hiod.ctl import following  # noqa: PLC0415 - only with --follow

    following.run(ask, int(reply["seq"]), lambda event: _event(ask, event))
    return 0


def _event(ask: Ask, event: dict[str, Any]) -> None:
    if ask.parsed.json:
        ask.say(json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n")
    else:
        ask.say(render.hand.event(event, ask.view) + "\n")


def _about(ask: Ask) -> int:
    reply = ask.call("about")
    ask.show(reply, lambda: render.boss.about(reply, ask.view))
    return 0


def _ping(ask: Ask) -> int:
    reply = ask.call("ping")
    ask.show(reply, lambda: f"a boss answers at {ask.client.path}\n")
    return 0


def _plan(ask: Ask) -> int:
    reply = ask.call("plan")
    ask.show(reply, lambda: render.changes.plan(reply, ask.view))
    return 1 if reply.get("problems") else 0


def _export(ask: Ask) -> int:
    reply = ask.call("export", selection(ask.parsed))
    _refuse_nobody(ask, reply["specs"])
    ask.show(reply, lambda: str(reply["text"]))
    return 0


def _logs(ask: Ask) -> int:
    from hiod.ctl import logs  # noqa: PLC0415 - only here and for status

    try:
        reply = ask.call("status", {"name": ask.parsed.name})
    except AdminError as ex:
        hands = _instances(ask) if ex.code == "NoSuchHand" else []
        if not hands:
            raise
        raise UsageError(
            f"hiodctl logs: {ask.parsed.name} is counted; which of {', '.join(hands)}?"
        ) from ex
    logs.show(reply, lines=ask.parsed.lines, follow=ask.parsed.follow, as_json=ask.parsed.json)
    return 0


def _instances(ask: Ask) -> list[str]:
    """Return the hands of a counted base."""
    rows = ask.call("list")["hands"]
    return [row["name"] for row in rows if row["spec"] == ask.parsed.name]


def _top(ask: Ask) -> int:
    from hiod.ctl import live  # noqa: PLC0415 - only this verb draws

    return live.run(ask)


def _check(parsed: argparse.Namespace) -> int:
    """Run ``hiod check``: the boss's own code judges, with the caller's rights."""
    import subprocess  # noqa: PLC0415 - only here

    if parsed.config_dir is not None and not os.path.isdir(parsed.config_dir):  # noqa: PTH112 - slow
        raise UsageError(f"hiodctl check: there is no directory {parsed.config_dir}")
    words = [sys.executable, "-m", "hiod", "check"]
    if parsed.user:
        words.append("--user")
    if parsed.config_dir:
        words += ["--config-dir", parsed.config_dir]
    if parsed.json:
        words.append("--json")
    sys.stdout.flush()
    code = subprocess.run(words, check=False).returncode  # noqa: S603 - our own interpreter, no shell
    return 0 if code == 0 else 1


# --------------------------------------------------------------------------- changing


def _waiting(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the request parameters that say how long the answer may take."""
    if parsed.wait is None:
        return {}
    return {"wait": parsed.wait, "timeout_s": parsed.timeout}


def _change(ask: Ask, method: str, asked: Mapping[str, Any]) -> int:
    """Ask for a change, print what came of it, and return the exit code."""
    named = asked.get("name") or asked.get("spec", {}).get("name")
    chosen = {"names": [named]} if named else asked
    reply = ask.wait_for(method, dict(asked) | _waiting(ask.parsed), chosen)
    if not named:
        _refuse_nobody(ask, reply["hands"])
    ask.show(reply, lambda: render.changes.outcomes(reply, ask.view))
    rows = reply.get("hands", ())
    if method in ("start", "restart") and any(_was_stopped(row, ask.parsed.wait) for row in rows):
        return 1
    return 1 if any(_went_wrong(row, ask.parsed.wait) for row in rows) else 0


def _was_stopped(row: Mapping[str, Any], wait: str | None) -> bool:
    """Whether somebody else has stopped or removed what was to be started."""
    return wait is not None and bool(row.get("state") == "stopped" or row.get("left"))


def _went_wrong(row: Mapping[str, Any], wait: str | None) -> bool:
    """Whether a hand is not, and will not be, where it was to go."""
    if wait == "gone":
        # Somebody else has started it again; the boss would not have answered before its end.
        return not row.get("left") and row.get("state") not in (*AT_REST, None)
    # One that had failed and has left the crew is where it was to go. One that waits still is so
    # in vain: the boss would not have answered.
    never = row.get("state") in ("failed", "waiting") and not row.get("left")
    return never and wait in ("ready", "done")


def _add(ask: Ask) -> int:
    from hiod.ctl import adding  # noqa: PLC0415 - only this verb reads specs

    text, directory = adding.read(ask.parsed.file)
    code = 0
    specs = adding.specs_from(ask.parsed, text, directory)
    for number, spec in enumerate(specs, 1):
        asked: dict[str, Any] = {"spec": spec}
        if ask.parsed.replace:
            asked["replace"] = True
        try:
            code = _change(ask, "add", asked) or code
        except (AdminError, NoAnswer) as ex:
            if isinstance(ex, AdminError) and ex.code == "BadSpec":  # of several, which?
                ex.parameters.setdefault("name", spec.get("name"))
            _left_alone(ask, "added", [str(one.get("name")) for one in specs[number:]])
            raise
    return code


def _remove(ask: Ask) -> int:
    return _change(ask, "remove", selection(ask.parsed))


def _start(ask: Ask) -> int:
    return _change(ask, "start", selection(ask.parsed))


def _stop(ask: Ask) -> int:
    return _change(ask, "stop", selection(ask.parsed))


def _restart(ask: Ask) -> int:
    if ask.parsed.rolling is None:
        return _change(ask, "restart", selection(ask.parsed))
    if ask.parsed.wait is None:
        raise UsageError("hiodctl restart: --rolling waits for each; --no-wait would not")
    began = _wanted(ask)
    left = list(began)
    if not left:
        ask.show({"hands": []}, lambda: render.changes.outcomes({"hands": []}, ask.view))
    while left:
        batch, left = left[: ask.parsed.rolling], left[ask.parsed.rolling :]
        try:
            code = _change(ask, "restart", {"names": batch})
        except (AdminError, NoAnswer):
            _left_alone(ask, "restarted", left)
            raise
        sys.stdout.flush()
        if code:
            _left_alone(ask, "restarted", left)
            return code
        if left:
            # Whom somebody has stopped or removed meanwhile is left to that.
            wanted = _wanted(ask)
            left = [name for name in left if wanted.get(name) in ("up", began[name])]
    return 0


def _left_alone(ask: Ask, done: str, names: list[str]) -> None:
    """Say who was not come to, when one of several went wrong."""
    if names:
        sys.stdout.flush()
        verb = ask.parsed.verb
        sys.stderr.write(f"hiodctl {verb}: ended there; not {done}: {', '.join(names)}\n")


def _scale(ask: Ask) -> int:
    return _change(ask, "scale", {"name": ask.parsed.name, "count": ask.parsed.count})


def _signal(ask: Ask) -> int:
    reply = ask.call("signal", selection(ask.parsed) | {"signal": _signal_name(ask.parsed.signal)})
    _refuse_nobody(ask, reply["hands"])
    return _reached(ask, reply, "signalled")


def _reached(ask: Ask, reply: Mapping[str, Any], done: str) -> int:
    """Say whom something reached; whom it did not is a refusal."""
    ask.show(reply, lambda: render.changes.reached(reply, done))
    return 0 if all(row.get("changed", True) for row in reply["hands"]) else 1


def _signal_name(text: str) -> str:
    if not text.isdecimal():
        return text.upper().removeprefix("SIG")
    import signal  # noqa: PLC0415 - only for numbers

    try:
        return signal.Signals(int(text)).name.removeprefix("SIG")
    except ValueError:
        raise UsageError(f"hiodctl signal: there is no signal {text}") from None


def _send(ask: Ask) -> int:
    text = sys.stdin.read() if ask.parsed.load == "-" else ask.parsed.load
    try:
        load = json.loads(text)
    except ValueError as ex:
        raise UsageError(f"hiodctl send: the load is not JSON: {ex}") from ex
    if not isinstance(load, dict):
        raise UsageError("hiodctl send: the load must be a JSON object, such as '{\"value\": 1}'")
    reply = ask.call("send", {"names": [ask.parsed.name], "tag": ask.parsed.tag, "load": load})
    return _reached(ask, reply, "sent")


def _apply(ask: Ask) -> int:
    try:
        reply = ask.wait_for("apply", _waiting(ask.parsed), {})
    except AdminError as ex:
        if ex.code == "BadSpec":
            ex.parameters["message"] = render.refusals.unusable(ex.parameters["problems"])
        raise
    ask.show(reply, lambda: render.changes.applied(reply, ask.view))
    return 1 if any(_went_wrong(row, ask.parsed.wait) for row in reply["hands"]) else 0


def _shutdown(ask: Ask) -> int:
    from hiod.ctl import progress  # noqa: PLC0415 - only for what waits

    reply = ask.call("shutdown", {"keep_hands": True} if ask.parsed.keep_hands else {})
    if ask.parsed.wait:
        with progress.shown(ask, {}):
            gone = ask.client.wait_closed(ask.parsed.timeout)
        if not gone:
            raise TimedOut(
                f"the boss is still there after {ask.parsed.timeout:g} s; it goes on ending"
            )
    done = "the boss has ended" if ask.parsed.wait else "the boss is ending"
    if ask.parsed.keep_hands:
        done += "; its hands live on"
    ask.show(reply, lambda: done + "\n")
    return 0


# --------------------------------------------------------------------------- waiting


def _wait(ask: Ask) -> int:
    """Wait for the hands to be where they were to go: told by events, judged by the list."""
    from hiod.ctl import progress  # noqa: PLC0415 - only for what waits

    goal, timeout_s = ask.parsed.goal, ask.parsed.timeout
    reply = _look(ask)
    if not _there(ask, reply):
        try:
            with progress.shown(ask, selection(ask.parsed)), Client(ask.client.path) as second:
                asked = {"since": reply["seq"]}
                for _ in second.call("subscribe", asked, more=True, within_s=timeout_s):
                    reply = _look(ask)
                    if _there(ask, reply):
                        break
        except NoAnswer as ex:
            late = [row for row in _awaited(ask, reply) if not _has_come(row, goal)]
            words = ", ".join(render.refusals.standing(row) for row in late)
            raise TimedOut(f"not {goal} within {timeout_s:g} s: {words}") from ex
    ask.show(reply, lambda: render.changes.waited(reply, _awaited(ask, reply), ask.view))
    return 0


def _look(ask: Ask) -> dict[str, Any]:
    goal = ask.parsed.goal
    try:
        reply = ask.call("list", selection(ask.parsed))
    except AdminError as ex:
        if ex.code == "NoSuchHand" and goal == "gone":
            return {"hands": [], "seq": 0}
        raise
    if goal != "gone":
        _refuse_nobody(ask, reply["hands"])
    return reply


def _awaited(ask: Ask, reply: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the hands to wait for.

    A glob or a label means all there are: those that nobody wants up do not hold up the others.
    One that is asked for by its name, or that is there alone, is waited for in earnest.
    """
    rows: list[dict[str, Any]] = reply["hands"]
    if ask.parsed.goal not in ("ready", "done"):
        return rows
    named = set(ask.parsed.names)
    up = [
        row
        for row in rows
        if row["state"] != "stopped" or row["wanted"] == "up" or named & {row["name"], row["spec"]}
    ]
    return up or rows


def _there(ask: Ask, reply: Mapping[str, Any]) -> bool:
    """Whether all hands have come to the goal.

    Raises:
        Refused: one of them never will by itself.
    """
    goal = ask.parsed.goal
    up, held = goal in ("ready", "done"), reply.get("held") or {}
    come = True
    for row in _awaited(ask, reply):
        name = row["name"]
        if up and row["state"] in ("failed", "stopped"):
            raise Refused(
                f"{name} is {row['state']} and stays so until started: hiodctl why {name}"
            )
        if up and name in held:
            raise Refused(
                f"{name} is waiting {held[name]} and will not start by itself: hiodctl why {name}"
            )
        come = come and _has_come(row, goal)
    return come


def _has_come(row: Mapping[str, Any], goal: str) -> bool:
    if goal == "ready":
        return row["state"] in THERE
    if goal == "done":
        return bool(row["state"] == "done")
    # Gone from the crew is judged by the list itself; a hand at rest is still in it.
    return goal == "stopped" and row["state"] in AT_REST


_VERBS: dict[str, Callable[[Ask], int]] = {
    "list": _list,
    "status": _status,
    "why": _why,
    "events": _events,
    "logs": _logs,
    "top": _top,
    "add": _add,
    "remove": _remove,
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "scale": _scale,
    "signal": _signal,
    "send": _send,
    "wait": _wait,
    "plan": _plan,
    "apply": _apply,
    "export": _export,
    "about": _about,
    "ping": _ping,
    "shutdown": _shutdown,
}
