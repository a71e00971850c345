"""The daemon's threads take turns often, so that one that computes does not hold up the databases."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mixmail.cli import wiring
from mixmail.params import NODE_LIMITS


class QuietReactor:
    """Runs what shall run when it is up, and ends."""

    def __init__(self) -> None:
        self._first: list[Callable[[], Any]] = []

    def callWhenRunning(self, call: Callable[[], Any]) -> None:
        self._first.append(call)

    def addSystemEventTrigger(self, *arguments: Any) -> None:
        pass

    def run(self) -> None:
        for call in self._first:
            call()


@pytest.fixture
def usual() -> Iterator[float]:
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def test_threads_take_turns_often_before_anything_starts(
    usual: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "start_log", lambda: None)
    turns: list[float] = []
    wiring._run(QuietReactor(), lambda: turns.append(sys.getswitchinterval()), lambda: None)
    assert turns == [pytest.approx(NODE_LIMITS.thread_turn)] and turns[0] <= usual / 5
