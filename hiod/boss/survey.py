"""What a starting boss finds: its own records, launchers of earlier bosses, living hands.

Looks, and decides nothing but whether the start is cold. Invariant: when it returns, every launcher
found has told all it knows, or is gone.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from hiod.errors import StoreError
from hiod.host import launching, procs
from hiod.rules import keeping
from hiod.rules.adoption import Ended, Seen
from hiod.rules.records import End, Hand, ProcessId
from hiod.rules.roster import Member

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hiod.boss.places import Places
    from hiod.host.store import Saved

REPLAY_S = 5.0
"""How long launchers may take to tell what they know; they are asked only for what is in memory."""


@dataclass
class Survey:
    """What was found.

    Attributes:
        members, hands, counters, last_seq: the records; each hand with the boot it was written in.
        launchers: those that live.
        seen, ends: what they say is alive, and what has ended.
        fds: (pidfd, words) by (name, generation), owned by whoever takes them out.
        mailboxes: mailbox sockets by hand, and the boss's own socket.
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
    alive: set[ProcessId] = field(default_factory=set)
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def cold(self) -> bool:
        """Whether nobody is alive."""
        return not self.seen and not self.alive


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


def _read(found: Survey, saved: Saved) -> None:
    for name, (text, source) in saved.members.items():
        row: Mapping[str, Any] = orjson.loads(text)
        try:
            found.members[name] = Member(
                keeping.spec_of(row["spec"]), source, row.get("filed_count")
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f'the record of member "{name}" cannot be used: {error}') from error
    for name, text in saved.hands.items():
        try:
            found.hands[name] = keeping.hand_of(orjson.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f'the record of hand "{name}" cannot be used: {error}') from error


def _ask_launchers(found: Survey, places: Places) -> None:
    """Let every living launcher tell what it holds, until it says that was all."""
    asked = launching.Launcher.find(str(places.runtime))
    deadline = time.monotonic() + REPLAY_S
    poll = select.poll()
    for launcher in asked:
        poll.register(launcher.fileno(), select.POLLIN)
    waiting = {launcher.fileno(): launcher for launcher in asked}
    while waiting and (left := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            if _take(found, waiting[fd]):
                poll.unregister(fd)
                del waiting[fd]
    for launcher in waiting.values():
        # It neither speaks nor ends. Its hands are found by the records, as if it were gone.
        found.notes.append(("launcher.gone", {"launcher": launcher.id, "pid": None, "hands": 0}))
        launcher.close()


def _take(found: Survey, launcher: launching.Launcher) -> bool:
    """Take in what one launcher says; True when it has said all, or is gone."""
    for message in launcher.take():
        match message:
            case launching.Held(fd=-1):
                pass
            case launching.Held(what="boss", fd=fd):
                _keep_boss(found, fd)
            case launching.Held(what=name, fd=fd):
                if name in found.mailboxes:
                    os.close(fd)
                else:
                    found.mailboxes[name] = fd
            case launching.Living():
                process = ProcessId(message.pid, message.started_at, message.boot_id)
                found.seen.append(
                    Seen(message.name, message.generation, message.token, process, launcher.id)
                )
                fds = (_held(message.pidfd), _held(message.words))
                found.fds[message.name, message.generation] = fds
            case launching.Exited():
                end = End(
                    message.code,
                    message.signal,
                    message.core,
                    message.at,
                    message.maxrss_kb * 1024,
                )
                found.ends.append(Ended(message.name, message.generation, end, launcher.id))
                found.fds[message.name, message.generation] = (None, _held(message.words))
            case launching.Replayed():
                found.launchers.append(launcher)
                return True
            case launching.Gone():
                launcher.close()
                return True
            case _:
                pass
    return False


def _keep_boss(found: Survey, fd: int) -> None:
    """Keep one copy of the boss's socket: the one its path leads to, if several were held."""
    if found.boss_fd is None:
        found.boss_fd = fd
        return
    with suppress(OSError):
        if os.fstat(found.boss_fd).st_ino < os.fstat(fd).st_ino:
            found.boss_fd, fd = fd, found.boss_fd
    os.close(fd)


def _held(fd: int) -> int | None:
    """Return a received descriptor; None for one there was no room for."""
    return fd if fd >= 0 else None
