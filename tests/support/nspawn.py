"""A machine of its own with a real systemd: hiod installed, booted in a container in half a second.

Decides how it is set up and taken away; leaves what is done inside to the tests. Invariants: its
mounts live in a mount namespace of its own and its first process dies with this one, so a killed
test run leaves no mount and no process, and its empty control groups go at the next start.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support.waiting import wait_until

from hiod.admin.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PREFIX = "hiodsd"  # of machine names, and so of control groups and directories
PYTHON = "/usr/bin/python3"  # a Python below a home directory is out of the service's reach
BOOT_S = 60.0
MASKED = frozenset(
    {
        "console-getty.service",
        "dev-hugepages.mount",
        "dev-mqueue.mount",
        "getty.target",
        "getty@.service",
        "sys-fs-fuse-connections.mount",
        "systemd-journal-flush.service",
        "systemd-logind.service",
        "systemd-remount-fs.service",
        "systemd-sysctl.service",
        "systemd-timesyncd.service",
        "systemd-update-utmp-runlevel.service",
        "systemd-update-utmp.service",
        "systemd-user-sessions.service",
    }
)
JOIN = ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w")  # all of its namespaces, root and cwd

CREW = """\
[hand.ticker]
count = 2
doers = ["hiod.demo:Ticker"]
"""

PIP = """\
#!/bin/sh
# Puts what was installed once where it is told to.
while [ "$1" != --target ]; do shift; done
exec cp -a /root/site/. "$2"
"""

BOOT = """\
set -e
mount -t tmpfs -o size=1g,mode=755 tmpfs "$D"
mkdir "$D/upper" "$D/work" "$D/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$D/upper,workdir=$D/work" "$D/root"
rm -f "$D/root/etc/machine-id"; : >"$D/root/etc/machine-id"
cp -a "$STAGE/." "$D/root/"
for unit in $MASK; do ln -sf /dev/null "$D/root/etc/systemd/system/$unit"; done
for group in $GROUPS_OF_ITS_OWN; do mkdir -p "$group"; echo 0 >"$group/cgroup.procs"; done
code=133  # the machine wants to be booted again
while [ "$code" = 133 ]; do
for group in $GROUPS_OF_ITS_OWN; do find "$group" -mindepth 1 -depth -type d -exec rmdir {} +; done
code=0
systemd-nspawn --quiet -D "$D/root" -M "$N" --register=no --keep-unit --private-network \\
  --notify-ready=yes --console=read-only --link-journal=no --resolv-conf=off --timezone=off \\
  --suppress-sync=yes --boot systemd.unit=multi-user.target || code=$?
done
exit "$code"
"""


def why_not() -> str:
    """Say what this machine lacks for booting another; empty when it lacks nothing."""
    if os.geteuid() != 0:
        return "not root"
    for program in ("systemd-nspawn", "nsenter", "unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"no {program} (apt install systemd-container)"
    if not Path(PYTHON).exists():
        return f"no {PYTHON}"
    if not Path("/lib/systemd/systemd").exists() or shutil.which("dbus-daemon") is None:
        return "no systemd and dbus to boot (apt install systemd-sysv dbus)"
    if not _own_groups("x"):
        return "no cgroup file system"
    return ""


def need_machine() -> None:
    """Skip, saying why, where no machine can be booted; in CI that is a failure."""
    why = why_not()
    if why and os.environ.get("HIOD_CI") == "1":
        pytest.fail(f"cannot boot a machine: {why}")
    if why:
        pytest.skip(f"cannot boot a machine: {why}")


def stage(target: Path) -> None:
    """Install hiod below a directory, as a packager would."""
    done = subprocess.run(
        [ROOT / "systemd" / "install.sh", "install"],
        env={**os.environ, "DESTDIR": str(target), "PREFIX": "/usr", "PYTHON": PYTHON},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _own_groups(name: str) -> list[Path]:
    """Return the control groups a machine needs, by what hierarchies there are."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.procs").exists():
        return [top / name]
    return [top / one / name for one in ("unified", "systemd") if (top / one).is_dir()]


def _masked() -> list[str]:
    """Return what must not start: what this machine happens to have enabled, and slow things."""
    found = set(MASKED)
    for folder in ("/etc/systemd/system", "/lib/systemd/system"):
        for wants in Path(folder).glob("*.wants"):
            if folder.startswith("/etc") or wants.name == "timers.target.wants":
                found.update(one.name for one in wants.iterdir())
    return sorted(found)


class Machine:
    """One booted machine.

    Attributes:
        root: its file tree, while it runs.
        leader: its first process, seen from outside.
    """

    def __init__(self, staged: Path, *, name: str | None = None) -> None:
        sweep()
        self.name = name or f"{PREFIX}-{os.getpid()}-{os.urandom(2).hex()}"
        self._dir = Path("/tmp", self.name)
        self._tree, self._console = self._dir / "tree", self._dir / "console"
        self._tree.mkdir(parents=True)
        self._staged = staged
        self.leader = 0
        self.root = Path("/nonexistent")
        self._pidfd = -1
        self._boot()

    def _boot(self) -> None:
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = self._dir / "notify"
        self._notify.bind(str(address))
        with self._console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation",
                 "slave", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", BOOT],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                    "NOTIFY_SOCKET": str(address),
                    "D": str(self._tree),
                    "N": self.name,
                    "STAGE": str(self._staged),
                    "MASK": " ".join(_masked()),
                    "GROUPS_OF_ITS_OWN": " ".join(map(str, _own_groups(self.name))),
                },
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )  # fmt: skip
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise

    def _await_ready(self) -> None:
        until = time.monotonic() + BOOT_S
        nspawn = os.pidfd_open(self._nspawn.pid)
        try:
            while True:
                left = until - time.monotonic()
                ready, _, _ = select.select((self._notify, nspawn), (), (), max(0.0, left))
                assert ready, f"not booted in {BOOT_S} s:\n{self._console.read_text()[-4000:]}"
                assert self._notify in ready, f"did not boot:\n{self._console.read_text()[-4000:]}"
                if "READY=1" in self._notify.recv(4096).decode().splitlines():
                    break
        finally:
            os.close(nspawn)
        self.leader = self._first_process()
        self._pidfd = os.pidfd_open(self.leader)
        self.root = Path(f"/proc/{self.leader}/root")

    def reboot(self) -> None:
        """Boot anew: /var and /etc are kept, /run and /tmp are not."""
        pidfd, self._pidfd = self._pidfd, -1
        self.run("systemctl", "reboot", check=False)  # which is cut off by what it does
        ended = select.select((pidfd,), (), (), BOOT_S)[0]
        os.close(pidfd)
        assert ended, f"not down in {BOOT_S} s:\n{self._console.read_text()[-4000:]}"
        while select.select((self._notify,), (), (), 0)[0]:
            self._notify.recv(4096)  # of the boot that is over
        self._await_ready()

    def _first_process(self) -> int:
        """Return the pid, as it is called here, of the machine's pid 1."""
        mine = len(_names_of(os.getpid()))
        for one in psutil.Process(self._nspawn.pid).children(recursive=True):
            names = _names_of(one.pid)
            if names[-1] == "1" and len(names) == mine + 2:  # in nspawn's, and in its own
                return one.pid
        raise AssertionError("the machine is up and has no first process")

    # ------------------------------------------------------------------ doing things inside

    def _inside(self, words: tuple[str, ...], user: str | None) -> list[str]:
        argv = ["nsenter", "-t", str(self.leader), *JOIN, "--"]
        argv += ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        if user is not None:
            argv += ["setpriv", "--reuid", user, "--regid", user, "--init-groups"]
        return [*argv, *words]

    def run(
        self,
        *words: str,
        user: str | None = None,
        check: bool = True,
        input: str | None = None,  # noqa: A002 - as subprocess calls it
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and wait for it."""
        done = subprocess.run(
            self._inside(words, user),
            capture_output=True,
            text=True,
            check=False,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, (
            f"{shlex.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
            f"{self._lately()}"
        )
        return done

    def _lately(self) -> str:
        """Return what the journal says last: a failing test shows it."""
        argv = self._inside(("journalctl", "-q", "--no-pager", "-n", "40", "-o", "short"), None)
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    def start(self, *words: str, user: str | None = None) -> subprocess.Popen[str]:
        """Start a command inside, in a session of its own; the caller waits for it."""
        return subprocess.Popen(
            self._inside(words, user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def out(self, *words: str, user: str | None = None) -> str:
        """Run a command inside; return what it printed."""
        return self.run(*words, user=user).stdout.strip()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the boss inside, as root, from out here: faster than a hiodctl inside."""
        with Client(self.root / "run/hiod/admin.sock") as client:
            return client.call(method, parameters)

    def hands(self) -> dict[str, dict[str, Any]]:
        """Return the rows of ``list`` by name."""
        return {row["name"]: row for row in self.call("list")["hands"]}

    def show(self, unit: str, what: str) -> str:
        """Return a property of a unit."""
        return self.out("systemctl", "show", "-P", what, unit)

    def main_pid(self, unit: str = "hiod") -> int:
        """Return the pid of a service's main process, as it is called inside."""
        return int(self.show(unit, "MainPID"))

    def write(self, path: str, text: str) -> None:
        """Write a file inside, as root, readable by all."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def bring_source(self, site: Path) -> None:
        """Put hiod's source into ``/root/hiod``, and a pip that needs no network beside it.

        Args:
            site: what that pip installs, whatever it is asked for.
        """
        target = self.root / "root/hiod"
        for part in ("Makefile", "systemd", "etc", "docs/man"):
            source = ROOT / part
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target / part)
            else:
                shutil.copy2(source, target / part)
        shutil.copytree(site, self.root / "root/site", symlinks=True)
        self.write("/root/pip", PIP)
        self.run("chmod", "755", "/root/pip")

    def alive(self, pid: int) -> bool:
        """Say whether a process lives inside."""
        try:
            stat = (self.root / "proc" / str(pid) / "stat").read_bytes()
        except OSError:
            return False
        return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")

    def group(self, unit: str = "hiod") -> Path:
        """Return the directory of a unit's control group."""
        return self.root / "sys/fs/cgroup" / self.show(unit, "ControlGroup").lstrip("/")

    # ------------------------------------------------------------------ the journal

    def cursor(self) -> str:
        """Return a mark behind the journal's newest record."""
        self.out("journalctl", "--sync")
        shown = self.out("journalctl", "-q", "-n", "1", "-o", "cat", "--show-cursor")
        return shown.rpartition("-- cursor: ")[2]

    def journal(self, *matches: str, since: str = "") -> list[dict[str, Any]]:
        """Return records that have all of the fields (``KEY=value``), oldest first."""
        self.out("journalctl", "--sync")
        # Without matches: with them, this journalctl skips a record behind the cursor.
        after = [f"--after-cursor={since}"] if since else []
        text = self.out("journalctl", "-q", "--all", "-o", "json", *after)
        found = map(json.loads, text.splitlines())
        wanted = dict(match.split("=", 1) for match in matches)
        return [one for one in found if wanted.items() <= one.items()]

    def until_told(self, *matches: str, since: str, within_s: float = 20.0) -> dict[str, Any]:
        """Wait for a record; return the first."""
        return wait_until(lambda: self.journal(*matches, since=since), within_s)[0]

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Take the machine away, and all that was made for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._nspawn.pid, signal.SIGKILL)
        self._nspawn.wait()
        self._notify.close()
        if self._pidfd >= 0:
            # The machine's processes are gone only when its first one is.
            select.select((self._pidfd,), (), (), 10)
            os.close(self._pidfd)
            self._pidfd = -1
        sweep(self.name)


def sweep(name: str | None = None) -> None:
    """Remove what a machine that is gone has left; without a name, all whose test run is gone."""
    for top in _own_groups(name or f"{PREFIX}-*"):
        for found in _left(top):
            for folder, _, _ in os.walk(found, topdown=False):
                # Emptied a moment ago: the kernel takes its time to see that.
                wait_until(lambda folder=folder: _removed(folder))
    for found in _left(Path("/tmp", name or f"{PREFIX}-*")):
        shutil.rmtree(found)
    for found in _left(Path("/run/systemd/nspawn/propagate", name or f"{PREFIX}-*")):
        found.rmdir()


def _left(pattern: Path) -> list[Path]:
    """Return what is there by that pattern and belongs to no test run but this one."""
    mine = str(os.getpid())
    found = pattern.parent.glob(pattern.name)
    runs = [(one, one.name.split("-")[1]) for one in found]
    whole = "*" not in pattern.name
    return [one for one, run in runs if (run == mine and whole) or not Path("/proc", run).exists()]


def _names_of(pid: int) -> list[str]:
    """Return a process's pid in each of its namespaces, ours first."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]


def _removed(folder: str) -> bool:
    try:
        Path(folder).rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def staged() -> Iterator[Path]:
    """Give a tree with hiod installed in it."""
    need_machine()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-{os.getpid()}-stage-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        target = Path(folder, "tree")  # which is not there yet, as packagers have it
        stage(target)
        yield target
