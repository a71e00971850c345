"""The address book: contacts and their profiles.

A contact's profile is looked up under both sub-kinds, in this week's place and the last one's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mixmail.boxes.query import SPREAD, Answer, QueryOp
from mixmail.boxes.record import Record, key_field
from mixmail.boxes.status import Status
from mixmail.effects import Change, Delete, Effect, Emit, Persist, Put, Update
from mixmail.errors import RemoteProtocolError, UserError
from mixmail.mail.address import Address
from mixmail.mail.identity import week_of
from mixmail.mail.profile import Profile, open_profile, profile_key
from mixmail.params import NODE_LIMITS, day_of

from .context import Context
from .events import ContactsChanged
from .model import Contact
from .queries import Task
from .tables import REQUESTS


def nameless(address: Address) -> str:
    """How a contact is shown whose name nobody has given yet: both halves of the address count."""
    return f"{address.text[:8]}…{address.text[-6:]}"


class People:
    """Whom we know.  `on_profile` is called when a contact's profile has come."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._state = context.state
        self._lookups: dict[str, float] = {}
        self.on_profile: Callable[[float], list[Effect]] = lambda now: []

    def add_contact(self, text: str, name: str, now: float) -> list[Effect]:
        """Add an address to the book; UserError if it is none or is there already."""
        address = Address.parse(text)
        known = self._state.contacts.get(address.text)
        if known is not None and known.request:
            effects = self.accept(known.id)
            return [*effects, *self.rename_contact(known.id, name)] if name.strip() else effects
        if known is not None:
            what = "blocked there" if known.blocked else "there"
            raise UserError(
                f"That address is in the address book already, {what} as {known.name}.", "known-contact"
            )
        self._lookups[address.text] = now
        return self.learn(address, name.strip() or nameless(address), now)

    def learn(self, address: Address, name: str, now: float, request: bool = False) -> list[Effect]:
        """Add a contact, `request`: a stranger about whom the user has to decide.

        The profile of one who wrote first is not looked up: an answer needs none, and strangers could
        make us read at keys of their choice.
        """
        contact = Contact(address.text, name, address, now, request=request)
        self._state.contacts[contact.id] = contact
        return [Persist((Put("contacts", contact.row()),), "contact"), Emit(ContactsChanged(contact.id))]

    def free_name(self, wanted: str, address: Address) -> str:
        """A name that a stranger gives himself: one that is taken gets the end of the address behind it."""
        taken = {contact.name.casefold() for contact in self._state.contacts.values()}
        return f"{wanted} (…{address.text[-6:]})" if wanted.casefold() in taken else wanted

    def contact(self, contact: str) -> Contact:
        """The contact with this id; UserError if there is none."""
        try:
            return self._state.contacts[contact]
        except KeyError:
            raise UserError("There is no such contact; add the address first.", "unknown-contact") from None

    def rename_contact(self, contact: str, name: str) -> list[Effect]:
        """Show a contact under another name."""
        known = self.contact(contact)
        if not name.strip():
            raise UserError("A name cannot be empty.", "name")
        known.name = name.strip()
        change = Update("contacts", {"id": contact}, {"name": known.name})
        return [Persist((change,), "contact"), Emit(ContactsChanged(contact))]

    def accept(self, contact: str) -> list[Effect]:
        """A stranger becomes a contact like any other; his mails go to the inbox."""
        known = self.contact(contact)
        if not known.request:
            return []
        known.request = False
        changes = (
            Update("contacts", {"id": contact}, {"request": 0}),
            Update("mails", {"contact": contact, "folder": REQUESTS}, {"folder": "inbox"}),
        )
        return [Persist(changes, "contact"), Emit(ContactsChanged(contact))]

    def ignore(self, contact: str) -> list[Effect]:
        """Forget a stranger and his mails; he is not told, and may write again."""
        known = self.contact(contact)
        if not known.request:
            raise UserError(
                f"{known.name} is in the address book: remove or block the contact.", "no-request"
            )
        drop = Persist((self._drop_requests(contact),), "contact")
        return [drop, *self.remove_contact(contact)]

    def block(self, contact: str, blocked: bool) -> list[Effect]:
        """Read nothing of a contact any more, or again; he is not told."""
        known = self.contact(contact)
        known.blocked, known.request = blocked, False
        changes: list[Change] = [Update("contacts", {"id": contact}, {"blocked": int(blocked), "request": 0})]
        if blocked:
            changes.append(self._drop_requests(contact))
        return [Persist(tuple(changes), "contact"), Emit(ContactsChanged(contact))]

    def _drop_requests(self, contact: str) -> Delete:
        return Delete("mails", {"contact": contact, "folder": REQUESTS})

    def remove_contact(self, contact: str) -> list[Effect]:
        """Forget a contact and its sessions; mails already here stay."""
        self.contact(contact)
        if any(mail.contact == contact for mail in self._state.outbox.values()):
            raise UserError("A mail to this contact is still in the outbox; cancel it or wait.", "busy")
        del self._state.contacts[contact]
        self._lookups.pop(contact, None)
        changes: list[Change] = [
            Delete("contacts", {"id": contact}),
            Delete("sessions", {"contact": contact}),
        ]
        for session in [s for s in self._state.sessions.values() if s.contact == contact]:
            changes += self._state.forget_session(session)
        return [Persist(tuple(changes), "contact"), Emit(ContactsChanged(contact))]

    def fresh_profile(self, contact: Contact, now: float) -> Profile | None:
        """The contact's profile if it is recent enough to write to; else starts a look-up."""
        if contact.profile is not None and week_of(day_of(now)) - contact.profile_week <= 1:
            return contact.profile
        self._lookups.setdefault(contact.id, now)
        return None

    def next_lookup(self, now: float) -> Task | None:
        """The READ of a wanted profile, if one is due."""
        due = [contact for contact, when in self._lookups.items() if when <= now]
        if not due:
            return None
        contact = self._state.contacts[self._context.rng.choice(due)]
        # Both sub-kinds in this week's place, then both in last week's, and so on in turn.
        kind, back = contact.asked % 2, (contact.asked // 2) % 2
        week = week_of(day_of(now)) - back
        self._lookups[contact.id] = now + self._context.params.rto
        key = profile_key(contact.address, week, kind)
        ended = partial(self._looked_up, contact, week, kind)
        flags = SPREAD if contact.asked else 0
        return Task(QueryOp.READ, flags, lambda _: key_field(key), ended, real=True)

    def _looked_up(
        self, contact: Contact, week: int, kind: int, answer: Answer | None, now: float
    ) -> list[Effect]:
        if contact.id not in self._lookups or self._state.contacts.get(contact.id) is not contact:
            return []  # found by another query meanwhile, or removed (and perhaps added anew)
        try:
            if answer is None or answer.status is not Status.OK:
                raise RemoteProtocolError("no profile here")
            profile = open_profile(contact.address, Record.parse(answer.field), week, kind)
        except RemoteProtocolError:
            # Twice as rarely after each round of all four places: who has none costs us little.  A query
            # that was lost says nothing about the place, so it is asked again as soon as before.
            contact.asked += answer is not None
            rounds = min(contact.asked // 4, NODE_LIMITS.lookup_doublings)
            wait = self._context.params.slot * self._context.params.slot_shares * 2.0**rounds
            self._lookups[contact.id] = now + self._context.rng.exponential(wait)
            return []
        del self._lookups[contact.id]
        contact.profile, contact.profile_raw, contact.profile_week = profile, profile.pack(), week
        changes = (Put("contacts", contact.row()),)
        found: list[Effect] = [Persist(changes, "contact.profile"), Emit(ContactsChanged(contact.id))]
        return found + self.on_profile(now)
