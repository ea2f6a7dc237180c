"""Where a boss keeps its things, and the locks that admit one boss to them.

Decides paths from flags, systemd's variables and defaults, in that order. Invariant: whoever holds
a ``Locks`` is the only boss of its runtime directory and of its state directory.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hiod.errors import HiodError, SizeError
from hiod.rules.specs import instances

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from hiod.rules.specs import HandSpec

PATH_BYTES = 107
"""Longest path of a Unix socket on Linux (``sun_path`` less its NUL)."""
LOCK = "boss.lock"
"""The lock's name, in each of its directories."""
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
NAME_CHARS = 45
"""Longest name of a hand: 40 characters and a number."""


class PlaceError(HiodError):
    """A directory cannot be used; the sentence says which and what would do."""


@dataclass(frozen=True, slots=True)
class Places:
    """The three directories of a boss.

    Attributes:
        config: ``hiod.toml`` and ``crew.d``; may be absent, unless somebody named it.
        runtime: sockets and the lock; gone with the machine's run.
        state: the database and the hands' own directories; kept.
        config_named: somebody named the first, by flag or variable.
    """

    config: Path
    runtime: Path
    state: Path
    config_named: bool = field(default=False, compare=False)

    @property
    def admin_socket(self) -> Path:
        """Where operators are heard."""
        return self.runtime / "admin.sock"

    @property
    def boss_socket(self) -> Path:
        """Where hands are heard."""
        return self.runtime / "boss.uxd"

    @property
    def mailboxes(self) -> Path:
        """Folder of the hands' mailboxes."""
        return self.runtime / "m"

    @property
    def database(self) -> Path:
        """The state database."""
        return self.state / "hiod.db"

    @property
    def logs(self) -> Path:
        """Folder of log files."""
        return self.state / "log"

    def hand_state(self, name: str) -> Path:
        """Return a hand's own directory."""
        return self.state / "hands" / name

    def too_long(self, spec: HandSpec) -> str | None:
        """Say why a definition's hands cannot have mailboxes here; None when they can."""
        name = max((name for name, _ in instances(spec)), key=len, default=spec.name)
        path = self.mailboxes / f"{name}.uxd"
        length = len(os.fsencode(path))
        if length <= PATH_BYTES:
            return None
        return (
            f"its mailbox {path} would have {length} bytes, the system takes {PATH_BYTES}; "
            "choose a shorter name, or a shorter --runtime-dir for the boss"
        )

    def make(self) -> None:
        """Make the directories with their modes.

        Raises:
            PlaceError: one cannot be made or used.
            SizeError: the path of a socket would be too long for the system.
        """
        longest = len(os.fsencode(self.mailboxes)) + 1 + NAME_CHARS + len(".uxd")
        # Of the others only launchers' would be longer, and those are not reached by their path.
        admin = len(os.fsencode(self.admin_socket))
        if admin > PATH_BYTES:
            raise SizeError(
                f"runtime directory {self.runtime} is too long: its {self.admin_socket.name} would "
                f"have {admin} bytes (a mailbox with the longest name {longest}), the system takes "
                f"{PATH_BYTES}; choose a shorter --runtime-dir"
            )
        for folder, mode in (
            (self.runtime, 0o755),
            (self.mailboxes, 0o700),
            (self.runtime / "launcher", 0o700),
            (self.state, 0o700),
            (self.state / "hands", 0o700),
            (self.logs, 0o700),
        ):
            try:
                folder.mkdir(mode=mode, parents=True, exist_ok=True)
            except OSError as error:
                raise PlaceError(
                    f"cannot make directory {folder}: {error.strerror}; "
                    "choose others with --runtime-dir and --state-dir, or make it for this user"
                ) from error
            try:
                seen = folder.stat()
            except OSError as error:  # somebody clears up while we make
                raise PlaceError(f"cannot use directory {folder}: {error.strerror}") from error
            if seen.st_uid not in {0, os.getuid()} or seen.st_mode & stat.S_IWOTH:
                raise PlaceError(
                    f"directory {folder} belongs to uid {seen.st_uid} with mode "
                    f"{stat.S_IMODE(seen.st_mode):04o}: others could put their own sockets there; "
                    f"let it belong to uid {os.getuid()} and be writable by nobody else"
                )
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PlaceError(
                    f"cannot write to directory {folder} as uid {os.getuid()}; "
                    "choose others with --runtime-dir and --state-dir"
                )


def resolve(
    environ: Mapping[str, str],
    *,
    config: str | None = None,
    runtime: str | None = None,
    state: str | None = None,
    user: bool = False,
) -> Places:
    """Return the places: flags, then systemd's variables, then the system's or the user's."""
    system = os.getuid() == 0 and not user
    home = Path(environ.get("HOME") or "/")
    if system:
        fallback = (Path("/etc/hiod"), Path("/run/hiod"), Path("/var/lib/hiod"))
    else:
        run = environ.get("XDG_RUNTIME_DIR") or f"/tmp/hiod-{os.getuid()}"  # noqa: S108 - XDG's advice without a session; modes and owner are checked
        fallback = (
            Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "hiod",
            Path(run) / "hiod",
            Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "hiod",
        )
    given = (config, runtime, state)
    variables = ("CONFIGURATION_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY")
    paths = (
        flag or environ.get(variable, "").split(":")[0] or default
        for flag, variable, default in zip(given, variables, fallback, strict=True)
    )
    # No resolving of links: the paths are an interface.
    found = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - see above
    named = bool(config or environ.get("CONFIGURATION_DIRECTORY"))
    return Places(found[0], found[1], found[2], config_named=named)


class Locks:
    """The locks of one boss; held until closed or until the process ends."""

    def __init__(self, places: Places) -> None:
        """Take both locks.

        Raises:
            PlaceError: another boss has one of them, named with its pid.
        """
        self._fds: dict[Path, int] = {}
        for what in dict.fromkeys((places.runtime, places.state)):
            try:
                self._fds[what] = self._take(what / LOCK, what)
            except BaseException:  # whatever it is, half a pair is no lock
                self.close()
                raise

    def _take(self, path: Path, what: Path) -> int:
        try:
            if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
                raise PlaceError(f"cannot lock {path}: it is no regular file; remove it")
            fd = os.open(path, _LOCK_FLAGS, 0o600)
        except OSError as error:
            raise PlaceError(f"cannot open lock {path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise PlaceError(
                f"another boss (pid {holder}) has {what}; stop it first, "
                "or give this one other directories with --runtime-dir and --state-dir"
            ) from None
        _sign(fd)
        return fd

    def fds(self) -> list[int]:
        """Return the descriptors, for whoever closes all others."""
        return list(self._fds.values())

    def gone(self) -> list[Path]:
        """Return the directories whose lock was removed: there, another boss could have it."""
        return [what for what, fd in self._fds.items() if not _is_at(fd, what / LOCK)]

    def renew(self) -> None:
        """Take the locks again that were removed.

        Raises:
            PlaceError: another boss has one by now.
        """
        for what in self.gone():
            fresh = self._take(what / LOCK, what)
            os.close(self._fds[what])
            self._fds[what] = fresh

    def sign(self) -> None:
        """Write this process's pid into the locks: a daemon has another than its parent had."""
        for fd in self._fds.values():
            _sign(fd)

    def close(self) -> None:
        """Give the locks back."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def clear(path: Path) -> str:
    """Remove what is at a path of a boss's own; return why it stays, "" if it does not."""
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _sign(fd: int) -> None:
    """Write this process's pid into a lock, if the disk has room: it is held without that, too."""
    with suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)


def _is_at(fd: int, path: Path) -> bool:
    """Say whether an open file is what its path leads to."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except OSError:
        return False
