"""The parameters, results and events of the local API.

Strict: a field that is not written here is refused.  Times are unix seconds (float), durations
seconds, `bytes` travel as base64.  Ids are opaque strings, short enough to be typed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

API_VERSION = 1

Folder = Literal["inbox", "requests", "outbox", "sent"]
INCOMING: tuple[Folder, ...] = ("inbox", "requests")
"""The folders of what others wrote."""

ContactState = Literal["known", "request", "blocked"]
MailState = Literal["queued", "sent", "stored", "answered", "failed", "received"]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything that crosses the socket."""


class Empty(Shape, frozen=True, kw_only=True):
    """No parameters, or nothing to answer."""


# connection


class HelloParams(Shape, frozen=True, kw_only=True):
    api: int


class Hello(Shape, frozen=True, kw_only=True):
    """What the daemon is.

    `locked`: the profile waits for `unlock`.  `mail_limit`: bytes of one mail, 0 if it is not told.
    """

    api: int
    version: str
    network: str
    preset: str
    anonymous: bool
    node_id: str
    has_identity: bool
    locked: bool
    mail_limit: int = 0


class UnlockParams(Shape, frozen=True, kw_only=True):
    passphrase: str


class LossyNode(Shape, frozen=True, kw_only=True):
    """A node that loses packets, by the user's own queries: the share lost, with its 95 % range.

    `queries`: how many of them passed it lately.
    """

    node_id: str
    loss: float
    low: float
    high: float
    queries: int


class Status(Shape, frozen=True, kw_only=True):
    """The node and its network now.

    `small_network`: at most so many people are on it, None where there are 50 nodes or more.
    `waiting`: the user's packets that have not left.  `pool`: other people's packets held by the mix.
    `delivery_s`: the mean time from send to shown, if the daemon knows it.  `lossy_nodes`: the worst first.
    `stamps_…`: proofs of work of records that came to this node's store, since its start; put off: beyond
    the budget.
    """

    peers: int
    known_nodes: int
    small_network: int | None
    slot_s: float
    next_slot_s: float
    waiting: int
    pool: int
    packets_relayed: int
    packets_sent: int
    packets_received: int
    queries_sent: int
    queries_answered: int
    queries_lost: int
    uptime_s: float
    preset: str
    anonymous: bool
    warnings: list[str]
    stored_records: int
    delivery_s: float | None = None
    lossy_nodes: list[LossyNode] = []
    stamps_checked: int = 0
    stamps_bad: int = 0
    stamps_put_off: int = 0


class StoreClass(Shape, frozen=True, kw_only=True):
    """How many records and queue entries of other people are kept for so many days."""

    days: int
    count: int


class Store(Shape, frozen=True, kw_only=True):
    """What this node keeps for others; sizes in bytes.

    `used`: what the records take of the `quota`; `file_size`: of node.db, which does not shrink.  `entries`:
    of queues, `records`: all others; `capacity`: how many of both fit.  `remembered`: ids of deleted entries.
    `evicted`: dropped for want of room since the start.  `asked_bits`: the work that a record needs now.
    """

    quota: int
    used: int
    fill: float
    file_size: int
    records: int
    entries: int
    capacity: int
    remembered: int
    evicted: int
    asked_bits: int
    classes: list[StoreClass]


# people


class Draining(Shape, frozen=True, kw_only=True):
    """The node takes no more packets, sends the `held` ones and ends in at most `limit_s` seconds."""

    held: int
    limit_s: float


class Stopping(Shape, frozen=True, kw_only=True):
    """The node ends now; `dropped` packets of its pools are lost."""

    dropped: int


class Identity(Shape, frozen=True, kw_only=True):
    """`archived`: it keeps its mails and is not used."""

    id: str
    name: str
    address: str
    archived: bool = False


class IdentityCreateParams(Shape, frozen=True, kw_only=True):
    """`passphrase`: from now on the profile opens only with it; None leaves it as it is."""

    name: str
    passphrase: str | None = None


class IdentityRestoreParams(Shape, frozen=True, kw_only=True):
    """`words`: the 24 seed words of an identity that was."""

    name: str
    words: str


class IdentityRenameParams(Shape, frozen=True, kw_only=True):
    id: str
    name: str


class IdentityArchiveParams(Shape, frozen=True, kw_only=True):
    id: str
    archived: bool


class IdentityWordsParams(Shape, frozen=True, kw_only=True):
    """`passphrase`: the profile's, where it has one."""

    id: str
    passphrase: str | None = None


class SeedWords(Shape, frozen=True, kw_only=True):
    """The 24 words in their order."""

    words: list[str]


class PassphraseParams(Shape, frozen=True, kw_only=True):
    """None stands for no passphrase."""

    old: str | None = None
    new: str | None = None


class Contact(Shape, frozen=True, kw_only=True):
    """`last_traffic`: the newest mail in either direction, None before the first.

    `state`: "request" is a stranger who wrote and about whom the user has to decide, "blocked" one of whom
    nothing is read.
    """

    id: str
    name: str
    address: str
    last_traffic: float | None = None
    state: ContactState = "known"


class ContactAddParams(Shape, frozen=True, kw_only=True):
    address: str
    name: str


class ContactRenameParams(Shape, frozen=True, kw_only=True):
    id: str
    name: str


class ContactBlockParams(Shape, frozen=True, kw_only=True):
    id: str
    blocked: bool


class IdParams(Shape, frozen=True, kw_only=True):
    id: str


# mail


class MailListParams(Shape, frozen=True, kw_only=True):
    """Newest first.  `search` matches contact, subject and text; empty means all."""

    folder: Folder
    offset: int = 0
    limit: int = 50
    search: str = ""


class MailSummary(Shape, frozen=True, kw_only=True):
    """One row of a mail list.

    `contact`: the id of the other side, None where it is no contact.  `sent_parts` of `parts` packets
    have left; every part is held by at least `stored_min` of `replicas` homes.  `note` is a sentence
    about a state that needs one (why it failed, what it waits for).
    """

    id: str
    folder: Folder
    contact: str | None
    contact_name: str
    subject: str
    date: float
    size: int
    unread: bool
    state: MailState
    sent_parts: int = 0
    parts: int = 0
    stored_min: int = 0
    replicas: int = 0
    in_reply_to: str | None = None
    note: str = ""
    attachments: int = 0


class MailPage(Shape, frozen=True, kw_only=True):
    """`total` and `unread` count the whole folder under the search, not the page."""

    total: int
    unread: int
    mails: list[MailSummary]


class AttachmentInfo(Shape, frozen=True, kw_only=True):
    index: int
    name: str
    type: str
    size: int


class Mail(Shape, frozen=True, kw_only=True):
    summary: MailSummary
    text: str
    attachments: list[AttachmentInfo]
    from_name: str
    to_name: str


class MailAttachmentParams(Shape, frozen=True, kw_only=True):
    id: str
    index: int


class Attachment(Shape, frozen=True, kw_only=True):
    """`type` is a media type such as text/plain."""

    name: str
    type: str
    data: bytes


class MailMarkParams(Shape, frozen=True, kw_only=True):
    id: str
    unread: bool


class MailSendParams(Shape, frozen=True, kw_only=True):
    """`to` is a contact's id or name, or an address.

    `identity` None: the one that the answered mail was written to, else the one that wrote to this contact
    last, else the first.
    """

    to: str
    subject: str
    text: str
    in_reply_to: str | None = None
    identity: str | None = None
    attachments: list[Attachment] = []


class MailSendEmlParams(Shape, frozen=True, kw_only=True):
    """`data`: a whole RFC 5322 message."""

    to: str
    data: bytes


class Id(Shape, frozen=True, kw_only=True):
    id: str


class DraftSaveParams(Shape, frozen=True, kw_only=True):
    """`id` None makes a new draft, else the one with that id is replaced."""

    to: str
    subject: str
    text: str
    id: str | None = None
    in_reply_to: str | None = None


class Draft(Shape, frozen=True, kw_only=True):
    id: str
    to: str
    subject: str
    text: str
    date: float
    in_reply_to: str | None = None


# events


class MailNewEvent(Shape, frozen=True, kw_only=True):
    """mail.new: a mail has come in."""

    id: str
    contact_name: str
    subject: str


class MailStateEvent(Shape, frozen=True, kw_only=True):
    """mail.state: an own mail has moved on (see `MailSummary`)."""

    id: str
    state: MailState
    sent_parts: int
    parts: int
    stored_min: int
    replicas: int
    note: str


@dataclass(frozen=True, slots=True)
class Event:
    """One notification: the server's running number, its kind and the shape that `EVENTS` names."""

    n: int
    kind: str
    data: Shape


EVENTS: dict[str, type[Shape]] = {
    "mail.new": MailNewEvent,
    "mail.state": MailStateEvent,
    "contacts.changed": Empty,
    "identity.changed": Empty,
    "status": Status,
}


# methods


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method: its shapes and the name of its Python method in `Backend` and `Client`."""

    params: type[Shape]
    result: type[Shape] | type[list[Identity]] | type[list[Contact]] | type[list[Draft]]
    python_name: str


def _method(name: str, params: type[Shape], result: object) -> tuple[str, Method]:
    return name, Method(params, result, name.replace(".", "_"))  # type: ignore[arg-type]


METHODS: dict[str, Method] = dict(
    (
        _method("hello", HelloParams, Hello),
        _method("unlock", UnlockParams, Empty),
        _method("status", Empty, Status),
        _method("store", Empty, Store),
        _method("identity.list", Empty, list[Identity]),
        _method("identity.create", IdentityCreateParams, Identity),
        _method("identity.restore", IdentityRestoreParams, Identity),
        _method("identity.rename", IdentityRenameParams, Empty),
        _method("identity.archive", IdentityArchiveParams, Empty),
        _method("identity.delete", IdParams, Empty),
        _method("identity.words", IdentityWordsParams, SeedWords),
        _method("passphrase", PassphraseParams, Empty),
        _method("contact.list", Empty, list[Contact]),
        _method("contact.add", ContactAddParams, Contact),
        _method("contact.rename", ContactRenameParams, Empty),
        _method("contact.remove", IdParams, Empty),
        _method("contact.accept", IdParams, Empty),
        _method("contact.ignore", IdParams, Empty),
        _method("contact.block", ContactBlockParams, Empty),
        _method("mail.list", MailListParams, MailPage),
        _method("mail.read", IdParams, Mail),
        _method("mail.attachment", MailAttachmentParams, Attachment),
        _method("mail.mark", MailMarkParams, Empty),
        _method("mail.delete", IdParams, Empty),
        _method("mail.cancel", IdParams, Empty),
        _method("mail.send", MailSendParams, Id),
        _method("mail.send_eml", MailSendEmlParams, Id),
        _method("draft.save", DraftSaveParams, Id),
        _method("draft.list", Empty, list[Draft]),
        _method("draft.delete", IdParams, Empty),
        _method("drain", Empty, Draining),
        _method("drained", Empty, Stopping),
        _method("shutdown", Empty, Stopping),
    )
)
