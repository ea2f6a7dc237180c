"""A path for an instance to keep something at: a folder, a file, or a name for others to bind.

Decides where it is (head, tail, base, name, ending), where else when that cannot be, and what is
removed again.  Leaves what is kept there to whoever has the path.  Invariants: nothing outside the
head is reached by an absolute name or base, and of a temporary head nothing is left behind but
what somebody else has put there.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, ClassVar

from hiod.base.doing import Doer
from hiod.errors import FilerError
from hiod.help.mixing import Mixin

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Filer", "FilerDoer", "openFiler"]


class Filer(Mixin):
    """Keeps a path: ``head/tail/base/name``, with an ending when it is a file's.

    Parameters:
        name: last part of the path; may be ``group/name``.
        base: folder between the tail and the name; neither may be absolute.
        temp: True means a new folder in the system's temporary folder.
        headDirPath: first part of the path; None means ``HeadDirPath``.
        perm: mode of the folder or file itself; None means ``Perm``.
        reopen: True means made now.
        clear: True means what is there is removed before that.
        reuse: True means the present path, if it exists, is kept by ``reopen``.
        clean: True means the tail of the clean paths, and nothing in it when it is made.
        filed: True means a file, which is opened; False a folder.
        extensioned: True means a name with an ending, of which only the folder is made.
        mode: to open the file with.
        fext: ending of a name that has none, when filed or extensioned.

    Attributes:
        path: None before it is made.
        file: the open file when ``filed``, else None.
        opened: True between ``reopen`` and ``close``.
    """

    HeadDirPath: ClassVar[str] = "/usr/local/var"
    TailDirPath: ClassVar[str] = "hio"
    CleanTailDirPath: ClassVar[str] = "hio/clean"
    AltHeadDirPath: ClassVar[str] = "~"
    AltTailDirPath: ClassVar[str] = ".hio"
    AltCleanTailDirPath: ClassVar[str] = ".hio/clean"
    TempHeadDir: ClassVar[str | None] = None
    TempPrefix: ClassVar[str] = "hio_"
    TempSuffix: ClassVar[str] = "_test"
    Perm: ClassVar[int] = 0o1700
    Mode: ClassVar[str] = "r+"
    Fext: ClassVar[str] = "text"

    def __init__(
        self,
        *,
        name: str = "main",
        base: str = "",
        temp: bool = False,
        headDirPath: str | None = None,
        perm: int | None = None,
        reopen: bool = True,
        clear: bool = False,
        reuse: bool = False,
        clean: bool = False,
        filed: bool = False,
        extensioned: bool = False,
        mode: str | None = None,
        fext: str | None = None,
        **kwa: Any,
    ) -> None:
        """Set up, and make the path if asked.

        Raises:
            FilerError: ``name`` or ``base`` is absolute.
            OSError: with ``reopen``, the path cannot be made.
            TypeError: an argument nobody takes.
        """
        super().__init__(**kwa)
        _relative("base", base)
        # After the chain: the next classes have attributes of these names, and defaults for them.
        self.name = name
        self.base = base
        self.temp = bool(temp)
        self.headDirPath = self.HeadDirPath if headDirPath is None else headDirPath
        self.perm = self.Perm if perm is None else perm
        self.filed = bool(filed)
        self.extensioned = bool(extensioned)
        self.mode = self.Mode if mode is None else mode
        self.fext = self.Fext if fext is None else fext
        self.path: str | None = None
        self.file: IO[Any] | None = None
        self.opened = False
        self._clean = bool(clean)
        self._tops: set[str] = set()  # temporary folders made here
        if reopen:
            self.reopen(clear=clear, reuse=reuse)

    @property
    def name(self) -> str:
        """Last part of the path; of effect when that is made next.

        Raises:
            FilerError: when set, it is absolute.
        """
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        _relative("name", name)
        self._name = name

    def reopen(
        self,
        temp: bool | None = None,
        headDirPath: str | None = None,
        perm: int | None = None,
        clear: bool = False,
        reuse: bool = False,
        clean: bool | None = None,
        mode: str | None = None,
        fext: str | None = None,
        **kwa: Any,
    ) -> bool:
        """Close, make the path anew, and open the file when there is one; True when opened.

        Parameters:
            clear: True removes what is at the present path.
            reuse: True keeps the present path, if it exists; otherwise it is made anew.
            temp, headDirPath, perm, clean, mode, fext: new values; None keeps the present ones.

        Raises:
            FilerError: ``base`` is absolute.
            OSError: the path cannot be made, or its file not be opened.
            TypeError: an argument nobody takes.
        """
        _refuse("reopen", kwa)
        self.close(clear=clear)
        self.temp = self.temp if temp is None else bool(temp)
        self.headDirPath = self.headDirPath if headDirPath is None else headDirPath
        self.perm = self.perm if perm is None else perm
        self._clean = self._clean if clean is None else bool(clean)
        self.mode = self.mode if mode is None else mode
        self.fext = self.fext if fext is None else fext
        if reuse and self.path is not None and os.path.exists(self.path):  # noqa: PTH110 - no pathlib in a hand's core
            self.file = _open(self.path, self.mode, self.perm) if self.filed else None
        else:
            self.path, self.file = self.remake(
                name=self.name,
                base=self.base,
                temp=self.temp,
                headDirPath=self.headDirPath,
                perm=self.perm,
                clean=self._clean,
                filed=self.filed,
                extensioned=self.extensioned,
                mode=self.mode,
                fext=self.fext,
            )
        self.opened = True
        return True

    def remake(
        self,
        *,
        name: str = "",
        base: str = "",
        temp: bool | None = None,
        headDirPath: str | None = None,
        perm: int | None = None,
        clean: bool = False,
        filed: bool = False,
        extensioned: bool = False,
        mode: str | None = None,
        fext: str | None = None,
        **kwa: Any,
    ) -> tuple[str, IO[Any] | None]:
        """Make the path these parameters say, and nothing else of this instance: (path, file).

        A folder and all above it are made, of a file or of a name with an ending all above it; the
        file is opened, empty when there was none.  When that cannot be under the head, or what is
        there can not be read and written, it is under the home.

        Raises:
            FilerError: ``name`` or ``base`` is absolute.
            OSError: it can be made in neither place, or the file not be opened.
            TypeError: an argument nobody takes.
        """
        _refuse("remake", kwa)
        ending = self.fext if fext is None else fext
        parts = _parts(base, name, ending if filed or extensioned else "")
        perm = self.perm if perm is None else perm
        folder = not (filed or extensioned)
        temp = self.temp if temp is None else temp
        if temp:
            from tempfile import mkdtemp  # noqa: PLC0415 - slow to import, rarely wanted

            head = mkdtemp(prefix=self.TempPrefix, suffix=self.TempSuffix, dir=self.TempHeadDir)
            self._tops.add(head)
            path = _under(head, self.CleanTailDirPath if clean else self.TailDirPath, *parts)
        else:
            path = _within_reach(self._headPaths(headDirPath, clean=clean), parts)
        if clean and (folder or filed):
            _remove(path)
        if folder:
            os.makedirs(path, exist_ok=True)  # noqa: PTH103 - no pathlib in a hand's core
            if not temp:
                os.chmod(path, perm)  # noqa: PTH101 - no pathlib in a hand's core
        return path, _open(path, self.mode if mode is None else mode, perm) if filed else None

    def exists(
        self,
        name: str = "",
        base: str = "",
        headDirPath: str | None = None,
        clean: bool = False,
        filed: bool = False,
        extensioned: bool = False,
        fext: str | None = None,
    ) -> bool:
        """Return whether there is something at the path that ``remake`` would make, or has made.

        Sought in the head folder and then under the home; nothing is made.

        Raises:
            FilerError: ``name`` or ``base`` is absolute.
        """
        ending = self.fext if fext is None else fext
        parts = _parts(base, name, ending if filed or extensioned else "")
        heads = self._headPaths(headDirPath, clean=clean)
        return any(os.path.exists(_at(head, *parts)) for head in heads)  # noqa: PTH110 - no pathlib in a hand's core

    def _headPaths(self, headDirPath: str | None, *, clean: bool) -> tuple[str, str]:
        """Return head and tail of where a path should be, and of where else it may be."""
        head = self.headDirPath if headDirPath is None else headDirPath
        tail = self.CleanTailDirPath if clean else self.TailDirPath
        alt_tail = self.AltCleanTailDirPath if clean else self.AltTailDirPath
        return _at(head, tail), _at(self.AltHeadDirPath, alt_tail)

    def close(self, clear: bool = False) -> bool:
        """Close the file, if there is one; with ``clear`` remove what is at the path; True."""
        if self.file is not None:
            self.file.close()
        self.opened = False
        if clear:
            self._clearPath()
        return True

    def flush(self) -> None:
        """Hand what is buffered of the open file to the system, and have that write it."""
        if self.file is not None and not self.file.closed:
            self.file.flush()
            os.fsync(self.file.fileno())

    def _clearPath(self) -> None:
        """Remove what is at the path, and the temporary folders made for it."""
        if self.path is None:
            return
        if self.file is not None:
            self.file.close()
            self.file = None
        _remove(self.path)
        self._clearTops()

    def _clearTops(self) -> None:
        """Remove the folders of the path up to the temporary one, as far as they are empty."""
        folder = os.path.dirname(self.path or "")  # noqa: PTH120 - no pathlib in a hand's core
        top = next((top for top in self._tops if folder.startswith(f"{top}/")), None)
        if top is None:
            return
        self._tops.discard(top)
        with suppress(OSError):  # something of somebody else is in one of them
            while len(folder) >= len(top):
                os.rmdir(folder)  # noqa: PTH106 - no pathlib in a hand's core
                folder = os.path.dirname(folder)  # noqa: PTH120 - no pathlib in a hand's core


def _relative(what: str, part: str) -> None:
    """Refuse a part of a path that would leave its folder; FilerError."""
    if os.path.isabs(part):  # noqa: PTH117 - no pathlib in a hand's core
        raise FilerError(f"{what} {part!r} is absolute: give its folder as headDirPath")


def _parts(base: str, name: str, ending: str) -> tuple[str, str]:
    """Return base and name, that with the ending if it has none of its own."""
    _relative("name", name)
    _relative("base", base)
    if ending and not os.path.splitext(name)[1]:  # noqa: PTH122 - no pathlib in a hand's core
        name = f"{name}.{ending}"
    return base, name


def _within_reach(heads: tuple[str, str], parts: tuple[str, ...]) -> str:
    """Return the path under the first head that serves, with its folder made."""
    head, alt = heads
    try:
        path = _under(head, *parts)
        if not os.path.lexists(path) or os.access(path, os.R_OK | os.W_OK):
            return path
    except OSError:
        pass
    return _under(alt, *parts)


def _refuse(call: str, kwa: dict[str, Any]) -> None:
    """Refuse what nobody takes; TypeError."""
    if kwa:
        raise TypeError(f"{call}() takes no keyword argument {', '.join(map(repr, kwa))}")


def _at(head: str, *parts: str) -> str:
    """Return the path of ``parts`` under ``head``."""
    return os.path.abspath(os.path.expanduser(os.path.join(head, *parts)))  # noqa: PTH100, PTH111, PTH118 - no pathlib in a hand's core


def _under(head: str, *parts: str) -> str:
    """Return the path of ``parts`` under ``head``, its folder made."""
    path = _at(head, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - no pathlib in a hand's core
    return path


def _open(path: str, mode: str, perm: int) -> IO[Any]:
    """Open a file with its permissions; one that is not there is made, whatever the mode."""
    binary = "b" if "b" in mode else ""
    if not os.path.lexists(path):
        mode = f"w+{binary}"
    file: IO[Any] = open(path, mode, encoding=None if binary else "utf-8")  # noqa: PTH123, SIM115 - no pathlib in a hand's core; its owner closes it
    os.fchmod(file.fileno(), perm)
    return file


def _remove(path: str) -> None:
    """Remove a folder with all that is in it, or a file; what is not there is removed already."""
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - no pathlib in a hand's core
        from shutil import rmtree  # noqa: PLC0415 - slow to import, rarely wanted

        rmtree(path)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - no pathlib in a hand's core


@contextmanager
def openFiler(
    cls: type[Filer] | None = None,
    name: str = "test",
    temp: bool = True,
    reopen: bool = True,
    clear: bool = False,
    **kwa: Any,
) -> Iterator[Filer]:
    """Give an opened filer, in a temporary folder unless told otherwise, and close it afterwards.

    Parameters:
        cls: what to make; None means ``Filer``.
        clear: whether its path is removed before it is made and afterwards; a temporary one is
            always removed.
        name, temp, reopen, kwa: for its constructor.
    """
    filer = (cls or Filer)(name=name, temp=temp, reopen=reopen, clear=clear, **kwa)
    try:
        yield filer
    finally:
        filer.close(clear=clear or filer.temp)


class FilerDoer(Doer):
    """Keeps a filer open while it runs.

    Attributes:
        filer: the filer.
    """

    def __init__(self, filer: Filer, **kwa: Any) -> None:
        super().__init__(**kwa)
        self.filer = filer

    def enter(self, *, temp: bool | None = None) -> None:
        """Open unless open."""
        if not self.filer.opened:
            self.filer.reopen(temp=temp)

    def exit(self) -> None:
        """Close, and remove what is temporary."""
        self.filer.close(clear=self.filer.temp)
