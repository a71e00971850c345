"""The fast path: what the shipping repair does to very many boxes, in arrays of sets (`bits`).

Each box knows, day by day, the 64 nodes that are nearest to its key among those that stand in a view on
this day or stood in it one sweep before.  Time goes in steps of a part of the sweep's interval; each node
sweeps in one of those parts.  Within a step who dies hands over or does not, then boxes are written (at their
exact times), then nodes sweep.  What the shipping code does with a view, a store and messages stands here as
operations on sets: see `mixmail.node.repair` and `mixmail.node.walks`.  The exact path checks that.

Left out, since it makes no difference of note: links that are slow or lose frames, queues that are full,
stamps, the minutes that gossip takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mixmail.lab.churn.bits import SLOTS, Sets, count, first, lowest, one_of, pack, unpack
from mixmail.lab.churn.setting import Flags, Floats, Ints, Kind, Population, Setting
from mixmail.params import DAY, MAIL, NODE_LIMITS

NEAR = 48.0  # nodes in view that a box knows of in the mean: of these 24 or so are needed
CHUNK = 8_000  # boxes that are looked at together: their sets stay in the processor's cache
STEP_H = 0.5  # the longest step, in hours
MOMENT = 1e-4  # days: views change at midnight, and what comes of that belongs to the next step
ROUNDS = NODE_LIMITS.proxy_rounds  # times that a write asks further homes for those that were silent
SECOND = (MAIL.follow_wait_slots + MAIL.slot_shares / MAIL.write_share) * MAIL.slot / DAY
"""Mean days until a writer publishes a record for the second time."""
FORWARD = NODE_LIMITS.repair_forward_slots * MAIL.slot / DAY  # mean days before a new record is handed on

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What became of the boxes.  `lost_at`: the day on which the last copy went, inf for none."""

    lost_at: Floats
    written: Flags
    readable: Flags  # at the end, by asking all homes
    least: Ints  # the fewest copies at honest nodes that were up, ever
    copies: Ints  # at the end
    unreadable_days: float = 0.0  # of all boxes together, in which no home had it that a reader would ask
    records_sent: int = 0  # by repair
    shifts: Floats = field(default_factory=lambda: np.zeros(0))
    """In each step: offers of one record to one node that was there before and has become a home of it."""

    @property
    def lost(self) -> Flags:
        """Which boxes are lost: no copy is left, or none where a reader asks for it at the end."""
        return np.isfinite(self.lost_at) | (self.written & ~self.readable)


def simulate(
    setting: Setting,
    population: Population,
    written_at: Floats,
    rng: np.random.Generator,
    order: Callable[[int, int], NDArray[np.uint64]] | None = None,
    say: Say = lambda text: None,
) -> Outcome:
    """Write each box at `written_at` (days) and follow it to the end of the last day.

    `order(begin, end)` gives the scores of all nodes for these boxes, a row each (small networks); else they
    are drawn, which is the same law.
    """
    parts = []
    for begin in range(0, len(written_at), CHUNK):
        end = min(begin + CHUNK, len(written_at))
        near = draw_near(population, end - begin, rng) if order is None else nearest(order(begin, end))
        parts.append(_Chunk(setting, population, near, written_at[begin:end], rng).run())
        say(f"{100 * end // len(written_at)} % of {len(written_at)} boxes")
    outcome = Outcome(
        np.concatenate([one.lost_at for one in parts]),
        np.concatenate([one.written for one in parts]),
        np.concatenate([one.readable for one in parts]),
        np.concatenate([one.least for one in parts]),
        np.concatenate([one.copies for one in parts]),
    )
    outcome.unreadable_days = sum(one.unreadable_days for one in parts)
    outcome.records_sent = sum(one.records_sent for one in parts)
    outcome.shifts = np.sum([one.shifts for one in parts], axis=0)
    return outcome


def nearest(scores: NDArray[np.uint64]) -> Ints:
    """All nodes, nearest first, for each box."""
    return np.argsort(scores, axis=1)


def draw_near(population: Population, boxes: int, rng: np.random.Generator) -> Ints:
    """For each box a random part of all nodes, so many that `NEAR` are in view, the nearest first.

    Scores are uniform and independent, so which nodes have the lowest ones, and in which order, is just that.
    Shorter rows are filled with the number of nodes.
    """
    total = len(population)
    share = min(1.0, NEAR / population.viewed)
    if share == 1.0:
        return np.argsort(rng.random((boxes, total)), axis=1)
    width = int(total * share + 8 * np.sqrt(total * share)) + 8
    gaps = np.floor(np.log(rng.random((boxes, width))) / np.log1p(-share)).astype(np.int64) + 1
    found = np.cumsum(gaps, axis=1) - 1
    found = np.where(found < total, found, total)
    shuffled = np.argsort(rng.random(found.shape, dtype=np.float32), axis=1)
    return np.take_along_axis(found, shuffled, axis=1)


@dataclass
class _Slots:
    """Who stands in the 64 slots of each box on one day, nearest first."""

    rows: Ints
    columns: Ints
    slots: Ints
    birth: NDArray[np.float32]
    death: NDArray[np.float32]
    gone: NDArray[np.float32]
    keeps: Sets  # those that take in what they are given: honest, or until midnight
    forgets: Sets
    graceful: Sets
    turns: list[Sets]  # by the step in which they sweep

    def view(self, at: float | Floats, rows: slice | Ints = slice(None)) -> Sets:
        """Who is in the views at a time (of each row)."""
        return pack((self.birth[rows] <= at) & (self.gone[rows] > at))

    def up(self, at: float | Floats, rows: slice | Ints = slice(None)) -> Sets:
        """Who lives at a time (of each row)."""
        return pack((self.birth[rows] <= at) & (self.death[rows] > at))


@dataclass
class _Chunk:
    """Some boxes, followed through all days."""

    setting: Setting
    people: Population
    near: Ints
    written_at: Floats
    rng: np.random.Generator
    held: Flags = field(init=False)
    outcome: Outcome = field(init=False)
    again_at: Floats = field(init=False)  # when a writer writes for the second time
    parts: int = field(init=False)  # steps in one interval of sweeping
    step_days: float = field(init=False)

    def __post_init__(self) -> None:
        boxes = len(self.near)
        hours = self.setting.repair_h if self.setting.repairs else 24.0
        self.parts = max(1, round(np.ceil(hours / STEP_H)))
        self.step_days = hours / self.parts / 24
        self.held = np.zeros(self.near.shape, bool)
        self.outcome = Outcome(
            np.full(boxes, np.inf),
            np.zeros(boxes, bool),
            np.zeros(boxes, bool),
            np.full(boxes, SLOTS),
            np.zeros(boxes, np.int64),
        )
        self.outcome.shifts = np.zeros(self.setting.days * round(1 / self.step_days))
        self.again_at = np.full(boxes, np.inf)
        self._told = np.zeros((SLOTS + 1, SLOTS + 1))

    def run(self) -> Outcome:
        """Follow the boxes to the end."""
        self._odds()
        for day in range(self.setting.days):
            slots = self._slots(day)
            hold = self._load(slots)
            hold = self._day(day, slots, hold)
            self.held[slots.rows, slots.columns] = unpack(hold)[slots.rows, slots.slots]
        return self.outcome

    def _odds(self) -> None:
        """Chances that a home is offered a copy: by so many who may choose it, by so many who see it new."""
        chosen = min(1.0, self.setting.peers / max(self.people.viewed - 1, 1.0))
        seen, told = np.meshgrid(np.arange(SLOTS + 1), np.arange(SLOTS + 1), indexing="ij")
        self._told = 1 - (1 - chosen) ** seen * (1 - self.setting.share) ** told

    def _slots(self, day: int) -> _Slots:
        people, near = self.people, self.near
        before = day - self.parts * self.step_days - self.step_days
        births, gones = np.append(people.birth, np.inf), np.append(people.gone, -np.inf)
        matters = (births < day + 1) & (gones > before)
        place = np.cumsum(matters[near], axis=1, dtype=np.int16)
        rows, columns = np.nonzero(matters[near] & (place <= SLOTS))
        slots = place[rows, columns].astype(np.int64) - 1
        who = np.full((len(near), SLOTS), len(people))
        who[rows, slots] = near[rows, columns]
        deaths, kinds = np.append(people.death, -np.inf), np.append(people.kind, Kind.DROP)
        turn = np.append((people.phase * self.parts).astype(np.int64), -1)
        forgets = pack((kinds == Kind.FORGET)[who])
        return _Slots(
            rows,
            columns,
            slots,
            births.astype(np.float32)[who],
            deaths.astype(np.float32)[who],
            gones.astype(np.float32)[who],
            pack((kinds == Kind.HONEST)[who]) | forgets,
            forgets,
            pack(np.append(people.graceful, False)[who]),
            [pack((turn == number)[who]) for number in range(self.parts)],
        )

    def _load(self, slots: _Slots) -> Sets:
        bits = np.zeros((len(self.near), SLOTS), bool)
        bits[slots.rows, slots.slots] = self.held[slots.rows, slots.columns]
        return pack(bits)

    def _day(self, day: int, slots: _Slots, hold: Sets) -> Sets:
        setting, outcome = self.setting, self.outcome
        steps = round(1 / self.step_days)
        homes = [np.zeros(0, np.uint64)] * self.parts  # of each turn, as its last sweep saw them
        seen = list(homes)  # and the whole view
        view = slots.view(day - MOMENT)
        top, inside = lowest(view, setting.replication), lowest(view, setting.tries)
        for back in range(self.parts):
            turn = (day * steps - back) % self.parts
            seen[turn] = slots.view(day - back * self.step_days - MOMENT)
            homes[turn] = lowest(seen[turn], setting.replication)
        for step in range(1, steps + 1):
            end = day + step * self.step_days
            up = slots.up(end)
            hold = self._deaths(slots, hold, view, up)
            before, view = view, slots.view(end - MOMENT)
            moved = np.flatnonzero(view != before)
            top, inside = top.copy(), inside.copy()
            top[moved] = lowest(view[moved], setting.replication)
            inside[moved] = lowest(view[moved], setting.tries)
            hold = self._writes(slots, hold, end)
            turn = (day * steps + step) % self.parts
            if setting.repairs:
                now = day * steps + step - 1
                news = top & ~self._before(slots, homes[turn], seen[turn], view)
                sweepers = hold & slots.turns[turn]
                outcome.shifts[now] = (count(sweepers & inside & seen[turn]) * count(news & seen[turn])).sum()
                hold = self._sweep(slots, hold, sweepers, seen[turn], news, top, inside, up)
            homes[turn], seen[turn] = top, view
            if step == steps:
                hold &= ~slots.forgets
            self._note(hold, top, end)
        outcome.readable = (hold & lowest(slots.view(day + 1), setting.replication)) != 0
        outcome.copies = count(hold)
        return hold

    def _before(self, slots: _Slots, homes: Sets, seen: Sets, view: Sets) -> Sets:
        """The homes in a view of before, without those who said since then that they leave."""
        if not self.setting.announced:
            return homes
        left = seen & ~view & slots.graceful
        rows = np.flatnonzero(left)
        homes = homes.copy()
        homes[rows] = lowest((seen & ~left)[rows], self.setting.replication)
        return homes

    def _deaths(self, slots: _Slots, hold: Sets, view: Sets, up: Sets) -> Sets:
        """Who leaves with a word hands over to the home in its place; then the copies of all the dead go."""
        setting = self.setting
        leavers = hold & ~up & slots.graceful
        if setting.repairs and leavers.any():
            rows = np.flatnonzero(leavers)
            leavers = leavers[rows] & lowest(view[rows], setting.replication)
            number = count(leavers) if setting.announced else (leavers != 0).astype(np.int64)
            heirs = lowest(view[rows], setting.replication + number) & ~lowest(
                view[rows], setting.replication
            )
            self.outcome.records_sent += int(count(leavers).sum())
            hold[rows] |= heirs & up[rows] & slots.keeps[rows]
        return hold & up

    def _writes(self, slots: _Slots, hold: Sets, end: float) -> Sets:
        """Boxes that are due, those that had too few acknowledgements, and those written once more."""
        begin, setting, outcome = end - self.step_days, self.setting, self.outcome
        rows = np.flatnonzero(~outcome.written & (self.written_at <= end))
        if len(rows):
            late = begin + self.rng.random(len(rows)) * self.step_days
            at = np.where(self.written_at[rows] > begin, self.written_at[rows], late)
            order = np.broadcast_to(np.arange(SLOTS), (len(rows), SLOTS))
            number = self._write(slots, hold, rows, at, end, order, setting.tries)
            rows, at = rows[number >= setting.quorum], at[number >= setting.quorum]
            outcome.written[rows] = True
            if setting.spread:
                wait = self.rng.exponential(SECOND, len(rows))
                stays = self.rng.random(len(rows)) < np.exp(-setting.leave * wait)
                self.again_at[rows] = np.where(stays, at + wait, np.inf)
        rows = np.flatnonzero(self.again_at <= end)
        if len(rows):
            at, self.again_at[rows] = self.again_at[rows].copy(), np.inf
            top = unpack(lowest(slots.view(at[:, None], rows), setting.replication))
            order = np.argsort(self.rng.random(top.shape) + ~top, axis=1)
            self._write(slots, hold, rows, at, end, order, setting.replication)
        return hold

    def _write(
        self, slots: _Slots, hold: Sets, rows: Ints, at: Floats, end: float, order: Ints, tries: int
    ) -> Ints:
        """Write the boxes `rows` at their times along `order`; how many homes acknowledged each."""
        setting, when = self.setting, at[:, None]
        view, up = slots.view(when, rows), slots.up(when, rows)
        homes = lowest(view, tries)
        acked, number = self._walk(unpack(homes), unpack(up), order)
        taken = acked & slots.keeps[rows]
        got = taken
        if setting.forwards and setting.repairs:
            waits = self.rng.exponential(FORWARD, (len(rows), SLOTS))
            fresh = taken & ~hold[rows] & pack(slots.death[rows] > when + waits)
            got = taken | self._forward(fresh, view, up & slots.keeps[rows])
        hold[rows] = (hold[rows] | got) & slots.up(end, rows)
        return number

    def _walk(self, homes: Flags, up: Flags, order: Ints) -> tuple[Sets, Ints]:
        """Who acknowledges a write along those of `order` that are `homes`, as `Asker` asks them."""
        homes, up = np.take_along_axis(homes, order, 1), np.take_along_axis(up, order, 1)
        place, answers = np.cumsum(homes, axis=1), homes & up
        asked = np.zeros(len(homes), np.int64)
        acked = np.zeros_like(homes)
        for _ in range(ROUNDS):
            asked += self.setting.write_acks - acked.sum(axis=1)
            acked = answers & (place <= asked[:, None])
        found = np.zeros_like(acked)
        np.put_along_axis(found, order, acked, axis=1)
        return pack(found), acked.sum(axis=1)

    def _forward(self, fresh: Sets, view: Sets, takers: Sets) -> Sets:
        """`Repair._forward` of all that have the record from its writer; who gets it by that."""
        setting = self.setting
        top = lowest(view, setting.replication)
        shares = np.zeros((setting.write_acks, len(view)), np.uint64)
        rest = top.copy()
        for rank in range(setting.replication):
            nearest_left = first(rest)
            shares[rank % setting.write_acks] |= nearest_left
            rest &= ~nearest_left
        got, sent = np.zeros_like(view), 0
        left = fresh
        while left.any():
            one = first(left)
            left &= ~one
            inside = (one & top) != 0
            turn = ((shares & one) != 0).argmax(axis=0)
            share = np.where(inside, shares[turn, np.arange(len(view))], np.uint64(0)) & ~one
            other = one_of(top & ~share & ~one, self.rng)
            second = np.where(share != 0, np.uint64(0), one_of(top & ~one & ~other, self.rng))
            targets = np.where(one != 0, share | other | second, np.uint64(0))
            sent += int(count(targets).sum())
            got |= targets
        self.outcome.records_sent += sent
        return got & takers

    def _sweep(
        self,
        slots: _Slots,
        hold: Sets,
        sweepers: Sets,
        seen: Sets,
        news: Sets,
        top: Sets,
        inside: Sets,
        up: Sets,
    ) -> Sets:
        """`Repair._look_at` of all whose turn it is."""
        takers = top & up & slots.keeps
        far = sweepers & ~inside
        rows = np.flatnonzero(far)
        if len(rows):
            one = first(far[rows])
            first_hand = one_of(top[rows], self.rng)
            hands = first_hand | one_of(top[rows] & ~first_hand, self.rng)
            self.outcome.records_sent += 2 * len(rows)
            hold[rows] = (hold[rows] | (hands & takers[rows])) & ~one
        near = sweepers & inside
        rows = np.flatnonzero((near != 0) & ((takers & ~hold) != 0))
        if not len(rows):
            return hold
        missing, news = (takers & ~hold)[rows], news[rows]
        choosing = np.bitwise_count(near[rows])
        telling = np.bitwise_count(near[rows] & seen[rows])
        got = np.zeros_like(missing)
        while len(missing):
            one = first(missing)
            odds = self._told[choosing, np.where(one & news, telling, 0)]
            got[: len(one)] = np.where(self.rng.random(len(one)) < odds, one, np.uint64(0))
            hold[rows] |= got[: len(one)]
            self.outcome.records_sent += int(np.count_nonzero(got[: len(one)]))
            missing = missing & ~one
            left = missing != 0
            rows, missing, news = rows[left], missing[left], news[left]
            choosing, telling = choosing[left], telling[left]
        return hold

    def _note(self, hold: Sets, top: Sets, end: float) -> None:
        outcome = self.outcome
        copies = count(hold)
        stored = outcome.written & np.isinf(self.again_at)  # no write is to come that would bring it back
        outcome.least = np.where(stored, np.minimum(outcome.least, copies), outcome.least)
        outcome.lost_at = np.where(stored & (copies == 0) & np.isinf(outcome.lost_at), end, outcome.lost_at)
        outcome.unreadable_days += self.step_days * float(
            np.count_nonzero(stored & np.isinf(outcome.lost_at) & ((hold & top) == 0))
        )
