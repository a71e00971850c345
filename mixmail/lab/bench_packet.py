"""What a packet costs, as ratios: they mean the same on every machine.

The floor of an unwrap is what no design with these primitives can go below: one X25519, one
ML-KEM-768 decapsulation and one ChaCha20 pass over the body.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

from mixmail.crypto import kem, stream, x25519
from mixmail.params import GEOMETRY
from mixmail.randomness import SystemRandomness
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.unwrap import open_header

_CALLS = 20  # timed together, so that the clock's own cost is lost in them
_SAMPLES = 10  # of each operation a round, in turn: a slow moment of the machine hits all of them
_HOPS = 4  # three mixes and a courier


def measure(rounds: int = 5) -> dict[str, float]:
    """Minimum over `rounds` of each time; keys: floor_us, unwrap_us, create_us (microseconds) and
    unwrap_over_floor, create_over_unwrap (ratios).  The unwrapping node has one live epoch key."""
    rng = SystemRandomness()
    secrets = [kem.PrivateKey.from_seed(rng.bytes(32)) for _ in range(_HOPS)]
    path = [Hop(rng.bytes(32), secret.public, 0) for secret in secrets]
    payload = rng.bytes(GEOMETRY.payload)
    packet = create_packet(path, payload, rng)
    live = [secrets[0]]
    ct, body, key = packet[1 : 1 + GEOMETRY.kem_ct], packet[GEOMETRY.header :], rng.bytes(32)
    ct_m, ct_x = ct[: kem.MLKEM_CT], ct[kem.MLKEM_CT :]

    def floor() -> None:
        x25519.exchange(secrets[0].x25519_raw, ct_x)
        secrets[0].mlkem.decapsulate(ct_m)
        stream.chacha20_xor(key, body)

    operations: dict[str, Callable[[], object]] = {
        "floor": floor,
        "unwrap": lambda: open_header(live, packet).finish(),
        "create": lambda: create_packet(path, payload, rng),
    }
    low = dict.fromkeys(operations, float("inf"))
    for _ in range(rounds * _SAMPLES):
        for name, call in operations.items():
            low[name] = min(low[name], timeit.timeit(call, number=_CALLS) / _CALLS * 1e6)
    return {
        "floor_us": low["floor"],
        "unwrap_us": low["unwrap"],
        "create_us": low["create"],
        "unwrap_over_floor": low["unwrap"] / low["floor"],
        "create_over_unwrap": low["create"] / low["unwrap"],
    }
