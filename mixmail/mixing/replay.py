"""The replay filter: a mix forwards a packet once, a proxy opens a blob once.

A tag lives as long as the key that produced it; with the key it is forgotten.  Keys live in memory
only and are renewed at every start, so the tags need not outlive the process.
"""

from __future__ import annotations

from mixmail.params import NetworkParameters


class ReplayFilter:
    """Sets of seen tags, one for each epoch key, each at most `params.replay_capacity` tags.

    A full set refuses new tags: to forget one would let its packet through a second time.  So that nobody
    fills it for everybody else until the key is over, each link may fill as much of it as is still free, as
    in the pools (`mixmail.mixing.pool`).
    """

    def __init__(self, params: NetworkParameters) -> None:
        self._capacity = params.replay_capacity
        self._seen: dict[int, set[bytes]] = {}
        self._of_source: dict[int, dict[bytes, int]] = {}

    def check_and_add(self, epoch: int, tag: bytes, source: bytes) -> bool:
        """True when `tag`, which the link `source` brought, is new under the key of `epoch` and now kept.

        False when it was seen before or the set is full for this link: the packet must be dropped in both
        cases.
        """
        seen = self._seen.get(epoch)
        if seen is None:
            seen = self._seen[epoch] = set()
            self._of_source[epoch] = {}
        shares = self._of_source[epoch]
        mine = shares.get(source, 0)
        if tag in seen or mine >= self._capacity - len(seen):
            return False
        seen.add(tag)
        shares[source] = mine + 1
        return True

    def full(self, epoch: int) -> bool:
        """True when every further packet under the key of `epoch` is refused, whoever brings it."""
        return self.count(epoch) >= self._capacity

    def count(self, epoch: int) -> int:
        """How many tags are remembered for the key of `epoch`."""
        return len(self._seen.get(epoch, ()))

    def forget(self, epoch: int) -> None:
        """Drop the tags of `epoch`: only together with its key."""
        self._seen.pop(epoch, None)
        self._of_source.pop(epoch, None)
