"""Who calls the admin socket, and what that caller may do.

Decides a caller's role from what the kernel says of it and from the lists of hiod.toml. Leaves the
refusing to ``server`` and which method needs which role to ``schema``. Invariant: nothing a caller
says about itself is asked for.
"""

from __future__ import annotations

import grp
import pwd
import socket
import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from hiod.admin import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SO_PEERGROUPS = 59
_CREDENTIALS = struct.Struct("=iII")
_GROUPS_BYTES = 1024
"""The most Python's getsockopt takes: 256 groups."""


@dataclass(frozen=True)
class Caller:
    """Who is at the other end, as the kernel says.

    Attributes:
        uid: user of the process that connected.
        gid: its group.
        pid: its number; 0 when it is in a place we cannot see.
        groups: its further groups.
        role: what it may do.
    """

    uid: int
    gid: int
    pid: int
    groups: frozenset[int]
    role: schema.RoleName

    @cached_property
    def user(self) -> str:
        """The user's name, or the number when it has none. Looked up when first asked for."""
        return _name_of(self.uid)


@lru_cache(maxsize=256)
def _name_of(uid: int) -> str:
    # Once a user: where names come over a network, each caller of a flood would be waited for.
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class Access:
    """Who may do what.

    Each list holds user names, ``@group`` names, and numbers in place of either (``1000``,
    ``@27``). Uid 0 and the boss's uid are always admins.

    Attributes:
        unknown: entries that name nobody on this machine; they admit nobody.
    """

    def __init__(
        self,
        admin: Sequence[str] = (),
        operate: Sequence[str] = (),
        read: Sequence[str] = (),
        *,
        boss_uid: int,
    ) -> None:
        self.unknown: list[str] = []
        self._lists = {"read": read, "operate": operate, "admin": admin}
        self._users: dict[int, int] = {}
        self._groups: dict[int, int] = {}
        for role, entries in ((1, read), (2, operate), (3, admin)):
            for entry in entries:
                self._admit(entry, role)
        self._users[0] = self._users[boss_uid] = 3

    def _admit(self, entry: str, role: int) -> None:
        name = entry.removeprefix("@")
        group = name != entry
        try:
            if name.isdecimal():
                number = int(name)
            else:
                number = grp.getgrnam(name).gr_gid if group else pwd.getpwnam(name).pw_uid
        except KeyError:
            self.unknown.append(entry)
            return
        book = self._groups if group else self._users
        book[number] = max(role, book.get(number, 0))

    def admits(self, role: schema.RoleName) -> list[str]:
        """Return the entries that give a role, or more than it, in the words of hiod.toml.

        Uid 0 and the boss's uid have every role without an entry.
        """
        enough = schema.ROLES[schema.ROLES.index(role) :]
        found = [one for name in enough for one in self._lists.get(name, ())]
        return [one for one in dict.fromkeys(found) if one not in self.unknown]

    def role(self, uid: int, groups: Iterable[int]) -> schema.RoleName:
        """Return the most that this user, or a member of these groups, may do."""
        roles = [self._users.get(uid, 0), *(self._groups.get(group, 0) for group in groups)]
        return schema.ROLES[max(roles)]  # type: ignore[return-value]  # ROLES are the RoleNames


def identify(sock: socket.socket, access: Access) -> tuple[Caller, bool]:
    """Ask the kernel who connected.

    Returns:
        The caller, and whether its further groups could be read: the kernel does not give more
        than 256 of them to a Python; its own group is all that counts then.

    Raises:
        OSError: the kernel does not know.
    """
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    try:
        packed = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        return Caller(uid, gid, pid, frozenset(), access.role(uid, (gid,))), False
    groups = frozenset(number for (number,) in struct.iter_unpack("=I", packed))
    return Caller(uid, gid, pid, groups, access.role(uid, (gid, *groups))), True
