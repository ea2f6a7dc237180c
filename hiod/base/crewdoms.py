"""The records a boss and its crew exchange, and what either is told when it starts.

Decides the fields, their order and their defaults, because the order is the order on the wire.
Leaves to ``crewing`` what may be said when, and to ``multidoing`` the sockets it is said over.
Invariant: ``ACK`` and ``BOK`` are exactly hio 0.7.20's; the tags hiod adds are not in
``TagDomCodex``, which stays hio's four.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hiod.help.doming import IceMapDom, RawDom

RDY = "RDY"
"""Hand to boss: this hand calls itself ready."""
HBT = "HBT"
"""Hand to boss: this hand's loop turns; how well, and what the hand says of itself."""
HEY = "HEY"
"""Boss to hand: a new boss is here, say everything again."""
ASK = "ASK"
"""Hand to hand: a question that awaits an ANS."""
ANS = "ANS"
"""Hand to hand: the answer to an ASK."""


class Bossage(NamedTuple):
    """How a hand reaches its boss.

    Attributes:
        name: the boss's name, as its memos give it.
        path: the path its socket is bound to.
    """

    name: str | None = None
    path: str | None = None


class Loadage(NamedTuple):
    """What a Bosser starts a hand with: the keyword arguments of ``Bosser.start``."""

    name: str = "crew"
    tyme: float = 0.0
    tock: float | None = None
    real: bool = True
    limit: float | None = None
    doers: Any = None
    temp: bool | None = None
    boss: Bossage | None = None


@dataclass
class HandDom(RawDom):
    """What a Bosser keeps of one hand.

    Attributes:
        proc: the hand's process, or None.
        exiting: True once it was told to end; it may still be alive.
    """

    proc: Any = None
    exiting: bool = False


@dataclass
class CrewDom(RawDom):
    """A hand's definition, for a file or a database.

    Attributes:
        name: the hand, and its Doist's resources.
        tyme: first tyme of its Doist, seconds.
        tock: tyme between cycles, seconds; None is the Doist's default.
        real: True keeps pace with the clock.
        limit: seconds of tyme after which it ends; None runs for ever.
        doers: its Doers, a Crewer first.
        temp: True puts its files in temporary places.
        boss: name and path of its boss; filled in when the hand is started.
    """

    name: str = "child"
    tyme: float = 0.0
    tock: float | None = None
    real: bool = True
    limit: float | None = None
    doers: list[Any] = field(default_factory=list)
    temp: bool | None = False
    boss: Bossage | None = Bossage()  # noqa: RUF009 - immutable


@dataclass
class MemoDom(RawDom):
    """A structured memo.

    Attributes:
        tag: what kind of memo it is.
        name: who says it.
        load: what it says.
    """

    tag: str = "REG"
    name: str = "hand"
    load: dict[str, Any] = field(default_factory=dict)


@dataclass
class RegDom(RawDom):
    """A hand's registration with its boss.

    Attributes:
        tag: ``REG``.
        name: the hand.
        load: ``{}`` from hio's hands; hiod's put ``v``, ``gen``, ``seq`` and ``token`` here.
    """

    tag: str = "REG"
    name: str = "hand"
    load: dict[str, Any] = field(default_factory=dict)


@dataclass
class AddrDom(RawDom):
    """Which memo an ACK answers.

    Attributes:
        tag: tag of the memo answered.
        name: who had said it.
        addr: path it came from.
    """

    tag: str = "REG"
    name: str = "hand"
    addr: str = ""


@dataclass
class AckDom(RawDom):
    """The boss's answer to a registration.

    Attributes:
        tag: ``ACK``.
        name: the boss.
        load: what it answers.
    """

    tag: str = "ACK"
    name: str = "boss"
    load: AddrDom = field(default_factory=AddrDom)


@dataclass
class EndDom(RawDom):
    """The boss asks a hand to end.

    Attributes:
        tag: ``END``.
        name: the boss.
        load: ``{}`` from hio's bosses; hiod's put ``v``, ``gen`` and ``seq`` here.
    """

    tag: str = "END"
    name: str = "boss"
    load: dict[str, Any] = field(default_factory=dict)


@dataclass
class BokDom(RawDom):
    """The crew's address book.

    Attributes:
        tag: ``BOK``.
        name: the boss.
        load: path by name, for every hand of the crew, the boss not.
    """

    tag: str = "BOK"
    name: str = "boss"
    load: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TagDomCodex(IceMapDom):
    """hio's four control tags and the record each is read into."""

    REG: type[RegDom] = RegDom
    ACK: type[AckDom] = AckDom
    END: type[EndDom] = EndDom
    BOK: type[BokDom] = BokDom


TagDex = TagDomCodex()


@dataclass(frozen=True)
class Posting:
    """What a hand of the daemon is told at birth.

    Attributes:
        name: this hand.
        hand: its base name; the same unless the hand is counted (``feed-2`` is of ``feed``).
        ordinal: its number among a counted hand's, or None.
        generation: which incarnation of the name this is, from 1.
        token: marks the incarnation; no secret.
        addr: path its mailbox is bound to.
        fd: the mailbox, bound and inherited; None binds ``addr`` anew.
        boss: the boss's name and path.
        bossPid: the process whose control counts, until a HEY names another.
        beat_s: seconds between heartbeats; 0 sends none.
        place: its number among the hands of its boss, which says when it beats.
        readyBy: what makes the hand ready (``register``, ``memo``, ...).
    """

    name: str
    hand: str
    boss: Bossage
    bossPid: int | None
    addr: str
    fd: int | None = None
    ordinal: int | None = None
    generation: int = 1
    token: str = ""
    beat_s: float = 5.0
    place: int = 0
    readyBy: str = "register"
