"""The twelve X25519 points of low order (https://cr.yp.to/ecdh.html#validate), each as 32 bytes."""

from __future__ import annotations

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
