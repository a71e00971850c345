"""Several own identities: renamed, archived, deleted, made again from their seed; one schedule for all."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pytest
from agent_world import PARAMS, Desk, Homes

from mixmail.agent.commands import (
    AddContact,
    ArchiveIdentity,
    CreateIdentity,
    DeleteIdentity,
    RenameIdentity,
    SendMail,
)
from mixmail.boxes.query import QueryOp, QueueRequest
from mixmail.boxes.record import Record, RecordType
from mixmail.effects import Offload
from mixmail.errors import UserError
from mixmail.mail.address import Address
from mixmail.mail.identity import week_of
from mixmail.mail.inbox import inbox_key
from mixmail.mail.profile import open_profile, profile_key
from mixmail.params import DAY, day_of


@pytest.fixture
def homes() -> Homes:
    return Homes()


@pytest.fixture
def desk(homes: Homes) -> Desk:
    """Somebody with one identity, published."""
    desk = Desk(homes, "ada")
    assert desk.run(200, desk.published)
    return desk


def profile_name(desk: Desk, address: str) -> str | None:
    """The name in the profile that stands in the network this week."""
    key = profile_key(Address.parse(address), week := week_of(day_of(desk.now)), 0)
    record = desk.homes.store.get(key)
    return None if record is None else open_profile(Address.parse(address), record, week, 0).name


def second(desk: Desk, name: str = "bea") -> str:
    """Another identity; its address."""
    before = set(desk.agent.state.people)
    desk.command(CreateIdentity(name))
    (new,) = set(desk.agent.state.people) - before
    return new


def inbox_keys(desk: Desk, address: str) -> set[bytes]:
    person = desk.agent.state.people[address]
    return {inbox_key(person.identity.address, inbox.salt) for inbox in person.inboxes}


def refused(desk: Desk, command: object) -> str:
    with pytest.raises(UserError) as caught:
        desk.command(command)  # type: ignore[arg-type]
    return caught.value.code


def restarted(desk: Desk) -> Desk:
    return Desk(desk.homes, "ada again", desk.tables, desk.now)


def test_another_name_is_published_and_kept(desk: Desk) -> None:
    desk.command(RenameIdentity(desk.address, " Ada L. "))
    assert desk.run(200, desk.published)
    assert profile_name(desk, desk.address) == "Ada L."
    assert restarted(desk).agent.state.people[desk.address].name == "Ada L."


@pytest.mark.parametrize("name", ["", "  ", "x" * 65])
def test_a_name_that_is_none_is_refused_and_the_old_one_stays(desk: Desk, name: str) -> None:
    assert refused(desk, RenameIdentity(desk.address, name)) == "name"
    assert desk.agent.state.people[desk.address].name == "ada"


def test_an_identity_that_is_not_here_is_said_to_be_unknown(desk: Desk) -> None:
    for command in (RenameIdentity("mix1x", "x"), ArchiveIdentity("mix1x", True), DeleteIdentity("mix1x")):
        assert refused(desk, command) == "unknown-identity"


def test_an_archived_identity_asks_and_writes_nothing_and_its_slots_are_cover(desk: Desk) -> None:
    desk.run(100)  # its profile has been read back
    desk.command(ArchiveIdentity(desk.address, True))
    real = 0
    for _ in range(300):
        task = desk.slot()
        real += task.real
        desk.end(task, desk.homes.answer(task, desk.now))
    assert real == 0
    again = restarted(desk)
    assert again.agent.state.people[desk.address].archived
    assert not any(again.slot().real for _ in range(100))


def test_a_profile_whose_stamp_is_found_after_archiving_does_not_leave(homes: Homes) -> None:
    desk = Desk(homes, "ada", params=dataclasses.replace(PARAMS, box_bits=1))
    assert desk.run(200, desk.published)
    desk.run(100)
    renamed = desk.agent.handle_command(RenameIdentity(desk.address, "Ada L."), desk.now)
    assert any(isinstance(effect, Offload) for effect in renamed), "its stamps are looked for"
    desk.command(ArchiveIdentity(desk.address, True))
    desk.carry_out(renamed)
    assert desk.published() and not any(desk.slot().real for _ in range(100))


def test_an_archived_identity_makes_no_new_secrets_and_drops_old_ones(desk: Desk) -> None:
    desk.command(ArchiveIdentity(desk.address, True))
    prekeys, inboxes = desk.tables["prekeys"], desk.tables["inboxes"]
    assert len(prekeys) == len(inboxes) == 1
    desk.now += 45 * DAY
    later = restarted(desk)
    later.run(2)
    assert not later.tables["prekeys"] and not later.tables["inboxes"]


def test_an_identity_used_again_reads_what_came_meanwhile(desk: Desk, homes: Homes) -> None:
    ben = Desk(homes, "ben", now=desk.now)
    ben.command(AddContact(desk.address, "Ada"))
    desk.command(ArchiveIdentity(desk.address, True))
    id, eml = ben.mail("are you there?")
    ben.command(SendMail(desk.address, ben.address, eml))
    assert ben.run(300, lambda: ben.row(id)["state"] == "stored")
    desk.now = ben.now
    desk.run(300)
    assert desk.inbox() == []
    desk.command(ArchiveIdentity(desk.address, False))
    assert desk.run(400, lambda: desk.inbox() == ["are you there?"])


def test_an_archived_identity_writes_no_mail(desk: Desk, homes: Homes) -> None:
    ben = Desk(homes, "ben", now=desk.now)
    desk.command(AddContact(ben.address, "Ben"))
    desk.command(ArchiveIdentity(desk.address, True))
    assert refused(desk, SendMail(ben.address, desk.address, desk.mail("x")[1])) == "archived"


@pytest.mark.parametrize("command", [lambda id: ArchiveIdentity(id, True), DeleteIdentity])
def test_an_identity_with_a_mail_in_the_outbox_stays(desk: Desk, homes: Homes, command: object) -> None:
    ben = Desk(homes, "ben", now=desk.now)
    desk.command(AddContact(ben.address, "Ben"))
    desk.command(SendMail(ben.address, desk.address, desk.mail("x")[1]))
    assert refused(desk, command(desk.address)) == "busy"  # type: ignore[operator]
    assert not desk.agent.state.people[desk.address].archived


def test_a_deleted_identity_leaves_its_mails_and_nothing_else(desk: Desk, homes: Homes) -> None:
    other = second(desk)
    assert desk.run(200, desk.published)
    ben = Desk(homes, "ben", now=desk.now)
    ben.command(AddContact(desk.address, "Ada"))
    ben.command(SendMail(desk.address, ben.address, ben.mail("hello")[1]))
    ben.run(300)
    desk.now = ben.now
    assert desk.run(400, lambda: desk.inbox() == ["hello"])
    gone, seed = desk.address, desk.agent.state.people[desk.address].identity.seed
    desk.command(DeleteIdentity(gone))
    assert set(desk.agent.state.people) == {other}
    assert desk.inbox() == ["hello"]
    for table in ("identities", "prekeys", "inboxes", "sessions", "incoming"):
        for row in desk.tables.get(table, {}).values():
            assert gone not in row.values() and seed not in row.values(), table
    desk.run(300)  # nothing asks for what is no more
    assert set(restarted(desk).agent.state.people) == {other}


def test_queries_under_way_of_an_identity_that_goes_change_nothing(desk: Desk) -> None:
    second(desk)
    read = desk.next_of(QueryOp.QUEUE_READ, 400)
    for person in list(desk.agent.state.people):
        desk.command(DeleteIdentity(person))
    rows = {name: dict(table) for name, table in desk.tables.items()}
    desk.end(read, desk.homes.answer(read, desk.now))
    assert {name: dict(table) for name, table in desk.tables.items()} == rows
    desk.run(100)


def test_an_identity_is_made_again_from_its_seed_with_the_same_address(desk: Desk) -> None:
    address, seed = desk.address, desk.agent.state.people[desk.address].identity.seed
    assert refused(desk, CreateIdentity("twice", seed)) == "known-identity"
    desk.command(DeleteIdentity(address))
    desk.now += DAY
    desk.command(CreateIdentity("ada again", seed))
    assert desk.address == address
    assert desk.run(200, desk.published)
    assert profile_name(desk, address) == "ada again"


def test_identities_are_polled_in_an_order_that_tells_nothing(desk: Desk) -> None:
    """No order of the two and no pairing: who follows whom is as the toss of a coin."""
    other = second(desk)
    whose = {key: name for name in (desk.address, other) for key in inbox_keys(desk, name)}
    polls: list[str] = []
    for _ in range(6_000):
        task = desk.slot()
        if task.real and task.op is QueryOp.QUEUE_READ:
            polls.append(whose[QueueRequest.from_field(task.field(bytes(32))).key])
        desk.end(task, desk.homes.answer(task, desk.now))
    pairs = Counter(itertools.pairwise(polls))
    count = len(polls) - 1
    assert count > 600
    spread = 4 * (count * 3 / 16) ** 0.5  # four standard deviations of a quarter of them
    assert len(pairs) == 4 and all(abs(number - count / 4) < spread for number in pairs.values()), pairs


def test_profiles_of_two_identities_are_written_in_slots_of_their_own(desk: Desk) -> None:
    other = second(desk)
    desk.command(RenameIdentity(desk.address, "A"))
    desk.command(RenameIdentity(other, "B"))
    written = []
    for _ in range(200):
        task = desk.slot()
        if task.real and task.op is QueryOp.WRITE:
            record = Record.parse(task.field(bytes(32)))
            assert record.type is RecordType.MUTABLE
            written.append(record.key)
        desk.end(task, desk.homes.answer(task, desk.now))
    assert len(written) == len(set(written)) == 4
    assert (profile_name(desk, desk.address), profile_name(desk, other)) == ("A", "B")
