"""The classes hio's users know are here, under the same names, signatures and bases."""

import dataclasses
import inspect

import pytest

from hiod.base import multidoing
from hiod.base.doing import Doer
from hiod.core.uxd.peermemoing import PeerMemoer
from hiod.help import IceMapDom, Namer, RawDom

MODULE = multidoing

RECORDS = {
    "HandDom": {"proc": None, "exiting": False},
    "CrewDom": {
        "name": "child",
        "tyme": 0.0,
        "tock": None,
        "real": True,
        "limit": None,
        "doers": [],
        "temp": False,
        "boss": (None, None),
    },
    "MemoDom": {"tag": "REG", "name": "hand", "load": {}},
    "RegDom": {"tag": "REG", "name": "hand", "load": {}},
    "AddrDom": {"tag": "REG", "name": "hand", "addr": ""},
    "AckDom": {"tag": "ACK", "name": "boss", "load": multidoing.AddrDom()},
    "EndDom": {"tag": "END", "name": "boss", "load": {}},
    "BokDom": {"tag": "BOK", "name": "boss", "load": {}},
}

CODEX = {"REG": "RegDom", "ACK": "AckDom", "END": "EndDom", "BOK": "BokDom"}

CLASSES = {
    "MultiDoerBase": (
        (Namer, PeerMemoer, Doer),
        "*, name='base', temp=False, reopen=False, bc=4, **kwa",
    ),
    "Bosser": ("MultiDoerBase", "*, name='boss', loads=None, **kwa"),
    "Crewer": ("MultiDoerBase", "*, name='crew', boss=None, **kwa"),
}

START = (
    "*, name='crew', tyme=0.0, tock=None, real=True, limit=None, doers=None, temp=None, boss=None"
)

METHODS = {
    "MultiDoerBase": {
        "enter": "self, *, temp=None",
        "recur": "self, tyme",
        "tojson": "d",
        "clean": "self",
        "close": None,
        "do": None,
        "wind": None,
        "clearAllNameAddr": "self",
        "getAddr": "self, name",
        "getName": "self, addr",
        "addNameAddr": "self, name, addr",
        "remNameAddr": "self, name=None, addr=None",
        "changeAddrAtName": None,
        "changeNameAtAddr": None,
    },
    "Bosser": {
        "enter": "self, *, temp=None",
        "recur": "self, tyme",
        "exit": "self",
        "cease": "self",
        "abort": "self, ex",
        "serviceRxMemos": "self",
        "start": START,
    },
    "Crewer": {
        "enter": "self, *, temp=None",
        "recur": "self, tyme",
        "exit": "self",
        "cease": "self",
        "abort": "self, ex",
        "serviceRxMemos": "self",
    },
}

ATTRIBUTES = {
    "MultiDoerBase": {
        "done": None,
        "opts": {},
        "name": "base",
        "temp": False,
        "bc": 4,
        "logger": None,
        "graceful": False,
        "tyme": None,
        "tymth": None,
        "tock": 0.0,
        "addrByName": {},
        "nameByAddr": {},
        "countNameAddr": 0,
        "path": None,
        "opened": False,
        "size": 65535,
        "bs": 262140,
        "curt": False,
        "code": "bAAA",
        "authic": False,
        "umask": None,
    },
    "Bosser": {"name": "boss", "loads": [], "ctx": None, "crew": {}, "crewed": False},
    "Crewer": {"name": "crew", "boss": (None, None), "registered": False},
}

PAIRS = [(cls, name, text) for cls, methods in METHODS.items() for name, text in methods.items()]


def written(function):
    """Write a signature without its annotations."""
    signature = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(bare))[1:-1]


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_its_fields_and_defaults_in_order(name):
    cls = getattr(MODULE, name)

    assert cls.__bases__ == (RawDom,)
    assert [field.name for field in dataclasses.fields(cls)] == list(RECORDS[name])
    assert {field: getattr(cls(), field) for field in RECORDS[name]} == RECORDS[name]


def test_the_codex_holds_the_four_control_records():
    assert MODULE.TagDomCodex.__bases__ == (IceMapDom,)
    assert MODULE.MultiDoerBase.Tagex == MODULE.TagDomCodex()
    assert {tag: MODULE.MultiDoerBase.Tagex[tag].__name__ for tag in CODEX} == CODEX


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_its_bases_and_its_signature(name):
    bases, signature = CLASSES[name]
    cls = getattr(MODULE, name)

    assert cls.__bases__ == (bases if isinstance(bases, tuple) else (getattr(MODULE, bases),))
    assert written(cls) == signature


@pytest.mark.parametrize("name", ["Bosser", "Crewer"])
def test_the_class_order_is_hios(name):
    order = [cls.__name__ for cls in getattr(MODULE, name).__mro__]

    between = ["Namer", "PeerMemoer", "Peer", "Filer", "Memoer", "Doer", "Tymee"]
    assert order == [name, "MultiDoerBase", *between, "Mixin", "object"]


@pytest.mark.parametrize(("cls", "name", "signature"), PAIRS)
def test_a_method_has_its_signature(cls, name, signature):
    method = getattr(getattr(MODULE, cls), name)

    assert callable(method)
    assert signature is None or written(method) == signature


@pytest.mark.parametrize("name", ["tojson", "start"])
def test_what_needs_no_instance_is_static(name):
    cls = MODULE.Bosser

    assert isinstance(inspect.getattr_static(cls, name), staticmethod)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_instance_has_its_attributes_before_it_enters(name):
    instance = getattr(MODULE, name)()

    assert {each: getattr(instance, each) for each in ATTRIBUTES[name]} == ATTRIBUTES[name]


@pytest.mark.parametrize("name", CLASSES)
def test_a_keyword_that_nobody_takes_is_named(name):
    with pytest.raises(TypeError, match="'nmae'"):
        getattr(MODULE, name)(nmae="a")


@pytest.mark.parametrize("name", ["ogler", "Bossage", "Loadage", "TagDex"])
def test_the_module_has_the_names_that_go_with_them(name):
    assert hasattr(MODULE, name)


@pytest.mark.parametrize("name", ["level", "temp", "reopen", "getLogger"])
def test_the_logger_factory_has_what_a_hand_sets(name):
    assert hasattr(MODULE.ogler, name)
