"""Own profiles and those of contacts, the address book and its rules."""

from __future__ import annotations

import pytest
from agent_world import PARAMS, QUORUM, Desk, Homes, crash

from mixmail.agent.commands import AddContact, CreateIdentity, RemoveContact, RenameContact, SendMail
from mixmail.agent.events import ContactsChanged
from mixmail.boxes.query import Answer, QueryOp
from mixmail.boxes.record import EMPTY_FIELD, Record
from mixmail.boxes.status import Status
from mixmail.errors import UserError
from mixmail.mail.address import Address
from mixmail.mail.identity import week_of
from mixmail.mail.inbox import inbox_key
from mixmail.mail.profile import open_profile, profile_key
from mixmail.params import DAY, day_of
from mixmail.testing import MemoryStore


@pytest.fixture
def homes() -> Homes:
    return Homes()


@pytest.fixture
def bob(homes: Homes) -> Desk:
    desk = Desk(homes, "bob")
    assert desk.run(200, desk.published)
    return desk


@pytest.fixture
def alice(homes: Homes, bob: Desk) -> Desk:
    desk = Desk(homes, "alice", now=bob.now)
    desk.command(AddContact(bob.address, "Bob"))
    return desk


def found(desk: Desk, contact: str) -> bool:
    return desk.agent.state.contacts[contact].profile is not None


def codes(desk: Desk, *commands: object) -> list[str]:
    out = []
    for command in commands:
        with pytest.raises(UserError) as caught:
            desk.command(command)  # type: ignore[arg-type]
        out.append(caught.value.code)
    return out


def test_a_profile_stands_in_both_places_of_this_week(bob: Desk) -> None:
    address, week = Address.parse(bob.address), week_of(day_of(bob.now))
    for kind in (0, 1):
        record = bob.homes.store.get(profile_key(address, week, kind))
        assert record is not None
        profile = open_profile(address, record, week, kind)
        assert profile.name == "bob"
        assert profile.inbox_salt == bob.agent.state.people[bob.address].inboxes[-1].salt
        assert profile.prekey.raw == bob.agent.state.people[bob.address].prekeys[week].private.public.raw


def test_a_profile_is_written_until_the_quorum_has_it(homes: Homes) -> None:
    homes.acks = QUORUM - 1
    desk = Desk(homes, "carol")
    assert not desk.run(100, desk.published)
    homes.acks = QUORUM
    assert desk.run(100, desk.published)
    written = homes.asked.count(QueryOp.WRITE)
    desk.run(40)
    assert homes.asked.count(QueryOp.WRITE) > written, "cover goes on"
    assert not any(event.real for event in desk.events[-40:] if getattr(event, "kind", "") == "write")


@pytest.mark.parametrize("taken", [(), (0,), (1,)])
def test_a_contact_is_found_in_either_place(alice: Desk, bob: Desk, taken: tuple[int, ...]) -> None:
    week = week_of(day_of(bob.now))
    for kind in taken:
        del bob.homes.store._records[profile_key(Address.parse(bob.address), week, kind)]
    assert alice.run(300, lambda: found(alice, bob.address))
    contact = alice.agent.state.contacts[bob.address]
    assert contact.profile is not None and contact.profile.name == "bob"
    assert contact.profile_week == week
    assert ContactsChanged(bob.address) in alice.events
    assert alice.tables["contacts"][(bob.address,)]["profile"] == contact.profile_raw


def test_a_contact_is_found_in_last_weeks_place_as_well(alice: Desk, bob: Desk) -> None:
    later = alice.now + 7 * DAY
    alice = Desk(alice.homes, "alice", alice.tables, later)
    assert alice.run(300, lambda: alice.agent._people.next_lookup(alice.now) is None)
    mail, eml = alice.mail("hello\n")
    alice.command(SendMail(bob.address, alice.address, eml))
    assert alice.row(mail)["note"] == "looking up the address"
    assert alice.run(300, lambda: found(alice, bob.address))
    assert alice.agent.state.contacts[bob.address].profile_week == week_of(day_of(bob.now))
    assert alice.row(mail)["parts"] == 1, "sealed as soon as the profile is here"


@pytest.mark.parametrize("fake", ["other's", "changed", "other kind", "lost"])
def test_only_the_contacts_own_profile_counts(alice: Desk, bob: Desk, fake: str) -> None:
    task = alice.next_of(QueryOp.READ)
    week = week_of(day_of(alice.now))
    key = task.field(bytes(32))[:32]
    good = bob.homes.store.get(key)
    assert good is not None and key == profile_key(Address.parse(bob.address), week, 0)
    answer: Answer | None
    match fake:
        case "other's":
            own = Desk(Homes(), "mallory")
            assert own.run(200, own.published)
            record = own.homes.store.get(profile_key(Address.parse(own.address), week, 0))
        case "changed":
            raw = good.pack()
            record = Record.parse(raw[:5_000] + bytes([raw[5_000] ^ 1]) + raw[5_001:])
        case _:
            record = bob.homes.store.get(profile_key(Address.parse(bob.address), week, 1))
    assert record is not None
    answer = None if fake == "lost" else Answer(Status.OK, 2, 3, record.pack())
    alice.end(task, answer)
    assert not found(alice, bob.address)
    assert alice.run(300, lambda: found(alice, bob.address)), "asked again"


def test_lost_look_ups_neither_leave_the_place_out_nor_slow_down(alice: Desk, bob: Desk) -> None:
    assert alice.run(2_000, lambda: alice.published() and not alice.agent._read_backs._waiting)
    alice.command(RemoveContact(bob.address))
    alice.command(AddContact(bob.address, "Bob"))
    places = set()
    for _ in range(30):
        task = alice.next_of(QueryOp.READ)
        places.add(task.field(bytes(32))[:32])
        alice.end(task, None)
    assert len(places) == 1
    assert alice.run(100, lambda: found(alice, bob.address))


def test_who_has_no_profile_is_looked_up_in_all_places_and_ever_more_rarely(alice: Desk, bob: Desk) -> None:
    alice.homes.store = MemoryStore()
    asked = []
    for _ in range(1_000):
        task = alice.slot()
        if task.real and task.op is QueryOp.READ:
            asked.append((alice.now, task.field(bytes(32))[:32]))
        alice.end(task, alice.homes.answer(task, alice.now))
    assert len({key for _, key in asked[:4]}) == 4, "two sub-kinds, in this week's place and the last one's"
    first, last = asked[8][0] - asked[0][0], asked[-1][0] - asked[-9][0]
    assert last > 2 * first


def test_the_rules_of_the_address_book(alice: Desk, bob: Desk) -> None:
    assert codes(
        alice,
        AddContact(bob.address, "Bob again"),
        AddContact(" " + bob.address.upper() + "\n", "Bob again"),
        RenameContact("nobody", "x"),
        RenameContact(bob.address, "  "),
        RemoveContact("nobody"),
        CreateIdentity(" "),
        CreateIdentity("x" * 65),
    ) == ["known-contact", "known-contact", "unknown-contact", "name", "unknown-contact", "name", "name"]
    alice.command(RenameContact(bob.address, " Robert "))
    assert alice.tables["contacts"][(bob.address,)]["name"] == "Robert"
    alice.command(RemoveContact(bob.address))
    assert alice.tables["contacts"] == {}
    assert alice.agent.state.contacts == {}
    assert alice.events[-1] == ContactsChanged(bob.address)


def conversation(alice: Desk, bob: Desk) -> None:
    mail, eml = alice.mail("hello\n")
    alice.command(SendMail(bob.address, alice.address, eml))
    assert alice.run(300, lambda: not alice.agent.state.outbox)
    bob.run(int((alice.now - bob.now) / PARAMS.slot))
    assert bob.run(300, lambda: bob.inbox() == ["hello\n"])
    _, eml = bob.mail("hello yourself\n", bytes.fromhex(mail))
    bob.command(SendMail(alice.address, bob.address, eml))
    assert bob.run(300, lambda: not bob.agent.state.outbox)
    alice.run(int((bob.now - alice.now) / PARAMS.slot))


def test_a_removed_contact_is_read_no_more(alice: Desk, bob: Desk) -> None:
    conversation(alice, bob)
    (session,) = alice.agent.state.sessions.values()
    task = alice.agent._fetcher._read_session(session, polled=False)
    alice.inbox()
    alice.command(RemoveContact(bob.address))
    assert alice.agent.state.sessions == {} and alice.tables["sessions"] == {}
    before = len(alice.points), alice.inbox()
    alice.end(task, alice.homes.answer(task, alice.now))  # its box was on the way
    assert (len(alice.points), alice.inbox()) == before
    alice.run(100)
    assert crash(alice).agent.state.sessions == {}


def test_a_look_up_for_a_removed_contact_does_not_touch_the_new_one(alice: Desk, bob: Desk) -> None:
    task = alice.next_of(QueryOp.READ)
    alice.command(RemoveContact(bob.address))
    alice.command(AddContact(bob.address, "Robert"))
    alice.end(task, alice.homes.answer(task, alice.now))
    assert alice.tables["contacts"][(bob.address,)]["name"] == "Robert"
    assert alice.run(300, lambda: found(alice, bob.address))
    assert alice.tables["contacts"][(bob.address,)]["name"] == "Robert"


def test_a_stranger_who_writes_becomes_a_contact(alice: Desk, bob: Desk) -> None:
    conversation(alice, bob)
    contact = bob.agent.state.contacts[alice.address]
    assert contact.name == "somebody", "as the mail's From says"
    assert bob.tables["contacts"][(alice.address,)]["name"] == "somebody"


def test_inboxes_come_with_the_day_and_prekeys_with_the_week(bob: Desk) -> None:
    first = bob.agent.state.people[bob.address]
    oldest = first.inboxes[0]
    desk = bob
    for day in range(1, 45):
        desk = Desk(desk.homes, "later", desk.tables, bob.now + day * DAY)
        person = desk.agent.state.people[bob.address]
        assert person.inboxes[-1].day == day_of(desk.now)
        assert len({inbox.salt for inbox in person.inboxes}) == len(person.inboxes)
        kept = desk.now - 37 * DAY
        assert all(week >= week_of(day_of(kept)) for week in person.prekeys)
        assert week_of(day_of(desk.now)) in person.prekeys
    assert oldest.salt not in {inbox.salt for inbox in person.inboxes}
    assert len(desk.tables["inboxes"]) == len(person.inboxes) == PARAMS.mail_class + PARAMS.prekey_days + 1
    assert len(desk.tables["prekeys"]) == len(person.prekeys) <= 7
    assert desk.run(300, desk.published)
    address, week = Address.parse(bob.address), week_of(day_of(desk.now))
    record = desk.homes.store.get(profile_key(address, week, 0))
    assert record is not None
    salt = open_profile(address, record, week, 0).inbox_salt
    assert salt == person.inboxes[-1].salt
    assert inbox_key(address, salt) != inbox_key(address, oldest.salt)


def test_an_agent_that_stays_up_renews_at_midnight(bob: Desk) -> None:
    before = bob.agent.state.people[bob.address].inboxes[-1]
    # Asleep until after midnight: the first slot is lost, the next one begins the new day.
    bob.now = (day_of(bob.now) + 1) * DAY + 10.0
    bob.carry_out(bob.agent.handle_timeout(bob.now))
    bob.run(4)
    after = bob.agent.state.people[bob.address].inboxes[-1]
    assert after.day == before.day + 1 and after.salt != before.salt
    assert (bob.address, after.salt) in bob.tables["inboxes"]
    assert bob.run(300, bob.published)


def test_an_answer_without_a_record_is_none(alice: Desk, bob: Desk) -> None:
    task = alice.next_of(QueryOp.READ)
    alice.end(task, Answer(Status.OK, 2, 3, EMPTY_FIELD))
    assert not found(alice, bob.address)
