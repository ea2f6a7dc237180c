"""A hand's desk: which Doer a memo is for, whose it is, and what becomes of the rest."""

import math
from collections import deque
from unittest.mock import MagicMock

import pytest

from hiod.base.crewdoing import ASK_S, WAIT_MAX, WAIT_S, CrewDoer, Desk
from hiod.base.crewdoms import MemoDom
from hiod.base.crewing import answering, asking, bok, question, read, write
from hiod.errors import MultiError

BOOK = {"boss": "/boss", "beta": "/beta"}


class Rx(tuple):
    """A received memo, as the transport gives it."""

    __slots__ = ()
    cred = (1, 2, 3)

    def __new__(cls, memo, src):
        return tuple.__new__(cls, (memo, src, None))


class FakeCrewer:
    """What a desk asks of its Crewer, without a socket."""

    def __init__(self):
        self.name = "alpha"
        self.path = "/alpha"
        self.generation = 2
        self.tyme = 0.0
        self.book = dict(BOOK)
        self.sent = []
        self.room = True
        self.maxMemo = self.MaxOutBytes = 1 << 24
        self.dropped = []
        self.lost = []
        self.filed = deque()
        self.controls = []
        self.wakes = 0
        self.roused = []
        self.says = []
        self.desk = Desk(self)

    def claim(self, doer):
        self.desk.claim(doer)
        doer.crewer = self

    def tell(self, *pa):
        return self.desk.tell(*pa)

    def ask(self, *pa, **kwa):
        return self.desk.ask(*pa, **kwa)

    def reply(self, *pa):
        return self.desk.reply(*pa)

    def getAddr(self, name):
        return self.book.get(name)

    def getName(self, addr):
        return {addr: name for name, addr in self.book.items()}.get(addr)

    def memoit(self, text, addr):
        if self.room:
            self.sent.append((read(text), addr))
        return self.room

    def wake(self):
        self.wakes += 1

    def ready(self, text):
        self.says.append(("ready", text))

    def status(self, text):
        self.says.append(("status", text))

    def running(self):
        return "whoever runs"

    def rouse(self, doer):
        self.roused.append(doer)

    def drop(self, reason, rx):
        self.dropped.append((reason, rx))

    def dead(self, text, dst, reason):
        self.lost.append((read(text), dst, reason))

    def lay(self, rx):
        self.filed.append(rx)

    def control(self, memo, rx):
        self.controls.append((memo, rx))


class Reader(CrewDoer):
    tags = ("READING", "TOTAL")

    def __init__(self, **kwa):
        super().__init__(**kwa)
        self.got = []

    def memo(self, memo):
        self.got.append(memo)


@pytest.fixture
def crewer():
    return FakeCrewer()


@pytest.fixture
def desk(crewer):
    return crewer.desk


@pytest.fixture
def reader(crewer):
    return Reader(crewer=crewer)


# --- claims


def test_two_doers_claiming_one_tag_are_refused_by_name(crewer, reader):
    class Other(CrewDoer):
        tags = ("TOTAL",)

    with pytest.raises(MultiError, match=r"Reader and .*Other both claim the tag 'TOTAL'"):
        Other(crewer=crewer)


def test_a_refused_doer_has_claimed_nothing(crewer, desk, reader):
    class Other(CrewDoer):
        tags = ("FIRST", "TOTAL")

    with pytest.raises(MultiError):
        Other(crewer=crewer)

    assert "FIRST" not in desk.claims


@pytest.mark.parametrize("tag", ["END", "low", "A" * 17, "A1B2"])
def test_a_tag_that_is_not_an_authors_is_refused(crewer, tag):
    class Wrong(CrewDoer):
        tags = (tag,)

    with pytest.raises(MultiError, match="4 to 16 letters"):
        Wrong(crewer=crewer)


def test_tags_that_are_a_text_are_refused_as_such(crewer):
    class Wrong(CrewDoer):
        tags = "FEED"

    with pytest.raises(MultiError, match=r"tags of .*Wrong is the text 'FEED', and a tuple is due"):
        Wrong(crewer=crewer)


def test_a_memo_method_that_yields_is_refused_because_it_would_never_run(crewer, desk):
    class Asks(CrewDoer):
        tags = ("FEED",)

        def memo(self, memo):
            yield from self.ask(memo.name, "TOTAL")

    class Later(CrewDoer):
        async def enter(self, *, temp=None):
            self.temp = temp

    with pytest.raises(MultiError, match=r"Asks\.memo must not yield; ask in recur"):
        Asks(crewer=crewer)
    with pytest.raises(MultiError, match=r"Later\.enter must not be async"):
        Later(crewer=crewer)
    assert desk.claims == {}


def test_a_memo_method_may_be_anything_that_can_be_called(crewer, desk, reader):
    reader.memo = MagicMock()

    crewer.claim(reader)

    assert desk.claims["TOTAL"] is reader


def test_a_doer_claims_its_own_tags_twice_without_harm(crewer, desk, reader):
    crewer.claim(reader)

    assert desk.claims["TOTAL"] is reader


def test_a_doer_without_a_crewer_says_so_when_it_tells():
    with pytest.raises(MultiError, match="has no Crewer"):
        Reader().tell("beta", "READING")


# --- memos in


def test_a_memo_reaches_the_doer_of_its_tag(desk, reader):
    desk.sort(Rx(write("READING", "beta", {"value": 1}), "/beta"))

    assert reader.got == [MemoDom("READING", "beta", {"value": 1})]


def test_a_memo_nobody_claims_is_in_the_inbox_as_it_came(desk, crewer, reader):
    rx = Rx(write("OTHER", "beta", {}), "/beta")
    desk.sort(rx)

    assert list(crewer.filed) == [rx]


@pytest.mark.parametrize(
    "memo", ["plain", "", '{"tag":"ABC","name":"beta"}', '{"tag":"READING"', '{"tag":"READING",5}']
)
def test_what_is_no_structured_memo_is_in_the_inbox(desk, crewer, reader, memo):
    desk.sort(Rx(memo, "/beta"))

    assert [rx[0] for rx in crewer.filed] == [memo]
    assert reader.got == []


def test_a_doer_that_reads_no_memos_leaves_them_in_the_inbox(crewer, desk):
    class Silent(CrewDoer):
        tags = ("READING",)

    Silent(crewer=crewer)
    desk.sort(Rx(write("READING", "beta", {}), "/beta"))

    assert len(crewer.filed) == 1


def test_a_doer_that_is_done_gets_no_more_memos(desk, crewer, reader):
    reader.done = True
    desk.sort(Rx(write("READING", "beta", {}), "/beta"))

    assert reader.got == []
    assert len(crewer.filed) == 1


def test_a_memo_under_another_hands_name_is_dropped(desk, crewer, reader):
    desk.sort(Rx(write("READING", "boss", {}), "/beta"))

    assert reader.got == []
    assert [reason for reason, _ in crewer.dropped] == ["name is not its source's"]


def test_a_memo_without_a_source_is_dropped(desk, crewer, reader):
    desk.sort(Rx(write("READING", "beta", {}), None))

    assert [reason for reason, _ in crewer.dropped] == ["no source"]


def test_a_memo_to_oneself_is_ones_own(desk, reader):
    desk.sort(Rx(write("READING", "alpha", {}), "/alpha"))

    assert reader.got == [MemoDom("READING", "alpha", {})]


def test_control_goes_to_the_crewer_even_from_a_stranger(desk, crewer):
    desk.sort(Rx(bok("boss", {}), "/stranger"))
    desk.sort(Rx('{"tag":"END"', "/boss"))

    assert [memo.tag for memo, _ in crewer.controls] == ["BOK"]
    assert [reason for reason, _ in crewer.dropped] == ["unreadable control"]


def test_a_memo_of_a_hand_not_yet_in_the_book_waits_for_the_book(desk, crewer, reader):
    desk.sort(Rx(write("READING", "gamma", {}), "/gamma"))
    assert reader.got == []

    crewer.book["gamma"] = "/gamma"
    desk.booked()

    assert [memo.name for memo in reader.got] == ["gamma"]


def test_it_waits_no_longer_than_its_time(desk, crewer, reader):
    desk.sort(Rx(write("READING", "gamma", {}), "/gamma"))
    desk.booked()
    assert desk.dueAt() == WAIT_S
    desk.expire(WAIT_S - 0.1)
    assert crewer.dropped == []

    desk.expire(WAIT_S)

    assert [reason for reason, _ in crewer.dropped] == ["source never in the book"]
    assert desk.dueAt() == math.inf


def test_no_more_wait_than_there_is_room_for(desk, crewer, reader):
    for _ in range(WAIT_MAX + 1):
        desk.sort(Rx(write("READING", "gamma", {}), "/gamma"))

    assert [reason for reason, _ in crewer.dropped] == ["too many of unknown source"]


# --- memos out


def test_a_memo_to_a_name_in_the_book_leaves_at_once(reader, crewer):
    assert reader.tell("beta", "READING", {"value": 1})
    assert reader.tell("alpha", "READING")

    assert crewer.sent == [
        (MemoDom("READING", "alpha", {"value": 1}), "/beta"),
        (MemoDom("READING", "alpha", {}), "/alpha"),
    ]


def test_a_full_outbox_says_no(reader, crewer):
    crewer.room = False

    assert not reader.tell("beta", "READING")


@pytest.mark.parametrize("tag", ["END", "reading", ""])
def test_a_doer_cannot_speak_under_a_control_tag(reader, tag):
    with pytest.raises(ValueError, match="4 to 16 letters"):
        reader.tell("beta", tag)
    with pytest.raises(ValueError, match="4 to 16 letters"):
        next(reader.ask("beta", tag))


@pytest.mark.parametrize("load", [[1, 2], [], 0, "text", "", False])
def test_a_load_that_is_no_dict_is_refused_where_it_is_given(reader, crewer, load):
    told = MemoDom("READING", "beta", {})
    asked = question(MemoDom("ASK", "beta", {"id": "9.1", "tag": "TOTAL", "load": {}}))
    for say in (
        lambda: reader.tell("beta", "READING", load),
        lambda: next(reader.ask("beta", "READING", load)),
        lambda: reader.reply(told, load),
        lambda: reader.reply(asked, load),
    ):
        with pytest.raises(TypeError, match=f"a load is a dict, got {type(load).__name__}"):
            say()
    assert crewer.sent == []


def test_no_load_and_an_empty_one_are_the_same(reader, crewer):
    reader.tell("beta", "READING", None)
    reader.tell("beta", "READING", {})

    assert [memo.load for memo, _ in crewer.sent] == [{}, {}]


def test_a_memo_to_a_name_nobody_has_yet_leaves_when_the_book_has_it(reader, crewer, desk):
    assert reader.tell("gamma", "READING")
    assert crewer.sent == []

    crewer.book["gamma"] = "/gamma"
    desk.booked()

    assert crewer.sent == [(MemoDom("READING", "alpha", {}), "/gamma")]
    desk.expire(WAIT_S)
    assert crewer.lost == []


def test_a_memo_to_a_name_nobody_ever_has_is_a_counted_loss(reader, crewer, desk):
    reader.tell("gamma", "READING")
    crewer.tyme = 1.0
    reader.tell("gamma", "TOTAL")
    assert desk.dueAt() == WAIT_S

    desk.expire(WAIT_S)

    assert [(memo.tag, name) for memo, name, _ in crewer.lost] == [("READING", "gamma")]
    assert desk.dueAt() == WAIT_S + 1.0


def test_no_more_memos_wait_for_names_than_there_is_room_for(reader, crewer):
    taken = [reader.tell(f"gamma-{n}", "READING") for n in range(WAIT_MAX + 1)]

    assert taken.count(False) == 1
    assert len(crewer.lost) == 1


def test_a_reply_to_a_told_memo_has_its_tag(reader, crewer):
    reader.reply(MemoDom("READING", "beta", {}), {"ok": True})

    assert crewer.sent == [(MemoDom("READING", "alpha", {"ok": True}), "/beta")]


def test_a_memo_that_is_too_large_is_refused_though_nobody_has_the_name_yet(reader, crewer, desk):
    crewer.maxMemo = 2000
    assert not reader.tell("gamma", "READING", {"text": "x" * 2000})
    assert not reader.tell("gamma", "READING", {"text": "\u00e4" * 1000})

    assert [(name, reason) for _, name, reason in crewer.lost] == [("gamma", "too-large")] * 2
    assert desk.waiting == {}


def test_what_waits_for_names_is_bounded_by_bytes_and_makes_room_when_it_goes(reader, crewer, desk):
    crewer.MaxOutBytes = 3000
    load = {"text": "x" * 1000}
    assert reader.tell("gamma", "READING", load)
    assert reader.tell("delta", "READING", load)
    assert not reader.tell("gamma", "READING", load)
    assert [name for _, name, _ in crewer.lost] == ["gamma"]

    crewer.book["gamma"] = "/gamma"
    desk.booked()
    assert reader.tell("epsilon", "READING", load)
    desk.expire(WAIT_S)
    assert [reader.tell("zeta", "READING", load) for _ in range(3)] == [True, True, False]


# --- questions


def answer(generator, value=None):
    """Send into a generator that ends; give what it returned."""
    with pytest.raises(StopIteration) as ended:
        generator.send(value)
    return ended.value.value


def test_a_question_is_answered_to_who_asked(reader, crewer, desk):
    asking_ = reader.ask("beta", "TOTAL", {"of": "x"}, timeout=2.0)
    assert next(asking_) == math.inf
    ((memo, addr),) = crewer.sent
    assert (memo.tag, addr, memo.load["tag"], memo.load["load"]) == (
        "ASK",
        "/beta",
        "TOTAL",
        {"of": "x"},
    )
    assert asking_.send(0.1) == math.inf

    desk.sort(Rx(answering("beta", memo.load["id"], {"total": 7}), "/beta"))

    assert crewer.roused == [reader]
    assert answer(asking_) == MemoDom("TOTAL", "beta", {"total": 7})
    assert desk.dueAt() == math.inf


def test_a_question_nobody_answers_is_none_at_its_time(reader, crewer, desk):
    waiting = reader.ask("beta", "TOTAL", timeout=2.0)
    next(waiting)
    assert desk.dueAt() == 2.0

    desk.expire(2.0)

    assert crewer.roused == [reader]
    assert answer(waiting) is None


def test_a_question_waits_its_usual_time_when_nobody_says(reader, desk):
    waiting = reader.ask("beta", "TOTAL")
    next(waiting)

    assert desk.dueAt() == ASK_S
    waiting.close()


def test_a_question_that_cannot_leave_is_none_at_once(reader, crewer):
    crewer.room = False

    assert answer(reader.ask("beta", "TOTAL")) is None


def test_an_answer_from_another_hand_does_not_count(reader, crewer, desk):
    waiting = reader.ask("beta", "TOTAL")
    next(waiting)
    ident = crewer.sent[0][0].load["id"]

    desk.sort(Rx(answering("boss", ident, {}), "/boss"))
    desk.sort(Rx(answering("beta", "2.99", {}), "/beta"))

    assert [reason for reason, _ in crewer.dropped] == ["answer nobody waits for"] * 2
    assert crewer.roused == []
    waiting.close()


def test_an_answer_after_its_time_is_counted(reader, crewer, desk):
    waiting = reader.ask("beta", "TOTAL", timeout=1.0)
    next(waiting)
    desk.expire(1.0)
    answer(waiting)

    desk.sort(Rx(answering("beta", crewer.sent[0][0].load["id"], {}), "/beta"))

    assert [reason for reason, _ in crewer.dropped] == ["answer nobody waits for"]


def test_answered_questions_do_not_pile_up_until_their_time(reader, crewer, desk):
    for _ in range(1000):
        waiting = reader.ask("beta", "TOTAL", timeout=3600.0)
        next(waiting)
        ident = crewer.sent.pop()[0].load["id"]
        desk.sort(Rx(answering("beta", ident, {}), "/beta"))
        answer(waiting)

    assert len(desk._askDue) < 100


def test_a_crew_doer_passes_on_what_its_hand_is_to_say_of_itself(reader, crewer):
    reader.ready("empty")
    reader.status("full")

    assert crewer.says == [("ready", "empty"), ("status", "full")]


def test_a_doer_that_ends_while_it_asks_leaves_nothing_behind(reader, desk):
    waiting = reader.ask("beta", "TOTAL")
    next(waiting)
    waiting.close()

    assert desk.dueAt() == math.inf


def test_a_question_of_nobody_in_particular_wakes_whoever_asked_it(desk, crewer):
    waiting = desk.ask("beta", "TOTAL", timeout=1.0)
    next(waiting)

    desk.expire(1.0)

    assert crewer.roused == ["whoever runs"]
    assert answer(waiting) is None


def test_a_question_reaches_the_doer_of_the_tag_inside_and_its_reply_the_asker(
    reader, crewer, desk
):
    desk.sort(Rx(asking("beta", "9.1", "TOTAL", {"of": "x"}), "/beta"))
    (asked,) = reader.got
    assert (asked.tag, asked.name, asked.load) == ("TOTAL", "beta", {"of": "x"})

    reader.reply(asked, {"total": 7})

    assert crewer.sent == [
        (MemoDom("ANS", "alpha", {"id": "9.1", "load": {"total": 7}}), "/beta"),
    ]


def test_a_question_that_is_none_is_dropped(desk, crewer, reader):
    desk.sort(Rx(write("ASK", "beta", {"id": 5}), "/beta"))

    assert [reason for reason, _ in crewer.dropped] == ["unreadable question"]


def test_the_boss_answers_under_its_own_name(crewer, desk, reader):
    del crewer.book["boss"]
    crewer.book["chief"] = "/boss"
    crewer.getAddr = lambda name: "/boss" if name in {"boss", "chief"} else None
    waiting = reader.ask("boss", "TOTAL")
    next(waiting)

    desk.sort(Rx(answering("chief", crewer.sent[0][0].load["id"], {}), "/boss"))

    assert crewer.roused == [reader]
    waiting.close()


def test_a_crew_doer_without_a_turn_of_its_own_sleeps():
    turns = Reader().recur(tock=1.0)

    assert next(turns) == math.inf
    assert turns.send(5.0) == math.inf
    turns.close()
