"""A mail in boxes (docs/protocol/people.md, "Box text").

    BOX_TEXT = ver u8 (1) | kind u8 | part u16 | parts u16 | length u16 | message_id(16) | mac(16)
               | caps (1288 in an ANSWER, else none) | payload(length) | 0

    mac = keyed BLAKE2b-128 over all other bytes of the text, person "mm1.part"

A text fills its room exactly: 17182 bytes in a box, 14630 in a first message.  The text in a first message
has a zero mac: what seals it is keyed by the same handshake as the mac would be.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from mixmail.boxes.capability import CAP_BYTES
from mixmail.crypto import compare, hashing
from mixmail.encoding import pad, require_zero
from mixmail.errors import LocalProtocolError, RemoteProtocolError, UserError
from mixmail.mail.first_contact import FIRST_TEXT
from mixmail.params import GEOMETRY, MAIL

VERSION = 1
MESSAGE_ID_BYTES = 16
MAC_BYTES = 16
_HEAD = struct.Struct(f">BBHHH{MESSAGE_ID_BYTES}s")
HEADER_BYTES = _HEAD.size + MAC_BYTES
CAPS_BYTES = CAP_BYTES + GEOMETRY.kem_public
"""ReadCap(72) | X-Wing key(1216) before the payload of an answer."""

BOX_ROOM = GEOMETRY.box_text
FIRST_ROOM = FIRST_TEXT
ANSWER_ROOM = GEOMETRY.box_text - CAPS_BYTES


class PartKind(enum.IntEnum):
    """The second byte of a text."""

    MAIL = 1
    ANSWER = 2


def parts_limit(limit: int) -> int:
    """The largest number of parts into which a mail of `limit` bytes is ever cut."""
    return 1 + -(-limit // (BOX_ROOM - HEADER_BYTES))


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of one mail.

    `room` is the size of the text that it fills, without `caps`; `caps` is empty or, in an ANSWER, 1288
    bytes; `mac_key` (32 bytes) is None in a first message.
    """

    message_id: bytes
    part: int
    parts: int
    payload: bytes
    room: int = BOX_ROOM
    kind: PartKind = PartKind.MAIL
    caps: bytes = b""
    mac_key: bytes | None = field(default=None, repr=False)

    def keyed(self, mac_key: bytes) -> Part:
        """The same part under the session's key: for a mail that was cut before the session was there."""
        return dataclasses.replace(self, mac_key=mac_key)

    def pack(self) -> bytes:
        """The text, `room` bytes (and 1288 more with caps)."""
        if len(self.caps) != (CAPS_BYTES if self.kind is PartKind.ANSWER else 0):
            raise LocalProtocolError("an answer and nothing else carries capabilities")
        head = _HEAD.pack(VERSION, self.kind, self.part, self.parts, len(self.payload), self.message_id)
        rest = self.caps + pad(self.payload, self.room - HEADER_BYTES)
        return head + _mac(self.mac_key, head, rest) + rest

    @classmethod
    def parse(cls, text: bytes, mac_key: bytes | None, limit: int = MAIL.mail_limit) -> Part:
        """From an opened box (or, with `mac_key` None, a first message) of a network with this mail limit.

        RemoteProtocolError: unknown version or kind, wrong MAC, numbers out of range, padding not zero.
        """
        if len(text) < HEADER_BYTES:
            raise RemoteProtocolError("the text of a box is too short")
        head, mac, rest = text[: _HEAD.size], text[_HEAD.size : HEADER_BYTES], text[HEADER_BYTES:]
        version, number, part, parts, length, message_id = _HEAD.unpack(head)
        if not compare.equal(mac, _mac(mac_key, head, rest)):
            raise RemoteProtocolError("the MAC of a part is wrong")
        if version != VERSION:
            raise RemoteProtocolError(f"part of version {version}")
        try:
            kind = PartKind(number)
        except ValueError:
            raise RemoteProtocolError(f"no part has the kind {number}") from None
        before = CAPS_BYTES if kind is PartKind.ANSWER else 0
        caps, payload = rest[:before], rest[before:]
        if len(rest) < before or length > len(payload):
            raise RemoteProtocolError("a part is longer than its box")
        if not part < parts <= parts_limit(limit):
            raise RemoteProtocolError(f"part {part} of {parts} cannot be")
        require_zero("the end of a part", payload[length:])
        return cls(message_id, part, parts, payload[:length], len(text) - len(caps), kind, caps, mac_key)


def _mac(key: bytes | None, head: bytes, rest: bytes) -> bytes:
    if key is None:
        return bytes(MAC_BYTES)
    return hashing.blake2b(head + rest, MAC_BYTES, key=key, person=b"mm1.part")


def split(
    mail: bytes,
    message_id: bytes,
    mac_key: bytes | None,
    first_capacity: int = BOX_ROOM,
    limit: int = MAIL.mail_limit,
) -> list[Part]:
    """A composed mail cut to parts: as few as possible, all full but the last.

    `first_capacity` is the room of part 0: BOX_ROOM, FIRST_ROOM or ANSWER_ROOM.  UserError (code "too-large")
    when the mail has more than `limit` bytes.
    """
    if len(mail) > limit:
        raise UserError(
            f"The mail has {len(mail):,} bytes and the limit is {limit:,}: leave out an attachment or send"
            " it in pieces.",
            code="too-large",
        )
    rooms = [first_capacity]
    first = first_capacity - HEADER_BYTES
    each = BOX_ROOM - HEADER_BYTES
    pieces = [mail[:first], *(mail[start : start + each] for start in range(first, len(mail), each))]
    rooms += [BOX_ROOM] * (len(pieces) - 1)
    return [
        Part(message_id, index, len(pieces), piece, room, mac_key=mac_key)
        for index, (piece, room) in enumerate(zip(pieces, rooms, strict=True))
    ]


def join(parts: Mapping[int, bytes], parts_total: int, limit: int = MAIL.mail_limit) -> bytes | None:
    """The mail from the payloads by part number, or None while one is missing.

    RemoteProtocolError: a number beyond the total, or together more than `limit` bytes.
    """
    if any(not 0 <= number < parts_total for number in parts):
        raise RemoteProtocolError(f"a part beyond the {parts_total} of its mail")
    if sum(map(len, parts.values())) > limit:
        raise RemoteProtocolError("the parts of a mail are larger than the limit")
    if len(parts) < parts_total:
        return None
    return b"".join(parts[number] for number in range(parts_total))
