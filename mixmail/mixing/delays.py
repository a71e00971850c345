"""How long packets wait: drawn by the sender for mixes, by the courier and the proxy for themselves.

Two laws (docs/protocol/mixing.md has the reasons and the figures):

- *exponential*: each delay by itself.  A mix forgets the order of arrival (Danezis, "The traffic analysis
  of continuous-time mixes", PET 2004), but the time until the answer differs from query to query.
- *spacings*: the delays of one way are what uniform points cut from a fixed sum.  Each alone is still close
  to exponential (David and Nagaraja, "Order Statistics", section 6.4), and all answers take equally long.
"""

from __future__ import annotations

from mixmail.params import NetworkParameters
from mixmail.randomness import Randomness

MS = 1000  # milliseconds a second
QUERY_DELAYS = 6  # three mixes out and three back


def draw_delays_ms(params: NetworkParameters, rng: Randomness, count: int = QUERY_DELAYS) -> list[int]:
    """`count` mix delays in whole milliseconds by the network's law, none above `delay_max`."""
    return LAWS[params.delay_law](params, rng, count)


def draw_exponential_ms(params: NetworkParameters, rng: Randomness, count: int) -> list[int]:
    """Independent exponential delays, mean `mean_delay`, drawn again while above the cut."""
    limit = max_delay_ms(params)
    draws = (_cut_exponential(params.mean_delay, params.delay_cut, rng) for _ in range(count))
    return [min(round(draw * MS), limit) for draw in draws]


def draw_spacings_ms(params: NetworkParameters, rng: Randomness, count: int) -> list[int]:
    """The pieces into which count - 1 uniform points cut `sum_of_spacings_ms`; their sum is exact."""
    total = sum_of_spacings_ms(params, count)
    limit = max_delay_ms(params)
    while True:
        cuts = sorted(int(rng.uniform() * total) for _ in range(count - 1))
        pieces = [after - before for before, after in zip([0, *cuts], [*cuts, total], strict=True)]
        if max(pieces) <= limit:
            return pieces


def sum_of_spacings_ms(params: NetworkParameters, count: int) -> int:
    """The sum of `count` spacings: six add up to `delay_sum` means, others in proportion."""
    share = min(params.delay_sum / QUERY_DELAYS, params.delay_cut)  # above the cut no pieces would fit
    return int(share * count * params.mean_delay * MS)


LAWS = {"exponential": draw_exponential_ms, "spacings": draw_spacings_ms}


def max_delay_ms(params: NetworkParameters) -> int:
    """The longest delay in whole milliseconds that a mix accepts in a routing command."""
    return int(params.delay_max * MS)


def draw_courier_delay(params: NetworkParameters, rng: Randomness) -> float:
    """Seconds for which a courier or proxy keeps one blob or answer: exponential, cut like mix delays."""
    return _cut_exponential(params.mean_delay * params.courier_delay_fraction, params.delay_cut, rng)


def draw_loop_count(params: NetworkParameters, rng: Randomness) -> int:
    """How many loops of its own a mix adds at a held tick: geometric, mean `held_loops`."""
    return rng.geometric(params.held_loops)


def _cut_exponential(mean: float, cut: float, rng: Randomness) -> float:
    """An exponential variate, drawn again while above `cut` means: no pile-up at the cut itself."""
    while True:
        value = rng.exponential(mean)
        if value <= cut * mean:
            return value
