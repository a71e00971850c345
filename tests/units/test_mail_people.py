"""Identities, weekly profiles and inbox queues."""

from __future__ import annotations

import dataclasses
import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from low_order import LOW_ORDER

from mixmail.boxes import blinding
from mixmail.boxes.record import Record, RecordType, sign_record
from mixmail.crypto import aead, ed25519, hashing, x25519
from mixmail.errors import LocalProtocolError, RemoteProtocolError, UserError
from mixmail.mail import profile as profiles
from mixmail.mail.identity import Identity, Prekey, commitment_to, first_day, matches, week_of
from mixmail.mail.inbox import inbox_key, inbox_owner
from mixmail.mail.profile import Profile, open_profile, profile_key, seal_profile
from mixmail.params import GEOMETRY
from mixmail.testing import SeededRandomness

WEEK, DAY = 2_900, 20_298
ME = Identity(bytes(range(32)))
OTHER = Identity(bytes(32))
PREKEY = Prekey(WEEK, bytes([7]) * 32)
SALT = bytes(range(16))
PAGE = Profile(WEEK, PREKEY.private.public, PREKEY.x25519_public, ME.x25519_public, "Zoë", 11, SALT)


def sealed(page: Profile = PAGE, kind: int = 0, seq: int = 3, identity: Identity = ME) -> Record:
    return seal_profile(identity, page, kind, DAY, seq, 7, SeededRandomness(1))


def test_the_vectors_of_the_document() -> None:
    assert ME.address.text == (
        "mix1q90qzj698uh0tknsz7w56c749gfvrdpa7cczds8fm00zj0478jzxejjmqxdzgerfx4vren4ne8q7qwtmrtwmg3ad487"
    )
    assert ME.x25519_public.hex() == "5768cfeb939a2d4d97b5c13f3557d3f5136dee3be3dd39e502ffbd30cfe1412f"
    assert ME.address.commitment.hex() == "ca5b019a24646935583cceb3c9c1e0397b1addb4"
    keys = [profile_key(ME.address, WEEK, kind).hex() for kind in (0, 1)]
    assert keys == [
        "eb8d140617c2fc9285cd64ec31115948caa348ae75e5726baa5e80a5a49f6349",
        "dbe8aaad5666ffb8fd5b7ff25dbd9e4f6c03ecd607c66c7af989e4c024db6c1c",
    ]
    assert inbox_key(ME.address, SALT).hex() == (
        "a0c8d13c7c8d354aad5d8a1129d79549f0c0d1778884ac4f21e069608e2f365c"
    )
    assert hashlib.sha256(PREKEY.private.public.raw).hexdigest() == (
        "c2978a4431b7f3facc1cfcc1b875fd92def7683e5ffc2fa2e88afeb7eb15cd82"
    )
    assert PREKEY.x25519_public.hex() == "1b0887e9629b603dd005cd14a058e775069fd8607a13c9e694919a151c096c1f"


def test_weeks_begin_on_monday() -> None:
    monday = 19_723  # 2024-01-01
    assert week_of(monday) == week_of(monday + 6) == week_of(monday - 1) + 1
    assert all(first_day(week_of(day)) <= day < first_day(week_of(day) + 1) for day in range(0, 60))


def test_an_identity_is_made_of_separate_keys() -> None:
    assert ME.owner.public == ME.address.root and ed25519.is_valid_point(ME.address.root)
    assert ME.x25519_secret not in (ME.seed, ME.owner.scalar)
    assert ME.address.commitment == commitment_to(ME.x25519_public)
    assert matches(ME.address, ME.x25519_public) and not matches(ME.address, OTHER.x25519_public)
    assert "0001020304" not in repr(ME) and repr(ME.seed) not in repr(ME)


def test_prekeys_of_two_weeks_or_seeds_differ() -> None:
    others = [Prekey(WEEK + 1, PREKEY.seed), Prekey(WEEK, bytes(32))]
    for other in others:
        assert other.private.public != PREKEY.private.public
        assert other.x25519_secret != PREKEY.x25519_secret
    assert Prekey(WEEK, PREKEY.seed).private.public == PREKEY.private.public


def test_a_holder_of_the_address_reads_the_page() -> None:
    for kind in (0, 1):
        record = sealed(kind=kind)
        assert record.type is RecordType.MUTABLE and (record.klass, record.day, record.seq) == (7, DAY, 3)
        assert record.key == profile_key(ME.address, WEEK, kind) and not any(record.stamp)
        assert record.check_signature()
        assert open_profile(ME.address, Record.parse(record.pack()), WEEK, kind) == PAGE


def test_keys_of_weeks_kinds_and_people_are_unrelated() -> None:
    keys = {profile_key(a.address, w, k) for a in (ME, OTHER) for w in (WEEK, WEEK + 1) for k in (0, 1)}
    assert len(keys) == 8 and ME.address.root not in keys
    record = sealed()
    everything = record.pack() + sealed(kind=1).pack()
    for visible in (ME.address.root, ME.x25519_public, PREKEY.private.public.raw[:32], SALT, "Zoë".encode()):
        assert visible not in everything


def test_another_page_of_the_same_week_is_sealed_to_other_bytes() -> None:
    first, second = sealed(seq=3), sealed(seq=4)
    assert first.c != second.c and first.key == second.key


def test_a_record_that_is_not_the_page() -> None:
    record = sealed()
    for address, week, kind in (
        (OTHER.address, WEEK, 0),
        (ME.address, WEEK + 1, 0),
        (ME.address, WEEK, 1),
    ):
        with pytest.raises(RemoteProtocolError, match="asked for"):
            open_profile(address, record, week, kind)
    with pytest.raises(RemoteProtocolError, match="asked for"):
        open_profile(ME.address, dataclasses.replace(record, type=RecordType.BOX), WEEK, 0)


@pytest.mark.parametrize("change", ["signature", "c", "day", "seq", "klass"])
def test_a_changed_page_is_refused(change: str) -> None:
    record = sealed()
    value = getattr(record, change)
    other = value + 1 if isinstance(value, int) else value[:-1] + bytes([value[-1] ^ 1])
    with pytest.raises(RemoteProtocolError, match="signature"):
        open_profile(ME.address, dataclasses.replace(record, **{change: other}), WEEK, 0)


def signed_text(text: bytes, week: int = WEEK) -> Record:
    """A page with any text, by somebody who holds the root key."""
    factor = profiles._factor(ME.address.root, week, 0)
    owner = ME.owner.blind(factor)
    meta = struct.pack(">BBHI", RecordType.MUTABLE, 7, DAY, 0)
    key = hashing.h512("mm1.profile.key", b"", ME.address.pack(), owner.public)[:32]
    c = aead.siv_seal(key, owner.public[:12], text, owner.public + meta)
    return sign_record(owner, RecordType.MUTABLE, 7, DAY, 0, c, SeededRandomness(1))


def test_only_the_holder_of_the_root_signs_pages() -> None:
    text = PAGE.pack()
    assert open_profile(ME.address, signed_text(text), WEEK, 0) == PAGE
    forged = dataclasses.replace(signed_text(text), signature=OTHER.owner.sign(b"x", SeededRandomness(1)))
    with pytest.raises(RemoteProtocolError, match="signature"):
        open_profile(ME.address, forged, WEEK, 0)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (dataclasses.replace(PAGE, x25519_identity=OTHER.x25519_public), "promises"),
        (dataclasses.replace(PAGE, week=WEEK + 1), "week"),
        *((dataclasses.replace(PAGE, x25519_prekey=point), "low order") for point in LOW_ORDER),
        *((dataclasses.replace(PAGE, x25519_identity=point), "low order") for point in LOW_ORDER),
    ],
)
def test_a_signed_page_that_breaks_a_rule(page: Profile, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        open_profile(ME.address, signed_text(page.pack()), WEEK, 0)


@pytest.mark.parametrize(
    ("position", "byte"),
    [(0, 2), (2, 65), (3, 1), (1304, 255), (1311, 1), (2000, 1), (17181, 1)],
    ids=["version", "name length", "reserved", "not UTF-8", "after the name", "padding", "end"],
)
def test_a_signed_page_with_a_broken_layout(position: int, byte: int) -> None:
    text = bytearray(PAGE.pack())
    text[position] = byte
    with pytest.raises(RemoteProtocolError):
        open_profile(ME.address, signed_text(bytes(text)), WEEK, 0)


@settings(max_examples=50)
@given(st.binary(max_size=1500))
def test_any_signed_text_is_a_page_or_refused(head: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Profile.parse(b"\x01" + head.ljust(GEOMETRY.box_text - 1, b"\xff"))


def test_names_have_a_limit() -> None:
    assert Profile.parse(dataclasses.replace(PAGE, name="ü" * 32).pack()).name == "ü" * 32


@pytest.mark.parametrize("length", [0, 1_367, GEOMETRY.box_text - 1, GEOMETRY.box_text + 1])
def test_a_page_of_another_length_is_refused(length: int) -> None:
    text = PAGE.pack()
    with pytest.raises(RemoteProtocolError, match="profile"):
        Profile.parse((text + bytes(1))[:length])
    with pytest.raises(UserError) as caught:
        dataclasses.replace(PAGE, name="ü" * 33).pack()
    assert caught.value.code == "name"


def test_the_queue_of_a_salt_has_one_owner() -> None:
    owner = inbox_owner(ME, SALT)
    assert owner.public == inbox_key(ME.address, SALT)
    assert ed25519.verify(inbox_key(ME.address, SALT), b"list", owner.sign(b"list", SeededRandomness(1)))
    assert inbox_key(ME.address, bytes(16)) != inbox_key(ME.address, SALT) != ME.address.root
    assert inbox_key(OTHER.address, SALT) != inbox_key(ME.address, SALT)
    for wrong in (SALT[:-1], SALT + b"\0"):
        with pytest.raises(LocalProtocolError):
            inbox_key(ME.address, wrong)
    with pytest.raises(LocalProtocolError):
        profile_key(ME.address, WEEK, 2)


def test_a_blinded_key_is_found_by_its_factor_only() -> None:
    factor = profiles._factor(ME.address.root, WEEK, 0)
    assert blinding.blind_public(ME.address.root, factor) == profile_key(ME.address, WEEK, 0)
    assert x25519.public(ME.x25519_secret) == ME.x25519_public
