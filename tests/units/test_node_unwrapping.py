"""Packets that are opened in batches elsewhere: the same ends as those opened here, whatever the order."""

from __future__ import annotations

import dataclasses

import pytest
from node_world import NOON, PARAMS, World
from test_node_mix import give, packet_through

from mixmail.boxes.query import QueryOp, Status
from mixmail.boxes.record import key_field
from mixmail.effects import Frame, Offload
from mixmail.node import core
from mixmail.node.commands import Drain, Stop
from mixmail.node.events import EpochKeysDeleted, Stopped
from mixmail.node.unwrapping import UnwrapJob
from mixmail.node.wire import Kind
from mixmail.params import GEOMETRY

LONG_MS = int(PARAMS.delay_max * 1000)


def held_packets(world: World) -> list[int]:
    """How many packets are in each batch that is out, oldest first."""
    sizes = []
    for _, effect in world.held:
        assert isinstance(effect.job, UnwrapJob)
        sizes.append(len(effect.job.packets))
    return sizes


def bad_packets(world: World) -> list[bytes]:
    """One of each kind that a mix refuses, behind a good one that comes twice."""
    good, other = packet_through(world, 10, 10), packet_through(world, 10, 10)
    changed = bytearray(packet_through(world, 10, first=1))
    changed[-1] ^= 1
    header = bytearray(other)
    header[5_000] ^= 1
    return [
        good,
        good,
        bytes(changed),  # a body on its last hop: a reply, which only its owner could tell from a good one
        bytes(header),
        bytes([9]) + other[1:],
        packet_through(world, LONG_MS + 1, 10),
        packet_through(world, 10, 10, first=2),  # for another node
        other[:-1],
        other,
    ]


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_batches_end_as_packets_opened_one_by_one_do(ahead: int) -> None:
    here, there = World(4), World(4, unwrap_ahead=ahead)
    there.holds = "unwrap"
    packets = bad_packets(here)
    for packet in packets:
        give(here, packet)
        give(there, packet)
    assert len(there.held) == ahead
    assert there.nodes[1].waiting == len(packets) - 1  # the one of a wrong length was refused at once
    while there.held:
        there.bring_back(-1)  # the last one first
    for world in (here, there):
        world.holds = ""
        world.run(2.0)
    assert here.nodes[1].stats.snapshot() == there.nodes[1].stats.snapshot()
    assert here.nodes[1].stats["drop.packet_replay"] == 1
    assert here.nodes[1].stats["drop.packet_header"] == 4
    assert len(here.frames(Kind.PACKET)) == len(there.frames(Kind.PACKET)) == 2


def test_a_query_finds_its_way_through_nodes_that_open_packets_elsewhere() -> None:
    world = World(12, unwrap_ahead=2)
    world.link_all()
    answer = world.ask(QueryOp.READ, key_field(bytes([5]) * 32))
    assert answer.status is Status.NOT_FOUND
    assert not world.dropped()


def test_of_two_copies_opened_side_by_side_one_goes_on() -> None:
    world = World(4, unwrap_ahead=2)
    world.holds = "unwrap"
    packet = packet_through(world, 10, 10)
    give(world, packet)
    give(world, packet)
    assert held_packets(world) == [1, 1]
    world.bring_back(1)
    world.bring_back(0)
    world.holds = ""
    world.run(2.0)
    assert len(world.frames(Kind.PACKET)) == 1
    assert world.nodes[1].stats["drop.packet_replay"] == 1


def test_what_comes_while_the_processes_are_busy_leaves_together_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core, "NODE_LIMITS", dataclasses.replace(core.NODE_LIMITS, unwrap_batch=4))
    world = World(4, unwrap_ahead=1)
    world.holds = "unwrap"
    packets = [packet_through(world, 10, 10) for _ in range(8)]
    for packet in packets:
        give(world, packet)
    sizes, seen = [], []
    while world.held:
        job = world.held[0][1].job
        assert isinstance(job, UnwrapJob)
        sizes.append(len(job.packets))
        seen.extend(job.packets)
        world.bring_back()
    assert sizes == [1, 4, 3]
    assert seen == packets


def test_too_many_packets_are_refused_from_the_greediest_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "NODE_LIMITS", dataclasses.replace(core.NODE_LIMITS, unwrap_waiting=8))
    world = World(4, unwrap_ahead=1)
    world.holds = "unwrap"
    node, (greedy, modest) = world.nodes[1], (world.nodes[2].node_id, world.nodes[3].node_id)
    packet = packet_through(world, 10, 10)
    for _ in range(100):  # one is out, four may wait: half of the places
        world.frame(node, greedy, Kind.PACKET, packet)
    assert node.waiting == 5
    assert node.stats["drop.unwrap_full"] == 95
    for _ in range(2):
        world.frame(node, modest, Kind.PACKET, packet)
    assert node.waiting == 7
    assert node.busy and not world.nodes[2].busy
    assert node.stats["drop.unwrap_full"] == 95
    while world.held:
        world.bring_back()
    assert not node.busy
    assert node.waiting == 1  # in the pool; the others were replays
    for _ in range(3):  # and all places are free again
        world.frame(node, greedy, Kind.PACKET, packet)
    assert node.stats["drop.unwrap_full"] == 95


def test_a_packet_whose_key_is_deleted_while_it_is_away_goes_nowhere() -> None:
    world = World(4, unwrap_ahead=1)
    node = world.nodes[1]
    packet = packet_through(world, 10, 10)
    give(world, packet)  # its replay tag is known under this epoch's key
    last = (world.epoch() + 1) * PARAMS.epoch + PARAMS.epoch_late
    world.run(last - NOON - 0.01)
    assert not [e for e in world.events[node.node_id] if isinstance(e, EpochKeysDeleted)]
    world.holds = "unwrap"
    give(world, packet)
    before = len(world.frames(Kind.PACKET))
    world.run(1.0)  # key and replay tags go
    assert [e for e in world.events[node.node_id] if isinstance(e, EpochKeysDeleted)]
    own = [n for n, (at, _) in enumerate(world.held) if at is node]
    job = world.held[own[0]][1].job
    assert isinstance(job, UnwrapJob)
    assert job()[0] is not None  # the batch still has the key
    world.bring_back(own[0])
    world.holds = ""
    world.run(2.0)
    assert len(world.frames(Kind.PACKET)) == before
    assert node.stats["drop.packet_header"] == 1


def test_a_batch_that_fails_is_counted_and_the_next_one_leaves() -> None:
    world = World(4, unwrap_ahead=1)
    world.holds = "unwrap"
    for _ in range(3):
        give(world, packet_through(world, 10, 10))
    world.bring_back(failure=OSError("the process died"))
    assert world.nodes[1].stats["drop.unwrap_failed"] == 1
    assert held_packets(world) == [2]
    world.bring_back()
    assert world.nodes[1].waiting == 2


def test_a_drain_waits_for_the_packets_that_are_away() -> None:
    world = World(4, unwrap_ahead=1)
    node = world.nodes[1]
    world.holds = "unwrap"
    give(world, packet_through(world, 10, 10))
    give(world, packet_through(world, 10, 10))
    world.command(node, Drain())
    give(world, packet_through(world, 10, 10))
    assert (node.waiting, node.stats["drop.draining"]) == (2, 1)
    world.bring_back()
    world.bring_back()
    world.holds = ""
    world.run(2.0)
    assert node.waiting == 0
    assert len(world.frames(Kind.PACKET)) == 2


def test_a_stop_says_how_many_packets_were_away() -> None:
    world = World(4, unwrap_ahead=1)
    node = world.nodes[1]
    world.holds = "unwrap"
    give(world, packet_through(world, 10, 10))
    give(world, packet_through(world, 10, 10))
    world.command(node, Stop())
    assert world.events[node.node_id][-1] == Stopped(2)
    world.bring_back()  # nothing is done with it any more
    assert not world.held


def test_without_processes_nothing_is_handed_out() -> None:
    world = World(4)
    effects = world.nodes[1].handle_frame(
        world.client.node_id, Frame(Kind.PACKET, 0, packet_through(world, 10, 10)), world.now
    )
    assert not [effect for effect in effects if isinstance(effect, Offload)]
    assert len(packet_through(world, 10)) == GEOMETRY.packet
