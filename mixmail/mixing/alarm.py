"""The blocking alarm: a mix that is cut off from honest packets stops mixing (docs/protocol/mixing.md).

In the n-1 attack (Serjantov, Dingledine, Syverson, "From a trickle to a flood", IH 2002) somebody who owns
the wires holds back all that goes to a mix but one packet, and sees it leave alone.  A mix notices by loops
of its own (Danezis, Sassaman, "Heartbeat traffic to counter (n-1) attacks", WPES 2003), which nobody who
watches links can tell from the packets it should mix (one hop of a loop can: docs/decisions.md).

Rules:

- disarmed until an own loop comes in, while the last loops got lost too often, and after a sleep;
- armed: when none came in for `alarm_slots` slots, the mix *holds*: nothing real leaves;
- holding ends with the next own loop, or after `alarm_give_up_slots` slots without one: then the user is
  told, what was held is dropped, and the alarm is disarmed.
"""

from __future__ import annotations

import math
from collections import deque

from mixmail.params import NetworkParameters


class BlockingAlarm:
    """When a mix holds.  Moments in unix seconds; `holds_from` and `gives_up_at` are inf while disarmed."""

    def __init__(self, params: NetworkParameters) -> None:
        self._params = params
        self._under_way: deque[tuple[bytes, float]] = deque()  # loops in the order of sending
        self._returned: deque[bool] = deque(maxlen=params.alarm_window)
        self._checked: float | None = None
        self._last: float | None = None  # the last own arrival; None while disarmed
        self.given_up = False  # since it gave up no own loop has come in

    @property
    def holds_from(self) -> float:
        """From when on the mix holds, unless a loop comes in before."""
        return self._after(self._params.alarm_slots)

    @property
    def gives_up_at(self) -> float:
        """When the mix tells its user and drops what it held, unless a loop comes in before."""
        return self._after(self._params.alarm_give_up_slots)

    def holds(self, now: float) -> bool:
        """Whether nothing real may leave now."""
        return now >= self.holds_from

    def sent(self, ident: bytes, now: float) -> None:
        """An own loop has left."""
        self._under_way.append((ident, now))

    def came_in(self, ident: bytes, now: float) -> None:
        """An own loop is back: resume and arm, unless too many before it got lost.

        All loops take equally long, so whatever left a slot before this one and is not back is lost: a
        network that loses many of them would stop for nothing (its user sees the loss in the status).
        Those that a hold answered do not count: else one attack would switch the alarm off for the next.
        """
        held = self.holds(now)
        sent = next((moment for known, moment in self._under_way if known == ident), None)
        if sent is not None:
            while self._under_way and self._under_way[0][1] < sent - self._params.slot:
                self._under_way.popleft()
                if not held:
                    self._returned.append(False)
            self._under_way.remove((ident, sent))
            self._returned.append(True)
        self.given_up = False
        self._last = now if self._returned.count(False) <= self._params.alarm_lost else None

    def check(self, now: float) -> bool:
        """Call at least as often as loops leave; True at the moment of giving up."""
        slept = self._checked is not None and now - self._checked > self._longest_pause
        self._checked = now
        if slept:  # loops came by while nobody listened
            self._disarm()
        if now < self.gives_up_at:
            return False
        self._disarm()
        self.given_up = True
        return True

    @property
    def _longest_pause(self) -> float:
        params = self._params
        return params.slot * (params.loop_slots * (1 + params.loop_jitter) + 1)

    def _after(self, slots: float) -> float:
        return math.inf if self._last is None else self._last + slots * self._params.slot

    def _disarm(self) -> None:
        self._last = None
        self._under_way.clear()
        self._returned.clear()
