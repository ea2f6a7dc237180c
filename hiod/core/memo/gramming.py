"""The gram: one datagram of a memo, as hio 0.7.20 lays it out.

Decides what a datagram says and how a memo is cut.  Leaves to ``signing`` the keys, to ``fusing``
the putting together, to the peer the sending.  Pure: bytes in, values out.  Invariant: for every
datagram ``parse`` either returns what it says or raises ``GramError`` with the reason why it says
nothing; no other exception leaves it.

Two header forms carry the same fields, text (base64) and binary (three quarters the size):

======  ====  ======  =====================================================================
field   text  binary  meaning
======  ====  ======  =====================================================================
code    4     3       kind of gram: first or later, signed or not
number  4     3       in a first gram the count of grams, in a later one its own number
mid     24    18      id of the memo
vid     44    33      who signed; in signed first grams only
body                  raw bytes of the UTF-8 memo
sig     88    66      signature over all before it; in signed grams only
======  ====  ======  =====================================================================
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Final, NamedTuple, TypeAlias

from hiod.errors import MemoerError

__all__ = [
    "CODES",
    "KINDS",
    "PAIRS",
    "GramError",
    "Kind",
    "Parsed",
    "Part",
    "cut",
    "parse",
    "rooms",
    "split",
]


class GramError(MemoerError):
    """A datagram is no gram that can be used.

    Attributes:
        reason: short name to count it under.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class Kind(NamedTuple):
    """One way a gram can look: a code in one of the two header forms."""

    code: str
    text: bool
    first: bool
    signed: bool
    ack: bool
    body: int
    """offset of the body"""
    tail: int
    """length of the signature"""


Parsed: TypeAlias = "tuple[Kind, str, str | None, int, int | None, int, int]"
"""What a gram says: kind, mid, vid, number, count, start, stop.

``vid`` is the one the gram carries, so None in later grams.  ``number`` is the gram's own, 0 in a
first gram; ``count`` is None in a later gram.  The body is ``gram[start:stop]``.
"""

Part: TypeAlias = "tuple[bytes, memoryview]"
"""A plain gram not yet put together: its header, and its body as a view of the memo's bytes."""

CODES: Final = {
    "GramZero": "bAAA",
    "Gram": "bAAB",
    "GramAuthZero": "bAAC",
    "GramAuth": "bAAD",
    "GramSureZero": "bAAE",
    "GramSure": "bAAF",
    "GramSureAuthZero": "bAAG",
    "GramSureAuth": "bAAH",
    "Ack": "bAAI",
    "AckAuth": "bAAJ",
}

PAIRS: Final = {"bAAA": "bAAB", "bAAC": "bAAD", "bAAE": "bAAF", "bAAG": "bAAH"}
"""Code of the later grams by code of the first."""

ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
MAX_COUNT: Final = (1 << 24) - 1

_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URLSAFE = bytes.maketrans(b"-_+/", b"+/!!")  # "+" and "/" are not of this alphabet


def b64(raw: bytes) -> bytes:
    """Return the URL-safe base64 of ``raw``, whose length is a multiple of three."""
    return b2a_base64(raw, newline=False).translate(_TO_URLSAFE)


def unb64(text: bytes) -> bytes:
    """Return the bytes ``text`` stands for; ValueError for a character outside the alphabet."""
    return a2b_base64(text.translate(_FROM_URLSAFE), strict_mode=True)


def _kinds() -> dict[bytes, Kind]:
    """Make the table of every code in both forms, by the bytes a gram begins with."""
    table = {}
    for name, code in CODES.items():
        signed, ack = "Auth" in name, name.startswith("Ack")
        first = ack or name.endswith("Zero")
        vid, sig = (44 if signed and first else 0), (88 if signed else 0)
        text = code.encode()
        table[text] = Kind(code, True, first, signed, ack, 32 + vid, sig)
        table[unb64(text)] = Kind(
            code,
            False,
            first,
            signed,
            ack,
            (32 + vid) * 3 // 4,
            sig * 3 // 4,
        )
    return table


KINDS: Final = _kinds()
"""Every kind by the four text characters or three bytes a gram of it begins with."""


def number_text(number: int) -> bytes:
    """Return the four base64 digits of ``number``."""
    return b64(number.to_bytes(3, "big"))


# Most memos have few grams: their numbers are looked up, not worked out.
_NUMBERS = {number_text(number): number for number in range(1024)}


def parse(gram: bytes) -> Parsed:
    """Return what ``gram`` says.

    A count of 0 is taken as 1: hio 0.7.20 writes it in binary form for memos of 1 to 8 bytes.
    Signatures are not verified here.

    Raises:
        GramError: it is no gram, or one that nobody sends.
    """
    kind = KINDS.get(gram[:4]) or KINDS.get(gram[:3])
    if kind is None:
        raise _refusal(gram)
    size = len(gram)
    if size < kind.body + kind.tail:
        raise GramError(
            "short", f"gram of {size} bytes is shorter than a {kind.code}'s {kind.body + kind.tail}"
        )
    if kind.ack:
        raise GramError("ack", f"gram {kind.code} acknowledges what was never asked for")
    vid: str | None = None
    try:
        if kind.text:
            digits = gram[4:8]
            number = _NUMBERS.get(digits, -1)
            if number < 0:
                number = int.from_bytes(unb64(digits), "big")
            mid = str(gram[8:32], "utf-8")
            if kind.body > 32:  # noqa: PLR2004 - the text header without a vid
                vid = str(gram[32:76], "utf-8")
        else:
            number = int.from_bytes(gram[3:6], "big")
            mid = str(b64(gram[6:24]), "ascii")
            if kind.body > 24:  # noqa: PLR2004 - the binary header without a vid
                vid = str(b64(gram[24:57]), "ascii")
    except ValueError as ex:
        raise GramError("bad-header", f"gram's header is not readable: {ex}") from ex
    stop = size - kind.tail
    if kind.first:
        return kind, mid, vid, 0, number or 1, kind.body, stop
    return kind, mid, vid, number, None, kind.body, stop


def _refusal(gram: bytes) -> GramError:
    """Say why a datagram that begins with no known code is none."""
    if not gram:
        return GramError("empty", "datagram is empty")
    if gram[0] not in (0x62, 0x6C):
        return GramError("not-a-gram", f"datagram begins with {gram[0]:#04x}, not with a gram code")
    if len(gram) < (4 if gram[0] == 0x62 else 3):  # noqa: PLR2004 - the code in text and binary
        return GramError("short", f"gram of {len(gram)} bytes is shorter than its code")
    return GramError("unknown-code", f"gram begins with {gram[:4]!r}, which is no known code")


def rooms(code: str, size: int, *, curt: bool) -> tuple[int, int]:
    """Return the bytes of memo that fit a first and a later gram of at most ``size`` bytes.

    In binary form hio 0.7.20 takes the text overhead off later grams; so do we, that the cuts
    are the same, but for sizes so small that nothing would be left.

    Raises:
        MemoerError: ``size`` leaves no room for a byte of memo.
    """
    text = KINDS[code.encode()], KINDS[PAIRS[code].encode()]
    binary = KINDS[unb64(code.encode())], KINDS[unb64(PAIRS[code].encode())]
    first, later = binary if curt else text
    room = size - first.body - first.tail
    more = size - text[1].body - text[1].tail
    if more < 1:
        more = size - later.body - later.tail
    if room < 1:
        raise MemoerError(
            f"grams of {size} bytes have no room for a memo: a {code} needs"
            f" {first.body + first.tail + 1}"
        )
    return room, more


_SOLE = {code: code.encode() + b"AAAB" for code in PAIRS}
SOLE: Final = _SOLE["bAAA"]
"""What a plain memo of one gram in text form begins with: nearly every memo there is."""


def cut(
    data: bytes, mid: bytes, code: str, size: int, *, curt: bool, vid: bytes = b""
) -> list[bytes]:
    """Return the grams of the memo ``data``, without their signatures.

    Parameters:
        data: the memo's UTF-8 bytes; none make no gram.
        mid: its id, 24 text characters.
        code: code of the first gram.
        size: longest gram in bytes, signature included.
        curt: True means binary headers.
        vid: who signs, 44 text characters, for signed codes.

    Raises:
        MemoerError: the memo needs more grams than can be numbered, or ``size`` is too small.
    """
    length = len(data)
    if not curt and not vid and 0 < length <= size - 32:
        return [_SOLE[code] + mid + data]
    parts = split(data, mid, code, size, curt=curt, vid=vid)
    return [b"".join(part) for part in parts]  # each byte is copied once


def split(
    data: bytes, mid: bytes, code: str, size: int, *, curt: bool, vid: bytes = b""
) -> list[Part]:
    """Return what ``cut`` does, header and body apart: no byte of the memo is copied."""
    length = len(data)
    if not length:
        return []
    room, more = rooms(code, size, curt=curt)
    count = 1 + max(0, -((room - length) // more)) if length > room else 1
    if count > MAX_COUNT:
        raise MemoerError(
            f"memo of {length} bytes needs {count} grams of {size} bytes, at most {MAX_COUNT}"
            " can be numbered: raise size"
        )
    first, later, tail = code.encode(), PAIRS[code].encode(), mid
    who = vid
    if curt:
        first, later, tail, who = unb64(first), unb64(later), unb64(mid), unb64(vid)
    body = memoryview(data)
    parts = [(first + _number(count, curt=curt) + tail + who, body[:room])]
    parts += [
        (later + _number(index, curt=curt) + tail, body[at : at + more])
        for index, at in enumerate(range(room, length, more), 1)
    ]
    return parts


def _number(number: int, *, curt: bool) -> bytes:
    """Return the number field."""
    raw = number.to_bytes(3, "big")
    return raw if curt else b64(raw)
