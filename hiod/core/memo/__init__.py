"""Memos: texts of any length, cut into grams that fit a datagram, and put together again."""

from hiod.core.memo.memoing import (
    AckDex,
    AuthDex,
    AuthMemoer,
    AuthMemoerDoer,
    GramDex,
    Keyage,
    MemoDex,
    Memoer,
    MemoerDoer,
    Sizage,
    SureDex,
    Versionage,
    ZeroDex,
    openAM,
    openMemoer,
)

__all__ = [
    "AckDex",
    "AuthDex",
    "AuthMemoer",
    "AuthMemoerDoer",
    "GramDex",
    "Keyage",
    "MemoDex",
    "Memoer",
    "MemoerDoer",
    "Sizage",
    "SureDex",
    "Versionage",
    "ZeroDex",
    "openAM",
    "openMemoer",
]
