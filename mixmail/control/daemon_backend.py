"""The control API over a running daemon."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import inlineCallbacks

import mixmail
from mixmail.agent import commands
from mixmail.agent.events import ContactsChanged, MailArrived, MailState
from mixmail.agent.model import Person
from mixmail.boxes.store import RECORD_SPACE
from mixmail.control import shapes, types
from mixmail.daemon.service import Daemon
from mixmail.effects import Delete, Put, Update
from mixmail.errors import UserError
from mixmail.mail import message, seed_words
from mixmail.mail.address import Address

SMALL_NETWORK = 50  # below so many nodes the anonymity set is the number of people, and is said so

Publish = Callable[[str, types.Shape], None]


class DaemonBackend:
    """Implements `mixmail.control.backend.Backend`; `stop` ends the process."""

    def __init__(self, daemon: Daemon, stop: Callable[[], None]) -> None:
        self._daemon = daemon
        self._stop = stop

    def publish_to(self, publish: Publish) -> None:
        """Send the cores' events on to the clients."""

        def heard(event: Any) -> None:
            match event:
                case MailArrived():
                    shape = types.MailNewEvent(
                        id=event.mail, contact_name=event.contact_name, subject=event.subject
                    )
                    publish("mail.new", shape)
                case MailState():
                    publish("mail.state", shapes.state_event(event))
                case ContactsChanged():
                    publish("contacts.changed", types.Empty())

        self._daemon.listeners.append(heard)
        self._publish = publish

    # connection

    def hello(self, params: types.HelloParams) -> types.Hello:
        """What this daemon is."""
        network = self._daemon.network
        return types.Hello(
            api=types.API_VERSION,
            version=mixmail.__version__,
            network=network.hash.hex()[:16],
            preset=network.parameters.name,
            anonymous=network.parameters.anonymous,
            node_id=self._daemon.node.node_id.hex(),
            has_identity=bool(self._people()) or self._daemon.locked,
            locked=self._daemon.locked,
            mail_limit=network.parameters.mail_limit,
        )

    @inlineCallbacks
    def unlock(self, params: types.UnlockParams) -> Any:
        """Open the profile."""
        yield self._daemon.unlock(params.passphrase)
        self._publish("identity.changed", types.Empty())
        return types.Empty()

    @inlineCallbacks
    def status(self, params: types.Empty) -> Any:
        """The node and its network now."""
        daemon = self._daemon
        stored = yield daemon.stored_records()
        now, parameters = daemon.now(), daemon.network.parameters
        here = {descriptor.node_id for descriptor in daemon.view.eligible(now)}  # who left is nobody's care
        known = len(here)
        counters = daemon.links.counters
        return types.Status(
            peers=len(daemon.links.peers()),
            known_nodes=known,
            small_network=known if known < SMALL_NETWORK else None,
            slot_s=parameters.slot,
            next_slot_s=max(0.0, daemon.agent.next_slot - now),
            waiting=daemon.agent.packets_waiting,
            pool=daemon.node.waiting,
            packets_relayed=daemon.node.stats["mix.out"],
            packets_sent=counters.frames_out[1],
            packets_received=counters.frames_in[1],
            queries_sent=daemon.agent.queries_sent,
            queries_answered=daemon.agent.queries_answered,
            queries_lost=daemon.agent.queries_lost,
            uptime_s=now - daemon.started_at,
            preset=parameters.name,
            anonymous=parameters.anonymous,
            warnings=daemon.warnings(),
            stored_records=stored,
            delivery_s=shapes.delivery_estimate(parameters),
            stamps_checked=daemon.node.stats["replica.stamps_checked"],
            stamps_bad=daemon.node.stats["replica.bad_stamp"],
            stamps_put_off=daemon.node.stats["replica.stamps_put_off"],
            lossy_nodes=[shapes.lossy(one) for one in daemon.agent.losses.named() if one.node_id in here],
        )

    @inlineCallbacks
    def store(self, params: types.Empty) -> Any:
        """What the node keeps for others."""
        usage, file_size = yield self._daemon.store_usage()
        return types.Store(
            quota=self._daemon.config.quota,
            used=usage.used,
            fill=usage.used / (usage.capacity * RECORD_SPACE),
            file_size=file_size,
            records=usage.records,
            entries=usage.entries,
            capacity=usage.capacity,
            remembered=usage.deleted,
            evicted=usage.evicted,
            asked_bits=self._daemon.node.claim,
            classes=[types.StoreClass(days=days, count=count) for days, count in usage.classes.items()],
        )

    # people

    def _people(self) -> dict[str, Person]:
        return self._daemon.agent.state.people

    def identity_list(self, params: types.Empty) -> list[types.Identity]:
        """Own identities."""
        return [shapes.identity(person) for person in self._people().values()]

    @inlineCallbacks
    def identity_create(self, params: types.IdentityCreateParams) -> Any:
        """A new identity, and a passphrase for the profile if one is given."""
        if params.passphrase:
            yield self._daemon.check_passphrase(None)  # refused before anything is made
        made = yield self._new_identity(commands.CreateIdentity(params.name))
        if params.passphrase:
            yield self._daemon.set_passphrase(None, params.passphrase)
        return made

    @inlineCallbacks
    def identity_restore(self, params: types.IdentityRestoreParams) -> Any:
        """An identity that was, from its seed words."""
        seed = seed_words.to_seed(params.words)
        made = yield self._new_identity(commands.CreateIdentity(params.name, seed))
        return made

    @inlineCallbacks
    def _new_identity(self, command: commands.CreateIdentity) -> Any:
        known = set(self._people())
        yield self._daemon.command(command)
        self._publish("identity.changed", types.Empty())
        return next(shapes.identity(person) for person in self._people().values() if person.id not in known)

    @inlineCallbacks
    def _change_identity(self, command: commands.IdentityCommand) -> Any:
        yield self._daemon.command(command)
        self._publish("identity.changed", types.Empty())
        return types.Empty()

    def identity_rename(self, params: types.IdentityRenameParams) -> Any:
        """Another name for correspondents."""
        return self._change_identity(commands.RenameIdentity(params.id, params.name))

    def identity_archive(self, params: types.IdentityArchiveParams) -> Any:
        """Out of use, or in use again."""
        return self._change_identity(commands.ArchiveIdentity(params.id, params.archived))

    def identity_delete(self, params: types.IdParams) -> Any:
        """Gone with its secrets."""
        return self._change_identity(commands.DeleteIdentity(params.id))

    @inlineCallbacks
    def identity_words(self, params: types.IdentityWordsParams) -> Any:
        """The seed words, for who knows the profile's passphrase."""
        yield self._daemon.check_passphrase(params.passphrase)
        if params.id not in self._people():
            raise UserError("There is no such identity; see 'mixmail id list'.", "unknown-identity")
        return types.SeedWords(words=seed_words.to_words(self._people()[params.id].identity.seed))

    @inlineCallbacks
    def passphrase(self, params: types.PassphraseParams) -> Any:
        """Another passphrase for the profile, or none."""
        yield self._daemon.set_passphrase(params.old, params.new)
        return types.Empty()

    def contact_list(self, params: types.Empty) -> list[types.Contact]:
        """The address book by name."""
        contacts = sorted(self._daemon.agent.state.contacts.values(), key=lambda c: c.name.lower())
        return [shapes.contact(contact) for contact in contacts]

    @inlineCallbacks
    def contact_add(self, params: types.ContactAddParams) -> Any:
        """Add an address."""
        address = Address.parse(params.address)
        yield self._daemon.command(commands.AddContact(params.address, params.name))
        return shapes.contact(self._daemon.agent.state.contacts[address.text])

    @inlineCallbacks
    def _change_contact(self, command: commands.ContactCommand) -> Any:
        yield self._daemon.command(command)
        return types.Empty()

    def contact_rename(self, params: types.ContactRenameParams) -> Any:
        """Another name."""
        return self._change_contact(commands.RenameContact(params.id, params.name))

    def contact_remove(self, params: types.IdParams) -> Any:
        """Out of the address book."""
        return self._change_contact(commands.RemoveContact(params.id))

    def contact_accept(self, params: types.IdParams) -> Any:
        """A stranger into the address book."""
        return self._change_contact(commands.AcceptContact(params.id))

    def contact_ignore(self, params: types.IdParams) -> Any:
        """A stranger and his mails away."""
        return self._change_contact(commands.IgnoreContact(params.id))

    def contact_block(self, params: types.ContactBlockParams) -> Any:
        """Nothing of a contact is read, or it is again."""
        return self._change_contact(commands.BlockContact(params.id, params.blocked))

    # mail

    @inlineCallbacks
    def mail_list(self, params: types.MailListParams) -> Any:
        """One page of a folder, newest first."""
        total, unread, rows = yield self._daemon.in_profile(
            lambda profile: profile.list_mails(params.folder, params.offset, params.limit, params.search)
        )
        return types.MailPage(total=total, unread=unread, mails=[shapes.summary(row) for row in rows])

    @inlineCallbacks
    def _row(self, mail_id: str) -> Any:
        row = yield self._daemon.in_profile(lambda profile: profile.get_mail(mail_id))
        if row is None:
            raise UserError("There is no such mail; it may have been deleted.", "unknown-mail")
        return row

    @inlineCallbacks
    def mail_read(self, params: types.IdParams) -> Any:
        """One mail, opened."""
        row = yield self._row(params.id)
        mail = message.parse(row["eml"])
        person = self._people().get(row["identity"])
        own = person.name if person else ""
        incoming = row["folder"] in types.INCOMING
        return types.Mail(
            summary=shapes.summary(row),
            text=mail.text,
            attachments=[
                types.AttachmentInfo(index=index, name=one.name, type=one.type, size=len(one.data))
                for index, one in enumerate(mail.attachments)
            ],
            from_name=row["contact_name"] if incoming else own,
            to_name=own if incoming else row["contact_name"],
        )

    @inlineCallbacks
    def mail_attachment(self, params: types.MailAttachmentParams) -> Any:
        """One attachment's bytes."""
        row = yield self._row(params.id)
        attachments = message.parse(row["eml"]).attachments
        if not 0 <= params.index < len(attachments):
            raise UserError(f"The mail has no attachment {params.index}.", "unknown-attachment")
        one = attachments[params.index]
        return types.Attachment(name=one.name, type=one.type, data=one.data)

    @inlineCallbacks
    def mail_mark(self, params: types.MailMarkParams) -> Any:
        """Read or unread."""
        yield self._row(params.id)
        change = Update("mails", {"id": params.id}, {"unread": int(params.unread)})
        yield self._daemon.in_profile(lambda profile: profile.apply((change,)))
        return types.Empty()

    @inlineCallbacks
    def mail_delete(self, params: types.IdParams) -> Any:
        """Delete for good; a mail of the outbox has to be cancelled instead."""
        row = yield self._row(params.id)
        if row["folder"] == "outbox":
            yield self._daemon.command(commands.CancelMail(params.id))
        else:
            change = Delete("mails", {"id": params.id})
            yield self._daemon.in_profile(lambda profile: profile.apply((change,)))
        return types.Empty()

    @inlineCallbacks
    def mail_cancel(self, params: types.IdParams) -> Any:
        """Take a queued mail back."""
        yield self._daemon.command(commands.CancelMail(params.id))
        return types.Empty()

    @inlineCallbacks
    def mail_send(self, params: types.MailSendParams) -> Any:
        """Into the outbox; answers when it is on disk."""
        attachments = tuple(message.Attachment(one.name, one.type, one.data) for one in params.attachments)
        self._need_identity()
        in_reply_to, identity = None, params.identity
        if params.in_reply_to:
            answered = yield self._row(params.in_reply_to)
            in_reply_to = message.parse(answered["eml"]).message_id
            identity = identity or answered["identity"]
            if identity not in self._people():
                raise UserError(
                    "The identity that this mail came to is gone: choose one of yours with --from.",
                    "no-identity",
                )
        contact = yield self._recipient(params.to)
        person = self._sender(identity, contact)
        mail = message.Mail(
            message_id=self._daemon.rng.bytes(message.MESSAGE_ID_BYTES),
            subject=params.subject,
            text=params.text,
            sent_minute=int(self._daemon.now()),
            from_name=person.name,
            in_reply_to=in_reply_to,
            attachments=attachments,
        )
        yield self._daemon.command(commands.SendMail(contact, person.id, message.compose(mail)))
        return types.Id(id=mail.message_id.hex())

    @inlineCallbacks
    def mail_send_eml(self, params: types.MailSendEmlParams) -> Any:
        """An RFC 5322 message, cleaned of what gives the sender away."""
        self._need_identity()
        contact = yield self._recipient(params.to)
        person = self._sender(None, contact)
        mail = dataclasses.replace(
            message.import_eml(params.data),
            message_id=self._daemon.rng.bytes(message.MESSAGE_ID_BYTES),
            sent_minute=int(self._daemon.now()),
            from_name=person.name,
            in_reply_to=None,
        )
        yield self._daemon.command(commands.SendMail(contact, person.id, message.compose(mail)))
        return types.Id(id=mail.message_id.hex())

    def _need_identity(self) -> None:
        if self._daemon.locked:
            raise UserError("The profile is locked: unlock it with its passphrase first.", "locked")
        if not self._people():
            raise UserError(
                "You have no identity yet: create one first (mixmail id new NAME).", "no-identity"
            )

    def _sender(self, identity: str | None, contact: str) -> Person:
        """Who writes to a contact: as asked for, else who wrote last, else the first.

        Who wrote last, so that nobody learns by chance that two identities are one person.
        """
        people = self._people()
        if identity is None:
            state = self._daemon.agent.state
            wrote = [
                (one.last_traffic, one.identity) for one in state.sessions.values() if one.contact == contact
            ]
            wrote += [(one.created, one.identity) for one in state.outbox.values() if one.contact == contact]
            last = [name for _, name in sorted(wrote) if state.in_use(name)]
            in_use = [id for id, person in people.items() if not person.archived]
            return people[(last[-1:] or in_use or list(people))[0]]
        if identity not in people:
            raise UserError("There is no such identity; see 'mixmail id list'.", "no-identity")
        return people[identity]

    @inlineCallbacks
    def _recipient(self, to: str) -> Any:
        """The contact meant by an id, a name or an address; a new address is added to the book."""
        contacts = self._daemon.agent.state.contacts
        if to in contacts:
            return to
        named = [contact.id for contact in contacts.values() if contact.name.lower() == to.strip().lower()]
        if len(named) == 1:
            return named[0]
        if len(named) > 1:
            raise UserError(f"{len(named)} contacts are called {to}: give the address.", "ambiguous")
        if not to.strip().lower().startswith(("mix1", "mixmail:")):
            raise UserError(
                f"Nobody called {to} is in the address book: add the contact first, or give an address "
                "(mix1…).",
                "unknown-contact",
            )
        address = Address.parse(to)
        if address.text not in contacts:
            yield self._daemon.command(commands.AddContact(address.text, ""))
        return address.text

    # drafts

    @inlineCallbacks
    def draft_save(self, params: types.DraftSaveParams) -> Any:
        """Keep a draft."""
        row = {
            "id": params.id or self._daemon.rng.bytes(8).hex(),
            "recipient": params.to,
            "subject": params.subject,
            "text": params.text,
            "in_reply_to": params.in_reply_to or "",
            "saved": self._daemon.now(),
        }
        yield self._daemon.in_profile(lambda profile: profile.apply((Put("drafts", row),)))
        return types.Id(id=str(row["id"]))

    @inlineCallbacks
    def draft_list(self, params: types.Empty) -> Any:
        """Newest first."""
        rows = yield self._daemon.in_profile(lambda profile: profile.rows("drafts"))
        return [
            types.Draft(
                id=row["id"],
                to=row["recipient"],
                subject=row["subject"],
                text=row["text"],
                date=row["saved"],
                in_reply_to=row["in_reply_to"] or None,
            )
            for row in sorted(rows, key=lambda row: -row["saved"])
        ]

    @inlineCallbacks
    def draft_delete(self, params: types.IdParams) -> Any:
        """Drop a draft."""
        change = Delete("drafts", {"id": params.id})
        yield self._daemon.in_profile(lambda profile: profile.apply((change,)))
        return types.Empty()

    def drain(self, params: types.Empty) -> types.Draining:
        """Send what waits and take nothing more, then end, whether or not anybody waits for it."""
        daemon = self._daemon
        if daemon.drained is None:
            daemon.drain().addCallback(lambda _: self._stop())
        limit = max(0.0, (daemon.node.drained_by or 0.0) - daemon.now())
        return types.Draining(held=daemon.node.waiting, limit_s=limit)

    @inlineCallbacks
    def drained(self, params: types.Empty) -> Any:
        """How many packets were left at the end of the drain."""
        if self._daemon.drained is None:
            raise UserError("The node is not draining: use 'mixmail stop --drain'.", "not-draining")
        left = yield self._daemon.drain()
        return types.Stopping(dropped=left)

    def shutdown(self, params: types.Empty) -> types.Stopping:
        """End the daemon, after the answer has gone out."""
        dropped = self._daemon.node.waiting
        self._stop()
        return types.Stopping(dropped=dropped)
