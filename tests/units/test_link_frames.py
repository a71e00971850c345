"""Frames of a link: what is cut comes back, everything else is refused, and memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.effects import Frame
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.link.frames import FrameReader, cut
from mixmail.params import GEOMETRY

SIZE, PART = GEOMETRY.frame, GEOMETRY.packet


def wire(
    kind: int = 1,
    flags: int = 0,
    length: int = 0,
    stream: int = 0,
    reserved: bytes = bytes(24),
    payload: bytes = b"",
) -> bytes:
    """A frame written from the layout alone."""
    head = bytes([kind, flags]) + length.to_bytes(2, "big") + stream.to_bytes(4, "big") + reserved
    return head + payload + bytes(PART - len(payload))


def test_the_layout() -> None:
    assert cut(Frame(7, 0x01020304, b"abc")) == [wire(7, 0, 3, 0x01020304, payload=b"abc")]
    assert len(cut(Frame(1, 0, bytes(PART)))[0]) == SIZE == 32_800
    first, second = cut(Frame(8, 5, b"x" * (PART + 1)))
    assert first == wire(8, 1, PART, 5, payload=b"x" * PART)
    assert second == wire(8, 0, 1, 5, payload=b"x")


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART - 7, GEOMETRY.message])
def test_what_is_cut_comes_back(size: int) -> None:
    frame = Frame(9, 77, bytes(range(256)) * (size // 256) + b"z" * (size % 256))
    wires = cut(frame)
    assert len(wires) == max(1, -(-size // PART))
    assert {len(one) for one in wires} == {SIZE}
    reader = FrameReader()
    assert reader.feed(b"".join(wires)) == [frame]
    assert not reader.unfinished


def test_own_mistakes_are_ours() -> None:
    for frame in (
        Frame(0, 0, b""),
        Frame(256, 0, b""),
        Frame(1, -1, b""),
        Frame(1, 2**32, b""),
        Frame(1, 0, bytes(GEOMETRY.message + 1)),
    ):
        with pytest.raises(LocalProtocolError):
            cut(frame)


BROKEN = {
    "kind 0": wire(0),
    "unknown flag": wire(1, 2),
    "reserved byte": wire(1, reserved=bytes(23) + b"\1"),
    "length too big": wire(1, 0, PART + 1),
    "more, but not full": wire(1, 1, PART - 1),
    "padding": wire(1, 0, 3, payload=b"abcd"),
    "last byte of the padding": wire(1, 0, 0, payload=bytes(PART - 1) + b"\1"),
    "other kind in the middle": wire(1, 1, PART) + wire(2, 0, 1),
    "other stream in the middle": wire(1, 1, PART) + wire(1, 0, 1, stream=1),
    "empty last frame": wire(1, 1, PART) + wire(1, 0, 0),
    "message too long": wire(1, 1, PART) * GEOMETRY.message_frames,
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule(name: str) -> None:
    reader = FrameReader()
    with pytest.raises(RemoteProtocolError):
        reader.feed(BROKEN[name])
    assert not reader.unfinished
    with pytest.raises(RemoteProtocolError):  # for good
        reader.feed(wire())


def test_a_stranger_gets_one_frame() -> None:
    reader = FrameReader(limit=1)
    with pytest.raises(RemoteProtocolError):
        reader.feed(wire(9, 1, PART))
    reader = FrameReader(limit=1)
    assert reader.feed(wire(9)) == [Frame(9, 0, b"")]
    reader.limit = 2
    assert reader.feed(wire(9, 1, PART)) == []
    assert reader.feed(wire(9, 0, 1)) == [Frame(9, 0, bytes(PART + 1))]


def test_unfinished() -> None:
    reader = FrameReader()
    assert not reader.unfinished
    reader.feed(b"\1")
    assert reader.unfinished
    reader.feed(wire(1, 1, PART)[1:])
    assert reader.unfinished
    reader.feed(wire(1, 0, 1))
    assert not reader.unfinished


def test_every_wire_frame_is_shown() -> None:
    seen: list[bytes] = []
    wires = cut(Frame(3, 1, bytes(2 * PART + 1)))
    FrameReader(on_wire=seen.append).feed(b"".join(wires))
    assert seen == wires


frames = st.builds(
    Frame,
    st.integers(1, 255),
    st.integers(0, 2**32 - 1),
    st.integers(0, 3 * PART).map(lambda size: b"\xa5" * size),
)


@given(st.lists(frames, max_size=4), st.lists(st.integers(1, 3 * SIZE), max_size=8))
def test_any_chunks_give_the_same_messages(messages: list[Frame], sizes: list[int]) -> None:
    stream = b"".join(part for frame in messages for part in cut(frame))
    reader, found = FrameReader(), []
    for size in sizes:
        chunk, stream = stream[:size], stream[size:]
        found += reader.feed(chunk)
    found += reader.feed(stream)
    assert found == messages


noise = st.binary(max_size=300)
headers = st.builds(
    lambda *values: wire(*values),
    st.integers(0, 3),
    st.integers(0, 2),
    st.sampled_from([0, 1, PART - 1, PART, PART + 1, 0xFFFF]),
    st.integers(0, 1),
)


@given(st.lists(st.one_of(noise, headers), max_size=5), st.integers(1, 2 * SIZE))
def test_any_bytes_parse_or_are_refused(pieces: list[bytes], chunk: int) -> None:
    stream, reader = b"".join(pieces), FrameReader()
    taken = []
    try:
        for start in range(0, len(stream), chunk):
            taken += reader.feed(stream[start : start + chunk])
    except RemoteProtocolError:
        assert not reader.unfinished
        return
    # what was taken is the one way to write these messages
    again = b"".join(part for frame in taken for part in cut(frame))
    assert stream.startswith(again)
    assert reader.unfinished is (len(stream) > len(again))
