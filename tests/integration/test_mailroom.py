"""The mailboxes of a boss, on real sockets."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from hiod.boss.mailroom import FILES_A_HAND, Mailroom, most_mailboxes
from hiod.errors import SpawnError


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="hi", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("files", [64, 1024, 4096, 20_000])
def test_hands_leave_descriptors_for_those_who_call_the_boss(files: int) -> None:
    left = files - FILES_A_HAND * most_mailboxes(files)
    assert left >= min(files // 2, 160)


def test_a_boss_without_descriptors_for_one_more_hand_says_what_would_do(folder: Path) -> None:
    mailroom = Mailroom(folder, files=16)
    mailroom.bind("a")
    mailroom.bind("b")

    with pytest.raises(SpawnError, match=r"may open 16 files.* 2 hands.*LimitNOFILE") as refused:
        mailroom.bind("c")
    assert refused.value.step == "mailbox"
    assert "c" not in mailroom

    mailroom.bind("b")  # has its own already
    mailroom.drop("a")
    mailroom.bind("c")
    mailroom.close()
