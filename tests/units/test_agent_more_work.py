"""Homes that ask for more work than a record has: the agent says so, does it, and stops at the limit."""

from __future__ import annotations

import dataclasses

import pytest
from agent_world import PARAMS, Desk, Homes, crash

from mixmail.agent.commands import AddContact, RenameIdentity, SendMail
from mixmail.agent.events import MailState
from mixmail.agent.outbox import FULL_INBOX, NOTES
from mixmail.agent.queries import Task
from mixmail.boxes import stamp
from mixmail.boxes.query import Answer, QueryOp
from mixmail.boxes.record import EMPTY_FIELD, Record, RecordType
from mixmail.boxes.status import Status

LONG = "".join(f"a long mail, line {number}\n" for number in range(1_500))  # an entry and two boxes
ASKING = dataclasses.replace(PARAMS, box_bits=1, asked_bits_max=4, stamp_memory=8_192)
WRITES = (QueryOp.WRITE, QueryOp.QUEUE_ADD)


class DearHomes(Homes):
    """They take no record with fewer than `asked` bits, and say `status` then."""

    def __init__(self, asked: int = 0, status: Status = Status.BAD_STAMP) -> None:
        super().__init__()
        self.least = asked
        self.status = status
        self.seen: list[Record] = []

    def answer(self, task: Task, now: float) -> Answer:
        if task.op in WRITES:
            record = Record.parse(task.field(bytes(32)))
            self.seen.append(record)
            if record.bits < self.least:
                return Answer(self.status, 0, 0, EMPTY_FIELD)
        return super().answer(task, now)


def two_people(homes: DearHomes) -> tuple[Desk, Desk]:
    bob = Desk(homes, "bob", params=ASKING)
    assert bob.run(300, bob.published)
    alice = Desk(homes, "alice", now=bob.now, params=ASKING)
    alice.command(AddContact(bob.address, "Bob"))
    assert alice.run(300, lambda: alice.agent.state.contacts[bob.address].profile is not None)
    assert alice.run(300, alice.published)
    return alice, bob


def send(desk: Desk, to: str, text: str) -> str:
    mail, eml = desk.mail(text)
    desk.command(SendMail(to, desk.address, eml))
    return mail


def own_parts(desk: Desk) -> list[Record]:
    return [Record.parse(part["record"]) for part in desk.tables["outgoing"].values()]


@pytest.mark.parametrize("status", [Status.BAD_STAMP, Status.FULL])
def test_a_mail_that_needs_more_work_gets_it_bit_by_bit(status: Status) -> None:
    homes = DearHomes()
    alice, bob = two_people(homes)
    homes.least, homes.status = 4, status
    sealed = alice.now
    mail = send(alice, bob.address, LONG)
    before = {part.key: part for part in own_parts(alice)}
    homes.seen.clear()
    assert alice.run(400, lambda: not alice.agent.state.outbox), sealed
    assert alice.row(mail)["state"] == "stored"
    assert len(before) == 3
    for key, first in before.items():
        # one bit more than the homes claim, then one more for each refusal; nothing else changes
        tries = [one for one in homes.seen if one.key == key]
        assert sorted({one.bits for one in tries}) == [2, 3, 4]
        assert {one.with_stamp(first.stamp) for one in tries} == {first}
    notes = [event.note for event in alice.events if isinstance(event, MailState)]
    assert "the storage nodes ask for more proof of work: doing 4 bits, about 1 s of a core" in notes
    network = alice.agent._context.network.hash
    assert all(stamp.check(network, ASKING, part, 4) for part in own_parts(alice))
    bob.now = alice.now
    assert bob.run(400, lambda: bob.inbox() == [LONG])


def test_no_more_work_is_done_than_the_network_allows() -> None:
    homes = DearHomes()
    alice, bob = two_people(homes)
    homes.least = 99
    mail = send(alice, bob.address, "short")
    homes.seen.clear()
    alice.run(200)
    real = [one.bits for one in homes.seen if one.type is RecordType.QUEUE]
    assert max(real) == 4 and real.count(4) > 3
    assert alice.row(mail)["note"] == NOTES[Status.BAD_STAMP]
    homes.status = Status.FULL
    alice.run(50)
    assert alice.row(mail)["note"] == FULL_INBOX


def test_work_that_a_crash_interrupts_is_begun_again() -> None:
    homes = DearHomes()
    alice, bob = two_people(homes)
    homes.least = 4
    mail = send(alice, bob.address, "short")
    task = alice.next_of(QueryOp.QUEUE_ADD)
    alice.end(task, homes.answer(task, alice.now))
    (part,) = alice.tables["outgoing"].values()
    part["state"] = "stamping"  # as it is on disk until the work is done
    again = crash(alice)
    assert again.run(400, lambda: not again.agent.state.outbox)
    assert again.row(mail)["state"] == "stored"


def test_a_profile_that_needs_more_work_gets_it_too() -> None:
    homes = DearHomes(3)
    desk = Desk(homes, "ada", params=ASKING)
    assert desk.run(300, desk.published)
    profiles = [one for one in homes.seen if one.type is RecordType.MUTABLE]
    assert {one.bits for one in profiles} == {2, 3}
    desk.command(RenameIdentity(desk.address, "Ada L."))
    homes.seen.clear()
    assert desk.run(300, desk.published)
    assert len({one.seq for one in homes.seen if one.type is RecordType.MUTABLE}) >= 1


@pytest.mark.parametrize("status", [Status.EXISTS, Status.REFUSED, Status.EXPIRED, Status.TRY_LATER])
def test_what_is_refused_for_another_reason_costs_no_work(status: Status) -> None:
    homes = DearHomes()
    alice, bob = two_people(homes)
    homes.least, homes.status = 99, status
    send(alice, bob.address, "short")
    homes.seen.clear()
    alice.run(100)
    assert {one.bits for one in homes.seen if one.type is RecordType.QUEUE} == {2}
