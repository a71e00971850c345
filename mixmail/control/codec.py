"""JSON-RPC 2.0, one object a line, without any input or output.

Rules: a request has an id (int or string); there are no batches and clients send no notifications.
An error's `code` is JSON-RPC's number, its `data.code` the word of `UserError`.  Events are the
notifications {"method": "event", "params": {"n": int, "kind": str, "data": {}}}.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mixmail.control import types
from mixmail.errors import RemoteProtocolError, UserError

MAX_LENGTH = 16 * 2**20
"""The longest line in bytes: a mail of the largest size as base64, several times over."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
INTERNAL = -32603
REFUSED = -32000

RequestId = int | str


class LineTooLong(RemoteProtocolError):
    """The other side sent a line of more than MAX_LENGTH bytes."""


class BadRequest(RemoteProtocolError):
    """A line that is no request we can carry out; `id` is None where it could not be read."""

    def __init__(self, number: int, code: str, message: str, id: RequestId | None = None) -> None:
        super().__init__(message)
        self.number = number
        self.code = code
        self.message = message
        self.id = id


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: RequestId
    method: str
    jsonrpc: Literal["2.0"]
    params: msgspec.Raw = msgspec.Raw(b"{}")


class ErrorData(msgspec.Struct, frozen=True):
    code: str = "internal"


class Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: ErrorData = ErrorData()


class _EventParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    n: int
    kind: str
    data: msgspec.Raw


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a server may send: an answer or an event."""

    jsonrpc: Literal["2.0"]
    id: RequestId | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Error | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: _EventParams | msgspec.UnsetType = msgspec.UNSET


class Answer(msgspec.Struct, frozen=True):
    """The answer to request `id`: either `error`, or the raw JSON of the result."""

    id: RequestId | None
    result: bytes
    error: Error | None


class Lines:
    """Cuts a stream of bytes into lines without copying what it has already searched."""

    def __init__(self, limit: int = MAX_LENGTH) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their newline; raises LineTooLong."""
        searched = len(self._rest)
        self._rest += data
        lines = []
        start = 0
        while (end := self._rest.find(b"\n", max(start, searched))) >= 0:
            if end - start > self._limit:
                raise LineTooLong(f"a line has more than {self._limit} bytes")
            lines.append(bytes(self._rest[start:end]))
            start = end + 1
        if start:
            del self._rest[:start]
        if len(self._rest) > self._limit:
            raise LineTooLong(f"a line has more than {self._limit} bytes")
        return lines


_encoder = msgspec.json.Encoder()
_request_decoder = msgspec.json.Decoder(Request)
_message_decoder = msgspec.json.Decoder(_Message)
_params_decoders = {name: msgspec.json.Decoder(method.params) for name, method in types.METHODS.items()}
_result_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(method.result) for name, method in types.METHODS.items()
}
_event_decoders = {kind: msgspec.json.Decoder(shape) for kind, shape in types.EVENTS.items()}

# msgspec raises the first two for bad JSON or a wrong shape, the third for deep nesting
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode_request(id: RequestId, method: str, params: types.Shape) -> bytes:
    """One line with its newline."""
    return _line({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def encode_result(id: RequestId, result: object) -> bytes:
    return _line({"jsonrpc": "2.0", "id": id, "result": result})


def encode_error(id: RequestId | None, number: int, code: str, message: str) -> bytes:
    error = {"code": number, "message": message, "data": {"code": code}}
    return _line({"jsonrpc": "2.0", "id": id, "error": error})


def encode_event(n: int, kind: str, data: types.Shape) -> bytes:
    return _line({"jsonrpc": "2.0", "method": "event", "params": {"n": n, "kind": kind, "data": data}})


def decode_request(line: bytes) -> tuple[RequestId, str, types.Shape]:
    """(id, method, parameters in the method's shape); raises BadRequest, nothing else."""
    try:
        request = _request_decoder.decode(line)
    except msgspec.ValidationError as error:
        raise BadRequest(INVALID_REQUEST, "bad-request", f"No valid request: {error}.") from error
    except _MALFORMED as error:
        raise BadRequest(PARSE_ERROR, "bad-request", "A request has to be one JSON object a line.") from error
    decoder = _params_decoders.get(request.method)
    if decoder is None:
        message = f"There is no method {request.method!r}."
        raise BadRequest(UNKNOWN_METHOD, "unknown-method", message, request.id)
    try:
        return request.id, request.method, decoder.decode(request.params)
    except _MALFORMED as error:
        message = f"Wrong parameters for {request.method}: {error}."
        raise BadRequest(INVALID_PARAMS, "bad-params", message, request.id) from error


def decode_message(line: bytes) -> Answer | types.Event | None:
    """What a server sent.  None: an event of a kind this version does not know.

    Raises RemoteProtocolError.
    """
    try:
        message = _message_decoder.decode(line)
        if isinstance(message.params, _EventParams):
            params = message.params
            shape = _event_decoders.get(params.kind)
            if shape is None:
                return None
            return types.Event(params.n, params.kind, shape.decode(params.data))
    except _MALFORMED as error:
        raise RemoteProtocolError(f"the daemon sent a line that is no JSON-RPC: {error}") from error
    if isinstance(message.error, Error):
        return Answer(message.id, b"", message.error)
    if isinstance(message.result, msgspec.Raw) and message.id is not None:
        return Answer(message.id, bytes(message.result), None)
    raise RemoteProtocolError("the daemon sent a line that is neither an answer nor an event")


def decode_result(method: str, raw: bytes) -> Any:
    """The result in the method's shape; raises RemoteProtocolError."""
    try:
        return _result_decoders[method].decode(raw)
    except _MALFORMED as error:
        raise RemoteProtocolError(f"the daemon answered {method} in a wrong shape: {error}") from error


def error_of(exception: UserError) -> tuple[int, str, str]:
    """(number, code, message) by which a UserError travels."""
    return REFUSED, exception.code, exception.message


def _line(message: object) -> bytes:
    # JSON escapes the newlines inside of strings, so the only one is the one that ends the line
    return _encoder.encode(message) + b"\n"
