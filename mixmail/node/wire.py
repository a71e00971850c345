"""Kinds of frames between two nodes and their small layouts (docs/protocol/store.md, "Frames").

```
PACKET       32768  a Sphinx packet
PROXY_QUERY  18506  a sealed query; the proxy answers on the same stream number
PROXY_REPLY  17356  a sealed answer
HOME_QUERY   17338  op u8 | flags u8 | 0(2) | record-shaped field(17334)
HOME_REPLY   17338  status u8 | n u8 | 0(2) | record-shaped field(17334)
OFFER NEED   count u16 | 0(2) | count * (key 32 | version 8)
RECORD       17334  a record that one home hands to another
DIGEST WANT PUSH    mixmail.directory.gossip
HELLO               a descriptor; the link layer consumes it
```
An answer carries the stream number of its question.  Stream numbers are random, so that they do not
count how much a node does.  The flags of a HOME_QUERY are zero in version 1.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import IntEnum

from mixmail.boxes.query import QueryOp, Status
from mixmail.boxes.record import VERSION_BYTES
from mixmail.boxes.store import Item
from mixmail.encoding import require_length, require_zero
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, ID_BYTES
from mixmail.randomness import Randomness


class Kind(IntEnum):
    """`Frame.kind`, u8."""

    PACKET = 1
    PROXY_QUERY = 2
    PROXY_REPLY = 3
    HOME_QUERY = 4
    HOME_REPLY = 5
    DIGEST = 6
    WANT = 7
    PUSH = 8
    HELLO = 9
    OFFER = 10
    NEED = 11
    RECORD = 12


_QUERY_HEAD = struct.Struct(">BB2s")
_REPLY_HEAD = struct.Struct(">BB2s")
_ITEMS_HEAD = struct.Struct(">H2s")
_ITEM = ID_BYTES + VERSION_BYTES
ITEMS = (GEOMETRY.packet - _ITEMS_HEAD.size) // _ITEM
"""(key, version) pairs in one message: 819, which fill a link frame."""
HOME_QUERY_BYTES = _QUERY_HEAD.size + GEOMETRY.record
HOME_REPLY_BYTES = _REPLY_HEAD.size + GEOMETRY.record


def new_stream(taken: Container[int], rng: Randomness) -> int:
    """A random stream number other than zero and not in `taken`."""
    while True:
        stream = int.from_bytes(rng.bytes(4), "big")
        if stream and stream not in taken:
            return stream


def pack_items(items: Sequence[Item]) -> bytes:
    """The payload of an OFFER or NEED: 4 bytes and 40 for each (key, version), at most `ITEMS`."""
    if len(items) > ITEMS:
        raise LocalProtocolError(f"{len(items)} records do not fit into one message")
    return _ITEMS_HEAD.pack(len(items), bytes(2)) + b"".join(key + version for key, version in items)


def parse_items(name: str, raw: bytes) -> list[Item]:
    """The (key, version) of an OFFER or NEED; RemoteProtocolError for a wrong length, or none or too many."""
    if len(raw) < _ITEMS_HEAD.size:
        raise RemoteProtocolError(f"{name} without a count")
    count, zero = _ITEMS_HEAD.unpack_from(raw)
    require_zero(f"reserved bytes of {name}", zero)
    if not 0 < count <= ITEMS:
        raise RemoteProtocolError(f"{name} of {count} records")
    require_length(name, raw, _ITEMS_HEAD.size + count * _ITEM)
    starts = range(_ITEMS_HEAD.size, len(raw), _ITEM)
    return [(raw[at : at + ID_BYTES], raw[at + ID_BYTES : at + _ITEM]) for at in starts]


@dataclass(frozen=True, slots=True)
class HomeQuery:
    """What a proxy asks a home.  `field` has 17334 bytes."""

    op: QueryOp
    field: bytes

    def pack(self) -> bytes:
        """17338 bytes."""
        return _QUERY_HEAD.pack(self.op, 0, bytes(2)) + self.field

    @classmethod
    def parse(cls, raw: bytes) -> HomeQuery:
        """RemoteProtocolError on a wrong length, an unknown operation or reserved bytes in use."""
        require_length("home query", raw, HOME_QUERY_BYTES)
        op, flags, zero = _QUERY_HEAD.unpack_from(raw)
        require_zero("reserved bytes of a home query", bytes([flags]) + zero)
        try:
            known = QueryOp(op)
        except ValueError as error:
            raise RemoteProtocolError(f"unknown operation {op}") from error
        return cls(known, raw[_QUERY_HEAD.size :])


@dataclass(frozen=True, slots=True)
class HomeReply:
    """What a home answers.  `n` is 1 when `field` holds a record, else 0."""

    status: Status
    n: int
    field: bytes

    def pack(self) -> bytes:
        """17338 bytes."""
        return _REPLY_HEAD.pack(self.status, self.n, bytes(2)) + self.field

    @classmethod
    def parse(cls, raw: bytes) -> HomeReply:
        """RemoteProtocolError on a wrong length, an unknown status or reserved bytes in use."""
        require_length("home reply", raw, HOME_REPLY_BYTES)
        status, n, zero = _REPLY_HEAD.unpack_from(raw)
        require_zero("reserved bytes of a home reply", zero)
        if n > 1:
            raise RemoteProtocolError("a home answers with one record at most")
        return cls(Status.parse(status), n, raw[_REPLY_HEAD.size :])
