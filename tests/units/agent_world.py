"""An agent whose queries are answered by hand: no packets, no nodes; twelve descriptors in its view.

`Homes` is one store that answers a task's query as a proxy would after asking its homes.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Any

import directory_builder as directory

from mixmail.agent.commands import CreateIdentity
from mixmail.agent.core import Agent, Command
from mixmail.agent.events import MailState
from mixmail.agent.queries import Task, Way
from mixmail.agent.tables import Row, apply_change
from mixmail.boxes.query import Answer, QueryOp, QueueRequest, hour_of
from mixmail.boxes.record import EMPTY_FIELD, Record, parse_key_field
from mixmail.boxes.status import Status
from mixmail.directory.view import Checks, View
from mixmail.effects import Done, Effect, Emit, Offload, Persist, Send
from mixmail.mail import message
from mixmail.params import Network, NetworkParameters, day_of
from mixmail.testing import MemoryStore, SeededRandomness

NODES = 12
PARAMS = dataclasses.replace(
    directory.PARAMS, stranger_bits=0, hot_weight=1 / 2, inbox_weight=1 / 4, follow_wait_slots=1.0
)
QUORUM = PARAMS.quorum_of(NODES)
_CHECKS = Checks()


class Homes:
    """All homes at once; `acks` of them acknowledge a write, and keep it unless its key is one of `lost`."""

    def __init__(self, acks: int = 6) -> None:
        self.store = MemoryStore()
        self.acks = acks
        self.asked: list[QueryOp] = []
        self.lost: set[bytes] = set()

    def answer(self, task: Task, now: float) -> Answer:
        """What comes back for the query of `task`."""
        field, today = task.field(bytes(32)), day_of(now)
        self.asked.append(task.op)
        if task.op is QueryOp.READ:
            record = self.store.get(parse_key_field(field))
            return _found(record)
        if task.op is QueryOp.WRITE:
            record = Record.parse(field)
            return self._written(Status.STORED if record.key in self.lost else self.store.put(record, today))
        if task.op is QueryOp.QUEUE_ADD:
            return self._written(self.store.queue_add(Record.parse(field), today, 256))
        request = QueueRequest.from_field(field)
        assert request.verify(task.op, hour_of(now))
        if task.op is QueryOp.QUEUE_DELETE:
            return self._written(self.store.queue_delete(request.key, request.after))
        entries = self.store.queue_list(request.key, request.after, 1)
        return _found(entries[0] if entries else None)

    def _written(self, status: Status) -> Answer:
        return Answer(status, self.acks, (1 << self.acks) - 1, EMPTY_FIELD)


def _found(record: Record | None) -> Answer:
    if record is None:
        return Answer(Status.NOT_FOUND, 0, 0, EMPTY_FIELD)
    return Answer(Status.OK, 2, 3, record.pack())


class _Caught:
    """Stands in for `Queries`: keeps the tasks instead of sending them."""

    def __init__(self) -> None:
        self.tasks: deque[Task] = deque()
        self.ways = 0
        self.waiting = 0

    def send(self, task: Task, now: float, avoid: frozenset[bytes] = frozenset()) -> tuple[list[Effect], Way]:
        self.tasks.append(task)
        self.ways += 1
        return [], (b"courier %d" % self.ways, b"proxy %d" % self.ways)

    def forget_expired(self, now: float) -> list[Effect]:
        return []

    def next_timeout(self) -> float | None:
        return None


class Desk:
    """One agent, its profile and the slots of its life."""

    def __init__(
        self,
        homes: Homes,
        name: str,
        tables: dict[str, dict[tuple[Any, ...], Row]] | None = None,
        now: float = directory.NOON,
        params: NetworkParameters = PARAMS,
    ) -> None:
        self.homes = homes
        self.now = now
        self.rng = SeededRandomness(f"desk {name} {now}")
        self.tables = {} if tables is None else tables
        self.events: list[Any] = []
        self.points: list[str] = []
        network = Network(bytes(range(32)), 19_990, params)
        view = View(network, _CHECKS)
        nodes = [directory.make(number, network=network, now=now) for number in range(NODES)]
        assert all(view.add(node, now) for node in nodes)
        rows = {table: [dict(row) for row in kept.values()] for table, kept in self.tables.items()}
        self.agent = Agent(network, nodes[0].node_id, view, self.rng, rows, now)
        self._caught = _Caught()
        self.agent._queries = self._caught  # type: ignore[assignment]
        self.carry_out(self.agent.start(now))
        if not self.agent.state.people:
            self.command(CreateIdentity(name))

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the agent asked for."""
        for effect in effects:
            assert not isinstance(effect, Send)
            if isinstance(effect, Persist):
                self.points.append(effect.point)
                for change in effect.changes:
                    apply_change(self.tables, change)
            elif isinstance(effect, Offload):
                self.command(Done(effect.token, effect.job()))
            elif isinstance(effect, Emit):
                self.events.append(effect.event)

    def command(self, command: Command) -> None:
        """Hand the agent a command."""
        self.carry_out(self.agent.handle_command(command, self.now))

    def slot(self) -> Task:
        """Let the next slot come; its query is on its way."""
        self.now = self.agent.next_slot
        self.carry_out(self.agent.handle_timeout(self.now))
        return self._caught.tasks.popleft()

    def end(self, task: Task, answer: Answer | None) -> None:
        """The end of a query: this answer, or lost."""
        self.carry_out(task.ended(answer, self.now))

    def run(self, slots: int, until: Callable[[], bool] = lambda: False) -> bool:
        """So many slots, each query answered before the next one leaves."""
        for _ in range(slots):
            if until():
                return True
            task = self.slot()
            self.end(task, self.homes.answer(task, self.now))
        return until()

    def next_of(self, op: QueryOp, slots: int = 200) -> Task:
        """The next real query of this kind, still open; what leaves before it is answered."""
        for _ in range(slots):
            task = self.slot()
            if task.real and task.op is op:
                return task
            self.end(task, self.homes.answer(task, self.now))
        raise AssertionError(f"no {op.name} in {slots} slots")

    @property
    def address(self) -> str:
        """The own address."""
        return next(iter(self.agent.state.people))

    def mail(self, text: str, reply_to: bytes | None = None) -> tuple[str, bytes]:
        """(id, message) of a mail to be sent."""
        mail = message.Mail(
            self.rng.bytes(16), "subject", text, int(self.now), "somebody", in_reply_to=reply_to
        )
        return mail.message_id.hex(), message.compose(mail)

    def row(self, mail: str) -> Row:
        """The row of a mail."""
        return self.tables["mails"][(mail,)]

    def arrived_rows(self) -> list[Row]:
        """The mails that have arrived, those of strangers too."""
        rows = self.tables.get("mails", {}).values()
        return [row for row in rows if row["folder"] in ("inbox", "requests")]

    def inbox(self) -> list[str]:
        """The texts that have arrived."""
        return [message.parse(row["eml"]).text for row in self.arrived_rows()]

    def states(self, mail: str) -> list[tuple[str, int, int]]:
        """(state, sent parts, parts) of the events about a mail, each once."""
        found = [e for e in self.events if isinstance(e, MailState) and e.mail == mail]
        seen = [(e.state, e.sent_parts, e.parts) for e in found]
        return [state for place, state in enumerate(seen) if seen.index(state) == place]

    def published(self) -> bool:
        """Whether the own profile stands in the network."""
        return not self.agent._identities._unpublished


def crash(desk: Desk) -> Desk:
    """The same profile in a new agent; what was not persisted is gone."""
    return Desk(desk.homes, "again", desk.tables, desk.now, desk.agent._context.params)
