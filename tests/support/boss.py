"""A boss of a test's own: running and ready in a short directory, gone with all it started.

Load it with ``pytest_plugins = ("support.boss",)`` in a test module and ask for ``boss`` (ready,
with an empty crew), ``shared`` (the same, but one for all tests of a module, whose crew is empty
again after each), ``bosses`` (makes them, for tests that need crew files or flags first) or
``home`` (the short directory). When the test is over the boss is told to stop; the test fails if
it does not exit 0, or if a process or a socket is left.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import wait_until

from hiod.admin.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 20.0


class Boss:
    """One boss's directories, and the process that is the boss at present.

    Attributes:
        home: directory of everything below; short.
        config, runtime, state: the boss's directories.
        process: the boss; None before the first start.
        client: a connection to its admin socket, made at the first call.
        environ: what the next start adds to the environment; None takes a variable away.
        said: what it told its service manager so far, one dict for each datagram.
        since: events after this one are this test's.
        lingers_s: how long a launcher that has nobody may be there after the boss.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "c"
        self.runtime = home / "r"
        self.state = home / "s"
        (self.config / "crew.d").mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.client = Client(self.runtime / "admin.sock")
        self.environ: dict[str, str | None] = {}
        self.said: list[dict[str, str]] = []
        self.since = 0
        self.lingers_s = 5.0
        self._heard = threading.Condition()
        self._flushed = 0
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(home / "manager.sock"))
        # A service manager always listens; a boss would wait for one that does not.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    # ------------------------------------------------------------------ its process

    @property
    def argv(self) -> list[str]:
        """The command that is this boss."""
        places = {"config": self.config, "runtime": self.runtime, "state": self.state}
        flags = [word for name, path in places.items() for word in (f"--{name}-dir", str(path))]
        return [sys.executable, "-m", "hiod", "run", *flags]

    @property
    def admin_socket(self) -> Path:
        """Where it is asked."""
        return self.runtime / "admin.sock"

    def crew(self, text: str, name: str = "test.toml") -> Path:
        """Write a crew file."""
        path = self.config / "crew.d" / name
        path.write_text(text)
        return path

    def launch(self, *flags: str) -> subprocess.Popen[bytes]:
        """Start a boss and do not wait for it."""
        environ = {**os.environ, "NOTIFY_SOCKET": str(self.home / "manager.sock"), **self.environ}
        with (self.home / "boss.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.argv, *flags],
                env={key: value for key, value in environ.items() if value is not None},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.process

    def start(self, *flags: str) -> Boss:
        """Start a boss and wait until it is ready."""
        self.hear()
        self.said.clear()
        process = self.launch(*flags)
        self.until_said(lambda words: words.get("READY") == "1", process)
        return self

    def _listen(self) -> None:
        """Be the service manager: take in what the boss tells, until it is nothing at all."""
        while data := self._manager.recv(4096):
            words = dict(line.split("=", 1) for line in data.decode().splitlines())
            with self._heard:
                if "TEST_FLUSH" in words:
                    self._flushed += 1
                else:
                    self.said.append(words)
                self._heard.notify_all()

    def _tell_listener(self, data: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(data, str(self.home / "manager.sock"))

    def hear(self) -> list[dict[str, str]]:
        """Return all that the boss told its service manager since it was started."""
        with self._heard:
            before = self._flushed
            self._tell_listener(b"TEST_FLUSH=1")
            assert self._heard.wait_for(lambda: self._flushed > before, PATIENCE_S)
        return self.said

    def until_said(
        self,
        passes: Callable[[dict[str, str]], bool],
        process: subprocess.Popen[bytes] | None = None,
        within_s: float = PATIENCE_S,
    ) -> dict[str, str]:
        """Return the first words to the service manager that pass; fails if the boss ends."""
        process = process or self.process
        assert process is not None
        deadline = time.monotonic() + within_s
        while True:
            ended = process.poll() is not None
            if ended:
                self.hear()
            with self._heard:
                found = next(filter(passes, self.said), None)
                if found is not None:
                    return found
                assert not ended, f"the boss exited {process.returncode}\n{self.log()}"
                in_time = time.monotonic() < deadline
                assert in_time, f"not said in {within_s} s; said: {self.said}\n{self.log()}"
                self._heard.wait(0.05)

    def kill(self) -> None:
        """Kill the boss as nothing can prevent, and wait until it has ended."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.client.close()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal the boss and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self.client.close()
        return code

    def log(self) -> str:
        """Return what the boss has logged, and hands that inherit its log."""
        path = self.home / "boss.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # ------------------------------------------------------------------ asking it

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call an admin method; raises AdminError if the boss refuses."""
        return self.client.call(method, parameters)

    def add(
        self, name: str, *, wait: str | None = "ready", timeout_s: float = PATIENCE_S, **spec: Any
    ) -> list[dict[str, Any]]:
        """Add a definition and wait for its hands; return their outcomes.

        With ``wait`` ``ready`` an outcome that is not ready fails the test; None does not wait.
        """
        asked: dict[str, Any] = {"spec": {"name": name, **spec}}
        if wait is not None:
            asked |= {"wait": wait, "timeout_s": timeout_s}
        hands: list[dict[str, Any]] = self.ask("add", **asked)["hands"]
        bad = [one for one in hands if one["state"] not in {"ready", "running", "done"}]
        assert wait != "ready" or not bad, bad
        return hands

    def change(
        self, method: str, *names: str, wait: str | None = None, timeout_s: float = PATIENCE_S
    ) -> list[dict[str, Any]]:
        """Start, stop, restart or remove hands; ``wait`` for ready, done or gone."""
        asked: dict[str, Any] = {"names": list(names)}
        if wait is not None:
            asked |= {"wait": wait, "timeout_s": timeout_s}
        hands: list[dict[str, Any]] = self.ask(method, **asked)["hands"]
        return hands

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return ``list``, by name."""
        return {row["name"]: row for row in self.ask("list")["hands"]}

    def row(self, name: str) -> dict[str, Any]:
        """Return one hand's row of ``list``."""
        return self.rows()[name]

    def until(self, name: str, within_s: float = PATIENCE_S, **facts: Any) -> dict[str, Any]:
        """Return a hand's row once it has these facts: ``until("a", state="ready")``."""
        last: dict[str, Any] = {}

        def there() -> dict[str, Any] | None:
            last.clear()
            last.update(self.row(name))
            return last if facts.items() <= last.items() else None

        try:
            return dict(wait_until(there, within_s))
        except AssertionError:
            told = "\n".join(self.story())
            pytest.fail(f"{name} never had {facts}; last: {last}\n{told}")

    def event(
        self, event: str, hand: str | None = None, *, since: int | None = None,
        within_s: float = PATIENCE_S, **facts: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Return the first event of this name (of this hand) with these facts, old or new."""
        since = self.since if since is None else since
        asked = {"events": [event], "since": since, "names": [hand] if hand else []}
        seen = []
        with Client(self.runtime / "admin.sock") as client, contextlib.closing(
            client.call("subscribe", asked, more=True, within_s=within_s)  # type: ignore[arg-type]
        ) as stream:  # fmt: skip
            try:
                for reply in stream:
                    for one in reply["events"]:
                        seen.append(one)
                        if facts.items() <= one["facts"].items():
                            return dict(one)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test says what was seen
                told = "\n".join(self.story())
                pytest.fail(f"no {event} of {hand} with {facts}: {error}; seen: {seen}\n{told}")
        pytest.fail(f"the boss ended before {event} of {hand}\n{self.log()}")

    def events(self, *names: str, hand: str | None = None) -> list[dict[str, Any]]:
        """Return this test's events of these names (all without), oldest first."""
        asked = {"since": self.since, "limit": 10_000, "events": list(names)}
        found: list[dict[str, Any]] = self.ask("events", names=[hand] if hand else [], **asked)[
            "events"
        ]
        return found

    def story(self) -> list[str]:
        """Return every kept event as the sentence an operator reads."""
        return [f"{one['seq']} {one['message']}" for one in self.events()]

    def hand_log(self, name: str) -> str:
        """Return what a hand with ``log`` at :meth:`log_path` has printed."""
        path = Path(self.log_path(name))
        return path.read_text(errors="replace") if path.exists() else ""

    def log_path(self, name: str) -> str:
        """Return a path for a hand's ``log``."""
        return str(self.home / f"{name}.log")

    # ------------------------------------------------------------------ the end

    def clear(self) -> None:
        """Let every hand leave, the stubborn ones by force, and begin a new story."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        for row in self.ask("list")["hands"]:
            with contextlib.suppress(ProcessLookupError):
                if row["pid"] is not None and row["state"] != "stopped":
                    os.kill(row["pid"], signal.SIGCONT)
        files = list((self.config / "crew.d").iterdir())
        for path in files:
            path.unlink()
        if files:
            self.ask("apply", wait="gone", timeout_s=PATIENCE_S)
        names = list(self.rows())
        if names:
            self.ask("remove", names=names, wait="gone", timeout_s=PATIENCE_S)
        for path in self.home.glob("*.log"):
            if path.name != "boss.log":
                path.unlink()
        self.since = self.ask("list")["seq"]

    def processes(self) -> dict[int, str]:
        """Return every process that has to do with this boss, by what it was given."""
        return processes_of(self.home)

    def close(self) -> None:
        """Stop the boss; fail if it or anything it started does not end, and kill that; once."""
        self.client.close()
        try:
            if self.process is not None:
                if self.process.poll() is None:
                    code = self.end()
                    assert code == 0, f"the boss exited {code}\n{self.log()}"
                self._assert_nothing_left()
        finally:
            if self._listener.is_alive():
                self._tell_listener(b"")
                self._listener.join(PATIENCE_S)
            self._manager.close()
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.process is not None:
                self.process.wait(PATIENCE_S)

    def _assert_nothing_left(self) -> None:
        # A launcher that has nobody ends by itself, a moment after its boss.
        deadline = time.monotonic() + self.lingers_s
        while left := self.processes():
            pid = next(iter(left))
            with contextlib.suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                try:
                    gone = select.select((pidfd,), (), (), max(0.0, deadline - time.monotonic()))[0]
                finally:
                    os.close(pidfd)
                assert gone, f"left behind: {left}\n{self.log()}"
        # Of a launcher that was killed while it bound its socket, a later boss finds this.
        found = [one for one in self.runtime.rglob("*") if one.is_socket() and one.suffix != ".new"]
        assert not found, f"sockets left behind: {found}"


def processes_of(home: Path) -> dict[int, str]:
    """Return the living processes that name this directory: argument, variable or cwd."""
    mark = re.compile(re.escape(os.fsencode(home)) + rb"\b")
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes()
            places = (entry / "environ").read_bytes() + os.fsencode((entry / "cwd").readlink())
        except OSError:
            continue  # it has ended, or is nobody's we started
        if mark.search(words) or mark.search(places):
            found[int(entry.name)] = words.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """Give a directory short enough for socket paths."""
    path = Path(tempfile.mkdtemp(prefix="hiod-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def home() -> Iterator[Path]:
    """Give a directory short enough for socket paths."""
    with short_directory() as path:
        yield path


@pytest.fixture(scope="module")
def standing() -> Iterator[Boss]:
    """Keep one boss for a module; tests ask for ``shared``."""
    with short_directory() as path:
        boss = Boss(path).start()
        yield boss
        boss.close()


@pytest.fixture
def shared(standing: Boss) -> Iterator[Boss]:
    """Give the module's boss, ready and with no hands; not to be killed or stopped."""
    standing.clear()
    yield standing
    standing.clear()


@pytest.fixture
def bosses(home: Path) -> Iterator[Callable[[str], Boss]]:
    """Make bosses that are not started yet, each with directories of its own."""
    made: list[Boss] = []

    def make(name: str = "b") -> Boss:
        place = home / name
        place.mkdir()
        made.append(Boss(place))
        return made[-1]

    yield make
    with contextlib.ExitStack() as stack:
        for boss in made:
            stack.callback(boss.close)


@pytest.fixture
def boss(bosses: Callable[[], Boss]) -> Boss:
    """Give a boss that is ready and has no hands yet."""
    return bosses().start()


@pytest.fixture(scope="module")
def module_boss() -> Iterator[Boss]:
    """Give a boss that is not started yet, for all tests of a module together."""
    home = Path(tempfile.mkdtemp(prefix="hiod-", dir="/tmp"))
    home.chmod(0o755)
    boss = Boss(home)
    try:
        yield boss
        boss.close()
    finally:
        shutil.rmtree(home)
