"""Public test doubles: time, randomness, failing disks, fault points and a store in memory.

Nothing that ships imports this module.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import random
import resource
from collections.abc import Iterable, Iterator
from typing import Any

from mixmail.boxes.record import VERSION_BYTES, Record, RecordType
from mixmail.boxes.status import Status
from mixmail.boxes.store import (
    Item,
    Place,
    Rank,
    Usage,
    capacity_of,
    decide,
    decide_entry,
    place_of,
    rank,
)
from mixmail.randomness import Randomness


class SeededRandomness(Randomness):
    """Replays: equal seeds give equal draws.  Never for keys outside tests and the lab."""

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self._random = random.Random(seed)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    # The same laws as in the base class, drawn faster: a lab makes dozens of draws for each query.

    def below(self, bound: int) -> int:
        if bound <= 0:
            raise ValueError("bound must be positive")
        return int(self._random.random() * bound)

    def uniform(self) -> float:
        return self._random.random()


class MemoryStore:
    """A `mixmail.boxes.store.RecordStore` in dictionaries; nothing of it survives the process."""

    def __init__(self, quota: int | None = None) -> None:
        self._capacity = capacity_of(quota)
        self._evicted = 0
        self._arrived = 0  # numbers what came, for the order among equals
        self._ranks: dict[Place, tuple[Rank, int, bool, int]] = {}
        self._records: dict[bytes, Record] = {}
        # queue key -> entry id -> (position, entry): hashing 17 KB for each comparison would be slow
        self._queues: dict[bytes, dict[bytes, tuple[bytes, Record]]] = {}
        self._deleted: dict[tuple[bytes, bytes], int] = {}  # (queue key, entry id) -> expiry day

    def put(self, record: Record, today: int, repair: bool = False) -> Status:
        if record.type is RecordType.QUEUE:
            return Status.REFUSED
        if record.expired(today):
            return Status.EXPIRED
        old = self._records.get(record.key)
        if old is not None and old.expired(today):
            old = None
        status = decide(old, record, repair=repair)
        if status is Status.STORED:
            if record.key not in self._records and not self._make_room(record, today):
                return Status.FULL
            self._records[record.key] = record
            self._note(record, today)
        return status

    def _note(self, record: Record, today: int) -> None:
        self._arrived += 1
        place = place_of(record)
        self._ranks[place] = (rank(record, today), record.klass, place[0], self._arrived)

    def _make_room(self, record: Record, today: int) -> bool:
        if self._capacity is None or len(self._ranks) < self._capacity:
            return True
        for place in self._ranks:
            if self._at(place).expired(today):
                self._forget(place)
                return True
        lowest = min(self._ranks, key=self._ranks.__getitem__)
        if self._ranks[lowest][0] >= rank(record, today):
            return False
        self._forget(lowest)
        self._evicted += 1
        return True

    def _at(self, place: Place) -> Record:
        entry, key, name = place
        return self._queues[key][name][1] if entry else self._records[key]

    def _forget(self, place: Place) -> None:
        entry, key, name = place
        del self._ranks[place]
        if not entry:
            del self._records[key]
            return
        del self._queues[key][name]
        if not self._queues[key]:
            del self._queues[key]

    def get(self, key: bytes) -> Record | None:
        return self._records.get(key)

    def queue_add(self, record: Record, today: int, limit: int) -> Status:
        if record.type is not RecordType.QUEUE:
            return Status.REFUSED
        if record.expired(today):
            return Status.EXPIRED
        entry_id = record.entry_id
        if self._deleted.get((record.key, entry_id), today - 1) >= today:
            return Status.OK
        queue = self._queues.setdefault(record.key, {})
        for stale in [name for name, (_, entry) in queue.items() if entry.expired(today)]:
            self._forget((True, record.key, stale))
        old = queue.get(entry_id)
        status = decide_entry(old[1] if old else None, record)
        if status is Status.STORED and old is None:
            status = self._room_in_queue(record, queue, today, limit)
        if status is Status.STORED:
            self._queues.setdefault(record.key, queue)[entry_id] = (record.position, record)
            self._note(record, today)
        if not queue:
            self._queues.pop(record.key, None)
        return status

    def _room_in_queue(
        self, record: Record, queue: dict[bytes, tuple[bytes, Record]], today: int, limit: int
    ) -> Status:
        if len(queue) < limit:
            return Status.STORED if self._make_room(record, today) else Status.FULL
        last = max(queue, key=lambda name: queue[name][0])
        if queue[last][0] < record.position:
            return Status.FULL
        self._forget((True, record.key, last))
        return Status.STORED

    def queue_knows(self, record: Record, today: int) -> bool:
        if record.expired(today):
            return False
        entry_id = record.entry_id
        if self._deleted.get((record.key, entry_id), today - 1) >= today:
            return True
        _, old = self._queues.get(record.key, {}).get(entry_id, (b"", None))
        return old is not None and not old.expired(today) and decide_entry(old, record) is Status.OK

    def queue_list(self, key: bytes, after: bytes, limit: int) -> list[Record]:
        queue = self._queues.get(key, {})
        following = sorted((pair for pair in queue.values() if pair[0] > after), key=lambda pair: pair[0])
        return [entry for _, entry in following[:limit]]

    def queue_delete(self, key: bytes, entry_id: bytes) -> Status:
        queue = self._queues.get(key, {})
        if entry_id not in queue:
            return Status.OK if (key, entry_id) in self._deleted else Status.NOT_FOUND
        _, entry = queue[entry_id]
        self._forget((True, key, entry_id))
        self._deleted.pop((key, entry_id), None)
        self._deleted[key, entry_id] = entry.expiry_day
        if self._capacity is not None and len(self._deleted) > self._capacity:
            del self._deleted[min(self._deleted, key=self._deleted.__getitem__)]
        return Status.OK

    def scan(self, after: Place, limit: int) -> list[Record]:
        kept = [*self._records.values()]
        kept.extend(entry for queue in self._queues.values() for _, entry in queue.values())
        following = sorted((place_of(record), record) for record in kept)
        return [record for place, record in following if place > after][:limit]

    def find(self, item: Item) -> Record | None:
        key, version = item
        record = self._records.get(key)
        if record is not None and record.version == version:
            return record
        for name, (_, entry) in self._queues.get(key, {}).items():
            if name.startswith(version):
                return entry
        return None

    def missing(self, items: Iterable[Item], today: int) -> list[Item]:
        deleted = {(key, name[:VERSION_BYTES]) for (key, name), day in self._deleted.items() if day >= today}
        return [item for item in items if item not in deleted and self.find(item) is None]

    def drop(self, record: Record) -> None:
        place = place_of(record)
        if place in self._ranks and (place[0] or self._at(place).identical(record)):
            self._forget(place)

    def expire(self, today: int, limit: int) -> int:
        old_deletions = (name for name, day in self._deleted.items() if day < today)
        deletions = list(itertools.islice(old_deletions, limit))
        for deletion in deletions:
            del self._deleted[deletion]
        old = (place for place in self._ranks if self._at(place).expired(today))
        places = list(itertools.islice(old, limit - len(deletions)))
        for place in places:
            self._forget(place)
        dropped = len(deletions) + len(places)
        return dropped + self._shrink(limit - dropped)

    def _shrink(self, limit: int) -> int:
        if self._capacity is None:
            return 0
        excess = max(0, len(self._ranks) - self._capacity)
        lowest = sorted(self._ranks, key=self._ranks.__getitem__)[: min(limit, excess)]
        for place in lowest:
            self._forget(place)
        self._evicted += len(lowest)
        excess = max(0, len(self._deleted) - self._capacity)
        first = sorted(self._deleted, key=self._deleted.__getitem__)[: min(limit - len(lowest), excess)]
        for deletion in first:
            del self._deleted[deletion]
        return len(lowest) + len(first)

    def count(self) -> dict[str, int]:
        entries = sum(len(queue) for queue in self._queues.values())
        return {"records": len(self._records), "entries": entries, "deleted": len(self._deleted)}

    def fill(self) -> float:
        return 0.0 if self._capacity is None else len(self._ranks) / self._capacity

    def usage(self) -> Usage:
        classes = collections.Counter(self._at(place).klass for place in self._ranks)
        return Usage(
            **self.count(),
            capacity=self._capacity,
            evicted=self._evicted,
            classes=dict(sorted(classes.items())),
        )


@contextlib.contextmanager
def full_disk(connection: Any, spare_pages: int = 0) -> Iterator[None]:
    """Inside, a database cannot grow by more than `spare_pages`: SQLite itself says that the disk is full.

    `connection` is that of a `mixmail.storage` database, in the thread that owns it.
    """
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (usual,) = connection.execute("PRAGMA max_page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + spare_pages}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA max_page_count = {usual}")


@contextlib.contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Inside, no file of this process can grow beyond `limit` bytes: the system cuts a write there and
    refuses the next (EFBIG), which for SQLite is a disk that fails."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
