"""Queries under way: fresh for every try, ended exactly once, by an answer or by the round-trip limit."""

from __future__ import annotations

from typing import Any

import directory_builder as directory
import pytest

from mixmail.agent.events import QueryEnded
from mixmail.agent.queries import Queries, Task, Way
from mixmail.boxes.query import Answer, CourierReply, CourierRequest, Query, QueryOp, open_query, seal_answer
from mixmail.boxes.record import EMPTY_FIELD, key_field
from mixmail.boxes.status import Status
from mixmail.crypto import kem
from mixmail.directory.path import NetworkTooSmall
from mixmail.directory.view import View
from mixmail.effects import Effect, Emit, Send
from mixmail.params import GEOMETRY
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.surb import use_surb
from mixmail.sphinx.unwrap import OpenedHeader, open_header
from mixmail.testing import SeededRandomness

KEYS = [kem.PrivateKey.from_seed(bytes([number]) * 32) for number in range(6)]
EPOCH = int(directory.NOON // directory.PARAMS.epoch)
NOW = directory.NOON


class Bench:
    """Queries of node 0 among twelve, and hands that play all the others."""

    def __init__(self, nodes: int = 12) -> None:
        self.view = View(directory.NETWORK)
        self.nodes = [directory.make(number) for number in range(nodes)]
        for node in self.nodes:
            assert self.view.add(node, NOW)
        self.own = self.nodes[0].node_id
        self.queries = Queries(directory.NETWORK, self.own, self.view, SeededRandomness(4))
        self.ended: list[Answer | None] = []
        self.ways: list[Way] = []

    def task(self) -> Task:
        def ended(answer: Answer | None, now: float) -> list[Effect]:
            self.ended.append(answer)
            return []

        return Task(QueryOp.READ, 1, lambda reply_key: key_field(reply_key), ended, real=True)

    def send(self, now: float = NOW) -> tuple[bytes, bytes]:
        """(first hop, packet)."""
        (effect,), way = self.queries.send(self.task(), now)
        assert isinstance(effect, Send)
        self.ways.append(way)
        return effect.peer, effect.frame.payload

    def carry(self, first: bytes, packet: bytes) -> tuple[list[bytes], OpenedHeader]:
        """Through all the hops; who they were, and the last one's opened header."""
        hops = [first]
        while True:
            header = open_header(KEYS[:3], packet)
            if header.command.kind is not CommandKind.FORWARD:
                return hops, header
            packet = header.finish()
            hops.append(header.command.ident)

    def request(self, first: bytes, packet: bytes) -> tuple[list[bytes], CourierRequest, Query]:
        """What the courier and the proxy see."""
        hops, header = self.carry(first, packet)
        request = CourierRequest.parse(header.finish())
        live = [(EPOCH, KEYS[3])]
        return hops, request, open_query(live, directory.NETWORK.hash, request.proxy_id, request.blob)

    def reply(self, request: CourierRequest, sealed: bytes) -> tuple[list[bytes], bytes, bytes]:
        """(hops, SURB id, body) as they come to the owner."""
        hops, header = self.carry(*use_surb(request.surb, CourierReply(Status.OK, sealed).pack()))
        assert header.command.kind is CommandKind.SURB_REPLY
        return hops, header.command.ident, header.finish()

    def ends(self, effects: list[Effect]) -> list[bool]:
        """Whether the queries that ended here were answered."""
        events: list[Any] = [effect.event for effect in effects if isinstance(effect, Emit)]
        return [event.answered for event in events if isinstance(event, QueryEnded)]


ANSWER = Answer(Status.OK, 2, 3, EMPTY_FIELD)


def test_an_answer_comes_back_once() -> None:
    bench = Bench()
    out, request, query = bench.request(*bench.send())
    assert (query.op, query.flags) == (QueryOp.READ, 1)
    assert query.field == key_field(query.reply_key), "the field is made for this query's reply key"
    back, ident, body = bench.reply(request, seal_answer(query.reply_key, ANSWER))
    assert bench.queries.waiting == 1

    assert bench.ends(bench.queries.handle_reply(ident, body, NOW + 1)) == [True]
    assert bench.ended == [ANSWER]
    assert bench.queries.waiting == 0
    assert bench.queries.handle_reply(ident, body, NOW + 2) == [], "a SURB serves once"
    assert bench.queries.forget_expired(NOW + 1e6) == []
    assert bench.ended == [ANSWER]

    assert bench.ways == [(out[-1], request.proxy_id)]
    assert len(out) == 4 and len(set(out)) == 4 and bench.own not in out
    assert back[-1] == bench.own and len(set(back)) == 4
    assert not set(back) & {out[3]}, "the courier is no mix on the way back"
    assert request.proxy_id not in (bench.own, out[3])


def test_every_query_has_everything_fresh() -> None:
    bench = Bench()
    seen = [bench.request(*bench.send()) for _ in range(5)]
    assert len({query.reply_key for _, _, query in seen}) == 5
    assert len({request.surb for _, request, _ in seen}) == 5
    assert len({request.blob for _, request, _ in seen}) == 5
    assert len({tuple(hops) for hops, _, _ in seen}) > 1
    assert bench.queries.waiting == 5


def test_a_query_without_an_answer_is_forgotten_after_the_limit() -> None:
    bench = Bench()
    rto = directory.PARAMS.rto
    requests = [bench.request(*bench.send(NOW + wait)) for wait in (0.0, 1.0, 2.0)]
    assert bench.queries.next_timeout() == NOW + rto
    assert bench.queries.forget_expired(NOW + rto - 0.001) == []
    assert bench.ends(bench.queries.forget_expired(NOW + rto + 1.0)) == [False, False]
    assert bench.ended == [None, None]
    assert bench.queries.next_timeout() == NOW + rto + 2.0
    _, request, query = requests[0]
    _, ident, body = bench.reply(request, seal_answer(query.reply_key, ANSWER))
    assert bench.queries.handle_reply(ident, body, NOW + rto + 1.0) == [], "too late"
    assert bench.ended == [None, None]
    bench.queries.forget_expired(NOW + rto + 2.0)
    assert bench.ended == [None, None, None]
    assert bench.queries.next_timeout() is None and bench.queries.waiting == 0


def test_an_unknown_surb_is_dropped() -> None:
    bench = Bench()
    bench.send()
    assert bench.queries.handle_reply(bytes(32), bytes(GEOMETRY.body), NOW) == []
    assert bench.queries.waiting == 1 and bench.ended == []


@pytest.mark.parametrize("lie", ["other key", "changed", "no answer", "garbage", "short"])
def test_a_lying_answer_is_as_good_as_none(lie: str) -> None:
    bench = Bench()
    _, request, query = bench.request(*bench.send())
    sealed = seal_answer(query.reply_key, ANSWER)
    match lie:
        case "other key":
            sealed = seal_answer(bytes(32), ANSWER)
        case "changed":
            sealed = sealed[:100] + bytes([sealed[100] ^ 1]) + sealed[101:]
        case "no answer":
            sealed = bytes(GEOMETRY.reply_ct)
    _, ident, body = bench.reply(request, sealed)
    if lie == "garbage":
        body = bytes(len(body))
    elif lie == "short":
        body = body[:-1]
    assert bench.ends(bench.queries.handle_reply(ident, body, NOW + 1)) == [False]
    assert bench.ended == [None]
    assert bench.queries.waiting == 0


def test_too_small_a_network_sends_nothing_and_keeps_nothing() -> None:
    bench = Bench(nodes=2)
    with pytest.raises(NetworkTooSmall):
        bench.send()
    assert bench.queries.waiting == 0


def test_the_delays_of_a_query_are_drawn_within_the_limit() -> None:
    bench = Bench()
    limit = directory.PARAMS.delay_max * 1000
    for _ in range(5):
        delays = []
        _, packet = bench.send()
        while True:
            header = open_header(KEYS[:3], packet)
            delays.append(header.command.delay_ms)
            if header.command.kind is not CommandKind.FORWARD:
                break
            packet = header.finish()
        assert len(delays) == 4 and delays[-1] == 0
        assert all(0 <= delay <= limit for delay in delays)
        assert len(set(delays[:3])) > 1
