"""People in a lab network: make them, let them write, look into their folders."""

from __future__ import annotations

import dataclasses

from mixmail.agent.commands import AddContact, CreateIdentity, SendMail
from mixmail.agent.tables import INCOMING
from mixmail.mail import message
from mixmail.params import DEMO, NetworkParameters

from .network import LabHost, LabNetwork

LAB: NetworkParameters = dataclasses.replace(
    DEMO, name="lab", puzzle_memory=8_192, puzzle_bits=0, stranger_bits=0
)
"""The demo's slots and delays with puzzles that cost nothing."""


def add_person(lab: LabNetwork, number: int, name: str) -> LabHost:
    """Give host `number` an identity."""
    host = lab.hosts[number]
    lab.command(host, CreateIdentity(name))
    return host


def address(host: LabHost) -> str:
    """The address of the host's first identity."""
    return str(next(iter(host.tables["identities"].values()))["id"])


def befriend(lab: LabNetwork, host: LabHost, other: LabHost) -> None:
    """Put `other` into the address book of `host` if it is not there."""
    if address(other) not in {row["id"] for row in host.tables.get("contacts", {}).values()}:
        lab.command(host, AddContact(address(other), ""))


def send(
    lab: LabNetwork,
    sender: LabHost,
    recipient: LabHost,
    subject: str,
    text: str,
    in_reply_to: bytes | None = None,
    attachments: tuple[message.Attachment, ...] = (),
) -> str:
    """Write a mail; returns its id."""
    befriend(lab, sender, recipient)
    name = next(iter(sender.tables["identities"].values()))["name"]
    mail = message.Mail(
        message_id=sender.rng.bytes(message.MESSAGE_ID_BYTES),
        subject=subject,
        text=text,
        sent_minute=int(lab.now),
        from_name=name,
        in_reply_to=in_reply_to,
        attachments=attachments,
    )
    lab.command(sender, SendMail(address(recipient), address(sender), message.compose(mail)))
    return mail.message_id.hex()


def arrived(host: LabHost) -> list[message.Mail]:
    """The mails of the inbox, oldest first."""
    rows = [row for row in host.tables.get("mails", {}).values() if row["folder"] in INCOMING]
    return [message.parse(row["eml"]) for row in sorted(rows, key=lambda row: row["date"])]


def outbox_state(host: LabHost, mail: str) -> tuple[str, str]:
    """(folder, state) of an own mail."""
    row = host.tables["mails"][(mail,)]
    return row["folder"], row["state"]
