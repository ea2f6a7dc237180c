"""Any memo, cut any way and arriving in any order, comes whole; any bytes at all do no harm."""

import errno
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hiod.core.memo import Memoer
from hiod.core.memo.gramming import KINDS, cut, parse


class Reader(Memoer):
    def __init__(self, **kwa):
        super().__init__(**kwa)
        self.feed = []
        self.open()

    def receiveCred(self):
        return self.feed.pop() if self.feed else (b"", None, None)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
sizes = st.one_of(st.integers(25, 80), st.just(65535))


@given(texts, sizes, st.booleans(), st.sampled_from(["bAAA", "bAAE"]))
def test_no_gram_is_longer_than_asked_and_the_count_is_true(memo, size, curt, code):
    memoer = Memoer(size=size, curt=curt, code=code)

    grams = memoer.rend(memo)

    assert max(map(len, grams)) <= memoer.size
    said = [parse(gram) for gram in grams]
    assert said[0][4] == len(grams)
    assert [number for _kind, _mid, _vid, number, *_rest in said] == list(range(len(grams)))


@given(
    st.lists(
        st.tuples(texts, sizes, st.booleans(), st.sampled_from("AB"), st.integers(1, 3)),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
def test_memos_come_whole_whatever_the_order_the_copies_and_the_company(memos, data):
    reader = Reader(maxPass=10_000, maxIn=10_000)
    feed = []
    for index, (memo, size, curt, src, copies) in enumerate(memos):
        size = Memoer(size=size, curt=curt).size  # noqa: PLW2901 - the least that is possible
        # The same id from two sources is no reason to mix them.
        mid = b"0A" + str(index // 2 if src == "A" else index).zfill(22).encode()
        cred = (index, 0, 0)
        grams = cut(memo.encode(), mid, "bAAA", size, curt=curt)
        feed += [(gram, src, cred) for gram in grams] * copies
    reader.feed = data.draw(st.permutations(feed))

    reader.serviceReceives()
    reader.serviceRxGrams()

    came = Counter((memo, src, rx.cred) for rx in reader.rxms for memo, src, _vid in [rx])
    assert came == Counter(
        (memo, src, (index, 0, 0)) for index, (memo, _size, _curt, src, _copies) in enumerate(memos)
    )
    assert reader.rxgs == {}
    assert reader.drops == {}


bodies = st.binary(max_size=60)
datagrams = st.one_of(
    bodies,
    st.builds(lambda code, rest: code + rest, st.sampled_from(sorted(KINDS)), bodies),
    st.builds(
        lambda code, number, mid, rest: code + number + mid + rest,
        st.sampled_from(sorted(KINDS)),
        st.sampled_from([b"AAAA", b"AAAB", b"AAAC", b"____", b"\0\0\1", b"\xff\xff\xff"]),
        st.sampled_from([b"0A" + b"A" * 22, b"\xd0" + b"\0" * 17]),
        bodies,
    ),
    st.builds(
        lambda code, rest: code + rest,
        st.sampled_from([b"bAAC", b"bAAD", b"l\0\2", b"l\0\3"]),
        st.binary(min_size=120, max_size=200),
    ),
)


@given(
    st.lists(st.tuples(datagrams, st.sampled_from(["A", "B", None]), st.just((1, 2, 3)))),
    st.booleans(),
)
def test_whatever_arrives_nothing_is_raised_and_all_is_accounted_for(feed, authic):
    tyme = [0.0]
    reader = Reader(authic=authic, maxPartials=4, maxPartialBytes=1000, maxMemo=100)
    reader.wind(lambda: tyme[0])
    reader.feed = list(feed)

    while reader.feed:
        reader.service()
        assert sum(len(b) for bodies in reader.rxgs.values() for b in bodies.values()) <= 1000
    tyme[0] = 100.0
    reader.service()

    assert reader.rxgs == {}
    assert len(reader.inbox) <= len(feed)


fates = st.sampled_from(["ok", "ok", "full", errno.ECONNREFUSED, errno.ENOBUFS, errno.EMSGSIZE])


class Wire(Memoer):
    """What becomes of each try is drawn beforehand; after that all goes well."""

    def __init__(self, fates):
        super().__init__(size=34, maxAge=1e9)
        self.fates = list(fates)
        self.arrived = {}
        self.buried = 0
        self.open()

    def send(self, gram, dst, *, echoic=False):
        fate = self.fates.pop() if self.fates else "ok"
        if fate in ("full", errno.ENOBUFS):
            self.lull = errno.EAGAIN if fate == "full" else fate
            return 0
        if fate != "ok":
            raise OSError(fate, "no")
        self.arrived.setdefault(dst, []).append(gram)
        return len(gram)

    def onDead(self, memo, dst, reason):
        self.buried += 1


@given(st.lists(st.tuples(texts, st.sampled_from("XY")), max_size=12), st.lists(fates))
def test_every_memo_arrives_in_order_or_is_a_dead_letter(memos, drawn):
    tyme = [0.0]
    wire = Wire(drawn)
    wire.wind(lambda: tyme[0])

    for memo, dst in memos:
        assert wire.memoit(memo, dst)
        wire.service()
    while wire.outboxDepth:
        tyme[0] += 1.0
        wire.service()

    arrived = 0
    for dst, grams in wire.arrived.items():
        reader = Reader(maxPass=10_000)
        reader.feed = [(gram, "me", None) for gram in reversed(grams)]
        reader.service()
        came = [memo for memo, _src, _vid in reader.inbox]
        sent = iter([memo for memo, to in memos if to == dst])
        assert all(memo in sent for memo in came), "not in the order of sending"
        arrived += len(came)
    assert arrived + wire.buried == len(memos)
    assert wire.memosSent == arrived
