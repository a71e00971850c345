"""The real app on the real control server, joined in memory; behind it a daemon of the tests.

`screen(...)` starts all three; `start_backend` is the one place that says which daemon it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from memory_backend import MemoryBackend
from textual import events
from textual.pilot import Pilot
from textual.widget import Widget
from twisted.internet import task

from mixmail.control import memory
from mixmail.control.client import Client
from mixmail.control.server import ControlServer
from mixmail.errors import UserError
from tui.app import MailApp

KEYS_LIMIT = 60.0
"""Seconds in which a burst of keys is through, however busy the machine."""

ROUNDS = 400
"""Turns of the loop that a test waits for something to become true."""


def start_backend(**options: Any) -> MemoryBackend:
    """The daemon behind the control server."""
    return MemoryBackend(**options)


@dataclass
class Stage:
    """The app, its pilot, and what is behind it."""

    backend: MemoryBackend
    server: ControlServer
    running: bool = True
    transports: list[memory.MemoryTransport] = field(default_factory=list)
    app: MailApp = None  # type: ignore[assignment]
    pilot: Pilot[None] = None  # type: ignore[assignment]

    async def connect(self) -> Client:
        if not self.running:
            raise UserError("mixmail is not running here: start it with `mixmail node`.", "no-daemon")
        reader, writer, transport = memory.open_streams(self.server)
        self.transports.append(transport)
        return await Client.start(reader, writer)

    def stop_daemon(self) -> None:
        """The daemon goes away, with all its connections."""
        self.running = False
        for transport in self.transports:
            transport.loseConnection()

    def start_daemon(self) -> None:
        self.running = True

    async def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Let the app run until `condition` holds."""
        for _ in range(ROUNDS):
            if condition():
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"it never happened: {what or condition}\n{self.text()}")

    async def press(self, *keys: str) -> None:
        """All keys in one burst, as a quick typist's reach a slow machine; wait until all have had their effect."""
        for key in keys:
            event = events.Key(key, _CHARACTERS.get(key, key if len(key) == 1 else None))
            event.set_sender(self.app)
            self.app.post_message(event)
        deadline = time.monotonic() + KEYS_LIMIT
        while self.app.is_running and (self.app.message_queue_size or not self.app.type_ahead.idle):
            assert time.monotonic() < deadline, f"the keys {keys} never had their effect"
            await asyncio.sleep(0.001)
        if self.app.is_running:
            await self.pilot.pause(0)

    async def type(self, text: str) -> None:
        await self.press(*[_KEYS.get(char, char) for char in text])

    async def sees(self, text: str) -> None:
        """Wait until `text` is on the screen."""
        await self.until(lambda: text in self.text(), f"{text!r} on the screen")

    async def loses(self, text: str) -> None:
        """Wait until `text` is no longer on the screen."""
        await self.until(lambda: text not in self.text(), f"{text!r} gone from the screen")

    def text(self) -> str:
        """What stands on the screen, line by line."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    def one(self, kind: type[Widget] | str) -> Any:
        return self.app.screen.query_one(kind)  # type: ignore[arg-type]


_KEYS = {" ": "space", "\n": "enter", "\t": "tab", "/": "slash", "?": "question_mark"}
_CHARACTERS = {"space": " ", "slash": "/", "question_mark": "?", "enter": "\r", "tab": "\t"}


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`async with screen(prepare, ...) as stage`: the app, when the daemon has been asked for all."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    @asynccontextmanager
    async def start(
        prepare: Callable[[MemoryBackend], object] = lambda backend: None,
        size: tuple[int, int] = (80, 24),
        running: bool = True,
        **options: Any,
    ) -> AsyncIterator[Stage]:
        backend = start_backend(**options)
        prepare(backend)
        server = ControlServer(backend, task.Clock())
        backend.publish = server.publish
        stage = Stage(backend, server, running)
        stage.app = MailApp(stage.connect, retry=0.01)
        async with stage.app.run_test(size=size, notifications=True) as stage.pilot:
            if running and not backend.locked and backend.identities:
                await stage.until(lambda: stage.app.session.status is not None, "the first status")
                await stage.until(lambda: "mail_list" in backend.calls and _is_filled(stage), "the list")
            yield stage

    return start


def _is_filled(stage: Stage) -> bool:
    mails = stage.app.main.mails
    return bool(mails.rows) or bool(mails._hint)
