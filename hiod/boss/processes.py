"""The processes of the crew: has them made and swept, hears of them from launchers and pidfds.

Decides nothing about a hand: what launchers and the kernel say becomes events for the rules. Leaves
to ``launchers`` which launcher makes a hand, to ``adopting`` what an earlier boss left. Invariants:
a process is signalled through its pidfd only, and an end is forgotten by a launcher only once it is
on record.
"""

from __future__ import annotations

import math
import os
import select
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hiod.boss import adopting
from hiod.boss.launchers import Launchers
from hiod.boss.orders import ANSWER_S, Orders
from hiod.errors import LauncherError, SizeError, SpawnError
from hiod.host import finding, launching, packets, procs, sweeping
from hiod.rules import health, specs
from hiod.rules import records as r

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hiod.boss.mailroom import Mailroom
    from hiod.boss.overseer import Overseer

SEEK_S, SEEK_MOST_S = 1.0, 60.0
"""How long until a launcher that could not be asked is asked again: at first, and at most."""


class Processes:
    """The process side of one boss.

    Attributes:
        launchers: those that make hands, and those of earlier bosses.
    """

    def __init__(
        self, boss: Overseer, mailroom: Mailroom, keepsakes: Callable[[], Mapping[str, int]]
    ) -> None:
        around = boss.around
        self._boss = boss
        self._mailroom = mailroom
        self.launchers = Launchers(
            str(around.places.runtime), keepsakes, around.nofile, self._launcher_started
        )
        self.launchers.cgroup = around.groups.launcher
        self._orphans = select.epoll()
        self._orphan_of: dict[int, str] = {}
        self._orders = Orders()
        self._tidy = False  # launchers may have become idle, or are gone
        self._seek_at, self._seek_s = math.inf, SEEK_S

    def fds(self) -> tuple[int, int]:
        """Return what to await: launchers, and the ends of hands that have no launcher any more."""
        return (self.launchers.fileno(), self._orphans.fileno())

    def close(self, *, retire: bool) -> None:
        """Let go of everything; ``retire``: launchers end as soon as they have nobody."""
        self.launchers.close(retire=retire)
        self._orphans.close()

    # ------------------------------------------------------------------ make and end

    def order_for(self, hand: r.Hand) -> dict[str, Any]:
        """Return the order that makes a hand's process, with nothing left to resolve."""
        boss, around = self._boss, self._boss.around
        return specs.order(
            hand.spec,
            instance=hand.name,
            ordinal=hand.ordinal,
            generation=hand.generation,
            token=boss.token_of(hand),
            state_dir=str(around.places.hand_state(hand.name)),
            addr=self._mailroom.path(hand.name),
            boss_name=boss.name,
            boss_addr=str(around.places.boss_socket),
            boss_pid=os.getpid(),
            log_default=around.log_default,
            log_dir=str(around.places.logs),
            cgroup=around.groups.hand(hand.name),
            place=boss.station(hand.name).place,
        )

    def log_of(self, hand: r.Hand, order: Mapping[str, Any] | None = None) -> str:
        """Return the file a program prints to; empty for Doers: their last words are their own."""
        if hand.spec.command is None:
            return ""
        log = str((order or self.order_for(hand))["log"])
        return log if log.startswith("/") else ""

    def spawn(self, name: str) -> None:
        """Order a hand's process; what refuses is an event like any other."""
        boss = self._boss
        hand, station = boss.hands[name], boss.station(name)
        station.reset(boss.token_of(hand))
        try:
            if not self._mailroom.is_there(name):
                boss.open_mailbox(name)
            box = self._mailroom.bind(name)
            boss.around.groups.make(name)
            launcher = self.launchers.make(hand.spec.python)
            order = self.order_for(hand)
            if hand.spec.ready.by == "notify":
                order["notify"] = boss.readiness.open(name, launcher)
                # A program that knows of watchdogs pings at half of this, and is then expected to.
                usec = round(health.patience_s(hand.spec.health) * 1e6)
                order["environ"]["WATCHDOG_USEC"] = str(usec)
            station.print_to(self.log_of(hand, order))
            launcher.spawn(order, box)
            station.launcher = launcher
            self._orders.give(launcher.id, (name, hand.generation), boss.now())
        except SpawnError as error:
            self._refuse(name, r.Refused(error.step, str(error), error.errno, error.path))
        except LauncherError as error:
            self._refuse(name, r.Refused("launcher", str(error)))
        except SizeError as error:
            self._refuse(name, r.Refused("mailbox", str(error)))
        except OSError as error:
            path = str(error.filename or self._mailroom.path(name))
            why = f"{error.strerror or error}: {path}"
            self._refuse(name, r.Refused("mailbox", why, error.errno, path))

    def _refuse(self, name: str, refused: r.Refused) -> None:
        """Note that the machine would not make a hand's process."""
        self._boss.station(name).refused = refused
        self._boss.feed(name, refused)

    def _launcher_started(self, launcher: launching.Launcher) -> None:
        self._boss.ledger.tell(
            "launcher.started", launcher=launcher.id, pid=launcher.pid, python=launcher.python
        )

    def signal(self, name: str, number: int) -> bool:
        """Signal a hand's process, through its pidfd only; say whether there was one."""
        pidfd = self._boss.station(name).pidfd
        return pidfd is not None and procs.signal_pidfd(pidfd, number)

    def has_ended(self, name: str) -> bool:
        """Say whether a hand's process has ended, which its launcher may not have told yet."""
        station = self._boss.stations.get(name)
        return station is not None and station.pidfd is not None and procs.ended(station.pidfd)

    def sweep(self, name: str) -> None:
        """Kill a hand's process and let its launcher sweep what is left of it."""
        station, hand = self._boss.station(name), self._boss.hands[name]
        if station.launcher is None:
            # While its parents live, who went into another session is still found by them.
            sweeping.sweep(self._source(hand))
        self.signal(name, signal.SIGKILL)
        self._boss.around.groups.kill(name)
        if station.launcher is not None:
            with suppress(LauncherError):
                station.launcher.sweep(name, hand.generation)

    def sweep_left(self, hands: Iterable[r.Hand]) -> None:
        """Kill what is left of hands that have ended and have no launcher to sweep them."""
        sources = []
        for hand in hands:
            self._boss.around.groups.kill(hand.name)
            sources += self._source(hand)
        for one in sweeping.sweep(sources):
            self._boss.ledger.tell(
                "launcher.stray",
                pid=one.process.pid,
                comm=one.comm,
                left_by=one.name,
                how=one.how,
            )

    def _source(self, hand: r.Hand) -> list[sweeping.Source]:
        """Return what tells those that come from a hand's process; nothing if it has none."""
        if hand.process is None:
            return []
        token = self._boss.token_of(hand)
        return [sweeping.Source(hand.name, hand.generation, token, hand.process)]

    # ------------------------------------------------------------------ hear

    def next_at(self) -> float:
        """Return when launchers are to be looked for again, or not waited for any longer."""
        return min(self._seek_at, self._orders.next_at())

    def seek(self) -> None:
        """Ask launchers that could not be asked yet; more and more seldom while there are any."""
        sought, reached = self.launchers.seek()
        for launcher in reached:
            self._tell_silent(launcher)
        self._seek_at = self._boss.now() + self._seek_s if sought else math.inf
        self._seek_s = min(self._seek_s * 2, SEEK_MOST_S)

    def _tell_silent(self, launcher: launching.Launcher) -> None:
        self._boss.ledger.tell("launcher.silent", launcher=launcher.id, pid=launcher.pid)

    def hear(self) -> None:
        """Take in what launchers say, and which orphans have ended."""
        if self._boss.now() >= self._seek_at:
            self.seek()
        self._hear_launchers()
        self._give_up_orders()
        self._hear_orphans([fd for fd, _ in self._orphans.poll(0)])

    def _hear_launchers(self) -> None:
        for launcher, message in self.launchers.take():
            match message:
                case launching.Spawned():
                    self._hear_spawned(launcher, message)
                case launching.Refused():
                    self._hear_refused(launcher, message)
                case launching.Exited():
                    self._hear_exited(launcher, message)
                case launching.Stray():
                    self._boss.ledger.tell(
                        "launcher.stray",
                        pid=message.pid,
                        comm=message.comm,
                        left_by=message.name or "an unknown hand",
                        how=sweeping.ENDED if message.name else "left alone",
                    )
                case launching.Held() | launching.Living() | launching.Replayed():
                    adopting.hear_late(self._boss, self._mailroom, launcher, message)
                case launching.Gone(busy=True):
                    self._seek_at = self._boss.now() + self._seek_s
                case launching.Gone():
                    self._hear_gone(launcher, message.why)
                case _:
                    pass

    def _is_current(self, name: str, generation: int) -> bool:
        hand = self._boss.hands.get(name)
        return hand is not None and hand.generation == generation

    def _give_up_orders(self) -> None:
        """Take orders that a launcher does not answer for refused, and let others make hands."""
        for ident, orders in self._orders.overdue(self._boss.now()).items():
            launcher = self.launchers.get(ident)
            if launcher is None:
                continue
            why = f"its launcher, pid {launcher.pid}, has not answered in {ANSWER_S:g} s"
            if not launcher.version:
                why += f': "{launcher.python}" has not become one; is it a python with hiod?'
            for name, generation in orders:
                if self._is_current(name, generation):
                    self._refuse(name, r.Refused("launcher", why))
            self.launchers.pass_over(launcher)

    def _hear_refused(self, launcher: launching.Launcher, message: launching.Refused) -> None:
        name, generation = message.name, message.generation
        self._orders.answer(launcher.id, (name, generation), self._boss.now())
        if self._is_current(name, generation):
            refused = r.Refused(message.step, message.message, message.errno, message.path)
            self._refuse(name, refused)

    def _hear_spawned(self, launcher: launching.Launcher, message: launching.Spawned) -> None:
        order = (message.name, message.generation)
        self._orders.answer(launcher.id, order, self._boss.now())
        if not self._is_current(message.name, message.generation):
            for fd in (message.pidfd, message.words):
                if fd >= 0:
                    os.close(fd)
            with suppress(LauncherError):  # those were its last words
                launcher.sweep(message.name, message.generation)
            return
        station = self._boss.station(message.name)
        station.close()
        station.pidfd, station.words = held(message.pidfd), held(message.words)
        station.launcher = launcher
        process = r.ProcessId(message.pid, message.started_at, message.boot_id)
        self._came_alive(message.name, process)

    def _came_alive(self, name: str, process: r.ProcessId) -> None:
        self._boss.feed(name, r.Spawned(process))
        self._boss.clinic.begin(self._boss.hands[name], process)

    def _hear_exited(self, launcher: launching.Launcher, message: launching.Exited) -> None:
        name, generation = message.name, message.generation
        if self._is_current(name, generation):
            end = r.End(
                message.code, message.signal, message.core, message.at, message.maxrss_kb * 1024
            )
            self._ended(name, end)
        if message.words >= 0:
            os.close(message.words)
        self.tidy_soon()
        self.forget_end(launcher, name, generation)

    def _ended(self, name: str, end: r.End) -> None:
        self._boss.feed(name, r.Exited(end, self._boss.station(name).last_words().gist))

    def forget_end(self, launcher: launching.Launcher | None, name: str, generation: int) -> None:
        """Let a launcher forget how a hand ended, once that is on record."""

        def forget() -> None:
            if launcher is not None:
                with suppress(LauncherError):
                    launcher.forget(name, generation)

        self._boss.ledger.once_written(forget)

    def _hear_gone(self, launcher: launching.Launcher, why: str) -> None:
        """A launcher is gone: its hands live on, watched by their pidfds."""
        boss = self._boss
        alive = 0
        self._orders.forget(launcher.id)
        # One that was killed could not do it itself.
        path = boss.around.places.runtime / "launcher" / launcher.name
        for left in (path, path.with_name(path.name + packets.UNFINISHED)):
            boss.clear(left)
        self.tidy_soon()
        born = self._find_born(launcher)
        for name, station in boss.stations.items():
            hand = boss.hands.get(name)
            if station.launcher is not launcher or hand is None:
                continue
            station.launcher = None
            process = hand.process or born.get(boss.token_of(hand))
            if process is not None:
                alive += 1
                if hand.process is None:
                    self._came_alive(name, process)
                self.watch_orphan(name, process)
            elif hand.state in r.LIVE:
                self._refuse(name, r.Refused("launcher", f"its launcher {why}"))
        if alive or boss.outcome is None:
            boss.ledger.tell(
                "launcher.gone", launcher=launcher.id, pid=launcher.pid, hands=alive, why=why
            )

    def _find_born(self, launcher: launching.Launcher) -> dict[str, r.ProcessId]:
        """Look for hands that a launcher made and did not live to tell of, by token."""
        boss = self._boss
        ordered = [
            boss.token_of(hand)
            for name, hand in boss.hands.items()
            if hand.process is None and boss.station(name).launcher is launcher
        ]
        return finding.find_hands(ordered)

    def watch_orphan(self, name: str, process: r.ProcessId) -> None:
        """Watch a hand without a launcher; nobody can know how it will end."""
        station = self._boss.station(name)
        if station.pidfd is None:
            station.pidfd = procs.open_pidfd(process)
        if station.words is None:
            station.words = finding.find_words(process)
        if station.pidfd is None:
            self.sweep_left([self._boss.hands[name]])
            self._boss.feed(name, r.Exited(r.End(at_wall=time.time())))
            return
        self._orphan_of[station.pidfd] = name
        self._orphans.register(station.pidfd, select.EPOLLIN)

    def leave_orphan(self, name: str) -> None:
        """Watch a hand no longer whose launcher was found: that knows more of its end."""
        pidfd = self._boss.station(name).pidfd
        if pidfd is not None and self._orphan_of.pop(pidfd, None) is not None:
            self._orphans.unregister(pidfd)

    def _hear_orphans(self, fds: Iterable[int]) -> None:
        """Take in the ends of hands without a launcher; what they left, nobody else sweeps."""
        names = []
        for fd in fds:
            self._orphans.unregister(fd)
            names.append(self._orphan_of.pop(fd))
        self.sweep_left(self._boss.hands[name] for name in names)
        for name in names:
            self._ended(name, r.End(at_wall=time.time()))

    # ------------------------------------------------------------------ launchers

    def tidy_soon(self) -> None:
        """Have launchers looked at, at the end of the turn: some may be needed no more."""
        self._tidy = True

    def tidy(self) -> None:
        """Let go of launchers that are not needed any more; keep what others held."""
        boss = self._boss
        if not self._tidy or boss.outcome is not None:
            return
        self._tidy = False
        busy = [
            boss.stations[name].launcher
            for name, hand in boss.hands.items()
            if hand.state in r.LIVE and name in boss.stations
        ]
        needed = any(hand.state not in r.RESTING for hand in boss.hands.values())
        self.launchers.tidy([one for one in busy if one is not None], needed=needed)


def held(fd: int) -> int | None:
    """Return a received descriptor; None for one there was no room for."""
    return fd if fd >= 0 else None
