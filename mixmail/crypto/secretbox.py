"""NaCl secretbox (XSalsa20-Poly1305): for files that one machine writes for itself."""

from __future__ import annotations

from nacl import bindings
from nacl.exceptions import CryptoError

from mixmail.errors import RemoteProtocolError

NONCE_BYTES = 24
TAG_BYTES = 16


def seal(key: bytes, data: bytes, nonce: bytes) -> bytes:
    """nonce (24) | ciphertext with its tag; `nonce` is random and used once."""
    return nonce + bindings.crypto_secretbox(data, nonce, key)


def open_(key: bytes, sealed: bytes) -> bytes:
    """The data of `seal`; RemoteProtocolError when the key is another or a byte was changed."""
    try:
        return bindings.crypto_secretbox_open(sealed[NONCE_BYTES:], sealed[:NONCE_BYTES], key)
    except CryptoError as error:  # PyNaCl's errors of length are CryptoErrors too
        raise RemoteProtocolError("sealed box does not open") from error
