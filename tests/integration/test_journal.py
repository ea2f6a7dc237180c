from __future__ import annotations

import errno
import fcntl
import os
import pty
import shutil
import socket
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog

from hiod.host import journal
from hiod.rules.story import STORY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    if journal._state.teller is not None:
        journal._state.teller.close()
        journal._state.teller = None
    structlog.reset_defaults()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


class Journald:
    """A socket that takes records as journald does."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(20)

    def read(self) -> dict[str, str]:
        data, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, 4)
        for fd in fds:
            assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
            data = os.pread(fd, os.fstat(fd).st_size, 0)
            os.close(fd)
        return parse(data)


def parse(data: bytes) -> dict[str, str]:
    """Read journald's own format: NAME=value, or NAME, a length and the value."""
    fields = {}
    while data:
        head, _, data = data.partition(b"\n")
        if b"=" in head:
            name, _, value = head.partition(b"=")
        else:
            name = head
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[9 + size :]
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def journald(monkeypatch) -> Iterator[Journald]:
    directory = Path(tempfile.mkdtemp(prefix="hj"))
    made = Journald(f"{directory}/socket")
    monkeypatch.setattr(journal._Native.__init__, "__defaults__", (f"{directory}/socket",))
    yield made
    made.socket.close()
    shutil.rmtree(directory)


def test_a_record_reaches_the_journal_with_its_fields(journald: Journald, pipe) -> None:
    journal.configure("journal", fd=pipe[1])

    journal.logger().warning(
        "hand.backing_off",
        hand="web",
        how="signal 11",
        cause="died of signal 11",
        note="",
        attempt=2,
        limit=5,
        delay_s=0.5,
        code=None,
        asked=True,
        extra={"a": [1]},
        raw=b"\xff",
    )

    assert journald.read() == {
        "MESSAGE": "web: died of signal 11; try 2 of 5 in 0.5 s",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "hiod",
        "HIOD_EVENT": "hand.backing_off",
        "MESSAGE_ID": STORY["hand.backing_off"].message_id,
        "HIOD_HAND": "web",
        "HIOD_HOW": "signal 11",
        "HIOD_CAUSE": "died of signal 11",
        "HIOD_NOTE": "",
        "HIOD_ATTEMPT": "2",
        "HIOD_LIMIT": "5",
        "HIOD_DELAY_S": "0.5",
        "HIOD_ASKED": "true",
        "HIOD_EXTRA": '{"a":[1]}',
        "HIOD_RAW": "\\xff",
    }


def test_a_value_of_several_lines_cannot_forge_a_field(journald: Journald, pipe) -> None:
    journal.configure("journal", fd=pipe[1])

    journal.logger().info("hand.status", hand="web", status="fine\nPRIORITY=0")

    fields = journald.read()
    assert fields["HIOD_STATUS"] == "fine\nPRIORITY=0"
    assert fields["MESSAGE"] == "web: says fine\nPRIORITY=0"
    assert fields["PRIORITY"] == "6"


def test_a_record_too_large_for_a_datagram_goes_in_a_sealed_file(journald: Journald, pipe) -> None:
    journal.configure("journal", fd=pipe[1])
    stack = "line\n" * 200_000

    journal.logger().warning("hand.dumped", hand="web", where="x", stack=stack)

    assert journald.read()["HIOD_STACK"] == stack
    assert journal.lost() == 0


def test_a_journal_that_takes_no_records_gets_the_sentence_on_its_stream(
    journald: Journald, pipe
) -> None:
    journal.configure("journal", fd=pipe[1])
    lost = journal.lost()
    journald.socket.close()

    journal.logger().error("hand.unkillable", hand="web", waited_s=30.0)

    assert os.read(pipe[0], 4096) == b"<3>web: still there 30 s after SIGKILL\n"
    assert journal.lost() == lost


def test_a_journal_that_does_not_read_stops_nobody(journald: Journald, pipe) -> None:
    journal.configure("journal", fd=pipe[1])
    log = journal.logger()

    while not told_on(pipe[0]):
        log.info("hand.registered", hand="web")

    assert journald.read()["HIOD_HAND"] == "web"


def told_on(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except BlockingIOError:
        return b""


def lines(reader: int) -> list[dict]:
    return [orjson.loads(line) for line in told_on(reader).splitlines()]


def test_a_pipe_gets_lines_of_json(pipe) -> None:
    assert journal.configure(fd=pipe[1], environ={}) == "json"

    journal.logger().info("hand.spawned", hand="web", pid=5, generation=2, took_s=0.25)

    [record] = lines(pipe[0])
    assert record.pop("at").endswith("Z")
    assert record == {
        "level": "info",
        "event": "hand.spawned",
        "message": "web: process 5, generation 2",
        "hand": "web",
        "pid": 5,
        "generation": 2,
        "took_s": 0.25,
    }


def test_facts_named_like_our_own_keys_do_not_hide_them(pipe) -> None:
    journal.configure("json", fd=pipe[1])

    journal.logger().error("hand.refused", hand="web", message="no such file", at=1, level="x")

    [record] = lines(pipe[0])
    assert record["message"] == "web: cannot be started: no such file"
    assert record["fact_message"] == "no such file"
    assert (record["fact_at"], record["fact_level"], record["level"]) == (1, "x", "error")


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ("lone \udcff surrogate", "lone \udcff surrogate"),
        (1 << 80, 1 << 80),
        ({1: Path("/a")}, {"1": "/a"}),
        (b"bytes", "b'bytes'"),
    ],
)
def test_odd_facts_are_told_as_well_as_they_can_be(pipe, fact: object, told: object) -> None:
    import json

    journal.configure("json", fd=pipe[1])

    journal.logger().info("hand.status", hand="web", status="x", fact=fact)

    assert json.loads(told_on(pipe[0]))["fact"] == told


def test_a_fact_that_cannot_be_shown_is_counted_and_raises_nothing(pipe) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("never")

    journal.configure("json", fd=pipe[1])
    lost = journal.lost()

    journal.logger().info("hand.status", hand="web", status="x", fact=Odd())

    assert journal.lost() == lost + 1


def test_a_fact_is_told_as_its_string_whatever_it_makes_of_formats(pipe) -> None:
    class Odd:
        def __format__(self, _: str) -> str:
            raise ValueError("never")

        def __str__(self) -> str:
            return "odd"

    journal.configure("json", fd=pipe[1])

    journal.logger().info("hand.registered", hand=Odd())

    [record] = lines(pipe[0])
    assert (record["message"], record["hand"]) == ("odd: registered", "odd")


def test_an_exception_is_told_with_its_traceback(pipe) -> None:
    journal.configure("json", fd=pipe[1])

    try:
        {}["the why"]
    except KeyError:
        journal.logger().exception("admin.faulted", method="list", why="a defect")

    [record] = lines(pipe[0])
    assert record["level"] == "error"
    assert record["exception"].startswith("Traceback")
    assert record["exception"].endswith("KeyError: 'the why'")


def test_what_is_below_the_level_is_not_told_until_the_level_is_changed(pipe) -> None:
    journal.configure("json", "warning", fd=pipe[1])
    log = journal.logger()
    log.info("hand.registered", hand="web")
    assert told_on(pipe[0]) == b""

    journal.configure("json", "debug", fd=pipe[1])
    log.debug("hand.status", hand="web", status="fine")

    assert [record["level"] for record in lines(pipe[0])] == ["debug"]


def test_a_reader_that_stops_reading_stops_nobody_and_gets_whole_lines_later(pipe) -> None:
    journal.configure("json", fd=pipe[1])
    lost = journal.lost()
    log = journal.logger()

    told = 0
    while journal.lost() == lost:
        log.info("hand.status", hand="web", status="x" * 1000, number=told)
        told += 1
    first = told_on(pipe[0]) + told_on(pipe[0])
    log.info("hand.status", hand="web", status="y", number="last")
    data = first + told_on(pipe[0])

    numbers = [orjson.loads(line)["number"] for line in data.splitlines()]
    assert numbers == [*range(told - 1), "last"]
    assert os.get_blocking(pipe[1])  # others who write to the same end wait as before


def test_a_pipe_of_another_user_is_written_to_without_waiting(pipe, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "another user's")

    with monkeypatch.context() as patched:
        patched.setattr(journal.os, "open", refuse)
        journal.configure("json", fd=pipe[1])
    lost = journal.lost()
    log = journal.logger()

    told = 0
    while journal.lost() == lost:
        log.info("hand.status", hand="web", status="x" * 9000, number=told)
        told += 1
    first = told_on(pipe[0])
    log.info("hand.status", hand="web", status="y", number="last")
    data = first + told_on(pipe[0])

    numbers = [orjson.loads(line)["number"] for line in data.splitlines()]
    assert numbers == [*range(told - 1), "last"]


def test_a_reader_that_went_away_is_counted(pipe) -> None:
    reader, writer = os.pipe()
    journal.configure("json", fd=writer)
    lost = journal.lost()
    os.close(reader)

    journal.logger().info("hand.registered", hand="web")

    assert journal.lost() == lost + 1
    os.close(writer)


def test_a_stream_socket_is_written_to_without_waiting() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert journal.configure(fd=ours.fileno(), environ={}) == "json"
        lost = journal.lost()
        log = journal.logger()

        log.info("hand.registered", hand="web")
        assert orjson.loads(theirs.recv(4096))["hand"] == "web"
        while journal.lost() == lost:
            log.info("hand.status", hand="web", status="x" * 9000)

        assert ours.getblocking()


def test_a_stderr_that_is_closed_is_counted() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    assert journal.configure(fd=writer, environ={"JOURNAL_STREAM": "1:2"}) == "json"
    lost = journal.lost()

    journal.logger().info("hand.registered", hand="web")

    assert journal.lost() == lost + 1


def test_stderr_that_is_the_journal_is_recognised_by_what_it_is(pipe) -> None:
    found = os.fstat(pipe[1])
    announced = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}

    assert journal.configure(fd=pipe[1], environ=announced) == "journal"
    other = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"}
    assert journal.configure(fd=pipe[1], environ=other) == "json"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    yield master, slave
    os.close(master)
    os.close(slave)


def test_a_terminal_gets_a_coloured_sentence_and_the_other_facts_dimmed(terminal) -> None:
    assert journal.configure(fd=terminal[1], environ={}) == "console"

    journal.logger().warning("hand.ready", hand="web", took_s=0.5, by="REG", pid=5)

    line = os.read(terminal[0], 4096).decode()
    assert line.count("\n") == 1
    assert "\x1b[33mwarning\x1b[0m web: ready after 0.5 s (REG)  \x1b[2mpid=5\x1b[0m" in line


def test_no_color_is_honoured(terminal) -> None:
    journal.configure(fd=terminal[1], environ={"NO_COLOR": "1"})

    journal.logger().info("hand.registered", hand="web")

    assert b"\x1b" not in os.read(terminal[0], 4096)


def test_what_a_hand_says_cannot_play_with_the_terminal(terminal) -> None:
    journal.configure("console", "debug", fd=terminal[1], environ={"NO_COLOR": "1"})

    journal.logger().debug("hand.status", hand="web", status="\x1b[2J\r\nboo", more="\x9b1m")

    line = os.read(terminal[0], 4096)
    assert b"\x1b" not in line
    assert b"web: says \\x1b[2J\\x0d\\x0aboo  more=\\x9b1m" in line


def test_an_exception_on_a_terminal_follows_its_sentence(terminal) -> None:
    journal.configure("console", fd=terminal[1], environ={})

    try:
        {}["the why"]
    except KeyError:
        journal.logger().exception("something.else")

    told = os.read(terminal[0], 65536).decode().splitlines()
    assert told[0].endswith("something.else")
    assert told[1].startswith("Traceback")
    assert told[-1] == "KeyError: 'the why'"


def test_a_style_or_level_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no log style 'yaml': use one of auto, journal"):
        journal.configure("yaml")
    with pytest.raises(ValueError, match="no log level 'loud': use one of debug, info"):
        journal.configure("json", "loud")
