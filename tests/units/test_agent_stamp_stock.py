"""Stamps of the boxes to come are solved while the agent has nothing else to compute."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from agent_world import PARAMS, Desk, Homes
from test_agent_more_work import DearHomes, send

from mixmail.agent.commands import AddContact, ArchiveIdentity
from mixmail.boxes import stamp
from mixmail.boxes.record import Record, RecordType
from mixmail.effects import Offload
from mixmail.params import DAY

ASKING = dataclasses.replace(PARAMS, box_bits=1, asked_bits_max=4, stamp_memory=8_192)


class Counted(Desk):
    """Counts the jobs that search for stamps."""

    searches = 0

    def carry_out(self, effects: list[Any]) -> None:
        self.searches += sum(isinstance(effect, Offload) and effect.lane == "cpu" for effect in effects)
        super().carry_out(effects)


@pytest.fixture
def alice() -> Counted:
    """She has an open conversation with Bob and one stamp ready for it."""
    homes = DearHomes()
    bob = Desk(homes, "bob", params=ASKING)
    assert bob.run(300, bob.published)
    desk = Counted(homes, "alice", now=bob.now, params=ASKING)
    desk.command(AddContact(bob.address, "Bob"))
    assert desk.run(300, lambda: desk.agent.state.contacts[bob.address].profile is not None)
    send(desk, bob.address, "the first")
    assert desk.run(300, lambda: not desk.agent.state.outbox)
    desk.run(20)
    return desk


def next_key(desk: Desk) -> bytes:
    (session,) = desk.agent.state.sessions.values()
    assert session.write_cap is not None
    return session.write_cap.read_cap().box_id()


def ready(desk: Desk) -> dict[bytes, bytes]:
    return desk.agent._context.ready_stamps


def contact(desk: Desk) -> str:
    (only,) = desk.agent.state.contacts
    return only


def test_the_next_mail_leaves_under_the_stamp_that_is_ready(alice: Counted) -> None:
    key = next_key(alice)
    assert list(ready(alice)) == [key]
    made, before = ready(alice)[key], alice.searches
    alice.run(50)
    assert alice.searches == before, "one is enough"
    mail = send(alice, contact(alice), "short")
    assert alice.searches == before
    (part,) = (row for row in alice.tables["outgoing"].values() if row["mail"] == mail)
    record = Record.parse(part["record"])
    assert (record.key, record.stamp, part["state"]) == (key, made, "queued")
    assert stamp.check(alice.agent._context.network.hash, ASKING, record, 2)
    alice.run(2)
    assert list(ready(alice)) == [next_key(alice)] != [key], "and now there is one for the box after it"
    assert alice.searches > before


def refill(desk: Desk, now: float) -> None:
    """As in a slot at `now`."""
    desk.carry_out(desk.agent._stamps.refill(now))


def test_a_stamp_serves_the_week_after_its_own_and_is_then_made_anew(alice: Counted) -> None:
    key = next_key(alice)
    first = stamp.Stamp.parse(ready(alice)[key])
    (session,) = alice.agent.state.sessions.values()
    kept = []
    for day in range(30):
        session.last_traffic = now = alice.now + day * DAY
        refill(alice, now)
        found = stamp.Stamp.parse(ready(alice)[key])
        today = int(now // DAY)
        assert stamp.day_fits(found.day, RecordType.BOX, today)
        assert (found == first) == (today < first.day + 14), day
        kept.append(found == first)
    assert 7 < kept.count(True) < 15


def test_a_stamp_that_is_too_little_by_now_is_not_used(alice: Counted) -> None:
    key = next_key(alice)
    params = alice.agent._context.params
    day = stamp.monday(int(alice.now // DAY))
    ready(alice)[key] = stamp.Stamp(bytes(8), stamp.ALG_ARGON2ID, 1, day).pack()
    mail = send(alice, contact(alice), "short")
    (part,) = (row for row in alice.tables["outgoing"].values() if row["mail"] == mail)
    assert Record.parse(part["record"]).bits == 2
    assert stamp.check(alice.agent._context.network.hash, params, Record.parse(part["record"]), 2)


def test_no_work_is_done_for_old_conversations_and_archived_identities(alice: Counted) -> None:
    (session,) = alice.agent.state.sessions.values()
    refill(alice, session.last_traffic + ASKING.hot_age - 1)
    assert list(ready(alice)) == [next_key(alice)]
    refill(alice, session.last_traffic + ASKING.hot_age)
    assert ready(alice) == {}
    refill(alice, alice.now)
    assert list(ready(alice)) == [next_key(alice)]
    alice.command(ArchiveIdentity(alice.address, True))
    alice.run(3)
    assert ready(alice) == {}


def test_other_work_comes_first(alice: Counted) -> None:
    ready(alice).clear()
    jobs = alice.agent._context.jobs
    jobs.start("cpu", lambda: None, lambda result, now: [])
    alice.run(10)
    assert ready(alice) == {}
    jobs.clear()
    alice.run(3)
    assert list(ready(alice)) == [next_key(alice)]


def test_where_homes_ask_for_nothing_nothing_is_computed() -> None:
    homes = Homes()
    desk = Counted(homes, "ada")
    desk.command(AddContact(desk.address, "Me"))
    send(desk, desk.address, "to myself")
    assert desk.run(300, lambda: not desk.agent.state.outbox)
    desk.run(20)
    assert desk.agent.state.sessions and desk.searches == 0 and ready(desk) == {}
