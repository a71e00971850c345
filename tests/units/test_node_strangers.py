"""Ids that are in no directory cost nothing: a thousand of them take one share of what links share out."""

from __future__ import annotations

import dataclasses

import pytest
from node_world import PARAMS, TODAY, World

from mixmail.boxes import stamp
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import Record, RecordType, sign_record
from mixmail.boxes.stamp import Stamp
from mixmail.node.wire import HomeQuery, Kind
from mixmail.params import GEOMETRY, NODE_LIMITS
from mixmail.sphinx.create import create_packet
from mixmail.testing import SeededRandomness

RNG = SeededRandomness("strangers")


def strangers(count: int) -> list[bytes]:
    return [RNG.bytes(32) for _ in range(count)]


def a_packet(world: World, delay_ms: int = 1_000) -> bytes:
    """A packet by way of node 1 to node 2."""
    first, second = (world.client.view.get(world.nodes[number].node_id) for number in (1, 2))
    assert first is not None and second is not None
    path = [world.hop(first, delay_ms), world.hop(second, 0)]
    return create_packet(path, bytes(GEOMETRY.payload), RNG)


@pytest.mark.parametrize("unwrap_ahead", [0, 2])
def test_they_have_one_share_of_the_mix(monkeypatch: pytest.MonkeyPatch, unwrap_ahead: int) -> None:
    monkeypatch.setattr("mixmail.node.mix.NODE_LIMITS", dataclasses.replace(NODE_LIMITS, mix_pool=8))
    world = World(4, unwrap_ahead=unwrap_ahead)
    node = world.nodes[1]
    for stranger in strangers(12):
        world.frame(node, stranger, Kind.PACKET, a_packet(world))
    assert (len(node._mix.pool), node.stats["drop.mix_full"]) == (4, 8)
    for known in (2, 3):
        world.frame(node, world.nodes[known].node_id, Kind.PACKET, a_packet(world))
    assert len(node._mix.pool) == 6


def test_they_have_one_share_of_the_replay_filter() -> None:
    world = World(4, dataclasses.replace(PARAMS, replay_capacity=8))
    node = world.nodes[1]
    for stranger in strangers(12):
        world.frame(node, stranger, Kind.PACKET, a_packet(world))
    assert node.stats["drop.packet_replay"] == 8
    for _ in range(2):
        world.frame(node, world.nodes[3].node_id, Kind.PACKET, a_packet(world))
    assert node.stats["drop.packet_replay"] == 8


def a_box(world: World, number: int, good: bool = False) -> Record:
    owner = OwnerKey.from_seed(number.to_bytes(32, "big"), "test.own")
    box = sign_record(owner, RecordType.BOX, 30, TODAY, 0, bytes(GEOMETRY.box_ct), RNG)
    day = stamp.monday(TODAY)
    if not good:
        return box.with_stamp(Stamp(bytes(8), 1, 20, day).pack())
    solved = stamp.solve(world.network.hash, world.params, box, world.params.box_bits, day, 0, 100_000)
    assert solved is not None
    return solved


@pytest.mark.parametrize("kind", [Kind.HOME_QUERY, Kind.RECORD])
def test_they_have_one_share_of_the_checks_of_stamps(kind: Kind) -> None:
    world = World(4, dataclasses.replace(PARAMS, box_bits=3))
    node = world.nodes[1]
    bad, good = a_box(world, 1), a_box(world, 2, good=True)

    def hand(peer: bytes, record: Record) -> None:
        raw = record.pack()
        world.frame(
            node, peer, kind, HomeQuery(QueryOp.WRITE, raw).pack() if kind == Kind.HOME_QUERY else raw
        )

    for stranger in strangers(int(NODE_LIMITS.stamp_checks * NODE_LIMITS.stamp_memory_s)):
        hand(stranger, bad)
    assert node.stats["replica.bad_stamp"] <= NODE_LIMITS.stamp_checks * NODE_LIMITS.stamp_memory_s / 2 + 1
    hand(world.nodes[3].node_id, good)
    assert world.stores[1].get(good.key) == good
