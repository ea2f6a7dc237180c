"""`hiodctl events -f`: what happens, over restarts of the boss too.

Decides when a boss is taken to be gone and what is said of that.  Leaves how an event is shown to
its caller.  Invariant: no event is shown twice, and none is left out without a word.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from hiod.admin.client import NoAnswer, NoBoss
from hiod.ctl.arguments import selection
from hiod.errors import AdminError, HiodError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hiod.ctl.verbs import Ask

SILENCE_S = 40.0
"""A boss tells its followers every 15 s that it lives; one silent for so long is taken for gone."""
AGAIN_S = 0.25
"""How often a boss that is gone is looked for."""
_PASSING = frozenset({"Unavailable", "Busy"})
"""Refusals that end by themselves."""


def run(ask: Ask, seq: int, show: Callable[[dict[str, Any]], None]) -> None:
    """Show what happens after an event number, until interrupted or told that this was all."""
    away = False
    while True:
        try:
            asked = selection(ask.parsed) | {"since": seq}
            for answer in ask.client.call("subscribe", asked, more=True, silence_s=SILENCE_S):
                if away:
                    away = False
                    _say("a boss is there again")
                if answer.get("gap"):
                    _say(f"events after number {seq} are missing: they are not kept any more")
                for event in answer["events"]:
                    show(event)
                sys.stdout.flush()
                seq = int(answer["seq"])
        except HiodError as ex:
            if not ends_by_itself(ex):
                raise
        else:  # its last answer: there is no more to tell, ever
            return
        if not away:
            away = True
            _say(f"the boss at {ask.client.path} is gone; this goes on when one is there again")
        time.sleep(AGAIN_S)


def ends_by_itself(ex: HiodError) -> bool:
    """Whether a boss may be there, or have time, if asked again."""
    if isinstance(ex, AdminError):
        return ex.code in _PASSING
    return isinstance(ex, NoBoss | NoAnswer)


def _say(text: str) -> None:
    sys.stderr.write(f"hiodctl events: {text}\n")
    sys.stderr.flush()
