"""Which nodes are the homes of a key (docs/protocol/store.md, "Placement").

Everybody knows all nodes, so everybody computes the same homes without asking anyone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_SCORE_BYTES = 32


def score(storage_id: bytes, key: bytes) -> bytes:
    """BLAKE2b-256(storage_id | key): the lower, compared as bytes, the nearer."""
    return hashlib.blake2b(storage_id + key, digest_size=_SCORE_BYTES).digest()


def ranking(key: bytes, nodes: Iterable[tuple[bytes, bytes]], limit: int) -> list[bytes]:
    """The node ids of the `limit` nearest of `nodes` (pairs storage_id, node_id), nearest first."""
    scored = [score(storage_id, key) + node_id for storage_id, node_id in nodes]
    scored.sort()  # strings of one length, fewer than 100,000: faster than a heap of pairs
    return [item[_SCORE_BYTES:] for item in scored[:limit]]
