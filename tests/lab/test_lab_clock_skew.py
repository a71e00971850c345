"""Clocks that differ: ten minutes do not matter, two hours are refused and said."""

from __future__ import annotations

import dataclasses

import pytest

from mixmail.lab.network import START, LabNetwork
from mixmail.lab.scenario import LAB, add_person, arrived, send
from mixmail.lab.standins import stand_in_crypto

TEN_MINUTES, TWO_HOURS = 600.0, 7_200.0
SEED = 11


def network(skew: float, seconds_to_turn: float | None = None) -> LabNetwork:
    """Twelve hosts, the first one's clock wrong; the epoch of the others turns after so many seconds."""
    params = LAB
    if seconds_to_turn is not None:
        params = dataclasses.replace(LAB, epoch=int((START + seconds_to_turn) / 10))
    lab = LabNetwork(params, nodes=12, seed=SEED)
    lab.hosts[0].skew = skew
    lab.start()
    return lab


def there_and_back(lab: LabNetwork) -> None:
    alice, bob = add_person(lab, 0, "Alice"), add_person(lab, 1, "Bob")
    send(lab, alice, bob, "A", "From a clock that differs.\n")
    assert lab.run(200.0, until=lambda: bool(arrived(bob))), f"seed {SEED}: not arrived"
    (mail,) = arrived(bob)
    send(lab, bob, alice, "B", "To it.\n", in_reply_to=mail.message_id)
    assert lab.run(200.0, until=lambda: bool(arrived(alice))), f"seed {SEED}: no answer"


@pytest.mark.parametrize("skew", [TEN_MINUTES, -TEN_MINUTES])
def test_mail_goes_through_with_a_clock_ten_minutes_off(skew: float) -> None:
    with stand_in_crypto(SEED):
        lab = network(skew)
        there_and_back(lab)
    assert all(host.clocks is not None and host.clocks.warning() == "" for host in lab.hosts)


def epochs_apart(lab: LabNetwork) -> int:
    """By how many epochs the first host is ahead of the others."""
    hers, ours = (int(lab.time_of(host) // lab.params.epoch) for host in lab.hosts[:2])
    return hers - ours


def test_a_clock_that_is_in_the_next_epoch_already_works() -> None:
    with stand_in_crypto(SEED):
        lab = network(TEN_MINUTES, seconds_to_turn=500.0)
        assert epochs_apart(lab) == 1
        there_and_back(lab)
        assert epochs_apart(lab) == 1


def test_a_clock_that_is_still_in_the_old_epoch_works() -> None:
    with stand_in_crypto(SEED):
        lab = network(-TEN_MINUTES, seconds_to_turn=-300.0)
        assert epochs_apart(lab) == -1
        there_and_back(lab)
        assert epochs_apart(lab) == -1


@pytest.mark.parametrize("skew", [TWO_HOURS, -TWO_HOURS])
def test_two_hours_are_refused_and_the_one_who_is_wrong_is_told(skew: float) -> None:
    with stand_in_crypto(SEED):
        lab = network(skew)
        alice, bob = add_person(lab, 0, "Alice"), add_person(lab, 1, "Bob")
        carol = add_person(lab, 2, "Carol")
        send(lab, alice, bob, "A", "From a clock two hours off.\n")
        send(lab, carol, bob, "C", "From a right one.\n")
        assert lab.run(200.0, until=lambda: bool(arrived(bob)))
    assert [mail.subject for mail in arrived(bob)] == ["C"]
    said = "Your clock differs from most of the network by about 2 h: set it right."
    assert alice.clocks is not None and alice.clocks.warning().startswith(said)
    assert all(host.clocks is not None and host.clocks.warning() == "" for host in lab.hosts[1:])
    assert alice.node is not None and len(alice.node.view.storage_ids(lab.time_of(alice))) == 1
