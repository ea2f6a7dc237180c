import subprocess
import sys
from typing import Any

import pytest

from hiod.hand import sharing

EMPTY = sys.getsizeof(b"")
KNOWN = sys.version_info[:2] in {(3, 12), (3, 13)}


def test_references_to_what_is_immortal_are_no_longer_counted_where_that_is_known_to_work() -> None:
    inner = object()
    outer: list[Any] = [inner]
    before = sys.getrefcount(inner)

    count = sharing.make_immortal([outer])

    more = [inner] * 5
    assert count == (2 if KNOWN else 0)
    assert sys.getrefcount(inner) - before == (0xFFFFFFFF - before if KNOWN else len(more))


def test_rings_and_what_is_immortal_already_are_passed_once() -> None:
    ring: list[Any] = [None, True, 1, "a"]
    ring.append(ring)

    first, again = sharing.make_immortal([ring]), sharing.make_immortal([ring])

    assert first <= 2
    assert again == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("version_info", (3, 99, 0)), ("byteorder", "big"), ("maxsize", 2**31 - 1)],
)
def test_a_python_nobody_knows_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    one = object()
    before = sys.getrefcount(one)
    monkeypatch.setattr(sys, name, value)

    count = sharing.make_immortal([one])

    assert count == 0
    assert sys.getrefcount(one) == before


def test_there_is_filling_of_every_size_that_python_allots_itself() -> None:
    filling = sharing.fill_gaps()

    sizes = {-(-sys.getsizeof(some[0]) // 16) * 16 for some in filling}
    assert sizes == set(range(16, 513, 16))
    assert len({id(one) for some in filling for one in some}) == sum(map(len, filling))


def test_what_is_made_after_the_filling_comes_to_lie_together() -> None:
    scattered: list[bytes | None] = [bytes(448 - EMPTY) for _ in range(200)]
    freed = {id(one) for one in scattered[::7]}
    scattered[::7] = [None] * len(freed)

    filling = sharing.fill_gaps()

    (same,) = (some for some in filling if sys.getsizeof(some[0]) == 448)
    assert freed <= {id(one) for one in same}
    assert [id(one) - id(same[-8]) for one in same[-8:]] == list(range(0, 8 * 448, 448))


FREE_PLACE = """
import ctypes
from hiod.hand import sharing
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
libc.free.argtypes = (ctypes.c_void_p,)
fence = [libc.malloc(3000) for _ in range(9)]
gap = fence.pop(4)
libc.free(gap)
first, again = sharing.fill_heap(), sharing.fill_heap()
later = [libc.malloc(3000) for _ in range(9)]
print(gap not in later, first >= 3000, again < first)
"""


def test_a_free_place_of_malloc_is_taken_once_and_for_ever() -> None:
    # As in a launcher, that is young: what is left free by many tests is more than is ever taken.
    ran = subprocess.run(
        [sys.executable, "-c", FREE_PLACE], capture_output=True, text=True, timeout=60, check=False
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "True True True\n", "")
