"""`node.db`: the records of other people, implementing `mixmail.boxes.store.RecordStore`.

Plain SQLite (the records are sealed by their writers), WAL, synchronous FULL.  One thread makes and uses it.
"""

from __future__ import annotations

import contextlib
import importlib.resources
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mixmail.boxes.record import VERSION_BYTES, Record, RecordType
from mixmail.boxes.status import Status
from mixmail.boxes.store import Item, Place, Usage, capacity_of, decide, decide_entry, rank
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import ID_BYTES
from mixmail.storage import driver
from mixmail.storage.errors import Damaged
from mixmail.storage.space import Space

_SCHEMA = importlib.resources.files("mixmail.storage") / "schema"
SCRIPTS = tuple((_SCHEMA / f"node_v{number}.sql").read_text("utf-8") for number in (1, 2))


class NodeDatabase:
    """A home's store of at most `quota` bytes (RECORD_SPACE each record; None: as the disk has).

    Every call is durable when it returns, inside of `batch` when the batch ends.  All calls raise the
    errors of `mixmail.storage.errors`; after DiskFull everything that was stored can still be read.
    """

    def __init__(self, path: Path, quota: int | None = None) -> None:
        self.path = path
        self.connection = driver.open_database(path, SCRIPTS)
        self._space = Space(self.connection, capacity_of(quota))
        self._batch = False
        self._batch_error: BaseException | None = None

    def close(self) -> None:
        """Close the file.  LocalProtocolError inside of a batch, which then fails as a whole."""
        if self._batch:
            self._batch_error = LocalProtocolError("a batch ends before its database is closed")
            raise self._batch_error
        with driver.guard(self.path):
            self.connection.close()

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Commit everything inside at its end, in one transaction; nothing of it if anything failed.

        A failure inside that the caller has caught is raised again at the end: SQLite has then rolled back
        what came before it too.  A batch inside of a batch is part of it.
        """
        if self._batch:
            yield
            return
        with self._transaction():
            self._batch, self._batch_error = True, None
            try:
                yield
                if self._batch_error is not None:
                    raise self._batch_error
            finally:
                self._batch = False

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        evicted = self._space.evicted
        try:
            with driver.transaction(self.connection, self.path):
                yield
        except BaseException:
            self._space.undo(evicted)
            raise

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        if not self._batch:
            with self._transaction():
                yield
            return
        if self._batch_error is not None:
            raise self._batch_error  # the transaction is gone: what came now would stand outside of it
        try:
            with driver.guard(self.path):
                yield
        except BaseException as error:
            self._batch_error = error
            raise

    def _one(self, sql: str, *values: object) -> Any:
        with driver.guard(self.path):
            return self.connection.execute(sql, values).fetchone()

    def _parse(self, raw: bytes) -> Record:
        try:
            return Record.parse(raw)
        except RemoteProtocolError as error:
            raise Damaged(self.path, error) from error

    # records

    def put(self, record: Record, today: int, repair: bool = False) -> Status:
        """Keep a BOX, TOMBSTONE or MUTABLE record (see RecordStore.put)."""
        if record.type is RecordType.QUEUE:
            return Status.REFUSED
        if record.expired(today):
            return Status.EXPIRED
        with self._writing():
            row = self._one("SELECT record, expiry FROM records WHERE key = ?", record.key)
            old = self._parse(row[0]) if row and row[1] >= today else None
            status = decide(old, record, repair=repair)
            if status is not Status.STORED:
                return status
            bits, day = rank(record, today)
            if row is None and not self._space.make_room((bits, day), today):
                return Status.FULL
            self.connection.execute(
                "INSERT OR REPLACE INTO records (key, class, expiry, record, bits, day)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (record.key, record.klass, record.expiry_day, record.pack(), bits, day),
            )
            self._space.add(kept=row is None)
        return status

    def put_many(self, records: Iterable[Record], today: int) -> list[Status]:
        """`put` for each, all in one transaction."""
        with self.batch():
            return [self.put(record, today) for record in records]

    def get(self, key: bytes) -> Record | None:
        """The record at `key`."""
        row = self._one("SELECT record FROM records WHERE key = ?", key)
        return self._parse(row[0]) if row else None

    # queues

    def queue_add(self, record: Record, today: int, limit: int) -> Status:
        """Keep a QUEUE entry (see RecordStore.queue_add)."""
        if record.type is not RecordType.QUEUE:
            return Status.REFUSED
        if record.expired(today):
            return Status.EXPIRED
        queue, name = record.key, record.entry_id
        with self._writing():
            if self._was_deleted(queue, name, today):
                return Status.OK
            self._delete("entries", "queue = ? AND expiry < ?", queue, today)
            row = self._one("SELECT record FROM entries WHERE queue = ? AND id = ?", queue, name)
            status = decide_entry(self._parse(row[0]) if row else None, record)
            if status is not Status.STORED:
                return status
            bits, day = rank(record, today)
            if row is None:
                dropped = self._make_room(queue, record.position, limit)
                if dropped is None or not (dropped or self._space.make_room((bits, day), today)):
                    return Status.FULL
            self.connection.execute(
                "INSERT OR REPLACE INTO entries (queue, position, id, class, expiry, record, bits, day)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (queue, record.position, name, record.klass, record.expiry_day, record.pack(), bits, day),
            )
            self._space.add(kept=row is None)
        return status

    def _delete(self, table: str, where: str, *values: object) -> int:
        """Delete records or entries; how many."""
        dropped: int = self.connection.execute(f"DELETE FROM {table} WHERE {where}", values).rowcount
        self._space.add(kept=-dropped)
        return dropped

    def _was_deleted(self, queue: bytes, name: bytes, today: int) -> bool:
        sql = "SELECT 1 FROM deleted WHERE queue = ? AND id = ? AND expiry >= ?"
        return self._one(sql, queue, name, today) is not None

    def queue_knows(self, record: Record, today: int) -> bool:
        """Whether `queue_add` would answer OK (see RecordStore.queue_knows)."""
        if record.expired(today):
            return False
        queue, name = record.key, record.entry_id
        if self._was_deleted(queue, name, today):
            return True
        sql = "SELECT record FROM entries WHERE queue = ? AND id = ? AND expiry >= ?"
        row = self._one(sql, queue, name, today)
        return row is not None and decide_entry(self._parse(row[0]), record) is Status.OK

    def _make_room(self, queue: bytes, position: bytes, limit: int) -> int | None:
        """Drop the last entries so that one more fits, and say how many; None if it would be last itself."""
        (count,) = self._one("SELECT count(*) FROM entries WHERE queue = ?", queue)
        if count < limit:
            return 0
        (before,) = self._one(
            "SELECT count(*) FROM entries WHERE queue = ? AND position < ?", queue, position
        )
        if before >= limit:
            return None
        last = "rowid IN (SELECT rowid FROM entries WHERE queue = ? ORDER BY position LIMIT -1 OFFSET ?)"
        return self._delete("entries", last, queue, limit - 1)

    def queue_list(self, key: bytes, after: bytes, limit: int) -> list[Record]:
        """At most `limit` entries after the position `after` (see RecordStore.queue_list)."""
        with driver.guard(self.path):
            rows = self.connection.execute(
                "SELECT record FROM entries WHERE queue = ? AND position > ? ORDER BY position LIMIT ?",
                (key, after, limit),
            ).fetchall()
        return [self._parse(row[0]) for row in rows]

    def queue_delete(self, key: bytes, entry_id: bytes) -> Status:
        """Delete an entry and remember its id (see RecordStore.queue_delete)."""
        with self._writing():
            row = self._one("SELECT expiry FROM entries WHERE queue = ? AND id = ?", key, entry_id)
            known = self._one("SELECT 1 FROM deleted WHERE queue = ? AND id = ?", key, entry_id)
            if row is None:
                return Status.OK if known else Status.NOT_FOUND
            self._delete("entries", "queue = ? AND id = ?", key, entry_id)
            self.connection.execute(
                "INSERT OR REPLACE INTO deleted (queue, id, expiry) VALUES (?, ?, ?)", (key, entry_id, row[0])
            )
            self._space.add(remembered=known is None)
            self._space.forget_excess()
        return Status.OK

    # repair between homes

    def scan(self, after: Place, limit: int) -> list[Record]:
        """Records and entries in the order of places (see RecordStore.scan)."""
        entries, key, name = after
        rows: list[Any] = []
        with driver.guard(self.path):
            if not entries:
                sql = "SELECT record FROM records WHERE key > ? ORDER BY key LIMIT ?"
                rows = self.connection.execute(sql, (key, limit)).fetchall()
                key = b""
            if len(rows) < limit:
                sql = "SELECT record FROM entries WHERE (queue, id) > (?, ?) ORDER BY queue, id LIMIT ?"
                rows += self.connection.execute(sql, (key, name, limit - len(rows))).fetchall()
        return [self._parse(row[0]) for row in rows]

    def find(self, item: Item) -> Record | None:
        """The record or entry with this key and version (see RecordStore.find)."""
        key, version = item
        record = self.get(key)
        if record is not None and record.version == version:
            return record
        low, high = version, version + b"\xff" * (ID_BYTES - VERSION_BYTES)
        row = self._one("SELECT record FROM entries WHERE queue = ? AND id BETWEEN ? AND ?", key, low, high)
        return self._parse(row[0]) if row else None

    def missing(self, items: Iterable[Item], today: int) -> list[Item]:
        """Those of `items` that are not here (see RecordStore.missing)."""
        return [item for item in items if self.find(item) is None and not self._deletion(item, today)]

    def _deletion(self, item: Item, today: int) -> bool:
        key, version = item
        low, high = version, version + b"\xff" * (ID_BYTES - VERSION_BYTES)
        sql = "SELECT 1 FROM deleted WHERE queue = ? AND id BETWEEN ? AND ? AND expiry >= ?"
        return self._one(sql, key, low, high, today) is not None

    def drop(self, record: Record) -> None:
        """Forget a record or entry (see RecordStore.drop)."""
        with self._writing():
            if record.type is RecordType.QUEUE:
                self._delete("entries", "queue = ? AND id = ?", record.key, record.entry_id)
                return
            held = self.get(record.key)
            if held is not None and held.identical(record):
                self._delete("records", "key = ?", record.key)

    # time and size

    def expire(self, today: int, limit: int) -> int:
        """Drop at most `limit` rows that have expired or are above the quota, in one transaction (see
        RecordStore.expire)."""
        old = "rowid IN (SELECT rowid FROM {} WHERE expiry < ? LIMIT ?)"
        with self._writing():
            where = f"DELETE FROM deleted WHERE {old.format('deleted')}"
            dropped: int = self.connection.execute(where, (today, limit)).rowcount
            self._space.add(remembered=-dropped)
            for table in ("records", "entries"):
                dropped += self._delete(table, old.format(table), today, limit - dropped)
            return dropped + self._space.shrink(limit - dropped)

    def count(self) -> dict[str, int]:
        """How many "records", "entries" and "deleted" (remembered ids) there are."""
        return {
            table: int(self._one(f"SELECT count(*) FROM {table}")[0])
            for table in ("records", "entries", "deleted")
        }

    def fill(self) -> float:
        """The share of the quota that is taken (see RecordStore.fill)."""
        with driver.guard(self.path):
            return self._space.fill

    def usage(self) -> Usage:
        """How full the store is (see RecordStore.usage)."""
        with driver.guard(self.path):
            return self._space.usage()
