"""Unix datagram sockets: one bound to a path, non-blocking, and memos over it."""

from hiod.core.uxd.peermemoing import PeerMemoer, PeerMemoerDoer, openPM
from hiod.core.uxd.uxding import Peer, PeerDoer, bindMailbox, openPeer

__all__ = [
    "Peer",
    "PeerDoer",
    "PeerMemoer",
    "PeerMemoerDoer",
    "bindMailbox",
    "openPM",
    "openPeer",
]
