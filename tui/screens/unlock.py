"""Asks for the passphrase of a locked profile."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, Label, Static

from mixmail.control.client import ConnectionLost
from mixmail.errors import UserError
from tui import safe_text
from tui.session import Session


class UnlockScreen(Screen[bool]):
    """Dismissed with True when the profile is open."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q,escape", "app.quit", "Quit")]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield Static(Content.styled("mixmail is locked", "bold $primary"), classes="card-title")
            yield Label("Passphrase", markup=False)
            yield Input(id="passphrase", password=True)
            yield Static("", id="message", classes="error", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value:
            self._say("Opening …")
            self.run_worker(self._unlock(event.value), exclusive=True)

    async def _unlock(self, passphrase: str) -> None:
        field = self.query_one(Input)
        try:
            await self._session.client.unlock(passphrase)
        except ConnectionLost:
            self._say("The background process has gone away: press Enter again when it is back.")
        except UserError as error:
            field.value = ""
            self._say(error.message)
        else:
            self.dismiss(True)

    def _say(self, text: str) -> None:
        message = self.query_one("#message", Static)
        message.update(safe_text.content(safe_text.line(text)))
        message.display = bool(text)
