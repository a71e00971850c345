"""`scripts/soak crash --store`: a home's store under load, killed with -9 again and again.

A process of its own runs the store as the daemon does (store_home.py) under operations of every kind
(store_load.py), a hundred at a time.  It writes a line to a pipe before it begins an operation, and one when
that is answered.  After each kill the store must open, pass SQLite's integrity check and hold exactly what a
store in memory holds after the first k operations, k not less than the last that was answered; and each
answer must be the one of the store in memory.  So nothing acknowledged is lost, nothing deleted comes back,
nothing is torn.  A quarter of the lives are killed while the store still opens.  Another quarter end
themselves with the same signal right before or right after a commit: those moments are too short to be met by
chance, and an answer given before its commit shows then only.  Each life has a day, so that things expire
meanwhile.

A kill ends the process, not the machine: what the kernel took for written stays.  That commits are synced is
tested elsewhere (tests/units/test_storage_driver.py).
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from store_load import QUEUE_LIMIT, Life, Load

from mixmail.boxes.record import Record, RecordType
from mixmail.boxes.status import Status
from mixmail.crypto import hashing
from mixmail.params import DEMO, Network
from mixmail.storage.node_db import NodeDatabase
from mixmail.testing import MemoryStore

FIRST_DAY = 20_000
LIVES_A_DAY = 4
IN_FLIGHT = 100
LONGEST = 0.4  # seconds of load before a kill, at most
EARLY = 0.25  # share of the lives that are killed at any moment of their start
IN_COMMIT = 0.25  # share of the lives that end at a commit
COMMITS = 12  # one of the first so many
LINGER = 0.02  # seconds before that, for answers that should not be given yet
START_UP = 1.0  # seconds after which such a start is over, about
STUCK = 60.0  # seconds after which a store that does not open fails the soak
ROW_SQL = (
    "SELECT 'record', key, x'', expiry, record FROM records UNION ALL"
    " SELECT 'entry', queue, id, expiry, record FROM entries UNION ALL"
    " SELECT 'deleted', queue, id, expiry, x'' FROM deleted"
)

Content = dict[tuple[str, bytes, bytes], tuple[int, bytes]]
"""(table, key, id): (expiry day, hash of the packed record or nothing)."""


class Lost(Exception):
    """What is on disk is not what was acknowledged."""


def say(text: str) -> None:
    """Progress."""
    print(f"soak: {text}", file=sys.stderr, flush=True)


# the process that is killed


def live(order: dict[str, Any]) -> None:
    """Run the store on `order` until somebody kills this process."""
    from store_home import StoreHome
    from twisted.internet import reactor as found

    reactor: Any = found
    start, day = order["lives"][-1]
    load = Load(order["seed"], order["lives"])
    params = dataclasses.replace(DEMO, box_bits=0, stranger_bits=0, queue_limit=QUEUE_LIMIT)
    numbers = iter(range(start, sys.maxsize))
    now = load.now(start)
    commits = [0]

    def tell(text: str) -> None:
        os.write(1, f"{text}\n".encode())  # one call: whole or not at all

    def failed(failure: Any) -> None:
        failure.printTraceback()
        os._exit(3)

    home = StoreHome(reactor, Network(bytes(32), day - 100, params), lambda: now, failed)

    @contextmanager
    def deadly_batch() -> Iterator[None]:
        """A batch of the database that is the last one: each commit comes by here."""
        with home.database.batch():
            yield
            commits[0] += 1
            if order["end"] == ["before", commits[0]]:
                die()
        if order["end"] == ["after", commits[0]]:
            die()

    def die() -> None:
        time.sleep(LINGER)
        os.kill(os.getpid(), signal.SIGKILL)

    def next_one() -> None:
        one = load.operation(next(numbers))
        tell(f"begun {one.number}")
        query = load.query(one)
        answered: Any
        if query is not None:
            answered = home.ask(*query).addCallback(lambda reply: reply.status)
        elif one.kind == "drop":
            answered = home.drop(one.record)
        else:
            answered = home.hand_over(one.record)

        def done(status: Status) -> None:
            tell(f"done {one.number} {status.value}")
            reactor.callLater(0, next_one)

        answered.addCallback(done).addErrback(failed)

    def begin(_: None) -> None:
        home.workshop.node_thread.use_batches(deadly_batch)
        tell("open")
        home.run(home.replica.expire(now))
        for _ in range(IN_FLIGHT):
            next_one()

    reactor.callWhenRunning(lambda: home.start(Path(order["path"])).addCallback(begin).addErrback(failed))
    reactor.run()


# who kills and checks


class Heard:
    """What one life said: whether it opened, the last operation that it began, and the answers."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = -1
        self.answers: dict[int, Status] = {}

    def listen(self, lines: Iterable[bytes]) -> None:
        """Take in all lines of the pipe."""
        for line in lines:
            word, *numbers = line.decode().split()
            if word == "open":
                self.opened.set()
            elif word == "begun":
                self.begun = int(numbers[0])
            else:
                self.answers[int(numbers[0])] = Status.parse(int(numbers[1]))


class Model:
    """What must be on disk: the content of a store in memory, operation by operation."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._store = MemoryStore()
        self._content: Content = {}

    def do(self, number: int) -> Status:
        """Do an operation; what a home would answer."""
        one = self._load.operation(number)
        status = self._load.apply(one, self._store)
        record = one.record
        if record.type is RecordType.QUEUE:
            item, place = (record.key, record.version), (record.key, record.entry_id)
            kept = self._store.find(item)
            gone = kept is None and not self._store.missing([item], self._load.day(number))
            self._set("entry", *place, kept)
            if gone:
                self._content["deleted", *place] = record.expiry_day, b""
        else:
            self._set("record", record.key, b"", self._store.get(record.key))
        return status

    def _set(self, table: str, key: bytes, name: bytes, kept: Record | None) -> None:
        self._content.pop((table, key, name), None)
        if kept is not None:
            self._content[table, key, name] = kept.expiry_day, hashing.blake2b(kept.pack())

    def expire(self, today: int) -> None:
        """Forget what has expired."""
        while self._store.expire(today, 1_000):
            pass
        self._content = {name: value for name, value in self._content.items() if value[0] >= today}

    def differences(self, found: Content) -> int:
        """In how many rows `found` is different."""
        return sum(found.get(name) != self._content.get(name) for name in found.keys() | self._content.keys())


def check(model: Model, start: int, heard: Heard, found: Content) -> int:
    """Let the model do operations from `start` on until it is what was found; how many were not answered yet.

    Lost: an answer was another, or the model is nowhere like that between the last operation that was
    answered and the last that was begun.
    """
    answered = max(heard.answers, default=start - 1)

    def step(number: int) -> None:
        status = model.do(number)
        if heard.answers.get(number, status) is not status:
            raise Lost(f"operation {number} was answered {heard.answers[number].name}, not {status.name}")

    for number in range(start, answered + 1):
        step(number)
    fewest = left = model.differences(found)
    number = answered
    while left and number < heard.begun:
        number += 1
        step(number)
        left = model.differences(found)
        fewest = min(fewest, left)
    if left:
        raise Lost(f"operation {answered} was answered, but {fewest} rows or more are not as they were then")
    return number - answered


def look(path: Path, today: int) -> Content:
    """Open the store as the daemon does, check it, and read all of it that has not expired."""
    with closing(NodeDatabase(path)) as database:
        verdict = [row[0] for row in database.connection.execute("PRAGMA integrity_check")]
        if verdict != ["ok"]:
            raise Lost(f"the integrity check says: {'; '.join(verdict[:3])}")
        found: Content = {}
        for table, key, name, expiry, raw in database.connection.execute(ROW_SQL):
            if raw and not Record.parse(raw).check_signature():
                raise Lost("a record does not bear its owner's signature")
            if expiry >= today:
                found[table, key, name] = expiry, hashing.blake2b(raw) if raw else b""
    return found


class Killing:
    """One store and its lives."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path = folder / "node.db"
        self._seed = seed
        self._rng = random.Random(seed)
        self._lives: list[Life] = []
        self._load = Load(seed, [])
        self._model = Model(self._load)
        self._next = 0  # operation
        self.early = self.in_commit = self.answered = self.kept = self.rows = 0

    def life(self, number: int) -> None:
        """Start it, kill it, and look at what is left; Lost says what is wrong."""
        start, day = self._next, FIRST_DAY + number // LIVES_A_DAY
        self._lives.append((start, day))
        self._load.begin((start, day))
        self._model.expire(day)
        heard = self._run()
        found = look(self.path, day) if self.path.exists() else {}
        self.kept += check(self._model, start, heard, found)
        self._next = max(start, heard.begun + 1)
        self.early += not heard.opened.is_set()
        self.answered += len(heard.answers)
        self.rows = len(found)

    def _run(self) -> Heard:
        kind, end = self._rng.random(), None
        if kind < IN_COMMIT:
            end = [self._rng.choice(("before", "after")), self._rng.randint(1, COMMITS)]
        order = {"path": str(self.path), "seed": self._seed, "lives": self._lives, "end": end}
        process = subprocess.Popen([sys.executable, __file__, json.dumps(order)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        heard = Heard()
        listener = threading.Thread(target=heard.listen, args=(process.stdout,))
        listener.start()
        try:
            if end is not None:
                process.wait(STUCK)
                self.in_commit += 1
            elif kind < IN_COMMIT + EARLY:
                time.sleep(self._rng.uniform(0.0, START_UP))
            else:
                heard.opened.wait(STUCK)
                time.sleep(self._rng.uniform(0.0, LONGEST))
        finally:
            process.kill()
            process.wait()
            listener.join()
            process.stdout.close()
        if process.returncode != -signal.SIGKILL:
            raise Lost("the process of the store has ended by itself: its traceback stands above")
        return heard


def crash(kills: int, seed: int, folder: Path | None = None) -> dict[str, Any]:
    """Kill a store so many times; `failed` says what was lost, and ends it."""
    failed: list[str] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mixmail-soak-", dir=folder) as place:
        store = Killing(Path(place), seed)
        done = 0
        while done < kills and not failed:
            try:
                store.life(done)
            except Exception as error:
                failed.append(f"kill {done + 1}: {type(error).__name__}: {error}")
                say(failed[-1])
            done += 1
            if done % 10 == 0 or done == kills:
                say(f"{done} kills, {store.answered} answers, {store.rows} rows")
    return {
        "soak": "crash --store",
        "n": done,
        "seed": seed,
        "answered": store.answered,
        "on_disk_unanswered": store.kept,
        "killed_while_opening": store.early,
        "killed_at_a_commit": store.in_commit,
        "rows": store.rows,
        "seconds": round(time.monotonic() - begun, 1),
        "failed": failed,
    }


if __name__ == "__main__":
    live(json.loads(sys.argv[1]))
