"""The courier: one answer from the right proxy, in time, by the reply block, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from node_world import PARAMS, Seen, World

from mixmail.boxes.query import CourierReply, CourierRequest, Query, QueryOp
from mixmail.boxes.record import key_field
from mixmail.directory.descriptor import Descriptor
from mixmail.mixing.ticks import tick_number, tick_time
from mixmail.node import courier as courier_module
from mixmail.node.events import SurbReply
from mixmail.node.wire import Kind
from mixmail.params import GEOMETRY
from mixmail.sphinx.create import create_packet
from mixmail.sphinx.surb import SurbKeys, create_surb, open_surb_reply

COURIER, PROXY, OTHER = 1, 2, 3
SEALED = bytes(range(256)) * 67 + bytes(204)


class Query1:
    """One query at the courier of a world of four nodes; the proxy only listens."""

    def __init__(self, params: object = PARAMS) -> None:
        assert len(SEALED) == GEOMETRY.reply_ct
        self.world = world = World(4, params)  # type: ignore[arg-type]
        world.hang(world.nodes[PROXY].node_id)
        self.courier = world.nodes[COURIER]
        self.proxy_id = world.nodes[PROXY].node_id

    def descriptor(self, number: int) -> Descriptor:
        found = self.world.client.view.get(self.world.nodes[number].node_id)
        assert found is not None
        return found

    def deliver(self) -> SurbKeys:
        """Put one packet with a request into the courier."""
        world = self.world
        back = [world.hop(self.descriptor(OTHER), 0), world.hop(world.own(), 0)]
        surb, keys = create_surb(back, world.rng.bytes(32), world.rng)
        query = Query(QueryOp.READ, 0, world.rng.bytes(32), key_field(bytes(32)))
        self.blob = world.blob(query, self.descriptor(PROXY))
        request = CourierRequest(self.proxy_id, surb, self.blob).pack()
        packet = create_packet([world.hop(self.descriptor(COURIER), 0)], request, world.rng)
        world.frame(self.courier, world.client.node_id, Kind.PACKET, packet)
        return keys

    def asked(self) -> list[Seen]:
        return [seen for seen in self.world.frames(Kind.PROXY_QUERY) if seen.sender == self.courier.node_id]

    def answer(self, peer: bytes, stream: int, sealed: bytes = SEALED) -> None:
        self.world.frame(self.courier, peer, Kind.PROXY_REPLY, sealed, stream)

    def sent_back(self) -> list[Seen]:
        return [seen for seen in self.world.frames(Kind.PACKET) if seen.sender == self.courier.node_id]


def test_the_blob_goes_on_untouched_after_a_wait_and_on_a_tick() -> None:
    query = Query1()
    waits = []
    for _ in range(60):
        begun = query.world.now
        query.deliver()
        query.world.run(1.0)
        seen = query.asked()[-1]
        assert (seen.receiver, seen.frame.payload) == (query.proxy_id, query.blob)
        assert seen.time == pytest.approx(tick_time(PARAMS, tick_number(PARAMS, seen.time)), abs=1e-6)
        waits.append(seen.time - begun)
    assert len(query.asked()) == 60
    assert len({round(wait, 3) for wait in waits}) > 2  # drawn, not fixed
    assert len({seen.frame.stream for seen in query.asked()}) == 60


def test_the_answer_of_the_proxy_comes_back_by_the_reply_block_once() -> None:
    query = Query1()
    keys = query.deliver()
    query.world.run(1.0)
    (asked,) = query.asked()
    query.answer(query.proxy_id, asked.frame.stream)
    assert query.sent_back() == []  # it waits in the courier's pool
    query.answer(query.proxy_id, asked.frame.stream)
    query.world.run(1.0)

    (back,) = query.sent_back()
    assert back.receiver == query.world.nodes[OTHER].node_id
    (reply,) = [
        event for event in query.world.events[query.world.client.node_id] if isinstance(event, SurbReply)
    ]
    assert CourierReply.parse(open_surb_reply(keys, reply.body)).sealed == SEALED
    assert query.courier.stats[f"drop.frame_{Kind.PROXY_REPLY}"] == 1


def test_an_answer_from_another_node_or_to_another_question_is_dropped() -> None:
    query = Query1()
    query.deliver()
    query.world.run(1.0)
    (asked,) = query.asked()
    query.answer(query.world.nodes[OTHER].node_id, asked.frame.stream)
    query.answer(query.proxy_id, asked.frame.stream ^ 1)
    query.answer(query.proxy_id, asked.frame.stream, SEALED[:-1])
    query.world.run(1.0)
    assert query.sent_back() == []
    query.answer(query.proxy_id, asked.frame.stream)  # the right one still counts
    query.world.run(1.0)
    assert len(query.sent_back()) == 1


def test_a_late_answer_is_dropped_and_nothing_is_ever_asked_again() -> None:
    query = Query1()
    query.deliver()
    query.world.run(1.0)
    (asked,) = query.asked()
    query.world.run(asked.time + PARAMS.rto - query.world.now + 0.01)
    query.answer(query.proxy_id, asked.frame.stream)
    query.world.run(PARAMS.rto)
    assert query.sent_back() == []
    assert len(query.asked()) == 1


def test_what_waits_for_proxies_is_bounded_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = dataclasses.replace(courier_module.NODE_LIMITS, courier_pending=3)
    monkeypatch.setattr(courier_module, "NODE_LIMITS", limits)
    query = Query1()
    for _ in range(5):
        query.deliver()
    query.world.run(1.0)
    assert query.courier._courier.pending == 3
    assert query.courier.stats["drop.courier_pending"] == 2
    query.world.run(PARAMS.rto)
    query.deliver()
    query.world.run(1.0)
    assert query.courier._courier.pending == 1
    assert query.courier.stats["courier.unanswered"] == 3


def test_a_payload_that_is_no_request_and_a_broken_reply_block_are_dropped() -> None:
    query = Query1()
    world = query.world
    hop = world.hop(query.descriptor(COURIER), 0)
    world.frame(
        query.courier, bytes(32), Kind.PACKET, create_packet([hop], bytes(GEOMETRY.payload), world.rng)
    )
    assert query.courier.stats[f"drop.frame_{Kind.PACKET}"] == 1

    request = CourierRequest(query.proxy_id, bytes(GEOMETRY.surb), bytes(GEOMETRY.blob)).pack()
    world.frame(query.courier, bytes(32), Kind.PACKET, create_packet([hop], request, world.rng))
    world.run(1.0)
    (asked,) = query.asked()
    query.answer(query.proxy_id, asked.frame.stream)
    world.run(1.0)
    assert query.sent_back() == []
    assert query.courier.stats["drop.courier_surb"] == 1
