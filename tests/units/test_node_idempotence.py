"""Repeated, reordered, done at the same time or left half done at a home: the state is the same."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from node_world import NOON, PARAMS, TODAY

from mixmail.boxes import stamp
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import QueryOp, QueueRequest, hour_of
from mixmail.boxes.record import FIRST, Record, RecordType, key_field, queue_entry, sign_record
from mixmail.boxes.status import Status
from mixmail.boxes.store import START, RecordStore
from mixmail.effects import Effect, Frame, Offload, Send
from mixmail.jobs import Jobs
from mixmail.node.replica import Replica
from mixmail.node.stats import Stats
from mixmail.node.wire import HomeQuery, HomeReply, Kind
from mixmail.params import GEOMETRY, Network
from mixmail.storage.node_db import NodeDatabase
from mixmail.testing import MemoryStore, SeededRandomness

SAME_EVERYWHERE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
STRICT = dataclasses.replace(PARAMS, box_bits=2, stranger_bits=2)
NETWORK = Network(bytes(32), TODAY, STRICT)
RNG = SeededRandomness("idempotence")
OWNERS = [OwnerKey.from_seed(RNG.bytes(32), "test.own") for _ in range(3)]
PEER = bytes([5]) * 32

Ask = tuple[str, QueryOp, bytes]
"""Its name, its operation and its field."""


def stamped(record: Record) -> bytes:
    day = stamp.stamp_day(record.type, TODAY)
    solved = stamp.solve(NETWORK.hash, STRICT, record, 2, day, 0, 10_000)
    assert solved is not None
    return solved.pack()


def signed(number: int, kind: RecordType, seq: int = 0, text: int = 0) -> bytes:
    c = bytes(GEOMETRY.box_ct) if kind is RecordType.TOMBSTONE else bytes([1 + text]) * GEOMETRY.box_ct
    return stamped(sign_record(OWNERS[number], kind, 30, TODAY, seq, c, RNG))


def entry(text: int) -> Record:
    return Record.parse(stamped(queue_entry(OWNERS[2].public, 30, TODAY, bytes([text]) * GEOMETRY.box_ct)))


def request(op: QueryOp, after: bytes) -> bytes:
    return QueueRequest.create(OWNERS[2], op, after, hour_of(NOON), bytes(32), RNG).to_field()


ENTRIES = [entry(text) for text in range(4)]
ADDS: list[Ask] = [(f"add {n}", QueryOp.QUEUE_ADD, one.pack()) for n, one in enumerate(ENTRIES)]
DELETES: list[Ask] = [
    (f"delete {n}", QueryOp.QUEUE_DELETE, request(QueryOp.QUEUE_DELETE, one.entry_id))
    for n, one in enumerate(ENTRIES)
]
READS: list[Ask] = [
    *((f"read {n}", QueryOp.READ, key_field(owner.public)) for n, owner in enumerate(OWNERS)),
    ("list", QueryOp.QUEUE_READ, request(QueryOp.QUEUE_READ, FIRST)),
    ("list on", QueryOp.QUEUE_READ, request(QueryOp.QUEUE_READ, ENTRIES[1].position)),
]
WRITES: list[Ask] = [
    ("box", QueryOp.WRITE, signed(0, RecordType.BOX)),
    ("tombstone", QueryOp.WRITE, signed(0, RecordType.TOMBSTONE)),
    *((f"seq {seq}", QueryOp.WRITE, signed(1, RecordType.MUTABLE, seq, seq)) for seq in (1, 2, 3)),
]
RIVALS: list[Ask] = [
    ("another box", QueryOp.WRITE, signed(0, RecordType.BOX, text=1)),
    ("another seq 2", QueryOp.WRITE, signed(1, RecordType.MUTABLE, 2, 9)),
    ("a box at a profile", QueryOp.WRITE, signed(1, RecordType.BOX)),
]
ALL = [*ADDS, *DELETES, *READS, *WRITES, *RIVALS]


class Home:
    """A replica that may end at any moment: what is in its store is all that is left then."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.store: Any = None
        self.begin()

    def begin(self) -> None:
        """After the end of the one before, as after `kill -9`."""
        if self._path is not None:
            self.close()
            self.store = NodeDatabase(self._path)
        elif self.store is None:
            self.store = MemoryStore()
        self.jobs = Jobs(1_000)
        self.replica = Replica(NETWORK, self.store, self.jobs, Stats())
        self.pending: list[tuple[int, Offload]] = []
        self.answers: dict[int, HomeReply] = {}

    def close(self) -> None:
        if isinstance(self.store, NodeDatabase):
            self.store.close()

    def start(self, number: int, ask: Ask) -> None:
        frame = Frame(Kind.HOME_QUERY, number, HomeQuery(*ask[1:]).pack())
        self._take(number, self.replica.handle_query(PEER, frame, NOON))

    def step(self, place: int) -> None:
        """One job that waits, and what follows from it."""
        number, effect = self.pending.pop(place % len(self.pending))
        self._take(number, self.jobs.done(effect.token, effect.job(), NOON))

    def _take(self, number: int, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Offload):
                self.pending.append((number, effect))
            else:
                assert isinstance(effect, Send)
                self.answers[effect.frame.stream] = HomeReply.parse(effect.frame.payload)

    def ask(self, ask: Ask) -> HomeReply:
        """One after the other, to its end."""
        self.start(1, ask)
        while self.pending:
            self.step(0)
        return self.answers.pop(1)

    def half(self, ask: Ask, jobs: int) -> None:
        """So many of its jobs are done, and then the node ends: nobody hears an answer."""
        self.start(1, ask)
        for _ in range(jobs):
            if self.pending:
                self.step(0)
        self.begin()

    def everything(self) -> tuple[dict[str, int], list[bytes]]:
        store: RecordStore = self.store
        return store.count(), [record.pack() for record in store.scan(START, 1_000)]


def homes(folder: Path | None, count: int) -> list[Home]:
    """Empty ones; with a folder, on disk."""
    if folder is None:
        return [Home(None) for _ in range(count)]
    for old in folder.iterdir():
        old.unlink()
    return [Home(folder / f"{number}.db") for number in range(count)]


each_store = pytest.mark.parametrize(
    ("on_disk", "examples"), [(False, 200), (True, 15)], ids=["memory", "sqlite"]
)
AGAIN = {Status.STORED: Status.OK}
"""What a repeated operation hears in the place of the first answer; all others hear the same again."""
HEARD: Counter[tuple[QueryOp, Status]] = Counter()


@each_store
def test_done_twice_or_half_and_once_more_is_done_once(on_disk: bool, examples: int, tmp_path: Path) -> None:
    HEARD.clear()

    @settings(SAME_EVERYWHERE, max_examples=examples)
    @given(st.lists(st.sampled_from(ALL), max_size=12), st.sampled_from(ALL), st.integers(0, 4))
    def same(history: list[Ask], last: Ask, jobs: int) -> None:
        once, twice, half = three = homes(tmp_path if on_disk else None, 3)
        for home in three:
            for ask in history:
                home.ask(ask)
        first = once.ask(last)
        HEARD[last[1], first.status] += 1
        expected = dataclasses.replace(first, status=AGAIN.get(first.status, first.status))
        assert twice.ask(last) == first
        assert twice.ask(last) == expected
        half.half(last, jobs)
        assert half.ask(last) in (first, expected)
        assert once.everything() == twice.everything() == half.everything()
        for home in three:
            home.close()

    same()
    met = {status for _, status in HEARD}
    assert on_disk or met >= {Status.OK, Status.STORED, Status.NOT_FOUND, Status.EXISTS}
    assert on_disk or {op for op, _ in HEARD} == set(QueryOp)


@each_store
def test_a_repetition_that_comes_late_changes_nothing(on_disk: bool, examples: int, tmp_path: Path) -> None:
    """What came before comes again after whatever else; who deletes an entry has read it."""

    @settings(SAME_EVERYWHERE, max_examples=examples)
    @given(st.lists(st.sampled_from(ALL), min_size=2, max_size=12), st.lists(st.integers(0, 99), max_size=8))
    def same(history: list[Ask], late: list[int]) -> None:
        history = deletes_after_adds(history)
        plain, repeated = two = homes(tmp_path if on_disk else None, 2)
        for place, ask in enumerate(history):
            for home in two:
                home.ask(ask)
            for number in late:
                if number % len(history) == place:
                    repeated.ask(history[number % (place + 1)])
            assert plain.everything() == repeated.everything()
        for home in two:
            home.close()

    same()


def deletes_after_adds(asks: list[Ask]) -> list[Ask]:
    """The same, but that an entry is added before it is deleted."""
    kept: list[Ask] = []
    for ask in asks:
        if ask in DELETES and (add := ADDS[DELETES.index(ask)]) not in kept:
            kept.append(add)
        kept.append(ask)
    return kept


@each_store
def test_in_any_order_with_repetitions_at_once_and_with_ends_in_between(
    on_disk: bool, examples: int, tmp_path: Path
) -> None:
    """The operations of writers who write each record once; what was under way at an end is asked anew."""
    ends: Counter[str] = Counter()

    @settings(SAME_EVERYWHERE, max_examples=examples)
    @given(
        st.lists(st.sampled_from([*ADDS, *WRITES, *READS, *DELETES]), min_size=3, max_size=14),
        st.lists(st.integers(0, 99), max_size=40),
    )
    def same(wanted: list[Ask], script: list[int]) -> None:
        plain, other = homes(tmp_path if on_disk else None, 2)
        for ask in sorted(set(deletes_after_adds(wanted)), key=lambda ask: (ask in DELETES, ask[0])):
            plain.ask(ask)

        left = deletes_after_adds(wanted)
        open_asks: dict[int, Ask] = {}
        serial = 0
        for move in [*script, *[0, 3] * 200]:
            for number in [number for number in open_asks if number in other.answers]:
                del open_asks[number]
            ready = left and (left[0] not in DELETES or not is_open(open_asks, left[0]))
            if move % 5 == 4 and other.pending:  # the node ends, perhaps after a job and before its answer
                if move >= 50:
                    other.pending[move % len(other.pending)][1].job()
                left = [*open_asks.values(), *left]
                open_asks.clear()
                other.begin()
                ends["after a job" if move >= 50 else "before it"] += 1
            elif (move % 3 == 0 or not other.pending) and ready:
                serial += 1
                open_asks[serial] = left.pop(0)
                other.start(serial, open_asks[serial])
            elif other.pending:
                other.step(move)
        assert not left and not other.pending
        assert plain.everything() == other.everything()
        plain.close()
        other.close()

    same()
    assert on_disk or min(ends["after a job"], ends["before it"]) >= 10


def is_open(open_asks: dict[int, Ask], delete: Ask) -> bool:
    """Whether the entry is only just being added: its owner cannot have read it."""
    return ADDS[DELETES.index(delete)] in open_asks.values()
