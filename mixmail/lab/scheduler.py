"""A heap of timed calls: the lab's clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Scheduler:
    """Virtual time.  Calls due at one moment run in the order in which they were asked for."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Run `call` at virtual time `when` (at once if that is past)."""
        heapq.heappush(self._heap, (when if when > self.now else self.now, next(self._order), call))

    def run_until(self, end: float, stop: Callable[[], bool] | None = None) -> bool:
        """Run what is due up to `end`, or until `stop()` holds (asked after each call).

        Returns whether `stop` ended it.
        """
        while self._heap and self._heap[0][0] <= end:
            when, _, call = heapq.heappop(self._heap)
            self.now = when
            call()
            if stop is not None and stop():
                return True
        self.now = max(self.now, end)
        return False
