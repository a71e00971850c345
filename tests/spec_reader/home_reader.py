"""What a home says to new records and to requests for queues, and how a queue lives: docs/protocol alone,
boxes.md, "Records" and "Stamps", and store.md, "Queue requests" and "A home's rules"."""

from __future__ import annotations

from dataclasses import dataclass, field

from boxes_reader import (
    CLASSES,
    QUEUE,
    Record,
    check_authentic,
    check_stamp_form,
    parse_record,
    position,
    stamp_bits,
    stamp_work,
)
from spec_primitives import Refused
from store_reader import OPS, Query, QueueRequest, parse_queue_request


@dataclass(frozen=True)
class Home:
    network: bytes
    memory: int
    box_bits: int
    stranger_bits: int
    today: int

    def says(self, raw: bytes) -> str:
        """To a new record where nothing is at its key, in the order of boxes.md, "Records"."""
        try:
            record = parse_record(raw)
        except Refused:
            return "REFUSED"
        if record.day > self.today + 1 or record.keep_days not in CLASSES:
            return "REFUSED"
        if self.today > record.last_day:
            return "EXPIRED"
        if any(record.stamp[12:28]):  # the token serial
            return "REFUSED"
        try:
            check_authentic(record)
        except Refused:
            return "BAD_SIGNATURE"
        return "STORED" if self.stamp_is_good(record) else "BAD_STAMP"

    def stamp_is_good(self, record: Record) -> bool:
        try:
            check_stamp_form(record.type, record.day, record.stamp)
        except Refused:
            return False
        bits = stamp_bits(record.stamp)
        if bits < (self.stranger_bits if record.type == QUEUE else self.box_bits):
            return False
        return bits == 0 or stamp_work(self.network, record, record.stamp, self.memory) >= bits


def hour_fits(hour: int, now: int) -> bool:
    """A home takes its own hour, the one before and the next."""
    return now - 1 <= hour <= now + 1


def says_to_request(op: str, reply_key: bytes, request_field: bytes, now: int) -> str:
    """A proxy refuses another reply hash; a home, what its owner did not sign for this hour."""
    query = Query(OPS[op], 0, reply_key, request_field)
    try:
        request: QueueRequest = parse_queue_request(query)
    except Refused as refused:
        return "BAD_SIGNATURE" if "signature" in str(refused) else "REFUSED"
    return "OK" if hour_fits(request.hour, now) else "BAD_SIGNATURE"


@dataclass
class Queue:
    """One queue with at most `limit` entries, all of one class."""

    limit: int
    keep_days: int
    entries: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # entry id -> bits, last day
    deleted: dict[bytes, int] = field(default_factory=dict)  # entry id -> last day

    def forget(self, today: int) -> None:
        """What has expired counts as absent."""
        self.entries = {name: entry for name, entry in self.entries.items() if today <= entry[1]}
        self.deleted = {name: day for name, day in self.deleted.items() if today <= day}

    def positions(self) -> list[bytes]:
        return sorted(position(name, bits) for name, (bits, _) in self.entries.items())

    def add(self, name: bytes, bits: int, day: int, today: int) -> str:
        self.forget(today)
        last_day = day + self.keep_days
        if today > last_day:
            return "EXPIRED"
        if name in self.deleted or (name in self.entries and self.entries[name][0] >= bits):
            return "OK"
        self.entries[name] = bits, last_day
        if len(self.entries) <= self.limit:
            return "STORED"
        last = max(self.entries, key=lambda one: position(one, self.entries[one][0]))
        del self.entries[last]
        return "FULL" if last == name else "STORED"

    def delete(self, name: bytes, today: int) -> str:
        self.forget(today)
        if name in self.entries:
            self.deleted[name] = self.entries.pop(name)[1]
            return "OK"
        return "OK" if name in self.deleted else "NOT_FOUND"
