"""hiodctl, a process of its own, against a real boss and real hands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.boss import Boss

pytest_plugins = ("support.boss",)

CREW = """
[hand.web]
command = ["sh", "-c", "echo hello from web; exec sleep 1000"]
log = "%s"
labels = { tier = "front" }
[hand.many]
doers = []
count = 2
[hand.migrate]
command = ["true"]
ready.by = "exit"
restart.policy = "never"
[hand.broken]
doers = ["nosuch:Thing"]
restart = { delay_s = 0.01, limit = 1 }
[hand.report]
doers = []
after = ["broken"]
[hand.slowly]
doers = ["nosuch:Thing"]
restart = { delay_s = 1000, max_delay_s = 1000 }
start = false
"""
HIODCTL = [sys.executable, "-m", "hiod.ctl.main"]


@pytest.fixture(scope="module")
def crew(module_boss: Boss) -> Boss:
    """Give one boss for the whole module, with a hand in each of many states."""
    module_boss.crew(CREW % module_boss.log_path("web"))
    module_boss.start()
    module_boss.until("broken", state="failed")
    module_boss.until("migrate", state="done")
    module_boss.until("many-1", state="ready")
    return module_boss


class Said:
    """What a command printed and how it ended."""

    def __init__(self, ended: subprocess.CompletedProcess[str]) -> None:
        self.code = ended.returncode
        self.out = ended.stdout
        self.err = ended.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def ctl(boss: Boss, *words: str, code: int = 0, text: str | None = None) -> Said:
    """Run hiodctl; another exit code than expected fails the test."""
    ended = subprocess.run(
        [*HIODCTL, "--socket", str(boss.admin_socket), *words],
        input=text, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    said = Said(ended)
    assert said.code == code, (said.code, said.out, said.err)
    assert "Traceback (most recent call last)" not in said.err
    return said


# ---------------------------------------------------------------------------- looking


def test_list_shows_everybody_in_order_and_why_they_are_not_well(crew: Boss):
    head, *rows = ctl(crew, "list").out.splitlines()

    assert head.split() == ["NAME", "STATE", "HEALTH", "UP", "RST", "RSS", "CPU", "LAG", "STATUS"]
    assert [row.split()[:2] for row in rows] == [
        ["web", "running"], ["many-0", "ready"], ["many-1", "ready"], ["migrate", "done"],
        ["broken", "failed"], ["report", "waiting"], ["slowly", "stopped"],
    ]  # fmt: skip
    column = head.index("STATUS")
    remarks = {row.split()[0]: row[column:] for row in rows}
    assert remarks["web"] == remarks["many-0"] == "-"
    assert remarks["migrate"].startswith("exit 0 after ")
    assert "No module named 'nosuch'" in remarks["broken"]
    assert remarks["report"] == "after broken (failed)"


def test_json_is_what_the_boss_said(crew: Boss):
    listed = ctl(crew, "list", "--json").json
    status = ctl(crew, "status", "web", "--json").json

    assert listed["hands"][0]["name"] == "web"
    assert status["process"]["pid"] == listed["hands"][0]["pid"]


def test_bare_hiodctl_lists(crew: Boss):
    assert ctl(crew).out.splitlines()[0].startswith("NAME ")


def test_status_shows_the_tail_of_what_the_hand_printed(crew: Boss):
    wait_until(lambda: crew.hand_log("web"))

    said = ctl(crew, "status", "web").out

    assert said.startswith("● web  running since ")
    assert "crew.d/test.toml:2" in said.splitlines()[0]
    assert f"       Log: {crew.log_path('web')}\n  hello from web\n" in said


def test_logs_reads_the_hands_file(crew: Boss):
    wait_until(lambda: crew.hand_log("web"))

    assert ctl(crew, "logs", "web").out == "hello from web\n"


def test_logs_of_a_hand_that_prints_where_the_boss_does_says_so(crew: Boss):
    assert "log = inherit" in ctl(crew, "logs", "many-0", code=1).err


def test_why_of_a_failed_hand_says_how_often_how_and_what_would_do(crew: Boss):
    said = ctl(crew, "why", "broken").out.splitlines()

    assert said[0].startswith("broken is failed: gave up at ")
    assert said[0].endswith(", 2 failures in 60 s (limit 1). Stays so until started.")
    assert "T" not in said[0].split("gave up at ")[1].split(",")[0]
    labels = {line[2:11].strip(): line[11:] for line in said[1:] if line[2:11].strip()}
    assert labels["last"].startswith("exit 78, 0.")
    assert "No module named 'nosuch'; nobody asked" in labels["last"]
    assert f"cwd {crew.state}/hands/broken" in labels["ran as"]
    assert "path in crew.d/test.toml:13, then hiodctl apply" in labels["try"]
    assert labels["waits"] == "for it: report"
    # Nobody can show again what went to the terminal with the boss's own output.
    assert labels["you can"] == "hiodctl start broken"
    assert "importlib" not in "\n".join(said)


def test_why_of_a_waiting_hand_says_for_whom_and_how_that_one_is(crew: Boss):
    said = ctl(crew, "why", "report").out

    assert said.startswith(
        "report is waiting: after broken (failed). It starts when broken is there\n"
    )
    assert "  for      broken is failed: gave up: exit 78" in said
    assert "hiodctl why broken · hiodctl stop report" in said


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_waiting_hand_that_is_asked_for_again_still_says_for_whom_it_waits(crew: Boss, verb: str):
    ctl(crew, verb, "report", "--no-wait")

    assert crew.until("report", reason="after broken (failed)")["state"] == "waiting"


def test_why_of_a_hand_in_backoff_says_when_it_is_tried_again(crew: Boss):
    ctl(crew, "start", "slowly", "--no-wait")
    crew.until("slowly", state="backoff")
    try:
        said = ctl(crew, "why", "slowly").out
        listed = ctl(crew, "list", "slowly").out
    finally:
        ctl(crew, "stop", "slowly")

    assert "; try 1 of 5 in " in said.splitlines()[0]
    assert "  next     start in " in said
    assert "try 1 of 5" in listed


def test_why_without_a_name_is_of_those_that_are_not_well(crew: Boss):
    said = ctl(crew, "why").out

    assert [line.split()[0] for line in said.splitlines() if " is " in line[:20]] == [
        "broken", "report",
    ]  # fmt: skip


def test_events_are_sentences_with_times(crew: Boss):
    lines = ctl(crew, "events", "migrate").out.splitlines()

    assert lines[0].split(" ", 1)[1] == ("migrate: joined the crew, asked by the crew files")
    assert (
        "migrate: ended by itself, exit 0; not started again (a one-shot that is done)" in lines[-1]
    )


def test_about_and_ping_know_the_boss(crew: Boss):
    about = ctl(crew, "about").out

    assert crew.process is not None
    assert f"boss, running, pid {crew.process.pid}" in about
    assert "7: " in about
    assert ctl(crew, "ping").out == f"a boss answers at {crew.admin_socket}\n"


# ---------------------------------------------------------------------------- changing


def test_a_hand_is_added_scaled_stopped_started_and_removed(crew: Boss):
    added = ctl(crew, "add", "bee", "--doer", "hiod.demo:Ticker", "--count", "1")
    again = ctl(crew, "add", "bee", "--doer", "hiod.demo:Ticker", "--count", "1")
    scaled = ctl(crew, "scale", "bee", "2")
    stopped = ctl(crew, "stop", "bee-1")
    started = ctl(crew, "start", "bee", "--json")
    restarted = ctl(crew, "restart", "--rolling", "bee")
    removed = ctl(crew, "remove", "bee")

    assert added.out.startswith("bee-0: ready, pid ")
    assert again.out.startswith("bee-0: ready, nothing to do")
    assert scaled.out.startswith("bee-1: ready, pid ")
    assert stopped.out.startswith("bee-1: stopped, by END, exit 0, took ")
    assert [(one["name"], one["changed"]) for one in started.json["hands"]] == [
        ("bee-0", False), ("bee-1", True),
    ]  # fmt: skip
    assert [line.split(",")[0] for line in restarted.out.splitlines()] == [
        "bee-0: ready", "bee-1: ready",
    ]  # fmt: skip
    assert [line.split(",")[0] for line in removed.out.splitlines()] == [
        "bee-0: gone", "bee-1: gone",
    ]  # fmt: skip
    assert "bee-0" not in crew.rows()


def test_a_definition_is_added_from_a_file_and_from_standard_input(crew: Boss, tmp_path: Path):
    path = tmp_path / "one.toml"
    path.write_text('[hand.one]\ncommand = ["sleep", "1000"]\n')

    from_file = ctl(crew, "add", "-f", str(path))
    from_stdin = ctl(crew, "add", "-f", "-", text='{"name": "two", "doers": []}')
    ctl(crew, "remove", "one", "two")

    assert from_file.out.startswith("one: running, pid ")
    assert from_stdin.out.startswith("two: ready, pid ")


def test_signals_and_memos_are_sent(crew: Boss):
    assert ctl(crew, "signal", "CONT", "web").out == "web: signalled\n"
    assert ctl(crew, "send", "many", "HELLO", '{"value": 1}').out.splitlines() == [
        "many-0: sent", "many-1: sent",
    ]  # fmt: skip


def test_who_stopped_a_hand_is_in_the_list_by_name_only(crew: Boss):
    ctl(crew, "stop", "web")
    try:
        row = ctl(crew, "list", "web").out.splitlines()[1]
    finally:
        ctl(crew, "start", "web")

    assert "by root" in row
    assert "uid" not in row


def test_add_of_a_program_that_is_not_there_is_refused_and_says_so(crew: Boss):
    said = ctl(crew, "add", "typo", "--", "/no/such/program", code=1)

    ctl(crew, "remove", "typo")
    assert said.out == ""
    assert 'cannot execute "/no/such/program": No such file or directory' in said.err


def test_wait_returns_when_it_is_so_and_when_it_never_will_be(crew: Boss):
    assert ctl(crew, "wait", "many").code == 0
    assert "broken is failed and stays so until started" in ctl(crew, "wait", "broken", code=1).err
    assert "report is waiting after broken (failed)" in ctl(crew, "wait", "report", code=1).err
    assert "slowly is stopped" in ctl(crew, "wait", "slowly", code=1).err


def test_plan_and_apply(crew: Boss):
    extra = crew.crew("[hand.extra]\ndoers = []\n", "extra.toml")
    try:
        planned = ctl(crew, "plan").out
        applied = ctl(crew, "apply").out
    finally:
        extra.unlink()
    gone = ctl(crew, "apply").out

    assert planned == "+ extra: add (starts)\n"
    assert applied.splitlines()[0] == "+ extra: add (starts)"
    assert applied.splitlines()[1].startswith("extra: ready, pid ")
    assert gone.splitlines()[0] == "- extra: remove (stops)"
    assert "extra" not in crew.rows()


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["status", "wbe"], 1, 'no hand "wbe"; did you mean "web"?'),
        (["add", "web", "--doer", "a:B"], 1, '"web" is another definition'),
        (["add", "Bad", "--doer", "nocolon"], 1, "doers[0]"),
        (["add", "odd", "--doer", "a:B", "--python", "/no/such"], 1, "/no/such"),
        (["remove", "many-0"], 1, '"many" is counted'),
        (["remove", "broken"], 1, '"broken" is named in after of report'),
        (["scale", "web", "3"], 1, "one hand without a number"),
        (["signal", "NOPE", "web"], 1, "signal"),
        (["send", "web", "END"], 1, "4 to 16 of A-Z"),
        (["signal", "NOPE", "web"], 1, "signal must be a signal's name or number"),
        (["events", "wbe"], 1, 'no hand "wbe"; did you mean "web"?'),
        (["check", "--config-dir", "/no/such"], 2, "there is no directory /no/such"),
        (["lits"], 2, 'did you mean "list"?'),
        (["stop"], 2, "which hands?"),
    ],
)
def test_a_refusal_is_one_sentence_and_an_exit_code(
    crew: Boss, words: list[str], code: int, told: str
):
    said = ctl(crew, *words, code=code)

    assert told in said.err
    assert said.out == ""
    if "odd" in words:
        ctl(crew, "remove", "odd")


def test_a_refusal_with_json_is_an_object_on_standard_output(crew: Boss):
    said = ctl(crew, "status", "wbe", "--json", code=1)

    assert said.json == {
        "error": "io.hiod.Boss.NoSuchHand",
        "parameters": {"name": "wbe", "near": ["web"]},
    }
    assert said.err == ""


# ---------------------------------------------------------------------------- without a boss


def check(*words: str) -> Said:
    return Said(
        subprocess.run(
            [*HIODCTL, "check", *words], capture_output=True, text=True, timeout=60, check=False
        )
    )


def test_check_needs_no_boss_and_keeps_to_hiodctls_exit_codes(tmp_path: Path):
    (tmp_path / "crew.d").mkdir()
    path = tmp_path / "crew.d" / "a.toml"
    path.write_text("[hand.a]\ndoers = []\n")
    where = ("--config-dir", str(tmp_path))
    good, listed = check(*where), check("--json", *where)
    path.write_text("[hand.a]\ndors = []\n")
    bad, told = check(*where), check("--json", *where)

    assert (good.code, good.out) == (0, f"{tmp_path}: fine, 1 definition\n")
    assert (listed.code, listed.json["hands"], listed.json["problems"]) == (0, ["a"], [])
    assert bad.code == told.code == 1
    assert 'crew.d/a.toml: hand.a.dors: unknown key; did you mean "doers"?' in bad.err
    assert told.json["problems"][0]["path"] == "crew.d/a.toml: hand.a.dors"


@pytest.mark.parametrize(
    ("name", "file", "more"),
    [
        ("conf", "conf/hiod.toml", ""),
        ("conf", "conf/web.toml", "; web.toml is not read there"),
        ("conf/crew.d", "conf/crew.d/web.toml", "; did you mean --config-dir {}/conf?"),
    ],
)
def test_check_says_where_it_looked_for_crew_files_when_there_are_none(
    tmp_path: Path, name: str, file: str, more: str
):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / file).touch()

    told = check("--config-dir", str(tmp_path / name))

    assert (told.code, told.err) == (0, "")
    text = f"{tmp_path / name}: fine, 0 definitions: there is no crew.d/*.toml in it"
    assert told.out == f"{text}{more.format(tmp_path)}\n"


def test_check_says_no_more_of_crew_files_that_define_nobody(tmp_path: Path):
    (tmp_path / "crew.d").mkdir()
    (tmp_path / "crew.d" / "a.toml").touch()

    assert check("--config-dir", str(tmp_path)).out == f"{tmp_path}: fine, 0 definitions\n"


def test_try_runs_doers_until_it_is_told_to_end_and_leaves_nothing(tmp_path: Path):
    with subprocess.Popen(
        [*HIODCTL, "try", "hiod.demo:Ticker"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
        start_new_session=True,
    ) as trying:  # fmt: skip
        assert trying.stdout is not None
        home, told = "", []
        for line in trying.stdout:
            told.append(line)
            if "hiodctl --socket " in line:
                home = line.split("hiodctl --socket ")[1].split("/r/admin.sock")[0]
            if "ticker: ready" in line or "hand.ready" in line:
                break
        os.killpg(trying.pid, signal.SIGINT)  # as a terminal's Ctrl-C reaches boss and hiodctl
        told += trying.stdout.readlines()
        code = trying.wait(20)

    assert code == 0, told
    assert home.startswith("/tmp/hiod-")
    assert not os.path.exists(home)  # noqa: PTH110 - as told
    assert not any("Traceback" in line for line in told)


def test_events_follow_what_happens_and_end_cleanly(crew: Boss):
    with subprocess.Popen(
        [*HIODCTL, "--socket", str(crew.admin_socket), "events", "-f", "-n", "1", "many-0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        assert following.stdout is not None
        assert following.stderr is not None
        before = following.stdout.readline()
        crew.change("restart", "many-0", wait="ready")
        first = following.stdout.readline()
        following.send_signal(signal.SIGINT)
        told = following.stderr.read()
        code = following.wait(20)

    assert "many-0: " in before
    assert first.endswith(" restart by root: many-0\n")
    assert code == 130
    assert told == ""


def test_events_go_on_when_a_boss_is_there_again(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.crew("[hand.a]\ndoers = []\n")
    boss.start()
    boss.until("a", state="ready")
    with subprocess.Popen(
        [*HIODCTL, "--socket", str(boss.admin_socket), "events", "-f", "-n", "1", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        assert following.stdout is not None
        assert following.stderr is not None
        told = [json.loads(following.stdout.readline())]  # from here on it misses nothing
        boss.ask("signal", names=["a"], signal="CONT")
        told.append(json.loads(following.stdout.readline()))

        boss.kill()
        gone = following.stderr.readline()
        boss.start()
        boss.ask("signal", names=["a"], signal="CONT")
        told.append(json.loads(following.stdout.readline()))
        while told[-1]["event"] != "admin.done":
            told.append(json.loads(following.stdout.readline()))
        following.send_signal(signal.SIGINT)
        rest = following.stderr.read()
        code = following.wait(20)

    assert gone.startswith(f"hiodctl events: the boss at {boss.admin_socket} is gone; ")
    assert rest == "hiodctl events: a boss is there again\n"
    assert [one["seq"] for one in told] == list(range(told[0]["seq"], told[-1]["seq"] + 1))
    assert code == 130


def test_logs_follow_a_file_over_a_restart_of_the_boss(bosses: Callable[[], Boss], home: Path):
    boss = bosses()
    boss.crew(f"""[hand.a]
command = ["sh", "-c", "echo one; read line < {home}/fifo; echo $line; exec sleep 1000"]
log = "{home}/a.log"
""")
    os.mkfifo(home / "fifo")
    boss.start()
    wait_until(lambda: (home / "a.log").exists() and "one" in (home / "a.log").read_text())
    with subprocess.Popen(
        [*HIODCTL, "--socket", str(boss.admin_socket), "logs", "-f", "a"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        assert following.stdout is not None
        assert following.stderr is not None
        told = [following.stdout.readline()]
        boss.kill()
        boss.start()
        (home / "fifo").write_text("two\n")
        told.append(following.stdout.readline())
        following.send_signal(signal.SIGINT)
        assert following.stderr.read() == ""
        code = following.wait(20)

    assert told == ["one\n", "two\n"]
    assert code == -signal.SIGINT  # for a shell 130: it became tail


def test_shutdown_waits_for_the_end_and_then_nobody_is_there(bosses: Callable[[], Boss]):
    boss = bosses()
    boss.crew("[hand.a]\ndoers = []\n")
    boss.start()

    said = ctl(boss, "shutdown")

    assert said.out == "the boss has ended\n"
    assert boss.process is not None
    assert boss.process.wait(20) == 0
    assert f"no boss at {boss.admin_socket}" in ctl(boss, "list", code=3).err


def test_what_was_sent_is_said_and_recorded_and_who_reads_nothing_is_refused(crew: Boss):
    sent = ctl(crew, "send", "many", "HELLO", "{}")
    deaf = ctl(crew, "send", "web", "HELLO", "{}", code=1)
    resting = ctl(crew, "signal", "HUP", "slowly", code=1)

    assert sent.out == "many-0: sent\nmany-1: sent\n"
    assert deaf.out == (
        "web: not sent: it is a command that has not registered: it reads no memos\n"
    )
    assert resting.out == "slowly: not signalled: it has no process\n"
    told = [one["facts"]["outcome"] for one in crew.events("admin.done")]
    assert told[-3:] == ["HELLO to many-0, many-1", "HELLO to nobody", "SIGHUP to nobody"]


def test_logs_of_a_counted_base_asks_which(crew: Boss):
    assert "many is counted; which of many-0, many-1?" in ctl(crew, "logs", "many", code=2).err


def test_nobody_chosen_is_said(crew: Boss):
    told = ctl(crew, "list", "-l", "tier=none", code=1).err

    assert told == "hiodctl list: no hand has tier=none; see hiodctl list\n"


def test_a_plan_of_broken_files_is_a_failure_and_about_says_it_in_short(crew: Boss):
    path = crew.crew("[hand.x]\ncomand = 1\n[hand.y]\ncomand = 1\n", "bad.toml")
    try:
        planned = ctl(crew, "plan", code=1).out
        files = ctl(crew, "about", "--json").json["files"]
    finally:
        path.unlink()

    assert "crew.d/bad.toml: hand.x.comand" in planned
    assert files.startswith("broken: ")
    assert files.count("crew.d/bad.toml") == 1
