"""Authenticated encryption: AES-256-GCM-SIV (RFC 8452) and ChaCha20-Poly1305 (RFC 8439).

GCM-SIV seals what may be sealed twice under one key and nonce after a crash: equal texts give equal
ciphertexts and nothing else leaks.  Both add a 16-byte tag; keys have 32 bytes, nonces 12.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, ChaCha20Poly1305

from mixmail.errors import RemoteProtocolError

TAG_BYTES = 16


def siv_seal(key: bytes, nonce: bytes, text: bytes, aad: bytes) -> bytes:
    """AES-256-GCM-SIV: ciphertext and tag of a text that is not empty."""
    return AESGCMSIV(key).encrypt(nonce, text, aad)


def siv_open(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    """The text of `siv_seal`; RemoteProtocolError when anything was changed."""
    return _open(AESGCMSIV(key), nonce, sealed, aad)


def chacha_seal(key: bytes, nonce: bytes, text: bytes, aad: bytes) -> bytes:
    """ChaCha20-Poly1305: ciphertext and tag.  Never twice with one key and nonce."""
    return ChaCha20Poly1305(key).encrypt(nonce, text, aad)


def chacha_open(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    """The text of `chacha_seal`; RemoteProtocolError when anything was changed."""
    return _open(ChaCha20Poly1305(key), nonce, sealed, aad)


def _open(cipher: AESGCMSIV | ChaCha20Poly1305, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, sealed, aad)
    except InvalidTag as error:
        raise RemoteProtocolError("sealed text does not open") from error
