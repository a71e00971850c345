"""Identities and their weekly prekeys (docs/protocol/people.md, "Identity").

The ed25519 root signs and is blinded, the X25519 key only agrees on keys: raw scalars do not go through
X25519, which clamps, so the two are separate keys from one seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from mixmail.boxes.blinding import OwnerKey
from mixmail.crypto import compare, hashing, kem, x25519
from mixmail.encoding import u32le
from mixmail.mail.address import COMMITMENT_BYTES, VERSION, Address

_MONDAY = 3  # 1970-01-01 was a Thursday: three days after a Monday


def week_of(day: int) -> int:
    """The number of the week (from Monday, UTC) of a day counted from 1970-01-01."""
    return (day + _MONDAY) // 7


def first_day(week: int) -> int:
    """The Monday of a week, in days since 1970-01-01."""
    return week * 7 - _MONDAY


def commitment_to(x25519_public: bytes) -> bytes:
    """The 20 bytes of an address that fix the X25519 key: BLAKE2b-160, person "mm1.commitment"."""
    return hashing.blake2b(x25519_public, COMMITMENT_BYTES, person=b"mm1.commitment")


def matches(address: Address, x25519_public: bytes) -> bool:
    """Whether this X25519 key is the one of the address."""
    return compare.equal(commitment_to(x25519_public), address.commitment)


@dataclass(frozen=True)
class Identity:
    """All long-lived keys of one person, from 32 random bytes; the seed is secret."""

    seed: bytes = field(repr=False)

    @cached_property
    def owner(self) -> OwnerKey:
        """The root: raw ed25519 scalar and nonce prefix."""
        return OwnerKey.from_seed(self.seed, "mm1.ident")

    @cached_property
    def x25519_secret(self) -> bytes:
        """32 bytes."""
        return hashing.h512("mm1.ident.x25519", b"", self.seed)[:32]

    @cached_property
    def x25519_public(self) -> bytes:
        """32 bytes."""
        return x25519.public(self.x25519_secret)

    @cached_property
    def address(self) -> Address:
        """What its owner gives to others."""
        return Address(VERSION, self.owner.public, commitment_to(self.x25519_public))


@dataclass(frozen=True)
class Prekey:
    """The receiving keys of one week; their seed is random, kept 37 days, then deleted."""

    week: int
    seed: bytes = field(repr=False)

    @cached_property
    def private(self) -> kem.PrivateKey:
        """The X-Wing private key."""
        return kem.PrivateKey.from_seed(hashing.h512("mm1.prekey.kem", b"", self.seed, u32le(self.week))[:32])

    @cached_property
    def x25519_secret(self) -> bytes:
        """32 bytes."""
        return hashing.h512("mm1.prekey.x", b"", self.seed, u32le(self.week))[:32]

    @cached_property
    def x25519_public(self) -> bytes:
        """32 bytes."""
        return x25519.public(self.x25519_secret)
