"""Packets as integers through the shipping schedule, paths, delay laws and pools, on a virtual clock.

Each user is a node: it sends one query a slot, mixes, and is courier and proxy.  What ships is called:
`agent.schedule`, `directory.path` on a real view, `mixing.delays`, `mixing.pool`.  Without cryptography,
homes and loss: a proxy's homes answer after `HOMES` seconds.

A `Trace` has one row for each time a packet crosses a link, in the order of sending.  A query's hops:
0 owner to m1, 1 to m2, 2 to m3, 3 to courier, 4 to proxy, 5 to courier, 6 to m4, 7 to m5, 8 to m6, 9 home.
"""

from __future__ import annotations

import heapq
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixmail.agent.schedule import SendSchedule
from mixmail.directory.path import draw_loop, draw_route
from mixmail.mixing import delays
from mixmail.mixing.pool import STRATEGIES, Poisson, Strategy
from mixmail.mixing.ticks import first_tick_from, tick_number, tick_time
from mixmail.params import DAY, MAIL, NODE_LIMITS, NetworkParameters
from mixmail.testing import SeededRandomness

from .world import NOON, World

QUERY, LOOP = 0, 1
OUT, BACK = (0, 1, 2), (6, 7, 8)
_COURIER_IN, _PROXY_IN, _COURIER_BACK, _HOME = 3, 4, 5, 9
HOMES = 0.1
HEARD = 5.0  # seconds until a restarted node's new keys are known to all
BEHIND = 600.0  # seconds for which some still use yesterday's view: a round of gossip, or a late clock
LATENCY = (0.005, 0.050)
_SLOT, _ARRIVE, _WAKE, _PACE, _RESTART = range(5)
_MANY = 2_000  # users beyond which the view's own lists without oneself would take gigabytes


@dataclass(frozen=True)
class Setting:
    """One network to simulate; `seconds` of virtual time."""

    users: int = 1_000
    params: NetworkParameters = MAIL
    strategy: str = "poisson_pool"
    free_routes: bool = False  # any node in any place, not what ships
    poisson_schedule: bool = False  # gaps Exp(slot) in place of slots, not what ships
    active: float = 1.0  # the share of slots that send; below 1: cover off, not what ships
    turn_at: float | None = None  # seconds after the start at which the day, and so the view, turns ...
    turn_behind: float = 0.1  # ... for all but this share of the users, who follow `BEHIND` seconds later
    turn_change: float = 0.02  # nodes that only today's view has, and as many that only yesterday's has
    restart_at: float | None = None  # ... and at which `restart_share` of the nodes restart
    restart_share: float = 0.1
    seconds: float = 2_100.0


@dataclass(frozen=True)
class Trace:
    """What crossed the links; arrays of one length (rows), times in seconds since the start.

    `mixed`: the row brings a relayed packet into a mix that hides it.  `kind`, `owner` and `view` (from which
    its way was drawn: 0 yesterday's, 1 today's) are by packet.  `known`: (2 views, nodes), who is in them.
    `held`: (node, tick) at which a pool held back; `restarts`: (time, node).
    """

    setting: Setting
    start: float
    sent: NDArray[np.float64]
    received: NDArray[np.float64]
    src: NDArray[np.int32]
    dst: NDArray[np.int32]
    packet: NDArray[np.int32]
    hop: NDArray[np.int8]
    mixed: NDArray[np.bool_]
    kind: NDArray[np.int8]
    owner: NDArray[np.int32]
    view: NDArray[np.int8]
    known: NDArray[np.bool_]
    held: set[tuple[int, int]] = field(default_factory=set)
    restarts: list[tuple[float, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Packet:
    way: tuple[int, ...]
    waits: list[int]  # ms by hop
    mixed: frozenset[int]
    kind: int
    created: float
    row: int = 0  # of the trace: its last crossing


class Flow:
    """One run; `run()` gives the trace."""

    def __init__(self, setting: Setting, seed: int, world: World | None = None) -> None:
        self.setting = setting
        self.world = world or World(setting.users, setting.params, seed)
        self.params = setting.params
        self.rng = SeededRandomness(f"anonymity {seed}")
        self.start = NOON
        if setting.turn_at is not None:
            self.start = (NOON // DAY + 1) * DAY - setting.turn_at
        self._draw_views()
        pool, limits, users = STRATEGIES[setting.strategy], NODE_LIMITS, range(setting.users)
        self.pools: list[tuple[Strategy[Any], Strategy[Any], Strategy[Any]]] = [
            (
                pool(self.params, self.rng, limits.mix_pool),
                Poisson(self.params, self.rng, limits.courier_pool),
                Poisson(self.params, self.rng, limits.proxy_pool),
            )
            for _ in users
        ]
        self.wakes = [float("inf")] * setting.users
        self.schedules = [SendSchedule(self.params, self.rng, self.start) for _ in users]
        self.packets: dict[int, _Packet] = {}
        self.kinds, self.owners, self.drawn_from = array("b"), array("i"), array("b")
        self.times = {name: array("d") for name in ("sent", "received")}
        self.rows = {name: array("i") for name in ("src", "dst", "packet", "hop", "mixed")}
        self.heap: list[tuple[float, int, int, int, int]] = []
        self.serial = 0
        self.held: set[tuple[int, int]] = set()
        self.restarts: list[tuple[float, int]] = []
        self.fresh_from: dict[int, float] = {}

    def run(self) -> Trace:
        """Simulate `setting.seconds`."""
        setting, params = self.setting, self.params
        for user, schedule in enumerate(self.schedules):
            first = schedule.moment
            if setting.poisson_schedule:
                first = self.start + self.rng.exponential(params.slot)
            self._at(first, _SLOT, user)
            self._at(self._pace(self.start, self.rng.uniform()), _PACE, user)
        if setting.restart_at is not None:
            self._at(self.start + setting.restart_at, _RESTART)
        calls = (self._slot, self._arrive, self._wake, self._loop_pace, self._restart)
        end, heap = self.start + setting.seconds, self.heap
        while heap and heap[0][0] <= end:
            now, _, what, first_of, second = heapq.heappop(heap)
            calls[what](now, first_of, second)
        return self._trace()

    def _trace(self) -> Trace:
        table = {name: np.array(column) for name, column in self.rows.items()}
        times = {name: np.array(column) for name, column in self.times.items()}
        return Trace(
            self.setting,
            self.start,
            times["sent"] - self.start,
            times["received"] - self.start,
            table["src"].astype(np.int32),
            table["dst"].astype(np.int32),
            table["packet"].astype(np.int32),
            table["hop"].astype(np.int8),
            table["mixed"].astype(np.bool_),
            np.array(self.kinds, dtype=np.int8),
            np.array(self.owners, dtype=np.int32),
            np.array(self.drawn_from, dtype=np.int8),
            self.known,
            self.held,
            self.restarts,
        )

    def _draw_views(self) -> None:
        """Who is in yesterday's view and who in today's, and who keeps yesterday's a while longer."""
        setting, users = self.setting, self.setting.users
        self.known = np.ones((2, users), dtype=np.bool_)
        self.views = (self.world.view, self.world.view)
        self.behind: frozenset[int] = frozenset()
        if setting.turn_at is None:
            return
        change = round(users * setting.turn_change)
        changed = self.rng.sample(range(users), 2 * change)
        self.known[0, changed[:change]] = self.known[1, changed[change:]] = False
        self.views = (self.world.part(self.known[0]), self.world.part(self.known[1]))
        self.behind = frozenset(self.rng.sample(range(users), round(users * setting.turn_behind)))

    def _view(self, user: int, now: float) -> int:
        """0: yesterday's view, 1: today's."""
        if self.setting.turn_at is None:
            return 1
        late = BEHIND if user in self.behind else 0.0
        return int(now >= self.start + self.setting.turn_at + late)

    def _at(self, when: float, what: int, first: int = 0, second: int = 0) -> None:
        self.serial += 1
        heapq.heappush(self.heap, (when, self.serial, what, first, second))

    # events

    def _slot(self, now: float, user: int, _: int) -> None:
        if self.setting.poisson_schedule:
            following = now + self.rng.exponential(self.params.slot)
        else:
            self.schedules[user].take(now)
            following = self.schedules[user].moment
        self._at(following, _SLOT, user)
        if self.setting.active >= 1.0 or self.rng.uniform() < self.setting.active:
            self._new(user, self._route(user, now), (*OUT, *BACK), QUERY, now)

    def _route(self, user: int, now: float) -> tuple[int, ...]:
        rng, users, number = self.rng, self.setting.users, self.world.numbers
        if self.setting.free_routes:
            way: list[int] = []
            while len(way) < 7:
                if (node := rng.below(users)) != user and node not in way:
                    way.append(node)
            proxy = rng.below(users)
            return (*way[:4], proxy, way[3], *way[4:], user)
        own = self.world.ids[user]
        while True:
            # Very many users share one asker and draw again when they meet themselves: the same law.
            asker = own if users <= _MANY else bytes(32)
            route = draw_route(self.views[self._view(user, now)], asker, now, rng)
            nodes = [*route.out, route.courier, route.proxy, route.courier, *route.back]
            numbers = [number[node.node_id] for node in nodes]
            if user not in numbers:
                return (*numbers, user)

    def _new(self, owner: int, way: tuple[int, ...], mixed: tuple[int, ...], kind: int, now: float) -> None:
        if kind == QUERY:
            drawn = delays.draw_delays_ms(self.params, self.rng, len(mixed))
        else:
            drawn = delays.draw_spacings_ms(self.params, self.rng, len(way) - 1)
            drawn += delays.draw_exponential_ms(self.params, self.rng, 1)
        waits = [0] * len(way)
        for hop, wait in zip(mixed if kind == QUERY else range(len(way)), drawn, strict=True):
            waits[hop] = wait
        packet = len(self.kinds)
        self.kinds.append(kind)
        self.owners.append(owner)
        self.drawn_from.append(self._view(owner, now))
        self.packets[packet] = _Packet(way, waits, frozenset(mixed), kind, now)
        self._send(owner, packet, 0, now)

    def _send(self, src: int, packet: int, hop: int, now: float) -> None:
        info, rows = self.packets[packet], self.rows
        received = now + LATENCY[0] + (LATENCY[1] - LATENCY[0]) * self.rng.uniform()
        info.row = len(rows["src"])
        self.times["sent"].append(now)
        self.times["received"].append(received)
        rows["src"].append(src)
        rows["dst"].append(info.way[hop])
        rows["packet"].append(packet)
        rows["hop"].append(hop)
        rows["mixed"].append(hop in info.mixed)
        self._at(received, _ARRIVE, packet, hop)

    def _arrive(self, now: float, packet: int, hop: int) -> None:
        info = self.packets[packet]
        node = info.way[hop]
        if self.fresh_from.get(node, 0.0) > info.created:
            self._lose(packet)  # sealed to a key that died with the process
            return
        wait = info.waits[hop] / delays.MS
        which = 0
        if info.kind == QUERY and hop in (_COURIER_IN, _PROXY_IN, _COURIER_BACK):
            wait = delays.draw_courier_delay(self.params, self.rng)
            which = 2 if hop == _PROXY_IN else 1
            wait += HOMES if hop == _PROXY_IN else 0.0
        source = (info.way[hop - 1] if hop else self.owners[packet]).to_bytes(4, "big")
        if not self.pools[node][which].add((packet, hop), wait, now, source):
            self._lose(packet)
        self._rearm(node, now)

    def _lose(self, packet: int) -> None:
        """A packet that no mix took in; the observer is told, so it is no candidate there."""
        self.rows["mixed"][self.packets.pop(packet).row] = 0

    def _rearm(self, node: int, now: float) -> None:
        moments = [moment for pool in self.pools[node] if (moment := pool.next_release(now)) is not None]
        # What comes within the slack after a tick may still leave with it: at once, not before it came.
        if moments and (when := max(now, min(moments))) < self.wakes[node]:
            self.wakes[node] = when
            self._at(when, _WAKE, node)

    def _wake(self, now: float, node: int, _: int) -> None:
        if self.wakes[node] != now:
            return
        self.wakes[node] = float("inf")
        mix = self.pools[node][0]
        if mix.held(now):
            self.held.add((node, tick_number(self.params, now)))
            for _ in range(delays.draw_loop_count(self.params, self.rng)):
                self._loop(node, now)
        for pool in self.pools[node]:
            for packet, hop in pool.release(now):
                if hop + 1 == len(self.packets[packet].way):
                    del self.packets[packet]
                else:
                    self._send(node, packet, hop + 1, now)
        self._rearm(node, now)

    def _pace(self, now: float, share: float) -> float:
        moment = now + share * self.params.loop_slots * self.params.slot
        return tick_time(self.params, first_tick_from(self.params, moment))

    def _loop_pace(self, now: float, node: int, _: int) -> None:
        jitter = 1 + self.params.loop_jitter * (2 * self.rng.uniform() - 1)
        self._at(self._pace(now, jitter), _PACE, node)
        self._loop(node, now)

    def _loop(self, node: int, now: float) -> None:
        view, own = self.views[self._view(node, now)], self.world.ids[node]
        way = draw_loop(view, own, now, self.rng)
        layer = None if self.setting.free_routes else view.layer_of(own, now)
        # The node in a courier's place is told from a mix by the layers on both sides of it.
        told = None if layer is None else len(way) - 1 - layer
        mixed = tuple(hop for hop in range(len(way)) if hop != told)
        self._new(node, (*(self.world.numbers[item.node_id] for item in way), node), mixed, LOOP, now)

    def _restart(self, now: float, _: int, __: int) -> None:
        for node in range(self.setting.users):
            if self.rng.uniform() < self.setting.restart_share:
                for pool in self.pools[node]:
                    pool.clear()
                self.fresh_from[node] = now + HEARD
                self.restarts.append((now - self.start, node))
