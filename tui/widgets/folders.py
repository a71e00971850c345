"""The list of folders with their counts."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

FolderName = Literal["inbox", "outbox", "sent", "drafts", "requests"]
NAMES: tuple[FolderName, ...] = ("inbox", "outbox", "sent", "drafts", "requests")
TITLES: dict[FolderName, str] = {name: name.capitalize() for name in NAMES}

_WIDTH = 12


class Folders(OptionList):
    """Moving in it changes the folder at once."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("right,l", "screen.focus_list", "List", show=False),
    ]

    class Chosen(Message):
        def __init__(self, folder: FolderName) -> None:
            super().__init__()
            self.folder = folder

    def __init__(self) -> None:
        options = [Option(_prompt(TITLES[name], "", False), id=name) for name in NAMES]
        super().__init__(*options, id="folders", markup=False)

    def show_count(self, folder: FolderName, count: int, unread: int = 0) -> None:
        """The number beside the folder: unread mails where there are any, else all but for the inbox."""
        shown = unread or (0 if folder in ("inbox", "sent") else count)
        number = "" if not shown else str(shown) if shown < 10_000 else "9999+"
        self.replace_option_prompt(folder, _prompt(TITLES[folder], number, bool(unread)))

    def choose(self, folder: FolderName) -> None:
        self.highlighted = NAMES.index(folder)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.post_message(self.Chosen(NAMES[event.option_index]))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.screen.action_focus_list()  # type: ignore[attr-defined]


def _prompt(title: str, number: str, strong: bool) -> Content:
    gap = " " * max(1, _WIDTH - len(title) - len(number))
    return Content.assemble((title, "bold" if strong else ""), gap, (number, "bold" if strong else "dim"))
