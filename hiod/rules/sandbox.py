"""Which setting of its unit stands in a hand's way.

A hand lives in the sandbox of the unit that started its boss, and what it meets there looks like
any refusal of the system. Decides which refusals a setting explains, and what a drop-in has to say
to lift it. Leaves finding out what the sandbox is to ``host.confinement``. Invariant: a setting is
named only if the boss itself can see it at work, or if the kernel's answer has no other cause.
"""

from __future__ import annotations

import errno
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SIGSYS = 31
_HOMES = ("/home", "/root", "/run/user")
_TEXTS = {
    "Operation not permitted": errno.EPERM,
    "No such file or directory": errno.ENOENT,
    "Permission denied": errno.EACCES,
    "Read-only file system": errno.EROFS,
    "Function not implemented": errno.ENOSYS,
    "Address family not supported by protocol": errno.EAFNOSUPPORT,
    "Network is unreachable": errno.ENETUNREACH,
    "Temporary failure in name resolution": errno.ENETUNREACH,
}
_NUMBER = re.compile(r"\[Errno (\d+)\]")
_TEXT = re.compile("|".join(_TEXTS))
_QUOTED = re.compile(r"""["']([^"']+)["']""")
_FAMILY = re.compile(r"\b[AP]F_([A-Z0-9]+)")
_CALLED = re.compile(r"\b(\w+)\(")
# What @privileged takes from @system-service: call -> what a drop-in allows, capability it takes.
_PRIVILEGED = {
    "chown": ("@chown", ""),
    "lchown": ("@chown", ""),
    "fchown": ("@chown", ""),
    "chroot": ("chroot", "CAP_SYS_CHROOT"),
    "mount": ("@mount", "CAP_SYS_ADMIN"),
    "umount": ("@mount", "CAP_SYS_ADMIN"),
    "setuid": ("@setuid", "CAP_SETUID"),
    "seteuid": ("@setuid", "CAP_SETUID"),
    "setreuid": ("@setuid", "CAP_SETUID"),
    "setresuid": ("@setuid", "CAP_SETUID"),
    "setgid": ("@setuid", "CAP_SETGID"),
    "setegid": ("@setuid", "CAP_SETGID"),
    "setregid": ("@setuid", "CAP_SETGID"),
    "setresgid": ("@setuid", "CAP_SETGID"),
    "setgroups": ("@setuid", "CAP_SETGID"),
    "initgroups": ("@setuid", "CAP_SETGID"),
    "ptrace": ("ptrace", ""),
}
_FORBIDDEN = (
    (
        frozenset({"unshare", "setns", "clone", "clone3"}),
        "RestrictNamespaces=",
        "it may make and enter no namespaces",
    ),
    (
        frozenset({"sched_setscheduler", "sched_setparam"}),
        "RestrictRealtime=",
        "it may not have itself scheduled in real time",
    ),
    (
        frozenset({"chmod", "fchmod"}),
        "RestrictSUIDSGID=",
        "it may make no set-user-ID and no set-group-ID files",
    ),
)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount that a process sees.

    Attributes:
        at: where.
        root: which part of the file system is shown there.
        kind: type of the file system.
        narrowed: read-only here, though the file system could be written to.
    """

    at: str
    root: str
    kind: str
    narrowed: bool

    @property
    def hidden(self) -> bool:
        """Whether it is there to hide what lies below it."""
        return "/inaccessible/" in self.root or (self.kind == "tmpfs" and self.at in _HOMES)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a boss can see of the sandbox it is in.

    Attributes:
        unit: name of its unit; empty when no service manager started it, and then nothing here
            is laid to a unit.
        user: whether a user's manager did.
        mounts: what it sees, in the kernel's order.
        filtered: its system calls are filtered.
        no_new_privileges: nothing it executes gains any.
        no_exec_memory: memory is writable or executable, never both.
        no_netlink: sockets of families it was not given are refused.
        alone: its network is not that of its service manager.
        capabilities: the most its processes could have, a bit each.
    """

    unit: str = ""
    user: bool = False
    mounts: tuple[Mount, ...] = ()
    filtered: bool = False
    no_new_privileges: bool = False
    no_exec_memory: bool = False
    no_netlink: bool = False
    alone: bool = False
    capabilities: int = -1

    def settings(self) -> list[str]:
        """Return the settings it sees at work, as a unit would say them."""
        if not self.unit:
            return []
        home = self.over("/home/x")
        seen = {
            "NoNewPrivileges=yes": self.no_new_privileges,
            "CapabilityBoundingSet=": self.capabilities == 0,
            "ProtectSystem=strict": self.over("/").narrowed,
            "ProtectSystem=": not self.over("/").narrowed and self.over("/usr/x").narrowed,
            "ProtectHome=yes": home.at in _HOMES and home.hidden,
            "ProtectHome=read-only": home.at in _HOMES and home.narrowed and not home.hidden,
            "PrivateDevices=yes": self._private_devices(),
            "PrivateNetwork=yes": self.alone,
            "ProtectControlGroups=yes": self.over("/sys/fs/cgroup").narrowed,
            "RestrictAddressFamilies=": self.no_netlink,
            "MemoryDenyWriteExecute=yes": self.no_exec_memory,
            "SystemCallFilter=": self.filtered,
        }
        return [name for name, is_seen in seen.items() if is_seen]

    def over(self, path: str) -> Mount:
        """Return the mount that a path is on."""
        found = Mount("/", "/", "", narrowed=False)
        for one in self.mounts:
            below = path == one.at or path.startswith(one.at.rstrip("/") + "/")
            # Of two at one place the later covers the earlier.
            if below and len(one.at) >= len(found.at):
                found = one
        return found

    def _private_devices(self) -> bool:
        devices = self.over("/dev")
        return devices.at == "/dev" and devices.kind == "tmpfs" and devices.narrowed


class Obstacle(NamedTuple):
    """A setting in a hand's way.

    Attributes:
        setting: as the unit says it.
        why: what it does to the hand.
        drop_in: lines for [Service] that lift it.
        also: what else it takes; empty for nothing.
    """

    setting: str
    why: str
    drop_in: tuple[str, ...]
    also: str = ""


class _Refusal(NamedTuple):
    """What the system answered: errno, the paths it was about, the source that asked."""

    number: int
    paths: tuple[str, ...]
    stack: tuple[str, ...]

    @property
    def source(self) -> str:
        """The line that asked the system: one that only raises what a call answered is not it."""
        return next((line for line in self.stack if not line.startswith("raise ")), "")

    @property
    def called(self) -> frozenset[str]:
        return frozenset(_CALLED.findall(self.source))


def obstacle(
    sandbox: Sandbox,
    said: str,
    *,
    signal: int | None = None,
    cwd: str = "",
    looked_in: Iterable[str] = (),
) -> Obstacle | None:
    """Return the setting that explains how a hand ended, if one does.

    Args:
        sandbox: where it was.
        said: its last words.
        signal: what ended it.
        cwd: where it ran.
        looked_in: directories in which something was to be found and was not.
    """
    if not sandbox.unit:
        return None
    if signal == SIGSYS and sandbox.filtered:
        return Obstacle(
            "SystemCallFilter=",
            "it was killed for a system call that the unit does not allow",
            ("SystemCallErrorNumber=EPERM",),
            "then the call fails instead, and its last words name it",
        )
    for path in looked_in:
        if found := _hidden(sandbox, path):
            return found
    for refusal in _refusals(said, cwd):
        for judge in (_on_paths, _on_sockets, _on_calls):
            if found := judge(sandbox, refusal):
                return found
    return None


def _refusals(said: str, cwd: str) -> Iterator[_Refusal]:
    """Read the refusals out of last words, the latest first."""
    lines = said.splitlines()
    for at in range(len(lines) - 1, -1, -1):
        line = lines[at]
        if line.startswith((" ", "\t")):
            continue  # source, which may speak of anything
        if number := _NUMBER.search(line):
            known = int(number[1])
        elif text := _TEXT.search(line):
            known = _TEXTS[text[0]]
        else:
            continue
        paths = tuple(posixpath.normpath(posixpath.join(cwd, one)) for one in _QUOTED.findall(line))
        yield _Refusal(known, paths, _source(lines[:at]))


def _source(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the lines of source of the traceback that ends there, the innermost first."""
    found: list[str] = []
    for line in reversed(lines):
        if not line.startswith(" "):
            break
        if line.startswith("    ") and line.strip("^~ "):
            found.append(line.strip())
    return tuple(found)


# ---------------------------------------------------------------- judges


def _on_paths(sandbox: Sandbox, refusal: _Refusal) -> Obstacle | None:
    for path in refusal.paths:
        if refusal.number in {errno.ENOENT, errno.EACCES} and (found := _hidden(sandbox, path)):
            return found
        if refusal.number == errno.EROFS and (found := _read_only(sandbox, path)):
            return found
        gone = {errno.ENOENT, errno.EPERM, errno.EACCES}
        if (
            refusal.number in gone
            and path.startswith("/dev/")
            and "PrivateDevices=yes" in (sandbox.settings())
        ):
            return Obstacle(
                "PrivateDevices=yes",
                f"of /dev it has little more than null, zero, random and tty; not {path}",
                ("PrivateDevices=no", f"DeviceAllow={path} rw"),
                "user or group of the unit needs the right to open it, too",
            )
    return None


def _hidden(sandbox: Sandbox, path: str) -> Obstacle | None:
    mount = sandbox.over(path)
    if not mount.hidden:
        return None
    if mount.at not in _HOMES:
        return Obstacle(
            f"InaccessiblePaths={mount.at}", f"it hides {path}", ("InaccessiblePaths=",)
        )
    return Obstacle(
        "ProtectHome=yes" if "/inaccessible/" in mount.root else "ProtectHome=tmpfs",
        f"it hides {path}",
        ("ProtectHome=read-only",),
        "the unit's user needs the right to enter it, too",
    )


def _read_only(sandbox: Sandbox, path: str) -> Obstacle | None:
    mount = sandbox.over(path)
    if mount.hidden:
        return _hidden(sandbox, path)
    if not mount.narrowed:
        return None
    if path.startswith("/sys/fs/cgroup"):
        return Obstacle(
            "ProtectControlGroups=yes", f"{path} is read-only", ("ProtectControlGroups=no",)
        )
    if path.startswith(("/proc/", "/sys/")):
        return Obstacle(
            "ProtectKernelTunables=yes", f"{path} is read-only", ("ProtectKernelTunables=no",)
        )
    if mount.at in _HOMES:
        setting = "ProtectHome=read-only"
    elif sandbox.over("/").narrowed:
        setting = "ProtectSystem=strict"
    else:
        setting = "ProtectSystem=" if mount.at in {"/usr", "/boot", "/etc"} else "ReadOnlyPaths="
    return Obstacle(
        setting,
        f"{path} is read-only",
        (f"ReadWritePaths={posixpath.dirname(path)}",),
        "the unit's user needs the right to write there, too",
    )


def _on_sockets(sandbox: Sandbox, refusal: _Refusal) -> Obstacle | None:
    lifts = ("PrivateNetwork=no", "IPAddressDeny=") if sandbox.alone else ()
    if refusal.number == errno.EAFNOSUPPORT and sandbox.filtered:
        named = next(filter(None, map(_FAMILY.search, refusal.stack)), None)
        family = f"AF_{named[1]}" if named else "AF_INET AF_INET6" if sandbox.alone else "AF_…"
        if not family.startswith("AF_INET"):
            lifts = _capable("CAP_NET_RAW") if family == "AF_PACKET" else ()
        return Obstacle(
            "RestrictAddressFamilies=",
            f"it may have no socket of {family if named else 'that address family'}",
            (f"RestrictAddressFamilies={family}", *lifts),
        )
    if refusal.number == errno.ENETUNREACH and sandbox.alone:
        return Obstacle(
            "PrivateNetwork=yes",
            "it has no network but a loopback of its own",
            (*lifts, "RestrictAddressFamilies=AF_INET AF_INET6"),
        )
    asked = refusal.called & {"bind", "create_server", "start_server", "serve"}
    if refusal.number == errno.EACCES and asked and not sandbox.capabilities & 1 << 10:
        return Obstacle(
            "CapabilityBoundingSet=",
            "ports below 1024 take CAP_NET_BIND_SERVICE",
            _capable("CAP_NET_BIND_SERVICE"),
        )
    return None


def _on_calls(sandbox: Sandbox, refusal: _Refusal) -> Obstacle | None:
    if refusal.number not in {errno.EPERM, errno.EACCES, errno.ENOSYS} or not sandbox.filtered:
        return None
    if sandbox.no_exec_memory and re.search(r"\bmmap\b|\bmprotect\b|PROT_EXEC", refusal.source):
        return Obstacle(
            "MemoryDenyWriteExecute=yes",
            "memory is writable or executable, never both",
            ("MemoryDenyWriteExecute=no",),
        )
    return _on_filter(refusal) if refusal.number != errno.EACCES else None


def _on_filter(refusal: _Refusal) -> Obstacle | None:
    called = refusal.called
    for calls, setting, why in _FORBIDDEN:
        if called & calls:
            return Obstacle(f"{setting}yes", why, (f"{setting}no",))
    for call in sorted(called & _PRIVILEGED.keys()):
        allowed, capability = _PRIVILEGED[call]
        return Obstacle(
            "SystemCallFilter=",
            f"{call} is not among the system calls it may make",
            (f"SystemCallFilter={allowed}", *(_capable(capability) if capability else ())),
        )
    if refusal.number != errno.ENOSYS:
        return None
    return Obstacle(
        "SystemCallFilter=",
        "it made a system call that it may not make, or that this kernel does not have",
        (f"SystemCallFilter={' '.join(sorted(called)) or '…'}",),
    )


def _capable(capability: str) -> tuple[str, str]:
    return f"AmbientCapabilities={capability}", f"CapabilityBoundingSet={capability}"
