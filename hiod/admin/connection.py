"""One caller's connection: what it has said, what it is owed, and the request that occupies it.

Decides when a connection has had enough of this boss (``cut_off``) and how answers are written.
Leaves whose turn it is to ``server``, and what a request means to its handler. Invariants: what is
kept for a connection is bounded by its limits; a request is answered once at most.
"""

from __future__ import annotations

import math
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from hiod.admin import schema
from hiod.admin.framing import LIMIT_BYTES, NESTING, Framer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from hiod.admin.access import Caller
    from hiod.admin.schema import Record
    from hiod.errors import AdminError

READ_BYTES = 65536
"""Most that is read of one connection at a time."""

WATCH_IN = select.EPOLLIN | select.EPOLLRDHUP

_encode_strictly = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
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


class Server(Protocol):
    """What a connection needs of the server it belongs to."""

    limits: Limits
    bytes_in: int
    bytes_out: int

    def touch(self, connection: Connection) -> None:
        """Look at this connection soon."""

    def count_refusal(self, error: AdminError) -> None:
        """Count one refusal by its short name."""


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
        connection: Connection,
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
        self._final(reply_text(parameters, self._tail))

    def progress(self, parameters: Record | Mapping[str, Any] | bytes) -> None:
        """Give one answer of several; ignored unless the call was made with ``more``."""
        if self.more and not self.done and not self.gone and not self.oneway:
            self._connection.stream(reply_text(parameters, b',"continues":true' + self._tail))

    def fail(self, error: AdminError) -> None:
        """Give the final answer: refused."""
        self._connection.noisy = True
        self._final(refusal_text(error, self._tail))
        self._connection.server.count_refusal(error)

    def _final(self, text: bytes) -> None:
        if self.done:
            if self.gone:  # it ended when the caller left; that the handler goes on is no fault
                return
            raise RuntimeError(f'request "{self.method}" was answered twice')
        self.done = True
        self._connection.finish(self, b"" if self.oneway else text)


def reply_text(parameters: Record | Mapping[str, Any] | bytes | None, tail: bytes) -> bytes:
    """Return an answer as it is sent but for the terminator; ``tail`` is how it ends."""
    if parameters is None:
        body = b"{}"
    else:
        body = parameters if type(parameters) is bytes else encode(parameters)
    return b'{"parameters":' + body + tail


def refusal_text(error: AdminError, tail: bytes) -> bytes:
    """Return a refusal as it is sent, in the same way."""
    name, parameters = schema.wire_error(error)
    return b'{"error":' + encode(name) + b',"parameters":' + encode(parameters) + tail


def tail_of(message: Mapping[str, Any]) -> bytes:
    """Return how the answer to this message ends: its id, if it has one, and the brace."""
    return b',"id":' + encode(message["id"]) + b"}" if "id" in message else b"}"


class Connection:
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
        noisy: whether something it said was refused since that was looked at.
        spent_s: how much of the boss's time it has had, as ``fairness`` counts that.
    """

    __slots__ = ("blocked", "caller", "current", "cut_off", "deadline_at", "drained", "eof",
                 "faulty", "framer", "hung", "hurry", "mask", "noisy", "out",
                 "readable", "refused", "sent", "server", "sock", "spent_s", "told", "took",
                 "unsent", "valid")  # fmt: skip

    def __init__(
        self, server: Server, sock: socket.socket, caller: Caller, *, refused: AdminError | None
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
        self.mask = WATCH_IN
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
        self.noisy = False
        self.spent_s = 0.0

    @property
    def uid(self) -> int:
        """The number of the user who calls."""
        return self.caller.uid

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
