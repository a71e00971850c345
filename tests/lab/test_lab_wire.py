"""The wire test in its short form: roles look the same, and what would give them away is found."""

from __future__ import annotations

import pytest

from mixmail.lab.wire import watch


def test_a_user_who_sends_one_who_reads_and_an_idle_one_look_the_same_on_the_wire() -> None:
    verdict = watch(7, 0.5)
    assert verdict.one_size and not verdict.told_apart, verdict
    assert verdict.frames_a_role > 5_000
    assert verdict.real_share > 0.02, "the senders send something"


@pytest.mark.parametrize("fault", ["cover_off", "slot_5_percent_longer"])
def test_cover_switched_off_and_longer_slots_are_found(fault: str) -> None:
    assert watch(8, 0.5, fault).told_apart
