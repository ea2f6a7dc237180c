import json
from collections import deque
from pathlib import Path
from traceback import format_exception

import pytest

import hiod.base
from hiod.base import doing
from hiod.base.doing import DoDoer, Doer, Doist, doify, doize
from hiod.base.tyming import Tymist

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "scheduler.json").read_text())

# Where hio leaves Doers open.
CLOSES_BETTER = {
    "exception in exit leaves earlier doers open": ["B cease", "B exit", "A cease", "A exit"],
    "exception in cease still exits that doer, not the earlier ones": ["A cease", "A exit"],
}


class Told(Doer):
    """Tells each context to a log; raises in ``bad``; is done after ``stop`` recurs."""

    def __init__(self, nm="A", log=None, stop=None, bad="", **kwa):
        super().__init__(**kwa)
        self.nm = nm
        self.log = [] if log is None else log
        self.stop = stop
        self.bad = bad
        self.recurs = 0

    def tell(self, context, *values):
        self.log.append([self.nm, context, *values])
        if self.bad == context:
            raise RuntimeError(f"{self.nm} in {context}")
        if self.bad == f"sys:{context}":
            raise SystemExit

    def enter(self, *, temp=None):
        self.tell("enter", temp)

    def recur(self, tyme):
        self.tell("recur", tyme)
        self.recurs += 1
        return self.stop is not None and self.recurs >= self.stop

    def clean(self):
        self.tell("clean")

    def cease(self):
        self.tell("cease")

    def abort(self, ex):
        self.tell("abort")

    def exit(self):
        self.tell("exit")


def contexts(log, *, without=("enter", "recur")):
    return [f"{nm} {context}" for nm, context, *_ in log if context not in without]


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["label"])
def test_contexts_and_tymes_are_those_of_hio_and_closing_is_better(vector) -> None:
    log = []
    doers = [Told(log=log, **given) for given in vector["doers"]]
    run = [DoDoer(doers=doers)] if vector["nested_in_one_DoDoer"] else doers
    doist = Doist(real=False, doers=run, **vector["doist"])

    raised = None
    try:
        doist.do()
    except (RuntimeError, SystemExit) as ex:
        raised = type(ex).__name__

    better = CLOSES_BETTER.get(vector["label"])
    if better is None:
        assert log == vector["log"]
    else:
        assert contexts(log)[-len(better) :] == better
        kept = [step for step in vector["log"] if f"{step[0]} {step[1]}" not in better]
        assert log[: len(kept)] == kept
    assert raised == vector["raised"]
    assert doist.done == vector["doist_done"]
    assert doist.tyme == vector["tyme"]
    assert [doer.done for doer in doers] == vector["doer_done"]


def test_names_of_hio_are_found_where_hio_has_them() -> None:
    assert hiod.base.Doist is Doist
    assert hiod.base.doing is doing
    assert hiod.base.Tymist is Tymist
    with pytest.raises(AttributeError, match="Doits"):
        hiod.base.Doits  # noqa: B018 - the look-up is what is tested


def test_the_first_fault_of_closing_is_raised_and_tells_of_the_others() -> None:
    log = []
    doers = [
        Told("A", log, bad="exit"),
        Told("B", log),
        Told("C", log, bad="sys:exit"),
        Told("D", log, bad="cease"),
    ]

    with pytest.raises(RuntimeError, match="D in cease") as caught:
        Doist(doers=doers, limit=1.0, tock=1.0).do()

    notes = "\n".join(caught.value.__notes__)
    assert "SystemExit" in notes
    assert "A in exit" in notes
    assert [nm for nm, context, *_ in log if context == "exit"] == ["D", "C", "B", "A"]


def test_a_fault_of_closing_does_not_hide_why_it_closed() -> None:
    doers = [Told("A", bad="exit"), Told("B", bad="recur")]

    with pytest.raises(RuntimeError, match="B in recur") as caught:
        Doist(doers=doers, tock=1.0).do()

    assert "A in exit" in caught.value.__notes__[0]


def test_a_fault_of_closing_is_raised_rather_than_a_system_exit() -> None:
    doers = [Told("A", bad="exit"), Told("B", bad="sys:recur")]

    with pytest.raises(RuntimeError, match="A in exit") as caught:
        Doist(doers=doers, tock=1.0).do()

    assert isinstance(caught.value.__context__, SystemExit)


def test_keyboard_interrupt_ends_quietly_and_closes() -> None:
    class Interrupted(Told):
        def recur(self, tyme):
            raise KeyboardInterrupt

    log = []
    doist = Doist(doers=[Told("A", log), Interrupted("B", log)], tock=1.0)

    doist.do()

    assert doist.done is False
    assert contexts(log) == ["B exit", "A cease", "A exit"]


@pytest.mark.parametrize("returned", [None, False, 0, "", []])
def test_done_is_what_recur_returned_last(returned) -> None:
    class Returning(Doer):
        def recur(self, tyme):
            return returned

    doer = Returning()

    Doist(doers=[doer], limit=2.0, tock=1.0).do()

    assert doer.done is returned


def test_a_generator_that_returns_when_closed_has_that_as_done_on_every_python() -> None:
    def polite(tymth, tock=0.0, **_):
        try:
            while True:
                yield tock
        except GeneratorExit:
            return "bye"

    def rude(tymth, tock=0.0, **_):
        while True:
            yield tock

    polite = doify(polite)
    rude = doify(rude)

    Doist(doers=[polite, rude], limit=1.0, tock=1.0).do()

    assert polite.done == "bye"
    assert rude.done is False


def test_a_generator_that_will_not_close_is_a_fault_and_the_others_close() -> None:
    def stubborn(tymth, tock=0.0, **_):
        while True:
            try:
                yield tock
            except GeneratorExit:
                yield tock

    log = []
    with pytest.raises(RuntimeError, match=r"stubborn yielded when it was told to close"):
        Doist(doers=[Told("A", log), doify(stubborn)], limit=1.0, tock=1.0).do()

    assert contexts(log) == ["A cease", "A exit"]


def test_a_fault_raised_in_closing_is_told_as_it_is() -> None:
    def failing(tymth, tock=0.0, **_):
        try:
            yield tock
        finally:
            raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match=r"^of its own$"):
        Doist(doers=[doify(failing)], limit=1.0, tock=1.0).do()


class Odd(Told):
    """Yields what is given, at its second yield."""

    def __init__(self, odd, **kwa):
        super().__init__(**kwa)
        self.odd = odd

    def abort(self, ex):
        super().abort(ex)
        self.ex = ex

    def recur(self, tock):
        yield tock
        self.tell("recur", (yield self.odd))
        yield tock


def numbers():
    yield 1.0


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        ("soon", "'soon' where a number of seconds is due$"),
        ([1.0], "a list where a number of seconds is due$"),
        (1j, "a complex where a number of seconds is due$"),
        (numbers(), r"a generator where a number of seconds is due \(yield from\?\)$"),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_a_doer_that_yields_no_number_is_named_where_it_did(odd, what, count) -> None:
    log = []
    doer = Odd(odd, nm="B", log=log)
    doers = [Told("A", log), doer, Told("C", log)][:count] if count > 1 else [doer]

    with pytest.raises(TypeError, match=f"^Odd yielded {what}") as caught:
        Doist(doers=doers, tock=1.0, limit=5.0).do()

    assert doer.ex is caught.value
    assert caught.traceback[-1].frame.code.name == "recur"
    assert caught.traceback[-1].path == Path(__file__)
    assert contexts([step for step in log if step[0] == "B"]) == ["B abort", "B exit"]
    assert sum(context == "exit" for _, context, *_ in log) == count


def test_a_function_that_yields_a_generator_first_is_named() -> None:
    def forgetful(tymth, tock=0.0, **_):
        yield numbers()

    doist = Doist(doers=[doify(forgetful)], tock=1.0, limit=1.0)
    with pytest.raises(TypeError, match=r"forgetful yielded a generator .* \(yield from\?\)$"):
        doist.do()


def test_a_doer_that_catches_that_it_yielded_no_number_is_closed_nevertheless() -> None:
    told = []

    def deaf(tymth, tock=0.0, **_):
        yield tock
        try:
            while True:
                try:
                    yield "soon"
                except TypeError:
                    told.append("caught")
        finally:
            told.append("closed")

    with pytest.raises(TypeError, match="deaf yielded 'soon'") as caught:
        Doist(doers=[Told(), doify(deaf)], tock=1.0, limit=5.0).do()

    assert "During handling" not in "".join(format_exception(caught.value))
    assert told == ["caught", "closed"]


def test_a_pass_left_because_of_what_was_yielded_can_be_gone_on_with() -> None:
    log = []
    doist = Doist(doers=[Told("A", log), Odd("soon", log=log), Told("C", log)], tock=1.0)
    doist.enter()

    with pytest.raises(TypeError, match="Odd yielded"):
        doist.recur()
    doist.recur()
    doist.recur()
    doist.exit()

    ran = [nm + str(*tyme) for nm, context, *tyme in log if context == "recur"]
    assert ran == ["A0.0", "C0.0", "A1.0", "C1.0"]


def test_a_recur_without_a_yield_that_does_not_take_tyme_is_told_so() -> None:
    class Plain(Doer):
        def recur(self, tock):
            return False

    class Faulty(Doer):
        def recur(self, tyme):
            return self.step(tyme=tyme)

        def step(self):
            """Take no tyme."""

    with pytest.raises(TypeError, match=r"Plain\.recur has no yield, so it is called with tyme"):
        Doist(doers=[Plain()], tock=1.0, limit=1.0).do()
    with pytest.raises(TypeError, match=r"step\(\) got an unexpected keyword"):
        Doist(doers=[Faulty()], tock=1.0, limit=1.0).do()


def test_recur_may_be_a_generator_method() -> None:
    class Twice(Doer):
        def recur(self, tock):
            self.tymes = [(yield tock), (yield tock)]
            return 5

    doer = Twice(tock=2.0)
    doist = Doist(doers=[doer], tock=1.0)

    doist.do()

    assert (doer.tymes, doer.done, doist.done) == ([0.0, 2.0], 5, True)


def test_a_doer_gets_its_own_tock_and_opts() -> None:
    given = {}

    class Asking(Doer):
        def do(self, tymth, *, tock=0.0, temp=None, **opts):
            given.update(tock=tock, temp=temp, **opts)
            yield tock

    Doist(doers=[Asking(tock=-0.5, opts={"zig": 1})], tock=1.0).do()

    assert given == {"tock": 0.5, "temp": None, "zig": 1}


def test_a_keyword_nobody_takes_is_named() -> None:
    for made in (Doer, DoDoer, Doist):
        with pytest.raises(TypeError, match="dores"):
            made(dores=[])


def test_doify_makes_an_independent_copy() -> None:
    def counting(tymth, tock=0.0, *, upto=1, **_):
        for _ in range(upto):
            yield tock
        return True

    one = doify(counting, name="one", tock=1.0, upto=3)
    two = doify(counting, temp=True)

    Doist(doers=[one, two], tock=1.0, limit=2.0).do()

    assert (one.__name__, one.tock, one.temp, one.opts, one.done) == (
        "one",
        1.0,
        None,
        {"upto": 3},
        False,
    )
    assert (two.__name__, two.tock, two.temp, two.opts, two.done) == (
        "counting",
        0.0,
        True,
        {},
        True,
    )
    assert not hasattr(counting, "done")


def test_doify_copies_a_method_with_its_object() -> None:
    class Owner:
        def work(self, tymth, tock=0.0, **_):
            self.tyme = yield tock
            return True

    owner = Owner()
    method = doify(owner.work, tock=2.0)

    Doist(doers=[method], tock=1.0, tyme=4.0).do()

    assert (owner.tyme, method.done, method.tock) == (4.0, True, 2.0)


def test_doify_refuses_what_cannot_be_copied() -> None:
    with pytest.raises(TypeError, match="neither a function nor a method"):
        doify(object())


def test_doize_marks_the_function_itself() -> None:
    class Owner:
        @doize(tock=0.5, upto=2)
        def work(self, tymth=None, tock=0.0, *, upto, **_):
            for _ in range(upto):
                yield tock
            return True

    owner = Owner()

    Doist(doers=[owner.work], tock=0.25).do()

    assert (Owner.work.done, Owner.work.tock, Owner.work.opts) == (True, 0.5, {"upto": 2})


def test_deeds_read_like_hios_tuples() -> None:
    doer = Told()
    doist = Doist(doers=[doer], tock=1.0)

    doist.enter()
    doist.recur()

    assert isinstance(doist.deeds, deque)
    [(dog, retyme, who)] = doist.deeds
    assert (retyme, who, len(doist.deeds[0])) == (1.0, doer, 3)
    assert doist.deeds[0].dog is dog is doist.deeds[0][0]
    assert "retyme=1.0" in repr(doist.deeds[0])
    doist.exit()
    assert not doist.deeds


def test_a_program_may_keep_deeds_of_its_own() -> None:
    log = []
    doist = Doist(tock=1.0)

    deeds = doist.enter(doers=[Told("A", log, stop=1), Told("B", log)])
    assert not doist.deeds
    assert [who.nm for _, _, who in deeds] == ["A", "B"]
    doist.recur(deeds)
    assert [who.nm for _, _, who in deeds] == ["B"]
    doist.exit(deeds)

    assert not deeds
    assert contexts(log) == ["A clean", "A exit", "B cease", "B exit"]


def test_deeds_may_be_a_plain_deque_of_tuples() -> None:
    def counting(tymth, tock=0.0):
        tyme = yield tock
        tymes.append(tyme)
        yield tock

    tymes = []
    counting = doify(counting)
    doist = Doist(tock=1.0, tyme=3.0)
    dog = counting(tymth=doist.tymen())
    next(dog)
    deeds = deque([(dog, 3.0, counting), (None, None, None)])

    doist.recur(deeds)
    assert [retyme for _, retyme, _ in deeds] == [4.0]
    doist.exit(deeds)

    assert tymes == [3.0]
    assert not deeds


def test_deeds_may_be_taken_out_and_put_back() -> None:
    log = []
    doist = Doist(tock=1.0, doers=[Told("A", log), Told("B", log), Told("C", log)])
    doist.enter()

    first, last = doist.deeds.popleft(), doist.deeds.pop()
    doist.recur()
    doist.deeds.extend([last, first])
    doist.recur()
    doist.deeds.clear()
    doist.recur()

    ran = [(nm, tyme) for nm, context, *tyme in log if context == "recur"]
    assert ran == [("B", [0.0]), ("B", [1.0]), ("C", [1.0]), ("A", [1.0])]
    first.dog.close()
    last.dog.close()


def test_another_deque_may_be_put_in_the_place_of_deeds() -> None:
    log = []
    doist = Doist(tock=1.0)
    deeds = doist.enter(doers=[Told("A", log)])

    doist.deeds = deque(tuple(deed) for deed in deeds)
    doist.recur()
    doist.exit()

    assert contexts(log, without=()) == ["A enter", "A recur", "A cease", "A exit"]


def test_one_that_ends_in_enter_is_not_scheduled() -> None:
    def hasty(tymth, tock=0.0, **_):
        return 7
        yield tock

    hasty = doify(hasty)
    ended = []

    class Noting(Doist):
        def ended(self, doer):
            ended.append((doer, len(self.deeds)))

    doist = Noting(doers=[hasty, Told()], tock=1.0)
    doist.enter()

    assert hasty.done == 7
    assert ended == [(hasty, 1)]
    doist.exit()


def test_doers_that_entered_a_deque_of_their_own_are_closed_when_one_cannot() -> None:
    log = []
    doist = Doist()

    with pytest.raises(RuntimeError, match="B in enter"):
        doist.enter(doers=[Told("A", log), Told("B", log, bad="enter")])

    assert contexts(log) == ["B abort", "B exit", "A cease", "A exit"]


def test_ended_is_told_of_each_that_ended_by_itself_and_of_no_other() -> None:
    ended = []

    class Noting(Doist):
        def ended(self, doer):
            ended.append((doer.nm, [who.nm for _, _, who in self.deeds]))

    a, b, c = Told("A", stop=2), Told("B"), Told("C", stop=1)
    Noting(doers=[a, b, c], tock=1.0, limit=5.0).do()

    assert ended == [("C", ["A", "B"]), ("A", ["B"])]


def test_extended_doers_run_first_on_the_next_pass() -> None:
    log = []
    late = Told("late", log)

    class Extending(Told):
        def recur(self, tyme):
            if tyme == 1.0:
                doist.extend([late, self])
            return super().recur(tyme)

    doist = Doist(doers=[Extending("A", log)], tock=1.0, limit=3.0)
    doist.do()

    assert [tyme for nm, context, *tyme in log if (nm, context) == ("late", "recur")] == [[2.0]]
    assert doist.doers[-1] is late
    assert len(doist.doers) == 2


def test_a_doer_removed_by_one_before_it_does_not_run_in_that_pass() -> None:
    log = []
    doers = [Told("B", log), Told("C", log)]

    class Removing(Told):
        def recur(self, tyme):
            if tyme == 1.0:
                doist.remove([*doers, Told("stranger")])
            return super().recur(tyme)

    doist = Doist(doers=[Removing("A", log), *doers], tock=1.0, limit=3.0)
    doist.do()

    assert contexts(log) == ["C cease", "C exit", "B cease", "B exit", "A cease", "A exit"]
    assert [nm for nm, context, *_ in log if context == "recur"] == ["A", "B", "C", "A", "A"]


@pytest.mark.parametrize("tock", [0.0, 0.5, 1.0, 7.0])
@pytest.mark.parametrize("nested", [False, True])
def test_a_doer_that_removes_itself_is_really_removed(tock, nested) -> None:
    log = []

    class Leaving(Told):
        def recur(self, tyme):
            scheduler.remove([self])
            return super().recur(tyme)

    doers = [Told("A", log), Leaving("B", log, tock=tock), Told("C", log)]
    scheduler = DoDoer(doers=doers) if nested else Doist(doers=doers, tock=1.0, limit=3.0)
    doist = Doist(doers=[scheduler], tock=1.0, limit=3.0) if nested else scheduler
    doist.do()

    assert [nm for nm, context, *_ in log if context == "recur"] == list("ABC") + list("AC") * 2
    assert contexts(log)[:2] == ["B cease", "B exit"]
    assert doers[1] not in scheduler.doers
    assert len(scheduler.doers) == 2


def test_a_doer_that_removes_itself_and_ends_in_the_same_run_has_ended() -> None:
    log = []

    class Leaving(Told):
        def recur(self, tyme):
            doist.remove([self])
            self.tell("recur", tyme)
            return True

    doer = Leaving("B", log)
    doist = Doist(doers=[doer], tock=1.0, limit=3.0)
    doist.do()

    assert contexts(log) == ["B clean", "B exit"]
    assert doer.done is True
    assert doist.done is True


def test_a_doer_may_remove_what_it_is_nested_in() -> None:
    log = []

    class Leaving(Told):
        def recur(self, tyme):
            doist.remove([parent])
            return super().recur(tyme)

    parent = DoDoer(doers=[Leaving("A", log), Told("B", log)])
    doist = Doist(doers=[parent, Told("C", log)], tock=1.0, limit=2.0)
    doist.do()

    assert contexts(log) == ["B cease", "B exit", "A cease", "A exit", "C cease", "C exit"]
    assert [nm for nm, context, *_ in log if context == "recur"] == ["A", "B", "C", "C"]


def test_do_may_be_called_again_and_goes_on_from_its_tyme() -> None:
    log = []
    doist = Doist(doers=[Told("A", log)], tock=1.0)

    doist.do(limit=2.0)
    doist(limit=-1.0)
    assert doist.tyme == 3.0
    doist.do(doers=[], tyme=9.0, limit=0)

    assert (doist.tyme, doist.done, doist.doers, doist.limit) == (10.0, True, [], 0.0)


def test_a_pass_left_by_an_exception_can_be_gone_on_with() -> None:
    log = []

    class Once(Told):
        def recur(self, tyme):
            super().recur(tyme)
            if tyme == 1.0:
                raise RuntimeError("once")

    doist = Doist(doers=[Told("A", log), Once("B", log), Told("C", log)], tock=1.0)
    doist.enter()
    doist.recur()

    with pytest.raises(RuntimeError, match="once"):
        doist.recur()
    doist.recur()
    doist.exit()

    ran = [nm + str(*tyme) for nm, context, *tyme in log if context == "recur"]
    assert ran == ["A0.0", "B0.0", "C0.0", "A1.0", "B1.0", "C1.0"]
    assert contexts(log)[-4:] == ["C cease", "C exit", "A cease", "A exit"]


def test_a_dodoer_goes_on_without_doers_only_if_it_is_to() -> None:
    lasting = DoDoer(doers=[Told(stop=1)], always=True)
    ending = DoDoer(doers=[Told(stop=1)])

    Doist(doers=[lasting, ending], tock=1.0, limit=3.0).do()

    assert (lasting.done, ending.done) == (True, True)
    assert len(lasting.doers) == 1


def test_a_dodoer_takes_doers_and_always_from_its_options() -> None:
    log = []
    doer = DoDoer(opts={"doers": [Told("A", log, stop=1)], "always": True})

    Doist(doers=[doer], tock=1.0, limit=2.0).do()

    assert contexts(log) == ["A clean", "A exit"]
    assert doer.always is True


def test_a_dodoer_runs_its_doers_no_oftener_than_it_runs_itself() -> None:
    log = []

    Doist(doers=[DoDoer(doers=[Told("A", log)], tock=2.0)], tock=1.0, limit=5.0).do()

    assert [tyme for _, context, *tyme in log if context == "recur"] == [[0.0], [2.0], [4.0]]


def test_a_dodoer_refuses_what_are_no_lists_and_deques() -> None:
    doer = DoDoer()

    with pytest.raises(TypeError, match="list"):
        doer.doers = ()
    with pytest.raises(TypeError, match="deque"):
        doer.deeds = []
    doer.doers = []
    doer.deeds = deque()
    with pytest.raises(TypeError, match="not wound"):
        doer.enter()


def test_a_dodoer_keeps_deeds_of_a_caller_apart() -> None:
    log = []
    doer = DoDoer()
    doer.wind(Tymist(tyme=2.0).tymen())

    deeds = doer.enter(doers=[Told("A", log, stop=1)])
    plain = deque(tuple(deed) for deed in deeds)
    assert doer.recur(2.0, deeds=plain) is True
    doer.exit(deeds=plain)

    assert not doer.deeds
    assert contexts(log, without=()) == ["A enter", "A recur", "A clean", "A exit"]


def test_a_dodoer_extends_and_removes() -> None:
    log = []
    late = Told("late", log)
    doer = DoDoer(always=True)

    class Changing(Doer):
        def recur(self, tyme):
            if tyme == 1.0:
                doer.extend([late])
            if tyme == 3.0:
                doer.remove([late])

    Doist(doers=[doer, Changing()], tock=1.0, limit=5.0).do()

    assert contexts(log, without=()) == [
        "late enter",
        "late recur",
        "late recur",
        "late cease",
        "late exit",
    ]
    assert doer.doers == []


def test_many_that_end_and_stay_by_turns_keep_their_order() -> None:
    log = []
    doers = [Told(str(n), log, stop=None if n % 2 else 1 + n % 3) for n in range(20)]
    doist = Doist(doers=doers, tock=1.0, limit=5.0)

    doist.do()

    for tyme in range(5):
        ran = [int(nm) for nm, context, *at in log if context == "recur" and at == [tyme]]
        assert ran == [n for n in range(20) if n % 2 or n % 3 >= tyme]
    closed = [int(nm) for nm, context, *_ in log if context == "cease"]
    assert closed == sorted(closed, reverse=True)


def test_doers_of_unlike_tocks_run_in_order_of_entering() -> None:
    log = []
    doers = [Told(str(n), log, tock=(0.0, 2.0, 0.7, 1.0)[n % 4]) for n in range(8)]

    Doist(doers=doers, tock=1.0, limit=9.0).do()

    for tyme in range(9):
        ran = [int(nm) for nm, context, *at in log if context == "recur" and at == [tyme]]
        assert ran == sorted(ran)
        assert set(ran) >= {0, 3, 4, 7}
        assert (1 in ran) == (tyme % 2 == 0)


def test_an_infinite_tock_sleeps_and_wake_runs_it_in_this_turn() -> None:
    log = []
    sleeper = Told("sleeper", log, tock=float("inf"))

    class Waking(Told):
        def recur(self, tyme):
            if tyme == 2.0:
                sleeper.wake()
            return super().recur(tyme)

    Doist(doers=[sleeper, Waking("W", log)], tock=1.0, limit=4.0).do()

    ran = [(nm, *tyme) for nm, context, *tyme in log if context == "recur"]
    assert [one for one in ran if one[0] == "sleeper"] == [("sleeper", 0.0), ("sleeper", 2.0)]
    assert ran[3:5] == [("W", 2.0), ("sleeper", 2.0)]


def test_a_deadline_runs_a_doer_when_tyme_has_come() -> None:
    class Setting(Told):
        def enter(self, *, temp=None):
            super().enter(temp=temp)
            self.wake(at=2.5)

    doer = Setting(tock=float("inf"))
    Doist(doers=[doer, Told("other", [])], tock=1.0, limit=6.0).do()

    assert [tyme for _, context, *tyme in doer.log if context == "recur"] == [[0.0], [3.0]]


def test_waking_a_doer_that_is_not_wound_or_not_scheduled_does_nothing() -> None:
    doer = Doer()
    doer.wake()
    doer.wake(at=1.0)
    doer.wind(Tymist().tymen())
    doer.wake()
    doist = Doist()
    doist.wake(doer)
    doist.wake(doer, at=3.0)

    doist.do()

    assert doist.done is True


def test_halt_ends_it_after_the_present_turn() -> None:
    log = []

    class Halting(Told):
        def recur(self, tyme):
            if tyme == 1.0:
                doist.halt()
            return super().recur(tyme)

    doist = Doist(doers=[Halting("A", log), Told("B", log)], tock=1.0)
    doist.do()

    assert doist.done is False
    assert [nm for nm, context, *_ in log if context == "recur"] == ["A", "B", "A", "B"]
    assert contexts(log) == ["B cease", "B exit", "A cease", "A exit"]


def test_halt_before_do_makes_it_enter_and_close_once() -> None:
    log = []
    doist = Doist(doers=[Told("A", log)], tock=1.0)

    doist.halt()
    doist.do()
    assert contexts(log, without=()) == ["A enter", "A cease", "A exit"]
    doist.do(limit=1.0)

    assert doist.tyme == 1.0


def test_an_overridden_recur_is_called_for_every_cycle() -> None:
    tymes = []

    class Own(Doist):
        def recur(self, deeds=None):
            tymes.append(self.tyme)
            super().recur(deeds)

    Own(doers=[Told()], tock=1.0, limit=3.0).do()

    assert tymes == [0.0, 1.0, 2.0]


def test_cycles_are_counted_and_seen_by_doers() -> None:
    seen = []

    class Seeing(Doer):
        def recur(self, tyme):
            seen.append(doist.cycles)

    doist = Doist(doers=[Seeing()], tock=1.0, limit=3.0)
    doist.do()

    assert seen == [1, 2, 3]


def test_a_tock_changed_by_a_doer_counts_from_that_cycle() -> None:
    tymes = []

    class Changing(Doer):
        def recur(self, tyme):
            tymes.append(tyme)
            if tyme == 1.0:
                doist.tock = 0.5

    doist = Doist(doers=[Changing()], tock=1.0, limit=2.5)
    doist.do()

    assert tymes == [0.0, 1.0, 1.5, 2.0]


def test_a_tock_that_is_no_number_lets_a_doer_sleep() -> None:
    runs = []

    def odd(tymth, tock=0.0, **_):
        yield tock
        while True:
            runs.append(1)
            yield float("nan")

    Doist(doers=[doify(odd), Told()], tock=1.0, limit=4.0).do()

    assert len(runs) == 1


def test_what_is_scheduled_in_a_pass_for_the_next_one_runs_in_it() -> None:
    ran = []

    def later(tock=0.0, **_):
        while True:
            ran.append((yield tock))

    class Scheduling(Doer):
        def recur(self, tyme):
            if tyme == 0.25:
                dog = later()
                next(dog)
                doist.deeds.append((dog, 0.5, later))
            return False

    doist = Doist(real=False, tock=0.25, doers=[Scheduling(), Doer()])
    doist.enter()
    for _ in range(4):
        doist.recur()

    assert ran == [0.5, 0.75]
    assert len(doist.deeds) == 3
    doist.exit()
