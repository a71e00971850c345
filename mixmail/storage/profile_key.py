"""The key of profile.db: 32 random bytes in a file of mode 0600, sealed under a passphrase if the user wants.

    file = 1 | key(32)                                        open
         | 2 | salt(16) | nonce(24) | ciphertext and tag(48)  sealed: secretbox, Argon2id(passphrase, salt)

The passphrase enters in NFKC, UTF-8, so that it does not depend on the keyboard that typed it.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

from mixmail.crypto import argon2, secretbox
from mixmail.errors import RemoteProtocolError
from mixmail.randomness import Randomness, SystemRandomness
from mixmail.storage.driver import KEY_BYTES, replace_file
from mixmail.storage.errors import DiskError, KeyFileError, NeedsPassphrase, WrongPassphrase

OPEN, SEALED = 1, 2
NO_KEY = "the profile cannot be opened without it, put a backup in its place"
SALT_BYTES = 16
# RFC 9106, section 4, second recommendation: about 0.1 s here, and much memory for who guesses in bulk.
MEMORY_BYTES = 64 * 2**20
PASSES = 3

_OPEN_SIZE = 1 + KEY_BYTES
_SEALED_SIZE = 1 + SALT_BYTES + secretbox.NONCE_BYTES + KEY_BYTES + secretbox.TAG_BYTES


def create(path: Path, passphrase: str | None = None, rng: Randomness | None = None) -> bytes:
    """Make a key and its file; return the key.  KeyFileError if there is a file already."""
    if path.exists():
        raise KeyFileError(path, "exists already: it is not replaced, move it away first")
    rng = rng or SystemRandomness()
    key = rng.bytes(KEY_BYTES)
    replace_file(path, _pack(key, passphrase, rng))
    return key


def load(path: Path, passphrase: str | None = None) -> bytes:
    """The key in a file; the passphrase is not looked at if the file is open.

    NeedsPassphrase, WrongPassphrase, KeyFileError (missing or damaged), DiskError.
    """
    data = _read(path)
    if data[:1] == bytes([OPEN]) and len(data) == _OPEN_SIZE:
        return data[1:]
    if data[:1] != bytes([SEALED]) or len(data) != _SEALED_SIZE:
        raise KeyFileError(path, f"is damaged: {NO_KEY}")
    if not passphrase:
        raise NeedsPassphrase
    try:
        return secretbox.open_(_stretch(passphrase, data[1 : 1 + SALT_BYTES]), data[1 + SALT_BYTES :])
    except RemoteProtocolError as error:
        raise WrongPassphrase from error


def is_sealed(path: Path) -> bool:
    """Whether `load` needs a passphrase."""
    return _read(path)[:1] == bytes([SEALED])


def change_passphrase(path: Path, old: str | None, new: str | None, rng: Randomness | None = None) -> None:
    """Seal the same key under another passphrase; None or "" leaves it open.  Errors as in `load`."""
    key = load(path, old)
    replace_file(path, _pack(key, new, rng or SystemRandomness()))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise KeyFileError(path, f"is missing: {NO_KEY}") from error
    except OSError as error:
        raise DiskError(path, error.strerror) from error


def _pack(key: bytes, passphrase: str | None, rng: Randomness) -> bytes:
    if not passphrase:
        return bytes([OPEN]) + key
    salt = rng.bytes(SALT_BYTES)
    sealed = secretbox.seal(_stretch(passphrase, salt), key, rng.bytes(secretbox.NONCE_BYTES))
    return bytes([SEALED]) + salt + sealed


def _stretch(passphrase: str, salt: bytes) -> bytes:
    text = unicodedata.normalize("NFKC", passphrase).encode()
    return argon2.argon2id(text, salt, MEMORY_BYTES, PASSES)
