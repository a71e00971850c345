"""How fast a lab runs: virtual hours simulated in one real minute, on one core.

200 nodes with their agents at the `mail` preset, every slot filled, no mail: what a lab costs before
anything happens in it.  Only the identity puzzle is made cheap; 200 real ones would take an hour.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable

from mixmail.params import MAIL, NetworkParameters

from .network import LabNetwork

NODES = 200
_PARTS = 10
WARM_UP = 1_200.0
"""Virtual seconds until pools, homes and what is remembered of boxes are about as full as they stay."""

PARAMETERS: NetworkParameters = dataclasses.replace(
    MAIL, name="lab mail", puzzle_memory=8_192, puzzle_passes=1, puzzle_bits=0
)


def measure(
    minutes: float,
    clock: Callable[[], float],
    nodes: int = NODES,
    warm_up: float = WARM_UP,
    say: Callable[[str], None] = lambda text: None,
    seed: int = 1,
) -> float:
    """Virtual hours in one minute of `clock` (seconds of the processor).

    The median of ten equal parts of `minutes` virtual minutes: what else the machine does for a while
    shall not count.
    """
    started = clock()
    lab = LabNetwork(PARAMETERS, nodes, seed, trace=False)
    lab.start()
    say(f"{nodes} nodes ready after {clock() - started:.1f} s")
    lab.run(warm_up)
    say(f"warm after {clock() - started:.1f} s")
    frames, rates = lab.frames, []
    for _ in range(_PARTS):
        started = clock()
        lab.run(60.0 * minutes / _PARTS)
        rates.append(minutes / _PARTS / (clock() - started))
    say(
        f"{minutes:g} virtual minutes, {lab.frames - frames} frames: {statistics.median(rates):.2f} h/min, "
        f"parts from {min(rates):.2f} to {max(rates):.2f}"
    )
    return statistics.median(rates)
