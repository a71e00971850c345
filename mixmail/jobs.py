"""Blocking work that left as `Offload` and what to do when its result comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mixmail.effects import Effect, Offload, Where

Then = Callable[[Any, float], list[Effect]]


class Jobs:
    """Continuations by token.  `limit` bounds what is outstanding; callers ask `full` before they start
    something new (a chain that has begun may go on)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[int, Then] = {}
        self._token = 0

    @property
    def full(self) -> bool:
        """No further work should be taken in."""
        return len(self._waiting) >= self._limit

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self, lane: Where, job: Callable[[], Any], then: Then) -> list[Effect]:
        """The effect that runs `job`; `then(result, now)` goes on, with the exception if it raised."""
        self._token += 1
        self._waiting[self._token] = then
        return [Offload(self._token, job, lane)]

    def done(self, token: int, result: Any, now: float) -> list[Effect]:
        """Go on with the result of `token`; KeyError for a token that is not outstanding."""
        return self._waiting.pop(token)(result, now)

    def clear(self) -> None:
        """Forget everything; results that still come are then unknown tokens."""
        self._waiting.clear()
