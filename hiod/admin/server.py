"""The admin socket: accepts, asks the kernel who calls, passes requests up, carries answers back.

Decides whom it serves, in what order, and when a connection has had enough. Leaves what a message
is to ``reception``, what a request does to the handler it is given, and the listening sockets to
whoever opened them.

Whose turn it is ``fairness`` says; other Doers come after ``TURN_S``.

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
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from hiod.admin import schema
from hiod.admin.access import Access, Caller, identify
from hiod.admin.connection import WATCH_IN, Connection, Limits, Request, refusal_text, tail_of
from hiod.admin.fairness import Allowance, Noise, Turns
from hiod.admin.reception import OWN, receive
from hiod.base.doing import Doer
from hiod.errors import AdminError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

__all__ = ["Access", "AdminDoer", "Caller", "Limits", "Request"]

TURN_S = 0.003
"""How long a turn may take before other Doers come first; one request may take it beyond."""
SHARE_S = 0.0005
"""How long one connection is served before it is asked again whose turn it is."""
STALL_S = 2.0
"""How long a connection may read nothing while more than the limit is unsent to it."""
TURNED_AWAY = 32
"""Connections over a limit that are kept until they can be told Busy; more are just closed."""
TURNED_AWAY_S = 2.0
"""How long each of those may take to say something that can be answered."""
ACCEPTS = 16
"""Connections accepted in one turn."""
SHORT_S = 1.0
"""How long nobody is accepted once the machine has run short of descriptors or memory."""
EVICTIONS_AT_ONCE, EVICTIONS_A_SECOND = 64, 10.0
"""So many connections give way to others: who is closed comes again and would drive out the next.
"""
NOTES_AT_ONCE, NOTES_A_SECOND = 20, 1.0
"""So much is noted of one user's connections: in a burst, and in the long run."""
NOTED_MOST = 256
"""Users of whom that is kept; the one noted longest ago is forgotten first."""

_OUT = select.EPOLLOUT
_GONE = select.EPOLLHUP | select.EPOLLERR
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class AdminDoer(Doer):
    """Serves the admin socket under a Doist.

    What the table can answer by itself it answers: ``schema``, Varlink's own methods, and every
    refusal that needs no knowledge of the crew.

    Parameters:
        listeners: listening stream sockets; made non-blocking, closed only when others are given.
        handler: called with each valid and permitted ``Request``. An ``AdminError`` it raises is
            the answer; any other exception is noted and answered ``Unavailable(state="fault")``.
        access: who may do what; ``set_access`` changes it for all.
        limits: what is taken.
        note: told what is worth a line in the log: ``admin.denied``, ``admin.cut``,
            ``admin.refused`` and ``admin.fault`` with facts (``uid``, ``pid`` and others), each at
            most once a connection, and of one user not more than ``NOTES_AT_ONCE`` and then
            ``NOTES_A_SECOND``: what is left out is counted (``untold``).
        clock: tells how much of the processor's time has been used, in seconds.

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
        clock: Callable[[], float] = time.thread_time,
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
        self._clock = clock
        self._noted: dict[int, Allowance] = {}  # by uid
        self._evictions = Allowance(EVICTIONS_AT_ONCE, EVICTIONS_A_SECOND)
        self._untold = 0
        self._now = 0.0
        self._epoll: select.epoll | None = None
        self._fds: tuple[int, ...] = ()
        self._listening: dict[int, socket.socket] = {}
        self._deaf_until = 0.0  # tyme; nobody is accepted before
        self._connections: dict[int, Connection] = {}
        self._work: Turns[Connection] = Turns()  # those to be looked at
        self._deadlines: dict[Connection, float] = {}
        self._noise = Noise()
        self._resting: dict[Connection, float] = {}  # tyme until when they are left alone
        self._inside = False
        self._serving: Connection | None = None  # it is looked at to the end anyway
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
        self._now = tyme
        try:
            self._gather(tyme)
            self._serve(tyme)
        finally:
            self._inside = False
        if self._work:
            self.wake()
        due = (*self._deadlines.values(), *self._resting.values(), self._deaf_until or math.inf)
        self.wake(at=min(due))
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
        self._work = Turns()
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

    def listen(self, listener: socket.socket) -> None:
        """Listen at this socket from now on; those so far are closed, their callers are kept."""
        for former in self.listeners:
            if self._epoll is not None and former.fileno() in self._listening:
                self._epoll.unregister(former.fileno())
            former.close()
        self.listeners = [listener]
        self._listening = {listener.fileno(): listener}
        listener.setblocking(False)
        if self._epoll is not None:
            self._epoll.register(listener.fileno(), select.EPOLLIN)

    def figures(self) -> dict[str, Any]:
        """Return the counters: since the start, except ``connections`` and ``resting``."""
        return {
            "connections": len(self._connections),
            "accepted": self._accepted,
            "requests": self._requests,
            "refused": dict(self._refused),
            "cut": dict(self._cut),
            "untold": self._untold,
            "resting": len(self._resting),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }

    def count_refusal(self, error: AdminError) -> None:
        """Count one refusal by its short name."""
        self._refused[error.code.rpartition(".")[2]] += 1

    def touch(self, connection: Connection) -> None:
        """Look at this connection in this turn if it is ours, else in the next."""
        if connection is not self._serving:
            self._work.want(connection)
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
        callers: list[socket.socket] = []
        for fd, events in epoll.poll(0):
            listener = self._listening.get(fd)
            if listener is not None:
                callers.append(listener)
            else:
                self._notice(self._connections[fd], events)
        # Only now: to make room a connection may be closed that was told of here, too.
        for listener in callers:
            self._accept(listener, tyme)
        self._remember(tyme)

    def _remember(self, tyme: float) -> None:
        """Look at those whose time is up."""
        for connection, at in self._deadlines.items():
            if at <= tyme:
                self._work.want(connection)
        for connection, at in list(self._resting.items()):
            if at <= tyme:
                del self._resting[connection]
                self._work.want(connection)

    def _notice(self, connection: Connection, events: int) -> None:
        """Take in what epoll says about a connection."""
        if events & _GONE:
            connection.hang_up()
        if events & select.EPOLLIN:
            connection.readable = True
        if events & _OUT:
            connection.blocked = False
        self._work.want(connection)

    def _serve(self, tyme: float) -> None:
        """Serve those that want something until none is left or the turn is over."""
        begun = now = self._clock()
        while self._work and now - begun < TURN_S:
            connection = self._work.take()
            if connection.sock.fileno() < 0:  # it gave way to another
                continue
            self._serving = connection
            overdue = connection.deadline_at <= tyme
            again = self._share(connection, until=now + SHARE_S if self._work else begun + TURN_S)
            if overdue:
                self._overdue(connection)
            before, now = now, self._clock()
            self._work.charge(connection, now - before)
            self._quieten(connection, now - before, tyme)
            again = self._settle(connection, tyme, again=again)
            self._serving = None
            if again and connection not in self._resting:
                self._work.want(connection)

    def _share(self, connection: Connection, *, until: float) -> bool:
        """Read and answer what is one connection's share; say whether more may be there."""
        again = False
        taken = 0
        fed = False
        while connection.current is None and not connection.cut_off:
            if connection in self._resting:
                break
            if connection.wants_room:
                connection.flush()
                if connection.wants_room:
                    break
            if taken == self.limits.queued or (taken and self._clock() >= until):
                again = True
                break
            message = connection.framer.take()
            if message is not None:
                taken += 1
                self._answer(connection, message)
                if connection.noisy and self._noise.is_over(connection.uid, self._now):
                    again = True
                    break
            elif connection.readable and not connection.eof and not fed:
                connection.read()
                fed = True
            else:
                break
        connection.took = connection.took or taken > 0
        return again

    def _quieten(self, connection: Connection, spent_s: float, tyme: float) -> None:
        """Leave a connection alone for a while that has had too much refused."""
        if not (connection.noisy or connection.framer.skipping):
            return
        connection.noisy = False
        rest_s = self._noise.add(connection.uid, spent_s, tyme)
        if rest_s:
            self._resting[connection] = tyme + rest_s

    def _settle(self, connection: Connection, tyme: float, *, again: bool) -> bool:
        """Leave a connection as it is to be found next time: sent, closed, or waited for.

        Returns whether that is as soon as it is its turn again.
        """
        self._send(connection)
        if connection.hung:  # perhaps it had left before its request was taken up
            self._desert(connection)
        if connection.finished:
            self._close(connection)
            return False
        idle = connection.current is None
        if connection.hung:
            self._unwatch(connection)
            self._allow(connection, "", tyme)
            return idle
        reads = idle and not (connection.wants_room or connection.eof)
        reads = reads and connection not in self._resting
        mask = (WATCH_IN if reads else 0) | (_OUT if connection.unsent else 0)
        if mask != connection.mask and self._epoll is not None:
            self._epoll.modify(connection.sock.fileno(), mask)
            connection.mask = mask
        if connection.refused is not None:
            self._allow(connection, "turned", tyme + TURNED_AWAY_S)
        elif connection.wants_room:
            again, connection.drained = connection.drained, False
            self._allow(connection, "room", tyme + STALL_S, again=again)
        elif reads and not again and connection.framer.partial:
            again, connection.took = connection.took, False
            self._allow(connection, "message", tyme + self.limits.message_s, again=again)
        elif connection.hurry:
            self._allow(connection, "", tyme)
        return again

    def _send(self, connection: Connection) -> None:
        """Send what can be sent, and let a stream say more once that is through."""
        connection.flush()
        request = connection.current
        if request is not None and request.on_drained is not None and not connection.unsent:
            self._guarded(request, request.on_drained)

    def _allow(
        self, connection: Connection, hurry: str, until: float, *, again: bool = False
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

    def _overdue(self, connection: Connection) -> None:
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

    def _desert(self, connection: Connection) -> None:
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

    def _close(self, connection: Connection) -> None:
        if connection.cut_off:
            self._cut[connection.cut_off] += 1
            event = "admin.refused" if connection.refused is not None else "admin.cut"
            self._tell(connection, event, why=connection.cut_off)
        self._desert(connection)
        self._unwatch(connection)
        del self._connections[connection.sock.fileno()]
        self._deadlines.pop(connection, None)
        self._resting.pop(connection, None)
        connection.sock.close()

    def _unwatch(self, connection: Connection) -> None:
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
        connection = Connection(self, sock, caller, refused=refused)
        self._connections[sock.fileno()] = connection
        if self._epoll is not None:
            self._epoll.register(sock.fileno(), connection.mask)
        self._work.want(connection)

    def _has_room(self, caller: Caller) -> bool:
        """Whether one more of this caller's connections can be served; a noisy one may give way.

        That is one of its own, or anybody's when all are taken.
        """
        served = [c for c in self._connections.values() if c.refused is None]
        own = [c for c in served if c.caller.uid == caller.uid]
        most = self.limits.connections
        if caller.role != "admin":
            most -= self.limits.kept_for_admins
        may = len(own) < self.limits.connections_per_uid
        if may and len(served) < most:
            return True
        if self._give_way(own):
            return True
        # What is kept for admins is not had by driving them out.
        others = [c for c in served if caller.role == "admin" or c.caller.role != "admin"]
        return may and self._give_way(others)

    def _give_way(self, connections: list[Connection]) -> bool:
        """Close the oldest of these that has said something and never anything we could read."""
        for connection in connections:
            noisy = connection.faulty or connection.framer.partial
            if noisy and not connection.valid and connection.current is None:
                if not self._evictions.take(self._now):
                    return False
                connection.cut_off = "gave way"
                self._close(connection)
                return True
        return False

    # ------------------------------------------------------------------ answering

    def _answer(self, connection: Connection, message: dict[str, Any] | AdminError) -> None:
        """Answer what came, or pass it up."""
        if connection.refused is not None:
            tail = b"}" if isinstance(message, AdminError) else tail_of(message)
            self._refuse(connection, connection.refused, tail)
            connection.flush()
            connection.cut_off = "turned away"
            return
        if isinstance(message, AdminError):
            connection.faulty = True
            self._refuse(connection, message, b"}")
            return
        request = receive(connection, message)
        if isinstance(request, AdminError):
            if request.code == "BadMessage":
                connection.faulty = True
            elif request.code == "NotPermitted":
                method = schema.BY_NAME[message["method"]].short
                self._tell(connection, "admin.denied", method=method, **request.parameters)
                admits = self.access.admits(request.parameters["needs"])
                request.parameters |= {"user": connection.caller.user, "admits": admits}
            if message.get("oneway") is True:
                self.count_refusal(request)
            else:
                self._refuse(connection, request, tail_of(message))
            return
        connection.valid = True
        self._requests += 1
        connection.current = request
        self._guarded(request, partial(OWN.get(request.method, self.handler), request))

    def _refuse(self, connection: Connection, error: AdminError, tail: bytes) -> None:
        self.count_refusal(error)
        connection.noisy = True
        connection.put(refusal_text(error, tail))

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

    def _tell(self, connection: Connection, event: str, **facts: Any) -> None:
        """Note something about a connection, once: a flood of noise is counted, not written."""
        if self._note is None or event in connection.told:
            return
        connection.told.add(event)
        caller = connection.caller
        if event != "admin.fault" and not self._may_note(caller.uid):
            self._untold += 1
            return
        self._note(event, {"uid": caller.uid, "pid": caller.pid, **facts})

    def _may_note(self, uid: int) -> bool:
        """Take one of the notes that may be had of this user, if there is one."""
        notes = self._noted.pop(uid, None) or Allowance(NOTES_AT_ONCE, NOTES_A_SECOND)
        self._noted[uid] = notes
        if len(self._noted) > NOTED_MOST:
            del self._noted[next(iter(self._noted))]
        return notes.take(self._now)
