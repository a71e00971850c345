"""`scripts/bench store`: a home's store alone, then as the daemon runs it (store_home.py).

    bench_store.py BOXES READS ROUNDS       prints the figures

- Writing: the records of a round go through the storage thread, which commits those that wait together, at
  most `BATCH_JOBS`; then Python's own SQLite (WAL, synchronous FULL) writes the same rows, ready packed, in
  batches of that size.
- Accepting: writes of stamped, signed boxes by a proxy; the budget for stamps is lifted.
- Reading: at READS_PER_S, as proxies ask, first alone, then while what expired goes, while repair sweeps
  without a pause among PEERS nodes, an OFFER of OFFERED unknown records comes each second, and WRITES_PER_S
  boxes are written.  A time counts from the moment at which the question was due to the answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_node import quantile
from store_home import OTHER_HOME, StoreHome

from mixmail.boxes import stamp
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import ZERO_STAMP, Record, RecordType, key_field, sign_record
from mixmail.boxes.status import Status
from mixmail.boxes.store import Place
from mixmail.effects import Effect
from mixmail.errors import UserError
from mixmail.node.repair import Repair
from mixmail.node.wire import pack_items
from mixmail.params import DAY, GEOMETRY, MAIL, NODE_LIMITS, Network
from mixmail.randomness import SystemRandomness
from mixmail.storage.node_db import SCRIPTS, NodeDatabase
from mixmail.storage.thread import BATCH_JOBS, StoreThread

TODAY = 20_000
KLASS = 30
WRITTEN = 20 * BATCH_JOBS  # records of a round
ACCEPTED = 32  # at most; for so many the work is done first, 66 ms each
READS_PER_S = 400.0
PART = 2_000  # boxes that are filled in by one job
WRITES_PER_S = 20.0
EXPIRED = 1 / 2  # of the boxes there are so many more, so that expiry lasts as long as the reads
PEERS = 1_000
OFFERED = NODE_LIMITS.offer_items
SEED = 1


def say(text: str) -> None:
    """Progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def key_of(number: int, what: str = "box") -> bytes:
    """32 bytes, scattered as the keys of boxes are."""
    return random.Random(f"{what} {number}").randbytes(32)


def boxes(start: int, count: int, day: int) -> Iterator[Record]:
    """Boxes as they are once they have been checked; their signatures are none."""
    for number in range(start, start + count):
        text = random.Random(number).randbytes(GEOMETRY.box_ct)
        yield Record(key_of(number), bytes(64), RecordType.BOX, KLASS, day, 0, ZERO_STAMP, text)


def fill(database: NodeDatabase, start: int, count: int, day: int) -> None:
    """Write boxes from number `start` on."""
    for begin in range(start, start + count, 500):
        database.put_many(boxes(begin, min(500, start + count - begin), day), day)


# writing


def through_the_thread(thread: StoreThread, database: NodeDatabase, records: list[Record]) -> float:
    """Seconds until the last is durable."""
    begun = time.perf_counter()
    futures = [thread.submit(lambda one=record: database.put(one, TODAY)) for record in records]  # type: ignore[misc]
    statuses = {future.result() for future in futures}
    seconds = time.perf_counter() - begun
    if statuses != {Status.STORED}:
        raise UserError(f"The store answered {statuses}: this is a defect.", "bench")
    return seconds


def by_sqlite(connection: sqlite3.Connection, records: list[Record]) -> float:
    """The same rows by nothing but SQLite."""
    rows = [
        (record.key, record.klass, record.expiry_day, record.bits, record.day, record.pack())
        for record in records
    ]
    sql = "INSERT OR REPLACE INTO records (key, class, expiry, bits, day, record) VALUES (?, ?, ?, ?, ?, ?)"
    begun = time.perf_counter()
    for at in range(0, len(rows), BATCH_JOBS):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(sql, rows[at : at + BATCH_JOBS])
        connection.execute("COMMIT")
    return time.perf_counter() - begun


def writing(folder: Path, rounds: int) -> dict[str, float]:
    """Both in turn, and reads of what was written."""
    connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    for script in SCRIPTS:
        connection.executescript(script)
    thread = StoreThread()
    database = thread.run(lambda: NodeDatabase(folder / "engine.db"))
    thread.use_batches(database.batch)
    ours, theirs = [], []
    for number in range(rounds):
        records = list(boxes(number * WRITTEN, WRITTEN, TODAY))
        ours.append(through_the_thread(thread, database, records))
        theirs.append(by_sqlite(connection, records))
    keys = [key_of(random.Random(SEED).randrange(rounds * WRITTEN)) for _ in range(WRITTEN)]
    begun = time.perf_counter()
    for future in [thread.submit(lambda one=key: database.get(one)) for key in keys]:  # type: ignore[misc]
        future.result()
    reads = WRITTEN / (time.perf_counter() - begun)
    thread.run(database.close)
    thread.close()
    connection.close()
    return {
        "write_over_sqlite": statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
        "writes_per_s": WRITTEN / statistics.median(ours),
        "reads_per_s": reads,
    }


# as the daemon runs it


class Nodes:
    """What repair asks of a view: a network of so many nodes."""

    def __init__(self, count: int) -> None:
        ids = [key_of(number, "node") for number in range(count)]
        self._ids = tuple((key_of(number, "storage"), one, b"") for number, one in enumerate(ids))
        self.own_id = ids[0]

    def storage_ids(self, now: float) -> tuple[tuple[bytes, bytes, bytes], ...]:
        """As `View.storage_ids`."""
        return self._ids

    def part_of(self, peer: bytes) -> bytes:
        """As `View.part_of`: everybody is known."""
        return peer

    def says_it_left(self, node_id: bytes) -> bool:
        """As `View.says_it_left`: nobody does."""
        return False

    def get(self, node_id: bytes) -> None:
        """As `View.get`: no descriptors, so nobody claims work."""
        return None


def stamped(network: Network, count: int) -> list[Record]:
    """Signed boxes with the work that the network asks for."""
    rng = SystemRandomness()
    made = []
    for number in range(count):
        owner = OwnerKey.from_seed(key_of(number, "owner"), "bench.own")
        text = rng.bytes(GEOMETRY.box_ct)
        record = sign_record(owner, RecordType.BOX, KLASS, TODAY, 0, text, rng)
        if network.parameters.box_bits:
            day = stamp.stamp_day(record.type, TODAY)
            solved = stamp.solve(
                network.hash, network.parameters, record, network.parameters.box_bits, day, 0, 10_000
            )
            assert solved is not None  # 16 attempts are enough on the average
            record = solved
        made.append(record)
    return made


class Counted:
    """A store that counts what is swept."""

    def __init__(self, store: NodeDatabase) -> None:
        self._store = store
        self.swept = 0

    def scan(self, after: Place, limit: int) -> list[Record]:
        """As `NodeDatabase.scan`."""
        found = self._store.scan(after, limit)
        self.swept += len(found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Reading:
    """A home full of boxes, on the reactor."""

    def __init__(self, reactor: Any, folder: Path, boxes: int, reads: int, failed: Any) -> None:
        self._reactor, self._folder, self._failed = reactor, folder, failed
        self._boxes, self._old, self._reads = boxes, round(boxes * EXPIRED), reads
        self._network = Network(bytes(32), TODAY - 100, MAIL)
        self._begun = time.time()
        # Repair goes on without a pause, and what it would send is not sent; stamps are checked at once.
        self._limits = dataclasses.replace(
            NODE_LIMITS, repair_step_slots=1e-6, repair_queue=10**9, stamp_core_share=1e6
        )
        self._home = StoreHome(reactor, self._network, self._now, failed, self._limits)
        self._rng = random.Random(SEED)

    def _now(self) -> float:
        return (TODAY + 0.25) * DAY + time.time() - self._begun

    def run(self) -> Any:
        """All of it; a Deferred of the figures."""
        from twisted.internet.defer import inlineCallbacks

        @inlineCallbacks
        def all_of_it() -> Any:
            yield self._home.start(self._folder / "node.db")
            accepted = yield from self._accept()
            yield from self._fill()
            alone = yield self._read()
            say(f"alone: {told(alone)}")
            busy, others = yield from self._busy()
            say(f"busy: {told(busy)}")
            yield self._home.stop()
            return {
                "accept_per_s": accepted,
                "read_p50_ms": quantile(busy, 0.5),
                "read_p99_ms": quantile(busy, 0.99),
                "read_p99_alone_ms": quantile(alone, 0.99),
                "read_p99_over_alone": quantile(busy, 0.99) / quantile(alone, 0.99),
                **others,
            }

        return all_of_it()

    def _accept(self) -> Any:
        from twisted.internet.defer import gatherResults

        records = stamped(self._network, max(1, min(ACCEPTED, self._boxes // 50)))
        begun = time.perf_counter()
        replies = yield gatherResults([self._home.ask(QueryOp.WRITE, one.pack()) for one in records])
        if {reply.status for reply in replies} != {Status.STORED}:
            raise UserError("A home refuses what it should take: this is a defect.", "bench")
        return len(records) / (time.perf_counter() - begun)

    def _fill(self) -> Any:
        say(f"{self._boxes} boxes, and {self._old} that have expired")
        database = self._home.database
        for start, count, day in (
            (0, self._boxes, TODAY),
            (self._boxes, self._old, TODAY - KLASS - 1),
        ):
            for at in range(start, start + count, PART):
                job = partial(fill, database, at, min(PART, start + count - at), day)
                yield self._home.workshop.node_store(job)

    def _read(self) -> Any:
        """Ask for `reads` boxes at a steady rate; a Deferred of the milliseconds of each."""
        from twisted.internet.defer import Deferred

        took: list[float] = []
        over: Any = Deferred()
        start = time.perf_counter()

        def ask(number: int) -> None:
            due = start + number / READS_PER_S
            key = key_of(self._rng.randrange(self._boxes))

            def answered(reply: Any) -> None:
                assert reply.status is Status.OK and reply.field[:32] == key
                took.append((time.perf_counter() - due) * 1_000)
                if len(took) == self._reads:
                    over.callback(took)

            self._home.ask(QueryOp.READ, key_field(key)).addCallback(answered).addErrback(self._failed)

        for number in range(self._reads):
            self._reactor.callLater(number / READS_PER_S, ask, number)
        return over

    def _busy(self) -> Any:
        """Reads beside all the other work; the milliseconds, and what that work came to."""
        from twisted.internet.task import LoopingCall

        home, nodes, store = self._home, Nodes(PEERS), Counted(self._home.database)
        repair = Repair(
            self._network,
            nodes.own_id,
            nodes,  # type: ignore[arg-type]
            store,
            home.replica.take_in,
            home.jobs,
            SystemRandomness(),
            home.stats,
            self._limits,
        )
        unknown = pack_items([(key_of(number), bytes(8)) for number in range(OFFERED)])
        bare = Network(bytes(32), 0, dataclasses.replace(MAIL, box_bits=0))
        writes = iter(stamped(bare, round(self._reads / READS_PER_S * WRITES_PER_S)))
        repair.start(self._now() - MAIL.slot * self._limits.repair_sweep_slots)  # so that a sweep begins now

        def write() -> None:
            for record in itertools.islice(writes, 1):
                home.run(home.replica.take_in(record.with_stamp(ZERO_STAMP), OTHER_HOME, ignore, self._now()))

        work = [
            (lambda: home.run(repair.handle_timeout(self._now())), 0.005),
            (lambda: home.run(repair.handle_offer(OTHER_HOME, unknown, self._now())), 1.0),
            (write, 1 / WRITES_PER_S),
        ]
        loops = [LoopingCall(one) for one, _ in work]
        begun = time.perf_counter()
        home.run(home.replica.expire(self._now()))
        for loop, (_, interval) in zip(loops, work, strict=True):
            loop.start(interval).addErrback(self._failed)
        busy = yield self._read()
        seconds = time.perf_counter() - begun
        for loop in loops:
            loop.stop()
        left = yield home.workshop.node_store(lambda: self._expired())
        if not left:
            say("expiry was over before the reads were: take more boxes or fewer reads")
        return busy, {
            "expired_per_s": (self._old - left) / seconds,
            "swept_per_s": store.swept / seconds,
        }

    def _expired(self) -> int:
        sql = "SELECT count(*) FROM records WHERE expiry < ?"
        return int(self._home.database.connection.execute(sql, (TODAY,)).fetchone()[0])


def ignore(status: Status, other: Record | None) -> list[Effect]:
    """An answer that nobody waits for."""
    return []


def told(milliseconds: list[float]) -> str:
    """For people."""
    return f"p50 {quantile(milliseconds, 0.5):.2f} ms, p99 {quantile(milliseconds, 0.99):.2f} ms"


def measure(boxes: int, reads: int, rounds: int, folder: Path) -> dict[str, float]:
    """All figures, in `folder`; once in a process, for its reactor."""
    from twisted.internet import reactor as found

    figures = writing(folder, rounds)
    say(f"write_over_sqlite {figures['write_over_sqlite']:.2f}")
    reactor: Any = found
    failures: list[Any] = []

    def failed(failure: Any) -> None:
        failures.append(failure)
        if reactor.running:
            reactor.stop()

    def begin() -> None:
        running = Reading(reactor, folder, boxes, reads, failed).run()
        running.addCallback(figures.update).addErrback(failed)
        running.addBoth(lambda _: reactor.stop() if reactor.running and not failures else None)

    reactor.callWhenRunning(begin)
    reactor.run()
    if failures:
        failures[0].raiseException()
    return figures


@contextlib.contextmanager
def sentence() -> Iterator[None]:
    """What the user can do something about is told without a traceback."""
    try:
        yield
    except UserError as error:
        say(error.message)
        sys.exit(1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mixmail-bench-") as place, sentence():
        print(json.dumps(measure(*map(int, sys.argv[1:4]), Path(place))))
