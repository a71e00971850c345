"""ChaCha20 (RFC 8439 block function) as a stream of a one-time key, and XOR of short strings."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from mixmail.crypto.hashing import Buffer

_ZERO_NONCE = bytes(16)  # block counter and nonce, both zero: each key is used for one string only


def chacha20_xor(key: bytes, data: Buffer) -> bytes:
    """`data` XOR the ChaCha20 key stream from block 0 with a zero nonce; `key` has 32 bytes."""
    return Cipher(algorithms.ChaCha20(key, _ZERO_NONCE), None).encryptor().update(data)


def xor(a: bytes, b: bytes) -> bytes:
    """Bytewise XOR of two short strings of one length.  ValueError when the lengths differ."""
    if len(a) != len(b):
        raise ValueError(f"cannot XOR {len(a)} with {len(b)} bytes")
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")
