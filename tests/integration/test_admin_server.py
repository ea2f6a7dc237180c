"""The admin socket under a real Doist, with a toy boss behind it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from hiod.admin import schema, server
from hiod.admin.server import Access, AdminDoer, Limits, Request
from hiod.base.doing import Doist
from hiod.errors import AdminError

PATIENCE_S = 10.0


class Toy:
    """A boss of nothing: answers some methods at once, some later, some wrongly."""

    def __init__(self, **options: Any) -> None:
        self.asked: list[str] = []
        self.streams: list[Request] = []
        self.held: list[Request] = []
        self.notes: list[tuple[str, dict]] = []
        self.gone = threading.Event()
        self.subscribed = threading.Event()
        self.busy = threading.Event()
        self.free = threading.Event()
        self.directory = Path(tempfile.mkdtemp(prefix="hd"))
        self.directory.chmod(0o755)
        self.path = str(self.directory / "a")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        Path(self.path).chmod(0o666)
        self.listener.listen(64)
        access = options.pop("access", None) or Access(boss_uid=os.getuid())
        self.doer = AdminDoer(
            [self.listener],
            self.handle,
            access=access,
            note=lambda event, facts: self.notes.append((event, facts)),
            **options,
        )
        self.doist = Doist(real=True, doers=[self.doer])
        self.fault: BaseException | None = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        try:
            self.doist.do()
        except BaseException as fault:  # noqa: BLE001 - shown by close
            self.fault = fault

    def handle(self, request: Request) -> None:
        self.asked.append(request.method)
        getattr(self, f"do_{request.method}", self.do_other)(request)

    def do_other(self, request: Request) -> None:
        request.reply({"method": request.method})

    def do_list(self, request: Request) -> None:
        row = schema.Row(name="ticker-0", spec="ticker", state="ready", status="x" * 1000)
        request.reply(schema.ListReply(hands=[row] * 50, seq=len(self.asked)))

    def do_stop(self, request: Request) -> None:
        self.held.append(request)

    def do_start(self, request: Request) -> None:  # lets go what stop holds
        for held in self.held:
            held.reply({"hands": []})
        self.held.clear()
        request.reply()

    def do_restart(self, request: Request) -> None:
        request.progress({"hands": [{"name": "a"}]})
        request.progress(b'{"hands":[{"name":"b"}]}')
        request.reply({"hands": [{"name": "a"}, {"name": "b"}]})

    def do_signal(self, request: Request) -> None:  # keeps the whole boss busy
        self.busy.set()
        assert self.free.wait(PATIENCE_S)
        request.reply()

    def do_subscribe(self, request: Request) -> None:
        request.on_gone.append(lambda _request: self.gone.set())
        self.streams.append(request)
        request.progress({"events": [], "seq": 0})
        self.subscribed.set()

    def do_plan(self, request: Request) -> None:  # tells every subscriber very much
        for stream in self.streams:
            for _ in range(200):
                stream.progress({"events": ["x" * 10_000]})
        request.reply()

    def do_status(self, request: Request) -> None:
        raise AdminError("NoSuchHand", "not said", name=request.params.name, near=["web"])

    def do_why(self, request: Request) -> None:
        raise ZeroDivisionError("a bug")

    def do_export(self, request: Request) -> None:
        request.reply({"text": "broken \udc80 name"})

    def do_apply(self, request: Request) -> None:
        request.reply()
        request.reply()

    def close(self) -> None:
        self.doist.halt()
        self.thread.join(PATIENCE_S)
        self.listener.close()
        shutil.rmtree(self.directory)
        assert not self.thread.is_alive()
        assert self.fault is None


class Line:
    """One connection."""

    def __init__(self, path: str, end: bytes = b"\n") -> None:
        self.end = end
        self.rest = b""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(path)

    def say(self, method: str, end: bool = True, **members: Any) -> None:
        text = json.dumps({"method": method, **members}).encode()
        self.sock.sendall(text + self.end * end)

    def hear(self) -> dict:
        while self.end not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(self.rest)
            self.rest += data
        text, self.rest = self.rest.split(self.end, 1)
        return json.loads(text)

    def ask(self, method: str, **members: Any) -> dict:
        self.say(method, **members)
        return self.hear()

    def closed(self) -> bool:
        """Read until the other side has closed."""
        while True:
            try:
                if not self.sock.recv(65536):
                    return True
            except ConnectionResetError:
                return True

    def close(self) -> None:
        self.sock.close()


class Booth:
    """Makes toys and lines, and takes them away."""

    def __init__(self) -> None:
        self.toys: list[Toy] = []
        self.lines: list[Line] = []

    def toy(self, **options: Any) -> Toy:
        self.toys.append(Toy(**options))
        return self.toys[-1]

    def line(self, end: bytes = b"\n") -> Line:
        self.lines.append(Line(self.toys[-1].path, end))
        return self.lines[-1]

    def close(self) -> None:
        for thing in [*self.lines, *self.toys]:
            thing.close()


@pytest.fixture
def booth():
    made = Booth()
    yield made
    made.close()


@pytest.fixture
def toy(booth: Booth) -> Toy:
    return booth.toy()


@pytest.fixture
def line(toy: Toy, booth: Booth) -> Line:
    return booth.line()


SELECT = {"parameters": {"names": ["a"]}}


# ---------------------------------------------------------------------------- answering


def test_a_call_is_answered_with_its_id(line: Line) -> None:
    assert line.ask("ping", id=1) == {"parameters": {"method": "ping"}, "id": 1}
    assert line.ask("ping", id={"a": [None]})["id"] == {"a": [None]}
    assert line.ask("ping", id=None) == {"parameters": {"method": "ping"}, "id": None}
    assert line.ask("ping") == {"parameters": {"method": "ping"}}


def test_long_names_are_passed_up_short(line: Line) -> None:
    assert line.ask("io.hiod.Boss.Ping")["parameters"] == {"method": "ping"}


def test_requests_sent_at_once_are_answered_in_order(line: Line) -> None:
    count = 1000
    text = b"".join(b'{"method":"ping","id":%d}\n' % n for n in range(count))
    line.sock.sendall(text)
    assert [line.hear()["id"] for _ in range(count)] == list(range(count))


def test_a_request_is_not_passed_up_before_the_former_is_answered(
    toy: Toy, line: Line, booth: Booth
) -> None:
    line.say("stop", id=1, **SELECT)
    line.say("ping", id=2)
    other = booth.line()
    while not toy.held:
        other.ask("about")
    assert "ping" not in toy.asked

    other.ask("start", **SELECT)

    assert [line.hear()["id"], line.hear()["id"]] == [1, 2]


def test_nul_makes_it_varlink_both_ways(toy: Toy, booth: Booth) -> None:
    line = booth.line(end=b"\0")
    assert line.ask("ping")["parameters"] == {"method": "ping"}
    line.sock.sendall(b'{\n"method":\r\n"ping"}\0')
    assert line.hear() == {"parameters": {"method": "ping"}}
    assert "error" in line.ask("lits")


def test_the_end_of_input_ends_the_last_message_and_not_the_answers(
    toy: Toy, line: Line, booth: Booth
) -> None:
    line.say("stop", **SELECT)
    line.say("ping", end=False)
    line.sock.shutdown(socket.SHUT_WR)
    other = booth.line()
    while not toy.held:
        other.ask("about")

    other.ask("start", **SELECT)

    assert line.hear() == {"parameters": {"hands": []}}
    assert line.hear() == {"parameters": {"method": "ping"}}
    assert line.closed()


def test_progress_is_told_to_those_who_want_more(line: Line) -> None:
    line.say("restart", more=True, id=5, **SELECT)
    heard = [line.hear() for _ in range(3)]
    assert [answer.get("continues") for answer in heard] == [True, True, None]
    assert {answer["id"] for answer in heard} == {5}
    assert line.ask("restart", **SELECT)["parameters"]["hands"] == [{"name": "a"}, {"name": "b"}]
    assert line.ask("ping", more=True) == {"parameters": {"method": "ping"}}


def test_a_stream_ends_with_its_caller(toy: Toy, line: Line) -> None:
    line.say("subscribe", more=True)
    assert line.hear()["continues"] is True
    line.close()
    assert toy.gone.wait(PATIENCE_S)


def test_a_stream_ends_with_a_caller_that_had_left_before_it_began(
    toy: Toy, line: Line, booth: Booth
) -> None:
    hasty = booth.line()
    line.say("signal", parameters={"names": ["a"], "signal": "HUP"})
    assert toy.busy.wait(PATIENCE_S)
    hasty.say("subscribe", more=True)
    hasty.say("list")
    hasty.close()
    toy.free.set()
    assert toy.gone.wait(PATIENCE_S)
    line.hear()
    while toy.doer.figures()["connections"] > 1:
        line.ask("ping")
    assert "list" in toy.asked


def test_what_was_sent_before_leaving_is_obeyed(toy: Toy, booth: Booth) -> None:
    for _ in range(10):
        line = booth.line()
        line.say("remove", oneway=True, **SELECT)
        line.say("add", parameters={"spec": {}})
        line.close()
    last = booth.line()
    while toy.asked.count("add") < 10:
        last.ask("ping")
    assert toy.asked.count("remove") == 10


def test_a_held_request_outlives_its_caller_and_answers_nobody(toy: Toy, booth: Booth) -> None:
    line, other = booth.line(), booth.line()
    line.say("stop", **SELECT)
    line.say("plan")
    line.close()
    while not (toy.held and toy.held[0].gone):
        other.ask("ping")
    assert "plan" not in toy.asked

    other.ask("start", **SELECT)

    while "plan" not in toy.asked or toy.doer.figures()["connections"] > 1:
        other.ask("ping")


def test_oneway_is_obeyed_and_not_answered(toy: Toy, line: Line) -> None:
    line.say("remove", oneway=True, **SELECT)
    line.say("lits", oneway=True)
    assert line.ask("ping")["parameters"] == {"method": "ping"}
    assert "remove" in toy.asked
    assert toy.doer.figures()["refused"] == {"MethodNotFound": 1}


def test_names_in_broken_utf8_are_shown_with_marks(line: Line) -> None:
    assert line.ask("export")["parameters"] == {"text": "broken \\udc80 name"}


# ---------------------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"hello", "io.hiod.Boss.BadMessage"),
        (b"[]", "io.hiod.Boss.BadMessage"),
        (b"{}", "io.hiod.Boss.BadMessage"),
        (b'{"method":3}', "io.hiod.Boss.BadMessage"),
        (b'{"method":"ping","parameters":[]}', "io.hiod.Boss.BadMessage"),
        (b'{"method":"ping","more":1}', "io.hiod.Boss.BadMessage"),
        (b'{"method":"ping","upgrade":true}', "io.hiod.Boss.BadMessage"),
        (b'{"method":"subscribe","wait":"ready"}', "io.hiod.Boss.BadMessage"),
        (b'{"method":"lits"}', "org.varlink.service.MethodNotFound"),
        (b'{"method":"a.b.C"}', "org.varlink.service.InterfaceNotFound"),
        (b'{"method":"list","parameters":{"x":1}}', "org.varlink.service.InvalidParameter"),
        (b'{"method":"subscribe"}', "org.varlink.service.ExpectedMore"),
        (b'{"method":"status","parameters":{"name":"wbe"}}', "io.hiod.Boss.NoSuchHand"),
        (b'{"method":"why"}', "io.hiod.Boss.Unavailable"),
        (b'{"method":"schema","parameters":{"method":"x"}}', "org.varlink.service.MethodNotFound"),
    ],
)
def test_a_refusal_is_an_error_and_the_connection_lives(
    line: Line, message: bytes, error: str
) -> None:
    line.sock.sendall(message + b"\n")
    assert line.hear()["error"] == error
    assert line.ask("ping")["parameters"] == {"method": "ping"}


def test_a_refusal_has_the_id_and_the_typed_parameters(line: Line) -> None:
    answer = line.ask("status", id=9, parameters={"name": "wbe"})
    assert answer == {
        "error": "io.hiod.Boss.NoSuchHand",
        "parameters": {"name": "wbe", "near": ["web"]},
        "id": 9,
    }


def test_a_misplaced_member_is_refused_with_a_hint(line: Line) -> None:
    assert line.ask("list", paramters={})["parameters"]["hint"] == 'did you mean "parameters"?'
    assert line.ask("stop", names=["a"])["parameters"]["hint"] == 'arguments belong in "parameters"'


def test_a_fault_of_the_handler_is_noted_and_not_shown(toy: Toy, line: Line) -> None:
    answer = line.ask("why")
    assert answer["parameters"] == {"state": "fault", "after_s": None}
    ((event, facts),) = toy.notes
    assert event == "admin.fault"
    assert isinstance(facts["fault"], ZeroDivisionError)
    assert facts["uid"] == os.getuid()


def test_a_second_answer_is_a_fault_and_is_not_sent(toy: Toy, line: Line) -> None:
    assert line.ask("apply") == {"parameters": {}}
    assert line.ask("ping")["parameters"] == {"method": "ping"}
    assert [event for event, _ in toy.notes] == ["admin.fault"]


def test_a_message_too_long_is_skipped_and_the_connection_lives(line: Line) -> None:
    line.say("ping")
    line.sock.sendall(b'{"method":"' + b"x" * 3_000_000 + b'"}\n{"method":"ping"}\n')
    assert line.hear()["parameters"] == {"method": "ping"}
    answer = line.hear()
    assert answer == {"error": "io.hiod.Boss.TooLarge", "parameters": {"limit": 262144}}
    assert line.hear()["parameters"] == {"method": "ping"}


def test_roles_are_checked_and_refusals_noted_once(booth: Booth) -> None:
    class Readers(Access):
        def role(self, uid: int, groups: object) -> schema.RoleName:
            return "read"

    toy = booth.toy(access=Readers(["@0"], ["1", "@no-such"], ["2"], boss_uid=os.getuid()))
    line = booth.line()
    for _ in range(3):
        answer = line.ask("stop", **SELECT)
        assert answer["error"] == "io.hiod.Boss.NotPermitted"
        user = pwd.getpwuid(os.getuid()).pw_name
        assert answer["parameters"] == {
            "needs": "operate", "have": "read", "user": user, "admits": ["1", "@0"],
        }  # fmt: skip
    assert line.ask("list")["parameters"]["hands"]
    assert [event for event, _ in toy.notes] == ["admin.denied"]
    assert toy.doer.figures()["refused"] == {"NotPermitted": 3}

    toy.doer.set_access(Access(boss_uid=os.getuid()))

    assert line.ask("apply") == {"parameters": {}}


@contextlib.contextmanager
def disguised(uid: int, groups: list[int]):
    """Be somebody else for as long as it takes to connect."""
    former = os.getgroups()
    os.setgroups(groups)
    os.setegid(uid)
    os.seteuid(uid)
    yield
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(former)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_the_kernel_says_who_calls(booth: Booth) -> None:
    booth.toy(access=Access(operate=["@4242"], read=["4243"], boss_uid=0))

    def role(uid: int, groups: list[int]) -> str:
        with disguised(uid, groups):
            line = booth.line()
        return line.ask("add", parameters={"spec": {}})["parameters"]["have"]

    assert role(4242, []) == "operate"  # its own group
    assert role(4244, [4242]) == "operate"  # a further group
    assert role(4243, []) == "read"
    assert role(4244, [4243]) == "none"


# ---------------------------------------------------------------------------- limits


def test_a_user_has_so_many_connections_and_no_more(toy: Toy, booth: Booth) -> None:
    lines = [booth.line() for _ in range(16)]
    for line in lines:
        line.ask("ping")
    late = booth.line()
    assert late.ask("ping", id=3) == {"error": "io.hiod.Boss.Busy", "parameters": {}, "id": 3}
    assert late.closed()
    assert all(line.ask("ping") for line in lines)
    lines[0].close()
    while "error" in booth.line().ask("ping"):
        pass


def test_some_connections_are_kept_for_admins(booth: Booth) -> None:
    class Readers(Access):
        now: schema.RoleName = "read"

        def role(self, uid: int, groups: object) -> schema.RoleName:
            return self.now

    limits = Limits(connections=6, kept_for_admins=2)
    readers = Readers(boss_uid=os.getuid())
    booth.toy(access=readers, limits=limits)
    for _ in range(4):
        assert "error" not in booth.line().ask("ping")
    assert booth.line().ask("ping")["error"] == "io.hiod.Boss.Busy"
    readers.now = "admin"
    assert "error" not in booth.line().ask("ping")
    assert "error" not in booth.line().ask("ping")
    assert booth.line().ask("ping")["error"] == "io.hiod.Boss.Busy"


def test_a_flood_of_garbage_does_not_keep_a_caller_from_being_served(
    toy: Toy, booth: Booth
) -> None:
    steady = booth.line()
    steady.ask("ping")
    noise = [b"{" * 5000 + b"\n", b"\n\n]]", b"\xff" * 9000, b'{"method":"' + b"x" * 99]
    for n in range(60):
        flooder = booth.line()
        flooder.sock.setblocking(False)
        for _ in range(50):
            try:
                flooder.sock.send(noise[n % 4] * 20)
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                break
        assert steady.ask("ping")["parameters"] == {"method": "ping"}
    late = booth.line()
    assert late.ask("ping")["parameters"] == {"method": "ping"}
    assert toy.doer.figures()["cut"]["gave way"] >= 1


def test_one_that_speaks_while_it_gives_way_harms_nobody(toy: Toy, booth: Booth) -> None:
    noisy = [booth.line() for _ in range(15)]
    for line in noisy:
        line.sock.sendall(b"x")
    holder = booth.line()
    holder.ask("ping")
    holder.say("signal", parameters={"names": ["a"], "signal": "HUP"})
    assert toy.busy.wait(PATIENCE_S)
    late = booth.line()
    for line in noisy:
        line.sock.sendall(b"y")
    toy.free.set()

    assert late.ask("ping")["parameters"] == {"method": "ping"}
    assert toy.doer.figures()["cut"] == {"gave way": 1}


def test_of_a_user_that_comes_again_and_again_not_everything_is_noted(booth: Booth) -> None:
    class Nobodies(Access):
        def role(self, uid: int, groups: object) -> schema.RoleName:
            return "none"

    toy = booth.toy(access=Nobodies(boss_uid=os.getuid()))
    for _ in range(server.NOTES_AT_ONCE + 30):
        line = booth.line()
        assert line.ask("list")["error"] == "io.hiod.Boss.NotPermitted"
        line.close()

    untold = toy.doer.figures()["untold"]
    assert untold > 0
    assert len(toy.notes) + untold == server.NOTES_AT_ONCE + 30


def test_a_message_that_is_not_finished_in_time_ends_the_connection(booth: Booth) -> None:
    toy = booth.toy(limits=Limits(message_s=0.2))
    line, idle = booth.line(), booth.line()
    line.ask("ping")
    idle.ask("ping")
    line.sock.sendall(b'{"method":')
    answer = line.hear()
    assert answer["error"] == "io.hiod.Boss.BadMessage"
    assert answer["parameters"]["code"] == "late"
    assert line.closed()
    assert idle.ask("ping")["parameters"] == {"method": "ping"}
    assert toy.doer.figures()["cut"] == {"unfinished message": 1}


def test_a_long_message_that_never_ends_is_refused_in_time(booth: Booth) -> None:
    booth.toy(limits=Limits(message_s=0.2))
    line = booth.line()
    line.sock.sendall(b"x" * 300_000)
    assert line.hear()["error"] == "io.hiod.Boss.TooLarge"
    assert line.closed()


def test_a_held_request_is_in_no_hurry(booth: Booth) -> None:
    toy = booth.toy(limits=Limits(message_s=0.1))
    line, clock, other = booth.line(), booth.line(), booth.line()
    line.say("stop", **SELECT)
    line.sock.sendall(b'{"method":')
    clock.sock.sendall(b"{")
    assert clock.hear()["parameters"]["code"] == "late"
    other.ask("start", **SELECT)
    assert line.hear() == {"parameters": {"hands": []}}
    line.sock.sendall(b'"ping"}\n')
    assert line.hear()["parameters"] == {"method": "ping"}
    assert toy.doer.figures()["cut"] == {"unfinished message": 1}


def test_a_subscriber_that_does_not_read_is_cut_off(toy: Toy, line: Line, booth: Booth) -> None:
    line.say("subscribe", more=True)
    assert toy.subscribed.wait(PATIENCE_S)
    other = booth.line()
    assert other.ask("plan") == {"parameters": {}}
    assert toy.gone.wait(PATIENCE_S)
    assert line.closed()
    assert toy.doer.figures()["cut"] == {"slow reader": 1}


def test_a_caller_that_never_reads_its_answers_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, toy: Toy, line: Line, booth: Booth
) -> None:
    monkeypatch.setattr(server, "STALL_S", 0.2)
    line.sock.sendall(b'{"method":"list"}\n' * 500)
    poll = select.poll()
    poll.register(line.sock, select.POLLHUP)
    assert poll.poll(PATIENCE_S * 1000)
    assert toy.doer.figures()["cut"] == {"slow reader": 1}
    assert len(toy.asked) < 40
    assert booth.line().ask("ping")["parameters"] == {"method": "ping"}


def test_a_caller_that_reads_late_gets_all_its_answers(toy: Toy, line: Line, booth: Booth) -> None:
    count = 200  # about ten times what is kept for it
    line.sock.sendall(b'{"method":"list"}\n' * count)
    other = booth.line()
    while len(toy.asked) < 20:
        other.ask("ping")
    got = [line.hear()["parameters"]["seq"] for _ in range(count)]
    assert got == sorted(got)
    assert toy.doer.figures()["cut"] == {}


def test_whoever_waits_at_the_end_is_told_that_it_is_over(booth: Booth) -> None:
    toy = booth.toy()
    line, other = booth.line(), booth.line()
    line.say("stop", id=1, **SELECT)
    while not toy.held:
        other.ask("ping")
    toy.doist.halt()
    assert line.hear() == {
        "error": "io.hiod.Boss.Unavailable",
        "parameters": {"state": "stopping", "after_s": None},
        "id": 1,
    }
    assert line.closed()
    toy.thread.join(PATIENCE_S)
    toy.held[0].reply({"hands": []})  # too late, and no fault


def test_a_process_short_of_descriptors_serves_those_it_has_and_the_rest_later(
    monkeypatch: pytest.MonkeyPatch, toy: Toy, line: Line, booth: Booth
) -> None:
    monkeypatch.setattr(server, "SHORT_S", 0.1)
    line.ask("ping")
    real = toy.doer._listening[toy.listener.fileno()]
    tries: list[int] = []

    class Short:
        def accept(self) -> tuple[socket.socket, Any]:
            tries.append(1)
            if len(tries) < 3:
                raise OSError(24, "too many open files")
            return real.accept()

    toy.doer._listening[toy.listener.fileno()] = Short()  # type: ignore[assignment]

    late = booth.line()

    assert late.ask("ping")["parameters"] == {"method": "ping"}
    assert toy.doer.figures()["refused"]["EMFILE"] == 2
