"""Inquiries: the methods that only look, and how those that change find whom they mean.

Decides nothing: what it shows is made by ``views`` and ``explaining``. Invariant: nothing here
changes the crew or leaves a record.
"""

from __future__ import annotations

import difflib
import math
import os
import platform
import time
from typing import TYPE_CHECKING, Any

from hiod.admin import schema
from hiod.boss import explaining, views
from hiod.boss.config import MAIN_FILE, main_changes
from hiod.boss.ledger import reading
from hiod.boss.subscribers import Subscriber, Subscribers
from hiod.errors import AdminError, ConfigError
from hiod.rules import records as r
from hiod.rules import roster, specs
from hiod.rules.forecast import forecast
from hiod.rules.policy import recent, satisfies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hiod.admin.server import Request
    from hiod.boss.config import Config
    from hiod.boss.overseer import Overseer
    from hiod.boss.stations import Station
    from hiod.host.procs import Relative
    from hiod.host.store import SavedEvent
    from hiod.rules.sandbox import Sandbox

DEATHS_SHOWN = 10
"""So many of a hand's deaths are shown."""
EVENTS_A_TURN = 200
"""So many of an answer are made before others have their turn."""
CLOCK_SET_S = 0.01
"""Wall time that is off by more was set."""


class _Telling:
    """An answer of many events, made a piece a turn: hands are not to wait for it."""

    def __init__(
        self, request: Request, kept: list[SavedEvent], around: schema.EventsReply
    ) -> None:
        self._request = request
        self._kept = kept
        self._around = around
        self._texts: list[bytes] = []

    def go_on(self) -> bool:
        """Make the next piece; say whether it was answered, or nobody waits for it any more."""
        done = len(self._texts)
        piece = self._kept[done : done + EVENTS_A_TURN]
        self._texts += [views.event_text(one) for one in piece]
        if self._request.gone:
            return True
        if len(self._texts) < len(self._kept):
            return False
        self._request.reply(views.spliced(self._around, "events", self._texts))
        return True


class Inquiries:
    """Shows operators the crew of one boss.

    Attributes:
        limits: of the admin socket, for ``about``.
        figures: says what the admin socket has counted.

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
        self._offset = 0.0  # of wall time
        self._subscribers = Subscribers(boss.ledger)
        self._tellings: list[_Telling] = []
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
        boss.after_turn.append(lambda _changed: self._subscribers.look(boss.now()))
        boss.after_turn.append(lambda _changed: self._tell_on())
        boss.deadlines.append(self._subscribers.next_at)
        boss.deadlines.append(lambda: boss.now() if self._tellings else math.inf)

    def handle(self, request: Request) -> None:
        """Answer one request.

        Raises:
            AdminError: what it asks for is not there, or cannot be read.
        """
        with reading():
            getattr(self, f"_do_{request.method}")(request)

    # ------------------------------------------------------------------ who is meant

    def chosen(self, request: Request) -> tuple[str, ...]:
        """Return the hands a request names.

        Raises:
            AdminError: NoSuchHand, for the first name that means nobody.
        """
        names, unknown = roster.select(self._boss.roll, request.params.names, request.params.labels)
        if unknown:
            raise self.no_such(unknown[0])
        return names

    def no_such(self, name: str) -> AdminError:
        """Return the refusal of a name that means nobody, with those it may have been meant for."""
        known = [*self._boss.hands, *self._boss.membership.members]
        near = difflib.get_close_matches(name, dict.fromkeys(known), n=3, cutoff=0.6)
        return AdminError("NoSuchHand", name=name, near=near)

    # ------------------------------------------------------------------ the crew and the boss

    def _clock(self) -> views.Clock:
        # Tyme follows the monotonic clock, in steps; only one who sets the clock parts it from wall
        # time. What happened once must read the same whenever it is asked for.
        offset = time.time() - time.monotonic()
        if abs(offset - self._offset) > CLOCK_SET_S:
            self._offset = offset
        return views.Clock(self._boss.now(), self._offset)

    def _do_ping(self, request: Request) -> None:
        request.reply()

    def _do_about(self, request: Request) -> None:
        boss = self._boss
        boss.outlook.look(boss.membership.members, boss.config)
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
                **views.ages(one, self._version),
            )
            for one in boss.processes.launchers
        ]

    def _do_list(self, request: Request) -> None:
        boss = self._boss
        names: Iterable[str] = boss.hands
        if request.params.names or request.params.labels:
            names = self.chosen(request)
        held = roster.held(boss.roll)
        rows = [views.row_text(*each) for each in self._standing(names)]
        outlook = boss.outlook
        outlook.look(boss.membership.members, boss.config)
        request.reply(
            views.spliced(
                schema.ListReply(
                    hands=[],
                    seq=boss.ledger.seq,
                    pending=outlook.pending,
                    files=outlook.files,
                    held={name: held[name] for name in names if name in held} if held else {},
                ),
                "hands",
                rows,
            )
        )

    def _standing(self, names: Iterable[str]) -> Iterator[tuple[r.Hand, Station, views.Clock, str]]:
        """Give what shows how hands stand."""
        boss = self._boss
        clock = self._clock()
        for name in names:
            boss.clinic.glance(name)
            yield boss.hands[name], boss.station(name), clock, self._version

    def _one(self, name: str) -> r.Hand:
        hand = self._boss.hands.get(name)
        if hand is None:
            raise self.no_such(name)
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
                mail=boss.has_mail(hand.name),
            )
        )

    def _do_why(self, request: Request) -> None:
        boss = self._boss
        if request.params.names or request.params.labels:
            names = self.chosen(request)
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
                    mail=boss.has_mail(name),
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
        around = schema.EventsReply(
            events=[], seq=self._boss.ledger.seq, first=self._boss.ledger.first
        )
        telling = _Telling(request, kept, around)
        if not telling.go_on():
            self._tellings.append(telling)
            self._boss.wake()

    def _tell_on(self) -> None:
        """Go on with answers that are too long for one turn."""
        self._tellings = [one for one in self._tellings if not one.go_on()]

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
            rows=lambda names: [
                views.row(*each)
                for each in self._standing(
                    [name for name in self._boss.hands if names is None or name in names]
                )
            ],
        )
        self._subscribers.add(request, one, self._boss.now())

    def _do_plan(self, request: Request) -> None:
        try:
            config = self._read_config()
        except ConfigError as error:
            problems = [_problem(one) for one in error.problems]
            request.reply(schema.PlanReply(problems=problems))
            return
        request.reply(schema.PlanReply(changes=self.changes(config)))

    def changes(self, config: Config) -> list[schema.Change]:
        """Return what would come of applying the files, a definition or table each."""
        boss = self._boss
        told = [
            schema.Change(
                name=MAIN_FILE,
                action="change",
                how=one.how,
                keys=list(one.keys),
                message=one.message,
            )
            for one in main_changes(boss.config, config)
        ]
        for change in roster.plan(boss.roll, config.hands):
            seen = forecast(boss.roll, change)
            told.append(
                schema.Change(
                    name=change.name,
                    action=change.kind,  # type: ignore[arg-type]  # one of three literals
                    how=seen.how,  # type: ignore[arg-type]  # one of five literals
                    keys=list(seen.keys),
                    hands=list(seen.hands),
                    message=seen.message,
                )
            )
        return told

    def _do_export(self, request: Request) -> None:
        boss = self._boss
        if request.params.names or request.params.labels:
            chosen = {roster.base_of(boss.hands[name]) for name in self.chosen(request)}
        else:
            chosen = set(boss.membership.members)
        found = [member.spec for name, member in boss.membership.members.items() if name in chosen]
        beneath = boss.config.defaults
        request.reply(
            schema.ExportReply(
                text=specs.crew_file(found, beneath),
                specs=[specs.dump_sparse(spec, beneath) for spec in found],
            )
        )


def _problem(problem: dict[str, Any]) -> schema.Problem:
    return schema.Problem(
        path=problem["path"],
        code=problem["code"],
        message=problem["message"],
        got=problem.get("got"),
    )
