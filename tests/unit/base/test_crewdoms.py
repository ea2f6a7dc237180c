"""The records are hio's on the wire, and say which tags are hio's."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from hiod.base import crewdoms
from hiod.base.crewdoms import Bossage, CrewDom, HandDom, Loadage, Posting, TagDex, TagDomCodex

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "doms.json").read_text(encoding="utf-8")
)
CLASSES = {
    name: getattr(crewdoms, name)
    for name in ("MemoDom", "RegDom", "AddrDom", "AckDom", "EndDom", "BokDom")
}


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS["vectors"] if v["cls"] in CLASSES], ids=lambda v: v["label"]
)
def test_a_record_is_written_byte_for_byte_as_hio_writes_it(vector):
    dom = CLASSES[vector["cls"]]._fromdict(vector["asdict"])

    assert dom._asjson().decode() == vector["json"]
    assert CLASSES[vector["cls"]]._fromjson(vector["json"]) == dom


def test_only_hios_four_tags_are_in_the_codex():
    assert list(TagDex) == ["REG", "ACK", "END", "BOK"]
    assert TagDex["BOK"] is crewdoms.BokDom
    assert TagDomCodex() == TagDex
    with pytest.raises(FrozenInstanceError):
        TagDex.REG = crewdoms.EndDom


def test_what_a_hand_is_started_with_has_hios_names_and_defaults():
    assert HandDom() == HandDom(proc=None, exiting=False)
    assert CrewDom()._asdict() == {
        "name": "child",
        "tyme": 0.0,
        "tock": None,
        "real": True,
        "limit": None,
        "doers": [],
        "temp": False,
        "boss": Bossage(None, None),
    }
    assert Loadage._fields == tuple(CrewDom())


def test_two_crew_records_do_not_share_their_doers():
    first = CrewDom()
    first.doers.append("a")

    assert CrewDom().doers == []


def test_doers_that_know_each_other_still_do_in_what_a_hand_is_started_with():
    crewer = object()
    knows = [crewer]

    doers = CrewDom(doers=[crewer, knows])._asdict()["doers"]

    assert doers[1][0] is doers[0] is crewer


def test_a_posting_is_not_changed_once_made():
    posting = Posting(name="a-1", hand="a", boss=Bossage("boss", "/b"), bossPid=7, addr="/a")

    with pytest.raises(FrozenInstanceError):
        posting.generation = 9
