"""Small helpers for fixed byte layouts."""

from __future__ import annotations

from mixmail.errors import RemoteProtocolError


def u32le(value: int) -> bytes:
    """Four bytes, little-endian: how integers enter hashes."""
    return value.to_bytes(4, "little")


def u64le(value: int) -> bytes:
    """Eight bytes, little-endian: how integers enter hashes."""
    return value.to_bytes(8, "little")


def require_length(name: str, data: bytes, length: int) -> bytes:
    """Return `data` if it has exactly `length` bytes, else raise RemoteProtocolError."""
    if len(data) != length:
        raise RemoteProtocolError(f"{name} has {len(data)} bytes, not {length}")
    return data


def require_zero(name: str, data: bytes) -> None:
    """Raise RemoteProtocolError unless every byte of a reserved field is zero."""
    if data != bytes(len(data)):  # one memcmp: fields of 17 kB pass here for each query
        raise RemoteProtocolError(f"{name} must be zero")


def pad(data: bytes, length: int) -> bytes:
    """`data` followed by zero bytes up to `length`; ValueError when it is longer."""
    if len(data) > length:
        raise ValueError(f"{len(data)} bytes do not fit into {length}")
    return data + bytes(length - len(data))
