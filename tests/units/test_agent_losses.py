"""Which nodes lose packets, from own queries alone."""

from __future__ import annotations

import pytest

from mixmail.agent.losses import NodeLosses, fit
from mixmail.lab import losses as lab
from mixmail.params import NODE_LIMITS
from mixmail.testing import SeededRandomness

A, B, C, D = (bytes([number]) * 32 for number in range(4))


@pytest.mark.parametrize("case", ["one_20", "one_20_lossy_links", "one_dead", "two"])
def test_nodes_that_lose_packets_are_named_within_a_thousand_queries_and_honest_ones_never(case: str) -> None:
    result = lab.trial(case, 1_000, seed=1, look_every=250)
    assert result.found and result.honest_named == 0


def test_nobody_is_named_for_what_links_lose() -> None:
    assert lab.trial("none", 1_000, seed=3, look_every=250).honest_named == 0


def test_the_loss_is_estimated_with_its_range() -> None:
    rng = SeededRandomness("range")
    losses = NodeLosses()
    for _ in range(1_000):
        passed = tuple(rng.sample([A, B, C, D], 2))
        losses.add(not (A in passed and rng.uniform() < 0.2), passed)
    (named,) = losses.named()
    assert named.node_id == A and named.low < 0.2 < named.high
    assert named.low <= named.loss <= named.high and named.high - named.low < 0.15
    assert 400 < named.queries < 600


def test_a_node_that_got_well_is_forgiven_and_one_that_fell_ill_is_noticed() -> None:
    rng = SeededRandomness("decay")
    losses = NodeLosses()

    def live(queries: int, bad: bytes) -> set[bytes]:
        for _ in range(queries):
            passed = tuple(rng.sample([A, B, C, D], 2))
            losses.add(not (bad in passed and rng.uniform() < 0.3), passed)
        return {one.node_id for one in losses.named()}

    assert live(500, A) == {A}
    assert B in live(1_000, B)
    assert live(NODE_LIMITS.loss_queries, B) == {B}


def test_nobody_is_named_while_the_own_line_is_down() -> None:
    rng = SeededRandomness("down")
    losses = NodeLosses()
    for number in range(600):
        losses.add(number % 20 == 0, tuple(rng.sample([A, B, C, D], 2)))
    assert losses.named() == ()


def test_what_is_kept_is_bounded() -> None:
    losses = NodeLosses()
    for _ in range(3 * NODE_LIMITS.loss_queries):
        losses.add(True, (A, B))
    assert len(losses._queries) == NODE_LIMITS.loss_queries
    assert losses.named() == ()


def test_few_queries_name_nobody() -> None:
    losses = NodeLosses()
    for _ in range(25):
        losses.add(False, (A, B))
    assert losses.named() == ()


def test_a_node_whose_loss_is_held_at_nothing_is_not_blamed() -> None:
    losses = NodeLosses()
    for answered in (True, False, True, False):
        losses.add(answered, (A, B))
    queries = losses._weighted()
    assert fit(queries, without=A)[A] == 0.0
    assert fit(queries, without=A)[B] > fit(queries)[B] > 0
