"""What the service manager is told, turn by turn."""

from __future__ import annotations

from types import SimpleNamespace

from hiod.boss.herald import STATUS_S, Herald
from hiod.rules import records as r


class Manager:
    """A service manager that only listens."""

    def __init__(self, watchdog_s=None):
        self.watchdog_s = watchdog_s
        self.heard = []

    def __bool__(self):
        return True

    def watchdog(self):
        self.heard.append("WATCHDOG")

    def status(self, text):
        self.heard.append(text)

    def ready(self, status):
        self.heard.append(f"READY {status}")

    def reloading(self):
        self.heard.append("RELOADING")

    def extend_timeout(self, seconds):
        self.heard.append(f"EXTEND {seconds:g}")


class Boss(SimpleNamespace):
    """As much of a boss as is told of."""

    def __init__(self):
        super().__init__(
            after_turn=[], deadlines=[], hands={}, outcome=None, ready=True, at=0.0, says="fine"
        )

    def now(self):
        return self.at

    def summary(self):
        return self.says

    def turn(self, at, *changed):
        self.at = at
        for hook in self.after_turn:
            hook(set(changed))


def hand(grace_s, term_s, state=r.State.STOPPING):
    stop = SimpleNamespace(grace_s=grace_s, term_s=term_s)
    return SimpleNamespace(spec=SimpleNamespace(stop=stop), process=None, state=state)


def test_the_watchdog_is_fed_thrice_in_its_time_and_only_at_the_end_of_turns():
    boss, manager = Boss(), Manager(watchdog_s=30.0)
    herald = Herald(boss, manager, busy=lambda: False)

    boss.turn(0.0)
    boss.turn(9.0)
    due_at = herald.next_at()
    boss.turn(10.0)

    assert due_at == 10.0
    assert manager.heard == ["WATCHDOG", "WATCHDOG"]


def test_without_a_watchdog_nothing_is_due():
    boss, manager = Boss(), Manager()
    herald = Herald(boss, manager, busy=lambda: False)

    boss.turn(0.0)

    assert manager.heard == []
    assert herald.next_at() == float("inf")


def test_without_a_service_manager_no_turn_is_looked_at():
    boss = Boss()

    class Nobody(Manager):
        def __bool__(self):
            return False

    Herald(boss, Nobody(), busy=lambda: False).reloading()

    assert boss.after_turn == []
    assert boss.deadlines == []


def test_the_status_is_renewed_at_most_once_a_second_and_ends_with_the_truth():
    boss, manager = Boss(), Manager()
    herald = Herald(boss, manager, busy=lambda: False)

    for number in range(5):
        boss.says = f"state {number}"
        boss.turn(number * STATUS_S / 10, "web")
    due_at = herald.next_at()
    boss.turn(due_at)

    assert due_at == STATUS_S
    assert manager.heard == ["state 0", "state 4"]


def test_a_status_that_is_the_same_is_not_said_again():
    boss, manager = Boss(), Manager()
    Herald(boss, manager, busy=lambda: False)

    boss.turn(0.0, "web")
    boss.turn(10.0, "web")

    assert manager.heard == ["fine"]


def test_a_reload_lasts_until_nobody_waits_for_it():
    boss, manager, waiting = Boss(), Manager(), [True]
    herald = Herald(boss, manager, busy=lambda: waiting[0])

    herald.reloading()
    boss.turn(0.1)
    during = list(manager.heard)
    waiting[0] = False
    boss.turn(0.2)
    boss.turn(0.3)

    assert during == ["RELOADING"]
    assert manager.heard == ["RELOADING", "READY fine"]


def test_a_boss_that_is_not_ready_or_ends_speaks_of_no_reload():
    boss, manager = Boss(), Manager()
    herald = Herald(boss, manager, busy=lambda: True)

    boss.ready = False
    herald.reloading()
    boss.ready, boss.outcome = True, "stop"
    herald.reloading()
    boss.turn(0.0)

    assert manager.heard == []


def test_a_reload_that_is_overtaken_by_the_end_does_not_say_ready():
    boss, manager = Boss(), Manager()
    herald = Herald(boss, manager, busy=lambda: True)

    herald.reloading()
    boss.outcome = "stop"
    boss.turn(0.0)

    assert manager.heard == ["RELOADING"]


def test_a_stop_asks_for_the_time_of_its_slowest_hand_at_each_step():
    boss, manager = Boss(), Manager()
    Herald(boss, manager, busy=lambda: False)
    boss.outcome = "stop"
    boss.hands = {
        "web": hand(60.0, 5.0),
        "db": hand(10.0, 5.0),
        "old": hand(99, 9, r.State.STOPPED),
    }

    boss.turn(0.0, "web", "db")
    boss.turn(0.1)
    del boss.hands["web"]
    boss.turn(0.2, "web")

    assert [word for word in manager.heard if word.startswith("EXTEND")] == [
        "EXTEND 75",
        "EXTEND 25",
    ]
