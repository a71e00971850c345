"""What POLL and FOLLOW slots read: streams of contacts, own inbox queues, profiles.

A POLL draws its stream by fixed absolute weights (docs/protocol/store.md, "Slots"): by how lately a contact
had traffic, never by what other streams hold, so that no contact can feel another.  What is left of
the weight goes to cover streams.  After a hit the next index waits Exp(20 T) for a FOLLOW slot.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixmail.boxes import stamp
from mixmail.boxes.capability import ReadCap
from mixmail.boxes.query import SPREAD, Answer, QueryOp, QueueRequest, hour_of
from mixmail.boxes.record import FIRST, Record, RecordType, key_field, validate
from mixmail.boxes.status import Status
from mixmail.effects import Change, Delete, Effect, Emit, Persist, Put, Update
from mixmail.errors import RemoteProtocolError
from mixmail.mail import message
from mixmail.mail.first_contact import rendezvous
from mixmail.mail.inbox import inbox_owner
from mixmail.mail.parts import Part, join
from mixmail.params import NODE_LIMITS, day_of

from .context import Context
from .events import MailArrived
from .model import Contact, Inbox, Person, Session
from .outbox import Outbox
from .people import People, nameless
from .queries import Task
from .sealing import inbox_id, mail_row, open_answer_box, open_entry, open_stream_box


@dataclass(slots=True)
class _Follow:
    """A stream or queue that a hit asks to go on with, from `due` on."""

    due: float
    target: Session | Inbox


def _awaited(session: Session, asked: ReadCap) -> bool:
    """Whether the box of `asked` lies ahead of what the session has read, in the stream that it reads now."""
    cap = session.read_cap
    return cap is not None and asked.public == cap.public and asked.index >= cap.index


class Fetcher:
    """Reads for one agent."""

    def __init__(self, context: Context, people: People, outbox: Outbox) -> None:
        self._context = context
        self._state = context.state
        self._people = people
        self._outbox = outbox
        self._follows: list[_Follow] = []
        self._deletions: dict[bytes, Inbox] = {}
        self._deleting: set[bytes] = set()

    # which stream

    def poll(self, now: float) -> Task | None:
        """The READ of a stream drawn by the fixed weights; None for a cover stream."""
        params = self._context.params
        # Sessions that the user never answered come last: strangers cannot push friends out.
        ranked = sorted(
            filter(self._state.reads, self._state.sessions.values()),
            key=lambda session: (session.state == "unanswered", -session.last_traffic),
        )
        rng = self._context.rng
        draw = rng.uniform()
        position = 0
        for weight, most, age in (
            (params.hot_weight, params.hot_max, params.hot_age),
            (params.warm_weight, params.warm_max, params.warm_age),
            (params.cold_weight, params.cold_max, float("inf")),
        ):
            taken = 0
            while position < len(ranked) and taken < most:
                session = ranked[position]
                if now - session.last_traffic > age:
                    break
                position, taken = position + 1, taken + 1
                draw -= weight
                if draw < 0:
                    return self._read_session(session, polled=True)
        people = [one for one in self._state.people.values() if one.inboxes and not one.archived]
        if people:
            person = rng.choice(people)
            for share, inboxes in self._inbox_weights(person, now):
                draw -= share
                if draw < 0:
                    return self._read_inbox(person, rng.choice(inboxes), now) if inboxes else None
        return None

    def _inbox_weights(self, person: Person, now: float) -> list[tuple[float, list[Inbox]]]:
        """Weights of polls, each with the queues that share it."""
        params, (*old, newest) = self._context.params, person.inboxes
        before = params.old_inbox_weight
        if now < newest.opened + params.inbox_handover:
            before += params.handover_weight  # strangers who read the profile before the change write there
        return [(params.inbox_weight, [newest]), (before, old[-1:]), (params.older_inbox_weight, old[:-1])]

    def backlog(self, now: float) -> Task | None:
        """The READ of a stream or queue in which an earlier answer found something."""
        self._follows = [one for one in self._follows if self._state.in_use(one.target.identity)]
        due = [follow for follow in self._follows if follow.due <= now]
        if not due:
            return None
        follow = self._context.rng.choice(due)
        self._follows.remove(follow)
        target = follow.target
        if isinstance(target, Session):
            known = target.id in self._state.sessions and self._state.reads(target)
            return self._read_session(target, polled=False) if known else None
        return self._read_inbox(self._state.people[target.identity], target, now)

    def _follow_later(self, target: Session | Inbox, now: float) -> None:
        if any(follow.target is target for follow in self._follows):
            return
        params = self._context.params
        wait = self._context.rng.exponential(params.follow_wait_slots * params.slot)
        self._follows.append(_Follow(now + wait, target))

    # streams

    def _read_session(self, session: Session, polled: bool) -> Task:
        cap = session.read_cap or rendezvous(session.root).read_cap()
        if polled and session.read_cap:
            cap = self._look_ahead(session, cap)
        key = cap.box_id()
        flags = SPREAD if session.missed else 0

        def ended(answer: Answer | None, now: float) -> list[Effect]:
            if answer is None:
                return []
            if answer.status is not Status.OK:
                session.missed = True
                return []
            session.missed = False
            return self._box(session, cap, answer, now)

        return Task(QueryOp.READ, flags, lambda _: key_field(key), ended, real=True)

    def _look_ahead(self, session: Session, cap: ReadCap) -> ReadCap:
        """The next unread index with 3/4, the one after it with 3/16, and so on: a box that is lost for ever
        hides at most a few of those behind it, and those not for long."""
        skip = 0
        while (
            skip < NODE_LIMITS.look_ahead
            and self._context.rng.uniform() < self._context.params.next_index_poll
        ):
            skip += 1
        while True:
            if cap.index not in session.ahead:
                if skip == 0:
                    return cap
                skip -= 1
            cap = cap.advance()

    def _box(self, session: Session, asked: ReadCap, answer: Answer, now: float) -> list[Effect]:
        """A box came in: the awaited one, or the one after it."""
        if session.id not in self._state.sessions:
            return []
        try:
            record = Record.parse(answer.field)
            if session.state == "waiting":
                part, session.read_cap, session.peer_key = open_answer_box(self._context, session, record)
                session.state = "open"
            elif not _awaited(session, asked):
                return []  # the same box came by another query meanwhile
            else:
                part = open_stream_box(self._context, session, asked, record)
                session.ahead.add(asked.index)
        except RemoteProtocolError:
            # Not what its writer would have sealed: ask other homes the next time.
            session.missed = True
            return []
        while session.read_cap is not None and session.read_cap.index in session.ahead:
            session.ahead.discard(session.read_cap.index)
            session.read_cap = session.read_cap.advance()
        return self._accept(session, part, [], now)

    def _accept(self, session: Session, part: Part, changes: list[Change], now: float) -> list[Effect]:
        """Take in one part of a mail and, with the last one, deliver it.

        `changes` and everything here go to disk in one transaction: what the session has read and
        what it has read from it never part.
        """
        contact = self._state.contacts[session.contact]
        session.last_traffic = contact.last_traffic = now
        self._follow_later(session, now)
        changes.append(Put("sessions", session.row()))
        changes.append(Update("contacts", {"id": contact.id}, {"last_traffic": now}))
        message_hex = part.message_id.hex()
        if inbox_id(session, part.message_id) in self._state.delivered:
            # A box read ahead of its turn is read again after a restart: its mail stands in the inbox.
            return [Persist(tuple(changes), "inbox.part"), *self._outbox.seal_waiting(now)]
        key = (session.id, message_hex)
        where = {"session": session.id, "message": message_hex}
        if key not in self._state.incoming:
            changes.extend(self._forget_oldest(session))
        pieces = self._state.incoming.setdefault(key, {})
        total = self._state.incoming_total.setdefault(key, part.parts)
        effects: list[Effect] = []
        if part.parts == total:
            pieces[part.part] = part.payload
            row = {**where, "part": part.part, "parts": total, "data": part.payload}
            changes.append(Put("incoming", row))
        try:
            raw = join(pieces, total, self._context.params.mail_limit)
            if raw is not None:
                changes.append(Delete("incoming", where))
                effects = self._deliver(session, contact, part.message_id, raw, changes, now)
        except RemoteProtocolError as error:
            changes.append(Delete("incoming", where))
            effects = self._deliver_unreadable(session, contact, part.message_id, error, changes, now)
        point = "inbox.mail" if effects else "inbox.part"
        return [Persist(tuple(changes), point), *effects, *self._outbox.seal_waiting(now)]

    def _deliver(
        self,
        session: Session,
        contact: Contact,
        message_id: bytes,
        raw: bytes,
        changes: list[Change],
        now: float,
    ) -> list[Effect]:
        mail_id = inbox_id(session, message_id)
        parsed = message.parse(raw)
        self._forget_pieces(session, message_id)
        self._state.delivered.add(mail_id)
        changes.append(Put("seen", {"id": mail_id, "day": day_of(now)}))
        if contact.name == nameless(contact.address) and parsed.from_name:
            contact.name = self._people.free_name(parsed.from_name, contact.address)
            changes.append(Update("contacts", {"id": contact.id}, {"name": contact.name}))
        changes.append(Put("mails", mail_row(mail_id, session.identity, contact, parsed, raw, now)))
        effects: list[Effect] = []
        if parsed.in_reply_to:
            more, effects = self._outbox.answered(parsed.in_reply_to.hex(), contact.id)
            changes.extend(more)
        arrived = MailArrived(mail_id, contact.id, contact.name, parsed.subject, message_id)
        return [*effects, Emit(arrived)]

    def _deliver_unreadable(
        self,
        session: Session,
        contact: Contact,
        message_id: bytes,
        error: RemoteProtocolError,
        changes: list[Change],
        now: float,
    ) -> list[Effect]:
        """A mail whose parts came but do not make a mail is shown as just that."""
        text = f"A mail from this contact arrived but cannot be read: {error}."
        notice = message.Mail(message_id, "(unreadable mail)", text, int(now), contact.name)
        return self._deliver(session, contact, message_id, message.compose(notice), changes, now)

    def _forget_oldest(self, session: Session) -> list[Change]:
        """A contact that begins mails and never ends them costs a bounded amount of memory."""
        begun = [key for key in self._state.incoming if key[0] == session.id]
        if len(begun) < NODE_LIMITS.unfinished_mails:
            return []
        oldest = begun[0]
        del self._state.incoming[oldest], self._state.incoming_total[oldest]
        return [Delete("incoming", {"session": oldest[0], "message": oldest[1]})]

    def _forget_pieces(self, session: Session, message_id: bytes) -> None:
        key = (session.id, message_id.hex())
        self._state.incoming.pop(key, None)
        self._state.incoming_total.pop(key, None)

    # inbox queues

    def _read_inbox(self, person: Person, inbox: Inbox, now: float) -> Task:
        owner = inbox_owner(person.identity, inbox.salt)
        cursor, rng = inbox.cursor, self._context.rng

        def field(reply_key: bytes) -> bytes:
            request = QueueRequest.create(owner, QueryOp.QUEUE_READ, cursor, hour_of(now), reply_key, rng)
            return request.to_field()

        def ended(answer: Answer | None, later: float) -> list[Effect]:
            if answer is None or inbox.cursor != cursor or not self._state.in_use(person.id):
                return []
            if answer.status is not Status.OK:
                # At the end: new entries may sort before the cursor, so begin anew.
                inbox.cursor, inbox.missed = FIRST, True
                return []
            inbox.missed = False
            return self._entry(person, inbox, answer, later)

        return Task(QueryOp.QUEUE_READ, SPREAD if inbox.missed else 0, field, ended, real=True)

    def _entry(self, person: Person, inbox: Inbox, answer: Answer, now: float) -> list[Effect]:
        try:
            record = Record.parse(answer.field)
        except RemoteProtocolError:
            inbox.missed = True
            return []
        if not self._is_entry(record, inbox_owner(person.identity, inbox.salt).public, inbox.cursor, now):
            inbox.missed = True
            return []
        inbox.cursor = record.position
        self._follow_later(inbox, now)
        entry = record.entry_id
        self._deletions[entry] = inbox
        if entry.hex() in self._state.seen:
            return []
        self._state.seen.add(entry.hex())
        seen = Put("seen", {"id": entry.hex(), "day": day_of(now)})
        try:
            first = open_entry(self._context, person, record, now)
        except RemoteProtocolError:
            # Sealed to nobody here: junk in the queue.  It is deleted like any other entry.
            return [Persist((seen,), "inbox.junk")]
        session = first.session
        if session.id in self._state.seen:
            # Known since it was read for the first time: whoever saw it may add it to a queue again.
            return [Persist((seen,), "inbox.junk")]
        self._state.seen.add(session.id)
        known = Put("seen", {"id": session.id, "day": day_of(now)})
        effects: list[Effect] = []
        contact = self._state.contacts.get(first.sender.text)
        if contact is None:
            effects.extend(self._people.learn(first.sender, nameless(first.sender), now, request=True))
        elif contact.blocked:
            return [Persist((seen, known), "inbox.junk")]
        self._state.sessions[session.id] = session
        return [*effects, *self._accept(session, first.part, [seen, known], now)]

    def _is_entry(self, record: Record, key: bytes, cursor: bytes, now: float) -> bool:
        """What the proxy has checked, once more, for it may lie.  Costs an Argon2id for a stamp."""
        network, params = self._context.network, self._context.params
        return (
            record.type is RecordType.QUEUE
            and record.key == key
            and record.position > cursor
            and validate(record, day_of(now), params.classes_days) is Status.OK
            and stamp.check(network.hash, params, record, params.stranger_bits)
        )

    def next_write(self, now: float) -> Task | None:
        """The QUEUE_DELETE of an entry that has been read."""
        waiting = [
            entry
            for entry, inbox in self._deletions.items()
            if entry not in self._deleting and self._state.in_use(inbox.identity)
        ]
        if not waiting:
            return None
        entry = self._context.rng.choice(waiting)
        inbox = self._deletions[entry]
        owner = inbox_owner(self._state.people[inbox.identity].identity, inbox.salt)
        rng = self._context.rng
        self._deleting.add(entry)

        def field(reply_key: bytes) -> bytes:
            request = QueueRequest.create(owner, QueryOp.QUEUE_DELETE, entry, hour_of(now), reply_key, rng)
            return request.to_field()

        def ended(answer: Answer | None, later: float) -> list[Effect]:
            self._deleting.discard(entry)
            if answer is not None and self._context.acks(answer) >= self._context.quorum(later):
                self._deletions.pop(entry, None)
            return []

        return Task(QueryOp.QUEUE_DELETE, 0, field, ended, real=True)
