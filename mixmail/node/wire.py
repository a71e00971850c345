"""Kinds of frames between two nodes and their small layouts (docs/protocol/store.md, "Frames").

```
PACKET       32768  a Sphinx packet
PROXY_QUERY  18506  a sealed query; the proxy answers on the same stream number
PROXY_REPLY  17356  a sealed answer
HOME_QUERY   17338  op u8 | flags u8 | 0(2) | record-shaped field(17334)
HOME_REPLY   17338  status u8 | n u8 | 0(2) | record-shaped field(17334)
DIGEST WANT PUSH    mixmail.directory.gossip
HELLO               a descriptor; the link layer consumes it
```
An answer carries the stream number of its question.  Stream numbers are random, so that they do not
count how much a node does.  The flags of a HOME_QUERY are zero in version 1.
"""

from __future__ import annotations

import struct
from collections.abc import Container
from dataclasses import dataclass
from enum import IntEnum

from mixmail.boxes.query import QueryOp, Status
from mixmail.encoding import require_length, require_zero
from mixmail.errors import RemoteProtocolError
from mixmail.params import GEOMETRY
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


_QUERY_HEAD = struct.Struct(">BB2s")
_REPLY_HEAD = struct.Struct(">BB2s")
HOME_QUERY_BYTES = _QUERY_HEAD.size + GEOMETRY.record
HOME_REPLY_BYTES = _REPLY_HEAD.size + GEOMETRY.record


def new_stream(taken: Container[int], rng: Randomness) -> int:
    """A random stream number other than zero and not in `taken`."""
    while True:
        stream = int.from_bytes(rng.bytes(4), "big")
        if stream and stream not in taken:
            return stream


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
