"""Stamps: work that makes filling other people's disks dear (docs/protocol/boxes.md, "Stamps").

    STAMP 32 = nonce(8) | alg u8 | bits u8 | day u16 | token serial(16) | zero(4)

Rules
- No work is the stamp of 32 zero bytes.  Any other stamp has alg 1 and at least 1 bit.
- The hash covers the record's key, type and class, and the body of QUEUE and MUTABLE records.  The
  stamp of a BOX can so be solved before its text is written.
- Day of the stamp: the Monday of the week of META.day or of the week before, for a BOX; META.day
  for all others.
- A stamp that claims more than it did is worth nothing: claims order the queues.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mixmail.boxes.record import ZERO_STAMP, Record, RecordType
from mixmail.crypto import argon2
from mixmail.encoding import require_length, require_zero
from mixmail.errors import LocalProtocolError
from mixmail.params import NetworkParameters

LABEL = b"mm1.stamp"
SALT = LABEL + bytes(16 - len(LABEL))
ALG_NONE = 0
ALG_ARGON2ID = 1
PASSES = 1
WEEK = 7
NONCES = 2**64
NO_SERIAL = bytes(16)

_STAMP = struct.Struct(">8sBBH16s4s")
_MONDAY_OFFSET = 3  # day 0 was a Thursday: day -3 a Monday
_BODY_IN_HASH = (RecordType.QUEUE, RecordType.MUTABLE)


@dataclass(frozen=True, slots=True)
class Stamp:
    """The fields of a stamp; `day` counts days since 1970-01-01 UTC."""

    nonce: bytes
    alg: int
    bits: int
    day: int
    serial: bytes = NO_SERIAL

    def pack(self) -> bytes:
        """32 bytes."""
        return _STAMP.pack(self.nonce, self.alg, self.bits, self.day, self.serial, bytes(4))

    @classmethod
    def parse(cls, raw: bytes) -> Stamp:
        """From 32 bytes; RemoteProtocolError unless the last four are zero."""
        nonce, alg, bits, day, serial, rest = _STAMP.unpack(require_length("stamp", raw, _STAMP.size))
        require_zero("the end of a stamp", rest)
        return cls(nonce, alg, bits, day, serial)


def monday(day: int) -> int:
    """The Monday of the week in which `day` lies."""
    return day - (day + _MONDAY_OFFSET) % WEEK


def stamp_day(type: RecordType, meta_day: int) -> int:
    """The STAMP day with which to stamp a record of this type and META.day."""
    return monday(meta_day) if type is RecordType.BOX else meta_day


def day_fits(stamp_day: int, type: RecordType, meta_day: int) -> bool:
    """Whether a stamp of `stamp_day` may stand on a record of this type and META.day."""
    if type is RecordType.BOX:
        return monday(stamp_day) == stamp_day and stamp_day <= meta_day < stamp_day + 2 * WEEK
    return stamp_day == meta_day


def leading_zero_bits(digest: bytes) -> int:
    """How many bits, from the highest of the first byte on, are zero."""
    return len(digest) * 8 - int.from_bytes(digest, "big").bit_length()


def _prefix(network_hash: bytes, key: bytes, type: RecordType, klass: int, bits: int, day: int) -> bytes:
    return b"".join(
        (LABEL, network_hash, key, bytes([type, klass, ALG_ARGON2ID, bits]), day.to_bytes(2, "little"))
    )


def _work(params: NetworkParameters, prefix: bytes, body: bytes, nonce: bytes) -> int:
    digest = argon2.argon2id(prefix + body + nonce, SALT, params.stamp_memory, PASSES)
    return leading_zero_bits(digest)


def solve_for(
    network_hash: bytes,
    params: NetworkParameters,
    key: bytes,
    type: RecordType,
    klass: int,
    body: bytes,
    bits: int,
    day: int,
    start: int,
    attempts: int,
) -> bytes | None:
    """A stamp (32 bytes) of `bits` and STAMP day `day` for the record that will stand at `key`.

    `body` is BLAKE2b-256(c) for QUEUE and MUTABLE and empty for BOX and TOMBSTONE.  Tries the
    nonces start .. start + attempts - 1 (mod 2^64); None if none of them will do.
    """
    if bits == 0:
        return ZERO_STAMP
    if not 0 < bits <= params.max_bits:
        raise LocalProtocolError(f"a stamp has at most {params.max_bits} bits, not {bits}")
    if not 0 <= day < 2**16:
        raise LocalProtocolError("the day of a stamp does not fit into 16 bits")
    prefix = _prefix(network_hash, key, type, klass, bits, day)
    for count in range(attempts):
        nonce = ((start + count) % NONCES).to_bytes(8, "big")
        if _work(params, prefix, body, nonce) >= bits:
            return Stamp(nonce, ALG_ARGON2ID, bits, day).pack()
    return None


def solve(
    network_hash: bytes,
    params: NetworkParameters,
    record: Record,
    bits: int,
    day: int,
    start: int,
    attempts: int,
) -> Record | None:
    """`record` under a stamp of `bits`, or None if no nonce of this chunk of work will do.

    `day` is the STAMP day: `stamp_day(record.type, record.day)`.
    """
    if bits and not day_fits(day, record.type, record.day):
        raise LocalProtocolError(f"a stamp of day {day} does not fit a record of day {record.day}")
    found = solve_for(
        network_hash,
        params,
        record.key,
        record.type,
        record.klass,
        body_of(record),
        bits,
        day,
        start,
        attempts,
    )
    return None if found is None else record.with_stamp(found)


def body_of(record: Record) -> bytes:
    """What of its text a record's stamp covers: `body` of `solve_for`."""
    return record.body_hash if record.type in _BODY_IN_HASH else b""


def is_plausible(params: NetworkParameters, record: Record, needed_bits: int) -> bool:
    """The cheap half of `check`: the claim suffices, and the fields follow the rules."""
    if record.stamp == ZERO_STAMP:
        return needed_bits <= 0
    stamp = Stamp.parse(record.stamp)
    return (
        stamp.alg == ALG_ARGON2ID
        and max(1, needed_bits) <= stamp.bits <= params.max_bits
        and stamp.serial == NO_SERIAL
        and day_fits(stamp.day, record.type, record.day)
    )


def check(network_hash: bytes, params: NetworkParameters, record: Record, needed_bits: int) -> bool:
    """True if the stamp claims at least `needed_bits` and did the work that it claims.

    One Argon2id (dear), none for a stamp that claims nothing or is not plausible.
    """
    if not is_plausible(params, record, needed_bits):
        return False
    if record.bits == 0:
        return True
    stamp = Stamp.parse(record.stamp)
    prefix = _prefix(network_hash, record.key, record.type, record.klass, stamp.bits, stamp.day)
    return _work(params, prefix, body_of(record), stamp.nonce) >= stamp.bits
