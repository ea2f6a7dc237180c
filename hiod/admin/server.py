"""The admin socket: accepts, asks the kernel who calls, passes requests up, carries answers back.

Decides whom it serves, in what order, and when a connection has had enough. Leaves what a request
does to the handler it is given, and the listening sockets to whoever opened them.

Invariants: requests of one connection are passed up strictly one after another, each gets exactly
one final answer (none when it came ``oneway``), and the server never speaks first. No connection,
however it behaves, costs another more than its share of a turn: what is read, parsed and kept for
each is bounded. Nothing a peer sends raises out of ``recur``.
"""

from __future__ import annotations

import contextlib
import errno
import math
import select
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

import hiod
from hiod.admin import drawing, schema
from hiod.admin.access import Access, Caller, identify
from hiod.admin.framing import EXAMPLE, LIMIT_BYTES, NESTING, Framer
from hiod.base.doing import Doer
from hiod.errors import AdminError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping

    from hiod.admin.schema import Record

__all__ = ["Access", "AdminDoer", "Caller", "Limits", "Request"]

READ_BYTES = 65536
"""Most that is read of one connection in a turn."""
TURN_REQUESTS = 256
"""Requests of all connections taken up in one turn; other Doers come first then."""
STALL_S = 2.0
"""How long a connection may read nothing while more than the limit is unsent to it."""
TURNED_AWAY = 32
"""Connections over a limit that are kept until they can be told Busy; more are just closed."""
TURNED_AWAY_S = 2.0
"""How long each of those may take to say something that can be answered."""
ACCEPTS = 64
"""Connections accepted in one turn."""
SHORT_S = 1.0
"""How long nobody is accepted once the machine has run short of descriptors or memory."""

_IN = select.EPOLLIN | select.EPOLLRDHUP
_OUT = select.EPOLLOUT
_GONE = select.EPOLLHUP | select.EPOLLERR
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_encode_strictly = msgspec.json.Encoder().encode


def _encode(value: Any) -> bytes:
    """Return ``value`` as JSON; what the system named in broken UTF-8 is shown with marks."""
    try:
        return _encode_strictly(value)
    except UnicodeEncodeError:
        return _encode_strictly(_mended(msgspec.to_builtins(value)))


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Limits:
    """What the admin socket takes; said by ``about``.

    Attributes:
        request_bytes: the longest message.
        nesting: objects and lists within each other.
        connections: at once.
        kept_for_admins: so many of those are for admins only.
        connections_per_uid: at once, of one user.
        queued: requests of one connection taken up in a turn. What comes faster waits unread: the
            client's writes block, nothing is refused.
        unsent_bytes: answers kept for a slow reader. No request of a connection is taken up
            while that much waits; it is cut off when a stream adds to it, or when it reads
            nothing for ``STALL_S``.
        message_s: to finish a message that was begun.
    """

    request_bytes: int = LIMIT_BYTES
    nesting: int = NESTING
    connections: int = 64
    kept_for_admins: int = 8
    connections_per_uid: int = 16
    queued: int = 32
    unsent_bytes: int = 1024 * 1024
    message_s: float = 10.0

    @property
    def facts(self) -> schema.LimitFacts:
        """The same, as ``about`` says it."""
        return schema.LimitFacts(**{name: getattr(self, name) for name in self.__slots__})


class Request:
    """One call that is well-formed and permitted. Answer it now or later, once.

    Attributes:
        method: its short name.
        params: its parameters, checked; the Struct the table names.
        caller: who calls.
        more: whether progress may be sent.
        oneway: whether the caller wants no answer (it is to be given all the same).
        gone: whether the caller has left; what it asked for stands, a stream may end.
        done: whether it has had its final answer.
        on_gone: called, each with this request, when the caller leaves before the final answer:
            never before the handler has returned, so that is the time to add to it.
        on_drained: called when all that was said so far has been taken by the caller's socket: the
            time to say more of what is long.
    """

    __slots__ = ("_connection", "_tail", "caller", "done", "gone", "method", "more", "on_drained",
                 "on_gone", "oneway", "params")  # fmt: skip

    def __init__(
        self,
        connection: _Connection,
        method: str,
        params: Any,
        more: bool,
        oneway: bool,
        tail: bytes,
    ) -> None:
        self._connection = connection
        self._tail = tail
        self.caller = connection.caller
        self.method = method
        self.params = params
        self.more = more
        self.oneway = oneway
        self.gone = False
        self.done = False
        self.on_gone: list[Callable[[Request], None]] = []
        self.on_drained: Callable[[], None] | None = None

    def reply(self, parameters: Record | Mapping[str, Any] | bytes | None = None) -> None:
        """Give the final answer. ``bytes`` are JSON already; None is nothing but "done"."""
        self._final(_reply(parameters, self._tail))

    def progress(self, parameters: Record | Mapping[str, Any] | bytes) -> None:
        """Give one answer of several; ignored unless the call was made with ``more``."""
        if self.more and not self.done and not self.gone and not self.oneway:
            self._connection.stream(_reply(parameters, b',"continues":true' + self._tail))

    def fail(self, error: AdminError) -> None:
        """Give the final answer: refused."""
        self._final(_refusal(error, self._tail))
        self._connection.server.count_refusal(error)

    def _final(self, text: bytes) -> None:
        if self.done:
            if self.gone:  # it ended when the caller left; that the handler goes on is no fault
                return
            raise RuntimeError(f'request "{self.method}" was answered twice')
        self.done = True
        self._connection.finish(self, b"" if self.oneway else text)


def _reply(parameters: Record | Mapping[str, Any] | bytes | None, tail: bytes) -> bytes:
    if parameters is None:
        body = b"{}"
    else:
        body = parameters if type(parameters) is bytes else _encode(parameters)
    return b'{"parameters":' + body + tail


def _refusal(error: AdminError, tail: bytes) -> bytes:
    name, parameters = schema.wire_error(error)
    return b'{"error":' + _encode(name) + b',"parameters":' + _encode(parameters) + tail


class _Connection:
    """One caller's connection: what it has said, what it is owed, and how long it may take.

    Attributes:
        refused: set when it is one too many: what its first message is answered with.
        current: the request that occupies it.
        readable: whether the kernel may hold more of what it said.
        blocked: whether the kernel takes no more of what it is owed, until epoll says so.
        eof: whether all it will ever say has been read.
        hung: whether it has closed for good: nothing can be delivered any more.
        hurry: what it is given a time for: "turned", "room" or "message"; "" for nothing.
        took: whether a message was taken since the clock was last looked at.
        drained: whether it has read something since.
        faulty: whether it ever sent something that is no request.
        valid: whether it ever sent one.
        cut_off: why it is to be closed at once, or "".
        told: what has been noted about it.
    """

    __slots__ = ("blocked", "caller", "current", "cut_off", "deadline_at", "drained", "eof",
                 "faulty", "framer", "hung", "hurry", "mask", "out", "readable", "refused", "sent",
                 "server", "sock", "told", "took", "unsent", "valid")  # fmt: skip

    def __init__(
        self, server: AdminDoer, sock: socket.socket, caller: Caller, *, refused: AdminError | None
    ) -> None:
        self.server = server
        self.sock = sock
        self.caller = caller
        self.refused = refused
        self.framer = Framer(limit=server.limits.request_bytes, nesting=server.limits.nesting)
        self.current: Request | None = None
        self.out: list[bytes] = []
        self.unsent = 0
        self.sent = 0  # bytes of out[0] that are gone already
        self.mask = _IN
        self.readable = True
        self.blocked = False
        self.eof = False
        self.hung = False
        self.hurry = ""
        self.deadline_at = math.inf
        self.took = False
        self.drained = False
        self.faulty = False
        self.valid = False
        self.cut_off = ""
        self.told: set[str] = set()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done for it."""
        if self.cut_off:
            return True
        return self.eof and not (self.current or self.unsent or self.framer.partial)

    @property
    def wants_room(self) -> bool:
        """Whether so much is unsent that no further request is taken up."""
        return self.unsent > self.server.limits.unsent_bytes

    def put(self, text: bytes) -> None:
        """Owe the caller these bytes."""
        if not self.hung:
            text += self.framer.terminator
            self.out.append(text)
            self.unsent += len(text)

    def stream(self, text: bytes) -> None:
        """Owe the caller one answer of a stream, or cut it off if it does not read them."""
        if self.unsent and self.unsent + len(text) > self.server.limits.unsent_bytes:
            self.cut_off = self.cut_off or "slow reader"
        else:
            self.put(text)
        self.server.touch(self)

    def finish(self, request: Request, text: bytes) -> None:
        """Owe the caller the final answer of the request that occupied the connection."""
        if text:
            self.put(text)
        if self.current is request:
            self.current = None
        self.server.touch(self)

    def flush(self) -> None:
        """Send what can be sent now."""
        while self.out and not self.blocked:
            chunk = self.out[0] if len(self.out) == 1 else b"".join(self.out)
            try:
                sent = self.sock.send(memoryview(chunk)[self.sent :] if self.sent else chunk)
            except BlockingIOError:
                self.out = [chunk]
                self.blocked = True
            except OSError:  # it has closed its end; what it was owed cannot be delivered
                self.hang_up()
            else:
                self.unsent -= sent
                self.server.bytes_out += sent
                self.sent += sent
                self.drained = True
                self.out = [chunk]
                if self.sent == len(chunk):
                    self.out, self.sent = [], 0

    def hang_up(self) -> None:
        """Forget what it is owed; what it had said before it closed is still taken up."""
        self.hung = True
        self.readable = not self.eof
        self.out, self.unsent, self.sent = [], 0, 0

    def read(self) -> None:
        """Take in what has come, as much as is its share.

        Once it has hung up epoll no longer tells, so it is read on to the end.
        """
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            if not self.hung:
                self.readable = False
                return
            data = b""  # it reads no answers any more, and has nothing further to say
        except OSError:  # reset; all that was said before has been read
            self.hang_up()
            data = b""
        if not data:
            self.eof = True
            self.readable = False
            self.framer.end()
            return
        self.server.bytes_in += len(data)
        self.readable = self.hung or len(data) == READ_BYTES
        self.framer.feed(data)


class AdminDoer(Doer):
    """Serves the admin socket under a Doist.

    What the table can answer by itself it answers: ``schema``, Varlink's own methods, and every
    refusal that needs no knowledge of the crew.

    Parameters:
        listeners: listening stream sockets; made non-blocking, never closed here.
        handler: called with each valid and permitted ``Request``. An ``AdminError`` it raises is
            the answer; any other exception is noted and answered ``Unavailable(state="fault")``.
        access: who may do what; ``set_access`` changes it for all.
        limits: what is taken.
        note: told what is worth a line in the log: ``admin.denied``, ``admin.cut``,
            ``admin.refused`` and ``admin.fault`` with facts (``uid``, ``pid`` and others), each at
            most once a connection.

    Attributes:
        bytes_in: bytes read.
        bytes_out: bytes sent.
    """

    def __init__(
        self,
        listeners: Iterable[socket.socket],
        handler: Callable[[Request], None],
        *,
        access: Access,
        limits: Limits | None = None,
        note: Callable[[str, dict[str, Any]], None] | None = None,
        **kwa: Any,
    ) -> None:
        super().__init__(**kwa)
        self.listeners = list(listeners)
        self.handler = handler
        self.access = access
        self.limits = limits or Limits()
        self.bytes_in = 0
        self.bytes_out = 0
        self._note = note
        self._epoll: select.epoll | None = None
        self._fds: tuple[int, ...] = ()
        self._listening: dict[int, socket.socket] = {}
        self._deaf_until = 0.0  # tyme; nobody is accepted before
        self._connections: dict[int, _Connection] = {}
        self._work: dict[_Connection, None] = {}  # to be looked at, in the order of their turns
        self._deadlines: dict[_Connection, float] = {}
        self._inside = False
        self._accepted = 0
        self._requests = 0
        self._refused: Counter[str] = Counter()
        self._cut: Counter[str] = Counter()

    # ------------------------------------------------------------------ as a Doer

    def fds(self) -> tuple[int, ...]:
        """Wait for all connections by the one descriptor that stands for them."""
        return self._fds

    def enter(self, *, temp: bool | None = None) -> None:  # noqa: ARG002 - the Doer's signature
        """Begin to listen."""
        self._epoll = select.epoll()
        self._fds = (self._epoll.fileno(),)
        self._listening = {listener.fileno(): listener for listener in self.listeners}
        for fd, listener in self._listening.items():
            listener.setblocking(False)
            self._epoll.register(fd, select.EPOLLIN)

    def recur(self, tyme: float) -> bool:
        """Take one turn: accept, read, pass up, send; each connection its share."""
        self._inside = True
        try:
            self._gather(tyme)
            self._serve(tyme)
        finally:
            self._inside = False
        if self._work:
            self.wake()
        due = min(self._deadlines.values(), default=math.inf)
        self.wake(at=min(due, self._deaf_until or math.inf))
        return False

    def exit(self) -> None:
        """Say to whoever still waits that it is over, and close every connection."""
        self._inside = True
        for connection in list(self._connections.values()):
            request = connection.current
            if request is not None:
                request.fail(AdminError("Unavailable", state="stopping", after_s=None))
                request.gone = True
            connection.flush()
            self._close(connection)
        self._inside = False
        self._work.clear()
        if self._epoll is not None:
            self._epoll.close()
        self._epoll, self._fds = None, ()

    # ------------------------------------------------------------------ for others

    def set_access(self, access: Access) -> None:
        """Let other rules hold from now on, for those already connected too."""
        self.access = access
        for connection in self._connections.values():
            was = connection.caller
            role = access.role(was.uid, (was.gid, *was.groups))
            connection.caller = Caller(was.uid, was.gid, was.pid, was.groups, role)

    def figures(self) -> dict[str, Any]:
        """Return the counters: since the start, except ``connections``, which is now."""
        return {
            "connections": len(self._connections),
            "accepted": self._accepted,
            "requests": self._requests,
            "refused": dict(self._refused),
            "cut": dict(self._cut),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }

    def count_refusal(self, error: AdminError) -> None:
        """Count one refusal by its short name."""
        self._refused[error.code.rpartition(".")[2]] += 1

    def touch(self, connection: _Connection) -> None:
        """Look at this connection in this turn if it is ours, else in the next."""
        self._work[connection] = None
        if not self._inside:
            self.wake()

    # ------------------------------------------------------------------ one turn

    def _gather(self, tyme: float) -> None:
        """Find out which connections need looking at, and accept new ones."""
        epoll = self._epoll
        if epoll is None:
            return
        if self._deaf_until and tyme >= self._deaf_until:
            self._deaf_until = 0.0
            for fd in self._listening:
                epoll.modify(fd, select.EPOLLIN)
        for fd, events in epoll.poll(0):
            connection = self._connections.get(fd)
            if connection is None:
                self._accept(self._listening[fd], tyme)
                continue
            self._notice(connection, events)
        self._work |= dict.fromkeys(c for c, at in self._deadlines.items() if at <= tyme)

    def _notice(self, connection: _Connection, events: int) -> None:
        """Take in what epoll says about a connection."""
        if events & _GONE:
            connection.hang_up()
        if events & _IN:
            connection.readable = True
        if events & _OUT:
            connection.blocked = False
        self._work[connection] = None

    def _serve(self, tyme: float) -> None:
        """Give each connection that needs it its share of this turn, round robin."""
        left = TURN_REQUESTS
        turn, self._work = self._work, {}
        waiting: dict[_Connection, None] = {}
        for connection in turn:
            if connection.sock.fileno() < 0:  # it gave way to another
                continue
            if left <= 0:
                waiting[connection] = None
                continue
            overdue = connection.deadline_at <= tyme
            left -= self._share(connection)
            if overdue:
                self._overdue(connection)
            self._settle(connection, tyme)
        if waiting:  # they come before those that had their share
            self._work = waiting | self._work

    def _share(self, connection: _Connection) -> int:
        """Read and answer what is one connection's share; return how many requests it took."""
        taken = 0
        fed = False
        while connection.current is None and not connection.cut_off:
            if connection.wants_room:
                connection.flush()
                if connection.wants_room:
                    break
            if taken == self.limits.queued:
                self._work[connection] = None  # there may be more of them
                break
            message = connection.framer.take()
            if message is not None:
                taken += 1
                self._answer(connection, message)
            elif connection.readable and not connection.eof and not fed:
                connection.read()
                fed = True
            else:
                break
        connection.took = connection.took or taken > 0
        return taken

    def _settle(self, connection: _Connection, tyme: float) -> None:
        """Leave a connection as it is to be found next time: sent, closed, or waited for."""
        self._send(connection)
        if connection.hung:  # perhaps it had left before its request was taken up
            self._desert(connection)
        if connection.finished:
            self._close(connection)
            return
        idle = connection.current is None
        if connection.hung:
            self._work.pop(connection, None)
            if idle:
                self._work[connection] = None
            self._unwatch(connection)
            self._allow(connection, "", tyme)
            return
        reads = idle and not connection.wants_room and not connection.eof
        mask = (_IN if reads else 0) | (_OUT if connection.unsent else 0)
        if mask != connection.mask and self._epoll is not None:
            self._epoll.modify(connection.sock.fileno(), mask)
            connection.mask = mask
        if connection.refused is not None:
            self._allow(connection, "turned", tyme + TURNED_AWAY_S)
        elif connection.wants_room:
            again, connection.drained = connection.drained, False
            self._allow(connection, "room", tyme + STALL_S, again=again)
        elif reads and connection not in self._work and connection.framer.partial:
            again, connection.took = connection.took, False
            self._allow(connection, "message", tyme + self.limits.message_s, again=again)
        elif connection.hurry:
            self._allow(connection, "", tyme)

    def _send(self, connection: _Connection) -> None:
        """Send what can be sent, and let a stream say more once that is through."""
        connection.flush()
        request = connection.current
        if request is not None and request.on_drained is not None and not connection.unsent:
            self._guarded(request, request.on_drained)

    def _allow(
        self, connection: _Connection, hurry: str, until: float, *, again: bool = False
    ) -> None:
        """Give a connection a time for something, unless it has one for that already."""
        if hurry == connection.hurry and not again:
            return
        connection.hurry = hurry
        connection.deadline_at = until if hurry else math.inf
        if hurry:
            self._deadlines[connection] = until
        else:
            self._deadlines.pop(connection, None)

    def _overdue(self, connection: _Connection) -> None:
        """Cut off a connection whose time was up, unless this turn brought what was missing."""
        if connection.refused is not None:
            connection.cut_off = connection.cut_off or "turned away"
        elif connection.hurry == "room" and connection.wants_room and not connection.drained:
            connection.cut_off = "slow reader"
        elif connection.hurry == "message" and connection.current is None:
            framer = connection.framer
            # What the kernel still holds came in time: it was we who were late.
            late = framer.skipping or not connection.readable
            if connection.took or not framer.partial or not late:
                return
            fault = framer.give_up() or AdminError(
                "BadMessage",
                f"the message was not finished within {self.limits.message_s:g} s",
                code="late",
                hint="end each message with a newline or NUL",
            )
            self._refuse(connection, fault, b"}")
            connection.flush()
            connection.cut_off = "unfinished message"

    def _desert(self, connection: _Connection) -> None:
        """Tell the handler that nobody waits for the present request; a stream ends with that."""
        request = connection.current
        if request is None or request.gone:
            return
        request.gone = True
        for call in request.on_gone:
            self._guarded(request, partial(call, request))
        if request.more and not request.done:
            request.done = True
            connection.current = None

    def _close(self, connection: _Connection) -> None:
        if connection.cut_off:
            self._cut[connection.cut_off] += 1
            event = "admin.refused" if connection.refused is not None else "admin.cut"
            self._tell(connection, event, why=connection.cut_off)
        self._desert(connection)
        self._unwatch(connection)
        del self._connections[connection.sock.fileno()]
        self._deadlines.pop(connection, None)
        self._work.pop(connection, None)
        connection.sock.close()

    def _unwatch(self, connection: _Connection) -> None:
        """Have epoll say no more about it: a caller that hung up would wake us for ever."""
        if connection.mask >= 0 and self._epoll is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(connection.sock.fileno())
            connection.mask = -1

    # ------------------------------------------------------------------ accepting

    def _accept(self, listener: socket.socket, tyme: float) -> None:
        for _ in range(ACCEPTS):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as why:
                self._refused[errno.errorcode.get(why.errno or 0, "accept")] += 1
                if why.errno in _SHORTAGES:
                    self._go_deaf(tyme)
                return
            sock.setblocking(False)
            try:
                caller, whole = identify(sock, self.access)
            except OSError:
                self._refused["unknown caller"] += 1
                sock.close()
                continue
            if not whole:
                self._refused["groups unread"] += 1
            self._accepted += 1
            self._admit(sock, caller)

    def _go_deaf(self, tyme: float) -> None:
        """Leave callers waiting for a while: the machine is short, and they would wake us on."""
        self._deaf_until = tyme + SHORT_S
        if self._epoll is not None:
            for fd in self._listening:
                self._epoll.modify(fd, 0)

    def _admit(self, sock: socket.socket, caller: Caller) -> None:
        """Serve a new connection, or keep it until it can be told that it is one too many."""
        refused = None if self._has_room(caller) else AdminError("Busy")
        if refused is not None:
            turned_away = sum(c.refused is not None for c in self._connections.values())
            if turned_away >= TURNED_AWAY:
                self.count_refusal(refused)
                sock.close()
                return
        connection = _Connection(self, sock, caller, refused=refused)
        self._connections[sock.fileno()] = connection
        if self._epoll is not None:
            self._epoll.register(sock.fileno(), connection.mask)
        self._work[connection] = None

    def _has_room(self, caller: Caller) -> bool:
        """Whether one more of this caller's connections can be served; a noisy one may give way."""
        served = [c for c in self._connections.values() if c.refused is None]
        own = [c for c in served if c.caller.uid == caller.uid]
        most = self.limits.connections
        if caller.role != "admin":
            most -= self.limits.kept_for_admins
        if len(own) < self.limits.connections_per_uid and len(served) < most:
            return True
        return self._give_way(own)

    def _give_way(self, connections: list[_Connection]) -> bool:
        """Close the oldest of these that has said something and never anything we could read."""
        for connection in connections:
            noisy = connection.faulty or connection.framer.partial
            if noisy and not connection.valid and connection.current is None:
                connection.cut_off = "gave way"
                self._close(connection)
                return True
        return False

    # ------------------------------------------------------------------ answering

    def _answer(self, connection: _Connection, message: dict[str, Any] | AdminError) -> None:
        """Answer what came, or pass it up."""
        if connection.refused is not None:
            tail = b"}" if isinstance(message, AdminError) else _tail(message)
            self._refuse(connection, connection.refused, tail)
            connection.flush()
            connection.cut_off = "turned away"
            return
        if isinstance(message, AdminError):
            connection.faulty = True
            self._refuse(connection, message, b"}")
            return
        request = self._check(connection, message)
        if isinstance(request, AdminError):
            if message.get("oneway") is True:
                self.count_refusal(request)
            else:
                self._refuse(connection, request, _tail(message))
            return
        connection.valid = True
        self._requests += 1
        connection.current = request
        self._guarded(request, partial(_OWN.get(request.method, self.handler), request))

    def _check(self, connection: _Connection, message: dict[str, Any]) -> Request | AdminError:
        """Make a request of a message, or say why it is none."""
        wrong = _envelope_problem(message)
        if wrong is not None:
            connection.faulty = True
            return wrong
        method = schema.find(message["method"])
        if isinstance(method, AdminError):
            return method
        have = connection.caller.role
        if schema.ROLES.index(have) < schema.ROLES.index(method.role):
            self._tell(
                connection, "admin.denied", method=method.short, needs=method.role, have=have
            )
            return AdminError("NotPermitted", needs=method.role, have=have)
        params = schema.check(method, message.get("parameters") or {})
        if isinstance(params, AdminError):
            return params
        more = message.get("more") is True and method.stream != ""
        if method.stream == "endless" and not more:
            return AdminError(f"{schema.SERVICE}.ExpectedMore")
        oneway = message.get("oneway") is True
        return Request(connection, method.short, params, more, oneway, _tail(message))

    def _refuse(self, connection: _Connection, error: AdminError, tail: bytes) -> None:
        self.count_refusal(error)
        connection.put(_refusal(error, tail))

    def _guarded(self, request: Request, call: Callable[[], object]) -> None:
        """Let the handler work; what it raises becomes an answer, never ours to die of."""
        try:
            call()
        except AdminError as refusal:
            if not request.done:
                request.fail(refusal)
        except Exception as fault:  # noqa: BLE001 - one request's fault must not end the boss
            connection = request._connection  # noqa: SLF001 - a request is this module's own
            self._refused["fault"] += 1
            self._tell(connection, "admin.fault", method=request.method, fault=fault)
            if not request.done:
                request.fail(AdminError("Unavailable", state="fault", after_s=None))

    def _tell(self, connection: _Connection, event: str, **facts: Any) -> None:
        """Note something about a connection, once: a flood of noise is counted, not written."""
        if self._note is not None and event not in connection.told:
            connection.told.add(event)
            caller = connection.caller
            self._note(event, {"uid": caller.uid, "pid": caller.pid, **facts})


def _tail(message: Mapping[str, Any]) -> bytes:
    """Return how the answer to this message ends: its id, if it has one, and the brace."""
    return b',"id":' + _encode(message["id"]) + b"}" if "id" in message else b"}"


_ENVELOPE = {"method", "parameters", "id", "more", "oneway", "upgrade"}
_FLAGS = ("more", "oneway", "upgrade")


def _envelope_problem(message: Mapping[str, Any]) -> AdminError | None:
    """Return what is wrong with the members of a message itself, if anything is."""
    code, text, hint = "envelope", "", ""
    method, parameters = message.get("method"), message.get("parameters")
    flags = [message.get(flag) for flag in _FLAGS]
    if not message.keys() <= _ENVELOPE:
        name = next(name for name in message if name not in _ENVELOPE)
        likely = schema.near(name, _ENVELOPE)
        text = f'unknown member "{schema.shorten(name)}"'
        hint = f'did you mean "{likely[0]}"?' if likely else 'arguments belong in "parameters"'
    elif type(method) is not str:
        text = "there is no method" if method is None else "method is not a string"
        hint = f"send {EXAMPLE}"
    elif parameters is not None and type(parameters) is not dict:
        text, hint = "parameters is not an object", 'send "parameters":{}'
    elif any(flag is not None and flag is not True and flag is not False for flag in flags):
        text, hint = f"{', '.join(_FLAGS)} are true or false", "leave out what you do not need"
    elif message.get("upgrade"):
        code, text = "upgrade", "this connection cannot be upgraded"
        hint = 'leave "upgrade" out'
    elif message.get("more") and message.get("oneway"):
        text, hint = "more and oneway exclude each other", "leave one of them out"
    return AdminError("BadMessage", text, code=code, hint=hint) if text else None


# ---------------------------------------------------------------------------- own answers


def _info(request: Request) -> None:
    request.reply(
        schema.InfoReply(
            vendor="hiod",
            product="hiod",
            version=hiod.__version__,
            url="https://varlink.org",
            interfaces=[schema.SERVICE, schema.INTERFACE],
        )
    )


def _description(request: Request) -> None:
    interface = request.params.interface
    if interface not in (schema.INTERFACE, schema.SERVICE):
        raise AdminError(f"{schema.SERVICE}.InterfaceNotFound", interface=schema.shorten(interface))
    request.reply(schema.DescriptionReply(description=drawing.interface_text(interface)))


def _schema(request: Request) -> None:
    name = request.params.method
    if name is not None:
        method = schema.find(name)
        if isinstance(method, AdminError):
            raise method
        name = method.short if method in schema.METHODS else method.long
    request.reply(schema.SchemaReply(schema=drawing.json_schema(name)))


_OWN: dict[str, Callable[[Request], None]] = {
    "GetInfo": _info,
    "GetInterfaceDescription": _description,
    "schema": _schema,
}
