"""One non-blocking Unix datagram socket and the path it is bound to.

Decides whether a path may be taken, and who removes it; asks the kernel who sent what; knows when
a full peer has room again.  Leaves to ``Filer`` where the path is, queues and retries to the
memoer.
Invariants: a path is unlinked only by the ``Peer`` that bound it, and only while its own socket
is behind it; a path somebody lives at is never taken; an inherited socket is never bound anew;
nobody here calls ``connect`` or ``shutdown`` on the bound socket, which others may share.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import socket
import stat
import struct
from contextlib import contextmanager, suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, Any, ClassVar

from hiod.base.doing import Doer
from hiod.base.filing import Filer
from hiod.errors import FilerError, SizeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Peer", "PeerDoer", "bindMailbox", "openPeer"]

PATH_MAX = 107
"""Most bytes of a Unix socket's path on Linux."""

SEND_ROOM = 4 * 1024 * 1024
"""Bytes of send buffer asked for.  All that peers have not read yet counts against it, so one slow
peer must not be able to fill it; memory is used only while grams wait."""

SMALL = 4096
"""Bytes of a datagram up to which it may use the second half of the send buffer: what is said in
few words gets through to others though somebody does not read long memos."""

_INT = struct.Struct("i")
_CRED = struct.Struct("iII")
_CRED_SPACE = socket.CMSG_SPACE(_CRED.size)
_SCM_CREDENTIALS = int(socket.SCM_CREDENTIALS)
_MSG_TRUNC = int(socket.MSG_TRUNC)  # the enum's own "&" costs more than the rest of a receive
_SO_SNDBUFFORCE = 32
_DGRAM = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


def bindMailbox(path: str, mode: int | None = 0o600, bs: int = 262140) -> socket.socket:
    """Return a non-blocking datagram socket bound to ``path``, set to receive credentials.

    A socket file nobody lives behind any more is replaced.

    Parameters:
        path: where; its folder must exist.
        mode: of the socket file; None leaves it to the process umask.
        bs: bytes of buffer to have at least.

    Raises:
        SizeError: the path is too long for a socket.
        OSError: it cannot be bound, or (EADDRINUSE) somebody lives there, or the file there is
            no socket.
    """
    size = len(os.fsencode(path))
    if size > PATH_MAX:
        raise SizeError(
            f"socket path {path!r} has {size} bytes, at most {PATH_MAX} fit: use a shorter folder"
        )
    ls = socket.socket(socket.AF_UNIX, _DGRAM)
    try:
        _set_up(ls, bs)
        if mode is not None:
            # The file takes the socket's mode less the umask: it never exists with more.
            os.fchmod(ls.fileno(), mode)
        try:
            ls.bind(path)
        except OSError as ex:
            if ex.errno != errno.EADDRINUSE:
                raise
            _evict(path)
            ls.bind(path)
        if mode is not None:
            os.chmod(path, mode)  # noqa: PTH101 - what the umask took away
    except BaseException:  # whatever it is, the socket is closed
        ls.close()
        raise
    return ls


def _set_up(ls: socket.socket, bs: int) -> None:
    """Set what every mailbox has: credentials, and buffers of some size."""
    ls.setblocking(False)
    ls.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    want = max(bs, SEND_ROOM)
    if ls.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < want:
        try:
            ls.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, want)
        except OSError:  # not privileged: as much as is allowed
            ls.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, want)
    if ls.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < bs:
        ls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, bs)


def _evict(path: str) -> None:
    """Remove a socket file nobody lives behind; OSError EADDRINUSE when somebody does."""
    try:
        # Held open, so that its number cannot become another file's meanwhile.
        held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # gone meanwhile: as good
        return
    try:
        with socket.socket(socket.AF_UNIX, _DGRAM) as probe:
            code = probe.connect_ex(path)
        why = "a process lives there"
        if not stat.S_ISSOCK(os.fstat(held).st_mode):
            why = "it is there and is no socket"
        elif code == errno.ENOENT:
            return
        elif code == errno.ECONNREFUSED and _inode(os.lstat(path)) == _inode(os.fstat(held)):
            os.unlink(path)  # noqa: PTH108 - no pathlib in a hand's core
            return
        raise OSError(errno.EADDRINUSE, f"cannot bind: {why}", path)
    finally:
        os.close(held)


def _inode(at: os.stat_result) -> tuple[int, int]:
    """Return what tells one file from all others that exist at the same time."""
    return at.st_dev, at.st_ino


class Peer(Filer):
    """A bound Unix datagram socket, at the path of a ``Filer``, whose parameters it has, too.

    hio's parameters:
        reopen: True means opened now.
        clear: True means the path is cleared before that.
        umask: of the socket file; None means the process's.
        bc, bs: count of buffers of ``MaxGramSize`` bytes, or bytes of buffer.
        wl: wire log with ``writeRx(data, who)`` and ``writeTx(data, who)``.
        filed, extensioned: a socket's name has an ending, and nothing but the socket is there;
            ``perm`` and ``mode`` are not used.

    hiod's parameter:
        fd: an already bound, inherited datagram socket: its path is taken from it, ``close``
            only closes it, and it is never bound anew.

    Attributes:
        ls: the socket, None while closed.
        path: what it is bound to, None before the first open.
        opened: whether it is bound and open.
        fault: why the last ``reopen`` returned False, one sentence; "" when it did not.
        lull: errno of the last ``send`` that found no room.
        cutShort: set when a datagram was too long for the buffer; for its reader to reset.
    """

    TailDirPath: ClassVar[str] = "hio/uxd"
    CleanTailDirPath: ClassVar[str] = "hio/clean/uxd"
    AltTailDirPath: ClassVar[str] = ".hio/uxd"
    AltCleanTailDirPath: ClassVar[str] = ".hio/clean/uxd"
    TempPrefix: ClassVar[str] = "hio_uxd_"
    Fext: ClassVar[str] = "uxd"
    Umask: ClassVar[int] = 0o022
    MaxUxdPathSize: ClassVar[int] = PATH_MAX
    BufSize: ClassVar[int] = 65535
    MaxGramSize: ClassVar[int] = 65535

    def __init__(
        self,
        *,
        umask: int | None = None,
        bc: int | None = None,
        bs: int | None = None,
        wl: Any = None,
        reopen: bool = False,
        clear: bool = True,
        filed: bool = False,
        extensioned: bool = True,
        fd: int | None = None,
        **kwa: Any,
    ) -> None:
        """Set up, and open if asked.

        Raises:
            FilerError: ``name`` or ``base`` is absolute.
            SizeError: with ``reopen``, the path is too long.
            TypeError: an argument nobody takes.
        """
        super().__init__(reopen=False, filed=filed, extensioned=extensioned, **kwa)
        self.umask = umask
        self.bc = bc
        self.bs = bc * self.MaxGramSize if bc is not None else bs or self.BufSize
        self.wl = wl
        self.ls: socket.socket | None = None
        self.fault = ""
        self.lull = errno.EAGAIN
        self.cutShort = False
        self._fd = fd
        self._inherited = fd is not None
        self._inode: tuple[int, int] | None = None  # of the path, if bound here
        self._view: memoryview | None = None  # none before open: a memoryview cannot be pickled
        self._room: select.epoll | None = None
        self._watches: dict[Any, socket.socket] = {}
        self._watched: dict[int, Any] = {}
        self._own_awaited = False
        if reopen:
            self.reopen(clear=clear)

    # --------------------------------------------------------------- life cycle

    def actualBufSizes(self) -> tuple[int, int]:
        """Return the bytes of send and receive buffer the kernel gave, (0, 0) while closed."""
        if self.ls is None:
            return 0, 0
        return (
            self.ls.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
            self.ls.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
        )

    def open(self) -> bool:
        """Bind to ``path``; return whether that was possible, ``fault`` says why not.

        Raises:
            SizeError: the path is too long.
        """
        self.fault, self.opened = "", False
        try:
            if self._inherited:
                ls = self._inherit()
            else:
                mode = None if self.umask is None else 0o777 & ~self.umask
                ls = bindMailbox(self.path or "", mode, self.bs)
                self._inode = _inode(os.lstat(self.path or ""))
        except OSError as ex:
            where = f"the inherited descriptor {self._fd}" if self._inherited else repr(self.path)
            self.fault = f"cannot open {self.name!r} at {where}: {ex.strerror or ex}"
            return False
        if self._view is None or len(self._view) != self.bs:
            # Not a bytearray: that is cleared, so all of it becomes memory of its own in every
            # hand. Of this, only what datagrams have filled.
            room = mmap.mmap(-1, self.bs, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._view = memoryview(room)
        self.ls = ls
        self.opened = True
        return True

    def _inherit(self) -> socket.socket:
        """Return the socket behind the inherited descriptor; OSError when it is of no use."""
        if self._fd is None:
            raise OSError(errno.EBADF, "it was closed, and an inherited one is not bound anew")
        ls = socket.socket(fileno=self._fd)
        self._fd = None
        name = ls.getsockname()
        if ls.family != socket.AF_UNIX or ls.type != socket.SOCK_DGRAM or not name:
            self._fd = ls.detach()
            raise OSError(errno.EINVAL, "it is no bound Unix datagram socket")
        self.path = os.fsdecode(name)
        _set_up(ls, self.bs)
        return ls

    def inherit(self, fd: int) -> None:
        """Go on with another inherited socket in place of the present one, which is closed.

        Queues are kept, and what is awaited.  Read the present one empty first.

        Raises:
            OSError: ``fd`` is no bound Unix datagram socket; all stays as it is.
        """
        former, awaited = self.ls, self._own_awaited
        self._fd = fd
        ls = self._inherit()
        if awaited:
            self.endRoom(None)
        self.ls, self.opened, self._inherited = ls, True, True
        if awaited:
            self.awaitRoom(None)
        if former is not None:
            former.close()

    def reopen(self, clear: bool = True, **kwa: Any) -> bool:  # type: ignore[override]  # as in hio
        """Close, make the path anew and bind; return whether that was possible.

        Where hio 0.7.20 leaves an unbound socket and ``opened`` True, ``opened`` is False here
        and ``fault`` says why.  An open inherited socket stays as it is.

        Parameters:
            clear: False leaves the former path in place.
            kwa: as ``Filer.reopen``'s; ``reuse`` binds the former path again if it is there.

        Raises:
            SizeError: the path is too long.
            TypeError: an argument nobody takes.
        """
        if self._inherited:
            return self.opened or self.open()
        try:
            super().reopen(clear=clear, **kwa)
        except OSError as ex:
            self.fault = f"cannot make a folder for {self.name!r}: {ex}"
            return False
        return self.open()

    def close(self, clear: bool = True) -> bool:
        """Close; True when closed.

        Parameters:
            clear: True removes the path, if it was bound here and is still this socket's, and a
                temporary folder made for it.
        """
        for dst in list(self._watches):
            self.endRoom(dst)
        self._own_awaited = False
        if self._room is not None:
            self._room.close()
            self._room = None
        super().close(clear=clear)  # first: while the socket is open no other can have its inode
        if self.ls is not None:
            self.ls.close()
            self.ls = None
        return True

    def _clearPath(self) -> None:
        """Remove what was made here, as far as it is still there and ours."""
        path, inode, self._inode = self.path, self._inode, None
        if path is not None and inode is not None:
            with suppress(OSError):
                if _inode(os.lstat(path)) == inode:
                    os.unlink(path)  # noqa: PTH108 - no pathlib in a hand's core
        self._clearTops()

    # ------------------------------------------------------------- grams in, out

    def receive(self, **_kwa: Any) -> tuple[bytes, str | None]:
        """Return (datagram, source path), (b'', None) when there is none.

        The source is None when the sender's socket is not bound.

        Raises:
            OSError: the socket cannot be read.
        """
        data, src, _cred = self.receiveCred()
        return data, src

    def receiveCred(self) -> tuple[bytes, str | None, tuple[int, int, int] | None]:
        """Return (datagram, source path, (pid, uid, gid)); (b'', None, None) when there is none.

        A datagram longer than the buffer is not what was sent: it comes as empty, with
        ``cutShort`` set.  Descriptors sent along are never taken: the control buffer has room
        for credentials only.

        Raises:
            OSError: the socket cannot be read.
        """
        ls, view = self.ls, self._view
        if ls is None or view is None:
            return b"", None, None
        try:
            size, control, flags, src = ls.recvmsg_into((view,), _CRED_SPACE)
        except BlockingIOError:
            return b"", None, None
        cred = None
        if control and control[0][1] == _SCM_CREDENTIALS:
            cred = _CRED.unpack(control[0][2])
        if flags & _MSG_TRUNC:
            size, self.cutShort = 0, True
        gram = bytes(view[:size])
        if self.wl is not None:
            self.wl.writeRx(gram, who=src)
        if src.__class__ is not str:  # an abstract name comes as bytes, none as None
            src = os.fsdecode(src) if src else None
        return gram, src or None, cred

    def send(self, data: bytes, dst: Any, **_kwa: Any) -> int:
        """Send a datagram; bytes sent, 0 for no room.

        ``lull`` then says where there is none: EAGAIN at the peer, ENOBUFS here because too much
        of what was sent to others is unread, ENOMEM in the system.

        Raises:
            OSError: it cannot be sent there, or the socket is closed.
        """
        ls = self.ls
        if ls is None:
            raise OSError(errno.EBADF, f"cannot send: {self.name!r} is closed")
        if len(data) > SMALL and self._stuffed(ls, 0.5):
            self.lull = errno.ENOBUFS
            return 0
        try:
            size = ls.sendto(data, dst)
        except OSError as ex:
            return self._no_room(ls, ex)
        if self.wl is not None:
            self.wl.writeTx(data, who=dst)
        return size

    def sendParts(self, parts: tuple[bytes, memoryview], dst: Any) -> int:
        """Send a datagram whose header and body are apart, without copying them together.

        As ``send`` otherwise, through which it goes where a subclass has its own.
        """
        ls = self.ls
        if ls is None or self.wl is not None or type(self).send is not Peer.send:
            return self.send(b"".join(parts), dst)
        if len(parts[1]) > SMALL and self._stuffed(ls, 0.5):
            self.lull = errno.ENOBUFS
            return 0
        try:
            return ls.sendmsg(parts, (), 0, dst)
        except OSError as ex:
            return self._no_room(ls, ex)

    def _no_room(self, ls: socket.socket, ex: OSError) -> int:
        """Note where there is no room and return 0; raise what is no matter of room."""
        if ex.errno == errno.EAGAIN:
            self.lull = errno.ENOBUFS if self._stuffed(ls) else errno.EAGAIN
        elif ex.errno in (errno.ENOBUFS, errno.ENOMEM):
            self.lull = errno.ENOMEM
        else:
            raise ex
        return 0

    def _stuffed(self, ls: socket.socket, share: float = 1.0) -> bool:
        """Return whether this share of the send buffer is used, whoever has not read."""
        return self.unread() >= ls.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) * share

    def unread(self) -> int:
        """Return the bytes of send buffer that nobody has read yet, whoever is to."""
        if self.ls is None:
            return 0
        unread: int = _INT.unpack(ioctl(self.ls, TIOCOUTQ, b"\0\0\0\0"))[
            0
        ]  # SIOCOUTQ, by its number
        return unread

    # ---------------------------------------------------------------- readiness

    def fds(self) -> tuple[int, ...]:
        """Return the descriptors whose readability means there is work.

        The second, there only while a full peer is awaited, says that one has room.
        """
        if self.ls is None:
            return ()
        if self._room is not None and (self._watches or self._own_awaited):
            return self.ls.fileno(), self._room.fileno()
        return (self.ls.fileno(),)

    def awaitRoom(self, dst: Any) -> int:
        """Begin to await room at ``dst``: 0, or the errno that says why that is not possible.

        Awaited on a socket connected to the peer and never used to send: an unconnected one is
        always "writable".  None stands for the own send buffer; that has room, says the kernel,
        when three quarters of it are free.
        """
        watch: socket.socket | None = None
        try:
            if self._room is None:
                self._room = select.epoll()
            if dst is None:
                # Edge by edge: each read by anybody is one, as long as there is room.
                self._room.register(self.ls or -1, select.EPOLLOUT | select.EPOLLET)
                self._own_awaited = True
                return 0
            watch = socket.socket(socket.AF_UNIX, _DGRAM)
            watch.connect(dst)
            self._room.register(watch, select.EPOLLOUT)
        except OSError as ex:
            if watch is not None:
                watch.close()
            return ex.errno or errno.EINVAL
        self._watches[dst] = watch
        self._watched[watch.fileno()] = dst
        return 0

    def endRoom(self, dst: Any) -> None:
        """Stop awaiting room at ``dst``, if it was awaited."""
        if dst is None:
            if self._own_awaited and self._room is not None and self.ls is not None:
                self._room.unregister(self.ls)
            self._own_awaited = False
            return
        watch = self._watches.pop(dst, None)
        if watch is not None:
            del self._watched[watch.fileno()]
            watch.close()  # which takes it out of the epoll

    def roomy(self) -> list[Any]:
        """Return the awaited destinations that have room, or are gone: try them."""
        if self._room is None or not (self._watches or self._own_awaited):
            return []
        return [self._watched.get(fd) for fd, _events in self._room.poll(0)]


@contextmanager
def openPeer(
    cls: type[Peer] | None = None,
    name: str = "test",
    temp: bool = True,
    reopen: bool = True,
    clear: bool = True,
    **kwa: Any,
) -> Iterator[Peer]:
    """Give an opened peer in a temporary folder and close it afterwards.

    Parameters:
        cls: what to make; None means ``Peer``.
        clear: whether its path is removed afterwards.
        name, temp, reopen, kwa: for its constructor.
    """
    peer = (cls or Peer)(name=name, temp=temp, reopen=reopen, clear=clear, **kwa)
    try:
        yield peer
    finally:
        peer.close(clear=clear)


class PeerDoer(Doer):
    """Keeps a peer open while it runs.

    Attributes:
        peer: the peer.
    """

    def __init__(self, peer: Peer, **kwa: Any) -> None:
        super().__init__(**kwa)
        self.peer = peer

    def enter(self, *, temp: bool | None = None) -> None:
        """Open unless open.

        Raises:
            FilerError: the socket cannot be bound.
        """
        if not self.peer.opened and not self.peer.reopen(temp=temp):
            raise FilerError(self.peer.fault)

    def exit(self) -> None:
        """Close and remove the path."""
        self.peer.close(clear=True)
