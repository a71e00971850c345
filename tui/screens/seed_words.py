"""The 24 words of an identity: shown, and then three of them asked for."""

from __future__ import annotations

import random
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Label, Static

from mixmail.control import types
from mixmail.control.client import ConnectionLost
from mixmail.errors import UserError
from tui import safe_text
from tui.screens.dialogs import AWAY, Dialog
from tui.session import Session, toast

COLUMNS = 4
ASKED = 3
WARNING = (
    "Write them on paper, in this order. With them the address can be made again on any machine "
    "(mixmail id restore). Whoever has them is you: show them to nobody, take no picture."
)


class SeedWords(Dialog):
    """Asks for the passphrase where the profile has one; dismissed with "checked" or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "written", "Written down")]

    keys_text = "Enter: I have written them down   Esc: later (i, then w)"

    def __init__(self, session: Session, identity: types.Identity) -> None:
        super().__init__()
        self._session = session
        self._identity = identity
        self._words: list[str] = []
        self._asked: list[int] = []
        self.title_text = f"The 24 words of {safe_text.line(identity.name)}"

    def fields(self) -> ComposeResult:
        yield Static("", id="words", markup=False)
        with Vertical(id="question"):
            yield Label("Passphrase of the profile", id="asks", markup=False)
            yield Input(id="given", password=True)

    def on_mount(self) -> None:
        self.query_one("#question").display = False
        self.run_worker(self._fetch(None), exclusive=True)

    async def _fetch(self, passphrase: str | None) -> None:
        try:
            self._words = await self._session.client.identity_words(self._identity.id, passphrase)
        except ConnectionLost:
            self.say(AWAY)
        except UserError as error:
            if getattr(error, "code", "") != "locked":
                self.say(error.message)
            self._ask("Passphrase of the profile", hidden=True)
        else:
            self._show()

    def _show(self) -> None:
        self.say("")
        rows = [
            "  ".join(
                f"{number + 1:2} {self._words[number]:<9}" for number in range(row, row + COLUMNS)
            ).rstrip()
            for row in range(0, len(self._words), COLUMNS)
        ]
        shown = Content("\n").join(
            [Content.styled("\n".join(rows), "bold"), Content(""), Content.styled(WARNING, "dim")]
        )
        self.query_one("#words", Static).update(shown)
        self.query_one("#question").display = False
        self.set_focus(None)

    def action_written(self) -> None:
        """The words are on paper, says the user: they go, and three are asked for."""
        if self._words and not self._asked:
            self._asked = sorted(random.SystemRandom().sample(range(len(self._words)), ASKED))
            self.query_one("#words", Static).update("")
            self._ask(f"Word {self._asked[0] + 1}, from your note", hidden=False)

    def _ask(self, text: str, hidden: bool) -> None:
        self.query_one("#asks", Label).update(text)
        self.query_one("#question").display = True
        given = self.query_one("#given", Input)
        given.password, given.value = hidden, ""
        given.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not self._words:
            self.run_worker(self._fetch(event.value), exclusive=True)
        elif not self._asked:
            self.action_written()  # the field had the focus a moment ago
        elif event.value.strip().lower() != self._words[self._asked[0]]:
            wrong = self._asked[0] + 1
            self._asked = []
            self._show()
            self.say(f"That was not word {wrong}: here they are once more.")
        else:
            self._asked.pop(0)
            self.say("")
            if self._asked:
                self._ask(f"Word {self._asked[0] + 1}", hidden=False)
            else:
                toast(self, "Your note is right.")
                self.dismiss("checked")
