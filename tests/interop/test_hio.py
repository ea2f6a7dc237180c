"""hiod and real hio 0.7.20, each in processes of its own, work in one crew."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.hio_env import environ, hioPython

from hiod.base.doing import Doer, Doist
from hiod.base.multidoing import Bossage, Bosser, Crewer

pytestmark = pytest.mark.interop

PEER = Path(__file__).parents[1] / "support" / "hio_peer.py"
SIZES = [1, 1000, 65_498, 65_499, 200_000, 1_000_000]


class HioPeer:
    """A hio process and what it has said so far."""

    def __init__(self, *argv):
        self.proc = subprocess.Popen(
            [str(hioPython()), str(PEER), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ(),
            bufsize=0,
        )
        self.facts = {}
        self.got = []
        self._rest = b""

    def order(self, text):
        self.proc.stdin.write(text.encode() + b"\n")

    def take(self):
        """Take in what the process says, one read of it."""
        self._rest += self.proc.stdout.read(65536)
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "got" in said:
                self.got.append(said)
            else:
                self.facts.update(said)

    def finish(self):
        """Wait for the end; give the exit status and standard error."""
        try:
            out, err = self.proc.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            out, err = self.proc.communicate()
        for line in (self._rest + out).splitlines():
            self.facts.update(json.loads(line))
        return self.proc.returncode, err.decode()

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.communicate()


class Until(Doer):
    """Halts the Doist once a fact is there, looked at after everything that happens."""

    def __init__(self, fact, peers=()):
        super().__init__(tock=0.05)
        self.fact = fact
        self.peers = peers

    def fds(self):
        return [peer.proc.stdout for peer in self.peers]

    def recur(self, tyme):
        import select

        for peer in self.peers:
            while select.select([peer.proc.stdout], [], [], 0)[0]:
                peer.take()
                if peer.proc.poll() is not None:
                    break
        if self.fact():
            self.tymth.tymist.halt()
        return False


@pytest.fixture
def head():
    path = tempfile.mkdtemp(prefix="hi", dir="/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def peers():
    made = []

    def make(*argv):
        made.append(HioPeer(*argv))
        return made[-1]

    yield make
    for peer in made:
        peer.kill()


class Steps(Doer):
    """Takes one step after the other, each when its fact is there."""

    def __init__(self, steps):
        super().__init__(tock=0.02)
        self.steps = list(steps)

    def recur(self, tyme):
        fact, act = self.steps[0]
        if fact():
            act()
            self.steps.pop(0)
        return not self.steps


def test_a_hio_hand_joins_a_library_boss_talks_with_its_hands_and_ends_on_end(head, peers):
    boss = Bosser(name="boss", headDirPath=head)
    boss.side.expected = {"ours", "theirs"}
    ours = Crewer(name="ours", headDirPath=head)
    memos = ["x" * size for size in SIZES]
    made = []

    def start():
        made.append(peers("hand", "theirs", "boss", boss.path, head))
        until.peers = made

    def known():
        return bool(made) and "ours" in made[0].facts.get("book", {})

    def send():
        for memo in memos:
            assert ours.memoit(memo, ours.getAddr("theirs"))

    def echoed():
        return len(ours.inbox) == len(memos)

    def leave():
        boss.memoit(boss.side.end(), boss.getAddr("theirs"))

    ours.boss = Bossage("boss", str(Path(head) / "hio" / "uxd" / "boss.uxd"))
    until = Until(lambda: bool(made) and "exit" in made[0].facts)
    steps = Steps([(lambda: boss.opened, start), (known, send), (echoed, leave)])
    Doist(real=True, tock=0.01, limit=60.0, doers=[boss, ours, steps, until]).do()

    status, err = made[0].finish()
    assert (status, err) == (0, "")
    assert made[0].facts["registered"]
    assert made[0].facts["book"] == {"boss": boss.path, "ours": ours.path}
    assert boss.crewed
    sums = [hashlib.sha256(memo.encode()).hexdigest() for memo in memos]
    assert [said["got"] for said in made[0].got] == sums
    assert {said["name"] for said in made[0].got} == {"ours"}
    assert [hashlib.sha256(memo.encode()).hexdigest() for memo, _, _ in ours.inbox] == sums
    assert (ours.deads, boss.deads) == ({}, {})


def test_our_hand_joins_a_hio_boss_from_outside_and_ends_on_its_end(head, peers):
    theirs = peers("boss", "chief", head, "ours")
    path = str(Path(head) / "hio" / "uxd" / "chief.uxd")
    ours = Crewer(name="ours", boss=Bossage("chief", path), headDirPath=head)
    steps = Steps([(lambda: "theirs" in ours.addrByName, lambda: theirs.order("end"))])
    doist = Doist(
        real=True, tock=0.01, limit=60.0, doers=[ours, steps, Until(lambda: False, [theirs])]
    )

    with pytest.raises(SystemExit) as ended:
        doist.do()

    assert ended.value.code is None
    assert ours.registered
    assert ours.ending
    assert theirs.finish() == (0, "")
    assert theirs.facts["crewed"]
    assert theirs.facts["book"]["ours"] == ours.path


HIO_DOERS = """
import json, sys, tempfile
from hio.base import doing as theirs
from hiod.base.doing import Doist
from hiod.base.multidoing import Crewer

seen = []

class Plain(theirs.Doer):
    def enter(self, *, temp=None):
        seen.append("enter")
    def recur(self, tyme):
        seen.append(tyme)
        return tyme >= 0.25
    def exit(self):
        seen.append("exit")

def counting(tymth, tock=0.0, **opts):
    for _ in range(3):
        seen.append((opts["word"], (yield tock)))
    return True

inner = Plain(tock=0.125)
doers = [
    Crewer(name="hand", headDirPath=sys.argv[1]),
    theirs.DoDoer(doers=[inner]),
    theirs.doify(counting, tock=0.125, word="a"),
]
class Stop(Doist):
    def ended(self, doer):
        if all(d.done for d in self.doers[1:]):
            self.halt()
doist = Stop(real=True, limit=10.0, doers=doers)
doist.do()
print(json.dumps([seen, [d.done for d in doers]]))
"""


def test_doers_made_by_hios_own_classes_run_in_our_doist(head):
    ran = subprocess.run(
        [str(hioPython()), "-c", HIO_DOERS, head],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environ(),
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    seen, done = json.loads(ran.stdout)
    assert seen[0] == "enter"
    assert "exit" in seen
    assert next(word for word in seen if isinstance(word, list))[0] == "a"
    assert done == [False, True, True]
