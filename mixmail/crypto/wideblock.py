"""LIONESS: a wide-block cipher over a whole packet body (docs/protocol/packet.md, "Body").

Anderson and Biham, "Two practical and provably secure block ciphers: BEAR and LION" (1996), with
ChaCha20 as the stream and keyed BLAKE3 as the hash.  The left part has 32 bytes, the right part is
the rest.  Flip one bit of the ciphertext and the whole plaintext is random: that is what keeps a
body from being tagged.  Sound for one-time keys only: one key encrypts one block.
"""

from __future__ import annotations

from typing import NamedTuple

from mixmail.crypto.hashing import Buffer, blake3_keyed, four_keys
from mixmail.crypto.stream import chacha20_xor, xor

_LEFT = 32


class Keys(NamedTuple):
    """The four round keys, 32 bytes each."""

    k1: bytes
    k2: bytes
    k3: bytes
    k4: bytes

    @classmethod
    def derive(cls, k_pay: bytes) -> Keys:
        """k1|k2 = H512("mm1.lioness.12", k_pay), k3|k4 = H512("mm1.lioness.34", k_pay)."""
        return cls._make(four_keys("mm1.lioness.12", "mm1.lioness.34", k_pay))

    def __repr__(self) -> str:
        return "Keys(…)"


def encrypt(keys: Keys, block: bytes) -> bytes:
    """R ^= S(L^k1); L ^= H(k2, R); R ^= S(L^k3); L ^= H(k4, R).  `block` is longer than 32 bytes."""
    left, tail = _halves(block)
    right = chacha20_xor(xor(left, keys.k1), tail)
    left = xor(left, blake3_keyed(keys.k2, right))
    right = chacha20_xor(xor(left, keys.k3), right)
    return xor(left, blake3_keyed(keys.k4, right)) + right


def decrypt(keys: Keys, block: Buffer, *head: Buffer) -> bytes:
    """The inverse of `encrypt`, behind the pieces of `head`: so a whole packet is copied only once."""
    left, tail = _halves(block)
    left = xor(left, blake3_keyed(keys.k4, tail))
    right = chacha20_xor(xor(left, keys.k3), tail)
    left = xor(left, blake3_keyed(keys.k2, right))
    return b"".join((*head, left, chacha20_xor(xor(left, keys.k1), right)))


def _halves(block: Buffer) -> tuple[bytes, memoryview]:
    if len(block) <= _LEFT:
        raise ValueError(f"a wide block of {len(block)} bytes is too short")
    return bytes(block[:_LEFT]), memoryview(block)[_LEFT:]
