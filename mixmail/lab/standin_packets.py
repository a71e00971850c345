"""Packets without cryptography, of the real sizes and with the real rules, for `stand_in_crypto`.

    header (7057) = version | turns (1) | tag (31) | a stop for each hop | zero
    stop (96)     = beginning of the hop's mix key (32) | command (64)

A hop opens a packet only with a key of the packet's stops.  Where no hop comes twice (turns 0), the packet
goes on as the same bytes, so that nothing is copied; else only the first stop opens it, and the hop takes
that stop away and counts the turns up.  From `rng` they draw what the real ones draw, so that a run goes
on in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mixmail.crypto import kem
from mixmail.encoding import require_length
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, ID_BYTES
from mixmail.randomness import Randomness
from mixmail.sphinx.command import Command, CommandKind
from mixmail.sphinx.create import DELIVER_HERE, VERSION, ZERO_TAG, Hop
from mixmail.sphinx.surb import SurbKeys
from mixmail.sphinx.unwrap import open_body

_HEADER = GEOMETRY.header
_TAG = slice(1, 33)
_STOPS_AT = 33
_KEY = 32
_STOP = _KEY + GEOMETRY.command
_STOPS_END = _STOPS_AT + GEOMETRY.max_hops * _STOP
_SAME = b"\0"  # turns of a packet that does not change
_NO_STOP = bytes(_STOP)
_DRAWN = GEOMETRY.routing - GEOMETRY.command  # of random bytes by a header of one hop ...
_FEWER = GEOMETRY.block  # ... and so many fewer for each further one


class Packets:
    """`create_packet`, `create_surb`, `use_surb`, `open_surb_reply` and `open_header` of these packets.

    `tags` is where a packet's tag comes from: real ones draw it outside of `rng`.
    """

    def __init__(self, tags: Randomness) -> None:
        self._tags = tags

    def create_packet(
        self,
        path: Sequence[Hop],
        payload: bytes,
        rng: Randomness,
        final: tuple[CommandKind, bytes] = DELIVER_HERE,
    ) -> bytes:
        """As `mixmail.sphinx.create.create_packet`."""
        if len(payload) != GEOMETRY.payload:
            raise LocalProtocolError(f"a payload has {GEOMETRY.payload} bytes, not {len(payload)}")
        return b"".join((self._header(path, final, rng), ZERO_TAG, payload))

    def create_surb(self, path: Sequence[Hop], surb_id: bytes, rng: Randomness) -> tuple[bytes, SurbKeys]:
        """As `mixmail.sphinx.surb.create_surb`."""
        header = self._header(path, (CommandKind.SURB_REPLY, surb_id), rng)
        k0 = rng.bytes(32)
        return path[0].node_id + header + k0, SurbKeys(surb_id, k0, ())

    def use_surb(self, surb: bytes, payload: bytes) -> tuple[bytes, bytes]:
        """As `mixmail.sphinx.surb.use_surb`."""
        require_length("reply block", surb, GEOMETRY.surb)
        if surb[ID_BYTES : ID_BYTES + 1] != VERSION:
            raise RemoteProtocolError("reply block of an unknown version")
        return surb[:ID_BYTES], b"".join((surb[ID_BYTES:-32], ZERO_TAG, payload))

    def open_surb_reply(self, keys: SurbKeys, body: bytes) -> bytes:
        """As `mixmail.sphinx.surb.open_surb_reply`."""
        return open_body(require_length("reply body", body, GEOMETRY.body))

    def open_header(self, keys: Sequence[kem.PrivateKey], packet: bytes) -> Opened:
        """As `mixmail.sphinx.unwrap.open_header`."""
        require_length("packet", packet, GEOMETRY.packet)
        if packet[:1] != VERSION:
            raise RemoteProtocolError(f"packet version {packet[0]} is unknown")
        end = _STOPS_END if packet[1:2] == _SAME else _STOPS_AT + _STOP
        for key in keys:
            at = packet.find(key.public.raw[:_KEY], _STOPS_AT, end)
            if at >= 0:
                command = Command.parse(packet[at + _KEY : at + _STOP])
                return Opened(packet[_TAG], command, packet)
        raise RemoteProtocolError("no live key fits the packet")

    def _header(self, path: Sequence[Hop], final: tuple[CommandKind, bytes], rng: Randomness) -> bytes:
        count = len(path)
        if not 1 <= count <= GEOMETRY.max_hops:
            raise LocalProtocolError(f"a path has 1 to {GEOMETRY.max_hops} hops, not {count}")
        rng.bytes(_DRAWN - (count - 1) * _FEWER)
        again = len({hop.key.raw for hop in path}) < count
        pieces = [VERSION, b"\1" if again else _SAME, self._tags.bytes(31)]
        for number, hop in enumerate(path):
            if number + 1 < count:
                command = Command(CommandKind.FORWARD, hop.delay_ms, path[number + 1].node_id)
            else:
                command = Command(final[0], hop.delay_ms, final[1])
            pieces += (hop.key.raw[:_KEY], command.pack())
        return b"".join(pieces).ljust(_HEADER, b"\0")


@dataclass(slots=True)
class Opened:
    """As `mixmail.sphinx.unwrap.OpenedHeader`."""

    replay_tag: bytes
    command: Command
    packet: bytes

    def finish(self) -> bytes:
        """As `OpenedHeader.finish`."""
        kind = self.command.kind
        if kind is CommandKind.FORWARD and self.replay_tag[:1] == _SAME:
            return self.packet
        if kind is CommandKind.FORWARD:
            tag = bytes([self.replay_tag[0] + 1]) + self.replay_tag[1:]
            view = memoryview(self.packet)
            rest = view[_STOPS_AT + _STOP : _HEADER]
            return b"".join((VERSION, tag, rest, _NO_STOP, view[_HEADER:]))
        body = self.packet[_HEADER:]
        return open_body(body) if kind is CommandKind.DELIVER else body
