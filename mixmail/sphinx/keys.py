"""The keys of one hop (docs/protocol/packet.md, "Keys")."""

from __future__ import annotations

from typing import NamedTuple

from mixmail.crypto import hashing
from mixmail.params import GEOMETRY

_MAC = GEOMETRY.mac


class HopKeys(NamedTuple):
    """Four strings of 32 bytes; only the replay tag may be stored or shown."""

    mac: bytes
    stream: bytes
    payload: bytes
    replay_tag: bytes

    @classmethod
    def derive(cls, secret: bytes, ct_hash: bytes) -> HopKeys:
        """From a hop's KEM secret (32) and BLAKE2b-256 of its KEM ciphertext:

        mac | stream = H512("mm1.packet.head", secret; ct_hash)
        payload | replay_tag = H512("mm1.packet.body", secret; ct_hash)
        """
        return cls._make(hashing.four_keys("mm1.packet.head", "mm1.packet.body", secret, ct_hash))

    def __repr__(self) -> str:
        return f"HopKeys(replay_tag={self.replay_tag.hex()})"


def header_mac(mac_key: bytes, authenticated: hashing.Buffer) -> bytes:
    """16 bytes over ver | kem_ct | routing (7041 bytes)."""
    return hashing.blake2b(authenticated, _MAC, key=mac_key, person=b"mm1.packet.mac")
