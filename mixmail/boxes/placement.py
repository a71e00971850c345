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


def ranking(key: bytes, nodes: Iterable[tuple[bytes, bytes, bytes]], limit: int) -> list[bytes]:
    """The node ids of the `limit` nearest of `nodes` (storage_id, node_id, network), nearest first.

    A node in the network of a nearer one comes after all others; an empty network is shared by nobody.
    """
    # Strings and tuples of few parts, fewer than 100,000: sorting is faster than a heap.
    scored = sorted((score(storage_id, key) + node_id, network) for storage_id, node_id, network in nodes)
    first: list[bytes] = []
    behind: list[bytes] = []
    seen: set[bytes] = set()
    for item, network in scored:
        if len(first) >= limit:
            break
        if network and network in seen:
            behind.append(item[_SCORE_BYTES:])
        else:
            seen.add(network)
            first.append(item[_SCORE_BYTES:])
    return (first + behind)[:limit]
