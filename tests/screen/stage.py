"""The app under a pilot, as tests drive it, and what is behind it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lab_daemon import LabDaemon
from textual import events
from textual.pilot import Pilot
from textual.widget import Widget

from mixmail.control import memory
from mixmail.control.client import Client
from mixmail.control.server import ControlServer
from mixmail.errors import UserError
from mixmail.lab import scenario
from mixmail.lab.network import LabNetwork
from tui.app import MailApp

NAMES = ("Ada", "Grace", "Mallory")
STEP = 0.25
"""Virtual seconds between two looks at the screen."""

TOO_LATE = 300.0
REPAINTS = 6  # looks at the screen after an event, which need not change what is shown
"""Virtual seconds in which everything has long happened."""

KEYS_LIMIT = 60.0
"""Seconds in which a burst of keys is through, however busy the machine."""

ROUNDS = 400
"""Turns of the loop that a test waits for something to become true."""


@dataclass
class Stage:
    """The app, its pilot, and what is behind it."""

    backend: Any
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
        """All keys in one burst, as a quick typist's reach a slow machine; return when all are through."""
        await self._send(
            *(events.Key(key, _CHARACTERS.get(key, key if len(key) == 1 else None)) for key in keys)
        )

    async def paste(self, text: str) -> None:
        """What a terminal sends for a text from the clipboard."""
        await self._send(events.Paste(text))

    async def _send(self, *sent: events.Event) -> None:
        for event in sent:
            event.set_sender(self.app)
            self.app.post_message(event)
        deadline = time.monotonic() + KEYS_LIMIT
        while self.app.is_running and (self.app.message_queue_size or not self.app.type_ahead.idle):
            assert time.monotonic() < deadline, f"{sent[:40]} never had their effect"
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


@dataclass
class LabStage(Stage):
    """The app over a `LabDaemon`: virtual time passes only when the test says so."""

    daemon: LabDaemon = None  # type: ignore[assignment]

    async def passes(self, seconds: float) -> None:
        """Let virtual time pass, with the screen looking on."""
        for _ in range(math.ceil(seconds / STEP)):
            self.daemon.run(STEP)
            await asyncio.sleep(0)
        await self.pilot.pause(0)

    async def comes(self, text: str, step: float = STEP) -> None:
        """Let virtual time pass until `text` is on the screen, which may follow each event on the way."""
        deadline = self.daemon.now() + TOO_LATE
        while text not in self.text():
            assert self.daemon.now() < deadline, f"{text!r} never came:\n{self.text()}"
            before = self.daemon.told
            self.daemon.run(step)
            if self.daemon.told != before:
                # No more virtual time before the screen has shown it, however busy the machine is.
                shown = self.text()
                for _ in range(REPAINTS):
                    await self.settles()
                    if self.text() != shown:
                        break
            else:
                await asyncio.sleep(0)

    async def settles(self) -> None:
        """Wait until the screen shows what the daemon has told so far."""
        await self.pilot.pause(0.15)


@dataclass
class People:
    """Persons on one lab network, the first ones of its hosts."""

    lab: LabNetwork
    daemons: list[LabDaemon]

    def meet(self, first: int = 0, second: int = 1) -> None:
        """Both get an identity and have each other in the address book, with a mail and its answer read."""
        one, other = self.daemons[first], self.daemons[second]
        for daemon in (one, other):
            if not daemon.agent.state.people:
                daemon.create(NAMES[daemon.host.number])
        self.write(first, second, "How do you do", "Shall we write?")
        self.write(second, first, "Re: How do you do", "We shall.")

    def write(self, first: int, second: int, subject: str, text: str) -> None:
        """A mail, sent and arrived."""
        count = self.daemons[second].arrived
        scenario.send(self.lab, self.daemons[first].host, self.daemons[second].host, subject, text)
        assert self.lab.run(TOO_LATE, lambda: self.daemons[second].arrived > count), "it never arrived"

    @asynccontextmanager
    async def screen(self, number: int = 0, size: tuple[int, int] = (80, 24)) -> AsyncIterator[LabStage]:
        """The screen of one of them."""
        daemon = self.daemons[number]
        stage = LabStage(daemon.backend, daemon.server, daemon=daemon)
        stage.app = MailApp(stage.connect, retry=0.01)
        async with stage.app.run_test(size=size, notifications=True) as stage.pilot:
            await stage.until(lambda: stage.app.session.connected, "the daemon")
            await stage.settles()
            yield stage


_KEYS = {" ": "space", "\n": "enter", "\t": "tab", "/": "slash", "?": "question_mark"}
_CHARACTERS = {"space": " ", "slash": "/", "question_mark": "?", "enter": "\r", "tab": "\t"}
