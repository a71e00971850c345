"""Work that blocks, brought back into the reactor's thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mixmail.daemon.workers import UnwrapWorkers
from mixmail.effects import Offload
from mixmail.node.unwrapping import UnwrapJob
from mixmail.params import NODE_LIMITS
from mixmail.storage.thread import StoreThread


def share_the_interpreter() -> None:
    """Threads of this process take turns every half millisecond instead of every five.

    A thread that reads from a database asks for the interpreter several times: while another one computes,
    such as the ranking of a sweep, a read would take tens of milliseconds.
    """
    sys.setswitchinterval(NODE_LIMITS.thread_turn)


class Workshop:
    """Where the blocking work of one daemon is done: a thread for each database, the reactor's pool for
    what computes, and processes that open packets if there are any.  Every result is a Deferred.
    """

    def __init__(self, reactor: Any, pool: ThreadPool, workers: int) -> None:
        self._reactor = reactor
        self._pool = pool
        self.node_thread = StoreThread("node.db")
        self.profile_thread = StoreThread("profile.db")
        self.workers = UnwrapWorkers(reactor, workers) if workers else None

    def start_workers(self) -> None:
        """Start the processes."""
        if self.workers is not None:
            self.workers.start()

    @property
    def batches_ahead(self) -> int:
        """How many batches of packets may be out to be opened at a time; 0 without processes."""
        return self.workers.batches_ahead if self.workers is not None else 0

    def close(self) -> Deferred[None]:
        """End threads and processes; the databases are closed by then.  Fires when the processes are gone."""
        self.node_thread.close()
        self.profile_thread.close()
        return self.workers.stop() if self.workers is not None else succeed(None)

    def node_store(self, job: Callable[[], Any]) -> Deferred[Any]:
        """Run `job` in the thread of node.db."""
        return self._in_store(self.node_thread, job)

    def profile(self, job: Callable[[], Any]) -> Deferred[Any]:
        """Run `job` in the thread of profile.db."""
        return self._in_store(self.profile_thread, job)

    def pool(self, job: Callable[[], Any]) -> Deferred[Any]:
        """Run `job` in any thread."""
        return deferToThreadPool(self._reactor, self._pool, job)

    def run(self, effect: Offload) -> Deferred[Any]:
        """Do what a core asked for, where it belongs; fires with its result or with the exception."""
        match effect.lane:
            case "store":
                result = self.node_store(effect.job)
            case "upkeep":
                result = self._in_store(self.node_thread, effect.job, upkeep=True)
            case "cpu":
                result = self.pool(effect.job)
            case "unwrap":
                assert self.workers is not None  # else the node would not have asked
                assert isinstance(effect.job, UnwrapJob)
                result = self.workers.run(effect.job)
        return result.addErrback(lambda failure: failure.value)

    def forget_epoch_keys(self) -> None:
        """Keys of past epochs are deleted here: nobody else may keep them."""
        if self.workers is not None:
            self.workers.forget_keys()

    def _in_store(self, thread: StoreThread, job: Callable[[], Any], upkeep: bool = False) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()

        def finished(future: Future[Any]) -> None:
            self._reactor.callFromThread(_fire, result, future)

        thread.submit(job, upkeep).add_done_callback(finished)
        return result


def _fire(result: Deferred[Any], future: Future[Any]) -> None:
    error = future.exception()
    if error is None:
        result.callback(future.result())
    else:
        result.errback(Failure(error))
