"""What is read from a hand's NOTIFY_SOCKET, and what a knock finds out."""

from __future__ import annotations

import os
import select
import socket
from contextlib import closing, suppress
from pathlib import Path

import pytest

from hiod.errors import SizeError
from hiod.host.notifying import Ear, Knock, Notice, doors

pytest_plugins = ("support.rundir",)


@pytest.fixture
def ear(rundir):
    """Give an ear at a path, closed afterwards."""
    with closing(Ear(str(rundir / "e.nfy"))) as ear:
        yield ear


@pytest.fixture
def say(ear):
    """Send datagrams to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(ear.path)
        yield sock


def me(**fields):
    """Return a notice of this process."""
    return Notice(os.getpid(), os.getuid(), fields)


def test_each_datagram_is_a_notice_of_whom_the_kernel_says(ear, say):
    say.send(b"READY=1\nSTATUS=a=b\n")
    say.send(b"WATCHDOG=1")

    assert ear.take(9) == [me(READY="1", STATUS="a=b"), me(WATCHDOG="1")]
    assert ear.take(9) == []


@pytest.mark.parametrize("data", [b"", b"READY", b"\n\n", b"STATUS=" + b"x" * 4090])
def test_what_makes_no_sense_is_none(ear, say, data):
    say.send(data)

    assert ear.take(9) == [None]


def test_no_more_is_taken_than_asked_for(ear, say):
    for _ in range(3):
        say.send(b"A=1")

    assert len(ear.take(2)) == 2
    assert len(ear.take(2)) == 1


def test_a_barrier_opens_when_it_is_answered_and_nothing_sent_is_kept(ear, say):
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader, writer = os.pipe()
    socket.send_fds(say, [b"BARRIER=1"], [writer, writer, writer])
    os.close(writer)

    ear.take(9)
    assert not select.select((reader,), (), (), 0)[0]
    ear.answer()

    assert select.select((reader,), (), (), 0)[0]
    os.close(reader)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_socket_that_was_held_goes_on_where_it_was(ear, say):
    say.send(b"READY=1")

    with closing(Ear(ear.path, os.dup(ear.fileno()))) as again:
        assert again.take(9) == [me(READY="1")]


def test_a_path_that_no_socket_can_have_is_refused(rundir):
    with pytest.raises(SizeError):
        Ear(str(rundir / ("x" * 100)))


# ---------------------------------------------------------------------------- knocking


def test_a_listener_answers_at_once_or_soon():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with Knock(socket.AF_INET, listener.getsockname()) as knock:
            if knock.answered is None:
                select.select((), (knock,), (), 5)
            assert knock.look() is True


def test_a_port_nobody_listens_at_does_not_answer():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with Knock(socket.AF_INET, bound.getsockname()) as knock:
            if knock.answered is None:
                select.select((), (knock,), (), 5)
            assert knock.look() is False


def test_a_path_answers_once_somebody_listens(rundir):
    path = str(rundir / "s")
    with Knock(socket.AF_UNIX, path) as knock:
        assert knock.look() is False
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        with Knock(socket.AF_UNIX, path) as knock:
            assert knock.look() is False
        listener.listen()
        with Knock(socket.AF_UNIX, path) as knock:
            assert knock.look() is True


def test_a_full_queue_is_no_answer_and_does_not_block(rundir):
    path = str(rundir / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        knocks = [Knock(socket.AF_UNIX, path) for _ in range(3)]

        assert [knock.look() for knock in knocks][-1] is False
        for knock in knocks:
            knock.close()


@pytest.mark.parametrize("address", ["/" + "x" * 200, "/a\0b"])
def test_an_address_no_socket_can_have_is_no_answer(address):
    with Knock(socket.AF_UNIX, address) as knock:
        assert knock.look() is False


def test_to_reach_oneself_is_no_answer():
    with socket.socket() as myself:
        myself.bind(("127.0.0.1", 0))
        knock = Knock(socket.AF_INET, ("127.0.0.1", 1))
        knock.close()
        # TCP connects a socket to itself when it is told its own address.
        with suppress(BlockingIOError):
            myself.connect(myself.getsockname())
        knock._sock, knock.answered = myself, None

        assert knock.look() is False


@pytest.mark.parametrize(
    ("to", "pair", "expected"),
    [
        ("/run/x", None, [(socket.AF_UNIX, "/run/x")]),
        ("127.0.0.2:80", ("127.0.0.2", 80), [(socket.AF_INET, ("127.0.0.2", 80))]),
        ("[::1]:80", ("::1", 80), [(socket.AF_INET6, ("::1", 80))]),
        (
            "localhost:80",
            ("localhost", 80),
            [(socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("::1", 80))],
        ),
    ],
)
def test_where_to_knock_needs_no_looking_up(to, pair, expected):
    assert doors(to, pair) == expected
