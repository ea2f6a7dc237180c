"""What one destination may leave unread, over a pretended network with one send buffer for all."""

import math
from collections import deque
from itertools import pairwise

from hiod.core.memo import Memoer
from hiod.core.memo.outboxing import FIRST_TRY, GRAM_COST, LAST_DELAY, STALL

SIZE = 1000
COST = SIZE + GRAM_COST


class Sea(Memoer):
    """Whatever is sent lies in its destination's queue until that is read."""

    def __init__(self, window=3 * COST):
        super().__init__()
        self.clock = 0.0
        self.wind(lambda: self.clock)
        self.queues = {}
        self.own = False
        self.open()
        self._outboxes.settle(window)

    def send(self, gram, dst, *, echoic=False):
        self.queues.setdefault(dst, deque()).append(gram)
        return len(gram)

    def unread(self):
        return COST * sum(map(len, self.queues.values()))

    def awaitRoom(self, dst):
        assert dst is None
        self.own = True
        return 0

    def endRoom(self, dst):
        self.own = False

    def roomy(self):
        return [None] if self.own else []

    def give(self, dst, count):
        for _ in range(count):
            assert self.memoit("x" * (SIZE - 32), dst)

    def read(self, dst, count=math.inf):
        """Read so many; return how many there were."""
        queue = self.queues.get(dst, deque())
        took = 0
        while queue and took < count:
            queue.popleft()
            took += 1
        return took

    def lies(self, dst):
        return len(self.queues.get(dst, ()))

    def at(self, clock):
        self.clock = clock
        self.service()


def test_a_destination_has_a_window_and_goes_on_when_it_has_read():
    sea = Sea()
    sea.give("a", 7)

    sea.service()
    assert sea.lies("a") == 3
    assert sea.own
    sea.read("a", 1)
    sea.service()
    assert sea.lies("a") == 3
    while sea.outboxDepth:
        sea.read("a")
        sea.service()
    sea.service()

    assert not sea.own
    assert sea.memosSent == 7


def test_who_reads_is_cleared_by_one_gram_and_not_held_up_again():
    sea = Sea()
    sea.give("silent", 5)
    sea.service()
    sea.give("reads", 20)
    sea.service()
    sea.read("reads")
    sea.service()
    assert sea.lies("reads") == 0, "it might be this one that does not read"

    sea.at(STALL)
    sea.read("reads")
    sea.at(STALL * 1.5)
    while sea.read("reads"):
        sea.service()

    assert {letter.dst for letter in sea._outboxes.letters()} == {"silent"}
    assert sea.clock < 2 * STALL
    assert sea.lies("silent") <= 4


def test_a_silent_destination_is_tried_ever_more_rarely():
    sea = Sea()
    sea.give("silent", 50)
    sea.service()
    tries = []

    while sea.clock < 4.0:
        before = sea.lies("silent")
        sea.at(sea.dueAt())
        if sea.lies("silent") > before:
            tries.append(sea.clock)

    gaps = [b - a for a, b in pairwise(tries)]
    assert tries[0] <= 2 * STALL
    assert gaps[0] <= FIRST_TRY * 1.5
    assert gaps == sorted(gaps)
    assert max(gaps) <= LAST_DELAY + STALL
    assert len(tries) < 12


def test_the_tries_end_when_half_the_room_is_taken():
    sea = Sea(window=COST)
    sea.give("silent", 100)

    while sea.clock < 60.0:
        sea.at(max(sea.clock + STALL, min(sea.dueAt(), 60.0)))

    assert sea.lies("silent") <= 9
    assert sea.outboxDepth >= 91
    assert sea.deads == {}


def test_a_silent_destination_that_reads_again_is_found_at_once():
    sea = Sea()
    sea.give("silent", 8)
    sea.service()
    for _ in range(6):
        sea.at(sea.dueAt())

    clock = sea.clock
    while sea.outboxDepth:
        assert sea.read("silent")
        sea.service()

    assert sea.clock == clock
    assert sea.memosSent == 8


def test_two_silent_ones_do_not_hide_the_one_that_reads_again():
    sea = Sea()
    sea.give("one", 8)
    sea.give("two", 8)
    sea.service()
    for _ in range(8):
        sea.at(sea.dueAt())

    clock = sea.clock
    while any(letter.dst == "one" for letter in sea._outboxes.letters()):
        sea.read("one")
        sea.at(max(sea.clock, min(sea.dueAt(), sea.clock + STALL)))

    assert sea.clock < clock + 2.5
    assert sea.lies("two") <= 8
