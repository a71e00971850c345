"""The first screen of a newcomer: a name, a passphrase if wanted, and in."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Button, Input, Label, Static

from mixmail.control.client import ConnectionLost
from mixmail.errors import UserError
from tui import safe_text
from tui.session import Session

_GREETING = (
    "Mail without servers: each letter goes through three mixes, so that nobody on the way "
    "can see who writes to whom."
)
_NOT_ANONYMOUS = "This is a {} network, to try it out: it is not anonymous."


class FirstRunScreen(Screen[bool]):
    """Dismissed with True when there is an identity."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "app.quit", "Quit")]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._busy = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="card"):
            yield Static(Content.styled("Welcome to mixmail", "bold $primary"), classes="card-title")
            yield Static(_GREETING, markup=False, classes="card-text")
            hello = self._session.client.hello
            if not hello.anonymous:
                note = _NOT_ANONYMOUS.format(safe_text.line(hello.preset))
                yield Static(note, markup=False, classes="card-text")
            yield Label("Your name, as the people you write to will see it", markup=False)
            yield Input(id="name", placeholder="anything you like", max_length=60)
            yield Label("Passphrase (optional: it locks the mail on this machine)", markup=False)
            with Horizontal(classes="pair"):
                yield Input(id="passphrase", password=True, placeholder="empty: no lock")
                yield Input(id="again", password=True, placeholder="the same again")
            yield Static("", id="message", classes="error", markup=False)
            yield Button("Start", id="start", variant="primary")

    def on_mount(self) -> None:
        self.query_one("#name", Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "name" and not event.value.strip():
            self._say("A name is needed; any will do.")
        elif event.input.id == "passphrase" and event.value:
            self.query_one("#again", Input).focus()
        else:
            self._start()

    def on_button_pressed(self) -> None:
        self._start()

    def _start(self) -> None:
        name = self.query_one("#name", Input).value.strip()
        passphrase = self.query_one("#passphrase", Input).value
        if not name:
            self._say("A name is needed; any will do.")
            self.query_one("#name", Input).focus()
        elif passphrase != self.query_one("#again", Input).value:
            self._say("The two passphrases differ: type both again.")
            for field in ("#passphrase", "#again"):
                self.query_one(field, Input).value = ""
            self.query_one("#passphrase", Input).focus()
        elif not self._busy:
            self._busy = True
            self._say("Making your keys …")
            self.run_worker(self._create(name, passphrase or None), exclusive=True)

    async def _create(self, name: str, passphrase: str | None) -> None:
        try:
            self._session.identity = await self._session.client.identity_create(name, passphrase)
        except ConnectionLost:
            self._say("The background process has gone away: press Enter again when it is back.")
        except UserError as error:
            self._say(error.message)
        else:
            self.dismiss(True)
        finally:
            self._busy = False

    def _say(self, text: str) -> None:
        message = self.query_one("#message", Static)
        message.update(safe_text.content(safe_text.line(text)))
        message.display = bool(text)
