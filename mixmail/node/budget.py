"""A bound on dear work that strangers can ask for, shared out by who asks.  Sans-IO; times in seconds."""

from __future__ import annotations

import math
from collections import OrderedDict


class FairBudget:
    """`rate` pieces of work a second on the average, of which no asker takes what others may need.

    All that was done, and the part of each asker, leak away with the time constant `memory`.  A piece is
    granted while what this asker has and what all have together stay within `capacity` = rate · memory.
    So
    - any t seconds have at most capacity + rate · t pieces, whoever asks;
    - n askers who want all they can get come to capacity / (n + 1) each, and as much stays free: whoever
      comes next gets his share of it at once.
    This is the dynamic threshold of shared buffers (Choudhury and Hahne, 1998) with a factor of one.
    At most `remembered` askers are kept, the last ones; one that is forgotten still counts in the whole.
    """

    def __init__(self, rate: float, memory: float, remembered: int) -> None:
        self.capacity = rate * memory
        self._memory = memory
        self._remembered = remembered
        self._all = (0.0, 0.0)  # (level, when)
        self._parts: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._parts)

    def take(self, asker: bytes, now: float) -> bool:
        """Take one piece for `asker`; False, and nothing is taken, if it has to wait."""
        whole = self._leaked(self._all, now)
        part = self._leaked(self._parts.get(asker, (0.0, now)), now)
        if whole + part + 1.0 > self.capacity:
            return False
        self._all = whole + 1.0, now
        self._parts[asker] = part + 1.0, now
        self._parts.move_to_end(asker)
        if len(self._parts) > self._remembered:
            self._parts.popitem(last=False)
        return True

    def _leaked(self, level: tuple[float, float], now: float) -> float:
        amount, when = level
        return amount * math.exp(-max(0.0, now - when) / self._memory)
