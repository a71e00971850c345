"""The certificate that carries a link's public key through TLS.

Nobody reads it: peers compare its hash with the one in the node's descriptor.  So it names nobody,
and its dates and serial number are the same for every node.
"""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

FIRST_DAY = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
LAST_DAY = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)


def self_signed() -> tuple[bytes, bytes]:
    """A fresh Ed25519 key and its self-signed certificate, both PEM: (key, certificate)."""
    key = Ed25519PrivateKey.generate()
    nobody = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(FIRST_DAY)
        .not_valid_after(LAST_DAY)
        .sign(key, None)
    )
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate.public_bytes(Encoding.PEM),
    )
