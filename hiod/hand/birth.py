"""What a forked child does between the fork and the code it was born for.

Acts on an order in which the boss has decided everything; decides only what to say when a step
is refused. Invariants: no frame of the launcher is ever continued, and user code finds nothing of
the launcher's: no descriptor, no signal handler, no exit callback.
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
    from collections.abc import Callable, Sequence

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
        steps = _steps(order, ground)
    except (ValueError, TypeError, KeyError) as ex:
        words.say_refusal(WORDS_FD, "order", "read the order", ex)
        return BAD_START
    for step, doing, act in steps:
        try:
            act()
        # An order whose values are of the wrong type is the boss's mistake: say so and end.
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as ex:
            words.say_refusal(WORDS_FD, step, doing, ex)
            return BAD_START
    if order.get("command"):
        return _execute(order, mailbox=mailbox)
    _name(ground, name, generation)
    return _work(order, ground, mailbox=mailbox)


def _steps(
    order: dict[str, Any], ground: Ground
) -> Sequence[tuple[str, str, Callable[[], object]]]:
    """Return the steps in their order: name, what it does in words, the doing."""
    log = str(order.get("log") or "inherit")
    state_dir = order.get("state_dir")
    return (
        ("cgroup", "enter its cgroup", lambda: _enter_cgroup(order.get("cgroup"))),
        ("session", "begin a session", os.setsid),
        ("umask", "set its umask", lambda: os.umask(int(order.get("umask", 0o027)))),
        ("state_dir", "make its state directory", lambda: _make(state_dir)),  # the log may be there
        ("log", f"log to {log}", lambda: _open_log(log, order)),
        ("cwd", "enter its working directory", lambda: _enter(order.get("cwd"))),
        ("rlimits", "set its limits", lambda: _limit(order.get("rlimits") or {}, ground)),
        ("nice", "set its niceness", lambda: _nice(order.get("nice"))),
        ("environ", "make its environment", lambda: _surround(order)),
    )


def _enter_cgroup(path: str | None) -> None:
    if path:
        kin.write(f"{path}/cgroup.procs", b"0")


def _open_log(log: str, order: dict[str, Any]) -> None:
    """Point stdout and stderr where the order says; one stream serves both, as in systemd."""
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


def _make(directory: str | None) -> None:
    if directory:
        os.makedirs(directory, mode=0o700, exist_ok=True)  # noqa: PTH103 - see `kin.read`


def _enter(directory: str | None) -> None:
    if directory:
        os.chdir(directory)


def _limit(limits: dict[str, Sequence[int]], ground: Ground) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, ground.nofile)
    for name, (soft, hard) in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))


def _nice(niceness: int | None) -> None:
    if niceness is not None and niceness != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)


def _surround(order: dict[str, Any]) -> None:
    """Add the env files, ``env`` and hiod's own variables to what the launcher kept."""
    texts = []
    for entry in order.get("env_file") or ():
        optional, path = entry.startswith("-"), entry.removeprefix("-")
        try:
            texts.append(kin.read(path).decode("utf-8", "surrogateescape"))
        except OSError as ex:
            if not optional:
                raise
            if not isinstance(ex, FileNotFoundError):
                words.say_refusal(WORDS_FD, "note", "read the optional env_file", ex, path)
    variables, notes = environ.compose(texts, order.get("env") or {})
    for note in notes:
        words.say(WORDS_FD, "note", f"env_file: {note}")
    variables |= order.get("environ") or {}
    if order.get("notify"):
        variables["NOTIFY_SOCKET"] = order["notify"]
    os.environ.update(variables)


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
    with contextlib.suppress(OSError):
        kin.write("/proc/self/comm", name[:_COMM_BYTES].encode())
    with contextlib.suppress(OSError):
        if ground.mark is not None:
            address, room = ground.mark
            kin.write("/proc/self/mem", environ.mark(name, generation, room), address)
        if ground.title is not None:
            address, room = ground.title
            title = f"hiod-hand {name}".encode()[: room - 1].ljust(room, b"\0")
            kin.write("/proc/self/mem", title, address)


def _work(order: dict[str, Any], ground: Ground, *, mailbox: bool) -> int:
    """Run the doers; return the exit code after everything a Python does at its end."""
    # As in any Python: a closed pipe is an exception, Ctrl-C too.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable(file=WORDS_FD, all_threads=True)
    faulthandler.register(DUMP_SIGNAL, file=WORDS_FD, all_threads=True, chain=False)
    sys.argv = [str(order["name"])]
    gc.enable()
    box = MAILBOX_FD if mailbox else -1
    code = main.work(order, ground.sys_path, mailbox=box, words_fd=WORDS_FD)
    return main.wind_up(code)
