"""The small layouts between proxy and home, and the counters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.boxes.query import QueryOp
from mixmail.boxes.status import Status
from mixmail.errors import RemoteProtocolError
from mixmail.node.stats import Stats
from mixmail.node.wire import HomeQuery, HomeReply, Kind, new_stream
from mixmail.params import GEOMETRY
from mixmail.testing import SeededRandomness

FIELD = bytes([3]) * GEOMETRY.record


def test_the_layouts_are_those_of_the_documentation() -> None:
    query = HomeQuery(QueryOp.QUEUE_ADD, FIELD)
    assert query.pack() == b"\x03\0\0\0" + FIELD
    assert HomeQuery.parse(query.pack()) == query
    reply = HomeReply(Status.EXISTS, 1, FIELD)
    assert reply.pack() == b"\x02\x01\0\0" + FIELD
    assert HomeReply.parse(reply.pack()) == reply
    assert [int(kind) for kind in Kind] == list(range(1, 13))


@given(head=st.binary(min_size=4, max_size=4))
def test_a_head_is_parsed_or_refused(head: bytes) -> None:
    for layout in (HomeQuery, HomeReply):
        try:
            parsed = layout.parse(head + FIELD)
        except RemoteProtocolError:
            continue
        assert parsed.pack() == head + FIELD


@pytest.mark.parametrize("layout", [HomeQuery, HomeReply])
@pytest.mark.parametrize(
    "raw", [b"", FIELD, bytes(4) + FIELD + b"\0", b"\xff\0\0\0" + FIELD, b"\0\0\0\x01" + FIELD]
)
def test_broken_layouts_are_refused(layout: type[HomeQuery] | type[HomeReply], raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        layout.parse(raw)


def test_stream_numbers_are_random_and_never_taken_or_zero() -> None:
    rng = SeededRandomness("streams")
    streams = [new_stream((), rng) for _ in range(50)]
    assert len(set(streams)) == 50 and 0 not in streams
    again = SeededRandomness("streams")
    assert new_stream({streams[0]}, again) == streams[1]


def test_counters_tell_what_was_dropped_by_reason() -> None:
    stats = Stats()
    stats.add("mix.in", 3)
    stats.add("drop.replay")
    stats.add("drop.replay")
    assert stats["mix.in"] == 3
    assert stats.snapshot() == {"drop.replay": 2, "mix.in": 3}
    assert stats.dropped() == {"replay": 2}
    assert stats["never"] == 0
    assert "never" not in stats.snapshot()
