"""Readiness that has to be heard or tried: NOTIFY_SOCKETs of hands, and addresses they answer at.

Decides who may speak on a hand's NOTIFY_SOCKET, how long its socket outlives a boss, and when an
address is tried. Leaves what a word means for the hand to ``rules.policy``. Invariants: a word
counts only if the kernel says the hand's process or a living descendant of it sent it; an address
is tried only while its hand waits to be ready; no hand is ever blocked by a boss that is away.

A hand that is not ready yet has its socket held by its launcher too: what it says while there is
no boss waits there. Once it is ready the launcher lets go: with nobody behind the path a hand's
words are refused at once, where a held queue would fill up and block it. The next boss binds the
path anew.
"""

from __future__ import annotations

import heapq
import math
import select
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hiod.errors import HiodError
from hiod.host import procs
from hiod.host.notifying import Ear, Knock, doors
from hiod.rules import records as r
from hiod.rules.kinds import split_target

if TYPE_CHECKING:
    from hiod.boss.overseer import Overseer
    from hiod.host.launching import Launcher
    from hiod.host.notifying import Notice

SUFFIX = ".nfy"
"""Behind a hand's name: its NOTIFY_SOCKET, and what a launcher calls that. As long as a mailbox."""
FIRST_S, MOST_S, FACTOR = 0.05, 1.0, 1.6
"""Pauses between attempts to connect: the first, the longest, and how they grow."""
UNANSWERED_S = 2.0
"""An attempt that is neither taken nor refused is given up after this, for the next."""
HEARD_MOST = 32
"""Words taken from one hand in a turn: more than its queue holds, so it speaks without a pause."""
HUSH_S = 0.1
"""Such a hand is not heard for so long; its own sends wait meanwhile."""
STATUS_CHARS = 256


@dataclass(slots=True)
class _Trial:
    """A hand's address that is being tried."""

    doors: list[tuple[int, tuple[str, int] | str]]
    pause_s: float = FIRST_S
    tries: int = 0
    knock: Knock | None = None
    due_at: float = 0.0


@dataclass(slots=True)
class _Listening:
    """A hand's NOTIFY_SOCKET."""

    ear: Ear
    heard: bool = False
    held: bool = False


class Readiness:
    """What the hands of one boss say by NOTIFY_SOCKET, and where they answer.

    Args:
        boss: whose hands they are.
        folder: where the sockets are bound.
    """

    def __init__(self, boss: Overseer, folder: Path) -> None:
        self._boss = boss
        self._folder = folder
        self._epoll = select.epoll()
        self._who: dict[int, str] = {}
        self._ears: dict[str, _Listening] = {}
        self._trials: dict[str, _Trial] = {}
        self._due: list[tuple[float, str]] = []

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to hear or to see."""
        return self._epoll.fileno()

    def next_at(self) -> float:
        """Return when somebody is to be tried, or heard, again."""
        return self._due[0][0] if self._due else math.inf

    def path(self, name: str) -> str:
        """Return where a hand's NOTIFY_SOCKET is, or would be."""
        return str(self._folder / f"{name}{SUFFIX}")

    def held(self) -> dict[str, int]:
        """Return the sockets that are to outlive the boss, by the name a launcher holds them."""
        return {f"{name}{SUFFIX}": one.ear.fileno() for name, one in self._ears.items() if one.held}

    # ------------------------------------------------------------------ as hands come and go

    def take(self, held: dict[str, int]) -> None:
        """Take out of what launchers held the NOTIFY_SOCKETs; the paths of all others go."""
        for what in [what for what in held if what.endswith(SUFFIX)]:
            name = what.removesuffix(SUFFIX)
            self._ears[name] = _Listening(Ear(self.path(name), held.pop(what)), held=True)
        for path in self._folder.glob(f"*{SUFFIX}"):
            if path.name.removesuffix(SUFFIX) not in self._ears:
                self._boss.clear(path)

    def adopt(self, hand: r.Hand) -> None:
        """Go on hearing, or trying, a living hand of an earlier boss."""
        name = hand.name
        if hand.spec.ready.by == "notify" and name not in self._ears:
            try:
                self._ears[name] = _Listening(Ear(self.path(name)))
            except (OSError, HiodError) as error:
                self._boss.switchboard.reject(name, f"its NOTIFY_SOCKET: {error}")
        self.follow(hand)

    def settle(self) -> None:
        """Let go of sockets whose hands have not lived to be adopted."""
        for name in list(self._ears):
            hand = self._boss.hands.get(name)
            if hand is None or hand.process is None:
                self._hush(name)

    def open(self, name: str, launcher: Launcher) -> str:
        """Bind a NOTIFY_SOCKET for a hand's next process and return its path.

        Raises:
            SizeError: the path is too long for a socket.
            OSError: it cannot be bound.
            LauncherError: the launcher is gone.
        """
        self._hush(name)
        listening = self._ears[name] = _Listening(Ear(self.path(name)))
        launcher.hold(f"{name}{SUFFIX}", listening.ear.fileno())
        listening.held = True
        return listening.ear.path

    def follow(self, hand: r.Hand) -> None:
        """Begin or end hearing and trying, now that a hand has come where it is."""
        name = hand.name
        listening = self._ears.get(name)
        if listening is not None:
            if hand.state not in r.LIVE:
                self._hush(name)
            elif hand.process is not None:
                if not listening.heard:
                    # Only now is there a process whose word can be told from another's.
                    listening.heard = True
                    self._watch(listening.ear.fileno(), name, select.EPOLLIN)
                if hand.state is not r.State.STARTING:
                    self._release(name, listening)
        if hand.spec.ready.by == "connect":
            waits = hand.state is r.State.STARTING and hand.process is not None
            if waits and name not in self._trials:
                self._begin(hand)
            elif not waits:
                self._end(name)

    def close(self, *, stopped: bool) -> None:
        """Let go of everything; ``stopped``: no hand is left that could speak."""
        for name in list(self._trials):
            self._end(name)
        for name, listening in list(self._ears.items()):
            if stopped:
                self._hush(name)
            else:
                listening.ear.close()
        self._epoll.close()

    # ------------------------------------------------------------------ hearing and seeing

    def hear(self) -> None:
        """Take in what hands said, see who answers, and try those whose time has come."""
        now = self._boss.now()
        for fd, _ in self._epoll.poll(0):
            name = self._who[fd]
            if name in self._trials:
                self._see(name, now)
            else:
                self._listen(name, now)
        while self._due and self._due[0][0] <= now:
            at, name = heapq.heappop(self._due)
            trial = self._trials.get(name)
            if trial is not None:
                if trial.due_at == at:
                    self._try(name, trial, now)
            elif name in self._ears and self._ears[name].heard:
                self._watch(self._ears[name].ear.fileno(), name, select.EPOLLIN)

    def _watch(self, fd: int, name: str, events: int) -> None:
        if fd in self._who:
            self._epoll.modify(fd, events)
        else:
            self._who[fd] = name
            self._epoll.register(fd, events)

    def _unwatch(self, fd: int) -> None:
        if self._who.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # ------------------------------------------------------------------ NOTIFY_SOCKET

    def _listen(self, name: str, now: float) -> None:
        ear = self._ears[name].ear
        notices = ear.take(HEARD_MOST)
        for notice in notices:
            self._hear_one(name, notice)
        ear.answer()
        if len(notices) == HEARD_MOST:
            self._watch(ear.fileno(), name, 0)
            heapq.heappush(self._due, (now + HUSH_S, name))

    def _hear_one(self, name: str, notice: Notice | None) -> None:
        boss = self._boss
        hand = boss.hands[name]
        if notice is None:
            boss.switchboard.reject(name, "what came by its NOTIFY_SOCKET makes no sense")
            return
        if hand.process is None or not (
            notice.pid == hand.process.pid or procs.descends(notice.pid, hand.process.pid)
        ):
            why = f"process {notice.pid} on its NOTIFY_SOCKET is not {name}"
            boss.switchboard.reject(name, why)
            return
        fields = notice.fields
        if "STATUS" in fields:
            boss.said(name, fields["STATUS"][:STATUS_CHARS])
        if fields.get("READY") == "1":
            boss.feed(name, r.SaidReady("notify"))
        usec = fields.get("WATCHDOG_USEC", "")
        if usec.isdecimal():
            boss.station(name).watchdog_s = int(usec) / 1e6 or None
        if fields.get("WATCHDOG") == "1":
            boss.clinic.ping(hand)

    def _release(self, name: str, listening: _Listening) -> None:
        """Have launchers let go of a socket one of them held."""
        if listening.held:
            listening.held = False
            self._boss.processes.launchers.drop(f"{name}{SUFFIX}")

    def _hush(self, name: str) -> None:
        """Close a hand's socket and remove its path."""
        listening = self._ears.pop(name, None)
        if listening is None:
            return
        self._release(name, listening)
        self._unwatch(listening.ear.fileno())
        listening.ear.close()
        self._boss.clear(Path(listening.ear.path))

    # ------------------------------------------------------------------ addresses

    def _begin(self, hand: r.Hand) -> None:
        to = self._to(hand)
        trial = self._trials[hand.name] = _Trial(doors(to, split_target(to)))
        self._try(hand.name, trial, self._boss.now())

    def _try(self, name: str, trial: _Trial, now: float) -> None:
        """Knock at the next door of a hand, and see about it later."""
        self._hang_up(trial)
        trial.knock = Knock(*trial.doors[trial.tries % len(trial.doors)])
        trial.tries += 1
        if trial.knock.answered is None:
            self._watch(trial.knock.fileno(), name, select.EPOLLOUT)
            self._at(name, trial, now + UNANSWERED_S)
        else:
            self._see(name, now)

    def _see(self, name: str, now: float) -> None:
        """See how an attempt went; plan the next one if nobody answered."""
        trial = self._trials[name]
        answered = trial.knock is not None and trial.knock.look()
        if answered is None:
            return
        self._hang_up(trial)
        if answered and not self._is_anothers(name):
            self._end(name)
            self._boss.feed(name, r.SaidReady("connect"))
            return
        # All doors of one address are one attempt.
        pause_s = trial.pause_s if trial.tries % len(trial.doors) == 0 else 0.0
        if pause_s:
            trial.pause_s = min(pause_s * FACTOR, MOST_S)
        self._at(name, trial, now + pause_s)

    def _is_anothers(self, name: str) -> bool:
        """Say whether a hand on its way out may have answered: it has the same address."""
        boss = self._boss
        going = [
            hand
            for hand in boss.hands.values()
            if hand.process is not None
            and (hand.leaving or hand.state is r.State.STOPPING)
            and hand.spec.ready.by == "connect"
            and hand.name != name
        ]
        return bool(going) and self._to(boss.hands[name]) in map(self._to, going)

    def _to(self, hand: r.Hand) -> str:
        return str(self._boss.processes.order_for(hand)["ready_to"])

    def _at(self, name: str, trial: _Trial, at: float) -> None:
        trial.due_at = at
        heapq.heappush(self._due, (at, name))

    def _hang_up(self, trial: _Trial) -> None:
        if trial.knock is not None:
            self._unwatch(trial.knock.fileno())
            trial.knock.close()
            trial.knock = None

    def _end(self, name: str) -> None:
        trial = self._trials.pop(name, None)
        if trial is not None:
            self._hang_up(trial)
