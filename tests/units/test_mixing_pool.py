"""Delay pools and the tick grid."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.mixing import ticks
from mixmail.mixing.pool import STRATEGIES, BinomialPool, Poisson, PoissonPool, next_tick
from mixmail.params import CHAT, DEMO, MAIL
from mixmail.testing import SeededRandomness

START = 1_800_000_000.0
PARAMS = dataclasses.replace(MAIL, tick=2.0, pool_min=3, held_packet_limit=600.0)


def rng():
    return SeededRandomness(1)


# -- ticks -----------------------------------------------------------------------------------------


@given(st.sampled_from([MAIL, CHAT, DEMO]), st.floats(0, 4e9))
def test_ticks_follow_each_other_one_by_one(params, now):
    moment = next_tick(params, now)
    assert moment > now and moment - now <= params.tick * (1 + 2 * ticks.SLACK)
    number = ticks.tick_number(params, moment)
    assert ticks.tick_time(params, number) == moment
    assert ticks.first_tick_from(params, moment) == number
    assert ticks.tick_number(params, next_tick(params, moment)) == number + 1


@given(st.sampled_from([MAIL, CHAT, DEMO]), st.floats(1e9, 4e9), st.floats(1e9, 4e9))
def test_tick_numbers_never_go_back(params, one, two):
    early, late = sorted((one, two))
    assert ticks.tick_number(params, early) <= ticks.tick_number(params, late)
    assert ticks.first_tick_from(params, early) <= ticks.first_tick_from(params, late)
    assert 0 <= ticks.first_tick_from(params, early) - ticks.tick_number(params, early) <= 1


# -- release ---------------------------------------------------------------------------------------


def test_a_packet_leaves_at_the_first_tick_after_its_delay_and_not_before():
    pool = Poisson(PARAMS, rng(), 10)
    assert pool.add("a", 3.0, START)
    assert pool.next_release(START) == START + 4
    assert pool.release(START + 2) == []
    assert pool.release(START + 3.9) == [], "due, but there was no tick since"
    assert pool.release(START + 4) == ["a"]
    assert pool.size == 0 and pool.next_release(START + 4) is None


def test_a_tick_is_served_once():
    pool = Poisson(PARAMS, rng(), 10)
    pool.add("a", 0.0, START)
    assert pool.release(START) == ["a"]
    pool.add("b", 0.0, START)
    assert pool.release(START) == [] and pool.release(START + 1.9) == []
    assert pool.next_release(START + 1) == START + 2
    assert pool.release(START + 2) == ["b"]


def test_packets_due_at_one_tick_leave_in_random_order():
    orders = set()
    pool = Poisson(PARAMS, rng(), 10)
    for number in range(200):
        now = START + 10 * number
        for item in "abc":
            pool.add(item, 1.0, now)
        orders.add("".join(pool.release(now + 2)))
    assert orders == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_the_pool_holds_what_is_due_while_it_is_too_small():
    pool = PoissonPool(PARAMS, rng(), 10)
    pool.add("a", 1.0, START)
    pool.add("b", 100.0, START)
    assert not pool.held(START + 1), "nothing is due yet"
    assert pool.held(START + 2)
    assert pool.release(START + 2) == [] and pool.size == 2
    pool.add("loop", 50.0, START + 3)
    assert not pool.held(START + 4)
    assert pool.release(START + 4) == ["a"], "all that is due goes; the others keep their time"
    assert not pool.held(START + 52) and pool.held(START + 54)


def test_poisson_has_no_minimum():
    pool = Poisson(PARAMS, rng(), 10)
    pool.add("a", 1.0, START)
    assert not pool.held(START + 2)
    assert pool.release(START + 2) == ["a"]


def test_one_link_gets_half_of_the_pool_and_leaves_the_other_half_to_the_others():
    pool = PoissonPool(PARAMS, rng(), 100)
    assert [pool.add("flood", 1.0, START, b"greedy") for _ in range(200)].count(True) == 50
    honest = [bytes([link]) for link in range(20)]
    assert all(pool.add("mail", 1.0, START, link) for link in honest)
    assert pool.size == 70
    assert not pool.add("flood", 1.0, START, b"greedy"), "the greediest link is refused first"


def test_two_floods_get_a_third_each_and_the_rest_stays_free():
    pool = PoissonPool(PARAMS, rng(), 99)
    taken = {b"one": 0, b"two": 0}
    for _ in range(200):
        for link in taken:
            taken[link] += pool.add("flood", 1.0, START, link)
    assert taken == {b"one": 33, b"two": 33}
    assert pool.add("mail", 1.0, START, b"honest")


@given(st.lists(st.integers(0, 5), max_size=120), st.sampled_from(list(STRATEGIES)))
def test_no_strategy_holds_more_than_its_capacity_and_what_leaves_makes_room(links, name):
    pool = STRATEGIES[name](dataclasses.replace(PARAMS, pool_min=0), rng(), 12)
    inside = sum(pool.add(number, 1.0, START, bytes([link])) for number, link in enumerate(links))
    assert pool.size == inside <= 12
    now = START
    while (moment := pool.next_release(now)) is not None:
        now = max(now, moment)
        inside -= len(pool.release(now))
        assert pool.size == inside
    assert inside == 0
    assert [pool.add(0, 1.0, now, b"again") for _ in range(20)].count(True) == 6


@pytest.mark.parametrize(("over", "left"), [(600, ["a"]), (602, [])])
def test_a_packet_held_too_long_is_dropped(over, left):
    pool = PoissonPool(PARAMS, rng(), 10)
    pool.add("a", 2.0, START)
    assert pool.release(START + 2) == []
    for number in range(3):
        pool.add(number, 5000.0, START)
    assert pool.release(START + 2 + over) == left
    assert pool.dropped_late == 1 - len(left)


def test_items_that_cannot_be_compared_are_fine():
    pool = Poisson(PARAMS, rng(), 10)
    items = [object(), object(), {}]
    for item in items:
        pool.add(item, 1.0, START)
    assert len(pool.release(START + 2)) == 3


@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 60)), max_size=9),
    st.sampled_from([0.025, 1 / 3, 2.0]),
)
def test_everything_leaves_once_at_the_tick_it_is_due(arrivals, tick):
    pool = Poisson(dataclasses.replace(PARAMS, tick=tick), rng(), 20)
    due = {}
    for number, (after, delay) in enumerate(sorted(arrivals)):
        pool.add(number, delay, START + after)
        due[number] = START + after + delay
    now, left = START + 30, {}
    while (moment := pool.next_release(now)) is not None:
        now = max(now, moment)
        released = pool.release(now)
        assert released, "next_release named a tick at which nothing left"
        left.update(dict.fromkeys(released, now))
    assert left.keys() == due.keys()
    slack = tick * ticks.SLACK * 2
    for number, moment in left.items():
        assert moment >= due[number] - slack
        assert moment <= max(due[number], START + 30) + tick + slack


def test_a_release_of_few_from_many_stays_light():
    """Draws and heap steps, not seconds: the work for k packets must not depend on how many wait."""
    counting = Counting(2)
    pool = PoissonPool(PARAMS, counting, 100_000)
    for number in range(20_000):
        pool.add(Item(number), 1000.0 + number, START)
    for number in range(5):
        pool.add(Item(number), 1.0, START)
    Item.touched = counting.draws = 0
    assert len(pool.release(START + 2)) == 5
    assert counting.draws <= 4 * 3
    assert Item.touched <= 5 * 2 * math.ceil(math.log2(20_005))


class Counting(SeededRandomness):
    draws = 0

    def bytes(self, count):
        self.draws += 1
        return super().bytes(count)


class Item:
    touched = 0

    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        Item.touched += 1
        return self.number < other.number


# -- Mixminion's batching --------------------------------------------------------------------------


def test_the_binomial_pool_flips_a_coin_a_slot_and_keeps_the_mean_delay_of_the_others():
    params = dataclasses.replace(MAIL, pool_min=0)
    pool, waits = BinomialPool(params, rng(), 10_000), []
    now = START
    for number in range(4_000):
        now = START + number * 1.7
        pool.add(now, 12_345.0, now)
        if (moment := pool.next_release(now - 1.7)) is not None and moment <= now:
            waits.extend(moment - came for came in pool.release(moment))
    assert len(waits) > 3_500
    assert abs(sum(waits) / len(waits) - params.mean_delay) < 3, "4,000 packets, standard error 0.9 s"


def test_the_binomial_pool_leaves_only_at_the_ends_of_slots_and_keeps_its_minimum():
    pool = BinomialPool(MAIL, rng(), 100)
    end = ticks.tick_time(MAIL, -(-ticks.tick_number(MAIL, START) // 15) * 15)
    for number in range(MAIL.pool_min):
        pool.add(number, 0.0, end - 1)
    assert pool.next_release(end - 1) == end and pool.held(end) and not pool.held(end - 2)
    assert pool.release(end - 2) == [] and pool.release(end) == []
    for number in range(40):
        pool.add(number, 0.0, end + 1)
    sizes = []
    for slot in range(1, 40):
        pool.release(end + 30 * slot)
        sizes.append(pool.size)
    assert sizes[0] < 46 and min(sizes) >= 1 and sizes[-1] <= MAIL.pool_min + 2


def test_the_strategies_go_by_their_names():
    assert {name: kind.__name__ for name, kind in STRATEGIES.items()} == {
        "poisson_pool": "PoissonPool",
        "poisson": "Poisson",
        "binomial_pool": "BinomialPool",
    }
