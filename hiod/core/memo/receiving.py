"""One pass over the datagrams that are there: each is taken in, or dropped with a reason.

Decides which grams count: plain ones or only signed ones, and whose signature is good.  Leaves the
layout to ``gramming``, the putting together to ``fusing``, the socket to a ``Source``; time is an
argument.  Invariant: whatever a datagram holds, nothing is raised and none vanishes uncounted.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from hiod.core.memo.gramming import SOLE, GramError, b64, parse
from hiod.errors import MemoerError, MemoerVerifyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hiod.core.memo.fusing import Cred, Fuser

__all__ = ["BIG", "Dropped", "Intake", "Source"]

BIG: Final = 4096
"""Bytes of a gram from which its body is kept as a view of it, not as a copy."""

Dropped: TypeAlias = "tuple[str, Any, Cred | None]"
"""Why something was dropped, where it came from, and who sent it."""


class Source(Protocol):
    """What an intake needs of whoever has the socket and the keys."""

    cutShort: bool

    def verify(self, vid: str, sig: bytes, ser: bytes) -> bool:
        """Verify a signature in text form; MemoerError unless it is good."""


class Intake:
    """The way of grams from a source to a fuser.

    Parameters:
        fuser: takes the grams.
        authic: True means only signed grams count.
    """

    def __init__(self, fuser: Fuser, *, authic: bool) -> None:
        self.authic = authic
        self._fuser = fuser

    def read(
        self,
        source: Source,
        receive: Callable[[], tuple[bytes, Any, Cred | None]],
        most: int,
        most_bytes: int,
        now: float,
    ) -> list[Dropped]:
        """Read at most so many datagrams, or little more than so many bytes; return what dropped.

        Parameters:
            source: whose datagrams they are.
            receive: gives the next as (datagram, source address, credentials), (b"", None, None)
                when there is none; an OSError ends the pass and is counted.
            now: present time in seconds.
        """
        dropped: list[Dropped] = []
        fuser, plain = self._fuser, not self.authic
        known = fuser.partials
        for _ in range(most):
            try:
                gram, src, cred = receive()
            except OSError as ex:
                dropped.append((errno.errorcode.get(ex.errno or 0, "unreadable"), None, None))
                break
            size = len(gram)
            if not size and src is None and cred is None:
                break
            most_bytes -= size
            # The usual datagram, a memo of one plain gram, goes the short way.
            if plain and gram[:8] == SOLE and gram[8:32].isascii() and size >= 32:  # noqa: PLR2004 - the header
                key = (str(gram[8:32], "ascii"), src, cred[0] if cred else 0)
                if key not in known:
                    why = fuser.addSole(
                        key, cred, gram[32:] if size < BIG else memoryview(gram)[32:], None
                    )
                    if why:
                        dropped.append((why, src, cred))
                    if most_bytes <= 0:
                        break
                    continue
            dropped += self._take(source, gram, src, cred, now)
            if most_bytes <= 0:
                break
        return dropped

    def _take(
        self, source: Source, gram: bytes, src: Any, cred: Cred | None, now: float
    ) -> list[Dropped]:
        """Put one datagram where it belongs; return what was dropped, it or others."""
        try:
            kind, mid, vid, number, count, start, stop = parse(gram)
            key = (mid, src, cred[0] if cred else 0)
            signed = kind.signed
            if signed:
                who = vid or self._fuser.vid(key)
                check(source, gram, stop, who, text=kind.text)
            elif self.authic:
                return [("unsigned", src, cred)]
        except GramError as ex:
            reason = ex.reason
            if source.cutShort:
                source.cutShort, reason = False, "cut-short"
            return [(reason, src, cred)]
        except MemoerVerifyError:
            return [("bad-signature", src, cred)]
        except MemoerError:
            return [("unverifiable", src, cred)]
        body = gram[start:stop] if stop < BIG else memoryview(gram)[start:stop]
        gone = self._fuser.add(key, cred, number, count, body, vid=vid, signed=signed, now=now)
        return [(reason, lost[1], who) for reason, lost, who in gone]


def check(source: Source, gram: bytes, stop: int, vid: str | None, *, text: bool) -> None:
    """Verify a gram's signature, which begins at ``stop``; MemoerError unless it is good."""
    if vid is None:
        raise GramError("no-signer", "signed gram came before the first one, which names who")
    source.verify(vid, gram[stop:] if text else b64(gram[stop:]), gram[:stop])
