"""Boss and hand talk: what is said, what is answered, and whose word counts."""

import json
import math
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from hiod.base.crewdoms import Bossage, MemoDom
from hiod.base.crewing import (
    REG_FIRST_S,
    REG_LAST_S,
    STATUS_MAX,
    STATUS_S,
    STRANGERS_MAX,
    BossSide,
    Cred,
    HandSide,
    Question,
    Trust,
    ack,
    agreeing,
    answering,
    asking,
    beatPhase,
    bok,
    bookmark,
    claim,
    deadWhy,
    dropWhy,
    end,
    hey,
    question,
    read,
    tagOf,
    tojson,
    userTag,
)

VECTORS = Path(__file__).parents[2] / "vectors"
DOMS = json.loads((VECTORS / "doms.json").read_text(encoding="utf-8"))
SESSION = json.loads((VECTORS / "session.json").read_text(encoding="utf-8"))

BOSS = Bossage("boss", "/run/boss.uxd")
UID = 1000
BOSS_CRED = Cred(pid=100, uid=UID, gid=UID)


def figures():
    return {"cycles": 3}


def daemonHand(**kwa):
    kwa.setdefault("trust", Trust(uids=frozenset((0, UID)), pid=100, token="tok"))
    return HandSide("alpha", BOSS, addr="/run/m/alpha.uxd", generation=2, **kwa)


def hear(side, text, src=BOSS.path, cred=BOSS_CRED):
    return side.hear(read(text), src, cred)


def tags(memos):
    return [tagOf(memo) for memo in memos]


# --- recognition


@pytest.mark.parametrize("case", DOMS["tags"], ids=lambda case: case["memo"] or "empty")
def test_a_tag_is_recognised_where_hio_does(case):
    assert tagOf(case["memo"]) == case["tag"]


def test_a_head_without_an_end_is_not_searched_to_the_end_of_the_memo():
    assert tagOf('{"tag":"' + "A" * 10_000_000 + '"') is None


@pytest.mark.parametrize(
    "text",
    [
        '{"tag":"REG"',
        '{"tag":"REG","name":"a","load":{},"more":1}',
        '{"tag":"REG","name":["a"],"load":{}}',
        '{"tag":"REG","name":"a","load":[]}',
        '{"tag":"REG","name":"a","load":null}',
        '{"tag":"REG","tag":5}',
        "[" * 100_000,
        '["tag"]',
    ],
)
def test_what_is_no_record_is_not_read(text):
    assert read(text) is None


def test_missing_keys_take_hios_defaults():
    assert read('{"tag":"REG"}') == MemoDom("REG", "hand", {})
    assert read('{"tag":"END"}') == MemoDom("END", "boss", {})


@pytest.mark.parametrize("tag", ["READ", "A" * 16])
def test_a_tag_of_an_author_has_four_to_sixteen_letters(tag):
    assert userTag(tag)


@pytest.mark.parametrize("tag", ["REG", "A" * 17, "read", "READ1", "RÉAD", "", None, 5])
def test_any_other_tag_is_refused(tag):
    assert not userTag(tag)


def test_text_is_compact_and_keeps_other_letters():
    assert tojson({"b": "händ 世", "a": [1, None]}) == '{"b":"händ 世","a":[1,null]}'


# --- boss side


def test_a_crew_of_three_is_answered_as_hio_answers_it():
    boss = BossSide("boss", ["hand0", "hand1", "hand2"])
    addrs = {f"hand{n}": f"<HEAD>/hio/uxd/hand{n}.uxd" for n in range(3)}
    events = [e for e in SESSION["events"] if not e["when"].startswith("boss sends END")]
    expected = [(e["memo"], e["to"]) for e in events if e["sender"] == "boss"]

    said = []
    for event in events:
        if event["sender"] != "boss":
            out, reason = boss.hearReg(read(event["memo"]), addrs[event["sender"]])
            assert not reason
            said += out

    names = {addr: name for name, addr in addrs.items()}
    assert [(memo, names[addr]) for memo, addr in said] == expected
    assert boss.crewed


@pytest.mark.parametrize(
    ("name", "src", "reason"),
    [
        ("a", None, "REG from an unbound socket"),
        ("", "/a", "REG without a name of its own"),
        ("boss", "/a", "REG without a name of its own"),
        ("b", "/one", "REG from another hand's address"),
    ],
)
def test_a_registration_that_ends_a_hio_boss_changes_nothing(name, src, reason):
    boss = BossSide("boss", ["one", "two"])
    boss.hearReg(MemoDom("REG", "one"), "/one")

    assert boss.hearReg(MemoDom("REG", name), src) == ([], reason)
    assert boss.book == {"one": "/one"}


def test_strangers_do_not_fill_a_book_for_ever_and_keep_nobody_out():
    boss = BossSide("boss", ["one", "two"])
    boss.hearReg(MemoDom("REG", "one"), "/one")
    for number in range(STRANGERS_MAX):
        assert boss.hearReg(MemoDom("REG", f"s{number}"), f"/s{number}")[1] == ""

    assert boss.hearReg(MemoDom("REG", "late"), "/late") == ([], "REG of a stranger too many")
    assert boss.hearReg(MemoDom("REG", "x" * 256), "/x") == ([], "REG with a name too long")
    assert boss.hearReg(MemoDom("REG", "s0"), "/s0")[1] == ""
    assert boss.hearReg(MemoDom("REG", "two"), "/two")[1] == ""
    assert boss.crewed
    assert len(boss.book) == STRANGERS_MAX + 2


def test_a_name_outside_the_crew_does_not_stand_in_for_a_missing_hand():
    boss = BossSide("boss", ["one", "two"])
    boss.hearReg(MemoDom("REG", "one"), "/one")
    said, _ = boss.hearReg(MemoDom("REG", "stranger"), "/stranger")

    assert tags(memo for memo, _ in said) == ["ACK"]
    assert not boss.crewed


def test_a_hio_hand_is_not_told_of_a_changed_address_but_hiods_are():
    boss = BossSide("boss", ["hio", "ours", "moves"])
    ours = {"v": 1, "gen": 0, "seq": 1}
    boss.hearReg(MemoDom("REG", "hio"), "/hio")
    boss.hearReg(MemoDom("REG", "ours", ours), "/ours")
    boss.hearReg(MemoDom("REG", "moves", ours), "/old")

    said, _ = boss.hearReg(MemoDom("REG", "moves", ours), "/new")

    books = {addr: read(memo).load for memo, addr in said if tagOf(memo) == "BOK"}
    assert books["/hio"] == {"hio": "/hio", "ours": "/ours", "moves": "/old"}
    assert books["/ours"] == books["/new"] == {"hio": "/hio", "ours": "/ours", "moves": "/new"}


def test_a_hio_hand_that_was_told_a_name_is_never_told_that_path_for_another():
    boss = BossSide("boss", ["hio"])
    boss.hearReg(MemoDom("REG", "hio"), "/hio")
    boss.hearReg(MemoDom("REG", "one"), "/one")
    boss.leave("one")

    said, _ = boss.hearReg(MemoDom("REG", "two"), "/one")

    books = {addr: read(memo).load for memo, addr in said if tagOf(memo) == "BOK"}
    assert books["/hio"] == {"hio": "/hio", "one": "/one"}
    assert books["/one"] == {"hio": "/hio", "two": "/one"}


def test_a_hand_that_leaves_completes_the_crew_of_the_others():
    boss = BossSide("boss", ["one", "two"])
    boss.hearReg(MemoDom("REG", "one"), "/one")
    boss.leave("two")

    assert boss.crewed
    assert [addr for _, addr in boss.books()] == ["/one"]


def test_a_crew_that_nobody_ever_joined_is_not_crewed_by_leaving():
    boss = BossSide("boss", ["one"])
    boss.leave("one")

    assert not boss.crewed


def test_a_hio_hand_is_told_of_a_book_what_contradicts_nothing_it_knows():
    told = {"a": "/x"}

    assert agreeing(told, {"a": "/x", "b": "/y", "c": "/y"}) == {"a": "/x", "b": "/y"}
    assert agreeing(told, {"a": "/elsewhere", "b": "/x", "d": "/z"}) == {"d": "/z"}


def test_an_end_carries_its_numbers_in_the_load():
    boss = BossSide("boss")

    assert boss.end() == '{"tag":"END","name":"boss","load":{"v":1,"gen":0,"seq":1}}'
    assert boss.end() == '{"tag":"END","name":"boss","load":{"v":1,"gen":0,"seq":2}}'


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        ({}, (None, None, "")),
        ({"v": 1, "gen": 3, "seq": 4, "token": "t"}, (3, 4, "t")),
        ({"v": True, "gen": 3}, (None, None, "")),
        ({"v": 1, "gen": "3", "seq": 1.5, "token": 9}, (None, None, "")),
    ],
)
def test_who_speaks_is_read_from_the_load(load, expected):
    found = claim(load)

    assert tuple(found) == expected
    assert found.hio == (expected[0] is None)


# --- hand side


def test_a_hand_registers_once_and_again_until_it_is_answered():
    side = daemonHand()

    said = [(at, side.due(at, figures)) for at in (0.0, 0.1, REG_FIRST_S, 0.5, 0.75)]

    assert [at for at, memos in said if memos] == [0.0, REG_FIRST_S, 0.75]
    first = orjson.loads(said[0][1][0])
    assert first == {
        "tag": "REG",
        "name": "alpha",
        "load": {"v": 1, "gen": 2, "seq": 1, "token": "tok"},
    }
    hear(side, ack("boss", "alpha", "/run/m/alpha.uxd"))
    assert side.registered
    assert side.dueAt() == math.inf


def test_a_hand_that_no_daemon_started_registers_without_a_token():
    side = HandSide("hand0", BOSS)

    (memo,) = side.due(0.0, figures)

    assert memo == '{"tag":"REG","name":"hand0","load":{"v":1,"gen":0,"seq":1}}'


def test_the_pause_between_registrations_grows_to_its_limit():
    side = daemonHand()
    pauses = []
    for _ in range(6):
        at = side.dueAt()
        assert len(side.due(at, figures)) == 1
        pauses.append(side.dueAt() - at)

    assert pauses == [REG_FIRST_S, 0.5, 1.0, REG_LAST_S, REG_LAST_S, REG_LAST_S]


def test_a_hand_without_a_boss_says_nothing():
    side = HandSide("alone", Bossage(), beat_s=1.0)
    side.callReady()

    assert side.due(5.0, figures) == []
    assert side.dueAt() == math.inf
    assert side.hear(MemoDom("END", "boss"), None, None).reason


def test_an_answer_left_by_an_earlier_life_does_not_register():
    side = daemonHand()

    assert hear(side, ack("boss", "alpha", "/a")).reason == "ACK before REG"
    assert not side.registered


@pytest.mark.parametrize(
    ("text", "src", "cred", "reason"),
    [
        (end("boss", generation=2, seq=1), "/run/m/beta.uxd", BOSS_CRED, "address"),
        (end("boss", generation=2, seq=1), None, BOSS_CRED, "address"),
        (end("chief", generation=2, seq=1), BOSS.path, BOSS_CRED, "name"),
        (end("boss", generation=2, seq=1), BOSS.path, Cred(100, 1001, 0), "user"),
        (end("boss", generation=2, seq=1), BOSS.path, None, "user"),
        (end("boss", generation=2, seq=1), BOSS.path, Cred(101, UID, 0), "process"),
        (end("boss", generation=1, seq=1), BOSS.path, BOSS_CRED, "generation"),
        ('{"tag":"END","name":"boss","load":{}}', BOSS.path, BOSS_CRED, "generation"),
        (hey("boss", generation=2, seq=1, token="no"), BOSS.path, BOSS_CRED, "token"),
        (ack("boss", "beta", "/b"), BOSS.path, BOSS_CRED, "something else"),
        ('{"tag":"REG","name":"boss","load":{}}', BOSS.path, BOSS_CRED, "not for a hand"),
    ],
)
def test_control_that_is_not_the_bosss_does_not_count(text, src, cred, reason):
    side = daemonHand()
    side.due(0.0, figures)

    heard = hear(side, text, src, cred)

    assert heard.what == ""
    assert reason in heard.reason
    assert (side.ending, side.registered, side.booked) == (False, False, False)


def test_end_of_this_generation_from_the_boss_ends_the_hand():
    side = daemonHand()

    assert hear(side, end("boss", generation=2, seq=1)).what == "end"
    assert side.ending


def test_a_hand_nobody_numbered_ends_on_hios_end():
    side = HandSide("hand0", BOSS)

    assert hear(side, '{"tag":"END","name":"boss","load":{}}', cred=None).what == "end"


def test_root_may_be_the_boss():
    side = daemonHand()

    assert hear(side, end("boss", generation=2, seq=1), cred=Cred(100, 0, 0)).what == "end"


def test_a_book_replaces_the_one_before():
    side = daemonHand()
    hear(side, bok("boss", {"alpha": "/run/m/alpha.uxd", "beta": "/b", "gamma": "/g"}))
    assert side.book == {"beta": "/b", "gamma": "/g"}

    hear(side, bok("boss", {"gamma": "/g2"}))

    assert side.book == {"gamma": "/g2"}


def test_a_hand_says_to_a_new_boss_which_book_it_has():
    side = daemonHand()
    said = [read(text).load for text in side.due(0.0, figures)]
    book = {"alpha": "/run/m/alpha.uxd", "beta": "/b"}
    hear(side, bok("boss", book))
    hear(side, hey("boss", generation=2, seq=1, token="tok"))

    again = [read(text).load for text in side.due(1.0, figures)]

    assert "book" not in said[0]
    assert again[0]["book"] == bookmark(dict(reversed(book.items())))
    assert again[0]["book"] != bookmark({**book, "beta": "/c"})


@pytest.mark.parametrize(
    ("name", "addr"),
    [("", "/x"), ("boss", "/x"), ("b", ""), ("b", None), ("b", 5), ("b", "/g"), ("b", BOSS.path)],
)
def test_a_book_that_ends_a_hio_hand_loses_only_the_entry_that_would(name, addr):
    side = daemonHand()

    hear(side, bok("boss", {"gamma": "/g", name: addr}))

    assert side.book == {"gamma": "/g"}
    assert side.refused == 1


def test_a_new_boss_is_the_boss_from_then_on_and_hears_everything_again():
    side = daemonHand(beat_s=5.0)
    side.callReady()
    side.due(0.0, figures)
    hear(side, ack("boss", "alpha", "/run/m/alpha.uxd"))
    new = Cred(pid=200, uid=UID, gid=UID)

    heard = hear(side, hey("boss", generation=2, seq=1, token="tok"), cred=new)

    assert heard.what == "hey"
    assert tags(side.due(1.0, figures)) == ["REG", "RDY", "HBT"]
    assert hear(side, end("boss", generation=2, seq=2)).reason
    assert hear(side, end("boss", generation=2, seq=3), cred=new).what == "end"


def test_after_a_new_boss_the_registration_is_repeated_until_that_one_answers():
    side = daemonHand()
    side.due(0.0, figures)
    hear(side, ack("boss", "alpha", "/run/m/alpha.uxd"))
    hear(side, hey("boss", generation=2, seq=1, token="tok"))
    side.due(1.0, figures)

    assert side.registered
    assert tags(side.due(1.0 + REG_FIRST_S, figures)) == ["REG"]


def test_a_hey_that_the_kernel_does_not_sign_names_no_boss():
    side = daemonHand(trust=Trust(uids=None, pid=100, token="tok"))

    assert hear(side, hey("boss", generation=2, seq=1, token="tok"), cred=None).reason


def test_ready_is_said_behind_the_registration():
    side = daemonHand()
    side.callReady()
    side.say("empty")

    assert side.dueAt() == -math.inf
    memos = side.due(0.0, figures)

    assert tags(memos) == ["REG", "RDY"]
    assert orjson.loads(memos[1])["load"] == {"v": 1, "gen": 2, "seq": 2, "status": "empty"}
    assert side.due(0.1, figures) == []


def test_a_heart_beats_at_its_pace():
    side = daemonHand(beat_s=5.0)
    side.due(0.0, figures)
    hear(side, ack("boss", "alpha", "/run/m/alpha.uxd"))

    assert side.dueAt() == 5.0
    assert side.due(4.9, figures) == []
    memos = side.due(5.0, figures)

    assert orjson.loads(memos[0]) == {
        "tag": "HBT",
        "name": "alpha",
        "load": {"v": 1, "gen": 2, "seq": 2, "cycles": 3, "status": "", "ready": False},
    }
    assert side.dueAt() == 10.0


def test_a_changed_status_is_told_soon_but_not_oftener_than_its_pause():
    side = daemonHand(beat_s=5.0)
    side.due(0.0, figures)
    hear(side, ack("boss", "alpha", "/run/m/alpha.uxd"))

    side.say("one")
    assert tags(side.due(1.0, figures)) == ["HBT"]
    side.say("two")
    assert side.due(1.1, figures) == []
    assert side.dueAt() == 1.0 + STATUS_S
    assert orjson.loads(side.due(1.5, figures)[0])["load"]["status"] == "two"
    side.say("two")
    assert side.dueAt() == 6.5


def test_a_status_text_is_cut_where_a_heartbeat_would_grow_large():
    side = daemonHand()
    side.say("x" * 1_000_000)

    assert side.status == "x" * STATUS_MAX


def test_a_status_of_a_name_that_is_no_utf8_can_be_told():
    side = daemonHand(beat_s=5.0)
    side.say("reads caf\udce9.csv")

    (text,) = [text for text in side.due(5.0, figures) if tagOf(text) == "HBT"]
    assert read(text).load["status"] == "reads caf?.csv"


# --- questions


def test_a_question_keeps_the_id_its_answer_carries():
    asked = question(read(asking("beta", "2.7", "TOTAL", {"of": "x"})))

    assert asked == Question("TOTAL", "beta", {"of": "x"})
    assert asked.ask == "2.7"
    assert orjson.loads(answering("alpha", asked.ask, {"n": 1})) == {
        "tag": "ANS",
        "name": "alpha",
        "load": {"id": "2.7", "load": {"n": 1}},
    }


@pytest.mark.parametrize(
    "load",
    [
        {},
        {"id": 5, "tag": "TOTAL", "load": {}},
        {"id": "1", "tag": "END", "load": {}},
        {"id": "1", "tag": "TOTAL", "load": []},
        {"id": "1", "tag": "TOTAL"},
    ],
)
def test_what_is_no_question_is_none(load):
    assert question(MemoDom("ASK", "beta", load)) is None


def test_neighbours_beat_a_millisecond_apart_and_bursts_of_them_far_from_each_other():
    first = [beatPhase(place, 5.0) for place in range(50)]
    bursts = sorted(beatPhase(50 * n, 5.0) for n in range(20))

    assert [later - sooner for sooner, later in pairwise(first)] == pytest.approx([0.001] * 49)
    assert min(later - sooner for sooner, later in pairwise(bursts)) > 0.05
    assert max(later - sooner for sooner, later in pairwise([*bursts, bursts[0] + 5.0])) < 0.5


@pytest.mark.parametrize("beat_s", [0.01, 1.0, 5.0, 3600.0])
def test_every_hand_beats_within_its_interval(beat_s):
    assert all(0.0 <= beatPhase(place, beat_s) < beat_s for place in range(5000))


# --- why memos were lost


def test_a_dead_letter_says_whose_name_was_never_in_the_book() -> None:
    assert deadWhy("feeder", "name never in the book", []) == (
        'name "feeder" never came into the book'
    )


@pytest.mark.parametrize(
    ("peers", "hint"),
    [
        (["feeder-0"], '"feeder" is the base of feeder-0; a memo goes to one hand'),
        (
            ["feeder-0", "feeder-1", "feeder-3"],
            '"feeder" is the base of feeder-0 to feeder-3; a memo goes to one of them',
        ),
    ],
)
def test_a_dead_letter_to_a_base_says_which_hands_are_meant(peers, hint) -> None:
    assert deadWhy("feeder", "name never in the book", peers).endswith(f"; {hint}")


def test_a_dead_letter_of_any_other_reason_says_for_whom_it_was() -> None:
    assert deadWhy("beta", "outbox-full", []) == (
        '"beta" has not read what was sent: there is no room for more'
    )
    assert deadWhy("beta", "EMSGSIZE", []) == 'EMSGSIZE, to "beta"'


def test_a_drop_says_from_whom_it_was() -> None:
    assert dropWhy("beta", "/run/beta", 5, "bad-utf8") == 'bad-utf8, from "beta"'
    assert dropWhy(None, "/run/beta", 5, "bad-utf8") == "bad-utf8, from /run/beta"
    assert dropWhy(None, None, 5, "no source") == "no source, from process 5"
    assert dropWhy(None, None, None, "no source") == "no source, from a process unknown"


def test_why_is_short_and_can_be_said_whatever_the_name() -> None:
    why = deadWhy("\udc80" + "x" * 500, "unreachable", [])

    assert len(why) == STATUS_MAX
    why.encode()
