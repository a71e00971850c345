"""What fills a slot that has no real work: reads of own cover streams, re-published records.

A cover stream is a random stream of which only the reader half exists; its next index comes up
after Exp(`params.cover_step`), so that it is asked again and again like that of a quiet contact.
A cover write re-publishes a record that is held, or the day's cover box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mixmail.boxes.capability import STREAM_SEED_BYTES, ReadCap, WriteCap, seal
from mixmail.boxes.query import SPREAD, Answer, QueryOp
from mixmail.boxes.record import Record, key_field
from mixmail.effects import Effect
from mixmail.params import DAY, GEOMETRY, day_of

from .context import Context
from .model import OutgoingPart
from .queries import Task


@dataclass(slots=True)
class _CoverStream:
    """`keys`: where its present and its next index stand; a multiplication each, so kept."""

    cap: ReadCap
    until: float
    keys: dict[int, bytes] = field(default_factory=dict)
    missed: bool = False

    def advance(self) -> None:
        self.keys.pop(self.cap.index, None)
        self.cap = self.cap.advance()

    def key(self, next_index: bool) -> bytes:
        cap = self.cap.advance() if next_index else self.cap
        if cap.index not in self.keys:
            self.keys[cap.index] = cap.box_id()
        return self.keys[cap.index]


class Cover:
    """Cover tasks of one agent."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._streams: list[_CoverStream] = []
        self._box: Record | None = None
        self._box_day = -1

    def read(self, now: float) -> Task:
        """A READ of one of the cover streams."""
        rng, params = self._context.rng, self._context.params
        while len(self._streams) < params.cover_streams:
            cap = WriteCap.create(rng.bytes(STREAM_SEED_BYTES)).read_cap()
            self._streams.append(_CoverStream(cap, now + rng.exponential(params.cover_step)))
        stream = rng.choice(self._streams)
        if now >= stream.until:
            stream.advance()
            stream.until = now + rng.exponential(params.cover_step)
        key = stream.key(next_index=rng.uniform() < params.next_index_poll)
        # The same rule as for real streams, or the flag would tell the two apart.
        flags = SPREAD if stream.missed else 0

        def ended(answer: Answer | None, _: float) -> list[Effect]:
            stream.missed = stream.missed or answer is not None
            return []

        return Task(QueryOp.READ, flags, lambda _: key_field(key), ended, real=False)

    def write(self, now: float) -> Task:
        """A WRITE of a record that is held: an own one that nobody answered yet, or the cover box.

        First come those that were written only once: with SPREAD, since all six homes of the first write may
        be hostile, or gone soon.

        While the first cover box has no stamp yet this is a read: a box without one would be known
        as cover to its homes.
        """
        oldest = now - self._context.params.mail_class * DAY  # older ones have expired at their homes
        held = [
            part
            for part in self._context.state.parts.values()
            if part.state == "stored" and part.created > oldest
        ]
        if due := [part for part in held if part.again <= now]:
            return self._write_again(self._context.rng.choice(due))
        if held:
            part = self._context.rng.choice(held)
            return Task(QueryOp(part.op), 0, lambda _: part.record, _nothing, real=False)
        if self._box is None:
            return self.read(now)
        raw = self._box.pack()
        return Task(QueryOp.WRITE, 0, lambda _: raw, _nothing, real=False)

    def _write_again(self, part: OutgoingPart) -> Task:
        """The second write of a part, until homes have acknowledged one."""
        part.again = math.inf

        def ended(answer: Answer | None, later: float) -> list[Effect]:
            if answer is None or not answer.status.acknowledges:
                part.again = later
            return []

        return Task(QueryOp(part.op), SPREAD, lambda _: part.record, ended, real=False)

    def refresh(self, now: float) -> list[Effect]:
        """Make the cover box of the day, once a day."""
        today = day_of(now)
        if self._box_day == today:
            return []
        self._box_day = today
        rng, params = self._context.rng, self._context.params
        text = rng.bytes(GEOMETRY.box_text)
        box = seal(WriteCap.create(rng.bytes(STREAM_SEED_BYTES)), text, params.mail_class, today, rng)

        def stamped(record: Record, _: float) -> list[Effect]:
            self._box = record
            return []

        return self._context.with_stamp(box, stamped, now)


def _nothing(answer: Answer | None, now: float) -> list[Effect]:
    """Nobody waits for the answer to a cover query."""
    return []
