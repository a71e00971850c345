"""The mix: replay, bad packets, delays, ticks, loops, and the epochs of its keys."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_world import NOON, PARAMS, World

from mixmail.boxes.query import Query, QueryOp
from mixmail.boxes.record import key_field
from mixmail.directory.descriptor import Descriptor
from mixmail.directory.view import View
from mixmail.effects import Frame, Send
from mixmail.mixing.ticks import tick_number, tick_time
from mixmail.node.commands import Start
from mixmail.node.core import Node
from mixmail.node.events import SurbReply
from mixmail.node.keys import EpochKeys
from mixmail.node.wire import Kind
from mixmail.params import DAY, GEOMETRY, NODE_LIMITS
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop, create_packet
from mixmail.testing import SeededRandomness

TICK = PARAMS.tick


def packet_through(world: World, *delays_ms: int, first: int = 1) -> bytes:
    """A packet over as many nodes as delays, beginning at node `first`; it ends as a SURB reply."""
    hops = []
    for number, delay in enumerate(delays_ms, first):
        descriptor = world.client.view.get(world.nodes[number].node_id)
        assert descriptor is not None
        hops.append(world.hop(descriptor, delay))
    final = (CommandKind.SURB_REPLY, bytes([9]) * 32)
    return create_packet(hops, bytes(GEOMETRY.payload), world.rng, final)


def give(world: World, packet: bytes, number: int = 1) -> None:
    world.frame(world.nodes[number], world.client.node_id, Kind.PACKET, packet)


def test_a_replayed_packet_is_dropped_and_its_first_copy_goes_on() -> None:
    world = World(4)
    packet = packet_through(world, 10, 10)
    give(world, packet)
    give(world, packet)
    world.run(1.0)
    give(world, packet)
    world.run(1.0)
    assert len(world.frames(Kind.PACKET)) == 1
    assert world.nodes[1].stats["drop.packet_replay"] == 2


def test_a_packet_changed_behind_its_header_is_dropped_at_its_end_and_not_let_in_again() -> None:
    world = World(4)
    target = world.client.view.get(world.nodes[1].node_id)
    assert target is not None
    packet = create_packet([world.hop(target, 0)], bytes(GEOMETRY.payload), world.rng)
    give(world, packet[:-1] + bytes([packet[-1] ^ 1]))
    assert world.nodes[1].stats["drop.packet_body"] == 1
    give(world, packet)
    assert world.nodes[1].stats["drop.packet_replay"] == 1


def test_a_delay_above_the_cut_is_refused_and_the_longest_one_is_not() -> None:
    world = World(4)
    longest = int(PARAMS.delay_max * 1000)
    give(world, packet_through(world, longest, 0))
    assert world.nodes[1].waiting == 1
    give(world, packet_through(world, longest + 1, 0))
    assert world.nodes[1].waiting == 1
    assert world.nodes[1].stats["drop.packet_delay"] == 1
    target = world.client.view.get(world.nodes[1].node_id)
    assert target is not None
    for final in ((CommandKind.DELIVER, bytes(32)), (CommandKind.SURB_REPLY, bytes(32))):
        hop = world.hop(target, longest + 1)
        give(world, create_packet([hop], bytes(GEOMETRY.payload), world.rng, final))
    assert world.nodes[1].stats["drop.packet_delay"] == 3, "of a last hop as well"


@pytest.mark.parametrize("length", [0, 1, 7_056, 32_767, 32_769])
def test_packets_of_another_length_are_dropped(length: int) -> None:
    world = World(3)
    give(world, bytes([1]) * length)
    assert world.nodes[1].waiting == 0
    assert world.nodes[1].stats["drop.packet_header"] == 1


def test_a_packet_for_another_node_is_dropped() -> None:
    world = World(4)
    give(world, packet_through(world, 0, 0), number=2)
    assert world.nodes[2].stats["drop.packet_header"] == 1


FUZZED = World(3)


@settings(max_examples=60, deadline=None)
@given(kind=st.integers(0, 255), stream=st.integers(0, 2**32 - 1), data=st.data())
def test_no_frame_makes_a_node_raise(kind: int, stream: int, data: st.DataObject) -> None:
    sizes = [0, 1, 2, 66, 7_706, 17_338, 17_356, 18_506, 32_768]
    size = data.draw(st.sampled_from(sizes))
    head = data.draw(st.binary(max_size=min(size, 200)))
    fill = data.draw(st.integers(0, 255))
    payload = head + bytes([fill]) * (size - len(head))
    node, peer = FUZZED.nodes[1], FUZZED.nodes[2].node_id
    effects = node.handle_frame(peer, Frame(kind, stream, payload), FUZZED.now)
    assert (
        all(isinstance(effect, Send) and effect.peer == peer for effect in effects) or kind == Kind.HOME_QUERY
    )


def test_packets_leave_on_ticks_only_and_not_before_their_time() -> None:
    world = World(4)
    arrived, delays = [], [0, 3, 24, 25, 26, 60, 100, 101, 333, 500]
    for step, delay in enumerate(delays):
        world.run(0.0071 * (step % 3))
        arrived.append(world.now)
        give(world, packet_through(world, delay, 0))
    node = world.nodes[1]
    assert node.handle_timeout(world.now) == []  # between two ticks
    world.run(2.0)
    left = [seen.time for seen in world.frames(Kind.PACKET)]
    assert len(left) == len(delays)
    due = [
        tick_time(PARAMS, -(-(moment + delay / 1000) // TICK))
        for moment, delay in zip(arrived, delays, strict=True)
    ]
    assert left == pytest.approx(sorted(due), abs=1e-6)
    for moment in left:
        assert moment == pytest.approx(tick_time(PARAMS, tick_number(PARAMS, moment)), abs=1e-6)


def test_what_leaves_on_one_tick_leaves_in_random_order() -> None:
    orders = set()
    for seed in range(8):
        world = World(4, seed=seed)
        targets = [world.nodes[number % 2 + 2].node_id for number in range(6)]
        for node_id in targets:
            descriptor = world.client.view.get(node_id)
            first = world.client.view.get(world.nodes[1].node_id)
            assert descriptor is not None and first is not None
            hops = [world.hop(first, 5), world.hop(descriptor, 0)]
            give(world, create_packet(hops, bytes(GEOMETRY.payload), world.rng))
        world.run(0.1)
        left = [seen.receiver for seen in world.frames(Kind.PACKET) if seen.sender == world.nodes[1].node_id]
        assert sorted(left) == sorted(targets)
        orders.add(tuple(targets.index(node_id) for node_id in left))
    assert len(orders) > 3


def test_an_idle_node_does_not_wake_for_ticks() -> None:
    world = World(3)
    world.run(10 * PARAMS.gossip_interval - 0.1)
    assert max(world.wakes.values()) <= 11, "nine times to gossip, once or twice to sweep the store"


def test_an_answer_waits_for_its_tick_like_other_packets_and_goes_to_the_agent() -> None:
    world = World(3)
    give(world, packet_through(world, 40))
    assert not any(isinstance(event, SurbReply) for event in world.events[world.nodes[1].node_id])
    world.run(0.039)
    assert not any(isinstance(event, SurbReply) for event in world.events[world.nodes[1].node_id])
    world.run(0.1)
    (reply,) = [event for event in world.events[world.nodes[1].node_id] if isinstance(event, SurbReply)]
    assert (reply.ident, len(reply.body)) == (bytes([9]) * 32, GEOMETRY.body)


HOLDING = dataclasses.replace(PARAMS, pool_min=4)


def test_a_small_pool_is_held_and_fed_with_loops_that_nobody_else_can_tell() -> None:
    world = World(12, HOLDING)
    give(world, packet_through(world, 0, 0))
    world.run(TICK / 2)
    node = world.nodes[1]
    assert node.waiting == 1
    assert node.stats["mix.held_ticks"] == 1
    for step in range(1, 5):  # woken between two ticks for something else
        world.carry_out(node, node.handle_timeout(world.now + step / 1000))
    assert node.stats["mix.held_ticks"] == 1

    world.run(30.0, lambda: node.stats["mix.out"] > 0)
    assert node.stats["mix.out"] > 0  # loops came by and filled the pool
    assert node.stats["mix.loops_out"] > 0
    world.run(120.0, lambda: node.stats["mix.loops_back"] > 0)
    assert node.stats["mix.loops_back"] > 0
    replies = [event for events in world.events.values() for event in events if isinstance(event, SurbReply)]
    assert {event.ident for event in replies} <= {bytes([9]) * 32}  # no loop is taken for an answer
    assert {len(seen.frame.payload) for seen in world.frames(Kind.PACKET)} == {32_768}
    assert world.dropped() == {}


def test_a_pool_with_enough_packets_is_not_held() -> None:
    world = World(12, HOLDING)
    for _ in range(HOLDING.pool_min):
        give(world, packet_through(world, 0, 0))
    world.run(TICK)
    assert world.nodes[1].stats["mix.out"] == HOLDING.pool_min
    assert world.nodes[1].stats["mix.held_ticks"] == 0


def test_a_held_mix_that_knows_nobody_keeps_what_it_has() -> None:
    world = World(2, HOLDING)
    give(world, packet_through(world, 0))
    world.run(1.0)
    assert world.nodes[1].waiting == 1
    assert world.nodes[1].stats["mix.loops_out"] == 0


def test_a_link_that_floods_the_pool_is_refused_and_the_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mixmail.node.mix.NODE_LIMITS", dataclasses.replace(NODE_LIMITS, mix_pool=8))
    world = World(4)
    node = world.nodes[1]
    for _ in range(6):
        world.frame(node, world.nodes[2].node_id, Kind.PACKET, packet_through(world, 100, 0))
    assert (node.waiting, node.stats["drop.mix_full"]) == (4, 2)
    world.frame(node, world.nodes[3].node_id, Kind.PACKET, packet_through(world, 100, 0))
    assert (node.waiting, node.stats["drop.mix_full"]) == (5, 2)


# epochs


def key_of(node: Node, epoch: int) -> Hop:
    descriptor = node.view.get(node.node_id)
    assert descriptor is not None
    return Hop(node.node_id, descriptor.mix_key(epoch), 0)


def test_a_key_lives_from_a_little_before_its_epoch_to_a_little_after() -> None:
    world = World(1)
    node, epoch = world.nodes[0], world.epoch()
    here, following = key_of(node, epoch), key_of(node, epoch + 1)
    final = (CommandKind.SURB_REPLY, bytes(32))

    def accepted(hop: Hop) -> bool:
        before = node.stats["drop.packet_header"]
        packet = create_packet([hop], bytes(GEOMETRY.payload), world.rng, final)
        world.frame(node, bytes(32), Kind.PACKET, packet)
        return node.stats["drop.packet_header"] == before

    assert accepted(here)
    assert not accepted(following)
    turn = (epoch + 1) * DAY
    world.run(turn - PARAMS.epoch_early - NOON + 1)
    assert accepted(here) and accepted(following)
    world.run(PARAMS.epoch_early + PARAMS.epoch_late - 2)
    assert accepted(here) and accepted(following)
    world.run(2)
    assert not accepted(here)
    assert accepted(following)


def test_a_key_that_is_over_opens_nothing_even_before_it_is_deleted() -> None:
    keys = EpochKeys(PARAMS, SeededRandomness("late"))
    keys.rotate(NOON)
    epoch = int(NOON // PARAMS.epoch)
    over = (epoch + 1) * PARAMS.epoch + PARAMS.epoch_late
    assert [number for number, _ in keys.live_mix(over - 1)] == [epoch + 1, epoch]
    assert [number for number, _ in keys.live_mix(over)] == [epoch + 1]
    assert keys.next_rotation < over


def test_a_key_is_deleted_with_its_replay_tags_and_a_new_descriptor_tells_the_next_ones() -> None:
    world = World(1)
    node, epoch = world.nodes[0], world.epoch()
    old = node.descriptor
    final = (CommandKind.SURB_REPLY, bytes(32))
    packet = create_packet([key_of(node, epoch)], bytes(GEOMETRY.payload), world.rng, final)
    world.frame(node, bytes(32), Kind.PACKET, packet)
    assert node._mix._replay.count(epoch) == 1
    blob = world.blob(Query(QueryOp.READ, 0, bytes(32), key_field(bytes(32))), Descriptor.parse(old))
    world.frame(node, bytes(32), Kind.PROXY_QUERY, blob, 1)
    assert node._proxy._opened.count(epoch) == 1

    world.run(DAY / 2 + PARAMS.clock_skew - 1)
    assert node.descriptor == old, "who is late still needs the keys of the old epoch"
    world.run(2)
    descriptor = node.view.get(node.node_id)
    assert descriptor is not None and descriptor.raw == node.descriptor != old
    assert list(descriptor.epochs) == [epoch + 1, epoch + 2, epoch + 3]
    assert node._mix._replay.count(epoch) == 1

    world.run(PARAMS.epoch_late)
    assert node._mix._replay.count(epoch) == node._proxy._opened.count(epoch) == 0
    assert epoch not in node._epochs._mix and epoch not in node._epochs._proxy
    assert node.next_timeout() is not None and node.next_timeout() > world.now


def test_a_restart_makes_other_keys_and_a_later_descriptor() -> None:
    world = World(1)
    old = world.nodes[0]
    packet = create_packet([key_of(old, world.epoch())], bytes(GEOMETRY.payload), world.rng)
    view = View(world.network, old.view.checks)
    new = Node(world.network, world.keys[0], "tcp:host=a:port=1", bytes(32), world.stores[0], world.rng, view)
    new.handle_command(Start(), NOON + 5.0)
    new.handle_frame(bytes(32), Frame(Kind.PACKET, 0, packet), NOON + 5.0)
    assert new.stats["drop.packet_header"] == 1
    assert Descriptor.parse(new.descriptor).order > Descriptor.parse(old.descriptor).order
