"""A network in which storers take notes: who asked which key when, and what each home saw of it.

Every host is a full node with an agent at the `mail` preset; its conversations stand when the network
starts (rows of a profile, as after a restart) and had their last mail at that moment, so that each is a hot
one for two days.  Everything is the shipping code but for the cryptography (`standins`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any
from unittest.mock import patch

from mixmail.agent.model import Contact, Person, Session
from mixmail.agent.queries import Queries, Task
from mixmail.agent.sealing import session_id
from mixmail.boxes.capability import STREAM_SEED_BYTES, ReadCap, WriteCap
from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import Record, parse_key_field
from mixmail.crypto import kem
from mixmail.effects import Effect, Frame
from mixmail.mail.identity import Identity
from mixmail.mail.session import Side
from mixmail.node.replica import Replica
from mixmail.node.wire import HomeQuery
from mixmail.params import NetworkParameters
from mixmail.testing import SeededRandomness

from .network import LabHost, LabNetwork
from .scenario import send
from .standins import stand_in_crypto
from .storer_changes import planted

KEYED = (QueryOp.READ, QueryOp.WRITE)
INDICES = 40  # of each stream that are told apart; no stream comes that far


@dataclass(frozen=True, slots=True)
class Box:
    """What the truth says of a key: box `index` of the stream that `reader` reads and `writer` writes."""

    reader: int
    writer: int
    stream: int
    index: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One HOME_QUERY at a home; hosts by number, seconds from the start."""

    time: float
    home: int
    proxy: int
    op: QueryOp
    key: bytes
    record: tuple[int, int, int]  # type, class and claimed bits of a record; zero for a READ


@dataclass(slots=True)
class Notes:
    """All that homes saw of boxes of conversations in one network, and the truth about it."""

    hosts: int
    seconds: float
    slot: float
    boxes: dict[bytes, Box]
    seen: dict[int, list[Seen]] = field(default_factory=lambda: defaultdict(list))  # by home, in order
    own_reads: list[tuple[float, int, bytes]] = field(default_factory=list)  # the truth: (left, agent, key)

    @property
    def queries(self) -> int:
        """How many queries all homes had."""
        return sum(len(seen) for seen in self.seen.values())


def note(
    seed: int,
    hours: float,
    params: NetworkParameters,
    users: int = 24,
    contacts: int = 6,
    change: str = "none",
    mails_a_day: float = 0.0,
) -> Notes:
    """Run one network; each user writes `mails_a_day` to contacts drawn at random.

    `change`: what is planted in the agents (`storer_changes`).
    """
    with ExitStack() as stack:
        stack.enter_context(stand_in_crypto(seed))
        lab = LabNetwork(params, users, seed, trace=False)
        start, rng = lab.now, SeededRandomness(f"storer {seed}")
        boxes = plant_conversations(lab, contacts, rng)
        notes = Notes(users, hours * 3_600, params.slot, boxes)
        stack.enter_context(_taking(lab, notes, start))
        lab.start()
        stack.enter_context(planted(lab, change))
        end, mails = start + notes.seconds, 0
        while True:
            wait = rng.exponential(86_400 / (mails_a_day * users)) if mails_a_day else math.inf
            lab.run(min(wait, end - lab.now))
            if lab.now >= end:
                return notes
            writer = rng.below(users)
            reader = (writer + rng.choice(_distances(contacts))) % users
            send(lab, lab.hosts[writer], lab.hosts[reader], f"Mail {mails}", "What do the homes see?\n")
            mails += 1


def _distances(contacts: int) -> list[int]:
    if contacts < 2 or contacts % 2:
        raise ValueError("in a ring everybody has an even number of contacts")
    return [side * step for step in range(1, contacts // 2 + 1) for side in (1, -1)]


def plant_conversations(lab: LabNetwork, contacts: int, rng: SeededRandomness) -> dict[bytes, Box]:
    """Give everybody an identity and an open conversation with the `contacts` nearest in a ring.

    Returns the truth about the keys of all their streams.
    """
    people = []
    for host in lab.hosts:
        identity = Identity(rng.bytes(32))
        person = Person(identity.address.text, f"Person {host.number}", identity, lab.now)
        _put(host, "identities", (person.id,), person.row())
        people.append(person)
    boxes: dict[bytes, Box] = {}
    reach = contacts // 2
    _distances(contacts)
    for first, second in combinations(range(len(people)), 2):
        if min(second - first, len(people) - second + first) > reach:
            continue
        root, sides = rng.bytes(32), (first, second)
        caps = [WriteCap.create(rng.bytes(STREAM_SEED_BYTES)) for _ in sides]
        keys = [rng.bytes(32) for _ in sides]
        for side in Side:
            mine, other = people[sides[side]], people[sides[1 - side]]
            session = Session(
                session_id(root, side),
                mine.id,
                other.id,
                ("first", "second")[side],
                "open",
                root,
                caps[side],
                caps[1 - side].read_cap(),
                keys[side],
                kem.PrivateKey.from_seed(keys[1 - side]).public.raw,
                lab.now,
                lab.now,
            )
            contact = Contact(other.id, other.name, other.identity.address, lab.now, last_traffic=lab.now)
            host = lab.hosts[sides[side]]
            _put(host, "contacts", (contact.id,), contact.row())
            _put(host, "sessions", (session.id,), session.row())
            truth = partial(Box, sides[side], sides[1 - side], len(boxes) // INDICES)
            boxes |= {key: truth(index) for index, key in enumerate(_keys(caps[1 - side].read_cap()))}
    return boxes


def _put(host: LabHost, table: str, key: tuple[Any, ...], row: dict[str, Any]) -> None:
    host.tables.setdefault(table, {})[key] = row


def _keys(cap: ReadCap) -> Iterator[bytes]:
    for _ in range(INDICES):
        yield cap.box_id()
        cap = cap.advance()


@contextmanager
def _taking(lab: LabNetwork, notes: Notes, start: float) -> Iterator[None]:
    """Write down what homes are asked, their own proxies' questions too, and what agents send."""
    number = {host.node_id: host.number for host in lab.hosts}
    home_of: dict[int, int] = {}  # id of a replica, which lives as long as its host
    ask, leave = Replica.handle_query, Queries.send

    def handle_query(replica: Replica, peer: bytes, frame: Frame, now: float) -> list[Effect]:
        query = HomeQuery.parse(frame.payload)
        if query.op in KEYED:
            record = Record.parse(query.field) if query.op is QueryOp.WRITE else None
            key = parse_key_field(query.field) if record is None else record.key
            if key in notes.boxes:
                if id(replica) not in home_of:
                    home_of.update((id(h.node._replica), h.number) for h in lab.hosts if h.node)
                kind = (0, 0, 0) if record is None else (int(record.type), record.klass, record.bits)
                home = home_of[id(replica)]
                notes.seen[home].append(Seen(now - start, home, number[peer], query.op, key, kind))
        return ask(replica, peer, frame, now)

    def send_query(queries: Queries, task: Task, now: float, avoid: frozenset[bytes] = frozenset()) -> Any:
        if task.op is QueryOp.READ:
            key = parse_key_field(task.field(b""))
            if key in notes.boxes:
                notes.own_reads.append((now - start, number[queries._own_id], key))
        return leave(queries, task, now, avoid)

    with patch.object(Replica, "handle_query", handle_query), patch.object(Queries, "send", send_query):
        yield
