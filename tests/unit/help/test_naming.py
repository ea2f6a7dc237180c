import json
from pathlib import Path

import pytest

from hiod.errors import NamerError
from hiod.help import Namer

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "naming.json").read_text())


def test_a_book_taken_through_hios_steps_answers_as_hio_does():
    book = Namer()

    for step in VECTORS["steps"]:
        call = getattr(book, step["op"])
        if isinstance(step["result"], dict):
            with pytest.raises(NamerError):
                call(*step["args"], **step["kwargs"])
        else:
            assert call(*step["args"], **step["kwargs"]) == step["result"]
        assert book.addrByName == step["addrByName"]
        assert book.nameByAddr == step["nameByAddr"]
        assert book.countNameAddr == step["count"]


@pytest.mark.parametrize("vector", VECTORS["init"], ids=str)
def test_a_book_is_filled_by_pairs_or_by_a_mapping(vector):
    entries = vector["entries"]
    if isinstance(entries, dict):  # hio iterates the keys, we take the items
        assert Namer(entries=entries).addrByName == entries
    elif "raises" in vector["result"]:
        with pytest.raises(NamerError):
            Namer(entries=entries)
    else:
        assert Namer(entries=entries).addrByName == vector["result"]


def test_the_maps_handed_out_are_copies():
    book = Namer(entries={"a": "1"})

    book.addrByName["b"] = "2"
    book.nameByAddr["2"] = "b"

    assert book.addrByName == {"a": "1"}
    assert book.nameByAddr == {"1": "a"}


def test_what_nobody_takes_is_named():
    with pytest.raises(TypeError, match=r"Namer\(\) takes no keyword argument 'entires'"):
        Namer(entires={"a": "1"})


def test_a_refusal_names_both_sides():
    book = Namer(entries={"a": "1", "b": "2"})

    with pytest.raises(NamerError, match="cannot add name 'c' at '1': 'a' is there"):
        book.addNameAddr("c", "1")
    with pytest.raises(NamerError, match="cannot move name 'a' to '2': 'b' is there"):
        book.changeAddrAtName(name="a", addr="2")
    with pytest.raises(NamerError, match="cannot name '2' 'a': its address is '1'"):
        book.changeNameAtAddr(addr="2", name="a")
    with pytest.raises(NamerError, match="cannot name None 'a': neither may be empty"):
        book.changeNameAtAddr(name="a")


def test_a_pair_is_removed_by_its_address_alone():
    book = Namer(entries={"a": "1"})

    assert book.remNameAddr(addr="2") is False
    assert book.remNameAddr(addr="1") is True
    assert book.countNameAddr == 0
