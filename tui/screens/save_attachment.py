"""Saves an attachment where the user says: never opened, never over another file, never elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from textual.app import ComposeResult
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from mixmail.control import types
from mixmail.control.client import ConnectionLost
from mixmail.errors import UserError
from tui import safe_text, words
from tui.safe_text import Safe
from tui.screens.dialogs import AWAY, Dialog
from tui.session import Session

_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|]')


def file_name(name: str) -> str:
    """A name of one plain file out of what a sender has written."""
    last = safe_text.line(name, 1000).replace("\\", "/").rsplit("/", 1)[-1]
    safe = _NOT_IN_NAMES.sub("_", last)[-100:].strip(" .")
    return safe or "attachment"


class SaveAttachment(Dialog):
    """Dismissed with the path that was written."""

    title_text = "Save an attachment"

    def __init__(self, session: Session, mail: types.Mail, folder: Path) -> None:
        super().__init__()
        self._session = session
        self._mail = mail
        self._folder = folder
        self._index = 0

    def fields(self) -> ComposeResult:
        if len(self._mail.attachments) > 1:
            options = [Option(safe_text.content(_label(one))) for one in self._mail.attachments]
            yield OptionList(*options, id="files", markup=False)
        else:
            yield Static(safe_text.content(_label(self._mail.attachments[0])))
        yield Label("Save as", markup=False)
        yield Input(self._proposal(0), id="path")

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._index = event.option_index
        self.query_one("#path", Input).value = self._proposal(event.option_index)

    def on_option_list_option_selected(self) -> None:
        self.query_one("#path", Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.run_worker(self._save(Path(event.value.strip()).expanduser()), exclusive=True)

    async def _save(self, path: Path) -> None:
        info = self._mail.attachments[self._index]
        try:
            file = await self._session.client.mail_attachment(self._mail.summary.id, info.index)
            with path.open("xb") as target:
                target.write(file.data)
        except ConnectionLost:
            self.say(AWAY)
        except UserError as error:
            self.say(error.message)
        except FileExistsError:
            self.say(f"{path} is there already: choose another name.")
        except OSError as error:
            self.say(f"It cannot be written there ({error.strerror}): choose another place.")
        else:
            self.dismiss(str(path))

    def _proposal(self, position: int) -> str:
        return str(self._folder / file_name(self._mail.attachments[position].name))


def _label(info: types.AttachmentInfo) -> Safe:
    kind = safe_text.line(info.type, 30)
    return Safe(f"{safe_text.line(info.name, 40) or '(no name)'}  {kind}, {words.size(info.size)}")
