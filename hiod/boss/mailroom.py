"""The mailboxes of the crew: bound before a hand exists, kept while it is a member.

Decides when a mailbox's path comes and goes, and how many there may be. Leaves the memos in it
alone: boss and launcher never read a living hand's mailbox. Invariant: the path of a living hand is
never bound anew.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import termios
from contextlib import suppress
from pathlib import Path

from hiod.base.crewing import CONTROL, tagOf
from hiod.core.memo.gramming import GramError, parse
from hiod.core.uxd.uxding import bindMailbox
from hiod.errors import SpawnError

PATH_BYTES = 107
"""Longest path of a Unix socket on Linux."""

EMPTIED_MOST = 10_000
"""So many grams are thrown away at a time; whoever floods a hand that is gone fills one queue."""


FILES_A_HAND = 4
"""Descriptors a boss needs for one: its mailbox, process and last words, and where it notifies."""
FILES_APART = 160
"""Descriptors kept back: for launchers and for callers, so that a boss can always be told."""


def most_mailboxes(files: int) -> int:
    """Return how many hands there may be for a boss that may open so many files."""
    return max((files - min(FILES_APART, files // 2)) // FILES_A_HAND, 1)


HEAD_BYTES = 256
"""So much of a gram tells whether it begins a memo, and of which tag."""


class Mailroom:
    """The mailbox sockets of one boss, by hand.

    Args:
        folder: where their paths are.
        files: how many files the boss may open.
    """

    def __init__(self, folder: Path, *, files: int) -> None:
        self._folder = folder
        self._files = files
        self._boxes: dict[str, socket.socket] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._boxes

    def fds(self) -> dict[str, int]:
        """Return the descriptor of each mailbox, by hand."""
        return {name: box.fileno() for name, box in self._boxes.items()}

    def path(self, name: str) -> str:
        """Return where the mailbox of ``name`` is, or would be."""
        return str(self._folder / f"{name}.uxd")

    def take(self, name: str, fd: int) -> None:
        """Go on with a mailbox that a launcher held; a second copy of one we have is closed."""
        if name in self._boxes:
            os.close(fd)
            return
        self._boxes[name] = socket.socket(fileno=fd)

    def bind(self, name: str) -> int:
        """Return the mailbox's descriptor, binding it first if need be; for no hand that lives.

        Raises:
            OSError: it cannot be bound there.
            SpawnError: the boss may not open the files that one more hand takes.
        """
        if name in self._boxes and not self.is_there(name):
            self._boxes.pop(name).close()  # nobody can reach it any more
        if name not in self._boxes:
            most = most_mailboxes(self._files)
            if len(self._boxes) >= most:
                raise SpawnError(
                    f"the boss may open {self._files} files, which is enough for {most} hands;"
                    " give it more with ulimit -Hn, or LimitNOFILE= of its unit",
                    step="mailbox",
                    errno=errno.EMFILE,
                    path=self.path(name),
                )
            with suppress(FileNotFoundError):
                # Whoever was behind it is gone: the locks admit one boss, and it holds no such box.
                Path(self.path(name)).unlink()
            self._boxes[name] = bindMailbox(self.path(name))
        return self._boxes[name].fileno()

    def is_there(self, name: str) -> bool:
        """Say whether there is anything at the path of a mailbox."""
        return os.path.lexists(self.path(name))

    def lost(self) -> list[str]:
        """Return whose mailboxes nobody can reach: their paths were removed."""
        try:
            there = set(os.listdir(self._folder))  # noqa: PTH208 - names only, of a thousand
        except OSError:
            there = set()
        return [name for name in self._boxes if f"{name}.uxd" not in there]

    def has_mail(self, name: str) -> bool | None:
        """Say whether memos wait for a hand; None when it has no mailbox of ours. Reads none."""
        box = self._boxes.get(name)
        if box is None:
            return None
        return fcntl.ioctl(box, termios.FIONREAD, bytes(4)) != bytes(4)

    def empty(self, name: str) -> int:
        """Throw away what waits for a hand that is not there; return how many memos.

        What hiod itself tells hands is not counted: nobody misses that.
        """
        box = self._boxes.get(name)
        count = 0
        if box is None:
            return count
        for _ in range(EMPTIED_MOST):
            try:
                count += _begins_memo(box.recv(HEAD_BYTES, socket.MSG_DONTWAIT))
            except OSError:
                break
        return count

    def drop(self, name: str) -> None:
        """Close the mailbox of a hand that left the crew; its path is for the boss to remove."""
        box = self._boxes.pop(name, None)
        if box is not None:
            box.close()

    def close(self) -> None:
        """Close all mailboxes; their paths stay, for the hands that live on."""
        for box in self._boxes.values():
            box.close()
        self._boxes.clear()


def _begins_memo(head: bytes) -> bool:
    """Say whether a datagram is the first of a memo that somebody wrote to a hand."""
    try:
        kind, _, _, _, _, start, _ = parse(head)
    except GramError:
        return False
    return kind.first and tagOf(head[start:].decode(errors="replace")) not in CONTROL
