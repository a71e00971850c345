"""How much work homes ask for and writers do."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.boxes.asking import needed, next_claim, target, wanted
from mixmail.boxes.record import RecordType
from mixmail.params import CHAT, DEMO, MAIL

BOX, QUEUE = RecordType.BOX, RecordType.QUEUE


def test_a_home_asks_evenly_more_from_half_full_on() -> None:
    fills = (0.0, 0.5, 0.56, 0.57, 0.75, 0.99, 1.0, 2.0)
    assert [target(MAIL, fill) for fill in fills] == [4, 4, 4, 5, 8, 11, 12, 12]
    assert [target(DEMO, fill) for fill in fills] == [0, 0, 0, 0, 1, 1, 2, 2]


@given(st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_a_fuller_home_never_asks_for_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    for params in (MAIL, CHAT, DEMO):
        assert params.box_bits <= target(params, low) <= target(params, high) <= params.asked_bits_max


def test_a_claim_rises_by_one_a_day_and_falls_at_once() -> None:
    claims, claim = [], 0
    for fill in (None, 0.1, 1.0, 1.0, 1.0, None, 1.0, 0.6, 0.6, 0.0):
        claim = next_claim(MAIL, fill, claim, new_day=True)
        claims.append(claim)
    assert claims == [4, 4, 5, 6, 7, 7, 8, 5, 5, 4]
    assert next_claim(MAIL, 1.0, 7, new_day=False) == 7
    assert next_claim(MAIL, 1.0, 12, new_day=True) == 12
    assert next_claim(MAIL, None, 200, new_day=True) == 12  # a file that was damaged


def test_a_writer_does_one_bit_more_than_the_median() -> None:
    assert wanted(MAIL, BOX, [4] * 16) == 5
    assert wanted(MAIL, BOX, [4] * 8 + [6] * 8) == 7
    assert wanted(MAIL, BOX, [4] * 9 + [255] * 7) == 5  # who lies high
    assert wanted(MAIL, BOX, [0] * 7 + [7] * 9) == 8  # and low
    assert wanted(MAIL, BOX, [255] * 16) == wanted(MAIL, BOX, [12] * 16) == 12
    assert wanted(MAIL, BOX, []) == 5
    assert wanted(MAIL, RecordType.MUTABLE, [6] * 16) == wanted(MAIL, RecordType.TOMBSTONE, [6] * 16) == 7
    assert [wanted(MAIL, QUEUE, [claim] * 16) for claim in (4, 9, 10, 11, 12)] == [11, 11, 11, 12, 12]


def test_where_homes_ask_for_nothing_nothing_is_done() -> None:
    assert wanted(DEMO, BOX, [0] * 12) == 0
    assert wanted(DEMO, BOX, [0] * 5 + [1] * 7) == 2
    assert wanted(DEMO, QUEUE, [0] * 12) == DEMO.stranger_bits


def test_no_record_needs_less_than_the_floor_of_its_type() -> None:
    assert [needed(MAIL, BOX, claim) for claim in (0, 4, 9, 255)] == [4, 4, 9, 12]
    assert [needed(MAIL, QUEUE, claim) for claim in (0, 9, 12, 255)] == [11, 11, 12, 12]
    dear = dataclasses.replace(MAIL, stranger_bits=15)
    assert needed(dear, QUEUE, 255) == wanted(dear, QUEUE, [12] * 16) == 15


@settings(max_examples=200)
@given(st.lists(st.integers(0, 12), min_size=5, max_size=16), st.data())
def test_a_write_is_enough_for_most_homes_a_day_later(claims: list[int], data: st.DataObject) -> None:
    """Claims that rose by one since the writer looked."""
    bits = wanted(MAIL, BOX, claims)
    later = [min(12, needed(MAIL, BOX, claim) + data.draw(st.integers(0, 1))) for claim in claims]
    assert sum(needed(MAIL, BOX, claim) <= bits for claim in later) > len(claims) // 2
