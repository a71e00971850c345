"""`import_eml` on real message files (tests/data/ORIGIN.md): all that was said, nothing of who and where."""

from __future__ import annotations

import dataclasses
import email
import email.policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.errors import UserError
from mixmail.mail.message import Attachment, Mail, compose, import_eml, parse
from mixmail.mail.parts import FIRST_ROOM, Part, join, split

DATA = Path(__file__).parent.parent / "data"
FILES = sorted(DATA.glob("msg_*.txt"))
ID = bytes(range(16))
HTML_OF_10 = "¡This is a Quoted Printable encoded message!\n"

# what in each file gives its author's machine, program, time zone or address away
SECRETS = {
    "msg_10.txt": ["-0400", "Barry", "python.org", "2001", "To:"],
    "msg_13.txt": ["-0400", "Barry", "digicool", "OUTER", "To:"],
    "msg_22.txt": ["134.84.183.138", "+0300", "example.com", "x-mac", "a05001902b7f1c33773e9", "flowed"],
    "msg_26.txt": [
        *(
            "192.168.0.2",
            "wooster",
            "SMTPD32",
            "+0100",
            "Messenger-Pro",
            "RISC-OS",
            "X-Organization",
            "X-UIDL",
        ),
        *("6df65d354b", "Father", "fff69c4b", "timbo", "Received", "User-Agent"),
    ],
    "msg_45.txt": ["foo@bar", "baz@bar", "X-Long-Line", "borderline", "micalg"],
}


def by_the_email_package(raw: bytes) -> tuple[str, list[str], list[tuple[str | None, str, bytes]]]:
    """Subject, inline texts and files of a message, read without any code of mixmail."""
    tree = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(tree, EmailMessage)
    texts, files = [], []
    for part in tree.walk():
        if part.get_content_type() == "text/plain" and not part.is_attachment():
            texts.append(part.get_content().replace("\r\n", "\n"))
        elif part.get_content_type() == "text/html":
            texts.append(HTML_OF_10)
        elif not part.is_multipart():
            files.append((part.get_filename(), part.get_content_type(), part.get_payload(decode=True)))
    return str(tree["subject"] or ""), texts, files


def test_there_are_five_files() -> None:
    assert [path.name for path in FILES] == sorted(SECRETS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_real_mail_arrives_whole(path: Path) -> None:
    raw = path.read_bytes()
    subject, texts, files = by_the_email_package(raw)
    mail = dataclasses.replace(import_eml(raw), message_id=ID)
    parts = split(compose(mail), ID, bytes(32), FIRST_ROOM)
    read = [Part.parse(part.pack(), bytes(32)) for part in reversed(parts)]
    joined = join({part.part: part.payload for part in read}, len(parts))
    assert joined is not None
    got = parse(joined)
    assert got.subject == subject
    assert (
        got.text == "".join(text if text.endswith("\n") else text + "\n" for text in texts[:-1]) + texts[-1]
    )
    assert [(file.name, file.type, file.data) for file in got.attachments] == files
    assert got.message_id == ID


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_that_gives_the_sender_away_is_left(path: Path) -> None:
    raw = path.read_bytes()
    sent = compose(import_eml(raw))
    for secret in SECRETS[path.name]:
        assert secret.encode() in raw and secret.encode().lower() not in sent.lower()
    head = sent.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    names = [line.partition(b":")[0].decode() for line in head.split(b"\r\n")]
    assert names[:5] == ["From", "Date", "Subject", "Message-ID", "MIME-Version"]
    assert set(names[5:]) <= {"Content-Type", "Content-Transfer-Encoding"}


LEAKY = b"""\
Return-Path: <secret@secret.example>
Received: from [10.9.8.7] by secret.example; Tue, 14 Nov 2023 23:30:00 +0530
From: Secret Name <secret@secret.example>
To: Secret Friend <friend@secret.example>
Cc: secret2@secret.example
Bcc: secret3@secret.example
Reply-To: secret4@secret.example
Sender: secret5@secret.example
Date: Tue, 14 Nov 2023 23:30:00 +0530
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?b?5A==?=
Message-ID: <secret.1@secret.example>
In-Reply-To: <secret.2@secret.example>
References: <secret.3@secret.example>
User-Agent: Secret/1.0 (X11; secret-host)
X-Mailer: Secret
X-Originating-IP: 10.9.8.7
List-Id: secret
DKIM-Signature: d=secret.example
Content-Language: x-secret
MIME-Version: 1.0 (Secret)
Content-Type: multipart/mixed; boundary="secret-boundary"; x-secret=1

Preamble secret
--secret-boundary
Content-Type: text/plain; charset="iso-8859-1"; x-secret=1
Content-Transfer-Encoding: quoted-printable
X-Secret: 1

gr=FC=DFe
--secret-boundary
Content-Type: image/png; name="/home/secret/pic.png"; x-secret=1
Content-Disposition: attachment; filename="/home/secret/pic.png"; creation-date="secret"
Content-ID: <secret@secret.example>
Content-Description: secret
Content-Location: file:///home/secret/pic.png
Content-Transfer-Encoding: base64

AAEC
--secret-boundary
Content-Type: message/rfc822

Received: from secret.example
From: Ann Other <ann@elsewhere>
To: Secret <secret@secret.example>
X-Delivered-To: secret
Message-ID: <ann@elsewhere>
Subject: inner
Date: Tue, 14 Nov 2023 23:30:00 +0530

hello
--secret-boundary--
Epilogue secret
"""


def test_no_header_or_parameter_survives_that_was_not_asked_for() -> None:
    mail = import_eml(LEAKY)
    sent = compose(mail)
    for leak in (b"secret", b"10.9.8.7", b"0530", b"18:", b"/home"):
        assert leak in LEAKY.lower() or leak == b"18:"
        assert leak not in sent.lower().replace(b"tue, 14 nov 2023 18:00:00 +0000", b"")
    assert (mail.subject, mail.text) == ("Grüßeä", "grüße")
    assert mail.attachments[0] == Attachment("pic.png", "image/png", b"\0\x01\x02")
    assert mail.attachments[1].name == "message.eml"
    assert parse(mail.attachments[1].data).text == "hello"


def test_the_caller_gives_id_time_and_name() -> None:
    mail = import_eml(LEAKY)
    assert (mail.message_id, mail.sent_minute, mail.from_name, mail.in_reply_to) == (bytes(16), 0, "", None)


def test_an_answer_to_a_mail_of_ours_keeps_no_reference() -> None:
    raw = b"Message-ID: <%b@mixmail>\nIn-Reply-To: <%b@mixmail>\n\nx" % (b"a" * 32, b"b" * 32)
    mail = import_eml(raw)
    assert (mail.message_id, mail.in_reply_to) == (bytes(16), None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"just some text\n",
        b"\x89PNG\r\n\x1a\n\0\0",
        b'{"a": 1}',
        b"#!/bin/sh\necho: x\n",
        b"Foo: bar\n\ntext",
    ],
)
def test_a_file_that_is_no_mail_is_refused_in_a_sentence(raw: bytes) -> None:
    with pytest.raises(UserError) as caught:
        import_eml(raw)
    assert caught.value.code == "eml" and caught.value.message.endswith(".")


def test_a_file_of_endless_parts_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError) as caught:
        import_eml(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 2_000)
    assert caught.value.code == "eml"


def test_a_mark_and_an_mbox_line_before_the_headers() -> None:
    for start in (b"\xef\xbb\xbf", b"From me@x Tue Nov 14 00:00:00 2023\n"):
        assert import_eml(start + b"Subject: a\n\nb") == Mail(bytes(16), "a", "b")


@given(st.binary(max_size=300))
def test_any_file_is_imported_or_refused(noise: bytes) -> None:
    for raw in (noise, b"Subject: x\n" + noise):
        try:
            mail = import_eml(raw)
        except UserError as error:
            assert error.code == "eml"
        else:
            assert parse(compose(dataclasses.replace(mail, subject=""))).text == mail.text
