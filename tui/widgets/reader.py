"""The reading pane: who, what, when, how far it has got, and the text as plain text."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from mixmail.control import types
from tui import safe_text, words
from tui.safe_text import Safe


class Reader(VerticalScroll, can_focus=True):
    """Shows one mail or draft.  Nothing in it is a link, nothing is loaded."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("space", "page_down", "Page down", show=False),
        Binding("g", "scroll_home", "Top", show=False),
        Binding("G", "scroll_end", "End", show=False),
        Binding("escape,left,h", "screen.focus_list", "List", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="reader")
        self.mail_id: str | None = None
        self._head = Static(id="reader-head", markup=False)
        self._body = Static(id="reader-body", markup=False)

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._body

    def clear(self) -> None:
        self.mail_id = None
        self._head.display = False
        self._body.update(Content(""))

    def show_mail(self, mail: types.Mail) -> None:
        summary = mail.summary
        self._change(summary.id)
        self._head.update(_head(mail))
        self._body.update(safe_text.content(safe_text.block(mail.text)))

    def show_draft(self, draft: types.Draft, to: Safe) -> None:
        self._change(draft.id)
        parts: list[Content] = [
            _bold(safe_text.line(draft.subject) or Safe("(no subject)")),
            _field("To", to or Safe("nobody yet")),
            _field("Draft", Safe("Enter goes on writing it")),
        ]
        self._head.update(Content("\n").join(parts))
        self._body.update(safe_text.content(safe_text.block(draft.text)))

    def show_state(self, mail: types.Mail) -> None:
        """Only the head: the text does not change while a mail moves on."""
        if mail.summary.id == self.mail_id:
            self._head.update(_head(mail))

    def _change(self, id: str) -> None:
        if id != self.mail_id:
            self.scroll_home(animate=False)
        self.mail_id = id
        self._head.display = True


def _head(mail: types.Mail) -> Content:
    summary = mail.summary
    lines = [_bold(safe_text.line(summary.subject) or Safe("(no subject)"))]
    if summary.folder == "inbox":
        lines.append(_field("From", safe_text.line(mail.from_name) or Safe("(no name)")))
    else:
        lines.append(_field("To", safe_text.line(mail.to_name) or Safe("(no name)")))
    lines.append(_field("Date", Safe(words.long_date(summary.date))))
    glyph, state = words.state(summary)
    if state:
        lines.append(_field("State", Safe(f"{glyph} {state} — {_meaning(summary)}")))
    if summary.note:
        lines.append(_field("Note", safe_text.line(summary.note)))
    for one in mail.attachments:
        name = safe_text.line(one.name, 60) or Safe("(no name)")
        kind = safe_text.line(one.type, 40)
        lines.append(_field("File", Safe(f"{name}  {kind}, {words.size(one.size)}")))
    return Content("\n").join(lines)


def _meaning(mail: types.MailSummary) -> str:
    match mail.state:
        case "queued":
            return "nothing has left yet"
        case "sent":
            return "packets have left, none confirmed in full"
        case "stored":
            return "homes hold all of it"
        case "answered":
            return "an answer to it has come"
        case _:
            return "it was not delivered"


def _bold(text: Safe) -> Content:
    return safe_text.content(text, "bold")


def _field(label: str, text: Safe) -> Content:
    return Content.assemble((f"{label:<6}", "dim"), safe_text.content(text))
