"""Queries, answers and what couriers carry: layouts, and who can open what."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import (
    SPREAD,
    Answer,
    CourierReply,
    CourierRequest,
    Query,
    QueryOp,
    QueueRequest,
    hour_of,
    open_answer,
    open_query,
    query_tag,
    seal_answer,
    seal_query,
)
from mixmail.boxes.record import EMPTY_FIELD, key_field
from mixmail.boxes.status import Status
from mixmail.crypto import ed25519, hashing, hpke, kem
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.testing import SeededRandomness

NETWORK, PROXY, REPLY_KEY = b"n" * 32, b"p" * 32, b"r" * 32
EPOCH = 20_000
KEYS = [kem.PrivateKey.from_seed(bytes([number]) * 32) for number in (1, 2)]
OWNER = OwnerKey.from_seed(bytes(range(32)), "mm1.test")
FIELD = bytes(i % 251 for i in range(GEOMETRY.record))
HOUR = 480_000
QUERY = Query(QueryOp.WRITE, SPREAD, REPLY_KEY, FIELD)


def seal(query: Query = QUERY) -> bytes:
    return seal_query(query, KEYS[0].public, NETWORK, PROXY, EPOCH)


class TestQuery:
    def test_the_layout(self) -> None:
        raw = QUERY.pack()
        assert raw == b"\x01\x01\x00\x01" + REPLY_KEY + FIELD
        assert len(raw) == 17_370
        assert Query.parse(raw) == QUERY

    @pytest.mark.parametrize(("place", "value"), [(0, 0), (0, 2), (1, 5), (1, 255), (2, 1), (3, 2)], ids=str)
    def test_unknown_versions_operations_and_flags_are_refused(self, place: int, value: int) -> None:
        raw = bytearray(QUERY.pack())
        raw[place] = value
        with pytest.raises(RemoteProtocolError):
            Query.parse(bytes(raw))

    def test_the_numbers_of_the_operations(self) -> None:
        assert [QueryOp(number).name for number in range(5)] == [
            "READ",
            "WRITE",
            "QUEUE_READ",
            "QUEUE_ADD",
            "QUEUE_DELETE",
        ]

    def test_all_blobs_have_one_size_and_open_at_the_proxy(self) -> None:
        for op in QueryOp:
            query = Query(op, 0, REPLY_KEY, key_field(OWNER.public))
            blob = seal(query)
            assert len(blob) == 18_506
            assert open_query([(EPOCH, KEYS[0])], NETWORK, PROXY, blob) == query

    def test_any_live_key_opens(self) -> None:
        keys = [(EPOCH + 1, KEYS[1]), (EPOCH, KEYS[0])]
        assert open_query(keys, NETWORK, PROXY, seal()) == QUERY

    @pytest.mark.parametrize(
        ("keys", "network", "proxy"),
        [
            ([], NETWORK, PROXY),
            ([(EPOCH, KEYS[1])], NETWORK, PROXY),
            ([(EPOCH + 1, KEYS[0])], NETWORK, PROXY),
            ([(EPOCH, KEYS[0])], b"m" * 32, PROXY),
            ([(EPOCH, KEYS[0])], NETWORK, b"q" * 32),
        ],
        ids=["no key", "another key", "another epoch", "another network", "another proxy"],
    )
    def test_nothing_else_opens(
        self, keys: list[tuple[int, kem.PrivateKey]], network: bytes, proxy: bytes
    ) -> None:
        with pytest.raises(RemoteProtocolError):
            open_query(keys, network, proxy, seal())

    @pytest.mark.parametrize("place", [0, 1_119, 1_120, 9_000, 18_505])
    def test_a_turned_bit_is_noticed(self, place: int) -> None:
        blob = bytearray(seal())
        blob[place] ^= 1
        with pytest.raises(RemoteProtocolError):
            open_query([(EPOCH, KEYS[0])], NETWORK, PROXY, bytes(blob))

    @pytest.mark.parametrize("length", [0, 100, 18_505, 18_507])
    def test_another_length_is_refused(self, length: int) -> None:
        with pytest.raises(RemoteProtocolError):
            open_query([(EPOCH, KEYS[0])], NETWORK, PROXY, bytes(length))

    def test_the_info_is_as_written_down(self) -> None:
        info = b"mm1-query" + NETWORK + PROXY + EPOCH.to_bytes(4, "little")
        assert hpke.open_(KEYS[0], info, seal()) == QUERY.pack()

    def test_what_was_sealed_but_is_no_query_is_refused(self) -> None:
        info = b"mm1-query" + NETWORK + PROXY + EPOCH.to_bytes(4, "little")
        blob = hpke.seal(KEYS[0].public, info, b"\xff" * GEOMETRY.query)
        with pytest.raises(RemoteProtocolError, match="version"):
            open_query([(EPOCH, KEYS[0])], NETWORK, PROXY, blob)

    def test_each_sealing_has_its_own_tag(self) -> None:
        one, two = seal(), seal()
        assert query_tag(one) == query_tag(bytes(one)) != query_tag(two)
        assert len(query_tag(one)) == 32


class TestCourier:
    REQUEST = CourierRequest(PROXY, b"s" * GEOMETRY.surb, b"b" * GEOMETRY.blob)
    REPLY = CourierReply(Status.TRY_LATER, b"a" * GEOMETRY.reply_ct)

    def test_the_layout_of_a_request(self) -> None:
        raw = self.REQUEST.pack()
        assert raw == b"\x01\0\0\0" + PROXY + bytes(16) + b"s" * 7_121 + b"b" * 18_506
        assert len(raw) == 25_679 == GEOMETRY.payload
        assert CourierRequest.parse(raw) == self.REQUEST

    def test_the_layout_of_a_reply(self) -> None:
        raw = self.REPLY.pack()
        assert raw == b"\x01\x09" + bytes(18) + b"a" * 17_356 + bytes(8_303)
        assert len(raw) == GEOMETRY.payload
        assert CourierReply.parse(raw) == self.REPLY

    @pytest.mark.parametrize("place", [0, 1, 3, 36, 51])
    def test_a_request_with_reserved_bytes_in_use_is_refused(self, place: int) -> None:
        raw = bytearray(self.REQUEST.pack())
        raw[place] ^= 0x80
        with pytest.raises(RemoteProtocolError):
            CourierRequest.parse(bytes(raw))

    @pytest.mark.parametrize("place", [0, 1, 2, 19, 17_376, 25_678])
    def test_a_reply_with_reserved_bytes_in_use_is_refused(self, place: int) -> None:
        raw = bytearray(self.REPLY.pack())
        raw[place] ^= 0x80
        with pytest.raises(RemoteProtocolError):
            CourierReply.parse(bytes(raw))

    def test_parts_of_a_wrong_size_are_our_own_mistake(self) -> None:
        for broken in (
            dataclasses.replace(self.REQUEST, surb=b""),
            dataclasses.replace(self.REQUEST, blob=b""),
            dataclasses.replace(self.REPLY, sealed=b""),
            Answer(Status.OK, 0, 0, b""),
        ):
            with pytest.raises(LocalProtocolError):
                broken.pack()


class TestAnswer:
    ANSWER = Answer(Status.STORED, 5, 0x80000001, FIELD)

    def test_the_layout(self) -> None:
        raw = self.ANSWER.pack()
        assert raw == b"\x01\x05\x80\0\0\x01" + FIELD
        assert Answer.parse(raw) == self.ANSWER
        with pytest.raises(RemoteProtocolError):
            Answer.parse(b"\xff" + raw[1:])

    def test_sealed_under_the_reply_key(self) -> None:
        sealed = seal_answer(REPLY_KEY, self.ANSWER)
        assert len(sealed) == 17_356
        assert open_answer(REPLY_KEY, sealed) == self.ANSWER
        with pytest.raises(RemoteProtocolError):
            open_answer(b"R" * 32, sealed)
        for place in (0, 17_355):
            changed = bytearray(sealed)
            changed[place] ^= 1
            with pytest.raises(RemoteProtocolError):
                open_answer(REPLY_KEY, bytes(changed))
        for other in (b"", sealed[:-1], sealed + b"\0"):
            with pytest.raises(RemoteProtocolError):
                open_answer(REPLY_KEY, other)


class TestQueueRequest:
    def request(self, op: QueryOp = QueryOp.QUEUE_READ, owner: OwnerKey = OWNER) -> QueueRequest:
        return QueueRequest.create(owner, op, b"a" * 32, HOUR, REPLY_KEY, SeededRandomness(1))

    def test_the_layout(self) -> None:
        request = self.request()
        reply_hash = hashing.blake2b(REPLY_KEY)
        head = OWNER.public + request.signature + b"a" * 32 + reply_hash + struct.pack(">I", HOUR)
        field = request.to_field()
        assert field == head + EMPTY_FIELD[len(head) :]
        assert len(field) == GEOMETRY.record
        assert QueueRequest.from_field(field) == request

    def test_the_signed_message(self) -> None:
        request = self.request(QueryOp.QUEUE_DELETE)
        message = b"mm1-queue\x04" + OWNER.public + b"a" * 32 + hashing.blake2b(REPLY_KEY)
        message += HOUR.to_bytes(4, "little")
        assert ed25519.verify(OWNER.public, message, request.signature)

    def test_good_for_its_operation_and_about_its_hour(self) -> None:
        for op in (QueryOp.QUEUE_READ, QueryOp.QUEUE_DELETE):
            request = self.request(op)
            good = [hour for hour in range(HOUR - 4, HOUR + 5) if request.verify(op, hour)]
            assert good == [HOUR - 1, HOUR, HOUR + 1]
        assert not self.request(QueryOp.QUEUE_READ).verify(QueryOp.QUEUE_DELETE, HOUR)

    def test_every_field_is_signed(self) -> None:
        request = self.request()
        other = OwnerKey.from_seed(bytes(32), "mm1.test").public
        for change in (
            {"key": other},
            {"after": b"b" * 32},
            {"hour": HOUR + 1},
            {"reply_hash": bytes(32)},
            {"signature": bytes(64)},
        ):
            assert not dataclasses.replace(request, **change).verify(QueryOp.QUEUE_READ, HOUR), change

    def test_nobody_owns_the_identity_point(self) -> None:
        point = b"\x01" + bytes(31)
        forged = QueueRequest(point, bytes(32), HOUR, point + bytes(32), bytes(32))
        assert not forged.verify(QueryOp.QUEUE_READ, HOUR)

    def test_the_proxy_sees_whose_query_it_belongs_to(self) -> None:
        assert self.request().answers_to(REPLY_KEY)
        assert not self.request().answers_to(b"R" * 32)

    @pytest.mark.parametrize("place", [164, 17_333])
    def test_the_rest_must_be_zero(self, place: int) -> None:
        raw = bytearray(self.request().to_field())
        raw[place] = 1
        with pytest.raises(RemoteProtocolError):
            QueueRequest.from_field(bytes(raw))

    def test_own_mistakes(self) -> None:
        for op in (QueryOp.READ, QueryOp.WRITE, QueryOp.QUEUE_ADD):
            with pytest.raises(LocalProtocolError):
                self.request(op)
        with pytest.raises(LocalProtocolError):
            QueueRequest.create(OWNER, QueryOp.QUEUE_READ, b"short", HOUR, REPLY_KEY, SeededRandomness(1))

    def test_hours(self) -> None:
        assert hour_of(HOUR * 3_600.0) == HOUR
        assert hour_of(HOUR * 3_600.0 + 3_599.9) == HOUR


PARSERS: list[tuple[Callable[[bytes], object], int]] = [
    (Query.parse, GEOMETRY.query),
    (CourierRequest.parse, GEOMETRY.payload),
    (CourierReply.parse, GEOMETRY.payload),
    (Answer.parse, GEOMETRY.reply_ct - GEOMETRY.aead_tag),
    (QueueRequest.from_field, GEOMETRY.record),
]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PARSERS), st.binary(max_size=220), st.sampled_from([0, 0, 0, -1, 1]))
def test_any_bytes_parse_or_are_a_remote_error(
    parser: tuple[Callable[[bytes], object], int], head: bytes, off: int
) -> None:
    parse, length = parser
    try:
        parsed = parse(head.ljust(length + off, b"\0"))
    except RemoteProtocolError:
        return
    assert off == 0 and parsed is not None
