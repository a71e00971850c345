"""What every part of an agent shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mixmail.boxes import asking, stamp
from mixmail.boxes.placement import ranking
from mixmail.boxes.query import Answer
from mixmail.boxes.record import Record
from mixmail.boxes.status import Status
from mixmail.directory.view import View
from mixmail.effects import Effect
from mixmail.errors import LocalProtocolError
from mixmail.jobs import Jobs
from mixmail.params import NODE_LIMITS, Network, NetworkParameters
from mixmail.randomness import Randomness

from .model import AgentState

Stamped = Callable[[Record, float], list[Effect]]


@dataclass(frozen=True, slots=True)
class Context:
    """The network, the view, the random source, the state and the outstanding jobs of one agent."""

    network: Network
    own_id: bytes
    view: View
    rng: Randomness
    state: AgentState
    jobs: Jobs

    @property
    def params(self) -> NetworkParameters:
        """The network's parameters."""
        return self.network.parameters

    def others(self, now: float) -> int:
        """V: the other eligible nodes."""
        return len(self.view.others(self.own_id, now))

    def quorum(self, now: float) -> int:
        """Acks that make a write "stored" in today's view."""
        return self.params.quorum_of(len(self.view.eligible(now)))

    def acks(self, answer: Answer) -> int:
        """How many homes hold what was written, by an answer that does not contradict itself."""
        consistent = answer.n == answer.acks.bit_count() and answer.acks < 1 << self.params.write_tries
        return answer.n if consistent and answer.status.acknowledges else 0

    def replicas(self, now: float) -> int:
        """R: how many homes a record has in today's view."""
        return min(self.params.replicas, len(self.view.eligible(now)))

    def bits_wanted(self, record: Record, now: float) -> int:
        """The work to do for `record`, by what its homes ask for in today's view."""
        homes = ranking(record.key, self.view.storage_ids(now), self.params.replicas)
        known = [self.view.get(home) for home in homes]
        return asking.wanted(self.params, record.type, [one.stamp_bits for one in known if one is not None])

    def more_bits(self, record: Record, answer: Answer, now: float) -> int | None:
        """The work to do before `record` is written again, None if what it has will do.

        A refusal for too little work makes it a bit more, whatever the view says; never above the network's
        limit, so that whoever lies in an answer costs a few seconds once.
        """
        refused = answer.status in (Status.BAD_STAMP, Status.FULL)
        if self.acks(answer) >= self.quorum(now) or not (refused or answer.status.acknowledges):
            return None  # stored, or refused for another reason
        least = max(self.bits_wanted(record, now), record.bits + 1 if refused else 0)
        bits = min(least, asking.ceiling(self.params, record.type))
        return bits if bits > record.bits else None

    def with_stamp(self, record: Record, then: Stamped, now: float, least: int = 0) -> list[Effect]:
        """Give `record` the proof of work that homes ask for, `least` bits at least, then call
        `then(record, now)`."""
        bits = max(least, self.bits_wanted(record, now))
        if bits == 0:
            return then(record, now)
        return self._search(record, bits, int.from_bytes(self.rng.bytes(8), "big"), then, now)

    def _search(self, record: Record, bits: int, start: int, then: Stamped, now: float) -> list[Effect]:
        job = partial(
            stamp.solve,
            self.network.hash,
            self.params,
            record,
            bits,
            stamp.stamp_day(record.type, record.day),
            start,
            NODE_LIMITS.stamp_chunk,
        )

        def found(result: Record | BaseException | None, later: float) -> list[Effect]:
            if isinstance(result, BaseException):
                raise LocalProtocolError("a stamp could not be computed") from result
            if result is None:
                return self._search(record, bits, start + NODE_LIMITS.stamp_chunk, then, later)
            return then(result, later)

        return self.jobs.start("cpu", job, found)
