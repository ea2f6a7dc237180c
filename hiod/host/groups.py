"""Control groups below the one that the service manager left to the boss.

Decides whether there is such a one, and its layout: ``boss/``, ``launcher/``, ``hands/NAME/``.
Leaves entering it to each process and killing by it to the launcher. Invariants: no controller is
ever switched on (with one on, a restart over living hands fails for ever), and outside the group
that was left to this very process nothing is touched.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Groups", "find"]

ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
MARKS = ("user.delegate", "trusted.delegate")  # set by systemd to 1 for Delegate=yes


class Groups:
    """The control groups of one boss, or none of them.

    Args:
        top: directory of the group that is the boss's to divide; None: nothing here does anything.
    """

    def __init__(self, top: Path | None) -> None:
        self._top = top
        self._left: set[str] = set()

    def __bool__(self) -> bool:
        """Say whether hands get control groups of their own."""
        return self._top is not None

    @property
    def launcher(self) -> str | None:
        """The directory for launchers."""
        return None if self._top is None else str(self._top / "launcher")

    def hand(self, name: str) -> str | None:
        """Return the directory for a hand, which need not be there yet."""
        return None if self._top is None else str(self._top / "hands" / name)

    def settle(self) -> None:
        """Make what all need and move this process out of the others' way.

        Raises:
            OSError: the group may not be divided; then hands go without.
        """
        if self._top is None:
            return
        for name in ("boss", "launcher", "hands"):
            (self._top / name).mkdir(exist_ok=True)
        (self._top / "boss" / "cgroup.procs").write_text("0")
        self._left = {folder.name for folder in (self._top / "hands").iterdir() if folder.is_dir()}
        self._clear()

    def make(self, name: str) -> None:
        """Make a hand's group, if it is not there.

        Raises:
            OSError: it cannot be made.
        """
        if self._top is not None:
            self._left.discard(name)
            self._clear()
            (self._top / "hands" / name).mkdir(exist_ok=True)

    def kill(self, name: str) -> None:
        """Kill whatever is in a hand's group, at once."""
        if self._top is not None:
            with suppress(OSError):  # never made, or a kernel before 5.14
                (self._top / "hands" / name / "cgroup.kill").write_text("1")

    def drop(self, name: str) -> None:
        """Remove the group of a hand that has left the crew, now or as soon as it is empty."""
        if self._top is not None:
            self._left.add(name)
            self._clear()

    def _clear(self) -> None:
        """Remove what is empty; who was killed a moment ago is still there for another."""
        if self._top is None:
            return
        for name in list(self._left):
            with suppress(OSError):
                (self._top / "hands" / name).rmdir()
            if not (self._top / "hands" / name).exists():
                self._left.discard(name)


def find(environ: Mapping[str, str], pid: int | None = None) -> Groups:
    """Return the control groups this process may divide; empty unless it leads a delegated unit.

    Args:
        environ: where ``SYSTEMD_EXEC_PID`` says that systemd itself started this process: a unit
            may be delegated and yet somebody else's, as a shell's.
        pid: this process's.
    """
    if environ.get("SYSTEMD_EXEC_PID") != str(os.getpid() if pid is None else pid):
        return Groups(None)
    with suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
        for root in ROOTS:
            top = Path(f"{root}{own}")
            if own and own != "/" and (top / "cgroup.kill").exists() and _is_ours(top, environ):
                return Groups(top)
    return Groups(None)


def _is_ours(top: Path, environ: Mapping[str, str]) -> bool:
    """Say whether a group was left to us. A user's manager marks none, but all of its are ours."""
    if "MANAGERPID" in environ and os.access(top / "cgroup.procs", os.W_OK):
        return True
    for mark in MARKS:
        with suppress(OSError):
            if os.getxattr(top, mark) == b"1":
                return True
    return False
