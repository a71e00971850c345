"""The search for a contact's victim: its densities fit the nodes that ship, and its figure can move."""

from __future__ import annotations

import dataclasses
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from mixmail.agent import queries
from mixmail.effects import Frame
from mixmail.lab.anonymity.contact import Setting, search
from mixmail.lab.anonymity.ways import Densities, Floats, densities, draw_ways
from mixmail.lab.network import LabNetwork
from mixmail.lab.standins import stand_in_crypto
from mixmail.node.events import SurbReply
from mixmail.node.wire import Kind
from mixmail.params import MAIL, NetworkParameters
from mixmail.testing import SeededRandomness

EXPONENTIAL = dataclasses.replace(
    MAIL, delay_law="exponential", puzzle_memory=8_192, puzzle_bits=1, stamp_memory=8_192
)
SPACINGS = dataclasses.replace(EXPONENTIAL, delay_law="spacings")
LAWS = pytest.mark.parametrize("params", [EXPONENTIAL, SPACINGS], ids=["exponential", "spacings"])
LINK = 0.0275  # mean latency of the lab's links


def distances(ways: Floats, known: Densities) -> tuple[float, float]:
    """Kolmogorov distances of `out` from its density, and from that given `whole`."""
    cells = np.clip((ways[:, 0] / known.cell).astype(int), 0, known.out.size - 1)
    rows = np.minimum((ways[:, 1] / known.tick).astype(int), len(known.given) - 1)
    ranks = np.cumsum(known.out, dtype=float)[cells] * known.cell
    given = (np.cumsum(known.given, axis=1, dtype=float) * known.cell)[rows, cells]
    even = np.arange(len(ways)) / len(ways)
    return float(abs(np.sort(ranks) - even).max()), float(abs(np.sort(given) - even).max())


def ways_on_the_virtual_network(params: NetworkParameters, seconds: float) -> Floats:
    """(out, whole) of the queries of 24 shipping nodes."""
    sent: dict[bytes, float] = {}
    surbs: dict[bytes, bytes] = {}
    asked: dict[bytes, float] = {}
    ways: dict[bytes, tuple[float, float]] = {}
    with stand_in_crypto(3):
        lab = LabNetwork(params, 24, 3, trace=False)
        lab.start()
        create, seal = queries.create_surb, queries.boxquery.seal_query
        last: list[bytes] = []

        def create_surb(hops: Any, surb_id: bytes, rng: Any) -> Any:
            last[:] = [surb_id]
            return create(hops, surb_id, rng)

        def seal_query(*arguments: Any) -> bytes:
            blob = seal(*arguments)
            sent[blob], surbs[last[0]] = lab.now, blob
            return blob

        def on_frame(host: int, peer: bytes, frame: Frame) -> None:
            if frame.kind == Kind.PROXY_QUERY:
                asked[frame.payload] = lab.now + 2 * LINK  # to the proxy, which asks at once

        def on_event(host: Any, event: Any) -> None:
            # The owner's node keeps an answer to the next tick, which is a whole one.
            if isinstance(event, SurbReply) and event.ident in surbs:
                blob = surbs[event.ident]
                came = lab.now - params.tick + LINK
                ways[blob] = asked[blob] - sent[blob], came - sent[blob]

        lab.observers.append(on_frame)
        lab.on_event.append(on_event)
        with (
            patch.object(queries, "create_surb", create_surb),
            patch.object(queries.boxquery, "seal_query", seal_query),
        ):
            lab.run(seconds)
            # Queries of the last minutes are not looked at: only those with short ways have ended.
            looked_at = [blob for blob, moment in sent.items() if moment < lab.now - 1_200]
            assert all(blob in ways for blob in looked_at)
    return np.array([ways[blob] for blob in looked_at])


@LAWS
def test_drawn_ways_have_the_densities_that_the_attacker_computes(params: NetworkParameters) -> None:
    out, given = distances(draw_ways(params, 10_000, SeededRandomness(1)), densities(params))
    assert max(out, given) < 0.0163  # 10,000 draws: 0.0163 once in a hundred times


@LAWS
def test_ways_through_shipping_nodes_have_the_densities_that_the_attacker_computes(
    params: NetworkParameters,
) -> None:
    ways = ways_on_the_virtual_network(params, 2_300.0)
    out, given = distances(ways, densities(params))
    print(len(ways), out, given)
    assert len(ways) > 800
    assert max(out, given) < 1.63 / len(ways) ** 0.5


def test_a_victim_is_found_far_sooner_with_a_poisson_schedule_than_with_slots_and_spacings() -> None:
    def median(setting: Setting, reads: int) -> float:
        return search(setting, users=100, victims=5, reads=reads, seed=1, bank=10_000).median

    at_random = median(Setting(EXPONENTIAL, schedule="poisson"), 5_000)
    in_slots = median(Setting(EXPONENTIAL), 5_000)
    spaced = median(Setting(SPACINGS), 6_000)
    print(at_random, in_slots, spaced)
    assert at_random < 150
    assert in_slots > 1.3 * at_random
    assert spaced > 5_000


def test_without_delays_a_victim_is_found_at_once() -> None:
    setting = Setting(dataclasses.replace(EXPONENTIAL, mean_delay=0.0))
    assert search(setting, users=100, victims=5, reads=500, seed=1, bank=10_000).median <= 5
