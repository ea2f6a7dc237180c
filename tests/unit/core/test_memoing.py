import inspect
import math
import sys
from collections import deque

import pytest

from hiod.base.tyming import Tymee
from hiod.core.memo import (
    AckDex,
    AuthDex,
    AuthMemoer,
    AuthMemoerDoer,
    GramDex,
    Keyage,
    MemoDex,
    Memoer,
    MemoerDoer,
    SureDex,
    Versionage,
    ZeroDex,
    memoing,
    openAM,
    openMemoer,
)
from hiod.core.memo.signing import decode, encode
from hiod.core.uxd import Peer, PeerMemoer
from hiod.errors import MemoerError, MemoerVerifyError
from hiod.help.mixing import Mixin

SEED = encode(b"\1" * 32, "A")
VID = "BIqI4910CfGV_VLbLTy6XXLKZwm_HZQSG_N0iAG0D29c"
KEEP = {VID: Keyage(VID, SEED)}


def test_the_class_order_is_hios():
    order = [cls.__name__ for cls in PeerMemoer.__mro__]

    assert order == ["PeerMemoer", "Peer", "Filer", "Memoer", "Tymee", "Mixin", "object"]
    assert issubclass(Memoer, Tymee)
    assert issubclass(Peer, Mixin)


def test_the_names_hio_has_are_there():
    hios = """open reopen close wind serviceTymers wiff verify pick receive serviceReceivesOnce
    serviceReceives fuse serviceRxGramsOnce serviceRxGrams serviceRxMemosOnce serviceRxMemos
    serviceAllRxOnce serviceAllRx memoit sign rend send serviceTxMemosOnce serviceTxMemos gramit
    serviceTxGramsOnce serviceTxGrams serviceAllTxOnce serviceAllTx serviceLocal serviceAllOnce
    serviceAll service makeMID""".split()  # noqa: SIM905 - a list of forty quotes reads worse
    parameters = """tymeout name bc bs version rxgs sources counts vids rxms txms txgs txbs code
    curt size authic echoic keep vid""".split()  # noqa: SIM905 - as above

    assert [name for name in hios if not callable(getattr(Memoer, name, None))] == []
    taken = inspect.signature(Memoer.__init__).parameters
    assert list(taken)[1 : len(parameters) + 1] == parameters
    memoer = Memoer(tymeout=3.0, version=Versionage(1, 2), bs=9)
    assert (memoer.tymeout, memoer.version, memoer.bs) == (3.0, (1, 2), 9)
    assert (memoer.name, memoer.opened, memoer.tymers) == ("main", False, {})
    assert Memoer(bc=2).bs == 131070


def test_codices_hold_their_codes():
    assert list(MemoDex) == [f"bAA{letter}" for letter in "ABCDEFGHIJ"]
    assert "bAAC" in ZeroDex
    assert "bAAB" not in ZeroDex
    assert set(ZeroDex) | set(GramDex) | set(AckDex) == set(MemoDex)
    assert (AuthDex.AckAuth, SureDex.GramSure) == ("bAAJ", "bAAF")


def test_a_code_that_is_not_of_a_first_gram_is_refused():
    memoer = Memoer()

    with pytest.raises(MemoerError, match="code 'bAAB': it is none of bAAA, bAAC, bAAE, bAAG"):
        memoer.code = "bAAB"
    with pytest.raises(MemoerError, match="'bAAI'"):
        Memoer(code="bAAI")


def test_the_size_has_room_for_a_byte_whatever_else_changes():
    memoer = Memoer(size=10)
    assert memoer.size == 33

    memoer.curt = True
    memoer.size = 5
    assert memoer.size == 25
    memoer.code = "bAAC"
    assert memoer.size == 124
    memoer.curt = False

    assert memoer.size == 165
    memoer.size = 100_000
    assert memoer.size == 100_000


def test_what_is_sent_comes_back_where_that_is_wanted():
    with openMemoer(name="echo", echoic=True) as memoer:
        assert memoer.opened
        assert memoer.echoic
        memoer.memoit("hi", "there")
        memoer.service()
        assert [dst for _gram, dst in memoer.echos] == ["there"]
        memoer.service()
        assert list(memoer.inbox) == [("hi", "there", None)]
    assert not memoer.opened
    memoer.service()


def test_an_echo_can_be_asked_for_call_by_call():
    memoer = Memoer()
    memoer.open()
    memoer.memoit("ab", "x")
    memoer.serviceTxMemos()

    memoer.serviceTxGrams(echoic=True)
    memoer.serviceReceivesOnce(echoic=True)

    assert list(memoer.rxgs.values()) == [{0: b"ab"}]
    assert list(memoer.counts.values()) == [1]
    assert list(memoer.sources.values()) == ["x"]
    assert memoer.receive(echoic=True) == (b"", None)
    assert not memoer.echoic


def test_one_of_each_is_one_of_each():
    memoer = Memoer(echoic=True)
    memoer.open()
    for text in "ab":
        memoer.memoit(text, "x")
    memoer.serviceAllTx()

    memoer.serviceAllRxOnce()
    assert [memo for memo, _src, _vid in memoer.inbox] == ["a"]
    memoer.serviceLocal()
    assert len(memoer.rxgs) == 1
    memoer.serviceRxGramsOnce()
    assert len(memoer.rxms) == 1
    memoer.serviceRxMemosOnce()
    memoer.serviceRxMemosOnce()

    assert [memo for memo, _src, _vid in memoer.inbox] == ["a", "b"]
    assert memoer.memosReceived == 2


def test_queues_can_be_given_at_construction():
    gram = Memoer().rend("ready")[0]

    memoer = Memoer(
        txms=deque([("a", "x", None)]), txgs=deque([(gram, "y")]), rxms=deque([("m", "s", None)])
    )
    in_progress = Memoer(txbs=(gram, "z"))

    assert list(memoer.txms) == [("a", "x", None)]
    assert list(memoer.txgs) == [(gram, "y")]
    assert list(in_progress.txgs) == [(gram, "z")]
    memoer.serviceRxMemos()
    assert list(memoer.inbox) == [("m", "s", None)]
    assert memoer.gramit(gram, "") is False
    assert memoer.deads == {"no-address": 1}


def test_a_header_is_sniffed():
    memoer = Memoer()

    assert memoer.wiff(b"bAAA") is False
    assert memoer.wiff(bytearray(b"\x6c\0\0")) is True
    with pytest.raises(MemoerError, match="begins no gram"):
        memoer.wiff(b"{")


def test_a_gram_is_stripped_in_place():
    gram = bytearray(b"bAAAAAAB0A" + b"A" * 22 + b"body")

    assert Memoer().pick(gram) == ("0A" + "A" * 22, None, 0, 1)

    assert gram == b"body"


def test_bodies_are_fused():
    memoer = Memoer()

    assert memoer.fuse({0: b"a", 1: b"b"}, 2) == "ab"
    assert memoer.fuse({0: b"a"}, 2) is None
    with pytest.raises(MemoerError, match="not UTF-8"):
        memoer.fuse({0: b"\xff"}, 1)


def test_a_signing_memoer_signs_and_takes_only_what_is_signed():
    with openAM(name="signer", keep=KEEP, vid=VID, echoic=True) as memoer:
        assert isinstance(memoer, AuthMemoer)
        assert memoer.authic
        memoer.size = 180
        memoer.memoit("a memo of more than one gram, signed", "x")
        memoer.service()
        plain = Memoer().rend("plain")[0]
        memoer.echos.append((plain, "y"))
        memoer.service()

        assert list(memoer.inbox) == [("a memo of more than one gram, signed", "x", VID)]
        assert memoer.drops == {"unsigned": 1}
        memoer.vid = None
        assert memoer.memoit("by nobody", "x")
        memoer.service()
        assert memoer.deads == {"unsigned": 1}
        with pytest.raises(MemoerError, match="signed: say by whom"):
            memoer.rend("x")


def test_a_later_signed_gram_is_verified_by_its_first():
    signer = Memoer(code="bAAC", size=165, keep=KEEP, vid=VID, curt=False)
    reader = Memoer(keep=KEEP, echoic=True)
    reader.open()
    first, second = signer.rend("x" * 10)
    forged = second[:-1] + (b"A" if second[-1:] != b"A" else b"B")

    reader.echos.extend([(second, "s"), (first, "s"), (forged, "s"), (second, "s")])
    reader.service()

    assert list(reader.inbox) == [("x" * 10, "s", VID)]
    assert reader.drops == {"no-signer": 1, "bad-signature": 1}


def test_a_signer_nobody_knows_is_named():
    memoer = Memoer(keep={"D" + VID[1:]: ("zz", "zz")})

    with pytest.raises(MemoerError, match="cannot sign as 'X': the keep has no key"):
        memoer.sign("X", b"")
    with pytest.raises(MemoerError, match=r"cannot verify 'E.*the keep has no key"):
        memoer.verify("E" + VID[1:], b"", b"")
    with pytest.raises(MemoerError, match="'zz' is not 32 bytes"):
        memoer.verify("D" + VID[1:], b"", b"")
    with pytest.raises(MemoerVerifyError, match="does not match"):
        memoer.verify(VID, encode(bytes(64), "0B").encode(), b"")


def test_values_that_are_no_keys_are_refused():
    assert decode(encode(b"k" * 32, "B"), ("B", "D"), 32) == b"k" * 32

    with pytest.raises(MemoerError, match="not base64"):
        decode("B" + "!" * 43, ("B",), 32)
    with pytest.raises(MemoerError, match="bits set where its code stands"):
        decode("B" + "_" * 43, ("B",), 32)


def test_without_pynacl_signed_grams_are_refused_and_counted(monkeypatch):
    gram = Memoer(code="bAAC", keep=KEEP).rend("signed", VID)[0]
    for module in ("nacl", "nacl.signing", "nacl.exceptions"):
        monkeypatch.setitem(sys.modules, module, None)
    memoer = Memoer(code="bAAC", keep=KEEP, vid=VID, echoic=True)
    memoer.open()

    memoer.memoit("to be signed", "x")
    memoer.echos.append((gram, "y"))
    memoer.service()

    assert memoer.deads == {"unsigned": 1}
    assert memoer.drops == {"unverifiable": 1}
    with pytest.raises(MemoerError, match=r"pip install 'hiod\[signed\]'"):
        memoer.sign(VID, b"x")


def test_a_memoer_without_transport_has_nothing_to_wait_for():
    memoer = Memoer()

    assert memoer.fds() == ()
    assert memoer.dueAt() == math.inf
    assert list(memoer.roomy()) == []
    assert memoer.awaitRoom("x") > 0
    assert memoer.endRoom("x") is None
    assert memoer.vid is None
    assert memoer.keep == {}


def test_whoever_runs_a_memoer_is_woken_when_something_is_queued():
    memoer = Memoer()
    woken = []
    memoer.waker = lambda: woken.append(memoer.outboxDepth)

    memoer.memoit("a", "x")
    memoer.memoit("", "x")
    memoer.gramit(b"gram", "x")
    memoer.gramit(b"gram", "")

    assert woken == [1, 2]


@pytest.mark.parametrize("cls", [MemoerDoer, AuthMemoerDoer])
def test_a_doer_runs_a_memoer(cls):
    tyme = [0.0]
    memoer = Memoer(echoic=True)
    doer = cls(memoer)
    deed = doer(tymth=lambda: tyme[0], tock=doer.tock)

    next(deed)
    assert memoer.opened
    assert memoer.tyme == 0.0
    memoer.memoit("hi", "x")
    for tyme[0] in (1.0, 2.0):
        deed.send(tyme[0])
    assert list(memoer.inbox) == [("hi", "x", None)]
    deed.close()

    assert not memoer.opened
    assert memoer.waker is None
    assert doer.fds() == ()


def test_the_module_offers_what_it_says():
    assert all(hasattr(memoing, name) for name in memoing.__all__)
