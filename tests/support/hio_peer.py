"""A real hio process at the other end: run by hio's Python, it imports nothing of hiod.

    hio_peer.py hand NAME BOSS BOSS_PATH DIR     a hio Crewer that echoes
    hio_peer.py boss NAME DIR OUTSIDER           a hio Bosser with one hio hand and one outsider

What happens is told on standard output, one JSON object a line; orders come on standard input.
"""

import hashlib
import json
import os
import sys
import threading
from collections import deque

from hio.base import Doist
from hio.base.multidoing import Bossage, Bosser, Crewer, HandDom


def say(**facts):
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Hand(Crewer):
    """Says what it learns; sends back whatever plain memo comes.

    Its own queue of grams would drop those for which its receiver has no room: it keeps them.
    """

    def __init__(self, **kwa):
        super().__init__(**kwa)
        self.slow = deque()
        self.said = {}

    def serviceRxMemos(self):
        for memo, src, _ in list(self.rxms):
            if not memo.startswith("{"):
                say(
                    got=hashlib.sha256(memo.encode()).hexdigest(),
                    size=len(memo.encode()),
                    src=src,
                    name=self.getName(src),
                )
                self.slow.extend((gram, src) for gram in self.rend(memo))
        super().serviceRxMemos()
        facts = {"registered": self.registered, "book": self.addrByName}
        if facts != self.said:
            self.said = facts
            say(**facts)

    def recur(self, tyme):
        while self.slow and self.send(*self.slow[0]):
            self.slow.popleft()
        return super().recur(tyme=tyme)

    def exit(self):
        say(exit=True, graceful=self.graceful)
        super().exit()


class Outsider:
    """Stands in the crew for a hand that nobody here started."""

    name = "outsider"
    pid = 0
    exitcode = None

    def is_alive(self):
        return True

    def terminate(self):
        return None


class Boss(Bosser):
    """Says what it learns; ends its hands when told to."""

    def __init__(self, *, outsider, **kwa):
        super().__init__(**kwa)
        self.outsider = outsider
        self.orders = deque()
        self.told = None
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in sys.stdin:
            self.orders.append(line.strip())

    def enter(self, *, temp=None):
        self.crew[self.outsider] = HandDom(proc=Outsider())
        super().enter(temp=temp)
        say(path=self.path)

    def recur(self, tyme):
        while self.orders:
            if self.orders.popleft() == "end":
                end = self.tojson({"tag": "END", "name": self.name, "load": {}})
                for addr in self.addrByName.values():
                    self.memoit(end, addr)
        done = super().recur(tyme=tyme)
        facts = {"crewed": self.crewed, "book": self.addrByName}
        if facts != self.told:
            self.told = facts
            say(**facts)
        return done


def main(role, *argv):
    if role == "hand":
        name, boss, path, head = argv
        doers = [Hand(name=name, boss=Bossage(name=boss, path=path), headDirPath=head)]
        Doist(name=name, real=True, tock=0.01, doers=doers).do()
    else:
        name, head, outsider = argv
        hand = Crewer(name="theirs", headDirPath=head)
        load = {"name": "theirs", "tock": 0.01, "doers": [hand]}
        boss = Boss(name=name, loads=[load], headDirPath=head, outsider=outsider)
        Doist(name=name, real=True, tock=0.01, doers=[boss]).do()


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
