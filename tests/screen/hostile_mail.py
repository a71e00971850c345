"""Hostile texts as real mails: bytes that no honest program writes, sealed and sent by a real agent.

Each text is written by an identity of its own, as whose name it stands in the From header; it is the subject
too, the body, and the name and type of an attachment.  `message.compose` would clean most of them, so the
bytes of the mails are made here.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote_from_bytes

from lab_daemon import LabDaemon

from mixmail.agent.commands import AcceptContact, AddContact, CreateIdentity, SendMail
from mixmail.daemon.home import NodeHome
from mixmail.directory.network_file import NetworkFile
from mixmail.lab.network import LabNetwork
from mixmail.lab.scenario import LAB
from mixmail.lab.standins import stand_in_crypto
from mixmail.mail import message
from mixmail.params import DEMO

QUICK = dataclasses.replace(
    LAB, slot_shares=3, inbox_weight=0.7, hot_weight=0.05, cold_weight=1 / 512, follow_wait_slots=1.0
)
"""A network on which one person gets many mails of strangers soon.  Everybody is polled: what comes in two
parts is lost for good where old contacts have no weight at all."""

TOO_LATE = 2_000.0
_IN_HEADERS = 1_500  # characters: the mail has to fit into one box with its body
_BOUNDARY = b"----=_hostile_boundary"


def raw_mail(number: int, text: str) -> bytes:
    """The mail of a text; odd ones have it in their headers as it is, even ones in encoded words."""
    header = _raw if number % 2 else _word
    short = text[:_IN_HEADERS]
    name = quote_from_bytes(text[:300].encode()).encode()
    return b"\r\n".join(
        [
            b"From: " + header(text[:300]) + b" <sender@mixmail>",
            b"Date: Fri, 04 Oct 2024 11:00:00 +0000",
            b"Subject: " + header(f"h{number:02} {short}"),
            f"Message-ID: <{number:032x}@mixmail>".encode(),
            b"MIME-Version: 1.0",
            b'Content-Type: multipart/mixed; boundary="' + _BOUNDARY + b'"',
            b"",
            b"--" + _BOUNDARY,
            b"Content-Type: text/plain; charset=utf-8",
            b"Content-Transfer-Encoding: binary",
            b"",
            f"b{number:02} {text}".encode(),
            b"--" + _BOUNDARY,
            b"Content-Type: application/" + _raw(text[:100]),
            b"Content-Disposition: attachment; filename*=utf-8''" + name,
            b"Content-Transfer-Encoding: binary",
            b"",
            text.encode(),
            b"--" + _BOUNDARY + b"--",
            b"",
        ]
    )


def _raw(text: str) -> bytes:
    """As it is, but for the line breaks that would end the header."""
    return text.replace("\r", " ").replace("\n", " ").encode()


def _word(text: str) -> bytes:
    return b"=?utf-8?b?" + base64.b64encode(text.encode()) + b"?="


def deliver(folder: Path, texts: Sequence[str]) -> list[int]:
    """Send every text to the person whose home `folder` becomes; returns their numbers, newest first."""
    with stand_in_crypto(1):
        lab = LabNetwork(QUICK, nodes=5, seed=7, trace=False, senders=2)
        lab.start()
        victim, mallory = LabDaemon(lab, 0, folder), lab.hosts[1]
        address = victim.create("Ada")
        lab.command(mallory, AddContact(address, "victim"))
        for number, text in enumerate(texts):
            lab.command(mallory, CreateIdentity(f"Mallory {number}"))
            assert mallory.agent is not None
            lab.command(
                mallory, SendMail(address, list(mallory.agent.state.people)[-1], raw_mail(number, text))
            )
        arrived = lab.run(TOO_LATE, lambda: victim.arrived == len(texts))
        assert arrived, f"only {victim.arrived} of {len(texts)} mails have come"
        for stranger in list(victim.agent.state.contacts):
            lab.command(victim.host, AcceptContact(stranger))
        numbers = []
        for row in victim.mails():
            eml = victim.profile.get_mail(row["id"])["eml"]
            number = int(message.parse(eml).message_id.hex(), 16)
            assert eml == raw_mail(number, texts[number]), "the hostile bytes have not travelled as they were"
            numbers.append(number)
        victim.close()
    file = NetworkFile(lab.network.network_id, lab.network.birth_day, DEMO.name, ())
    NodeHome(folder).write_network_file(file)
    return numbers
