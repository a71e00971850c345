"""The graceful stop: a node that drains takes nothing more and loses nothing that it held."""

from __future__ import annotations

import dataclasses

from node_world import PARAMS, World
from test_node_mix import give, packet_through

from mixmail.node.commands import Drain, Stop
from mixmail.node.events import Stopped
from mixmail.node.wire import Kind

HOLDING = dataclasses.replace(PARAMS, pool_min=4)
LONGEST_MS = int(HOLDING.delay_max * 1000)


def sent(world: World) -> int:
    """Packets that node 1 has sent."""
    return sum(seen.sender == world.nodes[1].node_id for seen in world.frames(Kind.PACKET))


def test_a_drain_sends_every_packet_at_its_time_and_is_over_within_the_longest_delay() -> None:
    world = World(12, HOLDING)
    node = world.nodes[1]
    for delay in (300, 700, LONGEST_MS):  # fewer than the pool's minimum
        give(world, packet_through(world, delay, 0))
    begin = world.now
    world.command(node, Drain())
    assert node.drained_by is not None
    assert node.drained_by - begin < HOLDING.delay_max + 4 * HOLDING.tick
    world.run(0.29)
    assert (node.waiting, sent(world)) == (3, 0)  # none leaves before its time
    world.run(node.drained_by - world.now)
    assert (node.waiting, sent(world)) == (0, 3)
    assert world.dropped().keys() <= {"draining"}  # loops of the others that came meanwhile
    assert node.handle_command(Stop(), world.now)[0].event == Stopped(0)  # type: ignore[union-attr]


def test_a_draining_node_takes_no_packets_and_no_queries() -> None:
    world = World(4)
    node = world.nodes[1]
    world.command(node, Drain())
    give(world, packet_through(world, 10, 0))
    world.frame(node, world.client.node_id, Kind.PROXY_QUERY, bytes(10), stream=1)
    assert node.waiting == 0
    assert node.stats["drop.draining"] == 2
    world.run(1.0)
    assert sent(world) == 0


def test_a_draining_mix_sends_no_own_loops_and_no_alarm_holds_it() -> None:
    params = dataclasses.replace(HOLDING, loop_slots=1.0, mean_delay=1.0)
    world = World(12, params)
    node = world.nodes[1]
    world.run(20 * params.slot)
    give(world, packet_through(world, int(params.delay_max * 1000), 0))
    world.command(node, Drain())
    loops = node.stats["mix.loops_out"]
    assert loops > 0
    assert node.drained_by is not None
    world.run(node.drained_by - world.now)  # longer than the alarm waits for a loop
    assert node.stats["mix.loops_out"] == loops
    assert node.waiting == 0


def test_a_second_drain_changes_nothing_and_a_plain_stop_says_what_it_drops() -> None:
    world = World(4)
    node = world.nodes[1]
    give(world, packet_through(world, 900, 0))
    world.command(node, Drain())
    first = node.drained_by
    world.run(0.1)
    world.command(node, Drain())
    assert node.drained_by == first
    assert node.handle_command(Stop(), world.now)[0].event == Stopped(1)  # type: ignore[union-attr]


def test_a_draining_node_says_so_and_is_no_home_and_no_hop_from_then_on() -> None:
    world = World(4)
    node, other = world.nodes[1], world.nodes[2]
    world.link_all()
    world.run(1.0)
    was_home = [node_id for _, node_id, _ in other.view.storage_ids(world.now)]
    assert node.node_id in was_home
    world.command(node, Drain())
    world.run(1.0)
    assert other.view.says_it_left(node.node_id)
    assert not other.view.says_it_left(world.nodes[3].node_id)
    now_home = [node_id for _, node_id, _ in other.view.storage_ids(world.now)]
    assert now_home == [node_id for node_id in was_home if node_id != node.node_id]
    assert node.node_id not in {item.node_id for item in other.view.others(other.node_id, world.now)}
