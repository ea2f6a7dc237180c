"""The admin socket by hand: plain socat, as the protocol's page shows it, against a real boss."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.boss import Boss

pytest_plugins = ("support.boss",)

SOCAT = shutil.which("socat")
CI = os.environ.get("HIOD_CI") == "1"
pytestmark = pytest.mark.skipif(SOCAT is None and not CI, reason="needs socat")


@pytest.fixture(scope="module")
def crew(module_boss: Boss) -> Boss:
    boss = module_boss
    boss.crew('[hand.a]\ndoers = []\n[hand.b]\ncommand = ["sleep", "1000"]\n')
    boss.start()
    boss.until("a", state="ready")
    return boss


def socat(boss: Boss, said: bytes) -> bytes:
    """Say something as ``echo ... | socat -t30 - UNIX:...`` does; return all that is answered."""
    assert SOCAT is not None, "socat is not installed"
    return subprocess.run(
        [SOCAT, "-t30", "-", f"UNIX-CONNECT:{boss.admin_socket}"],
        input=said, capture_output=True, check=True, timeout=60,
    ).stdout  # fmt: skip


def lines(told: bytes, end: bytes = b"\n") -> list[dict[str, Any]]:
    assert told.endswith(end)
    return [json.loads(text) for text in told.split(end)[:-1]]


def test_a_line_is_answered_with_a_line(crew: Boss):
    (answer,) = lines(socat(crew, b'{"method":"list"}\n'))

    assert [row["name"] for row in answer["parameters"]["hands"]] == ["a", "b"]


def test_what_has_no_end_is_ended_by_the_end_of_input(crew: Boss):
    assert lines(socat(crew, b'{"method":"ping","id":1}')) == [{"parameters": {}, "id": 1}]


def test_lines_may_end_as_they_do_elsewhere_and_be_blank(crew: Boss):
    told = lines(socat(crew, b'\r\n{"method":"ping","id":1}\r\n\n  \n{"method":"ping","id":2}\r\n'))

    assert [one["id"] for one in told] == [1, 2]


def test_nul_makes_it_varlink_whatever_lies_between(crew: Boss):
    said = b'{"method":"io.hiod.Boss.Ping"}\0{\n  "method": "lits",\r\n  "id": 2\n}\0'

    told = lines(socat(crew, said), b"\0")

    assert told[0] == {"parameters": {}}
    assert told[1]["error"] == "org.varlink.service.MethodNotFound"
    assert (told[1]["parameters"]["near"], told[1]["id"]) == (["list"], 2)


def test_many_lines_at_once_are_answered_in_order(crew: Boss):
    said = b"".join(b'{"method":"ping","id":%d}\n' % n for n in range(5000))

    assert [one["id"] for one in lines(socat(crew, said))] == list(range(5000))


def test_what_is_still_owed_comes_after_the_end_of_input(crew: Boss):
    asked = {"names": ["a", "b"], "wait": "ready", "timeout_s": 20}
    said = json.dumps({"method": "restart", "parameters": asked, "more": True, "id": "r"}).encode()

    told = lines(socat(crew, said + b'\n{"method":"ping"}\n'))

    assert told[-1] == {"parameters": {}}
    assert [one.get("continues") for one in told[:-1]] == [*[True] * (len(told) - 2), None]
    final = told[-2]
    assert final["id"] == "r"
    assert {one["name"]: one["generation"] for one in final["parameters"]["hands"]} == {
        row["name"]: row["generation"] for row in crew.rows().values()
    }


def test_a_stream_goes_on_as_long_as_socat_does(crew: Boss):
    assert SOCAT is not None, "socat is not installed"
    argv = [SOCAT, "-", f"UNIX-CONNECT:{crew.admin_socket}"]
    asked = {"since": 0, "events": ["admin.done", "boss.ready"]}
    said = json.dumps({"method": "subscribe", "parameters": asked, "more": True}).encode()
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(said + b"\n")
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        seen = [one["event"] for one in first["parameters"]["events"]]
        crew.ask("signal", names=["b"], signal="CONT")
        last = json.loads(process.stdout.readline())
        process.terminate()

    assert first["continues"] is last["continues"] is True
    assert "boss.ready" in seen
    assert [one["facts"]["method"] for one in last["parameters"]["events"]] == ["signal"]


def test_a_refusal_by_hand_says_what_would_do(crew: Boss):
    hello, typo, deep = lines(
        socat(crew, b'hello\n{"method":"stop","names":["a"]}\n' + b"[" * 100 + b"]" * 100 + b"\n")
    )

    assert hello["parameters"]["hint"] == 'one JSON object a line: {"method":"list"}'
    assert typo["parameters"]["hint"] == 'arguments belong in "parameters"'
    assert deep["parameters"]["code"] == "nesting"
