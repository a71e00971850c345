"""Ed25519 points, scalars and signatures (RFC 8032), all by libsodium.

Only libsodium verifies here, and only behind `is_valid_point`: OpenSSL takes the identity point as
a public key and R = identity, S = 0 as its signature of any message.  Points and scalars are 32-byte
strings; scalars are reduced modulo the group order and are not clamped.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from nacl import bindings
from nacl.exceptions import BadSignatureError
from nacl.exceptions import RuntimeError as SodiumError

from mixmail.encoding import require_length
from mixmail.errors import LocalProtocolError, RemoteProtocolError


def reduce(value: bytes) -> bytes:
    """64 uniform bytes (little-endian) modulo the group order."""
    return bindings.crypto_core_ed25519_scalar_reduce(value)


def scalar_mul(a: bytes, b: bytes) -> bytes:
    """a · b modulo the group order."""
    return bindings.crypto_core_ed25519_scalar_mul(a, b)


def base_mult(scalar: bytes) -> bytes:
    """scalar · B.  LocalProtocolError for the scalar zero, whose product is the identity."""
    try:
        return bindings.crypto_scalarmult_ed25519_base_noclamp(scalar)
    except SodiumError as error:
        raise LocalProtocolError("the scalar is zero") from error


def mult(scalar: bytes, point: bytes) -> bytes:
    """scalar · point.  RemoteProtocolError: no valid point (see `is_valid_point`) or the scalar zero."""
    require_length("ed25519 point", point, 32)
    try:
        # libsodium makes the checks of `is_valid_point` itself before it multiplies
        return bindings.crypto_scalarmult_ed25519_noclamp(scalar, point)
    except SodiumError as error:
        raise RemoteProtocolError("not a valid ed25519 point") from error


@lru_cache(4_096)  # keys are public and come again: a holder publishes his records again and again
def is_valid_point(point: bytes) -> bool:
    """Whether this is a canonical point of the prime-order group other than the identity."""
    return len(point) == 32 and bindings.crypto_core_ed25519_is_valid_point(point)


def sign_with_scalar(scalar: bytes, public: bytes, prefix: bytes, message: bytes, random32: bytes) -> bytes:
    """A signature (64 bytes) by a raw scalar: r = SHA-512(prefix | public | random32 | message).

    `random32` is fresh for each signature, so that a fault in one computation does not show the
    scalar; `prefix` keeps r secret should the randomness fail.
    """
    nonce = reduce(hashlib.sha512(prefix + public + random32 + message).digest())
    commitment = base_mult(nonce)
    challenge = reduce(hashlib.sha512(commitment + public + message).digest())
    response = bindings.crypto_core_ed25519_scalar_add(nonce, scalar_mul(challenge, scalar))
    return commitment + response


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` is by `public`.  Never raises on bytes."""
    if len(signature) != 64 or not is_valid_point(public):
        return False
    try:
        bindings.crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True


def public_of_seed(seed: bytes) -> bytes:
    """The public key of an ordinary RFC 8032 key with this 32-byte seed."""
    return bindings.crypto_sign_seed_keypair(seed)[0]


def sign(seed: bytes, message: bytes) -> bytes:
    """The RFC 8032 signature (64 bytes) by the key with this 32-byte seed."""
    secret = bindings.crypto_sign_seed_keypair(seed)[1]
    return bindings.crypto_sign(message, secret)[:64]
