from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.lives import spec

from hiod.boss.places import PATH_BYTES, Places, resolve
from hiod.errors import SizeError

ROOM = Places(Path("/c"), Path("/r"), Path("/s"))


@pytest.fixture
def uid(monkeypatch: pytest.MonkeyPatch):
    def become(number: int) -> None:
        monkeypatch.setattr(os, "getuid", lambda: number)

    return become


def test_root_has_the_systems_places(uid) -> None:
    uid(0)

    assert resolve({}) == Places(Path("/etc/hiod"), Path("/run/hiod"), Path("/var/lib/hiod"))


@pytest.mark.parametrize(("number", "user"), [(1000, False), (0, True)])
def test_everybody_else_has_their_own(uid, number: int, user: bool) -> None:
    uid(number)

    found = resolve({"HOME": "/home/ann", "XDG_RUNTIME_DIR": "/run/user/1000"}, user=user)

    assert found.config == Path("/home/ann/.config/hiod")
    assert found.runtime == Path("/run/user/1000/hiod")
    assert found.state == Path("/home/ann/.local/state/hiod")


def test_xdg_says_where_a_users_places_are(uid) -> None:
    uid(1000)
    environ = {"HOME": "/home/ann", "XDG_CONFIG_HOME": "/x/c", "XDG_STATE_HOME": "/x/s"}

    found = resolve(environ)

    assert (found.config, found.state) == (Path("/x/c/hiod"), Path("/x/s/hiod"))
    assert found.runtime == Path("/tmp/hiod-1000/hiod")


def test_the_service_managers_directories_come_before_the_usual_ones(uid) -> None:
    uid(0)
    environ = {
        "CONFIGURATION_DIRECTORY": "/a",
        "RUNTIME_DIRECTORY": "/b:/more",
        "STATE_DIRECTORY": "/c",
    }

    assert resolve(environ) == Places(Path("/a"), Path("/b"), Path("/c"))


def test_flags_come_before_all_and_are_made_absolute(uid) -> None:
    uid(0)

    found = resolve({"RUNTIME_DIRECTORY": "/b"}, config="/1", runtime="2/../3", state="/4")

    assert found == Places(Path("/1"), Path.cwd() / "3", Path("/4"))


def test_everything_has_its_place() -> None:
    assert [
        str(path)
        for path in (
            ROOM.admin_socket,
            ROOM.boss_socket,
            ROOM.mailboxes,
            ROOM.database,
            ROOM.logs,
            ROOM.hand_state("web-0"),
        )
    ] == ["/r/admin.sock", "/r/boss.uxd", "/r/m", "/s/hiod.db", "/s/log", "/s/hands/web-0"]


@pytest.mark.parametrize(("over", "fits"), [(0, True), (1, False)])
def test_a_mailbox_has_at_most_the_systems_length(over: int, fits: bool) -> None:
    rest = len("/m/web-9.uxd")
    room = Places(Path("/c"), Path("/" + "r" * (PATH_BYTES - rest - 1 + over)), Path("/s"))

    why = room.too_long(spec("web", count=10))

    assert (why is None) == fits
    assert fits or "would have 108 bytes, the system takes 107" in why


def test_letters_of_more_than_one_byte_count_as_such() -> None:
    room = Places(Path("/c"), Path("/" + "ä" * 49), Path("/s"))

    assert room.too_long(spec("a")) is None
    assert room.too_long(spec("abcd")) is not None


def test_a_runtime_directory_that_fits_nobody_is_refused_before_anything_is_made() -> None:
    room = Places(Path("/c"), Path("/proc/" + "r" * 91), Path("/s"))

    with pytest.raises(SizeError, match=r"would have 108 bytes .* takes 107"):
        room.make()
