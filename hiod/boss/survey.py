"""What a starting boss finds: its own records, launchers of earlier bosses, living hands.

Looks, and decides nothing but whether the start is cold. Invariant: when it returns, every launcher
found has told all it knows, is gone, or had its time; the last are heard when they speak.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import orjson

from hiod.errors import StoreError
from hiod.host import finding, launching, procs
from hiod.rules import keeping
from hiod.rules.adoption import Ended, Seen
from hiod.rules.records import LIVE, End, Hand, ProcessId, token_of
from hiod.rules.roster import Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hiod.boss.places import Places
    from hiod.host.store import Saved

AGAIN_S = 0.005
"""Between two knocks at a launcher that still has another boss."""
REPLAY_S = 5.0
"""How long launchers may take to tell what they know; they are asked only for what is in memory."""


@dataclass
class Survey:
    """What was found.

    Attributes:
        members, hands, counters, last_seq: the records; each hand with the boot it was written in.
        launchers: those that live, whether they told all they know or nothing yet.
        seen, ends: what they say is alive, and what has ended.
        fds: (pidfd, words) by (name, generation), owned by whoever takes them out.
        mailboxes: mailbox sockets by hand.
        boss_fd, boss_fd_age: the boss's own socket, and when the launcher that held it was started.
        alive: written-down processes found alive by looking.
        cold: nobody is alive.
        notes: events to tell once there is somebody to tell them.
    """

    boot_id: str
    version: str
    members: dict[str, Member] = field(default_factory=dict)
    hands: dict[str, tuple[Hand, str]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    last_seq: int = 0
    launchers: list[launching.Launcher] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    ends: list[Ended] = field(default_factory=list)
    fds: dict[tuple[str, int], tuple[int | None, int | None]] = field(default_factory=dict)
    mailboxes: dict[str, int] = field(default_factory=dict)
    boss_fd: int | None = None
    boss_fd_age: int = -1
    alive: set[ProcessId] = field(default_factory=set)
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def cold(self) -> bool:
        """Whether nobody is alive."""
        return not self.seen and not self.alive

    def let_go(self) -> None:
        """Close the descriptors that nobody took out."""
        for fds in self.fds.values():
            for fd in fds:
                if fd is not None:
                    os.close(fd)
        self.fds.clear()


def survey(places: Places, saved: Saved, version: str) -> Survey:
    """Look at everything an earlier boss may have left.

    Raises:
        StoreError: a record is not one this version can use.
    """
    found = Survey(boot_id=procs.boot_id(), version=version)
    found.counters = dict(saved.counters)
    found.last_seq = saved.last_seq
    _read(found, saved)
    _ask_launchers(found, places)
    _look_for_unrecorded(found, saved.meta.get("crew_id", ""))
    reported = {one.process for one in found.seen}
    for hand, boot in found.hands.values():
        process = hand.process
        if (
            process is not None
            and boot == found.boot_id
            and process not in reported
            and procs.alive(process)
        ):
            found.alive.add(process)
    return found


def _look_for_unrecorded(found: Survey, crew_id: str) -> None:
    """Find hands that were born when boss and launcher died, before anybody wrote them down."""
    told = {(one.name, one.generation) for one in found.seen}
    told |= {(one.name, one.generation) for one in found.ends}
    sought = {
        token_of(crew_id, name, hand.generation): hand
        for name, (hand, boot) in found.hands.items()
        if hand.state in LIVE
        and hand.process is None
        and boot == found.boot_id
        and (name, hand.generation) not in told
    }
    for token, process in finding.find_hands(sought).items():
        hand = sought[token]
        found.seen.append(Seen(hand.name, hand.generation, token, process, launcher=""))


def _read(found: Survey, saved: Saved) -> None:
    for name, (text, source) in saved.members.items():
        row: Mapping[str, Any] = orjson.loads(text)
        try:
            found.members[name] = Member(
                keeping.spec_of(row["spec"]), source, row.get("filed_count")
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f'the record of member "{name}" cannot be used: {error}') from error
    known: keeping.Specs = {}
    for name, text in saved.hands.items():
        try:
            found.hands[name] = keeping.hand_of(orjson.loads(text), known)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f'the record of hand "{name}" cannot be used: {error}') from error


def _ask_launchers(found: Survey, places: Places) -> None:
    """Let every living launcher tell what it holds, until it says that was all.

    One that still has another boss is asked again: the locks are ours, so that other one is
    dying, and its launcher has not been told by the kernel yet.
    """
    runtime = str(places.runtime)
    deadline = time.monotonic() + REPLAY_S
    busy = _ask(found, launching.Launcher.find(runtime), deadline)
    while busy and time.monotonic() < deadline:
        select.select((), (), (), AGAIN_S)
        busy = _ask(found, launching.Launcher.find(runtime, only=busy), deadline)


def _ask(found: Survey, asked: Iterable[launching.Launcher], deadline: float) -> set[str]:
    """Let these launchers tell what they hold; return the ids of those that turned us away."""
    busy: set[str] = set()
    poll = select.poll()
    waiting = {launcher.fileno(): launcher for launcher in asked}
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            launcher = waiting[fd]
            outcome = _take(found, launcher)
            if outcome is not None:
                poll.unregister(fd)
                del waiting[fd]
            if outcome is Outcome.BUSY:
                busy.add(launcher.id)
    for launcher in waiting.values():
        # It neither speaks nor ends. Its hands are found by the records, as if it were gone; what
        # it has to tell is news whenever it comes.
        found.notes.append(("launcher.silent", {"launcher": launcher.id, "pid": launcher.pid}))
        found.launchers.append(launcher)
    return busy


class Outcome(Enum):
    """What became of asking a launcher."""

    TOLD = "it told all it knows"
    BUSY = "it has another boss"
    GONE = "it is gone"


def _take(found: Survey, launcher: launching.Launcher) -> Outcome | None:
    """Take in what one launcher says; return what became of it, None while it goes on telling.

    What it says behind the replay is news, and no less true: a hand may end while we look.
    """
    outcome = None
    for message in launcher.take():
        match message:
            case launching.Held(fd=-1):
                pass
            case launching.Held(what="boss", fd=fd):
                _keep_boss(found, fd, launcher.pid)
            case launching.Held(what=name, fd=fd):
                if name in found.mailboxes:
                    os.close(fd)
                else:
                    found.mailboxes[name] = fd
            case launching.Living():
                _take_living(found, message)
            case launching.Exited():
                _take_exit(found, message)
            case launching.Replayed():
                found.launchers.append(launcher)
                outcome = Outcome.TOLD
            case launching.Gone():
                launcher.close()
                with suppress(ValueError):
                    found.launchers.remove(launcher)
                return Outcome.BUSY if message.busy else Outcome.GONE
            case _:
                pass
    return outcome


def _take_living(found: Survey, message: launching.Living) -> None:
    process = ProcessId(message.pid, message.started_at, message.boot_id)
    found.seen.append(
        Seen(message.name, message.generation, message.token, process, message.launcher)
    )
    fds = (_held(message.pidfd), _held(message.words))
    found.fds[message.name, message.generation] = fds


def _take_exit(found: Survey, message: launching.Exited) -> None:
    end = End(message.code, message.signal, message.core, message.at, message.maxrss_kb * 1024)
    key = (message.name, message.generation)
    found.ends.append(Ended(*key, end, message.launcher))
    pidfd, words = found.fds.pop(key, (None, None))
    if pidfd is not None:
        os.close(pidfd)
    if message.words >= 0:
        words = message.words
    found.fds[key] = (None, words)
    found.seen = [one for one in found.seen if (one.name, one.generation) != key]


def _keep_boss(found: Survey, fd: int, holder: int) -> None:
    """Keep one copy of the boss's socket: of several, the one that the youngest launcher held.

    A boss that binds another tells every launcher it can reach, and those it starts.
    """
    process = procs.identify(holder)
    age = process.started_at if process is not None else 0
    if age <= found.boss_fd_age:
        os.close(fd)
        return
    if found.boss_fd is not None:
        os.close(found.boss_fd)
    found.boss_fd, found.boss_fd_age = fd, age


def _held(fd: int) -> int | None:
    """Return a received descriptor; None for one there was no room for."""
    return fd if fd >= 0 else None
