"""Keys in their order: each one is through before the next is handed out.

Textual hands a key to the widget that has the focus now, and lets it come back to the app only later if
the widget has no use for it.  What is typed behind a Tab, or behind a key that opens a screen, would so end
in the field or the screen before.  Here a mark follows each key on its way from the focused widget up to
the app; when it arrives, everything that the key has set off has happened, and the next key may go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.timer import Timer

_LAPS = 2
"""Ways up that the mark goes: on the second it follows what the app's bindings have told the widgets."""

_STUCK = 0.5
"""Seconds after which the next key goes in any case (a widget that goes away takes the mark with it)."""

_LOOK_AGAIN = 0.01

Deliver = Callable[[events.Event], Awaitable[None]]


class TypeAhead:
    """Holds back what is typed until `app` has done with what was typed before."""

    def __init__(self, app: App[Any], deliver: Deliver) -> None:
        self._app = app
        self._deliver = deliver
        self._waiting: deque[events.Event] = deque()
        self._under_way = 0  # the number of the key that is under way, 0 if none is
        self._count = 0
        self._guard: Timer | None = None

    @property
    def idle(self) -> bool:
        """Whether everything typed so far has had its effect."""
        return not self._under_way and not self._waiting

    async def take(self, event: events.Key | events.Paste) -> None:
        """Something was typed or pasted."""
        self._waiting.append(event)
        if not self._under_way:
            await self._next()

    async def _next(self) -> None:
        if not self._waiting:
            return
        self._count += 1
        number = self._under_way = self._count
        if not self._app.screen.is_mounted:
            # a screen that has just been opened has no field yet that could take it
            self._app.set_timer(_LOOK_AGAIN, lambda: self._done(number))
            return
        self._guard = self._app.set_timer(_STUCK, lambda: self._done(number))
        target = self._app.focused or self._app.screen
        await self._deliver(self._waiting.popleft())
        self._follow(target, target, number, 1)

    def _follow(self, pump: MessagePump, target: MessagePump, number: int, lap: int) -> None:
        """Send the mark through the queue of `pump`, behind what is in it already."""
        if not pump.call_later(self._passed, pump, target, number, lap):
            self._app.call_later(self._done, number)

    def _passed(self, pump: MessagePump, target: MessagePump, number: int, lap: int) -> None:
        parent = pump._parent
        if pump is not self._app and parent is not None:
            self._follow(parent, target, number, lap)
        elif lap < _LAPS:
            self._follow(target, target, number, lap + 1)
        else:
            self._app.call_later(self._done, number)

    async def _done(self, number: int) -> None:
        if number != self._under_way:
            return
        self._under_way = 0
        if self._guard is not None:
            self._guard.stop()
            self._guard = None
        await self._next()
