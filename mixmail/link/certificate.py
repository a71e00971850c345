"""A node's link certificate: two PEM files in its home, and the hash by which peers know it."""

from __future__ import annotations

import hashlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from mixmail.crypto import x509
from mixmail.errors import UserError

KEY_FILE = "link-key.pem"
CERTIFICATE_FILE = "link-cert.pem"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where key and certificate stand, and the certificate's hash (32 bytes)."""

    key_path: Path
    path: Path
    hash: bytes


def certificate_hash(der: bytes) -> bytes:
    """BLAKE2b-256 of a certificate in DER: the `link_cert_hash` of descriptors."""
    return hashlib.blake2b(der, digest_size=32).digest()


def make(folder: Path) -> Certificate:
    """Write a fresh key and certificate (mode 0600) into `folder`, replacing any that are there."""
    key, certificate = x509.self_signed()
    _write(folder / KEY_FILE, key)
    _write(folder / CERTIFICATE_FILE, certificate)
    return load(folder)


def load(folder: Path) -> Certificate:
    """The certificate in `folder`; UserError "certificate" if a file is missing or cannot be read."""
    path = folder / CERTIFICATE_FILE
    try:
        der = ssl.PEM_cert_to_DER_cert(path.read_text("ascii"))
        (folder / KEY_FILE).read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(
            f"The link certificate {path} or its key cannot be read ({error}): delete both files, "
            "the node makes new ones at the next start.",
            code="certificate",
        ) from error
    return Certificate(folder / KEY_FILE, path, certificate_hash(der))


def load_or_make(folder: Path) -> Certificate:
    """The certificate in `folder`, made now if there is none.

    The key is written first: a key alone is what a crash in `make` left, and nobody has seen it.
    """
    return load(folder) if (folder / CERTIFICATE_FILE).exists() else make(folder)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): check the disk and the folder's permissions.",
            code="disk",
        ) from error
