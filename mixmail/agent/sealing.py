"""From a mail to sealed records and from records to parts of a mail: where the agent meets floor 3."""

from __future__ import annotations

from dataclasses import dataclass

from mixmail.boxes.capability import STREAM_SEED_BYTES, ReadCap, WriteCap, open_, seal
from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import Record, queue_entry
from mixmail.crypto import hashing, kem
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.mail import message
from mixmail.mail.address import Address
from mixmail.mail.first_contact import open_first, rendezvous, seal_first
from mixmail.mail.inbox import inbox_key
from mixmail.mail.parts import ANSWER_ROOM, FIRST_ROOM, Part, split
from mixmail.mail.profile import Profile
from mixmail.mail.session import Side, answer_text, mac_key, parse_answer
from mixmail.params import day_of

from .context import Context
from .model import Contact, OutgoingMail, OutgoingPart, Person, Session
from .tables import REQUESTS, Row


@dataclass(frozen=True, slots=True)
class ReceivedFirst:
    """A first message, opened: who wrote, the session it begins, the part of a mail in it."""

    sender: Address
    session: Session
    part: Part


def session_id(root: bytes, side: Side) -> str:
    """Both ends of a session may live in one profile (mail to oneself), so the side is in the name."""
    return hashing.blake2b(root, 16, person=b"mm1.session.id").hex() + f"-{int(side)}"


def own_side(session: Session) -> Side:
    """Whether we wrote first or were written to."""
    return Side.FIRST if session.role == "first" else Side.SECOND


def peer_side(session: Session) -> Side:
    """The other one's side."""
    return Side.SECOND if session.role == "first" else Side.FIRST


# sealing


def seal_first_mail(
    context: Context, mail: OutgoingMail, person: Person, contact: Contact, profile: Profile, now: float
) -> tuple[Session, list[OutgoingPart]]:
    """A new session with `contact` and the parts of its first mail: an inbox entry, then boxes."""
    rng = context.rng
    write_cap = WriteCap.create(rng.bytes(STREAM_SEED_BYTES))
    key_seed = rng.bytes(32)
    next_key = kem.PrivateKey.from_seed(key_seed).public
    message_id = bytes.fromhex(mail.id)
    pieces = split(mail.eml, message_id, None, FIRST_ROOM, context.params.mail_limit)
    sent = seal_first(
        person.identity,
        contact.address,
        profile,
        pieces[0].pack(),
        write_cap.read_cap(),
        next_key,
        rng,
    )
    session = Session(
        session_id(sent.root, Side.FIRST),
        person.id,
        contact.id,
        "first",
        "waiting",
        sent.root,
        write_cap,
        None,
        key_seed,
        None,
        now,
        now,
    )
    key = inbox_key(contact.address, profile.inbox_salt)
    entry = queue_entry(key, context.params.mail_class, day_of(now), sent.c)
    parts = [_part(mail, 0, QueryOp.QUEUE_ADD, entry, now)]
    return session, parts + _seal_boxes(context, mail, session, pieces[1:], now)


def seal_answer_mail(
    context: Context, mail: OutgoingMail, session: Session, now: float
) -> list[OutgoingPart]:
    """The parts of our first mail in a session that the other began: the rendezvous box, then boxes."""
    rng = context.rng
    session.write_cap = WriteCap.create(rng.bytes(STREAM_SEED_BYTES))
    session.own_key_seed = rng.bytes(32)
    session.state = "open"
    next_key = kem.PrivateKey.from_seed(session.own_key_seed).public
    key = mac_key(session.root, Side.SECOND)
    pieces = split(mail.eml, bytes.fromhex(mail.id), key, ANSWER_ROOM, context.params.mail_limit)
    text = answer_text(session.root, session.write_cap.read_cap(), next_key, pieces[0])
    box = seal(rendezvous(session.root), text, context.params.mail_class, day_of(now), rng)
    parts = [_part(mail, 0, QueryOp.WRITE, box, now)]
    return parts + _seal_boxes(context, mail, session, pieces[1:], now)


def seal_stream_mail(
    context: Context, mail: OutgoingMail, session: Session, now: float
) -> list[OutgoingPart]:
    """The parts of a mail in a session in which we have written before."""
    key = mac_key(session.root, own_side(session))
    pieces = split(mail.eml, bytes.fromhex(mail.id), key, limit=context.params.mail_limit)
    return _seal_boxes(context, mail, session, pieces, now)


def _seal_boxes(
    context: Context, mail: OutgoingMail, session: Session, pieces: list[Part], now: float
) -> list[OutgoingPart]:
    """Seal the pieces under the session's next indices; the write capability moves past them."""
    key = mac_key(session.root, own_side(session))
    parts = []
    for piece in pieces:
        if session.write_cap is None:
            raise LocalProtocolError("a session without a write capability cannot be written in")
        text = piece.keyed(key).pack()
        box = seal(session.write_cap, text, context.params.mail_class, day_of(now), context.rng)
        session.write_cap = session.write_cap.advance()
        parts.append(_part(mail, piece.part, QueryOp.WRITE, box, now))
    return parts


def _part(mail: OutgoingMail, number: int, op: QueryOp, record: Record, now: float) -> OutgoingPart:
    return OutgoingPart(f"{mail.id}:{number}", mail.id, number, int(op), record.pack(), now, "stamping")


# opening


def open_entry(context: Context, person: Person, record: Record, now: float) -> ReceivedFirst:
    """The first message in an inbox entry; RemoteProtocolError unless one of our prekeys opens it."""
    for week in sorted(person.prekeys, reverse=True):
        try:
            first = open_first(person.identity, person.prekeys[week], record.c)
        except RemoteProtocolError:
            continue  # sealed to another week's prekey, or to nobody: the end of the loop tells
        if first.sender is None:
            raise RemoteProtocolError("an anonymous first message: this version does not take any")
        part = Part.parse(first.text, None, context.params.mail_limit)
        session = Session(
            session_id(first.root, Side.SECOND),
            person.id,
            first.sender.text,
            "second",
            "unanswered",
            first.root,
            None,
            first.read_cap,
            b"",
            first.next_key.raw,
            now,
            now,
        )
        return ReceivedFirst(first.sender, session, part)
    raise RemoteProtocolError("no prekey opens this first message")


def open_answer_box(context: Context, session: Session, record: Record) -> tuple[Part, ReadCap, bytes]:
    """The rendezvous box: a part, where the other writes, the other's next X-Wing key."""
    text = open_(rendezvous(session.root).read_cap(), record)
    answer = parse_answer(session.root, text, context.params.mail_limit)
    return answer.part, answer.read_cap, answer.next_key.raw


def open_stream_box(context: Context, session: Session, cap: ReadCap, record: Record) -> Part:
    """A box of the other's stream."""
    key = mac_key(session.root, peer_side(session))
    return Part.parse(open_(cap, record), key, context.params.mail_limit)


def mail_row(
    mail_id: str, identity: str, contact: Contact, parsed: message.Mail, raw: bytes, now: float
) -> Row:
    """The row of table `mails` for a mail that has arrived."""
    return {
        "id": mail_id,
        "folder": REQUESTS if contact.request else "inbox",
        "identity": identity,
        "contact": contact.id,
        "contact_name": contact.name,
        "subject": parsed.subject,
        "date": now,
        "size": len(raw),
        "unread": 1,
        "state": "received",
        "sent_parts": 0,
        "parts": 0,
        "stored_min": 0,
        "replicas": 0,
        "in_reply_to": parsed.in_reply_to.hex() if parsed.in_reply_to else "",
        "attachments": len(parsed.attachments),
        "note": "",
        "search_text": search_text(parsed, contact.name),
        "eml": raw,
    }


def search_text(parsed: message.Mail, name: str) -> str:
    """What a search looks at, in lower case."""
    return "\n".join((name, parsed.subject, parsed.text)).lower()


def inbox_id(session: Session, message_id: bytes) -> str:
    """The id of an arrived mail: the sender's message id cannot collide with that of another's mail."""
    return hashing.blake2b(session.id.encode() + message_id, 16, person=b"mm1.inbox.id").hex()
