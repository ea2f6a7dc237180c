"""Every exception hiod raises, on one screen.

Names under ``HioError`` that hio's users know keep hio's meaning. ``HiodError`` is caught at a
process boundary and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class HiodError(Exception):
    """Base of all of hiod's own exceptions."""


class HioError(HiodError):
    """Base of the exceptions hio's users know by name."""


class SizeError(HioError):
    """A path or a value is too long for the system."""


class ValidationError(HioError):
    """A value does not satisfy its declaration."""


class VersionError(ValidationError):
    """A version is not one this code can use."""


class OglerError(HioError):
    """The logger factory was used wrongly."""


class FilerError(HioError):
    """A file or directory cannot be made or opened where asked."""


class NamerError(HioError):
    """A name or an address would break the one-to-one book."""


class MultiError(HioError):
    """A crew's loads are wrong: a hand named twice, or one that does not begin with a Crewer."""


class HierError(HioError):
    """A hierarchy of actions is wrong."""


class MemoerError(HioError):
    """A memo or gram cannot be made or read."""


class MemoerVerifyError(MemoerError):
    """A gram's signature does not verify."""


class TimerError(HioError):
    """A timer was used wrongly."""


class RetroTimerError(TimerError):
    """The clock went backwards under a timer."""


class ConfigError(HiodError):
    """The operator's files are wrong; every problem of every file at once.

    Attributes:
        problems: one mapping a problem, with ``path`` (file and key path), ``code``,
            ``message`` and ``got``.
    """

    def __init__(self, problems: Sequence[Mapping[str, Any]]) -> None:
        self.problems = [dict(problem) for problem in problems]
        super().__init__("; ".join(f"{p['path']}: {p['message']}" for p in self.problems))


class AdminError(HiodError):
    """A refusal that travels to hiodctl.

    Attributes:
        code: short name (``NoSuchHand``) or, for Varlink's own, the full one.
        parameters: the typed parameters of that error.
    """

    def __init__(self, code: str, message: str = "", /, **parameters: Any) -> None:
        self.code = code
        self.parameters = parameters
        if message:
            self.parameters.setdefault("message", message)
        super().__init__(message or code)


class StartError(HiodError):
    """The machine refused a boss something it cannot begin without."""


class StoreError(HiodError):
    """The state database cannot be used; ``__cause__`` is the system's reason."""


class StoreUnfitError(StoreError):
    """The state database is none that this hiod can use: trying again will not change that."""


class StoreTooNewError(StoreUnfitError):
    """The state database was written by a newer hiod."""


class SpawnError(HiodError):
    """The machine refused to start a process.

    Attributes:
        step: what was being done.
        errno: the system's number, or None.
        path: the file it was about, or None.
    """

    def __init__(
        self, message: str, *, step: str, errno: int | None = None, path: str | None = None
    ) -> None:
        self.step = step
        self.errno = errno
        self.path = path
        super().__init__(message)


class LauncherError(HiodError):
    """A launcher is gone or does not speak the protocol."""
