"""The life of one hand, driven by artificial tyme through the rules, with a model of its process.

A ``Life`` does what a boss does with what the rules say, and holds every note against the story: a
fact that a sentence needs and nobody gave is found by whatever test walks there.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from hiod.rules import policy, specs
from hiod.rules import records as r
from hiod.rules.story import STORY

if TYPE_CHECKING:
    from hiod.rules.specs import HandSpec

BOOT = "b0071d"
KILLED = r.End(signal=9)
CLEAN = r.End(code=0)
CRASH = r.End(code=3)


def spec(name: str = "web", **keys: Any) -> HandSpec:
    """Return a definition: an empty hand of Doers unless ``command`` is given."""
    form = {} if "command" in keys else {"doers": []}
    made, problems = specs.parse({"name": name, **form, **keys})
    assert made is not None, problems
    return made


def process(number: int = 1) -> r.ProcessId:
    """Return a process that is like no other of this boot."""
    return r.ProcessId(1000 + number, 50_000 + number, BOOT)


def placeholders(event: str) -> set[str]:
    """Return the facts that the sentence of an event needs."""
    return {name for _, name, _, _ in string.Formatter().parse(STORY[event].template) if name}


def sufficient(note: r.Note) -> None:
    """Hold a note against the story; the boss itself adds the hand's name."""
    missing = placeholders(note.event) - {"hand", *note.facts}
    assert not missing, f"{note.event} lacks {missing}"
    assert "generation" in note.facts


class Life:
    """One hand, its tyme, and the process it has.

    Attributes:
        hand: as the rules left it.
        now: tyme.
        process: the living process, if any; ordered: whether one is on its way.
        notes, orders, mourned: all that the rules ever said, in order.
    """

    def __init__(self, hand: r.Hand | None = None, **keys: Any) -> None:
        self.hand = r.Hand("web", spec(**keys)) if hand is None else hand
        self.now = 100.0
        self.process: r.ProcessId | None = None
        self.ordered = False
        self.births = 0
        self.notes: list[r.Note] = []
        self.orders: list[r.Action] = []
        self.mourned: list[r.Mourn] = []

    @property
    def state(self) -> r.State:
        return self.hand.state

    @property
    def events(self) -> list[str]:
        """The events told so far."""
        return [note.event for note in self.notes]

    def feed(self, event: r.Event, after_s: float = 0.0) -> tuple[r.Action, ...]:
        """Let something happen; return the orders, which are carried out as far as they can be."""
        self.now += after_s
        self.hand, actions = policy.step(self.hand, event, self.now)
        orders = []
        for action in actions:
            if isinstance(action, r.Note):
                sufficient(action)
                self.notes.append(action)
            elif isinstance(action, r.Mourn):
                self.mourned.append(action)
            else:
                orders.append(action)
            if isinstance(action, r.Spawn):
                assert self.process is None, "a second process was ordered"
                assert not self.ordered, "a second process was ordered before the first came"
                assert self.hand.wanted is r.Wanted.UP, "a hand wanted down was spawned"
                self.ordered = True
        self.orders += orders
        return tuple(orders)

    def time_comes(self) -> tuple[r.Action, ...]:
        """Let the tyme come that the hand waits for."""
        self.now = max(self.now, self.hand.wake_at)
        return self.feed(r.TimeCame())

    def spawned(self, after_s: float = 0.0) -> tuple[r.Action, ...]:
        self.births += 1
        self.process, self.ordered = process(self.births), False
        return self.feed(r.Spawned(self.process), after_s)

    def refused(self) -> tuple[r.Action, ...]:
        self.ordered = False
        return self.feed(r.Refused("chdir", "no such directory: /srv", 2, "/srv"))

    def exited(self, end: r.End = CRASH, after_s: float = 0.0, note: str = "") -> None:
        self.process = None
        self.feed(r.Exited(end, note), after_s)

    def begin(self) -> None:
        """Want it up and let it have its process."""
        self.feed(r.StartAsked("ann"))
        self.feed(r.Cleared())
        self.spawned()

    def up(self) -> None:
        """Bring it up, however it becomes so."""
        self.begin()
        by = self.hand.spec.ready.by
        if by in {"register", "memo"}:
            self.feed(r.Registered(), 0.1)
        if by in {"memo", "notify", "connect"}:
            self.feed(r.SaidReady(by), 0.1)

    def again(self) -> None:
        """Wait out a pause and let it have another process."""
        if self.state is r.State.BACKOFF:
            self.time_comes()
        self.feed(r.Cleared())
        self.spawned()


def crashes(life: Life, times: int) -> None:
    """Let a hand die as soon as it is there, again and again."""
    life.begin()
    for left in range(times - 1, -1, -1):
        life.exited()
        if left:
            life.again()


def in_state(state: r.State) -> Life:  # noqa: C901 - one way for each state
    """Return a life that has come into a state the usual way."""
    life = Life()
    match state:
        case r.State.WAITING:
            life.feed(r.StartAsked("ann"))
        case r.State.STARTING:
            life.feed(r.StartAsked("ann"))
            life.feed(r.Cleared())
        case r.State.REGISTERING:
            life.begin()
        case r.State.RUNNING:
            life = Life(command=["sleep", "9"])
            life.up()
        case r.State.READY:
            life.up()
        case r.State.DEGRADED:
            life.up()
            life.feed(r.Judged(ok=False, verdict="stuck", why="no beat"))
        case r.State.STOPPING:
            life.up()
            life.feed(r.StopAsked("ann"))
        case r.State.BACKOFF:
            crashes(life, 1)
        case r.State.FAILED:
            life = Life(restart={"limit": 0})
            crashes(life, 1)
        case r.State.DONE:
            life = Life(restart={"policy": "on-failure"})
            life.up()
            life.exited(CLEAN)
    assert life.state is state
    return life
