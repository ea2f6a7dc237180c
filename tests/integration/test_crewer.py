"""A daemon's hand in this process: its Crewer on an inherited mailbox, the boss played by hand."""

import math
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from hiod.base.crewing import ack, bok, end, hey, read, tagOf, write
from hiod.base.doing import Doer, Doist, doify
from hiod.base.multidoing import Bossage, CrewDoer, Crewer, Posting
from hiod.core.memo.gramming import parse
from hiod.core.memo.memoing import Memoer
from hiod.core.uxd.uxding import bindMailbox


class Mouth:
    """A bound socket that says and hears whole memos of one gram."""

    def __init__(self, path):
        self.path = path
        self.sock = bindMailbox(path)
        self._memoer = Memoer()

    def say(self, text, dst):
        for gram in self._memoer.rend(text):
            self.sock.sendto(gram, dst)

    def hear(self):
        heard = []
        while True:
            try:
                heard.append(self.sock.recv(65536)[32:].decode())
            except BlockingIOError:
                return heard

    def close(self):
        self.sock.close()


class Hand:
    """A posted Crewer under a Doist in artificial tyme, with boss and peer beside it."""

    def __init__(self, rundir, **kwa):
        self.boss = Mouth(f"{rundir}/boss.uxd")
        self.beta = Mouth(f"{rundir}/beta.uxd")
        self.path = f"{rundir}/alpha.uxd"
        self.mailbox = bindMailbox(self.path)
        self.posting = Posting(
            name="alpha",
            hand="alpha",
            boss=Bossage("boss", self.boss.path),
            addr=self.path,
            fd=os.dup(self.mailbox.fileno()),
            generation=2,
            token="tok",
            **{"beat_s": 0.0, "bossPid": os.getpid(), **kwa},
        )
        self.crewer = Crewer()
        self.crewer.assign(self.posting)
        self.doist = None

    def begin(self, *doers):
        self.doist = Doist(real=False, tock=0.125, doers=[self.crewer, *doers])
        self.doist.enter()
        return self

    def turn(self, count=1):
        for _ in range(count):
            self.doist.recur()

    def register(self):
        self.turn()
        self.boss.hear()
        self.boss.say(ack("boss", "alpha", self.path), self.path)
        self.boss.say(bok("boss", {"alpha": self.path, "beta": self.beta.path}), self.path)
        self.turn()

    def close(self):
        if self.doist is not None:
            self.doist.exit()
        for thing in (self.boss, self.beta, self.mailbox):
            thing.close()


class Store(CrewDoer):
    tags = ("READING", "TOTAL")

    def enter(self, *, temp=None):
        self.values = []
        self.ready("empty")

    def memo(self, memo):
        if memo.tag == "READING":
            self.values.append(memo.load["value"])
        else:
            self.reply(memo, {"total": sum(self.values)})


@pytest.fixture
def rundir():
    path = tempfile.mkdtemp(prefix="hi", dir="/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def make(rundir):
    hands = []

    def hand(**kwa):
        hands.append(Hand(rundir, **kwa))
        return hands[-1]

    yield hand
    for each in hands:
        each.close()


@pytest.fixture
def hand(make):
    return make()


def tags(memos):
    return [tagOf(memo) for memo in memos]


def test_a_hand_registers_from_the_mailbox_it_inherited(hand):
    hand.begin()
    hand.turn()

    (memo,) = hand.boss.hear()
    assert memo == ('{"tag":"REG","name":"alpha","load":{"v":1,"gen":2,"seq":1,"token":"tok"}}')
    assert hand.crewer.path == hand.path


def test_a_registration_waits_for_every_doers_enter(hand):
    heard = []

    class Late(Doer):
        def enter(self, *, temp=None):
            heard.extend(hand.boss.hear())

    hand.begin(Late())
    assert heard == []
    hand.turn()

    assert tags(hand.boss.hear()) == ["REG"]


def test_an_answered_hand_knows_its_crew(hand):
    hand.begin()
    hand.register()

    assert hand.crewer.registered
    assert hand.crewer.addrByName == {"boss": hand.boss.path, "beta": hand.beta.path}


def test_the_boss_is_the_boss_under_whatever_name(make):
    hand = make()
    hand.crewer.boss = Bossage("chief", hand.boss.path)
    hand.begin()

    assert hand.crewer.getAddr("boss") == hand.crewer.getAddr("chief") == hand.boss.path


def test_peers_of_a_base_come_in_order_of_their_ordinals(hand):
    hand.begin()
    hand.turn()
    names = ["feed-10", "feed-2", "feed", "feed-x", "feeder-1", "-3", "other-feed-1"]
    book = {name: f"/x/{name}" for name in names}
    hand.boss.say(bok("boss", book), hand.path)
    hand.turn()

    assert hand.crewer.peers("feed") == ["feed", "feed-2", "feed-10"]
    assert hand.crewer.peers("boss") == ["boss"]


def test_a_closed_hand_leaves_the_mailbox_bound_for_the_next(hand):
    hand.begin()
    hand.doist.exit()

    hand.beta.say("kept", hand.path)
    assert hand.mailbox.recv(100)[32:] == b"kept"


def test_a_ready_hand_says_so_behind_its_registration(make):
    hand = make(readyBy="memo")
    hand.begin(Store(crewer=hand.crewer))
    hand.turn()

    memos = hand.boss.hear()
    assert tags(memos) == ["REG", "RDY"]
    assert read(memos[1]).load["status"] == "empty"


def test_a_hand_that_is_ready_by_other_means_sends_no_rdy(hand):
    hand.begin(Store(crewer=hand.crewer))
    hand.turn(2)

    assert tags(hand.boss.hear()) == ["REG"]


def test_a_heart_beats_with_what_the_loop_and_the_mailbox_did(make):
    hand = make(beat_s=0.25)
    hand.begin(Store(crewer=hand.crewer))
    hand.register()
    hand.boss.hear()
    hand.beta.say(write("READING", "gamma", {"value": 1}), hand.path)
    hand.turn(3)

    (beat, *_) = hand.boss.hear()
    memo = read(beat)
    assert memo.tag == "HBT"
    assert memo.load["status"] == "empty"
    assert {"v", "gen", "seq", "cycles", "lag_ms", "outbox", "dead", "drops", "in", "out"} <= set(
        memo.load
    )
    assert memo.load["drops"] == 1
    assert memo.load["cycles"] >= 3


def test_a_heartbeat_says_why_the_latest_memos_were_lost_once_some_were(make):
    hand = make(beat_s=0.25)
    store = Store(crewer=hand.crewer)
    hand.begin(store)
    hand.register()
    hand.turn(3)
    loads = [read(text).load for text in hand.boss.hear() if tagOf(text) == "HBT"]
    assert not any({"dead_why", "drop_why"} & load.keys() for load in loads)

    book = {"alpha": hand.path, "beta": hand.beta.path, "feeder-0": "/f0", "feeder-1": "/f1"}
    hand.boss.say(bok("boss", book), hand.path)
    hand.beta.say(write("READING", "gamma", {"value": 1}), hand.path)
    store.tell("feeder", "READING")
    hand.turn(90)
    hand.boss.hear()
    hand.turn(3)

    load = read(hand.boss.hear()[-1]).load
    assert (load["dead"], load["dead_why"]) == (
        1,
        'name "feeder" never came into the book; '
        '"feeder" is the base of feeder-0 to feeder-1; a memo goes to one of them',
    )
    assert (load["drops"], load["drop_why"]) == (1, 'name is not its source\'s, from "beta"')


def test_a_heartbeat_names_the_hand_that_left_the_book(make):
    hand = make(beat_s=0.25)
    store = Store(crewer=hand.crewer)
    hand.begin(store)
    hand.register()
    for n in range(20):
        store.tell("beta", "READING", {"n": n})
    hand.boss.say(bok("boss", {"alpha": hand.path}), hand.path)
    hand.turn(4)

    load = read(hand.boss.hear()[-1]).load
    assert load["dead"] > 0
    assert load["dead_why"] == '"beta" left the book before it had read all'


def test_a_memo_reaches_its_doer_and_its_answer_the_sender(hand):
    store = Store(crewer=hand.crewer)
    hand.begin(store)
    hand.register()

    hand.beta.say(write("READING", "beta", {"value": 3}), hand.path)
    hand.beta.say(write("TOTAL", "beta", {}), hand.path)
    hand.turn()

    assert store.values == [3]
    assert hand.beta.hear() == ['{"tag":"TOTAL","name":"alpha","load":{"total":3}}']


def test_a_doer_that_asks_goes_on_with_the_answer(hand):
    got = []

    class Asker(CrewDoer):
        def recur(self, tock):
            yield tock
            got.append((yield from self.ask("beta", "TOTAL", {"of": 1})))
            return True

    hand.begin(Asker(crewer=hand.crewer))
    hand.register()
    hand.turn()
    (asked,) = hand.beta.hear()
    ident = read(asked).load["id"]
    assert ident.startswith("2.")

    hand.beta.say(write("ANS", "beta", {"id": ident, "load": {"total": 9}}), hand.path)
    hand.turn(2)

    assert [memo.load for memo in got] == [{"total": 9}]


def test_a_question_without_an_answer_is_none_at_its_time(hand):
    got = []

    class Asker(CrewDoer):
        def recur(self, tock):
            yield tock
            got.append((yield from self.ask("beta", "TOTAL", timeout=0.5)))
            return True

    hand.begin(Asker(crewer=hand.crewer))
    hand.register()
    hand.turn()
    assert got == []
    hand.turn(4)

    assert got == [None]


def test_a_generator_function_asks_through_the_crewer(hand):
    got = []

    def asker(tymth, tock=0.0, *, crewer, **opts):
        yield tock
        got.append((yield from crewer.ask("beta", "TOTAL")))
        return True

    hand.begin(doify(asker, crewer=hand.crewer))
    hand.register()
    hand.turn()
    (asked,) = hand.beta.hear()
    hand.beta.say(
        write("ANS", "beta", {"id": read(asked).load["id"], "load": {"total": 9}}), hand.path
    )
    hand.turn(2)

    assert [memo.load for memo in got] == [{"total": 9}]


def test_a_memo_to_oneself_comes_back(hand):
    store = Store(crewer=hand.crewer)
    hand.begin(store)
    hand.register()

    store.tell("alpha", "READING", {"value": 5})
    hand.turn()

    assert store.values == [5]


def test_a_memo_leaves_at_once_without_waiting_for_a_turn(hand):
    store = Store(crewer=hand.crewer)
    hand.begin(store)
    hand.register()

    assert store.tell("beta", "READING", {"value": 5})

    assert tags(hand.beta.hear()) == ["READING"]


def test_a_full_outbox_says_no(hand):
    store = Store(crewer=hand.crewer)
    hand.begin(store)
    hand.register()

    told = [store.tell("beta", "READING", {"n": n}) for n in range(1100)]

    assert told.index(False) >= 1000
    assert sum(hand.crewer.deads.values()) == told.count(False)


def test_a_member_that_left_the_book_is_forgotten_with_its_memos_counted(hand):
    store = Store(crewer=hand.crewer)
    hand.begin(store)
    hand.register()
    for n in range(20):
        store.tell("beta", "READING", {"n": n})
    waiting = hand.crewer.outboxDepth
    assert waiting > 0

    hand.boss.say(bok("boss", {"alpha": hand.path}), hand.path)
    hand.turn()

    assert hand.crewer.getAddr("beta") is None
    assert hand.crewer.outboxDepth == 0
    assert hand.crewer.deads == {"left the book": waiting}


def test_the_inbox_is_bounded(hand):
    hand.crewer.maxIn = 3
    hand.begin()
    hand.register()
    for n in range(5):
        hand.beta.say(f"memo {n}", hand.path)
    hand.turn(3)

    assert [memo for memo, _, _ in hand.crewer.inbox] == ["memo 0", "memo 1", "memo 2"]
    assert hand.crewer.drops == {"inbox-full": 2}


def test_end_is_seen_by_the_doers_before_all_close_the_crewer_last(hand):
    seen = []

    class Watcher(Doer):
        def recur(self, tyme):
            seen.append(hand.crewer.ending)
            return False

        def cease(self):
            seen.append("cease")
            hand.crewer.tell("beta", "LASTWORD")

    hand.begin(Watcher())
    hand.register()
    seen.clear()
    halted = []
    hand.doist.halt = lambda: halted.append(True)

    hand.boss.say(end("boss", generation=2, seq=1), hand.path)
    hand.turn(2)
    hand.doist.exit()

    assert halted
    assert True in seen
    assert seen[-1] == "cease"
    assert tags(hand.beta.hear()) == ["LASTWORD"]
    assert not hand.crewer.opened


def test_end_of_another_generation_is_counted_and_no_more(hand):
    hand.begin()
    hand.register()
    hand.boss.say(end("boss", generation=1, seq=1), hand.path)
    hand.turn(2)

    assert not hand.crewer.ending
    assert hand.crewer.drops == {"END of another generation": 1}


def test_end_from_a_peer_is_counted_and_no_more(hand):
    hand.begin()
    hand.register()
    hand.beta.say(end("boss", generation=2, seq=1), hand.path)
    hand.turn(2)

    assert not hand.crewer.ending
    assert hand.crewer.drops == {"control not from the boss's address": 1}


def test_control_from_a_process_that_is_not_the_boss_does_not_count(make):
    hand = make(bossPid=1)
    hand.begin()
    hand.turn()
    hand.boss.say(end("boss", generation=2, seq=1), hand.path)
    hand.turn(2)
    assert hand.crewer.drops == {"control from another process": 1}

    hand.boss.hear()
    hand.boss.say(hey("boss", generation=2, seq=1, token="tok"), hand.path)
    hand.turn(2)
    assert tags(hand.boss.hear()) == ["REG"]
    hand.boss.say(end("boss", generation=2, seq=2), hand.path)
    hand.turn()

    assert hand.crewer.ending


def test_a_boss_at_a_new_socket_hears_a_hand_that_the_former_one_left_with_a_full_queue(hand):
    hand.begin()
    hand.register()
    former = hand.boss
    while hand.crewer.outboxDepth == 0:
        hand.crewer.memoit("nobody reads this", former.path)
        hand.turn()
    Path(former.path).unlink()
    hand.boss = Mouth(former.path)  # the former's socket is still held open, and full
    hand.boss.say(hey("boss", generation=2, seq=1, token="tok"), hand.path)
    hand.turn(2)

    heard = tags(hand.boss.hear())
    former.close()
    assert "REG" in heard


def test_a_signal_ends_a_daemons_hand_and_the_former_handler_is_put_back(hand):
    former = signal.getsignal(signal.SIGTERM)
    hand.doist = Doist(real=True, limit=20.0, doers=[hand.crewer, Killer()])

    hand.doist.do()

    assert hand.crewer.ending
    assert hand.doist.done is False
    assert signal.getsignal(signal.SIGTERM) == former


class Killer(Doer):
    """Signals its own process once."""

    def recur(self, tyme):
        os.kill(os.getpid(), signal.SIGTERM)
        return True


def test_an_idle_hand_sleeps(hand):
    doist = Doist(real=True, limit=1.0, doers=[hand.crewer, Store(crewer=hand.crewer)])
    hand.boss.say(ack("boss", "alpha", hand.path), hand.path)

    class Answering(Doer):
        def recur(self, tyme):
            hand.boss.say(ack("boss", "alpha", hand.path), hand.path)
            return True

    doist.doers.append(Answering())
    doist.do()

    assert hand.crewer.registered
    assert doist.cycles < 10


def test_a_beat_is_said_aside_once_nothing_else_is_to_be_said(make):
    hand = make(beat_s=0.25)
    hand.begin(Store(crewer=hand.crewer))
    hand.crewer.beatAside()
    assert hand.crewer.asideAt() == math.inf  # not registered
    hand.register()
    hand.boss.hear()

    at = hand.crewer.asideAt()
    then = hand.crewer.sayAside(at)

    (beat,) = hand.boss.hear()
    memo = read(beat)
    assert (memo.tag, memo.name, memo.load["status"]) == ("HBT", "alpha", "empty")
    assert (then, hand.crewer.asideAt()) == (at + 0.25, at + 0.25)
    assert hand.crewer.dueAt() == math.inf  # no turn is wanted for it
    hand.crewer.status("full")
    assert hand.crewer.asideAt() == math.inf


def test_beats_said_aside_are_whole_memos_of_their_own(make):
    hand = make(beat_s=0.25)
    hand.begin()
    hand.crewer.beatAside()
    hand.register()
    hand.boss.hear()

    hand.crewer.sayAside(hand.crewer.asideAt())
    hand.crewer.sayAside(hand.crewer.asideAt())

    grams = [hand.boss.sock.recv(65536) for _ in range(2)]
    ids = [parse(gram)[1] for gram in grams]
    assert len(set(ids)) == 2
    assert {len(mid) for mid in ids} == {24}
    assert [read(gram[32:].decode()).load["seq"] for gram in grams] == [2, 3]
    assert hand.crewer.memosSent == 3  # with the REG


def test_a_beat_that_finds_no_room_waits_in_the_outbox_like_any_memo(make):
    hand = make(beat_s=0.25)
    hand.begin()
    hand.crewer.beatAside()
    hand.register()
    hand.boss.hear()
    while hand.crewer.sayAside(hand.crewer.asideAt()) > -math.inf:
        pass  # until the boss's queue is full

    assert hand.crewer.outboxDepth == 1
    hand.boss.hear()
    hand.turn()
    assert tags(hand.boss.hear()) == ["HBT"]


def test_a_crewer_that_sends_in_its_own_way_sees_its_beats(make):
    class Own(Crewer):
        def memoit(self, memo, dst, vid=None, key=None):
            return super().memoit(memo, dst, vid, key)

    hand = make(beat_s=0.25)
    hand.crewer = Own()
    hand.crewer.assign(hand.posting)
    hand.begin()
    hand.crewer.beatAside()
    hand.register()

    assert hand.crewer.asideAt() == math.inf
    assert hand.crewer.dueAt() < math.inf
