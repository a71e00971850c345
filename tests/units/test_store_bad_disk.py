"""A home whose disk is full or fails: it refuses writes, serves reads, loses nothing, and goes on afterwards.

The replica over node.db in its thread, with questions waiting together, as in the daemon.
"""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from node_world import NOON, PARAMS, TODAY

from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import QueryOp, QueueRequest, hour_of
from mixmail.boxes.record import FIRST, Record, RecordType, key_field, queue_entry, sign_record
from mixmail.boxes.status import Status
from mixmail.effects import Effect, Emit, Frame, Offload, Send
from mixmail.jobs import Jobs
from mixmail.node.events import StoreFailed
from mixmail.node.replica import Replica
from mixmail.node.stats import Stats
from mixmail.node.wire import HomeQuery, HomeReply, Kind
from mixmail.params import DAY, GEOMETRY, Network
from mixmail.storage.node_db import NodeDatabase
from mixmail.storage.thread import StoreThread
from mixmail.testing import SeededRandomness, full_disk, small_files

PEER = bytes([5]) * 32
FULL = "is full: nothing was lost, free some space and it goes on."
BROKEN = "cannot be read or written"
PARTS = 16
OWNER = OwnerKey.from_seed(bytes(32), "test.own")
RNG = SeededRandomness("bad disk")


def a_box(number: int, day: int = TODAY) -> Record:
    owner = OwnerKey.from_seed(number.to_bytes(32, "big"), "test.own")
    text = SeededRandomness(f"text {number}").bytes(GEOMETRY.box_ct)
    return sign_record(owner, RecordType.BOX, 7, day, 0, text, RNG)


def an_entry(number: int) -> Record:
    text = SeededRandomness(f"entry {number}").bytes(GEOMETRY.box_ct)
    return queue_entry(OWNER.public, 7, TODAY, text)


class Home:
    """`now` may be moved on; `told` has the reasons of failures of the store."""

    def __init__(self, path: Path) -> None:
        network = Network(bytes(32), TODAY - 100, dataclasses.replace(PARAMS, stranger_bits=0))
        self.thread = StoreThread()
        self.database = self.thread.run(lambda: NodeDatabase(path))
        self.thread.use_batches(self.database.batch)
        self.jobs = Jobs(1_000)
        self.replica = Replica(network, self.database, self.jobs, Stats())
        self.now = NOON
        self.told: list[str] = []

    def close(self) -> None:
        self.thread.run(self.database.close)
        self.thread.close()

    def run(self, effects: list[Effect]) -> list[HomeReply]:
        """Carry out; jobs are handed in before the result of the first is awaited."""
        replies = []
        while effects:
            waiting = []
            for effect in effects:
                match effect:
                    case Offload():
                        waiting.append((effect.token, self.thread.submit(effect.job)))
                    case Send():
                        replies.append(HomeReply.parse(effect.frame.payload))
                    case Emit(StoreFailed(reason)):
                        self.told.append(reason)
            effects = []
            for token, future in waiting:
                effects += self.jobs.done(token, future.exception() or future.result(), self.now)
        return replies

    def ask(self, op: QueryOp, fields: Sequence[bytes]) -> list[HomeReply]:
        """Ask all at once."""
        effects: list[Effect] = []
        for field in fields:
            frame = Frame(Kind.HOME_QUERY, 7, HomeQuery(op, field).pack())
            effects += self.replica.handle_query(PEER, frame, self.now)
        return self.run(effects)

    def write(self, records: Sequence[Record]) -> list[Status]:
        return [reply.status for reply in self.ask(QueryOp.WRITE, [one.pack() for one in records])]

    def add(self, entries: Sequence[Record]) -> list[Status]:
        return [reply.status for reply in self.ask(QueryOp.QUEUE_ADD, [one.pack() for one in entries])]

    def read(self, records: Sequence[Record]) -> list[Record | None]:
        replies = self.ask(QueryOp.READ, [key_field(one.key) for one in records])
        return [Record.parse(one.field) if one.status is Status.OK else None for one in replies]

    def owner(self, op: QueryOp, after: bytes) -> HomeReply:
        """What the owner of the queue asks."""
        request = QueueRequest.create(OWNER, op, after, hour_of(self.now), bytes(32), RNG)
        (reply,) = self.ask(op, [request.to_field()])
        return reply

    def whole(self) -> bool:
        verdict = self.thread.run(
            lambda: self.database.connection.execute("PRAGMA integrity_check").fetchall()
        )
        return bool(verdict == [("ok",)])

    @contextlib.contextmanager
    def full(self, spare_pages: int = 0) -> Iterator[None]:
        """A full disk, put up and taken down in the thread of the database."""
        disk = full_disk(self.database.connection, spare_pages)
        self.thread.run(disk.__enter__)
        try:
            yield
        finally:
            self.thread.run(lambda: disk.__exit__(None, None, None))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "node.db")
    yield made
    made.close()


def check_refusals(home: Home, full: Callable[[], Any], sentence: str) -> None:
    """Before, while and after a disk that refuses; `full` is the context in which it does."""
    old, entries, new = (
        [a_box(n) for n in range(10)],
        [an_entry(n) for n in range(3)],
        [a_box(n) for n in range(10, 60)],
    )
    assert home.write(old) == [Status.STORED] * 10
    assert home.add(entries) == [Status.STORED] * 3
    first, *_ = sorted(entries, key=lambda one: one.position)
    with full():
        statuses = home.write(new)
        assert set(statuses) <= {Status.STORED, Status.TRY_LATER}
        refused = [one for one, status in zip(new, statuses, strict=True) if status is Status.TRY_LATER]
        stored = [one for one in new if one not in refused]
        assert len(refused) >= 10
        assert len(home.told) == len(refused) and all(sentence in reason for reason in home.told)
        assert home.add([an_entry(9)]) == [Status.TRY_LATER]
        # it serves, and what it has said still holds
        assert home.read([*old, *stored]) == [*old, *stored]
        assert home.read(refused) == [None] * len(refused)
        assert Record.parse(home.owner(QueryOp.QUEUE_READ, FIRST).field) == first
        assert home.write(old) == [Status.OK] * 10  # what is here needs no room
    assert home.write(new) == [Status.OK if one in stored else Status.STORED for one in new]
    assert home.read([*old, *new]) == [*old, *new]
    assert home.add([an_entry(9), *entries]) == [Status.STORED, Status.OK, Status.OK, Status.OK]
    assert home.owner(QueryOp.QUEUE_DELETE, first.entry_id).status is Status.OK
    assert home.whole()


def test_a_full_disk_refuses_writes_serves_reads_and_recovers(home: Home) -> None:
    check_refusals(home, lambda: home.full(60), FULL)


def test_a_disk_that_fails_in_the_middle_of_a_write_does_the_same(home: Home) -> None:
    wal = home.database.path.with_name("node.db-wal")
    check_refusals(home, lambda: small_files(wal.stat().st_size + 200_000), BROKEN)


def test_expiry_makes_room_on_a_full_disk(home: Home) -> None:
    old, new = [a_box(n) for n in range(10)], [a_box(n, TODAY + 8) for n in range(10, 20)]
    home.write(old)
    home.now += 8 * DAY
    with home.full():
        assert home.write(new) == [Status.TRY_LATER] * 10
        home.run(home.replica.expire(home.now))
        assert home.write(new) == [Status.STORED] * 10
    assert home.read([*old, *new]) == [*[None] * 10, *new]


@pytest.mark.parametrize("part", range(PARTS + 1))
def test_wherever_a_write_breaks_off_nothing_is_lost_and_it_goes_on(home: Home, part: int) -> None:
    """Three boxes are 60 KB in one commit, 110 KB in three: the disk fails after each 8 KB of them."""
    old, new = [a_box(n) for n in range(3)], [a_box(n) for n in range(3, 6)]
    home.write(old)
    largest = max(one.stat().st_size for one in home.database.path.parent.iterdir())
    with small_files(largest + 8_000 * part + 1):
        statuses = home.write(new)
    assert set(statuses) <= {Status.STORED, Status.TRY_LATER}
    assert (Status.TRY_LATER in statuses) == bool(home.told)
    assert statuses.count(Status.TRY_LATER) == {0: 3, PARTS: 0}.get(part, statuses.count(Status.TRY_LATER))
    stored = [one for one, status in zip(new, statuses, strict=True) if status is Status.STORED]
    assert home.read(old) == old and home.read(stored) == stored
    assert home.write(new) == [Status.OK if one in stored else Status.STORED for one in new]
    path = home.database.path
    home.close()
    again = Home(path)
    assert again.read([*old, *new]) == [*old, *new] and again.whole()
    home.thread, home.database = again.thread, again.database


def test_a_real_disk_that_is_full(tmp_path: Path) -> None:
    """A small disk of the system's, filled up by something else."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nobody but root can mount a small disk")
    try:
        with contextlib.closing(Home(place / "node.db")) as home:
            ballast = place / "ballast"

            @contextlib.contextmanager
            def full() -> Iterator[None]:
                with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                    while file.write(bytes(4_096)):
                        pass
                yield
                ballast.unlink()

            check_refusals(home, full, FULL)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
