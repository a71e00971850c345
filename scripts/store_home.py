"""One home's store as the daemon runs it: replica, repair, lane, workshop and node.db; no links, no mixes.

For soaks and benches.  Everything is used from the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import Record
from mixmail.boxes.status import Status
from mixmail.daemon.lane import Lane
from mixmail.daemon.workshop import Workshop, share_the_interpreter
from mixmail.effects import Effect, Emit, Frame, Offload, Send
from mixmail.jobs import Jobs
from mixmail.node.replica import Replica
from mixmail.node.stats import Stats
from mixmail.node.wire import HomeQuery, HomeReply, Kind
from mixmail.params import NODE_LIMITS, Network, NodeLimits
from mixmail.storage.node_db import NodeDatabase

PROXY = bytes([1]) * 32
OTHER_HOME = bytes([2]) * 32


class StoreHome:
    """`now` is the home's clock, in unix seconds.  `failed` gets what went wrong in any job."""

    database: NodeDatabase
    replica: Replica

    def __init__(
        self,
        reactor: Any,
        network: Network,
        now: Callable[[], float],
        failed: Callable[[Failure], None],
        limits: NodeLimits = NODE_LIMITS,
    ) -> None:
        share_the_interpreter()
        self.now = now
        self.troubles: list[Any] = []  # events of the replica
        self.other_frames: list[Send] = []  # what repair sends
        self.workshop = Workshop(reactor, reactor.getThreadPool(), 0)
        self.jobs = Jobs(limits.jobs)
        self.stats = Stats()
        self._network = network
        self._limits = limits
        self._failed = failed
        self._lane = Lane(self._perform, failed)
        self._waiting: dict[int, Deferred[HomeReply]] = {}
        self._stream = 0

    def start(self, path: Path) -> Deferred[None]:
        """Open node.db at `path`."""
        return self.workshop.node_store(partial(NodeDatabase, path)).addCallback(self._opened)

    def _opened(self, database: NodeDatabase) -> None:
        self.database = database
        self.workshop.node_thread.use_batches(database.batch)
        self.replica = Replica(self._network, database, self.jobs, self.stats, self._limits)

    def stop(self) -> Deferred[None]:
        """Close it."""
        return self.workshop.node_store(self.database.close).addCallback(lambda _: self.workshop.close())

    def ask(self, op: QueryOp, field: bytes) -> Deferred[HomeReply]:
        """What the home answers to a proxy."""
        answered: Deferred[HomeReply] = Deferred()
        self._stream += 1
        self._waiting[self._stream] = answered
        frame = Frame(Kind.HOME_QUERY, self._stream, HomeQuery(op, field).pack())
        self.run(self.replica.handle_query(PROXY, frame, self.now()))
        return answered

    def hand_over(self, record: Record) -> Deferred[Status]:
        """What becomes of a record that another home hands over."""
        answered: Deferred[Status] = Deferred()

        def answer(status: Status, other: Record | None) -> list[Effect]:
            answered.callback(status)
            return []

        self.run(self.replica.take_in(record, OTHER_HOME, answer, self.now()))
        return answered

    def drop(self, record: Record) -> Deferred[Status]:
        """Forget a record, as repair does with one that is out of range."""
        return self.workshop.node_store(partial(self.database.drop, record)).addCallback(lambda _: Status.OK)

    def run(self, effects: list[Effect]) -> None:
        """Carry out what a core of this home asks for."""
        self._lane.push(effects).addErrback(lambda _: None)  # `failed` was told

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Offload():
                result = self.workshop.run(effect)
                result.addCallback(lambda value: self.run(self.jobs.done(effect.token, value, self.now())))
                result.addErrback(self._failed)
            case Send() if effect.frame.kind == Kind.HOME_REPLY:
                self._waiting.pop(effect.frame.stream).callback(HomeReply.parse(effect.frame.payload))
            case Send():
                self.other_frames.append(effect)
            case Emit():
                self.troubles.append(effect.event)
            case _:
                raise AssertionError("a home keeps nothing in the profile")
