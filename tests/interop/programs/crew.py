"""A program for hio: a boss and three hands, of which two talk; all end when the boss says END.

crew.py DIRECTORY
"""

import json
import sys

from hio.base.doing import Doer, Doist
from hio.base.multidoing import Bosser, CrewDom, Crewer, EndDom, Loadage, MemoDom, ogler

GREETINGS = 5
CREW = 3


def say(**facts):
    print(json.dumps(facts, sort_keys=True), flush=True)  # noqa: T201 - what it is run for


class Talker(Crewer):
    """A hand that greets the other once it knows it, and tells the boss what it was answered."""

    def __init__(self, *, other, **kwa):
        super().__init__(**kwa)
        self.other = other
        self.heard = []
        self.greeted = False

    def serviceRxMemos(self):
        for memo, src, _vid in list(self.rxms):
            if memo.startswith('{"tag":"GREET"'):
                dom = MemoDom._fromjson(memo)
                self.heard.append((dom.name, dom.load["number"], src))
        super().serviceRxMemos()


class Chat(Doer):
    """Greets, and reports when it has been greeted often enough."""

    def __init__(self, *, crewer, **kwa):
        super().__init__(**kwa)
        self.crewer = crewer

    def recur(self, tyme):
        crewer = self.crewer
        addr = crewer.getAddr(crewer.other)
        if addr and not crewer.greeted:
            crewer.greeted = True
            for number in range(GREETINGS):
                memo = MemoDom(tag="GREET", name=crewer.name, load={"number": number})
                crewer.memoit(crewer.tojson(memo._asdict()), addr)
        if len(crewer.heard) < GREETINGS or len(crewer.addrByName) < CREW:
            return False
        heard = [(name, number, crewer.getName(src)) for name, number, src in crewer.heard]
        load = {"heard": heard, "registered": crewer.registered}
        load["book"] = sorted(crewer.addrByName)
        report = MemoDom(tag="REPORT", name=crewer.name, load=load)
        crewer.memoit(crewer.tojson(report._asdict()), crewer.boss.path)
        return True


class Boss(Bosser):
    """Collects reports; with the last one everybody is told to end."""

    def __init__(self, **kwa):
        super().__init__(**kwa)
        self.reports = {}

    def serviceRxMemos(self):
        for memo, src, _vid in list(self.rxms):
            if memo.startswith('{"tag":"REPORT"'):
                dom = MemoDom._fromjson(memo)
                self.reports[dom.name] = dict(dom.load, source=self.getName(src))
        super().serviceRxMemos()
        if len(self.reports) == CREW - 1 and not any(h.exiting for h in self.crew.values()):
            for name, hand in self.crew.items():
                hand.exiting = True
                end = EndDom(name=self.name)
                self.memoit(self.tojson(end._asdict()), self.getAddr(name))

    def exit(self):
        for name, hand in self.crew.items():
            hand.proc.join(5.0)
            say(hand=name, code=hand.proc.exitcode, exiting=hand.exiting)
        super().exit()


def hands(head):
    for name, other in (("alpha", "beta"), ("beta", "alpha")):
        crewer = Talker(name=name, other=other, headDirPath=head)
        yield name, [crewer, Chat(crewer=crewer)]


def main():
    head = sys.argv[1]
    ogler.level = 50
    (one, doers), (two, more) = hands(head)
    loads = [
        Loadage(one, 0.0, 0.01, True, None, doers, None, None)._asdict(),
        Loadage(two, 0.0, 0.01, True, None, more, None, None)._asdict(),
        CrewDom(name="gamma", tock=0.01, doers=[Crewer(headDirPath=head)])._asdict(),
    ]
    boss = Boss(name="chief", loads=loads, headDirPath=head)
    doist = Doist(name="doist", real=True, tock=0.01, limit=30.0, doers=[boss])
    doist.do()
    book = dict(sorted(boss.addrByName.items()))
    say(done=doist.done, boss=boss.done, crewed=boss.crewed, book=book)
    say(opened=boss.opened, logger=boss.logger is not None)
    for name in sorted(boss.reports):
        say(name=name, **boss.reports[name])


if __name__ == "__main__":
    main()
