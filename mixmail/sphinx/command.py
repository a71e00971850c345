"""The command of one hop: the 64 bytes at the start of its routing block.

    u8 kind | u8 0 | u16 0 | u32 delay in ms | ident (32) | MAC of the next header (16) | 0 (8)

`ident` is the next node's id (FORWARD), free (DELIVER) or the reply block's id (SURB_REPLY).  The MAC
is zero unless the kind is FORWARD.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, ID_BYTES

_LAYOUT = struct.Struct(f">BBHI{ID_BYTES}s{GEOMETRY.mac}s8s")
_NO_MAC = bytes(GEOMETRY.mac)
_RESERVED = bytes(8)
MAX_DELAY_MS = 2**32 - 1


class CommandKind(enum.IntEnum):
    """What a hop does with the packet."""

    FORWARD = 1  # hold it for the delay, then send it to node `ident`
    DELIVER = 2  # this hop is the end: the body is for it
    SURB_REPLY = 3  # this hop is the owner of the reply block `ident`


_KINDS = {int(kind): kind for kind in CommandKind}


class Command(NamedTuple):
    """What one hop is told; `delay_ms` in milliseconds, 0..2^32-1."""

    kind: CommandKind
    delay_ms: int
    ident: bytes
    next_mac: bytes = _NO_MAC

    def pack(self) -> bytes:
        """64 bytes.  LocalProtocolError: a field out of range."""
        if not 0 <= self.delay_ms <= MAX_DELAY_MS:
            raise LocalProtocolError(f"a delay of {self.delay_ms} ms does not fit into a command")
        if len(self.ident) != ID_BYTES or len(self.next_mac) != GEOMETRY.mac:
            raise LocalProtocolError("the ident or MAC of a command has a wrong length")
        return _LAYOUT.pack(self.kind, 0, 0, self.delay_ms, self.ident, self.next_mac, _RESERVED)

    @classmethod
    def parse(cls, raw: bytes) -> Command:
        """RemoteProtocolError: wrong length, unknown kind, or a reserved byte that is not zero."""
        if len(raw) != GEOMETRY.command:
            raise RemoteProtocolError(f"a command has {GEOMETRY.command} bytes, not {len(raw)}")
        number, flags, zero, delay_ms, ident, next_mac, reserved = _LAYOUT.unpack(raw)
        kind = _KINDS.get(number)
        if kind is None:
            raise RemoteProtocolError(f"unknown routing command {number}")
        if flags or zero or reserved != _RESERVED:
            raise RemoteProtocolError("a reserved field of a command is not zero")
        if kind is not CommandKind.FORWARD and next_mac != _NO_MAC:
            raise RemoteProtocolError("the last command carries a MAC")
        return cls(kind, delay_ms, ident, next_mac)
