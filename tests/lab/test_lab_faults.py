"""What the network does to a mail: homes, owners and links that are away, and the rate that never changes."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict

import pytest
from people import User
from truth import Truth, holders

from mixmail.boxes.placement import ranking
from mixmail.boxes.record import Record
from mixmail.effects import Frame
from mixmail.lab.network import LabNetwork, Links
from mixmail.lab.scenario import LAB
from mixmail.lab.standins import stand_in_crypto
from mixmail.node.wire import Kind

EAGER = dataclasses.replace(LAB, name="eager", hot_weight=1 / 2, inbox_weight=1 / 4, follow_wait_slots=2.0)
LONG = "".join(f"a long mail, line {number}\n" for number in range(1_500))


@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_every_part_is_kept_by_at_least_the_quorum_of_its_homes(loss: float) -> None:
    with stand_in_crypto(21):
        lab = LabNetwork(EAGER, nodes=40, seed=21, links=Links(loss=loss), senders=2)
        lab.start()
        truth = Truth(lab)
        everybody: list[User] = []
        alice, bob = User(lab, 0, "Alice", everybody), User(lab, 1, "Bob", everybody)
        alice.create()
        bob.create()
        lab.crash(lab.hosts[17])  # one home is away all the time
        mail = alice.write(bob.address, LONG)
        assert lab.run(200.0, until=lambda: not alice.outbox())
    parts = [row for row in alice.host.tables["outgoing"].values() if row["mail"] == mail]
    assert len(parts) == 3 and truth.claims["stored"] > 0
    quorum = EAGER.quorum_of(len(lab.hosts))
    assert quorum == 5
    for row in parts:
        record = Record.parse(row["record"])
        homes = holders(lab, record)
        assert quorum <= row["acks"] <= len(homes)
        view = alice.host.agent._context.view  # type: ignore[union-attr]
        best = ranking(record.key, view.storage_ids(lab.now), EAGER.write_tries)
        assert {lab.hosts[number].node_id for number in homes} <= set(best)
        assert (alice.host.tables["mails"][(mail,)]["replicas"]) == EAGER.replicas


def test_what_too_few_homes_have_is_not_called_stored() -> None:
    """Most homes cannot be reached by the proxies: a write is acknowledged by fewer than the quorum, and
    said to be stored only when a later try has found enough."""
    with stand_in_crypto(25):
        few = Links(loss=0.85, lossy=frozenset({Kind.HOME_QUERY}))
        lab = LabNetwork(EAGER, nodes=40, seed=25, senders=2)
        lab.start()
        truth = Truth(lab)
        alice, bob = User(lab, 0, "Alice", []), User(lab, 1, "Bob", [])
        alice.create()
        bob.create()
        lab.run(10.0)
        alice.know(bob.address)
        assert lab.run(60.0, until=lambda: bool(alice.host.tables["contacts"][(bob.address,)]["profile"]))
        lab.links = few
        mail = alice.write(bob.address, LONG)
        assert lab.run(300.0, until=lambda: not alice.outbox())
    notes = {event.note for event in alice.host.events if getattr(event, "mail", "") == mail}
    assert any("storage nodes answered; trying again" in note for note in notes)
    assert truth.claims["stored"] == 1
    assert alice.host.tables["mails"][(mail,)]["stored_min"] >= EAGER.quorum_of(40)


def test_a_mail_waits_for_an_owner_who_is_down() -> None:
    with stand_in_crypto(22):
        lab = LabNetwork(EAGER, nodes=24, seed=22, senders=2)
        lab.start()
        Truth(lab)
        alice, bob = User(lab, 0, "Alice", []), User(lab, 1, "Bob", [])
        alice.create()
        bob.create()
        to = bob.address
        lab.run(10.0)  # his profile is out
        lab.crash(bob.host)
        alice.know(to)
        mail = alice.write(to, "are you there?\n")
        assert lab.run(150.0, until=lambda: not alice.outbox())
        assert alice.host.tables["mails"][(mail,)]["state"] == "stored"
        lab.run(10.0)
        assert bob.texts() == []
        lab.restart(bob.host)
        bob.wait(60.0, lambda: bob.texts() == ["are you there?\n"], "the mail")
        lab.run(5.0)
        assert bob.texts() == ["are you there?\n"]


def test_a_blackout_loses_nothing() -> None:
    with stand_in_crypto(23):
        lab = LabNetwork(EAGER, nodes=12, seed=23, senders=2)
        lab.start()
        truth = Truth(lab)
        everybody: list[User] = []
        alice, bob = User(lab, 0, "Alice", everybody), User(lab, 1, "Bob", everybody)
        alice.create()
        bob.create()
        alice.write(bob.address, "before\n")
        bob.wait(60.0, lambda: bool(bob.texts()), "the first mail")
        bob.wait(60.0, lambda: not alice.outbox(), "its acks")
        bob.write(alice.address, "answer\n", reply_to=bob.message_id("before\n"))
        lab.run(0.6)
        lab.links.loss = 1.0
        stored = truth.claims["stored"]
        later = alice.write(bob.address, LONG)
        lab.run(25.0)
        assert truth.claims["stored"] == stored
        row = alice.host.tables["mails"][(later,)]
        assert (row["folder"], row["state"], row["sent_parts"]) == ("outbox", "sent", 3)
        lab.links.loss = 0.0
        both = lambda: LONG in bob.texts() and alice.texts() == ["answer\n"]  # noqa: E731
        bob.wait(60.0, both, "what was on the way")
        bob.wait(60.0, lambda: not alice.outbox() and not bob.outbox(), "the acks")
        lab.run(5.0)
        assert bob.texts() == ["before\n", LONG]
        assert alice.texts() == ["answer\n"]


SLOTS = 400
BUSY, QUIET, EMPTY = 0, 2, 4  # writes much; an identity without mail; no identity at all


def test_one_query_leaves_in_every_slot_whoever_sends() -> None:
    with stand_in_crypto(24):
        lab = LabNetwork(LAB, nodes=12, seed=24, senders=6)
        sent: dict[tuple[int, float], int] = Counter()

        def observe(number: int, peer: bytes, frame: Frame) -> None:
            if frame.kind == Kind.PACKET:
                sent[number, lab.now] += 1

        lab.observers.append(observe)
        lab.start()
        everybody: list[User] = []
        people = [User(lab, number, f"Person {number}", everybody) for number in range(4)]
        for person in people:
            person.create()
        slot = LAB.slot
        begin = lab.now
        for round_ in range(10):  # mails and answers keep both of them busy all the time
            for _ in range(5):
                people[BUSY].write(people[1].address, LONG)
                people[1].write(people[BUSY].address, LONG)
            lab.run(begin + (round_ + 1) * SLOTS * slot / 10 - lab.now)
        assert people[BUSY].outbox(), "not busy until the end"

    first = int(begin // slot) + 1
    queries = [event for event in lab.trace if event.what.startswith("query ")]
    by_host: dict[int, list[float]] = defaultdict(list)
    kinds: dict[int, Counter[str]] = defaultdict(Counter)
    real: Counter[int] = Counter()
    for event in queries:
        assert sent[event.node, event.time] == 1, "a query is one packet"
        by_host[event.node].append(event.time / slot)
        kinds[event.node][event.what] += 1
        real[event.node] += event.number
    assert sorted(by_host) == list(range(6))
    for times in by_host.values():
        slots = Counter(int(time) for time in times)
        whole = range(first, first + SLOTS - 1)
        assert [slots[number] for number in whole] == [1] * len(whole)
    assert real[EMPTY] == real[EMPTY + 1] == 0 < real[QUIET] < real[BUSY]

    # The moment within the slot is uniform, and the kinds come 1 : 1 : 2, for all alike.
    for number, times in by_host.items():
        bins = Counter(int(time % 1 * 10) for time in times)
        assert chi_square([bins[i] for i in range(10)], [1 / 10] * 10) < 27.9, number  # p = 0.001
        found = [kinds[number][f"query {kind}"] for kind in ("write", "follow", "poll")]
        assert chi_square(found, [1 / 4, 1 / 4, 1 / 2]) < 13.8, number  # p = 0.001


def chi_square(found: list[int], shares: list[float]) -> float:
    """Pearson's statistic of counts against expected shares."""
    total = sum(found)
    return sum((n - total * p) ** 2 / (total * p) for n, p in zip(found, shares, strict=True))
