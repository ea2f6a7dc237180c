"""The boss: gathers what happened, asks the rules, does what they say.

Decides nothing about a hand itself: every event goes through ``rules.policy``, every question of
order through ``rules.roster``. Its parts speak to it through ``feed``, ``put``, ``note`` and
``stop``: ``processes`` and ``switchboard`` hear and tell, ``clinic`` and ``readiness`` watch,
``membership`` changes the crew, ``adopting`` begins. What must be done is written down first, in
one transaction a turn, then done. Invariant: this process never imports user code, and nothing a
peer sends raises out of ``recur``.
"""

from __future__ import annotations

import heapq
import math
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hiod.base.crewing import CONTROL, tagOf
from hiod.base.multidoing import Bosser, MultiDoerBase
from hiod.boss import adopting, places
from hiod.boss.clinic import UP, Clinic
from hiod.boss.doors import Doors
from hiod.boss.membership import Membership
from hiod.boss.processes import Processes
from hiod.boss.readiness import Readiness
from hiod.boss.stations import Numbers, Station
from hiod.boss.switchboard import Switchboard
from hiod.core.uxd.peermemoing import PeerMemoer
from hiod.errors import LauncherError, SpawnError
from hiod.host import procs
from hiod.rules import policy, roster
from hiod.rules import records as r

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hiod.boss.config import Config
    from hiod.boss.ledger import Ledger
    from hiod.boss.mailroom import Mailroom
    from hiod.boss.outlook import Outlook
    from hiod.boss.places import Locks, Places
    from hiod.boss.survey import Survey
    from hiod.host.groups import Groups
    from hiod.host.notify import Notify

STORE_AGAIN_S = 1.0
"""How often a disk that refuses is tried again when nothing else happens."""
TURN_ROUNDS = 64
"""Rounds of events and their consequences in one turn; what is left waits for the next."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a boss is given of the machine.

    Attributes:
        places: its directories.
        memo_fd: its bound memo socket.
        nofile: the descriptor limit it was given, which its hands are to have.
        log_default: where hands log that do not say: journal, inherit or file.
        crew_id: the mark of this crew, part of every token.
        notify: the service manager.
        groups: control groups for hands, where there are any.
        locks: those that admit one boss to them.
        signals: those that came before the boss could hear them.
    """

    places: Places
    locks: Locks
    memo_fd: int
    nofile: tuple[int, int]
    log_default: str
    crew_id: str
    notify: Notify
    groups: Groups
    signals: list[int] = field(default_factory=list)


class Overseer(Bosser):
    """A Bosser that keeps a crew by rules, through launchers, over its own death.

    Attributes:
        membership: the wanted crew; processes: what runs of it.
        hands: the actual crew: hands by name; departed are those that left in this turn.
        stations: what is known of each hand beyond the rules.
        outcome: how the boss ends: None while it runs, ``stop`` or ``keep``.
        settled: restart policies are on; ready: every hand that could be started was.
        outlook: what applying the crew files would change.
        after_turn: called with the names of the hands that changed.
        deadlines: say by when somebody wants another turn.
    """

    Signals: ClassVar[tuple[signal.Signals, ...]] = (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGUSR1,
    )

    def __init__(
        self,
        *,
        around: Surroundings,
        ledger: Ledger,
        config: Config,
        survey: Survey,
        mailroom: Mailroom,
        outlook: Outlook,
        **kwa: Any,
    ) -> None:
        super().__init__(name=config.boss.name, fd=around.memo_fd, tock=math.inf, **kwa)
        self.around = around
        self.ledger = ledger
        self.config = config
        self.outlook = outlook
        self.hands: dict[str, r.Hand] = {}
        self.departed: dict[str, r.Hand] = {}
        self.stations: dict[str, Station] = {}
        self._numbers = Numbers()
        self.outcome: str | None = None
        self.settled = self.ready = False
        self.when_ready: Callable[[], None] = lambda: None
        self.on_reload: Callable[[str], None] = lambda _by: None
        self.after_turn: list[Callable[[set[str]], None]] = []
        self.deadlines: list[Callable[[], float]] = []
        self.membership = Membership(self)
        self.clinic = Clinic(self, procs.Watch())
        self.switchboard = Switchboard(self)
        self.readiness = Readiness(self, around.places.mailboxes)
        self.deadlines += [self.readiness.next_at, self.switchboard.next_at]
        self.processes = Processes(
            self,
            mailroom,
            lambda: {"boss": self.memo_fd, **mailroom.fds(), **self.readiness.held()},
        )
        self.doors = Doors(self, mailroom)
        self.deadlines += [self.processes.next_at, self.doors.next_at]
        self._survey = survey
        self._mailroom = mailroom
        self._events: list[tuple[str, r.Event]] = []
        self._actions: list[r.Action] = []
        self._dirty: set[str] = set()
        self._changed: set[str] = set()
        self._stops: dict[str, r.StopAsked] = {}
        self._unmade: set[str] = set()  # before READY: refused once, and not waited for again
        self._late: list[str] = []  # spawned in this turn: their REG may have come before the news
        self._alarms: list[tuple[float, str]] = []
        self._signalled = around.signals
        self._settle_at = math.inf
        self._expected_at = math.inf
        self._order_new = True
        self._turning = False  # what happens within a turn is seen to by the turn

    # ------------------------------------------------------------------ what it is made of

    @property
    def roll(self) -> roster.Crew:
        """The wanted and the actual crew, as the roster reads them."""
        return roster.Crew(self.membership.members, self.hands)

    def fds(self) -> tuple[int, ...]:
        """Await memos, what launchers and programs say, ends of orphans, and lost doors."""
        return (*super().fds(), *self.processes.fds(), self.readiness.fileno(), *self.doors.fds())

    @property
    def memo_fd(self) -> int:
        """Its memo socket, as it is now."""
        return self.around.memo_fd if self.ls is None else self.ls.fileno()

    def rebind(self, fd: int) -> None:
        """Go on with another memo socket, bound at the same path; every launcher holds it then."""
        unread = select.poll()
        unread.register(self.memo_fd, select.POLLIN)
        while unread.poll(0):
            self.service()
        self.inherit(fd)
        for launcher in self.processes.launchers:
            with suppress(LauncherError):
                launcher.hold("boss", fd)

    def has_mail(self, name: str) -> bool | None:
        """Say whether memos wait in a hand's mailbox; None when that cannot be told."""
        return self._mailroom.has_mail(name)

    def station(self, name: str) -> Station:
        """Return what is known of a hand beyond the rules."""
        found = self.stations.get(name)
        if found is None:
            addr, place = self._mailroom.path(name), self._numbers.take()
            found = self.stations[name] = Station(addr, place)
            self.switchboard.list_addr(name, found.addr)
        return found

    def token_of(self, hand: r.Hand) -> str:
        """Return the mark of a hand's present incarnation."""
        return r.token_of(self.around.crew_id, hand.name, hand.generation)

    # ------------------------------------------------------------------ life

    def enter(self, *, temp: bool | None = None) -> None:
        """Go on with what the survey found; at a cold start, make the crew what the files say."""
        MultiDoerBase.enter(self, temp=temp)
        self._open(temp)
        found = self._survey
        self.membership.members.update(found.members)
        self.ledger.know({name: hand for name, (hand, _) in found.hands.items()})
        for launcher in found.launchers:
            self.processes.launchers.have(launcher)
        self.readiness.take(found.mailboxes)
        for name, fd in found.mailboxes.items():
            self._mailroom.take(name, fd)
        mode = "a fresh start" if found.cold else "adopting"
        self.ledger.tell("boss.started", version=found.version, pid=os.getpid(), mode=mode)
        for event, facts in found.notes:
            self.ledger.tell(event, **facts)
        self.processes.seek()
        told_ends = adopting.adopt(self, found)
        if found.cold:
            rested = {name for name, hand in self.hands.items() if hand.state in r.RESTING}
            self._decide()
            adopting.begin(self, rested, told_ends)
        self._settle_at = self.now() + (0.0 if found.cold else self.config.boss.settle_s)
        self.wake()

    def force(self, signum: int | None = None, frame: Any = None) -> None:
        """Take note of a signal and wake; the turn does the rest."""
        del frame
        if signum is not None:
            self._signalled.append(signum)
        self.wake()

    def recur(self, tyme: float) -> bool:
        """Take one turn: gather, decide, write down, do."""
        self._turning = True
        self.clinic.excuse(tyme - self._expected_at)
        # What a hand said before it ended comes before its end.
        self.readiness.hear()
        self.processes.hear()
        self.service()
        self._hear_signals()
        self._hear_alarms()
        self.doors.look()
        self.clinic.round()
        for _ in range(TURN_ROUNDS):
            self._decide()
            self._commit()
            self._perform()
            if not self._events:
                break
        self._turning = False
        self.processes.tidy()
        self.switchboard.greet_more()
        if self.outcome is None:
            self.switchboard.send_book()
        self._settle()
        self.serviceAllTx()
        changed, self._changed = self._changed, set()
        for hook in self.after_turn:
            hook(changed)
        self.departed.clear()
        self._expected_at = self._next_at()
        self.wake(at=self._expected_at)
        return self._finished()

    def exit(self) -> None:
        """Let go of everything; the hands, if any, live on."""
        stopped = self.outcome == "stop"
        self.doors.close()
        self.readiness.close(stopped=stopped)
        self.processes.close(retire=stopped)
        if stopped:
            for name in list(self.hands):
                self._drop_mailbox(name)
            self.clear(self.around.places.boss_socket)
        how = "all hands have ended" if stopped else "its hands live on"
        if self.ledger.fault:
            how += f", which is not on record: {self.ledger.fault}"
        self.ledger.tell("boss.stopped", how=how)
        self.ledger.commit()
        for station in self.stations.values():
            station.close()
        self._mailroom.close()
        MultiDoerBase.exit(self)
        self.close()

    def _finished(self) -> bool:
        if self.outcome == "keep":
            return True
        return self.outcome == "stop" and all(
            hand.process is None and hand.state not in r.LIVE for hand in self.hands.values()
        )

    def _next_at(self) -> float:
        """Say by when the next turn is due."""
        if self._events or self._signalled:
            return self.now()
        first = self._alarms[0][0] if self._alarms else math.inf
        settle = math.inf if self.settled else self._settle_at
        again = self.now() + STORE_AGAIN_S if self.ledger.fault else math.inf
        others = [again, *(deadline() for deadline in self.deadlines)]
        return min(first, settle, self.clinic.next_at(self.now()), self.dueAt(), *others)

    # ------------------------------------------------------------------ gather

    def _hear_signals(self) -> None:
        while self._signalled:
            number = self._signalled.pop(0)
            if number == signal.SIGUSR1:
                self.shut_down(keep=True, why="SIGUSR1")
            elif number == signal.SIGHUP:
                self.on_reload("SIGHUP")
            else:
                self.shut_down(keep=False, why=signal.Signals(number).name)

    def _hear_alarms(self) -> None:
        now = self.now()
        while self._alarms and self._alarms[0][0] <= now:
            at, name = heapq.heappop(self._alarms)
            hand = self.hands.get(name)
            if hand is not None and hand.wake_at == at:
                self._events.append((name, r.TimeCame(self.processes.has_ended(name))))

    def serviceRxMemos(self) -> None:
        """Take in what hands say."""
        while self.rxms:
            rx = self.rxms.popleft()
            self.switchboard.hear(rx[0], rx[1], rx.cred)

    def post(self, text: str, addr: str, *, key: str | None = None) -> bool:
        """Queue a memo; it leaves at the end of the turn. False when there is no room."""
        return PeerMemoer.memoit(self, text, addr, key=key)

    def onDead(self, memo: str | None, dst: str, reason: str) -> None:
        """Count a memo that somebody had the boss send and that could not be delivered.

        What the boss says itself it says again, or does without.
        """
        if memo is not None and tagOf(memo) in CONTROL:
            return
        self.ledger.count("memos.dead")
        hand = self.switchboard.name_of(dst) or dst
        self.ledger.tell("hand.dead_letters", hand=hand, count=1, why=reason)

    def onDrop(self, reason: str, src: Any, cred: Any) -> None:
        """Count what came on the memo socket and is no memo."""
        del cred
        self.switchboard.reject(src, f"no memo: {reason}")

    # ------------------------------------------------------------------ decide

    def feed(self, name: str, event: r.Event) -> None:
        """Let something happen to a hand in this turn."""
        self._events.append((name, event))
        if not self._turning:
            self.wake()

    def put(self, hand: r.Hand) -> None:
        """Take a hand into the crew, or how it is now; it is written down at the turn's end."""
        before = self.hands.get(hand.name)
        self.hands[hand.name] = hand
        self._dirty.add(hand.name)
        if hand.wake_at < math.inf and (before is None or before.wake_at != hand.wake_at):
            heapq.heappush(self._alarms, (hand.wake_at, hand.name))

    def note(self, event: str, name: str, **facts: Any) -> None:
        """Have something told of a hand, after what was told of it before."""
        self._actions.append(r.Note(event, name, facts))

    def order_soon(self) -> None:
        """Have the order of starts and stops looked at: something of it may be new."""
        self._order_new = True
        if not self._turning:
            self.wake()

    def said(self, name: str, text: str) -> None:
        """Take note of what a hand says of itself."""
        hand = self.hands[name]
        if text != hand.status:
            self.put(policy.said(hand, text))
            self.ledger.tell("hand.status", hand=name, status=text, generation=hand.generation)

    def stop(self, names: Iterable[str], event: r.StopAsked) -> None:
        """Ask hands to end, those that come after others first.

        That they are wanted down is written down at once, for all of them.
        """
        names = list(names)
        for name in names:
            self.put(policy.wants_down(self.hands[name], event))
        self._stops.update(dict.fromkeys(names, event))
        self.order_soon()

    def _decide(self) -> None:
        """Ask the rules about everything that happened, and about what follows of it."""
        while self._events or self._order_new:
            events, self._events = self._events, []
            for name, event in events:
                self._step(name, event)
            self._take_early()
            if self._order_new:
                self._order_new = False
                self._order()

    def _take_early(self) -> None:
        """Take in the REGs that came before the launcher's word of the hand."""
        late, self._late = self._late, []
        for name in late:
            station = self.stations.get(name)
            if station is not None and station.early is not None:
                early, station.early = station.early, None
                self.switchboard.register(*early)

    def _step(self, name: str, event: r.Event) -> None:
        hand = self.hands.get(name)
        if hand is None:
            return
        if isinstance(event, (r.StartAsked, r.RestartAsked)):
            self._stops.pop(name, None)
        after, actions = policy.step(hand, event, self.now())
        for action in actions:
            if isinstance(action, r.Mourn):
                self._mourn(action)  # before the hand may leave the crew
            else:
                self._actions.append(action)
        if isinstance(event, r.Refused) and not self.ready:
            self._unmade.add(name)
        if isinstance(event, r.Spawned):
            self._late.append(name)
        if after is hand:
            return
        self.put(after)
        self.readiness.follow(after)
        if after.state is not hand.state or after.leaving != hand.leaving:
            self._moved(hand, after)
        elif after.state is r.State.WAITING:
            self._order_new = True  # asked for again, it is to say again for whom it waits

    def _moved(self, before: r.Hand, after: r.Hand) -> None:
        """Draw what follows when a hand has come into another state."""
        self._order_new = True
        if after.state in UP and before.state not in UP:
            self.clinic.attend(after)
        rests = after.state in r.RESTING
        if rests != (before.state in r.RESTING) or after.leaving != before.leaving:
            self.switchboard.membership_changed()
        if rests and before.state not in r.RESTING:
            self._give_up_mail(after.name, f"it is {after.state}")
        elif before.state in r.RESTING and not rests:
            self.open_mailbox(after.name)

    def _give_up_mail(self, name: str, why: str) -> None:
        """Empty the mailbox of a hand that does not come back by itself."""
        count = self._mailroom.empty(name)
        if count:
            self.ledger.count("memos.dead", count)
            self.note("hand.dead_letters", name, count=count, why=why)

    def open_mailbox(self, name: str) -> None:
        """Let memos wait for a hand that is on its way, and none that came while it was not."""
        self._give_up_mail(name, "it was not there")
        self.keep_mailbox(name)

    def keep_mailbox(self, name: str) -> None:
        """Let memos wait for a hand, whatever becomes of the boss."""
        # What refuses is told when the hand is spawned, which needs the mailbox too.
        with suppress(OSError, SpawnError):
            self.processes.launchers.keep(name, self._mailroom.bind(name))

    def _drop_mailbox(self, name: str) -> None:
        """Let nobody reach a hand any more that is none of the crew."""
        self._mailroom.drop(name)
        self.clear(Path(self._mailroom.path(name)))

    def clear(self, path: Path) -> None:
        """Remove a path of the boss's own; one that cannot be removed is told of and left."""
        why = places.clear(path)
        if why:
            self.ledger.tell("boss.litter", path=str(path), why=why)

    def _order(self) -> None:
        """Let hands start and stop whose turn it is; say whom the others wait for."""
        if self._stops:
            for name in roster.releasable(self.roll, list(self._stops)):
                self._events.append((name, self._stops.pop(name)))
        left = {
            name: hand.wanted_by or hand.asked_by or "hiod"
            for name, hand in self.hands.items()
            if hand.leaving and roster.at_rest(hand) and name not in self._stops
        }
        for name, by in left.items():
            self.forget_hand(name, by)
        if left:
            self.membership.succeed(left)
        if self.outcome is not None or not self.settled:
            return
        for name, why in roster.standing(self.roll).items():
            if not why:
                self._events.append((name, r.Cleared()))
            elif self.hands[name].reason != why:
                before = self.hands[name].reason
                self.put(policy.waits(self.hands[name], why))
                # What becomes of the other hand meanwhile is that one's own story.
                if roster.awaited_in(before) != roster.awaited_in(why):
                    self.note("hand.waiting", name, reason=why)

    # ------------------------------------------------------------------ write down

    def _commit(self) -> None:
        """Write the turn down before anything of it is done."""
        for action in self._actions:
            if isinstance(action, r.Note):
                self.ledger.tell(action.event, hand=action.name, **action.facts)
        dirty, self._dirty = self._dirty, set()
        self._changed |= dirty
        self.ledger.put_hands(self.hands[name] for name in dirty if name in self.hands)
        self.ledger.commit()

    def _mourn(self, action: r.Mourn) -> None:
        """Keep how a process ended, and let go of what was known of it."""
        station = self.station(action.name)
        end = action.end
        asked_by = action.asked_by or station.signalled.get(end.signal or 0, "")
        # Of an end that was asked for, or that was well, a program has not printed why.
        wondered = not end.clean and (not asked_by or policy.own(asked_by))
        last = station.last_words(log=wondered)
        self.ledger.bury(
            action.name,
            end.at_wall or time.time(),
            {
                "generation": action.generation,
                "pid": action.pid,
                "code": end.code,
                "signal": end.signal,
                "core": end.core,
                "rss": end.maxrss_bytes,
                "uptime_s": action.uptime_s,
                "asked_by": asked_by,
                "last_beat_s": station.beat_age(self.now()),
                "words": last.text,
                "gist": last.gist,
            },
        )
        station.close()
        self.clinic.leave(action.name)
        own = self._mailroom.path(action.name)
        if station.addr != own:
            self.switchboard.move(action.name, station, own)

    # ------------------------------------------------------------------ do

    def _perform(self) -> None:
        actions, self._actions = self._actions, []
        for action in actions:
            match action:
                case r.Spawn(name):
                    self.processes.spawn(name)
                case r.SendEnd(name) if self.station(name).cut_off:
                    self.processes.signal(name, signal.SIGTERM)  # no memo reaches it
                case r.SendEnd(name):
                    self.switchboard.say_end(self.hands[name])
                case r.Signal(name, sig):
                    self.processes.signal(name, signal.Signals[f"SIG{sig}"])
                case r.AskStack(name):
                    self.clinic.ask_stack(name)
                case r.Sweep(name):
                    self.processes.sweep(name)
                case _:
                    pass

    def forget_hand(self, name: str, by: str) -> None:
        """Take a hand out of the crew for good."""
        self.departed[name] = self.hands.pop(name)
        self._dirty.add(name)
        self._give_up_mail(name, "it left the crew")
        station = self.stations.pop(name, None)
        if station is not None:
            self._numbers.give_back(station.place)
            self.switchboard.unlist(station.addr)
            self.forget(station.addr, "it left the crew")
            station.close()
        self._drop_mailbox(name)
        self.processes.launchers.drop(name)
        self.around.groups.drop(name)
        self.clinic.leave(name)
        self.switchboard.membership_changed()
        self.ledger.drop_hand(name)
        self.note("hand.removed", name, by=by)

    # ------------------------------------------------------------------ for the desk

    def is_stopping(self, name: str) -> bool:
        """Say whether a hand is on its way down or waits for its turn to be."""
        hand = self.hands.get(name)
        return name in self._stops or (hand is not None and hand.state is r.State.STOPPING)

    # ------------------------------------------------------------------ begin and end

    def shut_down(self, *, keep: bool, why: str) -> None:
        """End the boss: leave its hands alone, or stop them all in reverse order."""
        outcome = "keep" if keep else "stop"
        if self.outcome in {outcome, "stop"}:
            return
        self.outcome = outcome
        self.ledger.tell("boss.stopping", why=why)
        self.around.notify.stopping()
        if not keep:
            self.stop(list(self.hands), r.StopAsked(why, time.time(), then=r.Then.LEAVE))
        self.wake()

    def _settle(self) -> None:
        """Let restart policies begin once adopted hands have answered, or had their time to."""
        if self.settled or self.outcome is not None:
            self._say_ready()
            return
        waiting = [
            name
            for name, station in self.stations.items()
            if not station.answered and self.hands[name].process is not None
        ]
        if waiting and self.now() < self._settle_at:
            return
        self.settled = True
        self._order_new = True
        for name in waiting:
            self.stations[name].answered = True
        self.wake()

    def _say_ready(self) -> None:
        """Say ready once: each hand that could be started at once has its process, or failed to."""
        if self.ready or self.outcome is not None or self._order_new:
            return
        if any(
            hand.state is r.State.STARTING and not hand.process and name not in self._unmade
            for name, hand in self.hands.items()
        ):
            return
        self.ready = True
        self._unmade.clear()
        summary = self.summary()
        self.ledger.tell("boss.ready", summary=summary)
        self.around.notify.ready(status=summary)
        self.when_ready()
        self.doors.open()

    def summary(self) -> str:
        """Say how the crew stands, in one line."""
        if not self.hands:
            return "no hands yet"
        counts: dict[str, int] = {}
        for hand in self.hands.values():
            counts[str(hand.state)] = counts.get(str(hand.state), 0) + 1
        parts = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        total = len(self.hands)
        return f"{total} hand{'s' if total != 1 else ''}: {parts}"
