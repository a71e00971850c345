"""Delay pools: where a mix keeps packets until they may go on (docs/protocol/mixing.md).

Rules:

- What leaves, leaves only when `release` is called at a tick, once a tick, in random order.
- `PoissonPool` and `Poisson`: a packet is due at the first tick at or after its arrival plus its delay.
  `PoissonPool` releases nothing at a tick at which it holds fewer than `params.pool_min` packets.
- `BinomialPool` (Mixminion's; for comparison in the lab) looks at no delay: once a slot it flips one coin
  for each packet.
- Of a pool of `capacity` packets each link may hold as many as are still free (the dynamic threshold of
  Choudhury and Hahne, IEEE/ACM Trans. Networking 6(2), 1998): one greedy link gets half of the pool and
  leaves the other half to everybody else, two get a third each.  So the greediest is refused first.
- A packet that is `params.held_packet_limit` seconds over its time (a long hold, a suspended machine) is
  dropped at the next tick.

The pools by due tick are heaps: `add` costs O(log n), a release of k packets O(k log n).
"""

from __future__ import annotations

import heapq
from typing import Any, Generic, Protocol, TypeVar

from mixmail.mixing.ticks import first_tick_from, next_tick, tick_number, tick_time
from mixmail.params import NetworkParameters
from mixmail.randomness import Randomness

__all__ = ["STRATEGIES", "BinomialPool", "Poisson", "PoissonPool", "Strategy", "next_tick"]

T = TypeVar("T")


class Strategy(Protocol[T]):
    """What a mix needs of a pool; times in seconds, `now` in unix seconds."""

    dropped_late: int

    @property
    def size(self) -> int:
        """How many packets are inside."""
        ...

    def add(self, item: T, delay_s: float, now: float, source: bytes = b"") -> bool:
        """Keep `item`, which came over the link `source`, for at least `delay_s`.

        False when the item is refused: the pool has no more room for this link.
        """
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

    def clear(self) -> int:
        """Forget every packet; how many that were."""
        ...


class _Pool:
    """The bound and the count of what each link holds."""

    def __init__(self, params: NetworkParameters, rng: Randomness, capacity: int) -> None:
        self._params = params
        self._rng = rng
        self._capacity = capacity
        self._of_source: dict[bytes, int] = {}
        self._served: int | None = None  # the last tick that was released
        self.size = 0
        self.dropped_late = 0

    def _enter(self, source: bytes) -> bool:
        mine = self._of_source.get(source, 0)
        if mine >= self._capacity - self.size:
            return False
        self._of_source[source] = mine + 1
        self.size += 1
        return True

    def _leave(self, source: bytes) -> None:
        self.size -= 1
        left = self._of_source[source] - 1
        if left:
            self._of_source[source] = left
        else:
            del self._of_source[source]

    def _forget_all(self) -> int:
        count, self.size = self.size, 0
        self._of_source.clear()
        return count

    def _first_at(self, tick: int) -> bool:
        """True the first time that this tick is asked for."""
        if self._served is not None and tick <= self._served:
            return False
        self._served = tick
        return True


class _TickPool(_Pool, Generic[T]):
    """A heap of (due tick, serial, item, link); `minimum` packets must be inside for anything to leave."""

    def __init__(self, params: NetworkParameters, rng: Randomness, capacity: int, minimum: int) -> None:
        super().__init__(params, rng, capacity)
        self._minimum = minimum
        self._heap: list[tuple[int, int, T, bytes]] = []
        self._serial = 0  # keeps the heap from ever comparing two items
        self._late_ticks = first_tick_from(params, params.held_packet_limit)

    def add(self, item: T, delay_s: float, now: float, source: bytes = b"") -> bool:
        if not self._enter(source):
            return False
        self._serial += 1
        due = first_tick_from(self._params, now + delay_s)
        heapq.heappush(self._heap, (due, self._serial, item, source))
        return True

    def clear(self) -> int:
        self._heap.clear()
        return self._forget_all()

    def held(self, now: float) -> bool:
        tick = tick_number(self._params, now)
        return bool(self._heap) and self._heap[0][0] <= tick and self.size < self._minimum

    def release(self, now: float) -> list[T]:
        tick = tick_number(self._params, now)
        if not self._first_at(tick):
            return []
        heap = self._heap
        while heap and heap[0][0] + self._late_ticks < tick:
            self._leave(heapq.heappop(heap)[3])
            self.dropped_late += 1
        due: list[T] = []
        if self.size >= self._minimum:
            while heap and heap[0][0] <= tick:
                _, _, item, source = heapq.heappop(heap)
                self._leave(source)
                due.append(item)
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
    """The default: the sender's delays, released on ticks, nothing while fewer than pool_min are inside.

    At a held tick (`held`) the mix adds loops of its own, which count for the minimum.
    """

    def __init__(self, params: NetworkParameters, rng: Randomness, capacity: int) -> None:
        super().__init__(params, rng, capacity, params.pool_min)

    def ignore_minimum(self) -> None:
        """From now on release what is due however little is inside: nothing more will come in."""
        self._minimum = 0


class Poisson(_TickPool[T]):
    """The same without a minimum: Loopix' mix (Piotrowska et al., USENIX Security 2017) on ticks."""

    def __init__(self, params: NetworkParameters, rng: Randomness, capacity: int) -> None:
        super().__init__(params, rng, capacity, 0)


class BinomialPool(_Pool, Generic[T]):
    """Mixminion's batching (Danezis, Dingledine, Mathewson, IEEE S&P 2003; Diaz, Serjantov, PET 2003).

    Once a slot each of the n packets inside leaves with probability min(f, 1 - pool_min / n), so that about
    pool_min stay.  f = 1 / (mean_delay / slot + 1/2) gives a busy mix the mean delay of the other
    strategies: half a slot until the first coin, and a slot for each coin that falls wrong.
    """

    def __init__(self, params: NetworkParameters, rng: Randomness, capacity: int) -> None:
        super().__init__(params, rng, capacity)
        self._share = 1 / (params.mean_delay / params.slot + 0.5)
        self._period = first_tick_from(params, params.slot)  # in ticks
        self._items: list[tuple[T, bytes, int]] = []

    def add(self, item: T, delay_s: float, now: float, source: bytes = b"") -> bool:
        if not self._enter(source):
            return False
        self._items.append((item, source, tick_number(self._params, now)))
        return True

    def clear(self) -> int:
        self._items.clear()
        return self._forget_all()

    def held(self, now: float) -> bool:
        tick = tick_number(self._params, now)
        return tick % self._period == 0 and 0 < self.size <= self._params.pool_min

    def release(self, now: float) -> list[T]:
        tick = tick_number(self._params, now)
        if tick % self._period or not self._first_at(tick):
            return []
        late = tick - first_tick_from(self._params, self._params.delay_max + self._params.held_packet_limit)
        chance = min(self._share, 1 - self._params.pool_min / self.size) if self.size else 0.0
        kept: list[tuple[T, bytes, int]] = []
        leaving: list[T] = []
        for entry in self._items:
            item, source, came = entry
            if came < late:
                self.dropped_late += 1
            elif self._rng.uniform() < chance:
                leaving.append(item)
            else:
                kept.append(entry)
                continue
            self._leave(source)
        self._items = kept
        self._rng.shuffle(leaving)
        return leaving

    def next_release(self, now: float) -> float | None:
        if not self._items:
            return None
        tick = tick_number(self._params, now)
        if self._served is not None and self._served >= tick:
            tick = self._served + 1
        return tick_time(self._params, -(-tick // self._period) * self._period)


# By the names that docs/protocol/mixing.md and the lab give them.
STRATEGIES: dict[str, type[PoissonPool[Any]] | type[Poisson[Any]] | type[BinomialPool[Any]]] = {
    "poisson_pool": PoissonPool,
    "poisson": Poisson,
    "binomial_pool": BinomialPool,
}
