"""Membership: who is in the crew, and how a changed definition reaches its hands.

Decides nothing about order or least harm: ``rules.roster`` and ``rules.specs`` do. Leaves starting
and stopping to the boss. Invariant: a definition is on record before a hand of it is started, and a
hand leaves only when its process has ended.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from hiod.errors import ConfigError
from hiod.rules import policy, roster, specs
from hiod.rules import records as r

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hiod.boss.overseer import Overseer


class Membership:
    """The wanted crew of one boss, as it is changed.

    Attributes:
        members: definitions by name.
    """

    def __init__(self, boss: Overseer) -> None:
        self.members: dict[str, roster.Member] = {}
        self._boss = boss

    def enlist(self, member: roster.Member, *, by: str, first: bool = False) -> tuple[str, ...]:
        """Take a definition into the crew, or change it.

        Args:
            member: the definition.
            by: whose wish it is.
            first: no process of the crew is there yet: nothing has to wait for a next start.

        Returns:
            The hands that are new, or were leaving and are to stay.
        """
        boss, spec = self._boss, member.spec
        had = self.members.get(spec.name)
        there = roster.hands_of(boss.roll, spec.name)
        wanted = roster.first_wanted(boss.roll, spec)
        self.members[spec.name] = member
        boss.ledger.put_member(member)
        counted = {name for name, _ in specs.instances(spec)}
        back = [hand.name for hand in there if hand.leaving and hand.name in counted]
        for name in back:
            self._call_back(name, wanted, by=by)
        new = roster.missing(boss.roll, member, wanted)
        for hand in new:
            self._take_in(hand, by=by)
        boss.switchboard.membership_changed()
        boss.order_soon()
        gone = roster.surplus(boss.roll, spec.name) if there else ()
        if gone:
            self._release(gone, by=by)
        for hand in there:
            if hand.name in counted:
                old = hand.spec if had is None else had.spec
                self._revise(boss.hands[hand.name], old, spec, by=by, first=first)
        return (*back, *(hand.name for hand in new))

    def _take_in(self, hand: r.Hand, *, by: str) -> None:
        """Let a new hand be one of the crew."""
        boss = self._boss
        at = time.time()
        boss.put(replace(hand, wanted_by=by, wanted_at=at, since=boss.now()))
        boss.station(hand.name)
        boss.note("hand.added", hand.name, by=by)
        if hand.wanted is r.Wanted.UP:
            boss.feed(hand.name, r.StartAsked(by, at))

    def _call_back(self, name: str, wanted: r.Wanted, *, by: str) -> None:
        """Let a hand that is leaving the crew stay; it ends all the same if that is under way."""
        boss, at = self._boss, time.time()
        boss.put(policy.stays(boss.hands[name], wanted, by=by, at_wall=at))
        if wanted is r.Wanted.UP:
            boss.feed(name, r.StartAsked(by, at))
        else:
            boss.stop([name], r.StopAsked(by, at))

    def succeed(self, left: Mapping[str, str]) -> None:
        """Make the hands whose names were not free until now.

        Args:
            left: who has left the crew, and by whose wish.
        """
        found = [roster.successor(self._boss.roll, name) for name in left]
        for hand in found:
            if hand is not None:
                self._take_in(hand, by=left[hand.name])
        if any(found):
            self._boss.switchboard.membership_changed()
            self.line_up()

    def check(self, wanted: Sequence[specs.HandSpec]) -> None:
        """Look whether what the files say, good in itself, goes with what was added at runtime.

        Raises:
            ConfigError: it does not.
        """
        problems = roster.clashes(self.members, wanted)
        if problems:
            raise ConfigError([one.asdict() for one in problems])

    def dismiss(self, name: str, *, by: str) -> None:
        """Take a definition out of the crew; its hands leave when they have ended."""
        self.members.pop(name, None)
        self._boss.ledger.drop_member(name)
        self._release([hand.name for hand in roster.hands_of(self._boss.roll, name)], by=by)

    def _release(self, names: Sequence[str], *, by: str) -> None:
        """Let hands leave the crew: they are stopped, in order, and then forgotten."""
        boss = self._boss
        for name in names:
            boss.put(policy.leaves(boss.hands[name]))
        boss.switchboard.membership_changed()
        boss.ledger.want_durable()
        boss.stop(names, r.StopAsked(by, time.time(), leaving=True))

    def apply(
        self, wanted: Sequence[specs.HandSpec], *, by: str, first: bool = False
    ) -> tuple[roster.Change, ...]:
        """Make the crew what the files say, with the least harm."""
        changes = roster.plan(self._boss.roll, wanted)
        for change in changes:
            if change.member is None:
                self.dismiss(change.name, by=by)
            else:
                self.enlist(change.member, by=by, first=first)
        self.line_up()
        return changes

    def line_up(self) -> None:
        """Put the crew in the order in which people look for it in a list."""
        boss = self._boss
        boss.hands = {name: boss.hands[name] for name in roster.lined_up(boss.roll)}

    def _revise(
        self, hand: r.Hand, old: specs.HandSpec, new: specs.HandSpec, *, by: str, first: bool
    ) -> None:
        """Carry a changed definition to a hand, each key when it can be applied."""
        # By what it runs by: an earlier change may still wait for its next start.
        ways = {key: way for key, way in specs.diff(hand.spec, new).items() if key != "count"}
        restart = not first and "restart" in ways.values()
        wait = not first and not set(ways.values()) <= {"live"}
        now_spec = roster.blend(hand.spec, new, ways) if wait else new
        event = r.Revised(now_spec, new if wait else None, restart=restart, by=by)
        self._boss.feed(hand.name, event)
        changed = sorted(key for key in specs.diff(old, new) if key != "count")
        if changed:
            self._boss.note("hand.revised", hand.name, by=by, keys=", ".join(changed))
