"""All keys on one screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

_LEFT = (
    (
        "Mail",
        (
            ("c", "compose"),
            ("r", "reply"),
            ("Enter", "open"),
            ("d", "delete, or take back"),
            ("u", "undo the delete"),
            ("s", "save an attachment"),
            ("/", "search"),
        ),
    ),
    (
        "Writing",
        (
            ("Ctrl+S", "send"),
            ("Ctrl+A", "attach files"),
            ("Esc", "close, keep the draft"),
            ("Tab", "next field"),
        ),
    ),
)
_RIGHT = (
    (
        "Moving",
        (
            ("j k ↓ ↑", "down, up"),
            ("Tab", "next pane"),
            ("Esc", "back"),
            ("g G", "first, last"),
            ("Space", "page down"),
            ("1 … 5", "inbox … requests"),
        ),
    ),
    (
        "People",
        (
            ("a", "address book"),
            ("n", "new contact"),
            ("y", "copy my address"),
            ("i", "my identities"),
            ("+ - !", "a stranger: accept, ignore, block"),
        ),
    ),
    ("", (("?", "these keys"), ("q", "quit; mail goes on"))),
)


class HelpScreen(ModalScreen[None]):
    """Any of its keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close"),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog help"):
            with Horizontal(classes="columns"):
                yield Static(_column(_LEFT), markup=False)
                yield Static(_column(_RIGHT), markup=False)
            yield Static(Content.styled("Esc closes this", "dim"), classes="dialog-foot")


def _column(groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]) -> Content:
    lines: list[Content] = []
    for title, keys in groups:
        if lines:
            lines.append(Content(""))
        if title:
            lines.append(Content.styled(title, "bold"))
        lines += [Content.assemble((f"{key:<9}", "$primary"), (text, "")) for key, text in keys]
    return Content("\n").join(lines)
