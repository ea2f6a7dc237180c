"""A library Bosser and the hands it spawns: real processes, no daemon."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hiod.base.crewing import read
from hiod.base.doing import Doer, Doist
from hiod.base.multidoing import Bosser, CrewDoer, Crewer, MemoDom
from hiod.errors import FilerError, MultiError

ROOT = Path(__file__).resolve().parents[2]


class Echo(CrewDoer):
    """Answers what it is asked, with who it is."""

    tags = ("ECHO",)

    def memo(self, memo):
        self.reply(memo, {"pid": os.getpid(), **memo.load})


class Talker(CrewDoer):
    """Asks the hand it is told of, and tells the boss what came."""

    def __init__(self, *, peer, **kwa):
        super().__init__(**kwa)
        self.peer = peer

    def recur(self, tock):
        yield tock
        got = yield from self.ask(self.peer, "ECHO", {"from": self.crewer.name}, timeout=20.0)
        self.tell("boss", "HEARD", got.load if got else None)
        yield from super().recur(tock)


class Dies(Doer):
    """Ends its process before the Crewer has said a word."""

    def enter(self, *, temp=None):
        os._exit(3)


class Steps(Doer):
    """Takes one step after the other, each once its fact is there."""

    def __init__(self, *steps):
        super().__init__(tock=0.03125)
        self.steps = list(steps)

    def recur(self, tyme):
        while self.steps and self.steps[0][0]():
            self.steps.pop(0)[1]()
        return not self.steps


@pytest.fixture
def head():
    path = tempfile.mkdtemp(prefix="hi", dir="/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def load(head):
    def make(name, *kinds, **opts):
        crewer = Crewer(name=name, headDirPath=head)
        doers = [
            kind(crewer=crewer, **opts) if issubclass(kind, CrewDoer) else kind() for kind in kinds
        ]
        return {"name": name, "doers": [crewer, *doers]}

    return make


@pytest.fixture
def bosser(head):
    def make(*loads):
        return Bosser(name="boss", headDirPath=head, loads=loads)

    return make


def run(boss, *steps):
    """Run a boss, and steps beside it; give the Doist, which has ended by itself if it is done."""
    doist = Doist(real=True, tock=0.03125, limit=40.0, doers=[boss, Steps(*steps)])
    doist.do()
    return doist


def said(boss):
    return [memo for memo, _, _ in boss.inbox]


def test_a_crew_registers_talks_among_itself_and_ends_when_told(bosser, load):
    boss = bosser(load("echo", Echo), load("talk", Talker, peer="echo"))
    pids = {}

    def note():
        pids.update({name: dom.proc.pid for name, dom in boss.crew.items()})

    doist = run(
        boss,
        (lambda: boss.crewed, note),
        (lambda: boss.inbox, lambda: boss.remove(["echo", "talk", "nobody"])),
    )

    assert doist.done
    assert [read(memo) for memo in said(boss)] == [
        MemoDom("HEARD", "talk", {"pid": pids["echo"], "from": "talk"})
    ]
    assert boss.crew == {}
    assert boss.addrByName == {}
    assert (boss.drops, boss.deads) == ({}, {})


def test_a_hand_added_later_is_known_to_those_before_it(bosser, load):
    boss = bosser(load("talk", Talker, peer="echo"))

    doist = run(
        boss,
        (lambda: boss.crewed, lambda: boss.extend([load("echo", Echo)])),
        (lambda: boss.inbox, lambda: boss.remove(list(boss.crew))),
    )

    assert doist.done
    assert '"from":"talk"' in said(boss)[0]


def test_a_hand_that_is_killed_ends_a_crew_of_one(bosser, load):
    boss = bosser(load("echo", Echo))

    doist = run(boss, (lambda: boss.crewed, lambda: boss.crew["echo"].proc.kill()))

    assert doist.done
    assert boss.crew["echo"].proc.exitcode == -signal.SIGKILL


def test_a_crew_that_dies_before_it_registers_ends_the_boss_who_says_so(bosser, load, capsys):
    boss = bosser(load("dies", Dies))

    doist = run(boss)

    assert doist.done
    assert not boss.crewed
    assert boss.crew["dies"].proc.exitcode == 3
    assert "every hand has ended, and never registered: dies" in capsys.readouterr().err


def test_a_boss_that_ends_ends_its_hands_and_removes_its_path(bosser, load, head):
    boss = bosser(load("echo", Echo))
    doist = Doist(real=True, limit=40.0, doers=[boss])

    doist.doers.append(Steps((lambda: boss.crewed, doist.halt)))
    doist.do()

    assert not doist.done
    assert boss.crew["echo"].proc.exitcode == 0
    assert list(Path(head).rglob("*.uxd")) == []


def test_a_signal_ends_a_library_boss_by_system_exit(bosser, load):
    boss = bosser(load("echo", Echo))
    doist = Doist(real=True, limit=40.0, doers=[boss])
    former = signal.getsignal(signal.SIGINT)
    doist.doers.append(Steps((lambda: boss.crewed, lambda: os.kill(os.getpid(), signal.SIGINT))))

    with pytest.raises(SystemExit) as ended:
        doist.do()

    assert ended.value.code is None
    assert boss.crew["echo"].proc.exitcode == 0
    assert signal.getsignal(signal.SIGINT) == former


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"doers": []}, "without a name"),
        ({"name": "a"}, "is not a Crewer"),
        ({"name": "a", "doers": [Doer()]}, "is not a Crewer"),
    ],
)
def test_a_load_that_cannot_be_started_is_refused_by_name(bosser, broken, why):
    boss = bosser(broken)

    with pytest.raises(MultiError, match=why):
        Doist(real=True, limit=5.0, doers=[boss]).do()


def test_a_name_used_twice_is_refused_and_the_first_hand_ended(bosser, load):
    boss = bosser(load("echo", Echo), load("echo", Echo))

    with pytest.raises(MultiError, match="'echo'"):
        Doist(real=True, limit=5.0, doers=[boss]).do()

    assert boss.crew["echo"].proc.exitcode is not None


def test_two_bosses_on_one_path_the_second_is_refused(bosser, head):
    first = bosser()
    assert first.reopen()
    try:
        with pytest.raises(FilerError, match="a process lives there"):
            Doist(real=True, limit=5.0, doers=[bosser()]).do()
    finally:
        first.close(clear=True)


def test_a_registration_by_another_process_does_not_count(bosser, load, head):
    boss = bosser(load("echo", Echo))
    liar = Crewer(name="liar", headDirPath=head)

    def lie():
        liar.reopen()
        liar.memoit('{"tag":"REG","name":"echo","load":{}}', boss.path)
        liar.serviceAllTx()

    doist = run(
        boss,
        (lambda: boss.crewed, lie),
        (lambda: boss.drops, lambda: boss.remove(["echo"])),
    )
    liar.close(clear=True)

    assert doist.done
    assert boss.drops == {"REG from another process": 1}


class HioStyle(Crewer):
    """Written as for hio: a recur of its own that counts on running every cycle."""

    count = 0

    def recur(self, tyme):
        if self.graceful:
            sys.exit()
        self.service()
        self.count += 1
        if self.registered and self.count > 20:
            self.memoit(self.tojson({"tag": "COUNTED", "name": self.name}), self.boss.path)
            self.count = -1_000_000
        return False


def test_a_crewer_written_for_hio_runs_every_cycle(bosser, head):
    boss = bosser({"name": "old", "doers": [HioStyle(name="old", headDirPath=head)]})

    doist = run(boss, (lambda: boss.inbox, lambda: boss.remove(["old"])))

    assert doist.done
    assert said(boss) == ['{"tag":"COUNTED","name":"old"}']


class HioBoss(Bosser):
    """Written as for hio: looks at every cycle whether its crew is there."""

    def recur(self, tyme):
        if self.crewed:
            sys.exit()
        return super().recur(tyme=tyme)


def test_a_bosser_written_for_hio_runs_every_cycle(load, head):
    boss = HioBoss(name="boss", headDirPath=head, loads=[load("echo", Echo)])

    with pytest.raises(SystemExit):
        Doist(real=True, limit=40.0, doers=[boss]).do()

    assert boss.crewed


def test_an_idle_crew_costs_nothing(bosser, load):
    boss = bosser(load("echo", Echo))
    doist = Doist(real=True, limit=40.0, doers=[boss])
    before = []

    class Idle(Doer):
        def recur(self, tock):
            while not boss.crewed:
                yield 0.1
            pid = boss.crew["echo"].proc.pid
            yield 0.5
            before.append((doist.cycles, switches(pid)))
            yield 1.0
            before.append((doist.cycles, switches(pid)))
            doist.halt()
            yield

    def switches(pid):
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        (line,) = [x for x in status.splitlines() if x.startswith("voluntary_ctxt")]
        return int(line.split()[1])

    doist.doers.append(Idle())
    doist.do()

    (cycles, hand), (later, hand_later) = before
    assert later - cycles <= 2
    assert hand_later - hand <= 2


def test_the_example_in_the_docs_runs():
    ran = subprocess.run(
        [sys.executable, ROOT / "docs" / "examples" / "library_crew.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (ran.stderr, ran.returncode) == ("", 0)
    assert ran.stdout == '{"tag":"ENOUGH","name":"store","load":{"sum":55}}\n'
