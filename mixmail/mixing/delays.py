"""How long packets wait: drawn by the sender for mixes, by the courier and the proxy for themselves.

Exponential delays make a mix forget the order of arrival (Danezis, "The traffic analysis of
continuous-time mixes", PET 2004); docs/protocol/mixing.md has the numbers.
"""

from __future__ import annotations

from mixmail.params import NetworkParameters
from mixmail.randomness import Randomness

MS = 1000  # milliseconds a second


def _cut_exponential(mean: float, cut: float, rng: Randomness) -> float:
    """An exponential variate, drawn again while above `cut` means: no pile-up at the cut itself."""
    while True:
        value = rng.exponential(mean)
        if value <= cut * mean:
            return value


def draw_delays_ms(params: NetworkParameters, rng: Randomness, count: int = 6) -> list[int]:
    """`count` mix delays in whole milliseconds: exponential, mean `mean_delay`, at most `delay_max`."""
    limit = max_delay_ms(params)
    draws = (_cut_exponential(params.mean_delay, params.delay_cut, rng) for _ in range(count))
    return [min(round(draw * MS), limit) for draw in draws]


def max_delay_ms(params: NetworkParameters) -> int:
    """The longest delay in whole milliseconds that a mix accepts in a routing command."""
    return int(params.delay_max * MS)


def draw_courier_delay(params: NetworkParameters, rng: Randomness) -> float:
    """Seconds for which a courier or proxy keeps one blob or answer: exponential, cut like mix delays."""
    return _cut_exponential(params.mean_delay * params.courier_delay_fraction, params.delay_cut, rng)


def draw_loop_count(params: NetworkParameters, rng: Randomness) -> int:
    """How many loops of its own a mix adds at a held tick: geometric, mean `held_loops`."""
    return rng.geometric(params.held_loops)
