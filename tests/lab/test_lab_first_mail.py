"""One mail and its answer across twelve nodes on the virtual clock, by the code that ships."""

from __future__ import annotations

import pytest

from mixmail.lab.network import LabNetwork
from mixmail.lab.scenario import LAB, add_person, arrived, outbox_state, send
from mixmail.lab.standins import stand_in_crypto

SEEDS = [1, 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mail_and_its_answer_arrive(seed: int) -> None:
    lab = LabNetwork(LAB, nodes=12, seed=seed)
    lab.start()
    alice, bob = add_person(lab, 0, "Alice"), add_person(lab, 1, "Bob")
    mail = send(lab, alice, bob, "Hello", "Is anybody there?\n")
    assert lab.run(120.0, until=lambda: bool(arrived(bob))), f"seed {seed}: not arrived"
    (received,) = arrived(bob)
    assert received.subject == "Hello"
    assert received.text == "Is anybody there?\n"
    assert received.from_name == "Alice"
    send(lab, bob, alice, "Re: Hello", "Yes.\n", in_reply_to=received.message_id)
    assert lab.run(120.0, until=lambda: bool(arrived(alice))), f"seed {seed}: no answer"
    assert arrived(alice)[0].text == "Yes.\n"
    lab.run(1.0)
    assert outbox_state(alice, mail) == ("sent", "answered")


def test_a_mail_larger_than_a_box_comes_back_whole() -> None:
    with stand_in_crypto(3):
        _a_long_mail_and_its_answer()


def _a_long_mail_and_its_answer() -> None:
    lab = LabNetwork(LAB, nodes=12, seed=3)
    lab.start()
    alice, bob = add_person(lab, 0, "Alice"), add_person(lab, 1, "Bob")
    text = "".join(f"line {number}\n" for number in range(6_000))
    send(lab, alice, bob, "Long", text)
    assert lab.run(400.0, until=lambda: bool(arrived(bob))), "not arrived"
    assert arrived(bob)[0].text == text
    answer = text.upper()
    send(lab, bob, alice, "Re: Long", answer, in_reply_to=arrived(bob)[0].message_id)
    assert lab.run(400.0, until=lambda: bool(arrived(alice))), "no answer"
    assert arrived(alice)[0].text == answer
