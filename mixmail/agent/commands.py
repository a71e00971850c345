"""What the surroundings ask of the agent (`Agent.handle_command`)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CreateIdentity:
    """Make an identity called `name` (shown to correspondents), or from the `seed` of one that was."""

    name: str
    seed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RenameIdentity:
    """Change the name that correspondents see."""

    identity: str
    name: str


@dataclass(frozen=True, slots=True)
class ArchiveIdentity:
    """Stop using an identity, or (`archived` False) use it again."""

    identity: str
    archived: bool


@dataclass(frozen=True, slots=True)
class DeleteIdentity:
    """Forget an identity and all its secrets."""

    identity: str


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
class AcceptContact:
    """Take a stranger who wrote into the address book."""

    contact: str


@dataclass(frozen=True, slots=True)
class IgnoreContact:
    """Forget a stranger who wrote, with his mails."""

    contact: str


@dataclass(frozen=True, slots=True)
class BlockContact:
    """Read nothing of a contact any more, or (`blocked` False) again."""

    contact: str
    blocked: bool


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


IdentityCommand = RenameIdentity | ArchiveIdentity | DeleteIdentity
ContactCommand = RenameContact | RemoveContact | AcceptContact | IgnoreContact | BlockContact
