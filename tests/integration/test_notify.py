from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hiod.host import notify as notifying
from hiod.host.notify import Notify, listen_fds

if TYPE_CHECKING:
    from collections.abc import Iterator


class Manager:
    """The service manager's end of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.settimeout(20)

    def read(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def read_fds(self) -> tuple[list[str], list[int]]:
        data, fds, _, _ = socket.recv_fds(self.socket, 4096, 16)
        return data.decode().split("\n"), fds

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="hn"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=["path", "abstract"])
def manager(request, directory: Path) -> Iterator[Manager]:
    name = f"{directory}/notify"
    made = Manager(name if request.param == "path" else f"@{name}")
    yield made
    made.close()


@pytest.fixture
def notify(manager: Manager) -> Iterator[Notify]:
    made = Notify({"NOTIFY_SOCKET": manager.address})
    yield made
    made.close()


def test_the_life_cycle_is_told_in_order(manager: Manager, notify: Notify) -> None:
    assert notify
    assert notify.ready("8 hands")
    assert notify.reloading()
    assert notify.ready()
    assert notify.status("one\nline  only")
    assert notify.status("")
    assert notify.watchdog()
    assert notify.extend_timeout(1.5)
    assert notify.main_pid(7)
    assert notify.unstore("web")
    assert notify.stopping("asked")

    assert manager.read() == ["READY=1", "STATUS=8 hands"]
    reloading, at = manager.read()
    assert reloading == "RELOADING=1"
    assert at.startswith("MONOTONIC_USEC=")
    assert int(at[15:]) > 0
    assert manager.read() == ["READY=1"]
    assert manager.read() == ["STATUS=one line only"]
    assert manager.read() == ["STATUS="]
    assert manager.read() == ["WATCHDOG=1"]
    assert manager.read() == ["EXTEND_TIMEOUT_USEC=1500000"]
    assert manager.read() == ["MAINPID=7"]
    assert manager.read() == ["FDSTOREREMOVE=1", "FDNAME=web"]
    assert manager.read() == ["STOPPING=1", "STATUS=asked"]
    assert notify.unsent == 0


def test_descriptors_go_to_the_store_under_a_name(manager: Manager, notify: Notify) -> None:
    reader, writer = os.pipe()

    assert notify.store("web", [reader, writer])
    assert notify.store("db", [reader], poll=False)
    os.close(reader)
    os.close(writer)

    words, fds = manager.read_fds()
    assert words == ["FDSTORE=1", "FDNAME=web"]
    os.write(fds[1], b"still one pipe")
    assert os.read(fds[0], 100) == b"still one pipe"
    words, more = manager.read_fds()
    assert words == ["FDSTORE=1", "FDNAME=db", "FDPOLL=0"]
    for fd in (*fds, *more):
        os.close(fd)


def test_a_barrier_opens_when_the_manager_has_read_it(manager: Manager, notify: Notify) -> None:
    notify.stopping()
    fd = notify.barrier()
    assert fd is not None
    poll = select.poll()
    poll.register(fd)

    assert poll.poll(0) == []
    manager.read()
    words, fds = manager.read_fds()
    assert words == ["BARRIER=1"]
    assert poll.poll(0) == []
    os.close(fds[0])

    assert poll.poll(20_000) == [(fd, select.POLLHUP)]
    os.close(fd)


def test_the_variables_are_taken_out_of_the_environment() -> None:
    environ = {
        "NOTIFY_SOCKET": "/none",
        "WATCHDOG_USEC": "2000000",
        "WATCHDOG_PID": "42",
        "LANG": "C",
    }

    notify = Notify(environ, pid=42)

    assert environ == {"LANG": "C"}
    assert notify.watchdog_s == 2.0


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "43"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {},
    ],
)
def test_a_watchdog_that_is_not_meant_for_us_is_none(environ: dict[str, str]) -> None:
    assert Notify({"NOTIFY_SOCKET": "/none", **environ}, pid=42).watchdog_s is None


@pytest.mark.parametrize("address", ["", "vsock:2:9", "relative"])
def test_without_a_manager_nothing_is_done(address: str) -> None:
    notify = Notify({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"})

    assert not notify
    assert not notify.ready()
    assert not notify.watchdog()
    assert not notify.store("web", [0])
    assert notify.barrier() is None
    assert notify.watchdog_s is None
    assert notify.unsent == 0
    notify.close()


def test_a_manager_that_is_not_there_is_counted_and_raises_nothing(directory: Path) -> None:
    notify = Notify({"NOTIFY_SOCKET": f"{directory}/none"})

    assert notify
    assert not notify.ready()
    assert notify.barrier() is None
    assert notify.unsent == 2


def test_a_manager_that_was_restarted_is_found_again(directory: Path) -> None:
    address = f"{directory}/notify"
    first = Manager(address)
    notify = Notify({"NOTIFY_SOCKET": address})
    assert notify.watchdog()
    first.close()
    Path(address).unlink()
    assert not notify.watchdog()

    second = Manager(address)
    assert notify.watchdog()

    assert second.read() == ["WATCHDOG=1"]
    second.close()
    notify.close()


def fill(notify: Notify) -> int:
    """Send until the manager's queue takes no more."""
    sent = 0
    while notify.watchdog():
        sent += 1
    return sent


def test_a_manager_that_does_not_read_stops_nobody(
    manager: Manager, notify: Notify, monkeypatch
) -> None:
    monkeypatch.setattr(notifying, "PATIENCE_S", 0.02)
    fill(notify)

    assert not notify.status("lost")
    assert not notify.ready()

    assert notify.unsent == 3


def test_words_that_a_start_hangs_on_wait_a_moment_for_room(
    manager: Manager, notify: Notify, monkeypatch
) -> None:
    monkeypatch.setattr(notifying, "PATIENCE_S", 20.0)
    sent = fill(notify)
    read = []

    class Poll:
        """The manager reads while we wait."""

        def register(self, *_: object) -> None:
            read.append(manager.read())

        def poll(self, _: float) -> list[int]:
            return [1]

    monkeypatch.setattr(notifying.select, "poll", Poll)
    assert notify.ready()

    assert read
    rest = [manager.read() for _ in range(sent + 1 - len(read))]
    assert rest[-1] == ["READY=1"]


@pytest.fixture
def passed(monkeypatch) -> Iterator[list[int]]:
    """Three descriptors in a row, as a manager passes them from 3 on."""
    base = 200
    for fd in range(base, base + 3):
        os.dup2(0, fd, inheritable=True)
    monkeypatch.setattr(notifying, "FIRST_FD", base)
    yield [base, base + 1, base + 2]
    for fd in range(base, base + 3):
        os.close(fd)


def test_passed_descriptors_come_by_name_and_close_on_exec(passed: list[int]) -> None:
    environ = {"LISTEN_PID": "42", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "admin:web:web"}

    found = listen_fds(environ, pid=42)

    assert found == {"admin": passed[0], "web": passed[1], "web#2": passed[2]}
    assert not any(os.get_inheritable(fd) for fd in passed)
    assert environ == {}


def test_passed_descriptors_without_names_are_not_lost(passed: list[int]) -> None:
    found = listen_fds({"LISTEN_PID": "42", "LISTEN_FDS": "2", "LISTEN_PIDFDID": "9"}, pid=42)

    assert found == {"unknown": passed[0], "unknown#2": passed[1]}


def test_a_descriptor_that_is_announced_and_not_there_is_left_out(passed: list[int]) -> None:
    environ = {"LISTEN_PID": "42", "LISTEN_FDS": "5", "LISTEN_FDNAMES": "a:b:c:d"}

    assert listen_fds(environ, pid=42) == {"a": passed[0], "b": passed[1], "c": passed[2]}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "43", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "42", "LISTEN_FDS": "many"},
    ],
)
def test_descriptors_meant_for_another_process_are_not_touched(
    environ: dict[str, str], passed: list[int]
) -> None:
    assert listen_fds(environ, pid=42) == {}

    assert environ == {}
    assert all(os.get_inheritable(fd) for fd in passed)
