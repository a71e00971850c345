"""Records: layout, signatures, the cheap checks, which of two stays."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.record import (
    EMPTY_FIELD,
    FIRST,
    Record,
    RecordType,
    key_field,
    parse_key_field,
    queue_entry,
    sign_record,
    validate,
)
from mixmail.boxes.stamp import Stamp
from mixmail.boxes.status import Status
from mixmail.boxes.store import decide, decide_entry, summary
from mixmail.crypto import hashing
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, MAIL
from mixmail.testing import SeededRandomness

DAY = 20_000
OWNER = OwnerKey.from_seed(bytes(range(32)), "mm1.test")
IDENTITY_POINT = b"\x01" + bytes(31)
ZERO_TEXT = bytes(GEOMETRY.box_ct)


def text(number: int) -> bytes:
    return number.to_bytes(4, "big") + bytes(GEOMETRY.box_ct - 4)


def signed(
    kind: RecordType = RecordType.BOX, number: int = 1, *, klass: int = 7, day: int = DAY, seq: int = 0
) -> Record:
    c = ZERO_TEXT if kind is RecordType.TOMBSTONE else text(number)
    return sign_record(OWNER, kind, klass, day, seq, c, SeededRandomness(number))


MUTABLE = signed(RecordType.MUTABLE, 7, klass=30, seq=0x01020304)


def test_the_layout_byte_by_byte() -> None:
    stamped = MUTABLE.with_stamp(bytes(range(28)) + bytes(4))
    raw = stamped.pack()
    assert len(raw) == 17_334
    assert raw[:32] == OWNER.public
    assert raw[32:96] == MUTABLE.signature
    assert raw[96:104] == bytes([2, 30]) + DAY.to_bytes(2, "big") + bytes([1, 2, 3, 4])
    assert raw[104:136] == bytes(range(28)) + bytes(4)
    assert raw[136:] == text(7)
    assert Record.parse(raw) == stamped
    assert stamped.bits == 9


def test_derived_values() -> None:
    entry = queue_entry(OWNER.public, 7, DAY, text(3))
    assert entry.body_hash == hashing.blake2b(text(3))
    assert entry.entry_id == hashing.blake2b(OWNER.public + text(3))
    assert entry.position == b"\xff" + entry.entry_id[:31] > FIRST
    worked = entry.with_stamp(Stamp(bytes(8), 1, 200, DAY).pack())
    assert worked.position == bytes([55]) + entry.entry_id[:31] < entry.position
    assert MUTABLE.signed_message() == b"mm1-box\0" + MUTABLE.meta + MUTABLE.body_hash


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(-3, 3))
def test_any_bytes_parse_or_are_a_remote_error(head: bytes, off: int) -> None:
    raw = head[:200].ljust(GEOMETRY.record, b"\0") if off <= 0 else head + bytes(GEOMETRY.record + off - 1)
    try:
        record = Record.parse(raw)
    except RemoteProtocolError:
        return
    assert record.pack() == raw


@pytest.mark.parametrize(
    ("place", "value"),
    [(96, 4), (96, 255), (103, 1), (132, 1), (135, 1)],
    ids=["type 4", "type 255", "seq of a BOX", "stamp end", "stamp end"],
)
def test_a_broken_layout_is_refused(place: int, value: int) -> None:
    raw = bytearray(signed().pack())
    raw[place] = value
    with pytest.raises(RemoteProtocolError):
        Record.parse(bytes(raw))


def test_a_tombstone_with_text_is_refused() -> None:
    raw = bytearray(signed(RecordType.TOMBSTONE).pack())
    raw[-1] = 1
    with pytest.raises(RemoteProtocolError):
        Record.parse(bytes(raw))
    with pytest.raises(LocalProtocolError):
        sign_record(OWNER, RecordType.TOMBSTONE, 7, DAY, 0, text(1), SeededRandomness(1))


@pytest.mark.parametrize("length", [0, GEOMETRY.record - 1, GEOMETRY.record + 1])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        Record.parse(bytes(length))


def test_what_does_not_fit_is_our_own_mistake() -> None:
    r = SeededRandomness(1)
    for klass, day, seq in ((0, 1, 0), (256, 1, 0), (7, -1, 0), (7, 65_536, 0), (7, 1, 2**32), (7, 1, -1)):
        with pytest.raises(LocalProtocolError):
            sign_record(OWNER, RecordType.MUTABLE, klass, day, seq, text(1), r)
    for kind, seq, c in (
        (RecordType.BOX, 1, text(1)),
        (RecordType.BOX, 0, text(1)[1:]),
        (RecordType.QUEUE, 0, text(1)),
    ):
        with pytest.raises(LocalProtocolError):
            sign_record(OWNER, kind, 7, DAY, seq, c, r)


class TestSignatures:
    @pytest.mark.parametrize("kind", [RecordType.BOX, RecordType.TOMBSTONE, RecordType.MUTABLE])
    def test_the_owner_signs_key_meta_and_text(self, kind: RecordType) -> None:
        record = signed(kind)
        assert record.check_signature()
        other = OwnerKey.from_seed(bytes(32), "mm1.test").public
        for changed in ({"key": other}, {"klass": 8}, {"day": 1}, {"seq": 1}, {"c": text(9)}):
            assert not dataclasses.replace(record, **changed).check_signature(), changed

    def test_the_stamp_is_not_signed(self) -> None:
        assert signed().with_stamp(bytes(range(28)) + bytes(4)).check_signature()

    def test_a_signature_of_one_type_is_none_of_another(self) -> None:
        tombstone = dataclasses.replace(signed(RecordType.TOMBSTONE), type=RecordType.MUTABLE)
        assert not tombstone.check_signature()

    def test_nobody_can_write_at_the_identity_point(self) -> None:
        forged = dataclasses.replace(signed(), key=IDENTITY_POINT, signature=IDENTITY_POINT + bytes(32))
        assert not forged.check_signature()

    def test_a_queue_entry_has_no_signature_and_a_real_key(self) -> None:
        entry = queue_entry(OWNER.public, 7, DAY, text(1))
        assert entry.check_signature()
        assert not dataclasses.replace(entry, signature=signed().signature).check_signature()
        assert not dataclasses.replace(entry, key=IDENTITY_POINT).check_signature()


class TestValidate:
    def test_a_good_record_is_good_until_its_last_day(self) -> None:
        for kind, days in ((RecordType.BOX, 7), (RecordType.MUTABLE, 7), (RecordType.TOMBSTONE, 14)):
            record = signed(kind)
            for today in (DAY - 1, DAY, DAY + days):
                assert validate(record, today) is Status.OK
            assert validate(record, DAY + days + 1) is Status.EXPIRED

    def test_the_day_after_tomorrow_is_refused(self) -> None:
        assert validate(signed(), DAY - 2) is Status.REFUSED

    @pytest.mark.parametrize("klass", [1, 8, 255])
    def test_an_unknown_class_is_refused(self, klass: int) -> None:
        assert validate(signed(klass=klass), DAY) is Status.REFUSED
        assert validate(signed(klass=klass), DAY, (klass,)) is Status.OK

    def test_every_class_of_the_network_is_taken(self) -> None:
        for klass in MAIL.classes_days:
            assert validate(signed(klass=klass), DAY) is Status.OK

    def test_a_wrong_signature(self) -> None:
        assert validate(dataclasses.replace(signed(), c=text(2)), DAY) is Status.BAD_SIGNATURE

    def test_the_day_is_looked_at_before_the_signature(self) -> None:
        wrong = dataclasses.replace(signed(), c=text(2))
        assert validate(wrong, DAY + 8) is Status.EXPIRED

    def test_a_token_is_refused(self) -> None:
        entry = queue_entry(OWNER.public, 7, DAY, text(1))
        assert validate(entry, DAY) is Status.OK
        token = entry.with_stamp(Stamp(bytes(8), 0, 0, 0, b"t" * 16).pack())
        assert validate(token, DAY) is Status.REFUSED


class TestDecide:
    def test_identical_means_meta_and_text(self) -> None:
        one = signed()
        resigned = sign_record(OWNER, RecordType.BOX, 7, DAY, 0, text(1), SeededRandomness(99))
        assert one.signature != resigned.signature
        assert decide(one, resigned.with_stamp(b"\1" * 28 + bytes(4))) is Status.OK
        assert decide(one, signed(day=DAY + 1)) is Status.EXISTS
        assert decide(None, one) is Status.STORED

    def test_boxes(self) -> None:
        one, two = sorted((signed(number=1), signed(number=2)), key=lambda record: record.body_hash)
        assert decide(one, two) is decide(two, one) is Status.EXISTS
        assert decide(one, two, repair=True) is Status.EXISTS
        assert decide(two, one, repair=True) is Status.STORED

    def test_tombstones(self) -> None:
        stone = signed(RecordType.TOMBSTONE)
        for other in (signed(), MUTABLE):
            for repair in (False, True):
                assert decide(other, stone, repair=repair) is Status.STORED
                assert decide(stone, other, repair=repair) is Status.EXISTS

    def test_mutables(self) -> None:
        first, second = (signed(RecordType.MUTABLE, seq=seq, number=seq) for seq in (1, 2))
        for repair in (False, True):
            assert decide(first, second, repair=repair) is Status.STORED
            assert decide(second, first, repair=repair) is Status.EXISTS
        tie = signed(RecordType.MUTABLE, seq=1, number=9)
        assert decide(first, tie) is decide(tie, first) is Status.EXISTS
        assert {decide(first, tie, repair=True), decide(tie, first, repair=True)} == {
            Status.STORED,
            Status.EXISTS,
        }

    def test_other_types_never_replace_one_another_for_a_client(self) -> None:
        assert decide(signed(), MUTABLE) is decide(MUTABLE, signed()) is Status.EXISTS

    def test_repair_ends_alike_in_every_order(self) -> None:
        records = [
            signed(number=1),
            signed(number=1, day=DAY + 1),
            signed(number=2),
            MUTABLE,
            signed(RecordType.MUTABLE, seq=1),
            signed(RecordType.MUTABLE, seq=1, number=8),
        ]
        for chosen in (
            records,
            [*records, signed(RecordType.TOMBSTONE), signed(RecordType.TOMBSTONE, day=1)],
        ):
            ends = set()
            for order in itertools.islice(itertools.permutations(chosen), 0, None, 97):
                held = None
                for record in order:
                    if decide(held, record, repair=True) is Status.STORED:
                        held = record
                ends.add(held)
            assert len(ends) == 1

    def test_entries(self) -> None:
        entry = queue_entry(OWNER.public, 7, DAY, text(1))
        more = entry.with_stamp(Stamp(bytes(8), 1, 2, DAY).pack())
        assert decide_entry(None, entry) is Status.STORED
        assert decide_entry(entry, entry) is Status.OK
        assert decide_entry(entry, more) is Status.STORED
        assert decide_entry(more, entry) is Status.OK

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ([], Status.TRY_LATER),
            ([Status.TRY_LATER, Status.FULL], Status.FULL),
            ([Status.OK, Status.OK], Status.OK),
            ([Status.OK, Status.STORED, Status.BAD_STAMP], Status.STORED),
            ([Status.OK, Status.STORED, Status.EXISTS], Status.EXISTS),
            ([Status.OK, Status.FULL], Status.OK),
        ],
    )
    def test_summary(self, said: list[Status], expected: Status) -> None:
        assert summary(said) is expected


def test_fields_of_a_read() -> None:
    field = key_field(OWNER.public)
    assert field == OWNER.public + EMPTY_FIELD[32:]
    assert len(field) == GEOMETRY.record
    assert parse_key_field(field) == OWNER.public
    for bad in (field[:-1], field[:-1] + b"\1", field[:32] + b"\1" + field[33:]):
        with pytest.raises(RemoteProtocolError):
            parse_key_field(bad)


def test_statuses() -> None:
    assert [Status.parse(number) for number in range(10)] == list(Status)
    assert [status for status in Status if status.acknowledges] == [Status.OK, Status.STORED]
    with pytest.raises(RemoteProtocolError):
        Status.parse(10)
