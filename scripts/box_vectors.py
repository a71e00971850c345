"""What the makers of tests/vectors/boxes.json share: inputs by name, and the key that owns the records."""

from __future__ import annotations

import dataclasses
import hashlib

from mixmail.boxes.blinding import OwnerKey
from mixmail.crypto import hashing
from mixmail.params import MAIL
from mixmail.randomness import Randomness

DAY = 20_000  # a Friday; the Monday before is day 19,996
HOUR = DAY * 24 + 7
TINY = dataclasses.replace(MAIL, stamp_memory=8_192)


def derived(name: str, size: int) -> bytes:
    """SHAKE256("boxes vectors, " + name): every input of these vectors."""
    return hashlib.shake_256(b"boxes vectors, " + name.encode()).digest(size)


class Named(Randomness):
    """The random bytes of one signature."""

    def __init__(self, name: str) -> None:
        self.name = name

    def bytes(self, count: int) -> bytes:
        return derived(self.name, count)


def digest(data: bytes) -> str:
    return hashing.blake2b(data).hex()


NETWORK_HASH = derived("network hash", 32)
REPLY_KEY = derived("reply key", 32)
OWNER = OwnerKey.from_seed(derived("record owner", 32), "mm1.root")
