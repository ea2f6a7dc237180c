"""The boss's side of the admin socket: the methods that change something.

Decides what a request means for the crew. Leaves who may ask to ``admin.server``, looking to
``inquiries``, when it is answered to ``promises``, and the doing to the overseer. Invariant: a
request is refused whole or recorded whole; each changing one leaves one record of who asked for
what and what came of it.
"""

from __future__ import annotations

import fnmatch
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hiod.admin import schema
from hiod.boss.config import MAIN_FILE
from hiod.boss.promises import Promises, state_of
from hiod.errors import AdminError, ConfigError
from hiod.rules import records as r
from hiod.rules import roster, specs
from hiod.rules.checking import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hiod.admin.server import Request
    from hiod.boss.config import Config
    from hiod.boss.inquiries import Inquiries
    from hiod.boss.overseer import Overseer

CHANGES = frozenset(
    ["start", "stop", "restart", "signal", "send", "add", "remove", "scale", "apply", "shutdown"]
)


class Desk:
    """Answers operators for one boss.

    Attributes:
        when_applying: called when crew files begin to be carried out.

    Args:
        boss: whose crew it is.
        read_config: reads the crew files as they are now; raises ConfigError.
        inquiries: answers what changes nothing.
    """

    def __init__(
        self, boss: Overseer, *, read_config: Callable[[], Config], inquiries: Inquiries
    ) -> None:
        self._boss = boss
        self._read_config = read_config
        self._inquiries = inquiries
        self._promises = Promises(boss)
        self.when_applying: Callable[[], None] = lambda: None

    # ------------------------------------------------------------------ the door

    def handle(self, request: Request) -> None:
        """Answer one request, now or later."""
        try:
            if request.method not in CHANGES:
                self._inquiries.handle(request)
                return
            self._admit(request.method)
            getattr(self, f"_do_{request.method}")(request)
        except AdminError as error:
            if request.method in CHANGES:
                self._record(request, [], f"refused: {error.code}")
            request.fail(error)

    def _admit(self, method: str) -> None:
        """Refuse a change that cannot be recorded, or that comes too late."""
        boss = self._boss
        if method == "shutdown":
            return
        if boss.outcome is not None:
            raise AdminError("Unavailable", state="stopping", after_s=None)
        if boss.ledger.fault:
            boss.ledger.commit()  # there may be room again
        if boss.ledger.fault:
            raise AdminError("Unavailable", state=f"store: {boss.ledger.fault}", after_s=1.0)

    def _record(self, request: Request, names: Sequence[str], outcome: str) -> None:
        """Leave one record of a changing call."""
        caller = request.caller
        self._boss.ledger.tell(
            "admin.done",
            hand=names[0] if len(names) == 1 else None,
            hands=list(names) if len(names) != 1 else None,
            method=request.method,
            user=caller.user,
            uid=caller.uid,
            pid=caller.pid,
            outcome=outcome,
        )
        self._boss.wake()

    def _by(self, request: Request) -> str:
        return f"{request.caller.user} (uid {request.caller.uid}, pid {request.caller.pid})"

    # ------------------------------------------------------------------ changing

    def _do_start(self, request: Request) -> None:
        names = self._staying(request)
        boss = self._boss
        event = r.StartAsked(self._by(request), time.time())
        changed = {}
        for name in names:
            hand = boss.hands[name]
            idle = hand.state in r.RESTING or hand.state is r.State.BACKOFF
            changed[name] = idle or hand.wanted is r.Wanted.DOWN
            if changed[name]:
                boss.feed(name, event)
        self._promise(request, changed)

    def _staying(self, request: Request) -> tuple[str, ...]:
        """Return the hands a request names that are to stay: nobody's definition counts the others.

        Raises:
            AdminError: Conflict, for one that is leaving the crew and was named itself, or if all
                are leaving; NoSuchHand.
        """
        names = self._inquiries.chosen(request)
        leaving = [name for name in names if self._boss.hands[name].leaving]
        staying = tuple(name for name in names if name not in leaving)
        named = [name for name in leaving if name in request.params.names or not staying]
        if named:
            why = f"{named[0]} is leaving the crew; add it again when it is gone"
            if roster.successor(self._boss.roll, named[0]) is not None:
                why = f"{named[0]} is leaving, and another takes its name then; try again"
            raise conflict("leaving", why, named[0], named)
        return staying

    def _do_stop(self, request: Request) -> None:
        names = self._inquiries.chosen(request)
        boss = self._boss
        changed = {}
        for name in names:
            hand = boss.hands[name]
            changed[name] = hand.wanted is r.Wanted.UP or hand.state in r.LIVE
        event = r.StopAsked(self._by(request), time.time())
        boss.stop([name for name in names if changed[name]], event)
        self._promise(request, changed)

    def _do_restart(self, request: Request) -> None:
        names = self._staying(request)
        boss = self._boss
        for name in names:
            boss.feed(name, r.RestartAsked(self._by(request)))
        self._promise(request, dict.fromkeys(names, True))

    def _do_signal(self, request: Request) -> None:
        names = self._inquiries.chosen(request)
        number = _signal_number(request.params.signal)
        if number is None:
            raise schema.invalid(
                [
                    schema.Problem(
                        path="signal",
                        code="value",
                        message="must be a signal's name or number, as HUP or 1",
                        got=request.params.signal,
                    )
                ]
            )
        outcomes = [
            schema.Outcome(
                name=name,
                changed=self._boss.processes.signal(name, number),
                state=state_of(self._boss.hands[name]),
            )
            for name in names
        ]
        for outcome in outcomes:
            if outcome.changed is False:
                outcome.reason = "it has no process"
            else:
                self._boss.station(outcome.name).signalled[number] = self._by(request)
        self._done(request, outcomes, number.name)

    def _do_send(self, request: Request) -> None:
        names = self._inquiries.chosen(request)
        boss = self._boss
        outcomes = []
        for name in names:
            hand = boss.hands[name]
            why = _deaf(hand)
            sent = not why and boss.switchboard.say_memo(
                name, request.params.tag, request.params.load
            )
            outcome = schema.Outcome(name=name, changed=sent, state=state_of(hand))
            if not sent:
                outcome.reason = why or "its mailbox is full"
            outcomes.append(outcome)
        self._done(request, outcomes, request.params.tag)

    def _do_add(self, request: Request) -> None:
        boss = self._boss
        params = request.params
        spec, problems = specs.parse(params.spec, defaults=boss.config.defaults)
        if spec is not None:
            others = [
                member.spec for name, member in boss.membership.members.items() if name != spec.name
            ]
            problems = specs.check_crew([*others, spec])
            if (why := boss.around.places.too_long(spec)) is not None:
                problems.append(Problem("spec.name", "too_long", why))
        if spec is None or problems:
            raise AdminError("BadSpec", problems=[one.asdict() for one in problems])
        had = boss.membership.members.get(spec.name)
        member = roster.Member(spec, roster.RUNTIME)
        if had is not None and had.spec == spec:
            there = [hand.name for hand in roster.hands_of(boss.roll, spec.name)]
            self._promise(request, dict.fromkeys(there, False))
            return
        if had is not None and not params.replace:
            why = f'"{spec.name}" is another definition; give replace to put this in its place'
            raise conflict("exists", why, spec.name)
        names = [name for name, _ in specs.instances(spec)]
        leaving = [name for name in names if name in boss.hands and boss.hands[name].leaving]
        if leaving:
            why = f"{leaving[0]} is still leaving the crew; try again when it is gone"
            raise conflict("leaving", why, spec.name, leaving)
        boss.membership.enlist(member, by=self._by(request))
        boss.membership.line_up()
        self._promise(request, dict.fromkeys(names, True))

    def _do_remove(self, request: Request) -> None:
        boss = self._boss
        names = self._inquiries.chosen(request)
        bases = dict.fromkeys(roster.base_of(boss.hands[name]) for name in names)
        empty = [name for name in self._empty(request.params) if name not in bases]
        bases.update(dict.fromkeys(empty))
        for base in bases:
            mine = [hand.name for hand in roster.hands_of(boss.roll, base)]
            kept = [name for name in mine if name not in names]
            if kept:
                why = f'"{base}" is counted: remove it whole, or use scale'
                raise conflict("counted", why, base, kept)
            needed = [one for one in roster.dependents(boss.roll, base) if one not in bases]
            if needed:
                why = f'"{base}" is named in after of {", ".join(needed)}'
                raise conflict("needed", why, base, needed)
        for base in bases:
            boss.membership.dismiss(base, by=self._by(request))
        self._promise(request, dict.fromkeys((*names, *empty), True))

    def _empty(self, params: Any) -> list[str]:
        """Return the definitions that are meant and have no hands: their count is 0."""
        return [
            name
            for name, member in self._boss.membership.members.items()
            if member.spec.count == 0
            and (not params.names or any(fnmatch.fnmatchcase(name, one) for one in params.names))
            and params.labels.items() <= dict(member.spec.labels).items()
        ]

    def _do_scale(self, request: Request) -> None:
        boss = self._boss
        params = request.params
        had = boss.membership.members.get(params.name)
        if had is None:
            raise self._inquiries.no_such(params.name)
        if had.spec.count is None:
            why = f'"{params.name}" is one hand without a number; give it count first'
            raise conflict("counted", why, params.name)
        member = replace(had, spec=replace(had.spec, count=params.count))
        there = roster.hands_of(boss.roll, params.name)
        new = boss.membership.enlist(member, by=self._by(request))
        boss.membership.line_up()
        gone = [hand.name for hand in there if boss.hands[hand.name].leaving]
        # Those that still leave since an earlier call are not what this one waits for to be ready.
        awaited = new if new and params.wait != "gone" else gone
        self._promise(request, dict.fromkeys(awaited, True))

    def _do_apply(self, request: Request) -> None:
        boss = self._boss
        try:
            config = self._read_config()
        except ConfigError as error:
            raise AdminError("BadSpec", problems=error.problems) from error
        shown = self._inquiries.changes(config)
        self._take(config)
        there = {name: hand.leaving for name, hand in boss.hands.items()}
        boss.membership.apply(config.hands, by=self._by(request))
        boss.ledger.tell("config.reloaded", summary=_summary(shown))
        changed = {name for one in shown if one.how == "restart" for name in one.hands}
        coming = {
            name
            for name, hand in boss.hands.items()
            if there.get(name, True) or (name in changed and roster.restarts(hand))
        }
        going = request.params.wait == "gone"
        touched = {
            name: True
            for name, hand in boss.hands.items()
            if hand.leaving or (not going and name in coming)
        }
        self._promise(
            request,
            touched,
            wrap=lambda outcomes: schema.ApplyReply(changes=shown, hands=outcomes),
        )

    def reload(self, by: str) -> None:
        """Apply the files without anybody waiting for it; broken ones change nothing."""
        boss = self._boss
        if boss.outcome is not None:
            return  # it is ending, and the next one reads them
        try:
            config = self._read_config()
        except ConfigError as error:
            boss.ledger.tell("config.broken", problems=str(error))
            return
        shown = self._inquiries.changes(config)
        self._take(config)
        boss.membership.apply(config.hands, by=by)
        boss.ledger.tell("config.reloaded", summary=_summary(shown))

    def _take(self, config: Config) -> None:
        """Go by what the files say from now on; how this boss runs stays as it began."""
        boss = self._boss
        boss.config = replace(config, boss=boss.config.boss)
        self.when_applying()

    def _do_shutdown(self, request: Request) -> None:
        boss = self._boss
        keep = request.params.keep_hands
        if keep and boss.outcome == "stop":
            raise AdminError("Unavailable", state="stopping its hands already", after_s=None)
        self._record(request, [], "its hands live on" if keep else "stopping")
        boss.shut_down(keep=keep, why=f"shutdown by {self._by(request)}")
        request.reply(schema.ShutdownReply(hands=0 if keep else len(boss.hands)))

    # ------------------------------------------------------------------ answering

    def is_applying(self) -> bool:
        """Say whether somebody waits for the crew files to be carried out."""
        return self._promises.is_open("apply")

    def _done(self, request: Request, outcomes: list[schema.Outcome], what: str) -> None:
        reached = ", ".join(one.name for one in outcomes if one.changed is True)
        self._record(request, [one.name for one in outcomes], f"{what} to {reached or 'nobody'}")
        request.reply(schema.ChangeReply(hands=outcomes))

    def _promise(
        self,
        request: Request,
        hands: dict[str, bool],
        wrap: Callable[[list[schema.Outcome]], schema.Record] = lambda outcomes: schema.ChangeReply(
            hands=outcomes
        ),
    ) -> None:
        """Answer once recorded, or when the hands are where the caller waits for them to be."""
        outcome = ", ".join(name for name, changed in hands.items() if changed) or "nothing to do"
        self._record(request, list(hands), outcome)
        self._promises.make(request, hands, wrap)


def conflict(code: str, why: str, name: str | None = None, hands: Sequence[str] = ()) -> AdminError:
    """Return the refusal of what would break something that is."""
    error = AdminError("Conflict", why, name=name, hands=list(hands))
    error.parameters["code"] = code
    return error


def _summary(changes: Sequence[schema.Change]) -> str:
    """Say how much was changed; what waits for the next boss was not."""
    made = [one for one in changes if (one.name, one.how) != (MAIN_FILE, "next")]
    return f"{len(made)} changed"


def _deaf(hand: r.Hand) -> str:
    """Say why a memo to a hand would be read by nobody; empty if it may be."""
    if hand.state in r.RESTING:
        return f"it is {hand.state}"
    if hand.spec.command is not None and not hand.registered:
        return "it is a command that has not registered: it reads no memos"
    return ""


def _signal_number(text: str) -> signal.Signals | None:
    try:
        if text.isdecimal():
            return signal.Signals(int(text))
        name = text.upper().removeprefix("SIG")
        return signal.Signals[f"SIG{name}"]
    except (KeyError, ValueError):
        return None
