"""Placement: everybody computes the same homes."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from mixmail.boxes.placement import ranking, score

NODES = [(hashlib.sha256(b"s%d" % i).digest(), hashlib.sha256(b"n%d" % i).digest(), b"") for i in range(40)]
KEY = b"k" * 32


def test_the_score_is_a_hash_of_both() -> None:
    assert score(b"s" * 32, KEY) == hashlib.blake2b(b"s" * 32 + KEY, digest_size=32).digest()


@given(st.permutations(NODES), st.integers(0, 45), st.binary(min_size=32, max_size=32))
def test_the_order_of_the_view_does_not_matter(
    nodes: list[tuple[bytes, bytes, bytes]], limit: int, key: bytes
) -> None:
    expected = [node_id for _, node_id in sorted((score(s, key), n) for s, n, _ in NODES)]
    assert ranking(key, nodes, limit) == expected[:limit]


def test_one_node_more_moves_one_home_at_most() -> None:
    for number in range(30):
        key = hashlib.sha256(b"%d" % number).digest()
        before, after = ranking(key, NODES[:-1], 16), ranking(key, NODES, 16)
        assert len(set(before) - set(after)) <= 1
        assert [home for home in after if home in before] == before[: len(before) - (after != before)]


def test_homes_are_spread() -> None:
    firsts = {ranking(hashlib.sha256(b"%d" % number).digest(), NODES, 1)[0] for number in range(300)}
    assert len(firsts) > 30


def test_the_second_node_of_a_network_comes_after_all_others() -> None:
    order = ranking(KEY, NODES, 40)
    shared = {order[0], order[3], order[5]}
    nodes = [(s, n, b"\x08\x08" if n in shared else b"") for s, n, _ in NODES]
    apart = [node for node in order if node not in {order[3], order[5]}]
    assert ranking(KEY, nodes, 40) == [*apart, order[3], order[5]]
    assert ranking(KEY, nodes, 16) == apart[:16]


def test_one_network_leaves_no_key_without_homes() -> None:
    nodes = [(s, n, b"\x08\x08") for s, n, _ in NODES]
    assert ranking(KEY, nodes, 16) == ranking(KEY, NODES, 16)
