import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from hiod.core.memo import Memoer
from hiod.errors import MemoerError

TESTS = Path(__file__).parents[2]
VECTORS = TESTS / "vectors"
SIGNED = json.loads((VECTORS / "grams-signed.json").read_text())
UNSIGNED = json.loads((VECTORS / "grams-unsigned.json").read_text())
LARGE = json.loads((VECTORS / "grams-large.json").read_text())
KEEP = {key["vid"]: (key["qvk"], key["qss"]) for key in SIGNED["keys"]}


class Pipe(Memoer):
    """Receives what it is given."""

    def __init__(self, grams, **kwa):
        super().__init__(**kwa)
        self.grams = grams
        self.open()

    def receive(self, *, echoic=False):
        return (self.grams.pop(0), "/them") if self.grams else (b"", None)


ABOUT = {"source", "made_by", "note"}
TABLE = (VECTORS / "README.md").read_text()
ROWS = re.findall(r"^\| `([a-z-]+)\.json` \| (.*?) \| (.*?) \|$", TABLE, re.MULTILINE)


def test_the_table_has_a_row_for_every_vector_file():
    assert sorted(name for name, *_ in ROWS) == sorted(path.stem for path in VECTORS.glob("*.json"))


@pytest.mark.parametrize(("name", "out", "into"), ROWS, ids=lambda row: row.split()[0])
def test_each_way_of_a_vector_file_has_tests_that_read_it_or_a_reason_why_there_is_none(
    name, out, into
):
    texts = []
    for cell in (out, into):
        if cell.startswith("none: "):
            assert len(cell.split()) > 3, "say why"
            continue
        places = re.findall(r"`(\S+\.py)`", cell)
        here = [(TESTS / place).read_text() for place in places]
        named = re.findall(r"\b(test_[a-z0-9_]+)\b(?!\.py)", cell)
        assert here and named  # noqa: PT018 - a cell has both
        for test in named:
            assert any(f"def {test}(" in text for text in here), test
        assert any(f'{name}.json"' in text or f'load("{name}")' in text for text in here)
        texts += here
    for part in json.loads((VECTORS / f"{name}.json").read_text()).keys() - ABOUT:
        assert any(f'["{part}"]' in text for text in texts), f"nobody reads {part}"


def whole(grams):
    """Give what a memoer makes of grams that come in this order, and what it has left."""
    pipe = Pipe(list(grams))
    while pipe.grams:
        pipe.service()
    return list(pipe.inbox), pipe.rxgs, pipe.drops


@pytest.mark.parametrize(
    "vector",
    [vector for vector in UNSIGNED["vectors"] if vector.get("grams_hex")],
    ids=lambda v: f"{v['label']} {'binary' if v['curt'] else 'text'}",
)
@pytest.mark.parametrize("turned", [False, True], ids=["in order", "turned round"])
def test_what_hio_cut_comes_out_of_a_memoer_whole(vector, turned):
    grams = [bytes.fromhex(gram) for gram in vector["grams_hex"]]

    assert whole(grams[::-1] if turned else grams) == ([(vector["memo"], "/them", None)], {}, {})


@pytest.mark.parametrize(
    "vector",
    [vector for vector in LARGE["vectors"] if "grams" in vector],
    ids=lambda v: f"{v['memo_bytes']} {'binary' if v['curt'] else 'text'}",
)
def test_what_hio_cut_of_a_large_memo_comes_out_of_a_memoer_whole(vector):
    pattern, size = LARGE["PATTERN"].encode(), vector["memo_bytes"]
    data = (pattern * (size // len(pattern) + 1))[:size]
    grams, at = [], 0
    for said in vector["grams"]:  # a header, and as much of the memo as follows it
        head = bytes.fromhex(said["head_hex"])[: 24 if vector["curt"] else 32]
        grams.append(head + data[at : at + said["length"] - len(head)])
        at += said["length"] - len(head)
    assert [sha256(gram).hexdigest() for gram in grams] == [g["sha256"] for g in vector["grams"]]

    ((memo, _src, _vid),), left, drops = whole(grams[::-1])

    assert memo.encode() == data
    assert (left, drops) == ({}, {})


@pytest.mark.parametrize(
    "vector", SIGNED["vectors"], ids=lambda v: f"{v['code']} {v['vid'][0]} {v['curt']}"
)
def test_what_hio_signed_is_received_and_verified(vector):
    grams = [bytes.fromhex(gram) for gram in vector["grams_hex"]]
    pipe = Pipe(list(grams), authic=True, keep=KEEP)
    spoilt = [gram[:-90] + bytes([gram[-90] ^ 1]) + gram[-89:] for gram in grams]
    refused = Pipe(spoilt, authic=True, keep=KEEP)

    pipe.service()
    refused.service()

    assert list(pipe.inbox) == [(vector["memo"], "/them", vector["vid"])]
    assert not pipe.drops
    assert not refused.inbox
    assert sum(refused.drops.values()) == len(grams)


@pytest.mark.parametrize("key", SIGNED["keys"], ids=lambda k: k["kind"])
def test_keys_are_written_and_read_by_the_names_hios_users_know(key):
    raw, code = Memoer._decodeQSS(key["qss"])
    public, letter = Memoer._decodeQVK(key["qvk"])
    ident, kind = Memoer._decodeVID(key["vid"])

    assert Memoer._encodeQSS(raw, code) == key["qss"]
    assert Memoer._encodeQVK(public, letter) == key["qvk"]
    assert Memoer._encodeVID(ident, kind) == key["vid"]
    assert (code, letter, kind) == ("A", "B", key["vid"][0])
    assert Memoer._decodeSGN(Memoer._encodeSGN(b"\7" * 64)) == (b"\7" * 64, "0B")
    with pytest.raises(MemoerError, match="is not 32 bytes"):
        Memoer._decodeQVK("A" + key["qvk"][1:])


def test_an_override_takes_memos_off_the_queue_as_hios_users_do():
    class Sorting(Pipe):
        def serviceRxMemos(self):
            while self.rxms:
                memo, src, vid = self._serviceOneRxMemo()
                self.inbox.append((vid, src, memo))

    pipe = Sorting(Memoer().rend("text"))

    pipe.service()

    assert list(pipe.inbox) == [(None, "/them", "text")]
