"""The boss: gathers what happened, asks the rules, does what they say.

Decides nothing about a hand itself: every event goes through ``rules.policy``, every question of
membership and order through ``rules.roster``. What must be done is written down first, in one
transaction a turn, then done. Invariant: this process never imports user code, and nothing a peer
sends raises out of ``recur``.
"""

from __future__ import annotations

import heapq
import math
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from hiod.base.multidoing import Bosser, MultiDoerBase
from hiod.boss.clinic import UP, Clinic
from hiod.boss.launchers import Launchers
from hiod.boss.readiness import Readiness
from hiod.boss.stations import Station
from hiod.boss.switchboard import Switchboard
from hiod.core.uxd.peermemoing import PeerMemoer
from hiod.errors import LauncherError, SizeError, SpawnError
from hiod.host import launching, procs
from hiod.rules import adoption, health, policy, roster, specs
from hiod.rules import records as r

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hiod.boss.config import Config
    from hiod.boss.ledger import Ledger
    from hiod.boss.mailroom import Mailroom
    from hiod.boss.outlook import Outlook
    from hiod.boss.places import Places
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
        signals: those that came before the boss could hear them.
    """

    places: Places
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
        members: the wanted crew: definitions by name.
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
        self.members: dict[str, roster.Member] = {}
        self.hands: dict[str, r.Hand] = {}
        self.departed: dict[str, r.Hand] = {}
        self.stations: dict[str, Station] = {}
        self.outcome: str | None = None
        self.settled = self.ready = False
        self.when_ready: Callable[[], None] = lambda: None
        self.on_reload: Callable[[str], None] = lambda _by: None
        self.after_turn: list[Callable[[set[str]], None]] = []
        self.deadlines: list[Callable[[], float]] = []
        self.clinic = Clinic(self, procs.Watch())
        self.switchboard = Switchboard(self)
        self.readiness = Readiness(self, around.places.mailboxes)
        self.deadlines += [self.readiness.next_at, self.switchboard.next_at]
        self.launchers = Launchers(
            str(around.places.runtime),
            lambda: {"boss": around.memo_fd, **mailroom.fds(), **self.readiness.held()},
            around.nofile,
            self._launcher_started,
        )
        self.launchers.cgroup = around.groups.launcher
        self._survey = survey
        self._mailroom = mailroom
        self._events: list[tuple[str, r.Event]] = []
        self._actions: list[r.Action] = []
        self._dirty: set[str] = set()
        self._changed: set[str] = set()
        self._stops: dict[str, r.StopAsked] = {}
        self._late: list[str] = []  # spawned in this turn: their REG may have come before the news
        self._alarms: list[tuple[float, str]] = []
        self._signalled = around.signals
        self._orphans = select.epoll()
        self._orphan_of: dict[int, str] = {}
        self._told_ends: set[str] = set()  # of hands that ended while there was no boss
        self._tidy = False  # launchers may have become idle, or are gone
        self._settle_at = math.inf
        self._expected_at = math.inf
        self._order_new = True
        self._turning = False  # what happens within a turn is seen to by the turn

    # ------------------------------------------------------------------ what it is made of

    @property
    def roll(self) -> roster.Crew:
        """The wanted and the actual crew, as the roster reads them."""
        return roster.Crew(self.members, self.hands)

    def fds(self) -> tuple[int, ...]:
        """Await memos, launchers and the ends of hands that have no launcher any more."""
        own = (self.launchers.fileno(), self._orphans.fileno(), self.readiness.fileno())
        return (*super().fds(), *own)

    def station(self, name: str) -> Station:
        """Return what is known of a hand beyond the rules."""
        found = self.stations.get(name)
        if found is None:
            found = self.stations[name] = Station(addr=self._mailroom.path(name))
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
        self.members = dict(found.members)
        self.ledger.know({name: hand for name, (hand, _) in found.hands.items()})
        for launcher in found.launchers:
            self.launchers.have(launcher)
        self.readiness.take(found.mailboxes)
        for name, fd in found.mailboxes.items():
            self._mailroom.take(name, fd)
        mode = "a fresh start" if found.cold else "adopting"
        self.ledger.tell("boss.started", version=found.version, pid=os.getpid(), mode=mode)
        for event, facts in found.notes:
            self.ledger.tell(event, **facts)
        self._adopt_crew(found)
        if found.cold:
            self._begin()
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
        self._hear_launchers()
        self._hear_orphans()
        self.service()
        self._hear_signals()
        self._hear_alarms()
        self.clinic.round()
        for _ in range(TURN_ROUNDS):
            self._decide()
            self._commit()
            self._perform()
            if not self._events:
                break
        self._turning = False
        self._tidy_up()
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
        how = "all hands have ended" if stopped else "its hands live on"
        self.ledger.tell("boss.stopped", how=how)
        self.ledger.commit()
        self.readiness.close(stopped=stopped)
        self.launchers.close(retire=stopped)
        if stopped:
            for name in list(self.hands):
                self._mailroom.drop(name)
        for station in self.stations.values():
            station.close()
        self._mailroom.close()
        self._orphans.close()
        MultiDoerBase.exit(self)
        self.close()
        if stopped:
            self.around.places.boss_socket.unlink(missing_ok=True)

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

    # ------------------------------------------------------------------ adoption

    def _adopt_crew(self, found: Survey) -> None:
        """Go on with the hands of an earlier boss, mourn those that ended since."""
        now = self.now()
        findings = adoption.judge(
            found.hands,
            found.seen,
            found.ends,
            found.alive,
            boot_id=found.boot_id,
            tokens={name: self.token_of(hand) for name, (hand, _) in found.hands.items()},
            now=now,
        )
        self.hands = dict(findings.hands)
        for name, launcher_id in findings.adopted.items():
            self._take_over(name, launcher_id)
        for name, ended in findings.ended.items():
            self._mourn_absent(name, ended)
        for one in findings.unknown:
            self.ledger.tell("process.unknown", pid=one.process.pid, claims=one.name)
        for ended in findings.stale:
            self._forget_end(self.launchers.get(ended.launcher), ended.name, ended.generation)
        found.let_go()
        self._tidy = not found.cold
        if not found.cold:
            self._finish_stops()
        self.line_up()
        self.readiness.settle()
        for name in self.hands:
            self._set_alarm(name)
        self._dirty.update(self.hands)
        if not found.cold:
            self.ledger.tell(
                "boss.adopted", adopted=len(findings.adopted), ended=len(findings.ended)
            )
            self._tell_pending()
        self._settle_at = now + (0.0 if found.cold else self.config.boss.settle_s)

    def _tell_pending(self) -> None:
        """Say that the crew files would have this crew be another."""
        self.outlook.look(self.members)
        if self.outlook.pending:
            self.ledger.tell("config.pending", count=self.outlook.pending)

    def _finish_stops(self) -> None:
        """Go on with stops that an earlier boss had accepted and not come to yet."""
        for hand in list(self.hands.values()):
            unwanted = hand.leaving or hand.wanted is r.Wanted.DOWN
            if unwanted and hand.state not in r.RESTING and hand.state is not r.State.STOPPING:
                event = r.StopAsked(hand.wanted_by or "hiod", hand.wanted_at, leaving=hand.leaving)
                self.stop([hand.name], event)

    def _take_over(self, name: str, launcher_id: str | None) -> None:
        """Go on with a living hand."""
        hand, station = self.hands[name], self.station(name)
        station.token = self.token_of(hand)
        station.launcher = self.launchers.get(launcher_id)
        station.pidfd, station.words = self._survey.fds.pop((name, hand.generation), (None, None))
        station.adopted_at = time.time()
        station.log = _file_of(hand, self.order_for(hand))
        station.answered = not hand.registered
        if hand.process is not None:
            if station.launcher is None:
                self._watch_orphan(name, hand.process)
            self.clinic.begin(hand, hand.process)
            if hand.state in UP:
                self.clinic.attend(hand)
            self.ledger.tell(
                "hand.adopted", hand=name, pid=hand.process.pid, generation=hand.generation
            )
        self.readiness.adopt(hand)
        if hand.addr:
            # One of hio's: it knows no HEY, and takes whoever speaks from the boss's address.
            station.hio = station.answered = True
            self.switchboard.move(name, station, hand.addr)
        elif hand.registered or hand.spec.doers is not None:
            self.switchboard.greet(name)

    def _mourn_absent(self, name: str, ended: adoption.Ended | None) -> None:
        """Take in the end of a hand that ended while there was no boss."""
        hand, station = self.hands[name], self.station(name)
        _, station.words = self._survey.fds.pop((name, hand.generation), (None, None))
        station.log = _file_of(hand, self.order_for(hand))
        end = r.End(at_wall=time.time()) if ended is None else ended.end
        self.ledger.tell("hand.lost", hand=name, how=end.words, generation=hand.generation)
        self._events.append((name, r.Exited(end, station.last_words().gist)))
        if ended is not None:
            self._told_ends.add(name)
            self._forget_end(self.launchers.get(ended.launcher), name, ended.generation)

    def _begin(self) -> None:
        """Start afresh: nobody is alive, and the files say who is in the crew.

        A hand whose end a launcher has told goes on as its rules say: only its boss was away.
        """
        rested = {name for name, hand in self.hands.items() if hand.state in r.RESTING}
        self._decide()
        now = self.now()
        for name, hand in list(self.hands.items()):
            if hand.leaving or roster.base_of(hand) not in self.members:
                self._forget_hand(name, "the crew files")
            else:
                if name not in self._told_ends:
                    self.hands[name] = adoption.refreshed(hand, now)
                    self._set_alarm(name)
                if name in rested:
                    self._open_mailbox(name)
                else:
                    self._keep_mailbox(name)
        self.apply(self.config.hands, by="the crew files", first=True)

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
                self._events.append((name, r.TimeCame()))

    def _set_alarm(self, name: str) -> None:
        at = self.hands[name].wake_at
        if at < math.inf:
            heapq.heappush(self._alarms, (at, name))

    def _hear_launchers(self) -> None:
        for launcher, message in self.launchers.take():
            match message:
                case launching.Spawned():
                    self._hear_spawned(launcher, message)
                case launching.Refused():
                    if self._is_current(message.name, message.generation):
                        refused = r.Refused(
                            message.step, message.message, message.errno, message.path
                        )
                        self._no_process(message.name, refused)
                case launching.Exited():
                    self._hear_exited(launcher, message)
                case launching.Stray():
                    self.ledger.tell(
                        "launcher.stray",
                        pid=message.pid,
                        comm=message.comm,
                        left_by=message.name or "an unknown hand",
                    )
                case launching.Gone():
                    self._hear_gone(launcher, message.why)
                case _:
                    pass

    def _is_current(self, name: str, generation: int) -> bool:
        hand = self.hands.get(name)
        return hand is not None and hand.generation == generation

    def _hear_spawned(self, launcher: launching.Launcher, message: launching.Spawned) -> None:
        if not self._is_current(message.name, message.generation):
            for fd in (message.pidfd, message.words):
                if fd >= 0:
                    os.close(fd)
            launcher.sweep(message.name, message.generation)
            return
        station = self.station(message.name)
        station.close()
        station.pidfd, station.words = held(message.pidfd), held(message.words)
        station.launcher = launcher
        process = r.ProcessId(message.pid, message.started_at, message.boot_id)
        self._events.append((message.name, r.Spawned(process)))
        self.clinic.begin(self.hands[message.name], process)

    def _hear_exited(self, launcher: launching.Launcher, message: launching.Exited) -> None:
        name, generation = message.name, message.generation
        if self._is_current(name, generation):
            end = r.End(
                message.code, message.signal, message.core, message.at, message.maxrss_kb * 1024
            )
            self._events.append((name, r.Exited(end, self.station(name).last_words().gist)))
        if message.words >= 0:
            os.close(message.words)
        self._tidy = True
        self._forget_end(launcher, name, generation)

    def _forget_end(self, launcher: launching.Launcher | None, name: str, generation: int) -> None:
        """Let a launcher forget how a hand ended, once that is on record."""

        def forget() -> None:
            if launcher is not None:
                with suppress(LauncherError):
                    launcher.forget(name, generation)

        self.ledger.once_written(forget)

    def _hear_gone(self, launcher: launching.Launcher, why: str) -> None:
        """A launcher is gone: its hands live on, watched by their pidfds."""
        alive = 0
        self._tidy = True
        born = self._find_born(launcher)
        for name, station in self.stations.items():
            hand = self.hands.get(name)
            if station.launcher is not launcher or hand is None:
                continue
            station.launcher = None
            process = hand.process or born.get(self.token_of(hand))
            if process is not None:
                alive += 1
                if hand.process is None:
                    self._events.append((name, r.Spawned(process)))
                    self.clinic.begin(hand, process)
                self._watch_orphan(name, process)
            elif hand.state in r.LIVE:
                self._no_process(name, r.Refused("launcher", f"its launcher {why}"))
        if alive or self.outcome is None:
            self.ledger.tell(
                "launcher.gone", launcher=launcher.id, pid=launcher.pid, hands=alive, why=why
            )

    def _find_born(self, launcher: launching.Launcher) -> dict[str, r.ProcessId]:
        """Look for hands that a launcher made and did not live to tell of, by token."""
        ordered = [
            self.token_of(hand)
            for name, hand in self.hands.items()
            if hand.process is None
            and hand.state in r.LIVE
            and self.station(name).launcher is launcher
        ]
        return launching.find_hands(ordered)

    def _tidy_up(self) -> None:
        """Let go of launchers that are not needed any more; keep what others held."""
        if not self._tidy or self.outcome is not None:
            return
        self._tidy = False
        busy = [
            self.stations[name].launcher
            for name, hand in self.hands.items()
            if hand.state in r.LIVE and name in self.stations
        ]
        needed = any(hand.state not in r.RESTING for hand in self.hands.values())
        self.launchers.tidy([one for one in busy if one is not None], needed=needed)

    def _watch_orphan(self, name: str, process: r.ProcessId) -> None:
        """Watch a hand without a launcher; nobody can know how it will end."""
        station = self.station(name)
        if station.pidfd is None:
            station.pidfd = procs.open_pidfd(process)
        if station.words is None:
            station.words = launching.find_words(process)
        if station.pidfd is None:
            self._events.append((name, r.Exited(r.End(at_wall=time.time()))))
            return
        self._orphan_of[station.pidfd] = name
        self._orphans.register(station.pidfd, select.EPOLLIN)

    def _hear_orphans(self) -> None:
        for fd, _ in self._orphans.poll(0):
            self._orphans.unregister(fd)
            name = self._orphan_of.pop(fd)
            self.around.groups.kill(name)  # what it left has no launcher to be swept by
            end = r.End(at_wall=time.time())
            self._events.append((name, r.Exited(end, self.station(name).last_words().gist)))

    def serviceRxMemos(self) -> None:
        """Take in what hands say."""
        while self.rxms:
            rx = self.rxms.popleft()
            self.switchboard.hear(rx[0], rx[1], rx.cred)

    def post(self, text: str, addr: str, *, key: str | None = None) -> bool:
        """Queue a memo; it leaves at the end of the turn. False when there is no room."""
        return PeerMemoer.memoit(self, text, addr, key=key)

    def onDead(self, memo: str | None, dst: str, reason: str) -> None:
        """Count a memo of the boss's own that could not be delivered."""
        del memo
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

    def said(self, name: str, text: str) -> None:
        """Take note of what a hand says of itself."""
        hand = self.hands[name]
        if text != hand.status:
            self.hands[name] = policy.said(hand, text)
            self._dirty.add(name)
            self.ledger.tell("hand.status", hand=name, status=text, generation=hand.generation)

    def stop(self, names: Iterable[str], event: r.StopAsked) -> None:
        """Ask hands to end, those that come after others first.

        That they are wanted down is written down at once, for all of them.
        """
        names = list(names)
        for name in names:
            self.hands[name] = policy.wants_down(self.hands[name], event)
        self._dirty.update(names)
        self._stops.update(dict.fromkeys(names, event))
        self._order_new = True
        self.wake()

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
        self._actions += actions
        if isinstance(event, r.Spawned):
            self._late.append(name)
        if after is hand:
            return
        self.hands[name] = after
        self._dirty.add(name)
        self.readiness.follow(after)
        if after.wake_at != hand.wake_at:
            self._set_alarm(name)
        if after.state is not hand.state or after.leaving != hand.leaving:
            self._moved(hand, after)

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
            self._open_mailbox(after.name)

    def _give_up_mail(self, name: str, why: str) -> None:
        """Empty the mailbox of a hand that does not come back by itself."""
        count = self._mailroom.empty(name)
        if count:
            self.ledger.count("memos.dead", count)
            facts = {"count": count, "why": why}
            self._actions.append(r.Note("hand.dead_letters", name, facts))

    def _open_mailbox(self, name: str) -> None:
        """Let memos wait for a hand that is on its way, and none that came while it was not."""
        self._give_up_mail(name, "it was not there")
        self._keep_mailbox(name)

    def _keep_mailbox(self, name: str) -> None:
        """Let memos wait for a hand, whatever becomes of the boss."""
        # What refuses is told when the hand is spawned, which needs the mailbox too.
        with suppress(OSError, SpawnError):
            self.launchers.keep(name, self._mailroom.bind(name))

    def _order(self) -> None:
        """Let hands start and stop whose turn it is; say whom the others wait for."""
        if self._stops:
            for name in roster.releasable(self.roll, list(self._stops)):
                self._events.append((name, self._stops.pop(name)))
        for name, hand in list(self.hands.items()):
            if hand.leaving and roster.at_rest(hand) and name not in self._stops:
                self._forget_hand(name, hand.asked_by or hand.wanted_by or "hiod")
        if self.outcome is not None or not self.settled:
            return
        for name, why in roster.standing(self.roll).items():
            if not why:
                self._events.append((name, r.Cleared()))
            elif self.hands[name].reason != why:
                before = self.hands[name].reason
                self.hands[name] = policy.waits(self.hands[name], why)
                self._dirty.add(name)
                # What becomes of the other hand meanwhile is that one's own story.
                if roster.awaited_in(before) != roster.awaited_in(why):
                    self._actions.append(r.Note("hand.waiting", name, {"reason": why}))

    # ------------------------------------------------------------------ write down

    def _commit(self) -> None:
        """Write the turn down before anything of it is done."""
        for action in self._actions:
            if isinstance(action, r.Note):
                self.ledger.tell(action.event, hand=action.name, **action.facts)
            elif isinstance(action, r.Mourn):
                self._mourn(action)
        dirty, self._dirty = self._dirty, set()
        self._changed |= dirty
        self.ledger.put_hands(self.hands[name] for name in dirty if name in self.hands)
        self.ledger.commit()

    def _mourn(self, action: r.Mourn) -> None:
        """Keep how a process ended, and let go of what was known of it."""
        station = self.station(action.name)
        end = action.end
        # Of an end that was asked for, or that was well, a program has not printed why.
        wondered = not end.clean and (not action.asked_by or policy.own(action.asked_by))
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
                "asked_by": action.asked_by,
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
                    self._spawn(name)
                case r.SendEnd(name):
                    self.switchboard.say_end(self.hands[name])
                case r.Signal(name, sig):
                    self.signal_hand(name, signal.Signals[f"SIG{sig}"])
                case r.Sweep(name):
                    self._sweep(name)
                case _:
                    pass

    def _spawn(self, name: str) -> None:
        """Order a hand's process; what refuses is an event like any other."""
        hand, station = self.hands[name], self.station(name)
        station.reset(self.token_of(hand))
        try:
            box = self._mailroom.bind(name)
            self.around.groups.make(name)
            launcher = self.launchers.make(hand.spec.python)
            order = self.order_for(hand)
            if hand.spec.ready.by == "notify":
                order["notify"] = self.readiness.open(name, launcher)
                # A program that knows of watchdogs pings at half of this, and is then expected to.
                usec = round(health.patience_s(hand.spec.health) * 1e6)
                order["environ"]["WATCHDOG_USEC"] = str(usec)
            station.print_to(_file_of(hand, order))
            launcher.spawn(order, box)
            station.launcher = launcher
        except SpawnError as error:
            self._no_process(name, r.Refused(error.step, str(error), error.errno, error.path))
        except LauncherError as error:
            self._no_process(name, r.Refused("launcher", str(error)))
        except SizeError as error:
            self._no_process(name, r.Refused("mailbox", str(error)))
        except OSError as error:
            path = str(error.filename or self._mailroom.path(name))
            why = f"{error.strerror or error}: {path}"
            self._no_process(name, r.Refused("mailbox", why, error.errno, path))

    def _no_process(self, name: str, refused: r.Refused) -> None:
        """Note that the machine would not make a hand's process."""
        self.station(name).refused = refused
        self._events.append((name, refused))

    def order_for(self, hand: r.Hand) -> dict[str, Any]:
        """Return the order that makes a hand's process, with nothing left to resolve."""
        places = self.around.places
        return specs.order(
            hand.spec,
            instance=hand.name,
            ordinal=hand.ordinal,
            generation=hand.generation,
            token=self.token_of(hand),
            state_dir=str(places.hand_state(hand.name)),
            addr=self._mailroom.path(hand.name),
            boss_name=self.name,
            boss_addr=str(places.boss_socket),
            boss_pid=os.getpid(),
            log_default=self.around.log_default,
            log_dir=str(places.logs),
            cgroup=self.around.groups.hand(hand.name),
        )

    def _launcher_started(self, launcher: launching.Launcher) -> None:
        self.ledger.tell(
            "launcher.started", launcher=launcher.id, pid=launcher.pid, python=launcher.python
        )

    def signal_hand(self, name: str, number: int) -> bool:
        """Signal a hand's process, through its pidfd only; say whether there was one."""
        pidfd = self.station(name).pidfd
        return pidfd is not None and procs.signal_pidfd(pidfd, number)

    def _sweep(self, name: str) -> None:
        """Kill a hand's process and let its launcher sweep what is left of it."""
        station = self.station(name)
        self.signal_hand(name, signal.SIGKILL)
        self.around.groups.kill(name)
        if station.launcher is not None:
            with suppress(LauncherError):
                station.launcher.sweep(name, self.hands[name].generation)

    def _forget_hand(self, name: str, by: str) -> None:
        """Take a hand out of the crew for good."""
        self.departed[name] = self.hands.pop(name)
        self._dirty.add(name)
        self._give_up_mail(name, "it left the crew")
        station = self.stations.pop(name, None)
        if station is not None:
            self.switchboard.unlist(station.addr)
            self.forget(station.addr, "it left the crew")
            station.close()
        self._mailroom.drop(name)
        self.launchers.drop(name)
        self.around.groups.drop(name)
        self.clinic.leave(name)
        self.switchboard.membership_changed()
        self.ledger.drop_hand(name)
        self._actions.append(r.Note("hand.removed", name, {"by": by}))

    # ------------------------------------------------------------------ the crew

    def enlist(self, member: roster.Member, *, by: str) -> tuple[str, ...]:
        """Take a definition into the crew, or change it; return the hands that are new."""
        self.members[member.spec.name] = member
        self.ledger.put_member(member)
        for hand in roster.hands_of(self.roll, member.spec.name):
            if hand.leaving and hand.name in dict(specs.instances(member.spec)):
                self._events.append((hand.name, r.StartAsked(by, time.time())))
        new = roster.missing(self.roll, member)
        for hand in new:
            self.hands[hand.name] = replace(hand, wanted_by=by, wanted_at=time.time())
            self._dirty.add(hand.name)
            self.station(hand.name)
            self._actions.append(r.Note("hand.added", hand.name, {"by": by}))
            if hand.wanted is r.Wanted.UP:
                self._events.append((hand.name, r.StartAsked(by, time.time())))
        self.switchboard.membership_changed()
        self._order_new = True
        self.wake()
        return tuple(hand.name for hand in new)

    def dismiss(self, name: str, *, by: str) -> None:
        """Take a definition out of the crew; its hands leave when they have ended."""
        self.members.pop(name, None)
        self.ledger.drop_member(name)
        self.release([hand.name for hand in roster.hands_of(self.roll, name)], by=by)

    def release(self, names: Sequence[str], *, by: str) -> None:
        """Let hands leave the crew: they are stopped, in order, and then forgotten."""
        for name in names:
            self.hands[name] = policy.leaves(self.hands[name])
            self._dirty.add(name)
        self.switchboard.membership_changed()
        self.ledger.want_durable()
        self.stop(names, r.StopAsked(by, time.time(), leaving=True))

    def apply(
        self, wanted: Sequence[specs.HandSpec], *, by: str, first: bool = False
    ) -> tuple[roster.Change, ...]:
        """Make the crew what the files say, with the least harm."""
        changes = roster.plan(self.roll, wanted)
        for change in changes:
            if change.member is None:
                self.dismiss(change.name, by=by)
                continue
            had = self.members.get(change.name)
            self.enlist(change.member, by=by)
            if had is not None:
                self.revise(had.spec, change.member.spec, by=by, first=first)
        self.line_up()
        return changes

    def line_up(self) -> None:
        """Put the crew in the order in which people look for it in a list."""
        self.hands = {name: self.hands[name] for name in roster.lined_up(self.roll)}

    def revise(
        self, old: specs.HandSpec, new: specs.HandSpec, *, by: str, first: bool = False
    ) -> None:
        """Carry a changed definition to its hands, each key when it can be applied."""
        gone = roster.surplus(self.roll, new.name)
        if gone:
            self.release(gone, by=by)
        changed = sorted(key for key in specs.diff(old, new) if key != "count")
        for hand in roster.hands_of(self.roll, new.name):
            if hand.leaving:
                continue
            # By what it runs by: an earlier change may still wait for its next start.
            ways = {key: way for key, way in specs.diff(hand.spec, new).items() if key != "count"}
            restart = not first and "restart" in ways.values()
            wait = not first and not set(ways.values()) <= {"live"}
            now_spec = roster.blend(hand.spec, new, ways) if wait else new
            event = r.Revised(now_spec, new if wait else None, restart=restart, by=by)
            self._events.append((hand.name, event))
            if changed:
                facts = {"by": by, "keys": ", ".join(changed)}
                self._actions.append(r.Note("hand.revised", hand.name, facts))
        self.wake()

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
        """Say ready once: every hand that could be started at once has its process."""
        if self.ready or self.outcome is not None or self._order_new:
            return
        if any(hand.state is r.State.STARTING and not hand.process for hand in self.hands.values()):
            return
        self.ready = True
        summary = self.summary()
        self.ledger.tell("boss.ready", summary=summary)
        self.around.notify.ready(status=summary)
        self.when_ready()

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


def _file_of(hand: r.Hand, order: Mapping[str, Any]) -> str:
    """Return the file that a program prints to; empty for Doers, whose last words are their own."""
    log = str(order["log"])
    return log if hand.spec.command is not None and log.startswith("/") else ""


def held(fd: int) -> int | None:
    """Return a received descriptor; None for one there was no room for."""
    return fd if fd >= 0 else None
