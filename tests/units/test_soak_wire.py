"""The capture of `scripts/soak wire`: packets are read rightly, and traffic that differs is told apart."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "scripts"), str(TOP / "tests" / "processes")]

import soak_wire  # noqa: E402  (the path is set above)

from mixmail.errors import UserError  # noqa: E402
from mixmail.testing import SeededRandomness  # noqa: E402

TCP_HEADER = 32


def packet(size: int, protocol: int = 6, ether: int = 0x0800, options: int = 0) -> bytes:
    """A frame of Ethernet as captured: headers only, whatever the payload's size."""
    ip = 20 + options
    head = struct.pack("!12xH", ether) + bytes([0x40 | ip // 4, 0])
    head += struct.pack(
        "!HHHBBH4s4s", ip + TCP_HEADER + size, 0, 0, 64, protocol, 0, b"\x7f\0\0\1", b"\x7f\0\0\1"
    )
    return (
        head
        + bytes(options)
        + struct.pack("!HHIIBB", 1_000, 2_000, 0, 0, TCP_HEADER // 4 << 4, 24)
        + bytes(18)
    )


@pytest.mark.parametrize("options", [0, 8])
def test_a_captured_packet_says_its_ports_and_payload(options: int) -> None:
    assert soak_wire.parse(packet(32_800, options=options), 3.5) == soak_wire.Segment(
        1_000, 2_000, 32_800, 3.5
    )


@pytest.mark.parametrize(
    "seen",
    [packet(0), packet(10, protocol=17), packet(10, ether=0x86DD), packet(10)[:40], packet(10)[:20], b""],
    ids=["acknowledgement", "udp", "ipv6", "cut in tcp", "cut in ip", "nothing"],
)
def test_what_is_no_tcp_payload_is_passed_over(seen: bytes) -> None:
    assert soak_wire.parse(seen, 0.0) is None


def test_segments_of_one_way_that_follow_closely_are_one_burst() -> None:
    one = [
        soak_wire.Segment(1, 2, 10, 1.0),
        soak_wire.Segment(1, 2, 5, 1.001),
        soak_wire.Segment(1, 2, 7, 1.0025),
    ]
    other = [soak_wire.Segment(2, 1, 3, 1.0005), soak_wire.Segment(1, 2, 9, 1.1)]
    assert soak_wire.bursts([*other, *one]) == [
        soak_wire.Segment(1, 2, 22, 1.0),
        soak_wire.Segment(2, 1, 3, 1.0005),
        soak_wire.Segment(1, 2, 9, 1.1),
    ]


def block(kind: str, seed: str, gap: float, size: int = 32_800, peers: int = 5) -> soak_wire.Block:
    """Thirty seconds of bursts with gaps of `gap` in the mean."""
    rng = SeededRandomness(seed)
    segments, now = [], 0.0
    while (now := now + rng.exponential(gap)) < 30.0:
        segments.append(soak_wire.Segment(1, 10 + rng.below(peers), size, now))
    return soak_wire.Block(kind, 0.0, 30.0, segments)


def blocks(gap: float, size: int = 32_800, peers: int = 5) -> list[soak_wire.Block]:
    """Fourteen blocks; the busy ones with these values, the idle ones with the ordinary ones."""
    kinds = soak_wire.order_of(14, 5)
    return [
        block(kind, f"{number}", *((gap, size, peers) if kind == soak_wire.BUSY else (0.02, 32_800, 5)))
        for number, kind in enumerate(kinds)
    ]


def test_equal_traffic_is_not_told_apart() -> None:
    assert min(soak_wire.tell(blocks(0.02), 1).values()) > 0.05


@pytest.mark.parametrize(
    ("differs", "quantity"),
    [
        ({"gap": 0.012}, "gaps"),
        ({"gap": 0.02, "size": 40_000}, "bytes_in_slot"),
        ({"gap": 0.02, "peers": 8}, "bytes_to_peer"),
    ],
    ids=["more frames", "larger frames", "more peers"],
)
def test_traffic_that_differs_is_told_apart(differs: dict[str, float], quantity: str) -> None:
    assert soak_wire.tell(blocks(**differs), 1)[quantity] < soak_wire.LIMIT  # type: ignore[arg-type]


def test_half_of_the_blocks_are_busy_in_an_order_of_the_seed() -> None:
    orders = [soak_wire.order_of(14, seed) for seed in range(5)]
    assert all(order.count(soak_wire.BUSY) == 7 for order in orders)
    assert len({tuple(order) for order in orders}) == 5


@pytest.mark.parametrize("number", [0, 1, 12, 15])
def test_blocks_that_are_too_few_or_cannot_be_halved_are_refused(number: int) -> None:
    with pytest.raises(UserError, match="even number"):
        soak_wire.wire(number, 1.0, 1)


def test_the_fewest_blocks_allow_a_p_below_the_limit_and_fewer_do_not() -> None:
    assert (
        soak_wire.smallest_p(soak_wire.FEWEST) < soak_wire.LIMIT < soak_wire.smallest_p(soak_wire.FEWEST - 2)
    )
