"""A mail as people see it, and as the bytes that travel (docs/protocol/people.md, "Mail").

The bytes are a MIME message (RFC 5322, 2045) of a fixed set of headers.  Nothing in them comes from the
machine: not its name, clock, time zone, locale, paths or program versions.  Equal mails give equal bytes.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_tz
from urllib.parse import quote

from mixmail.crypto import hashing
from mixmail.errors import LocalProtocolError, RemoteProtocolError, UserError
from mixmail.mail import mime
from mixmail.mail.headers import decode_line, encode_line, one_line

MESSAGE_ID_BYTES = 16
ROUND = 3_600  # a mail's time is told to the full hour
SUBJECT_CHARS = 1_000
ATTACHMENTS = 60  # a reader refuses mails of more than 64 parts

_DOMAIN = "mixmail"
_MAILBOX = f"sender@{_DOMAIN}"  # constant: who wrote is known from the session, not from a header
_REFERENCE = re.compile(rf"<([0-9a-f]{{{2 * MESSAGE_ID_BYTES}}})@{_DOMAIN}>")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"')
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LAST_SECOND = 253_402_300_799  # the year 9999
_KNOWN = {"from", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file: name without path, MIME type, bytes.  Anything else in a name or type is cleaned away."""

    name: str
    type: str
    data: bytes

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", mime.safe_name(self.name))
        kind = self.type.lower()
        # a reader would take a multipart or a message apart instead of keeping its bytes
        if not _TYPE.fullmatch(kind) or kind.startswith(("multipart/", "message/")):
            kind = mime.OCTETS
        object.__setattr__(self, "type", kind)


@dataclass(frozen=True, slots=True)
class Mail:
    """`sent_minute`: unix seconds, told only to the full hour; `message_id`, `in_reply_to`: 16 bytes each.

    Lines of `text` end with "\\n"; `subject` and `from_name` are single lines.
    """

    message_id: bytes
    subject: str
    text: str
    sent_minute: int = 0
    from_name: str = ""
    in_reply_to: bytes | None = None
    attachments: tuple[Attachment, ...] = ()


def compose(mail: Mail) -> bytes:
    """The bytes of a mail.

    UserError: a subject that is too long (code "subject"), too many attachments (code "too-large").
    """
    subject = one_line(mail.subject)
    if len(subject) > SUBJECT_CHARS:
        raise UserError(f"The subject is longer than {SUBJECT_CHARS} characters: shorten it.", code="subject")
    if len(mail.attachments) > ATTACHMENTS:
        raise UserError(
            f"A mail takes {ATTACHMENTS} attachments at most: put them into an archive.", code="too-large"
        )
    name = encode_line(one_line(mail.from_name))
    if name and not name.startswith("=?"):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    headers = [
        f"From: {name} <{_MAILBOX}>" if name else f"From: <{_MAILBOX}>",
        f"Date: {_date(mail.sent_minute)}",
        f"Subject: {encode_line(subject)}",
        f"Message-ID: {_reference(mail.message_id)}",
    ]
    if mail.in_reply_to is not None:
        headers.append(f"In-Reply-To: {_reference(mail.in_reply_to)}")
    headers.append("MIME-Version: 1.0")
    text = (
        mail.text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode("utf-8", "replace")
    )
    body = _entity(["Content-Type: text/plain; charset=utf-8"], text)
    if mail.attachments:
        body = _mixed([body, *map(_attachment, mail.attachments)])
    return _lines(headers) + body


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _entity(headers: list[str], data: bytes) -> bytes:
    return _lines([*headers, "Content-Transfer-Encoding: binary", ""]) + data


def _mixed(entities: list[bytes]) -> bytes:
    # a text cannot hold the hash of itself, so no search for a free boundary is needed
    boundary = hashing.h512("mm1.boundary", b"", *entities)[:16].hex()
    head = _lines([f'Content-Type: multipart/mixed; boundary="{boundary}"', ""])
    line = f"--{boundary}".encode("ascii")
    return head + b"".join(line + b"\r\n" + entity + b"\r\n" for entity in entities) + line + b"--\r\n"


def _attachment(attachment: Attachment) -> bytes:
    name = quote(attachment.name.encode("utf-8", "replace"), safe="")
    return _entity(
        [
            f"Content-Type: {attachment.type}",
            f"Content-Disposition: attachment;\r\n filename*=utf-8''{name}",
        ],
        attachment.data,
    )


def _date(seconds: int) -> str:
    """RFC 5322 date of the full hour, UTC, by hand: strftime follows the locale."""
    hour = min(max(seconds, 0), _LAST_SECOND) // ROUND * ROUND
    when = datetime.datetime.fromtimestamp(hour, datetime.UTC)
    return (
        f"{_DAYS[when.weekday()]}, {when.day:02} {_MONTHS[when.month - 1]} {when.year:04}"
        f" {when.hour:02}:00:00 +0000"
    )


def _reference(message_id: bytes) -> str:
    if len(message_id) != MESSAGE_ID_BYTES:
        raise LocalProtocolError(f"a message id has {MESSAGE_ID_BYTES} bytes, not {len(message_id)}")
    return f"<{message_id.hex()}@{_DOMAIN}>"


def parse(raw: bytes) -> Mail:
    """The mail in the bytes of a peer, whatever program made them; RemoteProtocolError, never anything else.

    HTML is shown as text, wrong characters as U+FFFD.  Without a Message-ID of ours the id is a hash of the
    bytes.
    """
    try:
        return _mail_of(mime.read(raw), hashing.blake2b(raw, MESSAGE_ID_BYTES))
    except RemoteProtocolError:
        raise
    except Exception as error:  # the email package names no closed set of errors for broken input
        raise RemoteProtocolError(f"this mail cannot be read: {error!r}") from error


def import_eml(raw: bytes) -> Mail:
    """Subject, text and attachments of a message file of another program, and nothing else of it.

    The caller sets message_id, time and name; they are zero, 0 and "" here.  UserError (code "eml") when the
    file is no message.
    """
    try:
        tree = mime.read(raw.removeprefix(b"\xef\xbb\xbf"), mime.IMPORT_PARTS)
        if not _KNOWN.intersection(name.lower() for name, _ in tree.items()):
            raise UserError("This file is no mail: choose a message saved in the .eml format.", code="eml")
        found = _mail_of(tree, bytes(MESSAGE_ID_BYTES))
    except UserError:
        raise
    except Exception as error:  # as in `parse`
        message = (
            "This mail cannot be read: save it again in the .eml format, or send its text and files by hand."
        )
        raise UserError(message, code="eml") from error
    return Mail(bytes(MESSAGE_ID_BYTES), found.subject, found.text, attachments=found.attachments)


def _mail_of(tree: Message, default_id: bytes) -> Mail:
    contents = mime.contents(tree, _enclosed)
    own = _REFERENCE.fullmatch(mime.header(tree, "message-id"))
    parent = _REFERENCE.fullmatch(mime.header(tree, "in-reply-to"))
    return Mail(
        message_id=bytes.fromhex(own[1]) if own else default_id,
        subject=mime.header(tree, "subject"),
        text=contents.text,
        sent_minute=_seconds(mime.header(tree, "date")),
        from_name=_display_name(str(tree.get("from", ""))),
        in_reply_to=bytes.fromhex(parent[1]) if parent else None,
        attachments=tuple(Attachment(*file) for file in contents.files),
    )


def _enclosed(tree: Message) -> bytes:
    """A forwarded message in our own form with its author's name: its headers tell whose mailbox it was."""
    mail = _mail_of(tree, bytes(MESSAGE_ID_BYTES))
    return compose(
        Mail(
            mail.message_id,
            mail.subject[:SUBJECT_CHARS],
            mail.text,
            mail.sent_minute,
            mail.from_name,
            attachments=mail.attachments[:ATTACHMENTS],
        )
    )


def _display_name(value: str) -> str:
    """The name in a From header, or all of it if it has no name."""
    quoted = _QUOTED.match(value)
    if quoted:
        return decode_line(re.sub(r"\\(.)", r"\1", quoted[1]))
    name, bracket, rest = value.partition("<")
    name = name.strip()
    if bracket and not name:
        name = rest.partition(">")[0]
        name = "" if name == _MAILBOX else name
    return decode_line(name)


def _seconds(value: str) -> int:
    """Unix seconds of a Date header, 0 if there is none; a date without a zone is taken as UTC."""
    fields = parsedate_tz(value)
    if fields is None:
        return 0
    try:
        when = datetime.datetime(*fields[:6], tzinfo=datetime.UTC) - datetime.timedelta(
            seconds=fields[9] or 0
        )
    except (ValueError, OverflowError):
        return 0
    return min(max(int(when.timestamp()), 0), _LAST_SECOND)
