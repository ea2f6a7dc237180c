"""A boss and three hands say to each other what hio's say, word for word, over real sockets."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from hiod.base.multidoing import Bossage, Bosser, Crewer

SESSION = json.loads((Path(__file__).parents[1] / "vectors" / "session.json").read_text())


@pytest.fixture
def head():
    path = tempfile.mkdtemp(prefix="hs", dir="/tmp")
    yield path
    shutil.rmtree(path)


def spoken(memo, head):
    """Give a memo as hio would say it: hiod's numbers are in loads that hio leaves empty."""
    said = json.loads(memo)
    if said["tag"] in {"REG", "END"}:
        assert set(said["load"]) <= {"v", "gen", "seq", "token"}
        said["load"] = {}
    return json.dumps(said, separators=(",", ":")).replace(head, "<HEAD>")


class Recording:
    """Writes down what is said, in the order in which it leaves."""

    heard: list

    def memoit(self, memo, dst, vid=None, key=None):
        self.heard.append((self.name, Path(dst).stem, memo))
        return super().memoit(memo, dst, vid, key)


class Boss(Recording, Bosser):
    pass


class Hand(Recording, Crewer):
    pass


def test_a_session_is_hios_from_the_first_registration_to_the_exits(head):
    heard = []
    Recording.heard = heard
    boss = Boss(name="boss", headDirPath=head)
    boss.side.expected = {"hand0", "hand1", "hand2"}
    boss.enter()
    hands = {
        name: Hand(name=name, boss=Bossage("boss", boss.path), headDirPath=head)
        for name in SESSION["exits"]
    }

    def marked(mark):
        assert (boss.crewed, list(boss.addrByName)) == (mark["crewed"], mark["book"])
        for name, facts in mark["hands"].items():
            hand = hands[name]
            assert hand.registered is facts["registered"]
            assert sorted(hand.addrByName) == sorted(facts["book"])

    for hand, mark in zip(hands.values(), SESSION["marks"], strict=False):
        hand.enter()
        hand.recur(0.0)
        boss.recur(0.0)
        marked(mark)
    for hand in hands.values():
        hand.recur(0.0)
    marked(SESSION["marks"][3])
    hands["hand1"].memoit(heard[2][2], boss.path)
    hands["hand1"].recur(0.0)
    boss.recur(0.0)
    for name in hands:
        boss.memoit(boss.side.end(), boss.getAddr(name))
    boss.recur(0.0)

    for name, facts in SESSION["exits"].items():
        hand = hands[name]
        for _ in range(facts["on_recur_after_end"] - 1):
            assert hand.recur(0.0) is False
        with pytest.raises(SystemExit) as ended:
            hand.recur(0.0)
        assert ended.value.code == facts["system_exit_code"]
        hand.exit()
    boss.exit()
    assert [(sender, to, spoken(memo, head)) for sender, to, memo in heard] == [
        (event["sender"], event["to"], event["memo"]) for event in SESSION["events"]
    ]
