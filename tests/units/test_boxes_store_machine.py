"""Any order of operations on a store in memory, one on disk and a plain model: the three never differ."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import store_model as plain
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from store_model import Model

from mixmail.boxes.record import FIRST, ZERO_SIGNATURE, ZERO_STAMP, Record, RecordType
from mixmail.boxes.stamp import Stamp
from mixmail.boxes.status import Status
from mixmail.boxes.store import START, RecordStore, place_of
from mixmail.params import GEOMETRY
from mixmail.storage.node_db import NodeDatabase
from mixmail.testing import MemoryStore

TODAY = 20_000
KEYS = (b"k" * 32, b"o" * 32)
LIMIT = 3
ALL = 1_000
MET: Counter[tuple[str, Status]] = Counter()
SAME_EVERYWHERE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)


@functools.cache
def a_record(kind: RecordType, key: bytes, text: int, day: int, klass: int, seq: int, bits: int) -> Record:
    """A record that looks like one: stores do not check signatures or work."""
    c = bytes(GEOMETRY.box_ct) if kind is RecordType.TOMBSTONE else bytes([1 + text]) * GEOMETRY.box_ct
    stamp = Stamp(bytes(8), 1, bits, day).pack() if bits else ZERO_STAMP
    signature = ZERO_SIGNATURE if kind is RecordType.QUEUE else b"s" * 64
    return Record(key, signature, kind, klass, day, seq if kind is RecordType.MUTABLE else 0, stamp, c)


Aged = tuple[int, RecordType, bytes, int, int, int, int]


def some_record(kinds: list[RecordType], texts: int) -> st.SearchStrategy[Aged]:
    """Days since it was made, type, key, text, class, seq, bits."""
    keys = st.sampled_from([KEYS[0], KEYS[0], KEYS[1]])
    ages, numbers = st.sampled_from([-1, 0, 0, 1, 2, 3, 7, 8, 9]), st.integers(0, 2)
    classes = st.sampled_from([7, 7, 30])
    return st.tuples(ages, st.sampled_from(kinds), keys, st.integers(0, texts), classes, numbers, numbers)


KEPT_AT_A_KEY = [RecordType.BOX, RecordType.TOMBSTONE, RecordType.MUTABLE]


def sweep(store: RecordStore, today: int) -> None:
    while store.expire(today, 2):
        pass


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "node.db"
        self.database = NodeDatabase(self.path)
        self.memory = MemoryStore()
        self.model = Model(TODAY, LIMIT)
        self.sent: list[Record] = []
        self.unswept: set[tuple[bytes, bytes]] = set()  # entries and deletions that have run out

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    @property
    def stores(self) -> tuple[RecordStore, RecordStore]:
        return self.memory, self.database

    def both(self, ask: Any) -> Any:
        """What both stores say."""
        first, second = (ask(store) for store in self.stores)
        assert first == second
        return first

    def a_sent_one(self, place: int) -> Record:
        return self.sent[place % len(self.sent)]

    # what arrives

    @rule(which=st.lists(some_record(KEPT_AT_A_KEY, 1), min_size=2, max_size=8))
    def clients_write(self, which: list[Aged]) -> None:
        """Some of what comes has expired."""
        with self.database.batch():
            for one in which:
                self.arrives(one, repair=False)

    @rule(which=st.lists(some_record(KEPT_AT_A_KEY, 1), min_size=2, max_size=8))
    def homes_hand_over(self, which: list[Aged]) -> None:
        with self.database.batch():
            for one in which:
                self.arrives(one, repair=True)

    @rule(which=st.lists(some_record([RecordType.QUEUE], 4), min_size=1, max_size=5), together=st.booleans())
    def entries_arrive(self, which: list[Aged], together: bool) -> None:
        with self.database.batch() if together else contextlib.nullcontext():
            for one in which:
                self.arrives(one, repair=False)

    def arrives(self, one: Aged, repair: bool) -> None:
        age, kind, key, text, klass, seq, bits = one
        self.sent.append(a_record(kind, key, text, self.model.today - age, klass, seq, bits))
        self.bring(self.sent[-1], repair)

    def bring(self, record: Record, repair: bool) -> None:
        today, model = self.model.today, self.model
        if record.type is RecordType.QUEUE:
            assert self.both(lambda store: store.put(record, today, repair)) is Status.REFUSED
            known = self.both(lambda store: store.queue_knows(record, today))
            assert known == (plain.last_day(record) >= today and model.would_change_nothing(record))
            said = self.both(lambda store: store.queue_add(record, today, LIMIT))
            assert said == model.add(record)
            MET["add", said] += 1
        else:
            assert self.both(lambda store: store.queue_add(record, today, LIMIT)) is Status.REFUSED
            said = self.both(lambda store: store.put(record, today, repair))
            assert said == model.put(record, repair)
            MET["repair" if repair else "client", said] += 1

    @precondition(lambda self: self.sent)
    @rule(places=st.lists(st.integers(0, 99), min_size=1, max_size=4), repair=st.booleans())
    def come_again(self, places: list[int], repair: bool) -> None:
        """Whatever happened since."""
        for place in places:
            self.bring(self.a_sent_one(place), repair)

    @precondition(lambda self: self.sent)
    @rule(place=st.integers(0, 99), key=st.sampled_from([None, None, None, *KEYS]))
    def owner_deletes(self, place: int, key: bytes | None) -> None:
        """As a rule an entry of this queue."""
        entries = [one for one in self.sent if one.type is RecordType.QUEUE] or self.sent
        entry = entries[place % len(entries)]
        key, name = key or entry.key, entry.entry_id
        said = self.both(lambda store: store.queue_delete(key, name))
        wanted = self.model.delete(key, name)
        assert said == wanted or (said is Status.OK and (key, name) in self.unswept)
        MET["delete", said] += 1

    # time, and what a home does by itself

    @rule(days=st.integers(1, 6))
    def days_pass(self, days: int) -> None:
        before = self.names()
        self.model.pass_days(days)
        self.unswept |= before - self.names()

    def names(self) -> set[tuple[bytes, bytes]]:
        model = self.model
        deleted = {(key, name) for key, name, _ in model.deleted}
        return deleted | {(one.key, plain.entry_id(one)) for one in model.entries}

    @rule()
    def expires(self) -> None:
        for store in self.stores:
            sweep(store, self.model.today)
        assert self.both(lambda store: store.count()) == {
            "records": len(self.model.records),
            "entries": len(self.model.entries),
            "deleted": len(self.model.deleted),
        }
        self.unswept.clear()

    @precondition(lambda self: self.model.deleted)
    @rule(place=st.integers(0, 99), late=st.booleans(), swept=st.booleans())
    def a_deleted_entry_comes_on_its_last_day_or_after_it(self, place: int, late: bool, swept: bool) -> None:
        """Its id does not cover its day, so it may come under a later one."""
        key, name, day = self.model.deleted[place % len(self.model.deleted)]
        self.days_pass(max(0, day - self.model.today) + late)
        if swept:
            self.expires()
        entry = next(one for one in self.sent if (one.key, one.entry_id) == (key, name))
        text, today = entry.c[0] - 1, self.model.today
        self.sent.append(a_record(RecordType.QUEUE, key, text, today, 7, 0, entry.bits))
        self.bring(self.sent[-1], repair=False)

    @rule()
    def starts_anew(self) -> None:
        """The program ends and comes back: what is on disk is all there is."""
        self.database.close()
        self.database = NodeDatabase(self.path)

    @precondition(lambda self: self.sent)
    @rule(place=st.integers(0, 99))
    def is_dropped(self, place: int) -> None:
        old = self.a_sent_one(place)
        for store in self.stores:
            store.drop(old)
        self.model.drop(old)

    # what is asked

    def live(self, found: list[Record]) -> list[Record]:
        return [one for one in found if plain.last_day(one) >= self.model.today]

    @rule(key=st.sampled_from(KEYS), place=st.integers(0, LIMIT), step=st.integers(1, LIMIT))
    def owner_pages(self, key: bytes, place: int, step: int) -> None:
        """From the start, from behind an entry, or from a place where none is."""
        queue = self.model.queue(key)
        after = FIRST if place == 0 else (plain.position(queue[place - 1]) if place <= len(queue) else None)
        after = bytes([254]) + bytes(31) if after is None else after
        wanted = [one for one in queue if plain.position(one) > after]
        met: list[Record] = []
        while chunk := self.both(lambda store: store.queue_list(key, after, step)):  # noqa: B023
            assert len(chunk) <= step
            met += chunk
            after = chunk[-1].position
        assert self.live(met) == wanted

    @rule(step=st.integers(1, 4))
    def is_swept(self, step: int) -> None:
        met: list[Record] = []
        while chunk := self.both(
            lambda store: store.scan(place_of(met[-1]) if met else START, step)  # noqa: B023
        ):
            assert len(chunk) <= step
            met += chunk
        assert self.live(met) == self.model.everything()

    @precondition(lambda self: self.sent)
    @rule(places=st.lists(st.integers(0, 99), min_size=1, max_size=6), key=st.sampled_from(KEYS))
    def is_offered(self, places: list[int], key: bytes) -> None:
        """What a peer has: some of it is here, some was here, some never was."""
        items = [(one.key, one.version) for one in map(self.a_sent_one, places)]
        items.append((key, bytes(8)))
        missing = self.both(lambda store: store.missing(items, self.model.today))
        for item in items:
            found = self.both(lambda store: store.find(item))  # noqa: B023
            here = [one for one in self.model.everything() if (one.key, plain.version(one)) == item]
            if here:
                assert [found] == here
            else:
                assert found is None or self.live([found]) == []
            if found is None or here:
                assert (item in missing) == self.model.is_missing(item)
        assert missing == [item for item in items if item in missing]

    @invariant()
    def the_same_is_there(self) -> None:
        for key in KEYS:
            found = self.both(lambda store: store.get(key))  # noqa: B023
            assert self.live([found] if found else []) == [one for one in [self.model.at(key)] if one]
            queue = self.both(lambda store: store.queue_list(key, FIRST, ALL))  # noqa: B023
            assert self.live(queue) == self.model.queue(key)


def test_two_stores_and_the_model_never_differ() -> None:
    MET.clear()
    run_state_machine_as_test(
        Machine, settings=settings(SAME_EVERYWHERE, max_examples=60, stateful_step_count=40)
    )
    said = {
        "client": (Status.OK, Status.STORED, Status.EXISTS, Status.EXPIRED),
        "repair": (Status.OK, Status.STORED, Status.EXISTS, Status.EXPIRED),
        "add": (Status.OK, Status.STORED, Status.FULL, Status.EXPIRED),
        "delete": (Status.OK, Status.NOT_FOUND),
    }
    seldom = {(way, status): MET[way, status] for way in said for status in said[way] if MET[way, status] < 5}
    assert not seldom, f"a machine that hardly meets these proves nothing: {seldom}"


# Repair: two homes, whatever came to which of them, in whatever order.


def same_order(one: Record) -> tuple[Any, ...]:
    """The one of several records at a key that has to stay in repair is the lowest (boxes.md)."""
    first = [RecordType.TOMBSTONE, RecordType.BOX, RecordType.MUTABLE].index(one.type)
    return first, -one.seq, plain.blake(one.c), plain.meta(one)


def all_of(store: RecordStore) -> list[Record]:
    return store.scan(START, ALL)


def deliver(store: RecordStore, one: Record, repair: bool) -> None:
    if one.type is RecordType.QUEUE:
        store.queue_add(one, TODAY, LIMIT)
    else:
        store.put(one, TODAY, repair)


def hand_over(sender: RecordStore, receiver: RecordStore) -> None:
    """Offer, need, record; who holds the better one sends it back."""
    items = [(one.key, one.version) for one in all_of(sender)]
    for item in receiver.missing(items, TODAY):
        record = sender.find(item)
        assert record is not None
        if record.type is RecordType.QUEUE:
            receiver.queue_add(record, TODAY, LIMIT)
        elif receiver.put(record, TODAY, repair=True) is Status.EXISTS:
            better = receiver.get(record.key)
            assert better is not None and sender.put(better, TODAY, repair=True) is Status.STORED


def as_agreed(store: RecordStore) -> set[tuple[Any, ...]]:
    """What homes must agree on: whole records, and of entries the id (`Record.version`)."""
    return {
        (one.key, one.entry_id) if one.type is RecordType.QUEUE else (one.key, one.meta, one.c)
        for one in all_of(store)
    }


LIVE = some_record([*KEPT_AT_A_KEY, RecordType.QUEUE], 4).filter(lambda one: one[0] < 3)
EVENTS = st.lists(
    st.tuples(LIVE, st.sampled_from([0, 1]), st.sampled_from(["client", "repair", "hand over"])),
    min_size=4,
    max_size=24,
)


@settings(SAME_EVERYWHERE, max_examples=60)
@given(EVENTS)
def test_two_homes_come_to_the_same_records_whatever_came_to_which_of_them(events: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = NodeDatabase(Path(folder) / "node.db")
        with database.batch():
            homes = (MemoryStore(), database)
            for (age, kind, key, text, klass, seq, bits), home, way in events:
                if way == "hand over":
                    hand_over(homes[home], homes[1 - home])
                else:
                    one = a_record(kind, key, text, TODAY - age, klass, seq, bits)
                    deliver(homes[home], one, way == "repair")
            held = [one for home in homes for one in all_of(home)]
            for _ in range(3):  # an entry that was pushed out for few bits may come again with more
                hand_over(homes[0], homes[1])
                hand_over(homes[1], homes[0])
            assert as_agreed(homes[0]) == as_agreed(homes[1])
            for key in KEYS:
                here = [one for one in held if one.key == key and one.type is not RecordType.QUEUE]
                best = min(here, key=same_order, default=None)
                for found in (store.get(key) for store in homes):
                    assert (found is None) == (best is None)
                    assert found is None or best is None or found.identical(best)
        database.close()


@settings(SAME_EVERYWHERE, max_examples=120)
@given(
    st.lists(LIVE, min_size=2, max_size=12).flatmap(lambda all: st.tuples(st.just(all), st.permutations(all)))
)
def test_in_repair_the_order_of_arrival_and_repetitions_do_not_matter(orders: Any) -> None:
    first, second = MemoryStore(), MemoryStore()
    for home, order in zip((first, second), orders, strict=True):
        for age, kind, key, text, klass, seq, bits in (*order, *order[::2]):
            deliver(home, a_record(kind, key, text, TODAY - age, klass, seq, bits), repair=True)
    assert as_agreed(first) == as_agreed(second)
    for key in KEYS:
        queues = [home.queue_list(key, FIRST, ALL) for home in (first, second)]
        assert [one.position for one in queues[0]] == [one.position for one in queues[1]]
