"""Node descriptors: what a node says about itself, signed, in 7704 bytes of fixed layout.

    off  size  field
      0     1  layout version, 1
      1     1  lowest protocol version that the node speaks
      2     1  highest protocol version
      3     1  stamp bits that the node asks for records (its claim)
      4     2  roles, bits of `Role`
      6     2  day of publication, days since 1970-01-01 UTC
      8     2  revision: orders the descriptors of one id and day
     10     2  puzzle period q
     12     4  epoch e of the first mix key and the first proxy key
     16     8  puzzle nonce
     24    32  node id: an ed25519 public key
     56    32  storage id: the puzzle's result
     88    32  network hash
    120    32  parameters hash
    152    32  hash of the next parameters, zero when no change is planned
    184    32  hash of the link certificate
    216   128  endpoint: printable ASCII without spaces, zero bytes behind it
    344  3648  X-Wing mix keys of the epochs e, e+1, e+2, 1216 each
   3992  3648  X-Wing proxy keys of the same epochs
   7640    64  ed25519 signature over "mm1-descriptor" | 0 | all bytes before it

Integers are big-endian (docs/protocol/directory.md).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from mixmail.crypto import ed25519, hashing, kem
from mixmail.directory.puzzle import NONCE_BYTES, Proof
from mixmail.encoding import pad, require_length
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, ID_BYTES, PROTOCOL_VERSION, Network, NetworkParameters

LAYOUT_VERSION = 1
NO_CHANGE = bytes(32)  # next_parameters_hash of a network that plans none
_DOMAIN = b"mm1-descriptor\0"
_FIELDS = struct.Struct(">BBBBHHHHI8s32s32s32s32s32s32s")
_KEYS_AT = GEOMETRY.descriptor_fields + GEOMETRY.endpoint
_KEYS = GEOMETRY.published_epochs * GEOMETRY.kem_public
_SIGNED = GEOMETRY.descriptor - GEOMETRY.signature


class Role(enum.IntFlag):
    """What a node does for others.  Bits that we do not know are kept and ignored."""

    MIX = 1
    COURIER = 2
    PROXY = 4
    REPLICA = 8
    GUARD = 16


FULL = Role.MIX | Role.COURIER | Role.PROXY | Role.REPLICA
NO_ROLES = Role(0)  # the last word of a node that leaves


def epoch_of(params: NetworkParameters, now: float) -> int:
    """The number of the epoch at `now` (unix seconds)."""
    return int(now // params.epoch)


@dataclass(frozen=True)
class Descriptor:
    """One parsed descriptor.  `raw` holds its 7704 bytes; keys are parsed when they are first used.

    `parse` checks the layout only.  Signature, puzzle, date and network are checked by `View.add`.
    """

    raw: bytes = field(repr=False)
    node_id: bytes
    nonce: bytes = field(compare=False)
    q: int = field(compare=False)
    storage_id: bytes = field(compare=False)
    day: int = field(compare=False)
    revision: int = field(compare=False)
    roles: int = field(compare=False)
    endpoint: str = field(compare=False)
    epoch: int = field(compare=False)
    stamp_bits: int = field(compare=False)
    link_cert_hash: bytes = field(compare=False)
    parameters_hash: bytes = field(compare=False)
    network_hash: bytes = field(compare=False)
    version_min: int = field(compare=False)
    version_max: int = field(compare=False)
    next_parameters_hash: bytes = field(compare=False)
    _cache: dict[int, kem.PublicKey] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, raw: bytes) -> Descriptor:
        """A descriptor from its 7704 bytes; RemoteProtocolError when the layout is broken."""
        raw = bytes(require_length("descriptor", raw, GEOMETRY.descriptor))
        (
            layout,
            version_min,
            version_max,
            stamp_bits,
            roles,
            day,
            revision,
            q,
            epoch,
            nonce,
            node_id,
            storage_id,
            network_hash,
            parameters_hash,
            next_parameters_hash,
            link_cert_hash,
        ) = _FIELDS.unpack_from(raw)
        if layout != LAYOUT_VERSION:
            raise RemoteProtocolError(f"descriptor layout {layout} is unknown")
        if version_min > version_max:
            raise RemoteProtocolError("descriptor with an empty range of versions")
        return cls(
            raw=raw,
            node_id=node_id,
            nonce=nonce,
            q=q,
            storage_id=storage_id,
            day=day,
            revision=revision,
            roles=roles,
            endpoint=_parse_endpoint(raw[_FIELDS.size : _KEYS_AT]),
            epoch=epoch,
            stamp_bits=stamp_bits,
            link_cert_hash=link_cert_hash,
            parameters_hash=parameters_hash,
            network_hash=network_hash,
            version_min=version_min,
            version_max=version_max,
            next_parameters_hash=next_parameters_hash,
        )

    def pack(self) -> bytes:
        """The 7704 bytes."""
        return self.raw

    @cached_property
    def hash(self) -> bytes:
        """BLAKE2b-256 of the whole descriptor: by this it stands in digests."""
        return hashing.blake2b(self.raw)

    @property
    def proof(self) -> Proof:
        """The puzzle proof that the descriptor claims."""
        return Proof(self.nonce, self.q, self.storage_id)

    @property
    def signature(self) -> bytes:
        """64 bytes."""
        return self.raw[_SIGNED:]

    @property
    def order(self) -> tuple[int, int]:
        """(day, revision): the highest of one node is the one that counts."""
        return self.day, self.revision

    @property
    def epochs(self) -> range:
        """The epochs for which it carries keys."""
        return range(self.epoch, self.epoch + GEOMETRY.published_epochs)

    @property
    def mix_keys(self) -> tuple[tuple[int, kem.PublicKey], ...]:
        """(epoch, key) of all mix keys; RemoteProtocolError when one is malformed."""
        return tuple((epoch, self.mix_key(epoch)) for epoch in self.epochs)

    @property
    def proxy_keys(self) -> tuple[tuple[int, kem.PublicKey], ...]:
        """(epoch, key) of all proxy keys; RemoteProtocolError when one is malformed."""
        return tuple((epoch, self.proxy_key(epoch)) for epoch in self.epochs)

    def mix_key(self, epoch: int) -> kem.PublicKey:
        """The mix key of `epoch`.

        LocalProtocolError when the descriptor has none for it, RemoteProtocolError when it is malformed.
        """
        return self._key(_KEYS_AT, epoch)

    def proxy_key(self, epoch: int) -> kem.PublicKey:
        """The proxy key of `epoch`; errors as in `mix_key`."""
        return self._key(_KEYS_AT + _KEYS, epoch)

    def _key(self, start: int, epoch: int) -> kem.PublicKey:
        number = epoch - self.epoch
        if not 0 <= number < GEOMETRY.published_epochs:
            raise LocalProtocolError(f"the descriptor has no key for epoch {epoch}")
        at = start + number * GEOMETRY.kem_public
        key = self._cache.get(at)
        if key is None:
            key = self._cache[at] = kem.PublicKey.parse(self.raw[at : at + GEOMETRY.kem_public])
        return key

    def check_signature(self) -> bool:
        """True when the node's id signed every byte before the signature."""
        return ed25519.verify(self.node_id, _DOMAIN + self.raw[:_SIGNED], self.signature)


def _parse_endpoint(raw: bytes) -> str:
    text = raw.rstrip(b"\0")
    if not _printable(text):
        raise RemoteProtocolError("descriptor endpoint is not printable ASCII")
    return text.decode("ascii")


def _printable(text: bytes) -> bool:
    return bool(text) and all(0x21 <= byte <= 0x7E for byte in text)


def pack_endpoint(endpoint: str) -> bytes:
    """The 128-byte field; LocalProtocolError when the endpoint does not fit the layout."""
    text = endpoint.encode("utf-8", "replace")
    if len(text) > GEOMETRY.endpoint or not _printable(text):
        raise LocalProtocolError(f"not an endpoint of at most {GEOMETRY.endpoint} ASCII characters")
    return pad(text, GEOMETRY.endpoint)


def build(
    seed: bytes,
    network: Network,
    *,
    day: int,
    revision: int,
    epoch: int,
    mix_keys: Sequence[kem.PublicKey],
    proxy_keys: Sequence[kem.PublicKey],
    endpoint: str,
    link_cert_hash: bytes,
    proof: Proof,
    roles: int = FULL,
    stamp_bits: int = 0,
    next_parameters_hash: bytes = NO_CHANGE,
) -> Descriptor:
    """Make and sign the descriptor of the node with the ed25519 seed `seed` (32 bytes).

    `mix_keys` and `proxy_keys` are those of `epoch`, epoch + 1, epoch + 2.  LocalProtocolError when a
    field does not fit the layout.
    """
    count = GEOMETRY.published_epochs
    if len(mix_keys) != count or len(proxy_keys) != count:
        raise LocalProtocolError(f"a descriptor carries {count} mix keys and {count} proxy keys")
    for value in (link_cert_hash, next_parameters_hash, proof.storage_id):
        if len(value) != ID_BYTES:
            raise LocalProtocolError(f"hashes in a descriptor have {ID_BYTES} bytes")
    if len(proof.nonce) != NONCE_BYTES:
        raise LocalProtocolError(f"a puzzle nonce has {NONCE_BYTES} bytes")
    try:
        fields = _FIELDS.pack(
            LAYOUT_VERSION,
            PROTOCOL_VERSION,
            PROTOCOL_VERSION,
            stamp_bits,
            roles,
            day,
            revision,
            proof.q,
            epoch,
            proof.nonce,
            ed25519.public_of_seed(seed),
            proof.storage_id,
            network.hash,
            network.parameters.hash(),
            next_parameters_hash,
            link_cert_hash,
        )
    except struct.error as error:
        raise LocalProtocolError(f"a number does not fit into the descriptor: {error}") from error
    keys = b"".join(key.raw for key in (*mix_keys, *proxy_keys))
    signed = fields + pack_endpoint(endpoint) + keys
    return Descriptor.parse(signed + ed25519.sign(seed, _DOMAIN + signed))
