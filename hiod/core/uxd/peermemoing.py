"""A memoer whose grams travel by a Unix datagram socket.

Decides nothing of its own but how long a last flush may wait.  Leaves the socket to ``Peer``, the
memos to ``Memoer``.
"""

from __future__ import annotations

import select
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from hiod.core.memo.memoing import Memoer, MemoerDoer
from hiod.core.uxd.uxding import SMALL, Peer
from hiod.errors import FilerError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PeerMemoer", "PeerMemoerDoer", "openPM"]


class PeerMemoer(Peer, Memoer):  # type: ignore[misc]  # hio's names of parameters differ
    """Memos over one bound Unix datagram socket; parameters as ``Peer`` and ``Memoer``.

    Whoever runs it awaits readability of ``fds()``, asked for again after every ``service``, and
    calls ``service`` then and at ``dueAt()``.
    """

    SHARE: ClassVar[float] = 1 / 16

    def __init__(self, *, bc: int | None = 4, **kwa: Any) -> None:
        super().__init__(bc=bc, **kwa)

    def open(self) -> bool:
        """Bind to ``path``; return whether that was possible, ``fault`` says why not.

        One peer that does not read may have ``SHARE`` of the send buffer, and grams are cut to
        fit that: the buffer is one for all destinations, and small unless privileged.

        Raises:
            SizeError: the path is too long.
        """
        opened = super().open()
        if opened:
            window = self.actualBufSizes()[0] * self.SHARE
            self._outboxes.settle(window)
            self._fit = max(SMALL, int(window) // 4)
        return opened

    def drain(self, limit_s: float) -> bool:
        """Send what waits, blocking at most ``limit_s`` real seconds; True when all has left."""
        outboxes = self._outboxes
        started, tyme = time.monotonic(), self.now()
        while self.opened and outboxes.depth:
            passed = time.monotonic() - started
            outboxes.pump(tyme + passed, self, cutting=True)
            if not outboxes.depth or passed >= limit_s:
                break
            wait = min(limit_s - passed, max(0.0, outboxes.dueAt() - tyme - passed))
            if self._room is None:
                self._room = select.epoll()
            self._room.poll(wait)
        return not outboxes.depth


@contextmanager
def openPM(
    cls: type[PeerMemoer] | None = None,
    name: str = "test",
    temp: bool = True,
    reopen: bool = True,
    clear: bool = True,
    **kwa: Any,
) -> Iterator[PeerMemoer]:
    """Give an opened peer memoer in a temporary folder and close it afterwards.

    Parameters:
        cls: what to make; None means ``PeerMemoer``.
        clear: whether its path is removed afterwards.
        name, temp, reopen, kwa: for its constructor.
    """
    peer = (cls or PeerMemoer)(name=name, temp=temp, reopen=reopen, clear=clear, **kwa)
    try:
        yield peer
    finally:
        peer.close(clear=clear)


class PeerMemoerDoer(MemoerDoer):
    """Runs a peer memoer: opens it, services it whenever it has work, closes it.

    Attributes:
        peer: the peer memoer.
    """

    peer: PeerMemoer

    def enter(self, *, temp: bool | None = None) -> None:
        """Open unless open, and run whenever something is queued.

        Raises:
            FilerError: the socket cannot be bound.
        """
        if not self.peer.opened and not self.peer.reopen(temp=temp):
            raise FilerError(self.peer.fault)
        self.peer.waker = self.wake
