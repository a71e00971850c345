"""The role proxy: opens a query, asks the homes of its key, seals one answer.

It sees the operation and the key and knows only the courier (docs/protocol/store.md, "Proxy").  Rules:
- a blob is opened once in its key's life: a second answer under one reply key would be a second text
  under one key and nonce;
- whatever is wrong with a blob (not for this node, opened before, malformed, too many at once), the
  courier gets an answer of the same size after the same wait.  Nobody can seal such an answer, so it is
  random; the agent sees that it is none and starts again;
- an answer waits Exp(mean_delay * courier_delay_fraction) in the proxy's own pool.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from mixmail.boxes import asking
from mixmail.boxes.placement import ranking
from mixmail.boxes.query import (
    SPREAD,
    Answer,
    Query,
    QueryOp,
    QueueRequest,
    open_query,
    query_tag,
    seal_answer,
)
from mixmail.boxes.record import EMPTY_FIELD, Record, RecordType, parse_key_field
from mixmail.boxes.status import Status
from mixmail.directory.view import View
from mixmail.effects import Effect, Frame, Send
from mixmail.encoding import require_length
from mixmail.errors import RemoteProtocolError
from mixmail.jobs import Jobs
from mixmail.mixing import delays
from mixmail.mixing.pool import Poisson
from mixmail.mixing.replay import ReplayFilter
from mixmail.node.asker import Asker
from mixmail.node.budget import FairBudget
from mixmail.node.keys import EpochKeys
from mixmail.node.stats import Stats
from mixmail.node.ticked import TickedPool
from mixmail.node.walks import DeleteWalk, QueueReadWalk, Ranked, ReadWalk, Walk, WriteWalk
from mixmail.node.wire import HomeQuery, Kind
from mixmail.params import GEOMETRY, NODE_LIMITS, Network, day_of
from mixmail.randomness import Randomness


@dataclass(frozen=True, slots=True)
class _Reply:
    courier: bytes
    stream: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who gets the answer, out of whose share (`View.part_of`), and under which key."""

    courier: bytes
    part: bytes
    stream: int
    reply_key: bytes


class Proxy:
    """The queries that one proxy has opened."""

    def __init__(
        self,
        network: Network,
        own_id: bytes,
        keys: EpochKeys,
        view: View,
        jobs: Jobs,
        rng: Randomness,
        stats: Stats,
        stamps: FairBudget,
    ) -> None:
        """`stamps`: what this node may spend on checks of stamps (`Replica.stamp_budget`)."""
        self._network_hash = network.hash
        self._params = network.parameters
        self._own_id = own_id
        self._keys = keys
        self._view = view
        self._jobs = jobs
        self._rng = rng
        self._stats = stats
        self._stamps = stamps
        self._opened = ReplayFilter(self._params)
        self._couriers = FairBudget(
            NODE_LIMITS.proxy_queries_per_s, NODE_LIMITS.proxy_queries_memory_s, NODE_LIMITS.stamp_askers
        )
        self._running: Counter[bytes] = Counter()  # queries at work, by share
        self.asker = Asker(self._params, rng, stats)
        self.pool: TickedPool[_Reply] = TickedPool(
            "proxy", Poisson(self._params, rng, NODE_LIMITS.proxy_pool), stats
        )

    def handle_query(self, courier: bytes, frame: Frame, now: float) -> list[Effect]:
        """Take in a PROXY_QUERY; RemoteProtocolError only for a wrong length, which no courier sends."""
        require_length("blob", frame.payload, GEOMETRY.blob)
        self._stats.add("proxy.in")
        part = self._view.part_of(courier)
        query = self._open(frame.payload, part, now)
        if query is None:
            self._reply(courier, frame.stream, self._rng.bytes(GEOMETRY.reply_ct), now)
            return []
        asked = _Asked(courier, part, frame.stream, query.reply_key)
        try:
            walk = self._walk(query, now)
        except RemoteProtocolError:
            self._stats.add("drop.proxy_field")
            self._answer(asked, Answer(Status.REFUSED, 0, 0, EMPTY_FIELD), now)
            return []
        self._running[part] += 1
        return self.asker.start(walk, partial(self._finish, asked, walk), now)

    def handle_tick(self, now: float) -> list[Effect]:
        """The answers that leave at this tick."""
        if not self.pool.due(now):
            return []
        return [
            Send(item.courier, Frame(Kind.PROXY_REPLY, item.stream, item.sealed))
            for item in self.pool.release(now)
        ]

    def forget_epoch(self, epoch: int) -> None:
        """Drop the tags of the blobs that were opened by a key which is deleted."""
        self._opened.forget(epoch)

    # from blob to walk

    def _takes(self, part: bytes, now: float) -> bool:
        """Whether one more query out of this share leaves enough to the others, of places and of time."""
        places = self.asker.running + self._running[part] + 1
        return places <= NODE_LIMITS.proxy_queries and not self._jobs.full and self._couriers.take(part, now)

    def _open(self, blob: bytes, part: bytes, now: float) -> Query | None:
        # Before the blob is opened, which is dear: so nobody can seal an answer that says why.
        if not self._takes(part, now):
            self._stats.add("drop.proxy_full")
            return None
        # One key at a time, since the replay filter needs to know which epoch's key it was.
        for key in self._keys.live_proxy(now):
            try:
                query = open_query((key,), self._network_hash, self._own_id, blob)
            except RemoteProtocolError:
                continue  # another epoch's blob, or nobody's: the end of the loop tells
            if self._opened.check_and_add(key[0], query_tag(blob), part):
                return query
            self._stats.add("drop.proxy_replay")
            return None
        self._stats.add("drop.proxy_blob")
        return None

    def _walk(self, query: Query, now: float) -> Walk:
        """What to ask of whom; RemoteProtocolError if the query's field does not fit its operation."""
        today = day_of(now)
        ask = HomeQuery(query.op, query.field)
        if query.op is QueryOp.READ:
            key = parse_key_field(query.field)
            homes = self._homes(key, self._params.replicas, now)
            if query.flags & SPREAD:
                self._rng.shuffle(homes)
            return ReadWalk(ask, homes, self._params.read_homes, key=key, today=today)
        if query.op in (QueryOp.WRITE, QueryOp.QUEUE_ADD):
            record = Record.parse(query.field)
            if (record.type is RecordType.QUEUE) != (query.op is QueryOp.QUEUE_ADD):
                raise RemoteProtocolError("this operation is not for this type of record")
            homes = self._homes(record.key, self._params.write_tries, now)
            if query.flags & SPREAD:
                homes = homes[: self._params.replicas]
                self._rng.shuffle(homes)
            ready = [home for home in homes if not self._asks_more(home[1], record)]
            walk = WriteWalk(ask, ready, self._params.write_acks, record=record, today=today)
            if len(ready) < self._params.quorum_of(len(homes)):
                walk.said.append(Status.BAD_STAMP)  # for those that need not be asked
            return walk
        request = QueueRequest.from_field(query.field)
        if not request.answers_to(query.reply_key):
            raise RemoteProtocolError("the owner did not sign for this query")
        homes = self._homes(request.key, self._params.replicas, now)
        if query.op is QueryOp.QUEUE_DELETE:
            return DeleteWalk(ask, homes, len(homes))
        return QueueReadWalk(
            ask,
            homes,
            self._params.write_acks,
            network_hash=self._network_hash,
            params=self._params,
            request=request,
            today=today,
        )

    def _asks_more(self, home: bytes, record: Record) -> bool:
        """Whether a home says in its descriptor that this record has too little work for it.

        Below what every home needs to see, the homes themselves say what is wrong.
        """
        descriptor = self._view.get(home)
        claim = descriptor.stamp_bits if descriptor is not None else 0
        needed = asking.needed(self._params, record.type, claim)
        return record.bits < needed > asking.floor(self._params, record.type)

    def _homes(self, key: bytes, limit: int, now: float) -> list[Ranked]:
        return list(enumerate(ranking(key, self._view.storage_ids(now), limit)))

    # from walk to answer

    def _finish(self, asked: _Asked, walk: Walk, now: float) -> list[Effect]:
        self._running[asked.part] -= 1
        if not self._running[asked.part]:
            del self._running[asked.part]
        if isinstance(walk, QueueReadWalk):
            return self._look_at(asked, walk, walk.candidates(), now)
        self._answer(asked, walk.answer(), now)
        return []

    def _look_at(
        self, asked: _Asked, walk: QueueReadWalk, candidates: list[Record], now: float
    ) -> list[Effect]:
        """Answer with the first of `candidates` whose work is done: an Argon2id each, within the budget."""
        if not candidates:
            self._answer(asked, walk.answer_with(None), now)
            return []
        first, *others = candidates

        def checked(good: Any, later: float) -> list[Effect]:
            if isinstance(good, Exception):
                self._stats.add("proxy.failed_jobs")
                return self._put_off(asked, later)
            if not good:
                return self._look_at(asked, walk, others, later)
            self._answer(asked, walk.answer_with(first), later)
            return []

        if not first.bits:
            return checked(walk.is_valid(first), now)
        if not self._stamps.take(asked.part, now):
            self._stats.add("proxy.stamps_put_off")
            return self._put_off(asked, now)
        self._stats.add("proxy.stamps_checked")
        return self._jobs.start("cpu", partial(walk.is_valid, first), checked)

    def _put_off(self, asked: _Asked, now: float) -> list[Effect]:
        self._answer(asked, Answer(Status.TRY_LATER, 0, 0, EMPTY_FIELD), now)
        return []

    def _answer(self, asked: _Asked, answer: Answer, now: float) -> None:
        self._stats.add("proxy.answers")
        self._reply(asked.courier, asked.stream, seal_answer(asked.reply_key, answer), now)

    def _reply(self, courier: bytes, stream: int, sealed: bytes, now: float) -> None:
        wait = delays.draw_courier_delay(self._params, self._rng)
        self.pool.add(_Reply(courier, stream, sealed), wait, now, self._view.part_of(courier))
