"""The role courier: the last hop of a query's packet and the first of its answer.

It sees a sealed blob, the proxy that it is for, and a reply block; never the operation, the key or who
asks (docs/protocol/store.md, "Courier").  Rules:
- a blob, and later its answer, each wait Exp(mean_delay * courier_delay_fraction) in its own pool;
- one answer from exactly the proxy that was asked goes back by the reply block; there is no second one;
- no answer within `params.rto`: forgotten in silence.  There is no cache and no repetition, because a
  courier that could repeat a query could tell cover from real mail by what happens to it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from mixmail.boxes.query import CourierReply, CourierRequest, Status
from mixmail.effects import Effect, Frame, Send
from mixmail.encoding import require_length
from mixmail.errors import RemoteProtocolError
from mixmail.mixing import delays
from mixmail.mixing.pool import Poisson
from mixmail.node.mix import Delivered
from mixmail.node.stats import Stats
from mixmail.node.ticked import TickedPool
from mixmail.node.wire import Kind, new_stream
from mixmail.params import GEOMETRY, NODE_LIMITS, Network
from mixmail.randomness import Randomness
from mixmail.sphinx.surb import use_surb


@dataclass(frozen=True, slots=True)
class _Pending:
    proxy: bytes
    surb: bytes
    expires: float


@dataclass(frozen=True, slots=True)
class _Reply:
    surb: bytes
    sealed: bytes


class Courier:
    """The queries that one courier carries to proxies."""

    def __init__(self, network: Network, rng: Randomness, stats: Stats) -> None:
        self._params = network.parameters
        self._rng = rng
        self._stats = stats
        self._pending: OrderedDict[int, _Pending] = OrderedDict()  # in the order in which they expire
        self.pool: TickedPool[CourierRequest | _Reply] = TickedPool(
            "courier", Poisson(self._params, rng, NODE_LIMITS.courier_pool), stats
        )

    @property
    def pending(self) -> int:
        """How many queries wait for their proxy."""
        return len(self._pending)

    def handle_delivered(self, delivered: Delivered, now: float, source: bytes = b"") -> None:
        """Take in the payload of a packet that the link `source` brought; RemoteProtocolError if it is no
        request."""
        request = CourierRequest.parse(delivered.payload)
        self._stats.add("courier.in")
        wait = delivered.delay + delays.draw_courier_delay(self._params, self._rng)
        self.pool.add(request, wait, now, source)

    def handle_reply(self, peer: bytes, frame: Frame, now: float) -> None:
        """Take in a PROXY_REPLY; RemoteProtocolError unless this proxy still owes this answer."""
        require_length("sealed answer", frame.payload, GEOMETRY.reply_ct)
        pending = self._pending.get(frame.stream)
        if pending is None or pending.proxy != peer or pending.expires <= now:
            raise RemoteProtocolError("nobody waits for this answer")
        del self._pending[frame.stream]
        self._stats.add("courier.answers")
        wait = delays.draw_courier_delay(self._params, self._rng)
        self.pool.add(_Reply(pending.surb, frame.payload), wait, now, peer)

    def handle_tick(self, now: float) -> list[Effect]:
        """The blobs and answers that leave at this tick."""
        if not self.pool.due(now):
            return []
        self._forget_expired(now)
        effects: list[Effect] = []
        for item in self.pool.release(now):
            effects.extend(self._ask(item, now) if isinstance(item, CourierRequest) else self._answer(item))
        return effects

    def _ask(self, request: CourierRequest, now: float) -> list[Effect]:
        if len(self._pending) >= NODE_LIMITS.courier_pending:
            self._stats.add("drop.courier_pending")
            return []
        stream = new_stream(self._pending, self._rng)
        self._pending[stream] = _Pending(request.proxy_id, request.surb, now + self._params.rto)
        return [Send(request.proxy_id, Frame(Kind.PROXY_QUERY, stream, request.blob))]

    def _answer(self, reply: _Reply) -> list[Effect]:
        payload = CourierReply(Status.OK, reply.sealed).pack()
        try:
            first, packet = use_surb(reply.surb, payload)
        except RemoteProtocolError:
            self._stats.add("drop.courier_surb")
            return []
        return [Send(first, Frame(Kind.PACKET, 0, packet))]

    def _forget_expired(self, now: float) -> None:
        while self._pending and next(iter(self._pending.values())).expires <= now:
            self._pending.popitem(last=False)
            self._stats.add("courier.unanswered")
