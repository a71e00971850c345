"""The store of a home: its interface and its pure rules (docs/protocol/store.md, "A home's rules").

Two implementations keep to the same contract (tests/units/test_boxes_store_contract.py):
`mixmail.storage.node_db.NodeDatabase` and `mixmail.testing.MemoryStore`.

Rules
- A store takes records that were checked (`record.validate`, `stamp.check`) and decides only which
  of two records stays.  An expired record counts as absent in `put` and `queue_add`, whether or not
  `expire` has run.
- BOX, TOMBSTONE and MUTABLE records: one per key.  QUEUE entries: a list per key, apart from them.
- A queue is ordered by `Record.position`; the cursor of `queue_list` is such a position.
- An entry that was deleted does not come back before its expiry, and its sender is told OK, as if
  it were still there.
- A store may have a quota.  Full, it takes one more record or entry by dropping one: what has expired, else
  what ranks lowest (`rank`; of equals the shorter class, then a record, then what came first); if the new one
  does not rank above that, it is FULL.  What takes another's place at its key needs no room.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from mixmail.boxes.record import Record, RecordType
from mixmail.boxes.status import Status

Item = tuple[bytes, bytes]
"""(key, version) of a record or entry: `Record.version`."""

Place = tuple[bool, bytes, bytes]
"""Where a record or entry stands in a scan of the store: (is an entry, key, entry id or nothing)."""

START: Place = (False, b"", b"")
"""Before all places."""

Rank = tuple[int, int]
"""What stays longer in a full store: (bits of work, day), the higher."""

RECORD_SPACE = 18_432
"""Bytes of a quota that a record or entry takes, whatever the store needs beside its 17,334 bytes: 17,935 in
SQLite with all indices, after four times as many had gone through it."""

# when two types meet at one key in repair, the earlier stays
_TYPE_ORDER = (RecordType.TOMBSTONE, RecordType.BOX, RecordType.MUTABLE)


@dataclass(frozen=True, slots=True)
class Usage:
    """How full a store is.

    `deleted`: remembered ids, of which there are as many as records fit at most.  `capacity`: records and
    entries that fit, None without a quota.  `evicted`: those dropped for want of room since the store was
    opened.  `classes`: how many records and entries there are of each class (days).
    """

    records: int
    entries: int
    deleted: int
    capacity: int | None
    evicted: int
    classes: dict[int, int]

    @property
    def used(self) -> int:
        """Bytes of the quota that are taken."""
        return (self.records + self.entries) * RECORD_SPACE


class RecordStore(Protocol):
    """What a home needs from its disk.  Every call is durable when it returns.

    Days count from 1970-01-01 UTC and never go back.  `get` and `queue_list` may still give what
    expired after the last `expire`.
    """

    def put(self, record: Record, today: int, repair: bool = False) -> Status:
        """Keep a BOX, TOMBSTONE or MUTABLE record, `repair`: that another home hands over.

        `decide(what is there and not expired, record, repair)`; EXPIRED for an expired record, REFUSED
        for a QUEUE entry; FULL if there is no room for it.
        """

    def get(self, key: bytes) -> Record | None:
        """The BOX, TOMBSTONE or MUTABLE record at `key`."""

    def queue_add(self, record: Record, today: int, limit: int) -> Status:
        """Keep a QUEUE entry, at most `limit` of one key; the last by position gives way.

        EXPIRED for an expired record, REFUSED for another type; OK if an entry with this id was
        deleted and has not expired since; else `decide_entry(entry with this id, record)`: OK, or
        STORED in the place of the other.  FULL if the entry would be the one to give way, or if there is
        no room for it.
        """

    def queue_knows(self, record: Record, today: int) -> bool:
        """Whether `queue_add` would answer OK: this entry's id is there with no fewer bits, or deleted."""

    def queue_list(self, key: bytes, after: bytes, limit: int) -> list[Record]:
        """At most `limit` entries whose position is greater than `after`, in order of position.

        `after` is a `Record.position`, 32 zero bytes from the start.
        """

    def queue_delete(self, key: bytes, entry_id: bytes) -> Status:
        """Delete an entry and remember its id until its expiry.

        OK if it was there or is (until the next `expire`) remembered as deleted, NOT_FOUND else.
        """

    def scan(self, after: Place, limit: int) -> list[Record]:
        """At most `limit` records and entries at places after `after`, in the order of `place_of`."""

    def find(self, item: Item) -> Record | None:
        """The record or entry with this key and version."""

    def missing(self, items: Iterable[Item], today: int) -> list[Item]:
        """Those of `items` that are not here, in their order; entries that were deleted are not missed."""

    def drop(self, record: Record) -> None:
        """Forget a record or entry; a record only while it is this very one."""

    def expire(self, today: int, limit: int) -> int:
        """Drop at most `limit` records, entries and remembered ids that have expired, then those that are
        above the quota (it may have been lowered); how many it were.

        Fewer than `limit`: there are no more.
        """

    def count(self) -> dict[str, int]:
        """How many "records", "entries" and "deleted" (remembered ids) there are."""

    def fill(self) -> float:
        """The share of the quota that is taken, 0 without one; cheap."""

    def usage(self) -> Usage:
        """How full the store is; looks at an index of all it has."""


def capacity_of(quota: int | None) -> int | None:
    """How many records and entries fit into `quota` bytes."""
    return None if quota is None else max(1, quota // RECORD_SPACE)


def rank(record: Record, today: int) -> Rank:
    """Where `record` stands if it arrives `today`.  A day to come counts as today: clocks differ."""
    return record.bits, min(record.day, today)


def place_of(record: Record) -> Place:
    """All records by key, then all entries by key and id."""
    entry = record.type is RecordType.QUEUE
    return entry, record.key, record.entry_id if entry else b""


def decide(old: Record | None, new: Record, *, repair: bool = False) -> Status:
    """Whether `new` takes the place of `old` at one key.

    OK: identical, nothing to do.  STORED: `new` stays.  EXISTS: `old` stays.  Against a client
    (`repair` False) a home keeps its own wherever the order of the two is not given by what their
    owner signed; in repair all homes come to the same record, whatever the order of arrival.
    """
    if old is None:
        return Status.STORED
    if old.identical(new):
        return Status.OK
    if old.type is not new.type:
        wins = new.type is RecordType.TOMBSTONE or (
            repair
            and old.type is not RecordType.TOMBSTONE
            and _TYPE_ORDER.index(new.type) < _TYPE_ORDER.index(old.type)
        )
    elif new.seq != old.seq:
        wins = new.seq > old.seq
    else:
        wins = repair and (new.body_hash, new.meta) < (old.body_hash, old.meta)
    return Status.STORED if wins else Status.EXISTS


def decide_entry(old: Record | None, new: Record) -> Status:
    """The same for two QUEUE entries of one id: more work stays (STORED), else nothing to do (OK)."""
    return Status.STORED if old is None or new.bits > old.bits else Status.OK


def summary(statuses: Iterable[Status]) -> Status:
    """One status for what several homes said to one write.

    EXISTS if any home has another record; else OK if all that acknowledge had it already; else
    STORED if any acknowledges; else the lowest refusal; TRY_LATER if nobody answered.
    """
    said = set(statuses)
    if Status.EXISTS in said:
        return Status.EXISTS
    if Status.STORED in said:
        return Status.STORED
    return min(said, default=Status.TRY_LATER)
