"""The user's side of a node: sends and fetches mail as a constant stream of identical queries.

Rules of use
- `handle_command`, `handle_reply` (a body that came back for one of our SURBs) and `handle_timeout`
  return effects; carry each list out in order, a `Persist` before what follows it.
- Call `handle_timeout` when `next_timeout()` has come.
- An agent without identities sends cover only: it looks like any other from outside.
"""

from __future__ import annotations

from collections.abc import Callable

from mixmail.directory.path import NetworkTooSmall
from mixmail.directory.view import View
from mixmail.effects import Done, Effect, Emit
from mixmail.errors import LocalProtocolError
from mixmail.jobs import Jobs
from mixmail.params import Network
from mixmail.randomness import Randomness

from .commands import (
    AcceptContact,
    AddContact,
    ArchiveIdentity,
    BlockContact,
    CancelMail,
    ContactCommand,
    CreateIdentity,
    DeleteIdentity,
    IdentityCommand,
    IgnoreContact,
    RemoveContact,
    RenameContact,
    RenameIdentity,
    SendMail,
)
from .context import Context
from .cover import Cover
from .events import QueryEnded, QuerySent
from .fetcher import Fetcher
from .identities import Identities
from .losses import NodeLosses
from .model import AgentState, load
from .outbox import Outbox
from .people import People
from .queries import Queries, Task
from .read_back import ReadBacks
from .schedule import SendSchedule, SlotKind
from .stamp_stock import StampStock
from .suspects import Suspects
from .tables import Rows

Command = CreateIdentity | IdentityCommand | AddContact | ContactCommand | SendMail | CancelMail | Done


class Agent:
    """One profile's agent."""

    def __init__(
        self,
        network: Network,
        own_id: bytes,
        view: View,
        rng: Randomness,
        rows: Rows,
        now: float,
        schedule: SendSchedule | None = None,
    ) -> None:
        self.state: AgentState = load(rows)
        self._context = Context(network, own_id, view, rng, self.state, Jobs(limit=1_000_000))
        self._queries = Queries(network, own_id, view, rng)
        self.schedule = schedule or SendSchedule(network.parameters, rng, now)
        self.suspects = Suspects()
        self._read_backs = ReadBacks(self._context, self.suspects)
        self._identities = Identities(self._context, self._read_backs)
        self._people = People(self._context)
        self._outbox = Outbox(self._context, self._people, self._read_backs)
        self._people.on_profile = self._outbox.seal_waiting
        self._cover = Cover(self._context)
        self._stamps = StampStock(self._context)
        self._fetcher = Fetcher(self._context, self._people, self._outbox)
        self.queries_sent = 0
        self.queries_answered = 0
        self.queries_lost = 0
        self.losses = NodeLosses()

    @property
    def queries_waiting(self) -> int:
        """Queries under way."""
        return self._queries.waiting

    @property
    def newest_query(self) -> bytes:
        """The ident of the query that left last; b"" when none is under way."""
        return self._queries.newest

    @property
    def packets_waiting(self) -> int:
        """Parts of own mails that are not stored yet."""
        return self._outbox.waiting

    @property
    def next_slot(self) -> float:
        """When the next query leaves."""
        return self.schedule.moment

    def start(self, now: float) -> list[Effect]:
        """The first call: publish profiles, take up the mails that were under way."""
        return [*self._identities.refresh(now), *self._outbox.resume(now)]

    def handle_command(self, command: Command, now: float) -> list[Effect]:
        """Carry out one command; UserError when the user has to do something."""
        match command:
            case Done():
                return self._context.jobs.done(command.token, command.result, now)
            case CreateIdentity():
                return self._identities.create(command.name, command.seed, now)
            case RenameIdentity():
                return self._identities.rename(command.identity, command.name, now)
            case ArchiveIdentity():
                return self._identities.archive(command.identity, command.archived, now)
            case DeleteIdentity():
                return self._identities.delete(command.identity)
            case AddContact():
                return self._people.add_contact(command.address, command.name, now)
            case RenameContact():
                return self._people.rename_contact(command.contact, command.name)
            case RemoveContact():
                return self._people.remove_contact(command.contact)
            case AcceptContact():
                return self._people.accept(command.contact)
            case IgnoreContact():
                return self._people.ignore(command.contact)
            case BlockContact():
                return self._people.block(command.contact, command.blocked)
            case SendMail():
                return self._outbox.submit(command.identity, command.contact, command.eml, now)
            case CancelMail():
                return self._outbox.cancel(command.mail)
        raise LocalProtocolError(f"the agent knows no command {command!r}")

    def handle_reply(self, surb_id: bytes, body: bytes, now: float) -> list[Effect]:
        """A body came back for the SURB `surb_id`."""
        return self._counted(self._queries.handle_reply(surb_id, body, now))

    def handle_timeout(self, now: float) -> list[Effect]:
        """Forget what is overdue and send this slot's query if its moment has come."""
        effects = self._counted(self._queries.forget_expired(now))
        kind = self.schedule.take(now)
        if kind is not None:
            effects.extend(self._identities.refresh(now))
            effects.extend(self._cover.refresh(now))
            effects.extend(self._fill(kind, now))
            effects.extend(self._stamps.refill(now))  # last: what leaves in this slot does not wait for it
        return effects

    def next_timeout(self) -> float:
        """When `handle_timeout` has something to do."""
        forget = self._queries.next_timeout()
        return self.schedule.moment if forget is None else min(forget, self.schedule.moment)

    def _fill(self, kind: SlotKind, now: float) -> list[Effect]:
        sources: dict[SlotKind, tuple[Callable[[float], Task | None], Callable[[float], Task]]] = {
            SlotKind.WRITE: (self._write, self._cover.write),
            SlotKind.FOLLOW: (self._follow, self._cover.read),
            SlotKind.POLL: (self._fetcher.poll, self._cover.read),
        }
        real, cover = sources[kind]
        if self._context.others(now) < 2:
            return []
        task = real(now) or cover(now)
        try:
            effects, way = self._queries.send(task, now, self.suspects.avoided(self._context.others(now)))
        except NetworkTooSmall:
            # The view shrank between the look at it and the draw: as good as a lost query.
            return task.ended(None, now)
        self.queries_sent += 1
        if task.sent is not None:
            effects.extend(task.sent(now, way))
        return [*effects, Emit(QuerySent(kind.value, task.real))]

    def _write(self, now: float) -> Task | None:
        """Real writes compete in random order: mails, profiles, deletions from the inbox queue."""
        return self._any_of(
            [self._outbox.next_write, self._identities.next_write, self._fetcher.next_write], now
        )

    def _follow(self, now: float) -> Task | None:
        """Reads that an earlier answer asked for: a backlog, a profile to look up, a write to read back."""
        return self._any_of(
            [self._fetcher.backlog, self._people.next_lookup, self._read_backs.next_read], now
        )

    def _any_of(self, sources: list[Callable[[float], Task | None]], now: float) -> Task | None:
        self._context.rng.shuffle(sources)
        for source in sources:
            task = source(now)
            if task is not None:
                return task
        return None

    def _counted(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Emit) and isinstance(effect.event, QueryEnded):
                self.losses.add(effect.event.answered, effect.event.nodes)
                self.suspects.ended(effect.event.answered, effect.event.nodes)
                if effect.event.answered:
                    self.queries_answered += 1
                else:
                    self.queries_lost += 1
        return effects
