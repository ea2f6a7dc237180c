"""Tyme: the cycle time that everything cooperative is timed by.

Decides what tyme it is (``Tymist``), hands that to whoever needs it as a closure (``Tymee``) and
measures spans of it (``Tymer``).  Leaves to others how tyme is tied to real time
(``hiod.base.doing``).  Invariant: nothing here reads a clock; tyme moves only when told to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from hiod.help.mixing import Mixin

if TYPE_CHECKING:
    from collections.abc import Callable


class Tymist(Mixin):
    """Keeps a tyme, in seconds, that moves in steps of a tock.

    Attributes:
        Tock: default of ``tock`` in seconds.
    """

    Tock: ClassVar[float] = 0.03125

    def __init__(self, tyme: float = 0.0, tock: float | None = None, **kwa: Any) -> None:
        super().__init__(**kwa)
        self._tyme = float(tyme)
        self._tock = float(self.Tock if tock is None else tock)

    @property
    def tyme(self) -> float:
        """Present tyme in seconds."""
        return self._tyme

    @tyme.setter
    def tyme(self, tyme: float) -> None:
        self._tyme = float(tyme)

    @property
    def tock(self) -> float:
        """Seconds by which ``tick`` moves tyme."""
        return self._tock

    @tock.setter
    def tock(self, tock: float) -> None:
        self._tock = float(tock)

    def tick(self, tock: float | None = None) -> float:
        """Move tyme by ``tock`` seconds, by the own tock when None, and return it."""
        self._tyme += self._tock if tock is None else float(tock)
        return self._tyme

    def tymen(self) -> Callable[[], float]:
        """Return a closure that returns the present tyme.

        The closure's attribute ``tymist`` is this Tymist: a Doer finds the Doist that runs it by
        the tymth it was wound with.
        """

        def tymth() -> float:
            return self.tyme

        tymth.tymist = self  # type: ignore[attr-defined]  # functions carry attributes
        return tymth


class Tymee(Mixin):
    """Knows the tyme of the Tymist whose tymth it was wound with."""

    def __init__(self, tymth: Callable[[], float] | None = None, **kwa: Any) -> None:
        super().__init__(**kwa)
        self._tymth = tymth

    @property
    def tyme(self) -> float | None:
        """Present tyme in seconds; None while not wound."""
        return None if self._tymth is None else self._tymth()

    @property
    def tymth(self) -> Callable[[], float] | None:
        """The closure this was wound with; None while not wound."""
        return self._tymth

    @tymth.setter
    def tymth(self, tymth: Callable[[], float]) -> None:
        self.wind(tymth)

    def wind(self, tymth: Callable[[], float]) -> None:
        """Take the tyme from ``tymth`` from now on."""
        self._tymth = tymth


class Tymer(Tymee):
    """Measures a span of tyme: from a start, for a duration, both in seconds.

    Attributes:
        Duration: default of ``duration`` in seconds.
    """

    Duration: ClassVar[float] = 0.0

    def __init__(
        self, duration: float | None = None, start: float | None = None, **kwa: Any
    ) -> None:
        super().__init__(**kwa)
        self._start = 0.0
        self._stop = 0.0
        self.start(duration=self.Duration if duration is None else duration, start=start)

    @property
    def duration(self) -> float:
        """Length of the span in seconds."""
        return self._stop - self._start

    @property
    def elapsed(self) -> float:
        """Seconds of tyme since the start.

        Raises:
            TypeError: the Tymer is not wound, so it knows no tyme.
        """
        return self._now() - self._start

    @property
    def remaining(self) -> float:
        """Seconds of tyme until the span is over, negative afterwards.

        Raises:
            TypeError: the Tymer is not wound, so it knows no tyme.
        """
        return self._stop - self._now()

    @property
    def expired(self) -> bool:
        """Whether the span is over.

        Raises:
            TypeError: the Tymer is not wound, so it knows no tyme.
        """
        return self._now() >= self._stop

    def wind(self, tymth: Callable[[], float]) -> None:
        """Take the tyme from ``tymth`` and start anew with the same duration."""
        super().wind(tymth)
        self.start()

    def start(self, duration: float | None = None, start: float | None = None) -> float:
        """Begin a span now, or at tyme ``start``; the duration stays unless given.

        Returns:
            the tyme at which the span starts; 0.0 when that is neither given nor known.
        """
        span = self.duration if duration is None else float(duration)
        if start is None:
            start = self.tyme
        self._start = 0.0 if start is None else float(start)
        self._stop = self._start + span
        return self._start

    def restart(self, duration: float | None = None) -> float:
        """Begin a span where the former one ended, so no tyme is lost between them."""
        return self.start(duration=duration, start=self._stop)

    def _now(self) -> float:
        if self._tymth is None:
            raise TypeError(f"{type(self).__name__} is not wound, so it knows no tyme: wind it")
        return self._tymth()
