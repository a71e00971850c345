"""Own mails from "queued" to "stored": never a lie about how far one has come.

    queued            written to disk; sealed as soon as the way to the contact is known
    sent (k/N)        k of its N parts have left in a query at least once
    stored (r of R)   the quorum of homes has acknowledged every part: the mail leaves the outbox
    answered          a mail that answers it has arrived

Sealing takes the session's next indices, and index, sealed record and outbox row go to disk in one
transaction before the first packet; every later try sends those very bytes.
"""

from __future__ import annotations

from functools import partial

from mixmail.boxes.query import Answer, QueryOp
from mixmail.boxes.record import Record
from mixmail.boxes.status import Status
from mixmail.effects import Change, Delete, Effect, Emit, Persist, Put, Update
from mixmail.errors import RemoteProtocolError, UserError
from mixmail.mail import message
from mixmail.params import NODE_LIMITS

from .context import Context
from .events import MailState
from .model import OutgoingMail, OutgoingPart, Session
from .people import People
from .queries import Task, Way
from .read_back import ReadBacks
from .sealing import seal_answer_mail, seal_first_mail, seal_stream_mail, search_text

# What the user reads about a write that no home acknowledged: one sentence for every such status
NOTES = {
    Status.EXISTS: "somebody else writes in this stream: is this profile in use on another machine?",
    Status.NOT_FOUND: "the storage nodes gave an answer that fits no mail; trying again",
    Status.BAD_SIGNATURE: "the storage nodes say that the signature is wrong; trying again",
    Status.EXPIRED: "the storage nodes say that this mail has expired; check this machine's clock",
    Status.REFUSED: "the storage nodes refuse this mail by their rules; check the clock and the version",
    Status.BAD_STAMP: "the storage nodes ask for more proof of work than a mail may have; trying again",
    Status.FULL: "the storage nodes have no room, even for a mail with this much work; trying again",
    Status.TRY_LATER: "the storage nodes are busy; trying again",
}
FULL_INBOX = "the inbox of this contact is full; trying again"
MORE_WORK = "the storage nodes ask for more proof of work: doing {bits}, about {seconds} s of a core"
DOUBTED = "a storage node said that it has this mail, and other ways did not find it; writing it again"


class Outbox:
    """The mails that are not yet stored."""

    def __init__(self, context: Context, people: People, read_backs: ReadBacks) -> None:
        self._context = context
        self._read_backs = read_backs
        self._state = context.state
        self._people = people

    @property
    def waiting(self) -> int:
        """Parts that are not stored; a mail that is not yet sealed counts as one."""
        parts = sum(part.state != "stored" for part in self._state.parts.values())
        return parts + sum(mail.parts == 0 for mail in self._state.outbox.values())

    def submit(self, identity: str, contact: str, eml: bytes, now: float) -> list[Effect]:
        """Take a mail into the outbox."""
        if identity not in self._state.people:
            raise UserError("There is no such identity to write as; create one first.", "no-identity")
        if self._state.people[identity].archived:
            raise UserError(
                "That identity is archived: use it again first (mixmail id archive --undo).", "archived"
            )
        known = self._people.contact(contact)
        if known.blocked:
            raise UserError(f"{known.name} is blocked: unblock the contact first.", "blocked")
        if len(eml) > self._context.params.mail_limit:
            limit = self._context.params.mail_limit // 1000
            raise UserError(f"The mail is too large: {limit} kB at most; attach less.", "too-large")
        parsed = message.parse(eml)
        mail = OutgoingMail(parsed.message_id.hex(), identity, contact, eml, now)
        if mail.id in self._state.outbox:
            raise UserError("This mail is in the outbox already.", "known-mail")
        self._state.outbox[mail.id] = mail
        row = {
            "id": mail.id,
            "folder": "outbox",
            "identity": identity,
            "contact": contact,
            "contact_name": known.name,
            "subject": parsed.subject,
            "date": now,
            "size": len(eml),
            "unread": 0,
            "state": mail.state,
            "sent_parts": 0,
            "parts": 0,
            "stored_min": 0,
            "replicas": 0,
            "in_reply_to": parsed.in_reply_to.hex() if parsed.in_reply_to else "",
            "attachments": len(parsed.attachments),
            "note": "",
            "search_text": search_text(parsed, known.name),
            "eml": eml,
        }
        accepted = self._people.accept(contact)  # who answers a stranger wants to hear of him
        queued = Persist((Put("mails", row),), "mail.queued")
        return [queued, *accepted, self._emit(mail), *self._seal(mail, now)]

    def cancel(self, mail_id: str) -> list[Effect]:
        """Take back a mail of which no packet has left."""
        mail = self._state.outbox.get(mail_id)
        if mail is None:
            raise UserError("That mail is not in the outbox.", "unknown-mail")
        if mail.sent_parts:
            raise UserError("A part of this mail has left already; it cannot be taken back.", "too-late")
        if mail.parts:
            # Its indices are taken: a reader would wait for boxes that never come.
            raise UserError("This mail is sealed and about to leave; it cannot be taken back.", "too-late")
        del self._state.outbox[mail_id]
        return [Persist((Delete("mails", {"id": mail_id}),), "mail.cancelled")]

    def resume(self, now: float) -> list[Effect]:
        """After a start: stamp what has no stamp yet, seal what is not sealed."""
        effects: list[Effect] = []
        for part in self._state.parts.values():
            if part.state == "stamping":
                effects.extend(self._stamp(part, now))
        return effects + self.seal_waiting(now)

    def seal_waiting(self, now: float) -> list[Effect]:
        """Try to seal every mail that is not sealed yet (a profile or an answer may have come)."""
        effects: list[Effect] = []
        for mail in sorted(self._state.outbox.values(), key=lambda mail: mail.created):
            if mail.parts == 0:
                effects.extend(self._seal(mail, now))
        return effects

    def answered(self, mail_id: str, contact: str) -> tuple[list[Change], list[Effect]]:
        """`contact` answered `mail_id`: say so, and stop re-publishing its records.

        An answer may be faster than the homes' word that all is stored: then the mail says "answered" and
        stays in the outbox until that word has come.
        """
        waiting = self._state.outbox.get(mail_id)
        if waiting is not None and waiting.contact != contact:
            return [], []
        if waiting is not None:
            waiting.state = "answered"
            return [self._change(waiting)], [self._emit(waiting)]
        changes: list[Change] = [
            Update("mails", {"id": mail_id, "folder": "sent", "contact": contact}, {"state": "answered"}),
        ]
        stored = self._parts(mail_id)
        if not stored:
            return changes, []
        for part in stored:
            del self._state.parts[part.id]
        changes.append(Delete("outgoing", {"mail": mail_id}))
        replicas = stored[0].homes
        least = min(part.acks for part in stored)
        event = MailState(mail_id, "answered", len(stored), len(stored), least, replicas, "")
        return changes, [Emit(event)]

    # sealing

    def _session(self, mail: OutgoingMail) -> Session | None:
        """The newest session in which the other side has been heard, else the newest of all.

        Newest, since the other side may have forgotten an older one.
        """
        own = [
            session
            for session in self._state.sessions.values()
            if session.identity == mail.identity and session.contact == mail.contact
        ]
        if not own:
            return None
        return max(own, key=lambda session: (session.state != "waiting", session.created))

    def _seal(self, mail: OutgoingMail, now: float) -> list[Effect]:
        person = self._state.people[mail.identity]
        contact = self._state.contacts[mail.contact]
        session = self._session(mail)
        if session is None:
            profile = self._people.fresh_profile(contact, now)
            if profile is None:
                return self._noted(mail, "looking up the address")
            session, parts = seal_first_mail(self._context, mail, person, contact, profile, now)
        elif session.state == "unanswered":
            parts = seal_answer_mail(self._context, mail, session, now)
        else:
            parts = seal_stream_mail(self._context, mail, session, now)
        session.last_traffic = contact.last_traffic = now
        self._state.sessions[session.id] = session
        mail.parts, mail.note = len(parts), ""
        for part in parts:
            self._state.parts[part.id] = part
        changes: tuple[Change, ...] = (
            Put("sessions", session.row()),
            Update("contacts", {"id": contact.id}, {"last_traffic": now}),
            *(Put("outgoing", part.row()) for part in parts),
            self._change(mail),
        )
        effects: list[Effect] = [Persist(changes, "mail.sealed"), self._emit(mail)]
        for part in parts:
            effects.extend(self._stamp(part, now))
        return effects

    def _stamp(self, part: OutgoingPart, now: float, least: int = 0) -> list[Effect]:
        def stamped(record: Record, _: float) -> list[Effect]:
            part.record, part.state = record.pack(), "queued"
            values = {"record": part.record, "state": part.state}
            return [Persist((Update("outgoing", {"id": part.id}, values),), "part.stamped")]

        return self._context.with_stamp(Record.parse(part.record), stamped, now, least)

    def _work_more(self, part: OutgoingPart, bits: int, now: float) -> list[Effect]:
        """Do the work for `bits` before this part leaves again; nothing but its stamp becomes another."""
        part.state = "stamping"
        seconds = max(1, round(NODE_LIMITS.stamp_check_cost * 2**bits))
        mail = self._state.outbox.get(part.mail)
        noted = (
            self._noted(mail, MORE_WORK.format(bits=f"{bits} bit{'s' * (bits > 1)}", seconds=seconds))
            if mail is not None
            else []
        )
        change = Update("outgoing", {"id": part.id}, {"state": part.state})
        return [Persist((change,), "part.more_work"), *noted, *self._stamp(part, now, bits)]

    # sending

    def next_write(self, now: float) -> Task | None:
        """The WRITE of a part that is not stored, drawn at random across all mails."""
        ready = [p for p in self._state.parts.values() if p.state == "queued" and not p.in_flight]
        if not ready:
            return None
        part = self._context.rng.choice(ready)
        part.in_flight = True
        raw = part.record
        ended, sent = partial(self._ended, part), partial(self._left, part)
        return Task(QueryOp(part.op), 0, lambda _: raw, ended, real=True, sent=sent)

    def _left(self, part: OutgoingPart, now: float, way: Way) -> list[Effect]:
        """A query with `part` has just been handed to the link.

        Its row follows the packet and not the other way round: a transaction in front of a real
        packet would set it off from cover by the time of a disk write.
        """
        part.tries += 1
        part.way = way
        changes: list[Change] = [Update("outgoing", {"id": part.id}, {"tries": part.tries})]
        mail = self._state.outbox.get(part.mail)
        if mail is None or part.tries > 1:
            return [Persist(tuple(changes), "part.sent")]
        mail.sent_parts += 1
        if mail.state == "queued":
            mail.state = "sent"
        return [Persist((*changes, self._change(mail)), "part.sent"), self._emit(mail)]

    def _ended(self, part: OutgoingPart, answer: Answer | None, now: float) -> list[Effect]:
        part.in_flight = False
        mail = self._state.outbox.get(part.mail)
        if answer is None or self._state.parts.get(part.id) is not part:
            return []
        if answer.status is Status.EXISTS and not _proves_another(answer, part):
            return []  # a proxy's bare word: ask another one
        acks = self._context.acks(answer)
        bits = self._context.more_bits(Record.parse(part.record), answer, now)
        if bits is not None:
            return self._work_more(part, bits, now)
        if not answer.status.acknowledges:
            full = answer.status is Status.FULL and part.op == QueryOp.QUEUE_ADD
            return self._noted(mail, FULL_INBOX if full else NOTES[answer.status]) if mail is not None else []
        part.acks, part.homes = max(part.acks, acks), self._context.replicas(now)
        if acks < self._context.quorum(now):
            note = f"only {acks} storage nodes answered; trying again"
            return self._noted(mail, note) if mail is not None else []
        part.state = "stored"
        params = self._context.params
        part.again = now + self._context.rng.exponential(params.follow_wait_slots * params.slot)
        if part.op == QueryOp.WRITE:
            checked = partial(self._checked, part)
            self._read_backs.stored(part.record, part.way, checked, now, always=part.doubted)
        change: Change = Update(
            "outgoing", {"id": part.id}, {"state": "stored", "acks": part.acks, "homes": part.homes}
        )
        if mail is None:
            return [Persist((change,), "part.stored")]
        parts = self._parts(mail.id)
        mail.note = _verified_note(parts)
        if any(other.state != "stored" for other in parts):
            return [Persist((change, self._change(mail)), "part.stored"), self._emit(mail)]
        mail.replicas, mail.stored_min = part.homes, min(other.acks for other in parts)
        del self._state.outbox[mail.id]
        if mail.state == "answered":
            for other in parts:
                del self._state.parts[other.id]
            change = Delete("outgoing", {"mail": mail.id})
        else:
            mail.state = "stored"
        moved = Update("mails", {"id": mail.id}, {**self._columns(mail), "folder": "sent"})
        return [Persist((change, moved), "mail.stored"), self._emit(mail)]

    def _checked(self, part: OutgoingPart, found: bool, now: float) -> list[Effect]:
        """A part that was said to be stored has been read back by another way, or was not found."""
        if self._state.parts.get(part.id) is not part:
            return []  # answered meanwhile
        part.verified, part.doubted = found, not found
        changes: list[Change] = []
        if not found:
            part.state = "queued"
            changes.append(Update("outgoing", {"id": part.id}, {"state": "queued"}))
        parts = self._parts(part.mail)
        note = _verified_note(parts) if found else DOUBTED
        mail = self._state.outbox.get(part.mail)
        if mail is not None:
            mail.note = note
            return [Persist((*changes, self._change(mail)), "mail.checked"), self._emit(mail)]
        changes.append(Update("mails", {"id": part.mail, "folder": "sent"}, {"note": note}))
        least = min(other.acks for other in parts)
        event = MailState(part.mail, "stored", len(parts), len(parts), least, part.homes, note)
        return [Persist(tuple(changes), "mail.checked"), Emit(event)]

    def _parts(self, mail: str) -> list[OutgoingPart]:
        return [part for part in self._state.parts.values() if part.mail == mail]

    # rows and events

    def _noted(self, mail: OutgoingMail, note: str) -> list[Effect]:
        if mail.note == note:
            return []
        mail.note = note
        return [Persist((self._change(mail),), "mail.noted"), self._emit(mail)]

    def _columns(self, mail: OutgoingMail) -> dict[str, object]:
        return {
            "state": mail.state,
            "sent_parts": mail.sent_parts,
            "parts": mail.parts,
            "stored_min": mail.stored_min,
            "replicas": mail.replicas,
            "note": mail.note,
        }

    def _change(self, mail: OutgoingMail) -> Change:
        return Update("mails", {"id": mail.id}, self._columns(mail))

    def _emit(self, mail: OutgoingMail) -> Emit:
        return Emit(
            MailState(
                mail.id,
                mail.state,
                mail.sent_parts,
                mail.parts,
                mail.stored_min,
                mail.replicas,
                mail.note,
            )
        )


def _verified_note(parts: list[OutgoingPart]) -> str:
    verified = sum(part.verified for part in parts)
    if not verified:
        return ""
    return "verified: read back by another way" + (f" ({verified} of {len(parts)})" if len(parts) > 1 else "")


def _proves_another(answer: Answer, part: OutgoingPart) -> bool:
    """Whether the answer holds another record that the owner of the part's key has signed."""
    own = Record.parse(part.record)
    try:
        other = Record.parse(answer.field)
    except RemoteProtocolError:
        return False
    return other.key == own.key and not other.identical(own) and other.check_signature()
