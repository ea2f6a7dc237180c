"""Hands of which no launcher can tell: found by what they were born with.

Looks, and decides nothing about what it finds. Invariant: nothing that is found is named by a bare
pid.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path
from typing import TYPE_CHECKING

from hiod.host import packets, procs

if TYPE_CHECKING:
    from collections.abc import Collection

    from hiod.rules.records import ProcessId

BIRTH_LOOKS, BIRTH_S = 100, 0.001
"""How often, and how many seconds apart, one looks again while a hand is being born."""

TOKEN_MOST_BYTES = 1024
"""No token is longer; whoever has such a memfd may have written to it."""


def find_hands(tokens: Collection[str]) -> dict[str, ProcessId]:
    """Look for living hands of which no launcher can tell any more, by their tokens.

    Every process is looked at. A hand is known by a descriptor it was born with: its last words
    (doers) or the memfd of its token (commands; what it started may have that too, hence the
    leader of its session). One that is just being born is waited for, some milliseconds.
    """
    if not tokens:
        return {}
    for _ in range(BIRTH_LOOKS):
        found, unborn = _look_for(tokens)
        if not unborn:
            break
        select.select((), (), (), BIRTH_S)
    return found


def _look_for(tokens: Collection[str]) -> tuple[dict[str, ProcessId], bool]:
    """Return who was found, and whether some process may yet turn out to be somebody."""
    found: dict[str, ProcessId] = {}
    unborn = False
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only
        if not entry.isdecimal() or int(entry) == os.getpid():
            continue
        pid = int(entry)
        try:
            leads = os.getsid(pid) == pid
            its = token(pid)
            process = procs.identify(pid)
            if not its and not leads:
                # Forked and not yet in a session of its own.
                name = Path(f"/proc/{entry}/comm").read_bytes().strip()
                unborn |= name == packets.LAUNCHER and _is_orphan(pid)
        except OSError:
            continue  # it has ended, or is not ours to look at
        if its in tokens and leads and process is not None and procs.alive(process):
            found[its] = process
    return found, unborn


def _is_orphan(pid: int) -> bool:
    """Say whether the leader of a process's session, the launcher that forked it, is gone."""
    leader = procs.identify(os.getsid(pid))
    return leader is None or not procs.alive(leader)


def token(pid: int) -> str:
    """Return the token of the hand that a process is or comes from; "" for any other."""
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        _, mark, rest = os.readlink(f"{folder}/{packets.WORDS_FD}").partition(packets.WORDS)  # noqa: PTH115 - no path: a link's text
        if mark:
            return rest.removesuffix(" (deleted)")
    with contextlib.suppress(OSError):
        path = f"{folder}/{packets.TOKEN_FD}"
        # Only a memfd: a FIFO of that name would be waited for, and it may be anybody's.
        if os.readlink(path).startswith(f"/memfd:{packets.TOKENS}"):  # noqa: PTH115 - as above
            with Path(path).open("rb") as memfd:
                return memfd.read(TOKEN_MOST_BYTES).decode(errors="replace")
    return ""


def find_words(process: ProcessId) -> int | None:
    """Open the last words of a living hand by its own descriptor; None if it has none there.

    For a hand whose launcher is gone.
    """
    path = f"/proc/{process.pid}/fd/{packets.WORDS_FD}"
    try:
        if packets.WORDS not in os.readlink(path):  # noqa: PTH115 - no path: a link's text
            return None
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if procs.alive(process):
        return fd
    os.close(fd)
    return None
