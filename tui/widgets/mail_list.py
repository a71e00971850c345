"""The list of mails: one line each, drawn from a cache of pages, so that its length costs nothing.

The list does not fetch.  It posts `Needed(page)` when it draws a row that it does not have, and is
handed the page by `put`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mixmail.control import types
from tui import safe_text, words
from tui.safe_text import Safe

PAGE = 100
"""Rows that are fetched at once: more than any screen shows."""

_DATE = 7
_STATE = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One line, made safe already.  `source` is what it shows."""

    id: str
    who: Safe
    subject: Safe
    date: float
    source: types.MailSummary | types.Draft
    unread: bool = False
    glyph: str = ""
    state: str = ""
    tone: str = "quiet"
    attachments: bool = False


def mail_row(mail: types.MailSummary) -> Row:
    glyph, state = words.state(mail)
    return Row(
        id=mail.id,
        who=safe_text.line(mail.contact_name, 80) or Safe("(no name)"),
        subject=safe_text.line(mail.subject) or Safe("(no subject)"),
        date=mail.date,
        source=mail,
        unread=mail.unread,
        glyph=glyph,
        state=state,
        tone=words.tone(mail),
        attachments=mail.attachments > 0,
    )


def draft_row(draft: types.Draft, to: Safe) -> Row:
    return Row(
        id=draft.id,
        who=to or Safe("(nobody yet)"),
        subject=safe_text.line(draft.subject) or Safe("(no subject)"),
        date=draft.date,
        source=draft,
    )


class MailList(ScrollView, can_focus=True):
    """`total` rows; the cursor stays on its mail when others come and go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False),
        Binding("home,g", "jump(0)", "First", show=False),
        Binding("end,G", "jump(-1)", "Last", show=False),
        Binding("enter,right,l", "open", "Open", show=False),
        Binding("left,h", "screen.focus_folders", "Folders", show=False),
    ]

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "mail-list--row",
        "mail-list--cursor",
        "mail-list--quiet",
        "mail-list--good",
        "mail-list--bad",
        "mail-list--mark",
        "mail-list--hint",
    }

    cursor: reactive[int] = reactive(0, repaint=True)

    class Needed(Message):
        """The rows of this page are wanted."""

        def __init__(self, page: int) -> None:
            super().__init__()
            self.page = page

    class Moved(Message):
        """The cursor stands on another mail; `by_user` if somebody moved it."""

        def __init__(self, row: Row | None, by_user: bool) -> None:
            super().__init__()
            self.row = row
            self.by_user = by_user

    class Opened(Message):
        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    def __init__(self) -> None:
        super().__init__(id="mails")
        self.total = 0
        self.show_state = False
        self.now = 0.0
        self.deleted: set[str] = set()
        self._hint: Sequence[tuple[str, str]] = ()
        self._rows: dict[int, Row] = {}
        self._asked: set[int] = set()
        self._wanted_id: str | None = None

    @property
    def row(self) -> Row | None:
        """The row under the cursor, None in an empty list or before it has come."""
        return self._rows.get(self.cursor)

    @property
    def rows(self) -> dict[int, Row]:
        """The rows in the cache, by position."""
        return self._rows

    def reset(self, show_state: bool) -> None:
        """Empty the list: another folder or another search."""
        self.show_state = show_state
        self._rows.clear()
        self._asked.clear()
        self._wanted_id = None
        self._hint = ()
        self.total = 0
        self.cursor = 0
        self.scroll_to(y=0, animate=False)
        self.refresh()

    def renew(self) -> set[int]:
        """Ask again for what is shown; returns the pages.  What is there stays until it has come."""
        self._wanted_id = self.row.id if self.row else None
        first, last = self._visible()
        self._asked = {page for page in range(first // PAGE, last // PAGE + 1)}
        return self._asked

    def put(self, page: int, total: int, rows: Sequence[Row], now: float) -> None:
        """Take a page that was asked for."""
        before = self.row
        self.now = now
        self.total = total
        for position in [one for one in self._rows if one >= total or one // PAGE == page]:
            del self._rows[position]
        for offset, row in enumerate(rows):
            self._rows[page * PAGE + offset] = row
        for other in {one // PAGE for one in self._rows} - self._asked:
            self._forget(other)
        self._follow()
        self.cursor = max(0, min(self.cursor, total - 1))
        self._fit()
        after = self.row
        if before is None or after is None or before.source != after.source:
            self.post_message(self.Moved(after, by_user=False))
        self.refresh()

    def change(self, id: str, row: Row) -> bool:
        """Replace the row of this mail, if it is in the cache."""
        for position, old in self._rows.items():
            if old.id == id:
                self._rows[position] = row
                self.refresh()
                return True
        return False

    def find(self, id: str) -> Row | None:
        return next((row for row in self._rows.values() if row.id == id), None)

    def set_hint(self, lines: Sequence[tuple[str, str]]) -> None:
        """What an empty list says: (key, text) pairs; the keys stand out."""
        self._hint = lines
        self.refresh()

    # moving

    def action_move(self, by: int) -> None:
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        self._go(self.cursor + by * max(1, self.size.height - 1))

    def action_jump(self, to: int) -> None:
        self._go(to if to >= 0 else self.total - 1)

    def action_open(self) -> None:
        if self.row is not None:
            self.post_message(self.Opened(self.row))

    def on_click(self, event: events.Click) -> None:
        position = event.y + round(self.scroll_offset.y)
        if position < self.total:
            self._go(position)

    def _go(self, position: int) -> None:
        position = max(0, min(position, self.total - 1))
        if position != self.cursor:
            self.cursor = position
            self._wanted_id = None
            self._scroll()
            self.post_message(self.Moved(self.row, by_user=True))

    def _scroll(self) -> None:
        height = self.size.height
        if self.cursor < self.scroll_offset.y:
            self.scroll_to(y=self.cursor, animate=False)
        elif height and self.cursor >= self.scroll_offset.y + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)

    def _follow(self) -> None:
        """Put the cursor back on the mail it stood on."""
        if self._wanted_id is None:
            return
        for position, row in self._rows.items():
            if row.id == self._wanted_id:
                if position != self.cursor:
                    self.cursor = position
                    self.call_after_refresh(self._scroll)
                return

    def _forget(self, page: int) -> None:
        for position in [one for one in self._rows if one // PAGE == page]:
            del self._rows[position]

    def _visible(self) -> tuple[int, int]:
        first = max(0, round(self.scroll_offset.y))
        return first, max(first, min(self.total, first + max(1, self.size.height)) - 1)

    def on_resize(self) -> None:
        self._fit()
        self.call_after_refresh(self._scroll)

    def _fit(self) -> None:
        self.virtual_size = Size(self.size.width, self.total)

    # drawing

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        if self.total == 0:
            return self._draw_hint(y, width, base)
        position = y + round(self.scroll_offset.y)
        if position >= self.total:
            return Strip.blank(width, base)
        row = self._rows.get(position)
        if row is None:
            self._ask(position // PAGE)
            return Strip([Segment(set_cell_size("  …", width), base)], width)
        return self._draw(row, position == self.cursor, width)

    def _ask(self, page: int) -> None:
        if page not in self._asked:
            self._asked.add(page)
            self.post_message(self.Needed(page))

    def _draw_hint(self, y: int, width: int, base: Style) -> Strip:
        if not 1 <= y <= len(self._hint):
            return Strip.blank(width, base)
        key, text = self._hint[y - 1]
        mark = self.get_component_rich_style("mail-list--mark")
        quiet = self.get_component_rich_style("mail-list--hint")
        margin = "   "
        segments = [Segment(margin, base)]
        if key:
            segments.append(Segment(set_cell_size(key, 8), mark))
        rest = width - sum(cell_len(segment.text) for segment in segments)
        segments.append(Segment(set_cell_size(text, max(0, rest)), quiet))
        return Strip(segments, width)

    def _draw(self, row: Row, on_cursor: bool, width: int) -> Strip:
        name = "mail-list--cursor" if on_cursor else "mail-list--row"
        base = self.get_component_rich_style(name)
        quiet = base + _colour(self.get_component_rich_style("mail-list--quiet"))
        mark = base + _colour(self.get_component_rich_style("mail-list--mark"))
        toned = base + _colour(self.get_component_rich_style(f"mail-list--{row.tone}"))
        strong = base + Style(bold=True) if row.unread else base
        deleted = row.id in self.deleted
        state = f"{row.glyph} {row.state}" if row.state else ""
        if deleted:
            strong, quiet, toned = quiet + Style(strike=True), quiet, mark
            state = "u takes it back"
        who_width = 14 if width < 76 else 20
        state_width = _STATE if self.show_state or deleted else 0
        used = 3 + who_width + 2 + state_width + 2 + _DATE + 1
        clip = "⊕ " if row.attachments and not deleted else "  "
        segments = [
            Segment(" ● " if row.unread else "   ", mark),
            Segment(_fitted(row.who, who_width), strong),
            Segment("  ", base),
            Segment(_fitted(row.subject, max(0, width - used)), strong),
            Segment(clip, quiet),
            Segment(set_cell_size(state, state_width), toned),
            Segment(words.when(row.date, self.now).rjust(_DATE), quiet),
            Segment(" ", base),
        ]
        return Strip(segments).adjust_cell_length(width, base)


def _fitted(text: str, width: int) -> str:
    """`text` in exactly `width` cells, with an ellipsis where it is cut."""
    if width <= 0:
        return ""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _colour(style: Style) -> Style:
    return Style(color=style.color, bold=style.bold, dim=style.dim)
