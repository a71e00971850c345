"""Records: what homes keep (docs/protocol/boxes.md, "Records").

    RECORD 17334 = key(32) | sig(64) | META(8) | STAMP(32) | c(17198)
    META         = type u8 | class u8 (days) | day u16 | seq u32

Rules
- `Record.parse` takes exactly 17334 bytes that follow the layout, or raises RemoteProtocolError.
- `validate` is the cheap half of a home's check (day, class, signature); the dear half is
  `mixmail.boxes.stamp.check`.
- Two records are identical if META and c are equal; signature and stamp may differ.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Collection
from dataclasses import dataclass

from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.status import Status
from mixmail.crypto import ed25519, hashing
from mixmail.encoding import require_length, require_zero
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, MAIL
from mixmail.randomness import Randomness

SIGN_LABEL = b"mm1-box\0"
TOMBSTONE_EXTRA_DAYS = 7  # outlives the box, which a holder may publish until its last day
ZERO_SIGNATURE = bytes(64)
ZERO_STAMP = bytes(GEOMETRY.stamp)
EMPTY_FIELD = bytes(GEOMETRY.record)  # a record-shaped field that says nothing
_NO_MORE = bytes(GEOMETRY.record - 32)  # behind the key in the field of a READ
VERSION_BYTES = 8
FIRST = bytes(32)  # the position before all entries of a queue

_META = struct.Struct(">BBHI")
_HEAD = struct.Struct(f">32s64s{_META.size}s{GEOMETRY.stamp}s")
_STAMP_BITS = slice(9, 10)
_STAMP_SERIAL = slice(12, 28)
_STAMP_RESERVED = slice(28, 32)


class RecordType(enum.IntEnum):
    """The first byte of META."""

    BOX = 0
    TOMBSTONE = 1
    MUTABLE = 2
    QUEUE = 3


def pack_meta(kind: RecordType, klass: int, day: int, seq: int) -> bytes:
    """META, 8 bytes; LocalProtocolError for numbers that do not fit."""
    if not (0 < klass < 2**8 and 0 <= day < 2**16 and 0 <= seq < 2**32):
        raise LocalProtocolError("class, day or sequence number does not fit into META")
    if seq and kind is not RecordType.MUTABLE:
        raise LocalProtocolError("only a MUTABLE record has a sequence number")
    return _META.pack(kind, klass, day, seq)


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `klass` is the storage class in days, `day` counts days since 1970-01-01 UTC."""

    key: bytes
    signature: bytes
    type: RecordType
    klass: int
    day: int
    seq: int
    stamp: bytes
    c: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Record:
        """The record in exactly 17334 bytes; RemoteProtocolError if the layout is broken."""
        require_length("record", raw, GEOMETRY.record)
        key, signature, meta, stamp = _HEAD.unpack_from(raw)
        number, klass, day, seq = _META.unpack(meta)
        try:
            kind = RecordType(number)
        except ValueError:
            raise RemoteProtocolError(f"no record has the type {number}") from None
        if seq and kind is not RecordType.MUTABLE:
            raise RemoteProtocolError("only a MUTABLE record has a sequence number")
        require_zero("the end of a stamp", stamp[_STAMP_RESERVED])
        c = raw[_HEAD.size :]
        if kind is RecordType.TOMBSTONE:
            require_zero("the text of a TOMBSTONE", c)
        return cls(key, signature, kind, klass, day, seq, stamp, c)

    def pack(self) -> bytes:
        """17334 bytes."""
        return _HEAD.pack(self.key, self.signature, self.meta, self.stamp) + self.c

    @property
    def meta(self) -> bytes:
        """META, 8 bytes."""
        return _META.pack(self.type, self.klass, self.day, self.seq)

    @property
    def body_hash(self) -> bytes:
        """BLAKE2b-256(c)."""
        return hashing.blake2b(self.c)

    @property
    def entry_id(self) -> bytes:
        """BLAKE2b-256(key | c): the name of a QUEUE entry."""
        return hashing.blake2b(self.key + self.c)

    @property
    def version(self) -> bytes:
        """8 bytes by which homes tell what one of them holds at `key` (docs/protocol/store.md, "Repair").

        BLAKE2b-256(META | BLAKE2b-256(c))[:8], so it is that of all identical records; of a QUEUE entry
        entry_id[:8], whatever its work and its day.
        """
        if self.type is RecordType.QUEUE:
            return self.entry_id[:VERSION_BYTES]
        return hashing.blake2b(self.meta + self.body_hash)[:VERSION_BYTES]

    @property
    def bits(self) -> int:
        """The work that the stamp claims."""
        return self.stamp[_STAMP_BITS][0]

    @property
    def position(self) -> bytes:
        """32 bytes whose byte order is the order of a queue: u8(255 - bits) | entry_id[:31].

        More work comes first.  It is the cursor of a QUEUE_READ: it says where to go on even at a
        home that does not hold (any more) the entry that it was taken from.
        """
        return bytes([255 - self.bits]) + self.entry_id[:31]

    @property
    def expiry_day(self) -> int:
        """The last day on which a home keeps the record."""
        extra = TOMBSTONE_EXTRA_DAYS if self.type is RecordType.TOMBSTONE else 0
        return self.day + self.klass + extra

    def expired(self, today: int) -> bool:
        """True from the day after `expiry_day` on."""
        return today > self.expiry_day

    def identical(self, other: Record) -> bool:
        """Same META and c."""
        return self.meta == other.meta and self.c == other.c

    def signed_message(self) -> bytes:
        """ "mm1-box\\0" | META | BLAKE2b-256(c), 48 bytes."""
        return SIGN_LABEL + self.meta + self.body_hash

    def check_signature(self) -> bool:
        """True if the owner of `key` signed; a QUEUE entry must have 64 zero bytes instead."""
        if self.type is RecordType.QUEUE:
            return self.signature == ZERO_SIGNATURE and ed25519.is_valid_point(self.key)
        return ed25519.verify(self.key, self.signed_message(), self.signature)

    def with_stamp(self, stamp: bytes) -> Record:
        """The same record under another stamp (32 bytes)."""
        return dataclasses.replace(self, stamp=stamp)


def validate(record: Record, today: int, classes: Collection[int] = MAIL.classes_days) -> Status:
    """The cheap checks of a home in their order: day, class, token, signature.

    OK, or the reason for refusal: REFUSED (a day after tomorrow, a storage class the network does
    not have, a token: there are none yet), EXPIRED, BAD_SIGNATURE.  The stamp is not looked at.
    """
    if record.day > today + 1:
        return Status.REFUSED
    if record.klass not in classes:
        return Status.REFUSED
    if record.expired(today):
        return Status.EXPIRED
    if any(record.stamp[_STAMP_SERIAL]):
        return Status.REFUSED
    return Status.OK if record.check_signature() else Status.BAD_SIGNATURE


def _unsigned(kind: RecordType, key: bytes, klass: int, day: int, seq: int, c: bytes) -> Record:
    if len(c) != GEOMETRY.box_ct:
        raise LocalProtocolError(f"the text of a record has {GEOMETRY.box_ct} bytes, not {len(c)}")
    pack_meta(kind, klass, day, seq)
    if kind is RecordType.TOMBSTONE and any(c):
        raise LocalProtocolError("the text of a TOMBSTONE is zero")
    return Record(key, ZERO_SIGNATURE, kind, klass, day, seq, ZERO_STAMP, c)


def sign_record(
    owner: OwnerKey, type: RecordType, klass: int, day: int, seq: int, c: bytes, rng: Randomness
) -> Record:
    """A signed BOX, TOMBSTONE or MUTABLE record at the owner's public key, with a zero stamp.

    `c` has 17198 bytes (zero in a TOMBSTONE).  LocalProtocolError for a QUEUE entry, which nobody
    signs, and for numbers that do not fit.
    """
    if type is RecordType.QUEUE:
        raise LocalProtocolError("a QUEUE entry carries no signature")
    record = _unsigned(type, owner.public, klass, day, seq, c)
    return dataclasses.replace(record, signature=owner.sign(record.signed_message(), rng))


def queue_entry(key: bytes, klass: int, day: int, c: bytes) -> Record:
    """An entry for the queue `key`, with zero signature and zero stamp; `c` has 17198 bytes."""
    return _unsigned(RecordType.QUEUE, key, klass, day, 0, c)


def key_field(key: bytes) -> bytes:
    """The record-shaped field of a READ: key(32) | zero."""
    return key + _NO_MORE


def parse_key_field(field: bytes) -> bytes:
    """The key in the field of a READ; RemoteProtocolError unless the rest is zero."""
    require_length("field", field, GEOMETRY.record)
    if not field.endswith(_NO_MORE):  # as `require_zero`, without a copy of 17 KB for each query
        raise RemoteProtocolError("the rest of a READ must be zero")
    return field[:32]
