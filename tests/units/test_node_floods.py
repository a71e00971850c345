"""One proxy that floods a home, one courier that floods a proxy: they are put off, nobody else notices."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from node_world import NOON, PARAMS, TODAY, World
from test_node_proxy import Asked, a_box, a_cap

from mixmail.boxes import stamp
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import Answer, QueryOp, QueueRequest, hour_of, open_answer
from mixmail.boxes.record import EMPTY_FIELD, FIRST, Record, key_field, queue_entry
from mixmail.boxes.status import Status
from mixmail.effects import Done, Effect, Frame, Offload, Send
from mixmail.node import proxy as proxy_module
from mixmail.node.core import Node
from mixmail.node.wire import HomeQuery, HomeReply, Kind
from mixmail.params import GEOMETRY, NODE_LIMITS
from mixmail.testing import SeededRandomness

STEP = 0.002  # virtual seconds in which the slow disk of the home does one job


class SlowHome:
    """A node whose disk does one job in STEP; its answers to HOME_QUERYs, and how long each took."""

    def __init__(self) -> None:
        self.world = World(12)
        self.node: Node = self.world.client
        self.flooder, *self.honest = [node.node_id for node in self.world.nodes[1:]]
        self.now = NOON
        self.jobs: list[Offload] = []
        self.asked: dict[tuple[bytes, int], float] = {}
        self.said: dict[bytes, Counter[Status]] = {}
        self.waits: dict[bytes, list[float]] = {}
        self.stream = 0

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Offload):
                self.jobs.append(effect)
            elif isinstance(effect, Send) and effect.frame.kind == Kind.HOME_REPLY:
                waited = self.now - self.asked.pop((effect.peer, effect.frame.stream))
                reply = HomeReply.parse(effect.frame.payload)
                self.said.setdefault(effect.peer, Counter())[reply.status] += 1
                self.waits.setdefault(effect.peer, []).append(waited)

    def ask(self, peer: bytes) -> None:
        self.stream += 1
        self.asked[peer, self.stream] = self.now
        query = HomeQuery(QueryOp.READ, key_field(self.stream.to_bytes(32, "big")))
        self.take(self.node.handle_frame(peer, Frame(Kind.HOME_QUERY, self.stream, query.pack()), self.now))

    def run(self, seconds: float, floods: int) -> None:
        """Each STEP `floods` queries of the flooder; ten a second of each other proxy."""
        for turn in range(int(seconds / STEP)):
            self.now += STEP
            for _ in range(floods):
                self.ask(self.flooder)
            for number, peer in enumerate(self.honest):
                if turn % 50 == 5 * number:
                    self.ask(peer)
            if self.jobs:
                effect = self.jobs.pop(0)
                self.take(self.node.handle_command(Done(effect.token, effect.job()), self.now))


def test_a_flooding_proxy_is_put_off_and_the_others_are_served_as_before() -> None:
    calm, flooded = SlowHome(), SlowHome()
    calm.run(4.0, 0)
    flooded.run(4.0, 10)  # 5,000 a second
    flooder, honest = flooded.flooder, flooded.honest
    for peer in honest:
        assert set(calm.said[peer]) == set(flooded.said[peer]) == {Status.NOT_FOUND}
        assert calm.said[peer][Status.NOT_FOUND] >= 39 <= flooded.said[peer][Status.NOT_FOUND] + 1
    answered = flooded.said[flooder][Status.NOT_FOUND]
    assert answered <= 256 + 4 * 256 and flooded.said[flooder][Status.TRY_LATER] > 18_000
    assert flooded.node.stats["replica.put_off"] == flooded.said[flooder][Status.TRY_LATER]
    longest = max(wait for peer in honest for wait in flooded.waits[peer])
    assert max(wait for peer in honest for wait in calm.waits[peer]) < 0.01
    assert longest < 0.6  # behind its first 256; a home is given 5 s
    late = [wait for peer in honest for wait in flooded.waits[peer][-10:]]
    assert max(late) < 0.05, "once it is known how much the flooder asks"


def test_many_flooding_proxies_leave_a_share_to_the_next() -> None:
    home = SlowHome()
    for _ in range(600):
        for number in range(9):
            home.ask(home.honest[number])
    assert all(600 - home.said[peer][Status.TRY_LATER] in (51, 52) for peer in home.said)
    assert len(home.said) == 9
    for _ in range(20):
        home.ask(home.flooder)
    assert home.flooder not in home.said, "none is put off: all wait for the disk"
    assert len(home.jobs) < NODE_LIMITS.jobs


def test_proxies_that_nobody_knows_take_one_share_together() -> None:
    home = SlowHome()
    for number in range(2_000):
        home.ask(number.to_bytes(32, "big"))
    assert sum(said[Status.TRY_LATER] for said in home.said.values()) >= 2_000 - 256
    home.ask(home.flooder)
    assert home.flooder not in home.said


def test_what_the_own_proxy_asks_is_not_counted_twice() -> None:
    home = SlowHome()
    for _ in range(300):
        home.ask(home.node.node_id)
    assert not home.said


def test_a_courier_that_floods_a_proxy_with_garbage_does_not_keep_it_from_the_others() -> None:
    asked = Asked(a_box(a_cap()).key)
    garbage = bytes(GEOMETRY.blob)
    flooder = asked.homes[3]
    for stream in range(400):
        asked.world.frame(asked.proxy, flooder, Kind.PROXY_QUERY, garbage, 10_000 + stream)
    refused = asked.proxy.stats["drop.proxy_full"]
    assert asked.proxy.stats["drop.proxy_blob"] == 128  # at the same moment half of all; no other was opened
    box = a_box(a_cap())
    assert asked.ask(QueryOp.WRITE, box.pack()).status is Status.STORED
    assert Record.parse(asked.ask(QueryOp.READ, key_field(box.key)).field) == box
    assert asked.proxy.stats["drop.proxy_full"] == refused


def test_one_courier_takes_half_of_a_proxys_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "NODE_LIMITS", dataclasses.replace(NODE_LIMITS, proxy_queries=6))
    asked = Asked(a_box(a_cap()).key)
    asked.world.hang(*(home for home in asked.homes if home != asked.proxy.node_id))  # so walks go on
    field = key_field(bytes(32))
    for number in range(6):
        blob = asked.blob(QueryOp.READ, field, bytes([number]) * 32)
        asked.world.frame(asked.proxy, asked.homes[3], Kind.PROXY_QUERY, blob, 20_000 + number)
    assert asked.proxy._proxy.asker.running == 3
    asked.give(asked.blob(QueryOp.READ, field, bytes([9]) * 32))
    assert asked.proxy._proxy.asker.running == 4
    asked.world.run(60.0)  # all walks have ended: the places are free again
    assert asked.proxy._proxy.asker.running == 0 and not asked.proxy._proxy._running
    asked.give(asked.blob(QueryOp.READ, field, bytes([10]) * 32))
    assert asked.proxy._proxy.asker.running == 1


class Reader:
    """Reads a queue whose nearest home offers an entry that lies about its work."""

    def __init__(self) -> None:
        self.rng = SeededRandomness("entries")
        self.owner = OwnerKey.from_seed(self.rng.bytes(32), "test.own")
        self.asked = Asked(self.owner.public)
        entry = queue_entry(self.owner.public, 30, TODAY, bytes(GEOMETRY.box_ct))
        network = self.asked.world.network.hash
        honest = stamp.solve(network, PARAMS, entry, PARAMS.stranger_bits, TODAY, 0, 10_000)
        assert honest is not None
        self.honest = honest
        assert self.asked.ask(QueryOp.QUEUE_ADD, honest.pack()).n == PARAMS.write_acks
        claim = stamp.Stamp(bytes(8), stamp.ALG_ARGON2ID, 20, TODAY).pack()
        text = self.rng.bytes(GEOMETRY.box_ct)
        lie = queue_entry(self.owner.public, 30, TODAY, text).with_stamp(claim)
        self.asked.lie(self.asked.homes[0], HomeReply(Status.OK, 1, lie.pack()))

    def read(self, courier: bytes | None = None) -> Answer:
        key = self.rng.bytes(32)
        hour = hour_of(self.asked.world.now)
        request = QueueRequest.create(self.owner, QueryOp.QUEUE_READ, FIRST, hour, key, self.rng)
        blob = self.asked.blob(QueryOp.QUEUE_READ, request.to_field(), key)
        self.asked.streams += 1
        stream = self.asked.streams
        self.asked.world.frame(
            self.asked.proxy, courier or self.asked.courier, Kind.PROXY_QUERY, blob, stream
        )
        sealed = self.asked.sealed(stream)
        assert sealed is not None
        return open_answer(key, sealed)


def test_a_proxys_checks_of_entries_have_the_homes_budget() -> None:
    reader = Reader()
    proxy = reader.asked.proxy
    before = proxy.stats["replica.stamps_checked"]
    answer = reader.read()
    assert (answer.status, Record.parse(answer.field)) == (Status.OK, reader.honest)
    assert proxy.stats["proxy.stamps_checked"] == 2  # the lie, then the honest one
    budget = proxy._replica.stamp_budget
    while budget.take(reader.asked.courier, reader.asked.world.now):
        pass
    assert reader.read() == Answer(Status.TRY_LATER, 0, 0, EMPTY_FIELD)
    assert proxy.stats["proxy.stamps_put_off"] == 1
    other = reader.read(reader.asked.homes[3])  # who comes by another courier is served
    assert (other.status, Record.parse(other.field)) == (Status.OK, reader.honest)
    assert proxy.stats["replica.stamps_checked"] == before
