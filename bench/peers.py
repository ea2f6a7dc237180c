"""hiod beside its neighbours: the same work under hiod, supervisord and circus, in one run.

    python bench/peers.py [tries=2]

The neighbours come from PyPI into a virtual environment that is made at the first run and kept
(``.venv-peers``); one that cannot be had is said and left out. Each supervisor runs before the
clock does, and is asked over a connection that is open already.

What is supervised is the same bare Python everywhere: it writes its pid to a file and pauses, and
"up" is that line, so nobody is asked, polled or believed. Only the first column is something else:
hands, each with its Doist and its Crewer, that are up when they have registered with the boss.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import crew
import library

from hiod.errors import HiodError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-peers"
COUNTS = (10, 100, 50)  # the last is kept for the other figures
DEATHS = 10
IDLE_S = 10.0
WAIT_S = 60.0
BARE = os.path.realpath(sys.executable)  # not the environment's: its .pth files cost each start
WORKER = 'import os, signal; print(os.getpid(), file=open("{up}", "a")); signal.pause()'

SUPERVISORD = """
[supervisord]
nodaemon=true
logfile={top}/log
pidfile={top}/pid
childlogdir={top}
[unix_http_server]
file={top}/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
SUPERVISORD_PROGRAM = """
[program:w{count}]
command={command}
numprocs={count}
process_name=%(process_num)d
autostart=false
autorestart=true
startsecs=0
stdout_logfile=NONE
stderr_logfile=NONE
"""
TIMED = """
import statistics, time
def timed(call):
    took = []
    for _ in range(300):
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e3
"""
SUPERVISORD_ASK = (
    TIMED
    + """
import json, sys
from supervisor.childutils import getRPCInterface
rpc = getRPCInterface({{"SUPERVISOR_SERVER_URL": "unix://{top}/sock"}}).supervisor
for line in sys.stdin:
    verb, name = json.loads(line)
    if verb == "start":
        rpc.startProcessGroup(name, False)
    elif verb == "stop":
        rpc.stopProcessGroup(name)
    elif verb == "time":
        print(timed(rpc.getState if name == "ping" else rpc.getAllProcessInfo), end="")
    else:
        rpc.getState()
    print(flush=True)
"""
)

CIRCUS = """
[circus]
endpoint=ipc://{top}/ask
pubsub_endpoint=ipc://{top}/say
check_delay={check_delay}
"""
CIRCUS_WATCHER = """
[watcher:w{count}]
cmd={command}
numprocesses={count}
autostart=False
"""
CIRCUS_ASK = (
    TIMED
    + """
import json, sys
from circus.client import CircusClient
client = CircusClient(endpoint="ipc://{top}/ask", timeout=60)
for line in sys.stdin:
    verb, name = json.loads(line)
    given = dict(name=name, waiting=verb == "stop") if name else {{}}
    if verb == "time":
        ping, rows = ("numwatchers", {{}}), ("list", dict(name="w{count}"))
        what, given = ping if name == "ping" else rows
        print(timed(lambda: client.send_message(what, **given)), end="")
    else:
        client.send_message(verb if name else "numwatchers", **given)
    print(flush=True)
"""
)


class Up:
    """Which workers have come up, as they say themselves; holds each, so that none outlives us."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.seen = 0
        self.held: dict[int, int] = {}

    def look(self) -> list[int]:
        """Return the pids that are new since the last look."""
        whole = self.path.read_text().rpartition("\n")[0]
        new = [int(line) for line in whole.split()[self.seen :]]
        self.seen += len(new)
        for pid in new:
            self.hold(pid)
        return new

    def hold(self, pid: int) -> None:
        """Open a handle of it."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:  # it has come and gone
            return
        if pid in self.held:
            os.close(self.held[pid])
        self.held[pid] = fd

    def wait(self, count: int) -> list[int]:
        """Wait for so many more workers."""
        came: list[int] = []
        deadline = time.monotonic() + WAIT_S
        while len(came) < count:
            came += self.look()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(came)} of {count} were up after {WAIT_S:.0f} s")
            time.sleep(0.0005)
        return came

    def gone(self, pids: list[int]) -> None:
        """Wait for the end of these."""
        for pid in pids:
            if not select.select([self.held[pid]], [], [], WAIT_S)[0]:
                raise TimeoutError(f"process {pid} was not gone after {WAIT_S:.0f} s")

    def close(self) -> None:
        """End what its supervisor has left."""
        self.look()
        for fd in self.held.values():
            if not select.select([fd], [], [], 0)[0]:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)


class Supervisor(Protocol):
    """What is measured, whoever it is."""

    title: str
    period_s: float  # how often it looks: deaths are spread over it

    def start(self, count: int) -> list[int]:
        """Start so many; return their pids once all are up."""
        ...

    def stop(self, count: int) -> None:
        """Stop them; return when it says that they are gone."""
        ...

    def replacement(self, number: int, dead: int) -> int:
        """Return the pid of what has come up in place of this one."""
        ...

    def own(self) -> list[int]:
        """Return the pids that it needs for itself."""
        ...


class Hiod:
    """hiod with the command that the others get."""

    title = "hiod, the same"
    period_s = 0.0

    def __init__(self, stack: ExitStack, top: Path, up: Up) -> None:
        del top
        self.up = up
        self.crew = stack.enter_context(crew.crew())
        self.call("stop", names=["first"], wait="gone")
        for count in COUNTS:
            restart = {"delay_s": 0, "limit": 10_000}
            spec = {"name": f"w{count}", "count": count, "start": False, "restart": restart}
            self.call("add", spec=spec | self.what())

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        if "wait" in given:
            given["timeout_s"] = WAIT_S
        return self.crew.client.call(method, given)

    def what(self) -> dict[str, Any]:
        code = WORKER.format(up=self.up.path)
        return {"command": [BARE, "-c", code], "ready": {"by": "start"}}

    def start(self, count: int) -> list[int]:
        self.call("start", names=[f"w{count}"], wait="ready")
        return self.up.wait(count)

    def stop(self, count: int) -> None:
        self.call("stop", names=[f"w{count}"], wait="gone")

    def replacement(self, number: int, dead: int) -> int:
        del number, dead
        return self.up.wait(1)[0]

    def own(self) -> list[int]:
        return [self.crew.boss.pid, *self.crew.launchers()]


class Hands(Hiod):
    """hiod with what it is for: hands, up when registered."""

    title = "hiod, hands"

    def what(self) -> dict[str, Any]:
        return {"doers": []}

    def start(self, count: int) -> list[int]:
        self.call("start", names=[f"w{count}"], wait="ready")
        pids = [row["pid"] for row in self.crew.rows(f"w{count}")]
        for pid in pids:
            self.up.hold(pid)
        return pids

    def replacement(self, number: int, dead: int) -> int:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            row = self.crew.rows(f"w{COUNTS[-1]}-{number}")[0]
            if row["pid"] not in (None, dead) and row["state"] == "ready":
                self.up.hold(row["pid"])
                return int(row["pid"])
        raise TimeoutError(f"hand {number} was not replaced after {WAIT_S:.0f} s")


class Neighbour:
    """A supervisor from PyPI, and a process of its own Python that asks it."""

    title = ""
    period_s = 1.0
    module = ""
    config = ""
    program = ""
    asker = ""
    facts: ClassVar[dict[str, str]] = {}

    def __init__(self, stack: ExitStack, top: Path, up: Up, counts: Sequence[int] = COUNTS) -> None:
        self.up = up
        command = shlex.join([BARE, "-c", WORKER.format(up=up.path)])
        lines = [self.config.format(top=top, **self.facts)]
        lines += [self.program.format(count=count, command=command) for count in counts]
        file = top / "conf.ini"
        file.write_text("".join(lines))
        argv = [str(VENV / "bin" / "python"), "-m", self.module]
        argv += ["-c", str(file)] if self.module.startswith("supervisor") else [str(file)]
        self.top, said = top, stack.enter_context((top / "said").open("wb"))
        self.boss = subprocess.Popen(argv, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        stack.callback(ended, self.boss)
        socket = top / ("sock" if self.module.startswith("supervisor") else "ask")
        deadline = time.monotonic() + WAIT_S
        while not socket.exists():
            if self.boss.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"it did not start: {(top / 'said').read_text().strip()[-200:]}")
            time.sleep(0.01)
        self.asking = subprocess.Popen(
            [str(VENV / "bin" / "python"), "-c", self.asker.format(top=top, count=counts[-1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        stack.callback(ended, self.asking)
        self.ask("")

    def ask(self, verb: str, name: str = "") -> str:
        assert self.asking.stdin is not None
        assert self.asking.stdout is not None
        print(json.dumps([verb, name]), file=self.asking.stdin, flush=True)
        if not select.select([self.asking.stdout], [], [], WAIT_S)[0]:
            raise TimeoutError(f"no answer to {verb} {name} after {WAIT_S:.0f} s")
        if not (answer := self.asking.stdout.readline()):
            raise OSError(f"no answer: {(self.top / 'said').read_text().strip()[-200:]}")
        return str(answer.strip())

    def timed(self, what: str) -> float:
        """Return the median ms of its cheapest call (``ping``), or of telling of all (``list``).

        That is getState and getAllProcessInfo; of circus numwatchers and list, which gives the
        pids of those that live, and no more.
        """
        return float(self.ask("time", what))

    def start(self, count: int) -> list[int]:
        self.ask("start", f"w{count}")
        return self.up.wait(count)

    def stop(self, count: int) -> None:
        self.ask("stop", f"w{count}")

    def replacement(self, number: int, dead: int) -> int:
        del number, dead
        return self.up.wait(1)[0]

    def own(self) -> list[int]:
        return [self.boss.pid]


class Supervisord(Neighbour):
    """It turns once a second; nothing sets that."""

    title = "supervisord"
    module = "supervisor.supervisord"
    config, program, asker = SUPERVISORD, SUPERVISORD_PROGRAM, SUPERVISORD_ASK


class Circus(Neighbour):
    """As it comes: it looks for deaths every five seconds."""

    title = "circus"
    period_s = 5.0
    module = "circus.circusd"
    config, program, asker = CIRCUS, CIRCUS_WATCHER, CIRCUS_ASK
    facts: ClassVar = {"check_delay": "5"}


class QuickCircus(Circus):
    """As quick as one would set it: the figure for deaths is bought with idle CPU."""

    title = "circus, 0.1 s"
    period_s = 0.1
    facts: ClassVar = {"check_delay": "0.1"}


def ended(process: subprocess.Popen[Any]) -> None:
    """End a process of ours; ask first, so that it ends its own."""
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(WAIT_S / 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def cpu_s(pids: list[int]) -> float:
    """Return CPU time so far in seconds, of all threads: circus has several."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def stop_s(one: Supervisor, up: Up, pids: list[int]) -> float:
    """Stop all; return the seconds until they are gone and the supervisor has said so."""
    begun = time.perf_counter()
    one.stop(len(pids))
    up.gone(pids)
    return time.perf_counter() - begun


def figures(one: Supervisor, up: Up, tries: int) -> Iterator[tuple[str, str]]:
    """Measure one supervisor, from the first start to the last stop."""
    pids: list[int] = []
    stops: list[float] = []
    for count in COUNTS:
        starts = []
        for _ in range(tries):
            if pids:
                stops.append(stop_s(one, up, pids))
            begun = time.perf_counter()
            pids = one.start(count)
            starts.append(time.perf_counter() - begun)
        yield f"start of {count} until up, best of {tries}", f"{min(starts):.3f} s"
    time.sleep(1)
    size = statistics.median(map(crew.pss_mib, pids))
    yield "PSS of an idle one, median", f"{size:.2f} MiB"
    own = one.own()
    yield "PSS of the supervisor itself", f"{sum(map(crew.pss_mib, own)):.1f} MiB"
    before, begun = cpu_s(own + pids), time.perf_counter()
    time.sleep(IDLE_S)
    spent = (cpu_s(own + pids) - before) / (time.perf_counter() - begun)
    yield f"idle, with {len(pids)}, of one core", f"{spent * 100:.2f} %"
    deaths = []
    for number in range(DEATHS):
        time.sleep(0.05 + one.period_s * (number * 0.618 % 1))  # not in step with its turns
        begun = time.perf_counter()
        signal.pidfd_send_signal(up.held[pids[number]], signal.SIGKILL)
        pids[number] = one.replacement(number, pids[number])
        deaths.append(time.perf_counter() - begun)
    yield "death to replacement up, p50", f"{statistics.median(deaths) * 1e3:.1f} ms"
    last = [*stops[1 - tries :], stop_s(one, up, pids)] if tries > 1 else [stop_s(one, up, pids)]
    yield f"clean stop of {len(pids)}, best of {tries}", f"{min(last):.3f} s"


@contextmanager
def workplace() -> Iterator[tuple[ExitStack, Path, Up]]:
    """Give a short directory, and see to it that nothing is left of what was started there."""
    top = Path(tempfile.mkdtemp(prefix="hp", dir="/tmp"))
    try:
        with ExitStack() as stack:
            up = Up(top / "up")
            stack.callback(up.close)  # last of all: whom its supervisor has left
            yield stack, top, up
    finally:
        shutil.rmtree(top)


def had(package: str) -> str:
    """Return the version of a neighbour, got from PyPI if need be; "" when it cannot be had."""
    python = str(VENV / "bin" / "python")
    ask = [python, "-c", f"import importlib.metadata as m; print(m.version({package!r}))"]
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", package]
    try:
        if not Path(python).exists():
            make = [sys.executable, "-m", "venv", str(VENV)]
            subprocess.run(make, check=True, capture_output=True, timeout=2 * WAIT_S)
        if subprocess.run(ask, check=False, capture_output=True, timeout=WAIT_S).returncode:
            subprocess.run(pip, check=True, capture_output=True, timeout=3 * WAIT_S)
        got = subprocess.run(ask, check=True, capture_output=True, timeout=WAIT_S)
    except (OSError, subprocess.SubprocessError) as why:
        said = (getattr(why, "stderr", None) or b"").decode(errors="replace").strip()
        print(f"{package} cannot be had: {said.splitlines()[-1] if said else why}", flush=True)
        return ""
    return got.stdout.decode().strip()


def hio_too() -> None:
    """Print hio's own start of a crew, which is another piece of work: a row for itself."""
    python = os.environ.get("HIOD_HIO_PYTHON", str(ROOT / ".venv-hio" / "bin" / "python"))
    if not Path(python).exists():
        print("hio cannot be had: set HIOD_HIO_PYTHON")
        return
    with tempfile.TemporaryDirectory(prefix="hi", dir="/tmp") as cache:
        mine = library.crewed_s(sys.executable, "hiod", cache)
        its = library.crewed_s(python, "hio", cache)
    print(f"\nlibrary boss, {library.HANDS} hands until crewed: hiod {mine:.2f} s, hio {its:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tries", type=int, nargs="?", default=2, help="the best is taken")
    tries = parser.parse_args().tries
    subjects: list[type[Hiod | Neighbour]] = [Hands, Hiod]
    for package, classes in (("supervisor", [Supervisord]), ("circus", [Circus, QuickCircus])):
        if version := had(package):
            print(f"{package} {version}")
            subjects += classes
    table: dict[str, dict[str, str]] = {}
    for subject in subjects:
        try:
            with workplace() as (stack, top, up):
                for what, value in figures(subject(stack, top, up), up, tries):
                    table.setdefault(what, {})[subject.title] = value
        except (OSError, HiodError) as why:  # the others are still worth having
            print(f"{subject.title}: not measured further: {why}", flush=True)
    print(f"\n{'':<36}" + "".join(f"{subject.title:>16}" for subject in subjects))
    for what, values in table.items():
        cells = (values.get(subject.title, "-") for subject in subjects)
        print(f"{what:<36}" + "".join(f"{cell:>16}" for cell in cells))
    hio_too()


if __name__ == "__main__":
    main()
