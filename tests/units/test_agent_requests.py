"""Strangers who write: their mails wait apart; the user accepts, ignores or blocks, without telling them."""

from __future__ import annotations

import pytest
from agent_world import Desk, Homes

from mixmail.agent.commands import (
    AcceptContact,
    AddContact,
    BlockContact,
    IgnoreContact,
    SendMail,
)
from mixmail.errors import UserError


@pytest.fixture
def homes() -> Homes:
    return Homes()


@pytest.fixture
def ada(homes: Homes) -> Desk:
    desk = Desk(homes, "ada")
    assert desk.run(200, desk.published)
    return desk


@pytest.fixture
def zoe(homes: Homes, ada: Desk) -> Desk:
    """A stranger to Ada, who has her address."""
    desk = Desk(homes, "zoe", now=ada.now)
    desk.command(AddContact(ada.address, "Ada"))
    return desk


def write(sender: Desk, receiver: Desk, text: str) -> str:
    """A mail from one to the other, stored; its id at the sender's."""
    id, eml = sender.mail(text)
    sender.command(SendMail(receiver.address, sender.address, eml))
    assert sender.run(400, lambda: sender.row(id)["state"] == "stored")
    receiver.now = max(receiver.now, sender.now)
    return id


def folders(desk: Desk) -> dict[str, list[str]]:
    """The subjects' texts by folder."""
    found: dict[str, list[str]] = {}
    for text, row in zip(desk.inbox(), desk.arrived_rows(), strict=True):
        found.setdefault(row["folder"], []).append(text)
    return found


def comes(desk: Desk, text: str) -> bool:
    return desk.run(600, lambda: text in desk.inbox())


def test_a_strangers_mails_wait_among_the_requests(ada: Desk, zoe: Desk) -> None:
    write(zoe, ada, "first")
    assert comes(ada, "first")
    assert folders(ada) == {"requests": ["first"]}
    contact = ada.agent.state.contacts[zoe.address]
    assert contact.request and not contact.blocked
    again = Desk(ada.homes, "ada again", ada.tables, ada.now)
    assert again.agent.state.contacts[zoe.address].request, "also after a restart"


def test_who_is_accepted_comes_to_the_inbox_from_then_on(ada: Desk, zoe: Desk) -> None:
    write(zoe, ada, "first")
    assert comes(ada, "first")
    ada.command(AcceptContact(zoe.address))
    assert folders(ada) == {"inbox": ["first"]}
    zoe.now = ada.now
    write(zoe, ada, "second")
    assert comes(ada, "second")
    assert folders(ada) == {"inbox": ["first", "second"]}


def test_an_answer_accepts(ada: Desk, zoe: Desk) -> None:
    write(zoe, ada, "first")
    assert comes(ada, "first")
    ada.command(SendMail(zoe.address, ada.address, ada.mail("who are you?")[1]))
    assert folders(ada) == {"inbox": ["first"]}
    assert not ada.agent.state.contacts[zoe.address].request


def test_adding_the_address_accepts_under_the_name_given(ada: Desk, zoe: Desk) -> None:
    write(zoe, ada, "first")
    assert comes(ada, "first")
    ada.command(AddContact(zoe.address, "Zoe from the club"))
    assert folders(ada) == {"inbox": ["first"]}
    assert ada.agent.state.contacts[zoe.address].name == "Zoe from the club"


def test_who_is_ignored_is_forgotten_and_may_write_again(ada: Desk, zoe: Desk) -> None:
    write(zoe, ada, "first")
    assert comes(ada, "first")
    ada.command(IgnoreContact(zoe.address))
    assert folders(ada) == {} and zoe.address not in ada.agent.state.contacts
    assert not ada.agent.state.sessions
    other = Desk(
        ada.homes, "zoe", now=ada.now
    )  # the same name, another address: somebody else is nobody's care
    other.command(AddContact(ada.address, "Ada"))
    write(other, ada, "again")
    assert comes(ada, "again")
    assert folders(ada) == {"requests": ["again"]}


def test_a_contact_cannot_be_ignored(ada: Desk, zoe: Desk) -> None:
    ada.command(AddContact(zoe.address, "Zoe"))
    with pytest.raises(UserError, match="remove or block"):
        ada.command(IgnoreContact(zoe.address))


def test_nothing_of_a_blocked_stranger_is_read_or_shown_and_he_is_not_told(ada: Desk, zoe: Desk) -> None:
    write(zoe, ada, "first")
    assert comes(ada, "first")
    ada.command(BlockContact(zoe.address, True))
    assert folders(ada) == {}
    zoe.now = ada.now
    id = write(zoe, ada, "second")
    assert not comes(ada, "second")
    assert folders(ada) == {}
    assert zoe.row(id)["state"] == "stored"


def test_a_blocked_strangers_new_first_message_is_thrown_away(ada: Desk, zoe: Desk) -> None:
    write(zoe, ada, "first")
    assert comes(ada, "first")
    ada.command(BlockContact(zoe.address, True))
    rows = dict(zoe.tables)
    rows["sessions"] = {}
    forgetful = Desk(ada.homes, "zoe", {name: dict(table) for name, table in rows.items()}, ada.now)
    write(forgetful, ada, "hello again")
    entries = set(ada.agent.state.seen)
    assert not comes(ada, "hello again")
    assert set(ada.agent.state.seen) > entries, "its entry was read, and is deleted"
    assert folders(ada) == {} and not [
        s for s in ada.agent.state.sessions.values() if ada.agent.state.reads(s)
    ]


def test_who_is_no_longer_blocked_is_read_again(ada: Desk, zoe: Desk) -> None:
    write(zoe, ada, "first")
    assert comes(ada, "first")
    ada.command(AcceptContact(zoe.address))
    ada.command(BlockContact(zoe.address, True))
    zoe.now = ada.now
    write(zoe, ada, "while blocked")
    assert not comes(ada, "while blocked")
    assert folders(ada) == {"inbox": ["first"]}, "what came before stays"
    ada.command(BlockContact(zoe.address, False))
    assert comes(ada, "while blocked")
    assert folders(ada) == {"inbox": ["first", "while blocked"]}


def test_a_blocked_contact_is_not_written_to(ada: Desk, zoe: Desk) -> None:
    ada.command(AddContact(zoe.address, "Zoe"))
    ada.command(BlockContact(zoe.address, True))
    with pytest.raises(UserError, match="Zoe is blocked"):
        ada.command(SendMail(zoe.address, ada.address, ada.mail("x")[1]))
    with pytest.raises(UserError, match="blocked there as Zoe"):
        ada.command(AddContact(zoe.address, "Zoe"))


def test_whom_the_user_wrote_to_first_answers_into_the_inbox(ada: Desk, zoe: Desk) -> None:
    write(zoe, ada, "first")
    assert comes(ada, "first")
    ada.command(SendMail(zoe.address, ada.address, ada.mail("hello")[1]))
    ada.run(100)
    zoe.now = ada.now
    assert comes(zoe, "hello")
    assert folders(zoe) == {"inbox": ["hello"]}
