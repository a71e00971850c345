"""Repair in a whole network: mails outlive all the homes they were written to."""

from __future__ import annotations

import dataclasses

from people import User

from mixmail.boxes.record import Record
from mixmail.boxes.store import START
from mixmail.lab.network import LabNetwork
from mixmail.lab.scenario import LAB
from mixmail.lab.standins import stand_in_crypto
from mixmail.params import NODE_LIMITS
from mixmail.testing import MemoryStore

# Profiles are republished by their owners only: here both are away while the homes change.
EAGER = dataclasses.replace(LAB, name="eager", hot_weight=1 / 2, inbox_weight=1 / 4, follow_wait_slots=2.0)
NODES = 24
QUICK = dataclasses.replace(NODE_LIMITS, repair_sweep_slots=40.0, repair_per_slot=16.0)
SWEEP = QUICK.repair_sweep_slots * EAGER.slot
LONG = "".join(f"a long mail, line {number}\n" for number in range(1_500))


def test_a_mail_outlives_the_disks_of_all_homes_it_was_written_to() -> None:
    """Two nodes after the other two lose all they hold, until each has; nobody re-publishes meanwhile."""
    with stand_in_crypto(51):
        lab = LabNetwork(EAGER, NODES, seed=51, senders=2)
        lab.start()
        for host in lab.hosts:
            host.node._repair._limits = QUICK  # type: ignore[union-attr]
        alice, bob = User(lab, 0, "Alice", []), User(lab, 1, "Bob", [])
        alice.create()
        bob.create()
        to = bob.address
        lab.run(20.0)
        alice.know(to)
        lab.run(20.0)
        lab.crash(bob.host)
        mail = alice.write(to, LONG)
        assert lab.run(150.0, until=lambda: not alice.outbox())
        records = [Record.parse(row["record"]) for row in alice.host.tables["outgoing"].values()]
        assert len(records) == 3 and {row["mail"] for row in alice.host.tables["outgoing"].values()} == {mail}
        lab.run(12 * NODE_LIMITS.repair_forward_slots * EAGER.slot)
        lab.crash(alice.host)
        for host in (alice.host, bob.host):
            wipe(host.store)
        for first in range(2, NODES, 2):
            lab.run(2 * SWEEP)
            for host in lab.hosts[first : first + 2]:
                wipe(host.store)
        lab.run(2 * SWEEP)
        lab.restart(bob.host)
        bob.wait(120.0, lambda: bob.texts() == [LONG], "the mail")


def wipe(store: MemoryStore) -> None:
    for record in store.scan(START, 10_000):
        store.drop(record)
