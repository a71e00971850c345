"""X25519 (RFC 7748) on raw 32-byte strings.

A low-order public key makes the shared secret a constant that everybody knows, so every such
encoding is refused before it is used.
"""

from __future__ import annotations

from nacl import bindings
from nacl.exceptions import CryptoError

from mixmail.encoding import require_length
from mixmail.errors import RemoteProtocolError

_P = 2**255 - 19
_ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
_MASKED = (0, 1, *_ORDER_8, _P - 1, _P, _P + 1)
# RFC 7748 ignores the highest bit; a reader that does not would take the last line for low-order too.
_LOW_ORDER = frozenset(
    value.to_bytes(32, "little")
    for value in (
        *_MASKED,
        *(value + 2**255 for value in _MASKED),
        *(value + _P for value in (*_ORDER_8, _P - 1, _P, _P + 1)),
    )
)


def is_low_order(point: bytes) -> bool:
    """Whether these 32 bytes are one of the low-order points, in any of their encodings."""
    return point in _LOW_ORDER


def public(secret: bytes) -> bytes:
    """The public key (32 bytes) of a secret of 32 uniform bytes."""
    return bindings.crypto_scalarmult_base(secret)


def exchange(secret: bytes, public_key: bytes) -> bytes:
    """The shared secret (32 bytes).  RemoteProtocolError: wrong length or a low-order point."""
    require_length("X25519 key", public_key, 32)
    if public_key in _LOW_ORDER:
        raise RemoteProtocolError("X25519 point of low order")
    try:
        return bindings.crypto_scalarmult(secret, public_key)
    except CryptoError as error:
        raise RemoteProtocolError("X25519 point of low order") from error
