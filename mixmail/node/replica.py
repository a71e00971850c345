"""The role replica: keeps records for others and gives them back to proxies.

It sees keys, records and proxies, never who asks.  Rules (docs/protocol/store.md, "A home's rules"):
- order of checks: size and layout, day, class, signature, then the work of the stamp;
- cheap checks at once, Argon2id and the store as `Offload`, at most `NODE_LIMITS.jobs` of them:
  beyond that the answer is TRY_LATER;
- a record or entry that is here already costs no Argon2id: a holder may publish again what is there;
- the others have a budget of Argon2id, shared out by proxies (`FairBudget`): TRY_LATER beyond it too;
- a queue is listed and shortened only for its owner's signature, at most an hour old.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mixmail.boxes import asking, stamp
from mixmail.boxes.query import QueryOp, QueueRequest, hour_of
from mixmail.boxes.record import EMPTY_FIELD, Record, RecordType, parse_key_field, validate
from mixmail.boxes.status import Status
from mixmail.boxes.store import RecordStore
from mixmail.effects import Effect, Emit, Frame, Send
from mixmail.errors import RemoteProtocolError
from mixmail.jobs import Jobs
from mixmail.node.budget import FairBudget
from mixmail.node.events import StoreFailed
from mixmail.node.stats import Stats
from mixmail.node.wire import HomeQuery, HomeReply, Kind
from mixmail.params import NODE_LIMITS, Network, NodeLimits, day_of

_Answer = Callable[[Status, Record | None], list[Effect]]


class Replica:
    """One node's share of the store.  `on_new(record, now)` is called for what a client wrote that is new."""

    def __init__(
        self,
        network: Network,
        store: RecordStore,
        jobs: Jobs,
        stats: Stats,
        limits: NodeLimits = NODE_LIMITS,
        part_of: Callable[[bytes], bytes] = lambda peer: peer,
    ) -> None:
        """`part_of(peer)`: whose share of the budget a peer takes (`View.part_of`)."""
        self._network_hash = network.hash
        self._params = network.parameters
        self._store = store
        self._jobs = jobs
        self._stats = stats
        self._store_rows = limits.store_rows
        self._fill: float | None = None
        self._claim_day = 0
        self.claim = self._params.box_bits  # bits of work that the own descriptor asks for
        self._expiring = False
        self.on_new: Callable[[Record, float], None] = lambda record, now: None
        self._part_of = part_of
        self._stamps = FairBudget(limits.stamp_checks, limits.stamp_memory_s, limits.stamp_askers)

    def handle_query(self, peer: bytes, frame: Frame, now: float) -> list[Effect]:
        """Take in a HOME_QUERY.  RemoteProtocolError for a frame that no proxy sends; for a query whose
        field breaks a rule the answer is REFUSED, since the proxy may have it from somebody else."""
        query = HomeQuery.parse(frame.payload)
        self._stats.add("replica.in")
        answer = partial(_reply, peer, frame.stream)
        if self._jobs.full:
            self._stats.add("replica.busy")
            return answer(Status.TRY_LATER)
        try:
            if query.op is QueryOp.READ:
                return self._read(parse_key_field(query.field), answer, now)
            if query.op in (QueryOp.WRITE, QueryOp.QUEUE_ADD):
                record = Record.parse(query.field)
                if (record.type is RecordType.QUEUE) != (query.op is QueryOp.QUEUE_ADD):
                    raise RemoteProtocolError("this operation is not for this type of record")
                return self._write(record, peer, answer, now)
            return self._queue(query.op, QueueRequest.from_field(query.field), answer, now)
        except RemoteProtocolError:
            self._stats.add("drop.home_field")
            return answer(Status.REFUSED)

    def put_off(self, peer: bytes, frame: Frame) -> list[Effect]:
        """The answer to a proxy that asks too much."""
        self._stats.add("replica.put_off")
        return _reply(peer, frame.stream, Status.TRY_LATER)

    @property
    def stamp_budget(self) -> FairBudget:
        """What this node may spend on checks of stamps, in all its roles."""
        return self._stamps

    def take_in(self, record: Record, peer: bytes, answer: _Answer, now: float) -> list[Effect]:
        """Keep a record that another home hands over, checked like a client's write.

        `answer` gets the status, and with EXISTS the better record that is here.
        """
        return self._write(record, peer, answer, now, repair=True)

    def publish_claim(self, day: int) -> int:
        """The bits of work to ask for in a descriptor of `day`: from now on they are needed."""
        self.claim = asking.next_claim(self._params, self._fill, self.claim, day > self._claim_day)
        self._claim_day = max(day, self._claim_day)
        return self.claim

    def restore_claim(self, bits: int, day: int) -> None:
        """What an earlier life of this node asked for, in its descriptor of `day`."""
        self.claim, self._claim_day = bits, day

    def expire(self, now: float) -> list[Effect]:
        """Drop what has expired or is above the quota from the store, `store_rows` in a job: reads never wait
        for all of it."""
        if self._expiring:
            return []
        self._expiring = True
        return self._expire_some(now)

    def _expire_some(self, now: float) -> list[Effect]:
        today, limit = day_of(now), self._store_rows

        def some() -> tuple[int, float]:
            return self._store.expire(today, limit), self._store.fill()

        def dropped(result: Any, later: float) -> list[Effect]:
            if not isinstance(result, Exception):
                count, self._fill = result
                if count >= limit:
                    return self._expire_some(later)
            self._expiring = False
            return self._unless_failed(None, lambda *_: [], result, later)

        return self._jobs.start("upkeep", some, dropped)

    # reading

    def _read(self, key: bytes, answer: _Answer, now: float) -> list[Effect]:
        today = day_of(now)

        def found(record: Record | None) -> list[Effect]:
            if record is None or record.expired(today):
                return answer(Status.NOT_FOUND, None)
            return answer(Status.OK, record)

        return self._in_store(lambda: self._store.get(key), found, answer)

    def _queue(self, op: QueryOp, request: QueueRequest, answer: _Answer, now: float) -> list[Effect]:
        if not request.verify(op, hour_of(now)):
            self._stats.add("replica.bad_signature")
            return answer(Status.BAD_SIGNATURE, None)
        key, after = request.key, request.after
        if op is QueryOp.QUEUE_DELETE:
            return self._in_store(
                lambda: self._store.queue_delete(key, after), lambda status: answer(status, None), answer
            )

        today = day_of(now)

        def first() -> Record | None:
            position = after
            while entries := self._store.queue_list(key, position, 1):
                if not entries[0].expired(today):  # else it waits to be swept
                    return entries[0]
                position = entries[0].position
            return None

        def listed(entry: Record | None) -> list[Effect]:
            return answer(Status.NOT_FOUND if entry is None else Status.OK, entry)

        return self._in_store(first, listed, answer)

    # writing

    def _write(
        self, record: Record, peer: bytes, answer: _Answer, now: float, repair: bool = False
    ) -> list[Effect]:
        status = validate(record, day_of(now), self._params.classes_days)
        if status is not Status.OK:
            self._stats.add(f"replica.{status.name.lower()}")
            return answer(status, None)
        queue = record.type is RecordType.QUEUE
        needed = asking.needed(self._params, record.type, self.claim)
        # What is here may have less work than is asked for now, but no record less than the floor.
        if not stamp.is_plausible(self._params, record, asking.floor(self._params, record.type)):
            return self._bad_stamp(answer)
        if record.bits == needed == 0:
            return self._put(record, answer, now, repair)
        today = day_of(now)

        def is_here() -> bool:
            if queue:
                return self._store.queue_knows(record, today)
            held = self._store.get(record.key)
            return held is not None and held.identical(record)

        def looked_up(here: bool, later: float) -> list[Effect]:
            if here:
                return self._put(record, answer, later, repair)
            if record.bits < needed:
                return self._bad_stamp(answer)
            if not self._stamps.take(self._part_of(peer), later):
                self._stats.add("replica.stamps_put_off")
                return answer(Status.TRY_LATER, None)
            return self._check_stamp(record, needed, answer, repair)

        return self._jobs.start("store", is_here, partial(self._unless_failed, answer, looked_up))

    def _check_stamp(self, record: Record, needed: int, answer: _Answer, repair: bool) -> list[Effect]:
        self._stats.add("replica.stamps_checked")

        def checked(good: bool, later: float) -> list[Effect]:
            return self._put(record, answer, later, repair) if good else self._bad_stamp(answer)

        return self._jobs.start(
            "cpu",
            lambda: stamp.check(self._network_hash, self._params, record, needed),
            partial(self._unless_failed, answer, checked),
        )

    def _bad_stamp(self, answer: _Answer) -> list[Effect]:
        self._stats.add("replica.bad_stamp")
        return answer(Status.BAD_STAMP, None)

    def _put(self, record: Record, answer: _Answer, now: float, repair: bool) -> list[Effect]:
        today = day_of(now)

        def job() -> tuple[Status, Record | None]:
            if record.type is RecordType.QUEUE:
                return self._store.queue_add(record, today, self._params.queue_limit), None
            status = self._store.put(record, today, repair)
            # The other record goes with EXISTS: without this proof nobody believes a home.
            return status, self._store.get(record.key) if status is Status.EXISTS else None

        def stored(result: tuple[Status, Record | None]) -> list[Effect]:
            if repair:
                return answer(*result)
            self._stats.add(f"replica.put_{result[0].name.lower()}")
            if result[0] is Status.STORED:
                self.on_new(record, now)
            return answer(*result)

        return self._in_store(job, stored, answer)

    # jobs

    def _in_store(
        self, job: Callable[[], Any], then: Callable[[Any], list[Effect]], answer: _Answer | None = None
    ) -> list[Effect]:
        return self._jobs.start(
            "store", job, partial(self._unless_failed, answer, lambda result, _: then(result))
        )

    def _unless_failed(
        self,
        answer: _Answer | None,
        then: Callable[[Any, float], list[Effect]],
        result: Any,
        now: float,
    ) -> list[Effect]:
        """Go on with a job's result, or put the asker off when the job raised."""
        if not isinstance(result, Exception):
            return then(result, now)
        self._stats.add("replica.failed_jobs")
        failed: list[Effect] = [Emit(StoreFailed(str(result) or type(result).__name__))]
        return failed if answer is None else [*failed, *answer(Status.TRY_LATER, None)]


def _reply(peer: bytes, stream: int, status: Status, record: Record | None = None) -> list[Effect]:
    field = EMPTY_FIELD if record is None else record.pack()
    payload = HomeReply(status, 0 if record is None else 1, field).pack()
    return [Send(peer, Frame(Kind.HOME_REPLY, stream, payload))]
