"""A delay pool that knows when to be woken: nothing leaves it between two ticks, and no tick wakes an
empty one."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

from mixmail.mixing.pool import Strategy
from mixmail.node.stats import Stats

T = TypeVar("T")


class TickedPool(Generic[T]):
    """A mixing strategy with its next wake-up and its counters (`drop.<name>_full`, `drop.<name>_late`)."""

    def __init__(self, name: str, strategy: Strategy[T], stats: Stats) -> None:
        self._name = name
        self._strategy = strategy
        self._stats = stats
        self.wake = math.inf  # the next tick at which something may leave

    def __len__(self) -> int:
        return self._strategy.size

    def add(self, item: T, delay: float, now: float, source: bytes = b"") -> None:
        """Keep `item` of the link `source` for `delay` seconds and on to the next tick; counted and dropped
        when there is no more room for that link."""
        if not self._strategy.add(item, delay, now, source):
            self._stats.add(f"drop.{self._name}_full")
        self._set_wake(now)

    def due(self, now: float) -> bool:
        """Whether a tick has come at which something waits to leave."""
        return now >= self.wake

    def held(self, now: float) -> bool:
        """Whether this tick must hold back what is due, since too little is inside."""
        return self._strategy.held(now)

    def release(self, now: float) -> list[T]:
        """What leaves at this tick, in random order.  Call it only when `due`."""
        late = self._strategy.dropped_late
        items = self._strategy.release(now)
        if self._strategy.dropped_late > late:
            self._stats.add(f"drop.{self._name}_late", self._strategy.dropped_late - late)
        self._set_wake(now)
        return items

    def wait_until(self, tick: float) -> None:
        """After a hold: what became due meanwhile leaves at this tick, the next one, and not at once."""
        self.wake = max(self.wake, tick)

    def clear(self) -> int:
        """Drop everything; how many that were."""
        self.wake = math.inf
        return self._strategy.clear()

    def _set_wake(self, now: float) -> None:
        moment = self._strategy.next_release(now)
        self.wake = math.inf if moment is None else moment
