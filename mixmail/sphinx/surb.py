"""Single-use reply blocks (docs/protocol/packet.md, "Reply blocks").

    SURB (7121) = first hop (32) | header (7057) | k0 (32)

The owner builds a header whose last hop is itself.  The replier encrypts zero tag | payload under k0
and sends header | body to the first hop.  Each hop, the owner among them, decrypts one layer as it
does with every packet; the owner encrypts those layers back on, last hop first, and decrypts with k0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mixmail.crypto import wideblock
from mixmail.encoding import require_length
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, ID_BYTES
from mixmail.randomness import Randomness
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import VERSION, ZERO_TAG, Hop, build_header
from mixmail.sphinx.unwrap import open_body

_HEADER_END = ID_BYTES + GEOMETRY.header


@dataclass(frozen=True, slots=True)
class SurbKeys:
    """What the owner keeps of a reply block until its answer comes or its time is over."""

    surb_id: bytes
    k0: bytes = field(repr=False)
    payload_keys: tuple[bytes, ...] = field(repr=False)


def create_surb(path: Sequence[Hop], surb_id: bytes, rng: Randomness) -> tuple[bytes, SurbKeys]:
    """A reply block of 7121 bytes along 1 to 5 hops, the last of which is its owner.

    `surb_id` (32 random bytes) comes back as the ident of the owner's SURB_REPLY command.
    LocalProtocolError: path, delay or id out of range.
    """
    header, keys = build_header(path, (CommandKind.SURB_REPLY, surb_id), rng)
    if len(path[0].node_id) != ID_BYTES:
        raise LocalProtocolError("the first hop's id has a wrong length")
    k0 = rng.bytes(32)
    return path[0].node_id + header + k0, SurbKeys(surb_id, k0, tuple(hop.payload for hop in keys))


def use_surb(surb: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """The first hop's id and the packet (32768 bytes) that carries `payload` (25679 bytes) back.

    RemoteProtocolError: the reply block has a wrong size or version.  LocalProtocolError: the payload
    has a wrong size.  Use a reply block once: k0 must not encrypt two bodies.
    """
    require_length("reply block", surb, GEOMETRY.surb)
    if surb[ID_BYTES : ID_BYTES + 1] != VERSION:
        raise RemoteProtocolError("reply block of an unknown version")
    if len(payload) != GEOMETRY.payload:
        raise LocalProtocolError(f"a payload has {GEOMETRY.payload} bytes, not {len(payload)}")
    body = wideblock.encrypt(wideblock.Keys.derive(surb[_HEADER_END:]), ZERO_TAG + payload)
    return surb[:ID_BYTES], surb[ID_BYTES:_HEADER_END] + body


def open_surb_reply(keys: SurbKeys, body: bytes) -> bytes:
    """The replier's payload from the body (25711 bytes) that the owner's own unwrap returned.

    RemoteProtocolError: wrong size, another reply block's answer, or changed on its way.
    """
    require_length("reply body", body, GEOMETRY.body)
    for key in reversed(keys.payload_keys):
        body = wideblock.encrypt(wideblock.Keys.derive(key), body)
    return open_body(wideblock.decrypt(wideblock.Keys.derive(keys.k0), body))
