"""What the observer knows of the delay laws: how long one mix keeps a packet, and three mixes together."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mixmail.mixing.delays import QUERY_DELAYS
from mixmail.params import NetworkParameters

Floats = NDArray[np.float64]
_GRID = 2_000


def survival(params: NetworkParameters, age: Floats) -> Floats:
    """P(a mix delay > age): the marginal law of one delay of a query.

    Spacings: n - 1 uniform points on [0, S] leave a gap longer than x with (1 - x/S)^(n-1) (David and
    Nagaraja, "Order Statistics", section 6.4).
    """
    age = np.maximum(age, 0.0)
    if params.mean_delay <= 0:
        return np.where(age > 0, 0.0, 1.0)
    if params.delay_law == "spacings":
        total = params.delay_sum * params.mean_delay
        one = np.maximum(1.0 - age / total, 0.0)
        power = one.copy()
        for _ in range(QUERY_DELAYS - 2):  # many times faster than the operator **
            power *= one
        return power
    cut = np.exp(-params.delay_cut)
    left = (np.exp(-age / params.mean_delay) - cut) / (1.0 - cut)
    return np.asarray(np.maximum(left, 0.0), dtype=np.float64)


def correction(params: NetworkParameters, waited: Floats) -> Floats:
    """How much likelier it is that three mixes together keep a packet `waited` seconds than three
    independent delays of the marginal law would.  1 for exponential delays, which are independent.

    Three of six spacings sum to S times Beta(3, 3).  So the observer uses that the delays of one query
    depend on each other, for each candidate as a whole, not hop by hop.
    """
    if params.delay_law != "spacings" or params.mean_delay <= 0:
        return np.ones_like(waited)
    total = params.delay_sum * params.mean_delay
    return np.asarray(np.interp(waited / total, np.arange(_GRID) / _GRID, _ratio(), left=0.0, right=0.0))


@lru_cache(maxsize=1)
def _ratio() -> Floats:
    share = (np.arange(_GRID) + 0.5) / _GRID
    one = 5.0 * (1.0 - share) ** 4
    three = np.convolve(np.convolve(one, one)[:_GRID], one)[:_GRID] / _GRID**2
    return np.asarray(30.0 * share**2 * (1.0 - share) ** 2 / np.maximum(three, 1e-12), dtype=np.float64)
