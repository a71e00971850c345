"""Vectors of what a home takes and refuses: points that are no keys, new records, requests for a queue, and
the life of one queue.  Each expected word is written down here; the code has to say the same."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

from box_vectors import DAY, HOUR, NETWORK_HASH, OWNER, REPLY_KEY, TINY, Named, derived

from mixmail.boxes import stamp
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import QueryOp, QueueRequest
from mixmail.boxes.record import FIRST, Record, RecordType, queue_entry, sign_record, validate
from mixmail.boxes.stamp import Stamp
from mixmail.boxes.status import Status
from mixmail.crypto import ed25519
from mixmail.errors import RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.testing import MemoryStore

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
SIGN = 2**255
Y8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
LOW_ORDER = {
    1: (1, 1 + SIGN, P + 1, P + 1 + SIGN),
    2: (P - 1, P - 1 + SIGN),
    4: (0, SIGN, P, P + SIGN),
    8: (Y8, Y8 + SIGN, P - Y8, P - Y8 + SIGN),
}
"""All 14 encodings of the 8 points, also those that are not canonical: order -> y and the sign of x."""
IDENTITY = (1).to_bytes(32, "little")
PARAMS = dataclasses.replace(TINY, box_bits=4, stranger_bits=6)
OTHER = OwnerKey.from_seed(derived("another owner", 32), "mm1.root")
ATTEMPTS = 2**20


def low_order() -> Iterator[tuple[str, int, bytes]]:
    """Name, order and encoding of each."""
    for order, values in LOW_ORDER.items():
        for number, value in enumerate(values, 1):
            yield f"order {order}, encoding {number}", order, value.to_bytes(32, "little")


def mixed_key() -> bytes:
    """OWNER's key and the point of order two added: (x, y) becomes (-x, -y)."""
    encoded = int.from_bytes(OWNER.public, "little")
    return (P - encoded % SIGN + (~encoded & SIGN)).to_bytes(32, "little")


def invalid_points_json() -> list[dict[str, Any]]:
    points = [(f"of {name}", point) for name, _, point in low_order()]
    points.append(("of order 2 L", mixed_key()))
    points.append(("not on the curve", (2).to_bytes(32, "little")))
    points.append(("y is not below p", bytes([0xFF]) * 31 + b"\x7f"))
    for _, point in points:
        assert not ed25519.is_valid_point(point)
    return [{"why": why, "point": point.hex()} for why, point in points]


# new records


def stamped(record: Record, bits: int = 0, day: int = -1, network_hash: bytes = NETWORK_HASH) -> Record:
    """Under a stamp that did its work for this day, allowed or not."""
    queue = record.type is RecordType.QUEUE
    with_body = queue or record.type is RecordType.MUTABLE
    found = stamp.solve_for(
        network_hash,
        PARAMS,
        record.key,
        record.type,
        record.klass,
        record.body_hash if with_body else b"",
        bits or (PARAMS.stranger_bits if queue else PARAMS.box_bits),
        stamp.stamp_day(record.type, record.day) if day < 0 else day,
        0,
        ATTEMPTS,
    )
    assert found is not None
    return record.with_stamp(found)


def made(kind: RecordType, klass: int = 30, day: int = DAY, owner: OwnerKey = OWNER, c: str = "c") -> Record:
    """A record that follows the rules, if class and day do."""
    text = derived(c, GEOMETRY.box_ct) if kind is not RecordType.TOMBSTONE else bytes(GEOMETRY.box_ct)
    if kind is RecordType.QUEUE:
        return stamped(queue_entry(owner.public, klass, day, text))
    seq = 7 if kind is RecordType.MUTABLE else 0
    return stamped(sign_record(owner, kind, klass, day, seq, text, Named("sign at home")))


def with_stamp(record: Record, **fields: Any) -> Record:
    return record.with_stamp(dataclasses.replace(Stamp.parse(record.stamp), **fields).pack())


def of_days_and_classes(kind: RecordType) -> Iterator[tuple[str, Record, Status]]:
    more = 7 if kind is RecordType.TOMBSTONE else 0
    yield "good", made(kind), Status.STORED
    yield "of tomorrow", made(kind, day=DAY + 1), Status.STORED
    yield "of the day after tomorrow", made(kind, day=DAY + 2), Status.REFUSED
    yield "of the last day there is", made(kind, day=2**16 - 1), Status.REFUSED
    for klass in PARAMS.classes_days:
        yield f"class {klass}, on its last day", made(kind, klass, DAY - klass - more), Status.STORED
        yield f"class {klass}, expired", made(kind, klass, DAY - klass - more - 1), Status.EXPIRED
    for klass in (1, 8, 255):
        yield f"class {klass}", made(kind, klass), Status.REFUSED
    yield "class 1, expired: the class is looked at first", made(kind, 1, DAY - 200), Status.REFUSED
    over = dataclasses.replace(made(kind, 7, DAY - 50), signature=b"\1" * 64)
    yield "expired, forged: the day is looked at first", over, Status.EXPIRED
    yield "with a token", with_stamp(made(kind), serial=bytes(15) + b"\1"), Status.REFUSED


def of_signatures(kind: RecordType) -> Iterator[tuple[str, Record, Status]]:
    good = made(kind)
    if kind is RecordType.QUEUE:
        yield "with a signature", dataclasses.replace(good, signature=bytes(63) + b"\1"), Status.BAD_SIGNATURE
        for name, _, point in low_order():
            bad = stamped(dataclasses.replace(good, key=point))
            yield f"at a point of {name}", bad, Status.BAD_SIGNATURE
        bad = stamped(dataclasses.replace(good, key=mixed_key()))
        yield "at a point of order 2 L", bad, Status.BAD_SIGNATURE
        return
    for what, changes in {
        "signed by somebody else": {"key": OTHER.public},
        "with no signature": {"signature": bytes(64)},
        "with the R of another": {"signature": made(kind, 7).signature[:32] + good.signature[32:]},
        "with another day than was signed": {"day": DAY - 1},
        "with another class than was signed": {"klass": 90},
        "with S + L in the place of S": {"signature": good.signature[:32] + unreduced(good)},
    }.items():
        bad = stamped(dataclasses.replace(good, **changes))  # type: ignore[arg-type]
        yield what, bad, Status.BAD_SIGNATURE
    other_type = RecordType.MUTABLE if kind is RecordType.BOX else RecordType.BOX
    if kind is not RecordType.TOMBSTONE:
        bad = stamped(dataclasses.replace(good, type=other_type, seq=0))
        yield f"with the type {other_type.name}, which was not signed", bad, Status.BAD_SIGNATURE
    for name, order, point in low_order():
        bad = stamped(forged_by(kind, order, point))
        yield f"at a point of {name}, R the identity, S zero", bad, Status.BAD_SIGNATURE
    for name, _, point in low_order():
        bad = dataclasses.replace(good, signature=point + answer_to(good, point))
        yield f"a good key, R of {name}", bad, Status.BAD_SIGNATURE
    yield "at a point of order 2 L that libsodium verifies", stamped(mixed(kind)), Status.BAD_SIGNATURE


def unreduced(record: Record) -> bytes:
    return (int.from_bytes(record.signature[32:], "little") + ORDER).to_bytes(32, "little")


def challenge(commitment: bytes, record: Record) -> bytes:
    return hashlib.sha512(commitment + record.key + record.signed_message()).digest()


def answer_to(record: Record, commitment: bytes) -> bytes:
    """S for an R of low order: with the identity the equation of RFC 8032 holds, with others times eight."""
    return ed25519.scalar_mul(ed25519.reduce(challenge(commitment, record)), OWNER.scalar)


def forged_by(kind: RecordType, order: int, point: bytes) -> Record:
    """A record of a class and a day for which S·B = R + h·point holds with R the identity and S zero."""
    for klass in PARAMS.classes_days:
        for day in range(DAY - klass, DAY + 2):
            text = bytes(GEOMETRY.box_ct) if kind is RecordType.TOMBSTONE else derived("c", GEOMETRY.box_ct)
            record = Record(point, IDENTITY + bytes(32), kind, klass, day, 0, bytes(32), text)
            if int.from_bytes(challenge(IDENTITY, record), "little") % ORDER % order == 0:
                return record
    raise AssertionError("no day fits")


def mixed(kind: RecordType) -> Record:
    """By the first random bytes with an even challenge: the part of order two falls out of the equation."""
    good = dataclasses.replace(made(kind), key=mixed_key())
    for number in range(64):
        rand = derived(f"mixed {number}", 32)
        message = good.signed_message()
        signature = ed25519.sign_with_scalar(OWNER.scalar, good.key, OWNER.prefix, message, rand)
        if int.from_bytes(challenge(signature[:32], good), "little") % ORDER % 2 == 0:
            return dataclasses.replace(good, signature=signature)
    raise AssertionError("no even challenge")


def of_stamps(kind: RecordType) -> Iterator[tuple[str, Record, Status]]:
    good, bad = made(kind), Status.BAD_STAMP
    own, monday = Stamp.parse(good.stamp), stamp.monday(DAY)
    yield "with more work than is asked", stamped(good, own.bits + 2), Status.STORED
    yield "without work", good.with_stamp(bytes(32)), bad
    yield "with a bit too few", stamped(good, own.bits - 1), bad
    yield "that claims 24 bits and did not do them", with_stamp(good, bits=24), bad
    yield "that claims 25 bits", with_stamp(good, bits=25), bad
    yield "that claims 0 bits", with_stamp(good, bits=0), bad
    yield "with algorithm 0", with_stamp(good, alg=0), bad
    yield "with algorithm 2", with_stamp(good, alg=2), bad
    yield "with the stamp of another key", good.with_stamp(made(kind, owner=OTHER).stamp), bad
    yield "with the stamp of another class", good.with_stamp(made(kind, 7).stamp), bad
    yield "with the stamp of another network", stamped(good, network_hash=bytes(32)), bad
    if kind is RecordType.BOX:
        yield "with the stamp of the week before", stamped(good, day=monday - 7), Status.STORED
        yield "with the stamp of two weeks before", stamped(good, day=monday - 14), bad
        yield "with the stamp of the week after", stamped(good, day=monday + 7), bad
        yield "with the stamp of a Tuesday", stamped(good, day=monday + 1), bad
    else:
        yield "with the stamp of the day before", stamped(good, day=DAY - 1), bad
        yield "with the stamp of the day after", stamped(good, day=DAY + 1), bad
    if kind in (RecordType.MUTABLE, RecordType.QUEUE):
        yield "with the stamp of another text", good.with_stamp(made(kind, c="another c").stamp), bad


def of_layout(kind: RecordType) -> Iterator[tuple[str, bytes]]:
    """What nobody can read as a record; the head of it."""
    raw = made(kind).pack()[:136]
    yield "of type 4", raw[:96] + b"\4" + raw[97:]
    yield "of type 255", raw[:96] + b"\xff" + raw[97:]
    yield "with a longer stamp", raw[:132] + b"\1" + raw[133:]
    if kind is not RecordType.MUTABLE:
        yield "with a sequence number", raw[:103] + b"\1" + raw[104:]


def home_says(raw: bytes) -> Status:
    """The code's word for a new record on the day DAY."""
    try:
        record = Record.parse(raw)
    except RemoteProtocolError:
        return Status.REFUSED
    status = validate(record, DAY, PARAMS.classes_days)
    needed = PARAMS.stranger_bits if record.type is RecordType.QUEUE else PARAMS.box_bits
    if status is Status.OK and not stamp.check(NETWORK_HASH, PARAMS, record, needed):
        return Status.BAD_STAMP
    return Status.STORED if status is Status.OK else status


def home_json() -> dict[str, Any]:
    rows = []
    for kind in RecordType:
        cases = [*of_days_and_classes(kind), *of_signatures(kind), *of_stamps(kind)]
        heads = [(why, record.pack()[:136], status) for why, record, status in cases]
        heads += [(why, head, Status.REFUSED) for why, head in of_layout(kind)]
        for why, head, status in heads:
            c_seed = "" if kind is RecordType.TOMBSTONE else "c"
            c = derived(c_seed, GEOMETRY.box_ct) if c_seed else bytes(GEOMETRY.box_ct)
            assert home_says(head + c) is status, (kind, why, status)
            row = {"why": f"{kind.name} {why}", "head": head.hex(), "c_seed": c_seed, "status": status.name}
            rows.append(row)
    return {
        "network_hash": NETWORK_HASH.hex(),
        "memory_bytes": PARAMS.stamp_memory,
        "box_bits": PARAMS.box_bits,
        "stranger_bits": PARAMS.stranger_bits,
        "today": DAY,
        "records": rows,
    }


# requests for a queue, and its life


def queue_requests_json() -> dict[str, Any]:
    read, delete = QueryOp.QUEUE_READ, QueryOp.QUEUE_DELETE
    rows = []

    def add(why: str, op: QueryOp, request: QueueRequest, status: Status) -> None:
        said = Status.OK if request.verify(op, HOUR) else Status.BAD_SIGNATURE
        said = said if request.answers_to(REPLY_KEY) else Status.REFUSED
        assert said is status, (why, said)
        head = request.to_field()[:164].hex()
        rows.append({"why": f"{op.name} {why}", "op": op.name, "field_head": head, "status": status.name})

    for op, other in ((read, delete), (delete, read)):

        def by(
            owner: OwnerKey = OWNER, op: QueryOp = op, hour: int = HOUR, after: bytes = FIRST
        ) -> QueueRequest:
            return QueueRequest.create(owner, op, after, hour, REPLY_KEY, Named("sign request"))

        for late in (-1, 0, 1):
            add(f"of hour {late:+}", op, by(hour=HOUR + late), Status.OK)
        for hour in (HOUR - 2, HOUR + 2, 0, 2**32 - 1):
            add(f"of hour {hour - HOUR:+}", op, by(hour=hour), Status.BAD_SIGNATURE)
        add("with the highest cursor", op, by(after=b"\xff" * 32), Status.OK)
        add("by another owner", op, dataclasses.replace(by(OTHER), key=OWNER.public), Status.BAD_SIGNATURE)
        add("signed for the other operation", op, by(op=other), Status.BAD_SIGNATURE)
        moved = dataclasses.replace(by(), after=b"\1" + bytes(31))
        add("with another cursor than was signed", op, moved, Status.BAD_SIGNATURE)
        stolen = QueueRequest.create(OWNER, op, FIRST, HOUR, derived("stolen", 32), Named("sign request"))
        add("for another reply key", op, stolen, Status.REFUSED)
        for name, order, point in low_order():
            forged = forged_request(op, order, point, by())
            add(f"at a point of {name}, R the identity, S zero", op, forged, Status.BAD_SIGNATURE)
    return {"hour": HOUR, "reply_key": REPLY_KEY.hex(), "requests": rows}


def forged_request(op: QueryOp, order: int, point: bytes, like: QueueRequest) -> QueueRequest:
    """With a cursor for which the equation holds."""
    for number in range(1_000):
        after = number.to_bytes(32, "big")
        message = b"mm1-queue" + bytes([op]) + point + after + like.reply_hash + HOUR.to_bytes(4, "little")
        value = int.from_bytes(hashlib.sha512(IDENTITY + point + message).digest(), "little")
        if value % ORDER % order == 0:
            return QueueRequest(point, after, HOUR, IDENTITY + bytes(32), like.reply_hash)
    raise AssertionError("no cursor fits")


# what, number of the entry, bits, its day, today, the word for it (days from DAY on, class 7)
LIFE: tuple[tuple[str, int, int, int, int, Status], ...] = (
    ("add", 0, 4, 0, 0, Status.STORED),
    ("add", 0, 4, 0, 0, Status.OK),
    ("add", 0, 2, 0, 0, Status.OK),
    ("add", 1, 6, 0, 0, Status.STORED),
    ("add", 2, 4, 0, 0, Status.STORED),
    ("add", 3, 3, 0, 0, Status.FULL),
    ("add", 3, 5, 0, 0, Status.STORED),
    ("add", 4, 3, 0, 0, Status.FULL),
    ("add", 4, 7, 0, 0, Status.STORED),
    ("add", 4, 9, 0, 0, Status.STORED),
    ("delete", 9, 0, 0, 0, Status.NOT_FOUND),
    ("delete", 1, 0, 0, 0, Status.OK),
    ("delete", 1, 0, 0, 0, Status.OK),
    ("add", 1, 20, 0, 0, Status.OK),
    ("add", 2, 4, 3, 3, Status.STORED),
    ("delete", 2, 0, 3, 3, Status.OK),
    ("add", 1, 20, 7, 7, Status.OK),
    ("add", 4, 9, 0, 8, Status.EXPIRED),
    ("add", 1, 1, 8, 8, Status.STORED),
    ("add", 2, 8, 8, 8, Status.OK),
    ("add", 5, 2, 8, 8, Status.STORED),
    ("add", 2, 8, 11, 11, Status.STORED),
    ("delete", 1, 0, 8, 11, Status.OK),
)
LIFE_LIMIT = 3


def queue_life_json() -> dict[str, Any]:
    store, steps = MemoryStore(), []
    for what, number, bits, day, today, status in LIFE:
        text = derived(f"entry {number}", GEOMETRY.box_ct)
        one = queue_entry(OWNER.public, 7, DAY + day, text)
        if bits:
            one = one.with_stamp(Stamp(bytes(8), 1, bits, DAY + day).pack())
        if what == "add":
            said = store.queue_add(one, DAY + today, LIFE_LIMIT)
        else:
            said = store.queue_delete(OWNER.public, one.entry_id)
        assert said is status, (what, number, said)
        listed = [
            entry for entry in store.queue_list(OWNER.public, FIRST, 99) if not entry.expired(DAY + today)
        ]
        step = {"what": what, "c_seed": f"entry {number}", "entry_id": one.entry_id.hex()}
        if what == "add":
            step |= {"bits": bits, "day": DAY + day}
        steps.append(
            {
                **step,
                "today": DAY + today,
                "status": status.name,
                "queue": [entry.position.hex() for entry in listed],
            }
        )
    return {"limit": LIFE_LIMIT, "class": 7, "steps": steps}
