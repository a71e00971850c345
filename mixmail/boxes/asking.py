"""How much work a record needs (docs/protocol/store.md, "Asked work").

A home asks more the fuller it is, and says so in its descriptor: its claim.  A writer does one bit more than
the median of what the homes of its key claim, so that a claim which rises while the record is on its way
does not matter, and one which lies does not either.
"""

from __future__ import annotations

from collections.abc import Sequence

from mixmail.boxes.record import RecordType
from mixmail.params import NetworkParameters


def floor(params: NetworkParameters, type: RecordType) -> int:
    """The bits below which no home takes a record of this type."""
    return params.stranger_bits if type is RecordType.QUEUE else params.box_bits


def ceiling(params: NetworkParameters, type: RecordType) -> int:
    """The bits above which no home asks and no writer goes."""
    return max(floor(params, type), params.asked_bits_max)


def target(params: NetworkParameters, fill: float) -> int:
    """What a home should ask at this share of its quota: evenly more from `asked_from_fill` on until it is
    full."""
    share = (fill - params.asked_from_fill) / (1.0 - params.asked_from_fill)
    low, high = params.box_bits, ceiling(params, RecordType.BOX)
    return low + int(min(1.0, max(0.0, share)) * (high - low))


def next_claim(params: NetworkParameters, fill: float | None, before: int, new_day: bool) -> int:
    """The claim of the next descriptor after the claim `before`: towards `target`, up by one a day at most.

    `fill` None: not known yet, as after a start; then nothing changes.
    """
    before = min(max(before, params.box_bits), ceiling(params, RecordType.BOX))
    if fill is None:
        return before
    return min(target(params, fill), before + (1 if new_day else 0))


def needed(params: NetworkParameters, type: RecordType, claim: int) -> int:
    """The bits that a home of this claim needs to see."""
    return min(max(floor(params, type), claim), ceiling(params, type))


def wanted(params: NetworkParameters, type: RecordType, claims: Sequence[int]) -> int:
    """The bits that a writer does for homes of these claims; none where most homes ask for none."""
    claimed = sorted(needed(params, RecordType.BOX, claim) for claim in claims)
    median = claimed[len(claimed) // 2] if claimed else params.box_bits
    return needed(params, type, median + 1 if median else 0)
