"""The people: write to one, add, rename, remove, copy an address."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from mixmail.control import types
from tui import safe_text, words
from tui.screens.dialogs import AddContact, Confirm, RenameContact, ShowAddress
from tui.session import Session, toast, told
from tui.widgets.banner import Banner


class AddressBook(Screen[types.Contact | None]):
    """Dismissed with the contact to write to, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "add", "New contact"),
        Binding("e", "rename", "Rename"),
        Binding("d", "remove", "Remove"),
        Binding("b", "block", "Block"),
        Binding("y", "copy", "Address"),
        Binding("escape,a,q", "back", "Back"),
        Binding("j", "move('down')", "Down", show=False),
        Binding("k", "move('up')", "Up", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def compose(self) -> ComposeResult:
        yield Banner()
        title = Content.assemble(("Address book", "bold $primary"), ("   Enter writes to them", "dim"))
        yield Static(title, id="title")
        yield OptionList(id="contacts", markup=False)
        yield Static("", id="own", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.show()
        self.query_one(OptionList).focus()

    def on_resize(self) -> None:
        self.show()

    def show(self) -> None:
        """Draw the contacts as the session has them; the highlight stays on its contact."""
        options = self.query_one(OptionList)
        chosen = self._chosen()
        options.clear_options()
        now, width = time.time(), self.app.size.width - 6
        shown = [one for one in self._session.contacts if one.state != "request"]
        for contact in shown:
            options.add_option(Option(self._prompt(contact, now, width), id=contact.id))
        if chosen is not None and chosen.id in [one.id for one in shown]:
            options.highlighted = options.get_option_index(chosen.id)
        elif shown:
            options.highlighted = 0
        own = self._session.identity
        text = "Nobody here yet: n adds somebody by address.\n" if not shown else ""
        if own is not None:
            text += f"Your own address, for others to add:\n{safe_text.line(own.address)}"
        self.query_one("#own", Static).update(Content.styled(text, "dim"))

    def _prompt(self, contact: types.Contact, now: float, width: int) -> Content:
        name = self._session.name_of(contact)
        last = (
            "blocked"
            if contact.state == "blocked"
            else "no mail yet"
            if contact.last_traffic is None
            else words.when(contact.last_traffic, now)
        )
        left = Content(name).truncate(24, ellipsis=True, pad=True)
        middle = Content.styled(_short(safe_text.line(contact.address)), "dim")
        gap = " " * max(2, width - left.cell_length - 2 - middle.cell_length - len(last))
        return Content.assemble(left, "  ", middle, gap, (last, "dim"))

    def _chosen(self) -> types.Contact | None:
        options = self.query_one(OptionList)
        if options.highlighted is None:
            return None
        return self._session.contact(options.get_option_at_index(options.highlighted).id)

    def on_option_list_option_selected(self) -> None:
        self.action_write()

    def action_write(self) -> None:
        if (contact := self._chosen()) is not None:
            self.dismiss(contact)

    def action_back(self) -> None:
        self.dismiss(None)

    def action_move(self, direction: str) -> None:
        options = self.query_one(OptionList)
        options.action_cursor_down() if direction == "down" else options.action_cursor_up()

    def action_add(self) -> None:
        self.app.push_screen(AddContact(self._session), self._changed)

    def action_rename(self) -> None:
        if (contact := self._chosen()) is not None:
            self.app.push_screen(RenameContact(self._session, contact), self._changed)

    def action_copy(self) -> None:
        if (contact := self._chosen()) is not None:
            title = f"Address of {self._session.name_of(contact)}"
            self.app.push_screen(ShowAddress(title, contact.address))

    def action_block(self) -> None:
        contact = self._chosen()
        if contact is None:
            return
        if contact.state == "blocked":
            self.run_worker(self._block(contact, False), exclusive=True)
            return

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self.run_worker(self._block(contact, True), exclusive=True)

        name = self._session.name_of(contact)
        question = f"Block {name}? Nothing of {name} is read until you press b again, and {name} is not told."
        self.app.push_screen(Confirm("Block contact", question), answered)

    async def _block(self, contact: types.Contact, blocked: bool) -> None:
        with told(self):
            await self._session.client.contact_block(contact.id, blocked)
            await self._reload()
            toast(self, f"{self._session.name_of(contact)} is {'' if blocked else 'no longer '}blocked.")

    def action_remove(self) -> None:
        contact = self._chosen()
        if contact is None:
            return
        name = self._session.name_of(contact)

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self.run_worker(self._remove(contact), exclusive=True)

        question = f"Remove {name} from the address book?\nMails with {name} stay."
        self.app.push_screen(Confirm("Remove contact", question), answered)

    async def _remove(self, contact: types.Contact) -> None:
        with told(self):
            await self._session.client.contact_remove(contact.id)
            await self._reload()
            toast(self, f"{self._session.name_of(contact)} is removed.")

    def _changed(self, result: str | None) -> None:
        if result is not None:
            self.run_worker(self._reload_told(), exclusive=True)

    async def _reload_told(self) -> None:
        with told(self):
            await self._reload()

    async def _reload(self) -> None:
        self._session.contacts = await self._session.client.contact_list()
        self.show()


def _short(address: str) -> str:
    return address if len(address) <= 24 else f"{address[:12]}…{address[-8:]}"
