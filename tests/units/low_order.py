"""Points of low order as 32 bytes: the twelve of X25519 (https://cr.yp.to/ecdh.html#validate), u coordinates,
and the fourteen encodings of the eight of Ed25519, y coordinate and sign of x."""

from __future__ import annotations

import hashlib

P = 2**255 - 19
ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
LOW_ORDER = [
    value.to_bytes(32, "little")
    for value in (
        *(0, 1, *ORDER_8, P - 1, P, P + 1),
        *(ORDER_8[0] + P, ORDER_8[1] + P, 2 * P - 1, 2 * P, 2 * P + 1),
    )
]

L = 2**252 + 27742317777372353535851937790883648493
_SIGN = 2**255
_Y8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
# encoding -> order; those above p or with a stray sign are encodings that RFC 8032 does not allow
SMALL_ORDER = {
    value.to_bytes(32, "little"): order
    for order, values in {
        1: (1, 1 + _SIGN, P + 1, P + 1 + _SIGN),
        2: (P - 1, P - 1 + _SIGN),
        4: (0, _SIGN, P, P + _SIGN),
        8: (_Y8, _Y8 + _SIGN, P - _Y8, P - _Y8 + _SIGN),
    }.items()
    for value in values
}
IDENTITY = (1).to_bytes(32, "little")
FORGED = IDENTITY + bytes(32)  # R the identity, S zero


def is_forged_by(point: bytes, message: bytes) -> bool:
    """Whether FORGED solves S·B = R + h·point for this message: a check that only does the sums takes it."""
    digest = hashlib.sha512(IDENTITY + point + message).digest()
    return int.from_bytes(digest, "little") % L % SMALL_ORDER[point] == 0
