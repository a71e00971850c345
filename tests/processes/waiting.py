"""Waiting for what must happen, with a limit after which a test is red; never for a time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from twisted.internet import reactor
from twisted.internet.task import deferLater

T = TypeVar("T")

TOO_LONG = 120.0  # seconds; generous, since machines are busy: what is waited for comes in a fraction of it
PAUSE = 0.05


async def until(condition: Callable[[], T], what: str, limit: float = TOO_LONG) -> T:
    """Let the reactor turn until `condition` gives something true; return that."""
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still not after {limit:.0f} s: {what}"
        await deferLater(reactor, PAUSE)
    return found


def wait_for(condition: Callable[[], T], what: str, limit: float = TOO_LONG) -> T:
    """The same where no reactor runs in this process."""
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still not after {limit:.0f} s: {what}"
        time.sleep(PAUSE)
    return found
