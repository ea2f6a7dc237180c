"""Keys and signatures of signed grams: Ed25519, with the extra ``signed`` (PyNaCl).

Decides how keys, ids and signatures are written and which public key an id stands for.  Leaves
the layout of grams to ``gramming`` and keeping secrets to the caller.  Invariant: PyNaCl is
imported at the first signature, not before, and whatever is wrong with one is a ``MemoerError``.

Every value is base64 with lead zero bytes whose characters are replaced by a code: ``B D E`` in
front of a verifier id (a key, a transferable key, a digest), ``B`` a public key, ``A`` a private
seed, ``0B`` a signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hiod.core.memo.gramming import b64, unb64
from hiod.errors import MemoerError, MemoerVerifyError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["decode", "encode", "sign", "verify"]

VID_CODES: Final = ("B", "D", "E")
QVK_CODES: Final = ("B",)
QSS_CODES: Final = ("A",)
SGN_CODES: Final = ("0B",)


def encode(raw: bytes, code: str) -> str:
    """Return ``raw``, 32 or 64 bytes, as text that begins with ``code``."""
    lead = len(code)
    return code + b64(b"\0" * lead + raw)[lead:].decode()


def decode(text: str, codes: tuple[str, ...], size: int) -> bytes:
    """Return the ``size`` raw bytes of a value that must begin with one of ``codes``.

    Raises:
        MemoerError: it does not, has another length, or is not base64.
    """
    lead = len(codes[0])
    if text[:lead] not in codes or len(text) != (lead + size) * 4 // 3:
        raise MemoerError(f"{text!r} is not {size} bytes under one of the codes {', '.join(codes)}")
    try:
        raw = unb64(b"A" * lead + text[lead:].encode())
    except ValueError as ex:
        raise MemoerError(f"{text!r} is not base64: {ex}") from ex
    if any(raw[:lead]):
        raise MemoerError(f"{text!r} has bits set where its code stands")
    return raw[lead:]


def encodeVID(raw: bytes, code: str = "B") -> str:
    """Return a verifier id of 32 bytes as text."""
    return encode(raw, code)


def encodeQVK(raw: bytes, code: str = "B") -> str:
    """Return a public key of 32 bytes as text."""
    return encode(raw, code)


def encodeQSS(raw: bytes, code: str = "A") -> str:
    """Return a private seed of 32 bytes as text."""
    return encode(raw, code)


def encodeSGN(raw: bytes, code: str = "0B") -> str:
    """Return a signature of 64 bytes as text."""
    return encode(raw, code)


def decodeVID(qb64: str) -> tuple[bytes, str]:
    """Return the bytes and the code of a verifier id; MemoerError when it is none."""
    return decode(qb64, VID_CODES, 32), qb64[:1]


def decodeQVK(qb64: str) -> tuple[bytes, str]:
    """Return the bytes and the code of a public key; MemoerError when it is none."""
    return decode(qb64, QVK_CODES, 32), qb64[:1]


def decodeQSS(qb64: str) -> tuple[bytes, str]:
    """Return the bytes and the code of a private seed; MemoerError when it is none."""
    return decode(qb64, QSS_CODES, 32), qb64[:1]


def decodeSGN(qb64: str) -> tuple[bytes, str]:
    """Return the bytes and the code of a signature; MemoerError when it is none."""
    return decode(qb64, SGN_CODES, 64), qb64[:2]


def sign(vid: str, ser: bytes, keep: Mapping[str, Any]) -> bytes:
    """Return the text signature of ``vid`` over ``ser``.

    Raises:
        MemoerError: ``keep`` has no key pair for ``vid``, or PyNaCl is not installed.
    """
    pair = keep.get(vid)
    if pair is None:
        raise MemoerError(f"cannot sign as {vid!r}: the keep has no key for it")
    signing = _nacl().SigningKey(decode(pair[1], QSS_CODES, 32))
    return encode(signing.sign(ser).signature, SGN_CODES[0]).encode()


def verify(vid: str, sig: bytes, ser: bytes, keep: Mapping[str, Any]) -> bool:
    """Return True when ``sig``, in text form, is the signature of ``vid`` over ``ser``.

    Raises:
        MemoerVerifyError: it is not.
        MemoerError: id or signature is malformed, the key is unknown, or PyNaCl is not installed.
    """
    key = decode(vid, VID_CODES, 32)
    if vid[0] != "B":
        pair = keep.get(vid)
        if pair is None:
            raise MemoerError(f"cannot verify {vid!r}: the keep has no key for it")
        key = decode(pair[0], QVK_CODES, 32)
    signature = decode(sig.decode("ascii", "replace"), SGN_CODES, 64)
    nacl = _nacl()
    try:
        nacl.VerifyKey(key).verify(ser, signature)
    except nacl.BadSignatureError as ex:
        raise MemoerVerifyError(f"signature of {vid!r} does not match the gram") from ex
    except (TypeError, ValueError) as ex:
        raise MemoerError(f"{vid!r} does not stand for a key: {ex}") from ex
    return True


class _Nacl:
    """The three names used of PyNaCl."""

    def __init__(self) -> None:
        from nacl.exceptions import BadSignatureError  # noqa: PLC0415 - an extra, and slow
        from nacl.signing import SigningKey, VerifyKey  # noqa: PLC0415 - an extra, and slow

        self.BadSignatureError: type[Exception] = BadSignatureError
        self.SigningKey: Any = SigningKey
        self.VerifyKey: Any = VerifyKey


def _nacl() -> _Nacl:
    """Import PyNaCl, or say which extra brings it."""
    try:
        return _Nacl()
    except ImportError as ex:
        raise MemoerError(
            "signed grams need PyNaCl, which is not installed: pip install 'hiod[signed]'"
        ) from ex
