"""Randomness as an argument.

Every draw in the core goes through one `Randomness`.  The shipped one takes its bytes from the
operating system; `mixmail.testing.SeededRandomness` replays.
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableSequence, Sequence
from typing import TypeVar

T = TypeVar("T")


class Randomness:
    """Uniform bytes and what is derived from them.  Subclasses give `bytes`."""

    def bytes(self, count: int) -> bytes:
        """`count` uniform bytes."""
        raise NotImplementedError

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound), by rejection, so without bias."""
        if bound <= 0:
            raise ValueError("bound must be positive")
        length = (bound.bit_length() + 7) // 8
        limit = (256**length // bound) * bound
        while True:
            value = int.from_bytes(self.bytes(length), "little")
            if value < limit:
                return value % bound

    def uniform(self) -> float:
        """A uniform float in [0, 1) with 53 bits."""
        return (int.from_bytes(self.bytes(7), "little") >> 3) / (1 << 53)

    def exponential(self, mean: float) -> float:
        """An exponential variate with this mean."""
        return -mean * math.log(1.0 - self.uniform())

    def geometric(self, mean: float) -> int:
        """0, 1, 2, ... with P(k) = (1-p)^k p and the given mean (1-p)/p."""
        return math.floor(math.log(1.0 - self.uniform()) / math.log(mean / (1.0 + mean)))

    def choice(self, items: Sequence[T]) -> T:
        """One item, each equally likely."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different positions of `items`, in random order."""
        pool = list(items)
        self.shuffle(pool)
        return pool[:count]

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Fisher-Yates, in place."""
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]


class SystemRandomness(Randomness):
    """The operating system's CSPRNG."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)
