"""A daemon of the tests that keeps everything in memory: a `Backend` for the real control server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mixmail.control import types
from mixmail.errors import UserError

NOW = 1_790_000_000.0


class MemoryBackend:
    """Answers as the daemon does.  `publish` is set by whoever wires it to a server."""

    def __init__(self, identity: str | None = "ada", locked: bool = False, preset: str = "demo") -> None:
        self.publish: Callable[[str, types.Shape], None] = lambda kind, data: None
        self.identities: list[types.Identity] = []
        self.contacts: list[types.Contact] = []
        self.mails: list[types.MailSummary] = []
        self.texts: dict[str, str] = {}
        self.files: dict[str, list[types.Attachment]] = {}
        self.drafts: dict[str, types.Draft] = {}
        self.locked = locked
        self.passphrase: str | None = "secret" if locked else None
        self.preset = preset
        self.status_now = make_status(preset)
        self.calls: list[str] = []
        self.refuse: dict[str, Exception] = {}
        self.before: dict[str, Callable[[], object]] = {}
        self.sent_to: list[str] = []
        self.sent_as: list[str | None] = []
        self._ids = itertools.count(1)
        if identity is not None:
            self.identities.append(types.Identity(id="i1", name=identity, address=address(identity)))

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name in _PYTHON_NAMES:
            self.calls.append(name)
            if name in self.before:
                self.before[name]()
            if name in self.refuse:
                raise self.refuse[name]
        return found

    # for the tests

    def add_contact(self, name: str) -> types.Contact:
        contact = types.Contact(id=f"c{next(self._ids)}", name=name, address=address(name))
        self.contacts.append(contact)
        return contact

    def add_mail(
        self,
        who: str,
        subject: str,
        text: str,
        folder: types.Folder = "inbox",
        files: Iterable[types.Attachment] = (),
        **more: Any,
    ) -> types.MailSummary:
        """A mail that is there already; the newest is the last one added."""
        number = next(self._ids)
        contact = next((one.id for one in self.contacts if one.name == who), None)
        incoming = folder in ("inbox", "requests")
        fields: dict[str, Any] = {
            "id": f"m{number}",
            "folder": folder,
            "contact": contact,
            "contact_name": who,
            "subject": subject,
            "date": NOW + 60 * number,
            "size": len(text),
            "unread": incoming,
            "state": "received" if incoming else "queued",
            "attachments": len(list(files)),
        }
        mail = types.MailSummary(**{**fields, **more})
        self.mails.append(mail)
        self.texts[mail.id] = text
        self.files[mail.id] = list(files)
        return mail

    def add_stranger(self, who: str, subject: str, text: str) -> types.MailSummary:
        """A mail of somebody who is not in the address book."""
        self.contacts.append(msgspec.structs.replace(self.add_contact(who), state="request"))
        del self.contacts[-2]
        return self.add_mail(who, subject, text, "requests")

    def arrive(self, who: str, subject: str, text: str) -> types.MailSummary:
        """A mail that comes in now."""
        mail = self.add_mail(who, subject, text)
        self.publish("mail.new", types.MailNewEvent(id=mail.id, contact_name=who, subject=subject))
        return mail

    def move(self, id: str, **changes: Any) -> None:
        """Change a mail's state and tell it."""
        mail = self._change(id, **changes)
        names = ("id", "state", "sent_parts", "parts", "stored_min", "replicas", "note")
        self.publish("mail.state", types.MailStateEvent(**{name: getattr(mail, name) for name in names}))

    def mail(self, id: str) -> types.MailSummary:
        for mail in self.mails:
            if mail.id == id:
                return mail
        raise UserError("There is no such mail.", "no-mail")

    def _change(self, id: str, **changes: Any) -> types.MailSummary:
        position = self.mails.index(self.mail(id))
        self.mails[position] = msgspec.structs.replace(self.mails[position], **changes)
        return self.mails[position]

    # Backend

    def hello(self, params: types.HelloParams) -> types.Hello:
        return types.Hello(
            api=1,
            version="0",
            network="0123456789abcdef",
            preset=self.preset,
            anonymous=self.preset != "demo",
            node_id="ab" * 32,
            has_identity=bool(self.identities),
            locked=self.locked,
        )

    def unlock(self, params: types.UnlockParams) -> types.Empty:
        if params.passphrase != self.passphrase:
            raise UserError("This is not the passphrase: try again.", "wrong-passphrase")
        self.locked = False
        return types.Empty()

    def status(self, params: types.Empty) -> types.Status:
        return self.status_now

    def store(self, params: types.Empty) -> types.Store:
        return types.Store(
            quota=2_000_000,
            used=0,
            fill=0.0,
            file_size=4_096,
            records=0,
            entries=0,
            capacity=108,
            remembered=0,
            evicted=0,
            asked_bits=4,
            classes=[],
        )

    def identity_list(self, params: types.Empty) -> list[types.Identity]:
        return self.identities

    def identity_create(self, params: types.IdentityCreateParams) -> types.Identity:
        number = f"i{len(self.identities) + 1}"
        self.identities.append(types.Identity(id=number, name=params.name, address=address(params.name)))
        self.passphrase = params.passphrase or self.passphrase
        self.publish("identity.changed", types.Empty())
        return self.identities[-1]

    def _identity(self, id: str, **changes: Any) -> types.Empty:
        self.identities = [
            msgspec.structs.replace(one, **changes) if one.id == id else one for one in self.identities
        ]
        self.publish("identity.changed", types.Empty())
        return types.Empty()

    def identity_rename(self, params: types.IdentityRenameParams) -> types.Empty:
        return self._identity(params.id, name=params.name)

    def identity_archive(self, params: types.IdentityArchiveParams) -> types.Empty:
        return self._identity(params.id, archived=params.archived)

    def identity_delete(self, params: types.IdParams) -> types.Empty:
        self.identities = [one for one in self.identities if one.id != params.id]
        self.publish("identity.changed", types.Empty())
        return types.Empty()

    def identity_words(self, params: types.IdentityWordsParams) -> types.SeedWords:
        if params.passphrase != self.passphrase:
            if params.passphrase is None:
                raise UserError("The profile is locked: give its passphrase.", "locked")
            raise UserError("The passphrase is wrong: try again.", "passphrase")
        return types.SeedWords(words=[f"word{number}" for number in range(1, 25)])

    def contact_list(self, params: types.Empty) -> list[types.Contact]:
        return self.contacts

    def contact_add(self, params: types.ContactAddParams) -> types.Contact:
        if not params.address.startswith("mix1"):
            raise UserError("This is no mixmail address: it has to start with mix1.", "bad-address")
        contact = types.Contact(id=f"c{next(self._ids)}", name=params.name, address=params.address)
        self.contacts.append(contact)
        self.publish("contacts.changed", types.Empty())
        return contact

    def contact_rename(self, params: types.ContactRenameParams) -> types.Empty:
        self.contacts = [
            msgspec.structs.replace(one, name=params.name) if one.id == params.id else one
            for one in self.contacts
        ]
        self.publish("contacts.changed", types.Empty())
        return types.Empty()

    def _decide(self, id: str, state: types.ContactState, folder: types.Folder | None) -> types.Empty:
        """Another state of a contact; its requests go to `folder`, or away."""
        self.contacts = [
            msgspec.structs.replace(one, state=state) if one.id == id else one for one in self.contacts
        ]
        for mail in [one for one in self.mails if one.contact == id and one.folder == "requests"]:
            if folder is None:
                self.mails.remove(mail)
            else:
                self._change(mail.id, folder=folder)
        self.publish("contacts.changed", types.Empty())
        return types.Empty()

    def contact_accept(self, params: types.IdParams) -> types.Empty:
        return self._decide(params.id, "known", "inbox")

    def contact_ignore(self, params: types.IdParams) -> types.Empty:
        self._decide(params.id, "request", None)
        return self.contact_remove(params)

    def contact_block(self, params: types.ContactBlockParams) -> types.Empty:
        return self._decide(params.id, "blocked" if params.blocked else "known", None)

    def contact_remove(self, params: types.IdParams) -> types.Empty:
        self.contacts = [one for one in self.contacts if one.id != params.id]
        self.publish("contacts.changed", types.Empty())
        return types.Empty()

    def mail_list(self, params: types.MailListParams) -> types.MailPage:
        wanted = params.search.casefold()
        found = [
            mail
            for mail in reversed(self.mails)
            if mail.folder == params.folder
            and wanted in f"{mail.contact_name}\n{mail.subject}\n{self.texts[mail.id]}".casefold()
        ]
        page = found[params.offset : params.offset + params.limit]
        return types.MailPage(total=len(found), unread=sum(mail.unread for mail in found), mails=page)

    def mail_read(self, params: types.IdParams) -> types.Mail:
        mail = self.mail(params.id)
        own, other = self.identities[0].name, mail.contact_name
        incoming = mail.folder in ("inbox", "requests")
        return types.Mail(
            summary=mail,
            text=self.texts[mail.id],
            attachments=[
                types.AttachmentInfo(index=index, name=one.name, type=one.type, size=len(one.data))
                for index, one in enumerate(self.files.get(mail.id, []))
            ],
            from_name=other if incoming else own,
            to_name=own if incoming else other,
        )

    def mail_attachment(self, params: types.MailAttachmentParams) -> types.Attachment:
        return self.files[params.id][params.index]

    def mail_mark(self, params: types.MailMarkParams) -> types.Empty:
        self._change(params.id, unread=params.unread)
        return types.Empty()

    def mail_delete(self, params: types.IdParams) -> types.Empty:
        self.mails.remove(self.mail(params.id))
        return types.Empty()

    def mail_cancel(self, params: types.IdParams) -> types.Empty:
        if self.mail(params.id).state != "queued":
            raise UserError("A part of it has left already.", "already-sent")
        return self.mail_delete(params)

    def mail_send(self, params: types.MailSendParams) -> types.Id:
        contact = next((one for one in self.contacts if params.to in (one.id, one.name)), None)
        if contact is None and not params.to.startswith("mix1"):
            raise UserError(f"There is no contact {params.to}: add them first.", "unknown-contact")
        self.sent_to.append(params.to)
        self.sent_as.append(params.identity)
        name = contact.name if contact else params.to
        mail = self.add_mail(
            name, params.subject, params.text, "outbox", in_reply_to=params.in_reply_to, parts=1, replicas=12
        )
        return types.Id(id=mail.id)

    def mail_send_eml(self, params: types.MailSendEmlParams) -> types.Id:
        raise UserError("The tests' daemon takes no messages in files.", "refused")

    def draft_save(self, params: types.DraftSaveParams) -> types.Id:
        id = params.id or f"d{next(self._ids)}"
        self.drafts[id] = types.Draft(
            id=id,
            to=params.to,
            subject=params.subject,
            text=params.text,
            date=NOW,
            in_reply_to=params.in_reply_to,
        )
        return types.Id(id=id)

    def draft_list(self, params: types.Empty) -> list[types.Draft]:
        return list(self.drafts.values())

    def draft_delete(self, params: types.IdParams) -> types.Empty:
        del self.drafts[params.id]
        return types.Empty()

    def drain(self, params: types.Empty) -> types.Draining:
        return types.Draining(held=0, limit_s=0.0)

    def drained(self, params: types.Empty) -> types.Stopping:
        return types.Stopping(dropped=0)

    def shutdown(self, params: types.Empty) -> types.Stopping:
        return types.Stopping(dropped=0)


_PYTHON_NAMES = {method.python_name for method in types.METHODS.values()}


def address(name: str) -> str:
    """Looks like an address, as long as a real one."""
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    return "mix1" + "".join(letters[(7 * i + len(name) * 3 + sum(map(ord, name))) % 32] for i in range(92))


def make_status(preset: str = "demo", **changes: Any) -> types.Status:
    demo = preset == "demo"
    fields: dict[str, Any] = {
        "peers": 11,
        "known_nodes": 12,
        "small_network": 12 if demo else None,
        "slot_s": 0.25 if demo else 30.0,
        "next_slot_s": 0.2 if demo else 12.0,
        "waiting": 0,
        "pool": 3,
        "packets_relayed": 100,
        "packets_sent": 50,
        "packets_received": 50,
        "queries_sent": 25,
        "queries_answered": 24,
        "queries_lost": 1,
        "uptime_s": 60.0,
        "preset": preset,
        "anonymous": not demo,
        "warnings": [],
        "stored_records": 7,
        "delivery_s": 10.0 if demo else 1680.0,
    }
    return types.Status(**{**fields, **changes})
