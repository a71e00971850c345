"""Keys over many epochs: a secret and what was seen under it go together, and nothing of them is kept."""

from __future__ import annotations

import gc
import tracemalloc

from node_world import NOON, PARAMS, World

from mixmail.crypto import kem
from mixmail.mixing.replay import ReplayFilter
from mixmail.node.core import Node
from mixmail.node.keys import EPOCHS, EpochKeys
from mixmail.node.wire import Kind
from mixmail.params import GEOMETRY
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop, create_packet
from mixmail.testing import SeededRandomness

TURNS = 5
TAGS = 20_000
SEED = 4_711  # no other test has these keys in memory


def secrets_in_memory() -> set[bytes]:
    """The seeds of all private keys that the interpreter still holds."""
    gc.collect()
    return {thing.seed for thing in gc.get_objects() if type(thing) is kem.PrivateKey}


def seeds_of(node: Node) -> dict[int, set[bytes]]:
    return {
        epoch: {node._epochs._mix[epoch].seed, node._epochs._proxy[epoch].seed} for epoch in node._epochs._mix
    }


def give(world: World, node: Node, epoch: int) -> None:
    """A packet under the key of `epoch`; what becomes of it is in the node's stats."""
    hop = Hop(node.node_id, node._epochs._mix[epoch].public, 0)
    final = (CommandKind.SURB_REPLY, bytes(32))
    packet = create_packet([hop], bytes(GEOMETRY.payload), world.rng, final)
    world.frame(node, bytes(32), Kind.PACKET, packet)


def test_over_several_epochs_each_secret_is_deleted_with_its_replay_set_and_no_copy_stays() -> None:
    world = World(1, seed=SEED)
    node, start = world.nodes[0], world.epoch()
    ever: dict[int, set[bytes]] = seeds_of(node)
    for epoch in range(start, start + TURNS):
        give(world, node, epoch)
        assert node._mix._replay.count(epoch) == 1
        end = (epoch + 1) * PARAMS.epoch

        world.run(end - world.now + PARAMS.epoch_late - 1)  # the last second in which both stand
        ever.update(seeds_of(node))
        give(world, node, epoch)
        give(world, node, epoch + 1)
        assert node._mix._replay.count(epoch) == 2 and node._mix._replay.count(epoch + 1) == 1
        assert secrets_in_memory() >= ever[epoch]

        world.run(2)  # nothing comes in meanwhile: deleting must not wait for a packet
        assert epoch not in node._epochs._mix and epoch not in node._epochs._proxy
        assert epoch not in node._mix._replay._seen and epoch not in node._proxy._opened._seen
        assert not secrets_in_memory() & ever[epoch]
        assert sorted(node._epochs._mix) == [epoch + 1, epoch + 2, epoch + EPOCHS]
        assert node._mix._replay.count(epoch + 1) == 1
        node._mix._replay.forget(epoch + 1)
    assert len(ever) == TURNS + EPOCHS and len(set.union(*ever.values())) == 2 * len(ever)
    assert node.stats["drop.packet_header"] == node.stats["drop.packet_replay"] == 0


def test_a_deleted_key_is_not_kept_among_the_live_ones() -> None:
    keys = EpochKeys(PARAMS, SeededRandomness("live"))
    keys.rotate(NOON)
    epoch = int(NOON // PARAMS.epoch)
    old = {keys.live_mix(NOON)[0][1].seed, keys.live_proxy(NOON)[0][1].seed}
    assert secrets_in_memory() >= old
    over = (epoch + 1) * PARAMS.epoch + PARAMS.epoch_late
    assert keys.rotate(over)[1] == [epoch]
    assert not secrets_in_memory() & old


def test_forgetting_an_epoch_gives_its_memory_back() -> None:
    rng = SeededRandomness("tags")
    tracemalloc.start()
    try:
        seen = ReplayFilter(PARAMS)
        before = tracemalloc.get_traced_memory()[0]
        for epoch in (1, 2):
            for _ in range(TAGS):
                assert seen.check_and_add(epoch, rng.bytes(32), b"link")
        both = tracemalloc.get_traced_memory()[0] - before
        assert both > 2 * TAGS * 32
        seen.forget(1)
        one = tracemalloc.get_traced_memory()[0] - before
        assert 0.4 * both < one < 0.6 * both
        seen.forget(2)
        assert tracemalloc.get_traced_memory()[0] - before < both / 100
    finally:
        tracemalloc.stop()
