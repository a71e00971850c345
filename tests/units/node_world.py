"""A few nodes on a virtual clock, links of one millisecond, and a client that builds queries by hand."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mixmail.boxes import query as boxquery
from mixmail.boxes.query import Answer, CourierReply, CourierRequest, Query, QueryOp
from mixmail.directory import puzzle
from mixmail.directory.descriptor import Descriptor
from mixmail.directory.path import Route, draw_route
from mixmail.directory.view import Checks, View
from mixmail.effects import Done, Effect, Emit, Frame, Offload, Send
from mixmail.mixing import delays
from mixmail.node.commands import Command, LinkUp, Start
from mixmail.node.core import Node
from mixmail.node.events import SurbReply
from mixmail.node.keys import NodeKeys
from mixmail.node.wire import Kind
from mixmail.params import DAY, DEMO, Network, NetworkParameters, day_of
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.surb import create_surb, open_surb_reply
from mixmail.testing import MemoryStore, SeededRandomness

NOON = 20_000.0 * DAY + 43_200.0
TODAY = day_of(NOON)
LATENCY = 0.001
# Without the steady loops, which a test that counts packets would have to tell from its own.
PARAMS = dataclasses.replace(DEMO, puzzle_memory=8_192, stamp_memory=8_192, loop_slots=1e6)


@dataclass(frozen=True)
class Seen:
    """One frame as an observer of the link sees it."""

    time: float
    sender: bytes
    receiver: bytes
    frame: Frame


def make_keys(network: Network, seed: bytes, day: int = TODAY) -> NodeKeys:
    """Keys with a solved puzzle."""
    node_id = NodeKeys(seed, b"", 0, b"").node_id
    proof = puzzle.solve(network, node_id, day, 0, 10_000)
    assert proof is not None
    return NodeKeys(seed, proof.nonce, proof.q, proof.storage_id)


class World:
    """`count` nodes that know each other.  Jobs run at once, but for those of the lane `holds`: they wait
    in `held` until `bring_back`."""

    def __init__(
        self,
        count: int = 12,
        params: NetworkParameters = PARAMS,
        meet: bool = True,
        seed: int = 1,
        checks: Checks | None = None,
        unwrap_ahead: int = 0,
    ) -> None:
        self.holds = ""
        self.held: list[tuple[Node, Offload]] = []
        self.network = Network(bytes([7]) * 32, TODAY - 100, params)
        self.params = params
        self.now = NOON
        self.rng = SeededRandomness(f"world {seed}")
        self.nodes: list[Node] = []
        self.by_id: dict[bytes, Node] = {}
        self.stores: list[MemoryStore] = []
        self.keys: list[NodeKeys] = []
        self.seen: list[Seen] = []
        self.events: dict[bytes, list[Any]] = {}
        self.down: set[bytes] = set()
        self.wakes: dict[bytes, int] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._planned: dict[bytes, float] = {}
        checks = checks or Checks()
        for number in range(count):
            rng = SeededRandomness(f"node {seed} {number}")
            keys = make_keys(self.network, rng.bytes(32))
            store = MemoryStore()
            endpoint = f"tcp:host=node{number}:port=1"
            node = Node(
                self.network,
                keys,
                endpoint,
                bytes(32),
                store,
                rng,
                View(self.network, checks),
                unwrap_ahead=unwrap_ahead,
            )
            self.nodes.append(node)
            self.stores.append(store)
            self.keys.append(keys)
            self.by_id[node.node_id] = node
            self.events[node.node_id] = []
            self.wakes[node.node_id] = 0
        for node in self.nodes:
            self.command(node, Start())
        if meet:
            for node in self.nodes:
                for other in self.nodes:
                    if other is not node:
                        node.view.add(Descriptor.parse(other.descriptor), self.now)

    # driving

    def command(self, node: Node, command: Command) -> None:
        """Hand one command to a node and carry out what it asks for."""
        self.carry_out(node, node.handle_command(command, self.now))

    def frame(self, node: Node, peer: bytes, kind: int, payload: bytes, stream: int = 0) -> None:
        """Hand one frame to a node and carry out what it asks for."""
        self.carry_out(node, node.handle_frame(peer, Frame(kind, stream, payload), self.now))

    def link_all(self) -> None:
        """Open a link between each two nodes."""
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    self.command(node, LinkUp(other.node_id))

    def carry_out(self, node: Node, effects: list[Effect]) -> None:
        """Do what a node asked for."""
        for effect in effects:
            if isinstance(effect, Send):
                assert effect.peer != node.node_id
                self.seen.append(Seen(self.now, node.node_id, effect.peer, effect.frame))
                self._at(self.now + LATENCY, self._arrival(node.node_id, effect.peer, effect.frame))
            elif isinstance(effect, Offload) and effect.lane == self.holds:
                self.held.append((node, effect))
            elif isinstance(effect, Offload):
                self._do(node, effect)
            elif isinstance(effect, Emit):
                self.events[node.node_id].append(effect.event)
        self._plan(node)

    def _do(self, node: Node, effect: Offload) -> None:
        try:
            result = effect.job()
        except Exception as error:
            result = error
        self.carry_out(node, node.handle_command(Done(effect.token, result), self.now))

    def bring_back(self, number: int = 0, failure: Exception | None = None) -> None:
        """Do the held job `number` now, or let it fail."""
        node, effect = self.held.pop(number)
        if failure is None:
            self._do(node, effect)
        else:
            self.carry_out(node, node.handle_command(Done(effect.token, failure), self.now))

    def hang(self, *node_ids: bytes) -> None:
        """From now on these nodes do nothing and answer nothing."""
        self.down.update(node_ids)

    def unhang(self) -> None:
        """They go on as if nothing had been."""
        back, self.down = self.down, set()
        for node_id in back:
            self._plan(self.by_id[node_id])

    def _arrival(self, sender: bytes, receiver: bytes, frame: Frame) -> Callable[[], None]:
        def arrive() -> None:
            node = self.by_id.get(receiver)
            if node is not None and receiver not in self.down and sender not in self.down:
                self.carry_out(node, node.handle_frame(sender, frame, self.now))

        return arrive

    def _plan(self, node: Node) -> None:
        when = node.next_timeout()
        if node.node_id in self.down or when is None or self._planned.get(node.node_id, float("inf")) <= when:
            return
        self._planned[node.node_id] = when

        def wake() -> None:
            if self._planned.get(node.node_id) != when:
                return
            del self._planned[node.node_id]
            if node.node_id in self.down:
                self._at(self.now + self.params.slot, lambda: self._plan(node))  # asleep: look again later
                return
            due = node.next_timeout()
            if due is not None and due <= self.now:
                self.wakes[node.node_id] += 1
                self.carry_out(node, node.handle_timeout(self.now))
                after = node.next_timeout()
                assert after is None or after > self.now, "what was due is still due"
            self._plan(node)

        self._at(when, wake)

    def _at(self, when: float, job: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._queue, (when, self._serial, job))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let virtual time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end and not until():
            when, _, job = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            job()
        if not until():
            self.now = end

    # the client at node 0

    @property
    def client(self) -> Node:
        """The node whose agent asks."""
        return self.nodes[0]

    def epoch(self) -> int:
        """The epoch of now."""
        return int(self.now // self.params.epoch)

    def hop(self, node: Descriptor, delay_ms: int) -> Hop:
        """A hop at `node` with its key of now."""
        return Hop(node.node_id, node.mix_key(self.epoch()), delay_ms)

    def own(self) -> Descriptor:
        """The client's descriptor."""
        found = self.client.view.get(self.client.node_id)
        assert found is not None
        return found

    def blob(self, query: Query, proxy: Descriptor) -> bytes:
        """`query` sealed to `proxy`."""
        key = proxy.proxy_key(self.epoch())
        return boxquery.seal_query(query, key, self.network.hash, proxy.node_id, self.epoch())

    def ask(
        self, op: QueryOp, field: bytes | Callable[[bytes], bytes], route: Route | None = None, flags: int = 0
    ) -> Answer:
        """One query all the way and back; AssertionError when no answer comes within the RTO."""
        route = route or draw_route(self.client.view, self.client.node_id, self.now, self.rng)
        reply_key = self.rng.bytes(32)
        body = field if isinstance(field, bytes) else field(reply_key)
        blob = self.blob(Query(op, flags, reply_key, body), route.proxy)
        wait = delays.draw_delays_ms(self.params, self.rng, 6)
        surb_id = self.rng.bytes(32)
        back = [self.hop(node, ms) for node, ms in zip(route.back, wait[3:], strict=True)]
        surb, keys = create_surb([*back, self.hop(self.own(), 0)], surb_id, self.rng)
        out = [self.hop(node, ms) for node, ms in zip(route.out, wait[:3], strict=True)]
        request = CourierRequest(route.proxy.node_id, surb, blob).pack()
        packet = create_packet([*out, self.hop(route.courier, 0)], request, self.rng)
        first = Send(route.out[0].node_id, Frame(Kind.PACKET, 0, packet))
        self.carry_out(self.client, [first])
        self.run(self.params.rto, lambda: self.reply_to(surb_id) is not None)
        reply = self.reply_to(surb_id)
        assert reply is not None, "no answer came"
        courier = CourierReply.parse(open_surb_reply(keys, reply.body))
        return boxquery.open_answer(reply_key, courier.sealed)

    def reply_to(self, surb_id: bytes) -> SurbReply | None:
        """The reply that came back for a SURB."""
        for event in self.events[self.client.node_id]:
            if isinstance(event, SurbReply) and event.ident == surb_id:
                return event
        return None

    def frames(self, *kinds: Kind) -> list[Seen]:
        """What crossed the links, of these kinds."""
        return [seen for seen in self.seen if seen.frame.kind in kinds]

    def dropped(self) -> dict[str, int]:
        """What all nodes together dropped, by reason."""
        total: dict[str, int] = {}
        for node in self.nodes:
            for reason, count in node.stats.dropped().items():
                total[reason] = total.get(reason, 0) + count
        return total
