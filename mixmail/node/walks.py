"""What a proxy makes of the homes' replies, one class for each operation.

A walk goes along the homes of one key.  `judge` takes one home's reply and says whether it counts
towards the number of replies that the walk wants; `answer` sums up.  In every answer `n` is the number
of homes that hold what the answer speaks of, and bit i of `acks` says that the home of rank i does
(docs/protocol/store.md, "Proxy").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mixmail.boxes import stamp
from mixmail.boxes.query import Answer, QueueRequest
from mixmail.boxes.record import EMPTY_FIELD, Record, RecordType
from mixmail.boxes.status import Status
from mixmail.boxes.store import decide, summary
from mixmail.errors import RemoteProtocolError
from mixmail.node.wire import HomeQuery, HomeReply
from mixmail.params import NetworkParameters

Ranked = tuple[int, bytes]  # (rank of a home, its node id)

# What a record cannot get rid of by asking another home.
_FINAL = (Status.BAD_SIGNATURE, Status.BAD_STAMP, Status.EXPIRED, Status.REFUSED)


@dataclass
class Walk:
    """One query on its way along `homes`, asked in this order until `wanted` replies count.

    As many final refusals (`refused`) end it as well.
    """

    query: HomeQuery
    homes: Sequence[Ranked]
    wanted: int
    acks: int = 0
    refused: int = 0
    said: list[Status] = field(default_factory=list)

    def judge(self, rank: int, reply: HomeReply) -> bool:
        """Take in the reply of the home of `rank`; True if it counts."""
        raise NotImplementedError

    def answer(self) -> Answer:
        """What is known when the walk ends."""
        raise NotImplementedError

    def _ack(self, rank: int) -> None:
        self.acks |= 1 << rank

    def _count(self) -> int:
        return self.acks.bit_count()


@dataclass(kw_only=True)
class WriteWalk(Walk):
    """WRITE and QUEUE_ADD of `record`.

    The answer is EXISTS only with the proof in its field: another record that the owner of the key
    has signed, that has not expired and that stays.  A home that claims it without proof has merely refused.
    """

    record: Record
    today: int
    other: Record | None = None

    def judge(self, rank: int, reply: HomeReply) -> bool:
        status = reply.status
        if status is Status.EXISTS and not self._proves(reply):
            status = Status.REFUSED
        self.said.append(status)
        if status in _FINAL:
            self.refused += 1
        if status.acknowledges:
            self._ack(rank)
        return status.acknowledges or status is Status.EXISTS

    def answer(self) -> Answer:
        field = EMPTY_FIELD if self.other is None else self.other.pack()
        return Answer(summary(self.said), self._count(), self.acks, field)

    def _proves(self, reply: HomeReply) -> bool:
        if self.record.type is RecordType.QUEUE or not reply.n:
            return False
        try:
            other = Record.parse(reply.field)
        except RemoteProtocolError:
            return False
        if other.key != self.record.key or other.type is RecordType.QUEUE or other.expired(self.today):
            return False
        if decide(other, self.record) is not Status.EXISTS or not other.check_signature():
            return False
        self.other = other
        return True


@dataclass(kw_only=True)
class ReadWalk(Walk):
    """READ of `key`: the best of the valid records."""

    key: bytes
    today: int
    found: dict[int, Record] = field(default_factory=dict)

    def judge(self, rank: int, reply: HomeReply) -> bool:
        self.said.append(reply.status)
        if reply.status is Status.NOT_FOUND:
            return True
        if reply.status is not Status.OK or not reply.n:
            return False
        try:
            record = Record.parse(reply.field)
        except RemoteProtocolError:
            return False
        if record.key != self.key or record.type is RecordType.QUEUE or record.expired(self.today):
            return False
        if not record.check_signature():
            return False
        self.found[rank] = record
        return True

    def answer(self) -> Answer:
        best: Record | None = None
        for record in self.found.values():
            if best is None or decide(best, record, repair=True) is Status.STORED:
                best = record
        if best is None:
            status = Status.NOT_FOUND if Status.NOT_FOUND in self.said else Status.TRY_LATER
            return Answer(status, 0, 0, EMPTY_FIELD)
        for rank, record in self.found.items():
            if record.identical(best):
                self._ack(rank)
        return Answer(Status.OK, self._count(), self.acks, best.pack())


@dataclass(kw_only=True)
class QueueReadWalk(Walk):
    """QUEUE_READ: the first entry after the cursor that any home has.

    The homes' entries claim their work, and claims order the queue: `is_valid` (dear, to be run elsewhere)
    throws out what did not do it, so that no home can push an entry of its own to the front.
    """

    network_hash: bytes
    params: NetworkParameters
    request: QueueRequest
    today: int
    found: dict[int, Record] = field(default_factory=dict)

    def judge(self, rank: int, reply: HomeReply) -> bool:
        self.said.append(reply.status)
        if reply.status is Status.NOT_FOUND:
            return True
        if reply.status is not Status.OK or not reply.n:
            return False
        try:
            record = Record.parse(reply.field)
        except RemoteProtocolError:
            return False
        if not self._fits(record):
            return False
        self.found[rank] = record
        return True

    def _fits(self, record: Record) -> bool:
        return (
            record.type is RecordType.QUEUE
            and record.key == self.request.key
            and record.position > self.request.after
            and not record.expired(self.today)
            and record.check_signature()
            and stamp.is_plausible(self.params, record, self.params.stranger_bits)
        )

    def candidates(self) -> list[Record]:
        """The different entries that homes offered, first by position first."""
        distinct = {record.position + record.pack(): record for record in self.found.values()}
        return [distinct[order] for order in sorted(distinct)]

    def is_valid(self, record: Record) -> bool:
        """Whether a candidate's work is done: an Argon2id, if it claims any."""
        return stamp.check(self.network_hash, self.params, record, self.params.stranger_bits)

    def answer_with(self, first: Record | None) -> Answer:
        """The answer, `first` being the first candidate that `is_valid`."""
        if first is None:
            status = Status.NOT_FOUND if self.found or Status.NOT_FOUND in self.said else Status.TRY_LATER
            if Status.BAD_SIGNATURE in self.said and status is Status.TRY_LATER:
                status = Status.BAD_SIGNATURE
            return Answer(status, 0, 0, EMPTY_FIELD)
        for rank, record in self.found.items():
            if record.entry_id == first.entry_id:
                self._ack(rank)
        return Answer(Status.OK, self._count(), self.acks, first.pack())


@dataclass
class DeleteWalk(Walk):
    """QUEUE_DELETE, at all homes: a home that has no such entry (any more) did what was asked."""

    def judge(self, rank: int, reply: HomeReply) -> bool:
        self.said.append(reply.status)
        if reply.status in (Status.OK, Status.NOT_FOUND):
            self._ack(rank)
        return True

    def answer(self) -> Answer:
        return Answer(summary(self.said), self._count(), self.acks, EMPTY_FIELD)
