"""A real hio 0.7.20 Crewer is a hand of the daemon: a command that binds its own path."""

import json
from pathlib import Path

import pytest
from support.hio_env import environ, hioPython
from support.waiting import wait_until

pytestmark = pytest.mark.interop
pytest_plugins = ("support.boss",)

SUPPORT = Path(__file__).parents[1] / "support"
PEER = SUPPORT / "hio_peer.py"
WORDS = ["hand", "${HIOD_NAME}", "${HIOD_BOSS}", "${HIOD_BOSS_ADDR}"]


@pytest.fixture
def theirs(boss):
    """Give a boss with a hio hand that is ready, and what that hand has said so far."""
    own = environ()
    env = {name: own[name] for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    boss.add(
        "theirs",
        command=[str(hioPython()), str(PEER), *WORDS, str(boss.home)],
        env=env,
        ready={"by": "register"},
        log=boss.log_path("theirs"),
    )

    def said():
        lines = boss.hand_log("theirs").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    return said


def test_a_hio_hand_registers_from_a_path_of_its_own_and_is_listed_ready(boss, theirs):
    row = boss.row("theirs")
    memo = boss.ask("status", name="theirs")["memo"]

    assert row["state"] == "ready"
    assert Path(memo["address"]).is_relative_to(boss.home)
    assert Path(memo["address"]).is_socket()
    assert memo["kind"] == "hio"
    wait_until(lambda: theirs()[-1]["registered"], within_s=10.0)


def test_a_hio_hand_and_one_of_ours_exchange_memos_of_a_byte_to_a_megabyte(boss, theirs):
    boss.add(
        "ours",
        path=[str(SUPPORT)],
        doers=[{"ref": "asker:Asker", "tock": 0.02, "opts": {"to": "theirs"}}],
    )

    boss.until("ours", within_s=40.0, status="7 of 7 came back")

    got = [one for one in theirs() if "got" in one]
    assert [one["size"] for one in got] == [1, 1000, 26_000, 65_498, 65_499, 200_000, 1_000_000]
    assert {one["name"] for one in got} == {"ours"}


def test_a_hio_hand_lives_through_restarts_and_changes_of_the_crew(boss, theirs):
    before = boss.row("theirs")
    for name in ("one", "two"):
        boss.add(name, doers=[])

    boss.change("restart", "one", wait="ready")
    boss.change("remove", "two", wait="gone")
    boss.add("two", doers=[])
    boss.add("three", doers=[])
    boss.change("stop", "three", wait="gone")
    wait_until(lambda: "three" in theirs()[-1]["book"], within_s=10.0)

    after = boss.row("theirs")
    assert (after["pid"], after["state"]) == (before["pid"], "ready")
    assert after["restarts"] == 0
    book = theirs()[-1]["book"]
    assert {"one", "two"} <= book.keys()


def test_a_hio_hand_does_not_notice_that_its_boss_is_another(boss, theirs):
    boss.add("one", doers=[])
    before = boss.row("theirs")
    addr = boss.ask("status", name="theirs")["memo"]["address"]
    wait_until(lambda: "one" in theirs()[-1]["book"], within_s=10.0)

    boss.kill()
    boss.start()
    boss.add("two", doers=[])

    wait_until(lambda: "two" in theirs()[-1]["book"], within_s=10.0)
    after = boss.row("theirs")
    assert (after["pid"], after["state"]) == (before["pid"], "ready")
    memo = boss.ask("status", name="theirs")["memo"]
    assert (memo["address"], memo["kind"]) == (addr, "hio")
    (outcome,) = boss.change("stop", "theirs", wait="gone")
    assert (outcome["how"], outcome["code"]) == ("END", 0)


def test_a_hio_hand_ends_on_the_memo_that_asks_it_to(boss, theirs):
    (outcome,) = boss.change("stop", "theirs", wait="gone")

    assert outcome["state"] == "stopped"
    assert (outcome["how"], outcome["code"]) == ("END", 0)
    assert theirs()[-1] == {"exit": True, "graceful": True}


def test_a_hio_hand_that_is_restarted_binds_its_path_again_and_is_known_by_it(boss, theirs):
    addr = boss.ask("status", name="theirs")["memo"]["address"]

    boss.change("restart", "theirs", wait="ready")

    memo = boss.ask("status", name="theirs")["memo"]
    assert memo["kind"] == "hio"
    assert memo["address"] == addr


def test_a_hio_hand_outlives_its_boss_and_ends_for_the_next(boss, theirs):
    pid = boss.row("theirs")["pid"]

    boss.kill()
    boss.start()
    row = boss.row("theirs")
    (outcome,) = boss.change("stop", "theirs", wait="gone")

    assert (row["pid"], row["state"]) == (pid, "ready")
    assert outcome["how"] == "END"
