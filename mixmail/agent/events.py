"""What the agent tells its surroundings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailArrived:
    """A whole mail has been read and stored in the inbox."""

    mail: str
    contact: str
    contact_name: str
    subject: str
    message_id: bytes


@dataclass(frozen=True, slots=True)
class MailState:
    """A mail of the outbox moved on."""

    mail: str
    state: str
    sent_parts: int
    parts: int
    stored_min: int
    replicas: int
    note: str


@dataclass(frozen=True, slots=True)
class ContactsChanged:
    """A contact appeared, got its profile or was renamed."""

    contact: str


@dataclass(frozen=True, slots=True)
class QuerySent:
    """A query left in its slot.  For the lab and the status line; never written to a log."""

    kind: str
    real: bool


@dataclass(frozen=True, slots=True)
class QueryEnded:
    """A query was answered, or forgotten after its round-trip limit."""

    answered: bool
    nodes: tuple[bytes, ...]
