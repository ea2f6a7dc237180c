"""What a forked child does between the fork and the code it was born for.

Acts on an order in which the boss has decided everything; decides only what to say when a step
is refused. Invariants: no frame of the launcher is ever continued, and user code finds nothing of
the launcher's: no descriptor, no signal handler, no exit callback.

All that runs here writes to pages that hands share until then, if only to count references, and
makes them the hand's own for ever. So it goes the short way: no closures, and nothing of the
library that is written in Python where a loop or a call into C does.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import fcntl
import gc
import os
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import orjson

from hiod.hand import environ, kin, main, words
from hiod.host.packets import (
    BAD_START,
    DUMP_SIGNAL,
    MAILBOX_FD,
    TOKEN_FD,
    TOKENS,
    VERDICT_FD,
    WORDS_FD,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FREE = 7
"""The first descriptor that is a hand's own."""

REFUSED = b"!"
"""What a command's launcher reads instead of an end of file when it was not executed."""

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as sh says it
_COMM_BYTES = 15


class Ground(NamedTuple):
    """What the launcher knows about itself and every child of it must know too."""

    nofile: tuple[int, int]
    """The boss's own limit of open files, before the launcher raised it."""
    sys_path: tuple[str, ...]
    """Where this Python finds its modules, without cwd and without PYTHONPATH."""
    handled: tuple[int, ...]
    """Signals that the launcher ignores or handles."""
    mark: tuple[int, int] | None
    """Address and room of the part of the environment block that names the hand."""
    title: tuple[int, int] | None
    """Address and room of the command line."""


class Gifts(NamedTuple):
    """Descriptors a child is born with; -1 for what it was not given."""

    order: int
    mailbox: int
    words: int
    stdout: int
    stderr: int
    verdict: int


def bear(gifts: Gifts, ground: Ground) -> NoReturn:
    """Become the hand that the order describes; call it in the child, SIGCHLD blocked."""
    code = BAD_START
    try:
        atexit._clear()  # noqa: SLF001 - the launcher's callbacks are not this process's
        faulthandler.disable()
        _forget_signals(ground)
        raw = os.pread(gifts.order, os.fstat(gifts.order).st_size, 0)
        _settle(gifts)
        # From here on: a step may hang as well as user code. What is executed begins without it.
        faulthandler.register(DUMP_SIGNAL, file=WORDS_FD, all_threads=True, chain=False)
        code = _live(raw, ground, mailbox=gifts.mailbox >= 0)
        if gifts.verdict >= 0:
            _say_refused()
    except BaseException as ex:  # noqa: BLE001 - whatever it is, the launcher's frames end here
        words.say_uncaught(WORDS_FD, ex, name="?", generation=0, journal="")
    finally:
        os._exit(code)


def _say_refused() -> None:
    """Say that no command was executed; the last words say why."""
    # A launcher that waited long enough has closed its end: no reason to die of another cause.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGPIPE,))
    with contextlib.suppress(BrokenPipeError):
        os.write(VERDICT_FD, REFUSED)


def _forget_signals(ground: Ground) -> None:
    signal.set_wakeup_fd(-1)
    for number in ground.handled:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _settle(gifts: Gifts) -> None:
    """Put the gifts where hands expect them and close everything else."""
    lifted = [fd if fd < 0 else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FREE) for fd in gifts]
    for fd, place in zip(lifted[1:], (MAILBOX_FD, WORDS_FD, 1, 2, VERDICT_FD), strict=True):
        if fd >= 0:
            os.dup2(fd, place, inheritable=place <= 2)  # noqa: PLR2004 - stdio
    if gifts.mailbox < 0:
        os.closerange(MAILBOX_FD, WORDS_FD)
    os.closerange(WORDS_FD + 1, VERDICT_FD)
    first = VERDICT_FD if gifts.verdict < 0 else VERDICT_FD + 1
    os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _live(raw: bytes, ground: Ground, *, mailbox: bool) -> int:
    """Take the steps to user code, run it and return the exit code."""
    try:
        order: dict[str, Any] = orjson.loads(raw)
        name, generation = str(order["name"]), int(order["generation"])
    except (ValueError, TypeError, KeyError) as ex:
        words.say_refusal(WORDS_FD, "order", "read the order", ex)
        return BAD_START
    for step, doing, act in _STEPS:
        try:
            act(order, ground)
        # An order whose values are of the wrong type is the boss's mistake: say so and end.
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as ex:
            words.say_refusal(WORDS_FD, step, doing, ex)
            return BAD_START
    if order.get("command"):
        return _execute(order, mailbox=mailbox)
    _name(ground, name, generation)
    return _work(order, ground, mailbox=mailbox)


def _enter_cgroup(order: dict[str, Any], _ground: Ground) -> None:
    path = order.get("cgroup")
    if path:
        kin.write(f"{path}/cgroup.procs", b"0")


def _begin_session(_order: dict[str, Any], _ground: Ground) -> None:
    os.setsid()


def _set_umask(order: dict[str, Any], _ground: Ground) -> None:
    os.umask(int(order.get("umask", 0o027)))


def _log(order: dict[str, Any]) -> str:
    return str(order.get("log") or "inherit")


def _open_log(order: dict[str, Any], _ground: Ground) -> None:
    """Point stdout and stderr where the order says; one stream serves both, as in systemd."""
    log = _log(order)
    if log == "inherit":
        return
    if log == "journal":
        fd = _journal(str(order["name"]), str(order.get("journal") or words.JOURNAL))
    elif log == "null":
        fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    else:
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    if fd >= 0:
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)


def _journal(name: str, directory: str) -> int:
    """Return a stream to journald, or -1 after a note: a hand must not fail for its log."""
    path = f"{directory}/stdout"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
        # Identifier, unit, priority, honour "<N>" prefixes, no forwarding.
        sock.sendall(f"hiod-{name}\n\n6\n1\n0\n0\n0\n".encode())
    except OSError as ex:
        sock.close()
        words.say_refusal(WORDS_FD, "note", "reach the journal, logging is inherited", ex, path)
        return -1
    return sock.detach()


def _make_state_dir(order: dict[str, Any], _ground: Ground) -> None:
    directory = order.get("state_dir")
    if directory and not os.access(f"{directory}/.", os.F_OK):
        try:
            os.mkdir(directory, 0o700)  # noqa: PTH102 - see `kin.read`
        except FileNotFoundError:
            os.makedirs(directory, mode=0o700)  # noqa: PTH103 - as above


def _enter(order: dict[str, Any], _ground: Ground) -> None:
    directory = order.get("cwd")
    if directory:
        os.chdir(directory)


def _limit(order: dict[str, Any], ground: Ground) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, ground.nofile)
    limits: dict[str, Sequence[int]] | None = order.get("rlimits")
    if limits:
        for name, (soft, hard) in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))


def _nice(order: dict[str, Any], _ground: Ground) -> None:
    niceness = order.get("nice")
    if niceness is not None and niceness != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)


def _surround(order: dict[str, Any], _ground: Ground) -> None:
    """Add the env files, ``env`` and hiod's own variables to what the launcher kept."""
    given: dict[str, str] = order.get("env") or {}
    files = order.get("env_file")
    variables = _with_files(files, given) if files else dict(given)
    variables |= order.get("environ") or {}
    if order.get("notify"):
        variables["NOTIFY_SOCKET"] = order["notify"]
    for name, value in variables.items():  # `update` would ask abstract classes what it is given
        os.environ[name] = value


def _with_files(files: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the env files and ``env``; note what was left out."""
    texts = []
    for entry in files:
        optional, path = entry.startswith("-"), entry.removeprefix("-")
        try:
            texts.append(kin.read(path).decode("utf-8", "surrogateescape"))
        except OSError as ex:
            if not optional:
                raise
            if not isinstance(ex, FileNotFoundError):
                words.say_refusal(WORDS_FD, "note", "read the optional env_file", ex, path)
    variables, notes = environ.compose(texts, given)
    for note in notes:
        words.say(WORDS_FD, "note", f"env_file: {note}")
    return variables


_STEPS: Sequence[tuple[str, str, Callable[[dict[str, Any], Ground], None]]] = (
    ("cgroup", "enter its cgroup", _enter_cgroup),
    ("session", "begin a session", _begin_session),
    ("umask", "set its umask", _set_umask),
    ("state_dir", "make its state directory", _make_state_dir),  # the log may be there
    ("log", "log to", _open_log),
    ("cwd", "enter its working directory", _enter),
    ("rlimits", "set its limits", _limit),
    ("nice", "set its niceness", _nice),
    ("environ", "read its env_file", _surround),
)
"""The steps to user code in their order: name, what it does in words, the doing."""


def _execute(order: dict[str, Any], *, mailbox: bool) -> int:
    """Execute the command; return only if that is refused, with the exit code sh would give."""
    if mailbox:
        os.set_inheritable(MAILBOX_FD, True)
        os.environ["HIOD_MEMO_FD"] = str(MAILBOX_FD)
    token = os.memfd_create(TOKENS, 0)
    os.dup2(token, TOKEN_FD)
    os.write(TOKEN_FD, str(order.get("token") or "").encode())
    os.lseek(TOKEN_FD, 0, os.SEEK_SET)
    if token != TOKEN_FD:
        os.close(token)
    os.environ["HIOD_TOKEN_FD"] = str(TOKEN_FD)
    argv = [str(word) for word in order["command"]]
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - a command is an argv, no shell is wanted
    except (OSError, ValueError) as ex:
        words.say_refusal(WORDS_FD, "exec", "execute", ex, argv[0])
        missing = isinstance(ex, (FileNotFoundError, NotADirectoryError))
        return _NOT_FOUND if missing else _NOT_EXECUTABLE


def _name(ground: Ground, name: str, generation: int) -> None:
    """Let ps, /proc/PID/environ and whoever looks for left-overs see which hand this is.

    A forked process shows the launcher's environment block and command line; both lie in memory
    that is its own to write. What it forks in turn inherits the mark. Where writing is not
    allowed (a sandbox without /proc) only the name is less clear.
    """
    blocks = []
    if ground.mark is not None:
        address, room = ground.mark
        blocks.append((address, environ.mark(name, generation, room)))
    if ground.title is not None:
        address, room = ground.title
        blocks.append((address, f"hiod-hand {name}".encode()[: room - 1].ljust(room, b"\0")))
    try:
        kin.write("/proc/self/comm", name[:_COMM_BYTES].encode())
        for address, block in blocks:
            kin.write("/proc/self/mem", block, address)
    except OSError:
        return


def _work(order: dict[str, Any], ground: Ground, *, mailbox: bool) -> NoReturn:
    """Run the doers, and do everything a Python does at its end."""
    # As in any Python: a closed pipe is an exception, Ctrl-C too.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable(file=WORDS_FD, all_threads=True)
    sys.argv = [str(order["name"])]
    gc.enable()
    box = MAILBOX_FD if mailbox else -1
    main.work(order, ground.sys_path, mailbox=box, words_fd=WORDS_FD)
