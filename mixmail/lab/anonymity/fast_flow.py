"""The network of `flow` for very many users: all packets of one tick together, in arrays.

The laws are those of `flow` (slots, layers, delays, ticks, holding pools, loops), written once more in numpy;
docs/anonymity.md has the comparison.  Differences: layers are drawn at random, not hashed; a path avoids its
own user, but two of its nodes may be one (free routes: not two neighbours); pools have room for everything;
an answer is in no pool of its user's node when it comes home; no `binomial_pool`, no turn, no restart.

Only what the observer needs is kept: visits to mixes of the first and second layer from `since` on, and to
some of the third.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixmail.mixing import delays
from mixmail.mixing.ticks import SLACK, first_tick_from

from .flow import BACK, HOMES, LATENCY, OUT, Setting

NEVER = np.iinfo(np.int16).max
NOTHING, QUERY_IN, ANSWER_IN, QUERY_OUT = range(4)
_LAYERS = 3
_ANY, _OWN = 3, 4  # places beside the layers 0, 1, 2
_HOME = 9
_LONGEST_RUN = 127

Ints = NDArray[np.int32]
Packets = NDArray[np.void]
_PACKET = np.dtype(
    [
        ("stage", "u1"),
        ("node", "i4"),
        ("arrive", "f4"),
        ("left", "f4"),  # seconds: what the spacings still to come add up to
        ("owner", "i4"),
        ("before", "i4"),
        ("due", "i2"),
    ]
)
_COLUMNS = ("node", "arrive", "leave", "run", "before", "entry", "owner")


@dataclass(frozen=True)
class Table:
    """Visits to mixes, by node and arrival; arrays of one length, times in seconds since the start.

    `starts`: (nodes + 1), where each node's visits begin.  `leave`: the number of the tick, or `NEVER`;
    `run`: at how many ticks just before that the mix held.  `before`: the visit at the mix before, in its
    table, or -1.  `entry`: a query that comes from its agent, an answer that comes from its courier, a query
    at its third mix, or nothing of that.
    """

    starts: NDArray[np.int64]
    node: Ints
    arrive: NDArray[np.float32]
    leave: NDArray[np.int16]
    run: NDArray[np.int8]
    before: Ints
    entry: NDArray[np.int8]
    owner: Ints


@dataclass(frozen=True)
class Stages:
    """What a packet does at each stage of its way; arrays by stage.  Queries have the stages 0 to 8, one for
    each hop; loops four for each layer of the mix that they are of, from `loops` on."""

    place: NDArray[np.int64]  # a layer, any node, or the owner
    mixed: NDArray[np.bool_]
    pooled: NDArray[np.bool_]  # in the pool that holds
    linked: NDArray[np.bool_]  # the mix before is one too
    last: NDArray[np.bool_]
    entry: NDArray[np.int8]
    pieces: NDArray[np.int64]  # spacings still to come, or 0: exponential
    mean: NDArray[np.float32]
    more: NDArray[np.float32]
    table: NDArray[np.int64]
    loops: tuple[int, ...]


def stages(setting: Setting) -> Stages:
    """The stages of a setting's packets."""
    params, free = setting.params, setting.free_routes
    courier = params.mean_delay * params.courier_delay_fraction
    ways: list[list[tuple[int, bool, bool, int, float]]] = []  # place, mixed, pooled, pieces, mean
    spaced = params.delay_law == "spacings"
    query = []
    for hop in range(_HOME):
        if hop in OUT + BACK:
            number = (OUT + BACK).index(hop)
            place = _ANY if free else number % _LAYERS
            query.append((place, True, True, 6 - number if spaced else 0, params.mean_delay))
        else:
            query.append((_ANY, False, False, 0, courier))
    ways.append(query)
    for layer in range(1 if free else _LAYERS):
        places = [_ANY] * 3 if free else [*range(layer + 1, _LAYERS), _ANY, *range(layer)]
        told = None if free else _LAYERS - 1 - layer
        loop = [(place, hop != told, True, 3 - hop, 0.0) for hop, place in enumerate(places)]
        ways.append([*loop, (_OWN, False, True, 0, params.mean_delay)])
    flat = [step for way in ways for step in way]
    firsts = np.cumsum([0, *(len(way) for way in ways)])
    first, last = np.zeros(len(flat), dtype=np.bool_), np.zeros(len(flat), dtype=np.bool_)
    first[firsts[:-1]], last[firsts[1:] - 1] = True, True
    mixed = np.array([step[1] for step in flat])
    entry = np.zeros(len(flat), dtype=np.int8)
    entry[[OUT[0], BACK[0], OUT[-1]]] = QUERY_IN, ANSWER_IN, QUERY_OUT
    more = np.zeros(len(flat), dtype=np.float32)
    more[OUT[-1] + 2] = HOMES
    places_of = np.array([step[0] for step in flat])
    return Stages(
        places_of,
        mixed,
        np.array([step[2] for step in flat]),
        ~first & np.roll(mixed, 1) & mixed,
        last,
        entry,
        np.array([step[3] for step in flat]),
        np.array([step[4] for step in flat], dtype=np.float32),
        more,
        np.where(free, 0, places_of),
        tuple(int(begin) for begin in firsts[1:-1]),
    )


class FastFlow:
    """One run; `run()` gives the tables of the three layers (free routes: three times the same).

    `since`: visits that begin earlier are not kept.  `third`: of how many mixes of the third layer the visits
    are kept.
    """

    def __init__(self, setting: Setting, seed: int, since: float, third: int) -> None:
        self.setting, self.params, self.since = setting, setting.params, since
        self.ticks = int(setting.seconds / setting.params.tick)
        if self.ticks >= NEVER:
            raise ValueError("the fast path counts up to 32,766 ticks")
        self.rng = np.random.default_rng([seed, 7])
        self.stages = stages(setting)
        users = setting.users
        layer = self.rng.integers(0, _LAYERS, users)
        members = [np.flatnonzero(layer == number) for number in range(_LAYERS)]
        self.lists = np.concatenate([*members, np.arange(users)])
        self.sizes = np.array([*(len(one) for one in members), users], dtype=np.int64)
        self.offsets = np.array([*np.cumsum([0, *self.sizes[:_LAYERS]])], dtype=np.int64)
        loops = self.stages.loops
        self.loop_stage = np.array(loops * (_LAYERS // len(loops)), dtype=np.uint8)[layer]
        self.kept = np.ones(users, dtype=np.bool_)
        if not setting.free_routes:
            self.kept[members[-1][third:]] = False
        self.minimum = 0 if setting.strategy == "poisson" else self.params.pool_min
        self.late = first_tick_from(self.params, self.params.held_packet_limit)
        self.pool = np.zeros(users, dtype=np.int32)
        self.runs = np.zeros(users, dtype=np.int8)
        self.buckets: list[list[Packets]] = [[] for _ in range(self.ticks + 2)]
        self.coming: list[list[Packets]] = [[] for _ in range(self.ticks + 2)]
        self.parts: list[dict[str, list[NDArray[np.generic]]]] = [
            {name: [] for name in _COLUMNS} for _ in range(_LAYERS)
        ]
        self.counts = [0] * _LAYERS

    def run(self) -> tuple[Table, Table, Table]:
        """Simulate `setting.seconds`."""
        users, params, setting = self.setting.users, self.params, self.setting
        period = params.loop_slots * params.slot
        pace = self._first_ticks(self.rng.random(users) * period)
        moments = self.rng.exponential(params.slot, users) if setting.poisson_schedule else np.zeros(0)
        per_slot = params.slot / params.tick
        slot = 1  # the first whole slot, as a started agent
        for tick in range(1, self.ticks + 1):
            while not setting.poisson_schedule and slot * per_slot < tick:
                self._send(slot * params.slot + self.rng.random(users) * params.slot, np.arange(users))
                slot += 1
            while setting.poisson_schedule and len(now := np.flatnonzero(moments < tick * params.tick)):
                self._send(moments[now], now)
                moments[now] += self.rng.exponential(params.slot, len(now))
            for packets in self.coming[tick - 1]:
                self._enter(packets, tick - 1)
            self.coming[tick - 1] = []
            if bucket := self.buckets[tick]:
                self.buckets[tick] = []
                self._release(np.concatenate(bucket), tick)
            turn = np.flatnonzero(pace == tick)
            self._loop(turn, tick)
            jitter = 1 + params.loop_jitter * (2 * self.rng.random(len(turn)) - 1)
            pace[turn] = self._first_ticks(tick * params.tick + jitter * period)
        for waiting in self.buckets:
            if waiting:
                self._record(np.concatenate(waiting), NEVER)
        self.buckets = []
        return self._tables()

    def _first_ticks(self, moments: NDArray[np.float64]) -> NDArray[np.int16]:
        ticks = np.ceil(moments / self.params.tick - SLACK)
        return np.minimum(ticks, NEVER).astype(np.int16)

    def _latency(self, count: int) -> NDArray[np.float64]:
        return LATENCY[0] + (LATENCY[1] - LATENCY[0]) * self.rng.random(count)

    def _send(self, moments: NDArray[np.float64], owners: NDArray[np.int64]) -> None:
        """Queries of `owners`, sent at `moments` (seconds), come in at their first mix."""
        if self.setting.active < 1.0:
            sends = self.rng.random(len(owners)) < self.setting.active
            moments, owners = moments[sends], owners[sends]
        packets = np.zeros(len(owners), dtype=_PACKET)
        packets["owner"], packets["before"] = owners, -1
        packets["left"] = delays.sum_of_spacings_ms(self.params, delays.QUERY_DELAYS) / delays.MS
        packets["arrive"] = moments + self._latency(len(owners))
        self._place(packets)
        ticks = np.floor(packets["arrive"] / self.params.tick).astype(np.int64)
        _deal(packets, ticks, self.coming)

    def _loop(self, nodes: NDArray[np.int64], tick: int) -> None:
        """Loops of `nodes` (as often as they are named) leave at `tick`."""
        packets = np.zeros(len(nodes), dtype=_PACKET)
        packets["owner"], packets["before"] = nodes, -1
        packets["stage"] = self.loop_stage[nodes]
        packets["left"] = delays.sum_of_spacings_ms(self.params, 3) / delays.MS
        packets["arrive"] = tick * self.params.tick + self._latency(len(nodes))
        self._place(packets)
        self._enter(packets, tick)

    def _place(self, packets: Packets) -> None:
        """Draw the node of each packet's stage: uniform in its layer, not the owner."""
        places = self.stages.place[packets["stage"]]
        owners, came = packets["owner"].copy(), packets["node"].copy()
        nodes = owners.copy()
        open_ = np.flatnonzero(places != _OWN)
        while len(open_):
            kind = places[open_]
            drawn = self.lists[
                self.offsets[kind] + (self.rng.random(len(open_)) * self.sizes[kind]).astype(np.int64)
            ]
            nodes[open_] = drawn
            again = drawn == owners[open_]
            if self.setting.free_routes:
                again |= (drawn == came[open_]) & (packets["stage"][open_] > 0)
            open_ = open_[again]
        packets["node"] = nodes

    def _enter(self, packets: Packets, tick: int) -> None:
        """Packets come in after `tick` and before the next one: draw how long they wait."""
        if not len(packets):
            return
        stage, left = packets["stage"], packets["left"]
        pieces = self.stages.pieces[stage]
        uniform = self.rng.random(len(packets), dtype=np.float32)
        exponent = np.array([0, 0, *(1 / n for n in range(1, 6))], dtype=np.float32)[pieces]
        share = np.where(pieces > 1, 1 - uniform**exponent, np.float32(1))
        cut = np.float32(1 - math.exp(-self.params.delay_cut))
        waits = np.where(pieces > 0, left * share, -self.stages.mean[stage] * np.log1p(-uniform * cut))
        packets["left"] = np.where(pieces > 0, left - waits, left)
        moments = packets["arrive"] + waits + self.stages.more[stage]
        due = np.ceil(moments / self.params.tick - SLACK).astype(np.int64)
        due = np.minimum(np.maximum(due, tick + 1), self.ticks + 1)
        packets["due"] = due
        self._count(packets, 1)
        _deal(packets, due, self.buckets)

    def _count(self, packets: Packets, sign: int) -> None:
        """The pools of the packets grow or shrink."""
        nodes = packets["node"][self.stages.pooled[packets["stage"]]]
        self.pool += sign * np.bincount(nodes, minlength=self.setting.users).astype(np.int32)

    def _release(self, packets: Packets, tick: int) -> None:
        """What is due at `tick` leaves, unless its mix holds."""
        late = packets["due"] + self.late < tick
        if late.any():
            self._count(packets[late], -1)
            self._record(packets[late], NEVER)
            packets = packets[~late]
        pooled = self.stages.pooled[packets["stage"]]
        held = pooled & (self.pool[packets["node"]] < self.minimum)
        if held.any():
            self.buckets[tick + 1].append(packets[held])
            holding = np.unique(packets["node"][held])
            self.runs[holding] = np.minimum(self.runs[holding], _LONGEST_RUN - 1) + 1
            loops = self.rng.geometric(1 / (1 + self.params.held_loops), len(holding)) - 1
            self._loop(np.repeat(holding, loops), tick)
            packets, pooled = packets[~held], pooled[~held]
        self._count(packets, -1)
        numbers = self._record(packets, tick)
        self.runs[packets["node"][pooled]] = 0
        goes = ~self.stages.last[packets["stage"]]
        packets, numbers = packets[goes], numbers[goes]
        packets["stage"] += 1
        packets["before"] = np.where(self.stages.linked[packets["stage"]], numbers, -1)
        packets["arrive"] = tick * self.params.tick + self._latency(len(packets))
        self._place(packets)
        self._enter(packets, tick)

    def _record(self, packets: Packets, tick: int) -> NDArray[np.int64]:
        """Keep these visits, which end at `tick`; their numbers, -1 for what is not kept."""
        stage, node = packets["stage"], packets["node"]
        tables = self.stages.table[stage]
        keep = self.stages.mixed[stage] & (packets["arrive"] >= self.since)
        keep &= (tables < _LAYERS - 1) | self.kept[node]
        numbers = np.full(len(packets), -1, dtype=np.int64)
        for table in range(_LAYERS):
            chosen = np.flatnonzero(keep & (tables == table))
            if not len(chosen):
                continue
            numbers[chosen] = self.counts[table] + np.arange(len(chosen))
            self.counts[table] += len(chosen)
            parts, own = self.parts[table], stage[chosen]
            for name in ("node", "arrive", "before", "owner"):
                parts[name].append(packets[name][chosen])
            parts["leave"].append(np.full(len(own), tick, dtype=np.int16))
            held = np.where(self.stages.pooled[own], self.runs[node[chosen]], 0)
            parts["run"].append(held.astype(np.int8))
            parts["entry"].append(self.stages.entry[own])
        return numbers

    def _tables(self) -> tuple[Table, Table, Table]:
        made: list[Table] = []
        moved: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        for number in range(1 if self.setting.free_routes else _LAYERS):
            parts = self.parts[number]
            column = {name: np.concatenate(parts.pop(name)) for name in _COLUMNS}
            # one key for both: the bits of a float that is not negative are in the order of its values
            key = column["node"].astype(np.uint64) << np.uint64(32)
            key |= column["arrive"].view(np.uint32)
            order = np.argsort(key)
            del key
            place = np.empty(len(order), dtype=np.int32)
            place[order] = np.arange(len(order), dtype=np.int32)
            if self.setting.free_routes:
                moved = place
            for name in _COLUMNS:
                column[name] = column[name][order]
            if len(moved):
                before = column["before"]
                column["before"] = np.where(before >= 0, moved[before], np.int32(-1))
            moved = place
            starts = np.searchsorted(column["node"], np.arange(self.setting.users + 1))
            made.append(Table(starts, **column))
        return (made[0], made[1], made[2]) if len(made) == _LAYERS else (made[0], made[0], made[0])


def _deal(packets: Packets, ticks: NDArray[np.int64], buckets: list[list[Packets]]) -> None:
    """Put each packet into the bucket of its tick; those beyond the last into that."""
    ticks = np.minimum(ticks, len(buckets) - 1).astype(np.int16)
    order = np.argsort(ticks, kind="stable")
    ticks, packets = ticks[order], packets[order]
    edges = np.flatnonzero(np.diff(ticks)) + 1
    for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(ticks)], strict=True):
        if end > begin:
            buckets[int(ticks[begin])].append(packets[begin:end].copy())
