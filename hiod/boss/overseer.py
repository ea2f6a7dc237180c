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
import resource
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from hiod.base import crewing
from hiod.base.crewdoms import HBT, RDY
from hiod.base.multidoing import Bosser, MultiDoerBase
from hiod.boss.stations import Station
from hiod.core.uxd.peermemoing import PeerMemoer
from hiod.errors import LauncherError, SpawnError, StoreError
from hiod.host import launching, procs
from hiod.host.packets import DUMP_SIGNAL
from hiod.rules import adoption, health, keeping, policy, roster, specs, words
from hiod.rules import records as r
from hiod.rules.story import STORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hiod.boss.config import Config
    from hiod.boss.mailroom import Mailroom
    from hiod.boss.places import Places
    from hiod.boss.survey import Survey
    from hiod.host.notify import Notify
    from hiod.host.store import Store, Turn

SETTLE_S = 2.0
"""How long an adopted hand may take to answer before the boss goes on without its answer."""
WORDS_BYTES = 64 << 10
DUMP_READ_S = 0.25
"""How long a hand has to write the stack it was asked for."""
TURN_ROUNDS = 64
"""Rounds of events and their consequences in one turn; what is left waits for the next."""


class Overseer(Bosser):
    """A Bosser that keeps a crew by rules, through launchers, over its own death.

    Attributes:
        members: the wanted crew: definitions by name.
        hands: the actual crew: hands by name.
        stations: what is known of each hand beyond the rules: descriptors, beats, samples.
        outcome: how the boss ends: None while it runs, ``stop`` or ``keep``.
        seq: number of the newest event.
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
        fd: int,
        places: Places,
        store: Store,
        turn: Callable[[], Turn],
        config: Config,
        survey: Survey,
        mailroom: Mailroom,
        watch: procs.Watch,
        notify: Notify,
        tell: Callable[..., None],
        crew_id: str,
        log_default: str,
        nofile: tuple[int, int],
        **kwa: Any,
    ) -> None:
        super().__init__(fd=fd, tock=math.inf, **kwa)
        self._memo_fd = fd
        self.when_ready: Callable[[], None] = lambda: None
        self.on_reload: Callable[[str], None] = lambda _by: None
        self._nofile = nofile
        self.places = places
        self.store = store
        self.config = config
        self.watch = watch
        self.notify = notify
        self.members: dict[str, roster.Member] = {}
        self.hands: dict[str, r.Hand] = {}
        self.stations: dict[str, Station] = {}
        self.outcome: str | None = None
        self.seq = survey.last_seq
        self.crew_id = crew_id
        self.settled = False
        self.ready = False
        self.write_fault = ""
        self.watchers: list[Callable[[dict[str, Any]], None]] = []
        self.after_turn: list[Callable[[set[str]], None]] = []
        self.deadlines: list[Callable[[], float]] = []
        self.departed: dict[str, r.Hand] = {}
        self.files = "ok"
        self.tallies: dict[str, int] = dict(survey.counters)
        self.pending = 0
        self._survey = survey
        self._mailroom = mailroom
        self._tell_journal = tell
        self._log_default = log_default
        self._new_turn = turn
        self._turn = turn()
        self._written: dict[str, r.Hand] = {}
        self._events: list[tuple[str, r.Event]] = []
        self._actions: list[r.Action] = []
        self._dirty: set[str] = set()
        self._changed: set[str] = set()
        self._stops: dict[str, r.StopAsked] = {}
        self._launchers: dict[str, launching.Launcher] = {}
        self._current: dict[str | None, launching.Launcher] = {}
        self._by_addr: dict[str, str] = {}
        self._alarms: list[tuple[float, str]] = []
        self._checks: list[tuple[float, str]] = []
        self._signalled: list[int] = []
        self._book_new = False
        self._book_text = ""
        self._forgets: list[tuple[launching.Launcher, str, int]] = []
        self._waiters = select.epoll()
        self._waited: dict[int, str] = {}
        self._settle_at = math.inf
        self._expected_at = math.inf
        self._seq_out = 0
        self._order_new = True

    # ------------------------------------------------------------------ what it is made of

    @property
    def roll(self) -> roster.Crew:
        """The wanted and the actual crew, as the roster reads them."""
        return roster.Crew(self.members, self.hands)

    def fds(self) -> tuple[int, ...]:
        """Await memos, launchers and the ends of hands that have no launcher any more."""
        return (*super().fds(), self._waiters.fileno())

    def station(self, name: str) -> Station:
        """Return what is known of a hand beyond the rules."""
        found = self.stations.get(name)
        if found is None:
            found = self.stations[name] = Station(addr=self._mailroom.path(name))
            self._by_addr[found.addr] = name
        return found

    def token_of(self, name: str, generation: int) -> str:
        """Return the mark of one incarnation."""
        return f"{self.crew_id}.{name}.{generation}"

    # ------------------------------------------------------------------ life

    def enter(self, *, temp: bool | None = None) -> None:
        """Go on with what the survey found, or begin from the files."""
        MultiDoerBase.enter(self, temp=temp)
        self._open(temp)
        found = self._survey
        self.members = dict(found.members)
        self._written = {name: hand for name, (hand, _) in found.hands.items()}
        for launcher in found.launchers:
            self._have_launcher(launcher)
        for name, fd in found.mailboxes.items():
            self._mailroom.take(name, fd)
        if found.cold:
            self._begin(found)
        else:
            self._go_on(found)
        self.tell(
            "boss.started",
            version=found.version,
            pid=os.getpid(),
            mode="a fresh start" if found.cold else "adopting",
            hands=len(self.hands),
        )
        for text in found.notes:
            self.tell(text[0], **text[1])
        self.wake()

    def force(self, signum: int | None = None, frame: Any = None) -> None:
        """Take note of a signal and wake; the turn does the rest."""
        del frame
        if signum is not None:
            self._signalled.append(signum)
        self.wake()

    def _begin(self, found: Survey) -> None:
        """Start afresh: nobody is alive; the files say who is in the crew."""
        now = self.now()
        saved = {
            name: (hand, boot)
            for name, (hand, boot) in found.hands.items()
            if roster.base_of(hand) in self.members or hand.leaving
        }
        for name, (written, boot) in saved.items():
            hand = written if boot == found.boot_id else adoption.rebooted(written, now)
            if hand.state in r.LIVE:
                hand = adoption.unspawned(hand, now)
            self.hands[name] = adoption.refreshed(hand, now)
        self.apply(self.config.hands, by="the crew files", first=True)
        for name, hand in list(self.hands.items()):
            if hand.leaving:
                self._forget_hand(name, "the crew files")
        self._settle_at = now

    def _go_on(self, found: Survey) -> None:
        """Go on with living hands; apply nothing."""
        now = self.now()
        tokens = {
            name: self.token_of(name, hand.generation) for name, (hand, _) in found.hands.items()
        }
        findings = adoption.judge(
            found.hands,
            found.seen,
            found.ends,
            found.alive,
            boot_id=found.boot_id,
            tokens=tokens,
            now=now,
        )
        self.hands = dict(findings.hands)
        for name, launcher_id in findings.adopted.items():
            self._take_over(name, launcher_id)
        for name, ended in findings.ended.items():
            self._mourn_absent(name, ended)
        for one in findings.unknown:
            self.tell("process.unknown", pid=one.process.pid, claims=one.name)
        for ended in findings.stale:
            self._forget(ended.launcher, ended.name, ended.generation)
        for name in self.hands:
            self._set_alarm(name)
        self._dirty.update(self.hands)
        self._book_new = True
        self.tell("boss.adopted", adopted=len(findings.adopted), ended=len(findings.ended))
        self._settle_at = now + min(SETTLE_S, self.config.boss.settle_s)

    def _take_over(self, name: str, launcher_id: str | None) -> None:
        hand = self.hands[name]
        station = self.station(name)
        station.token = self.token_of(name, hand.generation)
        station.launcher = self._launchers.get(launcher_id or "")
        station.pidfd, station.words = self._survey.fds.pop((name, hand.generation), (None, None))
        if station.launcher is None and hand.process is not None:
            self._watch_end(name, hand.process)
        station.adopted_at = time.time()
        if hand.process is not None:
            self._watch(name, hand.process)
            if hand.state in UP:
                self._attend(hand)
        station.answered = not hand.registered
        self.tell(
            "hand.adopted",
            hand=name,
            pid=hand.process.pid if hand.process else None,
            generation=hand.generation,
        )
        if hand.registered:
            self._say(
                name,
                crewing.hey(
                    self.name,
                    generation=hand.generation,
                    seq=self._next_seq(),
                    token=station.token,
                ),
            )

    def _mourn_absent(self, name: str, ended: adoption.Ended | None) -> None:
        end = r.End() if ended is None else ended.end
        self.tell("hand.lost", hand=name, how=end.words)
        hand = self.hands[name]
        _, self.station(name).words = self._survey.fds.pop((name, hand.generation), (None, None))
        self._events.append((name, r.Exited(end, self._last_words(name).gist)))
        if ended is not None:
            self._forget(ended.launcher, name, ended.generation)

    def recur(self, tyme: float) -> bool:
        """Take one turn: gather, decide, write down, do."""
        del tyme
        for message_source in list(self._launchers.values()):
            self._hear_launcher(message_source)
        self._hear_ends()
        self.service()
        self._hear_signals()
        self._hear_alarms()
        self._sample()
        for _ in range(TURN_ROUNDS):
            self._decide()
            self._commit()
            self._perform()
            if not self._events:
                break
        else:
            self.wake()
        self._send_book()
        self._settle()
        self.serviceAllTx()
        dirty, self._changed = self._changed, set()
        for hook in self.after_turn:
            hook(dirty)
        self.departed.clear()
        self._expected_at = self._next_at()
        self.wake(at=self._expected_at)
        return self._finished()

    def exit(self) -> None:
        """Let go of everything; the hands, if any, live on."""
        self.tell("boss.stopped", how="stopped" if self.outcome == "stop" else "hands left alone")
        self._commit()
        for launcher in self._launchers.values():
            if self.outcome == "stop":
                launcher.retire()
            launcher.close()
        if self.outcome == "stop":
            for name in list(self.hands):
                self._mailroom.drop(name)
        for station in self.stations.values():
            station.close()
        self._mailroom.close()
        self._waiters.close()
        MultiDoerBase.exit(self)
        self.close()
        if self.outcome == "stop":
            self.places.boss_socket.unlink(missing_ok=True)

    def _finished(self) -> bool:
        if self.outcome == "keep":
            return not self._turn
        return self.outcome == "stop" and all(
            hand.process is None and hand.state not in r.LIVE for hand in self.hands.values()
        )

    # ------------------------------------------------------------------ gather

    def _hear_signals(self) -> None:
        while self._signalled:
            number = self._signalled.pop(0)
            if number == signal.SIGUSR1:
                self.shut_down(keep=True, why="SIGUSR1")
            elif number == signal.SIGHUP:
                self.reload(by="SIGHUP")
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

    def _next_at(self) -> float:
        """Say when the next turn is due by the clock."""
        if self._events or self._signalled:
            return self.now()
        first = self._alarms[0][0] if self._alarms else math.inf
        settle = math.inf if self.settled else self._settle_at
        others = [deadline() for deadline in self.deadlines]
        check = self._checks[0][0] if self._checks else math.inf
        return min(first, settle, check, self.watch.next_at(self.now()), self.dueAt(), *others)

    def _hear_launcher(self, launcher: launching.Launcher) -> None:
        for message in launcher.take():
            match message:
                case launching.Spawned():
                    self._hear_spawned(launcher, message)
                case launching.Refused():
                    if self._current_generation(message.name, message.generation):
                        refused = r.Refused(
                            message.step, message.message, message.errno, message.path
                        )
                        self._events.append((message.name, refused))
                case launching.Exited():
                    self._hear_exited(launcher, message)
                case launching.Stray():
                    self.tell(
                        "launcher.stray",
                        pid=message.pid,
                        comm=message.comm,
                        left_by=message.name or "an unknown hand",
                    )
                case launching.Gone():
                    self._hear_gone(launcher)
                case _:
                    pass

    def _current_generation(self, name: str, generation: int) -> bool:
        hand = self.hands.get(name)
        return hand is not None and hand.generation == generation

    def _hear_spawned(self, launcher: launching.Launcher, message: launching.Spawned) -> None:
        if not self._current_generation(message.name, message.generation):
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
        self._watch(message.name, process)
        early, station.early = station.early, None
        if early is not None:
            self._decide()
            self._hear_registration(message.name, *early)

    def _hear_exited(self, launcher: launching.Launcher, message: launching.Exited) -> None:
        name, generation = message.name, message.generation
        if self._current_generation(name, generation):
            end = r.End(
                message.code, message.signal, message.core, message.at, message.maxrss_kb * 1024
            )
            self._events.append((name, r.Exited(end, self._last_words(name).gist)))
        self._forgets.append((launcher, name, generation))

    def _hear_gone(self, launcher: launching.Launcher) -> None:
        """A launcher is gone: watch its hands by their pidfds."""
        self._launchers.pop(launcher.id, None)
        for python, current in list(self._current.items()):
            if current is launcher:
                del self._current[python]
        with suppress(OSError, ValueError):
            self._waiters.unregister(launcher.fileno())
        left = [name for name, station in self.stations.items() if station.launcher is launcher]
        alive = 0
        for name in left:
            station = self.stations[name]
            station.launcher = None
            hand = self.hands.get(name)
            if hand is None:
                continue
            if hand.process is not None:
                alive += 1
                self._watch_end(name, hand.process)
            elif hand.state in r.LIVE:
                self._events.append((name, r.Refused("launcher", "its launcher ended")))
        launcher.close()
        if alive or self.outcome is None:
            self.tell("launcher.gone", launcher=launcher.id, pid=launcher.pid, hands=alive)

    def _watch_end(self, name: str, process: r.ProcessId) -> None:
        """Watch a hand without a launcher; nobody can know how it will end."""
        station = self.station(name)
        if station.pidfd is None:
            station.pidfd = procs.open_pidfd(process)
        if station.pidfd is None:
            self._events.append((name, r.Exited(r.End(at_wall=time.time()))))
            return
        self._waited[station.pidfd] = name
        with suppress(FileExistsError):
            self._waiters.register(station.pidfd, select.EPOLLIN)

    def _hear_ends(self) -> None:
        for fd, _ in self._waiters.poll(0):
            name = self._waited.pop(fd, None)
            if name is None:
                continue
            self._waiters.unregister(fd)
            end = r.End(at_wall=time.time())
            self._events.append((name, r.Exited(end, self._last_words(name).gist)))

    def _last_words(self, name: str) -> words.Words:
        fd = self.station(name).words
        if fd is None:
            return words.Words()
        try:
            size = os.fstat(fd).st_size
            raw = os.pread(fd, WORDS_BYTES, max(0, size - WORDS_BYTES))
        except OSError:
            return words.Words()
        return words.read(raw)

    # ------------------------------------------------------------------ memos

    def serviceRxMemos(self) -> None:
        """Take in what hands say; what does not count is counted."""
        while self.rxms:
            rx = self.rxms.popleft()
            memo, src, _ = rx
            self._hear_memo(memo, src, rx.cred)

    def _hear_memo(self, text: str, src: str | None, cred: tuple[int, int, int] | None) -> None:
        tag = crewing.tagOf(text)
        memo = crewing.read(text) if tag else None
        if memo is None or src is None or cred is None:
            self._reject(src, "no memo of a hand")
            return
        if memo.tag == crewing.REG:
            self._hear_registration(memo.name, memo, src, cred)
            return
        name = self._by_addr.get(src)
        hand = self.hands.get(name or "")
        if hand is None or name is None or hand.process is None:
            self._reject(src, "no hand's address")
        elif memo.name != name:
            self._reject(src, f"{name} called itself {memo.name}")
        elif not self._is_process(hand, cred):
            self._reject(src, f"process {cred[0]} is not {name}")
        elif memo.tag in {RDY, HBT}:
            self._hear_state(hand, memo)
        elif crewing.userTag(memo.tag):
            self.count("memos.to_boss")
            self.tell(
                "hand.memo",
                hand=name,
                tag=memo.tag,
                load=_clipped(memo.load),
                generation=hand.generation,
            )
        else:
            self._reject(src, f"tag {memo.tag} is not for a boss")

    def _is_process(self, hand: r.Hand, cred: tuple[int, int, int]) -> bool:
        """Say whether the kernel's sender is the hand's process; for a command, one it started."""
        if hand.process is None:
            return False
        if cred[0] == hand.process.pid:
            return True
        return hand.spec.command is not None and procs.descends(cred[0], hand.process.pid)

    def _hear_registration(
        self, name: str, memo: Any, src: str, cred: tuple[int, int, int]
    ) -> None:
        hand = self.hands.get(name)
        if hand is None:
            self._reject(src, f"REG of {name!r}, which is no hand here")
            return
        station = self.station(name)
        if hand.process is None and hand.state is r.State.STARTING:
            # The hand was quicker than the launcher's word that it is there.
            station.early = (memo, src, cred)
            return
        claim = crewing.claim(memo.load)
        if not self._is_process(hand, cred):
            self._reject(src, f"REG of {name} by process {cred[0]}")
        elif not claim.hio and claim.generation != hand.generation:
            self._reject(src, f"REG of {name}, generation {claim.generation}")
        elif not claim.hio and src != station.addr:
            self._reject(src, f"REG of {name} from another address")
        elif claim.hio and self._by_addr.get(src, name) != name:
            self._reject(src, f"REG of {name} from another hand's address")
        else:
            self._accept_registration(hand, station, src, hio=claim.hio)

    def _accept_registration(self, hand: r.Hand, station: Station, src: str, *, hio: bool) -> None:
        name = hand.name
        if src != station.addr:
            self._by_addr.pop(station.addr, None)
            station.addr = src
            self._by_addr[src] = name
            self._book_new = True
        station.hio = hio
        station.answered = True
        self._say(name, crewing.ack(self.name, name, src))
        self._say_book(name)
        if not hand.registered:
            self._events.append((name, r.Registered()))

    def _hear_state(self, hand: r.Hand, memo: Any) -> None:
        claim = crewing.claim(memo.load)
        if claim.generation != hand.generation:
            self._reject(hand.name, f"{memo.tag} of generation {claim.generation}")
            return
        station = self.station(hand.name)
        text = memo.load.get("status")
        if isinstance(text, str) and text != hand.status:
            self.hands[hand.name] = hand = policy.said(hand, text)
            self.tell("hand.status", hand=hand.name, status=text, generation=hand.generation)
        if memo.tag == RDY:
            self._events.append((hand.name, r.SaidReady("memo")))
            return
        beat = station.hear_beat(memo.load, self.now())
        self._judge(hand.name, health.Evidence(beat=beat))
        if memo.load.get("ready") is True:
            self._events.append((hand.name, r.SaidReady("memo")))

    def _reject(self, source: str | None, why: str) -> None:
        """Count a memo that does not count; say so, but not for every one of a flood."""
        count = self.count("memos.rejected")
        if count & (count - 1) == 0:
            self.tell("memo.rejected", source=source or "an unbound socket", why=why, count=count)

    def _say(self, name: str, text: str, *, key: str | None = None) -> None:
        """Queue a control memo; it leaves at the end of the turn."""
        PeerMemoer.memoit(self, text, self.station(name).addr, key=key)

    def _say_book(self, name: str) -> None:
        """Send a hand the whole book, replacing one that has not left yet."""
        station = self.stations[name]
        if station.hio and not station.agrees(self._book()):
            return
        self._say(name, self._book_text, key="BOK")

    def _book(self) -> dict[str, str]:
        """Return the address of every hand that may be written to."""
        if self._book_new or not self._book_text:
            book = {
                name: self.station(name).addr
                for name, hand in self.hands.items()
                if hand.state not in r.RESTING and not hand.leaving
            }
            text = crewing.bok(self.name, book)
            self._changed_book = text != self._book_text
            self._book_text = text
            self._book_new = False
            self._booked = book
        return self._booked

    def _send_book(self) -> None:
        """Tell every registered hand who is in the crew, if that changed."""
        if not self._book_new or self.outcome is not None:
            return
        before = self._book_text
        self._book()
        if self._book_text == before:
            return
        for name, hand in self.hands.items():
            if hand.registered and hand.process is not None:
                self._say_book(name)

    def _next_seq(self) -> int:
        self._seq_out += 1
        return self._seq_out

    def onDead(self, memo: str | None, dst: str, reason: str) -> None:
        """Count a memo of the boss's own that could not be delivered."""
        del memo
        self.count("memos.dead")
        self.tell("hand.dead_letters", hand=self._by_addr.get(dst, dst), count=1, why=reason)

    # ------------------------------------------------------------------ decide

    def feed(self, name: str, event: r.Event) -> None:
        """Let something happen to a hand in this turn."""
        self._events.append((name, event))
        self.wake()

    def stop(self, names: Iterable[str], event: r.StopAsked) -> None:
        """Ask hands to end, the ones that come after others first."""
        for name in names:
            self._stops[name] = event
        self._order_new = True
        self.wake()

    def _decide(self) -> None:
        """Ask the rules about everything that happened, and about what follows of it."""
        while self._events or self._order_new:
            events, self._events = self._events, []
            for name, event in events:
                self._step(name, event)
            if self._order_new:
                self._order_new = False
                self._order()

    def _step(self, name: str, event: r.Event) -> None:
        hand = self.hands.get(name)
        if hand is None:
            return
        if isinstance(event, (r.StartAsked, r.RestartAsked)):
            self._stops.pop(name, None)
        after, actions = policy.step(hand, event, self.now())
        self._actions += actions
        if after is hand:
            return
        self.hands[name] = after
        self._dirty.add(name)
        if after.wake_at != hand.wake_at:
            self._set_alarm(name)
        if after.state is not hand.state or after.leaving != hand.leaving:
            self._order_new = True
            if after.state in UP and hand.state not in UP:
                self._attend(after)
            if (after.state in r.RESTING) != (hand.state in r.RESTING) or after.leaving:
                self._book_new = True
            if after.state in r.RESTING and hand.state not in r.RESTING:
                self._lay_to_rest(after)

    def _lay_to_rest(self, hand: r.Hand) -> None:
        """Empty the mailbox of a hand that is not coming back by itself."""
        count = self._mailroom.empty(hand.name)
        if count:
            self.count("memos.dead", count)
            self.tell("hand.dead_letters", hand=hand.name, count=count, why=f"it is {hand.state}")

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
                self.hands[name] = policy.waits(self.hands[name], why)
                self._dirty.add(name)
                self.tell("hand.waiting", hand=name, reason=why)

    # ------------------------------------------------------------------ write down

    def tell(self, event: str, **facts: Any) -> None:
        """Put an event into the ring, the journal and the streams."""
        level = STORY[event].level
        self._tell_journal(event, level, facts)
        if level == "debug":
            return
        self.seq += 1
        wall = time.time()
        told = {key: value for key, value in facts.items() if value is not None}
        self._turn.events.append(
            (self.seq, wall, facts.get("hand"), event, orjson.dumps(told, default=str))
        )
        for watcher in self.watchers:
            watcher({"seq": self.seq, "at": wall, "event": event, "level": level, **told})

    def count(self, name: str, by: int = 1) -> int:
        """Add to a counter that outlives the boss; return its new value."""
        self.tallies[name] = value = self.tallies.get(name, 0) + by
        self._turn.counters[name] = value
        return value

    def _commit(self) -> None:
        """Write the turn down before anything of it is done."""
        for action in self._actions:
            if isinstance(action, r.Note):
                self.tell(action.event, hand=action.name, **action.facts)
            elif isinstance(action, r.Mourn):
                self._mourn(action)
        turn = self._turn
        dirty, self._dirty = self._dirty, set()
        self._changed |= dirty
        for name in dirty:
            hand = self.hands.get(name)
            if hand is not None and self._written.get(name) is not hand:
                turn.hands_put[name] = orjson.dumps(keeping.hand_row(hand, self._survey.boot_id))
                self._written[name] = hand
        if not turn:
            return
        try:
            self.store.commit(turn)
        except StoreError as error:
            self._write_failed(error)
            return
        self._turn = self._new_turn()
        if self.write_fault:
            self.write_fault = ""
            self.tell("store.recovered")
        for launcher, name, generation in self._forgets:
            with suppress(LauncherError):
                launcher.forget(name, generation)
        self._forgets.clear()

    def _write_failed(self, error: StoreError) -> None:
        """Keep the crew running and the turn for later; say it once."""
        first = not self.write_fault
        self.write_fault = str(error)
        del self._turn.events[: -self.config.boss.events_keep]
        if first:
            self.tell("store.write_refused", why=str(error))

    def _mourn(self, action: r.Mourn) -> None:
        """Keep how a process ended, and let go of what was known of it."""
        station = self.station(action.name)
        last = self._last_words(action.name)
        end = action.end
        record = {
            "generation": action.generation,
            "code": end.code,
            "signal": end.signal,
            "core": end.core,
            "rss": end.maxrss_bytes,
            "uptime_s": action.uptime_s,
            "asked_by": action.asked_by,
            "last_beat_s": station.beat_age(self.now()),
            "words": last.text,
            "gist": last.gist,
        }
        self._turn.deaths.append((action.name, end.at_wall or time.time(), orjson.dumps(record)))
        station.close()
        self.watch.drop(action.name)
        addr = self._mailroom.path(action.name)
        if station.hio and station.addr != addr:
            self._by_addr.pop(station.addr, None)
            station.addr = addr
            self._by_addr[addr] = action.name
            self._book_new = True

    # ------------------------------------------------------------------ do

    def _perform(self) -> None:
        actions, self._actions = self._actions, []
        for action in actions:
            match action:
                case r.Spawn(name):
                    self._spawn(name)
                case r.SendEnd(name):
                    hand = self.hands[name]
                    text = crewing.end(self.name, generation=hand.generation, seq=self._next_seq())
                    self._say(name, text)
                case r.Signal(name, sig):
                    self._signal(name, signal.Signals[f"SIG{sig}"])
                case r.Sweep(name):
                    self._sweep(name)
                case _:
                    pass

    def _spawn(self, name: str) -> None:
        hand = self.hands[name]
        station = self.station(name)
        station.reset(self.token_of(name, hand.generation))
        try:
            box = self._mailroom.bind(name)
            order = specs.order(
                hand.spec,
                instance=name,
                ordinal=hand.ordinal,
                generation=hand.generation,
                token=station.token,
                state_dir=str(self.places.hand_state(name)),
                addr=self._mailroom.path(name),
                boss_name=self.name,
                boss_addr=str(self.places.boss_socket),
                boss_pid=os.getpid(),
                log_default=self._log_default,
                log_dir=str(self.places.logs),
            )
            launcher = self._launcher_for(hand.spec.python)
            launcher.spawn(order, box)
            station.launcher = launcher
        except SpawnError as error:
            refused = r.Refused(error.step, str(error), error.errno, error.path)
            self._events.append((name, refused))
        except LauncherError as error:
            self._events.append((name, r.Refused("launcher", str(error))))
        except OSError as error:
            why = f"{error.strerror or error}: {error.filename or self._mailroom.path(name)}"
            self._events.append((name, r.Refused("mailbox", why, error.errno)))

    def _launcher_for(self, python: str | None) -> launching.Launcher:
        found = self._current.get(python)
        if found is None:
            found = launching.Launcher.start(str(self.places.runtime), python=python)
            # Its hands are to have what this boss was given, not what it took for itself.
            with suppress(ProcessLookupError):
                resource.prlimit(found.pid, resource.RLIMIT_NOFILE, self._nofile)
            self._have_launcher(found)
            self._current[python] = found
            found.hold("boss", self._memo_fd)
            self.tell("launcher.started", launcher=found.id, pid=found.pid, python=found.python)
        return found

    def _have_launcher(self, launcher: launching.Launcher) -> None:
        self._launchers[launcher.id] = launcher
        self._waiters.register(launcher.fileno(), select.EPOLLIN)

    def _forget(self, launcher_id: str, name: str, generation: int) -> None:
        launcher = self._launchers.get(launcher_id)
        if launcher is not None:
            self._forgets.append((launcher, name, generation))

    def _signal(self, name: str, number: int) -> None:
        """Signal one process, through its pidfd only."""
        pidfd = self.station(name).pidfd
        if pidfd is not None:
            procs.signal_pidfd(pidfd, number)

    def _sweep(self, name: str) -> None:
        """Kill a hand's process and let its launcher sweep what is left of it."""
        station = self.station(name)
        self._signal(name, signal.SIGKILL)
        if station.launcher is not None:
            with suppress(LauncherError):
                station.launcher.sweep(name, self.hands[name].generation)

    def _forget_hand(self, name: str, by: str) -> None:
        """Take a hand out of the crew for good."""
        left = self.hands.pop(name, None)
        if left is not None:
            self.departed[name] = left
        self._dirty.add(name)
        self._written.pop(name, None)
        self._turn.hands_put.pop(name, None)
        self._turn.hands_drop.add(name)
        self._turn.durable = True
        station = self.stations.pop(name, None)
        if station is not None:
            self._by_addr.pop(station.addr, None)
            self.forget(station.addr, "it left the crew")
            station.close()
        lost = self._mailroom.empty(name)
        if lost:
            self.count("memos.dead", lost)
            self.tell("hand.dead_letters", hand=name, count=lost, why="it left the crew")
        self._mailroom.drop(name)
        for launcher in self._launchers.values():
            with suppress(LauncherError):
                launcher.drop(name)
        self.watch.drop(name)
        self._book_new = True
        self.tell("hand.removed", hand=name, by=by)

    # ------------------------------------------------------------------ health

    def _watch(self, name: str, process: r.ProcessId) -> None:
        limits = self.hands[name].spec.health
        closely = any(most is not None for most in (limits.rss_max, limits.cpu_max, limits.fds_max))
        self.watch.add(name, process, self.now(), closely=closely)

    def _sample(self) -> None:
        now = self.now()
        late_s = max(0.0, now - self._expected_at) if self._expected_at < math.inf else 0.0
        for name, sample in self.watch.sample_due(now):
            station = self.stations.get(name)
            if station is not None:
                station.look(sample)
                self._judge(name, health.Evidence(sample=sample, boss_late_s=late_s))
        while self._checks and self._checks[0][0] <= now:
            _, name = heapq.heappop(self._checks)
            self._read_dump(name)
            self._judge(name, health.Evidence(boss_late_s=late_s))

    def _attend(self, hand: r.Hand) -> None:
        """Begin to watch the health of a hand that has come up."""
        station = self.station(hand.name)
        beats = hand.registered and not station.hio and hand.spec.doers is not None
        station.health = health.begin(self.now(), beats=beats)
        self._judge(hand.name, health.Evidence())

    def _judge(self, name: str, evidence: health.Evidence) -> None:
        """Let the witnesses speak about a hand that is up, and act on what they say."""
        hand, station = self.hands.get(name), self.stations.get(name)
        if hand is None or station is None or station.health is None or hand.state not in UP:
            return
        now, limits = self.now(), hand.spec.health
        state, verdict, why = health.judge(station.health, evidence, now, limits)
        if state.verdict is not station.health.verdict:
            station.taken = set()
            ok = verdict is health.Verdict.OK
            self._events.append((name, r.Judged(ok, str(verdict), "; ".join(why))))
        station.health = state
        self.watch.suspect(name, health.suspect(state, now, limits), now)
        for step in health.steps(state, now, limits):
            if step.what not in station.taken:
                station.taken.add(step.what)
                self._climb(name, step.what, str(verdict))
        due = [step.at for step in health.ladder(state, limits) if step.what not in station.taken]
        check_at = min([health.next_check_at(state, now, limits), *due])
        if check_at < math.inf and check_at != station.check_at:
            station.check_at = check_at
            heapq.heappush(self._checks, (max(check_at, now), name))

    def _climb(self, name: str, what: str, verdict: str) -> None:
        """Take a rung of the ladder."""
        hand, station = self.hands[name], self.stations[name]
        if what == "dump" and hand.spec.doers is not None and station.words is not None:
            station.dump_from = os.fstat(station.words).st_size
            station.dump_due = True
            self._signal(name, DUMP_SIGNAL)
            heapq.heappush(self._checks, (self.now() + DUMP_READ_S, name))
        elif what == "restart":
            asked = r.RestartAsked("hiod", f"{verdict} (health.on_fail = restart)", counts=True)
            self._events.append((name, asked))

    def _read_dump(self, name: str) -> None:
        """Read the stack a hand was asked for, and keep it with the verdict."""
        station = self.stations.get(name)
        if station is None or not station.dump_due or station.words is None:
            return
        size = os.fstat(station.words).st_size
        raw = os.pread(
            station.words, WORDS_BYTES, min(station.dump_from, max(0, size - WORDS_BYTES))
        )
        station.dump_due = False
        if not raw:
            return
        station.stack = raw.decode("utf-8", "replace").strip()
        lines = [line.strip() for line in station.stack.splitlines()]
        where = next((line for line in lines if line.startswith("File ")), "no Python frame")
        self.tell("hand.dumped", hand=name, where=where, stack=station.stack)

    # ------------------------------------------------------------------ the crew

    def enlist(self, member: roster.Member, *, by: str) -> tuple[str, ...]:
        """Take a definition into the crew, or change it; return the hands that are new."""
        name = member.spec.name
        self.members[name] = member
        self._turn.members_put[name] = (orjson.dumps(_member_row(member)), member.source)
        self._turn.members_drop.discard(name)
        self._turn.durable = True
        new = roster.missing(self.roll, member)
        for hand in new:
            self.hands[hand.name] = hand
            self._dirty.add(hand.name)
            self.station(hand.name)
            self.tell("hand.added", hand=hand.name, by=by)
            if hand.wanted is r.Wanted.UP:
                self._events.append((hand.name, r.StartAsked(by, time.time())))
        self._book_new = self._order_new = True
        self.wake()
        return tuple(hand.name for hand in new)

    def dismiss(self, name: str, *, by: str) -> None:
        """Take a definition out of the crew; its hands leave when they have ended."""
        self.members.pop(name, None)
        self._turn.members_put.pop(name, None)
        self._turn.members_drop.add(name)
        self._turn.durable = True
        self.release([hand.name for hand in roster.hands_of(self.roll, name)], by=by)

    def release(self, names: Sequence[str], *, by: str) -> None:
        """Let hands leave the crew: they are stopped, in order, and then forgotten."""
        event = r.StopAsked(by, time.time(), leaving=True)
        for name in names:
            hand = self.hands.get(name)
            if hand is not None:
                self.hands[name] = policy.leaves(hand)
                self._dirty.add(name)
        self._book_new = True
        self.stop(names, event)

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
        self.pending = 0
        return changes

    def revise(
        self, old: specs.HandSpec, new: specs.HandSpec, *, by: str, first: bool = False
    ) -> None:
        """Carry a changed definition to its hands, each key as it declares."""
        ways = specs.diff(old, new)
        gone = roster.surplus(self.roll, new.name)
        if gone:
            self.release(gone, by=by)
        ways = {key: way for key, way in ways.items() if key != "count"}
        restart = not first and "restart" in ways.values()
        live = first or "next" not in ways.values()
        for hand in roster.hands_of(self.roll, new.name):
            if hand.leaving:
                continue
            self._events.append((hand.name, r.Revised(new, restart=restart, live=live, by=by)))
            if ways:
                self.tell("hand.revised", hand=hand.name, by=by, keys=", ".join(sorted(ways)))
        self.wake()

    def reload(self, *, by: str) -> None:
        """Read the files again and apply them; broken files change nothing."""
        self.on_reload(by)

    # ------------------------------------------------------------------ for the desk

    def is_stopping(self, name: str) -> bool:
        """Say whether a hand is on its way down or waits for its turn to be."""
        hand = self.hands.get(name)
        return name in self._stops or (hand is not None and hand.state is r.State.STOPPING)

    def glance(self, name: str) -> None:
        """Look at a hand's process if nobody has yet."""
        station = self.station(name)
        if station.sample is None and name in self.watch:
            station.look(self.watch.look(name, self.now()))

    def signal_hand(self, name: str, number: signal.Signals) -> bool:
        """Send a hand a signal; say whether there was somebody to send it to."""
        pidfd = self.station(name).pidfd
        return pidfd is not None and procs.signal_pidfd(pidfd, number)

    def send_memo(self, name: str, tag: str, load: Mapping[str, Any]) -> bool:
        """Send a hand a memo of an operator's; say whether there was room for it."""
        return self.memoit(crewing.write(tag, self.name, load), self.station(name).addr)

    def launchers(self) -> list[tuple[launching.Launcher, int]]:
        """Return the launchers and how many hands each has."""
        parents = [station.launcher for station in self.stations.values()]
        return [(one, parents.count(one)) for one in self._launchers.values()]

    # ------------------------------------------------------------------ begin and end

    def shut_down(self, *, keep: bool, why: str) -> None:
        """End the boss: leave its hands alone, or stop them all in reverse order."""
        outcome = "keep" if keep else "stop"
        if self.outcome == outcome or self.outcome == "stop":
            return
        self.outcome = outcome
        self.tell("boss.stopping", why=why)
        self.notify.stopping()
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
        ordered = any(
            hand.state is r.State.STARTING and hand.process is None for hand in self.hands.values()
        )
        if ordered:
            return
        self.ready = True
        summary = self.summary()
        self.tell("boss.ready", summary=summary)
        self.notify.ready(status=summary)
        self.when_ready()

    def summary(self) -> str:
        """Say how the crew stands, in one line."""
        counts: dict[str, int] = {}
        for hand in self.hands.values():
            counts[str(hand.state)] = counts.get(str(hand.state), 0) + 1
        if not counts:
            return "no hands yet"
        parts = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        total = len(self.hands)
        return f"{total} hand{'s' if total != 1 else ''}: {parts}"


def _member_row(member: roster.Member) -> dict[str, Any]:
    return {"spec": keeping.spec_row(member.spec), "filed_count": member.filed_count}


def _clipped(load: Mapping[str, Any]) -> Any:
    """Return a memo's load as an event may keep it: at most 4 KiB of JSON."""
    text = orjson.dumps(load)
    return load if len(text) <= MEMO_BYTES else {"cut": text[:MEMO_BYTES].decode("utf-8", "ignore")}


MEMO_BYTES = 4096
UP = frozenset({r.State.READY, r.State.RUNNING, r.State.DEGRADED})


def held(fd: int) -> int | None:
    """Return a received descriptor; None for one there was no room for."""
    return fd if fd >= 0 else None
