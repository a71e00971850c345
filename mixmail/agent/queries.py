"""One query on its way: packed for a fresh route, answered by its SURB, or forgotten.

Rules (docs/protocol/store.md, "Queries"): every query gets a fresh route, reply key and SURB; a query
without an answer after `params.rto` is forgotten and its task told so, which then starts anew with
everything fresh.  No answer is awaited twice and no blob is sent twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mixmail.boxes import query as boxquery
from mixmail.boxes.query import Answer, CourierReply, CourierRequest, Query, QueryOp
from mixmail.directory.descriptor import Descriptor
from mixmail.directory.path import draw_route
from mixmail.directory.view import View
from mixmail.effects import Effect, Emit, Frame, Send
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.mixing import delays
from mixmail.params import ID_BYTES, Network
from mixmail.randomness import Randomness
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.surb import SurbKeys, create_surb, open_surb_reply

from .events import QueryEnded

PACKET_KIND = 1
Way = tuple[bytes, bytes]
"""The courier and the proxy of one query."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one query asks, and what to do with its end.

    `field` gives the record-shaped field for a reply key (an owner's signature covers it).
    `ended` gets the answer, or None when the query was lost, and returns effects; `sent` is called
    with courier and proxy once the query has been handed to the link.  Nodes of `avoid` are neither.
    """

    op: QueryOp
    flags: int
    field: Callable[[bytes], bytes]
    ended: Callable[[Answer | None, float], list[Effect]]
    real: bool
    sent: Callable[[float, Way], list[Effect]] | None = None
    avoid: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class _InFlight:
    keys: SurbKeys
    reply_key: bytes
    task: Task
    expires: float
    nodes: tuple[bytes, ...]


class Queries:
    """The queries of one agent that are under way."""

    def __init__(self, network: Network, own_id: bytes, view: View, rng: Randomness) -> None:
        self._network = network
        self._own_id = own_id
        self._view = view
        self._rng = rng
        self._in_flight: OrderedDict[bytes, _InFlight] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Queries sent and not yet answered or forgotten."""
        return len(self._in_flight)

    @property
    def newest(self) -> bytes:
        """The ident of the query that left last; b"" when none is under way."""
        return next(reversed(self._in_flight), b"")

    def send(self, task: Task, now: float, avoid: frozenset[bytes] = frozenset()) -> tuple[list[Effect], Way]:
        """Pack `task` and send it to the first mix of a fresh route; the courier and proxy it has.

        They are none of `avoid` nor of `task.avoid`, as far as there are enough others.

        Raises directory.path.NetworkTooSmall when the view has too few nodes.
        """
        params = self._network.parameters
        route = draw_route(self._view, self._own_id, now, self._rng, avoid, task.avoid)
        epoch = int(now // params.epoch)
        delay = delays.draw_delays_ms(params, self._rng, 2 * params.mixes)
        out = [_hop(node, epoch, ms) for node, ms in zip(route.out, delay, strict=False)]
        back = [_hop(node, epoch, ms) for node, ms in zip(route.back, delay[params.mixes :], strict=True)]
        own = self._view.get(self._own_id)
        if own is None:
            raise LocalProtocolError("the own descriptor is not in the view")
        surb_id = self._rng.bytes(ID_BYTES)
        reply_key = self._rng.bytes(32)
        surb, keys = create_surb([*back, _hop(own, epoch, 0)], surb_id, self._rng)
        blob = boxquery.seal_query(
            Query(task.op, task.flags, reply_key, task.field(reply_key)),
            route.proxy.proxy_key(epoch),
            self._network.hash,
            route.proxy.node_id,
            epoch,
        )
        request = CourierRequest(route.proxy.node_id, surb, blob)
        packet = create_packet([*out, _hop(route.courier, epoch, 0)], request.pack(), self._rng)
        nodes = tuple(node.node_id for node in (*route.out, route.courier, route.proxy, *route.back))
        self._in_flight[surb_id] = _InFlight(keys, reply_key, task, now + params.rto, nodes)
        way = (route.courier.node_id, route.proxy.node_id)
        return [Send(route.out[0].node_id, Frame(PACKET_KIND, 0, packet))], way

    def handle_reply(self, surb_id: bytes, body: bytes, now: float) -> list[Effect]:
        """Open the body that came back by the SURB `surb_id`; unknown ids are dropped."""
        flight = self._in_flight.pop(surb_id, None)
        if flight is None:
            return []
        answer: Answer | None
        try:
            reply = CourierReply.parse(open_surb_reply(flight.keys, body))
            answer = boxquery.open_answer(flight.reply_key, reply.sealed)
        except RemoteProtocolError:
            # A courier or proxy answered with something that is none of ours: as good as no answer.
            answer = None
        ended = QueryEnded(answer is not None, flight.nodes)
        return [Emit(ended), *flight.task.ended(answer, now)]

    def forget_expired(self, now: float) -> list[Effect]:
        """End every query whose time is over."""
        effects: list[Effect] = []
        while self._in_flight:
            surb_id, flight = next(iter(self._in_flight.items()))
            if flight.expires > now:
                break
            del self._in_flight[surb_id]
            effects.append(Emit(QueryEnded(False, flight.nodes)))
            effects.extend(flight.task.ended(None, now))
        return effects

    def next_timeout(self) -> float | None:
        """When the oldest query is to be forgotten."""
        for flight in self._in_flight.values():
            return flight.expires
        return None


def _hop(node: Descriptor, epoch: int, delay_ms: int) -> Hop:
    return Hop(node.node_id, node.mix_key(epoch), delay_ms)
