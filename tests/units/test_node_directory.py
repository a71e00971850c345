"""The gossip: views become equal, proofs are checked elsewhere and once, an older life is outdone."""

from __future__ import annotations

import dataclasses

import pytest
from node_world import NOON, PARAMS, TODAY, World, make_keys

from mixmail.directory import gossip
from mixmail.directory.descriptor import Descriptor
from mixmail.directory.view import Checks, View
from mixmail.effects import Done, Frame, Offload, Send
from mixmail.errors import LocalProtocolError
from mixmail.node import directory_role
from mixmail.node.commands import LinkDown, LinkUp, PeerDescriptor, Start, Stop
from mixmail.node.core import Node
from mixmail.node.events import KeysRenewed, OwnDescriptor, OwnDescriptorRefused, Stopped, ViewChanged
from mixmail.node.keys import NodeKeys
from mixmail.node.wire import Kind
from mixmail.testing import MemoryStore, SeededRandomness


def known(node: Node) -> set[bytes]:
    return {item.node_id for item in node.view.all()}


def test_a_chain_of_links_gives_everybody_the_full_view() -> None:
    world = World(8, meet=False)
    assert all(known(node) == {node.node_id} for node in world.nodes)
    for node, other in zip(world.nodes, world.nodes[1:], strict=False):
        world.command(node, LinkUp(other.node_id))
        world.command(other, LinkUp(node.node_id))
    world.run(2 * PARAMS.gossip_interval)
    everybody = {node.node_id for node in world.nodes}
    assert all(known(node) == everybody for node in world.nodes)
    assert len({tuple(node.view.digest()) for node in world.nodes}) == 1
    changes = [event for event in world.events[world.nodes[0].node_id] if isinstance(event, ViewChanged)]
    assert changes[-1].nodes == 8
    world.run(1.0)
    world.seen.clear()
    world.run(3 * PARAMS.gossip_interval)
    kinds = {seen.frame.kind for seen in world.seen}
    assert kinds == {Kind.DIGEST}  # nothing is asked for twice


def test_a_descriptor_from_a_hello_is_pushed_on_to_a_few() -> None:
    world = World(8)
    world.link_all()
    newcomer = World(1, seed=2).nodes[0]
    world.run(1.0)
    world.seen.clear()
    world.command(world.nodes[3], PeerDescriptor(newcomer.descriptor))
    pushed = [seen for seen in world.frames(Kind.PUSH) if seen.sender == world.nodes[3].node_id]
    assert len({seen.receiver for seen in pushed}) == PARAMS.gossip_peers
    assert newcomer.node_id not in {seen.receiver for seen in pushed}
    world.run(1.0)
    assert all(newcomer.node_id in known(node) for node in world.nodes)
    world.seen.clear()
    world.command(world.nodes[3], PeerDescriptor(newcomer.descriptor))
    assert world.seen == []


def test_an_own_change_goes_to_all_links() -> None:
    world = World(6)
    world.link_all()
    world.run(1.0)
    world.command(world.nodes[0], LinkDown(world.nodes[5].node_id))
    world.seen.clear()
    due = (world.epoch() + 1) * PARAMS.epoch + PARAMS.clock_skew
    world.carry_out(world.nodes[0], world.nodes[0].handle_timeout(due))
    pushed = [gossip.parse_push(seen.frame.payload) for seen in world.frames(Kind.PUSH)]
    to = {seen.receiver for seen in world.frames(Kind.PUSH)}
    assert to == {node.node_id for node in world.nodes[1:5]}
    assert all([item.raw for item in push] == [world.nodes[0].descriptor] for push in pushed)
    assert world.nodes[0].links == to


def test_broken_descriptors_are_dropped_and_counted_by_reason() -> None:
    world, other = World(2), World(1, seed=2)
    raw = other.nodes[0].descriptor
    node = world.nodes[0]
    for broken in (raw[:-1], raw[:-1] + bytes([raw[-1] ^ 1]), bytes([9]) + raw[1:]):
        world.command(node, PeerDescriptor(broken))
    stranger = World(1, dataclasses.replace(PARAMS, slot=1.0), seed=3).nodes[0]
    world.command(node, PeerDescriptor(stranger.descriptor))
    assert len(known(node)) == 2
    assert node.stats["drop.descriptor_layout"] == 2
    assert node.stats["drop.descriptor_signature"] == 1
    assert node.stats["drop.descriptor_parameters"] == 1


def fresh_node(world: World, number: int) -> Node:
    """A started node with checks of its own and nobody in its view."""
    view = View(world.network, Checks())
    rng = SeededRandomness(f"fresh {number}")
    keys = make_keys(world.network, rng.bytes(32))
    node = Node(world.network, keys, "tcp:host=f:port=1", bytes(32), MemoryStore(), rng, view)
    node.handle_command(Start(), NOON)
    return node


def test_the_puzzle_of_a_stranger_is_checked_elsewhere_and_once() -> None:
    world = World(2, meet=False)
    node = fresh_node(world, 1)
    push = Frame(Kind.PUSH, 0, gossip.pack_push([Descriptor.parse(world.nodes[1].descriptor)]))
    (job,) = node.handle_frame(world.nodes[0].node_id, push, NOON)
    assert isinstance(job, Offload) and job.lane == "cpu"
    assert node.handle_frame(world.nodes[0].node_id, push, NOON) == []  # it is being checked
    assert world.nodes[1].node_id not in known(node)
    node.handle_command(Done(job.token, job.job()), NOON)
    assert world.nodes[1].node_id in known(node)
    assert node.handle_frame(world.nodes[0].node_id, push, NOON) == []


def test_a_wrong_proof_or_a_failed_check_is_dropped() -> None:
    world = World(1, meet=False)
    keys = world.keys[0]
    stolen = NodeKeys(SeededRandomness("thief").bytes(32), keys.nonce, keys.q, keys.storage_id)
    thief = Node(
        world.network, stolen, "tcp:host=t:port=1", bytes(32), MemoryStore(), world.rng, View(world.network)
    )
    thief.handle_command(Start(), NOON)
    node = fresh_node(world, 1)
    effects = node.handle_command(PeerDescriptor(thief.descriptor), NOON)
    if effects:  # the thief's turn of the puzzle may differ, then it is refused before
        (job,) = effects
        assert isinstance(job, Offload)
        node.handle_command(Done(job.token, job.job()), NOON)
    assert thief.node_id not in known(node)
    assert sum(node.stats.dropped().values()) == 1

    (job,) = node.handle_command(PeerDescriptor(world.nodes[0].descriptor), NOON)
    assert isinstance(job, Offload)
    node.handle_command(Done(job.token, OSError("no memory")), NOON)
    assert world.nodes[0].node_id not in known(node)


def test_a_want_is_answered_in_small_pushes_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = dataclasses.replace(directory_role.NODE_LIMITS, want_batch=7)
    monkeypatch.setattr(directory_role, "NODE_LIMITS", limits)
    world = World(9)
    want = gossip.pack_want([node.node_id for node in world.nodes])
    effects = world.nodes[0].handle_frame(world.nodes[1].node_id, Frame(Kind.WANT, 0, want), NOON)
    pushes = [effect.frame.payload for effect in effects if isinstance(effect, Send)]
    assert [len(gossip.parse_push(push)) for push in pushes] == [4, 3]
    assert max(len(push) for push in pushes) <= 32_768


# an older life of the same node


def restarted(world: World, later: float, published: tuple[int, int] = (0, 0)) -> Node:
    """Node 0 once more, with fresh memory."""
    view = View(world.network, world.client.view.checks)
    rng = SeededRandomness("again")
    keys, endpoint = world.keys[0], "tcp:host=a:port=1"
    node = Node(world.network, keys, endpoint, bytes(32), MemoryStore(), rng, view, published)
    node.handle_command(Start(), NOON + later)
    return node


def test_a_restart_replaces_the_old_descriptor_at_the_others() -> None:
    world = World(3)
    node = restarted(world, 2.0)
    world.command(world.nodes[1], PeerDescriptor(node.descriptor))
    found = world.nodes[1].view.get(node.node_id)
    assert found is not None and found.raw == node.descriptor


def test_a_restart_within_the_same_second_publishes_a_higher_revision() -> None:
    world = World(2)
    first = Descriptor.parse(world.nodes[0].descriptor)
    again = restarted(world, 0.0, published=first.order)
    assert Descriptor.parse(again.descriptor).order > first.order
    forgetful = restarted(world, 0.0)
    assert Descriptor.parse(forgetful.descriptor).order == first.order


def test_a_higher_descriptor_of_the_own_id_is_outdone_but_not_for_ever() -> None:
    world = World(1)
    older = restarted(world, 5_000.0)  # an earlier life whose clock was ahead
    node = world.nodes[0]
    mine = node.descriptor
    effects = node.handle_command(PeerDescriptor(older.descriptor), NOON + 1)
    assert node.descriptor != mine
    assert Descriptor.parse(node.descriptor).order > Descriptor.parse(older.descriptor).order
    assert any(getattr(effect, "event", None) == OwnDescriptor(node.descriptor) for effect in effects)
    assert node.view.get(node.node_id).raw == node.descriptor  # type: ignore[union-attr]

    twin = restarted(world, 9_000.0)
    mine = node.descriptor
    assert node.handle_command(PeerDescriptor(twin.descriptor), NOON + 2) == []
    assert node.descriptor == mine
    node.handle_command(PeerDescriptor(twin.descriptor), NOON + 2 + PARAMS.gossip_interval)
    assert node.descriptor != mine


def test_an_older_descriptor_of_the_own_id_changes_nothing() -> None:
    world = World(1)
    later = restarted(world, 60.0)
    mine = later.descriptor
    assert later.handle_command(PeerDescriptor(world.nodes[0].descriptor), NOON + 61) == []
    assert later.descriptor == mine


def test_a_puzzle_whose_period_is_over_is_solved_anew() -> None:
    world = World(2)
    old = make_keys(world.network, SeededRandomness("old").bytes(32), TODAY - 200)
    view = View(world.network)
    node = Node(world.network, old, "tcp:host=o:port=1", bytes(32), MemoryStore(), world.rng, view)
    effects = node.handle_command(Start(), NOON)
    renewed = None
    while renewed is None:
        (job,) = [e for e in effects if isinstance(e, Offload) and e.lane == "cpu"]
        effects = node.handle_command(Done(job.token, job.job()), NOON)
        renewed = next((e.event for e in effects if isinstance(getattr(e, "event", None), KeysRenewed)), None)
    assert renewed.keys.seed == old.seed and renewed.keys.q != old.q
    own = Descriptor.parse(node.descriptor)
    assert own.storage_id == renewed.keys.storage_id
    assert world.nodes[1].view.add(own, NOON), "the others take it"


def test_a_puzzle_that_cannot_be_solved_is_told() -> None:
    world = World(1)
    old = make_keys(world.network, SeededRandomness("old").bytes(32), TODAY - 200)
    view = View(world.network)
    node = Node(world.network, old, "tcp:host=o:port=1", bytes(32), MemoryStore(), world.rng, view)
    effects = node.handle_command(Start(), NOON)
    (job,) = [e for e in effects if isinstance(e, Offload) and e.lane == "cpu"]
    effects = node.handle_command(Done(job.token, MemoryError()), NOON)
    assert any(isinstance(getattr(e, "event", None), OwnDescriptorRefused) for e in effects)


# life


def test_a_node_does_nothing_before_start_and_after_stop() -> None:
    world = World(2)
    node = world.nodes[0]
    fresh = Node(
        world.network, world.keys[0], "tcp:host=a:port=1", bytes(32), MemoryStore(), world.rng, node.view
    )
    assert fresh.next_timeout() is None
    assert fresh.handle_frame(bytes(32), Frame(Kind.PACKET, 0, b""), NOON) == []
    for act in (lambda: fresh.descriptor, lambda: fresh.handle_command(LinkUp(bytes(32)), NOON)):
        with pytest.raises(LocalProtocolError):
            act()

    with pytest.raises(LocalProtocolError):
        node.handle_command(Start(), NOON)
    with pytest.raises(LocalProtocolError):
        node.handle_command(Done(999, None), NOON)
    effects = node.handle_command(Stop(), NOON)
    assert [effect.event for effect in effects if hasattr(effect, "event")] == [Stopped(0)]
    assert node.next_timeout() is None
    assert node.handle_timeout(NOON + 100) == []
    assert node.handle_command(Done(1, None), NOON) == []  # what was under way
    assert node.handle_command(LinkDown(bytes(32)), NOON) == []
