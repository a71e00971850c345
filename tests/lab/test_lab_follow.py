"""A contact who follows packets: his posteriors are right, and shorter delays give him more."""

from __future__ import annotations

import dataclasses

from mixmail.lab.anonymity.figures import Study
from mixmail.lab.anonymity.flow import Setting
from mixmail.lab.anonymity.follow import Followed, follow, search
from mixmail.params import MAIL


def followed(mean_delay: float) -> Followed:
    params = dataclasses.replace(MAIL, delay_law="spacings", mean_delay=mean_delay)
    known = follow(Study(Setting(users=32, params=params, seconds=1_350.0), seed=1), messages=250)
    print(mean_delay, known.information, known.calibration)
    return known


def test_following_packets_gives_right_posteriors_and_finds_victims_sooner_when_delays_are_short() -> None:
    long, short = followed(60.0), followed(6.0)
    assert 0.8 < long.calibration < 1.2
    assert 0.8 < short.calibration < 1.2
    assert short.information > 5 * long.information
    soon, late = (search(known, victims=9, reads=3_000, seed=1).median for known in (short, long))
    print(soon, late)
    assert 3 * soon < late
