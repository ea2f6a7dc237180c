"""What a launcher does so that the memory it shares with its hands stays shared.

A forked process shares all pages of its parent until one of both writes to them. Python writes to
an object whenever it is used: its references are counted in it. Decides which of that can be
avoided; leaves when to the launcher: last thing before the first fork. Invariant: nothing that a
program can see changes, and where it is not known that something helps, it is left alone.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_IMMORTAL = 0xFFFFFFFF
"""The count at which CPython 3.12 and 3.13 stop counting (PEP 683)."""

_KNOWN = ((3, 12), (3, 13))
"""Pythons in which that is the count, in the first four bytes of an object."""

_LARGEST = 512  # bytes of an object that comes from Python's own allocator
_STEP = 16
_POOL, _FIRST = 16384, 48
"""Python's allocator deals each size from pools of so many bytes, the first place after a head."""

_RUN = 8
"""So many things side by side, from the first place on, are in a pool that was empty."""

_GAPS = 600
"""Free places of each size that are filled at most: more than are left after a start."""

_MARKS, _MARK = 16, 100_000
"""So many places of that size are more than malloc has anywhere but at its end."""

_STEPS = ((65536, 8192, -4096), (8192, 512, -64), (512, 16, -16))
"""Sizes of malloc's places that are filled, the largest first: first, last, step."""

_ENOUGH = 4 << 20
"""So many bytes of malloc's places are filled at most; a start leaves a twentieth of that."""


def immortal_works() -> bool:
    """Say whether this Python is one whose objects can be made immortal, by trying it with one."""
    if (
        sys.implementation.name != "cpython"
        or sys.version_info[:2] not in _KNOWN
        or sys.byteorder != "little"
        or sys.maxsize < 2**62
        or hasattr(sys, "gettotalrefcount")  # a debug build keeps other books
        or not getattr(sys, "_is_gil_enabled", lambda: True)()
    ):
        return False
    trial = [object()]
    _stop_counting(trial[0])
    before = sys.getrefcount(trial[0])
    trial *= 3
    return before == sys.getrefcount(trial[0]) == _IMMORTAL


def make_immortal(roots: Iterable[Any]) -> int:
    """Stop counting the references to these objects and to all they lead to.

    They live as long as the process, as they would have anyway, and using them no longer writes to
    them. Without effect where ``immortal_works`` is False.

    Returns:
        How many objects that were.
    """
    if not immortal_works():
        return 0
    count = 0
    todo = list(roots)
    while todo:
        one = todo.pop()
        if sys.getrefcount(one) >= _IMMORTAL >> 1:
            continue
        _stop_counting(one)
        count += 1
        todo += gc.get_referents(one)
    return count


def _stop_counting(one: Any) -> None:
    ctypes.c_uint32.from_address(id(one)).value = _IMMORTAL


def fill_gaps() -> list[list[Any]]:
    """Return objects that fill the free places between those of the launcher; keep them.

    What a hand makes then comes to lie together in pages of its own, not in a hundred places of
    pages that it would otherwise go on sharing.
    """
    head = sys.getsizeof(b"")
    return [
        _fill(_STEP, object),
        _fill(2 * _STEP, lambda: float("0.5")),
        *(
            _fill(size, partial(bytes, size - head))
            for size in range(3 * _STEP, _LARGEST + 1, _STEP)
        ),
    ]


def _fill(size: int, make: Callable[[], Any]) -> list[Any]:
    """Make things of one size until some have come to lie in a pool of their own."""
    made: list[Any] = [None] * _GAPS  # one that grows would itself leave gaps
    run = after = 0
    for number in range(_GAPS):
        made[number] = one = make()
        place = id(one)
        run = run + 1 if run and place == after else int(place % _POOL == _FIRST)
        if run == _RUN:
            del made[number + 1 :]
            break
        after = place + size
    return made


def fill_heap() -> int:
    """Take the free places that malloc has between what it gave out; they are never given back.

    As `fill_gaps`, for what is larger than Python's own allocator deals in.

    Returns:
        How many bytes that were.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    marks = sorted((libc.malloc(_MARK) or 0 for _ in range(_MARKS)), reverse=True)
    end = marks[0]
    for mark in marks:
        if end - mark < 2 * _MARK:
            end = mark  # side by side, so this too is at the end
        libc.free(mark)
    filled = 0
    for size in (size for steps in _STEPS for size in range(*steps)):
        while filled < _ENOUGH:
            place = libc.malloc(size)
            if place is None or place >= end:
                libc.free(place)
                break
            filled += size
    return filled
