"""What a worker process does with a batch, without the process."""

from __future__ import annotations

import socket
import threading

import pytest
from node_world import World
from test_node_mix import packet_through
from test_node_unwrapping import bad_packets

from mixmail.daemon.unwrapper import FORGET, LENGTH, Unwrapper, pack_batch, parse_answer, serve
from mixmail.node.unwrapping import UnwrapJob
from mixmail.params import GEOMETRY
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import create_packet


def job(world: World) -> UnwrapJob:
    """A batch with every end that a packet may have, under the two keys of an early morning."""
    keys = world.nodes[1]._epochs
    now = (world.epoch() + 1) * world.params.epoch + 1.0
    packets = [packet for packet in bad_packets(world) if len(packet) == GEOMETRY.packet]
    node = world.client.view.get(world.nodes[1].node_id)
    assert node is not None
    ending = create_packet(
        [world.hop(node, 5)], bytes(GEOMETRY.payload), world.rng, (CommandKind.DELIVER, bytes(32))
    )
    changed = bytearray(ending)
    changed[-1] ^= 1
    return UnwrapJob(tuple(keys.live_mix(now)), (*packets, ending, bytes(changed)))


def body(parts: list[bytes]) -> bytes:
    """A batch without its length, which must be right."""
    raw = b"".join(parts)
    assert LENGTH.unpack_from(raw)[0] == len(raw) - LENGTH.size
    return raw[LENGTH.size :]


def test_a_batch_comes_back_as_if_it_had_been_opened_here() -> None:
    batch = job(World(4))
    assert len(batch.keys) == 2
    expected = batch()
    assert [opened is None for opened in expected].count(True) == 3
    assert expected[-1] is not None and expected[-1].content is None
    assert expected[-2] is not None and expected[-2].content == bytes(GEOMETRY.payload)
    assert parse_answer(Unwrapper().answer(body(pack_batch(batch)))) == expected


def test_an_answer_that_is_cut_off_is_none() -> None:
    answer = Unwrapper().answer(body(pack_batch(job(World(4)))))
    with pytest.raises(ValueError, match="ends within a result"):
        parse_answer(answer + bytes(3))


def test_a_worker_keeps_the_keys_of_the_last_batch_only_and_none_when_told_to_forget() -> None:
    world = World(4)
    worker, batch = Unwrapper(), job(world)
    worker.answer(body(pack_batch(batch)))
    first = dict(worker._keys)
    assert first.keys() == {key.seed for _, key in batch.keys}
    worker.answer(body(pack_batch(UnwrapJob(batch.keys[:1], ()))))
    assert worker._keys.keys() == {batch.keys[0][1].seed}
    assert worker._keys[batch.keys[0][1].seed] is first[batch.keys[0][1].seed]  # not parsed again
    assert worker.answer(body([FORGET])) == b""
    assert worker._keys == {}


def test_a_worker_answers_in_order_and_ends_with_the_other_side() -> None:
    world = World(4)
    here, there = socket.socketpair()
    thread = threading.Thread(target=serve, args=(there,))
    thread.start()
    batch = job(world)
    single = UnwrapJob(batch.keys, (packet_through(world, 10, 10),))
    with here, here.makefile("rb") as answers:
        for parts in (pack_batch(batch), [FORGET], pack_batch(single)):
            here.sendall(b"".join(parts))

        def answer() -> bytes:
            return answers.read(LENGTH.unpack(answers.read(LENGTH.size))[0])

        assert parse_answer(answer()) == batch()
        assert answer() == b""
        assert parse_answer(answer()) == single()
        here.sendall(LENGTH.pack(1_000) + bytes(10))  # half a batch, and then the end
    thread.join()
    there.close()
