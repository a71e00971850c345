"""A user in front of a lab host: does what a person does when the machine has crashed, namely once more."""

from __future__ import annotations

from collections.abc import Callable

from mixmail.agent.commands import AddContact, CancelMail, CreateIdentity, SendMail
from mixmail.lab.network import LabHost, LabNetwork
from mixmail.lab.scenario import address, arrived
from mixmail.mail import message

PAUSE = 3.0  # seconds for which a crashed machine is down


class User:
    """One person; `wait` restarts any machine of `everybody` that is down."""

    def __init__(self, lab: LabNetwork, number: int, name: str, everybody: list[User]) -> None:
        self.lab = lab
        self.host: LabHost = lab.hosts[number]
        self.name = name
        self.everybody = everybody
        self._inbox: list[message.Mail] = []
        everybody.append(self)

    def insist(self, command: object, done: Callable[[], bool]) -> None:
        """Give `command` until it has worked: a crash before it was on disk means once more."""
        for _ in range(5):
            self.restart_the_dead()
            if done():
                return
            self.lab.command(self.host, command)  # type: ignore[arg-type]
        raise AssertionError(f"{command!r} does not work")

    def restart_the_dead(self) -> None:
        """Crashed machines come back after a while."""
        while any(not user.host.up for user in self.everybody):
            self.lab.run(PAUSE)
            for user in self.everybody:
                if not user.host.up:
                    self.lab.restart(user.host)

    def wait(self, seconds: float, until: Callable[[], bool], what: str) -> None:
        """Let the network run until `until()`, restarting what crashes on the way."""
        end = self.lab.now + seconds

        def stop() -> bool:
            return until() or any(not user.host.up for user in self.everybody)

        while self.lab.now < end:
            self.lab.run(end - self.lab.now, until=stop)
            self.restart_the_dead()
            if until():
                return
        raise AssertionError(f"{what}: not within {seconds} s")

    def create(self) -> None:
        """Make the identity."""
        self.insist(CreateIdentity(self.name), lambda: bool(self.host.tables.get("identities")))

    def know(self, address_text: str) -> None:
        """Add an address to the book."""
        book = self.host.tables.setdefault("contacts", {})
        self.insist(AddContact(address_text, "friend"), lambda: (address_text,) in book)

    def write(self, to: str, text: str, reply_to: bytes | None = None) -> str:
        """Send a mail to the address `to`; returns its id."""
        self.know(to)
        mail = message.Mail(
            message_id=self.host.rng.bytes(message.MESSAGE_ID_BYTES),
            subject=text[:20].strip(),
            text=text,
            sent_minute=int(self.lab.now),
            from_name=self.name,
            in_reply_to=reply_to,
        )
        key = (mail.message_id.hex(),)
        rows = self.host.tables.setdefault("mails", {})
        self.insist(SendMail(to, self.address, message.compose(mail)), lambda: key in rows)
        return key[0]

    def cancel(self, mail: str) -> None:
        """Take a mail back."""
        self.insist(CancelMail(mail), lambda: (mail,) not in self.host.tables["mails"])

    @property
    def address(self) -> str:
        """The own address."""
        return address(self.host)

    def texts(self) -> list[str]:
        """The texts in the inbox, oldest first."""
        return [mail.text for mail in self._arrived()]

    def message_id(self, text: str) -> bytes:
        """The id of the arrived mail with this text."""
        (found,) = [mail.message_id for mail in self._arrived() if mail.text == text]
        return found

    def _arrived(self) -> list[message.Mail]:
        # Asked after every step of the scheduler: parse again only when something has come.
        rows = self.host.tables.get("mails", {}).values()
        count = sum(row["folder"] in ("inbox", "requests") for row in rows)
        if count != len(self._inbox):
            self._inbox = arrived(self.host)
        return self._inbox

    def outbox(self) -> list[str]:
        """The mails that are not stored yet."""
        return [row["id"] for row in self.host.tables.get("mails", {}).values() if row["folder"] == "outbox"]
