from __future__ import annotations

import grp
import pwd
from types import SimpleNamespace

import pytest

from hiod.admin.access import Access, Caller

PEOPLE = {"alice": 1000, "bob": 1001}
GROUPS = {"hiod": 27, "ops": 28}


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    def user(uid: int) -> SimpleNamespace:
        return SimpleNamespace(pw_name={number: name for name, number in PEOPLE.items()}[uid])

    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=PEOPLE[name]))
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=GROUPS[name]))
    monkeypatch.setattr(pwd, "getpwuid", user)


def test_root_and_the_boss_are_admins_whatever_the_lists_say() -> None:
    access = Access(read=["alice"], boss_uid=1000)
    assert access.role(0, ()) == "admin"
    assert access.role(1000, ()) == "admin"


def test_whoever_is_on_no_list_may_nothing() -> None:
    assert Access(admin=["alice"], boss_uid=5).role(1001, (1001,)) == "none"


def test_users_and_groups_are_taken_by_name_and_by_number() -> None:
    access = Access(admin=["alice"], operate=["@ops", "2000"], read=["@99"], boss_uid=5)
    assert access.role(1000, ()) == "admin"
    assert access.role(1001, (1001, 28)) == "operate"
    assert access.role(2000, ()) == "operate"
    assert access.role(3000, (99,)) == "read"


def test_the_most_that_any_list_gives_counts() -> None:
    access = Access(admin=["@hiod"], operate=["bob"], read=["bob", "@ops"], boss_uid=5)
    assert access.role(1001, (28,)) == "operate"
    assert access.role(1001, (28, 27)) == "admin"


def test_a_user_is_not_a_group_of_the_same_number() -> None:
    assert Access(admin=["1000"], boss_uid=5).role(7, (1000,)) == "none"


def test_entries_that_name_nobody_admit_nobody_and_are_kept_for_telling() -> None:
    access = Access(admin=["@nowhere", "nobody-at-all"], boss_uid=5)
    assert access.unknown == ["@nowhere", "nobody-at-all"]
    assert access.role(1000, (27,)) == "none"


def test_a_caller_without_a_name_is_called_by_its_number() -> None:
    assert Caller(1000, 1, 2, frozenset(), "read").user == "alice"
    assert Caller(77, 1, 2, frozenset(), "read").user == "77"


def test_who_has_a_role_is_told_as_hiod_toml_says_it_and_without_those_that_are_nobody() -> None:
    access = Access(["@0"], ["1", "@no-such"], ["2", "1"], boss_uid=1)

    assert access.admits("admin") == ["@0"]
    assert access.admits("operate") == ["1", "@0"]
    assert access.admits("read") == ["2", "1", "@0"]
