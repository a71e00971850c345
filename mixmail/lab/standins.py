"""Stand-ins for the dear primitives: KEM, HPKE, wide-block cipher and AEAD, of equal sizes and rules.

    with stand_in_crypto(seed):
        ...

They hide nothing and cost little, so that long labs are quick; hashes, signatures, box ids and placement
stay real.  What a real one refuses (other key, other nonce, damaged tag) they refuse as well, so the event
trace of a run equals that of the real ones.  Patched in from outside: what ships has no such switch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from mixmail.crypto import aead, hashing, hpke, kem, wideblock
from mixmail.errors import RemoteProtocolError
from mixmail.testing import SeededRandomness

_PAD = bytes(kem.CIPHERTEXT_BYTES - 32)
_MASKED = 64  # bytes of a wide block that the stand-in changes


def _hash(size: int, *parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=size).digest()


def _check(expected: bytes, found: bytes, what: str) -> None:
    if expected != found:
        raise RemoteProtocolError(f"{what} does not open")


@contextmanager
def stand_in_crypto(seed: int) -> Iterator[None]:
    """Use the stand-ins until the block ends."""
    rng = SeededRandomness(f"stand-ins {seed}")

    def encapsulate(public: kem.PublicKey) -> tuple[bytes, bytes]:
        nonce = rng.bytes(32)
        return nonce + _PAD, _hash(32, nonce, public.raw[:32])

    def decapsulate(private: kem.PrivateKey, ct: bytes) -> bytes:
        if len(ct) != kem.CIPHERTEXT_BYTES:
            raise RemoteProtocolError("X-Wing ciphertext of another length")
        return _hash(32, bytes(ct[:32]), private.public.raw[:32])

    def hpke_seal(public: kem.PublicKey, info: bytes, text: bytes) -> bytes:
        nonce = rng.bytes(32)
        return nonce + _PAD + text + _hash(16, nonce, public.raw[:32], info)

    def hpke_open(private: kem.PrivateKey, info: bytes, sealed: bytes) -> bytes:
        expected = _hash(16, sealed[:32], private.public.raw[:32], info)
        _check(expected, sealed[-16:], "HPKE ciphertext")
        return sealed[kem.CIPHERTEXT_BYTES : -16]

    def mask(keys: wideblock.Keys, block: hashing.Buffer, *head: hashing.Buffer) -> bytes:
        pad = int.from_bytes(_hash(_MASKED, *keys), "little")
        changed = int.from_bytes(block[:_MASKED], "little") ^ pad
        return b"".join((*head, changed.to_bytes(_MASKED, "little"), memoryview(block)[_MASKED:]))

    def seal(key: bytes, nonce: bytes, text: bytes, aad: bytes) -> bytes:
        return text + _hash(16, key, nonce, aad)

    def open_(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        _check(_hash(16, key, nonce, aad), sealed[-16:], "sealed text")
        return sealed[:-16]

    with ExitStack() as stack:
        for module, name, function in (
            (kem, "encapsulate", encapsulate),
            (kem, "decapsulate", decapsulate),
            (hpke, "seal", hpke_seal),
            (hpke, "open_", hpke_open),
            (wideblock, "encrypt", mask),
            (wideblock, "decrypt", mask),
            (aead, "siv_seal", seal),
            (aead, "siv_open", open_),
            (aead, "chacha_seal", seal),
            (aead, "chacha_open", open_),
        ):
            stack.enter_context(patch.object(module, name, function))
        yield
