"""The first message to an address: asynchronous, deniable, hybrid (docs/protocol/people.md, "First message").

    C 17198 = kem_ct(1120) | E(32) | ID(112) | BODY(15934)

    ss   = X-Wing to B's prekey                 D2 = X25519(e, B's identity key)   D3 = X25519(e, B's prekey)
    s1   = H512("mm1.first.id", ss; ADDRESS_B, week, prekey_B, x25519_B, kem_ct, E, D2, D3)
    ID   = ChaCha20-Poly1305(s1[:32], nonce 0; IDENTITY; aad = kem_ct | E)
           IDENTITY 96 = flags u8 | ADDRESS_A(53) | x25519_A(32) | 0(10)
    D1   = X25519(A's identity key, B's prekey)
    s2   = H512("mm1.first.body", s1[32:]; D1, ID)
    BODY = ChaCha20-Poly1305(s2[:32], nonce 0; ReadCap_A(72) | X-Wing_A(1216) | text(14630); aad = ID)
    root = H512("mm1.first.root", s2[32:]; C)[:32]

Rules
- Nothing is signed: B can make every byte of it alone, so it proves A's authorship to B and to nobody else.
- The keys s1 and s2 serve for one text each, since kem_ct and e are fresh: nonce zero is safe.
- Anonymous: flags 0, zeros for ADDRESS_A, and a fresh X25519 key in the place of A's.
- A stranger's bytes: `open_first` returns or raises RemoteProtocolError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from mixmail.boxes.capability import CAP_BYTES, ReadCap, WriteCap
from mixmail.crypto import aead, hashing, kem, x25519
from mixmail.encoding import require_length, require_zero, u32le
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.mail import identity as identities
from mixmail.mail.address import ADDRESS_BYTES, Address
from mixmail.mail.identity import Identity, Prekey
from mixmail.mail.profile import Profile
from mixmail.params import GEOMETRY
from mixmail.randomness import Randomness

_ANONYMOUS, _NAMED = 0, 1
_ID = struct.Struct(f">B{ADDRESS_BYTES}s32s10s")
_ID_BYTES = _ID.size + GEOMETRY.aead_tag
_NONCE = bytes(12)  # one text a key
_HEAD = struct.Struct(f">{GEOMETRY.kem_ct}s32s{_ID_BYTES}s")

BODY_TEXT = GEOMETRY.box_ct - _HEAD.size - GEOMETRY.aead_tag
FIRST_TEXT = BODY_TEXT - CAP_BYTES - GEOMETRY.kem_public
"""Bytes of text in a first message (14630): one packed part."""


@dataclass(frozen=True, slots=True)
class FirstSent:
    """`c` (17198 bytes) is the entry for B's inbox, `root` (32 bytes) the secret of the session."""

    c: bytes
    root: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FirstReceived:
    """`sender` is None if the message is anonymous; `text` has FIRST_TEXT bytes."""

    sender: Address | None
    text: bytes
    read_cap: ReadCap
    next_key: kem.PublicKey
    root: bytes = field(repr=False)


def _id_secret(ss: bytes, to: Address, week: int, keys: bytes, head: bytes, d2: bytes, d3: bytes) -> bytes:
    """s1; `keys` = X-Wing prekey | X25519 prekey of B, `head` = kem_ct | E."""
    prekey, prekey_x = keys[: GEOMETRY.kem_public], keys[GEOMETRY.kem_public :]
    ct, ephemeral = head[: GEOMETRY.kem_ct], head[GEOMETRY.kem_ct :]
    return hashing.h512("mm1.first.id", ss, to.pack(), u32le(week), prekey, prekey_x, ct, ephemeral, d2, d3)


def _root(s2: bytes, c: bytes) -> bytes:
    return hashing.h512("mm1.first.root", s2[32:], c)[:32]


def seal_first(
    sender: Identity | None,
    address: Address,
    profile: Profile,
    text: bytes,
    read_cap: ReadCap,
    next_key: kem.PublicKey,
    rng: Randomness,
) -> FirstSent:
    """The first message of `sender` (None: anonymous) to `address`, whose checked page is `profile`.

    `text` has FIRST_TEXT bytes (a packed part); `read_cap` reads the sender's fresh stream, `next_key` is the
    X-Wing key for the other side's first stream hop.  RemoteProtocolError: unusable keys in the profile.
    """
    if len(text) != FIRST_TEXT:
        raise LocalProtocolError(f"a first message holds {FIRST_TEXT} bytes, not {len(text)}")
    ephemeral = rng.bytes(32)
    identity_secret = rng.bytes(32) if sender is None else sender.x25519_secret
    ct, ss = kem.encapsulate(profile.prekey)
    head = ct + x25519.public(ephemeral)
    d2 = x25519.exchange(ephemeral, profile.x25519_identity)
    d3 = x25519.exchange(ephemeral, profile.x25519_prekey)
    s1 = _id_secret(ss, address, profile.week, profile.prekey.raw + profile.x25519_prekey, head, d2, d3)
    flags, who = (_ANONYMOUS, bytes(ADDRESS_BYTES)) if sender is None else (_NAMED, sender.address.pack())
    block = _ID.pack(flags, who, x25519.public(identity_secret), b"")
    sealed_id = aead.chacha_seal(s1[:32], _NONCE, block, head)
    d1 = x25519.exchange(identity_secret, profile.x25519_prekey)
    s2 = hashing.h512("mm1.first.body", s1[32:], d1, sealed_id)
    body = aead.chacha_seal(s2[:32], _NONCE, read_cap.pack() + next_key.raw + text, sealed_id)
    c = head + sealed_id + body
    return FirstSent(c, _root(s2, c))


def _open_id(key: bytes, sealed: bytes, head: bytes) -> tuple[Address | None, bytes]:
    flags, who, public, rest = _ID.unpack(aead.chacha_open(key, _NONCE, sealed, head))
    require_zero("the end of an identity block", rest)
    if flags == _ANONYMOUS:
        require_zero("the address of an anonymous sender", who)
        return None, public
    if flags != _NAMED:
        raise RemoteProtocolError(f"identity block with flags {flags}")
    sender = Address.unpack(who)
    if not identities.matches(sender, public):
        raise RemoteProtocolError("the sender's key is not the one that the address promises")
    return sender, public


def open_first(recipient: Identity, prekey: Prekey, c: bytes) -> FirstReceived:
    """The first message in `c` (17198 bytes), sealed to this identity and this week's prekey.

    RemoteProtocolError for everything else; the caller tries the prekeys it still keeps, newest first.
    """
    require_length("first message", c, GEOMETRY.box_ct)
    ct, ephemeral, sealed_id = _HEAD.unpack_from(c)
    head = ct + ephemeral
    ss = kem.decapsulate(prekey.private, ct)
    d2 = x25519.exchange(recipient.x25519_secret, ephemeral)
    d3 = x25519.exchange(prekey.x25519_secret, ephemeral)
    keys = prekey.private.public.raw + prekey.x25519_public
    s1 = _id_secret(ss, recipient.address, prekey.week, keys, head, d2, d3)
    sender, public = _open_id(s1[:32], sealed_id, head)
    d1 = x25519.exchange(prekey.x25519_secret, public)
    s2 = hashing.h512("mm1.first.body", s1[32:], d1, sealed_id)
    body = aead.chacha_open(s2[:32], _NONCE, c[_HEAD.size :], sealed_id)
    cap, rest = body[:CAP_BYTES], body[CAP_BYTES:]
    next_key = kem.PublicKey.parse(rest[: GEOMETRY.kem_public])
    return FirstReceived(sender, rest[GEOMETRY.kem_public :], ReadCap.parse(cap), next_key, _root(s2, c))


def rendezvous(root: bytes) -> WriteCap:
    """The stream of the answer, known to both sides: WriteCap of H512("mm1.rdv", root), index 0."""
    return WriteCap.create(hashing.h512("mm1.rdv", root))
