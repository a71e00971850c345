"""The first message, the rendezvous and the answer."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from low_order import LOW_ORDER

from mixmail.boxes import capability
from mixmail.boxes.capability import WriteCap
from mixmail.crypto import aead, hashing, kem, x25519
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.mail import first_contact
from mixmail.mail.first_contact import FIRST_TEXT, FirstSent, open_first, rendezvous, seal_first
from mixmail.mail.identity import Identity, Prekey
from mixmail.mail.parts import ANSWER_ROOM, BOX_ROOM, FIRST_ROOM, Part, join, split
from mixmail.mail.profile import Profile
from mixmail.mail.session import AnswerText, Side, answer_text, mac_key, parse_answer
from mixmail.params import GEOMETRY
from mixmail.testing import SeededRandomness

ALICE, BOB, EVE = (Identity(bytes([number]) * 32) for number in (1, 2, 3))
WEEK = 2_900
PREKEY = Prekey(WEEK, bytes([7]) * 32)
PAGE = Profile(WEEK, PREKEY.private.public, PREKEY.x25519_public, BOB.x25519_public, "Bob", 11, bytes(16))
STREAM = WriteCap.create(bytes(range(64)))
NEXT = kem.PrivateKey.from_seed(bytes([8]) * 32).public
TEXT = bytes(range(256)) * 57 + bytes(FIRST_TEXT - 256 * 57)
RNG = SeededRandomness(1)


def first(sender: Identity | None = ALICE, text: bytes = TEXT, page: Profile = PAGE) -> FirstSent:
    return seal_first(sender, BOB.address, page, text, STREAM.read_cap(), NEXT, SeededRandomness(5))


SENT = first()


@pytest.mark.parametrize("sender", [ALICE, None], ids=["named", "anonymous"])
def test_bob_reads_it_and_both_hold_the_root(sender: Identity | None) -> None:
    sent = first(sender)
    assert len(sent.c) == GEOMETRY.box_ct == 17_198 and len(sent.root) == 32
    got = open_first(BOB, PREKEY, sent.c)
    assert got.sender == (sender.address if sender else None)
    assert (got.text, got.read_cap, got.next_key, got.root) == (TEXT, STREAM.read_cap(), NEXT, sent.root)


def test_nothing_of_it_is_readable_or_repeats() -> None:
    again = first()
    assert again.root != SENT.root
    for seen in (
        ALICE.address.root,
        ALICE.x25519_public,
        BOB.x25519_public,
        PREKEY.x25519_public,
        TEXT[:64],
        SENT.root,
    ):
        assert seen not in SENT.c
    # the ephemeral key is the only thing that equal randomness repeats
    assert again.c[:1120] != SENT.c[:1120] and again.c[1152:1264] != SENT.c[1152:1264]


@pytest.mark.parametrize(
    "position",
    [0, 1087, 1088, 1119, 1120, 1151, 1152, 1263, 1264, 9_000, 17_197],
)
def test_any_changed_byte_is_refused(position: int) -> None:
    raw = bytearray(SENT.c)
    raw[position] ^= 1
    with pytest.raises(RemoteProtocolError):
        open_first(BOB, PREKEY, bytes(raw))


def test_the_wrong_reader_or_week() -> None:
    for who, prekey in (
        (EVE, PREKEY),
        (BOB, Prekey(WEEK, bytes(32))),
        (BOB, Prekey(WEEK + 1, PREKEY.seed)),
    ):
        with pytest.raises(RemoteProtocolError):
            open_first(who, prekey, SENT.c)


def test_a_page_of_another_week_number_gives_other_keys() -> None:
    sent = first(page=dataclasses.replace(PAGE, week=WEEK + 1))
    with pytest.raises(RemoteProtocolError):
        open_first(BOB, PREKEY, sent.c)


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_low_order_points_are_refused_on_both_sides(point: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="low order"):
        open_first(BOB, PREKEY, SENT.c[:1120] + point + SENT.c[1152:])
    with pytest.raises(RemoteProtocolError, match="low order"):
        open_first(BOB, PREKEY, SENT.c[:1088] + point + SENT.c[1120:])
    for name in ("x25519_prekey", "x25519_identity"):
        with pytest.raises(RemoteProtocolError, match="low order"):
            first(page=dataclasses.replace(PAGE, **{name: point}))


def forged(block: bytes, identity_secret: bytes, body: bytes | None = None) -> bytes:
    """A first message with any identity block and body, written from docs/protocol/people.md."""
    ephemeral = bytes([77]) * 32
    ct, ss = kem.encapsulate(PAGE.prekey)
    public = x25519.public(ephemeral)
    d2 = x25519.exchange(ephemeral, BOB.x25519_public)
    d3 = x25519.exchange(ephemeral, PREKEY.x25519_public)
    keys = (PREKEY.private.public.raw, PREKEY.x25519_public)
    week = WEEK.to_bytes(4, "little")
    s1 = hashing.h512("mm1.first.id", ss, BOB.address.pack(), week, *keys, ct, public, d2, d3)
    sealed = aead.chacha_seal(s1[:32], bytes(12), block, ct + public)
    d1 = x25519.exchange(identity_secret, PREKEY.x25519_public)
    s2 = hashing.h512("mm1.first.body", s1[32:], d1, sealed)
    body = STREAM.read_cap().pack() + NEXT.raw + TEXT if body is None else body
    return ct + public + sealed + aead.chacha_seal(s2[:32], bytes(12), body, sealed)


def block(flags: int, address: bytes, public: bytes, rest: bytes = bytes(10)) -> bytes:
    return bytes([flags]) + address + public + rest


NAMED = block(1, ALICE.address.pack(), ALICE.x25519_public)


def test_the_layout_is_the_one_of_the_document() -> None:
    assert open_first(BOB, PREKEY, forged(NAMED, ALICE.x25519_secret)).sender == ALICE.address
    assert first_contact.BODY_TEXT == 15_918 and FIRST_TEXT == FIRST_ROOM == 14_630


def test_nobody_passes_for_another() -> None:
    """Eve knows Alice's address and public key, but no secret of hers."""
    with pytest.raises(RemoteProtocolError):
        open_first(BOB, PREKEY, forged(NAMED, EVE.x25519_secret))
    with pytest.raises(RemoteProtocolError, match="promises"):
        open_first(BOB, PREKEY, forged(block(1, ALICE.address.pack(), EVE.x25519_public), EVE.x25519_secret))
    mixed = dataclasses.replace(ALICE.address, commitment=EVE.address.commitment)
    got = open_first(BOB, PREKEY, forged(block(1, mixed.pack(), EVE.x25519_public), EVE.x25519_secret))
    assert got.sender != ALICE.address  # a root alone is nobody: addresses are compared whole


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (block(2, ALICE.address.pack(), ALICE.x25519_public), "flags"),
        (block(0, ALICE.address.pack(), ALICE.x25519_public), "zero"),
        (block(1, ALICE.address.pack(), ALICE.x25519_public, bytes(9) + b"\x01"), "zero"),
        (block(1, b"\x02" + ALICE.address.pack()[1:], ALICE.x25519_public), "version"),
        (block(1, b"\x01" + bytes(32) + ALICE.address.commitment, ALICE.x25519_public), "valid point"),
        *((block(0, bytes(53), point), "low order") for point in LOW_ORDER),
    ],
)
def test_identity_blocks_that_break_a_rule(bad: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        open_first(BOB, PREKEY, forged(bad, ALICE.x25519_secret))


def test_bodies_that_break_a_rule() -> None:
    cap, key = STREAM.read_cap().pack(), NEXT.raw
    for body in (
        *(cap + key[:-32] + point + TEXT for point in LOW_ORDER),
        bytes(72) + key + TEXT,
        cap + bytes(1216)[:-32] + bytes(32) + TEXT,
        cap + b"\xff" * 1216 + TEXT,
    ):
        with pytest.raises(RemoteProtocolError):
            open_first(BOB, PREKEY, forged(NAMED, ALICE.x25519_secret, body))


def test_bob_can_make_it_alone() -> None:
    """Deniable: with his own secrets and Alice's public key only, Bob makes a message that opens as hers."""
    ephemeral, (ct, ss) = bytes([9]) * 32, kem.encapsulate(PAGE.prekey)
    head = ct + x25519.public(ephemeral)
    d2, d3 = (x25519.exchange(ephemeral, key) for key in (BOB.x25519_public, PREKEY.x25519_public))
    keys = (PREKEY.private.public.raw, PREKEY.x25519_public, ct, head[1120:])
    s1 = hashing.h512("mm1.first.id", ss, BOB.address.pack(), WEEK.to_bytes(4, "little"), *keys, d2, d3)
    sealed = aead.chacha_seal(s1[:32], bytes(12), NAMED, head)
    d1 = x25519.exchange(PREKEY.x25519_secret, ALICE.x25519_public)
    s2 = hashing.h512("mm1.first.body", s1[32:], d1, sealed)
    body = aead.chacha_seal(s2[:32], bytes(12), STREAM.read_cap().pack() + NEXT.raw + TEXT, sealed)
    assert open_first(BOB, PREKEY, head + sealed + body).sender == ALICE.address


def test_an_anonymous_sender_uses_a_fresh_key() -> None:
    draws = SeededRandomness(5)
    ephemeral, identity_secret = draws.bytes(32), draws.bytes(32)
    c = first(None).c
    head, sealed = c[:1152], c[1152:1264]
    ss = kem.decapsulate(PREKEY.private, c[:1120])
    d2, d3 = (x25519.exchange(ephemeral, key) for key in (BOB.x25519_public, PREKEY.x25519_public))
    keys = (PREKEY.private.public.raw, PREKEY.x25519_public, c[:1120], c[1120:1152])
    s1 = hashing.h512("mm1.first.id", ss, BOB.address.pack(), WEEK.to_bytes(4, "little"), *keys, d2, d3)
    opened = aead.chacha_open(s1[:32], bytes(12), sealed, head)
    assert opened == block(0, bytes(53), x25519.public(identity_secret))


def test_only_whole_texts_are_sent() -> None:
    for text in (TEXT[:-1], TEXT + b"\0"):
        with pytest.raises(LocalProtocolError):
            first(text=text)


@settings(max_examples=30)
@given(st.binary(max_size=64), st.integers(0, 17_180))
def test_garbage_is_refused(noise: bytes, cut: int) -> None:
    with pytest.raises(RemoteProtocolError):
        open_first(BOB, PREKEY, SENT.c[:cut] + noise)
    with pytest.raises(RemoteProtocolError):
        open_first(BOB, PREKEY, (noise or b"\0") * 17_198)
    with pytest.raises(RemoteProtocolError):
        open_first(BOB, PREKEY, ((noise or b"\0") * 17_198)[:17_198])


def test_the_rendezvous_is_one_stream_for_both() -> None:
    ours, theirs = rendezvous(SENT.root), rendezvous(open_first(BOB, PREKEY, SENT.c).root)
    assert ours == theirs and ours.index == 0 and rendezvous(bytes(32)) != ours
    seed = hashing.h512("mm1.rdv", SENT.root)
    assert (ours.seed, ours.chain) == (seed[:32], seed[32:])
    vector = rendezvous(bytes([9]) * 32).read_cap()
    assert vector.public.hex() == "1a8e42540f03814cb9ab2691ebb88acdd6362c4f3f7e7ca3e2a36bf02448e969"
    assert vector.box_id().hex() == "a3050d560dc0c158285cc68f045ff7891d2abf96a3eb77eb92083005ff137ddf"


def test_a_whole_exchange_through_boxes() -> None:
    mail = bytes(RNG.bytes(40_000))
    parts = split(mail, bytes(16), None, FIRST_ROOM)
    sent = first(text=parts[0].pack())
    boxes = [part.keyed(mac_key(sent.root, Side.FIRST)).pack() for part in parts[1:]]

    got = open_first(BOB, PREKEY, sent.c)
    key = mac_key(got.root, Side.FIRST)
    read = [Part.parse(got.text, None), *(Part.parse(text, key) for text in boxes)]
    assert join({part.part: part.payload for part in read}, read[0].parts) == mail

    reply = bytes(RNG.bytes(20_000))
    back = split(reply, bytes([1]) * 16, mac_key(got.root, Side.SECOND), ANSWER_ROOM)
    bobs = WriteCap.create(bytes(64))
    text = answer_text(got.root, bobs.read_cap(), NEXT, back[0])
    record = capability.seal(rendezvous(got.root), text, 30, 20_298, RNG)
    opened = capability.open_(rendezvous(sent.root).read_cap(), record)
    answer = parse_answer(sent.root, opened)
    assert (answer.read_cap, answer.next_key) == (bobs.read_cap(), NEXT)
    rest = Part.parse(back[1].pack(), mac_key(sent.root, Side.SECOND))
    assert join({0: answer.part.payload, 1: rest.payload}, answer.part.parts) == reply


def an_answer() -> tuple[bytes, AnswerText]:
    part = split(b"yes", bytes(16), None, ANSWER_ROOM)[0]
    text = answer_text(SENT.root, STREAM.read_cap(), NEXT, part)
    return text, parse_answer(SENT.root, text)


def test_an_answer_fills_a_box_and_belongs_to_its_session() -> None:
    text, answer = an_answer()
    assert len(text) == BOX_ROOM == 17_182 and answer.part.payload == b"yes"
    with pytest.raises(RemoteProtocolError, match="MAC"):
        parse_answer(bytes(32), text)
    plain = split(b"yes", bytes(16), mac_key(SENT.root, Side.SECOND))[0].pack()
    with pytest.raises(RemoteProtocolError, match="no answer"):
        parse_answer(SENT.root, plain)


def test_capabilities_in_an_answer_are_checked() -> None:
    part = split(b"yes", bytes(16), None, ANSWER_ROOM)[0]
    bad_cap = dataclasses.replace(STREAM.read_cap(), public=bytes(32))
    with pytest.raises(RemoteProtocolError, match="valid point"):
        parse_answer(SENT.root, answer_text(SENT.root, bad_cap, NEXT, part))


def test_the_two_directions_have_different_keys() -> None:
    root = bytes([9]) * 32
    assert (
        mac_key(root, Side.FIRST).hex() == "0a4dd4d3b25efa16fed8b5bca02b5005e143bdc4404ecedabc98170dab7d6937"
    )
    assert (
        mac_key(root, Side.SECOND).hex() == "9b6ad92f132c9a6706f65b847aa758579e796f0e3b6a5e92f8a6d6875afc8cc9"
    )
