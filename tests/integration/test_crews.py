"""The three crews of the handbook for real, every key of a hand, and how a crew is changed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

import pytest
from support.gunicorn_env import gunicorn_bin
from support.waiting import wait_until

from hiod.errors import AdminError

pytest_plugins = ("support.boss",)

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = str(ROOT / "tests" / "support")
EXAMPLES = ROOT / "etc" / "crew.d"
SLEEPER = ["sleep", "1000"]


def program(path, *lines):
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def hiodctl(boss, *words):
    """Run a command of an operator; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "hiod.ctl.main", "--socket", boss.client.path, *words],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def lines_of(path):
    """Return the lines of a file that may not be there yet."""
    return path.read_text().splitlines() if path.exists() else []


# ---------------------------------------------------------------------------- a web app

SHOP = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["GREETING"].encode()]
"""


@pytest.fixture
def shop(home):
    """Lay out /srv/shop: an environment with gunicorn and, in celery's place, a small program."""
    place = home / "shop"
    (place / "venv" / "bin").mkdir(parents=True)
    own = gunicorn_bin()
    for name in ("python", "gunicorn"):
        (place / "venv" / "bin" / name).symlink_to(own / name)
    (place / "venv" / "pyvenv.cfg").write_text((own.parent / "pyvenv.cfg").read_text())
    (place / "venv" / "lib").symlink_to(own.parent / "lib")
    program(place / "venv" / "bin" / "celery", 'echo "$@" > "$5.argv"', "exec sleep 1000")
    (place / "shop.py").write_text(SHOP)
    (place / "migrate.py").write_text(
        "import os, pathlib\npathlib.Path('migrated').write_text(os.environ['GREETING'])\n"
    )
    (home / "shop.env").write_text('# comment\nGREETING="hello from the shop"\n')
    return place


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_web_app_its_migration_and_its_queue(bosses, shop, home):
    boss, port = bosses(), free_port()
    text = (EXAMPLES / "shop.toml.example").read_text()
    for old, new in (
        ("/srv/shop", str(shop)),
        ("/etc/hiod/env/shop.env", str(home / "shop.env")),
        ("127.0.0.1:8000", f"127.0.0.1:{port}"),
    ):
        assert old in text
        text = text.replace(old, new)
    boss.crew(text, "shop.toml")
    boss.start()

    web = boss.until("web", state="ready")
    assert web["status"] == "Gunicorn arbiter booted"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
        assert page.read() == b"hello from the shop"
    assert boss.row("migrate")["state"] == "done"
    assert (shop / "migrated").read_text() == "hello from the shop"
    for ordinal in range(4):
        boss.until(f"queue-{ordinal}", state="running")
        argv = shop / f"w{ordinal}.argv"
        assert wait_until(lambda argv=argv: lines_of(argv)) == [f"-A shop worker -n w{ordinal}"]
    done = boss.event("hand.ended", "migrate")["seq"]
    assert all(one["seq"] > done for one in boss.events("hand.spawned") if one["hand"] != "migrate")

    boss.kill()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
        assert page.read() == b"hello from the shop"
    boss.start()

    again = boss.row("web")
    assert (again["pid"], again["restarts"]) == (web["pid"], 0)
    assert again["status"] == "Gunicorn arbiter booted"
    assert boss.row("migrate")["generation"] == 1
    (gone,) = boss.change("stop", "web", wait="gone")
    assert (gone["how"], gone["code"]) == ("TERM", 0)


# ---------------------------------------------------------------------------- its own environment

AGENT = """
import sqlite3
from hiod import CrewDoer
{imports}

class Witness({doer}):
    def recur(self, tyme):
        print("witness", flush=True)
        return False

class Store(CrewDoer):
    def __init__(self, *, db, **kwa):
        super().__init__(**kwa)
        self.db = db
    def recur(self, tock):
        sqlite3.connect(self.db).close()
        self.ready("db " + self.db.rsplit("/", 1)[1])
        while True:
            yield tock

def poller(tymth, tock, **opts):
    print("poller", flush=True)
    while True:
        yield tock
"""


@pytest.mark.parametrize(
    ("imports", "doer"),
    [
        ("from hiod.base.doing import Doer", "Doer"),
        pytest.param("from hio.base import doing", "doing.Doer", marks=pytest.mark.interop),
    ],
    ids=["hiod", "hio"],
)
def test_doers_in_an_environment_of_their_own(bosses, home, imports, doer):
    boss, place = bosses(), home / "agent"
    (place / "src").mkdir(parents=True)
    (place / "src" / "agent.py").write_text(AGENT.format(imports=imports, doer=doer))
    python, paths = sys.executable, [str(ROOT), sysconfig.get_paths()["platlib"]]
    if doer == "doing.Doer":
        from support.hio_env import environ, hioPython, hioSite

        python, paths = str(hioPython()), [*environ()["PYTHONPATH"].split(":"), hioSite()]
    subprocess.run(
        [python, "-m", "venv", "--without-pip", str(place / "venv")], check=True, timeout=60
    )
    site = next((place / "venv" / "lib").glob("python3*/site-packages"))
    (site / "elsewhere.pth").write_text("\n".join(paths))
    text = (EXAMPLES / "agent.toml.example").read_text()
    assert "/srv/agent" in text
    boss.crew(text.replace("/srv/agent", str(place)) + f'log = "{boss.log_path("agent")}"\n')

    boss.start()

    row = boss.until("agent", state="ready")
    assert row["status"] == "db a.db"
    assert boss.event("hand.ready", "agent")["facts"]["by"] == "memo"
    assert (boss.state / "hands" / "agent" / "a.db").exists()
    assert wait_until(lambda: {"witness", "poller"} <= set(boss.hand_log("agent").split()))
    facts = boss.ask("status", name="agent")["process"]
    assert facts["python"] == str(place / "venv" / "bin" / "python")


# ---------------------------------------------------------------------------- a nightly batch


def test_a_batch_is_started_by_a_timer_and_waited_for(bosses, home):
    boss, place = bosses(), home / "batch"
    out = home / "out"
    for name in ("fetch", "transform", "load"):
        program(place / name, f'echo {name} $1 >> "{out}"')
    text = (EXAMPLES / "batch.toml.example").read_text()
    boss.crew(text.replace("/srv/batch", str(place)))
    boss.start()
    assert {row["state"] for row in boss.rows().values()} == {"stopped"}

    for night in (1, 2):
        code, said = hiodctl(boss, "start", "--wait=done", "fetch", "transform", "load")

        assert code == 0, said
        lines = lines_of(out)[6 * (night - 1) :]
        assert lines[0] == "fetch"
        assert sorted(lines[1:5]) == [f"transform {ordinal}" for ordinal in range(4)]
        assert lines[5:] == ["load"]
        assert {row["state"] for row in boss.rows().values()} == {"done"}


def test_a_batch_that_fails_halfway_says_so(bosses, home):
    boss, place = bosses(), home / "batch"
    program(place / "fetch", "exit 3")
    for name in ("transform", "load"):
        program(place / name, "exit 0")
    text = (EXAMPLES / "batch.toml.example").read_text()
    boss.crew(text.replace("/srv/batch", str(place)))
    boss.start()

    code, said = hiodctl(boss, "start", "--wait=done", "--timeout=50", "fetch", "transform", "load")

    assert code == 1, said
    assert "fetch: failed, exit 3\n" in said
    assert "load: waiting, after transform-0, after fetch (failed)\n" in said
    assert boss.until("fetch", state="failed")["reason"] == "exit 3"
    assert boss.until("load", state="waiting")["reason"].startswith("after transform-")


# ---------------------------------------------------------------------------- every key


def test_a_hand_gets_the_names_hiod_knows_of_it(shared):
    shared.add("n", command=["sh", "-c", "echo ${HIOD_NAME} ${HIOD_ORDINAL}; env; pwd"], count=2,
        env={"MINE": "is ${HIOD_NAME} of ${HIOD_HAND}"}, ready={"by": "exit"},
        restart={"policy": "never"}, log=str(shared.home / "${HIOD_NAME}.log"))  # fmt: skip

    log = shared.hand_log("n-1").splitlines()

    assert log[0] == "n-1 1"
    assert log[-1] == str(shared.state / "hands" / "n-1")
    found = dict(line.split("=", 1) for line in log[1:-1])
    expected = {
        "MINE": "is n-1 of n",
        "HIOD_NAME": "n-1",
        "HIOD_HAND": "n",
        "HIOD_ORDINAL": "1",
        "HIOD_GENERATION": "1",
        "HIOD_STATE_DIR": log[-1],
        "HIOD_ADDR": str(shared.runtime / "m" / "n-1.uxd"),
        "HIOD_BOSS": "boss",
        "HIOD_BOSS_ADDR": str(shared.runtime / "boss.uxd"),
    }
    assert expected.items() <= found.items()
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC", "INVOCATION_ID"} & found.keys()


def test_env_files_are_read_at_each_start_and_env_comes_last(shared, home):
    first, second = home / "1.env", home / "2.env"
    first.write_text("A=1\nB=1\nC=1\n")
    second.write_text("B=2\nC=2\n")
    shared.add("e", command=["sh", "-c", "echo $A $B $C >> $OUT; exec sleep 1000"],
        env_file=[str(first), str(second), f"-{home}/none.env"],
        env={"C": "3", "OUT": str(home / "out")})  # fmt: skip
    assert wait_until(lambda: lines_of(home / "out")) == ["1 2 3"]

    first.write_text("A=9\n")
    shared.change("restart", "e", wait="ready")

    assert wait_until(lambda: lines_of(home / "out")[1:]) == ["9 2 3"]


def test_an_env_file_that_is_missing_is_named(shared, home):
    shared.add("e", command=["true"], env_file=[f"{home}/none.env"], wait=None,
        restart={"policy": "never"})  # fmt: skip

    said = f'cannot read its env_file "{home}/none.env": '
    assert said in shared.until("e", state="failed")["reason"]


@pytest.mark.parametrize("kind", ["command", "doers"])
def test_limits_niceness_umask_and_place_are_the_hands_own(shared, home, kind):
    what = {"command": SLEEPER} if kind == "command" else {"doers": []}
    shared.add("l", **what, nice=5, umask="0077", cwd=str(home),
        rlimits={"nofile": [100, 200], "core": 0})  # fmt: skip
    pid = shared.row("l")["pid"]
    proc = Path(f"/proc/{pid}")
    # An exec'd hand is there before it is the program.
    wait_until(lambda: kind == "doers" or b"sleep" in (proc / "cmdline").read_bytes())

    status = dict(
        line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line
    )
    assert status["Umask"] == "0077"
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5
    assert (proc / "cwd").readlink() == home
    limits = (proc / "limits").read_text()
    assert "Max open files            100                  200" in limits
    assert "Max core file size        0                    0" in limits


def test_a_hand_may_log_nowhere(shared):
    shared.add("q", command=["sh", "-c", "echo heard by nobody; exec sleep 1000"], log="null")
    pid = shared.row("q")["pid"]

    places = [Path(f"/proc/{pid}/fd/{fd}") for fd in (1, 2)]
    # Its process is there before it has seen to its log.
    assert wait_until(lambda: {place.readlink() for place in places} == {Path("/dev/null")})


def test_a_hand_is_recycled_at_its_limit_and_that_is_no_failure(shared):
    shared.add("old", doers=[], limit_s=0.3)

    row = shared.until("old", generation=3, state="ready")

    assert row["restarts"] == 2
    assert shared.ask("status", name="old")["restart"]["failures"] == 0
    assert len(shared.events("hand.recycled", hand="old")) >= 2
    assert not shared.events("hand.backing_off", "hand.pressed")


def test_a_command_is_recycled_at_its_limit_too(shared):
    shared.add("old", command=SLEEPER, limit_s=0.2)

    assert shared.until("old", generation=2, state="running")["restarts"] == 1


# ---------------------------------------------------------------------------- changing a crew


def pids(boss):
    return {name: row["pid"] for name, row in boss.rows().items()}


def apply(boss):
    return {
        one["name"]: one for one in boss.ask("apply", wait="ready", timeout_s=20)["changes"]
    }  # fmt: skip


CREW = """
[hand.a]
command = ["sleep", "1000"]
[hand.b]
doers = []
count = 2
[hand.c]
command = ["sleep", "1000"]
after = ["a"]
"""


@pytest.fixture
def crew(shared):
    """Give a running crew of a, b-0, b-1 and c."""
    boss = shared
    boss.crew(CREW)
    boss.ask("apply", wait="ready", timeout_s=20)
    for name in ("a", "c"):
        boss.until(name, state="running")
    for name in ("b-0", "b-1"):
        boss.until(name, state="ready")
    return boss


def test_apply_does_the_least_harm_and_plan_shows_it_before(crew):
    before = pids(crew)
    crew.crew(
        CREW.replace('after = ["a"]', 'after = ["a"]\nnice = 3')  # a restart
        .replace("doers = []", "doers = []\nready.timeout_s = 7")  # at the next start
        .replace("[hand.b]", "stop.grace_s = 3\n[hand.b]")  # at once
        + '[hand.d]\ncommand = ["sleep", "1000"]\n'
    )
    planned = {one["name"]: one for one in crew.ask("plan")["changes"]}

    done = apply(crew)

    assert {name: one["how"] for name, one in done.items()} == {
        "a": "live", "b": "next", "c": "restart", "d": "start",
    }  # fmt: skip
    assert planned == done
    after = pids(crew)
    assert {name for name in before if after[name] != before[name]} == {"c"}
    assert crew.row("d")["state"] == "running"
    assert crew.ask("plan")["changes"] == []
    assert os.getpriority(os.PRIO_PROCESS, after["c"]) == 3
    assert crew.ask("status", name="a")["spec"]["stop"]["grace_s"] == 3
    assert crew.row("c")["restarts"] <= 1


def test_what_is_for_the_next_start_is_taken_then(crew):
    crew.crew(CREW.replace("doers = []", "doers = []\nready.timeout_s = 7"))
    apply(crew)

    crew.change("restart", "b-0", wait="ready")

    assert crew.ask("status", name="b-0")["spec"]["ready"]["timeout_s"] == 7


def test_apply_leaves_what_was_added_at_runtime_and_what_was_stopped(crew):
    crew.add("extra", command=SLEEPER)
    crew.change("stop", "a", wait="gone")
    before = pids(crew)
    crew.crew(CREW.replace('command = ["sleep", "1000"]', 'command = ["sleep", "2000"]', 1))

    apply(crew)

    assert crew.row("extra")["pid"] == before["extra"]
    assert (crew.row("a")["state"], crew.row("a")["wanted"]) == ("stopped", "down")


def test_apply_tries_what_gave_up_with_its_mended_definition(crew):
    broken = '[hand.e]\ncommand = ["sh", "-c", "exit 3"]\nrestart.limit = 1\n'
    crew.crew(CREW + broken)
    crew.ask("apply")
    crew.until("e", state="failed")
    crew.crew(CREW + broken.replace("exit 3", "exec sleep 1000"))
    assert [one["how"] for one in crew.ask("plan")["changes"]] == ["restart"]

    told = hiodctl(crew, "apply")

    assert told[0] == 0, told
    assert crew.row("e")["state"] == "running"
    assert "e: running" in told[1]


def test_plan_does_not_call_it_a_restart_when_nobody_is_there(crew):
    crew.change("stop", "a", wait="gone")
    crew.crew(CREW.replace('command = ["sleep", "1000"]', 'command = ["sleep", "2000"]', 1))

    assert [one["how"] for one in crew.ask("plan")["changes"]] == ["next"]
    told = hiodctl(crew, "apply")

    assert told[0] == 0, told
    assert told[1] == "~ a: change command (at its next start)\n"


def test_a_hand_whose_definition_is_gone_leaves_and_comes_back_with_it(crew):
    crew.crew(CREW.split("[hand.c]")[0])
    assert apply(crew)["c"]["action"] == "remove"
    wait_until(lambda: "c" not in crew.rows())

    crew.crew(CREW)
    assert apply(crew)["c"]["how"] == "start"
    crew.until("c", state="running")


def test_broken_files_change_nothing_and_every_problem_is_told(crew):
    before = pids(crew)
    crew.crew("[hand.a]\ncomand = 1\n[hand.b]\ndoers = []\nnice = 99\n")

    with pytest.raises(AdminError) as caught:
        crew.ask("apply")
    paths = [one["path"] for one in caught.value.parameters["problems"]]
    assert caught.value.code == "BadSpec"
    assert any("comand" in path for path in paths)
    assert any("nice" in path for path in paths)
    crew.process.send_signal(signal.SIGHUP)
    crew.event("config.broken")

    assert pids(crew) == before
    assert crew.ask("list")["files"].startswith("broken")
    assert hiodctl(crew, "check")[0] in {0, 1, 2}


def test_a_hangup_applies_the_files(crew):
    before = pids(crew)
    crew.crew(CREW.replace("count = 2", "count = 3"))

    crew.process.send_signal(signal.SIGHUP)

    crew.event("config.reloaded")
    wait_until(lambda: "b-2" in crew.rows())
    crew.until("b-2", state="ready")
    assert before.items() <= pids(crew).items()


def test_scale_adds_and_drains_and_leaves_the_rest_alone(crew):
    before = pids(crew)

    crew.ask("scale", name="b", count=4, wait="ready", timeout_s=20)
    assert {"b-2", "b-3"} <= crew.rows().keys()
    assert before.items() <= pids(crew).items()

    crew.ask("scale", name="b", count=1, wait="gone", timeout_s=20)
    assert "b-1" not in crew.rows()
    assert crew.row("b-0")["pid"] == before["b-0"]
    # What was scaled by hand stays so until the file says another number.
    assert crew.ask("plan")["changes"] == []
    crew.crew(CREW.replace("count = 2", "count = 3"))
    apply(crew)
    assert {"b-0", "b-1", "b-2"} <= crew.rows().keys()


def test_scale_to_none_keeps_the_definition(crew):
    crew.ask("scale", name="b", count=0, wait="gone", timeout_s=20)
    assert not {"b-0", "b-1"} & crew.rows().keys()

    crew.ask("scale", name="b", count=1, wait="ready", timeout_s=20)

    assert crew.row("b-0")["state"] == "ready"


def test_a_rolling_restart_replaces_each_of_them(crew):
    before = pids(crew)

    code, said = hiodctl(crew, "restart", "--rolling", "b")

    assert code == 0, said
    after = pids(crew)
    assert not {after["b-0"], after["b-1"]} & {before["b-0"], before["b-1"]}


def test_what_runs_can_be_written_down_and_applied_again(crew):
    crew.add("extra", command=SLEEPER, labels={"tier": "x"}, stop={"grace_s": 3})
    text = crew.ask("export")["text"]
    before = pids(crew)

    crew.crew(text)

    assert hiodctl(crew, "check")[0] == 0
    apply(crew)
    assert pids(crew) == before


def test_two_files_that_define_one_hand_are_refused_naming_both(crew):
    crew.crew('[hand.a]\ncommand = ["true"]\n', "other.toml")

    with pytest.raises(AdminError) as caught:
        crew.ask("apply")

    told = str(caught.value.parameters["problems"])
    assert "other.toml" in told
    assert "test.toml" in told


def test_defaults_come_from_the_boss_then_the_file_then_the_hand(bosses):
    boss = bosses()
    (boss.config / "hiod.toml").write_text(
        '[defaults]\nnice = 1\nenv = { A = "boss", B = "boss", C = "boss" }\n'
    )
    boss.crew(
        'defaults = { nice = 2, env = { B = "file", C = "file" } }\n'
        '[hand.a]\ncommand = ["sleep", "1000"]\nenv = { C = "hand" }\n'
        '[hand.b]\ncommand = ["sleep", "1000"]\nnice = 3\n'
    )

    boss.start()

    assert boss.ask("status", name="a")["spec"]["env"] == {"A": "boss", "B": "file", "C": "hand"}
    assert boss.ask("status", name="a")["spec"]["nice"] == 2
    assert boss.ask("status", name="b")["spec"]["nice"] == 3
