"""Cheap descriptors for the directory's tests: real signatures, a puzzle of 8 KiB, shared X-Wing keys."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from mixmail.crypto import ed25519, hashing, kem
from mixmail.directory import descriptor, puzzle
from mixmail.directory.descriptor import Descriptor
from mixmail.params import DAY, DEMO, Network, day_of

TODAY = 20_000
NOON = TODAY * DAY + DAY / 2

PARAMS = dataclasses.replace(DEMO, puzzle_bits=0, puzzle_memory=8192, puzzle_passes=1)
NETWORK = Network(bytes(range(32)), 19_990, PARAMS)


@functools.cache
def keys() -> tuple[kem.PublicKey, ...]:
    return tuple(kem.PrivateKey.from_seed(bytes([number]) * 32).public for number in range(6))


def seed(number: int) -> bytes:
    return hashing.blake2b(b"node %d" % number)


@functools.cache
def _proof(node_id: bytes, day: int, network: Network) -> puzzle.Proof:
    proof = puzzle.solve(network, node_id, day, 0, 4096)
    assert proof is not None
    return proof


def make(number: int, now: float = NOON, network: Network = NETWORK, **changes: Any) -> Descriptor:
    day = changes.pop("day", day_of(now))
    fields: dict[str, Any] = {
        "day": day,
        "revision": 0,
        "epoch": descriptor.epoch_of(network.parameters, now),
        "mix_keys": keys()[:3],
        "proxy_keys": keys()[3:],
        "endpoint": f"tcp:127.0.0.1:{4000 + number}",
        "link_cert_hash": hashing.blake2b(b"certificate %d" % number),
        "proof": None,
    }
    fields.update(changes)
    if fields["proof"] is None:
        fields["proof"] = _proof(ed25519.public_of_seed(seed(number)), day, network)
    return descriptor.build(seed(number), network, **fields)
