"""A real boss under a flood and under fuzz: it lives, answers everybody once, and harms no hand.

``HIOD_FUZZ_S`` says for how many seconds random messages are tried (3; at least 60 where HIOD_CI is
1), ``HIOD_FUZZ_SEED`` which; a failure names its seed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from hiod.admin import schema
from hiod.admin.client import Client
from hiod.admin.framing import LIMIT_BYTES, NESTING, is_deeper
from hiod.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.boss import Boss

pytest_plugins = ("support.boss",)

FLOODER = Path(__file__).parents[1] / "support" / "flooder.py"
CI = os.environ.get("HIOD_CI") == "1"
FUZZ_S = max(float(os.environ.get("HIOD_FUZZ_S") or 3), 60.0 if CI else 0.0)
SEED = int(os.environ.get("HIOD_FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
ROOT = os.getuid() == 0
ROLES = {5001: "admin", 5002: "operate", 5003: "read", 5004: "none"}
PATIENCE_S = 60.0
GROWTH_BYTES = 64 << 20
"""So much more memory a boss may have: what 64 connections may keep, which is less, and its own."""
CREW = """
[hand.calm]
doers = []
count = 3
health = { beat_s = 0.5 }
[hand.plain]
command = ["sleep", "1000"]
"""


@pytest.fixture
def crew(bosses: Callable[[], Boss]) -> Boss:
    """Give a boss with hands that nothing here means, and that anybody may connect to."""
    boss = bosses()
    boss.crew(CREW)
    rules = "".join(f'{role} = ["{uid}"]\n' for uid, role in ROLES.items() if role != "none")
    boss.config.joinpath("hiod.toml").write_text(f"[admin]\n{rules}")
    for folder in (boss.home.parent, boss.home):
        folder.chmod(0o755)
    boss.start()
    boss.admin_socket.chmod(0o666)
    for name in ("calm-0", "calm-1", "calm-2"):
        boss.until(name, state="ready", health="ok")
    return boss


def standing(rows: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return what nobody here may change of the hands that were there from the start."""
    return {
        row["name"]: (row["pid"], row["generation"], row["state"], row["health"], row["wanted"])
        for row in rows
        if row["spec"] in {"calm", "plain"}
    }


def memory(boss: Boss) -> int:
    """Return the boss's resident memory in bytes."""
    assert boss.process is not None
    pages = Path(f"/proc/{boss.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


@contextlib.contextmanager
def flood(boss: Boss, connections: int) -> Iterator[dict[str, int]]:
    """Flood a boss; the dict has what the flood did, once it is over."""
    did: dict[str, int] = {}
    others = [str(uid) for uid, role in ROLES.items() if role != "admin"]
    uids = ["--uids", *others] if ROOT else []
    argv = [sys.executable, str(FLOODER), str(boss.admin_socket), str(connections), str(SEED)]
    with subprocess.Popen([*argv, *uids], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flooder:
        assert flooder.stdout is not None
        flooder.stdout.readline()
        yield did
        said, _ = flooder.communicate(timeout=PATIENCE_S)
    did.update(json.loads(said))


def test_a_flood_costs_no_liveness(crew: Boss):
    before, began = standing(crew.ask("list")["hands"]), memory(crew)
    seq = crew.ask("list")["seq"]
    with Client(crew.admin_socket) as follower:
        heard = follower.call("subscribe", {"events": ["admin.done"]}, more=True, within_s=60)
        next(heard)
        with flood(crew, 64) as did:
            for n in range(60):
                assert crew.ask("ping") == {}
                assert standing(crew.ask("list")["hands"]) == before
                sent = crew.ask("send", names=["calm-0"], tag="HELLO", load={"n": n})
                assert sent["hands"][0]["changed"] is True
                told = next(one["events"] for one in heard if one["events"])
                assert [one["facts"]["method"] for one in told] == ["send"]
                with Client(crew.admin_socket, timeout_s=PATIENCE_S) as new:
                    assert new.call("ping") == {}
        heard.close()

    assert did["connected"] >= 16
    assert did["garbage"] > 10_000
    assert standing(crew.ask("list")["hands"]) == before
    assert memory(crew) - began < GROWTH_BYTES
    kept = crew.ask("events", since=seq, limit=10_000)["events"]
    assert {one["event"] for one in kept if one["hand"]} <= {"admin.done", "hand.status"}
    crew.event("hand.running", "plain", since=0)


# ---------------------------------------------------------------------------- fuzz

SAMPLES: dict[str, dict[str, Any]] = {
    "schema": {"method": "list"},
    "list": {"names": ["prey", "calm-?"], "labels": {"tier": "front"}},
    "status": {"name": "prey"},
    "events": {"since": 3, "limit": 7, "events": ["hand.*"], "names": ["prey"]},
    "subscribe": {"since": 3, "events": ["hand.*"], "names": ["prey"], "labels": {}},
    "why": {"names": ["prey"]},
    "start": {"names": ["prey"], "wait": "ready", "timeout_s": 0.05},
    "stop": {"names": ["prey"], "labels": {"tier": "front"}, "wait": "gone", "timeout_s": 0.05},
    "restart": {"names": ["prey"], "wait": "ready", "timeout_s": 0.05},
    "signal": {"names": ["prey"], "signal": "CONT"},
    "send": {"names": ["prey"], "tag": "HELLO", "load": {"a": [1, None, "x"]}},
    "add": {"spec": {"name": "prey", "doers": [], "start": False, "labels": {"tier": "front"}},
            "replace": True, "wait": "ready", "timeout_s": 0.05},
    "remove": {"names": ["prey"], "wait": "gone", "timeout_s": 0.05},
    "scale": {"name": "prey", "count": 2, "wait": "ready", "timeout_s": 0.05},
    "apply": {"wait": "ready", "timeout_s": 0.05},
    "export": {"names": ["prey"]},
    "shutdown": {"keep_hands": "perhaps"},
    "GetInterfaceDescription": {"interface": "io.hiod.Boss"},
}  # fmt: skip
ALL = (*schema.METHODS, *schema.SERVICE_METHODS)
WRONG: list[Any] = [
    None, True, -1, 1.5, 2**64, 1e308, "", "x" * 300, "\x00\ud7ff", [], [1], [[]], [None], {},
    {"a": 1}, {"": {}}, ["nobody"], [["nobody"]],
]  # fmt: skip
TOKENS = [
    b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\", b"\\u0000", b"\\ud800", b"null", b"true",
    b"\n",
    b"\0", b"\r", b'"id":1,', b'"more":true,', b'"oneway":true,', b'"upgrade":true,', b"\xff",
    b"\xc3\xa9", b"1e999", b"-", b"[" * 70, b"99999999999999999999", b'"names":[],',
    b"io.hiod.Boss.", b"org.varlink.service.",
]  # fmt: skip


def test_a_wrong_value_for_any_parameter_of_any_method_is_answered_once(crew: Boss):
    before = standing(crew.ask("list")["hands"])
    texts = []
    for method in ALL:
        sample = SAMPLES.get(method.short, {})
        for name in (*method.parameters.__struct_fields__, "unknown"):
            for value in WRONG:
                parameters = sample | {name: value}
                texts.append(text_of(method.long, parameters))
    texts = [text for text in texts if not tedious(text)]
    assert len(texts) > 800

    for at in range(0, len(texts), 50):
        check_answers(crew, b"\n".join(texts[at : at + 50]) + b"\n", 0)

    assert standing(crew.ask("list")["hands"]) == before


@pytest.mark.timeout(120 + 3 * FUZZ_S)
def test_whatever_is_sent_the_boss_lives_and_every_message_has_one_answer(crew: Boss):
    rng = random.Random(SEED)
    before = standing(crew.ask("list")["hands"])
    end_at = time.monotonic() + FUZZ_S
    began, rounds, ticks = memory(crew), 0, 0
    quiet = socket.socket(socket.AF_UNIX)
    quiet.connect(str(crew.admin_socket))
    quiet.sendall(b'{"method":"subscribe","parameters":{"events":["no.such"]},"more":true}\n')
    while time.monotonic() < end_at:
        data = one_case(rng)
        try:
            changed = check_answers(crew, data, rng.choice([0, 0, 0, 1, 7, 1000]), rng)
            assert crew.ask("ping") == {}
            now = standing(crew.ask("list")["hands"])
            if not changed & before.keys():  # it may have been a good request, by chance
                assert now == before
        except Exception as fault:
            log = "\n".join(line for line in crew.log().splitlines() if "fault" in line)
            told = f"HIOD_FUZZ_SEED={SEED}, round {rounds}: {data[:2000]!r}\n{log[-5000:]}"
            raise AssertionError(told) from fault
        before = now
        rounds += 1
        if rounds == 100:
            began = memory(crew)
    quiet.shutdown(socket.SHUT_WR)
    quiet.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while (got := quiet.recv(1 << 20)) and ticks < FUZZ_S // 15:
            ticks += sum(not json.loads(line)["parameters"]["events"] for line in got.splitlines())
    quiet.close()

    assert rounds > 10
    assert ticks >= FUZZ_S // 15  # that the boss lives was told meanwhile
    assert memory(crew) - began < GROWTH_BYTES, f"HIOD_FUZZ_SEED={SEED}"


def text_of(method: str, parameters: dict[str, Any]) -> bytes:
    return json.dumps({"method": method, "parameters": parameters}).encode()


def one_case(rng: random.Random) -> bytes:
    """Return what is sent over one connection: some messages, most of them broken."""
    end = rng.choice([b"\n", b"\n", b"\r\n", b"\0"])
    texts: list[bytes] = []
    while len(texts) < rng.choice([1, 5, 30]):
        if rng.random() < 0.1:
            text = rng.randbytes(rng.randrange(300))
        else:
            method = rng.choice(ALL)
            name = rng.choice([method.short, method.long])
            text = text_of(name, SAMPLES.get(method.short, {}))
            for _ in range(rng.choice([0, 1, 1, 2, 5])):
                text = mutated(rng, text, texts)
        if rng.random() < 0.01:
            text += b" " * (260 << 10)
        texts.append(text)
    data = end.join(texts) + (end if rng.random() < 0.8 else b"")
    whole = [text for text in split(data)[0] if not tedious(text)]
    return data if len(whole) == len(split(data)[0]) else split(data)[1].join(whole)


def mutated(rng: random.Random, text: bytes, others: list[bytes]) -> bytes:  # noqa: PLR0911 - one a kind
    """Change something of a message."""
    at = rng.randrange(len(text) + 1)
    to = min(len(text), at + rng.choice([1, 1, 3, 20]))
    match rng.randrange(7):
        case 0:
            return text[:at] + rng.randbytes(1) + text[at + 1 :]
        case 1:
            return text[:at] + text[to:]
        case 2:
            return text[:at] + text[at:to] * rng.choice([2, 50]) + text[to:]
        case 3:
            return text[:at]
        case 4:
            return text[:at] + rng.choice(others or [b""])[at:]
        case 5:
            return text[:at] + rng.choice(TOKENS) + text[to:]
        case _:
            return text[:at] + rng.choice(TOKENS) + text[at:]


# ---------------------------------------------------------------------------- what is expected


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut what is sent into messages, as the protocol says; return them and what ends them."""
    newline, nul = data.find(b"\n"), data.find(b"\0")
    end = b"\0" if nul >= 0 and (newline < 0 or nul < newline) else b"\n"
    texts = data.split(end)
    return [text for text in texts if text.strip(b" \t\r\n") or len(text) > LIMIT_BYTES], end


def understood(text: bytes) -> dict[str, Any]:
    """Return the message if it is an object, else an empty one."""
    try:
        message = orjson.loads(text.strip(b" \t\r\n"))
    except orjson.JSONDecodeError:
        return {}
    return message if isinstance(message, dict) else {}


def is_oneway(text: bytes) -> bool:
    """Say whether a message wants no answer, and is read far enough for that to be known."""
    message = understood(text)
    readable = len(text) <= LIMIT_BYTES and not is_deeper(message, NESTING)
    return readable and message.get("oneway") is True


def tedious(text: bytes) -> bool:
    """Say whether a message would, by chance, end the boss, follow for ever or wait for long."""
    message = understood(text)
    name = message.get("method")
    method = schema.BY_NAME.get(name) if isinstance(name, str) else None
    parameters = message.get("parameters") or {}
    if method is None or not isinstance(parameters, dict):
        return False
    timeout_s = parameters.get("timeout_s")
    if parameters.get("wait") is not None:
        return not isinstance(timeout_s, int | float) or timeout_s > 0.5
    if method.short == "subscribe" and message.get("more") is not True:
        return False
    fits = not isinstance(schema.check(method, parameters), AdminError)
    return fits and method.short in {"shutdown", "subscribe"}


def check_answers(boss: Boss, data: bytes, cut: int, rng: random.Random | None = None) -> set[str]:
    """Send all of it, in pieces of ``cut`` bytes; hold the answers against what was sent.

    Returns the names of hands that were changed.
    """
    messages, end = split(data)
    owed = [text for text in messages if not is_oneway(text)]
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE_S)
        connect(line, boss, rng)
        pieces = [data]
        if cut and len(data) < 20_000:
            pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        for piece in pieces:
            line.sendall(piece)
        line.shutdown(socket.SHUT_WR)
        got = bytearray()
        while chunk := line.recv(1 << 20):
            got += chunk
    answers = [json.loads(text) for text in got.split(end if messages else b"\n") if text]
    finals = [one for one in answers if not one.get("continues")]
    assert len(finals) == len(owed), f"{len(finals)} answers to {len(owed)} messages: {finals}"
    changed: set[str] = set()
    for text, answer in zip(owed, finals, strict=True):
        assert set(answer) <= {"parameters", "error", "id"}, answer
        assert isinstance(answer["parameters"], dict), answer
        assert answer.get("parameters", {}).get("state") != "fault", (text, answer)
        if "error" in answer:
            kinds = schema.ERRORS if "hiod" in answer["error"] else schema.SERVICE_ERRORS
            assert answer["error"].rpartition(".")[2] in kinds, answer
        hands = answer["parameters"].get("hands")
        for one in hands if isinstance(hands, list) else []:
            if isinstance(one, dict) and one.get("changed"):
                changed.add(one["name"])
    return changed


def connect(line: socket.socket, boss: Boss, rng: random.Random | None) -> None:
    """Connect as anybody, if we may be."""
    uid = rng.choice([0, 0, 0, *ROLES]) if rng is not None and ROOT else os.getuid()
    if uid != os.getuid():
        os.setegid(uid)
        os.seteuid(uid)
    try:
        line.connect(str(boss.admin_socket))
    finally:
        if uid != os.getuid():
            os.seteuid(0)
            os.setegid(0)
