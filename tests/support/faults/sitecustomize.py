"""Kills a boss at a step of its work; in the PYTHONPATH of bosses under test only.

A test writes a number N into the file that ``HIOD_FAULT`` names; from then on the boss counts its
steps (each write to its database, each word to a launcher, each path bound or removed: before and
after), and dies of SIGKILL at the N-th; 0 calls it off. Which one that was is written to a file
beside that one, ``fault.at``.
"""

import os
import signal
import sys
from functools import wraps
from pathlib import Path

LEFT = [0]


def at(step):
    """Die here, if it is this step's turn."""
    fault = Path(os.environ["HIOD_FAULT"])
    if fault.exists():
        LEFT[0] = int(fault.read_text())
        fault.unlink()
    if LEFT[0]:
        LEFT[0] -= 1
        if not LEFT[0]:
            fault.with_suffix(".at").write_text(step)
            os.kill(os.getpid(), signal.SIGKILL)


def around(owner, name, title=None):
    """Make a step of what a function does: one before, one after it."""
    act = getattr(owner, name)
    inner = getattr(act, "__func__", act)

    @wraps(inner)
    def stepped(*args, **kwargs):
        words = title(*args) if title else name
        at(f"before {words}")
        result = inner(*args, **kwargs)
        at(f"after {words}")
        return result

    setattr(owner, name, classmethod(stepped) if inner is not act else stepped)


def arm():
    """Put the steps in place."""
    from hiod.boss import main
    from hiod.boss.mailroom import Mailroom
    from hiod.host.launching import Launcher
    from hiod.host.store import Store

    around(Store, "commit")
    around(Store, "load")
    around(Launcher, "start")
    around(Launcher, "find")
    around(Launcher, "take")
    around(Launcher, "_send", lambda _self, message, *_: f"telling a launcher: {message['op']}")
    around(Mailroom, "bind")
    around(Mailroom, "drop")
    around(main, "_boss_socket")


if "run" in sys.orig_argv and "HIOD_FAULT" in os.environ:
    arm()
