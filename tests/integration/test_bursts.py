"""What was missed is not made up for: not after a stall, nor when somebody steps the clock.

Real hio catches up with every turn it has missed, which shows that there is something to miss.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pytest

from hiod.base.crewing import tojson
from hiod.core.memo import Memoer
from hiod.core.uxd import bindMailbox

ROOT = Path(__file__).resolve().parents[2]
TOCK = 0.01
STALL_S = 1.0  # a hundred turns

PROGRAM = """
import json, sys, time

# The wall clock as somebody steps it: set before anything else can have taken it.
wall, wall_ns, step = time.time, time.time_ns, [0.0]
time.time = lambda: wall() + step[0]
time.time_ns = lambda: wall_ns() + int(step[0] * 1e9)

from {package}.base.doing import Doer, Doist, DoDoer, doify

by, runs = float(sys.argv[1]), {{"own": [], "nested": [], "generator": []}}

class Counting(Doer):
    def recur(self, tyme):
        runs["own" if self.opts.get("top") else "nested"].append((time.monotonic(), tyme))
        return False

def counting(tymth, tock=0.0, **opts):
    while True:
        runs["generator"].append((time.monotonic(), (yield tock)))

class Conductor(Doer):
    def recur(self, tyme):
        turns = len(runs["own"])
        if turns == 10:
            print("begun", flush=True)
            step[0] = by
        return turns > 10 and time.monotonic() > runs["own"][10][0] + {for_s}

top = Counting(tock={tock}, opts={{"top": True}})
nest = DoDoer(doers=[Counting(tock={tock})], tock={tock})
doers = [top, nest, doify(counting, tock={tock}), Conductor(tock={tock})]

class Until(DoDoer):
    def recur(self, tyme, deeds=None):
        super().recur(tyme=tyme, deeds=deeds)
        return doers[-1].done

Doist(real=True, tock={tock}, limit=600.0, doers=[Until(doers=doers, tock=0.0)]).do()
print(json.dumps(runs))
"""


def run(package, *, step_s=0.0, stall_s=0.0):
    """Run the program in a process; give by kind of Doer when it ran, by clock and by tyme."""
    if package == "hio":
        from support.hio_env import environ, hioPython

        python, env = hioPython(), environ()
    else:
        python, env = sys.executable, dict(os.environ, PYTHONPATH=str(ROOT))
    text = PROGRAM.format(package=package, tock=TOCK, for_s=0.3 + stall_s)
    with subprocess.Popen(
        [str(python), "-c", text, str(step_s)], stdout=subprocess.PIPE, env=env
    ) as child:
        try:
            assert child.stdout.readline() == b"begun\n"
            if stall_s:
                child.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, child.pid, os.WSTOPPED)
                said, _, _ = select.select([child.stdout], [], [], stall_s)
                assert not said  # it is stopped, all that time
                child.send_signal(signal.SIGCONT)
            out, _ = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 0
    return json.loads(out)


def missed(times):
    """Return how many turns there was no time for, when it was kept from turning the longest."""
    return max(b - a for (a, _), (b, _) in pairwise(times)) / TOCK - 1


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_stepped_clock_changes_nothing(step_s):
    for times in run("hiod", step_s=step_s).values():
        (began, first), (ended, last) = times[0], times[-1]

        assert last - first == pytest.approx(ended - began, abs=0.2)
        assert len(times) <= (ended - began) / TOCK + 5


def test_a_process_that_was_stopped_goes_on_where_it_is_now():
    for times in run("hiod", stall_s=STALL_S).values():
        (began, first), (ended, last) = times[0], times[-1]

        assert missed(times) >= 0.9 * STALL_S / TOCK
        assert last - first == pytest.approx(ended - began, abs=0.2)
        assert len(times) <= (ended - began) / TOCK - missed(times) + 5
        stall = max(range(1, len(times)), key=lambda n: times[n][0] - times[n - 1][0])
        after = [tyme / TOCK for _at, tyme in times[stall : stall + 5]]
        assert after == pytest.approx([round(steps) for steps in after], abs=0.01)


@pytest.mark.interop
def test_hio_makes_up_for_both_so_there_is_something_to_get_wrong():
    for given in ({"step_s": 3600.0}, {"stall_s": STALL_S}):
        times = run("hio", **given)["own"]

        assert (
            len(times) > (times[-1][0] - times[0][0]) / TOCK - missed(times) + 0.5 * STALL_S / TOCK
        )


BEAT_S = 0.02
HAND = """
import sys
from hiod.base.crewdoms import Bossage, Posting
from hiod.base.doing import Doist
from hiod.base.multidoing import Crewer

head, pid = sys.argv[1:]
crewer = Crewer(name="hand", headDirPath=head)
boss = Bossage("boss", head + "/boss")
crewer.assign(Posting("hand", "hand", boss, int(pid), head + "/hand", beat_s={beat_s}))
Doist(real=True, limit=60.0, doers=[crewer]).do()
"""


def heard(boss, for_s):
    """Give the tags of the memos that come within a time, each a plain gram."""
    tags, until = [], time.monotonic() + for_s
    while select.select([boss], [], [], max(0.0, until - time.monotonic()))[0]:
        tags.append(json.loads(boss.recv(65536)[32:])["tag"])
    return tags


@pytest.mark.parametrize("acked", [True, False])
def test_a_hand_that_was_stopped_says_what_is_due_once(acked):
    head = tempfile.mkdtemp(prefix="hb", dir="/tmp")
    argv = [sys.executable, "-c", HAND.format(beat_s=BEAT_S), head, str(os.getpid())]
    with bindMailbox(f"{head}/boss") as boss, subprocess.Popen(
        argv, env=dict(os.environ, PYTHONPATH=str(ROOT))
    ) as hand:  # fmt: skip
        try:
            assert select.select([boss], [], [], 20.0)[0]
            gram, addr = boss.recvfrom(65536)
            assert json.loads(gram[32:])["tag"] == "REG"
            if acked:
                load = {"tag": "REG", "name": "hand", "addr": addr}
                ack = tojson({"tag": "ACK", "name": "boss", "load": load})
                (gram,) = Memoer().rend(ack)
                boss.sendto(gram, addr)
            assert select.select([boss], [], [], 20.0)[0]  # heartbeats
            hand.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, hand.pid, os.WSTOPPED)
            heard(boss, 0.0)
            assert heard(boss, STALL_S) == []

            hand.send_signal(signal.SIGCONT)
            after = heard(boss, 5 * BEAT_S)

            assert after.count("HBT") <= 5 + 2
            assert after.count("REG") <= 1
            assert select.select([boss], [], [], 20.0)[0]
        finally:
            hand.kill()
            hand.wait()
            shutil.rmtree(head)
