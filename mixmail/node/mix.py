"""The role mix: take one layer off, refuse what came before, hold, and pass on in batches.

Rules (docs/protocol/packet.md, "One hop"; docs/protocol/mixing.md):
- header and MAC, then the replay tag, then the body, then the pool;
- everything leaves only on ticks, in random order, own answers like other people's packets;
- a tick that must hold adds loops of its own.  They count for the pool when they come by again, and
  are told from the agent's answers by an ident that only this mix knows.

Replay tags live in memory beside the keys they belong to.  That is enough: a restart renews the
keys, so a packet recorded before it cannot be opened any more.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from mixmail.directory.path import NetworkTooSmall, draw_loop
from mixmail.directory.view import View
from mixmail.effects import Effect, Emit, Frame, Send
from mixmail.errors import RemoteProtocolError
from mixmail.mixing import delays
from mixmail.mixing.pool import PoissonPool
from mixmail.mixing.replay import ReplayFilter
from mixmail.node.events import SurbReply
from mixmail.node.keys import EpochKeys
from mixmail.node.stats import Stats
from mixmail.node.ticked import TickedPool
from mixmail.node.wire import Kind
from mixmail.params import GEOMETRY, ID_BYTES, NODE_LIMITS, Network
from mixmail.randomness import Randomness
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.unwrap import OpenedHeader, open_header


@dataclass(frozen=True, slots=True)
class _Forward:
    next_id: bytes
    packet: bytes


@dataclass(frozen=True, slots=True)
class _Reply:
    ident: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class _Loop:
    """An own loop on its last stretch; nothing of it is needed any more."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A payload (25679 bytes) for the courier; `delay` in seconds is what the packet asked for."""

    payload: bytes
    delay: float


class Mix:
    """One node's mix: its pool, its replay filter and its loops."""

    def __init__(
        self, network: Network, own_id: bytes, keys: EpochKeys, view: View, rng: Randomness, stats: Stats
    ) -> None:
        self._params = network.parameters
        self._own_id = own_id
        self._keys = keys
        self._view = view
        self._rng = rng
        self._stats = stats
        self._replay = ReplayFilter(self._params)
        self._max_delay_ms = delays.max_delay_ms(self._params)
        self._loops: OrderedDict[bytes, float] = OrderedDict()  # ident: when it counts as lost
        self.pool: TickedPool[_Forward | _Reply | _Loop] = TickedPool(
            "mix", PoissonPool(self._params, rng, NODE_LIMITS.mix_pool), stats
        )

    def handle_packet(self, packet: bytes, now: float, source: bytes = b"") -> Delivered | None:
        """Take in one packet from the link `source`; what is for this node's courier is returned.

        RemoteProtocolError (counted) for a packet that breaks a rule.
        """
        self._stats.add("mix.in")
        epoch, header = self._open(packet, now)
        if not self._replay.check_and_add(epoch, header.replay_tag):
            self._refuse("replay", "this packet came before")
        if header.command.delay_ms > self._max_delay_ms:
            self._refuse("delay", "this packet asks for too long a delay")
        try:
            content = header.finish()
        except RemoteProtocolError:
            self._stats.add("drop.packet_body")
            raise
        delay = header.command.delay_ms / delays.MS
        ident = header.command.ident
        if header.command.kind is CommandKind.DELIVER:
            return Delivered(content, delay)
        if header.command.kind is CommandKind.FORWARD:
            self.pool.add(_Forward(ident, content), delay, now, source)
        elif self._loops.pop(ident, None) is not None:
            self._stats.add("mix.loops_back")
            self.pool.add(_Loop(), delay, now, source)
        else:
            self.pool.add(_Reply(ident, content), delay, now, source)
        return None

    def handle_tick(self, now: float) -> list[Effect]:
        """What leaves at this tick; nothing when nothing is due."""
        if not self.pool.due(now):
            return []
        effects: list[Effect] = self._add_loops(now) if self.pool.held(now) else []
        for item in self.pool.release(now):
            if isinstance(item, _Forward):
                self._stats.add("mix.out")
                effects.append(_packet_to(item.next_id, item.packet))
            elif isinstance(item, _Reply):
                self._stats.add("mix.replies")
                effects.append(Emit(SurbReply(item.ident, item.body)))
        return effects

    def forget_epoch(self, epoch: int) -> None:
        """Drop the replay tags of an epoch whose key is deleted."""
        self._replay.forget(epoch)

    def _open(self, packet: bytes, now: float) -> tuple[int, OpenedHeader]:
        # One key at a time, since the replay filter needs to know which epoch's key it was.
        for epoch, key in self._keys.live_mix(now):
            try:
                return epoch, open_header((key,), packet)
            except RemoteProtocolError:
                continue  # another epoch's packet, or nobody's: the end of the loop tells
        self._stats.add("drop.packet_header")
        raise RemoteProtocolError("no live key opens this packet")

    def _refuse(self, reason: str, text: str) -> None:
        self._stats.add(f"drop.packet_{reason}")
        raise RemoteProtocolError(text)

    def _add_loops(self, now: float) -> list[Effect]:
        """Loops for one held tick.

        Without enough other nodes for a loop there are none, and what is held waits for the view to
        grow, at most `params.held_packet_limit`: such a network has no senders either.
        """
        self._stats.add("mix.held_ticks")
        while self._loops and next(iter(self._loops.values())) <= now:
            self._loops.popitem(last=False)
            self._stats.add("mix.loops_lost")
        effects: list[Effect] = []
        for _ in range(delays.draw_loop_count(self._params, self._rng)):
            if len(self._loops) >= NODE_LIMITS.loops:
                break
            try:
                path = draw_loop(self._view, self._own_id, now, self._rng)
            except NetworkTooSmall:
                break
            epoch = self._keys.epoch
            waits = delays.draw_delays_ms(self._params, self._rng, len(path) + 1)
            hops = [Hop(node.node_id, node.mix_key(epoch), ms) for node, ms in zip(path, waits, strict=False)]
            hops.append(Hop(self._own_id, self._keys.public_mix()[0], waits[-1]))
            ident = self._rng.bytes(ID_BYTES)
            payload = self._rng.bytes(GEOMETRY.payload)
            packet = create_packet(hops, payload, self._rng, (CommandKind.SURB_REPLY, ident))
            self._loops[ident] = now + self._params.rto
            self._stats.add("mix.loops_out")
            effects.append(_packet_to(hops[0].node_id, packet))
        return effects


def _packet_to(node_id: bytes, packet: bytes) -> Send:
    return Send(node_id, Frame(Kind.PACKET, 0, packet))
