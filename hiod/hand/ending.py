"""The end of a hand's Python: its threads, its exit functions, its buffers, then the process.

Decides for how long each of them is waited for, and what is said meanwhile. Leaves what the exit
code is to ``main``. Invariant: a hand that failed ends with its code, whatever its threads and exit
functions do; one that is done ends as any Python does, and says for what it waits.

The threads started here are none of ``threading``'s, which never learns of them.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import sys
import time
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn

from hiod.hand import words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GRACE_S = 1.0
"""So long a hand that failed waits for its threads, and so long for its exit functions."""

_NAMED = 5
"""So many threads are named, and so many processes; others are counted."""


def wind_up(code: int, words_fd: int, tell: Callable[[str], float] | None = None) -> NoReturn:
    """End this process as a Python ends: threads, exit functions, buffers; no frame goes on.

    Args:
        code: the exit code, 0 to 255. With any but 0 nothing is waited for longer than ``GRACE_S``.
        words_fd: memfd of the last words.
        tell: says to the boss for what a hand that is done waits, and returns in how many seconds
            it is to be said again; called in another thread.
    """
    # It ends, whatever is raised on the way.
    with contextlib.suppress(Exception, KeyboardInterrupt):
        if code:
            _hurry(code, words_fd)
        elif _threads() or _processes() or _exit_functions():
            with contextlib.suppress(RuntimeError):  # no thread can be had: it waits, unsaid
                _thread.start_new_thread(_say_what_lasts, (tell,))
        if not code:
            _join_threads()
        # There is no public way to end as Python does.
        atexit._run_exitfuncs()  # noqa: SLF001 - as above
    _flush()
    os._exit(code)


def _hurry(code: int, words_fd: int) -> None:
    """Give threads their time; see that the process ends when exit functions have had theirs."""
    try:
        if not _join_soon():
            what = _listed("thread", _threads()) or "what ends its threads"
            words.add(words_fd, f"ended with status {code} without waiting for {what}")
        _thread.start_new_thread(_cut_short, (code, words_fd))
    except RuntimeError:  # no thread can be had, so nothing may be waited for
        os._exit(code)
    _flush()  # now already: an exit function may take all the time there is


def _join_soon() -> bool:
    """Wait for threads, at most ``GRACE_S``; return whether they have ended."""
    if "threading" not in sys.modules:
        return True
    over = _thread.allocate_lock()
    over.acquire()
    _thread.start_new_thread(_join_aside, (over,))
    return over.acquire(timeout=GRACE_S)


def _join_aside(over: _thread.LockType) -> None:
    """Do what Python does about threads at its end, in another thread than the main one."""
    threading: Any = sys.modules["threading"]
    with contextlib.suppress(Exception):  # what a callback raises ends the wait, as in any Python
        for end in reversed(threading._threading_atexits):  # noqa: SLF001 - see `_join_threads`
            end()
        while left := _threads():
            for thread in left:
                thread.join()
    over.release()


def _join_threads() -> None:
    """Wait for threads as Python does: idle executors are ended, busy ones waited for."""
    threading: Any = sys.modules.get("threading")
    # What a callback raises, and Ctrl-C, end the wait, as in any Python.
    with contextlib.suppress(Exception, KeyboardInterrupt):
        if threading is not None:
            threading._shutdown()  # noqa: SLF001 - there is no public way to end as Python does


def _cut_short(code: int, words_fd: int) -> NoReturn:
    """End the process when its exit functions have had their time."""
    time.sleep(GRACE_S)
    what = _listed("process", _processes()) or "its exit functions"
    words.add(words_fd, f"ended with status {code} without waiting for {what}")
    os._exit(code)


def _say_what_lasts(tell: Callable[[str], float] | None) -> None:
    """Say what keeps a hand that is done from its end, for as long as it does."""
    time.sleep(GRACE_S)
    said = ""
    while True:
        lasting = [_listed("thread", _threads()), _listed("process", _processes())]
        what = " and ".join(one for one in lasting if one) or "its exit functions"
        text = f"all its Doers have ended; it waits for {what}"
        if text != said:
            words.log(text)
            said = text
        pause = inf
        with contextlib.suppress(Exception):  # what cannot be told is in the log
            pause = inf if tell is None else tell(text)
        if pause == inf:
            return
        time.sleep(pause)


def _threads() -> list[Any]:
    """Return the threads that Python waits for."""
    threading: Any = sys.modules.get("threading")
    if threading is None:
        return []
    main = threading.main_thread()
    return [one for one in threading.enumerate() if one is not main and not one.daemon]


def _processes() -> list[Any]:
    """Return the processes that multiprocessing waits for."""
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is None:
        return []
    return [one for one in processes.active_children() if not one.daemon]


def _exit_functions() -> int:
    """Return how many functions are to be called at the end."""
    return atexit._ncallbacks()  # noqa: SLF001 - there is no public way to ask


def _listed(what: str, those: Sequence[Any]) -> str:
    """Name threads or processes in a sentence; empty when there are none."""
    names = [one.name for one in those]
    if not names:
        return ""
    kind = what if len(names) == 1 else f"{what}es" if what.endswith("s") else f"{what}s"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{kind} {', '.join(names[:_NAMED])}{more}"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
