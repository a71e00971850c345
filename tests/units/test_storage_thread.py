"""The thread that owns a database."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_storage_node_db import TODAY, box, on_disk

from mixmail.boxes.status import Status
from mixmail.storage.errors import DiskFull
from mixmail.storage.node_db import NodeDatabase
from mixmail.storage.thread import BATCH_JOBS, UPKEEP_AFTER, UPKEEP_REST, StoreThread
from mixmail.testing import full_disk

LIMIT = 10.0  # seconds after which a test is red


@pytest.fixture
def thread() -> Iterator[StoreThread]:
    made = StoreThread()
    yield made
    made.close()


class Gate:
    """A job that holds the thread until the test has handed in what shall wait behind it."""

    def __init__(self, thread: StoreThread) -> None:
        self.held, self.go = threading.Event(), threading.Event()
        self.future = thread.submit(self._wait)
        assert self.held.wait(LIMIT)

    def _wait(self) -> None:
        self.held.set()
        assert self.go.wait(LIMIT)


def test_one_thread_in_order(thread: StoreThread) -> None:
    done: list[int] = []
    threads = set()

    def job(number: int) -> int:
        threads.add(threading.get_ident())
        done.append(number)
        return number * 2

    futures = [thread.submit(lambda number=number: job(number)) for number in range(20)]  # type: ignore[misc]
    assert [future.result(LIMIT) for future in futures] == [number * 2 for number in range(20)]
    assert done == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_error_is_the_result_of_its_job_alone(thread: StoreThread) -> None:
    def bad() -> None:
        raise KeyError("x")

    failing = thread.submit(bad)
    assert thread.run(lambda: 5) == 5
    assert isinstance(failing.exception(LIMIT), KeyError)


def test_closing_finishes_what_was_handed_in() -> None:
    thread = StoreThread()
    gate = Gate(thread)
    waiting = [thread.submit(lambda: 1) for _ in range(3)]
    gate.go.set()
    thread.close()
    thread.close()
    assert [future.result(0) for future in waiting] == [1, 1, 1]
    with pytest.raises(RuntimeError):
        thread.submit(lambda: 1)


def test_a_cancelled_job_does_not_run(thread: StoreThread) -> None:
    done = []
    gate = Gate(thread)
    waiting = thread.submit(lambda: done.append(1))
    assert waiting.cancel()
    gate.go.set()
    assert thread.run(lambda: 7) == 7
    assert done == []


def test_waiting_jobs_are_committed_together(thread: StoreThread) -> None:
    batches: list[str] = []

    @contextlib.contextmanager
    def batch() -> Iterator[None]:
        batches.append("begin")
        yield
        assert not any(future.done() for future in futures[-3:])  # no answer before the commit
        batches.append("commit")

    thread.use_batches(batch)
    gate = Gate(thread)
    futures = [thread.submit(lambda: batches.append("job")) for _ in range(BATCH_JOBS + 3)]
    gate.go.set()
    for future in futures:
        future.result(LIMIT)
    first = ["begin", *["job"] * BATCH_JOBS, "commit"]
    assert batches[: len(first)] == first
    assert batches.count("job") == BATCH_JOBS + 3


@pytest.fixture
def database(thread: StoreThread, tmp_path: Path) -> Iterator[NodeDatabase]:
    made = thread.submit(lambda: NodeDatabase(tmp_path / "node.db")).result(LIMIT)
    thread.use_batches(made.batch)
    yield made
    thread.submit(made.close).result(LIMIT)


def test_a_batch_of_a_database(thread: StoreThread, database: NodeDatabase) -> None:
    gate = Gate(thread)
    futures = [thread.submit(lambda n=number: database.put(box(n), TODAY)) for number in range(5)]  # type: ignore[misc]
    futures.append(thread.submit(lambda: database.put(box(2), TODAY)))
    gate.go.set()
    assert [future.result(LIMIT) for future in futures] == [Status.STORED] * 5 + [Status.OK]
    assert on_disk(database)["records"] == 5


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(
    thread: StoreThread, database: NodeDatabase
) -> None:
    thread.run(lambda: database.put(box(100), TODAY))
    full = full_disk(database.connection, 8)
    thread.run(full.__enter__)
    gate = Gate(thread)
    writes = [thread.submit(lambda n=number: database.put(box(n), TODAY)) for number in range(4)]  # type: ignore[misc]
    read = thread.submit(lambda: database.get(box(100).key))
    gate.go.set()
    assert read.result(LIMIT) == box(100)
    outcomes = [future.exception(LIMIT) for future in writes]
    stored = outcomes.count(None)
    assert 1 <= stored <= 2
    assert all(isinstance(error, DiskFull) for error in outcomes[stored:])
    assert on_disk(database)["records"] == 1 + stored
    thread.run(lambda: full.__exit__(None, None, None))
    assert thread.run(lambda: database.put(box(3), TODAY)) is Status.STORED


def test_closing_behind_waiting_jobs(thread: StoreThread, tmp_path: Path) -> None:
    database = thread.run(lambda: NodeDatabase(tmp_path / "node.db"))
    thread.use_batches(database.batch)
    gate = Gate(thread)
    write = thread.submit(lambda: database.put(box(1), TODAY))
    close = thread.submit(database.close)
    gate.go.set()
    assert write.result(LIMIT) is Status.STORED
    close.result(LIMIT)
    assert on_disk(database)["records"] == 1


def test_the_connection_belongs_to_its_thread(database: NodeDatabase) -> None:
    with pytest.raises(Exception, match="thread"):
        database.count()


# upkeep


def test_upkeep_waits_until_nothing_else_does(thread: StoreThread) -> None:
    done: list[str] = []
    gate = Gate(thread)
    upkeep = [thread.submit(lambda n=n: done.append(f"upkeep {n}"), upkeep=True) for n in range(2)]  # type: ignore[misc]
    for number in range(5):
        thread.submit(lambda n=number: done.append(f"job {n}"))  # type: ignore[misc]
    gate.go.set()
    for future in upkeep:
        future.result(LIMIT)
    assert done == [*(f"job {n}" for n in range(5)), "upkeep 0", "upkeep 1"]


def test_a_job_of_upkeep_is_in_nobodys_batch(thread: StoreThread) -> None:
    done: list[str] = []

    @contextlib.contextmanager
    def batch() -> Iterator[None]:
        done.append("begin")
        yield
        done.append("commit")

    thread.use_batches(batch)
    gate = Gate(thread)
    last = thread.submit(lambda: done.append("upkeep"), upkeep=True)
    for _ in range(3):
        thread.submit(lambda: done.append("job"))
    gate.go.set()
    last.result(LIMIT)
    assert done == ["begin", "job", "job", "job", "commit", "upkeep"]


def test_upkeep_is_put_off_only_so_often(thread: StoreThread) -> None:
    done: list[int] = []
    gate = Gate(thread)
    upkeep = thread.submit(lambda: len(done), upkeep=True)
    jobs = [thread.submit(lambda: done.append(1)) for _ in range(2 * UPKEEP_AFTER)]
    gate.go.set()
    assert upkeep.result(LIMIT) == UPKEEP_AFTER - 1  # the gate was one
    assert jobs[-1].result(LIMIT) is None


def test_between_two_jobs_of_upkeep_there_is_a_rest() -> None:
    now = 100.0
    looked = threading.Event()

    def clock() -> float:
        looked.set()
        return now

    def slow() -> None:
        nonlocal now
        now += 2.0

    with contextlib.closing(StoreThread(clock=clock)) as thread:
        thread.submit(slow, upkeep=True).result(LIMIT)
        now = 102.0 + UPKEEP_REST * 2.0 - 0.01
        again = []
        for _ in range(UPKEEP_AFTER - 1):
            looked.clear()
            again.append(thread.submit(lambda: None, upkeep=True))
            assert looked.wait(LIMIT)  # it was woken and has thought about it
            thread.run(lambda: None)  # others are served meanwhile
        assert not any(future.done() for future in again)
        now += 0.02
        thread.run(lambda: None)
        for future in again:
            future.result(LIMIT)


def test_closing_finishes_the_upkeep_too() -> None:
    now = 100.0
    thread = StoreThread(clock=lambda: now)

    def slow() -> None:
        nonlocal now
        now += 1_000.0

    thread.submit(slow, upkeep=True).result(LIMIT)
    waiting = [thread.submit(lambda: 1, upkeep=True) for _ in range(3)]
    thread.close()
    assert [future.result(0) for future in waiting] == [1, 1, 1]
