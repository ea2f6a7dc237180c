"""Control groups: whose they are. What they do is shown under a real systemd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hiod.host.groups import Groups, find


def test_a_boss_that_systemd_did_not_start_divides_nothing() -> None:
    found = find({"SYSTEMD_EXEC_PID": str(os.getpid() + 1), "MANAGERPID": "1"})

    assert not found
    assert found.launcher is None
    assert found.hand("web") is None


def test_the_layout_is_made_once_and_a_hand_s_group_goes_with_it(tmp_path) -> None:
    (tmp_path / "boss").mkdir()  # of a boss before this one
    groups = Groups(tmp_path)

    groups.settle()
    groups.make("web")
    groups.make("web")

    assert (tmp_path / "boss/cgroup.procs").read_text() == "0"
    assert groups.launcher == str(tmp_path / "launcher")
    assert groups.hand("web") == str(tmp_path / "hands/web")
    assert (tmp_path / "hands/web").is_dir()
    groups.drop("web")
    groups.drop("web")
    assert not (tmp_path / "hands/web").exists()


def test_a_group_that_is_not_empty_yet_goes_later(tmp_path) -> None:
    (tmp_path / "hands/of-an-earlier-boss").mkdir(parents=True)
    groups = Groups(tmp_path)
    groups.settle()
    groups.make("web")
    (tmp_path / "hands/web/busy").touch()
    groups.drop("web")
    still_there = (tmp_path / "hands/web").exists()
    (tmp_path / "hands/web/busy").unlink()

    groups.make("db")

    assert still_there
    assert [folder.name for folder in (tmp_path / "hands").iterdir()] == ["db"]


def test_a_group_that_may_not_be_divided_says_so() -> None:
    with pytest.raises(OSError, match="No such file"):
        Groups(Path("/nonexistent/group")).settle()
