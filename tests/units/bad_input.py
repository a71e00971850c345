"""Queries that a home has to refuse, each with the status that it has to say.

docs/protocol/store.md, "A home's rules", and boxes.md, "Records" and "Stamps", have the rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from low_order import FORGED, SMALL_ORDER
from node_world import NOON, PARAMS, TODAY, World

from mixmail.boxes import stamp
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import QueryOp, QueueRequest, hour_of
from mixmail.boxes.record import EMPTY_FIELD, FIRST, Record, RecordType, key_field, queue_entry, sign_record
from mixmail.boxes.stamp import Stamp
from mixmail.boxes.status import Status
from mixmail.params import GEOMETRY
from mixmail.testing import SeededRandomness

STRICT = dataclasses.replace(PARAMS, box_bits=8, stranger_bits=9, max_bits=12, queue_limit=2)
NETWORK = World(1, STRICT).network
RNG = SeededRandomness("bad input")
OWNER, OTHER, READER = (OwnerKey.from_seed(RNG.bytes(32), "test.own") for _ in range(3))
TEXT, TEXT_2, ZERO = RNG.bytes(GEOMETRY.box_ct), RNG.bytes(GEOMETRY.box_ct), bytes(GEOMETRY.box_ct)
HOUR = hour_of(NOON)

Field = Callable[[bytes], bytes]
"""The field of a query, given its reply key."""
Row = tuple[str, QueryOp, Field, Status]


def needed(kind: RecordType) -> int:
    return STRICT.stranger_bits if kind is RecordType.QUEUE else STRICT.box_bits


def stamped(record: Record, bits: int = 0, day: int = 0, network_hash: bytes = NETWORK.hash) -> Record:
    """Under a stamp that did its work for this day, whether or not the day is allowed."""
    with_body = record.type in (RecordType.QUEUE, RecordType.MUTABLE)
    made = stamp.solve_for(
        network_hash,
        PARAMS,
        record.key,
        record.type,
        record.klass,
        record.body_hash if with_body else b"",
        bits or needed(record.type),
        day or stamp.stamp_day(record.type, record.day),
        0,
        100_000,
    )
    assert made is not None
    return record.with_stamp(made)


def good(
    kind: RecordType,
    *,
    owner: OwnerKey = OWNER,
    klass: int = 30,
    day: int = TODAY,
    seq: int = 0,
    c: bytes = TEXT,
) -> Record:
    """A record that follows all rules but for what is asked for here."""
    if kind is RecordType.QUEUE:
        return stamped(queue_entry(owner.public, klass, day, c))
    return stamped(
        sign_record(owner, kind, klass, day, seq, ZERO if kind is RecordType.TOMBSTONE else c, RNG)
    )


def fixed(record: Record | bytes) -> Field:
    raw = record.pack() if isinstance(record, Record) else record
    return lambda reply_key: raw


def changed(record: Record, at: int, change: bytes) -> Field:
    raw = record.pack()
    return fixed(raw[:at] + change + raw[at + len(change) :])


def asks(
    op: QueryOp,
    after: bytes = FIRST,
    *,
    owner: OwnerKey = READER,
    hour: int = HOUR,
    signed_for: QueryOp | None = None,
    rest: bytes = b"",
) -> Field:
    """A request for the queue of READER."""

    def field(reply_key: bytes) -> bytes:
        made = QueueRequest.create(owner, signed_for or op, after, hour, reply_key, RNG)
        raw = dataclasses.replace(made, key=READER.public).to_field()
        return raw[: len(raw) - len(rest)] + rest

    return field


BOX, ENTRY = good(RecordType.BOX), good(RecordType.QUEUE)
KEPT = good(RecordType.MUTABLE, owner=OTHER, seq=5)
"""What is there before: this record, and two entries in the queue of READER, which is then full."""
QUEUED = [
    stamped(queue_entry(READER.public, 30, TODAY, RNG.bytes(GEOMETRY.box_ct)), STRICT.stranger_bits + 3)
    for _ in range(STRICT.queue_limit)
]


def _op(kind: RecordType) -> QueryOp:
    return QueryOp.QUEUE_ADD if kind is RecordType.QUEUE else QueryOp.WRITE


def of_each_type() -> list[Row]:
    """Future-dated, expired, wrongly classed, without work, at the wrong operation, forged."""
    rows: list[Row] = []
    for kind in RecordType:
        name, op = kind.name, _op(kind)
        record = good(kind)
        for day in (TODAY + 2, TODAY + 30, 2**16 - 1):
            rows.append((f"{name} of day {day - TODAY:+}", op, fixed(good(kind, day=day)), Status.REFUSED))
        for klass in STRICT.classes_days:
            day = TODAY - klass - (7 if kind is RecordType.TOMBSTONE else 0) - 1
            over = fixed(good(kind, klass=klass, day=day))
            rows.append((f"{name} of class {klass}, expired yesterday", op, over, Status.EXPIRED))
        rows.append((f"{name} of 1970", op, fixed(good(kind, day=4)), Status.EXPIRED))
        for klass in (1, 8, 31, 255):
            rows.append((f"{name} of class {klass}", op, fixed(good(kind, klass=klass)), Status.REFUSED))
        rows.append((f"{name} of class 0", op, changed(record, 97, b"\0"), Status.REFUSED))
        rows.append((f"{name} without work", op, fixed(record.with_stamp(bytes(32))), Status.BAD_STAMP))
        wrong = QueryOp.WRITE if kind is RecordType.QUEUE else QueryOp.QUEUE_ADD
        rows.append((f"{name} in a {wrong.name}", wrong, fixed(record), Status.REFUSED))
        if kind is not RecordType.MUTABLE:
            rows.append((f"{name} with a sequence number", op, changed(record, 103, b"\1"), Status.REFUSED))
        point = stamped(dataclasses.replace(record, key=next(iter(SMALL_ORDER))))
        if kind is not RecordType.QUEUE:
            point = dataclasses.replace(point, signature=FORGED)
            moved = stamped(dataclasses.replace(record, key=OTHER.public))
            for what, forged in {
                "signed by somebody else": moved,
                "without a signature": dataclasses.replace(record, signature=bytes(64)),
                "with another day than was signed": stamped(dataclasses.replace(record, day=TODAY - 1)),
                "with another class than was signed": stamped(dataclasses.replace(record, klass=90)),
            }.items():
                rows.append((f"{name} {what}", op, fixed(forged), Status.BAD_SIGNATURE))
        rows.append((f"{name} at a point of low order", op, fixed(point), Status.BAD_SIGNATURE))
    return rows


def of_one_type() -> list[Row]:
    """What can only be wrong with some, and bytes that are no record."""
    write, add = QueryOp.WRITE, QueryOp.QUEUE_ADD
    raw = BOX.pack()
    return [
        ("an entry with a signature", add, changed(ENTRY, 32, b"\1"), Status.BAD_SIGNATURE),
        ("another text than was signed", write, changed(BOX, 17_000, bytes(8)), Status.BAD_SIGNATURE),
        ("cut off, zero behind", write, fixed(raw[:9_000] + bytes(8_334)), Status.BAD_SIGNATURE),
        ("cut off in its head", write, fixed(raw[:90] + bytes(17_244)), Status.REFUSED),
        ("moved by a byte", write, fixed(b"\0" + raw[:-1]), Status.REFUSED),
        ("nothing", write, fixed(EMPTY_FIELD), Status.REFUSED),
        ("no entry", add, fixed(EMPTY_FIELD), Status.REFUSED),
        ("all ones", write, fixed(bytes([255]) * GEOMETRY.record), Status.REFUSED),
        ("type 4", write, changed(BOX, 96, b"\4"), Status.REFUSED),
        ("type 255", write, changed(BOX, 96, b"\xff"), Status.REFUSED),
        ("a TOMBSTONE with a text", write, changed(BOX, 96, b"\1"), Status.REFUSED),
    ]


def of_stamps() -> list[Row]:
    """Too little, claimed only, of other days, other entries and other networks, or of another form."""
    rows: list[Row] = []
    monday = stamp.monday(TODAY)
    for kind in RecordType:
        name, op, record, bits = kind.name, _op(kind), good(kind), needed(kind)
        own = Stamp.parse(record.stamp)
        if kind is RecordType.BOX:
            days = {monday + 1, monday - 1, monday - 7 * 2, monday + 7, TODAY}
        else:
            days = {TODAY - 1, TODAY + 1, 0, monday - 7}
        for day in sorted(days):
            at = fixed(stamped(record, bits, day) if day else changed_stamp(record, day=0))
            rows.append((f"{name} with a stamp of day {day - TODAY:+}", op, at, Status.BAD_STAMP))
        another = good(kind, owner=OTHER)
        for what, wrong in {
            "with a bit too few": stamped(record, bits - 1),
            "that claims what it did not do": changed_stamp(record, bits=STRICT.max_bits),
            "that did more than is allowed": stamped(record, STRICT.max_bits + 1),
            "that claims nothing": changed_stamp(record, bits=0),
            "with no algorithm": changed_stamp(record, alg=0),
            "with algorithm 2": changed_stamp(record, alg=2),
            "with another nonce": changed_stamp(record, nonce=bytes([own.nonce[0] ^ 1]) + own.nonce[1:]),
            "with the stamp of another key": record.with_stamp(another.stamp),
            "with the stamp of another class": record.with_stamp(good(kind, klass=7).stamp),
            "with a stamp of another network": stamped(record, network_hash=bytes(32)),
        }.items():
            rows.append((f"{name} {what}", op, fixed(wrong), Status.BAD_STAMP))
        if kind in (RecordType.QUEUE, RecordType.MUTABLE):
            other = record.with_stamp(good(kind, c=TEXT_2).stamp)
            rows.append((f"{name} with the stamp of another text", op, fixed(other), Status.BAD_STAMP))
        rows.append((f"{name} with a token", op, changed(record, 104 + 12, b"\1"), Status.REFUSED))
        rows.append((f"{name} with a longer stamp", op, changed(record, 104 + 28, b"\1"), Status.REFUSED))
    return rows


def changed_stamp(record: Record, **fields: object) -> Record:
    return record.with_stamp(dataclasses.replace(Stamp.parse(record.stamp), **fields).pack())  # type: ignore[arg-type]


def of_queues() -> list[Row]:
    """Requests of others, for other times, with absurd cursors; one entry too many; a record that stays."""
    full = stamped(queue_entry(READER.public, 30, TODAY, TEXT))
    rows: list[Row] = [
        ("an entry for a full queue", QueryOp.QUEUE_ADD, fixed(full), Status.FULL),
        ("a READ with something behind its key", QueryOp.READ, fixed(BOX), Status.REFUSED),
        ("a READ of the zero key", QueryOp.READ, fixed(EMPTY_FIELD), Status.NOT_FOUND),
        ("a READ of a queue's key", QueryOp.READ, fixed(key_field(READER.public)), Status.NOT_FOUND),
    ]
    for op, other in (
        (QueryOp.QUEUE_READ, QueryOp.QUEUE_DELETE),
        (QueryOp.QUEUE_DELETE, QueryOp.QUEUE_READ),
    ):
        name = op.name
        for what, field in {
            "of somebody else": asks(op, owner=OTHER),
            "of the hour before the last": asks(op, hour=HOUR - 2),
            "of the hour after the next": asks(op, hour=HOUR + 2),
            "of hour 0": asks(op, hour=0),
            "of the last hour": asks(op, hour=2**32 - 1),
            "signed for the other operation": asks(op, signed_for=other),
        }.items():
            rows.append((f"{name} {what}", op, field, Status.BAD_SIGNATURE))
        for where, after in {
            "behind the end of the world": bytes([255]) * 32,
            "behind the last entry": QUEUED[-1].position[:1] + bytes([255]) * 31,
            "at an id where a position belongs": bytes([254]) + QUEUED[0].entry_id[1:],
        }.items():
            rows.append((f"{name} {where}", op, asks(op, after), Status.NOT_FOUND))
        rows.append((f"{name} with something behind it", op, asks(op, rest=b"\1"), Status.REFUSED))
        rows.append((f"{name} that is a record", op, fixed(BOX), Status.REFUSED))
    rows.append(("a delete of no entry", QueryOp.QUEUE_DELETE, asks(QueryOp.QUEUE_DELETE), Status.NOT_FOUND))
    return rows


ROWS = of_each_type() + of_one_type() + of_stamps() + of_queues()
NAMES = [name for name, *_ in ROWS]
assert len(set(NAMES)) == len(NAMES)
