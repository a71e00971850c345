"""The contract of a `RecordStore`, case by case.  To put another store under it, add it to STORE_FACTORIES.

Any order of operations: tests/units/test_boxes_store_machine.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixmail.boxes.record import FIRST, ZERO_SIGNATURE, Record, RecordType
from mixmail.boxes.stamp import Stamp
from mixmail.boxes.status import Status
from mixmail.boxes.store import START, RecordStore, place_of
from mixmail.params import GEOMETRY
from mixmail.storage.node_db import NodeDatabase
from mixmail.testing import MemoryStore

STORE_FACTORIES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda tmp_path: MemoryStore(),
    "sqlite": lambda tmp_path: NodeDatabase(tmp_path / "node.db"),
}

TODAY = 20_000
KEY = b"k" * 32
OTHER = b"o" * 32
LIMIT = 3


@pytest.fixture(params=sorted(STORE_FACTORIES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RecordStore:
    made: RecordStore = STORE_FACTORIES[request.param](tmp_path)
    return made


def record(
    kind: RecordType = RecordType.BOX,
    *,
    key: bytes = KEY,
    text: int = 0,
    day: int = TODAY,
    klass: int = 7,
    seq: int = 0,
    bits: int = 0,
) -> Record:
    """A record that looks like one: stores do not check signatures or work."""
    stamp = Stamp(bytes(8), 1, bits, day).pack() if bits else bytes(32)
    c = text.to_bytes(4, "big") + bytes(GEOMETRY.box_ct - 4)
    signature = ZERO_SIGNATURE if kind is RecordType.QUEUE else b"s" * 64
    return Record(key, signature, kind, klass, day, seq, stamp, c)


def entry(text: int, bits: int = 0, **more: Any) -> Record:
    return record(RecordType.QUEUE, text=text, bits=bits, **more)


def listed(store: RecordStore, key: bytes = KEY) -> list[Record]:
    return store.queue_list(key, FIRST, 1000)


class TestRecords:
    def test_a_new_record_is_stored_and_read_byte_for_byte(self, store: RecordStore) -> None:
        box = record(text=1, bits=4)
        assert store.get(KEY) is None
        assert store.put(box, TODAY) is Status.STORED
        assert store.get(KEY) == box
        assert store.get(KEY).pack() == box.pack()  # type: ignore[union-attr]
        assert store.get(OTHER) is None

    @pytest.mark.parametrize("kind", [RecordType.BOX, RecordType.TOMBSTONE, RecordType.MUTABLE])
    def test_each_type_but_queue_is_kept(self, store: RecordStore, kind: RecordType) -> None:
        assert store.put(record(kind), TODAY) is Status.STORED
        assert store.get(KEY) == record(kind)

    def test_a_queue_entry_is_no_record(self, store: RecordStore) -> None:
        assert store.put(entry(1), TODAY) is Status.REFUSED
        assert store.get(KEY) is None
        assert listed(store) == []

    def test_the_identical_record_is_ok_and_the_first_copy_stays(self, store: RecordStore) -> None:
        store.put(record(text=1), TODAY)
        assert store.put(record(text=1, bits=9), TODAY) is Status.OK
        assert store.get(KEY) == record(text=1)

    def test_a_home_keeps_its_own_box(self, store: RecordStore) -> None:
        store.put(record(text=1), TODAY)
        assert store.put(record(text=0), TODAY) is Status.EXISTS
        assert store.put(record(text=2), TODAY) is Status.EXISTS
        assert store.get(KEY) == record(text=1)

    def test_a_tombstone_beats_a_box_for_good(self, store: RecordStore) -> None:
        store.put(record(text=1), TODAY)
        assert store.put(record(RecordType.TOMBSTONE), TODAY) is Status.STORED
        assert store.put(record(text=1), TODAY) is Status.EXISTS
        assert store.get(KEY) == record(RecordType.TOMBSTONE)

    def test_the_higher_sequence_number_stays(self, store: RecordStore) -> None:
        assert store.put(record(RecordType.MUTABLE, seq=5, text=1), TODAY) is Status.STORED
        assert store.put(record(RecordType.MUTABLE, seq=4, text=2), TODAY) is Status.EXISTS
        assert store.put(record(RecordType.MUTABLE, seq=5, text=2), TODAY) is Status.EXISTS
        assert store.put(record(RecordType.MUTABLE, seq=2**32 - 1, text=3), TODAY) is Status.STORED
        assert store.get(KEY) == record(RecordType.MUTABLE, seq=2**32 - 1, text=3)

    def test_an_expired_record_is_refused_and_gives_way(self, store: RecordStore) -> None:
        old = record(text=1)
        assert store.put(old, old.expiry_day + 1) is Status.EXPIRED
        assert store.get(KEY) is None
        assert store.put(old, old.expiry_day) is Status.STORED
        new = record(text=2, day=TODAY + 8)
        assert store.put(new, old.expiry_day) is Status.EXISTS
        assert store.put(new, old.expiry_day + 1) is Status.STORED
        assert store.get(KEY) == new

    def test_expire_drops_what_has_expired_and_says_how_many(self, store: RecordStore) -> None:
        short, long = record(text=1), record(key=OTHER, klass=30)
        store.put(short, TODAY)
        store.put(long, TODAY)
        store.queue_add(entry(1), TODAY, LIMIT)
        assert store.expire(TODAY + 7, 100) == 0
        assert store.get(KEY) == short
        assert store.expire(TODAY + 8, 100) == 2
        assert store.get(KEY) is None
        assert store.get(OTHER) == long
        assert listed(store) == []
        assert store.expire(TODAY + 8, 100) == 0

    @pytest.mark.parametrize("limit", range(1, 9))
    def test_expire_drops_no_more_than_its_limit_at_a_time(self, store: RecordStore, limit: int) -> None:
        for number in range(3):
            store.put(record(key=bytes([number]) * 32), TODAY)
            store.queue_add(entry(number), TODAY, LIMIT)
        store.queue_delete(KEY, entry(0).entry_id)
        store.put(record(key=bytes([9]) * 32, klass=30), TODAY)
        left = sum(store.count().values())
        assert left == 7
        while left > 1:
            assert store.expire(TODAY + 8, limit) == min(limit, left - 1)
            left = max(1, left - limit)
            assert sum(store.count().values()) == left
        assert store.expire(TODAY + 8, limit) == 0

    def test_a_tombstone_outlives_its_box_by_a_week(self, store: RecordStore) -> None:
        stone = record(RecordType.TOMBSTONE)
        store.put(stone, TODAY)
        assert store.expire(TODAY + 14, 100) == 0
        assert store.get(KEY) == stone
        assert store.expire(TODAY + 15, 100) == 1


class TestQueues:
    def test_other_types_are_refused(self, store: RecordStore) -> None:
        for kind in (RecordType.BOX, RecordType.TOMBSTONE, RecordType.MUTABLE):
            assert store.queue_add(record(kind), TODAY, LIMIT) is Status.REFUSED
        assert listed(store) == []

    def test_queues_and_records_of_one_key_are_apart(self, store: RecordStore) -> None:
        store.put(record(text=9), TODAY)
        store.queue_add(entry(1), TODAY, LIMIT)
        assert store.get(KEY) == record(text=9)
        assert listed(store) == [entry(1)]
        assert listed(store, OTHER) == []

    def test_more_work_comes_first_then_the_lower_id(self, store: RecordStore) -> None:
        entries = [entry(text, bits) for text, bits in enumerate((0, 3, 3, 3, 24, 1, 0))]
        for one in entries:
            assert store.queue_add(one, TODAY, 10) is Status.STORED
        expected = sorted(entries, key=lambda one: (-one.bits, one.entry_id))
        assert listed(store) == expected
        assert store.queue_list(KEY, FIRST, 2) == expected[:2]

    def test_the_cursor_leads_through_every_entry_once(self, store: RecordStore) -> None:
        for text in range(7):
            store.queue_add(entry(text, text % 3), TODAY, 10)
        found: list[Record] = []
        after = FIRST
        while len(found) < 20 and (page := store.queue_list(KEY, after, 1)):
            found.append(page[0])
            after = page[0].position
        assert found == listed(store)
        assert len(found) == 7

    def test_the_cursor_works_where_its_entry_is_not(self, store: RecordStore) -> None:
        first, second, third = sorted((entry(text, 3) for text in range(3)), key=lambda one: one.position)
        store.queue_add(first, TODAY, LIMIT)
        store.queue_add(third, TODAY, LIMIT)
        assert store.queue_list(KEY, second.position, 9) == [third]
        store.queue_delete(KEY, third.entry_id)
        assert store.queue_list(KEY, third.position, 9) == []
        assert store.queue_list(KEY, first.position, 9) == []

    def test_adding_twice_is_adding_once(self, store: RecordStore) -> None:
        assert store.queue_add(entry(1, 2), TODAY, LIMIT) is Status.STORED
        assert store.queue_add(entry(1, 2), TODAY, LIMIT) is Status.OK
        assert listed(store) == [entry(1, 2)]

    def test_more_work_on_the_same_entry_lifts_it(self, store: RecordStore) -> None:
        store.queue_add(entry(1, 2), TODAY, LIMIT)
        store.queue_add(entry(2, 3), TODAY, LIMIT)
        assert store.queue_add(entry(1, 1), TODAY, LIMIT) is Status.OK
        assert store.queue_add(entry(1, 4), TODAY, LIMIT) is Status.STORED
        assert listed(store) == [entry(1, 4), entry(2, 3)]

    def test_a_full_queue_evicts_the_fewest_bits(self, store: RecordStore) -> None:
        for text in range(LIMIT):
            store.queue_add(entry(text, text + 1), TODAY, LIMIT)
        assert store.queue_add(entry(9, 0), TODAY, LIMIT) is Status.FULL
        assert [one.bits for one in listed(store)] == [3, 2, 1]
        assert store.queue_add(entry(8, 2), TODAY, LIMIT) is Status.STORED
        assert [one.bits for one in listed(store)] == [3, 2, 2]
        # evicted is not deleted: with room again it may come back
        store.queue_delete(KEY, entry(8, 2).entry_id)
        assert store.queue_add(entry(0, 1), TODAY, LIMIT) is Status.STORED

    def test_among_equal_bits_the_higher_id_gives_way(self, store: RecordStore) -> None:
        entries = sorted((entry(text, 2) for text in range(LIMIT + 1)), key=lambda one: one.entry_id)
        for one in entries[1:]:
            store.queue_add(one, TODAY, LIMIT)
        assert store.queue_add(entries[0], TODAY, LIMIT) is Status.STORED
        assert listed(store) == entries[:LIMIT]
        assert store.queue_add(entries[LIMIT], TODAY, LIMIT) is Status.FULL

    def test_the_limit_is_of_one_queue(self, store: RecordStore) -> None:
        for text in range(LIMIT):
            store.queue_add(entry(text), TODAY, LIMIT)
        assert store.queue_add(entry(9, key=OTHER), TODAY, LIMIT) is Status.STORED

    def test_expired_entries_take_no_room(self, store: RecordStore) -> None:
        for text in range(LIMIT):
            store.queue_add(entry(text, 24), TODAY, LIMIT)
        new = entry(9, 1, day=TODAY + 8)
        assert store.queue_add(new, TODAY + 7, LIMIT) is Status.FULL
        assert store.queue_add(new, TODAY + 8, LIMIT) is Status.STORED
        assert listed(store) == [new]
        assert store.queue_add(entry(1, 24), TODAY + 8, LIMIT) is Status.EXPIRED

    def test_what_would_change_nothing_is_known_beforehand(self, store: RecordStore) -> None:
        assert not store.queue_knows(entry(1, 2), TODAY)
        store.queue_add(entry(1, 2), TODAY, LIMIT)
        assert [store.queue_knows(entry(1, bits), TODAY) for bits in (1, 2, 3)] == [True, True, False]
        assert not store.queue_knows(entry(2, 2), TODAY)
        assert not store.queue_knows(entry(1, 2, key=OTHER), TODAY)
        assert not store.queue_knows(entry(1, 2), TODAY + 8)
        assert not store.queue_knows(entry(1, 2, day=TODAY + 8), TODAY + 8)  # what is there has expired
        store.queue_delete(KEY, entry(1).entry_id)
        assert store.queue_knows(entry(1, 3), TODAY)
        assert not store.queue_knows(entry(1, 3, day=TODAY + 8), TODAY + 8)

    def test_what_was_deleted_does_not_come_back(self, store: RecordStore) -> None:
        one = entry(1, 2)
        store.queue_add(one, TODAY, LIMIT)
        assert store.queue_delete(KEY, one.entry_id) is Status.OK
        assert listed(store) == []
        assert store.queue_add(one, TODAY, LIMIT) is Status.OK
        assert store.queue_add(entry(1, 24), TODAY, LIMIT) is Status.OK
        assert store.queue_add(one, one.expiry_day, LIMIT) is Status.OK
        assert listed(store) == []
        assert store.queue_add(one, one.expiry_day + 1, LIMIT) is Status.EXPIRED

    def test_a_deletion_is_remembered_until_the_expiry_only(self, store: RecordStore) -> None:
        one = entry(1)
        store.queue_add(one, TODAY, LIMIT)
        store.queue_delete(KEY, one.entry_id)
        store.expire(one.expiry_day, 100)
        assert store.count()["deleted"] == 1
        later = entry(1, day=one.expiry_day + 1)  # the same id under a later day
        assert store.queue_add(later, one.expiry_day, LIMIT) is Status.OK
        assert store.queue_add(later, one.expiry_day + 1, LIMIT) is Status.STORED
        assert store.expire(one.expiry_day + 1, 100) == 1
        assert store.count()["deleted"] == 0
        assert store.queue_delete(KEY, one.entry_id) is Status.OK
        assert listed(store) == []

    def test_an_entry_that_came_back_can_be_deleted_again(self, store: RecordStore) -> None:
        one = entry(1)
        store.queue_add(one, TODAY, LIMIT)
        store.queue_delete(KEY, one.entry_id)
        later = entry(1, day=one.expiry_day + 1)
        assert store.queue_add(later, one.expiry_day + 1, LIMIT) is Status.STORED
        assert store.queue_delete(KEY, one.entry_id) is Status.OK
        assert listed(store) == []
        assert store.queue_add(later, later.expiry_day, LIMIT) is Status.OK

    def test_deleting_is_of_one_queue_and_idempotent(self, store: RecordStore) -> None:
        one = entry(1)
        assert store.queue_delete(KEY, one.entry_id) is Status.NOT_FOUND
        store.queue_add(one, TODAY, LIMIT)
        assert store.queue_delete(OTHER, one.entry_id) is Status.NOT_FOUND
        assert store.queue_delete(KEY, one.entry_id) is Status.OK
        assert store.queue_delete(KEY, one.entry_id) is Status.OK
        assert store.queue_add(entry(1, key=OTHER), TODAY, LIMIT) is Status.STORED

    def test_counts(self, store: RecordStore) -> None:
        assert store.count() == {"records": 0, "entries": 0, "deleted": 0}
        store.put(record(), TODAY)
        store.put(record(key=OTHER), TODAY)
        for text in range(3):
            store.queue_add(entry(text), TODAY, LIMIT)
        store.queue_delete(KEY, entry(0).entry_id)
        assert store.count() == {"records": 2, "entries": 2, "deleted": 1}


class TestRepair:
    """What homes need to compare what they hold."""

    def all_of(self, store: RecordStore) -> list[Record]:
        store.put(record(key=OTHER), TODAY)
        store.put(record(RecordType.MUTABLE, seq=3), TODAY)
        for text in range(3):
            store.queue_add(entry(text, bits=text), TODAY, LIMIT)
        store.queue_add(entry(0, key=OTHER), TODAY, LIMIT)
        kept = [record(RecordType.MUTABLE, seq=3), record(key=OTHER)]
        entries = [entry(0, key=OTHER), *(entry(text, bits=text) for text in range(3))]
        return kept + sorted(entries, key=lambda one: (one.key, one.entry_id))

    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
    def test_a_scan_meets_everything_once_in_its_order(self, store: RecordStore, limit: int) -> None:
        everything = self.all_of(store)
        met: list[Record] = []
        while chunk := store.scan(place_of(met[-1]) if met else START, limit):
            assert len(chunk) <= limit
            met += chunk
        assert met == everything

    def test_a_scan_goes_on_where_something_was_dropped(self, store: RecordStore) -> None:
        everything = self.all_of(store)
        for number, one in enumerate(everything):
            store.drop(one)
            assert store.scan(place_of(one), 100) == everything[number + 1 :]

    def test_everything_is_found_by_key_and_version(self, store: RecordStore) -> None:
        everything = self.all_of(store)
        items = [(one.key, one.version) for one in everything]
        assert len(set(items)) == len(everything)
        assert [store.find(item) for item in items] == everything
        others = [(KEY, b"\0" * 8), (b"x" * 32, items[0][1]), (OTHER, items[0][1])]
        assert [store.find(item) for item in others] == [None] * 3
        assert store.missing([others[0], *items, others[2]], TODAY) == [others[0], others[2]]

    def test_another_record_at_the_key_is_missing(self, store: RecordStore) -> None:
        store.put(record(text=1), TODAY)
        for other in (record(text=2), record(text=1, day=TODAY - 1), record(RecordType.TOMBSTONE)):
            assert store.missing([(KEY, other.version)], TODAY) == [(KEY, other.version)]
        assert store.missing([(KEY, record(text=1, bits=7).version)], TODAY) == []

    def test_a_deleted_entry_is_not_missed_before_its_expiry(self, store: RecordStore) -> None:
        one = entry(1)
        store.queue_add(one, TODAY, LIMIT)
        store.queue_delete(KEY, one.entry_id)
        item = (KEY, entry(1, bits=9, day=TODAY + 1).version)
        assert store.missing([item], one.expiry_day) == []
        assert store.missing([item], one.expiry_day + 1) == [item]

    def test_what_is_dropped_may_come_again(self, store: RecordStore) -> None:
        everything = self.all_of(store)
        for one in everything:
            store.drop(one)
            store.drop(one)
        assert store.count() == {"records": 0, "entries": 0, "deleted": 0}
        for one in everything:
            entries = one.type is RecordType.QUEUE
            status = store.queue_add(one, TODAY, LIMIT) if entries else store.put(one, TODAY, repair=True)
            assert status is Status.STORED

    def test_only_the_very_record_is_dropped(self, store: RecordStore) -> None:
        store.put(record(RecordType.MUTABLE, seq=2), TODAY)
        store.drop(record(RecordType.MUTABLE, seq=1))
        assert store.get(KEY) == record(RecordType.MUTABLE, seq=2)

    def test_homes_come_to_one_record_in_any_order(self, store: RecordStore) -> None:
        kinds = [record(text=text) for text in range(4)]
        kinds += [record(RecordType.MUTABLE, seq=seq) for seq in (1, 2)]
        for one in kinds:
            store.put(one, TODAY, repair=True)
        assert store.get(KEY) == min(kinds[:4], key=lambda one: one.body_hash)
        store.put(record(RecordType.TOMBSTONE), TODAY, repair=True)
        for one in kinds:
            assert store.put(one, TODAY, repair=True) is Status.EXISTS
