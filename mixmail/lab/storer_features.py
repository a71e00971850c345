"""What storers can compare about two keys: a matrix (key, key) for each feature, by family.

Families
- `near`: how often both are asked within 45, 130 and 400 s of each other, compared with what is usual within
  half an hour.  An agent asks one key in a slot: two keys of one agent are asked in one slot a little too
  rarely, and much too often if it asks one after the other.
- `order`: how often one follows the other among the queries for all keys, at once and within six.
- `proxies`: whether both could be of one node that is never proxy for itself; how alike the proxies are.
- `hours`: correlation of the numbers of queries in half hours and in four hours.
- `life`: how far apart the first queries are, the last ones, the end of one and the beginning of the other.
- `rate`: how many queries each has.
- `slot`: whether the moments fall at the same place of a slot.
- `records`: what was written: moments, lags from write to first read; equal type, class and bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .storer_network import Box, Notes
from .storer_stats import Floats

FAMILIES = {
    "near": (0, 1, 2),
    "order": (3, 4),
    "proxies": (5, 6),
    "hours": (7, 8),
    "life": (9, 10, 11),
    "rate": (12, 13),
    "slot": (14,),
    "records": (15, 16, 17),
}
FEATURES = sum(len(columns) for columns in FAMILIES.values())
WIDTHS_S = (45.0, 130.0, 400.0)
WIDE_S = 1_800.0
GRID_S = 30.0
NEVER = 1e7  # seconds, in place of a moment that was not seen


@dataclass(slots=True)
class Key:
    """What is known of one key: the queries of one kind for it (second, proxy), in their order."""

    box: Box
    asked: list[tuple[float, int]] = field(default_factory=list)
    write: float = NEVER
    read: float = NEVER
    record: tuple[int, int, int] = (0, 0, 0)


def feature_tables(keys: list[Key], notes: Notes) -> list[Floats]:
    """One symmetric matrix (key, key) for each feature, in the order of `FAMILIES`."""
    counts = np.array([len(key.asked) for key in keys], dtype=float)
    grid = _histogram(keys, notes, GRID_S)
    wide = _together(grid, WIDE_S)
    tables = [_together(grid, width) - wide for width in WIDTHS_S]
    tables += [_following(keys, reach) for reach in (1, 6)]
    tables += _proxies(keys, notes)
    tables += [_correlation(_histogram(keys, notes, width)) for width in (1_800.0, 14_400.0)]
    first = np.array([key.asked[0][0] for key in keys])
    last = np.array([key.asked[-1][0] for key in keys])
    gap = np.abs(last[:, None] - first[None, :])
    tables += [_apart(first), _apart(last), np.log1p(np.minimum(gap, gap.T))]
    logs = np.log(counts)
    tables += [np.abs(logs[:, None] - logs[None, :]), logs[:, None] + logs[None, :]]
    turns = np.array([np.exp(2j * np.pi * _moments(key) / notes.slot).sum() for key in keys])
    tables.append((turns[:, None] * turns[None, :].conj()).real / np.sqrt(np.outer(counts, counts)))
    return [*tables, *_records(keys)]


def _moments(key: Key) -> Floats:
    return np.array([moment for moment, _ in key.asked])


def _histogram(keys: list[Key], notes: Notes, width: float) -> Floats:
    table = np.zeros((len(keys), int(notes.seconds / width) + 1))
    for row, key in zip(table, keys, strict=True):
        np.add.at(row, (_moments(key) / width).astype(int), 1.0)
    return table


def _together(grid: Floats, width: float) -> Floats:
    """How many queries for two keys fall together, within a normal kernel of `width` seconds, less what
    unrelated keys with as many queries have in the mean.

    Up to a factor that all pairs share it is the log of the likelihood of a small lack or surplus.
    """
    cells = grid.shape[1]
    size = 2 * cells
    frequency = np.fft.rfftfreq(size, GRID_S)
    kernel = np.exp(-2 * (np.pi * frequency * width) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(grid, size, axis=1) * kernel, size, axis=1)[:, :cells]
    counts = grid.sum(axis=1)
    table: Floats = smooth @ grid.T - np.outer(counts, counts) / cells
    return table


def _following(keys: list[Key], reach: int) -> Floats:
    """How often one of two keys is asked within `reach` queries after the other, less what is usual."""
    merged = sorted((moment, at) for at, key in enumerate(keys) for moment, _ in key.asked)
    order = np.array([at for _, at in merged])
    table = np.zeros((len(keys), len(keys)))
    for step in range(1, reach + 1):
        np.add.at(table, (order[:-step], order[step:]), 1.0)
    counts = np.bincount(order, minlength=len(keys)).astype(float)
    return table + table.T - 2 * reach * np.outer(counts, counts) / max(1, len(order))


def _proxies(keys: list[Key], notes: Notes) -> list[Floats]:
    """The log likelihood ratio of one reader against two, for readers whose own node is never their proxy;
    and the correlation of the numbers of queries by proxy."""
    by_proxy = np.zeros((len(keys), notes.hosts))
    for at, key in enumerate(keys):
        for _, proxy in key.asked:
            by_proxy[at, proxy] += 1
    missing = (by_proxy == 0).astype(float)
    missing[missing.sum(axis=1) == 0] = 1.0  # contradicts the supposition: says nothing
    missing /= missing.sum(axis=1, keepdims=True)
    return [np.log(notes.hosts * (missing @ missing.T) + 0.02), _correlation(by_proxy)]


def _correlation(rows: Floats) -> Floats:
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(length > 0, length, 1.0)
    table: Floats = rows @ rows.T
    return table


def _apart(moments: Floats) -> Floats:
    table: Floats = np.log1p(np.abs(moments[:, None] - moments[None, :]))
    return table


def _records(keys: list[Key]) -> list[Floats]:
    """Differences of the moments of writing and of the lags to the first read; equal class and bits."""
    write = np.array([key.write for key in keys])
    read = np.array([key.read for key in keys])
    written, whole = write < NEVER, (write < NEVER) & (read < NEVER)
    kinds = {key.record: at for at, key in enumerate(keys)}
    kind = np.array([kinds[key.record] for key in keys])
    equal = (kind[:, None] == kind[None, :]).astype(float)
    moments = np.where(np.outer(written, written), 15 - _apart(write), 0.0)
    return [moments, np.where(np.outer(whole, whole), 15 - _apart(read - write), 0.0), equal]
