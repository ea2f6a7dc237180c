"""What must not hurt a boss: garbage on its sockets, and hands that cannot be made."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import wait_until

from hiod.base import crewing
from hiod.core.memo.gramming import cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.boss import Boss

pytest_plugins = ("support.boss",)

CREW = """
[hand.fine]
doers = ["hiod.demo:Ticker"]
[hand.broken]
doers = ["nosuch.module:Thing"]
restart = { delay_s = 0.01, limit = 2 }
log = "%s"
[hand.later]
doers = []
after = ["broken"]
"""
GRAM_BYTES = 65536
NO_MID = b"0A" + b"A" * 22


@pytest.fixture(scope="module")
def crew(module_boss: Boss) -> Boss:
    """Give one boss for the whole module, with a hand that is well and one that cannot be."""
    module_boss.crew(CREW % module_boss.log_path("broken"))
    module_boss.start()
    module_boss.until("fine", state="ready")
    module_boss.until("broken", state="failed")
    return module_boss


def rejected(boss: Boss) -> int:
    """Return how many memos did not count so far."""
    count: int = boss.ask("about")["figures"].get("memos.rejected", 0)
    return count


def facts(boss: Boss) -> dict[str, tuple[Any, ...]]:
    """Return what no garbage may change."""
    return {
        name: (row["state"], row["pid"], row["generation"], row["restarts"])
        for name, row in boss.rows().items()
    }


# ---------------------------------------------------------------------------- the memo socket


@pytest.fixture
def stranger(crew: Boss):
    """Give a bound socket that is nobody's mailbox, and what sends a datagram from it."""
    path = crew.home / "stranger.uxd"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.bind(str(path))
        yield lambda data: sender.sendto(data, str(crew.runtime / "boss.uxd"))
    path.unlink()


def memo(text: str) -> bytes:
    """Return a memo as its one gram."""
    (gram,) = cut(text.encode(), NO_MID, "bAAA", GRAM_BYTES, curt=False)
    return gram


def test_what_is_no_memo_at_all_changes_nothing_and_is_counted(
    crew: Boss, stranger: Callable[[bytes], Any]
):
    before, counted = facts(crew), rejected(crew)
    rng = random.Random(7)
    sizes = (1, 3, 31, 32, 33, 64, 500, 4000)

    for size in sizes:
        stranger(rng.randbytes(size))

    wait_until(lambda: rejected(crew) == counted + len(sizes))
    assert facts(crew) == before


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        '{"tag":"REG"',
        '{"tag":"REG","name":"fine","load":{}}',
        '{"tag":"REG","name":"nobody","load":{"v":1,"gen":1,"seq":1}}',
        '{"tag":"END","name":"fine","load":{}}',
        '{"tag":"RDY","name":"fine","load":{"v":1,"gen":1,"seq":9}}',
        '{"tag":"HBT","name":"fine","load":{"v":1,"gen":1,"seq":9,"status":"pwned"}}',
        '{"tag":"BOK","name":"boss","load":{"fine":"/tmp/x"}}',
        '{"tag":"HELLO","name":"fine","load":{}}',
    ],
)
def test_a_memo_of_nobody_in_the_crew_does_not_count(
    crew: Boss, stranger: Callable[[bytes], Any], text: str
):
    before, counted = facts(crew), rejected(crew)

    stranger(memo(text))

    wait_until(lambda: rejected(crew) == counted + 1)
    assert facts(crew) == before
    assert crew.row("fine")["status"] != "pwned"


def test_who_takes_a_hands_name_but_is_not_its_process_is_told_of(
    crew: Boss, stranger: Callable[[bytes], Any]
):
    counted = rejected(crew)
    text = crewing.write("REG", "fine", {"v": 1, "gen": 1, "seq": 1})

    while True:  # only every doubling is told, so that a flood does not flood the journal
        stranger(memo(text))
        counted += 1
        wait_until(lambda: rejected(crew) == counted)  # noqa: B023 - it is called at once
        if counted & (counted - 1) == 0:
            break

    told = crew.events("memo.rejected")[-1]
    assert told["level"] == "warning"
    assert told["facts"]["why"].startswith("REG of fine by process ")
    assert told["facts"]["count"] == counted


# ---------------------------------------------------------------------------- the admin socket


def talk(boss: Boss, data: bytes) -> list[dict[str, Any]]:
    """Say something on a connection of its own and return all replies."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(20)
        line.connect(str(boss.admin_socket))
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        with line.makefile("rb") as file:
            return [json.loads(text) for text in file.read().replace(b"\0", b"\n").splitlines()]


def test_garbage_on_the_admin_socket_is_answered_counted_and_survived(crew: Boss):
    before = facts(crew)
    counted = crew.ask("about")["figures"]["refused"].get("BadMessage", 0)
    lines = [b"", b"hello", b"{", b"[]", b'{"method":1}', b'{"method":"list","parameters":[]}',
             b"[" * 100 + b"]" * 100, b"\xff\xfe", b'{"method":"ping","upgrade":true}']  # fmt: skip

    replies = talk(crew, b"\n".join([*lines, b'{"method":"ping"}', b""]))

    assert [one.get("error") for one in replies[:-1]] == ["io.hiod.Boss.BadMessage"] * 8
    assert replies[-1] == {"parameters": {}}
    assert facts(crew) == before
    assert crew.ask("about")["figures"]["refused"]["BadMessage"] == counted + 8


def test_methods_and_parameters_that_do_not_exist_are_named_with_what_was_meant(crew: Boss):
    method, parameter = talk(
        crew, b'{"method":"lits"}\n{"method":"list","parameters":{"nmaes":["fine"]}}\n'
    )

    assert method["error"] == "org.varlink.service.MethodNotFound"
    assert method["parameters"] == {"method": "lits", "near": ["list"]}
    assert parameter["error"] == "org.varlink.service.InvalidParameter"
    assert 'did you mean "names"?' in parameter["parameters"]["problems"][0]["message"]


def test_a_message_that_is_too_long_is_refused_and_the_connection_lives(crew: Boss):
    long = b'{"method":"ping","parameters":{"x":"' + b"y" * (300 << 10) + b'"}}'

    refused, ping = talk(crew, long + b'\n{"method":"ping"}\n')

    assert refused == {"error": "io.hiod.Boss.TooLarge", "parameters": {"limit": 256 << 10}}
    assert ping == {"parameters": {}}


def test_random_bytes_do_not_end_the_boss(crew: Boss):
    rng, before = random.Random(11), facts(crew)

    for _ in range(20):
        talk(crew, rng.randbytes(2000))

    assert facts(crew) == before


# ---------------------------------------------------------------------------- a bad hand


def ctl(boss: Boss, *words: str) -> str:
    """Return what hiodctl says."""
    return subprocess.run(
        [sys.executable, "-m", "hiod.ctl.main", "--socket", str(boss.admin_socket), *words],
        capture_output=True, text=True, timeout=30, check=True,
    ).stdout  # fmt: skip


def test_doers_that_cannot_be_imported_end_in_failed_with_the_error_in_sight(crew: Boss):
    row = crew.row("broken")

    assert (row["state"], row["generation"]) == ("failed", 3)
    assert "ModuleNotFoundError: No module named 'nosuch'" in row["reason"]
    death = crew.ask("status", name="broken")["deaths"][0]
    assert (death["code"], death["asked_by"]) == (78, None)
    assert "No module named 'nosuch'" in death["reason"]
    assert "Traceback" in death["last_words"]
    gave_up = crew.event("hand.gave_up", "broken")
    assert "No module named 'nosuch'" in gave_up["message"]
    assert "No module named 'nosuch'" in crew.log()
    assert "No module named 'nosuch'" in crew.hand_log("broken")


@pytest.mark.parametrize("verb", ["list", "status", "why"])
def test_hiodctl_shows_why_it_failed(crew: Boss, verb: str):
    assert "No module named 'nosuch'" in ctl(crew, verb, "broken")


def test_the_others_are_unhurt(crew: Boss):
    rows = crew.rows()

    assert (rows["fine"]["state"], rows["fine"]["generation"]) == ("ready", 1)
    assert (rows["later"]["state"], rows["later"]["reason"]) == ("waiting", "after broken (failed)")


def test_why_says_what_a_waiting_hand_waits_for_and_who_waits_for_a_failed_one(crew: Boss):
    found = {one["name"]: one for one in crew.ask("why")["hands"]}

    assert set(found) == {"broken", "later"}
    assert "broken" in found["later"]["summary"]
    assert any("broken is failed" in line for one in found["later"]["findings"]
               for line in one["lines"])  # fmt: skip
    assert any("later" in line for one in found["broken"]["findings"] for line in one["lines"])


def test_the_next_boss_says_at_once_when_a_user_of_hiod_toml_is_unknown(
    bosses: Callable[[], Boss],
):
    boss = bosses()
    (boss.config / "hiod.toml").write_text('[admin]\noperate = ["nosuchuser", "@nosuchgroup"]\n')
    boss.start()

    told = boss.event("admin.unknown")

    assert told["level"] == "warning"
    assert "nosuchuser, @nosuchgroup" in told["message"]
