"""Messages between nodes, cut to frames of one size.  Sans-IO.

Layout of a frame (32,800 bytes, integers big-endian):

    type(1) | flags(1) | len(2) | stream(4) | 0(24) | payload(32768)

Rules, each with its reason; a frame that breaks one raises RemoteProtocolError:

- type is not 0; flags has only bit 0, "more follows".  Everything else is kept for later versions.
- `len` bytes of the payload belong to the message, the rest is zero: there is one way to write a
  message, so a frame carries nothing beside it.
- A frame with "more follows" is full, and what follows it has the same type and stream: the parts of a
  message are never mixed with another message.  The last of several frames is not empty.
- A message has at most `GEOMETRY.message_frames` frames: a peer can make us hold so much and no more.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

from mixmail.effects import Frame
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY

HEADER = struct.Struct(">BBHI24x")
MORE = 1

_NAMED = 8  # bytes of the header in use
_ZERO_RESERVED = bytes(HEADER.size - _NAMED)
_ZERO_PAYLOAD = bytes(GEOMETRY.packet)


def cut(frame: Frame) -> list[bytes]:
    """The wire frames (32,800 bytes each, at least one) of a message.

    LocalProtocolError if kind or stream is out of range or the message is longer than 1 MiB.
    """
    if not 1 <= frame.kind <= 0xFF or not 0 <= frame.stream <= 0xFFFF_FFFF:
        raise LocalProtocolError(f"no frame can carry kind {frame.kind} and stream {frame.stream}")
    payload, size = frame.payload, GEOMETRY.packet
    if len(payload) > GEOMETRY.message:
        raise LocalProtocolError(f"a message of {len(payload)} bytes is longer than {GEOMETRY.message}")
    wires = []
    for start in range(0, max(len(payload), 1), size):
        part = payload[start : start + size]
        more = MORE if start + size < len(payload) else 0
        header = HEADER.pack(frame.kind, more, len(part), frame.stream)
        wires.append(header + part + _ZERO_PAYLOAD[len(part) :])
    return wires


class FrameReader:
    """Bytes in, whole messages out; holds at most one unfinished message and one unfinished frame.

    `push` only keeps bytes, `take` works on one wire frame: so that who reads can share his time.

    `limit`: frames that a message may have; may be changed between two calls (a link takes one frame
    until the peer has said who it is).  `on_wire` is called with a view of every whole wire
    frame.
    """

    def __init__(
        self, limit: int = GEOMETRY.message_frames, on_wire: Callable[[memoryview], None] | None = None
    ) -> None:
        self.limit = limit
        self._on_wire = on_wire
        self._chunks: deque[bytes] = deque()  # as they came: a frame inside of one is not copied
        self._start = 0  # in the first chunk: what is before has been taken
        self.waiting = 0  # bytes that were pushed and not taken
        self._parts: list[bytes] = []
        self._first: tuple[int, int] = (0, 0)
        self._broken: RemoteProtocolError | None = None

    @property
    def unfinished(self) -> bool:
        """True while a frame or a message has begun and not ended."""
        return bool(self.waiting or self._parts)

    @property
    def whole(self) -> bool:
        """True if `take` has a wire frame to work on."""
        return self.waiting >= GEOMETRY.frame

    @property
    def held(self) -> int:
        """Bytes in memory: what waits, and the parts of an unfinished message."""
        return self._start + self.waiting + len(self._parts) * GEOMETRY.packet

    def push(self, data: bytes) -> None:
        """Keep bytes from the wire."""
        if data:
            self._chunks.append(data)
            self.waiting += len(data)

    def take(self) -> Frame | None:
        """Work on the next wire frame, which must be `whole`; the message that it completes, if any.

        RemoteProtocolError if a rule of the module is broken; after that every call raises it again.
        """
        if self._broken is not None:
            raise self._broken
        data, start = self._chunks[0], self._start
        if len(data) - start >= GEOMETRY.frame:
            self._cut_off(GEOMETRY.frame)
        else:
            data, start = self._gather(), 0
        try:
            return self._take(data, start)
        except RemoteProtocolError as error:
            self._broken = error
            self.clear()
            raise

    def clear(self) -> None:
        """Forget everything that has come."""
        self._chunks.clear()
        self._start = self.waiting = 0
        self._parts.clear()

    def _cut_off(self, size: int) -> bytes:
        """The first chunk, of which `size` bytes are taken now."""
        first = self._chunks[0]
        self.waiting -= size
        self._start += size
        if self._start == len(first):
            self._chunks.popleft()
            self._start = 0
        return first

    def _gather(self) -> bytes:
        """The next wire frame, out of several chunks."""
        pieces, missing = [], GEOMETRY.frame
        while missing:
            start = self._start
            size = min(len(self._chunks[0]) - start, missing)
            pieces.append(self._cut_off(size)[start : start + size])
            missing -= size
        return b"".join(pieces)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes from the wire; return the messages that they complete, in order.

        RemoteProtocolError if a rule of the module is broken; after that every call raises it again, and
        messages that came in the same call are lost with the link.
        """
        if self._broken is not None:
            raise self._broken
        self.push(data)
        frames: list[Frame] = []
        while self.whole:
            frame = self.take()
            if frame is not None:
                frames.append(frame)
        return frames

    def _take(self, data: bytes, start: int) -> Frame | None:
        kind, flags, length, stream = HEADER.unpack_from(data, start)
        more = flags & MORE
        body = start + HEADER.size
        if kind == 0 or flags & ~MORE or data[start + _NAMED : body] != _ZERO_RESERVED:
            raise RemoteProtocolError("frame header with a reserved value")
        if length > GEOMETRY.packet or (more and length != GEOMETRY.packet):
            raise RemoteProtocolError(f"frame with a wrong length of {length} bytes")
        end = body + length
        if data[end : body + GEOMETRY.packet] != _ZERO_PAYLOAD[length:]:
            raise RemoteProtocolError("frame padding is not zero")
        if self._parts:
            if (kind, stream) != self._first:
                raise RemoteProtocolError("frame in the middle of another message")
            if length == 0:
                raise RemoteProtocolError("empty last frame")
        if len(self._parts) + 1 + more > self.limit:
            raise RemoteProtocolError(f"message of more than {self.limit} frames")
        if self._on_wire is not None:
            self._on_wire(memoryview(data)[start : body + GEOMETRY.packet])
        self._first = (kind, stream)
        if not more and not self._parts:
            return Frame(kind, stream, data[body:end])
        self._parts.append(data[body:end])
        if more:
            return None
        payload = b"".join(self._parts)
        self._parts.clear()
        return Frame(kind, stream, payload)
