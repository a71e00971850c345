"""Cutting mails to boxes and joining them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.crypto import hashing
from mixmail.errors import LocalProtocolError, RemoteProtocolError, UserError
from mixmail.mail.parts import (
    ANSWER_ROOM,
    BOX_ROOM,
    CAPS_BYTES,
    FIRST_ROOM,
    HEADER_BYTES,
    Part,
    PartKind,
    join,
    parts_limit,
    split,
)
from mixmail.params import MAIL

ID = bytes(range(16))
KEY = bytes([5]) * 32
ROOMS = [BOX_ROOM, FIRST_ROOM, ANSWER_ROOM]
EACH = BOX_ROOM - HEADER_BYTES


def joined(parts: list[Part]) -> bytes | None:
    read = [Part.parse(part.pack(), KEY) for part in parts]
    return join({part.part: part.payload for part in read}, read[0].parts)


def test_the_rooms() -> None:
    assert (BOX_ROOM, FIRST_ROOM, ANSWER_ROOM, HEADER_BYTES, CAPS_BYTES) == (
        17_182,
        14_630,
        15_894,
        40,
        1_288,
    )


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("extra", [-1, 0, 1, EACH - 1, EACH, EACH + 1, 5 * EACH])
def test_a_mail_comes_back_whole_at_every_edge(room: int, extra: int) -> None:
    mail = bytes(i % 251 for i in range(room - HEADER_BYTES + extra))
    parts = split(mail, ID, KEY, room)
    assert [len(part.pack()) for part in parts] == [room] + [BOX_ROOM] * (len(parts) - 1)
    assert len(parts) == (1 if extra <= 0 else 1 + -(-extra // EACH))
    assert joined(parts) == mail
    assert all(part.message_id == ID for part in parts)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=2_000), st.integers(0, 60_000), st.sampled_from(ROOMS), st.randoms())
def test_any_mail_in_any_order(tail: bytes, zeros: int, room: int, order: object) -> None:
    mail = bytes(zeros) + tail
    parts = split(mail, ID, KEY, room)
    order.shuffle(parts)  # type: ignore[attr-defined]
    assert joined(parts) == mail


def test_an_empty_mail_is_one_part() -> None:
    parts = split(b"", ID, KEY)
    assert len(parts) == 1 and joined(parts) == b""


def test_a_mail_waits_for_every_part() -> None:
    parts = split(bytes(50_000), ID, KEY)
    payloads = {part.part: part.payload for part in parts}
    for number in payloads:
        assert join({k: v for k, v in payloads.items() if k != number}, len(parts)) is None
    assert join({}, 1) is None


def test_join_refuses_what_cannot_be() -> None:
    with pytest.raises(RemoteProtocolError):
        join({2: b""}, 2)
    with pytest.raises(RemoteProtocolError):
        join({-1: b""}, 2)
    with pytest.raises(RemoteProtocolError):
        join({0: bytes(11)}, 2, limit=10)


def test_the_limit_of_a_mail() -> None:
    assert len(split(bytes(MAIL.mail_limit), ID, KEY, FIRST_ROOM)) <= parts_limit(MAIL.mail_limit)
    with pytest.raises(UserError) as caught:
        split(bytes(MAIL.mail_limit + 1), ID, KEY)
    assert caught.value.code == "too-large" and "1,000,001" in caught.value.message
    with pytest.raises(UserError):
        split(bytes(11), ID, KEY, limit=10)


def test_the_vector_of_the_document() -> None:
    text = Part(ID, 0, 1, b"hello", mac_key=KEY).pack()
    head = bytes.fromhex("0101 0000 0001 0005") + ID
    rest = b"hello" + bytes(17_182 - 45)
    mac = hashing.blake2b(head + rest, 16, key=KEY, person=b"mm1.part")
    assert text == head + mac + rest


def test_a_first_message_has_no_mac_and_a_box_must_have_one() -> None:
    text = split(b"hi", ID, None, FIRST_ROOM)[0].pack()
    assert text[24:40] == bytes(16) and Part.parse(text, None).payload == b"hi"
    with pytest.raises(RemoteProtocolError, match="MAC"):
        Part.parse(text, KEY)
    keyed = split(b"hi", ID, None)[0].keyed(KEY).pack()
    assert Part.parse(keyed, KEY).payload == b"hi"
    with pytest.raises(RemoteProtocolError, match="MAC"):
        Part.parse(keyed, None)


@pytest.mark.parametrize("position", [0, 1, 3, 5, 7, 8, 23, 24, 39, 40, 42, 43, 17_181])
def test_any_changed_byte_fails_the_mac(position: int) -> None:
    raw = bytearray(Part(ID, 0, 1, b"hey", mac_key=KEY).pack())
    raw[position] ^= 1
    with pytest.raises(RemoteProtocolError, match="MAC"):
        Part.parse(bytes(raw), KEY)


def maced(raw: bytes) -> bytes:
    return raw[:24] + hashing.blake2b(raw[:24] + raw[40:], 16, key=KEY, person=b"mm1.part") + raw[40:]


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, b"\x02", "version"),
        (1, b"\x00", "kind"),
        (1, b"\x03", "kind"),
        (2, b"\x00\x01", "cannot be"),
        (4, b"\x00\x00", "cannot be"),
        (4, b"\xff\xff", "cannot be"),
        (6, b"\xff\xff", "longer"),
        (6, b"\x00\x02", "zero"),
        (17_181, b"\x01", "zero"),
    ],
)
def test_a_part_with_a_good_mac_that_breaks_a_rule(position: int, value: bytes, message: str) -> None:
    """A contact may hold the key and still send nonsense."""
    raw = Part(ID, 0, 1, b"hey", mac_key=KEY).pack()
    with pytest.raises(RemoteProtocolError, match=message):
        Part.parse(maced(raw[:position] + value + raw[position + len(value) :]), KEY)


@given(st.binary(max_size=1_400), st.sampled_from([None, KEY]))
def test_any_bytes_are_a_part_or_refused(raw: bytes, key: bytes | None) -> None:
    for text in (raw, maced(raw) if len(raw) >= 40 else raw, raw[:24] + bytes(16) + raw[40:]):
        try:
            part = Part.parse(text, key)
        except RemoteProtocolError:
            continue
        assert part.pack() == text


@given(
    st.sampled_from([1, 2]),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 1_400),
    st.integers(0, 1_400),
)
def test_numbers_in_range_are_a_part_or_refused(
    kind: int, part: int, parts: int, length: int, size: int
) -> None:
    numbers = (value.to_bytes(2, "big") for value in (part, parts, length))
    text = maced(bytes([1, kind]) + b"".join(numbers) + ID + bytes(16) + bytes(size))
    good = part < parts and length <= size - (CAPS_BYTES if kind == 2 else 0)
    try:
        assert Part.parse(text, KEY).pack() == text and good
    except RemoteProtocolError:
        assert not good


def test_capabilities_go_with_answers_only() -> None:
    part = Part(ID, 0, 1, b"", mac_key=KEY)
    for wrong in (
        dataclasses.replace(part, caps=bytes(CAPS_BYTES)),
        dataclasses.replace(part, kind=PartKind.ANSWER),
    ):
        with pytest.raises(LocalProtocolError):
            wrong.pack()
