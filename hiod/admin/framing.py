"""Bytes of an admin connection in, messages and faults out.

Decides where a message ends, which of newline and NUL ends them on this connection, and whether
what came is a JSON object of a size and depth that is taken. Leaves what a message means to
``schema`` and the socket to ``server``.

Invariants: however the bytes are cut, the same messages and faults come out, in order; each byte
is looked at a fixed number of times; never more is kept than one message of the limit and what was
fed last; nothing deeper than the limit is handed out.

The parser protects itself from depth: orjson gives up at 1024, long before the C stack ends.

JSON is read as orjson reads it: of a repeated key the last counts, whole numbers beyond 64 bits
become floats, NaN and comments are refused.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import orjson

from hiod.errors import AdminError

LIMIT_BYTES = 256 * 1024
NESTING = 64
EXAMPLE = '{"method":"list"}'

_FOLDED = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_BLANK = b" \t\r\n"


def is_deeper(value: Any, most: int) -> bool:
    """Say whether objects and lists in ``value`` are nested more than ``most`` deep."""
    level = [value]
    for _ in range(most + 1):
        level = [one for one in level if type(one) is dict or type(one) is list]
        if not level:
            return False
        level = [*chain.from_iterable([o.values() if type(o) is dict else o for o in level])]
    return True


def decode(text: bytes | bytearray, *, nesting: int = NESTING) -> dict[str, Any] | AdminError:
    """Read one message.

    Returns:
        The object, or ``BadMessage`` saying what is wrong and what would do.
    """
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as wrong:
        if b"[" * (nesting + 1) in text.translate(_FOLDED, _NO_BRACKETS):
            return _nested(nesting)
        return _bad("json", f"not JSON: {wrong}", f"one JSON object a line: {EXAMPLE}")
    # Counting costs a tenth of looking, and most messages are nowhere near.
    if text.count(b"[") + text.count(b"{") > nesting and is_deeper(message, nesting):
        return _nested(nesting)
    if type(message) is not dict:
        kind = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
        is_now = kind.get(type(message), "a number")
        return _bad("object", f"not a JSON object but {is_now}", f"send {EXAMPLE}")
    return message


def _nested(most: int) -> AdminError:
    return _bad(
        "nesting",
        f"objects and lists are nested more than {most} deep",
        "take the data apart or make it a string",
    )


def _bad(code: str, message: str, hint: str) -> AdminError:
    return AdminError("BadMessage", message, code=code, hint=hint)


class Framer:
    """Cuts the bytes of one connection into messages.

    Feed it with what came, then take messages until there are none. Nothing is parsed before it
    is taken, so whoever takes slowly pays slowly.

    Attributes:
        terminator: what ends messages here, both ways: newline until the first has been seen.
        decided: whether it has been seen.
        skipping: whether the rest of a message that is too long is being passed over.
    """

    __slots__ = (
        "_buffer",
        "_ended",
        "_limit",
        "_nesting",
        "_searched",
        "_start",
        "decided",
        "skipping",
        "terminator",
    )

    def __init__(self, *, limit: int = LIMIT_BYTES, nesting: int = NESTING) -> None:
        self.terminator = b"\n"
        self.decided = False
        self.skipping = False
        self._limit = limit
        self._nesting = nesting
        self._buffer = bytearray()
        self._start = 0  # of the message that is coming in
        self._searched = 0  # no terminator before this
        self._ended = False

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not ended. To be asked when nothing more can be taken."""
        return self.skipping or len(self._buffer) > self._start

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        start = self._start
        # Moving what is left costs its length: only done when at least as much goes.
        if start and 2 * start >= len(self._buffer):
            del self._buffer[:start]
            self._start = 0
            self._searched -= start
        self._buffer += data

    def end(self) -> None:
        """No more will come: what is there is the last message."""
        self._ended = True

    def take(self) -> dict[str, Any] | AdminError | None:
        """Return the next message, the fault there is instead of one, or None for none yet."""
        while True:
            at = self._find()
            if at < 0:
                if not self._ended:
                    self._drop_excess()
                    return None
                at = len(self._buffer)
                if not self.partial:
                    return None
            start, self._start = self._start, at + 1
            self._searched = self._start
            if at == len(self._buffer):
                text = self._buffer[start:]
                self._clear()
            else:
                text = self._buffer[start:at]
            if self.skipping or at - start > self._limit:
                self.skipping = False
                return AdminError("TooLarge", limit=self._limit)
            if not text or text[0] in _BLANK:
                text = text.strip(_BLANK)
                if not text:
                    continue
            return decode(text, nesting=self._nesting)

    def give_up(self) -> AdminError | None:
        """Return the fault to answer when a message that is being passed over does not end."""
        if not self.skipping:
            return None
        return AdminError("TooLarge", limit=self._limit)

    def _find(self) -> int:
        buffer, searched = self._buffer, self._searched
        if self.decided:
            at = buffer.find(self.terminator, searched)
        else:
            at = buffer.find(b"\n", searched)
            nul = buffer.find(b"\0", searched, at if at >= 0 else len(buffer))
            at = nul if nul >= 0 else at
            if at >= 0:
                self.decided = True
                self.terminator = b"\0" if nul >= 0 else b"\n"
        if at < 0:
            self._searched = len(buffer)
        return at

    def _drop_excess(self) -> None:
        if self.skipping or len(self._buffer) - self._start > self._limit:
            self.skipping = True
            self._clear()

    def _clear(self) -> None:
        self._buffer.clear()
        self._start = self._searched = 0
