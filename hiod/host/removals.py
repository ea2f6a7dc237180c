"""Removals in some folders, told by the kernel (inotify).

Decides nothing: it says that something may have gone, and never misses that a folder itself went.
Invariant: nothing here blocks, and a kernel that refuses is no error; ``fileno`` is then -1 and
whoever asks has to look by himself.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MOVED_FROM, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x40, 0x200, 0x400, 0x800
_ONLYDIR = 0x01000000
_MASK = _MOVED_FROM | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
_READ = 65536


class Removals:
    """What goes from some folders."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """Return the descriptor that is readable after a removal; -1 if the kernel grants none."""
        return self._fd

    def watch(self, folders: Iterable[Path]) -> bool:
        """Watch these folders, also those watched already; return whether all can be."""
        done = [
            self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _MASK) for folder in folders
        ]
        return -1 not in done

    def heard(self) -> bool:
        """Return whether something may have gone since the last call."""
        heard = False
        with suppress(OSError):
            while os.read(self._fd, _READ):
                heard = True
        return heard

    def close(self) -> None:
        """Watch no longer."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
