import json
import math
from pathlib import Path

import pytest

from hiod.core.memo import Memoer
from hiod.core.memo.fusing import GRAM_COST, Fuser
from hiod.core.memo.gramming import cut

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "reassembly.json").read_text())
CRED = (1, 2, 3)
MID = b"0A" + b"B" * 22


class Reader(Memoer):
    """A memoer fed from a list of (datagram, source, cred)."""

    def __init__(self, **kwa):
        super().__init__(**kwa)
        self.feed = []
        self.told = []
        self.open()

    def receiveCred(self):
        return self.feed.pop(0) if self.feed else (b"", None, None)

    def onDrop(self, reason, src, cred):
        self.told.append((reason, src, cred))

    def taken(self, *grams, src="a", cred=None):
        """Return the memos that are whole after these grams."""
        self.feed += [(gram, src, cred) for gram in grams]
        self.serviceReceives()
        self.serviceRxGrams()
        memos = [rx[0] for rx in self.rxms]
        self.rxms.clear()
        return memos


def grams(memo, size=33, mid=b"0A" + b"A" * 22, code="bAAA"):
    return cut(memo.encode(), mid, code, size, curt=False)


RIGHT_HERE = {
    # what hio does wrong or differently, and what is right
    "same id from two sources is merged; first source named": ([], {VECTORS["mids"][0]: [1]}),
    "later gram from another source decides the named source": ([], {VECTORS["mids"][0]: [0]}),
    "count 0 delivers an empty memo whatever the body": ([("ignored", "srcA")], {}),
    "gram number beyond count while one is missing": ([], {VECTORS["mids"][0]: [0]}),
    "body not UTF-8": ([], {}),
    "empty datagram ends the receive pass (what follows waits)": ([("after", "srcA")], {}),
}


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: v["label"])
def test_grams_are_put_together_as_by_hio_where_hio_is_right(vector):
    reader = Reader()
    for step in vector["steps"]:
        if step == "fuse":
            reader.serviceReceives()
            reader.serviceRxGrams()
        else:
            reader.feed.append((bytes.fromhex(step["gram_hex"]), step["src"], None))

    reader.serviceReceives()
    reader.serviceRxGrams()

    delivered = [(d["memo"], d["src"]) for d in vector["delivered"]]
    left = vector["left"]
    if vector["label"] in RIGHT_HERE:
        delivered, left = RIGHT_HERE[vector["label"]]
    else:
        assert vector["escapes"] is None
    assert [(memo, src) for memo, src, _vid in reader.rxms] == delivered
    assert {mid: sorted(bodies) for mid, bodies in reader.rxgs.items()} == left


def test_two_processes_that_share_a_source_never_meet_in_one_memo():
    reader = Reader()
    first, second = grams("ab")

    assert reader.taken(first, cred=(10, 0, 0)) == []
    assert reader.taken(second, cred=(11, 0, 0)) == []
    assert reader.taken(second, cred=(10, 0, 0)) == ["ab"]


def test_a_received_memo_is_a_triple_that_knows_its_sender():
    reader = Reader()

    reader.feed += [(gram, "src", CRED) for gram in [*grams("x"), *grams("yz", mid=b"0B" * 12)]]
    reader.serviceAllRx()

    assert list(reader.inbox) == [("x", "src", None), ("yz", "src", None)]
    assert [rx.cred for rx in reader.inbox] == [CRED, CRED]
    memo, src, vid = reader.inbox[0]
    assert (memo, src, vid) == ("x", "src", None)


def test_an_unfinished_memo_is_dropped_after_a_time_without_progress():
    tyme = [0.0]
    reader = Reader(maxPartialAge=10.0)
    reader.wind(lambda: tyme[0])
    first, second, third = grams("abc")
    assert reader.dueAt() == math.inf

    reader.taken(first, cred=CRED)
    assert reader.dueAt() == 10.0
    tyme[0] = 9.0
    reader.taken(second, cred=CRED)
    reader.serviceTymers()
    tyme[0] = 18.0
    reader.serviceTymers()
    assert reader.drops == {}
    assert reader.dueAt() == 19.0
    tyme[0] = 19.0
    reader.serviceTymers()

    assert reader.told == [("unfinished", "a", CRED)]
    assert reader.dueAt() == math.inf
    assert reader.taken(third, cred=CRED) == []


def test_what_waits_keeps_its_time_left_when_the_clock_changes():
    reader = Reader(maxPartialAge=10.0)
    reader.taken(grams("ab")[0])

    reader.wind(lambda: 5.0)

    assert 14.0 < reader.dueAt() <= 15.0


def test_the_source_that_holds_most_pays_for_room():
    fuser = Fuser(maxPartials=3, maxBytes=1 << 20, maxMemo=1 << 20, maxAge=10.0)

    def begin(mid, src, size=1):
        return fuser.add((mid, src, 0), None, 0, 9, b"x" * size, vid=None, signed=False, now=0.0)

    assert begin("m1", "small") == []
    assert begin("m2", "greedy", 50) == []
    assert begin("m3", "greedy", 50) == []
    dropped = begin("m4", "late")

    assert dropped == [("no-room", ("m2", "greedy", 0), None)]
    assert [key[0] for key in fuser.partials] == ["m1", "m3", "m4"]


def test_many_given_up_memos_of_one_source_do_not_cost_another_its_own():
    fuser = Fuser(maxPartials=5, maxBytes=1 << 20, maxMemo=100, maxAge=10.0)

    def add(mid, src, number, body):
        count = None if number else 2
        key = (mid, src, 0)
        return fuser.add(key, None, number, count, body, vid=None, signed=False, now=0.0)

    add("mine", "good", 0, b"x" * 90)
    for mid in range(20):
        add(str(mid), "rogue", 0, b"x" * 101)
    add("mine", "good", 1, b"y")

    assert fuser.fuse(9)[0] == [("x" * 90 + "y", "good", None)]


def test_a_whole_memo_is_the_last_to_make_room():
    fuser = Fuser(maxPartials=2, maxBytes=1 << 20, maxMemo=1 << 20, maxAge=10.0)

    def add(mid, number, count=2):
        key = (mid, "s", 0)
        count = None if number else count
        return fuser.add(key, None, number, count, b"x", vid=None, signed=False, now=0.0)

    add("whole", 0)
    add("whole", 1)
    add("part", 0)

    assert add("next", 0) == [("no-room", ("part", "s", 0), None)]
    assert fuser.fuse(9)[0] == [("xx", "s", None)]


def test_grams_beyond_a_count_heard_late_are_forgotten():
    reader = Reader()
    first, second = grams("ab")
    beyond = grams("abc")[2]

    assert reader.taken(beyond, second) == []
    assert reader.taken(first) == ["ab"]
    assert reader.rxgs == {}


def test_a_whole_memo_among_unfinished_ones_does_not_age():
    tyme = [0.0]
    reader = Reader()
    reader.wind(lambda: tyme[0])
    reader.taken(grams("ab")[0])
    reader.feed.append((grams("c", mid=b"0B" * 12)[0], "a", None))
    reader.serviceReceives()

    tyme[0] = 100.0
    reader.serviceTymers()
    reader.wind(lambda: 0.0)
    reader.serviceRxGrams()

    assert [memo for memo, _src, _vid in reader.rxms] == ["c"]
    assert reader.drops == {"unfinished": 1}


def test_a_flood_of_tiny_grams_stays_within_the_bytes_allowed():
    reader = Reader(maxPartialBytes=100 * GRAM_COST, maxPass=10_000)

    taken = reader.taken(*grams("x" * 1000))

    assert taken == []
    assert reader.drops == {"no-room": 1}
    assert sum(len(bodies) for bodies in reader.rxgs.values()) == 0
    assert reader.taken(*grams("ok", mid=b"0B" * 12)) == ["ok"]


def test_a_memo_longer_than_allowed_is_dropped_once_and_its_other_grams_swallowed():
    reader = Reader(maxMemo=5)

    assert reader.taken(*grams("x" * 20, size=34)) == []
    assert reader.drops == {"too-large": 1}
    assert reader.taken(*grams("y" * 6, size=99, mid=b"0B" * 12)) == []
    assert reader.drops == {"too-large": 2}
    assert reader.taken(*grams("12345", mid=b"0C" * 12)) == ["12345"]


def test_a_count_that_promises_more_than_allowed_is_not_waited_for():
    reader = Reader(maxMemo=1000)

    reader.taken(b"bAAA____0A" + b"A" * 22 + b"hi")

    assert reader.drops == {"too-large": 1}


def test_a_memo_that_is_not_utf8_is_dropped():
    reader = Reader()
    first, second = grams("ab")

    reader.taken(first, second[:-1] + b"\xff", src="s", cred=CRED)
    reader.taken(grams("a")[0][:-1] + b"\xff")

    assert reader.drops == {"not-utf8": 2}
    assert reader.told[0] == ("not-utf8", "s", CRED)
    assert reader.rxgs == {}


def test_what_finds_no_room_in_the_inbox_is_counted():
    reader = Reader(maxIn=2)
    memos = [grams(text, mid=f"0{text}".encode() * 12)[0] for text in "ABCD"]

    reader.feed += [(gram, "a", None) for gram in memos]
    reader.serviceAllRx()
    reader.feed += [(memos[0], "a", None)]
    reader.serviceAllRx()

    assert [memo for memo, _src, _vid in reader.inbox] == ["A", "B"]
    assert reader.drops == {"inbox-full": 3}


def test_a_full_inbox_also_refuses_memos_of_many_grams():
    reader = Reader(maxIn=1)

    reader.feed += [(gram, "a", None) for gram in [*grams("ab"), *grams("cd", mid=b"0B" * 12)]]
    reader.serviceReceives()
    reader.serviceRxGrams()

    assert [memo for memo, _src, _vid in reader.rxms] == ["ab"]
    assert reader.drops == {"inbox-full": 1}


def test_plain_grams_do_not_travel_under_a_signers_name():
    fuser = Fuser(maxPartials=9, maxBytes=1 << 20, maxMemo=1 << 20, maxAge=10.0)
    key = ("m", "a", 0)

    fuser.add(key, None, 0, 2, b"x", vid="V", signed=True, now=0.0)
    dropped = fuser.add(key, None, 1, None, b"y", vid=None, signed=False, now=0.0)

    assert dropped == [("mixed-signing", key, None)]
    assert fuser.fuse(9) == ([], [])


def test_unfinished_memos_can_be_given_at_construction():
    reader = Reader(
        rxgs={"m": {1: b"b", 0: b"a"}, "n": {0: b"c"}},
        counts={"m": 2, "n": 2},
        sources={"m": "src"},
        vids={},
    )

    reader.serviceRxGrams()

    assert list(reader.rxms) == [("ab", "src", None)]
    assert reader.rxgs == {"n": {0: b"c"}}
    assert reader.counts == {"n": 2}
    assert reader.sources == {"n": None}
    assert reader.vids == {"n": None}


def test_one_pass_reads_a_bounded_number_of_datagrams():
    reader = Reader(maxPass=3)
    reader.feed += [(grams("x", mid=b"0%d" % i * 12)[0], "a", None) for i in range(5)]

    reader.service()
    assert len(reader.inbox) == 3
    reader.service()

    assert len(reader.inbox) == 5


def test_a_socket_that_cannot_be_read_is_counted_and_ends_the_pass():
    class Broken(Reader):
        def receiveCred(self):
            raise OSError(9, "bad descriptor")

    reader = Broken()

    reader.service()

    assert reader.drops == {"EBADF": 1}


def spread(text, size=5000):
    """Cut a text into long grams; give (number, count or None, body)."""
    data = text.encode()
    bodies = [data[at : at + size] for at in range(0, len(data), size)]
    return [(n, None if n else len(bodies), body) for n, body in enumerate(bodies)]


def put(fuser, mid, grams):
    for number, count, body in grams:
        dropped = fuser.add(
            (mid, "/them", 0), None, number, count, body, vid=None, signed=False, now=0.0
        )
        assert dropped == []


def fuser():
    return Fuser(maxPartials=10, maxBytes=10**7, maxMemo=10**7, maxAge=1.0)


def test_long_memos_that_come_at_the_same_time_do_not_mix():
    both = fuser()
    one, two = spread("x" * 12_000 + "é"), spread("y" * 17_000)

    for gram, other in zip([*one, None], two, strict=True):
        put(both, "two", [other])
        put(both, "one", [gram] if gram else [])
    whole, dropped = both.fuse(10)

    assert [rx[0] for rx in whole] == ["y" * 17_000, "x" * 12_000 + "é"]
    assert dropped == []


@pytest.mark.parametrize("order", [(0, 2, 1), (0, 1, 2), (1, 0, 2), (0, 0, 2, 1, 1)])
def test_a_long_memo_comes_whole_in_any_order_and_the_next_in_the_same_memory(order):
    one = fuser()
    for letter in "ab":
        grams = spread(letter * 11_000)
        put(one, letter, [grams[number] for number in order])
        ((memo, _src, _vid),), dropped = one.fuse(10)

        assert memo == letter * 11_000
        assert dropped == []


@pytest.mark.parametrize("sizes", [(5000, 4000, 5000), (5000, 6000, 10), (5000, 5000, 6000)])
def test_a_long_memo_cut_unevenly_is_put_together_all_the_same(sizes):
    one = fuser()
    bodies = [letter.encode() * size for letter, size in zip("abc", sizes, strict=True)]

    put(one, "m", [(0, 3, bodies[0]), (2, None, bodies[2]), (1, None, bodies[1])])
    whole, _ = one.fuse(10)

    assert whole[0][0].encode() == b"".join(bodies)


def test_a_long_memo_given_up_leaves_the_memory_to_others():
    one = fuser()
    put(one, "gone", spread("x" * 12_000)[:2])
    assert [reason for reason, _, _ in one.expire(5.0)] == ["unfinished"]

    put(one, "next", spread("y" * 12_000))
    whole, _ = one.fuse(10)

    assert whole[0][0] == "y" * 12_000


def test_a_datagram_that_is_taken_aside_is_a_memo_received_and_nothing_is_left_of_it():
    reader = Reader()
    reader.feed.append((*grams("beat", size=99), "a", CRED))
    offered = []

    took = reader.receiveAside(lambda *given: not offered.append(given), 5.0)

    assert took
    assert [(src, cred, now) for _, src, cred, now in offered] == [("a", CRED, 5.0)]
    assert (reader.memosReceived, reader.feed) == (1, [])
    reader.service()
    assert not reader.inbox


@pytest.mark.parametrize("cred", [CRED, None])
def test_a_datagram_that_is_not_taken_aside_goes_the_usual_way(cred):
    reader = Reader()
    reader.feed += [
        (*grams("one", size=99), "a", cred),
        (*grams("two", size=99, mid=MID), "a", cred),
    ]

    assert not reader.receiveAside(lambda *_: False, 5.0)
    reader.service()

    assert [rx[0] for rx in reader.inbox] == ["one", "two"]
    assert reader.memosReceived == 2


def test_what_is_no_gram_is_counted_though_it_was_looked_at_aside():
    reader = Reader()
    reader.feed.append((b"nonsense", "a", CRED))

    assert not reader.receiveAside(lambda *_: False, 5.0)

    assert [(src, cred) for _, src, cred in reader.told] == [("a", CRED)]
    assert sum(reader.drops.values()) == 1


def test_nothing_there_is_nothing_taken_aside():
    reader = Reader()

    assert not reader.receiveAside(lambda *_: True, 5.0)

    assert (reader.memosReceived, reader.drops) == (0, {})
