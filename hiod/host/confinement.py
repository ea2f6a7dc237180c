"""What this process can see of the sandbox its unit put it into.

Decides how it is found out: what the kernel tells a process of itself, and two harmless attempts.
Leaves what it means for hands to ``rules.sandbox``. Invariant: nothing is tried that a unit could
answer with more than a refusal.
"""

from __future__ import annotations

import mmap
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from hiod.rules.sandbox import Mount, Sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["look", "mounts_of"]

_ESCAPED = re.compile(r"\\([0-7]{3})")


def look(environ: Mapping[str, str]) -> Sandbox:
    """Return the sandbox this process is in; one without a unit if no service manager started it.

    Args:
        environ: what this process was started with. systemd 248 and later say in it which
            process they started, so a shell below a unit is not taken for one.
    """
    if environ.get("SYSTEMD_EXEC_PID") != str(os.getpid()):
        return Sandbox()
    own = Path("/proc/self")
    try:
        groups = (own / "cgroup").read_text()
        status = dict(line.split(":\t", 1) for line in (own / "status").read_text().splitlines())
        mounts = mounts_of((own / "mountinfo").read_text())
        neighbours = (own / "net/unix").read_text()
    except (OSError, ValueError):
        return Sandbox()  # a /proc that hides so much shows no sandbox
    units = re.findall(r"/([^/\n]+\.service)(?=[/\n])", groups)
    return Sandbox(
        unit=units[-1] if units else "hiod.service",
        user="/user@" in groups,
        mounts=mounts,
        filtered=status.get("Seccomp") == "2",
        no_new_privileges=status.get("NoNewPrivs") == "1",
        no_exec_memory=_refuses_exec_memory(),
        no_netlink=_refuses_netlink(),
        # The manager's own socket is listed to those who share its network, and to nobody else.
        alone=re.search(r"/systemd1?/notify$", neighbours, re.MULTILINE) is None,
        capabilities=int(status.get("CapBnd", "-1"), 16),
    )


def mounts_of(text: str) -> tuple[Mount, ...]:
    """Read what ``/proc/PID/mountinfo`` says."""
    found = []
    for line in text.splitlines():
        own, _, theirs = line.partition(" - ")
        _, _, _, root, at, options, *_ = own.split(" ")
        kind, _, of_all = theirs.split(" ", 2)
        narrowed = "ro" in options.split(",") and "ro" not in of_all.split(",")
        found.append(Mount(_plain(at), _plain(root), kind, narrowed))
    return tuple(found)


def _plain(path: str) -> str:
    return _ESCAPED.sub(lambda one: chr(int(one[1], 8)), path)


def _refuses_exec_memory() -> bool:
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except PermissionError:
        return True
    except OSError:
        return False  # no memory, then: that is another matter
    return False


def _refuses_netlink() -> bool:
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()
    except OSError:
        return True
    return False
