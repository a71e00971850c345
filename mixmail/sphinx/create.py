"""Building headers and packets, from the last hop back to the first (docs/protocol/packet.md).

At each hop the routing area moves one block to the left and the hop's key stream fills the gap.  The
creator computes that filling beforehand (`_filler`), so that the last hop's MAC covers it.  Blocks
that no hop reads are random, not zero: zeros would show the last hop how long its path was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mixmail.crypto import hashing, kem, stream, wideblock
from mixmail.errors import LocalProtocolError
from mixmail.params import GEOMETRY, ID_BYTES, PROTOCOL_VERSION
from mixmail.randomness import Randomness
from mixmail.sphinx.command import Command, CommandKind
from mixmail.sphinx.keys import HopKeys, header_mac

VERSION = bytes([PROTOCOL_VERSION])
ZERO_TAG = bytes(GEOMETRY.body_tag)
DELIVER_HERE = (CommandKind.DELIVER, bytes(ID_BYTES))


@dataclass(frozen=True, slots=True)
class Hop:
    """One node of a path: its 32-byte id, its mix key of the epoch, and the delay it is asked for."""

    node_id: bytes
    key: kem.PublicKey
    delay_ms: int


def create_packet(
    path: Sequence[Hop],
    payload: bytes,
    rng: Randomness,
    final: tuple[CommandKind, bytes] = DELIVER_HERE,
) -> bytes:
    """A packet of 32768 bytes for the first of 1 to 5 hops; `payload` has exactly 25679 bytes.

    `final` is the last hop's command kind (DELIVER or SURB_REPLY) and ident.  The KEM draws its own
    randomness, so equal arguments never give equal packets.  LocalProtocolError: path, payload, delay
    or final command out of range.
    """
    if len(payload) != GEOMETRY.payload:
        raise LocalProtocolError(f"a payload has {GEOMETRY.payload} bytes, not {len(payload)}")
    header, keys = build_header(path, final, rng)
    body = ZERO_TAG + payload
    for hop in reversed(keys):
        body = wideblock.encrypt(wideblock.Keys.derive(hop.payload), body)
    return header + body


def build_header(
    path: Sequence[Hop], final: tuple[CommandKind, bytes], rng: Randomness
) -> tuple[bytes, list[HopKeys]]:
    """The first hop's header (7057 bytes) and the keys of every hop in the order of the path."""
    count = len(path)
    if not 1 <= count <= GEOMETRY.max_hops:
        raise LocalProtocolError(f"a path has 1 to {GEOMETRY.max_hops} hops, not {count}")
    if final[0] is CommandKind.FORWARD:
        raise LocalProtocolError("the last hop of a path cannot forward")
    cts: list[bytes] = []
    keys: list[HopKeys] = []
    for hop in path:
        ct, secret = kem.encapsulate(hop.key)
        cts.append(ct)
        keys.append(HopKeys.derive(secret, hashing.blake2b(ct)))

    filler = _filler(keys[:-1])
    command = Command(final[0], path[-1].delay_ms, final[1])
    unread = rng.bytes(GEOMETRY.routing - len(filler) - GEOMETRY.command)
    routing = stream.chacha20_xor(keys[-1].stream, command.pack() + unread) + filler
    authenticated = VERSION + cts[-1] + routing
    mac = header_mac(keys[-1].mac, authenticated)
    for i in range(count - 2, -1, -1):
        command = Command(CommandKind.FORWARD, path[i].delay_ms, path[i + 1].node_id, mac)
        kept = routing[: GEOMETRY.routing - GEOMETRY.block]
        routing = stream.chacha20_xor(keys[i].stream, command.pack() + cts[i + 1] + kept)
        authenticated = VERSION + cts[i] + routing
        mac = header_mac(keys[i].mac, authenticated)
    return authenticated + mac, keys


def _filler(keys: Sequence[HopKeys]) -> bytes:
    """What the hops of `keys` will have put at the end of the routing area: a block for each.

    filler' = (filler | one zero block) XOR the last len(filler) + 1184 bytes of the 7104-byte stream.
    """
    filler = b""
    for hop in keys:
        start = GEOMETRY.routing - len(filler)
        padded = bytes(start) + filler + bytes(GEOMETRY.block)
        filler = stream.chacha20_xor(hop.stream, padded)[start:]
    return filler
