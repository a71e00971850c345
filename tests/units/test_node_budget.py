"""The budget of dear work: a bound on the whole, fair shares, and room for whoever comes next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.node.budget import FairBudget
from mixmail.params import NODE_LIMITS

RATE, MEMORY = 4.0, 10.0  # 40 at once
START = 1_000.0


def names(count: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(count)]


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 3), st.integers(1, 60)), max_size=40))
def test_no_span_of_time_has_more_than_the_bound(asks: list[tuple[float, int, int]]) -> None:
    budget, now, granted = FairBudget(RATE, MEMORY, 3), START, []
    for wait, who, count in asks:
        now += wait
        granted.extend(now for _ in range(count) if budget.take(bytes([who]), now))
    for first, begin in enumerate(granted):
        for last, end in enumerate(granted[first:], first):
            assert last - first + 1 <= RATE * MEMORY + RATE * (end - begin) + 1e-6


@pytest.mark.parametrize("flooders", [1, 2, 7])
def test_flooders_share_alike_and_leave_one_share_free(flooders: int) -> None:
    budget, now = FairBudget(RATE, MEMORY, 100), START
    got = dict.fromkeys(names(flooders), 0)
    for step in range(6_000):
        now += 0.1
        for name in got:
            granted = budget.take(name, now)
            got[name] += granted and step >= 3_000  # 300 s, after as many to settle
    share = RATE * 300.0 / (flooders + 1)
    assert all(abs(count - share) <= share / 4 for count in got.values()), (share, got)
    newcomer = b"n" * 32
    at_once = 0
    while budget.take(newcomer, now):
        at_once += 1
    assert at_once >= int(RATE * MEMORY / (flooders + 1) / 2)


def test_an_idle_budget_fills_up_again() -> None:
    budget = FairBudget(RATE, MEMORY, 100)
    first = sum(budget.take(b"a", START) for _ in range(100))
    assert first == 20  # half of the whole
    assert not budget.take(b"a", START)
    assert sum(budget.take(b"a", START + 20 * MEMORY) for _ in range(100)) == first


def test_forgotten_askers_still_count_in_the_whole() -> None:
    budget = FairBudget(RATE, MEMORY, 2)
    assert sum(budget.take(name, START) for name in names(100)) == RATE * MEMORY
    assert len(budget) == 2


def test_a_homes_checks_take_a_fifth_of_a_core() -> None:
    rate = NODE_LIMITS.stamp_checks
    assert rate * NODE_LIMITS.stamp_check_cost == pytest.approx(0.2)
    # what waits for the processor by this way alone never puts readers off
    assert rate * NODE_LIMITS.stamp_memory_s < NODE_LIMITS.jobs
