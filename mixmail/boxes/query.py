"""Queries and answers on their way through courier and proxy (docs/protocol/store.md).

The agent seals a QUERY to a proxy and puts the BLOB into a request to a courier; the proxy seals
one ANSWER under the query's reply key; the courier sends it back by SURB.  All sizes are the same
for every operation.  Everything here parses, or raises RemoteProtocolError.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.status import Status
from mixmail.crypto import aead, ed25519, hashing, hpke, kem
from mixmail.encoding import require_length, require_zero, u32le
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, ID_BYTES, PROTOCOL_VERSION
from mixmail.randomness import Randomness

__all__ = [
    "Answer",
    "CourierReply",
    "CourierRequest",
    "Query",
    "QueryOp",
    "QueueRequest",
    "Status",
    "open_answer",
    "open_query",
    "query_tag",
    "seal_answer",
    "seal_query",
]

QUERY_LABEL = b"mm1-query"
QUEUE_LABEL = b"mm1-queue"
COURIER_OP = 1
SPREAD = 1  # flag: after a miss, ask random homes instead of the first two
KNOWN_FLAGS = SPREAD
COUNT_MAX = 255
HOUR_SLACK = 1  # hours: a query is forgotten after less than one, and clocks may differ by minutes
SECONDS_AN_HOUR = 3_600

_QUERY_HEAD = struct.Struct(">BBH32s")
_ANSWER_HEAD = struct.Struct(">BBI")
_REQUEST_HEAD = struct.Struct(">B3s32s16s")
_REPLY_HEAD = struct.Struct(">BB18s")
_QUEUE_REQUEST = struct.Struct(">32s64s32s32sI")
_NONCE = bytes(12)
_REPLY_REST = bytes(GEOMETRY.payload - _REPLY_HEAD.size - GEOMETRY.reply_ct)


class QueryOp(enum.IntEnum):
    """What a query asks of the homes of its key."""

    READ = 0
    WRITE = 1
    QUEUE_READ = 2
    QUEUE_ADD = 3
    QUEUE_DELETE = 4


@dataclass(frozen=True, slots=True)
class Query:
    """What only the proxy sees; `field` has 17334 bytes, `reply_key` 32, `flags` 16 bits."""

    op: QueryOp
    flags: int
    reply_key: bytes = field(repr=False)
    field: bytes = field(repr=False)

    def pack(self) -> bytes:
        """ver u8 | op u8 | flags u16 | reply_key(32) | field, 17370 bytes."""
        return _QUERY_HEAD.pack(PROTOCOL_VERSION, self.op, self.flags, self.reply_key) + self.field

    @classmethod
    def parse(cls, raw: bytes) -> Query:
        """From 17370 bytes."""
        require_length("query", raw, GEOMETRY.query)
        version, op, flags, reply_key = _QUERY_HEAD.unpack_from(raw)
        if version != PROTOCOL_VERSION:
            raise RemoteProtocolError(f"a query of protocol version {version}")
        if flags & ~KNOWN_FLAGS:
            raise RemoteProtocolError(f"a query with unknown flags {flags:#x}")
        try:
            kind = QueryOp(op)
        except ValueError:
            raise RemoteProtocolError(f"no query has the operation {op}") from None
        return cls(kind, flags, reply_key, raw[_QUERY_HEAD.size :])


def _info(network_hash: bytes, proxy_id: bytes, epoch: int) -> bytes:
    return QUERY_LABEL + network_hash + proxy_id + u32le(epoch)


def seal_query(
    query: Query, proxy_key: kem.PublicKey, network_hash: bytes, proxy_id: bytes, epoch: int
) -> bytes:
    """The BLOB, 18506 bytes, for the proxy whose key of `epoch` is `proxy_key`."""
    return hpke.seal(proxy_key, _info(network_hash, proxy_id, epoch), query.pack())


def open_query(
    keys: Sequence[tuple[int, kem.PrivateKey]], network_hash: bytes, proxy_id: bytes, blob: bytes
) -> Query:
    """The query in a blob, by one of the live `keys` (epoch, key); RemoteProtocolError if by none."""
    require_length("blob", blob, GEOMETRY.blob)
    for epoch, key in keys:
        try:
            raw = hpke.open_(key, _info(network_hash, proxy_id, epoch), blob)
        except RemoteProtocolError:
            continue  # sealed to another epoch's key, or to nobody's: the end of the loop tells
        return Query.parse(raw)
    raise RemoteProtocolError("no live key opens this query")


def query_tag(blob: bytes) -> bytes:
    """32 bytes by which a proxy knows a blob that it has opened before: BLAKE2b-256(blob)."""
    return hashing.blake2b(blob)


@dataclass(frozen=True, slots=True)
class CourierRequest:
    """What a courier finds in a packet: who is to open the blob, and the way back."""

    proxy_id: bytes
    surb: bytes = field(repr=False)
    blob: bytes = field(repr=False)

    def pack(self) -> bytes:
        """op 1 | zero(3) | proxy(32) | zero(16) | SURB(7121) | BLOB(18506), 25679 bytes."""
        if len(self.surb) != GEOMETRY.surb or len(self.blob) != GEOMETRY.blob:
            raise LocalProtocolError("a courier request needs a whole SURB and a whole blob")
        head = _REQUEST_HEAD.pack(COURIER_OP, bytes(3), self.proxy_id, bytes(16))
        return b"".join((head, self.surb, self.blob))

    @classmethod
    def parse(cls, raw: bytes) -> CourierRequest:
        """From 25679 bytes."""
        require_length("courier request", raw, GEOMETRY.payload)
        op, zero3, proxy_id, zero16 = _REQUEST_HEAD.unpack_from(raw)
        if op != COURIER_OP:
            raise RemoteProtocolError(f"a courier has no operation {op}")
        require_zero("reserved bytes of a courier request", zero3 + zero16)
        end = _REQUEST_HEAD.size + GEOMETRY.surb
        return cls(proxy_id, raw[_REQUEST_HEAD.size : end], raw[end:])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the proxy says: `n` and bit i (from the lowest) of `acks` are explained per operation in
    docs/protocol/store.md; `field` is a record or zero, 17334 bytes."""

    status: Status
    n: int
    acks: int
    field: bytes = field(repr=False)

    def pack(self) -> bytes:
        """status u8 | n u8 | acks u32 | field, 17340 bytes."""
        if len(self.field) != GEOMETRY.record:
            raise LocalProtocolError(f"an answer's field has {GEOMETRY.record} bytes")
        return _ANSWER_HEAD.pack(self.status, self.n, self.acks) + self.field

    @classmethod
    def parse(cls, raw: bytes) -> Answer:
        """From 17340 bytes."""
        require_length("answer", raw, _ANSWER_HEAD.size + GEOMETRY.record)
        status, n, acks = _ANSWER_HEAD.unpack_from(raw)
        return cls(Status.parse(status), n, acks, raw[_ANSWER_HEAD.size :])


def seal_answer(reply_key: bytes, answer: Answer) -> bytes:
    """17356 bytes under the query's reply key: one text a key, so one answer a query."""
    return aead.chacha_seal(reply_key, _NONCE, answer.pack(), b"")


def open_answer(reply_key: bytes, sealed: bytes) -> Answer:
    """The answer in exactly 17356 bytes."""
    require_length("sealed answer", sealed, GEOMETRY.reply_ct)
    return Answer.parse(aead.chacha_open(reply_key, _NONCE, sealed, b""))


@dataclass(frozen=True, slots=True)
class CourierReply:
    """What the agent finds in the packet that came back: OK and a sealed answer, or why there is
    none (`sealed` is then 17356 zero bytes)."""

    status: Status
    sealed: bytes = field(repr=False)

    def pack(self) -> bytes:
        """op 1 | status u8 | zero(18) | sealed answer(17356) | zero(8303), 25679 bytes."""
        if len(self.sealed) != GEOMETRY.reply_ct:
            raise LocalProtocolError(f"a sealed answer has {GEOMETRY.reply_ct} bytes")
        head = _REPLY_HEAD.pack(COURIER_OP, self.status, bytes(18))
        return b"".join((head, self.sealed, _REPLY_REST))

    @classmethod
    def parse(cls, raw: bytes) -> CourierReply:
        """From 25679 bytes."""
        require_length("courier reply", raw, GEOMETRY.payload)
        op, status, zero = _REPLY_HEAD.unpack_from(raw)
        if op != COURIER_OP:
            raise RemoteProtocolError(f"a courier has no operation {op}")
        end = _REPLY_HEAD.size + GEOMETRY.reply_ct
        require_zero("reserved bytes of a courier reply", zero + raw[end:])
        return cls(Status.parse(status), raw[_REPLY_HEAD.size : end])


def hour_of(now: float) -> int:
    """Hours since 1970-01-01 UTC."""
    return int(now // SECONDS_AN_HOUR)


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """The field of QUEUE_READ and QUEUE_DELETE: only the owner of the queue's key can make it.

    `after` is the position to go on after (QUEUE_READ) or the id of the entry to delete
    (QUEUE_DELETE).  `reply_hash` binds the request to one query, so that nobody who saw it can have
    the answer sealed to himself.
    """

    key: bytes
    after: bytes
    hour: int
    signature: bytes
    reply_hash: bytes

    @classmethod
    def create(
        cls, owner: OwnerKey, op: QueryOp, after: bytes, hour: int, reply_key: bytes, rng: Randomness
    ) -> QueueRequest:
        """Sign a request for the queue whose key is `owner.public`."""
        if op not in (QueryOp.QUEUE_READ, QueryOp.QUEUE_DELETE):
            raise LocalProtocolError(f"{op.name} needs no owner's signature")
        if len(after) != ID_BYTES:
            raise LocalProtocolError("a position or an entry id has 32 bytes")
        key, reply_hash = owner.public, hashing.blake2b(reply_key)
        signature = owner.sign(_queue_message(op, key, after, reply_hash, hour), rng)
        return cls(key, after, hour, signature, reply_hash)

    def to_field(self) -> bytes:
        """key(32) | sig(64) | after(32) | BLAKE2b-256(reply_key)(32) | hour u32 | zero, 17334 bytes."""
        raw = _QUEUE_REQUEST.pack(self.key, self.signature, self.after, self.reply_hash, self.hour)
        return raw + bytes(GEOMETRY.record - len(raw))

    @classmethod
    def from_field(cls, raw: bytes) -> QueueRequest:
        """From 17334 bytes."""
        require_length("field", raw, GEOMETRY.record)
        key, signature, after, reply_hash, hour = _QUEUE_REQUEST.unpack_from(raw)
        require_zero("the rest of a queue request", raw[_QUEUE_REQUEST.size :])
        return cls(key, after, hour, signature, reply_hash)

    def verify(self, op: QueryOp, now_hour: int) -> bool:
        """At a home: signed by the owner of `key` for `op`, at most one hour ago or ahead."""
        if abs(self.hour - now_hour) > HOUR_SLACK:
            return False
        message = _queue_message(op, self.key, self.after, self.reply_hash, self.hour)
        return ed25519.verify(self.key, message, self.signature)

    def answers_to(self, reply_key: bytes) -> bool:
        """At a proxy: the request was made for the query that carries this reply key."""
        return self.reply_hash == hashing.blake2b(reply_key)


def _queue_message(op: QueryOp, key: bytes, after: bytes, reply_hash: bytes, hour: int) -> bytes:
    return QUEUE_LABEL + bytes([op]) + key + after + reply_hash + u32le(hour)
