"""Queries, answers, records, stamps, capabilities, boxes (docs/protocol/boxes.md, store.md)."""

from __future__ import annotations

import dataclasses

from harness import Harness, change, choose, patched, seeds

from mixmail.boxes import query as queries
from mixmail.boxes import record as records
from mixmail.boxes import stamp as stamps
from mixmail.boxes.capability import CAP_BYTES, ReadCap, WriteCap, open_, seal
from mixmail.boxes.query import Answer, CourierReply, CourierRequest, Query, QueryOp, QueueRequest
from mixmail.boxes.record import Record, RecordType, key_field, parse_key_field, queue_entry, sign_record
from mixmail.boxes.stamp import Stamp
from mixmail.boxes.status import Status
from mixmail.crypto import aead, hpke, kem
from mixmail.errors import RemoteProtocolError
from mixmail.params import DEMO, GEOMETRY
from mixmail.testing import SeededRandomness

_RNG = SeededRandomness("fuzzing boxes")
_FIELD = bytes(GEOMETRY.record)
_CAP = WriteCap.create(_RNG.bytes(64))
_OWNER = _CAP.owner()
_BOX = seal(_CAP, bytes(GEOMETRY.box_text), 30, 20_000, _RNG)
_RECORDS = [
    _BOX,
    sign_record(_OWNER, RecordType.TOMBSTONE, 30, 20_000, 0, bytes(GEOMETRY.box_ct), _RNG),
    sign_record(_OWNER, RecordType.MUTABLE, 30, 20_000, 7, _RNG.bytes(GEOMETRY.box_ct), _RNG),
    queue_entry(_OWNER.public, 30, 20_000, _RNG.bytes(GEOMETRY.box_ct)),
]
_PACKED = [record.pack() for record in _RECORDS]


def record(data: bytes) -> bool:
    raw = choose(_PACKED, data)[1]
    try:
        parsed = Record.parse(raw)
    except RemoteProtocolError:
        return False
    assert parsed.pack() == raw
    assert len(parsed.position) == 32 and parsed.bits == raw[113]
    records.validate(parsed, 20_000, {30})
    stamps.is_plausible(DEMO, parsed, 0)
    return True


_REQUEST = QueueRequest.create(_OWNER, QueryOp.QUEUE_READ, bytes(32), 5, bytes(32), _RNG).to_field()
_QUERIES: list[tuple[type, bytes]] = [
    *((Query, Query(op, 0, bytes(32), _FIELD).pack()) for op in QueryOp),
    (CourierRequest, CourierRequest(bytes(32), bytes(GEOMETRY.surb), bytes(GEOMETRY.blob)).pack()),
    (CourierReply, CourierReply(Status.OK, bytes(GEOMETRY.reply_ct)).pack()),
    (Answer, Answer(Status.OK, 1, 3, _FIELD).pack()),
    (QueueRequest, _REQUEST),
    (bytes, key_field(bytes(32))),
]


def query(data: bytes) -> bool:
    number, raw = choose([packed for _, packed in _QUERIES], data)
    shape = _QUERIES[number][0]
    try:
        if shape is QueueRequest:
            request = QueueRequest.from_field(raw)
            request.verify(QueryOp.QUEUE_READ, 5)
            assert request.to_field() == raw
        elif shape is bytes:
            assert key_field(parse_key_field(raw)) == raw
        else:
            assert shape.parse(raw).pack() == raw
    except RemoteProtocolError:
        return False
    return True


_PROXY = kem.PrivateKey.from_seed(bytes(32))
_BLOB = hpke.seal(_PROXY.public, queries._info(bytes(32), bytes(32), 9), _QUERIES[0][1])
_SEALED = aead.chacha_seal(bytes(32), bytes(12), _QUERIES[7][1], b"")


def sealed(data: bytes) -> bool:
    """Ciphertexts of a query and of an answer, and what a hostile sender or proxy sealed by itself."""
    number, raw = choose([_BLOB, _SEALED, _QUERIES[7][1]], data)
    try:
        if number == 0:
            assert (
                queries.open_query([(8, _PROXY), (9, _PROXY)], bytes(32), bytes(32), raw).pack()
                == _QUERIES[0][1]
            )
        else:
            text = raw if number == 1 else aead.chacha_seal(bytes(32), bytes(12), raw, b"")
            answer = queries.open_answer(bytes(32), text)
            assert number == 2 or answer.pack() == _QUERIES[7][1]
    except RemoteProtocolError:
        return False
    return True


_SMALL = [Stamp(bytes(8), 1, 5, 19_999).pack(), _CAP.read_cap().pack(), _CAP.pack()]


def small(data: bytes) -> bool:
    """Stamps and capabilities."""
    number, raw = choose(_SMALL, data)
    shape = (Stamp, ReadCap, WriteCap)[number]
    try:
        parsed = shape.parse(raw)
    except RemoteProtocolError:
        return False
    assert parsed.pack() == raw and (number == 0 or len(raw) == CAP_BYTES)
    if isinstance(parsed, ReadCap):
        assert len(parsed.box_id()) == 32 and parsed.advance().index == parsed.index + 1
    return True


def box(data: bytes) -> bool:
    """A stranger's box at a key that its reader polls: fields and text changed, then signed by the key."""
    flags = data[0] if data else 0
    kind = RecordType.MUTABLE if flags & 2 else RecordType.BOX
    text = (patched(_BOX.c, data[2:]) + bytes(GEOMETRY.box_ct))[: GEOMETRY.box_ct]
    given = sign_record(_OWNER, kind, 30 - (flags >> 6), 20_000, 0, text, _RNG)
    if flags & 4:
        given = dataclasses.replace(given, signature=bytes(64))
    if flags & 8:
        given = dataclasses.replace(given, key=bytes(32))
    try:
        opened = open_(_CAP.read_cap(), given)
    except RemoteProtocolError:
        return False
    assert opened == bytes(GEOMETRY.box_text) and text == _BOX.c
    return True


HARNESSES = [
    Harness(
        "record",
        record,
        seeds(
            _PACKED,
            *(change(96, 9), change(97, 9), change(98, 0), change(98, 0xFF), change(103, 1), change(143, 1)),
            *(change(116, 1), change(200, 1), change(113, 3), change(112, 1) + change(113, 3)),
            # a stamp of the same week and day as the record: 0x4e20 is day 20,000, 0x4e1c the Monday before
            change(112, 1) + change(113, 3) + change(114, 0x4E) + change(115, 0x20),
            change(112, 1) + change(113, 3) + change(114, 0x4E) + change(115, 0x1C),
        ),
        [Record.parse, Record.pack, records.validate, stamps.is_plausible, Stamp.parse, stamps.day_fits],
    ),
    Harness(
        "query",
        query,
        seeds(
            [packed for _, packed in _QUERIES],
            *(change(place, 77) for place in (0, 1, 3, 40, 300)),
            change(0, 77, 2),
            change(160, 1),
        ),
        [
            *(shape.parse for shape in (Query, CourierRequest, CourierReply, Answer)),
            QueueRequest.from_field,
            QueueRequest.verify,
            parse_key_field,
            Status.parse,
        ],
    ),
    Harness(
        "sealed",
        sealed,
        seeds([_BLOB, _SEALED, _QUERIES[7][1]], change(500, 1, 1), change(0, 99), change(1, 99)),
        [queries.open_query, queries.open_answer, Answer.parse, hpke.open_, aead.chacha_open],
    ),
    Harness(
        "small",
        small,
        seeds(_SMALL, change(31, 1), change(0, 1), change(32, 0xFF), change(39, 1)),
        [Stamp.parse, ReadCap.parse, WriteCap.parse, ReadCap.advance],
    ),
    Harness(
        "box",
        box,
        [b"", b"\x02", b"\x04", b"\x08", b"\xc0", b"\0\0" + change(9, 1, 1)],
        [open_, aead.siv_open],
    ),
]
