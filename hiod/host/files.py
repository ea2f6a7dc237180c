"""The configuration directory, read as it stands.

Decides which files count: ``hiod.toml`` and the regular files ``crew.d/*.toml`` in the order of
their names, hidden ones aside. What they mean is left to ``boss.config``. Invariant: nothing here
blocks on a file that is no file, and what is being written just now is a problem, not a
configuration.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hiod.rules.checking import Problem, SourceFile

LARGEST: Final = 1 << 20
"""Bytes of the largest file that is taken for a configuration."""


@dataclass(frozen=True, slots=True)
class Files:
    """What was found.

    Attributes:
        sources: the files that could be read.
        problems: one for each that could not.
        digest: of all names and contents; equal digests are equal configurations.
    """

    sources: tuple[SourceFile, ...]
    problems: tuple[Problem, ...]
    digest: str


def read_files(config_dir: str | Path) -> Files:
    """Read a configuration directory; what is absent is simply not there."""
    folder = Path(config_dir).absolute()
    problems: list[Problem] = []
    sources: list[SourceFile] = []
    mark = hashlib.sha256()
    for name in ("hiod.toml", *_crew_files(folder, problems)):
        path = folder / name
        # A name that is not UTF-8 must not stop the sentence that names it from being printed.
        shown = name.encode(errors="backslashreplace").decode()
        text = _read(path, shown, problems)
        if text is not None:
            sources.append(SourceFile(shown, text, str(path.parent)))
    told = [(source.path, source.text) for source in sources]
    told += [(problem.path, problem.message) for problem in problems]
    for part in itertools.chain.from_iterable(told):
        data = part.encode()
        mark.update(len(data).to_bytes(8, "big") + data)
    return Files(tuple(sources), tuple(problems), mark.hexdigest())


def why_none(config_dir: str | Path) -> str:
    """Say why a configuration directory has no crew files, and what may be meant; "" if it has."""
    folder = Path(config_dir).absolute()
    if _crew_files(folder, []):
        return ""
    text = "there is no crew.d/*.toml in it"
    if folder.name == "crew.d":
        return f"{text}; did you mean --config-dir {folder.parent}?"
    strays = sorted(path.name for path in folder.glob("*.toml") if path.name != "hiod.toml")
    return f"{text}; {strays[0]} is not read there" if strays else text


def _crew_files(folder: Path, problems: list[Problem]) -> list[str]:
    """Return the names of crew files, relative to the configuration directory."""
    try:
        names = sorted(path.name for path in (folder / "crew.d").iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(_refusal("crew.d", f"cannot be read: {_why(error)}"))
        return []
    return [f"crew.d/{n}" for n in names if n.endswith(".toml") and not n.startswith(".")]


def _read(path: Path, shown: str, problems: list[Problem]) -> str | None:
    """Return a file's text, or None when it is absent or after telling what is wrong with it."""
    try:
        # Not to wait for a writer if it is a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        if path.is_symlink():
            problems.append(_refusal(shown, "is a link to a file that does not exist"))
        return None
    except OSError as error:
        problems.append(_refusal(shown, f"cannot be read: {_why(error)}"))
        return None
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            problems.append(_refusal(shown, "is not a regular file"))
            return None
        with open(fd, "rb", closefd=False) as file:
            data = file.read(LARGEST + 1)
        after = os.fstat(fd)
    except OSError as error:
        problems.append(_refusal(shown, f"cannot be read: {_why(error)}"))
        return None
    finally:
        os.close(fd)
    return _text(data, shown, problems, same=_state(before) == _state(after))


def _text(data: bytes, shown: str, problems: list[Problem], *, same: bool) -> str | None:
    if not same:
        problems.append(_refusal(shown, "changed while it was read; try again"))
    elif len(data) > LARGEST:
        problems.append(_refusal(shown, f"is larger than {LARGEST >> 20} MiB"))
    else:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            problems.append(_refusal(shown, f"is not UTF-8 at line {line}; save it as UTF-8"))
    return None


def _state(of: os.stat_result) -> tuple[int, int, int]:
    return of.st_size, of.st_mtime_ns, of.st_ctime_ns


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _refusal(path: str, message: str) -> Problem:
    return Problem(path, "unreadable", message)
