"""Membership: who is in the crew, and how a changed definition reaches its hands.

Decides nothing about order or least harm: ``rules.roster`` and ``rules.specs`` do. Leaves starting
and stopping to the boss. Invariant: a definition is on record before a hand of it is started, and a
hand leaves only when its process has ended.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from hiod.rules import policy, roster, specs
from hiod.rules import records as r

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hiod.boss.overseer import Overseer


class Membership:
    """The wanted crew of one boss, as it is changed.

    Attributes:
        members: definitions by name.
    """

    def __init__(self, boss: Overseer) -> None:
        self.members: dict[str, roster.Member] = {}
        self._boss = boss

    def enlist(self, member: roster.Member, *, by: str) -> tuple[str, ...]:
        """Take a definition into the crew, or change it; return the hands that are new."""
        boss = self._boss
        self.members[member.spec.name] = member
        boss.ledger.put_member(member)
        for hand in roster.hands_of(boss.roll, member.spec.name):
            if hand.leaving and hand.name in dict(specs.instances(member.spec)):
                boss.feed(hand.name, r.StartAsked(by, time.time()))
        new = roster.missing(boss.roll, member)
        for hand in new:
            boss.put(replace(hand, wanted_by=by, wanted_at=time.time(), since=boss.now()))
            boss.station(hand.name)
            boss.note("hand.added", hand.name, by=by)
            if hand.wanted is r.Wanted.UP:
                boss.feed(hand.name, r.StartAsked(by, time.time()))
        boss.switchboard.membership_changed()
        boss.order_soon()
        return tuple(hand.name for hand in new)

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
                continue
            had = self.members.get(change.name)
            self.enlist(change.member, by=by)
            if had is not None:
                self.revise(had.spec, change.member.spec, by=by, first=first)
        self.line_up()
        return changes

    def line_up(self) -> None:
        """Put the crew in the order in which people look for it in a list."""
        boss = self._boss
        boss.hands = {name: boss.hands[name] for name in roster.lined_up(boss.roll)}

    def revise(
        self, old: specs.HandSpec, new: specs.HandSpec, *, by: str, first: bool = False
    ) -> None:
        """Carry a changed definition to its hands, each key when it can be applied."""
        boss = self._boss
        gone = roster.surplus(boss.roll, new.name)
        if gone:
            self._release(gone, by=by)
        changed = sorted(key for key in specs.diff(old, new) if key != "count")
        for hand in roster.hands_of(boss.roll, new.name):
            if hand.leaving:
                continue
            # By what it runs by: an earlier change may still wait for its next start.
            ways = {key: way for key, way in specs.diff(hand.spec, new).items() if key != "count"}
            restart = not first and "restart" in ways.values()
            wait = not first and not set(ways.values()) <= {"live"}
            now_spec = roster.blend(hand.spec, new, ways) if wait else new
            event = r.Revised(now_spec, new if wait else None, restart=restart, by=by)
            boss.feed(hand.name, event)
            if changed:
                boss.note("hand.revised", hand.name, by=by, keys=", ".join(changed))
