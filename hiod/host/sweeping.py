"""The end of what a hand left behind when it has no launcher that could sweep.

Finds and kills; whose hand is over is decided by the caller. Invariant: who is killed surely came
from that hand. The number of its session is not believed by itself, for numbers are given again,
and no process is signalled but through a pidfd, recognised by its start time.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hiod.host import finding, procs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hiod.rules.records import ProcessId

ENDED, SPARED = "ended", "it may not be ended"
"""What becomes of them."""

ROUNDS = 8
"""So often one looks again: who was being forked while one looked turns up in the next round."""

TREE_MOST = 512
"""Descendants of one process that are looked for in one round."""


class Source(NamedTuple):
    """One incarnation of a hand: the process that led its session, and what it passed on."""

    name: str
    generation: int
    token: str
    process: ProcessId


class Left(NamedTuple):
    """A process that came from a hand."""

    process: ProcessId
    comm: str
    name: str
    """The hand's."""
    how: str
    """What became of it: `ENDED`, or why not."""


def sweep(sources: Collection[Source]) -> list[Left]:
    """Kill all that comes from these hands, and what is still there of themselves.

    Costs a look at every process of the machine, some 10 µs each, however many hands it is for.
    Killed processes may be there for another moment; none of them runs on.
    """
    here = [one for one in sources if one.process.boot_id == procs.boot_id()]
    seen: set[ProcessId] = set()
    left: list[Left] = []
    for _ in range(ROUNDS if here else 0):
        try:
            found = {process: name for process, name in _find(here).items() if process not in seen}
        except OSError as error:  # no descriptor left to list processes with
            how = f"not looked for: {error.strerror}"
            return [*left, *(Left(one.process, "and its session", one.name, how) for one in here)]
        if not found:
            break
        seen.update(found)
        for process, name in found.items():
            comm = _comm(process.pid)
            how = _kill(process)
            if how:
                left.append(Left(process, comm, name, how))
    return left


def _find(sources: Collection[Source]) -> dict[ProcessId, str]:
    """Return who lives and comes from which of these hands, parents before their children."""
    by_session = {one.process.pid: one for one in sources}
    by_token = {one.token: one for one in sources}
    members: dict[int, list[ProcessId]] = {}
    found: dict[ProcessId, str] = {}
    for pid in _pids():
        session = _session(pid)
        if session in by_session:
            process = procs.identify(pid)
            # What was seen before it was identified may have been another's.
            if process is not None and _session(pid) == session:
                members.setdefault(session, []).append(process)
            continue
        source = by_token.get(finding.token(pid))
        if source is not None:
            process = procs.identify(pid)
            # A descriptor can be handed on, and variables can be copied; nobody has both by chance.
            if process is not None and finding.token(pid) == source.token and _names(pid, source):
                found[process] = source.name
    for session, processes in members.items():
        source = by_session[session]
        if _is_its_session(source, processes):
            found |= dict.fromkeys(processes, source.name)
    for process, name in list(found.items()):
        found |= dict.fromkeys(_descendants(process), name)
    return {process: name for process, name in found.items() if procs.alive(process)}


def _descendants(process: ProcessId) -> Iterator[ProcessId]:
    for pid in procs.descendants(process.pid, TREE_MOST):
        child = procs.identify(pid)
        if child is not None and procs.descends(pid, process.pid):
            yield child


def _is_its_session(source: Source, members: Collection[ProcessId]) -> bool:
    """Say whether a session that has the number of a hand's is the hand's.

    The kernel gives a number to nobody while there is anybody in the session of that number. So
    whoever has it now tells, and if nobody has, one member that surely came from the hand vouches
    for all.
    """
    leader = procs.started_at(source.process.pid)
    if leader is not None:
        return leader == source.process.started_at
    return any(finding.token(one.pid) == source.token or _names(one.pid, source) for one in members)


def _names(pid: int, source: Source) -> bool:
    """Say whether the environment of a process is one that this hand passes on."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    name, generation = f"HIOD_NAME={source.name}", f"HIOD_GENERATION={source.generation}"
    return name.encode() in entries and generation.encode() in entries


def _pids() -> Iterator[int]:
    own = os.getpid()
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only
        if entry.isdecimal() and int(entry) != own:
            yield int(entry)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_bytes().decode(errors="replace").strip()
    except OSError:
        return "?"


def _kill(process: ProcessId) -> str:
    """Kill this very process; say what became of it, nothing if it was gone."""
    try:
        pidfd = procs.open_pidfd(process)
    except OSError as error:
        return f"not ended: {error.strerror}"  # no descriptors left
    if pidfd is None:
        return ""
    try:
        if procs.signal_pidfd(pidfd, signal.SIGKILL):
            return ENDED
        return SPARED if procs.alive(process) else ""
    finally:
        os.close(pidfd)
