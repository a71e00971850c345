"""Hash functions: BLAKE2b (RFC 7693) with key and personalisation, and keyed BLAKE3."""

from __future__ import annotations

import hashlib

from blake3 import blake3

Buffer = bytes | bytearray | memoryview


def blake2b(data: Buffer, size: int = 32, *, key: bytes = b"", person: bytes = b"") -> bytes:
    """BLAKE2b of `data` to `size` bytes (1..64); `key` up to 64 bytes, `person` up to 16."""
    return hashlib.blake2b(data, digest_size=size, key=key, person=person).digest()


def h512(person: str, key: bytes, *parts: bytes) -> bytes:
    """H512(person, key; parts): 64 bytes of keyed, personalised BLAKE2b.

    Each part goes in behind its length as u32 little-endian, so two lists of parts never give the
    same input.  `person` is ASCII of at most 16 characters, `key` has at most 64 bytes.
    """
    return hashlib.blake2b(_framed(parts), digest_size=64, key=key, person=person.encode()).digest()


def four_keys(first: str, second: str, key: bytes, *parts: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The halves of H512(first, key; parts) and of H512(second, key; parts), 32 bytes each."""
    data = _framed(parts)
    one = hashlib.blake2b(data, digest_size=64, key=key, person=first.encode()).digest()
    two = hashlib.blake2b(data, digest_size=64, key=key, person=second.encode()).digest()
    return one[:32], one[32:], two[:32], two[32:]


def _framed(parts: tuple[bytes, ...]) -> bytes:
    data = b""
    for part in parts:
        data += len(part).to_bytes(4, "little") + part
    return data


def blake3_keyed(key: bytes, data: Buffer) -> bytes:
    """Keyed BLAKE3 to 32 bytes; `key` has 32 bytes."""
    return blake3(data, key=key).digest()
