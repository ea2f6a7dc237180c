"""A program for hio: every kind of Doer under one Doist, as fast as it goes and in real time."""

import asyncio
import json

from hio.base import Doist, Tymer, Tymist
from hio.base.doing import DoDoer, Doer, doify, doize
from hio.help import IceMapDom, RawDom

seen = []


class Told(Doer):
    """Writes down every context it is taken through."""

    def __init__(self, name, steps=2, fail=False, **kwa):
        super().__init__(**kwa)
        self.name, self.steps, self.fail = name, steps, fail

    def note(self, what, **more):
        seen.append([self.name, what, self.tyme, *more.values()])

    def enter(self, *, temp=None):
        self.note("enter", temp=temp)
        self.count = 0

    def recur(self, tyme):
        self.note("recur", tyme=tyme)
        self.count += 1
        if self.fail and self.count == self.steps:
            raise ValueError("told to")
        return self.count >= self.steps

    def clean(self):
        self.note("clean")

    def cease(self):
        self.note("cease")

    def abort(self, ex):
        self.note("abort", ex=str(ex))

    def exit(self):
        self.note("exit")


class Flow(Told):
    """The generator form of recur."""

    def recur(self, tock=None):
        tyme = yield tock
        self.note("flows", tyme=tyme)
        tyme = yield 0.5
        self.note("flows", tyme=tyme)
        return True


def count(tymth, tock=0.0, *, to, temp=None, **opts):
    for number in range(to):
        tyme = yield tock
        seen.append(["count", number, tymth(), tyme, sorted(opts)])
    return "counted"


@doize(tock=0.25, to=2)
def once(tymth, tock=0.0, *, to, temp=None, **opts):
    timer = Tymer(tymth=tymth, duration=0.5)
    while not timer.expired:
        yield tock
        seen.append(["once", tymth(), timer.elapsed, timer.remaining])
    timer.restart(duration=to)
    seen.append(["again", timer.elapsed, timer.duration])
    return True


class Changing(DoDoer):
    """Takes a Doer in and lets another go while it runs."""

    def __init__(self, late, early, **kwa):
        super().__init__(doers=[early], **kwa)
        self.late, self.early = late, early

    def recur(self, tyme, deeds=None):
        if tyme == 0.5:
            self.extend([self.late])
            self.remove([self.early])
        return super().recur(tyme=tyme, deeds=deeds)


def flush(what, **more):
    print(json.dumps({"what": what, "seen": seen, **more}))  # noqa: T201 - what it is run for
    seen.clear()


def run(what, doers, **kwa):
    doist = Doist(real=False, tock=0.25, doers=doers, **kwa)
    try:
        doist.do()
        ended = None
    except Exception as ex:  # noqa: BLE001 - whatever it is
        ended = repr(ex)
    flush(what, done=doist.done, tyme=doist.tyme, each=[doer.done for doer in doers], ended=ended)


class Ice(IceMapDom):
    """A frozen record."""


class Mark(RawDom):
    """A record."""


def main():
    run("plain", [Told("a"), Told("b", steps=4, tock=0.5)])
    run("flow", [Flow("f", tock=0.25), doify(count, name="c", tock=0.25, to=3, extra=1), once])
    run("limited", [Told("a", steps=100), Told("b", steps=100)], limit=1.0)
    run("failing", [Told("a", steps=9), Told("bad", fail=True), Told("c", steps=9)])
    early, late = Told("early", steps=9), Told("late", steps=2)
    run("nested", [Changing(late, early, always=False), Told("beside", steps=3)], limit=5.0)
    run("temp", [Told("t"), Told("u", temp=True)], temp=True)

    doist = Doist(real=False, tock=0.25, doers=[Told("a", steps=3)])
    asyncio.run(doist.ado(limit=2.0))
    flush("asyncio", done=doist.done, tyme=doist.tyme)

    doist = Doist(real=False, tock=0.25, doers=[Told("a", steps=9)])
    doist.enter()
    doist.recur()
    doist.extend([Told("b", steps=9)])
    doist.recur()
    doist.remove([doist.doers[0]])
    doist.recur()
    doist.exit()
    flush("by hand", done=doist.done, tyme=doist.tyme, left=len(doist.doers))

    doist = Doist(real=True, tock=0.01, limit=5.0, doers=[Told("a", steps=3)])
    doist.do()
    contexts = [context for _name, context, *_ in seen]
    seen.clear()
    flush("real", done=doist.done, contexts=contexts)
    tymist = Tymist(tyme=1.0)
    flush("tyme", said=[tymist.tick(), tymist.tick(tock=0.5), tymist.tymen()()])
    record = Mark()
    flush("records", json=[Mark._fromjson(record._asjson()) == record, list(Ice())])


if __name__ == "__main__":
    main()
