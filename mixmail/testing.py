"""Public test doubles: time, randomness, failing disks, fault points and a store in memory.

Nothing that ships imports this module.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import resource
from collections.abc import Iterable, Iterator
from typing import Any

from mixmail.boxes.record import VERSION_BYTES, Record, RecordType
from mixmail.boxes.status import Status
from mixmail.boxes.store import Item, Place, decide, decide_entry, place_of
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

    def __init__(self) -> None:
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
            self._records[record.key] = record
        return status

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
            del queue[stale]
        old = queue.get(entry_id)
        status = decide_entry(old[1] if old else None, record)
        if status is Status.STORED:
            queue[entry_id] = (record.position, record)
            if len(queue) > limit:
                last = max(queue, key=lambda name: queue[name][0])
                del queue[last]
                if last == entry_id:
                    status = Status.FULL
        if not queue:
            del self._queues[record.key]
        return status

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
        _, entry = queue.pop(entry_id)
        self._deleted[key, entry_id] = entry.expiry_day
        if not queue:
            del self._queues[key]
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
        if record.type is RecordType.QUEUE:
            queue = self._queues.get(record.key, {})
            queue.pop(record.entry_id, None)
            if not queue:
                self._queues.pop(record.key, None)
        elif (held := self._records.get(record.key)) is not None and held.identical(record):
            del self._records[record.key]

    def expire(self, today: int, limit: int) -> int:
        old_records = (key for key, record in self._records.items() if record.expired(today))
        old_entries = (
            (key, name)
            for key, queue in self._queues.items()
            for name, (_, entry) in queue.items()
            if entry.expired(today)
        )
        old_deletions = (name for name, day in self._deleted.items() if day < today)
        deletions = list(itertools.islice(old_deletions, limit))
        records = list(itertools.islice(old_records, limit - len(deletions)))
        entries = list(itertools.islice(old_entries, limit - len(deletions) - len(records)))
        for deletion in deletions:
            del self._deleted[deletion]
        for key in records:
            del self._records[key]
        for key, name in entries:
            del self._queues[key][name]
            if not self._queues[key]:
                del self._queues[key]
        return len(deletions) + len(records) + len(entries)

    def count(self) -> dict[str, int]:
        entries = sum(len(queue) for queue in self._queues.values())
        return {"records": len(self._records), "entries": entries, "deleted": len(self._deleted)}


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
