"""The main screen: folders, the mail list, the reading pane, the status line."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Input

from mixmail.control import types
from tui import safe_text
from tui.safe_text import Safe
from tui.screens.address_book import AddressBook
from tui.screens.compose import ComposeScreen, Letter, reply_to
from tui.screens.dialogs import AddContact, ShowAddress
from tui.screens.help import HelpScreen
from tui.screens.identities import Identities
from tui.screens.requests import Verb, decide
from tui.screens.save_attachment import SaveAttachment
from tui.session import Session, toast, told
from tui.widgets.banner import Banner
from tui.widgets.folders import NAMES, FolderName, Folders
from tui.widgets.mail_list import PAGE, MailList, Row, draft_row, mail_row
from tui.widgets.reader import Reader
from tui.widgets.status_line import StatusLine

STATUS_EVERY = 2.0
"""Seconds between two questions for the status."""

UNDO_FOR = 8.0
"""Seconds in which a delete can be taken back; only then the daemon is told."""

_GATHER = 0.1
"""Seconds in which events are gathered before the list is asked for again."""


class MainScreen(Screen[None]):
    """Everything that is shown here comes from the session's client; the screen keeps no mail."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "compose", "Compose"),
        Binding("r", "reply", "Reply"),
        Binding("d", "delete", "Delete"),
        Binding("slash", "search", "Search"),
        Binding("a", "address_book", "Addresses"),
        Binding("question_mark", "help", "Keys"),
        Binding("q", "app.quit", "Quit"),
        Binding("u", "undo", "Undo", show=False),
        Binding("n", "add_contact", "New contact", show=False),
        Binding("y", "own_address", "My address", show=False),
        Binding("plus", "decide('accept')", "Accept", show=False),
        Binding("minus", "decide('ignore')", "Ignore", show=False),
        Binding("exclamation_mark", "decide('block')", "Block", show=False),
        Binding("i", "identities", "Identities", show=False),
        Binding("s", "save", "Save attachment", show=False),
        Binding("escape", "back", "Back", show=False),
        *[Binding(str(i + 1), f"folder('{name}')", name, show=False) for i, name in enumerate(NAMES)],
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.folder: FolderName = "inbox"
        self._search = ""
        self._generation = 0
        self._drafts: dict[str, types.Draft] = {}
        self._deleting: tuple[FolderName, str] | None = None
        self._undo_timer: Timer | None = None
        self._renewing: Timer | None = None
        self._mail: types.Mail | None = None
        # held here, since answers of the daemon may come while the screen is being closed
        self.folders = Folders()
        self.search = Input(id="search", placeholder="search people, subjects and texts")
        self.mails = MailList()
        self.reader = Reader()
        self.status_line = StatusLine()

    def compose(self) -> ComposeResult:
        yield Banner()
        with Horizontal(id="panes"):
            yield self.folders
            with Vertical(id="right"):
                with Vertical(id="list-pane"):
                    yield self.search
                    yield self.mails
                yield self.reader
        yield self.status_line
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.search.display = False
        self.reader.clear()
        self.folders.choose("inbox")
        self.mails.focus()
        self.set_interval(STATUS_EVERY, self.ask_status)

    # what the app tells

    def enter(self) -> None:
        """The daemon is there and open: fetch everything."""
        self._do(self._enter, "enter")

    async def _enter(self) -> None:
        await self._session.load()
        if self._session.status is not None:
            self.status_line.show_status(self._session.status)
        await self._count()
        self.renew()

    def gone(self) -> None:
        self.status_line.show_away()

    def told(self, event: types.Event) -> None:
        """An event of the daemon."""
        match event.data:
            case types.MailNewEvent(contact_name=name, subject=subject):
                who, what = safe_text.line(name, 40), safe_text.line(subject, 80)
                toast(self, f"New mail from {who}: {what}" if what else f"New mail from {who}")
                self._renew_soon()
            case types.MailStateEvent():
                self._renew_soon()
            case types.Status() as status:
                self._take_status(status)
            case _:
                self._do(self._enter, "enter")

    def ask_status(self) -> None:
        if self._session.connected:
            self._do(self._ask_status, "status")

    async def _ask_status(self) -> None:
        self._take_status(await self._session.client.status())

    def _take_status(self, status: types.Status) -> None:
        self._session.status = status
        self.status_line.show_status(status)

    # filling the list

    def renew(self) -> None:
        """Fetch again what is shown."""
        for page in self.mails.renew():
            self._fetch(page)

    def _renew_soon(self) -> None:
        if self._renewing is None:
            self._renewing = self.set_timer(_GATHER, self._renew_now)

    def _renew_now(self) -> None:
        self._renewing = None
        self.renew()
        self._do(self._count, "count")

    def on_mail_list_needed(self, event: MailList.Needed) -> None:
        self._fetch(event.page)

    def on_folders_chosen(self, event: Folders.Chosen) -> None:
        if event.folder != self.folder:
            self.folder = event.folder
            self._search = ""
            self._show_search(False)
            self._restart()

    def _restart(self) -> None:
        self._generation += 1
        self.mails.reset(show_state=self.folder in ("outbox", "sent"))
        self._mail = None
        self.reader.clear()
        self.renew()

    def _fetch(self, page: int) -> None:
        self._do(partial(self._fetch_page, page, self._generation), f"page {page}")

    async def _fetch_page(self, page: int, generation: int) -> None:
        if self.folder == "drafts":
            total, rows = await self._fetch_drafts(page)
        else:
            found = await self._session.client.mail_list(
                self.folder, offset=page * PAGE, limit=PAGE, search=self._search
            )
            total, rows = found.total, [mail_row(mail) for mail in found.mails]
        if generation != self._generation:
            return
        self.mails.put(page, total, rows, time.time())
        if total == 0:
            self.mails.set_hint(self._hint())

    async def _fetch_drafts(self, page: int) -> tuple[int, list[Row]]:
        drafts = sorted(await self._session.client.draft_list(), key=lambda one: -one.date)
        if wanted := self._search.casefold():
            drafts = [one for one in drafts if wanted in f"{one.subject}\n{one.text}".casefold()]
        self._drafts = {one.id: one for one in drafts}
        part = drafts[page * PAGE : (page + 1) * PAGE]
        return len(drafts), [draft_row(one, self._draft_to(one)) for one in part]

    def _draft_to(self, draft: types.Draft) -> Safe:
        contact = self._session.contact(draft.to)
        return self._session.name_of(contact) if contact else safe_text.line(draft.to, 80)

    async def _count(self) -> None:
        client = self._session.client
        unread = 0
        for folder in ("inbox", "requests", "outbox", "sent"):
            page = await client.mail_list(folder, limit=0)
            self.folders.show_count(folder, page.total, page.unread if folder in types.INCOMING else 0)
            unread += page.unread if folder == "inbox" else 0
        self.folders.show_count("drafts", len(await client.draft_list()))
        self.app.sub_title = str(unread) if unread else ""

    def _hint(self) -> list[tuple[str, str]]:
        if self._search:
            return [("", "Nothing found. Esc ends the search.")]
        if self.folder != "inbox":
            empty = {
                "outbox": "Nothing is on its way.",
                "sent": "Nothing sent yet. c writes a mail.",
                "requests": "Nobody unknown has written. Mail of strangers comes here, not to the inbox.",
                "drafts": "No drafts. What you write is kept here until you send it.",
            }
            return [("", empty[self.folder])]
        lines = [
            ("", "No mail yet."),
            ("", ""),
            ("c", "write a mail"),
            ("n", "add somebody by address"),
            ("y", "copy your own address, to give it to others"),
            ("?", "all keys"),
        ]
        if self._session.contact_named("echo"):
            lines += [("", ""), ("", "Write to echo: it answers every mail.")]
        return lines

    # reading

    def on_mail_list_moved(self, event: MailList.Moved) -> None:
        row = event.row
        if row is None:
            self._mail = None
            self.reader.clear()
        elif isinstance(row.source, types.Draft):
            self._mail = None
            self.reader.show_draft(row.source, self._draft_to(row.source))
        else:
            if event.by_user:
                self._mark_read(row)
            self._do(partial(self._preview, row.id), "preview")

    async def _preview(self, id: str) -> None:
        mail = await self._session.client.mail_read(id)
        self._mail = mail
        self.reader.show_mail(mail, both=len(self._session.identities) > 1)

    def on_mail_list_opened(self, event: MailList.Opened) -> None:
        source = event.row.source
        if isinstance(source, types.Draft):
            self._open_draft(source)
            return
        self._mark_read(event.row)
        self.reader.focus()

    def _mark_read(self, row: Row) -> None:
        if row.unread:
            self._do(partial(self._mark, row.id), f"mark {row.id}")

    async def _mark(self, id: str) -> None:
        await self._session.client.mail_mark(id, False)
        self._renew_soon()

    # writing

    def action_compose(self) -> None:
        self._write(Letter())

    def action_reply(self) -> None:
        row = self.mails.row
        if row is None or isinstance(row.source, types.Draft):
            return
        if self._mail is not None and self._mail.summary.id == row.id:
            self._write(reply_to(self._mail, self._session))  # at once, before the next key
        else:
            self._do(partial(self._reply, row.id), "reply")

    async def _reply(self, id: str) -> None:
        mail = await self._session.client.mail_read(id)
        self._write(reply_to(mail, self._session))

    def _open_draft(self, draft: types.Draft) -> None:
        contact = self._session.contact(draft.to)
        letter = Letter(
            to=self._draft_to(draft),
            contact=contact.id if contact else None,
            subject=draft.subject,
            text=draft.text,
            in_reply_to=draft.in_reply_to,
            draft=draft.id,
        )
        self._write(letter)

    def _write(self, letter: Letter) -> None:
        self.app.push_screen(ComposeScreen(self._session, letter), lambda _: self._renew_soon())

    # strangers

    def action_decide(self, verb: Verb) -> None:
        row = self.mails.row
        if self.folder == "requests" and row is not None and isinstance(row.source, types.MailSummary):
            decide(self, self._session, row.source, verb, lambda: self._do(self._enter, "enter"))
        else:
            toast(self, "+ - and ! are for mails in Requests.", "warning")

    # deleting

    def action_delete(self) -> None:
        row = self.mails.row
        if row is None or row.id in self.mails.deleted:
            return
        source = row.source
        if self.folder == "outbox" and isinstance(source, types.MailSummary):
            if source.state == "queued":
                self._do(partial(self._take_back, source), "take back")
                return
            if source.state != "failed":
                toast(self, "It is on its way already: it cannot be taken back.", "warning")
                return
        self._do(partial(self._delete_later, row.id), "delete")

    async def _delete_later(self, id: str) -> None:
        await self.finish_delete()
        self._deleting = self.folder, id
        self.mails.deleted = {id}
        self.mails.refresh()
        if self.mails.cursor < self.mails.total - 1:
            self.mails.action_move(1)
        self._undo_timer = self.set_timer(UNDO_FOR, lambda: self._do(self.finish_delete, "delete"))

    def action_undo(self) -> None:
        if self._deleting is None:
            return
        self._forget_delete()
        toast(self, "Not deleted.")

    async def finish_delete(self) -> None:
        """Tell the daemon to delete what has been marked, if anything."""
        if self._deleting is None:
            return
        folder, id = self._deleting
        self._forget_delete()
        with told(self):
            if not self._session.connected:
                toast(self, "Not deleted: the background process is away.", "error")
            elif folder == "drafts":
                await self._session.client.draft_delete(id)
            else:
                await self._session.client.mail_delete(id)
        self._renew_soon()

    def _forget_delete(self) -> None:
        self._deleting = None
        if self._undo_timer is not None:
            self._undo_timer.stop()
        self.mails.deleted = set()
        self.mails.refresh()

    async def _take_back(self, mail: types.MailSummary) -> None:
        """Out of the outbox and into Drafts; the draft comes first, so that nothing is ever lost."""
        client = self._session.client
        opened = await client.mail_read(mail.id)
        files = [await client.mail_attachment(mail.id, one.index) for one in opened.attachments]
        text, to = opened.text, mail.contact or mail.contact_name
        draft = await client.draft_save(to, mail.subject, text, in_reply_to=mail.in_reply_to)
        try:
            await client.mail_cancel(mail.id)
        except Exception:
            await client.draft_delete(draft)
            raise
        toast(self, "Taken back: it is in Drafts.")
        self._renew_soon()
        if files:  # a draft cannot hold them, but the letter can, once it is open
            contact = self._session.contact(mail.contact)
            shown = self._session.name_of(contact) if contact else safe_text.line(mail.contact_name)
            self._write(
                Letter(shown, mail.contact, mail.subject, text, mail.in_reply_to, draft, tuple(files))
            )

    # the rest of the keys

    def action_search(self) -> None:
        self._show_search(True)
        self.search.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.value.strip() != self._search:
            self._search = event.value.strip()
            self._restart()

    def on_input_submitted(self) -> None:
        if self._search:
            self.mails.focus()
        else:
            self.action_back()

    def action_back(self) -> None:
        if self.search.display and (self.search.has_focus or not self.reader.has_focus):
            self._show_search(False)
            if self._search:
                self._search = ""
                self._restart()
        self.mails.focus()

    def _show_search(self, shown: bool) -> None:
        self.search.display = shown
        if not shown:
            with self.search.prevent(Input.Changed):
                self.search.value = ""

    def action_focus_list(self) -> None:
        self.mails.focus()

    def action_focus_folders(self) -> None:
        self.folders.focus()

    def action_folder(self, name: FolderName) -> None:
        self.folders.choose(name)
        self.mails.focus()

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())

    def action_address_book(self) -> None:
        def chosen(contact: types.Contact | None) -> None:
            if contact is not None:
                self._write(Letter(to=self._session.name_of(contact), contact=contact.id))

        self.app.push_screen(AddressBook(self._session), chosen)

    def action_add_contact(self) -> None:
        def added(id: str | None) -> None:
            if id is not None:
                toast(self, "Added. c writes to them.")

        self.app.push_screen(AddContact(self._session), added)

    def action_identities(self) -> None:
        self.app.push_screen(Identities(self._session))

    def action_own_address(self) -> None:
        if self._session.identity is not None:
            self.app.push_screen(ShowAddress("My address", self._session.identity.address))

    def action_save(self) -> None:
        if self._mail is None or not self._mail.attachments:
            toast(self, "This mail has no attachments.")
            return

        def saved(path: str | None) -> None:
            if path is not None:
                toast(self, f"Saved as {path}")

        self.app.push_screen(SaveAttachment(self._session, self._mail, Path.home()), saved)

    def _do(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> None:
        """Run `work` beside the screen, the newest of a group only; its errors become toasts."""

        async def guarded() -> None:
            with told(self):
                await work()

        self.run_worker(guarded, group=group, exclusive=True)  # type: ignore[arg-type]
