"""Processes as the kernel shows them: who one is, whether it lives, what it costs.

Decides how closely and how often each hand's process is looked at, so that watching stays cheap
however many there are. Leaves to others what a figure means (``rules.health``) and when to send
which signal.

Invariant: a pid alone is never a process. Everything here compares the start time before it
believes a figure, and a signal goes through a descriptor that names one process only.
"""

from __future__ import annotations

import heapq
import math
import os
import select
import signal
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

from hiod.rules.health import Sample
from hiod.rules.records import ProcessId

__all__ = [
    "Relative",
    "Watch",
    "alive",
    "boot_id",
    "descendants",
    "descends",
    "ended",
    "identify",
    "open_pidfd",
    "signal_pidfd",
    "started_at",
]

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

ENDED = frozenset("ZXx")
DEPTH_MOST = 64  # generations that descends() climbs
RATED_S = 0.5  # CPU time comes in hundredths: a share of less time than this says nothing


class Stat(NamedTuple):
    """What one read of ``/proc/PID/stat`` tells."""

    status: str
    ppid: int
    cpu_s: float
    threads: int
    started_at: int
    rss_bytes: int


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def started_at(pid: int) -> int | None:
    """Return the start time of the process that has this pid now, in clock ticks since boot.

    None when there is none (or it may not be seen).
    """
    stat = _stat(pid)
    return None if stat is None else stat.started_at


def identify(pid: int) -> ProcessId | None:
    """Return who has this pid now, a zombie included; None when nobody has."""
    started = started_at(pid)
    return None if started is None else ProcessId(pid, started, boot_id())


def alive(process_id: ProcessId) -> bool:
    """Say whether that very process is there and has not ended; a zombie has."""
    if process_id.boot_id != boot_id():
        return False
    stat = _stat(process_id.pid)
    return (
        stat is not None and stat.started_at == process_id.started_at and stat.status not in ENDED
    )


def open_pidfd(process_id: ProcessId) -> int | None:
    """Return a descriptor of that very process, close-on-exec; None when it is gone.

    Readable once the process has ended. A zombie still has one.

    Raises:
        OSError: this process has no descriptors left.
    """
    if process_id.boot_id != boot_id():
        return None
    try:
        fd = os.pidfd_open(process_id.pid)
    except ProcessLookupError:
        return None
    # Only now: between a look and the opening the pid could have changed hands.
    if started_at(process_id.pid) == process_id.started_at:
        return fd
    os.close(fd)
    return None


def ended(fd: int) -> bool:
    """Say whether the process of this descriptor has ended, as a zombie has."""
    look = select.poll()
    look.register(fd, select.POLLIN)
    return bool(look.poll(0))


def signal_pidfd(fd: int, sig: int) -> bool:
    """Send a signal to the process of this descriptor; say whether it was delivered.

    False when the process has ended or may not be signalled; which of the two, the descriptor
    itself says by being readable.
    """
    try:
        signal.pidfd_send_signal(fd, sig)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def descends(pid: int, ancestor: int) -> bool:
    """Say whether this process has that one among its living ancestors.

    A process whose parents have all ended belongs to whoever takes in orphans, and no longer
    descends from the hand that started it.
    """
    for _ in range(DEPTH_MOST):
        stat = _stat(pid)
        if stat is None or stat.ppid == 0:
            return False
        pid = stat.ppid
        if pid == ancestor:
            return True
    return False


class Relative(NamedTuple):
    """One process of a hand's tree."""

    pid: int
    ppid: int
    name: str


@dataclass(slots=True)
class _Watched:
    """One process under watch and what the last looks at it found."""

    process_id: ProcessId
    suspect: bool
    closely: bool
    period_s: float
    ticket: int = 0  # the heap's entry with another number is void
    at: float | None = None
    cpu_s: float = 0.0
    cpu_percent: float = 0.0
    tree: dict[tuple[int, int], float] = field(default_factory=dict)  # (pid, start) -> cpu_s


class Watch:
    """Looks at many processes, spread evenly over time and cheaply.

    An ordinary look is one read of ``/proc/PID/stat``. A close look adds the descendants and the
    open files; suspects get one every ``suspect_s``, hands with limits one every ``period_s``.
    When there are many, looks become rarer rather than dearer: at most about 250 ordinary and
    50 close ones a second.

    Args:
        period_s: time between two looks at one process.
        suspect_s: the same for suspects.
        quantum_s: looks due within this time are taken together, to wake the boss less often.
    """

    CHEAP_S = 0.004  # 250 ordinary looks a second
    CLOSE_S = 0.020  # 50 close looks a second
    BUDGET = 64  # what one turn may spend: an ordinary look is 1
    CLOSE_COST = 8
    TREE_MOST = 512  # descendants looked at, of one hand

    def __init__(
        self, *, period_s: float = 5.0, suspect_s: float = 1.0, quantum_s: float = 1.0
    ) -> None:
        self.period_s = period_s
        self.suspect_s = suspect_s
        self.quantum_s = quantum_s
        self._watched: dict[str, _Watched] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._tickets = 0
        self._suspects = 0

    def __len__(self) -> int:
        return len(self._watched)

    def __contains__(self, name: object) -> bool:
        return name in self._watched

    def add(
        self,
        name: str,
        process_id: ProcessId,
        now: float,
        *,
        suspect: bool = False,
        closely: bool = False,
        period_s: float = math.inf,
    ) -> None:
        """Watch this process under that name, instead of an earlier one.

        Args:
            name: the hand's.
            process_id: its process.
            now: tyme.
            suspect: look closely and often.
            closely: look closely at the ordinary pace; for hands that have limits.
            period_s: look at this one more often than at others, suspect or not.
        """
        self.drop(name)
        watched = _Watched(process_id, suspect, closely, min(period_s, self.period_s))
        self._watched[name] = watched
        self._suspects += suspect
        # The golden ratio spreads any number of newcomers evenly over the period.
        spread = 0.0 if suspect else self._tickets * 0.6180339887 % 1.0
        self._plan(name, watched, now + spread * self._pace_s(watched))

    def drop(self, name: str) -> None:
        """Watch it no longer; unknown names do no harm."""
        watched = self._watched.pop(name, None)
        if watched is not None:
            self._suspects -= watched.suspect

    def suspect(self, name: str, suspect: bool, now: float) -> None:
        """Look closely and often from now on, or no longer; unknown names do no harm."""
        watched = self._watched.get(name)
        if watched is None or watched.suspect == suspect:
            return
        watched.suspect = suspect
        self._suspects += 1 if suspect else -1
        self._plan(name, watched, now if suspect else now + self._pace_s(watched))

    def next_at(self, now: float) -> float:
        """Return when looks are due next, inf for never; ``now`` or earlier: some are."""
        heap = self._heap
        while heap and self._void(heap[0]):
            heapq.heappop(heap)
        if not heap:
            return math.inf
        due_at, _, name = heap[0]
        if due_at <= now:
            return due_at
        quantum_s = min(self.quantum_s, self._watched[name].period_s)
        return math.ceil(due_at / quantum_s) * quantum_s

    def sample_due(self, now: float) -> list[tuple[str, Sample]]:
        """Take the looks that are due, at most one turn's budget of them.

        What the budget leaves is still due: :meth:`next_at` says so.
        """
        taken: list[tuple[str, Sample]] = []
        spent = 0
        heap = self._heap
        while heap and spent < self.BUDGET:
            entry = heap[0]
            if entry[0] > now:
                break
            heapq.heappop(heap)
            if self._void(entry):
                continue
            name = entry[2]
            watched = self._watched[name]
            close = watched.suspect or watched.closely
            taken.append((name, self._sample(watched, now, close=close)))
            spent += self.CLOSE_COST if close else 1
            # From now, not from when it was due: looks that were missed are not caught up.
            self._plan(name, watched, now + self._pace_s(watched))
        return taken

    def look(self, name: str, now: float) -> Sample:
        """Take a close look at once, because somebody asks.

        Raises:
            KeyError: nothing is watched under that name.
        """
        return self._sample(self._watched[name], now, close=True)

    def tree(self, name: str) -> list[Relative]:
        """Return the process and its living descendants with their names, parents first.

        Costs more than a look; for people who ask. Empty when it is gone.

        Raises:
            KeyError: nothing is watched under that name.
        """
        process_id = self._watched[name].process_id
        if not alive(process_id):
            return []
        found: list[Relative] = []
        for pid in (process_id.pid, *descendants(process_id.pid, self.TREE_MOST)):
            try:
                process = psutil.Process(pid)
                found.append(Relative(pid, process.ppid(), process.name()))
            except psutil.Error:
                continue  # ended while we looked
        return found

    def _void(self, entry: tuple[float, int, str]) -> bool:
        watched = self._watched.get(entry[2])
        return watched is None or watched.ticket != entry[1]

    def _plan(self, name: str, watched: _Watched, at: float) -> None:
        self._tickets += 1
        watched.ticket = self._tickets
        heapq.heappush(self._heap, (at, self._tickets, name))

    def _pace_s(self, watched: _Watched) -> float:
        if watched.suspect:
            pace_s = min(self.suspect_s, watched.period_s)
            return max(pace_s, self._suspects * self.CLOSE_S)
        each = self.CLOSE_S if watched.closely else self.CHEAP_S
        return max(watched.period_s, len(self._watched) * each)

    def _sample(self, watched: _Watched, now: float, *, close: bool) -> Sample:
        process_id = watched.process_id
        stat = _stat(process_id.pid)
        if stat is None or stat.started_at != process_id.started_at:
            return Sample(at=now, status="X")
        fds: int | None = None
        children: int | None = None
        rss_bytes = stat.rss_bytes
        cpu_s = stat.cpu_s
        tree: dict[tuple[int, int], float] = {}
        frozen = False
        if close:
            fds = _fds(process_id.pid)
            frozen = _frozen(process_id.pid)
            if _lists_children():
                for pid in descendants(process_id.pid, self.TREE_MOST):
                    relative = _stat(pid)
                    if relative is not None and relative.status not in ENDED:
                        tree[pid, relative.started_at] = relative.cpu_s
                        rss_bytes += relative.rss_bytes
                children = len(tree)
        self._rate(watched, now, cpu_s, tree)
        return Sample(
            at=now,
            status=stat.status,
            rss_bytes=rss_bytes,
            cpu_percent=watched.cpu_percent,
            cpu_s=cpu_s,
            fds=fds,
            threads=stat.threads,
            children=children,
            frozen=frozen,
        )

    @staticmethod
    def _rate(
        watched: _Watched, now: float, cpu_s: float, tree: dict[tuple[int, int], float]
    ) -> None:
        """Work out the share of a core since the last look, unless that was just now."""
        if watched.at is not None:
            passed_s = now - watched.at
            if passed_s < RATED_S:
                return
            spent_s = cpu_s - watched.cpu_s
            for key, now_s in tree.items():
                spent_s += now_s - watched.tree.get(key, now_s)
            watched.cpu_percent = max(spent_s, 0.0) / passed_s * 100.0
        watched.at = now
        watched.cpu_s = cpu_s
        watched.tree = tree


def _read(path: str) -> bytes:
    """Return a small file of /proc or /sys; raise OSError as the kernel says."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def _stat(pid: int) -> Stat | None:
    try:
        line = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name, in parentheses, may hold anything; nothing after it may.
    rest = line[line.rfind(b")") + 2 :].split(None, 22)
    return Stat(
        status=chr(rest[0][0]),
        ppid=int(rest[1]),
        cpu_s=(int(rest[11]) + int(rest[12])) / TICKS,
        threads=int(rest[17]),
        started_at=int(rest[19]),
        rss_bytes=int(rest[21]) * PAGE,
    )


def descendants(pid: int, most: int) -> list[int]:
    """Return living descendants, parents first; of a tree that changes, those that were found."""
    found: list[int] = []
    todo = [pid]
    for parent in todo:
        for child in _children(parent):
            if len(found) >= most:
                return found
            found.append(child)
            todo.append(child)
    return found


def _children(pid: int) -> list[int]:
    # Each thread has its own list; the kernel keeps them, so the rest of /proc stays unread.
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - measured: 8 µs against 12
            found += map(int, _read_whole(f"/proc/{pid}/task/{thread}/children").split())
    except OSError:
        return found  # it ended while we looked
    return found


@cache
def _lists_children() -> bool:
    """Say whether this kernel tells a process's children (CONFIG_PROC_CHILDREN)."""
    return Path("/proc/thread-self/children").exists()


def _read_whole(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def _fds(pid: int) -> int | None:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - measured: 8 µs against 12
    except OSError:
        return None  # another user's (a set-uid program), or just ended


def _frozen(pid: int) -> bool:
    """Say whether the process's cgroup v2 is frozen; False where there is none to ask."""
    try:
        for line in _read(f"/proc/{pid}/cgroup").splitlines():
            if line.startswith(b"0::/"):
                path = os.fsdecode(line[3:])
                return b"frozen 1" in _read(f"{_cgroup_root()}{path}/cgroup.events")
    except OSError:
        return False
    return False


@cache
def _cgroup_root() -> str:
    unified = "/sys/fs/cgroup/unified"
    return unified if Path(unified).is_dir() else "/sys/fs/cgroup"
