"""The small screens on top: a contact to add or rename, an address to copy, a yes or no, a file to save."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from mixmail.control import types
from mixmail.control.client import ConnectionLost
from mixmail.errors import UserError
from tui import safe_text
from tui.session import Session

AWAY = "The background process has gone away: press Enter again when it is back."


class Dialog(ModalScreen[str | None]):
    """A title, fields, a message, and a line that says the keys.  Esc gives None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Close")]

    title_text = ""
    keys_text = "Enter goes on   Esc closes"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content.styled(self.title_text, "bold $primary"), classes="card-title")
            yield from self.fields()
            yield Static("", id="message", classes="error", markup=False)
            yield Static(Content.styled(self.keys_text, "dim"), classes="dialog-foot")

    def fields(self) -> ComposeResult:
        raise NotImplementedError

    def say(self, text: str) -> None:
        message = self.query_one("#message", Static)
        message.update(safe_text.content(safe_text.line(text)))
        message.display = bool(text)

    def action_cancel(self) -> None:
        self.dismiss(None)


class AddContact(Dialog):
    """Dismissed with the id of the new contact."""

    title_text = "New contact"

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def fields(self) -> ComposeResult:
        yield Label("Address", markup=False)
        yield Input(id="address", placeholder="mix1…  (paste it here)")
        yield Label("Name", markup=False)
        yield Input(id="name", placeholder="what you call them", max_length=60)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        address = "".join(self.query_one("#address", Input).value.split())
        name = self.query_one("#name", Input).value.strip()
        if not address:
            self.say("An address is needed: your correspondent copies it with y.")
            self.query_one("#address", Input).focus()
        elif not name:
            if event.input.id == "name":
                self.say("A name is needed; only you see it.")
            self.query_one("#name", Input).focus()
        else:
            self.run_worker(self._add(address, name), exclusive=True)

    async def _add(self, address: str, name: str) -> None:
        try:
            contact = await self._session.client.contact_add(address, name)
        except ConnectionLost:
            self.say(AWAY)
        except UserError as error:
            self.say(error.message)
            self.query_one("#address", Input).focus()
        else:
            self.dismiss(contact.id)


class RenameContact(Dialog):
    """Dismissed with the new name."""

    title_text = "Rename contact"

    def __init__(self, session: Session, contact: types.Contact) -> None:
        super().__init__()
        self._session = session
        self._contact = contact

    def fields(self) -> ComposeResult:
        yield Label("Name", markup=False)
        yield Input(self._session.name_of(self._contact), id="name", max_length=60)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        name = event.value.strip()
        if name:
            self.run_worker(self._rename(name), exclusive=True)
        else:
            self.say("A name is needed; only you see it.")

    async def _rename(self, name: str) -> None:
        try:
            await self._session.client.contact_rename(self._contact.id, name)
        except ConnectionLost:
            self.say(AWAY)
        except UserError as error:
            self.say(error.message)
        else:
            self.dismiss(name)


class Confirm(Dialog):
    """Dismissed with "yes" or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "yes", "Yes"),
        Binding("n", "cancel", "No"),
    ]
    keys_text = "y yes   n no"

    def __init__(self, title: str, question: str) -> None:
        super().__init__()
        self.title_text = title
        self._question = question

    def fields(self) -> ComposeResult:
        yield Static(safe_text.content(safe_text.block(self._question)))

    def action_yes(self) -> None:
        self.dismiss("yes")


class ShowAddress(Dialog):
    """An address in full, copied to the clipboard where the terminal allows it (OSC 52)."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,q,y", "cancel", "Close")]
    keys_text = "Esc closes"

    def __init__(self, title: str, address: str) -> None:
        super().__init__()
        self.title_text = title
        self._address = safe_text.line(address)

    def fields(self) -> ComposeResult:
        yield Static(safe_text.content(self._address, "bold"), id="address")
        note = "Copied, if your terminal lets programs copy; else select it with Shift and the mouse."
        yield Static(Content.styled(note, "dim"), classes="card-text")

    def on_mount(self) -> None:
        self.app.copy_to_clipboard(self._address)
