"""The files that go with a letter: added by path, shown, taken out again."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.suggester import Suggester
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from mixmail.control import types
from tui import safe_text, words
from tui.safe_text import Safe
from tui.screens.dialogs import Dialog

_ANY_TYPE = "application/octet-stream"
_LISTED = 2_000  # entries of a folder that are looked through for a completion


class AttachFiles(Dialog):
    """Changes the list of files that it is given; Esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", priority=True),
        Binding("up", "to_files", "Files", show=False),
        Binding("delete,backspace", "remove", "Remove", show=False),
    ]

    title_text = "Attachments"
    keys_text = "Enter attaches   Tab completes   ↑ Delete removes   Esc closes"

    def __init__(self, files: list[types.Attachment], limit: int, used: int) -> None:
        """`limit`: bytes of a whole mail, 0 if unknown; `used`: those that its text takes."""
        super().__init__()
        self._files = files
        self._limit = limit
        self._used = used

    def fields(self) -> ComposeResult:
        yield OptionList(id="files", markup=False)
        yield Label("File", markup=False)
        yield Input(id="path", placeholder="~/…", suggester=PathSuggester())
        yield Static("", id="room", markup=False)

    def on_mount(self) -> None:
        self._show()
        self.query_one("#path", Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self._add(Path(event.value.strip()).expanduser())
        else:
            self.dismiss(None)

    def action_complete(self) -> None:
        field = self.query_one("#path", Input)
        field.focus()
        field.value = complete(field.value)
        field.cursor_position = len(field.value)

    def action_to_files(self) -> None:
        if self._files:
            self.query_one("#files", OptionList).focus()

    def action_remove(self) -> None:
        options = self.query_one("#files", OptionList)
        if options.has_focus and options.highlighted is not None:
            del self._files[options.highlighted]
            self._show()
            if not self._files:
                self.query_one("#path", Input).focus()

    def _add(self, path: Path) -> None:
        shown = safe_text.line(str(path), 200)
        try:
            size = path.stat().st_size
            if path.is_dir():
                self.say(f"{shown} is a folder: name a file in it, or pack it into an archive.")
                return
            if not path.is_file():
                self.say(f"{shown} is no ordinary file.")
                return
            if self._limit and size > self._room():
                self.say(f"It has {words.size(size)}, and there is room for {words.size(self._room())} only.")
                return
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no possible name"
            self.say(f"{shown} cannot be read ({reason}).")
            return
        # the built-in table only: that of the machine would tell which system it is
        kind = mimetypes.MimeTypes().guess_type(path.name)[0] or _ANY_TYPE
        self._files.append(types.Attachment(name=path.name, type=kind, data=data))
        self.query_one("#path", Input).value = ""
        self.say("")
        self._show()

    def _room(self) -> int:
        return max(0, self._limit - self._used - sum(len(one.data) for one in self._files))

    def _show(self) -> None:
        options = self.query_one("#files", OptionList)
        options.clear_options()
        options.add_options([Option(safe_text.content(label(one))) for one in self._files])
        options.display = bool(self._files)
        if self._files:
            options.highlighted = len(self._files) - 1
        room = f"{words.size(self._room())} of {words.size(self._limit)} free" if self._limit else ""
        self.query_one("#room", Static).update(Content.styled(room, "dim"))


class PathSuggester(Suggester):
    """Proposes the first file whose name begins so."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        found = candidates(value)
        return found[0] if found else None


def candidates(typed: str) -> list[str]:
    """The paths that begin with what is typed, written as it is (with ~); folders end with a slash."""
    folder, _, start = typed.rpartition("/")
    base = Path(f"{folder}/" if "/" in typed else ".").expanduser()
    try:
        with os.scandir(base) as entries:
            found = [
                f"{one.name}/" if one.is_dir() else one.name
                for one, _ in zip(entries, range(_LISTED), strict=False)
                if one.name.startswith(start) and (start or not one.name.startswith("."))
            ]
    except (OSError, ValueError):
        return []
    # a name that the screen cannot show as it is cannot be chosen by its look either
    return sorted(typed[: len(typed) - len(start)] + name for name in found if safe_text.line(name) == name)


def complete(typed: str) -> str:
    """What is typed, made longer as far as that is certain; a lone ~ is the home folder."""
    if typed == "~":
        return "~/"
    found = candidates(typed) if typed else []
    if not found:
        return typed
    first, last = found[0], found[-1]  # of a sorted list: what they share, all share
    same = next((i for i, char in enumerate(first) if char != last[i : i + 1]), len(first))
    return first[:same]


def label(file: types.Attachment) -> Safe:
    """Name and size in one line."""
    return Safe(f"{safe_text.line(file.name, 40) or '(no name)'}  {words.size(len(file.data))}")
