"""Own identities: their prekeys, inbox queues and published profiles.

Each identity publishes a profile (docs/protocol/people.md) under both sub-kinds for the present week and
again whenever it changes: a new name, a new prekey with the week, a new inbox queue with each day the owner
is online.  Identities have one schedule together: a slot's query is drawn among all that wait, and each gets
one slot at a time, so that nothing on the wire says that two of them live in one place.

An archived identity keeps its mails and its secrets, but publishes nothing, reads nothing and writes nothing;
its slots are cover.  Secrets that are too old go all the same.
"""

from __future__ import annotations

from functools import partial

from mixmail.boxes.query import Answer, QueryOp
from mixmail.boxes.record import Record
from mixmail.effects import Change, Delete, Effect, Persist, Put, Update
from mixmail.errors import UserError
from mixmail.mail.identity import Identity, Prekey, week_of
from mixmail.mail.profile import Profile, seal_profile
from mixmail.params import day_of

from .context import Context
from .model import Inbox, Person
from .queries import Task, Way
from .read_back import ReadBacks

KINDS = (0, 1)
NAME_BYTES = 64
SEED_BYTES = 32


class Identities:
    """Who we are."""

    def __init__(self, context: Context, read_backs: ReadBacks) -> None:
        self._context = context
        self._read_backs = read_backs
        self._state = context.state
        self._day = -1
        self._unpublished: dict[tuple[str, int], Record] = {}
        self._sequence: dict[tuple[str, int], int] = {}
        self._publishing: set[tuple[str, int]] = set()

    def create(self, name: str, seed: bytes | None, now: float) -> list[Effect]:
        """Make an identity with its first prekey and inbox, and publish its profile.

        `seed`: its 32 bytes if it existed before (from its seed words).  UserError if it is here.
        """
        identity = Identity(self._context.rng.bytes(SEED_BYTES) if seed is None else seed)
        person = Person(identity.address.text, _checked_name(name), identity, now)
        if person.id in self._state.people:
            known = self._state.people[person.id].name
            raise UserError(f"This identity is here already, as {known}.", "known-identity")
        self._state.people[person.id] = person
        change = Put("identities", person.row())
        return [Persist((change, *self._renew(person, now)), "identity"), *self._publish(person, now)]

    def rename(self, identity: str, name: str, now: float) -> list[Effect]:
        """Show correspondents another name, from the next profile on."""
        person = self._person(identity)
        person.name = _checked_name(name)
        return [self._update(person, {"name": person.name}), *self._publish(person, now)]

    def archive(self, identity: str, archived: bool, now: float) -> list[Effect]:
        """Stop using an identity, or use it again."""
        person = self._person(identity)
        if person.archived == archived:
            return []
        if archived:
            self._not_busy(person, "archive")
        person.archived = archived
        change = self._update(person, {"archived": int(archived)})
        if archived:
            self._withdraw(person)
            return [change]
        return [change, Persist(tuple(self._renew(person, now)), "identity"), *self._publish(person, now)]

    def delete(self, identity: str) -> list[Effect]:
        """Forget an identity with all its secrets and conversations; mails that are here stay.

        What homes hold of its profile expires by itself.
        """
        person = self._person(identity)
        self._not_busy(person, "delete")
        del self._state.people[identity]
        self._withdraw(person)
        changes: list[Change] = [Delete("identities", {"id": identity})]
        changes += [Delete(table, {"identity": identity}) for table in ("prekeys", "inboxes", "sessions")]
        for session in [one for one in self._state.sessions.values() if one.identity == identity]:
            changes += self._state.forget_session(session)
        return [Persist(tuple(changes), "identity")]

    def _person(self, identity: str) -> Person:
        try:
            return self._state.people[identity]
        except KeyError:
            raise UserError("There is no such identity; see 'mixmail id list'.", "unknown-identity") from None

    def _update(self, person: Person, values: dict[str, str | int]) -> Persist:
        return Persist((Update("identities", {"id": person.id}, values),), "identity")

    def _not_busy(self, person: Person, verb: str) -> None:
        if any(mail.identity == person.id for mail in self._state.outbox.values()):
            raise UserError(
                f"A mail of {person.name} is still in the outbox: wait until it is stored, or cancel it, "
                f"then {verb} the identity.",
                "busy",
            )

    def _withdraw(self, person: Person) -> None:
        """Profiles that have not left yet need not."""
        for kind in KINDS:
            self._unpublished.pop((person.id, kind), None)

    def refresh(self, now: float) -> list[Effect]:
        """Once a day: new inbox queues and, with the week, new prekeys; publish them."""
        today = day_of(now)
        if today == self._day:
            return []
        self._day = today
        effects: list[Effect] = []
        for person in self._state.people.values():
            changes = self._renew(person, now)
            if changes:
                effects.append(Persist(tuple(changes), "identity"))
            effects.extend(self._publish(person, now))
        return effects

    def _renew(self, person: Person, now: float) -> list[Change]:
        """New secrets where they are due, and old ones gone."""
        today, params = day_of(now), self._context.params
        week = week_of(today)
        changes: list[Change] = []
        if week not in person.prekeys and not person.archived:
            prekey = Prekey(week, self._context.rng.bytes(SEED_BYTES))
            person.prekeys[week] = prekey
            changes.append(Put("prekeys", {"identity": person.id, "week": week, "seed": prekey.seed}))
        oldest = week_of(today - params.prekey_keep_days)
        for old in [week for week in person.prekeys if week < oldest]:
            del person.prekeys[old]
            changes.append(Delete("prekeys", {"identity": person.id, "week": old}))
        if not person.archived and (not person.inboxes or person.inboxes[-1].day != today):
            inbox = Inbox(person.id, self._context.rng.bytes(16), today, opened=now)
            person.inboxes.append(inbox)
            changes.append(Put("inboxes", inbox.row()))
        while person.inboxes and person.inboxes[0].day < today - params.mail_class - params.prekey_days:
            gone = person.inboxes.pop(0)
            changes.append(Delete("inboxes", {"identity": person.id, "salt": gone.salt}))
        return changes

    def _publish(self, person: Person, now: float) -> list[Effect]:
        if person.archived:
            return []
        params, today = self._context.params, day_of(now)
        week = week_of(today)
        prekey = person.prekeys[week]
        profile = Profile(
            week,
            prekey.private.public,
            prekey.x25519_public,
            person.identity.x25519_public,
            person.name,
            params.stranger_bits,
            person.inboxes[-1].salt,
        )
        effects: list[Effect] = []
        for kind in KINDS:
            # Time in seconds only grows, over restarts as well: the newest profile wins at its homes.
            sequence = max(int(now), self._sequence.get((person.id, kind), 0) + 1)
            self._sequence[person.id, kind] = sequence
            record = seal_profile(
                person.identity, profile, kind, today, sequence, params.mail_class, self._context.rng
            )
            effects.extend(self._context.with_stamp(record, partial(self._ready, person.id, kind), now))
        return effects

    def _ready(self, person: str, kind: int, record: Record, now: float) -> list[Effect]:
        if self._state.in_use(person):  # else it was put away while the stamp was made
            self._unpublished[person, kind] = record
        return []

    def next_write(self, now: float) -> Task | None:
        """The WRITE of a profile that is not yet stored by the quorum."""
        waiting = [place for place in self._unpublished if place not in self._publishing]
        if not waiting:
            return None
        place = self._context.rng.choice(waiting)
        record = self._unpublished[place]
        self._publishing.add(place)
        raw = record.pack()
        way: list[Way] = []

        def sent(_: float, by: Way) -> list[Effect]:
            way.append(by)
            return []

        def ended(answer: Answer | None, later: float) -> list[Effect]:
            self._publishing.discard(place)
            if answer is None or self._unpublished.get(place) is not record:
                return []
            bits = self._context.more_bits(record, answer, later)
            if bits is not None:
                del self._unpublished[place]
                return self._context.with_stamp(record, partial(self._again, place), later, bits)
            if self._context.acks(answer) < self._context.quorum(later):
                return []
            del self._unpublished[place]
            self._read_backs.stored(raw, way[0], partial(self._checked, place, record), later, always=True)
            return []

        return Task(QueryOp.WRITE, 0, lambda _: raw, ended, real=True, sent=sent)

    def _checked(self, place: tuple[str, int], record: Record, found: bool, now: float) -> list[Effect]:
        """A profile that nobody finds is published again."""
        return [] if found else self._again(place, record, now)

    def _again(self, place: tuple[str, int], record: Record, now: float) -> list[Effect]:
        """Publish a profile once more, unless there is a newer one."""
        if self._sequence[place] == record.seq and self._state.in_use(place[0]):
            self._unpublished.setdefault(place, record)
        return []


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name:
        raise UserError("A name cannot be empty; give the name your correspondents shall see.", "name")
    if len(name.encode()) > NAME_BYTES:
        raise UserError(f"That name is too long; use at most {NAME_BYTES} bytes.", "name")
    return name
