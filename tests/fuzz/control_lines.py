"""Lines between the daemon and its clients (mixmail/control/codec.py)."""

from __future__ import annotations

from harness import Harness

from mixmail.control import codec, types
from mixmail.errors import RemoteProtocolError

_RESULTS = [
    b'{"id": "00"}',
    b'{"mails": [], "total": 0}',
    b"[]",
    b"{}",
    b"null",
    b'{"version": "1"}',
]
_METHODS = sorted(types.METHODS)


def request(data: bytes) -> bool:
    """What a client sends: several lines at once, in pieces."""
    lines = codec.Lines(limit=4_096)
    try:
        found = lines.feed(data[:5]) + lines.feed(data[5:])
    except codec.LineTooLong:
        return False
    accepted = False
    for line in found or [data]:
        try:
            ident, method, params = codec.decode_request(line)
        except codec.BadRequest as error:
            assert str(error)
            continue
        again = codec.encode_request(ident, method, params)
        assert codec.decode_request(again.rstrip(b"\n")) == (ident, method, params)
        accepted = True
    return accepted


def answer(data: bytes) -> bool:
    """What a daemon sends; the first byte says to which method."""
    method = _METHODS[data[0] % len(_METHODS)] if data else _METHODS[0]
    accepted = False
    try:
        told = codec.decode_message(data[1:])
        accepted = True
        raw = told.result if isinstance(told, codec.Answer) and told.result else data[1:]
        codec.decode_result(method, raw)
    except RemoteProtocolError:
        return accepted
    return True


_LINES = [
    b'{"jsonrpc":"2.0","id":%d,"method":"%s","params":{}}\n' % (n, name.encode())
    for n, name in enumerate(_METHODS)
]
HARNESSES = [
    Harness(
        "request",
        request,
        [
            *_LINES,
            b"".join(_LINES[:3]),
            b'{"jsonrpc":"2.0","id":"a","method":"no.such"}\n',
            b'{"jsonrpc":"2.0","id":1,"method":"mail.list","params":{"folder":"inbox","limit":3,"search":"x"}}\n',
            b'{"jsonrpc":"1.0"}\n',
            b"\xff\n",
            b"[" * 2_000,
            b"x" * 5_000,
            b"y" * 5_000 + b"\n",
        ],
        [codec.decode_request, codec.encode_request, codec.Lines.feed],
        raw=True,
    ),
    Harness(
        "answer_line",
        answer,
        [
            *(
                bytes([n]) + b'{"jsonrpc":"2.0","id":1,"result":%s}' % one
                for n in range(len(_METHODS))
                for one in _RESULTS
            ),
            b'\0{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"a","data":{"code":"b"}}}',
            b'\0{"jsonrpc":"2.0","method":"event","params":{"n":1,"kind":"mail.new","data":{}}}',
            b'\0{"jsonrpc":"2.0","method":"event","params":{"n":1,"kind":"no","data":{}}}',
            b'\0{"jsonrpc":"2.0"}',
            b"\0{",
        ],
        [codec.decode_message, codec.decode_result],
        raw=True,
    ),
]
