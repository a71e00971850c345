"""The thread that owns a database: jobs one after the other, in the order in which they were handed in.

Free of Twisted: results are `concurrent.futures`.  With `batch`, the jobs that wait are committed together,
and no result is given before the commit: so a result is a durable result, at the price of one sync for many.

Jobs of upkeep (expiry, sweeps) run one by one while nothing else waits, outside of batches: another job waits
for one of them at most.  They rest in between, and are put off only so often.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")

BATCH_JOBS = 64  # of one commit: bounds how long the first of them waits
UPKEEP_REST = 3.0  # times as long as it took, a job of upkeep is followed by none: it meets one read in four
UPKEEP_AFTER = 32  # commits of others one behind the other; then a job of upkeep comes in between

Batch = Callable[[], AbstractContextManager[None]]
_Job = tuple[Callable[[], Any], "Future[Any]"]


class _Wake:
    """There is upkeep to do."""


_WAKE = _Wake()


class StoreThread:
    """One worker thread.

    Jobs must touch nothing but the database: when a batch cannot be committed, each of its jobs is run again
    by itself, so that one that does not fit on the disk does not take the others along."""

    def __init__(self, name: str = "store", clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job | _Wake | None] = queue.SimpleQueue()
        self._upkeep: deque[_Job] = deque()
        self._rest_until = 0.0
        self._lock = threading.Lock()
        self._closed = False
        self._batch: Batch | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T], upkeep: bool = False) -> Future[T]:
        """Run `job` in the thread, `upkeep`: when nothing else waits; RuntimeError after `close`."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the thread of this database has ended")
            if upkeep:
                self._upkeep.append((job, future))
                self._jobs.put(_WAKE)
            else:
                self._jobs.put((job, future))
        return future

    def run(self, job: Callable[[], T]) -> T:
        """`submit` and wait: for starting and stopping."""
        return self.submit(job).result()

    def use_batches(self, batch: Batch) -> None:
        """From now on commit waiting jobs together, within `batch()` (`NodeDatabase.batch`)."""
        self._batch = batch

    def close(self) -> None:
        """Finish what was handed in and end the thread; waits for it."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        others = 0  # batches since the last upkeep
        while True:
            jobs, last = self._take()
            jobs = [(job, future) for job, future in jobs if future.set_running_or_notify_cancel()]
            if self._batch is None or len(jobs) < 2 or not self._together(self._batch, jobs):
                for job, future in jobs:
                    _settle(future, *_attempt(job))
            others += bool(jobs)
            if self._upkeep and (others >= UPKEEP_AFTER or (not jobs and self._clock() >= self._rest_until)):
                self._keep_up()
                others = 0
            if last:
                while self._upkeep:
                    self._keep_up()
                return

    def _keep_up(self) -> None:
        begun = self._clock()
        job, future = self._upkeep.popleft()
        if future.set_running_or_notify_cancel():
            outcome = _attempt(job)
            now = self._clock()
            self._rest_until = now + UPKEEP_REST * (now - begun)
            _settle(future, *outcome)

    def _take(self) -> tuple[list[_Job], bool]:
        """The jobs that wait, at most a batch of them; True if the thread shall end after them.

        None if it is time for upkeep, or if there is news of it.
        """
        patience = max(0.0, self._rest_until - self._clock()) if self._upkeep else None
        jobs: list[_Job] = []
        try:
            item = self._jobs.get(timeout=patience)
            while item is not None:
                if not isinstance(item, _Wake):
                    jobs.append(item)
                    if self._batch is None or len(jobs) >= BATCH_JOBS:
                        return jobs, False
                item = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, False
        return jobs, True

    def _together(self, batch: Batch, jobs: list[_Job]) -> bool:
        """Run all in one transaction; False if it was not committed (then nothing was settled)."""
        outcomes = []
        try:
            with batch():
                outcomes = [_attempt(job) for job, _ in jobs]
        except Exception:  # whatever it is, it comes up again, and at the job that causes it
            return False
        for (_, future), outcome in zip(jobs, outcomes, strict=True):
            _settle(future, *outcome)
        return True


def _attempt(job: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return job(), None
    except BaseException as error:
        return None, error


def _settle(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
