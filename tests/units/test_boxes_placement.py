"""Placement: everybody computes the same homes."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from mixmail.boxes.placement import ranking, score

NODES = [(hashlib.sha256(b"s%d" % i).digest(), hashlib.sha256(b"n%d" % i).digest()) for i in range(40)]
KEY = b"k" * 32


def test_the_score_is_a_hash_of_both() -> None:
    assert score(b"s" * 32, KEY) == hashlib.blake2b(b"s" * 32 + KEY, digest_size=32).digest()


@given(st.permutations(NODES), st.integers(0, 45), st.binary(min_size=32, max_size=32))
def test_the_order_of_the_view_does_not_matter(
    nodes: list[tuple[bytes, bytes]], limit: int, key: bytes
) -> None:
    expected = [node_id for _, node_id in sorted((score(s, key), n) for s, n in NODES)]
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
