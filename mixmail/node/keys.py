"""A node's keys: the lasting identity and the mix and proxy keys of each epoch.

Epoch keys live in memory only: made for the epochs e, e+1 and e+2, used from start - `epoch_early` to
end + `epoch_late` of their epoch, then deleted together with their replay tags.  The e of a descriptor is
the epoch of `clock_skew` ago, so that peers whose clocks are that late, and who still use the keys of the
epoch before, find them there (docs/protocol/directory.md, "Descriptor").  A restart makes new ones, so a
packet recorded before it can be opened by nobody, and replay tags need no disk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mixmail.crypto import ed25519, kem
from mixmail.params import GEOMETRY, NetworkParameters
from mixmail.randomness import Randomness

EPOCHS = GEOMETRY.published_epochs  # e, e+1 and e+2


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """What makes a node the same node after a restart.

    `seed`: ed25519, 32 bytes; `nonce` and `q`: the solved identity puzzle; `storage_id`: its result.
    """

    seed: bytes = field(repr=False)
    nonce: bytes
    q: int
    storage_id: bytes

    @property
    def node_id(self) -> bytes:
        """The ed25519 public key, 32 bytes."""
        return ed25519.public_of_seed(self.seed)


class EpochKeys:
    """The mix and proxy keys of the epochs from the oldest one still accepted to e+2.

    There are none before the first `rotate`; `next_rotation` says when the next one is due.
    """

    def __init__(self, params: NetworkParameters, rng: Randomness) -> None:
        self._params = params
        self._rng = rng
        self._mix: dict[int, kem.PrivateKey] = {}
        self._proxy: dict[int, kem.PrivateKey] = {}
        self._epoch = -1
        self._live_mix: list[tuple[int, kem.PrivateKey]] = []
        self._live_proxy: list[tuple[int, kem.PrivateKey]] = []
        self._live_until = -math.inf  # when another key begins or ends to be live
        self.next_rotation = math.inf

    @property
    def epoch(self) -> int:
        """The epoch of the first published key: that of `clock_skew` before the last rotation."""
        return self._epoch

    def rotate(self, now: float) -> tuple[bool, list[int]]:
        """Make the keys that are due and delete those that are over.

        Returns whether there are new ones (so a new descriptor is needed) and the deleted epochs.
        """
        present = int(now // self._params.epoch)
        self._epoch = int((now - self._params.clock_skew) // self._params.epoch)
        self._live_until = -math.inf
        fresh = False
        for epoch in range(self._epoch, self._epoch + EPOCHS):
            if epoch not in self._mix:
                self._mix[epoch] = kem.PrivateKey.from_seed(self._rng.bytes(32))
                self._proxy[epoch] = kem.PrivateKey.from_seed(self._rng.bytes(32))
                fresh = True
        gone = [epoch for epoch in self._mix if now >= self._last(epoch)]
        for epoch in gone:
            del self._mix[epoch], self._proxy[epoch]
        # Else the next packet would be the first to let a deleted key go, and that may be hours away.
        self._live_mix, self._live_proxy = [], []
        # At the turn there may be an identity puzzle to renew, after it there are new keys to publish.
        turn = float((present + 1) * self._params.epoch)
        publication = (self._epoch + 1) * self._params.epoch + self._params.clock_skew
        self.next_rotation = min(turn, publication, *(self._last(epoch) for epoch in self._mix))
        return fresh, gone

    def live_mix(self, now: float) -> list[tuple[int, kem.PrivateKey]]:
        """(epoch, key) of the keys that open packets now: the present epoch's first."""
        self._refresh(now)
        return self._live_mix

    def live_proxy(self, now: float) -> list[tuple[int, kem.PrivateKey]]:
        """(epoch, key) of the keys that open queries now: the present epoch's first."""
        self._refresh(now)
        return self._live_proxy

    def own_mix(self, now: float) -> kem.PublicKey:
        """The mix key of the present epoch: what a packet made now uses for this node."""
        return self._mix[int(now // self._params.epoch)].public

    def public_mix(self) -> tuple[kem.PublicKey, ...]:
        """What the descriptor says: the mix keys of `epoch` and the two after it."""
        return tuple(self._mix[epoch].public for epoch in self._named())

    def public_proxy(self) -> tuple[kem.PublicKey, ...]:
        """What the descriptor says: the proxy keys of the same epochs."""
        return tuple(self._proxy[epoch].public for epoch in self._named())

    def _named(self) -> range:
        return range(self._epoch, self._epoch + EPOCHS)

    def _last(self, epoch: int) -> float:
        return (epoch + 1) * self._params.epoch + self._params.epoch_late

    def _first(self, epoch: int) -> float:
        return epoch * self._params.epoch - self._params.epoch_early

    def _refresh(self, now: float) -> None:
        """The live keys are kept until they change: each packet asks for them, and time never goes back."""
        if now < self._live_until:
            return
        present = int(now // self._params.epoch)
        live = [epoch for epoch in self._mix if self._first(epoch) <= now < self._last(epoch)]
        # Nearly every packet is for the present epoch: trying its key first saves a decapsulation.
        live.sort(key=lambda epoch: (epoch != present, -epoch))
        self._live_mix = [(epoch, self._mix[epoch]) for epoch in live]
        self._live_proxy = [(epoch, self._proxy[epoch]) for epoch in live]
        turns = [float((present + 1) * self._params.epoch)]
        turns += [moment for epoch in self._mix for moment in (self._first(epoch), self._last(epoch))]
        self._live_until = min(moment for moment in turns if moment > now)
