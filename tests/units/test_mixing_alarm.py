"""The blocking alarm by itself: armed, holding, giving up."""

from __future__ import annotations

import math

from mixmail.mixing.alarm import BlockingAlarm
from mixmail.params import MAIL

START = 1_800_000_000.0
T = MAIL.slot


def loops(alarm: BlockingAlarm, outcomes: str, start: float = START, way: float = 320.0) -> float:
    """Loops two slots apart; those marked `.` come back after `way` seconds.  When the last was due back."""
    end = start + (len(outcomes) - 1) * 2 * T + way
    moments = [(start + step * T, 2, 0) for step in range(int((end - start) / T))]
    for number, outcome in enumerate(outcomes):
        moments.append((start + number * 2 * T, 0, number))
        if outcome == ".":
            moments.append((start + number * 2 * T + way, 1, number))
    for moment, back, number in sorted(moments):
        assert not alarm.check(moment)
        if back < 2:
            (alarm.came_in if back else alarm.sent)(b"%f" % (start + number), moment)
    return end


def test_it_is_disarmed_until_an_own_loop_comes_in():
    alarm = BlockingAlarm(MAIL)
    assert alarm.holds_from == alarm.gives_up_at == math.inf
    for step in range(100):
        assert not alarm.check(START + step * T) and not alarm.holds(START + step * T)


def test_it_holds_five_slots_after_the_last_own_loop_and_the_next_one_ends_that():
    alarm = BlockingAlarm(MAIL)
    last = loops(alarm, "....")
    assert not alarm.holds(last + 5 * T - 0.1) and alarm.holds(last + 5 * T)
    alarm.sent(b"next", last)
    alarm.came_in(b"next", last + 7 * T)
    assert not alarm.holds(last + 7 * T) and alarm.holds(last + 12 * T)


def test_after_thirty_slots_it_gives_up_once_and_the_next_own_loop_arms_it_again():
    alarm = BlockingAlarm(MAIL)
    last = loops(alarm, "....")
    told = [step for step in range(1, 90) if alarm.check(last + step * T)]
    assert told == [30] and alarm.given_up
    assert not alarm.holds(last + 90 * T)
    alarm.sent(b"next", last + 90 * T)
    alarm.came_in(b"next", last + 91 * T)
    assert not alarm.given_up and alarm.holds(last + 96 * T)


def test_one_lost_loop_does_not_make_it_hold():
    alarm = BlockingAlarm(MAIL)
    last = loops(alarm, "........")
    longest = MAIL.loop_slots * T * (1 + MAIL.loop_jitter)  # between two loops
    for number in (b"lost", b"next"):
        alarm.sent(number, last)
    assert not alarm.holds(last + 2 * longest), "the one after the lost one is in time"
    alarm.came_in(b"next", last + 2 * longest)
    assert alarm.holds_from == last + 2 * longest + 5 * T, "and it goes on being armed"
    assert alarm.holds(last + 4.1 * longest + 5 * T), "two lost in a row are too many"


def test_where_many_loops_get_lost_it_is_disarmed_until_they_come_back_again():
    alarm = BlockingAlarm(MAIL)
    last = loops(alarm, "..x..x..x.")
    assert not alarm.holds(last + 10 * T), "three of ten got lost"
    again = loops(alarm, "." * 16, start=last)
    assert alarm.holds(again + 5 * T)


def test_loops_lost_to_an_attack_that_was_answered_do_not_disarm_it_for_the_next():
    alarm = BlockingAlarm(MAIL)
    last = loops(alarm, "........xxxxxx.")
    assert alarm.holds_from == last + 5 * T


def test_loops_that_overtake_each_other_within_a_slot_are_not_taken_for_lost():
    alarm = BlockingAlarm(MAIL)
    for number in range(8):
        alarm.sent(b"%d" % number, START + number)
    for number in reversed(range(8)):
        alarm.came_in(b"%d" % number, START + 320 + 8 - number)
    assert alarm.holds(START + 328 + 5 * T)


def test_a_machine_that_slept_does_not_hold_for_the_loops_it_did_not_hear():
    alarm = BlockingAlarm(MAIL)
    last = loops(alarm, "....")
    assert not alarm.check(last + 40 * T)
    assert not alarm.holds(last + 40 * T) and not alarm.given_up
