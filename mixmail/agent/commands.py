"""What the surroundings ask of the agent (`Agent.handle_command`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CreateIdentity:
    """Make an identity called `name` (shown to correspondents)."""

    name: str


@dataclass(frozen=True, slots=True)
class AddContact:
    """Add `address` to the address book under `name`."""

    address: str
    name: str


@dataclass(frozen=True, slots=True)
class RenameContact:
    """Change the name under which a contact is shown."""

    contact: str
    name: str


@dataclass(frozen=True, slots=True)
class RemoveContact:
    """Take a contact out of the address book and stop reading its streams."""

    contact: str


@dataclass(frozen=True, slots=True)
class SendMail:
    """Send `eml` (as `mixmail.mail.message.compose` made it) to a contact."""

    contact: str
    identity: str
    eml: bytes


@dataclass(frozen=True, slots=True)
class CancelMail:
    """Take a mail back of which no packet has left."""

    mail: str
