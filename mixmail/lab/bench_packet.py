"""What a packet costs, as ratios: they mean the same on every machine.

The floor of an unwrap is what no design with these primitives can go below: one X25519, one
ML-KEM-768 decapsulation and one ChaCha20 pass over the body.
"""

from __future__ import annotations

import dataclasses
import timeit
from collections.abc import Callable

from mixmail.agent.queries import Queries, Task
from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import key_field
from mixmail.crypto import kem, stream, x25519
from mixmail.params import GEOMETRY
from mixmail.randomness import SystemRandomness
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.unwrap import open_header

from .bench_lab import PARAMETERS
from .network import LabNetwork

_CALLS = 10  # timed together: few, so that some samples meet an undisturbed moment of the machine
_SAMPLES = 30  # of each operation a round, in turn: a slow moment hits all of them
_HOPS = 4  # three mixes and a courier
_NODES = 12


def measure(rounds: int = 5, samples: int = _SAMPLES) -> dict[str, float]:
    """The minimum over `rounds` of each time, as ratios: unwrap_over_floor, create_over_unwrap and
    query_over_unwrap, and the times themselves (floor_us, unwrap_us, create_us, query_us).

    The unwrapping node has one live epoch key.  Create is a packet for three mixes and a courier; a
    query is all that an agent does for one: route, reply block, sealed blob, packet.
    """
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
        "query": _query(),
    }
    low = dict.fromkeys(operations, float("inf"))
    for _ in range(rounds * samples):
        for name, call in operations.items():
            low[name] = min(low[name], timeit.timeit(call, number=_CALLS) / _CALLS * 1e6)
    return {
        "unwrap_over_floor": low["unwrap"] / low["floor"],
        "create_over_unwrap": low["create"] / low["unwrap"],
        "query_over_unwrap": low["query"] / low["unwrap"],
        **{f"{name}_us": value for name, value in low.items()},
    }


def _query() -> Callable[[], object]:
    """What makes one READ: the agent's code on the view of a small network; `rto` is 0, so that the
    query before is forgotten by the next."""
    params = dataclasses.replace(PARAMETERS, rto=0.0)
    lab = LabNetwork(params, _NODES, seed=1, trace=False, senders=0)
    lab.start()
    node = lab.hosts[0].node
    assert node is not None  # just started
    queries = Queries(lab.network, node.node_id, node.view, SystemRandomness())
    task = Task(QueryOp.READ, 0, lambda _: key_field(bytes(32)), lambda answer, now: [], real=False)

    def query() -> None:
        queries.forget_expired(lab.now)
        queries.send(task, lab.now)

    return query
