"""Boxes, records and stamps, written from docs/protocol/boxes.md alone."""

from __future__ import annotations

from dataclasses import dataclass

import nacl.pwhash
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from spec_primitives import (
    ORDER,
    Refused,
    blake2b,
    h512,
    owner_keys,
    point_is_valid,
    reduce_scalar,
    sign,
    signature_is_good,
    times_point,
    u16be,
    u16le,
    u32be,
    u64be,
    u64le,
)

TEXT, SEALED, RECORD = 17182, 17198, 17334
BOX, TOMBSTONE, MUTABLE, QUEUE = 0, 1, 2, 3
TYPES = {"BOX": BOX, "TOMBSTONE": TOMBSTONE, "MUTABLE": MUTABLE, "QUEUE": QUEUE}
CLASSES = (7, 30, 90)
NO_STAMP = bytes(32)
STAMP_SALT = b"mm1.stamp" + bytes(7)
STAMP_MEMORY = 8 * 1024 * 1024
MAX_BITS = 24


# Records.


@dataclass(frozen=True)
class Record:
    key: bytes
    signature: bytes
    meta: bytes
    stamp: bytes
    c: bytes

    @property
    def type(self) -> int:
        return self.meta[0]

    @property
    def keep_days(self) -> int:
        return self.meta[1]

    @property
    def day(self) -> int:
        return int.from_bytes(self.meta[2:4], "big")

    @property
    def seq(self) -> int:
        return int.from_bytes(self.meta[4:], "big")

    @property
    def last_day(self) -> int:
        return self.day + self.keep_days + (7 if self.type == TOMBSTONE else 0)

    def encode(self) -> bytes:
        return self.key + self.signature + self.meta + self.stamp + self.c

    def signed_message(self) -> bytes:
        return b"mm1-box\0" + self.meta + blake2b(256, self.c)

    def entry_id(self) -> bytes:
        return blake2b(256, self.key + self.c)

    def position(self) -> bytes:
        return position(self.entry_id(), stamp_bits(self.stamp))


def make_meta(type_: int, keep_days: int, day: int, seq: int = 0) -> bytes:
    return bytes([type_, keep_days]) + u16be(day) + u32be(seq)


def position(entry_id: bytes, bits: int) -> bytes:
    return bytes([255 - bits]) + entry_id[:31]


def parse_record(raw: bytes) -> Record:
    """The checks of everybody who reads a record, without the signature."""
    if len(raw) != RECORD:
        raise Refused("record length")
    record = Record(raw[:32], raw[32:96], raw[96:104], raw[104:136], raw[136:])
    if record.type > QUEUE:
        raise Refused("record type")
    if record.type != MUTABLE and record.seq:
        raise Refused("seq outside of MUTABLE")
    if record.type == TOMBSTONE and any(record.c):
        raise Refused("TOMBSTONE with a text")
    if any(record.stamp[28:]):
        raise Refused("end of the stamp")
    return record


def check_authentic(record: Record) -> None:
    """The signature, or what a QUEUE entry has in its place."""
    if record.type == QUEUE:
        if any(record.signature) or not point_is_valid(record.key):
            raise Refused("QUEUE signature or key")
    elif not signature_is_good(record.key, record.signed_message(), record.signature):
        raise Refused("signature")


def make_record(scalar: int, prefix: bytes, key: bytes, meta: bytes, c: bytes, rand32: bytes) -> Record:
    unsigned = Record(key, bytes(64), meta, NO_STAMP, c)
    if meta[0] == QUEUE:
        return unsigned
    signature = sign(scalar, prefix, unsigned.signed_message(), rand32)
    return Record(key, signature, meta, NO_STAMP, c)


def decide(old: Record, new: Record, *, repair: bool) -> str:
    """Which of two stays: the first line of the table that fits."""
    if (old.meta, old.c) == (new.meta, new.c):
        return "OK"
    if old.type != new.type:
        both = {old.type, new.type}
        new_stays = new.type == TOMBSTONE or (both == {BOX, MUTABLE} and repair and new.type == BOX)
    elif old.seq != new.seq:
        new_stays = new.seq > old.seq
    else:
        ranks = [(blake2b(256, record.c), record.meta) for record in (old, new)]
        new_stays = repair and ranks[1] < ranks[0]
    return "STORED" if new_stays else "EXISTS"


# Streams and capabilities.


@dataclass(frozen=True)
class Box:
    """What a capability gives for one index; the scalar is None for those who only read."""

    index: int
    chain: bytes  # H
    e_key: bytes  # E
    k_key: bytes  # K
    next_chain: bytes
    factor: int  # k
    box_id: bytes  # M
    enc: bytes  # e
    public: bytes  # A
    scalar: int | None = None


def box_at(public: bytes, index: int, chain: bytes, ctx: bytes, root: int | None = None) -> Box:
    x = h512("mm1.box.step.a", chain, u64le(index))
    y = h512("mm1.box.step.b", chain, u64le(index))
    e_key, k_key = x[32:], y[:32]
    factor = reduce_scalar(h512("mm1.box.blind", k_key, public, ctx))
    box_id = times_point(factor, public)
    enc = h512("mm1.box.enc", e_key, ctx, box_id)[:32]
    scalar = None if root is None else root * factor % ORDER
    return Box(index, chain, e_key, k_key, x[:32], factor, box_id, enc, public, scalar)


def split_cap(cap: bytes) -> tuple[bytes, int, bytes]:
    if len(cap) != 72:
        raise Refused("capability length")
    return cap[:32], int.from_bytes(cap[32:40], "big"), cap[40:]


def read_cap(public: bytes, index: int, chain: bytes) -> bytes:
    return public + u64be(index) + chain


def box_of_read_cap(cap: bytes, ctx: bytes) -> Box:
    public, index, chain = split_cap(cap)
    if not point_is_valid(public):
        raise Refused("A of a capability")
    return box_at(public, index, chain, ctx)


def box_of_write_cap(cap: bytes, ctx: bytes) -> tuple[Box, bytes]:
    """The box and the prefix of the root, which makes its signatures' nonces."""
    seed, index, chain = split_cap(cap)
    a, prefix, public = owner_keys(seed, "mm1.root")
    return box_at(public, index, chain, ctx, a), prefix


def seal(box: Box, meta: bytes, text: bytes) -> bytes:
    if len(text) != TEXT:
        raise ValueError("text length")
    return AESGCMSIV(box.enc).encrypt(box.box_id[:12], text, box.box_id + meta)


def read_box(box: Box, raw: bytes) -> bytes:
    """The text in a record that was asked for at box.box_id."""
    record = parse_record(raw)
    if record.key != box.box_id or record.type != BOX:
        raise Refused("not the record of this box")
    check_authentic(record)
    try:
        return AESGCMSIV(box.enc).decrypt(box.box_id[:12], record.c, box.box_id + record.meta)
    except InvalidTag:
        raise Refused("the text does not open") from None


# Stamps.


def stamp_bits(stamp: bytes) -> int:
    return 0 if stamp == NO_STAMP else stamp[9]


def leading_zeros(digest: bytes) -> int:
    return len(digest) * 8 - int.from_bytes(digest, "big").bit_length()


def stamp_day_fits(type_: int, record_day: int, stamp_day: int) -> bool:
    if type_ == BOX:
        return (stamp_day + 3) % 7 == 0 and stamp_day <= record_day < stamp_day + 14
    return stamp_day == record_day


def stamp_work(network: bytes, record: Record, stamp: bytes, memory: int) -> int:
    """How many zero bits the stamp's hash begins with."""
    body = blake2b(256, record.c) if record.type in (QUEUE, MUTABLE) else b""
    return work_of(network, record.key, record.type, record.keep_days, body, stamp, memory)


def work_of(
    network: bytes, key: bytes, type_: int, keep_days: int, body: bytes, stamp: bytes, memory: int
) -> int:
    nonce, alg, bits, day = stamp[:8], stamp[8], stamp[9], int.from_bytes(stamp[10:12], "big")
    password = b"mm1.stamp" + network + key + bytes([type_, keep_days, alg, bits]) + u16le(day) + body + nonce
    return leading_zeros(nacl.pwhash.argon2id.kdf(32, password, STAMP_SALT, opslimit=1, memlimit=memory))


def check_stamp_form(type_: int, record_day: int, stamp: bytes) -> None:
    """All of a stamp but its work."""
    if len(stamp) != 32 or any(stamp[12:28]) or any(stamp[28:]):
        raise Refused("stamp: length, token or end")
    if stamp == NO_STAMP:
        return
    if stamp[8] != 1 or not 1 <= stamp[9] <= MAX_BITS:
        raise Refused("stamp: alg or bits")
    if not stamp_day_fits(type_, record_day, int.from_bytes(stamp[10:12], "big")):
        raise Refused("stamp: day")


def make_stamp(nonce: int, bits: int, day: int) -> bytes:
    return u64be(nonce) + bytes([1, bits]) + u16be(day) + bytes(20)
