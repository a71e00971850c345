"""Delay pools: where a mix keeps packets until they may go on (docs/protocol/mixing.md).

Rules:

- A packet is due at the first tick at or after its arrival plus its delay.
- What is due leaves only when `release` is called at a tick, once a tick, in random order.
- `PoissonPool` releases nothing at a tick at which it holds fewer than `params.pool_min` packets.
- A full pool refuses the newest packet; a packet that is `params.held_packet_limit` seconds over its
  time (a long hold, a suspended machine) is dropped at the next tick.

The pool is a heap by due tick: `add` costs O(log n), a release of k packets O(k log n).
"""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar

from mixmail.mixing.ticks import first_tick_from, next_tick, tick_number, tick_time
from mixmail.params import NetworkParameters
from mixmail.randomness import Randomness

__all__ = ["Poisson", "PoissonPool", "Strategy", "next_tick"]

T = TypeVar("T")


class Strategy(Protocol[T]):
    """What a mix needs of a pool; times in seconds, `now` in unix seconds."""

    dropped_late: int

    @property
    def size(self) -> int:
        """How many packets are inside."""
        ...

    def add(self, item: T, delay_s: float, now: float) -> bool:
        """Keep `item` for at least `delay_s`; False when the pool is full and the item refused."""
        ...

    def held(self, now: float) -> bool:
        """True when a packet is due at the last tick but must wait since the pool is too small."""
        ...

    def release(self, now: float) -> list[T]:
        """The packets that leave at the last tick, in random order; empty when it was asked before."""
        ...

    def next_release(self, now: float) -> float | None:
        """The earliest tick (unix seconds) at which `release` could return something, None when empty."""
        ...


class _TickPool(Generic[T]):
    """A heap of (due tick, serial, item); `minimum` packets must be inside for anything to leave."""

    def __init__(self, params: NetworkParameters, rng: Randomness, minimum: int) -> None:
        self._params = params
        self._rng = rng
        self._minimum = minimum
        self._heap: list[tuple[int, int, T]] = []
        self._serial = 0  # keeps the heap from ever comparing two items
        self._served: int | None = None  # the last tick that was released
        self._late_ticks = first_tick_from(params, params.held_packet_limit)
        self.dropped_late = 0

    @property
    def size(self) -> int:
        return len(self._heap)

    def add(self, item: T, delay_s: float, now: float) -> bool:
        if len(self._heap) >= self._params.pool_capacity:
            return False
        self._serial += 1
        heapq.heappush(self._heap, (first_tick_from(self._params, now + delay_s), self._serial, item))
        return True

    def held(self, now: float) -> bool:
        tick = tick_number(self._params, now)
        return bool(self._heap) and self._heap[0][0] <= tick and len(self._heap) < self._minimum

    def release(self, now: float) -> list[T]:
        tick = tick_number(self._params, now)
        if self._served is not None and tick <= self._served:
            return []
        self._served = tick
        heap = self._heap
        while heap and heap[0][0] + self._late_ticks < tick:
            heapq.heappop(heap)
            self.dropped_late += 1
        due: list[T] = []
        if len(heap) >= self._minimum:
            while heap and heap[0][0] <= tick:
                due.append(heapq.heappop(heap)[2])
        self._rng.shuffle(due)
        return due

    def next_release(self, now: float) -> float | None:
        if not self._heap:
            return None
        tick = tick_number(self._params, now)
        if self._served is not None and self._served >= tick:
            tick = self._served + 1
        return tick_time(self._params, max(tick, self._heap[0][0]))


class PoissonPool(_TickPool[T]):
    """The default: exponential delays, released on ticks, nothing while fewer than pool_min are inside.

    At a held tick (`held`) the mix adds loops of its own, which count for the minimum.
    """

    def __init__(self, params: NetworkParameters, rng: Randomness) -> None:
        super().__init__(params, rng, params.pool_min)


class Poisson(_TickPool[T]):
    """The same without a minimum: Loopix' mix (Piotrowska et al., USENIX Security 2017) on ticks."""

    def __init__(self, params: NetworkParameters, rng: Randomness) -> None:
        super().__init__(params, rng, 0)
