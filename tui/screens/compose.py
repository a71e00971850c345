"""Writes a mail.  What is typed is kept in Drafts every few seconds, and when the screen is closed.

Files that are attached are not: a draft has no place for them, and that is said."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen
from textual.suggester import SuggestFromList
from textual.widgets import Footer, Input, Label, Static, TextArea

from mixmail.control import types
from mixmail.control.client import ConnectionLost
from mixmail.errors import RemoteProtocolError, UserError
from tui import safe_text, words
from tui.safe_text import Safe
from tui.screens.attach import AttachFiles, label
from tui.session import Session, toast
from tui.widgets.banner import Banner

AUTOSAVE = 2.0
"""Seconds between two looks whether there is something new to keep."""

_AS_BEFORE = "whoever wrote to them before, else the first"
_QUOTED_LINES = 400
_HEADERS = 2_000  # bytes that a mail has besides text and files, and some to spare


@dataclass(frozen=True, slots=True)
class Letter:
    """What a compose screen starts from.  `contact` is who `to` names, if it is a contact."""

    to: str = ""
    contact: str | None = None
    subject: str = ""
    text: str = ""
    in_reply_to: str | None = None
    draft: str | None = None
    files: tuple[types.Attachment, ...] = ()


def reply_to(mail: types.Mail, session: Session) -> Letter:
    """The letter that answers `mail`: subject and quote have passed the boundary."""
    contact = session.contact(mail.summary.contact)
    subject = safe_text.line(mail.summary.subject)
    if subject[:3].casefold() != "re:":
        subject = safe_text.line(f"Re: {subject}")
    lines = safe_text.block(mail.text).rstrip().split("\n")
    quote = [f"> {one}".rstrip() for one in lines[:_QUOTED_LINES]]
    if len(lines) > _QUOTED_LINES:
        quote.append("> […]")
    name = safe_text.line(mail.from_name if mail.summary.folder in types.INCOMING else mail.to_name)
    head = f"{name} wrote on {words.long_date(mail.summary.date)}:"
    return Letter(
        to=session.name_of(contact) if contact else "",
        contact=contact.id if contact else None,
        subject=subject,
        text="\n".join(["", "", head, *quote]),
        in_reply_to=mail.summary.id,
    )


class ComposeScreen(Screen[str | None]):
    """Dismissed with the id of the mail that is in the outbox now, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "send", "Send", priority=True),
        Binding("ctrl+a", "attach", "Attach", priority=True),
        Binding("ctrl+f", "sender", "From", show=False, priority=True),
        Binding("escape", "close", "Close, keep in Drafts", priority=True),
        Binding("ctrl+q", "close", "Close", show=False, priority=True),
    ]

    def __init__(self, session: Session, letter: Letter) -> None:
        super().__init__()
        self._session = session
        self._letter = letter
        self._draft = letter.draft
        self._files = list(letter.files)
        self._sender: types.Identity | None = None
        self._kept: tuple[str, str, str] = (letter.to, letter.subject, letter.text)
        self._lock = asyncio.Lock()  # one save or send at a time: two would make two drafts
        self._sending = False

    def compose(self) -> ComposeResult:
        names = [self._session.name_of(one) for one in self._session.contacts if one.state == "known"]
        yield Banner()
        with Vertical(id="letter"):
            with Horizontal(classes="field"):
                yield Label("To", markup=False)
                yield Input(
                    safe_text.line(self._letter.to),
                    id="to",
                    placeholder="a contact, or an address mix1…",
                    suggester=SuggestFromList(names, case_sensitive=False),
                )
            with Horizontal(classes="field"):
                yield Label("Subject", markup=False)
                yield Input(safe_text.line(self._letter.subject), id="subject")
            with Horizontal(classes="field", id="from-field"):
                yield Label("From", markup=False)
                yield Static("", id="from-line", markup=False)
            with Horizontal(classes="field", id="files-field"):
                yield Label("Files", markup=False)
                yield Static("", id="files-line", markup=False)
            yield TextArea(safe_text.block(self._letter.text), id="text", show_line_numbers=False)
            yield Static("", id="compose-line", markup=False)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._kept = self._typed()
        if not self._letter.to:
            self.query_one("#to").focus()
        elif not self._letter.subject:
            self.query_one("#subject").focus()
        else:
            self.query_one("#text").focus()
        self.set_interval(AUTOSAVE, self.autosave)
        self.show_line()
        self.show_sender()
        self.show_files()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.query_one("#subject" if event.input.id == "to" else "#text").focus()

    def show_line(self, kept: str = "") -> None:
        """The line below the text: the wait on the left, what has become of the draft on the right."""
        left = Content.styled(words.arrival(self._session.status), "$secondary")
        right = Content.styled(kept, "dim")
        gap = " " * max(2, self.app.size.width - 4 - left.cell_length - right.cell_length)
        self.query_one("#compose-line", Static).update(Content.assemble(left, gap, right))

    def show_files(self) -> None:
        """The line with the attachments, where there are any."""
        self.query_one("#files-field").display = bool(self._files)
        names = Safe(" · ".join(label(one) for one in self._files))
        self.query_one("#files-line", Static).update(safe_text.content(names))

    def show_sender(self) -> None:
        """The line that says as whom, where there is a choice."""
        self.query_one("#from-field").display = len(self._session.identities) > 1
        text = safe_text.line(self._sender.name) if self._sender else _AS_BEFORE
        line = Content.assemble(text, ("   Ctrl+F: another", "dim"))
        self.query_one("#from-line", Static).update(line)

    def action_sender(self) -> None:
        """The next identity; after the last one, what the daemon would choose."""
        choices = [None, *self._session.identities]
        place = choices.index(self._sender) if self._sender in choices else 0
        self._sender = choices[(place + 1) % len(choices)]
        self.show_sender()

    def action_attach(self) -> None:
        limit = self._session.client.hello.mail_limit if self._session.connected else 0
        used = len("".join(self._typed()).encode()) + _HEADERS
        self.app.push_screen(AttachFiles(self._files, limit, used), lambda _: self.show_files())

    def _typed(self) -> tuple[str, str, str]:
        to, subject = self.query_one("#to", Input).value, self.query_one("#subject", Input).value
        return to, subject, self.query_one("#text", TextArea).text

    def _recipient(self, to: str) -> str:
        """What the daemon is told: the id of the contact where the name is theirs."""
        letter = self._letter
        contact = self._session.contact(letter.contact)
        if contact is None or to.strip() != self._session.name_of(contact):
            contact = self._session.contact_named(to)
        return contact.id if contact is not None else "".join(to.split()) if "mix1" in to else to.strip()

    # keeping

    def autosave(self) -> None:
        if self._typed() != self._kept and not self._lock.locked():
            self.run_worker(self._keep(), group="keep")

    async def _keep(self) -> bool:
        """Save the draft if anything has changed since the last time; False if that did not work."""
        async with self._lock:
            typed = self._typed()
            if typed == self._kept:
                return True
            to, subject, text = typed
            try:
                self._draft = await self._session.client.draft_save(
                    self._recipient(to), subject, text, id=self._draft, in_reply_to=self._letter.in_reply_to
                )
            except (UserError, RemoteProtocolError):
                self.show_line("not kept yet: the background process is away")
                return False
            self._kept = typed
            self.show_line("kept in Drafts")
            return True

    def action_close(self) -> None:
        if not self._sending:
            self.run_worker(self._close(), group="close", exclusive=True)

    async def _close(self) -> None:
        if await self._keep():
            if self._files:
                toast(self, "The draft is kept without its files: attach them again.", "warning")
            self.dismiss(None)
        else:
            text = "The draft cannot be kept while the background process is away: wait until it is back."
            toast(self, text, "error")

    # sending

    def action_send(self) -> None:
        to, _, text = self._typed()
        if self._sending:
            return
        if not to.strip():
            toast(self, "Say to whom: a contact's name, or an address.", "warning")
            self.query_one("#to").focus()
        elif not text.strip() and not self._files:
            toast(self, "There is nothing in this mail yet.", "warning")
            self.query_one("#text").focus()
        elif not self._session.connected:
            toast(self, "The background process is away: send again when it is back.", "error")
        else:
            self._sending = True
            self.run_worker(self._send(), group="send")

    async def _send(self) -> None:
        try:
            async with self._lock:
                to, subject, text = self._typed()
                id = await self._session.client.mail_send(
                    self._recipient(to),
                    subject,
                    text,
                    in_reply_to=self._letter.in_reply_to,
                    identity=self._sender.id if self._sender else None,
                    attachments=self._files,
                )
        except ConnectionLost:
            toast(
                self,
                "The connection broke while sending: look into the outbox before you send again.",
                "error",
            )
            return
        except (UserError, RemoteProtocolError) as error:
            toast(self, str(error), "error")
            return
        finally:
            self._sending = False
        status = self._session.status
        wait = f" in about {words.delivery(status)}" if status else ""
        toast(self, f"Queued — the network carries it{wait}.")
        if self._draft is not None:
            try:
                await self._session.client.draft_delete(self._draft)
            except (UserError, RemoteProtocolError):
                toast(
                    self, "The mail is queued; its draft could not be removed and is still there.", "warning"
                )
        self.dismiss(id)
