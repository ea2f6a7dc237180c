"""A logger factory with the surface hio's users set: level, temp, reopen, getLogger.

Decides where a library program's own log lines go: standard error, and a file once ``reopen`` was
called.  Leaves the daemon's journal to others; nothing here runs there.  Invariant: the standard
library's ``logging`` is not imported before the first logger is asked for, so a hand that never
logs never pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

ERROR = 40
"""The level of ``logging.ERROR``."""


class Ogler:
    """Makes loggers that share one level and one file.

    Attributes:
        name: of the log file, without ``.log``.
        temp: True puts the file into a new temporary directory.
        headDirPath: directory of the file when it is not temporary.
        path: the open file, or None.
        opened: a file is open.
    """

    def __init__(
        self,
        name: str = "main",
        *,
        level: int = ERROR,
        temp: bool = False,
        headDirPath: str | None = None,
        reopen: bool = False,
    ) -> None:
        self.name = name
        self.temp = temp
        self.headDirPath = headDirPath
        self.path: str | None = None
        self.opened = False
        self._level = level
        self._loggers: dict[str, logging.Logger] = {}
        self._file: logging.Handler | None = None
        if reopen:
            self.reopen()

    @property
    def level(self) -> int:
        """Lowest level that is logged, as the standard library numbers them."""
        return self._level

    @level.setter
    def level(self, level: int) -> None:
        self._level = level
        for logger in self._loggers.values():
            logger.setLevel(level)

    def getLogger(self, name: str = "hiod", level: int | None = None) -> logging.Logger:
        """Give the logger of a name; it writes to standard error and to the open file."""
        logger = self._loggers.get(name)
        if logger is None:
            import logging  # noqa: PLC0415 - not before a logger is asked for

            logger = logging.getLogger(name)
            logger.propagate = False
            logger.setLevel(self._level)
            # The last resort handler finds standard error when it writes, not now.
            logger.addHandler(logging.lastResort or logging.StreamHandler())
            if self._file is not None:
                logger.addHandler(self._file)
            self._loggers[name] = logger
        if level is not None:
            logger.setLevel(level)
        return logger

    def reopen(self, *, temp: bool | None = None, headDirPath: str | None = None) -> bool:
        """Open the log file anew; True when it is open.

        Args:
            temp: replaces ``temp`` unless None.
            headDirPath: replaces ``headDirPath`` unless None.
        """
        import logging  # noqa: PLC0415 - not before a file is asked for
        import os  # noqa: PLC0415 - the same
        import tempfile  # noqa: PLC0415 - the same

        self.close()
        if temp is not None:
            self.temp = temp
        if headDirPath is not None:
            self.headDirPath = headDirPath
        if self.temp:
            head = tempfile.mkdtemp(prefix="hiod_log_")
        else:
            head = self.headDirPath or os.path.expanduser("~/.hiod/log")  # noqa: PTH111 - no pathlib in a hand
            os.makedirs(head, exist_ok=True)  # noqa: PTH103 - the same
        self.path = os.path.join(head, f"{self.name}.log")  # noqa: PTH118 - the same
        self._file = logging.FileHandler(self.path)
        self._file.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        for logger in self._loggers.values():
            logger.addHandler(self._file)
        self.opened = True
        return True

    def close(self) -> None:
        """Close the log file; it stays."""
        if self._file is None:
            return
        for logger in self._loggers.values():
            logger.removeHandler(self._file)
        self._file.close()
        self._file = None
        self.opened = False
