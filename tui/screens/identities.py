"""Who the user is: make, rename, archive and delete identities, show an address, keep the seed words."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from mixmail.control import types
from mixmail.control.client import ConnectionLost
from mixmail.errors import UserError
from tui import qr, safe_text
from tui.screens.dialogs import AWAY, Confirm, Dialog, ShowAddress
from tui.screens.first_run import FirstRunScreen
from tui.screens.seed_words import SeedWords
from tui.session import Session, toast, told
from tui.widgets.banner import Banner

LINK = "mixmail:"


class Identities(Screen[None]):
    """A list of the own identities; what is changed here is changed at once."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "add", "New"),
        Binding("e", "rename", "Rename"),
        Binding("x", "archive", "Archive"),
        Binding("d", "delete", "Delete"),
        Binding("w", "words", "Words"),
        Binding("v", "qr", "QR"),
        Binding("y", "copy", "Address"),
        Binding("escape,i,q", "dismiss", "Back"),
        Binding("j", "move('down')", "Down", show=False),
        Binding("k", "move('up')", "Up", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._shown: list[types.Identity] = []
        # held here, since answers of the daemon may come while the screen is being closed
        self.options = OptionList(id="contacts", markup=False)

    def compose(self) -> ComposeResult:
        yield Banner()
        title = Content.assemble(
            ("Identities", "bold $primary"), ("   nobody can tell that they are one", "dim")
        )
        yield Static(title, id="title")
        yield self.options
        text = "w shows the 24 words from which an identity can be made again: keep them on paper."
        yield Static(Content.styled(text, "dim"), id="own")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.options.focus()
        self.reload()

    def reload(self) -> None:
        """Ask the daemon for the list and draw it; the highlight stays where it was."""
        self.run_worker(self._reload(), exclusive=True)

    async def _reload(self) -> None:
        with told(self):
            await self._session.load()
            self._show(await self._session.client.identity_list())

    def _show(self, identities: list[types.Identity]) -> None:
        options = self.options
        chosen = options.highlighted or 0
        self._shown = identities
        options.clear_options()
        for one in identities:
            name = Content(safe_text.line(one.name)).truncate(28, ellipsis=True, pad=True)
            mark = "archived: nothing comes, nothing goes" if one.archived else _short(one.address)
            options.add_option(Option(Content.assemble(name, "  ", (mark, "dim")), id=one.id))
        if identities:
            options.highlighted = min(chosen, len(identities) - 1)

    def _chosen(self) -> types.Identity | None:
        place = self.options.highlighted
        return None if place is None or place >= len(self._shown) else self._shown[place]

    def on_option_list_option_selected(self) -> None:
        self.action_copy()

    def action_move(self, direction: str) -> None:
        self.options.action_cursor_down() if direction == "down" else self.options.action_cursor_up()

    def action_add(self) -> None:
        self.app.push_screen(NameDialog(self._session, None), self._changed)

    def action_rename(self) -> None:
        if (one := self._chosen()) is not None:
            self.app.push_screen(NameDialog(self._session, one), self._changed)

    def action_copy(self) -> None:
        if (one := self._chosen()) is not None:
            self.app.push_screen(ShowAddress(f"Address of {safe_text.line(one.name)}", one.address))

    def action_qr(self) -> None:
        if (one := self._chosen()) is not None:
            self.app.push_screen(QrScreen(one))

    def action_words(self) -> None:
        if (one := self._chosen()) is not None:
            self.app.push_screen(SeedWords(self._session, one))

    def action_archive(self) -> None:
        one = self._chosen()
        if one is None:
            return
        if one.archived:
            self.run_worker(self._archive(one, False), exclusive=True)
            return
        question = (
            f"Archive {safe_text.line(one.name)}? Its mails stay; nothing new is sent or fetched for it "
            "until you press x again. What reaches it meanwhile is lost when it expires."
        )
        self._ask("Archive identity", question, lambda: self._archive(one, True))

    def action_delete(self) -> None:
        one = self._chosen()
        if one is not None:
            question = (
                f"Delete {safe_text.line(one.name)} and all its keys? Its mails stay. "
                "Only its 24 words bring the address back."
            )
            self._ask("Delete identity", question, lambda: self._delete(one))

    def _ask(self, title: str, question: str, work: object) -> None:
        def answered(answer: str | None) -> None:
            if answer == "yes":
                self.run_worker(work(), exclusive=True)  # type: ignore[operator]

        self.app.push_screen(Confirm(title, question), answered)

    async def _archive(self, one: types.Identity, archived: bool) -> None:
        with told(self):
            await self._session.client.identity_archive(one.id, archived)
            toast(self, f"{safe_text.line(one.name)} is {'archived' if archived else 'in use again'}.")
            await self._reload()

    async def _delete(self, one: types.Identity) -> None:
        with told(self):
            await self._session.client.identity_delete(one.id)
            toast(self, f"{safe_text.line(one.name)} is deleted.")
            await self._reload()
            if not self._shown:
                self.app.push_screen(FirstRunScreen(self._session), lambda _: self.reload())

    def _changed(self, result: str | None) -> None:
        if result is not None:
            self.reload()


class NameDialog(Dialog):
    """A name for a new identity, or another one for one that is; dismissed with it."""

    def __init__(self, session: Session, identity: types.Identity | None) -> None:
        super().__init__()
        self._session = session
        self._identity = identity
        self.title_text = "New identity" if identity is None else "Rename identity"

    def fields(self) -> ComposeResult:
        yield Label("Name, as correspondents will see it", markup=False)
        yield Input(safe_text.line(self._identity.name) if self._identity else "", id="name", max_length=60)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.run_worker(self._save(event.value.strip()), exclusive=True)
        else:
            self.say("A name is needed; any will do.")

    async def _save(self, name: str) -> None:
        client = self._session.client
        try:
            if self._identity is None:
                await client.identity_create(name)
            else:
                await client.identity_rename(self._identity.id, name)
        except ConnectionLost:
            self.say(AWAY)
        except UserError as error:
            self.say(error.message)
        else:
            self.dismiss(name)


class QrScreen(Screen[None]):
    """An address to be scanned from the screen; always light on dark, whatever the theme."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,v,enter", "dismiss", "Back")]

    def __init__(self, identity: types.Identity) -> None:
        super().__init__()
        self._identity = identity

    def compose(self) -> ComposeResult:
        title = Content.assemble(
            (safe_text.line(self._identity.name), "bold $primary"), ("   to be added as a contact", "dim")
        )
        yield Static(title, id="title")
        picture = "\n".join(qr.blocks(LINK + self._identity.address))
        yield Static(Content.styled(picture, "white on black"), id="qr")
        yield Footer(show_command_palette=False)


def _short(address: str) -> str:
    return safe_text.line(address if len(address) <= 30 else f"{address[:16]}…{address[-8:]}")
