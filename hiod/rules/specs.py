"""What a hand is: the keys of a crew file, as frozen records.

The fields of these records are the keys of a crew file and the members of the admin protocol's
``spec``. Where a file or a request comes from is left to others; so is everything that is done
with a hand. Invariant: a ``HandSpec`` that exists is one that can be launched as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DoerRef:
    """One entry of ``doers``: what to import in the hand, and what to call it with."""

    ref: str
    tock: float | None = None
    opts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ready:
    """When a hand counts as ready; ``timeout_s`` None waits for ever (only ``by = "exit"``)."""

    by: str = "register"
    to: str | None = None
    timeout_s: float | None = 10.0


@dataclass(frozen=True, slots=True)
class Restart:
    """What follows an end nobody asked for."""

    policy: str = "always"
    delay_s: float = 0.5
    factor: float = 2.0
    max_delay_s: float = 30.0
    jitter: float = 0.1
    reset_after_s: float = 60.0
    limit: int = 5
    window_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Stop:
    """How a hand is asked to end; ``signal`` is a name without ``SIG``."""

    grace_s: float = 10.0
    term_s: float = 5.0
    signal: str = "TERM"


@dataclass(frozen=True, slots=True)
class Health:
    """What is watched; ``rss_max`` in bytes, ``cpu_max`` in percent of one core."""

    beat_s: float = 5.0
    misses: int = 3
    lag_s: float = 2.0
    on_fail: str = "dump"
    rss_max: int | None = None
    cpu_max: float | None = None
    fds_max: int | None = None


@dataclass(frozen=True, slots=True)
class HandSpec:
    """One hand of the wanted crew, or ``count`` alike.

    Exactly one of ``doers`` and ``command`` is not None. ``umask`` is the number, ``rlimits`` are
    pairs (soft, hard) with -1 for no limit, ``log`` None means where the boss logs by itself.
    ``origin`` and ``line`` say which file it came from and take no part in comparisons.
    """

    name: str
    doers: tuple[DoerRef, ...] | None = None
    command: tuple[str, ...] | None = None
    python: str | None = None
    path: tuple[str, ...] = ()
    count: int | None = None
    start: bool = True
    tock: float = 0.03125
    limit_s: float | None = None
    after: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "${HIOD_STATE_DIR}"
    env_file: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    umask: int = 0o027
    nice: int = 0
    rlimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    log: str | None = None
    ready: Ready = field(default_factory=Ready)
    restart: Restart = field(default_factory=Restart)
    stop: Stop = field(default_factory=Stop)
    health: Health = field(default_factory=Health)
    origin: str | None = field(default=None, compare=False)
    line: int | None = field(default=None, compare=False)
