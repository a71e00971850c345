"""Work that blocks, brought back into the reactor's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mixmail.storage.thread import StoreThread


def run_in_store(reactor: Any, thread: StoreThread, job: Callable[[], Any]) -> Deferred[Any]:
    """Run `job` in the thread that owns a database; fires in the reactor's with its result."""
    result: Deferred[Any] = Deferred()

    def finished(future: Future[Any]) -> None:
        reactor.callFromThread(_fire, result, future)

    thread.submit(job).add_done_callback(finished)
    return result


def _fire(result: Deferred[Any], future: Future[Any]) -> None:
    error = future.exception()
    if error is None:
        result.callback(future.result())
    else:
        result.errback(Failure(error))
