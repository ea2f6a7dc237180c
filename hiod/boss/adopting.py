"""Adoption, carried out: goes on with what the survey found, or begins afresh.

Decides nothing: ``rules.adoption`` says who is alive, who has ended and how. Leaves finding them to
``survey``. Invariant: a living hand is neither signalled nor told anything that would end it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from hiod.boss.clinic import UP
from hiod.errors import ConfigError, LauncherError
from hiod.host import launching, procs
from hiod.rules import adoption, roster
from hiod.rules import records as r

if TYPE_CHECKING:
    from collections.abc import Collection

    from hiod.boss.mailroom import Mailroom
    from hiod.boss.overseer import Overseer
    from hiod.boss.survey import Survey


def adopt(boss: Overseer, found: Survey) -> frozenset[str]:
    """Go on with the hands of an earlier boss, mourn those that ended since.

    Returns:
        The hands that ended while there was no boss, and how is known.
    """
    findings = adoption.judge(
        found.hands,
        found.seen,
        found.ends,
        found.alive,
        boot_id=found.boot_id,
        tokens={name: boss.token_of(hand) for name, (hand, _) in found.hands.items()},
        now=boss.now(),
    )
    for hand in findings.hands.values():
        boss.put(hand)
    for name, launcher_id in findings.adopted.items():
        _take_over(boss, found, name, launcher_id)
    unseen = [boss.hands[name] for name, ended in findings.ended.items() if ended is None]
    boss.processes.sweep_left(unseen)  # its launcher, which would have done it, died as well
    for name, ended in findings.ended.items():
        _mourn(boss, found, name, ended)
    for one in findings.unknown:
        boss.ledger.tell("process.unknown", pid=one.process.pid, claims=one.name)
    launchers = boss.processes.launchers
    for late in findings.stale:
        boss.processes.forget_end(launchers.get(late.launcher), late.name, late.generation)
    found.let_go()
    if not found.cold:
        boss.processes.tidy_soon()
        _finish_stops(boss)
    boss.membership.line_up()
    boss.readiness.settle()
    if not found.cold:
        boss.ledger.tell("boss.adopted", adopted=len(findings.adopted), ended=len(findings.ended))
        boss.outlook.look(boss.membership.members, boss.config)
        if boss.outlook.pending:
            boss.ledger.tell("config.pending", count=boss.outlook.pending)
    return frozenset(name for name, ended in findings.ended.items() if ended is not None)


def _finish_stops(boss: Overseer) -> None:
    """Go on with stops that an earlier boss had accepted and not come to yet."""
    for hand in list(boss.hands.values()):
        unwanted = hand.leaving or hand.wanted is r.Wanted.DOWN
        if unwanted and hand.state not in r.RESTING and hand.state is not r.State.STOPPING:
            event = r.StopAsked(hand.wanted_by or "hiod", hand.wanted_at, leaving=hand.leaving)
            boss.stop([hand.name], event)


def _take_over(boss: Overseer, found: Survey, name: str, launcher_id: str | None) -> None:
    """Go on with a living hand."""
    hand, station = boss.hands[name], boss.station(name)
    station.token = boss.token_of(hand)
    station.launcher = boss.processes.launchers.get(launcher_id)
    station.pidfd, station.words = found.fds.pop((name, hand.generation), (None, None))
    station.adopted_at = time.time()
    station.log = boss.processes.log_of(hand)
    station.answered = not hand.registered
    if hand.process is not None:
        if station.launcher is None:
            boss.processes.watch_orphan(name, hand.process)
        boss.clinic.begin(hand, hand.process)
        if hand.state in UP:
            boss.clinic.attend(hand)
        boss.ledger.tell(
            "hand.adopted", hand=name, pid=hand.process.pid, generation=hand.generation
        )
    boss.readiness.adopt(hand)
    if hand.addr:
        # One of hio's: it knows no HEY, and takes whoever speaks from the boss's address.
        station.hio = station.answered = True
        boss.switchboard.move(name, station, hand.addr)
    elif hand.registered or hand.spec.doers is not None:
        boss.switchboard.greet(name)


def _mourn(boss: Overseer, found: Survey, name: str, ended: adoption.Ended | None) -> None:
    """Take in the end of a hand that ended while there was no boss."""
    hand, station = boss.hands[name], boss.station(name)
    _, station.words = found.fds.pop((name, hand.generation), (None, None))
    station.log = boss.processes.log_of(hand)
    end = r.End(at_wall=time.time()) if ended is None else ended.end
    boss.ledger.tell("hand.lost", hand=name, how=end.words, generation=hand.generation)
    boss.feed(name, r.Exited(end, station.last_words().gist))
    if ended is not None:
        launcher = boss.processes.launchers.get(ended.launcher)
        boss.processes.forget_end(launcher, name, ended.generation)


def begin(boss: Overseer, rested: Collection[str], told_ends: Collection[str]) -> None:
    """Start afresh: nobody is alive, and the files say who is in the crew.

    Files that do not go with the hands added at runtime change nothing. A hand whose end a launcher
    has told goes on as its rules say: only its boss was away.

    Args:
        boss: who begins; the rules have taken in what ended.
        rested: hands that rested before that; their mailboxes hold what came in vain.
        told_ends: hands whose end a launcher has told.
    """
    now, left = boss.now(), {}
    for name, hand in list(boss.hands.items()):
        if hand.leaving or roster.base_of(hand) not in boss.membership.members:
            left[name] = "the crew files"
            boss.forget_hand(name, left[name])
            continue
        if name not in told_ends:
            boss.put(adoption.refreshed(hand, now))
        if name in rested:
            boss.open_mailbox(name)
        else:
            boss.keep_mailbox(name)
    boss.membership.succeed(left)
    wanted = boss.config.hands
    try:
        boss.membership.check(wanted)
    except ConfigError as error:
        boss.ledger.tell("config.broken", problems=str(error))
    else:
        boss.membership.apply(wanted, by="the crew files", first=True)


def hear_late(
    boss: Overseer,
    mailroom: Mailroom,
    launcher: launching.Launcher,
    message: launching.Held | launching.Living | launching.Replayed,
) -> None:
    """Take in what a launcher tells that was silent when the boss started.

    One that this boss has started tells as much, which is nothing yet.
    """
    match message:
        case launching.Held():
            _take_back(boss, mailroom, launcher, message)
        case launching.Living():
            _rejoin(boss, launcher, message)
        case _:
            if not boss.processes.launchers.own(launcher):
                _hear_again(boss, launcher)
            boss.processes.tidy_soon()


def _hear_again(boss: Overseer, launcher: launching.Launcher) -> None:
    """Say that a launcher speaks again, and let it hold what the present boss hears by."""
    hands = sum(one.launcher is launcher for one in boss.stations.values())
    boss.ledger.tell("launcher.heard", launcher=launcher.id, pid=launcher.pid, hands=hands)
    with suppress(LauncherError):
        launcher.hold("boss", boss.memo_fd)


def _take_back(
    boss: Overseer, mailroom: Mailroom, launcher: launching.Launcher, message: launching.Held
) -> None:
    """Take back a mailbox, unless there is another by now; the boss's own socket is no more."""
    name, fd = message.what, message.fd
    if fd >= 0 and name in boss.hands and name not in mailroom:
        mailroom.take(name, fd)
        boss.processes.launchers.keep(name, fd)
    elif fd >= 0:
        os.close(fd)
    if name not in boss.hands and name != "boss":
        with suppress(LauncherError):
            launcher.drop(name)


def _rejoin(boss: Overseer, launcher: launching.Launcher, message: launching.Living) -> None:
    """Go on with a living hand that was adopted without its launcher, as with any other."""
    process = r.ProcessId(message.pid, message.started_at, message.boot_id)
    hand = boss.hands.get(message.name)
    fds = {message.pidfd, message.words}
    if hand is not None and hand.process == process:
        station = boss.station(hand.name)
        station.launcher = launcher
        boss.processes.leave_orphan(hand.name)
        if station.words is None and message.words >= 0:
            station.words = message.words
            fds.discard(message.words)
    elif procs.alive(process):
        boss.ledger.tell("process.unknown", pid=process.pid, claims=message.name)
    for fd in fds:
        if fd >= 0:
            os.close(fd)
