#!/usr/bin/env python3
"""``make demo``: a crew is started, watched, changed, hurt and stopped, in less than half a minute.

Decides what is shown and in which order; the boss, its hands and ``hiodctl`` are the real ones, in
a directory of their own.  Invariant: however it ends, Ctrl-C included, no process and no file of it
is left; if one had to be ended by force, the exit code is not 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
PERSON = sys.stdout.isatty()
PAUSE_S = 1.2 if PERSON else 0.0
"""Time to read, on a terminal; nothing else here waits for a clock."""
PATIENCE_S = 20.0
INTERRUPTED = 130


class Spoilt(Exception):  # noqa: N818 - named for what has become of the show
    """Something did not come out as shown; the message says what."""


def say(text: str, paint: str = "") -> None:
    """Print a line, painted on a terminal."""
    if paint and PERSON and "NO_COLOR" not in os.environ:
        text = f"\x1b[{paint}m{text}\x1b[0m"
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def scene(text: str) -> None:
    """Say what comes, after time to read what was."""
    time.sleep(PAUSE_S)
    say(f"\n# {text}", "36")


class Stage:
    """A boss in a directory of its own, and all that came to life there.

    Attributes:
        home: the directory; short, and on /tmp, as the path of a mailbox has 107 bytes.
    """

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="hiod-demo-", dir="/tmp"))
        self._environ = dict(os.environ, HIOD_SOCKET=str(self.home / "r" / "admin.sock"))
        self._places = [
            *("--config-dir", str(HERE)),
            *("--runtime-dir", str(self.home / "r")),
            *("--state-dir", str(self.home / "s")),
        ]

    def start(self) -> None:
        """Start a boss that stays when this process goes."""
        say("$ hiod run --detach --config-dir etc/demo --runtime-dir … --state-dir …", "1")
        self._run("-m", "hiod", "run", "--detach", *self._places)

    def hiodctl(self, *words: str) -> None:
        """Show a command and what it prints."""
        say(f"$ hiodctl {' '.join(words)}", "1")
        self._run("-m", "hiod.ctl.main", *words)

    def ask(self, *words: str) -> dict[str, Any]:
        """Return what a command answers, unseen."""
        done = self._run("-m", "hiod.ctl.main", "--json", *words, stdout=subprocess.PIPE)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def watch(self, *words: str, until: str) -> None:
        """Show a command that goes on and on, until it has printed a line with a text in it."""
        say(f"$ hiodctl {' '.join(words)}", "1")
        argv = [sys.executable, "-m", "hiod.ctl.main", *words]
        with subprocess.Popen(argv, env=self._environ, stdout=subprocess.PIPE) as following:  # noqa: S603 - our own interpreter, no shell
            try:
                for line in self._lines(following):
                    say(line)
                    if until in line:
                        return
            finally:
                following.terminate()
        raise Spoilt(f"hiodctl {words[0]} ended before it said {until!r}")

    def until(self, fact: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
        """Wait for a fact that nothing announces."""
        deadline = time.monotonic() + within_s
        while not fact():
            if time.monotonic() > deadline:
                raise Spoilt(f"after {within_s:g} s still not so: {what}")
            time.sleep(0.05)

    def kill(self, pid: int, what: str) -> None:
        """Kill a process as nothing can prevent, and wait until it has ended."""
        say(f"$ kill -KILL {pid}    # {what}", "1")
        end([pid], signal.SIGKILL)

    def processes(self) -> list[int]:
        """Return every process that has to do with this directory: by argument, place or file."""
        mark = str(self.home)
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdecimal()
            and int(entry.name) != os.getpid()
            and any(mark in trace for trace in traces(entry))
        ]

    def clear(self) -> list[str]:
        """Take all of it away; return what did not go when asked to, which should be none."""
        if self.processes():
            with contextlib.suppress(Spoilt, subprocess.TimeoutExpired):
                self._run("-m", "hiod.ctl.main", "shutdown", stdout=subprocess.DEVNULL)
            with contextlib.suppress(Spoilt):
                self.until(lambda: not self.processes(), "all processes have ended", within_s=5.0)
        left = [f"process {pid}" for pid in self.processes()]
        if not left:  # who is killed cannot tidy up
            left = [f"socket {path}" for path in self.home.rglob("*") if path.is_socket()]
        end(self.processes(), signal.SIGKILL)
        shutil.rmtree(self.home)
        return left

    def _run(self, *words: str, stdout: int | None = None) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, *words],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise Spoilt(f"python {' '.join(words)}: exit {done.returncode}")
        return done

    def _lines(self, following: subprocess.Popen[bytes]) -> Iterator[str]:
        deadline = time.monotonic() + PATIENCE_S
        rest = b""
        assert following.stdout is not None  # noqa: S101 - it was asked for
        pipe = following.stdout.fileno()
        while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(pipe, 1 << 16)
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.decode() for line in lines)


def traces(entry: Path) -> Iterator[str]:
    """Yield what a process shows of where it belongs; nothing of one that has ended."""
    with contextlib.suppress(OSError):
        yield (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        yield str((entry / "cwd").readlink())
        for fd in (entry / "fd").iterdir():
            yield str(fd.readlink())


def end(pids: list[int], number: signal.Signals) -> None:
    """Send processes a signal that ends them, and wait until it has."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(fd, number)
                select.select([fd], [], [], PATIENCE_S)
            finally:
                os.close(fd)


# ---------------------------------------------------------------------------- the show


def perform(stage: Stage) -> None:
    """Show it all.

    Raises:
        Spoilt: something was not as it should be.
    """
    say(f"# A boss and its crew, in {stage.home}; nothing else on this machine is touched.", "36")
    stage.start()
    stage.hiodctl("wait", "*")

    scene("Three samplers measure this machine, a store keeps it, a report asks the store.")
    stage.until(lambda: readings(stage) > 0, "the store has readings")
    stage.hiodctl("list")

    scene("A hand is added while the others run.")
    stage.hiodctl("add", "hello", "--doer", "hiod.demo:Ticker")

    scene("One is killed. It comes back, and the story says why.")
    crew = stage.ask("list")
    victim = next(row for row in crew["hands"] if row["name"] == "sampler-1")
    stage.kill(victim["pid"], "sampler-1")
    stage.watch("events", "-f", "--since", str(crew["seq"]), "sampler-1", until=": ready after")
    stage.hiodctl("why", "sampler-1")

    scene("Now the boss itself is killed. Its hands do not even notice; the next boss finds them.")
    before = pids(stage)
    stage.kill(stage.ask("about")["pid"], "the boss")
    stage.start()
    stage.hiodctl("list")
    if pids(stage) != before:
        raise Spoilt(f"the hands were {before}, and are {pids(stage)}")
    say("same processes as before: none was restarted, none is there twice", "32")

    scene("A hand is taken out of the crew.")
    stage.hiodctl("remove", "hello")

    scene("What the report has printed: numbers that went from hand to hand.")
    stage.hiodctl("logs", "-n", "3", "report")

    scene("All is stopped, in reverse order.")
    stage.hiodctl("shutdown")
    stage.until(lambda: not stage.processes(), "all processes have ended")
    for hand, count in kept(stage):
        say(f"kept from {hand}: {count} readings")


def readings(stage: Stage) -> int:
    """Return how many readings the store says it has."""
    return int(stage.ask("list", "store")["hands"][0]["status"].split()[0])


def pids(stage: Stage) -> dict[str, int]:
    """Return the crew's processes by name."""
    return {row["name"]: row["pid"] for row in stage.ask("list")["hands"]}


def kept(stage: Stage) -> list[tuple[str, int]]:
    """Return how many readings there are on disk, by hand.

    Raises:
        Spoilt: not all samplers have some.
    """
    path = stage.home / "s" / "hands" / "store" / "readings.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        query = "SELECT hand, count(*) FROM reading GROUP BY hand ORDER BY hand"
        found = db.execute(query).fetchall()
    if [hand for hand, _ in found] != ["sampler-0", "sampler-1", "sampler-2"]:
        raise Spoilt(f"readings were kept of {[hand for hand, _ in found]}")
    return found


def interrupt(number: int, frame: object) -> NoReturn:
    """Take SIGTERM and SIGHUP as Ctrl-C is taken."""
    del number, frame
    raise KeyboardInterrupt


def main() -> int:
    """Show it, tidy up, and say whether all went well."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    started_at = time.monotonic()
    stage = Stage()
    code = 1
    try:
        perform(stage)
        code = 0
    except KeyboardInterrupt:
        say("\ninterrupted; tidying up")
        code = INTERRUPTED
    except (Spoilt, subprocess.TimeoutExpired) as ex:
        say(f"\nthe demo is spoilt: {ex}", "31")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        left = stage.clear()
    if left:
        say(f"left behind, and taken away by force: {', '.join(left)}", "31")
    if code or left:
        return code or 1
    took_s = time.monotonic() - started_at
    say(f"\nNo process, no socket and no file is left. That took {took_s:.0f} s.", "32")
    say("Next: README.md, or at once: hiodctl try hiod.demo:Ticker")
    return 0


if __name__ == "__main__":
    sys.exit(main())
