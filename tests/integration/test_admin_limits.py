"""What ``about`` says the admin socket takes is what a real boss takes, from real users."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import wait_until

from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.boss import Boss

pytest_plugins = ("support.boss",)

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
ADMIN, READERS, LATE = 5001, (5101, 5102, 5103, 5104), 5105


@pytest.fixture(scope="module")
def crew(module_boss: Boss) -> Boss:
    boss = module_boss
    boss.crew('[hand.a]\ndoers = []\n[hand.b]\ncommand = ["sleep", "1000"]\n')
    readers = [str(uid) for uid in (*READERS, LATE)]
    boss.config.joinpath("hiod.toml").write_text(
        f'[admin]\nadmin = ["{ADMIN}"]\nread = {readers}\n'
    )
    for folder in (boss.home, boss.home.parent):
        if folder.name.startswith("hiod-") or folder is boss.home:
            folder.chmod(0o755)
    boss.start()
    boss.until("a", state="ready")
    boss.admin_socket.chmod(0o666)
    return boss


class Line:
    """One connection."""

    def __init__(self, boss: Boss, uid: int | None) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        if uid is not None:
            os.setegid(uid)
            os.seteuid(uid)
        try:
            self.sock.connect(str(boss.admin_socket))
        finally:
            if uid is not None:
                os.seteuid(0)
                os.setegid(0)
        self.file = self.sock.makefile("rb")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.say(method, **parameters)
        return self.hear()

    def say(self, method: str, **parameters: Any) -> None:
        text = json.dumps({"method": method, "parameters": parameters})
        self.sock.sendall(text.encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        return dict(json.loads(self.file.readline()))

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@pytest.fixture
def lines(crew: Boss) -> Iterator[Callable[..., Line]]:
    """Make connections that are closed, and forgotten by the boss, when the test is over."""
    made: list[Line] = []
    crew.client.close()

    def line(uid: int | None = None) -> Line:
        made.append(Line(crew, uid))
        return made[-1]

    yield line
    for one in made:
        with contextlib.suppress(OSError):
            one.close()

    def alone() -> bool:
        with contextlib.suppress(AdminError):  # Busy, as long as it has not seen all of them go
            return bool(crew.ask("about")["figures"]["connections"] == 1)
        return False

    wait_until(alone)


def busy(answer: dict[str, Any]) -> bool:
    return answer.get("error") == "io.hiod.Boss.Busy"


@as_root
def test_a_user_has_its_connections_and_others_have_theirs(crew: Boss, lines: Callable[..., Line]):
    most = crew.ask("about")["limits"]["connections_per_uid"]
    crew.client.close()
    mine = [lines(READERS[0]) for _ in range(most)]
    assert not any(busy(one.ask("ping")) for one in mine)

    late = lines(READERS[0])

    assert busy(late.ask("ping"))
    assert late.file.read() == b""
    assert not busy(lines(READERS[1]).ask("ping"))
    assert not any(busy(one.ask("ping")) for one in mine)


@as_root
def test_some_connections_are_kept_for_admins_when_all_others_are_taken(
    crew: Boss, lines: Callable[..., Line]
):
    limits = crew.ask("about")["limits"]
    crew.client.close()
    wait_until(lambda: lines().ask("about")["parameters"]["figures"]["connections"] >= 1)
    free = limits["connections"] - limits["kept_for_admins"] - 1  # that one stays
    taken = [lines(READERS[n % len(READERS)]) for n in range(free)]
    assert not any(busy(one.ask("ping")) for one in taken)

    assert all(busy(lines(uid).ask("ping")) for uid in READERS)
    kept = [lines(ADMIN).ask("list") for _ in range(limits["kept_for_admins"])]
    assert not any(busy(answer) for answer in kept)
    assert busy(lines(ADMIN).ask("ping"))


@as_root
def test_noise_gives_way_to_whoever_comes_when_all_connections_are_taken(
    crew: Boss, lines: Callable[..., Line]
):
    limits = crew.ask("about")["limits"]
    crew.client.close()
    wait_until(lambda: lines().ask("about")["parameters"]["figures"]["connections"] >= 1)
    free = limits["connections"] - limits["kept_for_admins"] - 1
    taken = [lines(READERS[n % len(READERS)]) for n in range(free)]
    for n, one in enumerate(taken):
        if n:
            one.sock.sendall(b"noise\n")
            assert one.hear()["parameters"]["code"] == "json"
        else:
            assert not busy(one.ask("ping"))

    assert not busy(lines(LATE).ask("list"))

    assert taken[1].file.read() == b""
    assert not busy(taken[0].ask("ping"))
    assert not busy(taken[2].ask("ping"))


def test_the_longest_message_is_taken_and_a_longer_one_is_skipped(
    crew: Boss, lines: Callable[..., Line]
):
    most = crew.ask("about")["limits"]["request_bytes"]
    line = lines()
    around = len(b'{"method":"ping","id":""}')
    for length in (most, most + 1):
        line.sock.sendall(b'{"method":"ping","id":"%s"}\n' % (b"x" * (length - around)))

    assert len(line.hear()["id"]) == most - around
    assert line.hear() == {"error": "io.hiod.Boss.TooLarge", "parameters": {"limit": most}}
    assert line.ask("ping") == {"parameters": {}}


def test_the_deepest_message_is_taken_and_a_deeper_one_is_not(
    crew: Boss, lines: Callable[..., Line]
):
    most = crew.ask("about")["limits"]["nesting"]
    line = lines()
    for deep in (most - 1, most):
        line.sock.sendall(b'{"method":"ping","id":' + b"[" * deep + b"]" * deep + b"}\n")

    assert "error" not in line.hear()
    assert line.hear()["parameters"]["code"] == "nesting"


def test_what_comes_faster_than_it_is_taken_waits_and_is_answered_in_order(
    crew: Boss, lines: Callable[..., Line]
):
    queued = crew.ask("about")["limits"]["queued"]
    line = lines()
    count = 100 * queued
    line.sock.sendall(b"".join(b'{"method":"ping","id":%d}\n' % n for n in range(count)))

    assert [line.hear()["id"] for _ in range(count)] == list(range(count))


def test_who_reads_nothing_is_cut_off_and_nobody_else_is(crew: Boss, lines: Callable[..., Line]):
    deaf, other = lines(), lines()
    deaf.sock.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        while True:
            deaf.sock.sendall(b'{"method":"list"}\n' * 1000)

    def cut() -> bool:
        figures = other.ask("about")["parameters"]["figures"]
        return bool(figures["cut"].get("slow reader"))

    wait_until(cut, 20)
    assert other.ask("ping") == {"parameters": {}}
    assert crew.row("a")["state"] == "ready"
