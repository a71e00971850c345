"""A home's records as plain lists, written from docs/protocol/boxes.md ("Which of two stays") and store.md
("A home's rules", "Repair") and not from the code: every question searches everything anew.

It knows what has not expired only.  What a store has not swept away yet is nobody's business.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from mixmail.boxes.record import Record
from mixmail.boxes.record import RecordType as T

OK, STORED, EXISTS, NOT_FOUND, EXPIRED, FULL, REFUSED = 0, 1, 2, 3, 6, 7, 8


def blake(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def meta(one: Record) -> bytes:
    return bytes([one.type, one.klass]) + one.day.to_bytes(2, "big") + one.seq.to_bytes(4, "big")


def last_day(one: Record) -> int:
    return one.day + one.klass + (7 if one.type is T.TOMBSTONE else 0)


def entry_id(one: Record) -> bytes:
    return blake(one.key + one.c)


def bits(one: Record) -> int:
    return one.stamp[9]


def queue_order(one: Record) -> tuple[int, bytes]:
    return -bits(one), entry_id(one)


def position(one: Record) -> bytes:
    return bytes([255 - bits(one)]) + entry_id(one)[:31]


def version(one: Record) -> bytes:
    return (entry_id(one) if one.type is T.QUEUE else blake(meta(one) + blake(one.c)))[:8]


def stays_in_repair(old: Record, new: Record) -> int:
    """The column "in repair between homes", line by line."""
    if (meta(old), old.c) == (meta(new), new.c):
        return OK
    if old.type is not new.type and new.type is T.TOMBSTONE:
        return STORED
    if old.type is not new.type and old.type is T.TOMBSTONE:
        return EXISTS
    if old.type is not new.type:
        return STORED if new.type is T.BOX else EXISTS
    if old.seq != new.seq:
        return STORED if new.seq > old.seq else EXISTS
    if blake(new.c) != blake(old.c):
        return STORED if blake(new.c) < blake(old.c) else EXISTS
    return STORED if meta(new) < meta(old) else EXISTS


def stays_against_a_client(old: Record, new: Record) -> int:
    """The column "from a client"."""
    if (meta(old), old.c) == (meta(new), new.c):
        return OK
    if old.type is not new.type:
        return STORED if new.type is T.TOMBSTONE else EXISTS
    return STORED if new.seq > old.seq else EXISTS


@dataclass
class Model:
    """What one home has to hold and to say on the day `today`."""

    today: int
    limit: int
    records: list[Record] = field(default_factory=list)
    entries: list[Record] = field(default_factory=list)
    deleted: list[tuple[bytes, bytes, int]] = field(default_factory=list)  # key, entry id, last day

    def pass_days(self, days: int) -> None:
        self.today += days
        self.records = [one for one in self.records if last_day(one) >= self.today]
        self.entries = [one for one in self.entries if last_day(one) >= self.today]
        self.deleted = [one for one in self.deleted if one[2] >= self.today]

    def put(self, new: Record, repair: bool) -> int:
        if new.type is T.QUEUE:
            return REFUSED
        if last_day(new) < self.today:
            return EXPIRED
        status = STORED
        for old in self.records:
            if old.key == new.key:
                status = (stays_in_repair if repair else stays_against_a_client)(old, new)
        if status == STORED:
            self.records = [old for old in self.records if old.key != new.key] + [new]
        return status

    def at(self, key: bytes) -> Record | None:
        return next((one for one in self.records if one.key == key), None)

    def queue(self, key: bytes) -> list[Record]:
        return sorted((one for one in self.entries if one.key == key), key=queue_order)

    def would_change_nothing(self, new: Record) -> bool:
        """ "The entry's id is here with no fewer bits, or deleted"."""
        name = (new.key, entry_id(new))
        return any(one[:2] == name for one in self.deleted) or any(
            (one.key, entry_id(one)) == name and bits(one) >= bits(new) for one in self.entries
        )

    def add(self, new: Record) -> int:
        if new.type is not T.QUEUE:
            return REFUSED
        if last_day(new) < self.today:
            return EXPIRED
        if self.would_change_nothing(new):
            return OK
        name = (new.key, entry_id(new))
        self.entries = [one for one in self.entries if (one.key, entry_id(one)) != name] + [new]
        too_many = self.queue(new.key)[self.limit :]
        self.entries = [one for one in self.entries if one not in too_many]
        return FULL if new in too_many else STORED

    def delete(self, key: bytes, name: bytes) -> int:
        found = [one for one in self.entries if (one.key, entry_id(one)) == (key, name)]
        if found:
            self.entries.remove(found[0])
            self.deleted.append((key, name, last_day(found[0])))
            return OK
        return OK if any(one[:2] == (key, name) for one in self.deleted) else NOT_FOUND

    def everything(self) -> list[Record]:
        """All records by key, then all entries by key and id."""
        entries = sorted(self.entries, key=lambda one: (one.key, entry_id(one)))
        return sorted(self.records, key=lambda one: one.key) + entries

    def drop(self, old: Record) -> None:
        if old.type is T.QUEUE:
            name = (old.key, entry_id(old))
            self.entries = [one for one in self.entries if (one.key, entry_id(one)) != name]
        else:
            same = (old.key, meta(old), old.c)
            self.records = [one for one in self.records if (one.key, meta(one), one.c) != same]

    def is_missing(self, item: tuple[bytes, bytes]) -> bool:
        here = [(one.key, version(one)) for one in self.everything()]
        return item not in here and item not in [(key, name[:8]) for key, name, _ in self.deleted]
