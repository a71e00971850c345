"""The bound over everything that waits in all links together, in and out.  Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Holder(Protocol):
    """A link, or what waits for one."""

    held: int  # bytes; only `Memory.set` writes it

    @property
    def stranger(self) -> bool:
        """True if the peer does not stand in the directory."""
        ...

    def relieve(self) -> int:
        """Give up half of what is held, or all; returns how many messages for the peer are lost by it."""
        ...


class Memory:
    """Keeps the sum at or below `limit` bytes: strangers give up first, among them who holds most.

    `lost` is told how many messages were given up.
    """

    def __init__(self, limit: int, lost: Callable[[int], None]) -> None:
        self.total = 0
        self._limit = limit
        self._tight = limit // 4
        self._lost = lost
        self._holders: set[Holder] = set()

    @property
    def tight(self) -> bool:
        """True from a quarter of the limit on: links then read little at once, to stay below it."""
        return self.total > self._tight

    def set(self, holder: Holder, held: int) -> None:
        """`holder` holds so many bytes now.  It, or others, may be asked to give up some in this call."""
        more = held - holder.held
        self.total += more
        holder.held = held
        if held:
            self._holders.add(holder)
        else:
            self._holders.discard(holder)
        while more > 0 and self.total > self._limit:
            greediest = max(self._holders, key=lambda one: (one.stranger, one.held))
            self._lost(greediest.relieve())
