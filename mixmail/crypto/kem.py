"""X-Wing: the hybrid KEM of X25519 and ML-KEM-768 (draft-connolly-cfrg-xwing-kem).

    SHAKE256(seed, 96) = ML-KEM seed (64) | X25519 secret (32)
    public key (1216)  = ML-KEM public key (1184) | X25519 public key (32)
    ciphertext (1120)  = ML-KEM ciphertext (1088) | X25519 ephemeral key (32)
    secret (32)        = SHA3-256(ss_M | ss_X | ct_X | pk_X | label)

The `cryptography` package has X-Wing only inside its HPKE; `mixmail.crypto.hpke` takes the same key
objects.  Library objects are parsed once and kept: loading an X25519 private key there costs as much
as using it.  The KEM itself takes its X25519 from libsodium, which is faster on raw bytes.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from nacl.bindings import randombytes

from mixmail.crypto import x25519
from mixmail.encoding import require_length
from mixmail.errors import RemoteProtocolError

PUBLIC_BYTES = 1_216
CIPHERTEXT_BYTES = 1_120
MLKEM_PUBLIC = 1_184
MLKEM_CT = 1_088
_LABEL = b"\\.//^\\"


class PublicKey:
    """A checked public key; equal and hashable by its 1216 bytes."""

    __slots__ = ("mlkem", "raw", "x25519", "x25519_raw")

    def __init__(self, raw: bytes, mlkem: MLKEM768PublicKey, point: X25519PublicKey) -> None:
        self.raw = raw
        self.mlkem = mlkem
        self.x25519 = point
        self.x25519_raw = raw[MLKEM_PUBLIC:]

    @classmethod
    def parse(cls, raw: bytes) -> PublicKey:
        """RemoteProtocolError: wrong length, ML-KEM key out of range, or a low-order X25519 point."""
        raw = bytes(require_length("X-Wing public key", raw, PUBLIC_BYTES))
        if x25519.is_low_order(raw[MLKEM_PUBLIC:]):
            raise RemoteProtocolError("X25519 point of low order")
        try:
            mlkem = MLKEM768PublicKey.from_public_bytes(raw[:MLKEM_PUBLIC])
        except ValueError as error:
            raise RemoteProtocolError("not an ML-KEM-768 public key") from error
        return cls(raw, mlkem, X25519PublicKey.from_public_bytes(raw[MLKEM_PUBLIC:]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.raw[:4].hex()}…)"


class PrivateKey:
    """A private key made from 32 bytes; its repr shows only the public half."""

    __slots__ = ("mlkem", "public", "seed", "x25519", "x25519_raw")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"an X-Wing seed has 32 bytes, not {len(seed)}")
        expanded = hashlib.shake_256(seed).digest(96)
        self.seed = seed
        self.mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self.x25519_raw = expanded[64:]
        self.x25519 = X25519PrivateKey.from_private_bytes(self.x25519_raw)
        mlkem, point = self.mlkem.public_key(), self.x25519.public_key()
        self.public = PublicKey(mlkem.public_bytes_raw() + point.public_bytes_raw(), mlkem, point)

    @classmethod
    def from_seed(cls, seed: bytes) -> PrivateKey:
        """The key pair of 32 uniform bytes."""
        return cls(seed)

    def __repr__(self) -> str:
        return f"PrivateKey(of {self.public!r})"


def encapsulate(public: PublicKey) -> tuple[bytes, bytes]:
    """A fresh (ciphertext of 1120 bytes, secret of 32 bytes); the library draws the randomness."""
    secret_m, ct_m = public.mlkem.encapsulate()
    ephemeral = randombytes(32)
    ct_x = x25519.public(ephemeral)
    secret_x = x25519.exchange(ephemeral, public.x25519_raw)
    return ct_m + ct_x, _combine(secret_m, secret_x, ct_x, public.x25519_raw)


def decapsulate(private: PrivateKey, ct: bytes) -> bytes:
    """The 32-byte secret.  A ciphertext for another key gives an unrelated secret, not an error.

    RemoteProtocolError: wrong length or a low-order X25519 point.
    """
    require_length("X-Wing ciphertext", ct, CIPHERTEXT_BYTES)
    ct_x = bytes(ct[MLKEM_CT:])
    secret_x = x25519.exchange(private.x25519_raw, ct_x)
    secret_m = private.mlkem.decapsulate(ct[:MLKEM_CT])
    return _combine(secret_m, secret_x, ct_x, private.public.x25519_raw)


def _combine(secret_m: bytes, secret_x: bytes, ct_x: bytes, public_x: bytes) -> bytes:
    return hashlib.sha3_256(secret_m + secret_x + ct_x + public_x + _LABEL).digest()
