"""Stamps for the boxes that will be written next, solved while the agent has nothing else to compute.

A writer knows the keys of his boxes to come, and neither text nor day of a BOX is in its stamp
(docs/protocol/boxes.md, "Stamps").  One stamp is kept ready for each conversation that is polled often; one
search at a time, begun in a slot.  They are kept in memory only.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixmail.boxes import stamp
from mixmail.boxes.record import RecordType
from mixmail.effects import Effect
from mixmail.params import day_of

from .context import Context
from .model import Session


@dataclass(frozen=True, slots=True)
class _Next:
    """The box that a session writes next, and the work it needs by the view of `changed`."""

    index: int
    key: bytes
    changed: int
    bits: int


class StampStock:
    """Fills `Context.ready_stamps`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._searching = False
        self._next: dict[str, _Next] = {}

    def refill(self, now: float) -> list[Effect]:
        """Begin to search for one stamp that is missing, unless something else is computed."""
        self._next = {session.id: self._next_box(session, now) for session in self._lately(now)}
        boxes = {box.key: box for box in self._next.values() if box.bits}
        ready = self._context.ready_stamps
        for key in list(ready):
            if key not in boxes or not self._will_do(ready[key], boxes[key], now):
                del ready[key]
        missing = [box for key, box in boxes.items() if key not in ready]
        if not missing or self._searching or len(self._context.jobs):
            return []
        return self._search(missing[0], now)

    def _lately(self, now: float) -> list[Session]:
        """The sessions in which an own mail is likely next: as many, and as fresh, as are polled often."""
        params, state = self._context.params, self._context.state
        own = [
            session
            for session in state.sessions.values()
            if session.write_cap is not None
            and session.last_traffic > now - params.hot_age
            and state.in_use(session.identity)
        ]
        return sorted(own, key=lambda session: -session.last_traffic)[: params.hot_max]

    def _next_box(self, session: Session, now: float) -> _Next:
        cap, known = session.write_cap, self._next.get(session.id)
        assert cap is not None  # `_lately`
        changed = self._context.view.changed
        if known is not None and known.index == cap.index and known.changed == changed:
            return known
        key = known.key if known is not None and known.index == cap.index else cap.read_cap().box_id()
        return _Next(cap.index, key, changed, self._context.bits_wanted(key, RecordType.BOX, now))

    def _will_do(self, ready: bytes, box: _Next, now: float) -> bool:
        found = stamp.Stamp.parse(ready)
        return found.bits >= box.bits and stamp.day_fits(found.day, RecordType.BOX, day_of(now))

    def _search(self, box: _Next, now: float) -> list[Effect]:
        self._searching = True
        day = stamp.stamp_day(RecordType.BOX, day_of(now))

        def found(result: bytes, _: float) -> list[Effect]:
            self._searching = False
            self._context.ready_stamps[box.key] = result
            return []

        klass = self._context.params.mail_class
        return self._context.search_stamp(box.key, RecordType.BOX, klass, b"", box.bits, day, found)
