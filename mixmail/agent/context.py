"""What every part of an agent shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from mixmail.boxes import asking, stamp
from mixmail.boxes.placement import ranking
from mixmail.boxes.query import Answer
from mixmail.boxes.record import Record, RecordType
from mixmail.boxes.status import Status
from mixmail.directory.view import View
from mixmail.effects import Effect
from mixmail.errors import LocalProtocolError
from mixmail.jobs import Jobs
from mixmail.params import NODE_LIMITS, Network, NetworkParameters
from mixmail.randomness import Randomness

from .model import AgentState

Stamped = Callable[[Record, float], list[Effect]]
Found = Callable[[bytes, float], list[Effect]]


@dataclass(frozen=True, slots=True)
class Context:
    """The network, the view, the random source, the state and the outstanding jobs of one agent.

    `ready_stamps`: by box id, those of boxes of `mail_class` that were solved beforehand (`StampStock`).
    """

    network: Network
    own_id: bytes
    view: View
    rng: Randomness
    state: AgentState
    jobs: Jobs
    ready_stamps: dict[bytes, bytes] = field(default_factory=dict)

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

    def bits_wanted(self, key: bytes, type: RecordType, now: float) -> int:
        """The work to do for a record at `key`, by what its homes ask for in today's view."""
        homes = ranking(key, self.view.storage_ids(now), self.params.replicas)
        known = [self.view.get(home) for home in homes]
        return asking.wanted(self.params, type, [one.stamp_bits for one in known if one is not None])

    def more_bits(self, record: Record, answer: Answer, now: float) -> int | None:
        """The work to do before `record` is written again, None if what it has will do.

        A refusal for too little work makes it a bit more, whatever the view says; never above the network's
        limit, so that whoever lies in an answer costs a few seconds once.
        """
        refused = answer.status in (Status.BAD_STAMP, Status.FULL)
        if self.acks(answer) >= self.quorum(now) or not (refused or answer.status.acknowledges):
            return None  # stored, or refused for another reason
        least = max(self.bits_wanted(record.key, record.type, now), record.bits + 1 if refused else 0)
        bits = min(least, asking.ceiling(self.params, record.type))
        return bits if bits > record.bits else None

    def with_stamp(self, record: Record, then: Stamped, now: float, least: int = 0) -> list[Effect]:
        """Give `record` the proof of work that homes ask for, `least` bits at least, then call
        `then(record, now)`."""
        params = self.params
        bits = max(least, self.bits_wanted(record.key, record.type, now))
        if bits == 0:
            return then(record, now)
        ready = self.ready_stamps.pop(record.key, None)
        if ready is not None and (record.type, record.klass) == (RecordType.BOX, params.mail_class):
            stamped = record.with_stamp(ready)
            if stamp.is_plausible(params, stamped, bits):
                return then(stamped, now)
        return self.search_stamp(
            record.key,
            record.type,
            record.klass,
            stamp.body_of(record),
            bits,
            stamp.stamp_day(record.type, record.day),
            lambda found, later: then(record.with_stamp(found), later),
        )

    def search_stamp(
        self, key: bytes, type: RecordType, klass: int, body: bytes, bits: int, day: int, then: Found
    ) -> list[Effect]:
        """Search for a stamp (see `stamp.solve_for`) from a random nonce on, a chunk in each job, then call
        `then(stamp, now)`."""
        start = int.from_bytes(self.rng.bytes(8), "big")
        attempts = NODE_LIMITS.stamp_chunk
        solve = partial(stamp.solve_for, self.network.hash, self.params, key, type, klass, body, bits, day)

        def search(start: int) -> list[Effect]:
            def done(result: bytes | BaseException | None, later: float) -> list[Effect]:
                if isinstance(result, BaseException):
                    raise LocalProtocolError("a stamp could not be computed") from result
                return search(start + attempts) if result is None else then(result, later)

            return self.jobs.start("cpu", partial(solve, start % stamp.NONCES, attempts), done)

        return search(start)
