"""A delay pool that knows when to be woken: nothing leaves it between two ticks, and no tick wakes an
empty one."""

from __future__ import annotations

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
        self.wake: float | None = None

    def __len__(self) -> int:
        return self._strategy.size

    def add(self, item: T, delay: float, now: float) -> None:
        """Keep `item` for `delay` seconds and on to the next tick; counted and dropped when full."""
        if not self._strategy.add(item, delay, now):
            self._stats.add(f"drop.{self._name}_full")
        self.wake = self._strategy.next_release(now)

    def due(self, now: float) -> bool:
        """Whether a tick has come at which something waits to leave."""
        return self.wake is not None and now >= self.wake

    def held(self, now: float) -> bool:
        """Whether this tick must hold back what is due, since too little is inside."""
        return self._strategy.held(now)

    def release(self, now: float) -> list[T]:
        """What leaves at this tick, in random order.  Call it only when `due`."""
        late = self._strategy.dropped_late
        items = self._strategy.release(now)
        if self._strategy.dropped_late > late:
            self._stats.add(f"drop.{self._name}_late", self._strategy.dropped_late - late)
        self.wake = self._strategy.next_release(now)
        return items
