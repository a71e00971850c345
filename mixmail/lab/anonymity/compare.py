"""The settings that stand beside the shipping one: other pools, laws, routes and schedules, bad days, and
what happens without delays or cover."""

from __future__ import annotations

import dataclasses

import numpy as np

from mixmail.params import MAIL, NetworkParameters

from .figures import WINDOW, Seen
from .flow import Setting

HOSTILE = (0.1, 0.2, 0.3)
COVER_OFF = 1 / 60  # a query each half hour: somebody who writes and reads a little
NO_DELAY: NetworkParameters = dataclasses.replace(MAIL, name="no delay", mean_delay=0.0, pool_min=0)
SPACINGS: NetworkParameters = dataclasses.replace(MAIL, delay_law="spacings")
EXPONENTIAL: NetworkParameters = dataclasses.replace(MAIL, delay_law="exponential")


def settings(base: Setting) -> dict[str, Setting]:
    """Name -> setting; each changes one thing of `base`."""
    middle = base.seconds - WINDOW / 2
    return {
        "poisson": dataclasses.replace(base, strategy="poisson"),
        "binomial_pool": dataclasses.replace(base, strategy="binomial_pool"),
        "exponential": dataclasses.replace(base, params=EXPONENTIAL),
        "spacings": dataclasses.replace(base, params=SPACINGS),
        "free_routes": dataclasses.replace(base, free_routes=True),
        "poisson_schedule": dataclasses.replace(base, poisson_schedule=True),
        "epoch_turn": dataclasses.replace(base, turn_at=base.seconds - 2 * WINDOW),
        "restart": dataclasses.replace(base, restart_at=middle),
        "no_delay": dataclasses.replace(base, params=NO_DELAY),
        "cover_off": dataclasses.replace(base, active=COVER_OFF),
    }


def after(seen: Seen, moment: float) -> Seen:
    """Only the messages that left after `moment`."""
    late = seen.when > moment
    parts = {
        item.name: getattr(seen, item.name)[late]
        for item in dataclasses.fields(seen)
        if isinstance(getattr(seen, item.name), np.ndarray)
    }
    return Seen(**parts, surprises=seen.surprises)


def summary(seen: Seen) -> str:
    """One line of the figures that matter most."""
    found = seen.figures()
    return (
        f"n {seen.n}, packet min {found['packet_entropy_min_bits']:.2f}, "
        f"query min {found['query_entropy_min_bits']:.2f}, "
        f"sender min {found['sender_entropy_min_bits']:.2f}, "
        f"worst guess {found['worst_guess']:.4f}, epsilon {found['epsilon']:.2f}"
    )
