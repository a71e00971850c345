"""Statistical disclosure: contacts come out soon without delays or cover, and not with what ships."""

from __future__ import annotations

import dataclasses

from mixmail.lab.anonymity.contact import Setting
from mixmail.lab.anonymity.disclosure import Disclosure, People, disclose
from mixmail.params import MAIL

PEOPLE = People(users=100, contacts=4)
SPACINGS = dataclasses.replace(MAIL, delay_law="spacings")
NO_DELAYS = dataclasses.replace(SPACINGS, mean_delay=0.0)


def watch(setting: Setting, rounds: int) -> Disclosure:
    done = disclose(setting, PEOPLE, targets=9, rounds=rounds, seed=1, boxes=20_000)
    print(done.median, done.expected, done.box_information)
    return done


def test_without_delays_the_contacts_are_disclosed_about_when_the_signal_says() -> None:
    done = watch(Setting(NO_DELAYS), 20_000)
    assert done.median < 2_000
    assert done.expected / 3 < done.median < 3 * done.expected


def test_without_delays_and_cover_the_contacts_are_disclosed_soon_and_each_box_tells_more() -> None:
    done = watch(Setting(NO_DELAYS, share=PEOPLE.real_share(MAIL)), 20_000)
    assert done.median < 2_000
    assert done.box_information > 2 * watch(Setting(NO_DELAYS), 1_000).box_information


def test_with_spacings_nobody_is_disclosed_in_twenty_thousand_rounds_but_cover_off_tells_far_more() -> None:
    done = watch(Setting(SPACINGS), 20_000)
    assert (done.found > 20_000).all()
    assert done.expected > 1_000_000
    without_cover = watch(Setting(SPACINGS, share=PEOPLE.real_share(MAIL)), 20_000)
    assert without_cover.box_information > 100 * done.box_information
