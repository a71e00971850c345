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

# characters; the head must leave room for the text even where each of them is two cells wide
_SUBJECT = 120
_NAME = 50


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
        self._subject = Static(id="reader-subject", markup=False)
        self._head = Static(id="reader-head", markup=False)
        self._state = Static(id="reader-state", markup=False)
        self._body = Static(id="reader-body", markup=False)

    def compose(self) -> ComposeResult:
        yield self._subject
        yield self._head
        yield self._state
        yield self._body

    def clear(self) -> None:
        self.mail_id = None
        for part in (self._subject, self._head, self._state):
            part.display = False
        self._body.update(Content(""))

    def show_mail(self, mail: types.Mail, both: bool = False) -> None:
        """`both`: with the own side, where the user has several identities."""
        summary = mail.summary
        self._change(summary.id)
        self._fill(summary.subject, _fields(mail, both), _state(summary), mail.text)

    def show_draft(self, draft: types.Draft, to: Safe) -> None:
        self._change(draft.id)
        fields = [_field("To", to or Safe("nobody yet")), _field("Draft", Safe("Enter goes on writing it"))]
        self._fill(draft.subject, fields, [], draft.text)

    def _fill(self, subject: str, fields: list[Content], state: list[Content], text: str) -> None:
        safe_subject = safe_text.line(subject, _SUBJECT) or Safe("(no subject)")
        self._subject.update(safe_text.content(safe_subject, "bold"))
        self._head.update(Content("\n").join(fields))
        self._state.update(Content("\n").join(state))
        self._state.display = bool(state)
        self._body.update(safe_text.content(safe_text.block(text)))

    def _change(self, id: str) -> None:
        if id != self.mail_id:
            self.scroll_home(animate=False)
        self.mail_id = id
        self._subject.display = self._head.display = True


def _fields(mail: types.Mail, both: bool) -> list[Content]:
    summary = mail.summary
    sides = [("From", mail.from_name), ("To", mail.to_name)]
    if not both:
        sides = sides[:1] if summary.folder in types.INCOMING else sides[1:]
    lines = [_field(label, safe_text.line(name, _NAME) or Safe("(no name)")) for label, name in sides]
    lines.append(_field("Date", Safe(words.long_date(summary.date))))
    for one in mail.attachments:
        name = safe_text.line(one.name, _NAME) or Safe("(no name)")
        kind = safe_text.line(one.type, 40)
        lines.append(_field("File", Safe(f"{words.size(one.size)}  {name}  {kind}")))
    return lines


def _state(summary: types.MailSummary) -> list[Content]:
    lines = []
    if summary.folder == "requests":
        lines.append(_field("", Safe("a stranger:  + accept   - ignore   ! block   r answers and accepts")))
    glyph, state = words.state(summary)
    if state:
        lines.append(_field("State", Safe(f"{glyph} {state} — {_meaning(summary)}")))
    if summary.note:
        lines.append(_field("Note", safe_text.line(summary.note)))
    return lines


def _meaning(mail: types.MailSummary) -> str:
    match mail.state:
        case "queued":
            return "nothing has left yet"
        case "sent":
            return "packets have left, not yet confirmed"
        case "stored":
            return "homes hold all of it"
        case "answered":
            return "an answer to it has come"
        case _:
            return "it was not delivered"


def _field(label: str, text: Safe) -> Content:
    return Content.assemble((f"{label:<6}", "dim"), safe_text.content(text))
