"""The observer of `filter` for very many mixes: the n-th leavings of some thousand mixes at a time.

Only mixes on the way back from the messages that are looked at are followed, the last layer first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mixmail.params import NetworkParameters

from .fast_flow import NEVER, Table
from .filter import _CERTAIN, _GONE, _SHORTEST
from .laws import survival

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_CELLS = 400_000  # of one array: some megabytes stay in the processor's cache
_FAR = 1e6  # seconds or ticks: more than any run has


@dataclass(frozen=True)
class Leavings:
    """What some mixes let go: `rows` (leavings x `candidates`), the probabilities of each candidate to be
    a packet of the leaving.  `of`: positions in the visits asked for, `leaving`: the row of each.
    `surprises`: leavings, asked for or not, that the law held to be impossible."""

    of: Ints
    leaving: Ints
    rows: sparse.csr_array
    candidates: Ints
    surprises: int


def leavings(params: NetworkParameters, table: Table, visits: Ints) -> Iterator[Leavings]:
    """Follow the mixes of `visits` (sorted) until they let those go, a part of the mixes at a time."""
    nodes, inverse = np.unique(table.node[visits].astype(np.int64), return_inverse=True)
    if not len(nodes):
        return
    longest = int((table.starts[nodes + 1] - table.starts[nodes]).max())
    step = max(1, _CELLS // longest)
    for at in range(0, len(nodes), step):
        first, last = np.searchsorted(inverse, [at, at + step])
        part = _Part(params, table, nodes[at : at + step], visits[first:last])
        yield part.follow(int(first))


class _Part:
    """Some mixes: one row each, ordered by how many leavings there are to follow."""

    def __init__(self, params: NetworkParameters, table: Table, nodes: Ints, visits: Ints) -> None:
        self.params = params
        starts = table.starts[nodes]
        sizes = table.starts[nodes + 1] - starts
        count = len(nodes)
        row = np.repeat(np.arange(count), sizes)
        column = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self.candidates = np.repeat(starts, sizes) + column
        arrive = table.arrive[self.candidates].astype(np.float64)
        leave = table.leave[self.candidates].astype(np.int64)
        asked = np.searchsorted(nodes, table.node[visits]) * int(_FAR) + table.leave[visits]
        until = np.zeros(count, dtype=np.int64)
        np.maximum.at(until, asked // int(_FAR), asked % int(_FAR))
        goes = np.flatnonzero((leave != NEVER) & (leave <= until[row]))
        keys, where, self.heads = np.unique(
            row[goes] * int(_FAR) + leave[goes], return_index=True, return_counts=True
        )
        self.node_of, self.tick = keys // int(_FAR), keys % int(_FAR)
        self.run = table.run[self.candidates[goes[where]]].astype(np.int64)
        self.asked, self.leaving = np.unique(np.searchsorted(keys, asked), return_inverse=True)
        here = row * _FAR + arrive
        high = np.searchsorted(here, self.node_of * _FAR + self.tick * params.tick + 1e-6, side="right")
        self.high = high - np.searchsorted(row, self.node_of)
        # the mix with most leavings comes first: those with an n-th are then the first so many
        many = np.bincount(self.node_of, minlength=count)
        order = np.argsort(-many, kind="stable")
        rank = np.empty(count, dtype=np.int64)
        rank[order] = np.arange(count)
        self.begin = (np.cumsum(many) - many)[order]
        self.many = many[order]
        self.width = int(sizes.max())
        self.arrive = np.full(count * self.width, np.inf)
        self.flat = np.full(count * self.width, -1, dtype=np.int64)
        cells = rank[row] * self.width + column
        self.arrive[cells] = arrive
        self.flat[cells] = np.arange(len(row))

    def follow(self, offset: int) -> Leavings:
        inside = np.ones(len(self.arrive))
        low = np.zeros(len(self.many), dtype=np.int64)
        wanted = np.full(len(self.tick), -1, dtype=np.int64)
        wanted[self.asked] = np.arange(len(self.asked))
        rows, columns, values = [], [], []
        surprises = 0
        for turn in range(int(self.many.max())):
            active = int(np.searchsorted(-self.many, -turn))  # those with more than `turn` leavings
            event = self.begin[:active] + turn
            cells, chance, odd = self._leave(event, inside, low[:active])
            surprises += odd
            chosen = np.flatnonzero(wanted[event] >= 0)
            if len(chosen):
                some = chance[chosen]
                line, place = np.nonzero(some)
                value = some[line, place] / some.sum(axis=1)[line]
                rows.append(wanted[event[chosen]][line])
                columns.append(self.flat[cells[chosen[line], place]])
                values.append(value.astype(np.float32))
        shape = (len(self.asked), len(self.candidates))
        made = sparse.coo_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape
        )
        of = offset + np.arange(len(self.leaving))
        return Leavings(of, self.leaving, made.tocsr(), self.candidates, surprises)

    def _leave(self, event: Ints, inside: Floats, low: Ints) -> tuple[Ints, Floats, int]:
        """One leaving of each of the first mixes: cells of the candidates, their chances, and how many
        leavings could not be.  `inside` and `low` go on."""
        params, high = self.params, self.high[event]
        base = np.arange(len(event)) * self.width
        while True:
            gone = (low < high) & (inside[base + np.minimum(low, self.width - 1)] < _GONE)
            if not gone.any():
                break
            low += gone
        width = int((high - low).max())
        begin = np.minimum(low, self.width - width)
        place = begin[:, None] + np.arange(width)
        cells = base[:, None] + place
        now = self.tick[event] * params.tick
        opened = now - params.tick * (1 + self.run[event])
        arrive, m = self.arrive.take(cells), inside.take(cells)
        could = survival(params, opened[:, None] - arrive)
        still = survival(params, np.maximum(now[:, None] - arrive, _SHORTEST))
        there = (place >= low[:, None]) & (place < high[:, None])
        could *= there
        h = np.divide(could - still, could, out=np.zeros_like(could), where=could > 0)
        q = np.minimum(m * h, _CERTAIN)
        chance, odd = _inclusion(q / (1.0 - q), self.heads[event], there)
        inside.put(cells, np.maximum(m - chance, 0.0))
        return cells, chance, odd


def _inclusion(odds: Floats, heads: Ints, there: NDArray[np.bool_]) -> tuple[Floats, int]:
    """`filter._inclusion` for each row; where it cannot be, all of those inside alike."""
    able, total = np.count_nonzero(odds, axis=1), odds.sum(axis=1)
    tilt = heads / np.maximum(total, 1e-300)
    chance = odds * tilt[:, None]
    more = np.flatnonzero((heads > 1) & (able > heads))
    if len(more):
        some, count, lean = odds[more], heads[more], tilt[more]
        for _ in range(8):
            up = lean[:, None] * some
            up /= 1.0 + up
            slope = (up * (1.0 - up)).sum(axis=1)
            missing = count - up.sum(axis=1)
            if (np.abs(missing) < 1e-9).all():
                break
            steps = np.divide(missing, slope, out=np.zeros_like(slope), where=slope >= 1e-9)
            lean = lean * np.exp(np.clip(steps, -2.0, 2.0))
        up = lean[:, None] * some
        up /= 1.0 + up
        chance[more] = np.minimum(up * (count / up.sum(axis=1))[:, None], 1.0)
    equal = able == heads
    chance[equal] = odds[equal] > 0
    odd = np.flatnonzero(able < heads)
    if len(odd):
        chance[odd] = there[odd] * np.minimum(1.0, heads[odd] / there[odd].sum(axis=1))[:, None]
    return chance, len(odd)
