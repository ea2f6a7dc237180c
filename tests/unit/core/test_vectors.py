import json
import re
from pathlib import Path

import pytest

from hiod.core.memo import Memoer
from hiod.errors import MemoerError

TESTS = Path(__file__).parents[2]
VECTORS = TESTS / "vectors"
SIGNED = json.loads((VECTORS / "grams-signed.json").read_text())
KEEP = {key["vid"]: (key["qvk"], key["qss"]) for key in SIGNED["keys"]}


class Pipe(Memoer):
    """Receives what it is given."""

    def __init__(self, grams, **kwa):
        super().__init__(**kwa)
        self.grams = grams
        self.open()

    def receive(self, *, echoic=False):
        return (self.grams.pop(0), "/them") if self.grams else (b"", None)


def test_the_table_names_every_vector_file_and_tests_that_are_there():
    table = (VECTORS / "README.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+\.json)` \|(.*)$", table, re.MULTILINE)

    assert sorted(name for name, _ in rows) == sorted(path.name for path in VECTORS.glob("*.json"))
    for name, row in rows:
        files = [(TESTS / path).read_text() for path in re.findall(r"`(\S+\.py)`", row)]
        assert any(name in text or f'load("{name[:-5]}")' in text for text in files), name
        for test in re.findall(r"\btest_[a-z0-9_]+\b(?!\.py)", row):
            assert any(f"def {test}(" in text for text in files), test


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
