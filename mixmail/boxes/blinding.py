"""Owner keys and their blinded forms (docs/protocol/boxes.md, "Owner keys").

An owner key is a raw ed25519 scalar with a prefix for the nonces of its signatures.  Multiplying
the scalar and the public point by the same factor gives a key pair that nobody can link to the
first one without the factor.  A blinded scalar together with its factor gives the first scalar:
never hand one out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mixmail.crypto import ed25519, hashing
from mixmail.errors import LocalProtocolError
from mixmail.randomness import Randomness

SEED_BYTES = 32
PERSON_MAX = 9  # BLAKE2b takes 16 bytes and ".prefix" needs 7 of them


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """A signing key: `scalar` and `prefix` have 32 bytes each; both are secret."""

    scalar: bytes = field(repr=False)
    prefix: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes, person: str) -> OwnerKey:
        """scalar = reduce(H512(person; seed)), prefix = H512(person.prefix; seed)[:32]."""
        if len(seed) != SEED_BYTES:
            raise LocalProtocolError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        if len(person) > PERSON_MAX:
            raise LocalProtocolError(f"{person!r} is longer than {PERSON_MAX} bytes")
        scalar = ed25519.reduce(hashing.h512(person, b"", seed))
        return cls(scalar, hashing.h512(f"{person}.prefix", b"", seed)[:32])

    @property
    def public(self) -> bytes:
        """scalar * B, 32 bytes."""
        return ed25519.base_mult(self.scalar)

    def blind(self, factor: bytes) -> OwnerKey:
        """The key pair times `factor` (a reduced scalar, 32 bytes); the prefix stays."""
        return OwnerKey(ed25519.scalar_mul(self.scalar, factor), self.prefix)

    def sign(self, message: bytes, rng: Randomness) -> bytes:
        """64 bytes R | S; the nonce is hashed from prefix, public key, 32 random bytes, message."""
        return ed25519.sign_with_scalar(self.scalar, self.public, self.prefix, message, rng.bytes(32))


def blind_public(public: bytes, factor: bytes) -> bytes:
    """The public half of `OwnerKey.blind`: factor * public, 32 bytes."""
    return ed25519.mult(factor, public)
