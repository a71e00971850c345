"""What an agent knows, as it stands in memory and as rows of the profile.

The rows are the truth: every change here goes out in a `Persist` with the effects that depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mixmail.boxes.capability import ReadCap, WriteCap
from mixmail.effects import Change, Delete
from mixmail.mail.address import Address
from mixmail.mail.identity import Identity, Prekey
from mixmail.mail.profile import Profile

from .queries import Way
from .tables import Row, Rows


@dataclass(slots=True)
class Person:
    """An own identity with its prekeys (by week) and inbox queues (newest last)."""

    id: str
    name: str
    identity: Identity
    created: float
    prekeys: dict[int, Prekey] = field(default_factory=dict)
    inboxes: list[Inbox] = field(default_factory=list)
    archived: bool = False

    def row(self) -> Row:
        """The row of table `identities`."""
        return {
            "id": self.id,
            "name": self.name,
            "seed": self.identity.seed,
            "created": self.created,
            "archived": int(self.archived),
        }


@dataclass(slots=True)
class Inbox:
    """One owner-read queue for strangers: its salt, the day it was opened, the reading cursor.

    `opened`: the moment, if it was in this life of the agent.
    """

    identity: str
    salt: bytes
    day: int
    cursor: bytes = bytes(32)
    missed: bool = False
    opened: float = float("-inf")

    def row(self) -> Row:
        """The row of table `inboxes`."""
        return {"identity": self.identity, "salt": self.salt, "day": self.day, "cursor": self.cursor}


@dataclass(slots=True)
class Contact:
    """Somebody to write to; the id is the text of the address.

    `request`: a stranger who wrote, about whom the user has not decided.  `blocked`: nothing of it is read.
    """

    id: str
    name: str
    address: Address
    created: float
    profile: Profile | None = None
    profile_raw: bytes | None = None
    profile_week: int = 0
    last_traffic: float = 0.0
    asked: int = 0
    blocked: bool = False
    request: bool = False

    def row(self) -> Row:
        """The row of table `contacts`."""
        return {
            "id": self.id,
            "name": self.name,
            "created": self.created,
            "profile": self.profile_raw,
            "profile_week": self.profile_week,
            "last_traffic": self.last_traffic,
            "blocked": int(self.blocked),
            "request": int(self.request),
        }


@dataclass(slots=True)
class Session:
    """One conversation: an own stream to write, the other's stream to read.

    state: "waiting" (we wrote first and poll the rendezvous box), "unanswered" (they wrote first and
    we have not yet), "open" (both ways).
    """

    id: str
    identity: str
    contact: str
    role: str
    state: str
    root: bytes
    write_cap: WriteCap | None
    read_cap: ReadCap | None
    own_key_seed: bytes
    peer_key: bytes | None
    created: float
    last_traffic: float
    missed: bool = False
    ahead: set[int] = field(default_factory=set)

    def row(self) -> Row:
        """The row of table `sessions`."""
        return {
            "id": self.id,
            "identity": self.identity,
            "contact": self.contact,
            "role": self.role,
            "state": self.state,
            "root": self.root,
            "write_cap": self.write_cap.pack() if self.write_cap else None,
            "read_cap": self.read_cap.pack() if self.read_cap else None,
            "own_key_seed": self.own_key_seed,
            "peer_key": self.peer_key,
            "created": self.created,
            "last_traffic": self.last_traffic,
        }


@dataclass(slots=True)
class OutgoingMail:
    """A mail of the outbox: queued -> sent (k/N) -> stored (r of R)."""

    id: str
    identity: str
    contact: str
    eml: bytes
    created: float
    state: str = "queued"
    sent_parts: int = 0
    parts: int = 0
    stored_min: int = 0
    replicas: int = 0
    note: str = ""


@dataclass(slots=True)
class OutgoingPart:
    """One sealed record of a mail: "stamping" -> "queued" -> "stored"."""

    id: str
    mail: str
    part: int
    op: int
    record: bytes
    created: float
    state: str = "queued"
    acks: int = 0
    homes: int = 0
    tries: int = 0
    in_flight: bool = False
    way: Way = (b"", b"")  # courier and proxy of the newest query with it
    verified: bool = False
    doubted: bool = False  # said to be stored, and not found
    again: float = 0.0  # once stored: when it is published for the second time, by SPREAD

    def row(self) -> Row:
        """The row of table `outgoing`."""
        return {
            "id": self.id,
            "mail": self.mail,
            "part": self.part,
            "op": self.op,
            "record": self.record,
            "acks": self.acks,
            "homes": self.homes,
            "state": self.state,
            "tries": self.tries,
            "created": self.created,
        }


@dataclass(slots=True)
class AgentState:
    """Everything an agent holds in memory."""

    people: dict[str, Person] = field(default_factory=dict)
    contacts: dict[str, Contact] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    outbox: dict[str, OutgoingMail] = field(default_factory=dict)
    parts: dict[str, OutgoingPart] = field(default_factory=dict)
    incoming: dict[tuple[str, str], dict[int, bytes]] = field(default_factory=dict)
    incoming_total: dict[tuple[str, str], int] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)

    def forget_session(self, session: Session) -> list[Change]:
        """Drop a session and its unfinished mails; what to change on disk besides its own row."""
        del self.sessions[session.id]
        for key in [key for key in self.incoming if key[0] == session.id]:
            del self.incoming[key], self.incoming_total[key]
        return [Delete("incoming", {"session": session.id})]

    def reads(self, session: Session) -> bool:
        """Whether a session is read: its identity is in use and its contact not blocked."""
        contact = self.contacts.get(session.contact)
        return self.in_use(session.identity) and not (contact is not None and contact.blocked)

    def in_use(self, identity: str) -> bool:
        """Whether an own identity is here and not archived."""
        person = self.people.get(identity)
        return person is not None and not person.archived


def load(rows: Rows) -> AgentState:
    """Build the state from the rows of a profile."""
    state = AgentState()
    for row in rows.get("identities", ()):
        state.people[row["id"]] = Person(
            row["id"], row["name"], Identity(row["seed"]), row["created"], archived=bool(row["archived"])
        )
    for row in rows.get("prekeys", ()):
        state.people[row["identity"]].prekeys[row["week"]] = Prekey(row["week"], row["seed"])
    for row in sorted(rows.get("inboxes", ()), key=lambda row: row["day"]):
        state.people[row["identity"]].inboxes.append(
            Inbox(row["identity"], row["salt"], row["day"], row["cursor"])
        )
    for row in rows.get("contacts", ()):
        raw = row["profile"]
        state.contacts[row["id"]] = Contact(
            row["id"],
            row["name"],
            Address.parse(row["id"]),
            row["created"],
            Profile.parse(raw) if raw else None,
            raw,
            row["profile_week"],
            row["last_traffic"],
            blocked=bool(row["blocked"]),
            request=bool(row["request"]),
        )
    for row in rows.get("sessions", ()):
        state.sessions[row["id"]] = _session(row)
    for row in rows.get("mails", ()):
        if row["folder"] == "outbox":
            state.outbox[row["id"]] = _outgoing_mail(row)
    for row in rows.get("outgoing", ()):
        state.parts[row["id"]] = OutgoingPart(
            **{name: row[name] for name in row if name in OutgoingPart.__slots__}
        )
    _load_incoming(state, rows.get("incoming", ()))
    # Ids of inbox entries and of delivered mails, of different lengths.
    state.seen = {row["id"] for row in rows.get("seen", ())}
    state.delivered = set(state.seen)
    return state


def _session(row: Row) -> Session:
    def cap(name: str, kind: Any) -> Any:
        return kind.parse(row[name]) if row[name] else None

    return Session(
        row["id"],
        row["identity"],
        row["contact"],
        row["role"],
        row["state"],
        row["root"],
        cap("write_cap", WriteCap),
        cap("read_cap", ReadCap),
        row["own_key_seed"],
        row["peer_key"],
        row["created"],
        row["last_traffic"],
    )


def _outgoing_mail(row: Row) -> OutgoingMail:
    return OutgoingMail(
        row["id"],
        row["identity"],
        row["contact"],
        row["eml"],
        row["date"],
        row["state"],
        row["sent_parts"],
        row["parts"],
        row["stored_min"],
        row["replicas"],
        row["note"],
    )


def _load_incoming(state: AgentState, rows: Iterable[Row]) -> None:
    for row in rows:
        key = (row["session"], row["message"])
        state.incoming.setdefault(key, {})[row["part"]] = row["data"]
        state.incoming_total[key] = row["parts"]
