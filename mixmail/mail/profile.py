"""Profiles: the page of the week that holders of an address can find and read (docs/protocol/people.md).

    k = reduce(H512("mm1.epoch.blind"; A, kind, week))    P = k · A    record MUTABLE at P, signed by k · a
    c = AES-256-GCM-SIV(e, P[:12], text, aad = P | META)  e = H512("mm1.profile.key"; ADDRESS, P)[:32]

    TEXT 17182 = ver u8 (1) | stamp_bits u8 | name_length u8 | 0 | week u32 | inbox salt(16)
                 | x25519 identity(32) | x25519 prekey(32) | X-Wing prekey(1216) | name(64) | 0(15814)

The two kinds (0 and 1) are the same page at two unrelated keys, so that two sets of homes hold it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mixmail.boxes.blinding import blind_public
from mixmail.boxes.record import Record, RecordType, sign_record
from mixmail.crypto import aead, ed25519, hashing, kem, x25519
from mixmail.encoding import pad, require_length, require_zero, u32le
from mixmail.errors import LocalProtocolError, RemoteProtocolError, UserError
from mixmail.mail import identity as identities
from mixmail.mail.address import Address
from mixmail.mail.identity import Identity
from mixmail.mail.inbox import SALT_BYTES
from mixmail.params import GEOMETRY
from mixmail.randomness import Randomness

KINDS = (0, 1)
NAME_BYTES = 64
_VERSION = 1
_HEAD = struct.Struct(f">BBBBI{SALT_BYTES}s32s32s{GEOMETRY.kem_public}s{NAME_BYTES}s")
_META = struct.Struct(">BBHI")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a stranger needs to write; `inbox_salt` has 16 bytes, `name` is empty for those who want none."""

    week: int
    prekey: kem.PublicKey
    x25519_prekey: bytes
    x25519_identity: bytes
    name: str
    stamp_bits: int
    inbox_salt: bytes

    def pack(self) -> bytes:
        """17182 bytes; UserError (code "name") for a name of more than 64 bytes."""
        name = self.name.encode("utf-8", "replace")
        if len(name) > NAME_BYTES:
            raise UserError(
                f"The name is too long: {NAME_BYTES} bytes are the limit, shorten it.", code="name"
            )
        head = _HEAD.pack(
            _VERSION,
            self.stamp_bits,
            len(name),
            0,
            self.week,
            self.inbox_salt,
            self.x25519_identity,
            self.x25519_prekey,
            self.prekey.raw,
            name,
        )
        return pad(head, GEOMETRY.box_text)

    @classmethod
    def parse(cls, text: bytes) -> Profile:
        """From an opened page; RemoteProtocolError when the layout or a key is broken."""
        require_length("profile", text, GEOMETRY.box_text)
        version, bits, length, zero, week, salt, identity, prekey_x, prekey, name = _HEAD.unpack_from(text)
        if version != _VERSION or zero:
            raise RemoteProtocolError(f"profile of version {version}")
        if length > NAME_BYTES:
            raise RemoteProtocolError("the name in a profile is too long")
        require_zero("the end of a profile's name", name[length:])
        require_zero("the end of a profile", text[_HEAD.size :])
        if x25519.is_low_order(identity) or x25519.is_low_order(prekey_x):
            raise RemoteProtocolError("a key in a profile is of low order")
        try:
            shown = name[:length].decode("utf-8")
        except UnicodeDecodeError:
            raise RemoteProtocolError("the name in a profile is not UTF-8") from None
        return cls(week, kem.PublicKey.parse(prekey), prekey_x, identity, shown, bits, salt)


def _factor(root: bytes, week: int, kind: int) -> bytes:
    if kind not in KINDS:
        raise LocalProtocolError(f"there is no profile of kind {kind}")
    return ed25519.reduce(hashing.h512("mm1.epoch.blind", b"", root, u32le(kind), u32le(week)))


def profile_key(address: Address, week: int, kind: int) -> bytes:
    """The key (32 bytes) of this address's page of this week and kind (0 or 1)."""
    return blind_public(address.root, _factor(address.root, week, kind))


def _page_key(address: Address, point: bytes) -> bytes:
    return hashing.h512("mm1.profile.key", b"", address.pack(), point)[:32]


def seal_profile(
    identity: Identity, profile: Profile, kind: int, day: int, seq: int, klass: int, rng: Randomness
) -> Record:
    """The signed MUTABLE record of `profile.week`, stamp left zero for the caller to solve.

    `day` is the record's day, `klass` its storage class in days; the page of a higher `seq` replaces others.
    """
    address = identity.address
    owner = identity.owner.blind(_factor(address.root, profile.week, kind))
    point = owner.public
    meta = _META.pack(RecordType.MUTABLE, klass, day, seq)
    c = aead.siv_seal(_page_key(address, point), point[:12], profile.pack(), point + meta)
    return sign_record(owner, RecordType.MUTABLE, klass, day, seq, c, rng)


def open_profile(address: Address, record: Record, week: int, kind: int) -> Profile:
    """The page in `record`; RemoteProtocolError unless it is this address's, of this week and kind."""
    point = profile_key(address, week, kind)
    if record.key != point or record.type is not RecordType.MUTABLE:
        raise RemoteProtocolError("this record is not the profile that was asked for")
    if not record.check_signature():
        raise RemoteProtocolError("the signature of a profile is wrong")
    profile = Profile.parse(
        aead.siv_open(_page_key(address, point), point[:12], record.c, point + record.meta)
    )
    if profile.week != week:
        raise RemoteProtocolError(f"profile of week {profile.week} at the key of week {week}")
    if not identities.matches(address, profile.x25519_identity):
        raise RemoteProtocolError("the key in a profile is not the one that the address promises")
    return profile
