"""Repair between homes: records find their homes again when nodes come, go or forget.

Rules (docs/protocol/store.md, "Repair"):
- a record that a client wrote here is handed on to other homes of its key some minutes later;
- a sweep goes through the store once in `repair_sweep_slots`.  A node that has become a home of a record
  since the sweep before, other than in place of one that said that it leaves, is offered it by the others;
  a few random nodes are offered all that they should have; what this node is no home of is handed to two
  homes and dropped;
- an OFFER names records; the answer NEED those that are missing; each is handed over as RECORD, at a low
  pace;
- a node that leaves hands each record to the node that becomes a home in its place.

What comes by RECORD is checked like a client's write.  Whoever holds a better record sends it back.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from mixmail.boxes import asking
from mixmail.boxes.placement import ranking
from mixmail.boxes.record import Record
from mixmail.boxes.status import Status
from mixmail.boxes.store import START, Item, Place, RecordStore, place_of
from mixmail.directory.view import View
from mixmail.effects import Effect, Emit, Frame, Send
from mixmail.jobs import Jobs
from mixmail.node.budget import FairBudget
from mixmail.node.events import StoreFailed
from mixmail.node.stats import Stats
from mixmail.node.wire import Kind, pack_items, parse_items
from mixmail.params import NODE_LIMITS, Network, NodeLimits, day_of
from mixmail.randomness import Randomness

StorageIds = tuple[tuple[bytes, bytes, bytes], ...]
"""`View.storage_ids`."""


class TakeIn(Protocol):
    """`Replica.take_in`."""

    def __call__(
        self,
        record: Record,
        peer: bytes,
        answer: Callable[[Status, Record | None], list[Effect]],
        now: float,
    ) -> list[Effect]: ...


@dataclass(frozen=True, slots=True)
class _Judged:
    """A record, the ranking of its key, and which of its homes were none at the sweep before."""

    record: Record
    homes: list[bytes]
    newcomers: list[bytes]


@dataclass(frozen=True, slots=True)
class _HandOver:
    """A record on its way to a peer, then to those of `rest`, then dropped here; `rest` None: it stays."""

    peer: bytes
    item: Item
    rest: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a peer shall be told that it may have."""

    peer: bytes
    items: list[Item]


class Repair:
    """One home's part in the repair."""

    def __init__(
        self,
        network: Network,
        own_id: bytes,
        view: View,
        store: RecordStore,
        take_in: TakeIn,
        jobs: Jobs,
        rng: Randomness,
        stats: Stats,
        limits: NodeLimits = NODE_LIMITS,
    ) -> None:
        self._params = network.parameters
        self._own_id = own_id
        self._view = view
        self._store = store
        self._take_in = take_in
        self._jobs = jobs
        self._rng = rng
        self._stats = stats
        self._limits = limits
        self._place: Place = START
        self._before: StorageIds = ()
        self._present: StorageIds = ()
        self._chosen: frozenset[bytes] = frozenset()
        self._offers: dict[bytes, list[Item]] = {}
        self._out: OrderedDict[bytes, deque[_HandOver | _Offer]] = OrderedDict()  # peers take turns
        self._waiting = 0  # messages in it
        self._offered: OrderedDict[bytes, set[Item]] = OrderedDict()
        self._forwards: list[tuple[float, Item]] = []  # heap
        self._asking: set[bytes] = set()
        self._questions = FairBudget(limits.offers_per_s, limits.offers_memory_s, limits.stamp_askers)
        self._records = FairBudget(limits.records_per_s, limits.stamp_memory_s, limits.stamp_askers)
        self._scanning = False
        self._sweep = 0  # its number: what comes back for an earlier one is out of date
        self._swept = False  # it has come to its end
        self._next_sweep = math.inf
        self._next_step = math.inf
        self._next_out = math.inf
        self._leaving_by: float | None = None

    # time

    @property
    def wake(self) -> float:
        """When `handle_timeout` has something to do."""
        out = self._next_out if self._out else math.inf
        forward = self._forwards[0][0] if self._forwards else math.inf
        return min(self._next_step, out, forward)

    def start(self, now: float) -> None:
        """Begin to sweep, at a random moment of the first interval."""
        self._next_out = now
        self._next_step = self._next_sweep = now + self._rng.uniform() * self._interval
        self._swept = True

    def handle_timeout(self, now: float) -> list[Effect]:
        """Do what is due."""
        effects: list[Effect] = []
        while self._forwards and self._forwards[0][0] <= now:
            self._forward(heapq.heappop(self._forwards)[1], now)
        if now >= self._next_step:
            effects.extend(self._step(now))
        while self._out and now >= self._next_out:
            # what was slept through is not made up for: a slot's messages at once, no more
            self._next_out = max(self._next_out, now - self._params.slot) + self._gap
            effects.extend(self._send_out(self._take_out(), now))
        return effects

    @property
    def _interval(self) -> float:
        return self._limits.repair_sweep_slots * self._params.slot

    @property
    def _gap(self) -> float:
        """Seconds between two messages."""
        if self._leaving_by is not None:
            return 1.0 / self._limits.leaving_per_s
        return self._params.slot / self._limits.repair_per_slot

    # what a client wrote

    def note_new(self, record: Record, now: float) -> None:
        """A client's record is new here: others shall have it too."""
        if len(self._forwards) < self._limits.repair_queue:
            wait = self._rng.exponential(self._limits.repair_forward_slots * self._params.slot)
            heapq.heappush(self._forwards, (now + wait, (record.key, record.version)))

    def _forward(self, item: Item, now: float) -> None:
        """A write asked `write_acks` homes, as a rule the nearest: each takes its share of the others."""
        homes = ranking(item[0], self._view.storage_ids(now), self._params.write_tries)
        top, others = homes[: self._params.replicas], self._others(homes[: self._params.replicas])
        share: list[bytes] = []
        if self._own_id in top:
            turn = top.index(self._own_id) % self._params.write_acks
            share = [peer for rank, peer in enumerate(top) if rank % self._params.write_acks == turn]
        share = self._others(share)
        more = [peer for peer in others if peer not in share]
        for peer in (*share, *self._rng.sample(more, 1 if share else self._limits.repair_hands)):
            self._queue(_HandOver(peer, item), now)

    def _others(self, peers: Sequence[bytes]) -> list[bytes]:
        return [peer for peer in peers if peer != self._own_id]

    # the sweep

    def _step(self, now: float) -> list[Effect]:
        leaving = self._leaving_by is not None
        self._next_step = now + (1.0 if leaving else self._limits.repair_step_slots * self._params.slot)
        room = self._limits.repair_queue - self._waiting
        if self._scanning or self._jobs.full or room < self._limits.repair_chunk:
            return []
        if self._swept:
            if now < self._next_sweep:
                self._next_step = self._next_sweep
                return []
            self._begin(now)
        self._scanning = True
        return self._scan(self._sweep, self._place, [])

    def _scan(self, sweep: int, place: Place, found: list[Record]) -> list[Effect]:
        """Read on from `place`, `store_rows` in a job, until there is a part of the sweep."""
        limit = min(self._limits.store_rows, self._limits.repair_chunk - len(found))

        def read(more: Any, now: float) -> list[Effect]:
            if isinstance(more, Exception):
                return self._scanned(sweep, more, now)
            found.extend(more)
            if len(more) < limit or len(found) == self._limits.repair_chunk:
                return self._scanned(sweep, found, now)
            return self._scan(sweep, place_of(found[-1]), found)

        return self._jobs.start("upkeep", lambda: self._store.scan(place, limit), read)

    def _begin(self, now: float) -> None:
        self._swept = False
        self._sweep += 1
        self._next_sweep = now + self._interval
        self._place = START
        present = self._view.storage_ids(now)
        # Who says that it leaves hands over itself; who is just not there any more has not.
        before = self._present or present
        self._before = tuple(one for one in before if not self._view.says_it_left(one[1]))
        self._present = present
        others = self._others(sorted(node_id for _, node_id, _ in present))
        self._chosen = frozenset(self._rng.sample(others, self._limits.repair_peers))

    def _scanned(self, sweep: int, found: Any, now: float) -> list[Effect]:
        if isinstance(found, Exception):
            self._scanning = False
            self._stats.add("repair.failed_jobs")
            return [Emit(StoreFailed(str(found) or type(found).__name__))]
        params = self._params
        job = partial(judge, found, self._before, self._present, params.replicas, params.write_tries)
        return self._jobs.start("cpu", job, partial(self._judged, sweep, len(found)))

    def _judged(self, sweep: int, count: int, judged: Any, now: float) -> list[Effect]:
        self._scanning = False
        if isinstance(judged, Exception):
            self._stats.add("repair.failed_jobs")
            return []
        if sweep != self._sweep:
            return []
        today = day_of(now)
        for one in judged:
            self._place = place_of(one.record)
            if not one.record.expired(today):
                self._look_at(one, now)
        if count < self._limits.repair_chunk:
            self._end_sweep(now)
        elif self._leaving_by is not None:
            self._next_step = now
        return []

    def _look_at(self, one: _Judged, now: float) -> None:
        item = (one.record.key, one.record.version)
        others = self._others(one.homes[: self._params.replicas])
        if self._leaving_by is not None:
            for peer in one.newcomers:
                self._queue(_HandOver(peer, item), now)
            return
        if self._own_id not in one.homes:
            self._stats.add("repair.out_of_range")
            hands = self._rng.sample(others, self._limits.repair_hands)
            if hands:  # none while nobody at all is known
                self._queue(_HandOver(hands[0], item, tuple(hands[1:])), now)
            return
        for peer in others:
            if self._asks_more(peer, one.record):
                continue
            new = peer in one.newcomers and self._rng.uniform() < self._limits.repair_share
            if new or peer in self._chosen:
                self._offer(peer, item, now)

    def _asks_more(self, peer: bytes, record: Record) -> bool:
        """Whether a home would refuse the record for too little work."""
        descriptor = self._view.get(peer)
        claim = descriptor.stamp_bits if descriptor is not None else 0
        return record.bits < asking.needed(self._params, record.type, claim)

    def _offer(self, peer: bytes, item: Item, now: float) -> None:
        items = self._offers.setdefault(peer, [])
        items.append(item)
        if len(items) == self._limits.offer_items:
            self._queue(_Offer(peer, self._offers.pop(peer)), now)

    def _end_sweep(self, now: float) -> None:
        self._swept = True
        self._next_step = max(self._next_step, self._next_sweep)
        self._stats.add("repair.sweeps")
        for peer, items in self._offers.items():
            self._queue(_Offer(peer, items), now)
        self._offers = {}

    # what goes out

    def _queue(self, message: _HandOver | _Offer, now: float) -> None:
        if self._waiting >= self._limits.repair_queue:
            self._stats.add("drop.repair_queue")
            return
        if not self._out:
            self._next_out = max(self._next_out, now + self._gap)
        self._out.setdefault(message.peer, deque()).append(message)
        self._waiting += 1

    def _take_out(self) -> _HandOver | _Offer:
        """What leaves next: of each peer in turn, so that who needs much does not hold up the others."""
        peer, messages = next(iter(self._out.items()))
        message = messages.popleft()
        self._waiting -= 1
        if messages:
            self._out.move_to_end(peer)
        else:
            del self._out[peer]
        return message

    def _send_out(self, message: _HandOver | _Offer, now: float) -> list[Effect]:
        if isinstance(message, _Offer):
            self._stats.add("repair.offers_out")
            self._offered[message.peer] = set(message.items)
            self._offered.move_to_end(message.peer)
            if len(self._offered) > self._limits.repair_offered:
                self._offered.popitem(last=False)
            return [Send(message.peer, Frame(Kind.OFFER, 0, pack_items(message.items)))]
        if self._jobs.full:
            self._stats.add("drop.repair_busy")
            return []
        return self._jobs.start(
            "store", lambda: self._store.find(message.item), partial(self._found, message)
        )

    def _found(self, message: _HandOver, record: Any, now: float) -> list[Effect]:
        if isinstance(record, Exception):
            self._stats.add("repair.failed_jobs")
            return [Emit(StoreFailed(str(record) or type(record).__name__))]
        if record is None or record.expired(day_of(now)):
            return []
        effects: list[Effect] = []
        if self._asks_more(message.peer, record):
            self._stats.add("repair.asks_more")
        else:
            self._stats.add("repair.records_out")
            effects.append(Send(message.peer, Frame(Kind.RECORD, 0, record.pack())))
        if message.rest:
            self._queue(_HandOver(message.rest[0], message.item, message.rest[1:]), now)
        elif message.rest is not None:
            effects.extend(self._jobs.start("store", lambda: self._store.drop(record), self._dropped))
        return effects

    def _dropped(self, result: Any, now: float) -> list[Effect]:
        self._stats.add("repair.failed_jobs" if isinstance(result, Exception) else "repair.dropped")
        return []

    # what comes in

    def handle_offer(self, peer: bytes, payload: bytes, now: float) -> list[Effect]:
        """Ask for what is missing here; RemoteProtocolError for a malformed OFFER."""
        items = parse_items("offer", payload)
        self._stats.add("repair.offers_in")
        if peer in self._asking or self._jobs.full or not self._questions.take(self._view.part_of(peer), now):
            self._stats.add("drop.repair_offer")
            return []
        self._asking.add(peer)
        return self._look_up(peer, items, [], now)

    def _look_up(self, peer: bytes, items: Sequence[Item], missing: list[Item], now: float) -> list[Effect]:
        """Find out which of `items` are missing too, `store_rows` in a job."""
        today, rows = day_of(now), self._limits.store_rows
        part, rest = items[:rows], items[rows:]

        def looked_up(found: Any, later: float) -> list[Effect]:
            if not isinstance(found, Exception):
                missing.extend(found)
                if rest:
                    return self._look_up(peer, rest, missing, later)
            self._asking.discard(peer)
            if isinstance(found, Exception):
                self._stats.add("repair.failed_jobs")
                return []
            return [Send(peer, Frame(Kind.NEED, 0, pack_items(missing)))] if missing else []

        return self._jobs.start("upkeep", lambda: self._store.missing(part, today), looked_up)

    def handle_need(self, peer: bytes, payload: bytes, now: float) -> None:
        """Hand over what this peer was offered, each once; RemoteProtocolError for a malformed NEED.

        As many as places are still free may wait for one peer.
        """
        offered = self._offered.get(peer, set())
        for item in parse_items("need", payload):
            if item in offered:
                offered.discard(item)
                if len(self._out.get(peer, ())) >= self._limits.repair_queue - self._waiting:
                    self._stats.add("drop.repair_queue")
                    continue
                self._queue(_HandOver(peer, item), now)

    def handle_record(self, peer: bytes, payload: bytes, now: float) -> list[Effect]:
        """Keep a record of which this node is a home; RemoteProtocolError for a malformed one."""
        record = Record.parse(payload)
        if self._jobs.full or not self._records.take(self._view.part_of(peer), now):
            self._stats.add("drop.repair_busy")
            return []
        homes = ranking(record.key, self._view.storage_ids(now), self._params.write_tries)
        if self._own_id not in homes:
            self._stats.add("drop.repair_not_home")
            return []

        def answer(status: Status, other: Record | None) -> list[Effect]:
            self._stats.add(f"repair.{status.name.lower()}")
            if status is Status.EXISTS and other is not None:
                return [Send(peer, Frame(Kind.RECORD, 0, other.pack()))]
            return []

        return self._take_in(record, peer, answer, now)

    # the end

    def leave(self, by: float, now: float) -> None:
        """Hand every record to the node that becomes its home without this one, until `by`."""
        self._leaving_by = by
        self._before = self._view.storage_ids(now)
        self._present = tuple(one for one in self._before if one[1] != self._own_id)
        self._out.clear()
        self._waiting = 0
        self._offers, self._forwards = {}, []
        self._place, self._swept = START, False
        self._sweep += 1
        self._next_sweep = math.inf
        self._next_step = self._next_out = now

    @property
    def leaving(self) -> int:
        """While this node leaves: whether there is something left to hand over, at least."""
        if self._leaving_by is None:
            return 0
        return self._waiting + (not self._swept)


def judge(
    records: Sequence[Record], before: StorageIds, present: StorageIds, replicas: int, tries: int
) -> list[_Judged]:
    """Rank the homes of each record's key: its first `tries`, and which of the first `replicas` are new."""
    judged = []
    for record in records:
        homes = ranking(record.key, present, tries)
        newcomers: list[bytes] = []
        if before != present:
            old = set(ranking(record.key, before, replicas))
            newcomers = [home for home in homes[:replicas] if home not in old]
        judged.append(_Judged(record, homes, newcomers))
    return judged
