"""The lines of the local API: what is accepted, what is refused, and that nothing else is raised."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.control import codec, types
from mixmail.control.backend import Backend
from mixmail.control.client import Client
from mixmail.errors import RemoteProtocolError

STATUS = types.Status(
    peers=3,
    known_nodes=12,
    small_network=12,
    slot_s=0.25,
    next_slot_s=0.1,
    waiting=0,
    pool=2,
    packets_relayed=4,
    packets_sent=5,
    packets_received=6,
    queries_sent=7,
    queries_answered=7,
    queries_lost=0,
    uptime_s=9.5,
    preset="demo",
    anonymous=False,
    warnings=[],
    stored_records=1,
)


def line(**fields: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, **fields}).encode()


def test_a_request_comes_back_as_it_was() -> None:
    attachment = types.Attachment(name="a.bin", type="application/octet-stream", data=bytes(range(256)))
    params = types.MailSendParams(to="echo", subject="a\nb", text="ä", attachments=[attachment])
    raw = codec.encode_request(7, "mail.send", params)
    assert raw.count(b"\n") == 1 and raw.endswith(b"\n")
    assert codec.decode_request(raw) == (7, "mail.send", params)


def test_params_may_be_left_out_where_none_are_needed() -> None:
    assert codec.decode_request(line(method="status")) == (1, "status", types.Empty())


@pytest.mark.parametrize(
    ("raw", "number", "code", "id"),
    [
        (b"", codec.PARSE_ERROR, "bad-request", None),
        (b"{", codec.PARSE_ERROR, "bad-request", None),
        (b'"\xff\xfe"', codec.INVALID_REQUEST, "bad-request", None),
        (b"[" * 100_000, codec.INVALID_REQUEST, "bad-request", None),
        (b"[]", codec.INVALID_REQUEST, "bad-request", None),
        (b'{"jsonrpc":"2.0","method":"status"}', codec.INVALID_REQUEST, "bad-request", None),
        (line(method="status", jsonrpc="1.0"), codec.INVALID_REQUEST, "bad-request", None),
        (line(method="status", extra=1), codec.INVALID_REQUEST, "bad-request", None),
        (line(method="nothing"), codec.UNKNOWN_METHOD, "unknown-method", 1),
        (line(method="status", params={"x": 1}), codec.INVALID_PARAMS, "bad-params", 1),
        (line(method="status", params=[]), codec.INVALID_PARAMS, "bad-params", 1),
        (line(method="mail.read", params={"id": 5}), codec.INVALID_PARAMS, "bad-params", 1),
        (line(method="mail.list", params={"folder": "trash"}), codec.INVALID_PARAMS, "bad-params", 1),
        (
            line(
                method="mail.read",
                params=json.loads('{"id":' + '{"a":' * 400 + "1" + "}" * 400 + "}"),
            ),
            codec.INVALID_PARAMS,
            "bad-params",
            1,
        ),
    ],
)
def test_bad_requests(raw: bytes, number: int, code: str, id: int | None) -> None:
    with pytest.raises(codec.BadRequest) as caught:
        codec.decode_request(raw)
    assert (caught.value.number, caught.value.code, caught.value.id) == (number, code, id)


@given(
    st.one_of(
        st.binary(), st.text().map(str.encode), st.dictionaries(st.text(), st.text()).map(msgspec.json.encode)
    )
)
def test_a_request_parses_or_is_a_bad_request(raw: bytes) -> None:
    try:
        codec.decode_request(raw)
    except codec.BadRequest:
        return
    pytest.fail("random bytes made a request")  # no strategy above makes a whole one


@given(
    st.one_of(
        st.binary(),
        st.fixed_dictionaries(
            {"jsonrpc": st.just("2.0")},
            optional={
                "id": st.one_of(st.none(), st.integers(), st.text()),
                "result": st.one_of(st.none(), st.text()),
                "error": st.one_of(
                    st.none(), st.fixed_dictionaries({"code": st.integers(), "message": st.text()})
                ),
                "method": st.just("event"),
                "params": st.fixed_dictionaries(
                    {
                        "n": st.integers(),
                        "kind": st.sampled_from(["status", "x", "mail.new"]),
                        "data": st.none(),
                    }
                ),
            },
        ).map(msgspec.json.encode),
    )
)
def test_a_message_parses_or_is_a_protocol_error(raw: bytes) -> None:
    try:
        message = codec.decode_message(raw)
    except RemoteProtocolError:
        return
    assert message is None or isinstance(message, codec.Answer | types.Event)


def test_answers_errors_and_events_come_back() -> None:
    answer = codec.decode_message(codec.encode_result(3, STATUS))
    assert isinstance(answer, codec.Answer) and answer.id == 3
    assert codec.decode_result("status", answer.result) == STATUS

    refused = codec.decode_message(codec.encode_error(4, codec.REFUSED, "no-contact", "Nobody."))
    assert isinstance(refused, codec.Answer) and refused.error is not None
    assert (refused.error.message, refused.error.data.code) == ("Nobody.", "no-contact")

    assert codec.decode_message(codec.encode_event(9, "status", STATUS)) == types.Event(9, "status", STATUS)


def test_an_event_of_a_newer_kind_is_passed_over() -> None:
    assert codec.decode_message(codec.encode_event(1, "moon.full", types.Empty())) is None


def test_a_result_in_a_wrong_shape_is_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode_result("status", b'{"peers": "many"}')


@given(st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_are_found_wherever_the_stream_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(one + b"\n" for one in lines)
    found = []
    cutter = codec.Lines(limit=20)
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += cutter.feed(stream[:size])
        stream = stream[size:]
    assert found == lines


@pytest.mark.parametrize("raw", [b"x" * 21, b"x" * 21 + b"\n", b"ok\n" + b"x" * 21])
def test_a_line_over_the_limit_is_refused(raw: bytes) -> None:
    assert codec.Lines(limit=20).feed(b"x" * 20 + b"\n") == [b"x" * 20]
    with pytest.raises(codec.LineTooLong):
        codec.Lines(limit=20).feed(raw)


def test_every_method_is_in_the_backend_and_in_the_client() -> None:
    names = {method.python_name for method in types.METHODS.values()}
    assert names == {name for name in vars(Backend) if not name.startswith("_")}
    assert names - {"hello"} <= set(vars(Client))
