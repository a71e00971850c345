"""Argon2id (RFC 9106) with one lane."""

from __future__ import annotations

from nacl.pwhash import argon2id as _argon2id


def argon2id(data: bytes, salt: bytes, memory_bytes: int, passes: int, size: int = 32) -> bytes:
    """`size` bytes (at least 16) from `data`; `salt` has 16 bytes, `memory_bytes` at least 8192."""
    return _argon2id.kdf(size, data, salt, opslimit=passes, memlimit=memory_bytes)
