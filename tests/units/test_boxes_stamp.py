"""Stamps: what is claimed was done, for this record and no other."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.boxes import stamp as stamps
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.record import ZERO_STAMP, Record, RecordType, queue_entry, sign_record
from mixmail.boxes.stamp import (
    Stamp,
    check,
    day_fits,
    is_plausible,
    leading_zero_bits,
    monday,
    solve,
    stamp_day,
)
from mixmail.crypto import argon2
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY, MAIL
from mixmail.testing import SeededRandomness

PARAMS = dataclasses.replace(MAIL, stamp_memory=8192)
NETWORK = b"n" * 32
MONDAY = 19_996
DAY = MONDAY + 2
OWNER = OwnerKey.from_seed(bytes(range(32)), "mm1.test")
TEXT = b"\7" * GEOMETRY.box_ct


def signed(kind: RecordType = RecordType.BOX, day: int = DAY, text: bytes = TEXT) -> Record:
    c = bytes(GEOMETRY.box_ct) if kind is RecordType.TOMBSTONE else text
    return sign_record(OWNER, kind, 7, day, 0, c, SeededRandomness(1))


def any_record(kind: RecordType, day: int = DAY) -> Record:
    return queue_entry(OWNER.public, 7, day, TEXT) if kind is RecordType.QUEUE else signed(kind, day)


def stamped(record: Record, bits: int = 6, day: int | None = None) -> Record:
    found = solve(
        NETWORK, PARAMS, record, bits, stamp_day(record.type, record.day) if day is None else day, 0, 2_000
    )
    assert found is not None
    return found


def restamped(record: Record, **changes: int | bytes) -> Record:
    return record.with_stamp(dataclasses.replace(Stamp.parse(record.stamp), **changes).pack())  # type: ignore[arg-type]


def test_the_layout_byte_by_byte() -> None:
    stamp = Stamp(bytes(range(8)), 1, 11, 0x4E21, bytes(range(16, 32)))
    assert stamp.pack() == bytes(range(8)) + b"\x01\x0b\x4e\x21" + bytes(range(16, 32)) + bytes(4)
    assert Stamp.parse(stamp.pack()) == stamp
    for raw in (bytes(31), bytes(33), bytes(28) + b"\0\0\0\1"):
        with pytest.raises(RemoteProtocolError):
            Stamp.parse(raw)


def test_the_hash_input_byte_by_byte() -> None:
    record = stamped(any_record(RecordType.QUEUE))
    stamp = Stamp.parse(record.stamp)
    data = b"".join(
        [
            b"mm1.stamp",
            NETWORK,
            record.key,
            bytes([3, 7, 1, 6]),
            DAY.to_bytes(2, "little"),
            record.body_hash,
            stamp.nonce,
        ]
    )
    digest = argon2.argon2id(data, b"mm1.stamp" + bytes(7), 8192, 1)
    assert digest[0] >> 2 == 0
    assert (stamp.alg, stamp.bits, stamp.day) == (1, 6, DAY)


@pytest.mark.parametrize("kind", list(RecordType))
def test_a_solved_stamp_is_good_for_what_it_claims(kind: RecordType) -> None:
    record = stamped(any_record(kind))
    assert record.bits == 6
    for needed in (0, 1, 6):
        assert check(NETWORK, PARAMS, record, needed)
    assert not check(NETWORK, PARAMS, record, 7)
    assert dataclasses.replace(record, stamp=ZERO_STAMP) == any_record(kind)


def test_claims_are_checked_even_where_nothing_is_asked() -> None:
    record = stamped(any_record(RecordType.QUEUE), bits=3)
    claims = [restamped(record, bits=bits) for bits in range(4, PARAMS.max_bits + 1)]
    assert sum(check(NETWORK, PARAMS, claim, 0) for claim in claims) <= 3  # each passes with 2^-bits
    assert not check(NETWORK, PARAMS, claims[-1], 0)


def test_a_stamp_is_for_one_network_record_and_nonce() -> None:
    record = stamped(any_record(RecordType.QUEUE), bits=10)
    nonce = int.from_bytes(Stamp.parse(record.stamp).nonce, "big")
    others = [
        dataclasses.replace(record, key=OWNER.blind(OWNER.scalar).public),
        dataclasses.replace(record, klass=30),
        dataclasses.replace(record, c=bytes(GEOMETRY.box_ct)),
        dataclasses.replace(record, type=RecordType.MUTABLE),
        dataclasses.replace(restamped(record, day=DAY + 1), day=DAY + 1),
        restamped(record, nonce=(nonce + 1).to_bytes(8, "big")),
        restamped(record, bits=9),
    ]
    assert check(NETWORK, PARAMS, record, 10)
    assert not check(b"m" * 32, PARAMS, record, 0)
    for other in others:
        assert is_plausible(PARAMS, other, 0)
        assert not check(NETWORK, PARAMS, other, 0)


def test_the_text_of_a_box_is_free_that_of_the_others_is_not() -> None:
    box = stamped(signed(), bits=8)
    rewritten = signed(text=b"\x08" * GEOMETRY.box_ct).with_stamp(box.stamp)
    assert check(NETWORK, PARAMS, rewritten, 8)
    mutable = stamped(signed(RecordType.MUTABLE), bits=8)
    rewritten = signed(RecordType.MUTABLE, text=b"\x08" * GEOMETRY.box_ct).with_stamp(mutable.stamp)
    assert not check(NETWORK, PARAMS, rewritten, 8)


def test_no_bits_need_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("Argon2 ran")

    monkeypatch.setattr(argon2, "argon2id", never)
    record = signed()
    assert solve(NETWORK, PARAMS, record, 0, 0, 0, 1) == record
    assert check(NETWORK, PARAMS, record, 0)
    assert not check(NETWORK, PARAMS, record, 1)
    with pytest.raises(AssertionError):
        check(NETWORK, PARAMS, record.with_stamp(Stamp(bytes(8), 1, 1, MONDAY).pack()), 1)


@pytest.mark.parametrize(
    "stamp",
    [
        Stamp(bytes(8), 0, 0, MONDAY),
        Stamp(b"\1" * 8, 0, 0, 0),
        Stamp(bytes(8), 1, 0, MONDAY),
        Stamp(bytes(8), 0, 1, MONDAY),
        Stamp(bytes(8), 2, 1, MONDAY),
        Stamp(bytes(8), 1, MAIL.max_bits + 1, MONDAY),
        Stamp(bytes(8), 1, 1, MONDAY + 1),
        Stamp(bytes(8), 1, 1, MONDAY, b"t" * 16),
    ],
)
def test_implausible_stamps_are_refused(stamp: Stamp) -> None:
    record = signed().with_stamp(stamp.pack())
    assert not is_plausible(PARAMS, record, 0)
    assert not check(NETWORK, PARAMS, record, 0)


def test_work_can_be_cut_into_chunks() -> None:
    record = signed()
    whole = stamped(record, bits=5)
    nonce = int.from_bytes(Stamp.parse(whole.stamp).nonce, "big")
    assert nonce > 0, "choose another text: the first nonce is too lucky"
    assert solve(NETWORK, PARAMS, record, 5, MONDAY, 0, nonce) is None
    assert solve(NETWORK, PARAMS, record, 5, MONDAY, nonce, 1) == whole
    wrapped = solve(NETWORK, PARAMS, record, 5, MONDAY, 2**64 - 1, nonce + 2)
    assert wrapped is not None and check(NETWORK, PARAMS, wrapped, 5)


def test_a_stamp_for_a_box_can_be_solved_before_its_text() -> None:
    stamp = stamps.solve_for(NETWORK, PARAMS, OWNER.public, RecordType.BOX, 7, b"", 6, MONDAY, 0, 2_000)
    assert stamp is not None
    for day in (MONDAY, DAY, MONDAY + 13):
        assert check(NETWORK, PARAMS, signed(day=day).with_stamp(stamp), 6)
    for day in (MONDAY - 1, MONDAY + 14):
        assert not check(NETWORK, PARAMS, signed(day=day).with_stamp(stamp), 6)


def test_own_mistakes() -> None:
    for bits, day in ((PARAMS.max_bits + 1, MONDAY), (-1, MONDAY), (1, MONDAY + 1), (1, MONDAY - 14)):
        with pytest.raises(LocalProtocolError):
            solve(NETWORK, PARAMS, signed(), bits, day, 0, 1)
    with pytest.raises(LocalProtocolError):
        stamps.solve_for(NETWORK, PARAMS, OWNER.public, RecordType.BOX, 7, b"", 1, 2**16, 0, 1)


@given(st.integers(0, 65_535))
def test_mondays(day: int) -> None:
    found = monday(day)
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=found)
    assert date.weekday() == 0
    assert found <= day < found + 7


@pytest.mark.parametrize("kind", list(RecordType))
def test_which_days_fit(kind: RecordType) -> None:
    fitting = [day for day in range(DAY - 30, DAY + 30) if day_fits(day, kind, DAY)]
    assert fitting == ([MONDAY - 7, MONDAY] if kind is RecordType.BOX else [DAY])
    assert stamp_day(kind, DAY) == fitting[-1]


@pytest.mark.parametrize(
    ("digest", "bits"), [(b"\x80", 0), (b"\x01", 7), (b"\0\xff", 8), (b"\0\x10", 11), (bytes(32), 256)]
)
def test_leading_zero_bits(digest: bytes, bits: int) -> None:
    assert leading_zero_bits(digest) == bits
