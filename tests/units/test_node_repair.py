"""Homes hand records to each other until each is where it belongs, and to nobody else."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from node_world import TODAY, World

from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.placement import ranking
from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import Record, RecordType, queue_entry, sign_record
from mixmail.directory.descriptor import Descriptor
from mixmail.node.commands import Drain, LinkUp
from mixmail.node.core import Node
from mixmail.node.events import StoreFailed
from mixmail.node.repair import _HandOver, _Judged
from mixmail.node.wire import ITEMS, HomeQuery, Kind, pack_items
from mixmail.params import CHAT, DEMO, GEOMETRY, MAIL, NODE_LIMITS, NetworkParameters
from mixmail.testing import MemoryStore, SeededRandomness

PARAMS = dataclasses.replace(
    DEMO,
    puzzle_memory=8_192,
    stamp_memory=8_192,
    loop_slots=1e6,
    stranger_bits=0,
    replicas=4,
    write_acks=2,
    write_tries=6,
    quorum=2,
)
NODES = 10
SWEEP = NODE_LIMITS.repair_sweep_slots * PARAMS.slot
RNG = SeededRandomness("repair")


def a_box(number: int, **more: int) -> Record:
    owner = OwnerKey.from_seed(number.to_bytes(32, "big"), "test.own")
    c = number.to_bytes(4, "big") + bytes(GEOMETRY.box_ct - 4)
    return sign_record(owner, RecordType.BOX, more.get("klass", 30), more.get("day", TODAY), 0, c, RNG)


def a_mutable(number: int, seq: int) -> Record:
    owner = OwnerKey.from_seed(number.to_bytes(32, "big"), "test.own")
    return sign_record(owner, RecordType.MUTABLE, 30, TODAY, seq, bytes(GEOMETRY.box_ct), RNG)


def an_entry(number: int) -> Record:
    owner = OwnerKey.from_seed((number % 3).to_bytes(32, "big"), "test.own")
    return queue_entry(owner.public, 30, TODAY, number.to_bytes(4, "big") + bytes(GEOMETRY.box_ct - 4))


def world(count: int = NODES, **more: float) -> World:
    return World(count, dataclasses.replace(PARAMS, **more))  # type: ignore[arg-type]


def nodes_of(it: World, record: Record, limit: int = PARAMS.replicas, view: Node | None = None) -> list[int]:
    """The numbers of the homes of a record, nearest first."""
    ids = [node.node_id for node in it.nodes]
    present = (view or it.nodes[0]).view.storage_ids(it.now)
    return [ids.index(node_id) for node_id in ranking(record.key, present, limit)]


def keep(store: MemoryStore, record: Record) -> None:
    if record.type is RecordType.QUEUE:
        store.queue_add(record, TODAY, 256)
    else:
        store.put(record, TODAY)


def holders(it: World, record: Record) -> set[int]:
    item = (record.key, record.version)
    return {number for number, store in enumerate(it.stores) if store.find(item) is not None}


def sent(it: World, kind: Kind, sender: int | None = None) -> int:
    who = None if sender is None else it.nodes[sender].node_id
    return sum(one.frame.kind == kind and who in (None, one.sender) for one in it.seen)


ALL_KINDS = [*(a_box(number) for number in range(8)), a_mutable(20, 3), *(an_entry(n) for n in range(4))]


def test_what_a_client_wrote_at_some_homes_comes_to_all_of_them() -> None:
    it = world()
    for node in it.nodes:
        node._repair._next_step = math.inf  # no sweeps
    records = [*(a_box(number) for number in range(8)), a_mutable(20, 3), an_entry(1)]
    for record in records:
        op = QueryOp.QUEUE_ADD if record.type is RecordType.QUEUE else QueryOp.WRITE
        homes = nodes_of(it, record)
        for number in homes[: PARAMS.write_acks]:
            proxy = it.nodes[(number + 1) % NODES]
            it.frame(it.nodes[number], proxy.node_id, Kind.HOME_QUERY, HomeQuery(op, record.pack()).pack(), 7)
    it.run(12 * NODE_LIMITS.repair_forward_slots * PARAMS.slot)
    for record in records:
        assert holders(it, record) == set(nodes_of(it, record)), "all of them, and no one else"
    assert sent(it, Kind.OFFER) == 0


def test_a_node_that_has_come_gets_what_it_is_now_a_home_of() -> None:
    it = World(NODES, PARAMS, meet=False)
    newcomer = it.nodes[9]
    for node in it.nodes[:9]:
        for other in it.nodes[:9]:
            node.view.add(Descriptor.parse(other.descriptor), it.now)
    for record in ALL_KINDS:
        for number in nodes_of(it, record):
            keep(it.stores[number], record)
    it.run(2.1 * SWEEP)
    assert it.stores[9].count()["records"] == 0
    for node in it.nodes[:9]:
        node.view.add(Descriptor.parse(newcomer.descriptor), it.now)
        newcomer.view.add(Descriptor.parse(node.descriptor), it.now)
    it.run(6 * SWEEP)
    mine = [record for record in ALL_KINDS if 9 in nodes_of(it, record)]
    assert len(mine) > 3
    assert all(9 in holders(it, record) for record in mine)
    for record in ALL_KINDS:
        homes, near = set(nodes_of(it, record)), set(nodes_of(it, record, PARAMS.write_tries))
        assert homes <= holders(it, record) <= near


@pytest.mark.parametrize(("share", "least", "most"), [(1.0, 200, 200), (0.25, 25, 75)])
def test_a_new_home_hears_from_a_share_of_the_others(share: float, least: int, most: int) -> None:
    """What ships: from each.  A quarter of 200 gives or takes four standard deviations."""
    it = world()
    records = [a_box(number) for number in range(200)]
    homes = [it.nodes[0].node_id, *(node.node_id for node in it.nodes[1:])]
    repair = it.nodes[0]._repair
    assert repair._limits.repair_share == 1.0
    repair._limits = dataclasses.replace(repair._limits, repair_share=share)
    repair._chosen = frozenset()
    for record in records:
        repair._look_at(_Judged(record, homes[:4], [homes[2]]), it.now)
    assert set(repair._offers) == {homes[2]}
    assert least <= len(repair._offers[homes[2]]) <= most


@pytest.mark.parametrize("with_a_word", [True, False])
def test_only_who_comes_in_place_of_a_node_that_went_without_a_word_is_told_by_the_others(
    with_a_word: bool,
) -> None:
    it = world()
    repair, leaver = it.nodes[0]._repair, it.nodes[3]
    repair._begin(it.now)
    before = repair._present
    if with_a_word:
        it.command(leaver, Drain())
        it.nodes[0].view.add(Descriptor.parse(leaver.descriptor), it.now)
    else:
        del it.nodes[0].view._nodes[leaver.node_id]  # as when the last descriptor has expired
        it.nodes[0].view.changed += 1
    repair._begin(it.now)
    assert len(repair._present) == NODES - 1
    assert leaver.node_id not in [node_id for _, node_id, _ in repair._present]
    assert repair._before == (repair._present if with_a_word else before)


def test_who_holds_the_better_record_sends_it_back() -> None:
    it = world()
    old, new = a_mutable(1, 3), a_mutable(1, 4)
    first, second, *_ = nodes_of(it, old)
    keep(it.stores[first], new)
    keep(it.stores[second], old)
    it.frame(it.nodes[first], it.nodes[second].node_id, Kind.RECORD, old.pack())
    it.run(1.0)
    assert holders(it, new) == {first, second}


def test_a_home_that_forgot_gets_its_records_back() -> None:
    it = world()
    for record in ALL_KINDS:
        for number in nodes_of(it, record):
            keep(it.stores[number], record)
    before = {number for number in range(NODES) if it.stores[number].scan((False, b"", b""), 99)}
    lost = min(before)
    for record in it.stores[lost].scan((False, b"", b""), 99):
        it.stores[lost].drop(record)
    it.run(8 * SWEEP)
    for record in ALL_KINDS:
        assert set(nodes_of(it, record)) == holders(it, record)


def test_what_a_node_is_no_home_of_goes_to_the_homes_and_is_dropped() -> None:
    it = world()
    for record in ALL_KINDS:
        (stranger,) = set(range(NODES)) - set(nodes_of(it, record, NODES - 1))
        keep(it.stores[stranger], record)
    it.run(8 * SWEEP)
    for record in ALL_KINDS:
        assert holders(it, record) == set(nodes_of(it, record))


def test_a_record_at_a_node_that_takes_writes_but_is_no_home_comes_to_the_homes_and_may_stay() -> None:
    it = world()
    record = a_box(1)
    fifth = nodes_of(it, record, PARAMS.write_tries)[PARAMS.replicas]
    keep(it.stores[fifth], record)
    it.run(12 * SWEEP)
    assert holders(it, record) == {fifth, *nodes_of(it, record)}


def test_of_two_records_at_a_key_the_better_one_comes_to_all_homes() -> None:
    it = world()
    old, new = a_mutable(1, 3), a_mutable(1, 4)
    boxes = [a_box(2), a_box(2, day=TODAY - 1)]
    low = min(boxes, key=lambda one: (one.body_hash, one.meta))
    for number in nodes_of(it, old):
        keep(it.stores[number], old)
    keep(it.stores[nodes_of(it, new)[0]], new)
    for place, number in enumerate(nodes_of(it, low)):
        keep(it.stores[number], boxes[place % 2])
    it.run(10 * SWEEP)
    assert holders(it, new) == set(nodes_of(it, new)) and not holders(it, old)
    assert holders(it, low) == set(nodes_of(it, low))


def test_a_deleted_entry_does_not_come_back() -> None:
    it = world()
    entry = an_entry(1)
    for number in nodes_of(it, entry):
        keep(it.stores[number], entry)
    deleted = nodes_of(it, entry)[0]
    it.stores[deleted].queue_delete(entry.key, entry.entry_id)
    it.run(6 * SWEEP)
    assert deleted not in holders(it, entry)
    assert it.nodes[deleted].stats["repair.ok"] == 0, "it was not even asked for"


def test_a_node_that_leaves_hands_over_what_it_has() -> None:
    it = world(delay_cut=60.0)
    for record in ALL_KINDS:
        for number in nodes_of(it, record):
            keep(it.stores[number], record)
    leaver = it.nodes[3]
    mine = [record for record in ALL_KINDS if 3 in holders(it, record)]
    heirs = {record.key: nodes_of(it, record, PARAMS.replicas + 1)[-1] for record in mine}
    it.command(leaver, Drain())
    assert leaver.leaving > 0
    it.run(5.0)
    assert leaver.leaving == 0 and len(mine) > 3
    for record in mine:
        assert heirs[record.key] in holders(it, record)
    assert sent(it, Kind.RECORD, 3) == len(mine), "each once"


def bring(it: World, record: bytes, number: int) -> Node:
    node = it.nodes[number]
    it.frame(node, it.nodes[(number + 1) % NODES].node_id, Kind.RECORD, record)
    return node


def test_only_a_home_keeps_what_another_hands_over() -> None:
    it = world()
    record = a_box(1)
    homes = nodes_of(it, record, PARAMS.write_tries)
    (stranger, *_) = set(range(NODES)) - set(homes)
    assert bring(it, record.pack(), stranger).stats["drop.repair_not_home"] == 1
    for number in homes:
        bring(it, record.pack(), number)
    assert holders(it, record) == set(homes)


@pytest.mark.parametrize(
    ("record", "count"),
    [
        (dataclasses.replace(a_box(1), signature=bytes(64)), "repair.bad_signature"),
        (a_box(1, day=TODAY - 31), "repair.expired"),
        (a_box(1, day=TODAY + 2), "repair.refused"),
        (a_box(1, klass=31), "repair.refused"),
        (a_box(1), "repair.bad_stamp"),
    ],
)
def test_what_is_handed_over_is_checked_like_a_write(record: Record, count: str) -> None:
    it = world(box_bits=3)
    number = nodes_of(it, record)[0]
    node = bring(it, record.pack(), number)
    assert node.stats[count] == 1
    assert it.stores[number].count()["records"] == 0


@pytest.mark.parametrize(
    "payload",
    [b"", bytes(4), bytes(3), b"\x00\x01\x00\x00" + bytes(39), b"\x00\x01\x00\x01" + bytes(40)],
)
@pytest.mark.parametrize("kind", [Kind.OFFER, Kind.NEED])
def test_malformed_lists_are_dropped(kind: Kind, payload: bytes) -> None:
    it = world(3)
    it.frame(it.nodes[0], it.nodes[1].node_id, kind, payload)
    assert it.nodes[0].stats[f"drop.frame_{kind}"] == 1


def test_a_list_fills_a_frame_and_no_more() -> None:
    full = [(number.to_bytes(32, "big"), bytes(8)) for number in range(ITEMS)]
    assert GEOMETRY.packet - 40 < len(pack_items(full)) <= GEOMETRY.packet
    assert NODE_LIMITS.offer_items <= ITEMS


def offer(it: World, records: list[Record], number: int, peer: int) -> None:
    payload = pack_items([(record.key, record.version) for record in records])
    it.frame(it.nodes[number], it.nodes[peer].node_id, Kind.OFFER, payload)


def test_an_offer_is_answered_with_what_is_missing_only() -> None:
    it = world()
    records = [a_box(number) for number in range(5)]
    for record in records[:3]:
        keep(it.stores[0], record)
    offer(it, records, 0, 1)
    (need,) = [one for one in it.seen if one.frame.kind == Kind.NEED]
    assert need.receiver == it.nodes[1].node_id
    assert need.frame.payload == pack_items([(record.key, record.version) for record in records[3:]])
    offer(it, records[:3], 0, 1)
    assert sent(it, Kind.NEED) == 1, "nothing is missing: no answer"


def test_offers_have_a_budget_that_one_peer_does_not_use_up() -> None:
    it = world()
    for _ in range(500):
        offer(it, [a_box(1)], 0, 1)
    by_one = sent(it, Kind.NEED)
    assert 3 < by_one < NODE_LIMITS.offers_per_s * NODE_LIMITS.offers_memory_s
    offer(it, [a_box(1)], 0, 2)
    assert sent(it, Kind.NEED) == by_one + 1


@pytest.mark.parametrize("preset", [MAIL, CHAT, DEMO])
def test_a_burst_of_offers_keeps_no_reader_waiting_until_he_takes_this_home_for_silent(
    preset: NetworkParameters,
) -> None:
    it = world()
    for number in range(400):
        offer(it, [a_box(1)], 0, 1 + number % (NODES - 1))
    assert sent(it, Kind.NEED) * NODE_LIMITS.offer_cost <= preset.home_timeout


def test_nobody_gets_what_he_was_not_offered_nor_twice() -> None:
    it = world()
    records = [a_box(number) for number in range(8)]
    for record in records:
        for number in nodes_of(it, record):
            keep(it.stores[number], record)
    everything = pack_items([(record.key, record.version) for record in records])
    it.frame(it.nodes[0], it.nodes[1].node_id, Kind.NEED, everything)
    it.run(5.0)
    assert sent(it, Kind.RECORD, 0) == 0
    it.run(2.1 * SWEEP)
    offers = [one for one in it.seen if one.frame.kind == Kind.OFFER and one.sender == it.nodes[0].node_id]
    assert offers
    for one in offers:
        peer = it.by_id[one.receiver]
        it.frame(it.nodes[0], peer.node_id, Kind.NEED, one.frame.payload)
        it.frame(it.nodes[0], peer.node_id, Kind.NEED, one.frame.payload)
    it.run(20.0)
    asked = {one.receiver: one.frame.payload for one in offers}  # the last one to each counts
    assert 0 < sent(it, Kind.RECORD, 0) <= sum((len(payload) - 4) // 40 for payload in asked.values())


def test_a_slot_has_a_few_messages_only() -> None:
    it = world()
    stranger = 0
    records = [a_box(number) for number in range(60)]
    for record in records:
        if 0 not in nodes_of(it, record, PARAMS.write_tries):
            keep(it.stores[stranger], record)
    it.run(2 * SWEEP)
    mine = [one for one in it.seen if one.sender == it.nodes[0].node_id]
    times = [one.time for one in mine if one.frame.kind >= Kind.OFFER]
    assert len(times) > 20
    for first in times:
        inside = sum(first <= time < first + PARAMS.slot for time in times)
        assert inside <= NODE_LIMITS.repair_per_slot + 1


def queue_for(it: World, record: Record, peer: int, count: int) -> None:
    """Node 0 is to hand the record to the peer so many times."""
    for _ in range(count):
        item = (record.key, record.version)
        it.nodes[0]._repair._queue(_HandOver(it.nodes[peer].node_id, item), it.now)
    it.command(it.nodes[0], LinkUp(it.nodes[1].node_id))  # so that it is asked when it wants to wake


def test_who_needs_much_does_not_hold_up_the_others() -> None:
    it = world()
    record = a_box(1)
    keep(it.stores[0], record)
    queue_for(it, record, 1, 400)
    queue_for(it, record, 2, 1)
    it.run(3 * PARAMS.slot / NODE_LIMITS.repair_per_slot)
    receivers = [one.receiver for one in it.frames(Kind.RECORD)]
    assert it.nodes[2].node_id in receivers and len(receivers) <= 4


def test_a_peer_that_needs_everything_leaves_places_to_others() -> None:
    it = world()
    node, peer = it.nodes[0], it.nodes[1].node_id
    node._repair._limits = dataclasses.replace(NODE_LIMITS, repair_queue=20)
    items = [(number.to_bytes(32, "big"), bytes(8)) for number in range(100)]
    node._repair._offered[peer] = set(items)
    it.frame(node, peer, Kind.NEED, pack_items(items))
    assert (node._repair._waiting, node.stats["drop.repair_queue"]) == (10, 90)


def test_what_a_machine_slept_through_does_not_leave_in_one_burst() -> None:
    it = world()
    record = a_box(1)
    keep(it.stores[0], record)
    queue_for(it, record, 1, 400)
    it.hang(it.nodes[0].node_id)
    it.run(200 * PARAMS.slot)
    it.unhang()
    before = sent(it, Kind.RECORD)
    it.run(0.01 * PARAMS.slot)
    assert 0 < sent(it, Kind.RECORD) - before <= NODE_LIMITS.repair_per_slot + 1


def test_a_flood_of_records_costs_a_budget_and_leaves_some_of_it_to_others() -> None:
    it = world()
    record = a_box(1)
    (stranger, *_) = set(range(NODES)) - set(nodes_of(it, record, PARAMS.write_tries))
    node, one, two = it.nodes[stranger], it.nodes[(stranger + 1) % NODES], it.nodes[(stranger + 2) % NODES]
    most = NODE_LIMITS.records_per_s * NODE_LIMITS.stamp_memory_s
    for _ in range(int(1.5 * most)):
        it.frame(node, one.node_id, Kind.RECORD, record.pack())
    ranked = node.stats["drop.repair_not_home"]
    assert most / 4 < ranked < most
    it.frame(node, two.node_id, Kind.RECORD, record.pack())
    assert node.stats["drop.repair_not_home"] == ranked + 1


def test_a_large_store_is_swept_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    it = world(4)
    small = dataclasses.replace(NODE_LIMITS, repair_chunk=3)
    records = [a_box(number) for number in range(20)]
    for number, node in enumerate(it.nodes):
        node._repair._limits = small
        for record in records if number == 0 else ():
            keep(it.stores[number], record)
    it.run(4 * SWEEP)
    assert all(holders(it, record) == {0, 1, 2, 3} for record in records)
    assert it.nodes[0].stats["repair.sweeps"] >= 2


def test_no_job_of_repair_reads_more_than_a_few_rows() -> None:
    it = world(4)
    small = dataclasses.replace(NODE_LIMITS, repair_chunk=7, store_rows=3)
    records = [a_box(number) for number in range(20)]
    scans: list[tuple[int, int]] = []
    looked_up: list[int] = []
    for number, (node, store) in enumerate(zip(it.nodes, it.stores, strict=True)):
        node._repair._limits = small
        for record in records if number == 0 else ():
            keep(store, record)

        def scan(place: Any, limit: int, kept: MemoryStore = store) -> list[Record]:
            found = MemoryStore.scan(kept, place, limit)
            scans.append((limit, len(found)))
            return found

        def missing(items: Any, today: int, kept: MemoryStore = store) -> Any:
            looked_up.append(len(items))
            return MemoryStore.missing(kept, items, today)

        store.scan, store.missing = scan, missing  # type: ignore[method-assign]
    it.run(2 * SWEEP)
    assert all(holders(it, record) == {0, 1, 2, 3} for record in records)
    assert max(limit for limit, _ in scans) == 3 and max(found for _, found in scans) == 3
    assert max(looked_up) == 3 and len(looked_up) > 3


def test_a_store_that_fails_is_told_of_and_looked_at_again() -> None:
    it = world(4)
    record = a_box(1)
    keep(it.stores[0], record)
    scan = it.stores[0].scan
    failing = True

    def flaky(place: object, limit: int) -> list[Record]:
        if failing:
            raise OSError("the disk is gone")
        return scan(place, limit)  # type: ignore[arg-type]

    it.stores[0].scan = flaky  # type: ignore[method-assign, assignment]
    it.run(2 * SWEEP)
    assert StoreFailed("the disk is gone") in it.events[it.nodes[0].node_id]
    failing = False
    it.run(3 * SWEEP)
    assert holders(it, record) == {0, 1, 2, 3}
