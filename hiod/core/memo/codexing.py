"""The names of grams: codes by what they are for, sizes by code, and small named tuples.

Decides what hio's users look codes up in.  Leaves to ``gramming`` what a code means for the bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from hiod.core.memo.gramming import CODES, KINDS

__all__ = [
    "SIZES",
    "AckDex",
    "AuthDex",
    "GramDex",
    "Keyage",
    "MemoDex",
    "Sizage",
    "SureDex",
    "Versionage",
    "ZeroDex",
]


class Versionage(NamedTuple):
    """Version of the protocol."""

    major: int = 0
    minor: int = 0


class Keyage(NamedTuple):
    """A key pair in a keep: public key and private seed, as qualified base64."""

    qvk: str
    qss: str


class Sizage(NamedTuple):
    """Text sizes of a gram's fields: code, number, memo id, verifier id, signature."""

    bz: int
    nz: int
    mz: int
    vz: int
    az: int


class MemoGramCodex(NamedTuple):
    """Every gram code; iteration and ``in`` go over the codes."""

    GramZero: str = "bAAA"
    Gram: str = "bAAB"
    GramAuthZero: str = "bAAC"
    GramAuth: str = "bAAD"
    GramSureZero: str = "bAAE"
    GramSure: str = "bAAF"
    GramSureAuthZero: str = "bAAG"
    GramSureAuth: str = "bAAH"
    Ack: str = "bAAI"
    AckAuth: str = "bAAJ"


class ZeroGramCodex(NamedTuple):
    """Codes of first grams."""

    GramZero: str = "bAAA"
    GramAuthZero: str = "bAAC"
    GramSureZero: str = "bAAE"
    GramSureAuthZero: str = "bAAG"


class GramCodex(NamedTuple):
    """Codes of later grams."""

    Gram: str = "bAAB"
    GramAuth: str = "bAAD"
    GramSure: str = "bAAF"
    GramSureAuth: str = "bAAH"


class AuthGramCodex(NamedTuple):
    """Codes of signed grams."""

    GramAuthZero: str = "bAAC"
    GramAuth: str = "bAAD"
    GramSureAuthZero: str = "bAAG"
    GramSureAuth: str = "bAAH"
    AckAuth: str = "bAAJ"


class SureGramCodex(NamedTuple):
    """Codes hio reserves for grams that are to be acknowledged; they travel as plain ones."""

    GramSureZero: str = "bAAE"
    GramSure: str = "bAAF"
    GramSureAuthZero: str = "bAAG"
    GramSureAuth: str = "bAAH"


class AckCodex(NamedTuple):
    """Codes of acknowledgements, which nobody sends."""

    Ack: str = "bAAI"
    AckAuth: str = "bAAJ"


MemoDex = MemoGramCodex()
ZeroDex = ZeroGramCodex()
GramDex = GramCodex()
AuthDex = AuthGramCodex()
SureDex = SureGramCodex()
AckDex = AckCodex()


def _sizes() -> dict[str, Sizage]:
    """Return the text sizes by code."""
    kinds = {code: KINDS[code.encode()] for code in CODES.values()}
    return {code: Sizage(4, 4, 24, kind.body - 32, kind.tail) for code, kind in kinds.items()}


SIZES = _sizes()
