"""The app: the theme, the connection, and which screen is shown."""

from __future__ import annotations

import os
from typing import ClassVar

from textual import events
from textual.app import App
from textual.binding import BindingType

from mixmail.control.client import Client
from tui.screens.compose import ComposeScreen
from tui.screens.first_run import FirstRunScreen
from tui.screens.main import MainScreen
from tui.screens.seed_words import SeedWords
from tui.screens.unlock import UnlockScreen
from tui.session import RETRY, Connect, Connected, Gone, Session, Told
from tui.theme import DARK, LIGHT
from tui.type_ahead import TypeAhead
from tui.widgets.banner import Banner

NARROW = 60
"""Columns from which on the folders are shown; below, their keys 1 to 4 still work."""

WIDE = 116
"""Columns from which on the reading pane stands beside the list."""


class MailApp(App[None]):
    """mixmail in the terminal.  `connect` gives a new client each time it is called."""

    TITLE = "mixmail"
    CSS_PATH = "mixmail.tcss"
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, connect: Connect, retry: float = RETRY) -> None:
        super().__init__()
        self.session = Session(connect, self.post_message, retry)
        self.main = MainScreen(self.session)
        self.type_ahead = TypeAhead(self, super().on_event)
        self._open = False
        self.HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (NARROW, "-narrow"), (WIDE, "-wide")]

    async def on_mount(self) -> None:
        for theme in (DARK, LIGHT):
            self.register_theme(theme)
        self.theme = DARK.name
        await self.push_screen(self.main)
        self.run_worker(self.session.run(), group="session")

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            await self.type_ahead.take(event)
        else:
            await super().on_event(event)

    def on_connected(self, message: Connected) -> None:
        self._banner("")
        if not self.session.connected:
            return
        hello = self.session.client.hello
        self._open = not hello.locked and (hello.has_identity or self.session.identity is not None)
        if self._open:
            self.main.enter()
        elif hello.locked:
            self._ask(UnlockScreen(self.session))
        else:
            self._ask(FirstRunScreen(self.session))

    def on_gone(self, message: Gone) -> None:
        self._open = False
        self._banner(f"{message.reason} Trying again …")
        self.main.gone()

    def on_told(self, message: Told) -> None:
        if self._open:
            self.main.told(message.event)

    def watch_sub_title(self, unread: str) -> None:
        """The window's title: only our own words and a number, never remote text."""
        if self._driver is not None and not self.is_headless:
            title = f"mixmail ({int(unread)})" if unread else "mixmail"
            self._driver.write(f"\x1b]0;{title}\x07")

    async def action_quit(self) -> None:
        """Leave; a letter that is being written is kept first, and then q has to be pressed again."""
        if isinstance(self.screen, ComposeScreen):
            self.screen.action_close()
            return
        if self._open:
            await self.main.finish_delete()
        self.exit()

    def _ask(self, screen: UnlockScreen | FirstRunScreen) -> None:
        if any(isinstance(one, type(screen)) for one in self.screen_stack):
            return

        def done(opened: bool | None) -> None:
            self._open = bool(opened)
            self.main.enter()
            # On a network that is there to try the program, nobody needs paper.
            if opened and isinstance(screen, FirstRunScreen) and self.session.connected:
                identity = self.session.identity
                if identity is not None and self.session.client.hello.anonymous:
                    self.push_screen(SeedWords(self.session, identity))

        self.push_screen(screen, done)

    def _banner(self, text: str) -> None:
        for screen in self.screen_stack:
            for banner in screen.query(Banner):
                banner.show(text)


def run(socket: str | os.PathLike[str]) -> None:
    """Show the terminal UI of the daemon that listens on `socket`, until the user leaves."""
    MailApp(lambda: Client.connect(socket)).run()
