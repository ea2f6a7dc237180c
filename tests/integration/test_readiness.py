"""When a hand is ready: by its REG, a memo, READY=1, an answer, its exit, or its start."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.waiting import wait_until

from hiod.errors import AdminError

pytest_plugins = ("support.boss",)

SUPPORT = Path(__file__).parents[1] / "support"
NOTIFIER = [sys.executable, "-S", "-E", str(SUPPORT / "notifier.py")]
SLEEPER = ["sleep", "1000"]
NEVER = {"policy": "never"}


def notify(timeout_s=10, **more):
    return {"by": "notify", "timeout_s": timeout_s, **more}


@pytest.fixture
def fifo(home):
    """Give a fifo a hand waits on, and what lets it go on."""
    path = home / "fifo"
    os.mkfifo(path)

    def let_go():
        path.write_text("go\n")

    let_go.env = {"FIFO": str(path)}
    return let_go


# ---------------------------------------------------------------------------- notify


def test_a_command_is_ready_when_it_says_so_and_its_status_is_shown(shared, fifo):
    shared.add(
        "web", command=[*NOTIFIER, "STATUS=loading", "hear", r"READY=1\nSTATUS=up"],
        ready=notify(), env=fifo.env, wait=None,
    )  # fmt: skip
    row = shared.until("web", status="loading")
    assert (row["state"], row["reason"]) == ("starting", "READY=1 has not come yet")
    assert not shared.events("hand.ready", hand="web")

    fifo()

    assert shared.until("web", state="ready")["status"] == "up"
    assert shared.events("hand.ready", hand="web")[0]["facts"]["by"] == "notify"


def test_a_hand_with_doers_may_say_ready_by_notify_too(shared):
    shared.add("d", doers=["rogue:Notifies"], path=[str(SUPPORT)], ready=notify())

    row = shared.row("d")
    assert (row["state"], row["reason"]) == ("ready", "ready (notify)")
    assert shared.until("d", status="from a doer")


def test_the_socket_is_the_hands_own_and_gone_with_it(shared):
    shared.add("web", command=[*NOTIFIER, "READY=1"], ready=notify())
    path = shared.runtime / "m" / "web.nfy"
    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o600

    shared.change("remove", "web", wait="gone")

    assert not path.exists()


def test_ready_that_does_not_come_is_a_failure(shared):
    shared.add(
        "mute", command=SLEEPER, ready=notify(0.1), restart={"policy": "never"}, wait=None
    )  # fmt: skip

    row = shared.until("mute", state="failed")

    assert "not ready in 0.1 s" in row["reason"]
    facts = shared.event("hand.not_ready", "mute")["facts"]
    assert (facts["by"], facts["timeout_s"]) == ("notify", 0.1)


IMPORTS_FOR_EVER = """\
import time
time.sleep(1000)
"""
ENTERS_FOR_EVER = """\
import time
from hiod.base.doing import Doer
class Slow(Doer):
    def enter(self, *, temp=None):
        time.sleep(1000)
"""


@pytest.mark.parametrize(("source", "line"), [(IMPORTS_FOR_EVER, 2), (ENTERS_FOR_EVER, 5)])
def test_a_hand_that_hangs_before_it_is_ready_tells_where(shared, tmp_path, source, line):
    (tmp_path / "slow.py").write_text(source)
    shared.add(
        "web", doers=["slow:Slow"], path=[str(tmp_path)], ready={"timeout_s": 1},
        stop={"grace_s": 0.1, "term_s": 0.1}, restart={"policy": "never"}, wait=None,
    )  # fmt: skip

    row = shared.until("web", state="failed")

    where = f'File "{tmp_path}/slow.py", line {line} in '
    assert row["reason"].startswith(f"not ready in 1 s: it did not register: {where}")
    (told,) = shared.ask("why", names=["web"])["hands"]
    (last,) = (one["lines"] for one in told["findings"] if one["label"] == "last")
    assert where in last[0]
    assert "/hiod/" not in "".join(last)


def test_a_childs_word_counts_and_a_strangers_does_not(shared, fifo):
    shared.add(
        "tree", command=[*NOTIFIER, "hear", "child:READY=1"], ready=notify(), env=fifo.env,
        wait=None,
    )  # fmt: skip
    shared.event("hand.spawned", "tree")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as stranger:
        stranger.connect(str(shared.runtime / "m" / "tree.nfy"))
        stranger.send(b"READY=1")
    assert "is not tree" in shared.event("memo.rejected")["facts"]["why"]
    assert shared.row("tree")["state"] == "starting"

    fifo()

    assert shared.until("tree", state="ready")


def test_a_hand_that_says_ready_and_ends_at_once_was_ready(shared):
    shared.add(
        "brief", command=[*NOTIFIER, "READY=1", "die"], ready=notify(), wait="done",
        restart={"policy": "on-failure"},
    )  # fmt: skip

    told = [one["event"] for one in shared.events(hand="brief")]
    assert told.index("hand.ready") < told.index("hand.ended")


def test_what_makes_no_sense_is_counted_and_harms_nobody(shared):
    before = shared.ask("about")["figures"].get("memos.rejected", 0)

    shared.add(
        "odd", ready=notify(),
        command=[*NOTIFIER, "READY", "=", "STATUS=" + "x" * 5000, "STATUS=\xff", "READY=1"],
    )  # fmt: skip

    assert shared.ask("about")["figures"]["memos.rejected"] == before + 2
    assert shared.row("odd")["status"] == "\xff"


def test_a_hand_that_pings_is_expected_to_go_on(shared):
    shared.add(
        "dog", command=[*NOTIFIER, r"READY=1\nWATCHDOG_USEC=300000", "WATCHDOG=1"],
        ready=notify(), health={"beat_s": 60, "misses": 3},
    )  # fmt: skip

    facts = shared.event("hand.degraded", "dog")["facts"]

    assert facts["verdict"] == "silent"


def test_a_hand_is_told_how_often_to_ping(shared):
    shared.add(
        "env", command=["sh", "-c", "echo $WATCHDOG_USEC; exec sleep 1000"], ready=notify(),
        health={"beat_s": 2, "misses": 4}, log=shared.log_path("env"), wait=None,
    )  # fmt: skip
    shared.event("hand.spawned", "env")

    assert wait_until(lambda: shared.hand_log("env")) == "8000000\n"


def test_what_is_said_while_there_is_no_boss_is_heard_by_the_next(boss, fifo):
    boss.add("web", command=[*NOTIFIER, "hear", "STATUS=late", "READY=1"], ready=notify(60),
        env=fifo.env, wait=None)  # fmt: skip
    pid = boss.event("hand.spawned", "web")["facts"]["pid"]
    boss.kill()
    fifo()

    boss.start()

    row = boss.until("web", state="ready")
    assert (row["pid"], row["generation"], row["status"]) == (pid, 1, "late")


def test_a_ready_hand_is_heard_by_the_next_boss_and_never_blocked_by_its_absence(boss, fifo):
    boss.add("web", command=[*NOTIFIER, r"READY=1\nSTATUS=one", "hear", "STATUS=two"],
        ready=notify(), env=fifo.env)  # fmt: skip
    boss.kill()
    path = boss.runtime / "m" / "web.nfy"
    with (
        closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as hand,
        pytest.raises(ConnectionRefusedError),
    ):
        hand.connect(str(path))

    boss.start()
    assert boss.row("web")["status"] == "one"
    fifo()

    assert boss.until("web", status="two")["generation"] == 1


def test_a_restarted_hand_is_heard_anew(shared):
    shared.add("web", command=[*NOTIFIER, "READY=1"], ready=notify())

    shared.change("restart", "web", wait="ready")

    row = shared.row("web")
    assert (row["state"], row["generation"]) == ("ready", 2)


# ---------------------------------------------------------------------------- connect

SERVER = """
import os, socket, sys
family, address = eval(sys.argv[1])
sock = socket.socket(family)
if family != socket.AF_UNIX:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
with open(os.environ["FIFO"]) as fifo:
    fifo.readline()
sock.bind(address)
sock.listen()
while True:
    sock.accept()[0].close()
"""


def free_port(family=socket.AF_INET):
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize("kind", ["127.0.0.1:{}", "localhost:{}", "[::1]:{}", "path", "localhost6"])
def test_a_hand_is_ready_when_its_address_answers(shared, fifo, kind):
    path = str(shared.home / "s-web.sock")
    six = "6" in kind or "::" in kind
    port = free_port(socket.AF_INET6 if six else socket.AF_INET)
    if kind == "path":
        to, where = str(shared.home / "s-${HIOD_NAME}.sock"), (int(socket.AF_UNIX), path)
    else:
        to = kind.removesuffix("6").format(port) if "{" in kind else f"localhost:{port}"
        host = "::1" if six else "127.0.0.1"
        where = (int(socket.AF_INET6 if six else socket.AF_INET), (host, port))
    shared.add("web", command=[sys.executable, "-S", "-c", SERVER, repr(where)], env=fifo.env,
        ready={"by": "connect", "to": to}, wait=None)  # fmt: skip
    shared.event("hand.spawned", "web")
    assert shared.row("web")["state"] == "starting"

    fifo()

    assert shared.until("web", state="ready")["reason"] == "ready (connect)"


def test_an_address_that_never_answers_is_a_failure_and_is_then_left_alone(shared):
    port = free_port()
    shared.add("web", command=SLEEPER, ready={"by": "connect", "to": f"127.0.0.1:{port}",
        "timeout_s": 0.2}, restart=NEVER, wait=None)  # fmt: skip
    shared.until("web", state="failed")

    with socket.socket() as late:
        late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        late.bind(("127.0.0.1", port))
        late.listen()
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.accept()


LINGERER = """
import select, signal, socket, sys
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
sock = socket.socket()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
while True:
    try:
        sock.bind(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:
        select.select((), (), (), 0.01)
sock.listen()
left = 3
while left:
    sock.accept()[0].close()
    left -= len(told)
"""


def test_nobody_is_ready_by_the_answer_of_one_who_is_leaving(shared):
    """The one that is leaving goes when it has been asked in place of the other a few times."""
    port = free_port()
    command = [sys.executable, "-S", "-c", LINGERER, str(port)]
    ready = {"by": "connect", "to": f"127.0.0.1:{port}"}
    shared.add("old", command=command, ready=ready, stop={"grace_s": 60})
    shared.change("remove", "old")

    shared.add("new", command=command, ready=ready, stop={"grace_s": 0.1, "term_s": 0.1})

    told = [(one["hand"], one["event"]) for one in shared.events() if "hand" in one]
    assert told.index(("old", "hand.stopped")) < told.index(("new", "hand.ready"))


def test_the_next_boss_goes_on_trying(boss, fifo):
    port = free_port()
    where = (int(socket.AF_INET), ("127.0.0.1", port))
    boss.add("web", command=[sys.executable, "-S", "-c", SERVER, repr(where)], env=fifo.env,
        ready={"by": "connect", "to": f"127.0.0.1:{port}", "timeout_s": 60}, wait=None)  # fmt: skip
    pid = boss.event("hand.spawned", "web")["facts"]["pid"]
    boss.kill()
    boss.start()

    fifo()

    assert boss.until("web", state="ready")["pid"] == pid


def test_a_name_that_would_have_to_be_looked_up_is_refused(shared):
    with pytest.raises(AdminError) as caught:
        shared.add("web", command=SLEEPER, ready={"by": "connect", "to": "example.com:80"})

    problem = caught.value.parameters["problems"][0]
    assert problem["path"].endswith("ready.to")
    assert 'must have "localhost" or a numeric address' in problem["message"]


# ---------------------------------------------------------------------------- the others


def test_a_hand_that_only_starts_is_running_and_never_ready(shared):
    shared.add("cmd", command=SLEEPER)
    shared.add("next", command=SLEEPER, after=["cmd"])

    assert {row["state"] for row in shared.rows().values()} == {"running"}
    assert not shared.events("hand.ready")


def test_ready_by_memo_waits_for_the_word_of_a_doer(shared, fifo):
    shared.add("m", doers=["rogue:ReadyLater"], path=[str(SUPPORT)], ready={"by": "memo"},
        env=fifo.env, wait=None)  # fmt: skip
    assert shared.until("m", reason="registered; not ready yet")["state"] == "registering"

    fifo()

    assert shared.until("m", state="ready")["status"] == "warm"


def test_a_memo_that_does_not_come_is_a_failure(shared):
    shared.add("m", doers=[], ready={"by": "memo", "timeout_s": 0.2}, restart=NEVER, wait=None)

    assert "not ready in 0.2 s" in shared.until("m", state="failed")["reason"]


def test_a_one_shot_is_done_and_lets_the_next_begin(shared):
    shared.add("migrate", command=["true"], ready={"by": "exit"}, restart=NEVER, wait=None)
    shared.add("web", command=SLEEPER, after=["migrate"])

    assert shared.row("migrate")["state"] == "done"
    seqs = [
        shared.event("hand.ended", "migrate")["seq"],
        shared.event("hand.spawned", "web")["seq"],
    ]
    assert seqs == sorted(seqs)


def test_a_one_shot_that_fails_holds_the_next_which_says_for_whom_it_waits(shared):
    shared.add("migrate", command=["false"], ready={"by": "exit"}, restart=NEVER, wait="done")
    shared.add("web", command=SLEEPER, after=["migrate"], wait=None)

    row = shared.until("web", reason="after migrate (failed)")

    assert row["state"] == "waiting"
    assert shared.row("migrate")["reason"] == "exit 1"


def test_a_one_shot_that_takes_too_long_has_failed(shared):
    shared.add("long", command=SLEEPER, ready={"by": "exit", "timeout_s": 0.2}, restart=NEVER,
        wait=None)  # fmt: skip

    assert "not ready in 0.2 s" in shared.until("long", state="failed")["reason"]


def test_a_one_shot_stays_done_over_a_restart_of_the_boss(boss):
    boss.add("once", command=["true"], ready={"by": "exit"}, restart=NEVER)
    boss.add("other", command=SLEEPER)
    boss.kill()

    boss.start()

    assert (boss.row("once")["state"], boss.row("once")["generation"]) == ("done", 1)


# ---------------------------------------------------------------------------- order


def test_a_counted_name_means_all_of_its_hands(shared, fifo):
    shared.add("part", command=["sh", "-c", "test $HIOD_ORDINAL = 0 || read x < $FIFO"], count=2,
        ready={"by": "exit"}, restart=NEVER, env=fifo.env, wait=None)  # fmt: skip
    shared.add("sum", command=SLEEPER, after=["part"], wait=None)
    shared.until("part-0", state="done")
    assert shared.until("sum", reason="after part-1 (running)")["state"] == "waiting"

    fifo()

    shared.until("sum", state="running")


def test_the_crew_stops_in_reverse_order(shared):
    for name, after in (("db", []), ("app", ["db"]), ("web", ["app"])):
        shared.add(name, command=SLEEPER, after=after)

    shared.change("stop", "*", wait="gone")

    stopped = [one["hand"] for one in shared.events("hand.stopped")]
    assert stopped == ["web", "app", "db"]
    asked = {one["hand"]: one["seq"] for one in shared.events("hand.stopping")}
    ended = {one["hand"]: one["seq"] for one in shared.events("hand.stopped")}
    assert ended["web"] < asked["app"]
    assert ended["app"] < asked["db"]


def test_a_circle_is_refused_by_name(bosses):
    boss = bosses()
    boss.crew(
        '[hand.a]\ncommand = ["true"]\nafter = ["b"]\n[hand.b]\ncommand = ["true"]\nafter = ["a"]\n'
    )

    code = boss.launch().wait(20)

    assert code == 78
    assert "hand.a.after: leads back to itself: a after b after a" in boss.log()
