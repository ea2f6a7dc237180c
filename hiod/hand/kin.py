"""Who descends from whom: what /proc says about processes, and the end of those left over.

Reads facts and kills; whose descendants must go is decided by the launcher. Invariant: nothing
is killed by a bare pid. A pidfd is taken first, then the process behind it is recognised again by
its start time.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import NamedTuple

_STATE, _PPID, _SESSION, _STARTED = 0, 1, 3, 19  # places behind the name in /proc/PID/stat


class Stat(NamedTuple):
    """Some of /proc/PID/stat."""

    pid: int
    comm: str
    state: str
    ppid: int
    session: int
    started_at: int
    """Clock ticks since boot (field 22)."""


def boot_id() -> str:
    """Return the kernel's name for this boot."""
    return read("/proc/sys/kernel/random/boot_id").decode().strip()


def stat(pid: int) -> Stat | None:
    """Return what the kernel says of a process, or None if there is none of that pid."""
    try:
        raw = read(f"/proc/{pid}/stat")
    except OSError:
        return None
    before, _, after = raw.rpartition(b")")
    fields = after.split()
    return Stat(
        pid=pid,
        comm=before.partition(b"(")[2].decode(errors="replace"),
        state=fields[_STATE].decode(),
        ppid=int(fields[_PPID]),
        session=int(fields[_SESSION]),
        started_at=int(fields[_STARTED]),
    )


def environ(pid: int) -> bytes:
    """Return a process's environment block, or nothing if it is gone or not ours to read."""
    try:
        return read(f"/proc/{pid}/environ")
    except OSError:
        return b""


def children(pid: int) -> list[int]:
    """Return the direct children of a process, those of all its threads."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - see `read`
    except OSError:
        return found
    for task in tasks:
        with contextlib.suppress(OSError):
            found += map(int, read(f"/proc/{pid}/task/{task}/children").split())
    return found


def tree(pid: int) -> list[Stat]:
    """Return a process and all that descends from it, parents before their children."""
    first = stat(pid)
    if first is None:
        return []
    found, seen = [first], {pid}
    for one in found:
        for child in children(one.pid):
            facts = None if child in seen else stat(child)
            if facts is not None:
                seen.add(child)
                found.append(facts)
    return found


def kill(victim: Stat) -> bool:
    """Send SIGKILL to exactly this process; True if it was still there, zombies included."""
    try:
        pidfd = os.pidfd_open(victim.pid)
    except OSError:
        return False
    try:
        now = stat(victim.pid)
        if now is None or now.started_at != victim.started_at:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def kill_cgroup(path: str) -> bool:
    """Kill all of a cgroup at once; False if this kernel or this directory cannot."""
    try:
        write(f"{path}/cgroup.kill", b"1")
    except OSError:
        return False
    return True


def read(path: str) -> bytes:
    """Return all of a file; pathlib and buffered files are more than a hand needs to load."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def write(path: str, content: bytes, at: int = 0) -> None:
    """Write to a file that exists, from an offset on."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if at:
            os.lseek(fd, at, os.SEEK_SET)
        os.write(fd, content)
    finally:
        os.close(fd)
