"""Pairs of keys of which a storer asks whether they are one user's, for each question that he may have.

- `contacts_pairs`: two boxes that are waited for.  Does one agent read both?
- `written_pairs`: two records of different conversations.  Did one agent write both?
- `next_pairs`: a box that was filled and read, and another one.  Is this the next of the same conversation?

Left out, since they are linked by what they are: queries for one key, which are one box; the boxes of one
mail with many parts, which are written one after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from heapq import merge
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from mixmail.boxes.query import QueryOp

from .storer_features import FEATURES, NEVER, Key, feature_tables
from .storer_network import Notes, Seen
from .storer_stats import Ints, Pairs

ONE_QUERY_S = 20.0  # homes asked by one proxy for one key within this: one query


def keys_seen(notes: Notes, homes: Iterable[int], op: QueryOp) -> list[Key]:
    """What these homes together know of each key for which they had queries `op`; by name of the key."""
    by_key: dict[bytes, list[Seen]] = defaultdict(list)
    for seen in merge(*(notes.seen[home] for home in homes), key=attrgetter("time")):
        by_key[seen.key].append(seen)
    found = []
    for name in sorted(by_key):
        key = Key(notes.boxes[name])
        last: dict[int, float] = {}
        for seen in by_key[name]:
            if seen.op is QueryOp.WRITE and key.write == NEVER:
                key.write, key.record = seen.time, seen.record
            elif seen.op is QueryOp.READ and key.write < NEVER == key.read:
                key.read = seen.time
            if seen.op is op:
                if seen.time - last.get(seen.proxy, -NEVER) > ONE_QUERY_S:
                    key.asked.append((seen.time, seen.proxy))
                last[seen.proxy] = seen.time
        if key.asked:
            found.append(key)
    return found


def contacts_pairs(notes: Notes, homes: Iterable[int], number: int, most: int, seed: int) -> Pairs:
    """All pairs of one reader, and a draw of at most `most` times as many of two.

    Of each stream the box with the most reads: the one that its reader waits for.
    """
    best: dict[int, Key] = {}
    for key in keys_seen(notes, homes, QueryOp.READ):
        known = best.get(key.box.stream)
        if known is None or len(key.asked) > len(known.asked):
            best[key.box.stream] = key
    keys = list(best.values())
    users = np.array([key.box.reader for key in keys], dtype=np.int64)
    first, second = np.triu_indices(len(keys), 1)
    same = users[first] == users[second]
    return _pairs(keys, users, notes, number, (first, second, same), most, seed)


def written_pairs(notes: Notes, homes: Iterable[int], number: int, most: int, seed: int) -> Pairs:
    """All pairs of one writer in two streams, and a draw of at most `most` times as many of two writers."""
    keys = keys_seen(notes, homes, QueryOp.WRITE)
    users = np.array([key.box.writer for key in keys], dtype=np.int64)
    streams = np.array([key.box.stream for key in keys], dtype=np.int64)
    first, second = np.triu_indices(len(keys), 1)
    fair = streams[first] != streams[second]
    first, second = first[fair], second[fair]
    same = users[first] == users[second]
    return _pairs(keys, users, notes, number, (first, second, same), most, seed)


def next_pairs(notes: Notes, homes: Iterable[int], number: int, most: int, seed: int) -> Pairs:
    """All pairs of a box that was filled and read and the next one of its stream, and a draw of at most
    `most` times as many in which the second is such a next box of another reader's stream."""
    keys = keys_seen(notes, homes, QueryOp.READ)
    place = {(key.box.stream, key.box.index): at for at, key in enumerate(keys)}
    after = {
        at: place[key.box.stream, key.box.index + 1]
        for at, key in enumerate(keys)
        if key.read < NEVER and (key.box.stream, key.box.index + 1) in place
    }
    users = np.array([key.box.reader for key in keys], dtype=np.int64)
    candidates = [
        (old, new, after[old] == new)
        for old in after
        for new in after.values()
        if after[old] == new or users[old] != users[new]
    ]
    first, second, same = np.array(candidates, dtype=np.int64).reshape(-1, 3).T
    return _pairs(keys, users, notes, number, (first, second, same.astype(bool)), most, seed)


def _pairs(
    keys: list[Key],
    users: Ints,
    notes: Notes,
    number: int,
    chosen: tuple[Ints, Ints, NDArray[np.bool_]],
    most: int,
    seed: int,
) -> Pairs:
    first, second, same = chosen
    others = np.flatnonzero(~same)
    count = min(len(others), most * int(same.sum()))
    kept = same.copy()
    kept[np.random.default_rng(seed).choice(others, count, replace=False)] = True
    first, second = first[kept], second[kept]
    values = np.zeros((0, FEATURES))
    if len(first):
        values = np.column_stack([table[first, second] for table in feature_tables(keys, notes)])
    both = np.column_stack([users[first], users[second]])
    return Pairs(same[kept], both, np.full(len(first), number, dtype=np.int64), values)
