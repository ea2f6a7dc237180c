import json
from hashlib import sha256
from pathlib import Path

import pytest

from hiod.core.memo import minting
from hiod.core.memo.gramming import CODES, GramError, b64, cut, parse, rooms, unb64
from hiod.core.memo.memoing import Memoer
from hiod.core.memo.signing import verify
from hiod.errors import MemoerError

VECTORS = Path(__file__).parents[2] / "vectors"


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


MIDS = load("mids")["vectors"]
UNSIGNED = load("grams-unsigned")["vectors"]
SENT = [v for v in UNSIGNED if "escapes" not in v]
FAILED_IN_HIO = [v for v in UNSIGNED if "escapes" in v]
LARGE = load("grams-large")
PARSED = load("grams-parse")
SIGNED = load("grams-signed")


def label(vector):
    return f"{vector['label']} {'binary' if vector.get('curt') else 'text'}"


def whole(grams):
    """Put the bodies together by what the headers say."""
    said = [(gram, parse(gram)) for gram in grams]
    bodies = {number: gram[start:stop] for gram, (_, _, _, number, _, start, stop) in said}
    count = next(count for _, (_, _, _, _, count, _, _) in said if count is not None)
    assert sorted(bodies) == list(range(count))
    return b"".join(bodies[number] for number in range(count))


@pytest.mark.parametrize("vector", MIDS, ids=lambda v: v["mid"])
def test_an_id_is_the_text_of_its_sixteen_bytes(vector):
    mid = "0A" + minting.text(bytes.fromhex(vector["uuid_hex"]))

    assert mid == vector["mid"]
    assert unb64(mid.encode()).hex() == vector["mid_base2_hex"]
    assert b64(bytes.fromhex(vector["mid_base2_hex"])).decode() == mid


def test_ids_are_drawn_by_the_thousand_and_none_twice(monkeypatch):
    drawn = iter([bytes(16), b"\1" * 16, b"\2" * 16])
    monkeypatch.setattr("os.urandom", lambda size: next(drawn) if size == 16 else None)
    mint = minting.Mint()

    taken = [mint.take() for _ in range(4097)]
    mint.renew()
    taken.append(mint.take())

    assert len(set(taken)) == 4098
    assert taken[:2] == ["A" * 22, "A" * 21 + "B"]
    stems = [minting.text(raw)[:20] for raw in (b"\1" * 16, b"\2" * 16)]
    assert [mid[:20] for mid in taken[-2:]] == stems
    assert all(unb64(b"0A" + mid.encode())[:2] == b"\xd0\0" for mid in taken)


def test_a_memoer_marks_each_memo_with_an_id_of_its_own():
    mids = {Memoer.makeMID(), Memoer.makeMID(), Memoer.makeMID(code="0B")}

    assert len({mid[2:] for mid in mids}) == 3
    assert sorted(mid[:2] for mid in mids) == ["0A", "0A", "0B"]
    assert {len(mid) for mid in mids} == {24}


@pytest.mark.parametrize("vector", SENT, ids=label)
def test_a_memo_is_cut_as_hio_cuts_it(vector):
    data = vector["memo"].encode()

    grams = cut(
        data, (vector["mid"] or "").encode(), vector["code"], vector["size"], curt=vector["curt"]
    )

    expected = vector["grams_hex"]
    if vector["count_in_header"] == 0:  # hio's count is wrong for binary memos of 1 to 8 bytes
        expected = [expected[0][:6] + "000001" + expected[0][12:]]
    assert [gram.hex() for gram in grams] == expected


@pytest.mark.parametrize("vector", SENT, ids=label)
def test_what_hio_cut_is_put_together(vector):
    grams = [bytes.fromhex(gram) for gram in vector["grams_hex"]]
    if not grams:
        assert not vector["memo"]
        return

    for gram in grams:
        kind, mid, vid, _number, _count, _start, _stop = parse(gram)
        assert mid == vector["mid"]
        assert vid is None
        assert kind.text is not vector["curt"]
        assert not kind.signed
    assert whole(grams).decode() == vector["memo"]


@pytest.mark.parametrize("vector", FAILED_IN_HIO, ids=label)
def test_sizes_at_which_hio_fails_work(vector):
    data = vector["memo"].encode()
    memoer = Memoer(size=vector["asked_size"], curt=True)

    grams = cut(data, b"0A" + b"A" * 22, vector["code"], memoer.size, curt=True)

    assert whole(grams) == data
    assert max(map(len, grams)) <= memoer.size


@pytest.mark.parametrize("vector", LARGE["vectors"], ids=label)
def test_a_large_memo_is_cut_as_hio_cuts_it(vector):
    pattern, size = LARGE["PATTERN"].encode(), vector["memo_bytes"]
    data = (pattern * (size // len(pattern) + 1))[:size]
    assert sha256(data).hexdigest() == vector["memo_sha256"]

    grams = cut(data, vector["mid"].encode(), "bAAA", vector["size"], curt=vector["curt"])

    assert parse(grams[0])[4] == vector["count"]
    if "all_sha256" in vector:
        assert sha256(b"".join(grams)).hexdigest() == vector["all_sha256"]
        assert grams[-1].hex() == vector["last_gram_hex"]
    else:
        heads = [gram["head_hex"] for gram in vector["grams"]]
        assert [
            gram[: len(head) // 2].hex() for gram, head in zip(grams, heads, strict=True)
        ] == heads
        assert [
            {"length": len(gram), "head_hex": head, "sha256": sha256(gram).hexdigest()}
            for gram, head in zip(grams, heads, strict=True)
        ] == vector["grams"]
    assert whole(reversed(grams)) == data


KEEP = {key["vid"]: (key["qvk"], key["qss"]) for key in PARSED["keys"]}


def verdict(gram, *, authic):
    """Return what a memoer makes of one datagram: (mid, vid, number, count, body) or a refusal."""
    taken = bytearray(gram)
    try:
        said = Memoer(authic=authic, keep=KEEP).pick(taken)
    except MemoerError:
        return None
    return (*said, taken.hex())


@pytest.mark.parametrize("vector", PARSED["vectors"], ids=lambda v: v["label"])
def test_a_datagram_is_taken_or_refused_as_by_hio_and_never_escapes(vector):
    hio = vector["hio"]

    said = verdict(bytes.fromhex(vector["gram_hex"]), authic=vector["authic"])

    if hio["outcome"] == "accepted":
        count = hio["gram_count"]
        assert said == (
            hio["mid"],
            hio["vid"],
            hio["gram_number"],
            1 if count == 0 else count,  # hio's own mistake, see cut
            hio["body_hex"],
        )
    else:
        assert said is None


@pytest.mark.parametrize(
    "vector", SIGNED["vectors"], ids=lambda v: f"{v['code']} {v['vid'][0]} {v['curt']}"
)
def test_a_signed_memo_is_made_as_hio_makes_it(vector, monkeypatch):
    monkeypatch.setattr(Memoer, "makeMID", classmethod(lambda _cls: vector["mid"]))
    memoer = Memoer(code=vector["code"], curt=vector["curt"], size=vector["size"], keep=KEEP)

    grams = memoer.rend(vector["memo"], vector["vid"])

    assert [gram.hex() for gram in grams] == vector["grams_hex"]
    assert whole(grams).decode() == vector["memo"]


@pytest.mark.parametrize("key", SIGNED["keys"], ids=lambda k: k["kind"])
def test_a_signature_over_something_else_does_not_verify(key):
    memoer = Memoer(keep=KEEP)
    sig = memoer.sign(key["vid"], b"abc")

    assert memoer.verify(key["vid"], sig, b"abc") is True
    with pytest.raises(MemoerError, match="does not match"):
        verify(key["vid"], sig, b"abd", KEEP)


@pytest.mark.parametrize(
    ("gram", "reason"),
    [
        (b"", "empty"),
        (b"b", "short"),
        (b"bAAA", "short"),
        (b"l\0", "short"),
        (b"\x60" * 40, "not-a-gram"),
        (b"\x6d" * 40, "not-a-gram"),
        (b"bAAK" + b"A" * 40, "unknown-code"),
        (b"bAAI" + b"A" * 40, "ack"),
        (b"bAAA" + b"AAA!" + b"A" * 40, "bad-header"),
        (b"bAAA" + b"AAAB" + b"\xff" * 40, "bad-header"),
        (b"bAAC" + b"AAAB" + b"A" * 24 + b"\xff" * 200, "bad-header"),
    ],
)
def test_a_refusal_has_a_reason_to_count_it_under(gram, reason):
    with pytest.raises(GramError) as caught:
        parse(gram)

    assert caught.value.reason == reason


def test_numbers_use_all_four_digits():
    for number in (0, 63, 64, 1023, 1024, 4095, 4096, 16777215):
        digits = b64(number.to_bytes(3, "big"))
        gram = b"bAAB" + digits + b"0A" + b"A" * 22 + b"x"

        assert parse(gram)[3] == number


def test_a_memo_of_more_grams_than_can_be_numbered_is_refused():
    class Vast(bytes):
        def __len__(self):
            return 16777216

    with pytest.raises(MemoerError, match="needs 16777216 grams of 33 bytes"):
        cut(Vast(), b"", "bAAA", 33, curt=False)


def test_a_size_without_room_is_refused():
    with pytest.raises(MemoerError, match="a bAAA needs 33"):
        rooms("bAAA", 32, curt=False)


def test_the_codes_are_hios():
    assert Memoer.Codes == CODES
    assert {code: tuple(size) for code, size in Memoer.Sizes.items()}["bAAC"] == (4, 4, 24, 44, 88)
