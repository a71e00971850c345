"""Taking one layer off a packet (docs/protocol/packet.md, "One hop").

In two steps: `open_header` checks the MAC and decrypts the routing block; the caller looks the replay
tag up and stores it; only then `finish` opens the body.  Whatever is wrong with a packet is a
RemoteProtocolError, and the packet is dropped without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mixmail.crypto import compare, hashing, kem, stream, wideblock
from mixmail.errors import RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.sphinx.command import Command, CommandKind
from mixmail.sphinx.create import VERSION, ZERO_TAG
from mixmail.sphinx.keys import HopKeys, header_mac

# GEOMETRY computes its sums at each access; here they are taken once
_CT_END = 1 + GEOMETRY.kem_ct
_ROUTING_END = _CT_END + GEOMETRY.routing
_HEADER = GEOMETRY.header
_PACKET = GEOMETRY.packet
_COMMAND = GEOMETRY.command
_TAG = GEOMETRY.body_tag
_GAP = bytes(GEOMETRY.block)


@dataclass(slots=True)  # not frozen: that would cost a microsecond a packet
class OpenedHeader:
    """A packet whose header is authentic; its body is still closed.

    `replay_tag` (32 bytes) is equal for two packets only if their headers are.
    """

    replay_tag: bytes
    command: Command
    _routing: bytes = field(repr=False)  # decrypted: command | next KEM ciphertext | next routing area
    _packet: bytes = field(repr=False)
    _payload_key: bytes = field(repr=False)

    def finish(self) -> bytes:
        """Take the body's layer off.

        FORWARD: the next hop's packet (32768 bytes).  DELIVER: the payload (25679 bytes).
        SURB_REPLY: the body (25711 bytes), which only the owner's `SurbKeys` turn into a payload.
        RemoteProtocolError: DELIVER, and the body was changed on its way.
        """
        keys = wideblock.Keys.derive(self._payload_key)
        body = memoryview(self._packet)[_HEADER:]
        kind = self.command.kind
        if kind is CommandKind.FORWARD:
            rest = memoryview(self._routing)[_COMMAND:]
            return wideblock.decrypt(keys, body, VERSION, rest, self.command.next_mac)
        opened = wideblock.decrypt(keys, body)
        return open_body(opened) if kind is CommandKind.DELIVER else opened


def open_header(keys: Sequence[kem.PrivateKey], packet: bytes) -> OpenedHeader:
    """Check a packet's header under the first of `keys` (the live epochs) that fits, and decrypt it.

    RemoteProtocolError: wrong size or version, a low-order point, a MAC that fits no key, or a
    malformed command.
    """
    if len(packet) != _PACKET:
        raise RemoteProtocolError(f"a packet has {_PACKET} bytes, not {len(packet)}")
    if packet[:1] != VERSION:
        raise RemoteProtocolError(f"packet version {packet[0]} is unknown")
    ct = packet[1:_CT_END]
    view = memoryview(packet)
    hop = _find_keys(keys, ct, view[:_ROUTING_END], packet[_ROUTING_END:_HEADER])
    routing = stream.chacha20_xor(hop.stream, b"".join((view[_CT_END:_ROUTING_END], _GAP)))
    command = Command.parse(routing[:_COMMAND])
    return OpenedHeader(hop.replay_tag, command, routing, packet, hop.payload)


def open_body(body: bytes) -> bytes:
    """The payload behind the zero tag; RemoteProtocolError when the tag is not zero."""
    if not compare.equal(body[:_TAG], ZERO_TAG):
        raise RemoteProtocolError("the packet's body was changed on its way")
    return body[_TAG:]


def _find_keys(keys: Sequence[kem.PrivateKey], ct: bytes, authenticated: memoryview, mac: bytes) -> HopKeys:
    ct_hash = hashing.blake2b(ct)
    for key in keys:
        hop = HopKeys.derive(kem.decapsulate(key, ct), ct_hash)
        if compare.equal(header_mac(hop.mac, authenticated), mac):
            return hop
    raise RemoteProtocolError("no live key fits the packet's MAC")
