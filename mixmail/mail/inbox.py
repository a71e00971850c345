"""Where strangers write: an owner-read queue (docs/protocol/people.md, "Inbox").

The queue's key is the root blinded by a 16-byte salt from the profile.  The salt changes each day the owner
is online, so nobody can place nodes near the queues of the days to come.
"""

from __future__ import annotations

from mixmail.boxes.blinding import OwnerKey, blind_public
from mixmail.crypto import ed25519, hashing
from mixmail.errors import LocalProtocolError
from mixmail.mail.address import Address
from mixmail.mail.identity import Identity

SALT_BYTES = 16


def _factor(root: bytes, salt: bytes) -> bytes:
    if len(salt) != SALT_BYTES:
        raise LocalProtocolError(f"an inbox salt has {SALT_BYTES} bytes, not {len(salt)}")
    return ed25519.reduce(hashing.h512("mm1.inbox.blind", b"", root, salt))


def inbox_owner(identity: Identity, salt: bytes) -> OwnerKey:
    """The key pair that lists and deletes the entries of the queue of this salt."""
    return identity.owner.blind(_factor(identity.address.root, salt))


def inbox_key(address: Address, salt: bytes) -> bytes:
    """The key (32 bytes) of the queue to which the entry for this address goes."""
    return blind_public(address.root, _factor(address.root, salt))
