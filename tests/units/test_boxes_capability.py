"""Capability boxes: what a writer seals a reader finds and opens, and nobody else."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.boxes.blinding import OwnerKey, blind_public
from mixmail.boxes.capability import CAP_BYTES, LAST_INDEX, ReadCap, WriteCap, entomb, open_, seal
from mixmail.boxes.record import Record, RecordType
from mixmail.crypto import ed25519, hashing
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.testing import SeededRandomness

SEED = bytes(range(64))
DAY = 20_000
TEXT = b"hello".ljust(GEOMETRY.box_text, b"\0")
IDENTITY_POINT = b"\x01" + bytes(31)
ORDER = 2**252 + 27742317777372353535851937790883648493


def rng() -> SeededRandomness:
    return SeededRandomness("boxes")


def box(cap: WriteCap | None = None, text: bytes = TEXT, ctx: bytes = b"") -> Record:
    return seal(cap or WriteCap.create(SEED), text, 30, DAY, rng(), ctx)


def test_reader_and_writer_walk_the_same_boxes() -> None:
    write, read = WriteCap.create(SEED), WriteCap.create(SEED).read_cap()
    keys = set()
    for index in range(5):
        text = bytes([index]) * GEOMETRY.box_text
        record = Record.parse(box(write, text).pack())
        assert (record.key, record.type, record.klass, record.day) == (read.box_id(), RecordType.BOX, 30, DAY)
        assert record.stamp == bytes(32)
        assert open_(read, record) == text
        assert write.index == read.index == index
        assert write.read_cap() == read
        keys.add(record.key)
        write, read = write.advance(), read.advance()
    assert len(keys) == 5


def test_the_formulas_of_the_protocol_by_integers() -> None:
    """Once more from the text of docs/protocol/boxes.md, with plain arithmetic modulo L."""
    cap = WriteCap.create(SEED).advance()

    def scalar(raw: bytes) -> int:
        return int.from_bytes(raw, "little") % ORDER

    h1 = hashing.h512("mm1.box.step.a", SEED[32:], bytes(8))[:32]
    assert cap.chain == h1
    a = scalar(hashing.h512("mm1.root", b"", SEED[:32]))
    root = ed25519.base_mult(a.to_bytes(32, "little"))
    k1 = hashing.h512("mm1.box.step.b", h1, (1).to_bytes(8, "little"))[:32]
    for ctx in (b"", b"a group"):
        k = scalar(hashing.h512("mm1.box.blind", k1, root, ctx))
        expected = ed25519.base_mult((a * k % ORDER).to_bytes(32, "little"))
        assert cap.read_cap().box_id(ctx) == cap.owner(ctx).public == expected


def test_a_context_moves_the_box() -> None:
    cap = WriteCap.create(SEED)
    record = box(cap, ctx=b"group 1")
    assert open_(cap.read_cap(), record, b"group 1") == TEXT
    assert record.key != cap.read_cap().box_id()
    with pytest.raises(RemoteProtocolError):
        open_(cap.read_cap(), record)
    with pytest.raises(RemoteProtocolError):
        open_(cap.read_cap(), record, b"group 2")


def test_an_advanced_capability_opens_no_earlier_box() -> None:
    cap = WriteCap.create(SEED)
    record = box(cap)
    with pytest.raises(RemoteProtocolError, match="not the box that was asked for"):
        open_(cap.read_cap().advance(), record)


def test_sealing_is_deterministic_but_the_signature_is_not() -> None:
    source = rng()
    one, two = (seal(WriteCap.create(SEED), TEXT, 30, DAY, source) for _ in range(2))
    assert (one.c, one.key) == (two.c, two.key)
    assert one.signature != two.signature
    assert one.check_signature() and two.check_signature()


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, GEOMETRY.record - 1), bit=st.integers(0, 7))
def test_no_bit_outside_the_stamp_can_be_turned(place: int, bit: int) -> None:
    raw = bytearray(BOX)
    raw[place] ^= 1 << bit
    if 104 <= place < 136:
        return
    with pytest.raises(RemoteProtocolError):
        open_(WriteCap.create(SEED).read_cap(), Record.parse(bytes(raw)))


BOX = box().pack()


def test_meta_is_sealed_too() -> None:
    """Even its own writer cannot put a text under another day than it was sealed for."""
    cap = WriteCap.create(SEED)
    moved = dataclasses.replace(box(cap), day=DAY + 1)
    signed = dataclasses.replace(moved, signature=cap.owner().sign(moved.signed_message(), rng()))
    assert signed.check_signature()
    with pytest.raises(RemoteProtocolError):
        open_(cap.read_cap(), signed)


def test_a_tombstone_is_signed_by_the_box_and_holds_no_text() -> None:
    cap = WriteCap.create(SEED)
    stone = entomb(cap, box(cap), rng())
    assert (stone.type, stone.key, stone.klass, stone.day) == (
        RecordType.TOMBSTONE,
        cap.read_cap().box_id(),
        30,
        DAY,
    )
    assert Record.parse(stone.pack()).check_signature()
    assert stone.expiry_day == DAY + 37
    with pytest.raises(RemoteProtocolError, match="TOMBSTONE"):
        open_(cap.read_cap(), stone)
    with pytest.raises(LocalProtocolError):
        entomb(cap.advance(), box(cap), rng())


@pytest.mark.parametrize("length", [0, GEOMETRY.box_text - 1, GEOMETRY.box_text + 1])
def test_a_text_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(LocalProtocolError):
        box(text=bytes(length))


def test_capabilities_pack_to_72_bytes() -> None:
    write = WriteCap.create(SEED).advance()
    assert write.pack() == SEED[:32] + bytes(7) + b"\x01" + write.chain
    assert WriteCap.parse(write.pack()) == write
    read = write.read_cap()
    assert read.pack() == write.root.public + bytes(7) + b"\x01" + write.chain
    assert ReadCap.parse(read.pack()) == read
    assert CAP_BYTES == 72
    for parse in (ReadCap.parse, WriteCap.parse):
        for length in (0, 71, 73):
            with pytest.raises(RemoteProtocolError):
                parse(bytes(length))


@pytest.mark.parametrize("point", [bytes(32), IDENTITY_POINT, b"\xff" * 32, b"\x02" + bytes(31)])
def test_a_read_capability_of_a_bad_point_is_refused(point: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        ReadCap.parse(point + bytes(40))


def test_a_stream_ends_at_its_last_index() -> None:
    cap = WriteCap(SEED[:32], LAST_INDEX, SEED[32:])
    with pytest.raises(RemoteProtocolError):  # nobody else can bring a reader to that end
        ReadCap.parse(cap.read_cap().pack())
    with pytest.raises(LocalProtocolError):
        cap.advance()
    with pytest.raises(LocalProtocolError):
        cap.read_cap().advance()


def test_a_stream_needs_both_halves_of_its_seed() -> None:
    with pytest.raises(LocalProtocolError):
        WriteCap.create(SEED[:32])


def test_secrets_stay_out_of_reprs() -> None:
    cap = WriteCap.create(SEED)
    text = repr(cap) + repr(cap.read_cap()) + repr(cap.root)
    for secret in (SEED[:32], SEED[32:], cap.root.scalar, cap.root.prefix):
        assert repr(secret) not in text


class TestOwnerKeys:
    def test_blinding_the_public_key_and_the_pair_agree(self) -> None:
        owner = OwnerKey.from_seed(SEED[:32], "mm1.test")
        factor = ed25519.reduce(bytes(range(64)))
        blinded = owner.blind(factor)
        assert blinded.public == blind_public(owner.public, factor) != owner.public
        signature = blinded.sign(b"message", rng())
        assert ed25519.verify(blinded.public, b"message", signature)
        assert not ed25519.verify(owner.public, b"message", signature)
        assert not ed25519.verify(blinded.public, b"massage", signature)

    def test_blinding_composes(self) -> None:
        owner = OwnerKey.from_seed(SEED[:32], "mm1.test")
        one, two = ed25519.reduce(b"1" * 64), ed25519.reduce(b"2" * 64)
        assert owner.blind(one).blind(two) == owner.blind(ed25519.scalar_mul(one, two))

    def test_person_and_seed_both_count(self) -> None:
        keys = {
            OwnerKey.from_seed(seed, person).public
            for seed in (SEED[:32], SEED[32:])
            for person in ("mm1.root", "mm1.test")
        }
        assert len(keys) == 4

    def test_a_bad_seed_or_person_is_refused(self) -> None:
        with pytest.raises(LocalProtocolError):
            OwnerKey.from_seed(SEED, "mm1.root")
        with pytest.raises(LocalProtocolError):
            OwnerKey.from_seed(SEED[:32], "mm1.too-long")
