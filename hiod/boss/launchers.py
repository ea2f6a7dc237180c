"""The launchers of a boss: its own, one for each python, and those of earlier bosses.

Decides which launcher makes a new hand, and which holds what is to outlive the boss: always one
that this boss started, so that code and environment are its own. Launchers of earlier bosses are
let go when their last hand has ended. Invariants: a launcher that is gone is never spoken to again;
none is let go before another holds what it held.
"""

from __future__ import annotations

import resource
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from hiod.errors import LauncherError, SpawnError
from hiod.host import launching
from hiod.host.launching import Gone, Launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from hiod.host.launching import Event


class Launchers:
    """All launchers this boss speaks to.

    Attributes:
        cgroup: the control group they are started in, if there is one for them.

    Args:
        runtime: the boss's runtime directory.
        keepsakes: says what is to outlive the boss, by name: its memo socket and the mailboxes.
        nofile: the descriptor limit this boss was given, which its hands are to have.
        started: told of each launcher that is started.
    """

    def __init__(
        self,
        runtime: str,
        keepsakes: Callable[[], Mapping[str, int]],
        nofile: tuple[int, int],
        started: Callable[[Launcher], None],
    ) -> None:
        self.cgroup: str | None = None
        self._runtime = runtime
        self._keepsakes = keepsakes
        self._nofile = nofile
        self._started = started
        self._known: dict[str, Launcher] = {}
        self._own: dict[str | None, Launcher] = {}
        self._hopeless = False
        self._epoll = select.epoll()

    def fileno(self) -> int:
        """Return the descriptor that is readable when any launcher has something to say."""
        return self._epoll.fileno()

    def __iter__(self) -> Iterator[Launcher]:
        return iter(list(self._known.values()))

    def get(self, ident: str | None) -> Launcher | None:
        """Return the launcher of that id, if it is there."""
        return self._known.get(ident or "")

    def have(self, launcher: Launcher) -> None:
        """Go on with a launcher of an earlier boss."""
        self._known[launcher.id] = launcher
        self._epoll.register(launcher.fileno(), select.EPOLLIN)

    def own(self, launcher: Launcher) -> bool:
        """Whether this boss started that launcher."""
        return launcher in self._own.values()

    def seek(self) -> tuple[bool, list[Launcher]]:
        """Ask the launchers in the directory whom nobody has asked, or who turned us away.

        Returns:
            Whether there were any, and those that are spoken to from now on.
        """
        try:
            there = {path.stem for path in launching.sockets(self._runtime)}
            strangers = there - self._known.keys()
            found = Launcher.find(self._runtime, only=strangers) if strangers else []
        except OSError:
            return True, []  # out of reach, or no descriptor to ask with: they are sought again
        for launcher in found:
            self.have(launcher)
        return bool(strangers), found

    def make(self, python: str | None) -> Launcher:
        """Return the launcher for new hands of that python, started if need be.

        Raises:
            SpawnError: that python cannot be started.
        """
        found = self._own.get(python)
        if found is None:
            found = Launcher.start(self._runtime, python=python, cgroup=self.cgroup)
            # Its hands are to have what this boss was given, not what it took for itself.
            with suppress(ProcessLookupError):
                resource.prlimit(found.pid, resource.RLIMIT_NOFILE, self._nofile)
            self.have(found)
            self._own[python] = found
            for what, fd in self._keepsakes().items():
                found.hold(what, fd)
            self._started(found)
        return found

    def pass_over(self, launcher: Launcher) -> None:
        """Have new hands made by another one; one that never said a word is ended for good."""
        self._own = {python: one for python, one in self._own.items() if one is not launcher}
        if not launcher.version:
            launcher.kill()

    def take(self) -> Iterator[tuple[Launcher, Event]]:
        """Return what launchers said. One that is gone is let go of after its last word."""
        ready = {fd for fd, _ in self._epoll.poll(0)}
        for launcher in self:
            if launcher.fileno() not in ready:
                continue
            for event in launcher.take():
                if isinstance(event, Gone):
                    self._lose(launcher, lives=event.busy)
                yield launcher, event
            if launcher.id not in self._known:
                launcher.close()

    def _lose(self, launcher: Launcher, *, lives: bool) -> None:
        self._known.pop(launcher.id, None)
        self._epoll.unregister(launcher.fileno())
        if lives:
            return
        # One that ended before its first word would end so again.
        self._hopeless = not launcher.version
        self._own = {python: one for python, one in self._own.items() if one is not launcher}

    def keep(self, what: str, fd: int) -> None:
        """Have something held so that it outlives the boss."""
        for launcher in self._own.values():
            with suppress(LauncherError):
                launcher.hold(what, fd)

    def tidy(self, busy: Collection[Launcher], *, needed: bool) -> None:
        """Let go of earlier bosses' launchers that have no hand; see that somebody holds on.

        Args:
            busy: those that have living hands.
            needed: there are hands for which something is to be held.
        """
        heard = [one for one in self if one.version]
        idle = [one for one in heard if one not in self._own.values() and one not in busy]
        if needed and not self._own and (idle or not heard) and not self._hopeless:
            with suppress(SpawnError):  # told when a hand is to be started with it
                self.make(None)
        if needed and not self._own:
            return
        for launcher in idle:
            with suppress(LauncherError):
                launcher.retire()

    def keep_again(self) -> None:
        """Have everything held anew: a launcher that held some of it is gone."""
        for what, fd in self._keepsakes().items():
            self.keep(what, fd)

    def drop(self, name: str) -> None:
        """Have every launcher let go of a mailbox."""
        for launcher in self:
            if launcher in self._own.values() or launcher.version:
                with suppress(LauncherError):
                    launcher.drop(name)

    def close(self, *, retire: bool) -> None:
        """Let go of all; ``retire``: they end as soon as they have nobody, for all is over."""
        for launcher in self:
            if retire:
                with suppress(LauncherError):
                    launcher.retire(over=True)
            launcher.close()
        self._epoll.close()
