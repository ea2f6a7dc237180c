"""The doors of a boss: the sockets by which it, its launchers and its hands are found.

Decides which of them are gone from the runtime directory, as somebody or something that cleans up
may have removed them, and which can be made again. Touches nothing that is there. Leaves hearing of
removals to ``host.removals``. Invariants: no path is bound anew unless both locks are held, and
none of a hand that lives.
"""

from __future__ import annotations

import contextlib
import grp
import math
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from hiod.boss.places import PlaceError
from hiod.core.uxd.uxding import bindMailbox
from hiod.errors import HiodError, LauncherError
from hiod.rules import records as r

if TYPE_CHECKING:
    from collections.abc import Callable

    from hiod.boss.mailroom import Mailroom
    from hiod.boss.overseer import Overseer
    from hiod.host.removals import Removals

SETTLE_S = 0.25
"""How long whoever removes one thing is given to remove the others, before any is made again."""
LOOK_S = 5.0
"""How long between two looks while the kernel does not tell of removals, or all is out of reach."""
_SHUT_OUT = "runtime"
GROUP = "hiod"
"""Group that may reach the admin socket, where there is one of that name."""
BACKLOG = 128
"""Callers that may wait to be accepted."""


def bind_admin(path: Path) -> socket.socket:
    """Return a listener at the path of the admin socket, in place of what is there.

    Raises:
        PlaceError: it cannot be bound.
    """
    with contextlib.ExitStack() as undo:
        try:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            undo.callback(listener.close)
            before = os.umask(0o117)
            try:
                path.unlink(missing_ok=True)
                listener.bind(str(path))
            finally:
                os.umask(before)
            # Where there is no such group, or it is not ours to give to, the socket is its owner's.
            with contextlib.suppress(KeyError, OSError):
                os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
            listener.listen(BACKLOG)
        except OSError as error:
            raise PlaceError(f"cannot bind {path}: {error.strerror or error}") from error
        undo.pop_all()
    return listener


def bind_boss(path: Path) -> int:
    """Return a memo socket at the boss's path, in place of what is there.

    Raises:
        PlaceError: it cannot be bound.
    """
    try:
        path.unlink(missing_ok=True)
        return bindMailbox(str(path)).detach()
    except OSError as error:
        raise PlaceError(f"cannot bind {path}: {error.strerror or error}") from error


class Doors:
    """The doors of one boss.

    Attributes:
        admin: the path of the admin socket, if it has one.
        listen: takes another admin listener; None while that socket is systemd's to bind.
    """

    def __init__(self, boss: Overseer, mailroom: Mailroom) -> None:
        self.admin: Path | None = None
        self.listen: Callable[[socket.socket], None] | None = None
        self._boss = boss
        self._mailroom = mailroom
        self._removals: Removals | None = None
        self._told_of_all = False  # the kernel tells of each removal
        self._look_at = math.inf
        self._told: set[str] = set()

    def open(self) -> None:
        """Begin to look: the boss is ready and has time for it."""
        with contextlib.suppress(OSError, ImportError):  # no room: it looks by the clock
            from hiod.host.removals import Removals  # noqa: PLC0415 - ctypes is slow

            self._removals = Removals()
        self._watch()
        self._look_at = self._boss.now()

    def close(self) -> None:
        """Look no longer."""
        self._look_at = math.inf
        if self._removals is not None:
            self._removals.close()

    def fds(self) -> tuple[int, ...]:
        """Return what to await: removals in the runtime directory."""
        return (self._removals.fileno(),) if self._removals is not None else ()

    def next_at(self) -> float:
        """Return when somebody has to look again."""
        return self._look_at

    def look(self) -> None:
        """See whether the doors are there if some may have gone; make those again that have."""
        now = self._boss.now()
        if self._removals is not None and self._removals.heard():
            self._look_at = min(self._look_at, now + SETTLE_S)
        if now < self._look_at:
            return
        again = self._see_to_all() or not self._told_of_all
        self._look_at = now + LOOK_S if again else math.inf

    def _watch(self) -> None:
        places = self._boss.around.places
        folders = {places.runtime, places.mailboxes, places.runtime / "launcher", places.state}
        if self.admin is not None:
            folders.add(self.admin.parent)
        self._told_of_all = self._removals is not None and self._removals.watch(folders)

    def _see_to_all(self) -> bool:
        """See to all doors; return whether one has to be seen to again."""
        boss, places = self._boss, self._boss.around.places
        wanted = (places.boss_socket, *([self.admin] if self.admin is not None else []))
        own = [path for path in wanted if not _there(path)]
        folder = places.runtime / "launcher"
        parents = {one.launcher for one in boss.stations.values() if one.pidfd is not None}
        shut = [one for one in parents if one is not None and not _there(folder / one.name)]
        lost = self._mailroom.lost()
        self._told &= (
            {_SHUT_OUT} | {str(path) for path in own} | {one.id for one in shut} | set(lost)
        )
        if not (own or shut or lost or boss.around.locks.gone()):
            return False
        try:
            places.make()
            boss.around.locks.renew()
        except HiodError as error:
            self._tell_once("boss.shut_out", _SHUT_OUT, why=str(error))
            return True
        self._told.discard(_SHUT_OUT)
        self._watch()
        failed = [path for path in own if not self._make_own(path)]
        for launcher in shut:
            # One of an earlier version may not know how: then its hands outlive it as orphans.
            with contextlib.suppress(LauncherError):
                launcher.listen()
            how = "its launcher was asked to bind it again"
            self._tell_once(
                "boss.door_gone", launcher.id, path=str(folder / launcher.name), how=how
            )
        for name in lost:
            self._see_to_mailbox(name)
        return bool(failed)

    def _make_own(self, path: Path) -> bool:
        """Bind a socket of the boss's own again; return whether no more can be done for it."""
        boss = self._boss
        try:
            if path == boss.around.places.boss_socket:
                boss.rebind(bind_boss(path))
            elif self.listen is not None:
                self.listen(bind_admin(path))
            else:
                how = "only systemd can bind it again: systemctl restart hiod.socket"
                self._tell_once("boss.door_gone", str(path), path=str(path), how=how)
                return True
        except PlaceError as error:
            self._tell_once("boss.door_gone", str(path), path=str(path), how=str(error))
            return False
        boss.ledger.tell("boss.door_gone", path=str(path), how="bound again")
        return True

    def _see_to_mailbox(self, name: str) -> None:
        """Bind a mailbox again, unless a process has the one that cannot be reached any more."""
        boss = self._boss
        hand = boss.hands.get(name)
        if hand is None:
            return
        path = self._mailroom.path(name)
        if hand.process is None and hand.state not in r.LIVE:
            boss.open_mailbox(name)
            boss.ledger.tell("boss.door_gone", path=path, how="bound again")
        elif boss.station(name).addr == path:
            boss.station(name).cut_off = True
            self._tell_once("hand.cut_off", name, hand=name, path=path)

    def _tell_once(self, event: str, mark: str, **facts: str) -> None:
        """Tell of a door that stays gone, but not each time that it is seen to be."""
        if mark not in self._told:
            self._told.add(mark)
            self._boss.ledger.tell(event, **facts)


def _there(path: Path) -> bool:
    return os.path.lexists(path)


def path_of(listener: socket.socket) -> Path | None:
    """Return where a listener is bound in the file system, if it is."""
    name = listener.getsockname()
    return Path(name) if isinstance(name, str) and name.startswith("/") else None
