"""The rows of a profile are the truth: an agent loaded from them is the one that wrote them."""

from __future__ import annotations

import dataclasses
from typing import Any

from agent_world import Desk, Homes

from mixmail.agent.commands import AddContact, CreateIdentity, SendMail
from mixmail.agent.model import AgentState, load
from mixmail.agent.tables import PRIMARY_KEYS
from mixmail.boxes.query import QueryOp
from mixmail.mail.identity import Identity
from mixmail.params import DAY

LONG = "".join(f"a long mail, line {number}\n" for number in range(1_500))  # three parts

# What an agent may forget with its memory: it is asked for or drawn again.
FORGOTTEN = {
    "Contact": ("asked",),
    "Inbox": ("cursor", "missed", "opened"),
    "Session": ("missed", "ahead"),
    "OutgoingPart": ("in_flight", "way", "verified", "doubted", "again"),
}
LOADED = ("identities", "prekeys", "inboxes", "contacts", "sessions", "mails", "outgoing", "incoming", "seen")


def plain(value: Any) -> Any:
    """A value of the state as plain data, without what may be forgotten."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        leave = FORGOTTEN.get(type(value).__name__, ())
        names = [field.name for field in dataclasses.fields(value) if field.name not in leave]
        if hasattr(value, "pack"):
            return value.pack()
        return {name: plain(getattr(value, name)) for name in names}
    return value


def compare(live: AgentState, loaded: AgentState) -> None:
    for field in dataclasses.fields(AgentState):
        if field.name in ("seen", "delivered"):
            continue
        assert plain(getattr(loaded, field.name)) == plain(getattr(live, field.name)), field.name
    # One table for both: entries of inboxes (32 bytes) and delivered mails (16 bytes).
    assert loaded.seen | loaded.delivered == live.seen | live.delivered
    assert live.seen <= loaded.seen and live.delivered <= loaded.delivered


def rows(desk: Desk) -> dict[str, list[dict[str, Any]]]:
    return {table: [dict(row) for row in kept.values()] for table, kept in desk.tables.items()}


def test_load_gives_back_what_was_in_memory() -> None:
    homes = Homes()
    bob = Desk(homes, "bob")
    bob.command(CreateIdentity("bob's other one"))
    assert bob.run(300, bob.published)
    alice = Desk(homes, "alice", now=bob.now)
    alice.command(AddContact(bob.address, "Bob"))
    compare(alice.agent.state, load(rows(alice)))
    mail, eml = alice.mail("hello\n")
    alice.command(SendMail(bob.address, alice.address, eml))
    assert alice.run(300, lambda: not alice.agent.state.outbox)
    bob.now = alice.now
    assert bob.run(600, lambda: bob.inbox() == ["hello\n"])
    _, eml = bob.mail("hello yourself\n", bytes.fromhex(mail))
    bob.command(SendMail(alice.address, bob.address, eml))
    assert bob.run(300, lambda: not bob.agent.state.outbox)
    alice.now = bob.now
    assert alice.run(600, lambda: alice.inbox() == ["hello yourself\n"])

    # Mails in every state: unsealed, queued, partly sent, stored; one that has come in part.
    _, eml = alice.mail("one more\n")
    alice.command(SendMail(bob.address, alice.address, eml))
    assert alice.run(300, lambda: not alice.agent.state.outbox)
    long, eml = alice.mail(LONG)
    alice.command(SendMail(bob.address, alice.address, eml))
    while not alice.row(long)["sent_parts"]:  # the first may be that of a profile
        alice.end(alice.next_of(QueryOp.WRITE), None)
    nobody = Identity(bytes(32)).address.text
    alice.command(AddContact(nobody, "Nobody"))
    unsealed, eml = alice.mail("into the void\n")
    alice.command(SendMail(nobody, alice.address, eml))
    assert alice.row(long)["sent_parts"] == 1 and alice.row(unsealed)["parts"] == 0
    compare(alice.agent.state, load(rows(alice)))

    assert alice.run(300, lambda: len(alice.agent.state.outbox) == 1)
    bob.now = alice.now
    assert bob.run(600, lambda: bool(bob.tables.get("incoming")))
    compare(bob.agent.state, load(rows(bob)))
    later = Desk(homes, "later", bob.tables, bob.now + 8 * DAY)  # a second prekey, a second inbox
    compare(later.agent.state, load(rows(later)))
    for table in LOADED:
        assert alice.tables.get(table) or bob.tables.get(table), f"nothing in {table}"


def test_every_table_of_the_agent_is_loaded_or_named_here() -> None:
    elsewhere = {"profiles_published", "drafts", "settings"}
    assert set(PRIMARY_KEYS) == {*LOADED, *elsewhere}


def test_an_empty_profile_loads() -> None:
    assert load({}) == AgentState()
