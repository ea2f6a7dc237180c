"""Chance in tests: as wide as it should be, and to be had again by its seed.

With ``HIOD_CHAOS=1`` each run takes another seed, else always the same; ``HIOD_SEED`` gives one.
"""

from __future__ import annotations

import os
import random

LONG = os.environ.get("HIOD_CHAOS") == "1"
SEED = int(os.environ.get("HIOD_SEED") or (random.SystemRandom().randrange(10**6) if LONG else 7))


def chance(what: str) -> random.Random:
    """Return chances for one purpose; they do not depend on which tests run beside it."""
    return random.Random(f"{SEED} {what}")
