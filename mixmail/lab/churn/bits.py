"""Sets of up to 64 nodes as bits of uint64, one for each box; the nearest node of a box is its lowest bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Sets = NDArray[np.uint64]
SLOTS = 64
_HALVES = (32, 16, 8, 4, 2, 1)


def pack(members: NDArray[np.bool_]) -> Sets:
    """Sets from a matrix (boxes, 64) of who is in."""
    packed: Sets = np.packbits(members, axis=1, bitorder="little").view(np.uint64)[:, 0]
    return packed


def unpack(sets: Sets) -> NDArray[np.bool_]:
    """The matrix of `pack`."""
    found: NDArray[np.bool_] = np.unpackbits(sets[:, None].view(np.uint8), axis=1, bitorder="little").view(
        np.bool_
    )
    return found


def count(sets: Sets) -> NDArray[np.int64]:
    """How many are in each."""
    return np.bitwise_count(sets).astype(np.int64)


def lowest(sets: Sets, number: int | NDArray[np.int64]) -> Sets:
    """The `number` lowest members of each, all if there are no more."""
    left = np.empty(sets.shape, np.int16)
    left[...] = number
    rest, length = sets.copy(), np.zeros(sets.shape, np.uint64)
    for half in _HALVES:  # the longest prefix with no more than `number` members, by halving
        inside = np.bitwise_count(rest & np.uint64((1 << half) - 1))
        fits = inside <= left
        left -= np.where(fits, inside, 0).astype(np.int16)
        shift = np.where(fits, np.uint64(half), np.uint64(0))
        rest >>= shift
        length += shift
    all_of_them = np.bitwise_count(rest & np.uint64(1)) <= left
    prefix = (np.uint64(1) << length) - np.uint64(1)
    return np.where(all_of_them, sets, sets & prefix)


def one_of(sets: Sets, rng: np.random.Generator) -> Sets:
    """A random member of each, the empty set of an empty one."""
    number = (rng.random(sets.shape) * count(sets)).astype(np.int64)
    found: Sets = lowest(sets, number + 1) & ~lowest(sets, number)
    return found


def first(sets: Sets) -> Sets:
    """The lowest member of each."""
    found: Sets = sets & (~sets + np.uint64(1))
    return found
