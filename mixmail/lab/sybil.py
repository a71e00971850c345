"""How many homes of a key one attacker comes to hold: who has so much work and so many networks at hand.

Two cases, among `nodes` honest nodes that share no network with anybody:

- **known**: he knows the key long before it is used, and looks for node ids near it: each id costs the
  identity puzzle, 2^puzzle_bits attempts of `attempt_s` seconds of a core.  Of all he has solved he publishes
  the nearest, one in each of his networks.  Who knows an address knows the keys of its profiles of all
  weeks to come.  Storage ids are new every `puzzle_days`, for which he can work beforehand as well.
- **unknown**: the key is drawn when his nodes stand already, as that of a box is, or that of the inbox queue
  of the day: `per_network` nodes in each of his networks, wherever their ids fell.

Storage ids are drawn evenly, as Argon2id's results are; scores and ranking are those that ship.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
from collections.abc import Sequence
from statistics import fmean

from mixmail.boxes.placement import ranking, score
from mixmail.lab.report import Lab, Report, Say
from mixmail.params import DAY, ID_BYTES, MAIL, NetworkParameters
from mixmail.randomness import Randomness
from mixmail.testing import SeededRandomness

ATTEMPT_S = 0.08
"""Seconds of a core for one attempt at the puzzle (64 MiB, two passes): median 79 ms, n = 15."""

CHUNK = 4_096  # storage ids drawn at a time
BAR = 4  # homes of a key that the attacker may hold at most

Nodes = list[tuple[bytes, bytes, bytes]]
"""(storage id, node id, network), as `ranking` takes them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Attack:
    """What the attacker has: the ids he can pay, and his networks."""

    ids: int
    networks: int


def solved(params: NetworkParameters, core_days: float, attempt_s: float) -> int:
    """How many node ids so much work pays."""
    return int(core_days * DAY / (attempt_s * 2**params.puzzle_bits))


def honest(count: int, rng: Randomness) -> Nodes:
    """Nodes, each in a network of its own."""
    return [(rng.bytes(ID_BYTES), b"h" + rng.bytes(31), b"h%d" % number) for number in range(count)]


def nearest(key: bytes, counts: Sequence[int], best: int, rng: Randomness) -> dict[int, list[bytes]]:
    """The `best` nearest to `key` of the first n of a row of storage ids, for each n of `counts`."""
    heap: list[tuple[int, bytes]] = []  # of negated scores: the farthest of the nearest is on top
    found: dict[int, list[bytes]] = {}
    done, farthest = 0, b"\xff" * ID_BYTES
    for count in sorted(counts):
        while done < count:
            size = min(CHUNK, count - done)
            drawn = rng.bytes(ID_BYTES * size)
            done += size
            for at in range(0, len(drawn), ID_BYTES):
                storage_id = drawn[at : at + ID_BYTES]
                value = score(storage_id, key)
                if len(heap) == best and value >= farthest:
                    continue
                push = heapq.heappush if len(heap) < best else heapq.heappushpop
                push(heap, (-int.from_bytes(value, "big"), storage_id))
                if len(heap) == best:
                    farthest = (-heap[0][0]).to_bytes(ID_BYTES, "big")
        found[count] = [storage_id for _, storage_id in heap]
    return found


def held(key: bytes, others: Nodes, his: Nodes, replicas: int) -> int:
    """How many of the homes of `key` are his."""
    mine = {node_id for _, node_id, _ in his}
    return sum(node_id in mine for node_id in ranking(key, [*others, *his], replicas))


def placed(storage_ids: Sequence[bytes], networks: int) -> Nodes:
    """The attacker's nodes, dealt out to his networks."""
    return [
        (one, b"a" + number.to_bytes(31, "big"), b"a%d" % (number % networks))
        for number, one in enumerate(storage_ids)
    ]


def known_key(
    params: NetworkParameters, attack: Attack, nodes: int, halvings: int, rng: Randomness
) -> list[int]:
    """Homes held of one key that was ground for, with all ids, with half of them, a quarter …"""
    key, others = rng.bytes(ID_BYTES), honest(nodes, rng)
    counts = [attack.ids >> shift for shift in range(halvings + 1)]
    best = nearest(key, counts, attack.networks, rng)
    return [
        held(key, others, placed(best[count], attack.networks), params.replicas) if count else 0
        for count in counts
    ]


def unknown_key(
    params: NetworkParameters, networks: int, per_network: int, nodes: int, rng: Randomness
) -> int:
    """Homes held of one key that nobody knew when the nodes were set up."""
    key, others = rng.bytes(ID_BYTES), honest(nodes, rng)
    his = placed([rng.bytes(ID_BYTES) for _ in range(networks * per_network)], networks)
    return held(key, others, his, params.replicas)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=1_000, help="honest nodes, one a network (1000)")
    parser.add_argument("--core-days", type=float, default=1_000.0, help="the attacker's work (1000)")
    parser.add_argument("--networks", type=int, default=20, help="the attacker's networks (20)")
    parser.add_argument("--attempt-s", type=float, default=ATTEMPT_S, help=f"a core's, each ({ATTEMPT_S})")
    parser.add_argument("--keys", type=int, default=3, help="keys that are ground for (3)")
    parser.add_argument("--draws", type=int, default=200, help="keys that are not known (200)")


def _run(options: argparse.Namespace, say: Say) -> Report:
    params, rng = MAIL, SeededRandomness(options.seed)
    attack = Attack(solved(params, options.core_days, options.attempt_s), options.networks)
    say(f"{attack.ids} node ids in {options.core_days:g} core-days")
    halvings = max(1, attack.ids.bit_length() - 1)
    rows = []
    for number in range(options.keys):
        rows.append(known_key(params, attack, options.nodes, halvings, rng))
        say(f"key {number + 1}: {rows[-1][0]} of {params.replicas} homes")
    means = [fmean(row[shift] for row in rows) for shift in range(halvings + 1)]
    enough = next((shift for shift, mean in enumerate(means) if mean <= BAR), halvings + 1)
    figures: dict[str, float] = {
        "ids": attack.ids,
        "known_held_mean": means[0],
        "known_held_max": max(row[0] for row in rows),
        "puzzle_bits": params.puzzle_bits,
        "puzzle_bits_for_bar": params.puzzle_bits + enough,
    }
    for per_network in (1, 10, 100):
        draws = [
            unknown_key(params, options.networks, per_network, options.nodes, rng)
            for _ in range(options.draws)
        ]
        figures[f"unknown_held_mean_{per_network}"] = fmean(draws)
        figures[f"unknown_held_max_{per_network}"] = max(draws)
    if options.plot:
        _plot(params, means, str(options.plot))
    return Report("sybil", options.keys, options.seed, figures)


def _plot(params: NetworkParameters, means: Sequence[float], file: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    bits = [params.puzzle_bits + shift for shift in range(len(means))]
    axes.plot(bits, means, marker="o")
    axes.axhline(BAR, linestyle="--")
    axes.set_xlabel("bits of the identity puzzle")
    axes.set_ylabel("homes held of a known key")
    figure.savefig(file)


LAB = Lab("sybil", "homes of a key that an attacker with work and networks comes to hold", _options, _run)
