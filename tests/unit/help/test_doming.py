import json
import sys
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hiod.help import IceMapDom, IceRawDom, RawDom
from hiod.help.doming import MapDom

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "doms.json").read_text())


@dataclass
class RegDom(RawDom):
    tag: str = "REG"
    name: str = "hand"
    load: dict = field(default_factory=dict)


@dataclass
class MemoDom(RegDom):
    pass


@dataclass
class AddrDom(RawDom):
    tag: str = "REG"
    name: str = "hand"
    addr: str = ""


@dataclass
class AckDom(RawDom):
    tag: str = "ACK"
    name: str = "boss"
    load: AddrDom = field(default_factory=AddrDom)


@dataclass
class EndDom(RawDom):
    tag: str = "END"
    name: str = "boss"
    load: dict = field(default_factory=dict)


@dataclass
class BokDom(RawDom):
    tag: str = "BOK"
    name: str = "boss"
    load: dict = field(default_factory=dict)


@dataclass
class HandDom(RawDom):
    proc: Any = None
    exiting: bool = False


@dataclass
class CrewDom(RawDom):
    name: str = "child"
    tyme: float = 0.0
    tock: float | None = None
    real: bool = True
    limit: float | None = None
    doers: list = field(default_factory=list)
    temp: bool | None = False
    boss: tuple = (None, None)


@dataclass(frozen=True)
class Codex(IceMapDom):
    REG: type = RegDom
    END: type = EndDom


@dataclass
class Quoted(RawDom):
    inner: "AddrDom" = field(default_factory=AddrDom)
    needed: "int" = 0


@dataclass
class Needy(RawDom):
    must: int


CLASSES = {cls.__name__: cls for cls in [*RawDom.__subclasses__(), MemoDom]}


def built(vector):
    cls = CLASSES[vector["cls"]]
    dom = cls._fromdict(vector["asdict"])
    if cls is CrewDom:
        dom.boss = tuple(dom.boss)
    return dom


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: v["label"])
def test_a_record_becomes_the_bytes_hio_makes(vector):
    dom = built(vector)

    assert dom._asjson() == vector["json"].encode()
    assert dom._ascbor().hex() == vector["cbor_hex"]
    assert dom._asmgpk().hex() == vector["mgpk_hex"]


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: v["label"])
def test_a_record_comes_back_from_the_bytes_hio_makes(vector):
    cls, expected = CLASSES[vector["cls"]], vector["asdict"]

    assert cls._fromjson(vector["json"])._asdict() == expected
    assert cls._fromjson(vector["json"].encode())._asdict() == expected
    assert cls._fromcbor(bytes.fromhex(vector["cbor_hex"]))._asdict() == expected
    assert cls._frommgpk(bytes.fromhex(vector["mgpk_hex"]))._asdict() == expected


@pytest.mark.parametrize("vector", VECTORS["parse"], ids=lambda v: f"{v['cls']} {v['arg']}")
def test_what_hio_takes_is_taken_and_what_it_refuses_is_refused(vector):
    arg = vector["arg"]
    if isinstance(arg, dict) and set(arg) == {"hex"}:
        arg = bytes.fromhex(arg["hex"])
    build = getattr(CLASSES[vector["cls"]], vector["how"])
    result = vector["result"]

    if not result["ok"]:
        with pytest.raises(ValueError if result["is_value_error"] else Exception):
            build(arg)
        return
    dom = build(arg)

    assert dom._asdict() == result["repr_fields"]
    assert type(dom.load).__name__ == result["load_type"]


def test_fields_are_items_and_iteration_gives_their_names():
    dom = RegDom(name="a")

    dom["name"] = "b"
    dom["extra"] = 1

    assert dom["name"] == dom.name == "b"
    assert dom["extra"] == 1
    assert list(dom) == ["tag", "name", "load"]
    assert "tag" in dom
    assert "extra" not in dom
    with pytest.raises(IndexError, match="RegDom has no 'zz'"):
        dom["zz"]
    with pytest.raises(IndexError, match="RegDom has no 5"):
        dom[5]
    with pytest.raises(IndexError, match="RegDom cannot hold 5"):
        dom[5] = 1


def test_update_takes_a_mapping_pairs_and_keywords():
    dom = RegDom()

    dom._update({"tag": "X"}, name="y")
    dom._update([("load", {"z": 1})])

    assert dom == RegDom("X", "y", {"z": 1})
    with pytest.raises(TypeError, match="at most 1"):
        dom._update({}, {})


def test_a_record_equals_another_of_its_class_and_fields_only():
    assert RegDom() == RegDom()
    assert RegDom() != MemoDom()
    with pytest.raises(TypeError):
        hash(RegDom())


def test_a_frozen_record_hashes_and_cannot_be_set():
    codex = Codex()

    assert hash(codex) == hash(Codex())
    assert codex["REG"] is RegDom
    assert "END" in codex
    assert "ABC" not in codex
    assert codex._asdict() == {"REG": RegDom, "END": EndDom}
    with pytest.raises(AttributeError):
        codex.REG = EndDom
    assert not hasattr(codex, "__setitem__")


def test_nested_records_name_tuples_and_plain_tuples_become_plain_data():
    pair = namedtuple("pair", "a b")  # noqa: PYI024 - the untyped kind is what hio's users have
    dom = HandDom(proc=[pair(AddrDom(), 2), (AddrDom(), 3)])

    assert dom._asdict()["proc"][0] == pair(AddrDom()._asdict(), 2)
    assert dom._astuple() == ([pair(AddrDom()._asdict(), 2), (AddrDom()._asdict(), 3)], False)
    assert json.loads(dom._asjson())["proc"][0] == [AddrDom()._asdict(), 2]


def test_what_only_the_slow_writer_can_write_is_written():
    assert HandDom(proc=1 << 70)._asjson() == b'{"proc":%d,"exiting":false}' % (1 << 70)
    assert HandDom(proc={1: 2})._asjson() == b'{"proc":{"1":2},"exiting":false}'
    with pytest.raises(TypeError):
        HandDom(proc=object())._asjson()


def test_fields_declared_by_quoted_names_are_built_too():
    dom = Quoted._fromdict({"inner": {"addr": "/a"}, "needed": 2})

    assert dom == Quoted(AddrDom(addr="/a"), 2)
    assert Quoted._fromdict({"inner": AddrDom(addr="/b")}).inner == AddrDom(addr="/b")


def test_a_missing_required_field_is_a_value_error():
    with pytest.raises(ValueError, match="cannot build Needy"):
        Needy._fromdict({})


def test_a_class_may_take_over_both_ways():
    @dataclass
    class Own(RawDom):
        inner: int = 0

        @classmethod
        def _datify(cls, d):
            return cls(d["x"])

        def _dictify(self):
            return {"x": self.inner}

    assert Own._fromdict({"x": 7}) == Own(7)
    assert Own(7)._asdict() == {"x": 7}


def test_a_frozen_raw_record_serialises():
    @dataclass(frozen=True)
    class Ice(IceRawDom):
        a: int = 1

    assert Ice._fromjson(Ice(2)._asjson()) == Ice(2)


@pytest.mark.parametrize(
    ("codec", "extra", "write", "read"),
    [("cbor2", "cbor", "_ascbor", "_fromcbor"), ("msgpack", "mgpk", "_asmgpk", "_frommgpk")],
)
def test_a_codec_that_is_not_installed_is_named_with_its_extra(
    monkeypatch, codec, extra, write, read
):
    monkeypatch.setitem(sys.modules, codec, None)

    for call in (getattr(RegDom(), write), lambda: getattr(RegDom, read)(b"")):
        with pytest.raises(ImportError, match=rf"{codec} is not installed.*hiod\[{extra}\]"):
            call()


def test_a_plain_map_record_has_no_bytes():
    @dataclass
    class Plain(MapDom):
        a: int = 1

    assert Plain()._asdict() == {"a": 1}
    assert not hasattr(Plain(), "_asjson")
