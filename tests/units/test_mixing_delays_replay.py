"""Delay laws and the replay filter."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.mixing import delays
from mixmail.mixing.replay import ReplayFilter
from mixmail.params import CHAT, DEMO, MAIL
from mixmail.testing import SeededRandomness

DRAWS = 20_000
SPACED = dataclasses.replace(MAIL, delay_law="spacings")
EXPONENTIAL = dataclasses.replace(CHAT, delay_law="exponential")


def kolmogorov(values, mean):
    """The largest distance of the empirical distribution from the exponential one with this mean."""
    ordered = sorted(values)
    return max(
        abs((rank + 1) / len(ordered) - (1 - math.exp(-value / mean))) for rank, value in enumerate(ordered)
    )


# 1.95 / sqrt(n) is exceeded with p = 0.001; the draws are seeded.
BOUND = 1.95 / math.sqrt(DRAWS)


@pytest.mark.parametrize("params", [dataclasses.replace(MAIL, delay_law="exponential"), EXPONENTIAL])
def test_mix_delays_are_exponential_whole_milliseconds(params):
    drawn = delays.draw_delays_ms(params, SeededRandomness(1), DRAWS)
    assert all(type(value) is int for value in drawn)
    assert kolmogorov(drawn, 1000 * params.mean_delay) < BOUND
    assert (
        kolmogorov([min(value, 3000 * params.mean_delay) * 0.97 for value in drawn], 1000 * params.mean_delay)
        > BOUND
    )


def test_a_query_draws_six():
    assert len(delays.draw_delays_ms(DEMO, SeededRandomness(1))) == 6


def test_delays_are_cut_without_a_pile_at_the_cut():
    params = dataclasses.replace(MAIL, delay_law="exponential", delay_cut=1.0)
    drawn = delays.draw_delays_ms(params, SeededRandomness(2), DRAWS)
    limit = delays.max_delay_ms(params)
    assert limit == 60_000
    assert max(drawn) <= limit
    coarse = dataclasses.replace(params, mean_delay=0.0027)
    assert delays.max_delay_ms(coarse) == 2
    assert set(delays.draw_delays_ms(coarse, SeededRandomness(2), DRAWS)) == {0, 1, 2}
    assert sum(value > 0.99 * limit for value in drawn) < DRAWS * 0.02


@given(st.sampled_from([MAIL, CHAT, DEMO, EXPONENTIAL]), st.integers())
def test_no_delay_is_above_what_a_mix_accepts(params, seed):
    rng = SeededRandomness(seed)
    assert all(0 <= value <= delays.max_delay_ms(params) for value in delays.draw_delays_ms(params, rng))
    limit = params.delay_max * params.courier_delay_fraction
    assert 0 <= delays.draw_courier_delay(params, rng) <= limit


@pytest.mark.parametrize(("count", "total_s"), [(6, 480), (4, 320), (1, 80)])
def test_spacings_add_up_to_the_same_sum_to_the_millisecond(count, total_s):
    rng = SeededRandomness(5)
    for _ in range(500):
        drawn = delays.draw_delays_ms(SPACED, rng, count)
        assert len(drawn) == count and sum(drawn) == 1000 * total_s and min(drawn) >= 0


def test_each_spacing_follows_the_law_of_a_gap_between_uniform_points():
    """P(gap > x) = (1 - x/S)^5 for each of the six gaps, whichever place it has in the path."""
    rng = SeededRandomness(6)
    rows = [delays.draw_delays_ms(SPACED, rng) for _ in range(DRAWS)]
    for place in range(6):
        ordered = sorted(row[place] / 480_000 for row in rows)
        distance = max(abs((rank + 1) / DRAWS - (1 - (1 - x) ** 5)) for rank, x in enumerate(ordered))
        assert distance < BOUND


def test_a_spacing_above_the_cut_is_drawn_again():
    params = dataclasses.replace(SPACED, delay_cut=2.0)
    rows = [delays.draw_delays_ms(params, SeededRandomness(seed)) for seed in range(300)]
    assert max(max(row) for row in rows) <= delays.max_delay_ms(params) == 120_000
    assert {sum(row) for row in rows} == {480_000}


def test_courier_delays_have_a_sixth_of_the_mean():
    rng = SeededRandomness(3)
    drawn = [delays.draw_courier_delay(MAIL, rng) for _ in range(DRAWS)]
    assert kolmogorov(drawn, 10.0) < BOUND


def test_loops_at_a_held_tick_are_geometric_with_mean_one():
    rng = SeededRandomness(4)
    drawn = [delays.draw_loop_count(MAIL, rng) for _ in range(DRAWS)]
    for count in range(4):
        assert abs(drawn.count(count) / DRAWS - 0.5 ** (count + 1)) < 0.015
    assert abs(sum(drawn) / DRAWS - 1) < 0.04


# -- replay ----------------------------------------------------------------------------------------


def test_a_tag_is_new_once_for_each_key():
    seen = ReplayFilter(MAIL)
    assert seen.check_and_add(7, b"tag", b"link")
    assert not seen.check_and_add(7, b"tag", b"link")
    assert seen.check_and_add(8, b"tag", b"link")
    assert seen.check_and_add(7, b"other", b"link")
    assert seen.count(7) == 2 and seen.count(8) == 1 and seen.count(9) == 0


def test_a_forgotten_key_takes_its_tags_and_no_others_with_it():
    seen = ReplayFilter(MAIL)
    for epoch in (7, 8):
        seen.check_and_add(epoch, b"tag", b"link")
    seen.forget(7)
    seen.forget(99)
    assert seen.count(7) == 0
    assert not seen.check_and_add(8, b"tag", b"link")


def test_a_full_filter_refuses_rather_than_forgets():
    seen = ReplayFilter(dataclasses.replace(MAIL, replay_capacity=2))
    assert seen.check_and_add(7, b"a", b"one") and not seen.full(7)
    assert seen.check_and_add(7, b"b", b"two") and seen.full(7)
    assert not seen.check_and_add(7, b"c", b"three")
    assert not seen.check_and_add(7, b"a", b"three")
    assert seen.count(7) == 2
    assert seen.check_and_add(8, b"c", b"one")


def test_a_link_that_floods_does_not_fill_the_filter_for_the_others():
    """Without shares a minute's flood would shut a mix to everybody until its key is over, a day later."""
    seen = ReplayFilter(dataclasses.replace(MAIL, replay_capacity=12))
    tags = iter(range(10**6))
    for link, taken in ((b"one", 6), (b"two", 3)):
        for number in range(100):
            assert seen.check_and_add(7, b"%d" % next(tags), link) == (number < taken)
    assert all(seen.check_and_add(7, b"%d" % next(tags), bytes([link])) for link in range(3))
    seen.forget(7)
    assert all(seen.check_and_add(7, b"%d" % number, b"one") for number in range(6))
