"""The role mix: take one layer off, refuse what came before, hold, and pass on in batches.

Rules (docs/protocol/packet.md, "One hop"; docs/protocol/mixing.md):
- header and MAC, then the replay tag, then the body, then the pool; of a packet that was opened in another
  process (`mixmail.node.unwrapping`) the body is open already when its replay tag is looked up;
- everything leaves only on ticks, in random order, own answers like other people's packets;
- own loops leave at a steady pace, and more of them at a tick that must hold for want of packets.
  They count for the pool when they come by again, and are told from the agent's answers by an ident
  that only this mix knows;
- while the blocking alarm holds, loops leave and nothing else.

Replay tags live in memory beside the keys they belong to.  That is enough: a restart renews the
keys, so a packet recorded before it cannot be opened any more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

from mixmail.directory.view import View
from mixmail.effects import Effect, Emit, Frame, Send
from mixmail.errors import RemoteProtocolError
from mixmail.mixing import delays
from mixmail.mixing.alarm import BlockingAlarm
from mixmail.mixing.pool import PoissonPool
from mixmail.mixing.replay import ReplayFilter
from mixmail.mixing.ticks import next_tick
from mixmail.node.events import BlockingSuspected, SurbReply
from mixmail.node.keys import EpochKeys
from mixmail.node.loops import OwnLoops
from mixmail.node.stats import Stats
from mixmail.node.ticked import TickedPool
from mixmail.node.unwrapping import Opened, open_under
from mixmail.node.wire import Kind
from mixmail.params import NODE_LIMITS, Network
from mixmail.randomness import Randomness
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.unwrap import OpenedHeader


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
        self._keys = keys
        self._rng = rng
        self._stats = stats
        self._replay = ReplayFilter(self._params)
        self._max_delay_ms = delays.max_delay_ms(self._params)
        self._alarm = BlockingAlarm(self._params)
        self._loops = OwnLoops(network, own_id, keys, view, rng, stats)
        self._draining = False
        self._strategy: PoissonPool[_Forward | _Reply | _Loop] = PoissonPool(
            self._params, rng, NODE_LIMITS.mix_pool
        )
        self.pool: TickedPool[_Forward | _Reply | _Loop] = TickedPool("mix", self._strategy, stats)

    def handle_packet(self, packet: bytes, now: float, source: bytes = b"") -> Delivered | None:
        """Take in one packet from the link `source`; what is for this node's courier is returned.

        RemoteProtocolError (counted) for a packet that breaks a rule.
        """
        found = open_under(self._keys.live_mix(now), packet)
        epoch, header = found if found is not None else (0, None)
        return self._take_in(epoch, header, now, source)

    def handle_opened(self, opened: Opened | None, now: float, source: bytes = b"") -> Delivered | None:
        """The same for a packet that was opened elsewhere; None for one that no live key opens."""
        return self._take_in(opened.epoch if opened else 0, opened, now, source)

    def _take_in(
        self, epoch: int, packet: OpenedHeader | Opened | None, now: float, source: bytes
    ) -> Delivered | None:
        self._stats.add("mix.in")
        if packet is None:
            self._refuse("header", "no live key opens this packet")
        if not self._replay.check_and_add(epoch, packet.replay_tag, source):
            self._refuse("replay", "this packet came before")
        command = packet.command
        if command.delay_ms > self._max_delay_ms:
            self._refuse("delay", "this packet asks for too long a delay")
        try:
            content = packet.finish()
        except RemoteProtocolError:
            self._stats.add("drop.packet_body")
            raise
        delay = command.delay_ms / delays.MS
        ident = command.ident
        if command.kind is CommandKind.DELIVER:
            return Delivered(content, delay)
        if command.kind is CommandKind.FORWARD:
            self.pool.add(_Forward(ident, content), delay, now, source)
        elif self._loops.came_back(ident):
            self._alarm.came_in(ident, now)
            self.pool.wait_until(next_tick(self._params, now))
            self.pool.add(_Loop(), delay, now, source)
        else:
            self.pool.add(_Reply(ident, content), delay, now, source)
        return None

    def start(self, now: float) -> None:
        """Begin with own loops."""
        self._loops.start(now)

    def drain(self, now: float) -> None:
        """Send what waits when its time has come, however few they are, and no own loops any more.

        What the blocking alarm holds is dropped: sent, it would serve the attacker; it would wait for ever.
        """
        if self._alarm.holds(now):
            self._stats.add("drop.mix_blocked", self.pool.clear())
        self._draining = True
        self._strategy.ignore_minimum()

    @property
    def wake(self) -> float:
        """The next moment at which `handle_tick` has something to do."""
        if self._draining:  # nothing comes in, so the alarm would only hold what is to leave
            return self.pool.wake
        leaves = self.pool.wake if self.pool.wake < self._alarm.holds_from else math.inf
        return min(leaves, self._loops.wake, self._alarm.gives_up_at)

    def holds(self, now: float) -> bool:
        """Whether the blocking alarm lets nothing but own loops leave."""
        return not self._draining and self._alarm.holds(now)

    @property
    def blocking_suspected(self) -> bool:
        """True from when the alarm gave up until an own loop comes in again."""
        return self._alarm.given_up

    def handle_tick(self, now: float) -> list[Effect]:
        """What leaves at this tick; nothing when nothing is due."""
        if now < self.wake:
            return []
        effects: list[Effect] = []
        if self._draining:
            return [self._leave(item) for item in self.pool.release(now) if not isinstance(item, _Loop)]
        if self._alarm.check(now):
            dropped = self.pool.clear()
            self._stats.add("drop.mix_blocked", dropped)
            effects.append(Emit(BlockingSuspected(dropped)))
        loops = self._loops.take_due(now)
        if self.pool.due(now) and not self._alarm.holds(now):
            if self.pool.held(now):
                self._stats.add("mix.held_ticks")
                loops.extend(self._loops.make(delays.draw_loop_count(self._params, self._rng), now))
            effects.extend(
                self._leave(item) for item in self.pool.release(now) if not isinstance(item, _Loop)
            )
        for ident, packet in loops:  # among the others, in no order
            self._alarm.sent(ident, now)
            effects.insert(self._rng.below(len(effects) + 1), packet)
        return effects

    def forget_epoch(self, epoch: int) -> None:
        """Drop the replay tags of an epoch whose key is deleted."""
        self._replay.forget(epoch)

    def _leave(self, item: _Forward | _Reply) -> Effect:
        if isinstance(item, _Reply):
            self._stats.add("mix.replies")
            return Emit(SurbReply(item.ident, item.body))
        self._stats.add("mix.out")
        return Send(item.next_id, Frame(Kind.PACKET, 0, item.packet))

    def _refuse(self, reason: str, text: str) -> NoReturn:
        self._stats.add(f"drop.packet_{reason}")
        raise RemoteProtocolError(text)
