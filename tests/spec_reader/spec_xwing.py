"""X-Wing (docs/protocol/packet.md, "The KEM") and HPKE over it (store.md, "Proxy"; RFC 9180), by hand."""

from __future__ import annotations

import hashlib
import hmac
import os

import nacl.bindings
import spec_mlkem
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from spec_primitives import Refused, u16be

PUBLIC = 1216
CIPHERTEXT = 1120
LABEL = bytes.fromhex("5c2e2f2f5e5c")

P = 2**255 - 19
_ORDER_8 = [
    int.from_bytes(bytes.fromhex(text), "little")
    for text in (
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    )
]
LOW_ORDER = frozenset(
    n.to_bytes(32, "little")
    for n in (
        *(v | top << 255 for v in (0, 1, P - 1, P, P + 1, *_ORDER_8) for top in (0, 1)),
        *(P + v for v in (*_ORDER_8, P - 1, P, P + 1)),
    )
)


def expand(seed: bytes) -> bytes:
    """ML-KEM's seed d | z (64), X25519's secret (32)."""
    if len(seed) != 32:
        raise Refused("X-Wing seed")
    return hashlib.shake_256(seed).digest(96)


def private_halves(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    wide = expand(seed)
    return MLKEM768PrivateKey.from_seed_bytes(wide[:64]), X25519PrivateKey.from_private_bytes(wide[64:])


def public_key(seed: bytes) -> bytes:
    kem, dh = private_halves(seed)
    return kem.public_key().public_bytes_raw() + dh.public_key().public_bytes_raw()


def combine(ss_m: bytes, ss_x: bytes, ct_x: bytes, pk_x: bytes) -> bytes:
    return hashlib.sha3_256(ss_m + ss_x + ct_x + pk_x + LABEL).digest()


def decapsulate(seed: bytes, ct: bytes) -> bytes:
    if len(ct) != CIPHERTEXT:
        raise Refused("X-Wing ciphertext length")
    ct_x = ct[1088:]
    if ct_x in LOW_ORDER:
        raise Refused("X25519 point of low order in a ciphertext")
    kem, dh = private_halves(seed)
    ss_x = dh.exchange(X25519PublicKey.from_public_bytes(ct_x))
    return combine(kem.decapsulate(ct[:1088]), ss_x, ct_x, dh.public_key().public_bytes_raw())


def check_public(public: bytes) -> None:
    if len(public) != PUBLIC:
        raise Refused("X-Wing public key length")
    if public[1184:] in LOW_ORDER:
        raise Refused("X25519 point of low order in a public key")
    for i in range(0, 1152, 3):
        three = int.from_bytes(public[i : i + 3], "little")
        if three & 0xFFF >= 3329 or three >> 12 >= 3329:
            raise Refused("ML-KEM coefficient is not reduced")


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """(ciphertext, secret)."""
    check_public(public)
    ss_m, ct_m = MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
    eph = X25519PrivateKey.from_private_bytes(os.urandom(32))
    ct_x, pk_x = eph.public_key().public_bytes_raw(), public[1184:]
    ss_x = eph.exchange(X25519PublicKey.from_public_bytes(pk_x))
    return ct_m + ct_x, combine(ss_m, ss_x, ct_x, pk_x)


def encapsulate_with(public: bytes, eseed: bytes) -> tuple[bytes, bytes]:
    """EncapsulateDerand of the draft: `eseed` is ML-KEM's randomness (32) | the X25519 ephemeral secret (32).

    Without the libraries that `encapsulate` and `decapsulate` use.
    """
    check_public(public)
    if len(eseed) != 64:
        raise Refused("X-Wing encapsulation seed")
    ct_m, ss_m = spec_mlkem.encapsulate(public[:1184], eseed[:32])
    ct_x, pk_x = nacl.bindings.crypto_scalarmult_base(eseed[32:]), public[1184:]
    return ct_m + ct_x, combine(ss_m, nacl.bindings.crypto_scalarmult(eseed[32:], pk_x), ct_x, pk_x)


def decapsulate_by_hand(seed: bytes, ct: bytes) -> bytes:
    """`decapsulate` with the other libraries."""
    if len(ct) != CIPHERTEXT or ct[1088:] in LOW_ORDER:
        raise Refused("X-Wing ciphertext")
    wide = expand(seed)
    ct_x, pk_x = ct[1088:], nacl.bindings.crypto_scalarmult_base(wide[64:])
    ss_x = nacl.bindings.crypto_scalarmult(wide[64:], ct_x)
    return combine(spec_mlkem.decapsulate(wide[:64], ct[:1088]), ss_x, ct_x, pk_x)


# HPKE, base mode: KEM 0x647a, KDF HKDF-SHA256 (1), AEAD ChaCha20-Poly1305 (3).

_SUITE = b"HPKE" + u16be(0x647A) + u16be(1) + u16be(3)


def _extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + _SUITE + label + ikm, "sha256")


def _expand(prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    if length > 32:
        raise ValueError("one block is enough here")
    return hmac.digest(prk, u16be(length) + b"HPKE-v1" + _SUITE + label + info + b"\1", "sha256")[:length]


def _schedule(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    context = b"\0" + _extract(b"", b"psk_id_hash", b"") + _extract(b"", b"info_hash", info)
    prk = _extract(secret, b"secret", b"")
    return _expand(prk, b"key", context, 32), _expand(prk, b"base_nonce", context, 12)


def hpke_open(seed: bytes, info: bytes, blob: bytes) -> bytes:
    enc, sealed = blob[:CIPHERTEXT], blob[CIPHERTEXT:]
    key, nonce = _schedule(decapsulate(seed, enc), info)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, b"")
    except InvalidTag:
        raise Refused("HPKE: does not open") from None


def hpke_seal(public: bytes, info: bytes, text: bytes) -> bytes:
    enc, secret = encapsulate(public)
    key, nonce = _schedule(secret, info)
    return enc + ChaCha20Poly1305(key).encrypt(nonce, text, b"")
