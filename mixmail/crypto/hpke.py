"""HPKE base mode (RFC 9180): MLKEM768_X25519 (X-Wing), HKDF-SHA256, ChaCha20-Poly1305.

One sealed text is the KEM ciphertext (1120 bytes) followed by the text and its 16-byte tag.  The
mode has no additional data; what must be bound goes into `info`.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke

from mixmail.crypto import kem, x25519
from mixmail.errors import RemoteProtocolError

OVERHEAD = 1_136
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def seal(public: kem.PublicKey, info: bytes, text: bytes) -> bytes:
    """`text` sealed to `public`: 1136 bytes longer than the text."""
    return _SUITE.encrypt(text, hpke.MLKEM768X25519PublicKey(public.mlkem, public.x25519), info)


def open_(private: kem.PrivateKey, info: bytes, sealed: bytes) -> bytes:
    """The text of `seal`.  RemoteProtocolError: other key, other info, damaged, or too short."""
    if len(sealed) < OVERHEAD:
        raise RemoteProtocolError("HPKE ciphertext too short")
    if x25519.is_low_order(bytes(sealed[1_088:1_120])):
        raise RemoteProtocolError("X25519 point of low order")
    try:
        return _SUITE.decrypt(sealed, hpke.MLKEM768X25519PrivateKey(private.mlkem, private.x25519), info)
    except (InvalidTag, ValueError) as error:
        raise RemoteProtocolError("HPKE ciphertext does not open") from error
