"""A store with a quota: what goes when it is full, in both stores, against a plain model."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_boxes_store_contract import KEY, TODAY, entry, listed, record

from mixmail.boxes.record import Record, RecordType
from mixmail.boxes.status import Status
from mixmail.boxes.store import RECORD_SPACE, Usage
from mixmail.params import GEOMETRY
from mixmail.storage import node_db, space
from mixmail.storage.node_db import NodeDatabase
from mixmail.testing import MemoryStore

LIMIT = 3
Make = Callable[[int], Any]


def key_of(number: int) -> bytes:
    return number.to_bytes(4, "big") * 8


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A store for so many records."""
    if request.param == "memory":
        return lambda count: MemoryStore(count * RECORD_SPACE + RECORD_SPACE - 1)
    path = tmp_path / "node.db"
    return lambda count: NodeDatabase(path, count * RECORD_SPACE + RECORD_SPACE - 1)


def put_all(store: Any, records: list[Record], today: int = TODAY) -> list[Status]:
    if isinstance(store, NodeDatabase):
        return store.put_many(records, today)
    return [store.put(one, today) for one in records]


def keys_in(store: Any) -> set[bytes]:
    return {one.key for one in store.scan((False, b"", b""), 10_000)}


def test_the_fewest_bits_go_first_then_the_oldest(make: Make) -> None:
    store = make(4)
    old, low, first, second = (
        record(key=key_of(1), bits=5, day=TODAY - 2),
        record(key=key_of(2), bits=4),
        record(key=key_of(3), bits=5, day=TODAY - 1),
        record(key=key_of(4), bits=5, day=TODAY - 1),
    )
    assert put_all(store, [old, low, first, second]) == [Status.STORED] * 4
    for number, gone in enumerate((low, old, first, second), start=5):
        assert store.get(gone.key) == gone
        assert store.put(record(key=key_of(number), bits=6), TODAY) is Status.STORED
        assert store.get(gone.key) is None
        assert store.usage().evicted == number - 4
    assert keys_in(store) == {key_of(number) for number in (5, 6, 7, 8)}


def test_of_equals_the_shorter_class_goes_then_what_came_first(make: Make) -> None:
    store = make(4)
    put_all(store, [record(key=key_of(number), bits=5, klass=(30, 7)[number % 2]) for number in (6, 5, 1, 2)])
    gone = []
    for number in range(4):
        before = keys_in(store)
        store.put(record(key=key_of(10 + number), bits=6), TODAY)
        gone += before - keys_in(store)
    assert gone == [key_of(number) for number in (5, 1, 6, 2)]


def test_the_lowest_is_found_without_sorting_a_flood(tmp_path: Path) -> None:
    database = NodeDatabase(tmp_path / "node.db")
    for table in ("records", "entries"):
        sql = f"EXPLAIN QUERY PLAN {space._LOWEST.format(table)}"
        (step,) = database.connection.execute(sql).fetchall()
        assert "COVERING INDEX" in step[3], "one look into the index, no B-tree for the order"


def test_what_does_not_rank_above_the_lowest_is_full_and_changes_nothing(make: Make) -> None:
    store = make(2)
    held = [record(key=key_of(number), bits=5, day=TODAY - 1) for number in (1, 2)]
    put_all(store, held)
    refused = [
        record(key=key_of(3), bits=4),
        record(key=key_of(3), bits=5, day=TODAY - 1),
        record(key=key_of(3), bits=5, day=TODAY - 2, klass=30),
        record(RecordType.TOMBSTONE, key=key_of(3)),
    ]
    for one in refused:
        for repair in (False, True):
            assert store.put(one, TODAY, repair) is Status.FULL
    assert store.queue_add(entry(1, 4), TODAY, LIMIT) is Status.FULL
    assert keys_in(store) == {key_of(1), key_of(2)} and listed(store) == []
    assert store.put(held[0], TODAY) is Status.OK


def test_tomorrow_is_no_better_than_today(make: Make) -> None:
    store = make(1)
    store.put(record(key=key_of(1), bits=5), TODAY)
    assert store.put(record(key=key_of(2), bits=5, day=TODAY + 1), TODAY) is Status.FULL
    assert store.put(record(key=key_of(2), bits=5, day=TODAY + 1), TODAY + 1) is Status.STORED


def test_what_has_expired_goes_before_everything(make: Make) -> None:
    store = make(2)
    put_all(store, [record(key=key_of(1), bits=9), record(key=key_of(2), bits=1, klass=30)])
    assert store.put(record(key=key_of(3), bits=0, day=TODAY + 8), TODAY + 8) is Status.STORED
    assert keys_in(store) == {key_of(2), key_of(3)}
    assert store.usage().evicted == 0


def test_what_takes_the_place_of_another_needs_no_room(make: Make) -> None:
    store = make(2)
    store.put(record(RecordType.MUTABLE, seq=1, bits=9), TODAY)
    store.queue_add(entry(1, 9), TODAY, LIMIT)
    assert store.put(record(RecordType.MUTABLE, seq=2, bits=1), TODAY) is Status.STORED
    assert store.queue_add(entry(1, 12), TODAY, LIMIT) is Status.STORED
    assert store.put(record(RecordType.TOMBSTONE, bits=2), TODAY) is Status.STORED
    assert store.count() == {"records": 1, "entries": 1, "deleted": 0}
    # it ranks by its own work, not by that of what it took the place of
    assert store.put(record(key=key_of(1), bits=3), TODAY) is Status.STORED
    assert store.get(KEY) is None and listed(store) == [entry(1, 12)]


def test_an_entry_that_pushes_another_out_of_its_queue_needs_no_room(make: Make) -> None:
    store = make(2)
    store.put(record(bits=0), TODAY)
    store.queue_add(entry(1, 11), TODAY, 1)
    assert store.queue_add(entry(2, 12), TODAY, 1) is Status.STORED
    assert store.get(KEY) is not None and listed(store) == [entry(2, 12)]
    assert store.queue_add(entry(3, 11), TODAY, 1) is Status.FULL
    assert store.get(KEY) is not None


def test_a_lowered_quota_is_met_a_few_at_a_time(make: Make) -> None:
    store = make(9)
    put_all(store, [record(key=key_of(number), bits=number, klass=30) for number in range(9)])
    for number in range(5):
        store.queue_add(entry(number, 11, klass=90), TODAY, 9)
        store.queue_delete(KEY, entry(number).entry_id)
    if isinstance(store, MemoryStore):
        store._capacity = 4
    else:
        store.close()
        store = make(4)
    assert store.usage() == Usage(8, 0, 5, 4, store.usage().evicted, {30: 8})
    # above the quota still one goes for one
    assert store.put(record(key=key_of(20), bits=1), TODAY) is Status.FULL
    assert store.put(record(key=key_of(20), bits=20), TODAY) is Status.STORED
    assert store.fill() == 2.0
    assert [store.expire(TODAY, 3) for _ in range(3)] == [3, 2, 0]
    assert keys_in(store) == {key_of(number) for number in (6, 7, 8, 20)}
    assert store.fill() == 1.0 and store.usage().deleted == 4


def test_remembered_ids_are_as_many_as_records_fit(make: Make) -> None:
    store = make(3)
    for number, klass in enumerate((30, 7, 90, 90, 30)):
        store.queue_add(entry(number, 11, klass=klass), TODAY, LIMIT)
        assert store.queue_delete(KEY, entry(number).entry_id) is Status.OK
    assert store.usage().deleted == store.count()["deleted"] == 3
    # those that would have expired first are forgotten
    kept = [store.queue_delete(KEY, entry(number).entry_id) for number in range(5)]
    assert kept == [Status.NOT_FOUND, Status.NOT_FOUND, Status.OK, Status.OK, Status.OK]


def test_usage_counts_by_class(make: Make) -> None:
    store = make(10)
    put_all(store, [record(key=key_of(number), klass=(7, 30)[number % 2]) for number in range(5)])
    store.queue_add(entry(1, klass=90), TODAY, LIMIT)
    store.queue_add(entry(2, klass=7), TODAY, LIMIT)
    assert store.usage() == Usage(5, 2, 0, 10, 0, {7: 4, 30: 2, 90: 1})
    assert store.usage().used == 7 * RECORD_SPACE and store.fill() == 0.7


def test_without_a_quota_nothing_goes() -> None:
    store = MemoryStore()
    put_all(store, [record(key=key_of(number)) for number in range(50)])
    assert store.fill() == 0.0 and store.usage().capacity is None and store.count()["records"] == 50


def test_a_flood_of_a_hundred_quotas_takes_no_honest_record(make: Make) -> None:
    """Of fewer bits than usual, in every class and day and type, while honest people go on writing."""
    seed = 1
    rng, size = random.Random(seed), 60
    store, number, honest = make(size), 0, []
    for turn in range(100):
        part = []
        for _ in range(size):
            number += 1
            kind = rng.choice([RecordType.BOX, RecordType.TOMBSTONE, RecordType.MUTABLE])
            klass, day = rng.choice([7, 30, 90]), TODAY + rng.randint(-3, 1)
            part.append(record(kind, key=key_of(number), bits=rng.randint(0, 4), klass=klass, day=day))
        if turn % 2 == 0 and len(honest) < size - 10:
            number += 1
            one = record(key=key_of(number), bits=5, klass=30, day=TODAY - rng.randint(0, 9))
            part.insert(rng.randrange(size), one)
            honest.append(one)
        statuses = dict(zip((one.key for one in part), put_all(store, part), strict=True))
        assert all(statuses[one.key] is Status.STORED for one in honest if one in part), (seed, turn)
        missing = [one for one in honest if store.get(one.key) != one]
        assert not missing, (seed, turn, len(missing))
        assert sum(store.count().values()) <= size
    assert len(honest) == 50 and number > 100 * size
    left = [one for one in store.scan((False, b"", b""), size) if one.bits < 5]
    assert len(left) == size - 50 and all(one.bits == 4 for one in left)


def test_the_file_stays_within_its_quota(tmp_path: Path) -> None:
    """200 records of quota, 1,000 written, with texts that do not compress and scattered keys."""
    rng, quota = random.Random(2), 200 * RECORD_SPACE
    database = NodeDatabase(tmp_path / "node.db", quota)
    for number in range(1_000):
        box = record(key=rng.randbytes(32), bits=4, day=TODAY + number // 100, klass=90)
        box = Record(**{**fields(box), "c": rng.randbytes(GEOMETRY.box_ct)})
        assert database.put(box, TODAY + 10) is Status.STORED or number >= 200
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert 0.9 * quota < database.path.stat().st_size <= quota


def fields(one: Record) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Record.__dataclass_fields__}


def test_a_failed_transaction_leaves_the_numbers_right(tmp_path: Path) -> None:
    database = NodeDatabase(tmp_path / "node.db", 4 * RECORD_SPACE)
    put_all(database, [record(key=key_of(number), bits=1) for number in range(4)])
    with pytest.raises(ZeroDivisionError), database.batch():
        for number in range(4, 8):
            assert database.put(record(key=key_of(number), bits=2), TODAY) is Status.STORED
        assert database.usage().evicted == 4
        raise ZeroDivisionError
    assert database.usage() == Usage(4, 0, 0, 4, 0, {7: 4})
    assert keys_in(database) == {key_of(number) for number in range(4)}
    assert database.put(record(key=key_of(9), bits=2), TODAY) is Status.STORED
    assert sum(database.count().values()) == 4


def test_a_file_of_version_1_is_ranked(tmp_path: Path) -> None:
    """Made by the first script as it stands, with rows as that version wrote them."""
    path = tmp_path / "node.db"
    kept = [
        record(key=key_of(1), bits=18, day=TODAY - 1),
        record(RecordType.TOMBSTONE, key=key_of(2), bits=3, day=TODAY - 2),
        record(key=key_of(3), bits=0, day=TODAY - 5, klass=90),
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        plain.executescript(node_db.SCRIPTS[0])
        plain.execute("PRAGMA user_version = 1")
        for one in kept:
            row = (one.key, one.klass, one.expiry_day, one.pack())
            plain.execute("INSERT INTO records (key, class, expiry, record) VALUES (?, ?, ?, ?)", row)
        one = entry(4, 11, day=TODAY - 3, klass=30)
        row = (one.key, one.position, one.entry_id, one.klass, one.expiry_day, one.pack())
        sql = "INSERT INTO entries (queue, position, id, class, expiry, record) VALUES (?, ?, ?, ?, ?, ?)"
        plain.execute(sql, row)
    database = NodeDatabase(path)
    ranks = database.connection.execute("SELECT bits, day FROM records ORDER BY key").fetchall()
    assert ranks == [(18, TODAY - 1), (3, TODAY - 2), (0, TODAY - 5)]
    assert database.connection.execute("SELECT bits, day FROM entries").fetchall() == [(11, TODAY - 3)]
    assert [database.get(one.key) for one in kept] == kept and listed(database) == [one_entry(one)]


def one_entry(one: Record) -> Record:
    return entry(4, 11, day=one.day, klass=one.klass)


class Model:
    """The rules of docs/protocol/store.md, "Quota", over one flat list."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.today = TODAY
        self.kept: list[tuple[Record, int]] = []  # record, day by which it ranks; in order of arrival
        self.remembered: list[tuple[bytes, int]] = []

    @staticmethod
    def name(one: Record) -> tuple[bool, bytes, bytes]:
        entry = one.type is RecordType.QUEUE
        return entry, one.key, one.entry_id if entry else b""

    def live(self, one: Record) -> list[Record]:
        return [old for old, _ in self.kept if self.name(old) == self.name(one) and self.fresh(old)]

    def fresh(self, one: Record) -> bool:
        return one.expiry_day >= self.today

    def add(self, new: Record) -> Status:
        """BOXes of one text for each key, and entries that differ in their work only."""
        queue = new.type is RecordType.QUEUE
        if queue and any(name == new.entry_id and day >= self.today for name, day in self.remembered):
            return Status.OK
        if queue:
            same = [old for old, _ in self.kept if old.type is RecordType.QUEUE and old.key == new.key]
            self.remove([old for old in same if not self.fresh(old)])
        old = self.live(new)
        if old and (not queue or old[0].bits >= new.bits):
            return Status.OK if queue or old[0].meta == new.meta else Status.EXISTS
        day = min(new.day, self.today)
        here = [one for one, _ in self.kept if self.name(one) == self.name(new)]
        if not here:
            entries = [one for one, _ in self.kept if queue and one.type is new.type and one.key == new.key]
            if queue and len(entries) >= LIMIT:
                last = max(entries, key=lambda one: one.position)
                if last.position < new.position:
                    return Status.FULL
                self.remove([last])
            elif len(self.kept) >= self.capacity and not self.evict((new.bits, day)):
                return Status.FULL
        self.remove(here)
        self.kept.append((new, day))
        return Status.STORED

    def evict(self, rank: tuple[int, int]) -> bool:
        old = [one for one, _ in self.kept if not self.fresh(one)]
        if old:
            self.remove(old[:1])
            return True
        lowest = min(self.kept, key=lambda one: self.place(*one))
        if (lowest[0].bits, lowest[1]) >= rank:
            return False
        self.remove([lowest[0]])
        return True

    @staticmethod
    def place(one: Record, day: int) -> tuple[int, int, int, bool]:
        return one.bits, day, one.klass, one.type is RecordType.QUEUE

    def delete(self, key: bytes, name: bytes) -> None:
        here = [one for one, _ in self.kept if one.type is RecordType.QUEUE and one.entry_id == name]
        if here:
            self.remove(here)
            self.remembered = [one for one in self.remembered if one[0] != name]
            self.remembered.append((name, here[0].expiry_day))
            if len(self.remembered) > self.capacity:
                self.remembered.remove(min(self.remembered, key=lambda one: one[1]))

    def remove(self, gone: list[Record]) -> None:
        self.kept = [one for one in self.kept if one[0] not in gone]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 5), st.integers(0, 3), st.integers(-2, 1)),
        st.tuples(st.just("add"), st.integers(0, 5), st.integers(0, 3), st.integers(-2, 1)),
        st.tuples(st.just("delete"), st.integers(0, 5), st.just(0), st.just(0)),
        st.tuples(st.just("days"), st.integers(1, 5), st.just(0), st.just(0)),
        st.tuples(st.just("sweep"), st.just(0), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(sqlite=st.booleans(), capacity=st.integers(1, 5), steps=STEPS)
def test_store_and_model_drop_the_same(sqlite: bool, capacity: int, steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run_both(Path(folder) if sqlite else None, capacity, steps)


def run_both(folder: Path | None, capacity: int, steps: list[Any]) -> None:
    quota = capacity * RECORD_SPACE
    store: Any = MemoryStore(quota) if folder is None else NodeDatabase(folder / "node.db", quota)
    model = Model(capacity)
    for what, number, bits, age in steps:
        today = model.today
        if what == "put":
            box = record(key=key_of(number), bits=bits, day=today + age, klass=(7, 30)[number % 2])
            assert store.put(box, today) is model.add(box)
        elif what == "add":
            one = entry(number, bits, day=today + age)
            assert store.queue_add(one, today, LIMIT) is model.add(one)
        elif what == "delete":
            name = entry(number).entry_id
            store.queue_delete(KEY, name)
            model.delete(KEY, name)
        elif what == "days":
            model.today += number
        else:
            while store.expire(today, 2) == 2:
                pass
            model.remove([one for one, _ in model.kept if not model.fresh(one)])
            model.remembered = [one for one in model.remembered if one[1] >= today]
        live = [one for one in store.scan((False, b"", b""), 100) if model.fresh(one)]
        assert {one.pack() for one in live} == {one.pack() for one, _ in model.kept if model.fresh(one)}
        counts, usage = store.count(), store.usage()
        assert (usage.records, usage.entries, usage.deleted) == tuple(counts.values())
        assert sum(usage.classes.values()) == usage.records + usage.entries <= capacity
        assert usage.deleted == len(model.remembered)
    if folder is not None:
        store.close()
