"""A hundred nodes, five hundred mails, frames lost, machines crashing: every mail arrives, once."""

from __future__ import annotations

import dataclasses
from collections import Counter

from people import User
from truth import Truth

from mixmail.lab.network import LabNetwork, Links
from mixmail.lab.scenario import LAB
from mixmail.lab.standins import stand_in_crypto
from mixmail.randomness import Randomness
from mixmail.testing import SeededRandomness

SEED = 11
NODES = 100
ROUNDS = ("first", "answer", "second", "third", "fourth")  # of each of a hundred conversations
CRASHES = 12

# Few slots and eager reading, as what is looked at is that nothing is lost: the laws of the shipped
# presets are looked at elsewhere.
HUNDRED = dataclasses.replace(
    LAB,
    name="hundred",
    slot=1.0,
    rto=3.0,
    home_timeout=0.3,
    hot_weight=3 / 8,
    hot_max=2,
    inbox_weight=1 / 4,
    follow_wait_slots=2.0,
    gossip_interval=900.0,
)


def pairs_of(rng: Randomness) -> list[tuple[int, int]]:
    """Everybody begins one conversation and is drawn into another one."""
    ring = rng.sample(range(NODES), NODES)
    return [(ring[place], ring[(place + 1) % NODES]) for place in range(NODES)]


def test_five_hundred_mails_among_a_hundred_nodes_arrive_once_each() -> None:
    rng = SeededRandomness(f"hundred {SEED}")
    with stand_in_crypto(SEED):
        lab = LabNetwork(HUNDRED, nodes=NODES, seed=SEED, links=Links(0.005, 0.05, loss=0.02), trace=False)
        lab.start()
        truth = Truth(lab)
        users: list[User] = []
        for number in range(NODES):
            User(lab, number, f"Person {number}", users).create()
        lab.run(15.0)  # the profiles go out
        pairs = pairs_of(rng)
        written: Counter[tuple[int, str]] = Counter()
        talks = dict.fromkeys(range(len(pairs)), 0)  # conversation -> rounds written so far

        def text_of(talk: int, round_: int) -> str:
            return f"conversation {talk}, {ROUNDS[round_]} mail\n"

        def go_on() -> None:
            """Whoever has got the last mail of a conversation writes the next one."""
            for talk, rounds in list(talks.items()):
                first, second = pairs[talk]
                writer, reader = (first, second) if rounds % 2 == 0 else (second, first)
                if rounds and text_of(talk, rounds - 1) not in users[writer].texts():
                    continue
                # The last three go out at once, in an open session.
                for round_ in range(rounds, len(ROUNDS)) if rounds == 2 else [rounds]:
                    text = text_of(talk, round_)
                    users[writer].write(users[reader].address, text)
                    written[reader, text] += 1
                    talks[talk] = round_ + 1
                if talks[talk] == len(ROUNDS):
                    del talks[talk]

        crashed: set[int] = set()
        for step in range(120):
            go_on()
            if 4 <= step < 4 + CRASHES:
                # In turn one who has mail on the way out and one to whom mail is on the way.
                senders = [user.host.number for user in users if user.outbox()]
                readers = [pairs[talk][rounds % 2] for talk, rounds in talks.items()]
                number = rng.choice(senders if step % 2 else readers)
                crashed.add(number)
                lab.crash(lab.hosts[number])
            lab.run(3.0)
            users[0].restart_the_dead()
            if not talks and not any(user.outbox() for user in users) and _total(users) == len(written):
                break
        lab.run(5.0)

    arrived = Counter((user.host.number, text) for user in users for text in user.texts())
    assert len(written) == NODES * len(ROUNDS) == 500
    assert arrived == written
    assert truth.claims["stored"] >= 500
    assert len(crashed) >= 8
    assert not any(user.outbox() for user in users)


def _total(users: list[User]) -> int:
    return sum(len(user.texts()) for user in users)
