"""The grid of moments at which a mix may release packets.

Ticks are numbered from 1970-01-01 UTC: tick k is at k * params.tick seconds.  The pools count in tick
numbers, never in seconds, because k * tick / tick is not always k in floating point.
"""

from __future__ import annotations

import math

from mixmail.params import NetworkParameters

# A moment this close before a tick (in ticks) counts as the tick itself.  Unix time in a float is
# exact to 2.4e-7 s, 1e-5 of the shortest tick (0.025 s): this is far above that, and far below
# anything an observer could use.
SLACK = 1 / 1024


def tick_number(params: NetworkParameters, now: float) -> int:
    """The number of the last tick at or before `now` (unix seconds)."""
    return math.floor(now / params.tick + SLACK)


def first_tick_from(params: NetworkParameters, moment: float) -> int:
    """The number of the first tick at or after `moment` (unix seconds)."""
    return math.ceil(moment / params.tick - SLACK)


def tick_time(params: NetworkParameters, number: int) -> float:
    """When tick `number` is, in unix seconds."""
    return number * params.tick


def next_tick(params: NetworkParameters, now: float) -> float:
    """The moment (unix seconds) of the first tick after `now`."""
    return tick_time(params, tick_number(params, now) + 1)
