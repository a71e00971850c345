"""Operations on a home's store, of every kind, each a function of the seed and its number.

So who runs them and who checks them need not tell each other more than numbers.  A later operation often
takes up an earlier one: it buries or drops its box, deletes its entry, sends it again, reads it.
"""

from __future__ import annotations

import bisect
import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import QueryOp, QueueRequest, hour_of
from mixmail.boxes.record import Record, RecordType, key_field, queue_entry, sign_record
from mixmail.boxes.status import Status
from mixmail.boxes.store import RecordStore
from mixmail.params import DAY, GEOMETRY
from mixmail.testing import SeededRandomness

KINDS = {
    "box": 30,
    "stone": 10,  # a TOMBSTONE for an earlier box
    "mutable": 12,
    "entry": 20,
    "delete": 10,  # an earlier entry, by its owner
    "again": 8,  # an earlier box or entry once more
    "handed": 5,  # a box by another home
    "drop": 3,  # an earlier box that is out of range
    "read": 8,  # the key of an earlier box
}
KLASS = 7
MUTABLES, QUEUES = 20, 8
BACK = 100  # how far back an operation looks for the one that it takes up
QUEUE_LIMIT = 4_096

Life = tuple[int, int]
"""(number of its first operation, its day) of one life of the home."""


@dataclass(frozen=True, slots=True)
class Operation:
    """`record` is what it is about; `target` the number of the operation that it takes up, itself if none."""

    number: int
    kind: str
    target: int
    record: Record


class Load:
    """All operations of one seed; `lives` tells on which day each is done."""

    def __init__(self, seed: int, lives: Sequence[Life]) -> None:
        self._seed = seed
        self._lives = list(lives)
        self.operation = functools.lru_cache(maxsize=6 * BACK)(self._operation)
        self.kind = functools.lru_cache(maxsize=16 * BACK)(self._kind)

    def begin(self, life: Life) -> None:
        """Another life, from the operation `life[0]` on: what was thought of later ones is void."""
        self._lives.append(life)
        self.operation.cache_clear()

    def day(self, number: int) -> int:
        """The day of an operation, since 1970-01-01."""
        place = bisect.bisect_right(self._lives, number, key=lambda life: life[0]) - 1
        return self._lives[place][1]

    def now(self, number: int) -> float:
        """Noon of that day, unix seconds."""
        return (self.day(number) + 0.5) * DAY

    def _random(self, number: int, what: str) -> random.Random:
        return random.Random(f"{self._seed} {number} {what}")

    def _kind(self, number: int) -> str:
        return self._random(number, "kind").choices(list(KINDS), list(KINDS.values()))[0]

    def _earlier(self, number: int, kinds: Sequence[str]) -> int:
        """The number of an earlier operation of one of these kinds, its own if there is none."""
        start = number - self._random(number, "back").randrange(1, BACK)
        return next((n for n in range(start, -1, -1) if self.kind(n) in kinds), number)

    def _operation(self, number: int) -> Operation:
        kind = self.kind(number)
        wanted = {"delete": ("entry",), "again": ("box", "entry")}.get(kind, ("box",))
        target = number if kind in ("box", "mutable", "entry", "handed") else self._earlier(number, wanted)
        return Operation(number, kind, target, self._record(kind, number, target))

    def _record(self, kind: str, number: int, target: int) -> Record:
        if target != number:
            record = self.operation(target).record
            if kind == "stone":
                return self._signed(RecordType.TOMBSTONE, self._owner(f"box {target}"), number, 0)
            return record
        if kind in ("entry", "delete"):
            return queue_entry(self._queue(number).public, KLASS, self.day(number), self._text(number))
        if kind == "mutable":
            owner = self._owner(f"mutable {self._random(number, 'which').randrange(MUTABLES)}")
            return self._signed(RecordType.MUTABLE, owner, number, number)
        return self._signed(RecordType.BOX, self._owner(f"box {number}"), number, 0)

    def _signed(self, kind: RecordType, owner: OwnerKey, number: int, seq: int) -> Record:
        text = bytes(GEOMETRY.box_ct) if kind is RecordType.TOMBSTONE else self._text(number)
        rng = SeededRandomness(f"{self._seed} {number} signature")
        return sign_record(owner, kind, KLASS, self.day(number), seq, text, rng)

    def _owner(self, name: str) -> OwnerKey:
        return OwnerKey.from_seed(SeededRandomness(f"{self._seed} {name}").bytes(32), "test.own")

    def _queue(self, number: int) -> OwnerKey:
        """Queues are of one day, so that none grows beyond its limit."""
        which = self._random(number, "which").randrange(QUEUES)
        return self._owner(f"queue {which} of {self.day(number)}")

    def _text(self, number: int) -> bytes:
        return self._random(number, "text").randbytes(GEOMETRY.box_ct)

    # doing it

    def query(self, one: Operation) -> tuple[QueryOp, bytes] | None:
        """What a proxy asks the home for it; None if it is none of a proxy's affairs."""
        if one.kind in ("handed", "drop"):
            return None
        if one.kind == "read":
            return QueryOp.READ, key_field(one.record.key)
        if one.kind == "delete":
            rng = SeededRandomness(f"{self._seed} {one.number} request")
            hour = hour_of(self.now(one.number))
            owner = self._queue(one.target)
            asked = QueueRequest.create(
                owner, QueryOp.QUEUE_DELETE, one.record.entry_id, hour, rng.bytes(32), rng
            )
            return QueryOp.QUEUE_DELETE, asked.to_field()
        queue = one.record.type is RecordType.QUEUE
        return QueryOp.QUEUE_ADD if queue else QueryOp.WRITE, one.record.pack()

    def apply(self, one: Operation, store: RecordStore) -> Status:
        """Do it to a store directly; what a home would answer."""
        today, record = self.day(one.number), one.record
        done: dict[str, Callable[[], Status]] = {
            "delete": lambda: store.queue_delete(record.key, record.entry_id),
            "drop": lambda: (store.drop(record), Status.OK)[1],
            "handed": lambda: store.put(record, today, True),
            "read": lambda: self._found(store.get(record.key), today),
        }
        if one.kind in done:
            return done[one.kind]()
        if record.type is RecordType.QUEUE:
            return store.queue_add(record, today, QUEUE_LIMIT)
        return store.put(record, today)

    def _found(self, record: Record | None, today: int) -> Status:
        return Status.NOT_FOUND if record is None or record.expired(today) else Status.OK
