"""The boss's side of the admin socket: what each method does.

Decides what a request means for the crew and when it is answered. Leaves who may ask to
``admin.server`` and the doing to the overseer. Invariant: a request is refused whole or recorded
whole; each changing one leaves one record of who asked for what and what came of it.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import platform
import signal
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hiod.admin import schema
from hiod.boss import explaining, views
from hiod.boss.explaining import stands
from hiod.boss.subscribers import Subscriber, Subscribers
from hiod.errors import AdminError, ConfigError
from hiod.rules import records as r
from hiod.rules import roster, specs
from hiod.rules.checking import Problem
from hiod.rules.policy import recent, satisfies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hiod.admin.server import Request
    from hiod.boss.config import Config
    from hiod.boss.overseer import Overseer
    from hiod.host.procs import Relative
    from hiod.rules.sandbox import Sandbox

CHANGES = frozenset(
    ["start", "stop", "restart", "signal", "send", "add", "remove", "scale", "apply", "shutdown"]
)
_PAUSED = frozenset({r.State.BACKOFF, r.State.FAILED})
DEATHS_SHOWN = 10


@dataclass
class _Wait:
    """A request that is answered when its hands have come where they were sent.

    Attributes:
        request: whom to answer.
        until: ready, done or gone.
        names: all it is about, in the order of the answer.
        hands: those still on their way, and whether the request changed anything of them.
        through: outcomes of those that are there.
        refused: why no process was made, by hand: those are not waited for.
        deadline: tyme.
        wrap: makes the reply from the outcomes.
    """

    request: Request
    until: str
    names: tuple[str, ...]
    hands: dict[str, bool]
    deadline: float
    wrap: Callable[[list[schema.Outcome]], schema.Record]
    through: dict[str, schema.Outcome] = field(default_factory=dict)
    refused: dict[str, r.Refused] = field(default_factory=dict)


class Desk:
    """Answers operators for one overseer.

    Args:
        boss: whose crew it is.
        read_config: reads the crew files as they are now; raises ConfigError.
        version: of hiod.
        sandbox: what the boss and its new hands run in.
    """

    def __init__(
        self,
        boss: Overseer,
        *,
        read_config: Callable[[], Config],
        version: str,
        sandbox: Sandbox,
    ) -> None:
        self._boss = boss
        self._sandbox = sandbox
        self._read_config = read_config
        self._version = version
        self._since = time.time()
        self._waits: list[_Wait] = []
        self._subscribers = Subscribers(boss.ledger)
        self.when_applying: Callable[[], None] = lambda: None
        self.figures: Callable[[], dict[str, Any]] = dict
        self.limits = schema.LimitFacts(
            request_bytes=0,
            nesting=0,
            connections=0,
            kept_for_admins=0,
            connections_per_uid=0,
            queued=0,
            unsent_bytes=0,
            message_s=0.0,
        )
        boss.after_turn.append(self._look)
        boss.deadlines.append(self._next_deadline)
        boss.deadlines.append(self._subscribers.next_at)

    # ------------------------------------------------------------------ the door

    def handle(self, request: Request) -> None:
        """Answer one request, now or later."""
        try:
            self._admit(request.method)
            getattr(self, f"_do_{request.method}")(request)
        except AdminError as error:
            if request.method in CHANGES:
                self._record(request, [], f"refused: {error.code}")
            request.fail(error)

    def _admit(self, method: str) -> None:
        """Refuse a change that cannot be recorded, or that comes too late."""
        boss = self._boss
        if method not in CHANGES or method == "shutdown":
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

    def _clock(self) -> views.Clock:
        return views.Clock(self._boss.now(), time.time())

    def _chosen(self, request: Request) -> tuple[str, ...]:
        """Return the hands a request names.

        Raises:
            AdminError: NoSuchHand, for the first name that means nobody.
        """
        names, unknown = roster.select(self._boss.roll, request.params.names, request.params.labels)
        if unknown:
            raise self._no_such(unknown[0])
        return names

    def _no_such(self, name: str) -> AdminError:
        known = [*self._boss.hands, *self._boss.membership.members]
        near = difflib.get_close_matches(name, dict.fromkeys(known), n=3, cutoff=0.6)
        return AdminError("NoSuchHand", name=name, near=near)

    # ------------------------------------------------------------------ reading

    def _do_ping(self, request: Request) -> None:
        request.reply()

    def _do_about(self, request: Request) -> None:
        boss = self._boss
        boss.outlook.look(boss.membership.members)
        states: dict[str, int] = {}
        for hand in boss.hands.values():
            states[str(hand.state)] = states.get(str(hand.state), 0) + 1
        state = "stopping" if boss.outcome else "running" if boss.settled else "settling"
        request.reply(
            schema.AboutReply(
                name=boss.name,
                version=self._version,
                python=platform.python_version(),
                pid=os.getpid(),
                since=views.iso(self._since),
                state=f"store refuses writes: {boss.ledger.fault}" if boss.ledger.fault else state,
                role=request.caller.role,
                limits=self.limits,
                hands=len(boss.hands),
                states=states,
                pending=boss.outlook.pending,
                files=boss.outlook.files,
                seq=boss.ledger.seq,
                runtime_dir=str(boss.around.places.runtime),
                state_dir=str(boss.around.places.state),
                config_dir=str(boss.around.places.config),
                launchers=self._launchers(),
                sandbox=self._sandbox.settings(),
                figures={**boss.ledger.tallies, **self.figures()},
            )
        )

    def _launchers(self) -> list[schema.LauncherFacts]:
        boss = self._boss
        alive = [name for name, hand in boss.hands.items() if hand.process is not None]
        parents = [boss.station(name).launcher for name in alive]
        return [
            schema.LauncherFacts(
                id=one.id,
                pid=one.pid,
                python=one.python,
                hands=parents.count(one),
                older=one.version not in {"", self._version},
            )
            for one in boss.processes.launchers
        ]

    def _do_list(self, request: Request) -> None:
        boss = self._boss
        names: Iterable[str] = boss.hands
        if request.params.names or request.params.labels:
            names = self._chosen(request)
        rows = self._rows(names)
        outlook = boss.outlook
        outlook.look(boss.membership.members)
        request.reply(
            schema.ListReply(
                hands=rows, seq=boss.ledger.seq, pending=outlook.pending, files=outlook.files
            )
        )

    def _rows(self, names: Iterable[str]) -> list[schema.Row]:
        """Return how hands stand."""
        boss = self._boss
        clock = self._clock()
        rows = []
        for name in names:
            boss.clinic.glance(name)
            rows.append(views.row(boss.hands[name], boss.station(name), clock, self._version))
        return rows

    def _one(self, name: str) -> r.Hand:
        hand = self._boss.hands.get(name)
        if hand is None:
            raise self._no_such(name)
        return hand

    def _do_status(self, request: Request) -> None:
        boss = self._boss
        hand = self._one(request.params.name)
        station = boss.station(hand.name)
        tree: list[Relative] = []
        if hand.name in boss.clinic.watch:
            boss.clinic.examine(hand.name)
            tree = boss.clinic.watch.tree(hand.name)
        member = boss.membership.members.get(roster.base_of(hand))
        request.reply(
            views.status(
                hand,
                station,
                self._clock(),
                version=self._version,
                clear=request.caller.role == "admin",
                tree=tree,
                deaths=boss.ledger.deaths(hand.name, limit=DEATHS_SHOWN),
                source=member.source if member is not None else roster.RUNTIME,
                log=boss.processes.order_for(hand)["log"],
            )
        )

    def _do_why(self, request: Request) -> None:
        boss = self._boss
        if request.params.names or request.params.labels:
            names = self._chosen(request)
        else:
            names = tuple(name for name, hand in boss.hands.items() if self._ails(hand))
        clock = self._clock()
        found = []
        for name in names:
            hand, station = boss.hands[name], boss.station(name)
            boss.clinic.examine(name)
            order = boss.processes.order_for(hand)
            deaths = [views.death(one) for one in boss.ledger.deaths(name, limit=1)]
            waiting = [
                other.name
                for other in boss.hands.values()
                if other.state is r.State.WAITING and roster.base_of(hand) in other.spec.after
            ]
            awaited = [
                other
                for other in boss.hands.values()
                if hand.state is r.State.WAITING
                and roster.base_of(other) in hand.spec.after
                and not satisfies(other)
            ]
            found.append(
                explaining.why(
                    hand,
                    station,
                    clock,
                    deaths=deaths,
                    waiting=waiting,
                    awaited=awaited,
                    cwd=order["cwd"],
                    log=order["log"],
                    sandbox=self._sandbox,
                )
            )
        request.reply(schema.WhyReply(hands=found))

    def _ails(self, hand: r.Hand) -> bool:
        """Say whether a person should be told of a hand that did not ask."""
        if hand.wanted is r.Wanted.DOWN:
            return hand.state is not r.State.STOPPED
        fine = {r.State.READY, r.State.RUNNING, r.State.DONE}
        # One that comes back each time is up whenever somebody looks.
        return hand.state not in fine or bool(recent(hand, self._boss.now()))

    def _do_events(self, request: Request) -> None:
        params = request.params
        wanted = self._wanted_events(params)
        kept = self._boss.ledger.events(
            since=params.since, limit=params.limit, names=params.events, hands=wanted
        )
        request.reply(
            schema.EventsReply(
                events=[views.event(one) for one in kept],
                seq=self._boss.ledger.seq,
                first=self._boss.ledger.first,
            )
        )

    def _wanted_events(self, params: Any) -> set[str] | None:
        """Return the hands whose events are asked for, gone ones too; None means all."""
        if not params.names and not params.labels:
            return None
        names, unknown = roster.select(self._boss.roll, params.names, params.labels)
        return {*names, *unknown}

    def _do_subscribe(self, request: Request) -> None:
        one = Subscriber(
            request,
            self._boss.ledger,
            hands=lambda: self._wanted_events(request.params),
            rows=lambda names: self._rows(
                [name for name in self._boss.hands if names is None or name in names]
            ),
        )
        self._subscribers.add(request, one, self._boss.now())

    def _do_plan(self, request: Request) -> None:
        try:
            config = self._read_config()
        except ConfigError as error:
            problems = [_problem(one) for one in error.problems]
            request.reply(schema.PlanReply(problems=problems))
            return
        changes = roster.plan(self._boss.roll, config.hands)
        request.reply(schema.PlanReply(changes=[self._change(one) for one in changes]))

    def _change(self, change: roster.Change) -> schema.Change:
        boss = self._boss
        had = boss.membership.members.get(change.name)
        hands = [hand.name for hand in roster.hands_of(boss.roll, change.name)]
        if change.member is None:
            return schema.Change(name=change.name, action="remove", how="stop", hands=hands)
        if had is None:
            new = [name for name, _ in specs.instances(change.member.spec)]
            return schema.Change(name=change.name, action="add", how="start", hands=new)
        ways = specs.diff(had.spec, change.member.spec)
        values = set(ways.values())
        how = "restart" if "restart" in values else "next" if "next" in values else "live"
        return schema.Change(
            name=change.name,
            action="change",
            how=how,  # type: ignore[arg-type]  # one of the three literals above
            keys=sorted(ways),
            hands=hands,
        )

    def _do_export(self, request: Request) -> None:
        boss = self._boss
        if request.params.names or request.params.labels:
            chosen = {roster.base_of(boss.hands[name]) for name in self._chosen(request)}
        else:
            chosen = set(boss.membership.members)
        found = [member.spec for name, member in boss.membership.members.items() if name in chosen]
        request.reply(
            schema.ExportReply(
                text=specs.crew_file(found), specs=[specs.dump_sparse(spec) for spec in found]
            )
        )

    # ------------------------------------------------------------------ changing

    def _do_start(self, request: Request) -> None:
        names = self._chosen(request)
        boss = self._boss
        self._refuse_leaving(names)
        event = r.StartAsked(self._by(request), time.time())
        changed = {}
        for name in names:
            hand = boss.hands[name]
            idle = hand.state in r.RESTING or hand.state is r.State.BACKOFF
            changed[name] = idle or hand.wanted is r.Wanted.DOWN
            if changed[name]:
                boss.feed(name, event)
        self._promise(request, changed)

    def _refuse_leaving(self, names: Sequence[str]) -> None:
        """Refuse to start what nobody's definition counts any more.

        Raises:
            AdminError: Conflict, for the first that is leaving the crew.
        """
        leaving = [name for name in names if self._boss.hands[name].leaving]
        if leaving:
            why = f"{leaving[0]} is leaving the crew; add it again when it is gone"
            raise conflict("leaving", why, leaving[0], leaving)

    def _do_stop(self, request: Request) -> None:
        names = self._chosen(request)
        boss = self._boss
        changed = {}
        for name in names:
            hand = boss.hands[name]
            changed[name] = hand.wanted is r.Wanted.UP or hand.state in r.LIVE
        event = r.StopAsked(self._by(request), time.time())
        boss.stop([name for name in names if changed[name]], event)
        self._promise(request, changed)

    def _do_restart(self, request: Request) -> None:
        names = self._chosen(request)
        boss = self._boss
        self._refuse_leaving(names)
        for name in names:
            boss.feed(name, r.RestartAsked(self._by(request)))
        self._promise(request, dict.fromkeys(names, True))

    def _do_signal(self, request: Request) -> None:
        names = self._chosen(request)
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
                state=_state(self._boss.hands[name]),
            )
            for name in names
        ]
        for outcome in outcomes:
            if outcome.changed is False:
                outcome.reason = "it has no process"
        self._done(request, outcomes, number.name)

    def _do_send(self, request: Request) -> None:
        names = self._chosen(request)
        boss = self._boss
        outcomes = []
        for name in names:
            hand = boss.hands[name]
            why = _deaf(hand)
            sent = not why and boss.switchboard.say_memo(
                name, request.params.tag, request.params.load
            )
            outcome = schema.Outcome(name=name, changed=sent, state=_state(hand))
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
            names = [hand.name for hand in roster.hands_of(boss.roll, spec.name)]
            self._promise(request, dict.fromkeys(names, False))
            return
        if had is not None and not params.replace:
            why = f'"{spec.name}" is another definition; give replace to put this in its place'
            raise conflict("exists", why, spec.name)
        leaving = [hand.name for hand in roster.hands_of(boss.roll, spec.name) if hand.leaving]
        if leaving:
            why = f"{leaving[0]} is still leaving the crew; try again when it is gone"
            raise conflict("leaving", why, spec.name, leaving)
        by = self._by(request)
        boss.membership.enlist(member, by=by)
        boss.membership.line_up()
        if had is not None:
            boss.membership.revise(had.spec, spec, by=by)
        names = [name for name, _ in specs.instances(spec)]
        self._promise(request, dict.fromkeys(names, True))

    def _do_remove(self, request: Request) -> None:
        boss = self._boss
        names = self._chosen(request)
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
            raise self._no_such(params.name)
        if had.spec.count is None:
            why = f'"{params.name}" is one hand without a number; give it count first'
            raise conflict("counted", why, params.name)
        member = replace(had, spec=replace(had.spec, count=params.count))
        before = {hand.name for hand in roster.hands_of(boss.roll, params.name)}
        by = self._by(request)
        new = boss.membership.enlist(member, by=by)
        boss.membership.line_up()
        boss.membership.revise(had.spec, member.spec, by=by)
        gone = [name for name in before if boss.hands[name].leaving]
        if gone:
            self._promise(request, dict.fromkeys(gone, True))
        else:
            self._promise(request, dict.fromkeys(new, True))

    def _do_apply(self, request: Request) -> None:
        boss = self._boss
        try:
            config = self._read_config()
        except ConfigError as error:
            raise AdminError("BadSpec", problems=error.problems) from error
        before = roster.plan(boss.roll, config.hands)
        shown = [self._change(one) for one in before]
        boss.config = config
        self.when_applying()
        there = set(boss.hands)
        boss.membership.apply(config.hands, by=self._by(request))
        boss.ledger.tell("config.reloaded", summary=f"{len(shown)} changed")
        restarted = {name for one in shown if one.how == "restart" for name in one.hands}
        going = request.params.wait == "gone"
        touched = {
            name: True
            for name, hand in boss.hands.items()
            if hand.leaving or (not going and (name not in there or name in restarted))
        }
        self._promise(
            request,
            touched,
            wrap=lambda outcomes: schema.ApplyReply(changes=shown, hands=outcomes),
        )

    def reload(self, by: str) -> None:
        """Apply the files without anybody waiting for it; broken ones change nothing."""
        boss = self._boss
        try:
            config = self._read_config()
        except ConfigError as error:
            boss.ledger.tell("config.broken", problems=str(error))
            return
        boss.config = config
        self.when_applying()
        changes = boss.membership.apply(config.hands, by=by)
        boss.ledger.tell("config.reloaded", summary=f"{len(changes)} changed")

    def _do_shutdown(self, request: Request) -> None:
        boss = self._boss
        keep = request.params.keep_hands
        self._record(request, [], "its hands live on" if keep else "stopping")
        boss.shut_down(keep=keep, why=f"shutdown by {self._by(request)}")
        request.reply(schema.ShutdownReply(hands=0 if keep else len(boss.hands)))

    # ------------------------------------------------------------------ answering

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
        params = request.params
        names = list(hands)
        outcome = ", ".join(name for name, changed in hands.items() if changed) or "nothing to do"
        self._record(request, names, outcome)
        deadline = self._boss.now() + (params.timeout_s if params.wait is not None else 0.0)
        wait = _Wait(request, params.wait or "", tuple(names), dict(hands), deadline, wrap)
        self._waits.append(wait)
        self._boss.wake()

    def _look(self, dirty: set[str]) -> None:
        """Answer those whose hands have come where they were sent, or whose time is up."""
        now = self._boss.now()
        self._subscribers.look(now)
        for wait in list(self._waits):
            if wait.request.gone and not wait.request.oneway:
                self._waits.remove(wait)
                continue
            self._progress(wait, dirty)
            self._note_refusals(wait)
            late = now >= wait.deadline
            if wait.refused and (late or wait.hands.keys() <= wait.refused.keys()):
                self._waits.remove(wait)
                self._unmade(wait)
            elif not wait.hands:
                self._waits.remove(wait)
                self._answer(wait)
            elif late:
                self._waits.remove(wait)
                self._late(wait)

    def _note_refusals(self, wait: _Wait) -> None:
        """Note whom it is no use to wait for: the machine will not make a hand's process."""
        if wait.until not in {"ready", "done"}:
            return
        for name in (*wait.hands, *wait.through):
            hand = self._boss.hands.get(name)
            paused = hand is not None and hand.state in _PAUSED
            refused = self._boss.station(name).refused if paused else None
            if refused is not None:
                wait.refused[name] = refused
            elif name in wait.through:
                wait.refused.pop(name, None)

    def _unmade(self, wait: _Wait) -> None:
        """Say for whom no process was made, and where the others stand."""
        name, refused = next(iter(wait.refused.items()))
        more = [f"{other}: {one.message}" for other, one in wait.refused.items()][1:]
        wait.request.fail(
            AdminError(
                "SpawnFailed",
                "; ".join([f"{name}: no process was made: {refused.message}", *more]),
                name=name,
                step=refused.step,
                errno=refused.errno,
                path=refused.path,
                hands=self._so_far(wait),
                changes=self._changes(wait),
            )
        )

    def _so_far(self, wait: _Wait) -> list[schema.Outcome]:
        """Return the outcomes of those that are there, and how the others stand."""
        hands = self._boss.hands
        return [
            wait.through[name]
            if name in wait.through
            else _outcome(hands[name], changed=wait.hands[name])
            for name in wait.names
        ]

    def _changes(self, wait: _Wait) -> list[schema.Change]:
        """Return what ``apply`` changed; nothing for other requests."""
        reply = wait.wrap([])
        return reply.changes if isinstance(reply, schema.ApplyReply) else []

    def _progress(self, wait: _Wait, dirty: set[str]) -> None:
        for name in list(wait.hands):
            outcome = self._arrived(wait, name)
            if outcome is None:
                continue
            del wait.hands[name]
            wait.through[name] = outcome
            if wait.request.more and wait.hands and name in dirty:
                wait.request.progress(schema.ChangeReply(hands=[outcome]))

    def _arrived(self, wait: _Wait, name: str) -> schema.Outcome | None:
        """Return the outcome of a hand that is where it was sent, or can no longer get there."""
        boss = self._boss
        hand = boss.hands.get(name)
        changed = wait.hands[name]
        if hand is None:
            left = boss.departed.get(name)
            return _gone(name, left, changed=changed)
        if not wait.until:
            return _outcome(hand, changed=changed)
        resting = roster.at_rest(hand)
        if wait.until == "gone":
            return _gone(name, hand, changed=changed) if resting and not hand.leaving else None
        if hand.next_spec is not None or boss.is_stopping(name):
            return None
        there = hand.state is r.State.DONE or (wait.until == "ready" and satisfies(hand))
        return _outcome(hand, changed=changed) if there or resting else None

    def _answer(self, wait: _Wait) -> None:
        wait.request.reply(wait.wrap([wait.through[name] for name in wait.names]))

    def _late(self, wait: _Wait) -> None:
        """Say that the time is up, how far it went and where the others stand."""
        first = self._boss.hands[next(iter(wait.hands))]
        wait.request.fail(
            AdminError(
                "Timeout",
                message=f"{first.name} is {stands(first)}: {first.reason}",
                state=str(first.state),
                hands=self._so_far(wait),
                changes=self._changes(wait),
            )
        )

    def is_applying(self) -> bool:
        """Say whether somebody waits for the crew files to be carried out."""
        return any(wait.request.method == "apply" for wait in self._waits)

    def _next_deadline(self) -> float:
        return min((wait.deadline for wait in self._waits), default=float("inf"))


def conflict(code: str, why: str, name: str | None = None, hands: Sequence[str] = ()) -> AdminError:
    """Return the refusal of what would break something that is."""
    error = AdminError("Conflict", why, name=name, hands=list(hands))
    error.parameters["code"] = code
    return error


def _deaf(hand: r.Hand) -> str:
    """Say why a memo to a hand would be read by nobody; empty if it may be."""
    if hand.state in r.RESTING:
        return f"it is {hand.state}"
    if hand.spec.command is not None and not hand.registered:
        return "it is a command that has not registered: it reads no memos"
    return ""


def _state(hand: r.Hand) -> Any:
    return str(hand.state)


def _outcome(hand: r.Hand, *, changed: bool) -> schema.Outcome:
    return schema.Outcome(
        name=hand.name,
        changed=changed,
        state=_state(hand),
        pid=hand.process.pid if hand.process else None,
        generation=hand.generation,
        reason=hand.reason,
    )


def _gone(name: str, hand: r.Hand | None, *, changed: bool) -> schema.Outcome:
    outcome = schema.Outcome(name=name, changed=changed)
    if hand is None:
        return outcome
    if hand.state not in r.LIVE:
        outcome.state = _state(hand)
    if hand.end is not None and hand.ended_by:
        outcome.how = hand.ended_by
        outcome.code = hand.end.code
        outcome.signal = hand.end.signal
        outcome.took_s = round(max(0.0, hand.since - hand.stop_asked_at), 3)
    return outcome


def _problem(problem: dict[str, Any]) -> schema.Problem:
    return schema.Problem(
        path=problem["path"],
        code=problem["code"],
        message=problem["message"],
        got=problem.get("got"),
    )


def _signal_number(text: str) -> signal.Signals | None:
    try:
        if text.isdecimal():
            return signal.Signals(int(text))
        name = text.upper().removeprefix("SIG")
        return signal.Signals[f"SIG{name}"]
    except (KeyError, ValueError):
        return None
