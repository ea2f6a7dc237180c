"""A short runtime directory, and a boss's eye on the launchers in it.

Load it with ``pytest_plugins = ("support.rundir",)`` in a test module.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hiod.host.launching import Exited, Gone, Launcher, Refused, Replayed, Spawned

if TYPE_CHECKING:
    from collections.abc import Iterator


class Eye:
    """One launcher as its boss sees it, which waits for what the launcher says.

    Attributes:
        launcher: the client.
        seen: all events so far, in order.
    """

    def __init__(self, launcher: Launcher, rundir: Path) -> None:
        self.launcher = launcher
        self.rundir = rundir
        self.seen: list[Any] = []
        self._fds: list[int] = []
        self._next = 0

    def until(self, kind: type[Any], within_s: float = 20.0, **facts: Any) -> Any:
        """Return the first event of a kind that has these facts, old or new."""
        deadline = time.monotonic() + within_s
        checked = 0
        while True:
            for event in self.seen[checked:]:
                if isinstance(event, kind) and facts.items() <= _facts(event).items():
                    return event
            checked = len(self.seen)
            left = deadline - time.monotonic()
            assert left > 0, f"no {kind.__name__} with {facts}; seen: {self.seen}"
            select.select((self.launcher.fileno(),), (), (), left)
            self.look()

    def look(self) -> list[Any]:
        """Take what is there; return all seen so far."""
        for event in self.launcher.take():
            self.seen.append(event)
            given = (getattr(event, what, -1) for what in ("pidfd", "words", "fd"))
            self._fds += [fd for fd in given if fd >= 0]
        return self.seen

    def order(self, name: str, **facts: Any) -> dict[str, Any]:
        """Return an order with the boss's part filled in."""
        generation = facts.get("generation", 1)
        order: dict[str, Any] = {
            "v": 1,
            "name": name,
            "hand": name,
            "ordinal": None,
            "generation": generation,
            "token": f"token-{name}-{generation}",
            "doers": None,
            "command": None,
            "path": [],
            "cwd": str(self.rundir),
            "env_file": [],
            "env": {},
            "environ": {"HIOD_NAME": name, "HIOD_GENERATION": str(generation)},
            "umask": 0o027,
            "nice": 0,
            "rlimits": {},
            "log": str(self.rundir / f"{name}.log"),
            "tock": 0.03125,
            "limit_s": None,
            "ready_by": "register",
            "notify": None,
            "beat_s": 5.0,
            "boss": {"name": "boss", "addr": str(self.rundir / "boss.uxd"), "pid": os.getpid()},
            "addr": str(self.rundir / f"{name}.uxd"),
            "state_dir": None,
            "cgroup": None,
        }
        return {**order, **facts}

    def spawn(self, name: str, *command: str, **facts: Any) -> Spawned:
        """Order a hand and return its birth."""
        event = self.answer(name, *command, **facts)
        assert isinstance(event, Spawned), event
        return event

    def refusal(self, name: str, *command: str, **facts: Any) -> Refused:
        """Order a hand that cannot be and return why not."""
        event = self.answer(name, *command, **facts)
        assert isinstance(event, Refused), event
        return event

    def answer(self, name: str, *command: str, **facts: Any) -> Spawned | Refused:
        """Order a hand and return what came of it."""
        order = self.order(name, command=list(command) or None, **facts)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mailbox:
            self.launcher.spawn(order, mailbox.fileno())
        kinds: Any = (Spawned, Refused)
        found: Spawned | Refused = self.until(kinds, name=name, generation=order["generation"])
        return found

    def end(self, name: str, generation: int = 1) -> Exited:
        """Return how a hand ended."""
        return self.until(Exited, name=name, generation=generation)

    def words(self, name: str) -> str:
        """Return the last words of the latest incarnation of a hand."""
        born = [e for e in self.seen if getattr(e, "name", None) == name and hasattr(e, "words")]
        fd = next(e.words for e in reversed(born) if e.words >= 0)
        return os.pread(fd, 1 << 20, 0).decode()

    def log(self, name: str) -> str:
        """Return what a hand has printed."""
        return (self.rundir / f"{name}.log").read_text()

    def close(self) -> None:
        """Let go without a word, as a boss that is killed does."""
        self.launcher.close()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


def _facts(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__}


class Shore:
    """Starts and finds launchers of one runtime directory, and takes all of it away again."""

    def __init__(self, rundir: Path) -> None:
        self.rundir = rundir
        self._eyes: list[Eye] = []
        self._pids: dict[int, int] = {}

    def start(self, **options: Any) -> Eye:
        """Start a launcher; it may not be up yet."""
        return self._watch(Launcher.start(str(self.rundir), **options))

    def find(self) -> list[Eye]:
        """Connect to those that live."""
        return [self._watch(launcher) for launcher in Launcher.find(str(self.rundir))]

    def _watch(self, launcher: Launcher) -> Eye:
        if launcher.pid not in self._pids:
            self._pids[launcher.pid] = os.pidfd_open(launcher.pid)
        eye = Eye(launcher, self.rundir)
        self._eyes.append(eye)
        return eye

    def close(self) -> None:
        """Sweep every hand, end every launcher and wait for it."""
        for eye in self._eyes:
            eye.close()
        for launcher in Launcher.find(str(self.rundir)):
            eye = Eye(launcher, self.rundir)
            eye.until((Replayed, Gone))  # type: ignore[arg-type]
            for event in list(eye.seen):
                if hasattr(event, "started_at") and not isinstance(event, Exited):
                    launcher.sweep(event.name, event.generation)
                    eye.end(event.name, event.generation)
            if not isinstance(eye.seen[-1], Gone):
                launcher.quit()
                eye.until(Gone)
            eye.close()
        for pid, pidfd in self._pids.items():
            assert select.select((pidfd,), (), (), 10)[0], f"launcher {pid} is left"
            os.close(pidfd)
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


@pytest.fixture
def rundir() -> Iterator[Path]:
    """Give a directory short enough for socket paths."""
    path = Path(tempfile.mkdtemp(prefix="hiod-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def shore(rundir: Path) -> Iterator[Shore]:
    """Start launchers that are gone, with their hands, when the test is over."""
    shore = Shore(rundir)
    yield shore
    shore.close()


@pytest.fixture
def eye(shore: Shore) -> Eye:
    """Give one launcher that is up."""
    eye = shore.start()
    eye.until(Replayed)
    return eye
