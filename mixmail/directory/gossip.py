"""The payloads by which nodes tell each other of descriptors (docs/protocol/directory.md, "Gossip").

    DIGEST  count u16 | count * (node id 32 | hash of descriptor 32)
    WANT    count u16 | count * node id 32
    PUSH    count u16 | count * descriptor 7704

Each must be exactly as long as its count says.
"""

from __future__ import annotations

from collections.abc import Sequence

from mixmail.directory.descriptor import Descriptor
from mixmail.encoding import require_length
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, ID_BYTES

_COUNT = 2
_MAX = 0xFFFF


def pack_digest(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A DIGEST of (node id, hash of descriptor)."""
    return _pack([node_id + hash_ for node_id, hash_ in entries])


def parse_digest(payload: bytes) -> list[tuple[bytes, bytes]]:
    """The (node id, hash) of a DIGEST; RemoteProtocolError when its length is wrong."""
    return [(item[:ID_BYTES], item[ID_BYTES:]) for item in _parse("digest", payload, 2 * ID_BYTES)]


def pack_want(node_ids: Sequence[bytes]) -> bytes:
    """A WANT for the descriptors of these nodes."""
    return _pack(node_ids)


def parse_want(payload: bytes) -> list[bytes]:
    """The node ids of a WANT; RemoteProtocolError when its length is wrong."""
    return _parse("want", payload, ID_BYTES)


def pack_push(descriptors: Sequence[Descriptor]) -> bytes:
    """A PUSH of these descriptors."""
    return _pack([descriptor.raw for descriptor in descriptors])


def parse_push(payload: bytes) -> list[Descriptor]:
    """The descriptors of a PUSH; RemoteProtocolError when its length or one of their layouts is wrong."""
    return [Descriptor.parse(raw) for raw in _parse("push", payload, GEOMETRY.descriptor)]


def _pack(items: Sequence[bytes]) -> bytes:
    if len(items) > _MAX:
        raise LocalProtocolError(f"{len(items)} entries do not fit into one gossip message")
    return len(items).to_bytes(_COUNT, "big") + b"".join(items)


def _parse(name: str, payload: bytes, size: int) -> list[bytes]:
    if len(payload) < _COUNT:
        raise RemoteProtocolError(f"{name} without a count")
    count = int.from_bytes(payload[:_COUNT], "big")
    require_length(name, payload, _COUNT + count * size)
    return [payload[at : at + size] for at in range(_COUNT, len(payload), size)]
