"""hiodctl, a process of its own, against a toy boss that holds it to the table of methods.

The toy refuses what the table would refuse, so a verb that asks for what no boss takes fails here.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import msgspec
import pytest
from support.waiting import wait_until

from hiod.admin import schema
from hiod.admin.client import Client, NoAnswer, NoBoss, find_socket
from hiod.errors import AdminError

HIODCTL = [sys.executable, "-m", "hiod.ctl.main"]


class Toy:
    """A boss of one hand, ``a``; answers are set by tests, requests are kept.

    Attributes:
        answers: by method: a reply, an AdminError, a list of replies to be given one by one over
            several calls, or a function from parameters to one of these. ``None`` is no answer.
        asked: what was called, in order.
        news: what subscribers are told when they ask, one list of events each.
        hang_up: methods after whose answer the connection is closed.
    """

    def __init__(self, path):
        self.path = str(path)
        self.answers = {"list": reply(schema.ListReply(hands=[row("a")], seq=412))}
        self.asked = []
        self.news = []
        self.hang_up = set()
        self._lines = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        for line in self._lines:
            with contextlib.suppress(OSError):  # the other end may have left
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for line in self._lines:
            line.close()
        self._listener.close()

    def _accept(self):
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self._lines.append(line)
            thread = threading.Thread(target=self._serve, args=(line,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, line):
        try:
            with line.makefile("rb") as source:
                for text in source:
                    request = json.loads(text)
                    for answer in self._answers(request):
                        line.sendall(json.dumps(answer).encode() + b"\n")
                    if request["method"] in self.hang_up:
                        line.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _answers(self, request):
        method = schema.BY_NAME[request["method"]]
        parameters = request["parameters"]
        self.asked.append((method.short, parameters))
        wrong = schema.check(method, parameters)
        if isinstance(wrong, AdminError):
            return [failure(wrong)]
        if method.short == "subscribe":
            assert request["more"] is True
            return [
                {
                    "parameters": reply(schema.SubscribeReply(events=news, seq=news[-1].seq)),
                    "continues": True,
                }
                for news in self.news
            ]
        answer = self.answers.get(method.short, {})
        if callable(answer):
            answer = answer(parameters)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is None:
            return []
        return [failure(answer) if isinstance(answer, AdminError) else {"parameters": answer}]


def reply(struct):
    return msgspec.to_builtins(struct)


def row(name, state="ready", **more):
    return schema.Row(name=name, spec=name, state=state, **more)


def crew(*rows):
    return reply(schema.ListReply(hands=list(rows), seq=412))


def failure(ex):
    code, parameters = schema.wire_error(ex)
    return {"error": code, "parameters": parameters}


def outcome(name, **more):
    return reply(schema.ChangeReply(hands=[schema.Outcome(name=name, **more)]))


@pytest.fixture
def home():
    path = Path(tempfile.mkdtemp(prefix="hiod-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def toy(home):
    boss = Toy(home / "admin.sock")
    yield boss
    boss.close()


@pytest.fixture
def ctl(toy):
    def run(*words, socket_path=toy.path, text="", env=(), cwd=None):
        words = [*HIODCTL, *(["--socket", socket_path] if socket_path else []), *words]
        environ = {k: v for k, v in os.environ.items() if k != "HIOD_SOCKET"} | dict(env)
        return subprocess.run(
            words, input=text, capture_output=True, text=True, timeout=30, check=False,
            env=environ, cwd=cwd,
        )  # fmt: skip

    return run


# ----------------------------------------------------------------- looking


def test_list_prints_the_crew_and_nothing_to_stderr(ctl):
    done = ctl()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == ["a", "ready", *["-"] * 2, "0", *["-"] * 4]


def test_list_as_json_is_what_the_boss_said(ctl, toy):
    done = ctl("list", "--json", "a*", "-l", "k=v")

    assert json.loads(done.stdout) == toy.answers["list"]
    assert toy.asked == [("list", {"names": ["a*"], "labels": {"k": "v"}})]


def test_list_imports_nothing_that_would_make_it_slow(toy):
    code = (
        "import sys; from hiod.ctl.main import main; code = main(sys.argv[1:]);"
        "print(code, *sorted({n.partition('.')[0] for n in sys.modules}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, "--socket", toy.path, "list"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip

    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0"
    slow = {"msgspec", "structlog", "psutil", "rich", "orjson", "asyncio", "dataclasses", "inspect",
            "logging", "subprocess", "pathlib", "tomllib", "difflib", "tempfile", "shutil",
            "threading", "unicodedata"}  # fmt: skip
    assert slow.isdisjoint(modules)


def test_status_shows_each_hand_a_name_means(ctl, toy):
    toy.answers["list"] = crew(row("w-0"), row("w-1"))
    toy.answers["status"] = lambda asked: reply(
        schema.Status(name=asked["name"], state="ready", spec={}, log="null")
    )

    done = ctl("status", "w")

    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("●")] == [
        "● w-0  ready",
        "● w-1  ready",
    ]


def test_status_ends_with_the_last_lines_of_the_hands_file(ctl, toy, home):
    log = home / "a.log"
    log.write_text("one\ntwo\nthree\n")
    toy.answers["status"] = reply(schema.Status(name="a", state="ready", spec={}, log=str(log)))

    assert ctl("status", "a", "-n", "2").stdout.endswith("  two\n  three\n")


def test_logs_reads_the_hands_file_with_the_callers_rights(ctl, toy, home):
    log = home / "a.log"
    log.write_text("one\ntwo\n")
    toy.answers["status"] = reply(schema.Status(name="a", state="ready", spec={}, log=str(log)))

    done = ctl("logs", "a", "-n", "1")

    assert (done.returncode, done.stdout) == (0, "two\n")


def test_logs_asks_the_journal_for_what_the_hand_said_and_what_was_said_of_it(ctl, toy, home):
    fake = home / "journalctl"
    fake.write_text("#!/bin/sh\nprintf '%s ' \"$@\"\n")
    fake.chmod(0o755)
    toy.answers["status"] = reply(schema.Status(name="a", state="ready", spec={}, log="journal"))

    done = ctl("logs", "-f", "a", env={"PATH": f"{home}:/usr/bin:/bin"})

    # Without -q where this machine's journal is not for the caller: journalctl then says so.
    assert done.stdout.removeprefix("-q ") == (
        "-n 50 -f -o short HIOD_HAND=a + SYSLOG_IDENTIFIER=hiod-a "
    )


def test_logs_of_a_file_as_json_have_the_journals_name_for_a_line(ctl, toy, home):
    log = home / "a.log"
    log.write_bytes(b'one "1"\n\xff two')
    toy.answers["status"] = reply(schema.Status(name="a", state="ready", spec={}, log=str(log)))

    done = ctl("logs", "a", "--json")

    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"MESSAGE": 'one "1"'}, {"MESSAGE": "\ufffd two"},
    ]  # fmt: skip


def test_logs_followed_as_json_end_cleanly_and_take_their_reader_along(toy, home):
    log = home / "a.log"
    log.write_text("one\n")
    toy.answers["status"] = reply(schema.Status(name="a", state="ready", spec={}, log=str(log)))

    with subprocess.Popen(
        [*HIODCTL, "--socket", toy.path, "logs", "-f", "a", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        told = [following.stdout.readline()]
        with log.open("a") as more:
            more.write("two\n")
        told.append(following.stdout.readline())
        following.send_signal(signal.SIGINT)  # to it alone: no terminal tells its reader
        rest = following.communicate(timeout=20)

    assert [json.loads(line)["MESSAGE"] for line in told] == ["one", "two"]
    assert rest == ("", "")
    assert following.returncode == 130


def test_logs_of_a_hand_that_printed_nothing_yet_says_so(ctl, toy, home):
    where = f"{home}/a.log"
    toy.answers["status"] = reply(schema.Status(name="a", state="ready", spec={}, log=where))

    done = ctl("logs", "a")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"hiodctl logs: a has printed nothing yet: there is no {where}\n"


def test_logs_that_cannot_be_read_names_who_may_not(ctl, toy, home):
    toy.answers["status"] = reply(
        schema.Status(name="a", state="ready", spec={}, log="/dev/kmsg/x")
    )

    done = ctl("logs", "a")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "hiodctl logs: root (uid 0) cannot read what a printed, /dev/kmsg/x: Not a directory;"
        " it belongs to the boss's user\n"
    )


def test_logs_of_a_hand_that_logs_nowhere_is_refused_with_the_reason(ctl, toy):
    toy.answers["status"] = reply(schema.Status(name="a", state="ready", spec={}, log="null"))

    done = ctl("logs", "a")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hiodctl logs: what a prints is thrown away (log = null); to")


def happened(seq, message):
    return schema.Event(seq=seq, at="2026-05-08T03:12:22Z", event="hand.ready", message=message)


def test_events_come_as_they_were_and_then_as_they_happen(toy):
    toy.answers["events"] = reply(schema.EventsReply(events=[happened(7, "a: old")], seq=9))
    toy.news = [[happened(10, "a: new"), happened(11, "a: newer")]]
    toy.hang_up = {"subscribe"}

    with subprocess.Popen(
        [*HIODCTL, "--socket", toy.path, "events", "-f", "-n", "1", "a", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as following:  # fmt: skip
        events = [json.loads(following.stdout.readline()) for _ in range(3)]
        gone = following.stderr.readline()
        wait_until(lambda: toy.asked[-1] == ("subscribe", {"names": ["a"], "since": 11}))
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 130

    assert [event["seq"] for event in events] == [7, 10, 11]
    assert ("subscribe", {"names": ["a"], "since": 9}) in toy.asked
    assert gone.startswith(f"hiodctl events: the boss at {toy.path} is gone; ")


@pytest.mark.parametrize(
    ("words", "method", "answer", "text"),
    [
        (["ping"], "ping", {}, "a boss answers at "),
        (["plan"], "plan", {"changes": [], "problems": []}, ""),
        (["why"], "why", {"hands": [{"name": "a", "state": "failed", "summary": "a: x"}]}, "a: x"),
        (["export", "a"], "export", {"text": "[hand.a]\n", "specs": []}, "[hand.a]"),
        (["top"], "list", {"hands": []}, "NAME"),
        (["about"], "about", {"name": "boss", "version": "9"}, "    boss: boss"),
    ],
)
def test_every_look_is_one_request(ctl, toy, words, method, answer, text):
    toy.answers[method] = answer

    done = ctl(*words)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(text)
    assert [name for name, _ in toy.asked] == [method]
    assert json.loads(ctl(*words, "--json").stdout) == answer


# ----------------------------------------------------------------- changing


@pytest.mark.parametrize(
    ("words", "method", "asked"),
    [
        (["start", "a", "b*"], "start", {"names": ["a", "b*"], "wait": "ready", "timeout_s": 10.0}),
        (["start", "-l", "k=v", "--wait", "done"], "start",
         {"labels": {"k": "v"}, "wait": "done", "timeout_s": 10.0}),
        (["stop", "a", "--timeout", "3"], "stop",
         {"names": ["a"], "wait": "gone", "timeout_s": 3.0}),
        (["remove", "a", "--no-wait"], "remove", {"names": ["a"]}),
        (["restart", "a"], "restart", {"names": ["a"], "wait": "ready", "timeout_s": 10.0}),
        (["scale", "w", "3"], "scale",
         {"name": "w", "count": 3, "wait": "ready", "timeout_s": 10.0}),
        (["signal", "sighup", "a"], "signal", {"names": ["a"], "signal": "HUP"}),
        (["signal", "10", "a"], "signal", {"names": ["a"], "signal": "USR1"}),
        (["send", "a", "PING", '{"x": 1}'], "send",
         {"names": ["a"], "tag": "PING", "load": {"x": 1}}),
        (["send", "a", "PING"], "send", {"names": ["a"], "tag": "PING", "load": {}}),
        (["apply"], "apply", {"wait": "ready", "timeout_s": 10.0}),
        (["add", "late", "--doer", "hiod.demo:Ticker", "--replace"], "add",
         {"spec": {"name": "late", "doers": ["hiod.demo:Ticker"]}, "replace": True,
          "wait": "ready", "timeout_s": 10.0}),
    ],
)  # fmt: skip
def test_every_change_asks_for_exactly_what_was_typed(ctl, toy, words, method, asked):
    state = "stopped" if method == "stop" else "ready"
    toy.answers[method] = outcome("a", changed=True, state=state, pid=7)

    done = ctl(*words)

    assert (done.returncode, done.stderr) == (0, "")
    assert toy.asked == [(method, asked)]
    assert done.stdout.startswith("a: ")


def test_a_spec_may_come_from_standard_input(ctl, toy, home):
    toy.answers["add"] = outcome("x", changed=True)

    done = ctl("add", "-f", "-", text='[hand.x]\ndoers = ["m:X"]\npath = ["s"]\n', cwd=home)

    assert done.returncode == 0, done.stderr
    assert toy.asked[0][1]["spec"] == {"name": "x", "doers": ["m:X"], "path": [f"{home}/s"]}


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (AdminError("Timeout", hands=[{"name": "x", "state": "starting"}]), 4),
        (AdminError("Conflict", "x is another definition", code="exists"), 1),
    ],
)
def test_of_several_hands_of_a_file_those_behind_the_one_that_went_wrong_are_named(
    ctl, toy, refused, code
):
    toy.answers["add"] = [outcome("w", changed=True, state="ready"), refused]
    hands = "".join(f'[hand.{name}]\ncommand = ["c"]\n' for name in "wxyz")

    done = ctl("add", "-f", "-", text=hands)

    assert done.returncode == code
    assert done.stdout == "w: ready\n"
    assert done.stderr.startswith("hiodctl add: ended there; not added: y, z\nhiodctl add: ")
    assert len(toy.asked) == len("wx")


def test_a_file_that_is_not_there_is_a_usage_error(ctl, toy):
    done = ctl("add", "-f", "/no/such.toml")

    assert (done.returncode, toy.asked) == (2, [])
    assert done.stderr == "hiodctl: cannot read /no/such.toml: No such file or directory\n"


@pytest.mark.parametrize("load", ["[1]", "{", "1"])
def test_a_load_that_is_no_object_is_a_usage_error(ctl, toy, load):
    done = ctl("send", "a", "PING", load)

    assert (done.returncode, toy.asked) == (2, [])
    assert done.stderr.startswith("hiodctl send: the load ")


def test_a_hand_that_failed_while_it_was_waited_for_is_exit_1(ctl, toy):
    toy.answers["start"] = outcome("a", changed=True, state="failed", reason="exit 1")

    done = ctl("start", "a")

    assert (done.returncode, done.stdout) == (1, "a: failed, exit 1\n")


def test_rolling_restarts_one_after_the_other(ctl, toy):
    toy.answers["list"] = crew(row("w-0"), row("w-1"), row("w-2"))
    toy.answers["restart"] = lambda asked: outcome(asked["names"][0], changed=True, state="ready")

    done = ctl("restart", "--rolling=2", "w")

    assert done.returncode == 0, done.stderr
    assert [asked["names"] for name, asked in toy.asked if name == "restart"] == [
        ["w-0", "w-1"],
        ["w-2"],
    ]


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (outcome("w-1", changed=True, state="failed"), 1),
        (AdminError("Timeout", state="starting"), 4),
        (AdminError("SpawnFailed", step="fork"), 1),
    ],
)
def test_rolling_ends_at_the_first_that_fails_and_says_which_were_left_alone(
    ctl, toy, second, code
):
    toy.answers["list"] = crew(row("w-0"), row("w-1"), row("w-2"), row("w-3"))
    toy.answers["restart"] = [outcome("w-0", changed=True, state="ready"), second]

    done = ctl("restart", "--rolling", "w")

    assert done.returncode == code
    assert "hiodctl restart: ended there; not restarted: w-2, w-3\n" in done.stderr
    assert [name for name, _ in toy.asked] == ["list", "restart", "list", "restart"]


def test_rolling_leaves_alone_whom_somebody_stops_or_removes_meanwhile(ctl, toy):
    before = crew(row("w-0"), row("w-1"), row("w-2"), row("w-3", wanted="down"))
    after = crew(row("w-0"), row("w-1", wanted="down"), row("w-3", wanted="down"))
    toy.answers["list"] = [before, after, after]
    toy.answers["restart"] = lambda asked: outcome(asked["names"][0], changed=True, state="ready")

    done = ctl("restart", "--rolling", "w")

    assert done.returncode == 0, done.stderr
    told = [asked["names"] for name, asked in toy.asked if name == "restart"]
    assert told == [["w-0"], ["w-3"]]


def test_rolling_of_nobody_says_that_there_is_nothing_to_do(ctl, toy):
    toy.answers["list"] = crew()

    done = ctl("restart", "--rolling", "w")

    assert (done.returncode, done.stdout) == (0, "nothing to do\n")


@pytest.mark.parametrize("verb", ["start", "restart"])
@pytest.mark.parametrize("found", [{"state": "stopped"}, {"left": True}])
def test_whom_somebody_else_stopped_or_removed_meanwhile_did_not_come(ctl, toy, verb, found):
    toy.answers[verb] = outcome("a", changed=True, **found)

    assert ctl(verb, "a").returncode == 1
    assert ctl(verb, "a", "--no-wait").returncode == 0


def test_whom_somebody_else_started_again_is_not_gone(ctl, toy):
    toy.answers["stop"] = outcome("a", changed=True, state="running", pid=7)

    assert ctl("stop", "a").returncode == 1
    assert ctl("stop", "a", "--no-wait").returncode == 0


def test_rolling_without_waiting_makes_no_sense(ctl):
    assert ctl("restart", "--rolling", "--no-wait", "w").returncode == 2


def test_shutdown_waits_until_the_boss_hangs_up(ctl, toy):
    toy.hang_up = {"shutdown"}

    done = ctl("shutdown")

    assert (done.returncode, done.stdout) == (0, "the boss has ended\n")


def test_a_shutdown_may_keep_the_hands(ctl, toy):
    toy.hang_up = {"shutdown"}

    done = ctl("shutdown", "--keep-hands")

    assert (done.returncode, done.stdout) == (0, "the boss has ended; its hands live on\n")
    assert toy.asked == [("shutdown", {"keep_hands": True})]


def test_shutdown_of_a_boss_that_stays_times_out(ctl):
    done = ctl("shutdown", "--timeout", "0.1")

    assert done.returncode == 4
    assert "the boss is still there after 0.1 s" in done.stderr


# ----------------------------------------------------------------- waiting


def test_wait_returns_at_once_when_all_is_there(ctl, toy):
    done = ctl("wait", "a")

    assert (done.returncode, done.stdout) == (0, "a: ready\n")
    assert [name for name, _ in toy.asked] == ["list"]


def test_wait_looks_again_when_something_happened_since_its_first_look(ctl, toy):
    toy.answers["list"] = [crew(row("a", "starting")), crew(row("a", "registering")),
                           crew(row("a", "ready"))]  # fmt: skip
    toy.news = [[happened(413, "one")], [happened(414, "two")]]

    done = ctl("wait", "a")

    assert (done.returncode, done.stdout) == (0, "a: ready\n")
    assert [asked for name, asked in toy.asked if name == "subscribe"] == [{"since": 412}]


def test_wait_times_out_naming_who_is_late(ctl, toy):
    toy.answers["list"] = crew(row("a", "starting"), row("b"))

    done = ctl("wait", "a", "b", "--timeout", "0.2")

    assert done.returncode == 4
    assert done.stderr == "hiodctl wait: not ready within 0.2 s: a is starting\n"


def test_wait_does_not_wait_for_what_cannot_come(ctl, toy):
    toy.answers["list"] = crew(row("a", "failed"))

    done = ctl("wait", "a")

    assert done.returncode == 1
    assert done.stderr == ("hiodctl wait: a is failed and stays so until started: hiodctl why a\n")


@pytest.mark.parametrize("many", [["*"], ["-l", "tier=x"]])
def test_wait_for_many_passes_over_those_nobody_wants_up_and_names_them(ctl, toy, many):
    toy.answers["list"] = crew(row("a"), row("b", "stopped", wanted="down"))

    done = ctl("wait", *many)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "a: ready\nnot waited for, nobody wants it up: b\n"


@pytest.mark.parametrize("words", [["b"], ["*", "b"], ["b*"]])
def test_wait_refuses_a_stopped_hand_that_is_named_or_alone(ctl, toy, words):
    rows = [row("b", "stopped", wanted="down")]
    toy.answers["list"] = crew(*rows, *([row("a")] if "*" in words else []))

    done = ctl("wait", *words)

    assert done.returncode == 1
    assert done.stderr.startswith("hiodctl wait: b is stopped and stays so until started")


@pytest.mark.parametrize(
    ("words", "method", "nothing"),
    [
        (["wait"], "list", crew()),
        (["list"], "list", crew()),
        (["list", "--json"], "list", crew()),
        (["status"], "list", crew()),
        (["restart", "--rolling"], "list", crew()),
        (["why"], "why", {"hands": []}),
        (["stop"], "stop", {"hands": []}),
        (["remove"], "remove", {"hands": []}),
        (["signal", "HUP"], "signal", {"hands": []}),
        (["export"], "export", {"text": "", "specs": []}),
    ],
)
def test_a_label_nobody_has_is_refused_as_a_name_nobody_has_is(ctl, toy, words, method, nothing):
    toy.answers[method] = nothing

    done = ctl(*words, "-l", "tier=nope")

    assert done.returncode == 1
    assert "no hand has tier=nope" in done.stdout + done.stderr


def test_a_label_none_of_the_named_hands_has_is_said_of_these(ctl, toy):
    toy.answers["stop"] = {"hands": []}

    done = ctl("stop", "a", "-l", "tier=nope")

    assert done.stderr == "hiodctl stop: none of these hands has tier=nope; see hiodctl list\n"


def test_wait_for_gone_is_content_with_a_label_nobody_has(ctl, toy):
    toy.answers["list"] = crew()

    assert ctl("wait", "--for", "gone", "-l", "tier=nope").returncode == 0


def test_wait_for_gone_is_content_with_a_hand_nobody_knows(ctl, toy):
    toy.answers["list"] = [crew(row("a", "stopping")), AdminError("NoSuchHand", name="a")]
    toy.news = [[happened(413, "gone")]]

    assert ctl("wait", "--for", "gone", "a").returncode == 0


# ----------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (AdminError("NoSuchHand", name="x", near=["a"]), 1),
        (AdminError("NotPermitted", needs="operate", have="read"), 1),
        (AdminError("Conflict", "others come after it", code="needed", hands=["b"]), 1),
        (AdminError("Timeout", state="stopping"), 4),
        (AdminError("Unavailable", state="store"), 1),
    ],
)
def test_a_refusal_is_one_sentence_and_an_exit_code(ctl, toy, refused, code):
    toy.answers["stop"] = refused

    said, coded = ctl("stop", "x"), ctl("stop", "x", "--json")

    assert said.returncode == coded.returncode == code
    assert said.stdout == ""
    assert said.stderr.startswith("hiodctl stop: ")
    assert said.stderr.count("\n") == 1
    assert json.loads(coded.stdout) == failure(refused)


@pytest.mark.parametrize("words", [("why", "\x1b[31m"), ("\x1b[31m",)])
def test_a_refusal_writes_no_control_characters_onto_a_terminal(ctl, toy, words):
    toy.answers["why"] = AdminError("Conflict", "\x1b[31m is busy")

    done = ctl(*words)

    assert done.returncode in (1, 2)
    assert "[31m" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "words", [("status", b"\xff"), ("add", "web", "--", "cat", b"\xff"), (b"\xff",)]
)
def test_a_word_that_is_not_utf8_is_refused_as_it_is_read(ctl, words):
    done = ctl(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ('hiodctl: the argument "\\xff" is not UTF-8 text; hiod knows no other\n')


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_plan_and_apply_say_in_the_same_words_that_the_crew_files_are_broken(ctl, toy, verb):
    problems = [{"path": "crew.d/a.toml: hand.a.x", "code": "unknown_key", "message": "unknown"}]
    toy.answers["plan"] = {"problems": problems}
    toy.answers["apply"] = AdminError("BadSpec", problems=problems)

    done = ctl(verb)

    assert done.returncode == 1
    assert (done.stdout + done.stderr).removeprefix("hiodctl apply: ") == (
        "the crew files cannot be used: 1 problem\n  crew.d/a.toml: hand.a.x: unknown\n"
    )


def test_problems_of_a_spec_are_listed_one_a_line(ctl, toy):
    toy.answers["add"] = AdminError(
        "BadSpec",
        problems=[
            {"path": "tock", "code": "range", "message": "must be 0 or more, got -1", "got": -1},
            {"path": "logs", "code": "unknown", "message": 'unknown key; did you mean "log"?'},
        ],
    )

    done = ctl("add", "x", "--doer", "a:B")

    assert done.returncode == 1
    assert done.stderr == (
        'hiodctl add: the spec of "x" cannot be used: 2 problems\n'
        "  tock: must be 0 or more, got -1\n"
        '  logs: unknown key; did you mean "log"?\n'
    )


@pytest.mark.parametrize(("words", "sentence"), [(["lits"], 'no verb "lits"'), (["stop"], "which")])
def test_a_usage_error_is_exit_2_and_asks_nobody(ctl, toy, words, sentence):
    done = ctl(*words)

    assert (done.returncode, done.stdout, toy.asked) == (2, "", [])
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_socket_at_all_is_exit_3_naming_where_was_looked(ctl, home):
    done = ctl("list", socket_path=f"{home}/none.sock")

    assert done.returncode == 3
    assert done.stderr.startswith(
        f"hiodctl list: no boss at {home}/none.sock: there is no such socket"
    )


def test_a_socket_nobody_listens_at_is_exit_3(ctl, home):
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(f"{home}/dead.sock")

    done = ctl("list", "--json", socket_path=f"{home}/dead.sock")

    assert done.returncode == 3
    assert json.loads(done.stdout)["error"] == "NoBoss"
    assert "nobody listens" in done.stdout


def test_the_environment_names_the_socket_and_is_named_when_it_is_wrong(ctl, toy, home):
    assert ctl("ping", socket_path=None, env={"HIOD_SOCKET": toy.path}).returncode == 0

    done = ctl("ping", socket_path=None, env={"HIOD_SOCKET": f"{home}/x"})

    assert done.returncode == 3
    assert done.stderr.endswith("(the path is from $HIOD_SOCKET)\n")


def test_a_boss_of_the_users_own_is_found_and_pointed_at(ctl, toy, home):
    (home / "hiod").mkdir()
    os.link(toy.path, home / "hiod" / "admin.sock")
    env = {"XDG_RUNTIME_DIR": str(home)}

    assert ctl("ping", "--user", socket_path=None, env=env).returncode == 0
    done = ctl("ping", socket_path=f"{home}/none", env=env)

    assert f"a boss listens at {home}/hiod/admin.sock (with --user)" in done.stderr


def test_a_boss_nobody_asked_is_pointed_at_only_if_it_listens(ctl, toy, home):
    (home / "hiod").mkdir()
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(f"{home}/hiod/admin.sock")
    env = {"XDG_RUNTIME_DIR": str(home), "HIOD_SOCKET": toy.path}

    done = ctl("ping", "--socket", f"{home}/none", socket_path=None, env=env)

    assert done.stderr == (
        f"hiodctl ping: no boss at {home}/none: there is no such socket;"
        f" a boss listens at {toy.path} ($HIOD_SOCKET)\n"
    )


def test_what_is_no_socket_is_called_what_it_is(ctl, home):
    (home / "file").write_text("")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as memos:
        memos.bind(f"{home}/boss.uxd")

        told = {
            name: ctl("ping", socket_path=f"{home}{name}")
            for name in ("", "/file", "/boss.uxd", "/x/none", "/file/none", "/" + "x" * 120)
        }

    assert {done.returncode for done in told.values()} == {3}
    said = {name: done.stderr.split(f"{home}{name}: ")[1] for name, done in told.items()}
    long = len(f"{home}/") + 120
    assert said == {
        "": "that is a directory\n",
        "/file": "that is a file, no socket\n",
        "/boss.uxd": "that socket takes memos; commands go to admin.sock\n",
        "/x/none": f"there is no directory {home}/x\n",
        "/file/none": f"there is no directory {home}/file\n",
        "/" + "x" * 120: f"a socket's path has 107 bytes at most, this one has {long}\n",
    }


def test_where_a_boss_of_the_users_own_would_be_it_is_said_how_to_start_one(ctl, home):
    (home / "hiod").mkdir()

    done = ctl("ping", "--user", socket_path=None, env={"XDG_RUNTIME_DIR": str(home)})

    assert done.stderr == (
        f"hiodctl ping: no boss at {home}/hiod/admin.sock: there is no such socket;"
        " start one with systemctl --user start hiod, or hiod run --user\n"
    )


def test_a_boss_that_goes_away_unanswered_is_exit_3_and_nothing_is_claimed(ctl, toy):
    toy.answers["stop"] = None
    toy.hang_up = {"stop"}

    done = ctl("stop", "a")

    assert done.returncode == 3
    assert "whether it did what was asked is not known" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("gid", "mode", "told"),
    [
        (1, 0o660, "that takes group daemon; an administrator can add you"
                   " (usermod -aG daemon nobody), then log in anew"),
        (0, 0o660, "it is root's alone; ask as root"),
        (65534, 0o600, "which its mode closes to group nogroup"),
    ],
)  # fmt: skip
def test_a_closed_socket_names_who_asks_and_the_group_that_may(toy, gid, mode, told):
    Path(toy.path).parent.chmod(0o755)
    Path(toy.path).chmod(mode)
    os.chown(toy.path, 0, gid)

    code = (
        # What is imported later may lie where nobody may read.
        "import grp, os, pwd, sys; from hiod.admin.client import Client;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: Client(sys.argv[1]).call('ping')\n"
        "except Exception as ex: print(type(ex).__name__, ex)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, toy.path], capture_output=True, text=True, timeout=30,
        check=True,
    )  # fmt: skip

    head = f"NotAllowed nobody (uid 65534) may not connect to {toy.path}"
    assert done.stdout.startswith(head)
    assert done.stdout.endswith(f"{told}\n")


def test_a_reader_that_leaves_early_is_no_failure(toy):
    toy.answers["list"] = crew(*[row(f"h{n}") for n in range(3000)])

    with subprocess.Popen(
        [*HIODCTL, "--socket", toy.path, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as ctl:
        ctl.stdout.readline()
        ctl.stdout.close()
        assert ctl.stderr.read() == b""
        assert ctl.wait(10) == 0


def test_ctrl_c_ends_a_follower_without_a_traceback(toy):
    toy.answers["events"] = reply(schema.EventsReply(events=[happened(1, "a: x")], seq=1))

    with subprocess.Popen(
        [*HIODCTL, "--socket", toy.path, "events", "-f"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as ctl:  # fmt: skip
        assert ctl.stdout.readline().endswith(b"a: x\n")
        ctl.send_signal(signal.SIGINT)
        assert ctl.stderr.read() == b""
        assert ctl.wait(10) == 130


# ----------------------------------------------------------------- the client by itself


def test_a_client_keeps_its_connection_and_makes_a_new_one_when_the_boss_has_left(toy):
    with Client(toy.path) as client:
        assert client.call("ping") == {}
        assert client.call("list")["seq"] == 412
        toy.hang_up = {"ping"}
        client.call("ping")
        assert client.wait_closed(5)
        assert client.call("list")["seq"] == 412


def test_a_client_takes_no_answer_for_an_answer_to_something_else(toy):
    toy.answers["about"] = None
    with Client(toy.path, timeout_s=0.1) as client:
        with pytest.raises(NoAnswer, match=r"did not answer about within 0\.1 s"):
            client.call("about")
        assert client.call("list")["seq"] == 412


def test_a_stream_may_be_left_and_the_client_used_again(toy):
    toy.news = [[happened(1, "x")], [happened(2, "y")]]
    with Client(toy.path) as client:
        stream = client.call("subscribe", more=True)
        assert next(stream)["events"][0]["seq"] == 1
        stream.close()
        assert client.call("list")["seq"] == 412


def test_a_stream_ends_when_its_time_is_over(toy):
    toy.news = [[happened(1, "x")]]
    with Client(toy.path) as client:
        stream = client.call("subscribe", more=True, within_s=0.2)
        next(stream)
        with pytest.raises(NoAnswer):
            next(stream)


def test_what_is_no_boss_is_called_so(home):
    path = f"{home}/other.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        client = Client(path)
        talk = threading.Thread(target=_say_hello, args=(listener,))
        talk.start()
        with pytest.raises(NoBoss, match=r"what listens at .* is not a boss"):
            client.call("ping")
        talk.join(5)


def _say_hello(listener):
    line, _ = listener.accept()
    with line:
        line.recv(4096)
        line.sendall(b"220 smtp ready\n")


def test_the_socket_is_looked_for_in_the_documented_order():
    env = {"HIOD_SOCKET": "/e", "XDG_RUNTIME_DIR": "/x"}

    assert find_socket("/g", user=True, environ=env, uid=5) == ("/g", "--socket")
    assert find_socket(None, user=False, environ=env, uid=5) == ("/e", "$HIOD_SOCKET")
    assert find_socket(None, user=True, environ=env, uid=5) == ("/x/hiod/admin.sock", "--user")
    assert find_socket(None, user=True, environ={}, uid=5) == (
        "/tmp/hiod-5/hiod/admin.sock",
        "--user",
    )
    assert find_socket(None, user=False, environ={}, uid=5) == ("/run/hiod/admin.sock", "system")


def test_output_that_cannot_be_written_is_one_sentence(toy):
    toy.answers["list"] = {"hands": [], "seq": 0}
    argv = [sys.executable, "-m", "hiod", "ctl", "--socket", str(toy.path), "list"]

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *argv], stderr=subprocess.PIPE, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be written: No space left on device" in done.stderr
    assert (closed.returncode, closed.stderr) == (0, "")
