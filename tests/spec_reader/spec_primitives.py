"""The primitives of the "Notation" of docs/protocol/packet.md and boxes.md, written from the documents."""

from __future__ import annotations

import hashlib

import blake3
import nacl.bindings
import nacl.exceptions
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

ORDER = 2**252 + 27742317777372353535851937790883648493  # L: the order of the ed25519 group


class Refused(Exception):
    """What was read is against the documents."""


def u16be(n: int) -> bytes:
    return n.to_bytes(2, "big")


def u32be(n: int) -> bytes:
    return n.to_bytes(4, "big")


def u64be(n: int) -> bytes:
    return n.to_bytes(8, "big")


def u16le(n: int) -> bytes:
    return n.to_bytes(2, "little")


def u32le(n: int) -> bytes:
    return n.to_bytes(4, "little")


def u64le(n: int) -> bytes:
    return n.to_bytes(8, "little")


def blake2b(bits: int, data: bytes, key: bytes = b"", person: str = "") -> bytes:
    padded = person.encode("ascii").ljust(16, b"\0")
    return hashlib.blake2b(data, digest_size=bits // 8, key=key, person=padded).digest()


def h512(person: str, key: bytes, *parts: bytes) -> bytes:
    return blake2b(512, b"".join(u32le(len(part)) + part for part in parts), key, person)


def keyed_blake3(key: bytes, data: bytes) -> bytes:
    return blake3.blake3(data, key=key).digest()


def stream_xor(key: bytes, data: bytes) -> bytes:
    """S(key, data). The library's nonce is the 4-byte block counter and then RFC 8439's 12-byte nonce."""
    return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(data)


def xor(a: bytes, b: bytes) -> bytes:
    if len(a) != len(b):
        raise ValueError("lengths differ")
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


def shake(text: str, length: int) -> bytes:
    return hashlib.shake_256(text.encode("ascii")).digest(length)


# ed25519: points are 32-byte encodings, scalars integers below ORDER.


def reduce_scalar(wide: bytes) -> int:
    if len(wide) != 64:
        raise ValueError("reduce takes 64 bytes")
    return int.from_bytes(wide, "little") % ORDER


def scalar_bytes(scalar: int) -> bytes:
    return scalar.to_bytes(32, "little")


def times_base(scalar: int) -> bytes:
    return nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(scalar_bytes(scalar))


def times_point(scalar: int, point: bytes) -> bytes:
    return nacl.bindings.crypto_scalarmult_ed25519_noclamp(scalar_bytes(scalar), point)


def point_is_valid(point: bytes) -> bool:
    """Canonical, in the group of order L, not the identity: libsodium's check is exactly this."""
    return len(point) == 32 and nacl.bindings.crypto_core_ed25519_is_valid_point(point)


def order_of(point: bytes) -> int:
    """The order of a point of low order, by the sums of the curve (RFC 8032) on y alone; 16 if it is none.

    The encoding need not be canonical.
    """
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    y = int.from_bytes(point, "little") % 2**255 % p
    for order in (1, 2, 4, 8):
        if y == 1:
            return order
        x2 = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        y = (y * y + x2) * pow(1 - d * x2 * y * y, -1, p) % p  # of twice the point
    return 16


def owner_keys(seed: bytes, person: str) -> tuple[int, bytes, bytes]:
    """(a, prefix, A)."""
    a = reduce_scalar(h512(person, b"", seed))
    return a, h512(person + ".prefix", b"", seed)[:32], times_base(a)


def sign(scalar: int, prefix: bytes, message: bytes, rand32: bytes) -> bytes:
    public = times_base(scalar)
    r = reduce_scalar(hashlib.sha512(prefix + public + rand32 + message).digest())
    point = times_base(r)
    h = reduce_scalar(hashlib.sha512(point + public + message).digest())
    return point + scalar_bytes((r + h * scalar) % ORDER)


def signature_is_good(public: bytes, message: bytes, signature: bytes) -> bool:
    if not point_is_valid(public) or len(signature) != 64:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True
