"""Send slots: when a query leaves, and of which kind it is.

Rules (docs/protocol/store.md, "Slots"): time is cut into slots of `params.slot` seconds on one grid.
Exactly one query leaves in each slot, at a uniformly random moment of it.  The kind of a slot and
the stream that a POLL asks are drawn beforehand from fixed weights, never from what there is to do,
so that no observer and no contact can feel anything but the schedule.  Missed slots (suspend) are
dropped, never made up for in a burst.
"""

from __future__ import annotations

import enum
import math

from mixmail.params import NetworkParameters
from mixmail.randomness import Randomness


class SlotKind(enum.Enum):
    """What fills a slot."""

    WRITE = "write"
    FOLLOW = "follow"
    POLL = "poll"


class SendSchedule:
    """The moments and kinds of this agent's slots."""

    def __init__(self, params: NetworkParameters, rng: Randomness, now: float) -> None:
        self._params = params
        self._rng = rng
        self._slot = math.floor(now / params.slot)
        self.moment = 0.0
        self.kind = SlotKind.POLL
        self._draw()

    def _draw(self) -> None:
        self._slot += 1
        self.moment = (self._slot + self._rng.uniform()) * self._params.slot
        share = self._rng.below(self._params.slot_shares)
        if share < self._params.write_share:
            self.kind = SlotKind.WRITE
        elif share < self._params.write_share + self._params.follow_share:
            self.kind = SlotKind.FOLLOW
        else:
            self.kind = SlotKind.POLL

    def take(self, now: float) -> SlotKind | None:
        """The kind of the slot whose moment has come, or None; draws the next one."""
        if now < self.moment:
            return None
        kind = self.kind
        late = now >= (self._slot + 1) * self._params.slot
        if late:
            # The machine slept through the end of the slot: that slot is lost.
            self._slot = math.floor(now / self._params.slot)
            self._draw()
            return None
        self._draw()
        return kind
