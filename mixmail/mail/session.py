"""What two people share after the first message (docs/protocol/people.md, "Session").

Each side writes only its own random stream.  The side that was written to puts one box into the rendezvous
stream, which tells the other where its own stream begins.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

from mixmail.boxes.capability import CAP_BYTES, ReadCap
from mixmail.crypto import hashing, kem
from mixmail.encoding import u32le
from mixmail.errors import RemoteProtocolError
from mixmail.mail.parts import Part, PartKind
from mixmail.params import MAIL


class Side(enum.IntEnum):
    """Who wrote: the one who wrote the first message, or the other."""

    FIRST = 0
    SECOND = 1


def mac_key(root: bytes, writer: Side) -> bytes:
    """The key (32 bytes) of the MACs in all texts of this writer: H512("mm1.session", root; writer)[:32].

    The other half is kept for the stream hops of this direction.
    """
    return hashing.h512("mm1.session", root, u32le(writer))[:32]


@dataclass(frozen=True, slots=True)
class AnswerText:
    """The box in the rendezvous stream: the second side's stream, its X-Wing key, a first part of mail."""

    read_cap: ReadCap
    next_key: kem.PublicKey
    part: Part


def answer_text(root: bytes, read_cap: ReadCap, next_key: kem.PublicKey, part: Part) -> bytes:
    """The 17182 bytes of the answer; `part` is number 0 of a mail cut with first_capacity = ANSWER_ROOM."""
    return dataclasses.replace(
        part,
        kind=PartKind.ANSWER,
        caps=read_cap.pack() + next_key.raw,
        mac_key=mac_key(root, Side.SECOND),
    ).pack()


def parse_answer(root: bytes, text: bytes, limit: int = MAIL.mail_limit) -> AnswerText:
    """From the opened box; RemoteProtocolError when it is no answer of this session."""
    part = Part.parse(text, mac_key(root, Side.SECOND), limit)
    if part.kind is not PartKind.ANSWER:
        raise RemoteProtocolError("the box in a rendezvous stream is no answer")
    read_cap = ReadCap.parse(part.caps[:CAP_BYTES])
    return AnswerText(read_cap, kem.PublicKey.parse(part.caps[CAP_BYTES:]), part)
