"""A real view of many nodes, cheaply made: real signatures, a puzzle of 8 KiB, X-Wing keys shared by all."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from mixmail.crypto import ed25519, hashing, kem
from mixmail.directory import descriptor, puzzle
from mixmail.directory.view import Checks, View
from mixmail.params import DAY, GEOMETRY, Network, NetworkParameters, day_of

START_DAY = 20_000
NOON = START_DAY * DAY + DAY / 2
_ATTEMPTS = 4_096


class World:
    """`users` nodes and the view that all of them have; `numbers` maps node id -> 0 .. users - 1."""

    def __init__(self, users: int, params: NetworkParameters, seed: int) -> None:
        cheap = dataclasses.replace(params, puzzle_memory=8_192, puzzle_passes=1, puzzle_bits=0)
        self.params = cheap
        self.network = Network(hashing.blake2b(b"anonymity %d" % seed), START_DAY - 10, cheap)
        self.seeds = [hashing.blake2b(b"node %d of %d" % (number, seed)) for number in range(users)]
        self.ids = [ed25519.public_of_seed(one) for one in self.seeds]
        self.numbers = {node_id: number for number, node_id in enumerate(self.ids)}
        keys = [kem.PrivateKey.from_seed(bytes([number]) * 32).public for number in range(6)]
        self._mix, self._proxy = keys[: GEOMETRY.published_epochs], keys[GEOMETRY.published_epochs :]
        self.view = View(self.network, Checks())
        self._publish(NOON)

    def _publish(self, now: float) -> None:
        """Every node's descriptor of the day of `now` comes into the view."""
        epoch = descriptor.epoch_of(self.params, now)
        for seed, node_id in zip(self.seeds, self.ids, strict=True):
            proof = puzzle.solve(self.network, node_id, day_of(now), 0, _ATTEMPTS)
            if proof is None:
                raise ValueError("a puzzle without bits has no solution")
            made = descriptor.build(
                seed,
                self.network,
                day=day_of(now),
                revision=0,
                epoch=epoch,
                mix_keys=self._mix,
                proxy_keys=self._proxy,
                endpoint="tcp:192.0.2.1:1",
                link_cert_hash=bytes(32),
                proof=proof,
            )
            self.view.add(made, now)

    def part(self, known: NDArray[np.bool_]) -> View:
        """The view of somebody who knows only these nodes (by number)."""
        view = View(self.network, self.view.checks)
        for item in self.view.all():
            if known[self.numbers[item.node_id]]:
                view.add(item, NOON)
        return view
