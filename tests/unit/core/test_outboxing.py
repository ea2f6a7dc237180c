import errno
import math

import pytest

from hiod.core.memo import Memoer
from hiod.core.memo.gramming import parse

LULLS = {"full": errno.EAGAIN, "stuffed": errno.ENOBUFS, "short": errno.ENOMEM}


class Wire(Memoer):
    """A memoer over a pretended network; tyme moves by hand.

    ``fate`` by destination: an errno to raise, or a word of ``LULLS`` for no room.
    """

    def __init__(self, **kwa):
        super().__init__(**kwa)
        self.clock = 0.0
        self.wind(lambda: self.clock)
        self.fate = {}
        self.arrived = []
        self.awaited = []
        self.tries = 0
        self.told = []
        self.open()

    def send(self, gram, dst, *, echoic=False):
        self.tries += 1
        fate = self.fate.get(dst)
        if isinstance(fate, list):
            fate = fate.pop(0) if fate else "full"
        if isinstance(fate, int):
            raise OSError(fate, "no")
        if isinstance(fate, type):
            raise fate("no")
        if fate in LULLS:
            self.lull = LULLS[fate]
            return 0
        _kind, _mid, _vid, _number, _count, start, stop = parse(gram)
        self.arrived.append((gram[start:stop].decode(), dst))
        return len(gram)

    def awaitRoom(self, dst):
        fate = self.fate.get("await")
        if fate:
            return fate
        self.awaited.append(dst)
        return 0

    def endRoom(self, dst):
        self.awaited.remove(dst)

    def roomy(self):
        return [dst for dst in self.awaited if self.fate.get(dst) != "full"]

    def onDead(self, memo, dst, reason):
        self.told.append((memo, dst, reason))


def test_memos_leave_in_order_and_an_answer_in_the_same_call():
    wire = Wire()

    for text in "abc":
        assert wire.memoit(text, "x")
    assert wire.outboxDepth == 3
    wire.service()

    assert wire.arrived == [("a", "x"), ("b", "x"), ("c", "x")]
    assert wire.outboxDepth == 0
    assert wire.memosSent == 3
    assert wire.dueAt() == math.inf


def test_a_gram_that_finds_no_room_stays_and_delays_nobody_else():
    wire = Wire(size=34)
    wire.fate["slow"] = ["ok", "full"]

    wire.memoit("abcd", "slow")
    wire.memoit("yes", "quick")
    wire.service()
    assert wire.arrived == [("ab", "slow"), ("ye", "quick"), ("s", "quick")]
    assert wire.awaited == ["slow"]
    assert [dst for _gram, dst in wire.txgs] == ["slow"]
    wire.fate["slow"] = "full"
    wire.service()
    wire.memoit("ef", "slow")
    wire.service()
    assert wire.tries == 4
    wire.fate["slow"] = None
    wire.service()

    assert wire.arrived[3:] == [("cd", "slow"), ("ef", "slow")]
    assert wire.awaited == []
    assert wire.outboxDepth == 0
    assert wire.deads == {}


def test_room_that_was_announced_and_not_found_is_awaited_anew():
    wire = Wire()
    wire.fate["x"] = ["full", "full"]
    wire.memoit("a", "x")
    wire.service()
    log = []
    wire.endRoom = lambda dst: (log.append("end"), wire.awaited.remove(dst))
    was = wire.awaitRoom
    wire.awaitRoom = lambda dst: (log.append("await"), was(dst))[1]

    wire.service()

    assert log == ["end", "await"]
    assert wire.outboxDepth == 1


def test_when_the_system_has_no_room_it_is_tried_again_soon():
    wire = Wire()
    wire.fate["x"] = "short"
    wire.memoit("a", "x")

    wire.service()
    assert wire.awaited == []
    assert wire.dueAt() == pytest.approx(0.01)
    wire.service()
    assert wire.tries == 1
    wire.fate["x"] = None
    wire.clock = wire.dueAt()
    wire.service()

    assert wire.arrived == [("a", "x")]


def test_when_there_is_no_room_here_it_is_awaited_and_tried_again_soon():
    wire = Wire()
    wire.fate.update({"x": "stuffed", "y": "stuffed", None: "full"})
    wire.memoit("a", "x")
    wire.memoit("b", "y")

    wire.service()
    assert wire.awaited == [None]
    assert wire.dueAt() == pytest.approx(0.01)
    wire.clock = 0.01
    wire.fate["y"] = None
    wire.service()
    assert wire.arrived == [("b", "y")]
    assert wire.dueAt() == pytest.approx(0.02)
    wire.fate.update({"x": None, None: None})
    wire.service()

    assert wire.arrived == [("b", "y"), ("a", "x")]
    assert wire.awaited == []
    assert wire.dueAt() == math.inf


def test_room_that_cannot_be_awaited_is_asked_for_again_soon():
    wire = Wire()
    wire.fate.update({"x": "full", "await": errno.EMFILE})
    wire.memoit("a", "x")

    wire.service()

    assert wire.dueAt() == pytest.approx(0.01)


def test_a_peer_that_vanished_while_room_was_awaited_counts_as_unreachable():
    wire = Wire()
    wire.fate.update({"x": "full", "await": errno.ENOENT})
    wire.memoit("a", "x")

    wire.service()

    assert wire.dueAt() == pytest.approx(0.1)


@pytest.mark.parametrize("code", [errno.ECONNREFUSED, errno.ENOENT])
def test_nobody_there_is_tried_again_ever_more_slowly_until_the_age_limit(code):
    wire = Wire(maxAge=10.0)
    wire.fate["gone"] = code
    wire.memoit("old", "gone")
    dues = []

    wire.service()
    while wire.dueAt() < math.inf:
        dues.append(wire.dueAt() - wire.clock)
        wire.clock = wire.dueAt()
        if len(dues) == 5:
            wire.memoit("young", "gone")
        wire.service()

    assert dues[:6] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert wire.told == [("old", "gone", "unreachable"), ("young", "gone", "unreachable")]
    assert wire.deads == {"unreachable": 2}
    assert wire.outboxDepth == 0
    assert 10.0 <= wire.clock < 14.0


def test_the_delays_begin_anew_after_a_success():
    wire = Wire()
    wire.fate["x"] = [errno.ECONNREFUSED, errno.ECONNREFUSED, "ok", errno.ECONNREFUSED]
    wire.memoit("a", "x")
    wire.memoit("b", "x")
    dues = []

    wire.service()
    for _ in range(2):
        dues.append(wire.dueAt() - wire.clock)
        wire.clock = wire.dueAt()
        wire.service()

    assert dues == pytest.approx([0.1, 0.2])
    assert wire.dueAt() - wire.clock == pytest.approx(0.1)


def test_a_kept_destination_is_never_given_up():
    wire = Wire(maxAge=1.0)
    wire.keepDst.add("boss")
    wire.fate["boss"] = errno.ENOENT
    wire.memoit("a", "boss")

    for _ in range(100):
        wire.service()
        wire.clock += 1.0
    wire.fate["boss"] = None
    wire.service()

    assert wire.arrived == [("a", "boss")]
    assert wire.deads == {}


def test_a_memo_half_sent_begins_anew_for_whoever_comes_to_live_there():
    wire = Wire(size=33)
    wire.fate["x"] = ["ok", errno.ECONNREFUSED]
    wire.memoit("ab", "x")

    wire.service()
    wire.fate["x"] = None
    wire.clock = wire.dueAt()
    wire.service()

    assert wire.arrived == [("a", "x"), ("a", "x"), ("b", "x")]


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        (errno.EMSGSIZE, "EMSGSIZE"),
        (errno.EACCES, "EACCES"),
        (errno.EPROTOTYPE, "EPROTOTYPE"),
        (0, "bad-address"),
        (TypeError, "bad-address"),
        (ValueError, "bad-address"),
    ],
)
def test_what_can_never_be_sent_is_a_dead_letter_with_its_reason(fate, reason):
    wire = Wire()
    wire.fate["x"] = [fate, "ok"]

    wire.memoit("a", "x")
    wire.memoit("b", "x")
    wire.service()

    assert wire.told == [("a", "x", reason)]
    assert wire.arrived == [("b", "x")]
    assert wire.outboxDepth == 0
    assert wire.memosSent == 1


def test_an_outbox_has_limits_and_says_so():
    wire = Wire(maxOut=2, maxOutBytes=10, maxTotal=4, maxTotalBytes=25)

    assert wire.memoit("x" * 4, "a")
    assert wire.memoit("x" * 4, "a")
    assert wire.memoit("y", "a") is False
    assert wire.memoit("x" * 11, "b") is False
    assert wire.memoit("x" * 6, "b")
    assert wire.memoit("x" * 5, "b") is False
    assert wire.memoit("x" * 10, "c")
    assert wire.memoit("x", "d") is False
    assert wire.deads == {"outbox-full": 1, "outbox-bytes": 2, "outboxes-full": 1}
    assert wire.told[0] == ("y", "a", "outbox-full")
    wire.service()

    assert wire.memoit("x", "d")


def test_room_in_bytes_altogether_is_limited():
    wire = Wire(maxTotalBytes=25)

    assert wire.memoit("x" * 20, "a")
    assert wire.memoit("x" * 6, "b") is False
    assert wire.memoit("x" * 5, "b")
    assert wire.deads == {"outboxes-full": 1}


@pytest.mark.parametrize(
    ("memo", "dst", "reason"),
    [
        ("", "x", "empty"),
        ("a" * 11, "x", "too-large"),
        ("é" * 6, "x", "too-large"),
        ("\ud800", "x", "not-utf8"),
        ("a", None, "no-address"),
        ("a", "", "no-address"),
    ],
)
def test_a_memo_that_cannot_be_is_refused_at_once_and_counted(memo, dst, reason):
    wire = Wire(maxMemo=10)

    assert wire.memoit(memo, dst) is False
    assert wire.told == [(memo, dst, reason)]
    assert wire.outboxDepth == 0


def test_a_memo_that_is_no_text_is_the_callers_mistake():
    with pytest.raises(TypeError, match="a memo is text, got bytes"):
        Wire().memoit(b"abc", "x")


def test_a_memo_of_the_same_key_replaces_the_one_not_yet_begun_in_its_place():
    wire = Wire(size=33)
    wire.fate["x"] = "full"
    wire.memoit("1", "x")
    wire.memoit("old", "x", key="BOK")
    wire.memoit("2", "x")
    wire.service()

    assert wire.memoit("é", "x", key="BOK")
    assert wire.memoit("new", "x", key="BOK")
    assert wire.memoit("n", "y", key="BOK")
    assert wire.outboxDepth == 4
    wire.fate["x"] = None
    wire.service()

    assert "".join(body for body, dst in wire.arrived if dst == "x") == "1new2"
    assert wire.deads == {}


def test_a_memo_of_which_a_gram_has_left_is_not_replaced():
    wire = Wire(size=33)
    wire.fate["x"] = ["ok", "full"]
    wire.memoit("ab", "x", key="BOK")
    wire.service()

    wire.memoit("cd", "x", key="BOK")
    wire.fate["x"] = None
    wire.service()

    assert [body for body, _dst in wire.arrived] == ["a", "b", "c", "d"]
    wire.memoit("ef", "x", key="BOK")
    assert wire.outboxDepth == 1


def test_a_replacement_too_long_for_its_place_is_refused_and_the_former_stays():
    wire = Wire(maxOutBytes=10)
    wire.memoit("x" * 5, "x")
    wire.memoit("old", "x", key="BOK")

    assert wire.memoit("y" * 6, "x", key="BOK") is False
    assert wire.memoit("z" * 5, "x", key="BOK") is True
    wire.service()

    assert [body for body, _dst in wire.arrived] == ["xxxxx", "zzzzz"]
    assert wire.deads == {"outbox-bytes": 1}


def test_what_waits_for_a_forgotten_destination_becomes_dead_letters():
    wire = Wire()
    wire.fate["x"] = "full"
    wire.memoit("cut", "x", key="k")
    wire.service()
    wire.memoit("uncut", "x")
    wire.gramit(b"bAAB", "x")
    wire.memoit("other", "y")

    assert wire.forget("x", "hand.removed") == 3
    assert wire.forget("x") == 0
    wire.fate["x"] = None
    wire.service()

    assert wire.told == [
        ("cut", "x", "hand.removed"),
        ("uncut", "x", "hand.removed"),
        (None, "x", "hand.removed"),
    ]
    assert wire.arrived == [("other", "y")]
    assert wire.awaited == []
    assert wire.outboxDepth == 0


def test_a_memo_that_cannot_be_cut_is_dead_and_holds_up_nobody():
    wire = Wire(code="bAAC")

    wire.memoit("unsigned", "x")
    wire.gramit(b"bAAAAAAB0A" + b"A" * 22 + b"ready", "x")
    wire.service()

    assert wire.told == [("unsigned", "x", "unsigned")]
    assert wire.arrived == [("ready", "x")]
    assert wire.outboxDepth == 0


def test_the_queues_can_be_looked_at_and_only_calls_change_them():
    wire = Wire()
    wire.fate["x"] = "full"

    wire.memoit("a", "x", "V")
    assert list(wire.txms) == [("a", "x", "V")]
    assert not wire.txgs
    wire.serviceTxMemos()
    assert not wire.txms
    assert [dst for _gram, dst in wire.txgs] == ["x"]
    assert wire.txbs == (b"", None)
    for call in (wire.txms.append, wire.txgs.popleft, wire.txgs.clear):
        with pytest.raises(TypeError, match="memoit"):
            call()


def test_one_at_a_time_is_one_at_a_time():
    wire = Wire(size=33)
    wire.memoit("ab", "x")
    wire.memoit("c", "y")

    wire.serviceAllTxOnce()
    assert [body for body, _ in wire.arrived] == ["a"]
    assert len(wire.txms) == 1
    wire.serviceAllOnce()
    wire.serviceTxGramsOnce()
    assert [body for body, _ in wire.arrived] == ["a", "b", "c"]
    wire.serviceTxMemosOnce()

    assert wire.outboxDepth == 0


def test_nothing_is_sent_while_closed_and_the_queues_keep():
    wire = Wire()
    wire.close()
    wire.memoit("a", "x")

    wire.service()
    assert wire.outboxDepth == 1
    wire.reopen()
    wire.service()

    assert wire.arrived == [("a", "x")]


def test_an_age_begun_before_winding_goes_on_after_it():
    wire = Wire(maxAge=10.0)
    wire.fate["x"] = errno.ENOENT
    wire.memoit("a", "x")
    wire.service()

    wire.wind(lambda: 1000.0 + wire.clock)

    assert wire.dueAt() == pytest.approx(1000.1)


def test_whoever_hears_of_the_dead_may_queue_forget_and_send():
    class Busy(Wire):
        def onDead(self, memo, dst, reason):
            super().onDead(memo, dst, reason)
            if reason == "EACCES":
                self.forget(dst, "gone")
                self.memoit("instead", dst)
                self.service()

    wire = Busy()
    wire.fate["x"] = [errno.EACCES, "full"]
    wire.memoit("a", "x")
    wire.memoit("b", "x")
    wire.service()
    wire.fate["x"] = None
    wire.service()

    assert wire.told == [("a", "x", "EACCES"), ("b", "x", "gone")]
    assert wire.arrived == [("instead", "x")]
    assert wire.outboxDepth == 0


def test_an_address_where_somebody_else_lives_now_is_tried_anew():
    wire = Wire()
    wire.fate["b"] = "full"
    wire.memoit("one", "b")
    wire.serviceAllTx()
    assert wire.awaited == ["b"]

    wire.roomy = list  # whoever is awaited never reads again
    del wire.fate["b"]
    wire.serviceAllTx()
    assert wire.arrived == []

    wire.retry("b")
    wire.retry("nobody")
    wire.serviceAllTx()
    assert wire.arrived == [("one", "b")]
    assert wire.awaited == []
