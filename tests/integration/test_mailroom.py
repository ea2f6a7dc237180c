"""The mailboxes of a boss, on real sockets."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from hiod.base.crewing import tojson
from hiod.boss.mailroom import FILES_A_HAND, Mailroom, most_mailboxes
from hiod.core.memo.gramming import cut
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


MID = b"0A" + b"A" * 22


@pytest.mark.parametrize("curt", [False, True])
@pytest.mark.parametrize(
    ("memos", "count"),
    [
        ([], 0),
        (["hello", "x" * 400, "y"], 3),
        ([tojson({"tag": "NEWS", "load": {}}), tojson({"tag": "NEWS", "load": "n" * 500})], 2),
        ([tojson({"tag": "END", "load": {}}), tojson({"tag": "BOK", "load": "b" * 500}), "hi"], 1),
        (["{", '{"tag":"'], 2),
    ],
)
def test_memos_are_counted_that_somebody_wrote_to_a_hand_and_not_what_hiod_tells_it(
    folder: Path, memos: list[str], count: int, curt: bool
) -> None:
    mailroom = Mailroom(folder, files=64)
    mailroom.bind("a")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as writer:
        for memo in memos:
            for gram in cut(memo.encode(), MID, "bAAA", 128, curt=curt):
                writer.sendto(gram, mailroom.path("a"))
        writer.sendto(b"no gram", mailroom.path("a"))

    assert mailroom.empty("a") == count
    assert not mailroom.has_mail("a")
    mailroom.close()
