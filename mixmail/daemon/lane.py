"""Carries out the effects of one core strictly in their order (see `mixmail.effects`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from mixmail.effects import Effect

Perform = Callable[[Effect], "Deferred[None] | None"]


class Lane:
    """A queue of effects; one that returns a Deferred holds back all that stand behind it.

    An effect that fails does not stop the lane: `failed` is told, and so is the Deferred of the push
    that it belonged to.
    """

    def __init__(self, perform: Perform, failed: Callable[[Failure], None]) -> None:
        self._perform = perform
        self._failed = failed
        self._queue: deque[Effect | Deferred[None]] = deque()
        self._running = False
        self._failure: Failure | None = None

    def push(self, effects: Iterable[Effect]) -> Deferred[None]:
        """Queue `effects`; fires when they have all been carried out, with the first failure if any."""
        done: Deferred[None] = Deferred()
        self._queue.extend(effects)
        self._queue.append(done)
        if not self._running:
            self._pump()
        return done

    def idle(self) -> Deferred[None]:
        """Fires when everything pushed so far has been carried out."""
        return self.push(()) if self._running else succeed(None)

    def _pump(self) -> None:
        self._running = True
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, Deferred):
                failure, self._failure = self._failure, None
                if failure is None:
                    item.callback(None)
                else:
                    item.errback(failure)
                continue
            try:
                waiting = self._perform(item)
            except Exception:
                self._note(Failure())
                continue
            if waiting is not None and not waiting.called:
                waiting.addErrback(self._note).addCallback(lambda _: self._pump())
                return
            if waiting is not None:
                waiting.addErrback(self._note)
        self._running = False

    def _note(self, failure: Failure) -> None:
        self._failed(failure)
        self._failure = self._failure or failure
