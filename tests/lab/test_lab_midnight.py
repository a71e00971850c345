"""The turn of a key epoch, with clocks up to ten minutes apart: `scripts/lab midnight` in its short form."""

from __future__ import annotations

import dataclasses

import pytest

from mixmail.lab.midnight import MIDNIGHT, PARAMS, cross, difference

SEED = 5
NODES = 9


def test_queries_and_mails_cross_midnight_and_the_old_keys_are_gone_two_hours_later() -> None:
    turn = cross(NODES, SEED, MIDNIGHT, lead=3_700.0, writers=2)
    assert PARAMS.epoch_late == 7_200.0
    assert turn.slots > 0.98, "a slot was left empty"
    assert turn.answered == turn.slots, "a query got no answer"
    assert 400 < turn.round_trip < 700
    assert turn.known_least == 1.0, "somebody drew paths from a part of the network"
    assert turn.delivered == 1.0
    assert turn.refused_as_replay == turn.refused_without_key == 1.0


def test_keys_that_are_deleted_at_the_turn_show_as_a_dip() -> None:
    hasty = dataclasses.replace(PARAMS, epoch_late=0.0, clock_skew=0.0)
    turn = cross(NODES, SEED, MIDNIGHT, hasty, ahead=0.0, lead=1_800.0, writers=0)
    assert turn.answered < 0.85 < 0.98 < turn.slots
    before = [took for sent, took in turn.queries if -120 < sent < 0]
    assert before and before.count(None) > len(before) / 2


def test_a_difference_is_of_pairs_and_has_their_standard_error() -> None:
    assert difference([3.0, 5.0, 7.0], [1.0, 1.0, 1.0]) == pytest.approx((4.0, 2 / 3**0.5))
    assert difference([3.0], [1.0]) == (2.0, 0.0)
