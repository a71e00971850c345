"""Placement, courier, queries and answers, written from docs/protocol/store.md alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from boxes_reader import RECORD
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from network_reader import Network
from spec_primitives import Refused, blake2b, sign, signature_is_good, times_base, u16be, u32be, u32le
from spec_xwing import hpke_open

SURB, BLOB, QUERY, ANSWER, SEALED_ANSWER, COURIER = 7121, 18506, 17370, 17340, 17356, 25679
OPS = {"READ": 0, "WRITE": 1, "QUEUE_READ": 2, "QUEUE_ADD": 3, "QUEUE_DELETE": 4}
SPREAD = 1
MAX_STATUS = 9
REPLICAS = 28
NONCE = bytes(12)


def score(storage_id: bytes, key: bytes) -> bytes:
    return blake2b(256, storage_id + key)


def ranking(
    nodes: list[tuple[bytes, bytes]], key: bytes, networks: Mapping[bytes, Network] | None = None
) -> list[bytes]:
    """Node ids, best first. `nodes` are (storage id, node id); who is not in `networks` shares no network."""
    first: list[bytes] = []
    later: list[bytes] = []
    taken: set[Network] = set()
    for _, node in sorted((score(storage, key), node) for storage, node in nodes):
        network = networks.get(node) if networks else None
        (later if network in taken else first).append(node)
        taken |= {network} - {None}
    return first + later


# Courier.


def courier_request(proxy_id: bytes, surb: bytes, blob: bytes) -> bytes:
    return b"\1" + bytes(3) + proxy_id + bytes(16) + surb + blob


def parse_courier_request(raw: bytes) -> tuple[bytes, bytes, bytes]:
    if len(raw) != COURIER or raw[0] != 1 or any(raw[1:4]) or any(raw[36:52]):
        raise Refused("courier request")
    return raw[4:36], raw[52 : 52 + SURB], raw[52 + SURB :]


def courier_reply(status: int, sealed: bytes) -> bytes:
    return bytes([1, status]) + bytes(18) + sealed + bytes(8303)


def parse_courier_reply(raw: bytes) -> tuple[int, bytes]:
    if len(raw) != COURIER or raw[0] != 1 or raw[1] > MAX_STATUS or any(raw[2:20]) or any(raw[17376:]):
        raise Refused("courier reply")
    return raw[1], raw[20:17376]


# Queries.


@dataclass(frozen=True)
class Query:
    op: int
    flags: int
    reply_key: bytes
    field: bytes

    def encode(self) -> bytes:
        return bytes([1, self.op]) + u16be(self.flags) + self.reply_key + self.field


def parse_query(raw: bytes) -> Query:
    if len(raw) != QUERY or raw[0] != 1 or raw[1] not in OPS.values():
        raise Refused("query: length, version or op")
    flags = int.from_bytes(raw[2:4], "big")
    if flags & ~SPREAD:
        raise Refused("query flags")
    return Query(raw[1], flags, raw[4:36], raw[36:])


def query_info(network: bytes, proxy_id: bytes, epoch: int) -> bytes:
    return b"mm1-query" + network + proxy_id + u32le(epoch)


def open_blob(seed: bytes, info: bytes, blob: bytes) -> Query:
    if len(blob) != BLOB:
        raise Refused("blob length")
    return parse_query(hpke_open(seed, info, blob))


def read_field(key: bytes) -> bytes:
    return key + bytes(RECORD - 32)


def parse_read_field(field: bytes) -> bytes:
    if len(field) != RECORD or any(field[32:]):
        raise Refused("READ field")
    return field[:32]


def reply_hash(reply_key: bytes) -> bytes:
    return blake2b(256, reply_key)


@dataclass(frozen=True)
class QueueRequest:
    key: bytes
    signature: bytes
    after: bytes
    reply_hash: bytes
    hour: int

    def message(self, op: int) -> bytes:
        tail = self.key + self.after + self.reply_hash + u32le(self.hour)
        return b"mm1-queue" + bytes([op]) + tail

    def encode(self) -> bytes:
        head = self.key + self.signature + self.after + self.reply_hash + u32be(self.hour)
        return head + bytes(RECORD - len(head))


def make_queue_request(
    op: int, scalar: int, prefix: bytes, after: bytes, reply_key: bytes, hour: int, rand32: bytes
) -> QueueRequest:
    key = times_base(scalar)
    unsigned = QueueRequest(key, bytes(64), after, reply_hash(reply_key), hour)
    signature = sign(scalar, prefix, unsigned.message(op), rand32)
    return QueueRequest(key, signature, after, unsigned.reply_hash, hour)


def parse_queue_request(query: Query) -> QueueRequest:
    field = query.field
    if len(field) != RECORD or any(field[164:]):
        raise Refused("queue request: length or reserved bytes")
    request = QueueRequest(
        field[:32], field[32:96], field[96:128], field[128:160], int.from_bytes(field[160:164], "big")
    )
    if request.reply_hash != reply_hash(query.reply_key):
        raise Refused("queue request: reply hash")
    if not signature_is_good(request.key, request.message(query.op), request.signature):
        raise Refused("queue request: signature")
    return request


# Answers.


@dataclass(frozen=True)
class Answer:
    status: int
    n: int
    acks: int
    field: bytes

    def encode(self) -> bytes:
        return bytes([self.status, self.n]) + u32be(self.acks) + self.field


def parse_answer(raw: bytes) -> Answer:
    if len(raw) != ANSWER or raw[0] > MAX_STATUS:
        raise Refused("answer: length or status")
    return Answer(raw[0], raw[1], int.from_bytes(raw[2:6], "big"), raw[6:])


def seal_answer(reply_key: bytes, answer: Answer) -> bytes:
    return ChaCha20Poly1305(reply_key).encrypt(NONCE, answer.encode(), b"")


def open_answer(reply_key: bytes, sealed: bytes) -> Answer:
    if len(sealed) != SEALED_ANSWER:
        raise Refused("sealed answer length")
    try:
        return parse_answer(ChaCha20Poly1305(reply_key).decrypt(NONCE, sealed, b""))
    except InvalidTag:
        raise Refused("sealed answer does not open") from None
