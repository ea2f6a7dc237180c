"""What a process is given at its birth, put right: the standard descriptors.

Decides nothing. Invariant: afterwards nothing this process opens takes a number that every program
takes for its input or output.
"""

from __future__ import annotations

import os
import sys

_STDIO = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def fill_stdio() -> None:
    """Open ``/dev/null``, for children too, where stdin, stdout or stderr was closed at the start.

    Raises:
        OSError: there is no ``/dev/null``.
    """
    for number, (name, mode) in enumerate(_STDIO):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free: this one
            if getattr(sys, name) is None:
                stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - for life
                setattr(sys, name, stream)
