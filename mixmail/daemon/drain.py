"""Tells when a draining node has sent what it held and handed over its records, or its time is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from mixmail.node.core import Node


class DrainWatch:
    """Looks at the pools of a draining `node` at every tick; `call` is its next look."""

    def __init__(self, reactor: Any, node: Node, tick: float, now: Callable[[], float]) -> None:
        self._reactor = reactor
        self._node = node
        self._tick = tick
        self._now = now
        self._waiting: list[Deferred[int]] = []
        self.call = reactor.callLater(0, self._look)

    def over(self) -> Deferred[int]:
        """Fires with how many packets are left when the drain is over."""
        done: Deferred[int] = Deferred()
        if self.call.active():
            self._waiting.append(done)
        else:
            done.callback(self._node.waiting)
        return done

    def _look(self) -> None:
        left = self._node.waiting
        if (left or self._node.leaving) and self._now() < (self._node.drained_by or 0.0):
            self.call = self._reactor.callLater(self._tick, self._look)
            return
        for done in self._waiting:
            done.callback(left)
