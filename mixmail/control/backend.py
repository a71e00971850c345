"""What the control server asks of the daemon: one method per RPC method.

Every method takes the shape of its parameters and returns the shape of its result, or a Deferred of
it.  A `UserError` reaches the client with its code and sentence; any other exception is logged and
reaches the client as "internal".  Events go the other way, by `ControlServer.publish(kind, data)`.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred

from mixmail.control import types

T = TypeVar("T")
Answer: TypeAlias = T | Deferred[T]


class Backend(Protocol):
    """The daemon as the control server sees it."""

    def hello(self, params: types.HelloParams) -> Answer[types.Hello]:
        """The server has checked `params.api` before."""

    def unlock(self, params: types.UnlockParams) -> Answer[types.Empty]:
        """UserError "wrong-passphrase"."""

    def status(self, params: types.Empty) -> Answer[types.Status]: ...

    def store(self, params: types.Empty) -> Answer[types.Store]: ...

    def identity_list(self, params: types.Empty) -> Answer[list[types.Identity]]: ...

    def identity_create(self, params: types.IdentityCreateParams) -> Answer[types.Identity]: ...

    def identity_restore(self, params: types.IdentityRestoreParams) -> Answer[types.Identity]:
        """UserError "seed-words", "known-identity"."""

    def identity_rename(self, params: types.IdentityRenameParams) -> Answer[types.Empty]: ...

    def identity_archive(self, params: types.IdentityArchiveParams) -> Answer[types.Empty]:
        """UserError "busy" while a mail of it is in the outbox."""

    def identity_delete(self, params: types.IdParams) -> Answer[types.Empty]:
        """UserError "busy" while a mail of it is in the outbox."""

    def identity_words(self, params: types.IdentityWordsParams) -> Answer[types.SeedWords]:
        """UserError "passphrase" or "locked" if the profile has a passphrase and another or none is given."""

    def passphrase(self, params: types.PassphraseParams) -> Answer[types.Empty]:
        """UserError "passphrase" or "locked" as above."""

    def contact_list(self, params: types.Empty) -> Answer[list[types.Contact]]: ...

    def contact_add(self, params: types.ContactAddParams) -> Answer[types.Contact]:
        """UserError "bad-address"."""

    def contact_rename(self, params: types.ContactRenameParams) -> Answer[types.Empty]: ...

    def contact_remove(self, params: types.IdParams) -> Answer[types.Empty]: ...

    def contact_accept(self, params: types.IdParams) -> Answer[types.Empty]:
        """A stranger becomes a contact, his mails go to the inbox."""

    def contact_ignore(self, params: types.IdParams) -> Answer[types.Empty]:
        """Forgets a stranger and his mails.  UserError "no-request"."""

    def contact_block(self, params: types.ContactBlockParams) -> Answer[types.Empty]: ...

    def mail_list(self, params: types.MailListParams) -> Answer[types.MailPage]: ...

    def mail_read(self, params: types.IdParams) -> Answer[types.Mail]:
        """Does not mark the mail as read: clients say `mail.mark`."""

    def mail_attachment(self, params: types.MailAttachmentParams) -> Answer[types.Attachment]: ...

    def mail_mark(self, params: types.MailMarkParams) -> Answer[types.Empty]: ...

    def mail_delete(self, params: types.IdParams) -> Answer[types.Empty]: ...

    def mail_cancel(self, params: types.IdParams) -> Answer[types.Empty]:
        """Takes a queued mail back; UserError "already-sent" as soon as anything of it has left."""

    def mail_send(self, params: types.MailSendParams) -> Answer[types.Id]:
        """Answers when the mail is durable in the outbox; UserError "unknown-contact"."""

    def mail_send_eml(self, params: types.MailSendEmlParams) -> Answer[types.Id]: ...

    def draft_save(self, params: types.DraftSaveParams) -> Answer[types.Id]: ...

    def draft_list(self, params: types.Empty) -> Answer[list[types.Draft]]: ...

    def draft_delete(self, params: types.IdParams) -> Answer[types.Empty]: ...

    def drain(self, params: types.Empty) -> Answer[types.Draining]:
        """Take no more packets and end when those inside have left; asking again changes nothing."""

    def drained(self, params: types.Empty) -> Answer[types.Stopping]:
        """Answers when the drain is over.  UserError "not-draining"."""

    def shutdown(self, params: types.Empty) -> Answer[types.Stopping]:
        """Stops the daemon in a later turn of the reactor, so that the answer still goes out."""
