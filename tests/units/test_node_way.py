"""One query all the way: three mixes, courier, proxy, homes, and back by its SURB."""

from __future__ import annotations

import dataclasses

import pytest
from node_world import NOON, PARAMS, TODAY, World

from mixmail.boxes import capability, stamp
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.capability import WriteCap
from mixmail.boxes.placement import ranking
from mixmail.boxes.query import SPREAD, Query, QueryOp, QueueRequest, hour_of, open_query
from mixmail.boxes.record import FIRST, Record, RecordType, key_field, queue_entry, sign_record
from mixmail.boxes.status import Status
from mixmail.directory.path import draw_route
from mixmail.errors import RemoteProtocolError
from mixmail.node.wire import Kind
from mixmail.params import GEOMETRY
from mixmail.sphinx.create import create_packet
from mixmail.sphinx.unwrap import open_header
from mixmail.testing import SeededRandomness


def a_box(seed: int = 0) -> Record:
    rng = SeededRandomness(f"box {seed}")
    cap = WriteCap.create(rng.bytes(64))
    return capability.seal(cap, rng.bytes(GEOMETRY.box_text), 30, TODAY, rng)


def homes_with(world: World, record: Record) -> list[bytes]:
    found = []
    for node, store in zip(world.nodes, world.stores, strict=True):
        held = store.get(record.key)
        if held is not None and held.identical(record):
            found.append(node.node_id)
    return found


def test_a_box_is_written_to_its_nearest_homes_and_read_back() -> None:
    world, box = World(), a_box()

    answer = world.ask(QueryOp.WRITE, box.pack())

    assert answer.status is Status.STORED
    assert answer.n == PARAMS.write_acks == answer.acks.bit_count()
    nearest = ranking(box.key, world.client.view.storage_ids(NOON), PARAMS.write_acks)
    assert set(nearest) <= set(homes_with(world, box)), "and perhaps some more, to which they handed it on"
    assert answer.n >= PARAMS.quorum_of(len(world.nodes))

    read = world.ask(QueryOp.READ, key_field(box.key))
    assert (read.status, read.n) == (Status.OK, 2)
    assert Record.parse(read.field) == box
    assert world.ask(QueryOp.READ, key_field(a_box(1).key)).status is Status.NOT_FOUND
    assert world.dropped() == {}


def test_writing_the_same_record_again_is_acknowledged_and_changes_nothing() -> None:
    world, box = World(), a_box()
    world.ask(QueryOp.WRITE, box.pack())
    again = world.ask(QueryOp.WRITE, box.pack())
    assert (again.status, again.n) == (Status.OK, PARAMS.write_acks)
    assert sum(store.count()["records"] for store in world.stores) >= PARAMS.write_acks


def test_all_that_goes_through_mixes_is_packets_of_one_size() -> None:
    world = World()
    route = draw_route(world.client.view, world.client.node_id, world.now, world.rng)
    world.ask(QueryOp.WRITE, a_box().pack(), route)

    packets = world.frames(Kind.PACKET)
    way = [world.client.node_id, *(node.node_id for node in (*route.out, route.courier))]
    back = [*(node.node_id for node in route.back), world.client.node_id]
    assert [seen.receiver for seen in packets] == [*way[1:], *back]
    assert [seen.sender for seen in packets] == [*way[:4], route.courier.node_id, *back[:3]]
    assert {len(seen.frame.payload) for seen in packets} == {32_768}
    assert len({seen.frame.payload for seen in packets}) == len(packets)
    (asked,) = world.frames(Kind.PROXY_QUERY)
    assert (asked.sender, asked.receiver) == (route.courier.node_id, route.proxy.node_id)
    assert len(asked.frame.payload) == GEOMETRY.blob


@pytest.mark.parametrize("op", list(QueryOp))
def test_nothing_shows_on_the_links_which_operation_it_was(op: QueryOp) -> None:
    """Sizes and kinds between client, mixes, courier and proxy are equal for all operations."""
    world, rng = World(8), SeededRandomness("ops")
    owner = OwnerKey.from_seed(rng.bytes(32), "test.own")
    route = draw_route(world.client.view, world.client.node_id, world.now, world.rng)

    def field(reply_key: bytes) -> bytes:
        if op is QueryOp.READ:
            return key_field(owner.public)
        if op is QueryOp.WRITE:
            return a_box().pack()
        if op is QueryOp.QUEUE_ADD:
            return stamped_entry(world, owner, 0).pack()
        return QueueRequest.create(owner, op, FIRST, hour_of(world.now), reply_key, rng).to_field()

    world.ask(op, field, route)
    visible = world.frames(Kind.PACKET, Kind.PROXY_QUERY, Kind.PROXY_REPLY)
    sizes = [(seen.frame.kind, len(seen.frame.payload)) for seen in visible]
    assert sizes == [(1, 32_768)] * 4 + [(2, 18_506), (3, 17_356)] + [(1, 32_768)] * 4


def stamped_entry(world: World, owner: OwnerKey, number: int, bits: int = PARAMS.stranger_bits) -> Record:
    c = SeededRandomness(f"entry {number}").bytes(GEOMETRY.box_ct)
    entry = queue_entry(owner.public, 30, TODAY, c)
    stamped = stamp.solve(world.network.hash, world.params, entry, bits, TODAY, 0, 10_000)
    assert stamped is not None
    return stamped


def test_a_queue_takes_entries_from_anyone_and_serves_its_owner_only() -> None:
    world, rng = World(), SeededRandomness("queue")
    owner = OwnerKey.from_seed(rng.bytes(32), "test.own")
    entries = [stamped_entry(world, owner, number, bits) for number, bits in enumerate((2, 3, 4))]
    for entry in entries:
        added = world.ask(QueryOp.QUEUE_ADD, entry.pack())
        assert (added.status, added.n) == (Status.STORED, PARAMS.write_acks)

    def request(op: QueryOp, after: bytes, signer: OwnerKey = owner) -> bytes:
        def field(reply_key: bytes) -> bytes:
            made = QueueRequest.create(signer, op, after, hour_of(world.now), reply_key, rng)
            return dataclasses.replace(made, key=owner.public).to_field()

        return world.ask(op, field).pack()

    def listed() -> list[Record]:
        found, after = [], FIRST
        while True:
            raw = request(QueryOp.QUEUE_READ, after)
            if raw[0] != Status.OK:
                assert raw[0] == Status.NOT_FOUND
                return found
            found.append(Record.parse(raw[6:]))
            after = found[-1].position

    assert listed() == sorted(entries, key=lambda entry: entry.position)
    stranger = OwnerKey.from_seed(rng.bytes(32), "test.own")
    assert request(QueryOp.QUEUE_READ, FIRST, stranger)[0] == Status.BAD_SIGNATURE
    assert request(QueryOp.QUEUE_DELETE, entries[1].entry_id, stranger)[1] == 0  # no home did it

    deleted = request(QueryOp.QUEUE_DELETE, entries[1].entry_id)
    assert deleted[1] == len(world.nodes)  # all homes of a small network
    assert entries[1] not in listed()
    assert len(listed()) == 2
    assert not any(store.queue_list(owner.public, FIRST, 9)[2:] for store in world.stores)


def test_spread_reads_ask_other_homes_than_the_nearest() -> None:
    world, box = World(), a_box()
    world.ask(QueryOp.WRITE, box.pack())
    nearest = ranking(box.key, world.client.view.storage_ids(NOON), PARAMS.read_homes)

    def asked(flags: int) -> set[bytes]:
        """The remote homes that reads asked (a proxy that is a home asks itself off the link)."""
        world.seen.clear()
        for _ in range(6):
            world.ask(QueryOp.READ, key_field(box.key), flags=flags)
        return {seen.receiver for seen in world.frames(Kind.HOME_QUERY)}

    assert asked(0) <= set(nearest)
    assert not asked(SPREAD) <= set(nearest)


def test_spread_writes_go_to_other_homes_than_the_nearest_and_to_homes_only() -> None:
    params = dataclasses.replace(PARAMS, replicas=8, write_acks=3, write_tries=10, quorum=3)
    world = World(12, params)
    for node in world.nodes:
        node._replica.on_new = lambda record, now: None  # none is handed on
    nearest: set[bytes] = set()
    others = 0
    for number in range(6):
        box = a_box(number)
        homes = ranking(box.key, world.client.view.storage_ids(NOON), params.replicas)
        nearest = set(homes[: params.write_acks])
        world.ask(QueryOp.WRITE, box.pack(), flags=SPREAD)
        holding = {
            node.node_id for node, store in zip(world.nodes, world.stores, strict=True) if store.get(box.key)
        }
        assert len(holding) == params.write_acks and holding <= set(homes)
        others += holding != nearest
    assert others >= 4, "all three of the nearest three come once in 56 times"


def test_a_mutable_record_is_read_at_its_highest_sequence_number() -> None:
    world, rng = World(), SeededRandomness("mutable")
    owner = OwnerKey.from_seed(rng.bytes(32), "test.own")
    old, new = (
        sign_record(owner, RecordType.MUTABLE, 7, TODAY, seq, rng.bytes(GEOMETRY.box_ct), rng)
        for seq in (1, 2)
    )
    assert world.ask(QueryOp.WRITE, old.pack()).status is Status.STORED
    assert world.ask(QueryOp.WRITE, new.pack()).status is Status.STORED
    nearest = ranking(new.key, world.client.view.storage_ids(NOON), 2)
    lagging = world.stores[[node.node_id for node in world.nodes].index(nearest[0])]
    lagging._records[new.key] = old

    answer = world.ask(QueryOp.READ, key_field(new.key))
    assert Record.parse(answer.field) == new
    assert (answer.n, answer.acks) == (1, 0b10)  # the home of rank 0 gave the old one

    stale = world.ask(QueryOp.WRITE, old.pack())
    assert (stale.status, stale.n) == (Status.EXISTS, 1)
    assert Record.parse(stale.field) == new


def test_each_roles_keys_open_nothing_but_its_part() -> None:
    world, rng = World(8), SeededRandomness("roles")
    route = draw_route(world.client.view, world.client.node_id, world.now, world.rng)
    box = a_box()
    query = Query(QueryOp.WRITE, 0, rng.bytes(32), box.pack())
    blob = world.blob(query, route.proxy)
    packet = create_packet([world.hop(node, 0) for node in route.out], bytes(GEOMETRY.payload), rng)
    epoch, network_hash = world.epoch(), world.network.hash

    for node in world.nodes:
        (mix_key,), (proxy_key,) = (
            [key for e, key in keys if e == epoch]
            for keys in (node._epochs.live_mix(world.now), node._epochs.live_proxy(world.now))
        )
        with pytest.raises(RemoteProtocolError):
            open_query([(epoch, mix_key)], network_hash, route.proxy.node_id, blob)
        with pytest.raises(RemoteProtocolError):
            open_header([proxy_key], packet)
        if node.node_id == route.proxy.node_id:
            opened = open_query([(epoch, proxy_key)], network_hash, route.proxy.node_id, blob)
            assert opened == query
        else:
            with pytest.raises(RemoteProtocolError):
                open_query([(epoch, proxy_key)], network_hash, route.proxy.node_id, blob)
        if node.node_id != route.out[0].node_id:
            with pytest.raises(RemoteProtocolError):
                open_header([mix_key], packet)

    for part in (box.key, box.c[:64], query.reply_key):
        assert part not in blob and part not in packet


def test_without_the_second_layer_no_answer_comes_and_with_it_again() -> None:
    world, box = World(), a_box()
    layer = {node.node_id for node in world.client.view.layers(NOON)[1]}
    world.hang(*(layer - {world.client.node_id}))
    with pytest.raises(AssertionError, match="no answer came"):
        world.ask(QueryOp.WRITE, box.pack())
    world.unhang()
    assert world.ask(QueryOp.WRITE, box.pack()).n == PARAMS.write_acks
