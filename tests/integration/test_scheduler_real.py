"""A Doist in real time with real descriptors, signals, threads and processes."""

import asyncio
import math
import os
import resource
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hiod.base.doing import DoDoer, Doer, Doist
from hiod.base.waiting import Waiter

LIMIT = 30.0  # seconds; what is waited for comes long before


class Reading(Doer):
    """Reads what comes on a descriptor until it reads an end."""

    def __init__(self, fd, **kwa):
        super().__init__(**kwa)
        self.fd = fd
        self.got = []

    def fds(self):
        return () if self.fd is None else (self.fd,)

    def recur(self, tyme):
        try:
            self.got.append(os.read(self.fd, 100))
        except BlockingIOError:
            return False
        return self.got[-1].endswith(b".")


class Sleeping(Doer):
    """Sleeps until it is woken, then is done."""

    def __init__(self, **kwa):
        super().__init__(tock=math.inf, **kwa)
        self.runs = 0
        self.first = threading.Event()

    def recur(self, tyme):
        self.runs += 1
        self.first.set()
        return self.runs == 2


@contextmanager
def pipe():
    inner, outer = os.pipe()
    os.set_blocking(inner, False)
    try:
        yield inner, outer
    finally:
        for fd in (inner, outer):
            with suppress(OSError):
                os.close(fd)


@contextmanager
def handling(number, handler):
    former = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, former)


def open_fds():
    return {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("nested", [False, True])
def test_what_comes_on_a_descriptor_is_read_at_once(nested) -> None:
    with pipe() as (inner, outer):
        reading = Reading(inner)
        asleep = Sleeping()
        doers = [DoDoer(doers=[asleep, DoDoer(doers=[reading])])] if nested else [asleep, reading]

        class Ending(Doist):
            def recur(self, deeds=None):
                super().recur(deeds)
                if reading.done:
                    self.halt()
                elif self.cycles == 1:
                    os.write(outer, b"one")
                elif self.cycles == 2:
                    os.write(outer, b"two.")

        doist = Ending(real=True, doers=doers, limit=LIMIT)
        doist.do()

    assert reading.got == [b"one", b"two."]
    assert asleep.runs == 1
    assert doist.cycles == 3


def test_nothing_is_left_open() -> None:
    before = open_fds()

    with pipe() as (inner, outer):
        os.write(outer, b".")
        Doist(real=True, doers=[Reading(inner)], limit=LIMIT).do()

    assert open_fds() == before


def test_a_thread_may_wake_and_halt() -> None:
    sleeping, forever = Sleeping(), Sleeping()
    doist = Doist(real=True, doers=[sleeping, forever])

    class Ended(Doist):
        def ended(self, doer):
            over.set()

    over = threading.Event()
    doist = Ended(real=True, doers=[sleeping, forever])

    def disturb():
        sleeping.first.wait()
        sleeping.wake()
        over.wait()
        doist.halt()

    thread = threading.Thread(target=disturb)
    thread.start()
    doist.do()
    thread.join()

    assert (sleeping.runs, forever.runs, doist.done) == (2, 1, False)


def test_a_doist_in_a_thread_needs_no_signals() -> None:
    sleeping = Sleeping()
    doist = Doist(real=True, doers=[sleeping])
    thread = threading.Thread(target=doist.do)

    thread.start()
    sleeping.first.wait()
    sleeping.wake()
    thread.join()

    assert doist.done is True


def test_many_wakes_from_threads_are_none_lost() -> None:
    counts = {"asked": 0, "seen": 0}

    class Counting(Doer):
        def recur(self, tyme):
            counts["seen"] = counts["asked"]
            answered.set()
            return counts["seen"] == 500

    answered = threading.Event()
    doer = Counting(tock=math.inf)

    def asking():
        answered.wait()
        while counts["asked"] < 500:
            answered.clear()
            counts["asked"] += 1
            doer.wake()
            answered.wait()

    thread = threading.Thread(target=asking)
    thread.start()
    Doist(real=True, doers=[doer]).do()
    thread.join()

    assert counts == {"asked": 500, "seen": 500}


def test_a_signal_handler_may_wake() -> None:
    sleeping = Sleeping()

    class Signalled(Doist):
        def recur(self, deeds=None):
            super().recur(deeds)
            if self.cycles == 1:
                signal.setitimer(signal.ITIMER_REAL, 0.01)

    doist = Signalled(real=True, doers=[sleeping])
    with handling(signal.SIGALRM, lambda *_: sleeping.wake()):
        doist.do()

    assert (doist.done, sleeping.runs) == (True, 2)


def test_a_signal_whose_handler_only_sets_a_flag_ends_the_wait() -> None:
    flags = []

    class Looking(Doist):
        def recur(self, deeds=None):
            super().recur(deeds)
            if self.cycles == 1:
                signal.setitimer(signal.ITIMER_REAL, 0.01)
            elif flags:
                self.halt()

    doist = Looking(real=True, doers=[Sleeping()])
    with handling(signal.SIGALRM, lambda *_: flags.append(1)):
        doist.do()

    assert doist.done is False


def test_the_former_wakeup_descriptor_of_signals_is_put_back() -> None:
    mine, other = socket.socketpair()
    with mine, other:
        mine.setblocking(False)
        former = signal.set_wakeup_fd(mine.fileno())
        try:
            Doist(real=True, doers=[Sleeping()], limit=0.01).do()
        finally:
            found = signal.set_wakeup_fd(former)

        assert found == mine.fileno()


def test_an_interrupt_while_asleep_ends_quietly() -> None:
    class Interrupting(Doist):
        def recur(self, deeds=None):
            super().recur(deeds)
            signal.setitimer(signal.ITIMER_REAL, 0.01)

    def interrupt(*_):
        raise KeyboardInterrupt

    sleeping = Sleeping()
    with handling(signal.SIGALRM, interrupt):
        doist = Interrupting(real=True, doers=[sleeping])
        doist.do()

    assert (doist.done, sleeping.runs) == (False, 1)


def test_a_descriptor_closed_while_awaited_neither_raises_nor_spins() -> None:
    with pipe() as (inner, outer):
        os.write(outer, b"x")

        class Closing(Reading):
            def recur(self, tyme):
                os.close(self.fd)

        doist = Doist(real=True, doers=[Closing(inner, tock=math.inf)], limit=0.05)
        doist.do()

    assert doist.cycles == 1


def test_a_closed_descriptor_another_process_holds_open_does_not_spin() -> None:
    """Epoll goes on reporting it: a mailbox is held by three processes at once."""
    with pipe() as (inner, outer):
        held = os.dup(inner)
        os.write(outer, b"x")

        class Closing(Reading):
            def recur(self, tyme):
                if self.fd is not None:
                    os.close(self.fd)
                    self.fd = None

        doist = Doist(real=True, doers=[Closing(inner, tock=math.inf)], limit=0.05)
        doist.do()
        os.close(held)

    assert doist.cycles <= 2


@pytest.mark.parametrize("holding", [False, True])
def test_a_number_given_to_another_file_is_awaited_for_that_file(holding) -> None:
    with pipe() as (one, into_one), pipe() as (two, into_two):
        held = os.dup(one) if holding else None
        os.write(into_one, b"x")
        turns = []

        class Swapping(Reading):
            def recur(self, tyme):
                turns.append(tyme)
                if len(turns) == 1:
                    os.dup2(two, one)
                    return False
                return super().recur(tyme)

        class Feeding(Doer):
            def recur(self, tyme):
                if tyme:
                    os.write(into_two, b"new.")
                return bool(tyme)

        doer = Swapping(one, tock=math.inf)
        doist = Doist(real=True, doers=[doer, Feeding(tock=0.0625)], limit=LIMIT)
        doist.do()
        if held is not None:
            os.close(held)

    assert doer.got == [b"new."]
    assert len(turns) == 2
    assert doist.done is True


def test_two_doers_may_wait_for_the_same_descriptor() -> None:
    with pipe() as (inner, outer):
        runs = []

        class Sharing(Reading):
            def recur(self, tyme):
                runs.append(self)
                if len(runs) == 4:
                    os.read(self.fd, 10)
                return len(runs) > 2

        one, two = Sharing(inner), Sharing(inner)

        class Feeding(Doist):
            def recur(self, deeds=None):
                super().recur(deeds)
                if self.cycles == 1:
                    os.write(outer, b"x")

        Feeding(real=True, doers=[one, two], limit=LIMIT).do()

    assert runs == [one, two, one, two]


def test_an_object_with_a_fileno_may_be_awaited_and_a_closed_one_is_passed_over(tmp_path) -> None:
    mine, other = socket.socketpair()
    gone = socket.socket()
    gone.close()
    file = (tmp_path / "file").open("w")
    file.close()
    with mine, other:
        other.send(b".")
        doer = Reading(mine.fileno())
        doer.fds = None

        class Fancy(Reading):
            def fds(self):
                return (mine, gone, file, -1)

        doer = Fancy(mine.fileno())
        Doist(real=True, doers=[doer], limit=LIMIT).do()

    assert doer.got == [b"."]


def test_a_regular_file_is_refused_with_a_sentence(tmp_path) -> None:
    with (tmp_path / "file").open("w") as file:
        doer = Reading(file.fileno())

        with pytest.raises(ValueError, match="regular file or directory is always ready"):
            Doist(real=True, doers=[doer], limit=LIMIT).do()


def test_asleep_it_costs_no_cpu() -> None:
    doist = Doist(real=True, doers=[Sleeping() for _ in range(3)], limit=0.5)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    doist.do()

    assert doist.cycles == 1
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before < 10


def test_tyme_is_never_ahead_of_time() -> None:
    import time

    behind = []

    class Looking(Doer):
        def recur(self, tyme):
            behind.append(time.monotonic() - began - tyme)

    began = time.monotonic()
    Doist(real=True, doers=[Looking()], limit=0.25, tock=1 / 128).do()

    assert min(behind) >= 0.0
    assert len(behind) > 10


def test_a_child_forked_in_the_midst_of_a_run_makes_a_doist_of_its_own() -> None:
    class Forking(Doer):
        def recur(self, tyme):
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    with pipe() as (inner, outer):
                        os.write(outer, b"child.")
                        doer = Reading(inner)
                        Doist(real=True, doers=[doer], limit=LIMIT).do()
                        code = 0 if doer.got == [b"child."] else 2
                finally:
                    os._exit(code)
            self.status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            return True

    doer = Forking()
    with pipe() as (inner, outer):
        reading = Reading(inner)
        os.write(outer, b".")
        Doist(real=True, doers=[reading, doer], limit=LIMIT).do()

    assert doer.status == 0
    assert reading.got == [b"."]


def test_a_doist_may_run_inside_a_doer_of_another() -> None:
    class Nesting(Doer):
        def recur(self, tyme):
            with pipe() as (inner, outer):
                os.write(outer, b".")
                self.inner = Reading(inner)
                Doist(real=True, doers=[self.inner], limit=LIMIT).do()
            return True

    doer = Nesting()

    Doist(real=True, doers=[doer], limit=LIMIT).do()

    assert doer.inner.got == [b"."]


def test_in_asyncio_other_tasks_turn_while_it_waits() -> None:
    with pipe() as (inner, outer):
        reading = Reading(inner)
        sleeping = Sleeping()
        doist = Doist(real=True, doers=[reading, sleeping], limit=LIMIT)

        async def main():
            running = asyncio.create_task(doist.ado())
            while not sleeping.first.is_set():  # noqa: ASYNC110 - the Doer runs beside, in this thread
                await asyncio.sleep(0)
            os.write(outer, b"hello.")
            while not reading.done:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
            sleeping.wake()
            await running

        asyncio.run(main())

    assert (reading.got, sleeping.runs, doist.done) == ([b"hello."], 2, True)


def test_in_asyncio_it_keeps_real_time_and_its_limit() -> None:
    tymes = []

    class Noting(Doer):
        def recur(self, tyme):
            tymes.append(tyme)

    doist = Doist(real=True, doers=[Noting()], limit=0.25, tock=0.0625)

    asyncio.run(doist.ado())

    assert tymes == sorted(set(tymes))
    assert set(tymes) <= {0.0, 0.0625, 0.125, 0.1875}
    assert doist.done is False


def test_in_asyncio_without_real_time_it_makes_each_cycle() -> None:
    tymes = []

    class Noting(Doer):
        def recur(self, tyme):
            tymes.append(tyme)
            return tyme == 3.0

    async def main():
        doist = Doist(doers=[Noting()], tock=1.0)
        await doist.ado(tyme=1.0)
        return doist

    doist = asyncio.run(main())

    assert (tymes, doist.done, doist.tyme) == ([1.0, 2.0, 3.0], True, 4.0)


def test_a_task_that_is_cancelled_closes_its_doers() -> None:
    closed = []

    class Closing(Sleeping):
        def exit(self):
            closed.append(self)

    doer = Closing()
    doist = Doist(real=True, doers=[doer])

    async def main():
        running = asyncio.create_task(doist.ado())
        while not doer.first.is_set():  # noqa: ASYNC110 - the Doer runs beside, in this thread
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())

    assert closed == [doer]


def test_a_waiter_that_is_not_open_says_so() -> None:
    waiter = Waiter()

    for use in (waiter.fileno, lambda: waiter.wait(0.0)):
        with pytest.raises(ValueError, match="not open"):
            use()
    assert waiter.watch("who", [0]) is False
    waiter.forget("who")
    waiter.poke()
    waiter.close()


def test_more_pokes_than_it_holds_end_one_wait() -> None:
    waiter = Waiter()
    waiter.open(signals=False)
    for _ in range(2000):
        waiter.poke()

    assert waiter.wait(LIMIT) == []
    assert waiter.wait(0.0) == []
    waiter.close()
