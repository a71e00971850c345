"""The observer of all links: from which packet that came in is a packet that goes out?

He knows every crossing of every link, the laws, when each agent sends a query of its own (it leaves between
two ticks, relayed packets leave at ticks), which packets are loops when they start, at which ticks a pool
held, how hostile mixes pair what came in with what went out, and at a turn who draws from which view.

One mix: m_i is the probability that packet i is still inside, h_i that it becomes due at this tick if it has
not before.  When r packets leave, which ones is a draw of r from independent coins m_i h_i with r heads
(conditional Poisson sampling: Chen, Dempster, Liu, Biometrika 81(3), 1994); r = 1 is exact, more by the
exponential tilt.  Then m_i falls by the chance that i was among them.  For memoryless delays this is
"each of those inside is equally likely" (Danezis, PET 2004).

Several mixes: a row of probabilities a packet; the rows of consecutive mixes are multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .flow import BACK, OUT, QUERY, Trace
from .laws import correction, survival

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_GONE = 1e-3  # a packet less likely inside than this is no candidate any more
_CERTAIN = 1.0 - 1e-9
_SHORTEST = 1e-3  # seconds: what comes just after a tick may leave with it


@dataclass(frozen=True)
class Visits:
    """One entry for each packet in each mix; `before` is its visit at the mix before, or -1.

    `entry`: the packet's number where a query comes from its agent, that plus the number of packets where an
    answer comes from its courier, else -1.  `leave` is nan if it never left.
    """

    node: Ints
    arrive: Floats
    leave: Floats
    before: Ints
    entry: Ints
    packet: Ints
    hop: Ints


def visits(trace: Trace) -> Visits:
    """The visits of a trace."""
    order = np.lexsort((trace.hop, trace.packet))
    packet, hop = trace.packet[order].astype(np.int64), trace.hop[order].astype(np.int64)
    mixed, sent = trace.mixed[order], trace.sent[order]
    follows = np.append(packet[1:] == packet[:-1], False)
    leave = np.where(follows, np.append(sent[1:], np.nan), np.nan)
    number = np.where(mixed, np.cumsum(mixed) - 1, -1)
    before = np.where(hop > 0, np.append(-1, number[:-1]), -1)
    ours = trace.kind[packet] == QUERY
    entry = np.where(ours & (hop == OUT[0]), packet, -1)
    entry = np.where(ours & (hop == BACK[0]), packet + len(trace.kind), entry)
    return Visits(
        trace.dst[order].astype(np.int64)[mixed],
        trace.received[order][mixed],
        leave[mixed],
        before[mixed],
        entry[mixed],
        packet[mixed],
        hop[mixed],
    )


@dataclass(frozen=True)
class Rows:
    """What left a mix at the end of a visit is, with the probabilities of the visit's row, what left the mix
    before at the end of another (`relayed`, visits x visits) or what came in as an entry from an agent or a
    courier (`entered`, visits x entries).  `surprises`: leavings that the law held to be impossible."""

    relayed: sparse.csr_array
    entered: sparse.csr_array
    surprises: int


def rows(trace: Trace, seen: Visits, since: float) -> Rows:
    """The rows of all visits that end after `since`."""
    cols: list[Ints] = []
    data: list[NDArray[np.float32]] = []
    lengths = np.zeros(len(seen.node), dtype=np.int64)
    order = np.lexsort((seen.arrive, seen.node))
    edges = np.searchsorted(seen.node[order], np.arange(trace.setting.users + 1))
    restarts: dict[int, float] = {node: when for when, node in trace.restarts}
    parts: list[tuple[int, Ints, NDArray[np.float32]]] = []
    surprises = 0
    for node in range(trace.setting.users):
        inside = order[edges[node] : edges[node + 1]]
        if not len(inside):
            continue
        found, odd = _one_mix(trace, node, seen.arrive[inside], seen.leave[inside], restarts.get(node), since)
        surprises += odd
        parts += [(int(inside[out]), inside[low : low + len(row)], row) for out, low, row in found]
    parts.sort(key=lambda part: part[0])
    for visit, candidates, row in parts:
        lengths[visit] = len(row)
        cols.append(candidates)
        data.append(row)
    pointers = np.concatenate([[0], np.cumsum(lengths)])
    columns = np.concatenate(cols) if cols else np.zeros(0, dtype=np.int64)
    values = np.concatenate(data) if data else np.zeros(0, dtype=np.float32)
    return Rows(
        _mapped(pointers, columns, values, seen.before, len(seen.node)),
        _mapped(pointers, columns, values, seen.entry, 2 * len(trace.kind)),
        surprises,
    )


def _mapped(
    pointers: Ints, columns: Ints, values: NDArray[np.float32], target: Ints, width: int
) -> sparse.csr_array:
    """The matrix with column c renamed to target[c]; those without a target fall out."""
    renamed = target[columns]
    keep = renamed >= 0
    kept = np.concatenate([[0], np.cumsum(keep)])[pointers]
    shape = (len(pointers) - 1, width)
    return sparse.csr_array(
        (values[keep], renamed[keep].astype(np.int32), kept.astype(np.int32)), shape=shape
    )


def _one_mix(
    trace: Trace, node: int, arrive: Floats, leave: Floats, restart: float | None, since: float
) -> tuple[list[tuple[int, int, NDArray[np.float32]]], int]:
    """(visit that leaves, first candidate, probabilities) of each leaving; positions in `arrive`."""
    params = trace.setting.params
    memoryless = trace.setting.strategy == "binomial_pool"
    m = np.ones(len(arrive))
    left = np.flatnonzero(~np.isnan(leave))
    left = left[np.argsort(leave[left], kind="stable")]
    times, firsts = np.unique(np.round(leave[left], 6), return_index=True)
    bounds = [*firsts.tolist(), len(left)]
    found: list[tuple[int, int, NDArray[np.float32]]] = []
    low, surprises = 0, 0
    for number, now in enumerate(times.tolist()):
        outs = left[bounds[number] : bounds[number + 1]]
        if restart is not None and now > restart:
            m[: np.searchsorted(arrive, restart)] = 0.0
        high = int(np.searchsorted(arrive, now + 1e-6, side="right"))
        while low < high and m[low] < _GONE:
            low += 1
        if memoryless:
            h = np.full(high - low, 0.5)
        else:
            opened = now - params.tick
            tick = round((now + trace.start) / params.tick)
            while (node, tick - 1) in trace.held:
                tick, opened = tick - 1, opened - params.tick
            age = arrive[low:high]
            could = survival(params, opened - age)
            h = np.divide(
                could - survival(params, np.maximum(now - age, _SHORTEST)),
                could,
                out=np.zeros_like(could),
                where=could > 0,
            )
        q = np.minimum(m[low:high] * h, _CERTAIN)
        p = _inclusion(q / (1.0 - q), len(outs))
        if p is None:
            surprises += 1
            p = np.full(high - low, min(1.0, len(outs) / (high - low)))
        m[low:high] = np.maximum(m[low:high] - p, 0.0)
        if now >= since:
            row = (p / p.sum()).astype(np.float32)
            found += [(int(out), low, row) for out in outs]
    return found, surprises


def _inclusion(odds: Floats, count: int) -> Floats | None:
    """The chance of each coin to be among `count` heads; None when so many cannot be."""
    able = np.count_nonzero(odds)
    if able < count:
        return None
    if able == count:
        return (odds > 0).astype(np.float64)
    total = odds.sum()
    if count == 1:
        return np.asarray(odds / total)
    tilt = count / total
    for _ in range(8):
        heads = tilt * odds / (1.0 + tilt * odds)
        slope = (heads * (1.0 - heads)).sum()
        if slope < 1e-9:
            break
        tilt *= np.exp(np.clip((count - heads.sum()) / slope, -2.0, 2.0))
    heads = tilt * odds / (1.0 + tilt * odds)
    return np.asarray(np.minimum(heads * (count / heads.sum()), 1.0))


def betrayed(made: Rows, seen: Visits, hostile: NDArray[np.bool_]) -> Rows:
    """The same when the mixes marked in `hostile` (by node) tell what they did."""
    tells = hostile[seen.node]
    keep = sparse.diags_array((~tells).astype(np.float32)).tocsr()

    def told(target: Ints, width: int) -> sparse.csr_array:
        known = np.flatnonzero(tells & (target >= 0))
        ones = np.ones(len(known), dtype=np.float32)
        return sparse.csr_array((ones, (known, target[known])), shape=(len(seen.node), width))

    return Rows(
        (keep @ made.relayed + told(seen.before, made.relayed.shape[1])).tocsr(),
        (keep @ made.entered + told(seen.entry, made.entered.shape[1])).tocsr(),
        made.surprises,
    )


def posterior(trace: Trace, seen: Visits, made: Rows, targets: Ints) -> sparse.csr_array:
    """(targets x entries): which packet entered its first mix and is the one that ends the visit `targets`
    to its third.  Rows add up to 1."""
    if trace.known.all():
        step = made.relayed[targets]
        for _ in OUT[2:]:
            step = step @ made.relayed
        found = (step @ made.entered).tocsr()
    else:
        found = (
            _drawn_from(0, trace, seen, made, targets) + _drawn_from(1, trace, seen, made, targets)
        ).tocsr()
    came = np.zeros(found.shape[1])
    known = seen.entry >= 0
    came[seen.entry[known]] = seen.arrive[known]
    line = np.repeat(np.arange(len(targets)), np.diff(found.indptr))
    waited = seen.leave[targets][line] - came[found.indices] - len(OUT) / 2 * trace.setting.params.tick
    found.data = found.data * correction(trace.setting.params, waited)
    return normal(found)


def _drawn_from(view: int, trace: Trace, seen: Visits, made: Rows, targets: Ints) -> sparse.csr_array:
    """The same, not normal, of the ways whose sender drew from `view` and whose mixes are all in it."""
    inside = sparse.diags_array(trace.known[view][seen.node].astype(np.float32)).tocsr()
    theirs = sparse.diags_array(np.tile(trace.view == view, 2).astype(np.float32)).tocsr()
    step = inside[targets] @ made.relayed
    for _ in OUT[2:]:
        step = step @ inside @ made.relayed
    return step @ inside @ made.entered @ theirs


def normal(found: sparse.csr_array) -> sparse.csr_array:
    """Rows that add up to 1."""
    total = np.asarray(found.sum(axis=1)).ravel()
    return (sparse.diags_array(1.0 / np.maximum(total, 1e-30)) @ found).tocsr()
