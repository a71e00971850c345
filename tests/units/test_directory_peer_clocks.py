"""What a HELLO says of the time, and what the user is told about the own clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.directory.peer_clocks import PeerClocks, about, pack_hello, parse_hello
from mixmail.errors import RemoteProtocolError
from mixmail.params import CHAT, DEMO, GEOMETRY, MAIL, NODE_LIMITS

NOON = 20_000.0 * 86_400 + 43_200
HOUR = 3_600.0
DESCRIPTOR = bytes(range(256)) * 30 + bytes(24)


def met(*ahead: float) -> str:
    clocks = PeerClocks(MAIL)
    for number, seconds in enumerate(ahead):
        clocks.note(number.to_bytes(32, "big"), NOON + seconds, NOON)
    return clocks.warning()


def test_layout_of_a_hello() -> None:
    assert GEOMETRY.hello == 7_712
    raw = pack_hello(DESCRIPTOR, 1_700_000_000.25)
    assert raw == DESCRIPTOR + bytes.fromhex("0000018bcfe568fa")
    assert parse_hello(raw) == (DESCRIPTOR, 1_700_000_000.25)


@given(st.binary(max_size=8_000))
def test_any_bytes_are_a_hello_or_refused(raw: bytes) -> None:
    if len(raw) == GEOMETRY.hello:
        parse_hello(raw)
        return
    with pytest.raises(RemoteProtocolError):
        parse_hello(raw)


@pytest.mark.parametrize("way", [1, -1])
def test_ten_minutes_are_accepted_and_more_is_refused(way: int) -> None:
    for params in (MAIL, CHAT, DEMO):
        assert params.clock_skew == 600.0 <= params.epoch_early
        clocks = PeerClocks(params)
        clocks.check(NOON + way * 600.0, NOON)
        for seconds, words in ((600.1, "10 min"), (2 * HOUR, "2 h"), (NOON / 2, "10000 days")):
            with pytest.raises(RemoteProtocolError) as caught:
                clocks.check(NOON + way * seconds, NOON)
            assert str(caught.value) == f"the peer's clock and ours differ by about {words}"


def test_the_end_of_the_clock_is_refused_and_breaks_nothing() -> None:
    _, theirs = parse_hello(DESCRIPTOR + b"\xff" * 8)
    with pytest.raises(RemoteProtocolError, match="days"):
        PeerClocks(MAIL).check(theirs, NOON)


@pytest.mark.parametrize("way", [1, -1])
def test_who_differs_from_most_is_told_to_set_his_clock(way: int) -> None:
    said = "Your clock differs from most of the network by about 2 h: set it right. Then start mixmail again."
    two = way * 2 * HOUR
    assert met(two, two, two) == said
    assert met(two, two + 100, 0.0) == said  # two of three
    assert met(two, two, 0.0, 0.0) == ""  # half is not most
    assert met(two, -two, 0.0) == ""  # not in the same direction
    assert met(two, two, 0.0) == said
    assert met(way * 600.0, way * 500.0, way * 600.0) == ""


def test_who_has_met_one_or_two_is_told_to_check() -> None:
    said = "Your clock differs from that of each node met so far by about 2 h: check it."
    assert met(2 * HOUR).startswith(said)
    assert met(-2 * HOUR, -2 * HOUR).startswith(said)
    assert met(2 * HOUR, 0.0) == met(0.0) == met() == ""


def test_the_last_word_of_a_peer_counts_and_the_memory_is_bounded() -> None:
    clocks = PeerClocks(MAIL)
    for ahead in (2 * HOUR, 0.0):
        for number in range(3):
            clocks.note(bytes([number]) * 32, NOON + ahead, NOON)
    assert clocks.warning() == ""
    for number in range(NODE_LIMITS.peer_clocks):
        clocks.note(number.to_bytes(32, "big"), NOON + HOUR * 2, NOON)
    assert len(clocks._ahead) == NODE_LIMITS.peer_clocks
    assert "2 h" in clocks.warning()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 s"), (45.0, "45 s"), (720.0, "12 min"), (5_400.0, "2 h"), (90_000.0, "25 h"), (3e5, "3 days")],
)
def test_a_span_of_time_in_words(seconds: float, words: str) -> None:
    assert about(seconds) == words
