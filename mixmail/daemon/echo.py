"""Echo: answers each mail with its text.  An ordinary identity; it only does by itself what a user does."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.logger import Logger

from mixmail.agent.commands import CreateIdentity, SendMail
from mixmail.agent.events import MailArrived
from mixmail.agent.tables import INCOMING
from mixmail.daemon.service import Daemon
from mixmail.effects import Update
from mixmail.mail import message
from mixmail.storage.driver import replace_file
from mixmail.storage.profile_db import ProfileDatabase

NAME = "echo"
ADDRESS_FILE = "address.txt"


class Echo:
    """Answers on behalf of the daemon's first identity.

    A mail is answered while it is unread and marked as read once the answer is in the outbox, so one
    that comes in before a crash is answered after it.
    """

    log = Logger()

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._answering: set[str] = set()

    @inlineCallbacks
    def start(self) -> Any:
        """Make the identity at the first start, say its address, answer what is unread."""
        people = self._daemon.agent.state.people
        if not people:
            yield self._daemon.command(CreateIdentity(NAME))
        address = next(iter(people.values())).identity.address.text
        replace_file(self._daemon.home.path / ADDRESS_FILE, f"{address}\n".encode())
        self._daemon.listeners.append(self._heard)
        unread = yield self._daemon.in_profile(_unread)
        for mail in unread:
            yield self._answer(mail)

    def _heard(self, event: Any) -> None:
        if isinstance(event, MailArrived):
            self._answer(event.mail).addErrback(lambda failure: self.log.failure("echo failed", failure))

    @inlineCallbacks
    def _answer(self, mail_id: str) -> Any:
        if mail_id in self._answering:
            return
        self._answering.add(mail_id)
        try:
            yield self._answer_once(mail_id)
        finally:
            self._answering.discard(mail_id)

    @inlineCallbacks
    def _answer_once(self, mail_id: str) -> Any:
        row = yield self._daemon.in_profile(lambda profile: profile.get_mail(mail_id))
        received = message.parse(row["eml"])
        subject = received.subject if received.subject.startswith("Re: ") else f"Re: {received.subject}"
        quoted = "".join(f"> {line}\n" for line in received.text.splitlines())
        answer = message.Mail(
            message_id=self._daemon.rng.bytes(16),
            subject=subject,
            text=f"This is echo. You wrote:\n\n{quoted}",
            sent_minute=int(self._daemon.now()),
            from_name=NAME,
            in_reply_to=received.message_id,
            attachments=received.attachments,
        )
        yield self._daemon.command(SendMail(row["contact"], row["identity"], message.compose(answer)))
        read = Update("mails", {"id": mail_id}, {"unread": 0})
        yield self._daemon.in_profile(lambda profile: profile.apply((read,)))


def _unread(profile: ProfileDatabase) -> list[str]:
    found = []
    for folder in INCOMING:
        _, _, rows = profile.list_mails(folder, 0, 1_000_000, "")
        found += [row["id"] for row in rows if row["unread"]]
    return found
