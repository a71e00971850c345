"""Reading own records back by another way: whether a proxy's "stored" was true.

Rules (docs/protocol/store.md, "Read-backs"):

- One stored write in ten is read back (`read_back_share`), a profile always, since its owner would not notice
  that nobody finds it.  Entries of queues are read by the queue's owner only.
- The read takes a FOLLOW slot after Exp(20 T), goes by another courier and another proxy, and looks like any
  other.
- Not found: asked again by other ways, twice of the nearest homes and twice of any.  If nobody finds it, the
  first proxy is held to have lied, and the record is written anew.  If another proxy finds it at the homes
  where one did not, that one is held to have lied.
- Found another record, which the key's owner has signed and which stays: somebody else writes with this key
  (two share it for the first answer to a stranger).  The write is doubted and nobody is held to have lied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mixmail.boxes.query import SPREAD, Answer, QueryOp
from mixmail.boxes.record import Record, RecordType, key_field
from mixmail.boxes.status import Status
from mixmail.boxes.store import decide
from mixmail.effects import Effect
from mixmail.errors import RemoteProtocolError
from mixmail.params import NODE_LIMITS

from .context import Context
from .queries import Task, Way
from .suspects import Suspects

NEAREST, ANYWHERE = 2, 2
"""So many ways must not find a record: at its two nearest homes, which may both be hostile; then, with
SPREAD, at two of all its homes, of which more than half need not have it."""

Verdict = Callable[[bool, float], list[Effect]]


@dataclass(slots=True)
class _Check:
    """A record that is to be found; `verdict(found, now)` is called at the end."""

    record: Record
    way: Way
    verdict: Verdict
    due: float
    denials: list[Way] = field(default_factory=list)
    lost: int = 0


class ReadBacks:
    """The writes of one agent whose word "stored" is being checked."""

    def __init__(self, context: Context, suspects: Suspects) -> None:
        self._context = context
        self._suspects = suspects
        self._waiting: list[_Check] = []

    def stored(self, raw: bytes, way: Way, verdict: Verdict, now: float, always: bool = False) -> None:
        """A write by `way` is said to be stored: draw whether it is read back."""
        if always or self._context.rng.uniform() < NODE_LIMITS.read_back_share:
            self._later(_Check(Record.parse(raw), way, verdict, now), now)

    def _later(self, check: _Check, now: float) -> None:
        params = self._context.params
        check.due = now + self._context.rng.exponential(params.follow_wait_slots * params.slot)
        self._waiting.append(check)

    def next_read(self, now: float) -> Task | None:
        """The READ of a record that is due."""
        due = [check for check in self._waiting if check.due <= now]
        if not due:
            return None
        check = self._context.rng.choice(due)
        self._waiting.remove(check)
        key = check.record.key
        way: list[Way] = []

        def sent(_: float, by: Way) -> list[Effect]:
            way.append(by)
            return []

        def ended(answer: Answer | None, later: float) -> list[Effect]:
            return self._ended(check, way, answer, later)

        flags = SPREAD if len(check.denials) >= NEAREST else 0
        others = frozenset(node for used in (check.way, *check.denials) for node in used)
        return Task(QueryOp.READ, flags, lambda _: key_field(key), ended, real=True, sent=sent, avoid=others)

    def _ended(self, check: _Check, way: list[Way], answer: Answer | None, now: float) -> list[Effect]:
        said = None if answer is None else _found(answer, check.record)
        if said is None or not way:
            check.lost += 1
            if check.lost < NODE_LIMITS.read_back_tries:
                self._later(check, now)
            return []
        if not said:
            if answer is not None and _replaced(answer, check.record):
                return check.verdict(False, now)
            check.denials.append(way[0])
            if len(check.denials) < NEAREST + ANYWHERE:
                self._later(check, now)
                return []
            self._suspects.checked(check.way[1], lied=True)
            return check.verdict(False, now)
        self._suspects.checked(check.way[1], lied=False)
        if (
            len(check.denials) < NEAREST
        ):  # else other homes were asked than those that the first deniers asked
            for _, proxy in check.denials:
                self._suspects.checked(proxy, lied=True)
        return check.verdict(True, now)


def _replaced(answer: Answer, written: Record) -> bool:
    """Whether the answer proves that another record of the same owner has taken the place of `written`."""
    try:
        record = Record.parse(answer.field)
    except RemoteProtocolError:
        return False
    stays = record.key == written.key and decide(record, written, repair=True) is Status.EXISTS
    return stays and record.type is not RecordType.QUEUE and record.check_signature()


def _found(answer: Answer, written: Record) -> bool | None:
    """Whether the answer holds what was written, or a newer profile; None if it says nothing of that."""
    if answer.status is Status.NOT_FOUND:
        return False
    if answer.status is not Status.OK:
        return None  # busy, or against some rule that the proxy alone knows
    try:
        record = Record.parse(answer.field)
    except RemoteProtocolError:
        return False
    if record.key != written.key:
        return False
    newer = record.type is RecordType.MUTABLE and record.seq > written.seq
    return record.identical(written) or (newer and record.check_signature())
