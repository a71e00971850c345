"""Capability boxes: streams of boxes that only their writer can fill and only readers can find.

Construction and every hash input: docs/protocol/boxes.md, "Capabilities".  A write capability is
a seed, a read capability the root's public key; both carry a one-way chain, so an advanced
capability says nothing about the boxes before it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from mixmail.boxes.blinding import SEED_BYTES, OwnerKey, blind_public
from mixmail.boxes.record import Record, RecordType, pack_meta, sign_record
from mixmail.crypto import aead, ed25519, hashing
from mixmail.encoding import require_length, u64le
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.randomness import Randomness

ROOT_PERSON = "mm1.root"
CHAIN_BYTES = 32
STREAM_SEED_BYTES = SEED_BYTES + CHAIN_BYTES
LAST_INDEX = 2**64 - 1

_CAP = struct.Struct(">32sQ32s")
MAX_FIRST_INDEX = 2**63
"""Where a stream may begin for a reader: from there nobody comes to the end of the numbers."""
CAP_BYTES = _CAP.size


class _Step(NamedTuple):
    chain: bytes  # H_{i+1}
    sealing: bytes  # E_i
    blinding: bytes  # K_i


def _step(chain: bytes, index: int) -> _Step:
    """One step of the ratchet: what H_i gives for index i."""
    x = hashing.h512("mm1.box.step.a", chain, u64le(index))
    y = hashing.h512("mm1.box.step.b", chain, u64le(index))
    return _Step(x[:32], x[32:], y[:32])


def _next(chain: bytes, index: int) -> tuple[int, bytes]:
    if index >= LAST_INDEX:
        raise LocalProtocolError("this stream has no further index")
    return index + 1, _step(chain, index).chain


def _factor(blinding: bytes, root: bytes, ctx: bytes) -> bytes:
    return ed25519.reduce(hashing.h512("mm1.box.blind", blinding, root, ctx))


def _sealing_key(sealing: bytes, ctx: bytes, box_id: bytes) -> bytes:
    return hashing.h512("mm1.box.enc", sealing, ctx, box_id)[:32]


@dataclass(frozen=True, slots=True)
class ReadCap:
    """May find, check and open box `index` of a stream and all later ones."""

    public: bytes
    index: int
    chain: bytes = field(repr=False)

    def box_id(self, ctx: bytes = b"") -> bytes:
        """M_i, the key of the record of this index under the context `ctx`; 32 bytes."""
        return blind_public(self.public, _factor(_step(self.chain, self.index).blinding, self.public, ctx))

    def advance(self) -> ReadCap:
        """The capability from the next index on; it does not give back this one."""
        index, chain = _next(self.chain, self.index)
        return ReadCap(self.public, index, chain)

    def pack(self) -> bytes:
        """A(32) | i u64 | H_i(32), 72 bytes."""
        return _CAP.pack(self.public, self.index, self.chain)

    @classmethod
    def parse(cls, raw: bytes) -> ReadCap:
        """From 72 bytes; RemoteProtocolError for another length or a point that may not be a key."""
        public, index, chain = _CAP.unpack(require_length("read capability", raw, CAP_BYTES))
        if not ed25519.is_valid_point(public):
            raise RemoteProtocolError("the key in a read capability is not a valid point")
        if index > MAX_FIRST_INDEX:
            raise RemoteProtocolError("the index in a read capability is beyond any stream")
        return cls(public, index, chain)


@dataclass(frozen=True, slots=True)
class WriteCap:
    """May write box `index` of a stream and all later ones."""

    seed: bytes = field(repr=False)
    index: int
    chain: bytes = field(repr=False)

    @classmethod
    def create(cls, seed: bytes) -> WriteCap:
        """The start of a stream from 64 random bytes: root seed(32) | H_0(32)."""
        if len(seed) != STREAM_SEED_BYTES:
            raise LocalProtocolError(f"a stream starts from 64 random bytes, not {len(seed)}")
        return cls(seed[:SEED_BYTES], 0, seed[SEED_BYTES:])

    @property
    def root(self) -> OwnerKey:
        """The root key pair (a, A)."""
        return OwnerKey.from_seed(self.seed, ROOT_PERSON)

    def owner(self, ctx: bytes = b"") -> OwnerKey:
        """The key pair (a_i, M_i) of this index."""
        root = self.root
        return root.blind(_factor(_step(self.chain, self.index).blinding, root.public, ctx))

    def read_cap(self) -> ReadCap:
        """The read capability from this index on."""
        return ReadCap(self.root.public, self.index, self.chain)

    def advance(self) -> WriteCap:
        """The capability from the next index on; it does not give back this one's keys."""
        index, chain = _next(self.chain, self.index)
        return WriteCap(self.seed, index, chain)

    def pack(self) -> bytes:
        """seed(32) | i u64 | H_i(32), 72 bytes."""
        return _CAP.pack(self.seed, self.index, self.chain)

    @classmethod
    def parse(cls, raw: bytes) -> WriteCap:
        """From 72 bytes; RemoteProtocolError for another length."""
        return cls(*_CAP.unpack(require_length("write capability", raw, CAP_BYTES)))


def _aad(box_id: bytes, meta: bytes) -> bytes:
    return box_id + meta


def seal(cap: WriteCap, text: bytes, klass: int, day: int, rng: Randomness, ctx: bytes = b"") -> Record:
    """The signed BOX of the capability's index around `text` (17182 bytes), with a zero stamp.

    `klass` is the storage class in days and `day` the record's day.  Sealing is deterministic and
    misuse resistant (AES-256-GCM-SIV): two texts under one index reveal only whether they are
    equal.  LocalProtocolError for another length of text.
    """
    if len(text) != GEOMETRY.box_text:
        raise LocalProtocolError(f"a box holds {GEOMETRY.box_text} bytes, not {len(text)}")
    owner = cap.owner(ctx)
    box_id = owner.public
    meta = pack_meta(RecordType.BOX, klass, day, 0)
    key = _sealing_key(_step(cap.chain, cap.index).sealing, ctx, box_id)
    c = aead.siv_seal(key, box_id[:12], text, _aad(box_id, meta))
    return sign_record(owner, RecordType.BOX, klass, day, 0, c, rng)


def entomb(cap: WriteCap, box: Record, rng: Randomness, ctx: bytes = b"") -> Record:
    """The TOMBSTONE that removes `box`, a box of the capability's index: same class and day."""
    owner = cap.owner(ctx)
    if box.key != owner.public:
        raise LocalProtocolError("this capability did not write that box")
    return sign_record(owner, RecordType.TOMBSTONE, box.klass, box.day, 0, bytes(GEOMETRY.box_ct), rng)


def open_(cap: ReadCap, record: Record, ctx: bytes = b"") -> bytes:
    """The text (17182 bytes) of the box of the capability's index.

    RemoteProtocolError if the record is another box, no BOX, not signed by its key, or not sealed
    by this stream.
    """
    box_id = cap.box_id(ctx)
    if record.key != box_id:
        raise RemoteProtocolError("this record is not the box that was asked for")
    if record.type is not RecordType.BOX:
        raise RemoteProtocolError(f"a {record.type.name} record holds no text of a box")
    if not record.check_signature():
        raise RemoteProtocolError("the signature of a box is wrong")
    key = _sealing_key(_step(cap.chain, cap.index).sealing, ctx, box_id)
    return aead.siv_open(key, box_id[:12], record.c, _aad(box_id, record.meta))
