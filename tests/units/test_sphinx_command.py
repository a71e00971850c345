"""The 64 bytes of a routing command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.sphinx.command import Command, CommandKind

IDENT = bytes(range(32))
MAC = bytes(range(100, 116))
FORWARD = Command(CommandKind.FORWARD, 0x01020304, IDENT, MAC)


def test_layout() -> None:
    assert FORWARD.pack() == b"\1\0\0\0\1\2\3\4" + IDENT + MAC + bytes(8)


@given(
    st.sampled_from(CommandKind),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
)
def test_round_trip(kind: CommandKind, delay: int, ident: bytes, mac: bytes) -> None:
    command = Command(kind, delay, ident, mac if kind is CommandKind.FORWARD else bytes(16))
    assert Command.parse(command.pack()) == command


@pytest.mark.parametrize("position", [1, 2, 3, *range(56, 64)])
def test_reserved_bytes_must_be_zero(position: int) -> None:
    raw = bytearray(FORWARD.pack())
    raw[position] = 1
    with pytest.raises(RemoteProtocolError, match="reserved"):
        Command.parse(bytes(raw))


@pytest.mark.parametrize("kind", [0, 4, 255])
def test_unknown_kinds_are_refused(kind: int) -> None:
    with pytest.raises(RemoteProtocolError, match="unknown"):
        Command.parse(bytes([kind]) + FORWARD.pack()[1:])


@pytest.mark.parametrize("kind", [CommandKind.DELIVER, CommandKind.SURB_REPLY])
def test_a_last_command_carries_no_mac(kind: CommandKind) -> None:
    with pytest.raises(RemoteProtocolError, match="MAC"):
        Command.parse(bytes([kind]) + FORWARD.pack()[1:])


@given(st.binary(max_size=130))
def test_parse_it_or_raise_the_one_error(raw: bytes) -> None:
    try:
        command = Command.parse(raw)
    except RemoteProtocolError:
        return
    assert command.pack() == raw


def test_fields_out_of_range_are_our_own_mistake() -> None:
    for command in (
        FORWARD._replace(delay_ms=2**32),
        FORWARD._replace(delay_ms=-1),
        FORWARD._replace(ident=b"short"),
        FORWARD._replace(next_mac=b"short"),
    ):
        with pytest.raises(LocalProtocolError):
            command.pack()
