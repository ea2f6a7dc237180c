"""``hiod``: the command that is a boss, or checks what one would be told.

The only place that builds everything. Decides the order of a start: places, locks, state, what is
alive, files, then the turns. Leaves all else to what it builds. Exit codes: 0 stopped as asked, 75
its hands are left to the next boss, 78 configuration, or a database of a newer hiod, 1 the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

import hiod
from hiod.admin.server import Access, AdminDoer
from hiod.boss import doors, places, survey
from hiod.boss.config import MAIN_FILE, AdminConfig, Config, build
from hiod.boss.desk import Desk
from hiod.boss.herald import Herald
from hiod.boss.inquiries import Inquiries
from hiod.boss.ledger import Ledger
from hiod.boss.mailroom import Mailroom
from hiod.boss.outlook import Outlook
from hiod.boss.overseer import Overseer, Surroundings
from hiod.boss.pacing import BossDoist
from hiod.errors import ConfigError, HiodError, StartError, StoreUnfitError
from hiod.host import confinement, inherited, journal
from hiod.host import groups as control_groups
from hiod.host.files import read_files, why_none
from hiod.host.notify import Notify, listen_fds
from hiod.host.store import Store, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hiod.boss.places import Places
    from hiod.boss.survey import Survey
    from hiod.host.groups import Groups

OK, FAILED, KEPT, MISCONFIGURED = 0, 1, 75, 78

TOCK_S = 2**-10
"""The boss's grid: how exact its times are. It sleeps all the same until something is true."""
ABSENT = "absent"
"""Code of the problem that the configuration directory is not there."""
BOSS_NAME = "boss_name"
"""What the database calls the name that living hands know their boss by."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parser().parse_args(argv)
    where = places.resolve(
        os.environ,
        config=options.config_dir,
        runtime=getattr(options, "runtime_dir", None),
        state=getattr(options, "state_dir", None),
        user=options.user,
    )
    try:
        return int(options.verb(options, where))
    except ConfigError as error:
        _complain(_config_words(error, where.config))
        return MISCONFIGURED
    except HiodError as error:
        _complain(str(error))
        return _code(error)


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line; the man page is drawn from it."""
    made = argparse.ArgumentParser(
        prog="hiod", description="Keeps a crew of cooperating processes running."
    )
    made.add_argument("--version", action="version", version=f"hiod {hiod.__version__}")
    verbs = made.add_subparsers(required=True, metavar="run | check")
    run = verbs.add_parser("run", help="be the boss, in the foreground unless told otherwise")
    run.set_defaults(verb=run_boss)
    detached = "go on in the background once ready, logging to STATE/log/boss.log"
    run.add_argument("--detach", action="store_true", help=detached)
    run.add_argument("--runtime-dir", metavar="DIR", help="sockets and lock (default /run/hiod)")
    run.add_argument("--state-dir", metavar="DIR", help="what is kept (default /var/lib/hiod)")
    run.add_argument("--log-style", choices=journal.STYLES, default="auto", help="how to log")
    run.add_argument("--log-level", choices=tuple(journal.LEVELS), help="the least that is logged")
    check = verbs.add_parser("check", help="say what is wrong with the crew files, if anything")
    check.set_defaults(verb=check_files)
    check.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
    for each in (run, check):
        each.add_argument("--config-dir", metavar="DIR", help="hiod.toml and crew.d (/etc/hiod)")
        each.add_argument("--user", action="store_true", help="use the user's directories")
    return made


def _code(error: Exception) -> int:
    """Return the exit code for what stopped a boss: 78 for what no further try would put right."""
    return MISCONFIGURED if isinstance(error, ConfigError | StoreUnfitError) else FAILED


def _complain(text: str) -> None:
    print(f"hiod: {text}", file=sys.stderr)  # noqa: T201 - the command's own voice


def _is_absent(error: ConfigError) -> bool:
    return [one["code"] for one in error.problems] == [ABSENT]


def _config_words(error: ConfigError, folder: Path) -> str:
    count = len(error.problems)
    if _is_absent(error):
        return f"cannot use {folder}: {error.problems[0]['message']}"
    lines = [f"cannot use the files in {folder}: {count} problem{'s' if count != 1 else ''}"]
    lines += [f"  {one['path']}: {one['message']}" for one in error.problems]
    return "\n".join(lines)


def read_config(where: Places) -> Config:
    """Read and check all files of the configuration directory.

    Raises:
        ConfigError: with every problem of every file; if the directory is not where somebody said
            it is: who mistypes it must not be taken for wanting an empty crew.
    """
    if where.config_named and not where.config.is_dir():
        why = "there is no such directory; make it, or give --config-dir another"
        raise ConfigError([{"path": str(where.config), "code": ABSENT, "message": why}])
    found = read_files(where.config)
    return build(found.sources, problems=found.problems)


def config_for(where: Places) -> Config:
    """Read the files of a boss whose mailboxes will lie in its runtime directory.

    Raises:
        ConfigError: as ``read_config``, and for hands whose mailbox would have too long a path.
    """
    config = read_config(where)
    problems = [
        {"path": f"{spec.origin}: hand.{spec.name}", "code": "too_long", "message": why}
        for spec in config.hands
        if (why := where.too_long(spec)) is not None
    ]
    if problems:
        raise ConfigError(problems)
    return config


def check_files(options: argparse.Namespace, where: Places) -> int:
    """Say whether the files could be applied."""
    found: list[dict[str, Any]] = []
    names: list[str] = []
    try:
        names = [spec.name for spec in read_config(where).hands]
    except ConfigError as error:
        if not options.json:
            raise
        found = error.problems
    if options.json:
        told = {"config_dir": str(where.config), "hands": names, "problems": found}
        text = orjson.dumps(told, default=str).decode()
    else:
        text = f"{where.config}: fine, {len(names)} definition{'s' if len(names) != 1 else ''}"
        if not names and (why := why_none(where.config)):
            text += f": {why}"
    try:
        print(text, flush=True)  # noqa: T201 - the command's answer
    except BrokenPipeError:
        # Its reader has what it wanted; without this Python complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return MISCONFIGURED if found else OK


# ---------------------------------------------------------------------------- run


def run_boss(options: argparse.Namespace, where: Places) -> int:
    """Be the boss until told to end."""
    inherited.fill_stdio()
    where.make()
    locks = places.Locks(where)
    told = _Told(None)
    if options.detach:
        read_config_or_adopt(where)
        told = _detach(where, locks)
    try:
        return _run(options, where, locks, told)
    except (HiodError, OSError) as caught:
        error = _unstarted(caught) if isinstance(caught, OSError) and not told.began else caught
        if told.notify is not None:
            told.notify.status(str(error))  # "systemctl status" shows it above all else
        if not told.waiting:
            raise error from caught.__cause__
        locks.close()  # who hears that it failed may try again at once
        told.failed(error, where)
        return _code(error)
    except Exception as error:  # a defect: whoever waits for a detached boss is to hear of it, too
        told.failed(error, where)
        raise
    finally:
        locks.close()


def _unstarted(error: OSError) -> StartError:
    """Say in a sentence what the system refused to a boss that had not begun yet."""
    text = f"cannot start: {error.strerror or error}"
    if error.filename is not None:
        text += f": {os.fsdecode(error.filename)}"
    if error.errno == errno.EMFILE:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        text += f"; it may have {most}: raise LimitNOFILE= of its unit, or ulimit -Hn"
    return StartError(text)


def read_config_or_adopt(where: Places) -> None:
    """Complain about broken files on the terminal while there is one, if they will be applied."""
    if any((where.runtime / "launcher").glob("*.sock")):
        return
    try:
        config_for(where)
    except ConfigError as error:
        if not _is_absent(error):
            raise
        _complain(f"{where.config} is not there: the crew begins empty")


class _Told:
    """Tells whoever started a detached boss how that went; without one, nobody.

    Attributes:
        notify: the service manager, to be told why a boss ended; None until it is known.
        began: it has been ready.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self.notify: Notify | None = None
        self.began = False

    @property
    def waiting(self) -> bool:
        return self._fd is not None

    def _say(self, text: str) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.write(self._fd, text.encode())
            os.close(self._fd)
            self._fd = None

    def ready(self) -> None:
        self.began = True
        self._say(f"{OK}\n")

    def failed(self, error: Exception, where: Places) -> None:
        if isinstance(error, ConfigError):
            self._say(f"{MISCONFIGURED}\n{_config_words(error, where.config)}")
        else:
            self._say(f"{_code(error)}\n{error or type(error).__name__}")


def _detach(where: Places, locks: places.Locks) -> _Told:
    """Become a daemon; the process that was started waits for its word, says it and ends."""
    from daemon import DaemonContext  # noqa: PLC0415 - only a detached boss needs it

    path = where.logs / "boss.log"
    try:
        log = path.open("ab", buffering=0)
    except OSError as error:
        raise places.PlaceError(f"cannot open {path}: {error.strerror}") from error
    reader, writer = os.pipe()
    if os.fork() > 0:
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            code, _, text = pipe.read().decode().partition("\n")
        if text:
            _complain(text)
        os._exit(int(code) if code else FAILED)
    os.close(reader)
    context = DaemonContext(
        detach_process=True,
        files_preserve=[writer, log, *locks.fds()],
        stdout=log,
        stderr=log,
        umask=0o027,
        working_directory="/",
        prevent_core=False,
        signal_map={},
    )
    context.open()
    locks.sign()
    return _Told(writer)


def _run(options: argparse.Namespace, where: Places, locks: places.Locks, told: _Told) -> int:
    early = _hear_early()
    notify = told.notify = Notify(os.environ)
    groups, refused = _groups()
    given = listen_fds(os.environ)
    nofile = _take_descriptors()
    store = Store.open(where.database)
    try:
        saved = store.load()
        found = survey.survey(where, saved, hiod.__version__)
        if refused:
            found.notes.append(("boss.ungrouped", {"why": refused}))
        config = _configure(where, found, saved.meta)
        store.keep(events=config.boss.events_keep, deaths=config.boss.deaths_keep)
        style = journal.configure(
            "json" if options.detach else options.log_style,
            options.log_level or config.boss.log_level,
        )
        log_default = "file" if options.detach else "journal" if style == "journal" else "inherit"
        around = Surroundings(
            places=where,
            locks=locks,
            memo_fd=_boss_socket(where, found),
            nofile=nofile,
            log_default=log_default,
            crew_id=_crew_id(store, saved.meta),
            notify=notify,
            groups=groups,
            signals=early,
        )
        ledger = Ledger(
            store,
            _teller(),
            seq=found.last_seq,
            tallies=found.counters,
            boot_id=found.boot_id,
            events_keep=config.boss.events_keep,
        )
        ledger.note(BOSS_NAME, config.boss.name)
        mailroom = Mailroom(where.mailboxes, files=nofile[1])
        boss = Overseer(
            around=around,
            ledger=ledger,
            config=config,
            survey=found,
            mailroom=mailroom,
            outlook=Outlook(where.config, lambda: config_for(where)),
        )
        boss.when_ready = told.ready
        return _take_turns(boss, given, notify)
    finally:
        store.close()


def _take_turns(boss: Overseer, given: dict[str, int], notify: Notify) -> int:
    where = boss.around.places

    def read_config() -> Config:
        config = config_for(where)
        boss.membership.check(config.hands)
        return config

    inquiries = Inquiries(
        boss,
        read_config=read_config,
        version=hiod.__version__,
        sandbox=confinement.look(os.environ),
    )
    desk = Desk(boss, read_config=read_config, inquiries=inquiries)
    boss.on_reload = desk.reload
    herald = Herald(boss, notify, busy=desk.is_applying)
    listener, ours = _listener(where, given)
    admin = AdminDoer(
        [listener],
        desk.handle,
        access=_access(boss),
        note=lambda event, facts: boss.ledger.tell(
            "admin.faulted" if event == "admin.fault" else "admin.denied",
            **{"method": "?", "user": facts.get("uid"), "why": event, **facts},
        ),
    )

    def applying() -> None:
        admin.set_access(_access(boss))
        herald.reloading()

    desk.when_applying = applying
    inquiries.figures = admin.figures
    inquiries.limits = admin.limits.facts
    boss.doors.admin = doors.path_of(listener)
    if ours:
        boss.doors.listen = admin.listen
    doist = BossDoist(
        name="hiod", real=True, tock=TOCK_S, tyme=time.monotonic(), doers=[boss, admin], boss=boss
    )
    try:
        doist.do()
    finally:
        for one in admin.listeners:
            one.close()
        if ours:
            boss.clear(where.admin_socket)
    return KEPT if boss.outcome == "keep" else OK


def _access(boss: Overseer) -> Access:
    """Return who may ask what, as hiod.toml says now; say which of them nobody is."""
    given = boss.config.admin
    access = Access(given.admin, given.operate, given.read, boss_uid=os.getuid())
    if strangers := [who for who in access.unknown if who not in AdminConfig().admin]:
        boss.ledger.tell("admin.unknown", who=", ".join(strangers))
    return access


def _hear_early() -> list[int]:
    """Note signals from now on: a stop that comes while a boss starts must still stop its hands."""
    noted: list[int] = []
    for number in Overseer.Signals:
        signal.signal(number, lambda number, _frame: noted.append(number))
    # Whoever started it may have had signals blocked; a boss that hears none cannot be stopped.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return noted


def _configure(where: Places, found: Survey, meta: Mapping[str, str]) -> Config:
    """Read the files. Broken ones stop a cold start; a living crew is kept without them.

    Where there are none at all the crew begins empty: all of them may be absent. A living crew also
    keeps the name of its boss: it hears no other.
    """
    try:
        config = config_for(where)
    except ConfigError as error:
        if found.cold and not _is_absent(error):
            raise
        if found.cold:
            found.notes.append(("config.absent", {"folder": str(where.config)}))
        else:
            found.notes.append(("config.broken", {"problems": str(error)}))
        config = _read_main(where.config)
    name = config.boss.name if found.cold else meta.get(BOSS_NAME, config.boss.name)
    return replace(config, boss=replace(config.boss, name=name))


def _read_main(folder: Path) -> Config:
    """Read hiod.toml alone, if it is good: who may ask the boss does not hang on crew files."""
    found = read_files(folder)
    try:
        return build([source for source in found.sources if source.path == MAIN_FILE])
    except ConfigError:
        return Config()


def _groups() -> tuple[Groups, str]:
    """Return the control groups for hands, and why there are none if the system refuses them."""
    found = control_groups.find(os.environ)
    try:
        found.settle()
    except OSError as error:
        return control_groups.Groups(None), f"{error.strerror}: {error.filename}"
    return found, ""


def _crew_id(store: Store, meta: dict[str, str]) -> str:
    """Return the mark of this crew, made with its database."""
    crew_id = meta.get("crew_id")
    if crew_id is None:
        crew_id = os.urandom(8).hex()
        store.commit(Turn(meta={"crew_id": crew_id}, durable=True))
    return crew_id


def _take_descriptors() -> tuple[int, int]:
    """Use as many descriptors as this user may; return what it was, for the hands."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def _boss_socket(where: Places, found: Survey) -> int:
    """Return the boss's memo socket: the one that launchers held, or a new one."""
    if found.boss_fd is None:
        return doors.bind_boss(where.boss_socket)
    return found.boss_fd


def _listener(where: Places, given: dict[str, int]) -> tuple[socket.socket, bool]:
    """Return the admin listener, systemd's or our own, and whether its path is ours to remove."""
    if given:
        return socket.socket(fileno=given.get("admin", next(iter(given.values())))), False
    return doors.bind_admin(where.admin_socket), True


def _teller() -> Callable[..., None]:
    """Return what puts an event into the log."""
    log = journal.logger()

    def tell(event: str, level: str, facts: dict[str, object]) -> None:
        getattr(log, level)(event, **{key: v for key, v in facts.items() if v is not None})

    return tell


if __name__ == "__main__":
    sys.exit(main())
