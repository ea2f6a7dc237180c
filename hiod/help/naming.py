"""A one-to-one book of names and addresses.

Decides which pair may stand beside which: a name has one address and an address one name.
Leaves what an address is to the transport.  Invariant: the two maps are inverses of each other
after every call, also after one that raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hiod.errors import NamerError
from hiod.help.mixing import Mixin

__all__ = ["Namer"]


class Namer(Mixin):
    """Book of (name, address) pairs, each of them found by the other.

    Parameters:
        entries: first pairs, a mapping or an iterable of pairs (hio 0.7.20 fails on mappings).
        kwa: for the next class of the chain.
    """

    def __init__(
        self,
        entries: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        **kwa: Any,
    ) -> None:
        """Fill the book.

        Raises:
            NamerError: two entries share a name or an address, or one has an empty side.
        """
        super().__init__(**kwa)
        self._addrByName: dict[str, str] = {}
        self._nameByAddr: dict[str, str] = {}
        pairs = entries.items() if isinstance(entries, Mapping) else entries or ()
        for name, addr in pairs:
            self.addNameAddr(name, addr)

    @property
    def addrByName(self) -> dict[str, str]:
        """A copy: addresses by name, in order of addition."""
        return dict(self._addrByName)

    @property
    def nameByAddr(self) -> dict[str, str]:
        """A copy: names by address."""
        return dict(self._nameByAddr)

    @property
    def countNameAddr(self) -> int:
        """How many pairs the book holds."""
        return len(self._addrByName)

    def clearAllNameAddr(self) -> None:
        """Empty the book."""
        self._addrByName.clear()
        self._nameByAddr.clear()

    def getAddr(self, name: str) -> str | None:
        """Return the address of ``name``, None when unknown."""
        return self._addrByName.get(name)

    def getName(self, addr: str) -> str | None:
        """Return the name at ``addr``, None when unknown."""
        return self._nameByAddr.get(addr)

    def addNameAddr(self, name: str | None, addr: str | None) -> bool:
        """Add a pair; True when added, False when exactly it is there.

        Raises:
            NamerError: either is empty, or one is held in another pair.
        """
        if not name or not addr:
            raise NamerError(f"cannot add name {name!r} at address {addr!r}: neither may be empty")
        known = self._addrByName.get(name)
        if known == addr:
            return False
        if known is not None:
            raise NamerError(f"cannot add name {name!r} at {addr!r}: its address is {known!r}")
        if addr in self._nameByAddr:
            raise NamerError(
                f"cannot add name {name!r} at {addr!r}: {self._nameByAddr[addr]!r} is there"
            )
        self._addrByName[name] = addr
        self._nameByAddr[addr] = name
        return True

    def remNameAddr(self, name: str | None = None, addr: str | None = None) -> bool:
        """Remove the pair with ``name``, with ``addr``, or with both; False when none matches."""
        if name:
            found = self._addrByName.get(name)
            if found is None or (addr and found != addr):
                return False
            addr = found
        elif addr:
            holder = self._nameByAddr.get(addr)
            if holder is None:
                return False
            name = holder
        else:
            return False
        del self._addrByName[name]
        del self._nameByAddr[addr]
        return True

    def changeAddrAtName(self, *, name: str | None = None, addr: str | None = None) -> bool:
        """Give a known name another address, keeping its place; False when nothing changes.

        Raises:
            NamerError: either is empty, or another name is at ``addr``.
        """
        if not name or not addr:
            raise NamerError(f"cannot move name {name!r} to {addr!r}: neither may be empty")
        former = self._addrByName.get(name)
        if former is None or former == addr:
            return False
        if addr in self._nameByAddr:
            raise NamerError(
                f"cannot move name {name!r} to {addr!r}: {self._nameByAddr[addr]!r} is there"
            )
        self._addrByName[name] = addr
        del self._nameByAddr[former]
        self._nameByAddr[addr] = name
        return True

    def changeNameAtAddr(self, *, addr: str | None = None, name: str | None = None) -> bool:
        """Give a known address another name; False when nothing changes.

        Raises:
            NamerError: either is empty, or ``name`` has another address.
        """
        if not name or not addr:
            raise NamerError(f"cannot name {addr!r} {name!r}: neither may be empty")
        former = self._nameByAddr.get(addr)
        if former is None or former == name:
            return False
        if name in self._addrByName:
            raise NamerError(
                f"cannot name {addr!r} {name!r}: its address is {self._addrByName[name]!r}"
            )
        self._nameByAddr[addr] = name
        del self._addrByName[former]
        self._addrByName[name] = addr
        return True
