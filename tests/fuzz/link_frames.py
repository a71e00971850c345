"""Frames on a link, HELLO, and what two nodes ask each other (docs/protocol/links.md, store.md)."""

from __future__ import annotations

from harness import Harness, change, choose, seeds

from mixmail.boxes.query import QueryOp
from mixmail.boxes.status import Status
from mixmail.directory.peer_clocks import PeerClocks, pack_hello, parse_hello
from mixmail.effects import Frame
from mixmail.encoding import require_length, require_zero
from mixmail.errors import RemoteProtocolError
from mixmail.link.frames import FrameReader, cut
from mixmail.node.wire import HomeQuery, HomeReply, pack_items, parse_items
from mixmail.params import GEOMETRY, MAIL

_NOW = 1_800_000_000.0
_MESSAGES = (
    Frame(1, 7, b"x" * GEOMETRY.packet),
    Frame(6, 1, b"ab"),
    Frame(8, 3, b"y" * (GEOMETRY.packet + 1)),
    Frame(8, 3, bytes(3 * GEOMETRY.packet + 1)),
)
_WIRES = [b"".join(cut(message)) for message in _MESSAGES]
_WIRES.append(b"".join(_WIRES))


def _read(pieces: list[bytes]) -> list[Frame] | None:
    reader = FrameReader(limit=3)
    out: list[Frame] = []
    try:
        for piece in pieces:
            out += reader.feed(piece)
    except RemoteProtocolError:
        assert reader.held == 0, "a broken link holds nothing"
        return None
    assert reader.held <= 2 * sum(map(len, pieces)), "the bytes as they came, and copies of parts"
    return out


def frames(data: bytes) -> bool:
    """The same bytes at once and in pieces give the same messages, which are cut to the same bytes again."""
    _, wire = choose(_WIRES, data)
    at = len(wire) // 3 + (data[0] if data else 0) * 129
    once, pieces = _read([wire]), _read([wire[:at], wire[at : at + 1], wire[at + 1 :]])
    assert (once is None) == (pieces is None)
    if once is None:
        return False
    assert once == pieces
    assert wire.startswith(b"".join(w for frame in once for w in cut(frame)))
    return True


_HELLO = [pack_hello(bytes(GEOMETRY.descriptor), _NOW)]


def hello(data: bytes) -> bool:
    raw = choose(_HELLO, data)[1]
    clocks = PeerClocks(MAIL)
    try:
        packed, theirs = parse_hello(raw)
        clocks.check(theirs, _NOW)
    except RemoteProtocolError as error:
        assert "about" in str(error) or "bytes" in str(error)
        return False
    clocks.note(packed[:32], theirs, _NOW)
    assert not clocks.warning()
    return True


_HOME = [HomeQuery(op, bytes(GEOMETRY.record)).pack() for op in QueryOp]
_HOME += [HomeReply(status, 1, bytes(GEOMETRY.record)).pack() for status in Status]


def home(data: bytes) -> bool:
    number, raw = choose(_HOME, data)
    shape = HomeQuery if number < len(QueryOp) else HomeReply
    try:
        parsed = shape.parse(raw)
    except RemoteProtocolError:
        return False
    assert parsed.pack() == raw
    return True


_ITEMS = [pack_items([(bytes([n]) * 32, bytes([n]) * 8) for n in range(count)]) for count in (1, 2, 200)]


def items(data: bytes) -> bool:
    _, raw = choose(_ITEMS, data)
    try:
        parsed = parse_items("offer", raw)
    except RemoteProtocolError:
        return False
    assert pack_items(parsed) == raw
    return True


_FRAME = GEOMETRY.frame
HARNESSES = [
    Harness(
        "frames",
        frames,
        seeds(
            _WIRES,
            change(0, 0),
            change(1, 1),
            change(1, 2),
            change(2, 0xFF),
            change(3, 1),
            change(40, 1, 2),
            change(_FRAME + 4, 1),  # the second frame belongs to another stream
            change(_FRAME + 3, 0) + change(_FRAME + 32, 0),  # and is empty
            change(_FRAME + 1, 1) + change(_FRAME + 2, 0x80) + change(_FRAME + 3, 0),
        ),
        [
            cut,
            FrameReader.feed,
            FrameReader.push,
            FrameReader.take,
            FrameReader.clear,
            FrameReader._take,
            FrameReader._gather,
            FrameReader._cut_off,
        ],
    ),
    Harness(
        "hello", hello, seeds(_HELLO, change(7_704, 1), change(7_708, 1, 1)), [parse_hello, PeerClocks.check]
    ),
    Harness(
        "home",
        home,
        seeds(_HOME, change(0, 99), change(1, 2), change(1, 0), change(2, 1)),
        [HomeQuery.parse, HomeReply.parse, Status.parse, require_length, require_zero],
    ),
    Harness(
        "items",
        items,
        seeds(_ITEMS, change(0, 9), change(1, 0), change(2, 1), change(7, 3)),
        [parse_items, require_length, require_zero],
    ),
]
