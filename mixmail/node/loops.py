"""A mix's own loops: made at a steady pace, and more of them when its pool must be filled.

A loop goes all the way round the layers and comes in to its mix from where the packets come that the mix
forwards (`directory.path.draw_loop`); it ends with an ident that only this mix knows.  So whoever lets own
loops pass lets other people's packets pass in the same measure.
"""

from __future__ import annotations

from collections import OrderedDict

from mixmail.directory.descriptor import epoch_of
from mixmail.directory.path import NetworkTooSmall, draw_loop
from mixmail.directory.view import View
from mixmail.effects import Effect, Frame, Send
from mixmail.mixing import delays
from mixmail.mixing.ticks import first_tick_from, tick_time
from mixmail.node.keys import EpochKeys
from mixmail.node.stats import Stats
from mixmail.node.wire import Kind
from mixmail.params import GEOMETRY, ID_BYTES, NODE_LIMITS, Network
from mixmail.randomness import Randomness
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop, create_packet


class OwnLoops:
    """The loops of one mix that are under way, and when the next one leaves (`wake`, a tick)."""

    def __init__(
        self, network: Network, own_id: bytes, keys: EpochKeys, view: View, rng: Randomness, stats: Stats
    ) -> None:
        self._params = network.parameters
        self._own_id = own_id
        self._keys = keys
        self._view = view
        self._rng = rng
        self._stats = stats
        self._under_way: OrderedDict[bytes, float] = OrderedDict()  # ident: when it counts as lost
        self.wake = 0.0

    def start(self, now: float) -> None:
        """Begin the steady pace."""
        self._draw_next(now, self._rng.uniform())

    def take_due(self, now: float) -> list[tuple[bytes, Effect]]:
        """The loop of the steady pace, (ident, packet), when its tick has come."""
        if now < self.wake:
            return []
        params = self._params
        self._draw_next(now, 1 + params.loop_jitter * (2 * self._rng.uniform() - 1))
        return self.make(1, now)

    def make(self, count: int, now: float) -> list[tuple[bytes, Effect]]:
        """`count` fresh loops, (ident, packet) each; fewer when too few other nodes are known."""
        self._forget_lost(now)
        made: list[tuple[bytes, Effect]] = []
        for _ in range(min(count, NODE_LIMITS.loops - len(self._under_way))):
            try:
                path = draw_loop(self._view, self._own_id, now, self._rng)
            except NetworkTooSmall:
                break
            epoch = epoch_of(self._params, now)
            # Always spacings: a loop that is due and not there says something only if its way takes
            # the same time whenever it goes.
            waits = delays.draw_spacings_ms(self._params, self._rng, len(path))
            hops = [Hop(node.node_id, node.mix_key(epoch), ms) for node, ms in zip(path, waits, strict=True)]
            (last,) = delays.draw_exponential_ms(self._params, self._rng, 1)
            hops.append(Hop(self._own_id, self._keys.own_mix(now), last))
            ident = self._rng.bytes(ID_BYTES)
            payload = self._rng.bytes(GEOMETRY.payload)
            packet = create_packet(hops, payload, self._rng, (CommandKind.SURB_REPLY, ident))
            self._under_way[ident] = now + self._params.rto
            self._stats.add("mix.loops_out")
            made.append((ident, Send(hops[0].node_id, Frame(Kind.PACKET, 0, packet))))
        return made

    def came_back(self, ident: bytes) -> bool:
        """True when `ident` is of an own loop, the first time."""
        if self._under_way.pop(ident, None) is None:
            return False
        self._stats.add("mix.loops_back")
        return True

    def _draw_next(self, now: float, share: float) -> None:
        params = self._params
        moment = now + share * params.loop_slots * params.slot
        self.wake = tick_time(params, first_tick_from(params, moment))

    def _forget_lost(self, now: float) -> None:
        while self._under_way and next(iter(self._under_way.values())) <= now:
            self._under_way.popitem(last=False)
            self._stats.add("mix.loops_lost")
